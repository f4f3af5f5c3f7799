//! The build plan: what to execute, as plain data.
//!
//! Seeds, models and snapshots come in dependency order, then all tests: one transaction publishes everything, so a test that
//! fails early would save nothing, and many tests can be fused into one query (see [`crate::fuse()`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::compile;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::fuse::{Probe, probe};
use crate::graph::config::snapshot::SnapshotConfig;
use crate::graph::config::{Materialization, ModelConfig, Severity, TestConfig};
use crate::graph::{Detail, Graph, Node, NodeKind};
use crate::inputs::{Inputs, RelationKind, Selection, What};
use crate::jinja::session::Session;
use crate::jinja::values::Relation;
use crate::project::{Project, seed};
use crate::snapshot::SnapshotStep;
use crate::sql::{self, Purpose, Statement};

/// What to do, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildPlan {
    /// Schemas the steps build in; create those that are missing first.
    pub schemas: Vec<String>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Whether it is about the whole project, models and tests: only then may a later run say that all is up to date.
    pub complete: bool,
}

/// One step of a [`BuildPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Load a seed.
    Seed(SeedStep),
    /// Build a model.
    Model(ModelStep),
    /// Keep the history of a query's rows.
    Snapshot(Box<SnapshotStep>),
    /// Run a test.
    Test(TestStep),
}

/// A seed: execute `before`, append `rows`, execute `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedStep {
    /// Node id.
    pub node: String,
    /// Its table.
    pub relation: Relation,
    /// Name and SQL type of each column.
    pub columns: Vec<(String, String)>,
    /// Cells as text to be cast to the column's type; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Hooks, drops and the creation of the empty table.
    pub before: Vec<Statement>,
    /// Hooks.
    pub after: Vec<Statement>,
    /// To be stored when the build is published.
    pub fingerprint: String,
    /// The table exists and its stored fingerprint is this one: the executor may leave it as it is.
    pub unchanged: bool,
}

/// A model: execute `statements` in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStep {
    /// Node id.
    pub node: String,
    /// Its table or view.
    pub relation: Relation,
    /// How it is built.
    pub materialization: Materialization,
    /// The compiled query.
    pub query: String,
    /// Ready SQL.
    pub statements: Vec<Statement>,
    /// To be stored when the build is published.
    pub fingerprint: String,
    /// Built from nothing, not changed in place.
    pub full_refresh: bool,
    /// Why it is built the way it is, for people.
    pub reason: String,
}

/// A test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestStep {
    /// Node id.
    pub node: String,
    /// dbt's name.
    pub name: String,
    /// What a failure means.
    pub severity: Severity,
    /// Ids of the nodes it reads.
    pub models: Vec<String>,
    /// The query of failing rows.
    pub sql: String,
    /// One row: `failures`, `should_warn`, `should_error` (see [`TestStep::verdict`]).
    pub count_sql: String,
    /// How to ask in one query with other tests whether it passes, if that is possible.
    pub probe: Option<Probe>,
    /// The first column of `count_sql` being 0 means passed: no thresholds were configured.
    pub plain: bool,
    /// To be stored when the build is published.
    pub fingerprint: String,
}

/// What a test's counts mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing to report.
    Pass,
    /// Report, and go on.
    Warn,
    /// The build must not be published.
    Fail,
}

impl TestStep {
    /// dbt's rule for the row of `count_sql`.
    pub fn verdict(&self, should_warn: bool, should_error: bool) -> Verdict {
        match self.severity {
            Severity::Error if should_error => Verdict::Fail,
            _ if should_warn => Verdict::Warn,
            _ => Verdict::Pass,
        }
    }
}

impl Step {
    /// What is noted of the node when the build is published, to tell later whether it changed.
    pub fn fingerprint(&self) -> &str {
        match self {
            Step::Seed(step) => &step.fingerprint,
            Step::Model(step) => &step.fingerprint,
            Step::Snapshot(step) => &step.fingerprint,
            Step::Test(step) => &step.fingerprint,
        }
    }

