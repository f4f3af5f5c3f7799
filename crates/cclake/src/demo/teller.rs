//! Decides what happens in a session: its turns, pauses and mishaps.

use super::{
    cast::Era,
    clock::{HOUR, Millis},
    json,
    rng::Rng,
    story::{Aside, Loose, Scene, Step, System, Tick, What},
    tools::{Ask, Fate, Reach, Tool},
    twist::{Twist, Twists},
    words,
};

/// Tells sessions; a sub-agent's run is told by another one.
pub(super) struct Teller<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) scene: Scene,
    pub(super) now: Millis,
    pub(super) cwd: String,
    pub(super) steps: Vec<Step>,
    pub(super) reach: Reach,
    pub(super) unique: u64,
    /// A failed call that the next response tries again, or one that it makes for other reasons.
    pub(super) retry: Option<Ask>,
    pub(super) cached: u64,
    pub(super) fresh: u64,
}

impl<'a> Teller<'a> {
    pub(super) fn new(rng: &'a mut Rng, scene: Scene, now: Millis, reach: Reach) -> Self {
        let fresh = if reach == Reach::Session {
            rng.between(14_000, 31_000)
        } else {
            rng.between(3_000, 12_000)
        };
        let cached = if rng.chance(700) {
            rng.between(8_000, 17_000)
        } else {
            0
        };
        let cwd = scene.project.cwd.to_owned();
        let unique = rng.below(50) * 1_000_000;
        Self {
            rng,
            scene,
            now,
            cwd,
            steps: Vec::new(),
            reach,
            unique,
            retry: None,
            cached,
            fresh,
        }
    }

    /// The whole main conversation.
    pub(super) fn session(mut self, twists: &Twists) -> Vec<Step> {
        self.opening(twists);
        let turns = self.rng.tail(1, 26);
        let twisted = self.rng.below(turns);
        for turn in 0..turns {
            if turn > 0 {
                self.pause();
            }
            self.turn(turn == twisted, twists);
            if self.cached > 165_000 {
                if self.era() == Era::One {
                    break;
                }
                self.compact(true);
            }
        }
        if twists.has(Twist::Dies) {
            self.prompt(false);
            self.round(Some(Fate::Vanish));
        } else {
            self.closing();
        }
        self.steps
    }

    /// 1.0.x told the model of the earlier session by a text in the user's name.
    pub(super) fn continued(&mut self) {
        let summary = words::prose(self.rng, 20);
        let text = format!(
            "This session is being continued from a previous conversation that ran out of context. The conversation is summarized below:\n{summary}"
        );
        self.aside(&text, Aside::Command);
    }

    fn opening(&mut self, twists: &Twists) {
        if self.era() == Era::Progress {
            let call = json::uuid_text(self.rng.uuid());
            self.push(What::Tick {
                call,
                tick: Tick::Hook {
                    event: "SessionStart",
                    tool: "startup",
                },
            });
            self.pass(80, 900);
        }
        if twists.has(Twist::Command) {
            for (text, kind) in self.rng.pick(&words::COMMANDS) {
                self.aside(text, *kind);
            }
            self.pass(2_000, 20_000);
        }
    }

    fn turn(&mut self, twisted: bool, twists: &Twists) {
        let began = self.now;
        self.prompt(twisted && twists.has(Twist::Image));
        if twisted {
            self.twisted_turn(twists);
        }
        for _ in 0..self.rng.tail(2, 40) {
            self.round(None);
        }
        if twisted && twists.has(Twist::Interrupt) {
            self.round(Some(Fate::Vanish));
            self.aside("[Request interrupted by user for tool use]", Aside::Interruption);
            return;
        }
        self.answer();
        if self.era() >= Era::Two && self.rng.chance(500) {
            self.push(What::System(System::StopHook));
            self.push(What::System(System::TurnDuration(self.now - began)));
        }
    }

