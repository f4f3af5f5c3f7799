//! Any appends, rewrites, truncations, renames and deletions, with crashes: the lake is what a few lines of plain
//! reasoning say it must be.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    time::Duration,
};

use proptest::prelude::*;

use super::{World, assert_adds_up};
use crate::{ReadPlan, RecordId};

const FILES: [&str; 3] = ["a.jsonl", "b.jsonl", "c.jsonl"];

#[derive(Debug, Clone)]
enum Op {
    Append(usize, String),
    Rewrite(usize, String),
    Truncate(usize, usize),
    /// Changes one record in place; the length stays.
    Patch(usize, u8),
    Rename(usize, usize),
    Delete(usize),
    /// Dies at the commit of this chunk, if there are so many.
    Run(usize),
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => (0..4_u8).prop_map(|n| format!("{{\"n\":{n}}}\n")),
        1 => Just("\r\n".to_owned()),
        1 => Just("oops\n".to_owned()),
        1 => Just("{\"n\":7}\r\n".to_owned()),
        1 => Just("{\"n\":".to_owned()),
        2 => Just("{\"n\":8}".to_owned()),
    ];
    prop::collection::vec(line, 0..5).prop_map(|lines| lines.concat())
}

fn op() -> impl Strategy<Value = Op> {
    let file = || 0..FILES.len();
    prop_oneof![
        6 => (file(), lines()).prop_map(|(file, text)| Op::Append(file, text)),
        2 => (file(), lines()).prop_map(|(file, text)| Op::Rewrite(file, text)),
        1 => (file(), 0..40_usize).prop_map(|(file, size)| Op::Truncate(file, size)),
        1 => (file(), 0..4_u8).prop_map(|(file, n)| Op::Patch(file, n)),
        1 => (file(), file()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => file().prop_map(Op::Delete),
        6 => prop_oneof![3 => Just(usize::MAX), 1 => 0..3_usize].prop_map(Op::Run),
    ]
}

/// What the lake must hold, per file and record.
type Lake = BTreeMap<(String, RecordId), u32>;

fn apply(world: &mut World, op: &Op, aged: bool) {
    let read = |world: &World, file: usize| fs::read_to_string(world.path(FILES[file])).unwrap_or_default();
    let (file, text) = match op {
        Op::Append(file, text) => (*file, read(world, *file) + text),
        Op::Rewrite(file, text) => (*file, text.clone()),
        Op::Truncate(file, size) => (*file, read(world, *file).chars().take(*size).collect()),
        Op::Patch(file, n) => (
            *file,
            read(world, *file).replacen("\"n\":1", &format!("\"n\":{n}"), 1),
        ),
        Op::Rename(from, to) => {
            let _ = fs::rename(world.path(FILES[*from]), world.path(FILES[*to]));
            return;
        }
        Op::Delete(file) => {
            let _ = fs::remove_file(world.path(FILES[*file]));
            return;
        }
        Op::Run(_) => return,
    };
    let path = world.path(FILES[file]);
    let before = File::open(&path)
        .and_then(|file| file.metadata()?.modified())
        .ok();
    fs::write(&path, text).unwrap();
    let young = before.filter(|time| time.elapsed().is_ok_and(|age| age < Duration::from_secs(1)));
    if aged {
        world.age(FILES[file]);
    } else if let Some(time) = young {
        // The clock did not tick: as hard as it gets.
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
}

fn records(text: &str) -> Vec<RecordId> {
    let lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line));
    let objects = lines.filter(|line| serde_json::from_str::<BTreeMap<String, u8>>(line).is_ok());
    objects.map(|line| RecordId::of_line(line.as_bytes())).collect()
}

