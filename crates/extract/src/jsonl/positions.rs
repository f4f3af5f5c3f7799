//! How far each file has been read: a cache of what the lake knows, kept in one JSON file.
//!
//! A position may lag, never lead: it is saved after the rows before it are committed. `stamp` is the lake
//! commit it belongs to; when the lake's head says otherwise, [`plan`](crate::plan()) trusts none of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Error, ErrorKind, Result},
    id::RecordId,
    jsonl::files::SourceFile,
};

/// Of the file's layout. Another number is read as "nothing known", which only costs a second reading.
const VERSION: u32 = 1;

/// The positions of all files ever read, by [`SourceFile::name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Positions {
    version: u32,
    /// The lake commit these positions belong to; set by whoever commits.
    pub stamp: Option<String>,
    files: BTreeMap<String, FilePosition>,
    /// Names whose file was renamed: should one come back, the lake has lines under it.
    left: BTreeSet<String>,
    /// The lake was ahead, and not every file has been read against it since: it may hold lines even of files
    /// that have no position.
    recovering: bool,
}

/// How far one file has been read, and how it looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePosition {
    /// Bytes, when the file was found.
    pub size: u64,
    /// Nanoseconds since 1970; none when the file was too young for its time to prove anything.
    pub mtime_ns: Option<i64>,
    /// Device.
    pub dev: u64,
    /// Inode.
    pub inode: u64,
    /// Behind the last newline-terminated line that was read.
    pub offset: u64,
    /// BLAKE3 of the bytes `[0, offset)`, hex.
    pub prefix_hash: String,
    /// The line at `offset`, if that had no newline yet but was whole and is loaded.
    pub tail: Option<Tail>,
    /// Whether something behind `offset` still waits, so that an unchanged file must be read all the same.
    pub pending: bool,
    /// Whether the lake may hold lines behind `offset`, so that the file must be read against it.
    pub doubtful: bool,
    /// Whether the lake holds lines that were no longer in the file: should it change, they may be back.
    #[serde(default)]
    pub lake_has_more: bool,
}

/// A loaded line that had no newline yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// Its `_id`.
    pub id: RecordId,
    /// Its length in bytes.
    pub length: u64,
}

/// A position that holds once the chunk it came with is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionUpdate {
    /// [`SourceFile::name`].
    pub file: String,
    /// Its position.
    pub position: FilePosition,
    /// The name it had before it was renamed.
    pub renamed_from: Option<String>,
}

/// The positions that hold once a chunk is committed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PositionUpdates {
    /// One per file of the chunk.
    pub files: Vec<PositionUpdate>,
    /// Whether this chunk is the last of its plan.
    pub complete: bool,
}

impl Default for Positions {
    fn default() -> Self {
        Self {
            version: VERSION,
            stamp: None,
            files: BTreeMap::new(),
            left: BTreeSet::new(),
            recovering: false,
        }
    }
}

impl Positions {
    /// Reads what [`Positions::save`] wrote. No file, one of another version or a damaged one is an empty set:
    /// the lake knows better, and everything is read again against it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file is there but cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(error).during(ErrorKind::Io, format!("reading positions {}", path.display()));
            }
        };
        Ok(serde_json::from_slice(&bytes)
            .ok()
            .filter(|positions: &Self| positions.version == VERSION)
            .unwrap_or_default())
    }

    /// Writes the positions so that a crash leaves either the old or the new ones.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Format, format!("writing positions: {error}")))?;
        replace(path, &bytes).during(ErrorKind::Io, format!("writing positions {}", path.display()))
    }

    /// Takes over the positions of a committed chunk.
    pub fn apply(&mut self, updates: PositionUpdates) {
        self.recovering &= !updates.complete;
        for update in updates.files {
            if let Some(old) = update.renamed_from {
                self.files.remove(&old);
                self.left.insert(old);
            }
            self.left.remove(&update.file);
            self.files.insert(update.file, update.position);
        }
    }

    /// The position of a file.
    pub fn get(&self, name: &str) -> Option<&FilePosition> {
        self.files.get(name)
    }

    /// All positions, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FilePosition)> {
        self.files
            .iter()
            .map(|(name, position)| (name.as_str(), position))
    }

    /// The lake is ahead of the positions, or is another one: whatever is read is read against it.
    pub(crate) fn distrust(&mut self) {
        self.recovering = true;
        for position in self.files.values_mut() {
            position.doubtful = true;
        }
    }

    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// Whether a file of this name was read once and then renamed.
    pub(crate) fn has_left(&self, name: &str) -> bool {
        self.left.contains(name)
    }
}

impl FilePosition {
    /// The position before the first byte.
    pub(crate) fn start(file: &SourceFile) -> Self {
        Self {
            size: file.size,
            mtime_ns: file.settled.then_some(file.mtime_ns),
            dev: file.dev,
            inode: file.inode,
            offset: 0,
            prefix_hash: blake3::Hasher::new().finalize().to_hex().to_string(),
            tail: None,
            pending: true,
            doubtful: false,
            lake_has_more: false,
        }
    }

    /// Whether the file looks as it did, down to the inode.
    pub(crate) fn looks_like(&self, file: &SourceFile) -> bool {
        self.size == file.size && self.mtime_ns == Some(file.mtime_ns) && self.is_same_inode(file)
    }

    pub(crate) fn is_same_inode(&self, file: &SourceFile) -> bool {
        (self.dev, self.inode) == (file.dev, file.inode)
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension("tmp");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64) -> FilePosition {
        FilePosition {
            size: 9,
            mtime_ns: Some(7),
            dev: 1,
            inode: 2,
            offset,
            prefix_hash: "00".into(),
            tail: Some(Tail {
                id: RecordId([0xab; 16]),
                length: 4,
            }),
            pending: false,
            doubtful: false,
            lake_has_more: false,
        }
    }

    #[test]
    fn survives_a_round_trip_and_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/positions.json");
        let mut positions = Positions::load(&path).unwrap();
        assert_eq!(positions, Positions::default());
        let update = |file: &str, from: Option<&str>| PositionUpdate {
            file: file.into(),
            position: position(5),
            renamed_from: from.map(Into::into),
        };
        positions.stamp = Some("commit".into());
        let files = vec![update("/a", None), update("/b", Some("/a"))];
        positions.apply(PositionUpdates {
            files,
            complete: true,
        });
        assert_eq!(positions.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["/b"]);
        assert!(positions.has_left("/a"));
        positions.save(&path).unwrap();
        assert_eq!(Positions::load(&path).unwrap(), positions);
        insta::assert_snapshot!(
            fs::read_to_string(&path).unwrap(),
            @r#"{"version":1,"stamp":"commit","files":{"/b":{"size":9,"mtime_ns":7,"dev":1,"inode":2,"offset":5,"prefix_hash":"00","tail":{"id":"abababababababababababababababab","length":4},"pending":false,"doubtful":false,"lake_has_more":false}},"left":["/a"],"recovering":false}"#
        );
    }

    #[test]
    fn damaged_or_foreign_files_know_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("positions.json");
        for text in [
            "",
            "{\"version\":1",
            r#"{"version":9,"stamp":null,"files":{},"left":[],"recovering":false}"#,
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(Positions::load(&path).unwrap(), Positions::default(), "{text}");
        }
    }
}
