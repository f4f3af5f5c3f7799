//! Node selection: `name`, `+name`, `name+2`, `tag:x`, unions, intersections, and the tests that come along.

use std::collections::BTreeSet;

use super::{Detail, Graph, Node, NodeKind};
use crate::error::{Error, ErrorKind, Result};
use crate::inputs::Selection;

/// One selector between spaces and commas.
struct Criterion<'a> {
    text: &'a str,
    method: Option<&'a str>,
    value: &'a str,
    /// Generations of parents and children to add; `usize::MAX` for all.
    parents: usize,
    children: usize,
}

pub(super) fn select(graph: &Graph, selection: &Selection) -> Result<Vec<String>> {
    let mut selected = if selection.select.iter().all(|text| text.trim().is_empty()) {
        graph.nodes.keys().map(String::as_str).collect()
    } else {
        union(graph, &selection.select)?
    };
    for id in union(graph, &selection.exclude)? {
        selected.remove(id);
    }
    Ok(graph
        .order
        .iter()
        .filter(|id| selected.contains(id.as_str()))
        .cloned()
        .collect())
}

fn union<'g>(graph: &'g Graph, texts: &[String]) -> Result<BTreeSet<&'g str>> {
    let mut selected = BTreeSet::new();
    for group in texts.iter().flat_map(|text| text.split_whitespace()) {
        let mut common: Option<BTreeSet<&str>> = None;
        for text in group.split(',') {
            let found = one(graph, &parse(text)?)?;
            common = Some(match common {
                None => found,
                Some(so_far) => so_far.intersection(&found).copied().collect(),
            });
        }
        selected.extend(common.unwrap_or_default());
    }
    Ok(selected)
}

fn parse(text: &str) -> Result<Criterion<'_>> {
    let wrong = |message: &str| Error::new(ErrorKind::Selection, format!("selector `{text}` {message}"));
    if text.starts_with('@') {
        let message = format!("selector `{text}` uses `@`, which the built-in runner does not support");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let (parents, rest) = match text.split_once('+') {
        Some(("", rest)) => (usize::MAX, rest),
        Some((depth, rest)) if depth.bytes().all(|byte| byte.is_ascii_digit()) => {
            (depth.parse().unwrap_or(usize::MAX), rest)
        }
        _ => (0, text),
    };
    let (children, rest) = match rest.rsplit_once('+') {
        Some((rest, "")) => (usize::MAX, rest),
        Some((rest, depth)) if depth.bytes().all(|byte| byte.is_ascii_digit()) => {
            (depth.parse().unwrap_or(usize::MAX), rest)
        }
        _ => (0, rest),
    };
    let (method, value) = match rest.split_once(':') {
        Some((method, value)) => (Some(method), value),
        None => (None, rest),
    };
    if value.is_empty() {
        return Err(wrong("names nothing"));
    }
    Ok(Criterion {
        text,
        method,
        value,
        parents,
        children,
    })
}

fn one<'g>(graph: &'g Graph, criterion: &Criterion<'_>) -> Result<BTreeSet<&'g str>> {
    let matches = matcher(criterion)?;
    let mut selected: BTreeSet<&str> = graph
        .nodes
        .values()
        .filter(|node| matches(node))
        .map(|node| node.id.as_str())
        .collect();
    if selected.is_empty() {
        return Err(Error::new(
            ErrorKind::Selection,
            format!(
                "selector `{}` matches nothing{}",
                criterion.text,
                suggest(graph, criterion)
            ),
        ));
    }
    let parents = spread(selected.clone(), criterion.parents, |id| {
        graph
            .nodes
            .get(id)
            .into_iter()
            .flat_map(|node| node.depends_on.iter().map(String::as_str))
            .collect()
    });
    let children = spread(selected.clone(), criterion.children, |id| children(graph, id));
    selected.extend(parents);
    selected.extend(children);
    let tests: Vec<&str> = selected
        .iter()
        .filter_map(|id| graph.nodes.get(*id))
        .flat_map(|node| node.tests.iter().map(String::as_str))
        .collect();
    selected.extend(tests);
    Ok(selected)
}

fn children<'g>(graph: &'g Graph, id: &str) -> Vec<&'g str> {
    let reads = |node: &&Node| node.depends_on.iter().any(|parent| parent == id);
    graph
        .nodes
        .values()
        .filter(reads)
        .map(|node| node.id.as_str())
        .collect()
}

fn spread<'g>(
    from: BTreeSet<&'g str>,
    depth: usize,
    next: impl Fn(&str) -> Vec<&'g str>,
) -> BTreeSet<&'g str> {
    let mut all = from.clone();
    let mut edge: Vec<&str> = from.into_iter().collect();
    let mut left = depth;
    while left > 0 && !edge.is_empty() {
        edge = edge
            .iter()
            .flat_map(|id| next(id))
            .filter(|id| all.insert(id))
            .collect();
        left -= 1;
    }
    all
}

