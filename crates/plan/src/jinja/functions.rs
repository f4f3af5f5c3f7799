//! The functions and objects dbt gives templates.

use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, Serde, Value, ValueKind, from_args};
use minijinja::{Environment, Error, Output, State};
use serde_json::Value as Json;

use super::catalog::ADAPTER;
use super::session::{Dependency, Phase, Shared, raise, relation_value, to_json};
use super::values::{Relation, Target, quote};
use crate::error::ErrorKind;

/// Functions dbt has that need a live database or Python, which this runner does not give templates.
const REFUSED: [&str; 8] = [
    "run_query",
    "statement",
    "load_result",
    "load_relation",
    "load_cached_relation",
    "write",
    "fromyaml",
    "toyaml",
];

pub(crate) fn register(env: &mut Environment<'static>, shared: &Arc<Shared>) {
    let world = &shared.world;
    env.add_global("target", Value::from(Serde(&world.target)));
    env.add_global("project_name", world.project.clone());
    env.add_global("run_started_at", world.run_started_at.clone());
    env.add_global("invocation_id", world.invocation_id.clone());
    env.add_global("dbt_version", "1.12.0");
    env.add_global("flags", Value::from_pairs([("FULL_REFRESH", world.full_refresh)]));
    env.add_global("config", Value::from_object(Config(Arc::clone(shared))));
    env.add_global("adapter", Value::from_object(Adapter(Arc::clone(shared))));
    env.add_global("exceptions", Value::from_object(Exceptions));
    env.add_global(
        "api",
        Value::from_pairs([
            ("Column", Value::from_object(Column)),
            ("Relation", Value::from_object(RelationApi)),
        ]),
    );
    env.add_function("log", |_: Rest<Value>| "");
    env.add_function("print", |_: Rest<Value>| "");
    env.add_function("tojson", |value: Value| to_json(&value).to_string());
    env.add_function("fromjson", from_json);
    env.add_filter("as_text", |value: Value| value.to_string());
    for name in ["as_bool", "as_number", "as_native"] {
        env.add_filter(name, |value: Value| value);
    }
    for name in REFUSED {
        env.add_function(name, move |_: Rest<Value>| -> Result<Value, Error> {
            Err(raise(
                ErrorKind::Unsupported,
                format!(
                    "`{name}` is not supported by the built-in runner: templates cannot query the database"
                ),
            ))
        });
    }
    let of = |f: fn(&Arc<Shared>, &[Value]) -> Result<Value, Error>| {
        let shared = Arc::clone(shared);
        move |args: Rest<Value>| f(&shared, &args)
    };
    env.add_function("ref", of(reference));
    env.add_function("source", of(source));
    env.add_function("var", of(var));
    env.add_function("env_var", of(env_var));
    env.add_function("return", of(give_back));
    env.add_function("is_incremental", of(is_incremental));
    env.add_function(
        "should_full_refresh",
        of(|shared, _| Ok(shared.world.full_refresh.into())),
    );
}

/// Prints values as Python does where SQL would notice; a list or mapping has no SQL form.
pub(crate) fn format(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    let written = match value.kind() {
        ValueKind::Undefined => return Err(Error::from(minijinja::ErrorKind::UndefinedError)),
        ValueKind::None => out.write_str("None"),
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            return Err(raise(
                ErrorKind::Jinja,
                "a list or mapping cannot be printed into SQL; use `join` or `tojson`",
            ));
        }
        _ => write!(out, "{value}"),
    };
    written.map_err(|_| Error::from(minijinja::ErrorKind::WriteFailure))
}

fn from_json(text: &str, default: Option<Value>) -> Result<Value, Error> {
    match serde_json::from_str::<Json>(text) {
        Ok(value) => Ok(Value::from(Serde(value))),
        Err(error) => default.ok_or_else(|| raise(ErrorKind::Jinja, format!("fromjson: {error}"))),
    }
}

