//! How `sync --watch` is, for whoever asks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::SyncReport;
use crate::http::Response;

/// What `/health` answers, and what the end tells a person.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Health {
    /// Whether the server answered last time.
    pub connected: bool,
    /// Bytes of the files that are in no document yet.
    pub pending: u64,
    /// Documents that were stored since the start.
    pub synced: u64,
    /// Lines since the start whose document was there already.
    pub already_there: u64,
    /// Lines since the start that went to the dead letter queue.
    pub dead_lettered: u64,
    /// Places since the start that were noted in documents that were there.
    pub sightings: u64,
    /// When everything was in MongoDB last: ISO 8601, UTC.
    pub last_sync: Option<String>,
    /// Why not everything is, while that lasts.
    pub last_error: Option<String>,
}

/// [`Health`] that one thread feels and others ask for.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Health>);

impl Pulse {
    /// As it is now.
    pub(crate) fn now(&self) -> Health {
        self.lock().clone()
    }

    /// The answer for a path.
    pub(crate) fn page(&self, path: &str) -> Response {
        match (path, serde_json::to_string(&self.now())) {
            ("/health", Ok(text)) => Response {
                status: "200 OK",
                media_type: "application/json",
                body: text + "\n",
            },
            _ => Response::plain("404 Not Found", "there is nothing but /health"),
        }
    }

    pub(super) fn connected(&self) {
        self.lock().connected = true;
    }

    pub(super) fn pending(&self, bytes: u64) {
        self.lock().pending = bytes;
    }

    pub(super) fn stored(&self, part: &SyncReport) {
        let mut health = self.lock();
        health.pending = health.pending.saturating_sub(part.lines.bytes);
        health.synced += part.lines.new;
        health.already_there += part.lines.already_there;
        health.dead_lettered += part.lines.dead_lettered;
        health.sightings += part.sightings;
    }

    pub(super) fn done(&self) {
        let mut health = self.lock();
        health.pending = 0;
        health.last_error = None;
        health.last_sync = Some(jiff::Timestamp::now().to_string());
    }

    pub(super) fn failed(&self, error: &str, is_away: bool) {
        let mut health = self.lock();
        health.connected &= !is_away;
        health.last_error = Some(error.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        // Each change is whole as soon as it is made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
