//! `cclake lake maintain`: upkeep of the lake.

use std::time::Duration;

use cclake_lake::{Change, MaintainOptions, Maintained};
use serde_json::{Value, json};

use crate::ExitStatus;
use crate::cli::MaintainArgs;
use crate::data_dir::{DataDir, Ownership};
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::open_existing_lake;
use crate::summary::megabytes;

/// Brings the lake into its best shape, or says what that would take.
pub(crate) fn maintain(
    settings: &Settings,
    args: &MaintainArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let _data = DataDir::own(settings, Ownership::Exclusive)?;
    let mut lake = open_existing_lake(settings)?;
    let maintained = lake.maintain(&MaintainOptions {
        dry_run: args.dry_run,
        min_age: Duration::from_hours(args.min_age.into()),
        ..MaintainOptions::default()
    })?;
    if printer.is_json() {
        printer.json(&as_json(&maintained, args.dry_run))?;
    } else if args.dry_run {
        printer.result(&text(&maintained, args.dry_run));
    } else {
        printer.report(&text(&maintained, args.dry_run));
    }
    Ok(ExitStatus::Success)
}

fn text(done: &Maintained, dry_run: bool) -> String {
    let arrow = |change: Change| format!("{} -> {}", change.before, change.after);
    let merged = match &done.not_compacted {
        Some(reason) => format!(" (left as they are: {reason})"),
        None if done.compacted_files.before == 0 => String::new(),
        None => format!(
            " ({} small ones of {:.1} MB merged into {})",
            done.compacted_files.before,
            megabytes(done.compacted_bytes.before),
            done.compacted_files.after
        ),
    };
    let title = if dry_run {
        "A dry run: nothing was changed. This would be done:\n"
    } else {
        ""
    };
    format!(
        "{title}Data files  {}{merged}\nManifests   {}\nSnapshots   {}\nRemoved     {} unused files of {:.1} MB\n",
        arrow(done.data_files),
        arrow(done.manifests),
        arrow(done.snapshots),
        done.removed_files,
        megabytes(done.removed_bytes)
    )
}

fn as_json(done: &Maintained, dry_run: bool) -> Value {
    let change = |change: Change| json!({"before": change.before, "after": change.after});
    // What is merged has no size before it is written.
    let bytes_after = (!dry_run).then_some(done.compacted_bytes.after);
    json!({
        "dry_run": dry_run,
        "data_files": change(done.data_files),
        "compacted_files": change(done.compacted_files),
        "compacted_bytes": {"before": done.compacted_bytes.before, "after": bytes_after},
        "not_compacted": done.not_compacted,
        "manifests": change(done.manifests),
        "snapshots": change(done.snapshots),
        "removed_files": done.removed_files,
        "removed_bytes": done.removed_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dry_run: bool, not_compacted: Option<&str>, expected: &str) {
        let change = |before, after| Change { before, after };
        let files = if not_compacted.is_some() { 0 } else { 9 };
        let done = Maintained {
            data_files: change(12, 12 - files + files / 3),
            compacted_files: change(files, files / 3),
            compacted_bytes: change(files * 100_000, 0),
            manifests: change(4, 1),
            snapshots: change(4, 5),
            removed_files: 2,
            removed_bytes: 3_000_000,
            not_compacted: not_compacted.map(str::to_owned),
        };
        assert_eq!(text(&done, dry_run), expected);
    }

    #[test]
    fn what_was_done_is_said_in_four_lines() {
        check(
            false,
            None,
            "Data files  12 -> 6 (9 small ones of 0.9 MB merged into 3)\n\
             Manifests   4 -> 1\nSnapshots   4 -> 5\nRemoved     2 unused files of 3.0 MB\n",
        );
        check(
            true,
            Some("there is a reason"),
            "A dry run: nothing was changed. This would be done:\n\
             Data files  12 -> 12 (left as they are: there is a reason)\n\
             Manifests   4 -> 1\nSnapshots   4 -> 5\nRemoved     2 unused files of 3.0 MB\n",
        );
    }
}
