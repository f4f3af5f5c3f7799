//! Every metric of docs/metrics.md against rows computed by hand.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::Scene;
use crate::talk::Talk;

const OPUS: &str = "claude-opus-4-6";
const HAIKU: &str = "claude-haiku-4-5-20251001";
/// A Monday.
const DAY: &str = "2026-03-02";

/// Two sessions of one morning. In the shop: a bug is fixed (a test fails, an edit, the test again), then a file is written
/// and a command refused. In the blog: one question, a sub-agent, and the user stops it.
fn morning(day: &str) -> (Scene, String) {
    let small = [1, 1, 0, 0, 0];
    let shop = Talk::new("s1", "/home/ada/shop", day)
        .prompt("09:00:00", "please fix the bug")
        .call("09:00:10", "m1", OPUS, [100, 50, 1000, 0, 10_000], bash("t1", "npm test"))
        .result("09:00:20", "t1", "Exit code 1", true, Value::Null)
        .call("09:00:30", "m2", OPUS, [10, 20, 0, 500, 2000], ("t2", "Edit", json!({"file_path": "/home/ada/shop/a.ts", "old_string": "1", "new_string": "2"})))
        .result("09:00:31", "t2", "edited", false, json!({"filePath": "/home/ada/shop/a.ts", "structuredPatch": [{"lines": ["-1", "+2", "+3", " 4"]}]}))
        .call("09:01:00", "m3", OPUS, small, bash("t3", "npm test"))
        .result("09:01:04", "t3", "ok", false, Value::Null)
        .response("09:02:00", "m4", OPUS, small)
        .on_branch("docs")
        .prompt("09:30:00", "now write it down")
        .call("09:30:05", "m5", OPUS, small, ("t4", "Write", json!({"file_path": "/home/ada/shop/README.md", "content": "a\nb\nc\n"})))
        .result("09:30:07", "t4", "created", false, json!({"type": "create", "content": "a\nb\nc\n", "structuredPatch": []}))
        .call("09:30:10", "m6", OPUS, small, bash("t5", "rm -rf build"))
        .result("09:30:11", "t5", "The user doesn't want to proceed with this tool use.", true, Value::Null)
        .response("10:00:00", "m7", OPUS, small);
    let blog = Talk::new("s2", "/home/ada/blog", day)
        .prompt("09:10:00", "what is this")
        .call(
            "09:10:05",
            "m8",
            HAIKU,
            [1000, 100, 0, 0, 0],
            ("t6", "Read", json!({"file_path": "/home/ada/blog/b.md"})),
        )
        .result("09:10:06", "t6", "text", false, Value::Null)
        .response("09:10:20", "m9", "mystery-1", [7, 7, 0, 0, 0])
        .prompt("09:10:40", "[Request interrupted by user]");
    let agent = Talk::new("s2", "/home/ada/blog", day).by_sub_agent().call(
        "09:10:10",
        "m10",
        HAIKU,
        [200, 10, 0, 0, 800],
        ("t7", "mcp__git-hub__list_issues", json!({})),
    );
    let scene = Scene::new();
    scene.write("shop/s1.jsonl", shop.text());
    scene.write("blog/s2.jsonl", blog.text());
    scene.write("blog/agent-1.jsonl", agent.text());
    let said = scene.run(&["run"]);
    (scene, said)
}

fn bash<'a>(id: &'a str, command: &str) -> (&'a str, &'a str, Value) {
    (
        id,
        "Bash",
        json!({"command": command, "description": format!("try {id}")}),
    )
}

fn check(scene: &Scene, sql: &str, expected: &[&str]) {
    assert_eq!(scene.lines(sql), expected, "{sql}");
}

#[test]
fn a_session_is_measured() {
    let (scene, _) = morning(DAY);
    check(
        &scene,
        "select session_id, project_name, duration_seconds, duration_minutes, human_messages, assistant_messages, total_messages, turns
         from agg_session_metrics order by 1",
        // From 09:00 to 10:00; from 09:10:00 to 09:10:40.
        &["s1|shop|3600|60.0|2|7|9|2", "s2|blog|40|0.6666666666666666|1|3|4|1"],
    );
    // 09:00 to 09:02, then pauses of 28 minutes and of 29:49 are cut to five minutes each, and 11 seconds between them.
    check(
        &scene,
        "select session_id, active_seconds, models, outcome, git_branch from dim_sessions order by 1",
        &[
            "s1|731|claude-opus-4-6 (7)|completed|docs",
            "s2|40|claude-haiku-4-5-20251001 (2), mystery-1 (1)|interrupted|main",
        ],
    );
    check(
        &scene,
        "select total_tool_calls, successful_tool_calls, tool_success_rate, files_modified, edits, lines_changed, edits_per_hour, token_count
         from agg_session_metrics order by session_id",
        // s1: three of four succeeded, the refused one left aside; 3 + 3 lines; tokens 11,150 + 2,530 + 5 x 2.
        &["5|3|75.0|2|2|6|2.0|13690", "2|1|100.0|0|0|0|0.0|2124"],
    );
}

