//! The pure core of the built-in dbt runner: a dbt project as files → graph → SQL → a build plan as plain data.
//!
//! Nothing here reads a file, a clock, the environment or a database. [`Project::load`] takes the project's files,
//! [`Inputs`] everything else that decides, and [`plan()`] gives the statements to execute, ready and in order.
//!
//! What dbt can and this runner cannot do is an error that names the file and line, never a step left out.

pub mod artifacts;
mod checks;
mod compile;
mod error;
mod fingerprint;
mod fuse;
mod graph;
mod inputs;
mod jinja;
pub mod lineage;
mod plan;
mod project;
mod snapshot;
mod sql;
mod yaml;

pub use checks::Check;
pub use error::{Error, ErrorKind, Place};
pub use fuse::{FusedQuery, Probe, fuse};
pub use graph::config::{Materialization, Severity, Strategy};
pub use graph::{Column, Graph, Node, NodeKind};
pub use inputs::{Inputs, RelationKind, Selection, What};
pub use jinja::values::Relation;
pub use plan::{BuildPlan, ModelStep, SeedStep, Step, TestStep, Verdict, plan, plan_graph};
pub use project::Project;
pub use project::profile::Profile;
pub use snapshot::{SnapshotColumns, SnapshotStep};
pub use sql::{Purpose, Statement};

#[cfg(test)]
mod tests;
