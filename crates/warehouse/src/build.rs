//! A build plan in one transaction: models, then tests; its commit publishes gold, a critical failure undoes it all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{DataType, Field, Schema};
use cclake_plan::{
    BuildPlan, FusedQuery, ModelStep, Purpose, SeedStep, Statement, Step, TestStep, Verdict, fuse,
};
use duckdb::Row;
use duckdb::types::Value;

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::open::{Phase, Warehouse, identifier};
use crate::rows::batch_of;
use crate::statement::check_hook;

/// How a build went.
#[derive(Debug, Default)]
pub struct BuildReport {
    /// Every seed and model with the time it took, in order.
    pub models: Vec<ModelResult>,
    /// Every test.
    pub tests: Vec<TestResult>,
    /// Whether gold is what this build made of it. Otherwise readers keep the last published state.
    pub published: bool,
    /// Time of all seeds and models.
    pub models_time: Duration,
    /// Time of all tests.
    pub tests_time: Duration,
    /// Time of the commit and of writing it to disk.
    pub publish_time: Duration,
}

/// A seed or model that was built.
#[derive(Debug, Clone)]
pub struct ModelResult {
    /// Node id, as in `model.cclake.fct_messages`.
    pub node: String,
    /// How it was built and why.
    pub reason: String,
    /// Time it took.
    pub time: Duration,
}

/// A test and what it found.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// Node id.
    pub node: String,
    /// dbt's name of the test.
    pub name: String,
    /// What the failures mean for the build.
    pub verdict: Verdict,
    /// Failing rows (for `unique`, duplicated values).
    pub failures: i64,
}

impl Warehouse {
    /// Executes `plan` in one transaction. `on_step` hears of each step before it starts.
    ///
    /// # Errors
    /// `Model` when a statement fails: its node and DuckDB's words. Nothing is changed then. A failing test is no error.
    pub fn build(&self, plan: &BuildPlan, on_step: &mut dyn FnMut(&Step)) -> Result<BuildReport> {
        self.enter(Phase::Build)?;
        self.prepare_state()?;
        self.execute("begin transaction", "cannot begin the build")?;
        let built = self.build_in_transaction(plan, on_step).and_then(|mut report| {
            report.published = report.tests.iter().all(|test| test.verdict != Verdict::Fail);
            if report.published {
                let began = Instant::now();
                self.write_state(plan, &report)?;
                self.execute("commit", "cannot publish the build")?;
                self.checkpoint()?;
                report.publish_time = began.elapsed();
            }
            Ok(report)
        });
        if !built.as_ref().is_ok_and(|report| report.published) {
            // The first error is the one to report; a rollback that fails too adds nothing.
            let _ = self.connection.execute_batch("rollback");
        }
        let report = built?;
        if !report.published {
            self.note_refusal(Some(plan), &report)?;
        }
        Ok(report)
    }

    fn build_in_transaction(&self, plan: &BuildPlan, on_step: &mut dyn FnMut(&Step)) -> Result<BuildReport> {
        let mut report = BuildReport::default();
        for schema in &plan.schemas {
            let schema = schema.replace('"', "\"\"");
            self.execute(
                &format!("create schema if not exists \"{schema}\""),
                "cannot create a schema",
            )?;
        }
        let began = Instant::now();
        let mut tests = Vec::new();
        for step in &plan.steps {
            let began = Instant::now();
            let reason = match step {
                Step::Test(test) => {
                    tests.push(test);
                    continue;
                }
                Step::Model(model) => {
                    on_step(step);
                    self.build_model(model)?;
                    model.reason.clone()
                }
                Step::Seed(seed) => {
                    on_step(step);
                    self.build_seed(seed)?
                }
                Step::Snapshot(snapshot) => {
                    on_step(step);
                    self.build_snapshot(snapshot)?
                }
            };
            report.models.push(ModelResult {
                node: step.node().to_owned(),
                reason,
                time: began.elapsed(),
            });
        }
        report.models_time = began.elapsed();
        let began = Instant::now();
        report.tests = self.run_tests(&tests)?;
        report.tests_time = began.elapsed();
        Ok(report)
    }

    fn build_model(&self, model: &ModelStep) -> Result<()> {
        self.run_statements(&model.node, &model.statements)
    }

    pub(crate) fn run_statements(&self, node: &str, statements: &[Statement]) -> Result<()> {
        for statement in statements {
            let what = || format!("{node} failed");
            if matches!(statement.purpose, Purpose::PreHook | Purpose::PostHook) {
                check_hook(&statement.sql).map_err(|error| error.while_doing(&what()))?;
            }
            self.execute(&statement.sql, &what())?;
        }
        Ok(())
    }

