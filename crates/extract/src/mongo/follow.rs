//! The stream of changes: token first, then what is there, then every change, gathered into commits.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bson::{Document, RawDocumentBuf, doc};
use mongodb::{
    change_stream::{ChangeStream, event::ResumeToken},
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    options::FullDocumentType,
};

use super::{
    changes::{Buffer, Effect},
    connect::Source,
    extract::{Chunk, Settings},
    plan::belonging,
    position::{Position, StreamPosition},
    reader::is_passing,
};
use crate::{
    backoff::Backoff,
    error::{Error, ErrorKind, Result},
    id::RecordId,
};

/// How long the server waits for a change before it answers that there is none: bounds how late a commit or an end is.
const AWAIT: Duration = Duration::from_millis(250);

/// An idle stream's token is kept this often, or a quiet collection would age out of the server's log.
const IDLE_CHECKPOINT: Duration = Duration::from_mins(1);

/// What following brings.
#[derive(Debug)]
pub enum Step {
    /// To be committed.
    Commit(Box<Chunk>),
    /// To be told.
    Say(String),
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to.
    Stopped,
    /// There is nothing more for now, or it was time.
    CaughtUp,
    /// The server's log no longer reaches back to the position, or the collection is another: all of it must be read
    /// again. The last chunk's position says so too, with a token from which to follow afterwards.
    MustBackfill,
}

/// When following ends of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Stopped,
    /// When nothing more comes, or after the time of [`Pace::buffer`].
    CaughtUp,
}

/// How changes are gathered, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time after which changes are committed.
    pub buffer: Duration,
    /// Bytes of events after which they are committed earlier.
    pub bytes: u64,
    /// When it is enough.
    pub until: Until,
}

/// `position` with a token from which every later change can be read, taken before anything else is read, so that
/// nothing is missed in between; and what to tell. What was read before anyone followed, or is being read by a pass under way, may
/// have changed since, unseen: with `history`, all of it is to be read again; without, what is left of a full extract is not read.
///
/// # Errors
/// [`ErrorKind::Source`]; a server without a replica set has no stream.
pub fn with_token(
    source: &Source,
    position: Option<Position>,
    history: bool,
) -> Result<(Position, Option<String>)> {
    let read = source.runtime.block_on(async {
        let (mut position, mut warning) = belonging(source, position, source.uuid().await);
        if position.stream.is_none() {
            let is_used = position.is_complete || position.backfill.is_some();
            if is_used && history {
                warning.get_or_insert_with(|| {
                    format!(
                        "{}: nobody has followed it so far, so that changes may have been missed: reading all of it once more",
                        source.namespace
                    )
                });
            }
            if history || position.must_reconcile {
                position = reborn(source, position.epoch, None).await?;
            } else {
                position.backfill = None;
                position.stream = Some(now(source, position.epoch).await?);
            }
        }
        Ok((position, warning))
    });
    read.map_err(|error: DriverError| stream_failure(source, &error))
}

/// The position of a collection that must be read again, in an epoch after `last`, from `stream` or a token of now.
async fn reborn(source: &Source, last: i32, stream: Option<StreamPosition>) -> Result<Position, DriverError> {
    let epoch = last.saturating_add(1);
    let mut position = Position::missed(source.uuid().await, epoch);
    position.stream = Some(match stream {
        Some(stream) => StreamPosition {
            epoch,
            is_caught_up: false,
            ..stream
        },
        None => now(source, epoch).await?,
    });
    Ok(position)
}

async fn now(source: &Source, epoch: i32) -> Result<StreamPosition, DriverError> {
    let mut stream = open(source, None).await?;
    // Some servers give the first token only with the first answer.
    for _ in 0..20 {
        if let Some(token) = token_of(&stream) {
            return Ok(StreamPosition {
                token,
                order: None,
                epoch,
                is_caught_up: false,
            });
        }
        stream.next_if_any().await?;
    }
    Err(DriverError::custom("the server gives no resume token"))
}

