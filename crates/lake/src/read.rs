//! Files of the table → batches.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use iceberg::spec::{DataContentType, DataFile, ManifestContentType, ManifestFile, PartitionSpecRef};
use iceberg::table::Table;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ProjectionMask};

use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Lake, LakeFile};
use crate::storage::local_path;

/// About how many bytes a batch may hold, from the file's own statistics: lines of 20 MB exist.
const BATCH_BYTES: u64 = 16 << 20;

/// More rows than this gain nothing.
const BATCH_ROWS: u64 = 8192;

impl Lake {
    /// The live files whose rows came after the snapshot with this sequence number, oldest first; 0 for all. Upkeep,
    /// such as compaction or expiry, does not make old rows new.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if another program has deleted rows by delete files: reading on would bring them back.
    pub fn files_since(&self, sequence_number: i64) -> Result<Vec<LakeFile>> {
        self.runtime.block_on(list_files(&self.table, sequence_number))
    }

    /// Hands over the rows of `files`, file by file and in the order they were written, in batches of bounded size.
    /// Batches have the table's schema, or the `columns` asked for, in that order; columns that older files lack are
    /// null.
    ///
    /// # Errors
    /// Those of reading, and the first error of `on_batch`, which ends it.
    pub fn read<E: From<Error>>(
        &self,
        files: &[LakeFile],
        columns: Option<&[&str]>,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let wanted = self.project(columns)?;
        for file in files {
            read_file(file, &wanted, on_batch)?;
        }
        Ok(())
    }

    /// Hands over these columns of all rows: what a source needs to find its position again.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn scan_columns<E: From<Error>>(
        &self,
        columns: &[&str],
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(&self.files_since(0)?, Some(columns), on_batch)
    }

    fn project(&self, columns: Option<&[&str]>) -> Result<SchemaRef> {
        let Some(columns) = columns else {
            return Ok(Arc::clone(&self.schema));
        };
        let field = |name: &&str| {
            let field = self
                .schema
                .fields()
                .find(name)
                .map(|(_, field)| Arc::clone(field));
            field.ok_or_else(|| {
                Error::new(
                    ErrorKind::Schema,
                    format!("the lake's table has no column {name}"),
                )
            })
        };
        Ok(Arc::new(Schema::new(
            columns.iter().map(field).collect::<Result<Vec<FieldRef>>>()?,
        )))
    }
}

async fn list_files(table: &Table, since: i64) -> Result<Vec<LakeFile>> {
    let failed = |error| Error::from_source("list the files of the lake's table", error);
    let Some(snapshot) = table.metadata().current_snapshot() else {
        return Ok(Vec::new());
    };
    let manifests = table
        .manifest_list_reader(snapshot)
        .load()
        .await
        .map_err(failed)?;
    let mut files = Vec::new();
    for manifest in manifests.entries() {
        check_content(manifest)?;
        if manifest.sequence_number <= since {
            continue;
        }
        let entries = manifest.load_manifest(table.file_io()).await.map_err(failed)?;
        for entry in entries.entries().iter().filter(|entry| entry.is_alive()) {
            let sequence_number = entry.sequence_number().unwrap_or(manifest.sequence_number);
            if sequence_number > since {
                files.push(lake_file(
                    table,
                    entry.data_file(),
                    manifest.partition_spec_id,
                    sequence_number,
                )?);
            }
        }
    }
    files.sort_by(|a, b| (a.sequence_number, &a.path).cmp(&(b.sequence_number, &b.path)));
    Ok(files)
}

fn check_content(manifest: &ManifestFile) -> Result<()> {
    if manifest.content == ManifestContentType::Deletes
        && (manifest.has_added_files() || manifest.has_existing_files())
    {
        let message =
            "the lake's table has delete files, made by another program; let that program rewrite the table";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// A file as callers see it.
pub(crate) fn lake_file(
    table: &Table,
    file: &DataFile,
    spec_id: i32,
    sequence_number: i64,
) -> Result<LakeFile> {
    if file.content_type() != DataContentType::Data {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("{} is listed as a data file and is none", file.file_path()),
        ));
    }
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    // The library panics on a spec whose column another program has dropped.
    let named = |spec: &&PartitionSpecRef| !spec.is_unpartitioned() && spec.partition_type(schema).is_ok();
    let partition = metadata.partition_spec_by_id(spec_id).filter(named);
    Ok(LakeFile {
        path: local_path(file.file_path()),
        records: file.record_count(),
        sequence_number,
        partition: partition
            .map(|spec| spec.partition_to_path(file.partition(), schema.clone()))
            .unwrap_or_default(),
    })
}

