//! The change stream, from its first token to a server that goes away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::doc;

use super::{World, entry, untimed};
use crate::faults::lake_rows;
use crate::support::{LOAD_ORDER, TRACE, tables};

const UNDELETED: &str = "select count(*) as n from raw.conversations where _op <> 'delete'";

#[test]
fn every_change_comes_and_the_latest_wins() {
    let Some(world) = World::new() else { return };
    world.insert((0..5).map(|number| entry(number, "first")).collect());
    let mut follower = world.follow();
    world.insert(vec![entry(5, "inserted")]);
    world.act(async |entries| {
        let change = doc! {"$set": {"message.content": "updated"}};
        entries.update_one(doc! {"_id": 1}, change).await?;
        entries.replace_one(doc! {"_id": 2}, entry(2, "replaced")).await?;
        entries.delete_one(doc! {"_id": 3}).await
    });
    follower.wait_for_changes(4);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    let expected = [
        "0=first",
        "1=updated",
        "2=replaced",
        "3=first gone",
        "4=first",
        "5=inserted",
    ];
    assert_eq!(world.contents(), expected);
    // While nobody follows, changes wait.
    world.act(async |entries| entries.delete_one(doc! {"_id": 0}).await);
    let mut follower = world.follow();
    follower.wait_for_changes(1);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert!(world.contents().contains(&"0=first gone".to_owned()));

    // The lake alone gives the same.
    let trace = [TRACE, LOAD_ORDER];
    let transform = world.try_run(&["transform"]);
    assert_eq!(transform.status, 0, "{}", transform.stderr);
    let before = tables(&world.scene, &trace);
    std::fs::remove_file(world.scene.data().join("analytics.db")).unwrap();
    world.json(&["load"]);
    world.try_run(&["transform"]);
    assert_eq!(tables(&world.scene, &trace), before);
}

#[test]
fn gold_counts_deleted_documents_unless_told_otherwise() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "kept"), entry(2, "deleted")]);
    let follower = world.follow();
    world.act(async |entries| entries.delete_one(doc! {"_id": 2}).await);
    let mut follower = follower;
    follower.wait_for_changes(1);
    follower.stop();
    for (on_delete, expected) in [("keep", "2"), ("remove", "1")] {
        let ran = crate::support::finish(world.command(&["run"]).env("CCLAKE_ON_DELETE", on_delete));
        assert_eq!(ran.status, 0, "{}\n{}", ran.stdout, ran.stderr);
        assert_eq!(
            world.lines("select count(*) as n from fct_messages"),
            [expected],
            "{on_delete}"
        );
    }
}

#[test]
fn history_that_is_lost_is_told_and_made_up_for() {
    let Some(world) = World::with(&["--oplog-max-entries", "1000"]) else {
        return;
    };
    world.insert((0..20).map(|number| entry(number, "first")).collect());
    world.follow().stop();
    world.act(async |entries| {
        entries.delete_one(doc! {"_id": 3}).await?;
        entries.replace_one(doc! {"_id": 4}, entry(4, "replaced")).await
    });
    for round in 0..40 {
        let ids = (1000 + round * 100)..(1100 + round * 100);
        world.insert(ids.map(|number| entry(number, "later")).collect());
    }
    let mut follower =
        super::Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
    follower.wait_for("no longer in the server's log");
    follower.wait_for("following");
    follower.stop();
    world.json(&["load"]);
    let contents = world.contents();
    assert_eq!(contents.len(), 4020);
    assert!(contents.contains(&"3=first gone".to_owned()) && contents.contains(&"4=replaced".to_owned()));
    assert_eq!(
        contents.iter().filter(|row| row.ends_with("=later")).count(),
        4000
    );
}

#[test]
fn what_changed_before_anyone_followed_is_made_up_for() {
    let Some(world) = World::new() else { return };
    world.insert((0..3).map(|number| entry(number, "first")).collect());
    world.bring(&[]);
    world.act(async |entries| {
        entries.delete_one(doc! {"_id": 0}).await?;
        let change = doc! {"$set": {"message.content": "changed"}};
        entries.update_one(doc! {"_id": 1}, change).await
    });
    let mut follower =
        super::Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
    follower.wait_for("nobody has followed it so far");
    follower.wait_for("following");
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["0=first gone", "1=changed", "2=first"]);
}

