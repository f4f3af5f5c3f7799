//! BSON → extended JSON, written in one pass: what becomes `_raw_json`, and what the JSON columns are slices of.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bson::{Binary, RawBsonRef, RawDocument, Timestamp, spec::BinarySubtype};

/// Deepest nesting that is read. Servers refuse documents deeper than 200.
const MAX_DEPTH: usize = 256;

/// The first millisecond of 1970 and the last of 9999: in between, relaxed extended JSON has dates as text.
const TEXT_DATES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799_999;

/// How much of a value's type the text shows
/// (<https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Numbers and dates as people write them.
    Relaxed,
    /// Every type, so that the text can be read back as the same value.
    Canonical,
}

/// Why a document is none, in a few words.
pub(crate) type Undecodable = String;

/// Writes a value; `out` holds half of it after an error.
///
/// # Errors
/// Why it is no valid BSON: a string of other bytes than UTF-8, a wrong length, nesting without end.
pub(crate) fn write(out: &mut String, value: RawBsonRef<'_>, form: Form) -> Result<(), Undecodable> {
    write_nested(out, value, form, 0)
}

fn write_nested(
    out: &mut String,
    value: RawBsonRef<'_>,
    form: Form,
    depth: usize,
) -> Result<(), Undecodable> {
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    match value {
        RawBsonRef::String(text) => string(out, text),
        RawBsonRef::Document(document) => object(out, document, form, depth)?,
        RawBsonRef::Array(array) => {
            out.push('[');
            for (index, item) in array.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_nested(out, item.map_err(|error| reason(&error))?, form, depth + 1)?;
            }
            out.push(']');
        }
        RawBsonRef::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        RawBsonRef::Null => out.push_str("null"),
        RawBsonRef::Int32(number) if form == Form::Relaxed => integer(out, number.into()),
        RawBsonRef::Int64(number) if form == Form::Relaxed => integer(out, number),
        RawBsonRef::Double(number) if form == Form::Relaxed && number.is_finite() => double(out, number),
        RawBsonRef::DateTime(date) if form == Form::Relaxed => relaxed_date(out, date.timestamp_millis()),
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.push_str("{\"$code\":");
            string(out, code.code);
            out.push_str(",\"$scope\":");
            object(out, code.scope, form, depth)?;
            out.push('}');
        }
        other => typed(out, other),
    }
    Ok(())
}

