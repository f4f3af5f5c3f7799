//! The manifest's nodes and sources.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::graph::names::python_str;
use crate::graph::{Column, Detail, GenericTest, Node, NodeKind};
use crate::inputs::Inputs;
use crate::jinja::session::Dependency;
use crate::project::{FileKind, Package, Project, SourceFile};

/// What a manifest says of nodes that only their files know.
pub(super) struct Files<'p> {
    project: &'p Project,
    /// Files by path and name of the node.
    by_place: HashMap<(&'p str, &'p str), &'p SourceFile>,
    test_schema: String,
}

impl<'p> Files<'p> {
    pub(super) fn of(project: &'p Project, test_schema: String) -> Files<'p> {
        let files = project.packages.iter().flat_map(|package| &package.files);
        Files {
            project,
            by_place: files
                .map(|file| ((file.path.as_str(), file.name.as_str()), file))
                .collect(),
            test_schema,
        }
    }

    fn package(&self, node: &Node) -> Option<&'p Package> {
        self.project.packages.iter().find(|one| one.name == node.package)
    }

    /// Of a file in the node's package: the path inside that.
    fn original_path<'n>(&self, node: &Node, file: &'n str) -> &'n str {
        self.package(node)
            .and_then(|package| file.strip_prefix(package.folder.as_str()))
            .unwrap_or(file)
    }
}

fn docs() -> Json {
    json!({"show": true, "node_color": null})
}

fn contract() -> Json {
    json!({"enforced": false, "alias_types": true})
}

pub(super) fn node(files: &Files<'_>, inputs: &Inputs, node: &Node, compiled: Option<&str>) -> Json {
    let file = files
        .by_place
        .get(&(node.place.file.as_str(), node.name.as_str()))
        .copied();
    let generic = match &node.detail {
        Detail::Generic(_, test) => Some(test),
        _ => None,
    };
    let file = if generic.is_some() { None } else { file };
    let original = files.original_path(node, &node.place.file);
    let (schema, alias) = placed(files, inputs, node, generic);
    let database = node
        .relation
        .as_ref()
        .map_or(&inputs.database, |relation| &relation.database);
    let patch = node
        .described_at
        .as_ref()
        .filter(|_| node.kind != NodeKind::Test)
        .map(|place| {
            let file = files.original_path(node, &place.file);
            format!("{}://{file}", node.package)
        });
    let mut entry = object(json!({
        "database": database,
        "schema": schema,
        "name": node.name,
        "resource_type": node.kind.resource_type(),
        "package_name": node.package,
        "path": path(node, original, generic),
        "original_file_path": original,
        "unique_id": node.id,
        "fqn": node.fqn,
        "alias": alias,
        "checksum": checksum(node, file),
        "config": config(node, generic),
        "tags": node.tags,
        "description": node.description,
        "columns": columns(&node.columns),
        "meta": meta(node),
        "group": null,
        "docs": docs(),
        "patch_path": patch,
        "build_path": null,
        "unrendered_config": unrendered(node, generic),
        "created_at": 0.0,
        "relation_name": node.relation.as_ref().map(ToString::to_string),
        "raw_code": raw_code(node, file, generic),
        "doc_blocks": [],
    }));
    if node.kind == NodeKind::Seed {
        entry.extend(object(json!({"root_path": null, "depends_on": {"macros": []}})));
        return Json::Object(entry);
    }
    entry.extend(object(json!({
        "language": "sql",
        "refs": refs(node),
        "sources": sources(node),
        "metrics": [],
        "functions": [],
        "depends_on": {"macros": node.macros, "nodes": node.depends_on},
        "compiled_path": null,
        "contract": {"enforced": false, "alias_types": true, "checksum": null},
    })));
    if let Some(compiled) = compiled {
        entry.extend(object(json!({
            "compiled": true,
            "compiled_code": compiled,
            "extra_ctes_injected": true,
            "extra_ctes": [],
        })));
    }
    if let Some(generic) = generic {
        entry.extend(object(generic_test(generic)));
    }
    if matches!(node.kind, NodeKind::Model(_)) {
        entry.extend(object(json!({
            "access": "protected",
            "constraints": [],
            "version": null,
            "latest_version": null,
            "deprecation_date": null,
            "primary_key": [],
            "time_spine": null,
        })));
    }
    Json::Object(entry)
}

