//! Ties parsed nodes together: what each `ref` means, which tests belong where, and an order to build in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::parse::Draft;
use super::{Detail, Materialization, Node, NodeKind};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::jinja::session::Dependency;
use crate::jinja::values::Target;

/// What `ref` and `source` can find.
struct Names {
    /// Model or seed name → (package, id).
    refs: HashMap<String, Vec<(String, String)>>,
    sources: HashMap<(String, String), Vec<(String, String)>>,
    disabled: BTreeSet<String>,
    targets: HashMap<String, Target>,
    root: String,
}

pub(super) fn link(drafts: Vec<Draft>) -> Result<(BTreeMap<String, Node>, Vec<String>)> {
    let names = names(&drafts)?;
    let mut nodes = BTreeMap::new();
    for draft in drafts.into_iter().filter(|draft| draft.enabled) {
        let mut node = draft.node;
        if !resolve(&mut node, &names)? {
            continue;
        }
        if let Some(other) = nodes.insert(node.id.clone(), node) {
            let other: &Node = &other;
            let message = format!(
                "`{}` is defined twice; give one of the two another name",
                other.id
            );
            return Err(Error::at(ErrorKind::Graph, &other.place, message));
        }
    }
    check_relations(&nodes)?;
    attach_tests(&mut nodes);
    let order = order(&nodes)?;
    Ok((nodes, order))
}

fn names(drafts: &[Draft]) -> Result<Names> {
    let mut names = Names {
        refs: HashMap::new(),
        sources: HashMap::new(),
        disabled: BTreeSet::new(),
        targets: HashMap::new(),
        root: drafts
            .first()
            .map(|draft| draft.node.package.clone())
            .unwrap_or_default(),
    };
    for Draft { node, enabled } in drafts {
        let entry = (node.package.clone(), node.id.clone());
        match node.kind {
            NodeKind::Test => continue,
            NodeKind::Source => {
                let key = node
                    .name
                    .split_once('.')
                    .map(|(source, table)| (source.to_owned(), table.to_owned()));
                names
                    .sources
                    .entry(key.unwrap_or_default())
                    .or_default()
                    .push(entry);
            }
            NodeKind::Model(_) | NodeKind::Seed | NodeKind::Snapshot => {
                let same = names.refs.entry(node.name.clone()).or_default();
                if *enabled
                    && same
                        .iter()
                        .any(|(package, id)| *package == node.package && !names.disabled.contains(id))
                {
                    let message = format!(
                        "`{}` is the name of another model, seed or snapshot too; names must differ",
                        node.name
                    );
                    return Err(Error::at(ErrorKind::Graph, &node.place, message));
                }
                same.push(entry);
            }
        }
        if !enabled {
            names.disabled.insert(node.id.clone());
        }
        let target = match (&node.relation, node.kind) {
            (_, NodeKind::Model(Materialization::Ephemeral)) => {
                Target::Cte(format!("__dbt__cte__{}", node.name))
            }
            (Some(relation), _) => Target::Relation(relation.clone()),
            (None, _) => continue,
        };
        names.targets.insert(node.id.clone(), target);
    }
    Ok(names)
}

/// Fills in what the node depends on. False: a test of something disabled, which dbt leaves out too.
fn resolve(node: &mut Node, names: &Names) -> Result<bool> {
    let mut depends_on = BTreeSet::new();
    let mut targets = HashMap::new();
    for (dependency, line) in &node.dependencies {
        let place = if *line == 0 {
            node.place.clone()
        } else {
            Place::new(&node.place.file, *line)
        };
        let found = names.find(&node.package, dependency);
        let Some(id) = found else {
            let message = format!("{dependency} names nothing in this project");
            return Err(Error::at(
                ErrorKind::Graph,
                &place,
                format!("{message}{}", names.suggest(dependency)),
            ));
        };
        if names.disabled.contains(id) {
            if node.kind == NodeKind::Test {
                return Ok(false);
            }
            return Err(Error::at(
                ErrorKind::Graph,
                &place,
                format!("{dependency} is disabled by its configuration"),
            ));
        }
        if let Some(target) = names.targets.get(id) {
            targets.insert(dependency.clone(), target.clone());
        }
        // A model may name itself (as `this`), a hook too.
        if *id != node.id {
            depends_on.insert(id.clone());
        }
    }
    node.depends_on = depends_on.into_iter().collect();
    node.targets = Arc::new(targets);
    Ok(true)
}

impl Names {
    fn find(&self, package: &str, dependency: &Dependency) -> Option<&String> {
        let (found, wanted) = match dependency {
            Dependency::Ref { package, name } => (self.refs.get(name)?, package.as_deref()),
            Dependency::Source { source, table } => {
                (self.sources.get(&(source.clone(), table.clone()))?, None)
            }
        };
        let enabled = || found.iter().filter(|(_, id)| !self.disabled.contains(id));
        let among = |of: &str| enabled().find(|(candidate, _)| candidate == of);
        let best = match wanted {
            Some(wanted) => among(wanted).or_else(|| found.iter().find(|(candidate, _)| candidate == wanted)),
            None => among(package)
                .or_else(|| among(&self.root))
                .or_else(|| enabled().next())
                .or_else(|| found.first()),
        };
        best.map(|(_, id)| id)
    }

