//! A pass over the collection: ranges of `_id` read beside each other, or what is above the marks; handed over in
//! chunks, each with the position that holds once it is committed.
//!
//! Memory is bounded by bytes: each reader holds one part, and one waits while another is committed.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arrow_array::RecordBatch;
use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::{Cursor, error::Error as DriverError};
use tokio::sync::mpsc::{Sender, channel};

use super::{
    connect::{ServerTime, Source},
    document::DocumentReader,
    id,
    marks::{self, MarkTracker},
    position::{Backfill, Mark, Position},
    ranges::{self, BRACKETS, Range},
};
use crate::{
    batch::{BatchBuilder, ChangeOrder, Origin},
    dlq::DeadLetter,
    error::{Error, ErrorKind, Result},
    id::RecordId,
};

/// The kind of source, as rows and dead letters name it.
pub(crate) const SOURCE: &str = "mongodb";

/// Ids drawn per range, so that ranges are about equally large.
const SAMPLE_PER_RANGE: usize = 20;

/// Bytes of BSON per batch: small enough that no column's buffer grows far beyond what it holds.
const BATCH_BYTES: usize = 2 << 20;

/// Ranges at most: the position names each of them.
const MOST_RANGES: u64 = 256;

/// Pauses before a cursor that failed is opened again; after the last the pass ends, and the next one goes on.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// What every row says of its run, and how much to do at once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of the run.
    pub run_id: String,
    /// The run's time, microseconds since 1970 UTC.
    pub synced_at_us: i64,
    /// Readers beside each other.
    pub threads: usize,
    /// Bytes of BSON after which a chunk is handed over.
    pub chunk_bytes: usize,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// All of it the first time, later what is new.
    Increment {
        /// Whether the first time is all of it, or only what comes from then on.
        history: bool,
    },
    /// All of it again.
    Full,
}

/// What became of the documents read. `documents = rows + dead_lettered + already_there`, always.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Documents or events read.
    pub documents: u64,
    /// Rows for the lake.
    pub rows: u64,
    /// Rows among them that say that a document is gone.
    pub deletions: u64,
    /// Rows with a member that no column could take.
    pub unexpected: u64,
    /// Documents for the dead letter queue.
    pub dead_lettered: u64,
    /// Documents that lie in the dead letter queue already.
    pub already_there: u64,
    /// Bytes of BSON.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.rows += other.rows;
        self.deletions += other.deletions;
        self.unexpected += other.unexpected;
        self.dead_lettered += other.dead_lettered;
        self.already_there += other.already_there;
        self.bytes += other.bytes;
    }
}

/// What is to be committed at once.
#[derive(Debug)]
pub struct Chunk {
    /// Rows; there may be none.
    pub batches: Vec<RecordBatch>,
    /// Documents that are no rows.
    pub dead_letters: Vec<DeadLetter>,
    /// What became of the chunk's documents.
    pub counts: Counts,
    /// Holds once the rows are committed.
    pub position: Position,
}

/// The sum of a pass.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Extraction {
    /// Of all chunks.
    pub counts: Counts,
    /// Whether the whole collection was read, or what was left of it.
    pub is_full: bool,
    /// Things a person should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Reads what `pass` says from `position` on and hands it over chunk by chunk.
///
/// # Errors
/// The first error of `on_chunk`, after which nothing more is read; or [`ErrorKind::Source`]. What was committed stays,
/// and the next pass goes on there.
#[expect(clippy::implicit_hasher, reason = "one hasher is enough")]
pub fn extract<E: From<Error>>(
    source: &Source,
    position: Option<Position>,
    pass: Pass,
    dead_ids: &HashSet<RecordId>,
    settings: &Settings,
    on_chunk: &mut dyn FnMut(Chunk) -> Result<(), E>,
) -> Result<Extraction, E> {
    let mut plan = source
        .runtime
        .block_on(plan(source, position, pass, settings))
        .map_err(|error| source.failure(&error))?;
    let mut extraction = Extraction {
        is_full: plan.position.backfill.is_some(),
        warnings: std::mem::take(&mut plan.warnings),
        ..Extraction::default()
    };
    let shared = Arc::new(Shared {
        work: Mutex::new(plan.work.drain(..).enumerate().collect()),
        dead_ids: dead_ids.clone(),
        order: plan.order,
        settings: settings.clone(),
    });
    let mut ledger = Ledger::of(plan);
    // Of one: the next part waits, whole, while this one is committed.
    let (parts, mut taken) = channel(1);
    for _ in 0..settings.threads.max(1) {
        let reader = Reader::new(source, Arc::clone(&shared));
        source.runtime.spawn(reader.run(parts.clone()));
    }
    drop(parts);
    while let Some(part) = taken.blocking_recv() {
        let part = part.map_err(|error| source.failure(&error))?;
        let counts = part.counts;
        if let Some(chunk) = ledger.enter(part) {
            extraction.counts += counts;
            on_chunk(chunk)?;
        }
    }
    if let Some(last) = ledger.close() {
        on_chunk(last)?;
    }
    Ok(extraction)
}

