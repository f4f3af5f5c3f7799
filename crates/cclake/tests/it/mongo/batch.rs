//! Full and incremental extracts.

use bson::{Bson, DateTime, Decimal128, doc};
use serde_json::json;

use super::{World, entry, json, untimed};
use crate::memory::noise;
use crate::support::{peak_memory_kb, samples};

#[test]
fn ids_of_every_type_are_rows_of_their_own() {
    let Some(world) = World::new() else { return };
    let mut documents: Vec<_> = (0..300).map(|number| entry(number, "int")).collect();
    documents.extend((0..300).map(|number| entry(number.to_string(), "string")));
    documents.extend((0..100).map(|_| entry(bson::oid::ObjectId::new(), "oid")));
    let odd: Vec<Bson> = vec![
        f64::NAN.into(),
        f64::INFINITY.into(),
        1.5.into(),
        (i64::MAX).into(),
        "2.5".parse::<Decimal128>().unwrap().into(),
        Bson::Null,
        true.into(),
        DateTime::from_millis(1).into(),
        doc! {"a": 1}.into(),
        Bson::MinKey,
        Bson::MaxKey,
    ];
    documents.extend(odd.into_iter().map(|id| entry(id, "odd")));
    let count = documents.len();
    world.insert(documents);
    let report = world.bring(&[]);
    assert_eq!(report["lines"]["read"], count);
    assert_eq!(world.contents().len(), count);
    let odd = world.lines(
        "select _id from raw.conversations where json_extract_string(message, '$.content') = 'odd' order by 1",
    );
    assert_eq!(
        odd,
        [
            "1.5",
            "2.5",
            "9223372036854775807",
            "Infinity",
            "NaN",
            "bool:true",
            r#"date:{"$date":{"$numberLong":"1"}}"#,
            r#"maxKey:{"$maxKey":1}"#,
            r#"minKey:{"$minKey":1}"#,
            "null:null",
            r#"object:{"a":{"$numberInt":"1"}}"#,
        ]
    );
}

#[test]
fn later_extracts_bring_what_is_new_and_nothing_twice() {
    let Some(world) = World::new() else { return };
    world.insert((0..50).map(|number| entry(number, "first")).collect());
    assert_eq!(world.bring(&[])["lines"]["read"], 50);
    // The first mark may be capped by the server's clock, so one more pass may see some again.
    world.bring(&[]);
    assert_eq!(
        world.bring(&[])["lines"]["read"],
        0,
        "a mark that stands still reads nothing"
    );
    // A tie: written with the very time that the mark has.
    let mark = world.act(async |entries| {
        let newest = entries.find_one(doc! {}).sort(doc! {"_synced_at": -1}).await?;
        Ok(newest.unwrap().get("_synced_at").unwrap().clone())
    });
    let mut tie = entry(100, "tie");
    tie.insert("_synced_at", mark);
    world.insert(vec![tie, entry(101, "new")]);
    world.bring(&[]);
    let contents = world.contents();
    assert_eq!(contents.len(), 52);
    assert!(contents.contains(&"100=tie".to_owned()) && contents.contains(&"101=new".to_owned()));
    // A change that renews the time is brought; it wins.
    world.act(async |entries| {
        let change = doc! {"$set": {"message.content": "changed", "_synced_at": DateTime::now()}};
        entries.update_one(doc! {"_id": 7}, change).await
    });
    world.bring(&[]);
    assert!(world.contents().contains(&"7=changed".to_owned()));
}

#[test]
fn documents_without_a_time_are_new_by_their_ids() {
    let Some(world) = World::new() else { return };
    world.insert((0..5).map(|number| untimed(number, "plain")).collect());
    world.bring(&[]);
    world.insert(vec![untimed(10, "plain")]);
    assert_eq!(world.bring(&[])["lines"]["read"], 1);
    assert_eq!(world.contents().len(), 6);
}