/// Hands over the rows of one file, with the columns of `wanted`.
pub(crate) fn read_file<E: From<Error>>(
    file: &LakeFile,
    wanted: &SchemaRef,
    on_batch: &mut dyn FnMut(RecordBatch) -> Result<(), E>,
) -> Result<(), E> {
    let what = format!("read {}", file.path.display());
    let failed = |error| Error::from_source(&what, error);
    let opened = File::open(&file.path).map_err(|error| Error::from_source(&what, error))?;
    let (metadata, sources) = matched_metadata(&opened, wanted).map_err(failed)?;
    let records = metadata.metadata().file_metadata().num_rows();
    if u64::try_from(records) != Ok(file.records) {
        let message = format!(
            "could not {what}: it has {records} rows instead of {}",
            file.records
        );
        return Err(Error::new(ErrorKind::Corrupt, message).into());
    }
    let roots = sources.iter().flatten().copied();
    let mask = ProjectionMask::roots(metadata.metadata().file_metadata().schema_descr(), roots);
    let rows = batch_rows(&metadata, &mask);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata)
        .with_projection(mask)
        .with_batch_size(rows)
        .build()
        .map_err(failed)?;
    let positions = positions_after_projection(&sources);
    for batch in reader {
        let batch = batch.map_err(|error| Error::from_source(&what, error).with_kind(ErrorKind::Corrupt))?;
        on_batch(fill(&batch, &positions, wanted, &what)?)?;
    }
    Ok(())
}

/// The file's metadata, read with the table's Arrow types, and for each wanted column its place in the file.
fn matched_metadata(
    file: &File,
    wanted: &SchemaRef,
) -> parquet::errors::Result<(ArrowReaderMetadata, Vec<Option<usize>>)> {
    let own = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let places = Places::of(own.schema());
    let sources: Vec<Option<usize>> = wanted.fields().iter().map(|field| places.find(field)).collect();
    // Other programs write the same Iceberg types with Arrow types of their own, such as LargeUtf8.
    let mut fields: Vec<FieldRef> = own.schema().fields().to_vec();
    for (field, source) in wanted.fields().iter().zip(&sources) {
        if let Some(own) = source.and_then(|place| fields.get_mut(place)) {
            *own = Arc::new(Field::clone(own).with_data_type(field.data_type().clone()));
        }
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    Ok((
        ArrowReaderMetadata::try_new(Arc::clone(own.metadata()), options)?,
        sources,
    ))
}

/// The places of a file's columns by field id; by name in files that have none.
struct Places {
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
}

impl Places {
    fn of(schema: &Schema) -> Self {
        let (mut by_id, mut by_name) = (HashMap::new(), HashMap::new());
        for (place, field) in schema.fields().iter().enumerate() {
            match field.metadata().get(PARQUET_FIELD_ID_META_KEY) {
                Some(id) => by_id.insert(id.clone(), place),
                None => by_name.insert(field.name().clone(), place),
            };
        }
        Self { by_id, by_name }
    }

    fn find(&self, field: &Field) -> Option<usize> {
        let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY);
        id.and_then(|id| self.by_id.get(id))
            .or_else(|| self.by_name.get(field.name()))
            .copied()
    }
}

fn batch_rows(metadata: &ArrowReaderMetadata, mask: &ProjectionMask) -> usize {
    let groups = metadata.metadata().row_groups();
    let bytes = |group: &parquet::file::metadata::RowGroupMetaData| -> u64 {
        let columns = group
            .columns()
            .iter()
            .enumerate()
            .filter(|(leaf, _)| mask.leaf_included(*leaf));
        columns
            .map(|(_, column)| u64::try_from(column.uncompressed_size()).unwrap_or_default())
            .sum()
    };
    let rows = |group: &parquet::file::metadata::RowGroupMetaData| {
        u64::try_from(group.num_rows()).unwrap_or_default()
    };
    let fitting = groups
        .iter()
        .map(|group| rows(group).saturating_mul(BATCH_BYTES) / bytes(group).max(1))
        .min();
    usize::try_from(fitting.unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)).unwrap_or(1)
}

/// Where each wanted column is among the projected ones, which keep the file's order.
fn positions_after_projection(sources: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut read: Vec<usize> = sources.iter().flatten().copied().collect();
    read.sort_unstable();
    read.dedup();
    sources
        .iter()
        .map(|source| read.binary_search(&(*source)?).ok())
        .collect()
}

fn fill(
    batch: &RecordBatch,
    positions: &[Option<usize>],
    wanted: &SchemaRef,
    what: &str,
) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = wanted
        .fields()
        .iter()
        .zip(positions)
        .map(|(field, position)| match position {
            Some(position) => Arc::clone(batch.column(*position)),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options)
        .map_err(|error| Error::from_source(what, error).with_kind(ErrorKind::Corrupt))
}
