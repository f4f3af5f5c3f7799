//! Claude Code's files → a MongoDB collection: documents first, then dead letters, then the positions behind both. The
//! files are the buffer: what the server did not acknowledge is read again.

mod health;
mod watch;

use std::collections::HashSet;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use cclake_extract::dlq::{self, DeadLetter};
use cclake_extract::mongo::{Lines, Stored, Target, sync_letter};
use cclake_extract::{Chunk, Discovery, KnownIds, Positions, SourceFile};
use serde::Serialize;

use super::ingest::{FileReport, LineCounts, Run, bytes_to_read, queue};
use crate::data_dir::DataDir;
use crate::settings::Settings;

pub(crate) use health::{Health, Pulse};
pub(crate) use watch::{Event, watch};

/// Bytes of lines that are stored at once: few enough that a position is never far behind.
const CHUNK_BYTES: usize = 8 << 20;

/// What became of the lines of a pass, or of some.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct SyncReport {
    /// They add up.
    pub lines: LineCounts,
    /// Places noted in documents that were there already.
    pub sightings: u64,
    /// Files by what was done with them.
    pub files: FileReport,
    /// Files that could not be read, a sentence each.
    pub warnings: Vec<String>,
}

/// The folders that files are below of, by the paths that files are known by.
pub(super) fn roots(settings: &Settings) -> Vec<PathBuf> {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    settings.paths.iter().map(real).collect()
}

/// Stores lines as documents that say where they are from.
pub(super) fn store(
    settings: &Settings,
    roots: &[PathBuf],
    target: &Target,
    batches: &[RecordBatch],
) -> anyhow::Result<Stored> {
    Ok(target.store(&Lines {
        batches,
        roots,
        machine: &settings.machine,
        user: settings.user.as_deref(),
        now_us: jiff::Timestamp::now().as_microsecond(),
    })?)
}

/// Brings files into one collection.
pub(crate) struct Syncer {
    settings: Settings,
    positions: Positions,
    positions_file: PathBuf,
    /// Dead letters that are queued already.
    letters: HashSet<cclake_extract::RecordId>,
    roots: Vec<PathBuf>,
}

impl Syncer {
    /// With the positions that the data directory has for the collection.
    pub(crate) fn new(settings: &Settings, data: &DataDir) -> anyhow::Result<Self> {
        let positions_file = data.file(&Target::file_name(&settings.mongo));
        Ok(Self {
            settings: settings.clone(),
            positions: Positions::load(&positions_file)?,
            positions_file,
            letters: dlq::load_ids(&settings.dead_letter_dir)?,
            roots: roots(settings),
        })
    }

    /// The files as they are now.
    pub(crate) fn discover(&self) -> anyhow::Result<Discovery> {
        Ok(cclake_extract::discover(&self.settings.paths)?)
    }

    /// Bytes of these files that are in no document yet, as far as the positions tell.
    pub(crate) fn pending_bytes(&mut self, files: Vec<SourceFile>) -> u64 {
        let stamp = self.positions.stamp.clone();
        bytes_to_read(&cclake_extract::plan(
            files,
            &mut self.positions,
            stamp.as_deref(),
        ))
    }

    /// Stores what is new in these files; `on_chunk` hears of each chunk that the server has acknowledged.
    pub(crate) fn pass(
        &mut self,
        target: &Target,
        found: Discovery,
        on_begin: impl FnOnce(u64),
        on_chunk: &mut dyn FnMut(&SyncReport),
    ) -> anyhow::Result<SyncReport> {
        let run = Run::begin();
        if self.positions.iter().next().is_none() {
            self.positions.stamp = target.stamp().map(str::to_owned);
        }
        // Positions in another collection, or in one that was dropped, say nothing of this one.
        let plan = cclake_extract::plan(found.files, &mut self.positions, target.stamp());
        on_begin(bytes_to_read(&plan));
        let settings = cclake_extract::Settings {
            machine: self.settings.machine.clone(),
            run_id: run.id.clone(),
            synced_at_us: run.started_at.as_microsecond(),
            threads: self.settings.threads,
            chunk_bytes: CHUNK_BYTES,
        };
        let mut report = SyncReport::default();
        // What the collection has it refuses by `_id`: nobody needs to know it before.
        let extraction = cclake_extract::extract(
            &plan,
            KnownIds::default(),
            &HashSet::new(),
            &settings,
            &mut |chunk| {
                let part = self.take(chunk, target, &run)?;
                report.lines += part.lines;
                report.sightings += part.sightings;
                on_chunk(&part);
                anyhow::Ok(())
            },
        )?;
        report.files = extraction.files.into();
        report.warnings = found.warnings.into_iter().chain(extraction.warnings).collect();
        Ok(report)
    }

    fn take(&mut self, chunk: Chunk, target: &Target, run: &Run) -> anyhow::Result<SyncReport> {
        let stored = store(&self.settings, &self.roots, target, &chunk.batches)?;
        let place = self.settings.mongo.place();
        let broken = chunk.dead_letters.into_iter().map(|letter| {
            let DeadLetter {
                file,
                offset,
                reason,
                bytes,
                ..
            } = letter;
            sync_letter(&place, &file, offset, reason, &bytes)
        });
        let mut letters: Vec<_> = broken.chain(stored.refused).collect();
        let all = letters.len() as u64;
        letters.retain(|letter| !self.letters.contains(&letter.id));
        queue(&self.settings, run, &letters)?;
        self.letters.extend(letters.iter().map(|letter| letter.id));
        self.positions.apply(chunk.positions);
        self.positions.stamp = target.stamp().map(str::to_owned);
        self.positions.save(&self.positions_file)?;
        let dead_lettered = letters.len() as u64;
        Ok(SyncReport {
            lines: LineCounts {
                read: chunk.counts.lines,
                new: stored.inserted,
                already_there: chunk.counts.already_there + stored.already_there + all - dead_lettered,
                dead_lettered,
                pending: chunk.counts.pending,
                bytes: chunk.counts.bytes,
            },
            sightings: stored.sightings,
            ..SyncReport::default()
        })
    }
}
