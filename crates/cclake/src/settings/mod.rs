//! Settings: defaults < `cclake.toml` < environment < flags, resolved once into a type without invalid states.

mod given;
mod source;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cclake_extract::mongo::MongoSettings;
use cclake_lake::PartitionBy;
use jiff::tz::TimeZone;
use serde::Serialize;

use given::{is_found_anywhere, read_environment, read_file, read_flags};
use source::SOURCES;
pub(crate) use source::SourceKind;
pub(crate) use table::{Key, SETTINGS, Setting};

/// The outside world as the resolver sees it, so that tests can give their own.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Environment variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// The current folder.
    pub(crate) current_dir: PathBuf,
}

impl Environment {
    /// This process's environment. Variables that are not UTF-8 are left out.
    pub(crate) fn of_process() -> anyhow::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            current_dir: std::env::current_dir().context("cannot tell the current folder")?,
        })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn home(&self) -> anyhow::Result<PathBuf> {
        match self.variable("HOME") {
            Some(home) => Ok(PathBuf::from(home)),
            None => bail!("HOME is not set: give --data-dir and --path"),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value as it was given, not yet understood.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// One or (for lists) several texts.
    pub(crate) values: Vec<String>,
    /// Who said so.
    pub(crate) origin: Origin,
}

/// What the command line says about settings.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flags {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
    /// `--source`.
    pub(crate) source: Option<String>,
    /// `--path`, repeated.
    pub(crate) paths: Vec<PathBuf>,
    /// `--prices`.
    pub(crate) prices: Option<PathBuf>,
}

/// What gold does with a document deleted at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDelete {
    /// Counts it.
    Keep,
    /// Drops it.
    Remove,
}

impl OnDelete {
    const ALL: [Self; 2] = [Self::Keep, Self::Remove];

    /// As it is written in settings, and as the dbt project has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

/// Who builds the models and runs their tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransformEngine {
    /// The runner inside this program.
    Builtin,
    /// The installed dbt.
    Dbt,
}

/// Every setting, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// See [`SETTINGS`] for what each means.
    pub(crate) data_dir: PathBuf,
    /// Where conversations come from.
    pub(crate) source: SourceKind,
    /// MongoDB's collection.
    pub(crate) mongo: MongoSettings,
    /// How long to gather changes.
    pub(crate) cdc_buffer: Duration,
    /// Whether the first extract from MongoDB brings what is there.
    pub(crate) backfill_all_historical: bool,
    /// Source folders.
    pub(crate) paths: Vec<PathBuf>,
    /// Name of this machine.
    pub(crate) machine: String,
    /// Name of this user, if the system has one.
    pub(crate) user: Option<String>,
    /// DuckDB file.
    pub(crate) duckdb_path: PathBuf,
    /// Iceberg folder.
    pub(crate) iceberg_warehouse_path: PathBuf,
    /// Iceberg catalog name.
    pub(crate) iceberg_catalog_name: String,
    /// Iceberg namespace.
    pub(crate) iceberg_namespace: String,
    /// Iceberg table.
    pub(crate) iceberg_table_name: String,
    /// Partitioning of a new lake table.
    pub(crate) partition_by: PartitionBy,
    /// Dead letter queue.
    pub(crate) dead_letter_dir: PathBuf,
    /// IANA zone.
    pub(crate) time_zone: String,
    /// Deleted source documents in gold.
    pub(crate) on_delete: OnDelete,
    /// CSV of own prices.
    pub(crate) prices: Option<PathBuf>,
    /// Own dbt project.
    pub(crate) dbt_project_dir: Option<PathBuf>,
    /// Target of the profile.
    pub(crate) dbt_target: Option<String>,
    /// Who builds the models and runs their tests.
    pub(crate) transform_engine: TransformEngine,
    /// The dbt program for [`TransformEngine::Dbt`].
    pub(crate) dbt_program: String,
    /// DuckDB's memory.
    pub(crate) memory_mb: u64,
    /// Worker threads.
    pub(crate) threads: usize,
    /// The configuration file that was read, when another folder or environment would not lead to it.
    pub(crate) config_file: Option<PathBuf>,
    /// Every value as text with its origin, for `cclake config`.
    pub(crate) report: Vec<(&'static Setting, String, Origin)>,
}

impl Settings {
    /// Reads the configuration file, if any, and resolves every setting.
    ///
    /// # Errors
    /// One sentence that names the file or variable and the key.
    pub(crate) fn resolve(flags: &Flags, environment: &Environment) -> anyhow::Result<Self> {
        let mut given = BTreeMap::new();
        let file = read_file(flags, environment, &mut given)?;
        read_environment(environment, &mut given);
        read_flags(flags, &mut given)?;
        let settings = Resolver {
            given,
            environment,
            report: Vec::new(),
        }
        .resolve()?;
        Ok(Self {
            config_file: file.filter(|file| !is_found_anywhere(file, environment)),
            ..settings
        })
    }

