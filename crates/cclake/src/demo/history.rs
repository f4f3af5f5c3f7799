//! The last few sessions, from which later ones copy: all that is remembered of what was written.

use std::collections::VecDeque;

use super::{
    cast::Project,
    clock::{Millis, SECOND, iso},
    json::uuid_text,
    loose,
    records::Line,
    rng::{Rng, Uuid},
    truth::{Copied, Facts},
    words,
};

/// Enough for resumes to reach back a while; each keeps its first lines only, so memory does not grow with the tree.
const SESSIONS: usize = 5;
const LINES: usize = 250;

#[derive(Default)]
pub(super) struct History(VecDeque<Past>);

/// What is kept of a session.
pub(super) struct Past {
    pub(super) project: Project,
    pub(super) ended: Millis,
    lines: Vec<Line>,
    leaf: Uuid,
    title: String,
    /// The title is in some file already: the same line in another is no new record.
    is_titled: bool,
}

impl History {
    pub(super) fn remember(&mut self, rng: &mut Rng, project: Project, mut lines: Vec<Line>) {
        let ended = lines.iter().map(|line| line.at).max().unwrap_or_default();
        let Some(leaf) = lines.iter().rev().find_map(|line| line.facts.uuid) else {
            return;
        };
        lines.truncate(LINES);
        if self.0.len() == SESSIONS {
            self.0.pop_front();
        }
        self.0.push_back(Past {
            project,
            ended,
            lines,
            leaf,
            title: words::title(rng),
            is_titled: false,
        });
    }

    /// A session to go on from.
    pub(super) fn pick(&self, rng: &mut Rng) -> Option<&Past> {
        self.0.get(rng.index(self.0.len().max(1)))
    }

    /// The title of an earlier session, as it is appended to whatever file is open; or of one that nobody has.
    pub(super) fn title(&mut self, rng: &mut Rng, at: Millis, session: Uuid) -> Line {
        let place = rng.index(self.0.len().max(1));
        let (text, copy) = match self.0.get_mut(place) {
            Some(past) if rng.chance(700) => {
                let copy = if past.is_titled {
                    Copied::Identical
                } else {
                    Copied::No
                };
                past.is_titled = true;
                (loose::summary(&past.title, past.leaf), copy)
            }
            _ => (loose::summary(&words::title(rng), rng.uuid()), Copied::No),
        };
        Line {
            at,
            session,
            text,
            facts: Facts {
                copy,
                ..Facts::default()
            },
        }
    }
}

impl Past {
    /// 1.0.x: the events once more, with the new session's id and the time of the resume.
    pub(super) fn rewritten(&self, session: Uuid, at: Millis) -> Vec<Line> {
        let events = self.lines.iter().filter(|line| line.facts.uuid.is_some());
        events.map(|line| rewrite(line, session, at)).collect()
    }

    /// Newer: the lines as they are, all or the first of them.
    pub(super) fn identical(&self, rng: &mut Rng) -> Vec<Line> {
        let count = if rng.chance(500) {
            self.lines.len()
        } else {
            1 + rng.index(self.lines.len())
        };
        let mut copies = self.lines[..count].to_vec();
        for copy in &mut copies {
            copy.facts.copy = Copied::Identical;
        }
        copies
    }

    /// The earliest a resume can happen.
    pub(super) fn resumable_from(&self) -> Millis {
        self.ended + 40 * SECOND
    }
}

fn rewrite(line: &Line, session: Uuid, at: Millis) -> Line {
    let member = |key: &str, value: &str| format!("\"{key}\":\"{value}\"");
    let text = line
        .text
        .replacen(
            &member("sessionId", &uuid_text(line.session)),
            &member("sessionId", &uuid_text(session)),
            1,
        )
        .replacen(
            &member("timestamp", &iso(line.at)),
            &member("timestamp", &iso(at)),
            1,
        );
    let facts = Facts {
        copy: Copied::Rewritten,
        ..line.facts.clone()
    };
    Line {
        at,
        session,
        text,
        facts,
    }
}
