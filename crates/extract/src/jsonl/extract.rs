//! The pipeline: one reader, some parsers, one assembler, each in its own thread, and the caller who commits.
//!
//! Memory is bounded by permits (blocks in flight) and by one chunk being assembled while another is committed.

use std::{
    collections::{BTreeMap, HashSet},
    thread::{Builder, ScopedJoinHandle, scope},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    error::{Context, Error, ErrorKind, Result},
    id::RecordId,
    jsonl::blocks::{self, Block, Outlet},
    jsonl::chunk::{Assembler, Chunk, Counts, KnownIds},
    jsonl::parse::{Parsed, Parser},
    jsonl::plan::{Plan, ReadPlan},
};

/// What every row says of its run, and how much to do at once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the machine the files are on.
    pub machine: String,
    /// Id of the run.
    pub run_id: String,
    /// The run's time, microseconds since 1970 UTC.
    pub synced_at_us: i64,
    /// Parser threads; the reader and the assembler come on top and are mostly idle.
    pub threads: usize,
    /// Bytes of input after which a chunk is handed over, also in the middle of a file.
    pub chunk_bytes: usize,
}

/// What was done with the files of a plan.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FileCounts {
    /// Never seen before.
    pub fresh: u64,
    /// Longer than when they were last looked at; read on from where they stood.
    pub grown: u64,
    /// Read again from their start: truncated, rewritten, or of unknown position.
    pub reread: u64,
    /// As long as they were, and what was read of them is still there.
    pub unchanged: u64,
    /// Found under a new name (counted above too).
    pub renamed: u64,
}

/// The sum of an extraction.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Extraction {
    /// Of all chunks.
    pub counts: Counts,
    /// Of all files of the plan.
    pub files: FileCounts,
    /// A sentence for each file that could not be read (to its end); the next run tries again.
    pub warnings: Vec<String>,
}

/// Reads what `plan` says and hands it over chunk by chunk, in the order of reading. While `on_chunk` commits one
/// chunk, the next is being parsed.
///
/// `known` is what the lake holds of [`Plan::rereads`], `dead_ids` what the dead letter queue holds.
///
/// # Errors
/// The first error of `on_chunk`, after which nothing more is read; or [`ErrorKind::Thread`]. A file that cannot be
/// read is a warning.
#[expect(clippy::implicit_hasher, reason = "one hasher is enough")]
pub fn extract<E: From<Error>>(
    plan: &Plan,
    known: KnownIds,
    dead_ids: &HashSet<RecordId>,
    settings: &Settings,
    on_chunk: &mut dyn FnMut(Chunk) -> Result<(), E>,
) -> Result<Extraction, E> {
    let mut extraction = Extraction {
        files: count_files(plan),
        warnings: plan.warnings.clone(),
        ..Extraction::default()
    };
    let assembler = Assembler::new(plan, known, dead_ids, settings.chunk_bytes);
    scope(|scope| {
        // Without a buffer: the next chunk waits, whole, until this one is committed.
        let (chunk_sender, chunks) = bounded(0);
        let spawn = Builder::new().name("extract".into());
        let pipeline = spawn
            .spawn_scoped(scope, move || run(plan, settings, assembler, &chunk_sender))
            .during(ErrorKind::Thread, "starting the extraction")?;
        let committed = chunks.iter().try_for_each(|chunk: Chunk| {
            extraction.counts += chunk.counts;
            on_chunk(chunk)
        });
        // Ends the pipeline when a commit failed.
        drop(chunks);
        let warnings = join(pipeline);
        committed?;
        extraction.warnings.extend(warnings??);
        Ok(extraction)
    })
}

fn count_files(plan: &Plan) -> FileCounts {
    let mut counts = FileCounts::default();
    for file in &plan.files {
        counts.renamed += u64::from(file.renamed_from.is_some());
        match file.action {
            // A file too young for its time to prove anything, or with a pending tail, is looked into again.
            ReadPlan::Resume(ref resume) if resume.position.size < file.file.size => counts.grown += 1,
            ReadPlan::Unchanged(_) | ReadPlan::Resume(_) => counts.unchanged += 1,
            ReadPlan::Fresh => counts.fresh += 1,
            ReadPlan::Reread => counts.reread += 1,
        }
    }
    counts
}

/// Reads, parses and assembles until the files end or nobody takes chunks any more.
fn run(
    plan: &Plan,
    settings: &Settings,
    assembler: Assembler<'_>,
    chunks: &Sender<Chunk>,
) -> Result<Vec<String>> {
    let threads = settings.threads.max(1);
    let in_flight = threads * 2 + 2;
    let (permit_sender, permits) = bounded(in_flight);
    for _ in 0..in_flight {
        // The channel has room for all of them.
        let _ = permit_sender.try_send(());
    }
    let (block_sender, blocks) = bounded(in_flight);
    let (parsed_sender, parsed) = bounded(in_flight);
    scope(|scope| {
        let outlet = Outlet {
            blocks: block_sender,
            permits: &permits,
        };
        let reader = Builder::new()
            .name("extract-read".into())
            .spawn_scoped(scope, || blocks::read(plan, settings.chunk_bytes, outlet))
            .during(ErrorKind::Thread, "starting the reader")?;
        for number in 0..threads {
            let (blocks, parsed) = (blocks.clone(), parsed_sender.clone());
            Builder::new()
                .name(format!("extract-parse-{number}"))
                .spawn_scoped(scope, move || parse(plan, settings, &blocks, &parsed))
                .during(ErrorKind::Thread, "starting a parser")?;
        }
        drop((blocks, parsed_sender));
        let done = assemble(assembler, &parsed, &permit_sender, chunks);
        // The reader, should it wait, gives up.
        drop(permit_sender);
        // Parsers that wait for a place give up.
        drop(parsed);
        let warnings = join(reader);
        done?;
        warnings
    })
}

fn parse(plan: &Plan, settings: &Settings, blocks: &Receiver<Block>, parsed: &Sender<Result<Parsed>>) {
    let parser = Parser::new(plan, settings);
    for block in blocks {
        if parsed.send(parser.block(&block)).is_err() {
            return;
        }
    }
}

/// Restores the order of blocks and passes chunks on.
fn assemble(
    mut assembler: Assembler<'_>,
    parsed: &Receiver<Result<Parsed>>,
    permits: &Sender<()>,
    chunks: &Sender<Chunk>,
) -> Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for block in parsed {
        let block = block?;
        early.insert(block.number, block);
        while let Some(block) = early.remove(&next) {
            next += 1;
            if let Some(chunk) = assembler.push(block)?
                && chunks.send(chunk).is_err()
            {
                return Ok(());
            }
            // The reader has ended when it takes no more permits.
            let _ = permits.try_send(());
        }
    }
    if let Some(chunk) = assembler.finish() {
        // Nobody takes it: the commit before failed, and says so.
        let _ = chunks.send(chunk);
    }
    Ok(())
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| {
        Error::new(
            ErrorKind::Thread,
            "a thread of the extraction ended early; please report this",
        )
    })
}
