//! Rendering: one environment for a plan, and the frame that says which node is being rendered and how far.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::{IndexMap, IndexSet};
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior};
use serde_json::Value as Json;

use super::catalog::{Catalog, DBT, Macro};
use super::functions;
use super::scan::{MACRO, MUTABLE};
use super::values::{Relation, Target, mutable};
use crate::error::{Error, ErrorKind, Place, Result};

/// Macro calls inside macro calls: far above what real projects do, far below what a thread's stack takes.
const MAX_DEPTH: usize = 48;

/// What a template asked for with `ref` or `source`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Dependency {
    Ref { package: Option<String>, name: String },
    Source { source: String, table: String },
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dependency::Ref { package: None, name } => write!(f, "ref('{name}')"),
            Dependency::Ref {
                package: Some(package),
                name,
            } => write!(f, "ref('{package}', '{name}')"),
            Dependency::Source { source, table } => write!(f, "source('{source}', '{table}')"),
        }
    }
}

/// dbt renders every node twice: to learn its config and dependencies, and to get its SQL.
#[derive(Debug, Clone, Default)]
pub(crate) enum Phase {
    /// Before either: configuration in YAML, and the macros that name relations.
    #[default]
    Yaml,
    Parse,
    Compile {
        targets: Arc<HashMap<Dependency, Target>>,
        incremental: bool,
    },
}

/// The node being rendered, and what its rendering leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) phase: Phase,
    /// Package whose names count.
    pub(crate) package: String,
    /// File of the node, for messages.
    pub(crate) file: String,
    pub(crate) this: Value,
    pub(crate) model: Value,
    pub(crate) config: IndexMap<String, Json>,
    /// Keyword arguments of `config(…)`, in the order of the calls.
    pub(crate) captured: Vec<(String, Json)>,
    pub(crate) dependencies: IndexSet<Dependency>,
    /// Ids of the macros that the node itself calls.
    pub(crate) macros: IndexSet<String>,
    pub(crate) context: Option<Value>,
    pub(crate) depth: usize,
    pub(crate) returned: Option<Value>,
}

/// What templates may ask about the world; all of it given by the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) project: String,
    pub(crate) target: IndexMap<String, Json>,
    pub(crate) env: BTreeMap<String, String>,
    /// Vars given for this run.
    pub(crate) vars: BTreeMap<String, Json>,
    /// `vars:` of dbt_project.yml; a mapping under a package's name holds for that package.
    pub(crate) project_vars: BTreeMap<String, Json>,
    /// `vars:` of each package's own dbt_project.yml.
    pub(crate) package_vars: BTreeMap<String, BTreeMap<String, Json>>,
    pub(crate) run_started_at: String,
    pub(crate) invocation_id: String,
    pub(crate) full_refresh: bool,
}

pub(crate) struct Shared {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) world: World,
    frame: Mutex<Frame>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// A macro as a template's value.
#[derive(Debug)]
pub(crate) struct MacroValue {
    pub(crate) shared: Arc<Shared>,
    pub(crate) found: Arc<Macro>,
}

impl Object for MacroValue {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        args: &[Value],
    ) -> std::result::Result<Value, minijinja::Error> {
        self.shared.call(state, &self.found, args)
    }
}

impl Shared {
    pub(crate) fn frame(&self) -> MutexGuard<'_, Frame> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a macro: its template is evaluated with the node's context, since a minijinja macro lives no longer
    /// than the state that defined it.
    fn call(
        self: &Arc<Self>,
        state: &State<'_, '_>,
        found: &Macro,
        args: &[Value],
    ) -> std::result::Result<Value, minijinja::Error> {
        {
            let mut frame = self.frame();
            if frame.depth >= MAX_DEPTH {
                return Err(raise(
                    ErrorKind::Jinja,
                    format!("macro `{}` nests deeper than {MAX_DEPTH} calls", found.name),
                ));
            }
            if frame.depth == 0 && matches!(frame.phase, Phase::Parse) {
                frame.macros.insert(found.id());
            }
            frame.depth += 1;
        }
        let context = self.context();
        let result = (|| {
            let mut captured = state
                .env()
                .get_template(&found.template)?
                .render_captured(context)?;
            captured.with_state_mut(|state| state.call_macro(MACRO, args))
        })();
        let returned = {
            let mut frame = self.frame();
            frame.depth -= 1;
            frame.returned.take()
        };
        match returned {
            Some(value) => Ok(value),
            None => result.map(Value::from),
        }
    }