fn object(out: &mut String, document: &RawDocument, form: Form, depth: usize) -> Result<(), Undecodable> {
    out.push('{');
    for (index, element) in document.iter_elements().enumerate() {
        let element = element.map_err(|error| reason(&error))?;
        if index > 0 {
            out.push(',');
        }
        string(out, element.key().as_str());
        out.push(':');
        let value = element.value().map_err(|error| reason(&error))?;
        write_nested(out, value, form, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// A value that JSON has no type for, or, in canonical form, a number or date.
fn typed(out: &mut String, value: RawBsonRef<'_>) {
    // Writing to a string cannot fail.
    let _ = match value {
        RawBsonRef::Int32(number) => write!(out, "{{\"$numberInt\":\"{number}\"}}"),
        RawBsonRef::Int64(number) => write!(out, "{{\"$numberLong\":\"{number}\"}}"),
        RawBsonRef::Double(number) => write!(out, "{{\"$numberDouble\":\"{}\"}}", double_text(number)),
        RawBsonRef::Decimal128(number) => write!(out, "{{\"$numberDecimal\":\"{number}\"}}"),
        RawBsonRef::ObjectId(id) => write!(out, "{{\"$oid\":\"{id}\"}}"),
        RawBsonRef::DateTime(date) => long_date(out, date.timestamp_millis()),
        RawBsonRef::Timestamp(Timestamp { time, increment }) => {
            write!(out, "{{\"$timestamp\":{{\"t\":{time},\"i\":{increment}}}}}")
        }
        RawBsonRef::Binary(binary) => binary_value(out, binary.bytes, binary.subtype),
        RawBsonRef::RegularExpression(regex) => {
            out.push_str("{\"$regularExpression\":{\"pattern\":");
            string(out, regex.pattern.as_str());
            out.push_str(",\"options\":");
            string(out, regex.options.as_str());
            out.write_str("}}")
        }
        RawBsonRef::JavaScriptCode(code) => named(out, "$code", code),
        RawBsonRef::Symbol(symbol) => named(out, "$symbol", symbol),
        RawBsonRef::DbPointer(pointer) => {
            let pointer = format!("{pointer:?}");
            named(out, "$dbPointer", &pointer)
        }
        RawBsonRef::Undefined => out.write_str("{\"$undefined\":true}"),
        RawBsonRef::MinKey => out.write_str("{\"$minKey\":1}"),
        _ => out.write_str("{\"$maxKey\":1}"),
    };
}

fn named(out: &mut String, name: &str, text: &str) -> std::fmt::Result {
    let _ = write!(out, "{{\"{name}\":");
    string(out, text);
    out.write_str("}")
}

fn binary_value(out: &mut String, bytes: &[u8], subtype: BinarySubtype) -> std::fmt::Result {
    out.push_str("{\"$binary\":{\"base64\":\"");
    STANDARD.encode_string(bytes, out);
    write!(out, "\",\"subType\":\"{:02x}\"}}}}", u8::from(subtype))
}

fn relaxed_date(out: &mut String, millis: i64) {
    let _ = match jiff::Timestamp::from_millisecond(millis) {
        Ok(instant) if TEXT_DATES.contains(&millis) => {
            write!(out, "{{\"$date\":\"{instant:.3}\"}}")
        }
        _ => long_date(out, millis),
    };
}

fn long_date(out: &mut String, millis: i64) -> std::fmt::Result {
    write!(out, "{{\"$date\":{{\"$numberLong\":\"{millis}\"}}}}")
}

fn integer(out: &mut String, number: i64) {
    let _ = write!(out, "{number}");
}

fn double(out: &mut String, number: f64) {
    match serde_json::Number::from_f64(number) {
        Some(number) => {
            let _ = write!(out, "{number}");
        }
        None => out.push_str("null"),
    }
}

fn double_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let mut text = String::new();
    double(&mut text, number);
    text
}

/// Writes a JSON string.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let plain = plain_bytes(rest.as_bytes());
        // Escaped bytes are ASCII, so that every cut is between characters.
        let (copied, escaped) = rest.split_at_checked(plain).unwrap_or((rest, ""));
        out.push_str(copied);
        let Some(byte) = escaped.bytes().next() else {
            break;
        };
        match ESCAPES[usize::from(byte)] {
            b'u' => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            escape => {
                out.push('\\');
                out.push(char::from(escape));
            }
        }
        rest = escaped.get(1..).unwrap_or_default();
    }
    out.push('"');
}

/// How many bytes stand for themselves before the first that is escaped.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let escaped = escaped_bytes(u64::from_le_bytes(*word));
        if escaped != 0 {
            return index * 8 + escaped.trailing_zeros() as usize / 8;
        }
    }
    let is_escaped = |byte: &u8| ESCAPES[usize::from(*byte)] != 0;
    words.len() * 8 + rest.iter().position(is_escaped).unwrap_or(rest.len())
}

/// The high bit of each of eight bytes that is escaped; behind the first, of others too. All eight are looked at at once,
/// by what a subtraction borrows (<https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>).
fn escaped_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (ONES << 7)
}

/// What follows the backslash of an escaped byte; 0 for a byte that stands for itself.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// The library's message without its own words around it.
pub(crate) fn reason(error: &bson::error::Error) -> Undecodable {
    let message = error.to_string();
    message.chars().take(200).collect()
}

