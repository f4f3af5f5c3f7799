//! dbt's artifacts: what we write is what dbt writes, with the same ids, and its tools read it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Scene, finish, prompt, response};

fn artifact(scene: &Scene, name: &str) -> Value {
    let path = scene.data().join("target").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// A scene after a run over one short session.
fn after_a_run() -> Scene {
    let scene = Scene::new();
    let lines = [prompt("s", "u1", 1, "one"), response("s", "u2", 2, "msg_1", 7)];
    scene.write("p/s.jsonl", lines.join("\n"));
    scene.run(&["run"]);
    scene
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("{value} is no object"))
        .keys()
        .map(String::as_str)
        .collect()
}

fn has(value: &Value, fields: &str) {
    let keys = keys(value);
    for field in fields.split_whitespace() {
        assert!(keys.contains(field), "{field} is missing in {value}");
    }
}

/// What dbt's documentation and other tools look at.
const NODE: &str = "unique_id resource_type name alias schema database fqn path original_file_path package_name raw_code \
     checksum tags config description columns meta patch_path relation_name docs unrendered_config created_at";
const QUERY: &str = "language refs sources depends_on compiled compiled_code contract";
const TEST: &str = "test_metadata attached_node column_name file_key_name";
const RESULT: &str = "status timing thread_id execution_time adapter_response message failures unique_id compiled compiled_code relation_name";

#[test]
fn a_build_leaves_a_manifest_and_its_results() {
    let scene = after_a_run();
    let manifest = artifact(&scene, "manifest.json");
    has(
        &manifest,
        "metadata nodes sources macros docs exposures metrics groups disabled parent_map child_map",
    );
    has(
        &manifest["metadata"],
        "dbt_schema_version dbt_version generated_at invocation_id project_name adapter_type",
    );
    assert_eq!(
        manifest["metadata"]["dbt_schema_version"],
        "https://schemas.getdbt.com/dbt/manifest/v12.json"
    );
    for (id, node) in manifest["nodes"].as_object().unwrap() {
        has(node, NODE);
        if node["resource_type"] != "seed" {
            has(node, QUERY);
        }
        if node.get("test_metadata").is_some() {
            has(node, TEST);
        }
        assert_eq!(node["unique_id"], **id);
        for parent in manifest["parent_map"][id].as_array().unwrap() {
            let children = manifest["child_map"][parent.as_str().unwrap()]
                .as_array()
                .unwrap();
            assert!(
                children.iter().any(|child| child == id),
                "{id} is no child of {parent}"
            );
        }
    }
    let dim = &manifest["nodes"]["model.cclake.dim_date"];
    assert_eq!(dim["path"], "marts/core/dim_date.sql");
    assert_eq!(dim["patch_path"], "cclake://models/marts/core/_core.yml");
    assert_eq!(dim["relation_name"], "\"analytics\".\"marts\".\"dim_date\"");

    let results = artifact(&scene, "run_results.json");
    has(&results, "metadata results elapsed_time args");
    let results = results["results"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for result in results {
        has(result, RESULT);
        let id = result["unique_id"].as_str().unwrap();
        assert!(ids.insert(id), "{id} has two results");
        let expected: &[&str] = if id.starts_with("test.") {
            &["pass", "warn"]
        } else {
            &["success"]
        };
        assert!(expected.contains(&result["status"].as_str().unwrap()), "{result}");
    }
    assert_eq!(ids, keys(&manifest["nodes"]));
}

#[test]
fn nothing_new_writes_nothing() {
    let scene = after_a_run();
    std::fs::remove_dir_all(scene.data().join("target")).unwrap();
    scene.run(&["run"]);
    assert!(!scene.data().join("target").exists());
    scene.run(&["test", "--select", "dim_date"]);
    let results = artifact(&scene, "run_results.json");
    assert_eq!(results["args"]["which"], "test");
    let nodes = results["results"].as_array().unwrap().iter();
    let nodes: Vec<_> = nodes
        .map(|result| result["unique_id"].as_str().unwrap())
        .collect();
    assert!(
        !nodes.is_empty() && nodes.iter().all(|id| id.starts_with("test.cclake.")),
        "{nodes:?}"
    );
}

/// A project of one model and one test; the results of its nodes as `name status failures`.
fn check(model: &str, test: &str, expected: &[&str]) {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    let folder = scene.path("shop");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("dbt_project.yml", "name: shop\nprofile: shop\n");
    write(
        "profiles.yml",
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: analytics.db, schema: main}}}",
    );
    write("models/a.sql", "select 1 as id");
    write("models/b.sql", model);
    write("models/c.sql", "select * from {{ ref('b') }}");
    write("tests/t.sql", test);
    finish(scene.command(&["run"]).env("CCLAKE_DBT_PROJECT_DIR", &folder));
    let results = artifact(&scene, "run_results.json");
    let results: Vec<String> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let id = result["unique_id"].as_str().unwrap();
            let (status, failures) = (&result["status"], &result["failures"]);
            format!("{} {} {failures}", &id[id.len() - 1..], status.as_str().unwrap())
        })
        .collect();
    assert_eq!(results, expected);
}

