//! Function calls: those that hand a value on, those that read JSON, lambdas, aggregates and windows; all others
//! compute from every argument.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentClause,
    FunctionArguments, LambdaFunction, NamedWindowExpr, OrderByExpr, WindowSpec, WindowType,
};

use super::expression::{expression, literal};
use super::query::Walk;
use super::scope::{Frame, same};
use super::value::Value;

/// What a function does with its arguments.
#[derive(Clone, Copy)]
enum Does {
    /// The first argument, or a list with some of its elements; the others decide.
    Keeps,
    /// One of its arguments.
    Chooses,
    /// A list of its arguments.
    Wraps,
    /// The first argument, a list, and the others as elements.
    Appends,
    /// The last argument, a list, and the others as elements.
    Prepends,
    /// An element of the first argument.
    Takes,
    /// An element of the first argument, once per row.
    Unnests,
    /// A place in the first argument's JSON that the second one names.
    Reads,
    /// A member of the first argument that the second one names.
    Member,
    /// The first argument of a row that the second one chooses.
    ChoosesRow,
    /// Something else, from all of them.
    Computes,
}

/// By lower-case name. What is not here computes.
fn does(name: &str) -> Does {
    match name {
        "from_json"
        | "from_json_strict"
        | "json_transform"
        | "json_transform_strict"
        | "json"
        | "to_json"
        | "list_slice"
        | "array_slice"
        | "list_sort"
        | "array_sort"
        | "list_reverse_sort"
        | "list_reverse"
        | "list_distinct"
        | "nullif"
        | "list_filter"
        | "array_filter"
        | "filter" => Does::Keeps,
        "coalesce" | "ifnull" | "if" | "list_concat" | "array_concat" | "list_cat" => Does::Chooses,
        "list_value" | "list_pack" | "list" | "array_agg" => Does::Wraps,
        "list_append" | "array_append" | "array_push_back" => Does::Appends,
        "list_prepend" | "array_prepend" | "array_push_front" => Does::Prepends,
        "list_extract" | "list_element" | "array_extract" | "list_first" | "list_last" => Does::Takes,
        "unnest" | "flatten" | "explode" => Does::Unnests,
        "json_extract"
        | "json_extract_path"
        | "json_extract_string"
        | "json_extract_path_text"
        | "json_value" => Does::Reads,
        "struct_extract" => Does::Member,
        "arg_max" | "arg_min" | "max_by" | "min_by" | "argmax" | "argmin" => Does::ChoosesRow,
        _ => Does::Computes,
    }
}

/// Functions whose lambda gives the new elements.
fn transforms(name: &str) -> bool {
    matches!(
        name,
        "list_transform" | "array_transform" | "list_apply" | "array_apply" | "apply"
    )
}

/// Functions whose lambda folds a list into one value.
fn reduces(name: &str) -> bool {
    matches!(name, "list_reduce" | "array_reduce" | "reduce")
}

pub(super) fn function(walk: &Walk<'_>, call: &Function, frame: &Frame<'_>) -> Value {
    let name = call.name.to_string().to_lowercase();
    let name = name.rsplit('.').next().unwrap_or_default().trim_matches('"');
    let arguments = match arguments(walk, call, frame) {
        Ok(arguments) => arguments,
        Err(reason) => return Value::unknown(reason),
    };
    let value = if transforms(name) {
        transformed(walk, &arguments, frame)
    } else if reduces(name) {
        reduced(walk, &arguments, frame)
    } else {
        called(walk, does(name), &arguments, frame)
    };
    let order = ordering(walk, call, frame);
    let filter = Value::all(call.filter.iter().map(|filter| expression(walk, filter, frame)));
    let value = if arguments.is_empty() && call.over.is_none() && counts(name) {
        value.beside(rows(frame))
    } else {
        value
    };
    let decides = order.beside(filter);
    match &call.over {
        // The number of a row comes from nothing but its window.
        Some(over) if arguments.is_empty() => {
            value.beside(window(walk, over, frame)).beside(decides).computed()
        }
        Some(over) => value
            .computed()
            .beside(window(walk, over, frame).beside(decides).decides()),
        None => value.beside(decides.decides()),
    }
}

fn counts(name: &str) -> bool {
    matches!(name, "count" | "count_star")
}

/// What `count(*)` counts.
fn rows(frame: &Frame<'_>) -> Value {
    Value::all(frame.tables.iter().map(|named| named.table.rows.clone())).computed()
}

