//! Real SQLite catalogs and real files in temporary folders.

mod append;
mod checkpoint;
mod commit;
mod damage;
mod deletes;
mod kills;
mod maintain;
mod maintain_model;
mod partitions;
mod schema;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::{Commit, Error, Head, Lake, LakeFile, LakeSettings, PartitionBy};

/// A temporary folder with a lake's settings in it.
struct Place {
    folder: tempfile::TempDir,
    settings: LakeSettings,
}

impl Place {
    fn new() -> Self {
        Self::partitioned(PartitionBy::Date)
    }

    fn partitioned(partition_by: PartitionBy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A space and a question mark, since people's folders have them.
        let mut settings = LakeSettings::new(folder.path().join("my lake?"));
        settings.partition_by = partition_by;
        Self { folder, settings }
    }

    fn open(&self) -> Lake {
        Lake::open(&self.settings, &record_schema()).unwrap()
    }

    fn impatient(mut self) -> Self {
        self.settings.commit_patience = Duration::ZERO;
        self
    }
}

/// A record's columns, as few as show each type and both a required and an optional one.
fn record_schema() -> Schema {
    Schema::new(vec![
        Field::new("_id", DataType::Utf8, false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            true,
        ),
        Field::new("source_offset", DataType::Int64, false),
        Field::new("_raw_json", DataType::Utf8, true),
    ])
}

const DAY: i64 = 86_400_000_000;

/// One row per timestamp; ids are `prefix` and the row's number, offsets the row's number.
fn rows(prefix: &str, timestamps: &[Option<i64>]) -> RecordBatch {
    let numbers = || 0..i64::try_from(timestamps.len()).unwrap();
    let ids = StringArray::from_iter_values(numbers().map(|row| format!("{prefix}{row}")));
    let raw = StringArray::from_iter_values(numbers().map(|row| format!("{{\"row\":{row}}}")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(TimestampMicrosecondArray::from(timestamps.to_vec()).with_timezone("+00:00")),
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(raw),
    ];
    RecordBatch::try_new(Arc::new(record_schema()), columns).unwrap()
}

fn commit(id: &str) -> Commit {
    Commit {
        commit_id: id.to_owned(),
        ..Commit::default()
    }
}

fn append(lake: &mut Lake, id: &str, batches: &[RecordBatch]) -> Result<Option<Head>, Error> {
    lake.append(batches.to_vec(), &commit(id))
}

/// All `_id`s in the order they are read, doubles included.
fn ids(lake: &Lake) -> Vec<String> {
    let mut ids = Vec::new();
    lake.scan_columns(&["_id"], &mut |batch| {
        extend(&mut ids, &batch);
        Ok::<_, Error>(())
    })
    .unwrap();
    ids
}

/// The `_id`s of some files, in their order.
fn ids_of(lake: &Lake, files: &[LakeFile]) -> Vec<String> {
    let mut ids = Vec::new();
    lake.read(files, None, &mut |batch| {
        extend(&mut ids, &batch);
        Ok::<_, Error>(())
    })
    .unwrap();
    ids
}

fn extend(ids: &mut Vec<String>, batch: &RecordBatch) {
    let column = batch.column(0).as_string::<i32>();
    ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
}

fn sorted_ids(lake: &Lake) -> Vec<String> {
    let mut ids = ids(lake);
    ids.sort();
    ids
}

/// All batches of the lake, with all columns.
fn read_all(lake: &Lake) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut collect = |batch| {
        batches.push(batch);
        Ok::<_, Error>(())
    };
    lake.read(&lake.files_since(0).unwrap(), None, &mut collect)
        .unwrap();
    batches
}

fn snapshots(lake: &Lake) -> usize {
    lake.table.metadata().snapshots().len()
}

fn partitions(lake: &Lake) -> BTreeSet<String> {
    lake.files_since(0)
        .unwrap()
        .into_iter()
        .map(|file| file.partition)
        .collect()
}

fn offsets(batch: &RecordBatch) -> Vec<i64> {
    batch
        .column_by_name("source_offset")
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Another program that has the catalog's database open.
struct OtherProgram {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl OtherProgram {
    fn open(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = SqliteConnectOptions::new()
            .filename(place.settings.catalog_path())
            .create_if_missing(true);
        let connection = runtime.block_on(options.connect()).unwrap();
        Self { runtime, connection }
    }

    fn run(&mut self, sql: &str) {
        self.runtime
            .block_on(sqlx::query(sql).execute(&mut self.connection))
            .unwrap();
    }

    fn run_all(&mut self, statements: &[&str]) {
        for statement in statements {
            self.run(statement);
        }
    }

    fn ask(&mut self, sql: &str) -> String {
        self.runtime
            .block_on(sqlx::query(sql).fetch_one(&mut self.connection))
            .unwrap()
            .get(0)
    }
}
