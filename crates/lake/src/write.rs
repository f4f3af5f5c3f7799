//! Rows → Parquet files of the table, not yet visible to anyone.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use iceberg::spec::{DataFile, DataFileFormat};
use iceberg::table::Table;
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{
    DefaultFileNameGenerator, DefaultLocationGenerator, LocationGenerator as _,
};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter as _, IcebergWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::partition::{Partition, Partitioning, partition_key};
use crate::storage::local_path;

/// Tried on 79 MB of transcripts: level 1 takes as long and leaves 19.0 MB, 3 leaves 16.7 MB, 6 takes twice the time
/// for 15.4 MB.
const ZSTD_LEVEL: i32 = 3;

/// Bytes of a row group before encoding ends it: bounds a writer's memory on a day of hundreds of megabytes.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Compressed bytes after which a partition goes on in another file: Iceberg's own default.
const FILE_BYTES: usize = 512 << 20;

/// Columns whose values are longer than this on average are texts: a dictionary never pays for them, and their minimum
/// and maximum tell nothing. Identifiers (36 bytes) and paths (about 100) stay below, messages (kilobytes) above.
const TEXT_BYTES: usize = 200;

pub(crate) type FileWriterBuilder =
    DataFileWriterBuilder<ParquetWriterBuilder, DefaultLocationGenerator, DefaultFileNameGenerator>;

/// Writes the files of one partition.
pub(crate) type FileWriter = <FileWriterBuilder as IcebergWriterBuilder>::R;

/// What an append is about to write, and where, so that a failed one can take it back.
pub(crate) struct PlannedFiles {
    table: Table,
    partitions: VecDeque<Partition>,
    properties: WriterProperties,
    prefix: String,
}

impl PlannedFiles {
    /// Splits rows that have the table's schema.
    pub(crate) fn new(table: &Table, batches: Vec<RecordBatch>) -> Result<Self> {
        let properties = columns(&batches, is_constant)
            .into_iter()
            .fold(writer_properties(&batches)?.into_builder(), |properties, name| {
                properties.set_column_compression(ColumnPath::new(vec![name]), Compression::UNCOMPRESSED)
            })
            .build();
        let partitions = Partitioning::of(table)?.split(batches)?.into();
        let prefix = uuid::Uuid::now_v7().to_string();
        Ok(Self {
            table: table.clone(),
            partitions,
            properties,
            prefix,
        })
    }

    /// The names and folders of these files.
    pub(crate) fn traces(&self) -> Result<Traces> {
        let data = data_folder(&self.table)?;
        let keys = self
            .partitions
            .iter()
            .map(|partition| partition_key(&self.table, partition.value));
        let folders = keys
            .map(|key| key.map_or_else(|| data.clone(), |key| data.join(key.to_path())))
            .collect();
        Ok(Traces::new(folders, self.prefix.clone()))
    }

    /// Writes one file per partition and syncs it; partitions beyond [`FILE_BYTES`] get several.
    pub(crate) async fn write(self, tasks: NonZeroUsize) -> Result<Vec<DataFile>> {
        let count = tasks.get();
        let builder = Arc::new(writer_builder(&self.table, self.properties, &self.prefix)?);
        let queue = Arc::new(Mutex::new(self.partitions));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            tasks.spawn(write_partitions(
                self.table.clone(),
                Arc::clone(&builder),
                Arc::clone(&queue),
            ));
        }
        let mut files = Vec::new();
        while let Some(written) = tasks.join_next().await {
            match written
                .map_err(|error| Error::from_source("write the table's rows", error))
                .flatten()
            {
                Ok(written) => files.extend(written),
                Err(error) => {
                    // Awaited, so that no file appears after the failed append has been taken back.
                    tasks.shutdown().await;
                    return Err(error);
                }
            }
        }
        Ok(files)
    }
}

/// Makes writers of files whose names begin with `prefix`. The library overwrites files of the same name, so it must be new.
pub(crate) fn writer_builder(
    table: &Table,
    properties: WriterProperties,
    prefix: &str,
) -> Result<FileWriterBuilder> {
    let metadata = table.metadata();
    let names = DefaultFileNameGenerator::new(prefix.to_owned(), None, DataFileFormat::Parquet);
    let parquet = ParquetWriterBuilder::new(properties, metadata.current_schema().clone());
    let files = RollingFileWriterBuilder::new(
        parquet,
        FILE_BYTES,
        table.file_io().clone(),
        locations(table)?,
        names,
    );
    Ok(DataFileWriterBuilder::new(files))
}

