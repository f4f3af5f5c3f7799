//! A MongoDB collection → lake. The position is a property of the lake's table, set in the commit of the rows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cclake_extract::dlq;
use cclake_extract::mongo::{self, Chunk, Pass, Position, Source};

use super::{IngestReport, Keeper, LineCounts, News};
use crate::progress::Progress;

/// Bytes of BSON per lake snapshot. As Arrow they are about twice that, and each reader holds as many beside the one
/// that is being written.
const CHUNK_BYTES: usize = 32 << 20;

impl Keeper<'_> {
    pub(super) fn keep_documents(mut self, pass: Pass, progress: &Progress) -> anyhow::Result<IngestReport> {
        let began = Instant::now();
        let settings = self.settings;
        let source = Source::connect(&settings.mongo, settings.threads)?;
        let position = match self.lake.property(&Position::property(source.namespace())) {
            // What cannot be read may be read anew, when that was asked for.
            Some(text) => match Position::parse(text) {
                Err(_) if pass == Pass::Full => None,
                position => Some(position?),
            },
            None => None,
        };
        let dead_ids = dlq::load_ids(&settings.dead_letter_dir)?;
        let mut busy = Duration::ZERO;
        progress.begin("extract", 0);
        let extraction = mongo::extract(
            &source,
            position,
            pass,
            &dead_ids,
            &mongo::Settings {
                run_id: self.run.id.clone(),
                synced_at_us: self.run.started_at.as_microsecond(),
                threads: settings.threads,
                chunk_bytes: CHUNK_BYTES,
            },
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
        let mut report = self.report;
        report.lines = extraction.counts.into();
        report.unexpected = extraction.counts.unexpected;
        report.warnings = extraction.warnings;
        report.extract_seconds = began.elapsed().saturating_sub(busy).as_secs_f64();
        report.lake_seconds = self.written.as_secs_f64();
        Ok(report)
    }

    /// Dead letters, then rows and position at once.
    fn take_documents(&mut self, namespace: &str, chunk: Chunk) -> anyhow::Result<()> {
        self.queue(&chunk.dead_letters)?;
        if !chunk.batches.is_empty() {
            self.tell(|| News::Rows(chunk.batches.clone()));
        }
        let property = (Position::property(namespace), chunk.position.text()?);
        let mark = self.write(chunk.batches, BTreeMap::from([property]))?;
        self.tell(|| News::Snapshot(mark));
        Ok(())
    }
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
