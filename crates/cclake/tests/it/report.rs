//! Reports say what hand-made transcripts add up to.

use serde_json::{Value, json};

use crate::support::Scene;

/// A line of a session.
fn line(kind: &str, session: &str, cwd: &str, uuid: &str, at: &str, more: &Value) -> String {
    let mut record = json!({
        "type": kind, "sessionId": session, "cwd": cwd, "uuid": uuid, "timestamp": at, "parentUuid": null,
        "isSidechain": false, "userType": "external", "version": "2.1.40", "gitBranch": "main",
    });
    record
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    format!("{record}\n")
}

/// A response of 10,000 + 1,000 + (4,000 + 2,000) + 100,000 tokens.
pub(crate) fn response(session: &str, cwd: &str, id: &str, at: &str, model: &str, content: &Value) -> String {
    let usage = json!({
        "input_tokens": 10_000, "output_tokens": 1_000, "cache_creation_input_tokens": 6_000, "cache_read_input_tokens": 100_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 4_000, "ephemeral_1h_input_tokens": 2_000},
    });
    let message = json!({
        "id": id, "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": "end_turn", "usage": usage,
    });
    line(
        "assistant",
        session,
        cwd,
        &format!("u-{id}"),
        at,
        &json!({"message": message, "requestId": format!("req-{id}")}),
    )
}

pub(crate) fn said() -> Value {
    json!([{"type": "text", "text": "done"}])
}

/// Tokens of one such response.
const TOKENS: u64 = 117_000;
/// (10,000 × 5 + 1,000 × 25 + 4,000 × 6.25 + 2,000 × 10 + 100,000 × 0.50) / 1,000,000.
const OPUS: f64 = 0.17;
/// (10,000 × 1 + 1,000 × 5 + 4,000 × 1.25 + 2,000 × 2 + 100,000 × 0.10) / 1,000,000.
const HAIKU: f64 = 0.034;

const SHOP: &str = "/home/ada/shop";
const LIB: &str = "/home/ada/lib";

