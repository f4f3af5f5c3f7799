//! Lake rows → `raw`: one row per `_id`, every place it was seen beside it, and how far the lake has been loaded.
//!
//! A load is one transaction that ends with its mark in `raw.loads`, so a crash leaves it whole or absent and the
//! same lake snapshot is never taken twice.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::open::{DATABASE, Phase, Warehouse, identifier, quoted};
use crate::room::{JSON_COLUMNS, VECTOR_ROWS};
use crate::rows::{
    LOAD_SEQUENCE, batch_of, column, deletions_of, filtered, mask, sightings_of, text_column, winning_rows,
    with_sequence, without_deletions,
};

/// Rows that the appender holds before it hands them over. More than a vector would wait outside the memory limit.
const FLUSH_ROWS: usize = VECTOR_ROWS;

const RAW_TABLE: &str = "raw.conversations";
/// Rows of this load whose `_id` the table already holds; same columns as the table.
const KNOWN_TABLE: &str = "known_rows";

/// Some rows of a batch.
type Rows<'a> = (&'a RecordBatch, BooleanArray);

/// Where a load comes from: the lake table and the snapshot whose rows it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeMark {
    /// The lake table's UUID; another one means another lake.
    pub table_uuid: String,
    /// The snapshot's sequence number.
    pub sequence: i64,
}

/// What a load did to `raw.conversations`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadStats {
    /// Rows inserted: records never seen before.
    pub inserted: u64,
    /// Rows that were there and took a newer content or an earlier place.
    pub updated: u64,
    /// Rows that were there and stayed as they are: copies.
    pub unchanged: u64,
}

impl std::ops::AddAssign for LoadStats {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
    }
}

impl Warehouse {
    /// The last lake sequence number in `raw`, 0 when nothing of this lake is loaded.
    ///
    /// A different `table_uuid` than the lake's means that it was filled from another one: the caller decides.
    pub fn loaded_mark(&self) -> Result<Option<LakeMark>> {
        let what = "cannot read how far the lake is loaded";
        let exists: bool = self
            .connection
            .query_row(
                "select count(*) > 0 from duckdb_tables()
                 where database_name = ? and schema_name = 'raw' and table_name = 'loads'",
                [DATABASE],
                |row| row.get(0),
            )
            .during(ErrorKind::Load, what)?;
        if !exists {
            return Ok(None);
        }
        let mut statement = self
            .connection
            .prepare("select lake_uuid, lake_sequence from raw.loads order by _load_seq desc limit 1")
            .during(ErrorKind::Load, what)?;
        let mut rows = statement.query([]).during(ErrorKind::Load, what)?;
        let Some(row) = rows.next().during(ErrorKind::Load, what)? else {
            return Ok(None);
        };
        Ok(Some(LakeMark {
            table_uuid: row.get(0).during(ErrorKind::Load, what)?,
            sequence: row.get(1).during(ErrorKind::Load, what)?,
        }))
    }

