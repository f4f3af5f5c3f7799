//! Long tables: the data dictionary, the metrics, the tests.

use cclake_plan::{Check, Node};
use maud::{Markup, html};
use rust_embed::RustEmbed;

use super::super::Docs;
use super::super::site::column_path;
use super::super::text::{markdown, prose};
use super::columns::search;
use super::{check_tag, layers, node_link, page, severity, verdict_class};

/// The guides of this repository, as they were when the binary was built.
#[derive(RustEmbed)]
#[folder = "../../docs/"]
struct Guides;

/// Every column of every table.
pub(crate) fn dictionary(docs: &Docs) -> String {
    let body = html! {
        h1 { "Data dictionary" }
        p.lead { "Every column of every table." }
        (search("dictionary", "Filter by name, type or meaning"))
        div.wide { table.stack #dictionary {
            thead { tr { th { "Table" } th { "Column" } th { "Type" } th { "Meaning" } th { "Tests" } } }
            tbody { @for (_, nodes) in layers(docs) { @for node in nodes { @for column in docs.columns(node) {
                tr {
                    td.name { (node_link(docs, node, "")) }
                    td.name { a href=(column_path(docs, &node.id, &column.name)) { (column.name) } }
                    td.type { (column.data_type.unwrap_or_default()) }
                    td { (prose(column.description)) }
                    td { @for check in &column.checks { (check_tag(docs, check)) } }
                }
            } } } }
        } }
    };
    page(docs, "Data dictionary", "", "dictionary.html", &body)
}

/// The metrics: how each is defined, and the columns that hold them.
pub(crate) fn metrics(docs: &Docs) -> String {
    let guide = Guides::get("metrics.md").and_then(|file| String::from_utf8(file.data.into_owned()).ok());
    let nodes: Vec<&Node> = docs
        .nodes()
        .filter(|node| node.place.file.contains("/metrics/") || node.name.starts_with("agg_"))
        .collect();
    let body = html! {
        @match &guide {
            Some(text) => (markdown(text)),
            None => h1 { "Metrics" },
        }
        h2 { "Columns that hold metrics" }
        @for node in nodes {
            h3 { (node_link(docs, node, "")) }
            p { (prose(&node.description)) }
            (described(docs, node))
        }
    };
    page(docs, "Metrics", "", "metrics.html", &body)
}

fn described(docs: &Docs, node: &Node) -> Markup {
    html! {
        div.wide { table.stack {
            thead { tr { th { "Column" } th { "Type" } th { "Meaning" } } }
            tbody { @for column in docs.columns(node) {
                tr {
                    td.name { a href=(column_path(docs, &node.id, &column.name)) { (column.name) } }
                    td.type { (column.data_type.unwrap_or_default()) }
                    td { (prose(column.description)) }
                }
            } }
        } }
    }
}

/// Every test with what it last found; what failed comes first.
pub(crate) fn tests(docs: &Docs) -> String {
    let rank = |check: &&Check| match docs
        .catalog
        .result(&check.id)
        .map(|result| result.verdict.as_str())
    {
        Some("fail") => 0,
        Some("warn") => 1,
        None => 2,
        Some(_) => 3,
    };
    let mut checks: Vec<&Check> = docs.checks.iter().collect();
    checks.sort_by(|one, other| {
        (rank(one), &one.node, &one.column).cmp(&(rank(other), &other.node, &other.column))
    });
    let body = html! {
        h1 { "Tests" }
        p.lead { "An error keeps a build from being published; a warning is reported. Results are those of the last published build." }
        (search("tests", "Filter by table, column or test"))
        div.wide { table.stack #tests {
            thead { tr { th { "Result" } th { "Table" } th { "Column" } th { "Test" } th { "Means" } th { "If not" } } }
            tbody { @for check in checks {
                @let node = check.node.as_ref().and_then(|id| docs.graph.node(id));
                tr {
                    td { (result(docs, check)) }
                    td.name { @if let Some(node) = node { (node_link(docs, node, "")) } }
                    td.name { @if let (Some(node), Some(column)) = (node, &check.column) { a href=(column_path(docs, &node.id, column)) { (column) } } }
                    td { @if node.is_some() { (check_tag(docs, check)) } @else { code { (check.name) } } }
                    td { (means(docs, check)) }
                    td data-label="if not" { span.dim { (severity(check.severity)) } }
                }
            } }
        } }
    };
    page(docs, "Tests", "", "tests.html", &body)
}

fn result(docs: &Docs, check: &Check) -> Markup {
    html! {
        @match docs.catalog.result(&check.id) {
            Some(result) => span.result.(verdict_class(&result.verdict)) { (result.verdict) @if result.failures != "0" { " (" (result.failures) ")" } },
            None => span.dim { "not run" },
        }
    }
}

/// A test in words: its own description, or what its kind says.
fn means(docs: &Docs, check: &Check) -> Markup {
    let described = docs
        .graph
        .node(&check.id)
        .map_or("", |node| node.description.as_str());
    if !described.is_empty() {
        return prose(described);
    }
    let target = |(id, field): &(String, String)| {
        let name = docs.graph.node(id).map_or(id.as_str(), |node| node.name.as_str());
        format!("every value is in {name}.{field}")
    };
    let arguments = check.arguments.join(", ");
    let words = match (check.name.as_str(), &check.refers_to) {
        (_, Some(refers_to)) => target(refers_to),
        ("unique", _) => "no value twice".to_owned(),
        ("not_null", _) => "never empty".to_owned(),
        ("accepted_values", _) => arguments.replacen("values: ", "one of: ", 1),
        _ if check.node.is_none() => {
            comment(docs, check).unwrap_or_else(|| "its query finds no rows".to_owned())
        }
        _ => arguments,
    };
    prose(&words)
}

/// The comment a singular test begins with.
fn comment(docs: &Docs, check: &Check) -> Option<String> {
    let file = docs.files.get(&docs.graph.node(&check.id)?.place.file)?;
    let lines = file
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("--"));
    let lines = lines.map_while(|line| line.trim_start().strip_prefix("--"));
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}
