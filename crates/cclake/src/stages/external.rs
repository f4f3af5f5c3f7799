//! `transform_engine = "dbt"`: the installed dbt builds on a copy of the warehouse, which takes its place when it passes.
//!
//! dbt commits model by model, so that readers of the warehouse itself would see a half-built state, and a failed test would
//! come too late. The copy is switched in by one rename, with the notes of the build inside.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cclake_plan::{BuildPlan, Step, Verdict, What};
use cclake_warehouse::{Access, BuildReport, DATABASE, ModelResult, TestResult, Warehouse};
use serde::Deserialize;
use serde_json::json;

use super::build::BuildScope;
use super::load::open_warehouse;
use crate::printer::Printer;
use crate::project;
use crate::settings::Settings;

/// Lines of dbt's output to repeat when it left no results.
const LAST_LINES: usize = 12;

/// How long an interrupt may go unnoticed while dbt works.
const HEED: Duration = Duration::from_millis(20);

/// Whether Ctrl-C or a SIGTERM asked for the end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Builds with dbt. The warehouse is closed meanwhile and given back as it is after the build.
///
/// `plan` is what the built-in runner would do, where it understands the project: only it knows when a changed model or
/// setting asks for a full refresh, and what the models were made from.
///
/// # Errors
/// When dbt is missing, refuses the project or fails in a model or in a test's own SQL; the warehouse is as before then.
pub(super) fn build(
    settings: &Settings,
    warehouse: Warehouse,
    scope: &BuildScope,
    plan: Option<&BuildPlan>,
    printer: &Printer,
) -> anyhow::Result<(BuildReport, Warehouse)> {
    note_interrupts()?;
    warehouse.checkpoint()?;
    drop(warehouse);
    // What a link leads to is what the copy takes the place of.
    let file = std::fs::canonicalize(&settings.duckdb_path)
        .with_context(|| format!("cannot find {}", settings.duckdb_path.display()))?;
    let copy = Copy::of(&file)?;
    let dbt = Dbt::new(settings)?;
    heed_interrupt()?;
    let mut report = dbt.run(&copy, scope, plan, printer)?;
    report.published = report.tests.iter().all(|test| test.verdict != Verdict::Fail);
    if report.published {
        let began = Instant::now();
        let warehouse = open_warehouse(
            &Settings {
                duckdb_path: copy.file(),
                ..settings.clone()
            },
            Access::ReadWrite,
        )
        .context(
            "cclake cannot read what dbt wrote: use a dbt-duckdb whose DuckDB is no newer than cclake's",
        )?;
        warehouse.note_build(plan, &report)?;
        drop(warehouse);
        // What is switched in is published; an interrupt from here on changes nothing.
        heed_interrupt()?;
        copy.take_the_place_of(&file)?;
        report.publish_time = began.elapsed();
    }
    let warehouse = open_warehouse(settings, Access::ReadWrite)?;
    if !report.published {
        warehouse.note_refusal(plan, &report)?;
    }
    Ok((report, warehouse))
}

/// From here on an interrupt is a flag: the copy is to be removed before the end.
fn note_interrupts() -> anyhow::Result<()> {
    match ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)) {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(()),
        Err(error) => Err(error).context("cannot wait for Ctrl-C"),
    }
}

fn heed_interrupt() -> anyhow::Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted while dbt was building: the warehouse is as it was before");
    }
    Ok(())
}

/// A copy of the warehouse in a folder of its own beside it: on the same disk, so that a rename can switch it in. Gone when
/// dropped.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn of(warehouse: &Path) -> anyhow::Result<Self> {
        let mut folder = warehouse.as_os_str().to_owned();
        folder.push(".dbt");
        let copy = Self {
            folder: folder.into(),
        };
        copy.remove();
        let what = || format!("cannot copy the warehouse to {}", copy.folder.display());
        std::fs::create_dir_all(&copy.folder).with_context(what)?;
        std::fs::copy(warehouse, copy.file()).with_context(what)?;
        Ok(copy)
    }

    /// dbt calls the database by the file's stem, and views name it.
    fn file(&self) -> PathBuf {
        self.folder.join(format!("{DATABASE}.db"))
    }

    /// What dbt says.
    fn log(&self) -> PathBuf {
        self.folder.join("dbt.log")
    }

    fn take_the_place_of(&self, warehouse: &Path) -> anyhow::Result<()> {
        let what = || format!("cannot switch the built copy in as {}", warehouse.display());
        let sync = |path: &Path| std::fs::File::open(path).and_then(|file| file.sync_all());
        sync(&self.file()).with_context(what)?;
        std::fs::rename(self.file(), warehouse).with_context(what)?;
        sync(warehouse.parent().unwrap_or(Path::new("/"))).with_context(what)
    }

    fn remove(&self) {
        // Left over by a crash or not there; what cannot be removed fails the copying.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The installed dbt, with the project written out for it.
struct Dbt<'a> {
    settings: &'a Settings,
    /// The project's files.
    project: PathBuf,
    /// Where it leaves its artifacts.
    target: PathBuf,
}

