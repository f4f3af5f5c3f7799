//! What to read of which file, decided before anything is read.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    path::Path,
};

use blake3::Hasher;

use crate::{
    id::RecordId,
    jsonl::files::SourceFile,
    jsonl::positions::{FilePosition, Positions},
};

/// Large enough for BLAKE3 to use its widest instructions, small enough for the cache.
const HASH_BYTES: usize = 1 << 18;

/// What to do with every file, in the order they will be read.
#[derive(Debug, Default)]
pub struct Plan {
    /// All files, the unchanged ones too.
    pub files: Vec<PlannedFile>,
    /// Files that could not be looked into; their positions stay.
    pub warnings: Vec<String>,
    /// Whether the lake may hold lines of any file, until this plan is done.
    pub(crate) recovering: bool,
}

/// A file and what to do with it.
#[derive(Debug)]
pub struct PlannedFile {
    /// The file.
    pub file: SourceFile,
    /// [`SourceFile::name`].
    pub name: String,
    /// What to read.
    pub action: ReadPlan,
    /// The name under which its lines were read before, when it was renamed.
    pub renamed_from: Option<String>,
}

/// How much of a file to read.
#[derive(Debug)]
pub enum ReadPlan {
    /// It looks as it did when its last line was loaded.
    Unchanged(FilePosition),
    /// What was read of it is intact; read on from there.
    Resume(Resume),
    /// Never seen.
    Fresh,
    /// Truncated, rewritten, or its position cannot be trusted: read it all, against what the lake holds of it.
    Reread,
}

/// Where to read on, with the hash of all that lies before.
#[derive(Debug)]
pub struct Resume {
    pub(crate) position: FilePosition,
    pub(crate) prefix: Box<Hasher>,
}

impl Resume {
    /// The byte to read on from.
    pub fn offset(&self) -> u64 {
        self.position.offset
    }
}

impl Plan {
    /// The files for which [`extract`](crate::extract()) must be told what the lake holds of them.
    pub fn rereads(&self) -> impl Iterator<Item = &str> {
        let rereads = self
            .files
            .iter()
            .filter(|file| matches!(file.action, ReadPlan::Reread));
        rereads.map(|file| file.name.as_str())
    }

    /// Whether there is nothing to read and no position to move.
    pub fn is_empty(&self) -> bool {
        let idle = |file: &PlannedFile| matches!(file.action, ReadPlan::Unchanged(_));
        !self.recovering
            && self
                .files
                .iter()
                .all(|file| idle(file) && file.renamed_from.is_none())
    }
}

/// Decides what to read. `lake_head` is the lake commit that positions must be stamped with to be trusted: after
/// a crash between commit and save they are not, and every file is read against the lake. The positions remember
/// which files still have to be, should that be interrupted too.
///
/// Hashes what was read of each changed file, to see whether it is still there: a rewrite of equal length shows
/// in nothing else.
pub fn plan(files: Vec<SourceFile>, positions: &mut Positions, lake_head: Option<&str>) -> Plan {
    if positions.stamp.as_deref() != lake_head {
        positions.distrust();
    }
    let mut vanished = vanished(&files, positions);
    let mut plan = Plan {
        recovering: positions.is_recovering(),
        ..Plan::default()
    };
    for file in files {
        let name = file.name();
        match decide(&file, &name, positions, &mut vanished) {
            Ok((action, renamed_from)) => {
                plan.files.push(PlannedFile {
                    file,
                    name,
                    action,
                    renamed_from,
                });
            }
            Err(error) => plan.warnings.push(format!("{name} was not read: {error}")),
        }
    }
    plan
}

/// Positions whose file is gone, by device and inode: a new file may be one of them.
type Vanished = HashMap<(u64, u64), Vec<(String, FilePosition)>>;

fn vanished(files: &[SourceFile], positions: &Positions) -> Vanished {
    let found: HashSet<_> = files.iter().map(SourceFile::name).collect();
    if found.iter().all(|name| positions.get(name).is_some()) {
        return Vanished::new();
    }
    let gone = |name: &str| !found.contains(name) && !Path::new(name).exists();
    let mut vanished = Vanished::new();
    for (name, position) in positions
        .iter()
        .filter(|(name, position)| !position.doubtful && gone(name))
    {
        let same_inode = vanished.entry((position.dev, position.inode)).or_default();
        same_inode.push((name.to_owned(), position.clone()));
    }
    vanished
}

fn decide(
    file: &SourceFile,
    name: &str,
    positions: &Positions,
    vanished: &mut Vanished,
) -> io::Result<(ReadPlan, Option<String>)> {
    if let Some(position) = positions.get(name) {
        return Ok((read_on(file, position)?.unwrap_or(ReadPlan::Reread), None));
    }
    if let Some((old_name, action)) = renamed(file, vanished)? {
        return Ok((action, Some(old_name)));
    }
    let unheard = !positions.is_recovering() && !positions.has_left(name);
    Ok((
        if unheard {
            ReadPlan::Fresh
        } else {
            ReadPlan::Reread
        },
        None,
    ))
}

/// The name the file had before, and how to go on.
fn renamed(file: &SourceFile, vanished: &mut Vanished) -> io::Result<Option<(String, ReadPlan)>> {
    let Some(candidates) = vanished.get_mut(&(file.dev, file.inode)) else {
        return Ok(None);
    };
    for index in 0..candidates.len() {
        let (_, position) = &candidates[index];
        // Inodes are used again: without a single line to compare, only an equal look tells a rename.
        if position.offset == 0 && !position.looks_like(file) {
            continue;
        }
        if let Some(action) = read_on(file, position)? {
            return Ok(Some((candidates.swap_remove(index).0, action)));
        }
    }
    Ok(None)
}

/// How to go on from a position; none when what was read is no longer there.
fn read_on(file: &SourceFile, position: &FilePosition) -> io::Result<Option<ReadPlan>> {
    if position.doubtful {
        return Ok(None);
    }
    if position.looks_like(file) && !position.pending {
        return Ok(Some(ReadPlan::Unchanged(position.clone())));
    }
    if position.lake_has_more || file.size < position.size {
        return Ok(None);
    }
    let mut source = File::open(&file.path)?;
    let prefix = hash(&mut source, position.offset)?;
    let mut intact = prefix.finalize().to_hex().as_str() == position.prefix_hash;
    if let Some(tail) = position.tail {
        intact = intact && RecordId::cut(&hash(&mut source, tail.length)?.finalize()) == tail.id;
    }
    Ok(intact.then(|| {
        ReadPlan::Resume(Resume {
            position: position.clone(),
            prefix: Box::new(prefix),
        })
    }))
}

fn hash(source: &mut File, length: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new();
    let mut bytes = source.take(length);
    let mut buffer = vec![0; usize::try_from(length).map_or(HASH_BYTES, |length| length.min(HASH_BYTES))];
    loop {
        let count = bytes.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher);
        }
        hasher.update(&buffer[..count]);
    }
}
