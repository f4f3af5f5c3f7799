//! Rows that are, or are about to be, in the lake → `raw`: several snapshots per load.

use std::ops::AddAssign;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::bail;
use arrow_array::RecordBatch;
use cclake_lake::Lake;
use cclake_warehouse::{Access, ErrorKind, LakeMark, Load, LoadStats, Warehouse};
use serde::Serialize;

use crate::data_dir::temp_dir;
use crate::memory;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;

/// Snapshots per load. Each load is then written to disk, so that the warehouse reuses the space of what it leaves behind;
/// the last one when it is published.
const SNAPSHOTS_PER_LOAD: usize = 8;

/// Bytes of lake rows held at a time when a backlog is loaded.
const BACKLOG_BYTES: usize = 96 << 20;

/// Rows of `raw.conversations`.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct RowCounts {
    pub inserted: u64,
    pub updated: u64,
    pub copies: u64,
}

impl AddAssign for RowCounts {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.copies += other.copies;
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

/// Does `work` on the warehouse, the one that is open or one opened here. Where DuckDB runs out of memory, it is opened
/// again with four times as much, as far as the machine has it, and what the closed one had not written comes from `lake`.
pub(crate) fn with_room<T>(
    settings: &Settings,
    lake: Option<&Lake>,
    mut warehouse: Option<Warehouse>,
    printer: &Printer,
    work: &mut dyn FnMut(&Warehouse) -> anyhow::Result<T>,
) -> anyhow::Result<(Warehouse, T)> {
    let mut settings = settings.clone();
    loop {
        let (open, behind) = match warehouse.take() {
            Some(open) => (open, None),
            None => (open_warehouse(&settings, Access::ReadWrite)?, lake),
        };
        let caught_up = behind.map_or(Ok(RowCounts::default()), |lake| {
            load_backlog(lake, &open, &Progress::new(printer))
        });
        let error = match caught_up.and_then(|_| work(&open)) {
            Ok(done) => return Ok((open, done)),
            Err(error) if is_out_of_memory(&error) => error,
            Err(error) => return Err(error),
        };
        // Spares a load; where that fails too, the lake has the rows.
        let _ = open.checkpoint();
        let Some(more) = memory::more_mb(settings.memory_mb) else {
            let had = settings.memory_mb;
            return Err(error.context(format!("{had} MiB of memory (memory_mb) were not enough")));
        };
        settings.memory_mb = more;
        printer.detail(&format!("once more with {more} MiB of memory: {error:#}"));
    }
}

pub(crate) fn is_out_of_memory(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<cclake_warehouse::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::OutOfMemory)
}

/// What the loader hears, in turn.
pub(super) enum News {
    /// Rows on their way into the lake.
    Rows(Vec<RecordBatch>),
    /// All rows so far are in the lake.
    Snapshot(LakeMark),
}

/// Loads rows as they come, and commits them once the lake has them: a warehouse ahead of its lake could not be brought
/// into line again. What is not committed when the news end leaves no trace; the next run loads it from the lake.
pub(super) struct Loader<'w> {
    warehouse: &'w Warehouse,
    under_way: Option<Load<'w>>,
    /// Whether the lake has all rows under way.
    in_lake: bool,
    snapshots: usize,
    /// What became of the rows.
    pub(super) rows: RowCounts,
    /// Time spent on them.
    pub(super) time: Duration,
}

impl<'w> Loader<'w> {
    pub(super) fn new(warehouse: &'w Warehouse) -> Self {
        Self {
            warehouse,
            under_way: None,
            in_lake: false,
            snapshots: 0,
            rows: RowCounts::default(),
            time: Duration::ZERO,
        }
    }

    /// Takes news as they come, to their end.
    pub(super) fn listen(mut self, news: Receiver<News>) -> anyhow::Result<Self> {
        for news in news {
            let began = Instant::now();
            self.hear(news)?;
            self.time += began.elapsed();
        }
        let began = Instant::now();
        self.commit()?;
        self.time += began.elapsed();
        Ok(self)
    }

    fn hear(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Rows(batches) => {
                self.in_lake = false;
                let load = match &mut self.under_way {
                    Some(load) => load,
                    none => none.insert(self.warehouse.begin_load()?),
                };
                load.push(&batches)?;
            }
            News::Snapshot(mark) => {
                if let Some(load) = &mut self.under_way {
                    load.mark(&mark)?;
                }
                self.in_lake = true;
                self.snapshots += 1;
                if self.snapshots.is_multiple_of(SNAPSHOTS_PER_LOAD) {
                    self.commit()?;
                    self.warehouse.checkpoint()?;
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        if let Some(load) = self.under_way.take().filter(|_| self.in_lake) {
            self.rows += load.commit()?.into();
        }
        Ok(())
    }
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
    let mark = warehouse.loaded_mark()?;
    if mark.as_ref().is_some_and(|mark| mark.table_uuid != table_uuid) {
        // Never wiped unasked: it may hold what that lake no longer has.
        bail!(
            "the warehouse was filled from another lake than the one here (its catalog lost, or another data directory): \
             give each lake its own duckdb_path, or move the warehouse file away to fill a new one from this lake"
        );
    }
    warehouse.prepare_raw(lake.schema())?;
    let since = mark.map_or(0, |mark| mark.sequence);
    let mut loader = Loader::new(warehouse);
    let files = lake.files_since(since)?;
    progress.begin("load", files.iter().map(|file| file.records).sum());
    for snapshot in files.chunk_by(|a, b| a.sequence_number == b.sequence_number) {
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut bytes = 0;
        lake.read(snapshot, None, &mut |batch: RecordBatch| {
            bytes += batch.get_array_memory_size();
            progress.advance(batch.num_rows() as u64);
            batches.push(batch);
            if bytes >= BACKLOG_BYTES {
                bytes = 0;
                loader.hear(News::Rows(std::mem::take(&mut batches)))?;
            }
            anyhow::Ok(())
        })?;
        loader.hear(News::Rows(batches))?;
        loader.hear(News::Snapshot(LakeMark {
            table_uuid: table_uuid.clone(),
            sequence: snapshot[0].sequence_number,
        }))?;
    }
    loader.commit()?;
    progress.end();
    Ok(loader.rows)
}
