//! manifest.json: the project as dbt knows it after parsing.

use std::collections::BTreeMap;

use minijinja::Value;
use serde_json::{Map, Value as Json, json};

use super::metadata;
use super::nodes::{Files, node, source};
use crate::error::{Place, Result};
use crate::graph::names::md5_hex;
use crate::graph::{Graph, NodeKind};
use crate::inputs::Inputs;
use crate::jinja::catalog::{ADAPTER, DBT};
use crate::jinja::session::Frame;
use crate::plan::{BuildPlan, Step};
use crate::project::Project;

/// The schema of tests, before `generate_schema_name` has its say. Nothing is ever stored there.
const TEST_SCHEMA: &str = "dbt_test__audit";

/// What the first page of the documentation shows when the project has no `__overview__` of its own.
const OVERVIEW: &str = "### Welcome\n\nThe models, tests, seeds, snapshots and sources of this project.";

/// The manifest of a project. Nodes of `plan` come with their compiled SQL, others without, as in dbt.
///
/// # Errors
/// When the project's `generate_schema_name` fails for the schema of tests.
pub fn manifest(
    project: &Project,
    graph: &Graph,
    inputs: &Inputs,
    plan: &BuildPlan,
    generated_at: &str,
) -> Result<Json> {
    let files = Files::of(project, test_schema(project, graph)?);
    let compiled: BTreeMap<&str, &str> = plan
        .steps
        .iter()
        .filter_map(|step: &Step| Some((step.node(), step.query()?)))
        .collect();
    let (mut nodes, mut sources) = (Map::new(), Map::new());
    for one in graph.nodes.values() {
        if one.kind == NodeKind::Source {
            sources.insert(one.id.clone(), source(&files, one));
        } else {
            let compiled = compiled.get(one.id.as_str()).copied();
            nodes.insert(one.id.clone(), node(&files, inputs, one, compiled));
        }
    }
    let (parents, children) = maps(graph);
    let mut about = metadata("manifest/v12", inputs, generated_at);
    about.extend([
        ("project_name".to_owned(), project.name().into()),
        ("project_id".to_owned(), md5_hex(project.name()).into()),
        ("user_id".to_owned(), Json::Null),
        ("send_anonymous_usage_stats".to_owned(), false.into()),
        ("adapter_type".to_owned(), ADAPTER.into()),
        (
            "quoting".to_owned(),
            json!({"database": true, "schema": true, "identifier": true, "column": null}),
        ),
        ("run_started_at".to_owned(), inputs.run_started_at.clone().into()),
    ]);
    let empty = || Json::Object(Map::new());
    Ok(json!({
        "metadata": about,
        "nodes": nodes,
        "sources": sources,
        "macros": macros(project),
        "docs": docs(project),
        "exposures": empty(),
        "metrics": empty(),
        "groups": empty(),
        "selectors": empty(),
        "disabled": empty(),
        "parent_map": parents,
        "child_map": children,
        "group_map": empty(),
        "saved_queries": empty(),
        "semantic_models": empty(),
        "unit_tests": empty(),
        "functions": empty(),
    }))
}

fn test_schema(project: &Project, graph: &Graph) -> Result<String> {
    let name = "generate_schema_name";
    let Some(found) = project.catalog.resolve(project.name(), name) else {
        return Ok(TEST_SCHEMA.to_owned());
    };
    graph.session.enter(Frame {
        package: project.name().to_owned(),
        ..Frame::default()
    });
    let args = [Value::from(TEST_SCHEMA), Value::from(())];
    let called = graph.session.call(found, &args, &found.place);
    graph.session.leave();
    Ok(called?.to_string().trim().to_owned())
}

/// Each node's parents and children; every node has an entry in both.
fn maps(graph: &Graph) -> (Map<String, Json>, Map<String, Json>) {
    let mut children: BTreeMap<&str, Vec<&str>> =
        graph.nodes.keys().map(|id| (id.as_str(), Vec::new())).collect();
    for node in graph.nodes.values() {
        for parent in &node.depends_on {
            children.entry(parent).or_default().push(&node.id);
        }
    }
    let parents = graph.nodes.values();
    (
        parents
            .map(|node| (node.id.clone(), node.depends_on.clone().into()))
            .collect(),
        children
            .into_iter()
            .map(|(id, children)| (id.to_owned(), children.into()))
            .collect(),
    )
}

fn macros(project: &Project) -> Map<String, Json> {
    let one = |found: &crate::jinja::catalog::Macro| {
        let path = own_path(project, &found.package, &found.place);
        json!({
            "name": found.name,
            "resource_type": "macro",
            "package_name": found.package,
            "path": path,
            "original_file_path": path,
            "unique_id": found.id(),
            "macro_sql": found.text,
            "depends_on": {"macros": []},
            "description": "",
            "meta": {},
            "docs": {"show": true, "node_color": null},
            "config": {"meta": {}, "docs": {"show": true, "node_color": null}},
            "patch_path": null,
            "arguments": [],
            "created_at": 0.0,
            "supported_languages": null,
        })
    };
    project
        .catalog
        .iter()
        .map(|found| (found.id(), one(found)))
        .collect()
}

/// The path inside of its package.
fn own_path<'p>(project: &Project, package: &str, place: &'p Place) -> &'p str {
    let folder = project.packages.iter().find(|one| one.name == package);
    folder
        .and_then(|one| place.file.strip_prefix(one.folder.as_str()))
        .unwrap_or(&place.file)
}

fn docs(project: &Project) -> Map<String, Json> {
    let doc = |package: &str, name: &str, file: &str, text: &str| {
        let id = format!("doc.{package}.{name}");
        let value = json!({
            "name": name,
            "resource_type": "doc",
            "package_name": package,
            "path": file.split_once('/').map_or(file, |(_, path)| path),
            "original_file_path": file,
            "unique_id": id,
            "block_contents": text,
        });
        (id, value)
    };
    let written = project
        .docs
        .iter()
        .map(|(name, one)| doc(&one.package, name, &one.file, &one.text));
    std::iter::once(doc(DBT, "__overview__", "docs/overview.md", OVERVIEW))
        .chain(written)
        .collect()
}
