//! Files into blocks of whole lines, by one thread that also hashes what it reads.
//!
//! A block holds a piece of a large file or several small files, about [`BLOCK_BYTES`] in all; a longer line makes a
//! longer block. Its segments say whose bytes they are, so a position is known at the end of each.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::MetadataExt,
};

use blake3::Hasher;
use crossbeam_channel::{Receiver, Sender};
use memchr::memrchr;

use crate::jsonl::plan::{Plan, PlannedFile, ReadPlan};

/// Enough lines to keep a worker busy for some milliseconds, few enough to keep a dozen blocks in memory.
const BLOCK_BYTES: usize = 2 << 20;

/// A longer line is not read, nor what follows it: its columns together would not fit in memory sensibly, and
/// 2 GiB not into an Arrow column at all. The longest line ever reported had 20 MB.
const MAX_LINE_BYTES: usize = 256 << 20;

/// Consecutive bytes of one or more files.
#[derive(Debug)]
pub(crate) struct Block {
    /// Counts from 0, so that the order of reading can be restored.
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) segments: Vec<Segment>,
}

/// The bytes of one file in a block: whole lines, or the last line that lacks its newline.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Index into the plan's files.
    pub(crate) file: usize,
    /// Where its first byte stands in the file.
    pub(crate) offset: u64,
    pub(crate) range: Range<usize>,
    pub(crate) end: End,
}

/// What follows a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// More of the file, in the next block; the hash is that of the file up to here.
    More(blake3::Hash),
    /// More of the file that was not read: it failed, or its next line is too long.
    Unread(blake3::Hash),
    /// Nothing: the segment ends with a newline, or the file is empty from `offset` on.
    File(blake3::Hash),
    /// The last line, without a newline, as a segment of its own.
    Tail(blake3::Hash),
    /// Nothing: the segment is that last line.
    InTail,
}

/// Where the blocks go.
pub(crate) struct Outlet<'a> {
    pub(crate) blocks: Sender<Block>,
    /// One permit per block in flight bounds memory whatever the size of the files.
    pub(crate) permits: &'a Receiver<()>,
}

/// Nobody wants more blocks.
struct Closed;

/// Why reading a file ended before its end.
enum Stop {
    Closed,
    Failed(String),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

struct Reader<'a> {
    outlet: Outlet<'a>,
    target: usize,
    number: u64,
    bytes: Vec<u8>,
    segments: Vec<Segment>,
}

/// Reads all files of the plan that are not unchanged. Returns a sentence for each that could not be read (to its
/// end); what was read of it counts.
pub(crate) fn read(plan: &Plan, chunk_bytes: usize, outlet: Outlet<'_>) -> Vec<String> {
    let target = BLOCK_BYTES.min(chunk_bytes).max(1);
    let mut reader = Reader {
        outlet,
        target,
        number: 0,
        bytes: Vec::new(),
        segments: Vec::new(),
    };
    let mut warnings = Vec::new();
    for (index, planned) in plan.files.iter().enumerate() {
        match reader.file(index, planned) {
            Ok(()) => {}
            Err(Stop::Failed(why)) => {
                warnings.push(format!("{} was not read to its end: {why}", planned.name));
            }
            Err(Stop::Closed) => return warnings,
        }
    }
    // Closed means that somebody else failed and says so.
    let _ = reader.send();
    warnings
}

/// A file being read: `bytes[start..]` of the block are its bytes from `offset` on.
struct Open {
    index: usize,
    file: io::Take<File>,
    prefix: Hasher,
    start: usize,
    offset: u64,
    /// Bytes of the block known to hold no newline after `start`.
    searched: usize,
}

