//! How far a collection has been read, kept as properties of the lake's table and set in the very commit that brings the rows,
//! so that it never runs ahead of them.
//!
//! Passes over the collection and the change stream have a property each, and write only what they changed themselves: one may
//! go on beside the other without taking it back. Whoever follows and has missed changes begins another epoch, and whatever
//! passes of earlier ones say counts for nothing, however late they say it.

use std::collections::BTreeMap;

use bson::{Bson, Document};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    json::{self, Form},
    ranges::Range,
};
use crate::{
    batch::ChangeOrder,
    error::{Error, ErrorKind, Result},
};

/// The version that this program writes, and the only one that it reads.
const VERSION: i32 = 1;

/// How far a collection has been read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub(crate) version: i32,
    /// The collection's UUID: another one means another collection under the same name, or another cluster.
    pub(crate) collection: Option<String>,
    /// What is left of a full extract; none once it is done.
    pub(crate) backfill: Option<Backfill>,
    /// Whether the collection was ever read to its end.
    pub(crate) is_complete: bool,
    /// Whether deletions may have been missed, so that the lake's rows must be compared with the collection.
    pub(crate) must_reconcile: bool,
    /// That of the stream when it was read.
    #[serde(default)]
    pub(crate) epoch: i32,
    /// High-water marks, one per field and type.
    pub(crate) marks: Vec<Mark>,
    /// Where the change stream goes on: a property of its own.
    #[serde(skip)]
    pub(crate) stream: Option<StreamPosition>,
}

/// The property of the change stream.
#[derive(Serialize, Deserialize)]
struct Stream {
    version: i32,
    /// As in [`Position`].
    collection: Option<String>,
    at: StreamPosition,
}

/// A full extract under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backfill {
    /// The cluster's time before its first cursor: what changed later wins over its rows.
    pub(crate) order: ChangeOrder,
    /// The server's clock at that moment: no mark may pass it.
    pub(crate) began: bson::DateTime,
    /// What is not in the lake yet.
    pub(crate) ranges: Vec<Range>,
    /// The greatest marks among the rows that are.
    pub(crate) marks: Vec<Mark>,
}

/// The greatest value of a field among the documents read, of one type: comparisons see one type only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) field: String,
    pub(crate) value: Bson,
    /// The documents that have this very value: how many, and the sum of their ids' hashes. While both are as they
    /// were, none came since.
    pub(crate) ties: i64,
    pub(crate) tie_hash: i64,
}

/// Where the change stream goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamPosition {
    /// What the stream starts after; opaque.
    pub(crate) token: Document,
    /// Order of the last event that is in the lake, which a transaction's next event follows.
    pub(crate) order: Option<ChangeOrder>,
    /// How often changes were missed, or may have been.
    #[serde(default)]
    pub(crate) epoch: i32,
    /// Whether what was there before its first token has been read since. Only who follows says so: what passes beside it say
    /// of themselves may be older than that token.
    pub(crate) is_caught_up: bool,
}

impl Position {
    /// Of a collection that nothing was read of.
    pub(crate) fn new(collection: Option<String>) -> Self {
        Self {
            version: VERSION,
            collection,
            ..Self::default()
        }
    }

    /// Of a collection whose changes were missed: all of it is to be read, and what is gone to be found.
    pub(crate) fn missed(collection: Option<String>, epoch: i32) -> Self {
        Self {
            must_reconcile: true,
            epoch,
            ..Self::new(collection)
        }
    }

    /// Whether all that is left to be read comes by the change stream.
    pub fn is_followed(&self) -> bool {
        let is_caught_up = self.stream.as_ref().is_some_and(|stream| stream.is_caught_up);
        is_caught_up && self.is_whole() && !self.must_reconcile
    }

    /// Whether all was read since deletions may have been missed, so that they are to be found.
    pub fn is_to_be_reconciled(&self) -> bool {
        self.is_whole() && self.must_reconcile
    }

    /// Whether nothing is left of a first or full extract.
    fn is_whole(&self) -> bool {
        self.is_complete && self.backfill.is_none()
    }

