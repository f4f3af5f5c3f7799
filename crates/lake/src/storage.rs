//! The local file system, made durable.
//!
//! The library's own local storage syncs data files and manifests but neither `metadata.json` nor any folder, so that
//! after a power cut the catalog can point to an empty or missing file. Here every write syncs the file and, before
//! anything can refer to it, each folder that got a new entry.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, LocalFsStorage, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Makes [`DurableFs`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DurableFsFactory;

#[typetag::serde]
impl StorageFactory for DurableFsFactory {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(DurableFs::default()))
    }
}

/// Local files whose writes survive a power cut; reading and deleting are the library's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct DurableFs {
    inner: LocalFsStorage,
}

#[async_trait]
#[typetag::serde]
impl Storage for DurableFs {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let mut file = self.writer(path).await?;
        file.write(bytes).await?;
        file.close().await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let file = DurableFile::create(local_path(path)).map_err(|error| failed("create", path, error))?;
        Ok(Box::new(file))
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.inner.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.inner.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.inner.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.inner.reader(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.inner.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        self.inner.delete_stream(paths).await
    }
}

/// A file being written, and the folders to sync once it is complete.
struct DurableFile {
    file: Option<File>,
    path: PathBuf,
    folders: Vec<PathBuf>,
}

impl DurableFile {
    fn create(path: PathBuf) -> io::Result<Self> {
        let folders = folders_with_new_entries(&path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = Some(File::create(&path)?);
        Ok(Self { file, path, folders })
    }

    fn open_file(&mut self) -> io::Result<&mut File> {
        self.file
            .as_mut()
            .ok_or_else(|| io::Error::other("the file is closed already"))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.open_file()?.sync_all()?;
        self.file = None;
        observe_sync(&self.path);
        // A manifest counts for nothing before the metadata that comes after it to the same folder.
        if self.path.extension().is_some_and(|ending| ending == "avro") {
            return Ok(());
        }
        self.folders.iter().try_for_each(|folder| sync_folder(folder))
    }
}

#[async_trait]
impl FileWrite for DurableFile {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let written = self.open_file().and_then(|file| file.write_all(&bytes));
        written.map_err(|error| failed("write", &self.path.to_string_lossy(), error))
    }

    async fn close(&mut self) -> Result<()> {
        self.finish()
            .map_err(|error| failed("save", &self.path.to_string_lossy(), error))
    }
}

/// The folder of `path`, and those above it up to the first that exists already.
fn folders_with_new_entries(path: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in path.ancestors().skip(1) {
        folders.push(folder.to_owned());
        if folder.exists() {
            break;
        }
    }
    folders
}

/// Makes the folder's entries survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    observe_sync(folder);
    Ok(())
}

/// Whether a small file can still be written in `folder`: SQLite needs as much for a commit.
///
/// # Errors
/// The reason why not.
pub(crate) fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".probe-{}", uuid::Uuid::now_v7()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; 64 << 10])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// The file behind an Iceberg location.
pub(crate) fn local_path(location: &str) -> PathBuf {
    let path = location.strip_prefix("file:").unwrap_or(location);
    // file:///a, file:/a and /a are the same; a second slash is dropped by the first of them only.
    PathBuf::from(path.strip_prefix("//").unwrap_or(path))
}

fn failed(verb: &str, path: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("could not {verb} {path}: {error}")).with_source(error)
}

#[cfg(not(test))]
fn observe_sync(_: &Path) {}

#[cfg(test)]
use observed::observe_sync;

/// What was synced, in order: the only way to see a sync from inside the process.
#[cfg(test)]
pub(crate) mod observed {
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    static SYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    pub(super) fn observe_sync(path: &Path) {
        SYNCED.lock().unwrap().push(path.to_owned());
    }

    /// The synced paths inside `root`, relative to it.
    pub(crate) fn synced_inside(root: &Path) -> Vec<PathBuf> {
        let synced = SYNCED.lock().unwrap();
        synced
            .iter()
            .filter_map(|path| Some(path.strip_prefix(root).ok()?.to_owned()))
            .collect()
    }
}
