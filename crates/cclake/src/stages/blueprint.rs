//! The dbt project as read and linked: all of a plan that does not depend on what the warehouse holds.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, bail};
use cclake_plan::{BuildPlan, ErrorKind, Graph, Inputs, Project, RelationKind, plan_graph};
use cclake_warehouse::{DATABASE, Published, Warehouse};
use serde_json::Value as Json;

use super::{BuildScope, Run};
use crate::artifacts;
use crate::printer::Printer;
use crate::project;
use crate::settings::{Settings, TransformEngine};

/// What builds, with what our own planner knows of the project.
pub(crate) enum Engine {
    /// The runner in this binary.
    Builtin(Blueprint),
    /// The installed dbt. It understands more projects than our planner; what is wrong with one, dbt says.
    Dbt(Option<Blueprint>),
}

impl Engine {
    /// The engine of the settings, with the project that was read for it, maybe beside other work.
    ///
    /// # Errors
    /// When the project cannot be read; dbt's own understanding is asked where ours ends.
    pub(crate) fn new(
        settings: &Settings,
        blueprint: anyhow::Result<Blueprint>,
        printer: &Printer,
    ) -> anyhow::Result<Self> {
        match (settings.transform_engine, blueprint) {
            (TransformEngine::Builtin, blueprint) => Ok(Self::Builtin(blueprint?)),
            (TransformEngine::Dbt, Err(error)) if is_beyond_us(&error) => {
                printer.detail(&no_plan(&error));
                Ok(Self::Dbt(None))
            }
            (TransformEngine::Dbt, blueprint) => Ok(Self::Dbt(Some(blueprint?))),
        }
    }

    /// What is to do for `scope` in a warehouse that holds this.
    pub(crate) fn job(
        &self,
        holdings: Holdings,
        scope: BuildScope,
        printer: &Printer,
    ) -> anyhow::Result<Job<'_>> {
        let blueprint = match self {
            Self::Builtin(blueprint) => Some(blueprint),
            Self::Dbt(blueprint) => blueprint.as_ref(),
        };
        let prepared = match (self, blueprint.map(|blueprint| blueprint.plan(&holdings, &scope))) {
            (Self::Dbt(_), Some(Err(error))) if is_beyond_us(&error) => {
                printer.detail(&no_plan(&error));
                None
            }
            (_, plan) => plan.transpose()?,
        };
        Ok(Job {
            uses_dbt: matches!(self, Self::Dbt(_)),
            scope,
            published: holdings.published,
            prepared,
            manifest: OnceLock::new(),
        })
    }
}

/// What of the warehouse decides about a plan. Loads change none of it.
pub(crate) struct Holdings {
    published: Published,
    existing: BTreeMap<(String, String), RelationKind>,
}

impl Holdings {
    pub(crate) fn of(warehouse: &Warehouse) -> anyhow::Result<Self> {
        Ok(Self {
            published: warehouse.published()?,
            existing: warehouse.relations()?,
        })
    }
}

/// A build to do.
pub(crate) struct Job<'a> {
    /// Whether the installed dbt is to do it.
    pub uses_dbt: bool,
    /// What was asked for.
    pub scope: BuildScope,
    /// The last build.
    pub published: Published,
    /// Our plan; none where only dbt understands the project.
    pub prepared: Option<Prepared<'a>>,
    /// Whether manifest.json could be written.
    manifest: OnceLock<anyhow::Result<()>>,
}

impl Job<'_> {
    /// Writes manifest.json, unless dbt writes its own. Whoever asks first does it; others wait.
    pub(crate) fn write_manifest(&self, settings: &Settings) -> anyhow::Result<()> {
        let prepared = self.prepared.as_ref().filter(|_| !self.uses_dbt);
        let written = self.manifest.get_or_init(|| {
            prepared.map_or(Ok(()), |prepared| artifacts::write_manifest(settings, prepared))
        });
        written.as_ref().copied().map_err(|error| anyhow!("{error:#}"))
    }
}

/// A project with all that the settings decide about it.
pub(crate) struct Blueprint {
    /// The dbt project.
    pub project: Project,
    /// What of a plan's inputs the settings and the run decide.
    pub inputs: Inputs,
    /// The project's nodes.
    pub graph: Graph,
}

impl Blueprint {
    /// Reads and links the project, for a full refresh or not: its templates may ask for that.
    pub(crate) fn read(settings: &Settings, run: &Run, full_refresh: bool) -> anyhow::Result<Self> {
        Self::of(&project::files(settings)?, settings, run, full_refresh)
    }

    /// As [`Blueprint::read`], while other work goes on.
    pub(crate) fn read_beside<T>(
        settings: &Settings,
        run: &Run,
        full_refresh: bool,
        work: impl FnOnce() -> T,
    ) -> (anyhow::Result<Self>, T) {
        let (read, done) = std::thread::scope(|threads| {
            let reader = threads.spawn(|| Self::read(settings, run, full_refresh));
            let done = work();
            (reader.join(), done)
        });
        let died = |_| {
            Err(anyhow!(
                "the thread that read the dbt project died; please report this"
            ))
        };
        (read.unwrap_or_else(died), done)
    }

    /// Links the project that these files, by their paths in it, make.
    pub(crate) fn of(
        files: &BTreeMap<String, String>,
        settings: &Settings,
        run: &Run,
        full_refresh: bool,
    ) -> anyhow::Result<Self> {
        let project = Project::load(files).context("the dbt project cannot be read")?;
        let env = environment();
        let profile = project.target(settings.dbt_target.as_deref(), &env)?;
        let inputs = Inputs {
            target_name: profile.name.clone(),
            target_schema: profile.schema.clone(),
            database: DATABASE.to_owned(),
            vars: BTreeMap::from([
                ("timezone".to_owned(), Json::from(settings.time_zone.clone())),
                ("on_delete".to_owned(), Json::from(settings.on_delete.name())),
            ]),
            env,
            run_started_at: run.started_at.to_string(),
            invocation_id: run.id.clone(),
            full_refresh,
            ..Inputs::default()
        };
        let graph = Graph::new(&project, &inputs)?;
        Ok(Self {
            project,
            inputs,
            graph,
        })
    }

    /// The plan for `scope` in a warehouse that holds this.
    pub(crate) fn plan(&self, holdings: &Holdings, scope: &BuildScope) -> anyhow::Result<Prepared<'_>> {
        let inputs = Inputs {
            existing: holdings.existing.clone(),
            fingerprints: holdings.published.fingerprints.clone(),
            selection: scope.selection.clone(),
            what: scope.what,
            ..self.inputs.clone()
        };
        let plan = plan_graph(&self.graph, &self.project, &inputs)?;
        if plan.steps.is_empty() {
            bail!("the selection matches nothing in the dbt project");
        }
        Ok(Prepared {
            blueprint: self,
            inputs,
            plan,
        })
    }
}

/// A plan with what it was made from.
pub(crate) struct Prepared<'a> {
    /// The dbt project.
    pub blueprint: &'a Blueprint,
    /// Everything else that decides.
    pub inputs: Inputs,
    /// What to do.
    pub plan: BuildPlan,
}

/// A selection of nothing is only mentioned by dbt, so we refuse it.
fn is_beyond_us(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<cclake_plan::Error>()
        .is_some_and(|error| error.kind() != ErrorKind::Selection)
}

fn no_plan(error: &anyhow::Error) -> String {
    format!("no plan of our own: {error:#}")
}

/// What `env_var` may see; variables that are not UTF-8 are left out.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
