//! `cclake load`: lake → `raw`.

use crate::ExitStatus;
use crate::data_dir::{DataDir, Ownership};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stages::{load_backlog, open_lake, with_room};

/// Loads what is new in the lake.
pub(crate) fn load(settings: &Settings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let _data = DataDir::own(settings, Ownership::Exclusive)?;
    let lake = open_lake(settings, settings.threads)?;
    let (_, rows) = with_room(settings, None, None, printer, &mut |warehouse| {
        let rows = load_backlog(&lake, warehouse, &Progress::new(printer))?;
        warehouse.checkpoint()?;
        Ok(rows)
    })?;
    if printer.is_json() {
        printer.json(&rows)?;
    } else {
        printer.report(&format!(
            "loaded {} new rows into raw.conversations; {} changed, {} were copies\n",
            rows.inserted, rows.updated, rows.copies
        ));
    }
    Ok(ExitStatus::Success)
}
