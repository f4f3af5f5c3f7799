//! The data directory: who owns it, and where things lie in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::settings::{Settings, machine_file, remembered_machine};

/// An owned data directory. Dropping it (or dying) releases it: the lock is the operating system's.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    ownership: Ownership,
    lock: File,
}

/// How long the owner wants the directory for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// To write: alone.
    Exclusive,
    /// To read: together with other readers.
    Shared,
    /// To follow a source into the lake, which several may write: alone as a follower.
    Following,
}

impl DataDir {
    /// Creates the directory if needed and takes its lock.
    ///
    /// # Errors
    /// Names the owner when another process has it.
    pub(crate) fn own(settings: &Settings, ownership: Ownership) -> anyhow::Result<Self> {
        Self::take(settings, &settings.data_dir, ownership)
    }

    /// Takes the part of it that `sync` needs: its positions. Whoever has the lake and the warehouse goes on beside it.
    ///
    /// # Errors
    /// Names the owner when another `sync` has it.
    pub(crate) fn own_sync(settings: &Settings) -> anyhow::Result<Self> {
        Self::take(settings, &settings.data_dir.join("sync"), Ownership::Exclusive)
    }

    fn take(settings: &Settings, path: &Path, ownership: Ownership) -> anyhow::Result<Self> {
        make_private(path).with_context(|| format!("cannot create the data directory {}", path.display()))?;
        let lock_path = path.join(match ownership {
            Ownership::Exclusive | Ownership::Shared => "lock",
            Ownership::Following => "follow.lock",
        });
        let mut lock = open_lock(&lock_path, ownership)
            .with_context(|| format!("cannot open {}", lock_path.display()))?;
        let taken = match ownership {
            Ownership::Exclusive | Ownership::Following => lock.try_lock(),
            Ownership::Shared => lock.try_lock_shared(),
        };
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "the data directory {} is in use by another cclake{}: wait for it or give another --data-dir",
                path.display(),
                owner(&mut lock),
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        if ownership != Ownership::Shared {
            // Only for the message above; the lock itself does not depend on it.
            let _ = lock
                .set_len(0)
                .and_then(|()| write!(lock, "{}", std::process::id()));
            remember_machine(settings)?;
        }
        Ok(Self {
            path: path.to_owned(),
            ownership,
            lock,
        })
    }

    /// Where the reading positions are kept.
    pub(crate) fn positions(&self) -> PathBuf {
        self.path.join("positions.json")
    }

    /// A file in it, or in the part of it that is owned.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // A reader that has it later must not be taken for this process.
        if self.ownership != Ownership::Shared {
            let _ = self.lock.set_len(0);
        }
    }
}

/// A directory that may only be read has readers all the same.
fn open_lock(path: &Path, ownership: Ownership) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    match opened {
        Err(_) if ownership == Ownership::Shared && path.exists() => File::open(path),
        opened => opened,
    }
}

/// Notes the machine's name for as long as the directory lives: the lake knows its files by it.
fn remember_machine(settings: &Settings) -> anyhow::Result<()> {
    let file = machine_file(&settings.data_dir);
    if remembered_machine(&file).is_some() {
        return Ok(());
    }
    std::fs::write(&file, format!("{}\n", settings.machine))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Makes the folder, and those above it that are missing, for its owner alone: what people and agents said is private, and
/// Claude Code's own files are. A folder that is there keeps its mode, so that it can be shared on purpose.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Where DuckDB spills.
pub(crate) fn temp_dir(settings: &Settings) -> PathBuf {
    settings.data_dir.join("tmp")
}

/// Whether anything was ever built there.
pub(crate) fn has_warehouse(settings: &Settings) -> bool {
    Path::new(&settings.duckdb_path).is_file()
}

fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.rewind().and_then(|()| lock.read_to_string(&mut text)) {
        Ok(_) if !text.is_empty() => format!(" (process {text})"),
        _ => String::new(),
    }
}
