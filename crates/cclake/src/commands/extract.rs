//! `cclake extract`: source → lake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cclake_extract::mongo::Pass;

use crate::ExitStatus;
use crate::cli::ExtractArgs;
use crate::data_dir::{DataDir, Ownership};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::{Settings, SourceKind};
use crate::stages::{Destination, Following, IngestReport, Run, follow, increment, ingest, open_lake};
use crate::summary;

/// Reads what is new at the source into the lake and says how much; with `--follow`, until it is stopped.
pub(crate) fn extract(
    settings: &Settings,
    args: &ExtractArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    if settings.source != SourceKind::Mongodb && (args.follow || args.full_backfill) {
        bail!("--follow and --full-backfill are for the source `mongodb`: give --source mongodb");
    }
    let report = if args.follow {
        follow_changes(settings, args, printer)?
    } else {
        read_once(settings, args, printer)?
    };
    summary::warn(&report.warnings, printer);
    if printer.is_json() {
        printer.json(&report)?;
    } else {
        printer.report(&summary::lines(&report));
    }
    Ok(ExitStatus::Success)
}

fn read_once(settings: &Settings, args: &ExtractArgs, printer: &Printer) -> anyhow::Result<IngestReport> {
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
    Ok(ingest(settings, &data, &run, pass, destination, &progress, |_| Ok(()))?.report)
}

fn follow_changes(
    settings: &Settings,
    args: &ExtractArgs,
    printer: &Printer,
) -> anyhow::Result<IngestReport> {
    // Others may load and build meanwhile: only the lake is written, and that takes several writers.
    let data = DataDir::own(settings, Ownership::Following)?;
    let mut lake = open_lake(settings, settings.threads)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot wait for Ctrl-C")?;
    let following = match args.poll {
        Some(seconds) => Following::Poll(Duration::from_secs(seconds)),
        None => Following::Stream,
    };
    follow(
        settings,
        &data,
        &Run::begin(),
        &mut lake,
        following,
        &stop,
        printer,
    )
}
