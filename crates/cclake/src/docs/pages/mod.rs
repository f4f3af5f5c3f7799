//! The pages, one function each: facts in, a document out.

mod columns;
mod node;
mod tables;

use maud::{Markup, html};

use super::layout::{Frame, document};
use super::text::prose;
use super::{Docs, graphs};
use crate::summary::count;
use cclake_plan::{Check, Node, Severity};

pub(super) use columns::{column, lineage};
pub(super) use node::node;
pub(super) use tables::{dictionary, metrics, tests};

/// The start page: figures, the models' lineage, and what each layer holds.
pub(super) fn overview(docs: &Docs) -> String {
    let columns: usize = docs.nodes().map(|node| docs.columns(node).len()).sum();
    let count = |verdict: &str| {
        let results = docs
            .checks
            .iter()
            .filter_map(|check| docs.catalog.result(&check.id));
        results.filter(|result| result.verdict == verdict).count()
    };
    let models = docs
        .nodes()
        .filter(|node| matches!(node.kind.resource_type(), "model" | "snapshot"))
        .count();
    let body = html! {
        h1 { "Your conversations as a star schema" }
        p.lead { "What every table and column means, where it comes from, and which tests guard it." }
        div.facts {
            (figure(models, "models"))
            (figure(columns, "columns"))
            (figure(docs.checks.len(), "tests"))
            @if docs.catalog.built_at.is_some() {
                div { b { span.pass { (count("pass")) } " · " span.warn { (count("warn")) } " · " span.fail { (count("fail")) } } span { "passed · warned · failed" } }
            }
            @if let Some(at) = &docs.catalog.built_at {
                div { b { (at) } span { "last published build" } }
            }
        }
        h2 { "Model lineage" }
        div.legend {
            @for (class, name) in [("kind-source", "source"), ("kind-seed", "seed"), ("kind-staging", "staging"), ("kind-intermediate", "intermediate"), ("kind-marts", "gold")] {
                span { i.(class) {} (name) }
            }
        }
        (graphs::models(docs, ""))
        @for (title, nodes) in layers(docs) {
            h2 { (title) }
            div.wide { table.stack {
                thead { tr { th { "Table" } th { "What it is" } th.number { "Columns" } th.number { "Rows" } } }
                tbody { @for node in nodes {
                    tr {
                        td.name { (node_link(docs, node, "")) }
                        td { (prose(&node.description)) }
                        td.number data-label="columns" { (docs.columns(node).len()) }
                        td.number data-label="rows" { (row_count(docs, node)) }
                    }
                } }
            } }
        }
    };
    page(docs, "Overview", "", "index.html", &body)
}

/// The ER diagram.
pub(super) fn entities(docs: &Docs) -> String {
    let body = html! {
        h1 { "Tables and their keys" }
        p.lead { "Every line is a " code { "relationships" } " test of the project: the column at its right end refers to the one at its left. PK: a unique key. FK: refers to another table." }
        @match graphs::entities(docs, "") {
            Some(drawing) => (drawing),
            None => p { "No table of the gold schema has a relationships test." },
        }
    };
    page(docs, "ER diagram", "", "er.html", &body)
}

fn page(docs: &Docs, title: &str, root: &str, section: &str, body: &Markup) -> String {
    document(docs, &Frame { title, root, section }, body)
}

fn figure(number: usize, name: &str) -> Markup {
    html! { div { b { (count(number as u64)) } span { (name) } } }
}

/// Nodes by what they are for, gold first.
fn layers(docs: &Docs) -> Vec<(&'static str, Vec<&Node>)> {
    let kinds = [
        ("Gold", "kind-marts"),
        ("Intermediate", "kind-intermediate"),
        ("Staging", "kind-staging"),
        ("Seeds", "kind-seed"),
        ("Sources", "kind-source"),
    ];
    let nodes = |class| {
        let mut nodes: Vec<&Node> = docs.nodes().filter(|node| graphs::class(node) == class).collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        nodes
    };
    let layers = kinds.map(|(title, class)| (title, nodes(class)));
    layers
        .into_iter()
        .filter(|(_, nodes)| !nodes.is_empty())
        .collect()
}

fn node_link(docs: &Docs, node: &Node, root: &str) -> Markup {
    html! { a href=(format!("{root}{}", super::site::node_path(docs, &node.id))) { (node.name) } }
}

fn row_count(docs: &Docs, node: &Node) -> String {
    match docs.table(node) {
        None => String::new(),
        Some(table) => table.rows.map_or_else(|| "view".to_owned(), count),
    }
}

/// A test's short name with the colour of what it last found.
fn check_tag(docs: &Docs, check: &Check) -> Markup {
    let result = docs.catalog.result(&check.id);
    let class = result.map_or("", |result| verdict_class(&result.verdict));
    let title = match (&check.refers_to, check.arguments.is_empty()) {
        (Some((to, field)), _) => docs.graph.node(to).map(|node| format!("{}.{field}", node.name)),
        (None, false) => Some(check.arguments.join(", ")),
        (None, true) => None,
    };
    html! { span.tag.(class) title=[title] { (check.name) @if let Some((to, _)) = &check.refers_to { " → " (docs.graph.node(to).map_or("", |node| node.name.as_str())) } } }
}

fn verdict_class(verdict: &str) -> &'static str {
    match verdict {
        "pass" => "pass",
        "warn" => "warn",
        "fail" => "fail",
        _ => "",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Warn => "warn",
        Severity::Error => "error",
    }
}
