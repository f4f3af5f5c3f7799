//! Renders the steps of a story as the lines of its transcripts.

use std::collections::HashMap;

use super::{
    agent::{AgentRun, Home},
    cast::Era,
    clock::{Millis, iso},
    json::{Obj, array, uuid_text},
    loose,
    message::{self, Slice},
    rng::{Rng, Uuid},
    story::{Aside, Block, Response, Scene, Step, Usage, What},
    tools::{Reply, Verdict},
    truth::{Facts, Outcome, Part},
};

/// A line without its newline, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Millis,
    pub(super) session: Uuid,
    pub(super) text: String,
    pub(super) facts: Facts,
}

/// One file to be written.
pub(super) struct Transcript {
    /// Relative to the project's folder.
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
}

/// Writes the records of one conversation, its own or a sub-agent's.
pub(super) struct Scribe<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) scene: Scene,
    pub(super) lines: Vec<Line>,
    pub(super) parent: Option<Uuid>,
    cwd: String,
    branch: &'static str,
    agent: Option<Agent>,
    has_slug: bool,
    /// The line of each tool use that awaits its result.
    asked: HashMap<String, Uuid>,
    /// Files of sub-agents.
    beside: Vec<Transcript>,
}

#[derive(Clone)]
struct Agent {
    id: String,
    home: Home,
    is_stuck: bool,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(rng: &'a mut Rng, scene: Scene) -> Self {
        Self {
            rng,
            scene,
            lines: Vec::new(),
            parent: None,
            cwd: scene.project.cwd.to_owned(),
            branch: scene.branch,
            agent: None,
            has_slug: false,
            asked: HashMap::new(),
            beside: Vec::new(),
        }
    }

    /// A scribe that goes on after `lines`.
    pub(super) fn after(rng: &'a mut Rng, scene: Scene, lines: Vec<Line>) -> Self {
        let parent = lines.iter().rev().find_map(|line| line.facts.uuid);
        Self {
            lines,
            parent,
            ..Self::new(rng, scene)
        }
    }

    /// The session's file, then those of its sub-agents.
    pub(super) fn transcripts(mut self, steps: Vec<Step>) -> Vec<Transcript> {
        for step in steps {
            self.step(step);
        }
        let path = format!("{}.jsonl", uuid_text(self.scene.session));
        let mut all = vec![Transcript {
            path,
            lines: self.lines,
        }];
        all.append(&mut self.beside);
        all
    }

    fn step(&mut self, Step { at, what }: Step) {
        match what {
            What::Prompt { text, image } => self.prompt(at, &text, image),
            What::Aside { text, kind } => self.aside(at, &text, kind),
            What::Response(response) => self.response(&response),
            What::Result { call, name, reply } => self.result(at, &call, name, &reply),
            What::Results(replies) => self.results(at, &replies),
            What::Tick { call, tick } => self.tick(at, &call, &tick),
            What::Attachment => self.attachment(at),
            What::System(system) => self.system(at, &system),
            What::Compaction {
                summary,
                automatic,
                tokens,
            } => self.compaction(at, &summary, automatic, tokens),
            What::Loose(loose) => self.loose(at, &loose),
            What::Move { cwd, branch } => (self.cwd, self.branch) = (cwd, branch),
            What::Agent(run) => self.agent(run),
        }
    }

    /// The members with which an event's record begins.
    pub(super) fn envelope(&self, size: usize) -> Obj {
        let client = self.scene.client;
        Obj::sized(size + 640)
            .uuid_or_null("parentUuid", self.parent)
            .when(true, |o| self.setting(o))
            .str("version", client.version)
            .when(client.is_streamed, |o| o.str("gitBranch", self.branch))
            .when(true, |o| match &self.agent {
                Some(agent) if client.era > Era::One => o.str("agentId", &agent.id),
                _ => o,
            })
            .when(self.has_slug, |o| o.str("slug", self.scene.slug))
    }

    fn setting(&self, o: Obj) -> Obj {
        o.bool("isSidechain", self.agent.is_some())
            .str("userType", "external")
            .when(self.scene.client.era == Era::Late, |o| o.str("entrypoint", "cli"))
            .str("cwd", &self.cwd)
            .uuid("sessionId", self.scene.session)
    }

    /// Ends an event's record: the next one is its child.
    pub(super) fn event(&mut self, at: Millis, uuid: Uuid, record: Obj, facts: Facts) {
        let of_agent = self.agent.is_some();
        let facts = Facts {
            uuid: Some(uuid),
            of_agent: of_agent || facts.of_agent,
            ..facts
        };
        self.lines.push(Line {
            at,
            session: self.scene.session,
            text: record.done(),
            facts,
        });
        self.parent = Some(uuid);
    }

