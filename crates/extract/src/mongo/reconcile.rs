//! Deletions that no event told: what the lake holds of a collection, compared with the collection.

use std::collections::HashMap;

use bson::doc;

use super::{
    connect::Source,
    document::DocumentReader,
    extract::{Chunk, Settings},
    id,
    position::Position,
    reader::batch_of,
};
use crate::{batch::BatchBuilder, error::Result, id::RecordId};

/// What the lake holds of a collection: of each `_id` the latest order and whether that row is a deletion. Ids are held as
/// hashes, 16 bytes each.
#[derive(Debug, Default)]
pub struct Holdings {
    latest: HashMap<RecordId, (i64, i64, bool)>,
}

impl Holdings {
    /// Adds a row of the lake: its order as the lake has it, and whether it is a deletion.
    pub fn add(&mut self, id: &str, cluster_ts: i64, sequence: i64, is_deletion: bool) {
        let key = RecordId::of_line(id.as_bytes());
        let row = (cluster_ts, sequence, is_deletion);
        let latest = self.latest.entry(key).or_insert(row);
        *latest = (*latest).max(row);
    }

    /// Whether this id is held, and not as a deletion.
    pub fn has(&self, id: &str) -> bool {
        let held = self.latest.get(&RecordId::of_line(id.as_bytes()));
        held.is_some_and(|(.., is_deletion)| !is_deletion)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.latest.values().all(|(.., is_deletion)| *is_deletion)
    }
}

/// Takes the ids of all documents out of `holdings`; what is left was deleted. The time before they were read.
///
/// # Errors
/// [`ErrorKind::Source`](crate::ErrorKind::Source).
pub fn subtract_present(source: &Source, holdings: &mut Holdings) -> Result<DeletedAt> {
    let read = source.runtime.block_on(async {
        let time = source.time().await?;
        let mut cursor = source
            .collection
            .find(doc! {})
            .projection(doc! {"_id": 1})
            .batch_size(source.settings.batch_size)
            .await?;
        while cursor.advance().await? {
            if let Ok(Some(id)) = cursor.current().get("_id")
                && let Ok(text) = id::text(id)
            {
                holdings.latest.remove(&RecordId::of_line(text.as_bytes()));
            }
        }
        Ok(DeletedAt(time))
    });
    read.map_err(|error: mongodb::error::Error| source.failure(&error))
}

/// When documents were found to be gone.
#[derive(Debug, Clone, Copy)]
pub struct DeletedAt(super::connect::ServerTime);

/// Rows that say that these documents are gone, and the position that holds with them.
///
/// # Errors
/// [`ErrorKind::Format`](crate::ErrorKind::Format).
pub fn deletions(
    source: &Source,
    ids: &[String],
    at: DeletedAt,
    mut position: Position,
    settings: &Settings,
) -> Result<Chunk> {
    let DeletedAt(time) = at;
    let mut batch = BatchBuilder::new(0);
    let reader = DocumentReader::new(&source.namespace, settings.synced_at_us);
    for id in ids {
        let millis = time.clock.timestamp_millis();
        reader.append_deletion(id, time.order, millis.saturating_mul(1000), &mut batch);
    }
    position.must_reconcile = false;
    let mut chunk = Chunk::empty(position);
    chunk.counts.documents = ids.len() as u64;
    chunk.counts.rows = ids.len() as u64;
    chunk.counts.deletions = ids.len() as u64;
    chunk
        .batches
        .extend(batch_of(batch, settings, &source.namespace)?);
    Ok(chunk)
}
