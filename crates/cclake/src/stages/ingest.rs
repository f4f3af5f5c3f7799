//! Source → lake → `raw`, chunk by chunk: dead letters first, then rows, then positions, so that whatever moment a
//! crash picks, a position never leads its rows and no bad line is forgotten.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::{Chunk, Counts, FileCounts, KnownIds, Plan, PlannedFile, Positions, ReadPlan, dlq};
use cclake_lake::{Commit, Lake, LakeSettings};
use cclake_warehouse::{LakeMark, Warehouse};
use serde::Serialize;

use super::load::{Loader, News, RowCounts};
use crate::data_dir::{DataDir, make_private};
use crate::progress::Progress;
use crate::settings::Settings;

/// Bytes of input per lake snapshot: enough for decent files, few enough to hold three of them as Arrow (about twice that)
/// in memory.
const CHUNK_BYTES: usize = 32 << 20;

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
    /// Lines read and what became of them; they add up.
    pub lines: LineCounts,
    /// Files by what was done with them.
    pub files: FileReport,
    /// Rows of `raw.conversations`.
    pub rows: RowCounts,
    /// Snapshots committed to the lake.
    pub lake_commits: u64,
    /// Files that could not be read, a sentence each.
    pub warnings: Vec<String>,
    /// Time spent waiting for parsed chunks.
    pub extract_seconds: f64,
    /// Time spent writing and committing to the lake; the load goes on beside it.
    pub lake_seconds: f64,
    /// Time spent loading into the warehouse.
    pub load_seconds: f64,
}

/// `read = new + already_there + dead_lettered + pending`.
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

/// Reads what is new at the source into the lake, and from there at once into `warehouse` if one is given: while one chunk
/// is loaded, the next is written to the lake and the one after it is parsed. `afterwards` is called once the lake has them
/// all, while the last ones are loaded.
pub(crate) fn ingest(
    settings: &Settings,
    data: &DataDir,
    run: &Run,
    lake: &mut Lake,
    warehouse: Option<&Warehouse>,
    progress: &Progress,
    afterwards: impl FnOnce(&IngestReport) -> anyhow::Result<()> + Send,
) -> anyhow::Result<Ingested> {
    let (teller, news) = sync_channel(NEWS_AHEAD);
    let keeper = Keeper {
        settings,
        data,
        run,
        lake,
        loader: warehouse.is_some().then_some(teller),
        written: Duration::ZERO,
        report: IngestReport::default(),
    };
    let (kept, loaded) = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            let report = keeper.keep(progress)?;
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

/// A pass over the source: it is in the lake.
pub(crate) struct Ingested {
    /// What it brought.
    pub report: IngestReport,
    /// Whether the warehouse has it too. What it lacks it can have from the lake.
    pub loaded: anyhow::Result<()>,
}

/// Brings chunks from the source into the lake.
struct Keeper<'a> {
    settings: &'a Settings,
    data: &'a DataDir,
    run: &'a Run,
    lake: &'a mut Lake,
    /// Where rows are loaded at once.
    loader: Option<SyncSender<News>>,
    /// Time the lake took.
    written: Duration,
    report: IngestReport,
}

