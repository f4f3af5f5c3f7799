//! The dead letter queue: what is no record, kept with its bytes in `<dir>/<date>/extraction_failures.jsonl`, one JSON
//! object per line, to be looked at and, once mended, read again.
//!
//! Several processes may write to a queue (`run` beside `sync`), each under its lock. A letter that a person purged is
//! remembered by its id in `<dir>/purged`: reading its line again does not bring it back, as long as that is the same.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    batch::ChangeOrder,
    error::{Context, Error, ErrorKind, Result},
    id::RecordId,
};

const FILE_NAME: &str = "extraction_failures.jsonl";

/// Ids of purged letters, one a line.
const PURGED: &str = "purged";

/// A line or document that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Hash of file, offset and bytes.
    pub id: RecordId,
    /// The kind of source: `jsonl` or `mongodb`.
    pub source: &'static str,
    /// [`SourceFile::name`](crate::SourceFile::name), or `database.collection/_id`.
    pub file: String,
    /// Where the line begins.
    pub offset: u64,
    /// Why it is no record.
    pub reason: String,
    /// The line without its end, or the document as BSON.
    pub bytes: Vec<u8>,
    /// Where it stands among the changes of a document; none for lines.
    pub(crate) order: Option<ChangeOrder>,
}

/// A dead letter as it lies in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Hash of file, offset and bytes.
    pub id: RecordId,
    /// The kind of source: `jsonl` or `mongodb`.
    pub source: String,
    /// The file's canonical path, or `database.collection/_id`.
    pub file: String,
    /// Where the line begins.
    pub offset: u64,
    /// Why it is no record.
    pub reason: String,
    /// The line without its end, or the document as BSON.
    pub bytes_base64: String,
    /// When it was queued: ISO 8601, UTC.
    pub at: String,
    /// By which run.
    pub run_id: String,
    /// Where it stands among the changes of a document; none for lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<ChangeOrder>,
}

impl DeadLetter {
    pub(crate) fn new(source: &'static str, file: &str, offset: u64, reason: String, bytes: &[u8]) -> Self {
        let id = RecordId::of_dead_letter(file, offset, bytes);
        Self {
            id,
            source,
            file: file.to_owned(),
            offset,
            reason,
            bytes: bytes.to_vec(),
            order: None,
        }
    }
}

impl Entry {
    /// The line without its end; none when the queue was edited by hand and holds no base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.bytes_base64).ok()
    }
}

/// Appends letters to the file of the date (UTC) of `at_us`, microseconds since 1970, and makes them durable. No letters
/// touch nothing.
///
/// # Errors
/// [`ErrorKind::Io`] when the folder or file cannot be written.
pub fn append(dir: &Path, letters: &[DeadLetter], at_us: i64, run_id: &str) -> Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let at = Timestamp::from_microsecond(at_us)
        .map_err(|_| Error::new(ErrorKind::Format, format!("{at_us} is no time in microseconds")))?;
    let folder = dir.join(at.strftime("%Y-%m-%d").to_string());
    let path = folder.join(FILE_NAME);
    let what = || format!("writing dead letters to {}", path.display());
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        let _lock = lock(dir)?;
        let file = File::options().read(true).append(true).create(true).open(&path)?;
        write_entries(file, letters, at, run_id)?;
        File::open(&folder)?.sync_all()?;
        File::open(dir)?.sync_all()
    };
    write().during(ErrorKind::Io, what())
}

fn write_entries(mut file: File, letters: &[DeadLetter], at: Timestamp, run_id: &str) -> io::Result<()> {
    let mut writer = io::BufWriter::new(&mut file);
    if is_torn(writer.get_mut())? {
        writer.write_all(b"\n")?;
    }
    for letter in letters {
        let entry = Entry {
            id: letter.id,
            source: letter.source.to_owned(),
            file: letter.file.clone(),
            offset: letter.offset,
            reason: letter.reason.clone(),
            bytes_base64: STANDARD.encode(&letter.bytes),
            at: at.to_string(),
            run_id: run_id.to_owned(),
            order: letter.order,
        };
        serde_json::to_writer(&mut writer, &entry)?;
        writer.write_all(b"\n")?;
    }
    writer.flush()?;
    drop(writer);
    file.sync_all()
}

