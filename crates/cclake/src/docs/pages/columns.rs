//! Columns: where each comes from and what is made from it.

use std::collections::BTreeMap;

use cclake_plan::Node;
use cclake_plan::lineage::{Field, Origin, Via};
use maud::{Markup, html};

use super::super::site::column_path;
use super::super::text::prose;
use super::super::{Docs, graphs};
use super::{check_tag, node_link, page};

/// One column: its way from source fields to gold.
pub(crate) fn column(docs: &Docs, node: &Node, name: &str) -> String {
    const ROOT: &str = "../";
    let columns = docs.columns(node);
    let facts = columns.iter().find(|column| column.name == name);
    let lineage = docs.lineage.column(&node.id, name);
    let (inputs, sources) = lineage.map_or((&[][..], &[][..]), |column| (&column.inputs, &column.sources));
    let users: Vec<(&str, &str, Via)> = docs.lineage.users(&node.id, name);
    let body = html! {
        h1 { (node_link(docs, node, ROOT)) "." wbr; (name) }
        @if let Some(facts) = facts {
            p {
                @if let Some(data_type) = facts.data_type { span.tag { (data_type) } }
                @for check in &facts.checks { (check_tag(docs, check)) }
            }
            p { (prose(facts.description)) }
        }
        @if let Some(reason) = lineage.and_then(|column| column.unknown.as_ref()) {
            p.note { "Not all of its lineage is known: " (reason) "." }
        }
        @if let Some(drawing) = graphs::column(docs, &node.id, name, ROOT) {
            h2 { "From source field to gold" }
            (legend())
            (drawing)
        }
        @if !sources.is_empty() {
            h2 { "Source fields" }
            (origins(docs, sources, ROOT))
        }
        @if !inputs.is_empty() && inputs != sources {
            h2 { "Made directly from" }
            (origins(docs, inputs, ROOT))
        }
        @if inputs.is_empty() && docs.graph.compiled(&node.id).ok().flatten().is_some() {
            p.dim { "It is made from no column: the SQL gives it a constant value." }
        }
        @let gold = gold(docs, &node.id, name);
        @if !gold.is_empty() {
            h2 { "Gold columns made from it" }
            div.wide { table.stack {
                thead { tr { th { "Field" } th { "Gold columns" } } }
                tbody { @for (field, columns) in gold {
                    tr {
                        td.field { (breakable(&field)) }
                        td { @for (index, (id, user, column)) in columns.iter().enumerate() {
                            @if index > 0 { ", " }
                            a.field href=(format!("{ROOT}{}", column_path(docs, id, column))) { (breakable(&format!("{user}.{column}"))) }
                        } }
                    }
                } }
            } }
        }
        @if !users.is_empty() {
            h2 { "Used by" }
            ul.plain { @for (id, column, via) in users {
                @if let Some(user) = docs.graph.node(id) {
                    li { a.field href=(format!("{ROOT}{}", column_path(docs, id, column))) { (user.name) "." (column) } " " span.via { (via) } }
                }
            } }
        }
    };
    page(
        docs,
        &format!("{}.{name}", node.name),
        ROOT,
        "lineage.html",
        &body,
    )
}

/// The fields of a source's column, each with the gold columns whose values come from it: node id, name, column.
fn gold<'d>(docs: &'d Docs, id: &str, name: &str) -> BTreeMap<String, Vec<(&'d str, &'d str, &'d str)>> {
    let mut gold: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for node in docs.nodes().filter(|node| graphs::schema(node) == "marts") {
        for column in docs
            .lineage
            .node(&node.id)
            .into_iter()
            .flat_map(|lineage| &lineage.columns)
        {
            for origin in column.sources.iter().filter(|origin| origin.via != Via::Decides) {
                if origin.field.node == id && origin.field.column.as_deref() == Some(name) {
                    let users = gold.entry(origin.field.path_text()).or_default();
                    users.push((node.id.as_str(), node.name.as_str(), column.name.as_str()));
                }
            }
        }
    }
    gold
}

