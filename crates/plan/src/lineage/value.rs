//! Where a value comes from, and the arithmetic of that: what an expression makes of the values in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// Something a value was made from: a column of a relation, or a place inside the JSON that it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// Id of the node.
    pub node: String,
    /// The column; none where only the number of rows matters, as in `count(*)`.
    pub column: Option<String>,
    /// Steps into its JSON: names, and [`ELEMENT`] for any element of a list.
    pub path: Vec<String>,
}

/// The step from a list to its elements.
pub const ELEMENT: &str = "[]";

impl Field {
    /// Column and path as people write it: `message.content[].text`; `*` for rows.
    pub fn path_text(&self) -> String {
        let mut text = self.column.clone().unwrap_or_else(|| "*".to_owned());
        for step in &self.path {
            if step != ELEMENT {
                text.push('.');
            }
            text.push_str(step);
        }
        text
    }
}

/// What happened to a field on its way into a value; later ones are further away from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// It is the value; a cast changes nothing about that.
    Copied,
    /// A part of its JSON is the value.
    Extracted,
    /// The value was computed from it.
    Computed,
    /// It only decides which value is taken: the condition of a `case`, a `filter`, the order of a window.
    Decides,
}

impl Via {
    /// One word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Copied => "copied",
            Via::Extracted => "extracted",
            Via::Computed => "computed",
            Via::Decides => "decides",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one field reaches a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) via: Via,
    /// Whether a further step into the value is a step into the field.
    pub(super) open: bool,
    /// Lists put around it: so many steps to an element lead back to the field itself.
    pub(super) wrapped: u8,
}

impl Flow {
    pub(super) const COPIED: Flow = Flow {
        via: Via::Copied,
        open: true,
        wrapped: 0,
    };

    /// The same field on two ways into one value.
    fn beside(self, other: Flow) -> Flow {
        let via = match (self.via, other.via) {
            (Via::Decides, Via::Decides) => Via::Decides,
            (Via::Decides, value) | (value, Via::Decides) => value.max(Via::Computed),
            (one, two) => one.max(two),
        };
        let wrapped = match (self.open, other.open) {
            (true, false) => self.wrapped,
            (false, true) => other.wrapped,
            _ => self.wrapped.min(other.wrapped),
        };
        Flow {
            via,
            open: self.open || other.open,
            wrapped,
        }
    }
}

/// A value: the fields it was made from, or why they cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Value {
    pub(super) inputs: BTreeMap<Field, Flow>,
    pub(super) unknown: Option<String>,
}

impl Value {
    /// Made from nothing: a literal.
    pub(super) fn constant() -> Value {
        Value::default()
    }

    pub(super) fn unknown(reason: impl Into<String>) -> Value {
        Value {
            inputs: BTreeMap::new(),
            unknown: Some(reason.into()),
        }
    }

    pub(super) fn of(field: Field) -> Value {
        Value {
            inputs: BTreeMap::from([(field, Flow::COPIED)]),
            unknown: None,
        }
    }

    /// Both values in one: the rows of a union, the branches of a `case`.
    pub(super) fn beside(mut self, other: Value) -> Value {
        for (field, flow) in other.inputs {
            self.add(field, flow);
        }
        self.unknown = self.unknown.or(other.unknown);
        self
    }

    pub(super) fn add(&mut self, field: Field, flow: Flow) {
        match self.inputs.entry(field) {
            Entry::Vacant(entry) => _ = entry.insert(flow),
            Entry::Occupied(mut entry) => *entry.get_mut() = entry.get().beside(flow),
        }
    }

    pub(super) fn all(values: impl IntoIterator<Item = Value>) -> Value {
        values.into_iter().fold(Value::constant(), Value::beside)
    }

    fn each(mut self, change: impl Fn(&mut Flow)) -> Value {
        self.inputs.values_mut().for_each(change);
        self
    }

    /// Something else was made of it.
    pub(super) fn computed(self) -> Value {
        self.each(|flow| {
            flow.via = flow.via.max(Via::Computed);
            flow.open = false;
        })
    }

    /// It may be this value as it is, or another one: steps into the result are steps into it.
    pub(super) fn chosen(self) -> Value {
        self.each(|flow| flow.via = flow.via.max(Via::Computed))
    }

    /// It decides about another value.
    pub(super) fn decides(self) -> Value {
        self.each(|flow| {
            flow.via = Via::Decides;
            flow.open = false;
        })
    }

    /// It becomes an element of a list.
    pub(super) fn wrapped(self) -> Value {
        self.each(|flow| flow.wrapped = flow.wrapped.saturating_add(1))
    }

    /// A part of it, by name.
    pub(super) fn member(self, name: &str) -> Value {
        self.step(|path, flow| {
            flow.via = flow.via.max(Via::Extracted);
            path.push(name.to_owned());
        })
    }

    /// Any element of the list that it is.
    pub(super) fn element(self) -> Value {
        self.step(|path, flow| {
            if flow.wrapped > 0 {
                flow.wrapped -= 1;
            } else {
                flow.via = flow.via.max(Via::Extracted);
                path.push(ELEMENT.to_owned());
            }
        })
    }

    /// What `x[1]` is. JSON has no lists of lists here, so that behind an element this is a character of its text.
    pub(super) fn indexed(self) -> Value {
        let (text, lists) = self.split(|field, flow| {
            flow.open && flow.wrapped == 0 && field.path.last().is_some_and(|step| step == ELEMENT)
        });
        text.computed().beside(lists.element())
    }

    fn split(self, test: impl Fn(&Field, &Flow) -> bool) -> (Value, Value) {
        let (yes, no) = self
            .inputs
            .into_iter()
            .partition(|(field, flow)| test(field, flow));
        let rest = Value {
            inputs: no,
            unknown: self.unknown,
        };
        (
            Value {
                inputs: yes,
                unknown: None,
            },
            rest,
        )
    }

    fn step(self, change: impl Fn(&mut Vec<String>, &mut Flow)) -> Value {
        let mut stepped = Value {
            inputs: BTreeMap::new(),
            unknown: self.unknown,
        };
        for (mut field, mut flow) in self.inputs {
            if flow.open && field.column.is_some() {
                change(&mut field.path, &mut flow);
            }
            stepped.add(field, flow);
        }
        stepped
    }
}