#[test]
fn ids_that_do_not_grow_hide_nothing() {
    let Some(world) = World::new() else { return };
    let bring = |ids: Vec<Bson>| {
        world.insert(ids.into_iter().map(|id| untimed(id, "plain")).collect());
        world.bring(&[])
    };
    bring(vec![f64::NAN.into(), 1.into(), "m".into(), (i64::MAX - 9).into()]);
    let later = bring(vec![(i64::MAX - 8).into(), "a".into()]);
    assert_eq!(world.contents().len(), 6);
    assert!(
        later["warnings"]
            .to_string()
            .contains("do not say when they were written"),
        "{later}"
    );
    // Of the numbers only the mark's own, the texts all.
    assert_eq!(bring(vec![i64::MAX.into()])["lines"]["read"], 3);
}

#[test]
fn history_can_be_left_out_and_brought_later() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "old")]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let extract = |args: &[&str]| {
        let mut command = world.command(&[&["extract"], args].concat());
        let ran = crate::support::finish(command.env("BACKFILL_ALL_HISTORICAL", "false"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    };
    world.insert(vec![untimed(0, "old")]);
    extract(&[]);
    world.insert(vec![entry(2, "new"), untimed(3, "new")]);
    extract(&[]);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["2=new", "3=new"]);
    extract(&["--full-backfill"]);
    world.json(&["load"]);
    assert_eq!(world.contents(), ["0=old", "1=old", "2=new", "3=new"]);
}

#[test]
fn values_that_no_column_holds_are_kept_whole_beside_it() {
    let Some(world) = World::new() else { return };
    let mut document = entry(1, "odd");
    document.insert("timestamp", doc! {"year": 2026});
    document.insert(
        "a.b",
        doc! {"$odd": f64::NAN, "": Bson::Null, "Name": 1, "name": "2"},
    );
    document.insert("session_id", 7);
    document.insert("price", "1.10".parse::<Decimal128>().unwrap());
    world.insert(vec![document]);
    let report = world.bring(&[]);
    assert_eq!(report["unexpected"], 1);
    let rows = world.lines("select timestamp, session_id, _parse_error, _raw_json from raw.conversations");
    assert_eq!(rows.len(), 1);
    assert!(
        rows[0].starts_with("-|-|timestamp,session_id|{\"_id\":1,"),
        "{}",
        rows[0]
    );
    for part in [
        r#""timestamp":{"year":2026}"#,
        r#""a.b":{"$odd":{"$numberDouble":"NaN"},"":null,"Name":1,"name":"2"}"#,
        r#""price":{"$numberDecimal":"1.10"}"#,
    ] {
        assert!(rows[0].contains(part), "{}", rows[0]);
    }
}

#[test]
fn a_collection_made_anew_is_read_anew_and_the_old_one_is_gone() {
    let Some(world) = World::new() else { return };
    world.insert(vec![entry(1, "old"), entry(2, "old")]);
    world.bring(&[]);
    world.act(async |entries| entries.drop().await);
    world.insert(vec![entry(2, "new")]);
    let report = world.bring(&[]);
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.contains("another collection"), "{warning}");
    assert_eq!(world.contents(), ["1=old gone", "2=new"]);
}