    /// Creates the raw tables for records of `schema`, or adds the columns that a newer schema brings.
    pub fn prepare_raw(&self, schema: &Schema) -> Result<()> {
        let columns = table_columns(schema)?;
        let mut sql = format!("create table if not exists {RAW_TABLE} ({});", columns.join(", "));
        let present = self.raw_columns()?;
        let missing = columns
            .iter()
            .zip(schema.fields())
            .filter(|(_, field)| !present.is_empty() && !present.contains(&field.name().to_lowercase()));
        for (column, _) in missing {
            let column = column.trim_end_matches(" not null");
            let _ = write!(sql, "alter table {RAW_TABLE} add column if not exists {column};");
        }
        sql.push_str(
            "create table if not exists raw.sightings (_id varchar not null, machine varchar not null,
                source_file varchar not null, source_offset bigint not null, _load_seq bigint not null);
             create table if not exists raw.deletions (_id varchar not null, _deleted_at timestamptz,
                _cluster_ts timestamptz, _seq bigint);
             create table if not exists raw.loads (_load_seq bigint not null, lake_uuid varchar not null,
                lake_sequence bigint not null, loaded_at timestamptz not null, inserted bigint not null,
                updated bigint not null, unchanged bigint not null);",
        );
        self.connection
            .execute_batch(&sql)
            .during(ErrorKind::Load, "cannot create the raw tables")
    }

    /// The columns of `raw.conversations` in lower case; none before it is there.
    fn raw_columns(&self) -> Result<HashSet<String>> {
        let what = "cannot list the columns of raw.conversations";
        let mut statement = self
            .connection
            .prepare(
                "select lower(column_name) from duckdb_columns()
                 where database_name = ? and schema_name = 'raw' and table_name = 'conversations'",
            )
            .during(ErrorKind::Load, what)?;
        let names = statement
            .query_map([DATABASE], |row| row.get(0))
            .during(ErrorKind::Load, what)?;
        names
            .collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Load, what)
    }

    /// Begins to take lake snapshots into `raw`: one transaction, however many batches they have.
    pub fn begin_load(&self) -> Result<Load<'_>> {
        self.enter(Phase::Load)?;
        self.connection
            .execute_batch("begin transaction")
            .during(ErrorKind::Load, "cannot begin a load")?;
        // From here on dropping the load rolls it back.
        let mut load = Load {
            warehouse: self,
            sequence: 0,
            snapshot: LoadStats::default(),
            stats: LoadStats::default(),
            open: true,
        };
        load.sequence = self
            .connection
            .query_row(
                "select coalesce(max(_load_seq), 0) + 1 from raw.loads",
                [],
                |row| row.get(0),
            )
            .during(ErrorKind::Load, "cannot number the load")?;
        Ok(load)
    }

    /// Contents first, then deletions, which mark rows and keep their content.
    fn take(&self, batches: &[RecordBatch], sequence: i64) -> Result<LoadStats> {
        let (contents, deletions) = without_deletions(batches)?;
        let mut stats = self.take_contents(&contents, sequence)?;
        self.keep_deletions(&deletions)?;
        stats.updated += self.apply_deletions(sequence)?;
        Ok(stats)
    }

    fn take_contents(&self, batches: &[RecordBatch], sequence: i64) -> Result<LoadStats> {
        let winners = winning_rows(batches)?;
        let known = self.known_ids(batches)?;
        let mut stats = LoadStats::default();
        let mut fresh = Vec::with_capacity(batches.len());
        let mut copies = Vec::new();
        let mut merged = Vec::new();
        for (index, batch) in batches.iter().enumerate() {
            let ids = text_column(batch, "_id")?;
            let is_winner = |row: usize| winners.get(ids.value(row)) == Some(&(index, row));
            let rows = mask(ids, |row| is_winner(row) && !known.contains(ids.value(row)));
            stats.inserted += rows.true_count() as u64;
            let others = batch.num_rows() - rows.true_count();
            if others > 0 {
                stats.unchanged += others as u64;
                copies.push((batch, mask(ids, |row| !rows.value(row))));
            }
            fresh.push((batch, rows));
            let rows = mask(ids, |row| is_winner(row) && known.contains(ids.value(row)));
            if rows.true_count() > 0 {
                merged.push((batch, rows));
            }
        }
        let numbered = |(batch, rows): &Rows<'_>| with_sequence(&filtered(batch, rows)?, sequence);
        self.append("conversations", "raw", fresh.iter().map(numbered))?;
        self.append_sightings(&fresh, &copies, sequence)?;
        stats.updated = self.merge_known(merged.iter().map(numbered).collect::<Result<Vec<_>>>()?)?;
        stats.unchanged -= stats.updated;
        Ok(stats)
    }

    /// The `_id`s of these batches that the table already holds.
    fn known_ids(&self, batches: &[RecordBatch]) -> Result<HashSet<String>> {
        let what = "cannot look up known records";
        let empty: bool = self
            .connection
            .query_row(&format!("select count(*) = 0 from {RAW_TABLE}"), [], |row| {
                row.get(0)
            })
            .during(ErrorKind::Load, what)?;
        if empty {
            return Ok(HashSet::new());
        }
        self.connection
            .execute_batch("create or replace temp table incoming_ids (_id varchar)")
            .during(ErrorKind::Load, what)?;
        let schema = Arc::new(Schema::new(vec![Field::new("_id", DataType::Utf8, false)]));
        let ids = |batch: &RecordBatch| batch_of(schema.clone(), vec![column(batch, "_id")?.clone()]);
        self.append("incoming_ids", "temp", batches.iter().map(ids))?;
        let sql = format!("select _id from {RAW_TABLE} semi join incoming_ids using (_id)");
        let mut statement = self.connection.prepare(&sql).during(ErrorKind::Load, what)?;
        let ids = statement
            .query_map([], |row| row.get(0))
            .during(ErrorKind::Load, what)?;
        let ids = ids
            .collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Load, what);
        self.connection
            .execute_batch("drop table temp.incoming_ids")
            .during(ErrorKind::Load, what)?;
        ids
    }

    /// Merges rows whose `_id` is there; returns how many changed.
    fn merge_known(&self, rows: Vec<RecordBatch>) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let what = "cannot merge rows into raw.conversations";
        self.connection
            .execute_batch(&format!(
                "create or replace temp table {KNOWN_TABLE} as from {RAW_TABLE} limit 0"
            ))
            .during(ErrorKind::Load, what)?;
        self.append(KNOWN_TABLE, "temp", rows.into_iter().map(Ok))?;
        let changed = self
            .connection
            .execute(
                &format!(
                    "merge into {RAW_TABLE} as present using {KNOWN_TABLE} as incoming
                     on present._id = incoming._id
                     when matched and ({newer} > {older} or ({newer} = {older}
                        and (incoming.source_file, incoming.source_offset)
                            < (present.source_file, present.source_offset)))
                     then update by name",
                    newer = order("incoming"),
                    older = order("present"),
                ),
                [],
            )
            .during(ErrorKind::Load, what)?;
        self.connection
            .execute_batch(&format!("drop table temp.{KNOWN_TABLE}"))
            .during(ErrorKind::Load, what)?;
        Ok(changed as u64)
    }

    /// Remembers that documents are gone, whether or not they are here: a content read before may be loaded later.
    fn keep_deletions(&self, deletions: &[RecordBatch]) -> Result<()> {
        if deletions.is_empty() {
            return Ok(());
        }
        let what = "cannot note deleted documents";
        self.connection
            .execute_batch("create or replace temp table gone as from raw.deletions limit 0")
            .during(ErrorKind::Load, what)?;
        self.append("gone", "temp", deletions.iter().map(deletions_of))?;
        self.connection
            .execute_batch(&format!(
                "insert into gone from raw.deletions where _id in (select _id from gone);
                 delete from raw.deletions where _id in (select _id from gone);
                 insert into raw.deletions
                 select distinct on (_id) * from gone order by _id, {} desc;
                 drop table temp.gone;",
                order("gone")
            ))
            .during(ErrorKind::Load, what)
    }

    /// Marks rows whose document is gone since; returns how many.
    fn apply_deletions(&self, sequence: i64) -> Result<u64> {
        let what = "cannot mark deleted documents";
        let any: bool = self
            .connection
            .query_row("select count(*) > 0 from raw.deletions", [], |row| row.get(0))
            .during(ErrorKind::Load, what)?;
        if !any {
            return Ok(0);
        }
        let changed = self
            .connection
            .execute(
                &format!(
                    "update {RAW_TABLE} as present set _op = 'delete', _deleted_at = gone._deleted_at,
                        _cluster_ts = gone._cluster_ts, _seq = gone._seq, {LOAD_SEQUENCE} = ?
                     from raw.deletions as gone
                     where present._id = gone._id and {} > {}",
                    order("gone"),
                    order("present"),
                ),
                [sequence],
            )
            .during(ErrorKind::Load, what)?;
        Ok(changed as u64)
    }

    /// Notes where these rows were seen, each place once however often a snapshot is loaded. Records that are new were
    /// seen nowhere before; only the `copies` of known ones are looked up.
    fn append_sightings(&self, fresh: &[Rows<'_>], copies: &[Rows<'_>], sequence: i64) -> Result<()> {
        let what = "cannot note where records were seen";
        let seen = |(batch, rows): &Rows<'_>| sightings_of(&filtered(batch, rows)?, sequence);
        self.append("sightings", "raw", fresh.iter().map(seen))?;
        if copies.is_empty() {
            return Ok(());
        }
        self.connection
            .execute_batch("create or replace temp table seen as from raw.sightings limit 0")
            .during(ErrorKind::Load, what)?;
        self.append("seen", "temp", copies.iter().map(seen))?;
        self.connection
            .execute_batch(
                "insert into raw.sightings
                 select distinct seen.* from temp.seen as seen
                 anti join (from raw.sightings where _id in (select _id from temp.seen)) as known
                 using (_id, machine, source_file, source_offset);
                 drop table temp.seen;",
            )
            .during(ErrorKind::Load, what)
    }

    fn write_mark(&self, sequence: i64, mark: &LakeMark, stats: LoadStats) -> Result<()> {
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.connection
            .execute(
                "insert into raw.loads values (?, ?, ?, now(), ?, ?, ?)",
                duckdb::params![
                    sequence,
                    mark.table_uuid,
                    mark.sequence,
                    count(stats.inserted),
                    count(stats.updated),
                    count(stats.unchanged)
                ],
            )
            .during(ErrorKind::Load, "cannot mark the load as done")?;
        Ok(())
    }

    /// Appends batches whose columns are the table's, in its order.
    pub(crate) fn append(
        &self,
        table: &str,
        schema: &str,
        batches: impl IntoIterator<Item = Result<RecordBatch>>,
    ) -> Result<()> {
        let what = || format!("cannot append rows to {schema}.{table}");
        let (database, schema) = if schema == "temp" {
            ("temp", "main")
        } else {
            (DATABASE, schema)
        };
        let mut appender = self
            .connection
            .appender_to_catalog_and_db(table, database, schema)
            .during(ErrorKind::Load, what())?;
        let mut waiting = 0;
        for batch in batches {
            let batch = batch?;
            waiting += batch.num_rows();
            appender
                .append_record_batch(batch)
                .during(ErrorKind::Load, what())?;
            if waiting >= FLUSH_ROWS {
                appender.flush().during(ErrorKind::Load, what())?;
                waiting = 0;
            }
        }
        appender.flush().during(ErrorKind::Load, what())
    }
}

