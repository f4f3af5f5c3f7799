//! The table's next state, without a row more or less, and the compare-and-swap that makes it the current one.
//!
//! The Iceberg library has no such commit, so its parts are written here: manifests, their list, the metadata. Until the
//! catalog's row names them they are invisible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr as _;

use iceberg::spec::{
    DataFile, ManifestEntryRef, ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder,
    Operation, Snapshot, Summary, TableMetadata,
};
use iceberg::table::Table;
use iceberg::{MetadataLocation, Result as IcebergResult};

use super::compact::Rewritten;
use super::inventory::{Candidate, Inventory, sequence_number};
use crate::commit;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::local_path;

/// Entries per manifest that is written: a few megabytes.
const MANIFEST_ENTRIES: usize = 2000;

const MAIN: &str = "main";

/// A state that was written and is not current yet.
pub(crate) struct Staged {
    pub(crate) location: String,
    /// The files it consists of, beside those of the state before.
    written: Vec<String>,
}

impl Staged {
    /// Deletes what was written, once it is known not to be needed. What cannot be deleted stays, harmless.
    pub(crate) fn delete(self) {
        for location in self.written {
            let _ = std::fs::remove_file(local_path(&location));
        }
    }
}

/// Writes the state of `table` with `rewritten` in place and without the snapshots `expire`; `None` if it has nothing to
/// gain.
pub(crate) async fn stage(
    table: &Table,
    inventory: &Inventory,
    rewritten: &[Rewritten],
    expire: &[i64],
) -> Result<Option<Staged>> {
    let merge = merged_manifests(table, inventory, &replaced_locations(rewritten));
    if merge.is_empty() && expire.is_empty() {
        return Ok(None);
    }
    let mut staging = Staging {
        table,
        uuid: uuid::Uuid::now_v7().to_string(),
        snapshot_id: new_snapshot_id(table.metadata()),
        written: Vec::new(),
    };
    match staging.write(inventory, &merge, rewritten, expire).await {
        Ok(location) => Ok(Some(Staged {
            location,
            written: staging.written,
        })),
        Err(error) => {
            let written = staging.written;
            Staged {
                location: String::new(),
                written,
            }
            .delete();
            Err(Error::from_source("write the lake's table anew", error))
        }
    }
}

/// The places of the opened manifests to be written again: where several are not full, and where files were replaced.
fn merged_manifests(table: &Table, inventory: &Inventory, replaced: &HashSet<&str>) -> Vec<usize> {
    let mut by_spec = BTreeMap::<i32, Vec<(usize, bool)>>::new();
    for (place, manifest) in inventory.opened.iter().enumerate() {
        let is_touched = manifest
            .live
            .iter()
            .any(|entry| replaced.contains(entry.file_path()));
        let spec = manifest.file.partition_spec_id;
        if is_touched || (!manifest.is_full() && can_write(table, spec)) {
            by_spec.entry(spec).or_default().push((place, is_touched));
        }
    }
    by_spec.retain(|_, places| places.len() > 1 || places.iter().any(|(_, is_touched)| *is_touched));
    by_spec.into_values().flatten().map(|(place, _)| place).collect()
}

fn replaced_locations(rewritten: &[Rewritten]) -> HashSet<&str> {
    let inputs = rewritten.iter().flat_map(|files| &files.inputs);
    inputs.map(|input| input.location.as_str()).collect()
}

/// Whether manifests of this partitioning can be written: not if another program dropped its column.
fn can_write(table: &Table, spec: i32) -> bool {
    let metadata = table.metadata();
    let spec = metadata.partition_spec_by_id(spec);
    spec.is_some_and(|spec| spec.partition_type(metadata.current_schema()).is_ok())
}

struct Staging<'a> {
    table: &'a Table,
    uuid: String,
    snapshot_id: i64,
    written: Vec<String>,
}

