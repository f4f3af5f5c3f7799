//! Tool calls and what they answer, in the shapes each tool has.

use super::{
    cast::{Era, Lang},
    clock::Millis,
    code::{self, Source},
    json::{Obj, array, quoted, strings},
    rng::Rng,
    shell, words,
};

/// A tool, by what it works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tool {
    Bash,
    Read,
    Edit,
    MultiEdit,
    Write,
    Grep,
    Glob,
    /// Any other, whose answer is no more than text and a small object.
    Other(&'static str),
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Succeed,
    Fail,
    Reject,
    /// The session ends, or the user interrupts, before an answer is written.
    Vanish,
}

/// Which tools somebody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// The main conversation: all.
    Session,
    /// A sub-agent: all but those that talk to the user.
    Everything,
    EditsOnly,
    ReadsOnly,
}

/// What a call asks for; kept so that a failed one can be tried again on the same target.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) tool: Tool,
    /// A file path, or a command.
    pub(super) target: String,
}

pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: &'static str,
    pub(super) input: String,
    pub(super) reply: Option<Reply>,
    pub(super) took: Millis,
}

pub(super) struct Reply {
    /// `content` of the block, as JSON: a string, or an array of blocks.
    pub(super) content: String,
    pub(super) is_error: Option<bool>,
    /// `toolUseResult`, as JSON.
    pub(super) twin: Option<String>,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Done(Change),
    Failed,
    Rejected,
}

impl Verdict {
    /// Whether the call succeeded and changed no file.
    pub(super) fn is_harmless(self) -> bool {
        self == Self::Done(Change::default())
    }
}

/// Lines that a successful call changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Change {
    pub(super) added: u64,
    pub(super) removed: u64,
}

/// Where the tools run.
pub(super) struct Bench<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) era: Era,
    pub(super) cwd: &'a str,
    pub(super) lang: Lang,
    pub(super) unique: &'a mut u64,
}

/// The tools of small answers: the eras in which they are first and last seen, and how often.
const SMALL: [(Era, Era, u64, &str); 27] = [
    (Era::One, Era::One, 1, "LS"),
    (Era::One, Era::Two, 1, "BashOutput"),
    (Era::One, Era::Two, 1, "KillBash"),
    (Era::One, Era::Two, 1, "TodoRead"),
    (Era::One, Era::Progress, 8, "TodoWrite"),
    (Era::One, Era::Late, 1, "NotebookEdit"),
    (Era::One, Era::Late, 1, "WebFetch"),
    (Era::One, Era::Late, 1, "WebSearch"),
    (Era::One, Era::Late, 1, "ExitPlanMode"),
    (Era::One, Era::Late, 1, "mcp__ide__getDiagnostics"),
    (Era::Two, Era::Late, 1, "AskUserQuestion"),
    (Era::Two, Era::Late, 2, "Skill"),
    (Era::Two, Era::Two, 1, "SlashCommand"),
    (Era::Two, Era::Late, 1, "KillShell"),
    (Era::Two, Era::Late, 3, "mcp__linear-server__list_issues"),
    (Era::Two, Era::Late, 1, "mcp__linear-server__create_comment"),
    (Era::Two, Era::Late, 1, "mcp__playwright__browser_snapshot"),
    (
        Era::Progress,
        Era::Late,
        1,
        "mcp__plugin_docs_context7__query-docs",
    ),
    (Era::Progress, Era::Late, 1, "EnterPlanMode"),
    (Era::Progress, Era::Late, 5, "TaskCreate"),
    (Era::Progress, Era::Late, 8, "TaskUpdate"),
    (Era::Progress, Era::Late, 1, "TaskList"),
    (Era::Progress, Era::Late, 1, "TaskGet"),
    (Era::Progress, Era::Late, 1, "TaskOutput"),
    (Era::Progress, Era::Late, 1, "TaskStop"),
    (Era::Progress, Era::Late, 1, "LSP"),
    // A name the model made up: it only ever fails.
    (Era::One, Era::Late, 1, INVENTED),
];