    pub(crate) fn macro_value(self: &Arc<Self>, found: &Arc<Macro>) -> Value {
        Value::from_object(MacroValue {
            shared: Arc::clone(self),
            found: Arc::clone(found),
        })
    }

    /// What differs from node to node, and the macros of the node's package that shadow the root project's. As in
    /// dbt, the node's package decides, not that of the macro which is running.
    fn context(self: &Arc<Self>) -> Value {
        let mut frame = self.frame();
        if let Some(context) = &frame.context {
            return context.clone();
        }
        let mut context: Vec<(String, Value)> = Vec::new();
        if frame.package != self.catalog.root {
            context.extend(
                self.catalog
                    .of_package(&frame.package)
                    .map(|found| (found.name.clone(), self.macro_value(found))),
            );
        }
        context.push(("this".to_owned(), frame.this.clone()));
        context.push(("model".to_owned(), frame.model.clone()));
        context.push((
            "execute".to_owned(),
            matches!(frame.phase, Phase::Compile { .. }).into(),
        ));
        frame.context.insert(Value::from_pairs(context)).clone()
    }

    pub(crate) fn var(&self, name: &str) -> Option<Json> {
        let frame = self.frame();
        let package = frame.package.as_str();
        if let Some(value) = self.world.vars.get(name) {
            return Some(value.clone());
        }
        let scoped = self
            .world
            .project_vars
            .get(package)
            .and_then(|scope| scope.get(name));
        scoped
            .or_else(|| self.world.project_vars.get(name))
            .or_else(|| self.world.package_vars.get(package)?.get(name))
            .cloned()
    }
}

/// A template error that carries one of ours, so that its kind survives the way through minijinja.
pub(crate) fn raise(kind: ErrorKind, message: impl Into<String>) -> minijinja::Error {
    let message = message.into();
    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message.clone())
        .with_source(Error::new(kind, message))
}

/// One plan's renderer.
pub(crate) struct Session {
    env: Environment<'static>,
    pub(crate) shared: Arc<Shared>,
}

impl Session {
    /// `base` holds the parsed templates (see [`base_environment`]).
    pub(crate) fn new(base: &Environment<'static>, catalog: Arc<Catalog>, world: World) -> Session {
        let shared = Arc::new(Shared {
            catalog,
            world,
            frame: Mutex::default(),
        });
        let mut env = base.clone();
        functions::register(&mut env, &shared);
        let mut packages: IndexMap<String, Vec<(String, Value)>> = IndexMap::new();
        for found in shared.catalog.iter() {
            let value = shared.macro_value(found);
            packages
                .entry(found.package.clone())
                .or_default()
                .push((found.name.clone(), value));
        }
        for package in [DBT, shared.catalog.root.as_str()] {
            for (name, value) in packages.get(package).into_iter().flatten() {
                env.add_global(name.clone(), value.clone());
            }
        }
        for (package, macros) in packages {
            env.add_global(package, Value::from_pairs(macros));
        }
        Session { env, shared }
    }

    /// Starts on a node.
    pub(crate) fn enter(&self, frame: Frame) {
        *self.shared.frame() = frame;
    }

    /// Ends with a node and gives back what its rendering left.
    pub(crate) fn leave(&self) -> Frame {
        std::mem::take(&mut *self.shared.frame())
    }

    fn context(&self) -> Value {
        self.shared.context()
    }

    /// Renders the template of a file.
    pub(crate) fn render_file(&self, file: &str) -> Result<String> {
        let context = self.context();
        self.env
            .get_template(file)
            .and_then(|template| template.render(context))
            .map_err(|error| self.error(&error, None))
    }

