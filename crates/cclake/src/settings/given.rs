//! What the configuration file, the environment and the command line give, not yet understood.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{Environment, Flags, Given, Key, Origin, SETTINGS};

/// What the configuration file says; which one it is.
pub(super) fn read_file(
    flags: &Flags,
    environment: &Environment,
    given: &mut BTreeMap<Key, Given>,
) -> anyhow::Result<Option<PathBuf>> {
    let Some(path) = config_file(flags, environment) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        anyhow::anyhow!("{}: {}", path.display(), one_line(&error.to_string()))
    })?;
    for (name, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            bail!(
                "{}: unknown setting `{name}` (`cclake config` lists them)",
                path.display()
            );
        };
        let values = texts(&value).with_context(|| {
            format!(
                "{}: `{name}` must be a text, a number, true or false, or a list of texts",
                path.display()
            )
        })?;
        given.insert(
            setting.key,
            Given {
                values,
                origin: Origin::File(path.clone()),
            },
        );
    }
    Ok(Some(environment.current_dir.join(path)))
}

/// Whether the file is the one that is read in any folder and with no variable but HOME, as cron has it.
pub(super) fn is_found_anywhere(file: &Path, environment: &Environment) -> bool {
    environment
        .home()
        .is_ok_and(|home| file == home.join(".config").join(AT_HOME))
}

const AT_HOME: &str = "cclake/cclake.toml";

fn config_file(flags: &Flags, environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = &flags.config {
        return Some(path.clone());
    }
    let here = environment.current_dir.join("cclake.toml");
    let config_home = environment
        .variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(environment.home().ok()?.join(".config")));
    let at_home = config_home.map(|home| home.join(AT_HOME));
    [Some(here), at_home]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Float(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(value) => Some(vec![value.to_string()]),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

/// What the environment says.
pub(super) fn read_environment(environment: &Environment, given: &mut BTreeMap<Key, Given>) {
    for setting in SETTINGS {
        if let Some(value) = environment.variable(setting.env) {
            let values = match setting.key {
                Key::Paths => value
                    .split(':')
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect(),
                _ => vec![value.to_owned()],
            };
            given.insert(
                setting.key,
                Given {
                    values,
                    origin: Origin::Environment(setting.env),
                },
            );
        }
    }
}

/// What the command line says.
pub(super) fn read_flags(flags: &Flags, given: &mut BTreeMap<Key, Given>) -> anyhow::Result<()> {
    if let Some(source) = &flags.source {
        let given_here = Given {
            values: vec![source.clone()],
            origin: Origin::Flag("--source"),
        };
        given.insert(Key::Source, given_here);
    }
    let single = |path: &Option<PathBuf>| path.iter().cloned().collect::<Vec<_>>();
    for (key, flag, paths) in [
        (Key::DataDir, "--data-dir", single(&flags.data_dir)),
        (Key::Paths, "--path", flags.paths.clone()),
        (Key::Prices, "--prices", single(&flags.prices)),
    ] {
        let values = paths
            .iter()
            .map(|path| utf8(path))
            .collect::<Result<Vec<_>, _>>()?;
        if !values.is_empty() {
            let origin = Origin::Flag(flag);
            given.insert(key, Given { values, origin });
        }
    }
    Ok(())
}

fn utf8(path: &Path) -> anyhow::Result<String> {
    path.to_str()
        .map(str::to_owned)
        .with_context(|| format!("{} is not valid UTF-8; name another path", path.display()))
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
