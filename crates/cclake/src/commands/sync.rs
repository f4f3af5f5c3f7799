//! `cclake sync`: Claude Code's files → a MongoDB collection.

use std::fmt::Write as _;
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::Context as _;
use cclake_extract::mongo::Target;
use serde_json::json;

use crate::ExitStatus;
use crate::cli::SyncArgs;
use crate::data_dir::DataDir;
use crate::http::Listener;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stages::{Event, Health, Pulse, SyncReport, Syncer, watch};
use crate::summary::{self, count};

/// Stores what is new once and says how much, or goes on until it is told to end.
pub(crate) fn sync(settings: &Settings, args: &SyncArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let data = DataDir::own_sync(settings)?;
    let syncer = Syncer::new(settings, &data)?;
    if args.watch {
        return go_on(syncer, args.health_port, printer);
    }
    let report = once(settings, syncer, printer)?;
    summary::warn(&report.warnings, printer);
    if printer.is_json() {
        printer.json(&report)?;
    } else {
        printer.report(&lines(&report));
    }
    Ok(ExitStatus::Success)
}

fn once(settings: &Settings, mut syncer: Syncer, printer: &Printer) -> anyhow::Result<SyncReport> {
    let found = syncer.discover()?;
    let target = Target::connect(&settings.mongo)?;
    let progress = Progress::new(printer);
    let report = syncer.pass(
        &target,
        found,
        |bytes| progress.begin("extract", bytes),
        &mut |part| progress.advance(part.lines.bytes),
    )?;
    progress.end();
    Ok(report)
}

/// Until Ctrl-C or a SIGTERM. The process then ends wherever its thread is: a position is saved whole or not at all, and
/// what it does not tell of is sent again.
fn go_on(syncer: Syncer, port: u16, printer: &Printer) -> anyhow::Result<ExitStatus> {
    // What cannot be found now was never there.
    syncer.discover()?;
    let (sender, events) = mpsc::channel();
    let stop = sender.clone();
    // Whoever would hear of a second Ctrl-C has gone.
    ctrlc::set_handler(move || _ = stop.send(Event::Stop)).context("cannot wait for Ctrl-C")?;
    let listener = Listener::bind(port, "--health-port")?;
    let url = format!("{}health", listener.url());
    let pulse = Arc::new(Pulse::default());
    let asked = Arc::clone(&pulse);
    listener.answer(move |path| asked.page(path));
    if printer.is_json() {
        printer.json(&json!({ "health": url }))?;
    } else {
        printer.result(&format!("{url}\n"));
        printer.note("Ctrl-C ends it.");
    }
    let felt = Arc::clone(&pulse);
    thread::spawn(move || watch(syncer, &felt, &sender));
    for event in events {
        match event {
            Event::Note(text) => printer.note(&text),
            Event::Warning(text) => printer.warning(&text),
            Event::Failed(error) => return Err(error),
            Event::Stop => break,
        }
    }
    printer.note(&farewell(&pulse.now()));
    Ok(ExitStatus::Success)
}

fn lines(report: &SyncReport) -> String {
    let mut text = summary::files_text(&report.lines, &report.files, "new in MongoDB");
    if report.sightings > 0 {
        let _ = writeln!(
            text,
            "            {} of them were seen in a place that their document did not name yet",
            count(report.sightings)
        );
    }
    text.push_str(summary::letters_text(&report.lines));
    text
}

fn farewell(health: &Health) -> String {
    format!(
        "{} new in MongoDB, {} already there, {} dead-lettered; {} bytes are waiting for the next start",
        count(health.synced),
        count(health.already_there),
        count(health.dead_lettered),
        count(health.pending)
    )
}
