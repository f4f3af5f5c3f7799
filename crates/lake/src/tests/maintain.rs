use std::fs;
use std::str::FromStr as _;
use std::time::SystemTime;

use iceberg::MetadataLocation;
use iceberg::spec::{DataContentType, SnapshotReference, SnapshotRetention};

use super::*;
use crate::storage::local_path;
use crate::{Change, ErrorKind, MaintainOptions, Maintained, catalog};

/// Everything that is not needed goes at once.
fn thorough() -> MaintainOptions {
    MaintainOptions {
        min_age: Duration::ZERO,
        ..MaintainOptions::default()
    }
}

fn dry(options: MaintainOptions) -> MaintainOptions {
    MaintainOptions {
        dry_run: true,
        ..options
    }
}

/// A lake after commits of two rows each, on two days in turn.
fn filled(place: &Place, commits: i64) -> Lake {
    let mut lake = place.open();
    for number in 0..commits {
        let day = number % 2 * DAY;
        let id = format!("c{number:03}-");
        append(&mut lake, &id, &[rows(&id, &[Some(day), Some(day + 1)])]).unwrap();
    }
    lake
}

fn files(place: &Place, ending: &str) -> usize {
    let files = files_below(&place.settings.warehouse);
    files
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .count()
}

/// Maintains the lake: foreseen as done, no row changed, for us and for who opens it anew.
fn check(place: &Place, lake: &mut Lake, options: &MaintainOptions) -> Maintained {
    let (before, head) = (sorted_ids(lake), lake.head().unwrap());
    let untouched = files_below(&place.settings.warehouse);
    let foreseen = lake.maintain(&dry(*options)).unwrap();
    assert_eq!(
        files_below(&place.settings.warehouse).len(),
        untouched.len(),
        "a dry run"
    );
    let done = lake.maintain(options).unwrap();
    for (foreseen, done) in [
        (foreseen.data_files, done.data_files),
        (foreseen.compacted_files, done.compacted_files),
        (foreseen.manifests, done.manifests),
        (foreseen.snapshots, done.snapshots),
    ] {
        assert_eq!(foreseen, done);
    }
    assert_eq!(sorted_ids(lake), before);
    assert_eq!(sorted_ids(&Lake::open_existing(&place.settings).unwrap()), before);
    assert_eq!(lake.head().unwrap().commit_id, head.commit_id);
    assert!(lake.find_commit(&head.commit_id.unwrap()).is_some());
    done
}

#[test]
fn small_files_of_a_day_become_one_in_the_same_order() {
    let place = Place::new();
    let mut lake = filled(&place, 10);
    let by_day = |lake: &Lake| {
        let mut files = lake.files_since(0).unwrap();
        files.sort_by(|a, b| (&a.partition, a.sequence_number).cmp(&(&b.partition, b.sequence_number)));
        ids_of(lake, &files)
    };
    let before = by_day(&lake);
    let done = check(&place, &mut lake, &MaintainOptions::default());
    assert_eq!(done.data_files, Change { before: 10, after: 2 });
    assert_eq!(done.compacted_files, Change { before: 10, after: 2 });
    assert_eq!(done.manifests, Change { before: 10, after: 1 });
    assert_eq!(by_day(&lake), before);
    // Nothing is left to do, and the old files stay for who reads them.
    let again = check(&place, &mut lake, &MaintainOptions::default());
    assert_eq!(
        (again.compacted_files, again.manifests.after),
        (Change::default(), 1)
    );
    assert_eq!(files(&place, ".parquet"), 12);
}

#[test]
fn what_nobody_needs_goes_at_its_age() {
    let place = Place::new();
    let mut lake = filled(&place, 10);
    let done = check(&place, &mut lake, &thorough());
    // The state that was current a moment ago stays, with all its files.
    assert_eq!((done.snapshots.after, files(&place, ".parquet")), (2, 12));
    let done = check(&place, &mut lake, &thorough());
    assert_eq!((done.snapshots.after, files(&place, ".parquet")), (1, 2));
    assert!(done.removed_files > 10 && done.removed_bytes > 1000, "{done:?}");
    // A list and a manifest; the log's versions and the current one.
    assert_eq!(files(&place, ".avro"), 2);
    let versions = lake.table.metadata().metadata_log().len() + 1;
    assert_eq!(files(&place, ".metadata.json"), versions);
    append(&mut lake, "last", &[rows("z", &[Some(0)])]).unwrap();
    assert_eq!(ids(&lake).len(), 21);
}

