//! Queries: common table expressions, set operations, FROM clauses and select lists.

use std::rc::Rc;

use sqlparser::ast::{
    AccessExpr, Cte, ExcludeSelectItem, Expr, Ident, ObjectName, Query, RenameSelectItem, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TableAlias, Values,
    WildcardAdditionalOptions, With,
};

use super::expression::expression;
use super::scope::{Ctes, Frame, Named, Table, same};
use super::value::Value;

/// More rounds than any recursion needs until its columns stay the same: one per column it passes on.
const MOST_ROUNDS: usize = 50;

/// Finds the table behind a relation's name.
pub(super) trait Relations {
    fn relation(&self, parts: &[String]) -> Option<Rc<Table>>;
}

/// One walk over a query.
pub(super) struct Walk<'r> {
    pub(super) relations: &'r dyn Relations,
}

impl Walk<'_> {
    pub(super) fn query(&self, query: &Query, ctes: &Ctes, outer: Option<&Frame<'_>>) -> Table {
        if !query.pipe_operators.is_empty() {
            return Table::unknown("pipe operators are not followed");
        }
        match &query.with {
            None => self.body(&query.body, ctes, outer),
            Some(with) => {
                let ctes = self.with(with, ctes, outer);
                self.body(&query.body, &ctes, outer)
            }
        }
    }

    fn with(&self, with: &With, outer_ctes: &Ctes, outer: Option<&Frame<'_>>) -> Ctes {
        let mut ctes = outer_ctes.clone();
        for cte in &with.cte_tables {
            let table = if with.recursive {
                self.recursive(cte, &ctes, outer)
            } else {
                aliased(self.query(&cte.query, &ctes, outer), Some(&cte.alias))
            };
            ctes.insert(cte.alias.name.value.to_lowercase(), Rc::new(table));
        }
        ctes
    }

    /// What the anchor gives goes through the step until nothing new comes out.
    fn recursive(&self, cte: &Cte, ctes: &Ctes, outer: Option<&Frame<'_>>) -> Table {
        let SetExpr::SetOperation { left, .. } = &*cte.query.body else {
            return aliased(self.query(&cte.query, ctes, outer), Some(&cte.alias));
        };
        let name = cte.alias.name.value.to_lowercase();
        let mut ctes = match &cte.query.with {
            Some(with) => self.with(with, ctes, outer),
            None => ctes.clone(),
        };
        let mut table = aliased(self.body(left, &ctes, outer), Some(&cte.alias));
        for _ in 0..MOST_ROUNDS {
            ctes.insert(name.clone(), Rc::new(table.clone()));
            let next = aliased(self.body(&cte.query.body, &ctes, outer), Some(&cte.alias));
            if next == table {
                return table;
            }
            table = next;
        }
        Table::unknown(format!("the recursion of `{name}` does not come to an end"))
    }

    fn body(&self, body: &SetExpr, ctes: &Ctes, outer: Option<&Frame<'_>>) -> Table {
        match body {
            SetExpr::Select(select) => self.select(select, ctes, outer),
            SetExpr::Query(query) => self.query(query, ctes, outer),
            SetExpr::Values(values) => self.values(values, ctes, outer),
            SetExpr::Table(table) => {
                let parts = [table.schema_name.clone(), table.table_name.clone()];
                let parts: Vec<String> = parts.into_iter().flatten().map(|part| part.value).collect();
                self.table(&parts, ctes).as_ref().clone()
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let left = self.body(left, ctes, outer);
                match op {
                    SetOperator::Union => union(left, self.body(right, ctes, outer), *set_quantifier),
                    // What stands on the right only takes rows away.
                    SetOperator::Except | SetOperator::Minus | SetOperator::Intersect => left,
                }
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Table::unknown("only queries are followed")
            }
        }
    }

    fn values(&self, values: &Values, ctes: &Ctes, outer: Option<&Frame<'_>>) -> Table {
        let frame = Frame {
            ctes: Some(ctes),
            outer,
            ..Frame::default()
        };
        let mut columns: Vec<(String, Value)> = Vec::new();
        for row in &values.rows {
            for (index, cell) in row.content.iter().enumerate() {
                let value = expression(self, cell, &frame);
                match columns.get_mut(index) {
                    Some((_, column)) => *column = std::mem::take(column).beside(value),
                    None => columns.push((format!("col{index}"), value)),
                }
            }
        }
        Table {
            columns,
            ..Table::default()
        }
    }

    fn select(&self, select: &Select, ctes: &Ctes, outer: Option<&Frame<'_>>) -> Table {
        let mut frame = Frame {
            ctes: Some(ctes),
            outer,
            windows: &select.named_window,
            ..Frame::default()
        };
        if !select.lateral_views.is_empty() {
            return Table::unknown("`lateral view` is not followed");
        }
        for item in &select.from {
            self.from(item, &mut frame);
        }
        let mut table = Table {
            rows: Value::all(frame.tables.iter().map(|named| named.table.rows.clone())),
            ..Table::default()
        };
        for item in &select.projection {
            self.select_item(item, &mut frame, &mut table);
        }
        // `from t` alone means all its columns.
        if select.projection.is_empty() {
            expand(&frame, None, &mut table);
        }
        table
    }

    fn select_item(&self, item: &SelectItem, frame: &mut Frame<'_>, table: &mut Table) {
        let (name, value) = match item {
            SelectItem::Wildcard(options) => return self.wildcard(None, options, frame, table),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                return self.wildcard(Some(&idents(name)), options, frame, table);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                table.unknown = Some(format!("`{expr}.*` is not followed"));
                return;
            }
            SelectItem::ExprWithAliases { expr, .. } => {
                table.unknown = Some(format!("several aliases of `{expr}` are not followed"));
                return;
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let value = expression(self, expr, frame);
                frame.names.push((alias.value.clone(), value.clone()));
                (alias.value.clone(), value)
            }
            SelectItem::UnnamedExpr(expr) if is_columns(expr) => {
                table.unknown = Some(format!(
                    "`{expr}` chooses columns by their names, which is not followed"
                ));
                return;
            }
            SelectItem::UnnamedExpr(expr) => (implied_name(expr), expression(self, expr, frame)),
        };
        table.columns.push((name, value));
    }

    fn wildcard(
        &self,
        qualifier: Option<&[Ident]>,
        options: &WildcardAdditionalOptions,
        frame: &Frame<'_>,
        table: &mut Table,
    ) {
        if options.opt_ilike.is_some() || options.opt_alias.is_some() {
            table.unknown = Some("`*` with a pattern or an alias is not followed".to_owned());
            return;
        }
        let mut all = Table::default();
        expand(frame, qualifier, &mut all);
        let excluded = excluded(options);
        all.columns
            .retain(|(name, _)| !excluded.iter().any(|other| same(name, other)));
        for element in options.opt_replace.iter().flat_map(|replace| &replace.items) {
            let name = &element.column_name.value;
            let value = expression(self, &element.expr, frame);
            if let Some(column) = all.columns.iter_mut().find(|(column, _)| same(column, name)) {
                column.1 = value;
            }
        }
        let renames = match &options.opt_rename {
            None => [].as_slice(),
            Some(RenameSelectItem::Single(one)) => std::slice::from_ref(one),
            Some(RenameSelectItem::Multiple(many)) => many,
        };
        for rename in renames {
            let found = all
                .columns
                .iter_mut()
                .find(|(column, _)| same(column, &rename.ident.value));
            if let Some(column) = found {
                column.0.clone_from(&rename.alias.value);
            }
        }
        table.columns.extend(all.columns);
        table.unknown = table.unknown.take().or(all.unknown);
        table.more_of = table.more_of.take().or(all.more_of);
    }
}

