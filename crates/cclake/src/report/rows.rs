//! The executor: a question's SQL in, typed rows out.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use cclake_warehouse::Warehouse;

use super::sql::{self, Grouping, Scope};
use crate::labels::Labels;
use crate::summary::fetch;

/// What some responses add up to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_write: u64,
    pub(crate) cache_read: u64,
    /// At list prices; none when no response has a price.
    pub(crate) cost: Option<f64>,
    pub(crate) responses: u64,
    /// Responses without a price: of a model, or of a time for which none is known.
    pub(crate) unpriced: u64,
    pub(crate) unpriced_tokens: u64,
    pub(crate) sessions: u64,
    /// First and last instant, in milliseconds of the Unix epoch.
    pub(crate) span: Option<(i64, i64)>,
}

impl Usage {
    pub(crate) fn tokens(&self) -> u64 {
        self.input + self.output + self.cache_write + self.cache_read
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.output += other.output;
        self.cache_write += other.cache_write;
        self.cache_read += other.cache_read;
        self.responses += other.responses;
        self.unpriced += other.unpriced;
        self.unpriced_tokens += other.unpriced_tokens;
        self.cost = match (self.cost, other.cost) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
        self.span = match (self.span, other.span) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (one, two) => one.or(two),
        };
    }

    /// Reads what `sql::SUMS` selects.
    pub(crate) fn of(cells: &[String]) -> anyhow::Result<Self> {
        let [
            input,
            output,
            write,
            read,
            cost,
            responses,
            unpriced,
            unpriced_tokens,
            sessions,
            first,
            last,
        ] = cells
        else {
            bail!("a row of usage has {} sums", cells.len());
        };
        Ok(Self {
            input: number(input),
            output: number(output),
            cache_write: number(write),
            cache_read: number(read),
            cost: cost.parse().ok(),
            responses: number(responses),
            unpriced: number(unpriced),
            unpriced_tokens: number(unpriced_tokens),
            sessions: number(sessions),
            span: first.parse().ok().zip(last.parse().ok()),
        })
    }
}

/// One row of a usage report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// The day, week, month or model; the session's id; the project's path.
    pub(crate) id: String,
    /// A session's title, if it has one.
    pub(crate) title: String,
    /// Of a session or a project.
    pub(crate) project_path: String,
    /// Its last part.
    pub(crate) project_name: String,
    pub(crate) usage: Usage,
    /// The costliest first.
    pub(crate) models: Vec<(String, Usage)>,
}

/// What the projects of these rows are called beside each other.
pub(crate) fn labels(groups: &[Group]) -> Labels {
    Labels::new(
        groups
            .iter()
            .map(|group| (group.project_name.as_str(), group.project_path.as_str())),
    )
}

/// A usage report: its rows in no order, what each model and all of them add up to.
#[derive(Debug, Default)]
pub(crate) struct UsageReport {
    pub(crate) groups: Vec<Group>,
    pub(crate) models: Vec<(String, Usage)>,
    pub(crate) total: Usage,
}

/// One row of the tool report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) calls: u64,
    /// Neither rejected nor left without a result.
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
    pub(crate) unanswered: u64,
    /// Average, median and 95th percentile, in milliseconds.
    pub(crate) milliseconds: [Option<f64>; 3],
    pub(crate) sessions: u64,
}

impl Tool {
    /// Of the answered calls, in percent.
    pub(crate) fn failure_rate(&self) -> Option<f64> {
        percentage(self.failed, self.answered)
    }
}

/// A project as `--project` may name it.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) key: String,
    pub(crate) path: String,
    pub(crate) name: String,
}

/// Refuses a warehouse that has nothing to report.
pub(crate) fn check_ready(warehouse: &Warehouse, path: &std::path::Path) -> anyhow::Result<()> {
    let rows = fetch(warehouse, sql::READINESS)?;
    let row = rows.first().context("DuckDB does not list its columns")?;
    if number(&row[0]) == 0 {
        bail!(
            "nothing is built in {} yet: run `cclake run` first",
            path.display()
        );
    }
    if number(&row[1]) == 0 {
        bail!(
            "the tables in {} know no costs, so an older cclake or another dbt project built them: run `cclake run` first",
            path.display()
        );
    }
    let any = fetch(warehouse, "select 1 from marts.fct_messages limit 1")?;
    if any.is_empty() {
        bail!(
            "there are no messages in {} yet: run `cclake run` first",
            path.display()
        );
    }
    Ok(())
}

