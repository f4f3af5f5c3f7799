//! The real transcripts, where they are at hand.

use std::path::PathBuf;

use serde::Deserialize;

use super::World;
use crate::{KnownIds, Positions, Settings, discover, extract, plan};

#[derive(Deserialize)]
struct Sample {
    file: String,
    lines: usize,
}

fn samples() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if !folder.is_dir() {
        eprintln!(
            "not tested: there are no sample transcripts at {}",
            folder.display()
        );
        return None;
    }
    Some(folder.canonicalize().unwrap())
}

#[test]
fn every_line_of_every_file_is_a_row() {
    let Some(folder) = samples() else { return };
    let tree = folder.join("claude-projects");
    let manifest: Vec<Sample> =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let found = discover(std::slice::from_ref(&tree)).unwrap();
    let plan = plan(found.files, &mut Positions::default(), None);
    let settings = Settings {
        machine: "m".into(),
        run_id: "r".into(),
        synced_at_us: 0,
        threads: 2,
        chunk_bytes: 8 << 20,
    };
    let mut rows = std::collections::BTreeMap::<String, usize>::new();
    let mut unexpected = Vec::new();
    let mut ids = std::collections::HashSet::new();
    let extraction = extract::<crate::Error>(
        &plan,
        KnownIds::default(),
        &ids.clone(),
        &settings,
        &mut |chunk| {
            for batch in &chunk.batches {
                for row in 0..batch.num_rows() {
                    let file = super::text(batch, "source_file", row).unwrap();
                    *rows
                        .entry(
                            file.strip_prefix(&format!("{}/", tree.display()))
                                .unwrap()
                                .to_owned(),
                        )
                        .or_default() += 1;
                    unexpected.extend(super::text(batch, "_parse_error", row));
                    ids.insert(super::text(batch, "_id", row).unwrap().parse().unwrap());
                }
            }
            Ok(())
        },
    );
    let counts = extraction.unwrap().counts;
    assert_eq!(
        (counts.lines, counts.new, counts.dead_lettered, counts.pending),
        (21_721, 21_721, 0, 0)
    );
    assert_eq!((ids.len(), unexpected), (21_720, Vec::new()));
    let expected: std::collections::BTreeMap<_, _> =
        manifest.into_iter().map(|file| (file.file, file.lines)).collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_second_run_reads_nothing() {
    let Some(folder) = samples() else { return };
    let mut world = World::new(1 << 20);
    let source = discover(&[folder.join("claude-projects")])
        .unwrap()
        .files
        .pop()
        .unwrap();
    world.write("a.jsonl", &std::fs::read(source.path).unwrap());
    assert!(world.run().counts.new > 0);
    assert_eq!(world.run().counts, crate::Counts::default());
}