pub(super) fn aliased(table: Table, alias: Option<&TableAlias>) -> Table {
    match alias {
        Some(alias) => table.renamed(alias.columns.iter().map(|column| &column.name)),
        None => table,
    }
}

/// All columns, or those of one table.
fn expand(frame: &Frame<'_>, qualifier: Option<&[Ident]>, table: &mut Table) {
    let tables: Vec<&Named> = match qualifier {
        None => frame.tables.iter().collect(),
        Some(parts) => {
            let Some(named) = frame.qualified(parts) else {
                let name: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
                table.unknown = Some(format!(
                    "`{}.*` is of no relation that is known here",
                    name.join(".")
                ));
                return;
            };
            vec![named]
        }
    };
    for named in tables {
        for (name, value) in &named.table.columns {
            let is_hidden = named.hidden.iter().any(|hidden| same(hidden, name));
            match frame.merged.iter().find(|(merged, _)| same(merged, name)) {
                _ if qualifier.is_some() => table.columns.push((name.clone(), value.clone())),
                _ if is_hidden => {}
                Some((_, merged)) => table.columns.push((name.clone(), merged.clone())),
                None => table.columns.push((name.clone(), value.clone())),
            }
        }
        if let Some(node) = &named.table.more_of {
            if table.more_of.is_some() {
                table.unknown = Some("`*` of several relations with columns nobody described".to_owned());
            }
            table.more_of = Some(node.clone());
        }
        table.unknown = table.unknown.take().or_else(|| named.table.unknown.clone());
    }
}

