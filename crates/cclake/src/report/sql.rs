//! Every question of the reports, as SQL.
//!
//! Days and hours are computed from the instants, so that another zone than the warehouse's regroups everything.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Which part of the warehouse a report is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// IANA name of the zone whose days and hours count.
    pub(crate) zone: String,
    /// Its rules.
    pub(crate) rules: TimeZone,
    /// First local day.
    pub(crate) since: Option<Date>,
    /// Last local day.
    pub(crate) until: Option<Date>,
    /// Keys of the projects; all of them when there is none.
    pub(crate) project_keys: Vec<String>,
}

impl Scope {
    /// An instant as the clock of the zone shows it.
    fn local(&self, instant: &str) -> String {
        format!("({instant} at time zone {})", literal(&self.zone))
    }

    /// The condition on a table with these columns.
    fn condition(&self, table: &str) -> String {
        let mut parts = vec!["true".to_owned()];
        if let Some(day) = self.since {
            parts.push(format!("epoch_us({table}.timestamp) >= {}", self.start_of(day)));
        }
        // Nothing comes after the calendar's last day.
        if let Some(next) = self.until.and_then(|day| day.tomorrow().ok()) {
            parts.push(format!("epoch_us({table}.timestamp) < {}", self.start_of(next)));
        }
        if !self.project_keys.is_empty() {
            let keys: Vec<_> = self.project_keys.iter().map(|key| literal(key)).collect();
            parts.push(format!("{table}.project_key in ({})", keys.join(", ")));
        }
        parts.join(" and ")
    }

    /// A day's first instant in microseconds of the Unix epoch, by the rules that cut blocks too.
    fn start_of(&self, day: Date) -> i64 {
        let start = self.rules.to_timestamp(day.at(0, 0, 0, 0));
        // Only a day at the calendar's end has no instant.
        let start = start.unwrap_or(Timestamp::MAX);
        start.as_microsecond()
    }
}

/// What the rows of a usage report are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// Local days.
    Day,
    /// Weeks, named by their first day; the ISO number of the day they start on.
    Week(i8),
    /// Local months.
    Month,
    /// Sessions.
    Session,
    /// Projects.
    Project,
    /// Models.
    Model,
}

/// What a response adds to its group.
const SUMS: &str =
    "sum(input_tokens), sum(output_tokens), sum(cache_write_5m_tokens + cache_write_1h_tokens),
    sum(cache_read_tokens), sum(cost_usd), count(*), count(*) filter (where cost_usd is null),
    sum(token_count) filter (where cost_usd is null), count(distinct session_key), epoch_ms(min(timestamp)), epoch_ms(max(timestamp))";

/// Usage per group and model, per group, per model and in all: the first two columns say which of these a row is.
/// A session or a project comes with its id or path, name, and what else tells it from others.
pub(crate) fn usage(grouping: Grouping, scope: &Scope) -> String {
    let local = scope.local("timestamp");
    let key = match grouping {
        Grouping::Day => format!("cast(cast({local} as date) as varchar)"),
        Grouping::Week(start) => format!(
            "cast(cast({local} as date) - cast((isodow({local}) - {start} + 7) % 7 as integer) as varchar)"
        ),
        Grouping::Month => format!("strftime({local}, '%Y-%m')"),
        Grouping::Session => "session_key".to_owned(),
        Grouping::Project => "project_key".to_owned(),
        Grouping::Model => "coalesce(model, 'unknown')".to_owned(),
    };
    let (labels, joins) = match grouping {
        Grouping::Session => (
            "s.session_id, coalesce(s.title, ''), coalesce(p.project_path, ''), coalesce(p.project_name, '')",
            "left join marts.dim_sessions s on s.session_key = u.key left join marts.dim_projects p on p.project_key = s.project_key",
        ),
        Grouping::Project => (
            "p.project_path, '', p.project_path, p.project_name",
            "left join marts.dim_projects p on p.project_key = u.key",
        ),
        _ => ("u.key, '', '', ''", ""),
    };
    format!(
        "with responses as (
            select {key} as key, coalesce(model, 'unknown') as known_model, m.* from marts.fct_messages m
            where role = 'assistant' and {condition}
        ), u as (
            select grouping(key) as every_key, grouping(known_model) as every_model, coalesce(key, 'unknown') as key,
                known_model, {SUMS}
            from responses group by grouping sets ((key, known_model), (key), (known_model), ())
        )
        select {labels}, u.* from u {joins}",
        condition = scope.condition("m"),
    )
}

