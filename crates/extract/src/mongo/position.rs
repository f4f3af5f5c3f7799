//! How far a collection has been read: one value, kept as a property of the lake's table and set in the very commit
//! that brings the rows, so that it never runs ahead of them.

use bson::{Bson, Document};
use serde::{Deserialize, Serialize};

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
    /// Where the change stream goes on.
    pub(crate) stream: Option<StreamPosition>,
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

    /// Follows the stream from where `other` of the same collection does: passes and the stream go on independently.
    pub fn follow_from(&mut self, other: &Self) {
        if self.collection == other.collection {
            self.stream.clone_from(&other.stream);
        }
    }

    /// What the names of all collections' properties begin with.
    pub const PREFIX: &str = "cclake.mongodb-position.";

    /// The name of the table property for `namespace` (`database.collection`).
    pub fn property(namespace: &str) -> String {
        format!("{}{namespace}", Self::PREFIX)
    }

    /// Reads what [`text`](Self::text) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] when it is damaged, or of a newer version of this program.
    pub fn parse(text: &str) -> Result<Self> {
        let damaged = |error: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Format,
                format!(
                    "the lake's position in the collection cannot be read ({error}); `--full-backfill` begins anew"
                ),
            )
        };
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        let value = Bson::try_from(value).map_err(|error| damaged(&error))?;
        let position: Self = bson::deserialize_from_bson(value).map_err(|error| damaged(&error))?;
        if position.version != VERSION {
            return Err(damaged(&format!("version {}", position.version)));
        }
        Ok(position)
    }

    /// Canonical extended JSON: bounds and tokens keep their types.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] when the library refuses, which no value of ours makes it do.
    pub fn text(&self) -> Result<String> {
        let refused = |reason: String| {
            Error::new(
                ErrorKind::Format,
                format!("writing the position in the collection: {reason}"),
            )
        };
        let document =
            bson::serialize_to_raw_document_buf(self).map_err(|error| refused(error.to_string()))?;
        let mut out = String::new();
        json::write(&mut out, bson::RawBsonRef::Document(&document), Form::Canonical).map_err(refused)?;
        Ok(out)
    }
}
