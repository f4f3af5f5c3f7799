//! Reports as text: a table, and below it what one must know to read it.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::answer::{Answer, Rows};
use super::blocks::Block;
use super::rows::{self, Group, Tool, Usage, UsageReport, percentage};
use super::table::{Column, Table, Weight};
use super::{Kind, short_model};
use crate::cells::on_one_line;
use crate::labels::Labels;
use crate::summary::count;

/// The page, no wider than `width`.
pub(crate) fn render(answer: &Answer, width: Option<usize>, styled: bool) -> String {
    let table = match &answer.rows {
        Rows::Usage(report) if report.groups.is_empty() => None,
        Rows::Tools(tools, _) if tools.is_empty() => None,
        Rows::Blocks(blocks, _) if blocks.is_empty() => None,
        Rows::Usage(report) => Some(usage_table(answer, report, &answer.rules)),
        Rows::Tools(tools, total) => Some(tool_table(tools, total)),
        Rows::Blocks(blocks, total) => Some(block_table(blocks, total, &answer.rules)),
    };
    let Some(table) = table else {
        let nothing = "Nothing in this period: widen --since and --until.";
        return wrapped(nothing, width) + "\n";
    };
    let (lines, left_out) = table.render(width, styled);
    let mut page = format!("{}\n\n{lines}\n", wrapped(&title(answer), width));
    if let Rows::Blocks(blocks, _) = &answer.rows {
        for line in blocks.iter().filter_map(active_line) {
            let _ = writeln!(page, "{}", wrapped(&line, width));
        }
    }
    for note in notes(answer, &left_out) {
        let _ = writeln!(page, "{}", wrapped(&note, width));
    }
    page
}

fn title(answer: &Answer) -> String {
    let rows = match answer.kind {
        Kind::Daily => "day".to_owned(),
        Kind::Weekly => format!("week (from {})", answer.start_of_week),
        Kind::Monthly => "month".to_owned(),
        Kind::Session => "session".to_owned(),
        Kind::Project => "project".to_owned(),
        Kind::Model => "model".to_owned(),
        Kind::Tool => return format!("Tool calls by tool, {}", answer.zone),
        Kind::Blocks => "five-hour block".to_owned(),
    };
    format!("Usage by {rows}, {}", answer.zone)
}

fn notes(answer: &Answer, left_out: &[&str]) -> Vec<String> {
    let mut notes = Vec::new();
    if !matches!(answer.rows, Rows::Tools(..)) {
        let list = match answer.price_list_date.as_str() {
            "" => "there is no price list".to_owned(),
            day => format!("price list of {day}"),
        };
        notes.push(format!("Cost is an API-price equivalent ({list}), not a bill."));
    }
    for (model, usage) in &answer.unpriced {
        let responses = if usage.unpriced == 1 {
            "response"
        } else {
            "responses"
        };
        notes.push(format!(
            "* No price for {}: {} {responses}, {} tokens are in no cost.",
            on_one_line(model),
            count(usage.unpriced),
            count(usage.unpriced_tokens)
        ));
    }
    if !left_out.is_empty() {
        notes.push(format!(
            "Left out for want of room: {}.",
            left_out.join(", ").to_lowercase()
        ));
    }
    notes
}

/// Broken between words so that no line is wider than the terminal.
fn wrapped(text: &str, width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX).max(20);
    let mut page = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            page.push('\n');
            column = 0;
        } else if column > 0 {
            page.push(' ');
            column += 1;
        }
        page.push_str(word);
        column += length;
    }
    page
}

/// As ccusage has them; what tells least leaves first.
const FIGURES: [Column; 6] = [
    Column::figure("Input", 5),
    Column::figure("Output", 6),
    Column::figure("Cache Create", 1),
    Column::figure("Cache Read", 2),
    Column::figure("Total Tokens", 7),
    Column::figure("Cost (USD)", 0),
];

