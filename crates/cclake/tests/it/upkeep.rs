//! `cclake lake maintain`: the same rows in fewer files, whoever reads them, and whenever it is killed.

use std::collections::BTreeMap;
use std::process::Command;

use cclake_lake::{Lake, LakeSettings};

use crate::faults::{Moments, copy_portion, kill, lake_rows};
use crate::peers::{answer, peer};
use crate::support::{LOAD_ORDER, Scene, TRACE, tables};

/// Transcripts of some dozens of days.
fn transcripts(scene: &Scene) -> std::path::PathBuf {
    let out = scene.path("demo");
    scene.run(&["demo", "--out", out.to_str().unwrap(), "--sessions", "60"]);
    out.join("projects")
}

/// A lake filled in portions.
fn filled(portions: u32) -> Scene {
    let scene = Scene::new();
    let whole = transcripts(&scene);
    for portion in 1..=portions {
        copy_portion(&whole, scene.logs(), f64::from(portion) / f64::from(portions));
        scene.run(&["extract"]);
    }
    scene
}

fn files_by_day(scene: &Scene) -> BTreeMap<String, usize> {
    let lake = Lake::open_existing(&LakeSettings::new(scene.data().join("iceberg"))).unwrap();
    let mut days = BTreeMap::new();
    for file in lake.files_since(0).unwrap() {
        *days.entry(file.partition).or_default() += 1;
    }
    days
}

#[test]
fn each_day_ends_with_one_file_and_the_same_rows() {
    let scene = filled(6);
    let (rows, before) = (lake_rows(&scene), files_by_day(&scene));
    let most = *before.values().max().unwrap();
    assert!(most > 2, "{before:?}");

    let foreseen = scene.json(&["lake", "maintain", "--dry-run"]);
    assert_eq!(files_by_day(&scene), before);
    let done = scene.json(&["lake", "maintain"]);
    for figure in [
        "data_files",
        "compacted_files",
        "manifests",
        "snapshots",
        "removed_files",
    ] {
        assert_eq!(foreseen[figure], done[figure], "{figure}");
    }
    assert!(files_by_day(&scene).values().all(|files| *files == 1));
    assert_eq!(lake_rows(&scene), rows);

    // The reading positions hold, and the warehouse is what it would have been.
    let report = scene.json(&["run"]);
    assert_eq!(report["ingest"]["files"]["reread"], 0, "{report}");
    let undisturbed = Scene::reading(scene.logs());
    undisturbed.run(&["run"]);
    let ignored = [TRACE, LOAD_ORDER];
    assert_eq!(tables(&scene, &ignored), tables(&undisturbed, &ignored));
}

#[test]
fn a_warehouse_that_is_behind_misses_nothing() {
    let scene = Scene::new();
    let whole = transcripts(&scene);
    copy_portion(&whole, scene.logs(), 0.3);
    scene.run(&["run"]);
    for portion in [0.5, 0.7, 1.0] {
        copy_portion(&whole, scene.logs(), portion);
        scene.run(&["extract"]);
    }
    scene.run(&["lake", "maintain"]);
    scene.run(&["run"]);
    let undisturbed = Scene::reading(scene.logs());
    undisturbed.run(&["run"]);
    let ignored = [TRACE, LOAD_ORDER];
    assert_eq!(tables(&scene, &ignored), tables(&undisturbed, &ignored));
}

#[test]
fn kills_of_maintain_leave_no_trace() {
    let scene = filled(3);
    let rows = lake_rows(&scene);
    let mut moments = Moments::new(5);
    let mut kills = 0;
    for number in 0..20 {
        let moment = moments.next(std::time::Duration::from_millis(250));
        kills += u32::from(kill(&scene, &["lake", "maintain", "--min-age", "0"], moment));
        if number % 5 == 0 {
            assert_eq!(lake_rows(&scene), rows, "after {kills} kills");
        }
    }
    for _ in 0..2 {
        scene.run(&["lake", "maintain", "--min-age", "0"]);
    }
    assert_eq!(lake_rows(&scene), rows);
    let days = files_by_day(&scene);
    assert!(days.values().all(|files| *files == 1), "{days:?}");
    let table = scene.data().join("iceberg/analytics/conversations/data");
    assert_eq!(
        crate::support::transcripts(&table).len(),
        days.len(),
        "only live files are left"
    );
}

#[test]
fn pyiceberg_and_duckdb_see_equal_rows_before_and_after() {
    let Some(python) = peer("CCLAKE_PEER_PYTHON") else {
        return;
    };
    let scene = filled(4);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/read_lake.py");
    let read = || {
        answer(
            Command::new(&python)
                .arg(script)
                .arg(scene.data().join("iceberg")),
        )
    };
    let before = read();
    assert_eq!(before["pyiceberg"], before["duckdb"]);
    for age in ["24", "0", "0"] {
        scene.run(&["lake", "maintain", "--min-age", age]);
        assert_eq!(read(), before);
    }
}

#[test]
fn there_must_be_a_lake() {
    let scene = Scene::new();
    let ran = scene.try_run(&["lake", "maintain"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("there is no lake in"), "{}", ran.stderr);
}
