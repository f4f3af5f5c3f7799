//! What a line may be: every JSON object is a row, everything else a dead letter, and no input is fatal.

use arrow_array::{Array, RecordBatch, cast::AsArray, types::TimestampMicrosecondType};
use jiff::Timestamp;

use super::World;
use crate::{KnownIds, Settings, dlq, extract};

/// Reads `bytes` as a file; the batch of its rows, and its dead letters' reasons.
fn read(bytes: &[u8]) -> (Vec<RecordBatch>, Vec<String>) {
    let mut world = World::new(1 << 20);
    world.write("a.jsonl", bytes);
    let plan = world.plan();
    let settings = Settings {
        machine: "m".into(),
        run_id: "r".into(),
        synced_at_us: 0,
        threads: 1,
        chunk_bytes: 64 << 20,
    };
    let (mut batches, mut dead) = (Vec::new(), Vec::new());
    extract::<crate::Error>(
        &plan,
        KnownIds::default(),
        &std::collections::HashSet::new(),
        &settings,
        &mut |chunk| {
            batches.extend(chunk.batches);
            dead.extend(chunk.dead_letters.into_iter().map(|letter| letter.reason));
            Ok(())
        },
    )
    .unwrap();
    (batches, dead)
}

/// One row's columns that are not null, without those every row has.
fn show(batch: &RecordBatch) -> String {
    let mut shown = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()).skip(1) {
        let text = match column.data_type() {
            _ if column.is_null(0) || field.name() == "_raw_json" => continue,
            _ if field.name() == "source" => break,
            arrow_schema::DataType::Utf8 => column.as_string::<i32>().value(0).to_owned(),
            arrow_schema::DataType::Boolean => column.as_boolean().value(0).to_string(),
            _ => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(0);
                Timestamp::from_microsecond(micros).unwrap().to_string()
            }
        };
        let cut = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
        shown.push(format!("{}={}", field.name(), &text[..cut]));
    }
    shown.join(" | ")
}

#[track_caller]
fn check(line: &str, expected: &str) {
    let (batches, dead) = read(format!("{line}\n").as_bytes());
    let shown = &line[..line.len().min(200)];
    assert_eq!((batches.len(), dead), (1, Vec::new()), "{shown}");
    assert_eq!(show(&batches[0]), expected, "{shown}");
    assert_eq!(super::text(&batches[0], "_raw_json", 0).as_deref(), Some(line));
}

#[track_caller]
fn check_dead(line: &[u8], reason: &str) {
    let (batches, dead) = read(&[line, b"\n"].concat());
    assert_eq!((batches.len(), dead), (0, vec![reason.to_owned()]));
}

