//! Snapshots: the statements that keep every version of a query's rows, with dbt-duckdb's columns and hashes.
//!
//! What they are depends on the columns that query and table have when the snapshot's turn comes, so the executor asks
//! the database for these and [`SnapshotStep::statements`] decides.

use crate::error::{Error, ErrorKind, Place, Result};
use crate::graph::config::snapshot::{CheckColumns, HardDeletes, SnapshotConfig, SnapshotStrategy};
use crate::jinja::values::{Relation, quote};
use crate::sql::{Purpose, Statement};

/// The time of a change that only shows by comparing: dbt-duckdb's `snapshot_get_time`.
const NOW: &str = "now()::timestamp";

/// A snapshot: execute `before`, what [`SnapshotStep::statements`] gives, then `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStep {
    /// Node id.
    pub node: String,
    /// Its table.
    pub relation: Relation,
    /// The query whose rows are kept.
    pub query: String,
    /// The table is there already: rows are compared with it.
    pub exists: bool,
    /// Hooks.
    pub before: Vec<Statement>,
    /// Hooks.
    pub after: Vec<Statement>,
    /// To be stored when the build is published.
    pub fingerprint: String,
    pub(crate) config: SnapshotConfig,
    pub(crate) place: Place,
}

/// Names and types of columns, as the database describes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotColumns {
    /// Of the snapshot's query.
    pub query: Vec<(String, String)>,
    /// Of the snapshot's table; empty before the first run.
    pub table: Vec<(String, String)>,
}

impl SnapshotStep {
    /// What brings the table up to date. Columns are added first: DuckDB wants that before any change of rows.
    ///
    /// # Errors
    /// When the table is not one that a snapshot made, or a column to check is not in the query.
    pub fn statements(&self, columns: &SnapshotColumns) -> Result<Vec<Statement>> {
        if !self.exists {
            return Ok(vec![Statement::new(Purpose::Create, self.create())]);
        }
        self.check_table(columns)?;
        let staged = format!(
            "\"temp\".\"main\".{}",
            quote(&format!("{}__dbt_tmp", self.relation.identifier))
        );
        let stage = format!(
            "create or replace temp table {staged} as (\n{}\n)",
            self.stage(columns)?
        );
        let mut statements = vec![Statement::new(Purpose::Stage, stage)];
        for (name, sql_type) in &columns.query {
            if !has(&columns.table, name) {
                let sql = format!(
                    "alter table {} add column {} {sql_type}",
                    self.relation,
                    quote(name)
                );
                statements.push(Statement::new(Purpose::Alter, sql));
            }
        }
        statements.push(Statement::new(Purpose::Merge, self.end_versions(&staged)));
        statements.push(Statement::new(
            Purpose::Merge,
            self.insert_versions(&staged, columns),
        ));
        statements.push(Statement::new(Purpose::Drop, format!("drop table {staged}")));
        Ok(statements)
    }

    fn wrong(&self, message: String) -> Error {
        Error::at(ErrorKind::Project, &self.place, message)
    }

    fn check_table(&self, columns: &SnapshotColumns) -> Result<()> {
        let names = &self.config.names;
        let mut needed = vec![
            &names.scd_id,
            &names.updated_at,
            &names.valid_from,
            &names.valid_to,
        ];
        if self.config.hard_deletes == HardDeletes::NewRecord {
            needed.push(&names.is_deleted);
        }
        match needed.into_iter().find(|name| !has(&columns.table, name)) {
            None => Ok(()),
            Some(name) => Err(self.wrong(format!(
                "{} has no column `{name}`, so no such snapshot made it; move the table away, or add the column to keep its history",
                self.relation
            ))),
        }
    }

    fn updated_at(&self) -> &str {
        match &self.config.strategy {
            SnapshotStrategy::Timestamp { updated_at }
            | SnapshotStrategy::Check {
                updated_at: Some(updated_at),
                ..
            } => updated_at,
            SnapshotStrategy::Check { updated_at: None, .. } => NOW,
        }
    }

    fn scd_id(&self) -> String {
        let keys = self.config.unique_key.iter().map(String::as_str);
        hash(keys.chain([self.updated_at()]))
    }

    /// The valid-to of a current row, with the type of the valid-from.
    fn valid_to(&self) -> String {
        let updated_at = self.updated_at();
        let current = self.config.valid_to_current.as_deref().unwrap_or("null");
        format!("coalesce(nullif({updated_at}, {updated_at}), {current})")
    }

