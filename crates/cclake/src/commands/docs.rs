//! `cclake docs`: the project's documentation as web pages, and as the artifacts that dbt's tools read.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, bail};
use cclake_plan::artifacts::catalog;
use cclake_warehouse::Access;
use serde_json::json;

use crate::ExitStatus;
use crate::artifacts;
use crate::cli::DocsServeArgs;
use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::docs::{Docs, Site, is_page, server};
use crate::http::Listener;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::{Blueprint, BuildScope, Holdings, Run, open_warehouse};

/// Serves the pages until Ctrl-C.
pub(crate) fn serve(
    settings: &Settings,
    args: &DocsServeArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let listener = Listener::bind(args.port, "--port")?;
    let site = Site::new(Docs::read(settings)?);
    let url = listener.url();
    if printer.is_json() {
        printer.json(&json!({ "url": url }))?;
    } else {
        printer.result(&format!("{url}\n"));
        printer.note("Ctrl-C ends it.");
    }
    server::run(listener, settings, site)?;
    Ok(ExitStatus::Success)
}

/// Writes the same pages as files.
pub(crate) fn export(settings: &Settings, folder: &Path, printer: &Printer) -> anyhow::Result<ExitStatus> {
    check_folder(folder)?;
    let site = Site::new(Docs::read(settings)?);
    let paths = site.paths();
    for path in &paths {
        let file = folder.join(path);
        let what = || format!("cannot write {}", file.display());
        if let (Some(page), Some(parent)) = (site.page(path), file.parent()) {
            fs::create_dir_all(parent).with_context(what)?;
            fs::write(&file, page.body).with_context(what)?;
        }
    }
    if printer.is_json() {
        printer.json(&json!({ "folder": folder, "files": paths.len() }))?;
    } else {
        printer.report(&format!(
            "{} files in {}: open index.html\n",
            paths.len(),
            folder.display()
        ));
    }
    Ok(ExitStatus::Success)
}

/// Pages go where nothing is yet, or where only earlier ones would be written over.
fn check_folder(folder: &Path) -> anyhow::Result<()> {
    if folder.is_file() {
        bail!("{} is a file: give a folder for the pages", folder.display());
    }
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error).context(format!("cannot look into {}", folder.display())),
    };
    let is_ours = || fs::read_to_string(folder.join("index.html")).is_ok_and(|page| is_page(&page));
    if !is_empty && !is_ours() {
        bail!(
            "{} holds files that `cclake docs export` did not write: give a folder that is empty or not there yet",
            folder.display()
        );
    }
    Ok(())
}

/// Writes manifest.json and catalog.json, beside the run_results.json of the last build.
pub(crate) fn generate(settings: &Settings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if !has_warehouse(settings) {
        bail!(
            "there is no warehouse {} to document yet: run `cclake run` first",
            settings.duckdb_path.display()
        );
    }
    let _data = DataDir::own(settings, Ownership::Shared)?;
    let warehouse = open_warehouse(settings, Access::ReadOnly)?;
    let blueprint = Blueprint::read(settings, &Run::begin(), false)?;
    let prepared = blueprint.plan(&Holdings::of(&warehouse)?, &BuildScope::default())?;
    let tables = warehouse.catalog()?;
    let catalog = catalog(&blueprint.graph, &prepared.inputs, &tables, &artifacts::now());
    artifacts::write_manifest(settings, &prepared)?;
    let folder = artifacts::folder(settings);
    artifacts::write(&folder.join("catalog.json"), &catalog)?;
    if printer.is_json() {
        printer.json(&json!({"target": folder}))?;
    } else {
        printer.report(&format!(
            "manifest.json and catalog.json are in {}\n",
            folder.display()
        ));
    }
    Ok(ExitStatus::Success)
}
