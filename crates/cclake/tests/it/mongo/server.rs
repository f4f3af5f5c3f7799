//! A real MongoDB server on a free port: the program that `CCLAKE_TEST_MONGOD` names (`make test` installs one), or a
//! `mongod` that `MONGOD` names.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::{Client, Collection};
use tokio::runtime::Runtime;

use crate::support::first_line;

/// The server ends with this: its shell waits for the end of its input, which comes even when the test is killed.
const KEEPER: &str = r#""$@" >"$LOG" 2>&1 & echo $!; cat >/dev/null; kill $! 2>/dev/null; wait $!"#;

/// A server; stopped when dropped.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    flags: Vec<String>,
    running: Option<Running>,
    runtime: Runtime,
}

struct Running {
    keeper: Child,
    input: Option<ChildStdin>,
    pid: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mongod,
    Secantus,
}

fn program() -> Option<(PathBuf, Kind)> {
    let named = |variable: &str| std::env::var_os(variable).filter(|path| !path.is_empty());
    if let Some(path) = named("MONGOD") {
        return Some((path.into(), Kind::Mongod));
    }
    if let Some(path) = named("CCLAKE_TEST_MONGOD") {
        return Some((path.into(), Kind::Secantus));
    }
    println!(
        "NOT RUN against MongoDB: set CCLAKE_TEST_MONGOD (`make test` does) or MONGOD to a server's program"
    );
    None
}

impl Server {
    /// A replica set of one, unless the flags say otherwise; none where there is no program for it.
    pub(crate) fn start(flags: &[&str]) -> Option<Self> {
        let mut server = Self::planned(flags)?;
        server.launch();
        Some(server)
    }

    /// The same, not started yet.
    pub(crate) fn planned(flags: &[&str]) -> Option<Self> {
        program()?;
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Some(Self {
            folder: tempfile::tempdir().unwrap(),
            port,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            running: None,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        })
    }

    /// Starts the program on the same port and files.
    pub(crate) fn launch(&mut self) {
        let (program, kind) = program().unwrap();
        let data = self.folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(program)
            .args(arguments(kind, &data, self.port, &self.flags))
            .env("LOG", self.folder.path().join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = first_line(&mut keeper).parse().unwrap();
        self.running = Some(Running {
            input: keeper.stdin.take(),
            keeper,
            pid,
        });
        self.wait_until_ready(kind);
    }

    fn wait_until_ready(&self, kind: Kind) {
        let until = Instant::now() + Duration::from_mins(1);
        let is_standalone = self.flags.iter().any(|flag| flag == "--standalone");
        loop {
            let client = self.client();
            let admin = client.database("admin");
            if kind == Kind::Mongod && !is_standalone {
                let _ = self
                    .runtime
                    .block_on(async { admin.run_command(doc! {"replSetInitiate": {}}).await });
            }
            let answer = self
                .runtime
                .block_on(async { admin.run_command(doc! {"hello": 1}).await });
            match answer {
                Ok(hello) if hello.get_bool("isWritablePrimary").unwrap_or(false) => return,
                // A server with TLS or passwords says so by refusing.
                Err(error) if self.listens() && !self.flags.is_empty() && self.is_guarded() => {
                    let _ = error;
                    return;
                }
                _ => {}
            }
            assert!(Instant::now() < until, "no server: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_guarded(&self) -> bool {
        self.flags.iter().any(|flag| flag.starts_with("--tls"))
    }

    fn listens(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = Command::new("kill")
                .args(["-9", &running.pid.to_string()])
                .status();
            running.end();
        }
    }

    /// Ends it in order, and starts it again with these flags.
    pub(crate) fn restart(&mut self, flags: &[&str]) {
        if let Some(running) = self.running.take() {
            running.end();
        }
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.launch();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    fn client(&self) -> Client {
        let uri = format!("{}&serverSelectionTimeoutMS=2000", self.uri());
        self.runtime
            .block_on(async { Client::with_uri_str(uri).await })
            .unwrap()
    }

    /// Does something with a collection.
    pub(crate) fn with<T>(
        &self,
        database: &str,
        collection: &str,
        act: impl AsyncFnOnce(Collection<Document>) -> mongodb::error::Result<T>,
    ) -> T {
        let client = self.client();
        let collection = client.database(database).collection(collection);
        self.runtime.block_on(act(collection)).unwrap()
    }

    /// Runs a command on a database.
    pub(crate) fn command(&self, database: &str, command: Document) -> Document {
        let database = self.client().database(database);
        self.runtime
            .block_on(async { database.run_command(command).await })
            .unwrap()
    }
}

impl Running {
    fn end(mut self) {
        drop(self.input.take());
        let _ = self.keeper.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

fn arguments(kind: Kind, data: &Path, port: u16, flags: &[String]) -> Vec<String> {
    let mut arguments = vec!["--port".to_owned(), port.to_string()];
    let path = data.to_str().unwrap().to_owned();
    match kind {
        Kind::Secantus => {
            let own = [
                "--host",
                "127.0.0.1",
                "--sync-on-commit",
                "--log-level",
                "WARNING",
                "--storage-path",
            ];
            arguments.extend(own.map(str::to_owned));
            arguments.push(path);
            arguments.extend(flags.iter().cloned());
        }
        Kind::Mongod => {
            arguments.extend(["--bind_ip", "127.0.0.1", "--dbpath"].map(str::to_owned));
            arguments.push(path);
            if !flags.iter().any(|flag| flag == "--standalone") {
                arguments.extend(["--replSet", "rs0"].map(str::to_owned));
            }
            // The size of the oplog has a lower bound of its own there; tests that need a small one say so.
            let own = |flag: &&String| !flag.starts_with("--oplog") && *flag != "--standalone";
            arguments.extend(flags.iter().filter(own).cloned());
        }
    }
    arguments
}
