//! Input that nobody would expect, all of it at once: no harm, and nothing lost.

use crate::support::{Scene, prompt, response};

/// One record of every oddity, each on its line; the comments say which.
pub(crate) fn oddities() -> Vec<Vec<u8>> {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let in_session = |rest: &str| {
        format!(
            r#"{{"sessionId":"s","uuid":"odd","timestamp":"2026-02-03T10:00:30.000Z","cwd":"/home/ada/shop",{rest}}}"#
        )
    };
    let texts = vec![
        // unknown type, unknown role
        in_session(r#""type":"holodeck","payload":{"a":1}"#),
        in_session(r#""type":"user","message":{"role":"wizard","content":"abracadabra"}"#),
        // dangling parent
        prompt("s", "dangling", 31, "who is my parent?").replace(r#""parentUuid":null"#, r#""parentUuid":"nobody""#),
        // lone surrogate, NUL, duplicate keys, 10^30 and worse, nesting
        in_session(r#""type":"user","message":{"role":"user","content":"half \ud83d a pair"}"#),
        in_session(r#""type":"user","message":{"role":"user","content":"nul \u0000 inside"}"#),
        in_session(r#""type":"user","type":"assistant","message":{"role":"user","content":"twice","content":"again"}"#),
        response("s", "huge", 32, "msg_huge", 5).replace(r#""output_tokens":5"#, r#""output_tokens":1000000000000000000000000000000"#),
        response("s", "inf", 33, "msg_inf", 5).replace(r#""output_tokens":5"#, r#""output_tokens":1e999"#),
        in_session(&format!(r#""type":"user","message":{{"role":"user","content":{}}}"#, deep(20_000))),
        in_session(&format!(r#""type":"user","toolUseResult":{},"message":{{"role":"user","content":"deep"}}"#, deep(100_000))),
        // wrong types everywhere
        r#"{"type":7,"sessionId":{"a":1},"timestamp":true,"uuid":[],"message":"text","isSidechain":"yes","cwd":null}"#.into(),
        in_session(r#""type":"user","message":{"role":"user","content":[1,"bare",null,{"type":"text"},{"type":9}]}"#),
        in_session(r#""type":"assistant","message":{"id":"msg_odd","model":"m","content":{},"usage":[]}"#),
        in_session(r#""type":"user","toolUseResult":["a",1],"message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image"}],"is_error":"maybe"}]}"#),
        in_session(r#""type":"progress","data":{"type":"agent_progress","message":"no object"}"#),
        // without type, timestamp, session; empty
        r#"{"hook":"PreToolUse","ok":true}"#.into(),
        r#"{"type":"summary","summary":"A title","leafUuid":"nobody"}"#.into(),
        "{}".into(),
        // far from our times
        in_session(r#""type":"user","message":{"role":"user","content":"y10k"}"#).replace("2026-02-03", "9999-12-31"),
        in_session(r#""type":"user","message":{"role":"user","content":"bad time"}"#).replace("2026-02-03T10:00:30.000Z", "yesterday"),
        // a long line
        in_session(&format!(r#""type":"user","message":{{"role":"user","content":"{}"}}"#, "long ".repeat(4_000_000))),
        // spec-shaped
        r#"{"type":"message","session_id":"s","project_path":"/home/ada/shop","timestamp":"2026-02-03T10:00:40.000Z","message":{"role":"human","content":"fix it"}}"#.into(),
        r#"{"type":"tool_use","session_id":"s","project_path":"/home/ada/shop","timestamp":"2026-02-03T10:00:41.000Z","tool_use":{"id":"toolu_1","name":"Read","input":{"file_path":"/x"}}}"#.into(),
        r#"{"type":"tool_result","session_id":"s","project_path":"/home/ada/shop","timestamp":"2026-02-03T10:00:42.000Z","tool_use":{"tool_use_id":"toolu_1","content":"ok","is_error":false}}"#.into(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

/// Lines that are no JSON objects.
pub(crate) fn broken() -> Vec<Vec<u8>> {
    vec![
        b"{\"type\":\"user\",".to_vec(),
        b"not json at all".to_vec(),
        b"42".to_vec(),
        b"null".to_vec(),
        b"\"text\"".to_vec(),
        b"[{\"type\":\"user\"}]".to_vec(),
        b"{\"type\":\"user\",\"message\":\"\xff\xfe\"}".to_vec(),
        b"{\"a\":1}{\"b\":2}".to_vec(),
    ]
}

pub(crate) fn lines(lines: &[Vec<u8>]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_slice(), b"\n"].concat())
        .collect()
}

#[test]
fn every_oddity_reaches_a_published_gold() {
    let scene = Scene::new();
    let (odd, dead) = (oddities(), broken());
    scene.write(
        "p/odd.jsonl",
        [b"\n  \n".to_vec(), lines(&odd), b"\n".to_vec(), lines(&dead)].concat(),
    );
    scene.write(
        "p/plain.jsonl",
        [prompt("t", "p1", 1, "hello"), response("t", "p2", 2, "msg_1", 3)].join("\r\n") + "\r\n",
    );
    let report = scene.json(&["run"]);
    let counted = &report["ingest"]["lines"];
    assert_eq!(counted["new"], odd.len() + 2);
    assert_eq!(counted["dead_lettered"], dead.len());
    assert_eq!(counted["read"], odd.len() + dead.len() + 2);
    assert_eq!(report["build"]["failed"], 0, "{report}");
    assert_eq!(
        scene.number("select count(*) from raw.conversations"),
        odd.len() as i64 + 2
    );
    assert_eq!(
        scene.number("select count(*) from fct_messages where role = 'assistant' and session_id = 't'"),
        1
    );
    assert_eq!(
        scene.lines("select tool_name, is_success from fct_tool_calls where tool_name = 'Read'"),
        ["Read|true"]
    );
    exact_bytes_are_kept(&scene, &odd);
}

/// `_raw_json` holds the very line, whatever the typed columns made of it.
fn exact_bytes_are_kept(scene: &Scene, odd: &[Vec<u8>]) {
    let total: usize = odd.iter().map(Vec::len).sum();
    let sql =
        "select sum(strlen(_raw_json))::bigint from raw.conversations where source_file like '%odd.jsonl'";
    assert_eq!(scene.number(sql), i64::try_from(total).unwrap());
}

#[test]
fn dead_letters_are_kept_once_with_their_bytes() {
    let scene = Scene::new();
    let dead = broken();
    scene.write("p/s.jsonl", lines(&dead));
    scene.run(&["run"]);
    let letters = scene.json(&["dlq", "list"]);
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.len(), dead.len());
    for letter in letters {
        let id = letter["id"].as_str().unwrap();
        assert!(!letter["reason"].as_str().unwrap().is_empty());
        let shown = scene.json(&["dlq", "show", &id[..8]]);
        assert_eq!(shown["bytes_base64"], letter["bytes_base64"]);
    }
    // Read again from the start: the same letters.
    std::fs::remove_file(scene.data().join("positions.json")).unwrap();
    scene.append("p/s.jsonl", "{\"type\":\"user\"}\nbroken again\n");
    scene.run(&["run"]);
    assert_eq!(
        scene.json(&["dlq", "list"]).as_array().unwrap().len(),
        dead.len() + 1
    );
}

#[test]
fn files_that_cannot_be_read_do_not_stop_the_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    scene.write("p/good.jsonl", prompt("s", "u", 1, "hello"));
    let secret = scene.write("p/secret.jsonl", prompt("s", "v", 2, "secret"));
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all.jsonl", scene.logs().join("p/dangling.jsonl")).unwrap();
    std::os::unix::fs::symlink("..", scene.logs().join("p/loop")).unwrap();
    let report = scene.json(&["run"]);
    // Root may read everything.
    let expected = if std::fs::read(&secret).is_ok() { 2 } else { 1 };
    assert_eq!(report["ingest"]["lines"]["new"], expected);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    scene.run(&["run"]);
    assert_eq!(scene.number("select count(*) from raw.conversations"), 2);
}

/// A file that is found, and that not even root may open: as if its rights were taken away under way.
const NEVER_OPENS: &str = "/sys/bus/platform/drivers_probe";

#[test]
fn a_file_that_was_found_and_cannot_be_read_is_a_warning_until_it_can() {
    if !std::path::Path::new(NEVER_OPENS).is_file() || std::fs::File::open(NEVER_OPENS).is_ok() {
        println!("NOT RUN on a file that never opens: there is no such {NEVER_OPENS}");
        return;
    }
    let scene = Scene::new();
    scene.write("p/a.jsonl", prompt("s", "u", 1, "hello"));
    let lost = scene.logs().join("p/b.jsonl");
    std::os::unix::fs::symlink(NEVER_OPENS, &lost).unwrap();
    scene.write("p/c.jsonl", prompt("s", "w", 3, "goodbye"));
    for new in [2, 0] {
        let report = scene.json(&["run"]);
        let ingest = &report["ingest"];
        assert_eq!(ingest["lines"]["new"], new, "{ingest}");
        let warning = ingest["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains(NEVER_OPENS), "{ingest}");
    }
    std::fs::remove_file(&lost).unwrap();
    scene.write("p/b.jsonl", prompt("s", "v", 2, "lost"));
    let report = scene.json(&["run"]);
    assert_eq!(report["ingest"]["lines"]["new"], 1, "{report}");
    assert_eq!(scene.number("select count(*) from fct_messages"), 3);
}

#[test]
fn a_few_huge_lines_among_many_small_ones_are_built() {
    let scene = Scene::new();
    let small = (0..1500).map(|n| prompt("s", &format!("u{n}"), n % 60, &format!("prompt {n}")) + "\n");
    let result = |n: usize, size: usize| {
        let text = "x".repeat(size);
        let content = format!(r#"[{{"type":"tool_result","tool_use_id":"t{n}","content":"{text}"}}]"#);
        prompt("s", &format!("huge{n}"), 1, "here").replace("\"here\"", &content) + "\n"
    };
    let huge = [1, 1, 1, 1, 1, 20, 20, 30]
        .into_iter()
        .enumerate()
        .map(|(n, megabytes)| result(n, megabytes << 20));
    scene.write("p/s.jsonl", small.chain(huge).collect::<String>());
    let report = scene.json(&["run"]);
    assert_eq!(report["ingest"]["lines"]["new"], 1508);
    assert_eq!(report["facts"]["prompts"], 1500);
}

#[test]
fn a_message_without_session_counts_in_that_of_its_file() {
    let scene = Scene::new();
    let named = response("s", "u1", 1, "m1", 5);
    let unnamed = response("s", "u2", 2, "m2", 7).replace(r#""sessionId":"s","#, "");
    scene.write("p/s.jsonl", [named, unnamed].join("\n"));
    scene.run(&["run"]);
    assert_eq!(
        scene.lines("select session_id, count(*), sum(output_tokens) from fct_messages join dim_sessions using (session_id) group by all"),
        ["s|2|12"]
    );
}

#[test]
fn an_empty_id_is_no_id() {
    let scene = Scene::new();
    let lines = ["one", "two", "three"].map(|text| prompt("s", "", 1, text));
    scene.write("p/s.jsonl", lines.join("\n"));
    scene.run(&["run"]);
    assert_eq!(scene.number("select count(*) from fct_messages"), 3);
}