    fn twisted_turn(&mut self, twists: &Twists) {
        if twists.has(Twist::Moves) {
            self.move_on();
        }
        if twists.has(Twist::Queue) && self.era() >= Era::Two {
            let content = words::prompt(self.rng);
            self.push(What::Loose(Loose::Queue {
                operation: "enqueue",
                content: Some(content),
            }));
            self.pass(2_000, 40_000);
            self.push(What::Loose(Loose::Queue {
                operation: "dequeue",
                content: None,
            }));
        }
        if twists.has(Twist::ApiError) {
            self.api_error();
        }
        if twists.has(Twist::Agent) || (twists.has(Twist::AgentUnseen) && self.era() == Era::Progress) {
            for _ in 0..self.rng.between(1, 2) {
                self.delegate(twists.has(Twist::AgentUnseen));
            }
        }
        if twists.has(Twist::Rejection) {
            if self.rng.chance(400) {
                self.retry = Some(Ask {
                    tool: Tool::Other("ExitPlanMode"),
                    target: String::new(),
                });
            }
            self.round(Some(Fate::Reject));
        }
        if twists.has(Twist::Compaction) && self.era() >= Era::Two {
            self.compact(false);
            self.prompt(false);
        }
        if twists.has(Twist::Foreign) {
            self.push(What::Loose(Loose::HookLog));
            let title = words::title(self.rng);
            self.push(What::Loose(Loose::Title(title)));
        }
    }

    fn closing(&mut self) {
        if self.rng.chance(150) {
            let number = self.rng.between(40, 900);
            self.push(What::Loose(Loose::PrLink(number)));
        }
        if self.era() == Era::Late {
            let last = words::prompt(self.rng);
            self.push(What::Loose(Loose::LastPrompt(last.clone())));
            if self.rng.chance(300) {
                self.push(What::Loose(Loose::LastPrompt(last)));
            }
        }
        if self.rng.chance(80) {
            self.pass(1_000, 9_000);
            self.aside("<command-name>/exit</command-name>\n            <command-message>exit</command-message>\n            <command-args></command-args>", Aside::Command);
            self.synthetic("No response requested.");
        }
    }

    pub(super) fn prompt(&mut self, image: bool) {
        let text = words::prompt(self.rng);
        self.fresh += text.len() as u64 / 4;
        self.push(What::Prompt { text, image });
        if self.era() >= Era::Two && !self.is_agent() {
            self.push(What::Loose(Loose::Snapshot));
        }
        if self.era() == Era::Late && self.rng.chance(120) {
            self.push(What::Attachment);
        }
    }
    fn api_error(&mut self) {
        if self.era() >= Era::Progress {
            for attempt in 1..=self.rng.between(1, 4) {
                self.pass(600, 9_000);
                self.push(What::System(System::ApiError { attempt }));
            }
        }
        self.synthetic("API Error: 529 {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}");
        self.pass(9_000, 90_000);
        self.prompt(false);
    }

    fn compact(&mut self, automatic: bool) {
        if !automatic {
            self.push(What::System(System::LocalCommand));
        }
        self.pass(20_000, 80_000);
        let summary = format!(
            "This session is being continued from a previous conversation that ran out of context. The conversation is summarized below:\n{}",
            words::prose(self.rng, 40)
        );
        self.fresh = summary.len() as u64 / 4 + 14_000;
        self.push(What::Compaction {
            summary,
            automatic,
            tokens: self.cached,
        });
        self.cached = 12_000;
    }

    fn move_on(&mut self) {
        let (suffix, branch) = self.rng.pick(&[
            ("/packages/core", ""),
            ("/.worktrees/hotfix", "hotfix/empty-body"),
            ("/.claude/worktrees/spike", "worktree-spike"),
        ]);
        self.cwd = format!("{}{suffix}", self.scene.project.cwd);
        let branch = if branch.is_empty() {
            self.scene.branch
        } else {
            branch
        };
        self.push(What::Move {
            cwd: self.cwd.clone(),
            branch,
        });
    }

    pub(super) fn aside(&mut self, text: &str, kind: Aside) {
        self.push(What::Aside {
            text: text.to_owned(),
            kind,
        });
        self.pass(5, 60);
    }

    /// The person reads, thinks, has lunch.
    fn pause(&mut self) {
        self.now += if self.rng.chance(60) {
            self.rng
                .millis(HOUR.cast_unsigned() / 3, 3 * HOUR.cast_unsigned())
        } else {
            self.rng.millis(15_000, 900_000)
        };
    }

    pub(super) fn pass(&mut self, low: u64, high: u64) {
        self.now += self.rng.millis(low, high);
    }

    pub(super) fn push(&mut self, what: What) {
        self.steps.push(Step { at: self.now, what });
    }

    pub(super) fn is_agent(&self) -> bool {
        self.reach != Reach::Session
    }

    pub(super) fn era(&self) -> Era {
        self.scene.client.era
    }
}
