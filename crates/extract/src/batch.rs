//! Records into Arrow columns.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray,
    builder::{BooleanBuilder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder},
    new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::decode::{FIELDS, Field as SourceField, Kind, Record, Value};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let time = |name: &str, nullable| {
        Field::new(
            name,
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            nullable,
        )
    };
    let mut fields = vec![text("_id", false)];
    fields.extend(FIELDS.iter().map(|field| match field.kind {
        Kind::Text | Kind::Json | Kind::Origin => text(field.column, true),
        Kind::Bool => Field::new(field.column, DataType::Boolean, true),
        Kind::Time => time(field.column, true),
    }));
    fields.extend([
        text("_parse_error", true),
        text("source", false),
        text("source_file", false),
        Field::new("source_offset", DataType::Int64, false),
        text("source_collection", true),
        text("machine", false),
        text("user_name", true),
        text("_op", false),
        time("_cluster_ts", true),
        Field::new("_seq", DataType::Int64, true),
        time("_deleted_at", true),
        text("_run_id", false),
        time("_synced_at", false),
        text("_raw_json", false),
    ]);
    Arc::new(Schema::new(fields))
});

/// The columns of every batch, in the order of the lake.
///
/// Times are microseconds UTC. `message`, `tool_use`, `tool_use_result` and `data` hold JSON that every DuckDB
/// function takes; `_raw_json` is the exact line. `_parse_error` names the members whose type was not as expected.
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

enum Column {
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl Column {
    /// For so many rows, and so many bytes where they are texts.
    fn new(kind: Kind, rows: usize, bytes: usize) -> Self {
        match kind {
            Kind::Text | Kind::Json | Kind::Origin => Self::Text(StringBuilder::with_capacity(rows, bytes)),
            Kind::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(column) => column.values_slice().len(),
            Self::Bool(_) | Self::Time(_) => 0,
        }
    }

    /// Whether the value is of the column's type; null is, and takes the place of what is not.
    fn append(&mut self, value: Value<'_>) -> bool {
        let expected = value != Value::Unexpected;
        match (self, value) {
            (Self::Text(column), Value::Text(text)) => column.append_value(text),
            (Self::Text(column), _) => column.append_null(),
            (Self::Bool(column), Value::Bool(bool)) => column.append_value(bool),
            (Self::Bool(column), _) => column.append_null(),
            (Self::Time(column), Value::Micros(micros)) => column.append_value(micros),
            (Self::Time(column), _) => column.append_null(),
        }
        expected
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish().with_timezone("+00:00")),
        }
    }
}

/// The rows of one block of lines, or of some documents.
pub(crate) struct BatchBuilder {
    ids: StringBuilder,
    columns: Vec<Column>,
    parse_errors: StringBuilder,
    files: StringBuilder,
    offsets: Int64Builder,
    machines: StringBuilder,
    users: StringBuilder,
    ops: StringBuilder,
    cluster_times: TimestampMicrosecondBuilder,
    sequences: Int64Builder,
    deleted_at: TimestampMicrosecondBuilder,
    synced_at: TimestampMicrosecondBuilder,
    lines: StringBuilder,
    rows: usize,
}

/// What all rows of a batch have in common.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The kind of source: `jsonl` or `mongodb`.
    pub(crate) source: &'a str,
    /// `database.collection` of a document.
    pub(crate) collection: Option<&'a str>,
    pub(crate) run_id: &'a str,
}

/// Where a row comes from.
#[derive(Clone, Copy)]
pub(crate) struct Provenance<'a> {
    pub(crate) file: &'a str,
    pub(crate) offset: u64,
    pub(crate) machine: &'a str,
    pub(crate) user: Option<&'a str>,
    /// Microseconds since 1970 UTC.
    pub(crate) synced_at: i64,
    /// None where the source has no order of changes: a file.
    pub(crate) order: Option<ChangeOrder>,
}

/// When a document was as the row says: later wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ChangeOrder {
    /// Microseconds since 1970 UTC.
    pub(crate) cluster_ts: i64,
    pub(crate) sequence: i64,
}