/// Schema and alias; of what has no table, those it would have.
fn placed<'a>(
    files: &'a Files<'_>,
    inputs: &'a Inputs,
    node: &'a Node,
    generic: Option<&'a GenericTest>,
) -> (&'a str, &'a str) {
    match (&node.relation, generic) {
        (Some(relation), _) => (&relation.schema, &relation.identifier),
        (None, Some(generic)) => (&files.test_schema, &generic.alias),
        (None, None) if node.kind == NodeKind::Test => (&files.test_schema, &node.name),
        (None, None) => (&inputs.target_schema, &node.name),
    }
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// The path below the folder of its kind; of a node that has no SQL file of its own, the file dbt would write.
fn path(node: &Node, original: &str, generic: Option<&GenericTest>) -> String {
    if let Some(generic) = generic {
        return format!("{}.sql", generic.alias);
    }
    if original
        .rsplit_once('.')
        .is_some_and(|(_, extension)| extension.starts_with('y'))
    {
        return format!("{}.sql", node.name);
    }
    original
        .split_once('/')
        .map_or(original, |(_, path)| path)
        .to_owned()
}

/// SHA-256 of the file; but for seeds each run of blanks counts as one.
fn checksum(node: &Node, file: Option<&SourceFile>) -> Json {
    let Some(file) = file.filter(|_| node.kind != NodeKind::Source) else {
        return json!({"name": "none", "checksum": ""});
    };
    let text = file.whole.as_deref().unwrap_or(&file.text);
    let text = if node.kind == NodeKind::Seed {
        text.trim().to_owned()
    } else {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"name": "sha256", "checksum": hex})
}

fn raw_code(node: &Node, file: Option<&SourceFile>, generic: Option<&GenericTest>) -> String {
    if let Some(generic) = generic {
        let namespace = generic
            .namespace
            .as_ref()
            .map(|namespace| format!("{namespace}."))
            .unwrap_or_default();
        let alias = Json::from(generic.alias.clone());
        let alias = Some(("alias", &alias)).filter(|_| generic.alias != node.name);
        let config = node.config.iter().map(|(key, value)| (key.as_str(), value));
        let config: Vec<String> = config
            .chain(alias)
            .map(|(key, value)| match value {
                Json::String(text) => format!("{key}=\"{}\"", text.replace('"', "\\\"")),
                other => format!("{key}={}", python_str(other)),
            })
            .collect();
        let config = if config.is_empty() {
            String::new()
        } else {
            format!("{{{{ config({}) }}}}", config.join(","))
        };
        return format!(
            "{{{{ {namespace}test_{}(**_dbt_generic_test_kwargs) }}}}{config}",
            generic.name
        );
    }
    match file {
        Some(file) if file.kind == FileKind::Snapshot => file.text.clone(),
        Some(file) if file.kind != FileKind::Seed => file.text.trim().to_owned(),
        _ => String::new(),
    }
}

fn meta(node: &Node) -> Json {
    node.config.get("meta").cloned().unwrap_or_else(|| json!({}))
}

/// The node's configuration over dbt's defaults.
fn config(node: &Node, generic: Option<&GenericTest>) -> Json {
    let mut config = object(json!({
        "enabled": true,
        "alias": null,
        "schema": null,
        "database": null,
        "tags": [],
        "meta": {},
        "group": null,
        "static_analysis": null,
        "materialized": node.kind.resource_type(),
    }));
    if node.kind == NodeKind::Test {
        config.extend(object(json!({
            "schema": "dbt_test__audit",
            "severity": "ERROR",
            "store_failures": null,
            "store_failures_as": null,
            "sql_header": null,
            "where": null,
            "limit": null,
            "fail_calc": "count(*)",
            "warn_if": "!= 0",
            "error_if": "!= 0",
        })));
    } else {
        config.extend(relation_config(node));
    }
    if let Some(generic) = generic
        && generic.alias != node.name
    {
        config.insert("alias".to_owned(), generic.alias.clone().into());
    }
    for (key, value) in &node.config {
        let (key, value) = match key.as_str() {
            "pre_hook" => ("pre-hook", hooks(value)),
            "post_hook" => ("post-hook", hooks(value)),
            other => (other, value.clone()),
        };
        config.insert(key.to_owned(), value);
    }
    config.insert("tags".to_owned(), node.tags.clone().into());
    Json::Object(config)
}

fn relation_config(node: &Node) -> Map<String, Json> {
    let mut config = object(json!({
        "incremental_strategy": null,
        "batch_size": null,
        "lookback": 1,
        "begin": null,
        "persist_docs": {},
        "post-hook": [],
        "pre-hook": [],
        "quoting": {},
        "column_types": {},
        "full_refresh": null,
        "unique_key": null,
        "on_schema_change": "ignore",
        "on_configuration_change": "apply",
        "grants": {},
        "packages": [],
        "docs": docs(),
        "contract": contract(),
        "event_time": null,
        "concurrent_batches": null,
    }));
    config.extend(object(match node.kind {
        NodeKind::Model(materialization) => json!({
            "materialized": materialization.as_str(),
            "access": "protected",
            "freshness": null,
            "on_error": null,
            "latest_version_pointer": {"enabled": null, "alias": null},
        }),
        NodeKind::Seed => json!({"delimiter": ",", "quote_columns": null}),
        NodeKind::Snapshot => json!({
            "strategy": null,
            "target_schema": null,
            "target_database": null,
            "updated_at": null,
            "check_cols": null,
            "snapshot_meta_column_names": {
                "dbt_valid_to": null,
                "dbt_valid_from": null,
                "dbt_scd_id": null,
                "dbt_updated_at": null,
                "dbt_is_deleted": null,
            },
            "dbt_valid_to_current": null,
        }),
        NodeKind::Source | NodeKind::Test => json!({}),
    }));
    config
}

