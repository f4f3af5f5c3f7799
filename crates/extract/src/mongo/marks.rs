//! High-water marks: what an incremental extract reads, and what it has read then.
//!
//! A document says by `_synced_at` or `ingestedAt` when it was written; one that has neither is new when its `_id` is.
//! Documents that share the mark's very value may come later, so the value itself is read again unless the documents
//! that have it are those that had it (their number and the sum of their ids' hashes).

use std::collections::BTreeMap;

use bson::{Bson, DateTime, Document, RawBsonRef, doc};

use super::{document::Trace, json, position::Mark, ranges::BRACKETS};

/// Fields that say when a document was written.
pub(crate) const FIELDS: [&str; 2] = ["_synced_at", "ingestedAt"];

const ID: &str = "_id";

/// The name for `$type` of what a value compares with; none for null, which is as if it were missing.
fn type_of(value: &Bson) -> Option<&'static str> {
    Some(match value {
        Bson::Double(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::Decimal128(_) => "number",
        Bson::String(_) | Bson::Symbol(_) => "string",
        Bson::DateTime(_) => "date",
        Bson::ObjectId(_) => "objectId",
        Bson::Timestamp(_) => "timestamp",
        Bson::Boolean(_) => "bool",
        Bson::Binary(_) => "binData",
        Bson::Document(_) => "object",
        Bson::Array(_) => "array",
        _ => return None,
    })
}

/// Documents at or above the marks, and those of types that have none yet.
///
/// `is_settled` says of each mark whether the documents at its value are the known ones.
pub(crate) fn filter(marks: &[Mark], is_settled: &[bool]) -> Document {
    let mut clauses = Vec::new();
    let mut unmarked = Document::new();
    for field in FIELDS {
        clauses.extend(clauses_of(field, marks, is_settled));
        unmarked.insert(field, Bson::Null);
    }
    let by_id = clauses_of(ID, marks, is_settled);
    unmarked.insert("$or", by_id);
    clauses.push(unmarked);
    doc! {"$or": clauses}
}

fn clauses_of(field: &str, marks: &[Mark], is_settled: &[bool]) -> Vec<Document> {
    let mut clauses = Vec::new();
    let mut seen = Vec::new();
    for (mark, is_settled) in marks
        .iter()
        .zip(is_settled)
        .filter(|(mark, _)| mark.field == field)
    {
        let operator = if *is_settled { "$gt" } else { "$gte" };
        clauses.push(doc! {field: {operator: mark.value.clone()}});
        seen.extend(type_of(&mark.value));
    }
    let mut unseen = doc! {"$ne": Bson::Null};
    if !seen.is_empty() {
        unseen.insert("$not", doc! {"$type": seen});
    }
    clauses.push(doc! {field: unseen});
    clauses
}

/// The documents that have a mark's very value.
pub(crate) fn ties_filter(mark: &Mark) -> Document {
    doc! {mark.field.as_str(): mark.value.clone()}
}

/// Follows the greatest values among documents as they are read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MarkTracker {
    /// Documents that say nothing of when they were written, and whose ids do not grow.
    pub(crate) unmarked: u64,
    greatest: BTreeMap<(&'static str, &'static str), Greatest>,
}

#[derive(Debug, Clone, PartialEq)]
struct Greatest {
    value: Bson,
    ties: i64,
    hash: i64,
}

impl MarkTracker {
    /// Goes on from marks.
    pub(crate) fn of(marks: &[Mark]) -> Self {
        let mut tracker = Self::default();
        for mark in marks {
            let field = FIELDS.into_iter().chain([ID]).find(|field| *field == mark.field);
            if let (Some(field), Some(kind)) = (field, type_of(&mark.value)) {
                let greatest = Greatest {
                    value: mark.value.clone(),
                    ties: mark.ties,
                    hash: mark.tie_hash,
                };
                tracker.greatest.insert((field, kind), greatest);
            }
        }
        tracker
    }

    /// Sees a document that is about to be in the lake.
    pub(crate) fn see(&mut self, document: &Trace<'_>) {
        let mut is_marked = false;
        for (field, value) in FIELDS.into_iter().zip(document.written) {
            if let Some(value) = value.filter(|value| !matches!(value, RawBsonRef::Null)) {
                is_marked = true;
                self.see_value(field, value, document.id);
            }
        }
        if !is_marked && let Some(id) = document.id {
            match id {
                // As a rule, what comes later has a greater one.
                RawBsonRef::ObjectId(_)
                | RawBsonRef::Int32(_)
                | RawBsonRef::Int64(_)
                | RawBsonRef::Double(_)
                | RawBsonRef::DateTime(_)
                | RawBsonRef::Timestamp(_) => self.see_value(ID, id, document.id),
                _ => self.unmarked += 1,
            }
        }
    }

