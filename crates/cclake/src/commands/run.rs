//! `cclake run`: everything once, then a summary.

use std::path::Path;
use std::time::Instant;

use cclake_warehouse::Warehouse;

use crate::ExitStatus;
use crate::cli::RunArgs;
use crate::data_dir::{DataDir, Ownership};
use crate::memory;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::{Key, Origin, Settings};
use crate::stages::{BuildScope, Ingested, Run, build, ingest, is_out_of_memory, open_lake, with_room};
use crate::summary::{self, Summary};

/// Source → lake → raw → gold → summary.
pub(crate) fn run(settings: &Settings, args: &RunArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let began = Instant::now();
    let run = Run::begin();
    let progress = Progress::new(printer);
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    let mut lake = open_lake(settings)?;
    let (warehouse, ()) = with_room(settings, Some(&lake), None, printer, &mut |_| Ok(()))?;
    let Ingested {
        report: ingested,
        loaded,
    } = ingest(settings, &data, &run, &mut lake, Some(&warehouse), &progress)?;
    let warehouse = match loaded {
        Ok(()) => Some(warehouse),
        // Opened anew, with more memory, it takes the rest from the lake.
        Err(error) if is_out_of_memory(&error) => {
            drop(warehouse);
            None
        }
        Err(error) => return Err(error),
    };
    summary::warn(&ingested.warnings, printer);
    memory::give_back();

    let scope = BuildScope {
        full_refresh: args.full_refresh,
        skip_if_current: true,
        ..BuildScope::default()
    };
    let (warehouse, built) = build(settings, &run, Some(&lake), warehouse, &scope, printer)?;
    let summary = Summary {
        stages: summary::stages(&ingested, built.times),
        facts: facts(&warehouse, printer),
        build: built.summary,
        ingest: ingested,
        seconds: began.elapsed().as_secs_f64(),
    };
    if printer.is_json() {
        printer.json(&summary)?;
    } else {
        printer.report(&summary::render(&summary, &next_steps(settings)));
    }
    Ok(if built.failed {
        ExitStatus::DataFailed
    } else {
        ExitStatus::Success
    })
}

/// The figures of gold; a project of the user's own may lack the tables they are asked of.
fn facts(warehouse: &Warehouse, printer: &Printer) -> Option<summary::Facts> {
    match summary::gather(warehouse) {
        Ok(facts) => Some(facts),
        Err(error) => {
            printer.detail(&format!("no figures from gold: {error:#}"));
            None
        }
    }
}

/// What to try next: three questions that run as they stand, and the line that keeps history.
fn next_steps(settings: &Settings) -> Vec<String> {
    let program = std::env::current_exe().map_or_else(|_| "cclake".to_owned(), |path| shown(&path));
    let flags = flags(settings);
    let query = |sql: &str| format!("{program} query{flags} \"{sql}\"");
    vec![
        query(
            "select project_name, total_sessions, total_messages, last_active from dim_projects order by total_messages desc",
        ),
        query(
            "select t.tool_name, t.tool_category, count(*) as calls, count(*) filter (where not c.is_success) as failed from fct_tool_calls c join dim_tools t using (tool_key) group by all order by calls desc limit 20",
        ),
        query(
            "select date, human_messages, assistant_messages, token_count from agg_daily_summary order by date desc limit 30",
        ),
        String::new(),
        "Claude Code deletes its logs after 30 days. To keep them, every hour (crontab -e):".to_owned(),
        format!("0 * * * * {program} run --quiet{flags}{}", paths(settings)),
    ]
}

fn flags(settings: &Settings) -> String {
    flag_given(settings, Key::DataDir)
        .map_or_else(String::new, |value| format!(" --data-dir {}", quoted(value)))
}

fn paths(settings: &Settings) -> String {
    match flag_given(settings, Key::Paths) {
        None => String::new(),
        Some(_) => settings
            .paths
            .iter()
            .map(|path| format!(" --path {}", quoted(&shown(path))))
            .collect(),
    }
}

/// A setting that somebody gave must be given again: cron has neither this shell's environment nor its folder.
fn flag_given(settings: &Settings, key: Key) -> Option<&str> {
    let given = settings
        .report
        .iter()
        .find(|(setting, _, origin)| setting.key == key && *origin != Origin::Default);
    given.map(|(_, value, _)| value.as_str())
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
