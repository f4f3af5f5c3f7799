//! The crate from outside: real files, a lake that is a map, and runs that may crash.

mod changes;
mod model;
mod oddities;
mod samples;

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use arrow_array::{Int64Array, RecordBatch, StringArray, cast::AsArray};

use crate::{
    Counts, Error, Extraction, KnownIds, Plan, Positions, RecordId, Settings, discover, dlq, extract, plan,
};

/// A folder of files, and what all runs made of them.
struct World {
    dir: tempfile::TempDir,
    chunk_bytes: usize,
    /// Per file (relative), the rows in the order of commits: offset and line.
    lake: BTreeMap<String, Vec<(i64, String)>>,
    commits: usize,
    clock: u64,
    /// Those of the last plan.
    positions: Positions,
}

#[derive(Debug)]
enum Failure {
    Crash,
    Extract(#[expect(dead_code, reason = "shown where it is unwrapped")] Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Extract(error)
    }
}

impl World {
    fn new(chunk_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        Self {
            dir,
            chunk_bytes,
            lake: BTreeMap::new(),
            commits: 0,
            clock: 0,
            positions: Positions::default(),
        }
    }

    fn logs(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("logs")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.logs().join(file)
    }

    /// Writes a file and lets it look old, so that its size and time count as proof.
    fn write(&mut self, file: &str, bytes: &[u8]) {
        fs::write(self.path(file), bytes).unwrap();
        self.age(file);
    }

    fn age(&mut self, file: &str) {
        self.clock += 1;
        let time = SystemTime::now() - Duration::from_hours(1) + Duration::from_millis(self.clock);
        File::options()
            .write(true)
            .open(self.path(file))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    fn head(&self) -> Option<String> {
        (self.commits > 0).then(|| self.commits.to_string())
    }

    fn plan(&mut self) -> Plan {
        let found = discover(&[self.logs()]).unwrap();
        assert_eq!(found.warnings, Vec::<String>::new());
        self.positions = Positions::load(&self.dir.path().join("positions.json")).unwrap();
        let head = self.head();
        plan(found.files, &mut self.positions, head.as_deref())
    }

    fn run(&mut self) -> Extraction {
        let plan = self.plan();
        self.execute(&plan, usize::MAX).unwrap()
    }

    /// Reads and commits as the app does; dies before the positions of commit number `crash_at` are saved.
    fn execute(&mut self, plan: &Plan, crash_at: usize) -> Result<Extraction, Failure> {
        let settings = Settings {
            machine: "here".into(),
            run_id: "run".into(),
            synced_at_us: 1,
            threads: 2,
            chunk_bytes: self.chunk_bytes,
        };
        let queue = self.dir.path().join("dead");
        let dead_ids: HashSet<RecordId> = dlq::load_ids(&queue).unwrap();
        let mut positions = std::mem::take(&mut self.positions);
        let known = self.known(plan);
        let mut commits = 0;
        let mut sum = Counts::default();
        let extraction = extract(plan, known, &dead_ids, &settings, &mut |chunk| {
            let rows: usize = chunk.batches.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows as u64, chunk.counts.new);
            assert_eq!(chunk.dead_letters.len() as u64, chunk.counts.dead_lettered);
            assert_adds_up(chunk.counts);
            sum += chunk.counts;
            dlq::append(&queue, &chunk.dead_letters, 0, "run")?;
            chunk.batches.iter().for_each(|batch| self.commit(batch));
            self.commits += usize::from(rows > 0);
            if commits == crash_at {
                return Err(Failure::Crash);
            }
            commits += 1;
            positions.stamp = self.head();
            positions.apply(chunk.positions);
            positions.save(&self.dir.path().join("positions.json"))?;
            Ok(())
        })?;
        assert_eq!(extraction.counts, sum);
        Ok(extraction)
    }

    fn known(&self, plan: &Plan) -> KnownIds {
        let mut known = KnownIds::default();
        for name in plan.rereads() {
            for (_, line) in self.lake.get(&self.relative(name)).into_iter().flatten() {
                known.add(name, RecordId::of_line(line.as_bytes()));
            }
        }
        known
    }

    fn commit(&mut self, batch: &RecordBatch) {
        let offsets: &Int64Array = batch["source_offset"].as_primitive();
        for row in 0..batch.num_rows() {
            let line = text(batch, "_raw_json", row).unwrap();
            assert_eq!(
                text(batch, "_id", row).unwrap(),
                RecordId::of_line(line.as_bytes()).to_string()
            );
            let file = self.relative(&text(batch, "source_file", row).unwrap());
            self.lake
                .entry(file)
                .or_default()
                .push((offsets.value(row), line));
        }
    }

    fn relative(&self, name: &str) -> String {
        Path::new(name)
            .strip_prefix(self.logs())
            .unwrap()
            .display()
            .to_string()
    }
}

#[track_caller]
fn assert_adds_up(counts: Counts) {
    let Counts {
        lines,
        new,
        already_there,
        dead_lettered,
        pending,
        ..
    } = counts;
    assert_eq!(lines, new + already_there + dead_lettered + pending);
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column: &StringArray = batch.column_by_name(column).unwrap().as_string();
    (!arrow_array::Array::is_null(column, row)).then(|| column.value(row).to_owned())
}