fn reference(shared: &Arc<Shared>, args: &[Value]) -> Result<Value, Error> {
    if args.last().is_some_and(Value::is_kwargs) {
        return Err(raise(
            ErrorKind::Unsupported,
            "model versions in `ref` are not supported by the built-in runner",
        ));
    }
    let dependency = match args {
        [name] => Dependency::Ref {
            package: None,
            name: name.to_string(),
        },
        [package, name] => Dependency::Ref {
            package: Some(package.to_string()),
            name: name.to_string(),
        },
        _ => {
            return Err(raise(
                ErrorKind::Jinja,
                "`ref` takes a model's name, or a package and a model's name",
            ));
        }
    };
    depend(shared, dependency)
}

fn source(shared: &Arc<Shared>, args: &[Value]) -> Result<Value, Error> {
    match args {
        [source, table] => depend(
            shared,
            Dependency::Source {
                source: source.to_string(),
                table: table.to_string(),
            },
        ),
        _ => Err(raise(
            ErrorKind::Jinja,
            "`source` takes a source's name and a table's name",
        )),
    }
}

fn depend(shared: &Arc<Shared>, dependency: Dependency) -> Result<Value, Error> {
    let mut frame = shared.frame();
    let found = match &frame.phase {
        Phase::Yaml => {
            return Err(raise(
                ErrorKind::Jinja,
                format!("{dependency} cannot be used here: no node is being rendered"),
            ));
        }
        Phase::Parse => {
            let name = match &dependency {
                Dependency::Ref { name, .. } | Dependency::Source { table: name, .. } => name.clone(),
            };
            Some(Target::Relation(Relation {
                database: String::new(),
                schema: String::new(),
                identifier: name,
            }))
        }
        Phase::Compile { targets, .. } => targets.get(&dependency).cloned(),
    };
    let Some(target) = found else {
        let message = format!(
            "{dependency} appears only when the SQL is compiled, so its order is unknown; add `-- depends_on: {{{{ {dependency} }}}}` to the file"
        );
        return Err(raise(ErrorKind::Graph, message));
    };
    frame.dependencies.insert(dependency);
    Ok(Value::from_object(target))
}

/// The arguments `(name, default)`; the default also by keyword.
fn named_default(args: &[Value]) -> Result<(String, Option<Value>), Error> {
    let (name, default, kwargs): (&str, Option<Value>, Kwargs) = from_args(args)?;
    let default = match default {
        Some(default) => Some(default),
        None => kwargs.get::<Option<Value>>("default")?,
    };
    kwargs.assert_all_used()?;
    Ok((name.to_owned(), default))
}

fn var(shared: &Arc<Shared>, args: &[Value]) -> Result<Value, Error> {
    let (name, default) = named_default(args)?;
    match (shared.var(&name), default) {
        (Some(value), _) => Ok(Value::from(Serde(value))),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(raise(
            ErrorKind::Jinja,
            format!("var `{name}` has no value; set it under `vars:` in dbt_project.yml or for the run"),
        )),
    }
}

fn env_var(shared: &Arc<Shared>, args: &[Value]) -> Result<Value, Error> {
    let (name, default) = named_default(args)?;
    match (shared.world.env.get(&name), default) {
        (Some(value), _) => Ok(value.clone().into()),
        (None, Some(default)) => Ok(default.to_string().into()),
        (None, None) => Err(raise(
            ErrorKind::Jinja,
            format!("environment variable `{name}` is not set and `env_var` gives no default"),
        )),
    }
}

/// Leaves the macro through an error that the call catches.
fn give_back(shared: &Arc<Shared>, args: &[Value]) -> Result<Value, Error> {
    let value = args.first().cloned().unwrap_or_else(|| Value::from(()));
    let mut frame = shared.frame();
    if frame.depth == 0 {
        return Err(raise(ErrorKind::Jinja, "`return` outside of a macro"));
    }
    frame.returned = Some(value);
    Err(raise(ErrorKind::Jinja, "`return` left its macro"))
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "has the signature of the other functions"
)]
fn is_incremental(shared: &Arc<Shared>, _: &[Value]) -> Result<Value, Error> {
    Ok(matches!(
        shared.frame().phase,
        Phase::Compile {
            incremental: true,
            ..
        }
    )
    .into())
}

/// `config(…)`, `config.get`, `config.require`.
#[derive(Debug)]
struct Config(Arc<Shared>);

