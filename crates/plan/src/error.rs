//! The one error of this crate: what is wrong, in which file and line, and what to do about it.

use std::fmt;

/// What part of the work an [`Error`] belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A project file is missing or does not say what dbt expects there.
    Project,
    /// Valid dbt that this runner does not do. Never skipped silently.
    Unsupported,
    /// A template does not compile or render.
    Jinja,
    /// Nodes do not fit together: an unknown `ref`, a cycle, two nodes of one name.
    Graph,
    /// A selector is malformed or matches nothing.
    Selection,
    /// A seed file is not the CSV it should be.
    Seed,
}

/// A file of the project (relative path) and a line in it, counted from 1 (0: the whole file).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Path relative to the project's root, with `/`.
    pub file: String,
    /// Line, counted from 1; 0 means the whole file.
    pub line: usize,
}

impl Place {
    pub(crate) fn new(file: impl Into<String>, line: usize) -> Place {
        Place {
            file: file.into(),
            line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Why a project cannot be loaded or planned. `Display` is one line: `file:line: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<Place>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            place: None,
        }
    }

    pub(crate) fn at(kind: ErrorKind, place: &Place, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            place: Some(place.clone()),
        }
    }

    /// What part of the work failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the project, if it is one place.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

pub(crate) type Result<T> = std::result::Result<T, Error>;