#[test]
fn a_follower_that_ended_before_its_comparison_reads_nothing_twice() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(0, "first"), entry(1, "first")]);
    world.bring(&[]);
    // The comparison alone reads what the lake holds.
    let (file, away) = (world.scene.data_file(), world.scene.path("away.parquet"));
    std::fs::rename(&file, &away).unwrap();
    let mut follower =
        super::Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
    follower.wait_for(file.to_str().unwrap());
    assert_eq!(follower.end(), 2);
    std::fs::rename(&away, &file).unwrap();
    world.act(async |entries| entries.delete_one(doc! {"_id": 0}).await);
    world.insert(vec![entry(2, "later")]);
    let mut follower = world.follow();
    follower.wait_for_changes(2);
    assert_eq!(follower.stop(), 0);
    // The stream alone brought what came later: an increment would have brought it too.
    let rows = lake_rows(&world.scene);
    let later = rows.iter().filter(|row| row.starts_with("2 ")).count();
    assert_eq!(later, 1, "{rows:?}");
    world.json(&["load"]);
    assert_eq!(world.contents(), ["0=first gone", "1=first", "2=later"]);
}

fn wait_for_more_rows(world: &World, count: usize) {
    let until = Instant::now() + Duration::from_mins(1);
    while lake_rows(&world.scene).len() <= count {
        assert!(Instant::now() < until, "there are never more than {count} rows");
    }
}

/// 600 documents, more than one chunk, so that there is a pause between two.
fn insert_chunks(world: &World) {
    let long = "long ".repeat(50_000);
    for first in (0..600).step_by(100) {
        world.insert((first..first + 100).map(|number| entry(number, &long)).collect());
    }
}

#[test]
fn an_extract_that_began_before_changes_were_missed_counts_for_nothing() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(10_000, "first")]);
    world.bring(&[]);
    insert_chunks(&world);
    let command = &mut world.command(&["extract", "--full-backfill"]);
    let mut extract = super::Follower::start_at_once(command);
    wait_for_more_rows(&world, 1);
    extract.signal("-STOP");
    // Neither the extract nor the token that comes now tells of it.
    world.act(async |entries| entries.delete_one(doc! {"_id": 10_000}).await);
    let follower = world.follow();
    extract.signal("-CONT");
    extract.wait_for("left to whoever began to follow it meanwhile");
    assert_eq!(extract.end(), 0);
    assert_eq!(follower.stop(), 0);
    // Nothing is left to be read.
    let rows = lake_rows(&world.scene).len();
    assert_eq!(world.follow().stop(), 0);
    assert_eq!(lake_rows(&world.scene).len(), rows);
    world.json(&["load"]);
    assert_eq!(world.lines(UNDELETED), ["600"]);
}

#[test]
fn changes_come_while_the_collection_is_still_being_read() {
    let Some(world) = World::new() else { return };
    insert_chunks(&world);
    let mut follower =
        super::Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
    let mut number = 10_000;
    while !follower.has_said("following") {
        world.insert(vec![entry(number, "meanwhile")]);
        number += 1;
    }
    assert!(follower.has_said("changes to the lake"), "{:?}", follower.heard());
    follower.wait_for("changes to the lake");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    let counts =
        "select count(*) as n, count(*) filter (where length(message) < 200) as small from raw.conversations";
    assert_eq!(
        world.lines(counts),
        [format!("{}|{}", number - 9400, number - 10_000)]
    );
}

#[test]
fn a_dropped_or_renamed_collection_never_ends_the_stream_in_silence() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "old"), entry(2, "old")]);
    let mut follower = world.follow();
    world.act(async |entries| entries.drop().await);
    follower.wait_for("dropped, renamed or replaced");
    follower.wait_for("following");
    world.insert(vec![entry(2, "new")]);
    follower.wait_for_changes(1);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=old gone", "2=new"]);
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let Some(mut world) = World::new() else { return };
    world.insert(vec![entry(1, "before")]);
    let mut follower = world.follow();
    world.server.kill();
    follower.wait_for("trying again");
    world.server.launch();
    world.insert(vec![entry(2, "after")]);
    follower.wait_for("is back");
    follower.wait_for_changes(1);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=before", "2=after"]);
}

#[test]
fn a_server_without_a_replica_set_can_be_polled() {
    let Some(world) = World::with(&["--standalone"]) else {
        return;
    };
    world.insert(vec![entry(1, "first")]);
    let refused = world.try_run(&["extract", "--follow"]);
    assert_eq!(refused.status, 2);
    assert!(
        refused.stderr.contains("--replSet") && refused.stderr.contains("--poll"),
        "{}",
        refused.stderr
    );
    let follower =
        super::Follower::start_at_once(&mut world.command(&["extract", "--follow", "--poll", "1"]));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    world.insert(vec![entry(2, "second")]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["1=first", "2=second"]);
}

