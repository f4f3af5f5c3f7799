//! Arrow schemas ↔ the table's schema, and batches brought into the table's form.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, Schema as ArrowSchema, SchemaRef};
use iceberg::arrow::{
    arrow_schema_to_schema_auto_assign_ids, arrow_type_to_type, schema_to_arrow_schema, type_to_arrow_type,
};
use iceberg::spec::{Schema, Type, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::transaction::AddColumn;

use crate::error::{Error, ErrorKind, Result};
use crate::settings::PartitionBy;

/// The column that partitions are made of.
pub(crate) const PARTITION_COLUMN: &str = "timestamp";

/// The Iceberg schema for a new table. Its field ids are reassigned when the table is created.
pub(crate) fn new_table_schema(schema: &ArrowSchema) -> Result<Schema> {
    for field in schema.fields() {
        iceberg_type(field.name(), field.data_type())?;
    }
    let plain = ArrowSchema::new(schema.fields().clone());
    arrow_schema_to_schema_auto_assign_ids(&plain)
        .map_err(|error| Error::from_source("make a table schema", error).with_kind(ErrorKind::Schema))
}

pub(crate) fn partition_spec(
    schema: &Schema,
    partition_by: PartitionBy,
) -> Result<Option<UnboundPartitionSpec>> {
    let Some(transform) = partition_by.transform() else {
        return Ok(None);
    };
    let source = schema.field_by_name(PARTITION_COLUMN).ok_or_else(|| {
        Error::new(
            ErrorKind::Schema,
            format!("cannot partition the lake's table: there is no column {PARTITION_COLUMN}"),
        )
    })?;
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(source.id, format!("{PARTITION_COLUMN}_{transform}"), transform)
        .map_err(|error| Error::from_source("partition the lake's table", error))?
        .build();
    Ok(Some(spec))
}

/// The columns of `wanted` that the table lacks. They come as optional ones, since older rows have no value for them.
///
/// # Errors
/// [`ErrorKind::Schema`] if a column has another type, or the table requires a column that `wanted` lacks.
pub(crate) fn missing_columns(table: &Schema, wanted: &ArrowSchema) -> Result<Vec<AddColumn>> {
    let mut missing = Vec::new();
    for field in wanted.fields() {
        let wanted_type = iceberg_type(field.name(), field.data_type())?;
        match table.field_by_name(field.name()) {
            None => missing.push(AddColumn::optional(field.name(), wanted_type)),
            Some(found) if *found.field_type == wanted_type => {}
            Some(found) => {
                let message = format!(
                    "the lake's table has column {} as {}, but it is written as {wanted_type}; use another table name",
                    field.name(),
                    found.field_type
                );
                return Err(Error::new(ErrorKind::Schema, message));
            }
        }
    }
    for field in table.as_struct().fields() {
        if field.required && wanted.field_with_name(&field.name).is_err() {
            let message = format!(
                "the lake's table requires column {}, which is not written here; use another table name",
                field.name
            );
            return Err(Error::new(ErrorKind::Schema, message));
        }
    }
    Ok(missing)
}

/// The table's current schema for Arrow, with field ids. It changes with every evolution.
pub(crate) fn arrow_schema(table: &Table) -> Result<SchemaRef> {
    let schema = schema_to_arrow_schema(table.metadata().current_schema())
        .map_err(|error| Error::from_source("read the table's schema", error))?;
    Ok(Arc::new(schema))
}

/// The batch with the table's columns in the table's order; columns it lacks are null.
///
/// # Errors
/// [`ErrorKind::Schema`] if a column is unknown to the table, has another type, or is null where it must not be.
pub(crate) fn conform(batch: &RecordBatch, table: &SchemaRef) -> Result<RecordBatch> {
    let given = batch.schema_ref();
    if let Some(unknown) = given
        .fields()
        .iter()
        .find(|field| table.field_with_name(field.name()).is_err())
    {
        let message = format!(
            "the lake's table has no column {}; open it with the schema that is written",
            unknown.name()
        );
        return Err(Error::new(ErrorKind::Schema, message));
    }
    let mut columns = Vec::with_capacity(table.fields().len());
    for field in table.fields() {
        let column = match given.index_of(field.name()) {
            Ok(index) => Arc::clone(batch.column(index)),
            Err(_) => new_null_array(field.data_type(), batch.num_rows()),
        };
        if column.data_type() != field.data_type() {
            let message = format!(
                "column {} is {} in the batch and {} in the lake's table",
                field.name(),
                column.data_type(),
                field.data_type()
            );
            return Err(Error::new(ErrorKind::Schema, message));
        }
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(table), columns, &options).map_err(|error| {
        Error::new(
            ErrorKind::Schema,
            format!("a batch does not fit the lake's table: {error}"),
        )
    })
}

/// The Iceberg type of a column whose Arrow type comes back from the lake as it went in.
fn iceberg_type(name: &str, data_type: &DataType) -> Result<Type> {
    let unfit = || {
        let message =
            format!("column {name} cannot be kept in the lake as {data_type}; use a type that Iceberg has");
        Error::new(ErrorKind::Schema, message)
    };
    // Nested types carry field ids, which an ordinary Arrow schema has not.
    if data_type.is_nested() {
        return Err(unfit());
    }
    let iceberg_type = arrow_type_to_type(data_type).map_err(|_| unfit())?;
    let back = type_to_arrow_type(&iceberg_type).map_err(|_| unfit())?;
    if back == *data_type {
        Ok(iceberg_type)
    } else {
        Err(unfit())
    }
}