    /// Whether it is known to be one in another collection.
    pub(crate) fn is_of_another(&self, collection: Option<&str>) -> bool {
        matches!((self.collection.as_deref(), collection), (Some(own), Some(other)) if own != other)
    }

    /// Whether changes were missed after this was read.
    pub fn is_outdated(&self, now: &Self) -> bool {
        self.epoch < now.epoch
    }

    /// The same, once all that was there before the first token has been read.
    #[must_use]
    pub fn caught_up(mut self) -> Self {
        if let Some(stream) = &mut self.stream {
            stream.is_caught_up = true;
        }
        self
    }

    /// Whether no pass brought anything between them.
    pub fn is_of_same_pass(&self, other: &Self) -> bool {
        let passes = |position: &Self| Self {
            stream: None,
            ..position.clone()
        };
        passes(self) == passes(other)
    }

    /// What the names of all collections' properties begin with.
    pub const PREFIX: &str = "cclake.mongodb-position.";

    /// The name of the table property of passes over `namespace` (`database.collection`).
    pub fn property(namespace: &str) -> String {
        format!("{}{namespace}", Self::PREFIX)
    }

    /// The position in `namespace` by the table's properties; none if nothing was read of it.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] when it is damaged, or of a newer version of this program.
    pub fn read<'a>(namespace: &str, property: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>> {
        let Some(text) = property(&Self::property(namespace)) else {
            return Ok(None);
        };
        let mut position: Self = parse(text)?;
        if position.version != VERSION {
            return Err(damaged(&format!("version {}", position.version)));
        }
        if let Some(stream) = Stream::read(namespace, property) {
            if stream.at.epoch > position.epoch {
                position = Self::missed(stream.collection.clone(), stream.at.epoch);
            }
            let is_its = !position.is_of_another(stream.collection.as_deref());
            position.stream = is_its.then_some(stream.at);
        }
        Ok(Some(position))
    }

    /// In place of one that cannot be read.
    pub fn unread<'a>(namespace: &str, property: impl Fn(&str) -> Option<&'a str>) -> Self {
        let stream = Stream::read(namespace, property);
        Self::missed(None, stream.map_or(0, |stream| stream.at.epoch))
    }

    /// The table properties that make this the position where `before` was.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] when the library refuses, which no value of ours makes it do.
    pub fn properties(&self, namespace: &str, before: Option<&Self>) -> Result<BTreeMap<String, String>> {
        let mut changed = BTreeMap::new();
        if !before.is_some_and(|before| self.is_of_same_pass(before)) {
            changed.insert(Self::property(namespace), text(self)?);
        }
        if let Some(stream) = &self.stream
            && before.and_then(|before| before.stream.as_ref()) != Some(stream)
        {
            let stream = Stream {
                version: VERSION,
                collection: self.collection.clone(),
                at: stream.clone(),
            };
            changed.insert(Stream::property(namespace), text(&stream)?);
        }
        Ok(changed)
    }
}

impl Stream {
    fn property(namespace: &str) -> String {
        format!("cclake.mongodb-stream.{namespace}")
    }

    /// Without one that can be read, whoever follows takes another token, and reads all of it once more if history is wanted.
    fn read<'a>(namespace: &str, property: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let stream: Self = parse(property(&Self::property(namespace))?).ok()?;
        (stream.version == VERSION).then_some(stream)
    }
}

fn damaged(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Format,
        format!(
            "the lake's position in the collection cannot be read ({error}); `--full-backfill` begins anew"
        ),
    )
}

/// Reads what [`text`] wrote.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| damaged(&error))?;
    let value = Bson::try_from(value).map_err(|error| damaged(&error))?;
    bson::deserialize_from_bson(value).map_err(|error| damaged(&error))
}

