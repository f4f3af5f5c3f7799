//! SOURCE → BATCHES: Claude Code's JSONL files into Arrow batches, each with the position it leads to.
//!
//! [`discover`] finds files, [`plan()`] decides from their [`Positions`] what to read of each, [`extract()`] reads it.
//! Every JSON object becomes a row of [`schema`]; what is none goes to the dead letter queue ([`dlq`]); a file that
//! cannot be read is a warning. Nothing is fatal but a failing commit.
//!
//! [`mongo`] is the other source: documents with a position in their collection instead of lines with an offset. Both share
//! `decode`, `batch` and [`dlq`].

mod jsonl;
pub mod mongo;

mod backoff;
mod batch;
mod decode;
mod json_text;
mod timestamp;

pub mod dlq;
mod error;
mod id;
mod retry;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use batch::schema;
pub use error::{Error, ErrorKind, Result};
pub use id::RecordId;
pub use jsonl::{
    Chunk, Counts, Discovery, Extraction, FileCounts, FilePosition, KnownIds, Plan, PlannedFile,
    PositionUpdate, PositionUpdates, Positions, ReadPlan, Resume, Settings, SourceFile, Tail, discover,
    extract, plan,
};
pub use retry::{Retried, Retry};
