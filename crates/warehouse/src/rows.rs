//! Batches as rows: which of several copies wins, and the small conversions a load needs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;

use crate::error::{Error, ErrorKind, Result};
use crate::open::quoted;

/// Numbers the load that last inserted or changed a row.
pub(crate) const LOAD_SEQUENCE: &str = "_load_seq";

/// Per `_id`, the (batch, row) that this load keeps.
pub(crate) fn winning_rows(batches: &[RecordBatch]) -> Result<HashMap<String, (usize, usize)>> {
    let total = batches.iter().map(RecordBatch::num_rows).sum();
    let mut winners: HashMap<String, (usize, usize)> = HashMap::with_capacity(total);
    let orders = batches.iter().map(RowOrder::of).collect::<Result<Vec<_>>>()?;
    for (index, batch) in batches.iter().enumerate() {
        let ids = text_column(batch, "_id")?;
        for row in 0..batch.num_rows() {
            match winners.entry(ids.value(row).to_owned()) {
                Entry::Vacant(free) => {
                    free.insert((index, row));
                }
                Entry::Occupied(mut taken) => {
                    let (other, other_row) = *taken.get();
                    if orders[index].beats(row, &orders[other], other_row) {
                        taken.insert((index, row));
                    }
                }
            }
        }
    }
    Ok(winners)
}

/// The columns that order two rows of one `_id`.
struct RowOrder<'a> {
    cluster_ts: &'a arrow_array::PrimitiveArray<TimestampMicrosecondType>,
    seq: &'a Int64Array,
    file: &'a StringArray,
    offset: &'a Int64Array,
}

impl<'a> RowOrder<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            cluster_ts: column(batch, "_cluster_ts")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| wrong_type("_cluster_ts"))?,
            seq: integer_column(batch, "_seq")?,
            file: text_column(batch, "source_file")?,
            offset: integer_column(batch, "source_offset")?,
        })
    }

    fn beats(&self, row: usize, other: &Self, other_row: usize) -> bool {
        let mine = (self.content_order(row), other.place(other_row));
        let theirs = (other.content_order(other_row), self.place(row));
        mine > theirs
    }

    fn content_order(&self, row: usize) -> (i64, i64) {
        let value = |array: &dyn Array, value: i64| if array.is_null(row) { 0 } else { value };
        (
            value(self.cluster_ts, self.cluster_ts.value(row)),
            value(self.seq, self.seq.value(row)),
        )
    }

    fn place(&self, row: usize) -> (&str, i64) {
        (self.file.value(row), self.offset.value(row))
    }
}

pub(crate) fn with_sequence(batch: &RecordBatch, sequence: i64) -> Result<RecordBatch> {
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(LOAD_SEQUENCE, DataType::Int64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(vec![sequence; batch.num_rows()])));
    batch_of(Arc::new(Schema::new(fields)), columns)
}

/// Splits rows that say that a document is gone from those with a content.
pub(crate) fn without_deletions(batches: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
    let mut contents = Vec::with_capacity(batches.len());
    let mut deletions = Vec::new();
    for batch in batches {
        let ops = text_column(batch, "_op")?;
        let is_deletion = mask(ops, |row| ops.value(row) == "delete");
        if is_deletion.true_count() == 0 {
            contents.push(batch.clone());
            continue;
        }
        deletions.push(filtered(batch, &is_deletion)?);
        let rest = filtered(batch, &mask(ops, |row| !is_deletion.value(row)))?;
        if rest.num_rows() > 0 {
            contents.push(rest);
        }
    }
    Ok((contents, deletions))
}

/// The columns of `raw.deletions`.
pub(crate) fn deletions_of(batch: &RecordBatch) -> Result<RecordBatch> {
    columns_of(batch, &["_id", "_deleted_at", "_cluster_ts", "_seq"])
}

pub(crate) fn sightings_of(batch: &RecordBatch, sequence: i64) -> Result<RecordBatch> {
    let columns = columns_of(batch, &["_id", "machine", "source_file", "source_offset"])?;
    with_sequence(&columns, sequence)
}

fn columns_of(batch: &RecordBatch, names: &[&str]) -> Result<RecordBatch> {
    let fields = names
        .iter()
        .map(|name| {
            Field::new(
                *name,
                column(batch, name).map_or(DataType::Null, |array| array.data_type().clone()),
                // Who deletes may keep no time of it.
                true,
            )
        })
        .collect::<Vec<_>>();
    let columns = names
        .iter()
        .map(|name| column(batch, name).cloned())
        .collect::<Result<Vec<_>>>()?;
    batch_of(Arc::new(Schema::new(fields)), columns)
}

pub(crate) fn batch_of(schema: Arc<Schema>, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(|source| Error::new(ErrorKind::Load, source.to_string()))
}

pub(crate) fn filtered(batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    if mask.true_count() == batch.num_rows() {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, mask).map_err(|source| Error::new(ErrorKind::Load, source.to_string()))
}

pub(crate) fn mask(ids: &StringArray, keep: impl Fn(usize) -> bool) -> BooleanArray {
    (0..ids.len()).map(|row| Some(keep(row))).collect()
}

pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| {
        Error::new(
            ErrorKind::Load,
            format!("rows from the lake lack the column {}", quoted(name)),
        )
    })
}

pub(crate) fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    column(batch, name)?
        .as_string_opt::<i32>()
        .ok_or_else(|| wrong_type(name))
}

pub(crate) fn integer_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    column(batch, name)?
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| wrong_type(name))
}

pub(crate) fn wrong_type(name: &str) -> Error {
    Error::new(
        ErrorKind::Load,
        format!("column {} of the lake rows has an unexpected type", quoted(name)),
    )
}
