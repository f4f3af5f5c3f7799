//! Claude Code's JSONL files: found, planned from their positions, read in blocks, parsed beside each other, and handed
//! over in chunks in the order of reading.

mod extract;
mod files;
mod plan;
mod positions;

mod blocks;
mod chunk;
pub(crate) mod parse;

pub use chunk::{Chunk, Counts, KnownIds};
pub use extract::{Extraction, FileCounts, Settings, extract};
pub use files::{Discovery, SourceFile, discover};
pub use plan::{Plan, PlannedFile, ReadPlan, Resume, plan};
pub use positions::{FilePosition, PositionUpdate, PositionUpdates, Positions, Tail};
