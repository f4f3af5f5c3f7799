//! `cclake extract`: source → lake.

use cclake_extract::mongo::Pass;

use crate::ExitStatus;
use crate::cli::ExtractArgs;
use crate::data_dir::{DataDir, Ownership};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stages::{Destination, Run, increment, ingest, open_lake};
use crate::summary;

/// Reads what is new at the source into the lake and says how much.
pub(crate) fn extract(
    settings: &Settings,
    args: &ExtractArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let pass = if args.full_backfill {
        Pass::Full
    } else {
        increment(settings)
    };
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    let mut lake = open_lake(settings, settings.threads)?;
    let progress = Progress::new(printer);
    let run = Run::begin();
    let destination = Destination {
        lake: &mut lake,
        warehouse: None,
    };
    let report = ingest(settings, &data, &run, pass, destination, &progress, |_| Ok(()))?.report;
    summary::warn(&report.warnings, printer);
    if printer.is_json() {
        printer.json(&report)?;
    } else {
        printer.report(&summary::lines(&report));
    }
    Ok(ExitStatus::Success)
}
