//! `cclake dlq`: input that could not become rows.

use std::collections::HashSet;

use anyhow::Context as _;
use cclake_extract::dlq::{self, Entry};

use crate::ExitStatus;
use crate::cells::on_one_line;
use crate::cli::{DlqCommand, PurgeArgs};
use crate::data_dir::{DataDir, Ownership};
use crate::printer::Printer;
use crate::settings::Settings;
use crate::stages::{open_lake, retry};
use crate::summary;

/// Lists the dead letters, shows one with its bytes, tries them again, or drops some.
pub(crate) fn dlq(
    settings: &Settings,
    command: &DlqCommand,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    match command {
        DlqCommand::List => list(settings, printer)?,
        DlqCommand::Show { id } => show(settings, id, printer)?,
        DlqCommand::Retry => try_again(settings, printer)?,
        DlqCommand::Purge(args) => purge(settings, args, printer)?,
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

fn try_again(settings: &Settings, printer: &Printer) -> anyhow::Result<()> {
    let data = DataDir::own(settings, Ownership::Exclusive)?;
    let retried = retry(settings, &data, &mut open_lake(settings, settings.threads)?)?;
    summary::warn(&retried.warnings, printer);
    if printer.is_json() {
        return printer.json(&retried);
    }
    let documents = match retried.documents {
        0 => String::new(),
        documents => format!("{documents} documents of {}, ", settings.mongo.namespace()),
    };
    printer.report(&format!(
        "{} letters tried: {} are rows of the lake now, {documents}{} stay\n",
        retried.tried, retried.rows, retried.left
    ));
    if retried.rows > 0 {
        printer.note("The next `cclake run` counts them.");
    }
    Ok(())
}

fn purge(settings: &Settings, args: &PurgeArgs, printer: &Printer) -> anyhow::Result<()> {
    let _data = DataDir::own(settings, Ownership::Exclusive)?;
    let folder = &settings.dead_letter_dir;
    let mut letters = dlq::list(folder)?;
    if !args.ids.is_empty() {
        let named = args.ids.iter().map(|id| Ok(dlq::show(folder, id)?.id));
        let named = named.collect::<anyhow::Result<HashSet<_>>>()?;
        letters.retain(|letter| named.contains(&letter.id));
    }
    if let Some(days) = args.older_than {
        let limit =
            jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(24 * i64::from(days)))?;
        letters.retain(|letter| letter.at.parse().is_ok_and(|at: jiff::Timestamp| at <= limit));
    }
    let ids: HashSet<_> = letters.iter().map(|letter| letter.id).collect();
    dlq::purge(folder, &ids)?;
    if printer.is_json() {
        return printer.json(&serde_json::json!({ "purged": ids.len() }));
    }
    printer.report(&format!("{} letters purged\n", ids.len()));
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
