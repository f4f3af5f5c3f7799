//! TABLES → MODELS → CHECKS: the only crate that knows DuckDB.
//!
//! [`Warehouse::begin_load`] takes lake rows into `raw`, [`Warehouse::build`] runs a build plan in one transaction whose
//! commit publishes it, [`Warehouse::query`] answers questions. All calls block.

mod build;
mod catalog;
mod error;
mod load;
mod open;
mod query;
mod room;
mod rows;
mod snapshots;
mod statement;
#[cfg(any(test, feature = "bundled"))]
mod zone;

pub use build::{BuildReport, ModelResult, Published, TestResult};
pub use error::{Error, ErrorKind, Result};
pub use load::{LakeMark, Load, LoadStats};
pub use open::{Access, DATABASE, Settings, Warehouse};
pub use query::TextOf;

#[cfg(test)]
mod tests;
