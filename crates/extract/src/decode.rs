//! One line to the values of its columns. Top-level members are found by a visitor that borrows their text and
//! never descends, so that no nesting can overflow a stack and a duplicate key's last value wins, as in JavaScript.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{json_text::Suspicion, timestamp};

/// How a member's JSON becomes a column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A JSON string.
    Text,
    /// `true` or `false`.
    Bool,
    /// An ISO 8601 string, milliseconds since 1970, or a date of BSON as extended JSON.
    Time,
    /// Any value, as JSON text.
    Json,
    /// The string member `kind` of an object.
    Origin,
}

/// A column that is read from a top-level member.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) column: &'static str,
    /// Claude Code's name for it.
    key: &'static str,
    /// Its name in documents written to the specification of claude-mongo-sync; `key` wins where both stand.
    alias: &'static str,
    pub(crate) kind: Kind,
}

const fn field(column: &'static str, key: &'static str, alias: &'static str, kind: Kind) -> Field {
    Field {
        column,
        key,
        alias,
        kind,
    }
}

/// The columns after `_id`, in the order of the lake.
pub(crate) const FIELDS: [Field; 34] = [
    field("type", "type", "type", Kind::Text),
    field("timestamp", "timestamp", "timestamp", Kind::Time),
    field("project_path", "cwd", "project_path", Kind::Text),
    field("session_id", "sessionId", "session_id", Kind::Text),
    field("message", "message", "message", Kind::Json),
    field("tool_use", "toolUse", "tool_use", Kind::Json),
    field("tool_use_result", "toolUseResult", "tool_use_result", Kind::Json),
    field("data", "data", "data", Kind::Json),
    field("uuid", "uuid", "uuid", Kind::Text),
    field("parent_uuid", "parentUuid", "parent_uuid", Kind::Text),
    field(
        "logical_parent_uuid",
        "logicalParentUuid",
        "logical_parent_uuid",
        Kind::Text,
    ),
    field("leaf_uuid", "leafUuid", "leaf_uuid", Kind::Text),
    field("subtype", "subtype", "subtype", Kind::Text),
    field("is_sidechain", "isSidechain", "is_sidechain", Kind::Bool),
    field("is_meta", "isMeta", "is_meta", Kind::Bool),
    field(
        "is_compact_summary",
        "isCompactSummary",
        "is_compact_summary",
        Kind::Bool,
    ),
    field("is_api_error", "isApiErrorMessage", "is_api_error", Kind::Bool),
    field("user_type", "userType", "user_type", Kind::Text),
    field("version", "version", "version", Kind::Text),
    field("git_branch", "gitBranch", "git_branch", Kind::Text),
    field("agent_id", "agentId", "agent_id", Kind::Text),
    field("slug", "slug", "slug", Kind::Text),
    field("entrypoint", "entrypoint", "entrypoint", Kind::Text),
    field("permission_mode", "permissionMode", "permission_mode", Kind::Text),
    field("prompt_id", "promptId", "prompt_id", Kind::Text),
    field("origin", "origin", "origin", Kind::Origin),
    field("request_id", "requestId", "request_id", Kind::Text),
    field(
        "source_tool_assistant_uuid",
        "sourceToolAssistantUUID",
        "source_tool_assistant_uuid",
        Kind::Text,
    ),
    field(
        "source_tool_use_id",
        "sourceToolUseID",
        "source_tool_use_id",
        Kind::Text,
    ),
    field("tool_use_id", "toolUseID", "tool_use_id", Kind::Text),
    field(
        "parent_tool_use_id",
        "parentToolUseID",
        "parent_tool_use_id",
        Kind::Text,
    ),
    field("summary", "summary", "summary", Kind::Text),
    field("content", "content", "content", Kind::Text),
    field("level", "level", "level", Kind::Text),
];

/// A column's value.
#[derive(Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Bool(bool),
    Micros(i64),
    /// Not of the type that the column has.
    Unexpected,
}

/// The members of one record, still as JSON.
pub(crate) struct Record<'a> {
    members: [Option<&'a str>; FIELDS.len() * 2],
    suspicion: Suspicion,
}

/// Finds the slot of a member's key.
pub(crate) struct Decoder {
    /// Keys with their slots, by length of the key: two or three comparisons at most find one.
    by_length: Vec<Vec<(&'static str, usize)>>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        let mut by_length = vec![Vec::new(); 32];
        for (slot, field) in FIELDS.iter().enumerate() {
            by_length[field.key.len()].push((field.key, slot));
            if field.alias != field.key {
                by_length[field.alias.len()].push((field.alias, slot + FIELDS.len()));
            }
        }
        Self { by_length }
    }

