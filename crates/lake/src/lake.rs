//! The lake's table, opened.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema as ArrowSchema, SchemaRef};
use iceberg::spec::{FormatVersion, TableProperties};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use iceberg::{Catalog, NamespaceIdent, TableCreation, TableIdent};
use tokio::runtime::Runtime;

use crate::catalog::{self, Missing, PinnedCatalog};
use crate::commit::{self, Commit};
use crate::error::{Error, ErrorKind, Result};
use crate::maintain::Upkeep;
use crate::schema;
use crate::settings::LakeSettings;
use crate::write::PlannedFiles;

/// Versions of the table's metadata that its log names; upkeep deletes the files of older ones. Enough for who has read
/// the catalog and not yet the file it names; each is written again by every commit.
const PREVIOUS_VERSIONS: &str = "20";

/// How often opening a table tries to add columns while others change its schema too.
const EVOLUTION_TRIES: usize = 10;

/// The lake's table as last read, and the means to read and append.
///
/// Several processes may have the same table open. What others append is seen after [`refresh`](Self::refresh) or
/// [`append`](Self::append).
pub struct Lake {
    pub(crate) settings: LakeSettings,
    pub(crate) table: Table,
    pub(crate) schema: SchemaRef,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) upkeep: Upkeep,
    // Last, so that it outlives the catalog's connections, which are closed on it.
    pub(crate) runtime: Runtime,
}

/// A snapshot of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Iceberg's id of the snapshot.
    pub snapshot_id: i64,
    /// Grows by one with each snapshot: the watermark for [`Lake::files_since`].
    pub sequence_number: i64,
    /// The commit that made it; `None` if another program did.
    pub commit_id: Option<String>,
}

