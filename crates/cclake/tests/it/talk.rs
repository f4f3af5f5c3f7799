//! Transcripts made by hand: a session as a list of things that were said at given times of one day.

use serde_json::{Value, json};

/// Input, output, five-minute cache write, one-hour cache write and cache read tokens.
pub(crate) type Tokens = [u64; 5];

/// A session's transcript.
#[derive(Clone)]
pub(crate) struct Talk {
    session: String,
    day: String,
    folder: String,
    branch: String,
    is_sidechain: bool,
    lines: Vec<Value>,
}

impl Talk {
    /// A session in a folder, on branch `main`, on a day.
    pub(crate) fn new(session: &str, folder: &str, day: &str) -> Self {
        Self {
            session: session.to_owned(),
            day: day.to_owned(),
            folder: folder.to_owned(),
            branch: "main".to_owned(),
            is_sidechain: false,
            lines: Vec::new(),
        }
    }

    /// What follows is on this branch.
    pub(crate) fn on_branch(mut self, branch: &str) -> Self {
        branch.clone_into(&mut self.branch);
        self
    }

    /// What follows is a sub-agent's.
    pub(crate) fn by_sub_agent(mut self) -> Self {
        self.is_sidechain = true;
        self
    }

    /// A person asks. Texts that Claude Code writes by itself go in here too.
    pub(crate) fn prompt(self, time: &str, text: &str) -> Self {
        self.line(time, "user", &json!({"role": "user", "content": text}))
    }

    /// A whole response in one line that says something and asks for no tool.
    pub(crate) fn response(self, time: &str, id: &str, model: &str, tokens: Tokens) -> Self {
        let content = json!({"type": "text", "text": "done"});
        self.assistant(time, id, model, tokens, &content)
    }

    /// A response that asks for a tool.
    pub(crate) fn call(
        self,
        time: &str,
        id: &str,
        model: &str,
        tokens: Tokens,
        call: (&str, &str, Value),
    ) -> Self {
        let (tool_use_id, name, input) = call;
        let content = json!({"type": "tool_use", "id": tool_use_id, "name": name, "input": input});
        self.assistant(time, id, model, tokens, &content)
    }

    /// The result of a tool, and its structured twin.
    pub(crate) fn result(
        self,
        time: &str,
        tool_use_id: &str,
        text: &str,
        is_error: bool,
        twin: Value,
    ) -> Self {
        let block =
            json!({"type": "tool_result", "tool_use_id": tool_use_id, "content": text, "is_error": is_error});
        let mut talk = self.line(time, "user", &json!({"role": "user", "content": [block]}));
        if let Some(line) = talk.lines.last_mut().filter(|_| !twin.is_null()) {
            line["toolUseResult"] = twin;
        }
        talk
    }

    /// The same lines as another session shows them that goes on from this one: same events, new session id and day.
    pub(crate) fn forked(&self, session: &str, day: &str) -> Self {
        let mut fork = self.clone();
        session.clone_into(&mut fork.session);
        day.clone_into(&mut fork.day);
        for line in &mut fork.lines {
            line["sessionId"] = session.into();
            line["timestamp"] = format!("{day}T08:00:00.000Z").into();
        }
        fork
    }

    /// The file's text.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn assistant(self, time: &str, id: &str, model: &str, tokens: Tokens, content: &Value) -> Self {
        let [input, output, five_minutes, one_hour, read] = tokens;
        let usage = json!({
            "input_tokens": input, "output_tokens": output,
            "cache_creation_input_tokens": five_minutes + one_hour, "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": one_hour},
        });
        let message = json!({
            "id": id, "type": "message", "role": "assistant", "model": model,
            "content": [content], "stop_reason": "end_turn", "usage": usage,
        });
        self.line(time, "assistant", &message)
    }

    fn line(mut self, time: &str, kind: &str, message: &Value) -> Self {
        let number = self.lines.len();
        self.lines.push(json!({
            "parentUuid": null, "isSidechain": self.is_sidechain, "userType": "external", "cwd": self.folder,
            "sessionId": self.session, "version": "2.1.40", "gitBranch": self.branch, "type": kind, "message": message,
            "uuid": format!("{}-{}-{number}", self.session, self.is_sidechain),
            "timestamp": format!("{}T{time}.000Z", self.day),
        }));
        self
    }

    /// Sets a field of the usage of the last response.
    pub(crate) fn with_usage(mut self, field: &str, value: Value) -> Self {
        if let Some(line) = self.lines.last_mut() {
            line["message"]["usage"][field] = value;
        }
        self
    }
}