enum Argument<'e> {
    Plain(Value, &'e Expr),
    Lambda(&'e LambdaFunction),
}

impl Argument<'_> {
    fn value(&self) -> Value {
        match self {
            Argument::Plain(value, _) => value.clone(),
            Argument::Lambda(_) => Value::constant(),
        }
    }
}

fn arguments<'e>(
    walk: &Walk<'_>,
    call: &'e Function,
    frame: &Frame<'_>,
) -> Result<Vec<Argument<'e>>, String> {
    let list = match &call.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::Subquery(_) => {
            return Err(format!("`{}` of a subquery is not followed", call.name));
        }
        FunctionArguments::List(list) => list,
    };
    let mut arguments = Vec::new();
    for argument in &list.args {
        let (FunctionArg::Unnamed(value)
        | FunctionArg::Named { arg: value, .. }
        | FunctionArg::ExprNamed { arg: value, .. }) = argument;
        // `coalesce(a = 'x')` compares; to the parser it names an argument.
        if let FunctionArg::Named {
            name,
            operator: FunctionArgOperator::Equals,
            arg: FunctionArgExpr::Expr(expr),
        } = argument
        {
            let compared = frame.resolve(std::slice::from_ref(name));
            let value = compared.beside(expression(walk, expr, frame)).computed();
            arguments.push(Argument::Plain(value, expr));
            continue;
        }
        match value {
            FunctionArgExpr::Expr(Expr::Lambda(lambda)) => arguments.push(Argument::Lambda(lambda)),
            FunctionArgExpr::Expr(expr) => {
                arguments.push(Argument::Plain(expression(walk, expr, frame), expr));
            }
            FunctionArgExpr::Wildcard => {}
            FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::WildcardWithOptions(_) => {
                return Err(format!("`{}` of `{value}` is not followed", call.name));
            }
        }
    }
    Ok(arguments)
}

fn called(walk: &Walk<'_>, does: Does, arguments: &[Argument<'_>], frame: &Frame<'_>) -> Value {
    let first = || arguments.first().map(Argument::value).unwrap_or_default();
    let rest = || Value::all(arguments.iter().skip(1).map(Argument::value));
    let all = || Value::all(arguments.iter().map(Argument::value));
    match does {
        Does::Keeps => {
            let keeps_all = arguments.len() == 1
                || matches!(arguments.get(1), Some(Argument::Plain(value, _)) if value.inputs.is_empty() && value.unknown.is_none());
            let lambda = Value::all(arguments.iter().filter_map(|argument| match argument {
                Argument::Lambda(lambda) => Some(applied(walk, lambda, &[first().element()], frame)),
                Argument::Plain(..) => None,
            }));
            let kept = if keeps_all { first() } else { first().chosen() };
            kept.beside(rest().beside(lambda).decides())
        }
        Does::Chooses => all().chosen(),
        Does::Wraps => all().wrapped(),
        Does::Appends => first().beside(rest().wrapped()).chosen(),
        Does::Prepends => {
            let (last, others) = match arguments.split_last() {
                Some((last, others)) => (last.value(), Value::all(others.iter().map(Argument::value))),
                None => return Value::constant(),
            };
            others.wrapped().beside(last).chosen()
        }
        Does::Takes => first().element().beside(rest().decides()),
        Does::Unnests => first().element(),
        Does::Reads => reads(first(), arguments.get(1)),
        Does::Member => match arguments.get(1) {
            Some(Argument::Plain(_, path)) => match literal(path) {
                Some(name) => first().member(name),
                None => first().computed(),
            },
            _ => first(),
        },
        Does::ChoosesRow => first().chosen().beside(rest().decides()),
        Does::Computes => all().computed(),
    }
}

fn reads(json: Value, path: Option<&Argument<'_>>) -> Value {
    let Some(Argument::Plain(value, path)) = path else {
        return json.computed();
    };
    if let Some(text) = literal(path) {
        return json_steps(json, text);
    }
    // `concat('$.content[', i, ']')`: the beginning tells the place.
    let beginning = match path {
        Expr::Function(call) => match &call.args {
            FunctionArguments::List(list) => match list.args.first() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) => literal(first),
                _ => None,
            },
            _ => None,
        },
        Expr::BinaryOp { left, .. } => literal(left),
        _ => None,
    };
    match beginning.and_then(|text| text.strip_suffix('[')) {
        Some(list) => json_steps(json, list).element().beside(value.clone().decides()),
        None => json.computed().beside(value.clone().decides()),
    }
}

