//! What the database holds now: types, row counts, the last build and its test results. Opened read-only and briefly.

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use cclake_plan::Relation;
use cclake_warehouse::{Access, Warehouse};

use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::settings::Settings;
use crate::stages::open_warehouse;

/// What a warehouse tells, or why it tells nothing.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    tables: HashMap<(String, String), Table>,
    results: HashMap<String, TestResult>,
    /// When the last published build was, in the configured time zone.
    pub(crate) built_at: Option<String>,
    /// Why there is nothing, or not all.
    pub(crate) note: Option<String>,
}

/// A table or view.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// None for views.
    pub(crate) rows: Option<u64>,
    columns: Vec<(String, String)>,
}

/// What a test found when it last ran.
#[derive(Debug)]
pub(crate) struct TestResult {
    /// `pass`, `warn` or `fail`.
    pub(crate) verdict: String,
    pub(crate) failures: String,
}

impl Table {
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn data_type(&self, name: &str) -> Option<&str> {
        let found = self
            .columns
            .iter()
            .find(|(column, _)| column.eq_ignore_ascii_case(name));
        found.map(|(_, data_type)| data_type.as_str())
    }
}

impl Catalog {
    /// Never an error: without a warehouse, or while somebody writes to it, the pages show the project alone.
    pub(crate) fn read(settings: &Settings) -> Catalog {
        let note = |note: String| Catalog {
            note: Some(note),
            ..Catalog::default()
        };
        if !has_warehouse(settings) {
            return note("There is no warehouse yet: run `cclake run`, and types, row counts and test results appear here.".to_owned());
        }
        let read = || -> anyhow::Result<Catalog> {
            let _data = DataDir::own(settings, Ownership::Shared)?;
            read_all(&open_warehouse(settings, Access::ReadOnly)?)
        };
        read().unwrap_or_else(|error| {
            note(format!(
                "Types, row counts and test results are missing here: {error}."
            ))
        })
    }

    pub(crate) fn table(&self, relation: &Relation) -> Option<&Table> {
        self.tables
            .get(&(relation.schema.clone(), relation.identifier.clone()))
    }

    pub(crate) fn result(&self, test: &str) -> Option<&TestResult> {
        self.results.get(test)
    }
}

fn read_all(warehouse: &Warehouse) -> anyhow::Result<Catalog> {
    let mut catalog = Catalog::default();
    let columns = "select schema_name, table_name, column_name, data_type from duckdb_columns()
                   where database_name = current_database() and not internal order by schema_name, table_name, column_index";
    for [schema, table, column, data_type] in rows(warehouse, columns)? {
        let table = catalog.tables.entry((schema, table)).or_default();
        table.columns.push((column, data_type));
    }
    let tables = "select schema_name, table_name from duckdb_tables() where database_name = current_database() and not internal";
    let mut counts = String::new();
    for [schema, table] in rows(warehouse, tables)? {
        let separator = if counts.is_empty() { "" } else { " union all " };
        let _ = write!(
            counts,
            "{separator}select {}, {}, count(*) from {}.{}",
            quoted(&schema, '\''),
            quoted(&table, '\''),
            quoted(&schema, '"'),
            quoted(&table, '"')
        );
    }
    if !counts.is_empty() {
        for [schema, table, count] in rows(warehouse, &counts)? {
            if let Some(table) = catalog.tables.get_mut(&(schema, table)) {
                table.rows = count.parse().ok();
            }
        }
    }
    let has = |table: &str| {
        catalog
            .tables
            .contains_key(&("quality".to_owned(), table.to_owned()))
    };
    if has("test_results") {
        let results = "select node, verdict, failures from quality.test_results";
        for [node, verdict, failures] in rows(warehouse, results)? {
            catalog.results.insert(node, TestResult { verdict, failures });
        }
    }
    if catalog
        .tables
        .contains_key(&("quality".to_owned(), "builds".to_owned()))
    {
        let built = "select left(cast(max(built_at) as varchar), 16) from quality.builds";
        catalog.built_at = rows(warehouse, built)?
            .into_iter()
            .map(|[at]| at)
            .find(|at| !at.is_empty());
    }
    Ok(catalog)
}

fn quoted(name: &str, quote: char) -> String {
    format!(
        "{quote}{}{quote}",
        name.replace(quote, &format!("{quote}{quote}"))
    )
}

/// The rows of a query as texts.
fn rows<const N: usize>(warehouse: &Warehouse, sql: &str) -> anyhow::Result<Vec<[String; N]>> {
    let options = FormatOptions::default().with_null("");
    let mut rows = Vec::new();
    for batch in warehouse.query(sql)? {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let mut texts = [const { String::new() }; N];
            for (text, column) in texts.iter_mut().zip(&columns) {
                *text = column.value(row).try_to_string()?;
            }
            rows.push(texts);
        }
    }
    Ok(rows)
}
