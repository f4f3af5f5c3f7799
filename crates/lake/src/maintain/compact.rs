//! Small files of a partition → one file with the same rows in the same order.

use arrow_array::RecordBatch;
use iceberg::spec::{DataFile, PartitionKey};
use iceberg::writer::{IcebergWriter as _, IcebergWriterBuilder as _};

use super::inventory::Candidate;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::read::read_file;
use crate::write::{FileWriter, Traces, data_folder, writer_builder, writer_properties};

/// Rows seen before a file is begun: how its columns are stored depends on how long their values are.
const SAMPLE_BYTES: usize = 16 << 20;

/// Files that can take the place of others.
pub(crate) struct Rewritten {
    /// The files whose rows these are, as the table spells their paths.
    pub(crate) inputs: Vec<Candidate>,
    pub(crate) outputs: Vec<DataFile>,
    /// The newest snapshot that brought rows. Who has read up to an earlier one reads some rows again, which is harmless,
    /// and none too few.
    pub(crate) sequence_number: i64,
    /// The partitioning they were written under.
    pub(crate) spec_id: i32,
    /// To take the files back when they are not needed.
    pub(crate) traces: Traces,
}

/// Writes the rows of `inputs`, which are of one partition. Holds a row group in memory, however large they are.
///
/// # Errors
/// Nothing is left behind.
pub(crate) fn rewrite(lake: &Lake, inputs: Vec<Candidate>) -> Result<Rewritten> {
    let prefix = uuid::Uuid::now_v7().to_string();
    let key = partition_key(lake, &inputs);
    let data = data_folder(&lake.table)?;
    let folder = key
        .as_ref()
        .map_or_else(|| data.clone(), |key| data.join(key.to_path()));
    let traces = Traces::new(vec![folder], prefix.clone());
    let mut rewriting = Rewriting {
        lake,
        key,
        prefix,
        sample: Vec::new(),
        sample_bytes: 0,
        writer: None,
    };
    let outputs = inputs
        .iter()
        .try_for_each(|input| read_file(&input.file, &lake.schema, &mut |batch| rewriting.take(batch)))
        .and_then(|()| rewriting.finish())
        .and_then(|outputs| complete(&inputs, outputs));
    match outputs {
        Ok(outputs) => Ok(Rewritten {
            sequence_number: inputs
                .iter()
                .map(|input| input.file.sequence_number)
                .max()
                .unwrap_or_default(),
            spec_id: lake.table.metadata().default_partition_spec_id(),
            inputs,
            outputs,
            traces,
        }),
        Err(error) => {
            traces.delete();
            Err(error)
        }
    }
}

/// The outputs, unless a row is missing or double.
fn complete(inputs: &[Candidate], outputs: Vec<DataFile>) -> Result<Vec<DataFile>> {
    let read: u64 = inputs.iter().map(|input| input.file.records).sum();
    let written: u64 = outputs.iter().map(DataFile::record_count).sum();
    if read == written {
        return Ok(outputs);
    }
    let message =
        format!("merging files of the lake's table made {written} rows of {read}; please report this");
    Err(Error::new(ErrorKind::Corrupt, message))
}

fn partition_key(lake: &Lake, inputs: &[Candidate]) -> Option<PartitionKey> {
    let metadata = lake.table.metadata();
    let spec = metadata.default_partition_spec();
    let first = inputs.first().filter(|_| !spec.is_unpartitioned())?;
    let schema = metadata.current_schema().clone();
    Some(PartitionKey::new(
        spec.as_ref().clone(),
        schema,
        first.partition.clone(),
    ))
}

struct Rewriting<'a> {
    lake: &'a Lake,
    key: Option<PartitionKey>,
    prefix: String,
    /// Rows that came before the writer was begun.
    sample: Vec<RecordBatch>,
    sample_bytes: usize,
    writer: Option<FileWriter>,
}

impl Rewriting<'_> {
    fn take(&mut self, batch: RecordBatch) -> Result<()> {
        if self.writer.is_some() {
            return self.write(batch);
        }
        self.sample_bytes += batch.get_array_memory_size();
        self.sample.push(batch);
        if self.sample_bytes < SAMPLE_BYTES {
            return Ok(());
        }
        self.begin()
    }

    fn begin(&mut self) -> Result<()> {
        let properties = writer_properties(&self.sample)?;
        let builder = writer_builder(&self.lake.table, properties, &self.prefix)?;
        let building = builder.build(self.key.clone());
        self.writer = Some(self.lake.runtime.block_on(building).map_err(failed)?);
        std::mem::take(&mut self.sample)
            .into_iter()
            .try_for_each(|batch| self.write(batch))
    }

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        self.lake.runtime.block_on(writer.write(batch)).map_err(failed)
    }

    fn finish(mut self) -> Result<Vec<DataFile>> {
        if self.writer.is_none() {
            self.begin()?;
        }
        let Some(mut writer) = self.writer else {
            return Ok(Vec::new());
        };
        self.lake.runtime.block_on(writer.close()).map_err(failed)
    }
}

fn failed(error: iceberg::Error) -> Error {
    Error::from_source("merge files of the lake's table", error)
}
