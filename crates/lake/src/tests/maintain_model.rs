//! Random commits and upkeep against a model: no row is lost or doubled, and who follows the table by its sequence numbers
//! misses none.

use proptest::prelude::*;

use super::*;
use crate::MaintainOptions;
use crate::maintain::{Depth, Sweep};

#[derive(Debug, Clone)]
enum Step {
    Append {
        day: i64,
        rows: usize,
    },
    Checkpoint,
    /// As an append does it by itself, sooner.
    Light,
    Maintain {
        min_age: Duration,
    },
    /// Reads what is new, or only the first part of it.
    Follow {
        files: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_i64, 1..12_usize).prop_map(|(day, rows)| Step::Append { day, rows }),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::Light),
        1 => prop_oneof![Just(Duration::ZERO), Just(Duration::from_hours(24))]
            .prop_map(|min_age| Step::Maintain { min_age }),
        2 => (1..4_usize).prop_map(|files| Step::Follow { files }),
    ]
}

/// The lake, what it must hold, and what someone who follows it has seen.
struct Model {
    place: Place,
    lake: Lake,
    rows: BTreeSet<String>,
    seen: BTreeSet<String>,
    seen_to: i64,
    commits: usize,
}

impl Model {
    fn new() -> Self {
        let place = Place::new();
        Self {
            lake: place.open(),
            place,
            rows: BTreeSet::new(),
            seen: BTreeSet::new(),
            seen_to: 0,
            commits: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        let id = format!("c{}-", self.commits);
        match *step {
            Step::Append { day, rows: count } => {
                append(&mut self.lake, &id, &[rows(&id, &vec![Some(day * DAY); count])]).unwrap();
                self.rows.extend((0..count).map(|row| format!("{id}{row}")));
                self.commits += 1;
            }
            Step::Checkpoint => {
                self.lake.checkpoint(&commit(&id)).unwrap();
                self.commits += 1;
            }
            Step::Light => {
                let options = MaintainOptions {
                    keep_snapshots: 5,
                    ..MaintainOptions::default()
                };
                self.lake
                    .tend(Depth::Light, Sweep::MetadataAndData, &options)
                    .unwrap();
            }
            Step::Maintain { min_age } => {
                let options = MaintainOptions {
                    min_age,
                    ..MaintainOptions::default()
                };
                self.lake.maintain(&options).unwrap();
            }
            Step::Follow { files } => self.follow(files),
        }
    }

    /// As the loader does: snapshot by snapshot, remembering how far it came.
    fn follow(&mut self, most: usize) {
        let files = self.lake.files_since(self.seen_to).unwrap();
        for snapshot in files
            .chunk_by(|a, b| a.sequence_number == b.sequence_number)
            .take(most)
        {
            let seen = &mut self.seen;
            self.lake
                .read(snapshot, Some(&["_id"]), &mut |batch: RecordBatch| {
                    let column = batch.column(0).as_string::<i32>();
                    seen.extend(column.iter().flatten().map(str::to_owned));
                    Ok::<_, Error>(())
                })
                .unwrap();
            self.seen_to = snapshot[0].sequence_number;
        }
    }

    fn check(&mut self) {
        let expected: Vec<&String> = self.rows.iter().collect();
        assert_eq!(sorted_ids(&self.lake).iter().collect::<Vec<_>>(), expected);
        let reopened = Lake::open_existing(&self.place.settings).unwrap();
        assert_eq!(sorted_ids(&reopened).len(), expected.len());
        self.follow(usize::MAX);
        assert_eq!(self.seen, self.rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn upkeep_neither_loses_nor_doubles_nor_hides_a_row(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        model.check();
    }
}