    /// The compiled query; none for a seed.
    pub fn query(&self) -> Option<&str> {
        match self {
            Step::Seed(_) => None,
            Step::Model(step) => Some(&step.query),
            Step::Snapshot(step) => Some(&step.query),
            Step::Test(step) => Some(&step.sql),
        }
    }

    fn relation(&self) -> Option<&Relation> {
        match self {
            Step::Seed(step) => Some(&step.relation),
            Step::Model(step) => Some(&step.relation),
            Step::Snapshot(step) => Some(&step.relation),
            Step::Test(_) => None,
        }
    }

    /// Id of the step's node.
    pub fn node(&self) -> &str {
        match self {
            Step::Seed(step) => &step.node,
            Step::Model(step) => &step.node,
            Step::Snapshot(step) => &step.node,
            Step::Test(step) => &step.node,
        }
    }
}

/// Plans the build of `project` for `inputs`.
pub fn plan(project: &Project, inputs: &Inputs) -> Result<BuildPlan> {
    let graph = Graph::new(project, inputs)?;
    plan_graph(&graph, project, inputs)
}

/// As [`plan`], for a graph that was made from the same project and inputs.
pub fn plan_graph(graph: &Graph, project: &Project, inputs: &Inputs) -> Result<BuildPlan> {
    let selected = graph.select(&inputs.selection)?;
    let mut planner = Planner {
        graph,
        inputs,
        seeds: project
            .packages
            .iter()
            .flat_map(|package| &package.files)
            .map(|file| (file.path.as_str(), file.text.as_str()))
            .collect(),
        fingerprints: Fingerprints::new(graph, project, inputs),
        refreshed: BTreeSet::new(),
    };
    let mut steps = Vec::new();
    let nodes: Vec<&Node> = selected.iter().filter_map(|id| graph.nodes.get(id)).collect();
    for node in &nodes {
        let step = match (&node.detail, inputs.what) {
            (Detail::Seed(_), What::Models | What::Build) => Some(planner.seed(node)?),
            (Detail::Model(model), What::Models | What::Build) => planner.model(node, model)?,
            (Detail::Snapshot(config), What::Models | What::Build) => Some(planner.snapshot(node, config)?),
            _ => None,
        };
        steps.extend(step);
    }
    for node in &nodes {
        if let (Detail::Singular(test) | Detail::Generic(test, _), What::Tests | What::Build) =
            (&node.detail, inputs.what)
        {
            steps.push(planner.test(node, test)?);
        }
    }
    let mut schemas: Vec<String> = Vec::new();
    for relation in steps.iter().filter_map(Step::relation) {
        if !schemas.contains(&relation.schema) {
            schemas.push(relation.schema.clone());
        }
    }
    let everything = inputs.selection == Selection::default() && inputs.what == What::Build;
    Ok(BuildPlan {
        schemas,
        steps,
        complete: everything,
    })
}

struct Planner<'a> {
    graph: &'a Graph,
    inputs: &'a Inputs,
    seeds: BTreeMap<&'a str, &'a str>,
    fingerprints: Fingerprints<'a>,
    /// Incremental models and snapshots this plan builds from nothing.
    refreshed: BTreeSet<String>,
}

