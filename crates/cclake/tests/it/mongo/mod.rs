//! MongoDB as a source, against a real server over the wire.
//!
//! Where the failures are that were seen in the field:
//!
//! | failure | test |
//! |---|---|
//! | a token older than the server's log | `follow::history_that_is_lost_…` |
//! | ids of several types lose a cohort | `batch::ids_of_every_type_…` |
//! | the write landed and its answer did not | `failures::an_insert_whose_answer_is_lost_…`; of a commit, `follow::a_commit_whose_end_…`, and in `cclake-lake` |
//! | a crash between data and position; a position ahead or behind | `follow::kills_…`, `scripts/torture_mongo.py` |
//! | the same records in each run | `batch::later_extracts_…` |
//! | dropped, renamed, replaced by `$out` | `follow::a_dropped_…`, `failures::a_collection_replaced_…` |
//! | events over 16 MB | `failures::an_event_near_the_limit_…`; split ones, made up, in `cclake-extract`: the server splits none |
//! | types that change, NaN, years that nobody reads, bytes that are no text | `failures::types_that_change_…`, `failures::what_is_no_text_…`, `batch::values_…` |
//! | a quiet collection ages out of the log | `failures::a_quiet_collection_…` |
//! | fail-over, cut connections | `failures::…_goes_on_behind_each_cut`, `follow::a_server_that_goes_away_…` |
//! | a token of another server | `failures::a_token_of_another_server_…` |
//! | small files pile up | `batch::many_small_extracts_…`, `upkeep`, `make bench-lake` |
//! | two writers of one table | `failures::an_extract_beside_a_follower_…`, `follow::runs_beside_a_follower_…` |
//! | large documents are slow | `batch::large_documents_…` by memory, `make bench-mongo` by time |

mod batch;
mod failures;
mod follow;
mod refusals;
mod relay;
mod server;
mod sync;
mod watch;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use serde_json::Value;

use crate::support::{Ran, Scene, finish, signal};
use relay::Relay;
use server::Server;

/// A scene with a server, whose collection is the source.
pub(crate) struct World {
    scene: Scene,
    server: Server,
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        Self::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Option<Self> {
        Some(Self {
            server: Server::start(flags)?,
            scene: Scene::new(),
        })
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.scene.command(args);
        command
            .env("CCLAKE_SOURCE", "mongodb")
            .env("MONGO_URI", self.server.uri())
            .env("MONGO_COLLECTION", "entries")
            .env("CDC_BUFFER_SECONDS", "0.5");
        command
    }

    pub(crate) fn try_run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args))
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        json(&mut self.command(&[args, &["--json"]].concat()))
    }

    /// The same, by way of a relay.
    pub(crate) fn json_through(&self, relay: &Relay, args: &[&str]) -> Value {
        let mut command = self.command(&[args, &["--json"]].concat());
        json(command.env("MONGO_URI", relay.uri()).env("BATCH_SIZE", "100"))
    }

    /// Extracts and loads; what the extract said.
    pub(crate) fn bring(&self, args: &[&str]) -> Value {
        let report = self.json(&[&["extract"], args].concat());
        self.json(&["load"]);
        report
    }

    pub(crate) fn insert(&self, documents: Vec<Document>) {
        self.act(async |entries| entries.insert_many(documents).await.map(drop));
    }

    pub(crate) fn act<T>(
        &self,
        act: impl AsyncFnOnce(mongodb::Collection<Document>) -> mongodb::error::Result<T>,
    ) -> T {
        self.server.with("claude_logs", "entries", act)
    }

    /// Rows of a query as `a|b` lines.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        self.scene.lines(sql)
    }

    /// `_id=content` of every row that is there, in order.
    pub(crate) fn contents(&self) -> Vec<String> {
        self.lines(
            "select _id || '=' || json_extract_string(message, '$.content') || if(_op = 'delete', ' gone', '') as row
             from raw.conversations order by row",
        )
    }

    /// Starts `extract --follow`, and waits until it follows.
    pub(crate) fn follow(&self) -> Follower {
        Follower::start(&mut self.command(&["extract", "--follow", "--verbose"]))
    }
}

fn json(command: &mut Command) -> Value {
    let ran = finish(command);
    assert_eq!(
        ran.status, 0,
        "{command:?} failed\n{}\n{}",
        ran.stdout, ran.stderr
    );
    serde_json::from_str(&ran.stdout).unwrap()
}

/// One that says nothing of when it was written.
pub(crate) fn untimed(id: impl Into<bson::Bson>, text: &str) -> Document {
    let mut document = entry(id, text);
    document.remove("_synced_at");
    document
}

/// A document of the specification's shape.
pub(crate) fn entry(id: impl Into<bson::Bson>, text: &str) -> Document {
    doc! {
        "_id": id.into(), "type": "message", "timestamp": "2026-02-03T10:00:00.000Z", "session_id": "s1",
        "project_path": "/home/ada/shop", "message": {"role": "human", "content": text},
        "_synced_at": bson::DateTime::now(),
    }
}

/// An `extract --follow` under way; killed when dropped.
pub(crate) struct Follower {
    child: Child,
    said: std::sync::mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Follower {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut follower = Self::start_at_once(command);
        follower.wait_for("following");
        follower
    }

    pub(crate) fn start_at_once(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            said,
            heard: Vec::new(),
        }
    }

    /// Waits until it says something with these words.
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("it never said `{words}`, but {:?}", self.heard);
            };
            self.heard.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits until so many changes came to the lake.
    pub(crate) fn wait_for_changes(&mut self, count: u64) {
        let mut seen = 0;
        while seen < count {
            let line = self.wait_for("changes to the lake");
            let number = line.split_whitespace().find_map(|word| word.parse::<u64>().ok());
            seen += number.unwrap();
        }
    }

    /// Whether it said something with these words.
    pub(crate) fn has_said(&mut self, words: &str) -> bool {
        self.heard.extend(self.said.try_iter());
        self.heard.iter().any(|line| line.contains(words))
    }

    /// What it has said so far and was waited for.
    pub(crate) fn heard(&self) -> &[String] {
        &self.heard
    }

    /// Ctrl-C; its exit status.
    pub(crate) fn stop(self) -> i32 {
        self.signal("-INT");
        self.end()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Its exit status, once it ends of itself.
    pub(crate) fn end(mut self) -> i32 {
        let status = self.child.wait().unwrap();
        status.code().unwrap_or(-1)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
