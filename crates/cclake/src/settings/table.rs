//! The one table of settings: `cclake config`, the reference page and the resolver all read it.

/// One setting: the key in `cclake.toml`, the environment variable, and what a person needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Key in `cclake.toml` and in `cclake config`.
    pub(crate) key: Key,
    /// Name of the key as written.
    pub(crate) name: &'static str,
    /// Environment variable that sets it.
    pub(crate) env: &'static str,
    /// Default, in words where it is computed.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
}

/// Every setting, as a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// Where everything lives.
    DataDir,
    /// Where conversations come from.
    Source,
    /// Source folders.
    Paths,
    /// MongoDB's connection string.
    MongoUri,
    /// MongoDB database.
    MongoDb,
    /// MongoDB collection.
    MongoCollection,
    /// Documents per answer.
    BatchSize,
    /// Seconds of changes per lake commit.
    CdcBufferSeconds,
    /// Whether the first extract reads what is there.
    BackfillAllHistorical,
    /// Name of this machine.
    Machine,
    /// Name of this user.
    User,
    /// DuckDB file.
    DuckdbPath,
    /// Iceberg folder.
    IcebergWarehousePath,
    /// Iceberg catalog name.
    IcebergCatalogName,
    /// Iceberg namespace.
    IcebergNamespace,
    /// Iceberg table.
    IcebergTableName,
    /// Partitioning of the lake table.
    PartitionBy,
    /// Dead letter queue.
    DeadLetterDir,
    /// Zone of days and hours.
    TimeZone,
    /// Deleted source documents in gold.
    OnDelete,
    /// CSV of own prices.
    Prices,
    /// Own dbt project.
    DbtProjectDir,
    /// dbt target.
    DbtTarget,
    /// Who builds the models.
    TransformEngine,
    /// dbt's program.
    DbtProgram,
    /// DuckDB's memory.
    MemoryMb,
    /// Worker threads.
    Threads,
}

