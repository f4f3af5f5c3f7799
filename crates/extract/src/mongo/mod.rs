//! MongoDB's documents: one collection, read in ranges of `_id` beside each other ([`extract()`]), by what is new since
//! the last time, or as the stream of its changes.
//!
//! What callers may rely on: each [`Chunk`] says with its rows which [`Position`] holds once they are committed;
//! kept in the same commit, it never leads them. Reading again from a position that lags brings rows that are there
//! already, which win over nothing.

mod connect;
mod extract;
mod position;
mod secrets;

mod marks;
mod plan;
mod ranges;
pub(crate) mod reader;

mod changes;
mod follow;
mod reconcile;

pub(crate) mod document;
pub(crate) mod id;
mod json;

mod record;
pub(crate) mod sync;
mod values;

pub use connect::{MongoSettings, Source};
pub use extract::{Chunk, Counts, Extraction, Pass, Settings, extract};
pub use follow::{Ending, Pace, Step, Until, follow, with_token};
pub use position::Position;
pub use reconcile::{DeletedAt, Holdings, deletions, subtract_present};
pub use secrets::without_secrets;
pub use sync::{Lines, Stored, Target, dead_letter as sync_letter};