#[test]
fn tools_are_measured() {
    let (scene, _) = morning(DAY);
    check(
        &scene,
        "select tool_name, tool_category, total_calls, answered_calls, successful_calls, failed_calls, rejected_calls, unanswered_calls
         from agg_tool_efficiency order by 1",
        &[
            "Bash|shell|3|2|1|1|1|0",
            "Edit|file_operations|1|1|1|0|0|0",
            "Read|file_operations|1|1|1|0|0|0",
            "Write|file_operations|1|1|1|0|0|0",
            "mcp__git-hub__list_issues|mcp|1|0|0|0|0|1",
        ],
    );
    check(
        &scene,
        "select success_rate, avg_duration_ms, p50_duration_ms, p95_duration_ms, retried_calls, round(retry_rate, 4), round(share_of_calls, 4)
         from agg_tool_efficiency where tool_name in ('Bash', 'mcp__git-hub__list_issues') order by tool_name",
        // 10, 4 and 1 seconds; 95 % of the way lies at 4 + 0.9 x 6. One of three calls is a retry; 3 of 7 calls are Bash.
        &["50.0|5000.0|4000.0|9400.0|1|33.3333|42.8571", "-|-|-|-|0|0.0|14.2857"],
    );
    check(
        &scene,
        "select mcp_server, mcp_tool from dim_tools where mcp_server is not null",
        &["git-hub|list_issues"],
    );
    check(
        &scene,
        "select tool_name, retry_count, turn_number, input_size, output_size from fct_tool_calls where tool_name in ('Bash', 'Write') order by timestamp",
        &[
            "Bash|0|1|45|11",
            "Bash|1|1|45|2",
            "Write|0|2|62|7",
            "Bash|0|2|49|52",
        ],
    );
}

#[test]
fn a_retry_is_the_same_tool_on_the_same_target_in_the_same_turn() {
    let small = [1, 1, 0, 0, 0];
    let edit = |id: &'static str, file: &str| {
        (
            id,
            "Edit",
            json!({"file_path": file, "old_string": id, "new_string": "y"}),
        )
    };
    let mut talk = Talk::new("s", "/home/ada/shop", DAY).prompt("09:00:00", "go");
    for (second, id, file, is_error) in [
        (1, "t1", "a", true),
        (2, "t2", "b", false), // another file
        (3, "t3", "a", true),  // once more
        (4, "t4", "a", false), // and again
        (5, "t5", "a", true),  // it had worked in between
    ] {
        talk = talk
            .call(&format!("09:00:0{second}"), id, OPUS, small, edit(id, file))
            .result(&format!("09:00:0{second}"), id, "said", is_error, Value::Null);
    }
    talk = talk
        .prompt("09:01:00", "again")
        .call("09:01:01", "t6", OPUS, small, edit("t6", "a"));
    let scene = Scene::new();
    scene.write("p/s.jsonl", talk.text());
    scene.run(&["run"]);
    check(
        &scene,
        "select turn_number, retry_count from fct_tool_calls order by timestamp",
        &["1|0", "1|0", "1|1", "1|2", "1|0", "2|0"],
    );
}

#[test]
fn code_changes_are_measured() {
    let (scene, _) = morning(DAY);
    check(
        &scene,
        "select date::varchar, project_name, file_path, file_extension, operations, edits, creations, sessions, lines_added, lines_removed, lines_changed
         from agg_code_changes join dim_projects using (project_key) order by file_path",
        &[
            "2026-03-02|shop|/home/ada/shop/README.md|md|1|0|1|1|3|0|3",
            "2026-03-02|shop|/home/ada/shop/a.ts|ts|1|1|0|1|2|1|3",
        ],
    );
}