fn union(mut left: Table, right: Table, quantifier: SetQuantifier) -> Table {
    let by_name = matches!(
        quantifier,
        SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
    );
    if let Some(reason) = left.unknown.clone().or_else(|| right.unknown.clone()) {
        return Table::unknown(reason);
    }
    if left.more_of.is_some() || right.more_of.is_some() {
        return Table::unknown("a union over `*` of a relation with columns nobody described");
    }
    if by_name {
        for (name, value) in right.columns {
            match left.columns.iter_mut().find(|(known, _)| same(known, &name)) {
                Some((_, column)) => *column = std::mem::take(column).beside(value),
                None => left.columns.push((name, value)),
            }
        }
    } else if left.columns.len() == right.columns.len() {
        for ((_, column), (_, value)) in left.columns.iter_mut().zip(right.columns) {
            *column = std::mem::take(column).beside(value);
        }
    } else {
        return Table::unknown(format!(
            "a union of {} and {} columns",
            left.columns.len(),
            right.columns.len()
        ));
    }
    left.rows = left.rows.beside(right.rows);
    left
}

fn excluded(options: &WildcardAdditionalOptions) -> Vec<String> {
    let names: &[ObjectName] = match &options.opt_exclude {
        None => &[],
        Some(ExcludeSelectItem::Single(one)) => std::slice::from_ref(one),
        Some(ExcludeSelectItem::Multiple(many)) => many,
    };
    let excepted = options
        .opt_except
        .iter()
        .flat_map(|except| std::iter::once(&except.first_element).chain(&except.additional_elements));
    names
        .iter()
        .filter_map(|name| idents(name).pop())
        .chain(excepted.cloned())
        .map(|name| name.value)
        .collect()
}

/// The identifiers of a name; a function in place of one gives nothing.
pub(super) fn idents(name: &ObjectName) -> Vec<Ident> {
    name.0
        .iter()
        .filter_map(|part| part.as_ident().cloned())
        .collect()
}

/// What DuckDB calls a select item without an alias.
fn implied_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.clone()).unwrap_or_default(),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(name))) => name.value.clone(),
            _ => expr.to_string(),
        },
        Expr::Nested(inner) => implied_name(inner),
        other => other.to_string(),
    }
}

fn is_columns(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if same(&function.name.to_string(), "columns"))
}
