//! `cclake config`: every setting and where it came from.

use serde_json::json;

use crate::ExitStatus;
use crate::printer::Printer;
use crate::settings::Settings;

/// Prints the settings as they are in force.
pub(crate) fn config(settings: &Settings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut report = settings.report.clone();
    report.sort_by_key(|(setting, ..)| setting.key);
    if printer.is_json() {
        let values: serde_json::Map<_, _> = report
            .iter()
            .map(|(setting, value, origin)| {
                (
                    setting.name.to_owned(),
                    json!({"value": value, "origin": origin.to_string(), "default": setting.default, "meaning": setting.doc}),
                )
            })
            .collect();
        printer.json(&values)?;
    } else {
        let width = report
            .iter()
            .map(|(setting, ..)| setting.name.len())
            .max()
            .unwrap_or(0);
        let text: String = report
            .iter()
            .map(|(setting, value, origin)| format!("{:width$}  {value}  ({origin})\n", setting.name))
            .collect();
        printer.result(&text);
    }
    Ok(ExitStatus::Success)
}
