//! From what a person asked to the rows of the answer, in their order.

use anyhow::{Context as _, bail};
use cclake_warehouse::Warehouse;
use jiff::tz::TimeZone;

use super::Kind;
use super::blocks::{self, Block};
use super::rows::{self, Project, Tool, Usage, UsageReport, weight};
use super::sql::{Grouping, Scope};
use crate::cli::{Order, ReportArgs};
use crate::settings::time_zone;

/// A report's rows, with what it takes to read them.
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    pub(crate) rows: Rows,
    /// Models without a price, with what they add up to.
    pub(crate) unpriced: Vec<(String, Usage)>,
    /// The day the price list was last checked; empty when there is none.
    pub(crate) price_list_date: String,
    /// The zone of every day and hour.
    pub(crate) zone: String,
    /// Its rules.
    pub(crate) rules: TimeZone,
    /// A row for each model below each row of a table.
    pub(crate) breakdown: bool,
    /// The day that weeks start on, by name.
    pub(crate) start_of_week: String,
}

/// The rows, and what they add up to.
pub(crate) enum Rows {
    /// Of responses.
    Usage(UsageReport),
    /// Of tool calls.
    Tools(Vec<Tool>, Tool),
    /// Of responses, in blocks of five hours.
    Blocks(Vec<Block>, Usage),
}

/// Refuses flags that change nothing about a report of this kind.
///
/// # Errors
/// Names the first such flag and where it works.
pub(crate) fn check_flags(args: &ReportArgs) -> anyhow::Result<()> {
    let flags: [(&str, bool, &[Kind]); 3] = [
        ("--breakdown", args.breakdown, Kind::WITH_MODELS),
        ("--start-of-week", args.start_of_week.is_some(), &[Kind::Weekly]),
        ("--active", args.active, &[Kind::Blocks]),
    ];
    let idle = flags
        .iter()
        .find(|(_, given, kinds)| *given && !kinds.contains(&args.kind));
    if let Some((flag, _, kinds)) = idle {
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        bail!(
            "{flag} works only in {}: leave it out of {}",
            kinds.join(", "),
            args.kind.name()
        );
    }
    Ok(())
}

/// What the flags say about the part of the warehouse to report on.
///
/// # Errors
/// Names the zones, days or projects that make no sense.
pub(crate) fn scope(warehouse: &Warehouse, args: &ReportArgs, zone: &str) -> anyhow::Result<Scope> {
    let zone = args.timezone.as_deref().unwrap_or(zone);
    // The setting's zone was good enough to open the warehouse with.
    let is_known = args.timezone.is_none() || rows::knows_zone(warehouse, zone);
    let rules = time_zone(zone).filter(|_| is_known).with_context(|| {
        format!("--timezone: there is no zone {zone:?}; give an IANA name such as Europe/Berlin or UTC")
    })?;
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since > until
    {
        bail!("--since {since} is later than --until {until}: swap them");
    }
    Ok(Scope {
        zone: zone.to_owned(),
        rules,
        since: args.since,
        until: args.until,
        project_keys: project_keys(warehouse, &args.projects)?,
    })
}

fn project_keys(warehouse: &Warehouse, wanted: &[String]) -> anyhow::Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let projects = rows::projects(warehouse)?;
    let mut keys = Vec::new();
    for name in wanted {
        let found: Vec<_> = projects
            .iter()
            .filter(|project| project.answers_to(name))
            .collect();
        if found.is_empty() {
            bail!(
                "--project: there is no project {name:?}; there are {}",
                listed(&projects)
            );
        }
        keys.extend(found.into_iter().map(|project| project.key.clone()));
    }
    Ok(keys)
}

impl Project {
    /// By name, by path, or by the folder in which Claude Code keeps its transcripts, which is what ccusage knows.
    fn answers_to(&self, name: &str) -> bool {
        let folder = || {
            self.path
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        };
        name == self.name || name.trim_end_matches('/') == self.path || name.chars().eq(folder())
    }
}

/// Every name; with its path where two share it.
fn listed(projects: &[Project]) -> String {
    const MOST: usize = 20;
    let shares_name =
        |project: &Project| projects.iter().filter(|other| other.name == project.name).count() > 1;
    let mut names: Vec<_> = projects
        .iter()
        .take(MOST)
        .map(|project| {
            if shares_name(project) {
                project.path.as_str()
            } else {
                project.name.as_str()
            }
        })
        .map(|name| name.escape_debug().to_string())
        .collect();
    if projects.len() > MOST {
        names.push(format!("{} more", projects.len() - MOST));
    }
    names.join(", ")
}

