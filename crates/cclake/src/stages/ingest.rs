//! Source → lake → `raw`, chunk by chunk: dead letters first, then rows, then positions, so that whatever moment a
//! crash picks, a position never leads its rows and no bad line is forgotten.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::{Chunk, Counts, FileCounts, KnownIds, Plan, PlannedFile, Positions, ReadPlan, dlq};
use cclake_lake::{Commit, Lake, LakeSettings};
use cclake_warehouse::{Access, LakeMark, LoadStats, Warehouse};
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

/// Reads what is new at the source into the lake, and from there at once into `warehouse` if one is given: while one chunk
/// is loaded, the next is written to the lake and the one after it is parsed.
pub(crate) fn ingest(
    settings: &Settings,
    data: &DataDir,
    run: &Run,
    lake: &mut Lake,
    warehouse: Option<&Warehouse>,
    progress: &Progress,
) -> anyhow::Result<IngestReport> {
    // Without a buffer, which would hold one more chunk in memory.
    let (committed, chunks) = sync_channel(0);
    let keeper = Keeper {
        settings,
        data,
        run,
        lake,
        loader: warehouse.is_some().then_some(committed),
        written: Duration::ZERO,
        report: IngestReport::default(),
    };
    let (kept, loaded) = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| keeper.keep(progress));
        let loaded = match warehouse {
            Some(warehouse) => load_chunks(warehouse, chunks),
            None => Ok(Loaded::default()),
        };
        (keeper.join(), loaded)
    });
    // A failed load also ends the keeper; what it has written the next run loads.
    let loaded = loaded?;
    let mut report = kept.map_err(|_| anyhow::anyhow!("the lake's writer ended early; please report this"))??;
    report.rows = loaded.rows;
    report.load_seconds = loaded.time.as_secs_f64();
    Ok(report)
}

/// Rows that the lake has, and the mark of their snapshot.
struct Committed {
    batches: Vec<RecordBatch>,
    mark: LakeMark,
}

/// Brings chunks from the source into the lake.
struct Keeper<'a> {
    settings: &'a Settings,
    data: &'a DataDir,
    run: &'a Run,
    lake: &'a mut Lake,
    /// Who loads what the lake has.
    loader: Option<SyncSender<Committed>>,
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
        report.warnings = found.warnings.into_iter().chain(extraction.warnings).collect();
        report.extract_seconds = began.elapsed().saturating_sub(busy).as_secs_f64();
        report.lake_seconds = self.written.as_secs_f64();
        Ok(report)
    }

    /// Dead letters, then rows, then the positions behind both.
    fn take(&mut self, chunk: Chunk, positions: &mut Positions) -> anyhow::Result<()> {
        dlq::append(
            &self.settings.dead_letter_dir,
            &chunk.dead_letters,
            self.run.started_at.as_microsecond(),
            &self.run.id,
        )?;
        let written = (!chunk.batches.is_empty())
            .then(|| self.write(&chunk.batches))
            .transpose()?;
        positions.apply(chunk.positions);
        positions.stamp = stamp(self.lake);
        positions.save(&self.data.positions())?;
        if let (Some(mark), Some(loader)) = (written, &self.loader) {
            let batches = chunk.batches;
            // Refused only after a failed load, which has its own error.
            loader
                .send(Committed { batches, mark })
                .context("nobody loads what the lake has")?;
        }
        Ok(())
    }

    fn write(&mut self, batches: &[RecordBatch]) -> anyhow::Result<LakeMark> {
        let commit = Commit {
            commit_id: uuid::Uuid::now_v7().to_string(),
            summary: BTreeMap::from([("cclake.run-id".to_owned(), self.run.id.clone())]),
            properties: BTreeMap::new(),
        };
        let began = Instant::now();
        let head = self.lake.append(batches.to_vec(), &commit)?;
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

/// What a pass loaded.
#[derive(Debug, Default)]
struct Loaded {
    rows: RowCounts,
    time: Duration,
}

fn load_chunks(warehouse: &Warehouse, chunks: Receiver<Committed>) -> anyhow::Result<Loaded> {
    let mut loaded = Loaded::default();
    for (number, chunk) in (1_u64..).zip(chunks) {
        let began = Instant::now();
        let mut load = warehouse.begin_load()?;
        load.push(&chunk.batches)?;
        add(&mut loaded.rows, load.commit(&chunk.mark)?);
        if number.is_multiple_of(LOADS_PER_CHECKPOINT) {
            warehouse.checkpoint()?;
        }
        loaded.time += began.elapsed();
    }
    Ok(loaded)
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
