//! A way to the server that can be cut, as a failing network or a fail-over cuts it, and that can bring documents which the
//! tests' server would not store: others hold them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Forwards to a port of this machine until it is dropped.
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// Bytes of answers after which a connection is cut, the answer under way included.
    limit: AtomicUsize,
    cuts: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    /// What is in an answer, and what becomes of it.
    changes: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
    is_over: AtomicBool,
}

impl Relay {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            shared: Arc::new(Shared {
                limit: AtomicUsize::new(usize::MAX),
                cuts: AtomicUsize::new(0),
                open: Mutex::default(),
                changes: Mutex::default(),
                is_over: AtomicBool::new(false),
            }),
        };
        let shared = Arc::clone(&relay.shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    shared.join(&client, &server);
                }
            }
        });
        relay
    }

    pub(crate) fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// From now on, every connection ends after so many bytes of answers.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.shared.limit.store(bytes, Ordering::Relaxed);
    }

    /// Puts other bytes in the place of these, in every answer that is small enough to come at once.
    pub(crate) fn change(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        self.shared
            .changes
            .lock()
            .unwrap()
            .push((from.to_vec(), to.to_vec()));
    }

    /// Cuts every connection that there is.
    pub(crate) fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
            self.shared.cuts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut();
    }
}

impl Shared {
    fn join(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        let ends = || (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (asking, answering) = ends();
        self.open.lock().unwrap().push(client.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut &asking, &mut &answering);
            let _ = answering.shutdown(Shutdown::Both);
        });
        let (asking, answering) = ends();
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            shared.answer(&answering, &asking);
            let _ = asking.shutdown(Shutdown::Both);
            let _ = answering.shutdown(Shutdown::Both);
        });
    }

    fn answer(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = [0; 16 << 10];
        let mut answered = 0;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            answered += length;
            if answered > self.limit.load(Ordering::Relaxed) {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                return;
            }
            for (from, to) in self.changes.lock().unwrap().iter() {
                let at = buffer[..length]
                    .windows(from.len())
                    .position(|bytes| bytes == from);
                if let Some(at) = at {
                    buffer[at..at + to.len()].copy_from_slice(to);
                }
            }
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    }
}
