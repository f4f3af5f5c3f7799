//! The numbers are right: against independent counts of the real transcripts, and against what the demo data is known
//! to hold.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Scene, samples};

/// What gold says, in the words of the samples' manifest: it counts assistant lines alone, without the responses and
/// calls that live only in a sub-agent's progress records.
const IN_TRANSCRIPTS: &str = "
with responses as (
    select * from fct_messages where role = 'assistant' and seen_in = 'transcript'
), calls as (
    select * from fct_tool_calls where seen_in = 'transcript'
), changes as (
    select o.* from fct_file_operations o join calls on o.tool_call_key = calls.tool_call_id
)
select (select count(*) from responses) as api_messages,
       (select coalesce(sum(input_tokens), 0) from responses)::bigint as input_tokens,
       (select coalesce(sum(output_tokens), 0) from responses)::bigint as output_tokens,
       (select coalesce(sum(cache_write_5m_tokens + cache_write_1h_tokens), 0) from responses)::bigint as cache_creation_input_tokens,
       (select coalesce(sum(cache_read_tokens), 0) from responses)::bigint as cache_read_input_tokens,
       (select count(*) from calls) as tool_calls,
       (select count(*) from calls where is_success is false or is_rejected) as tool_errors,
       (select count(*) from calls where is_success is null and not is_rejected) as tool_uses_without_result,
       (select coalesce(sum(lines_added), 0) from changes)::bigint as lines_added,
       (select coalesce(sum(lines_removed), 0) from changes)::bigint as lines_removed,
       (select count(*) from fct_messages where role = 'human') as human_prompts";

const CALLS_BY_NAME: &str =
    "select tool_name, count(*) as calls from fct_tool_calls where seen_in = 'transcript' group by all";

/// The same figures from a row of the manifest.
fn expected(row: &Value) -> Value {
    let expected = &row["expected"];
    let mut figures = expected["tokens_dedup_by_message_id"]
        .as_object()
        .unwrap()
        .clone();
    for name in [
        "api_messages",
        "tool_calls",
        "tool_errors",
        "tool_uses_without_result",
        "lines_added",
        "lines_removed",
        "human_prompts",
    ] {
        figures.insert(name.to_owned(), expected[name].clone());
    }
    Value::Object(figures)
}

