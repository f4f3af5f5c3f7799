//! Many partitions, few open files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::ErrorKind;

/// Two writers, each with one open file; and while they are counted, some are closed and others opened.
const OPEN_FILES: usize = 8;

fn check(partition_by: PartitionBy, timestamps: &[Option<i64>], expected: &[&str]) {
    let place = Place::partitioned(partition_by);
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", timestamps)]).unwrap();
    assert_eq!(partitions(&lake).into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(ids(&lake).len(), timestamps.len());
}

#[test]
fn rows_go_to_the_partition_of_their_timestamp() {
    // 1970-01-01 and 1969-12-31, then 0001-01-01 and the last microsecond of 9999.
    let edges = [
        Some(0),
        Some(-1),
        None,
        Some(-62_135_596_800_000_000),
        Some(253_402_300_799_999_999),
    ];
    check(
        PartitionBy::Date,
        &edges,
        &[
            "timestamp_day=0001-01-01",
            "timestamp_day=1969-12-31",
            "timestamp_day=1970-01-01",
            "timestamp_day=9999-12-31",
            "timestamp_day=null",
        ],
    );
    check(
        PartitionBy::Month,
        &edges,
        &[
            "timestamp_month=-1",
            "timestamp_month=-23628",
            "timestamp_month=0",
            "timestamp_month=96359",
            "timestamp_month=null",
        ],
    );
    check(PartitionBy::None, &edges, &[""]);
}

#[test]
fn a_timestamp_that_readers_do_not_share_is_refused() {
    let place = Place::new();
    let mut lake = place.open();
    for timestamp in [
        i64::MIN,
        i64::MAX,
        -62_135_596_800_000_001,
        253_402_300_800_000_000,
    ] {
        let error = append(&mut lake, "c1", &[rows("a", &[Some(timestamp)])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
    }
}

#[test]
fn an_existing_table_keeps_its_partitions() {
    let place = Place::partitioned(PartitionBy::Month);
    append(&mut place.open(), "c1", &[rows("a", &[Some(0)])]).unwrap();
    let settings = LakeSettings {
        partition_by: PartitionBy::Date,
        ..place.settings.clone()
    };
    let mut lake = Lake::open(&settings, &record_schema()).unwrap();
    append(&mut lake, "c2", &[rows("b", &[Some(DAY)])]).unwrap();
    assert_eq!(partitions(&lake).len(), 1);
}

/// Interleaved days, as parallel sessions and resumes have them.
fn interleaved(days: i64, rows_per_day: i64) -> Vec<Option<i64>> {
    (0..days * rows_per_day)
        .map(|row| Some(row % days * DAY + row))
        .collect()
}

#[test]
fn many_days_need_few_open_files() {
    for days in [400, 2_000] {
        let place = Place::new();
        let mut lake = place.open();
        let batch = rows("a", &interleaved(days, 3));
        let most = most_open_parquet_files(place.folder.path(), || {
            append(&mut lake, "c1", &[batch]).unwrap();
        });
        assert!((1..=OPEN_FILES).contains(&most), "{days} days: {most} files open");
        assert_eq!(lake.files_since(0).unwrap().len(), usize::try_from(days).unwrap());
        assert_eq!(
            ids(&lake).into_iter().collect::<BTreeSet<_>>().len(),
            usize::try_from(days * 3).unwrap()
        );
    }
}

/// The most data files below `folder` that this process had open while `work` ran.
fn most_open_parquet_files(folder: &std::path::Path, work: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(open_parquet_files(folder));
            }
            most
        });
        work();
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

fn open_parquet_files(folder: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    open.filter(|path| path.starts_with(folder) && path.extension().is_some_and(|ending| ending == "parquet"))
        .count()
}
