//! Responses, the tools they call, and what these answer.

use super::{
    cast::Era,
    clock::{Millis, SECOND},
    json, shell,
    story::{Aside, Block, Response, Step, Tick, Usage, What},
    teller::Teller,
    tools::{self, Bench, Call, Fate, Reply, Tool, Verdict},
    words,
};

impl Teller<'_> {
    /// A response with tool uses, and their answers as they come in.
    pub(super) fn round(&mut self, fate: Option<Fate>) {
        let count = if fate.is_some() {
            1
        } else {
            self.rng.weighted(&[(80, 1), (13, 2), (7, 3)])
        };
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            let ask = self.retry.take().unwrap_or_else(|| {
                tools::ask(
                    self.rng,
                    self.era(),
                    self.scene.project.lang,
                    &self.cwd,
                    self.reach,
                )
            });
            let fate = fate.unwrap_or_else(|| {
                self.rng
                    .weighted(&[(930, Fate::Succeed), (62, Fate::Fail), (8, Fate::Reject)])
            });
            let fate = if self.is_agent() && fate == Fate::Reject {
                Fate::Fail
            } else {
                fate
            };
            if fate == Fate::Fail && self.rng.chance(700) {
                self.retry = Some(ask.clone());
            }
            let bench = &mut Bench {
                rng: self.rng,
                era: self.scene.client.era,
                cwd: &self.cwd,
                lang: self.scene.project.lang,
                unique: &mut self.unique,
            };
            calls.push((ask.tool, bench.call(&ask, fate)));
        }
        self.speak(&calls);
        self.answers(calls);
    }

    /// Answers come in the order in which the tools finish.
    fn answers(&mut self, mut calls: Vec<(Tool, Call)>) {
        let asked = self.now;
        calls.sort_by_key(|(_, call)| call.took);
        if self.answer_at_once(asked, &mut calls) {
            return;
        }
        for (tool, call) in calls {
            self.ticks(tool, &call, asked);
            self.now = asked + call.took;
            let Some(reply) = call.reply else { continue };
            self.fresh += reply.content.len() as u64 / 4;
            let refused = reply.verdict == Verdict::Rejected;
            self.push(What::Result {
                call: call.id,
                name: call.name,
                reply,
            });
            if refused {
                self.aside("[Request interrupted by user for tool use]", Aside::Interruption);
            }
        }
    }

    /// The oldest clients put the answers of parallel calls into one record, which then has no structured twin: told
    /// of calls that change nothing only, since a patch would be lost.
    fn answer_at_once(&mut self, asked: Millis, calls: &mut Vec<(Tool, Call)>) -> bool {
        let harmless = |call: &Call| {
            call.reply
                .as_ref()
                .is_some_and(|reply| reply.verdict.is_harmless())
        };
        let all = calls.len() > 1 && calls.iter().all(|(_, call)| harmless(call));
        if self.scene.client.is_streamed || !all {
            return false;
        }
        self.now = asked + calls.iter().map(|(_, call)| call.took).max().unwrap_or_default();
        let replies: Vec<(String, Reply)> = calls
            .drain(..)
            .filter_map(|(_, call)| call.reply.map(|reply| (call.id, reply)))
            .collect();
        self.fresh += replies
            .iter()
            .map(|(_, reply)| reply.content.len() as u64 / 4)
            .sum::<u64>();
        self.push(What::Results(replies));
        true
    }

    fn ticks(&mut self, tool: Tool, call: &Call, asked: Millis) {
        if self.era() != Era::Progress || self.is_agent() {
            return;
        }
        if self.rng.chance(250) {
            self.push(What::Tick {
                call: call.id.clone(),
                tick: Tick::Hook {
                    event: "PreToolUse",
                    tool: call.name,
                },
            });
        }
        match tool {
            Tool::Bash if call.took > 2 * SECOND => {
                for seconds in 2..=(call.took / SECOND).clamp(2, 9).cast_unsigned() {
                    self.now = asked + seconds.cast_signed() * SECOND;
                    let output = shell::output(self.rng, self.scene.project.lang, "", seconds);
                    self.push(What::Tick {
                        call: call.id.clone(),
                        tick: Tick::Bash { output, seconds },
                    });
                }
            }
            Tool::Other("mcp__plugin_docs_context7__query-docs") => {
                self.push(What::Tick {
                    call: call.id.clone(),
                    tick: Tick::Mcp {
                        server: "plugin:docs:context7",
                        tool: "query-docs",
                    },
                });
            }
            _ => {}
        }
    }

    /// The response that carries `calls`.
    pub(super) fn speak(&mut self, calls: &[(Tool, Call)]) {
        let mut blocks = self.preamble(550, 450);
        for (_, call) in calls {
            self.pass(300, 4_000);
            blocks.push((
                self.now,
                Block::Use {
                    id: call.id.clone(),
                    name: call.name,
                    input: call.input.clone(),
                },
            ));
        }
        self.respond(blocks, "tool_use");
    }

    /// The response that ends a turn.
    pub(super) fn answer(&mut self) {
        let mut blocks = self.preamble(300, 0);
        self.pass(500, 9_000);
        let sentences = self.rng.tail(1, 24);
        blocks.push((self.now, Block::Text(words::prose(self.rng, sentences))));
        self.respond(blocks, "end_turn");
    }

    fn preamble(&mut self, thinking: u64, text: u64) -> Vec<(Millis, Block)> {
        let mut blocks = Vec::with_capacity(4);
        self.pass(1_500, 12_000);
        if self.rng.chance(thinking) {
            let sentences = self.rng.tail(2, 20);
            blocks.push((self.now, Block::Thinking(words::prose(self.rng, sentences))));
            self.pass(400, 3_000);
        }
        if self.rng.chance(text) {
            let sentences = self.rng.tail(1, 4);
            blocks.push((self.now, Block::Text(words::prose(self.rng, sentences))));
        }
        blocks
    }

    fn respond(&mut self, blocks: Vec<(Millis, Block)>, stop: &'static str) {
        let at = blocks.first().map_or(self.now, |(at, _)| *at);
        let output = blocks.iter().map(|(_, block)| block.len() / 4).sum::<u64>() + self.rng.between(8, 60);
        let written = self.fresh + 1;
        let one_hour = if !self.scene.one_hour_cache {
            0
        } else if self.rng.chance(30) {
            written / 3
        } else {
            written
        };
        let usage = Usage {
            input: self.rng.tail(1, 12),
            output,
            cache_write_5m: written - one_hour,
            cache_write_1h: one_hour,
            cache_read: self.cached,
        };
        self.cached += written;
        self.fresh = output;
        let (message, request) = (self.rng.id("msg_01", 22), self.rng.id("req_011C", 20));
        let response = Response {
            message,
            request,
            model: self.scene.model,
            usage,
            blocks,
            stop,
            synthetic: false,
        };
        self.steps.push(Step {
            at,
            what: What::Response(response),
        });
    }

    pub(super) fn synthetic(&mut self, text: &str) {
        self.pass(5, 40);
        let message = json::uuid_text(self.rng.uuid());
        let blocks = vec![(self.now, Block::Text(text.to_owned()))];
        let response = Response {
            message,
            request: String::new(),
            model: "<synthetic>",
            usage: Usage::default(),
            blocks,
            stop: "stop_sequence",
            synthetic: true,
        };
        self.push(What::Response(response));
    }
}
