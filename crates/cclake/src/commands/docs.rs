//! `cclake docs generate`: what dbt's documentation and tools read about the project and the warehouse.

use cclake_plan::artifacts::catalog;
use cclake_warehouse::Access;

use crate::ExitStatus;
use crate::artifacts;
use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::{BuildScope, Run, open_warehouse, prepare};

/// Writes manifest.json and catalog.json, beside the run_results.json of the last build.
pub(crate) fn generate(settings: &Settings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if !has_warehouse(settings) {
        anyhow::bail!(
            "there is no warehouse {} to document yet: run `cclake run` first",
            settings.duckdb_path.display()
        );
    }
    let _data = DataDir::own(settings, Ownership::Shared)?;
    let warehouse = open_warehouse(settings, Access::ReadOnly)?;
    let published = warehouse.published()?;
    let prepared = prepare(
        settings,
        &Run::begin(),
        &warehouse,
        &BuildScope::default(),
        &published,
    )?;
    let tables = warehouse.catalog()?;
    let catalog = catalog(&prepared.graph, &prepared.inputs, &tables, &artifacts::now());
    artifacts::write_manifest(settings, &prepared)?;
    let folder = artifacts::folder(settings);
    artifacts::write(&folder.join("catalog.json"), &catalog)?;
    if printer.is_json() {
        printer.json(&serde_json::json!({"target": folder}))?;
    } else {
        printer.report(&format!(
            "manifest.json and catalog.json are in {}\n",
            folder.display()
        ));
    }
    Ok(ExitStatus::Success)
}
