//! Behaviour of loads and queries on a real database file.

#![allow(clippy::cast_possible_wrap, reason = "counts of a few")]

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use crate::{Access, LakeMark, LoadStats, Settings, Warehouse};

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings {
        path: folder.path().join("analytics.db"),
        temp_dir: folder.path().join("tmp"),
        memory_mb: 256,
        threads: 2,
        time_zone: "UTC".into(),
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("_id", DataType::Utf8, false),
        Field::new("machine", DataType::Utf8, false),
        Field::new("source_file", DataType::Utf8, false),
        Field::new("source_offset", DataType::Int64, false),
        Field::new(
            "_cluster_ts",
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            true,
        ),
        Field::new("_seq", DataType::Int64, true),
        Field::new("_op", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, true),
    ]))
}

/// (`_id`, `source_file`, `source_offset`, order, `message`)
type Row = (&'static str, &'static str, i64, Option<i64>, &'static str);

fn batch(rows: &[Row]) -> RecordBatch {
    let text = |pick: fn(&Row) -> &'static str| {
        Arc::new(rows.iter().map(|row| Some(pick(row))).collect::<StringArray>())
    };
    RecordBatch::try_new(
        schema(),
        vec![
            text(|row| row.0),
            text(|_| "laptop"),
            text(|row| row.1),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
            Arc::new(
                rows.iter()
                    .map(|row| row.3)
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("+00:00"),
            ),
            Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
            text(|_| "upsert"),
            text(|row| row.4),
        ],
    )
    .unwrap()
}

fn mark(sequence: i64) -> LakeMark {
    LakeMark {
        table_uuid: "lake".into(),
        sequence,
    }
}

/// Ends a load of one snapshot.
fn finish(mut load: crate::Load<'_>, sequence: i64) -> LoadStats {
    load.mark(&mark(sequence)).unwrap();
    load.commit().unwrap()
}

fn stats(inserted: u64, updated: u64, unchanged: u64) -> LoadStats {
    LoadStats {
        inserted,
        updated,
        unchanged,
    }
}

fn dump(warehouse: &Warehouse, sql: &str) -> Vec<String> {
    let mut statement = warehouse.connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Loads each list of rows in turn; checks the stats of each load and what `raw` holds at the end.
fn check(loads: &[(&[Row], LoadStats)], conversations: &[&str], sightings: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(&settings(&folder), Access::ReadWrite).unwrap();
    warehouse.prepare_raw(&schema()).unwrap();
    for (index, (rows, expected)) in loads.iter().enumerate() {
        let half = rows.len() / 2;
        let batches = [batch(&rows[..half]), batch(&rows[half..])];
        let mut load = warehouse.begin_load().unwrap();
        load.push(&batches).unwrap();
        let loaded = finish(load, index as i64 + 1);
        assert_eq!(loaded, *expected, "load {index}");
    }
    let rows =
        "select concat_ws(' ', _id, source_file, source_offset, message) from raw.conversations order by 1";
    assert_eq!(dump(&warehouse, rows), conversations);
    let rows = "select concat_ws(' ', _id, source_file, source_offset) from raw.sightings order by 1";
    assert_eq!(dump(&warehouse, rows), sightings);
    assert_eq!(warehouse.loaded_mark().unwrap(), Some(mark(loads.len() as i64)));
}

#[test]
fn a_value_larger_than_the_memory_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let small = Settings {
        memory_mb: 64,
        ..settings(&folder)
    };
    let warehouse = Warehouse::open(&small, Access::ReadWrite).unwrap();
    warehouse.prepare_raw(&schema()).unwrap();
    let message = "x".repeat(80_000_000).leak();
    let mut load = warehouse.begin_load().unwrap();
    load.push(&[batch(&[("a", "f", 0, None, message)])]).unwrap();
    assert_eq!(finish(load, 1), stats(1, 0, 0));
    warehouse.checkpoint().unwrap();
    let length = "select cast(length(message) as varchar) from raw.conversations";
    assert_eq!(dump(&warehouse, length), ["80000000"]);
}

#[test]
fn a_record_is_one_row_and_keeps_its_first_place() {
    check(
        &[
            (
                &[("b", "f2", 10, None, "x"), ("a", "f2", 0, None, "y")],
                stats(2, 0, 0),
            ),
            (
                &[("a", "f1", 5, None, "y"), ("c", "f1", 0, None, "z")],
                stats(1, 1, 0),
            ),
            (&[("a", "f3", 0, None, "y")], stats(0, 0, 1)),
        ],
        &["a f1 5 y", "b f2 10 x", "c f1 0 z"],
        &["a f1 5", "a f2 0", "a f3 0", "b f2 10", "c f1 0"],
    );
}

