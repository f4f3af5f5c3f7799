//! `cclake run`: everything once, then a summary.

use std::time::Instant;

use anyhow::anyhow;
use cclake_warehouse::Warehouse;

use crate::ExitStatus;
use crate::cli::RunArgs;
use crate::data_dir::{DataDir, Ownership};
use crate::memory;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stages::{
    Blueprint, BuildScope, Engine, Ingested, Run, build, ingest, is_out_of_memory, open_lake, with_room,
};
use crate::summary::{self, Summary};

/// Source → lake → raw → gold → summary.
pub(crate) fn run(settings: &Settings, args: &RunArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let began = Instant::now();
    let run = Run::begin();
    let progress = Progress::new(printer);
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    // A project that cannot be built is told before anything is written; reading it takes as long as opening the lake.
    let (blueprint, lake) = std::thread::scope(|threads| {
        let reader = threads.spawn(|| Blueprint::read(settings, &run));
        let lake = open_lake(settings);
        (reader.join(), lake)
    });
    let blueprint = blueprint.map_err(|_| anyhow!("the thread that read the dbt project died"))?;
    let engine = Engine::new(settings, blueprint, printer)?;
    let mut lake = lake?;
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
    let (warehouse, built) = build(settings, &engine, Some(&lake), warehouse, &scope, printer)?;
    let summary = Summary {
        stages: summary::stages(&ingested, built.times),
        facts: facts(&warehouse, printer),
        build: built.summary,
        ingest: ingested,
        seconds: began.elapsed().as_secs_f64(),
    };
    warehouse.leave();
    if printer.is_json() {
        printer.json(&summary)?;
    } else {
        printer.report(&summary::render(&summary, &summary::next_steps(settings)));
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
