//! A MongoDB collection → lake. The position is a property of the lake's table, set in the commit of the rows.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::mongo::{self, Chunk, Ending, Holdings, Pace, Pass, Position, Source, Step, Until};
use cclake_extract::{Backoff, RecordId, dlq};
use cclake_lake::Lake;

use super::{IngestReport, Keeper, LineCounts, News, increment, queue};
use crate::memory;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::stages::is_away;

/// Bytes of BSON per lake snapshot. As Arrow they are about twice that, and half as many are read meanwhile.
const CHUNK_BYTES: usize = 64 << 20;

/// Whoever followed for so long was not thrown back at once.
const CALM: Duration = Duration::from_mins(1);

/// What only another program can have done.
const LOST: &str = "the lake has lost the position";

/// How changes are followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Following {
    /// By the collection's change stream.
    Stream,
    /// By asking again and again for what is new: for servers that have no change streams.
    Poll(Duration),
}

/// What goes on beside a pass over the collection.
struct Beside<'a> {
    progress: &'a Progress,
    /// Whether to leave it before its end; the next one goes on there.
    stop: &'a AtomicBool,
    /// Changes to be read now and then: a long pass must not outlive the server's memory of them.
    changes: Option<&'a Changes<'a>>,
}

/// How changes are followed, and who hears of it.
struct Changes<'a> {
    pace: Pace,
    stop: &'a AtomicBool,
    printer: &'a Printer,
}

