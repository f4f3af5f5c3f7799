//! What a plan depends on besides the project's files.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// What stands under a name in the database now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A base table.
    Table,
    /// A view.
    View,
}

/// Which nodes a plan is about. Empty `select` means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `--select`: each text may hold several selectors separated by spaces (union), joined by commas (intersection).
    pub select: Vec<String>,
    /// `--exclude`, in the same form.
    pub exclude: Vec<String>,
}

/// Which steps a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum What {
    /// Seeds and models.
    Models,
    /// Tests.
    Tests,
    /// Seeds and models, then tests.
    #[default]
    Build,
}

/// Everything outside of the project's files that decides about a plan.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Name of the target: `dev`, `prod`.
    pub target_name: String,
    /// The target's schema, what `generate_schema_name` starts from.
    pub target_schema: String,
    /// Database name: the DuckDB file's stem.
    pub database: String,
    /// Vars of this run; they win over those of dbt_project.yml.
    pub vars: BTreeMap<String, Json>,
    /// Environment variables `env_var` may see.
    pub env: BTreeMap<String, String>,
    /// ISO 8601.
    pub run_started_at: String,
    /// Id of this run.
    pub invocation_id: String,
    /// (schema, identifier) → what exists in `database`.
    pub existing: BTreeMap<(String, String), RelationKind>,
    /// Node id → fingerprint, as the steps of the last successful build gave it.
    pub fingerprints: BTreeMap<String, String>,
    /// Rebuild incremental models from nothing.
    pub full_refresh: bool,
    /// Which nodes.
    pub selection: Selection,
    /// Which steps.
    pub what: What,
}
