//! dbt's compile phase: a node's SQL, with ephemeral models put in as common table expressions.

use indexmap::IndexMap;
use minijinja::value::{Kwargs, Serde, Value};
use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Place, Result};
use crate::graph::config::Materialization;
use crate::graph::{Detail, GenericTest, Graph, Node, NodeKind};
use crate::jinja::scan;
use crate::jinja::session::{Frame, Phase, Session, relation_value};
use crate::jinja::values::{Relation, Target};

/// Starts rendering `node` for real; `incremental` is what `is_incremental()` says.
pub(crate) fn enter(session: &Session, node: &Node, incremental: bool) {
    let relation = node.relation.clone().unwrap_or_else(|| Relation {
        database: String::new(),
        schema: String::new(),
        identifier: node.name.clone(),
    });
    let this = match node.kind {
        NodeKind::Model(Materialization::Ephemeral) => {
            Value::from_object(Target::Cte(format!("__dbt__cte__{}", node.name)))
        }
        _ => relation_value(&relation),
    };
    session.enter(Frame {
        phase: Phase::Compile {
            targets: std::sync::Arc::clone(&node.targets),
            incremental,
        },
        package: node.package.clone(),
        file: node.place.file.clone(),
        this,
        model: node.model.clone(),
        config: node.config.clone(),
        ..Frame::default()
    });
}

/// The SQL of a model or test, complete: every ephemeral model it reads is in it.
pub(crate) fn sql(graph: &Graph, session: &Session, node: &Node, incremental: bool) -> Result<String> {
    let own = own_sql(session, node, incremental)?;
    let mut ctes = IndexMap::new();
    collect_ctes(graph, session, node, &mut ctes)?;
    Ok(inject(&own, &ctes))
}

fn own_sql(session: &Session, node: &Node, incremental: bool) -> Result<String> {
    enter(session, node, incremental);
    let rendered = match &node.detail {
        Detail::Generic(_, test) => test_sql(session, &node.place, test),
        Detail::Snapshot(_) => session.render_file(&scan::template(&node.place.file, &node.name)),
        _ => session.render_file(&node.place.file),
    };
    session.leave();
    let sql = rendered?.trim().to_owned();
    if sql.ends_with(';') {
        return Err(Error::at(
            ErrorKind::Jinja,
            &node.place,
            "this file's SQL ends with `;`; leave it out, since the query is put into another statement",
        ));
    }
    if sql.is_empty() {
        return Err(Error::at(
            ErrorKind::Jinja,
            &node.place,
            "this file renders to no SQL at all",
        ));
    }
    Ok(sql)
}

/// Rendered hooks that are not blank.
pub(crate) fn hooks(
    session: &Session,
    node: &Node,
    hooks: &[(String, Place)],
    incremental: bool,
) -> Result<Vec<String>> {
    enter(session, node, incremental);
    let rendered: Result<Vec<String>> = hooks
        .iter()
        .map(|(sql, place)| Ok(session.render(place, sql)?.trim().to_owned()))
        .collect();
    session.leave();
    Ok(rendered?.into_iter().filter(|sql| !sql.is_empty()).collect())
}

fn collect_ctes(
    graph: &Graph,
    session: &Session,
    node: &Node,
    ctes: &mut IndexMap<String, String>,
) -> Result<()> {
    for parent in node.depends_on.iter().filter_map(|id| graph.nodes.get(id)) {
        if parent.kind != NodeKind::Model(Materialization::Ephemeral) {
            continue;
        }
        let name = format!("__dbt__cte__{}", parent.name);
        if ctes.contains_key(&name) {
            continue;
        }
        collect_ctes(graph, session, parent, ctes)?;
        let sql = own_sql(session, parent, false)?;
        ctes.insert(name, sql);
    }
    Ok(())
}

/// Puts common table expressions in front of a query, joining its own `with` if it has one.
fn inject(sql: &str, ctes: &IndexMap<String, String>) -> String {
    if ctes.is_empty() {
        return sql.to_owned();
    }
    let list: Vec<String> = ctes
        .iter()
        .map(|(name, sql)| format!("{name} as (\n{sql}\n)"))
        .collect();
    let list = list.join(", ");
    let start = after_comments(sql);
    let (before, query) = sql.split_at(start);
    match keyword(query, "with") {
        None => format!("{before}with {list}\n{query}"),
        Some(rest) => {
            let rest_start = after_comments(rest);
            match keyword(&rest[rest_start..], "recursive") {
                Some(rest) => format!("{before}with recursive {list},{rest}"),
                None => format!("{before}with {list},{rest}"),
            }
        }
    }
}

/// What follows the keyword that `sql` starts with.
fn keyword<'a>(sql: &'a str, word: &str) -> Option<&'a str> {
    let start = sql.get(..word.len())?;
    let rest = &sql[word.len()..];
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (start.eq_ignore_ascii_case(word) && ends).then_some(rest)
}

/// The offset of the first thing that is neither blank nor a comment.
fn after_comments(sql: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &sql[at..];
        let blank = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        at += blank;
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else {
            return at;
        }
    }
}

/// The query of a generic test: its macro called with its arguments, in the frame that was entered.
pub(crate) fn test_sql(session: &Session, place: &Place, test: &GenericTest) -> Result<String> {
    let mut arguments = Vec::with_capacity(test.arguments.len());
    for (name, value) in &test.arguments {
        let value = match (name.as_str(), value) {
            ("column_name", Json::String(name)) => Value::from(name.clone()),
            (_, value) => argument(session, place, value)?,
        };
        arguments.push((name.clone(), value));
    }
    let kwargs = Kwargs::from_iter(arguments);
    Ok(session.call(&test.found, &[kwargs.into()], place)?.to_string())
}

/// Evaluates a test's arguments for what they refer to. dbt's own tests refer to nothing else.
pub(crate) fn test_arguments(session: &Session, place: &Place, test: &GenericTest) -> Result<()> {
    test.arguments
        .iter()
        .filter(|(name, _)| *name != "column_name")
        .try_for_each(|(_, value)| argument(session, place, value).map(drop))
}

/// The values of a test's arguments as templates see them, for what is fused.
pub(crate) fn test_argument(
    session: &Session,
    place: &Place,
    test: &GenericTest,
    name: &str,
) -> Result<Option<Value>> {
    match test.arguments.get(name) {
        None => Ok(None),
        Some(Json::String(column)) if name == "column_name" => Ok(Some(column.clone().into())),
        Some(value) => argument(session, place, value).map(Some),
    }
}

/// Texts that look like `ref(…)` are calls; those with braces are rendered; others are themselves.
fn argument(session: &Session, place: &Place, value: &Json) -> Result<Value> {
    Ok(match value {
        Json::String(text) if looks_like_call(text) => session.evaluate(place, text.trim())?,
        Json::String(text) => session.evaluate_text(place, text)?,
        Json::Array(items) => items
            .iter()
            .map(|item| argument(session, place, item))
            .collect::<Result<Vec<_>>>()?
            .into(),
        Json::Object(map) => {
            let items = map
                .iter()
                .map(|(key, item)| Ok((key.clone(), argument(session, place, item)?)));
            Value::from_pairs(items.collect::<Result<Vec<_>>>()?)
        }
        other => Value::from(Serde(other)),
    })
}

fn looks_like_call(text: &str) -> bool {
    let text = text.trim();
    text.ends_with(')')
        && ["env_var", "ref", "var", "source", "doc"].iter().any(|name| {
            text.strip_prefix(name)
                .is_some_and(|rest| rest.trim_start().starts_with('('))
        })
}
