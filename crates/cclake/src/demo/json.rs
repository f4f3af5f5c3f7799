//! Compact JSON as `JSON.stringify` writes it: keys in the order given, no spaces, only what must be escaped is escaped.

use std::fmt::Write;

use super::rng::Uuid;

/// An object being written; every method adds one member.
pub(super) struct Obj(String);

impl Obj {
    pub(super) fn new() -> Self {
        Self::sized(64)
    }

    pub(super) fn sized(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self(out)
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    pub(super) fn str(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        quote(value, &mut self.0);
        self
    }

    /// A member whose value is JSON already.
    pub(super) fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.0.push_str(json);
        self
    }

    pub(super) fn int(self, key: &str, value: u64) -> Self {
        self.raw(key, &value.to_string())
    }

    pub(super) fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    pub(super) fn null(self, key: &str) -> Self {
        self.raw(key, "null")
    }

    pub(super) fn uuid(mut self, key: &str, value: Uuid) -> Self {
        self.key(key);
        self.0.push('"');
        push_uuid(value, &mut self.0);
        self.0.push('"');
        self
    }

    pub(super) fn uuid_or_null(self, key: &str, value: Option<Uuid>) -> Self {
        match value {
            Some(uuid) => self.uuid(key, uuid),
            None => self.null(key),
        }
    }

    /// What `add` adds, where `wanted`.
    pub(super) fn when(self, wanted: bool, add: impl FnOnce(Self) -> Self) -> Self {
        if wanted { add(self) } else { self }
    }

    pub(super) fn done(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// `value` as a JSON string.
pub(super) fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + value.len() / 16 + 2);
    quote(value, &mut out);
    out
}

/// An array of JSON values.
pub(super) fn array(items: impl IntoIterator<Item = String>) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

/// An array of strings.
pub(super) fn strings<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    array(items.into_iter().map(quoted))
}

pub(super) fn uuid_text(value: Uuid) -> String {
    let mut out = String::with_capacity(36);
    push_uuid(value, &mut out);
    out
}

fn push_uuid(value: Uuid, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in value.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn quote(value: &str, out: &mut String) {
    out.push('"');
    let mut clean = 0;
    for (index, byte) in value.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&value[clean..index]);
        clean = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0C => out.push_str("\\f"),
            other => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
    }
    out.push_str(&value[clean..]);
    out.push('"');
}