/// A live Parquet file of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeFile {
    /// Where it is.
    pub path: PathBuf,
    /// How many rows it has.
    pub records: u64,
    /// The snapshot that brought its rows; kept when upkeep rewrites them.
    pub sequence_number: i64,
    /// Its partition, as in `timestamp_day=2026-01-31`; empty if the table has none.
    pub partition: String,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake")
            .field("settings", &self.settings)
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens the lake for writing batches of `schema`. Catalog, namespace and table are created if missing; columns the
    /// table lacks are added to it.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] if the table has a column of `schema` with another type.
    pub fn open(settings: &LakeSettings, schema: &ArrowSchema) -> Result<Self> {
        let settings = settings.resolve()?;
        std::fs::create_dir_all(&settings.warehouse).map_err(|error| {
            Error::from_source(
                &format!("create the lake's folder {}", settings.warehouse.display()),
                error,
            )
        })?;
        let runtime = runtime(settings.writer_tasks)?;
        let (catalog, table) = runtime.block_on(async {
            let catalog: Arc<dyn Catalog> = Arc::new(catalog::open(&settings, Missing::Create).await?);
            let table = open_table(&catalog, &settings, schema).await?;
            Ok::<_, Error>((catalog, table))
        })?;
        Self::assemble(settings, table, catalog, runtime)
    }

    /// Opens the lake as it is. Nothing is created or changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such table yet.
    pub fn open_existing(settings: &LakeSettings) -> Result<Self> {
        let settings = settings.resolve()?;
        let runtime = runtime(settings.writer_tasks)?;
        let (catalog, table) = runtime.block_on(async {
            let catalog: Arc<dyn Catalog> = Arc::new(catalog::open(&settings, Missing::Refuse).await?);
            let table = commit::reload(&catalog, &table_ident(&settings)?).await?;
            Ok::<_, Error>((catalog, table))
        })?;
        Self::assemble(settings, table, catalog, runtime)
    }

    fn assemble(
        settings: LakeSettings,
        table: Table,
        catalog: Arc<dyn Catalog>,
        runtime: Runtime,
    ) -> Result<Self> {
        let schema = schema::arrow_schema(&table)?;
        Ok(Self {
            settings,
            table,
            schema,
            catalog,
            upkeep: Upkeep::default(),
            runtime,
        })
    }

    /// Reads the table's state again.
    pub fn refresh(&mut self) -> Result<()> {
        let table = self
            .runtime
            .block_on(commit::reload(&self.catalog, self.table.identifier()))?;
        self.show(table)
    }

    fn show(&mut self, table: Table) -> Result<()> {
        self.schema = schema::arrow_schema(&table)?;
        self.table = table;
        Ok(())
    }

    /// Appends the rows in one snapshot, unless `commit`'s id has landed before; returns where it landed. Without rows
    /// nothing is written, whatever the properties, and the current head is returned (`None` in an empty table); see
    /// [`checkpoint`](Self::checkpoint).
    ///
    /// Columns are matched by name; those a batch lacks are null. Files appear one per partition. Needs memory for the
    /// batches, which are dropped as they are written, and for the two largest partitions encoded.
    ///
    /// # Errors
    /// Nothing is appended, except for [`ErrorKind::OutcomeUnknown`]. Either way the same call may be repeated.
    pub fn append(&mut self, batches: Vec<RecordBatch>, commit: &Commit) -> Result<Option<Head>> {
        if let Some(head) = self.find_landed(commit)? {
            return Ok(Some(head));
        }
        let batches = batches.into_iter().filter(|batch| batch.num_rows() > 0);
        let batches = batches
            .map(|batch| schema::conform(&batch, &self.schema))
            .collect::<Result<Vec<_>>>()?;
        if batches.is_empty() {
            return Ok(self.head());
        }
        self.write_and_commit(batches, commit).map(Some)
    }

    /// Commits no rows, only `commit`'s summary and properties, unless its id has landed before; returns where it landed.
    /// For a source that moves on without bringing anything. A snapshot of its own, since a commit of properties alone
    /// is checked against nothing and could overwrite newer ones.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn checkpoint(&mut self, commit: &Commit) -> Result<Head> {
        if let Some(head) = self.find_landed(commit)? {
            return Ok(head);
        }
        let committing = commit::commit_files(&self.catalog, self.table.clone(), &[], commit, &self.settings);
        let (table, head) = self.runtime.block_on(committing)?;
        self.show(table)?;
        self.keep_up();
        Ok(head)
    }

    /// Reads the table again and looks for the commit in it.
    fn find_landed(&mut self, commit: &Commit) -> Result<Option<Head>> {
        if commit.commit_id.is_empty() {
            return Err(Error::new(
                ErrorKind::Settings,
                "a commit to the lake needs a commit id",
            ));
        }
        self.refresh()?;
        Ok(commit::find(&self.table, &commit.commit_id))
    }

    fn write_and_commit(&mut self, batches: Vec<RecordBatch>, commit: &Commit) -> Result<Head> {
        let planned = PlannedFiles::new(&self.table, batches)?;
        let traces = planned.traces()?;
        let committed = self.runtime.block_on(async {
            let files = planned.write(self.settings.writer_tasks).await?;
            commit::commit_files(&self.catalog, self.table.clone(), &files, commit, &self.settings).await
        });
        match committed {
            Ok((table, head)) => {
                self.show(table)?;
                self.keep_up();
                Ok(head)
            }
            Err(error) => {
                if error.kind() != ErrorKind::OutcomeUnknown {
                    traces.delete();
                }
                Err(error)
            }
        }
    }

    /// The table's current snapshot; `None` before the first append.
    pub fn head(&self) -> Option<Head> {
        commit::head(&self.table)
    }

    /// Whether an append with this id has landed.
    pub fn find_commit(&self, commit_id: &str) -> Option<Head> {
        commit::find(&self.table, commit_id)
    }

    /// The table's id: another one means another table under the same name.
    pub fn table_uuid(&self) -> String {
        self.table.metadata().uuid().to_string()
    }

    /// A table property, such as [`Commit::properties`] set it.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.table.metadata().properties().get(key).map(String::as_str)
    }

    /// The names of the table's properties that begin so.
    pub fn properties(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let names = self.table.metadata().properties().keys();
        names
            .map(String::as_str)
            .filter(move |name| name.starts_with(prefix))
    }

    /// The table's columns as batches of [`read`](Self::read) have them. They may be more than it was opened with.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The metadata file of the state shown here: what to give to `iceberg_scan` of DuckDB or PyIceberg's `StaticTable`.
    pub fn metadata_location(&self) -> Option<&str> {
        self.table.metadata_location()
    }
}

