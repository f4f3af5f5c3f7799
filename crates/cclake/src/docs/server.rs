//! Serves the site on this machine: GET only, and anew after each build.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use tiny_http::{Header, Method, Request, Response, Server};

use super::{Docs, Site};
use crate::settings::Settings;

/// What a page may load: nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'";

/// A server that has its port.
pub(crate) struct DocsServer {
    server: Arc<Server>,
}

impl DocsServer {
    /// Takes a port of the loopback address; 0 takes any free one.
    ///
    /// # Errors
    /// When another program has it.
    pub(crate) fn bind(port: u16) -> anyhow::Result<DocsServer> {
        let server = Server::http(("127.0.0.1", port)).map_err(|error| match error.downcast::<io::Error>() {
            Ok(error) if error.kind() == io::ErrorKind::AddrInUse => {
                anyhow!("port {port} is in use by another program: give another one with --port (0 takes any free one)")
            }
            Ok(error) => anyhow!(*error).context(format!("cannot listen on 127.0.0.1:{port}")),
            Err(error) => anyhow!("cannot listen on 127.0.0.1:{port}: {error}"),
        })?;
        Ok(DocsServer {
            server: Arc::new(server),
        })
    }

    /// The start page's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.server.server_addr())
    }

    /// Answers until Ctrl-C or a SIGTERM.
    pub(crate) fn run(&self, settings: &Settings, site: Site) -> anyhow::Result<()> {
        let server = Arc::clone(&self.server);
        ctrlc::set_handler(move || server.unblock()).context("cannot wait for Ctrl-C")?;
        let mut site = site;
        let mut seen = state(&settings.duckdb_path);
        for request in self.server.incoming_requests() {
            let now = state(&settings.duckdb_path);
            if now != seen {
                // While somebody writes to the warehouse or edits the project, what was read last is shown.
                match Docs::read(settings) {
                    Ok(docs) if docs.is_whole() || !site.is_whole() => {
                        site = Site::new(docs);
                        seen = now;
                    }
                    _ => {}
                }
            }
            // Whoever asked may be gone.
            let _ = answer(&site, request);
        }
        Ok(())
    }
}

/// Changes when the warehouse does.
fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn answer(site: &Site, request: Request) -> io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(plain(405, "only GET is answered here"));
    }
    // A page of another site could otherwise read this one under a name of its own.
    if !host_is_local(&request) {
        return request.respond(plain(403, "ask for 127.0.0.1 or localhost"));
    }
    let path = request.url().split(['?', '#']).next().unwrap_or_default();
    match site.page(path.trim_start_matches('/')) {
        Some(page) => {
            let response = Response::from_string(page.body);
            request.respond(with_headers(response, page.media_type))
        }
        None => request.respond(plain(404, "there is no such page; the overview is at /")),
    }
}

fn host_is_local(request: &Request) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    host.is_none_or(|header| {
        let host = header.value.as_str();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "127.0.0.1" | "localhost")
    })
}

fn plain(status: u16, text: &str) -> Response<io::Cursor<Vec<u8>>> {
    let response = Response::from_string(format!("{text}\n")).with_status_code(status);
    with_headers(response, "text/plain; charset=utf-8")
}

fn with_headers(
    mut response: Response<io::Cursor<Vec<u8>>>,
    media_type: &str,
) -> Response<io::Cursor<Vec<u8>>> {
    let headers = [
        ("Content-Type", media_type),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ];
    for (name, value) in headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    response
}
