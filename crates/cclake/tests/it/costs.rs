//! What tokens cost: equal to ccusage on real transcripts, and to what a person computes on small ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Ran, Scene, finish, samples};
use crate::talk::{Talk, Tokens};

const DAY: &str = "2026-02-03";

/// A scene after a run over one response of each model.
fn after_responses(responses: &[(&str, Tokens)]) -> (Scene, Ran) {
    let scene = Scene::new();
    let talk = responses.iter().enumerate().fold(
        Talk::new("s", "/home/ada/shop", DAY),
        |talk, (number, (model, tokens))| talk.response("10:00:00", &format!("msg_{number}"), model, *tokens),
    );
    scene.write("p/s.jsonl", talk.text());
    let ran = scene.try_run(&["run"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    (scene, ran)
}

fn costs(scene: &Scene) -> Vec<String> {
    scene.lines("select model, cost_usd::varchar, cache_savings_usd::varchar from fct_messages where role = 'assistant' order by message_id")
}

/// The cost, in USD, of one response on a day.
fn check(model: &str, tokens: Tokens, day: &str, cost: Option<&str>) {
    let scene = Scene::new();
    let talk = Talk::new("s", "/home/ada/shop", day).response("10:00:00", "msg", model, tokens);
    scene.write("p/s.jsonl", talk.text());
    scene.run(&["run"]);
    let row = &scene.query("select cost_usd::varchar as cost from fct_messages")[0];
    assert_eq!(row["cost"].as_str(), cost, "{model} {tokens:?} {day}");
}

#[test]
fn each_class_of_tokens_has_its_own_price() {
    // 1,000,000 of one class each, so that the cost is the price itself.
    let million = 1_000_000;
    for (class, cost) in ["5", "25", "6.25", "10", "0.5"].into_iter().enumerate() {
        let mut tokens = [0; 5];
        tokens[class] = million;
        let cost = format!("{:.12}", cost.parse::<f64>().unwrap());
        // By the long-context price this would be twice as much; it is gone since March 2026.
        check("claude-opus-4-6", tokens, "2026-04-01", Some(&cost));
    }
}

#[test]
fn a_price_holds_for_its_period_and_a_long_context_has_its_own() {
    // 150,001 read and 50,000 written are more than 200,000 tokens; output does not count, but costs more too:
    // 150,001 x 0.60 + 50,000 x 7.50 + 10 x 22.50 = 90,000.6 + 375,000 + 225 millionths.
    check(
        "claude-sonnet-4-5-20250929",
        [0, 10, 50_000, 0, 150_001],
        DAY,
        Some("0.465225600000"),
    );
    // One token less, and all of it has the plain price: 45,000 + 187,500 + 150 millionths.
    check(
        "claude-sonnet-4-5-20250929",
        [0, 10, 50_000, 0, 150_000],
        DAY,
        Some("0.232650000000"),
    );
    // Cache reads of Sonnet 5.5 became cheaper on 7 October 2026.
    check(
        "claude-sonnet-5-5",
        [0, 0, 0, 0, 100_000],
        "2026-10-06",
        Some("0.020000000000"),
    );
    check(
        "claude-sonnet-5-5",
        [0, 0, 0, 0, 100_000],
        "2026-10-07",
        Some("0.010000000000"),
    );
}

#[test]
fn a_model_is_priced_by_whatever_name_a_provider_gives_it() {
    let opus = "0.025000000000";
    for model in [
        "claude-opus-4-6",
        "claude-opus-4-6[1m]",
        "claude-opus-4-6-[1m]",
        "claude-opus-4-6@20260205",
        "us.anthropic.claude-opus-4-6-20260205-v1:0",
        "global.anthropic.claude-opus-4-6-v1",
        "anthropic/claude-opus-4.6",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1",
    ] {
        check(model, [0, 1000, 0, 0, 0], DAY, Some(opus));
    }
    check(
        "claude-opus-4-20250514",
        [0, 1000, 0, 0, 0],
        DAY,
        Some("0.075000000000"),
    );
    check(
        "claude-3-5-haiku-latest",
        [0, 1000, 0, 0, 0],
        DAY,
        Some("0.004000000000"),
    );
    for unknown in ["claude-opus-9", "claude-opus-4-6-fast", "gpt-5", "claude-opus"] {
        check(unknown, [0, 1000, 0, 0, 0], DAY, None);
    }
}

#[test]
fn an_unpriced_model_is_reported_and_never_guessed() {
    let (scene, ran) = after_responses(&[
        ("claude-haiku-4-5", [1000, 0, 0, 0, 0]),
        ("mystery-1", [7, 7, 0, 0, 0]),
    ]);
    assert!(
        ran.stdout.contains("warn  models_have_prices (1 rows)"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        scene.lines("select m.model, is_priced, cost_usd::varchar from dim_models m join fct_messages using (model_key) order by 1"),
        ["claude-haiku-4-5|true|0.001000000000", "mystery-1|false|-"]
    );
    assert_eq!(
        scene.lines("select cost_usd::varchar, unpriced_responses from agg_session_metrics"),
        ["0.001000000000|1"]
    );
    assert_eq!(
        scene.lines("select cost_usd::varchar, unpriced_responses from agg_daily_summary"),
        ["0.001000000000|1"]
    );
}

#[test]
fn messages_that_claude_code_made_up_cost_nothing() {
    let (scene, ran) = after_responses(&[
        ("<synthetic>", [9, 9, 9, 9, 9]),
        ("claude-haiku-4-5", [0, 1, 0, 0, 0]),
    ]);
    assert!(!ran.stdout.contains("models_have_prices"), "{}", ran.stdout);
    assert_eq!(
        scene.lines("select model, cost_usd::varchar from fct_messages"),
        ["claude-haiku-4-5|0.000005000000"]
    );
    assert_eq!(scene.lines("select model from dim_models"), ["claude-haiku-4-5"]);
}

#[test]
fn web_searches_cost_what_a_thousand_of_them_do() {
    let scene = Scene::new();
    let talk = Talk::new("s", "/home/ada/shop", DAY)
        .prompt("10:00:00", "look it up")
        .response("10:00:01", "msg", "claude-haiku-4-5", [100, 0, 0, 0, 0])
        .with_usage(
            "server_tool_use",
            json!({"web_search_requests": 3, "web_fetch_requests": 2}),
        );
    scene.write("p/s.jsonl", talk.text());
    scene.run(&["run"]);
    // 3 x 10 / 1,000 + 100 x 1 / 1,000,000; a prompt costs nothing.
    assert_eq!(
        scene.lines("select role, web_search_requests, cost_usd::varchar from fct_messages order by 1"),
        ["assistant|3|0.030100000000", "human|0|0.000000000000"]
    );
}

#[test]
fn own_prices_win_and_the_next_run_computes_every_cost_anew() {
    let (scene, _) = after_responses(&[
        ("claude-opus-4-6", [0, 1000, 0, 0, 0]),
        ("mystery-1", [1000, 0, 0, 0, 0]),
    ]);
    let header = include_str!("../../../../analytics/dbt/seeds/model_prices_override.csv");
    let own = scene.path("prices.csv");
    let with_prices = |rows: &str| {
        std::fs::write(&own, format!("{header}{rows}")).unwrap();
        let ran = finish(scene.command(&["run"]).env("CCLAKE_PRICES", &own));
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        costs(&scene)
    };
    let sorted = |mut costs: Vec<String>| {
        costs.sort();
        costs
    };
    assert_eq!(
        sorted(costs(&scene)),
        ["claude-opus-4-6|0.025000000000|0.000000000000", "mystery-1|-|-"]
    );
    // The first row holds up to the day itself only: then the list price holds again.
    let rows = "claude-opus-4-6,,2026-02-03,1,1,1,1,1,,,,,,,,contract,2026-01-01\n\
                mystery-%,,,2,4,,,,,,,,,,,contract,2026-01-01\n";
    assert_eq!(
        sorted(with_prices(rows)),
        [
            "claude-opus-4-6|0.025000000000|0.000000000000",
            "mystery-1|0.002000000000|0.000000000000"
        ]
    );
    assert_eq!(
        sorted(with_prices(&rows.replace("2026-02-03", "2026-02-04"))),
        [
            "claude-opus-4-6|0.001000000000|0.000000000000",
            "mystery-1|0.002000000000|0.000000000000"
        ]
    );
    assert_eq!(
        scene.lines("select model, is_priced, is_own_price from dim_models order by 1"),
        ["claude-opus-4-6|true|false", "mystery-1|true|true"]
    );
    scene.run(&["run"]);
    assert_eq!(
        sorted(costs(&scene)),
        ["claude-opus-4-6|0.025000000000|0.000000000000", "mystery-1|-|-"]
    );
    let flag = ["run", "--prices", "prices.csv"];
    scene.run(&flag);
    assert_eq!(
        sorted(costs(&scene))[1],
        "mystery-1|0.002000000000|0.000000000000"
    );
}

#[test]
fn a_report_says_how_much_of_a_model_has_no_price() {
    let scene = Scene::new();
    for (session, day) in [("before", "2026-02-03"), ("after", "2026-02-05")] {
        let talk = Talk::new(session, "/home/ada/shop", day);
        let talk = talk.response("10:00:00", session, "mystery-1", [1000, 200, 0, 0, 30]);
        scene.write(&format!("p/{session}.jsonl"), talk.text());
    }
    let header = include_str!("../../../../analytics/dbt/seeds/model_prices_override.csv");
    let row = "mystery-1,2026-02-04,,2,4,2,2,2,,,,,,,,contract,2026-01-01\n";
    std::fs::write(scene.path("prices.csv"), format!("{header}{row}")).unwrap();
    scene.run(&["run", "--prices", "prices.csv"]);
    for kind in ["daily", "model", "blocks"] {
        let report = scene.json(&["report", kind]);
        assert_eq!(
            report["pricing"]["unpricedModels"],
            json!([{"modelName": "mystery-1", "responses": 1, "totalTokens": 1230}]),
            "{kind}"
        );
        assert_eq!(report["totals"]["totalTokens"], 2460, "{kind}");
        let text = scene.run(&["report", kind]);
        let note = "* No price for mystery-1: 1 response, 1,230 tokens are in no cost.\n";
        assert!(text.ends_with(note), "{text}");
    }
}

#[test]
fn a_price_list_with_wrong_columns_is_one_clear_sentence() {
    let scene = Scene::new();
    std::fs::write(scene.path("prices.csv"), "model,input\nx,1\n").unwrap();
    let ran = scene.try_run(&["run", "--prices", "prices.csv"]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("prices.csv cannot be used")
            && ran.stderr.contains("unknown: model, input")
            && ran.stderr.lines().count() == 1,
        "{}",
        ran.stderr
    );
    let ran = scene.try_run(&["run", "--prices", "nowhere.csv"]);
    assert!(
        ran.status == 2 && ran.stderr.contains("nowhere.csv"),
        "{}",
        ran.stderr
    );
}

/// The fork repeats the original's first turn under its own session id and goes on. The original owns what both show:
/// the money was spent there, and a fork that is deleted or arrives later changes nothing of it. ccusage credits
/// whichever file it meets first.
#[test]
fn a_fork_owns_only_what_it_added_and_shows_what_it_would_have_counted_twice() {
    let model = "claude-opus-4-6";
    let original = Talk::new("original", "/home/ada/shop", DAY)
        .prompt("10:00:00", "fix it")
        .response("10:00:05", "msg_1", model, [100, 50, 1000, 0, 10_000]);
    let fork = original
        .forked("fork", "2026-02-05")
        .prompt("09:00:00", "and now that")
        .response("09:00:05", "msg_2", model, [0, 10, 0, 100, 0]);
    let original = original.response("10:10:00", "msg_3", model, [0, 1, 0, 0, 0]);
    for order in [["a", "b"], ["b", "a"]] {
        let scene = Scene::new();
        for name in order {
            let talk = if name == "a" { &original } else { &fork };
            scene.write(&format!("{name}/{name}.jsonl"), talk.text());
            scene.run(&["run"]);
        }
        // 500 + 1,250 + 6,250 + 5,000 = 13,000 and 25 millionths; 250 + 1,000 = 1,250 millionths.
        assert_eq!(
            scene.lines("select session_id, cost_usd::varchar from agg_session_metrics order by 1"),
            ["fork|0.001250000000", "original|0.013025000000"],
            "{order:?}"
        );
        assert_eq!(
            scene.lines(
                "select session_id, copied_responses, token_count, cost_usd::varchar from agg_copied_usage"
            ),
            ["fork|1|11150|0.013000000000"],
            "{order:?}"
        );
        assert_eq!(
            scene.lines("select date::varchar, cost_usd::varchar from agg_daily_summary order by 1"),
            ["2026-02-03|0.013025000000", "2026-02-05|0.001250000000"]
        );
    }
}

#[test]
fn costs_by_day_and_model_equal_those_of_ccusage() {
    let Some(samples) = samples() else {
        return;
    };
    let report = |name: &str| -> Value {
        let text = std::fs::read_to_string(samples.join(format!("ccusage-dev-{name}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let mut theirs: BTreeMap<String, f64> = BTreeMap::new();
    let daily = report("daily");
    for day in daily["daily"].as_array().unwrap() {
        for model in day["modelBreakdowns"].as_array().unwrap() {
            let key = format!(
                "{}|{}",
                day["date"].as_str().unwrap(),
                model["modelName"].as_str().unwrap()
            );
            *theirs.entry(key).or_default() += model["cost"].as_f64().unwrap();
        }
    }
    let scene = Scene::reading(&samples.join("claude-projects"));
    scene.run(&["run"]);
    // Figures, not rows of a report: a cent is 0.01, and these agree to a hundred thousandth of one.
    let ours = scene.query(
        "select d.date || '|' || model as key, sum(cost_usd)::double as cost from fct_messages join dim_date d using (date_key)
         where role = 'assistant' group by all having sum(token_count) > 0",
    );
    assert_eq!(ours.len(), theirs.len());
    for row in ours {
        let (key, cost) = (row["key"].as_str().unwrap(), row["cost"].as_f64().unwrap());
        assert!(
            (cost - theirs[key]).abs() < 1e-7,
            "{key}: {cost}, ccusage {}",
            theirs[key]
        );
    }
    assert_eq!(
        scene.lines("select sum(cost_usd)::varchar from fct_messages"),
        ["335.667490300000"]
    );
    let total = daily["totals"]["totalCost"].as_f64().unwrap();
    assert!((total - 335.667_490_3).abs() < 1e-7, "{total}");

    // Its monthly and session reports leave out what lives only in progress records.
    let monthly = report("monthly");
    let ours = scene.query(
        "select strftime(d.date, '%Y-%m') as month, sum(cost_usd)::double as cost from fct_messages join dim_date d using (date_key)
         where seen_in = 'transcript' group by all having sum(token_count) > 0",
    );
    let months = monthly["monthly"].as_array().unwrap();
    assert_eq!(ours.len(), months.len());
    for row in ours {
        let theirs = months
            .iter()
            .find(|month| month["month"] == row["month"])
            .unwrap();
        let (ours, theirs) = (
            row["cost"].as_f64().unwrap(),
            theirs["totalCost"].as_f64().unwrap(),
        );
        assert!(
            (ours - theirs).abs() < 1e-7,
            "{}: {ours}, ccusage {theirs}",
            row["month"]
        );
    }

    // A sub-agent's file is a session of its own there; here it belongs to the session that started it.
    let session = report("session");
    let (agents, sessions): (Vec<&Value>, Vec<&Value>) = session["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .partition(|session| session["sessionId"].as_str().unwrap().starts_with("agent-"));
    let ours: BTreeMap<String, f64> = scene
        .query("select session_id, sum(cost_usd)::double as cost from fct_messages where seen_in = 'transcript' group by all")
        .iter()
        .map(|row| (row["session_id"].as_str().unwrap().to_owned(), row["cost"].as_f64().unwrap()))
        .collect();
    let cost = |session: &Value| session["totalCost"].as_f64().unwrap();
    let more: Vec<f64> = sessions
        .iter()
        .map(|session| ours[session["sessionId"].as_str().unwrap()] - cost(session))
        .filter(|difference| difference.abs() > 1e-7)
        .collect();
    assert_eq!(more.len(), 1, "{more:?}");
    assert!(
        (more[0] - agents.into_iter().map(cost).sum::<f64>()).abs() < 1e-7,
        "{more:?}"
    );
}