/// Whether DuckDB reckons in a zone too.
pub(crate) fn knows_zone(warehouse: &Warehouse, name: &str) -> bool {
    fetch(warehouse, &sql::zone(name)).is_ok()
}

/// The day of the price list.
pub(crate) fn price_list_date(warehouse: &Warehouse) -> anyhow::Result<String> {
    let rows = fetch(warehouse, sql::PRICE_LIST_DATE)?;
    Ok(rows.first().map_or_else(String::new, |row| row[0].clone()))
}

/// Every project, the busiest first.
pub(crate) fn projects(warehouse: &Warehouse) -> anyhow::Result<Vec<Project>> {
    let rows = fetch(warehouse, sql::PROJECTS)?.into_iter();
    rows.map(|row| {
        let [key, path, name] = <[String; 3]>::try_from(row)
            .ok()
            .context("a project has three columns")?;
        Ok(Project { key, path, name })
    })
    .collect()
}

/// A usage report.
pub(crate) fn usage(warehouse: &Warehouse, grouping: Grouping, scope: &Scope) -> anyhow::Result<UsageReport> {
    let mut report = UsageReport::default();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for row in fetch(warehouse, &sql::usage(grouping, scope))? {
        let [
            id,
            title,
            project_path,
            project_name,
            every_key,
            every_model,
            key,
            model,
            sums @ ..,
        ] = row.as_slice()
        else {
            bail!("a row of usage has {} columns", row.len());
        };
        let usage = Usage::of(sums)?;
        match (every_key.as_str(), every_model.as_str()) {
            ("1", "1") => report.total = usage,
            ("1", _) => report.models.push((model.clone(), usage)),
            (_, every_model) => {
                let group = groups.entry(key.clone()).or_insert_with(|| Group {
                    id: if id.is_empty() { key.clone() } else { id.clone() },
                    title: title.clone(),
                    project_path: project_path.clone(),
                    project_name: project_name.clone(),
                    ..Group::default()
                });
                if every_model == "1" {
                    group.usage = usage;
                } else {
                    group.models.push((model.clone(), usage));
                }
            }
        }
    }
    report.groups = groups.into_values().collect();
    for group in &mut report.groups {
        sort_models(&mut group.models);
    }
    sort_models(&mut report.models);
    Ok(report)
}

/// The costliest first.
pub(crate) fn sort_models(models: &mut [(String, Usage)]) {
    models.sort_by(|(one, first), (two, second)| {
        weight(second)
            .partial_cmp(&weight(first))
            .unwrap_or(one.cmp(two))
            .then(one.cmp(two))
    });
}

/// By what the costly come before the cheap: cost, then tokens.
pub(crate) fn weight(usage: &Usage) -> (f64, u64) {
    (usage.cost.unwrap_or(0.0), usage.tokens())
}

/// The tool report: its rows in no order, and all of them together.
pub(crate) fn tools(warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<(Vec<Tool>, Tool)> {
    let mut tools = Vec::new();
    let mut total = Tool::default();
    for row in fetch(warehouse, &sql::tools(scope))? {
        let [every, name, category, counts @ ..] = row.as_slice() else {
            bail!("a row of tools has {} columns", row.len());
        };
        let [
            calls,
            answered,
            failed,
            rejected,
            unanswered,
            mean,
            median,
            slow,
            sessions,
        ] = counts
        else {
            bail!("a row of tools has {} figures", counts.len());
        };
        let tool = Tool {
            name: name.clone(),
            category: category.clone(),
            calls: number(calls),
            answered: number(answered),
            failed: number(failed),
            rejected: number(rejected),
            unanswered: number(unanswered),
            milliseconds: [mean, median, slow].map(|cell| cell.parse().ok()),
            sessions: number(sessions),
        };
        if every == "1" {
            total = tool;
        } else {
            tools.push(tool);
        }
    }
    Ok((tools, total))
}

/// Tokens per hour and model, for the blocks: the hour's start in milliseconds, the model, the sums.
pub(crate) fn hours(warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<Vec<(i64, String, Usage)>> {
    let rows = fetch(warehouse, &sql::hours(scope))?;
    rows.iter()
        .map(|row| {
            let [model, hour, sums @ ..] = row.as_slice() else {
                bail!("a row of hours has {} columns", row.len());
            };
            Ok((hour.parse()?, model.clone(), Usage::of(sums)?))
        })
        .collect()
}

/// A count; 0 where a sum over nothing is NULL.
pub(crate) fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// None of nothing.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn percentage(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}
