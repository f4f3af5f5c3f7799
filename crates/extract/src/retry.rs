//! Dead letters read again, after this program or what it read was mended.

use std::collections::{BTreeMap, HashSet};

use arrow_array::RecordBatch;
use bson::RawDocument;

use crate::{
    batch::{BatchBuilder, Origin, Provenance},
    decode::Decoder,
    dlq::Entry,
    error::{Error, ErrorKind, Result},
    id::RecordId,
    jsonl::parse,
    mongo::{
        document::{DocumentReader, Trace},
        id, reader, sync,
    },
};

/// Letters of about so many bytes are a batch, whose columns cannot hold more than two gigabytes.
const BATCH_BYTES: usize = 64 << 20;

/// No document is larger.
const MOST_BYTES: usize = 16 << 20;

/// What the rows say of the run that brings them.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Name of the machine the files are on.
    pub machine: String,
    /// Id of the run.
    pub run_id: String,
    /// The run's time, microseconds since 1970 UTC.
    pub synced_at_us: i64,
}

/// What became of the letters; those that are in neither list stay as they are.
#[derive(Debug, Default)]
pub struct Retried {
    /// Rows for the lake.
    pub batches: Vec<RecordBatch>,
    /// Letters that are rows.
    pub rows: HashSet<RecordId>,
}

impl Retry {
    /// Reads letters again that the lake waits for.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] when rows make no batch, which no letter of ours makes them do.
    pub fn read(&self, letters: &[Entry]) -> Result<Retried> {
        self.gather(letters, Self::row)
    }

    /// Reads letters again that the collection at this [place](crate::mongo::MongoSettings::place) waits for: what [`Target::store`](crate::mongo::Target::store) takes.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_for(&self, place: &str, letters: &[Entry]) -> Result<Retried> {
        self.gather(letters, |retry, letter, batches| {
            if letter.source != sync::SOURCE {
                return None;
            }
            let bytes = letter.bytes().filter(|bytes| bytes.len() <= MOST_BYTES)?;
            let is_its = sync::letter_id(place, &letter.file, letter.offset, &bytes) == letter.id;
            if is_its {
                retry.line(letter, &bytes, batches)
            } else {
                None
            }
        })
    }

    /// `read` appends the letter's row; none if it is still none.
    fn gather(
        &self,
        letters: &[Entry],
        read: impl Fn(&Self, &Entry, &mut Batches) -> Option<()>,
    ) -> Result<Retried> {
        let (mut batches, mut bytes) = (Batches::new(), 0);
        let mut retried = Retried::default();
        for letter in letters {
            bytes += letter.bytes_base64.len();
            if bytes > BATCH_BYTES {
                self.finish(std::mem::take(&mut batches), &mut retried)?;
                bytes = 0;
            }
            // A letter lies there twice when two processes queued it at once.
            if !retried.rows.contains(&letter.id) && read(self, letter, &mut batches).is_some() {
                retried.rows.insert(letter.id);
            }
        }
        self.finish(batches, &mut retried)?;
        Ok(retried)
    }

    fn finish(&self, batches: Batches, retried: &mut Retried) -> Result<()> {
        for ((source, namespace), batch) in batches {
            let origin = Origin {
                source,
                collection: namespace.as_deref(),
                run_id: &self.run_id,
            };
            let batch = batch.finish(origin).map_err(|error| {
                Error::new(ErrorKind::Format, format!("building a batch of letters: {error}"))
            })?;
            if batch.num_rows() > 0 {
                retried.batches.push(batch);
            }
        }
        Ok(())
    }

    fn row(&self, letter: &Entry, batches: &mut Batches) -> Option<()> {
        let bytes = letter.bytes()?;
        match letter.source.as_str() {
            parse::SOURCE => self.line(letter, &bytes, batches),
            reader::SOURCE => self.document(letter, &bytes, batches),
            _ => None,
        }
    }

    fn line(&self, letter: &Entry, bytes: &[u8], batches: &mut Batches) -> Option<()> {
        let decoder = Decoder::new();
        let (text, record) = parse::record_of(&decoder, bytes, letter.offset).ok()??;
        let from = Provenance {
            file: &letter.file,
            offset: letter.offset,
            machine: &self.machine,
            user: None,
            synced_at: self.synced_at_us,
            order: None,
        };
        let id = RecordId::of_line(bytes).to_string();
        batch_of(batches, parse::SOURCE, None).append(&id, from, text, &record);
        Some(())
    }

    /// As of its place among the document's changes: what the collection said later wins over it.
    fn document(&self, letter: &Entry, bytes: &[u8], batches: &mut Batches) -> Option<()> {
        let document = RawDocument::from_bytes(bytes).ok()?;
        let id = id::text(document.get("_id").ok()??).ok()?;
        let namespace = letter.file.strip_suffix(&id)?.strip_suffix('/')?;
        let order = letter.order?;
        let mut reader = DocumentReader::new(namespace, self.synced_at_us);
        let batch = batch_of(batches, reader::SOURCE, Some(namespace));
        reader
            .read(&Trace::of(document), Some(order), batch)
            .ok()
            .map(|_| ())
    }
}