/// What a pass is going to do.
struct Plan {
    position: Position,
    time: ServerTime,
    order: ChangeOrder,
    work: Vec<Work>,
    warnings: Vec<String>,
}

/// What one cursor reads.
#[derive(Debug, Clone)]
enum Work {
    /// Ids in their order; goes on behind the last one after a failure.
    Range(Box<Range>),
    /// In whatever order; begins anew after a failure.
    Increment(Document),
}

impl Work {
    fn filter(&self) -> Document {
        match self {
            Self::Range(range) => range.filter(),
            Self::Increment(filter) => filter.clone(),
        }
    }
}

async fn plan(
    source: &Source,
    position: Option<Position>,
    pass: Pass,
    settings: &Settings,
) -> Result<Plan, DriverError> {
    let uuid = source.uuid().await;
    let time = source.time().await?;
    let mut warnings = Vec::new();
    let mut position = match position {
        Some(position) if position.collection == uuid || uuid.is_none() => position,
        Some(_) => {
            warnings.push(format!(
                "{} is another collection than last time (dropped and made anew, or another server): reading all of it",
                source.namespace
            ));
            Position::new(uuid)
        }
        None => Position::new(uuid),
    };
    let is_first = !position.is_complete && position.backfill.is_none();
    if pass == (Pass::Increment { history: false }) && is_first {
        position.is_complete = true;
        position.marks = marks::from_now_on(time.clock);
    } else if pass == Pass::Full || is_first {
        position.backfill = Some(Backfill {
            order: Some(time.order.into()),
            began: time.clock,
            ranges: cut(source, settings).await?,
            marks: Vec::new(),
        });
    }
    let (order, work) = if let Some(backfill) = &position.backfill {
        (
            backfill.order.map_or(time.order, ChangeOrder::from),
            backfill
                .ranges
                .iter()
                .cloned()
                .map(|range| Work::Range(Box::new(range)))
                .collect(),
        )
    } else {
        let settled = settled(source, &position.marks).await?;
        let filter = marks::filter(&position.marks, &settled);
        (time.order, vec![Work::Increment(filter)])
    };
    Ok(Plan {
        position,
        time,
        order,
        work,
        warnings,
    })
}

/// Whether the documents at each mark's value are those that were there when it was set.
async fn settled(source: &Source, marks: &[Mark]) -> Result<Vec<bool>, DriverError> {
    let mut settled = Vec::with_capacity(marks.len());
    for mark in marks {
        let mut cursor = source
            .collection
            .find(marks::ties_filter(mark))
            .projection(doc! {"_id": 1})
            .await?;
        let (mut ties, mut hash) = (0_i64, 0_i64);
        while cursor.advance().await? {
            ties += 1;
            if let Ok(Some(id)) = cursor.current().get("_id") {
                hash = hash.wrapping_add(marks::tie_hash(id));
            }
        }
        settled.push((ties, hash) == (mark.ties, mark.tie_hash));
    }
    Ok(settled)
}

/// The collection in ranges of about a chunk each.
async fn cut(source: &Source, settings: &Settings) -> Result<Vec<Range>, DriverError> {
    let mut ranges = Vec::new();
    let (bytes, _) = source.size().await;
    let wanted = (bytes / settings.chunk_bytes.max(1) as u64 + 1).min(MOST_RANGES);
    let wanted = usize::try_from(wanted).unwrap_or(1);
    let brackets = brackets(source).await?;
    let mut samples = sample(source, wanted, &brackets).await?;
    for bracket in brackets {
        let ids = std::mem::take(&mut samples[bracket]);
        // As many as its part of the sample lets expect.
        let parts = (ids.len() / SAMPLE_PER_RANGE).max(1);
        ranges.extend(ranges::cut(bracket, &ids, parts));
    }
    Ok(ranges)
}

