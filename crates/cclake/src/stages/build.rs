//! `raw` → gold: plan the dbt project, then build it in one transaction.

use std::time::Duration;

use anyhow::anyhow;
use cclake_lake::Lake;
use cclake_plan::{BuildPlan, Selection, Step, Verdict, What};
use cclake_warehouse::{BuildReport, Published, Warehouse};

use super::blueprint::{Job, Prepared};
use super::external;
use super::load::with_room;
use crate::artifacts::{self, Clock};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::summary::BuildSummary;

/// What to build.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildScope {
    /// Which nodes; all when empty.
    pub selection: Selection,
    /// Models, tests or both.
    pub what: What,
    /// From nothing.
    pub full_refresh: bool,
    /// Do nothing when the last build saw the same rows and the same project.
    pub skip_if_current: bool,
}

/// A build's outcome for the summary.
pub(crate) struct Built {
    /// In numbers.
    pub summary: BuildSummary,
    /// Whether a critical test failed.
    pub failed: bool,
    /// Time of models, tests and publishing.
    pub times: [Duration; 3],
    /// In detail; none when nothing had to be done.
    pub report: Option<BuildReport>,
}

/// Does the job with as much memory as it takes: a few tool results of many megabytes side by side need more than the
/// default. `lake` brings what is not on disk yet when the warehouse must be opened anew.
pub(crate) fn build(
    settings: &Settings,
    job: &Job<'_>,
    lake: Option<&Lake>,
    warehouse: Option<Warehouse>,
    printer: &Printer,
) -> anyhow::Result<(Warehouse, Built)> {
    let has_nothing_to_do = |warehouse: &Warehouse| {
        let plan = job.prepared.as_ref().map(|prepared| &prepared.plan);
        plan.filter(|_| job.scope.skip_if_current)
            .map_or(Ok(false), |plan| is_current(plan, &job.published, warehouse))
    };
    match &job.prepared {
        Some(prepared) if !job.uses_dbt => with_room(settings, lake, warehouse, printer, &mut |warehouse| {
            if has_nothing_to_do(warehouse)? {
                return Ok(current(&job.published));
            }
            try_build(settings, job, prepared, warehouse, &Progress::new(printer))
        }),
        prepared => {
            let (warehouse, is_current) = with_room(settings, lake, warehouse, printer, &mut |warehouse| {
                has_nothing_to_do(warehouse)
            })?;
            if is_current {
                return Ok((warehouse, current(&job.published)));
            }
            let plan = prepared.as_ref().map(|prepared| &prepared.plan);
            let (report, warehouse) = external::build(settings, warehouse, &job.scope, plan, printer)?;
            Ok((warehouse, built(report)))
        }
    }
}

fn try_build(
    settings: &Settings,
    job: &Job<'_>,
    prepared: &Prepared<'_>,
    warehouse: &Warehouse,
    progress: &Progress,
) -> anyhow::Result<Built> {
    let plan = &prepared.plan;
    progress.begin(
        "build",
        plan.steps
            .iter()
            .filter(|step| !matches!(step, Step::Test(_)))
            .count() as u64,
    );
    let mut clock = Clock::start();
    let (outcome, manifest) = std::thread::scope(|threads| {
        let manifest = threads.spawn(|| job.write_manifest(settings));
        let outcome = warehouse.build(plan, &mut |step| {
            clock.begins(step.node());
            progress.advance(1);
        });
        (outcome, manifest.join())
    });
    let runs = match &outcome {
        Ok(report) => clock.ended(report),
        Err(error) => clock.broken(&plan.steps, &error.to_string()),
    };
    let results = artifacts::write_results(settings, &job.scope, prepared, &clock, &runs);
    let report = outcome?;
    manifest.map_err(|_| anyhow!("the thread that wrote manifest.json died"))??;
    results?;
    progress.end();
    Ok(built(report))
}

fn built(report: BuildReport) -> Built {
    Built {
        summary: summarize(&report),
        failed: !report.published,
        times: [report.models_time, report.tests_time, report.publish_time],
        report: Some(report),
    }
}

/// Whether a build would see the same rows and the same project as the last one, which built and tested all of it.
fn is_current(plan: &BuildPlan, published: &Published, warehouse: &Warehouse) -> anyhow::Result<bool> {
    let same_nodes = plan.steps.len() == published.fingerprints.len();
    let same_project = same_nodes
        && plan.steps.iter().all(|step| match step {
            Step::Seed(seed) => seed.unchanged,
            _ => published
                .fingerprints
                .get(step.node())
                .is_some_and(|built| built == step.fingerprint()),
        });
    let same_rows = published.load_sequence == Some(warehouse.load_sequence()?);
    Ok(published.complete && same_project && same_rows)
}

fn current(published: &Published) -> Built {
    let [passed, warned, failed] = published.tests;
    Built {
        summary: BuildSummary {
            up_to_date: true,
            passed,
            warned,
            failed,
            ..BuildSummary::default()
        },
        failed: false,
        times: [Duration::ZERO; 3],
        report: None,
    }
}

fn summarize(report: &BuildReport) -> BuildSummary {
    let count = |verdict| report.tests.iter().filter(|test| test.verdict == verdict).count() as u64;
    let findings = report
        .tests
        .iter()
        .filter(|test| test.verdict != Verdict::Pass)
        .map(|test| {
            let word = if test.verdict == Verdict::Fail {
                "FAIL"
            } else {
                "warn"
            };
            format!("{word}  {} ({} rows)", test.name, test.failures)
        });
    BuildSummary {
        up_to_date: false,
        models: report.models.len() as u64,
        passed: count(Verdict::Pass),
        warned: count(Verdict::Warn),
        failed: count(Verdict::Fail),
        findings: findings.collect(),
    }
}
