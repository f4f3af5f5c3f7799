//! The page: one self-contained file, without network, server or script.
//!
//! [`figures`] asks, [`days`] and [`heat`] draw, [`lists`] holds the tables, [`markup`] escapes: titles, paths and names
//! are what users wrote. A policy in the head forbids the browser to load or run anything.

mod days;
mod figures;
mod heat;
mod lists;
mod markup;

use std::fmt::Write as _;

use cclake_warehouse::Warehouse;
use jiff::tz::TimeZone;

use self::figures::Figures;
use self::markup::{compact, day_text, escape};
use super::rows::percentage;
use super::sql::Scope;
use super::text::{dollars, local};
use crate::summary::count;

const STYLE: &str = include_str!("style.css");

/// What the page says that no table knows.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The projects that were asked for, as they were named.
    pub(crate) projects: Vec<String>,
    /// Input that could not become rows.
    pub(crate) dead_letters: usize,
    /// When the page is made, in milliseconds of the Unix epoch.
    pub(crate) now: i64,
}

/// Asks the warehouse and writes the page.
pub(crate) fn page(warehouse: &Warehouse, scope: &Scope, notes: &Notes) -> anyhow::Result<String> {
    let zone = &scope.rules;
    let figures = Figures::gather(warehouse, scope)?;
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Claude Code usage</title>\n",
    );
    let _ = write!(page, "<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n");
    page.push_str(&header(&figures, scope, notes, zone));
    if figures.is_empty() {
        page.push_str("<p class=\"nothing\">Nothing in this period.</p>\n");
    } else {
        page.push_str(&headline(&figures));
        page.push_str(&days::section(&figures));
        page.push_str("<div class=\"pair\">\n");
        page.push_str(&heat::section(&figures.heat));
        page.push_str(&lists::tools(&figures));
        page.push_str("</div>\n<div class=\"pair\">\n");
        page.push_str(&lists::projects(&figures));
        page.push_str(&lists::sessions(&figures, zone));
        page.push_str("</div>\n");
        page.push_str(&lists::files(&figures));
    }
    page.push_str(&lists::quality(&figures, notes, zone));
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn header(figures: &Figures, scope: &Scope, notes: &Notes, zone: &TimeZone) -> String {
    let span = match (scope.since.or(figures.first), scope.until.or(figures.last)) {
        (Some(first), Some(last)) => format!("{} – {}", day_text(first, true), day_text(last, true)),
        _ => "no days".to_owned(),
    };
    let projects = match notes.projects.as_slice() {
        [] => "all projects".to_owned(),
        names => names.join(", "),
    };
    format!(
        "<header>\n<h1>Claude Code usage</h1>\n<p>{span} <span>{}</span> <span>times in {}</span> <span>written {}</span></p>\n</header>\n",
        escape(&projects),
        escape(&scope.zone),
        local(notes.now, zone, "%-d %b %Y, %H:%M"),
    )
}

fn headline(figures: &Figures) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} %"));
    let total = &figures.total;
    let cost = total.cost.map_or_else(|| "–".to_owned(), dollars);
    let prices = match (figures.price_list_date.as_str(), figures.unpriced().count()) {
        ("", _) => "no price list".to_owned(),
        (day, 0) => format!("list prices of {day}"),
        (day, 1) => format!("prices of {day}, 1 model unpriced"),
        (day, models) => format!("prices of {day}, {models} models unpriced"),
    };
    let saved = figures.saved.filter(|saved| *saved > 0.0);
    let tiles = [
        ("API-price equivalent", cost, prices),
        (
            "Tokens",
            compact(total.tokens()),
            format!("{} of them output", compact(total.output)),
        ),
        (
            "Sessions",
            count(figures.sessions),
            format!("in {} projects", count(figures.projects.len() as u64)),
        ),
        (
            "Prompts",
            count(figures.prompts),
            per(figures.prompts, figures.sessions, "a session"),
        ),
        (
            "Responses",
            count(total.responses),
            per(total.responses, figures.prompts, "a prompt"),
        ),
        (
            "Cache hit rate",
            rate(figures.cache_hit_rate),
            saved.map_or_else(
                || "of input tokens".to_owned(),
                |saved| format!("saved {}", dollars(saved)),
            ),
        ),
        (
            "Tool failure rate",
            rate(figures.all_tools.failure_rate()),
            format!(
                "{} of {} answered",
                count(figures.all_tools.failed),
                count(figures.all_tools.answered)
            ),
        ),
        (
            "Active days",
            count(figures.active_days),
            format!("of {}", count(figures.span_days())),
        ),
    ];
    let mut html = String::from("<section class=\"tiles\" aria-label=\"Key figures\">\n");
    for (name, value, context) in tiles {
        let _ = writeln!(
            html,
            "<div><h2>{name}</h2><p class=\"value\">{}</p><p class=\"context\">{}</p></div>",
            escape(&value),
            escape(&context)
        );
    }
    html.push_str("</section>\n");
    html
}

fn per(part: u64, whole: u64, what: &str) -> String {
    percentage(part, whole).map_or_else(String::new, |percent| format!("{:.1} {what}", percent / 100.0))
}