/// Why a pass ended early.
enum Left {
    Interrupted,
    /// What it reads counts for nothing any more.
    Outdated,
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Left {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Keeper<'_> {
    pub(super) fn keep_documents(mut self, pass: Pass, progress: &Progress) -> anyhow::Result<IngestReport> {
        let source = self.connect()?;
        let position = match self.position(&source) {
            // What cannot be read may be read anew, when that was asked for.
            Err(_) if pass == Pass::Full => {
                let namespace = source.namespace();
                Some(Position::unread(namespace, |name| self.lake.property(name)))
            }
            position => position?,
        };
        let beside = Beside {
            progress,
            stop: &AtomicBool::new(false),
            changes: None,
        };
        self.read(&source, position, pass, &beside)?;
        self.report.lake_seconds = self.written.as_secs_f64();
        Ok(self.report)
    }

    /// Reads the collection's changes into the lake until `stop` is set.
    pub(super) fn keep_following(
        mut self,
        following: Following,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<IngestReport> {
        let source = self.connect()?;
        match following {
            Following::Stream => self.follow_stream(&source, stop, printer)?,
            Following::Poll(pause) => self.poll(&source, pause, stop, printer)?,
        }
        self.report.lake_seconds = self.written.as_secs_f64();
        Ok(self.report)
    }

    /// Ids are unique within one collection only.
    fn connect(&self) -> anyhow::Result<Source> {
        let own = Position::property(&self.settings.mongo.namespace());
        let mut others = self.lake.properties(Position::PREFIX).filter(|name| *name != own);
        if let Some(other) = others.next() {
            let other = other.strip_prefix(Position::PREFIX).unwrap_or(other);
            anyhow::bail!(
                "MONGO_DB, MONGO_COLLECTION: this lake holds the documents of {other}, and those of another collection may have the same \
                 ids: give {} a data directory of its own (--data-dir)",
                self.settings.mongo.namespace()
            );
        }
        // The threads that read begin with the connection.
        memory::keep_for_new_threads();
        Ok(Source::connect(&self.settings.mongo, self.settings.threads)?)
    }

    fn position(&self, source: &Source) -> anyhow::Result<Option<Position>> {
        Ok(Position::read(source.namespace(), |name| {
            self.lake.property(name)
        })?)
    }

    fn dead_ids(&self) -> anyhow::Result<HashSet<RecordId>> {
        Ok(dlq::load_ids(&self.settings.dead_letter_dir)?)
    }

    fn run_settings(&self) -> mongo::Settings {
        mongo::Settings {
            run_id: self.run.id.clone(),
            synced_at_us: self.run.started_at.as_microsecond(),
            threads: self.settings.threads,
            chunk_bytes: CHUNK_BYTES,
        }
    }

    /// One pass over the collection, and the deletions that it shows where some may have been missed. Whether it came to
    /// its end.
    fn read(
        &mut self,
        source: &Source,
        position: Option<Position>,
        pass: Pass,
        beside: &Beside<'_>,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        let mut busy = Duration::ZERO;
        let mut caught_up = Instant::now();
        beside.progress.begin("extract", 0);
        let mut before = position.clone();
        let extraction = mongo::extract(
            source,
            position,
            pass,
            &self.dead_ids()?,
            &self.run_settings(),
            &mut |chunk| {
                let bytes = chunk.counts.bytes;
                let began = Instant::now();
                self.lake.refresh().map_err(anyhow::Error::from)?;
                // One that cannot be read is about to be replaced.
                if let Ok(Some(now)) = self.position(source)
                    && chunk.position.is_outdated(&now)
                {
                    return Err(Left::Outdated);
                }
                let position = chunk.position.clone();
                self.take_documents(source.namespace(), chunk, before.as_ref())?;
                before = Some(position);
                if let Some(changes) = beside.changes
                    && caught_up.elapsed() >= changes.pace.buffer
                {
                    self.catch_up(source, changes)?;
                    caught_up = Instant::now();
                }
                busy += began.elapsed();
                beside.progress.advance(bytes);
                if beside.stop.load(Ordering::Relaxed) {
                    return Err(Left::Interrupted);
                }
                Ok(())
            },
        );
        beside.progress.end();
        self.report.extract_seconds += began.elapsed().saturating_sub(busy).as_secs_f64();
        match extraction {
            Ok(extraction) => self.report.warnings.extend(extraction.warnings),
            Err(Left::Interrupted) => return Ok(false),
            Err(Left::Outdated) => {
                let namespace = source.namespace();
                self.report.warnings.push(format!(
                    "{namespace}: left to whoever began to follow it meanwhile or has missed changes, and reads all of it again"
                ));
                return Ok(false);
            }
            Err(Left::Failed(error)) => return Err(error),
        }
        self.reconcile(source)?;
        Ok(true)
    }

    /// Brings the changes that wait, amid a pass.
    fn catch_up(&mut self, source: &Source, changes: &Changes<'_>) -> Result<(), Left> {
        match self.follow(source, changes, Until::CaughtUp)? {
            Ending::CaughtUp | Ending::Stopped => Ok(()),
            // The pass is of a collection that is gone, or what it brought is older than what was missed.
            Ending::MustBackfill => Err(Left::Interrupted),
        }
    }

    /// Marks as deleted what the lake holds and the collection does not, if events that told so may have been missed.
    fn reconcile(&mut self, source: &Source) -> anyhow::Result<()> {
        // Another writer's upkeep may drop the snapshot held here, before the comparison or amid it.
        self.lake.refresh()?;
        let position = self.position(source)?;
        let Some(position) = position.filter(Position::is_to_be_reconciled) else {
            return Ok(());
        };
        let mut holdings = held(self.lake, source.namespace())?;
        let at = mongo::subtract_present(source, &mut holdings)?;
        self.lake.refresh()?;
        // What another pass brought meanwhile was not compared.
        if !self
            .position(source)?
            .is_some_and(|now| now.is_of_same_pass(&position))
        {
            return Ok(());
        }
        let gone = if holdings.is_empty() {
            Vec::new()
        } else {
            ids_of(self.lake, source.namespace(), &holdings)?
        };
        let chunk = mongo::deletions(source, &gone, at, position.clone(), &self.run_settings())?;
        self.take_documents(source.namespace(), chunk, Some(&position))
    }

    fn follow_stream(&mut self, source: &Source, stop: &AtomicBool, printer: &Printer) -> anyhow::Result<()> {
        let pace = Pace {
            buffer: self.settings.cdc_buffer,
            bytes: CHUNK_BYTES as u64,
            until: Until::Stopped,
        };
        let changes = Changes { pace, stop, printer };
        let beside = Beside {
            progress: &Progress::new(printer),
            stop,
            changes: Some(&changes),
        };
        let mut outage: Option<Backoff> = None;
        let mut again = Backoff::default();
        while !stop.load(Ordering::Relaxed) {
            match self.follow_once(source, &beside, &changes, &mut outage, &mut again) {
                Ok(Ending::Stopped) => break,
                // Where history is lost as fast as the collection is read, the server is to have some rest.
                Ok(_) => wait(again.next_pause(), stop),
                Err(error) if is_away(&error) => {
                    tell_away(outage.is_none(), &error, printer);
                    wait(outage.get_or_insert_default().next_pause(), stop);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there, and follows until something ends it.
    fn follow_once(
        &mut self,
        source: &Source,
        beside: &Beside<'_>,
        changes: &Changes<'_>,
        outage: &mut Option<Backoff>,
        again: &mut Backoff,
    ) -> anyhow::Result<Ending> {
        let history = self.settings.backfill_all_historical;
        // During an outage another pass may have read what is left.
        self.lake.refresh()?;
        let before = self.position(source)?;
        let (position, warning) = mongo::with_token(source, before.clone(), history)?;
        if let Some(warning) = warning {
            changes.printer.warning(&warning);
        }
        self.checkpoint(source.namespace(), &position, before.as_ref())?;
        // What is there, or came since the last batch; the stream brings everything after its token.
        if !position.is_followed() {
            if position.is_to_be_reconciled() {
                // All was read since this epoch began, in an earlier round or by another process.
                self.reconcile(source)?;
            } else if !self.read(source, Some(position), increment(self.settings), beside)? {
                return Ok(Ending::MustBackfill);
            }
            let position = self.position(source)?.context(LOST)?;
            let caught_up = position.clone().caught_up();
            // A pass beside it that began earlier, or found another collection, may have had the last word.
            if !caught_up.is_followed() {
                return Ok(Ending::MustBackfill);
            }
            self.checkpoint(source.namespace(), &caught_up, Some(&position))?;
        }
        self.tell_warnings(changes.printer);
        *outage = None;
        changes.printer.note(&format!("following {}", source.namespace()));
        let began = Instant::now();
        let ending = self.follow(source, changes, Until::Stopped);
        if began.elapsed() > CALM {
            *again = Backoff::default();
        }
        ending
    }

    /// Brings changes from the lake's position on.
    fn follow(&mut self, source: &Source, changes: &Changes<'_>, until: Until) -> anyhow::Result<Ending> {
        let position = self.position(source)?.context(LOST)?;
        let dead_ids = self.dead_ids()?;
        mongo::follow(
            source,
            position.clone(),
            &dead_ids,
            &self.run_settings(),
            Pace {
                until,
                ..changes.pace
            },
            changes.stop,
            &mut |step| match step {
                Step::Commit(chunk) => {
                    changes
                        .printer
                        .detail(&format!("{} changes to the lake", chunk.counts.rows));
                    self.take_documents(source.namespace(), *chunk, Some(&position))?;
                    self.tell_warnings(changes.printer);
                    Ok(())
                }
                Step::Say(message) => {
                    changes.printer.warning(&message);
                    Ok(())
                }
            },
        )
    }

    fn poll(
        &mut self,
        source: &Source,
        pause: Duration,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<()> {
        let beside = Beside {
            progress: &Progress::new(printer),
            stop,
            changes: None,
        };
        let mut is_gone = false;
        while !stop.load(Ordering::Relaxed) {
            let pass = increment(self.settings);
            self.lake.refresh()?;
            let position = self.position(source)?;
            match self.read(source, position, pass, &beside) {
                Ok(_) => is_gone = false,
                Err(error) if is_away(&error) => {
                    tell_away(!is_gone, &error, printer);
                    is_gone = true;
                }
                Err(error) => return Err(error),
            }
            self.tell_warnings(printer);
            wait(pause, stop);
        }
        Ok(())
    }

    /// Commits a position that no rows lead to.
    fn checkpoint(
        &mut self,
        namespace: &str,
        position: &Position,
        before: Option<&Position>,
    ) -> anyhow::Result<()> {
        let properties = position.properties(namespace, before)?;
        if properties.is_empty() {
            return Ok(());
        }
        self.write(Vec::new(), properties).map(drop)
    }

    /// Whoever follows for weeks hears at once, and once, of what the report of a batch tells at its end.
    fn tell_warnings(&mut self, printer: &Printer) {
        for warning in self.told.news(std::mem::take(&mut self.report.warnings)) {
            printer.warning(&warning);
        }
    }

    /// Dead letters, then rows and what of the position has changed since `before`, at once.
    fn take_documents(
        &mut self,
        namespace: &str,
        chunk: Chunk,
        before: Option<&Position>,
    ) -> anyhow::Result<()> {
        let counts = chunk.counts;
        queue(self.settings, self.run, &chunk.dead_letters)?;
        if !chunk.batches.is_empty() {
            self.tell(|| News::Rows(chunk.batches.clone()));
        }
        let properties = chunk.position.properties(namespace, before)?;
        let is_news = !chunk.batches.is_empty() || !properties.is_empty();
        if is_news {
            let mark = self.write(chunk.batches, properties)?;
            self.tell(|| News::Snapshot(mark));
        }
        self.report.lines += counts.into();
        self.report.unexpected += counts.unexpected;
        self.report.deletions += counts.deletions;
        self.report.skipped += counts.skipped;
        Ok(())
    }
}

/// At the beginning of an outage only.
fn tell_away(is_first: bool, error: &anyhow::Error, printer: &Printer) {
    if is_first {
        printer.warning(&format!("{error:#}; trying again until it is back"));
    }
}

/// Until it is time, or the command is to end.
fn wait(pause: Duration, stop: &AtomicBool) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the lake holds of a collection.
fn held(lake: &Lake, namespace: &str) -> anyhow::Result<Holdings> {
    let mut holdings = Holdings::default();
    let columns = ["_id", "source_collection", "_op", "_cluster_ts", "_seq"];
    lake.scan_columns(&columns, &mut |batch: RecordBatch| {
        let text = |column: usize| batch.column(column).as_string_opt::<i32>();
        let times = batch.column(3).as_primitive_opt::<TimestampMicrosecondType>();
        let sequences = batch.column(4).as_primitive_opt::<Int64Type>();
        let columns = (text(0), text(1), text(2), times, sequences);
        let (Some(ids), Some(collections), Some(ops), Some(times), Some(sequences)) = columns else {
            anyhow::bail!("the lake's columns are of other types than cclake writes");
        };
        for row in (0..batch.num_rows()).filter(|row| collections.is_valid(*row)) {
            if collections.value(row) == namespace {
                let is_deletion = ops.value(row) == "delete";
                holdings.add(
                    ids.value(row),
                    times.value(row),
                    sequences.value(row),
                    is_deletion,
                );
            }
        }
        anyhow::Ok(())
    })?;
    Ok(holdings)
}

/// The ids that are held, each once.
fn ids_of(lake: &Lake, namespace: &str, holdings: &Holdings) -> anyhow::Result<Vec<String>> {
    let mut found = HashSet::new();
    lake.scan_columns(&["_id", "source_collection"], &mut |batch: RecordBatch| {
        let text = |column: usize| batch.column(column).as_string_opt::<i32>();
        let (ids, collections) = text(0)
            .zip(text(1))
            .context("the lake's text columns are not text")?;
        for row in (0..batch.num_rows()).filter(|row| collections.is_valid(*row)) {
            if collections.value(row) == namespace && holdings.has(ids.value(row)) {
                found.insert(ids.value(row).to_owned());
            }
        }
        anyhow::Ok(())
    })?;
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort();
    Ok(found)
}

impl From<mongo::Counts> for LineCounts {
    fn from(counts: mongo::Counts) -> Self {
        Self {
            read: counts.documents,
            new: counts.rows,
            already_there: counts.already_there,
            dead_lettered: counts.dead_lettered,
            pending: 0,
            bytes: counts.bytes,
        }
    }
}