impl<'a> Dbt<'a> {
    fn new(settings: &'a Settings) -> anyhow::Result<Self> {
        let project = settings.data_dir.join("dbt");
        let what = || format!("cannot write the dbt project to {}", project.display());
        match std::fs::remove_dir_all(&project) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(what),
            _ => {}
        }
        for (name, text) in project::files(settings)? {
            let path = project.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(&project)).with_context(what)?;
            std::fs::write(&path, text).with_context(what)?;
        }
        Ok(Self {
            settings,
            project,
            target: settings.data_dir.join("target"),
        })
    }

    fn run(
        &self,
        copy: &Copy,
        scope: &BuildScope,
        plan: Option<&BuildPlan>,
        printer: &Printer,
    ) -> anyhow::Result<BuildReport> {
        let results = self.target.join("run_results.json");
        // So that results read below are of this run.
        match std::fs::remove_file(&results) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", results.display()));
            }
            _ => {}
        }
        let mut command = self.command(&copy.file(), scope, plan);
        printer.detail(&format!("{command:?}"));
        let began = Instant::now();
        let ended = self.finish(&mut command, &copy.log())?;
        let time = began.elapsed();
        printer.detail(&ended.said);
        let program = &self.settings.dbt_program;
        let Ok(text) = std::fs::read_to_string(&results) else {
            bail!("{program} built nothing: {}", ended.last_lines());
        };
        let report = RunResults::read(&text)
            .with_context(|| format!("{} is not what dbt writes", results.display()))?
            .report(time)?;
        if report.models.is_empty() && report.tests.is_empty() {
            bail!("{program} found nothing to build: {}", ended.last_lines());
        }
        let has_failed = report.tests.iter().any(|test| test.verdict == Verdict::Fail);
        // dbt ends with 1 when a test failed. Otherwise something kept it from its end, and what it wrote is a part.
        match ended.code {
            Some(0) => Ok(report),
            Some(1) if has_failed => Ok(report),
            _ => bail!("{program} broke off: {}", ended.last_lines()),
        }
    }

    /// Waits for dbt's end, or for an interrupt, which ends it.
    fn finish(&self, command: &mut Command, log: &Path) -> anyhow::Result<Ended> {
        let what = || format!("cannot keep what dbt says in {}", log.display());
        let file = File::create(log).with_context(what)?;
        let also = file.try_clone().with_context(what)?;
        command.stdin(Stdio::null()).stdout(file).stderr(also);
        let mut dbt = command.spawn().map_err(|error| self.cannot_start(&error))?;
        let status = loop {
            let status = dbt.try_wait().context("cannot wait for dbt")?;
            if INTERRUPTED.load(Ordering::Relaxed) {
                // It may have heard of it too and be gone.
                let _ = dbt.kill();
                let _ = dbt.wait();
                heed_interrupt()?;
            }
            if let Some(status) = status {
                break status;
            }
            std::thread::sleep(HEED);
        };
        Ok(Ended {
            code: status.code(),
            said: String::from_utf8_lossy(&std::fs::read(log).with_context(what)?).into_owned(),
        })
    }

    fn command(&self, database: &Path, scope: &BuildScope, plan: Option<&BuildPlan>) -> Command {
        let settings = self.settings;
        let vars = json!({"timezone": settings.time_zone, "on_delete": settings.on_delete.name()});
        let mut command = Command::new(&settings.dbt_program);
        command
            .arg(if scope.what == What::Tests {
                "test"
            } else {
                "build"
            })
            .arg("--project-dir")
            .arg(&self.project)
            .arg("--profiles-dir")
            .arg(&self.project)
            .arg("--target-path")
            .arg(&self.target)
            .args(["--vars", &vars.to_string()])
            .env("DUCKDB_PATH", database)
            .current_dir(&self.project);
        // Nothing leaves this machine unasked.
        for (name, value) in [
            ("DBT_SEND_ANONYMOUS_USAGE_STATS", "false"),
            ("DBT_VERSION_CHECK", "false"),
        ] {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        if scope.what == What::Models {
            command.args(["--exclude-resource-type", "test"]);
        }
        if scope.what != What::Tests && (scope.full_refresh || plan.is_some_and(wants_full_refresh)) {
            command.arg("--full-refresh");
        }
        if let Some(target) = &settings.dbt_target {
            command.args(["--target", target]);
        }
        for (flag, selectors) in [
            ("--select", &scope.selection.select),
            ("--exclude", &scope.selection.exclude),
        ] {
            if !selectors.is_empty() {
                command.arg(flag).args(selectors);
            }
        }
        command
    }

    fn cannot_start(&self, error: &std::io::Error) -> anyhow::Error {
        let program = &self.settings.dbt_program;
        match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!(
                "transform_engine is dbt, but there is no program `{program}`: install it (`pip install dbt-core dbt-duckdb`), name it by dbt_program, or set transform_engine to builtin"
            ),
            _ => anyhow::anyhow!("cannot start {program} (setting dbt_program): {error}"),
        }
    }
}

