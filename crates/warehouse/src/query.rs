//! SQL in, Arrow batches out.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::error::{Context as _, ErrorKind, Result};
use crate::open::Warehouse;

/// The rows of a query with their schema, which a result without rows has too.
#[derive(Debug)]
pub struct QueryResult {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows, in order.
    pub batches: Vec<RecordBatch>,
}

impl Warehouse {
    /// Runs a person's SQL in a read-only transaction that is always rolled back.
    ///
    /// Hand it a warehouse opened with [`crate::Access::ReadOnly`]: a statement list could end the transaction, and
    /// then only the file's own read-only attachment stands between it and the tables.
    ///
    /// # Errors
    /// `Query` with DuckDB's own words when the SQL is wrong or tries to write.
    pub fn query(&self, sql: &str) -> Result<QueryResult> {
        let what = "the query failed";
        self.connection
            .execute_batch("begin transaction read only")
            .during(ErrorKind::Query, what)?;
        let result = self.fetch(sql);
        // A statement list may have ended the transaction itself; nothing is left to roll back then.
        let _ = self.connection.execute_batch("rollback");
        result
    }

    fn fetch(&self, sql: &str) -> Result<QueryResult> {
        let what = "the query failed";
        let mut statement = self.connection.prepare(sql).during(ErrorKind::Query, what)?;
        let rows = statement.query_arrow([]).during(ErrorKind::Query, what)?;
        let schema = rows.get_schema();
        Ok(QueryResult {
            schema,
            batches: rows.collect(),
        })
    }
}
