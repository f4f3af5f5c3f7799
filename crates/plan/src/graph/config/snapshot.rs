//! How a snapshot notices that a row changed, and what it calls its own columns.

use serde_json::Value as Json;

use super::{CommonConfig, Reader, items};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::project::settings::{RawConfig, Setting};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotConfig {
    pub(crate) unique_key: Vec<String>,
    pub(crate) strategy: SnapshotStrategy,
    pub(crate) hard_deletes: HardDeletes,
    /// SQL of what stands in the valid-to column of current rows, instead of NULL.
    pub(crate) valid_to_current: Option<String>,
    pub(crate) names: MetaNames,
    /// The schema itself; no macro changes it.
    pub(crate) target_schema: Option<String>,
    pub(crate) target_database: Option<String>,
}

/// When a row counts as changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SnapshotStrategy {
    /// Its `updated_at` is later than that of the kept version.
    Timestamp { updated_at: String },
    /// One of these columns differs.
    Check {
        columns: CheckColumns,
        updated_at: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckColumns {
    All,
    These(Vec<String>, Place),
}

/// What becomes of rows that the query no longer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HardDeletes {
    /// Nothing: they stay current.
    Ignore,
    /// Their validity ends.
    Invalidate,
    /// Their validity ends, and a version follows that says they are deleted.
    NewRecord,
}

/// The columns a snapshot adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetaNames {
    pub(crate) scd_id: String,
    pub(crate) updated_at: String,
    pub(crate) valid_from: String,
    pub(crate) valid_to: String,
    pub(crate) is_deleted: String,
}

impl Default for MetaNames {
    fn default() -> Self {
        MetaNames {
            scd_id: "dbt_scd_id".to_owned(),
            updated_at: "dbt_updated_at".to_owned(),
            valid_from: "dbt_valid_from".to_owned(),
            valid_to: "dbt_valid_to".to_owned(),
            is_deleted: "dbt_is_deleted".to_owned(),
        }
    }
}

pub(crate) fn snapshot(config: &RawConfig, place: &Place) -> Result<(CommonConfig, SnapshotConfig)> {
    let mut reader = Reader {
        config,
        default_place: place,
        taken: Vec::new(),
    };
    let common = reader.common()?;
    reader.refuse_unless("materialized", |value| value == "snapshot")?;
    let snapshot = SnapshotConfig {
        unique_key: reader.texts("unique_key")?,
        strategy: if common.enabled {
            strategy(&mut reader, place)?
        } else {
            reader.ignore(&["strategy", "updated_at", "check_cols"]);
            SnapshotStrategy::Check {
                columns: CheckColumns::All,
                updated_at: None,
            }
        },
        hard_deletes: hard_deletes(&mut reader)?,
        valid_to_current: reader.text("dbt_valid_to_current")?,
        names: names(&mut reader)?,
        target_schema: reader.text("target_schema")?,
        target_database: reader.text("target_database")?,
    };
    if common.enabled && snapshot.unique_key.is_empty() {
        return Err(missing(place, "unique_key"));
    }
    reader.finish()?;
    Ok((common, snapshot))
}

fn missing(place: &Place, key: &str) -> Error {
    Error::at(
        ErrorKind::Project,
        place,
        format!("this snapshot needs the config `{key}`"),
    )
}

fn strategy(reader: &mut Reader<'_>, place: &Place) -> Result<SnapshotStrategy> {
    let updated_at = reader.text("updated_at")?;
    let checked = reader.get("check_cols");
    let Some(setting) = reader.get("strategy") else {
        return Err(missing(place, "strategy"));
    };
    match setting.value.as_str() {
        Some("timestamp") => match (updated_at, checked) {
            (Some(updated_at), None) => Ok(SnapshotStrategy::Timestamp { updated_at }),
            (None, _) => Err(missing(place, "updated_at")),
            (_, Some(checked)) => Err(Error::at(
                ErrorKind::Project,
                &checked.place,
                "`check_cols` is for the strategy check; remove it",
            )),
        },
        Some("check") => Ok(SnapshotStrategy::Check {
            columns: check_columns(checked.ok_or_else(|| missing(place, "check_cols"))?)?,
            updated_at,
        }),
        _ => {
            let message = format!(
                "snapshot strategy {} is not supported by the built-in runner; it has timestamp and check",
                setting.value
            );
            Err(Error::at(ErrorKind::Unsupported, &setting.place, message))
        }
    }
}

fn check_columns(setting: &Setting) -> Result<CheckColumns> {
    if setting.value == "all" {
        return Ok(CheckColumns::All);
    }
    let text = |item: Json| match item {
        Json::String(name) => Ok(name),
        _ => Err(Reader::wrong(setting, "check_cols", "`all` or a list of columns")),
    };
    let names = match &setting.value {
        Json::Array(list) if !list.is_empty() => items(&setting.value)
            .into_iter()
            .map(text)
            .collect::<Result<_>>()?,
        _ => return Err(Reader::wrong(setting, "check_cols", "`all` or a list of columns")),
    };
    Ok(CheckColumns::These(names, setting.place.clone()))
}

fn hard_deletes(reader: &mut Reader<'_>) -> Result<HardDeletes> {
    let invalidate = reader.flag("invalidate_hard_deletes")?;
    let Some(setting) = reader.get("hard_deletes") else {
        return Ok(if invalidate == Some(true) {
            HardDeletes::Invalidate
        } else {
            HardDeletes::Ignore
        });
    };
    match (setting.value.as_str(), invalidate) {
        (_, Some(_)) => Err(Error::at(
            ErrorKind::Project,
            &setting.place,
            "`invalidate_hard_deletes` and `hard_deletes` say the same; keep only `hard_deletes`",
        )),
        (Some("ignore"), None) => Ok(HardDeletes::Ignore),
        (Some("invalidate"), None) => Ok(HardDeletes::Invalidate),
        (Some("new_record"), None) => Ok(HardDeletes::NewRecord),
        _ => Err(Reader::wrong(
            setting,
            "hard_deletes",
            "ignore, invalidate or new_record",
        )),
    }
}

fn names(reader: &mut Reader<'_>) -> Result<MetaNames> {
    let mut names = MetaNames::default();
    let Some(setting) = reader.get("snapshot_meta_column_names") else {
        return Ok(names);
    };
    let wrong = || {
        Reader::wrong(
            setting,
            "snapshot_meta_column_names",
            "a mapping of dbt_valid_from, dbt_valid_to, dbt_scd_id, dbt_updated_at or dbt_is_deleted to names",
        )
    };
    for (key, name) in setting.value.as_object().ok_or_else(wrong)? {
        let slot = match key.as_str() {
            "dbt_scd_id" => &mut names.scd_id,
            "dbt_updated_at" => &mut names.updated_at,
            "dbt_valid_from" => &mut names.valid_from,
            "dbt_valid_to" => &mut names.valid_to,
            "dbt_is_deleted" => &mut names.is_deleted,
            _ => return Err(wrong()),
        };
        name.as_str().ok_or_else(wrong)?.clone_into(slot);
    }
    Ok(names)
}
