//! A document as a row: the three shapes in which conversations lie in MongoDB, told apart by what they carry.

use bson::{DateTime, RawArray, RawBsonRef, RawDocument, raw::RawElement};

use super::{
    id,
    json::{self, Form, Undecodable},
    marks::FIELDS as MARK_FIELDS,
};
use crate::{
    batch::{BatchBuilder, ChangeOrder, Provenance},
    decode::{Decoder, Record},
    id::RecordId,
};

/// The machine of a document that names none.
const UNKNOWN_MACHINE: &str = "unknown";

/// The place of a record in a file that only `sync` would have told: behind all that are known, so that a copy whose place
/// is known is the one that counts.
const UNKNOWN_OFFSET: i64 = i64::MAX;

/// What becomes of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Whether every member had the type that its column has.
    pub(crate) as_expected: bool,
    /// Bytes of text in the further rows that it brought.
    pub(crate) copied_bytes: usize,
}

/// Turns documents into rows; keeps its buffers from one to the next.
pub(crate) struct DocumentReader {
    decoder: Decoder,
    /// `database.collection`.
    namespace: String,
    /// The run's time for documents that do not say when they were written.
    now_us: i64,
    json: String,
    /// The end of each member's JSON in `json`, with where it begins and its key.
    members: Vec<Member>,
}

struct Member {
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

/// The members of a document, and what stands beside the record's own.
#[derive(Default)]
pub(crate) struct Trace<'a> {
    members: Vec<RawElement<'a>>,
    /// Why there are no more members: it is no valid BSON from there on.
    broken: Option<Undecodable>,
    pub(crate) id: Option<RawBsonRef<'a>>,
    /// When it was written, by the fields that say so.
    pub(crate) written: [Option<RawBsonRef<'a>>; MARK_FIELDS.len()],
    raw_json: Option<&'a str>,
    source_file: Option<&'a str>,
    source_offset: Option<i64>,
    machine: Option<&'a str>,
    user: Option<&'a str>,
    sightings: Option<&'a RawArray>,
}

/// Who wrote a document, as far as that decides which members are the record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// To the specification: every member is the record's.
    Specified,
    /// claude-mongo-sync: a record with its provenance.
    Synced,
    /// `cclake sync`: a record with more of it.
    Own,
}

impl<'a> Trace<'a> {
    /// Of members that can be read; of the others it says why.
    pub(crate) fn of(document: &'a RawDocument) -> Self {
        let mut trace = Self {
            // More than most records have.
            members: Vec::with_capacity(32),
            ..Self::default()
        };
        trace.broken = trace.read(document).err();
        trace
    }

    fn read(&mut self, document: &'a RawDocument) -> Result<(), Undecodable> {
        for element in document.iter_elements() {
            let element = element.map_err(|error| json::reason(&error))?;
            let value = || element.value().map_err(|error| json::reason(&error));
            match element.key().as_str() {
                "_id" => self.id = Some(value()?),
                "_raw_json" => self.raw_json = value()?.as_str(),
                "sourceFile" => self.source_file = value()?.as_str(),
                "sourceOffset" => self.source_offset = integer(value()?),
                "machine" => self.machine = value()?.as_str(),
                "user" => self.user = value()?.as_str(),
                "sightings" => self.sightings = value()?.as_array(),
                key => {
                    if let Some(field) = MARK_FIELDS.iter().position(|field| *field == key) {
                        self.written[field] = Some(value()?);
                    }
                }
            }
            self.members.push(element);
        }
        Ok(())
    }

    fn written_at(&self, field: &str) -> Option<DateTime> {
        let field = MARK_FIELDS.iter().position(|known| *known == field)?;
        self.written[field]?.as_datetime()
    }
}

impl Shape {
    fn of(trace: &Trace<'_>) -> Self {
        match (
            trace.source_file,
            trace.written_at("ingestedAt"),
            trace.source_offset,
        ) {
            (Some(_), Some(_), Some(_)) => Self::Own,
            (Some(_), Some(_), None) => Self::Synced,
            _ => Self::Specified,
        }
    }