/// The binary that a collection's UUID is.
pub(crate) fn uuid_text(binary: &Binary) -> String {
    binary.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use bson::{Bson, DateTime, Decimal128, doc, oid::ObjectId};

    use super::*;

    #[track_caller]
    fn check(value: impl Into<Bson>, relaxed: &str, canonical: &str) {
        let value = value.into();
        let document = bson::RawDocumentBuf::try_from(&doc! {"v": value.clone()}).unwrap();
        let raw = document.get("v").unwrap().unwrap();
        for (form, expected) in [(Form::Relaxed, relaxed), (Form::Canonical, canonical)] {
            let mut out = String::new();
            write(&mut out, raw, form).unwrap();
            assert_eq!(out, expected);
            serde_json::from_str::<serde_json::Value>(&out).unwrap();
        }
        let read: serde_json::Value = serde_json::from_str(canonical).unwrap();
        let read = Bson::try_from(read).unwrap();
        // NaN equals nothing, itself included.
        assert_eq!(format!("{read:?}"), format!("{value:?}"));
    }

    #[test]
    fn values_are_extended_json_that_reads_back() {
        check(1, "1", r#"{"$numberInt":"1"}"#);
        check(-3_i64, "-3", r#"{"$numberLong":"-3"}"#);
        check(1.0, "1.0", r#"{"$numberDouble":"1.0"}"#);
        check(
            f64::NAN,
            r#"{"$numberDouble":"NaN"}"#,
            r#"{"$numberDouble":"NaN"}"#,
        );
        check(
            DateTime::from_millis(1_768_469_400_120),
            r#"{"$date":"2026-01-15T09:30:00.120Z"}"#,
            r#"{"$date":{"$numberLong":"1768469400120"}}"#,
        );
        check(
            DateTime::from_millis(-1),
            r#"{"$date":{"$numberLong":"-1"}}"#,
            r#"{"$date":{"$numberLong":"-1"}}"#,
        );
        check(
            DateTime::MAX,
            r#"{"$date":{"$numberLong":"9223372036854775807"}}"#,
            r#"{"$date":{"$numberLong":"9223372036854775807"}}"#,
        );
        let decimal: Decimal128 = "1.50".parse().unwrap();
        check(
            decimal,
            r#"{"$numberDecimal":"1.50"}"#,
            r#"{"$numberDecimal":"1.50"}"#,
        );
        let id = ObjectId::parse_str("65a4f0c2e1b2c3d4e5f60718").unwrap();
        check(
            id,
            r#"{"$oid":"65a4f0c2e1b2c3d4e5f60718"}"#,
            r#"{"$oid":"65a4f0c2e1b2c3d4e5f60718"}"#,
        );
        check(
            Timestamp {
                time: 7,
                increment: 2,
            },
            r#"{"$timestamp":{"t":7,"i":2}}"#,
            r#"{"$timestamp":{"t":7,"i":2}}"#,
        );
        check(
            doc! {"a.b": ["\"\\\n\u{1}é", Bson::Null, true], "": Bson::MinKey},
            r#"{"a.b":["\"\\\n\u0001é",null,true],"":{"$minKey":1}}"#,
            r#"{"a.b":["\"\\\n\u0001é",null,true],"":{"$minKey":1}}"#,
        );
        check(
            Binary {
                subtype: BinarySubtype::Generic,
                bytes: vec![0, 255],
            },
            r#"{"$binary":{"base64":"AP8=","subType":"00"}}"#,
            r#"{"$binary":{"base64":"AP8=","subType":"00"}}"#,
        );
    }

    #[test]
    fn strings_are_escaped_as_everybody_does_it() {
        // Each ASCII character at each place of a word of eight bytes and behind it, beside characters of two bytes.
        for byte in 0..=0x7f_u8 {
            for before in 0..20 {
                let text = format!(
                    "{}{}{}é\u{1}",
                    "a".repeat(before),
                    char::from(byte),
                    "ü~".repeat(before % 5)
                );
                let mut out = String::new();
                string(&mut out, &text);
                assert_eq!(out, serde_json::to_string(&text).unwrap());
            }
        }
    }
}
