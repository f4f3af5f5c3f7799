//! What happens in a session, as data: ignorant of how records look.

use super::{
    agent::AgentRun,
    cast::{self, Client, Era, Project},
    clock::Millis,
    rng::{Rng, Uuid},
    tools::Reply,
    twist::{Twist, Twists},
    words,
};

/// Where and with what a session runs.
#[derive(Clone, Copy)]
pub(super) struct Scene {
    pub(super) session: Uuid,
    pub(super) client: Client,
    pub(super) project: Project,
    pub(super) branch: &'static str,
    pub(super) model: &'static str,
    pub(super) slug: &'static str,
    pub(super) one_hour_cache: bool,
}

pub(super) struct Step {
    pub(super) at: Millis,
    pub(super) what: What,
}

pub(super) enum What {
    Prompt {
        text: String,
        image: bool,
    },
    /// User records that nobody typed as a prompt.
    Aside {
        text: String,
        kind: Aside,
    },
    Response(Response),
    Result {
        call: String,
        name: &'static str,
        reply: Reply,
    },
    /// Several answers in one record.
    Results(Vec<(String, Reply)>),
    Tick {
        call: String,
        tick: Tick,
    },
    Attachment,
    System(System),
    Compaction {
        summary: String,
        automatic: bool,
        tokens: u64,
    },
    Loose(Loose),
    Move {
        cwd: String,
        branch: &'static str,
    },
    Agent(AgentRun),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    Meta,
    Command,
    Interruption,
}

/// One API response: its blocks and the instants at which each was written.
pub(super) struct Response {
    pub(super) message: String,
    pub(super) request: String,
    pub(super) model: &'static str,
    pub(super) usage: Usage,
    pub(super) blocks: Vec<(Millis, Block)>,
    pub(super) stop: &'static str,
    /// Made by the client itself, not by the API.
    pub(super) synthetic: bool,
}

pub(super) enum Block {
    Thinking(String),
    Text(String),
    Use {
        id: String,
        name: &'static str,
        input: String,
    },
}

/// Tokens of a response.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_write_5m: u64,
    pub(super) cache_write_1h: u64,
    pub(super) cache_read: u64,
}

pub(super) enum Tick {
    Bash {
        output: String,
        seconds: u64,
    },
    Hook {
        event: &'static str,
        tool: &'static str,
    },
    Mcp {
        server: &'static str,
        tool: &'static str,
    },
}

pub(super) enum System {
    StopHook,
    TurnDuration(Millis),
    ApiError { attempt: u64 },
    LocalCommand,
}

/// Records without the envelope, most of them without a time.
pub(super) enum Loose {
    Snapshot,
    Queue {
        operation: &'static str,
        content: Option<String>,
    },
    LastPrompt(String),
    PrLink(u64),
    Title(String),
    /// An object of some other tool, without a type.
    HookLog,
}

impl Block {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Thinking(text) | Self::Text(text) => text.len() as u64,
            Self::Use { input, .. } => input.len() as u64,
        }
    }
}

/// Where and with what the session of `client` runs.
pub(super) fn scene(rng: &mut Rng, client: Client, twists: &Twists) -> Scene {
    let project = rng.weighted(&cast::PROJECTS);
    let model = if twists.has(Twist::UnpricedModel) {
        cast::UNPRICED
    } else {
        cast::model(rng, client.era)
    };
    Scene {
        session: rng.uuid(),
        client,
        project,
        branch: rng.pick(project.branches),
        model,
        slug: rng.pick(&words::SLUGS),
        one_hour_cache: client.era >= Era::Progress && rng.chance(700),
    }
}
