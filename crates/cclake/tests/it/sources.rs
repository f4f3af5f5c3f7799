//! What happens to the files between runs: nothing that was loaded is lost or doubled by any of it.

use crate::support::{Scene, prompt};

/// Runs, changes the files, runs again; then `raw` and gold must hold exactly these prompts.
fn check(before: &[&str], change: impl FnOnce(&Scene), expected: &[&str]) {
    let scene = Scene::new();
    let lines: Vec<_> = before.iter().map(|text| line(text)).collect();
    scene.write("p/s.jsonl", lines.concat());
    scene.run(&["run"]);
    change(&scene);
    let report = scene.json(&["run"]);
    let lines = &report["ingest"]["lines"];
    let sum = ["new", "already_there", "dead_lettered", "pending"].map(|part| lines[part].as_u64().unwrap());
    assert_eq!(
        lines["read"].as_u64().unwrap(),
        sum.iter().sum::<u64>(),
        "{lines}"
    );
    let raw = "select message->>'$.content' as text from raw.conversations order by 1";
    assert_eq!(scene.lines(raw), expected);
    let gold = "select count(*) from fct_messages";
    assert_eq!(scene.number(gold), expected.len() as i64);
    assert_eq!(
        scene.json(&["run"])["ingest"]["lines"]["new"],
        0,
        "a third run found something new"
    );
}

fn line(text: &str) -> String {
    let second = u32::from(text.as_bytes()[0] - b'a');
    prompt("s", &format!("uuid-{text}"), second, text) + "\n"
}

#[test]
fn an_append_is_read_on() {
    check(
        &["a", "b"],
        |scene| scene.append("p/s.jsonl", line("c")),
        &["a", "b", "c"],
    );
}

#[test]
fn half_a_line_waits_for_its_other_half() {
    check(
        &["a"],
        |scene| {
            let line = line("b");
            let (first, second) = line.split_at(40);
            scene.append("p/s.jsonl", first);
            let report = scene.json(&["run"]);
            assert_eq!(report["ingest"]["lines"]["pending"], 1);
            scene.append("p/s.jsonl", second);
        },
        &["a", "b"],
    );
}

#[test]
fn a_whole_last_line_without_newline_counts_at_once_and_once() {
    check(
        &["a"],
        |scene| {
            scene.append("p/s.jsonl", line("b").trim_end());
            assert_eq!(scene.json(&["run"])["ingest"]["lines"]["new"], 1);
            scene.append("p/s.jsonl", format!("\n{}", line("c")));
        },
        &["a", "b", "c"],
    );
}

#[test]
fn truncation_loses_nothing() {
    check(
        &["a", "b", "c"],
        |scene| {
            scene.write("p/s.jsonl", line("a"));
        },
        &["a", "b", "c"],
    );
}

#[test]
fn a_rewrite_of_equal_length_is_seen() {
    check(
        &["a", "b", "c"],
        |scene| {
            scene.write("p/s.jsonl", [line("a"), line("x"), line("c")].concat());
        },
        &["a", "b", "c", "x"],
    );
}

#[test]
fn a_rename_doubles_nothing() {
    check(
        &["a", "b"],
        |scene| {
            let logs = scene.logs();
            std::fs::rename(logs.join("p/s.jsonl"), logs.join("p/t.jsonl")).unwrap();
            scene.append("p/t.jsonl", line("c"));
        },
        &["a", "b", "c"],
    );
}

#[test]
fn a_copy_doubles_nothing() {
    check(
        &["a", "b"],
        |scene| {
            std::fs::copy(scene.logs().join("p/s.jsonl"), scene.logs().join("copy.jsonl")).unwrap();
        },
        &["a", "b"],
    );
}

#[test]
fn deletion_removes_nothing() {
    check(
        &["a", "b"],
        |scene| std::fs::remove_dir_all(scene.logs().join("p")).unwrap(),
        &["a", "b"],
    );
}

#[test]
fn lost_positions_are_found_again_in_the_lake() {
    check(
        &["a", "b"],
        |scene| {
            std::fs::remove_file(scene.data().join("positions.json")).unwrap();
            scene.append("p/s.jsonl", line("c"));
        },
        &["a", "b", "c"],
    );
}

#[test]
fn a_lost_warehouse_is_filled_from_the_lake() {
    check(
        &["a", "b"],
        |scene| {
            std::fs::remove_file(scene.data().join("analytics.db")).unwrap();
            std::fs::remove_dir_all(scene.logs().join("p")).unwrap();
        },
        &["a", "b"],
    );
}
