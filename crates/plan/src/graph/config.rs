//! A node's configuration: the layers dbt merges, turned once into a type without invalid states.

pub(crate) mod snapshot;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::layers::items;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::project::settings::{RawConfig, Setting};

/// How a model becomes a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Materialization {
    /// `CREATE OR REPLACE VIEW`.
    View,
    /// `CREATE OR REPLACE TABLE … AS`.
    Table,
    /// A table that later builds change by a [`Strategy`].
    Incremental,
    /// No relation: its SQL is put into the models that use it.
    Ephemeral,
}

impl Materialization {
    /// dbt's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Materialization::View => "view",
            Materialization::Table => "table",
            Materialization::Incremental => "incremental",
            Materialization::Ephemeral => "ephemeral",
        }
    }
}

/// How an incremental model's new rows enter its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Insert.
    Append,
    /// Update what has the key, insert the rest.
    Merge,
    /// Delete what has the key, insert all.
    DeleteInsert,
}

/// What a failed test means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Reported; the build stands.
    Warn,
    /// The build fails.
    Error,
}

/// What every node has.
#[derive(Debug, Clone)]
pub(crate) struct CommonConfig {
    pub(crate) enabled: bool,
    pub(crate) schema: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) pre_hooks: Vec<(String, Place)>,
    pub(crate) post_hooks: Vec<(String, Place)>,
    pub(crate) full_refresh: Option<bool>,
}

