//! Reports as JSON, in ccusage's shapes and names, so that scripts made for it go on working.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Rows};
use super::blocks::Block;
use super::rows::{Group, Tool, Usage};
use super::{Kind, instant};

/// The document.
pub(crate) fn document(answer: &Answer) -> Value {
    let (name, rows, totals): (&str, Vec<Value>, Value) = match &answer.rows {
        Rows::Usage(report) => (
            answer.kind.plural(),
            report
                .groups
                .iter()
                .map(|group| usage_row(answer.kind, group))
                .collect(),
            Value::Object(sums(&report.total)),
        ),
        Rows::Tools(tools, total) => (
            "tools",
            tools.iter().map(tool_row).collect(),
            Value::Object(tool_figures(total)),
        ),
        Rows::Blocks(blocks, total) => (
            "blocks",
            blocks.iter().map(block_row).collect(),
            Value::Object(sums(total)),
        ),
    };
    let mut document = Map::new();
    document.insert(name.to_owned(), rows.into());
    document.insert("totals".to_owned(), totals);
    if !matches!(answer.rows, Rows::Tools(..)) {
        let pricing = json!({
            "basis": "API-price equivalent",
            "priceListDate": answer.price_list_date,
            "unpricedModels": answer.unpriced.iter().map(|(model, usage)| json!({
                "modelName": model, "responses": usage.unpriced, "totalTokens": usage.unpriced_tokens,
            })).collect::<Vec<_>>(),
        });
        document.insert("pricing".to_owned(), pricing);
    }
    document.insert("timezone".to_owned(), answer.zone.as_str().into());
    Value::Object(document)
}

fn tokens(usage: &Usage) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("inputTokens".to_owned(), usage.input.into());
    map.insert("outputTokens".to_owned(), usage.output.into());
    map.insert("cacheCreationTokens".to_owned(), usage.cache_write.into());
    map.insert("cacheReadTokens".to_owned(), usage.cache_read.into());
    map
}

fn sums(usage: &Usage) -> Map<String, Value> {
    let mut map = tokens(usage);
    map.insert("totalTokens".to_owned(), usage.tokens().into());
    map.insert("totalCost".to_owned(), cost(usage));
    map
}

/// `null` where nothing has a price.
fn cost(usage: &Usage) -> Value {
    match usage.cost {
        None if usage.responses > 0 => Value::Null,
        cost => cost.unwrap_or(0.0).into(),
    }
}

fn usage_row(kind: Kind, group: &Group) -> Value {
    let mut map = Map::new();
    map.insert(kind.id_name().to_owned(), group.id.as_str().into());
    if kind == Kind::Session {
        map.insert("title".to_owned(), some(&group.title));
    }
    if kind == Kind::Session {
        map.insert("projectPath".to_owned(), group.project_path.as_str().into());
    }
    if matches!(kind, Kind::Session | Kind::Project) {
        map.insert("projectName".to_owned(), group.project_name.as_str().into());
        map.insert(
            "firstActivity".to_owned(),
            group.usage.span.map(|(first, _)| instant(first)).into(),
        );
        map.insert(
            "lastActivity".to_owned(),
            group.usage.span.map(|(_, last)| instant(last)).into(),
        );
    }
    if kind != Kind::Session {
        map.insert("sessions".to_owned(), group.usage.sessions.into());
    }
    map.insert("responses".to_owned(), group.usage.responses.into());
    map.extend(sums(&group.usage));
    if kind != Kind::Model {
        let mut names: Vec<_> = group.models.iter().map(|(model, _)| model.as_str()).collect();
        names.sort_unstable();
        map.insert("modelsUsed".to_owned(), names.into());
        map.insert(
            "modelBreakdowns".to_owned(),
            group.models.iter().map(breakdown).collect(),
        );
    }
    Value::Object(map)
}

fn breakdown((model, usage): &(String, Usage)) -> Value {
    let mut map = Map::new();
    map.insert("modelName".to_owned(), model.as_str().into());
    map.extend(tokens(usage));
    map.insert("cost".to_owned(), cost(usage));
    Value::Object(map)
}

fn tool_row(tool: &Tool) -> Value {
    let mut map = Map::new();
    map.insert("toolName".to_owned(), tool.name.as_str().into());
    map.insert("toolCategory".to_owned(), tool.category.as_str().into());
    map.extend(tool_figures(tool));
    Value::Object(map)
}

fn tool_figures(tool: &Tool) -> Map<String, Value> {
    let [mean, median, slow] = tool.milliseconds;
    let figures = json!({
        "calls": tool.calls, "answeredCalls": tool.answered, "failedCalls": tool.failed, "rejectedCalls": tool.rejected,
        "unansweredCalls": tool.unanswered, "failureRate": tool.failure_rate(), "sessions": tool.sessions,
        "avgDurationMs": mean, "p50DurationMs": median, "p95DurationMs": slow,
    });
    match figures {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn block_row(block: &Block) -> Value {
    let usage = &block.usage;
    let gap = if block.is_gap { "gap-" } else { "" };
    let rate = block.active.and_then(|active| active.rate);
    let projection = block.active.zip(block.projection());
    json!({
        "id": format!("{gap}{}", instant(block.start)),
        "startTime": instant(block.start),
        "endTime": instant(block.end),
        "actualEndTime": usage.span.map(|(_, last)| instant(last)),
        "isActive": block.active.is_some(),
        "isGap": block.is_gap,
        "entries": usage.responses,
        "tokenCounts": {
            "inputTokens": usage.input, "outputTokens": usage.output,
            "cacheCreationInputTokens": usage.cache_write, "cacheReadInputTokens": usage.cache_read,
        },
        "totalTokens": usage.tokens(),
        "costUSD": cost(usage),
        "models": block.models.iter().map(|(model, _)| model.as_str()).collect::<Vec<_>>(),
        "burnRate": rate.map(|rate| json!({
            "tokensPerMinute": rate.tokens_per_minute, "tokensPerMinuteForIndicator": rate.fresh_tokens_per_minute,
            "costPerHour": rate.cost_per_hour,
        })),
        "projection": projection.map(|(active, (tokens, cost))| json!({
            "totalTokens": tokens, "totalCost": (cost * 100.0).round() / 100.0, "remainingMinutes": active.remaining_minutes,
        })),
    })
}

fn some(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}
