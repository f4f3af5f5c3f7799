//! The tools the field uses read what we wrote and count what we count. `make test-peers` installs them and names them in
//! the environment; without it these tests say that they did not run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Scene, samples};

pub(crate) fn peer(variable: &str) -> Option<PathBuf> {
    let peer = std::env::var_os(variable).map(PathBuf::from);
    if peer.is_none() {
        println!("NOT RUN against a real peer: {variable} is not set (`make test-peers` sets it)");
    }
    peer
}

/// A scene after a run over the real transcripts where they are, else over demo data; and where they are.
fn after_a_run() -> (Scene, PathBuf) {
    let scene = Scene::new();
    let logs = samples().map_or_else(
        || {
            let out = scene.path("demo");
            scene.run(&["demo", "--out", out.to_str().unwrap()]);
            out.join("projects")
        },
        |samples| samples.join("claude-projects"),
    );
    scene.run(&["run", "--path", logs.to_str().unwrap()]);
    (scene, logs)
}

/// The JSON that a peer must print.
pub(crate) fn answer(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn pyiceberg_and_duckdb_read_the_lake_unchanged() {
    let Some(python) = peer("CCLAKE_PEER_PYTHON") else {
        return;
    };
    let (scene, _) = after_a_run();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/read_lake.py");
    let seen = answer(Command::new(python).arg(script).arg(scene.data().join("iceberg")));
    assert_eq!(seen["pyiceberg"], seen["duckdb"]);
    let ours = &scene.query(
        "select (select count(*) from raw.sightings) as rows, count(*) as distinct_ids from raw.conversations",
    )[0];
    for figure in ["rows", "distinct_ids"] {
        assert_eq!(seen["duckdb"][figure], ours[figure], "{figure}");
    }
}

#[test]
fn ccusage_counts_the_same_tokens() {
    let Some(ccusage) = peer("CCLAKE_PEER_CCUSAGE") else {
        return;
    };
    let (scene, logs) = after_a_run();
    let claude = scene.path("claude");
    std::fs::create_dir_all(&claude).unwrap();
    std::os::unix::fs::symlink(&logs, claude.join("projects")).unwrap();
    let report = answer(
        Command::new(ccusage)
            .args([
                "claude",
                "daily",
                "--offline",
                "--json",
                "--breakdown",
                "-z",
                "UTC",
            ])
            .env("CLAUDE_CONFIG_DIR", &claude),
    );
    let mut theirs: BTreeMap<String, [i64; 4]> = BTreeMap::new();
    for model in report["daily"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|day| day["modelBreakdowns"].as_array().unwrap())
    {
        let sums = theirs
            .entry(model["modelName"].as_str().unwrap().to_owned())
            .or_default();
        for (sum, class) in sums.iter_mut().zip([
            "inputTokens",
            "outputTokens",
            "cacheCreationTokens",
            "cacheReadTokens",
        ]) {
            *sum += model[class].as_i64().unwrap();
        }
    }
    let ours = scene.lines(
        "select model, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
                sum(cache_write_5m_tokens + cache_write_1h_tokens)::bigint, sum(cache_read_tokens)::bigint
         from fct_messages where role = 'assistant' group by all having sum(token_count) > 0 order by 1",
    );
    let theirs: Vec<_> = theirs
        .iter()
        .map(|(model, [input, output, write, read])| format!("{model}|{input}|{output}|{write}|{read}"))
        .collect();
    assert_eq!(ours, theirs);
}
