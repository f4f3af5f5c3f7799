//! What a run tells a person at its end: what came in, what it adds up to, what to do next.

mod facts;
mod next;
mod text;

use std::time::Duration;

use serde::Serialize;

use crate::printer::Printer;
use crate::stages::IngestReport;

pub(crate) use facts::{Facts, fetch, gather};
pub(crate) use next::next_steps;
pub(crate) use text::{count, files_text, letters_text, lines, render, tests_line};

/// Everything `run` has to say.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// What was read and loaded.
    pub ingest: IngestReport,
    /// What gold holds now; none when the project has other tables.
    pub facts: Option<Facts>,
    /// Models and tests.
    pub build: BuildSummary,
    /// Seconds and throughput per stage.
    pub stages: Vec<Stage>,
    /// Wall time of the whole run.
    pub seconds: f64,
}

/// Models and tests in numbers.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct BuildSummary {
    /// Nothing had changed since the last build, whose results still stand.
    pub up_to_date: bool,
    /// Models and seeds built.
    pub models: u64,
    /// Tests that passed.
    pub passed: u64,
    /// Tests whose failure is a warning: published all the same.
    pub warned: u64,
    /// Tests whose failure kept the old gold in place.
    pub failed: u64,
    /// A line for each warning and failure.
    pub findings: Vec<String>,
}

/// One stage of the run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Time it took.
    pub seconds: f64,
    /// Source bytes per second, in MB, for the stages that see every byte.
    pub mb_per_second: Option<f64>,
}

impl Stage {
    /// A stage that took `seconds`, over `bytes` of source if it saw them.
    pub(crate) fn new(name: &'static str, seconds: f64, bytes: Option<u64>) -> Self {
        // Less than a millisecond or a megabyte tells nothing about speed.
        let rate = bytes
            .filter(|bytes| *bytes > 1_000_000 && seconds > 1e-3)
            .map(|bytes| megabytes(bytes) / seconds);
        Self {
            name,
            seconds,
            mb_per_second: rate,
        }
    }
}

/// The stages of a run from its reports.
pub(crate) fn stages(ingest: &IngestReport, [models, tests, publish]: [Duration; 3]) -> Vec<Stage> {
    let bytes = Some(ingest.lines.bytes);
    vec![
        Stage::new("extract", ingest.extract_seconds, bytes),
        Stage::new("lake", ingest.lake_seconds, bytes),
        Stage::new("load", ingest.load_seconds, bytes),
        Stage::new("models", models.as_secs_f64(), None),
        Stage::new("tests", tests.as_secs_f64(), None),
        Stage::new("publish", publish.as_secs_f64(), None),
    ]
}

/// Files that could not be read are worth a line each, but never the end of a run.
pub(crate) fn warn(warnings: &[String], printer: &Printer) {
    for warning in warnings {
        printer.warning(warning);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
