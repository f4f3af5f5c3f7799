//! A model, seed or source.

use cclake_plan::lineage::{Origin, Via};
use cclake_plan::{Node, NodeKind};
use maud::{Markup, html};

use super::super::site::column_path;
use super::super::text::prose;
use super::super::{Docs, graphs};
use super::{check_tag, node_link, page, row_count};

const ROOT: &str = "../";

pub(crate) fn node(docs: &Docs, node: &Node) -> String {
    let compiled = docs.graph.compiled(&node.id).ok().flatten();
    let is_sql = compiled.is_some();
    let source = docs.files.get(&node.place.file).filter(|_| is_sql);
    let children: Vec<&Node> = docs
        .nodes()
        .filter(|child| child.depends_on.contains(&node.id))
        .collect();
    let parents: Vec<&Node> = node
        .depends_on
        .iter()
        .filter_map(|id| docs.graph.node(id))
        .collect();
    let whole = docs.checks_of(&node.id, None);
    let singular = docs
        .checks
        .iter()
        .filter(|check| check.node.is_none() && node.tests.contains(&check.id));
    let body = html! {
        h1 { (node.name) }
        p {
            span.tag { (kind(node)) }
            @if let Some(relation) = &node.relation { span.tag { (relation.schema) "." (relation.identifier) } }
            @if !row_count(docs, node).is_empty() && row_count(docs, node) != "view" { span.tag { (row_count(docs, node)) " rows" } }
            @for tag in &node.tags { span.tag { "tag: " (tag) } }
        }
        p { (prose(&node.description)) }
        @if !parents.is_empty() {
            p { span.dim { "Reads " } (links(docs, &parents)) }
        }
        @if !children.is_empty() {
            p { span.dim { "Read by " } (links(docs, &children)) }
        }
        @if let Some(reason) = docs.lineage.node(&node.id).and_then(|lineage| lineage.unknown.as_ref()) {
            p.note { "The lineage of this table is not known whole: " (reason) "." }
        }
        h2 { "Columns" }
        div.wide { table.stack {
            thead { tr { th { "Column" } th { "Type" } th { "Meaning" } th { "Made from" } th { "Tests" } } }
            tbody { @for column in docs.columns(node) {
                tr id=(column.name) {
                    td.name { a href=(format!("{ROOT}{}", column_path(docs, &node.id, &column.name))) { (column.name) } }
                    td.type { (column.data_type.unwrap_or_default()) }
                    td { (prose(column.description)) }
                    td { (inputs(docs, node, &column.name)) }
                    td { @for check in &column.checks { (check_tag(docs, check)) } }
                }
            } }
        } }
        @if let Some(drawing) = graphs::parents(docs, node, ROOT) {
            h2 { "Column lineage from its parents" }
            (super::columns::legend())
            (drawing)
        }
        @if !whole.is_empty() || singular.clone().next().is_some() {
            h2 { "Tests of the whole table" }
            p { @for check in whole.into_iter().chain(singular) { (check_tag(docs, check)) } }
        }
        @if let Some(text) = source {
            h2 { "SQL" }
            p.dim { (node.place.file) }
            details { summary { "as written" } pre { code { (text) } } }
            @if let Some(compiled) = &compiled {
                details { summary { "compiled, for a full build" } pre { code { (compiled) } } }
            }
        }
    };
    page(docs, &node.name, ROOT, "", &body)
}

fn kind(node: &Node) -> String {
    match node.kind {
        NodeKind::Model(materialization) => format!("model, {}", materialization.as_str()),
        other => other.resource_type().to_owned(),
    }
}

fn links(docs: &Docs, nodes: &[&Node]) -> Markup {
    html! {
        @for (index, node) in nodes.iter().enumerate() {
            @if index > 0 { ", " }
            (node_link(docs, node, ROOT))
        }
    }
}

/// The values a column is directly made from.
fn inputs(docs: &Docs, node: &Node, name: &str) -> Markup {
    let Some(column) = docs.lineage.column(&node.id, name) else {
        return html! {};
    };
    if let Some(reason) = &column.unknown {
        return html! { span.dim { "unknown: " (reason) } };
    }
    let inputs: Vec<&Origin> = column
        .inputs
        .iter()
        .filter(|origin| origin.via != Via::Decides)
        .collect();
    html! {
        @if inputs.is_empty() && !matches!(node.kind, NodeKind::Source | NodeKind::Seed) {
            span.dim { "a constant" @if !column.inputs.is_empty() { ", chosen by conditions" } }
        }
        ul {
            @for origin in inputs.iter().take(MOST) { li { (super::columns::origin(docs, origin, ROOT)) } }
            @if inputs.len() > MOST { li.dim { "and " (inputs.len() - MOST) " more" } }
        }
    }
}

/// Inputs named in the table; the column's own page has them all.
const MOST: usize = 4;
