//! The database file, attached to an instance in which SQL cannot reach anything else.

use std::cell::RefCell;
use std::path::PathBuf;

use duckdb::{Config, Connection};

use crate::error::{Context as _, ErrorKind, Result};
use crate::room::Room;

/// The name of the attached database: dbt calls it by the file's stem, `analytics.db`.
pub const DATABASE: &str = "analytics";

/// Rows per row group, a multiple of 2,048. DuckDB's default of 122,880 keeps every smaller load on one thread and in memory
/// until its end; fewer than 6,144 take longer to write, and more leave one core idle at the end of each scan.
const ROW_GROUP_SIZE: usize = 6144;

/// Bytes per block of a new database file. A commit touches one block for each column of each table it adds to, however few
/// rows: a quarter of DuckDB's default makes a small build an eighth faster and a warehouse a tenth smaller. From 32 KiB down,
/// texts of a few thousand bytes no longer fit beside each other, and a load takes twice as long.
const BLOCK_SIZE: &str = "65536";

/// Full row groups that DuckDB keeps before it writes them. Its default of 5 leaves all of a small load to the commit.
const BUFFERED_ROW_GROUPS: &str = "1";

/// Freed memory that DuckDB may keep for itself, beyond its limit. Its default of half a gigabyte saves no time here.
const FREED_BYTES: &str = "64MiB";

/// How columns are stored, the JSON of `raw` aside: most repeat a few values. Left to choose, DuckDB takes a ninth longer for
/// a small build; without any, the file is half again as large.
const COMPRESSION: &str = "dictionary";

/// The two kinds of work, which want different settings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// Appending. DuckDB hands each flush to another thread while the appending one spins on a lock: alone it is faster,
    /// and leaves the other cores to the lake. The batches beside it need memory too, so it gets half.
    Load,
    /// Models, tests and publishing, parallel inside each query.
    Build,
}

/// Where the database is and what it may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database file; created by a read-write opening.
    pub path: PathBuf,
    /// Where operators spill what exceeds `memory_mb`.
    pub temp_dir: PathBuf,
    /// DuckDB's buffer limit in MiB; more spills to `temp_dir`.
    pub memory_mb: u64,
    /// DuckDB's worker threads.
    pub threads: usize,
    /// IANA name of the zone in which instants are shown.
    pub time_zone: String,
}

/// What the opener intends to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Load and build: one process at a time.
    ReadWrite,
    /// Query only: the file is never touched.
    ReadOnly,
}

/// An open warehouse: the one place that talks to DuckDB.
pub struct Warehouse {
    pub(crate) connection: Connection,
    /// DuckDB's worker threads while it builds.
    threads: usize,
    /// DuckDB's memory while it builds.
    memory_mb: u64,
    /// Memory beyond that, for what was loaded.
    pub(crate) room: RefCell<Room>,
}

impl Warehouse {
    /// Opens (and with [`Access::ReadWrite`] creates) the database file.
    ///
    /// Once it is attached, the instance gives up every other access to files and its configuration is locked, so that
    /// no SQL, a user's or a model's, can read or write outside the database.
    ///
    /// # Errors
    /// `Locked` when another process has the file, `Open` when it is not a DuckDB file or not reachable.
    pub fn open(settings: &Settings, access: Access) -> Result<Self> {
        let what = || format!("cannot open the warehouse {}", settings.path.display());
        let config = Config::default()
            .enable_autoload_extension(false)
            .and_then(|config| config.threads(i64::try_from(settings.threads).unwrap_or(1)))
            .and_then(|config| config.max_memory(&format!("{}MiB", settings.memory_mb)))
            .and_then(|config| config.with("preserve_insertion_order", "false"))
            .and_then(|config| config.with("default_block_size", BLOCK_SIZE))
            .and_then(|config| config.with("force_compression", COMPRESSION))
            .and_then(|config| config.with("write_buffer_row_group_count", BUFFERED_ROW_GROUPS))
            .and_then(|config| config.with("allocator_flush_threshold", FREED_BYTES))
            .and_then(|config| config.with("allocator_bulk_deallocation_flush_threshold", FREED_BYTES))
            .and_then(|config| config.with("temp_directory", settings.temp_dir.to_string_lossy()))
            .during(ErrorKind::Open, what())?;
        let connection = Connection::open_in_memory_with_flags(config).during(ErrorKind::Open, what())?;
        #[cfg(feature = "bundled")]
        connection
            .register_scalar_function::<crate::zone::LocalTime>("timezone")
            .during(ErrorKind::Open, what())?;
        connection
            .execute_batch(&attach_sql(settings, access))
            .during(ErrorKind::Open, what())?;
        let warehouse = Self {
            connection,
            threads: settings.threads,
            memory_mb: settings.memory_mb,
            room: RefCell::default(),
        };
        if access == Access::ReadWrite {
            warehouse.create_schemas()?;
        }
        warehouse.set_search_path()?;
        Ok(warehouse)
    }

