//! Source → lake → `raw`, chunk by chunk: dead letters first, then rows, and positions with them or behind them, so that
//! whatever moment a crash picks, a position never leads its rows and no bad record is forgotten.

mod documents;
mod files;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow_array::RecordBatch;
use cclake_extract::dlq::{self, DeadLetter};
use cclake_extract::mongo::Pass;
use cclake_extract::{Counts, FileCounts};
use cclake_lake::{Commit, Head, Lake, LakeSettings};
use cclake_warehouse::{LakeMark, Warehouse};
use serde::Serialize;

pub(super) use files::{bytes_to_read, stamp};

use super::load::{Loader, News, RowCounts};
use crate::data_dir::{DataDir, make_private};
use crate::memory;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::{Settings, SourceKind};
use crate::stages::told::Told;

pub(crate) use documents::Following;

/// What the loader may be told before it listens: a snapshot, and the rows that the lake writes next.
const NEWS_AHEAD: usize = 2;

/// One run: its id and its time, which every row it brings carries.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Sorts by time.
    pub id: String,
    /// When it began.
    pub started_at: jiff::Timestamp,
}

impl Run {
    /// A run that begins now.
    pub(crate) fn begin() -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            started_at: jiff::Timestamp::now(),
        }
    }
}

/// What one pass over the source brought.
#[derive(Debug, Default, Serialize)]
pub(crate) struct IngestReport {
    /// Where it came from.
    pub source: SourceKind,
    /// Lines or documents read and what became of them; they add up.
    pub lines: LineCounts,
    /// Files by what was done with them.
    pub files: FileReport,
    /// Rows of `raw.conversations`.
    pub rows: RowCounts,
    /// Snapshots committed to the lake.
    pub lake_commits: u64,
    /// Rows with a member that no column could take; `_parse_error` names it.
    pub unexpected: u64,
    /// Rows that say that a document was deleted.
    pub deletions: u64,
    /// Changes that bring no row: updates of documents that are gone since, and what concerns the collection.
    pub skipped: u64,
    /// Files that could not be read, and the like, a sentence each.
    pub warnings: Vec<String>,
    /// Time spent waiting for parsed chunks.
    pub extract_seconds: f64,
    /// Time spent writing and committing to the lake; the load goes on beside it.
    pub lake_seconds: f64,
    /// Time spent loading into the warehouse.
    pub load_seconds: f64,
}

/// `read = new + already_there + dead_lettered + pending`, and what [`IngestReport::skipped`] has of changes.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct LineCounts {
    pub read: u64,
    pub new: u64,
    pub already_there: u64,
    pub dead_lettered: u64,
    pub pending: u64,
    pub bytes: u64,
}

/// Files of the source.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct FileReport {
    pub new: u64,
    pub grown: u64,
    pub reread: u64,
    pub renamed: u64,
    pub unchanged: u64,
}

impl std::ops::AddAssign for LineCounts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.new += other.new;
        self.already_there += other.already_there;
        self.dead_lettered += other.dead_lettered;
        self.pending += other.pending;
        self.bytes += other.bytes;
    }
}

impl From<Counts> for LineCounts {
    fn from(counts: Counts) -> Self {
        Self {
            read: counts.lines,
            new: counts.new,
            already_there: counts.already_there,
            dead_lettered: counts.dead_lettered,
            pending: counts.pending,
            bytes: counts.bytes,
        }
    }
}

impl From<FileCounts> for FileReport {
    fn from(files: FileCounts) -> Self {
        Self {
            new: files.fresh,
            grown: files.grown,
            reread: files.reread,
            renamed: files.renamed,
            unchanged: files.unchanged,
        }
    }
}

/// Writers hold a file in memory each, and a third one adds nothing: by then the source is the bottleneck.
const MOST_WRITERS: usize = 2;

