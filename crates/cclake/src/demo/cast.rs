//! Who and what the stories are about: projects, client versions, models.

use super::rng::Rng;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lang {
    Rust,
    TypeScript,
    Python,
    Go,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Project {
    pub(super) cwd: &'static str,
    pub(super) branches: &'static [&'static str],
    pub(super) lang: Lang,
}

/// Weighted by how much work they get. Worktrees of both kinds, and folder names that the encoding flattens.
pub(super) const PROJECTS: [(u64, Project); 8] = [
    (
        30,
        project(
            "/Users/mara/code/ledger-api",
            &["main", "feat/idempotent-payouts", "fix/rounding"],
            Lang::Rust,
        ),
    ),
    (
        24,
        project(
            "/Users/mara/code/storefront",
            &["main", "feat/checkout-redesign", "HEAD"],
            Lang::TypeScript,
        ),
    ),
    (
        9,
        project(
            "/Users/mara/code/storefront/.worktrees/checkout-redesign",
            &["feat/checkout-redesign"],
            Lang::TypeScript,
        ),
    ),
    (
        8,
        project(
            "/Users/mara/code/ledger-api/.claude/worktrees/async-retries",
            &["worktree-async-retries"],
            Lang::Rust,
        ),
    ),
    (
        13,
        project(
            "/Users/mara/code/ml/demand_forecast",
            &["main", "exp/seasonality"],
            Lang::Python,
        ),
    ),
    (
        9,
        project(
            "/Users/mara/code/infra.live",
            &["main", "chore/bump-providers"],
            Lang::Go,
        ),
    ),
    (
        4,
        project("/Users/mara/code/café-menu", &["main"], Lang::TypeScript),
    ),
    (3, project("/Users/mara/scratch", &[""], Lang::Python)),
];

const fn project(cwd: &'static str, branches: &'static [&'static str], lang: Lang) -> Project {
    Project { cwd, branches, lang }
}

/// The stretches of Claude Code's history whose transcripts look alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Era {
    /// 1.0.x: sub-agents inline, a resume rewrites ids and timestamps.
    One,
    /// 2.0.x: sub-agents in files beside the session, compaction inside the session.
    Two,
    /// 2.1.12 to 2.1.63: progress records, sub-agents in a folder from 2.1.38 on.
    Progress,
    /// After 2.1.63: no progress records, final usage on every line, empty thinking.
    Late,
}

/// A client version and what its transcripts have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) era: Era,
    pub(super) version: &'static str,
    /// `usage.cache_creation`, `gitBranch` and one line per block came after 1.0.24.
    pub(super) is_streamed: bool,
    /// `<session>/subagents/` came with 2.1.38.
    pub(super) has_agent_folder: bool,
}

const CLIENTS: [Client; 13] = [
    client(Era::One, "1.0.17", false, false),
    client(Era::One, "1.0.98", true, false),
    client(Era::One, "1.0.108", true, false),
    client(Era::Two, "2.0.60", true, false),
    client(Era::Two, "2.0.74", true, false),
    client(Era::Two, "2.0.76", true, false),
    client(Era::Progress, "2.1.17", true, false),
    client(Era::Progress, "2.1.29", true, false),
    client(Era::Progress, "2.1.38", true, true),
    client(Era::Progress, "2.1.62", true, true),
    client(Era::Late, "2.1.142", true, true),
    client(Era::Late, "2.1.163", true, true),
    client(Era::Late, "2.1.181", true, true),
];

const fn client(era: Era, version: &'static str, is_streamed: bool, has_agent_folder: bool) -> Client {
    Client {
        era,
        version,
        is_streamed,
        has_agent_folder,
    }
}

/// The client that was current for the `index`-th of `of` sessions: the whole of its history passes in the days asked for.
pub(super) fn client_at(index: u64, of: u64) -> Client {
    let place = index.saturating_mul(CLIENTS.len() as u64) / of.max(1);
    CLIENTS[usize::try_from(place).unwrap_or(0).min(CLIENTS.len() - 1)]
}

/// A model that no price list knows, as gateways serve them.
pub(super) const UNPRICED: &str = "acme-coder-preview";

/// The main model of a session.
pub(super) fn model(rng: &mut Rng, era: Era) -> &'static str {
    rng.weighted(match era {
        Era::One => &[(7, "claude-sonnet-4-20250514"), (3, "claude-opus-4-1-20250805")],
        Era::Two => &[(6, "claude-opus-4-5-20251101"), (4, "claude-sonnet-4-5-20250929")],
        Era::Progress => &[
            (5, "claude-opus-4-5-20251101"),
            (6, "claude-opus-4-6"),
            (2, "claude-sonnet-4-5-20250929"),
        ],
        Era::Late => &[(7, "claude-opus-4-6"), (4, "claude-sonnet-4-6")],
    })
}

/// The model of a sub-agent under `main`.
pub(super) fn agent_model(rng: &mut Rng, era: Era, main: &'static str) -> &'static str {
    if era > Era::One && rng.chance(600) {
        "claude-haiku-4-5-20251001"
    } else {
        main
    }
}
