//! `cclake test`: the project's tests on what is published.

use cclake_plan::What;

use super::transform::{open, report, selection, status};
use crate::ExitStatus;
use crate::cli::SelectArgs;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::{BuildScope, Engine, Holdings, Run, build};

/// Runs the selected tests.
pub(crate) fn test(settings: &Settings, args: &SelectArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let (_data, warehouse, blueprint) = open(settings, &Run::begin(), false)?;
    let scope = BuildScope {
        selection: selection(args),
        what: What::Tests,
        ..BuildScope::default()
    };
    let engine = Engine::new(settings, blueprint, printer)?;
    let job = engine.job(Holdings::of(&warehouse)?, scope, printer)?;
    let (warehouse, built) = build(settings, &job, None, Some(warehouse), printer)?;
    warehouse.leave();
    report(&built, printer)?;
    Ok(status(&built, printer))
}
