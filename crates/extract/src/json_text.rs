//! JSON text that DuckDB's functions take, whatever a record held.
//!
//! Tried on DuckDB 1.5.5 with 26 ways of reading JSON (`json_extract`, `->>`, `from_json`, casts to `JSON` and
//! `JSON[]`, `unnest`, `json_each`, `json_tree`, `json_structure`, …), each on a value of its own:
//! - a lone surrogate (`\ud800`, in a value, a key, or a member nobody asked for) makes all of them raise but
//!   `json_valid`, which rolls a whole build back: it becomes `\ufffd`;
//! - nesting of 20,000 crashes the process in `json_structure` (5,000 on a thread with 1 MB of stack), and from
//!   10,000 on `json_tree` and `$..` take time and memory by the square: a value deeper than [`MAX_DEPTH`] becomes
//!   null and is named in `_parse_error`;
//! - `\u0000`, 10^30, 1e400, 5,000 digits, duplicate keys and 20 MB strings do no harm and stay as they are;
//! - bad escapes and raw control characters would raise, but a line that has them is no JSON and never comes here.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2, memmem};

/// Deepest nesting that is kept. Real records stay below 30; DuckDB recurses at any depth, Spark's parser
/// refuses more than 1,000 and Python's about as many.
pub(crate) const MAX_DEPTH: usize = 512;

/// What a line must be looked through for. Two fast passes over the line spare nearly all of them any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suspicion {
    surrogate: bool,
    deep: bool,
}

impl Suspicion {
    /// Of text that is known to be harmless.
    pub(crate) const NONE: Self = Self {
        surrogate: false,
        deep: false,
    };

    pub(crate) fn of(line: &str) -> Self {
        let bytes = line.as_bytes();
        let surrogate =
            memmem::find_iter(bytes, b"\\u").any(|at| matches!(bytes.get(at + 2), Some(b'd' | b'D')));
        Self {
            surrogate,
            deep: openers(bytes) > MAX_DEPTH,
        }
    }

    /// `json` with its lone surrogates replaced; none when it is nested too deeply.
    pub(crate) fn clear(self, json: &str) -> Option<Cow<'_, str>> {
        if self.deep && is_deeper(json.as_bytes(), MAX_DEPTH) {
            return None;
        }
        Some(self.repair(json))
    }

    /// `json` with its lone surrogates replaced.
    pub(crate) fn repair(self, json: &str) -> Cow<'_, str> {
        if self.surrogate {
            replace_lone_surrogates(json)
        } else {
            Cow::Borrowed(json)
        }
    }
}

/// Counts `[` and `{`, those in strings too. They differ in one bit, which lets the compiler count many at once.
fn openers(bytes: &[u8]) -> usize {
    let count = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    bytes.chunks(255).map(|chunk| usize::from(count(chunk))).sum()
}

fn is_deeper(json: &[u8], limit: usize) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at + 1),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
        at += 1;
    }
    false
}

/// The index of the quote that ends the string whose first character is at `at`.
fn string_end(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at;
        }
        at += 2;
    }
    json.len()
}

fn replace_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut lone = Vec::new();
    let mut next = 0;
    for at in memchr_iter(b'\\', bytes) {
        if at < next {
            continue;
        }
        next = at + 2;
        match unicode_escape(bytes, at) {
            Some(0xd800..=0xdbff) if matches!(unicode_escape(bytes, at + 6), Some(0xdc00..=0xdfff)) => {
                next = at + 12;
            }
            Some(0xd800..=0xdfff) => lone.push(at),
            _ => {}
        }
    }
    if lone.is_empty() {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    let mut kept = 0;
    for at in lone {
        text.push_str(&json[kept..at]);
        text.push_str("\\ufffd");
        kept = at + 6;
    }
    text.push_str(&json[kept..]);
    Cow::Owned(text)
}

/// The code unit of a `\uXXXX` at `at`.
fn unicode_escape(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let cleared = Suspicion::of(json).clear(json);
        assert_eq!(cleared.as_deref(), expected, "{}", &json[..json.len().min(80)]);
    }

    #[test]
    fn lone_surrogates_become_the_replacement_character() {
        check(r#"{"a":"\ud800"}"#, Some(r#"{"a":"\ufffd"}"#));
        check(
            r#"{"\uDC00x":"\uD83D\uDE00"}"#,
            Some(r#"{"\ufffdx":"\uD83D\uDE00"}"#),
        );
        check(
            r#""\ud800\ud83d\ude00\udc00""#,
            Some(r#""\ufffd\ud83d\ude00\ufffd""#),
        );
        check(r#""\\ud800 \\\ud800""#, Some(r#""\\ud800 \\\ufffd""#));
        check(r#""\ud800\"""#, Some(r#""\ufffd\"""#));
        check(r#""\ud800\\udc00""#, Some(r#""\ufffd\\udc00""#));
    }

    #[test]
    fn harmless_oddities_stay() {
        for json in [
            r#"{"a":"\u0000","a":1e400}"#,
            r#""\u00e9""#,
            "1000000000000000000000000000000",
        ] {
            check(json, Some(json));
        }
    }

    #[test]
    fn too_deep_is_no_value() {
        let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(&nest(MAX_DEPTH), Some(&nest(MAX_DEPTH)));
        check(&nest(MAX_DEPTH + 1), None);
        check(&nest(100_000), None);
        let flat = format!("[{}\"\\\"{}\"]", "[{}],".repeat(600), "{[".repeat(600));
        check(&flat, Some(&flat));
    }
}
