//! YAML as a tree in which every key and value knows its line, and a reader that refuses unknown keys.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::Spanned;

use crate::error::{Error, ErrorKind, Place, Result};

/// A value and the line it stands on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Yaml,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum Yaml {
    #[default]
    Null,
    Scalar(Json),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Yaml::Null => Json::Null,
            Yaml::Scalar(scalar) => scalar.clone(),
            Yaml::List(items) => items.iter().map(Node::to_json).collect(),
            Yaml::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Parses one YAML document; an empty file is `Null`.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node> {
    let text = text.trim_start_matches('\u{feff}');
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Node::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(node) => Ok(node.into()),
        Err(error) => {
            let line = error.location().map_or(0, |location| line_of(location.line()));
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default();
            Err(Error::at(
                ErrorKind::Project,
                &Place::new(file, line),
                format!("not valid YAML: {message}"),
            ))
        }
    }
}

fn line_of(line: u64) -> usize {
    usize::try_from(line).unwrap_or(0)
}

struct Raw(Yaml);

impl From<Spanned<Raw>> for Node {
    fn from(spanned: Spanned<Raw>) -> Node {
        Node {
            line: line_of(spanned.referenced.line()),
            value: spanned.value.0,
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Raw)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, v: bool) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Scalar(v.into()))
    }

    fn visit_i64<E>(self, v: i64) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Scalar(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Scalar(v.into()))
    }

    fn visit_f64<E>(self, v: f64) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Scalar(v.into()))
    }

    fn visit_str<E>(self, v: &str) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Scalar(v.into()))
    }

    fn visit_unit<E>(self) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> std::result::Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Raw>>()? {
            items.push(item.into());
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            entries.push(Entry {
                line: line_of(key.referenced.line()),
                key: key.value,
                value: value.into(),
            });
        }
        Ok(Yaml::Map(entries))
    }
}

/// Reads a mapping key by key; [`Fields::finish`] refuses the keys nobody asked for.
pub(crate) struct Fields<'a> {
    pub(crate) file: &'a str,
    what: &'a str,
    line: usize,
    entries: Vec<&'a Entry>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// `what` names the mapping in messages: "a model", "the project".
    pub(crate) fn of(file: &'a str, what: &'a str, node: &'a Node) -> Result<Fields<'a>> {
        let entries = match &node.value {
            Yaml::Map(entries) => entries.iter().collect(),
            Yaml::Null => Vec::new(),
            _ => {
                return Err(Error::at(
                    ErrorKind::Project,
                    &Place::new(file, node.line),
                    format!("{what} must be a mapping"),
                ));
            }
        };
        Ok(Fields {
            file,
            what,
            line: node.line,
            entries,
            known: Vec::new(),
        })
    }

    /// The value of `key`; a null counts as absent.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        let entry = self.entries.remove(at);
        (!matches!(entry.value.value, Yaml::Null)).then_some(&entry.value)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        let Some(node) = self.take(key) else {
            return Ok(None);
        };
        text(self.file, key, node).map(Some)
    }

    pub(crate) fn required_text(&mut self, key: &'static str) -> Result<String> {
        let missing = format!("{} needs `{key}`", self.what);
        let place = self.place();
        self.text(key)?
            .ok_or_else(|| Error::at(ErrorKind::Project, &place, missing))
    }

    pub(crate) fn list(&mut self, key: &'static str) -> Result<&'a [Node]> {
        match self.take(key) {
            None => Ok(&[]),
            Some(Node {
                value: Yaml::List(items),
                ..
            }) => Ok(items),
            Some(node) => Err(Error::at(
                ErrorKind::Project,
                &Place::new(self.file, node.line),
                format!("`{key}` must be a list"),
            )),
        }
    }

    /// Takes keys that say nothing the runner acts on.
    pub(crate) fn ignore(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.take(key);
        }
    }

    /// Refuses `key` with `reason` when it is there.
    pub(crate) fn refuse(&mut self, key: &'static str, reason: &str) -> Result<()> {
        let line = self
            .entries
            .iter()
            .find(|entry| entry.key == key)
            .map_or(self.line, |entry| entry.line);
        match self.take(key) {
            None => Ok(()),
            Some(Node {
                value: Yaml::List(items),
                ..
            }) if items.is_empty() => Ok(()),
            Some(Node {
                value: Yaml::Map(items),
                ..
            }) if items.is_empty() => Ok(()),
            Some(_) => Err(Error::at(
                ErrorKind::Unsupported,
                &Place::new(self.file, line),
                format!("`{key}` {reason}"),
            )),
        }
    }

    pub(crate) fn rest(self) -> Vec<&'a Entry> {
        self.entries
    }

    pub(crate) fn place(&self) -> Place {
        Place::new(self.file, self.line)
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        let Some(entry) = self.entries.first() else {
            return Ok(());
        };
        self.known.sort_unstable();
        let place = Place::new(self.file, entry.line);
        let message = format!(
            "unknown key `{}` in {}; known are {}",
            entry.key,
            self.what,
            self.known.join(", ")
        );
        Err(Error::at(ErrorKind::Project, &place, message))
    }
}

/// A scalar as text; numbers and booleans as YAML writes them.
pub(crate) fn text(file: &str, key: &str, node: &Node) -> Result<String> {
    match &node.value {
        Yaml::Scalar(Json::String(text)) => Ok(text.clone()),
        Yaml::Scalar(scalar) => Ok(scalar.to_string()),
        _ => Err(Error::at(
            ErrorKind::Project,
            &Place::new(file, node.line),
            format!("`{key}` must be text"),
        )),
    }
}

/// A list of texts, or one text.
pub(crate) fn texts(file: &str, key: &str, node: &Node) -> Result<Vec<String>> {
    match &node.value {
        Yaml::List(items) => items.iter().map(|item| text(file, key, item)).collect(),
        _ => Ok(vec![text(file, key, node)?]),
    }
}