impl Key {
    /// Its row of the table.
    #[expect(clippy::too_many_lines, reason = "a table, not logic")]
    pub(crate) const fn setting(self) -> &'static Setting {
        match self {
            Self::DataDir => &Setting {
                key: Self::DataDir,
                name: "data_dir",
                env: "CCLAKE_DATA_DIR",
                default: "$XDG_DATA_HOME/cclake, else ~/.local/share/cclake",
                doc: "Folder that holds the lake, the warehouse, the dead letters and the positions. One process owns it at a time.",
            },
            Self::Source => &Setting {
                key: Self::Source,
                name: "source",
                env: "CCLAKE_SOURCE",
                default: "jsonl",
                doc: "Where conversations come from: `jsonl`, Claude Code's own files (`paths`), or `mongodb`, one collection (`mongo_uri`, `mongo_db`, `mongo_collection`). On the command line `--source`.",
            },
            Self::MongoUri => &Setting {
                key: Self::MongoUri,
                name: "mongo_uri",
                env: "MONGO_URI",
                default: "mongodb://localhost:27017",
                doc: "MongoDB's connection string. Its secrets are never shown.",
            },
            Self::MongoDb => &Setting {
                key: Self::MongoDb,
                name: "mongo_db",
                env: "MONGO_DB",
                default: "claude_logs",
                doc: "MongoDB database that holds the conversations.",
            },
            Self::MongoCollection => &Setting {
                key: Self::MongoCollection,
                name: "mongo_collection",
                env: "MONGO_COLLECTION",
                default: "entries",
                doc: "Its collection with one document per record. claude-mongo-sync's is `conversations`.",
            },
            Self::BatchSize => &Setting {
                key: Self::BatchSize,
                name: "batch_size",
                env: "BATCH_SIZE",
                default: "500",
                doc: "Documents that one answer of MongoDB brings at most (an answer is never larger than 16 MB).",
            },
            Self::CdcBufferSeconds => &Setting {
                key: Self::CdcBufferSeconds,
                name: "cdc_buffer_seconds",
                env: "CDC_BUFFER_SECONDS",
                default: "60",
                doc: "Seconds for which `extract --follow` gathers changes before it commits them to the lake; sooner when they are many. From 0.5 on.",
            },
            Self::BackfillAllHistorical => &Setting {
                key: Self::BackfillAllHistorical,
                name: "backfill_all_historical",
                env: "BACKFILL_ALL_HISTORICAL",
                default: "true",
                doc: "Whether the first extract from MongoDB brings what is there already (`true`), or only what comes from then on (`false`).",
            },
            Self::Paths => &Setting {
                key: Self::Paths,
                name: "paths",
                env: "CCLAKE_PATHS",
                default: "$CLAUDE_CONFIG_DIR/projects, else ~/.claude/projects",
                doc: "Folders with Claude Code transcripts (`*.jsonl`, searched recursively). A list in `cclake.toml`; in the environment separated by `:`; on the command line `--path`, repeated.",
            },
            Self::Machine => &Setting {
                key: Self::Machine,
                name: "machine",
                env: "CCLAKE_MACHINE",
                default: "the host name when the data directory was made",
                doc: "Name of this machine in the `machine` column, so that several machines can share one lake. The data directory remembers the first one (its file `machine`), so that a new host name does not make the files new.",
            },
            Self::User => &Setting {
                key: Self::User,
                name: "user",
                env: "CCLAKE_USER",
                default: "the login name ($USER)",
                doc: "Name of this user in the documents that `cclake sync` writes.",
            },
            Self::DuckdbPath => &Setting {
                key: Self::DuckdbPath,
                name: "duckdb_path",
                env: "DUCKDB_PATH",
                default: "<data_dir>/analytics.db",
                doc: "The warehouse: one DuckDB file.",
            },
            Self::IcebergWarehousePath => &Setting {
                key: Self::IcebergWarehousePath,
                name: "iceberg_warehouse_path",
                env: "ICEBERG_WAREHOUSE_PATH",
                default: "<data_dir>/iceberg",
                doc: "The lake: Iceberg tables and their SQLite catalog (`catalog.db`). Paths inside are absolute, so the folder does not move.",
            },
            Self::IcebergCatalogName => &Setting {
                key: Self::IcebergCatalogName,
                name: "iceberg_catalog_name",
                env: "ICEBERG_CATALOG_NAME",
                default: "default",
                doc: "Name under which the catalog lists its tables; other Iceberg clients must use the same.",
            },
            Self::IcebergNamespace => &Setting {
                key: Self::IcebergNamespace,
                name: "iceberg_namespace",
                env: "ICEBERG_NAMESPACE",
                default: "analytics",
                doc: "Iceberg namespace of the table.",
            },
            Self::IcebergTableName => &Setting {
                key: Self::IcebergTableName,
                name: "iceberg_table_name",
                env: "ICEBERG_TABLE_NAME",
                default: "conversations",
                doc: "Iceberg table that logs every source record.",
            },
            Self::PartitionBy => &Setting {
                key: Self::PartitionBy,
                name: "partition_by",
                env: "CCLAKE_PARTITION_BY",
                default: "date",
                doc: "Partitioning of a new lake table by the record's timestamp: `date`, `month` or `none`.",
            },
            Self::DeadLetterDir => &Setting {
                key: Self::DeadLetterDir,
                name: "dead_letter_dir",
                env: "DEAD_LETTER_DIR",
                default: "<data_dir>/dead_letter",
                doc: "Where input goes that cannot become a row.",
            },
            Self::TimeZone => &Setting {
                key: Self::TimeZone,
                name: "time_zone",
                env: "CCLAKE_TIME_ZONE",
                default: "the machine's",
                doc: "IANA zone whose days and hours the reports use. Changing it rebuilds the models; the UTC instants stay.",
            },
            Self::OnDelete => &Setting {
                key: Self::OnDelete,
                name: "on_delete",
                env: "CCLAKE_ON_DELETE",
                default: "keep",
                doc: "What gold does with a document deleted at its source: `keep` counts it, `remove` drops it.",
            },
            Self::Prices => &Setting {
                key: Self::Prices,
                name: "prices",
                env: "CCLAKE_PRICES",
                default: "the list prices alone",
                doc: "A CSV of your own prices, in the columns of the seed `model_prices_override`; they win over the list prices, and the next run computes every cost anew. On the command line `--prices`.",
            },
            Self::DbtProjectDir => &Setting {
                key: Self::DbtProjectDir,
                name: "dbt_project_dir",
                env: "CCLAKE_DBT_PROJECT_DIR",
                default: "the project inside the binary",
                doc: "A dbt project of your own to build instead of the embedded one.",
            },
            Self::DbtTarget => &Setting {
                key: Self::DbtTarget,
                name: "dbt_target",
                env: "CCLAKE_DBT_TARGET",
                default: "the profile's",
                doc: "Target of `profiles.yml`.",
            },
            Self::TransformEngine => &Setting {
                key: Self::TransformEngine,
                name: "transform_engine",
                env: "CCLAKE_TRANSFORM_ENGINE",
                default: "builtin",
                doc: "Who builds the models and runs their tests: `builtin`, or `dbt`, the installed program, on a copy of the warehouse that replaces it when all critical tests pass.",
            },
            Self::DbtProgram => &Setting {
                key: Self::DbtProgram,
                name: "dbt_program",
                env: "CCLAKE_DBT_PROGRAM",
                default: "dbt",
                doc: "Name or path of the dbt program for `transform_engine = \"dbt\"`: dbt-core with dbt-duckdb.",
            },
            Self::MemoryMb => &Setting {
                key: Self::MemoryMb,
                name: "memory_mb",
                env: "CCLAKE_MEMORY_MB",
                default: "384",
                doc: "MiB of memory that DuckDB may use before it spills to disk.",
            },
            Self::Threads => &Setting {
                key: Self::Threads,
                name: "threads",
                env: "CCLAKE_THREADS",
                default: "the number of cores",
                doc: "Worker threads for parsing and for DuckDB.",
            },
        }
    }
}

