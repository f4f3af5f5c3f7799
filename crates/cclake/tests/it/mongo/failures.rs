//! What goes wrong between here and a collection, and must neither lose nor double anything.

use std::collections::BTreeMap;
use std::time::Duration;

use bson::{Bson, DateTime, RawDocumentBuf, doc};
use cclake_lake::{Commit, Lake, LakeSettings};
use serde_json::json;

use super::relay::Relay;
use super::server::Server;
use super::{Follower, World, entry};
use crate::dead_letters::mend;
use crate::faults::lake_rows;
use crate::support::{Scene, finish, prompt};

/// Documents that do not fit into one answer of the server.
fn many(count: i32) -> Vec<bson::Document> {
    let text = "long ".repeat(400);
    (0..count)
        .map(|number| entry(number, &format!("{number} {text}")))
        .collect()
}

#[test]
fn a_full_extract_goes_on_behind_each_cut() {
    let Some(world) = World::new() else { return };
    world.insert(many(3000));
    let relay = Relay::to(world.server.port());
    relay.cut_after(1 << 20);
    let report = world.json_through(&relay, &["extract"]);
    assert!(relay.cuts() >= 5, "{} cuts", relay.cuts());
    assert_eq!(report["lines"]["new"], 3000, "each document once");
    world.json(&["load"]);
    assert_eq!(
        world.lines("select count(*) as n from raw.conversations"),
        ["3000"]
    );
}

#[test]
fn a_connection_that_never_holds_is_told_and_ends() {
    let Some(world) = World::new() else { return };
    world.insert(many(300));
    let relay = Relay::to(world.server.port());
    // Enough to say hello, and not for one answer with documents.
    relay.cut_after(100 << 10);
    let mut command = world.command(&["extract"]);
    let ran = finish(command.env("MONGO_URI", relay.uri()));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("MONGO_URI"), "{}", ran.stderr);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_follower_goes_on_behind_each_cut() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(0, "first")]);
    let relay = Relay::to(world.server.port());
    let mut command = world.command(&["extract", "--follow", "--verbose"]);
    let mut follower = Follower::start(command.env("MONGO_URI", relay.uri()));
    for round in 1..=6_i32 {
        world.insert(
            (round * 100..round * 100 + 50)
                .map(|number| entry(number, "later"))
                .collect(),
        );
        relay.cut();
        world.act(async |entries| {
            let change = doc! {"$set": {"message.content": format!("changed in {round}")}};
            entries.update_one(doc! {"_id": 0}, change).await
        });
        std::thread::sleep(Duration::from_millis(300));
    }
    follower.wait_for_changes(306);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    let contents = world.contents();
    assert_eq!(contents.len(), 301);
    assert_eq!(contents[0], "0=changed in 6");
}

#[test]
fn what_came_before_following_is_read_though_the_first_try_broke_off() {
    let Some(world) = World::new() else { return };
    let command = |args: &[&str]| {
        let mut command = world.command(args);
        command.env("BACKFILL_ALL_HISTORICAL", "false");
        command
    };
    world.insert(vec![entry(-1, "history")]);
    assert_eq!(finish(&mut command(&["extract"])).status, 0);
    world.insert(many(300));
    let relay = Relay::to(world.server.port());
    relay.cut_after(100 << 10);
    let mut broken = command(&["extract", "--follow", "--verbose"]);
    let mut follower = Follower::start_at_once(broken.env("MONGO_URI", relay.uri()));
    follower.wait_for("trying again");
    drop(follower);
    let follower = Follower::start(&mut command(&["extract", "--follow", "--verbose"]));
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents().len(), 300);
}

