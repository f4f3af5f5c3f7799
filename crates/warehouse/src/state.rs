//! What the warehouse notes of its builds: what they were made from and what their tests found.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{DataType, Field, Schema};
use cclake_plan::{BuildPlan, RelationKind, Step, Verdict};

use crate::build::{BuildReport, TestResult};
use crate::error::{Context as _, ErrorKind, Result};
use crate::open::{DATABASE, Warehouse, identifier};
use crate::rows::batch_of;

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

/// Whether every test of the project was run: dbt skips those behind a failed one.
fn is_whole(plan: &BuildPlan, report: &BuildReport) -> bool {
    let tests = plan.steps.iter().filter(|step| matches!(step, Step::Test(_)));
    plan.complete && tests.count() == report.tests.len()
}

impl Warehouse {
    /// Keeps what the tests found of a build that they kept from being published, ours or another program's.
    ///
    /// # Errors
    /// When the notes cannot be written; then none is.
    pub fn note_refusal(&self, plan: Option<&BuildPlan>, report: &BuildReport) -> Result<()> {
        self.note("cannot note the test results", || {
            self.write_test_results(plan.unwrap_or(&BuildPlan::default()), report)
        })
    }

    /// Notes a build that another program did, as if it were ours, and writes it to disk. Without a plan nothing is known of
    /// what the models were made from, so that the next build of ours makes them anew.
    ///
    /// # Errors
    /// When the notes cannot be written; then none is.
    pub fn note_build(&self, plan: Option<&BuildPlan>, report: &BuildReport) -> Result<()> {
        let what = "cannot note the build";
        self.note(what, || match plan {
            Some(plan) => self.write_state(plan, report),
            None => self
                .execute("delete from quality.model_state", what)
                .and_then(|()| self.write_state(&BuildPlan::default(), report)),
        })
    }

    /// Writes notes in a transaction of their own, and them to disk.
    fn note(&self, what: &str, write: impl FnOnce() -> Result<()>) -> Result<()> {
        self.prepare_state()?;
        self.execute("begin transaction", what)?;
        let noted = write().and_then(|()| self.execute("commit", what));
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

    pub(crate) fn prepare_state(&self) -> Result<()> {
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
    pub(crate) fn write_state(&self, plan: &BuildPlan, report: &BuildReport) -> Result<()> {
        let what = "cannot note what was built";
        let noted = |step: &Step| (step.node().to_owned(), step.fingerprint().to_owned());
        let (nodes, fingerprints): (Vec<_>, Vec<_>) = plan.steps.iter().map(noted).unzip();
        self.append_texts("built_nodes", &["node", "fingerprint"], vec![nodes, fingerprints])?;
        let values = "node, fingerprint, now()";
        self.replace("quality.model_state", "built_nodes", values, plan.complete, what)?;
        if !report.tests.is_empty() {
            self.write_test_results(plan, report)?;
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

    fn write_test_results(&self, plan: &BuildPlan, report: &BuildReport) -> Result<()> {
        let column = |pick: fn(&TestResult) -> String| report.tests.iter().map(pick).collect::<Vec<_>>();
        let columns = vec![
            column(|test| test.node.clone()),
            column(|test| test.name.clone()),
            column(|test| format!("{:?}", test.verdict).to_lowercase()),
            column(|test| test.failures.to_string()),
        ];
        self.append_texts("tested", &["node", "name", "verdict", "failures"], columns)?;
        let values = "node, name, verdict, cast(failures as bigint), now()";
        let what = "cannot note the test results";
        self.replace(
            "quality.test_results",
            "tested",
            values,
            is_whole(plan, report),
            what,
        )
    }

    /// Puts the rows of a temporary table, which goes, in the place of those of the same nodes; those of the whole project
    /// also in the place of what it no longer has.
    fn replace(&self, table: &str, staged: &str, values: &str, whole: bool, what: &str) -> Result<()> {
        let stale = if whole {
            "true".to_owned()
        } else {
            format!("node in (select node from temp.{staged})")
        };
        self.execute(
            &format!(
                "delete from {table} where {stale}; insert into {table} select {values} from temp.{staged};
                 drop table temp.{staged};"
            ),
            what,
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
}
