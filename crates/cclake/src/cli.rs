//! The command line: what a person can type. Values are resolved in [`crate::settings`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::civil::Date;

use crate::days;

/// Your Claude Code conversations as a lakehouse: from log lines to a tested star schema with one command.
///
/// Exit status: 0 done, 1 the data failed a check, 2 the command could not do its work.
#[derive(Debug, Parser)]
#[command(name = "cclake", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// Folder that holds the lake, the warehouse and the dead letters
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Read settings from this file instead of ./cclake.toml or ~/.config/cclake/cclake.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Price tokens by this CSV before the list prices
    #[arg(long, global = true, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more (`transform`: how long each model took and why it was built)
    #[arg(short, long, global = true, overrides_with = "verbose")]
    pub verbose: bool,
    /// Say nothing but errors, warnings and results that were asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Do everything once: extract, load, transform, test; then a summary
    Run(RunArgs),
    /// Read what is new at the source into the lake
    Extract(ExtractArgs),
    /// Bring what is new in Claude Code's files into a MongoDB collection
    Sync(SyncArgs),
    /// Load what is new in the lake into the warehouse
    Load,
    /// Build the models and their tests in one transaction
    Transform(TransformArgs),
    /// Run the tests on what is published
    Test(SelectArgs),
    /// Ask the warehouse a question in SQL (read-only)
    Query(QueryArgs),
    /// What your usage adds up to, by day, session, project, model or tool; or as a page to look at
    Report(ReportArgs),
    /// Look after the lake
    #[command(subcommand)]
    Lake(LakeCommand),
    /// Look at input that could not become rows, try it again, or drop it
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Documentation of the dbt project: every table, column, test and metric, with lineage
    #[command(subcommand)]
    Docs(DocsCommand),
    /// Write synthetic transcripts with all the quirks of real ones
    Demo(DemoArgs),
    /// Show every setting and where its value came from
    Config,
    /// Check that everything is in order, and say what to do where it is not
    Doctor(SourceArgs),
    /// Print a completion script for your shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SourceArgs {
    /// Folder with transcripts, or one transcript, instead of ~/.claude/projects (repeat for more)
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where conversations come from: `jsonl` (Claude Code's files) or `mongodb`
    #[arg(long, value_name = "KIND")]
    pub source: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ExtractArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Read the whole MongoDB collection again, wherever the last extract stood
    #[arg(long)]
    pub full_backfill: bool,
    /// Go on with every change of the MongoDB collection as it happens, until Ctrl-C
    #[arg(long, conflicts_with = "full_backfill")]
    pub follow: bool,
    /// With --follow, on a server that has no change streams: ask for what is new every so many seconds
    #[arg(long, value_name = "SECONDS", requires = "follow", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub poll: Option<u64>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SyncArgs {
    /// Folder with transcripts, or one transcript, instead of ~/.claude/projects (repeat for more)
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Go on until Ctrl-C: look for new lines each second, and wait for a server that is away
    #[arg(long)]
    pub watch: bool,
    /// Port on 127.0.0.1 that answers /health; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 9090, requires = "watch")]
    pub health_port: u16,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Rebuild every model from scratch
    #[arg(long)]
    pub full_refresh: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SelectArgs {
    /// Nodes to take: name, +name, name+, tag:…, path:… (repeat or separate by spaces; a comma intersects)
    #[arg(short, long, value_name = "SELECTOR", num_args = 1.., value_delimiter = ' ')]
    pub select: Vec<String>,
    /// Nodes to leave out
    #[arg(long, value_name = "SELECTOR", num_args = 1.., value_delimiter = ' ')]
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TransformArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Rebuild the selected models from scratch
    #[arg(long)]
    pub full_refresh: bool,
    /// Print the plan (which models would be built how, and why) and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave the tests out
    #[arg(long)]
    pub no_tests: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct QueryArgs {
    /// The SQL; `-` reads it from standard input
    pub sql: String,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// An array of objects
    Json,
    /// Comma-separated values with a header
    Csv,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// What the rows are
    #[arg(value_enum, default_value_t)]
    pub kind: ReportKind,
    /// Write one self-contained page with charts to this file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "order", "breakdown", "start_of_week", "active"])]
    pub html: Option<PathBuf>,
    /// First day, YYYY-MM-DD or YYYYMMDD
    #[arg(short, long, value_name = "DAY", value_parser = day)]
    pub since: Option<Date>,
    /// Last day, included
    #[arg(short, long, value_name = "DAY", value_parser = day)]
    pub until: Option<Date>,
    /// Only this project: its name or its path (repeat for more)
    #[arg(short, long = "project", value_name = "PROJECT", allow_hyphen_values = true)]
    pub projects: Vec<String>,
    /// IANA zone whose days count, instead of the setting `time_zone`
    #[arg(short = 'z', long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Which rows come first [default: the earliest, or what costs most]
    #[arg(short, long, value_enum)]
    pub order: Option<Order>,
    /// A row for each model below each row, in reports by time, session or project
    #[arg(short, long)]
    pub breakdown: bool,
    /// First day of the week in `weekly` [default: sunday]
    #[arg(short = 'w', long, value_enum)]
    pub start_of_week: Option<Weekday>,
    /// Only the block that is running, in `blocks`
    #[arg(short, long)]
    pub active: bool,
}

/// What the rows of a report are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportKind {
    /// Days
    #[default]
    Daily,
    /// Weeks
    Weekly,
    /// Months
    Monthly,
    /// Sessions
    Session,
    /// Projects
    Project,
    /// Models
    Model,
    /// Tools
    Tool,
    /// Billing blocks of five hours
    Blocks,
}

/// Which rows come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Early before late, little before much
    Asc,
    /// Late before early, much before little
    Desc,
}

