//! The values templates handle: relations, and lists and mappings that can be changed in place.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

/// A table or view by its full name. `Display` quotes each part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relation {
    /// Database (the DuckDB file's stem).
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Name in the schema.
    pub identifier: String,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            quote(&self.database),
            quote(&self.schema),
            quote(&self.identifier)
        )
    }
}

/// `name` as a quoted SQL identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What `ref` and `source` give a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Relation(Relation),
    /// An ephemeral model: the name of its common table expression.
    Cte(String),
}

impl Object for Target {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        Some(match (&**self, key) {
            (Target::Relation(relation), "database") => relation.database.clone().into(),
            (Target::Relation(relation), "schema") => relation.schema.clone().into(),
            (Target::Relation(relation), "identifier" | "name" | "table") => {
                relation.identifier.clone().into()
            }
            (Target::Cte(name), "identifier" | "name" | "table") => name.clone().into(),
            (Target::Relation(_), "is_cte") => false.into(),
            (Target::Cte(_), "is_cte") => true.into(),
            _ => return None,
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &**self {
            Target::Relation(relation) => write!(f, "{relation}"),
            Target::Cte(name) => f.write_str(name),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Python list: `append`, `extend`, `insert`, `pop`.
#[derive(Debug)]
pub(crate) struct MutableList(Mutex<Vec<Value>>);

impl Object for MutableList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let items = locked(&self.0);
        let index = key.as_i64()?;
        let index = if index < 0 {
            index + i64::try_from(items.len()).ok()?
        } else {
            index
        };
        items.get(usize::try_from(index).ok()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(locked(&self.0).clone())
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "append" => {
                let (value,): (Value,) = from_args(args)?;
                locked(&self.0).push(value);
            }
            "extend" => {
                let (values,): (Value,) = from_args(args)?;
                let values: Vec<Value> = values.try_iter()?.collect();
                locked(&self.0).extend(values);
            }
            "insert" => {
                let (index, value): (usize, Value) = from_args(args)?;
                let mut items = locked(&self.0);
                let index = index.min(items.len());
                items.insert(index, value);
            }
            "pop" => {
                let () = from_args(args)?;
                return locked(&self.0)
                    .pop()
                    .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "pop from an empty list"));
            }
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        }
        Ok(Value::from(()))
    }
}

/// A Python dict: `update`, `setdefault`, `pop`.
#[derive(Debug)]
pub(crate) struct MutableMap(Mutex<IndexMap<Value, Value>>);

impl Object for MutableMap {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        locked(&self.0).get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(locked(&self.0).keys().cloned().collect())
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "update" => {
                let (other,): (Value,) = from_args(args)?;
                let keys: Vec<Value> = other.try_iter()?.collect();
                for key in keys {
                    let value = other.get_item(&key)?;
                    locked(&self.0).insert(key, value);
                }
                Ok(Value::from(()))
            }
            "setdefault" => {
                let (key, value): (Value, Value) = from_args(args)?;
                Ok(locked(&self.0).entry(key).or_insert(value).clone())
            }
            "pop" => {
                let (key, default): (Value, Option<Value>) = from_args(args)?;
                let taken = locked(&self.0).shift_remove(&key).or(default);
                taken.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("no key {key} to pop")))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// A list or mapping as one that can be changed in place; anything else as it is.
#[allow(
    clippy::needless_pass_by_value,
    reason = "a template function takes its arguments by value"
)]
pub(crate) fn mutable(value: Value) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::Seq => Value::from_object(MutableList(Mutex::new(value.try_iter()?.collect()))),
        ValueKind::Map => {
            let mut map = IndexMap::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                map.insert(key, item);
            }
            Value::from_object(MutableMap(Mutex::new(map)))
        }
        _ => value,
    })
}