    fn see_value(&mut self, field: &'static str, value: RawBsonRef<'_>, id: Option<RawBsonRef<'_>>) {
        let Ok(value) = Bson::try_from(value) else {
            return;
        };
        // What does not compare with itself is no mark: no mark of its type means that all of the type are read.
        let Some(kind) = type_of(&value).filter(|_| compare(&value, &value).is_some()) else {
            return;
        };
        let hash = id.map_or(0, tie_hash);
        let one = |value| Greatest { value, ties: 1, hash };
        match self.greatest.get_mut(&(field, kind)) {
            None => {
                self.greatest.insert((field, kind), one(value));
            }
            Some(greatest) => match compare(&value, &greatest.value) {
                Some(std::cmp::Ordering::Greater) => *greatest = one(value),
                Some(std::cmp::Ordering::Equal) => {
                    greatest.ties += 1;
                    greatest.hash = greatest.hash.wrapping_add(hash);
                }
                _ => {}
            },
        }
    }

    /// Takes in what another reader saw of other documents.
    pub(crate) fn merge(&mut self, other: Self) {
        self.unmarked += other.unmarked;
        for (key, theirs) in other.greatest {
            match self.greatest.get_mut(&key) {
                None => {
                    self.greatest.insert(key, theirs);
                }
                Some(mine) => match compare(&theirs.value, &mine.value) {
                    Some(std::cmp::Ordering::Greater) => *mine = theirs,
                    Some(std::cmp::Ordering::Equal) => {
                        mine.ties += theirs.ties;
                        mine.hash = mine.hash.wrapping_add(theirs.hash);
                    }
                    _ => {}
                },
            }
        }
    }

    /// Takes in what a later pass saw. Where it saw documents at the mark's value again, they are all of them.
    pub(crate) fn pass(&mut self, later: Self) {
        for (key, theirs) in later.greatest {
            let mine = self.greatest.entry(key).or_insert_with(|| theirs.clone());
            if compare(&theirs.value, &mine.value) != Some(std::cmp::Ordering::Less) {
                *mine = theirs;
            }
        }
    }

    /// As they are stored.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let mark = |((field, _), greatest): (&(&str, &str), &Greatest)| Mark {
            field: (*field).to_owned(),
            value: greatest.value.clone(),
            ties: greatest.ties,
            tie_hash: greatest.hash,
        };
        self.greatest.iter().map(mark).collect()
    }
}

/// No mark may pass the server's clock at the moment before its pass began: a document written during the pass, into a
/// range already read, carries a later time than that and is found by the next.
pub(crate) fn capped(marks: Vec<Mark>, began: DateTime) -> Vec<Mark> {
    let cap = |mut mark: Mark| {
        let limit = match &mark.value {
            Bson::DateTime(value) if *value > began => Bson::DateTime(began),
            Bson::String(value) if is_later(value, began) => {
                Bson::String(began.try_to_rfc3339_string().unwrap_or_default())
            }
            _ => return mark,
        };
        (mark.value, mark.ties, mark.tie_hash) = (limit, 0, 0);
        mark
    };
    marks.into_iter().map(cap).collect()
}

fn is_later(text: &str, began: DateTime) -> bool {
    let micros = crate::timestamp::from_text(text);
    micros.is_some_and(|micros| micros / 1000 > began.timestamp_millis())
}

/// The marks of a collection of which nothing older than now is wanted.
pub(crate) fn from_now_on(now: DateTime) -> Vec<Mark> {
    let text = now.try_to_rfc3339_string().unwrap_or_default();
    let object_id = bson::oid::ObjectId::from_parts(
        u32::try_from(now.timestamp_millis() / 1000).unwrap_or(u32::MAX),
        [0; 5],
        [0; 3],
    );
    let mark = |field: &str, value: Bson| Mark {
        field: field.to_owned(),
        value,
        ties: 0,
        tie_hash: 0,
    };
    let times = FIELDS.map(|field| [mark(field, now.into()), mark(field, text.as_str().into())]);
    let mut marks: Vec<_> = times.into_iter().flatten().collect();
    marks.push(mark(ID, object_id.into()));
    marks
}