/// Asks the warehouse. `now` decides which block is running.
pub(crate) fn answer(
    warehouse: &Warehouse,
    args: &ReportArgs,
    scope: &Scope,
    now: i64,
) -> anyhow::Result<Answer> {
    let mut rows = match grouping(args) {
        Some(grouping) => Rows::Usage(rows::usage(warehouse, grouping, scope)?),
        None if args.kind == Kind::Tool => {
            let (tools, total) = rows::tools(warehouse, scope)?;
            Rows::Tools(tools, total)
        }
        None => running_blocks(warehouse, args, scope, now)?,
    };
    sort(&mut rows, args);
    Ok(Answer {
        kind: args.kind,
        unpriced: unpriced(&rows),
        rows,
        price_list_date: rows::price_list_date(warehouse)?,
        zone: scope.zone.clone(),
        rules: scope.rules.clone(),
        breakdown: args.breakdown,
        start_of_week: format!("{:?}", args.start_of_week.unwrap_or_default()),
    })
}

fn grouping(args: &ReportArgs) -> Option<Grouping> {
    match args.kind {
        Kind::Daily => Some(Grouping::Day),
        Kind::Weekly => Some(Grouping::Week(args.start_of_week.unwrap_or_default() as i8 + 1)),
        Kind::Monthly => Some(Grouping::Month),
        Kind::Session => Some(Grouping::Session),
        Kind::Project => Some(Grouping::Project),
        Kind::Model => Some(Grouping::Model),
        Kind::Tool | Kind::Blocks => None,
    }
}

/// Blocks are cut before days are: a block belongs to the day it starts on.
fn running_blocks(warehouse: &Warehouse, args: &ReportArgs, scope: &Scope, now: i64) -> anyhow::Result<Rows> {
    let all_days = Scope {
        since: None,
        until: None,
        ..scope.clone()
    };
    let hours = rows::hours(warehouse, &all_days)?;
    let mut blocks = blocks::cut(&hours, now);
    blocks.retain(|block| {
        let start = jiff::Timestamp::from_millisecond(block.start);
        let day = start.map(|start| scope.rules.to_datetime(start).date());
        let is_in = |day| {
            scope.since.is_none_or(|since| day >= since) && scope.until.is_none_or(|until| day <= until)
        };
        day.is_ok_and(is_in) && (!args.active || block.active.is_some())
    });
    let mut total = Usage::default();
    for block in &blocks {
        total.add(&block.usage);
    }
    Ok(Rows::Blocks(blocks, total))
}

fn sort(rows: &mut Rows, args: &ReportArgs) {
    let by_time = matches!(
        args.kind,
        Kind::Daily | Kind::Weekly | Kind::Monthly | Kind::Blocks
    );
    let order = args
        .order
        .unwrap_or(if by_time { Order::Asc } else { Order::Desc });
    match rows {
        Rows::Usage(report) if by_time => report.groups.sort_by(|one, two| one.id.cmp(&two.id)),
        Rows::Usage(report) => report.groups.sort_by(|one, two| {
            let by_weight = weight(&one.usage).partial_cmp(&weight(&two.usage));
            by_weight
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| two.id.cmp(&one.id))
        }),
        Rows::Tools(tools, _) => {
            tools.sort_by(|one, two| one.calls.cmp(&two.calls).then_with(|| two.name.cmp(&one.name)));
        }
        Rows::Blocks(..) => {}
    }
    if order == Order::Desc {
        match rows {
            Rows::Usage(report) => report.groups.reverse(),
            Rows::Tools(tools, _) => tools.reverse(),
            Rows::Blocks(blocks, _) => blocks.reverse(),
        }
    }
}

fn unpriced(rows: &Rows) -> Vec<(String, Usage)> {
    let mut models: Vec<(String, Usage)> = match rows {
        Rows::Usage(report) => report.models.clone(),
        Rows::Tools(..) => Vec::new(),
        Rows::Blocks(blocks, _) => {
            let mut models = std::collections::BTreeMap::<String, Usage>::new();
            for (model, usage) in blocks.iter().flat_map(|block| &block.models) {
                models.entry(model.clone()).or_default().add(usage);
            }
            models.into_iter().collect()
        }
    };
    models.retain(|(_, usage)| usage.unpriced > 0);
    models
}