impl Keeper<'_> {
    fn keep(mut self, progress: &Progress) -> anyhow::Result<IngestReport> {
        let began = Instant::now();
        let (settings, run) = (self.settings, self.run);
        let mut positions = Positions::load(&self.data.positions())?;
        let found = cclake_extract::discover(&settings.paths)?;
        let plan = cclake_extract::plan(found.files, &mut positions, stamp(self.lake).as_deref());
        let known = known_ids(settings, self.lake, &plan)?;
        let dead_ids = if plan.is_empty() {
            HashSet::new()
        } else {
            dlq::load_ids(&settings.dead_letter_dir)?
        };
        progress.begin("extract", bytes_to_read(&plan));
        let mut busy = Duration::ZERO;
        let extraction = cclake_extract::extract(
            &plan,
            known,
            &dead_ids,
            &cclake_extract::Settings {
                machine: settings.machine.clone(),
                run_id: run.id.clone(),
                synced_at_us: run.started_at.as_microsecond(),
                threads: settings.threads,
                chunk_bytes: CHUNK_BYTES,
            },
            &mut |chunk| {
                let bytes = chunk.counts.bytes;
                let began = Instant::now();
                self.take(chunk, &mut positions)?;
                busy += began.elapsed();
                progress.advance(bytes);
                anyhow::Ok(())
            },
        )?;
        progress.end();
        let mut report = self.report;
        report.lines = extraction.counts.into();
        report.files = extraction.files.into();
        report
            .warnings
            .extend(found.warnings.into_iter().chain(extraction.warnings));
        report.extract_seconds = began.elapsed().saturating_sub(busy).as_secs_f64();
        report.lake_seconds = self.written.as_secs_f64();
        Ok(report)
    }

    /// Dead letters, then rows, then the positions behind both.
    fn take(&mut self, chunk: Chunk, positions: &mut Positions) -> anyhow::Result<()> {
        self.queue(&chunk)?;
        let snapshot = if chunk.batches.is_empty() {
            None
        } else {
            self.tell(|| News::Rows(chunk.batches.clone()));
            Some(self.write(chunk.batches)?)
        };
        positions.apply(chunk.positions);
        positions.stamp = stamp(self.lake);
        positions.save(&self.data.positions())?;
        if let Some(mark) = snapshot {
            self.tell(|| News::Snapshot(mark));
        }
        Ok(())
    }

    fn queue(&self, chunk: &Chunk) -> anyhow::Result<()> {
        let folder = &self.settings.dead_letter_dir;
        if !chunk.dead_letters.is_empty() {
            make_private(folder)
                .with_context(|| format!("cannot create the folder of dead letters {}", folder.display()))?;
        }
        Ok(dlq::append(
            folder,
            &chunk.dead_letters,
            self.run.started_at.as_microsecond(),
            &self.run.id,
        )?)
    }

    /// Nobody listens any more once a load has failed; the lake goes on without.
    fn tell(&mut self, news: impl FnOnce() -> News) {
        self.loader = self.loader.take().filter(|loader| loader.send(news()).is_ok());
    }

    fn write(&mut self, batches: Vec<RecordBatch>) -> anyhow::Result<LakeMark> {
        let commit = Commit {
            commit_id: uuid::Uuid::now_v7().to_string(),
            summary: BTreeMap::from([("cclake.run-id".to_owned(), self.run.id.clone())]),
            properties: BTreeMap::new(),
        };
        let began = Instant::now();
        let head = self.lake.append(batches, &commit)?;
        if let Some(failure) = self.lake.take_upkeep_failure() {
            let warning =
                format!("the lake's upkeep failed, which `cclake lake maintain` can catch up on: {failure}");
            self.report.warnings.push(warning);
        }
        self.written += began.elapsed();
        self.report.lake_commits += 1;
        Ok(LakeMark {
            table_uuid: self.lake.table_uuid(),
            sequence: head
                .context("the lake has no snapshot after a commit")?
                .sequence_number,
        })
    }
}

/// What positions must be stamped with to be trusted: they belong to this very state of the lake. Its upkeep makes new
/// snapshots of the same rows, under the commit id of those before.
fn stamp(lake: &Lake) -> Option<String> {
    let head = lake.head()?;
    let state = head.commit_id.unwrap_or_else(|| head.snapshot_id.to_string());
    Some(format!("{}/{state}", lake.table_uuid()))
}

/// What the lake holds of the files that must be read again.
fn known_ids(settings: &Settings, lake: &Lake, plan: &Plan) -> anyhow::Result<KnownIds> {
    let mut known = KnownIds::default();
    let rereads: HashSet<&str> = plan.rereads().collect();
    if rereads.is_empty() {
        return Ok(known);
    }
    lake.scan_columns(&["source_file", "_id", "machine"], &mut |batch: RecordBatch| {
        let [files, ids, machines] = [0, 1, 2].map(|column| batch.column(column).as_string_opt::<i32>());
        let columns = files
            .zip(ids)
            .zip(machines)
            .context("the lake's text columns are not text")?;
        let ((files, ids), machines) = columns;
        for row in 0..files.len() {
            if machines.value(row) == settings.machine && rereads.contains(files.value(row)) {
                // Another source's ids are no hashes of lines; its rows are none of these files'.
                if let Ok(id) = ids.value(row).parse() {
                    known.add(files.value(row), id);
                }
            }
        }
        anyhow::Ok(())
    })?;
    Ok(known)
}

fn bytes_to_read(plan: &Plan) -> u64 {
    let bytes = |file: &PlannedFile| match &file.action {
        ReadPlan::Unchanged(_) => 0,
        ReadPlan::Resume(resume) => file.file.size.saturating_sub(resume.offset()),
        ReadPlan::Fresh | ReadPlan::Reread => file.file.size,
    };
    plan.files.iter().map(bytes).sum()
}
