//! SQL in, Arrow batches out.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::open::{Warehouse, identifier};
use crate::statement::only_query;

const WHAT: &str = "the query failed";

/// How often a broken query runs again to learn its reason.
const TRIES_FOR_A_REASON: u32 = 3;

/// The metadata of a field whose texts stand for values of another kind.
const TEXT_OF: &str = "cclake.text-of";

/// What the texts of a column stand for that DuckDB wrote out, because Arrow has no type for it or none that every format
/// can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOf {
    /// Whole numbers of any size.
    Number,
    /// Lists, structs, maps and unions, as JSON.
    Json,
    /// What is a text in every format.
    Text,
}

impl TextOf {
    /// What the field's texts stand for; none for a column as it is.
    pub fn of(field: &Field) -> Option<Self> {
        match field.metadata().get(TEXT_OF)?.as_str() {
            "number" => Some(Self::Number),
            "json" => Some(Self::Json),
            _ => Some(Self::Text),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    /// By the type's name, as DESCRIBE gives it.
    fn of_type(name: &str) -> Option<Self> {
        let nested = ["STRUCT(", "MAP(", "UNION("];
        match name {
            // Arrow's widest decimal has 38 digits, these have 39 or more.
            "HUGEINT" | "UHUGEINT" | "BIGNUM" => Some(Self::Number),
            "BIT" | "TIME WITH TIME ZONE" | "VARIANT" => Some(Self::Text),
            _ if name.ends_with(']') || nested.iter().any(|start| name.starts_with(start)) => {
                Some(Self::Json)
            }
            _ => None,
        }
    }
}

/// A column of the result.
struct Column {
    name: String,
    written_out: Option<TextOf>,
}

impl Warehouse {
    /// Runs a person's SQL in a read-only transaction that is always rolled back; its rows in at least one batch, so
    /// that there is a schema. See [`TextOf`] for columns that come as texts.
    ///
    /// Hand it a warehouse opened with [`crate::Access::ReadOnly`]: a statement could end the transaction, and then
    /// only the file's own read-only attachment stands between it and the tables.
    ///
    /// # Errors
    /// `Query` with DuckDB's own words when the SQL is wrong, or ours when it is not one statement that reads.
    pub fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        self.query_each(sql, &mut |batch| {
            batches.push(batch);
            Ok::<_, Error>(())
        })?;
        Ok(batches)
    }

    /// As [`query`](Self::query), but hands over each batch as it comes, so that a result of any size needs the memory of
    /// a few thousand rows.
    ///
    /// # Errors
    /// As [`query`](Self::query), also after batches have come; and the first error of `on_batch`, which ends it.
    pub fn query_each<E: From<Error>>(
        &self,
        sql: &str,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = only_query(sql)?;
        self.connection
            .execute_batch("begin transaction read only")
            .during(ErrorKind::Query, WHAT)?;
        let result = self.fetch(sql, on_batch);
        // The statement may have ended the transaction itself; nothing is left to roll back then.
        let _ = self.connection.execute_batch("rollback");
        result
    }

    fn fetch<E: From<Error>>(
        &self,
        sql: &str,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        // What DESCRIBE cannot take (EXPLAIN, or a mistake) runs as it stands; DuckDB says what is wrong with it.
        let columns = self.describe(sql).unwrap_or_default();
        let wrapped = columns.iter().any(|column| column.written_out.is_some());
        let text = if wrapped {
            write_out(sql, &columns)
        } else {
            sql.to_owned()
        };
        let mut statement = self.connection.prepare(&text).during(ErrorKind::Query, WHAT)?;
        let rows = statement.stream_arrow([]).during(ErrorKind::Query, WHAT)?;
        let mut schema = rows.get_schema();
        if wrapped {
            schema = marked(&schema, &columns);
        }
        // By steps: the iterator would panic on an error that DuckDB meets on the way.
        let mut batches = 0_usize;
        while let Some(rows) = statement.step().map_err(|error| self.reason(&text, error))? {
            batches += 1;
            on_batch(with_schema(&RecordBatch::from(&rows), &schema)?)?;
        }
        if batches == 0 {
            on_batch(RecordBatch::new_empty(schema))?;
        }
        Ok(())
    }

    /// Why a query broke off. Where one thread meets the error, DuckDB now and then lets the reader know only that it was
    /// interrupted; as nobody interrupts, the query then runs once more to say what happened.
    fn reason(&self, text: &str, mut error: duckdb::Error) -> Error {
        for _ in 0..TRIES_FOR_A_REASON {
            if !error.to_string().contains("INTERRUPT Error") {
                break;
            }
            let again = self.run_through(text);
            error = again.err().unwrap_or(error);
        }
        Error::duckdb(ErrorKind::Query, WHAT, error)
    }

    fn run_through(&self, text: &str) -> std::result::Result<(), duckdb::Error> {
        // The error has ended the transaction that the query ran in.
        let _ = self
            .connection
            .execute_batch("rollback; begin transaction read only");
        let mut statement = self.connection.prepare(text)?;
        drop(statement.stream_arrow([])?);
        while statement.step()?.is_some() {}
        Ok(())
    }

    fn describe(&self, sql: &str) -> Result<Vec<Column>> {
        let mut statement = self
            .connection
            .prepare(&format!("describe {sql}"))
            .during(ErrorKind::Query, WHAT)?;
        let columns = statement
            .query_map([], |row| {
                Ok(Column {
                    name: row.get(0)?,
                    written_out: TextOf::of_type(&row.get::<_, String>(1)?),
                })
            })
            .during(ErrorKind::Query, WHAT)?;
        columns
            .collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Query, WHAT)
    }
}

/// The same query, with columns written out as texts. Its columns are renamed on the way, since two may have one name.
fn write_out(sql: &str, columns: &[Column]) -> String {
    let places = (0..columns.len()).map(|place| format!("c{place}"));
    let shown = columns.iter().zip(places.clone()).map(|(column, place)| {
        let value = match column.written_out {
            None => place,
            Some(TextOf::Json) => {
                format!("case when {place} is not null then cast(to_json({place}) as varchar) end")
            }
            Some(TextOf::Number | TextOf::Text) => format!("cast({place} as varchar)"),
        };
        format!("{value} as {}", identifier(&column.name))
    });
    format!(
        "select {} from (\n{sql}\n) as q({})",
        shown.collect::<Vec<_>>().join(", "),
        places.collect::<Vec<_>>().join(", ")
    )
}

fn marked(schema: &Schema, columns: &[Column]) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns).map(|(field, column)| {
        let field = Field::clone(field);
        match column.written_out {
            Some(kind) => field.with_metadata([(TEXT_OF.to_owned(), kind.name().to_owned())].into()),
            None => field,
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())
        .map_err(|error| Error::new(ErrorKind::Query, format!("{WHAT}: {error}")))
}