/// Every gold column with the source fields its values come from.
pub(crate) fn lineage(docs: &Docs) -> String {
    let unknowns = docs.lineage.unknowns();
    let nodes: Vec<&Node> = docs
        .nodes()
        .filter(|node| graphs::schema(node) == "marts")
        .collect();
    let body = html! {
        h1 { "From source field to gold column" }
        p.lead { "Read off the models' SQL by a parser. A column's page draws its whole way. What only removes rows does not count; conditions that choose between values stand on the column's page." }
        @if unknowns.is_empty() {
            p { "Every column of every model is resolved." }
        } @else {
            h2 { "Not known" }
            ul.plain { @for (node, column, reason) in unknowns { li { code { (node) @if let Some(column) = column { "." (column) } } " " (reason) } } }
        }
        (search("gold", "Filter by table, column or source field"))
        div.wide { table.stack #gold {
            thead { tr { th { "Gold column" } th { "Source fields" } th { "How" } } }
            tbody { @for node in nodes { @for column in docs.lineage.node(&node.id).iter().flat_map(|lineage| &lineage.columns) {
                @let values: Vec<&Origin> = column.sources.iter().filter(|origin| origin.via != Via::Decides).collect();
                tr {
                    td.name { a href=(column_path(docs, &node.id, &column.name)) { (node.name) "." (column.name) } }
                    td {
                        @if values.is_empty() { span.dim { @if column.sources.is_empty() { "a constant" } @else { "constants, chosen by conditions" } } }
                        ul { @for origin in &values { li { (field(docs, &origin.field, "")) } } }
                    }
                    td data-label="how" { @if let Some(via) = values.iter().map(|origin| origin.via).max() { span.via { (via) } } }
                }
            } } }
        } }
    };
    page(docs, "Lineage", "", "lineage.html", &body)
}

/// A box that filters the rows of a table; shown where scripts run.
pub(super) fn search(table: &str, hint: &str) -> Markup {
    html! {
        div.search hidden {
            input type="search" data-filters=(table) placeholder=(hint) aria-label=(hint);
            span.dim id=(format!("{table}-count")) {}
        }
    }
}

pub(super) fn legend() -> Markup {
    html! {
        div.legend {
            span { (line("strong")) "copied, or a part of its JSON" }
            span { (line("computed")) "computed from it" }
        }
    }
}

fn line(class: &str) -> Markup {
    html! { svg width="28" height="8" aria-hidden="true" { path class=(format!("edge {class}")) d="M0,4H24" {} } }
}

/// A field with what happened to it.
pub(super) fn origin(docs: &Docs, origin: &Origin, root: &str) -> Markup {
    html! { (field(docs, &origin.field, root)) " " span.via { (origin.via) } }
}

fn field(docs: &Docs, field: &Field, root: &str) -> Markup {
    let node = docs.graph.node(&field.node);
    let name = node.map_or(field.node.as_str(), |node| node.name.as_str());
    let text = match field.column {
        Some(_) => format!("{name}.{}", field.path_text()),
        None => format!("rows of {name}"),
    };
    let known = node
        .zip(field.column.as_ref())
        .filter(|(node, column)| docs.lineage.column(&node.id, column).is_some());
    html! {
        @match known {
            Some((node, column)) => a.field href=(format!("{root}{}", column_path(docs, &node.id, column))) { (breakable(&text)) },
            None => span.field { (breakable(&text)) },
        }
    }
}

/// A name that lines break between its words.
fn breakable(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split_inclusive(['.', '_']).enumerate() {
            @if index > 0 { wbr; }
            (part)
        }
    }
}

fn origins(docs: &Docs, origins: &[Origin], root: &str) -> Markup {
    let (deciding, values): (Vec<&Origin>, Vec<&Origin>) =
        origins.iter().partition(|origin| origin.via == Via::Decides);
    html! {
        ul.plain { @for value in values { li { (origin(docs, value, root)) } } }
        @if !deciding.is_empty() {
            details {
                summary { (deciding.len()) " more decide which value it is" }
                ul.plain { @for one in deciding { li { (field(docs, &one.field, root)) } } }
            }
        }
    }
}