type Matcher<'a> = Box<dyn Fn(&Node) -> bool + 'a>;

fn matcher<'a>(criterion: &Criterion<'a>) -> Result<Matcher<'a>> {
    let value = criterion.value;
    let (method, argument) = match criterion.method.and_then(|method| method.split_once('.')) {
        Some((method, argument)) => (Some(method), argument),
        None => (criterion.method, ""),
    };
    Ok(match method {
        None if value.contains('/') => Box::new(move |node| in_path(node, value)),
        None if [".sql", ".csv", ".yml", ".yaml"]
            .iter()
            .any(|extension| value.ends_with(extension)) =>
        {
            Box::new(move |node| node.place.file.rsplit('/').next() == Some(value))
        }
        None | Some("fqn") => Box::new(move |node| by_name(node, value)),
        Some("tag") => Box::new(move |node| node.tags.iter().any(|tag| like(value, tag))),
        Some("path") => Box::new(move |node| in_path(node, value)),
        Some("file") => Box::new(move |node| {
            node.place
                .file
                .rsplit('/')
                .next()
                .is_some_and(|file| like(value, file))
        }),
        Some("package") => Box::new(move |node| like(value, &node.package)),
        Some("resource_type") => Box::new(move |node| node.kind.resource_type() == value),
        Some("source") => Box::new(move |node| node.kind == NodeKind::Source && by_source(node, value)),
        Some("test_type") => Box::new(move |node| match &node.detail {
            Detail::Generic(..) => value == "generic" || value == "data",
            Detail::Singular(_) => value == "singular" || value == "data",
            _ => false,
        }),
        Some("test_name") => {
            Box::new(move |node| matches!(&node.detail, Detail::Generic(_, test) if like(value, &test.name)))
        }
        Some("config") if !argument.is_empty() => Box::new(move |node| by_config(node, argument, value)),
        _ => {
            let message = format!(
                "selector `{}` uses a method the built-in runner does not have; it has fqn, tag, path, file, package, source, resource_type, config.<key>, test_type and test_name",
                criterion.text
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}

/// The name itself, or folders from the front (with or without the package), joined by dots.
fn by_name(node: &Node, value: &str) -> bool {
    if node.kind == NodeKind::Source {
        return false;
    }
    if node.fqn.last().is_some_and(|name| like(value, name)) {
        return true;
    }
    let parts: Vec<&str> = value.split('.').collect();
    let starts = |fqn: &[String]| {
        parts.len() <= fqn.len() && parts.iter().zip(fqn).all(|(part, name)| like(part, name))
    };
    starts(&node.fqn) || node.fqn.get(1..).is_some_and(starts)
}

fn by_source(node: &Node, value: &str) -> bool {
    let source = node.name.split('.').next().unwrap_or_default();
    like(value, &node.name) || like(value, source) || value.strip_suffix(".*") == Some(source)
}

fn in_path(node: &Node, value: &str) -> bool {
    let value = value
        .trim_start_matches("./")
        .trim_end_matches("/*")
        .trim_end_matches('/');
    let file = &node.place.file;
    let described = node
        .described_at
        .as_ref()
        .is_some_and(|place| like(value, &place.file));
    described || like(value, file) || file.strip_prefix(value).is_some_and(|rest| rest.starts_with('/'))
}

fn by_config(node: &Node, key: &str, value: &str) -> bool {
    if key == "materialized" {
        return match node.kind {
            NodeKind::Model(materialization) => materialization.as_str() == value,
            NodeKind::Seed => value == "seed",
            NodeKind::Snapshot => value == "snapshot",
            NodeKind::Test => value == "test",
            NodeKind::Source => false,
        };
    }
    match node.config.get(key) {
        Some(serde_json::Value::String(text)) => text == value,
        Some(serde_json::Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(value)),
        Some(serde_json::Value::Bool(flag)) => value == if *flag { "true" } else { "false" },
        Some(serde_json::Value::Number(number)) => value == format!("{number}"),
        _ => false,
    }
}

/// Shell-like `*` and `?`.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

fn suggest(graph: &Graph, criterion: &Criterion<'_>) -> String {
    let names = graph.nodes.values().filter(|node| {
        matches!(
            node.kind,
            NodeKind::Model(_) | NodeKind::Seed | NodeKind::Snapshot
        )
    });
    let best = names
        .map(|node| (super::link::distance(criterion.value, &node.name), &node.name))
        .min();
    match best {
        Some((distance, name)) if distance <= 3 && criterion.method.is_none() => {
            format!("; did you mean `{name}`?")
        }
        _ => String::new(),
    }
}