    /// Reads a line as a JSON object.
    ///
    /// # Errors
    /// Why it is none, in a few words.
    pub(crate) fn record<'a>(&self, line: &'a str) -> Result<Record<'a>, String> {
        let mut json = serde_json::Deserializer::from_str(line);
        let members = Members(self).deserialize(&mut json);
        let members = members.and_then(|members| json.end().map(|()| members));
        match members {
            Ok(members) => Ok(Record {
                members,
                suspicion: Suspicion::of(line),
            }),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Takes a record whose top-level members are known, as JSON without lone surrogates and of bounded depth.
    pub(crate) fn record_of<'a>(&self, members: impl Iterator<Item = (&'a str, &'a str)>) -> Record<'a> {
        let mut record = Record {
            members: [None; FIELDS.len() * 2],
            suspicion: Suspicion::NONE,
        };
        for (key, json) in members {
            if let Some(slot) = self.slot(key) {
                record.members[slot] = Some(json);
            }
        }
        record
    }

    fn slot(&self, key: &str) -> Option<usize> {
        let keys = self.by_length.get(key.len())?;
        keys.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, slot)| *slot)
    }
}

/// Serde's message may repeat the whole line.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.replace(" at line 1 column ", " at byte ");
    match message.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

struct Members<'d>(&'d Decoder);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = [Option<&'de str>; FIELDS.len() * 2];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = [Option<&'de str>; FIELDS.len() * 2];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [None; FIELDS.len() * 2];
        // Keys are read raw: as text, a lone surrogate in one would fail the line.
        while let Some(key) = map.next_key::<&RawValue>()? {
            let value: &RawValue = map.next_value()?;
            let key = key.get();
            let slot = if key.contains('\\') {
                serde_json::from_str::<String>(key)
                    .ok()
                    .and_then(|key| self.0.slot(&key))
            } else {
                key.get(1..key.len() - 1).and_then(|key| self.0.slot(key))
            };
            if let Some(slot) = slot {
                members[slot] = Some(value.get());
            }
        }
        Ok(members)
    }
}

impl<'a> Record<'a> {
    /// The value of a column of [`FIELDS`], and the key of the member it was read from.
    pub(crate) fn value(&self, column: usize) -> (Value<'a>, &'static str) {
        let field = &FIELDS[column];
        let member = |slot: usize| self.members[slot].filter(|json| *json != "null");
        let (json, key) = match (member(column), member(column + FIELDS.len())) {
            (Some(json), _) => (json, field.key),
            (None, Some(json)) => (json, field.alias),
            (None, None) => return (Value::Null, field.key),
        };
        (self.read(json, field.kind).unwrap_or(Value::Unexpected), key)
    }

    /// Whether it has a member for this column, of whatever type.
    pub(crate) fn has(&self, column: &str) -> bool {
        let index = FIELDS.iter().position(|field| field.column == column);
        index.is_some_and(|index| self.members[index].is_some())
    }

    /// The text of a column of [`FIELDS`].
    pub(crate) fn text_of(&self, column: &str) -> Option<Cow<'a, str>> {
        let index = FIELDS.iter().position(|field| field.column == column)?;
        match self.value(index).0 {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn read(&self, json: &'a str, kind: Kind) -> Option<Value<'a>> {
        match kind {
            Kind::Text => self.text(json).map(Value::Text),
            Kind::Bool => json.parse().ok().map(Value::Bool),
            Kind::Time if json.starts_with('"') => timestamp::from_text(&self.text(json)?).map(Value::Micros),
            Kind::Time if json.starts_with('{') => timestamp::from_date(json).map(Value::Micros),
            Kind::Time => timestamp::from_millis(json).map(Value::Micros),
            Kind::Json => self.suspicion.clear(json).map(Value::Text),
            Kind::Origin => self.kind_of(json),
        }
    }

    fn text(&self, json: &'a str) -> Option<Cow<'a, str>> {
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(&self.suspicion.repair(json))
            .ok()
            .map(Cow::Owned)
    }

    fn kind_of(&self, json: &'a str) -> Option<Value<'a>> {
        #[derive(serde::Deserialize)]
        struct Origin {
            kind: Option<String>,
        }
        let origin: Origin = serde_json::from_str(&self.suspicion.clear(json)?).ok()?;
        Some(
            origin
                .kind
                .map_or(Value::Null, |kind| Value::Text(Cow::Owned(kind))),
        )
    }
}
