//! The drawings of the pages: the models, the way of one column, a model and its parents, the tables and their keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cclake_plan::lineage::{Field, Via};
use cclake_plan::{Node, NodeKind};
use maud::Markup;

use super::Docs;
use super::diagram::{Block, Edge, Row, diagram};
use super::site::{column_path, node_path};
use crate::summary::count;

/// More rows than a drawing of one column's way can show; its ends are drawn then.
const MOST_ROWS: usize = 60;

/// The class that colours a node: what it is, or the layer it belongs to.
pub(super) fn class(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Source => "kind-source",
        NodeKind::Seed => "kind-seed",
        _ => match schema(node) {
            "staging" => "kind-staging",
            "marts" => "kind-marts",
            _ => "kind-intermediate",
        },
    }
}

pub(super) fn schema(node: &Node) -> &str {
    node.relation
        .as_ref()
        .map_or("", |relation| relation.schema.as_str())
}

fn block(docs: &Docs, node: &Node, root: &str) -> Block {
    Block {
        title: node.name.clone(),
        link: Some(format!("{root}{}", node_path(docs, &node.id))),
        class: class(node),
        ..Block::default()
    }
}

/// All nodes and who reads whom.
pub(super) fn models(docs: &Docs, root: &str) -> Markup {
    let nodes: Vec<&Node> = docs.nodes().collect();
    let place: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.id.as_str(), index))
        .collect();
    let blocks: Vec<Block> = nodes
        .iter()
        .map(|node| Block {
            note: docs
                .table(node)
                .and_then(|table| table.rows)
                .map(count)
                .unwrap_or_default(),
            ..block(docs, node, root)
        })
        .collect();
    let edges: Vec<Edge> = nodes
        .iter()
        .enumerate()
        .flat_map(|(index, node)| {
            let parents = node.depends_on.iter().filter_map(|id| place.get(id.as_str()));
            parents.map(move |parent| edge((*parent, None), (index, None), ""))
        })
        .collect();
    diagram(
        &blocks,
        &edges,
        "Sources, seeds and models, and which reads which",
    )
}

fn edge(from: super::diagram::End, to: super::diagram::End, class: &'static str) -> Edge {
    Edge { from, to, class }
}

/// A row: node, and column or path.
type Place = (String, String);

/// Columns gathered by node, and the flows between them.
#[derive(Default)]
struct Ways {
    rows: BTreeSet<Place>,
    flows: BTreeMap<(Place, Place), Via>,
}

impl Ways {
    fn add(&mut self, from: Place, to: Place, via: Via) {
        self.rows.insert(from.clone());
        self.rows.insert(to.clone());
        self.flows.insert((from, to), via);
    }

    fn draw(&self, docs: &Docs, here: (&str, &str), root: &str, label: &str) -> Markup {
        let nodes: Vec<&Node> = docs
            .nodes()
            .filter(|node| self.rows.iter().any(|(id, _)| *id == node.id))
            .collect();
        let mut place = HashMap::new();
        let mut blocks = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let mut block = block(docs, node, root);
            let mut names: Vec<&String> = self
                .rows
                .iter()
                .filter(|(id, _)| *id == node.id)
                .map(|(_, name)| name)
                .collect();
            names.sort_by_key(|name| position(docs, &node.id, name));
            for name in names {
                place.insert((node.id.clone(), name.clone()), (index, Some(block.rows.len())));
                let column = name.split(['.', '[']).next().unwrap_or(name);
                block.rows.push(Row {
                    text: name.clone(),
                    link: docs
                        .lineage
                        .column(&node.id, column)
                        .map(|_| format!("{root}{}", column_path(docs, &node.id, column))),
                    is_here: node.id == here.0 && name == here.1,
                    ..Row::default()
                });
            }
            blocks.push(block);
        }
        let edges: Vec<Edge> = self
            .flows
            .iter()
            .filter_map(|((from, to), via)| Some(edge(*place.get(from)?, *place.get(to)?, flow_class(*via))))
            .collect();
        diagram(&blocks, &edges, label)
    }
}

