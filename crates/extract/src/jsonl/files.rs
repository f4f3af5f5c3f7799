//! Which files there are. What is in them decides nothing here: every `*.jsonl` below a root is a source,
//! sub-agents' files too.

use std::{
    collections::HashSet,
    fmt::Write,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use walkdir::WalkDir;

use crate::error::{Error, ErrorKind, Result};

/// A file system's clock ticks coarsely (4 ms on ext4, 2 s on FAT): a file as young as this can change again
/// without its time or size showing it.
const UNSETTLED: Duration = Duration::from_secs(2);

/// One regular file, as it stood when it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Canonical path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Time of the last modification, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Device and inode, which survive a rename.
    pub dev: u64,
    /// See `dev`.
    pub inode: u64,
    /// Whether it was long enough untouched for size and time to stand for its contents.
    pub settled: bool,
}

/// The files found, oldest modification first, then by path; and what could not be looked at.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Each file once, whatever links lead to it.
    pub files: Vec<SourceFile>,
    /// A sentence for each folder or file that could not be read.
    pub warnings: Vec<String>,
}

impl SourceFile {
    pub(crate) fn new(path: PathBuf, meta: &Metadata) -> Self {
        let age = meta
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        Self {
            path,
            size: meta.len(),
            mtime_ns: nanoseconds(meta),
            dev: meta.dev(),
            inode: meta.ino(),
            settled: age.is_some_and(|age| age >= UNSETTLED),
        }
    }

    /// The path as `source_file` and as key of positions: bytes that are no UTF-8 are written as `\xNN`, so
    /// that two paths never share a name.
    pub fn name(&self) -> String {
        source_name(&self.path)
    }
}

fn nanoseconds(meta: &Metadata) -> i64 {
    meta.modified()
        .map_or(0, |time| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        })
}

pub(crate) fn source_name(path: &Path) -> String {
    let mut name = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(name, "\\x{byte:02x}");
        }
    }
    name
}

/// Finds every regular `*.jsonl` file below `roots`, following symbolic links without running in circles.
/// A root may also be a single file of any name.
///
/// # Errors
/// [`ErrorKind::Root`] when a root does not exist or cannot be listed. Anything below it that vanishes or
/// cannot be read is a warning.
pub fn discover(roots: &[PathBuf]) -> Result<Discovery> {
    let mut found = Discovery::default();
    let mut seen = HashSet::new();
    for root in roots {
        check_root(root)?;
        for entry in WalkDir::new(root).follow_links(true) {
            match entry {
                Ok(entry) if is_source(&entry) => add(&mut found, &mut seen, entry.path()),
                Ok(_) => {}
                Err(error) => warn(&mut found, &error),
            }
        }
    }
    found
        .files
        .sort_by(|a, b| (a.mtime_ns, &a.path).cmp(&(b.mtime_ns, &b.path)));
    Ok(found)
}

fn check_root(root: &Path) -> Result<()> {
    let hint = match root.metadata() {
        Ok(meta) if meta.is_dir() => root.read_dir().err().map(|error| error.to_string()),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some("does not exist; name the folder that holds your `*.jsonl` files".into())
        }
        Err(error) => Some(error.to_string()),
    };
    match hint {
        Some(hint) => Err(Error::new(
            ErrorKind::Root,
            format!("source path {}: {hint}", root.display()),
        )),
        None => Ok(()),
    }
}

fn is_source(entry: &walkdir::DirEntry) -> bool {
    let named = entry
        .path()
        .extension()
        .is_some_and(|extension| extension == "jsonl");
    entry.file_type().is_file() && (named || entry.depth() == 0)
}

fn add(found: &mut Discovery, seen: &mut HashSet<PathBuf>, path: &Path) {
    let looked = path
        .canonicalize()
        .and_then(|path| path.metadata().map(|meta| (path, meta)));
    match looked {
        Ok((path, meta)) if meta.is_file() => {
            if seen.insert(path.clone()) {
                found.files.push(SourceFile::new(path, &meta));
            }
        }
        Ok(_) => {}
        Err(error) => found
            .warnings
            .push(format!("{} was not read: {error}", path.display())),
    }
}

fn warn(found: &mut Discovery, error: &walkdir::Error) {
    // A link back to a folder above it: everything there is being read already.
    if error.loop_ancestor().is_some() {
        return;
    }
    let path = error.path().unwrap_or(Path::new("?")).display().to_string();
    let cause = error
        .io_error()
        .map_or_else(|| error.to_string(), ToString::to_string);
    found.warnings.push(format!("{path} was not read: {cause}"));
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let found = discover(&[root.to_path_buf()]).unwrap();
        assert_eq!(found.warnings, Vec::<String>::new());
        let root = root.canonicalize().unwrap();
        let mut names: Vec<_> = found.files.iter().map(|file| file.path.clone()).collect();
        names.sort();
        names
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn finds_every_file_once_through_links_and_loops() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("p/session/subagents");
        fs::create_dir_all(&sub).unwrap();
        fs::create_dir(dir.path().join("folder.jsonl")).unwrap();
        for file in ["p/a.jsonl", "p/session/subagents/agent-1.jsonl", "p/notes.txt"] {
            fs::write(dir.path().join(file), "{}\n").unwrap();
        }
        symlink(dir.path(), sub.join("loop")).unwrap();
        symlink(dir.path().join("p/a.jsonl"), dir.path().join("again.jsonl")).unwrap();
        assert_eq!(
            names(dir.path()),
            ["p/a.jsonl", "p/session/subagents/agent-1.jsonl"]
        );
    }

    #[test]
    fn orders_by_age_then_path_and_reports_dead_links() {
        let dir = tempfile::tempdir().unwrap();
        let hour = |hours: u64| SystemTime::now() - Duration::from_secs(3600 * hours);
        for (name, hours) in [("b.jsonl", 1), ("c.jsonl", 2), ("a.jsonl", 1)] {
            fs::write(dir.path().join(name), "").unwrap();
            let file = fs::File::options()
                .write(true)
                .open(dir.path().join(name))
                .unwrap();
            file.set_modified(hour(hours)).unwrap();
        }
        let time = fs::metadata(dir.path().join("b.jsonl"))
            .unwrap()
            .modified()
            .unwrap();
        fs::File::options()
            .write(true)
            .open(dir.path().join("a.jsonl"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        symlink(dir.path().join("gone"), dir.path().join("dead.jsonl")).unwrap();
        let found = discover(&[dir.path().to_path_buf()]).unwrap();
        let order: Vec<_> = found
            .files
            .iter()
            .filter_map(|file| file.path.file_name())
            .collect();
        assert_eq!(order, ["c.jsonl", "a.jsonl", "b.jsonl"]);
        assert_eq!(found.warnings.len(), 1);
        assert!(
            found.warnings[0].contains("dead.jsonl was not read"),
            "{:?}",
            found.warnings
        );
    }

    #[test]
    fn a_missing_root_is_one_clear_sentence() {
        let error = discover(&["/no/such/folder".into()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Root);
        insta::assert_snapshot!(error, @"source path /no/such/folder: does not exist; name the folder that holds your `*.jsonl` files");
    }
}