#[test]
fn a_day_and_its_hours_are_measured() {
    let (scene, said) = morning(DAY);
    check(
        &scene,
        "select date::varchar, hour, day_of_week, active_sessions, human_messages, assistant_messages, total_tool_calls, token_count
         from agg_hourly_activity order by hour",
        &["2026-03-02|9|1|2|3|9|7|15812", "2026-03-02|10|1|1|0|1|0|2"],
    );
    // Prompts go shop, blog, shop. Both sessions had an end, one was completed.
    check(
        &scene,
        "select active_sessions, active_projects, active_hours, context_switches, sessions_started, sessions_completed, task_completion_rate
         from agg_daily_summary",
        &["2|2|2|2|2|1|50.0"],
    );
    // Answered calls: 4 of 5. Reads 12,800; input 110 + 5 + 1,000 + 200 + 7; writes 1,500.
    check(
        &scene,
        "select tool_success_rate, round(cache_hit_rate, 4), round(cache_hit_rate_of_all, 4) from agg_daily_summary",
        &["80.0|90.6387|81.9357"],
    );
    assert!(said.contains("warn  models_have_prices (1 rows)"), "{said}");
}

#[test]
fn costs_are_measured() {
    let (scene, _) = morning(DAY);
    // In millionths. m1: 500 + 1,250 + 6,250 + 5,000. m2: 50 + 500 + 5,000 + 1,000. m3 to m7: 30 each.
    // m8: 1,000 + 500. m10, the sub-agent's: 200 + 50 + 80. m9 has no price.
    check(
        &scene,
        "select session_id, cost_usd::varchar, unpriced_responses from agg_session_metrics order by 1",
        &["s1|0.019700000000|0", "s2|0.001830000000|1"],
    );
    // Saved: 10,000 x 4.5 - 1,000 x 1.25 and 2,000 x 4.5 - 500 x 5 and 800 x 0.9 millionths.
    check(
        &scene,
        "select cost_usd::varchar, sub_agent_cost_usd::varchar, cache_savings_usd::varchar, unpriced_responses from agg_daily_summary",
        &["0.021530000000|0.000330000000|0.050970000000|1"],
    );
    check(
        &scene,
        "select hour, cost_usd::varchar from agg_hourly_activity order by 1",
        &["9|0.021500000000", "10|0.000030000000"],
    );
    check(
        &scene,
        "select git_branch, sum(cost_usd)::varchar from fct_messages where git_branch is not null group by all order by 1",
        &["docs|0.000090000000", "main|0.021440000000"],
    );
}