    /// The name most like the one that was not found.
    fn suggest(&self, dependency: &Dependency) -> String {
        let (wanted, candidates): (&str, Vec<&String>) = match dependency {
            Dependency::Ref { name, .. } => (name, self.refs.keys().collect()),
            Dependency::Source { table, .. } => {
                (table, self.sources.keys().map(|(_, table)| table).collect())
            }
        };
        let best = candidates
            .into_iter()
            .map(|candidate| (distance(wanted, candidate), candidate))
            .min();
        match best {
            Some((distance, candidate)) if distance <= 3 => format!("; did you mean `{candidate}`?"),
            _ => String::new(),
        }
    }
}

/// Levenshtein distance.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn check_relations(nodes: &BTreeMap<String, Node>) -> Result<()> {
    let mut built: HashMap<String, &Node> = HashMap::new();
    for node in nodes.values().filter(|node| node.kind != NodeKind::Source) {
        let Some(relation) = &node.relation else { continue };
        // DuckDB's names are case-insensitive.
        if let Some(other) = built.insert(relation.to_string().to_lowercase(), node) {
            let message = format!(
                "`{}` and `{}` both build {relation}; give one of them an alias or a schema",
                other.id, node.id
            );
            return Err(Error::at(ErrorKind::Graph, &node.place, message));
        }
    }
    Ok(())
}

fn attach_tests(nodes: &mut BTreeMap<String, Node>) {
    let tests = nodes.values().filter(|node| node.kind == NodeKind::Test);
    let tests = tests.map(|node| (node.id.clone(), node.depends_on.clone(), tested_column(node)));
    for (test, parents, column) in tests.collect::<Vec<_>>() {
        for parent in parents {
            let Some(parent) = nodes.get_mut(&parent) else {
                continue;
            };
            if let Some((attached, column)) = &column
                && *attached == parent.id
                && let Some(column) = parent
                    .columns
                    .iter_mut()
                    .find(|candidate| candidate.name == *column)
            {
                column.tests.push(test.clone());
            }
            parent.tests.push(test.clone());
        }
    }
}

/// The node and column a generic test stands under.
fn tested_column(node: &Node) -> Option<(String, String)> {
    match &node.detail {
        Detail::Generic(_, test) => Some((test.attached.clone(), test.column.clone()?)),
        _ => None,
    }
}

/// Parents first; among the ready ones the smallest id, so that the order does not depend on anything else.
fn order(nodes: &BTreeMap<String, Node>) -> Result<Vec<String>> {
    let mut waiting: BTreeMap<&str, usize> = nodes
        .values()
        .map(|node| (node.id.as_str(), node.depends_on.len()))
        .collect();
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for node in nodes.values() {
        for parent in &node.depends_on {
            children.entry(parent).or_default().push(&node.id);
        }
    }
    let mut ready: BTreeSet<&str> = waiting
        .iter()
        .filter(|(_, parents)| **parents == 0)
        .map(|(id, _)| *id)
        .collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(id) = ready.pop_first() {
        waiting.remove(id);
        order.push(id.to_owned());
        for child in children.get(id).into_iter().flatten() {
            if let Some(parents) = waiting.get_mut(child) {
                *parents -= 1;
                if *parents == 0 {
                    ready.insert(child);
                }
            }
        }
    }
    match waiting.keys().next().and_then(|id| nodes.get(*id)) {
        None => Ok(order),
        Some(_) => Err(cycle(nodes, &waiting)),
    }
}

/// One cycle among the nodes that never became ready.
fn cycle(nodes: &BTreeMap<String, Node>, waiting: &BTreeMap<&str, usize>) -> Error {
    let mut path: Vec<&str> = Vec::new();
    let mut at = waiting.keys().next().copied().unwrap_or_default();
    while !path.contains(&at) {
        path.push(at);
        let blocked = nodes.get(at).and_then(|node| {
            node.depends_on
                .iter()
                .find(|parent| waiting.contains_key(parent.as_str()))
        });
        at = blocked.map_or("", String::as_str);
    }
    let start = path.iter().position(|id| *id == at).unwrap_or(0);
    let mut names: Vec<&str> = path[start..]
        .iter()
        .map(|id| id.rsplit('.').next().unwrap_or(id))
        .collect();
    names.reverse();
    names.extend(names.first().copied());
    let message = format!("models refer to each other in a circle: {}", names.join(" → "));
    match nodes.get(at) {
        Some(node) => Error::at(ErrorKind::Graph, &node.place, message),
        None => Error::new(ErrorKind::Graph, message),
    }
}