/// Follows a JSON path (`$.a.b[0].c`, `$[*]`) or pointer (`/a/b`), or the name of one member.
pub(super) fn json_steps(value: Value, path: &str) -> Value {
    if let Some(pointer) = path.strip_prefix('/') {
        return pointer.split('/').fold(value, Value::member);
    }
    let Some(path) = path.strip_prefix('$') else {
        return value.member(path);
    };
    let mut value = value;
    for step in path.split('.').flat_map(|step| step.split_inclusive('[')) {
        let (name, list_follows) = match step.strip_suffix('[') {
            Some(name) => (name, true),
            None => (step, false),
        };
        // After a `[` comes its index and `]`, then perhaps a further list.
        let name = name.rsplit(']').next().unwrap_or_default().trim_matches('"');
        if !name.is_empty() && name != "*" {
            value = value.member(name);
        }
        if list_follows {
            value = value.element();
        }
    }
    value
}

/// The body of a lambda with its parameters bound; further ones are positions.
fn applied(walk: &Walk<'_>, lambda: &LambdaFunction, parameters: &[Value], frame: &Frame<'_>) -> Value {
    let names = lambda.params.iter().enumerate().map(|(index, parameter)| {
        (
            parameter.name.value.clone(),
            parameters.get(index).cloned().unwrap_or_default(),
        )
    });
    expression(walk, &lambda.body, &Frame::inside(frame, names.collect()))
}

fn transformed(walk: &Walk<'_>, arguments: &[Argument<'_>], frame: &Frame<'_>) -> Value {
    match arguments {
        [Argument::Plain(list, _), Argument::Lambda(lambda)] => {
            let length = list.clone().decides();
            applied(walk, lambda, &[list.clone().element()], frame)
                .wrapped()
                .beside(length)
        }
        _ => Value::unknown("a list function without a lambda is not followed"),
    }
}

fn reduced(walk: &Walk<'_>, arguments: &[Argument<'_>], frame: &Frame<'_>) -> Value {
    let (list, lambda) = match arguments {
        [Argument::Plain(list, _), Argument::Lambda(lambda), ..] => (list.clone(), lambda),
        _ => return Value::unknown("a list function without a lambda is not followed"),
    };
    let initial = Value::all(arguments.iter().skip(2).map(Argument::value));
    let element = list.element();
    let so_far = element.clone().beside(initial).computed();
    applied(walk, lambda, &[so_far.clone(), element], frame)
        .beside(so_far)
        .computed()
}

fn ordering(walk: &Walk<'_>, call: &Function, frame: &Frame<'_>) -> Value {
    let clauses = match &call.args {
        FunctionArguments::List(list) => list.clauses.as_slice(),
        _ => &[],
    };
    let inside = clauses.iter().flat_map(|clause| match clause {
        FunctionArgumentClause::OrderBy(order) => order.as_slice(),
        _ => &[],
    });
    by(walk, inside.chain(&call.within_group), frame)
}

fn by<'e>(walk: &Walk<'_>, order: impl IntoIterator<Item = &'e OrderByExpr>, frame: &Frame<'_>) -> Value {
    Value::all(
        order
            .into_iter()
            .map(|order| expression(walk, &order.expr, frame)),
    )
}

fn window(walk: &Walk<'_>, over: &WindowType, frame: &Frame<'_>) -> Value {
    match over {
        WindowType::WindowSpec(spec) => window_spec(walk, spec, frame),
        WindowType::NamedWindow(name) => named_window(walk, &name.value, frame),
    }
}

fn window_spec(walk: &Walk<'_>, spec: &WindowSpec, frame: &Frame<'_>) -> Value {
    let partition = spec.partition_by.iter().map(|expr| expression(walk, expr, frame));
    let base = spec
        .window_name
        .iter()
        .map(|name| named_window(walk, &name.value, frame));
    Value::all(partition.chain(base)).beside(by(walk, &spec.order_by, frame))
}

fn named_window(walk: &Walk<'_>, name: &str, frame: &Frame<'_>) -> Value {
    let found = frame
        .windows
        .iter()
        .position(|window| same(&window.0.value, name));
    let Some(index) = found else {
        return Value::unknown(format!("no window `{name}` is known here"));
    };
    match &frame.windows[index].1 {
        NamedWindowExpr::WindowSpec(spec) => window_spec(walk, spec, frame),
        // Only an earlier one, so that two cannot wait for each other.
        NamedWindowExpr::NamedWindow(other) => match frame.windows[..index]
            .iter()
            .find(|window| same(&window.0.value, &other.value))
        {
            Some(window) => named_window(walk, &window.0.value, frame),
            None => Value::unknown(format!("no window `{other}` is known here")),
        },
    }
}
