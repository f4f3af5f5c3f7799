//! A line as the document that `sync` writes: the record's members at top level, beside them where the line was found.
//!
//! One rule decides on `_raw_json`, the exact line: it is there whenever `mongo::document` would read the
//! members back as other bytes. So whatever BSON cannot hold (lone surrogates, integers beyond 64 bits, `1.0e3`,
//! duplicate keys, a key of ours), and whatever nobody thought of, reads back as the line it was.

use bson::{Bson, DateTime, Document, RawDocumentBuf};
use serde_json::{Map, Value};

use super::document::{self, Shape};
use crate::{
    decode::{Decoder, Record},
    id::RecordId,
    json_text::Suspicion,
};

/// What a server takes as one document.
const MOST_BYTES: usize = 16 << 20;

/// Members that a document without the others keeps, to be found by, with their columns.
const FOUND_BY: [(&str, &str); 3] = [("type", "type"), ("uuid", "uuid"), ("sessionId", "session_id")];

/// A line and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) id: RecordId,
    /// Without its end.
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
    pub(crate) offset: i64,
    pub(crate) project: &'a str,
}

/// What all documents of a pass say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) machine: String,
    pub(crate) user: Option<String>,
    pub(crate) ingested_at: DateTime,
}

/// The record's members and where they were found; none when BSON cannot hold it, with its line if that is needed.
pub(crate) fn whole(line: Line<'_>, origin: &Origin) -> Option<RawDocumentBuf> {
    let json = line.text.strip_prefix('\u{feff}').unwrap_or(line.text);
    let record: Map<String, Value> = serde_json::from_str(&Suspicion::of(json).repair(json)).ok()?;
    let mut document = Document::from_iter([("_id".to_owned(), line.id.to_string().into())]);
    for (key, value) in record {
        if !Shape::Own.is_provenance(&key) {
            document.insert(key, bson(value));
        }
    }
    add_place(&mut document, line, origin);
    if document::text(&sized(&document)?).ok()? != line.text {
        document.insert("_raw_json", line.text);
    }
    sized(&document)
}

/// The line, where it was found, and what finds it; none when even that is too large.
pub(crate) fn bare(line: Line<'_>, origin: &Origin) -> Option<RawDocumentBuf> {
    let json = line.text.strip_prefix('\u{feff}').unwrap_or(line.text);
    let decoder = Decoder::new();
    let record: Option<Record<'_>> = decoder.record(json).ok();
    let mut document = Document::from_iter([("_id".to_owned(), line.id.to_string().into())]);
    for (key, column) in FOUND_BY {
        if let Some(text) = record.as_ref().and_then(|record| record.text_of(column)) {
            document.insert(key, text.into_owned());
        }
    }
    add_place(&mut document, line, origin);
    document.insert("_raw_json", line.text);
    sized(&document)
}

fn add_place(document: &mut Document, line: Line<'_>, origin: &Origin) {
    document.insert("projectId", line.project);
    document.insert("sourceFile", line.file);
    document.insert("sourceOffset", line.offset);
    document.insert("ingestedAt", origin.ingested_at);
    document.insert("machine", origin.machine.as_str());
    if let Some(user) = &origin.user {
        document.insert("user", user.as_str());
    }
}

/// As bytes; none when a key holds NUL, or they are too many.
fn sized(document: &Document) -> Option<RawDocumentBuf> {
    let document = RawDocumentBuf::try_from(document).ok()?;
    (document.as_bytes().len() <= MOST_BYTES).then_some(document)
}