/// Where a column stands in its table; paths into one keep their order.
fn position(docs: &Docs, id: &str, name: &str) -> usize {
    let column = name.split(['.', '[']).next().unwrap_or(name);
    let columns = docs
        .lineage
        .node(id)
        .into_iter()
        .flat_map(|lineage| &lineage.columns);
    columns.take_while(|known| known.name != column).count()
}

fn flow_class(via: Via) -> &'static str {
    match via {
        Via::Copied | Via::Extracted => "strong",
        Via::Computed => "computed",
        Via::Decides => "decides",
    }
}

/// A field as a row: in sources with its path into the JSON, elsewhere the column.
fn row_of(docs: &Docs, field: &Field) -> Option<Place> {
    let column = field.column.clone()?;
    let is_source = docs
        .graph
        .node(&field.node)
        .is_some_and(|node| node.kind == NodeKind::Source);
    let name = if is_source { field.path_text() } else { column };
    Some((field.node.clone(), name))
}

/// From the source fields of a column through all models to it, and on to what is made from it. What only decides
/// about values is left out.
pub(super) fn column(docs: &Docs, id: &str, name: &str, root: &str) -> Option<Markup> {
    let mut ways = Ways::default();
    upstream(docs, id, name, &mut ways);
    downstream(docs, id, name, &mut ways);
    if ways.rows.len() > MOST_ROWS {
        ways = ends(docs, id, name);
    }
    if ways.flows.is_empty() || ways.rows.len() > MOST_ROWS {
        return None;
    }
    let label = format!("Where {name} comes from and what is made from it");
    Some(ways.draw(docs, (id, name), root, &label))
}

fn upstream(docs: &Docs, id: &str, name: &str, ways: &mut Ways) {
    let mut seen = BTreeSet::new();
    let mut open = vec![(id.to_owned(), name.to_owned())];
    while let Some((id, name)) = open.pop() {
        if !seen.insert((id.clone(), name.to_lowercase())) {
            continue;
        }
        let Some(column) = docs.lineage.column(&id, &name) else {
            continue;
        };
        for origin in column.inputs.iter().filter(|origin| origin.via != Via::Decides) {
            if let (Some(from), Some(column)) = (row_of(docs, &origin.field), &origin.field.column) {
                ways.add(from, (id.clone(), name.clone()), origin.via);
                open.push((origin.field.node.clone(), column.clone()));
            }
        }
    }
}

fn downstream(docs: &Docs, id: &str, name: &str, ways: &mut Ways) {
    let mut seen = BTreeSet::new();
    let mut open = vec![(id.to_owned(), name.to_owned())];
    while let Some((id, name)) = open.pop() {
        if !seen.insert((id.clone(), name.to_lowercase())) || ways.rows.len() > MOST_ROWS {
            continue;
        }
        for (node, lineage) in docs.lineage.nodes() {
            for column in &lineage.columns {
                for origin in column.inputs.iter().filter(|origin| origin.via != Via::Decides) {
                    let is_it = origin.field.node == id
                        && origin
                            .field
                            .column
                            .as_ref()
                            .is_some_and(|column| column.eq_ignore_ascii_case(&name));
                    if let (true, Some(from)) = (is_it, row_of(docs, &origin.field)) {
                        ways.add(from, (node.to_owned(), column.name.clone()), origin.via);
                        open.push((node.to_owned(), column.name.clone()));
                    }
                }
            }
        }
    }
}

