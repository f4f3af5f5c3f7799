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
mod state;
mod statement;
#[cfg(any(test, feature = "bundled"))]
mod zone;

pub use build::{BuildReport, ModelResult, TestResult};
pub use error::{Error, ErrorKind, Result};
pub use load::{LakeMark, Load, LoadStats};
pub use open::{Access, DATABASE, Settings, Warehouse};
pub use query::TextOf;
pub use state::Published;

#[cfg(test)]
mod tests;
