//! What a lake costs after very many very small commits: prints the medians of each thousand, then checks the rows.
//!
//!     cargo run --release -p cclake-lake --example tiny_commits [COMMITS] [DAYS] [FOLDER]

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a program to look at, not to ship"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use cclake_lake::{Commit, Error, Lake, LakeSettings};
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::io::{FileIOBuilder, LocalFsStorageFactory};
use iceberg::table::StaticTable;
use tokio::runtime::Runtime;

/// Text columns beside the five others: a record of a transcript has about as many.
const TEXTS: usize = 20;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// Commits between two looks at how long a scan takes to plan.
const COMMITS_PER_PLAN: usize = 50;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |argument| argument.parse().unwrap())
    };
    let (commits, days) = (number(10_000), number(7));
    let temporary = std::env::temp_dir().join(format!("cclake-tiny-commits-{}", std::process::id()));
    let folder = arguments.next().map_or(temporary, Into::into);
    let mut lake = Lake::open(&LakeSettings::new(&folder), &schema()).unwrap();
    println!(
        "{commits} commits of one row over {days} days in {}",
        folder.display()
    );
    println!(
        "commits  commit ms  slowest  mean  plan ms  slowest  metadata MB  data files  disk MB  fsync ms"
    );
    for from in (0..commits).step_by(1000) {
        let window = Window::commit(&mut lake, &folder, from..commits.min(from + 1000), days);
        println!("{}", window.line(&lake, &folder));
    }
    check(&lake, commits);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The times of about a thousand commits.
struct Window {
    to: usize,
    commits: Vec<Duration>,
    plans: Vec<Duration>,
    /// Of a small file, which a commit does seven times: what the disk itself has part in.
    fsyncs: Vec<Duration>,
}

impl Window {
    fn commit(lake: &mut Lake, folder: &Path, numbers: std::ops::Range<usize>, days: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let (mut commits, mut plans, mut fsyncs) = (Vec::new(), Vec::new(), Vec::new());
        let to = numbers.end;
        for number in numbers {
            let batch = row(number, days);
            let commit = Commit {
                commit_id: format!("commit-{number}"),
                properties: [("cclake.position".to_owned(), number.to_string())].into(),
                ..Commit::default()
            };
            let began = Instant::now();
            lake.append(vec![batch], &commit).unwrap();
            commits.push(began.elapsed());
            if let Some(failure) = lake.take_upkeep_failure() {
                println!("upkeep failed: {failure}");
            }
            if number % COMMITS_PER_PLAN == 0 {
                plans.push(plan(&runtime, lake, number + 1));
                fsyncs.push(fsync(&folder.join("fsync")));
            }
        }
        commits.sort();
        plans.sort();
        fsyncs.sort();
        Self {
            to,
            commits,
            plans,
            fsyncs,
        }
    }

    fn line(&self, lake: &Lake, folder: &Path) -> String {
        let table = folder.join("analytics/conversations");
        let total: Duration = self.commits.iter().sum();
        format!(
            "{:>7}  {:>9.1}  {:>7.0}  {:>4.1}  {:>7.1}  {:>7.0}  {:>11.1}  {:>10}  {:>7.1}  {:>8.1}",
            self.to,
            median_ms(&self.commits),
            ms(self.commits[self.commits.len() - 1]),
            ms(total) / self.commits.len() as f64,
            median_ms(&self.plans),
            ms(self.plans[self.plans.len() - 1]),
            megabytes(&table.join("metadata")),
            lake.files_since(0).unwrap().len(),
            megabytes(&table),
            median_ms(&self.fsyncs),
        )
    }
}

/// How long another program takes from the metadata's file to the list of files to read.
fn plan(runtime: &Runtime, lake: &Lake, rows: usize) -> Duration {
    let location = lake.metadata_location().unwrap();
    let io = FileIOBuilder::new(Arc::new(LocalFsStorageFactory)).build();
    let began = Instant::now();
    let planned = runtime.block_on(async {
        let name = TableIdent::from_strs(["analytics", "conversations"]).unwrap();
        let table = StaticTable::from_metadata_file(location, name, io).await.unwrap();
        let scan = table.scan().build().unwrap();
        let tasks = scan.plan_files().await.unwrap();
        tasks.try_collect::<Vec<_>>().await.unwrap()
    });
    let elapsed = began.elapsed();
    let planned: u64 = planned.iter().map(|task| task.record_count.unwrap()).sum();
    assert_eq!(planned, rows as u64);
    elapsed
}

fn fsync(path: &Path) -> Duration {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    let began = Instant::now();
    file.sync_all().unwrap();
    let elapsed = began.elapsed();
    std::fs::remove_file(path).unwrap();
    elapsed
}

fn check(lake: &Lake, commits: usize) {
    let (mut rows, mut ids) = (0, BTreeSet::new());
    let began = Instant::now();
    lake.scan_columns(&["_id"], &mut |batch| {
        let column = batch.column(0).as_string::<i32>();
        rows += batch.num_rows();
        ids.extend(column.iter().flatten().map(str::to_owned));
        Ok::<_, Error>(())
    })
    .unwrap();
    println!(
        "{rows} rows, {} distinct ids, read in {:.0} ms",
        ids.len(),
        ms(began.elapsed())
    );
    assert_eq!((rows, ids.len()), (commits, commits), "a row is lost or double");
}

fn schema() -> Schema {
    let mut fields = vec![
        Field::new("_id", DataType::Utf8, false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            true,
        ),
        Field::new("source_offset", DataType::Int64, false),
    ];
    fields.extend((0..TEXTS).map(|number| Field::new(format!("text_{number}"), DataType::Utf8, true)));
    Schema::new(fields)
}

/// The rows go round the days.
fn row(number: usize, days: usize) -> RecordBatch {
    let number = i64::try_from(number).unwrap();
    let day = number % i64::try_from(days).unwrap();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![format!("id-{number:032}")])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![day * DAY_MICROSECONDS + number]).with_timezone("+00:00"),
        ),
        Arc::new(Int64Array::from(vec![number])),
    ];
    columns.extend((0..TEXTS).map(|text| -> ArrayRef {
        Arc::new(StringArray::from(vec![format!("text {text} of row {number}")]))
    }));
    RecordBatch::try_new(Arc::new(schema()), columns).unwrap()
}

fn megabytes(folder: &Path) -> f64 {
    bytes(folder) as f64 / 1e6
}

fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            found if found.is_dir() => bytes(&entry.path()),
            found => found.len(),
        })
        .sum()
}

fn median_ms(sorted: &[Duration]) -> f64 {
    ms(sorted[sorted.len() / 2])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
