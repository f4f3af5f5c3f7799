//! Answers of the small tools, failures and rejections.

use super::{
    cast::Era,
    json::{Obj, array, quoted},
    rng::Rng,
    shell,
    tools::{Ask, Bench, Reply, Tool, Verdict, done},
    words,
};

/// What a small tool is asked, and answers.
struct Small {
    input: String,
    twin: String,
    text: String,
}

impl Bench<'_> {
    pub(super) fn small(&mut self, name: &'static str, target: &str) -> (&'static str, String, Reply) {
        let small = match name {
            _ if name.starts_with("mcp__") => return self.mcp(name),
            "TodoWrite" | "TodoRead" => self.todos(name),
            _ if name.starts_with("Task") => self.tasks(name),
            "WebFetch" | "WebSearch" => self.web(name),
            "BashOutput" | "KillBash" | "KillShell" => self.shell(name),
            "AskUserQuestion" | "ExitPlanMode" => self.talk(name),
            _ => self.rest(name, target),
        };
        let reply = Reply {
            content: quoted(&small.text),
            ..done(small.twin)
        };
        (name, small.input, reply)
    }

    fn todos(&mut self, name: &str) -> Small {
        let todos = array(["completed", "in_progress", "pending"].map(|status| todo(self.rng, status)));
        if name == "TodoRead" {
            return Small {
                input: "{}".to_owned(),
                text: todos.clone(),
                twin: todos,
            };
        }
        Small {
            input: Obj::new().raw("todos", &todos).done(),
            twin: Obj::new().raw("oldTodos", "[]").raw("newTodos", &todos).done(),
            text: "Todos have been modified successfully. Ensure that you continue to use the todo list"
                .to_owned(),
        }
    }

    fn tasks(&mut self, name: &str) -> Small {
        let number = self.rng.between(1, 9);
        let id = number.to_string();
        let subject = words::title(self.rng);
        let task = Obj::new().str("id", &id).str("subject", &subject);
        match name {
            "TaskCreate" => Small {
                input: Obj::new()
                    .str("subject", &subject)
                    .str("description", &words::prose(self.rng, 2))
                    .done(),
                twin: Obj::new().raw("task", &task.done()).done(),
                text: format!("Task #{number} created successfully: {subject}"),
            },
            "TaskUpdate" => Small {
                input: Obj::new().str("taskId", &id).str("status", "completed").done(),
                twin: Obj::new()
                    .bool("success", true)
                    .str("taskId", &id)
                    .raw("updatedFields", "[\"status\"]")
                    .raw("statusChange", "{\"from\":\"in_progress\",\"to\":\"completed\"}")
                    .done(),
                text: format!("Updated task #{number} status"),
            },
            _ => Small {
                input: Obj::new().str("taskId", &id).done(),
                twin: Obj::new()
                    .raw("tasks", &array([task.str("status", "pending").done()]))
                    .done(),
                text: format!("#{number} [pending] {subject}"),
            },
        }
    }

    fn web(&mut self, name: &str) -> Small {
        let found = words::prose(self.rng, 8);
        if name == "WebFetch" {
            let url = "https://docs.rs/jiff";
            return Small {
                input: Obj::new()
                    .str("url", url)
                    .str("prompt", "What is the recommended way?")
                    .done(),
                twin: Obj::new()
                    .int("bytes", 48_211)
                    .int("code", 200)
                    .str("codeText", "OK")
                    .str("result", &found)
                    .int("durationMs", self.rng.tail(300, 9_000))
                    .str("url", url)
                    .done(),
                text: found,
            };
        }
        let query = format!("{} best practice", self.rng.pick(&words::TOPICS));
        Small {
            input: Obj::new().str("query", &query).done(),
            twin: Obj::new()
                .str("query", &query)
                .raw("results", "[]")
                .raw("durationSeconds", "11.382171707998")
                .done(),
            text: format!("Web search results for query: \"{query}\"\n\n{found}"),
        }
    }

    fn shell(&mut self, name: &str) -> Small {
        if name == "BashOutput" {
            let twin = Obj::new()
                .str("shellId", "bash_1")
                .str("command", "pnpm dev")
                .str("status", "running")
                .null("exitCode")
                .str("stdout", &shell::output(self.rng, self.lang, "pnpm dev", 6))
                .str("stderr", "");
            return Small {
                input: Obj::new().str("bash_id", "bash_1").done(),
                twin: twin.int("stdoutLines", 6).int("stderrLines", 0).done(),
                text: "<status>running</status>".to_owned(),
            };
        }
        let text = "Successfully killed shell: bash_1 (pnpm dev)".to_owned();
        Small {
            input: Obj::new().str("shell_id", "bash_1").done(),
            twin: Obj::new()
                .bool("success", true)
                .str("message", &text)
                .str("shell_id", "bash_1")
                .done(),
            text,
        }
    }

    fn talk(&mut self, name: &str) -> Small {
        if name == "ExitPlanMode" {
            let subject = words::title(self.rng);
            let plan = format!(
                "## {subject}\n\n1. {}\n2. {}",
                words::prose(self.rng, 2),
                words::prose(self.rng, 2)
            );
            return Small {
                input: Obj::new().str("plan", &plan).done(),
                twin: Obj::new().str("plan", &plan).bool("isAgent", false).done(),
                text: "User has approved your plan. You can now start coding.".to_owned(),
            };
        }
        let question = format!("Should {} stay synchronous?", self.rng.pick(&words::TOPICS));
        let asked = Obj::new()
            .str("question", &question)
            .str("header", "Design")
            .bool("multiSelect", false)
            .done();
        let questions = array([asked]);
        let answers = Obj::new().str(&question, "Yes, keep it").done();
        Small {
            input: Obj::new().raw("questions", &questions).done(),
            twin: Obj::new()
                .raw("questions", &questions)
                .raw("answers", &answers)
                .done(),
            text: format!("User has answered your questions: \"{question}\"=\"Yes, keep it\"."),
        }
    }

    fn rest(&mut self, name: &str, target: &str) -> Small {
        let topic = self.rng.pick(&words::TOPICS);
        let number = self.rng.between(1, 9);
        match name {
            "NotebookEdit" => {
                let path = format!("{}/eda.ipynb", self.cwd);
                let twin = Obj::new()
                    .int("cell_number", number)
                    .str("new_source", topic)
                    .str("cell_type", "code");
                Small {
                    input: Obj::new()
                        .str("notebook_path", &path)
                        .int("cell_number", number)
                        .str("new_source", topic)
                        .done(),
                    twin: twin
                        .str("language", "python")
                        .str("edit_mode", "replace")
                        .str("error", "")
                        .done(),
                    text: format!("Updated cell {number} with {topic}"),
                }
            }
            "Skill" | "SlashCommand" => Small {
                input: Obj::new().str("skill", "review-branch").done(),
                twin: Obj::new()
                    .bool("success", true)
                    .str("commandName", "review-branch")
                    .done(),
                text: "Launching skill: review-branch".to_owned(),
            },
            // Its twin is a string, even on success.
            "LS" => {
                let text = format!("- {}/\n  - src/\n", self.cwd);
                Small {
                    input: Obj::new().str("path", self.cwd).done(),
                    twin: quoted(&text),
                    text,
                }
            }
            "EnterPlanMode" => {
                let text = "Entered plan mode. You should now focus on exploring the codebase.".to_owned();
                Small {
                    input: "{}".to_owned(),
                    twin: Obj::new().str("message", &text).done(),
                    text,
                }
            }
            _ => {
                let text = format!("Found {number} symbols");
                let ask = || {
                    Obj::new()
                        .str("operation", "workspaceSymbol")
                        .str("filePath", target)
                };
                let twin = ask().str("result", &text).int("resultCount", number).done();
                Small {
                    input: ask().int("line", number).done(),
                    twin,
                    text,
                }
            }
        }
    }

    /// The answer of an MCP tool is an array of blocks, in both places.
    fn mcp(&mut self, name: &'static str) -> (&'static str, String, Reply) {
        let topic = self.rng.pick(&words::TOPICS);
        let found = words::prose(self.rng, 6);
        let text = Obj::new()
            .str("id", "LED-214")
            .str("title", topic)
            .str("description", &found)
            .done();
        let blocks = array([Obj::new().str("type", "text").str("text", &text).done()]);
        let input = Obj::new().str("query", topic).int("limit", 20).done();
        (
            name,
            input,
            Reply {
                content: blocks.clone(),
                ..done(blocks)
            },
        )
    }

    pub(super) fn failure(&mut self, ask: &Ask) -> Reply {
        let sibling = self.rng.chance(60);
        let text = match ask.tool {
            _ if sibling && self.era >= Era::Two => "Sibling tool call errored".to_owned(),
            Tool::Bash => {
                let lines = self.rng.tail(1, 40);
                let output = shell::output(self.rng, self.lang, &ask.target, lines);
                let prefix = if self.era >= Era::Two { format!("Exit code {}\n", self.rng.pick(&[1, 1, 1, 2, 101, 127])) } else { String::new() };
                return failed(&format!("{prefix}{output}"));
            }
            Tool::Read => self.rng.pick(&[
                "File does not exist.",
                "File content (26800 tokens) exceeds maximum allowed tokens (25000). Please use offset and limit parameters to read specific portions of the file.",
            ]).to_owned(),
            Tool::Edit | Tool::MultiEdit | Tool::Write => self.rng.pick(&[
                "File has not been read yet. Read it first before writing to it.",
                "String to replace not found in file.\nString:     let total = 0;",
                "Found 2 matches of the string to replace, but replace_all is false. To replace all occurrences, set replace_all to true.",
                "File has been modified since read, either by the user or by a linter. Read it again before attempting to write it.",
            ]).to_owned(),
            Tool::Grep | Tool::Glob => format!("Path does not exist: {}", ask.target),
            Tool::Other("WebFetch") => return failed("Request failed with status code 404"),
            Tool::Other(name) if name.starts_with("mcp__") => return failed("Entity not found: Issue - Could not find referenced Issue."),
            Tool::Other(name @ "execute_command") => format!("Error: No such tool available: {name}"),
            Tool::Other(_) => "InputValidationError: the required parameter `description` is missing".to_owned(),
        };
        if self.era >= Era::Two {
            let content = format!("<tool_use_error>{text}</tool_use_error>");
            Reply {
                content: quoted(&content),
                ..failed(&text)
            }
        } else {
            failed(&text)
        }
    }

    pub(super) fn rejection(&mut self, tool: Tool) -> Reply {
        const REFUSED: &str = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file).";
        let plan = tool == Tool::Other("ExitPlanMode");
        let text = match self.rng.below(3) {
            _ if plan => "The user doesn't want to take this action right now. STOP what you are doing and wait for the user to tell you how to proceed.".to_owned(),
            0 => format!("{REFUSED} To tell you how to proceed, the user said:\n{}", self.rng.pick(&words::REASONS)),
            _ => format!("{REFUSED} STOP what you are doing and wait for the user to tell you how to proceed."),
        };
        let twin = if self.rng.chance(500) {
            "User rejected tool use".to_owned()
        } else {
            format!("Error: {text}")
        };
        Reply {
            content: quoted(&text),
            is_error: Some(true),
            twin: Some(quoted(&twin)),
            verdict: Verdict::Rejected,
        }
    }
}

/// An error's twin is a string.
fn failed(text: &str) -> Reply {
    Reply {
        content: quoted(text),
        is_error: Some(true),
        twin: Some(quoted(&format!("Error: {text}"))),
        verdict: Verdict::Failed,
    }
}

fn todo(rng: &mut Rng, status: &str) -> String {
    let content = words::title(rng);
    Obj::new()
        .str("content", &content)
        .str("status", status)
        .str("activeForm", &content)
        .done()
}
