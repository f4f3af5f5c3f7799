//! What may happen to files between runs: nothing is lost, nothing doubled.

use std::{
    fs::{self, File},
    time::SystemTime,
};

use super::World;
use crate::ReadPlan;

enum Step {
    /// Replaces the contents in place.
    Write(&'static str, &'static str),
    /// As `Write`, within one tick of the clock: only the contents tell.
    WriteUnseen(&'static str, &'static str),
    Append(&'static str, &'static str),
    Truncate(&'static str, u64),
    Rename(&'static str, &'static str),
    Delete(&'static str),
    /// Runs; expects `[new, already there, dead-lettered, pending]`.
    Run([u64; 4]),
}
use Step::{Append, Delete, Rename, Run, Truncate, Write, WriteUnseen};

const A: &str = "a.jsonl";
const B: &str = "b.jsonl";

/// Takes the steps with small and with large chunks; `lake` is each file's lines in the order of commits.
#[track_caller]
fn check(steps: &[Step], lake: &[(&str, &[(i64, &str)])]) {
    for chunk_bytes in [1, 1 << 20] {
        let mut world = World::new(chunk_bytes);
        for (number, step) in steps.iter().enumerate() {
            take(
                &mut world,
                step,
                &format!("step {number}, chunks of {chunk_bytes}"),
            );
        }
        let found: Vec<_> = world
            .lake
            .iter()
            .map(|(file, rows)| (file.clone(), rows.clone()))
            .collect();
        let rows = |rows: &[(i64, &str)]| rows.iter().map(|(at, line)| (*at, (*line).to_owned())).collect();
        let lake: Vec<(String, Vec<_>)> = lake
            .iter()
            .map(|(file, lines)| ((*file).into(), rows(lines)))
            .collect();
        assert_eq!(found, lake, "chunks of {chunk_bytes}");
        let idle = world.run();
        assert_eq!(
            (idle.counts.new, idle.counts.dead_lettered),
            (0, 0),
            "an idle run"
        );
    }
}

#[track_caller]
fn take(world: &mut World, step: &Step, what: &str) {
    match step {
        Write(file, text) => world.write(file, text.as_bytes()),
        WriteUnseen(file, text) => {
            let path = world.path(file);
            let time =
                fs::metadata(&path).map_or(std::time::SystemTime::now(), |meta| meta.modified().unwrap());
            fs::write(&path, text).unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        Append(file, text) => {
            let mut bytes = fs::read(world.path(file)).unwrap();
            bytes.extend_from_slice(text.as_bytes());
            world.write(file, &bytes);
        }
        Truncate(file, size) => {
            File::options()
                .write(true)
                .open(world.path(file))
                .unwrap()
                .set_len(*size)
                .unwrap();
            world.age(file);
        }
        Rename(from, to) => fs::rename(world.path(from), world.path(to)).unwrap(),
        Delete(file) => fs::remove_file(world.path(file)).unwrap(),
        Run(expected) => {
            let counts = world.run().counts;
            let found = [
                counts.new,
                counts.already_there,
                counts.dead_lettered,
                counts.pending,
            ];
            assert_eq!(found, *expected, "{what}");
        }
    }
}

#[test]
fn appended_lines_are_read_once() {
    check(
        &[
            Write(A, "{\"n\":1}\n"),
            Run([1, 0, 0, 0]),
            Append(A, "{\"n\":2}\n\n  \n{\"n\":3}\n"),
            Run([2, 0, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}"), (20, "{\"n\":3}")])],
    );
}

#[test]
fn only_a_file_with_more_bytes_has_grown() {
    let mut world = World::new(1 << 20);
    world.write("whole.jsonl", b"{\"n\":1}\n");
    world.write("pending.jsonl", b"{\"n\":1}\n{\"n\"");
    world.write("young.jsonl", b"{\"n\":1}\n");
    let young = File::options().write(true).open(world.path("young.jsonl"));
    young.unwrap().set_modified(SystemTime::now()).unwrap();
    let [fresh, again] = [world.run().files, world.run().files];
    assert_eq!((fresh.fresh, fresh.grown, fresh.unchanged), (3, 0, 0));
    assert_eq!((again.fresh, again.grown, again.unchanged), (0, 0, 3));
    world.write("pending.jsonl", b"{\"n\":1}\n{\"n\":2}\n");
    let grown = world.run().files;
    assert_eq!((grown.fresh, grown.grown, grown.unchanged), (0, 1, 2));
}

#[test]
fn half_a_line_waits_for_its_rest() {
    check(
        &[
            Write(A, "{\"n\":1}\n{\"n\""),
            Run([1, 0, 0, 1]),
            Run([0, 0, 0, 1]),
            Append(A, ":2}"),
            Run([1, 0, 0, 0]),
            Append(A, "\n"),
            Run([0, 1, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}")])],
    );
}

#[test]
fn half_a_line_that_gets_a_newline_is_dead() {
    check(
        &[
            Write(A, "{\"n\""),
            Run([0, 0, 0, 1]),
            Append(A, "\n{\"n\":1}"),
            Run([1, 0, 1, 0]),
            Run([0, 0, 0, 0]),
        ],
        &[(A, &[(5, "{\"n\":1}")])],
    );
}

#[test]
fn carriage_returns_belong_to_the_line_end() {
    check(
        &[
            Write(A, "{\"n\":1}\r\n{\"n\":2}\r"),
            Run([2, 0, 0, 0]),
            Append(A, "\n{\"n\":3}"),
            Run([1, 1, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (9, "{\"n\":2}"), (18, "{\"n\":3}")])],
    );
}

#[test]
fn a_truncated_file_is_read_against_the_lake() {
    check(
        &[
            Write(A, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"),
            Run([3, 0, 0, 0]),
            Truncate(A, 8),
            Run([0, 1, 0, 0]),
            Append(A, "{\"n\":4}\n{\"n\":2}\n"),
            Run([1, 2, 0, 0]),
            Truncate(A, 0),
            Run([0, 0, 0, 0]),
            Write(A, "{\"n\":1}\n{\"n\":4}\n{\"n\":2}\n{\"n\":3}\n{\"n\":3}\n"),
            Run([1, 4, 0, 0]),
            Append(A, "{\"n\":1}\n"),
            Run([1, 0, 0, 0]),
        ],
        &[(
            A,
            &[
                (0, "{\"n\":1}"),
                (8, "{\"n\":2}"),
                (16, "{\"n\":3}"),
                (8, "{\"n\":4}"),
                (32, "{\"n\":3}"),
                (40, "{\"n\":1}"),
            ],
        )],
    );
}

#[test]
fn a_tail_that_is_cut_off_and_comes_back_is_not_new() {
    check(
        &[
            Write(A, "{\"n\":1}\n{\"n\":2}"),
            Run([2, 0, 0, 0]),
            Truncate(A, 8),
            Run([0, 1, 0, 0]),
            Truncate(A, 0),
            Append(A, "{\"n\":1}\n{\"n\":3}"),
            Run([1, 1, 0, 0]),
            Write(A, "{\"n\":1}\n{\"n\":2}"),
            Run([0, 2, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}"), (8, "{\"n\":3}")])],
    );
}

#[test]
fn a_rewrite_of_equal_length_is_seen() {
    check(
        &[
            Write(A, "{\"n\":1}\n{\"n\":2}\n"),
            Run([2, 0, 0, 0]),
            Write(A, "{\"n\":1}\n{\"n\":3}\n"),
            Run([1, 1, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}"), (8, "{\"n\":3}")])],
    );
}

#[test]
fn a_rewrite_within_a_tick_of_the_clock_is_seen() {
    check(
        &[
            WriteUnseen(A, "{\"n\":1}\n"),
            Run([1, 0, 0, 0]),
            WriteUnseen(A, "{\"n\":2}\n"),
            Run([1, 0, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (0, "{\"n\":2}")])],
    );
}

#[test]
fn a_renamed_file_takes_its_position_along() {
    check(
        &[
            Write(A, "{\"n\":1}\n{\"n\":2}"),
            Run([2, 0, 0, 0]),
            Rename(A, B),
            Run([0, 0, 0, 0]),
            Append(B, "\n{\"n\":3}\n"),
            Run([1, 1, 0, 0]),
            Rename(B, A),
            Append(A, "{\"n\":4}\n"),
            Run([1, 0, 0, 0]),
        ],
        &[
            (A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}"), (24, "{\"n\":4}")]),
            (B, &[(16, "{\"n\":3}")]),
        ],
    );
}

#[test]
fn a_name_that_was_left_is_read_against_the_lake() {
    check(
        &[
            Write(A, "{\"n\":1}\n"),
            Run([1, 0, 0, 0]),
            Rename(A, B),
            Run([0, 0, 0, 0]),
            Write(A, "{\"n\":1}\n{\"n\":2}\n"),
            Run([1, 1, 0, 0]),
        ],
        &[(A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}")])],
    );
}

#[test]
fn a_deleted_file_removes_nothing_and_may_come_back() {
    check(
        &[
            Write(A, "{\"n\":1}\n"),
            Write(B, "{\"n\":1}\n"),
            Run([2, 0, 0, 0]),
            Delete(A),
            Run([0, 0, 0, 0]),
            Write(A, "{\"n\":1}\n{\"n\":2}\n"),
            Run([1, 0, 0, 0]),
        ],
        &[
            (A, &[(0, "{\"n\":1}"), (8, "{\"n\":2}")]),
            (B, &[(0, "{\"n\":1}")]),
        ],
    );
}

#[test]
fn a_record_that_stands_twice_is_two_rows() {
    check(
        &[
            Write(A, "{\"n\":1}\n{\"n\":1}\n"),
            Run([2, 0, 0, 0]),
            Write(A, "{\"n\":2}\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n"),
            Run([2, 2, 0, 0]),
        ],
        &[(
            A,
            &[
                (0, "{\"n\":1}"),
                (8, "{\"n\":1}"),
                (0, "{\"n\":2}"),
                (24, "{\"n\":1}"),
            ],
        )],
    );
}

#[test]
fn a_dead_letter_is_queued_once_however_often_it_is_read() {
    check(
        &[
            Write(A, "[1]\n{\"n\":1}\n"),
            Run([1, 0, 1, 0]),
            Write(A, "[1]\n{\"n\":2}\n"),
            Run([1, 1, 0, 0]),
            Write(A, "\n[1]\n"),
            Run([0, 0, 1, 0]),
        ],
        &[(A, &[(4, "{\"n\":1}"), (4, "{\"n\":2}")])],
    );
}

#[test]
fn after_a_crash_the_lake_decides() {
    let (first, second) = ("{\"n\":1}\n[2]\n{\"n\":1}\n{\"n\":3}", "\n{\"n\":1}\n{\"n\":4}\n");
    let mut undisturbed = World::new(1);
    undisturbed.write(A, format!("{first}{second}").as_bytes());
    undisturbed.write(B, b"{\"n\":1}\n");
    undisturbed.run();
    for (chunk_bytes, crash_at) in [(1, 0), (1, 1), (1, 2), (1, 3), (16, 0), (16, 1), (1 << 20, 0)] {
        let mut world = World::new(chunk_bytes);
        let crash = |world: &mut World| {
            let plan = world.plan();
            let _ = world.execute(&plan, crash_at);
        };
        world.write(A, first.as_bytes());
        crash(&mut world);
        world.write(B, b"{\"n\":1}\n");
        world.write(A, format!("{first}{second}").as_bytes());
        crash(&mut world);
        world.run();
        assert_eq!(
            world.lake, undisturbed.lake,
            "chunks of {chunk_bytes}, crash at {crash_at}"
        );
        assert_eq!(world.run().counts, crate::Counts::default());
    }
}

#[test]
fn a_file_that_vanishes_or_shrinks_meanwhile_is_a_warning() {
    for replace in [None, Some("{}\n")] {
        let mut world = World::new(1);
        world.write(A, b"{\"n\":1}\n");
        world.write(B, b"{\"n\":2}\n");
        let plan = world.plan();
        fs::remove_file(world.path(A)).unwrap();
        if let Some(text) = replace {
            world.write(A, text.as_bytes());
        }
        let extraction = world.execute(&plan, usize::MAX).unwrap();
        assert_eq!(
            (extraction.counts.new, extraction.warnings.len()),
            (1, 1),
            "{:?}",
            extraction.warnings
        );
        assert!(
            extraction.warnings[0].contains("a.jsonl was not read to its end"),
            "{:?}",
            extraction.warnings
        );
        assert_eq!(world.run().counts.new, replace.map_or(0, |_| 1));
    }
}

#[test]
fn an_unchanged_tree_is_not_opened() {
    let mut world = World::new(1 << 20);
    world.write(A, b"{\"n\":1}\n{\"n\":2}");
    world.run();
    assert!(world.plan().is_empty());
    assert!(
        world
            .plan()
            .files
            .iter()
            .all(|file| matches!(file.action, ReadPlan::Unchanged(_)))
    );
    world.write(A, b"{\"n\":1}\n{\"n\":2}");
    assert!(!world.plan().is_empty());
}