/// Follows the stream from `position`, which must have a token, until `stop` is set or [`Pace::until`] is reached.
///
/// Servers that go away are waited for. Nothing is lost and nothing doubled by that: the stream goes on behind the last
/// event seen. `dead_ids` is what the dead letter queue holds.
///
/// # Errors
/// The first error of `on_step`, or [`ErrorKind::Source`] where trying again cannot help.
#[expect(clippy::implicit_hasher, reason = "one hasher is enough")]
pub fn follow<E: From<Error>>(
    source: &Source,
    position: Position,
    dead_ids: &HashSet<RecordId>,
    settings: &Settings,
    pace: Pace,
    stop: &AtomicBool,
    on_step: &mut dyn FnMut(Step) -> Result<(), E>,
) -> Result<Ending, E> {
    Follower {
        source,
        pace,
        stop,
        on_step,
        buffer: Buffer::new(settings, dead_ids, &source.namespace, position),
        began: Instant::now(),
        first: None,
        kept: Instant::now(),
        must_keep: false,
        outage: None,
    }
    .run()
}

struct Follower<'a, E> {
    source: &'a Source,
    pace: Pace,
    stop: &'a AtomicBool,
    on_step: &'a mut dyn FnMut(Step) -> Result<(), E>,
    buffer: Buffer<'a>,
    began: Instant,
    /// When the first event in the buffer came.
    first: Option<Instant>,
    /// When the position was last committed.
    kept: Instant,
    /// Whether the position must be committed though it brings no rows.
    must_keep: bool,
    /// While the server is away.
    outage: Option<Backoff>,
}

/// What breaks a stream off: the server, which may come back, or our own side.
enum Break<E> {
    Server(DriverError),
    Step(E),
}

impl<E> From<DriverError> for Break<E> {
    fn from(error: DriverError) -> Self {
        Self::Server(error)
    }
}