    fn create(&self) -> String {
        let names = &self.config.names;
        let updated_at = self.updated_at();
        let deleted = match self.config.hard_deletes {
            HardDeletes::NewRecord => format!(",\n    'False' as {}", names.is_deleted),
            _ => String::new(),
        };
        format!(
            "create or replace table {} as (\nselect *,\n    {} as {},\n    {updated_at} as {},\n    {updated_at} as {},\n    {} as {}{deleted}\nfrom (\n{}\n) sbq\n)",
            self.relation,
            self.scd_id(),
            names.scd_id,
            names.updated_at,
            names.valid_from,
            self.valid_to(),
            names.valid_to,
            self.query
        )
    }

    /// Is this version in the table the current one of its key?
    fn is_current(&self, table: &str) -> String {
        let valid_to = format!("{table}{}", self.config.names.valid_to);
        match &self.config.valid_to_current {
            Some(current) => format!("({valid_to} = {current} or {valid_to} is null)"),
            None => format!("{valid_to} is null"),
        }
    }

    fn keys(&self) -> String {
        let keys = self.config.unique_key.iter().enumerate();
        let keys: Vec<String> = keys
            .map(|(at, key)| format!("{key} as dbt_unique_key_{}", at + 1))
            .collect();
        keys.join(", ")
    }

    fn same_key(&self) -> String {
        let keys = 1..=self.config.unique_key.len();
        let keys: Vec<String> = keys
            .map(|at| format!("snapshotted_data.dbt_unique_key_{at} = source_data.dbt_unique_key_{at}"))
            .collect();
        keys.join(" and ")
    }

    fn row_changed(&self, columns: &SnapshotColumns) -> Result<String> {
        let checked: Vec<&str> = match &self.config.strategy {
            SnapshotStrategy::Timestamp { updated_at } => {
                let valid_from = &self.config.names.valid_from;
                return Ok(format!(
                    "(snapshotted_data.{valid_from} < source_data.{updated_at})"
                ));
            }
            SnapshotStrategy::Check {
                columns: CheckColumns::All,
                ..
            } => columns.query.iter().map(|(name, _)| name.as_str()).collect(),
            SnapshotStrategy::Check {
                columns: CheckColumns::These(names, place),
                ..
            } => names
                .iter()
                .map(|name| {
                    column(&columns.query, name).ok_or_else(|| {
                        let message =
                            format!("`check_cols` names column `{name}`, which the query does not give");
                        Error::at(ErrorKind::Project, place, message)
                    })
                })
                .collect::<Result<_>>()?,
        };
        // Nobody knows what a new column held before, so every row has changed.
        if checked.iter().any(|name| !has(&columns.table, name)) {
            return Ok("(TRUE)".to_owned());
        }
        let differs = |name: &str| {
            let name = quote(name);
            format!(
                "snapshotted_data.{name} != source_data.{name} or (snapshotted_data.{name} is null) != (source_data.{name} is null)"
            )
        };
        let differences: Vec<String> = checked.into_iter().map(differs).collect();
        Ok(format!("({})", differences.join("\n        or ")))
    }

