//! The totals, counted while the records are written and by nothing but what the story says of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    clock::{self, Millis},
    rng::Uuid,
    story::Usage,
    tools::Change,
};

/// What a generated tree must add up to, whoever counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Truth {
    /// Transcript files, empty ones too.
    pub(crate) files: u64,
    /// Bytes of all transcript files.
    pub(crate) bytes: u64,
    /// Lines that are not blank: objects, dead letters and pending tails.
    pub(crate) lines: u64,
    /// Different lines that hold a JSON object.
    pub(crate) records: u64,
    /// Lines with a newline that hold no JSON object.
    pub(crate) dead_letters: u64,
    /// Last lines without a newline that hold no JSON object.
    pub(crate) pending: u64,
    /// Different session ids.
    pub(crate) sessions: u64,
    /// Prompts that a person typed, each once.
    pub(crate) human_prompts: u64,
    /// Different API responses, those of the client itself (`<synthetic>`) left out.
    pub(crate) responses: u64,
    /// Of `responses`: those that only progress records know.
    pub(crate) responses_progress_only: u64,
    /// Of all responses, each once.
    pub(crate) tokens: Tokens,
    /// UTC day of a response's first line → model → tokens.
    pub(crate) tokens_by_day: BTreeMap<String, BTreeMap<String, Tokens>>,
    /// Different tool uses, sub-agents' too.
    pub(crate) tool_calls: u64,
    /// `tool_calls` by the tool's name.
    pub(crate) tool_calls_by_name: BTreeMap<String, u64>,
    /// Of `tool_calls`: those of sub-agents.
    pub(crate) tool_calls_sub_agents: u64,
    /// Of `tool_calls`: those that only progress records know.
    pub(crate) tool_calls_progress_only: u64,
    /// Tool calls that failed; a rejection is no failure.
    pub(crate) tool_errors: u64,
    /// Of `tool_errors`: those that only progress records know.
    pub(crate) tool_errors_progress_only: u64,
    /// Tool calls that the user refused.
    pub(crate) rejections: u64,
    /// Tool calls without any result.
    pub(crate) unanswered: u64,
    /// Lines that successful calls added, by structured patch (a created file: its lines).
    pub(crate) lines_added: u64,
    /// Lines that successful calls removed, by structured patch.
    pub(crate) lines_removed: u64,
    /// Lines added by successful edits whose record has no structured patch: only a line diff tells. Not in `lines_added`.
    pub(crate) lines_added_without_patch: u64,
    /// Lines removed by the same. Not in `lines_removed`.
    pub(crate) lines_removed_without_patch: u64,
    /// Lines whose uuid another line has already: history copied by resume and fork, and lines written twice.
    pub(crate) copied_records: u64,
    /// Of `copied_records`: those that are byte for byte the same as the original, hence no records of their own.
    pub(crate) copied_identical: u64,
}

/// Tokens by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    /// Input neither written to nor read from the cache.
    pub(crate) input: u64,
    /// Output, thinking included.
    pub(crate) output: u64,
    /// Written to the cache for five minutes.
    pub(crate) cache_write_5m: u64,
    /// Written to the cache for an hour.
    pub(crate) cache_write_1h: u64,
    /// Read from the cache.
    pub(crate) cache_read: u64,
}

/// What a line means, as far as the totals go.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) uuid: Option<Uuid>,
    pub(super) copy: Copied,
    pub(super) is_prompt: bool,
    pub(super) of_agent: bool,
    pub(super) in_progress: bool,
    pub(super) response: Option<Part>,
    pub(super) calls: Vec<(String, &'static str)>,
    pub(super) results: Vec<(String, Outcome)>,
}

/// Whether the line was there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Copied {
    #[default]
    No,
    /// Byte for byte.
    Identical,
    /// With another session id and a later time.
    Rewritten,
}

/// One line of a response.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) message: String,
    pub(super) model: &'static str,
    pub(super) usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Changed(Change),
    ChangedWithoutPatch(Change),
    Failed,
    Rejected,
}

/// Counts one session's lines at a time; ids never span sessions but for copies, which are marked as such.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) truth: Truth,
    responses: HashMap<String, Response>,
    calls: HashMap<String, Call>,
    without_uuid: HashSet<String>,
}

struct Response {
    model: &'static str,
    usage: Usage,
    /// First line, and first progress record.
    line: Option<Millis>,
    progress: Option<Millis>,
}

#[derive(Default)]
struct Call {
    name: &'static str,
    of_agent: bool,
    has_line: bool,
    outcome: Option<Outcome>,
}

