//! Files of the table's own folders that nobody needs any more.
//!
//! A file is needed if anything kept refers to one of its name: names are unique, while a path can be spelled in more ways
//! than one. What is needed by nobody goes at once if a state that is gone is known to have been the last to need it, and
//! else only at a certain age: another process may be about to commit it, or still be reading it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use iceberg::table::Table;

use super::inventory::{live_entries, manifests};
use crate::error::{Error, Result};
use crate::storage::local_path;

/// What the table's snapshots refer to, by file name.
#[derive(Default)]
pub(crate) struct References {
    metadata: HashSet<String>,
    /// Only if it was asked for: finding them takes a look into every manifest.
    data: Option<HashSet<String>>,
}

/// Whether data files are looked for as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    Metadata,
    MetadataAndData,
}

impl References {
    /// What these snapshots refer to.
    pub(crate) async fn of(table: &Table, snapshots: &[i64], sweep: Sweep) -> Result<Self> {
        let mut references = Self::default();
        let mut data = HashSet::new();
        for &id in snapshots {
            if let Some(snapshot) = table.metadata().snapshot_by_id(id) {
                references.metadata.insert(name(snapshot.manifest_list()));
            }
            for manifest in manifests(table, Some(id)).await? {
                let is_new = references.metadata.insert(name(&manifest.manifest_path));
                if is_new && sweep == Sweep::MetadataAndData {
                    let entries = live_entries(table, &manifest).await?;
                    data.extend(entries.iter().map(|entry| name(entry.file_path())));
                }
            }
        }
        references.data = (sweep == Sweep::MetadataAndData).then_some(data);
        Ok(references)
    }
}

/// A file that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removable {
    path: PathBuf,
    pub(crate) bytes: u64,
}

/// A file as it was found.
struct Found {
    path: PathBuf,
    name: String,
    bytes: u64,
    modified: SystemTime,
}

/// The files that `kept` does not need, if they are old enough or, of metadata, `gone` needed them last.
pub(crate) fn removable(
    table: &Table,
    kept: &References,
    gone: &References,
    min_age: Duration,
) -> Result<Vec<Removable>> {
    let home = local_path(table.metadata().location());
    // An age that reaches beyond the beginning of time is never reached.
    let newest = SystemTime::now()
        .checked_sub(min_age)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let versions = Versions::of(table);
    let metadata = found_in(&home.join("metadata"))?.into_iter().filter(|file| {
        let is_kept = kept.metadata.contains(&file.name) || versions.needs(&file.name);
        let is_ours = has_ending(&file.name, ".avro") || has_ending(&file.name, ".metadata.json");
        let is_gone = gone.metadata.contains(&file.name) || versions.is_past(&file.name);
        is_ours && !is_kept && (is_gone || file.modified <= newest)
    });
    let mut removable: Vec<Found> = metadata.collect();
    if let Some(needed) = &kept.data {
        removable.extend(found_in(&home.join("data"))?.into_iter().filter(|file| {
            has_ending(&file.name, ".parquet") && !needed.contains(&file.name) && file.modified <= newest
        }));
    }
    Ok(removable
        .into_iter()
        .map(|file| Removable {
            path: file.path,
            bytes: file.bytes,
        })
        .collect())
}

/// Deletes the files; those that were deleted. What cannot be deleted stays for the next time.
pub(crate) fn delete(files: Vec<Removable>) -> Vec<Removable> {
    let deleted = files
        .into_iter()
        .filter(|file| fs::remove_file(&file.path).is_ok());
    deleted.collect()
}

/// Begins the age of files that have just been replaced: from now on nobody new will read them.
pub(crate) fn begin_age<'a>(table: &Table, paths: impl Iterator<Item = &'a Path>) {
    let home = local_path(table.metadata().location());
    for path in paths.filter(|path| path.starts_with(&home)) {
        let file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        // Where it cannot be done, the age is that of the file.
        if let (true, Ok(file)) = (file, fs::File::open(path)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }
}

/// The versions of the metadata.
struct Versions {
    needed: HashSet<String>,
    current: Option<u64>,
}

impl Versions {
    fn of(table: &Table) -> Self {
        let current = table.metadata_location().map(name);
        let log = table.metadata().metadata_log().iter();
        Self {
            current: current.as_deref().and_then(version),
            needed: log
                .map(|version| name(&version.metadata_file))
                .chain(current)
                .collect(),
        }
    }

    fn needs(&self, name: &str) -> bool {
        self.needed.contains(name)
    }

    /// Whether a file can no longer become the current version. One that is being committed has the next number; with
    /// this one or an earlier, its writer has been overtaken and will be refused.
    fn is_past(&self, name: &str) -> bool {
        has_ending(name, ".metadata.json")
            && version(name)
                .zip(self.current)
                .is_some_and(|(version, current)| version <= current)
    }
}

/// 12 of `00012-….metadata.json`.
fn version(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

/// All regular files below a folder. Links are not followed.
fn found_in(folder: &Path) -> Result<Vec<Found>> {
    let what = || format!("look through {}", folder.display());
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(|error| Error::from_source(&what(), error))? {
            let entry = entry.map_err(|error| Error::from_source(&what(), error))?;
            // One that vanishes meanwhile is deleted by someone else.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if let (true, Ok(modified)) = (metadata.is_file(), metadata.modified()) {
                found.push(Found {
                    path: entry.path(),
                    name: entry.file_name().to_string_lossy().into_owned(),
                    bytes: metadata.len(),
                    modified,
                });
            }
        }
    }
    Ok(found)
}

fn name(location: &str) -> String {
    location.rsplit('/').next().unwrap_or(location).to_owned()
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.ends_with(ending)
}
