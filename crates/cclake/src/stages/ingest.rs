//! Source → lake → `raw`, chunk by chunk: dead letters first, then rows, then positions, so that whatever moment a
//! crash picks, a position never leads its rows and no bad line is forgotten.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::{Chunk, Counts, FileCounts, KnownIds, Plan, PlannedFile, Positions, ReadPlan, dlq};
use cclake_lake::{Commit, Lake, LakeSettings};
use cclake_warehouse::{Access, LakeMark, Load, LoadStats, Warehouse};
use serde::Serialize;

use crate::data_dir::{DataDir, temp_dir};
use crate::progress::Progress;
use crate::settings::Settings;

/// Bytes of input per lake commit: enough for decent files, few enough to hold as Arrow (about twice that) in memory.
const CHUNK_BYTES: usize = 24 << 20;

/// Loads after which the warehouse is written to disk, so that it reuses the space of what loads leave behind; a smaller
/// run does so once, when it publishes.
const LOADS_PER_CHECKPOINT: u64 = 8;

/// Bytes of lake rows held at a time when a backlog is loaded, for the same reason.
const BACKLOG_BYTES: usize = 96 << 20;

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

/// Rows of `raw.conversations`.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct RowCounts {
    pub inserted: u64,
    pub updated: u64,
    pub copies: u64,
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
            grown: files.resumed,
            reread: files.reread,
            renamed: files.renamed,
            unchanged: files.unchanged,
        }
    }
}

impl From<LoadStats> for RowCounts {
    fn from(stats: LoadStats) -> Self {
        Self {
            inserted: stats.inserted,
            updated: stats.updated,
            copies: stats.unchanged,
        }
    }
}

/// Opens the lake for writing records.
pub(crate) fn open_lake(settings: &Settings) -> anyhow::Result<Lake> {
    let lake = LakeSettings {
        catalog_name: settings.iceberg_catalog_name.clone(),
        namespace: settings.iceberg_namespace.clone(),
        table: settings.iceberg_table_name.clone(),
        partition_by: settings.partition_by,
        ..LakeSettings::new(&settings.iceberg_warehouse_path)
    };
    let lake = Lake::open(&lake, &cclake_extract::schema())?;
    let home = settings.iceberg_warehouse_path.to_string_lossy();
    let metadata = lake.metadata_location().unwrap_or_default();
    if !metadata.trim_start_matches("file://").starts_with(home.as_ref()) {
        bail!(
            "the lake in {home} says that its table is at {metadata}: a lake holds absolute paths and works only where it was made"
        );
    }
    Ok(lake)
}

/// Opens the warehouse.
pub(crate) fn open_warehouse(settings: &Settings, access: Access) -> anyhow::Result<Warehouse> {
    Ok(Warehouse::open(
        &cclake_warehouse::Settings {
            path: settings.duckdb_path.clone(),
            temp_dir: temp_dir(settings),
            memory_mb: settings.memory_mb,
            threads: settings.threads,
            time_zone: settings.time_zone.clone(),
        },
        access,
    )?)
}

/// Reads what is new at the source into the lake, and at once into `warehouse` if one is given.
pub(crate) fn ingest(
    settings: &Settings,
    data: &DataDir,
    run: &Run,
    lake: &mut Lake,
    warehouse: Option<&Warehouse>,
    progress: &Progress,
) -> anyhow::Result<IngestReport> {
    let began = Instant::now();
    let mut written = Duration::ZERO;
    let mut positions = Positions::load(&data.positions())?;
    let found = cclake_extract::discover(&settings.paths)?;
    let plan = cclake_extract::plan(found.files, &mut positions, stamp(lake).as_deref());
    let known = known_ids(settings, lake, &plan)?;
    let dead_ids = if plan.is_empty() {
        HashSet::new()
    } else {
        dlq::load_ids(&settings.dead_letter_dir)?
    };
    progress.begin("extract", bytes_to_read(&plan));

    let mut sink = Sink {
        settings,
        data,
        run,
        lake,
        warehouse,
        positions: &mut positions,
        report: IngestReport::default(),
    };
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
            sink.take(chunk)?;
            written += began.elapsed();
            progress.advance(bytes);
            anyhow::Ok(())
        },
    )?;
    let mut report = sink.report;
    report.lines = extraction.counts.into();
    report.files = extraction.files.into();
    report.warnings = found.warnings.into_iter().chain(extraction.warnings).collect();
    report.extract_seconds = began.elapsed().as_secs_f64() - written.as_secs_f64();
    progress.end();
    Ok(report)
}

/// Where the chunks of one pass go.
struct Sink<'a> {
    settings: &'a Settings,
    data: &'a DataDir,
    run: &'a Run,
    lake: &'a mut Lake,
    warehouse: Option<&'a Warehouse>,
    positions: &'a mut Positions,
    report: IngestReport,
}

