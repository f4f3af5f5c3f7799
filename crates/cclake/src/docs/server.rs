//! Serves the site on this machine: GET only, and anew after each build.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};
use std::{mem, thread};

use anyhow::{Context as _, anyhow};

use super::http::{self, Request, Response};
use super::{Docs, Site};
use crate::settings::Settings;

/// Connections at a time, each with a thread of its own; a browser opens six.
const MOST_CLIENTS: usize = 100;

/// How long a client may be silent while it asks, or not read while it is answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long, and for how many bytes, a client may go on sending after it was answered. A connection that is closed with
/// bytes unread can take the answer back.
const FAREWELL: (Duration, u64) = (Duration::from_secs(1), 1024 * 1024);

/// How long a busy warehouse is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// A server that has its port.
pub(crate) struct DocsServer {
    listener: TcpListener,
    url: String,
}

impl DocsServer {
    /// Takes a port of the loopback address; 0 takes any free one.
    ///
    /// # Errors
    /// When another program has it.
    pub(crate) fn bind(port: u16) -> anyhow::Result<DocsServer> {
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow!("port {port} is in use by another program: give another one with --port (0 takes any free one)")
            }
            _ => anyhow!(error).context(format!("cannot listen on 127.0.0.1:{port}")),
        })?;
        let url = format!("http://{}/", listener.local_addr()?);
        Ok(DocsServer { listener, url })
    }

    /// The start page's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Answers until Ctrl-C or a SIGTERM, whatever clients still wait for or hold open.
    pub(crate) fn run(self, settings: &Settings, site: Site) -> anyhow::Result<()> {
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
        thread::spawn(move || accept(&self.listener, &clients));
        stopped.recv().context("cannot wait for Ctrl-C")?;
        // The process ends with its threads, but not in the middle of a database that one of them reads.
        mem::forget(shared.shown.lock());
        Ok(())
    }
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        match stream {
            // Each client holds one, so that they are counted; whoever is too much finds the connection closed.
            Ok(stream) if Arc::strong_count(shared) <= MOST_CLIENTS => {
                let shared = Arc::clone(shared);
                let client = move || {
                    // Whoever asked may be gone.
                    let _ = serve(&stream, &shared);
                };
                // Without room for a thread the connection is closed too.
                let _ = thread::Builder::new().spawn(client);
            }
            Ok(_) => {}
            // Files of the process have run out; other clients will close theirs.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = http::read(stream)?;
    let with_body = request.as_ref().is_none_or(|request| request.method != "HEAD");
    http::write(stream, &answer(request.as_ref(), shared), with_body)?;
    stream.shutdown(Shutdown::Write)?;
    let (time, bytes) = FAREWELL;
    stream.set_read_timeout(Some(time))?;
    io::copy(&mut stream.take(bytes), &mut io::sink())?;
    Ok(())
}

fn answer(request: Option<&Request>, shared: &Shared) -> Response {
    let Some(request) = request else {
        return plain("400 Bad Request", "this is no request");
    };
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return plain("405 Method Not Allowed", "only GET is answered here");
    }
    // A page of another site could otherwise read this one under a name of its own.
    if !request.host.as_deref().is_none_or(is_local) {
        return plain("403 Forbidden", "ask for 127.0.0.1 or localhost");
    }
    match shared.site().page(request.path.trim_start_matches('/')) {
        Some(page) => Response {
            status: "200 OK",
            media_type: page.media_type,
            body: page.body,
        },
        None => plain("404 Not Found", "there is no such page; the overview is at /"),
    }
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost")
}

fn plain(status: &'static str, text: &str) -> Response {
    Response {
        status,
        media_type: "text/plain; charset=utf-8",
        body: format!("{text}\n"),
    }
}
