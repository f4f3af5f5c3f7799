//! What upkeep would do, decided from plain data.

use std::collections::BTreeMap;

use iceberg::spec::{Operation, SnapshotRef, TableMetadata};

use super::MaintainOptions;
use super::inventory::{Candidate, Depth, Inventory, SnapshotAge};

/// Appends after which one does upkeep. A manifest costs a reader about half a millisecond and each snapshot lengthens the
/// metadata that every commit writes; upkeep itself costs as much as some tens of appends.
pub(crate) const APPENDS_PER_UPKEEP: usize = 50;

/// Snapshots after which upkeep is tried again that had failed or found nothing to do.
pub(crate) const PAUSE: i64 = 50;

/// Files of one size that an append's upkeep merges at once. Each row is then rewritten once for every power of as many
/// rows in its partition.
const TIER: u64 = 8;

/// An append leaves files alone that are larger: it must not hold up its caller for long.
const LIGHT_BYTES: u64 = 16 << 20;

/// Snapshots whose files an append leaves alone. Who reads what is new is seldom further behind, and would read rows again
/// that were merged with newer ones.
const RECENT_SNAPSHOTS: i64 = 16;

/// Files beyond half of this are large enough; smaller ones are put together up to it. Below the 512 MB at which a writer
/// begins another file, so that a group becomes one file.
const PACK_BYTES: u64 = 384 << 20;

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Files of one partition each, to become one.
    pub(crate) compact: Vec<Vec<Candidate>>,
    /// Why nothing is compacted, if something stands in the way.
    pub(crate) not_compacted: Option<&'static str>,
    /// Snapshots to forget.
    pub(crate) expire: Vec<i64>,
}

impl Plan {
    pub(crate) fn new(
        inventory: &Inventory,
        candidates: Vec<Candidate>,
        depth: Depth,
        options: &MaintainOptions,
        now_ms: i64,
    ) -> Self {
        // A delete file names data files by path, or all older ones of a partition: it would miss what they become.
        let not_compacted = inventory
            .has_deletes
            .then_some("another program has deleted rows by delete files");
        let newest = inventory
            .snapshots
            .first()
            .map_or(0, |snapshot| snapshot.sequence_number);
        let compact = match (not_compacted, depth) {
            (Some(_), _) => Vec::new(),
            (None, Depth::Light) => tiers(candidates, newest - RECENT_SNAPSHOTS),
            (None, Depth::Full) => packs(candidates),
        };
        Self {
            compact,
            not_compacted,
            expire: expired(&inventory.snapshots, options, now_ms),
        }
    }
}

/// Whether an append to this table should do upkeep.
pub(crate) fn is_due(metadata: &TableMetadata, keep_snapshots: usize) -> bool {
    let parent = |snapshot: &&SnapshotRef| metadata.snapshot_by_id(snapshot.parent_snapshot_id()?);
    let appends = std::iter::successors(metadata.current_snapshot(), parent)
        .take_while(|snapshot| snapshot.summary().operation != Operation::Replace)
        .filter(|snapshot| {
            let summary = &snapshot.summary().additional_properties;
            summary.contains_key("added-data-files")
        })
        .count();
    appends >= APPENDS_PER_UPKEEP || metadata.snapshots().len() >= keep_snapshots + APPENDS_PER_UPKEEP
}

/// Snapshots neither recent nor referred to.
fn expired(snapshots: &[SnapshotAge], options: &MaintainOptions, now_ms: i64) -> Vec<i64> {
    let min_age = i64::try_from(options.min_age.as_millis()).unwrap_or(i64::MAX);
    let oldest = now_ms.saturating_sub(min_age);
    let recent = |(rank, snapshot): (usize, &SnapshotAge)| {
        rank < options.keep_snapshots && snapshot.timestamp_ms > oldest
    };
    snapshots
        .iter()
        .enumerate()
        .filter(|&(rank, snapshot)| !snapshot.is_referenced && !recent((rank, snapshot)))
        .map(|(_, snapshot)| snapshot.id)
        .collect()
}

/// Small files of about the same number of rows, where there are enough of them. By rows, not bytes: eight files of one
/// row become one of the same size.
fn tiers(candidates: Vec<Candidate>, newest: i64) -> Vec<Vec<Candidate>> {
    let mut tiers = BTreeMap::<(String, u32), Vec<Candidate>>::new();
    let small =
        |candidate: &Candidate| candidate.bytes < LIGHT_BYTES && candidate.file.sequence_number <= newest;
    for candidate in candidates.into_iter().filter(small) {
        let tier = candidate.file.records.max(1).ilog(TIER);
        tiers
            .entry((candidate.file.partition.clone(), tier))
            .or_default()
            .push(candidate);
    }
    let full = tiers.into_values().filter(|tier| tier.len() as u64 >= TIER);
    full.map(in_order).collect()
}

/// Each partition's files that are not large, put together up to [`PACK_BYTES`].
fn packs(candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut partitions = BTreeMap::<String, Vec<Candidate>>::new();
    for candidate in candidates.into_iter().filter(|it| it.bytes < PACK_BYTES / 2) {
        partitions
            .entry(candidate.file.partition.clone())
            .or_default()
            .push(candidate);
    }
    let mut packs = Vec::new();
    for files in partitions.into_values() {
        let (mut pack, mut bytes) = (Vec::new(), 0);
        for file in in_order(files) {
            if bytes + file.bytes > PACK_BYTES {
                packs.push(std::mem::take(&mut pack));
                bytes = 0;
            }
            bytes += file.bytes;
            pack.push(file);
        }
        packs.push(pack);
    }
    packs.retain(|pack| pack.len() > 1);
    packs
}

/// As readers see them.
fn in_order(mut files: Vec<Candidate>) -> Vec<Candidate> {
    files.sort_by(|a, b| (a.file.sequence_number, &a.file.path).cmp(&(b.file.sequence_number, &b.file.path)));
    files
}
