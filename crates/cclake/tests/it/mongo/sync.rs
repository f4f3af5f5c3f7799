//! `cclake sync` against a real server: what it stores is what the files say, whatever happens to either.

use std::process::Command;
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use mongodb::Collection;
use serde_json::Value;

use super::json;
use super::server::Server;
use super::watch::Watch;
use crate::oddities::{broken, lines, oddities};
use crate::support::{LOAD_ORDER, Scene, TRACE, copy, finish, prompt, samples, tables};

/// Columns that say by which way a row came.
const WAY: &str = "source, source_collection, user_name, _cluster_ts, _seq";

const PATIENCE: Duration = Duration::from_mins(1);

/// A collection to sync into.
pub(super) struct Target(pub(super) Server);

impl Target {
    /// Of a server that is not started yet; none when there is no program for it.
    pub(super) fn planned() -> Option<Self> {
        Server::planned(&[]).map(Self)
    }

    pub(super) fn started() -> Option<Self> {
        Server::start(&[]).map(Self)
    }

    /// The executable, told of this server.
    pub(super) fn command(&self, scene: &Scene, args: &[&str]) -> Command {
        let mut command = scene.command(args);
        command
            .env(
                "MONGO_URI",
                format!("{}&serverSelectionTimeoutMS=2000", self.0.uri()),
            )
            .env("MONGO_COLLECTION", "conversations")
            .env("USER", "ada");
        command
    }