#[test]
fn claude_code_and_specification_share_columns() {
    check(
        r#"{"parentUuid":null,"isSidechain":false,"cwd":"/p","sessionId":"s","type":"user","message":{"role":"user"},"uuid":"u","timestamp":"2026-01-15T09:30:00.120Z","toolUseResult":[1],"origin":{"kind":"human"},"isApiErrorMessage":true}"#,
        r#"type=user | timestamp=2026-01-15T09:30:00.12Z | project_path=/p | session_id=s | message={"role":"user"} | tool_use_result=[1] | uuid=u | is_sidechain=false | is_api_error=true | origin=human"#,
    );
    check(
        r#"{"type":"tool_use","project_path":"/p","session_id":"s","tool_use":{"id":"t"},"timestamp":1768469400120}"#,
        r#"type=tool_use | timestamp=2026-01-15T09:30:00.12Z | project_path=/p | session_id=s | tool_use={"id":"t"}"#,
    );
    check(r#"{"sessionId":"a","session_id":"b"}"#, "session_id=a");
    check(r#"{"sessionId":null,"session_id":"b"}"#, "session_id=b");
}

#[test]
fn any_object_is_a_row() {
    check("{}", "");
    check(r#" { "type" : "never-heard-of" } "#, "type=never-heard-of");
    check(
        r#"{"message":{"role":"wizard"},"parentUuid":"dangling"}"#,
        r#"message={"role":"wizard"} | parent_uuid=dangling"#,
    );
    check(r#"{"t\u0079pe":"escaped key"}"#, "type=escaped key");
    check(
        r#"{"message":{"a":1000000000000000000000000000000,"b":1e400}}"#,
        r#"message={"a":1000000000000000000000000000000,"b":1e400}"#,
    );
    check(
        r#"{"message":"\u0000","content":"a\u2028b"}"#,
        "message=\"\\u0000\" | content=a\u{2028}b",
    );
}

#[test]
fn the_last_of_equal_keys_wins() {
    check(r#"{"type":"a","type":"b"}"#, "type=b");
    check(r#"{"type":"a","type":null}"#, "");
    check(r#"{"type":7,"type":"b"}"#, "type=b");
}

#[test]
fn a_lone_surrogate_is_replaced_where_models_read() {
    check(
        r#"{"type":"\ud800","message":{"\udc00":"\ud83d\ude00\ud83d"},"\ud800":1}"#,
        "type=\u{fffd} | message={\"\\ufffd\":\"\\ud83d\\ude00\\ufffd\"}",
    );
}

#[test]
fn values_of_another_type_are_named() {
    check(
        r#"{"type":1,"timestamp":"soon","sessionId":{},"isMeta":"yes","content":[],"origin":3,"message":4}"#,
        "message=4 | _parse_error=type,timestamp,sessionId,isMeta,origin,content",
    );
    check(
        r#"{"session_id":5,"timestamp":-1e300}"#,
        "_parse_error=timestamp,session_id",
    );
}

#[test]
fn nesting_overflows_no_stack() {
    for depth in [20_000, 100_000, 1_000_000] {
        let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        check(
            &format!(
                r#"{{"type":"x","message":{},"unknown":{}}}"#,
                nested("{\"a\":", "}"),
                nested("[", "]")
            ),
            "type=x | _parse_error=message",
        );
        check_dead(
            nested("[", "]").as_bytes(),
            "invalid type: sequence, expected a JSON object at byte 0",
        );
        check(
            &format!(r#"{{"origin":{},"type":{}}}"#, nested("[", "]"), nested("[", "]")),
            "_parse_error=type,origin",
        );
    }
}

#[test]
fn a_line_of_20_megabytes_is_one_row() {
    let long = "x".repeat(20 << 20);
    check(
        &format!(r#"{{"type":"x","content":"{long}"}}"#),
        &format!("type=x | content={}", &long[..60]),
    );
}

#[test]
fn what_is_no_object_is_a_dead_letter() {
    let lines: [&[u8]; 13] = [
        b"{\"a\":1",
        b"{\"a\":1}}",
        b"{\"a\":\"\x01\"}",
        b"{\"a\":\"\\q\"}",
        b"{\"a\":NaN}",
        b"[1]",
        b"7",
        b"\"text\"",
        b"null",
        b"{\"a\":\"\xff\"}",
        b"oops",
        b"{}\xef\xbb\xbf",
        b"\0\0",
    ];
    let (batches, dead) = read(&[&lines.join(&b'\n'), "\n".as_bytes()].concat());
    assert_eq!((batches.len(), dead.len()), (0, lines.len()));
    insta::assert_snapshot!(dead.join("\n"), @r#"
    EOF while parsing an object at byte 6
    trailing characters at byte 8
    control character (\u0000-\u001F) found while parsing a string at byte 6
    invalid escape at byte 8
    expected value at byte 6
    invalid type: sequence, expected a JSON object at byte 0
    invalid type: integer `7`, expected a JSON object at byte 1
    invalid type: string "text", expected a JSON object at byte 6
    invalid type: null, expected a JSON object at byte 4
    invalid UTF-8 at byte 7
    expected value at byte 1
    trailing characters at byte 3
    expected value at byte 1
    "#);
}

#[test]
fn a_byte_order_mark_is_tolerated_at_the_start_only() {
    let (batches, dead) = read("\u{feff}{\"type\":\"a\"}\n\u{feff}{}\n\u{feff}\n".as_bytes());
    assert_eq!((show(&batches[0]), dead.len()), ("type=a".into(), 2));
    assert_eq!(read("\u{feff}\r\n".as_bytes()), (Vec::new(), Vec::new()));
}

#[test]
fn dead_letters_are_kept_with_their_bytes() {
    let mut world = World::new(1 << 20);
    world.write("a.jsonl", b"{}\n\xff\xfe\r\n[]\n");
    world.run();
    let queue = world.dir.path().join("dead");
    let letters = dlq::list(&queue).unwrap();
    let shown: Vec<_> = letters
        .iter()
        .map(|letter| (letter.offset, letter.bytes().unwrap()))
        .collect();
    assert_eq!(shown, [(3, b"\xff\xfe".to_vec()), (7, b"[]".to_vec())]);
    assert_eq!(letters[0].file, world.path("a.jsonl").display().to_string());
    let id = letters[1].id.to_string();
    assert_eq!(dlq::show(&queue, &id[..8]).unwrap(), letters[1]);
    assert!(
        dlq::show(&queue, "")
            .unwrap_err()
            .to_string()
            .starts_with("2 dead letters have an id")
    );
    assert!(dlq::show(&queue, "xyz").is_err());
}

#[test]
fn a_torn_queue_goes_on() {
    let mut world = World::new(1 << 20);
    world.write("a.jsonl", b"[]\n");
    world.run();
    let queue = world.dir.path().join("dead");
    let file = queue.join("1970-01-01/extraction_failures.jsonl");
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"id\":\"00");
    std::fs::write(&file, &text).unwrap();
    world.write("a.jsonl", b"[]\n7\n");
    assert_eq!(world.run().counts.dead_lettered, 1);
    assert_eq!(dlq::list(&queue).unwrap().len(), 2);
    assert_eq!(dlq::load_ids(&queue).unwrap().len(), 2);
}