/// Whether an incremental model was made from something else than it would be now: dbt cannot know, and would only add to it.
fn wants_full_refresh(plan: &BuildPlan) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(step, Step::Model(model) if model.full_refresh))
}

/// How dbt ended.
struct Ended {
    /// None where a signal ended it.
    code: Option<i32>,
    /// Its output, errors too.
    said: String,
}

impl Ended {
    fn last_lines(&self) -> String {
        let lines = self.said.lines().map(str::trim);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(" / ")
    }
}

/// dbt's `run_results.json`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct RunResults {
    results: Vec<NodeResult>,
}

#[derive(Debug, Deserialize)]
struct NodeResult {
    unique_id: String,
    status: String,
    execution_time: f64,
    failures: Option<i64>,
    message: Option<String>,
}

impl RunResults {
    fn read(text: &str) -> anyhow::Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// As if we had built. Nodes run side by side, so the whole `time` is shared out by the time they took.
    fn report(self, time: Duration) -> anyhow::Result<BuildReport> {
        let mut report = BuildReport::default();
        let [mut models, mut tests] = [0.0, 0.0];
        for node in self.results {
            let is_test = node.is_test();
            let verdict = match node.status.as_str() {
                "pass" | "success" => Verdict::Pass,
                "warn" => Verdict::Warn,
                "fail" => Verdict::Fail,
                "error" | "runtime error" | "partial success" => bail!(
                    "{} failed in dbt: {}",
                    node.unique_id,
                    node.message.unwrap_or_default().trim()
                ),
                // Models after a failed test are skipped; exposures are nothing to do.
                "skipped" | "no-op" | "reused" => continue,
                other => bail!(
                    "dbt says `{other}` of {}, which cclake does not know",
                    node.unique_id
                ),
            };
            *(if is_test { &mut tests } else { &mut models }) += node.execution_time;
            if is_test {
                report.tests.push(TestResult {
                    name: node.name(),
                    node: node.unique_id,
                    verdict,
                    failures: node.failures.unwrap_or(0),
                });
            } else {
                report.models.push(ModelResult {
                    node: node.unique_id,
                    reason: "built by dbt".to_owned(),
                    time: seconds(node.execution_time),
                });
            }
        }
        let share = if models + tests > 0.0 {
            models / (models + tests)
        } else {
            0.0
        };
        report.models_time = time.mul_f64(share);
        report.tests_time = time.saturating_sub(report.models_time);
        Ok(report)
    }
}

impl NodeResult {
    fn is_test(&self) -> bool {
        self.unique_id.starts_with("test.") || self.unique_id.starts_with("unit_test.")
    }

    /// `test.project.name.hash` without what is around it.
    fn name(&self) -> String {
        self.unique_id
            .split('.')
            .nth(2)
            .unwrap_or(&self.unique_id)
            .to_owned()
    }
}

fn seconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time).unwrap_or_default()
}