fn hooks(value: &Json) -> Json {
    let items = crate::graph::layers::items(value).into_iter();
    let hooks = items.map(|hook| match hook {
        Json::String(sql) => json!({"sql": sql, "transaction": true, "index": null}),
        other => other,
    });
    hooks.collect()
}

/// What was configured, without defaults: dbt compares this to tell whether a node was modified.
fn unrendered(node: &Node, generic: Option<&GenericTest>) -> Json {
    let mut config: Map<String, Json> = node
        .config
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(generic) = generic
        && generic.alias != node.name
    {
        config.insert("alias".to_owned(), generic.alias.clone().into());
    }
    Json::Object(config)
}

fn refs(node: &Node) -> Vec<Json> {
    let refs = node.dependencies.keys();
    refs.filter_map(|dependency| match dependency {
        Dependency::Ref { package, name } => Some(json!({"name": name, "package": package, "version": null})),
        Dependency::Source { .. } => None,
    })
    .collect()
}

fn sources(node: &Node) -> Vec<Json> {
    let sources = node.dependencies.keys();
    sources
        .filter_map(|dependency| match dependency {
            Dependency::Source { source, table } => Some(json!([source, table])),
            Dependency::Ref { .. } => None,
        })
        .collect()
}

fn generic_test(test: &GenericTest) -> Json {
    let parts: Vec<&str> = test.attached.split('.').collect();
    let kind = parts.first().copied().unwrap_or_default();
    let name = parts.get(2).copied().unwrap_or_default();
    let attached = if kind == "source" {
        Json::Null
    } else {
        test.attached.clone().into()
    };
    let kwargs: Map<String, Json> = test
        .arguments
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json!({
        "column_name": test.column,
        "file_key_name": format!("{kind}s.{name}"),
        "attached_node": attached,
        "test_metadata": {"name": test.name, "kwargs": kwargs, "namespace": test.namespace},
    })
}

fn columns(columns: &[Column]) -> Map<String, Json> {
    let column = |column: &Column| {
        json!({
            "name": column.name,
            "description": column.description,
            "meta": {},
            "data_type": column.data_type,
            "constraints": [],
            "quote": null,
            "config": {"meta": {}, "tags": []},
            "tags": [],
            "granularity": null,
            "dimension": null,
            "entity": null,
            "doc_blocks": [],
        })
    };
    columns
        .iter()
        .map(|one| (one.name.clone(), column(one)))
        .collect()
}

pub(super) fn source(files: &Files<'_>, node: &Node) -> Json {
    let original = files.original_path(node, &node.place.file);
    let (source, table) = node.name.split_once('.').unwrap_or_default();
    let sources = files
        .package(node)
        .into_iter()
        .flat_map(|package| &package.schema.sources);
    let properties = sources
        .clone()
        .find(|one| one.source == source && one.table == table);
    let relation = node.relation.as_ref();
    let never = json!({"warn_after": {"count": null, "period": null}, "error_after": {"count": null, "period": null}, "filter": null});
    json!({
        "database": relation.map(|relation| &relation.database),
        "schema": relation.map(|relation| &relation.schema),
        "name": table,
        "resource_type": "source",
        "package_name": node.package,
        "path": original,
        "original_file_path": original,
        "unique_id": node.id,
        "fqn": node.fqn,
        "source_name": source,
        "source_description": properties.map(|one| &one.source_description),
        "loader": "",
        "identifier": relation.map(|relation| &relation.identifier),
        "quoting": {"database": null, "schema": null, "identifier": null, "column": null},
        "loaded_at_field": null,
        "loaded_at_query": null,
        "freshness": never,
        "external": null,
        "description": properties.map(|one| &one.description),
        "columns": columns(&node.columns),
        "meta": {},
        "source_meta": {},
        "tags": node.tags,
        "config": {
            "enabled": true,
            "event_time": null,
            "freshness": never,
            "loaded_at_field": null,
            "loaded_at_query": null,
            "meta": {},
            "tags": node.tags,
            "static_analysis": null,
        },
        "patch_path": null,
        "unrendered_config": {"loaded_at_field": null, "loaded_at_query": null, "meta": {}, "tags": []},
        "relation_name": relation.map(ToString::to_string),
        "created_at": 0.0,
        "unrendered_database": null,
        "unrendered_schema": properties.map(|one| &one.schema),
        "doc_blocks": [],
        "raw_code": "",
    })
}
