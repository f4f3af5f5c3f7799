//! Fusing: many tests on one relation answered by one scan.

use indexmap::IndexMap;
use minijinja::value::Value;

use crate::compile;
use crate::error::Result;
use crate::graph::{Detail, GenericTest, Node};
use crate::jinja::catalog::{ADAPTER, DBT};
use crate::jinja::session::Session;
use crate::plan::TestStep;

/// An aggregate over a relation that is 0 exactly when a test passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What stands after `from`: a relation, or a subquery where the test has a `where`.
    pub from: String,
    /// The aggregate.
    pub expression: String,
}

/// One query for several tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FusedQuery {
    /// Gives one row with one number per test: 0 exactly when that test has nothing to report. For another number
    /// run the test's own `count_sql`.
    pub sql: String,
    /// Node ids of the tests, in the order of the columns.
    pub tests: Vec<String>,
}

/// Groups tests that can share a scan. Every test is in exactly one query; the queries are in the order of their
/// first tests.
pub fn fuse<'a>(tests: impl IntoIterator<Item = &'a TestStep>) -> Vec<FusedQuery> {
    let mut fused: IndexMap<String, (Vec<&str>, Vec<&'a TestStep>)> = IndexMap::new();
    for test in tests {
        match &test.probe {
            Some(probe) => {
                let (expressions, tests) = fused.entry(probe.from.clone()).or_default();
                expressions.push(&probe.expression);
                tests.push(test);
            }
            None => {
                fused.insert(format!("\u{1}{}", test.node), (Vec::new(), vec![test]));
            }
        }
    }
    fused
        .into_iter()
        .map(|(from, (expressions, tests))| query(&from, &expressions, &tests))
        .collect()
}

fn query(from: &str, expressions: &[&str], tests: &[&TestStep]) -> FusedQuery {
    let ids = tests.iter().map(|test| test.node.clone()).collect();
    let sql = if let ([], [test]) = (expressions, tests) {
        alone(test)
    } else {
        let columns = expressions
            .iter()
            .enumerate()
            .map(|(at, expression)| format!("  {expression} as t{at}"));
        let columns: Vec<String> = columns.collect();
        format!("select\n{}\nfrom {from}", columns.join(",\n"))
    };
    FusedQuery { sql, tests: ids }
}

fn alone(test: &TestStep) -> String {
    if test.plain {
        format!("select count(*) as t0\nfrom (\n{}\n) dbt_internal_test", test.sql)
    } else {
        format!(
            "select cast(should_warn or should_error as integer) as t0\nfrom (\n{}\n) dbt_internal_test",
            test.count_sql
        )
    }
}

/// The probe of dbt's own unique, not_null and accepted_values; none if the project overrides them.
pub(crate) fn probe(session: &Session, node: &Node) -> Result<Option<Probe>> {
    let Detail::Generic(_, test) = &node.detail else {
        return Ok(None);
    };
    if !is_dbts(session, test) {
        return Ok(None);
    }
    compile::enter(session, node, false);
    let found = aggregate(session, node, test);
    session.leave();
    found
}

fn is_dbts(session: &Session, test: &GenericTest) -> bool {
    let catalog = &session.shared.catalog;
    let implemented = catalog.dispatch(DBT, &format!("test_{}", test.name), Some(DBT));
    let overridden = catalog
        .get(&catalog.root, &format!("{ADAPTER}__get_where_subquery"))
        .is_some();
    test.found.package == DBT && implemented.is_some_and(|found| found.package == DBT) && !overridden
}

fn aggregate(session: &Session, node: &Node, test: &GenericTest) -> Result<Option<Probe>> {
    let argument = |name: &str| compile::test_argument(session, &node.place, test, name);
    let (Some(model), Some(column)) = (argument("model")?, argument("column_name")?) else {
        return Ok(None);
    };
    let expression = match test.name.as_str() {
        "unique" => format!("count({column}) - count(distinct {column})"),
        "not_null" => format!("count(*) filter (where {column} is null)"),
        "accepted_values" => {
            let Some(values) = argument("values")? else {
                return Ok(None);
            };
            let quoted = argument("quote")?.is_none_or(|quote| quote.is_true());
            let Ok(values) = values.try_iter() else {
                return Ok(None);
            };
            let one = |value: Value| {
                if quoted {
                    format!("'{}'", python_text(&value))
                } else {
                    python_text(&value)
                }
            };
            let values: Vec<String> = values.map(one).collect();
            if values.is_empty() {
                return Ok(None);
            }
            format!("count(*) filter (where {column} not in ({}))", values.join(","))
        }
        _ => return Ok(None),
    };
    Ok(Some(Probe {
        from: model.to_string(),
        expression,
    }))
}

/// As the template would print it.
fn python_text(value: &Value) -> String {
    match value.kind() {
        minijinja::value::ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_owned(),
        minijinja::value::ValueKind::None => "None".to_owned(),
        _ => value.to_string(),
    }
}
