//! Batches into chunks, in the order of reading: what the lake commits at once, with the positions that hold then.

use std::collections::{HashMap, HashSet};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use crate::{
    dlq::DeadLetter,
    error::{Error, ErrorKind, Result},
    id::RecordId,
    jsonl::blocks::End,
    jsonl::parse::{Parsed, ParsedSegment, TailState},
    jsonl::plan::{Plan, PlannedFile, ReadPlan},
    jsonl::positions::{FilePosition, PositionUpdate, PositionUpdates},
};

/// What became of the lines read. `lines = new + already_there + dead_lettered + pending`, always.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Lines read; blank ones are none.
    pub lines: u64,
    /// Rows for the lake.
    pub new: u64,
    /// Records the lake has from this file already, and dead letters that are queued already.
    pub already_there: u64,
    /// Lines for the dead letter queue.
    pub dead_lettered: u64,
    /// Last lines that are no record and have no newline yet.
    pub pending: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.new += other.new;
        self.already_there += other.already_there;
        self.dead_lettered += other.dead_lettered;
        self.pending += other.pending;
        self.bytes += other.bytes;
    }
}

/// A part of an extraction. Queue the dead letters, commit the batches, then apply the positions, in this order: a
/// crash in between leaves nothing lost and nothing doubled.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Rows in the order of reading; none is empty.
    pub batches: Vec<RecordBatch>,
    /// What is no record.
    pub dead_letters: Vec<DeadLetter>,
    /// True once this chunk is committed. A file may be in the middle.
    pub positions: PositionUpdates,
    /// Of this chunk.
    pub counts: Counts,
}

/// What the lake holds of the files that are read again: per file, how often each `_id`.
#[derive(Debug, Default, Clone)]
pub struct KnownIds {
    files: HashMap<String, HashMap<RecordId, u32>>,
}

impl KnownIds {
    /// One more row of the lake.
    pub fn add(&mut self, source_file: &str, id: RecordId) {
        if !self.files.contains_key(source_file) {
            self.files.insert(source_file.to_owned(), HashMap::new());
        }
        if let Some(ids) = self.files.get_mut(source_file) {
            *ids.entry(id).or_default() += 1;
        }
    }

