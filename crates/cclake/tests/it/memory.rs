//! More data than memory: what must be held whole gets the room it needs.

use crate::support::{Scene, prompt};

/// Text that no compression makes smaller.
pub(crate) fn noise(bytes: usize, mut seed: u64) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.extend((0..8).map(|digit| char::from(DIGITS[(seed >> (digit * 6 + 12) & 63) as usize])));
    }
    text
}

/// A line with a picture, as Claude Code writes it: in the message and once more beside it.
fn screenshot(number: u32, bytes: usize) -> String {
    let data = noise(bytes, number.into());
    let content = format!(
        r#"[{{"type":"tool_result","tool_use_id":"t{number}","content":[{{"type":"image","source":{{"data":"{data}"}}}}]}}]"#
    );
    let line = prompt("s", &format!("u{number}"), number % 60, "here").replace("\"here\"", &content);
    format!(
        r#"{},"toolUseResult":{{"base64":"{data}"}}}}"#,
        line.trim_end().trim_end_matches('}'.to_string().as_str())
    ) + "\n"
}

#[test]
fn many_screenshots_need_more_than_the_memory_and_are_built() {
    let scene = Scene::new();
    let lines: String = (0..120).map(|number| screenshot(number, 600_000)).collect();
    scene.write("p/s.jsonl", lines);
    let run = |expected: i64| {
        let mut command = scene.command(&["run", "--json"]);
        let ran = crate::support::finish(command.env("CCLAKE_MEMORY_MB", "256"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert_eq!(scene.number("select count(*) from raw.conversations"), expected);
        assert_eq!(scene.number("select count(*) from stg_conversations"), expected);
    };
    run(120);
    // Now a few more rows beside those that the file has: the same vector is compressed again.
    scene.write("p/t.jsonl", prompt("t", "v1", 1, "one more"));
    run(121);
}
