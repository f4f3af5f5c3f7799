//! A document's `_id` as text: by value and without collisions, so that two documents never share a row.
//!
//! An ObjectId is its 24 hex digits, a number its exact decimal (MongoDB holds 1 and 1.0 equal, so they are one), a
//! string itself, unless it looks like one of these or carries a prefix: then `str:…`. Every other type is its name,
//! a colon, and canonical extended JSON.

use bson::RawBsonRef;

use super::json::{self, Form, Undecodable};

/// Zeros that a number may have between its digits and the point before it is written with an exponent. Small enough
/// that no number looks like the 32 hex digits of a record's own id.
const MOST_ZEROS: i64 = 20;

/// Digits of a number before it is written with an exponent, for the same reason.
const MOST_DIGITS: i64 = 25;

/// Names of types (as `$type` has them) whose ids carry them as a prefix.
const PREFIXES: [&str; 15] = [
    "str",
    "object",
    "array",
    "binData",
    "undefined",
    "bool",
    "date",
    "null",
    "regex",
    "dbPointer",
    "javascript",
    "symbol",
    "timestamp",
    "minKey",
    "maxKey",
];

/// The text of an `_id`.
///
/// # Errors
/// Why it is no valid BSON.
pub(crate) fn text(id: RawBsonRef<'_>) -> Result<String, Undecodable> {
    let name = match id {
        RawBsonRef::ObjectId(id) => return Ok(id.to_hex()),
        RawBsonRef::Int32(number) => return Ok(number.to_string()),
        RawBsonRef::Int64(number) => return Ok(number.to_string()),
        RawBsonRef::Double(number) => return Ok(of_double(number)),
        RawBsonRef::Decimal128(number) => return Ok(of_decimal(&number.to_string())),
        RawBsonRef::String(text) if is_mistakable(text) => return Ok(format!("str:{text}")),
        RawBsonRef::String(text) => return Ok(text.to_owned()),
        RawBsonRef::Document(_) => "object",
        RawBsonRef::Array(_) => "array",
        RawBsonRef::Binary(_) => "binData",
        RawBsonRef::Undefined => "undefined",
        RawBsonRef::Boolean(_) => "bool",
        RawBsonRef::DateTime(_) => "date",
        RawBsonRef::Null => "null",
        RawBsonRef::RegularExpression(_) => "regex",
        RawBsonRef::DbPointer(_) => "dbPointer",
        RawBsonRef::JavaScriptCode(_) | RawBsonRef::JavaScriptCodeWithScope(_) => "javascript",
        RawBsonRef::Symbol(_) => "symbol",
        RawBsonRef::Timestamp(_) => "timestamp",
        RawBsonRef::MinKey => "minKey",
        RawBsonRef::MaxKey => "maxKey",
    };
    let mut text = format!("{name}:");
    json::write(&mut text, id, Form::Canonical)?;
    Ok(text)
}

fn is_mistakable(text: &str) -> bool {
    let is_object_id = text.len() == 24 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let has_prefix = text
        .split_once(':')
        .is_some_and(|(prefix, _)| PREFIXES.contains(&prefix));
    is_object_id || has_prefix || is_number(text)
}