#[test]
fn the_published_queries_run_as_they_stand_and_are_right() {
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let yesterday = today.yesterday().unwrap();
    let (scene, _) = morning(&yesterday.to_string());
    let long_ago = yesterday.checked_sub(jiff::Span::new().days(40)).unwrap();
    scene.write(
        "old/s3.jsonl",
        Talk::new("s3", "/home/ada/shop", &long_ago.to_string())
            .prompt("09:00:00", "hello")
            .text(),
    );
    scene.run(&["run"]);
    check(
        &scene,
        "SELECT d.date, COUNT(DISTINCT s.session_key) AS sessions, SUM(s.duration_minutes) AS total_minutes, SUM(s.total_messages) AS messages,
       ROUND(AVG(s.tool_success_rate), 2) AS avg_tool_success
FROM agg_session_metrics s JOIN dim_date d ON s.date_key = d.date_key
WHERE d.date >= CURRENT_DATE - INTERVAL '30 days' GROUP BY d.date ORDER BY d.date DESC;",
        &[&format!("{yesterday}|2|60.666666666666664|13|87.5")],
    );
    // A refused call was made, so it counts here: 1 of 3. Of those that were answered half succeeded.
    let calls = "SELECT t.tool_name, t.tool_category, COUNT(*) AS call_count, ROUND(AVG(tc.duration_ms), 2) AS avg_duration_ms,
       ROUND(SUM(CASE WHEN tc.is_success THEN 1 ELSE 0 END) * 100.0 / COUNT(*), 2) AS success_rate
FROM fct_tool_calls tc JOIN dim_tools t ON tc.tool_key = t.tool_key GROUP BY t.tool_name, t.tool_category ORDER BY call_count DESC LIMIT 20;";
    let rows = scene.lines(calls);
    assert_eq!(rows[0], "Bash|shell|3|5000.0|33.33");
    assert_eq!(rows.len(), 5);
    check(
        &scene,
        "select success_rate from agg_tool_efficiency where tool_name = 'Bash'",
        &["50.0"],
    );
    let weekday = |date: jiff::civil::Date| i64::from(date.weekday().to_monday_one_offset());
    let mut expected = [
        (weekday(yesterday), 9, 12),
        (weekday(yesterday), 10, 1),
        (weekday(long_ago), 9, 1),
    ];
    expected.sort_unstable();
    let expected: Vec<String> = expected
        .iter()
        .map(|(day, hour, count)| format!("{day}|{hour}|{count}"))
        .collect();
    check(
        &scene,
        "SELECT d.day_of_week, d.hour, COUNT(*) AS activity_count FROM fct_messages m JOIN dim_date d ON m.date_key = d.date_key
GROUP BY d.day_of_week, d.hour ORDER BY d.day_of_week, d.hour;",
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn every_query_of_the_metrics_page_runs() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md")).unwrap();
    let (scene, _) = morning(DAY);
    let queries: Vec<&str> = page
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(queries.len() > 10, "{} queries", queries.len());
    for query in queries {
        scene.query(query);
    }
}

#[test]
fn prompts_are_sorted_by_their_words_in_a_fixed_order() {
    let expected = [
        ("There is an ERROR in the new test", "bug_fix"),
        ("debug it", "other"),
        ("it crashed", "other"),
        ("create a readme", "feature"),
        ("renew it", "other"),
        ("clean up and verify", "refactor"),
        ("cleanup", "other"),
        ("run the test, then comment", "testing"),
        ("tests", "other"),
        ("validation of it", "testing"),
        ("verified?", "testing"),
        ("explain", "documentation"),
        ("docs", "other"),
        ("read me", "other"),
    ];
    let mut talk = Talk::new("s", "/home/ada/shop", DAY);
    for (second, (text, _)) in expected.iter().enumerate() {
        talk = talk.prompt(&format!("09:00:{second:02}"), text);
    }
    // A response has no category, whatever it says.
    let scene = Scene::new();
    scene.write(
        "p/s.jsonl",
        talk.response("09:01:00", "m", OPUS, [1, 1, 0, 0, 0]).text(),
    );
    scene.run(&["run"]);
    let rows = scene.lines("select task_category from fct_messages order by timestamp");
    for ((text, category), row) in expected.iter().zip(&rows) {
        assert_eq!(row, category, "{text}");
    }
    assert_eq!(rows.last().unwrap(), "-");
}

#[test]
fn dates_span_all_days_but_no_empty_years() {
    let scene = Scene::new();
    for (name, day) in [
        ("a", "2026-03-02"),
        ("b", "2026-03-05"),
        ("c", "1970-01-01"),
        ("d", "2099-12-31"),
    ] {
        scene.write(
            &format!("p/{name}.jsonl"),
            Talk::new(name, "/home/ada/shop", day)
                .prompt("09:00:00", "hi")
                .text(),
        );
    }
    scene.run(&["run"]);
    check(
        &scene,
        "select date::varchar, count(*) from dim_date group by all order by 1",
        &[
            "1970-01-01|24",
            "2026-03-02|24",
            "2026-03-03|24",
            "2026-03-04|24",
            "2026-03-05|24",
            "2099-12-31|24",
        ],
    );
    // Tables with a row a day have one only for days on which something happened.
    check(&scene, "select count(*) from agg_daily_summary", &["4"]);
}

#[test]
fn unknown_tools_are_reported() {
    let small = [1, 1, 0, 0, 0];
    let talk = Talk::new("s", "/home/ada/shop", DAY)
        .prompt("09:00:00", "go")
        .call(
            "09:00:01",
            "m1",
            OPUS,
            small,
            ("t1", "execute_command", json!({})),
        )
        .call("09:00:02", "m2", OPUS, small, ("t2", "Agent", json!({})))
        .call(
            "09:00:03",
            "m3",
            OPUS,
            small,
            ("t3", "mcp__plugin_a_b__do__it", json!({})),
        );
    let scene = Scene::new();
    scene.write("p/s.jsonl", talk.text());
    let said = scene.run(&["run"]);
    assert!(said.contains("warn  tools_are_known (1 rows)"), "{said}");
    check(
        &scene,
        "select tool_name, tool_category, mcp_server, mcp_tool from dim_tools order by 1",
        &[
            "Agent|agent|-|-",
            "execute_command|other|-|-",
            "mcp__plugin_a_b__do__it|mcp|plugin_a_b|do__it",
        ],
    );
}