impl Staging<'_> {
    async fn write(
        &mut self,
        inventory: &Inventory,
        merge: &[usize],
        rewritten: &[Rewritten],
        expire: &[i64],
    ) -> IcebergResult<String> {
        let metadata = self.table.metadata();
        let old = self.table.metadata_location_result()?.to_owned();
        let mut builder = metadata.clone().into_builder(Some(old.clone()));
        if !merge.is_empty() {
            let manifests = self.write_manifests(inventory, merge, rewritten).await?;
            let list = self.write_list(manifests).await?;
            builder = builder.set_branch_snapshot(self.snapshot(list, rewritten), MAIN)?;
        }
        builder = builder.remove_snapshots(expire);
        for &snapshot in expire {
            builder = builder
                .remove_statistics(snapshot)
                .remove_partition_statistics(snapshot);
        }
        let metadata = builder.build()?.metadata;
        let location = MetadataLocation::from_str(&old)?
            .with_next_version()
            .with_new_metadata(&metadata);
        self.written.push(location.to_string());
        metadata.write_to(self.table.file_io(), &location).await?;
        Ok(location.to_string())
    }

    /// All manifests of the new snapshot.
    async fn write_manifests(
        &mut self,
        inventory: &Inventory,
        merge: &[usize],
        rewritten: &[Rewritten],
    ) -> IcebergResult<Vec<ManifestFile>> {
        let mut manifests = inventory.untouched.clone();
        let mut listed = BTreeMap::<i32, Vec<Listed<'_>>>::new();
        let replaced = replaced_locations(rewritten);
        for (place, manifest) in inventory.opened.iter().enumerate() {
            if !merge.contains(&place) {
                manifests.push(manifest.file.clone());
                continue;
            }
            let listed = listed.entry(manifest.file.partition_spec_id).or_default();
            listed.extend(manifest.live.iter().map(|entry| Listed {
                data: entry.data_file(),
                sequence_number: sequence_number(entry, &manifest.file),
                was: Was::in_table(entry, &manifest.file, &replaced),
            }));
        }
        for files in rewritten {
            let listed = listed.entry(files.spec_id).or_default();
            listed.extend(files.outputs.iter().map(|data| Listed {
                data,
                sequence_number: files.sequence_number,
                was: Was::New,
            }));
        }
        for (spec, mut listed) in listed {
            listed.sort_by(|a, b| a.place().cmp(&b.place()));
            for listed in listed.chunks(MANIFEST_ENTRIES) {
                let mut writer = self.manifest_writer(spec)?;
                listed.iter().try_for_each(|listed| listed.add_to(&mut writer))?;
                manifests.push(writer.write_manifest_file().await?);
            }
        }
        Ok(manifests)
    }

    fn manifest_writer(&mut self, spec: i32) -> IcebergResult<ManifestWriter> {
        let metadata = self.table.metadata();
        let location = self.metadata_file(&format!("{}-m{}.avro", self.uuid, self.written.len()));
        let output = self.table.file_io().new_output(&location)?;
        self.written.push(location);
        let spec = metadata
            .partition_spec_by_id(spec)
            .unwrap_or(metadata.default_partition_spec());
        let builder = ManifestWriterBuilder::new(
            output,
            Some(self.snapshot_id),
            metadata.current_schema().clone(),
            spec.as_ref().clone(),
        );
        Ok(builder.build_v2_data())
    }

    async fn write_list(&mut self, manifests: Vec<ManifestFile>) -> IcebergResult<String> {
        let metadata = self.table.metadata();
        let location = self.metadata_file(&format!("snap-{}-0-{}.avro", self.snapshot_id, self.uuid));
        let output = self.table.file_io().new_output(&location)?;
        self.written.push(location.clone());
        let mut list = ManifestListWriter::v2(
            output.writer().await?,
            self.snapshot_id,
            metadata.current_snapshot_id(),
            metadata.next_sequence_number(),
        );
        list.add_manifests(manifests.into_iter())?;
        list.close().await?;
        Ok(location)
    }

    fn metadata_file(&self, name: &str) -> String {
        format!("{}/metadata/{name}", self.table.metadata().location())
    }

    fn snapshot(&self, list: String, rewritten: &[Rewritten]) -> Snapshot {
        let metadata = self.table.metadata();
        Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(metadata.current_snapshot_id())
            .with_sequence_number(metadata.next_sequence_number())
            // A clock that was set back must not stop upkeep.
            .with_timestamp_ms(super::now_ms().max(metadata.last_updated_ms()))
            .with_manifest_list(list)
            .with_summary(Summary {
                operation: Operation::Replace,
                additional_properties: summary(self.table, rewritten),
            })
            .with_schema_id(metadata.current_schema_id())
            .build()
    }
}

