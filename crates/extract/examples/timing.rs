//! Times discovery and parsing of a tree: `cargo run --release -p cclake-extract --example timing -- DIR [threads]`.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::{collections::HashSet, time::Instant};

use cclake_extract::{Error, KnownIds, Positions, Settings, discover, extract, plan};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().unwrap_or_else(|| ".".into());
    let threads = arguments
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(2);
    for _ in 0..5 {
        let start = Instant::now();
        let plan = plan(
            discover(&[root.clone().into()])?.files,
            &mut Positions::default(),
            None,
        );
        let planned = start.elapsed();
        let settings = Settings {
            machine: "here".into(),
            run_id: "timing".into(),
            synced_at_us: 0,
            threads,
            chunk_bytes: 32 << 20,
        };
        let mut bytes = 0;
        let start = Instant::now();
        let sum = extract::<Error>(
            &plan,
            KnownIds::default(),
            &HashSet::new(),
            &settings,
            &mut |chunk| {
                bytes += chunk
                    .batches
                    .iter()
                    .map(arrow_array::RecordBatch::get_array_memory_size)
                    .sum::<usize>();
                Ok(())
            },
        )?;
        let parsed = start.elapsed();
        println!(
            "plan {planned:.1?}, parse {parsed:.1?}, {} MB of columns, {:?}",
            bytes >> 20,
            sum.counts
        );
    }
    Ok(())
}
