//! `cclake query`: SQL on what is published.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use cclake_warehouse::{Access, QueryResult};
use comfy_table::{CellAlignment, Table, presets};

use crate::ExitStatus;
use crate::cli::{Format, QueryArgs};
use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::open_warehouse;

/// Runs one read-only query and prints its rows.
pub(crate) fn query(settings: &Settings, args: &QueryArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if !has_warehouse(settings) {
        bail!(
            "there is no warehouse at {} yet: run `cclake run` first",
            settings.duckdb_path.display()
        );
    }
    let sql = sql_text(&args.sql)?;
    if sql
        .trim_matches(|c: char| c.is_whitespace() || c == ';')
        .is_empty()
    {
        bail!("the query is empty: give a SELECT statement");
    }
    let _data = DataDir::own(settings, Ownership::Shared)?;
    let warehouse = open_warehouse(settings, Access::ReadOnly)?;
    let result = warehouse.query(&sql)?;
    let format = if printer.is_json() {
        Format::Json
    } else {
        args.format
    };
    let text = match format {
        Format::Table => table(&result)?,
        Format::Json => json(&result)?,
        Format::Csv => csv(&result)?,
    };
    printer.result(&text);
    Ok(ExitStatus::Success)
}

fn sql_text(argument: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut sql = String::new();
    std::io::stdin()
        .read_to_string(&mut sql)
        .context("cannot read the SQL from standard input")?;
    Ok(sql)
}

/// Aligned columns, numbers to the right.
pub(crate) fn table(result: &QueryResult) -> anyhow::Result<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(result.schema.fields().iter().map(|field| field.name()));
    for batch in &result.batches {
        for row in cells(batch)? {
            table.add_row(row);
        }
    }
    for (index, field) in result.schema.fields().iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if field.data_type().is_numeric() {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    Ok(table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect())
}

fn cells(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<String>>> {
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
                .map(|column| Ok(printable(&column.value(row).try_to_string()?)))
                .collect()
        })
        .collect()
}

fn json(result: &QueryResult) -> anyhow::Result<String> {
    let mut writer = arrow_json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::JsonArray>(Vec::new());
    for batch in &result.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    let mut text = String::from_utf8(writer.into_inner())?;
    if text.is_empty() {
        text.push_str("[]");
    }
    text.push('\n');
    Ok(text)
}

fn csv(result: &QueryResult) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let mut writer = arrow_csv::WriterBuilder::new().with_header(true).build(&mut text);
    if result.batches.is_empty() {
        writer.write(&RecordBatch::new_empty(result.schema.clone()))?;
    }
    for batch in &result.batches {
        writer.write(batch)?;
    }
    drop(writer);
    Ok(String::from_utf8(text)?)
}

/// A cell on one line, without what a terminal would take for orders.
fn printable(text: &str) -> String {
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