    /// New versions (`insert`), and those that end (`update`, `delete`).
    fn stage(&self, columns: &SnapshotColumns) -> Result<String> {
        let names = &self.config.names;
        let (keys, same_key, updated_at) = (self.keys(), self.same_key(), self.updated_at());
        let mut changed = self.row_changed(columns)?;
        let (mut new_deleted, mut old_deleted) = (String::new(), String::new());
        if self.config.hard_deletes == HardDeletes::NewRecord {
            let is_deleted = format!("snapshotted_data.{}", names.is_deleted);
            changed = format!("({changed} or {is_deleted} = 'True')");
            new_deleted = format!(", 'False' as {}", names.is_deleted);
            old_deleted = format!(", {is_deleted}");
        }
        let mut sql = format!(
            "with snapshot_query as (
{query}
),
snapshotted_data as (
    select *, {keys} from {relation} where {current}
),
source_data as (
    select *, {keys} from snapshot_query
),
insertions_source_data as (
    select *, {keys}, {updated_at} as {u}, {updated_at} as {from}, {valid_to} as {to}, {scd_id} as {id}
    from snapshot_query
),
updates_source_data as (
    select *, {keys}, {updated_at} as {u}, {updated_at} as {from}, {updated_at} as {to} from snapshot_query
)
select 'insert' as dbt_change_type, source_data.*{new_deleted}
from insertions_source_data as source_data
left join snapshotted_data on {same_key}
where snapshotted_data.dbt_unique_key_1 is null
    or {changed}
union all
select 'update' as dbt_change_type, source_data.*, snapshotted_data.{id}{old_deleted}
from updates_source_data as source_data
join snapshotted_data on {same_key}
where {changed}",
            query = self.query,
            relation = self.relation,
            current = self.is_current(""),
            valid_to = self.valid_to(),
            scd_id = self.scd_id(),
            u = names.updated_at,
            from = names.valid_from,
            to = names.valid_to,
            id = names.scd_id,
        );
        if self.config.hard_deletes != HardDeletes::Ignore {
            sql.push_str(&self.stage_deletes(columns, &old_deleted));
        }
        Ok(sql)
    }

    fn stage_deletes(&self, columns: &SnapshotColumns, old_deleted: &str) -> String {
        let names = &self.config.names;
        let gone = format!(
            "from snapshotted_data\nleft join source_data on {}\nwhere source_data.dbt_unique_key_1 is null",
            self.same_key()
        );
        let deleted = format!(
            "\nunion all\nselect 'delete' as dbt_change_type, source_data.*, {NOW}, {NOW}, {NOW}, snapshotted_data.{}{old_deleted}\n{gone}",
            names.scd_id
        );
        if self.config.hard_deletes != HardDeletes::NewRecord {
            return deleted;
        }
        let kept = |name: &str| {
            let from = if has(&columns.table, name) {
                "snapshotted_data"
            } else {
                "source_data"
            };
            format!("{from}.{}", quote(name))
        };
        let kept: Vec<String> = columns.query.iter().map(|(name, _)| kept(name)).collect();
        let keys = 1..=self.config.unique_key.len();
        let keys: Vec<String> = keys
            .map(|at| format!("snapshotted_data.dbt_unique_key_{at}"))
            .collect();
        // A version that says the row is deleted neither ends nor is followed by another of its kind.
        let once = match &self.config.valid_to_current {
            Some(current) => format!("snapshotted_data.{} = {current}", names.valid_to),
            None => format!("snapshotted_data.{} is null", names.valid_to),
        };
        let once = format!(
            "and not (snapshotted_data.{} = 'True' and {once})",
            names.is_deleted
        );
        format!(
            "{deleted}\n{once}\nunion all\nselect 'insert' as dbt_change_type, {}, {}, {NOW}, {NOW}, snapshotted_data.{}, {}, 'True'\n{gone}\n{once}",
            kept.join(", "),
            keys.join(", "),
            names.valid_to,
            hash([format!("snapshotted_data.{}", names.scd_id).as_str(), NOW]),
        )
    }

    fn end_versions(&self, staged: &str) -> String {
        let names = &self.config.names;
        format!(
            "update {} as DBT_INTERNAL_TARGET\nset {to} = DBT_INTERNAL_SOURCE.{to}\nfrom {staged} as DBT_INTERNAL_SOURCE\nwhere DBT_INTERNAL_SOURCE.{id}::text = DBT_INTERNAL_TARGET.{id}::text\n    and DBT_INTERNAL_SOURCE.dbt_change_type in ('update', 'delete')\n    and {}",
            self.relation,
            self.is_current("DBT_INTERNAL_TARGET."),
            to = names.valid_to,
            id = names.scd_id,
        )
    }

    fn insert_versions(&self, staged: &str, columns: &SnapshotColumns) -> String {
        let names = &self.config.names;
        let mut inserted: Vec<String> = columns.query.iter().map(|(name, _)| quote(name)).collect();
        let added = [
            &names.updated_at,
            &names.valid_from,
            &names.valid_to,
            &names.scd_id,
        ];
        inserted.extend(added.map(|name| quote(name)));
        if self.config.hard_deletes == HardDeletes::NewRecord {
            inserted.push(quote(&names.is_deleted));
        }
        let inserted = inserted.join(", ");
        format!(
            "insert into {} ({inserted})\nselect {inserted} from {staged}\nwhere dbt_change_type = 'insert'",
            self.relation
        )
    }
}

/// dbt-duckdb's `snapshot_hash_arguments`.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<String> = parts
        .into_iter()
        .map(|part| format!("coalesce(cast({part} as varchar), '')"))
        .collect();
    format!("md5({})", parts.join(" || '|' || "))
}

/// The column as it is written in `columns`; DuckDB's names are case-insensitive.
fn column<'a>(columns: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let name = name.trim_matches('"');
    let found = columns
        .iter()
        .find(|(column, _)| column.eq_ignore_ascii_case(name));
    found.map(|(column, _)| column.as_str())
}

fn has(columns: &[(String, String)], name: &str) -> bool {
    column(columns, name).is_some()
}