/// No deeper than the parser went, which is bounded.
fn bson(value: Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => value.into(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => i32::try_from(integer).map_or(Bson::Int64(integer), Bson::Int32),
            None => number.as_f64().map_or(Bson::Null, Bson::Double),
        },
        Value::String(text) => text.into(),
        Value::Array(items) => Bson::Array(items.into_iter().map(bson).collect()),
        Value::Object(members) => Bson::Document(
            members
                .into_iter()
                .map(|(key, value)| (key, bson(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{RecordBatch, cast::AsArray as _};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        batch::{self, BatchBuilder, Provenance},
        mongo::document::{DocumentReader, Trace},
    };

    const NOW_US: i64 = 1_700_000_000_000_000;

    fn origin() -> Origin {
        Origin {
            machine: "laptop".into(),
            user: Some("ada".into()),
            ingested_at: DateTime::from_millis(NOW_US / 1000),
        }
    }

    fn line(text: &str) -> Line<'_> {
        Line {
            id: RecordId::of_line(text.as_bytes()),
            text,
            file: "/p/s.jsonl",
            offset: 7,
            project: "p",
        }
    }

    fn rows(batch: BatchBuilder) -> RecordBatch {
        let origin = batch::Origin {
            source: "any",
            collection: None,
            run_id: "r",
        };
        batch.finish(origin).unwrap()
    }

    /// The row of a line read straight.
    fn straight(text: &str) -> RecordBatch {
        let json = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (mut batch, decoder) = (BatchBuilder::new(1), Decoder::new());
        let from = Provenance {
            file: "/p/s.jsonl",
            offset: 7,
            machine: "laptop",
            user: Some("ada"),
            synced_at: NOW_US,
            order: None,
        };
        let id = RecordId::of_line(text.as_bytes()).to_string();
        batch.append(&id, from, text, &decoder.record(json).unwrap());
        rows(batch)
    }

    fn read_back(document: &RawDocumentBuf) -> RecordBatch {
        let mut batch = BatchBuilder::new(1);
        DocumentReader::new("db.c", 0)
            .read(&Trace::of(document), None, &mut batch)
            .unwrap();
        rows(batch)
    }

    /// Whether a document of each form can be made, and whether it holds the line; each reads back as the line's row.
    fn check(text: &str, expected: &str) {
        let whole = whole(line(text), &origin());
        let bare = bare(line(text), &origin());
        for document in whole.iter().chain(&bare) {
            assert_eq!(read_back(document), straight(text), "{text}");
        }
        let form = match (&whole, &bare) {
            (Some(whole), _) if whole.get("_raw_json").unwrap().is_some() => "members and line",
            (Some(_), _) => "members",
            (None, Some(_)) => "line",
            (None, None) => "nothing",
        };
        assert_eq!(form, expected, "{}", &text[..text.len().min(200)]);
    }

    #[test]
    fn the_line_is_kept_whenever_the_members_are_not_the_same() {
        check(
            r#"{"type":"user","uuid":"u","message":{"a.b":1,"$set":[1.5,-3,null,true,"\u0001\n\"é"]},"":{}}"#,
            "members",
        );
        check("{}", "members");
        for text in [
            r#"{"a": 1}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\u00e9"}"#,
            r#"{"a":1000000000000000000000000000000}"#,
            r#"{"a":9223372036854775808}"#,
            r#"{"a":-0}"#,
            r#"{"a":1e2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"machine":"mine","type":"user"}"#,
            r#"{"_id":5,"_raw_json":"{\"type\":\"x\",\"uuid\":\"y\"}"}"#,
            r#"{"sourceFile":1,"sightings":[{"machine":"x","sourceFile":"y","sourceOffset":1}]}"#,
            "\u{feff}{\"type\":\"user\"}",
        ] {
            check(text, "members and line");
        }
        let deep = format!(r#"{{"uuid":"u","a":{}{}}}"#, "[".repeat(150), "]".repeat(150));
        for text in [r#"{"uuid":"u","a\u0000b":1}"#, r#"{"uuid":"u","a":1e999}"#, &deep] {
            check(text, "line");
        }
    }

    #[test]
    fn what_is_too_large_is_told() {
        let text = |bytes: usize, end: &str| format!(r#"{{"a":"{}"{end}}}"#, "x".repeat(bytes));
        check(&text(9 << 20, ""), "members");
        check(&text(9 << 20, " "), "line");
        check(&text(16 << 20, ""), "nothing");
    }

    #[test]
    fn a_bare_document_is_found_by_its_session() {
        let text = r#"{"type":"user","uuid":"u","sessionId":"s","a\u0000b":1}"#;
        let document = bare(line(text), &origin()).unwrap();
        assert_eq!(document.get_str("sessionId").unwrap(), "s");
        assert_eq!(document.get_str("uuid").unwrap(), "u");
    }

    /// Any JSON, with keys that mean something among them.
    fn json() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            4 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            1 => Just(r#""\ud83d""#.to_owned()),
            1 => Just(r#""\u0000\/""#.to_owned()),
        ];
        let leaf = prop_oneof![
            text,
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| serde_json::to_string(&number).unwrap()),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            Just("null".to_owned()),
            Just("true".to_owned()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                object(inner),
            ]
        })
    }

    fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let key = prop_oneof![
            prop::sample::select(vec![
                "type",
                "uuid",
                "message",
                "timestamp",
                "sessionId",
                "cwd",
                "isMeta",
                "_id",
                "_raw_json",
                "sourceFile",
                "sourceOffset",
                "ingestedAt",
                "machine",
                "user",
                "sightings",
                "projectId",
                "a.b",
                "$x",
                "",
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        let member =
            (key, value).prop_map(|(key, value)| format!("{}:{value}", serde_json::to_string(&key).unwrap()));
        prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")))
    }

    proptest! {
        #[test]
        fn a_document_reads_back_as_the_row_of_its_line(text in object(json())) {
            for document in [whole(line(&text), &origin()), bare(line(&text), &origin())].into_iter().flatten() {
                prop_assert_eq!(read_back(&document), straight(&text));
            }
        }
    }

    #[test]
    fn each_sighting_is_a_row() {
        let text = r#"{"type":"user"}"#;
        let mut document: Document = (&whole(line(text), &origin()).unwrap()).try_into().unwrap();
        let sighting = bson::doc! {"machine": "server", "sourceFile": "/q/s.jsonl", "sourceOffset": 0_i64};
        document.insert("sightings", vec![Bson::from(sighting), Bson::Null]);
        let rows = read_back(&RawDocumentBuf::try_from(&document).unwrap());
        let column = |name: &str| {
            let column = rows.column_by_name(name).unwrap().as_string::<i32>();
            column
                .iter()
                .map(|text| text.unwrap_or("-").to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(column("source_file"), "/p/s.jsonl /q/s.jsonl");
        assert_eq!(column("machine"), "laptop server");
        assert_eq!(column("_raw_json"), [text, text].join(" "));
    }
}
