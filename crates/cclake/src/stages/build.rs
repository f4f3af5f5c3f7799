//! `raw` → gold: plan the dbt project, then build it in one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cclake_lake::Lake;
use cclake_plan::{BuildPlan, Graph, Inputs, Project, Selection, Step, Verdict, What, plan_graph};
use cclake_warehouse::{BuildReport, DATABASE, Published, Warehouse};
use serde_json::Value as Json;

use super::load::with_room;
use super::{Run, external};
use crate::artifacts::{self, Clock};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::project;
use crate::settings::{Settings, TransformEngine};
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

/// Builds with the engine of the settings, with as much memory as it takes: a few tool results of many megabytes side by side
/// need more than the default. `lake` brings what is not on disk yet when the warehouse must be opened anew.
pub(crate) fn build(
    settings: &Settings,
    run: &Run,
    lake: Option<&Lake>,
    warehouse: Option<Warehouse>,
    scope: &BuildScope,
    printer: &Printer,
) -> anyhow::Result<(Warehouse, Built)> {
    if settings.transform_engine == TransformEngine::Dbt {
        return build_with_dbt(settings, run, lake, warehouse, scope, printer);
    }
    with_room(settings, lake, warehouse, printer, &mut |warehouse| {
        try_build(settings, run, warehouse, scope, &Progress::new(printer))
    })
}

fn build_with_dbt(
    settings: &Settings,
    run: &Run,
    lake: Option<&Lake>,
    warehouse: Option<Warehouse>,
    scope: &BuildScope,
    printer: &Printer,
) -> anyhow::Result<(Warehouse, Built)> {
    let (warehouse, published) = with_room(settings, lake, warehouse, printer, &mut |warehouse| {
        Ok(warehouse.published()?)
    })?;
    // dbt understands more projects than we do; what is wrong with one, dbt says.
    let plan = prepare(settings, run, &warehouse, scope, &published)
        .inspect_err(|error| printer.detail(&format!("no plan of our own: {error:#}")))
        .ok()
        .map(|prepared| prepared.plan);
    if let Some(plan) = &plan
        && scope.skip_if_current
        && is_current(plan, &published, &warehouse)?
    {
        return Ok((warehouse, current(&published)));
    }
    let (report, warehouse) = external::build(settings, warehouse, scope, plan.as_ref(), printer)?;
    Ok((warehouse, built(report)))
}

fn try_build(
    settings: &Settings,
    run: &Run,
    warehouse: &Warehouse,
    scope: &BuildScope,
    progress: &Progress,
) -> anyhow::Result<Built> {
    let published = warehouse.published()?;
    let prepared = prepare(settings, run, warehouse, scope, &published)?;
    let plan = &prepared.plan;
    if scope.skip_if_current && is_current(plan, &published, warehouse)? {
        return Ok(current(&published));
    }
    progress.begin(
        "build",
        plan.steps
            .iter()
            .filter(|step| !matches!(step, Step::Test(_)))
            .count() as u64,
    );
    let mut clock = Clock::start();
    let outcome = warehouse.build(plan, &mut |step| {
        clock.begins(step.node());
        progress.advance(1);
    });
    let runs = match &outcome {
        Ok(report) => clock.ended(report),
        Err(error) => clock.broken(&plan.steps, &error.to_string()),
    };
    let written = artifacts::write_build(settings, scope, &prepared, &clock, &runs);
    let report = outcome?;
    written?;
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

/// A plan with what it was made from.
pub(crate) struct Prepared {
    /// The dbt project.
    pub project: Project,
    /// Everything else that decides.
    pub inputs: Inputs,
    /// The project's nodes.
    pub graph: Graph,
    /// What to do.
    pub plan: BuildPlan,
}

/// The plan for `scope`, from the project, the settings and what is published.
pub(crate) fn prepare(
    settings: &Settings,
    run: &Run,
    warehouse: &Warehouse,
    scope: &BuildScope,
    published: &Published,
) -> anyhow::Result<Prepared> {
    let project = Project::load(&project::files(settings)?).context("the dbt project cannot be read")?;
    let inputs = Inputs {
        run_started_at: run.started_at.to_string(),
        invocation_id: run.id.clone(),
        existing: warehouse.relations()?,
        fingerprints: published.fingerprints.clone(),
        full_refresh: scope.full_refresh,
        selection: scope.selection.clone(),
        what: scope.what,
        ..inputs(settings, &project)?
    };
    let graph = Graph::new(&project, &inputs)?;
    let plan = plan_graph(&graph, &project, &inputs)?;
    if plan.steps.is_empty() {
        bail!("the selection matches nothing in the dbt project");
    }
    Ok(Prepared {
        project,
        inputs,
        graph,
        plan,
    })
}

/// What of a plan's inputs the settings decide.
pub(crate) fn inputs(settings: &Settings, project: &Project) -> anyhow::Result<Inputs> {
    let env = environment();
    let profile = project.target(settings.dbt_target.as_deref(), &env)?;
    Ok(Inputs {
        target_name: profile.name.clone(),
        target_schema: profile.schema.clone(),
        database: DATABASE.to_owned(),
        vars: BTreeMap::from([
            ("timezone".to_owned(), Json::from(settings.time_zone.clone())),
            ("on_delete".to_owned(), Json::from(settings.on_delete.name())),
        ]),
        env,
        ..Inputs::default()
    })
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