    fn run(&self, scene: &Scene, args: &[&str]) -> Value {
        let ran = finish(&mut self.command(scene, &[args, &["--json"]].concat()));
        assert_eq!(ran.status, 0, "{args:?} failed\n{}\n{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Syncs once: new, already there, dead-lettered, pending.
    fn sync(&self, scene: &Scene) -> [u64; 4] {
        let lines = &self.run(scene, &["sync"])["lines"];
        let parts =
            ["new", "already_there", "dead_lettered", "pending"].map(|part| lines[part].as_u64().unwrap());
        assert_eq!(
            lines["read"].as_u64().unwrap(),
            parts.iter().sum::<u64>(),
            "{lines}"
        );
        parts
    }

    fn with<T>(&self, work: impl AsyncFnOnce(Collection<Document>) -> mongodb::error::Result<T>) -> T {
        self.0.with("claude_logs", "conversations", work)
    }

    /// How many documents, and in how many more places they were seen.
    fn documents_and_sightings(&self) -> (usize, usize) {
        let documents = self.documents();
        let sightings = documents
            .iter()
            .filter_map(|document| document.get_array("sightings").ok());
        (documents.len(), sightings.map(Vec::len).sum())
    }

    pub(super) fn documents(&self) -> Vec<Document> {
        self.with(async |collection| {
            let mut cursor = collection
                .find(doc! {})
                .sort(doc! {"sourceFile": 1, "sourceOffset": 1})
                .await?;
            let mut documents = Vec::new();
            while cursor.advance().await? {
                documents.push(cursor.deserialize_current()?);
            }
            Ok(documents)
        })
    }
}

pub(super) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every table of the tree read straight, and read through the collection, but for the columns that tell the way.
fn compare(server: &Target, tree: &Scene, records: usize) {
    let way = Scene::reading(tree.logs());
    server.run(&way, &["run", "--source", "mongodb"]);
    tree.run(&["run"]);
    let ignored = [TRACE, LOAD_ORDER, WAY];
    assert_eq!(
        way.number("select count(*) from raw.conversations"),
        records as i64
    );
    let gold = |scene: &Scene| {
        let tables = tables(scene, &ignored).into_iter();
        tables
            .filter(|table| table.starts_with("marts."))
            .collect::<Vec<_>>()
    };
    assert_eq!(gold(&way), gold(tree));
}

#[test]
fn gold_is_the_same_through_a_collection() {
    let (Some(samples), Some(server)) = (samples(), Target::started()) else {
        return;
    };
    let tree = Scene::reading(&samples.join("claude-projects"));
    let [new, there, dead, _] = server.sync(&tree);
    assert!(new > 20_000 && there <= 10 && dead == 0, "{new} {there} {dead}");
    compare(&server, &tree, new as usize);
    let raw = |document: &Document| document.contains_key("_raw_json");
    let documents = server.documents();
    let kept = documents.iter().filter(|document| raw(document)).count();
    assert!(
        kept * 20 < documents.len(),
        "{kept} of {} documents hold their line too",
        documents.len()
    );
    add_replays(&server, documents);
    compare(&server, &tree, 3 * new as usize);
}

/// Each record twice more, as claude-mongo-sync writes and replays it.
fn add_replays(server: &Target, documents: Vec<Document>) {
    let replays: Vec<_> = documents
        .into_iter()
        .map(|mut document| {
            for key in ["_id", "sourceOffset", "machine", "user", "sightings", "_raw_json"] {
                document.remove(key);
            }
            document
        })
        .collect();
    server.with(async |collection| {
        for _ in 0..2 {
            for part in replays.chunks(1000) {
                collection.insert_many(part).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_document_is_the_record_and_where_it_was_found() {
    let Some(server) = Target::started() else { return };
    let scene = Scene::new();
    let line = r#"{"type":"user","uuid":"u","sessionId":"s","a.b":{"$set":1}}"#;
    let file = scene.write("-home-ada/s/subagents/a.jsonl", format!("{line}\n"));
    assert_eq!(server.sync(&scene), [1, 0, 0, 0]);
    let mut document = server.documents().remove(0);
    assert!(document.remove("ingestedAt").unwrap().as_datetime().is_some());
    let id = document.remove("_id").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 32);
    let expected = doc! {
        "type": "user", "uuid": "u", "sessionId": "s", "a.b": {"$set": 1},
        "projectId": "-home-ada", "sourceFile": file.to_str().unwrap(), "sourceOffset": 0_i64,
        "machine": "laptop", "user": "ada",
    };
    assert_eq!(document, expected);
    let indexes = server.with(async |collection| collection.list_index_names().await);
    for field in ["ingestedAt", "sessionId", "uuid"] {
        assert!(indexes.contains(&format!("{field}_1")), "{indexes:?}");
    }
}

#[test]
fn oddities_read_back_as_they_are() {
    let Some(server) = Target::started() else { return };
    let tree = Scene::new();
    let (mut odd, dead) = (oddities(), broken());
    odd.extend([
        br#"{"type":"user","uuid":"mine","machine":"other","_id":7,"sightings":[1]}"#.to_vec(),
        br#"{"type":"user","a\u0000b":1}"#.to_vec(),
    ]);
    tree.write("p/odd.jsonl", [lines(&odd), lines(&dead)].concat());
    let largest = odd.iter().filter(|line| line.len() > 16 << 20).count() as u64;
    assert_eq!(
        server.sync(&tree),
        [odd.len() as u64 - largest, 0, dead.len() as u64 + largest, 0]
    );
    // Read again, nothing is stored or queued again.
    std::fs::remove_dir_all(tree.data().join("sync")).unwrap();
    let letters = dead.len() as u64 + largest;
    assert_eq!(
        server.sync(&tree),
        [0, odd.len() as u64 - largest + letters, 0, 0]
    );
    let way = Scene::reading(tree.logs());
    server.run(&way, &["run", "--source", "mongodb"]);
    let odd = odd
        .into_iter()
        .filter(|line| line.len() <= 16 << 20)
        .collect::<Vec<_>>();
    tree.write("p/odd.jsonl", lines(&odd));
    tree.run(&["run"]);
    let rows = "select _id, _raw_json, type, uuid, message, _parse_error from raw.conversations order by _id";
    assert_eq!(way.lines(rows), tree.lines(rows));
}

#[test]
fn a_copy_is_one_document_that_names_both_places() {
    let Some(server) = Target::started() else { return };
    let tree = Scene::new();
    let text: String = (0..5)
        .map(|n| prompt("s", &format!("u{n}"), n, "hello") + "\n")
        .collect();
    tree.write("p/s.jsonl", &text);
    tree.write("p/t.jsonl", text + &prompt("t", "u9", 9, "fork") + "\n");
    assert_eq!(server.sync(&tree), [6, 5, 0, 0]);
    assert_eq!(server.documents_and_sightings(), (6, 5));
    compare(&server, &tree, 6);
    // Another machine with the same files, and the same machine without its positions.
    let mut other = server.command(&tree, &["sync", "--json"]);
    other
        .env("CCLAKE_MACHINE", "desk")
        .env("CCLAKE_DATA_DIR", tree.path("other"));
    assert_eq!(finish(&mut other).status, 0);
    std::fs::remove_dir_all(tree.data().join("sync")).unwrap();
    assert_eq!(server.sync(&tree), [0, 11, 0, 0]);
    assert_eq!(server.documents_and_sightings(), (6, 5 + 11));
}

#[test]
fn a_dropped_collection_is_filled_again() {
    let Some(server) = Target::started() else { return };
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello") + "\n");
    assert_eq!(server.sync(&scene), [1, 0, 0, 0]);
    assert_eq!(server.sync(&scene), [0, 0, 0, 0]);
    server.with(async |collection| collection.drop().await);
    assert_eq!(server.sync(&scene), [1, 0, 0, 0]);
}

#[test]
fn an_index_of_the_users_own_refuses_one_document_and_no_other() {
    let Some(server) = Target::started() else { return };
    let scene = Scene::new();
    scene.write(
        "p/s.jsonl",
        [prompt("s", "u", 1, "a"), prompt("s", "v", 2, "b")].join("\n") + "\n",
    );
    server.with(async |collection| {
        let unique = mongodb::options::IndexOptions::builder().unique(true).build();
        let index = mongodb::IndexModel::builder()
            .keys(doc! {"uuid": 1})
            .options(unique)
            .build();
        collection.create_index(index).await?;
        collection.insert_one(doc! {"uuid": "u"}).await
    });
    assert_eq!(server.sync(&scene), [1, 0, 1, 0]);
    let letters = scene.json(&["dlq", "list"]);
    assert_eq!(letters[0]["source"], "sync", "{letters}");
    // What was refused can be tried again, and is a document, and no letter, once nothing refuses it.
    let retry = || {
        let report = json(&mut server.command(&scene, &["dlq", "retry", "--json"]));
        ["tried", "documents", "left"].map(|count| report[count].as_u64().unwrap())
    };
    assert_eq!(retry(), [1, 0, 1]);
    server.with(async |collection| collection.drop_index("uuid_1").await);
    assert_eq!(retry(), [1, 1, 0]);
    assert_eq!(retry(), [0, 0, 0]);
    assert_eq!(server.documents_and_sightings(), (3, 0));
}

#[test]
fn kills_at_any_moment_store_each_line_once() {
    let Some(server) = Target::started() else { return };
    let scene = Scene::new();
    let line = |n: u32| prompt("s", &format!("u{n}"), n % 60, &"long ".repeat(200)) + "\n";
    scene.write("p/s.jsonl", (0..20_000).map(line).collect::<String>());
    for pause in [20, 60, 90, 120, 150, 200, 250, 300] {
        let mut child = server.command(&scene, &["sync", "-q"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    server.sync(&scene);
    assert_eq!(server.sync(&scene), [0, 0, 0, 0]);
    let documents = server.documents();
    assert_eq!(documents.len(), 20_000);
    assert!(
        documents
            .iter()
            .all(|document| !document.contains_key("sightings"))
    );
}

#[test]
fn two_syncs_of_one_data_directory_exclude_each_other_and_a_run_goes_on() {
    let Some(server) = Target::started() else { return };
    let (scene, watch) = Watch::of_one_line(&server);
    let second = finish(&mut server.command(&scene, &["sync"]));
    assert_eq!(second.status, 2);
    assert!(
        second.stderr.contains("in use by another cclake"),
        "{}",
        second.stderr
    );
    assert_eq!(scene.json(&["run"])["ingest"]["lines"]["new"], 1);
    drop(watch);
}

#[test]
fn without_a_server_it_says_so_in_one_sentence() {
    let scene = Scene::new();
    let mut command = scene.command(&["sync"]);
    command.env("MONGO_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300");
    let ran = finish(&mut command);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr
            .starts_with("cclake: MONGO_URI: no MongoDB server answers at 127.0.0.1:1"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn half_a_line_waits_and_a_rewrite_is_read_again() {
    let Some(server) = Target::started() else { return };
    let scene = Scene::new();
    let [a, b, c] = ["a", "b", "c"].map(|text| prompt("s", text, 1, text) + "\n");
    let (half, rest) = b.split_at(40);
    scene.write("p/s.jsonl", format!("{a}{half}"));
    assert_eq!(server.sync(&scene), [1, 0, 0, 1]);
    scene.append("p/s.jsonl", rest);
    assert_eq!(server.sync(&scene), [1, 0, 0, 0]);
    scene.write("p/s.jsonl", format!("{c}{b}"));
    // Its place in the file is another one now.
    assert_eq!(server.sync(&scene), [1, 1, 0, 0]);
    let texts: Vec<_> = server
        .documents()
        .iter()
        .map(|document| document.get("uuid").cloned())
        .collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.contains(&Some(Bson::from("c"))));
}

#[test]
fn the_tree_may_come_from_several_folders() {
    let Some(server) = Target::started() else { return };
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello") + "\n");
    let other = scene.path("other/projects");
    copy(scene.logs(), &other);
    std::fs::write(other.join("p/s.jsonl"), prompt("t", "v", 1, "there") + "\n").unwrap();
    let paths = [scene.logs(), &other].map(|path| path.to_str().unwrap().to_owned());
    server.run(&scene, &["sync", "--path", &paths[0], "--path", &paths[1]]);
    let projects: Vec<_> = server
        .documents()
        .iter()
        .map(|document| document.get_str("projectId").unwrap().to_owned())
        .collect();
    assert_eq!(projects, ["p", "p"]);
}
