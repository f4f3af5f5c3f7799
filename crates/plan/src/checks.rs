//! What tests are about: the column each stands under, and the references between tables that `relationships` tests.

use serde_json::Value as Json;

use crate::graph::config::Severity;
use crate::graph::{Detail, Graph, Node};

/// A test of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its node id.
    pub id: String,
    /// Kind of a generic test (`unique`), or the name of a singular one.
    pub name: String,
    /// Id of the node it stands under; none for singular tests.
    pub node: Option<String>,
    /// Column it stands under.
    pub column: Option<String>,
    /// What a failure means.
    pub severity: Severity,
    /// Column of another table that this column's values must be in.
    pub refers_to: Option<(String, String)>,
    /// Further arguments, as `name: value`.
    pub arguments: Vec<String>,
}

impl Graph {
    /// All tests, by id.
    pub fn checks(&self) -> Vec<Check> {
        self.nodes.values().filter_map(|node| self.check(node)).collect()
    }

    fn check(&self, node: &Node) -> Option<Check> {
        let check = |config: &crate::graph::config::TestConfig| Check {
            id: node.id.clone(),
            name: node.name.clone(),
            node: None,
            column: None,
            severity: config.severity,
            refers_to: None,
            arguments: Vec::new(),
        };
        match &node.detail {
            Detail::Singular(config) => Some(check(config)),
            Detail::Generic(config, test) => {
                let own = |name: &str| !matches!(name, "model" | "column_name");
                let argument = |(name, value): (&String, &Json)| format!("{name}: {}", readable(value));
                let arguments = test.arguments.iter().filter(|(name, _)| own(name));
                Some(Check {
                    name: test.name.clone(),
                    node: Some(test.attached.clone()),
                    column: test.column.clone(),
                    refers_to: self.refers_to(node, test.arguments.get("to"), test.arguments.get("field")),
                    arguments: arguments.map(argument).collect(),
                    ..check(config)
                })
            }
            _ => None,
        }
    }

    /// `to: ref('x')`, `field: y` as (id of x, y).
    fn refers_to(&self, node: &Node, to: Option<&Json>, field: Option<&Json>) -> Option<(String, String)> {
        let (to, field) = (to?.as_str()?, field?.as_str()?);
        let name = to.rsplit(['\'', '"']).nth(1)?;
        let target = node.depends_on.iter().find(|id| {
            let named = self.nodes.get(*id).map(|parent| parent.name.as_str());
            named.is_some_and(|parent| parent.rsplit('.').next() == Some(name))
        })?;
        Some((target.clone(), field.to_owned()))
    }
}

/// Texts without quotes, lists without brackets.
fn readable(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(readable).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
