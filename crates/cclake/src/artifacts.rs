//! dbt's artifacts under `<data>/target`: manifest.json, run_results.json and catalog.json.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cclake_plan::artifacts::{NodeRun, Outcome, manifest, run_results};
use cclake_plan::{Step, What};
use cclake_warehouse::BuildReport;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::settings::Settings;
use crate::stages::{BuildScope, Prepared};

/// The folder of the artifacts.
pub(crate) fn folder(settings: &Settings) -> PathBuf {
    settings.data_dir.join("target")
}

/// When a build's parts began and ended.
pub(crate) struct Clock {
    began: Timestamp,
    instant: Instant,
    /// Seeds, models and snapshots in the order they were begun.
    begun: Vec<(String, Instant)>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            began: Timestamp::now(),
            instant: Instant::now(),
            begun: Vec::new(),
        }
    }

    pub(crate) fn begins(&mut self, node: &str) {
        self.begun.push((node.to_owned(), Instant::now()));
    }

    /// From an offset to the next.
    fn span(&self, from: Duration, took: Duration) -> (String, String) {
        let at = |offset: Duration| iso(self.began.checked_add(offset).unwrap_or(self.began));
        (at(from), at(from + took))
    }

    /// How every node went in a build that came to its end.
    pub(crate) fn ended(&self, report: &BuildReport) -> Vec<NodeRun> {
        let mut at = Duration::ZERO;
        let mut runs = Vec::with_capacity(report.models.len() + report.tests.len());
        for model in &report.models {
            let message = if report.published {
                format!("OK: {}", model.reason)
            } else {
                "OK, but not published, since a test failed".to_owned()
            };
            runs.push(NodeRun {
                node: model.node.clone(),
                outcome: Outcome::Built(message),
                span: Some(self.span(at, model.time)),
                seconds: model.time.as_secs_f64(),
            });
            at += model.time;
        }
        // Many tests share one query, and so its time.
        let share = report.tests_time / u32::try_from(report.tests.len().max(1)).unwrap_or(u32::MAX);
        for test in &report.tests {
            runs.push(NodeRun {
                node: test.node.clone(),
                outcome: Outcome::Tested(test.verdict, test.failures),
                span: Some(self.span(at, share)),
                seconds: share.as_secs_f64(),
            });
            at += share;
        }
        runs
    }

    /// How every node went in a build that `error`, which names the nodes that failed, broke off.
    pub(crate) fn broken(&self, steps: &[Step], error: &str) -> Vec<NodeRun> {
        let mut runs = Vec::with_capacity(steps.len());
        let ends = self.begun.iter().skip(1).map(|(_, instant)| *instant);
        let ends = ends.chain([Instant::now()]);
        for ((node, began), ended) in self.begun.iter().zip(ends) {
            let (from, took) = (began.duration_since(self.instant), ended.duration_since(*began));
            runs.push(NodeRun {
                node: node.clone(),
                outcome: Outcome::Built("OK, but not published, since another node failed".to_owned()),
                span: Some(self.span(from, took)),
                seconds: took.as_secs_f64(),
            });
        }
        if let Some(last) = runs.last_mut().filter(|last| error.contains(&last.node)) {
            last.outcome = Outcome::Failed(error.to_owned());
        }
        let begun: Vec<String> = runs.iter().map(|run| run.node.clone()).collect();
        let rest = steps
            .iter()
            .filter(|step| !begun.iter().any(|node| node == step.node()));
        runs.extend(rest.map(|step| NodeRun {
            node: step.node().to_owned(),
            outcome: match step {
                Step::Test(test) if error.contains(&test.node) => Outcome::Failed(error.to_owned()),
                _ => Outcome::Skipped,
            },
            span: None,
            seconds: 0.0,
        }));
        runs
    }

    fn elapsed(&self) -> f64 {
        self.instant.elapsed().as_secs_f64()
    }
}

/// Writes run_results.json of a build.
pub(crate) fn write_results(
    settings: &Settings,
    scope: &BuildScope,
    prepared: &Prepared<'_>,
    clock: &Clock,
    runs: &[NodeRun],
) -> anyhow::Result<()> {
    let args = json!({
        "which": match scope.what {
            What::Models => "run",
            What::Tests => "test",
            What::Build => "build",
        },
        "select": scope.selection.select,
        "exclude": scope.selection.exclude,
        "full_refresh": scope.full_refresh,
    });
    let Prepared {
        blueprint,
        inputs,
        plan,
    } = prepared;
    let seconds = clock.elapsed();
    let results = run_results(&blueprint.graph, inputs, plan, runs, &args, seconds, &now());
    write(&folder(settings).join("run_results.json"), &results)
}

/// Writes manifest.json.
pub(crate) fn write_manifest(settings: &Settings, prepared: &Prepared<'_>) -> anyhow::Result<()> {
    let manifest = manifest(
        &prepared.blueprint.project,
        &prepared.blueprint.graph,
        &prepared.inputs,
        &prepared.plan,
        &now(),
    )?;
    write(&folder(settings).join("manifest.json"), &manifest)
}

/// Writes one artifact so that a reader sees the old one or the new, never a part.
pub(crate) fn write(path: &Path, artifact: &Json) -> anyhow::Result<()> {
    let what = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).with_context(what)?;
    let draft = path.with_extension("json.draft");
    std::fs::write(&draft, serde_json::to_vec(artifact)?).with_context(what)?;
    std::fs::rename(&draft, path).with_context(what)
}

/// The present as artifacts write it.
pub(crate) fn now() -> String {
    iso(Timestamp::now())
}

fn iso(at: Timestamp) -> String {
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_dbt() {
        let at: Timestamp = "2026-11-25T00:45:02.8448641Z".parse().unwrap();
        assert_eq!(iso(at), "2026-11-25T00:45:02.844864Z");
    }
}
