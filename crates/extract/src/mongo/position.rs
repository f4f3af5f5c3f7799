//! How far a collection has been read, kept as properties of the lake's table and set in the very commit that brings the rows,
//! so that it never runs ahead of them.
//!
//! Passes over the collection and the change stream have a property each, and write only what they changed themselves: one may
//! go on beside the other without taking it back.

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

    /// Whether all that is left to be read comes by the change stream.
    pub fn is_followed(&self) -> bool {
        let is_caught_up = self.stream.as_ref().is_some_and(|stream| stream.is_caught_up);
        is_caught_up && self.is_complete && self.backfill.is_none() && !self.must_reconcile
    }

    /// The same, once all that was there before the first token has been read.
    #[must_use]
    pub fn caught_up(mut self) -> Self {
        if let Some(stream) = &mut self.stream {
            stream.is_caught_up = true;
        }
        self
    }

    /// Gives way to a follower that missed changes since this pass began: all must be read again, whatever the pass has read.
    /// Whether it did.
    pub fn heed(&mut self, now: &Self, began: Option<&Self>) -> bool {
        let gives_way = now.must_reconcile && !began.is_some_and(|began| began.must_reconcile);
        if gives_way {
            let stream = self.stream.take();
            *self = Self {
                stream,
                ..now.clone()
            };
        }
        gives_way
    }

    /// What the names of all collections' properties begin with.
    pub const PREFIX: &str = "cclake.mongodb-position.";

    const STREAM_PREFIX: &str = "cclake.mongodb-stream.";

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
        // Without one that can be read, whoever follows takes another token, and reads all of it once more if history is wanted.
        let stream = property(&format!("{}{namespace}", Self::STREAM_PREFIX));
        let stream = stream.and_then(|text| parse::<Stream>(text).ok());
        let is_another = |stream: &Stream| matches!((&stream.collection, &position.collection), (Some(then), Some(now)) if then != now);
        let stream = stream.filter(|stream| stream.version == VERSION && !is_another(stream));
        position.stream = stream.map(|stream| stream.at);
        Ok(Some(position))
    }

    /// The table properties that make this the position where `before` was.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] when the library refuses, which no value of ours makes it do.
    pub fn properties(&self, namespace: &str, before: Option<&Self>) -> Result<BTreeMap<String, String>> {
        let mut changed = BTreeMap::new();
        let passes = |position: &Self| Self {
            stream: None,
            ..position.clone()
        };
        if before.map(passes) != Some(passes(self)) {
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
            changed.insert(format!("{}{namespace}", Self::STREAM_PREFIX), text(&stream)?);
        }
        Ok(changed)
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
        let mut lost = Position {
            must_reconcile: true,
            ..Position::new(Some("a".to_owned()))
        };
        lost.stream.clone_from(&began.stream);
        // In each of its chunks.
        for _ in 0..2 {
            let mut pass = began.clone();
            assert!(pass.heed(&lost, Some(&began)));
            assert_eq!(pass, lost);
        }
        // Whoever began with it may say that it is done.
        let mut pass = began.clone();
        assert!(!pass.heed(&lost, Some(&lost)));
        assert_eq!(pass, began);
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
