//! All figures of the page.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use cclake_warehouse::Warehouse;
use jiff::civil::Date;

use crate::labels::Labels;
use crate::report::rows::{self, Group, Tool, Usage, number, weight};
use crate::report::sql::{self, Grouping, Scope};
use crate::summary::fetch;

/// Models with a colour of their own; the rest share one.
pub(super) const SHADES: usize = 4;

/// Rows of a list.
pub(super) const MOST_ROWS: usize = 10;

/// What the page shows.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) total: Usage,
    pub(super) price_list_date: String,
    pub(super) sessions: u64,
    pub(super) prompts: u64,
    /// By the cache, at list prices.
    pub(super) saved: Option<f64>,
    /// Of all input tokens, in percent.
    pub(super) cache_hit_rate: Option<f64>,
    pub(super) active_days: u64,
    pub(super) first: Option<Date>,
    pub(super) last: Option<Date>,
    /// The costliest first.
    pub(super) models: Vec<(String, Usage)>,
    /// Per shade: the tokens and cost of its models.
    pub(super) days: BTreeMap<Date, [Amount; SHADES + 1]>,
    /// Messages per day of the week, from Monday, and hour.
    pub(super) heat: [[u64; 24]; 7],
    /// The most called first.
    pub(super) tools: Vec<Tool>,
    pub(super) all_tools: Tool,
    /// The costliest first.
    pub(super) projects: Vec<Group>,
    /// What the projects are called.
    pub(super) labels: Labels,
    /// The costliest first.
    pub(super) top_sessions: Vec<Group>,
    pub(super) files: Vec<ChangedFile>,
    pub(super) quality: Quality,
}

/// Tokens, and what they would cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Amount {
    pub(super) tokens: f64,
    pub(super) cost: f64,
}

/// A file and its changes.
#[derive(Debug)]
pub(super) struct ChangedFile {
    pub(super) path: String,
    pub(super) project_path: String,
    pub(super) changes: u64,
    pub(super) added: u64,
    pub(super) removed: u64,
}

/// What the tests say of the data.
#[derive(Debug, Default)]
pub(super) struct Quality {
    pub(super) passed: u64,
    pub(super) warned: u64,
    pub(super) failed: u64,
    /// Of the last build, in milliseconds of the Unix epoch; 0 when there was none.
    pub(super) built_at: i64,
    /// Name, verdict and rows of what did not pass.
    pub(super) findings: Vec<(String, String, u64)>,
}

impl Figures {
    pub(super) fn gather(warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<Self> {
        let by_model = rows::usage(warehouse, Grouping::Model, scope)?;
        let projects = costliest(rows::usage(warehouse, Grouping::Project, scope)?.groups);
        let mut figures = Self {
            total: by_model.total,
            models: by_model.models,
            price_list_date: rows::price_list_date(warehouse)?,
            labels: rows::labels(&projects),
            projects,
            top_sessions: costliest(rows::usage(warehouse, Grouping::Session, scope)?.groups),
            files: files(warehouse, scope)?,
            heat: heat(warehouse, scope)?,
            quality: quality(warehouse)?,
            ..Self::default()
        };
        (figures.tools, figures.all_tools) = rows::tools(warehouse, scope)?;
        figures
            .tools
            .sort_by(|one, two| two.calls.cmp(&one.calls).then_with(|| one.name.cmp(&two.name)));
        figures.add_headline(warehouse, scope)?;
        figures.add_days(warehouse, scope)?;
        Ok(figures)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions == 0
    }

    /// Models without a price.
    pub(super) fn unpriced(&self) -> impl Iterator<Item = &(String, Usage)> {
        self.models.iter().filter(|(_, usage)| usage.unpriced > 0)
    }

    /// Days from the first to the last.
    pub(super) fn span_days(&self) -> u64 {
        let span = self
            .first
            .zip(self.last)
            .and_then(|(first, last)| first.until(last).ok());
        span.map_or(0, |span| u64::from(span.get_days().unsigned_abs()) + 1)
    }

    fn add_headline(&mut self, warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<()> {
        let rows = fetch(warehouse, &sql::headline(scope))?;
        let row = rows.first().context("the headline has no row")?;
        let [sessions, prompts, saved, hit_rate, active_days, first, last] = row.as_slice() else {
            bail!("the headline has {} figures", row.len());
        };
        self.sessions = number(sessions);
        self.prompts = number(prompts);
        self.saved = saved.parse().ok();
        self.cache_hit_rate = hit_rate.parse().ok();
        self.active_days = number(active_days);
        self.first = first.parse().ok();
        self.last = last.parse().ok();
        Ok(())
    }

    fn add_days(&mut self, warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<()> {
        for row in fetch(warehouse, &sql::days(scope))? {
            let [day, model, tokens, cost] = row.as_slice() else {
                bail!("a day has {} columns", row.len());
            };
            let rank = self.models.iter().position(|(name, _)| name == model);
            let shade = rank.unwrap_or(SHADES).min(SHADES);
            let amount = &mut self.days.entry(day.parse()?).or_default()[shade];
            amount.tokens += tokens.parse().unwrap_or(0.0);
            amount.cost += cost.parse().unwrap_or(0.0);
        }
        Ok(())
    }
}

fn costliest(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_by(|one, two| {
        let by_weight = weight(&two.usage).partial_cmp(&weight(&one.usage));
        by_weight
            .unwrap_or(std::cmp::Ordering::Equal)
            .then_with(|| one.id.cmp(&two.id))
    });
    groups
}

fn files(warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<Vec<ChangedFile>> {
    let rows = fetch(warehouse, &sql::files(scope, MOST_ROWS))?;
    rows.iter()
        .map(|row| {
            let [path, project_path, changes, added, removed] = row.as_slice() else {
                bail!("a changed file has {} columns", row.len());
            };
            Ok(ChangedFile {
                path: path.clone(),
                project_path: project_path.clone(),
                changes: number(changes),
                added: number(added),
                removed: number(removed),
            })
        })
        .collect()
}

fn heat(warehouse: &Warehouse, scope: &Scope) -> anyhow::Result<[[u64; 24]; 7]> {
    let mut heat = [[0; 24]; 7];
    for row in fetch(warehouse, &sql::heat(scope))? {
        let [day, hour, messages] = row.as_slice() else {
            bail!("an hour has {} columns", row.len());
        };
        let (day, hour): (usize, usize) = (day.parse()?, hour.parse()?);
        if let Some(cell) = heat
            .get_mut(day.wrapping_sub(1))
            .and_then(|hours| hours.get_mut(hour))
        {
            *cell = number(messages);
        }
    }
    Ok(heat)
}

fn quality(warehouse: &Warehouse) -> anyhow::Result<Quality> {
    let rows = fetch(warehouse, sql::QUALITY)?;
    let row = rows.first().context("the test results have no count")?;
    let findings = fetch(warehouse, sql::FINDINGS)?.into_iter();
    let findings = findings.map(|row| {
        let [name, verdict, failures] = <[String; 3]>::try_from(row)
            .ok()
            .context("a finding has three columns")?;
        Ok((name, verdict, number(&failures)))
    });
    Ok(Quality {
        passed: number(&row[0]),
        warned: number(&row[1]),
        failed: number(&row[2]),
        built_at: row[3].parse().unwrap_or(0),
        findings: findings.collect::<anyhow::Result<_>>()?,
    })
}
