//! The summary as a page of text, 80 columns wide.

use std::fmt::Write as _;

use super::{BuildSummary, Facts, Stage, Summary, megabytes};
use crate::labels::Labels;
use crate::settings::SourceKind;
use crate::stages::{FileReport, IngestReport, LineCounts};

/// Lists longer than this end in "and N more".
const MOST_ROWS: usize = 8;

/// The whole page.
pub(crate) fn render(summary: &Summary, next: &[String]) -> String {
    let mut page = lines(&summary.ingest);
    if let Some(facts) = &summary.facts {
        page.push('\n');
        page.push_str(&facts_text(facts));
    }
    page.push('\n');
    page.push_str(&build_text(&summary.build));
    page.push_str(&stages_text(&summary.stages, summary.seconds));
    if !next.is_empty() {
        page.push_str("\nNext\n");
        for line in next {
            let _ = writeln!(page, "  {line}");
        }
    }
    page
}

/// What was read and what became of it.
pub(crate) fn lines(report: &IngestReport) -> String {
    let mut text = match report.source {
        SourceKind::Jsonl => files_text(&report.lines, &report.files, "new"),
        SourceKind::Mongodb => documents_text(report),
    };
    text.push_str(letters_text(&report.lines));
    text
}

/// Lines and files and what became of them; a line that is `new` is so somewhere.
pub(crate) fn files_text(lines: &LineCounts, files: &FileReport, new: &str) -> String {
    let renamed = if files.renamed > 0 {
        format!(", {} renamed", count(files.renamed))
    } else {
        String::new()
    };
    format!(
        "Read        {} lines = {} {new} + {} already there + {} dead-lettered + {} pending\n\
         Files       {} new, {} grown, {} read again, {} unchanged{renamed} ({:.1} MB)\n",
        count(lines.read),
        count(lines.new),
        count(lines.already_there),
        count(lines.dead_lettered),
        count(lines.pending),
        count(files.new),
        count(files.grown),
        count(files.reread),
        count(files.unchanged),
        megabytes(lines.bytes),
    )
}

/// Where to look at dead letters, if there are any.
pub(crate) fn letters_text(lines: &LineCounts) -> &'static str {
    if lines.dead_lettered > 0 {
        "            `cclake dlq list` shows the dead letters\n"
    } else {
        ""
    }
}

fn documents_text(report: &IngestReport) -> String {
    let documents = &report.lines;
    let mut text = format!(
        "Read        {} documents = {} to the lake + {} dead-lettered + {} dead-lettered before ({:.1} MB)\n",
        count(documents.read - report.skipped),
        count(documents.new),
        count(documents.dead_lettered),
        count(documents.already_there),
        megabytes(documents.bytes),
    );
    if report.skipped > 0 {
        let _ = writeln!(
            text,
            "            {} changes besides that bring no row: of documents that are gone since, or of the collection",
            count(report.skipped)
        );
    }
    if report.unexpected > 0 {
        let _ = writeln!(
            text,
            "            {} of them have a value that its column cannot hold: null there, whole in _raw_json",
            count(report.unexpected)
        );
    }
    text
}

fn facts_text(facts: &Facts) -> String {
    let mut text = String::new();
    if facts.sessions == 0 {
        return "Nothing to count yet: no sessions.\n".to_owned();
    }
    let _ = writeln!(
        text,
        "Sessions    {}, {} to {}",
        count(facts.sessions),
        facts.first_day,
        facts.last_day
    );
    let _ = writeln!(
        text,
        "Messages    {} prompts, {} responses",
        count(facts.prompts),
        count(facts.responses)
    );
    let rate = facts
        .tool_failure_rate
        .map_or_else(String::new, |rate| format!(", {rate:.1} % failed"));
    let _ = writeln!(
        text,
        "Tool calls  {}{rate}, {} rejected by you",
        count(facts.tool_calls),
        count(facts.tool_rejections)
    );
    let rows = facts.tokens_by_model.iter().map(|model| {
        let figures = [model.input, model.output, model.cache_write, model.cache_read];
        (model.model.as_str(), figures.map(count).to_vec())
    });
    text.push_str(&table(
        "Tokens by model",
        &["input", "output", "cache write", "cache read"],
        rows,
    ));
    let projects = facts.top_projects.iter();
    let labels = Labels::new(projects.map(|project| (project.name.as_str(), project.path.as_str())));
    let rows = facts.top_projects.iter().map(|project| {
        let figures = [project.sessions, project.messages, project.tool_calls];
        (labels.of(&project.path), figures.map(count).to_vec())
    });
    text.push_str(&table(
        "Top projects",
        &["sessions", "messages", "tool calls"],
        rows,
    ));
    let hours: Vec<_> = facts
        .busiest_hours
        .iter()
        .map(|hour| format!("{:02}:00 ({} messages)", hour.hour, count(hour.messages)))
        .collect();
    let _ = writeln!(text, "\nBusiest hours  {}", hours.join(", "));
    text
}

/// A title column and right-aligned figures.
fn table<'a>(
    title: &str,
    header: &[&str],
    rows: impl ExactSizeIterator<Item = (&'a str, Vec<String>)>,
) -> String {
    let total = rows.len();
    let rows: Vec<_> = rows.take(MOST_ROWS).collect();
    let names = rows.iter().map(|(name, _)| name.chars().count());
    let name_width = names.chain([title.len()]).max().unwrap_or(0).min(34);
    let mut text = format!("\n{title:name_width$}");
    for name in header {
        let _ = write!(text, " {name:>13}");
    }
    text.push('\n');
    for (name, figures) in rows {
        let _ = write!(text, "{:name_width$}", shortened(name, name_width));
        for figure in figures {
            let _ = write!(text, " {figure:>13}");
        }
        text.push('\n');
    }
    if total > MOST_ROWS {
        let _ = writeln!(text, "and {} more", total - MOST_ROWS);
    }
    text
}

fn shortened(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let kept: String = name.chars().take(width - 1).collect();
    format!("{kept}…")
}

fn build_text(build: &BuildSummary) -> String {
    let mut text = if build.up_to_date {
        "Models      up to date: nothing changed since the last build\n".to_owned()
    } else {
        format!("Models      {} built\n", count(build.models))
    };
    text.push_str(&tests_line(build));
    text
}

/// How the tests went, with a line for each that did not pass.
pub(crate) fn tests_line(build: &BuildSummary) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Tests       {} passed, {} warned, {} failed",
        count(build.passed),
        count(build.warned),
        count(build.failed)
    );
    for finding in &build.findings {
        let _ = writeln!(text, "            {finding}");
    }
    if build.failed > 0 && build.models > 0 {
        text.push_str("            nothing was published: readers keep the last good state\n");
    }
    text
}

fn stages_text(stages: &[Stage], seconds: f64) -> String {
    let mut text = format!("\n{:10} {:>9} {:>9}\n", "Stage", "seconds", "MB/s");
    for stage in stages {
        let rate = stage
            .mb_per_second
            .map_or_else(String::new, |rate| format!("{rate:.0}"));
        let _ = writeln!(
            text,
            "{}",
            format!("{:10} {:>9.2} {rate:>9}", stage.name, stage.seconds).trim_end()
        );
    }
    let _ = writeln!(text, "{:10} {seconds:>9.2}", "total");
    text
}

/// Thousands apart, as in 21,721.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let check = |number, expected: &str| assert_eq!(count(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(380_489_859, "380,489,859");
    }
}
