//! The identity of a record or a dead letter: 128 bits of BLAKE3, written as lower hex.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The first 128 bits of a BLAKE3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub [u8; 16]);

const HEX: &[u8; 16] = b"0123456789abcdef";

impl RecordId {
    /// The `_id` of a record: the hash of its line's bytes without the line end (`\n` or `\r\n`).
    pub fn of_line(line: &[u8]) -> Self {
        Self::cut(&blake3::hash(line))
    }

    /// The id of a dead letter: the same bytes at the same place are the same letter, so re-reading never
    /// doubles it.
    pub fn of_dead_letter(file: &str, offset: u64, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(file.len() as u64).to_le_bytes());
        hasher.update(file.as_bytes());
        hasher.update(&offset.to_le_bytes());
        hasher.update(bytes);
        Self::cut(&hasher.finalize())
    }

    pub(crate) fn cut(hash: &blake3::Hash) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        Self(id)
    }

    /// The 32 hex digits.
    pub(crate) fn hex(self) -> [u8; 32] {
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        text
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RecordId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not an id of 32 hex digits");
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_hash_of_the_line_as_hex() {
        let id = RecordId::of_line(b"");
        assert_eq!(id.to_string(), "af1349b9f5f9a1a6a0404dea36dcc949");
        assert_eq!(id.to_string().as_bytes(), id.hex());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in [
            "",
            "af13",
            "+f1349b9f5f9a1a6a0404dea36dcc949",
            "zf1349b9f5f9a1a6a0404dea36dcc949",
        ] {
            assert!(text.parse::<RecordId>().is_err(), "{text}");
        }
    }
}