/// Whether a number could be written so.
fn is_number(text: &str) -> bool {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return true;
    }
    let unsigned = |text: &str| text.strip_prefix('-').unwrap_or(text).to_owned();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = unsigned(text);
    let (mantissa, exponent) = rest.split_once('E').unwrap_or((&rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let has_shape = is_digits(whole) && is_digits(fraction) && is_digits(&unsigned(exponent));
    has_shape && of_decimal(text) == text
}

/// The exact value of a double: every one has a finite decimal.
fn of_double(number: f64) -> String {
    if number.is_finite() {
        // The smallest has 1,074 digits behind the point.
        return of_decimal(&format!("{number:.1074}"));
    }
    of_decimal(&number.to_string())
}

/// Digits, with or without a point and an exponent, in the one form that equal numbers share.
fn of_decimal(text: &str) -> String {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    if rest.eq_ignore_ascii_case("nan") {
        return "NaN".to_owned();
    }
    if rest.to_ascii_lowercase().starts_with("inf") {
        return format!("{sign}Infinity");
    }
    let (mantissa, exponent) = rest.split_once(['E', 'e']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let exponent: i64 = exponent.parse().unwrap_or_default();
    let exponent = exponent
        .saturating_sub(length(fraction))
        .saturating_add(length(digits) - length(significant));
    format!("{sign}{}", positioned(significant, exponent))
}

/// `digits` × 10^`exponent`; the digits neither begin nor end with 0.
fn positioned(digits: &str, exponent: i64) -> String {
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    if exponent >= 0 {
        if exponent > MOST_ZEROS || length.saturating_add(exponent) > MOST_DIGITS {
            return format!("{digits}E{exponent}");
        }
        return format!("{digits}{}", zeros(exponent));
    }
    let whole = length + exponent;
    match usize::try_from(whole) {
        Ok(0) => format!("0.{digits}"),
        Ok(whole) => format!("{}.{}", &digits[..whole], &digits[whole..]),
        Err(_) if whole < -MOST_ZEROS => format!("{digits}E{exponent}"),
        Err(_) => format!("0.{}{digits}", zeros(-whole)),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Decimal128, doc};
    use proptest::prelude::*;

    use super::*;

    fn id_of(value: impl Into<Bson>) -> String {
        let document = bson::RawDocumentBuf::try_from(&doc! {"_id": value.into()}).unwrap();
        text(document.get("_id").unwrap().unwrap()).unwrap()
    }

    fn decimal(text: &str) -> Decimal128 {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_its_value() {
        let object_id = bson::oid::ObjectId::parse_str("65a4f0c2e1b2c3d4e5f60718").unwrap();
        let cases: [(Bson, &str); 31] = [
            ("2026-01-15".into(), "2026-01-15"),
            ("1.2.3".into(), "1.2.3"),
            ("-1.5E-7".into(), "-1.5E-7"),
            ("1E9223372036854775807".into(), "str:1E9223372036854775807"),
            (object_id.into(), "65a4f0c2e1b2c3d4e5f60718"),
            ("65a4f0c2e1b2c3d4e5f60718".into(), "str:65a4f0c2e1b2c3d4e5f60718"),
            ("65A4F0C2E1B2C3D4E5F60718".into(), "65A4F0C2E1B2C3D4E5F60718"),
            (1.into(), "1"),
            (1_i64.into(), "1"),
            (1.0.into(), "1"),
            (decimal("1.00").into(), "1"),
            (decimal("1E+2").into(), "100"),
            (decimal("1E+6000").into(), "1E6000"),
            (decimal("10E+5999").into(), "1E6000"),
            (decimal("-0").into(), "0"),
            (decimal("0.1").into(), "0.1"),
            (
                0.1.into(),
                "0.1000000000000000055511151231257827021181583404541015625",
            ),
            ((-2.5).into(), "-2.5"),
            (1e300.into(), id_of(1e300).leak()),
            (f64::NAN.into(), "NaN"),
            (decimal("NaN").into(), "NaN"),
            (f64::NEG_INFINITY.into(), "-Infinity"),
            ("1".into(), "str:1"),
            ("01".into(), "01"),
            ("NaN".into(), "str:NaN"),
            ("str:x".into(), "str:str:x"),
            ("line:9".into(), "line:9"),
            ("".into(), ""),
            (Bson::Null, "null:null"),
            (
                Bson::Document(doc! {"a": 1}),
                r#"object:{"a":{"$numberInt":"1"}}"#,
            ),
            (true.into(), "bool:true"),
        ];
        for (id, expected) in cases {
            assert_eq!(id_of(id.clone()), expected, "{id:?}");
        }
    }

    #[test]
    fn a_number_never_looks_like_a_record_id() {
        let digits = "12345678901234567890123456789012";
        assert_eq!(id_of(digits), digits);
        assert_ne!(id_of(decimal(digits)), digits);
    }

    proptest! {
        #[test]
        fn a_string_is_never_taken_for_a_number(number in any::<f64>(), integer in any::<i64>()) {
            for text in [id_of(number), id_of(integer)] {
                prop_assert_ne!(id_of(text.as_str()), text);
            }
        }

        #[test]
        fn different_doubles_are_different_ids(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a.partial_cmp(&b) == Some(std::cmp::Ordering::Equal), id_of(a) == id_of(b));
        }
    }
}
