//! `cclake report`: what the usage adds up to.

use std::path::Path;

use anyhow::{Context as _, bail};
use cclake_extract::dlq;
use cclake_warehouse::Access;
use serde_json::json;

use crate::ExitStatus;
use crate::cli::ReportArgs;
use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::printer::Printer;
use crate::report::{self, Notes};
use crate::settings::Settings;
use crate::stages::open_warehouse;

/// Prints a report, or writes it as a page.
pub(crate) fn report(
    settings: &Settings,
    args: &ReportArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    report::check_flags(args)?;
    if !has_warehouse(settings) {
        bail!(
            "there is no warehouse at {} yet: run `cclake run` first",
            settings.duckdb_path.display()
        );
    }
    let _data = DataDir::own(settings, Ownership::Shared)?;
    let warehouse = open_warehouse(settings, Access::ReadOnly)?;
    report::check_ready(&warehouse, &settings.duckdb_path)?;
    let scope = report::scope(&warehouse, args, &settings.time_zone)?;
    let now = jiff::Timestamp::now();
    if let Some(file) = &args.html {
        let notes = Notes {
            projects: args.projects.clone(),
            dead_letters: dlq::list(&settings.dead_letter_dir)?.len(),
            now: now.as_millisecond(),
        };
        let page = report::page(&warehouse, &scope, &notes)?;
        write_whole(file, page.as_bytes())?;
        return said(file, page.len(), printer);
    }
    let answer = report::answer(&warehouse, args, &scope, now.as_millisecond())?;
    if printer.is_json() {
        printer.json(&report::document(&answer))?;
    } else {
        printer.result(&report::render(&answer, printer.width(), printer.styles()));
    }
    Ok(ExitStatus::Success)
}

fn said(file: &Path, bytes: usize, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if printer.is_json() {
        printer.json(&json!({ "html": file, "bytes": bytes }))?;
    } else {
        printer.note(&format!("wrote {} ({} kB)", file.display(), bytes.div_ceil(1000)));
    }
    Ok(ExitStatus::Success)
}

/// A reader sees the old file or the new one, never half of it.
fn write_whole(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = file
        .file_name()
        .with_context(|| format!("--html: {} is no file name", file.display()))?;
    let draft = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, file));
    if written.is_err() {
        // Nothing to do about a draft that cannot even be removed; the first error is the one to tell.
        let _ = std::fs::remove_file(&draft);
    }
    written.with_context(|| format!("cannot write {}: give another file with --html", file.display()))
}