#[test]
fn the_same_record_twice_in_one_load_is_one_row() {
    check(
        &[(
            &[
                ("a", "f", 9, None, "y"),
                ("a", "f", 2, None, "y"),
                ("a", "g", 0, None, "y"),
            ],
            stats(1, 0, 2),
        )],
        &["a f 2 y"],
        &["a f 2", "a f 9", "a g 0"],
    );
}

#[test]
fn the_latest_order_wins_whatever_comes_first() {
    check(
        &[
            (
                &[
                    ("a", "db", 0, Some(2), "second"),
                    ("a", "db", 0, Some(1), "first"),
                ],
                stats(1, 0, 1),
            ),
            (&[("a", "db", 0, Some(1), "first again")], stats(0, 0, 1)),
            (&[("a", "db", 0, Some(3), "third")], stats(0, 1, 0)),
        ],
        &["a db 0 third"],
        &["a db 0"],
    );
}

#[test]
fn loading_a_snapshot_again_changes_nothing() {
    let rows: &[Row] = &[
        ("a", "f", 0, None, "y"),
        ("b", "f", 5, None, "y"),
        ("a", "f", 9, None, "y"),
    ];
    check(
        &[(rows, stats(2, 0, 1)), (rows, stats(0, 0, 3))],
        &["a f 0 y", "b f 5 y"],
        &["a f 0", "a f 9", "b f 5"],
    );
}

#[test]
fn a_load_in_parts_is_one_load_and_an_abandoned_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(&settings(&folder), Access::ReadWrite).unwrap();
    warehouse.prepare_raw(&schema()).unwrap();
    let (first, second) = (
        batch(&[("a", "f", 5, None, "y")]),
        batch(&[("a", "f", 1, None, "y"), ("b", "f", 9, None, "z")]),
    );
    let mut load = warehouse.begin_load().unwrap();
    load.push(std::slice::from_ref(&first)).unwrap();
    drop(load);
    assert_eq!(warehouse.loaded_mark().unwrap(), None);
    let mut load = warehouse.begin_load().unwrap();
    load.push(&[first]).unwrap();
    load.push(&[second]).unwrap();
    assert_eq!(finish(load, 1), stats(2, 1, 0));
    let rows = "select concat_ws(' ', _id, source_offset, _load_seq) from raw.conversations order by 1";
    assert_eq!(dump(&warehouse, rows), ["a 1 1", "b 9 1"]);
}

#[test]
fn sql_reaches_nothing_but_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(&settings(&folder), Access::ReadWrite).unwrap();
    warehouse.prepare_raw(&schema()).unwrap();
    drop(warehouse);
    let reader = Warehouse::open(&settings(&folder), Access::ReadOnly).unwrap();
    let outside = folder.path().join("out.csv");
    for sql in [
        format!("copy (select 1) to '{}'", outside.display()),
        "select * from read_text('/etc/hostname')".into(),
        "attach '/tmp/other.db'".into(),
        "set enable_external_access = true".into(),
        "install httpfs".into(),
        "create table raw.mine as select 1".into(),
        "commit; create table raw.mine as select 1".into(),
        "drop table raw.loads".into(),
        "not even sql".into(),
    ] {
        assert!(reader.query(&sql).is_err(), "{sql} was not refused");
    }
    assert!(!outside.exists());
    assert_eq!(
        reader.query("select count(*) from conversations").unwrap().len(),
        1
    );
}

#[test]
fn rows_come_as_they_are_found_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(&settings(&folder), Access::ReadWrite).unwrap();
    let mut taken = 0;
    // Endless but for the error, which ends it.
    let ended = warehouse.query_each("select * from range(1000000000000)", &mut |batch| {
        taken += batch.num_rows();
        if taken > 5000 { Err(None) } else { Ok(()) }
    });
    assert!(ended.is_err_and(|error: Option<crate::Error>| error.is_none()));
    let late = warehouse
        .query("select case when range = 900000 then error('late') else range end from range(1000000)");
    let late = late.unwrap_err().to_string();
    assert!(late.contains("late"), "{late}");

    // The wrapping of written-out columns keeps the order.
    let mut expected = 300_000_i128;
    let sql = "select range::hugeint as n from range(300000) order by range desc";
    let checked = warehouse.query_each(sql, &mut |batch| {
        for n in batch.column(0).as_string::<i32>() {
            expected -= 1;
            assert_eq!(n.unwrap(), expected.to_string());
        }
        Ok::<_, crate::Error>(())
    });
    checked.unwrap();
    assert_eq!(expected, 0);
}
