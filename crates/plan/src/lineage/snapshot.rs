//! The columns that a snapshot adds to those of its query.

use super::scope::Table;
use super::value::Value;
use crate::graph::config::snapshot::{CheckColumns, HardDeletes, SnapshotConfig, SnapshotStrategy};

/// Their names and values, in their order.
pub(super) fn added(table: &Table, config: &SnapshotConfig) -> Vec<(String, Value)> {
    let names = &config.names;
    let time = time(table, config);
    let keys = config.unique_key.iter().map(|key| column(table, key));
    let id = Value::all(keys).computed().beside(time.clone().computed());
    let mut added = vec![
        (names.scd_id.clone(), id),
        (names.updated_at.clone(), time.clone()),
        (names.valid_from.clone(), time.clone()),
        // The time of another version, or of the build that missed the row.
        (names.valid_to.clone(), time.computed()),
    ];
    if config.hard_deletes == HardDeletes::NewRecord {
        added.push((names.is_deleted.clone(), table.rows.clone().decides()));
    }
    added
}

/// When a version began: what the row says, or the clock of the build that saw one of its checked columns change.
fn time(table: &Table, config: &SnapshotConfig) -> Value {
    match &config.strategy {
        SnapshotStrategy::Timestamp { updated_at }
        | SnapshotStrategy::Check {
            updated_at: Some(updated_at),
            ..
        } => column(table, updated_at),
        SnapshotStrategy::Check {
            columns: CheckColumns::These(names, _),
            ..
        } => Value::all(names.iter().map(|name| column(table, name))).decides(),
        SnapshotStrategy::Check {
            columns: CheckColumns::All,
            ..
        } => {
            let mut all = Value::all(table.columns.iter().map(|(_, value)| value.clone()));
            let open = table
                .more_of
                .as_ref()
                .map(|node| format!("`*` of {node} may have more columns"));
            all.unknown = all.unknown.or(table.unknown.clone()).or(open);
            all.decides()
        }
    }
}

fn column(table: &Table, name: &str) -> Value {
    table.column(name).unwrap_or_else(|| {
        Value::unknown(format!(
            "the snapshot's config takes `{name}`, which is no column of its query"
        ))
    })
}