impl<'a> Sink<'a> {
    fn take(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        dlq::append(
            &self.settings.dead_letter_dir,
            &chunk.dead_letters,
            self.run.started_at.as_microsecond(),
            &self.run.id,
        )?;
        let load = if chunk.batches.is_empty() {
            None
        } else {
            self.write(&chunk.batches)?
        };
        self.positions.apply(chunk.positions);
        self.positions.stamp = stamp(self.lake);
        self.positions.save(&self.data.positions())?;
        if let Some(load) = load {
            let mark = mark(self.lake).context("the lake has no snapshot after a commit")?;
            let (stats, seconds) = timed(|| {
                let stats = load.commit(&mark)?;
                self.checkpoint_if_due()?;
                Ok(stats)
            })?;
            self.report.load_seconds += seconds;
            add(&mut self.report.rows, stats);
        }
        Ok(())
    }

    fn checkpoint_if_due(&self) -> anyhow::Result<()> {
        match self.warehouse {
            Some(warehouse) if self.report.lake_commits.is_multiple_of(LOADS_PER_CHECKPOINT) => {
                Ok(warehouse.checkpoint()?)
            }
            _ => Ok(()),
        }
    }

    /// Commits rows to the lake and meanwhile brings them into the warehouse's open transaction: both are bound by the
    /// processor, and neither keeps two cores busy. The load may only be committed once the lake has the rows.
    fn write(&mut self, batches: &[RecordBatch]) -> anyhow::Result<Option<Load<'a>>> {
        let commit = Commit {
            commit_id: uuid::Uuid::now_v7().to_string(),
            summary: BTreeMap::from([("cclake.run-id".to_owned(), self.run.id.clone())]),
            properties: BTreeMap::new(),
        };
        let warehouse = self.warehouse;
        let (lake, report) = (&mut self.lake, &mut self.report);
        let (committed, loaded) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| timed(|| Ok(lake.append(batches.to_vec(), &commit)?)));
            let loaded = timed(|| {
                warehouse
                    .map(|warehouse: &'a Warehouse| push(warehouse, batches))
                    .transpose()
            });
            (writer.join(), loaded)
        });
        let (_, lake_seconds) = committed.map_err(|_| anyhow::anyhow!("the lake's writer ended early"))??;
        let (load, load_seconds) = loaded?;
        report.lake_commits += 1;
        report.lake_seconds += lake_seconds;
        report.load_seconds += load_seconds;
        Ok(load)
    }
}

fn push<'w>(warehouse: &'w Warehouse, batches: &[RecordBatch]) -> anyhow::Result<Load<'w>> {
    let mut load = warehouse.begin_load()?;
    load.push(batches)?;
    Ok(load)
}

/// Loads what the lake has and the warehouse does not.
///
/// # Errors
/// Among others, when the warehouse was filled from another lake.
pub(crate) fn load_backlog(
    lake: &Lake,
    warehouse: &Warehouse,
    progress: &Progress,
) -> anyhow::Result<RowCounts> {
    let table_uuid = lake.table_uuid();
    let loaded = warehouse.loaded_mark()?;
    if loaded.as_ref().is_some_and(|mark| mark.table_uuid != table_uuid) {
        // Never wiped unasked: it may hold what that lake no longer has.
        bail!(
            "the warehouse was filled from another lake than the one here (its catalog lost, or another data directory): \
             give each lake its own duckdb_path, or move the warehouse file away to fill a new one from this lake"
        );
    }
    warehouse.prepare_raw(lake.schema())?;
    let since = loaded
        .filter(|mark| mark.table_uuid == table_uuid)
        .map_or(0, |mark| mark.sequence);
    let mut counts = RowCounts::default();
    let mut loads: u64 = 0;
    let files = lake.files_since(since)?;
    progress.begin("load", files.iter().map(|file| file.records).sum());
    for snapshot in files.chunk_by(|a, b| a.sequence_number == b.sequence_number) {
        let sequence = snapshot[0].sequence_number;
        let mut load = warehouse.begin_load()?;
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut bytes = 0;
        lake.read(snapshot, None, &mut |batch: RecordBatch| {
            bytes += batch.get_array_memory_size();
            progress.advance(batch.num_rows() as u64);
            batches.push(batch);
            if bytes >= BACKLOG_BYTES {
                load.push(&batches)?;
                batches.clear();
                bytes = 0;
            }
            anyhow::Ok(())
        })?;
        load.push(&batches)?;
        let mark = LakeMark {
            table_uuid: table_uuid.clone(),
            sequence,
        };
        add(&mut counts, load.commit(&mark)?);
        loads += 1;
        if u64::is_multiple_of(loads, LOADS_PER_CHECKPOINT) {
            warehouse.checkpoint()?;
        }
    }
    progress.end();
    Ok(counts)
}

fn add(counts: &mut RowCounts, stats: LoadStats) {
    counts.inserted += stats.inserted;
    counts.updated += stats.updated;
    counts.copies += stats.unchanged;
}

fn mark(lake: &Lake) -> Option<LakeMark> {
    let head = lake.head()?;
    Some(LakeMark {
        table_uuid: lake.table_uuid(),
        sequence: head.sequence_number,
    })
}

/// What positions must be stamped with to be trusted: they belong to this very state of the lake.
fn stamp(lake: &Lake) -> Option<String> {
    Some(format!("{}/{}", lake.table_uuid(), lake.head()?.snapshot_id))
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

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let began = Instant::now();
    let value = work()?;
    let elapsed: Duration = began.elapsed();
    Ok((value, elapsed.as_secs_f64()))
}
