//! `raw` → gold: plan the dbt project, then build it in one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cclake_lake::Lake;
use cclake_plan::{BuildPlan, Inputs, Project, Selection, Step, Verdict, What};
use cclake_warehouse::{BuildReport, DATABASE, Published, Warehouse};
use serde_json::Value as Json;

use super::Run;
use super::load::with_room;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::project;
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

/// Plans and builds, with as much memory as it takes: a few tool results of many megabytes side by side need more than the
/// default. `lake` brings what is not on disk yet when the warehouse must be opened anew.
pub(crate) fn build(
    settings: &Settings,
    run: &Run,
    lake: Option<&Lake>,
    warehouse: Option<Warehouse>,
    scope: &BuildScope,
    printer: &Printer,
) -> anyhow::Result<(Warehouse, Built)> {
    with_room(settings, lake, warehouse, printer, &mut |warehouse| {
        try_build(settings, run, warehouse, scope, &Progress::new(printer))
    })
}

fn try_build(
    settings: &Settings,
    run: &Run,
    warehouse: &Warehouse,
    scope: &BuildScope,
    progress: &Progress,
) -> anyhow::Result<Built> {
    let published = warehouse.published()?;
    let plan = plan(settings, run, warehouse, scope, &published)?;
    if scope.skip_if_current && is_current(&plan, &published, warehouse)? {
        return Ok(current(&published));
    }
    progress.begin(
        "build",
        plan.steps
            .iter()
            .filter(|step| !matches!(step, Step::Test(_)))
            .count() as u64,
    );
    let report = warehouse.build(&plan, &mut |_| progress.advance(1))?;
    progress.end();
    Ok(Built {
        summary: summarize(&report),
        failed: !report.published,
        times: [report.models_time, report.tests_time, report.publish_time],
        report: Some(report),
    })
}

/// The plan for `scope`, from the project, the settings and what is published.
pub(crate) fn plan(
    settings: &Settings,
    run: &Run,
    warehouse: &Warehouse,
    scope: &BuildScope,
    published: &Published,
) -> anyhow::Result<BuildPlan> {
    let project = Project::load(&project::files(settings)?).context("the dbt project cannot be read")?;
    let env = environment();
    let profile = project.target(settings.dbt_target.as_deref(), &env)?;
    let inputs = Inputs {
        target_name: profile.name.clone(),
        target_schema: profile.schema.clone(),
        database: DATABASE.to_owned(),
        vars: BTreeMap::from([
            ("timezone".to_owned(), Json::from(settings.time_zone.clone())),
            ("on_delete".to_owned(), Json::from(settings.on_delete.name())),
        ]),
        env,
        run_started_at: run.started_at.to_string(),
        invocation_id: run.id.clone(),
        existing: warehouse.relations()?,
        fingerprints: published.fingerprints.clone(),
        full_refresh: scope.full_refresh,
        selection: scope.selection.clone(),
        what: scope.what,
    };
    let plan = cclake_plan::plan(&project, &inputs)?;
    if plan.steps.is_empty() {
        bail!("the selection matches nothing in the dbt project");
    }
    Ok(plan)
}

/// What `env_var` may see; variables that are not UTF-8 are left out.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether a build would see the same rows and the same project as the last one, which built and tested all of it.
fn is_current(plan: &BuildPlan, published: &Published, warehouse: &Warehouse) -> anyhow::Result<bool> {
    let same_nodes = plan.steps.len() == published.fingerprints.len();
    let same_project = same_nodes
        && plan.steps.iter().all(|step| match step {
            Step::Model(model) => published.fingerprints.get(&model.node) == Some(&model.fingerprint),
            Step::Seed(seed) => seed.unchanged,
            Step::Test(test) => published.fingerprints.get(&test.node) == Some(&test.fingerprint),
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
