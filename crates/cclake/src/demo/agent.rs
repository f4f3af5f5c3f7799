//! Sub-agents: what they are asked, do and report, and where their records end up.

use super::{
    cast::{self, Era},
    clock::Millis,
    json::Obj,
    rng::Rng,
    story::{Scene, Step, What},
    teller::Teller,
    tools::{Call, Change, Fate, Reach, Reply, Tool, Verdict},
    words,
};

pub(super) struct AgentRun {
    pub(super) id: String,
    pub(super) scene: Scene,
    pub(super) call: String,
    pub(super) prompt: String,
    pub(super) began: Millis,
    pub(super) steps: Vec<Step>,
    pub(super) home: Home,
    /// Its file never gets to know more than the first output tokens; progress records do.
    pub(super) is_stuck: bool,
}

/// Where the records of a sub-agent are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// Among the session's own lines, as side chain.
    Inline,
    /// `agent-<id>.jsonl` beside the session's file.
    Beside,
    /// `<session>/subagents/agent-<id>.jsonl`.
    Folder,
    /// `Beside` or `Folder`, and in progress records of the session too.
    Mirrored,
    /// In progress records only.
    Progress,
}

impl Teller<'_> {
    /// A response that calls a sub-agent, its run, and its report.
    pub(super) fn delegate(&mut self, unseen: bool) {
        let name = if self.era() == Era::Late { "Agent" } else { "Task" };
        let kind = self.rng.pick(&["Explore", "general-purpose", "code-reviewer"]);
        let (description, prompt) = (words::title(self.rng), words::assignment(self.rng));
        let input = Obj::new()
            .str("description", &description)
            .str("prompt", &prompt)
            .str("subagent_type", kind)
            .done();
        let call = self.rng.id("toolu_01", 22);
        self.speak(&[(
            Tool::Other(name),
            Call {
                id: call.clone(),
                name,
                input,
                reply: None,
                took: 0,
            },
        )]);

        let home = self.home(unseen);
        let mut scene = self.scene;
        scene.model = cast::agent_model(self.rng, self.era(), self.scene.model);
        let id = self.agent_id();
        let began = self.now + self.rng.millis(20, 400);
        let mut teller = Teller::new(self.rng, scene, began, home.reach());
        if unseen {
            teller.round(Some(Fate::Fail));
        }
        for _ in 0..teller.rng.tail(4, 40) {
            teller.round(None);
        }
        teller.answer();
        let (ended, steps) = (teller.now, teller.steps);
        self.now = ended;
        let is_stuck = home == Home::Mirrored && self.rng.chance(300);
        let reply = report(self.rng, self.era(), &id, &prompt, ended - began, &steps);
        self.push(What::Agent(AgentRun {
            id,
            scene,
            call: call.clone(),
            prompt,
            began,
            steps,
            home,
            is_stuck,
        }));
        self.pass(5, 90);
        self.push(What::Result { call, name, reply });
    }

    fn home(&mut self, unseen: bool) -> Home {
        match self.era() {
            Era::One => Home::Inline,
            Era::Two => Home::Beside,
            Era::Progress if unseen => Home::Progress,
            Era::Progress => Home::Mirrored,
            Era::Late => Home::Folder,
        }
    }

    fn agent_id(&mut self) -> String {
        let digits = match self.era() {
            Era::One | Era::Two => 8,
            Era::Progress => 7,
            Era::Late => 17,
        };
        self.rng.hex(digits)
    }
}

impl Home {
    /// Without a structured twin a change can only be told from an Edit's two strings; progress records carry none at all.
    fn reach(self) -> Reach {
        match self {
            Self::Inline | Self::Beside => Reach::Everything,
            Self::Folder => Reach::EditsOnly,
            Self::Mirrored | Self::Progress => Reach::ReadsOnly,
        }
    }
}

/// What the parent gets to see of the run. Its `usage` repeats the last response and must not be counted again.
fn report(rng: &mut Rng, era: Era, id: &str, prompt: &str, took: Millis, steps: &[Step]) -> Reply {
    let last = steps.iter().rev().find_map(|step| match &step.what {
        What::Response(response) => Some(response.usage),
        _ => None,
    });
    let last = last.unwrap_or_default();
    let calls = steps
        .iter()
        .filter(|step| matches!(step.what, What::Result { .. } | What::Results(_)))
        .count();
    let text = words::prose(rng, 12);
    let block = Obj::sized(text.len() + 64)
        .str("type", "text")
        .str("text", &text)
        .done();
    let blocks = format!("[{block}]");
    let twin = Obj::sized(text.len() + prompt.len() + 512)
        .when(era >= Era::Two, |o| {
            o.str("status", "completed")
                .str("prompt", prompt)
                .str("agentId", id)
        })
        .raw("content", &blocks)
        .int("totalDurationMs", took.cast_unsigned())
        .int(
            "totalTokens",
            last.input + last.output + last.cache_read + last.cache_write_5m + last.cache_write_1h,
        )
        .int("totalToolUseCount", calls as u64)
        .raw("usage", &super::message::usage(&last, last.output, true))
        .done();
    Reply {
        content: blocks,
        is_error: None,
        twin: Some(twin),
        verdict: Verdict::Done(Change::default()),
    }
}
