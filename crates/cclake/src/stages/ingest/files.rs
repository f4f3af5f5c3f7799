//! Claude Code's files → lake.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::{Chunk, KnownIds, Plan, PlannedFile, Positions, ReadPlan, dlq};
use cclake_lake::Lake;

use super::{IngestReport, Keeper, News, queue};
use crate::progress::Progress;
use crate::settings::Settings;

/// Bytes of input per lake snapshot: enough for decent files, few enough to hold three of them as Arrow (about twice that)
/// in memory.
const CHUNK_BYTES: usize = 32 << 20;

impl Keeper<'_> {
    pub(super) fn keep_files(mut self, progress: &Progress) -> anyhow::Result<IngestReport> {
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
        queue(self.settings, self.run, &chunk.dead_letters)?;
        let snapshot = if chunk.batches.is_empty() {
            None
        } else {
            self.tell(|| News::Rows(chunk.batches.clone()));
            Some(self.write(chunk.batches, BTreeMap::new())?)
        };
        positions.apply(chunk.positions);
        positions.stamp = stamp(self.lake);
        positions.save(&self.data.positions())?;
        if let Some(mark) = snapshot {
            self.tell(|| News::Snapshot(mark));
        }
        Ok(())
    }
}

/// What positions must be stamped with to be trusted: they belong to this very state of the lake. Its upkeep makes new
/// snapshots of the same rows, under the commit id of those before.
pub(crate) fn stamp(lake: &Lake) -> Option<String> {
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

pub(crate) fn bytes_to_read(plan: &Plan) -> u64 {
    let bytes = |file: &PlannedFile| match &file.action {
        ReadPlan::Unchanged(_) => 0,
        ReadPlan::Resume(resume) => file.file.size.saturating_sub(resume.offset()),
        ReadPlan::Fresh | ReadPlan::Reread => file.file.size,
    };
    plan.files.iter().map(bytes).sum()
}
