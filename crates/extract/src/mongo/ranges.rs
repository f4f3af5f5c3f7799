//! A collection cut into ranges of `_id`, each read by a cursor of its own and resumed where it stopped.
//!
//! Comparisons see one type only (numbers are one), so a range lies within the ids of one type; a collection whose
//! ids are of several has ranges for each.

use bson::{Bson, Document, doc, oid::ObjectId};
use serde::{Deserialize, Serialize};

/// Types of `_id` that compare with each other, by the names that `$type` has for them, in the order of MongoDB.
pub(crate) const BRACKETS: [&[&str]; 14] = [
    &["minKey"],
    &["null", "undefined"],
    &["number"],
    &["string", "symbol"],
    &["object"],
    &["array"],
    &["binData"],
    &["objectId"],
    &["bool"],
    &["date"],
    &["timestamp"],
    &["regex", "dbPointer"],
    &["javascript", "javascriptWithScope"],
    &["maxKey"],
];

/// Ids of one type from a bound on: what one cursor reads, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// Index into [`BRACKETS`].
    pub(crate) bracket: i32,
    /// Ids from here on; none from the first.
    pub(crate) from: Option<Bson>,
    /// Ids behind this one, which is in the lake already.
    pub(crate) after: Option<Bson>,
    /// Ids below; none to the last.
    pub(crate) below: Option<Bson>,
}

impl Range {
    /// All ids of a bracket.
    pub(crate) fn whole(bracket: usize) -> Self {
        Self {
            bracket: i32::try_from(bracket).unwrap_or(i32::MAX),
            from: None,
            after: None,
            below: None,
        }
    }

    /// Of what type its ids are.
    pub(crate) fn types(&self) -> &'static [&'static str] {
        usize::try_from(self.bracket)
            .ok()
            .and_then(|bracket| BRACKETS.get(bracket))
            .copied()
            .unwrap_or_default()
    }

    /// The filter for what is left of it.
    pub(crate) fn filter(&self) -> Document {
        let mut bounds = doc! {"$type": self.types()};
        match &self.after {
            // NaN is the least number, and nothing is greater than it by comparison.
            Some(after) if is_nan(after) => {
                bounds.insert("$gte", f64::NEG_INFINITY);
            }
            Some(after) => {
                bounds.insert("$gt", after.clone());
            }
            None => {
                if let Some(from) = &self.from {
                    bounds.insert("$gte", from.clone());
                }
            }
        }
        if let Some(below) = &self.below {
            // What is not at or above the bound may be NaN, which is not below it either.
            let is_first = self.after.is_none() && self.from.is_none();
            if is_first && self.types() == ["number"] {
                bounds.insert("$not", doc! {"$gte": below.clone()});
            } else {
                bounds.insert("$lt", below.clone());
            }
        }
        doc! {"_id": bounds}
    }
}

/// As many ids, evenly spread between two: ObjectIds begin with their time, so ranges between them hold about as many
/// documents each where those came in steadily, and no server has to draw any.
pub(crate) fn evenly(least: ObjectId, most: ObjectId, count: usize) -> Vec<Bson> {
    let number = |id: ObjectId| {
        id.bytes()
            .iter()
            .fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte))
    };
    let first = number(least);
    let step = number(most).saturating_sub(first) / count.max(1) as u128;
    let spread = (0..count).map(|index| first + step * index as u128);
    spread
        .map(|number| {
            let mut bytes = [0; 12];
            bytes.copy_from_slice(&number.to_be_bytes()[4..]);
            Bson::ObjectId(ObjectId::from_bytes(bytes))
        })
        .collect()
}

/// Cuts a bracket at bounds that were drawn at random from its ids, in their order. Equal ones and those that compare
/// with nothing are left out.
pub(crate) fn cut(bracket: usize, sample: &[Bson], parts: usize) -> Vec<Range> {
    let mut bounds: Vec<&Bson> = Vec::new();
    for part in 1..parts {
        let Some(bound) = sample.get(part * sample.len() / parts) else {
            continue;
        };
        if !is_nan(bound) && bounds.last() != Some(&bound) {
            bounds.push(bound);
        }
    }
    let mut ranges = Vec::with_capacity(bounds.len() + 1);
    let mut from = None;
    for bound in bounds {
        // The first range has no lower bound, so that NaN is in it.
        ranges.push(Range {
            from: from.replace(bound.clone()),
            below: Some(bound.clone()),
            ..Range::whole(bracket)
        });
    }
    ranges.push(Range {
        from,
        ..Range::whole(bracket)
    });
    ranges
}

fn is_nan(value: &Bson) -> bool {
    match value {
        Bson::Double(number) => number.is_nan(),
        Bson::Decimal128(number) => number.to_string().to_ascii_lowercase().contains("nan"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sample: &[i32], parts: usize, expected: &str) {
        let sample: Vec<Bson> = sample.iter().map(|id| Bson::Int32(*id)).collect();
        let ranges = cut(2, &sample, parts);
        let bound = |bound: &Option<Bson>| bound.as_ref().map_or("…".to_owned(), ToString::to_string);
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| format!("{}–{}", bound(&range.from), bound(&range.below)))
            .collect();
        assert_eq!(ranges.join(" "), expected);
    }

    #[test]
    fn ranges_meet_without_gap_or_overlap() {
        check(&[1, 2, 3, 4, 5, 6], 3, "…–3 3–5 5–…");
        check(&[1, 2], 1, "…–…");
        check(&[], 3, "…–…");
        check(&[7, 7, 7, 7], 4, "…–7 7–…");
        check(&[1, 2], 5, "…–1 1–2 2–…");
    }

    #[test]
    fn object_ids_are_cut_evenly() {
        let id = |last: u8| ObjectId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        let spread = evenly(id(10), id(90), 4);
        assert_eq!(spread, [10, 30, 50, 70].map(|last| Bson::ObjectId(id(last))));
        assert_eq!(cut(7, &spread, 4).len(), 4);
        assert_eq!(cut(7, &evenly(id(5), id(5), 3), 3).len(), 2);
    }

    #[test]
    fn a_resumed_range_goes_on_behind_the_last_id() {
        let mut range = cut(2, &[Bson::Int32(5)], 2).remove(1);
        assert_eq!(range.filter(), doc! {"_id": {"$type": ["number"], "$gte": 5}});
        range.after = Some(Bson::Int32(9));
        assert_eq!(range.filter(), doc! {"_id": {"$type": ["number"], "$gt": 9}});
        range.after = Some(Bson::Double(f64::NAN));
        assert_eq!(
            range.filter(),
            doc! {"_id": {"$type": ["number"], "$gte": f64::NEG_INFINITY}}
        );
    }
}
