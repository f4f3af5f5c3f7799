//! Rows by partition value.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::DataType;
use arrow_select::take::take_record_batch;
use iceberg::spec::{Literal, PartitionKey, Struct, Transform};
use iceberg::table::Table;
use iceberg::transform::{BoxedTransformFunction, create_transform_function};

use crate::error::{Error, ErrorKind, Result};

/// 0001-01-01 and 10000-01-01 in microseconds: Python's dates, hence PyIceberg's, reach from one to the other, and
/// beyond the year 262,000 the library panics.
const YEARS_1_TO_9999: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// How the table wants its rows split.
pub(crate) enum Partitioning {
    None,
    By {
        column: usize,
        transform: BoxedTransformFunction,
    },
}

/// The rows of one partition, to be written to one file.
pub(crate) struct Partition {
    /// Days or months since 1970; `None` for rows without a timestamp and for a table without partitions.
    pub(crate) value: Option<i32>,
    pub(crate) parts: Vec<Part>,
    /// A guess, to write the largest first.
    pub(crate) bytes: usize,
}

/// Some rows of a batch. Rows are gathered only when it is their turn, so that they are in memory once.
pub(crate) enum Part {
    Slice(RecordBatch),
    Rows(RecordBatch, UInt32Array),
}

impl Part {
    pub(crate) fn into_batch(self) -> Result<RecordBatch> {
        match self {
            Self::Slice(batch) => Ok(batch),
            Self::Rows(batch, rows) => take_record_batch(&batch, &rows)
                .map_err(|error| Error::from_source("split a batch by partition", error)),
        }
    }
}

impl Partitioning {
    /// # Errors
    /// [`ErrorKind::Unsupported`] if another program gave the table a partition spec of its own.
    pub(crate) fn of(table: &Table) -> Result<Self> {
        let spec = table.metadata().default_partition_spec();
        let schema = table.metadata().current_schema();
        match spec.fields() {
            [] => Ok(Self::None),
            [field] if matches!(field.transform, Transform::Day | Transform::Month) => {
                let column = schema
                    .as_struct()
                    .fields()
                    .iter()
                    .position(|column| column.id == field.source_id);
                let transform = create_transform_function(&field.transform);
                match (column, transform) {
                    (Some(column), Ok(transform)) => Ok(Self::By { column, transform }),
                    _ => Err(unsupported()),
                }
            }
            _ => Err(unsupported()),
        }
    }

    /// The rows by partition, the largest partition first; within a partition in the order they came.
    pub(crate) fn split(&self, batches: Vec<RecordBatch>) -> Result<Vec<Partition>> {
        let mut partitions = BTreeMap::<Option<i32>, Partition>::new();
        for batch in batches {
            let row_bytes = batch.get_array_memory_size() / batch.num_rows().max(1);
            for (value, rows, part) in self.split_batch(batch)? {
                let partition = partitions.entry(value).or_insert_with(|| Partition {
                    value,
                    parts: Vec::new(),
                    bytes: 0,
                });
                partition.parts.push(part);
                partition.bytes += rows * row_bytes;
            }
        }
        let mut partitions: Vec<Partition> = partitions.into_values().collect();
        partitions.sort_by_key(|partition| std::cmp::Reverse(partition.bytes));
        Ok(partitions)
    }

    fn split_batch(&self, batch: RecordBatch) -> Result<Vec<(Option<i32>, usize, Part)>> {
        let Self::By { column, transform } = self else {
            return Ok(vec![(None, batch.num_rows(), Part::Slice(batch))]);
        };
        let column = batch.column(*column);
        check_range(column)?;
        let values = transform
            .transform(ArrayRef::clone(column))
            .map_err(|error| Error::from_source("compute the partition of a row", error))?;
        let mut rows_of = BTreeMap::<Option<i32>, Rows>::new();
        for (row, value) in (0..).zip(whole_numbers(&values)?) {
            rows_of.entry(value).or_default().push(row);
        }
        Ok(rows_of
            .into_iter()
            .flat_map(|(value, rows)| {
                rows.parts(&batch)
                    .into_iter()
                    .map(move |(rows, part)| (value, rows, part))
            })
            .collect())
    }
}

/// Rows of one partition in one batch, as runs of neighbours: the first row of each and the one after its last.
#[derive(Default)]
struct Rows {
    runs: Vec<(u32, u32)>,
}

/// Rows per run from which on it is cheaper to write them where they are than to gather them first.
const LONG_RUN: usize = 16;

impl Rows {
    fn push(&mut self, row: u32) {
        match self.runs.last_mut() {
            Some((_, end)) if *end == row => *end += 1,
            _ => self.runs.push((row, row + 1)),
        }
    }

    fn len(&self) -> usize {
        self.runs.iter().map(|(start, end)| (end - start) as usize).sum()
    }

    /// With the number of rows of each.
    fn parts(self, batch: &RecordBatch) -> Vec<(usize, Part)> {
        let len = self.len();
        if len < LONG_RUN * self.runs.len() {
            let rows: UInt32Array = self
                .runs
                .into_iter()
                .flat_map(|(start, end)| start..end)
                .collect();
            return vec![(len, Part::Rows(batch.clone(), rows))];
        }
        let slices = self.runs.into_iter().map(|(start, end)| {
            let rows = (end - start) as usize;
            (rows, Part::Slice(batch.slice(start as usize, rows)))
        });
        slices.collect()
    }
}

fn check_range(column: &ArrayRef) -> Result<()> {
    let Some(timestamps) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
        return Ok(());
    };
    match timestamps
        .iter()
        .flatten()
        .find(|timestamp| !YEARS_1_TO_9999.contains(timestamp))
    {
        None => Ok(()),
        Some(timestamp) => {
            let message = format!(
                "timestamp {timestamp} µs is outside the years 1 to 9999, which Iceberg readers share"
            );
            Err(Error::new(ErrorKind::Schema, message))
        }
    }
}

fn whole_numbers(values: &ArrayRef) -> Result<Vec<Option<i32>>> {
    match values.data_type() {
        DataType::Date32 => Ok(values.as_primitive::<Date32Type>().iter().collect()),
        DataType::Int32 => Ok(values.as_primitive::<Int32Type>().iter().collect()),
        _ => Err(unsupported()),
    }
}

/// The key under which the table keeps the partition; none if it has no partitions.
pub(crate) fn partition_key(table: &Table, value: Option<i32>) -> Option<PartitionKey> {
    let metadata = table.metadata();
    let spec = metadata.default_partition_spec();
    if spec.is_unpartitioned() {
        return None;
    }
    let data = Struct::from_iter([value.map(Literal::int)]);
    Some(PartitionKey::new(
        spec.as_ref().clone(),
        metadata.current_schema().clone(),
        data,
    ))
}

fn unsupported() -> Error {
    let message = "the lake's table is partitioned in a way that cannot be written here; \
                   only day or month of timestamp, or none, can";
    Error::new(ErrorKind::Unsupported, message)
}
