//! BATCHES ↔ ICEBERG: Arrow batches into an Iceberg v2 table in a local folder, and back.
//!
//! The catalog is an SQLite file, `catalog.db`, in the warehouse folder; table folders lie beside it.
//! Every call blocks: the tokio runtime that the Iceberg library needs is inside [`Lake`]. So a [`Lake`] must not be
//! used or dropped on a thread that runs async tasks.
//!
//! What callers may rely on:
//! - An [`append`](Lake::append) is one snapshot: rows, summary and table properties become visible together or not at
//!   all, and are on disk (files, folders, catalog) when it returns.
//! - A [`Commit::commit_id`] lands at most once, however often and from however many processes it is tried.
//! - A write that SQLite refused is never reported as done, and a stale writer never overwrites a newer state.
//! - Files of a crashed append are invisible to every reader.

mod catalog;
mod commit;
mod error;
mod lake;
mod maintain;
mod partition;
mod read;
mod schema;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod write;

pub use commit::Commit;
pub use error::{Error, ErrorKind, Result};
pub use lake::{Head, Lake, LakeFile};
pub use maintain::{Change, MaintainOptions, Maintained};
pub use settings::{LakeSettings, PartitionBy};
