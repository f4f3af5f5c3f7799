//! Change events as rows, gathered until they are worth a commit.

use std::collections::HashSet;

use bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, Timestamp};

use super::{
    connect::change_order,
    document::{DocumentReader, Trace},
    extract::{Chunk, Settings},
    position::{Position, StreamPosition},
    reader::{BATCH_BYTES, batch_of, dead_letter},
};
use crate::{
    batch::{BatchBuilder, ChangeOrder},
    error::Result,
    id::RecordId,
};

/// What an event does to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It goes on.
    Continue,
    /// The collection was dropped, renamed or replaced: the stream ends with this event.
    End,
}

/// Changes that are not in the lake yet.
pub(crate) struct Buffer<'a> {
    settings: &'a Settings,
    /// Letters that are queued already: events come again when a commit behind them failed.
    dead_ids: &'a HashSet<RecordId>,
    namespace: String,
    documents: DocumentReader,
    batch: BatchBuilder,
    batch_bytes: usize,
    /// Bytes of the events since the last commit, and of what their rows hold once more.
    held: u64,
    chunk: Chunk,
    /// The newest token, until it becomes part of the position.
    token: Option<RawDocumentBuf>,
    /// Order of the last event, which the next one of its transaction follows.
    last: Option<ChangeOrder>,
    fragments: Fragments,
}

impl<'a> Buffer<'a> {
    /// Goes on from `position`.
    pub(crate) fn new(
        settings: &'a Settings,
        dead_ids: &'a HashSet<RecordId>,
        namespace: &str,
        position: Position,
    ) -> Self {
        let stream = position.stream.as_ref();
        Self {
            settings,
            dead_ids,
            namespace: namespace.to_owned(),
            documents: DocumentReader::new(namespace, settings.synced_at_us),
            batch: BatchBuilder::new(0),
            batch_bytes: 0,
            held: 0,
            last: stream.and_then(|stream| stream.order),
            chunk: Chunk::empty(position),
            token: None,
            fragments: Fragments::default(),
        }
    }

    /// Bytes of the events in it, and of what their rows hold once more.
    pub(crate) fn bytes(&self) -> u64 {
        self.held
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunk.counts.documents == 0
    }

    /// Whether fragments of an event are missing.
    pub(crate) fn is_amid_an_event(&self) -> bool {
        self.fragments.pending.is_some()
    }

    /// Whether it is further than the last position that was asked for.
    pub(crate) fn has_moved(&self) -> bool {
        self.token.is_some()
    }

    /// The position behind the events in it.
    pub(crate) fn position(&mut self) -> &mut Position {
        if let Some(token) = self.token.take()
            && let Ok(token) = Document::try_from(&*token)
        {
            let before = self.chunk.position.stream.as_ref();
            self.chunk.position.stream = Some(StreamPosition {
                token,
                order: self.last,
                epoch: self.chunk.position.epoch,
                is_caught_up: before.is_some_and(|before| before.is_caught_up),
            });
        }
        &mut self.chunk.position
    }

    /// Takes an event in.
    pub(crate) fn take(&mut self, event: RawDocumentBuf) -> Result<Effect> {
        let Some(event) = self.fragments.join(event) else {
            return Ok(Effect::Continue);
        };
        self.documents.set_now(bson::DateTime::now());
        self.chunk.counts.documents += 1;
        self.chunk.counts.bytes += event.as_bytes().len() as u64;
        self.count(event.as_bytes().len());
        let before = self.last;
        let effect = match self.read(&event) {
            Ok(effect) => effect,
            Err(reason) => {
                let document = event.get_document("fullDocument").unwrap_or(&event);
                let letter = dead_letter(
                    &self.namespace,
                    document,
                    reason,
                    self.last.filter(|_| self.last != before),
                );
                self.chunk
                    .counts
                    .bury(letter, self.dead_ids, &mut self.chunk.dead_letters);
                Effect::Continue
            }
        };
        if let Ok(Some(RawBsonRef::Document(token))) = event.get("_id") {
            self.move_to(token);
        }
        if self.batch_bytes >= BATCH_BYTES {
            self.finish_batch()?;
        }
        Ok(effect)
    }

    fn count(&mut self, bytes: usize) {
        self.batch_bytes += bytes;
        self.held += bytes as u64;
    }

    /// Everything up to this token is in the buffer or in the lake.
    pub(crate) fn move_to(&mut self, token: &RawDocument) {
        self.token = Some(token.to_owned());
    }

    /// What is to be committed; the buffer is empty then.
    pub(crate) fn drain(&mut self) -> Result<Chunk> {
        self.finish_batch()?;
        self.held = 0;
        let empty = Chunk::empty(self.position().clone());
        Ok(std::mem::replace(&mut self.chunk, empty))
    }

    fn finish_batch(&mut self) -> Result<()> {
        // A full batch is followed by others; those of a quiet collection are small, and room is made as it is needed.
        let next = if self.batch_bytes >= BATCH_BYTES {
            self.batch.another()
        } else {
            BatchBuilder::new(0)
        };
        let batch = std::mem::replace(&mut self.batch, next);
        self.batch_bytes = 0;
        self.chunk
            .batches
            .extend(batch_of(batch, self.settings, &self.namespace)?);
        Ok(())
    }

