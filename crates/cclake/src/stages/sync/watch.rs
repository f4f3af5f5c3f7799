//! `sync --watch`: pass after pass, for as long as the process lives. Whatever fails is tried again, since the files wait.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use cclake_extract::mongo::{MongoSettings, Target};
use cclake_extract::{Backoff, SourceFile};

use super::{Pulse, Syncer};
use crate::stages::{is_away, told::Told};

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// How often the server is asked whether it is there and the collection still the same.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a person should hear.
#[derive(Debug)]
pub(crate) enum Event {
    /// Worth knowing.
    Note(String),
    /// Something is wrong, and is being tried again.
    Warning(String),
    /// It cannot even begin.
    Failed(anyhow::Error),
    /// It was told to end.
    Stop,
}

/// Goes on until nobody hears of events any more. Only what fails before the first pass, and would fail again, ends it.
pub(crate) fn watch(mut syncer: Syncer, pulse: &Arc<Pulse>, events: &Sender<Event>) {
    let mut watcher = Watcher {
        pulse: Arc::clone(pulse),
        target: None,
        seen: None,
        told: Told::default(),
    };
    let mut trouble: Option<Trouble> = None;
    let mut has_begun = false;
    loop {
        let (news, pause) = match watcher.step(&mut syncer) {
            Ok(warnings) => {
                has_begun = true;
                let back = trouble
                    .take()
                    .map(|_| Event::Note("all is well again, and everything is in MongoDB".into()));
                let news: Vec<_> = warnings.into_iter().map(Event::Warning).chain(back).collect();
                (news, POLL)
            }
            Err(error) => {
                let is_away = is_away(&error);
                if !has_begun && !is_away {
                    let _ = events.send(Event::Failed(error));
                    return;
                }
                watcher.fail(&mut syncer, &error, is_away);
                let first = trouble.as_ref().is_none_or(|trouble| trouble.is_away != is_away);
                let trouble = trouble.get_or_insert(Trouble {
                    is_away,
                    backoff: Backoff::default(),
                });
                trouble.is_away = is_away;
                let pause = trouble.backoff.next_pause();
                let told =
                    format!("{error:#}; trying again until it works: nothing is lost, the files keep it");
                (first.then_some(Event::Warning(told)).into_iter().collect(), pause)
            }
        };
        for event in news {
            if events.send(event).is_err() {
                return;
            }
        }
        thread::sleep(pause);
    }
}

/// A failure that lasts.
struct Trouble {
    is_away: bool,
    backoff: Backoff,
}

struct Watcher {
    pulse: Arc<Pulse>,
    /// The connection, and when the server was asked last.
    target: Option<(Target, Instant)>,
    /// The files as they were when everything in them was stored.
    seen: Option<Vec<SourceFile>>,
    /// What could not be read.
    told: Told,
}

impl Watcher {
    /// Looks once, and stores what is new; new warnings about files.
    fn step(&mut self, syncer: &mut Syncer) -> anyhow::Result<Vec<String>> {
        self.connect(&syncer.settings.mongo)?;
        let found = syncer.discover()?;
        let Some((target, _)) = &self.target else {
            return Ok(Vec::new());
        };
        if self.seen.as_ref() == Some(&found.files) {
            self.pulse.done();
            return Ok(Vec::new());
        }
        let files = found.files.clone();
        let pulse = &self.pulse;
        let report = syncer.pass(target, found, |bytes| pulse.pending(bytes), &mut |part| {
            pulse.stored(part);
        })?;
        let Some(warning) = report.warnings.first() else {
            self.pulse.done();
            self.told.forget();
            self.seen = Some(files);
            return Ok(Vec::new());
        };
        // What could not be read is tried again, and told once.
        self.seen = None;
        self.pulse.failed(warning, false);
        Ok(self.told.news(report.warnings))
    }

    /// Sees that there is a connection, and that the collection is still the one it was made to.
    fn connect(&mut self, settings: &MongoSettings) -> anyhow::Result<()> {
        if let Some((target, asked)) = &mut self.target {
            if asked.elapsed() < HEARTBEAT {
                return Ok(());
            }
            if target.is_same()? {
                *asked = Instant::now();
                return Ok(());
            }
        }
        self.seen = None;
        self.target = Some((Target::connect(settings)?, Instant::now()));
        self.pulse.connected();
        Ok(())
    }

    fn fail(&mut self, syncer: &mut Syncer, error: &anyhow::Error, is_away: bool) {
        self.target = None;
        self.seen = None;
        self.pulse.failed(&format!("{error:#}"), is_away);
        if let Ok(found) = syncer.discover() {
            self.pulse.pending(syncer.pending_bytes(found.files));
        }
    }
}