/// A file in a manifest that is written.
struct Listed<'a> {
    data: &'a DataFile,
    sequence_number: i64,
    was: Was,
}

/// What a file was before, and where it came from.
enum Was {
    New,
    Live { snapshot: i64, sequence_number: i64 },
    Replaced { sequence_number: i64 },
}

impl Was {
    fn in_table(entry: &ManifestEntryRef, manifest: &ManifestFile, replaced: &HashSet<&str>) -> Self {
        let sequence_number = entry.file_sequence_number.unwrap_or(manifest.sequence_number);
        if replaced.contains(entry.file_path()) {
            return Self::Replaced { sequence_number };
        }
        Self::Live {
            snapshot: entry.snapshot_id().unwrap_or(manifest.added_snapshot_id),
            sequence_number,
        }
    }
}

impl Listed<'_> {
    /// As readers have the files.
    fn place(&self) -> (i64, &str) {
        (self.sequence_number, self.data.file_path())
    }

    fn add_to(&self, writer: &mut ManifestWriter) -> IcebergResult<()> {
        let data = self.data.clone();
        match self.was {
            Was::New => writer.add_file(data, self.sequence_number),
            Was::Live {
                snapshot,
                sequence_number,
            } => writer.add_existing_file(data, snapshot, self.sequence_number, Some(sequence_number)),
            Was::Replaced { sequence_number } => {
                writer.add_delete_file(data, self.sequence_number, Some(sequence_number))
            }
        }
    }
}

/// What changed and what the table has then, by Iceberg's names: each snapshot's totals are computed from the last one's.
fn summary(table: &Table, rewritten: &[Rewritten]) -> HashMap<String, String> {
    let mut summary = HashMap::new();
    let inputs = || rewritten.iter().flat_map(|files| &files.inputs);
    let outputs = || rewritten.iter().flat_map(|files| &files.outputs);
    let records: u64 = inputs().map(|input| input.file.records).sum();
    let changes = [
        ("data-files", inputs().count() as u64, outputs().count() as u64),
        ("records", records, records),
        (
            "files-size",
            inputs().map(|input| input.bytes).sum(),
            outputs().map(DataFile::file_size_in_bytes).sum(),
        ),
    ];
    let Some(last) = table.metadata().current_snapshot() else {
        return summary;
    };
    let last = &last.summary().additional_properties;
    for (key, total) in last.iter().filter(|(key, _)| key.starts_with("total-")) {
        summary.insert(key.clone(), total.clone());
    }
    for (what, removed, added) in changes.into_iter().filter(|_| !rewritten.is_empty()) {
        let removed_key = if what == "files-size" {
            "removed"
        } else {
            "deleted"
        };
        summary.insert(format!("{removed_key}-{what}"), removed.to_string());
        summary.insert(format!("added-{what}"), added.to_string());
        let total = format!("total-{what}");
        if let Some(before) = last.get(&total).and_then(|total| total.parse::<u64>().ok()) {
            summary.insert(total, (before + added).saturating_sub(removed).to_string());
        }
    }
    summary.extend(commit::continued(table));
    summary
}

/// Positive, as readers written in Java want it, and not in use.
fn new_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let random = uuid::Uuid::now_v7().as_u64_pair().1;
        let id = i64::try_from(random >> 2).unwrap_or_default();
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// How many manifests there would be if these files were replaced.
pub(crate) fn manifests_after(table: &Table, inventory: &Inventory, replaced: &[Vec<Candidate>]) -> usize {
    let locations = replaced
        .iter()
        .flatten()
        .map(|file| file.location.as_str())
        .collect();
    let merged = merged_manifests(table, inventory, &locations).len();
    let all = inventory.opened.len() + inventory.untouched.len();
    all - merged + merged.min(1)
}

/// Upkeep writes what this version of the format has, and would lose what others have.
pub(crate) fn check_format(table: &Table) -> Result<()> {
    let version = table.metadata().format_version();
    if version == iceberg::spec::FormatVersion::V2 {
        return Ok(());
    }
    let message = format!(
        "the lake's table has Iceberg's format {version}, whose upkeep is not supported; only that of v2 is"
    );
    Err(Error::new(ErrorKind::Unsupported, message))
}