/// The types that ids have.
async fn brackets(source: &Source) -> Result<Vec<usize>, DriverError> {
    let end = async |direction: i32| {
        let first = source
            .collection
            .find_one(doc! {})
            .projection(doc! {"_id": 1})
            .sort(doc! {"_id": direction})
            .await?;
        let id = first.and_then(|document| Bson::try_from(document.get("_id").ok()??).ok());
        Ok::<_, DriverError>(id.as_ref().map(marks::bracket_of))
    };
    let (Some(least), Some(most)) = (end(1).await?, end(-1).await?) else {
        return Ok(Vec::new());
    };
    if least == most {
        return Ok(vec![least]);
    }
    let mut brackets = Vec::new();
    for (bracket, types) in BRACKETS.iter().enumerate().take(most + 1).skip(least) {
        let filter = doc! {"_id": {"$type": *types}};
        let one = source
            .collection
            .find_one(filter)
            .projection(doc! {"_id": 1})
            .await?;
        if one.is_some() {
            brackets.push(bracket);
        }
    }
    Ok(brackets)
}

/// Some ids, drawn at random, by type and in their order.
async fn sample(source: &Source, ranges: usize, brackets: &[usize]) -> Result<Vec<Vec<Bson>>, DriverError> {
    let mut samples = vec![Vec::new(); BRACKETS.len()];
    if ranges < 2 || brackets.is_empty() {
        return Ok(samples);
    }
    let size = i64::try_from(ranges * SAMPLE_PER_RANGE).unwrap_or(i64::MAX);
    let pipeline = [
        doc! {"$sample": {"size": size}},
        doc! {"$project": {"_id": 1}},
        doc! {"$sort": {"_id": 1}},
    ];
    let mut cursor = source
        .collection
        .aggregate(pipeline)
        .with_type::<RawDocumentBuf>()
        .await?;
    while cursor.advance().await? {
        let id = cursor.current().get("_id").ok().flatten();
        if let Some(Ok(id)) = id.map(Bson::try_from) {
            samples[marks::bracket_of(&id)].push(id);
        }
    }
    Ok(samples)
}

/// What all readers of a pass share.
struct Shared {
    work: Mutex<VecDeque<(usize, Work)>>,
    dead_ids: HashSet<RecordId>,
    order: ChangeOrder,
    settings: Settings,
}

/// Some documents of one piece of work.
struct Part {
    work: usize,
    batches: Vec<RecordBatch>,
    dead_letters: Vec<DeadLetter>,
    counts: Counts,
    marks: MarkTracker,
    /// The last document's id.
    last: Option<Bson>,
    /// Whether the work is done with it.
    is_last: bool,
}

impl Part {
    fn new(work: usize) -> Self {
        Self {
            work,
            batches: Vec::new(),
            dead_letters: Vec::new(),
            counts: Counts::default(),
            marks: MarkTracker::default(),
            last: None,
            is_last: false,
        }
    }
}

/// Reads one piece of work after the other.
struct Reader {
    collection: mongodb::Collection<RawDocumentBuf>,
    batch_size: u32,
    documents: DocumentReader,
    batch: BatchBuilder,
    /// Bytes of BSON in the batch.
    batch_bytes: usize,
    namespace: String,
    shared: Arc<Shared>,
}

impl Reader {
    fn new(source: &Source, shared: Arc<Shared>) -> Self {
        Self {
            collection: source.collection.clone(),
            batch_size: source.settings.batch_size,
            documents: DocumentReader::new(&source.namespace, shared.settings.synced_at_us),
            batch: BatchBuilder::new(BATCH_BYTES),
            batch_bytes: 0,
            namespace: source.namespace.clone(),
            shared,
        }
    }

