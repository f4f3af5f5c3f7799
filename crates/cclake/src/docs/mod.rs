//! The project's documentation as web pages: what the project says, what the database holds, and where each column comes
//! from. Read here, rendered by [`site`], served by [`server`].

mod catalog;
mod diagram;
mod graphs;
mod layout;
mod pages;
pub(crate) mod server;
mod site;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use cclake_plan::lineage::Lineage;
use cclake_plan::{Check, Graph, Node, NodeKind};

use crate::project;
use crate::settings::Settings;
use crate::stages::{Blueprint, Run};
use catalog::{Catalog, Table};

pub(crate) use layout::is_page;
pub(crate) use site::Site;

/// All that the pages tell.
pub(crate) struct Docs {
    graph: Graph,
    lineage: Lineage,
    checks: Vec<Check>,
    catalog: Catalog,
    /// The project's files by path.
    files: BTreeMap<String, String>,
    /// Ids of sources, seeds and models, in build order.
    nodes: Vec<String>,
    /// Node id → name of its page, without folder and ending.
    slugs: HashMap<String, String>,
}

impl Docs {
    /// Reads the project, and the warehouse as far as it is there and free.
    pub(crate) fn read(settings: &Settings) -> anyhow::Result<Docs> {
        let files = project::files(settings)?;
        let Blueprint { project, graph, .. } = Blueprint::of(&files, settings, &Run::begin(), false)?;
        let catalog = Catalog::read(settings);
        let relation = |node: &Node| {
            node.relation
                .as_ref()
                .and_then(|relation| catalog.table(relation))
        };
        let known = graph
            .nodes()
            .filter_map(|node| Some((node.id.clone(), relation(node)?.names())))
            .collect();
        let lineage = Lineage::new(&project, &graph, &known)?;
        let nodes: Vec<String> = graph
            .nodes()
            .filter(|node| node.kind != NodeKind::Test)
            .map(|node| node.id.clone())
            .collect();
        Ok(Docs {
            slugs: slugs(&graph, &nodes),
            checks: graph.checks(),
            graph,
            lineage,
            catalog,
            files,
            nodes,
        })
    }

    /// Whether the warehouse was there and could be read.
    fn is_whole(&self) -> bool {
        self.catalog.note.is_none()
    }

    /// Sources, seeds and models in build order.
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter_map(|id| self.graph.node(id))
    }

    fn table(&self, node: &Node) -> Option<&Table> {
        self.catalog.table(node.relation.as_ref()?)
    }

    /// What is known of each column of a node. The lineage lists those that its SQL gives, then what the database has
    /// besides.
    fn columns(&self, node: &Node) -> Vec<ColumnFacts<'_>> {
        let derived = self.lineage.node(&node.id).into_iter();
        let names = derived.flat_map(|derived| derived.columns.iter().map(|column| column.name.clone()));
        let facts = |name: String| {
            let described = self.graph.node(&node.id).and_then(|node| {
                let mut columns = node.columns.iter();
                columns.find(|column| column.name.eq_ignore_ascii_case(&name))
            });
            ColumnFacts {
                data_type: self
                    .table(node)
                    .and_then(|table| table.data_type(&name))
                    .or_else(|| described.and_then(|column| column.data_type.as_deref())),
                description: described.map_or("", |column| column.description.as_str()),
                checks: self.checks_of(&node.id, Some(&name)),
                name,
            }
        };
        names.map(facts).collect()
    }

    /// The tests that stand under a node's column, or under the node itself.
    fn checks_of(&self, id: &str, column: Option<&str>) -> Vec<&Check> {
        let under = |check: &&Check| {
            let same_column = match (check.column.as_deref(), column) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                (one, other) => one == other,
            };
            check.node.as_deref() == Some(id) && same_column
        };
        self.checks.iter().filter(under).collect()
    }

    fn slug(&self, id: &str) -> &str {
        self.slugs.get(id).map_or("", String::as_str)
    }
}

/// A column for the pages.
struct ColumnFacts<'d> {
    name: String,
    data_type: Option<&'d str>,
    description: &'d str,
    checks: Vec<&'d Check>,
}

/// A file name for each node: its own name, with the package where two have the same.
fn slugs(graph: &Graph, nodes: &[String]) -> HashMap<String, String> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut slugs = HashMap::new();
    for node in nodes.iter().filter_map(|id| graph.node(id)) {
        let slug = file_name(&node.name);
        let times = taken.entry(slug.to_lowercase()).or_default();
        *times += 1;
        let slug = match *times {
            1 => slug,
            times => format!("{slug}-{}-{times}", file_name(&node.package)),
        };
        slugs.insert(node.id.clone(), slug);
    }
    slugs
}

/// Letters, digits, `_`, `.` as they are, all else as its number: safe in a link and on every disk.
fn file_name(name: &str) -> String {
    let mut file = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' || (c == '.' && !file.is_empty()) {
            file.push(c);
        } else {
            let _ = write!(file, "-{:x}-", u32::from(c));
        }
    }
    file
}