const INVENTED: &str = "execute_command";

/// A tool for the next step, and its target.
pub(super) fn ask(rng: &mut Rng, era: Era, lang: Lang, cwd: &str, reach: Reach) -> Ask {
    let edit = if reach == Reach::ReadsOnly { 0 } else { 200 };
    let all = matches!(reach, Reach::Session | Reach::Everything);
    let tool = rng.weighted(&[
        (300, Tool::Bash),
        (260, Tool::Read),
        (edit, Tool::Edit),
        (if all && era == Era::One { 40 } else { 0 }, Tool::MultiEdit),
        (if all { 40 } else { 0 }, Tool::Write),
        (100, Tool::Grep),
        (40, Tool::Glob),
        (if reach == Reach::Session { 120 } else { 0 }, Tool::Other("")),
    ]);
    let target = match tool {
        Tool::Bash => shell::command(rng, lang),
        _ => format!("{cwd}/{}", code::path(rng, lang)),
    };
    match tool {
        Tool::Other(_) => {
            let fitting = SMALL.iter().filter(|(from, to, ..)| (*from..=*to).contains(&era));
            let weighted: Vec<(u64, &'static str)> =
                fitting.map(|&(_, _, weight, name)| (weight, name)).collect();
            Ask {
                tool: Tool::Other(rng.weighted(&weighted)),
                target,
            }
        }
        tool => Ask { tool, target },
    }
}

impl Bench<'_> {
    pub(super) fn call(&mut self, ask: &Ask, fate: Fate) -> Call {
        let fate = if ask.tool == Tool::Other(INVENTED) && fate == Fate::Succeed {
            Fate::Fail
        } else {
            fate
        };
        let id = self.rng.id("toolu_01", 22);
        let (name, input, done) = match ask.tool {
            Tool::Bash => self.bash(&ask.target),
            Tool::Read => self.read(&ask.target),
            Tool::Edit => self.edit(&ask.target),
            Tool::MultiEdit => self.multi_edit(&ask.target),
            Tool::Write => self.write(&ask.target),
            Tool::Grep => self.grep(),
            Tool::Glob => self.glob(&ask.target),
            Tool::Other(name) => self.small(name, &ask.target),
        };
        let took = match ask.tool {
            Tool::Bash => self.rng.millis(120, 90_000),
            Tool::Edit | Tool::MultiEdit | Tool::Write => self.rng.millis(40, 22_000),
            _ => self.rng.millis(5, 4_000),
        };
        let reply = match fate {
            Fate::Succeed => Some(done),
            Fate::Fail => Some(self.failure(ask)),
            Fate::Reject => Some(self.rejection(ask.tool)),
            Fate::Vanish => None,
        };
        Call {
            id,
            name,
            input,
            reply,
            took,
        }
    }

    fn bash(&mut self, command: &str) -> (&'static str, String, Reply) {
        let input = Obj::sized(command.len() + 64)
            .str("command", command)
            .when(self.rng.chance(700), |o| {
                o.str("description", "Run the check and show the end of its output")
            })
            .done();
        let lines = self.rng.tail(0, 160);
        let stdout = shell::output(self.rng, self.lang, command, lines);
        let quiet = stdout.is_empty();
        let stderr = if self.rng.chance(60) {
            "npm warn Unknown env config \"verify-deps-before-run\""
        } else {
            ""
        };
        let twin = Obj::sized(stdout.len() + 128)
            .str("stdout", &stdout)
            .str("stderr", stderr)
            .bool("interrupted", false)
            .bool("isImage", false)
            .when(self.era >= Era::Progress, |o| o.bool("noOutputExpected", quiet))
            .when(quiet && self.era >= Era::Two, |o| {
                o.str("returnCodeInterpretation", "No matches found")
            })
            .done();
        let reply = Reply {
            content: quoted(&stdout),
            is_error: Some(false),
            ..done(twin)
        };
        ("Bash", input, reply)
    }

    fn read(&mut self, path: &str) -> (&'static str, String, Reply) {
        let lines = self.rng.tail(8, 260);
        let start = if self.rng.chance(400) {
            self.rng.between(2, 400)
        } else {
            1
        };
        let source = code::source(self.rng, self.lang, self.unique, lines);
        let input = Obj::new()
            .str("file_path", path)
            .when(start > 1, |o| o.int("offset", start).int("limit", lines))
            .done();
        let file = Obj::sized(lines_capacity(&source))
            .str("filePath", path)
            .str("content", &source.text())
            .int("numLines", lines)
            .int("startLine", start)
            .int("totalLines", start + lines + 60)
            .done();
        let numbered = source.numbered(usize::try_from(start).unwrap_or(1));
        let twin = Obj::sized(file.len() + 32)
            .str("type", "text")
            .raw("file", &file)
            .done();
        (
            "Read",
            input,
            Reply {
                content: quoted(&numbered),
                ..done(twin)
            },
        )
    }

    fn edit(&mut self, path: &str) -> (&'static str, String, Reply) {
        let source = self.source(20, 240);
        let hunk = source.hunk(self.rng, self.lang, self.unique);
        let (old, new) = (hunk.old_string(), hunk.new_string());
        let input = Obj::sized(old.len() + new.len() + 128)
            .bool("replace_all", false)
            .str("file_path", path)
            .str("old_string", &old)
            .str("new_string", &new)
            .done();
        let twin = Obj::sized(lines_capacity(&source))
            .str("filePath", path)
            .str("oldString", &old)
            .str("newString", &new)
            .str("originalFile", &source.text())
            .raw("structuredPatch", &array([hunk.patch()]))
            .bool("userModified", self.rng.chance(20))
            .bool("replaceAll", false)
            .done();
        let text = format!("The file {path} has been updated successfully.");
        let verdict = changed(hunk.new.len(), hunk.old.len());
        (
            "Edit",
            input,
            Reply {
                content: quoted(&text),
                verdict,
                ..done(twin)
            },
        )
    }

    fn multi_edit(&mut self, path: &str) -> (&'static str, String, Reply) {
        let source = self.source(30, 120);
        let hunks: Vec<code::Hunk> = (0..self.rng.between(2, 4))
            .map(|_| source.hunk(self.rng, self.lang, self.unique))
            .collect();
        let edit = |hunk: &code::Hunk| {
            Obj::sized(512)
                .str("old_string", &hunk.old_string())
                .str("new_string", &hunk.new_string())
        };
        let input = Obj::new()
            .str("file_path", path)
            .raw("edits", &array(hunks.iter().map(|hunk| edit(hunk).done())))
            .done();
        let twin = Obj::sized(lines_capacity(&source))
            .str("filePath", path)
            .raw(
                "edits",
                &array(
                    hunks
                        .iter()
                        .map(|hunk| edit(hunk).bool("replace_all", false).done()),
                ),
            )
            .str("originalFileContents", &source.text())
            .raw("structuredPatch", &array(hunks.iter().map(code::Hunk::patch)))
            .bool("userModified", false)
            .done();
        let text = format!("Applied {} edits to {path}", hunks.len());
        let verdict = changed(
            hunks.iter().map(|h| h.new.len()).sum(),
            hunks.iter().map(|h| h.old.len()).sum(),
        );
        (
            "MultiEdit",
            input,
            Reply {
                content: quoted(&text),
                verdict,
                ..done(twin)
            },
        )
    }

    /// A new file, whose patch is empty; or an old one overwritten, whose patch is not.
    fn write(&mut self, path: &str) -> (&'static str, String, Reply) {
        let source = self.source(3, 180);
        let creates = self.rng.chance(700);
        let hunk = source.hunk(self.rng, self.lang, self.unique);
        let mut content = source.text();
        if creates && self.rng.chance(250) {
            content.pop();
        }
        let input = Obj::sized(content.len() + 64)
            .str("file_path", path)
            .str("content", &content)
            .done();
        let structured = if creates {
            "[]".to_owned()
        } else {
            array([hunk.patch()])
        };
        let twin = Obj::sized(content.len() + 1024)
            .str("type", if creates { "create" } else { "update" })
            .str("filePath", path)
            .str("content", &content)
            .raw("structuredPatch", &structured)
            .when(self.era >= Era::Two, |o| o.null("originalFile"))
            .done();
        let (text, verdict) = if creates {
            (
                format!("File created successfully at: {path}"),
                changed(source.lines.len(), 0),
            )
        } else {
            (
                format!("The file {path} has been updated."),
                changed(hunk.new.len(), hunk.old.len()),
            )
        };
        (
            "Write",
            input,
            Reply {
                content: quoted(&text),
                verdict,
                ..done(twin)
            },
        )
    }

    fn grep(&mut self) -> (&'static str, String, Reply) {
        let pattern = self.rng.pick(&words::TOPICS);
        let lines = self.rng.tail(1, 60);
        let in_content = self.rng.chance(700);
        let files: Vec<String> = (0..lines.min(12))
            .map(|_| code::path(self.rng, self.lang))
            .collect();
        let input = Obj::new()
            .str("pattern", pattern)
            .str("path", self.cwd)
            .str(
                "output_mode",
                if in_content {
                    "content"
                } else {
                    "files_with_matches"
                },
            )
            .done();
        let text = if in_content {
            shell::matches(self.rng, self.lang, self.unique, lines)
        } else {
            format!("Found {} files\n{}", files.len(), files.join("\n"))
        };
        let twin = if in_content {
            Obj::new()
                .str("mode", "content")
                .int("numFiles", 0)
                .raw("filenames", "[]")
                .str("content", &text)
                .int("numLines", lines)
        } else {
            let names = strings(files.iter().map(String::as_str));
            Obj::new()
                .str("mode", "files_with_matches")
                .raw("filenames", &names)
                .int("numFiles", files.len() as u64)
        };
        (
            "Grep",
            input,
            Reply {
                content: quoted(&text),
                ..done(twin.done())
            },
        )
    }

    fn glob(&mut self, target: &str) -> (&'static str, String, Reply) {
        let files: Vec<String> = (0..self.rng.tail(1, 30))
            .map(|_| format!("{}/{}", self.cwd, code::path(self.rng, self.lang)))
            .collect();
        let extension = target.rsplit('.').next().unwrap_or("md");
        let input = Obj::new().str("pattern", &format!("**/*.{extension}")).done();
        let twin = Obj::new()
            .raw("filenames", &strings(files.iter().map(String::as_str)))
            .int("durationMs", self.rng.tail(4, 900))
            .int("numFiles", files.len() as u64)
            .bool("truncated", false)
            .done();
        (
            "Glob",
            input,
            Reply {
                content: quoted(&files.join("\n")),
                ..done(twin)
            },
        )
    }

    fn source(&mut self, low: u64, high: u64) -> Source {
        let lines = self.rng.tail(low, high);
        code::source(self.rng, self.lang, self.unique, lines)
    }
}

/// A reply with nothing but its structured twin.
pub(super) fn done(twin: String) -> Reply {
    Reply {
        content: quoted(""),
        is_error: None,
        twin: Some(twin),
        verdict: Verdict::Done(Change::default()),
    }
}

fn changed(added: usize, removed: usize) -> Verdict {
    Verdict::Done(Change {
        added: added as u64,
        removed: removed as u64,
    })
}

fn lines_capacity(source: &Source) -> usize {
    source.lines.len() * 72 + 1024
}