#[test]
fn only_the_tables_own_old_files_are_orphans() {
    let place = Place::new();
    let mut lake = filled(&place, 1);
    let written = lake.files_since(0).unwrap().remove(0).path;
    let metadata = local_path(lake.metadata_location().unwrap());
    let outside = place.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let old = SystemTime::now() - Duration::from_hours(25);
    let aged = |path: PathBuf, age: SystemTime| {
        fs::write(&path, "x").unwrap();
        fs::File::open(&path).unwrap().set_modified(age).unwrap();
        path
    };
    let go = [
        aged(written.with_file_name("crashed.parquet"), old),
        aged(metadata.with_file_name("crashed-m0.avro"), old),
        aged(metadata.with_file_name("99999-crashed.metadata.json"), old),
    ];
    let stay = [
        aged(written.with_file_name("under-way.parquet"), SystemTime::now()),
        aged(metadata.with_file_name("under-way-m0.avro"), SystemTime::now()),
        aged(
            metadata.with_file_name("99998-under-way.metadata.json"),
            SystemTime::now(),
        ),
        aged(written.with_file_name("notes.txt"), old),
        aged(outside.join("other.parquet"), old),
        aged(place.settings.warehouse.join("other.parquet"), old),
    ];
    let data = written.parent().unwrap().parent().unwrap();
    std::os::unix::fs::symlink(&outside, data.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("other.parquet"), data.join("link.parquet")).unwrap();
    let done = check(&place, &mut lake, &MaintainOptions::default());
    assert_eq!(done.removed_files, 3, "{done:?}");
    assert!(go.iter().all(|path| !path.exists()));
    assert!(stay.iter().all(|path| path.exists()));
    assert!(data.join("link.parquet").exists());
}

#[test]
fn what_a_tag_points_to_stays() {
    let place = Place::new();
    let mut lake = filled(&place, 4);
    let tagged = lake.table.metadata().current_snapshot_id().unwrap();
    let old = lake.metadata_location().unwrap().to_owned();
    let retention = SnapshotRetention::Tag { max_ref_age_ms: None };
    let metadata = lake.table.metadata().clone().into_builder(Some(old.clone()));
    let metadata = metadata
        .set_ref("mine", SnapshotReference::new(tagged, retention))
        .unwrap();
    let metadata = metadata.build().unwrap().metadata;
    let new = MetadataLocation::from_str(&old).unwrap().with_next_version();
    lake.runtime
        .block_on(metadata.write_to(lake.table.file_io(), &new))
        .unwrap();
    let new = new.to_string();
    let swapped = catalog::swap(&place.settings, &old, &new);
    assert!(lake.runtime.block_on(swapped).unwrap());
    append(&mut lake, "last", &[rows("z", &[Some(0)])]).unwrap();
    for _ in 0..3 {
        check(&place, &mut lake, &thorough());
    }
    let metadata = lake.table.metadata();
    assert_eq!(metadata.snapshots().len(), 2);
    assert_eq!(metadata.snapshot_for_ref("mine").unwrap().snapshot_id(), tagged);
    // Its four files and the two of today.
    assert_eq!(files(&place, ".parquet"), 6);
}