#[test]
fn an_insert_whose_answer_is_lost_is_stored_once() {
    let Some(server) = Server::start(&[]) else { return };
    let scene = Scene::new();
    let line = |number: u32| prompt("s", &format!("u{number}"), number % 60, &"long ".repeat(300)) + "\n";
    scene.write("p/s.jsonl", (0..2000).map(line).collect::<String>());
    let relay = Relay::to(server.port());
    let mut failures = 0;
    for round in 0..40 {
        // Each time a little more is answered, until all of it is.
        relay.cut_after(300 * round);
        let mut command = scene.command(&["sync"]);
        let ran = finish(
            command
                .env("MONGO_URI", relay.uri())
                .env("MONGO_COLLECTION", "entries"),
        );
        if ran.status == 0 {
            break;
        }
        failures += 1;
    }
    assert!((1..40).contains(&failures), "{failures} failures");
    let stored = server.with("claude_logs", "entries", async |entries| {
        let all = entries.count_documents(doc! {}).await?;
        let uuids = entries.distinct("uuid", doc! {}).await?;
        Ok((all, uuids.len()))
    });
    assert_eq!(stored, (2000, 2000));
}

#[test]
fn a_collection_replaced_by_a_query_or_renamed_is_read_anew() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "old"), entry(2, "old")]);
    world.server.with("claude_logs", "staging", async |staging| {
        staging
            .insert_many([entry(2, "replaced"), entry(3, "replaced")])
            .await
    });
    let mut follower = world.follow();
    let out = doc! {"aggregate": "staging", "pipeline": [{"$out": "entries"}], "cursor": {}};
    world.server.command("claude_logs", out);
    follower.wait_for("dropped, renamed or replaced");
    follower.wait_for("following");
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=old gone", "2=replaced", "3=replaced"]);
    let mut follower = world.follow();
    let rename = doc! {"renameCollection": "claude_logs.entries", "to": "claude_logs.kept"};
    world.server.command("admin", rename);
    follower.wait_for("dropped, renamed or replaced");
    world.insert(vec![entry(4, "new")]);
    follower.wait_for("following");
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    let contents = world.contents();
    assert_eq!(
        contents,
        ["1=old gone", "2=replaced gone", "3=replaced gone", "4=new"]
    );
}

#[test]
fn a_quiet_collection_does_not_age_out_of_the_servers_log() {
    let Some(world) = World::with(&["--oplog-max-entries", "1000"]) else {
        return;
    };
    world.insert(vec![entry(1, "first")]);
    let follower = world.follow();
    let others = |range: std::ops::Range<i32>| {
        world.server.with("claude_logs", "others", async |others| {
            others
                .insert_many(range.map(|number| entry(number, "other")))
                .await
        });
    };
    others(0..3000);
    // The position is kept once a minute though nothing came.
    std::thread::sleep(Duration::from_secs(63));
    follower.kill();
    let mut follower = Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
    world.insert(vec![entry(2, "second")]);
    follower.wait_for_changes(1);
    assert!(
        !follower.heard().iter().any(|line| line.contains("no longer")),
        "{:?}",
        follower.heard()
    );
    assert_eq!(follower.stop(), 0);
    // So does one that ends in order.
    others(3000..6000);
    let follower = world.follow();
    others(6000..9000);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(follower.stop(), 0);
    let mut follower = Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
    follower.wait_for("following");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=first", "2=second"]);
}

#[test]
fn a_token_of_another_server_is_not_taken_for_one_of_this() {
    let (Some(world), Some(other)) = (World::new(), Server::start(&[])) else {
        return;
    };
    world.insert(vec![entry(1, "here"), entry(2, "here")]);
    world.follow().stop();
    // Of what changed within one second the order is a counter, and each server has its own.
    std::thread::sleep(Duration::from_millis(1100));
    other.with("claude_logs", "entries", async |entries| {
        entries.insert_many([entry(2, "there"), entry(3, "there")]).await
    });
    let mut command = world.command(&["extract", "--follow", "--verbose"]);
    let mut follower = Follower::start_at_once(command.env("MONGO_URI", other.uri()));
    follower.wait_for("another collection than last time");
    follower.wait_for("following");
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=here gone", "2=there", "3=there"]);
}

#[test]
fn an_extract_beside_a_follower_commits_to_the_same_table() {
    let Some(world) = World::new() else { return };
    world.insert(many(500));
    let mut follower = world.follow();
    for round in 1..=5_i32 {
        world.insert(
            (round * 1000..round * 1000 + 100)
                .map(|number| entry(number, "later"))
                .collect(),
        );
        world.json(&["extract", "--full-backfill"]);
    }
    follower.wait_for_changes(500);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents().len(), 1000);
}