/// Only source fields, the column, and the gold columns made from it.
fn ends(docs: &Docs, id: &str, name: &str) -> Ways {
    let mut ways = Ways::default();
    let here = (id.to_owned(), name.to_owned());
    if let Some(column) = docs.lineage.column(id, name) {
        for origin in column.sources.iter().filter(|origin| origin.via != Via::Decides) {
            if let Some(from) = row_of(docs, &origin.field) {
                ways.add(from, here.clone(), origin.via);
            }
        }
    }
    for node in docs
        .nodes()
        .filter(|node| schema(node) == "marts" && node.id != id)
    {
        for column in docs
            .lineage
            .node(&node.id)
            .iter()
            .flat_map(|lineage| &lineage.columns)
        {
            for origin in column.sources.iter().filter(|origin| origin.via != Via::Decides) {
                let is_it = origin.field.node == id && origin.field.column.as_deref() == Some(name);
                if let (true, Some(from)) = (is_it, row_of(docs, &origin.field)) {
                    ways.add(from, (node.id.clone(), column.name.clone()), origin.via);
                }
            }
        }
    }
    ways
}

/// A model's columns and those of its parents that they are made from.
pub(super) fn parents(docs: &Docs, node: &Node, root: &str) -> Option<Markup> {
    let mut ways = Ways::default();
    for column in &docs.lineage.node(&node.id)?.columns {
        for origin in column.inputs.iter().filter(|origin| origin.via != Via::Decides) {
            if let Some(from) = row_of(docs, &origin.field) {
                ways.add(from, (node.id.clone(), column.name.clone()), origin.via);
            }
        }
    }
    let label = format!("The columns that those of {} are made from", node.name);
    (!ways.flows.is_empty()).then(|| ways.draw(docs, ("", ""), root, &label))
}

/// The tables that `relationships` tests tie together, with their keys.
pub(super) fn entities(docs: &Docs, root: &str) -> Option<Markup> {
    let references: Vec<(&str, &str, &str, &str)> = docs
        .checks
        .iter()
        .filter_map(|check| {
            let (to, field) = check.refers_to.as_ref()?;
            let node = docs.graph.node(check.node.as_deref()?)?;
            (schema(node) == "marts").then_some((
                node.id.as_str(),
                check.column.as_deref()?,
                to.as_str(),
                field.as_str(),
            ))
        })
        .collect();
    let mut nodes: Vec<&Node> = docs
        .nodes()
        .filter(|node| {
            references
                .iter()
                .any(|(from, _, to, _)| *from == node.id || *to == node.id)
        })
        .collect();
    // What is referred to comes first, so that circles are cut where the facts begin.
    nodes.sort_by_key(|node| references.iter().filter(|(from, ..)| *from == node.id).count());
    let mut place = HashMap::new();
    let mut blocks = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let mut block = block(docs, node, root);
        let columns = docs.columns(node);
        let mut others = 0;
        for column in &columns {
            let is_key = column.checks.iter().any(|check| check.name == "unique");
            let refers = references
                .iter()
                .any(|(id, name, ..)| *id == node.id && *name == column.name);
            let referred = references
                .iter()
                .any(|(.., id, name)| *id == node.id && *name == column.name);
            if !(is_key || refers || referred) {
                others += 1;
                continue;
            }
            place.insert(
                (node.id.as_str(), column.name.clone()),
                (index, Some(block.rows.len())),
            );
            block.rows.push(Row {
                text: column.name.clone(),
                note: match (is_key, refers) {
                    (true, true) => "PK FK".to_owned(),
                    (true, false) => "PK".to_owned(),
                    (false, true) => "FK".to_owned(),
                    (false, false) => String::new(),
                },
                link: Some(format!("{root}{}", column_path(docs, &node.id, &column.name))),
                is_here: false,
            });
        }
        if others > 0 {
            block.rows.push(Row {
                text: format!("+ {others} more"),
                ..Row::default()
            });
        }
        blocks.push(block);
    }
    let edges: Vec<Edge> = references
        .iter()
        .filter_map(|(from, column, to, field)| {
            let from = place.get(&(*from, (*column).to_owned()))?;
            let to = place.get(&(*to, (*field).to_owned()))?;
            Some(edge(*to, *from, "computed"))
        })
        .collect();
    (!blocks.is_empty()).then(|| {
        diagram(
            &blocks,
            &edges,
            "Tables of the star schema and how their keys refer to each other",
        )
    })
}
