//! `cclake doctor`: is everything in order, and if not, what to do.

use std::path::Path;

use cclake_extract::dlq;
use cclake_lake::Lake;
use cclake_warehouse::Access;
use serde::Serialize;

use crate::ExitStatus;
use crate::cells::on_one_line;
use crate::data_dir::{DataDir, Ownership, has_warehouse};
use crate::printer::Printer;
use crate::settings::{Key, Origin, Settings};
use crate::stages::{open_lake, open_warehouse};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Warning,
    Broken,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    health: Health,
    message: String,
}

impl Check {
    fn new(name: &'static str, health: Health, message: impl Into<String>) -> Self {
        Self {
            name,
            health,
            message: message.into(),
        }
    }
}

/// Looks at each part and says how it is. Broken parts make exit status 2.
pub(crate) fn doctor(settings: &Settings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut checks: Vec<_> = settings.paths.iter().map(|path| source(settings, path)).collect();
    checks.push(retention(settings));
    // What lies in the data directory can only be looked at by its owner.
    match DataDir::own(settings, Ownership::Exclusive) {
        Err(error) => checks.push(Check::new("data", Health::Broken, format!("{error:#}"))),
        Ok(_data) => {
            checks.push(Check::new(
                "data",
                Health::Ok,
                format!("{} is writable", settings.data_dir.display()),
            ));
            checks.push(lake(settings));
            checks.push(warehouse(settings));
            checks.push(dead_letters(settings));
        }
    }
    if printer.is_json() {
        printer.json(&checks)?;
    } else {
        let line = |check: &Check| {
            let word = match check.health {
                Health::Ok => "ok",
                Health::Warning => "warning",
                Health::Broken => "BROKEN",
            };
            format!("{word:8} {:12} {}\n", check.name, on_one_line(&check.message))
        };
        printer.result(&checks.iter().map(line).collect::<String>());
    }
    let broken = checks.iter().any(|check| check.health == Health::Broken);
    Ok(if broken {
        ExitStatus::Failure
    } else {
        ExitStatus::Success
    })
}

fn source(settings: &Settings, path: &Path) -> Check {
    if is_default_source(settings) && matches!(path.try_exists(), Ok(false)) {
        let message = format!(
            "{} is not there: Claude Code has not run here yet; `--path` or the setting `paths` names another folder",
            path.display()
        );
        return Check::new("source", Health::Warning, message);
    }
    match cclake_extract::discover(&[path.to_owned()]) {
        Err(error) => Check::new("source", Health::Broken, format!("{error}")),
        Ok(found) if found.files.is_empty() => Check::new(
            "source",
            Health::Warning,
            format!("{} holds no *.jsonl files", path.display()),
        ),
        Ok(found) if !found.warnings.is_empty() => Check::new(
            "source",
            Health::Warning,
            format!("{}: {}", path.display(), found.warnings.join("; ")),
        ),
        Ok(found) => {
            let bytes: u64 = found.files.iter().map(|file| file.size).sum();
            let count = found.files.len();
            Check::new(
                "source",
                Health::Ok,
                format!("{}: {count} files, {} MB", path.display(), bytes / 1_000_000),
            )
        }
    }
}

/// Whether nobody said where the logs are. Then they need not be there: what is loaded may have come from a `--path`.
fn is_default_source(settings: &Settings) -> bool {
    let origin = settings.reported(Key::Paths).map(|(_, origin)| origin);
    origin == Some(&Origin::Default)
}

/// Claude Code's own setting, which decides how often a run is needed.
fn retention(settings: &Settings) -> Check {
    let days = settings
        .paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path.parent()?.join("settings.json")).ok())
        .filter_map(|text| {
            serde_json::from_str::<serde_json::Value>(&text)
                .ok()?
                .get("cleanupPeriodDays")?
                .as_u64()
        })
        .min()
        .unwrap_or(30);
    let message = format!("Claude Code deletes its logs after {days} days: run cclake more often than that");
    let health = if days < 7 { Health::Warning } else { Health::Ok };
    Check::new("retention", health, message)
}

fn lake(settings: &Settings) -> Check {
    if !settings.iceberg_warehouse_path.join("catalog.db").is_file() {
        return Check::new("lake", Health::Ok, "not there yet: the first run makes it");
    }
    match open_lake(settings, settings.threads) {
        Err(error) => Check::new("lake", Health::Broken, format!("{error:#}")),
        Ok(lake) => match missing_files(&lake) {
            Err(error) => Check::new("lake", Health::Broken, format!("{error:#}")),
            Ok(Some(message)) => Check::new("lake", Health::Broken, message),
            Ok(None) => {
                let place = lake.metadata_location().unwrap_or_default();
                Check::new("lake", Health::Ok, format!("Iceberg table at {place}"))
            }
        },
    }
}

/// A sentence when the table lists data files that are not on the disk.
fn missing_files(lake: &Lake) -> anyhow::Result<Option<String>> {
    let files = lake.files_since(0)?;
    let missing: Vec<_> = files.iter().filter(|file| !file.path.is_file()).collect();
    Ok(missing.first().map(|first| {
        format!(
            "{} of {} data files are missing, the first is {}: restore them from a backup",
            missing.len(),
            files.len(),
            first.path.display()
        )
    }))
}

fn warehouse(settings: &Settings) -> Check {
    if !has_warehouse(settings) {
        return Check::new("warehouse", Health::Ok, "not there yet: the first run makes it");
    }
    let opened = open_warehouse(settings, Access::ReadOnly).and_then(|warehouse| {
        warehouse.query("select count(*) from raw.conversations")?;
        Ok(())
    });
    match opened {
        Err(error) => Check::new("warehouse", Health::Broken, format!("{error:#}")),
        Ok(()) => Check::new(
            "warehouse",
            Health::Ok,
            format!("DuckDB file {}", settings.duckdb_path.display()),
        ),
    }
}

fn dead_letters(settings: &Settings) -> Check {
    match dlq::list(&settings.dead_letter_dir) {
        Err(error) => Check::new("dead letters", Health::Broken, format!("{error}")),
        Ok(letters) if letters.is_empty() => Check::new("dead letters", Health::Ok, "none"),
        Ok(letters) => Check::new(
            "dead letters",
            Health::Warning,
            format!("{}: `cclake dlq list` shows them", letters.len()),
        ),
    }
}