    /// Whether the member says where the record is from instead of being the record's.
    pub(crate) fn is_provenance(self, key: &str) -> bool {
        match self {
            Self::Specified => false,
            Self::Synced => matches!(key, "_id" | "projectId" | "sourceFile" | "ingestedAt"),
            Self::Own => matches!(
                key,
                "_id"
                    | "projectId"
                    | "sourceFile"
                    | "sourceOffset"
                    | "ingestedAt"
                    | "machine"
                    | "user"
                    | "sightings"
                    | "_raw_json"
            ),
        }
    }
}

impl DocumentReader {
    /// For documents of `namespace`.
    pub(crate) fn new(namespace: &str, now_us: i64) -> Self {
        Self {
            decoder: Decoder::new(),
            namespace: namespace.to_owned(),
            now_us,
            json: String::new(),
            members: Vec::new(),
        }
    }

    /// The time for documents that come from now on.
    pub(crate) fn set_now(&mut self, now: DateTime) {
        self.now_us = now.timestamp_millis().saturating_mul(1000);
    }

    /// Appends the document's row.
    ///
    /// # Errors
    /// Why it is no row; then nothing was appended.
    pub(crate) fn read(
        &mut self,
        trace: &Trace<'_>,
        order: Option<ChangeOrder>,
        batch: &mut BatchBuilder,
    ) -> Result<Row, Undecodable> {
        if let Some(reason) = &trace.broken {
            return Err(reason.clone());
        }
        let id = id::text(trace.id.ok_or("it has no _id")?)?;
        let (line, shape) = (trace.raw_json, Shape::of(trace));
        if let Some(line) = line
            && let Some(record) = self.line_record(line, &id)
        {
            let from = provenance(trace, shape, &self.namespace, self.now_us, order);
            let as_expected = batch.append(&id, from, line, &record);
            let copies = append_sightings(trace, shape, from, most_copies(line), &mut |from| {
                _ = batch.append(&id, from, line, &record);
            });
            return Ok(Row {
                as_expected,
                copied_bytes: copies * line.len(),
            });
        }
        write_members(&mut self.json, &mut self.members, &trace.members, shape)?;
        let text = &self.json;
        let members = self.members.iter().map(|member| {
            let key = text.get(member.key.clone()).unwrap_or_default();
            (key, text.get(member.value.clone()).unwrap_or_default())
        });
        let record = self.decoder.record_of(members);
        let from = provenance(trace, shape, &self.namespace, self.now_us, order);
        let as_expected = batch.append(&id, from, text, &record);
        let copies = append_sightings(trace, shape, from, most_copies(text), &mut |from| {
            _ = batch.append(&id, from, text, &record);
        });
        Ok(Row {
            as_expected,
            copied_bytes: copies * text.len(),
        })
    }

    /// Appends that the document with this key (`{_id: …}`) is gone since `at`, microseconds since 1970 UTC.
    ///
    /// # Errors
    /// Why the key is none.
    pub(crate) fn read_deletion(
        &self,
        key: &RawDocument,
        order: ChangeOrder,
        at: i64,
        batch: &mut BatchBuilder,
    ) -> Result<(), Undecodable> {
        let id = key.get("_id").map_err(|error| json::reason(&error))?;
        let id = id::text(id.ok_or("it has no _id")?)?;
        self.append_deletion(&id, order, at, batch);
        Ok(())
    }

    /// Appends that the document with this id is gone.
    pub(crate) fn append_deletion(&self, id: &str, order: ChangeOrder, at: i64, batch: &mut BatchBuilder) {
        let from = provenance(
            &Trace::default(),
            Shape::Specified,
            &self.namespace,
            self.now_us,
            Some(order),
        );
        batch.append_deletion(id, from, at);
    }

    /// The record in `_raw_json`: an object with `type` and `uuid`, or the line whose hash the document's id is.
    fn line_record<'a>(&self, line: &'a str, id: &str) -> Option<Record<'a>> {
        let json = line.strip_prefix('\u{feff}').unwrap_or(line);
        let record = self.decoder.record(json).ok()?;
        let is_record = record.has("type") && record.has("uuid");
        (is_record || RecordId::of_line(line.as_bytes()).to_string() == id).then_some(record)
    }
}

