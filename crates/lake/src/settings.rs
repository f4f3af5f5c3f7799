//! Where the lake is and how a new table is laid out.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iceberg::spec::Transform;

use crate::error::{Error, ErrorKind, Result};

/// Where the lake is, what its table is called, and how a new table is laid out.
#[derive(Debug, Clone)]
pub struct LakeSettings {
    /// The folder that holds `catalog.db` and the table folders. All paths inside the table are absolute, so the folder
    /// cannot be moved.
    pub warehouse: PathBuf,
    /// The catalog's name: another name sees an empty catalog in the same file.
    pub catalog_name: String,
    /// The table's namespace; dots separate levels.
    pub namespace: String,
    /// The table's name.
    pub table: String,
    /// How a new table is partitioned. An existing table keeps what it has.
    pub partition_by: PartitionBy,
    /// How long an append keeps trying while other writers win or hold the catalog's lock. One try can take SQLite's
    /// 5 s, so the time may be exceeded by as much.
    pub commit_patience: Duration,
    /// Files that an append writes side by side: each is encoded on one core and held in memory.
    pub writer_tasks: NonZeroUsize,
    /// Called before an append does upkeep, which needs memory that what was written a moment ago need not keep.
    pub before_upkeep: fn(),
}

/// The partition of a row, from its `timestamp`; rows without one share a partition of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionBy {
    /// One folder per UTC day.
    #[default]
    Date,
    /// One folder per UTC month.
    Month,
    /// No partitions.
    None,
}

impl PartitionBy {
    pub(crate) fn transform(self) -> Option<Transform> {
        match self {
            Self::Date => Some(Transform::Day),
            Self::Month => Some(Transform::Month),
            Self::None => None,
        }
    }
}

impl LakeSettings {
    /// The lake in `warehouse` under the product's default names.
    pub fn new(warehouse: impl Into<PathBuf>) -> Self {
        Self {
            warehouse: warehouse.into(),
            catalog_name: "default".to_owned(),
            namespace: "analytics".to_owned(),
            table: "conversations".to_owned(),
            partition_by: PartitionBy::default(),
            // Longer than a backup or another run's commit, shorter than a person's patience.
            commit_patience: Duration::from_secs(30),
            writer_tasks: NonZeroUsize::MIN.saturating_add(1),
            before_upkeep: || {},
        }
    }

    /// The SQLite file of the catalog.
    pub fn catalog_path(&self) -> PathBuf {
        self.warehouse.join("catalog.db")
    }

    /// These settings with an absolute warehouse, or why they cannot name a lake.
    pub(crate) fn resolve(&self) -> Result<Self> {
        for (what, name) in [
            ("catalog name", &self.catalog_name),
            ("namespace", &self.namespace),
            ("table name", &self.table),
        ] {
            check_name(what, name, what == "namespace")?;
        }
        let warehouse = std::path::absolute(&self.warehouse)
            .map_err(|error| Error::from_source("find the lake's folder", error))?;
        utf8(&warehouse)?;
        Ok(Self {
            warehouse,
            ..self.clone()
        })
    }
}

/// The path as text, which is all that Iceberg's metadata can hold.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(
            ErrorKind::Settings,
            format!(
                "the lake's folder {} is not valid UTF-8; choose another one",
                path.display()
            ),
        )
    })
}

/// Names become folder names and catalog keys, so that anything but plain words could leave the warehouse.
fn check_name(what: &str, name: &str, dots: bool) -> Result<()> {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let fits = if dots {
        name.split('.').all(plain)
    } else {
        plain(name)
    };
    if fits {
        return Ok(());
    }
    let message = format!("the lake's {what} {name:?} must be made of letters, digits, _ and -");
    Err(Error::new(ErrorKind::Settings, message))
}
