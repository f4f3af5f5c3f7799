//! What names mean at one place of a query: tables with their columns, and the frames they are looked up in.

use std::collections::HashMap;
use std::rc::Rc;

use sqlparser::ast::{Ident, NamedWindowDefinition};

use super::value::{Field, Value};

/// Whether two names are one to SQL.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The columns of a relation, a common table expression or a subquery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<(String, Value)>,
    /// A node that has more columns than are known here, which are all columns of this table too.
    pub(super) more_of: Option<String>,
    /// What `count(*)` counts.
    pub(super) rows: Value,
    /// Why nothing is known about its columns.
    pub(super) unknown: Option<String>,
}

impl Table {
    pub(super) fn unknown(reason: impl Into<String>) -> Table {
        Table {
            unknown: Some(reason.into()),
            ..Table::default()
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.columns
            .iter()
            .find(|(column, _)| same(column, name))
            .map(|(_, value)| value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The column, if the table has it or may have it.
    pub(super) fn column(&self, name: &str) -> Option<Value> {
        self.get(name).cloned().or_else(|| self.undeclared(name))
    }

    fn undeclared(&self, name: &str) -> Option<Value> {
        if let Some(reason) = &self.unknown {
            return Some(Value::unknown(reason.clone()));
        }
        let node = self.more_of.clone()?;
        Some(Value::of(Field {
            node,
            column: Some(name.to_owned()),
            path: Vec::new(),
        }))
    }

    /// The names a `t(a, b)` after it gives its first columns.
    pub(super) fn renamed<'n>(mut self, names: impl IntoIterator<Item = &'n Ident>) -> Table {
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0.clone_from(&name.value);
        }
        self
    }
}

/// A table under the name a FROM clause gives it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// Its name last, what may stand before it first.
    pub(super) names: Vec<String>,
    pub(super) table: Rc<Table>,
    /// Columns that `*` leaves out, since a join named them in `using`.
    pub(super) hidden: Vec<String>,
}

impl Named {
    /// Whether `parts` is its name, with or without what stands before.
    fn is(&self, parts: &[Ident]) -> bool {
        parts.len() <= self.names.len()
            && self
                .names
                .iter()
                .rev()
                .zip(parts.iter().rev())
                .all(|(name, part)| same(name, &part.value))
    }
}

/// Common table expressions that are visible.
pub(super) type Ctes = HashMap<String, Rc<Table>>;

/// One level of names: the FROM clause of a select with its aliases, or the parameters of a lambda.
#[derive(Default)]
pub(super) struct Frame<'a> {
    pub(super) ctes: Option<&'a Ctes>,
    pub(super) outer: Option<&'a Frame<'a>>,
    pub(super) tables: Vec<Named>,
    /// Columns that `using` made one of two.
    pub(super) merged: Vec<(String, Value)>,
    /// Aliases of earlier select items; parameters.
    pub(super) names: Vec<(String, Value)>,
    pub(super) windows: &'a [NamedWindowDefinition],
}

impl<'a> Frame<'a> {
    /// A frame inside `outer` that only adds names.
    pub(super) fn inside(outer: &'a Frame<'a>, names: Vec<(String, Value)>) -> Frame<'a> {
        Frame {
            ctes: outer.ctes,
            outer: Some(outer),
            windows: outer.windows,
            names,
            ..Frame::default()
        }
    }

    /// The tables that `qualifier.*` means.
    pub(super) fn qualified(&self, parts: &[Ident]) -> Option<&Named> {
        self.tables.iter().find(|table| table.is(parts))
    }

    /// `a`, `t.a`, `s.t.a`, and steps into a struct after any of these.
    pub(super) fn resolve(&self, parts: &[Ident]) -> Value {
        let mut frame = Some(self);
        while let Some(here) = frame {
            if let Some(value) = here.resolve_here(parts) {
                return value;
            }
            frame = here.outer;
        }
        let name: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        Value::unknown(format!("no column `{}` is known here", name.join(".")))
    }

    fn resolve_here(&self, parts: &[Ident]) -> Option<Value> {
        for split in (1..parts.len()).rev() {
            let (qualifier, rest) = parts.split_at(split);
            let column = self
                .qualified(qualifier)
                .and_then(|named| named.table.column(&rest[0].value));
            if let Some(value) = column {
                return Some(members(value, &rest[1..]));
            }
        }
        let (first, rest) = parts.split_first()?;
        if let Some(value) = self.unqualified(&first.value) {
            return Some(members(value, rest));
        }
        // A table's name alone is its row as a struct.
        let row = self.qualified(std::slice::from_ref(first))?;
        Some(Value::all(row.table.columns.iter().map(|(_, value)| value.clone())).computed())
    }

    fn unqualified(&self, name: &str) -> Option<Value> {
        let named = |list: &[(String, Value)]| {
            let found = list.iter().rev().find(|(known, _)| same(known, name));
            found.map(|(_, value)| value.clone())
        };
        named(&self.merged)
            .or_else(|| {
                self.tables
                    .iter()
                    .find_map(|named| named.table.get(name).cloned())
            })
            .or_else(|| self.undeclared(name))
            .or_else(|| named(&self.names))
    }

    /// A column that only one table may have, since all others are known.
    fn undeclared(&self, name: &str) -> Option<Value> {
        let mut open = self
            .tables
            .iter()
            .filter_map(|named| named.table.undeclared(name));
        let first = open.next()?;
        if open.next().is_some() {
            return Some(Value::unknown(format!(
                "several relations with columns nobody described may have `{name}`; qualify it"
            )));
        }
        Some(first)
    }
}

fn members(value: Value, names: &[Ident]) -> Value {
    names.iter().fold(value, |value, name| value.member(&name.value))
}
