//! Progress and system records.

use super::{
    agent::AgentRun,
    clock::{Millis, iso},
    json::Obj,
    message,
    records::Scribe,
    story::{System, Tick, What},
    truth::Facts,
};

impl Scribe<'_> {
    pub(super) fn tick(&mut self, at: Millis, call: &str, tick: &Tick) {
        let (data, id) = match tick {
            Tick::Bash { output, seconds } => {
                let data = Obj::sized(output.len() * 2 + 128)
                    .str("type", "bash_progress")
                    .str("output", output)
                    .str("fullOutput", output)
                    .int("elapsedTimeSeconds", *seconds)
                    .int("totalLines", *seconds);
                (data, format!("bash-progress-{}", seconds - 2))
            }
            Tick::Hook { event, tool } => {
                let data = Obj::new()
                    .str("type", "hook_progress")
                    .str("hookEvent", event)
                    .str("hookName", &format!("{event}:{tool}"))
                    .str("command", "bash ${CLAUDE_PROJECT_DIR}/.claude/hooks/guard.sh");
                (data, call.to_owned())
            }
            Tick::Mcp { server, tool } => {
                let data = Obj::new()
                    .str("type", "mcp_progress")
                    .str("status", "started")
                    .str("serverName", server)
                    .str("toolName", tool);
                (data, call.to_owned())
            }
        };
        self.progress(at, &data.done(), &id, call, Facts::default());
    }

    fn progress(&mut self, at: Millis, data: &str, id: &str, parent_call: &str, facts: Facts) {
        let uuid = self.rng.uuid();
        let record = self
            .envelope(data.len())
            .str("type", "progress")
            .raw("data", data)
            .str("toolUseID", id)
            .str("parentToolUseID", parent_call)
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at));
        self.event(
            at,
            uuid,
            record,
            Facts {
                in_progress: true,
                ..facts
            },
        );
    }

    /// A sub-agent's run as the session sees it: every record of it inside one of progress.
    pub(super) fn agent_progress(&mut self, run: &AgentRun) {
        let client = self.scene.client;
        let mut earlier: Vec<String> = Vec::new();
        let prompt = self.echo("user", run.began, &message::text(&run.prompt, true), None);
        self.agent_tick(run, run.began, &prompt, &mut earlier, Facts::default());
        for step in &run.steps {
            match &step.what {
                What::Response(response) => {
                    for slice in message::slices(response, client) {
                        let at = response.blocks[slice.blocks.start].0;
                        let message = message::assistant(self.rng, client, response, &slice);
                        let echo = self.echo("assistant", at, &message, Some(&response.request));
                        self.agent_tick(run, at, &echo, &mut earlier, response.facts(&slice));
                    }
                }
                What::Result { call, reply, .. } => {
                    let echo = self.echo("user", step.at, &message::result(call, reply), None);
                    let facts = Facts {
                        results: vec![(call.clone(), reply.outcome(false))],
                        ..Facts::default()
                    };
                    self.agent_tick(run, step.at, &echo, &mut earlier, facts);
                }
                _ => {}
            }
        }
    }

    /// A sub-agent's record, without its envelope.
    fn echo(&mut self, kind: &str, at: Millis, message: &str, request: Option<&str>) -> String {
        let uuid = self.rng.uuid();
        Obj::sized(message.len() + 256)
            .str("type", kind)
            .str("timestamp", &iso(at))
            .raw("message", message)
            .when(true, |o| match request {
                Some(request) => o.str("requestId", request),
                None => o,
            })
            .uuid("uuid", uuid)
            .done()
    }

    /// The first records of a run carry what was there before once more, as `normalizedMessages`.
    fn agent_tick(
        &mut self,
        run: &AgentRun,
        at: Millis,
        echo: &str,
        earlier: &mut Vec<String>,
        facts: Facts,
    ) {
        let normalized = if earlier.len() < 4 {
            super::json::array(earlier.iter().cloned())
        } else {
            "[]".to_owned()
        };
        let data = Obj::sized(echo.len() + normalized.len() + run.prompt.len() + 256)
            .raw("message", echo)
            .raw("normalizedMessages", &normalized)
            .str("type", "agent_progress")
            .str("prompt", &run.prompt)
            .str("agentId", &run.id)
            .done();
        if earlier.len() < 4 {
            earlier.push(echo.to_owned());
        }
        let id = format!("agent_{}", run.call);
        self.progress(
            at,
            &data,
            &id,
            &run.call,
            Facts {
                of_agent: true,
                ..facts
            },
        );
    }

    pub(super) fn attachment(&mut self, at: Millis) {
        let (uuid, call) = (self.rng.uuid(), self.rng.id("toolu_01", 22));
        let attachment = Obj::new()
            .str("type", "hook_success")
            .str("hookName", "PostToolUse:Edit")
            .str("toolUseID", &call)
            .str("hookEvent", "PostToolUse")
            .str("content", "formatted 1 file")
            .done();
        let record = self
            .envelope(256)
            .raw("attachment", &attachment)
            .str("type", "attachment")
            .uuid("uuid", uuid)
            .str("timestamp", &iso(at));
        self.event(at, uuid, record, Facts::default());
    }

    pub(super) fn system(&mut self, at: Millis, system: &System) {
        let (uuid, hook) = (self.rng.uuid(), self.rng.uuid());
        let retry = self.rng.between(500, 8_000);
        let record = self.envelope(256).str("type", "system");
        let record = match system {
            System::StopHook => record
                .str("subtype", "stop_hook_summary")
                .int("hookCount", 1)
                .raw("hookInfos", "[{\"command\":\"bash ${CLAUDE_PROJECT_DIR}/.claude/hooks/notify.sh\"}]")
                .raw("hookErrors", "[]")
                .bool("preventedContinuation", false)
                .str("stopReason", "")
                .bool("hasOutput", false)
                .str("level", "suggestion")
                .uuid("toolUseID", hook),
            System::TurnDuration(took) => record.str("subtype", "turn_duration").int("durationMs", took.cast_unsigned()).bool("isMeta", false),
            System::ApiError { attempt } => record
                .str("subtype", "api_error")
                .str("level", "error")
                .raw("error", "{\"status\":529,\"error\":{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}}")
                .raw("retryInMs", &format!("{retry}.2778597981155"))
                .int("retryAttempt", *attempt)
                .int("maxRetries", 10),
            System::LocalCommand => record
                .str("subtype", "local_command")
                .str("content", "<command-name>/compact</command-name>\n            <command-message>compact</command-message>")
                .str("level", "info")
                .bool("isMeta", false),
        };
        let record = record.str("timestamp", &iso(at)).uuid("uuid", uuid);
        self.event(at, uuid, record, Facts::default());
    }
}
