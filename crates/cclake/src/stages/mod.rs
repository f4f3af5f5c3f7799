//! The stages as the conductor runs them: source → lake → raw, then raw → gold.

mod backoff;
mod blueprint;
mod build;
mod external;
mod ingest;
mod load;
mod retry;
mod sync;

pub(crate) use blueprint::{Blueprint, Engine, Holdings, Prepared};
pub(crate) use build::{BuildScope, Built, build};
pub(crate) use ingest::{
    Destination, FileReport, Following, IngestReport, Ingested, LineCounts, Run, follow, increment, ingest,
    open_existing_lake, open_lake,
};
pub(crate) use load::{is_out_of_memory, load_backlog, open_warehouse, with_room};
pub(crate) use retry::retry;
pub(crate) use sync::{Event, Health, Pulse, SyncReport, Syncer, watch};
