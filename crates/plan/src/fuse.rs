//! Fusing: many tests answered by one query.
//!
//! Most of a small query's time goes into starting it, so tests on one relation share a scan, and scans share a query.

use indexmap::IndexMap;
use minijinja::value::Value;

use crate::compile;
use crate::error::Result;
use crate::graph::{Detail, GenericTest, Node};
use crate::jinja::catalog::{ADAPTER, DBT};
use crate::jinja::session::Session;
use crate::plan::TestStep;

/// Scans in one query: twice as many gain nothing more.
const SCANS_PER_QUERY: usize = 16;

/// A cheap way to ask whether one of dbt's own tests passes, in one query with others. What a row's value can be expected to
/// break has none: a query that breaks off over a row does not say by whose fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// An aggregate over a relation that is 0 exactly when the test passes.
    Aggregate {
        /// What stands after `from`: a relation, or a subquery where the test has a `where`.
        from: String,
        /// The aggregate.
        expression: String,
    },
    /// The test's own query, which gives no row exactly when it passes.
    Rows,
}

/// One query for several tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FusedQuery {
    /// Gives one row per scan, in any order: its number, and a list with one number per test, which is 0 exactly when
    /// that test has nothing to report. For another number run the test's own `count_sql`.
    pub sql: String,
    /// Node ids of the tests by scan, in the order of the list.
    pub scans: Vec<Vec<String>>,
}

/// One scan: what it selects, and for which tests.
struct Scan<'a> {
    /// Columns `t0`, `t1` and so on, one for each test.
    sql: String,
    tests: Vec<&'a TestStep>,
}

/// Groups tests that can share a query. Every test is in exactly one; the scans are in the order of their first tests,
/// and come before the tests that need a query of their own.
pub fn fuse<'a>(tests: impl IntoIterator<Item = &'a TestStep>) -> Vec<FusedQuery> {
    let (shared, alone): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| test.probe.is_some());
    let shared = scans(shared);
    let alone = alone.into_iter().map(scan_alone);
    shared
        .chunks(SCANS_PER_QUERY)
        .map(query)
        .chain(alone.map(|scan| query(&[scan])))
        .collect()
}

fn scans(tests: Vec<&TestStep>) -> Vec<Scan<'_>> {
    let mut scans: IndexMap<&str, (Vec<&str>, Vec<&TestStep>)> = IndexMap::new();
    for test in tests {
        let (key, expression) = match &test.probe {
            Some(Probe::Aggregate { from, expression }) => (from, Some(expression.as_str())),
            Some(Probe::Rows) | None => (&test.node, None),
        };
        let (expressions, sharing) = scans.entry(key).or_default();
        expressions.extend(expression);
        sharing.push(test);
    }
    let one = |(from, (expressions, tests)): (&str, (Vec<&str>, Vec<_>))| match tests[..] {
        [test] if expressions.is_empty() => scan_alone(test),
        _ => Scan {
            sql: scan_sql(from, &expressions),
            tests,
        },
    };
    scans.into_iter().map(one).collect()
}

fn scan_sql(from: &str, expressions: &[&str]) -> String {
    let columns = expressions
        .iter()
        .enumerate()
        .map(|(at, expression)| format!("  {expression} as t{at}"));
    let columns: Vec<String> = columns.collect();
    format!("select\n{}\nfrom {from}", columns.join(",\n"))
}

fn scan_alone(test: &TestStep) -> Scan<'_> {
    let sql = if test.plain {
        format!("select count(*) as t0\nfrom (\n{}\n) dbt_internal_test", test.sql)
    } else {
        format!(
            "select cast(should_warn or should_error as integer) as t0\nfrom (\n{}\n) dbt_internal_test",
            test.count_sql
        )
    };
    Scan {
        sql,
        tests: vec![test],
    }
}

fn query(scans: &[Scan<'_>]) -> FusedQuery {
    let parts = scans.iter().enumerate().map(|(number, scan)| {
        let findings: Vec<_> = (0..scan.tests.len())
            .map(|at| format!("coalesce(cast(t{at} as bigint), 0)"))
            .collect();
        let findings = findings.join(", ");
        format!(
            "select {number} as scan, [{findings}] as findings from (\n{}\n) scan{number}",
            scan.sql
        )
    });
    FusedQuery {
        sql: parts.collect::<Vec<_>>().join("\nunion all\n"),
        scans: scans
            .iter()
            .map(|scan| scan.tests.iter().map(|test| test.node.clone()).collect())
            .collect(),
    }
}

/// The probe of dbt's own generic tests; none if the project overrides them.
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
            // Against bare values a column of texts is cast, and any of them may not be a number.
            if argument("quote")?.is_some_and(|quote| !quote.is_true()) {
                return Ok(None);
            }
            let Ok(values) = values.try_iter() else {
                return Ok(None);
            };
            let values: Vec<String> = values.map(|value| format!("'{}'", python_text(&value))).collect();
            if values.is_empty() {
                return Ok(None);
            }
            format!("count(*) filter (where {column} not in ({}))", values.join(","))
        }
        "relationships" => return Ok(Some(Probe::Rows)),
        _ => return Ok(None),
    };
    Ok(Some(Probe::Aggregate {
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