    /// A value as text, and where it came from.
    pub(crate) fn reported(&self, key: Key) -> Option<(&str, &Origin)> {
        let found = self.report.iter().find(|(setting, ..)| setting.key == key);
        found.map(|(_, value, origin)| (value.as_str(), origin))
    }
}

struct Resolver<'a> {
    given: BTreeMap<Key, Given>,
    environment: &'a Environment,
    report: Vec<(&'static Setting, String, Origin)>,
}

impl Resolver<'_> {
    fn resolve(mut self) -> anyhow::Result<Settings> {
        let data_dir = self.path(Key::DataDir, default_data_dir)?;
        let in_data = |name: &str| {
            let path = data_dir.join(name);
            move |_: &Environment| Ok(path)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = Settings {
            source: self.one_of(Key::Source, SOURCES)?,
            mongo: self.mongo()?,
            cdc_buffer: self.seconds(Key::CdcBufferSeconds, 0.5)?,
            backfill_all_historical: self
                .one_of(Key::BackfillAllHistorical, &[("true", true), ("false", false)])?,
            paths: self.paths()?,
            machine: self.machine(&data_dir)?,
            user: self.user()?,
            duckdb_path: self.path(Key::DuckdbPath, in_data("analytics.db"))?,
            iceberg_warehouse_path: self.path(Key::IcebergWarehousePath, in_data("iceberg"))?,
            iceberg_catalog_name: self.text(Key::IcebergCatalogName, || "default".into())?,
            iceberg_namespace: self.text(Key::IcebergNamespace, || "analytics".into())?,
            iceberg_table_name: self.text(Key::IcebergTableName, || "conversations".into())?,
            partition_by: self.one_of(Key::PartitionBy, PARTITIONINGS)?,
            dead_letter_dir: self.path(Key::DeadLetterDir, in_data("dead_letter"))?,
            time_zone: self.time_zone()?,
            on_delete: self.one_of(
                Key::OnDelete,
                &OnDelete::ALL.map(|choice| (choice.name(), choice)),
            )?,
            prices: self.optional_path(Key::Prices)?,
            dbt_project_dir: self.optional_path(Key::DbtProjectDir)?,
            dbt_target: self.optional_text(Key::DbtTarget)?,
            transform_engine: self.one_of(Key::TransformEngine, ENGINES)?,
            dbt_program: self.text(Key::DbtProgram, || Key::DbtProgram.setting().default.to_owned())?,
            memory_mb: self.number(Key::MemoryMb, 384, [256, 1 << 20])?,
            threads: usize::try_from(self.number(Key::Threads, threads as u64, [1, 256])?)?,
            data_dir,
            config_file: None,
            report: self.report,
        };
        Ok(settings)
    }

    fn take(&mut self, key: Key) -> anyhow::Result<Option<String>> {
        match self.given.get(&key).map(|given| given.values.as_slice()) {
            None => Ok(None),
            Some([one]) if !one.is_empty() => Ok(Some(one.clone())),
            Some(_) => bail!("{} wants exactly one value", self.place(key)),
        }
    }

    /// A value's name and origin, for messages.
    fn place(&self, key: Key) -> String {
        let name = key.setting().name;
        match self.given.get(&key) {
            Some(given) => format!("{name} ({})", given.origin),
            None => name.to_owned(),
        }
    }

    fn note(&mut self, key: Key, value: impl Into<String>) {
        let origin = match (self.given.get(&key), key) {
            (Some(given), _) => given.origin.clone(),
            (None, Key::DataDir) => self.origin_of_default("XDG_DATA_HOME"),
            (None, Key::Paths) => self.origin_of_default("CLAUDE_CONFIG_DIR"),
            (None, _) => Origin::Default,
        };
        self.report.push((key.setting(), value.into(), origin));
    }

    /// A default that a variable of others moves is not what it is without that variable.
    fn origin_of_default(&self, mover: &'static str) -> Origin {
        match self.environment.variable(mover) {
            Some(_) => Origin::Environment(mover),
            None => Origin::Default,
        }
    }

    fn text(&mut self, key: Key, default: impl FnOnce() -> String) -> anyhow::Result<String> {
        let value = self.take(key)?.unwrap_or_else(default);
        self.note(key, &value);
        Ok(value)
    }

    fn optional_text(&mut self, key: Key) -> anyhow::Result<Option<String>> {
        let value = self.take(key)?;
        self.note(
            key,
            value.clone().unwrap_or_else(|| key.setting().default.to_owned()),
        );
        Ok(value)
    }

    fn path(
        &mut self,
        key: Key,
        default: impl FnOnce(&Environment) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<PathBuf> {
        let value = match self.take(key)? {
            Some(text) => self.absolute(&text)?,
            None => default(self.environment)?,
        };
        // Database libraries read these as part of a URL or of a statement.
        if value
            .to_string_lossy()
            .contains(|c: char| c.is_control() || c == '?' || c == '#')
        {
            bail!(
                "{} is {}: choose a path without `?`, `#` and control characters",
                self.place(key),
                value.display()
            );
        }
        self.note(key, value.to_string_lossy());
        Ok(value)
    }

    fn optional_path(&mut self, key: Key) -> anyhow::Result<Option<PathBuf>> {
        let value = self.take(key)?.map(|text| self.absolute(&text)).transpose()?;
        let shown = value
            .as_ref()
            .map_or_else(|| key.setting().default.into(), |path| path.to_string_lossy());
        self.note(key, shown);
        Ok(value)
    }

    fn paths(&mut self) -> anyhow::Result<Vec<PathBuf>> {
        let paths = match self.given.get(&Key::Paths) {
            Some(given) => given
                .values
                .iter()
                .map(|text| self.absolute(text))
                .collect::<Result<Vec<_>, _>>()?,
            None => vec![default_source(self.environment)?],
        };
        if paths.is_empty() {
            bail!("{} names no folder", self.place(Key::Paths));
        }
        let shown: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
        self.note(Key::Paths, shown.join(":"));
        Ok(paths)
    }

    fn absolute(&self, text: &str) -> anyhow::Result<PathBuf> {
        let path = match text.strip_prefix("~/") {
            Some(rest) => self.environment.home()?.join(rest),
            None => PathBuf::from(text),
        };
        Ok(self.environment.current_dir.join(path))
    }

    fn one_of<T: Copy>(&mut self, key: Key, choices: &[(&str, T)]) -> anyhow::Result<T> {
        let value = self
            .take(key)?
            .unwrap_or_else(|| key.setting().default.to_owned());
        let Some((_, choice)) = choices.iter().find(|(name, _)| *name == value) else {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            bail!(
                "{} is `{value}`, which is none of {}",
                self.place(key),
                names.join(", ")
            );
        };
        self.note(key, &value);
        Ok(*choice)
    }

    fn time_zone(&mut self) -> anyhow::Result<String> {
        let zone = self.text(Key::TimeZone, machine_time_zone)?;
        if time_zone(&zone).is_none() {
            bail!(
                "{} is `{zone}`, which is no IANA time zone (like Europe/Berlin)",
                self.place(Key::TimeZone)
            );
        }
        Ok(zone)
    }

    fn number(&mut self, key: Key, default: u64, [least, most]: [u64; 2]) -> anyhow::Result<u64> {
        let value = match self.take(key)? {
            None => default,
            Some(text) => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => number,
                _ => bail!(
                    "{} is `{text}`: give a whole number from {least} to {most}",
                    self.place(key)
                ),
            },
        };
        self.note(key, value.to_string());
        Ok(value)
    }
}

