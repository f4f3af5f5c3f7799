//! `dbt_project.yml`: paths, vars, and the trees that configure folders of models, seeds and tests.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Place, Result};
use crate::yaml::{self, Fields, Node, Yaml};

/// A configured value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) value: Json,
    pub(crate) place: Place,
}

/// Configuration by key, as written.
pub(crate) type RawConfig = IndexMap<String, Setting>;

/// One folder's configuration and those below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigTree {
    pub(crate) own: RawConfig,
    pub(crate) below: BTreeMap<String, ConfigTree>,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) profile: Option<String>,
    pub(crate) model_paths: Vec<String>,
    pub(crate) seed_paths: Vec<String>,
    pub(crate) test_paths: Vec<String>,
    pub(crate) snapshot_paths: Vec<String>,
    pub(crate) macro_paths: Vec<String>,
    pub(crate) packages_path: String,
    pub(crate) vars: BTreeMap<String, Json>,
    pub(crate) models: ConfigTree,
    pub(crate) seeds: ConfigTree,
    pub(crate) tests: ConfigTree,
    pub(crate) snapshots: ConfigTree,
    pub(crate) search_order: BTreeMap<String, Vec<String>>,
}

impl ConfigTree {
    /// The configurations that hold for `fqn` (package, folders, name), the nearest last.
    pub(crate) fn path(&self, fqn: &[String]) -> Vec<&RawConfig> {
        let mut found = vec![&self.own];
        let mut tree = self;
        for part in fqn {
            match tree.below.get(part) {
                Some(below) => tree = below,
                None => break,
            }
            found.push(&tree.own);
        }
        found
    }
}

pub(crate) fn parse(file: &str, text: &str) -> Result<Settings> {
    let node = yaml::parse(file, text)?;
    let mut fields = Fields::of(file, "dbt_project.yml", &node)?;
    fields.ignore(&[
        "version",
        "config-version",
        "require-dbt-version",
        "analysis-paths",
        "asset-paths",
        "docs-paths",
        "clean-targets",
    ]);
    fields.ignore(&[
        "target-path",
        "log-path",
        "query-comment",
        "flags",
        "exposures",
        "restrict-access",
    ]);
    for key in ["on-run-start", "on-run-end"] {
        fields.refuse(
            key,
            "is not supported by the built-in runner; use a model's pre_hook or post_hook",
        )?;
    }
    fields.refuse(
        "quoting",
        "is not supported by the built-in runner: every name is quoted",
    )?;
    for key in [
        "sources",
        "metrics",
        "semantic-models",
        "saved-queries",
        "unit_tests",
    ] {
        fields.refuse(key, "is not supported by the built-in runner")?;
    }
    let mut tests = fields
        .take("data_tests")
        .map(|node| tree(file, node))
        .transpose()?
        .unwrap_or_default();
    if let Some(node) = fields.take("tests") {
        tests = tree(file, node)?;
    }
    let settings = Settings {
        name: fields.required_text("name")?,
        profile: fields.text("profile")?,
        model_paths: paths(&mut fields, "model-paths", &["models"])?,
        seed_paths: paths(&mut fields, "seed-paths", &["seeds"])?,
        test_paths: paths(&mut fields, "test-paths", &["tests"])?,
        snapshot_paths: paths(&mut fields, "snapshot-paths", &["snapshots"])?,
        macro_paths: paths(&mut fields, "macro-paths", &["macros"])?,
        packages_path: fields
            .text("packages-install-path")?
            .unwrap_or_else(|| "dbt_packages".to_owned()),
        vars: vars(&mut fields)?,
        models: fields
            .take("models")
            .map(|node| tree(file, node))
            .transpose()?
            .unwrap_or_default(),
        seeds: fields
            .take("seeds")
            .map(|node| tree(file, node))
            .transpose()?
            .unwrap_or_default(),
        snapshots: fields
            .take("snapshots")
            .map(|node| tree(file, node))
            .transpose()?
            .unwrap_or_default(),
        tests,
        search_order: search_order(file, fields.list("dispatch")?)?,
    };
    fields.finish()?;
    Ok(settings)
}

fn paths(fields: &mut Fields<'_>, key: &'static str, default: &[&str]) -> Result<Vec<String>> {
    match fields.take(key) {
        Some(node) => {
            let paths = yaml::texts(fields.file, key, node)?;
            Ok(paths
                .into_iter()
                .map(|path| path.trim_start_matches("./").trim_end_matches('/').to_owned())
                .collect())
        }
        None => Ok(default.iter().map(|&path| path.to_owned()).collect()),
    }
}

fn vars(fields: &mut Fields<'_>) -> Result<BTreeMap<String, Json>> {
    match fields.take("vars").map(|node| (node.line, node.to_json())) {
        None => Ok(BTreeMap::new()),
        Some((_, Json::Object(map))) => Ok(map.into_iter().collect()),
        Some((line, _)) => Err(Error::at(
            ErrorKind::Project,
            &Place::new(fields.file, line),
            "`vars` must be a mapping",
        )),
    }
}

fn search_order(file: &str, items: &[Node]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut orders = BTreeMap::new();
    for item in items {
        let mut fields = Fields::of(file, "a dispatch", item)?;
        let namespace = fields.required_text("macro_namespace")?;
        let order = fields
            .take("search_order")
            .map(|node| yaml::texts(file, "search_order", node))
            .transpose()?;
        fields.finish()?;
        orders.insert(namespace, order.unwrap_or_default());
    }
    Ok(orders)
}

/// A key with `+`, or without one and no mapping, configures; any other key is a folder.
fn tree(file: &str, node: &Node) -> Result<ConfigTree> {
    let mut tree = ConfigTree::default();
    for entry in Fields::of(file, "a configuration", node)?.rest() {
        let configures = entry.key.strip_prefix('+');
        if configures.is_none() && matches!(entry.value.value, Yaml::Map(_) | Yaml::Null) {
            tree.below
                .insert(entry.key.clone(), self::tree(file, &entry.value)?);
            continue;
        }
        let key = configures.unwrap_or(&entry.key).to_owned();
        let setting = Setting {
            value: entry.value.to_json(),
            place: Place::new(file, entry.line),
        };
        tree.own.insert(key, setting);
    }
    Ok(tree)
}

/// The settings under `config:` of a YAML property.
pub(crate) fn config(file: &str, node: Option<&Node>) -> Result<RawConfig> {
    let Some(node) = node else {
        return Ok(RawConfig::new());
    };
    let entries = Fields::of(file, "`config`", node)?.rest();
    let setting = |entry: &yaml::Entry| Setting {
        value: entry.value.to_json(),
        place: Place::new(file, entry.line),
    };
    Ok(entries
        .into_iter()
        .map(|entry| (entry.key.clone(), setting(entry)))
        .collect())
}