/// Canonical extended JSON: bounds and tokens keep their types.
fn text(value: &impl Serialize) -> Result<String> {
    let refused = |reason: String| {
        Error::new(
            ErrorKind::Format,
            format!("writing the position in the collection: {reason}"),
        )
    };
    let document = bson::serialize_to_raw_document_buf(value).map_err(|error| refused(error.to_string()))?;
    let mut out = String::new();
    json::write(&mut out, bson::RawBsonRef::Document(&document), Form::Canonical).map_err(refused)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn followed(collection: &str, token: i32) -> Position {
        Position {
            is_complete: true,
            stream: Some(StreamPosition {
                token: doc! {"_data": token},
                order: None,
                epoch: 0,
                is_caught_up: true,
            }),
            ..Position::new(Some(collection.to_owned()))
        }
    }

    fn read(table: &BTreeMap<String, String>) -> Option<Position> {
        Position::read("db.c", |name| table.get(name).map(String::as_str)).unwrap()
    }

    #[test]
    fn a_pass_and_the_stream_beside_it_take_nothing_of_each_other_back() {
        let began = followed("a", 1);
        let mut table = began.properties("db.c", None).unwrap();
        assert_eq!(read(&table).as_ref(), Some(&began));
        assert_eq!(began.properties("db.c", Some(&began)).unwrap(), BTreeMap::new());
        // Both began with the same position.
        table.extend(followed("a", 2).properties("db.c", Some(&began)).unwrap());
        let pass = Position {
            must_reconcile: true,
            ..began.clone()
        };
        table.extend(pass.properties("db.c", Some(&began)).unwrap());
        table.extend(followed("a", 3).properties("db.c", Some(&began)).unwrap());
        let expected = Position {
            must_reconcile: true,
            ..followed("a", 3)
        };
        assert_eq!(read(&table), Some(expected));
    }

    #[test]
    fn a_pass_does_not_take_back_that_changes_were_missed() {
        let began = followed("a", 1);
        let mut table = began.properties("db.c", None).unwrap();
        let mut missed = Position::missed(Some("a".to_owned()), 1);
        missed.stream = followed("a", 2)
            .stream
            .map(|stream| StreamPosition { epoch: 1, ..stream });
        table.extend(missed.properties("db.c", Some(&began)).unwrap());
        assert_eq!(read(&table).as_ref(), Some(&missed));
        // In none of its chunks, the last one included.
        for ties in 0..2 {
            let mark = Mark {
                field: "_id".to_owned(),
                value: Bson::Int32(1),
                ties,
                tie_hash: 0,
            };
            let pass = Position {
                marks: vec![mark],
                ..began.clone()
            };
            assert!(pass.is_outdated(&missed));
            table.extend(pass.properties("db.c", Some(&began)).unwrap());
            assert_eq!(read(&table).as_ref(), Some(&missed));
        }
        // Whoever began with it may say that it is done.
        let done = Position {
            must_reconcile: false,
            is_complete: true,
            ..missed.clone()
        };
        table.extend(done.properties("db.c", Some(&missed)).unwrap());
        assert_eq!(read(&table), Some(done));
        assert_eq!(
            Position::unread("db.c", |name| table.get(name).map(String::as_str)).epoch,
            1
        );
    }

    #[test]
    fn a_pass_over_the_collection_that_was_there_before_counts_for_nothing() {
        let began = followed("a", 1);
        for collection in [Some("b".to_owned()), None] {
            let mut table = began.properties("db.c", None).unwrap();
            let mut missed = Position::missed(collection, 1);
            missed.stream = followed("b", 2)
                .stream
                .map(|stream| StreamPosition { epoch: 1, ..stream });
            table.extend(missed.properties("db.c", Some(&began)).unwrap());
            table.extend(
                began
                    .properties("db.c", None)
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| *name == Position::property("db.c")),
            );
            assert_eq!(read(&table), Some(missed));
        }
    }

    #[test]
    fn a_stream_of_another_collection_or_a_damaged_one_is_none() {
        let mut table = followed("a", 1).properties("db.c", None).unwrap();
        let another = Position::new(Some("b".to_owned()));
        table.extend(another.properties("db.c", None).unwrap());
        assert_eq!(read(&table), Some(another));
        let mut table = followed("a", 1).properties("db.c", None).unwrap();
        table.insert("cclake.mongodb-stream.db.c".to_owned(), "{".to_owned());
        assert_eq!(read(&table).unwrap().stream, None);
        table.insert("cclake.mongodb-position.db.c".to_owned(), "{".to_owned());
        let damaged = Position::read("db.c", |name| table.get(name).map(String::as_str));
        assert!(damaged.unwrap_err().to_string().contains("--full-backfill"));
    }
}