    fn prompt(&mut self, at: Millis, text: &str, image: bool) {
        let uuid = self.rng.uuid();
        let as_array = self.rng.chance(150);
        let message = if image {
            message::user(&with_image(self.rng, text))
        } else {
            message::text(text, as_array)
        };
        let era = self.scene.client.era;
        let prompt_id = self.rng.uuid();
        let record = self
            .envelope(message.len())
            .str("type", "user")
            .raw("message", &message)
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at))
            .when(era == Era::Progress, |o| {
                o.raw("thinkingMetadata", "{\"maxThinkingTokens\":31999}")
                    .raw("todos", "[]")
                    .str("permissionMode", "default")
            })
            .when(era == Era::Late, |o| {
                o.uuid("promptId", prompt_id)
                    .str("permissionMode", "acceptEdits")
                    .raw("origin", "{\"kind\":\"human\"}")
            });
        self.event(
            at,
            uuid,
            record,
            Facts {
                is_prompt: true,
                ..Facts::default()
            },
        );
        self.has_slug |= era >= Era::Two && self.rng.chance(300);
    }

    fn aside(&mut self, at: Millis, text: &str, kind: Aside) {
        let uuid = self.rng.uuid();
        let message = message::text(text, kind == Aside::Interruption);
        let record = self
            .envelope(message.len())
            .str("type", "user")
            .raw("message", &message)
            .when(kind == Aside::Meta, |o| o.bool("isMeta", true))
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at));
        self.event(at, uuid, record, Facts::default());
    }

    fn response(&mut self, response: &Response) {
        let is_stuck = self.agent.as_ref().is_some_and(|agent| agent.is_stuck);
        for mut slice in message::slices(response, self.scene.client) {
            if is_stuck {
                slice.output = slice.output.min(2);
            }
            let uuid = self.rng.uuid();
            let at = response.blocks[slice.blocks.start].0;
            let message = message::assistant(self.rng, self.scene.client, response, &slice);
            let record = self
                .envelope(message.len())
                .raw("message", &message)
                .when(!response.synthetic, |o| o.str("requestId", &response.request))
                .str("type", "assistant")
                .uuid("uuid", uuid)
                .str("timestamp", &iso(at))
                .when(response.synthetic, |o| {
                    o.bool("isApiErrorMessage", response.is_api_error())
                });
            let facts = response.facts(&slice);
            self.asked
                .extend(facts.calls.iter().map(|(id, _)| (id.clone(), uuid)));
            self.event(at, uuid, record, facts);
        }
    }

    fn result(&mut self, at: Millis, call: &str, name: &'static str, reply: &Reply) {
        let uuid = self.rng.uuid();
        let message = message::result(call, reply);
        let source = self.asked.remove(call);
        let twin = reply.twin.as_deref().filter(|_| self.keeps_twins());
        let record = self
            .envelope(message.len() + twin.map_or(0, str::len))
            .str("type", "user")
            .raw("message", &message)
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at))
            .when(true, |o| match twin {
                Some(twin) => o.raw("toolUseResult", twin),
                None => o,
            })
            .when(self.scene.client.era >= Era::Progress, |o| match source {
                Some(uuid) => o.uuid("sourceToolAssistantUUID", uuid),
                None => o,
            });
        let facts = Facts {
            results: vec![(call.to_owned(), reply.outcome(twin.is_some()))],
            ..Facts::default()
        };
        self.event(at, uuid, record, facts);
        if name == "Skill" {
            self.aside(
                at,
                "# Review the branch\n\nRead the diff against main and list what is risky.",
                Aside::Meta,
            );
        }
    }

    fn results(&mut self, at: Millis, replies: &[(String, Reply)]) {
        let uuid = self.rng.uuid();
        let message = message::results(replies);
        let record = self
            .envelope(message.len())
            .str("type", "user")
            .raw("message", &message)
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at));
        let results = replies
            .iter()
            .map(|(call, reply)| (call.clone(), reply.outcome(false)));
        self.event(
            at,
            uuid,
            record,
            Facts {
                results: results.collect(),
                ..Facts::default()
            },
        );
    }

    /// Files of sub-agents in `subagents/` mostly lack `toolUseResult`.
    fn keeps_twins(&self) -> bool {
        self.agent
            .as_ref()
            .is_none_or(|agent| matches!(agent.home, Home::Inline | Home::Beside))
    }

    fn compaction(&mut self, at: Millis, summary: &str, automatic: bool, tokens: u64) {
        let (uuid, logical_parent) = (self.rng.uuid(), self.parent.take());
        let metadata = Obj::new()
            .str("trigger", if automatic { "auto" } else { "manual" })
            .int("preTokens", tokens)
            .done();
        let record = self
            .envelope(256)
            .uuid_or_null("logicalParentUuid", logical_parent)
            .str("type", "system")
            .str("subtype", "compact_boundary")
            .str("content", "Conversation compacted")
            .bool("isMeta", false)
            .str("timestamp", &iso(at))
            .uuid("uuid", uuid)
            .str("level", "info")
            .raw("compactMetadata", &metadata);
        self.event(at, uuid, record, Facts::default());
        let uuid = self.rng.uuid();
        let message = message::text(summary, false);
        let record = self
            .envelope(message.len())
            .str("type", "user")
            .raw("message", &message)
            .bool("isVisibleInTranscriptOnly", true)
            .bool("isCompactSummary", true)
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at));
        self.event(at, uuid, record, Facts::default());
    }

    fn loose(&mut self, at: Millis, loose: &loose::Loose) {
        let text = loose::render(self.rng, loose, at, self.scene.session, self.parent);
        self.lines.push(Line {
            at,
            session: self.scene.session,
            text,
            facts: Facts::default(),
        });
    }

    fn agent(&mut self, run: AgentRun) {
        if matches!(run.home, Home::Progress | Home::Mirrored) {
            self.agent_progress(&run);
        }
        let path = match run.home {
            Home::Progress => return,
            Home::Folder => self.agent_path(&run, true),
            Home::Mirrored => self.agent_path(&run, self.scene.client.has_agent_folder),
            Home::Inline | Home::Beside => self.agent_path(&run, false),
        };
        let home = run.home;
        let mut scribe = Scribe {
            cwd: self.cwd.clone(),
            branch: self.branch,
            agent: Some(Agent {
                id: run.id,
                home,
                is_stuck: run.is_stuck,
            }),
            ..Scribe::new(self.rng, run.scene)
        };
        scribe.agent_prompt(run.began, &run.prompt);
        for step in run.steps {
            scribe.step(step);
        }
        let mut lines = scribe.lines;
        if home == Home::Inline {
            self.lines.append(&mut lines);
        } else {
            self.beside.push(Transcript { path, lines });
        }
    }

    fn agent_path(&self, run: &AgentRun, in_folder: bool) -> String {
        let folder = if in_folder {
            format!("{}/subagents/", uuid_text(self.scene.session))
        } else {
            String::new()
        };
        format!("{folder}agent-{}.jsonl", run.id)
    }

    fn agent_prompt(&mut self, at: Millis, prompt: &str) {
        let uuid = self.rng.uuid();
        let message = message::text(prompt, false);
        let record = self
            .envelope(message.len())
            .str("type", "user")
            .raw("message", &message)
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at));
        self.event(at, uuid, record, Facts::default());
    }
}

