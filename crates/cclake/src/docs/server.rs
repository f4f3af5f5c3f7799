//! Serves the site on this machine, anew after each build.

use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;

use super::{Docs, Site};
use crate::http::{Listener, Response};
use crate::settings::Settings;

/// How long a busy warehouse is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Answers until Ctrl-C or a SIGTERM, whatever clients still wait for or hold open.
pub(crate) fn run(listener: Listener, settings: &Settings, site: Site) -> anyhow::Result<()> {
    let (stop, stopped) = mpsc::channel();
    // Whoever would hear of a second Ctrl-C has gone.
    ctrlc::set_handler(move || _ = stop.send(())).context("cannot wait for Ctrl-C")?;
    let shared = Arc::new(Shared {
        settings: settings.clone(),
        shown: Mutex::new(Shown {
            site: Arc::new(site),
            seen: state(&settings.duckdb_path),
            refused: None,
        }),
    });
    let clients = Arc::clone(&shared);
    listener.answer(move |path| page(path, &clients));
    stopped.recv().context("cannot wait for Ctrl-C")?;
    // The process ends with its threads, but not in the middle of a database that one of them reads.
    mem::forget(shared.shown.lock());
    Ok(())
}

/// What the threads of all clients share.
struct Shared {
    settings: Settings,
    shown: Mutex<Shown>,
}

/// The site, and the state of the warehouse it was made of.
struct Shown {
    site: Arc<Site>,
    seen: Option<(SystemTime, u64)>,
    /// When the warehouse was last found busy.
    refused: Option<Instant>,
}

impl Shared {
    /// The site as the warehouse is now.
    fn site(&self) -> Arc<Site> {
        // What a failed reader left behind is whole: it is replaced at once.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state(&self.settings.duckdb_path);
        let may_try = shown.refused.is_none_or(|at| at.elapsed() > RETRY);
        if now != shown.seen && may_try {
            // While somebody writes to the warehouse or edits the project, what was read last is shown.
            match Docs::read(&self.settings) {
                Ok(docs) if docs.is_whole() || !shown.site.is_whole() => {
                    shown.site = Arc::new(Site::new(docs));
                    shown.seen = now;
                    shown.refused = None;
                }
                _ => shown.refused = Some(Instant::now()),
            }
        }
        Arc::clone(&shown.site)
    }
}

/// Changes when the warehouse does.
fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn page(path: &str, shared: &Shared) -> Response {
    match shared.site().page(path.trim_start_matches('/')) {
        Some(page) => Response {
            status: "200 OK",
            media_type: page.media_type,
            body: page.body,
        },
        None => Response::plain("404 Not Found", "there is no such page; the overview is at /"),
    }
}
