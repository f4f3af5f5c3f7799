//! A MongoDB collection → lake. The position is a property of the lake's table, set in the commit of the rows.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::mongo::{self, Chunk, Ending, Holdings, Pace, Pass, Position, Source, Step};
use cclake_extract::{RecordId, dlq};
use cclake_lake::Lake;

use super::{IngestReport, Keeper, LineCounts, News, increment, queue};
use crate::printer::Printer;
use crate::progress::Progress;

/// Bytes of BSON per lake snapshot. As Arrow they are about twice that, and half as many are read meanwhile.
const CHUNK_BYTES: usize = 64 << 20;

/// How changes are followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Following {
    /// By the collection's change stream.
    Stream,
    /// By asking again and again for what is new: for servers that have no change streams.
    Poll(Duration),
}

impl Keeper<'_> {
    pub(super) fn keep_documents(mut self, pass: Pass, progress: &Progress) -> anyhow::Result<IngestReport> {
        let source = Source::connect(&self.settings.mongo, self.settings.threads)?;
        let position = match self.position(&source) {
            // What cannot be read may be read anew, when that was asked for.
            Err(_) if pass == Pass::Full => None,
            position => position?,
        };
        self.read(&source, position, pass, progress)?;
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
        let source = Source::connect(&self.settings.mongo, self.settings.threads)?;
        match following {
            Following::Stream => self.follow_stream(&source, stop, printer)?,
            Following::Poll(pause) => self.poll(&source, pause, stop, printer)?,
        }
        self.report.lake_seconds = self.written.as_secs_f64();
        Ok(self.report)
    }

    fn position(&self, source: &Source) -> anyhow::Result<Option<Position>> {
        let text = self.lake.property(&Position::property(source.namespace()));
        Ok(text.map(Position::parse).transpose()?)
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

    /// One pass over the collection, and the deletions that it shows where some may have been missed.
    fn read(
        &mut self,
        source: &Source,
        position: Option<Position>,
        pass: Pass,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut busy = Duration::ZERO;
        progress.begin("extract", 0);
        let extraction = mongo::extract(
            source,
            position,
            pass,
            &self.dead_ids()?,
            &self.run_settings(),
            &mut |chunk| {
                let bytes = chunk.counts.bytes;
                let began = Instant::now();
                self.take_documents(source.namespace(), chunk)?;
                busy += began.elapsed();
                progress.advance(bytes);
                anyhow::Ok(())
            },
        )?;
        progress.end();
        self.report.warnings.extend(extraction.warnings);
        self.report.extract_seconds += began.elapsed().saturating_sub(busy).as_secs_f64();
        self.reconcile(source)
    }

    /// Marks as deleted what the lake holds and the collection does not, if events that told so may have been missed.
    fn reconcile(&mut self, source: &Source) -> anyhow::Result<()> {
        let Some(position) = self.position(source)?.filter(Position::must_reconcile) else {
            return Ok(());
        };
        let mut holdings = held(self.lake, source.namespace())?;
        let at = mongo::subtract_present(source, &mut holdings)?;
        let gone = if holdings.is_empty() {
            Vec::new()
        } else {
            ids_of(self.lake, source.namespace(), &holdings)?
        };
        let chunk = mongo::deletions(source, &gone, at, position, &self.run_settings())?;
        self.take_documents(source.namespace(), chunk)
    }

    fn follow_stream(&mut self, source: &Source, stop: &AtomicBool, printer: &Printer) -> anyhow::Result<()> {
        let progress = Progress::new(printer);
        let pace = Pace {
            buffer: self.settings.cdc_buffer,
            bytes: CHUNK_BYTES as u64,
        };
        while !stop.load(Ordering::Relaxed) {
            let (position, warning) = mongo::with_token(source, self.position(source)?)?;
            if let Some(warning) = warning {
                printer.warning(&warning);
            }
            self.checkpoint(source.namespace(), &position)?;
            // What is there, or came since the last batch; the stream brings everything after its token.
            self.read(source, Some(position), increment(self.settings), &progress)?;
            let position = self.position(source)?.context("the lake has lost the position")?;
            printer.note(&format!("following {}", source.namespace()));
            let dead_ids = self.dead_ids()?;
            let ending = mongo::follow(
                source,
                position,
                &dead_ids,
                &self.run_settings(),
                pace,
                stop,
                &mut |step| match step {
                    Step::Commit(chunk) => {
                        printer.detail(&format!("{} changes to the lake", chunk.counts.rows));
                        self.take_documents(source.namespace(), *chunk)
                    }
                    Step::Say(message) => {
                        printer.warning(&message);
                        Ok(())
                    }
                },
            )?;
            if ending == Ending::Stopped {
                break;
            }
        }
        Ok(())
    }

    fn poll(
        &mut self,
        source: &Source,
        pause: Duration,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<()> {
        let progress = Progress::new(printer);
        let mut is_gone = false;
        while !stop.load(Ordering::Relaxed) {
            let pass = increment(self.settings);
            let position = self.position(source)?;
            match self.read(source, position, pass, &progress) {
                Ok(()) => is_gone = false,
                Err(error) if is_of_the_source(&error) => {
                    if !is_gone {
                        printer.warning(&format!("{error:#}; trying again until it is back"));
                    }
                    is_gone = true;
                }
                Err(error) => return Err(error),
            }
            let until = Instant::now() + pause;
            while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Commits a position that no rows lead to.
    fn checkpoint(&mut self, namespace: &str, position: &Position) -> anyhow::Result<()> {
        let property = (Position::property(namespace), position.text()?);
        if self.lake.property(&property.0) == Some(property.1.as_str()) {
            return Ok(());
        }
        self.write(Vec::new(), BTreeMap::from([property])).map(drop)
    }

    /// Dead letters, then rows and position at once.
    fn take_documents(&mut self, namespace: &str, chunk: Chunk) -> anyhow::Result<()> {
        let counts = chunk.counts;
        queue(self.settings, self.run, &chunk.dead_letters)?;
        if !chunk.batches.is_empty() {
            self.tell(|| News::Rows(chunk.batches.clone()));
        }
        let property = (Position::property(namespace), chunk.position.text()?);
        let mark = self.write(chunk.batches, BTreeMap::from([property]))?;
        self.tell(|| News::Snapshot(mark));
        self.report.lines += counts.into();
        self.report.unexpected += counts.unexpected;
        self.report.deletions += counts.deletions;
        self.report.skipped += counts.skipped;
        Ok(())
    }
}

fn is_of_the_source(error: &anyhow::Error) -> bool {
    let kind = error
        .downcast_ref::<cclake_extract::Error>()
        .map(cclake_extract::Error::kind);
    kind == Some(cclake_extract::ErrorKind::SourceAway)
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
