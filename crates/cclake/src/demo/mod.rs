//! Synthetic transcripts with the quirks of real ones, and what they must add up to.
//!
//! A [`teller`] decides what happens in a session, [`records`] renders it as lines, [`writer`] damages and writes the
//! files, and [`truth`] counts on the way. Every session draws from a random stream of its own and is written before
//! the next is told, so a tree of any size takes the memory of a few sessions.

mod clock;
mod rng;

mod cast;
mod twist;
mod words;

mod agent;
mod rounds;
mod story;
mod teller;

mod code;
mod replies;
mod shell;
mod tools;

mod json;
mod loose;
mod message;
mod records;
mod ticks;

mod history;

mod truth;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::civil::Date;

pub(crate) use truth::Truth;

use self::{
    cast::{Client, Era},
    clock::{Millis, SECOND},
    history::History,
    records::{Line, Scribe, Transcript},
    rng::Rng,
    story::Scene,
    teller::Teller,
    tools::Reach,
    truth::{Facts, Tally},
    twist::{Twist, Twists},
};

/// What to generate.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The folder that gets `projects/` and `truth.json`.
    pub(crate) out: PathBuf,
    /// Days over which the sessions are spread, `until` being the last.
    pub(crate) days: u32,
    /// Sessions to tell.
    pub(crate) sessions: u64,
    /// The same seed gives the same bytes.
    pub(crate) seed: u64,
    /// The day of the last session starts, in UTC.
    pub(crate) until: Date,
}

/// Writes a tree of transcripts under `out/projects` and its totals to `out/truth.json`.
///
/// `progress` hears after each session how many bytes were written for it. Fails where `out/projects` exists, since
/// totals of a mixed tree would be wrong, and where the disk does.
pub(crate) fn generate(options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Truth> {
    let projects = options.out.join("projects");
    if projects.exists() {
        bail!(
            "{} exists already; remove it or choose another folder",
            projects.display()
        );
    }
    std::fs::create_dir_all(&projects).with_context(|| format!("cannot create {}", projects.display()))?;
    let starts = clock::starts(
        &mut Rng::new(options.seed),
        options.until,
        options.days,
        options.sessions,
    );
    let mut demo = Demo {
        projects,
        tally: Tally::default(),
        history: History::default(),
    };
    for (index, start) in (0..).zip(starts) {
        let mut rng = Rng::stream(options.seed, index);
        let twists = Twists::deal(&mut rng, index);
        let before = demo.tally.truth.bytes;
        demo.session(&mut rng, cast::client_at(index, options.sessions), start, &twists)?;
        progress(demo.tally.truth.bytes - before);
    }
    let truth = demo.tally.truth;
    let path = options.out.join("truth.json");
    let text = serde_json::to_string_pretty(&truth).context("cannot render truth.json")?;
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(truth)
}

struct Demo {
    projects: PathBuf,
    tally: Tally,
    history: History,
}

impl Demo {
    fn session(&mut self, rng: &mut Rng, client: Client, start: Millis, twists: &Twists) -> Result<()> {
        let mut scene = story::scene(rng, client, twists);
        let start = if twists.has(Twist::Midnight) {
            clock::before_midnight(start)
        } else {
            start
        };
        let (copies, start) = self.copies(rng, &mut scene, start, twists);
        let mut teller = Teller::new(rng, scene, start, Reach::Session);
        if client.era == Era::One && !copies.is_empty() {
            teller.continued();
        }
        let steps = teller.session(twists);

        let mut opening = Vec::new();
        if client.era <= Era::Two && rng.chance(300) {
            opening.push(self.history.title(rng, start, scene.session));
        }
        opening.extend(copies);
        let transcripts = Scribe::after(rng, scene, opening).transcripts(steps);
        self.write(rng, &scene, transcripts, twists)
    }

    /// The history that a resumed session starts with, and when it starts then.
    fn copies(
        &mut self,
        rng: &mut Rng,
        scene: &mut Scene,
        start: Millis,
        twists: &Twists,
    ) -> (Vec<Line>, Millis) {
        let Some(past) = self.history.pick(rng).filter(|_| twists.has(Twist::Resume)) else {
            return (Vec::new(), start);
        };
        scene.project = past.project;
        scene.branch = past.project.branches[0];
        let start = start.max(past.resumable_from());
        match scene.client.era {
            Era::One => (past.rewritten(scene.session, start), start + SECOND),
            _ => (past.identical(rng), start),
        }
    }

    fn write(
        &mut self,
        rng: &mut Rng,
        scene: &Scene,
        transcripts: Vec<Transcript>,
        twists: &Twists,
    ) -> Result<()> {
        let folder = self.projects.join(encoded(scene.project.cwd));
        let mut main = None;
        for transcript in transcripts {
            let own = Twists::of_agent(rng);
            let befalls = if main.is_none() { twists } else { &own };
            self.file(rng, &folder.join(&transcript.path), &transcript.lines, befalls)?;
            main.get_or_insert(transcript.lines);
        }
        let main = main.unwrap_or_default();
        let ended = main.iter().map(|line| line.at).max().unwrap_or_default();
        self.bystanders(rng, scene, &folder, ended, twists)?;
        self.tally.end_session();
        self.history.remember(rng, scene.project, main);
        Ok(())
    }

    /// Files beside a session's that hold no conversation.
    fn bystanders(
        &mut self,
        rng: &mut Rng,
        scene: &Scene,
        folder: &Path,
        ended: Millis,
        twists: &Twists,
    ) -> Result<()> {
        let path = |rng: &mut Rng| folder.join(format!("{}.jsonl", json::uuid_text(rng.uuid())));
        if twists.has(Twist::LooseFile) {
            let title = self.history.title(rng, ended, scene.session);
            let text = loose::snapshot(json::Obj::new(), ended, rng.uuid()).done();
            let snapshot = Line {
                text,
                facts: Facts::default(),
                ..title.clone()
            };
            let path = path(rng);
            self.file(rng, &path, &[title, snapshot], &Twists::none())?;
        }
        if twists.has(Twist::EmptyFile) {
            self.tally.truth.files += 1;
            writer::write(&path(rng), b"", ended)?;
        }
        Ok(())
    }

    fn file(&mut self, rng: &mut Rng, path: &Path, lines: &[Line], twists: &Twists) -> Result<()> {
        let bytes = writer::bytes(rng, lines, twists, &mut self.tally);
        self.tally.truth.files += 1;
        self.tally.truth.bytes += bytes.len() as u64;
        writer::write(
            path,
            &bytes,
            lines.iter().map(|line| line.at).max().unwrap_or_default(),
        )
    }
}

/// A project's folder name: its path with everything but ASCII letters and digits made a hyphen.
fn encoded(cwd: &str) -> String {
    cwd.chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '-' })
        .collect()
}
