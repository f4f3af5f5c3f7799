//! `cclake query`: SQL on what is published.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use arrow_array::RecordBatch;
use cclake_warehouse::{Access, Warehouse};

use crate::ExitStatus;
use crate::cells;
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
    let _data = DataDir::own(settings, Ownership::Shared)?;
    let warehouse = open_warehouse(settings, Access::ReadOnly)?;
    let format = if printer.is_json() {
        Format::Json
    } else {
        args.format
    };
    let answered = match format {
        Format::Table => table(&warehouse, &sql, printer),
        Format::Json => json(&warehouse, &sql, printer),
        Format::Csv => csv(&warehouse, &sql, printer),
    };
    match answered {
        Ok(()) => Ok(ExitStatus::Success),
        Err(error) if misses_something(&error) && !is_published(&warehouse) => bail!(
            "nothing is published in {} yet: run `cclake run`",
            settings.duckdb_path.display()
        ),
        Err(error) => Err(error),
    }
}

/// Whether the SQL names what is not there; any other mistake is to be told as it is.
fn misses_something(error: &anyhow::Error) -> bool {
    error.to_string().contains("Catalog Error:")
}

/// Whether there was ever a build.
fn is_published(warehouse: &Warehouse) -> bool {
    warehouse
        .published()
        .is_ok_and(|published| published.load_sequence.is_some())
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

/// Widths are known only when all rows are.
fn table(warehouse: &Warehouse, sql: &str, printer: &Printer) -> anyhow::Result<()> {
    printer.result(&cells::table(&warehouse.query(sql)?)?);
    Ok(())
}

fn json(warehouse: &Warehouse, sql: &str, printer: &Printer) -> anyhow::Result<()> {
    let mut writer = cells::json_writer(printer.results());
    warehouse.query_each(sql, &mut |batch: RecordBatch| {
        writer.write(&cells::printable_times(&batch)?)?;
        anyhow::Ok(())
    })?;
    writer.finish()?;
    printer.result("\n");
    Ok(())
}

fn csv(warehouse: &Warehouse, sql: &str, printer: &Printer) -> anyhow::Result<()> {
    let mut writer = arrow_csv::WriterBuilder::new()
        .with_header(true)
        .build(printer.results());
    warehouse.query_each(sql, &mut |batch: RecordBatch| {
        writer.write(&cells::printable_times(&batch)?)?;
        anyhow::Ok(())
    })
}
