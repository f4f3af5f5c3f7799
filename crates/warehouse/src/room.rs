//! How much memory DuckDB needs beyond its limit, by what was loaded: what must be in memory whole cannot be spilled.

use std::collections::VecDeque;

use arrow_array::RecordBatch;

use crate::error::Result;
use crate::rows::text_column;

/// Nearly all of a transcript's bytes. They compress six-fold, which keeps the file smaller than the logs and more of it in
/// memory; without, 2 GB of logs made a file of 4 GB, and writing it took longer than compressing it.
pub(crate) const JSON_COLUMNS: [&str; 5] = ["message", "tool_use", "tool_use_result", "data", "_raw_json"];

/// DuckDB's vector size.
pub(crate) const VECTOR_ROWS: usize = 2048;

/// How often a value is in memory while it is appended.
const COPIES_OF_A_VALUE: u64 = 4;

/// Of each JSON column, the values of the last vector: while one is compressed all of them are in memory, however many
/// loads they came by. Next to nothing for most transcripts; screenshots add up.
#[derive(Debug, Default)]
pub(crate) struct Room {
    vectors: [Vector; JSON_COLUMNS.len()],
    most_bytes: u64,
}

#[derive(Debug, Default)]
struct Vector {
    lengths: VecDeque<u64>,
    bytes: u64,
}

impl Room {
    /// Notes rows in the order they are stored; says whether they need more room than all before.
    ///
    /// # Errors
    /// When a JSON column is no text.
    pub(crate) fn add(&mut self, batches: &[RecordBatch]) -> Result<bool> {
        let before = self.mebibytes();
        for (name, vector) in JSON_COLUMNS.iter().zip(&mut self.vectors) {
            for batch in batches
                .iter()
                .filter(|batch| batch.column_by_name(name).is_some())
            {
                for ends in text_column(batch, name)?.value_offsets().windows(2) {
                    let length = u64::from(ends[1].abs_diff(ends[0]));
                    vector.push(length);
                    self.most_bytes = self.most_bytes.max(vector.bytes + COPIES_OF_A_VALUE * length);
                }
            }
        }
        Ok(self.mebibytes() > before)
    }

    /// MiB needed so far.
    pub(crate) fn mebibytes(&self) -> u64 {
        self.most_bytes >> 20
    }
}

impl Vector {
    fn push(&mut self, length: u64) {
        self.lengths.push_back(length);
        self.bytes += length;
        if self.lengths.len() > VECTOR_ROWS {
            self.bytes -= self.lengths.pop_front().unwrap_or(0);
        }
    }
}