/// A hash of an `_id` that only has to tell sets of ids apart.
pub(crate) fn tie_hash(id: RawBsonRef<'_>) -> i64 {
    let mut text = String::new();
    if json::write(&mut text, id, json::Form::Canonical).is_err() {
        return 0;
    }
    let hash = blake3::hash(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    i64::from_le_bytes(bytes)
}

/// In the order of MongoDB; none where a value of this type can be no mark.
fn compare(a: &Bson, b: &Bson) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Bson::DateTime(a), Bson::DateTime(b)) => Some(a.cmp(b)),
        (Bson::String(a), Bson::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Bson::ObjectId(a), Bson::ObjectId(b)) => Some(a.bytes().cmp(&b.bytes())),
        (Bson::Timestamp(a), Bson::Timestamp(b)) => Some((a.time, a.increment).cmp(&(b.time, b.increment))),
        _ => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => number(a)?.partial_cmp(&number(b)?),
        },
    }
}

fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mark that is too small by rounding only makes some documents be read again"
)]
fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    }
}

/// The index into [`BRACKETS`] of what a value compares with.
pub(crate) fn bracket_of(value: &Bson) -> usize {
    let name = match value {
        Bson::Null | Bson::Undefined => "null",
        Bson::MinKey => "minKey",
        Bson::MaxKey => "maxKey",
        Bson::RegularExpression(_) | Bson::DbPointer(_) => "regex",
        Bson::JavaScriptCode(_) | Bson::JavaScriptCodeWithScope(_) => "javascript",
        value => type_of(value).unwrap_or("null"),
    };
    let found = BRACKETS.iter().position(|types| types.contains(&name));
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks_of(documents: &[Document]) -> Vec<Mark> {
        let mut tracker = MarkTracker::default();
        for document in documents {
            let document = bson::RawDocumentBuf::try_from(document).unwrap();
            tracker.see(&Trace::of(&document));
        }
        tracker.marks()
    }

    fn at(millis: i64) -> DateTime {
        DateTime::from_millis(millis)
    }

    #[test]
    fn each_field_and_type_has_a_mark_of_its_own() {
        let marks = marks_of(&[
            doc! {"_id": 1, "ingestedAt": at(5)},
            doc! {"_id": 2, "ingestedAt": at(7)},
            doc! {"_id": 3, "ingestedAt": at(7)},
            doc! {"_id": 4, "_synced_at": "2026-01-01T00:00:00Z"},
            doc! {"_id": 5, "_synced_at": Bson::Null},
            doc! {"_id": 4},
        ]);
        let told: Vec<_> = marks
            .iter()
            .map(|mark| format!("{} {} ×{}", mark.field, mark.value, mark.ties))
            .collect();
        assert_eq!(
            told,
            [
                "_id 5 ×1",
                "_synced_at \"2026-01-01T00:00:00Z\" ×1",
                "ingestedAt DateTime(\"1970-01-01 0:00:00.007 +00:00:00\") ×2"
            ]
        );
    }

    #[test]
    fn readers_of_parts_find_the_marks_of_the_whole() {
        let documents: Vec<_> = (0..100)
            .map(|number| doc! {"_id": number, "ingestedAt": at(i64::from(number * 7 % 13))})
            .collect();
        let mut merged = MarkTracker::default();
        for part in documents.chunks(9) {
            merged.merge(MarkTracker::of(&marks_of(part)));
        }
        assert_eq!(merged.marks(), marks_of(&documents));
    }

    #[test]
    fn a_mark_never_passes_the_beginning_of_its_pass() {
        let marks = marks_of(&[
            doc! {"_id": 1, "ingestedAt": at(9)},
            doc! {"_id": 2, "_synced_at": "1970-01-01T00:00:09Z"},
        ]);
        let capped = capped(marks, at(8));
        let told: Vec<_> = capped
            .iter()
            .map(|mark| format!("{} ×{}", mark.value, mark.ties))
            .collect();
        assert_eq!(
            told,
            [
                "\"1970-01-01T00:00:00.008Z\" ×0",
                "DateTime(\"1970-01-01 0:00:00.008 +00:00:00\") ×0"
            ]
        );
    }
}