    /// Renders a text that stands at `place`.
    pub(crate) fn render(&self, place: &Place, text: &str) -> Result<String> {
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return Ok(text.to_owned());
        }
        let context = self.context();
        self.env
            .render_named_str(&place.file, text, context)
            .map_err(|error| self.error(&error, Some(place)))
    }

    /// The value of an expression that stands at `place`.
    pub(crate) fn evaluate(&self, place: &Place, expression: &str) -> Result<Value> {
        let context = self.context();
        let evaluated = self
            .env
            .compile_expression(expression)
            .and_then(|compiled| compiled.eval(context));
        evaluated.map_err(|error| self.error(&error, Some(place)))
    }

    /// The value of a text of a YAML file: of the expression if it is only `{{ expression }}`, else rendered text.
    pub(crate) fn evaluate_text(&self, place: &Place, text: &str) -> Result<Value> {
        let trimmed = text.trim();
        if let Some(inner) = trimmed
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"))
            && !inner.contains("{{")
        {
            return self.evaluate(place, inner.trim_matches('-').trim());
        }
        self.render(place, text).map(Value::from)
    }

    /// `value` with every text in it evaluated.
    pub(crate) fn evaluate_json(&self, place: &Place, value: &Json) -> Result<Json> {
        Ok(match value {
            Json::String(text) if text.contains("{{") || text.contains("{%") => {
                to_json(&self.evaluate_text(place, text)?)
            }
            Json::Array(items) => items
                .iter()
                .map(|item| self.evaluate_json(place, item))
                .collect::<Result<_>>()?,
            Json::Object(map) => {
                let evaluated = map
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), self.evaluate_json(place, item)?)));
                Json::Object(evaluated.collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }

    /// Calls a macro from outside of any template; `place` is where the call is asked for.
    pub(crate) fn call(&self, found: &Macro, args: &[Value], place: &Place) -> Result<Value> {
        let state = self.env.empty_state();
        self.shared
            .call(&state, found, args)
            .map_err(|error| self.error(&error, Some(place)))
    }

    fn error(&self, error: &minijinja::Error, text_at: Option<&Place>) -> Error {
        let file = self.shared.frame().file.clone();
        translate(error, &file, text_at)
    }
}

/// A template error as ours. `text_at` is where a text that is not a file of its own stands.
pub(crate) fn translate(error: &minijinja::Error, node_file: &str, text_at: Option<&Place>) -> Error {
    let ours = find_ours(error);
    let kind = ours.map_or(ErrorKind::Jinja, Error::kind);
    let mut message = match ours {
        Some(ours) => ours.message().to_owned(),
        None => match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
    };
    let template = error
        .name()
        .unwrap_or_default()
        .split('#')
        .next()
        .unwrap_or_default();
    let line = error.line().unwrap_or(0);
    let place = match text_at {
        Some(place) if template == place.file || template == "<expression>" || template.is_empty() => {
            Place::new(
                &place.file,
                match place.line {
                    0 => 0,
                    first => first + line.saturating_sub(1),
                },
            )
        }
        _ if template.is_empty() => Place::new(node_file, 0),
        _ => Place::new(template, line),
    };
    if !node_file.is_empty() && place.file != node_file {
        message.push_str(" (rendering ");
        message.push_str(node_file);
        message.push(')');
    }
    Error::at(kind, &place, message)
}

fn find_ours(error: &minijinja::Error) -> Option<&Error> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return Some(ours);
        }
        source = inner.source();
    }
    None
}

/// A template's value as JSON; what JSON cannot say becomes its text.
pub(crate) fn to_json(value: &Value) -> Json {
    if value.is_undefined() {
        return Json::Null;
    }
    if value.downcast_object_ref::<Target>().is_some() {
        return value.to_string().into();
    }
    serde_json::to_value(value).unwrap_or_else(|_| value.to_string().into())
}

pub(crate) fn relation_value(relation: &Relation) -> Value {
    Value::from_object(Target::Relation(relation.clone()))
}

/// An environment with dbt's syntax and strictness, to add templates to.
pub(crate) fn base_environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| AutoEscape::None);
    // Python's truth of undefined names is allowed; printing, iterating or passing on one is an error.
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_formatter(functions::format);
    // Costs nothing until an error, which then names what was undefined.
    env.set_debug(true);
    env.add_function(MUTABLE, mutable);
    env
}