/// A load under way. Dropped without [`commit`](Load::commit), it leaves no trace.
pub struct Load<'w> {
    warehouse: &'w Warehouse,
    /// Number of the snapshot under way.
    sequence: i64,
    snapshot: LoadStats,
    /// Of the snapshots before it.
    stats: LoadStats,
    open: bool,
}

impl Load<'_> {
    /// Takes some of the snapshot's rows.
    ///
    /// Per `_id` the row with the greater (`_cluster_ts`, `_seq`) wins; among equals the content stays and the smaller
    /// (`source_file`, `source_offset`) becomes its provenance.
    ///
    /// # Errors
    /// `Load` when a batch lacks a column or DuckDB refuses the rows.
    pub fn push(&mut self, batches: &[RecordBatch]) -> Result<()> {
        if self.warehouse.room.borrow_mut().add(batches)? {
            self.warehouse.enter(Phase::Load)?;
        }
        self.snapshot += self.warehouse.take(batches, self.sequence)?;
        Ok(())
    }

    /// All rows of a snapshot are pushed, and the lake has it. The rows after it get the next number, so that rows are
    /// numbered by their snapshot, whichever loads they come in.
    pub fn mark(&mut self, mark: &LakeMark) -> Result<()> {
        self.warehouse.write_mark(self.sequence, mark, self.snapshot)?;
        self.stats += std::mem::take(&mut self.snapshot);
        self.sequence += 1;
        Ok(())
    }

    /// Makes the marked snapshots part of `raw`; nothing may have been pushed since the last mark.
    /// They outlast this process from the next [`Warehouse::checkpoint`] on; until then the lake would bring them again.
    pub fn commit(mut self) -> Result<LoadStats> {
        self.warehouse
            .connection
            .execute_batch("commit")
            .during(ErrorKind::Load, "cannot commit a load")?;
        self.open = false;
        Ok(self.stats)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        if self.open {
            // Whatever ended the load early is what gets reported; a rollback that fails too adds nothing.
            let _ = self.warehouse.connection.execute_batch("rollback");
        }
    }
}

