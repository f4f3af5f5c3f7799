//! The main job, end to end.

use serde_json::json;

use crate::support::{Scene, prompt, response, samples};

#[test]
fn one_command_leads_from_lines_to_gold() {
    let scene = Scene::new();
    scene.write(
        "-home-ada-shop/s1.jsonl",
        [
            prompt("s1", "u1", 1, "fix the bug"),
            response("s1", "u2", 2, "msg_1", 7),
            String::new(),
        ]
        .join("\n"),
    );
    let report = scene.json(&["run"]);
    assert_eq!(
        report["ingest"]["lines"],
        json!({"read": 2, "new": 2, "already_there": 0, "dead_lettered": 0, "pending": 0, "bytes": report["ingest"]["lines"]["bytes"]})
    );
    assert_eq!(report["facts"]["prompts"], 1);
    assert_eq!(report["facts"]["responses"], 1);
    assert_eq!(report["build"]["failed"], 0);
    assert_eq!(
        scene.lines("select role, token_count, task_category from fct_messages order by role"),
        ["assistant|120|-", "human|0|bug_fix"]
    );
}

#[test]
fn a_second_run_with_nothing_new_writes_nothing() {
    let scene = Scene::new();
    scene.write("p/s1.jsonl", prompt("s1", "u1", 1, "hello"));
    scene.run(&["run"]);
    let commits = "select count(*) from raw.loads";
    let before = scene.number(commits);
    let report = scene.json(&["run"]);
    // A file as young as this is looked into again, since its time proves nothing yet.
    let lines = &report["ingest"]["lines"];
    assert_eq!(
        (&lines["new"], &lines["read"]),
        (&json!(0), &lines["already_there"])
    );
    assert_eq!(report["ingest"]["lake_commits"], 0);
    assert_eq!(report["build"]["up_to_date"], true);
    assert_eq!(scene.number(commits), before);
}

#[test]
fn a_run_without_any_transcript_is_a_run() {
    let scene = Scene::new();
    let report = scene.json(&["run"]);
    assert_eq!(report["ingest"]["lines"]["read"], 0);
    assert_eq!(report["facts"]["sessions"], 0);
    assert_eq!(scene.number("select count(*) from fct_messages"), 0);
}

#[test]
fn stages_one_by_one_give_what_run_gives() {
    let scene = Scene::new();
    scene.write("p/s1.jsonl", prompt("s1", "u1", 1, "hello"));
    scene.run(&["extract"]);
    scene.write("p/s2.jsonl", prompt("s2", "u2", 2, "hello again"));
    scene.run(&["extract"]);
    scene.run(&["load"]);
    scene.run(&["transform"]);
    scene.run(&["test"]);
    assert_eq!(scene.number("select count(*) from dim_sessions"), 2);
}

#[test]
fn the_summary_is_a_page_a_person_reads() {
    let Some(samples) = samples() else { return };
    let scene = Scene::reading(&samples.join("claude-projects"));
    let page = scene.run(&["run"]);
    for part in [
        "21,721 lines = 21,721 new + 0 already there + 0 dead-lettered + 0 pending",
        "Tokens by model",
        "claude-opus-4-5-20251101",
        "Top projects",
        "\ndevenv/cli ",
        "\nworkspace/cli ",
        "\nDemo ",
        "select project_name, project_path,",
        "Busiest hours",
        "MB/s",
        "cclake query",
        "0 * * * *",
    ] {
        assert!(page.contains(part), "no `{part}` in\n{page}");
    }
    assert!(
        page.lines()
            .take_while(|line| *line != "Next")
            .all(|line| line.chars().count() <= 100),
        "{page}"
    );
}