    /// A second connection to the same instance: reads on while the first one builds, and sees the last commit.
    ///
    /// # Errors
    /// `Open` when DuckDB refuses another connection.
    pub fn reader(&self) -> Result<Self> {
        let connection = self
            .connection
            .try_clone()
            .during(ErrorKind::Open, "cannot open a second connection")?;
        let reader = Self {
            connection,
            threads: self.threads,
            memory_mb: self.memory_mb,
            room: RefCell::default(),
        };
        reader.set_search_path()?;
        Ok(reader)
    }

    /// Makes all that was committed outlast this process. Waits for the queries that run meanwhile.
    pub fn checkpoint(&self) -> Result<()> {
        self.connection
            .execute_batch(&format!("force checkpoint {DATABASE}"))
            .during(ErrorKind::Open, "cannot write the warehouse to disk")
    }

    /// Leaves all that DuckDB holds in memory to the end of the process, which is near: freeing it takes time and helps
    /// nobody. What was published is on disk. Files that it spilled to are removed as always.
    pub fn leave(self) {
        if !self.has_spilled() {
            std::mem::forget(self);
        }
    }

    fn has_spilled(&self) -> bool {
        self.connection
            .query_row("select count(*) > 0 from duckdb_temporary_files()", [], |row| {
                row.get(0)
            })
            .unwrap_or(true)
    }

    /// Sets the instance up for what comes next.
    pub(crate) fn enter(&self, phase: Phase) -> Result<()> {
        let (threads, memory_mb) = match phase {
            Phase::Load => (1, self.memory_mb / 2),
            Phase::Build => (self.threads, self.memory_mb),
        };
        let memory_mb = memory_mb.saturating_add(self.room.borrow().mebibytes());
        self.connection
            .execute_batch(&format!(
                "set threads = {threads}; set memory_limit = '{memory_mb}MiB'"
            ))
            .during(ErrorKind::Open, "cannot set DuckDB up")
    }

    fn create_schemas(&self) -> Result<()> {
        self.connection
            .execute_batch(
                "create schema if not exists raw; create schema if not exists staging;
                 create schema if not exists intermediate; create schema if not exists marts;
                 create schema if not exists quality;",
            )
            .during(ErrorKind::Open, "cannot create the schemas of the warehouse")
    }

    /// Gold comes first, so that a person's query needs no schema names; later schemas are found too.
    fn set_search_path(&self) -> Result<()> {
        let schemas = self.existing_schemas()?;
        let path = ["marts", "intermediate", "staging", "quality", "raw"]
            .iter()
            .filter(|schema| schemas.iter().any(|existing| existing == *schema))
            .map(|schema| format!("{DATABASE}.{schema}"))
            .collect::<Vec<_>>()
            .join(",");
        let path = if path.is_empty() {
            DATABASE.to_owned() + ".main"
        } else {
            path
        };
        self.connection
            .execute_batch(&format!("set search_path = '{path}'"))
            .during(ErrorKind::Open, "cannot set the search path")
    }

    fn existing_schemas(&self) -> Result<Vec<String>> {
        let what = "cannot list the schemas of the warehouse";
        let mut statement = self
            .connection
            .prepare("select schema_name from duckdb_schemas() where database_name = ?")
            .during(ErrorKind::Open, what)?;
        let rows = statement
            .query_map([DATABASE], |row| row.get(0))
            .during(ErrorKind::Open, what)?;
        rows.collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Open, what)
    }
}

/// The first storage version that has zstd.
const STORAGE_VERSION: &str = "v1.2.0";

fn attach_sql(settings: &Settings, access: Access) -> String {
    let phases = match access {
        Access::ReadWrite => "'threads', 'memory_limit'",
        Access::ReadOnly => "",
    };
    let options = match access {
        // Without a write-ahead log a commit lasts from its checkpoint on, which is one switch of the file's header. The
        // log is no such switch: killed in the middle of a large commit, DuckDB 1.5.6 replays the row groups it finds
        // there although the commit never ended, and loses them at the next one.
        Access::ReadWrite => format!(
            "row_group_size {ROW_GROUP_SIZE}, recovery_mode 'no_wal_writes', storage_version '{STORAGE_VERSION}'"
        ),
        // Threads share the scan of a table by row groups of the size given here, whatever the file's own are.
        Access::ReadOnly => format!("row_group_size {ROW_GROUP_SIZE}, read_only"),
    };
    // It is a setting of ICU.
    let zone = if cfg!(feature = "bundled") {
        String::new()
    } else {
        format!("set timezone = {};", quoted(&settings.time_zone))
    };
    format!(
        "{zone}
         attach {path} as {DATABASE} ({options});
         use {DATABASE};
         set enable_external_access = false;
         set allowed_configs = [{phases}];
         set lock_configuration = true;",
        path = quoted(&settings.path.to_string_lossy()),
    )
}

/// A SQL string literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A SQL identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