/// Whether a crash left half a line at the end.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Held by whoever writes, until it is dropped.
fn lock(dir: &Path) -> io::Result<File> {
    let mut options = File::options();
    let lock = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Takes letters out of the queue, since they are records now.
///
/// # Errors
/// [`ErrorKind::Io`] when the queue cannot be written; then it may still hold some of them.
#[expect(clippy::implicit_hasher, reason = "one hasher is enough")]
pub fn remove(dir: &Path, ids: &HashSet<RecordId>) -> Result<()> {
    let remove = || -> io::Result<()> {
        let _lock = lock(dir)?;
        queue_files(dir)?.iter().try_for_each(|file| without(file, ids))
    };
    if ids.is_empty() {
        return Ok(());
    }
    remove().during(ErrorKind::Io, format!("taking letters out of {}", dir.display()))
}

/// Takes letters out of the queue for good: their lines will not be queued again.
///
/// # Errors
/// As for [`remove`].
#[expect(clippy::implicit_hasher, reason = "one hasher is enough")]
pub fn purge(dir: &Path, ids: &HashSet<RecordId>) -> Result<()> {
    let remember = || -> io::Result<()> {
        let _lock = lock(dir)?;
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(dir.join(PURGED))?;
        let mut text = if is_torn(&mut file)? {
            "\n".to_owned()
        } else {
            String::new()
        };
        text.extend(ids.iter().map(|id| format!("{id}\n")));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    };
    if ids.is_empty() {
        return Ok(());
    }
    remember().during(
        ErrorKind::Io,
        format!("noting purged letters in {}", dir.display()),
    )?;
    remove(dir, ids)
}

/// Rewrites a file of the queue without these letters, so that a crash leaves either the old or the new one.
fn without(path: &Path, ids: &HashSet<RecordId>) -> io::Result<()> {
    let (mut kept, mut is_shorter) = (Vec::new(), false);
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if id_of(&line).is_some_and(|id| ids.contains(&id)) {
            is_shorter = true;
        } else {
            kept.extend_from_slice(&line);
        }
        line.clear();
    }
    if !is_shorter {
        return Ok(());
    }
    let draft = path.with_extension("tmp");
    let mut file = File::create(&draft)?;
    file.write_all(&kept)?;
    file.sync_all()?;
    if kept.is_empty() {
        fs::remove_file(&draft)?;
        fs::remove_file(path)?;
    } else {
        fs::rename(&draft, path)?;
    }
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What a line of the queue is a letter of; none when it is half a line, or edited by hand.
fn id_of(line: &[u8]) -> Option<RecordId> {
    #[derive(Deserialize)]
    struct Head {
        id: RecordId,
    }
    serde_json::from_slice(line).ok().map(|Head { id }| id)
}

/// The ids of all letters in the queue, and of those that were purged: what is not to be queued again.
///
/// # Errors
/// [`ErrorKind::Io`] when the queue is there but cannot be read.
pub fn load_ids(dir: &Path) -> Result<HashSet<RecordId>> {
    let mut ids = purged_ids(dir)?;
    each_line(dir, &mut |line| ids.extend(id_of(line)))?;
    Ok(ids)
}

fn purged_ids(dir: &Path) -> Result<HashSet<RecordId>> {
    match fs::read_to_string(dir.join(PURGED)) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(error) => Err(error).during(
            ErrorKind::Io,
            format!("reading purged letters in {}", dir.display()),
        ),
    }
}

/// All letters in the queue, oldest date first.
///
/// # Errors
/// [`ErrorKind::Io`] when the queue is there but cannot be read.
pub fn list(dir: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    each_line(dir, &mut |line| {
        entries.extend(serde_json::from_slice::<Entry>(line));
    })?;
    Ok(entries)
}

/// The letter with this id, or the only one whose id begins so.
///
/// # Errors
/// [`ErrorKind::Format`] when no letter's id begins so, or several do; [`ErrorKind::Io`] as for [`list`].
pub fn show(dir: &Path, id: &str) -> Result<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    each_line(dir, &mut |line| {
        if let Ok(entry) = serde_json::from_slice::<Entry>(line)
            && entry.id.to_string().starts_with(id)
            && found.iter().all(|other| other.id != entry.id)
        {
            found.push(entry);
        }
    })?;
    match (found.pop(), found.len()) {
        (Some(entry), 0) => Ok(entry),
        (Some(_), others) => {
            let message = format!(
                "{} dead letters have an id that begins with `{id}`; give more of it",
                others + 1
            );
            Err(Error::new(ErrorKind::Format, message))
        }
        (None, _) => {
            let message = format!("no dead letter has an id that begins with `{id}`; see `cclake dlq list`");
            Err(Error::new(ErrorKind::Format, message))
        }
    }
}

fn each_line(dir: &Path, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
    let what = || format!("reading dead letters in {}", dir.display());
    for path in queue_files(dir).during(ErrorKind::Io, what())? {
        let mut lines = BufReader::new(File::open(path).during(ErrorKind::Io, what())?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).during(ErrorKind::Io, what())? > 0 {
            visit(&line);
            line.clear();
        }
    }
    Ok(())
}

fn queue_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let folders = match dir.read_dir() {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let files = folders.map(|folder| folder.map(|folder| folder.path().join(FILE_NAME)));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}
