//! `cclake transform`: `raw` → gold.

use std::fmt::Write as _;

use anyhow::bail;
use cclake_plan::{BuildPlan, Selection, Step, What};
use cclake_warehouse::{Access, Warehouse};
use serde_json::json;

use crate::ExitStatus;
use crate::cli::{SelectArgs, TransformArgs};
use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::open_warehouse;
use crate::stages::{Blueprint, BuildScope, Built, Engine, Holdings, Run, build};
use crate::summary;

/// Builds the selected models and runs their tests, all in one transaction.
pub(crate) fn transform(
    settings: &Settings,
    args: &TransformArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let run = Run::begin();
    let (_data, warehouse, blueprint) = open(settings, &run, args.full_refresh)?;
    let scope = BuildScope {
        selection: selection(&args.select),
        what: if args.no_tests { What::Models } else { What::Build },
        full_refresh: args.full_refresh,
        skip_if_current: false,
    };
    if args.dry_run {
        let blueprint = blueprint?;
        let prepared = blueprint.plan(&Holdings::of(&warehouse)?, &scope)?;
        explain(&prepared.plan, printer)?;
        return Ok(ExitStatus::Success);
    }
    let engine = Engine::new(settings, blueprint, printer)?;
    let job = engine.job(Holdings::of(&warehouse)?, scope, printer)?;
    let (warehouse, built) = build(settings, &job, None, Some(warehouse), printer)?;
    warehouse.leave();
    report(&built, printer)?;
    Ok(status(&built, printer))
}

/// Opens the warehouse to build in it, and reads the project meanwhile; there must be rows to build from.
pub(super) fn open(
    settings: &Settings,
    run: &Run,
    full_refresh: bool,
) -> anyhow::Result<(DataDir, Warehouse, anyhow::Result<Blueprint>)> {
    let nothing = || {
        format!(
            "nothing is loaded in {} yet: run `cclake run` first",
            settings.duckdb_path.display()
        )
    };
    if !has_warehouse(settings) {
        bail!(nothing());
    }
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    let (blueprint, warehouse) = Blueprint::read_beside(settings, run, full_refresh, || {
        open_warehouse(settings, Access::ReadWrite)
    });
    let warehouse = warehouse?;
    if warehouse.load_sequence()? == 0 {
        bail!(nothing());
    }
    Ok((data, warehouse, blueprint))
}

pub(super) fn selection(args: &SelectArgs) -> Selection {
    Selection {
        select: args.select.clone(),
        exclude: args.exclude.clone(),
    }
}

/// The exit status of a build. Cron, which runs with `-q`, tells a person only what is on standard error.
pub(super) fn status(built: &Built, printer: &Printer) -> ExitStatus {
    if !built.failed {
        return ExitStatus::Success;
    }
    if printer.is_quiet() {
        let kept = if built.summary.models > 0 {
            "; nothing was published: readers keep the last good state"
        } else {
            ""
        };
        let findings = built.summary.findings.join("; ");
        printer.warning(&format!("critical tests failed ({findings}){kept}"));
    }
    ExitStatus::DataFailed
}

/// Says what was built and how the tests went.
pub(super) fn report(built: &Built, printer: &Printer) -> anyhow::Result<()> {
    let details = built.report.iter().flat_map(|report| &report.models);
    if printer.is_json() {
        let models: Vec<_> = details
            .map(|model| json!({"node": model.node, "reason": model.reason, "seconds": model.time.as_secs_f64()}))
            .collect();
        let tests: Vec<_> = built
            .report
            .iter()
            .flat_map(|report| &report.tests)
            .map(|test| {
                let verdict = format!("{:?}", test.verdict).to_lowercase();
                json!({"node": test.node, "verdict": verdict, "failures": test.failures})
            })
            .collect();
        return printer.json(&json!({"published": !built.failed, "models": models, "tests": tests}));
    }
    for model in details {
        printer.detail(&format!(
            "{:>8.1} ms  {}  {}",
            model.time.as_secs_f64() * 1e3,
            model.node,
            model.reason
        ));
    }
    let mut text = String::new();
    if built.summary.models > 0 {
        let _ = writeln!(
            text,
            "Models      {} built in {:.2} s",
            built.summary.models,
            built.times[0].as_secs_f64()
        );
    }
    text.push_str(&summary::tests_line(&built.summary));
    printer.report(&text);
    Ok(())
}

/// The plan as a person or a program reads it.
fn explain(plan: &BuildPlan, printer: &Printer) -> anyhow::Result<()> {
    let steps: Vec<_> = plan.steps.iter().map(|step| (step.node(), how(step))).collect();
    if printer.is_json() {
        let steps: Vec<_> = steps
            .iter()
            .map(|(node, how)| json!({"node": node, "how": how}))
            .collect();
        return printer.json(&steps);
    }
    let width = steps
        .iter()
        .map(|(node, _)| node.len())
        .max()
        .unwrap_or(0)
        .min(60);
    let text: String = steps
        .iter()
        .map(|(node, how)| format!("{node:width$}  {how}\n"))
        .collect();
    printer.result(&text);
    Ok(())
}

fn how(step: &Step) -> String {
    match step {
        Step::Seed(seed) if seed.unchanged => "seed, unchanged".to_owned(),
        Step::Seed(seed) => format!("seed, {} rows", seed.rows.len()),
        Step::Model(model) => {
            let kind = format!("{:?}", model.materialization).to_lowercase();
            format!(
                "{kind}, {}: {}",
                if model.full_refresh { "anew" } else { "in place" },
                model.reason
            )
        }
        Step::Snapshot(snapshot) if snapshot.exists => "snapshot, in place: new versions only".to_owned(),
        Step::Snapshot(_) => "snapshot, anew: its table does not exist yet".to_owned(),
        Step::Test(test) => format!("test, severity {}", format!("{:?}", test.severity).to_lowercase()),
    }
}