    fn read(&mut self, event: &RawDocument) -> Result<Effect, String> {
        let text = |key: &str| event.get_str(key).map_err(|error| error.to_string());
        match text("operationType")? {
            "insert" | "update" | "replace" => self.read_content(event)?,
            "delete" => self.read_deletion(event)?,
            "invalidate" => {
                self.skip();
                return Ok(Effect::End);
            }
            // A drop or rename, which ends in `invalidate`; and what concerns indexes and the like.
            _ => self.skip(),
        }
        Ok(Effect::Continue)
    }

    fn skip(&mut self) {
        self.chunk.counts.skipped += 1;
    }

    fn read_content(&mut self, event: &RawDocument) -> Result<(), String> {
        let order = self.order(event)?;
        let Some(document) = event.get("fullDocument").map_err(|error| error.to_string())? else {
            self.skip();
            return Ok(());
        };
        let Some(document) = document.as_document() else {
            // Null: the document was deleted before the server looked it up, and that event is on its way.
            self.skip();
            return Ok(());
        };
        let row = self
            .documents
            .read(&Trace::of(document), Some(order), &mut self.batch)?;
        self.chunk.counts.rows += 1;
        self.chunk.counts.unexpected += u64::from(!row.as_expected);
        self.count(row.copied_bytes);
        Ok(())
    }

    fn read_deletion(&mut self, event: &RawDocument) -> Result<(), String> {
        let order = self.order(event)?;
        let key = event
            .get_document("documentKey")
            .map_err(|error| error.to_string())?;
        let wall = event.get_datetime("wallTime").ok();
        let at = wall
            .and_then(|wall| wall.timestamp_millis().checked_mul(1000))
            .filter(|at| crate::timestamp::is_readable(*at))
            .unwrap_or(order.cluster_ts);
        self.documents.read_deletion(key, order, at, &mut self.batch)?;
        self.chunk.counts.rows += 1;
        self.chunk.counts.deletions += 1;
        Ok(())
    }

    /// The events of a transaction share their time; they are numbered as they come.
    fn order(&mut self, event: &RawDocument) -> Result<ChangeOrder, String> {
        let time = event
            .get_timestamp("clusterTime")
            .map_err(|error| error.to_string())?;
        let first = change_order(time, 0);
        let order = match self.last {
            Some(last) if last.cluster_ts == first.cluster_ts && is_of(last, time) => ChangeOrder {
                sequence: last.sequence + 1,
                ..last
            },
            _ => change_order(time, 1),
        };
        self.last = Some(order);
        Ok(order)
    }
}

fn is_of(order: ChangeOrder, time: Timestamp) -> bool {
    let (first, next) = (change_order(time, 0), change_order(time, u32::MAX >> 8));
    (first.sequence..=next.sequence).contains(&order.sequence)
}

/// Joins the fragments into which `$changeStreamSplitLargeEvent` cuts an event over 16 MB.
#[derive(Default)]
struct Fragments {
    pending: Option<RawDocumentBuf>,
}

impl Fragments {
    /// The whole event; none while fragments are missing.
    fn join(&mut self, event: RawDocumentBuf) -> Option<RawDocumentBuf> {
        let split = event.get("splitEvent").ok().flatten();
        let split = split.and_then(RawBsonRef::as_document);
        let number = |key: &str| {
            let split = split?;
            match split.get(key).ok()?? {
                RawBsonRef::Int32(number) => Some(i64::from(number)),
                RawBsonRef::Int64(number) => Some(number),
                _ => None,
            }
        };
        let (Some(fragment), Some(of)) = (number("fragment"), number("of")) else {
            return Some(event);
        };
        let whole = match self.pending.take() {
            Some(pending) if fragment > 1 => joined(&pending, &event),
            _ => event,
        };
        if fragment < of {
            self.pending = Some(whole);
            return None;
        }
        Some(whole)
    }
}