/// When a row's content was so. Rows without an order (files) compare equal; then only an earlier place counts, and it
/// brings the same bytes.
fn order(alias: &str) -> String {
    format!("(coalesce(epoch_us({alias}._cluster_ts), 0), coalesce({alias}._seq, 0))")
}

fn table_columns(schema: &Schema) -> Result<Vec<String>> {
    let mut columns = schema
        .fields()
        .iter()
        .map(|field| {
            let null = if field.is_nullable() { "" } else { " not null" };
            let is_json = JSON_COLUMNS.contains(&field.name().as_str());
            let compression = if is_json { " using compression zstd" } else { "" };
            Ok(format!(
                "{} {}{compression}{null}",
                identifier(field.name()),
                sql_type(field)?
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    columns.push(format!("{LOAD_SEQUENCE} bigint not null"));
    Ok(columns)
}

fn sql_type(field: &Field) -> Result<&'static str> {
    match field.data_type() {
        DataType::Utf8 => Ok("varchar"),
        DataType::Int64 => Ok("bigint"),
        DataType::Boolean => Ok("boolean"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Ok("timestamptz"),
        other => Err(Error::new(
            ErrorKind::Load,
            format!(
                "column {} has type {other}, which raw.conversations cannot hold",
                quoted(field.name())
            ),
        )),
    }
}
