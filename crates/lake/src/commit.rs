//! Files → one snapshot, exactly once.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iceberg::spec::{DataFile, SnapshotRef};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use iceberg::{Catalog, TableIdent};

use crate::catalog::PinnedCatalog;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Head;
use crate::settings::LakeSettings;
use crate::storage;

/// The commit id in a snapshot's summary.
const SUMMARY_COMMIT_ID: &str = "cclake.commit-id";

/// The last commit id as a table property: outlives the expiry of its snapshot.
const PROPERTY_COMMIT_ID: &str = "cclake.last-commit-id";

/// How long to pause between tries, and for how long to try.
pub(crate) struct Patience {
    deadline: Instant,
    pause: Duration,
}

impl Patience {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(500);

    pub(crate) fn new(time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            pause: Self::FIRST,
        }
    }

    /// The pause before the next try; `None` if it is time to give up.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let pause = self.pause.mul_f64(jitter());
        self.pause = (self.pause * 2).min(Self::LONGEST);
        (Instant::now() < self.deadline).then_some(pause)
    }
}

/// What goes into the snapshot of an append beside its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// Identifies the append: the same id lands at most once, so a caller in doubt tries again with the same one.
    pub commit_id: String,
    /// For the snapshot's summary, such as the run's id. Keys should start with `cclake.`: Iceberg has its own.
    pub summary: BTreeMap<String, String>,
    /// Table properties to set in the same commit, such as a source's position. Kept until set again.
    pub properties: BTreeMap<String, String>,
}

/// Commits the files on top of whatever is there, unless the commit id is there already; the table's state afterwards
/// and the commit's place in it.
///
/// The catalog's word is not taken for it: after each try the table is read again and searched for the commit id, which
/// settles conflicts, lost answers and commits that SQLite refused unnoticed alike.
///
/// # Errors
/// Nothing is committed, except for [`ErrorKind::OutcomeUnknown`].
pub(crate) async fn commit_files(
    catalog: &Arc<dyn Catalog>,
    mut table: Table,
    files: &[DataFile],
    commit: &Commit,
    settings: &LakeSettings,
) -> Result<(Table, Head)> {
    let mut patience = Patience::new(settings.commit_patience);
    loop {
        let base = table.metadata_location().map(str::to_owned);
        let tried = try_commit(catalog, &table, files, commit).await;
        table = reload(catalog, table.identifier())
            .await
            .map_err(|error| unknown(commit, &error))?;
        if let Some(head) = find(&table, &commit.commit_id) {
            return Ok((table, head));
        }
        let error = tried
            .err()
            .unwrap_or_else(|| refused(&settings.warehouse, &format!("commit {}", commit.commit_id)));
        // Whatever the error, files of a state that is no longer current may be gone.
        let has_moved = table.metadata_location() != base.as_deref();
        let Some(pause) = patience.pause().filter(|_| has_moved || error.is_retryable()) else {
            return Err(error);
        };
        tokio::time::sleep(pause).await;
    }
}

/// One try on the state that was read; a newer state makes it a conflict.
pub(crate) async fn try_commit(
    catalog: &Arc<dyn Catalog>,
    base: &Table,
    files: &[DataFile],
    commit: &Commit,
) -> Result<()> {
    let mut summary: HashMap<String, String> = commit.summary.clone().into_iter().collect();
    summary.insert(SUMMARY_COMMIT_ID.to_owned(), commit.commit_id.clone());
    let transaction = Transaction::new(base);
    let append = transaction
        .fast_append()
        // The check reads every manifest of the table; the commit id guards against doubles.
        .with_check_duplicate(false)
        .set_snapshot_properties(summary)
        .add_data_files(files.iter().cloned());
    let mut properties = transaction
        .update_table_properties()
        .set(PROPERTY_COMMIT_ID.to_owned(), commit.commit_id.clone());
    for (key, value) in &commit.properties {
        properties = properties.set(key.clone(), value.clone());
    }
    let pinned = PinnedCatalog {
        inner: Arc::clone(catalog),
        base: base.clone(),
    };
    let committed = async {
        properties
            .apply(append.apply(transaction)?)?
            .commit(&pinned)
            .await
    };
    committed
        .await
        .map(drop)
        .map_err(|error| Error::from_source("commit to the lake's table", error))
}

