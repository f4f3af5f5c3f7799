//! A pass over the collection: ranges of `_id` read beside each other, or what is above the marks; handed over in
//! chunks, each with the position that holds once it is committed.
//!
//! Memory is bounded by bytes: readers hand over parts that are a fraction of a chunk, and few parts wait while a chunk is
//! committed. Chunks are large because the lake has one file per day and commit.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use arrow_array::RecordBatch;
use tokio::sync::mpsc::channel;

use super::{
    connect::{ServerTime, Source},
    marks::{self, MarkTracker},
    plan::{Plan, plan},
    position::Position,
    ranges::Range,
    reader::{Part, Reader, Shared},
};
use crate::{
    dlq::DeadLetter,
    error::{Error, ErrorKind, Result},
    id::RecordId,
};

/// What every row says of its run, and how much to do at once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of the run.
    pub run_id: String,
    /// The run's time, microseconds since 1970 UTC.
    pub synced_at_us: i64,
    /// Readers beside each other.
    pub threads: usize,
    /// Bytes of BSON after which a chunk is handed over.
    pub chunk_bytes: usize,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// All of it the first time, later what is new.
    Increment {
        /// Whether the first time is all of it, or only what comes from then on.
        history: bool,
    },
    /// All of it again.
    Full,
}

/// What became of the documents read. `documents = rows + skipped + dead_lettered + already_there`, always.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Documents or events read.
    pub documents: u64,
    /// Rows for the lake.
    pub rows: u64,
    /// Rows among them that say that a document is gone.
    pub deletions: u64,
    /// Rows with a member that no column could take.
    pub unexpected: u64,
    /// Events that bring no row: updates of documents that are gone since, and what concerns the collection.
    pub skipped: u64,
    /// Documents for the dead letter queue.
    pub dead_lettered: u64,
    /// Documents that lie in the dead letter queue already.
    pub already_there: u64,
    /// Bytes of BSON.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.rows += other.rows;
        self.deletions += other.deletions;
        self.unexpected += other.unexpected;
        self.skipped += other.skipped;
        self.dead_lettered += other.dead_lettered;
        self.already_there += other.already_there;
        self.bytes += other.bytes;
    }
}

impl Counts {
    /// Counts a letter, and queues it unless it lies there already.
    pub(crate) fn bury(
        &mut self,
        letter: DeadLetter,
        queued: &HashSet<RecordId>,
        letters: &mut Vec<DeadLetter>,
    ) {
        if queued.contains(&letter.id) {
            self.already_there += 1;
        } else {
            self.dead_lettered += 1;
            letters.push(letter);
        }
    }
}

/// What is to be committed at once.
#[derive(Debug)]
pub struct Chunk {
    /// Rows; there may be none.
    pub batches: Vec<RecordBatch>,
    /// Documents that are no rows.
    pub dead_letters: Vec<DeadLetter>,
    /// What became of the chunk's documents.
    pub counts: Counts,
    /// Holds once the rows are committed.
    pub position: Position,
}

impl Chunk {
    /// A position, and no rows yet.
    pub(crate) fn empty(position: Position) -> Self {
        Self {
            batches: Vec::new(),
            dead_letters: Vec::new(),
            counts: Counts::default(),
            position,
        }
    }
}

/// The sum of a pass.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Extraction {
    /// Of all chunks.
    pub counts: Counts,
    /// Whether the whole collection was read, or what was left of it.
    pub is_full: bool,
    /// Things a person should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Parts that make a chunk.
pub(crate) const PARTS_PER_CHUNK: usize = 8;

/// Parts that wait, beside those that the readers hold, while a chunk is committed.
const WAITING_PARTS: usize = 2;

