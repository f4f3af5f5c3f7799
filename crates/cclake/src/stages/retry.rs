//! Dead letters → lake, or → the collection that `sync` fills: what can be read by now leaves the queue.

use std::collections::{BTreeMap, HashSet};

use anyhow::Context as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use cclake_extract::dlq::{self, Entry};
use cclake_extract::mongo::Target;
use cclake_extract::{Positions, RecordId, Retried as Read, Retry};
use cclake_lake::{Commit, Lake};
use serde::Serialize;

use super::ingest::{Run, stamp};
use super::is_away;
use super::sync::{roots, store};
use crate::data_dir::DataDir;
use crate::settings::Settings;

/// What became of the letters.
#[derive(Debug, Serialize)]
pub(crate) struct Retried {
    /// Letters that were tried.
    pub tried: u64,
    /// Letters that are rows of the lake now.
    pub rows: u64,
    /// Letters of `sync` that are documents of the collection now.
    pub documents: u64,
    /// Letters that stay in the queue.
    pub left: u64,
    /// Why letters of `sync` stay, if their server is away: a sentence.
    pub warnings: Vec<String>,
}

/// Reads all letters again.
pub(crate) fn retry(settings: &Settings, data: &DataDir, lake: &mut Lake) -> anyhow::Result<Retried> {
    let run = Run::begin();
    let letters = dlq::list(&settings.dead_letter_dir)?;
    let retry = Retry {
        machine: settings.machine.clone(),
        run_id: run.id.clone(),
        synced_at_us: run.started_at.as_microsecond(),
    };
    let rows = into_lake(settings, data, lake, &run, retry.read(&letters)?)?;
    let read = retry.read_for(&settings.mongo.place(), &letters)?;
    let (documents, warnings) = match into_collection(settings, &letters, read) {
        Err(error) if is_away(&error) => (0, vec![format!("letters of `sync` stay: {error:#}")]),
        documents => (documents?, Vec::new()),
    };
    let tried = letters.iter().map(|letter: &Entry| letter.id);
    let tried = tried.collect::<HashSet<_>>().len() as u64;
    Ok(Retried {
        tried,
        rows,
        documents,
        left: tried - rows - documents,
        warnings,
    })
}

/// How many letters are rows now. A row that an earlier try brought before it broke off is not brought again.
fn into_lake(
    settings: &Settings,
    data: &DataDir,
    lake: &mut Lake,
    run: &Run,
    retried: Read,
) -> anyhow::Result<u64> {
    if retried.rows.is_empty() {
        return Ok(0);
    }
    let fresh = not_in(lake, retried.batches)?;
    append(data, lake, fresh, &retried.rows, run)?;
    dlq::remove(&settings.dead_letter_dir, &retried.rows)?;
    Ok(retried.rows.len() as u64)
}

/// How many letters are documents now, or were already: the collection refuses a second one by its `_id`.
fn into_collection(settings: &Settings, letters: &[Entry], mut retried: Read) -> anyhow::Result<u64> {
    if retried.rows.is_empty() {
        return Ok(0);
    }
    let stored = store(
        settings,
        &roots(settings),
        &Target::connect(&settings.mongo)?,
        &retried.batches,
    )?;
    let refused = stored.refused.iter().map(|letter| (&letter.file, letter.offset));
    let refused: HashSet<_> = refused.collect();
    for letter in letters {
        if refused.contains(&(&letter.file, letter.offset)) {
            retried.rows.remove(&letter.id);
        }
    }
    dlq::remove(&settings.dead_letter_dir, &retried.rows)?;
    Ok(retried.rows.len() as u64)
}

/// Commits under an id of the letters' own, and takes the positions along: they belong to the lake's newest state.
fn append(
    data: &DataDir,
    lake: &mut Lake,
    batches: Vec<RecordBatch>,
    letters: &HashSet<RecordId>,
    run: &Run,
) -> anyhow::Result<()> {
    if batches.is_empty() {
        return Ok(());
    }
    let mut positions = Positions::load(&data.positions())?;
    let is_current = positions.stamp == stamp(lake);
    let mut ids: Vec<_> = letters.iter().map(ToString::to_string).collect();
    ids.sort_unstable();
    let commit = Commit {
        commit_id: format!("dlq-{}", RecordId::of_line(ids.concat().as_bytes())),
        summary: BTreeMap::from([("cclake.run-id".to_owned(), run.id.clone())]),
        properties: BTreeMap::new(),
    };
    lake.append(batches, &commit)?;
    if is_current {
        positions.stamp = stamp(lake);
        positions.save(&data.positions())?;
    }
    Ok(())
}

/// What a row is known by: the record, where it was found, and the order of its change.
const KEY: [&str; 5] = ["_id", "source_file", "source_offset", "_cluster_ts", "_seq"];

type Key = (String, String, i64, Option<i64>, Option<i64>);

/// The rows that the lake has not.
fn not_in(lake: &Lake, batches: Vec<RecordBatch>) -> anyhow::Result<Vec<RecordBatch>> {
    let mut wanted = HashSet::new();
    for batch in &batches {
        wanted.extend(keys(batch)?);
    }
    let mut known = HashSet::new();
    lake.scan_columns(&KEY, &mut |batch: RecordBatch| {
        known.extend(keys(&batch)?.into_iter().filter(|key| wanted.contains(key)));
        anyhow::Ok(())
    })?;
    let mut fresh = Vec::new();
    for batch in batches {
        for (row, key) in keys(&batch)?.iter().enumerate() {
            if !known.contains(key) {
                fresh.push(batch.slice(row, 1));
            }
        }
    }
    Ok(fresh)
}

/// Of each row of a batch.
fn keys(batch: &RecordBatch) -> anyhow::Result<Vec<Key>> {
    let column = |number: usize| KEY.get(number).and_then(|name| batch.column_by_name(name));
    let text = |number: usize| column(number).and_then(|column| column.as_string_opt::<i32>());
    let offsets = column(2).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let times = column(3).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let sequences = column(4).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let columns = text(0).zip(text(1)).zip(offsets.zip(times)).zip(sequences);
    let (((ids, files), (offsets, times)), sequences) =
        columns.context("the lake's columns are of other types than ours")?;
    let time = |row| times.is_valid(row).then(|| times.value(row));
    let sequence = |row| sequences.is_valid(row).then(|| sequences.value(row));
    Ok((0..ids.len())
        .map(|row| {
            (
                ids.value(row).to_owned(),
                files.value(row).to_owned(),
                offsets.value(row),
                time(row),
                sequence(row),
            )
        })
        .collect())
}
