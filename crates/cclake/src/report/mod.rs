//! Reports: what the usage adds up to, as tables, as JSON in ccusage's shapes, or as a page.
//!
//! [`sql`] asks, [`rows`] fetches, [`mod@answer`] puts an answer together, [`json`], [`text`] and [`html`] show it.

mod answer;
mod blocks;
mod html;
mod json;
mod rows;
mod sql;
mod table;
mod text;

pub(crate) use answer::{answer, check_flags, scope};
pub(crate) use html::{Notes, page};
pub(crate) use json::document;
pub(crate) use rows::check_ready;
pub(crate) use text::render;

pub(crate) use crate::cli::ReportKind as Kind;
use clap::ValueEnum as _;

impl Kind {
    /// Those whose rows are made of several models.
    const WITH_MODELS: &[Self] = &[
        Self::Daily,
        Self::Weekly,
        Self::Monthly,
        Self::Session,
        Self::Project,
    ];

    /// As it is typed.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The list's name in ccusage's documents, or what it would be.
    fn plural(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Session => "sessions",
            Self::Project => "projects",
            Self::Model => "models",
            Self::Tool => "tools",
            Self::Blocks => "blocks",
        }
    }

    /// The name of a row's own key.
    fn id_name(self) -> &'static str {
        match self {
            Self::Daily => "date",
            Self::Weekly => "week",
            Self::Monthly => "month",
            Self::Session => "sessionId",
            Self::Project => "projectPath",
            Self::Model => "modelName",
            Self::Tool => "toolName",
            Self::Blocks => "id",
        }
    }
}

/// Milliseconds of the Unix epoch as ccusage and the transcripts write them.
fn instant(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).map_or_else(
        |_| String::new(),
        |instant| instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
    )
}

/// Without what all names share: `opus-4-5` of `claude-opus-4-5-20251101`.
fn short_model(model: &str) -> &str {
    let name = model.strip_prefix("claude-").unwrap_or(model);
    match name.rsplit_once('-') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_short_names() {
        let check = |model, expected| assert_eq!(short_model(model), expected);
        check("claude-opus-4-5-20251101", "opus-4-5");
        check("claude-opus-4-6", "opus-4-6");
        check("gpt-5", "gpt-5");
        check("claude-3-5-haiku-20241022", "3-5-haiku");
    }

    #[test]
    fn instants_have_milliseconds() {
        assert_eq!(instant(1_770_084_000_000), "2026-02-03T02:00:00.000Z");
        assert_eq!(instant(1_770_084_000_015), "2026-02-03T02:00:00.015Z");
    }
}