    /// Whether the lake has this record once more than was asked for until now.
    fn take(&mut self, source_file: &str, id: RecordId) -> bool {
        let count = self.files.get_mut(source_file).and_then(|ids| ids.get_mut(&id));
        match count {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Whether the lake has a record that was not asked for.
    fn has_more(&self, source_file: &str) -> bool {
        let ids = self.files.get(source_file);
        ids.is_some_and(|ids| ids.values().any(|count| *count > 0))
    }

    fn has(&self, source_file: &str) -> bool {
        self.files.get(source_file).is_some_and(|ids| !ids.is_empty())
    }
}

/// Assembles chunks. Which line of two equal ones is new depends on the order, so this is done in one thread.
pub(crate) struct Assembler<'a> {
    plan: &'a Plan,
    known: KnownIds,
    dead_ids: &'a HashSet<RecordId>,
    chunk_bytes: u64,
    /// Files to be read against the lake whose end was not seen yet.
    unfinished: HashSet<usize>,
    /// By index of the file; of the chunk being assembled.
    positions: Vec<(usize, FilePosition)>,
    chunk: Chunk,
}

impl<'a> Assembler<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        mut known: KnownIds,
        dead_ids: &'a HashSet<RecordId>,
        chunk_bytes: usize,
    ) -> Self {
        let (mut positions, mut unfinished) = (Vec::new(), HashSet::new());
        for (index, planned) in plan.files.iter().enumerate() {
            match &planned.action {
                // A tail that was loaded gets its newline: the lake has it.
                ReadPlan::Resume(resume) => {
                    known.files.remove(&planned.name);
                    if let Some(tail) = resume.position.tail {
                        known.add(&planned.name, tail.id);
                    }
                }
                ReadPlan::Unchanged(position) if planned.renamed_from.is_some() => {
                    positions.push((index, position.clone()));
                }
                ReadPlan::Unchanged(_) => {}
                ReadPlan::Reread => {
                    unfinished.insert(index);
                }
                ReadPlan::Fresh => {
                    known.files.remove(&planned.name);
                }
            }
        }
        Self {
            plan,
            known,
            dead_ids,
            chunk_bytes: chunk_bytes as u64,
            unfinished,
            positions,
            chunk: Chunk::default(),
        }
    }

    /// Takes the next block in order; a chunk, when one is full.
    pub(crate) fn push(&mut self, parsed: Parsed) -> Result<Option<Chunk>> {
        let mut counts = Counts {
            bytes: parsed.bytes as u64,
            ..Counts::default()
        };
        let mut keep = Vec::with_capacity(parsed.ids.len());
        let mut ids = parsed.ids.as_slice();
        for segment in parsed.segments {
            let (own, rest) = ids.split_at(segment.rows.min(ids.len()));
            ids = rest;
            self.rows(&segment, own, &mut keep);
            self.position(&segment);
            counts.pending += u64::from(segment.tail == TailState::Pending);
            for letter in segment.dead {
                self.dead_letter(letter, &mut counts);
            }
        }
        counts.new = keep.iter().filter(|keep| **keep).count() as u64;
        counts.already_there += keep.len() as u64 - counts.new;
        counts.lines = counts.new + counts.already_there + counts.dead_lettered + counts.pending;
        self.batch(parsed.batch, keep, counts.new)?;
        self.chunk.counts += counts;
        Ok((self.chunk.counts.bytes >= self.chunk_bytes).then(|| self.close()))
    }

    /// The last chunk, if anything is left for it to say.
    pub(crate) fn finish(&mut self) -> Option<Chunk> {
        let empty = self.positions.is_empty() && self.chunk.counts == Counts::default();
        if empty && !self.plan.recovering {
            return None;
        }
        let mut chunk = self.close();
        chunk.positions.complete = self.unfinished.is_empty() && self.plan.warnings.is_empty();
        Some(chunk)
    }

    fn rows(&mut self, segment: &ParsedSegment, ids: &[RecordId], keep: &mut Vec<bool>) {
        let name = &self.plan.files[segment.file].name;
        if self.known.has(name) {
            keep.extend(ids.iter().map(|id| !self.known.take(name, *id)));
        } else {
            keep.resize(keep.len() + ids.len(), true);
        }
    }

    fn dead_letter(&mut self, letter: DeadLetter, counts: &mut Counts) {
        if self.dead_ids.contains(&letter.id) {
            counts.already_there += 1;
        } else {
            counts.dead_lettered += 1;
            self.chunk.dead_letters.push(letter);
        }
    }

    fn batch(&mut self, batch: RecordBatch, keep: Vec<bool>, new: u64) -> Result<()> {
        if new == 0 {
            return Ok(());
        }
        let batch = if new == keep.len() as u64 {
            batch
        } else {
            filter_record_batch(&batch, &BooleanArray::from(keep))
                .map_err(|error| Error::new(ErrorKind::Format, format!("filtering a batch: {error}")))?
        };
        self.chunk.batches.push(batch);
        Ok(())
    }

    fn position(&mut self, segment: &ParsedSegment) {
        let planned = &self.plan.files[segment.file];
        if self
            .positions
            .last()
            .is_none_or(|(file, _)| *file != segment.file)
        {
            self.positions
                .push((segment.file, FilePosition::start(&planned.file)));
        }
        let Some((_, position)) = self.positions.last_mut() else {
            return;
        };
        // Behind here the lake may still hold what this file was before.
        let unfinished = matches!(segment.end, End::More(_) | End::Unread(_));
        let reread = matches!(planned.action, ReadPlan::Reread);
        position.doubtful = unfinished && reread;
        position.lake_has_more = !unfinished && reread && self.known.has_more(&planned.name);
        if !unfinished {
            self.unfinished.remove(&segment.file);
        }
        match segment.end {
            End::More(hash) | End::Unread(hash) | End::File(hash) | End::Tail(hash) => {
                position.offset = segment.offset + segment.length;
                position.prefix_hash = hash.to_hex().to_string();
                position.tail = None;
                position.pending = !matches!(segment.end, End::File(_));
            }
            End::InTail => {
                position.pending = segment.tail == TailState::Pending;
                position.tail = match segment.tail {
                    TailState::Loaded(tail) => Some(tail),
                    TailState::Empty | TailState::Pending => None,
                };
            }
        }
    }

    fn close(&mut self) -> Chunk {
        let mut chunk = std::mem::take(&mut self.chunk);
        let plan = self.plan;
        let update = |(index, position): (usize, FilePosition)| {
            let PlannedFile {
                name, renamed_from, ..
            } = &plan.files[index];
            PositionUpdate {
                file: name.clone(),
                position,
                renamed_from: renamed_from.clone(),
            }
        };
        chunk.positions.files = self.positions.drain(..).map(update).collect();
        chunk
    }
}
