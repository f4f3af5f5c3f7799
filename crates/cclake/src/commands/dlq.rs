//! `cclake dlq`: input that could not become rows.

use anyhow::Context as _;
use cclake_extract::dlq;

use crate::ExitStatus;
use crate::cli::DlqCommand;
use crate::printer::Printer;
use crate::settings::Settings;

/// Lists the dead letters, or shows one with its bytes.
pub(crate) fn dlq(
    settings: &Settings,
    command: &DlqCommand,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    match command {
        DlqCommand::List => list(settings, printer)?,
        DlqCommand::Show { id } => show(settings, id, printer)?,
    }
    Ok(ExitStatus::Success)
}

fn list(settings: &Settings, printer: &Printer) -> anyhow::Result<()> {
    let letters = dlq::list(&settings.dead_letter_dir)?;
    if printer.is_json() {
        return printer.json(&letters);
    }
    if letters.is_empty() {
        printer.note("the dead letter queue is empty");
    }
    let lines: String = letters
        .iter()
        .map(|letter| {
            format!(
                "{}  {}  {}:{}  {}\n",
                letter.id, letter.at, letter.file, letter.offset, letter.reason
            )
        })
        .collect();
    printer.result(&lines);
    Ok(())
}

fn show(settings: &Settings, id: &str, printer: &Printer) -> anyhow::Result<()> {
    let letter = dlq::show(&settings.dead_letter_dir, id)?;
    if printer.is_json() {
        return printer.json(&letter);
    }
    let bytes = letter.bytes().context("the letter's bytes are no valid base64")?;
    printer.result(&format!(
        "id      {}\nfile    {}\noffset  {}\nreason  {}\nqueued  {} (run {})\nbytes   {}\n\n{}\n",
        letter.id,
        letter.file,
        letter.offset,
        letter.reason,
        letter.at,
        letter.run_id,
        bytes.len(),
        String::from_utf8_lossy(&bytes).escape_debug()
    ));
    Ok(())
}
