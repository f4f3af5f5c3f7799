//! What to try next: three questions that run as they stand, and the line that keeps history.

use std::fmt::Write as _;
use std::path::Path;

use crate::settings::{Key, Origin, SETTINGS, Settings};

const QUESTIONS: [&str; 3] = [
    "select project_name, project_path, total_sessions, total_messages, last_active from dim_projects order by total_messages desc",
    "select t.tool_name, t.tool_category, count(*) as calls, count(*) filter (where not c.is_success) as failed from fct_tool_calls c join dim_tools t using (tool_key) group by all order by calls desc limit 20",
    "select date, human_messages, assistant_messages, token_count from agg_daily_summary order by date desc limit 30",
];

/// The lines of the page's last part.
pub(crate) fn next_steps(settings: &Settings) -> Vec<String> {
    let program = std::env::current_exe().map_or_else(|_| "cclake".to_owned(), |path| shown(&path));
    let program = quoted(&program);
    let place = place(settings);
    // The only variable that says where the rows are; the data directory is a flag.
    let variables = variables(settings, |key| key == Key::DuckdbPath);
    let mut lines: Vec<_> = QUESTIONS
        .iter()
        .map(|sql| format!("{variables}{program} query{place} \"{sql}\""))
        .collect();
    let command = format!(
        "{}{program} run --quiet{place}{}",
        self::variables(settings, |_| true),
        paths(settings)
    );
    lines.extend([
        String::new(),
        "Claude Code deletes its logs after 30 days. To keep them, every hour (crontab -e):".to_owned(),
        // To cron a bare percent sign is the end of the line, whatever quotes it stands in.
        format!("0 * * * * {}", command.replace('%', "\\%")),
    ]);
    lines
}

/// The flags that say which settings hold.
fn place(settings: &Settings) -> String {
    let mut flags = String::new();
    if let Some(file) = &settings.config_file {
        let _ = write!(flags, " --config {}", quoted(&shown(file)));
    }
    if let Some(folder) = given(settings, Key::DataDir) {
        let _ = write!(flags, " --data-dir {}", quoted(folder));
    }
    flags
}

fn paths(settings: &Settings) -> String {
    if given(settings, Key::Paths).is_none() {
        return String::new();
    }
    let flag = |path| format!(" --path {}", quoted(&shown(path)));
    settings.paths.iter().map(|path| flag(path)).collect()
}

/// `NAME=value ` for each of the wanted settings that have no flag and came from the environment.
fn variables(settings: &Settings, wanted: impl Fn(Key) -> bool) -> String {
    SETTINGS
        .iter()
        .filter(|setting| wanted(setting.key) && ![Key::DataDir, Key::Paths].contains(&setting.key))
        .filter_map(|setting| {
            let value = given(settings, setting.key)?;
            Some(format!("{}={} ", setting.env, quoted(value)))
        })
        .collect()
}

/// A value that this shell gave must be given again: cron has neither its environment nor its folder. What stands in a file
/// is found there again.
fn given(settings: &Settings, key: Key) -> Option<&str> {
    match settings.reported(key)? {
        (value, Origin::Environment(_) | Origin::Flag(_)) => Some(value),
        (_, Origin::Default | Origin::File(_)) => None,
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