/// Days of the week, in the order of their ISO numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    /// As ccusage has it
    #[default]
    Sunday,
}

/// `2026-02-03` or `20260203`.
fn day(text: &str) -> Result<Date, String> {
    let day = days::day(text, "%Y-%m-%d").or_else(|| days::day(text, "%Y%m%d"));
    day.ok_or_else(|| "give a day as YYYY-MM-DD or YYYYMMDD".to_owned())
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum LakeCommand {
    /// Merge small files, forget old snapshots and delete what nobody needs; your rows stay as they are
    Maintain(MaintainArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MaintainArgs {
    /// Print what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Keep older snapshots and unused files for so long: no one may take longer to read the lake or to write to it
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub min_age: u32,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the dead letters
    List,
    /// Show one dead letter with its bytes
    Show {
        /// Its id, or the first characters of it
        id: String,
    },
    /// Read the letters again; what is a row or, of `sync`, a document now goes where it belongs and leaves the queue
    Retry,
    /// Drop letters for good: their lines or documents are not queued again unless they change
    Purge(PurgeArgs),
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct PurgeArgs {
    /// Their ids, or the first characters of them
    #[arg(value_name = "ID", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Only letters that were queued at least so many days ago
    #[arg(long, value_name = "DAYS", conflicts_with = "all")]
    pub older_than: Option<u32>,
    /// All of them
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DocsCommand {
    /// Write dbt's manifest.json and catalog.json into the data directory's target folder
    Generate,
    /// Serve the documentation to this machine's browser until Ctrl-C
    Serve(DocsServeArgs),
    /// Write the same pages as files, to be opened or published as they are
    Export {
        /// Folder for the pages
        dir: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DocsServeArgs {
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Where to write: DIR/projects holds the transcripts, DIR/truth.json what they add up to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Days of history
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Sessions
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub sessions: u32,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Last day of the history
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "2026-09-30")]
    pub until: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_reference_page_is_current() {
        use clap::CommandFactory as _;
        let mut page = String::from("# Commands\n\nWhat `cclake help COMMAND` prints.\n");
        let mut cli = Cli::command().term_width(100);
        cli.build();
        add_pages(&mut cli, &mut page);
        crate::reference::check_page("cli.md", &page);
    }

    fn add_pages(command: &mut clap::Command, page: &mut String) {
        use std::fmt::Write as _;
        let name = command.get_bin_name().unwrap_or("cclake").to_owned();
        let help = command.render_long_help().to_string();
        let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
        for part in command
            .get_subcommands_mut()
            .filter(|part| part.get_name() != "help")
        {
            add_pages(part, page);
        }
    }
}
