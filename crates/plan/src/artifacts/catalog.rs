//! catalog.json: the tables as the database has them.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::metadata;
use crate::graph::{Graph, NodeKind};
use crate::inputs::{Inputs, RelationKind};

/// A table or view as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogTable {
    /// Table or view.
    pub kind: RelationKind,
    /// Its comment, if it has one.
    pub comment: Option<String>,
    /// Name, type and comment of each column, in order.
    pub columns: Vec<(String, String, Option<String>)>,
}

/// The catalog of every node and source whose table is among `tables`: (schema, name) → table.
pub fn catalog(
    graph: &Graph,
    inputs: &Inputs,
    tables: &BTreeMap<(String, String), CatalogTable>,
    generated_at: &str,
) -> Json {
    let (mut nodes, mut sources) = (Map::new(), Map::new());
    for node in graph.nodes() {
        let Some(relation) = &node.relation else { continue };
        let Some(table) = tables.get(&(relation.schema.clone(), relation.identifier.clone())) else {
            continue;
        };
        let kind = match table.kind {
            RelationKind::Table => "BASE TABLE",
            RelationKind::View => "VIEW",
        };
        let entry = json!({
            "metadata": {
                "type": kind,
                "schema": relation.schema,
                "name": relation.identifier,
                "database": relation.database,
                "comment": table.comment,
                "owner": null,
            },
            "columns": columns(table),
            "stats": {
                "has_stats": {
                    "id": "has_stats",
                    "label": "Has Stats?",
                    "value": false,
                    "include": false,
                    "description": "Indicates whether there are statistics for this table",
                },
            },
            "unique_id": node.id,
        });
        if node.kind == NodeKind::Source {
            sources.insert(node.id.clone(), entry);
        } else {
            nodes.insert(node.id.clone(), entry);
        }
    }
    json!({
        "metadata": metadata("catalog/v1", inputs, generated_at),
        "nodes": nodes,
        "sources": sources,
        "errors": null,
    })
}

fn columns(table: &CatalogTable) -> Map<String, Json> {
    let numbered = table.columns.iter().zip(1..);
    numbered
        .map(|((name, sql_type, comment), index)| {
            let column = json!({"type": sql_type, "index": index, "name": name, "comment": comment});
            (name.clone(), column)
        })
        .collect()
}
