//! `cclake extract`: source → lake.

use crate::ExitStatus;
use crate::data_dir::{DataDir, Ownership};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stages::{Run, ingest, open_lake};
use crate::summary;

/// Reads new log lines into the lake and says how many.
pub(crate) fn extract(settings: &Settings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    let mut lake = open_lake(settings, settings.threads)?;
    let progress = Progress::new(printer);
    let report = ingest(settings, &data, &Run::begin(), &mut lake, None, &progress, |_| {
        Ok(())
    })?
    .report;
    summary::warn(&report.warnings, printer);
    if printer.is_json() {
        printer.json(&report)?;
    } else {
        printer.report(&summary::lines(&report));
    }
    Ok(ExitStatus::Success)
}