pub(crate) async fn reload(catalog: &Arc<dyn Catalog>, table: &TableIdent) -> Result<Table> {
    let loaded = catalog.load_table(table).await;
    loaded.map_err(|error| {
        let error = Error::from_source(&format!("read the lake's table {table}"), error);
        if error.kind() != ErrorKind::NotFound {
            return error;
        }
        let message = format!("there is no table {table} in the lake; check its name and the catalog's name");
        Error::new(ErrorKind::NotFound, message)
    })
}

/// Where a commit id is in the table's history.
pub(crate) fn find(table: &Table, commit_id: &str) -> Option<Head> {
    let metadata = table.metadata();
    let parent = |snapshot: &&SnapshotRef| metadata.snapshot_by_id(snapshot.parent_snapshot_id()?);
    let found = std::iter::successors(metadata.current_snapshot(), parent)
        .find(|snapshot| summary_commit_id(snapshot) == Some(commit_id))
        .or_else(|| {
            metadata
                .current_snapshot()
                .filter(|_| last_commit_id(table) == Some(commit_id))
        })?;
    Some(head_at(found, Some(commit_id)))
}

/// The table's current snapshot.
pub(crate) fn head(table: &Table) -> Option<Head> {
    let snapshot = table.metadata().current_snapshot()?;
    Some(head_at(snapshot, summary_commit_id(snapshot)))
}

/// What the summary of a snapshot says that has the very rows of the current one: its commit id.
pub(crate) fn continued(table: &Table) -> Option<(String, String)> {
    let commit_id = head(table)?.commit_id?;
    Some((SUMMARY_COMMIT_ID.to_owned(), commit_id))
}

fn head_at(snapshot: &SnapshotRef, commit_id: Option<&str>) -> Head {
    Head {
        snapshot_id: snapshot.snapshot_id(),
        sequence_number: snapshot.sequence_number(),
        commit_id: commit_id.map(str::to_owned),
    }
}

fn summary_commit_id(snapshot: &SnapshotRef) -> Option<&str> {
    snapshot
        .summary()
        .additional_properties
        .get(SUMMARY_COMMIT_ID)
        .map(String::as_str)
}

fn last_commit_id(table: &Table) -> Option<&str> {
    table
        .metadata()
        .properties()
        .get(PROPERTY_COMMIT_ID)
        .map(String::as_str)
}

/// The error for a change that the catalog reported as done and SQLite did not keep. It had a reason, which the catalog
/// swallowed; a full disk is the likeliest and the only one that can be found out.
pub(crate) fn refused(folder: &Path, what: &str) -> Error {
    match storage::probe(folder) {
        Ok(()) => {
            let message = format!("the lake's catalog did not keep {what}; nothing was changed, run again");
            Error::new(ErrorKind::CommitRefused, message)
        }
        Err(error) => Error::from_source(&format!("keep {what} in the lake's catalog"), error),
    }
}

fn unknown(commit: &Commit, error: &Error) -> Error {
    let message = format!(
        "it is unknown whether commit {} landed, because afterwards the lake {error}; run again with the same id",
        commit.commit_id
    );
    Error::new(ErrorKind::OutcomeUnknown, message)
}

/// Between a half and one, so that writers that met once do not meet again.
fn jitter() -> f64 {
    let [.., high, low] = *uuid::Uuid::now_v7().as_bytes();
    let random = u16::from_be_bytes([high, low]);
    0.5 + f64::from(random) / (2.0 * f64::from(u16::MAX))
}