impl Reader<'_> {
    fn file(&mut self, index: usize, planned: &PlannedFile) -> Result<(), Stop> {
        let (offset, prefix) = match &planned.action {
            ReadPlan::Unchanged(_) => return Ok(()),
            ReadPlan::Resume(resume) => (resume.offset(), (*resume.prefix).clone()),
            ReadPlan::Fresh | ReadPlan::Reread => (0, Hasher::new()),
        };
        let file = open(planned, offset).map_err(Stop::Failed)?;
        let start = self.bytes.len();
        let mut open = Open {
            index,
            file,
            prefix,
            start,
            offset,
            searched: start,
        };
        loop {
            match self.fill(&mut open) {
                Ok(true) => return self.finish(open),
                Ok(false) => self.pass_on(&mut open)?,
                Err(error) => return self.give_up(&mut open, error.to_string()),
            }
            if self.bytes.len() - open.start > MAX_LINE_BYTES {
                let why = format!(
                    "the line at byte {} is longer than {MAX_LINE_BYTES} bytes",
                    open.offset
                );
                return self.give_up(&mut open, why);
            }
        }
    }

    /// Reads until the block is full; whether the file ended.
    fn fill(&mut self, open: &mut Open) -> io::Result<bool> {
        // Where a line does not end, as much again, so that a long one takes few steps.
        let again = (self.bytes.len() - open.start).clamp(1, 8 * BLOCK_BYTES);
        let room = self.target.saturating_sub(self.bytes.len()).max(again);
        let left = open.file.limit();
        let want = left.min(room as u64);
        open.file.set_limit(want);
        let before = self.bytes.len();
        self.bytes.reserve(usize::try_from(want).unwrap_or(0));
        let read = open.file.read_to_end(&mut self.bytes);
        let count = (self.bytes.len() - before) as u64;
        open.file.set_limit(left - count);
        read?;
        Ok(count < want || count == left)
    }

    /// Ends the block after its last whole line; the rest opens the next block.
    fn pass_on(&mut self, open: &mut Open) -> Result<(), Closed> {
        let Some(end) = self.line_end(open) else {
            return Ok(());
        };
        let rest = self.bytes.split_off(end);
        self.segment(open, end, End::More);
        self.send()?;
        self.bytes = rest;
        (open.start, open.searched) = (0, self.bytes.len());
        Ok(())
    }

    /// The index behind the last newline of the file's bytes in the block.
    fn line_end(&self, open: &mut Open) -> Option<usize> {
        let found = memrchr(b'\n', &self.bytes[open.searched..]).map(|at| open.searched + at + 1);
        open.searched = self.bytes.len();
        found
    }

    fn finish(&mut self, mut open: Open) -> Result<(), Stop> {
        let end = self.line_end(&mut open).unwrap_or(open.start);
        let tail = end..self.bytes.len();
        if tail.is_empty() {
            self.segment(&mut open, end, End::File);
        } else {
            self.segment(&mut open, end, End::Tail);
            self.segments.push(Segment {
                file: open.index,
                offset: open.offset,
                range: tail,
                end: End::InTail,
            });
        }
        if self.bytes.len() >= self.target {
            self.send()?;
        }
        Ok(())
    }

    /// Keeps the whole lines that were read and forgets the rest.
    fn give_up(&mut self, open: &mut Open, why: String) -> Result<(), Stop> {
        let end = self.line_end(open).unwrap_or(open.start);
        self.bytes.truncate(end);
        self.segment(open, end, End::Unread);
        Err(Stop::Failed(why))
    }

    fn segment(&mut self, open: &mut Open, end: usize, what: impl FnOnce(blake3::Hash) -> End) {
        let range = open.start..end;
        let lines = &self.bytes[range.clone()];
        open.prefix.update(lines);
        let offset = open.offset;
        open.offset += lines.len() as u64;
        let end = what(open.prefix.finalize());
        self.segments.push(Segment {
            file: open.index,
            offset,
            range,
            end,
        });
    }

    fn send(&mut self) -> Result<(), Closed> {
        if self.segments.is_empty() {
            return Ok(());
        }
        self.outlet.permits.recv().map_err(|_| Closed)?;
        let block = Block {
            number: self.number,
            bytes: std::mem::take(&mut self.bytes),
            segments: std::mem::take(&mut self.segments),
        };
        self.number += 1;
        self.outlet.blocks.send(block).map_err(|_| Closed)
    }
}

/// Opens a file at `offset`, to be read as far as it reaches now: a file that grows all the time has an end too.
fn open(planned: &PlannedFile, offset: u64) -> Result<io::Take<File>, String> {
    let open = || -> io::Result<(File, std::fs::Metadata)> {
        let mut file = File::open(&planned.file.path)?;
        let meta = file.metadata()?;
        file.seek(SeekFrom::Start(offset))?;
        Ok((file, meta))
    };
    let (file, meta) = open().map_err(|error| error.to_string())?;
    if (meta.dev(), meta.ino()) != (planned.file.dev, planned.file.inode) || meta.len() < planned.file.size {
        return Err("it was replaced meanwhile; the next run reads it".into());
    }
    Ok(file.take(meta.len() - offset))
}
