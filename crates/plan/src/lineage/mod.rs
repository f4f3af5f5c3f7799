//! Column-level lineage: which columns each column was made from, read off the compiled SQL by a parser.
//!
//! Only what flows into a value counts; what merely removes rows (`where`, `on`, `having`) does not. What is not
//! understood is unknown with a reason, never left out.

mod expression;
mod from;
mod function;
mod query;
mod scope;
mod snapshot;
mod trace;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use sqlparser::dialect::DuckDbDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::error::Result;
use crate::graph::config::snapshot::SnapshotConfig;
use crate::graph::{Detail, Graph, NodeKind};
use crate::project::{Project, seed};
use query::{Relations, Walk};
use scope::{Ctes, Table, same};
use value::Value;

pub use value::{ELEMENT, Field, Via};

/// How deep SQL may be nested: far more than people write, far less than a stack holds.
const DEEPEST: usize = 100;

/// One way a field comes into a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The field.
    pub field: Field,
    /// What happened to it on the way.
    pub via: Via,
}

/// A column and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnLineage {
    /// Its name.
    pub name: String,
    /// The columns of the relations its node reads; none for constants, and in sources and seeds.
    pub inputs: Vec<Origin>,
    /// The same followed up to sources and seeds.
    pub sources: Vec<Origin>,
    /// Why some of that cannot be told.
    pub unknown: Option<String>,
}

/// The columns of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLineage {
    /// In the order of its relation.
    pub columns: Vec<ColumnLineage>,
    /// Why this list may not be complete.
    pub unknown: Option<String>,
}

/// The lineage of every column of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    nodes: BTreeMap<String, NodeLineage>,
}

impl Lineage {
    /// Reads the lineage of all sources, seeds and models of `graph`. `known` gives the columns of nodes by id, as the
    /// database has them; without it, sources have the columns their schema file tells, and perhaps more.
    pub fn new(project: &Project, graph: &Graph, known: &BTreeMap<String, Vec<String>>) -> Result<Lineage> {
        let seeds: BTreeMap<&str, &str> = project
            .packages
            .iter()
            .flat_map(|package| &package.files)
            .map(|file| (file.path.as_str(), file.text.as_str()))
            .collect();
        let mut inputs = Vec::new();
        for node in graph.nodes().filter(|node| node.kind != NodeKind::Test) {
            let name = node.relation.as_ref().map(|relation| {
                [&relation.database, &relation.schema, &relation.identifier].map(Clone::clone)
            });
            let known = known.get(&node.id).cloned();
            let made = match (&node.detail, node.kind) {
                (Detail::Seed(config), _) => {
                    let text = seeds.get(node.place.file.as_str()).copied().unwrap_or_default();
                    let data = seed::parse(&node.place.file, text, config.delimiter, &config.column_types)?;
                    Made::Given(data.columns.into_iter().map(|(name, _)| name).collect())
                }
                (_, NodeKind::Source) => match known.clone() {
                    Some(columns) => Made::Given(columns),
                    None => Made::Described(node.columns.iter().map(|column| column.name.clone()).collect()),
                },
                _ => Made::By(graph.compiled(&node.id)?.unwrap_or_default()),
            };
            inputs.push(Input {
                id: node.id.clone(),
                name,
                made,
                known: known.unwrap_or_default(),
                snapshot: match &node.detail {
                    Detail::Snapshot(config) => Some(config.clone()),
                    _ => None,
                },
            });
        }
        Ok(of(&inputs))
    }

    /// The columns of a node; none for tests.
    pub fn node(&self, id: &str) -> Option<&NodeLineage> {
        self.nodes.get(id)
    }

    /// One column.
    pub fn column(&self, id: &str, name: &str) -> Option<&ColumnLineage> {
        self.node(id)?
            .columns
            .iter()
            .find(|column| same(&column.name, name))
    }

    /// Every node with its columns, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeLineage)> {
        self.nodes.iter().map(|(id, node)| (id.as_str(), node))
    }

    /// The columns made directly from this one, as (node id, column, how).
    pub fn users(&self, id: &str, name: &str) -> Vec<(&str, &str, Via)> {
        let reads = |origin: &Origin| {
            let column = origin.field.column.as_deref();
            origin.field.node == id && column.is_some_and(|column| same(column, name))
        };
        let mut users = Vec::new();
        for (node, lineage) in self.nodes() {
            for column in &lineage.columns {
                let nearest = column
                    .inputs
                    .iter()
                    .filter(|origin| reads(origin))
                    .map(|origin| origin.via)
                    .min();
                users.extend(nearest.map(|via| (node, column.name.as_str(), via)));
            }
        }
        users
    }

    /// What could not be told: (node id, column or nothing for the whole node, reason).
    pub fn unknowns(&self) -> Vec<(&str, Option<&str>, &str)> {
        let mut unknowns = Vec::new();
        for (node, lineage) in self.nodes() {
            unknowns.extend(lineage.unknown.as_deref().map(|reason| (node, None, reason)));
            for column in &lineage.columns {
                let reason = column.unknown.as_deref();
                unknowns.extend(reason.map(|reason| (node, Some(column.name.as_str()), reason)));
            }
        }
        unknowns
    }
}

