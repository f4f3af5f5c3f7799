//! One error for everything that ends an extraction; what only concerns one file or line never does.

use std::{fmt, io};

/// What went wrong, coarse enough to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A root the user named does not exist or cannot be listed.
    Root,
    /// A file of our own (positions, dead letter queue) cannot be read or written.
    Io,
    /// A file of our own has contents we do not understand.
    Format,
    /// MongoDB cannot be reached, or refuses; the message names the setting to look at.
    Source,
    /// MongoDB cannot be reached now; it may be back.
    SourceAway,
    /// The machine refused a thread, or one ended early.
    Thread,
}

/// A failure in one clear sentence.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Names what was being done when the operating system refused.
pub(crate) trait Context<T> {
    fn during(self, kind: ErrorKind, what: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, kind: ErrorKind, what: impl fmt::Display) -> Result<T> {
        self.map_err(|source| Error {
            kind,
            message: what.to_string(),
            source: Some(source),
        })
    }
}
