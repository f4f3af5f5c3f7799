//! What tables there are, and of which columns: for the documentation.

use std::collections::BTreeMap;

use cclake_plan::artifacts::CatalogTable;

use crate::error::{Context as _, ErrorKind, Result};
use crate::open::{DATABASE, Warehouse};

impl Warehouse {
    /// Every table and view with its columns: (schema, name) → table.
    ///
    /// # Errors
    /// `Query` when DuckDB does not answer.
    pub fn catalog(&self) -> Result<BTreeMap<(String, String), CatalogTable>> {
        let what = "cannot list the columns of the warehouse";
        let mut tables = self.described()?;
        let mut statement = self
            .connection
            .prepare(
                "select schema_name, table_name, column_name, data_type, comment from duckdb_columns()
                 where database_name = ? order by schema_name, table_name, column_index",
            )
            .during(ErrorKind::Query, what)?;
        let rows = statement
            .query_map([DATABASE], |row| {
                let column = (row.get(2)?, row.get(3)?, row.get(4)?);
                Ok(((row.get(0)?, row.get(1)?), column))
            })
            .during(ErrorKind::Query, what)?;
        for row in rows {
            let (name, column) = row.during(ErrorKind::Query, what)?;
            if let Some(table) = tables.get_mut(&name) {
                table.columns.push(column);
            }
        }
        Ok(tables)
    }

    fn described(&self) -> Result<BTreeMap<(String, String), CatalogTable>> {
        let what = "cannot list the tables of the warehouse";
        let mut statement = self
            .connection
            .prepare(
                "select schema_name, table_name, comment from duckdb_tables() where database_name = ?1
                 union all
                 select schema_name, view_name, comment from duckdb_views() where database_name = ?1",
            )
            .during(ErrorKind::Query, what)?;
        let rows = statement
            .query_map([DATABASE], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
            .during(ErrorKind::Query, what)?;
        let kinds = self.relations()?;
        let mut tables = BTreeMap::new();
        for row in rows {
            let (name, comment) = row.during(ErrorKind::Query, what)?;
            if let Some(kind) = kinds.get(&name).copied() {
                let table = CatalogTable {
                    kind,
                    comment,
                    columns: Vec::new(),
                };
                tables.insert(name, table);
            }
        }
        Ok(tables)
    }
}
