//! Expressions: what each kind makes of the values in it.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, InTarget, JsonPathElem, Query, SelectItem, SetExpr, Subscript,
    Value as Literal,
};

use super::function::{function, json_steps};
use super::query::Walk;
use super::scope::{Ctes, Frame};
use super::value::Value;

/// Where the value of `expr` comes from.
pub(super) fn expression(walk: &Walk<'_>, expr: &Expr, frame: &Frame<'_>) -> Value {
    let of = |expr: &Expr| expression(walk, expr, frame);
    let some = |expr: &Option<Box<Expr>>| expr.iter().map(|expr| of(expr)).collect::<Vec<_>>();
    match expr {
        Expr::Identifier(name) => frame.resolve(std::slice::from_ref(name)),
        Expr::CompoundIdentifier(parts) => frame.resolve(parts),
        Expr::CompoundFieldAccess { root, access_chain } => access_chain
            .iter()
            .fold(of(root), |value, step| access(walk, value, step, frame)),
        Expr::JsonAccess { value, path } => path.path.iter().fold(of(value), |value, step| match step {
            JsonPathElem::Dot { key, .. } => value.member(key),
            JsonPathElem::Bracket { .. } | JsonPathElem::ColonBracket { .. } => value.element(),
        }),
        Expr::Value(_) | Expr::TypedString(_) | Expr::Wildcard(_) | Expr::Prefixed { .. } => {
            Value::constant()
        }
        Expr::Nested(inner) | Expr::Named { expr: inner, .. } | Expr::Collate { expr: inner, .. } => {
            of(inner)
        }
        Expr::Cast { expr, .. } | Expr::Convert { expr, .. } => of(expr),
        Expr::Interval(interval) => of(&interval.value).computed(),
        Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } => {
            let tests = conditions.iter().map(|when| of(&when.condition));
            let decides = Value::all(some(operand).into_iter().chain(tests)).decides();
            let results = conditions.iter().map(|when| of(&when.result));
            Value::all(results.chain(some(else_result)))
                .chosen()
                .beside(decides)
        }
        Expr::Function(call) => function(walk, call, frame),
        Expr::Array(array) => Value::all(array.elem.iter().map(of)).wrapped(),
        Expr::BinaryOp { left, op, right } => binary(of(left), op, of(right), right),
        Expr::Subquery(query) => scalar(walk, query, frame),
        Expr::Exists { subquery, .. } => exists(walk, subquery, frame),
        Expr::In { expr, target, .. } => of(expr).beside(target_of(walk, target, frame)).computed(),
        Expr::Dictionary(fields) => Value::all(fields.iter().map(|field| of(&field.value))).computed(),
        Expr::Map(map) => {
            let entries = map.entries.iter().flat_map(|entry| [&entry.key, &entry.value]);
            Value::all(entries.map(|expr| of(expr))).computed()
        }
        Expr::Tuple(items) | Expr::Struct { values: items, .. } => {
            Value::all(items.iter().map(of)).computed()
        }
        // `column -> 'member'` looks like a lambda to the parser; as one it could only stand in a list function.
        Expr::Lambda(lambda) if lambda.params.len() == 1 && literal(&lambda.body).is_some() => {
            let column = frame.resolve(std::slice::from_ref(&lambda.params[0].name));
            json_steps(column, literal(&lambda.body).unwrap_or_default())
        }
        Expr::Lambda(_) => Value::unknown(format!("the lambda `{expr}` stands where none is followed")),
        other => match operands(other) {
            Some(operands) => Value::all(operands.into_iter().map(of)).computed(),
            None => Value::unknown(format!("`{other}` is not followed")),
        },
    }
}