#[test]
fn what_failed_is_in_the_results() {
    let model = "select 2 as id from {{ ref('a') }}";
    check(
        model,
        "select * from {{ ref('c') }} where id > 1",
        &["a success null", "b success null", "c success null", "t fail 1"],
    );
    check(
        model,
        "{{ config(severity='warn') }} select * from {{ ref('c') }}",
        &["a success null", "b success null", "c success null", "t warn 1"],
    );
    check(
        "select no_such_column from {{ ref('a') }}",
        "select * from {{ ref('c') }}",
        &[
            "a success null",
            "b error null",
            "c skipped null",
            "t skipped null",
        ],
    );
    check(
        model,
        "select no_such_column from {{ ref('c') }}",
        &[
            "a success null",
            "b success null",
            "c success null",
            "t error null",
        ],
    );
}

#[test]
fn the_catalog_has_every_table_with_its_types() {
    let scene = after_a_run();
    scene.run(&["docs", "generate"]);
    let catalog = artifact(&scene, "catalog.json");
    let manifest = artifact(&scene, "manifest.json");
    let relations = manifest["nodes"].as_object().unwrap().iter();
    let relations: BTreeSet<&str> = relations
        .filter(|(_, node)| !node["relation_name"].is_null())
        .map(|(id, _)| id.as_str())
        .collect();
    assert_eq!(keys(&catalog["nodes"]), relations);
    assert_eq!(keys(&catalog["sources"]), keys(&manifest["sources"]));
    let dim = &catalog["nodes"]["model.cclake.dim_date"];
    assert_eq!(dim["metadata"]["type"], "BASE TABLE");
    assert_eq!(
        catalog["nodes"]["model.cclake.dim_day"]["metadata"]["type"],
        "VIEW"
    );
    assert_eq!(dim["columns"]["date"]["type"], "DATE");
    has(&dim["columns"]["date"], "type index name comment");
    assert_eq!(dim["stats"]["has_stats"]["value"], false);
}

#[test]
fn documentation_needs_a_warehouse() {
    let ran = Scene::new().try_run(&["docs", "generate"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("run `cclake run` first"), "{}", ran.stderr);
}

/// Stock dbt (`CCLAKE_PEER_DBT` is its executable) parses the same project.
#[test]
fn dbt_gives_every_node_the_same_id_and_configuration() {
    let Some(dbt) = std::env::var_os("CCLAKE_PEER_DBT").map(PathBuf::from) else {
        println!("NOT RUN against dbt: CCLAKE_PEER_DBT is not set (`make test-peers` sets it)");
        return;
    };
    let scene = after_a_run();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../analytics/dbt");
    let target = scene.path("dbt-target");
    let dbt = |args: &[&str]| {
        let output = Command::new(&dbt)
            .args(["--quiet", "--no-use-colors", "--no-partial-parse"])
            .args(args)
            .arg("--project-dir")
            .arg(&project)
            .arg("--profiles-dir")
            .arg(&project)
            .current_dir(scene.path("home"))
            .env("DBT_TARGET_PATH", &target)
            .env("DBT_LOG_PATH", &target)
            .env("DUCKDB_PATH", scene.data().join("analytics.db"))
            .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
            .env("DBT_VERSION_CHECK", "false")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "dbt {args:?}: {text}");
        text
    };
    dbt(&["parse"]);
    let theirs: Value =
        serde_json::from_slice(&std::fs::read(target.join("manifest.json")).unwrap()).unwrap();
    let ours = artifact(&scene, "manifest.json");
    for part in ["nodes", "sources"] {
        assert_eq!(keys(&ours[part]), keys(&theirs[part]));
        for (id, their) in theirs[part].as_object().unwrap() {
            let our = &ours[part][id];
            let missing: Vec<_> = keys(their).difference(&keys(our)).copied().collect::<Vec<_>>();
            assert!(missing.is_empty(), "{id} has no {missing:?}");
            for field in [
                "name",
                "alias",
                "schema",
                "path",
                "original_file_path",
                "fqn",
                "checksum",
                "config",
                "unrendered_config",
                "columns",
                "description",
                "relation_name",
                "patch_path",
                "test_metadata",
                "attached_node",
                "file_key_name",
            ] {
                assert_eq!(our.get(field), their.get(field), "{field} of {id}");
            }
        }
    }
    // It reads ours as the state of an earlier run, and finds nothing changed but its own macros, which we do not have.
    let state = scene.data().join("target");
    for selector in [
        "state:new",
        "state:modified.body",
        "state:modified.configs",
        "state:modified.relation",
    ] {
        let listed = dbt(&["ls", "--select", selector, "--state", state.to_str().unwrap()]);
        assert!(!listed.contains("cclake."), "{selector}: {listed}");
    }
}