impl Object for Config {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let mut frame = self.0.frame();
        if matches!(frame.phase, Phase::Compile { .. }) {
            return Ok("".into());
        }
        for arg in args {
            if !matches!(arg.kind(), ValueKind::Map) {
                return Err(raise(ErrorKind::Jinja, "`config` takes keyword arguments"));
            }
            for key in arg.try_iter()? {
                let value = arg.get_item(&key)?;
                if value.is_undefined() {
                    return Err(raise(ErrorKind::Jinja, format!("config `{key}` is undefined")));
                }
                frame.captured.push((key.to_string(), to_json(&value)));
            }
        }
        Ok("".into())
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let (key, default) = match method {
            "get" | "require" => named_default(args)?,
            _ => return Err(Error::from(minijinja::ErrorKind::UnknownMethod)),
        };
        let frame = self.0.frame();
        let captured = frame
            .captured
            .iter()
            .rev()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value);
        match captured.or_else(|| frame.config.get(&key)) {
            Some(value) if !value.is_null() => Ok(Value::from(Serde(value))),
            _ if method == "require" && matches!(frame.phase, Phase::Compile { .. }) => Err(raise(
                ErrorKind::Jinja,
                format!("config `{key}` is required here"),
            )),
            _ => Ok(default.unwrap_or_else(|| Value::from(()))),
        }
    }
}

#[derive(Debug)]
struct Adapter(Arc<Shared>);

impl Object for Adapter {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "dispatch" => {
                let (name, namespace, kwargs): (&str, Option<&str>, Kwargs) = from_args(args)?;
                let namespace = namespace
                    .map(str::to_owned)
                    .or(kwargs.get::<Option<String>>("macro_namespace")?);
                kwargs.assert_all_used()?;
                let package = self.0.frame().package.clone();
                let found = self.0.catalog.dispatch(&package, name, namespace.as_deref());
                let found = found.ok_or_else(|| {
                    raise(
                        ErrorKind::Jinja,
                        format!("no macro `{ADAPTER}__{name}` or `default__{name}` to dispatch to"),
                    )
                })?;
                Ok(self.0.macro_value(found))
            }
            "quote" => {
                let (name,): (&str,) = from_args(args)?;
                Ok(quote(name).into())
            }
            "type" => Ok(ADAPTER.into()),
            _ => {
                let message = format!(
                    "`adapter.{method}` is not supported by the built-in runner: templates cannot query the database"
                );
                Err(raise(ErrorKind::Unsupported, message))
            }
        }
    }
}

#[derive(Debug)]
struct Exceptions;

impl Object for Exceptions {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let message = args.first().map(Value::to_string).unwrap_or_default();
        match method {
            "warn" => Ok("".into()),
            _ if method.starts_with("raise_") => Err(raise(ErrorKind::Jinja, message)),
            _ => Err(Error::from(minijinja::ErrorKind::UnknownMethod)),
        }
    }
}

/// `api.Column`: the type names dbt-duckdb gives.
#[derive(Debug)]
struct Column;

impl Object for Column {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "translate_type" => {
                let (name,): (&str,) = from_args(args)?;
                Ok(if name.eq_ignore_ascii_case("string") {
                    "TEXT".into()
                } else {
                    name.into()
                })
            }
            "numeric_type" => {
                let (name, precision, scale): (&str, i64, i64) = from_args(args)?;
                Ok(format!("{name}({precision},{scale})").into())
            }
            "string_type" => {
                let (size,): (i64,) = from_args(args)?;
                Ok(format!("character varying({size})").into())
            }
            _ => Err(Error::from(minijinja::ErrorKind::UnknownMethod)),
        }
    }
}

/// `api.Relation.create(database, schema, identifier)`.
#[derive(Debug)]
struct RelationApi;

impl Object for RelationApi {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        if method != "create" {
            return Err(Error::from(minijinja::ErrorKind::UnknownMethod));
        }
        let (kwargs,): (Kwargs,) = from_args(args)?;
        let relation = Relation {
            database: kwargs.get("database")?,
            schema: kwargs.get("schema")?,
            identifier: kwargs.get("identifier")?,
        };
        kwargs.assert_all_used()?;
        Ok(relation_value(&relation))
    }
}
