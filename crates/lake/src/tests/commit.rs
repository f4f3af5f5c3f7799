use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::*;
use crate::ErrorKind;
use crate::commit::{commit_files, try_commit};
use crate::write::PlannedFiles;

#[test]
fn the_catalog_is_in_wal_mode_whoever_made_it() {
    let place = Place::new().impatient();
    std::fs::create_dir_all(&place.settings.warehouse).unwrap();
    let mut other = OtherProgram::open(&place);
    other.run("PRAGMA journal_mode = delete");
    other.run("CREATE TABLE anything (x)");
    let mut lake = place.open();
    let mut other = OtherProgram::open(&place);
    assert_eq!(other.ask("PRAGMA journal_mode"), "wal");
    // In the default mode this reader makes SQLite refuse every COMMIT.
    other.run("BEGIN");
    other.run("SELECT * FROM iceberg_tables");
    let started = Instant::now();
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    assert!(started.elapsed() < Duration::from_secs(4));
}

/// Makes SQLite refuse the COMMIT, not the UPDATE before it: the error that the catalog swallows.
const REFUSE_COMMIT: [&str; 3] = [
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER refuse AFTER UPDATE ON iceberg_tables BEGIN INSERT INTO child VALUES (1); END",
];

const REFUSE_UPDATE: [&str; 1] =
    ["CREATE TRIGGER refuse BEFORE UPDATE ON iceberg_tables BEGIN SELECT raise(abort, 'no'); END"];

const IGNORE_UPDATE: [&str; 1] =
    ["CREATE TRIGGER refuse BEFORE UPDATE ON iceberg_tables BEGIN SELECT raise(ignore); END"];

#[test]
fn a_refused_commit_is_never_reported_as_done() {
    for (name, statements, kind) in [
        ("commit", REFUSE_COMMIT.as_slice(), ErrorKind::CommitRefused),
        ("update", REFUSE_UPDATE.as_slice(), ErrorKind::Other),
        ("ignored update", IGNORE_UPDATE.as_slice(), ErrorKind::Conflict),
    ] {
        let place = Place::new().impatient();
        let mut lake = place.open();
        append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
        let mut other = OtherProgram::open(&place);
        other.run_all(statements);

        let error = append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_eq!(
            ids(&Lake::open_existing(&place.settings).unwrap()),
            ["a0"],
            "{name}"
        );
        assert_eq!(
            parquet_files(&place),
            1,
            "{name}: the files of a failed append are taken back"
        );

        other.run("DROP TRIGGER refuse");
        append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap();
        assert_eq!(sorted_ids(&lake), ["a0", "b0"], "{name}");
    }
}

#[test]
fn a_landed_commit_is_found_though_reported_as_failed() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    let mut other = OtherProgram::open(&place);
    // The row changes, but not by the catalog's own statement, which counts no rows and calls that a conflict.
    other.run(
        "CREATE TRIGGER misreport BEFORE UPDATE ON iceberg_tables BEGIN
           UPDATE iceberg_tables SET metadata_location = NEW.metadata_location;
           SELECT raise(ignore);
         END",
    );
    append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap();
    assert_eq!(
        (sorted_ids(&lake), snapshots(&lake)),
        (vec!["a0".to_owned(), "b0".to_owned()], 2)
    );
}

#[test]
fn an_unknown_outcome_is_said_and_a_retry_lands_once() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    let mut other = OtherProgram::open(&place);
    other.run("CREATE TABLE landed (location)");
    other.run(
        "CREATE TRIGGER hide AFTER UPDATE OF metadata_location ON iceberg_tables BEGIN
           INSERT INTO landed VALUES (NEW.metadata_location);
           UPDATE iceberg_tables SET metadata_location = '/nowhere/1-x.metadata.json';
         END",
    );
    let error = append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert!(error.is_retryable());
    assert_eq!(parquet_files(&place), 2, "they may be needed");

    other.run("DROP TRIGGER hide");
    other.run("UPDATE iceberg_tables SET metadata_location = (SELECT location FROM landed)");
    append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap();
    assert_eq!(
        (sorted_ids(&lake), snapshots(&lake)),
        (vec!["a0".to_owned(), "b0".to_owned()], 2)
    );
}

#[test]
fn a_swallowed_refusal_is_tried_again() {
    let place = Place::new();
    let mut lake = place.open();
    let mut other = OtherProgram::open(&place);
    other.run_all(&REFUSE_COMMIT);
    let appending = thread::spawn(move || append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap());
    // The first failed try leaves the second version of the metadata behind.
    wait_until(|| metadata_files(&place) >= 2);
    other.run("DROP TRIGGER refuse");
    appending.join().unwrap();
    let lake = Lake::open_existing(&place.settings).unwrap();
    assert_eq!((ids(&lake), snapshots(&lake)), (vec!["a0".to_owned()], 1));
}

