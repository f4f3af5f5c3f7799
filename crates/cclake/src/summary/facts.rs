//! The figures of the summary, asked of gold.

use anyhow::Context as _;
use cclake_warehouse::Warehouse;
use serde::Serialize;

use crate::cells;

/// What gold holds.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// Sessions in all.
    pub sessions: u64,
    /// First and last local day with a message.
    pub first_day: String,
    /// See `first_day`.
    pub last_day: String,
    /// What people typed.
    pub prompts: u64,
    /// API responses, sub-agents' too.
    pub responses: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Calls that were answered with an error, of those answered and not rejected.
    pub tool_failures: u64,
    /// Percentage 0–100; none without an answered call.
    pub tool_failure_rate: Option<f64>,
    /// Calls a person refused.
    pub tool_rejections: u64,
    /// Most output first.
    pub tokens_by_model: Vec<ModelTokens>,
    /// Most messages first.
    pub top_projects: Vec<Project>,
    /// Most messages first.
    pub busiest_hours: Vec<Hour>,
}

/// Tokens of one model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelTokens {
    pub model: String,
    pub input: u64,
    pub output: u64,
    pub cache_write: u64,
    pub cache_read: u64,
}

/// One project.
#[derive(Debug, Serialize)]
pub(crate) struct Project {
    pub name: String,
    pub path: String,
    pub sessions: u64,
    pub messages: u64,
    pub tool_calls: u64,
}

/// One hour of the day.
#[derive(Debug, Serialize)]
pub(crate) struct Hour {
    pub hour: u64,
    pub messages: u64,
}

/// Without a timestamp a message belongs to no day, so that days alone do not add up to all.
const TOTALS: &str = "
select (select count(*) from marts.dim_sessions),
       coalesce(cast(first_day as varchar), ''), coalesce(cast(last_day as varchar), ''),
       prompts, responses, calls, failures,
       coalesce(cast(round(failures * 100.0 / nullif(answered, 0), 1) as varchar), ''),
       rejections
from (select min(date) as first_day, max(date) as last_day from marts.agg_daily_summary where total_messages > 0),
     (select count(*) filter (where role = 'human') as prompts, count(*) filter (where role = 'assistant') as responses
      from marts.fct_messages),
     (select count(*) as calls, count(*) filter (where not is_success) as failures, count(is_success) as answered,
             count(*) filter (where is_rejected) as rejections
      from marts.fct_tool_calls)";

const TOKENS_BY_MODEL: &str = "
select model, sum(input_tokens), sum(output_tokens), sum(cache_write_5m_tokens + cache_write_1h_tokens), sum(cache_read_tokens)
from marts.fct_messages where role = 'assistant' and model is not null
group by model order by 3 desc, 1";

const TOP_PROJECTS: &str = "
select p.project_name, p.project_path, p.total_sessions, p.total_messages, count(t.tool_call_id)
from marts.dim_projects p left join marts.fct_tool_calls t on t.project_key = p.project_key
group by all order by p.total_messages desc, p.project_name, p.project_path limit 5";

const BUSIEST_HOURS: &str = "
select hour, sum(human_messages + assistant_messages) from marts.agg_hourly_activity
group by hour having sum(human_messages + assistant_messages) > 0 order by 2 desc, 1 limit 3";

/// Asks gold. The tables are those of the embedded project; a project without them has no facts here.
pub(crate) fn gather(warehouse: &Warehouse) -> anyhow::Result<Facts> {
    let rows = fetch(warehouse, TOTALS)?;
    let totals = rows.first().context("the totals query gave no row")?;
    Ok(Facts {
        sessions: number(&totals[0]),
        first_day: totals[1].clone(),
        last_day: totals[2].clone(),
        prompts: number(&totals[3]),
        responses: number(&totals[4]),
        tool_calls: number(&totals[5]),
        tool_failures: number(&totals[6]),
        tool_failure_rate: totals[7].parse().ok(),
        tool_rejections: number(&totals[8]),
        tokens_by_model: list(warehouse, TOKENS_BY_MODEL, |row| ModelTokens {
            model: row[0].clone(),
            input: number(&row[1]),
            output: number(&row[2]),
            cache_write: number(&row[3]),
            cache_read: number(&row[4]),
        })?,
        top_projects: list(warehouse, TOP_PROJECTS, |row| Project {
            name: row[0].clone(),
            path: row[1].clone(),
            sessions: number(&row[2]),
            messages: number(&row[3]),
            tool_calls: number(&row[4]),
        })?,
        busiest_hours: list(warehouse, BUSIEST_HOURS, |row| Hour {
            hour: number(&row[0]),
            messages: number(&row[1]),
        })?,
    })
}

fn list<T>(warehouse: &Warehouse, sql: &str, read: impl Fn(&[String]) -> T) -> anyhow::Result<Vec<T>> {
    Ok(fetch(warehouse, sql)?.iter().map(|row| read(row)).collect())
}

/// The rows as text; what the queries above select reads well that way.
pub(crate) fn fetch(warehouse: &Warehouse, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for batch in &warehouse.query(sql)? {
        rows.extend(cells::rows(batch)?);
    }
    Ok(rows)
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
