//! From direct inputs to sources: composes what each node makes of its parents, in build order.

use std::collections::HashMap;

use super::scope::Table;
use super::value::{ELEMENT, Field, Flow, Value, Via};
use super::{ColumnLineage, Input, Lineage, Made, NodeLineage, Origin};

/// What reaches each column (in lower case) of each node so far; no column means its rows.
#[derive(Default)]
struct Reached(HashMap<(String, Option<String>), Value>);

pub(super) fn trace(made: &[(&Input, Option<Table>)]) -> Lineage {
    let mut reached = Reached::default();
    let mut lineage = Lineage::default();
    for (input, table) in made {
        let node = match table {
            Some(table) => derived(input, table, &mut reached),
            None => NodeLineage {
                columns: given(input, made),
                unknown: None,
            },
        };
        lineage.nodes.insert(input.id.clone(), node);
    }
    lineage
}

/// The columns of a source or seed, with those that nobody described but a query reads.
fn given(input: &Input, made: &[(&Input, Option<Table>)]) -> Vec<ColumnLineage> {
    let (mut names, open) = match &input.made {
        Made::Given(names) => (names.clone(), false),
        Made::Described(names) => (names.clone(), true),
        Made::By(_) => return Vec::new(),
    };
    let values = made.iter().filter_map(|(_, table)| table.as_ref());
    let fields = values
        .flat_map(|table| &table.columns)
        .flat_map(|(_, value)| value.inputs.keys());
    for field in fields.filter(|field| open && field.node == input.id) {
        let read = field
            .column
            .iter()
            .find(|column| !names.iter().any(|name| name.eq_ignore_ascii_case(column)));
        names.extend(read.cloned());
    }
    let column = |name: String| ColumnLineage {
        name,
        inputs: Vec::new(),
        sources: Vec::new(),
        unknown: None,
    };
    names.into_iter().map(column).collect()
}

fn derived(input: &Input, table: &Table, reached: &mut Reached) -> NodeLineage {
    let unknown = table.unknown.clone().or_else(|| {
        let node = table.more_of.as_ref()?;
        Some(format!("it takes `*` of {node}, whose columns nobody described"))
    });
    let mut columns = Vec::new();
    for (name, value) in &table.columns {
        let sources = reached.sources(value);
        columns.push(ColumnLineage {
            name: name.clone(),
            inputs: origins(value),
            sources: origins(&sources),
            unknown: sources.unknown.clone(),
        });
        reached
            .0
            .insert((input.id.clone(), Some(name.to_lowercase())), sources);
    }
    let rows = reached.sources(&table.rows);
    reached.0.insert((input.id.clone(), None), rows);
    if let Some(reason) = &unknown {
        reached.0.insert(
            (input.id.clone(), Some(String::new())),
            Value::unknown(reason.clone()),
        );
    }
    NodeLineage { columns, unknown }
}

fn origins(value: &Value) -> Vec<Origin> {
    let origin = |(field, flow): (&Field, &Flow)| Origin {
        field: field.clone(),
        via: flow.via,
    };
    value.inputs.iter().map(origin).collect()
}

impl Reached {
    fn sources(&self, value: &Value) -> Value {
        let mut sources = Value {
            unknown: value.unknown.clone(),
            ..Value::default()
        };
        for (field, flow) in &value.inputs {
            sources = sources.beside(self.through(field, *flow));
        }
        sources
    }

    fn through(&self, field: &Field, flow: Flow) -> Value {
        let key = |column: Option<String>| (field.node.clone(), column);
        let column = field.column.as_ref().map(|column| column.to_lowercase());
        let Some(upstream) = self.0.get(&key(column)) else {
            let is_source = !self.0.contains_key(&key(None));
            return if is_source {
                let mut leaf = Value::default();
                leaf.add(field.clone(), flow);
                leaf
            } else {
                let reason = self.0.get(&key(Some(String::new())));
                reason.cloned().unwrap_or_else(|| {
                    Value::unknown(format!("{} has no column `{}`", field.node, field.path_text()))
                })
            };
        };
        let mut through = Value {
            unknown: upstream
                .unknown
                .as_ref()
                .map(|reason| match reason.strip_prefix("through ") {
                    Some(_) => reason.clone(),
                    None => format!("through {}.{}: {reason}", field.node, field.path_text()),
                }),
            ..Value::default()
        };
        for (source, before) in &upstream.inputs {
            let (source, flow) = compose(source, *before, field, flow);
            through.add(source, flow);
        }
        through
    }
}

/// `source` reached `field` as `before`, and `field` goes on as `after`.
fn compose(source: &Field, before: Flow, field: &Field, after: Flow) -> (Field, Flow) {
    let mut source = source.clone();
    let mut wrapped = before.wrapped;
    let mut via = before.via.max(after.via);
    if before.open && source.column.is_some() {
        for step in &field.path {
            if step == ELEMENT && wrapped > 0 {
                wrapped -= 1;
            } else {
                source.path.push(step.clone());
            }
        }
    } else if !field.path.is_empty() {
        via = via.max(Via::Computed);
    }
    let flow = Flow {
        via,
        open: before.open && after.open,
        wrapped: wrapped.saturating_add(after.wrapped),
    };
    (source, flow)
}
