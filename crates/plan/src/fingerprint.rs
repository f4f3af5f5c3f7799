//! Fingerprints: whether an incremental table still is what its model's text says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::compile;
use crate::error::Result;
use crate::graph::names::md5_hex;
use crate::graph::{Detail, Graph, Node, world};
use crate::inputs::Inputs;
use crate::jinja::session::{Session, World};
use crate::jinja::values::quote;
use crate::project::Project;

/// Changes when what is hashed changes, so that old fingerprints no longer match.
const VERSION: &str = "1";

/// Time and id of a run that never is: compiled SQL that holds the real ones would differ at every run.
const FROZEN: &str = "1970-01-01T00:00:00+00:00";

/// Hex digits kept of each hash.
const LENGTH: usize = 16;

/// Hash of a node's own definition, and of that with everything upstream. Text form `own-whole`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) own: String,
    pub(crate) whole: String,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.own, self.whole)
    }
}

impl Fingerprint {
    /// None for a text that is no fingerprint.
    pub(crate) fn parse(text: &str) -> Option<Fingerprint> {
        let (own, whole) = text.split_once('-')?;
        Some(Fingerprint {
            own: own.to_owned(),
            whole: whole.to_owned(),
        })
    }
}

pub(crate) struct Fingerprints<'a> {
    graph: &'a Graph,
    session: Session,
    seeds: BTreeMap<&'a str, &'a str>,
    known: HashMap<String, Fingerprint>,
    /// What stands before a schema in full names.
    database: String,
}

impl<'a> Fingerprints<'a> {
    pub(crate) fn new(graph: &'a Graph, project: &'a Project, inputs: &Inputs) -> Fingerprints<'a> {
        let world = World {
            run_started_at: FROZEN.to_owned(),
            invocation_id: String::new(),
            full_refresh: false,
            ..world(project, inputs)
        };
        let session = Session::new(&project.env, Arc::clone(&project.catalog), world);
        let seeds = project
            .packages
            .iter()
            .flat_map(|package| &package.files)
            .map(|file| (file.path.as_str(), file.text.as_str()));
        Fingerprints {
            graph,
            session,
            seeds: seeds.collect(),
            known: HashMap::new(),
            database: format!("{}.", quote(&inputs.database)),
        }
    }

    pub(crate) fn of(&mut self, node: &Node) -> Result<Fingerprint> {
        if let Some(known) = self.known.get(&node.id) {
            return Ok(known.clone());
        }
        let own = md5_hex(&self.definition(node)?)[..LENGTH].to_owned();
        let mut whole = format!("{VERSION}\n{own}");
        let graph = self.graph;
        for parent in node.depends_on.iter().filter_map(|id| graph.nodes.get(id)) {
            whole.push('\n');
            whole.push_str(&parent.id);
            whole.push(' ');
            whole.push_str(&self.of(parent)?.whole);
        }
        let fingerprint = Fingerprint {
            own,
            whole: md5_hex(&whole)[..LENGTH].to_owned(),
        };
        self.known.insert(node.id.clone(), fingerprint.clone());
        Ok(fingerprint)
    }

    /// Everything a node's content depends on but its parents' content. Compiled SQL holds the vars it used.
    fn definition(&self, node: &Node) -> Result<String> {
        let relation = node
            .relation
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut parts = vec![VERSION.to_owned(), node.kind.resource_type().to_owned(), relation];
        match &node.detail {
            Detail::Source => {}
            Detail::Singular(config) | Detail::Generic(config, _) => {
                parts.push(format!("{config:?}"));
                parts.push(compile::sql(self.graph, &self.session, node, false)?);
            }
            Detail::Seed(config) => {
                parts.push(format!("{config:?}"));
                parts.push(
                    self.seeds
                        .get(node.place.file.as_str())
                        .copied()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            Detail::Snapshot(config) => {
                parts.push(format!("{config:?}"));
                parts.push(compile::sql(self.graph, &self.session, node, false)?);
                for hooks in [&node.common.pre_hooks, &node.common.post_hooks] {
                    parts.extend(compile::hooks(&self.session, node, hooks, false)?);
                }
            }
            Detail::Model(model) => {
                parts.push(format!("{model:?}"));
                let both: &[bool] =
                    if model.materialization == crate::graph::config::Materialization::Incremental {
                        &[false, true]
                    } else {
                        &[false]
                    };
                for incremental in both {
                    parts.push(compile::sql(self.graph, &self.session, node, *incremental)?);
                    for hooks in [&node.common.pre_hooks, &node.common.post_hooks] {
                        parts.extend(compile::hooks(&self.session, node, hooks, *incremental)?);
                    }
                }
            }
        }
        // The database is named after its file, which may be moved.
        Ok(parts.join("\u{1}").replace(&self.database, ""))
    }
}
