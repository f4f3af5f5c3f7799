//! Reports say of real transcripts what ccusage says of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Scene, samples};

/// Tokens, and the cost in billionths of a dollar: less than the price of one token.
fn figures(row: &Value, cost: &str) -> Vec<i64> {
    let tokens = [
        "inputTokens",
        "outputTokens",
        "cacheCreationTokens",
        "cacheReadTokens",
    ];
    let mut figures: Vec<_> = tokens.iter().map(|name| row[name].as_i64().unwrap()).collect();
    figures.push((row[cost].as_f64().unwrap() * 1e9).round() as i64);
    figures
}

/// Figures by day or month and by model.
fn by_model(report: &Value, list: &str, key: &str) -> BTreeMap<String, Vec<i64>> {
    let mut all = BTreeMap::from([("totals".to_owned(), figures(&report["totals"], "totalCost"))]);
    for row in report[list].as_array().unwrap() {
        all.insert(row[key].to_string(), figures(row, "totalCost"));
        for model in row["modelBreakdowns"].as_array().unwrap() {
            all.insert(
                format!("{} {}", row[key], model["modelName"]),
                figures(model, "cost"),
            );
        }
    }
    all
}

#[test]
fn real_transcripts_cost_what_ccusage_says() {
    let Some(samples) = samples() else { return };
    let scene = Scene::reading(&samples.join("claude-projects"));
    scene.run(&["run"]);
    let ccusage = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(samples.join(name)).unwrap()).unwrap()
    };
    let theirs = by_model(&ccusage("ccusage-dev-daily.json"), "daily", "date");
    assert_eq!(theirs.len(), 1 + 39 + 51);
    assert_eq!(
        by_model(&scene.json(&["report", "daily"]), "daily", "date"),
        theirs
    );

    // ccusage forgets by month what it knows by day: the responses that only a sub-agent's progress records hold.
    let in_transcripts = scene.query(
        "select strftime(timestamp, '%Y-%m') as month, sum(input_tokens)::bigint as \"inputTokens\", sum(output_tokens)::bigint as \"outputTokens\",
            sum(cache_write_5m_tokens + cache_write_1h_tokens)::bigint as \"cacheCreationTokens\", sum(cache_read_tokens)::bigint as \"cacheReadTokens\",
            sum(cost_usd)::double as \"totalCost\"
         from fct_messages where role = 'assistant' and seen_in = 'transcript' group by 1",
    );
    let theirs = by_model(&ccusage("ccusage-dev-monthly.json"), "monthly", "month");
    assert_eq!(in_transcripts.len(), 5);
    for row in in_transcripts {
        assert_eq!(
            figures(&row, "totalCost"),
            theirs[&row["month"].to_string()],
            "{row}"
        );
    }
    let totals = |kind: &str| figures(&scene.json(&["report", kind])["totals"], "totalCost");
    for kind in ["weekly", "monthly", "session", "project", "model", "blocks"] {
        assert_eq!(totals(kind), totals("daily"), "{kind}");
    }
}