/// By source and namespace.
type Batches = BTreeMap<(&'static str, Option<String>), BatchBuilder>;

fn batch_of<'b>(
    batches: &'b mut Batches,
    source: &'static str,
    namespace: Option<&str>,
) -> &'b mut BatchBuilder {
    batches
        .entry((source, namespace.map(str::to_owned)))
        .or_insert_with(|| BatchBuilder::new(0))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use bson::{RawDocumentBuf, doc};

    use super::*;
    use crate::batch::ChangeOrder;

    fn letter(number: u8, source: &str, file: &str, bytes: &[u8]) -> Entry {
        Entry {
            id: RecordId([number; 16]),
            source: source.into(),
            file: file.into(),
            offset: 0,
            reason: String::new(),
            bytes_base64: STANDARD.encode(bytes),
            at: "2026-02-03T10:00:00Z".into(),
            run_id: "old".into(),
            order: (source == "mongodb").then_some(ChangeOrder {
                cluster_ts: 5,
                sequence: 1,
            }),
        }
    }

    #[test]
    fn letters_of_each_source_become_rows_once_where_they_belong() {
        let document = RawDocumentBuf::try_from(&doc! {"_id": "a/b", "type": "user"}).unwrap();
        let letters = [
            letter(1, "jsonl", "/p/s.jsonl", b"{\"type\":\"user\"}"),
            letter(1, "jsonl", "/p/s.jsonl", b"{\"type\":\"user\"}"),
            letter(2, "jsonl", "/p/s.jsonl", b"{\"type\":"),
            letter(3, "mongodb", "db.c/d/a/b", document.as_bytes()),
            letter(4, "mongodb", "db.c/x", b"no document"),
            letter(5, "sync", "/p/s.jsonl", b"{}"),
        ];
        let retry = Retry {
            machine: "laptop".into(),
            run_id: "new".into(),
            synced_at_us: 7,
        };
        let retried = retry.read(&letters).unwrap();
        assert_eq!(
            retried.rows,
            HashSet::from([RecordId([1; 16]), RecordId([3; 16])])
        );
        let theirs = sync::letter_id("h/db.c", "/p/s.jsonl", 0, b"{}");
        let letters = letters.map(|letter| Entry {
            id: if letter.source == "sync" {
                theirs
            } else {
                letter.id
            },
            ..letter
        });
        let of = |namespace| retry.read_for(namespace, &letters).unwrap().rows;
        assert_eq!((of("h/db.c"), of("g/db.c")), ([theirs].into(), HashSet::new()));
        let rows: Vec<String> = retried
            .batches
            .iter()
            .flat_map(|batch| {
                let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
                let columns = ["_id", "source", "source_file", "source_collection"].map(column);
                (0..batch.num_rows()).map(move |row| {
                    columns
                        .iter()
                        .map(|column| column.value(row))
                        .collect::<Vec<_>>()
                        .join(" ")
                })
            })
            .collect();
        assert_eq!(
            rows,
            [
                format!("{} jsonl /p/s.jsonl ", RecordId::of_line(b"{\"type\":\"user\"}")),
                "a/b mongodb db.c/d db.c/d".to_owned()
            ]
        );
    }
}
