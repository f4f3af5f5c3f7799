//! As much of HTTP/1.1 as a browser or a health check needs: GET only, on this machine only.

mod message;

use std::io::{self, ErrorKind, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use message::Request;
pub(crate) use message::Response;

/// Connections at a time, each with a thread of its own; a browser opens six.
const MOST_CLIENTS: usize = 100;

/// How long a client may be silent while it asks, or not read while it is answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long, and for how many bytes, a client may go on sending after it was answered. A connection that is closed with
/// bytes unread can take the answer back.
const FAREWELL: (Duration, u64) = (Duration::from_secs(1), 1024 * 1024);

/// A server that has its port.
pub(crate) struct Listener {
    listener: TcpListener,
    url: String,
}

impl Listener {
    /// Takes a port of the loopback address; 0 takes any free one.
    ///
    /// # Errors
    /// When another program has it; `flag` names another.
    pub(crate) fn bind(port: u16, flag: &str) -> anyhow::Result<Listener> {
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow!("port {port} is in use by another program: give another one with {flag} (0 takes any free one)")
            }
            _ => anyhow!(error).context(format!("cannot listen on 127.0.0.1:{port}")),
        })?;
        let url = format!("http://{}/", listener.local_addr()?);
        Ok(Listener { listener, url })
    }

    /// The start page's address.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Answers what is asked for each path, in threads of its own, as long as the process lives.
    pub(crate) fn answer(self, page: impl Fn(&str) -> Response + Send + Sync + 'static) {
        let page: Page = Arc::new(page);
        thread::spawn(move || accept(&self.listener, &page));
    }
}

/// What is answered for a path.
type Page = Arc<dyn Fn(&str) -> Response + Send + Sync>;

fn accept(listener: &TcpListener, page: &Page) {
    for stream in listener.incoming() {
        match stream {
            // Each client holds one, so that they are counted; whoever is too much finds the connection closed.
            Ok(stream) if Arc::strong_count(page) <= MOST_CLIENTS => {
                let page = Arc::clone(page);
                let client = move || {
                    // Whoever asked may be gone.
                    let _ = serve(&stream, &page);
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

fn serve(stream: &TcpStream, page: &Page) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = message::read(stream)?;
    let with_body = request.as_ref().is_none_or(|request| request.method != "HEAD");
    message::write(stream, &answer(request.as_ref(), page), with_body)?;
    stream.shutdown(Shutdown::Write)?;
    let (time, bytes) = FAREWELL;
    stream.set_read_timeout(Some(time))?;
    io::copy(&mut stream.take(bytes), &mut io::sink())?;
    Ok(())
}

fn answer(request: Option<&Request>, page: &Page) -> Response {
    let Some(request) = request else {
        return Response::plain("400 Bad Request", "this is no request");
    };
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Response::plain("405 Method Not Allowed", "only GET is answered here");
    }
    // A page of another site could otherwise read this one under a name of its own.
    if !request.host.as_deref().is_none_or(is_local) {
        return Response::plain("403 Forbidden", "ask for 127.0.0.1 or localhost");
    }
    page(&request.path)
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost")
}

impl Response {
    /// A sentence.
    pub(crate) fn plain(status: &'static str, text: &str) -> Response {
        Response {
            status,
            media_type: "text/plain; charset=utf-8",
            body: format!("{text}\n"),
        }
    }
}
