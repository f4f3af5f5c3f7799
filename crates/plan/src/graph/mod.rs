//! Project + inputs → nodes with their configuration, relations and dependencies, in build order.

pub(crate) mod config;
mod describe;
mod generic;
pub(crate) mod layers;
mod link;
pub(crate) mod names;
mod parse;
pub(crate) mod select;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value;
use serde_json::Value as Json;

use crate::compile;
use crate::error::{Place, Result};
use crate::inputs::{Inputs, Selection};
use crate::jinja::catalog::Macro;
use crate::jinja::session::{Dependency, Session, World};
use crate::jinja::values::{Relation, Target};
use crate::project::Project;
use config::snapshot::SnapshotConfig;
use config::{CommonConfig, Materialization, ModelConfig, SeedConfig, TestConfig};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A model and how it is built.
    Model(Materialization),
    /// A CSV file.
    Seed,
    /// A table that keeps the history of a query's rows.
    Snapshot,
    /// A table somebody else fills.
    Source,
    /// A generic or singular test.
    Test,
}

impl NodeKind {
    /// dbt's `resource_type`.
    pub fn resource_type(self) -> &'static str {
        match self {
            NodeKind::Model(_) => "model",
            NodeKind::Seed => "seed",
            NodeKind::Snapshot => "snapshot",
            NodeKind::Source => "source",
            NodeKind::Test => "test",
        }
    }
}

/// A column as the schema files describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Description; empty if there is none.
    pub description: String,
    /// `data_type:` if given.
    pub data_type: Option<String>,
    /// Ids of the tests on this column.
    pub tests: Vec<String>,
}

/// One enabled node of the project.
#[derive(Debug)]
pub struct Node {
    /// dbt's unique id: `model.<package>.<name>`, `test.<package>.<name>.<hash>`.
    pub id: String,
    /// Name (for a source's table `source.table`).
    pub name: String,
    /// Package it belongs to.
    pub package: String,
    /// Model, seed, snapshot, source or test.
    pub kind: NodeKind,
    /// Where it is defined.
    pub place: Place,
    /// Where a schema file describes it.
    pub described_at: Option<Place>,
    /// Package, folders, name.
    pub fqn: Vec<String>,
    /// Its table or view; none for tests and ephemeral models.
    pub relation: Option<Relation>,
    /// Description; empty if there is none.
    pub description: String,
    /// Described columns.
    pub columns: Vec<Column>,
    /// Tags.
    pub tags: Vec<String>,
    /// Ids of the nodes it reads, sorted.
    pub depends_on: Vec<String>,
    /// Ids of the tests that read it, sorted.
    pub tests: Vec<String>,
    pub(crate) common: CommonConfig,
    pub(crate) detail: Detail,
    /// Configuration as templates see it.
    pub(crate) config: IndexMap<String, Json>,
    /// What it refers to, and the line (0 if unknown).
    pub(crate) dependencies: IndexMap<Dependency, usize>,
    /// Ids of the macros that it calls itself.
    pub(crate) macros: Vec<String>,
    pub(crate) targets: Arc<HashMap<Dependency, Target>>,
    /// What templates see as `model`.
    pub(crate) model: Value,
}

#[derive(Debug)]
pub(crate) enum Detail {
    Model(ModelConfig),
    Seed(SeedConfig),
    Snapshot(SnapshotConfig),
    Source,
    Singular(TestConfig),
    Generic(TestConfig, GenericTest),
}

/// What a generic test calls.
#[derive(Debug)]
pub(crate) struct GenericTest {
    pub(crate) found: Arc<Macro>,
    pub(crate) arguments: IndexMap<String, Json>,
    /// Id of the node it stands under.
    pub(crate) attached: String,
    pub(crate) column: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// The name, cut to what a file system takes.
    pub(crate) alias: String,
}

/// The project for one set of inputs.
pub struct Graph {
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Ids, parents first; deterministic.
    pub(crate) order: Vec<String>,
    pub(crate) session: Session,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl Graph {
    /// Parses every node of the project with these inputs.
    pub fn new(project: &Project, inputs: &Inputs) -> Result<Graph> {
        let session = Session::new(&project.env, Arc::clone(&project.catalog), world(project, inputs));
        let drafts = parse::parse(project, &session, inputs)?;
        let (nodes, order) = link::link(drafts)?;
        Ok(Graph {
            nodes,
            order,
            session,
        })
    }

    /// All enabled nodes, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.order.iter().filter_map(|id| self.nodes.get(id))
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Ids of what `selection` means (dbt's `ls`), parents first; tests come along by dbt's eager rule.
    pub fn select(&self, selection: &Selection) -> Result<Vec<String>> {
        select::select(self, selection)
    }

    /// The compiled query of a model, snapshot or test as a full build runs it; none for other nodes.
    pub fn compiled(&self, id: &str) -> Result<Option<String>> {
        match self.nodes.get(id) {
            Some(node)
                if matches!(
                    node.kind,
                    NodeKind::Model(_) | NodeKind::Snapshot | NodeKind::Test
                ) =>
            {
                compile::sql(self, &self.session, node, false).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Every edge (parent id, child id), tests included; sorted.
    pub fn lineage(&self) -> Vec<(String, String)> {
        let edges = self.nodes.values().flat_map(|node| {
            node.depends_on
                .iter()
                .map(|parent| (parent.clone(), node.id.clone()))
        });
        let mut edges: Vec<_> = edges.collect();
        edges.sort();
        edges
    }
}

pub(crate) fn world(project: &Project, inputs: &Inputs) -> World {
    let threads = project
        .targets()
        .iter()
        .find(|target| target.name == inputs.target_name)
        .map_or(1, |target| target.threads);
    let target: [(&str, Json); 8] = [
        ("name", inputs.target_name.clone().into()),
        ("target_name", inputs.target_name.clone().into()),
        ("schema", inputs.target_schema.clone().into()),
        ("database", inputs.database.clone().into()),
        ("dbname", inputs.database.clone().into()),
        ("type", "duckdb".into()),
        ("threads", threads.into()),
        (
            "profile_name",
            project.settings.profile.clone().unwrap_or_default().into(),
        ),
    ];
    World {
        project: project.settings.name.clone(),
        target: target
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        env: inputs.env.clone(),
        vars: inputs.vars.clone(),
        project_vars: project.settings.vars.clone(),
        package_vars: project
            .packages
            .iter()
            .map(|package| (package.name.clone(), package.settings.vars.clone()))
            .collect(),
        run_started_at: inputs.run_started_at.clone(),
        invocation_id: inputs.invocation_id.clone(),
        full_refresh: inputs.full_refresh,
    }
}