/// Tokens and cost per hour and model, for the blocks.
pub(crate) fn hours(scope: &Scope) -> String {
    format!(
        "select coalesce(model, 'unknown'), epoch_ms(timestamp) // 3600000 * 3600000 as hour, {SUMS}
         from marts.fct_messages m where role = 'assistant' and timestamp is not null and {} group by 1, 2 order by 2, 1",
        scope.condition("m")
    )
}

/// Calls per tool, and in all (where the first column is 1).
pub(crate) fn tools(scope: &Scope) -> String {
    format!(
        "select grouping(c.tool_name), c.tool_name, any_value(coalesce(t.tool_category, 'other')), count(*), count(c.is_success),
            count(*) filter (where not c.is_success), count(*) filter (where c.is_rejected),
            count(*) filter (where c.is_success is null and not coalesce(c.is_rejected, false)),
            avg(c.duration_ms), quantile_cont(c.duration_ms, 0.5), quantile_cont(c.duration_ms, 0.95), count(distinct c.session_key)
         from marts.fct_tool_calls c left join marts.dim_tools t on t.tool_key = c.tool_key
         where {} group by grouping sets ((c.tool_name), ())",
        scope.condition("c")
    )
}

/// Whether gold is there, and whether it knows costs.
pub(crate) const READINESS: &str = "
    select count(*) filter (where column_name = 'message_id'), count(*) filter (where column_name = 'cost_usd')
    from duckdb_columns() where database_name = 'analytics' and schema_name = 'marts' and table_name = 'fct_messages'";

/// The present in a zone; an error where DuckDB does not know it.
pub(crate) fn zone(name: &str) -> String {
    format!("select now() at time zone {}", literal(name))
}

/// Every project.
pub(crate) const PROJECTS: &str = "select project_key, project_path, project_name from marts.dim_projects order by total_messages desc, project_path";

/// The day on which the price list was last checked.
pub(crate) const PRICE_LIST_DATE: &str =
    "select coalesce(cast(max(checked_on) as varchar), '') from staging.model_prices";

/// The figures at the head of the page: sessions, prompts, money saved by the cache, cache hit rate, active days, the
/// first and the last of them.
pub(crate) fn headline(scope: &Scope) -> String {
    let day = format!("cast({} as date)", scope.local("timestamp"));
    format!(
        "select count(distinct session_key), count(*) filter (where role = 'human'), sum(cache_savings_usd),
            sum(cache_read_tokens) * 100.0
                / nullif(sum(cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens + input_tokens), 0),
            count(distinct {day}), cast(min({day}) as varchar), cast(max({day}) as varchar)
         from marts.fct_messages m where {}",
        scope.condition("m"),
    )
}

/// Per local day and model: tokens and cost.
pub(crate) fn days(scope: &Scope) -> String {
    format!(
        "select cast(cast({} as date) as varchar), coalesce(model, 'unknown'), sum(token_count), sum(cost_usd)
         from marts.fct_messages m where role = 'assistant' and timestamp is not null and {} group by 1, 2 order by 1, 2",
        scope.local("timestamp"),
        scope.condition("m")
    )
}

/// Messages per day of the week (1 is Monday) and hour.
pub(crate) fn heat(scope: &Scope) -> String {
    let local = scope.local("timestamp");
    format!(
        "select isodow({local}), hour({local}), count(*) from marts.fct_messages m
         where timestamp is not null and {} group by 1, 2",
        scope.condition("m")
    )
}

/// The files that changed most: path, project, changes, lines added and removed.
pub(crate) fn files(scope: &Scope, most: usize) -> String {
    format!(
        "select f.file_path, coalesce(p.project_path, ''), count(*), coalesce(sum(f.lines_added), 0), coalesce(sum(f.lines_removed), 0)
         from marts.fct_file_operations f join marts.fct_tool_calls c on c.tool_call_id = f.tool_call_key
            left join marts.dim_projects p on p.project_key = f.project_key
         where f.lines_changed > 0 and {} group by 1, 2 order by sum(f.lines_changed) desc, 1 limit {most}",
        scope.condition("c")
    )
}

/// Verdicts of the last tests; when they ran and the last build was.
pub(crate) const QUALITY: &str = "
    select count(*) filter (where verdict = 'pass'), count(*) filter (where verdict = 'warn'), count(*) filter (where verdict = 'fail'),
        coalesce((select epoch_ms(max(built_at)) from quality.builds), 0)
    from quality.test_results";

/// What did not pass, with the number of rows.
pub(crate) const FINDINGS: &str = "select name, verdict, failures from quality.test_results where verdict <> 'pass' order by verdict, failures desc, name";

/// A string literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