#[test]
fn kills_lose_nothing_and_double_nothing() {
    let Some(world) = World::new() else { return };
    world.insert((0..10).map(|number| entry(number, "first")).collect());
    for round in 0..20_i32 {
        let follower =
            super::Follower::start_at_once(&mut world.command(&["extract", "--follow", "--verbose"]));
        let ids = (100 + round * 10)..(110 + round * 10);
        world.insert(ids.map(|number| entry(number, "later")).collect());
        world.act(async |entries| {
            let change = doc! {"$set": {"message.content": format!("changed in {round}")}};
            entries.update_one(doc! {"_id": 1}, change).await?;
            entries.delete_one(doc! {"_id": 100 + round * 10}).await
        });
        std::thread::sleep(std::time::Duration::from_millis(
            u64::try_from(round).unwrap() * 73 % 1100,
        ));
        follower.kill();
    }
    // One that ends in order has seen everything before.
    let follower = world.follow();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    // A document that came and went before the first token was kept was never to be seen.
    let contents = world.contents();
    let there: Vec<_> = contents
        .iter()
        .filter(|row| !row.ends_with(" gone"))
        .cloned()
        .collect();
    let mut expected = world.act(async |entries| {
        let mut rows = Vec::new();
        let mut cursor = entries.find(doc! {}).await?;
        while cursor.advance().await? {
            let document = bson::Document::try_from(cursor.current())?;
            let text = document
                .get_document("message")
                .unwrap()
                .get_str("content")
                .unwrap()
                .to_owned();
            rows.push(format!("{}={text}", document.get_i32("_id").unwrap()));
        }
        Ok(rows)
    });
    expected.sort();
    assert_eq!(there, expected);
    assert!((100..=contents.len()).contains(&expected.len()) && contents.len() > expected.len());
}

#[test]
fn a_commit_whose_end_nobody_saw_is_not_made_again() {
    let Some(world) = World::new() else { return };
    world.insert((0..10).map(|number| entry(number, "first")).collect());
    assert_eq!(world.follow().stop(), 0);
    for round in 1..=5_i32 {
        let rows = lake_rows(&world.scene).len();
        let follower = world.follow();
        let ids = (round * 10)..(round * 10 + 10);
        world.insert(ids.map(|number| entry(number, "later")).collect());
        wait_for_more_rows(&world, rows);
        follower.kill();
    }
    let mut follower = world.follow();
    world.insert(vec![entry(60, "last")]);
    follower.wait_for_changes(1);
    assert_eq!(follower.stop(), 0);
    let rows = lake_rows(&world.scene);
    assert_eq!(rows.len(), 61, "{rows:?}");
}

#[test]
fn rows_say_when_they_came_however_long_it_follows() {
    let Some(world) = World::new() else { return };
    world.insert(vec![untimed(0, "before")]);
    let mut follower = world.follow();
    std::thread::sleep(Duration::from_secs(2));
    let later = jiff::Timestamp::now();
    world.insert(vec![untimed(1, "later")]);
    follower.wait_for_changes(1);
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    let came = format!("select _id from raw.conversations where _synced_at >= '{later}'");
    assert_eq!(world.lines(&came), ["1"]);
}

#[test]
fn an_extract_beside_a_follower_reads_only_what_came_since_the_last() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(0, "before")]);
    let mut follower = world.follow();
    for number in 1..4 {
        world.insert(vec![entry(number, "later")]);
        follower.wait_for_changes(1);
        let lines = &world.json(&["extract"])["lines"];
        assert_eq!(lines["new"], 1, "in round {number}: {lines}");
    }
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.contents().len(), 4);
}

#[test]
fn runs_beside_a_follower_miss_none_of_its_changes() {
    let Some(world) = World::new() else { return };
    world.insert((0..2000).map(|number| entry(number, "first")).collect());
    let follower = world.follow();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Changes that no mark tells of, and something new for each run.
        scope.spawn(|| {
            for number in 0..2000_i32 {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                world.act(async |entries| {
                    entries.delete_one(doc! {"_id": number}).await?;
                    entries.insert_one(entry(10_000 + number, "later")).await
                });
            }
        });
        for _ in 0..8 {
            let report = &world.json(&["run"])["ingest"];
            let (new, loaded) = (&report["lines"]["new"], &report["rows"]);
            let loaded: u64 = ["inserted", "updated", "copies"]
                .map(|kind| loaded[kind].as_u64().unwrap())
                .iter()
                .sum();
            assert!(loaded >= new.as_u64().unwrap(), "{report}");
        }
        is_done.store(true, Ordering::Relaxed);
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.lines(UNDELETED), ["2000"]);
}

#[test]
fn a_collection_that_ends_amid_changes_is_read_anew_once() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(0, "before")]);
    let mut follower = world.follow();
    world.act(async |entries| {
        for number in 1..50 {
            entries.insert_one(entry(number, "later")).await?;
        }
        entries.drop().await
    });
    follower.wait_for("was dropped");
    follower.wait_for("following");
    world.insert(vec![entry(100, "anew")]);
    follower.wait_for_changes(1);
    let told = follower
        .heard()
        .iter()
        .filter(|line| line.contains("was dropped"))
        .count();
    assert_eq!(told, 1, "{:?}", follower.heard());
    assert_eq!(follower.stop(), 0);
    world.json(&["load"]);
    assert_eq!(world.lines(UNDELETED), ["1"]);
    assert_eq!(world.contents().len(), 51);
}
