//! The lists of the page: tools, projects, sessions, files, and what is known of the data's quality.

use std::fmt::Write as _;
use std::path::Path;

use jiff::tz::TimeZone;

use super::Notes;
use super::figures::{Figures, MOST_ROWS};
use super::markup::{compact, escape};
use crate::report::rows::{Group, percentage};
use crate::report::text::{dollars, local};
use crate::summary::count;

/// A list as a table; cells are markup.
fn list(class: &str, title: &str, header: &[&str], rows: &[Vec<String>], total: usize) -> String {
    let mut html = format!("<section class=\"{class}\">\n<h2>{title}</h2>\n<table>\n<thead><tr>");
    for name in header {
        let _ = write!(html, "<th>{name}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
    if rows.is_empty() {
        html.push_str("<p class=\"nothing\">None.</p>\n");
    }
    if total > rows.len() {
        let _ = writeln!(
            html,
            "<p class=\"rest\">and {} more</p>",
            count((total - rows.len()) as u64)
        );
    }
    html.push_str("</section>\n");
    html
}

/// Parts of a whole as a bar: class and length of each, where the longest bar of the list is 100.
fn bar(parts: &[(&str, f64)]) -> String {
    let mut svg = String::from("<svg class=\"bar\" width=\"100%\" height=\"10\" aria-hidden=\"true\">");
    let mut x = 0.0;
    for (class, length) in parts.iter().filter(|(_, length)| *length > 0.0) {
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.2}%\" width=\"{length:.2}%\" height=\"10\"/>"
        );
        x += length;
    }
    svg.push_str("</svg>");
    svg
}

/// A name that is cut where there is no room, whole when pointed at.
fn name(text: &str, whole: &str) -> String {
    format!(
        "<span class=\"name\" title=\"{}\">{}</span>",
        escape(whole),
        escape(text)
    )
}

fn share(part: u64, largest: u64) -> f64 {
    percentage(part, largest).unwrap_or(0.0)
}

pub(super) fn tools(figures: &Figures) -> String {
    let most = figures.tools.first().map_or(0, |tool| tool.calls);
    let row = |tool: &crate::report::rows::Tool| {
        vec![
            name(&tool_name(&tool.name), &tool.name),
            bar(&[
                ("bad", share(tool.failed, most)),
                ("m0", share(tool.calls - tool.failed, most)),
            ]),
            count(tool.calls),
            count(tool.failed),
            tool.failure_rate()
                .map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} %")),
        ]
    };
    let rows: Vec<_> = figures.tools.iter().take(MOST_ROWS).map(row).collect();
    list(
        "tools",
        "Tools and their failures",
        &["Tool", "", "Calls", "Failed", "Rate"],
        &rows,
        figures.tools.len(),
    )
}

/// `mcp__linear__create_issue` as `create_issue (linear)`.
fn tool_name(tool: &str) -> String {
    let parts = tool.strip_prefix("mcp__").and_then(|rest| rest.split_once("__"));
    parts.map_or_else(|| tool.to_owned(), |(server, tool)| format!("{tool} ({server})"))
}

fn cost_bar(group: &Group, first: Option<&Group>) -> String {
    let largest = first.and_then(|first| first.usage.cost).unwrap_or(0.0);
    let cost = group.usage.cost.unwrap_or(0.0);
    bar(&[(
        "m0",
        if largest > 0.0 {
            cost * 100.0 / largest
        } else {
            0.0
        },
    )])
}

fn cost(group: &Group) -> String {
    let star = if group.usage.unpriced > 0 { "*" } else { "" };
    group
        .usage
        .cost
        .map_or_else(|| format!("–{star}"), |cost| dollars(cost) + star)
}

pub(super) fn projects(figures: &Figures) -> String {
    let row = |group: &Group| {
        vec![
            name(figures.labels.of(&group.project_path), &group.project_path),
            cost_bar(group, figures.projects.first()),
            count(group.usage.sessions),
            compact(group.usage.tokens()),
            cost(group),
        ]
    };
    let rows: Vec<_> = figures.projects.iter().take(MOST_ROWS).map(row).collect();
    let header = ["Project", "", "Sessions", "Tokens", "Cost"];
    list("projects", "Top projects", &header, &rows, figures.projects.len())
}

pub(super) fn sessions(figures: &Figures, zone: &TimeZone) -> String {
    let row = |group: &Group| {
        let title = if group.title.is_empty() {
            group.id.chars().take(8).collect()
        } else {
            group.title.clone()
        };
        let day = group
            .usage
            .span
            .map_or_else(String::new, |(first, _)| local(first, zone, "%-d %b %Y"));
        let context = format!("{} · {day}", figures.labels.of(&group.project_path));
        vec![
            format!(
                "{}<span class=\"name under\">{}</span>",
                name(&title, &format!("{} {}", group.id, group.title)),
                escape(&context)
            ),
            cost_bar(group, figures.top_sessions.first()),
            compact(group.usage.tokens()),
            cost(group),
        ]
    };
    let rows: Vec<_> = figures
        .top_sessions
        .iter()
        .take(MOST_ROWS * 7 / 10)
        .map(row)
        .collect();
    list(
        "sessions",
        "Top sessions",
        &["Session", "", "Tokens", "Cost"],
        &rows,
        figures.top_sessions.len(),
    )
}

