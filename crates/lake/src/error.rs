//! One error for the whole crate; [`Error::kind`] is what a caller decides by.

use std::error::Error as StdError;
use std::io;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with the lake, as one sentence with the thing's name and the cause in it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The kinds of failure a caller can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The settings cannot name a lake.
    Settings,
    /// There is no such catalog or table.
    NotFound,
    /// Batch and table, or the caller's schema and table, do not fit.
    Schema,
    /// The table uses something this crate cannot handle, such as delete files.
    Unsupported,
    /// A file of the table or the catalog cannot be understood.
    Corrupt,
    /// Another process held the catalog's write lock for too long; nothing was committed.
    CatalogLocked,
    /// Other writers were faster each time; nothing was committed.
    Conflict,
    /// The catalog took the commit and did not keep it; nothing was committed.
    CommitRefused,
    /// The commit may or may not have landed, because the catalog could not be asked afterwards.
    OutcomeUnknown,
    /// No space left on the disk; nothing was committed.
    DiskFull,
    /// The operating system refused to read or write.
    Io,
    /// Anything else the Iceberg library reports.
    Other,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// `what` says what was being done, as in "write the table's rows".
    pub(crate) fn from_source(what: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let kind = classify(source.as_ref());
        let cause = cause(source.as_ref());
        let message = match kind {
            ErrorKind::DiskFull => {
                format!("no space left on the disk: could not {what}; free some space and run again")
            }
            ErrorKind::CatalogLocked => {
                format!(
                    "another process keeps the lake's catalog locked: could not {what}; end it or try again later"
                )
            }
            ErrorKind::Conflict => {
                format!("other programs kept changing the lake's table: could not {what}; run again")
            }
            ErrorKind::Corrupt => format!("could not {what}, a file is damaged: {cause}"),
            _ => format!("could not {what}: {cause}"),
        };
        Self { kind, message }
    }

    /// The same failure under another kind, for callers that know more than the source tells.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call, with the same commit id, may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::CatalogLocked
                | ErrorKind::Conflict
                | ErrorKind::CommitRefused
                | ErrorKind::OutcomeUnknown
        )
    }
}

/// The kind of a foreign error, by the most telling link of its chain of sources.
pub(crate) fn classify(error: &(dyn StdError + 'static)) -> ErrorKind {
    let mut kind = ErrorKind::Other;
    for link in chain(error) {
        if let Some(found) = classify_link(link) {
            kind = found;
        }
    }
    kind
}

fn classify_link(link: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    if let Some(error) = link.downcast_ref::<io::Error>() {
        return Some(if error.kind() == io::ErrorKind::StorageFull {
            ErrorKind::DiskFull
        } else {
            ErrorKind::Io
        });
    }
    if let Some(error) = link.downcast_ref::<sqlx::Error>() {
        return classify_sqlite(error);
    }
    if let Some(error) = link.downcast_ref::<iceberg::Error>() {
        // The local storage of the library keeps an I/O error only as text.
        if error.message().contains("(os error 28)") {
            return Some(ErrorKind::DiskFull);
        }
        return match error.kind() {
            iceberg::ErrorKind::CatalogCommitConflicts => Some(ErrorKind::Conflict),
            iceberg::ErrorKind::DataInvalid if error.message().contains("(os error ") => Some(ErrorKind::Io),
            iceberg::ErrorKind::DataInvalid => Some(ErrorKind::Corrupt),
            iceberg::ErrorKind::FeatureUnsupported => Some(ErrorKind::Unsupported),
            iceberg::ErrorKind::TableNotFound | iceberg::ErrorKind::NamespaceNotFound => {
                Some(ErrorKind::NotFound)
            }
            _ => None,
        };
    }
    if link.is::<parquet::errors::ParquetError>() {
        return Some(ErrorKind::Corrupt);
    }
    None
}

fn classify_sqlite(error: &sqlx::Error) -> Option<ErrorKind> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    // The low byte of an extended code is the primary one: https://sqlite.org/rescode.html
    let code = error.code()?.parse::<u32>().ok()?;
    match code & 0xff {
        5 | 6 => Some(ErrorKind::CatalogLocked),
        11 | 26 => Some(ErrorKind::Corrupt),
        13 => Some(ErrorKind::DiskFull),
        // SQLITE_IOERR_SHMSIZE: the WAL's index could not grow.
        10 if code == 4874 => Some(ErrorKind::DiskFull),
        8 | 10 | 14 => Some(ErrorKind::Io),
        _ => None,
    }
}

/// The root of the chain, or the library's message that quotes it, which also names the file.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let root = text(chain(error).last().unwrap_or(error));
    let mut quoting = chain(error)
        .filter(|link| link.is::<iceberg::Error>())
        .map(text)
        .filter(|text| text.contains(&root));
    quoting.next().unwrap_or(root)
}

fn text(link: &(dyn StdError + 'static)) -> String {
    // Only `message` is one line: the library's Display adds its kind and context.
    link.downcast_ref::<iceberg::Error>()
        .map_or_else(|| link.to_string(), |error| error.message().to_owned())
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