impl Planner<'_> {
    fn session(&self) -> &Session {
        &self.graph.session
    }

    fn existing(&self, relation: &Relation) -> Option<RelationKind> {
        self.inputs
            .existing
            .get(&(relation.schema.clone(), relation.identifier.clone()))
            .copied()
    }

    fn hooks(&self, node: &Node, incremental: bool) -> Result<(Vec<Statement>, Vec<Statement>)> {
        let of = |purpose, hooks| -> Result<Vec<Statement>> {
            let rendered = compile::hooks(self.session(), node, hooks, incremental)?;
            Ok(rendered
                .into_iter()
                .map(|sql| Statement::new(purpose, sql))
                .collect())
        };
        Ok((
            of(Purpose::PreHook, &node.common.pre_hooks)?,
            of(Purpose::PostHook, &node.common.post_hooks)?,
        ))
    }

    fn seed(&mut self, node: &Node) -> Result<Step> {
        let (Detail::Seed(config), Some(relation)) = (&node.detail, &node.relation) else {
            return Err(Error::at(ErrorKind::Seed, &node.place, "not a seed"));
        };
        let text = self
            .seeds
            .get(node.place.file.as_str())
            .copied()
            .unwrap_or_default();
        let data = seed::parse(&node.place.file, text, config.delimiter, &config.column_types)?;
        let fingerprint = self.fingerprints.of(node)?.to_string();
        let existing = self.existing(relation);
        let stored = self.inputs.fingerprints.get(&node.id);
        let unchanged = existing == Some(RelationKind::Table)
            && stored == Some(&fingerprint)
            && !self.inputs.full_refresh;
        let (mut before, after) = self.hooks(node, false)?;
        before.extend(sql::seed(relation, &data.columns, existing));
        Ok(Step::Seed(SeedStep {
            node: node.id.clone(),
            relation: relation.clone(),
            columns: data.columns,
            rows: data.rows,
            before,
            after,
            fingerprint,
            unchanged,
        }))
    }

    fn model(&mut self, node: &Node, model: &ModelConfig) -> Result<Option<Step>> {
        let Some(relation) = &node.relation else {
            return Ok(None);
        };
        let fingerprint = self.fingerprints.of(node)?;
        let existing = self.existing(relation);
        let (full_refresh, reason) = match model.materialization {
            Materialization::View => (true, "views are made anew".to_owned()),
            Materialization::Table => (true, "tables are made anew".to_owned()),
            Materialization::Ephemeral => return Ok(None),
            Materialization::Incremental => self.refresh(node, existing, &fingerprint)?,
        };
        let incremental = !full_refresh;
        let query = compile::sql(self.graph, self.session(), node, incremental)?;
        let (mut statements, after) = self.hooks(node, incremental)?;
        statements.extend(match model.materialization {
            Materialization::View => sql::view(relation, &query, existing),
            _ if incremental => sql::incremental(relation, &query, model),
            _ => sql::table(relation, &query, existing),
        });
        statements.extend(after);
        if full_refresh && model.materialization == Materialization::Incremental {
            self.refreshed.insert(node.id.clone());
        }
        Ok(Some(Step::Model(ModelStep {
            node: node.id.clone(),
            relation: relation.clone(),
            materialization: model.materialization,
            query,
            statements,
            fingerprint: fingerprint.to_string(),
            full_refresh,
            reason,
        })))
    }

    /// A snapshot's table is never built from nothing again: its history is nowhere else.
    fn snapshot(&mut self, node: &Node, config: &SnapshotConfig) -> Result<Step> {
        let Some(relation) = &node.relation else {
            return Err(Error::at(
                ErrorKind::Graph,
                &node.place,
                "this snapshot has no table",
            ));
        };
        let existing = self.existing(relation);
        if existing == Some(RelationKind::View) {
            let message = format!(
                "{relation} is a view, and a snapshot is a table; drop it or give the snapshot an alias"
            );
            return Err(Error::at(ErrorKind::Graph, &node.place, message));
        }
        if existing.is_none() {
            self.refreshed.insert(node.id.clone());
        }
        let (before, after) = self.hooks(node, false)?;
        Ok(Step::Snapshot(Box::new(SnapshotStep {
            node: node.id.clone(),
            relation: relation.clone(),
            query: compile::sql(self.graph, self.session(), node, false)?,
            exists: existing.is_some(),
            before,
            after,
            fingerprint: self.fingerprints.of(node)?.to_string(),
            config: config.clone(),
            place: node.place.clone(),
        })))
    }

    /// Whether an incremental model is built from nothing, and why.
    fn refresh(
        &mut self,
        node: &Node,
        existing: Option<RelationKind>,
        now: &Fingerprint,
    ) -> Result<(bool, String)> {
        match existing {
            None => return Ok((true, "its table does not exist yet".to_owned())),
            Some(RelationKind::View) => return Ok((true, "a view stands in its place".to_owned())),
            Some(RelationKind::Table) => {}
        }
        match node.common.full_refresh {
            Some(false) => {
                return Ok((
                    false,
                    "new rows only: its config forbids a full refresh".to_owned(),
                ));
            }
            Some(true) => return Ok((true, "its config asks for a full refresh".to_owned())),
            None if self.inputs.full_refresh => return Ok((true, "a full refresh was asked for".to_owned())),
            None => {}
        }
        let Some(stored) = self
            .inputs
            .fingerprints
            .get(&node.id)
            .and_then(|text| Fingerprint::parse(text))
        else {
            return Ok((true, "nothing is known about how its table was built".to_owned()));
        };
        if stored.own != now.own {
            return Ok((true, "its definition changed".to_owned()));
        }
        if let Some(parent) = ancestors(self.graph, node)
            .into_iter()
            .find(|id| self.refreshed.contains(*id))
        {
            return Ok((true, format!("{parent} upstream is fully refreshed")));
        }
        if stored.whole != now.whole {
            let changed = self
                .changed_ancestor(node)?
                .unwrap_or_else(|| "something".to_owned());
            return Ok((true, format!("{changed} upstream changed")));
        }
        Ok((false, "new rows only".to_owned()))
    }

    fn changed_ancestor(&mut self, node: &Node) -> Result<Option<String>> {
        for id in ancestors(self.graph, node) {
            let Some(ancestor) = self.graph.nodes.get(id) else {
                continue;
            };
            if ancestor.kind == NodeKind::Source {
                continue;
            }
            let now = self.fingerprints.of(ancestor)?;
            let stored = self
                .inputs
                .fingerprints
                .get(id)
                .and_then(|text| Fingerprint::parse(text));
            if stored.is_some_and(|stored| stored.own != now.own) {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }

    fn test(&mut self, node: &Node, test: &TestConfig) -> Result<Step> {
        let query = compile::sql(self.graph, self.session(), node, false)?;
        let limit = test
            .limit
            .map(|limit| format!("\nlimit {limit}"))
            .unwrap_or_default();
        let TestConfig {
            fail_calc,
            warn_if,
            error_if,
            ..
        } = test;
        let count_sql = format!(
            "select\n  {fail_calc} as failures,\n  {fail_calc} {warn_if} as should_warn,\n  {fail_calc} {error_if} as should_error\nfrom (\n{query}{limit}\n) dbt_internal_test"
        );
        let plain = fail_calc == "count(*)" && warn_if == "!= 0" && error_if == "!= 0";
        let probe = if plain { probe(self.session(), node)? } else { None };
        Ok(Step::Test(TestStep {
            node: node.id.clone(),
            name: node.name.clone(),
            severity: test.severity,
            models: node.depends_on.clone(),
            sql: query,
            count_sql,
            probe,
            plain,
            fingerprint: self.fingerprints.of(node)?.to_string(),
        }))
    }
}

/// Every node upstream of `node`, in build order.
fn ancestors<'g>(graph: &'g Graph, node: &'g Node) -> Vec<&'g str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut edge: Vec<&str> = node.depends_on.iter().map(String::as_str).collect();
    while let Some(id) = edge.pop() {
        if found.insert(id) {
            edge.extend(
                graph
                    .nodes
                    .get(id)
                    .into_iter()
                    .flat_map(|node| node.depends_on.iter().map(String::as_str)),
            );
        }
    }
    graph
        .order
        .iter()
        .map(String::as_str)
        .filter(|id| found.contains(id))
        .collect()
}