/// The members of both; of those that both have, such as the token, the later one's.
fn joined(before: &RawDocument, event: &RawDocument) -> RawDocumentBuf {
    let mut whole = RawDocumentBuf::new();
    let later: std::collections::HashSet<&str> =
        event.iter().flatten().map(|(key, _)| key.as_str()).collect();
    let kept = before
        .iter()
        .flatten()
        .filter(|(key, _)| !later.contains(key.as_str()));
    for (key, value) in kept.chain(event.iter().flatten()) {
        whole.append(key, value);
    }
    whole
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array as _, cast::AsArray as _, types::Int64Type};
    use bson::{Bson, DateTime, doc};

    use super::*;

    fn settings() -> Settings {
        Settings {
            run_id: "run".into(),
            synced_at_us: 0,
            threads: 1,
            chunk_bytes: 1 << 20,
        }
    }

    fn event(kind: &str, id: i32, time: (u32, u32), document: Option<Document>) -> RawDocumentBuf {
        let mut event = doc! {
            "_id": {"_data": format!("{kind}-{id}-{}", time.1)}, "operationType": kind,
            "clusterTime": Timestamp {time: time.0, increment: time.1},
            "wallTime": DateTime::from_millis(7000), "documentKey": {"_id": id},
        };
        if let Some(document) = document {
            event.insert("fullDocument", document);
        }
        RawDocumentBuf::try_from(&event).unwrap()
    }

    /// The rows as `op id sequence`, and the token behind them.
    #[track_caller]
    fn check(events: Vec<RawDocumentBuf>, rows: &[&str], token: &str) {
        let settings = settings();
        let dead_ids = HashSet::new();
        let mut buffer = Buffer::new(&settings, &dead_ids, "claude_logs.entries", Position::new(None));
        for event in events {
            buffer.take(event).unwrap();
        }
        let chunk = buffer.drain().unwrap();
        let told: Vec<_> = chunk
            .batches
            .iter()
            .flat_map(|batch| {
                let column = |name: &str| batch.column_by_name(name).unwrap();
                let (ops, ids) = (column("_op").as_string::<i32>(), column("_id").as_string::<i32>());
                let sequences = column("_seq").as_primitive::<Int64Type>();
                (0..batch.num_rows())
                    .map(|row| {
                        let sequence = sequences.value(row);
                        let gone = column("_deleted_at").is_valid(row);
                        assert_eq!(gone, ops.value(row) == "delete");
                        format!(
                            "{} {} {}.{}",
                            ops.value(row),
                            ids.value(row),
                            sequence >> 24,
                            sequence & 0xff_ffff
                        )
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(told, rows);
        let stream = chunk.position.stream.unwrap();
        assert_eq!(stream.token.get_str("_data").unwrap(), token);
        assert!(buffer.is_empty());
    }

    #[test]
    fn events_are_rows_in_their_order() {
        check(
            vec![
                event("insert", 1, (5, 1), Some(doc! {"_id": 1})),
                event("update", 1, (5, 2), Some(doc! {"_id": 1, "a": 1})),
                event("delete", 1, (5, 3), None),
            ],
            &["upsert 1 1.1", "upsert 1 2.1", "delete 1 3.1"],
            "delete-1-3",
        );
    }

    #[test]
    fn events_of_a_transaction_follow_each_other() {
        check(
            vec![
                event("insert", 1, (5, 9), Some(doc! {"_id": 1})),
                event("update", 1, (5, 9), Some(doc! {"_id": 1})),
                event("delete", 1, (5, 9), None),
                event("insert", 1, (6, 9), Some(doc! {"_id": 1})),
            ],
            &["upsert 1 9.1", "upsert 1 9.2", "delete 1 9.3", "upsert 1 9.1"],
            "insert-1-9",
        );
    }

    #[test]
    fn an_update_of_a_document_that_is_gone_is_no_row() {
        let mut gone = doc! {
            "_id": {"_data": "x"}, "operationType": "update", "fullDocument": Bson::Null,
            "clusterTime": Timestamp {time: 5, increment: 1}, "documentKey": {"_id": 1},
        };
        let update = RawDocumentBuf::try_from(&gone).unwrap();
        gone.insert("operationType", "somethingNew");
        let unknown = RawDocumentBuf::try_from(&gone).unwrap();
        check(vec![update, unknown], &[], "x");
    }

    #[test]
    fn fragments_of_a_large_event_are_joined() {
        let fragment = |number: i32, members: Document| {
            let mut event =
                doc! {"_id": {"_data": format!("f{number}")}, "splitEvent": {"fragment": number, "of": 3}};
            event.extend(members);
            RawDocumentBuf::try_from(&event).unwrap()
        };
        check(
            vec![
                fragment(1, doc! {"operationType": "insert", "documentKey": {"_id": 1}}),
                fragment(2, doc! {"clusterTime": Timestamp {time: 5, increment: 1}}),
                fragment(3, doc! {"fullDocument": {"_id": 1, "big": "x"}}),
            ],
            &["upsert 1 1.1"],
            "f3",
        );
    }

    #[test]
    fn a_position_amid_a_split_event_is_that_before_it() {
        let (settings, dead_ids) = (settings(), HashSet::new());
        let mut buffer = Buffer::new(&settings, &dead_ids, "claude_logs.entries", Position::new(None));
        let first = event("insert", 1, (5, 1), Some(doc! {"_id": 1}));
        let half = doc! {
            "_id": {"_data": "half"}, "operationType": "insert", "documentKey": {"_id": 2},
            "splitEvent": {"fragment": 1, "of": 2},
        };
        buffer.take(first).unwrap();
        buffer.take(RawDocumentBuf::try_from(&half).unwrap()).unwrap();
        assert!(buffer.is_amid_an_event());
        let stream = buffer.drain().unwrap().position.stream.unwrap();
        assert_eq!(stream.token.get_str("_data").unwrap(), "insert-1-1");
    }
}
