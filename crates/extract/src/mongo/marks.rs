//! High-water marks: what an incremental extract reads, and what it has read then.
//!
//! A document says by `_synced_at` or `ingestedAt` when it was written; one that has neither is new when its `_id` is.
//! Documents that share the mark's value may come later, so the value itself is read again unless the documents
//! that have it are those that had it (their number and the sum of their ids' hashes).
//!
//! Of texts and ObjectIds the value is a whole second. Within one, the order of texts is not that of time (`…09Z` is above
//! `…09.5Z`), nor is that of ObjectIds of two clients. A text that is no time in UTC is no mark, and read each time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bson::{Bson, DateTime, Document, RawBsonRef, Timestamp, doc};

use super::{
    document::Trace,
    json,
    position::Mark,
    values::{UTC_TEXT, compare, floor, next, number, second, second_text, seconds, type_of},
};

/// Fields that say when a document was written.
pub(crate) const FIELDS: [&str; 2] = ["_synced_at", "ingestedAt"];

const ID: &str = "_id";

/// Documents at or above the marks, and those of types that have none yet.
///
/// `is_settled` says of each mark whether the documents at its value are the known ones.
pub(crate) fn filter(marks: &[Mark], is_settled: &[bool]) -> Document {
    let mut clauses = Vec::new();
    let mut unmarked = Document::new();
    for (field, other) in FIELDS.into_iter().zip(FIELDS.into_iter().rev()) {
        clauses.extend(clauses_of(field, marks, is_settled));
        // A document that says it well once need not be read each time.
        clauses.push(doc! {field: no_time(), "$or": [{other: Bson::Null}, {other: no_time()}]});
        unmarked.insert(field, Bson::Null);
    }
    let by_id = clauses_of(ID, marks, is_settled);
    unmarked.insert("$or", by_id);
    clauses.push(unmarked);
    doc! {"$or": clauses}
}

/// Texts that are no mark.
fn no_time() -> Document {
    doc! {"$type": "string", "$not": {"$regex": UTC_TEXT}}
}

fn clauses_of(field: &str, marks: &[Mark], is_settled: &[bool]) -> Vec<Document> {
    let mut clauses = Vec::new();
    let mut seen = Vec::new();
    for (mark, is_settled) in marks
        .iter()
        .zip(is_settled)
        .filter(|(mark, _)| mark.field == field)
    {
        let value = mark.value.clone();
        let bound = match next(&value) {
            _ if !is_settled => doc! {"$gte": value},
            Some(next) => doc! {"$gte": next},
            None => doc! {"$gt": value},
        };
        clauses.push(comparable(mark, bound));
        seen.extend(type_of(&mark.value));
    }
    if field != ID && !seen.contains(&"string") {
        clauses.push(doc! {field: {"$regex": UTC_TEXT}});
        seen.push("string");
    }
    let mut unseen = doc! {"$ne": Bson::Null};
    if !seen.is_empty() {
        unseen.insert("$not", doc! {"$type": seen});
    }
    clauses.push(doc! {field: unseen});
    clauses
}

/// Instead of the number of documents that have a mark's value: they are about to be read again.
pub(crate) const UNSETTLED: i64 = -1;

/// The documents that have a mark's value.
pub(crate) fn ties_filter(mark: &Mark) -> Document {
    let value = mark.value.clone();
    let ties = if let Some(next) = next(&value) {
        doc! {"$gte": value, "$lt": next}
    } else {
        doc! {"$eq": value}
    };
    comparable(mark, ties)
}

