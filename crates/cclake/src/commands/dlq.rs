//! `cclake dlq`: input that could not become rows.

use anyhow::Context as _;
use cclake_extract::dlq::{self, Entry};

use crate::ExitStatus;
use crate::cells::on_one_line;
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
    let width = printer.width();
    let text: String = letters.iter().map(|letter| entry(letter, width)).collect();
    printer.result(&text);
    Ok(())
}

/// A letter on one line, or, on a terminal that is too narrow for it, on three with the place shortened.
fn entry(letter: &Entry, width: Option<usize>) -> String {
    let place = on_one_line(&format!("{}:{}", letter.file, letter.offset));
    let reason = on_one_line(&letter.reason);
    let line = format!("{}  {}  {place}  {reason}\n", letter.id, letter.at);
    match width {
        Some(width) if line.trim_end().chars().count() > width => format!(
            "{}  {}\n  {}\n  {reason}\n",
            letter.id,
            letter.at,
            shortened(&place, width.saturating_sub(2)),
        ),
        _ => line,
    }
}

/// The text without its middle, so that `width` characters are left; of a path the end tells more.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept / 3, kept - kept / 3);
    let start = text.chars().take(head);
    start
        .chain(['…'])
        .chain(text.chars().skip(length - tail))
        .collect()
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
        on_one_line(&letter.file),
        letter.offset,
        on_one_line(&letter.reason),
        letter.at,
        letter.run_id,
        bytes.len(),
        String::from_utf8_lossy(&bytes).escape_debug()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(width: Option<usize>, expected: &str) {
        let letter = serde_json::json!({
            "id": "00112233445566778899aabbccddeeff", "source": "jsonl", "offset": 7, "reason": "no JSON: expected value",
            "file": "/home/ada/.claude/projects/-home-ada-shop/0c1d2e3f.jsonl",
            "bytes_base64": "", "at": "2026-02-03T10:00:00Z", "run_id": "r",
        });
        let letter: Entry = serde_json::from_value(letter).unwrap();
        assert_eq!(entry(&letter, width), expected);
    }

    #[test]
    fn a_letter_fits_the_terminal_and_is_whole_in_a_pipe() {
        let line = "00112233445566778899aabbccddeeff  2026-02-03T10:00:00Z  \
                    /home/ada/.claude/projects/-home-ada-shop/0c1d2e3f.jsonl:7  no JSON: expected value\n";
        check(None, line);
        check(Some(200), line);
        check(
            Some(56),
            "00112233445566778899aabbccddeeff  2026-02-03T10:00:00Z\n  \
             /home/ada/.claude…ects/-home-ada-shop/0c1d2e3f.jsonl:7\n  no JSON: expected value\n",
        );
        check(
            Some(2),
            "00112233445566778899aabbccddeeff  2026-02-03T10:00:00Z\n  …\n  no JSON: expected value\n",
        );
    }
}