const PARTITIONINGS: &[(&str, PartitionBy)] = &[
    ("date", PartitionBy::Date),
    ("month", PartitionBy::Month),
    ("none", PartitionBy::None),
];

const ENGINES: &[(&str, TransformEngine)] = &[
    ("builtin", TransformEngine::Builtin),
    ("dbt", TransformEngine::Dbt),
];

/// Where a data directory keeps the name that its machine had first.
pub(crate) fn machine_file(data_dir: &Path) -> PathBuf {
    data_dir.join("machine")
}

/// The name in that file; none when there is no such file, or a crash left it empty.
pub(crate) fn remembered_machine(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

fn default_data_dir(environment: &Environment) -> anyhow::Result<PathBuf> {
    Ok(match environment.variable("XDG_DATA_HOME") {
        Some(home) => Path::new(home).join("cclake"),
        None => environment.home()?.join(".local/share/cclake"),
    })
}

fn default_source(environment: &Environment) -> anyhow::Result<PathBuf> {
    Ok(match environment.variable("CLAUDE_CONFIG_DIR") {
        Some(folder) => environment.current_dir.join(folder).join("projects"),
        None => environment.home()?.join(".claude/projects"),
    })
}

/// The rules of a zone. A machine's own names for its zone, which mean another one elsewhere, are none.
pub(crate) fn time_zone(name: &str) -> Option<TimeZone> {
    let is_local = ["localtime", "posixrules"]
        .iter()
        .any(|local| name.eq_ignore_ascii_case(local));
    TimeZone::get(name).ok().filter(|_| !is_local)
}

/// The machine's zone where the system names one that exists, else UTC.
fn machine_time_zone() -> String {
    iana_time_zone::get_timezone()
        .ok()
        .filter(|zone| time_zone(zone).is_some())
        .unwrap_or_else(|| "UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_the_table_and_in_the_report() {
        let environment = Environment {
            variables: BTreeMap::from([("HOME".to_owned(), "/home/ada".to_owned())]),
            current_dir: "/home/ada".into(),
        };
        let settings = Settings::resolve(&Flags::default(), &environment).unwrap();
        let mut resolved: Vec<_> = settings.report.iter().map(|(setting, ..)| setting.key).collect();
        resolved.sort();
        let listed: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        assert_eq!(resolved, listed);
    }
}