/// Reads what `pass` says from `position` on and hands it over chunk by chunk.
///
/// # Errors
/// The first error of `on_chunk`, after which nothing more is read; or [`ErrorKind::Source`]. What was committed stays, and
/// the next pass goes on there.
#[expect(clippy::implicit_hasher, reason = "one hasher is enough")]
pub fn extract<E: From<Error>>(
    source: &Source,
    position: Option<Position>,
    pass: Pass,
    dead_ids: &HashSet<RecordId>,
    settings: &Settings,
    on_chunk: &mut dyn FnMut(Chunk) -> Result<(), E>,
) -> Result<Extraction, E> {
    let mut plan = source
        .runtime
        .block_on(plan(source, position, pass))
        .map_err(|error| source.failure(&error))?;
    let mut extraction = Extraction {
        is_full: plan.position.backfill.is_some(),
        warnings: std::mem::take(&mut plan.warnings),
        ..Extraction::default()
    };
    let shared = Arc::new(Shared {
        work: Mutex::new(plan.work.drain(..).enumerate().collect()),
        dead_ids: dead_ids.clone(),
        order: plan.order,
        settings: settings.clone(),
    });
    let mut ledger = Ledger::of(plan);
    let (parts, mut taken) = channel(WAITING_PARTS);
    let mut readers = Vec::new();
    for _ in 0..settings.threads.max(1) {
        let reader = Reader::new(source, Arc::clone(&shared));
        readers.push(source.runtime.spawn(reader.run(parts.clone())));
    }
    drop(parts);
    let mut hand_over = |chunk: Option<Chunk>| match chunk {
        Some(chunk) => {
            extraction.counts += chunk.counts;
            on_chunk(chunk)
        }
        None => Ok(()),
    };
    while let Some(part) = taken.blocking_recv() {
        match part {
            Ok(part) => ledger.enter(part),
            Err(error) => {
                // What was read is worth keeping.
                hand_over(ledger.chunk(1))?;
                return Err(source.failure(&error).into());
            }
        }
        hand_over(ledger.chunk(settings.chunk_bytes as u64))?;
    }
    for reader in readers {
        let ended = source.runtime.block_on(reader);
        ended.map_err(|error| {
            Error::new(
                ErrorKind::Thread,
                format!("a reader of the collection broke: {error}"),
            )
        })?;
    }
    let unmarked = ledger.seen.unmarked;
    hand_over(ledger.close())?;
    if unmarked > 0 {
        extraction.warnings.push(format!(
            "{unmarked} documents do not say when they were written (`_synced_at` or `ingestedAt`, a date or a text in UTC), nor do their ids: \
             each extract reads them all again"
        ));
    }
    Ok(extraction)
}

/// Keeps what is left of a pass while parts of it come in.
struct Ledger {
    position: Position,
    time: ServerTime,
    /// Of a backfill, by number of work; none when done.
    ranges: Vec<Option<Range>>,
    /// What the increment's documents say, to become marks at its end.
    seen: MarkTracker,
    /// What came in since the last chunk.
    pending: Pending,
    /// Whether the position has changed since it was handed over.
    is_dirty: bool,
}

#[derive(Default)]
struct Pending {
    batches: Vec<RecordBatch>,
    dead_letters: Vec<DeadLetter>,
    counts: Counts,
    /// Bytes of the rows, about; see [`Part::held`].
    held: u64,
}

impl Ledger {
    fn of(plan: Plan) -> Self {
        let backfill = plan.position.backfill.as_ref();
        let ranges = backfill.map_or_else(Vec::new, |backfill| {
            backfill.ranges.iter().cloned().map(Some).collect()
        });
        let seen = backfill.map_or_else(MarkTracker::default, |backfill| MarkTracker::of(&backfill.marks));
        Self {
            position: plan.position,
            time: plan.time,
            ranges,
            seen,
            pending: Pending::default(),
            is_dirty: true,
        }
    }

    fn enter(&mut self, part: Part) {
        self.seen.merge(part.marks);
        if let Some(range) = self.ranges.get_mut(part.work) {
            match range {
                Some(_) if part.is_last => *range = None,
                Some(range) => range.after = part.last.or(range.after.take()),
                None => {}
            }
        }
        self.pending.batches.extend(part.batches);
        self.pending.dead_letters.extend(part.dead_letters);
        self.pending.counts += part.counts;
        self.pending.held += part.held;
        self.is_dirty = true;
    }

    /// What came in, once it is so many bytes.
    fn chunk(&mut self, bytes: u64) -> Option<Chunk> {
        if self.pending.held < bytes {
            return None;
        }
        if let Some(backfill) = &mut self.position.backfill {
            backfill.ranges = self.ranges.iter().flatten().cloned().collect();
            backfill.marks = self.seen.marks();
        }
        self.is_dirty = false;
        let pending = std::mem::take(&mut self.pending);
        Some(pending.at(self.position.clone()))
    }

    /// The rest; the pass is at its end, and its marks hold.
    fn close(mut self) -> Option<Chunk> {
        let before = self.position.clone();
        if let Some(backfill) = self.position.backfill.take() {
            self.position.marks = marks::capped(self.seen.marks(), backfill.began);
            self.position.is_complete = true;
        } else {
            // Settled documents were not read again, so the old marks stay where nothing passed them.
            let mut marks = MarkTracker::of(&self.position.marks);
            marks.pass(self.seen);
            self.position.marks = marks::capped(marks.marks(), self.time.clock);
        }
        (self.is_dirty || self.position != before).then(|| self.pending.at(self.position))
    }
}

impl Pending {
    fn at(self, position: Position) -> Chunk {
        Chunk {
            batches: self.batches,
            dead_letters: self.dead_letters,
            counts: self.counts,
            position,
        }
    }
}