    fn build_seed(&self, seed: &SeedStep) -> Result<String> {
        if seed.unchanged {
            return Ok("unchanged".to_owned());
        }
        self.run_statements(&seed.node, &seed.before)?;
        let what = format!("{} failed", seed.node);
        let texts: Vec<_> = seed
            .columns
            .iter()
            .map(|(name, _)| format!("{} varchar", identifier(name)))
            .collect();
        self.execute(
            &format!("create or replace temp table seed_texts ({})", texts.join(", ")),
            &what,
        )?;
        let fields: Vec<_> = seed
            .columns
            .iter()
            .map(|(name, _)| Field::new(name, DataType::Utf8, true))
            .collect();
        let columns = (0..seed.columns.len())
            .map(|column| {
                let cells = seed.rows.iter().map(|row| row.get(column).cloned().flatten());
                Arc::new(cells.collect::<StringArray>()) as ArrayRef
            })
            .collect();
        self.append(
            "seed_texts",
            "temp",
            [batch_of(Arc::new(Schema::new(fields)), columns)],
        )?;
        let casts: Vec<_> = seed
            .columns
            .iter()
            .map(|(name, kind)| format!("cast({} as {kind})", identifier(name)))
            .collect();
        let relation = &seed.relation;
        self.execute(
            &format!(
                "insert into {relation} select {} from temp.seed_texts; drop table temp.seed_texts",
                casts.join(", ")
            ),
            &what,
        )?;
        self.run_statements(&seed.node, &seed.after)?;
        Ok("loaded".to_owned())
    }

    /// A few queries answer most tests; only where one found something does the test's own query count.
    fn run_tests(&self, tests: &[&TestStep]) -> Result<Vec<TestResult>> {
        let by_node: BTreeMap<&str, &TestStep> =
            tests.iter().map(|test| (test.node.as_str(), *test)).collect();
        let mut results = Vec::with_capacity(tests.len());
        for query in fuse(tests.iter().copied()) {
            let found = self
                .findings(&query)
                .map_err(|error| self.culprit(&query, &by_node).unwrap_or(error))?;
            for (node, findings) in query.scans.iter().flatten().zip(found) {
                let test = by_node
                    .get(node.as_str())
                    .ok_or_else(|| Error::new(ErrorKind::Model, format!("{node} is in no plan")))?;
                let (failures, verdict) = if findings == 0 {
                    (0, Verdict::Pass)
                } else {
                    self.count_failures(test)?
                };
                results.push(TestResult {
                    node: node.clone(),
                    name: test.name.clone(),
                    verdict,
                    failures,
                });
            }
        }
        Ok(results)
    }

    /// Which test of a query that broke off DuckDB does not accept on its own either, and why. None where only a row's value
    /// broke it: the transaction is over then, and answers nothing more.
    fn culprit(&self, query: &FusedQuery, tests: &BTreeMap<&str, &TestStep>) -> Option<Error> {
        query.scans.iter().flatten().find_map(|node| {
            let sql = &tests.get(node.as_str())?.count_sql;
            let prepared = self.connection.prepare(sql).map(drop);
            prepared
                .during(ErrorKind::Model, format!("the test {node} failed to run"))
                .err()
        })
    }

    /// The numbers of all scans, in their order.
    fn findings(&self, query: &FusedQuery) -> Result<Vec<i64>> {
        let what = || format!("{} failed to run", names(query));
        let mut statement = self
            .connection
            .prepare(&query.sql)
            .during(ErrorKind::Model, what())?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, usize>(0)?, row.get::<_, Value>(1)?)))
            .during(ErrorKind::Model, what())?;
        let scans: BTreeMap<usize, Value> = rows
            .collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Model, what())?;
        let found: Vec<i64> = scans.into_values().flat_map(integers).collect();
        if found.len() == query.scans.concat().len() {
            Ok(found)
        } else {
            Err(Error::new(ErrorKind::Model, "a test gave no number".to_owned()))
        }
    }

    fn count_failures(&self, test: &TestStep) -> Result<(i64, Verdict)> {
        let sql = format!(
            "select coalesce(cast(failures as bigint), 0), cast(should_warn as boolean), cast(should_error as boolean)\nfrom (\n{}\n) as counts",
            test.count_sql
        );
        let flag = |row: &Row<'_>, column| row.get(column).map(|flag: Option<bool>| flag.unwrap_or(false));
        self.connection
            .query_row(&sql, [], |row| {
                Ok((row.get(0)?, test.verdict(flag(row, 1)?, flag(row, 2)?)))
            })
            .during(ErrorKind::Model, format!("{} failed to count", test.node))
    }

    pub(crate) fn execute(&self, sql: &str, what: &str) -> Result<()> {
        self.connection.execute_batch(sql).during(ErrorKind::Model, what)
    }
}

/// Some of the tests in a query that broke off: DuckDB's words tell the rest.
fn names(query: &FusedQuery) -> String {
    match query.scans.concat().as_slice() {
        [test] => format!("the test {test}"),
        [one, two] => format!("{one} or {two}"),
        [one, two, more @ ..] => format!("one of the tests {one}, {two} and {} more", more.len()),
        [] => "no test".to_owned(),
    }
}

/// The integers of a list.
fn integers(list: Value) -> Vec<i64> {
    let Value::List(items) = list else {
        return Vec::new();
    };
    let integer = |item| {
        if let Value::BigInt(integer) = item {
            Some(integer)
        } else {
            None
        }
    };
    items.into_iter().filter_map(integer).collect()
}
