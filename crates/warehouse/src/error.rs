//! One error for everything the warehouse can refuse.

use std::fmt;

/// What went wrong, coarse enough to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The database file cannot be opened or is not ours.
    Open,
    /// Another process has the database file open.
    Locked,
    /// The disk has no room left.
    DiskFull,
    /// A statement needs more memory than [`Settings::memory_mb`](crate::Settings::memory_mb).
    OutOfMemory,
    /// Rows from the lake could not be taken into `raw`.
    Load,
    /// A statement of a model failed; `node` in the message says which.
    Model,
    /// The user's own SQL was refused or failed.
    Query,
}

/// How DuckDB says it; at a checkpoint as an I/O error.
const OUT_OF_MEMORY: [&str; 3] = [
    "Out of Memory Error",
    "could not allocate block",
    "failed to pin block",
];

/// A failure in one clear sentence, with DuckDB's own words as its source.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<duckdb::Error>,
}

/// The result of every warehouse call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Wraps DuckDB's error; a full disk or a foreign lock wins over the `kind` that the caller saw.
    pub(crate) fn duckdb(kind: ErrorKind, what: impl fmt::Display, source: duckdb::Error) -> Self {
        let text = source.to_string();
        let kind = if text.contains("No space left on device") || text.contains("File too large") {
            ErrorKind::DiskFull
        } else if OUT_OF_MEMORY.iter().any(|words| text.contains(words)) {
            ErrorKind::OutOfMemory
        } else if text.contains("Conflicting lock") || text.contains("Could not set lock") {
            ErrorKind::Locked
        } else {
            kind
        };
        Self {
            kind,
            message: what.to_string(),
            source: Some(source),
        }
    }

    /// The same failure, told as part of a larger piece of work.
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ErrorKind::DiskFull {
            return write!(
                f,
                "no space left on the disk: {}; free some space and run again",
                self.message
            );
        }
        match &self.source {
            Some(source) => write!(f, "{}: {}", self.message, first_paragraph(&source.to_string())),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

/// DuckDB's sentence without the advice and the excerpts below it, on one line.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Names what was being done when DuckDB failed.
pub(crate) trait Context<T> {
    fn during(self, kind: ErrorKind, what: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, duckdb::Error> {
    fn during(self, kind: ErrorKind, what: impl fmt::Display) -> Result<T> {
        self.map_err(|source| Error::duckdb(kind, what, source))
    }
}
