//! FROM clauses: relations, joins, subqueries and table functions.

use std::rc::Rc;

use sqlparser::ast::{
    FunctionArg, FunctionArgExpr, Ident, JoinConstraint, JoinOperator, TableFactor, TableWithJoins,
};

use super::expression::expression;
use super::query::{Walk, aliased, idents};
use super::scope::{Ctes, Frame, Named, Table};
use super::value::Value;

impl Walk<'_> {
    pub(super) fn from(&self, item: &TableWithJoins, frame: &mut Frame<'_>) {
        let named = self.factor(&item.relation, frame);
        frame.tables.extend(named);
        for join in &item.joins {
            let right = self.factor(&join.relation, frame);
            let (constraint, keeps_left, keeps_right) = match &join.join_operator {
                // Their right side only takes rows away.
                JoinOperator::Semi(_)
                | JoinOperator::LeftSemi(_)
                | JoinOperator::Anti(_)
                | JoinOperator::LeftAnti(_) => continue,
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Some(on), false, true),
                JoinOperator::FullOuter(on) => (Some(on), true, true),
                JoinOperator::Join(on)
                | JoinOperator::Inner(on)
                | JoinOperator::Left(on)
                | JoinOperator::LeftOuter(on)
                | JoinOperator::CrossJoin(on)
                | JoinOperator::AsOf { constraint: on, .. } => (Some(on), true, false),
                _ => (None, true, false),
            };
            let Some(constraint) = constraint else {
                let reason = "this kind of join is not followed";
                frame.tables.push(Named {
                    names: Vec::new(),
                    table: Rc::new(Table::unknown(reason)),
                    hidden: Vec::new(),
                });
                continue;
            };
            let mut right = right;
            for column in shared(constraint, frame, &right) {
                merge(&column, keeps_left, keeps_right, frame, &mut right);
            }
            frame.tables.extend(right);
        }
    }

    fn factor(&self, factor: &TableFactor, frame: &Frame<'_>) -> Vec<Named> {
        let (names, table, alias) = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let parts: Vec<String> = idents(name).into_iter().map(|part| part.value).collect();
                let none = Ctes::new();
                (
                    parts.clone(),
                    self.table(&parts, frame.ctes.unwrap_or(&none)),
                    alias,
                )
            }
            TableFactor::Table {
                name,
                alias,
                args: Some(args),
                ..
            } => {
                let table = self.function(&name.to_string(), &args.args, frame);
                (vec![name.to_string()], Rc::new(table), alias)
            }
            TableFactor::Function {
                name, args, alias, ..
            } => {
                let table = self.function(&name.to_string(), args, frame);
                (vec![name.to_string()], Rc::new(table), alias)
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_ordinality,
                ..
            } => {
                let elements = array_exprs
                    .iter()
                    .map(|list| expression(self, list, frame).element());
                let mut columns: Vec<_> = elements.map(|value| ("unnest".to_owned(), value)).collect();
                if *with_ordinality {
                    let position = Value::all(columns.iter().map(|(_, value)| value.clone())).computed();
                    columns.push(("ordinality".to_owned(), position));
                }
                let table = Table {
                    columns,
                    ..Table::default()
                };
                (vec!["unnest".to_owned()], Rc::new(table), alias)
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let none = Ctes::new();
                let table = self.query(subquery, frame.ctes.unwrap_or(&none), Some(frame));
                (Vec::new(), Rc::new(table), alias)
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => {
                let mut inner = Frame {
                    ctes: frame.ctes,
                    outer: Some(frame),
                    ..Frame::default()
                };
                self.from(table_with_joins, &mut inner);
                return inner.tables;
            }
            other => {
                let words: Vec<String> = other
                    .to_string()
                    .split_whitespace()
                    .take(6)
                    .map(str::to_owned)
                    .collect();
                let table = Table::unknown(format!("`{} …` is not followed", words.join(" ")));
                (Vec::new(), Rc::new(table), &None)
            }
        };
        let (names, table) = match alias {
            None => (names, table),
            Some(alias) => (
                vec![alias.name.value.clone()],
                Rc::new(aliased(table.as_ref().clone(), Some(alias))),
            ),
        };
        vec![Named {
            names,
            table,
            hidden: Vec::new(),
        }]
    }

    /// A common table expression, else a relation of the project.
    pub(super) fn table(&self, parts: &[String], ctes: &Ctes) -> Rc<Table> {
        let cte = match parts {
            [name] => ctes.get(&name.to_lowercase()),
            _ => None,
        };
        cte.cloned()
            .or_else(|| self.relations.relation(parts))
            .unwrap_or_else(|| {
                let name = parts.join(".");
                Rc::new(Table::unknown(format!(
                    "no relation `{name}` is known to the project"
                )))
            })
    }

    /// A table function: one column, made from its arguments.
    fn function(&self, name: &str, args: &[FunctionArg], frame: &Frame<'_>) -> Table {
        let values = args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named {
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => expression(self, expr, frame),
            _ => Value::unknown(format!("an argument of `{name}` is not followed")),
        });
        let value = Value::all(values);
        let value = match name.to_lowercase().as_str() {
            "unnest" => value.element(),
            "range" | "generate_series" => value.computed(),
            _ => {
                return Table::unknown(format!(
                    "the columns of the table function `{name}` are not known"
                ));
            }
        };
        Table {
            columns: vec![(name.to_lowercase(), value)],
            ..Table::default()
        }
    }
}

/// The columns two sides of a join share: named by `using`, or all of equal name.
fn shared(constraint: &JoinConstraint, frame: &Frame<'_>, right: &[Named]) -> Vec<String> {
    match constraint {
        JoinConstraint::Using(names) | JoinConstraint::UsingAlias(names, _) => names
            .iter()
            .filter_map(|name| idents(name).pop().map(|ident| ident.value))
            .collect(),
        JoinConstraint::Natural => {
            let names = right.iter().flat_map(|named| &named.table.columns);
            names
                .map(|(name, _)| name.clone())
                .filter(|name| frame.tables.iter().any(|named| named.table.has(name)))
                .collect()
        }
        JoinConstraint::On(_) | JoinConstraint::None => Vec::new(),
    }
}

/// Makes one column of the two that a join equates.
fn merge(name: &str, keeps_left: bool, keeps_right: bool, frame: &mut Frame<'_>, right: &mut [Named]) {
    let left = frame.resolve(&[Ident::new(name)]);
    let other = right.iter().find_map(|named| named.table.column(name));
    let value = match (keeps_left, keeps_right, other) {
        (true, true, Some(other)) => left.beside(other).chosen(),
        (false, true, Some(other)) => other,
        _ => left,
    };
    frame.merged.push((name.to_owned(), value));
    for named in right {
        named.hidden.push(name.to_owned());
    }
}