#[derive(Debug, Clone)]
pub(crate) struct ModelConfig {
    pub(crate) materialization: Materialization,
    pub(crate) strategy: Strategy,
    pub(crate) unique_key: Vec<String>,
    /// `incremental_predicates`, ANDed to what a merge or delete matches.
    pub(crate) predicates: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct SeedConfig {
    pub(crate) column_types: IndexMap<String, String>,
    pub(crate) delimiter: u8,
}

#[derive(Debug, Clone)]
pub(crate) struct TestConfig {
    pub(crate) severity: Severity,
    pub(crate) limit: Option<u64>,
    pub(crate) warn_if: String,
    pub(crate) error_if: String,
    pub(crate) fail_calc: String,
}

/// Takes values out of the layers by key; what is left over is unknown.
struct Reader<'a> {
    config: &'a RawConfig,
    default_place: &'a Place,
    taken: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn get(&mut self, key: &'static str) -> Option<&'a Setting> {
        self.taken.push(key);
        self.config.get(key).filter(|setting| !setting.value.is_null())
    }

    fn wrong(setting: &Setting, key: &str, expected: &str) -> Error {
        Error::at(
            ErrorKind::Project,
            &setting.place,
            format!("config `{key}` must be {expected}, not {}", setting.value),
        )
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting {
                value: Json::String(text),
                ..
            }) => Ok(Some(text.clone())),
            Some(Setting {
                value: Json::Number(number),
                ..
            }) => Ok(Some(number.to_string())),
            Some(setting) => Err(Self::wrong(setting, key, "text")),
        }
    }

    fn flag(&mut self, key: &'static str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting {
                value: Json::Bool(flag),
                ..
            }) => Ok(Some(*flag)),
            Some(Setting {
                value: Json::String(text),
                ..
            }) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Setting {
                value: Json::String(text),
                ..
            }) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(setting) => Err(Self::wrong(setting, key, "true or false")),
        }
    }

    fn texts(&mut self, key: &'static str) -> Result<Vec<String>> {
        let Some(setting) = self.get(key) else {
            return Ok(Vec::new());
        };
        let text = |item: Json| match item {
            Json::String(text) => Ok(text),
            _ => Err(Self::wrong(setting, key, "text or a list of texts")),
        };
        items(&setting.value).into_iter().map(text).collect()
    }

    fn hooks(&mut self, key: &'static str) -> Result<Vec<(String, Place)>> {
        let Some(setting) = self.get(key) else {
            return Ok(Vec::new());
        };
        let hook = |item: Json| match item {
            Json::String(sql) => Ok((sql, setting.place.clone())),
            Json::Object(map)
                if map
                    .get("transaction")
                    .is_none_or(|inside| inside == &Json::Bool(true)) =>
            {
                match map.get("sql") {
                    Some(Json::String(sql)) => Ok((sql.clone(), setting.place.clone())),
                    _ => Err(Self::wrong(setting, key, "SQL")),
                }
            }
            Json::Object(_) => {
                let message = format!(
                    "`{key}` outside of the transaction is not supported: the whole build is one transaction"
                );
                Err(Error::at(ErrorKind::Unsupported, &setting.place, message))
            }
            _ => Err(Self::wrong(setting, key, "SQL")),
        };
        items(&setting.value).into_iter().map(hook).collect()
    }

    fn ignore(&mut self, keys: &[&'static str]) {
        self.taken.extend(keys);
    }

    /// Refuses `key` unless its value says what this runner does anyway.
    fn refuse_unless(&mut self, key: &'static str, harmless: impl Fn(&Json) -> bool) -> Result<()> {
        match self.get(key) {
            Some(setting) if !harmless(&setting.value) => {
                let message = format!(
                    "config `{key}: {}` is not supported by the built-in runner",
                    setting.value
                );
                Err(Error::at(ErrorKind::Unsupported, &setting.place, message))
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        let unknown = self
            .config
            .iter()
            .find(|(key, _)| !self.taken.contains(&key.as_str()));
        let Some((key, setting)) = unknown else {
            return Ok(());
        };
        let place = if setting.place.file.is_empty() {
            self.default_place
        } else {
            &setting.place
        };
        Err(Error::at(
            ErrorKind::Unsupported,
            place,
            format!("config `{key}` is not known to the built-in runner; put your own keys under `meta`"),
        ))
    }

    fn common(&mut self) -> Result<CommonConfig> {
        self.ignore(&[
            "meta",
            "docs",
            "group",
            "access",
            "packages",
            "event_time",
            "query_tag",
        ]);
        self.refuse_unless("persist_docs", is_empty)?;
        self.refuse_unless("grants", is_empty)?;
        self.refuse_unless("quoting", is_empty)?;
        Ok(CommonConfig {
            enabled: self.flag("enabled")?.unwrap_or(true),
            schema: self.text("schema")?,
            alias: self.text("alias")?,
            database: self.text("database")?,
            tags: self.texts("tags")?,
            pre_hooks: self.hooks("pre_hook")?,
            post_hooks: self.hooks("post_hook")?,
            full_refresh: self.flag("full_refresh")?,
        })
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.values().all(|value| value == &Json::Bool(false)),
        Json::Array(items) => items.is_empty(),
        Json::Bool(flag) => !flag,
        Json::String(text) => text.is_empty(),
        Json::Null => true,
        Json::Number(_) => false,
    }
}

pub(crate) fn model(config: &RawConfig, place: &Place) -> Result<(CommonConfig, ModelConfig)> {
    let mut reader = Reader {
        config,
        default_place: place,
        taken: Vec::new(),
    };
    let common = reader.common()?;
    // Other adapters' keys, which dbt-duckdb does not read either.
    reader.ignore(&[
        "file_format",
        "partition_by",
        "clustered_by",
        "buckets",
        "location_root",
        "tblproperties",
        "batch_size",
        "begin",
    ]);
    for key in [
        "sql_header",
        "contract",
        "indexes",
        "partitioned_by",
        "sorted_by",
        "external_root",
        "location",
        "options",
        "format",
        "plugin",
        "glue_register",
        "merge_update_columns",
        "merge_exclude_columns",
        "merge_clauses",
        "merge_update_condition",
        "merge_insert_condition",
        "merge_on_using_columns",
        "merge_update_set_expressions",
        "merge_returning_columns",
        "lookback",
        "submission_method",
        "ducklake_options",
    ] {
        reader.refuse_unless(key, is_empty)?;
    }
    reader.refuse_unless("on_schema_change", |value| value == "ignore")?;
    reader.refuse_unless("language", |value| value == "sql")?;
    let model = ModelConfig {
        materialization: materialization(&mut reader)?,
        strategy: strategy(&mut reader)?,
        unique_key: reader.texts("unique_key")?,
        predicates: {
            let mut predicates = reader.texts("incremental_predicates")?;
            predicates.extend(reader.texts("predicates")?);
            predicates
        },
    };
    reader.finish()?;
    Ok((common, model))
}

fn materialization(reader: &mut Reader<'_>) -> Result<Materialization> {
    let Some(setting) = reader.get("materialized") else {
        return Ok(Materialization::View);
    };
    Ok(match setting.value.as_str() {
        Some("view") => Materialization::View,
        Some("table") => Materialization::Table,
        Some("incremental") => Materialization::Incremental,
        Some("ephemeral") => Materialization::Ephemeral,
        _ => {
            let message = format!(
                "materialization {} is not supported by the built-in runner; it has view, table, incremental and ephemeral",
                setting.value
            );
            return Err(Error::at(ErrorKind::Unsupported, &setting.place, message));
        }
    })
}

fn strategy(reader: &mut Reader<'_>) -> Result<Strategy> {
    let Some(setting) = reader.get("incremental_strategy") else {
        return Ok(Strategy::DeleteInsert);
    };
    Ok(match setting.value.as_str() {
        Some("append") => Strategy::Append,
        Some("merge") => Strategy::Merge,
        Some("delete+insert" | "default") => Strategy::DeleteInsert,
        _ => {
            let message = format!(
                "incremental strategy {} is not supported by the built-in runner; it has append, merge and delete+insert",
                setting.value
            );
            return Err(Error::at(ErrorKind::Unsupported, &setting.place, message));
        }
    })
}

pub(crate) fn seed(config: &RawConfig, place: &Place) -> Result<(CommonConfig, SeedConfig)> {
    let mut reader = Reader {
        config,
        default_place: place,
        taken: Vec::new(),
    };
    let common = reader.common()?;
    reader.ignore(&["quote_columns", "fast"]);
    reader.refuse_unless("materialized", |value| value == "seed")?;
    let delimiter = match reader.get("delimiter") {
        None => b',',
        Some(setting) => match setting.value.as_str().map(str::as_bytes) {
            Some([delimiter]) => *delimiter,
            _ => return Err(Reader::wrong(setting, "delimiter", "one character")),
        },
    };
    let column_types = match reader.get("column_types") {
        None => IndexMap::new(),
        Some(
            setting @ Setting {
                value: Json::Object(map),
                ..
            },
        ) => {
            let named = map.iter().map(|(name, sql_type)| match sql_type.as_str() {
                Some(sql_type) => Ok((name.clone(), sql_type.to_owned())),
                None => Err(Reader::wrong(
                    setting,
                    "column_types",
                    "a mapping of columns to SQL types",
                )),
            });
            named.collect::<Result<_>>()?
        }
        Some(setting) => {
            return Err(Reader::wrong(
                setting,
                "column_types",
                "a mapping of columns to SQL types",
            ));
        }
    };
    reader.finish()?;
    Ok((
        common,
        SeedConfig {
            column_types,
            delimiter,
        },
    ))
}

pub(crate) fn test(config: &RawConfig, place: &Place) -> Result<(CommonConfig, TestConfig)> {
    let mut reader = Reader {
        config,
        default_place: place,
        taken: Vec::new(),
    };
    let common = reader.common()?;
    reader.ignore(&["where"]);
    for key in ["store_failures", "store_failures_as", "sql_header"] {
        reader.refuse_unless(key, is_empty)?;
    }
    reader.refuse_unless("materialized", |value| value == "test")?;
    let severity = match reader.get("severity") {
        None => Severity::Error,
        Some(setting) => match setting.value.as_str().map(str::to_lowercase).as_deref() {
            Some("error") => Severity::Error,
            Some("warn") => Severity::Warn,
            _ => return Err(Reader::wrong(setting, "severity", "warn or error")),
        },
    };
    let limit = match reader.get("limit") {
        None => None,
        Some(setting) => Some(
            setting
                .value
                .as_u64()
                .ok_or_else(|| Reader::wrong(setting, "limit", "a whole number"))?,
        ),
    };
    let test = TestConfig {
        severity,
        limit,
        warn_if: reader.text("warn_if")?.unwrap_or_else(|| "!= 0".to_owned()),
        error_if: reader.text("error_if")?.unwrap_or_else(|| "!= 0".to_owned()),
        fail_calc: reader.text("fail_calc")?.unwrap_or_else(|| "count(*)".to_owned()),
    };
    reader.finish()?;
    Ok((common, test))
}