#[test]
fn an_event_near_the_limit_of_a_document_comes_whole() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "small")]);
    let mut follower = world.follow();
    world.insert(vec![entry(2, &"x".repeat(15 << 20))]);
    world.act(async |entries| {
        entries
            .update_one(doc! {"_id": 2}, doc! {"$set": {"level": "info"}})
            .await
    });
    follower.wait_for_changes(2);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    let told = "select _id, length(json_extract_string(message, '$.content')) as n, level from raw.conversations order by 1";
    assert_eq!(world.lines(told), ["1|5|-", "2|15728640|info"]);
}

#[test]
fn types_that_change_and_dates_that_nobody_reads_stay_whole() {
    let Some(world) = World::new() else { return };
    let with = |id: i32, key: &str, value: Bson| {
        let mut document = entry(id, "odd");
        document.insert(key, value);
        document
    };
    let readable = DateTime::from_millis(1_234_567_890_123);
    world.insert(vec![
        with(1, "version", 7.into()),
        with(2, "version", "8".into()),
        with(3, "message", vec![Bson::from(1)].into()),
        with(4, "timestamp", readable.into()),
        with(5, "price", f64::NEG_INFINITY.into()),
    ]);
    let relay = Relay::to(world.server.port());
    relay.change(
        &readable.timestamp_millis().to_le_bytes(),
        &i64::MAX.to_le_bytes(),
    );
    let report = world.json_through(&relay, &["extract"]);
    assert_eq!(
        (&report["lines"]["new"], &report["unexpected"]),
        (&json!(5), &json!(2))
    );
    world.json(&["load"]);
    let rows = world.lines(
        "select _id, version, timestamp is null as t, _parse_error as e from raw.conversations order by 1",
    );
    assert_eq!(
        rows,
        [
            "1|-|false|version",
            "2|8|false|-",
            "3|-|false|-",
            "4|-|true|timestamp",
            "5|-|false|-"
        ]
    );
    let kept = "select json_extract_string(_raw_json, '$.timestamp.\"$date\".\"$numberLong\"') as t
                from raw.conversations where _id = '4'";
    assert_eq!(world.lines(kept), [i64::MAX.to_string()]);
}

#[test]
fn what_is_no_text_lies_in_the_dead_letter_queue_once() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "fine"), entry(2, "xyz")]);
    let relay = Relay::to(world.server.port());
    relay.change(b"xyz", b"x\xffz");
    for (dead, there) in [(1, 0), (0, 1)] {
        let report = world.json_through(&relay, &["extract", "--full-backfill"]);
        assert_eq!(report["lines"]["dead_lettered"], dead, "{report}");
        assert_eq!(report["lines"]["already_there"], there, "{report}");
    }
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=fine"]);
    let letters = world.json(&["dlq", "list"]);
    assert_eq!(letters.as_array().unwrap().len(), 1);
    assert!(
        letters[0]["file"]
            .as_str()
            .unwrap()
            .contains("claude_logs.entries/2"),
        "{letters}"
    );
    let left = world.json(&["dlq", "retry"]);
    assert_eq!(
        left,
        json!({"tried": 1, "rows": 0, "documents": 0, "left": 1, "warnings": []})
    );
    let mended = RawDocumentBuf::try_from(&entry(2, "mended")).unwrap();
    mend(&world.scene, &[mended.as_bytes()]);
    for expected in [
        json!({"tried": 1, "rows": 1, "documents": 0, "left": 0, "warnings": []}),
        json!({"tried": 0, "rows": 0, "documents": 0, "left": 0, "warnings": []}),
    ] {
        assert_eq!(world.json(&["dlq", "retry"]), expected);
    }
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=fine", "2=mended"]);
}