impl Tally {
    /// A line that holds an object.
    pub(super) fn object(&mut self, at: Millis, text: &str, facts: &Facts) {
        self.truth.lines += 1;
        self.truth.records += u64::from(self.is_new(text, facts));
        if facts.copy != Copied::No {
            self.truth.copied_records += u64::from(facts.uuid.is_some());
            self.truth.copied_identical += u64::from(facts.uuid.is_some() && facts.copy == Copied::Identical);
            return;
        }
        self.truth.human_prompts += u64::from(facts.is_prompt);
        if let Some(part) = &facts.response {
            self.part(at, part, facts.in_progress);
        }
        for (id, name) in &facts.calls {
            let call = self.calls.entry(id.clone()).or_default();
            call.name = name;
            call.of_agent = facts.of_agent;
            call.has_line |= !facts.in_progress;
        }
        for (id, outcome) in &facts.results {
            let call = self.calls.entry(id.clone()).or_default();
            // The line knows the patch, its echo in a progress record does not.
            if call.outcome.is_none() || !facts.in_progress {
                call.outcome = Some(*outcome);
            }
        }
    }

    /// A line that holds none.
    pub(super) fn garbage(&mut self, has_newline: bool) {
        self.truth.lines += 1;
        if has_newline {
            self.truth.dead_letters += 1;
        } else {
            self.truth.pending += 1;
        }
    }

    fn is_new(&mut self, text: &str, facts: &Facts) -> bool {
        match (facts.copy, facts.uuid) {
            (Copied::Identical, _) => false,
            (Copied::Rewritten, _) | (Copied::No, Some(_)) => true,
            (Copied::No, None) => self.without_uuid.insert(text.to_owned()),
        }
    }

    fn part(&mut self, at: Millis, part: &Part, in_progress: bool) {
        let response = self
            .responses
            .entry(part.message.clone())
            .or_insert_with(|| Response {
                model: part.model,
                usage: Usage::default(),
                line: None,
                progress: None,
            });
        response.usage = max(response.usage, part.usage);
        let seen = if in_progress {
            &mut response.progress
        } else {
            &mut response.line
        };
        *seen = Some(seen.map_or(at, |earlier| earlier.min(at)));
    }

    /// Adds what the session's lines amount to.
    pub(super) fn end_session(&mut self) {
        let truth = &mut self.truth;
        truth.sessions += 1;
        self.without_uuid.clear();
        for response in self.responses.drain().map(|(_, response)| response) {
            let day = clock::day(response.line.or(response.progress).unwrap_or_default());
            let by_model = truth.tokens_by_day.entry(day).or_default();
            by_model
                .entry(response.model.to_owned())
                .or_default()
                .add(response.usage);
            truth.tokens.add(response.usage);
            truth.responses += 1;
            truth.responses_progress_only += u64::from(response.line.is_none());
        }
        for call in self.calls.drain().map(|(_, call)| call) {
            truth.call(&call);
        }
    }
}

impl Truth {
    fn call(&mut self, call: &Call) {
        self.tool_calls += 1;
        *self.tool_calls_by_name.entry(call.name.to_owned()).or_default() += 1;
        self.tool_calls_sub_agents += u64::from(call.of_agent);
        self.tool_calls_progress_only += u64::from(!call.has_line);
        match call.outcome {
            None => self.unanswered += 1,
            Some(Outcome::Failed) => {
                self.tool_errors += 1;
                self.tool_errors_progress_only += u64::from(!call.has_line);
            }
            Some(Outcome::Rejected) => self.rejections += 1,
            Some(Outcome::Changed(change)) => {
                self.lines_added += change.added;
                self.lines_removed += change.removed;
            }
            Some(Outcome::ChangedWithoutPatch(change)) => {
                self.lines_added_without_patch += change.added;
                self.lines_removed_without_patch += change.removed;
            }
        }
    }
}

impl Tokens {
    fn add(&mut self, usage: Usage) {
        self.input += usage.input;
        self.output += usage.output;
        self.cache_write_5m += usage.cache_write_5m;
        self.cache_write_1h += usage.cache_write_1h;
        self.cache_read += usage.cache_read;
    }
}

fn max(a: Usage, b: Usage) -> Usage {
    Usage {
        input: a.input.max(b.input),
        output: a.output.max(b.output),
        cache_write_5m: a.cache_write_5m.max(b.cache_write_5m),
        cache_write_1h: a.cache_write_1h.max(b.cache_write_1h),
        cache_read: a.cache_read.max(b.cache_read),
    }
}