impl<E: From<Error>> Follower<'_, E> {
    fn run(mut self) -> Result<Ending, E> {
        loop {
            let ending = match self.stream() {
                Ok(ending) => ending,
                Err(Break::Step(error)) => return Err(error),
                Err(Break::Server(error)) if is_lost(&error) => {
                    self.say(
                        "changes since the last position are no longer in the server's log (or its token is not of this \
                         server): reading the whole collection again",
                    )?;
                    self.begin_anew(None)?;
                    Ending::MustBackfill
                }
                Err(Break::Server(_)) if self.is_stopped() => Ending::Stopped,
                Err(Break::Server(error)) if is_passing(&error) => {
                    self.wait(&error)?;
                    continue;
                }
                Err(Break::Server(error)) => {
                    self.commit()?;
                    return Err(stream_failure(self.source, &error).into());
                }
            };
            // A quiet stream that is left for longer than the server remembers must go on from where it was left.
            self.must_keep |= self.buffer.has_moved();
            self.commit()?;
            return Ok(ending);
        }
    }

    /// Reads the stream until it ends.
    fn stream(&mut self) -> Result<Ending, Break<E>> {
        let position = self.buffer.position().stream.clone();
        let runtime = &self.source.runtime;
        let mut stream = runtime.block_on(open(self.source, position.map(|stream| stream.token)))?;
        while !self.is_stopped() {
            let event = runtime.block_on(stream.next_if_any())?;
            if self.outage.take().is_some() {
                self.say("the server is back").map_err(Break::Step)?;
            }
            let is_idle = event.is_none();
            let is_at_end = match event {
                Some(event) => {
                    self.first.get_or_insert_with(Instant::now);
                    let taken = self.buffer.take(event);
                    taken.map_err(|error| Break::Step(error.into()))? == Effect::End
                }
                // The driver calls it dead as soon as the server has closed it, with the last events still to be read.
                None => !stream.is_alive(),
            };
            if is_at_end {
                return self.end().map_err(Break::Step);
            }
            if is_idle {
                self.note_idle(&stream);
            }
            if self.pace.until == Until::CaughtUp && (is_idle || self.began.elapsed() >= self.pace.buffer) {
                return Ok(Ending::CaughtUp);
            }
            if self.is_due() {
                self.commit().map_err(Break::Step)?;
            }
        }
        Ok(Ending::Stopped)
    }

    /// The collection was dropped, renamed or replaced.
    fn end(&mut self) -> Result<Ending, E> {
        self.say("was dropped, renamed or replaced: reading what is there now")?;
        let after = self.buffer.position().stream.clone();
        self.begin_anew(after)?;
        Ok(Ending::MustBackfill)
    }

    fn begin_anew(&mut self, stream: Option<StreamPosition>) -> Result<(), E> {
        let last = self.buffer.position().epoch;
        let reborn = self.source.runtime.block_on(reborn(self.source, last, stream));
        *self.buffer.position() = reborn.map_err(|error| stream_failure(self.source, &error))?;
        self.must_keep = true;
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn say(&mut self, what: &str) -> Result<(), E> {
        (self.on_step)(Step::Say(format!("{}: {what}", self.source.namespace)))
    }

    /// Nothing came: everything before the stream's newest token is in the buffer or in the lake.
    fn note_idle(&mut self, stream: &ChangeStream<RawDocumentBuf>) {
        // Between two fragments of an event its token would cut it in half.
        let Some(token) = token_of(stream).filter(|_| !self.buffer.is_amid_an_event()) else {
            return;
        };
        if let Ok(token) = RawDocumentBuf::try_from(&token) {
            self.buffer.move_to(&token);
        }
    }

    fn is_due(&self) -> bool {
        match self.first {
            Some(first) => first.elapsed() >= self.pace.buffer || self.buffer.bytes() >= self.pace.bytes,
            None => self.kept.elapsed() >= IDLE_CHECKPOINT,
        }
    }

    fn commit(&mut self) -> Result<(), E> {
        if self.buffer.is_empty() && !self.must_keep && self.kept.elapsed() < IDLE_CHECKPOINT {
            return Ok(());
        }
        let chunk = self.buffer.drain()?;
        self.first = None;
        (self.on_step)(Step::Commit(Box::new(chunk)))?;
        self.kept = Instant::now();
        self.must_keep = false;
        Ok(())
    }

    /// Says once that the server is gone, and waits a while.
    fn wait(&mut self, error: &DriverError) -> Result<(), E> {
        if self.outage.is_none() {
            let message = format!("{}; trying again until it is back", self.source.failure(error));
            (self.on_step)(Step::Say(message))?;
        }
        let until = Instant::now() + self.outage.get_or_insert_default().next_pause();
        while Instant::now() < until && !self.is_stopped() {
            // What came before need not wait for the server.
            if self.first.is_some() && self.is_due() {
                self.commit()?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

async fn open(source: &Source, after: Option<Document>) -> Result<ChangeStream<RawDocumentBuf>, DriverError> {
    match open_with(source, after.clone(), true).await {
        Err(error) if is_unknown_stage(&error) => open_with(source, after, false).await,
        opened => opened,
    }
}

async fn open_with(
    source: &Source,
    after: Option<Document>,
    splits: bool,
) -> Result<ChangeStream<RawDocumentBuf>, DriverError> {
    // What changed in a document is never asked for, and can be larger than the document.
    let mut pipeline = vec![doc! {"$project": {"updateDescription": 0}}];
    if splits {
        pipeline.push(doc! {"$changeStreamSplitLargeEvent": {}});
    }
    let watch = source
        .collection
        .watch()
        .pipeline(pipeline)
        .full_document(FullDocumentType::UpdateLookup)
        .batch_size(source.settings.batch_size)
        .max_await_time(AWAIT);
    let stream = match after {
        Some(token) => {
            let token: ResumeToken = bson::deserialize_from_document(token)
                .map_err(|error| DriverError::custom(error.to_string()))?;
            watch.start_after(token).await?
        }
        None => watch.await?,
    };
    Ok(stream.with_type())
}

fn token_of(stream: &ChangeStream<RawDocumentBuf>) -> Option<Document> {
    bson::serialize_to_document(&stream.resume_token()?).ok()
}

fn code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        DriverErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// Whether the server knows the changes behind the token no more, or not the token.
fn is_lost(error: &DriverError) -> bool {
    const CODES: [i32; 7] = [9, 260, 280, 286, 40647, 50811, 50795];
    code(error).is_some_and(|code| CODES.contains(&code))
}

fn is_unknown_stage(error: &DriverError) -> bool {
    const UNRECOGNIZED_STAGE: i32 = 40324;
    code(error) == Some(UNRECOGNIZED_STAGE)
}

fn stream_failure(source: &Source, error: &DriverError) -> Error {
    const NO_REPLICA_SET: i32 = 40573;
    if code(error) == Some(NO_REPLICA_SET) {
        let message = "MONGO_URI: the server is no replica set, and only those have change streams: start mongod with \
                       `--replSet rs0` and run `rs.initiate()` once, or give `--poll SECONDS`";
        return Error::new(ErrorKind::Source, message);
    }
    source.failure(error)
}
