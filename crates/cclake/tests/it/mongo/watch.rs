//! `cclake sync --watch`: it goes on whatever is away, and tells how it is.

use std::io::Read as _;

use serde_json::Value;

use super::sync::{Target, wait_for};
use crate::support::{Listening, Scene, prompt};

/// `sync --watch`, ended when dropped.
pub(super) struct Watch(Listening);

impl Watch {
    pub(super) fn start(server: &Target, scene: &Scene) -> Self {
        let command = &mut server.command(scene, &["sync", "--watch", "--health-port", "0"]);
        Self(Listening::start(command))
    }

    /// Of a tree whose only line it has stored.
    pub(super) fn of_one_line(server: &Target) -> (Scene, Self) {
        let scene = Scene::new();
        scene.write("p/s.jsonl", prompt("s", "u1", 1, "first") + "\n");
        let watch = Self::start(server, &scene);
        watch.wait("the first line", |health| {
            health["synced"] == 1 && health["pending"] == 0
        });
        (scene, watch)
    }

    pub(super) fn health(&self) -> Value {
        let answer = self.0.ask("GET", "/health", &self.0.address);
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    }

    pub(super) fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        wait_for(what, || is_so(&self.health()));
    }

    /// Ends it as a service manager does: status and what it said.
    pub(super) fn end(mut self) -> (i32, String) {
        self.0.signal("-TERM");
        let status = self.0.child.wait().unwrap().code().unwrap_or(-1);
        let mut said = String::new();
        let mut pipe = self.0.child.stderr.take().unwrap();
        pipe.read_to_string(&mut said).unwrap();
        (status, said)
    }
}

#[test]
fn a_server_that_is_away_loses_nothing() {
    let Some(mut server) = Target::planned() else {
        return;
    };
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "before") + "\n");
    let watch = Watch::start(&server, &scene);
    watch.wait("a word of the server that is away", |health| {
        !health["last_error"].is_null()
    });
    let health = watch.health();
    assert_eq!(
        (health["connected"].as_bool(), health["synced"].as_u64()),
        (Some(false), Some(0))
    );
    assert!(health["pending"].as_u64().unwrap() > 100, "{health}");
    server.0.launch();
    watch.wait("the first line", |health| {
        health["synced"] == 1 && health["connected"] == true
    });
    scene.append("p/s.jsonl", prompt("s", "u2", 2, "beside") + "\n");
    watch.wait("the second line", |health| {
        health["synced"] == 2 && health["pending"] == 0
    });
    server.0.kill();
    scene.append("p/s.jsonl", prompt("s", "u3", 3, "away") + "\n");
    watch.wait("the loss of the server", |health| {
        health["connected"] == false && health["pending"] != 0
    });
    server.0.launch();
    watch.wait("the third line", |health| {
        health["synced"] == 3 && health["last_error"].is_null()
    });
    let (status, said) = watch.end();
    assert_eq!(status, 0, "{said}");
    assert_eq!(said.matches("warning: ").count(), 2, "{said}");
    assert_eq!(said.matches("all is well again").count(), 2, "{said}");
    assert_eq!(server.documents().len(), 3);
}

#[test]
fn a_queue_that_cannot_be_written_gets_its_letter_later() {
    let Some(server) = Target::started() else { return };
    let (scene, watch) = Watch::of_one_line(&server);
    let queue = scene.data().join("dead_letter");
    std::fs::write(&queue, "in the way").unwrap();
    scene.append(
        "p/s.jsonl",
        "{\"type\":\n".to_owned() + &prompt("s", "u2", 2, "behind it") + "\n",
    );
    watch.wait("a word of the queue", |health| {
        let error = health["last_error"].as_str();
        error.is_some_and(|error| error.contains("dead_letter"))
    });
    assert_eq!(watch.health()["dead_lettered"], 0);
    std::fs::remove_file(&queue).unwrap();
    watch.wait("the letter", |health| {
        health["dead_lettered"] == 1 && health["pending"] == 0
    });
    assert_eq!(watch.end().0, 0);
    assert_eq!(scene.json(&["dlq", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(server.documents().len(), 2);
}

#[test]
fn whoever_asks_can_tell_an_idle_watch_from_a_stuck_one() {
    let Some(server) = Target::started() else { return };
    let (_scene, watch) = Watch::of_one_line(&server);
    let before = watch.health()["last_sync"].clone();
    watch.wait("another look", |health| health["last_sync"] != before);
    assert_eq!(watch.health()["synced"], 1);
}