fn runtime(threads: NonZeroUsize) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.get())
        .thread_name("lake")
        .enable_all()
        .build()
        .map_err(|error| Error::from_source("start the lake's threads", error))
}

fn table_ident(settings: &LakeSettings) -> Result<TableIdent> {
    let namespace = NamespaceIdent::from_strs(settings.namespace.split('.'))
        .map_err(|error| Error::from_source("name the lake's namespace", error))?;
    Ok(TableIdent::new(namespace, settings.table.clone()))
}

async fn open_table(
    catalog: &Arc<dyn Catalog>,
    settings: &LakeSettings,
    schema: &ArrowSchema,
) -> Result<Table> {
    let ident = table_ident(settings)?;
    let exists = catalog.table_exists(&ident).await;
    let exists = exists.map_err(|error| Error::from_source("look into the lake's catalog", error))?;
    if !exists && let Err(error) = create_table(catalog, &ident, settings, schema).await {
        // Another process may have been faster.
        if !matches!(catalog.table_exists(&ident).await, Ok(true)) {
            return Err(error);
        }
    }
    // Read back even if just created: the catalog may report what SQLite refused.
    let table = commit::reload(catalog, &ident)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => commit::refused(&settings.warehouse, &format!("the new table {ident}")),
            _ => error,
        })?;
    evolve(catalog, table, schema, settings).await
}

async fn create_table(
    catalog: &Arc<dyn Catalog>,
    ident: &TableIdent,
    settings: &LakeSettings,
    schema: &ArrowSchema,
) -> Result<()> {
    let failed = |error| Error::from_source(&format!("create the lake's table {ident}"), error);
    let schema = schema::new_table_schema(schema)?;
    let spec = schema::partition_spec(&schema, settings.partition_by)?;
    if !catalog
        .namespace_exists(ident.namespace())
        .await
        .map_err(failed)?
    {
        let created = catalog.create_namespace(ident.namespace(), HashMap::new()).await;
        if !catalog
            .namespace_exists(ident.namespace())
            .await
            .map_err(failed)?
        {
            created.map_err(failed)?;
        }
    }
    let creation = TableCreation::builder()
        .name(ident.name().to_owned())
        .schema(schema)
        .partition_spec_opt(spec)
        .format_version(FormatVersion::V2)
        .properties([
            // The library's own retries would rebase onto a state that nobody has looked at.
            (
                TableProperties::PROPERTY_COMMIT_NUM_RETRIES.to_owned(),
                "0".to_owned(),
            ),
            (
                TableProperties::PROPERTY_METADATA_PREVIOUS_VERSIONS_MAX.to_owned(),
                PREVIOUS_VERSIONS.to_owned(),
            ),
        ])
        .build();
    catalog
        .create_table(ident.namespace(), creation)
        .await
        .map(drop)
        .map_err(failed)
}

/// Adds the columns of `schema` that the table lacks.
async fn evolve(
    catalog: &Arc<dyn Catalog>,
    mut table: Table,
    schema: &ArrowSchema,
    settings: &LakeSettings,
) -> Result<Table> {
    let mut outcome = Ok(());
    for _ in 0..EVOLUTION_TRIES {
        let missing = schema::missing_columns(table.metadata().current_schema(), schema)?;
        if missing.is_empty() {
            return Ok(table);
        }
        let transaction = Transaction::new(&table);
        let update = missing
            .into_iter()
            .fold(transaction.update_schema(), |update, column| {
                update.add_column(column)
            });
        let pinned = PinnedCatalog {
            inner: Arc::clone(catalog),
            base: table.clone(),
        };
        let committed = async { update.apply(transaction)?.commit(&pinned).await };
        outcome = committed
            .await
            .map(drop)
            .map_err(|error| Error::from_source("add columns to the lake's table", error));
        table = commit::reload(catalog, table.identifier()).await?;
        if outcome.as_ref().is_err_and(|error| !error.is_retryable()) {
            break;
        }
    }
    outcome?;
    Err(commit::refused(&settings.warehouse, "the new columns"))
}