#[test]
fn two_letters_of_one_second_are_two_changes() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "first")]);
    let relay = Relay::to(world.server.port());
    relay.change(b"xyz", b"x\xffz");
    let mut command = world.command(&["extract", "--follow", "--verbose"]);
    let mut follower = Follower::start(command.env("MONGO_URI", relay.uri()));
    world.act(async |entries| {
        let one = doc! {"_id": 1};
        entries.replace_one(one.clone(), entry(1, "one xyz")).await?;
        entries.replace_one(one, entry(1, "two xyz")).await
    });
    world.insert(vec![entry(2, "fine")]);
    follower.wait_for_changes(1);
    assert_eq!(follower.stop(), 0);
    let letters = world.json(&["dlq", "list"]);
    assert_eq!(letters.as_array().unwrap().len(), 2, "{letters}");
    for text in ["one mended", "two mended"] {
        let mended = RawDocumentBuf::try_from(&entry(1, text)).unwrap();
        mend(&world.scene, &[mended.as_bytes()]);
        assert_eq!(world.json(&["dlq", "retry"])["rows"], 1, "{text}");
        world.json(&["load"]);
        assert_eq!(world.contents(), [&format!("1={text}"), "2=fine"]);
    }
}

#[test]
fn an_end_that_cannot_be_read_hides_no_document() {
    let Some(world) = World::new() else { return };
    world.insert(vec![
        entry("aa", "fine"),
        entry("mm", "fine"),
        entry("zz", "broken"),
    ]);
    let relay = Relay::to(world.server.port());
    relay.change(b"\x03\0\0\0zz\0", b"\x03\0\0\0z\xff\0");
    let report = world.json_through(&relay, &["extract"]);
    assert_eq!(
        (&report["lines"]["new"], &report["lines"]["dead_lettered"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn a_server_that_goes_away_amid_the_first_read_is_waited_for() {
    let Some(mut world) = World::new() else { return };
    world.insert(many(2000));
    let relay = Relay::to(world.server.port());
    // Before the first read is through.
    relay.cut_after(300 << 10);
    let mut command = world.command(&["extract", "--follow", "--verbose"]);
    command.env("MONGO_URI", relay.uri()).env("BATCH_SIZE", "100");
    let mut follower = Follower::start_at_once(&mut command);
    std::thread::sleep(Duration::from_millis(300));
    world.server.kill();
    relay.cut_after(usize::MAX);
    follower.wait_for("trying again");
    world.server.launch();
    follower.wait_for("following");
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents().len(), 2000);
}

#[test]
fn what_another_pass_read_amid_an_outage_is_not_read_again() {
    let Some(world) = World::new() else { return };
    world.insert(many(300));
    let relay = Relay::to(world.server.port());
    // Enough for the stream's first token, and not for one answer with documents.
    relay.cut_after(100 << 10);
    let mut command = world.command(&["extract", "--follow", "--verbose"]);
    let mut follower = Follower::start_at_once(command.env("MONGO_URI", relay.uri()));
    follower.wait_for("trying again");
    follower.signal("-STOP");
    world.json(&["extract"]);
    relay.cut_after(usize::MAX);
    follower.signal("-CONT");
    follower.wait_for("following");
    assert_eq!(follower.stop(), 0);
    assert_eq!(lake_rows(&world.scene).len(), 300);
}

#[test]
fn a_full_backfill_replaces_a_position_that_nobody_can_read() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "there")]);
    world.json(&["extract"]);
    let place = LakeSettings::new(world.scene.data().join("iceberg"));
    let name = "cclake.mongodb-position.claude_logs.entries";
    let commit = Commit {
        commit_id: "damage".to_owned(),
        summary: BTreeMap::new(),
        properties: BTreeMap::from([(name.to_owned(), "{".to_owned())]),
    };
    Lake::open_existing(&place).unwrap().checkpoint(&commit).unwrap();
    let ran = world.try_run(&["extract"]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--full-backfill"), "{}", ran.stderr);
    assert_eq!(world.json(&["extract", "--full-backfill"])["lines"]["new"], 1);
    assert_eq!(world.json(&["extract"])["lines"]["dead_lettered"], 0);
}

#[test]
fn another_collection_wants_a_lake_of_its_own() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "one")]);
    world.bring(&[]);
    world.server.with("claude_logs", "others", async |others| {
        others.insert_one(entry(1, "two")).await
    });
    let mut command = world.command(&["extract"]);
    let ran = finish(command.env("MONGO_COLLECTION", "others"));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("claude_logs.entries") && ran.stderr.contains("--data-dir"),
        "{}",
        ran.stderr
    );
}
