//! Tests are small projects in one text; `check…` functions plan them and give what is compared.

pub(crate) mod analytics;
mod checks;
mod errors;
mod models;
mod refresh;
mod selection;
mod snapshots;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{Inputs, Project, Step, plan};

/// `dbt_project.yml` of every test project that brings none.
const PROJECT: &str = "name: shop\nprofile: shop\n";

/// Files of a project: each starts with a line `--- path`.
fn files(text: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    files.insert("dbt_project.yml".to_owned(), PROJECT.to_owned());
    for part in format!("\n{}", text.trim_start()).split("\n--- ").skip(1) {
        let (path, body) = part.split_once('\n').unwrap_or((part, ""));
        files.insert(path.trim().to_owned(), format!("{body}\n"));
    }
    files
}

pub(crate) fn inputs() -> Inputs {
    Inputs {
        target_name: "dev".to_owned(),
        target_schema: "main".to_owned(),
        database: "db".to_owned(),
        run_started_at: "2026-01-02T03:04:05+00:00".to_owned(),
        ..Inputs::default()
    }
}

/// Every statement and test query of the plan, or the error.
fn check_with(project: &str, inputs: &Inputs) -> String {
    let planned = Project::load(&files(project)).and_then(|project| plan(&project, inputs));
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => return format!("error: {error}"),
    };
    let mut out = format!("schemas: {}\n", plan.schemas.join(" "));
    for step in &plan.steps {
        match step {
            Step::Seed(step) => {
                let statements = step.before.iter().chain(&step.after);
                let _ = writeln!(out, "== {}", step.node);
                statements.for_each(|statement| _ = writeln!(out, "{};", statement.sql));
                step.rows.iter().for_each(|row| _ = writeln!(out, "{row:?}"));
            }
            Step::Model(step) => {
                let _ = writeln!(out, "== {} ({})", step.node, step.reason);
                step.statements
                    .iter()
                    .for_each(|statement| _ = writeln!(out, "{};", statement.sql));
            }
            Step::Snapshot(step) => {
                let _ = writeln!(out, "== {} (snapshot)\n{}", step.node, step.query);
            }
            Step::Test(step) => {
                let _ = writeln!(out, "== {}\n{}", step.node, step.sql);
            }
        }
    }
    out
}

fn check(project: &str) -> String {
    check_with(project, &inputs())
}
