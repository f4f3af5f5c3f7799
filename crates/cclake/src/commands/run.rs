//! `cclake run`: everything once, then a summary.

use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use cclake_lake::Lake;
use cclake_warehouse::{Access, Warehouse};

use super::transform::status;
use crate::ExitStatus;
use crate::cli::RunArgs;
use crate::data_dir::{DataDir, Ownership};
use crate::memory;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stages::{
    Blueprint, BuildScope, Destination, Engine, Holdings, IngestReport, Ingested, Run, build, increment,
    ingest, is_out_of_memory, load_backlog, open_lake, open_warehouse, with_room,
};
use crate::summary::{self, Summary};

/// Source → lake → raw → gold → summary.
pub(crate) fn run(settings: &Settings, args: &RunArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let began = Instant::now();
    let run = Run::begin();
    let progress = Progress::new(printer);
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    let scope = BuildScope {
        full_refresh: args.full_refresh,
        skip_if_current: !args.full_refresh,
        ..BuildScope::default()
    };
    let (engine, mut lake, warehouse) = open(settings, &run, args.full_refresh, printer)?;
    let (warehouse, holdings) = with_room(settings, None, Some(warehouse), printer, &mut |warehouse| {
        load_backlog(&lake, warehouse, &progress)?;
        Holdings::of(warehouse)
    })?;

    let job = OnceLock::new();
    let (ingested, warehouse, built) = std::thread::scope(|threads| {
        // Planned while the last rows are still loaded. The manifest, which says nothing about the outcome, takes its time.
        let plan_ahead = |ingested: &IngestReport| {
            let planned = engine.job(holdings, scope, printer)?;
            let job = job.get_or_init(|| planned);
            if ingested.lines.new > 0 {
                threads.spawn(|| job.write_manifest(settings).is_ok());
            }
            Ok(())
        };
        let Ingested { mut report, loaded } = ingest(
            settings,
            &data,
            &run,
            increment(settings),
            Destination {
                lake: &mut lake,
                warehouse: Some(&warehouse),
            },
            &progress,
            plan_ahead,
        )?;
        let warehouse = match loaded {
            Ok(()) => Some(warehouse),
            // Opened anew, with more memory, it takes the rest from the lake.
            Err(error) if is_out_of_memory(&error) => {
                drop(warehouse);
                None
            }
            Err(error) => return Err(error),
        };
        summary::warn(&report.warnings, printer);
        threads.spawn(memory::give_back);
        let job = job.get().context("nothing was planned; please report this")?;
        // What a follower beside it has brought meanwhile is built too, and its upkeep may have dropped the snapshot held here.
        lake.refresh()?;
        let loading = Instant::now();
        let (warehouse, rows) = with_room(settings, None, warehouse, printer, &mut |warehouse| {
            load_backlog(&lake, warehouse, &progress)
        })?;
        report.rows += rows;
        report.load_seconds += loading.elapsed().as_secs_f64();
        let (warehouse, built) = build(settings, job, Some(&lake), Some(warehouse), printer)?;
        Ok((report, warehouse, built))
    })?;
    let status = status(&built, printer);
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
    Ok(status)
}

/// Opens lake and warehouse and reads the project, side by side. A project that cannot be built is told before a row is
/// written.
fn open(
    settings: &Settings,
    run: &Run,
    full_refresh: bool,
    printer: &Printer,
) -> anyhow::Result<(Engine, Lake, Warehouse)> {
    let (blueprint, (warehouse, lake)) = Blueprint::read_beside(settings, run, full_refresh, || {
        std::thread::scope(|threads| {
            let warehouse = threads.spawn(|| open_warehouse(settings, Access::ReadWrite));
            // The loader works beside it: on two cores, a second writer would only keep that one from its core.
            let lake = open_lake(settings, settings.threads - 1);
            (warehouse.join(), lake)
        })
    });
    let engine = Engine::new(settings, blueprint, printer)?;
    let died = |_| anyhow!("the thread that opened the warehouse died; please report this");
    let warehouse = warehouse.map_err(died)?;
    Ok((engine, lake?, warehouse?))
}

/// The figures of gold, if anybody is to see them; a project of the user's own may lack the tables they are asked of.
fn facts(warehouse: &Warehouse, printer: &Printer) -> Option<summary::Facts> {
    if printer.is_quiet() && !printer.is_json() {
        return None;
    }
    match summary::gather(warehouse) {
        Ok(facts) => Some(facts),
        Err(error) => {
            printer.detail(&format!("no figures from gold: {error:#}"));
            None
        }
    }
}