#[test]
fn deleted_rows_of_another_program_stay_deleted() {
    let place = Place::new();
    let mut lake = filled(&place, 1);
    let deleting = super::deletes::delete_a_row(&lake, DataContentType::PositionDeletes);
    lake.runtime.block_on(deleting).unwrap();
    append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap();
    let data_files = |done: &Maintained| (done.data_files, done.compacted_files);
    let done = lake.maintain(&MaintainOptions::default()).unwrap();
    let untouched = Change { before: 2, after: 2 };
    assert_eq!(data_files(&done), (untouched, Change::default()));
    assert_eq!(
        done.not_compacted.as_deref(),
        Some("another program has deleted rows by delete files")
    );
    // Two manifests of data became one; that of the delete file is as it was.
    assert_eq!(done.manifests, Change { before: 3, after: 2 });
    assert_eq!(lake.files_since(0).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_refused_upkeep_changes_nothing() {
    let place = Place::new().impatient();
    let mut lake = filled(&place, 4);
    let mut other = OtherProgram::open(&place);
    for (statement, kind) in [
        ("SELECT raise(abort, 'no')", ErrorKind::Other),
        ("SELECT raise(ignore)", ErrorKind::Conflict),
    ] {
        let before = files_below(&place.settings.warehouse.join("analytics"));
        other.run(&format!(
            "CREATE TRIGGER refuse BEFORE UPDATE ON iceberg_tables BEGIN {statement}; END"
        ));
        let error = lake.maintain(&MaintainOptions::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(
            files_below(&place.settings.warehouse.join("analytics")).len(),
            before.len()
        );
        other.run("DROP TRIGGER refuse");
        assert_eq!(ids(&lake).len(), 8);
    }
    check(&place, &mut lake, &MaintainOptions::default());
}

#[test]
fn a_copied_lake_leaves_the_original_alone() {
    let place = Place::new();
    let lake = filled(&place, 4);
    let copy = place.folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in ["catalog.db", "catalog.db-wal"] {
        let _ = fs::copy(place.settings.warehouse.join(file), copy.join(file));
    }
    let mut copied = Lake::open_existing(&LakeSettings::new(&copy)).unwrap();
    let error = copied.maintain(&thorough()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!((ids(&lake).len(), files(&place, ".parquet")), (8, 4));
}

#[test]
fn appends_keep_the_table_small_by_themselves() {
    let place = Place::new();
    let mut lake = filled(&place, 260);
    assert!(lake.take_upkeep_failure().is_none());
    assert_eq!(sorted_ids(&lake).len(), 520);
    assert!(snapshots(&lake) <= 70, "{}", snapshots(&lake));
    assert!(lake.files_since(0).unwrap().len() < 100);
    assert!(files(&place, ".avro") < 300, "{}", files(&place, ".avro"));
    assert!(files(&place, ".metadata.json") < 100);
    // An idle source, too.
    for number in 0..120 {
        lake.checkpoint(&commit(&format!("p{number}"))).unwrap();
    }
    assert!(snapshots(&lake) <= 70, "{}", snapshots(&lake));
    check(&place, &mut lake, &MaintainOptions::default());
}

#[test]
fn a_failure_of_upkeep_is_none_of_the_append() {
    let place = Place::new();
    let mut lake = filled(&place, 40);
    let damaged = lake.files_since(0).unwrap().remove(0).path;
    let whole = fs::read(&damaged).unwrap();
    fs::write(&damaged, "x").unwrap();
    for number in 0..20 {
        append(&mut lake, &format!("d{number}"), &[rows("d", &[None])]).unwrap();
    }
    let failure = lake.take_upkeep_failure().unwrap();
    assert!(
        failure.to_string().contains(&damaged.display().to_string()),
        "{failure}"
    );
    assert!(lake.take_upkeep_failure().is_none());
    fs::write(&damaged, whole).unwrap();
    assert_eq!(ids(&lake).len(), 100);
    assert_eq!(
        files(&place, ".parquet"),
        60,
        "what a failed upkeep wrote is taken back"
    );
    check(&place, &mut lake, &MaintainOptions::default());
}

#[test]
fn writers_and_upkeep_in_a_race_lose_nothing() {
    const WRITERS: usize = 2;
    const COMMITS: usize = 25;
    let place = Place::new();
    place.open();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (place, done) = (&place, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                let mut lake = place.open();
                let options = MaintainOptions {
                    keep_snapshots: 3,
                    ..MaintainOptions::default()
                };
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    lake.maintain(&options).unwrap();
                }
            });
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut lake = place.open();
                    for number in 0..COMMITS {
                        let id = format!("w{writer}c{number}-");
                        append(&mut lake, &id, &[rows(&id, &[Some(0)])]).unwrap();
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = writers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for outcome in outcomes {
            outcome.unwrap();
        }
    });
    let mut lake = place.open();
    let ids = sorted_ids(&lake);
    assert_eq!(ids.len(), WRITERS * COMMITS);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(check(&place, &mut lake, &thorough()).data_files.after, 1);
}
