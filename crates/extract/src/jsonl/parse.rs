//! Blocks into batches, by any number of threads.

use arrow_array::RecordBatch;
use memchr::memchr;

use crate::{
    batch::{BatchBuilder, Origin, Provenance},
    decode::{Decoder, Record},
    dlq::DeadLetter,
    error::{Error, ErrorKind, Result},
    id::RecordId,
    jsonl::blocks::{Block, End, Segment},
    jsonl::extract::Settings,
    jsonl::plan::Plan,
    jsonl::positions::Tail,
};

/// The kind of source, as rows and dead letters name it.
pub(crate) const SOURCE: &str = "jsonl";

/// A block whose lines are decoded.
pub(crate) struct Parsed {
    pub(crate) number: u64,
    pub(crate) bytes: usize,
    pub(crate) batch: RecordBatch,
    /// Of each row of the batch.
    pub(crate) ids: Vec<RecordId>,
    pub(crate) segments: Vec<ParsedSegment>,
}

/// What became of a segment's lines; its rows follow those of the segment before it.
pub(crate) struct ParsedSegment {
    pub(crate) file: usize,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) rows: usize,
    pub(crate) dead: Vec<DeadLetter>,
    pub(crate) end: End,
    pub(crate) tail: TailState,
}

/// What stands behind the last newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailState {
    /// Nothing, or blanks.
    Empty,
    /// A whole record, which is a row already.
    Loaded(Tail),
    /// Half a record.
    Pending,
}

/// Decodes blocks; each worker has its own.
pub(crate) struct Parser<'a> {
    decoder: Decoder,
    plan: &'a Plan,
    settings: &'a Settings,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(plan: &'a Plan, settings: &'a Settings) -> Self {
        Self {
            decoder: Decoder::new(),
            plan,
            settings,
        }
    }

    pub(crate) fn block(&self, block: &Block) -> Result<Parsed> {
        let mut batch = BatchBuilder::new(block.bytes.len());
        let mut ids = Vec::new();
        let mut segments = Vec::with_capacity(block.segments.len());
        for segment in &block.segments {
            segments.push(self.segment(segment, &block.bytes[segment.range.clone()], &mut batch, &mut ids));
        }
        let batch = batch
            .finish(Origin {
                source: SOURCE,
                collection: None,
                run_id: &self.settings.run_id,
            })
            .map_err(|error| Error::new(ErrorKind::Format, format!("building a batch: {error}")))?;
        Ok(Parsed {
            number: block.number,
            bytes: block.bytes.len(),
            batch,
            ids,
            segments,
        })
    }

    fn segment(
        &self,
        segment: &Segment,
        bytes: &[u8],
        batch: &mut BatchBuilder,
        ids: &mut Vec<RecordId>,
    ) -> ParsedSegment {
        let before = batch.rows();
        let file = &self.plan.files[segment.file].name;
        let is_tail = matches!(segment.end, End::InTail);
        let mut dead = Vec::new();
        let mut tail = TailState::Empty;
        for (start, line) in lines(bytes) {
            let offset = segment.offset + start as u64;
            match record_of(&self.decoder, line, offset) {
                Ok(None) => {}
                Ok(Some((text, record))) => {
                    let id = RecordId::of_line(line);
                    ids.push(id);
                    let from = Provenance {
                        file,
                        offset,
                        machine: &self.settings.machine,
                        user: None,
                        synced_at: self.settings.synced_at_us,
                        order: None,
                    };
                    batch.append(
                        std::str::from_utf8(&id.hex()).unwrap_or_default(),
                        from,
                        text,
                        &record,
                    );
                    tail = TailState::Loaded(Tail {
                        id,
                        length: line.len() as u64,
                    });
                }
                Err(_) if is_tail => tail = TailState::Pending,
                Err(reason) => dead.push(DeadLetter::new(SOURCE, file, offset, reason, line)),
            }
        }
        ParsedSegment {
            file: segment.file,
            offset: segment.offset,
            length: bytes.len() as u64,
            rows: batch.rows() - before,
            dead,
            end: segment.end,
            tail: if is_tail { tail } else { TailState::Empty },
        }
    }
}

/// A line as text and record, none if it is blank, or why it is no record.
pub(crate) fn record_of<'l>(
    decoder: &Decoder,
    line: &'l [u8],
    offset: u64,
) -> Result<Option<(&'l str, Record<'l>)>, String> {
    // Editors on Windows put a byte order mark there.
    let json = if offset == 0 {
        line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
    } else {
        line
    };
    if json.trim_ascii().is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1))?;
    let record = decoder.record(&text[line.len() - json.len()..])?;
    Ok(Some((text, record)))
}

/// The lines of a segment without `\n` or `\r\n`, each with its start. Nothing but `\n` ends a line: U+2028 and
/// the like stand inside of strings.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..length];
        let from = start;
        start += length + 1;
        Some((from, line.strip_suffix(b"\r").unwrap_or(line)))
    })
}
