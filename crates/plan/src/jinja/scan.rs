//! Finds what a template file defines at its top level (macros, tests, snapshots, docs) without rendering it.

use crate::error::{Error, ErrorKind, Place, Result};

/// What a `{% … %}` block defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Macro,
    Test,
    Materialization,
    Snapshot,
    Docs,
}

/// One block of a file.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) kind: BlockKind,
    /// The name as written; a test's macro is called `test_<name>`.
    pub(crate) name: String,
    /// Line of the opening tag.
    pub(crate) line: usize,
    /// All of it, tags included.
    pub(crate) text: String,
    /// What stands between the tags.
    pub(crate) body: String,
    /// A template that defines the block as the macro [`MACRO`], its lines numbered as in the file.
    pub(crate) template: String,
}

/// The name under which every macro template defines its macro. Not the macro's own name, so that a call of it,
/// recursion included, goes through the catalog (where `return` is caught and depth is counted).
pub(crate) const MACRO: &str = "macro__";

/// The function list and mapping literals are passed through (see [`with_mutable_literals`]).
pub(crate) const MUTABLE: &str = "mutable__";

/// The name of the template of a block that is one of several in its file.
pub(crate) fn template(file: &str, block: &str) -> String {
    format!("{file}#{block}")
}

/// One `{% … %}` tag.
struct Tag {
    start: usize,
    end: usize,
    /// Between `{%-` and `-%}`.
    inner: std::ops::Range<usize>,
}

impl Tag {
    fn words<'t>(&self, text: &'t str) -> (&'t str, &'t str) {
        let inner = text[self.inner.clone()].trim();
        let end = inner
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(inner.len());
        (&inner[..end], inner[end..].trim_start())
    }
}

/// The blocks of `text`, in order. Text outside of blocks is ignored, as dbt does.
pub(crate) fn blocks(file: &str, text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<(BlockKind, Tag)> = None;
    for tag in tags(text) {
        let (word, _) = tag.words(text);
        match &open {
            None => {
                if let Some(kind) = opening(word) {
                    open = Some((kind, tag));
                } else if closing(word).is_some() {
                    let message = format!("`{{% {word} %}}` closes nothing");
                    return Err(Error::at(
                        ErrorKind::Jinja,
                        &place(file, text, tag.start),
                        message,
                    ));
                }
            }
            Some((kind, _)) if closing(word) == Some(*kind) => {
                if let Some((kind, head)) = open.take() {
                    blocks.push(block(file, text, kind, &head, &tag)?);
                }
            }
            Some(_) => {}
        }
    }
    match open {
        None => Ok(blocks),
        Some((_, head)) => {
            let (word, _) = head.words(text);
            Err(Error::at(
                ErrorKind::Jinja,
                &place(file, text, head.start),
                format!("`{{% {word} … %}}` is never closed"),
            ))
        }
    }
}

fn opening(word: &str) -> Option<BlockKind> {
    Some(match word {
        "macro" => BlockKind::Macro,
        "test" | "data_test" => BlockKind::Test,
        "materialization" => BlockKind::Materialization,
        "snapshot" => BlockKind::Snapshot,
        "docs" => BlockKind::Docs,
        _ => return None,
    })
}

fn closing(word: &str) -> Option<BlockKind> {
    opening(word.strip_prefix("end")?)
}

fn block(file: &str, text: &str, kind: BlockKind, head: &Tag, tail: &Tag) -> Result<Block> {
    let (_, rest) = head.words(text);
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let name = &rest[..end];
    let at = place(file, text, head.start);
    if name.is_empty() {
        return Err(Error::at(ErrorKind::Jinja, &at, "this block has no name"));
    }
    let arguments = rest[end..].trim();
    let arguments = if arguments.starts_with('(') {
        arguments
    } else {
        "()"
    };
    let body = &text[head.end..tail.start];
    // Newlines inside the head keep counting: the arguments are copied with theirs.
    let padding = "\n".repeat(at.line - 1);
    let before = if text[head.start..].starts_with("{%-") {
        "{%-"
    } else {
        "{%"
    };
    let after = if text[..head.end].ends_with("-%}") {
        "-%}"
    } else {
        "%}"
    };
    let close = if text[tail.start..].starts_with("{%-") {
        "{%-"
    } else {
        "{%"
    };
    let body_template = with_mutable_literals(body);
    let template =
        format!("{padding}{before} macro {MACRO}{arguments} {after}{body_template}{close} endmacro %}}");
    Ok(Block {
        kind,
        name: name.to_owned(),
        line: at.line,
        text: text[head.start..tail.end].to_owned(),
        body: body.to_owned(),
        template,
    })
}

fn place(file: &str, text: &str, offset: usize) -> Place {
    Place::new(file, text[..offset].matches('\n').count() + 1)
}

/// `{% set x = [] %}` and `{% set x = {} %}` with the literal passed through [`MUTABLE`]: minijinja's lists and
/// mappings are values, while dbt macros `append` to and `update` what they have set.
pub(crate) fn with_mutable_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for tag in tags(text) {
        let inner = &text[tag.inner.clone()];
        if let Some(at) = literal(inner) {
            let start = tag.inner.start + at;
            let end = tag.inner.start + inner.trim_end().len();
            out.push_str(&text[done..start]);
            out.push_str(MUTABLE);
            out.push('(');
            out.push_str(&text[start..end]);
            out.push(')');
            done = end;
        }
    }
    out.push_str(&text[done..]);
    out
}

/// Where the literal of `set name = [` starts.
fn literal(inner: &str) -> Option<usize> {
    let rest = inner.trim_start().strip_prefix("set")?;
    if !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let (name, value) = rest.split_once('=')?;
    let named = name.trim().chars().all(|c| c.is_alphanumeric() || c == '_');
    let value = value.trim_start();
    (named && value.starts_with(['[', '{'])).then(|| inner.len() - value.len())
}

/// All `{% … %}` tags outside of comments, raw blocks and expressions.
fn tags(text: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('{') {
        let start = at + found;
        let rest = &text[start..];
        if rest.starts_with("{#") {
            at = text[start..].find("#}").map_or(text.len(), |end| start + end + 2);
        } else if rest.starts_with("{{") {
            at = end_of(text, start + 2, "}}").unwrap_or(text.len());
        } else if rest.starts_with("{%") {
            let tag = tag(text, start);
            at = tag.end;
            if tag.words(text).0 == "raw" {
                at = end_of_raw(text, at);
            }
            tags.push(tag);
        } else {
            at = start + 1;
        }
    }
    tags
}

/// The tag that opens at `start`; one that is never closed reaches to the end.
fn tag(text: &str, start: usize) -> Tag {
    let closed = end_of(text, start + 2, "%}");
    let end = closed.unwrap_or(text.len());
    let mut inner = start + 2..closed.map_or(end, |end| end - 2);
    if text[inner.clone()].starts_with(['-', '+']) {
        inner.start += 1;
    }
    if text[inner.clone()].ends_with(['-', '+']) {
        inner.end -= 1;
    }
    Tag { start, end, inner }
}

/// Just after the `close` that ends what starts at `from`; strings are skipped.
fn end_of(text: &str, from: usize, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = from;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            (None, byte @ (b'\'' | b'"')) => quote = Some(byte),
            (None, _) if bytes[at..].starts_with(close.as_bytes()) => return Some(at + close.len()),
            _ => {}
        }
        at += 1;
    }
    None
}

fn end_of_raw(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(found) = text[at..].find("{%") {
        let start = at + found;
        let tag = tag(text, start);
        if tag.words(text).0 == "endraw" {
            return tag.end;
        }
        at = start + 2;
    }
    text.len()
}
