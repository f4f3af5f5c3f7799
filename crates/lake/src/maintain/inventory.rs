//! What upkeep finds in the table: manifests, files and snapshots as plain data.

use std::collections::HashSet;

use iceberg::spec::{
    DataContentType, DataFileFormat, ManifestContentType, ManifestEntryRef, ManifestFile, Struct,
    TableMetadata,
};
use iceberg::table::Table;

use crate::error::{Error, ErrorKind, Result};
use crate::lake::LakeFile;
use crate::read::lake_file;

/// A manifest with as many live entries is left as it is: writing it again costs more than reading it.
const FULL_MANIFEST: u64 = 1000;

/// How much of a table is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What the last commits brought, as an append can afford.
    Light,
    /// Everything.
    Full,
}

/// What the current snapshot lists, and the table's snapshots.
pub(crate) struct Inventory {
    /// The manifests of data files that were looked into.
    pub(crate) opened: Vec<OpenedManifest>,
    /// The others, to be listed again as they are.
    pub(crate) untouched: Vec<ManifestFile>,
    /// Whether another program has deleted rows by delete files.
    pub(crate) has_deletes: bool,
    pub(crate) snapshots: Vec<SnapshotAge>,
}

/// A manifest with its live entries.
pub(crate) struct OpenedManifest {
    pub(crate) file: ManifestFile,
    pub(crate) live: Vec<ManifestEntryRef>,
}

/// A live data file that may be compacted.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) file: LakeFile,
    /// Its path as the table spells it.
    pub(crate) location: String,
    pub(crate) partition: Struct,
    pub(crate) bytes: u64,
}

/// A snapshot as expiry sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotAge {
    pub(crate) id: i64,
    pub(crate) sequence_number: i64,
    pub(crate) timestamp_ms: i64,
    /// Whether it is the current one, or a branch or tag points to it.
    pub(crate) is_referenced: bool,
}

impl Inventory {
    pub(crate) async fn read(table: &Table, depth: Depth) -> Result<Self> {
        let mut inventory = Self {
            opened: Vec::new(),
            untouched: Vec::new(),
            has_deletes: false,
            snapshots: snapshots(table.metadata())?,
        };
        for manifest in manifests(table, table.metadata().current_snapshot_id()).await? {
            let files = live_files(&manifest);
            if manifest.content == ManifestContentType::Deletes {
                inventory.has_deletes |= files > 0;
                inventory.untouched.push(manifest);
            } else if depth == Depth::Full || files < FULL_MANIFEST {
                let live = live_entries(table, &manifest).await?;
                inventory.opened.push(OpenedManifest { file: manifest, live });
            } else {
                inventory.untouched.push(manifest);
            }
        }
        Ok(inventory)
    }

    /// The files that can be written again under the table's present partitioning.
    pub(crate) fn candidates(&self, table: &Table) -> Result<Vec<Candidate>> {
        let spec = table.metadata().default_partition_spec_id();
        let mut candidates = Vec::new();
        for manifest in self
            .opened
            .iter()
            .filter(|manifest| manifest.file.partition_spec_id == spec)
        {
            for entry in &manifest.live {
                let data = entry.data_file();
                if data.content_type() == DataContentType::Data
                    && data.file_format() == DataFileFormat::Parquet
                {
                    candidates.push(Candidate {
                        file: lake_file(table, data, spec, sequence_number(entry, &manifest.file))?,
                        location: data.file_path().to_owned(),
                        partition: data.partition().clone(),
                        bytes: data.file_size_in_bytes(),
                    });
                }
            }
        }
        Ok(candidates)
    }

    /// The paths of the live files in opened manifests.
    pub(crate) fn live_locations(&self) -> HashSet<&str> {
        let entries = self.opened.iter().flat_map(|manifest| &manifest.live);
        entries.map(|entry| entry.file_path()).collect()
    }
}

impl OpenedManifest {
    pub(crate) fn is_full(&self) -> bool {
        self.live.len() as u64 >= FULL_MANIFEST
    }
}

/// The manifests of a snapshot; none of none.
pub(crate) async fn manifests(table: &Table, snapshot_id: Option<i64>) -> Result<Vec<ManifestFile>> {
    let Some(snapshot) = snapshot_id.and_then(|id| table.metadata().snapshot_by_id(id)) else {
        return Ok(Vec::new());
    };
    let list = table.manifest_list_reader(snapshot).load().await;
    let list = list.map_err(|error| Error::from_source("list the manifests of the lake's table", error))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// What a manifest has that was not deleted.
pub(crate) async fn live_entries(table: &Table, manifest: &ManifestFile) -> Result<Vec<ManifestEntryRef>> {
    let loaded = manifest.load_manifest(table.file_io()).await;
    let loaded = loaded.map_err(|error| Error::from_source("list the files of the lake's table", error))?;
    let (entries, _) = loaded.into_parts();
    Ok(entries.into_iter().filter(|entry| entry.is_alive()).collect())
}

/// The snapshot that brought the rows of an entry.
pub(crate) fn sequence_number(entry: &ManifestEntryRef, manifest: &ManifestFile) -> i64 {
    entry.sequence_number().unwrap_or(manifest.sequence_number)
}

/// How many live data files these manifests have.
pub(crate) fn data_files(manifests: &[ManifestFile]) -> u64 {
    let of_data = manifests
        .iter()
        .filter(|manifest| manifest.content == ManifestContentType::Data);
    of_data.map(live_files).sum()
}

fn live_files(manifest: &ManifestFile) -> u64 {
    // Optional in the format's first version, where nothing may be inferred from their absence.
    let counts = [manifest.added_files_count, manifest.existing_files_count];
    counts
        .into_iter()
        .map(|count| u64::from(count.unwrap_or(1)))
        .sum()
}

fn snapshots(metadata: &TableMetadata) -> Result<Vec<SnapshotAge>> {
    let referenced = referenced_snapshots(metadata)?;
    let mut snapshots: Vec<SnapshotAge> = metadata
        .snapshots()
        .map(|snapshot| SnapshotAge {
            id: snapshot.snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            timestamp_ms: snapshot.timestamp_ms(),
            is_referenced: referenced.contains(&snapshot.snapshot_id()),
        })
        .collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.sequence_number));
    Ok(snapshots)
}

/// The current snapshot and those that branches and tags point to. The library shows no references but by name, so they
/// are taken from the metadata as it is stored.
fn referenced_snapshots(metadata: &TableMetadata) -> Result<HashSet<i64>> {
    let stored = serde_json::to_value(metadata).map_err(|error| {
        Error::from_source("read the branches of the lake's table", error).with_kind(ErrorKind::Corrupt)
    })?;
    let references = stored.get("refs").and_then(serde_json::Value::as_object);
    let named = references
        .into_iter()
        .flat_map(serde_json::Map::values)
        .filter_map(|reference| reference.get("snapshot-id")?.as_i64());
    Ok(named.chain(metadata.current_snapshot_id()).collect())
}