/// The bounds for the mark's field, among the values that can be marks.
fn comparable(mark: &Mark, mut bounds: Document) -> Document {
    if matches!(mark.value, Bson::String(_)) {
        bounds.insert("$regex", UTC_TEXT);
    }
    doc! {mark.field.as_str(): bounds}
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

impl Greatest {
    /// Takes in what other documents say.
    fn absorb(&mut self, other: Self) {
        match compare(&other.value, &self.value) {
            Some(Ordering::Greater) => *self = other,
            Some(Ordering::Equal) => {
                self.ties += other.ties;
                self.hash = self.hash.wrapping_add(other.hash);
            }
            _ => {}
        }
    }
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
        let (mut says_when, mut is_marked) = (false, false);
        for (field, value) in FIELDS.into_iter().zip(document.written) {
            if let Some(value) = value.filter(|value| !matches!(value, RawBsonRef::Null)) {
                says_when = true;
                is_marked |= self.see_value(field, value, document.id);
            }
        }
        self.unmarked += u64::from(says_when && !is_marked);
        if !says_when && let Some(id) = document.id {
            match id {
                // As a rule, what comes later has a greater one.
                RawBsonRef::ObjectId(_)
                | RawBsonRef::Int32(_)
                | RawBsonRef::Int64(_)
                | RawBsonRef::Double(_)
                | RawBsonRef::DateTime(_)
                | RawBsonRef::Timestamp(_) => _ = self.see_value(ID, id, document.id),
                _ => self.unmarked += 1,
            }
        }
    }

    /// Whether the value can be a mark.
    fn see_value(&mut self, field: &'static str, value: RawBsonRef<'_>, id: Option<RawBsonRef<'_>>) -> bool {
        let Some(value) = Bson::try_from(value).ok().and_then(floor) else {
            return false;
        };
        // What does not compare with itself is no mark: no mark of its type means that all of the type are read.
        let Some(kind) = type_of(&value).filter(|_| compare(&value, &value).is_some()) else {
            return false;
        };
        let hash = id.map_or(0, tie_hash);
        self.absorb((field, kind), Greatest { value, ties: 1, hash });
        true
    }

    /// Takes in what another reader saw of other documents.
    pub(crate) fn merge(&mut self, other: Self) {
        self.unmarked += other.unmarked;
        for (key, theirs) in other.greatest {
            self.absorb(key, theirs);
        }
    }

    fn absorb(&mut self, key: (&'static str, &'static str), theirs: Greatest) {
        match self.greatest.get_mut(&key) {
            Some(mine) => mine.absorb(theirs),
            None => _ = self.greatest.insert(key, theirs),
        }
    }

    /// Takes in what a later pass saw. At the value of an unsettled mark those are all documents; at that of a settled one they
    /// are known, and were read for another field of theirs.
    pub(crate) fn pass(&mut self, later: Self) {
        for (key, theirs) in later.greatest {
            let mine = self.greatest.entry(key).or_insert_with(|| theirs.clone());
            match compare(&theirs.value, &mine.value) {
                Some(Ordering::Greater) => *mine = theirs,
                Some(Ordering::Equal) if mine.ties == UNSETTLED => *mine = theirs,
                _ => {}
            }
        }
        for mark in self.greatest.values_mut() {
            mark.ties = mark.ties.max(0);
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
    let seconds = seconds(began);
    let cap = |mut mark: Mark| {
        let limit = match &mark.value {
            Bson::DateTime(_) => began.into(),
            Bson::String(_) => second_text(began),
            // One that is made of something else than time may be years ahead: it is read each time, and hides no other.
            Bson::ObjectId(_) => second(seconds),
            Bson::Timestamp(_) => Bson::Timestamp(Timestamp {
                time: seconds,
                increment: 0,
            }),
            value if mark.field != ID => match number(value).and_then(units_per_second) {
                Some(units) => (began.timestamp_millis().saturating_mul(units) / 1000).into(),
                None => return mark,
            },
            _ => return mark,
        };
        if compare(&mark.value, &limit) == Some(Ordering::Greater) {
            (mark.value, mark.ties, mark.tie_hash) = (limit, 0, 0);
        }
        mark
    };
    marks.into_iter().map(cap).collect()
}

/// In what a number that says when a document was written counts since 1970: seconds, or thousandths, millionths or billionths
/// of them, from 1973 to 2096. None where it is no time, but a counter perhaps.
fn units_per_second(number: f64) -> Option<i64> {
    [1, 1_000, 1_000_000, 1_000_000_000].into_iter().find(|units| {
        #[expect(clippy::cast_precision_loss, reason = "powers of ten up to 10⁹ are exact")]
        let seconds = number / *units as f64;
        (1e8..4e9).contains(&seconds)
    })
}

/// The marks of a collection of which nothing older than now is wanted.
pub(crate) fn from_now_on(now: DateTime) -> Vec<Mark> {
    let mark = |field: &str, value: Bson| Mark {
        field: field.to_owned(),
        value,
        ties: 0,
        tie_hash: 0,
    };
    let times = FIELDS.map(|field| [mark(field, now.into()), mark(field, second_text(now))]);
    let mut marks: Vec<_> = times.into_iter().flatten().collect();
    marks.push(mark(ID, second(seconds(now))));
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
                "_synced_at \"2026-01-01T00:00:00\" ×1",
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
    fn documents_read_for_another_field_leave_a_settled_mark_alone() {
        let two = [
            doc! {"_id": 1, "ingestedAt": at(7)},
            doc! {"_id": 2, "ingestedAt": at(7)},
        ];
        let again = [doc! {"_id": 1, "ingestedAt": at(7), "_synced_at": at(9)}];
        let pass = |ties: Option<i64>| {
            let mut marks = marks_of(&two);
            marks[0].ties = ties.unwrap_or(marks[0].ties);
            let mut tracker = MarkTracker::of(&marks);
            tracker.pass(MarkTracker::of(&marks_of(&again)));
            let marks = tracker.marks();
            marks.iter().map(|mark| mark.ties).collect::<Vec<_>>()
        };
        assert_eq!(pass(None), [1, 2], "of `_synced_at` and of `ingestedAt`");
        assert_eq!(pass(Some(UNSETTLED)), [1, 1]);
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
                "\"1970-01-01T00:00:00\" ×0",
                "DateTime(\"1970-01-01 0:00:00.008 +00:00:00\") ×0"
            ]
        );
    }

    #[test]
    fn every_kind_of_time_is_capped_and_none_is_raised() {
        let began = at(1_770_000_000_500);
        let timestamp = |time| Bson::Timestamp(Timestamp { time, increment: 3 });
        for (value, expected) in [
            (Bson::from(1_770_000_001), Bson::from(1_770_000_000_i64)),
            (1_769_999_999.into(), 1_769_999_999.into()),
            (1_770_000_000_501_i64.into(), 1_770_000_000_500_i64.into()),
            (1_770_000_000_499_i64.into(), 1_770_000_000_499_i64.into()),
            (
                timestamp(1_770_000_001),
                Bson::Timestamp(Timestamp {
                    time: 1_770_000_000,
                    increment: 0,
                }),
            ),
            (timestamp(1_769_999_999), timestamp(1_769_999_999)),
            ("2026-02-02T02:40:01.9Z".into(), "2026-02-02T02:40:00".into()),
            ("2026-02-02T02:40:00.9Z".into(), "2026-02-02T02:40:00".into()),
            ("2026-02-02T02:39:59.9Z".into(), "2026-02-02T02:39:59".into()),
        ] {
            let marks = capped(marks_of(&[doc! {"_id": 1, "ingestedAt": value.clone()}]), began);
            assert_eq!(marks[0].value, expected, "{value}");
        }
        let ids = marks_of(&[doc! {"_id": 1_800_000_000}]);
        assert_eq!(
            capped(ids.clone(), began),
            ids,
            "an id that is a number is no time"
        );
    }
}
