//! Values as marks: what they compare with, in which order, and where that is the order of time.

use bson::{Bson, DateTime, oid::ObjectId};

use super::ranges::BRACKETS;

/// The name for `$type` of what a value compares with; none for null, which is as if it were missing.
pub(crate) fn type_of(value: &Bson) -> Option<&'static str> {
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

/// Characters of `2026-02-03T10:00:00`.
const SECOND: usize = 19;

/// The mark's value that a document's value falls into; none where it can be no mark.
pub(crate) fn floor(value: Bson) -> Option<Bson> {
    Some(match value {
        Bson::String(text) => Bson::String(utc_second(&text)?.to_owned()),
        Bson::ObjectId(id) => second(id_seconds(&id)),
        value => value,
    })
}

/// Where the value of a mark ends, if it is longer than an instant.
pub(crate) fn next(value: &Bson) -> Option<Bson> {
    Some(match value {
        // Above whatever ends a time: a fraction, `Z`, or an offset.
        Bson::String(text) => Bson::String(format!("{text}~")),
        Bson::ObjectId(id) => second(id_seconds(id).saturating_add(1)),
        _ => return None,
    })
}

fn id_seconds(id: &ObjectId) -> u32 {
    let [a, b, c, d, ..] = id.bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The least ObjectId of a second since 1970.
pub(crate) fn second(seconds: u32) -> Bson {
    ObjectId::from_parts(seconds, [0; 5], [0; 3]).into()
}

/// The time as far as the second, if it is one in UTC: `2026-02-03T10:00:00.123Z`, or with `+00:00`.
fn utc_second(text: &str) -> Option<&str> {
    let (second, rest) = text.split_at_checked(SECOND)?;
    let mut form = second.bytes().zip("0000-00-00T00:00:00".bytes());
    let is_time = form.all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    let rest = rest.strip_suffix('Z').or_else(|| rest.strip_suffix("+00:00"))?;
    let digits = rest.strip_prefix('.').unwrap_or(rest);
    let is_fraction = rest.is_empty() || (rest.len() > digits.len() && !digits.is_empty());
    let is_utc = is_fraction && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_utc && is_time).then_some(second)
}

/// The same for the server.
pub(crate) const UTC_TEXT: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|\+00:00)$";

pub(crate) fn seconds(time: DateTime) -> u32 {
    u32::try_from(time.timestamp_millis() / 1000).unwrap_or_default()
}

pub(crate) fn second_text(time: DateTime) -> Bson {
    let text = time.try_to_rfc3339_string().unwrap_or_default();
    Bson::String(text.get(..SECOND).unwrap_or_default().to_owned())
}

/// In the order of MongoDB; none where a value of this type can be no mark.
pub(crate) fn compare(a: &Bson, b: &Bson) -> Option<std::cmp::Ordering> {
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
pub(crate) fn number(value: &Bson) -> Option<f64> {
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

    #[test]
    fn a_text_is_a_mark_where_its_order_is_that_of_time() {
        for (text, expected) in [
            ("2026-01-01T10:00:09Z", Some("2026-01-01T10:00:09")),
            ("2026-01-01T10:00:09.5Z", Some("2026-01-01T10:00:09")),
            ("2026-01-01T10:00:09.123456+00:00", Some("2026-01-01T10:00:09")),
            ("2026-01-01T05:00:09-05:00", None),
            ("2026-01-01T10:00:09", None),
            ("2026-01-01T10:00:09.Z", None),
            ("2026-01-01 10:00:09Z", None),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(floor(text.into()), expected.map(Bson::from), "{text}");
            let bound = next(&Bson::String("2026-01-01T10:00:09".into())).unwrap();
            assert!(text < bound.as_str().unwrap() || text == "zzz");
        }
    }
}
