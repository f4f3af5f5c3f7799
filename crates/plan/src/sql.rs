//! Materializations: the statements that make a node's relation what its SQL says, in one open transaction.
//!
//! DuckDB wants every schema change of a table before the first row change of it in the same transaction, so no
//! statement here alters a table that an earlier one filled.

use crate::graph::config::{ModelConfig, Strategy};
use crate::inputs::RelationKind;
use crate::jinja::values::{Relation, quote};

/// What a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A `pre_hook`.
    PreHook,
    /// Removes what stands in the way.
    Drop,
    /// Makes the relation.
    Create,
    /// Adds columns; comes before any change of rows.
    Alter,
    /// New rows of an incremental model or a snapshot into a temporary table.
    Stage,
    /// Staged rows into the node's table.
    Merge,
    /// A `post_hook`.
    PostHook,
}

/// One SQL text to execute; a hook's may hold several statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it is for.
    pub purpose: Purpose,
    /// The text.
    pub sql: String,
}

impl Statement {
    pub(crate) fn new(purpose: Purpose, sql: String) -> Statement {
        Statement { purpose, sql }
    }
}

pub(crate) fn view(relation: &Relation, sql: &str, existing: Option<RelationKind>) -> Vec<Statement> {
    let mut statements = drop_other(relation, existing, RelationKind::View);
    statements.push(Statement::new(
        Purpose::Create,
        format!("create or replace view {relation} as (\n{sql}\n)"),
    ));
    statements
}

pub(crate) fn table(relation: &Relation, sql: &str, existing: Option<RelationKind>) -> Vec<Statement> {
    let mut statements = drop_other(relation, existing, RelationKind::Table);
    statements.push(Statement::new(
        Purpose::Create,
        format!("create or replace table {relation} as (\n{sql}\n)"),
    ));
    statements
}

pub(crate) fn seed(
    relation: &Relation,
    columns: &[(String, String)],
    existing: Option<RelationKind>,
) -> Vec<Statement> {
    let mut statements = drop_other(relation, existing, RelationKind::Table);
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, sql_type)| format!("{} {sql_type}", quote(name)))
        .collect();
    statements.push(Statement::new(
        Purpose::Create,
        format!("create or replace table {relation} ({})", columns.join(", ")),
    ));
    statements
}

fn drop_other(relation: &Relation, existing: Option<RelationKind>, wanted: RelationKind) -> Vec<Statement> {
    let sql = match existing {
        Some(RelationKind::Table) if wanted == RelationKind::View => format!("drop table {relation}"),
        Some(RelationKind::View) if wanted == RelationKind::Table => format!("drop view {relation}"),
        _ => return Vec::new(),
    };
    vec![Statement::new(Purpose::Drop, sql)]
}

pub(crate) fn incremental(relation: &Relation, sql: &str, config: &ModelConfig) -> Vec<Statement> {
    let staged = format!(
        "\"temp\".\"main\".{}",
        quote(&format!("{}__dbt_tmp", relation.identifier))
    );
    let stage = format!("create or replace temp table {staged} as (\n{sql}\n)");
    let mut statements = vec![Statement::new(Purpose::Stage, stage)];
    let changes = match config.strategy {
        Strategy::Append => vec![insert(relation, &staged)],
        Strategy::Merge => vec![merge(relation, &staged, config)],
        Strategy::DeleteInsert => delete(relation, &staged, config)
            .into_iter()
            .chain([insert(relation, &staged)])
            .collect(),
    };
    statements.extend(changes.into_iter().map(|sql| Statement::new(Purpose::Merge, sql)));
    statements.push(Statement::new(Purpose::Drop, format!("drop table {staged}")));
    statements
}

fn insert(relation: &Relation, staged: &str) -> String {
    format!("insert into {relation} by name (\nselect * from {staged}\n)")
}

fn merge(relation: &Relation, staged: &str, config: &ModelConfig) -> String {
    let mut conditions: Vec<String> = config
        .unique_key
        .iter()
        .map(|key| format!("DBT_INTERNAL_SOURCE.{key} = DBT_INTERNAL_DEST.{key}"))
        .collect();
    if conditions.is_empty() {
        conditions.push("FALSE".to_owned());
    }
    conditions.extend(config.predicates.iter().cloned());
    format!(
        "merge into {relation} as DBT_INTERNAL_DEST\nusing {staged} as DBT_INTERNAL_SOURCE\non ({})\nwhen matched then update by name\nwhen not matched then insert by name",
        conditions.join(") and (")
    )
}

fn delete(relation: &Relation, staged: &str, config: &ModelConfig) -> Option<String> {
    let predicates = [&[String::new()], config.predicates.as_slice()]
        .concat()
        .join("\nand ");
    match config.unique_key.as_slice() {
        [] => None,
        [key] => Some(format!(
            "delete from {relation}\nwhere ({key}) in (\nselect ({key}) from {staged}\n){predicates}"
        )),
        keys => {
            let conditions: Vec<String> = keys
                .iter()
                .map(|key| format!("DBT_INCREMENTAL_SOURCE.{key} = DBT_INCREMENTAL_TARGET.{key}"))
                .collect();
            Some(format!(
                "delete from {relation} as DBT_INCREMENTAL_TARGET\nusing {staged} as DBT_INCREMENTAL_SOURCE\nwhere ({}{predicates})",
                conditions.join("\nand ")
            ))
        }
    }
}
