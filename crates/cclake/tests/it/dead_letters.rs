//! `cclake dlq retry` and `purge`: letters leave the queue as rows, once, or for good.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::oddities::{broken, lines};
use crate::support::{Scene, prompt, transcripts};

/// The queue's one file.
fn queue(scene: &Scene) -> PathBuf {
    let mut files = transcripts(&scene.data().join("dead_letter"));
    files.retain(|file| file.ends_with("extraction_failures.jsonl"));
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn letters(scene: &Scene) -> Vec<Value> {
    scene.json(&["dlq", "list"]).as_array().unwrap().clone()
}

/// As if a program that knew less had queued these lines or documents: they are put into its letters.
pub(crate) fn mend(scene: &Scene, with: &[&[u8]]) {
    let file = queue(scene);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut mended = String::new();
    for (index, line) in text.lines().enumerate() {
        let mut letter: Value = serde_json::from_str(line).unwrap();
        if let Some(with) = with.get(index) {
            letter["bytes_base64"] = json!(base64(with));
        }
        mended.extend([letter.to_string().as_str(), "\n"]);
    }
    std::fs::write(file, mended).unwrap();
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn what_can_be_read_by_now_becomes_rows_once() {
    let scene = Scene::new();
    scene.write(
        "p/s.jsonl",
        [
            lines(&broken()),
            (prompt("s", "u", 1, "hello") + "\n").into_bytes(),
        ]
        .concat(),
    );
    scene.run(&["run"]);
    let before = letters(&scene).len();
    assert_eq!(
        scene.json(&["dlq", "retry"]),
        json!({"tried": before, "rows": 0, "documents": 0, "left": before, "warnings": []})
    );
    mend(
        &scene,
        &[
            prompt("s", "v", 2, "mended").as_bytes(),
            prompt("s", "w", 3, "too").as_bytes(),
        ],
    );
    let queued = std::fs::read(queue(&scene)).unwrap();
    assert_eq!(
        scene.json(&["dlq", "retry"]),
        json!({"tried": before, "rows": 2, "documents": 0, "left": before - 2, "warnings": []})
    );
    assert_eq!(letters(&scene).len(), before - 2);
    // As after a crash between the lake's commit and the queue's.
    std::fs::write(queue(&scene), queued).unwrap();
    assert_eq!(scene.json(&["dlq", "retry"])["rows"], 2);
    let report = scene.json(&["run"]);
    // The positions went along: nothing is read again.
    assert_eq!(report["ingest"]["files"]["unchanged"], 1, "{report}");
    assert_eq!(scene.number("select count(*) from fct_messages"), 3);
    assert_eq!(scene.number("select count(*) from raw.sightings"), 3);
}

#[test]
fn purged_letters_stay_away_until_their_line_changes() {
    let scene = Scene::new();
    let dead = broken();
    scene.write("p/s.jsonl", lines(&dead));
    scene.run(&["run"]);
    let id = letters(&scene)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(scene.json(&["dlq", "purge", &id[..10]]), json!({"purged": 1}));
    assert_eq!(letters(&scene).len(), dead.len() - 1);
    assert_eq!(
        scene.json(&["dlq", "purge", "--older-than", "1"]),
        json!({"purged": 0})
    );
    assert_eq!(
        scene.json(&["dlq", "purge", "--all"]),
        json!({"purged": dead.len() - 1})
    );
    assert!(letters(&scene).is_empty());
    std::fs::remove_file(scene.data().join("positions.json")).unwrap();
    let report = scene.json(&["run"]);
    assert_eq!(report["ingest"]["lines"]["already_there"], dead.len(), "{report}");
    assert!(letters(&scene).is_empty());
    scene.append("p/s.jsonl", "broken anew\n");
    scene.run(&["run"]);
    assert_eq!(letters(&scene).len(), 1);
}

#[test]
fn purging_nothing_in_particular_is_refused() {
    let scene = Scene::new();
    for args in [vec!["dlq", "purge"], vec!["dlq", "purge", "--all", "ab"]] {
        assert_eq!(scene.try_run(&args).status, 2, "{args:?}");
    }
    let unknown = scene.try_run(&["dlq", "purge", "ab"]);
    assert_eq!(unknown.status, 2);
    assert!(
        unknown
            .stderr
            .contains("no dead letter has an id that begins with `ab`"),
        "{}",
        unknown.stderr
    );
}