fn manifest(samples: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(samples.join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Where gold differs from the manifest on purpose: file, figure, what gold says, why gold is right.
const EXPLAINED: &[(&str, &str, i64, &str)] = &[
    (
        "1b3e6441-62e3-4b41-8a0c-9d252f531f7a.jsonl",
        "human_prompts",
        1,
        "the prompt's first block is an <ide_opened_file> note, its second what the person typed; the manifest looks at the first alone",
    ),
    ("the whole tree", "human_prompts", 407, "the same prompt"),
];

fn explained(file: &str, figure: &str, actual: &Value) -> bool {
    EXPLAINED
        .iter()
        .any(|(name, of, value, _)| file.ends_with(name) && *of == figure && actual.as_i64() == Some(*value))
}

fn differences(file: &str, expected: &Value, actual: &Value) -> Vec<String> {
    let expected = expected.as_object().unwrap();
    expected
        .iter()
        .filter(|(figure, value)| {
            actual[figure.as_str()] != **value && !explained(file, figure, &actual[figure.as_str()])
        })
        .map(|(figure, value)| {
            format!(
                "{file}: {figure} should be {value}, gold says {}",
                actual[figure.as_str()]
            )
        })
        .collect()
}

#[test]
fn every_real_transcript_alone_adds_up() {
    let Some(samples) = samples() else { return };
    let mut wrong = Vec::new();
    for row in manifest(&samples) {
        let file = row["file"].as_str().unwrap();
        let scene = Scene::reading(&samples.join("claude-projects").join(file));
        let report = scene.json(&["run"]);
        assert_eq!(report["ingest"]["lines"]["read"], row["lines"], "{file}");
        wrong.extend(differences(
            file,
            &expected(&row),
            &scene.query(IN_TRANSCRIPTS)[0],
        ));
        let by_name: BTreeMap<_, _> = scene
            .query(CALLS_BY_NAME)
            .iter()
            .map(|row| {
                (
                    row["tool_name"].as_str().unwrap().to_owned(),
                    row["calls"].clone(),
                )
            })
            .collect();
        if json!(by_name) != row["expected"]["tool_calls_by_name"] {
            wrong.push(format!(
                "{file}: calls {by_name:?} should be {}",
                row["expected"]["tool_calls_by_name"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_whole_real_tree_adds_up() {
    let Some(samples) = samples() else { return };
    let scene = Scene::reading(&samples.join("claude-projects"));
    scene.run(&["run"]);
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for row in manifest(&samples) {
        for (figure, value) in expected(&row).as_object().unwrap() {
            *sums.entry(figure.clone()).or_default() += value.as_i64().unwrap();
        }
    }
    let wrong = differences("the whole tree", &json!(sums), &scene.query(IN_TRANSCRIPTS)[0]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        scene.number("select count(*) from fct_messages where role = 'assistant' and seen_in = 'progress'"),
        409,
        "responses that live only in progress records"
    );
    tokens_by_day_and_model_equal_ccusage(&samples, &scene);
}

fn tokens_by_day_and_model_equal_ccusage(samples: &Path, scene: &Scene) {
    let text = std::fs::read_to_string(samples.join("ccusage-dev-daily.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let mut expected = Vec::new();
    for day in report["daily"].as_array().unwrap() {
        for model in day["modelBreakdowns"].as_array().unwrap() {
            expected.push(format!(
                "{}|{}|{}|{}|{}|{}",
                day["date"].as_str().unwrap(),
                model["modelName"].as_str().unwrap(),
                model["inputTokens"],
                model["outputTokens"],
                model["cacheCreationTokens"],
                model["cacheReadTokens"]
            ));
        }
    }
    expected.sort();
    let actual = scene.lines(
        "select d.date::varchar as day, m.model, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
                sum(cache_write_5m_tokens + cache_write_1h_tokens)::bigint, sum(cache_read_tokens)::bigint
         from fct_messages m join dim_date d using (date_key) where m.role = 'assistant'
         group by all having sum(token_count) > 0 order by 1, 2",
    );
    assert_eq!(actual, expected);
}

/// What gold says, in the words of the demo data's `truth.json`.
const ALL: &str = "
select (select count(*) from raw.conversations) as records,
       (select count(*) from dim_sessions) as sessions,
       (select count(*) from fct_messages where role = 'human') as human_prompts,
       (select count(*) from fct_messages where role = 'assistant') as responses,
       (select count(*) from fct_messages where role = 'assistant' and seen_in = 'progress') as responses_progress_only,
       (select count(*) from fct_tool_calls) as tool_calls,
       (select count(*) from fct_tool_calls where is_sidechain) as tool_calls_sub_agents,
       (select count(*) from fct_tool_calls where seen_in = 'progress') as tool_calls_progress_only,
       (select count(*) from fct_tool_calls where is_success is false) as tool_errors,
       (select count(*) from fct_tool_calls where is_success is false and seen_in = 'progress') as tool_errors_progress_only,
       (select count(*) from fct_tool_calls where is_rejected) as rejections,
       (select count(*) from fct_tool_calls where is_success is null and not is_rejected) as unanswered,
       (select coalesce(sum(lines_added), 0) from fct_file_operations)::bigint as lines_added,
       (select coalesce(sum(lines_removed), 0) from fct_file_operations)::bigint as lines_removed";

const DEMO_CALLS: &str = "select tool_name, count(*) as calls from fct_tool_calls group by all";

const DEMO_TOKENS: &str = "
select d.date::varchar as day, m.model, sum(input_tokens)::bigint as input, sum(output_tokens)::bigint as output,
       sum(cache_write_5m_tokens)::bigint as cache_write_5m, sum(cache_write_1h_tokens)::bigint as cache_write_1h,
       sum(cache_read_tokens)::bigint as cache_read
from fct_messages m join dim_date d using (date_key) where m.role = 'assistant' group by all";

/// Demo data for a seed, run, and compared with its truth.
fn check_demo(seed: u32, sessions: u32) {
    let scene = Scene::new();
    let out = scene.path("demo");
    let (seed_text, sessions) = (seed.to_string(), sessions.to_string());
    scene.run(&[
        "demo",
        "--out",
        out.to_str().unwrap(),
        "--seed",
        &seed_text,
        "--sessions",
        &sessions,
    ]);
    let truth: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("truth.json")).unwrap()).unwrap();
    let projects = out.join("projects");
    let report = scene.json(&["run", "--path", projects.to_str().unwrap()]);
    let lines = &report["ingest"]["lines"];
    for (figure, in_truth) in [
        ("read", "lines"),
        ("dead_lettered", "dead_letters"),
        ("pending", "pending"),
    ] {
        assert_eq!(lines[figure], truth[in_truth], "seed {seed}: {figure}");
    }
    let mut wrong = Vec::new();
    let figures = &scene.query(ALL)[0];
    for (figure, value) in figures.as_object().unwrap() {
        let diffed = &truth[format!("{figure}_without_patch")];
        let expected = truth[figure.as_str()].as_i64().unwrap() + diffed.as_i64().unwrap_or(0);
        if value.as_i64() != Some(expected) {
            wrong.push(format!(
                "seed {seed}: {figure} should be {expected}, gold says {value}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut calls = serde_json::Map::new();
    for row in scene.query(DEMO_CALLS) {
        calls.insert(
            row["tool_name"].as_str().unwrap().to_owned(),
            row["calls"].clone(),
        );
    }
    assert_eq!(Value::Object(calls), truth["tool_calls_by_name"], "seed {seed}");
    let mut tokens = serde_json::Map::new();
    for mut row in scene.query(DEMO_TOKENS) {
        let row = row.as_object_mut().unwrap();
        let day = row.remove("day").unwrap();
        let model = row.remove("model").unwrap();
        let days = tokens.entry(day.as_str().unwrap()).or_insert_with(|| json!({}));
        days[model.as_str().unwrap()] = Value::Object(row.clone());
    }
    assert_eq!(Value::Object(tokens), truth["tokens_by_day"], "seed {seed}");
}

#[test]
fn demo_data_equals_its_truth() {
    check_demo(1, 120);
}

#[test]
fn demo_data_of_any_seed_equals_its_truth() {
    for seed in [2, 3, 5, 8, 13, 2_147_483_647] {
        check_demo(seed, 60);
    }
}
