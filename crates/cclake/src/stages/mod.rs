//! The stages as the conductor runs them: source → lake → raw, then raw → gold.

mod build;
mod ingest;

pub(crate) use build::{BuildScope, Built, build, plan};
pub(crate) use ingest::{IngestReport, Run, ingest, load_backlog, open_lake, open_warehouse};