/// What an operator without names or rules of its own computes from.
fn operands(expr: &Expr) -> Option<Vec<&Expr>> {
    let mut operands: Vec<&Expr> = Vec::new();
    match expr {
        Expr::IsFalse(one)
        | Expr::IsNotFalse(one)
        | Expr::IsTrue(one)
        | Expr::IsNotTrue(one)
        | Expr::IsNull(one)
        | Expr::IsNotNull(one)
        | Expr::IsUnknown(one)
        | Expr::IsNotUnknown(one)
        | Expr::UnaryOp { expr: one, .. }
        | Expr::Extract { expr: one, .. }
        | Expr::Ceil { expr: one, .. }
        | Expr::Floor { expr: one, .. }
        | Expr::IsJson { expr: one, .. }
        | Expr::IsNormalized { expr: one, .. } => operands.push(one),
        Expr::IsDistinctFrom(one, two)
        | Expr::IsNotDistinctFrom(one, two)
        | Expr::AnyOp {
            left: one,
            right: two,
            ..
        }
        | Expr::AllOp {
            left: one,
            right: two,
            ..
        }
        | Expr::Like {
            expr: one,
            pattern: two,
            ..
        }
        | Expr::ILike {
            expr: one,
            pattern: two,
            ..
        }
        | Expr::SimilarTo {
            expr: one,
            pattern: two,
            ..
        }
        | Expr::RLike {
            expr: one,
            pattern: two,
            ..
        }
        | Expr::Position { expr: one, r#in: two }
        | Expr::AtTimeZone {
            timestamp: one,
            time_zone: two,
        } => operands.extend([&**one, &**two]),
        Expr::Between { expr, low, high, .. } => operands.extend([&**expr, &**low, &**high]),
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            operands.push(expr);
            operands.extend(substring_from.iter().chain(substring_for).map(|expr| &**expr));
        }
        Expr::Trim {
            expr,
            trim_what,
            trim_characters,
            ..
        } => {
            operands.push(expr);
            operands.extend(trim_what.iter().map(|expr| &**expr));
            operands.extend(trim_characters.iter().flatten());
        }
        Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            operands.extend([&**expr, &**overlay_what, &**overlay_from]);
            operands.extend(overlay_for.iter().map(|expr| &**expr));
        }
        _ => return None,
    }
    Some(operands)
}

fn access(walk: &Walk<'_>, value: Value, step: &AccessExpr, frame: &Frame<'_>) -> Value {
    match step {
        AccessExpr::Dot(Expr::Identifier(name)) => value.member(&name.value),
        AccessExpr::Dot(other) => Value::unknown(format!("the step `.{other}` is not followed")),
        AccessExpr::Subscript(Subscript::Index { index }) => match literal(index) {
            Some(name) => value.member(name),
            None => value.indexed().beside(expression(walk, index, frame).decides()),
        },
        AccessExpr::Subscript(Subscript::Slice {
            lower_bound,
            upper_bound,
            stride,
        }) => {
            let bounds = lower_bound.iter().chain(upper_bound).chain(stride);
            let bounds = Value::all(bounds.map(|bound| expression(walk, bound, frame)));
            value.chosen().beside(bounds.decides())
        }
    }
}

/// The text of a string literal.
pub(super) fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Literal::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

fn binary(left: Value, op: &BinaryOperator, right: Value, path: &Expr) -> Value {
    match op {
        BinaryOperator::Arrow | BinaryOperator::LongArrow => match literal(path) {
            Some(text) => json_steps(left, text),
            None => left.element().beside(right.decides()),
        },
        _ => left.beside(right).computed(),
    }
}

/// A subquery in place of a value: its first column.
fn scalar(walk: &Walk<'_>, query: &Query, frame: &Frame<'_>) -> Value {
    let none = Ctes::new();
    let table = walk.query(query, frame.ctes.unwrap_or(&none), Some(frame));
    if let Some(reason) = table.unknown {
        return Value::unknown(reason);
    }
    let first = table.columns.into_iter().next();
    first.map_or_else(
        || Value::unknown("a subquery of a relation with columns nobody described"),
        |(_, value)| value.chosen(),
    )
}

fn target_of(walk: &Walk<'_>, target: &InTarget, frame: &Frame<'_>) -> Value {
    match target {
        InTarget::List(items) => Value::all(items.iter().map(|item| expression(walk, item, frame))),
        InTarget::Subquery(query) => scalar(walk, query, frame),
        InTarget::Unnest(list) => expression(walk, list, frame),
        InTarget::Table { .. } => Value::unknown(format!("`in {target}` is not followed")),
    }
}

/// Whether rows are found hangs on what is looked for: the subquery's condition, besides its rows.
fn exists(walk: &Walk<'_>, query: &Query, frame: &Frame<'_>) -> Value {
    let SetExpr::Select(select) = &*query.body else {
        return Value::unknown("`exists` of a union is not followed");
    };
    let mut asked = query.clone();
    if let SetExpr::Select(body) = &mut *asked.body {
        let condition = select
            .selection
            .clone()
            .unwrap_or_else(|| Expr::Value(Literal::Null.into()));
        body.projection = vec![SelectItem::UnnamedExpr(condition)];
        body.selection = None;
    }
    let none = Ctes::new();
    let ctes = frame.ctes.unwrap_or(&none);
    let rows = walk.query(query, ctes, Some(frame)).rows;
    scalar(walk, &asked, frame).beside(rows).computed()
}
