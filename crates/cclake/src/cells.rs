//! The values of a query's result as people and programs read them.

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::writer::{JsonArray, NullableEncoder};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, TimeUnit};
use cclake_warehouse::TextOf;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::value::RawValue;

/// Aligned columns, numbers to the right.
pub(crate) fn table(batches: &[RecordBatch]) -> anyhow::Result<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(first) = batches.first() {
        table.set_header(first.schema_ref().fields().iter().map(|field| field.name()));
    }
    for batch in batches {
        for row in rows(&printable_times(batch)?)? {
            table.add_row(row);
        }
    }
    let fields = batches.first().map(|batch| batch.schema().fields().clone());
    for (index, field) in fields.iter().flatten().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if field.data_type().is_numeric() || TextOf::of(field) == Some(TextOf::Number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    Ok(table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect())
}

/// The rows of a batch as text, empty where a value is null.
pub(crate) fn rows(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("");
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| Ok(on_one_line(&column.value(row).try_to_string()?)))
                .collect()
        })
        .collect()
}

/// A text on one line, without what a terminal would take for orders.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            cell.extend(c.escape_default());
        } else {
            cell.push(c);
        }
    }
    cell
}

/// An array of objects, one per row. Numbers and JSON that came as texts are numbers and JSON again.
pub(crate) fn json_writer<W: Write>(out: W) -> arrow_json::Writer<W, JsonArray> {
    arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(WrittenOut))
        .build(out)
}

#[derive(Debug)]
struct WrittenOut;

impl EncoderFactory for WrittenOut {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let texts = array.as_string_opt::<i32>();
        Ok(match (TextOf::of(field), texts) {
            (Some(TextOf::Number | TextOf::Json), Some(texts)) => {
                let encoder = Box::new(Verbatim { texts });
                Some(NullableEncoder::new(encoder, texts.nulls().cloned()))
            }
            _ => None,
        })
    }
}

struct Verbatim<'a> {
    texts: &'a StringArray,
}

impl Encoder for Verbatim<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let text = self.texts.value(row);
        // DuckDB writes NaN and Infinity into its JSON; what is none stays a text.
        if serde_json::from_str::<&RawValue>(text).is_ok() {
            out.extend_from_slice(text.as_bytes());
        } else {
            out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
        }
    }
}

/// The last second that the formatters know, of the year 262142.
const LAST_SECOND: i128 = 8_210_266_876_799;

/// The same rows, with those columns as texts that hold `infinity` and `-infinity`: no formatter knows them.
///
/// # Errors
/// One sentence when a time is finite but beyond what the formatters know.
pub(crate) fn printable_times(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let mut fields: Vec<FieldRef> = batch.schema().fields().to_vec();
    let mut columns = batch.columns().to_vec();
    for (field, column) in fields.iter_mut().zip(&mut columns) {
        if let Some(texts) = times_as_texts(column)? {
            *column = Arc::new(texts);
            *field = Arc::new(Field::new(field.name(), DataType::Utf8, true));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn times_as_texts(column: &ArrayRef) -> anyhow::Result<Option<StringArray>> {
    let Some((infinity, last)) = reach(column.data_type()) else {
        return Ok(None);
    };
    let numbers = arrow_cast::cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let is_far = |time: i64| i128::from(time).abs() > last;
    if !numbers.iter().flatten().any(is_far) {
        return Ok(None);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let text = |(row, time): (usize, Option<i64>)| {
        Ok(Some(match time {
            None => return Ok(None),
            Some(time) if time == infinity => "infinity".to_owned(),
            Some(time) if time == -infinity => "-infinity".to_owned(),
            Some(time) if is_far(time) => {
                bail!("a time beyond the year 262142 cannot be printed: cast it to varchar")
            }
            Some(_) => formatter.value(row).try_to_string()?,
        }))
    };
    numbers
        .iter()
        .enumerate()
        .map(text)
        .collect::<anyhow::Result<_>>()
        .map(Some)
}

/// Which number is DuckDB's infinity in a column of this type, and the largest one that is printed.
fn reach(data_type: &DataType) -> Option<(i64, i128)> {
    let infinity = i64::MAX;
    match data_type {
        DataType::Date32 => Some((i32::MAX.into(), LAST_SECOND / 86_400)),
        DataType::Timestamp(TimeUnit::Second, _) => Some((infinity, LAST_SECOND)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some((infinity, LAST_SECOND * 1_000)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some((infinity, LAST_SECOND * 1_000_000)),
        // All other nanoseconds are of this millennium or the last two.
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some((infinity, i128::from(infinity) - 1)),
        _ => None,
    }
}