    async fn run(mut self, parts: Sender<Result<Part, DriverError>>) {
        loop {
            let next = {
                let mut work = self.shared.work.lock().unwrap_or_else(PoisonError::into_inner);
                work.pop_front()
            };
            let Some((number, work)) = next else {
                return;
            };
            match self.read_through(number, work, &parts).await {
                Ok(true) => {}
                // Nobody takes parts any more: a commit failed, and says so.
                Ok(false) => return,
                Err(error) => {
                    let _ = parts.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Whether it was read to its end; false when nobody takes the parts.
    async fn read_through(
        &mut self,
        number: usize,
        mut work: Work,
        parts: &Sender<Result<Part, DriverError>>,
    ) -> Result<bool, DriverError> {
        let mut failures = 0;
        loop {
            let mut part = Part::new(number);
            self.restart_batch();
            let mut progress = false;
            match self.read(&mut work, &mut part, &mut progress, parts).await {
                Ok(is_taken) => return Ok(is_taken),
                Err(error) => {
                    if progress {
                        failures = 0;
                    }
                    let Some(pause) = RETRY_PAUSES.get(failures).filter(|_| is_passing(&error)) else {
                        return Err(error);
                    };
                    failures += 1;
                    tokio::time::sleep(*pause).await;
                }
            }
        }
    }

    async fn read(
        &mut self,
        work: &mut Work,
        part: &mut Part,
        progress: &mut bool,
        parts: &Sender<Result<Part, DriverError>>,
    ) -> Result<bool, DriverError> {
        let mut cursor = self.open(work).await?;
        let limit = self.shared.settings.chunk_bytes as u64;
        while cursor.advance().await? {
            self.take(cursor.current(), part);
            *progress = true;
            if self.batch_bytes >= BATCH_BYTES {
                self.finish_batch(part)?;
            }
            if part.counts.bytes >= limit {
                self.finish_batch(part)?;
                let full = std::mem::replace(part, Part::new(part.work));
                if let (Work::Range(range), Some(last)) = (&mut *work, &full.last) {
                    range.after = Some(last.clone());
                }
                if parts.send(Ok(full)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        self.finish_batch(part)?;
        let mut last = std::mem::replace(part, Part::new(part.work));
        last.is_last = true;
        Ok(parts.send(Ok(last)).await.is_ok())
    }

    async fn open(&self, work: &Work) -> Result<Cursor<RawDocumentBuf>, DriverError> {
        let find = self.collection.find(work.filter()).batch_size(self.batch_size);
        match work {
            Work::Range(_) => find.sort(doc! {"_id": 1}).await,
            Work::Increment(_) => find.await,
        }
    }

    /// Throws away what a failed cursor brought.
    fn restart_batch(&mut self) {
        if self.batch_bytes > 0 {
            self.batch = BatchBuilder::new(BATCH_BYTES);
            self.batch_bytes = 0;
        }
    }

    fn finish_batch(&mut self, part: &mut Part) -> Result<(), DriverError> {
        let batch = std::mem::replace(&mut self.batch, BatchBuilder::new(BATCH_BYTES));
        self.batch_bytes = 0;
        let batch = batch_of(batch, &self.shared.settings, &self.namespace).map_err(DriverError::custom)?;
        part.batches.extend(batch);
        Ok(())
    }

    fn take(&mut self, document: &RawDocument, part: &mut Part) {
        self.batch_bytes += document.as_bytes().len();
        part.counts.documents += 1;
        part.counts.bytes += document.as_bytes().len() as u64;
        part.marks.see(document);
        let read = self
            .documents
            .read(document, Some(self.shared.order), &mut self.batch);
        match read {
            Ok(row) => {
                part.counts.rows += 1;
                part.counts.unexpected += u64::from(!row.as_expected);
            }
            Err(reason) => {
                let letter = dead_letter(&self.namespace, document, reason);
                if self.shared.dead_ids.contains(&letter.id) {
                    part.counts.already_there += 1;
                } else {
                    part.counts.dead_lettered += 1;
                    part.dead_letters.push(letter);
                }
            }
        }
        if let Ok(Some(id)) = document.get("_id") {
            part.last = Bson::try_from(id).ok();
        }
    }
}

/// A document that is no row, with its bytes.
pub(crate) fn dead_letter(namespace: &str, document: &RawDocument, reason: String) -> DeadLetter {
    let id = document.get("_id").ok().flatten();
    let id = id.and_then(|id| id::text(id).ok()).unwrap_or_default();
    DeadLetter::new(
        SOURCE,
        &format!("{namespace}/{id}"),
        0,
        reason,
        document.as_bytes(),
    )
}

/// Whether trying again may help.
pub(crate) fn is_passing(error: &DriverError) -> bool {
    use mongodb::error::ErrorKind as Kind;
    const CURSOR_NOT_FOUND: i32 = 43;
    match &*error.kind {
        Kind::Io(_) | Kind::ServerSelection { .. } | Kind::ConnectionPoolCleared { .. } => true,
        Kind::Command(command) => {
            command.code == CURSOR_NOT_FOUND
                || error.contains_label("RetryableWriteError")
                || error.contains_label("ResumableChangeStreamError")
                || PASSING_CODES.contains(&command.code)
        }
        _ => error.contains_label("ResumableChangeStreamError"),
    }
}

/// Whether a server that says so of one write says it of itself, not of the document.
pub(crate) fn is_passing_code(code: i32) -> bool {
    PASSING_CODES.contains(&code)
}

/// Server codes of a server that is going away or a primary that steps down, and of a cursor that was killed.
const PASSING_CODES: [i32; 14] = [
    6, 7, 63, 89, 91, 133, 150, 189, 234, 237, 262, 10107, 11600, 11602,
];

/// Keeps what is left of a pass while parts of it come in.
struct Ledger {
    position: Position,
    time: ServerTime,
    /// Of a backfill, by number of work; none when done.
    ranges: Vec<Option<Range>>,
    /// What the increment's documents say, to become marks at its end.
    seen: MarkTracker,
    /// Whether the position has changed since it was handed over.
    is_dirty: bool,
}

impl Ledger {
    fn of(plan: Plan) -> Self {
        let backfill = plan.position.backfill.as_ref();
        let ranges = backfill.map_or_else(Vec::new, |backfill| {
            backfill.ranges.iter().cloned().map(Some).collect()
        });
        let seen = backfill.map_or_else(MarkTracker::default, |backfill| MarkTracker::of(&backfill.marks));
        Self {
            position: plan.position,
            time: plan.time,
            ranges,
            seen,
            is_dirty: true,
        }
    }

    /// The chunk that a part becomes; none if there is nothing to commit with it.
    fn enter(&mut self, part: Part) -> Option<Chunk> {
        self.seen.merge(part.marks);
        if let Some(range) = self.ranges.get_mut(part.work) {
            match range {
                Some(_) if part.is_last => *range = None,
                Some(range) => range.after = part.last,
                None => {}
            }
        }
        if let Some(backfill) = &mut self.position.backfill {
            backfill.ranges = self.ranges.iter().flatten().cloned().collect();
            backfill.marks = self.seen.marks();
        }
        self.is_dirty = true;
        if part.counts.documents == 0 {
            return None;
        }
        self.is_dirty = false;
        Some(Chunk {
            batches: part.batches,
            dead_letters: part.dead_letters,
            counts: part.counts,
            position: self.position.clone(),
        })
    }

    /// The pass is at its end: its marks hold.
    fn close(mut self) -> Option<Chunk> {
        let before = self.position.clone();
        if let Some(backfill) = self.position.backfill.take() {
            self.position.marks = marks::capped(self.seen.marks(), backfill.began);
            self.position.is_complete = true;
        } else {
            // Settled documents were not read again, so the old marks stay where nothing passed them.
            let mut marks = MarkTracker::of(&self.position.marks);
            marks.pass(self.seen);
            self.position.marks = marks::capped(marks.marks(), self.time.clock);
        }
        (self.is_dirty || self.position != before).then(|| Chunk {
            batches: Vec::new(),
            dead_letters: Vec::new(),
            counts: Counts::default(),
            position: self.position,
        })
    }
}

/// The part's rows as a batch; none if there are none.
pub(crate) fn batch_of(
    batch: BatchBuilder,
    settings: &Settings,
    namespace: &str,
) -> Result<Option<RecordBatch>> {
    if batch.rows() == 0 {
        return Ok(None);
    }
    let origin = Origin {
        source: SOURCE,
        collection: Some(namespace),
        run_id: &settings.run_id,
    };
    let batch = batch
        .finish(origin)
        .map_err(|error| Error::new(ErrorKind::Format, format!("building a batch: {error}")))?;
    Ok(Some(batch))
}
