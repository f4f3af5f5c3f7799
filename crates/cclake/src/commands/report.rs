//! `cclake report`: what the usage adds up to.

use std::path::{Path, PathBuf};
use std::{fs, io};

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
        write_page(file, page.as_bytes())?;
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

fn write_page(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = if is_stream(file) {
        // What stands there already is somebody else's.
        let stream = fs::OpenOptions::new().append(true).open(file);
        stream.and_then(|mut stream| io::Write::write_all(&mut stream, bytes))
    } else {
        behind_links(file).and_then(|file| write_whole(&file, bytes))
    };
    written.with_context(|| format!("cannot write {}: give another file with --html", file.display()))
}

/// Whether it takes bytes as they come: a device, a pipe, or a name for what a process has open.
fn is_stream(file: &Path) -> bool {
    let kind = fs::metadata(file).map(|metadata| metadata.file_type());
    let opened = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
    kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
        || opened.iter().any(|name| file.starts_with(name))
}

/// What a chain of links ends at, there or not: a link that a user made stays one.
fn behind_links(file: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const MOST: usize = 40;
    let mut file = file.to_owned();
    for _ in 0..MOST {
        match fs::read_link(&file) {
            Ok(target) => file = file.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(file),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

/// A reader sees the old file or the new one, never half of it.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let draft = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        // Nothing to do about a draft that cannot even be removed; the first error is the one to tell.
        let _ = fs::remove_file(&draft);
    }
    written
}