fn lake_settings(settings: &Settings, cores: usize) -> LakeSettings {
    let writers = NonZeroUsize::new(cores.min(MOST_WRITERS));
    LakeSettings {
        catalog_name: settings.iceberg_catalog_name.clone(),
        namespace: settings.iceberg_namespace.clone(),
        table: settings.iceberg_table_name.clone(),
        partition_by: settings.partition_by,
        writer_tasks: writers.unwrap_or(NonZeroUsize::MIN),
        before_upkeep: memory::give_back,
        ..LakeSettings::new(&settings.iceberg_warehouse_path)
    }
}

/// Opens the lake, if there is one, as it is.
pub(crate) fn open_existing_lake(settings: &Settings) -> anyhow::Result<Lake> {
    Ok(Lake::open_existing(&lake_settings(settings, settings.threads))?)
}

/// Opens the lake for writing records on these cores.
pub(crate) fn open_lake(settings: &Settings, cores: usize) -> anyhow::Result<Lake> {
    let home = &settings.iceberg_warehouse_path;
    make_private(home).with_context(|| format!("cannot create the lake's folder {}", home.display()))?;
    let lake = Lake::open(&lake_settings(settings, cores), &cclake_extract::schema())?;
    let metadata = lake
        .metadata_location()
        .unwrap_or_default()
        .trim_start_matches("file://");
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    if !real(Path::new(metadata)).starts_with(real(home)) {
        bail!(
            "the lake in {} says that its table is at {metadata}: a lake holds absolute paths and works only where it was made",
            home.display()
        );
    }
    Ok(lake)
}

/// Where rows go.
pub(crate) struct Destination<'a> {
    pub lake: &'a mut Lake,
    /// Where they are loaded at once.
    pub warehouse: Option<&'a Warehouse>,
}

/// Reads what is new at the source into the lake, and from there at once into the warehouse if one is given: while one chunk
/// is loaded, the next is written to the lake and the one after it is parsed. `afterwards` is called once the lake has them
/// all, while the last ones are loaded.
pub(crate) fn ingest(
    settings: &Settings,
    data: &DataDir,
    run: &Run,
    pass: Pass,
    Destination { lake, warehouse }: Destination<'_>,
    progress: &Progress,
    afterwards: impl FnOnce(&IngestReport) -> anyhow::Result<()> + Send,
) -> anyhow::Result<Ingested> {
    let (teller, news) = sync_channel(NEWS_AHEAD);
    let covered = sequence_number(lake.head());
    let keeper = Keeper {
        settings,
        data,
        run,
        lake,
        loader: warehouse.is_some().then_some(teller),
        covered,
        written: Duration::ZERO,
        report: IngestReport {
            source: settings.source,
            ..IngestReport::default()
        },
        told: Told::default(),
    };
    let (kept, loaded) = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            let report = keeper.keep(pass, progress)?;
            afterwards(&report)?;
            anyhow::Ok(report)
        });
        let loaded = warehouse
            .map(|warehouse| Loader::new(warehouse).listen(news))
            .transpose();
        (keeper.join(), loaded)
    });
    let mut report =
        kept.map_err(|_| anyhow::anyhow!("the lake's writer ended early; please report this"))??;
    let loaded = loaded.map(|loaded| {
        if let Some(loaded) = loaded {
            report.rows = loaded.rows;
            report.load_seconds = loaded.time.as_secs_f64();
        }
    });
    Ok(Ingested { report, loaded })
}

/// Reads the source's changes into the lake until `stop` is set.
pub(crate) fn follow(
    settings: &Settings,
    data: &DataDir,
    run: &Run,
    lake: &mut Lake,
    following: Following,
    stop: &AtomicBool,
    printer: &Printer,
) -> anyhow::Result<IngestReport> {
    let keeper = Keeper {
        settings,
        data,
        run,
        lake,
        loader: None,
        covered: 0,
        written: Duration::ZERO,
        report: IngestReport {
            source: settings.source,
            ..IngestReport::default()
        },
        told: Told::default(),
    };
    keeper.keep_following(following, stop, printer)
}

