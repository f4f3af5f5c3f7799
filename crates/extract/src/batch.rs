//! Records into Arrow columns.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
    builder::{BooleanBuilder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder},
    new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::{
    decode::{FIELDS, Kind, Record, Value},
    extract::Settings,
    id::RecordId,
};

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
        text("machine", false),
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
    fn new(kind: Kind, rows: usize) -> Self {
        match kind {
            Kind::Text | Kind::Json | Kind::Origin => {
                Self::Text(StringBuilder::with_capacity(rows, rows * 16))
            }
            Kind::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
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

/// The rows of one block.
pub(crate) struct BatchBuilder {
    ids: StringBuilder,
    columns: Vec<Column>,
    parse_errors: StringBuilder,
    files: StringBuilder,
    offsets: Int64Builder,
    lines: StringBuilder,
    rows: usize,
}

/// Where a row's line stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) offset: u64,
}

impl BatchBuilder {
    /// For the lines of a block of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        // Half the usual bytes per line: growing twice costs less than memory never touched.
        let rows = bytes / 2048 + 8;
        Self {
            ids: StringBuilder::with_capacity(rows, rows * 32),
            columns: FIELDS.iter().map(|field| Column::new(field.kind, rows)).collect(),
            parse_errors: StringBuilder::with_capacity(rows, 0),
            files: StringBuilder::with_capacity(rows, rows * 128),
            offsets: Int64Builder::with_capacity(rows),
            lines: StringBuilder::with_capacity(rows, bytes),
            rows: 0,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn append(&mut self, id: RecordId, place: Place<'_>, line: &str, record: &Record<'_>) {
        self.rows += 1;
        self.ids
            .append_value(std::str::from_utf8(&id.hex()).unwrap_or_default());
        let mut unexpected = Vec::new();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let (value, key) = record.value(index);
            if !column.append(value) {
                unexpected.push(key);
            }
        }
        self.parse_errors
            .append_option((!unexpected.is_empty()).then(|| unexpected.join(",")));
        self.files.append_value(place.file);
        self.offsets
            .append_value(i64::try_from(place.offset).unwrap_or(i64::MAX));
        self.lines.append_value(line);
    }

    pub(crate) fn finish(mut self, settings: &Settings) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows;
        let same =
            |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) as ArrayRef;
        let null =
            |name: &str| Ok::<_, ArrowError>(new_null_array(SCHEMA.field_with_name(name)?.data_type(), rows));
        let synced_at =
            TimestampMicrosecondArray::from_value(settings.synced_at_us, rows).with_timezone("+00:00");
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.ids.finish())];
        arrays.extend(self.columns.iter_mut().map(Column::finish));
        arrays.extend([
            Arc::new(self.parse_errors.finish()) as ArrayRef,
            same("jsonl"),
            Arc::new(self.files.finish()),
            Arc::new(self.offsets.finish()),
            same(&settings.machine),
            same("upsert"),
            null("_cluster_ts")?,
            null("_seq")?,
            null("_deleted_at")?,
            same(&settings.run_id),
            Arc::new(synced_at),
            Arc::new(self.lines.finish()),
        ]);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema(), arrays, &options)
    }
}
