//! Programs that are no good dbt: whatever they do, the warehouse stays as it was.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ran, Scene, finish, prompt};

/// A script finds dbt's `--target-path` in `$target` and writes results of one model there.
const PREAMBLE: &str = r#"#!/bin/sh
while [ "$1" != --target-path ]; do shift; done
target=$2
results() {
    echo '{"results":[{"unique_id":"model.cclake.m","status":"'$1'","execution_time":0.1,"failures":null,"message":null}]}' \
        > "$target/run_results.json"
}
"#;

/// A scene with one message loaded, whose dbt is this script.
fn scene_with(script: &str) -> Scene {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    scene.run(&["run"]);
    std::fs::write(scene.path("dbt.sh"), format!("{PREAMBLE}{script}\n")).unwrap();
    std::fs::set_permissions(scene.path("dbt.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    scene
}

fn by_dbt(scene: &Scene, args: &[&str], program: &str) -> Command {
    let mut command = scene.command(args);
    command
        .env("CCLAKE_TRANSFORM_ENGINE", "dbt")
        .env("CCLAKE_DBT_PROGRAM", program);
    command
}

fn check_refusal(scene: &Scene, ran: &Ran, words: &str) {
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(
        !scene.data().join("analytics.db.dbt").exists(),
        "the copy was left"
    );
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
    assert_eq!(scene.number("select count(*) from quality.builds"), 1);
}

fn check(script: &str, words: &str) {
    let scene = scene_with(script);
    let program = scene.path("dbt.sh");
    let ran = finish(&mut by_dbt(&scene, &["transform"], program.to_str().unwrap()));
    check_refusal(&scene, &ran, words);
}

#[test]
fn a_missing_dbt_is_one_sentence() {
    let scene = scene_with("");
    let ran = finish(&mut by_dbt(&scene, &["transform"], "no-such-dbt"));
    check_refusal(&scene, &ran, "there is no program `no-such-dbt`");
}

#[test]
fn what_dbt_did_not_end_is_no_build() {
    check(
        "results success; echo half way; kill -9 $$",
        "broke off: half way",
    );
    check(
        "results success; echo no more disk; exit 1",
        "broke off: no more disk",
    );
    check("results success; exit 2", "broke off");
    check("echo who are you; exit 1", "built nothing: who are you");
    check("results perplexed", "`perplexed`");
    check("echo {} > $target/run_results.json", "is not what dbt writes");
    check(
        "echo '{\"results\":[]}' > $target/run_results.json; echo nothing to do",
        "found nothing to build: nothing to do",
    );
    check(
        "results success; echo garbage > $DUCKDB_PATH",
        "cannot read what dbt wrote",
    );
}

#[test]
fn an_interrupt_ends_dbt_and_leaves_no_copy() {
    let scene = scene_with("echo $$ > $target/pid; exec sleep 60");
    let program = scene.path("dbt.sh");
    let child = by_dbt(&scene, &["transform"], program.to_str().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = scene.data().join("target/pid");
    let began = Instant::now();
    while std::fs::read_to_string(&pid).unwrap_or_default().is_empty() {
        assert!(began.elapsed() < Duration::from_mins(1), "dbt was never started");
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal = |name: &str, pid: &str| {
        Command::new("kill")
            .args([name, pid])
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(signal("-TERM", &child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    let ran = Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    check_refusal(&scene, &ran, "interrupted while dbt was building");
    let dbt = std::fs::read_to_string(&pid).unwrap();
    assert!(!signal("-0", dbt.trim()), "dbt goes on");
}

#[test]
fn a_project_that_cannot_be_built_is_told_before_a_row_is_read() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    for (name, value) in [
        ("CCLAKE_DBT_TARGET", "no_such_target"),
        ("CCLAKE_DBT_PROJECT_DIR", "no/such/folder"),
    ] {
        let ran = finish(scene.command(&["run"]).env(name, value));
        assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(value), "{}", ran.stderr);
    }
    let ran = scene.try_run(&["transform"]);
    assert!(ran.stderr.contains("nothing is loaded"), "{}", ran.stderr);
}

#[test]
fn cron_hears_of_failed_tests() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    crate::support::copy(&crate::support::dbt_project(), &scene.path("dbt"));
    std::fs::write(
        scene.path("dbt/tests/custom/never_one.sql"),
        "select * from {{ ref('fct_messages') }}",
    )
    .unwrap();
    let ran = finish(scene.command(&["run", "-q"]).env("CCLAKE_DBT_PROJECT_DIR", "dbt"));
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("FAIL  never_one (1 rows)"), "{}", ran.stderr);
}
