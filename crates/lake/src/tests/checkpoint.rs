use super::*;
use crate::ErrorKind;

fn position(id: &str, position: &str) -> Commit {
    Commit {
        properties: [("cclake.position".to_owned(), position.to_owned())].into(),
        summary: [("cclake.run-id".to_owned(), "r".to_owned())].into(),
        ..commit(id)
    }
}

/// The position, the ids and the number of snapshots, as someone else reads them.
fn seen(place: &Place) -> (Option<String>, Vec<String>, usize) {
    let lake = Lake::open_existing(&place.settings).unwrap();
    let position = lake.property("cclake.position").map(str::to_owned);
    (position, sorted_ids(&lake), snapshots(&lake))
}

#[test]
fn a_checkpoint_is_a_snapshot_without_rows() {
    let place = Place::new();
    let mut lake = place.open();
    // The first one comes before any row.
    let first = lake.checkpoint(&position("p1", "one")).unwrap();
    assert_eq!(
        (first.sequence_number, first.commit_id.as_deref()),
        (1, Some("p1"))
    );
    assert_eq!(seen(&place), (Some("one".into()), vec![], 1));
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    let second = lake.checkpoint(&position("p2", "two")).unwrap();
    assert_eq!(lake.head(), Some(second.clone()));
    assert_eq!(seen(&place), (Some("two".into()), vec!["a0".into()], 3));
    assert_eq!(lake.files_since(first.sequence_number).unwrap().len(), 1);
    assert_eq!(lake.files_since(second.sequence_number).unwrap(), []);
}

#[test]
fn a_checkpoint_lands_once_and_never_over_a_newer_one() {
    let place = Place::new();
    let (mut slow, mut fast) = (place.open(), place.open());
    let landed = slow.checkpoint(&position("p1", "one")).unwrap();
    fast.checkpoint(&position("p2", "two")).unwrap();
    // A retry of what has landed leaves the newer position alone.
    assert_eq!(slow.checkpoint(&position("p1", "one")).unwrap(), landed);
    assert_eq!(seen(&place), (Some("two".into()), vec![], 2));
    let error = slow.checkpoint(&Commit::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Settings, "{error}");
}

#[test]
fn a_refused_checkpoint_is_not_reported_as_done() {
    let place = Place::new().impatient();
    let mut lake = place.open();
    lake.checkpoint(&position("p1", "one")).unwrap();
    let mut other = OtherProgram::open(&place);
    other.run("BEGIN IMMEDIATE");
    let error = lake.checkpoint(&position("p2", "two")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CatalogLocked, "{error}");
    other.run("ROLLBACK");
    assert_eq!(seen(&place), (Some("one".into()), vec![], 1));
    lake.checkpoint(&position("p2", "two")).unwrap();
    assert_eq!(seen(&place), (Some("two".into()), vec![], 2));
}