fn figures(usage: &Usage) -> Vec<String> {
    let mut cells: Vec<_> = [
        usage.input,
        usage.output,
        usage.cache_write,
        usage.cache_read,
        usage.tokens(),
    ]
    .map(count)
    .to_vec();
    cells.push(cost(usage));
    cells
}

/// With a star where something has no price.
fn cost(usage: &Usage) -> String {
    let star = if usage.unpriced > 0 { "*" } else { "" };
    match usage.cost {
        None if usage.responses > 0 => format!("-{star}"),
        cost => format!("{}{star}", dollars(cost.unwrap_or(0.0))),
    }
}

/// `$1,234.56`.
pub(crate) fn dollars(amount: f64) -> String {
    let text = format!("{:.2}", amount.max(0.0));
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    format!("${}.{cents}", count(whole.parse().unwrap_or(0)))
}

fn usage_table(answer: &Answer, report: &UsageReport, zone: &TimeZone) -> Table {
    let mut columns = match answer.kind {
        Kind::Session => vec![
            Column::text("Session", 0),
            Column::text("Project", 4),
            Column::text("Last Activity", 3),
        ],
        Kind::Project => vec![Column::text("Project", 0), Column::figure("Sessions", 4)],
        Kind::Model => vec![Column::text("Model", 0), Column::figure("Responses", 4)],
        Kind::Weekly => vec![Column::text("Week", 0)],
        Kind::Monthly => vec![Column::text("Month", 0)],
        _ => vec![Column::text("Date", 0)],
    };
    if answer.kind != Kind::Model {
        columns.push(Column::text("Models", 4));
    }
    let before_figures = columns.len();
    columns.extend(FIGURES);
    let labels = rows::labels(&report.groups);
    let mut rows = Vec::new();
    for group in &report.groups {
        let mut cells = names(answer.kind, group, zone, &labels);
        if answer.kind != Kind::Model {
            cells.push(model_list(&group.models));
        }
        cells.extend(figures(&group.usage));
        rows.push((Weight::Plain, cells));
        if answer.breakdown && answer.kind != Kind::Model {
            rows.extend(breakdown(&group.models, before_figures));
        }
    }
    let mut total = vec![String::new(); before_figures];
    "Total".clone_into(&mut total[0]);
    total.extend(figures(&report.total));
    rows.push((Weight::Total, total));
    Table { columns, rows }
}

fn names(kind: Kind, group: &Group, zone: &TimeZone, labels: &Labels) -> Vec<String> {
    let project = labels.of(&group.project_path).to_owned();
    match kind {
        Kind::Session => {
            let last = group.usage.span.map(|(_, last)| local(last, zone, "%Y-%m-%d"));
            let id = group.id.chars().take(8).collect();
            vec![id, project, last.unwrap_or_default()]
        }
        Kind::Project => vec![project, count(group.usage.sessions)],
        Kind::Model => vec![group.id.clone(), count(group.usage.responses)],
        _ => vec![group.id.clone()],
    }
}

fn model_list(models: &[(String, Usage)]) -> String {
    let mut names: Vec<_> = models.iter().map(|(model, _)| short_model(model)).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn breakdown(models: &[(String, Usage)], before_figures: usize) -> Vec<(Weight, Vec<String>)> {
    let row = |(model, usage): &(String, Usage)| {
        let mut cells = vec![String::new(); before_figures];
        cells[0] = format!("  └ {}", short_model(model));
        cells.extend(figures(usage));
        (Weight::Detail, cells)
    };
    models.iter().map(row).collect()
}

/// An instant as the zone's clock shows it.
pub(crate) fn local(milliseconds: i64, zone: &TimeZone, format: &str) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).map_or_else(
        |_| String::new(),
        |instant| zone.to_datetime(instant).strftime(format).to_string(),
    )
}