/// What is new, which the first time is everything, unless the settings say otherwise.
pub(crate) fn increment(settings: &Settings) -> Pass {
    Pass::Increment {
        history: settings.backfill_all_historical,
    }
}

/// A pass over the source: it is in the lake.
pub(crate) struct Ingested {
    /// What it brought.
    pub report: IngestReport,
    /// Whether the warehouse has it too. What it lacks it can have from the lake.
    pub loaded: anyhow::Result<()>,
}

/// Of the lake's newest snapshot; 0 before the first.
fn sequence_number(head: Option<Head>) -> i64 {
    head.map_or(0, |head| head.sequence_number)
}

/// Adds to the dead letters; no letters touch nothing.
pub(crate) fn queue(settings: &Settings, run: &Run, letters: &[DeadLetter]) -> anyhow::Result<()> {
    let folder = &settings.dead_letter_dir;
    if !letters.is_empty() {
        make_private(folder)
            .with_context(|| format!("cannot create the folder of dead letters {}", folder.display()))?;
    }
    Ok(dlq::append(
        folder,
        letters,
        jiff::Timestamp::now().as_microsecond(),
        &run.id,
    )?)
}

/// Brings chunks from the source into the lake.
struct Keeper<'a> {
    settings: &'a Settings,
    data: &'a DataDir,
    run: &'a Run,
    lake: &'a mut Lake,
    /// Where rows are loaded at once.
    loader: Option<SyncSender<News>>,
    /// The sequence number up to which the lake's rows are loaded or on their way to the loader.
    covered: i64,
    /// Time the lake took.
    written: Duration,
    report: IngestReport,
    /// Warnings that were printed already.
    told: Told,
}

impl Keeper<'_> {
    fn keep(self, pass: Pass, progress: &Progress) -> anyhow::Result<IngestReport> {
        match self.settings.source {
            SourceKind::Jsonl => self.keep_files(progress),
            SourceKind::Mongodb => self.keep_documents(pass, progress),
        }
    }

    /// Nobody listens any more once a load has failed; the lake goes on without.
    fn tell(&mut self, news: impl FnOnce() -> News) {
        self.loader = self.loader.take().filter(|loader| loader.send(news()).is_ok());
    }

    /// Commits rows together with the position behind them, if the lake is to keep it.
    fn write(
        &mut self,
        batches: Vec<RecordBatch>,
        properties: BTreeMap<String, String>,
    ) -> anyhow::Result<LakeMark> {
        let commit = Commit {
            commit_id: uuid::Uuid::now_v7().to_string(),
            summary: BTreeMap::from([("cclake.run-id".to_owned(), self.run.id.clone())]),
            properties,
        };
        let began = Instant::now();
        let head = if batches.is_empty() {
            Some(self.lake.checkpoint(&commit)?)
        } else {
            self.lake.append(batches, &commit)?
        };
        if let Some(failure) = self.lake.take_upkeep_failure() {
            let warning =
                format!("the lake's upkeep failed, which `cclake lake maintain` can catch up on: {failure}");
            self.report.warnings.push(warning);
        }
        self.written += began.elapsed();
        self.report.lake_commits += 1;
        let head = head.context("the lake has no snapshot after a commit")?;
        self.cover(head.sequence_number)?;
        Ok(LakeMark {
            table_uuid: self.lake.table_uuid(),
            sequence: head.sequence_number,
        })
    }

    /// Nothing more goes to the loader once rows of another writer, a follower perhaps, came to the lake before ours: a mark
    /// behind them would say that they are loaded. The rest is loaded from the lake.
    fn cover(&mut self, sequence_number: i64) -> anyhow::Result<()> {
        let is_next = sequence_number == self.covered + 1;
        if self.loader.is_some() && !is_next {
            let files = self.lake.files_since(self.covered)?;
            if files.iter().any(|file| file.sequence_number < sequence_number) {
                self.loader = None;
            }
        }
        self.covered = sequence_number;
        Ok(())
    }
}