/// How a node gets its columns.
enum Made {
    /// These, and no others.
    Given(Vec<String>),
    /// These at least.
    Described(Vec<String>),
    /// By a query.
    By(String),
}

struct Input {
    id: String,
    /// Database, schema, identifier; none for what is no relation.
    name: Option<[String; 3]>,
    made: Made,
    /// Columns the database has.
    known: Vec<String>,
    /// What a snapshot adds to the columns of its query.
    snapshot: Option<SnapshotConfig>,
}

/// A relation under its full name.
type FullyNamed = ([String; 3], Rc<Table>);

/// Relations by their identifiers in lower case.
#[derive(Default)]
struct Known(HashMap<String, Vec<FullyNamed>>);

impl Relations for Known {
    fn relation(&self, parts: &[String]) -> Option<Rc<Table>> {
        let named = self.0.get(&parts.last()?.to_lowercase())?;
        let found = named.iter().find(|(name, _)| {
            let mut pairs = name.iter().rev().zip(parts.iter().rev());
            pairs.all(|(name, part)| same(name, part))
        });
        found.map(|(_, table)| Rc::clone(table))
    }
}

/// The lineage of `inputs`, which stand in build order.
fn of(inputs: &[Input]) -> Lineage {
    let mut relations = Known::default();
    let mut made = Vec::new();
    for input in inputs {
        let table = match &input.made {
            Made::Given(_) | Made::Described(_) => None,
            Made::By(sql) => Some(derive(sql, &relations, input)),
        };
        if let Some(name) = &input.name {
            let offered = offered(input, table.as_ref());
            let same_name = relations.0.entry(name[2].to_lowercase()).or_default();
            same_name.push((name.clone(), Rc::new(offered)));
        }
        made.push((input, table));
    }
    trace::trace(&made)
}

/// What others see of a node: its columns as values of their own.
fn offered(input: &Input, table: Option<&Table>) -> Table {
    let field = |column: Option<&str>| {
        Value::of(value::Field {
            node: input.id.clone(),
            column: column.map(str::to_owned),
            path: Vec::new(),
        })
    };
    let column = |name: &String| (name.clone(), field(Some(name)));
    let (columns, more) = match (&input.made, table) {
        (Made::Given(columns), _) => (columns.iter().map(column).collect(), false),
        (Made::Described(columns), _) => (columns.iter().map(column).collect(), true),
        (Made::By(_), Some(table)) => {
            let columns = table.columns.iter().map(|(name, _)| column(name)).collect();
            (columns, table.unknown.is_some() || table.more_of.is_some())
        }
        (Made::By(_), None) => (Vec::new(), true),
    };
    Table {
        columns,
        more_of: more.then(|| input.id.clone()),
        rows: field(None),
        unknown: None,
    }
}

/// The columns a query gives.
fn derive(sql: &str, relations: &Known, input: &Input) -> Table {
    let mut table = match parse(sql) {
        Ok(query) => Walk { relations }.query(&query, &Ctes::new(), None),
        Err(error) => Table::unknown(format!("the parser does not read its SQL: {error}")),
    };
    if let Some(config) = &input.snapshot {
        let added = snapshot::added(&table, config);
        table.columns.extend(added);
    }
    // What the database has besides is listed, since it is there.
    for name in &input.known {
        if !table.has(name) {
            let reason = match (&table.unknown, &table.more_of) {
                (Some(reason), _) => reason.clone(),
                (None, Some(node)) => format!("it may come from `*` of {node}"),
                (None, None) => "the model's SQL does not give it".to_owned(),
            };
            table.columns.push((name.clone(), Value::unknown(reason)));
        }
    }
    table
}

fn parse(sql: &str) -> std::result::Result<Box<sqlparser::ast::Query>, sqlparser::parser::ParserError> {
    let dialect = DuckDbDialect {};
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(DEEPEST)
        .try_with_sql(sql)?;
    let query = parser.parse_query()?;
    match &parser.peek_token().token {
        Token::EOF => Ok(query),
        other => Err(sqlparser::parser::ParserError::ParserError(format!(
            "`{other}` is not expected after the query"
        ))),
    }
}

#[cfg(test)]
mod tests;
