//! The stages as the conductor runs them: source → lake → raw, then raw → gold.

mod blueprint;
mod build;
mod external;
mod ingest;
mod load;
mod retry;
mod sync;
mod told;

pub(crate) use blueprint::{Blueprint, Engine, Holdings, Prepared};
pub(crate) use build::{BuildScope, Built, build};
pub(crate) use ingest::{
    Destination, FileReport, Following, IngestReport, Ingested, LineCounts, Run, follow, increment, ingest,
    open_existing_lake, open_lake,
};
pub(crate) use load::{is_out_of_memory, load_backlog, open_warehouse, with_room};
pub(crate) use retry::retry;
pub(crate) use sync::{Event, Health, Pulse, SyncReport, Syncer, watch};

/// Whether it is the server that is away, so that waiting may help.
fn is_away(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<cclake_extract::Error>();
    error.is_some_and(|error| error.kind() == cclake_extract::ErrorKind::SourceAway)
}