fn provenance<'a>(
    trace: &Trace<'a>,
    shape: Shape,
    namespace: &'a str,
    now_us: i64,
    order: Option<ChangeOrder>,
) -> Provenance<'a> {
    let own = shape == Shape::Own;
    let offset = trace.source_offset.filter(|_| own).unwrap_or(UNKNOWN_OFFSET);
    let synced_at = trace.written_at("ingestedAt").or(trace.written_at("_synced_at"));
    let synced_at = synced_at.and_then(|date| date.timestamp_millis().checked_mul(1000));
    Provenance {
        file: trace.source_file.unwrap_or(namespace),
        offset: u64::try_from(offset).unwrap_or_default(),
        machine: trace.machine.unwrap_or(UNKNOWN_MACHINE),
        user: trace.user,
        synced_at: synced_at
            .filter(|micros| crate::timestamp::is_readable(*micros))
            .unwrap_or(now_us),
        order,
    }
}

/// How many more rows a record may bring: a column of a batch, which may hold others already, holds two gigabytes.
fn most_copies(text: &str) -> usize {
    (1 << 28) / text.len().max(1)
}

/// Every other place that the record was seen in is a row like the first: a copied line is that in the lake, whatever
/// way it came. How many.
fn append_sightings<'a>(
    trace: &Trace<'a>,
    shape: Shape,
    first: Provenance<'a>,
    most: usize,
    append: &mut dyn FnMut(Provenance<'a>),
) -> usize {
    let mut copies = 0;
    let sightings = trace.sightings.filter(|_| shape == Shape::Own);
    for sighting in sightings.into_iter().flatten().take(most) {
        let Some(sighting) = sighting.ok().and_then(RawBsonRef::as_document) else {
            continue;
        };
        let offset = sighting.get("sourceOffset").ok().flatten().and_then(integer);
        if let (Ok(file), Ok(machine), Some(offset)) = (
            sighting.get_str("sourceFile"),
            sighting.get_str("machine"),
            offset,
        ) {
            append(Provenance {
                file,
                offset: u64::try_from(offset).unwrap_or_default(),
                machine,
                ..first
            });
            copies += 1;
        }
    }
    copies
}

/// A whole number of either length.
pub(crate) fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(number.into()),
        RawBsonRef::Int64(number) => Some(number),
        _ => None,
    }
}

/// The JSON of the record in a document of our own: what [`DocumentReader`] makes of its members.
///
/// # Errors
/// Why it is no valid BSON.
pub(crate) fn text(document: &RawDocument) -> Result<String, Undecodable> {
    let (mut out, mut members) = (String::new(), Vec::new());
    let trace = Trace::of(document);
    write_members(&mut out, &mut members, &trace.members, Shape::Own)?;
    trace.broken.map_or(Ok(out), Err)
}

