//! A build plan in one transaction: models, then tests; its commit publishes gold, a critical failure undoes it all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{DataType, Field, Schema};
use cclake_plan::{
    BuildPlan, ModelStep, Purpose, RelationKind, SeedStep, Statement, Step, TestStep, Verdict, fuse,
};

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::open::{DATABASE, Phase, Warehouse, identifier};
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

/// What the last published build was made from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Published {
    /// Node id → fingerprint.
    pub fingerprints: BTreeMap<String, String>,
    /// The last load (`_load_seq`) that it saw; none before the first build.
    pub load_sequence: Option<i64>,
    /// Tests that passed, warned and failed in it.
    pub tests: [u64; 3],
    /// Whether it built and tested the whole project.
    pub complete: bool,
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

    /// Keeps what the tests found of a build that they kept from being published, ours or another program's.
    ///
    /// # Errors
    /// When the notes cannot be written; then none is.
    pub fn note_refusal(&self, plan: Option<&BuildPlan>, report: &BuildReport) -> Result<()> {
        self.prepare_state()?;
        let what = "cannot note the test results";
        self.execute("begin transaction", what)?;
        let noted = self
            .write_test_results(plan.is_some_and(|plan| plan.complete), report)
            .and_then(|()| self.execute("commit", what));
        if noted.is_err() {
            let _ = self.connection.execute_batch("rollback");
        }
        noted.and_then(|()| self.checkpoint())
    }

    /// Notes a build that another program did, as if it were ours, and writes it to disk. Without a plan nothing is known of
    /// what the models were made from, so that the next build of ours makes them anew.
    ///
    /// # Errors
    /// When the notes cannot be written; then none is.
    pub fn note_build(&self, plan: Option<&BuildPlan>, report: &BuildReport) -> Result<()> {
        self.prepare_state()?;
        let what = "cannot note the build";
        self.execute("begin transaction", what)?;
        let noted = match plan {
            Some(plan) => self.write_state(plan, report),
            None => self
                .execute("delete from quality.model_state", what)
                .and_then(|()| self.write_state(&BuildPlan::default(), report)),
        }
        .and_then(|()| self.execute("commit", what));
        if noted.is_err() {
            // The first error is the one to report.
            let _ = self.connection.execute_batch("rollback");
        }
        noted.and_then(|()| self.checkpoint())
    }

    /// What exists in the database: (schema, name) → kind.
    pub fn relations(&self) -> Result<BTreeMap<(String, String), RelationKind>> {
        let what = "cannot list the relations of the warehouse";
        let mut statement = self
            .connection
            .prepare(
                "select schema_name, table_name, false from duckdb_tables() where database_name = ?1
                 union all
                 select schema_name, view_name, true from duckdb_views() where database_name = ?1 and not internal",
            )
            .during(ErrorKind::Model, what)?;
        let rows = statement
            .query_map([DATABASE], |row| {
                let kind = if row.get(2)? {
                    RelationKind::View
                } else {
                    RelationKind::Table
                };
                Ok(((row.get(0)?, row.get(1)?), kind))
            })
            .during(ErrorKind::Model, what)?;
        rows.collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Model, what)
    }

    /// What the last published build was made from; empty when there is none.
    pub fn published(&self) -> Result<Published> {
        let what = "cannot read the state of the last build";
        let relations = self.relations()?;
        if !relations.contains_key(&("quality".to_owned(), "model_state".to_owned())) {
            return Ok(Published::default());
        }
        let mut statement = self
            .connection
            .prepare("select node, fingerprint from quality.model_state")
            .during(ErrorKind::Model, what)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .during(ErrorKind::Model, what)?;
        let fingerprints = rows
            .collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Model, what)?;
        let mut statement = self
            .connection
            .prepare(
                "select _load_seq, passed, warned, failed, complete from quality.builds where models > 0
                 order by build desc limit 1",
            )
            .during(ErrorKind::Model, what)?;
        let mut rows = statement.query([]).during(ErrorKind::Model, what)?;
        let mut published = Published {
            fingerprints,
            ..Published::default()
        };
        if let Some(row) = rows.next().during(ErrorKind::Model, what)? {
            let column = |index| row.get::<_, i64>(index).during(ErrorKind::Model, what);
            published.load_sequence = Some(column(0)?);
            for (slot, index) in published.tests.iter_mut().zip(1..) {
                *slot = u64::try_from(column(index)?).unwrap_or(0);
            }
            published.complete = row.get(4).during(ErrorKind::Model, what)?;
        }
        Ok(published)
    }

    /// The last load into `raw`; 0 before the first.
    pub fn load_sequence(&self) -> Result<i64> {
        if !self
            .relations()?
            .contains_key(&("raw".to_owned(), "loads".to_owned()))
        {
            return Ok(0);
        }
        self.connection
            .query_row("select coalesce(max(_load_seq), 0) from raw.loads", [], |row| {
                row.get(0)
            })
            .during(ErrorKind::Model, "cannot tell the last load")
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

    /// One scan per relation answers most tests; only where it found something does the test's own query count.
    fn run_tests(&self, tests: &[&TestStep]) -> Result<Vec<TestResult>> {
        let by_node: BTreeMap<&str, &TestStep> =
            tests.iter().map(|test| (test.node.as_str(), *test)).collect();
        let mut results = Vec::with_capacity(tests.len());
        for query in fuse(tests.iter().copied()) {
            let what = || format!("the tests {} failed to run", query.tests.join(", "));
            let found = self
                .numbers(&query.sql, query.tests.len())
                .map_err(|error| error.while_doing(&what()))?;
            for (node, findings) in query.tests.iter().zip(found) {
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

    fn count_failures(&self, test: &TestStep) -> Result<(i64, Verdict)> {
        let counts = self.numbers(
            &format!(
                "select failures, cast(should_warn as integer), cast(should_error as integer) from ({})",
                test.count_sql
            ),
            3,
        )?;
        match counts[..] {
            [failures, warn, error] => Ok((failures, test.verdict(warn != 0, error != 0))),
            _ => Err(Error::new(
                ErrorKind::Model,
                format!("{} gave no counts", test.node),
            )),
        }
    }

    /// The first row of a query whose columns are numbers.
    fn numbers(&self, sql: &str, columns: usize) -> Result<Vec<i64>> {
        let casts: Vec<_> = (0..columns)
            .map(|column| format!("coalesce(cast(c{column} as bigint), 0)"))
            .collect();
        let names: Vec<_> = (0..columns).map(|column| format!("c{column}")).collect();
        let sql = format!(
            "select {} from ({sql}) as counts({})",
            casts.join(", "),
            names.join(", ")
        );
        self.connection
            .query_row(&sql, [], |row| {
                (0..columns).map(|column| row.get(column)).collect()
            })
            .during(ErrorKind::Model, "a test failed to run")
    }

    fn prepare_state(&self) -> Result<()> {
        self.execute(
            "create table if not exists quality.model_state (node varchar not null, fingerprint varchar not null,
                built_at timestamptz not null);
             create table if not exists quality.builds (build bigint not null, built_at timestamptz not null,
                _load_seq bigint not null, complete boolean not null, models bigint not null, passed bigint not null,
                warned bigint not null, failed bigint not null, seconds double not null);
             create table if not exists quality.test_results (node varchar not null, name varchar not null,
                verdict varchar not null, failures bigint not null, tested_at timestamptz not null);",
            "cannot create the tables of the build's state",
        )
    }

    /// Notes what was published, in the transaction that publishes it.
    fn write_state(&self, plan: &BuildPlan, report: &BuildReport) -> Result<()> {
        let what = "cannot note what was built";
        let noted = |step: &Step| (step.node().to_owned(), step.fingerprint().to_owned());
        let (nodes, fingerprints): (Vec<_>, Vec<_>) = plan.steps.iter().map(noted).unzip();
        self.append_texts("built_nodes", &["node", "fingerprint"], vec![nodes, fingerprints])?;
        // Those of the whole project also replace what it no longer has.
        let stale = if plan.complete {
            "true"
        } else {
            "node in (select node from temp.built_nodes)"
        };
        self.execute(
            &format!(
                "delete from quality.model_state where {stale};
             insert into quality.model_state select node, fingerprint, now() from temp.built_nodes;
             drop table temp.built_nodes;"
            ),
            what,
        )?;
        if !report.tests.is_empty() {
            self.write_test_results(plan.complete, report)?;
        }
        let count = |verdict| report.tests.iter().filter(|test| test.verdict == verdict).count() as u64;
        let seconds = (report.models_time + report.tests_time).as_secs_f64();
        self.connection
            .execute(
                "insert into quality.builds
                 select coalesce(max(build), 0) + 1, now(), ?, ?, ?, ?, ?, ?, ? from quality.builds",
                duckdb::params![
                    self.load_sequence()?,
                    plan.complete,
                    report.models.len() as u64,
                    count(Verdict::Pass),
                    count(Verdict::Warn),
                    count(Verdict::Fail),
                    seconds
                ],
            )
            .during(ErrorKind::Model, what)?;
        Ok(())
    }

    fn write_test_results(&self, complete: bool, report: &BuildReport) -> Result<()> {
        let column = |pick: fn(&TestResult) -> String| report.tests.iter().map(pick).collect::<Vec<_>>();
        let columns = vec![
            column(|test| test.node.clone()),
            column(|test| test.name.clone()),
            column(|test| format!("{:?}", test.verdict).to_lowercase()),
            column(|test| test.failures.to_string()),
        ];
        self.append_texts("tested", &["node", "name", "verdict", "failures"], columns)?;
        // Those of a selection replace their own; those of the whole project also what it no longer has.
        let stale = if complete {
            "true"
        } else {
            "node in (select node from temp.tested)"
        };
        self.execute(
            &format!(
                "delete from quality.test_results where {stale};
                 insert into quality.test_results
                 select node, name, verdict, cast(failures as bigint), now() from temp.tested;
                 drop table temp.tested;"
            ),
            "cannot note the test results",
        )
    }

    /// Fills a new temporary table of texts: one appender is faster than a statement per row.
    fn append_texts(&self, table: &str, names: &[&str], columns: Vec<Vec<String>>) -> Result<()> {
        let texts: Vec<_> = names
            .iter()
            .map(|name| format!("{} varchar", identifier(name)))
            .collect();
        self.execute(
            &format!("create or replace temp table {table} ({})", texts.join(", ")),
            "cannot create a temporary table",
        )?;
        let fields: Vec<_> = names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect();
        let columns = columns
            .into_iter()
            .map(|texts| Arc::new(StringArray::from(texts)) as ArrayRef)
            .collect();
        self.append(table, "temp", [batch_of(Arc::new(Schema::new(fields)), columns)])
    }

    fn execute(&self, sql: &str, what: &str) -> Result<()> {
        self.connection.execute_batch(sql).during(ErrorKind::Model, what)
    }
}
