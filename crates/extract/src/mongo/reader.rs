//! Cursors into parts: each reader takes one piece of work after the other, and opens a cursor that failed again.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use bson::{Bson, RawDocument, RawDocumentBuf, doc};
use mongodb::{Cursor, error::Error as DriverError};
use tokio::sync::mpsc::Sender;

use super::{
    connect::Source,
    document::{DocumentReader, Trace},
    extract::{Counts, PARTS_PER_CHUNK, Settings},
    id,
    marks::MarkTracker,
    plan::Work,
};
use crate::{
    batch::{BatchBuilder, ChangeOrder, Origin},
    dlq::DeadLetter,
    error::{Error, ErrorKind, Result},
    id::RecordId,
};

/// The kind of source, as rows and dead letters name it.
pub(crate) const SOURCE: &str = "mongodb";

/// Bytes of BSON per batch: small enough that no column's buffer grows far beyond what it holds.
pub(crate) const BATCH_BYTES: usize = 2 << 20;

/// Pauses before a cursor that failed is opened again; after the last the pass ends, and the next one goes on.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// After this long no more is tried: each try may take as long as looking for a server does.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// What all readers of a pass share.
pub(crate) struct Shared {
    pub(crate) work: Mutex<VecDeque<(usize, Work)>>,
    pub(crate) dead_ids: HashSet<RecordId>,
    pub(crate) order: ChangeOrder,
    pub(crate) settings: Settings,
}

/// Some documents of one piece of work.
pub(crate) struct Part {
    pub(crate) work: usize,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) counts: Counts,
    /// Bytes of its documents, and of what their rows hold once more: a line that was seen in many places is as many rows.
    pub(crate) held: u64,
    pub(crate) marks: MarkTracker,
    /// The last document's id.
    pub(crate) last: Option<Bson>,
    /// Whether the work is done with it.
    pub(crate) is_last: bool,
}

impl Part {
    fn new(work: usize) -> Self {
        Self {
            work,
            batches: Vec::new(),
            dead_letters: Vec::new(),
            counts: Counts::default(),
            held: 0,
            marks: MarkTracker::default(),
            last: None,
            is_last: false,
        }
    }
}

/// Reads one piece of work after the other.
pub(crate) struct Reader {
    collection: mongodb::Collection<RawDocumentBuf>,
    batch_size: u32,
    documents: DocumentReader,
    batch: BatchBuilder,
    /// Bytes of BSON in the batch.
    batch_bytes: usize,
    /// Documents so far.
    taken: u64,
    namespace: String,
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(source: &Source, shared: Arc<Shared>) -> Self {
        Self {
            collection: source.collection.clone(),
            batch_size: source.settings.batch_size,
            documents: DocumentReader::new(&source.namespace, shared.settings.synced_at_us),
            batch: BatchBuilder::new(BATCH_BYTES),
            batch_bytes: 0,
            taken: 0,
            namespace: source.namespace.clone(),
            shared,
        }
    }

    pub(crate) async fn run(mut self, parts: Sender<Result<Part, DriverError>>) {
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
        let (mut failures, mut first) = (0, Instant::now());
        let mut part = Part::new(number);
        loop {
            let before = self.taken;
            match self.read(&mut work, &mut part, parts).await {
                Ok(is_taken) => return Ok(is_taken),
                Err(error) => {
                    let is_kept = self.keep_what_holds(&mut work, &mut part);
                    if failures == 0 || (is_kept && self.taken > before) {
                        (failures, first) = (0, Instant::now());
                    }
                    let is_worth_it = is_passing(&error) && first.elapsed() < RETRY_FOR;
                    let Some(pause) = RETRY_PAUSES.get(failures).filter(|_| is_worth_it) else {
                        return Err(error);
                    };
                    failures += 1;
                    tokio::time::sleep(*pause).await;
                }
            }
        }
    }

    /// Prepares for another cursor after one has failed. Whether it goes on behind the last document, as in a range.
    fn keep_what_holds(&mut self, work: &mut Work, part: &mut Part) -> bool {
        match work {
            Work::Range(range) => {
                if let Some(last) = &part.last {
                    range.after = Some(last.clone());
                }
                true
            }
            Work::Increment(_) => {
                *part = Part::new(part.work);
                self.batch = BatchBuilder::new(BATCH_BYTES);
                self.batch_bytes = 0;
                false
            }
        }
    }

    async fn read(
        &mut self,
        work: &mut Work,
        part: &mut Part,
        parts: &Sender<Result<Part, DriverError>>,
    ) -> Result<bool, DriverError> {
        let mut cursor = self.open(work).await?;
        let limit = (self.shared.settings.chunk_bytes / PARTS_PER_CHUNK) as u64;
        while cursor.advance().await? {
            self.take(cursor.current(), part);
            if self.batch_bytes >= BATCH_BYTES {
                self.finish_batch(part)?;
            }
            if part.held >= limit {
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

    fn finish_batch(&mut self, part: &mut Part) -> Result<(), DriverError> {
        let next = if self.batch_bytes >= BATCH_BYTES {
            self.batch.another()
        } else {
            BatchBuilder::new(BATCH_BYTES)
        };
        let batch = std::mem::replace(&mut self.batch, next);
        self.batch_bytes = 0;
        let batch = batch_of(batch, &self.shared.settings, &self.namespace).map_err(DriverError::custom)?;
        part.batches.extend(batch);
        Ok(())
    }

    fn take(&mut self, document: &RawDocument, part: &mut Part) {
        self.batch_bytes += document.as_bytes().len();
        self.taken += 1;
        part.counts.documents += 1;
        part.counts.bytes += document.as_bytes().len() as u64;
        part.held += document.as_bytes().len() as u64;
        let trace = Trace::of(document);
        part.marks.see(&trace);
        let read = self
            .documents
            .read(&trace, Some(self.shared.order), &mut self.batch);
        match read {
            Ok(row) => {
                part.counts.rows += 1;
                part.counts.unexpected += u64::from(!row.as_expected);
                self.batch_bytes += row.copied_bytes;
                part.held += row.copied_bytes as u64;
            }
            Err(reason) => {
                let letter = dead_letter(&self.namespace, document, reason, Some(self.shared.order));
                part.counts
                    .bury(letter, &self.shared.dead_ids, &mut part.dead_letters);
            }
        }
        if let Some(Ok(id)) = trace.id.map(Bson::try_from) {
            part.last = Some(id);
        }
    }
}

/// A document that is no row, with its bytes.
pub(crate) fn dead_letter(
    namespace: &str,
    document: &RawDocument,
    reason: String,
    order: Option<ChangeOrder>,
) -> DeadLetter {
    let id = document.get("_id").ok().flatten();
    let id = id.and_then(|id| id::text(id).ok()).unwrap_or_default();
    let place = format!("{namespace}/{id}");
    DeadLetter {
        order,
        ..DeadLetter::new(SOURCE, &place, 0, reason, document.as_bytes())
    }
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

/// Server codes of a server that is going away or a primary that steps down, of a cursor that was killed, and of a server
/// that has too much to do (16500 is Cosmos DB's).
const PASSING_CODES: [i32; 21] = [
    6, 7, 24, 50, 63, 82, 89, 91, 112, 133, 150, 189, 202, 234, 237, 262, 9001, 10107, 11600, 11602, 16500,
];

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