pub(super) fn files(figures: &Figures) -> String {
    let most = figures
        .files
        .iter()
        .map(|file| file.added + file.removed)
        .max()
        .unwrap_or(0);
    let rows: Vec<_> = figures
        .files
        .iter()
        .map(|file| {
            vec![
                name(within(&file.path, &file.project_path), &file.path),
                name(figures.labels.of(&file.project_path), &file.project_path),
                bar(&[("m0", share(file.added, most)), ("m2", share(file.removed, most))]),
                count(file.changes),
                signed("+", file.added),
                signed("−", file.removed),
            ]
        })
        .collect();
    let header = ["File", "Project", "", "Changes", "Added", "Removed"];
    list("files", "Most-changed files", &header, &rows, rows.len())
}

/// A file's path as seen from its project; whole where it lies elsewhere.
fn within<'p>(file: &'p str, project: &str) -> &'p str {
    let rest = Path::new(file).strip_prefix(project).ok().and_then(Path::to_str);
    rest.filter(|rest| !rest.is_empty()).unwrap_or(file)
}

/// Nothing has no sign.
fn signed(sign: &str, lines: u64) -> String {
    format!("{}{}", if lines == 0 { "" } else { sign }, count(lines))
}

/// How something is, as a sign that needs no colour.
fn state(is_bad: bool, is_odd: bool) -> &'static str {
    match (is_bad, is_odd) {
        (true, _) => "<b class=\"bad\">✕</b>",
        (false, true) => "<b class=\"odd\">▲</b>",
        (false, false) => "<b class=\"good\">✓</b>",
    }
}

pub(super) fn quality(figures: &Figures, notes: &Notes, zone: &TimeZone) -> String {
    let quality = &figures.quality;
    let unpriced: Vec<_> = figures.unpriced().map(|(model, _)| escape(model)).collect();
    let built = match quality.built_at {
        0 => "never".to_owned(),
        at => local(at, zone, "%-d %b %Y, %H:%M"),
    };
    let mut html = format!(
        "<section class=\"quality\">\n<h2>Data quality</h2>\n<ul>\n\
         <li>{}Tests <span>{} passed, {} warned, {} failed</span></li>\n\
         <li>{}Dead letters <span>{}</span></li>\n<li>{}Models without a price <span>{}</span></li>\n<li>{}Last build <span>{built}</span></li>\n</ul>\n",
        state(quality.failed > 0, quality.warned > 0),
        count(quality.passed),
        count(quality.warned),
        count(quality.failed),
        state(false, notes.dead_letters > 0),
        count(notes.dead_letters as u64),
        state(false, !unpriced.is_empty()),
        if unpriced.is_empty() {
            "none".to_owned()
        } else {
            unpriced.join(", ")
        },
        state(quality.built_at == 0, false),
    );
    for (name, verdict, failures) in &quality.findings {
        let _ = writeln!(
            html,
            "<p class=\"finding\">{}{} <span>{} rows</span></p>",
            state(verdict == "fail", true),
            escape(name),
            count(*failures)
        );
    }
    let list = match figures.price_list_date.as_str() {
        "" => "There is no price list.".to_owned(),
        day => format!(
            "Costs are an equivalent at API list prices of {}, not a bill.",
            escape(day)
        ),
    };
    let star = if unpriced.is_empty() {
        ""
    } else {
        " * without the responses that have no price."
    };
    let _ = writeln!(
        html,
        "<p class=\"rest\">{list}{star} Output tokens are a lower bound: Claude Code does not always log the last count.</p>\n</section>"
    );
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_servers_have_readable_names() {
        assert_eq!(
            tool_name("mcp__linear-server__create_issue"),
            "create_issue (linear-server)"
        );
        assert_eq!(tool_name("Bash"), "Bash");
    }

    #[test]
    fn files_are_named_within_their_projects() {
        let check = |file, project, expected| assert_eq!(within(file, project), expected);
        check("/a/shop/src/x.rs", "/a/shop", "src/x.rs");
        check("/a/shop/src/x.rs", "/a/shop/", "src/x.rs");
        check("/a/shop2/x.rs", "/a/shop", "/a/shop2/x.rs");
        check("/a/shop", "/a/shop", "/a/shop");
        check("/x.rs", "/", "x.rs");
        check("/x.rs", "", "/x.rs");
    }
}