#[test]
fn a_stale_writer_neither_overwrites_nor_loses() {
    let place = Place::new();
    let stale = place.open();
    let mut fresh = place.open();
    let position = |id: &str| Commit {
        properties: [("cclake.position".to_owned(), id.to_owned())].into(),
        ..commit(id)
    };
    fresh
        .append(vec![rows("a", &[Some(0)])], &position("newer"))
        .unwrap();

    let batch = crate::schema::conform(&rows("b", &[Some(0)]), &stale.schema).unwrap();
    let planned = PlannedFiles::new(&stale.table, vec![batch]).unwrap();
    let files = stale.runtime.block_on(planned.write(NonZeroUsize::MIN)).unwrap();
    let older = position("older");

    let refused = stale
        .runtime
        .block_on(try_commit(&stale.catalog, &stale.table, &files, &older))
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    fresh.refresh().unwrap();
    assert_eq!(fresh.property("cclake.position"), Some("newer"));

    // The same files go on top of the newer state, and once only.
    for _ in 0..2 {
        let committing = commit_files(
            &stale.catalog,
            stale.table.clone(),
            &files,
            &older,
            &place.settings,
        );
        let (_, head) = stale.runtime.block_on(committing).unwrap();
        assert_eq!(head.sequence_number, 2);
    }
    fresh.refresh().unwrap();
    assert_eq!(sorted_ids(&fresh), ["a0", "b0"]);
    assert!(fresh.find_commit("newer").is_some() && fresh.find_commit("older").is_some());
}

#[test]
fn writers_in_a_race_lose_nothing() {
    const WRITERS: usize = 4;
    const COMMITS: usize = 8;
    let place = Place::new();
    place.open();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let place = &place;
            scope.spawn(move || {
                let mut lake = place.open();
                for number in 0..COMMITS {
                    let id = format!("w{writer}c{number}-");
                    append(&mut lake, &id, &[rows(&id, &[Some(0)])]).unwrap();
                }
            });
        }
    });
    let lake = Lake::open_existing(&place.settings).unwrap();
    let ids = ids(&lake);
    assert_eq!(ids.len(), WRITERS * COMMITS);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(snapshots(&lake), ids.len());
}

#[test]
fn two_who_create_the_lake_at_once_share_it() {
    let place = Place::new();
    thread::scope(|scope| {
        for writer in ["a", "b", "c", "d"] {
            let place = &place;
            scope.spawn(move || append(&mut place.open(), writer, &[rows(writer, &[Some(0)])]).unwrap());
        }
    });
    assert_eq!(sorted_ids(&place.open()), ["a0", "b0", "c0", "d0"]);
}

#[test]
fn a_locked_catalog_is_a_clear_error_and_a_retry_lands_once() {
    let place = Place::new().impatient();
    let mut lake = place.open();
    let mut other = OtherProgram::open(&place);
    other.run("BEGIN IMMEDIATE");
    let error = append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CatalogLocked);
    assert!(error.is_retryable());
    assert_eq!(
        error.to_string(),
        "another process keeps the lake's catalog locked: could not commit to the lake's table; \
         end it or try again later"
    );
    other.run("ROLLBACK");
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    assert_eq!((ids(&lake), snapshots(&lake)), (vec!["a0".to_owned()], 1));
}

#[test]
fn a_lock_longer_than_the_busy_timeout_is_waited_for() {
    let place = Place::new();
    let mut lake = place.open();
    let mut other = OtherProgram::open(&place);
    other.run("BEGIN IMMEDIATE");
    let (done, waiting) = mpsc::channel();
    let appending = thread::spawn(move || {
        let head = append(&mut lake, "c1", &[rows("a", &[Some(0)])]);
        done.send(()).unwrap();
        head.unwrap()
    });
    // SQLite gives up after 5 s, so this spans two tries.
    assert_eq!(
        waiting.recv_timeout(Duration::from_millis(5500)),
        Err(mpsc::RecvTimeoutError::Timeout)
    );
    other.run("ROLLBACK");
    appending.join().unwrap();
    let lake = Lake::open_existing(&place.settings).unwrap();
    assert_eq!((ids(&lake), snapshots(&lake)), (vec!["a0".to_owned()], 1));
}

#[test]
fn readers_do_not_need_the_lock() {
    let place = Place::new();
    append(&mut place.open(), "c1", &[rows("a", &[Some(0)])]).unwrap();
    let mut other = OtherProgram::open(&place);
    other.run("BEGIN IMMEDIATE");
    let started = Instant::now();
    assert_eq!(ids(&Lake::open_existing(&place.settings).unwrap()), ["a0"]);
    assert_eq!(ids(&place.open()), ["a0"]);
    assert!(started.elapsed() < Duration::from_secs(4));
}

fn wait_until(done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain");
        thread::yield_now();
    }
}

fn metadata_files(place: &Place) -> usize {
    count_files(&place.settings.warehouse, ".metadata.json")
}

fn parquet_files(place: &Place) -> usize {
    count_files(&place.settings.warehouse, ".parquet")
}

fn count_files(folder: &std::path::Path, ending: &str) -> usize {
    files_below(folder)
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .count()
}