/// In the order in which `cclake config` prints them.
pub(crate) static SETTINGS: &[&Setting] = &[
    Key::DataDir.setting(),
    Key::Source.setting(),
    Key::Paths.setting(),
    Key::MongoUri.setting(),
    Key::MongoDb.setting(),
    Key::MongoCollection.setting(),
    Key::BatchSize.setting(),
    Key::CdcBufferSeconds.setting(),
    Key::BackfillAllHistorical.setting(),
    Key::Machine.setting(),
    Key::User.setting(),
    Key::DuckdbPath.setting(),
    Key::IcebergWarehousePath.setting(),
    Key::IcebergCatalogName.setting(),
    Key::IcebergNamespace.setting(),
    Key::IcebergTableName.setting(),
    Key::PartitionBy.setting(),
    Key::DeadLetterDir.setting(),
    Key::TimeZone.setting(),
    Key::OnDelete.setting(),
    Key::Prices.setting(),
    Key::DbtProjectDir.setting(),
    Key::DbtTarget.setting(),
    Key::TransformEngine.setting(),
    Key::DbtProgram.setting(),
    Key::MemoryMb.setting(),
    Key::Threads.setting(),
];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::SETTINGS;
    use crate::reference::check_page;

    #[test]
    fn the_reference_page_is_current() {
        let mut page = String::from(
            "# Settings\n\nDefaults < `cclake.toml` < environment < flags. `cclake.toml` is read from the current folder, \
             else from `~/.config/cclake/`; `--config FILE` names another. An unknown key is an error. `cclake config` \
             prints every value and where it came from.\n\n| key | environment | default | meaning |\n|---|---|---|---|\n",
        );
        for setting in SETTINGS {
            let default = setting.default.replace('<', "&lt;");
            let _ = writeln!(
                page,
                "| `{}` | `{}` | {default} | {} |",
                setting.name, setting.env, setting.doc
            );
        }
        check_page("settings.md", &page);
    }
}