impl Response {
    fn is_api_error(&self) -> bool {
        self.blocks
            .iter()
            .any(|(_, block)| matches!(block, Block::Text(text) if text.starts_with("API Error")))
    }

    /// What one line says of the response.
    pub(super) fn facts(&self, slice: &Slice) -> Facts {
        let usage = Usage {
            output: slice.output,
            ..self.usage
        };
        let calls = self.blocks[slice.blocks.clone()]
            .iter()
            .filter_map(|(_, block)| match block {
                Block::Use { id, name, .. } => Some((id.clone(), *name)),
                _ => None,
            });
        Facts {
            response: (!self.synthetic).then(|| Part {
                message: self.message.clone(),
                model: self.model,
                usage,
            }),
            calls: calls.collect(),
            ..Facts::default()
        }
    }
}

impl Reply {
    pub(super) fn outcome(&self, has_patch: bool) -> Outcome {
        match self.verdict {
            Verdict::Done(change) if has_patch => Outcome::Changed(change),
            Verdict::Done(change) => Outcome::ChangedWithoutPatch(change),
            Verdict::Failed => Outcome::Failed,
            Verdict::Rejected => Outcome::Rejected,
        }
    }
}

fn with_image(rng: &mut Rng, text: &str) -> String {
    let size = usize::try_from(rng.tail(400, 60_000)).unwrap_or(400);
    let source = Obj::sized(size + 128)
        .str("type", "base64")
        .str("media_type", "image/png")
        .str("data", &rng.id("iVBORw0KGgo", size))
        .done();
    array([
        Obj::new().str("type", "text").str("text", text).done(),
        Obj::sized(size + 256)
            .str("type", "image")
            .raw("source", &source)
            .done(),
    ])
}