/// Two sessions in two projects: on Tuesday 3 February late in the day, and on Monday and Tuesday a week later.
pub(crate) fn scene() -> Scene {
    let scene = Scene::new();
    let prompt = json!({"message": {"role": "user", "content": "fix the bug"}});
    let first = [
        line("user", "s1", SHOP, "p1", "2026-02-03T09:59:00.000Z", &prompt),
        response(
            "s1",
            SHOP,
            "m1",
            "2026-02-03T10:00:00.000Z",
            "claude-opus-4-6",
            &said(),
        ),
        response(
            "s1",
            SHOP,
            "m2",
            "2026-02-03T23:30:00.000Z",
            "claude-haiku-4-5-20251001",
            &said(),
        ),
    ];
    let call = json!([{"type": "tool_use", "id": "toolu_1", "name": "Edit", "input": {"file_path": "/home/ada/lib/a.rs", "old_string": "a", "new_string": "b"}}]);
    let result = json!({
        "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]},
        "toolUseResult": {"filePath": "/home/ada/lib/a.rs", "oldString": "a", "newString": "b", "originalFile": "a", "replaceAll": false,
            "structuredPatch": [{"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 2, "lines": ["-a", "+b", "+c"]}]},
    });
    let second = [
        response(
            "s2",
            LIB,
            "m3",
            "2026-02-09T09:00:00.000Z",
            "claude-opus-4-6",
            &call,
        ),
        line("user", "s2", LIB, "r1", "2026-02-09T09:00:02.000Z", &result),
        response("s2", LIB, "m4", "2026-02-10T12:00:00.000Z", "acme-coder", &said()),
    ];
    scene.write("-home-ada-shop/s1.jsonl", first.concat());
    scene.write("-home-ada-lib/s2.jsonl", second.concat());
    scene.run(&["run"]);
    scene
}

/// Key, responses and cost in thousandths of a dollar of each row, and in all.
fn rows(scene: &Scene, args: &[&str]) -> Vec<String> {
    let report = scene.json(&[&["report"], args].concat());
    let (name, rows) = report.as_object().unwrap().iter().next().unwrap();
    let key = match name.as_str() {
        "daily" => "date",
        "weekly" => "week",
        "monthly" => "month",
        "sessions" => "sessionId",
        "projects" => "projectPath",
        _ => "modelName",
    };
    let cost = |row: &Value| {
        let cost = row["totalCost"].as_f64();
        cost.map_or("-".to_owned(), |cost| format!("{}", (cost * 1000.0).round()))
    };
    let rows = rows.as_array().unwrap();
    let mut texts: Vec<_> = rows
        .iter()
        .map(|row| {
            let responses = row["responses"].as_u64().unwrap();
            assert_eq!(row["totalTokens"], responses * TOKENS, "{row}");
            format!("{} {responses} {}", row[key].as_str().unwrap(), cost(row))
        })
        .collect();
    texts.push(format!(
        "{} {}",
        report["totals"]["totalTokens"].as_u64().unwrap() / TOKENS,
        cost(&report["totals"])
    ));
    texts
}

#[test]
fn rows_are_what_the_transcripts_add_up_to() {
    assert_eq!(((2.0 * OPUS + HAIKU) * 1000.0).round() as i64, 374);
    let scene = scene();
    let check = |args: &[&str], expected: &[&str]| assert_eq!(rows(&scene, args), expected, "{args:?}");
    let days = ["2026-02-03 2 204", "2026-02-09 1 170", "2026-02-10 1 -", "4 374"];
    check(&[], &days);
    check(&["daily"], &days);
    check(
        &["daily", "--order", "desc"],
        &["2026-02-10 1 -", "2026-02-09 1 170", "2026-02-03 2 204", "4 374"],
    );
    check(&["weekly"], &["2026-02-01 2 204", "2026-02-08 2 170", "4 374"]);
    check(
        &["weekly", "--start-of-week", "monday"],
        &["2026-02-02 2 204", "2026-02-09 2 170", "4 374"],
    );
    check(
        &["weekly", "-w", "wednesday"],
        &["2026-01-28 2 204", "2026-02-04 2 170", "4 374"],
    );
    check(&["monthly"], &["2026-02 4 374", "4 374"]);
    check(&["session"], &["s1 2 204", "s2 2 170", "4 374"]);
    check(&["session", "--order", "asc"], &["s2 2 170", "s1 2 204", "4 374"]);
    check(
        &["project"],
        &["/home/ada/shop 2 204", "/home/ada/lib 2 170", "4 374"],
    );
    check(
        &["model"],
        &[
            "claude-opus-4-6 2 340",
            "claude-haiku-4-5-20251001 1 34",
            "acme-coder 1 -",
            "4 374",
        ],
    );
}

#[test]
fn flags_choose_days_projects_and_the_zone() {
    let scene = scene();
    let check = |args: &[&str], expected: &[&str]| assert_eq!(rows(&scene, args), expected, "{args:?}");
    let monday = ["2026-02-09 1 170", "1 170"];
    check(&["daily", "--since", "20260209", "--until", "20260209"], &monday);
    check(&["daily", "-s", "2026-02-09", "-u", "2026-02-09"], &monday);
    check(&["daily", "--until", "2026-02-02"], &["0 0"]);
    // At the calendar's ends.
    check(
        &["monthly", "-s", "0000-01-01", "-u", "9999-12-31"],
        &["2026-02 4 374", "4 374"],
    );
    check(
        &["monthly", "-s", "9999-12-31", "-z", "America/Los_Angeles"],
        &["0 0"],
    );
    let shop = ["2026-02-03 2 204", "2 204"];
    check(&["daily", "--project", "shop"], &shop);
    check(&["daily", "--project", "/home/ada/shop/"], &shop);
    check(&["daily", "--project", "-home-ada-shop"], &shop);
    check(
        &["project", "-p", "shop", "-p", "lib"],
        &["/home/ada/shop 2 204", "/home/ada/lib 2 170", "4 374"],
    );
    // Half past eleven in London is the next day in Berlin, and the days of the flags are Berlin's too.
    check(
        &["daily", "-z", "Europe/Berlin", "-p", "shop"],
        &["2026-02-03 1 170", "2026-02-04 1 34", "2 204"],
    );
    check(
        &[
            "daily",
            "-z",
            "Europe/Berlin",
            "--since",
            "20260204",
            "--until",
            "20260204",
        ],
        &["2026-02-04 1 34", "1 34"],
    );
    check(
        &[
            "daily",
            "-z",
            "America/Los_Angeles",
            "-p",
            "lib",
            "--until",
            "20260209",
        ],
        &["2026-02-09 1 170", "1 170"],
    );
}

#[test]
fn documents_have_the_names_of_ccusage() {
    let scene = scene();
    let day = scene.json(&["report", "daily", "--until", "20260203"]);
    let price_list = &day["pricing"]["priceListDate"];
    assert_eq!(price_list.as_str().unwrap().len(), "2026-02-03".len());
    let opus = json!({"modelName": "claude-opus-4-6", "inputTokens": 10_000, "outputTokens": 1_000,
        "cacheCreationTokens": 6_000, "cacheReadTokens": 100_000, "cost": OPUS});
    let haiku = json!({"modelName": "claude-haiku-4-5-20251001", "inputTokens": 10_000, "outputTokens": 1_000,
        "cacheCreationTokens": 6_000, "cacheReadTokens": 100_000, "cost": HAIKU});
    let sums = json!({"inputTokens": 20_000, "outputTokens": 2_000, "cacheCreationTokens": 12_000,
        "cacheReadTokens": 200_000, "totalTokens": 234_000, "totalCost": 0.204});
    let mut row = json!({"date": "2026-02-03", "sessions": 1, "responses": 2,
        "modelsUsed": ["claude-haiku-4-5-20251001", "claude-opus-4-6"], "modelBreakdowns": [opus, haiku]});
    row.as_object_mut()
        .unwrap()
        .extend(sums.as_object().unwrap().clone());
    let expected = json!({"daily": [row], "totals": sums, "timezone": "UTC",
        "pricing": {"basis": "API-price equivalent", "priceListDate": price_list, "unpricedModels": []}});
    assert_eq!(day, expected);

    let sessions = scene.json(&["report", "session", "-p", "lib"]);
    let session = &sessions["sessions"][0];
    assert_eq!(
        [
            &session["sessionId"],
            &session["projectPath"],
            &session["firstActivity"],
            &session["lastActivity"]
        ],
        ["s2", LIB, "2026-02-09T09:00:00.000Z", "2026-02-10T12:00:00.000Z"]
    );
    assert_eq!(
        sessions["pricing"]["unpricedModels"],
        json!([{"modelName": "acme-coder", "responses": 1, "totalTokens": TOKENS}])
    );

    let tools = scene.json(&["report", "tool"]);
    let tool = &tools["tools"][0];
    assert_eq!(
        [
            &tool["toolName"],
            &tool["calls"],
            &tool["failedCalls"],
            &tool["failureRate"],
            &tool["p50DurationMs"]
        ],
        [&json!("Edit"), &json!(1), &json!(0), &json!(0.0), &json!(2000.0)]
    );
}

#[test]
fn blocks_last_five_hours_and_pauses_are_gaps() {
    let scene = scene();
    let blocks = scene.json(&["report", "blocks", "--until", "20260203"]);
    let texts: Vec<_> = blocks["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| {
            format!(
                "{} {} {}",
                block["id"].as_str().unwrap(),
                block["endTime"].as_str().unwrap(),
                block["entries"]
            )
        })
        .collect();
    assert_eq!(
        texts,
        [
            "2026-02-03T10:00:00.000Z 2026-02-03T15:00:00.000Z 1",
            "gap-2026-02-03T15:00:00.000Z 2026-02-03T23:30:00.000Z 0",
            "2026-02-03T23:00:00.000Z 2026-02-04T04:00:00.000Z 1",
        ]
    );
    assert_eq!(scene.json(&["report", "blocks", "--active"])["blocks"], json!([]));

    let now = jiff::Timestamp::now();
    let at = |minutes_ago: i64| {
        (now - jiff::SignedDuration::from_mins(minutes_ago))
            .strftime("%Y-%m-%dT%H:%M:%S.000Z")
            .to_string()
    };
    let lines = [12, 2].map(|ago| {
        response(
            "s3",
            SHOP,
            &format!("now{ago}"),
            &at(ago),
            "claude-opus-4-6",
            &said(),
        )
    });
    scene.write("-home-ada-shop/s3.jsonl", lines.concat());
    scene.run(&["run"]);
    let report = scene.json(&["report", "blocks", "--active"]);
    let block = report["blocks"].as_array().unwrap().last().unwrap();
    assert_eq!(block["isActive"], true);
    // Both responses are in one block unless an old one ended between them.
    if block["entries"] == 2 {
        assert_eq!(block["burnRate"]["tokensPerMinute"], 23_400.0);
        assert!(
            block["projection"]["totalTokens"].as_f64().unwrap() > 234_000.0,
            "{block}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_one_sentence() {
    let scene = scene();
    let check = |scene: &Scene, args: &[&str], expected: &str| {
        let ran = scene.try_run(&[&["report"], args].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{args:?}");
        let error = ran.stderr.replace(scene.path("").to_str().unwrap(), "");
        assert!(error.contains(expected), "{args:?}: {error}");
    };
    check(
        &scene,
        &["daily", "--project", "nope"],
        "--project: there is no project \"nope\"; there are shop, lib\n",
    );
    check(
        &scene,
        &["daily", "-z", "Mars"],
        "--timezone: there is no zone \"Mars\"; give an IANA name such as Europe/Berlin or UTC\n",
    );
    check(
        &scene,
        &["daily", "--since", "20260301", "--until", "20260201"],
        "--since 2026-03-01 is later than --until 2026-02-01: swap them\n",
    );
    for day in [
        "yesterday",
        "2026-02-03T10:00",
        "2026-2-3",
        "26-02-03",
        "2026-02-03+01:00",
    ] {
        check(
            &scene,
            &["daily", "--since", day],
            "give a day as YYYY-MM-DD or YYYYMMDD",
        );
    }
    for zone in ["localtime", "posixrules", "posix/Europe/Berlin"] {
        check(
            &scene,
            &["daily", "-z", zone],
            &format!("--timezone: there is no zone \"{zone}\"; give an IANA name"),
        );
    }
    for (args, sentence) in [
        (
            ["tool", "--breakdown"],
            "cclake: --breakdown works only in daily, weekly, monthly, session, project: leave it out of tool\n",
        ),
        (
            ["model", "-b"],
            "--breakdown works only in daily, weekly, monthly, session, project: leave it out of model\n",
        ),
        (
            ["blocks", "-w=monday"],
            "--start-of-week works only in weekly: leave it out of blocks\n",
        ),
        (
            ["daily", "--active"],
            "--active works only in blocks: leave it out of daily\n",
        ),
    ] {
        check(&scene, &args, sentence);
    }
    check(
        &scene,
        &["--html", "no/such/folder/x.html"],
        "cannot write no/such/folder/x.html: give another file with --html",
    );
    let empty = Scene::new();
    check(
        &empty,
        &["daily"],
        "there is no warehouse at data/analytics.db yet: run `cclake run` first\n",
    );
    empty.run(&["run"]);
    check(
        &empty,
        &["daily"],
        "there are no messages in data/analytics.db yet: run `cclake run` first\n",
    );
}