impl BatchBuilder {
    /// For the lines of a block of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        // Half the usual bytes per line: growing twice costs less than memory never touched.
        let rows = bytes / 2048 + 8;
        Self::with_capacity(rows, |_| rows * 16, rows * 128, bytes)
    }

    /// For as much as this one holds, and a little more: what is alike needs no growing.
    pub(crate) fn another(&self) -> Self {
        let more = |size: usize| size + size / 8 + 64;
        Self::with_capacity(
            more(self.rows),
            |column| more(self.columns[column].bytes()),
            more(self.files.values_slice().len()),
            more(self.lines.values_slice().len()),
        )
    }

    fn with_capacity(
        rows: usize,
        column_bytes: impl Fn(usize) -> usize,
        file_bytes: usize,
        line_bytes: usize,
    ) -> Self {
        let column =
            |(index, field): (usize, &SourceField)| Column::new(field.kind, rows, column_bytes(index));
        Self {
            ids: StringBuilder::with_capacity(rows, rows * 32),
            columns: FIELDS.iter().enumerate().map(column).collect(),
            parse_errors: StringBuilder::with_capacity(rows, 0),
            files: StringBuilder::with_capacity(rows, file_bytes),
            offsets: Int64Builder::with_capacity(rows),
            machines: StringBuilder::with_capacity(rows, rows * 16),
            users: StringBuilder::with_capacity(rows, 0),
            ops: StringBuilder::with_capacity(rows, rows * 6),
            cluster_times: TimestampMicrosecondBuilder::with_capacity(rows),
            sequences: Int64Builder::with_capacity(rows),
            deleted_at: TimestampMicrosecondBuilder::with_capacity(rows),
            synced_at: TimestampMicrosecondBuilder::with_capacity(rows),
            lines: StringBuilder::with_capacity(rows, line_bytes),
            rows: 0,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a record as it is now; whether every member had the type that its column has.
    pub(crate) fn append(&mut self, id: &str, from: Provenance<'_>, line: &str, record: &Record<'_>) -> bool {
        let mut unexpected = Vec::new();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let (value, key) = record.value(index);
            if !column.append(value) {
                unexpected.push(key);
            }
        }
        self.parse_errors
            .append_option((!unexpected.is_empty()).then(|| unexpected.join(",")));
        self.append_trace(id, from, "upsert", None);
        self.lines.append_value(line);
        unexpected.is_empty()
    }

    /// Adds that the document is gone since `at`, microseconds since 1970 UTC. The event has no content.
    pub(crate) fn append_deletion(&mut self, id: &str, from: Provenance<'_>, at: i64) {
        for column in &mut self.columns {
            column.append(Value::Null);
        }
        self.parse_errors.append_null();
        self.append_trace(id, from, "delete", Some(at));
        self.lines.append_value("");
    }

    fn append_trace(&mut self, id: &str, from: Provenance<'_>, op: &str, deleted_at: Option<i64>) {
        self.rows += 1;
        self.ids.append_value(id);
        self.files.append_value(from.file);
        self.offsets
            .append_value(i64::try_from(from.offset).unwrap_or(i64::MAX));
        self.machines.append_value(from.machine);
        self.users.append_option(from.user);
        self.ops.append_value(op);
        self.cluster_times
            .append_option(from.order.map(|order| order.cluster_ts));
        self.sequences
            .append_option(from.order.map(|order| order.sequence));
        self.deleted_at.append_option(deleted_at);
        self.synced_at.append_value(from.synced_at);
    }

    pub(crate) fn finish(mut self, origin: Origin<'_>) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows;
        let same =
            |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) as ArrayRef;
        let collection = match origin.collection {
            Some(collection) => same(collection),
            None => new_null_array(&DataType::Utf8, rows),
        };
        let time = |mut column: TimestampMicrosecondBuilder| {
            Arc::new(column.finish().with_timezone("+00:00")) as ArrayRef
        };
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.ids.finish())];
        arrays.extend(self.columns.iter_mut().map(Column::finish));
        arrays.extend([
            Arc::new(self.parse_errors.finish()) as ArrayRef,
            same(origin.source),
            Arc::new(self.files.finish()),
            Arc::new(self.offsets.finish()),
            collection,
            Arc::new(self.machines.finish()),
            Arc::new(self.users.finish()),
            Arc::new(self.ops.finish()),
            time(self.cluster_times),
            Arc::new(self.sequences.finish()),
            time(self.deleted_at),
            same(origin.run_id),
            time(self.synced_at),
            Arc::new(self.lines.finish()),
        ]);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema(), arrays, &options)
    }
}