fn tool_table(tools: &[Tool], total: &Tool) -> Table {
    let columns = vec![
        Column::text("Tool", 0),
        Column::text("Category", 4),
        Column::figure("Calls", 0),
        Column::figure("Failed", 0),
        Column::figure("Failed %", 6),
        Column::figure("Rejected", 5),
        Column::figure("No Result", 1),
        Column::figure("Avg s", 3),
        Column::figure("p50 s", 2),
        Column::figure("p95 s", 2),
    ];
    let cells = |tool: &Tool| {
        let mut cells = vec![
            tool.name.clone(),
            tool.category.clone(),
            count(tool.calls),
            count(tool.failed),
            tool.failure_rate()
                .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
            count(tool.rejected),
            count(tool.unanswered),
        ];
        cells.extend(
            tool.milliseconds
                .map(|figure| figure.map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", ms / 1000.0))),
        );
        cells
    };
    let mut rows: Vec<_> = tools.iter().map(|tool| (Weight::Plain, cells(tool))).collect();
    let mut sums = cells(total);
    "Total".clone_into(&mut sums[0]);
    sums[1].clear();
    rows.push((Weight::Total, sums));
    Table { columns, rows }
}

fn block_table(blocks: &[Block], total: &Usage, zone: &TimeZone) -> Table {
    let columns = vec![
        Column::text("Block Start", 0),
        Column::text("Duration", 3),
        Column::text("Models", 2),
        Column::figure("Tokens", 4),
        Column::figure("% of Largest", 1),
        Column::figure("Cost (USD)", 0),
    ];
    let largest = blocks.iter().map(|block| block.usage.tokens()).max().unwrap_or(0);
    let cells = |block: &Block| {
        let start = local(block.start, zone, "%Y-%m-%d %H:%M");
        if block.is_gap {
            let pause = format!("{} pause", duration(block.end - block.start));
            return vec![
                start,
                pause,
                String::new(),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
            ];
        }
        let (first, last) = block.usage.span.unwrap_or((block.start, block.start));
        let mut length = duration(last - first.min(block.start));
        if block.active.is_some() {
            length.push_str(", active");
        }
        let share =
            percentage(block.usage.tokens(), largest).map_or_else(String::new, |share| format!("{share:.1}"));
        vec![
            start,
            length,
            model_list(&block.models),
            count(block.usage.tokens()),
            share,
            cost(&block.usage),
        ]
    };
    let mut rows: Vec<_> = blocks
        .iter()
        .map(|block| {
            (
                if block.is_gap {
                    Weight::Detail
                } else {
                    Weight::Plain
                },
                cells(block),
            )
        })
        .collect();
    let mut sums = vec![String::new(); columns.len()];
    "Total".clone_into(&mut sums[0]);
    sums[3] = count(total.tokens());
    sums[5] = cost(total);
    rows.push((Weight::Total, sums));
    Table { columns, rows }
}

fn active_line(block: &Block) -> Option<String> {
    let active = block.active?;
    let left = duration(active.remaining_minutes * 60_000);
    let Some((rate, (tokens, cost))) = active.rate.zip(block.projection()) else {
        return Some(format!("Active block: {left} left."));
    };
    Some(format!(
        "Active block: {left} left; {} tokens/min and {}/h so far; {} tokens and {} by its end at that rate.",
        whole(rate.tokens_per_minute),
        dollars(rate.cost_per_hour),
        whole(tokens),
        dollars(cost)
    ))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a figure for people, never negative"
)]
fn whole(figure: f64) -> String {
    count(figure.round() as u64)
}

/// `3h 17m`, and days where hours are many.
pub(crate) fn duration(milliseconds: i64) -> String {
    let minutes = milliseconds / 60_000;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours @ 1..48, minutes) => format!("{hours}h {minutes}m"),
        (hours, _) => format!("{}d {}h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(
            [1234.567, 0.0, 1_000_000.0].map(dollars),
            ["$1,234.57", "$0.00", "$1,000,000.00"]
        );
        assert_eq!(
            [0, 61 * 60_000, 50 * 3_600_000].map(duration),
            ["0m", "1h 1m", "2d 2h"]
        );
        assert_eq!(wrapped("one two three", Some(20)), "one two three");
        assert_eq!(
            wrapped("twelve letters and more", Some(20)),
            "twelve letters and\nmore"
        );
    }
}