/// Writes the record as one JSON object and notes where its members are.
fn write_members(
    out: &mut String,
    members: &mut Vec<Member>,
    elements: &[RawElement<'_>],
    shape: Shape,
) -> Result<(), Undecodable> {
    out.clear();
    members.clear();
    out.push('{');
    for element in elements {
        let key = element.key().as_str();
        if shape.is_provenance(key) {
            continue;
        }
        if !members.is_empty() {
            out.push(',');
        }
        let start = out.len() + 1;
        json::string(out, key);
        let key = start..out.len() - 1;
        out.push(':');
        let start = out.len();
        let value = element.value().map_err(|error| json::reason(&error))?;
        json::write(out, value, Form::Relaxed)?;
        members.push(Member {
            key,
            value: start..out.len(),
        });
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array as _, cast::AsArray as _};
    use bson::{Bson, Document, doc};

    use super::*;
    use crate::batch::Origin;

    /// What the row says in these columns; `-` for null.
    #[track_caller]
    fn check(document: &Document, columns: &[&str], expected: &[&str]) {
        let document = bson::RawDocumentBuf::try_from(document).unwrap();
        let mut batch = BatchBuilder::new(0);
        let mut reader = DocumentReader::new("logs.entries", 0);
        reader.read(&Trace::of(&document), None, &mut batch).unwrap();
        let origin = Origin {
            source: "mongodb",
            collection: Some("logs.entries"),
            run_id: "run",
        };
        let batch = batch.finish(origin).unwrap();
        let cells: Vec<_> = columns
            .iter()
            .map(|name| {
                let column = batch.column_by_name(name).unwrap();
                match column.as_string_opt::<i32>() {
                    _ if column.is_null(0) => "-".to_owned(),
                    Some(text) => text.value(0).to_owned(),
                    None => "set".to_owned(),
                }
            })
            .collect();
        assert_eq!(cells, expected);
    }

    #[test]
    fn provenance_is_no_part_of_a_synced_record() {
        let synced = doc! {
            "_id": bson::oid::ObjectId::from_bytes([7; 12]), "type": "user", "sessionId": "s", "uuid": "u",
            "projectId": "-shop", "sourceFile": "/x/s.jsonl", "ingestedAt": DateTime::from_millis(5),
            "machine": "mine",
        };
        let columns = ["_id", "type", "session_id", "source_file", "machine", "_raw_json"];
        let record = r#"{"type":"user","sessionId":"s","uuid":"u","machine":"mine"}"#;
        let id = "070707070707070707070707";
        check(
            &synced,
            &columns,
            &[id, "user", "s", "/x/s.jsonl", "mine", record],
        );
        let mut own = synced;
        own.insert("sourceOffset", 12);
        own.insert("user", "ada");
        let record = r#"{"type":"user","sessionId":"s","uuid":"u"}"#;
        check(&own, &columns, &[id, "user", "s", "/x/s.jsonl", "mine", record]);
        check(&own, &["user_name"], &["ada"]);
    }

    #[test]
    fn a_line_in_raw_json_is_the_record() {
        let line = r#"{"type": "user","uuid":"u","sessionId":"\ud800"}"#;
        let document = doc! {"_id": 1, "type": "message", "session_id": "other", "_raw_json": line};
        check(
            &document,
            &["_id", "type", "session_id", "_raw_json"],
            &["1", "user", "\u{fffd}", line],
        );
        // Without type and uuid it is one only where the id is its hash.
        let line = r#"{"type":"summary","summary":"s"}"#;
        let hash = RecordId::of_line(line.as_bytes()).to_string();
        check(&doc! {"_id": &hash, "_raw_json": line}, &["summary"], &["s"]);
        check(
            &doc! {"_id": 1, "type": "x", "_raw_json": line},
            &["type", "summary"],
            &["x", "-"],
        );
    }

    #[test]
    fn times_out_of_range_and_values_of_other_types_are_null_and_named() {
        let columns = ["timestamp", "session_id", "_parse_error"];
        let date = |value: Bson| doc! {"_id": 1, "timestamp": value};
        check(
            &date(DateTime::from_millis(1).into()),
            &columns,
            &["set", "-", "-"],
        );
        check(&date("2026-02-03T10:00:00Z".into()), &columns, &["set", "-", "-"]);
        check(&date(DateTime::MAX.into()), &columns, &["-", "-", "timestamp"]);
        check(
            &date(DateTime::from_millis(-62_135_596_800_001).into()),
            &columns,
            &["-", "-", "timestamp"],
        );
        check(
            &doc! {"_id": 1, "session_id": [1]},
            &columns,
            &["-", "-", "session_id"],
        );
    }

    #[test]
    fn text_that_is_no_utf_8_makes_no_row() {
        let document = bson::RawDocumentBuf::try_from(&doc! {"_id": 1, "type": "xy"}).unwrap();
        let mut bytes = document.into_bytes();
        let at = bytes.windows(2).position(|pair| pair == b"xy").unwrap();
        bytes[at] = 0xff;
        let document = bson::RawDocumentBuf::from_bytes(bytes).unwrap();
        let mut batch = BatchBuilder::new(0);
        let read = DocumentReader::new("logs.entries", 0).read(&Trace::of(&document), None, &mut batch);
        assert!(read.is_err());
        assert_eq!(batch.rows(), 0);
    }
}