/// Where the table's data files go.
pub(crate) fn data_folder(table: &Table) -> Result<PathBuf> {
    let mut path = local_path(&locations(table)?.generate_location(None, "file"));
    path.pop();
    Ok(path)
}

fn locations(table: &Table) -> Result<DefaultLocationGenerator> {
    DefaultLocationGenerator::new(table.metadata())
        .map_err(|error| Error::from_source("find the table's folder", error))
}

async fn write_partitions(
    table: Table,
    builder: Arc<FileWriterBuilder>,
    queue: Arc<Mutex<VecDeque<Partition>>>,
) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(partition) = next else {
            return Ok(files);
        };
        files.extend(write_partition(&table, &builder, partition).await?);
    }
}

async fn write_partition(
    table: &Table,
    builder: &FileWriterBuilder,
    partition: Partition,
) -> Result<Vec<DataFile>> {
    let failed = |error| Error::from_source("write the table's rows", error);
    let mut writer = builder
        .build(partition_key(table, partition.value))
        .await
        .map_err(failed)?;
    for part in partition.parts {
        writer.write(part.into_batch()?).await.map_err(failed)?;
    }
    writer.close().await.map_err(failed)
}

/// How the columns of rows of which these are some are stored.
pub(crate) fn writer_properties(batches: &[RecordBatch]) -> Result<WriterProperties> {
    let level =
        ZstdLevel::try_new(ZSTD_LEVEL).map_err(|error| Error::from_source("set the compression", error))?;
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("cclake ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for name in columns(batches, is_text) {
        let column = ColumnPath::new(vec![name]);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// The names of the columns of which this holds.
fn columns(batches: &[RecordBatch], holds: fn(&[&ArrayRef]) -> bool) -> Vec<String> {
    let Some(first) = batches.first() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for (index, field) in first.schema_ref().fields().iter().enumerate() {
        let column: Vec<_> = batches.iter().map(|batch| batch.column(index)).collect();
        if holds(&column) {
            names.push(field.name().clone());
        }
    }
    names
}

/// Whether Parquet's own encoding leaves so little that making a compressor, for each column and file, costs more than all
/// the rest of it: nulls, one value again and again, or booleans.
fn is_constant(column: &[&ArrayRef]) -> bool {
    fn same<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> bool {
        let first = values.next();
        values.all(|value| Some(&value) == first.as_ref())
    }
    match column.first().map(arrow_array::Array::data_type) {
        Some(DataType::Boolean) => true,
        // Of a text each copy is stored.
        Some(DataType::Utf8) if is_text(column) => false,
        Some(DataType::Utf8) => same(column.iter().flat_map(|array| array.as_string::<i32>())),
        Some(DataType::Int64) => same(column.iter().flat_map(|array| array.as_primitive::<Int64Type>())),
        Some(DataType::Timestamp(TimeUnit::Microsecond, _)) => same(
            column
                .iter()
                .flat_map(|array| array.as_primitive::<TimestampMicrosecondType>()),
        ),
        _ => false,
    }
}

/// Whether the values are texts: see [`TEXT_BYTES`].
fn is_text(column: &[&ArrayRef]) -> bool {
    let texts = || column.iter().filter_map(|array| array.as_string_opt::<i32>());
    let bytes: usize = texts()
        .filter_map(|text| Some(*text.offsets().last()? - *text.offsets().first()?))
        .map(size)
        .sum();
    let values: usize = texts().map(|text| text.len() - text.null_count()).sum();
    bytes > TEXT_BYTES * values
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or_default()
}

/// Where the files of one append or rewrite are, whole or half written.
pub(crate) struct Traces {
    folders: Vec<PathBuf>,
    prefix: String,
}

impl Traces {
    pub(crate) fn new(folders: Vec<PathBuf>, prefix: String) -> Self {
        Self { folders, prefix }
    }

    /// Deletes the files, if they are known not to have landed. They are invisible, but on a full disk each
    /// retry would leave more of them. What cannot be deleted stays, harmless.
    pub(crate) fn delete(self) {
        for folder in self.folders {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }
}
