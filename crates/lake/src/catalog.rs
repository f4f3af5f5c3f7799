//! The SQLite catalog: opened so that it can be trusted, and pinned to the state a writer read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, CatalogBuilder, Error as IcebergError, ErrorKind as IcebergErrorKind, Namespace, NamespaceIdent,
    Result as IcebergResult, TableCommit, TableCreation, TableIdent,
};
use iceberg_catalog_sql::{SqlCatalog, SqlCatalogBuilder};
use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::error::{Error, ErrorKind, Result};
use crate::settings::{LakeSettings, utf8};
use crate::storage::{DurableFsFactory, sync_folder};

/// How long others may keep the catalog locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a missing catalog file may be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Create,
    Refuse,
}

pub(crate) async fn open(settings: &LakeSettings, missing: Missing) -> Result<SqlCatalog> {
    let path = settings.catalog_path();
    let what = format!("open the lake's catalog {}", path.display());
    if missing == Missing::Refuse && !path.exists() {
        let message = format!(
            "there is no lake in {}: {} is missing",
            settings.warehouse.display(),
            path.display()
        );
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        let prepared = prepare_database(&path, missing).await;
        match prepared.map_err(|error| Error::from_source(&what, error)) {
            // SQLite itself waits for no lock where it goes over to WAL mode.
            Err(error) if error.kind() == ErrorKind::CatalogLocked && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            prepared => break prepared?,
        }
    }
    let properties = HashMap::from([
        ("uri".to_owned(), sqlite_url(utf8(&path)?)),
        ("warehouse".to_owned(), utf8(&settings.warehouse)?.to_owned()),
        ("sql_bind_style".to_owned(), "QMark".to_owned()),
        ("pool.max-connections".to_owned(), "2".to_owned()),
    ]);
    SqlCatalogBuilder::default()
        .with_storage_factory(Arc::new(DurableFsFactory))
        .load(settings.catalog_name.clone(), properties)
        .await
        .map_err(|error| Error::from_source(&what, error))
}

/// Puts the database into WAL mode, which persists in the file. In the default mode a reader can make SQLite refuse a
/// COMMIT, and the catalog swallows that error; in WAL mode readers never stand in a writer's way.
async fn prepare_database(
    path: &Path,
    missing: Missing,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // One that another process is about to fill is as new.
    let is_new = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(missing == Missing::Create)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(LOCK_TIMEOUT)
        .connect()
        .await?;
    // The journal mode of an empty file is not saved before something is written to it.
    if is_new {
        sqlx::query("PRAGMA user_version = 0")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    if let (true, Some(folder)) = (is_new, path.parent()) {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Makes `new` the table's state if `old` is, and says whether it did: the catalog's own compare-and-swap, for states that
/// the library cannot make.
pub(crate) async fn swap(settings: &LakeSettings, old: &str, new: &str) -> Result<bool> {
    let swapped = async {
        let mut connection = SqliteConnectOptions::new()
            .filename(settings.catalog_path())
            .busy_timeout(LOCK_TIMEOUT)
            .connect()
            .await?;
        let done = sqlx::query(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
        )
        .bind(new)
        .bind(old)
        .bind(&settings.catalog_name)
        .bind(&settings.namespace)
        .bind(&settings.table)
        .bind(old)
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(done.rows_affected() == 1)
    };
    swapped
        .await
        .map_err(|error| Error::from_source("keep the lake's table in order", error))
}

fn sqlite_url(path: &str) -> String {
    let escaped = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{escaped}?mode=rw")
}

/// A catalog that always shows the one table state a writer read.
///
/// A transaction reloads its table before it commits and rebases onto whatever it finds, so a stale writer would
/// silently overwrite the properties of a newer one. Pinned, its requirements are checked against the state it knew,
/// and the real catalog refuses what has moved on.
#[derive(Debug)]
pub(crate) struct PinnedCatalog {
    pub(crate) inner: Arc<dyn Catalog>,
    pub(crate) base: Table,
}

#[async_trait]
impl Catalog for PinnedCatalog {
    async fn load_table(&self, _: &TableIdent) -> IcebergResult<Table> {
        Ok(self.base.clone())
    }

    async fn update_table(&self, commit: TableCommit) -> IcebergResult<Table> {
        self.inner.update_table(commit).await
    }

    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> IcebergResult<Vec<NamespaceIdent>> {
        out_of_scope()
    }

    async fn create_namespace(
        &self,
        _: &NamespaceIdent,
        _: HashMap<String, String>,
    ) -> IcebergResult<Namespace> {
        out_of_scope()
    }

    async fn get_namespace(&self, _: &NamespaceIdent) -> IcebergResult<Namespace> {
        out_of_scope()
    }

    async fn namespace_exists(&self, _: &NamespaceIdent) -> IcebergResult<bool> {
        out_of_scope()
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> IcebergResult<()> {
        out_of_scope()
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> IcebergResult<()> {
        out_of_scope()
    }

    async fn list_tables(&self, _: &NamespaceIdent) -> IcebergResult<Vec<TableIdent>> {
        out_of_scope()
    }

    async fn create_table(&self, _: &NamespaceIdent, _: TableCreation) -> IcebergResult<Table> {
        out_of_scope()
    }

    async fn drop_table(&self, _: &TableIdent) -> IcebergResult<()> {
        out_of_scope()
    }

    async fn purge_table(&self, _: &TableIdent) -> IcebergResult<()> {
        out_of_scope()
    }

    async fn table_exists(&self, _: &TableIdent) -> IcebergResult<bool> {
        out_of_scope()
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> IcebergResult<()> {
        out_of_scope()
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> IcebergResult<Table> {
        out_of_scope()
    }
}

/// A transaction needs only to load and to update its table.
fn out_of_scope<T>() -> IcebergResult<T> {
    Err(IcebergError::new(
        IcebergErrorKind::FeatureUnsupported,
        "a pinned catalog only serves a transaction",
    ))
}
