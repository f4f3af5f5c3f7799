//! Real kills of a process that appends and does upkeep.

use std::process::{Command, Stdio};

use super::*;
use crate::maintain::{Depth, Sweep};
use crate::{LakeSettings, MaintainOptions};

/// Names the lake to the process that is to be killed.
const VICTIM: &str = "CCLAKE_TEST_VICTIM";

const POSITION: &str = "cclake.position";

/// The process to kill: appends row after row, with much more upkeep than appends do by themselves. Does nothing as a test.
#[test]
fn victim() {
    let Some(warehouse) = std::env::var_os(VICTIM) else {
        return;
    };
    let mut lake = Lake::open(&LakeSettings::new(warehouse), &record_schema()).unwrap();
    let options = MaintainOptions {
        keep_snapshots: 3,
        min_age: Duration::ZERO,
        ..MaintainOptions::default()
    };
    loop {
        let next = lake
            .property(POSITION)
            .map_or(0, |position| position.parse().unwrap())
            + 1;
        let id = format!("k{next}-");
        let commit = Commit {
            properties: [(POSITION.to_owned(), next.to_string())].into(),
            ..commit(&id)
        };
        lake.append(vec![rows(&id, &[Some(next % 3 * DAY)])], &commit)
            .unwrap();
        match next % 10 {
            0 => drop(lake.maintain(&options).unwrap()),
            5 => drop(lake.tend(Depth::Light, Sweep::MetadataAndData, &options).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn kills_at_any_moment_of_upkeep_harm_nothing() {
    let place = Place::new();
    let mut landed = 0;
    // Primes, so that the moments do not repeat.
    for number in 0..40_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::kills::victim", "--nocapture"])
            .env(VICTIM, &place.settings.warehouse)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + number * 37 % 211));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            None,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        landed = check(&place, landed);
    }
    assert!(landed > 50, "only {landed} rows landed");
    // What the kills left behind goes, now that nobody can need it: first all old snapshots, then their files.
    let mut lake = place.open();
    let options = MaintainOptions {
        min_age: Duration::ZERO,
        ..MaintainOptions::default()
    };
    lake.maintain(&options).unwrap();
    lake.maintain(&options).unwrap();
    drop(lake);
    check(&place, landed);
    let ending = |ending: &str| {
        let files = files_below(&place.settings.warehouse);
        files
            .iter()
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .count()
    };
    assert_eq!((ending(".parquet"), ending(".avro")), (3, 2));
}

/// Each row up to the position is there once, and no other; the position, which is not behind what was there before.
fn check(place: &Place, before: u64) -> u64 {
    let Ok(lake) = Lake::open_existing(&place.settings) else {
        // Killed before there was a table.
        return before;
    };
    let position: u64 = lake
        .property(POSITION)
        .map_or(0, |position| position.parse().unwrap());
    let mut expected: Vec<String> = (1..=position).map(|number| format!("k{number}-0")).collect();
    expected.sort();
    assert_eq!(sorted_ids(&lake), expected);
    assert!(position >= before);
    position
}