#[test]
fn the_shapes_of_the_specification_become_gold() {
    let (Some(samples), Some(world)) = (samples(), World::new()) else {
        return;
    };
    let text = std::fs::read_to_string(samples.join("mongo-spec-shape.json")).unwrap();
    let documents: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let documents: Vec<_> = documents
        .into_iter()
        .map(|document| match Bson::try_from(document).unwrap() {
            Bson::Document(document) => document,
            other => panic!("{other}"),
        })
        .collect();
    world.insert(documents);
    let ran = world.try_run(&["run"]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(
        world.lines("select role, count(*) as n from fct_messages group by 1 order by 1"),
        ["assistant|1", "human|2"]
    );
    assert_eq!(
        world.lines("select tool_name, is_success from fct_tool_calls"),
        ["Read|true"]
    );
    assert_eq!(
        world.lines("select input_tokens, output_tokens, cache_write_5m_tokens from fct_messages where role = 'assistant'"),
        ["12|38|2048"]
    );
}

#[test]
fn sessions_of_several_people_and_machines_can_be_told_apart() {
    let Some(world) = World::new() else { return };
    let of = |id: i32, session: &str, machine: &str, user: &str| {
        let mut document = entry(id, "hello");
        document.insert("session_id", session);
        document.insert("machine", machine);
        document.insert("user", user);
        document
    };
    world.insert(vec![
        of(1, "a", "laptop", "ada"),
        of(2, "b", "laptop", "bob"),
        of(3, "c", "desk", "ada"),
        entry(4, "of nobody"),
    ]);
    let ran = world.try_run(&["run"]);
    assert_eq!(ran.status, 0, "{}\n{}", ran.stdout, ran.stderr);
    let told = "select machine, user_name, count(*) as sessions from dim_sessions group by all order by all";
    assert_eq!(
        world.lines(told),
        ["desk|ada|1", "laptop|ada|1", "laptop|bob|1", "unknown|-|1"]
    );
}

#[test]
fn many_small_extracts_leave_few_files() {
    let Some(world) = World::new() else { return };
    for number in 0..60 {
        world.insert(vec![entry(number, "one")]);
        assert_eq!(world.json(&["extract"])["lines"]["new"], 1);
    }
    let table = world.json(&["lake", "maintain", "--dry-run"]);
    let count = |what: &str| table[what]["before"].as_u64().unwrap();
    // One file each but for the last upkeep, which came by itself.
    assert!(count("data_files") < 30, "{table}");
    assert!(count("manifests") < 30, "{table}");
    assert!(count("snapshots") < 60, "{table}");
    world.json(&["load"]);
    assert_eq!(world.contents().len(), 60);
}

#[test]
fn times_that_are_texts_hide_no_document() {
    let Some(world) = World::new() else { return };
    let at = |id: i32, time: &str| {
        let mut document = entry(id, "one");
        document.insert("_synced_at", time);
        document
    };
    let new = || world.json(&["extract"])["lines"]["new"].as_u64().unwrap();
    world.insert(vec![
        at(1, "2026-02-03T10:00:08.5Z"),
        at(2, "2026-02-03T10:00:09Z"),
    ]);
    assert_eq!([new(), new()], [2, 0]);
    // Below the mark as a text, in the same second as time.
    world.insert(vec![at(3, "2026-02-03T10:00:09.5Z")]);
    assert_eq!([new(), new()], [2, 0]);
    // Later, and less as a text: what no order can be told of is read each time, and said.
    world.insert(vec![at(4, "2026-02-03T05:00:10-05:00"), at(5, "zzz")]);
    assert_eq!([new(), new()], [2, 2]);
    let warnings = world.json(&["extract"])["warnings"].to_string();
    assert!(
        warnings.contains("2 documents do not say when they were written"),
        "{warnings}"
    );
    world.insert(vec![at(6, "2026-02-03T10:00:11Z")]);
    assert_eq!(new(), 3);
    world.json(&["load"]);
    assert_eq!(world.contents().len(), 6);
}

#[cfg(target_os = "linux")]
#[test]
fn large_documents_are_read_by_their_bytes_not_their_number() {
    let Some(world) = World::new() else { return };
    for part in 0..10_i32 {
        let numbers = part * 40..part * 40 + 40;
        let seed = |number| u64::try_from(number).unwrap();
        world.insert(
            numbers
                .map(|number| entry(number, &noise(1 << 20, seed(number))))
                .collect(),
        );
    }
    let mut child = world.command(&["extract"]).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory_kb(&child));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(status.success());
    // Held at once, they would take 1.2 GB: as BSON, as the message and as the whole record.
    assert!((1..700_000).contains(&peak), "{peak} kB");
    world.json(&["load"]);
    // One vector of so long texts is more than a query may take by default.
    let mut query = world.command(&[
        "query",
        "select length(json_extract_string(message, '$.content')) as bytes, count(*) as n from raw.conversations group by 1",
        "--json",
    ]);
    let whole = json(query.env("CCLAKE_MEMORY_MB", "4096"));
    assert_eq!(whole, json!([{"bytes": 1 << 20, "n": 400}]));
}