/// What a run must add: behind an intact beginning every record; else those the lake has too few of.
fn expect(world: &mut World, lake: &mut Lake) {
    for planned in &world.plan().files {
        let text = fs::read_to_string(&planned.file.path).unwrap();
        let name = world.relative(&planned.name);
        let mut had: BTreeMap<RecordId, u32> = BTreeMap::new();
        let mut new = records(&text);
        match &planned.action {
            ReadPlan::Unchanged(_) => continue,
            ReadPlan::Fresh => {}
            ReadPlan::Resume(resume) => {
                new = records(&text[usize::try_from(resume.offset()).unwrap()..]);
                had.extend(resume.position.tail.map(|tail| (tail.id, 1)));
            }
            ReadPlan::Reread => {
                let own = lake.iter().filter(|((file, _), _)| *file == name);
                had.extend(own.map(|((_, id), count)| (*id, *count)));
            }
        }
        for id in new {
            match had.get_mut(&id) {
                Some(count) if *count > 0 => *count -= 1,
                _ => *lake.entry((name.clone(), id)).or_default() += 1,
            }
        }
    }
}

fn found(world: &World) -> Lake {
    let mut lake = Lake::new();
    for (file, rows) in &world.lake {
        for (_, line) in rows {
            *lake
                .entry((file.clone(), RecordId::of_line(line.as_bytes())))
                .or_default() += 1;
        }
    }
    lake
}

/// Every record that stands in a file now is in the lake, whatever its file was called then.
fn assert_nothing_lost(world: &World, lake: &Lake) {
    for file in FILES {
        let text = fs::read_to_string(world.path(file)).unwrap_or_default();
        for id in records(&text) {
            assert!(lake.keys().any(|(_, known)| *known == id), "{id} of {file}");
        }
    }
}

/// Counts the records that a change of a file wrote: those that did not stand there, at the same place, before.
fn count_written(written: &mut BTreeMap<RecordId, u32>, before: &str, after: &str) {
    let common = before
        .bytes()
        .zip(after.bytes())
        .take_while(|(before, after)| before == after)
        .count();
    let mut end = 0;
    for line in after.split_inclusive('\n') {
        end += line.len();
        let line_end = end - line.len() + line.trim_end().len();
        let ended_there = matches!(before.as_bytes().get(line_end), None | Some(b'\r' | b'\n'));
        let stood_there = line_end <= common && ended_there;
        if !stood_there {
            for id in records(line) {
                *written.entry(id).or_default() += 1;
            }
        }
    }
}

/// However runs and crashes follow each other: no record is in the lake more often than it was written.
fn assert_nothing_doubled(lake: &Lake, written: &BTreeMap<RecordId, u32>) {
    let mut sum: BTreeMap<RecordId, u32> = BTreeMap::new();
    for ((_, id), count) in lake {
        *sum.entry(*id).or_default() += *count;
    }
    assert!(
        sum.iter().all(|(id, count)| count <= &written[id]),
        "{sum:?}, but written: {written:?}"
    );
}

fn check(ops: &[(Op, bool)], chunk_bytes: usize) {
    let mut world = World::new(chunk_bytes);
    let mut lake = Lake::new();
    let mut written = BTreeMap::new();
    for (op, aged) in ops.iter().chain([&(Op::Run(usize::MAX), true)]) {
        let before = FILES.map(|file| fs::read_to_string(world.path(file)).unwrap_or_default());
        apply(&mut world, op, *aged);
        for (file, before) in FILES.iter().zip(before) {
            let after = fs::read_to_string(world.path(file)).unwrap_or_default();
            count_written(&mut written, &before, &after);
        }
        let Op::Run(crash_at) = op else { continue };
        expect(&mut world, &mut lake);
        let plan = world.plan();
        let Ok(extraction) = world.execute(&plan, *crash_at) else {
            let partial = found(&world);
            assert!(
                partial
                    .iter()
                    .all(|(key, count)| lake.get(key).is_some_and(|all| count <= all))
            );
            assert_nothing_doubled(&partial, &written);
            lake = partial;
            continue;
        };
        assert_adds_up(extraction.counts);
        assert_eq!(found(&world), lake);
        assert_nothing_lost(&world, &lake);
        assert_nothing_doubled(&lake, &written);
        let idle = world.run();
        assert_eq!((idle.counts.new, idle.counts.dead_lettered), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_doubled(
        ops in prop::collection::vec((op(), any::<bool>()), 1..14),
        chunk_bytes in prop_oneof![Just(1), Just(20), Just(1 << 20)],
    ) {
        check(&ops, chunk_bytes);
    }
}
