use std::fs;
use std::io;
use std::path::Path;

use super::*;
use crate::ErrorKind;
use crate::error::classify;
use crate::storage::{local_path, observed};

#[test]
fn every_file_and_every_new_folder_entry_is_synced() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0), None])]).unwrap();
    let synced = observed::synced_inside(place.folder.path());
    let table = Path::new("my lake?/analytics/conversations");
    let last_sync = |path: &Path| synced.iter().rposition(|synced| synced == path);
    for folder in [
        "",
        "metadata",
        "data",
        "data/timestamp_day=1970-01-01",
        "data/timestamp_day=null",
    ] {
        assert!(last_sync(&table.join(folder)).is_some(), "{folder} in {synced:?}");
    }
    for above in ["my lake?", "my lake?/analytics"] {
        assert!(last_sync(Path::new(above)).is_some(), "{above} in {synced:?}");
    }
    for file in files_below(&place.settings.warehouse.join("analytics")) {
        let file = file.strip_prefix(place.folder.path()).unwrap();
        // First the content, then the entry that makes it reachable.
        assert!(
            last_sync(file) < last_sync(file.parent().unwrap()),
            "{} in {synced:?}",
            file.display()
        );
        assert!(last_sync(file).is_some(), "{} in {synced:?}", file.display());
    }
}

#[test]
fn files_of_a_crashed_append_are_invisible() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    let written = lake.files_since(0).unwrap().remove(0).path;
    fs::copy(&written, written.with_file_name("crashed-00000.parquet")).unwrap();
    fs::write(written.with_file_name("crashed-00001.parquet"), "").unwrap();
    let metadata = local_path(lake.metadata_location().unwrap());
    fs::write(metadata.with_file_name("99999-crashed.metadata.json"), "{").unwrap();
    let mut lake = place.open();
    append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap();
    assert_eq!(sorted_ids(&lake), ["a0", "b0"]);
}

/// Damages one file of a lake with one row, and compares what opening and reading it says.
fn check(damage: impl Fn(&Lake), kind: ErrorKind, says: &str) {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    damage(&lake);
    drop(lake);
    let opened = Lake::open(&place.settings, &record_schema());
    let error = opened
        .and_then(|lake| lake.scan_columns(&["_id"], &mut |_| Ok(())))
        .unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn damage_is_said_in_one_sentence() {
    let metadata = |lake: &Lake| local_path(lake.metadata_location().unwrap());
    let data = |lake: &Lake| lake.files_since(0).unwrap().remove(0).path;
    let read = "could not read the lake's table analytics.conversations";
    check(
        |lake| fs::write(metadata(lake), "").unwrap(),
        ErrorKind::Corrupt,
        read,
    );
    check(
        |lake| fs::write(metadata(lake), "{\"format-version\":2}").unwrap(),
        ErrorKind::Corrupt,
        read,
    );
    check(
        |lake| fs::remove_file(metadata(lake)).unwrap(),
        ErrorKind::Io,
        read,
    );
    check(
        |lake| fs::write(data(lake), "PAR1").unwrap(),
        ErrorKind::Corrupt,
        "could not read /",
    );
    let other_file = |lake: &Lake| {
        let other = Place::new();
        append(&mut other.open(), "c1", &[rows("a", &[Some(0), Some(1)])]).unwrap();
        fs::copy(data(&other.open()), data(lake)).unwrap();
    };
    check(other_file, ErrorKind::Corrupt, "it has 2 rows instead of 1");
    check(
        |lake| fs::remove_file(data(lake)).unwrap(),
        ErrorKind::Io,
        "No such file",
    );
}

#[test]
fn a_catalog_that_is_no_database_is_refused() {
    let place = Place::new();
    fs::create_dir_all(&place.settings.warehouse).unwrap();
    fs::write(
        place.settings.catalog_path(),
        "longer than the header of a database ".repeat(9),
    )
    .unwrap();
    let error = Lake::open(&place.settings, &record_schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("file is not a database"), "{error}");
}

#[test]
fn what_is_not_there_is_not_made() {
    let place = Place::new();
    let error = Lake::open_existing(&place.settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("there is no lake in "), "{error}");
    assert!(!place.settings.warehouse.exists());

    place.open();
    let settings = LakeSettings {
        table: "other".to_owned(),
        ..place.settings.clone()
    };
    let error = Lake::open_existing(&settings).unwrap_err();
    let says = "there is no table analytics.other in the lake; check its name and the catalog's name";
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::NotFound, says)
    );
}

#[test]
fn names_cannot_leave_the_warehouse() {
    let place = Place::new();
    for (catalog, namespace, table) in [
        ("", "a", "b"),
        ("a", "a..b", "c"),
        ("a", "b", "../c"),
        ("a", "b", "c.d"),
    ] {
        let settings = LakeSettings {
            catalog_name: catalog.to_owned(),
            namespace: namespace.to_owned(),
            table: table.to_owned(),
            ..place.settings.clone()
        };
        assert_eq!(
            Lake::open(&settings, &record_schema()).unwrap_err().kind(),
            ErrorKind::Settings
        );
    }
    let settings = LakeSettings {
        namespace: "a.b".to_owned(),
        ..place.settings.clone()
    };
    Lake::open(&settings, &record_schema()).unwrap();
    assert!(settings.warehouse.join("a/b/conversations").is_dir());
}

#[test]
fn a_full_disk_is_known_through_every_layer() {
    let full = || io::Error::from_raw_os_error(28);
    let parquet = parquet::errors::ParquetError::External(Box::new(full()));
    assert_eq!(classify(&full()), ErrorKind::DiskFull);
    assert_eq!(classify(&parquet), ErrorKind::DiskFull);
    let text = iceberg::Error::new(
        iceberg::ErrorKind::Unexpected,
        format!("Failed to write: {}", full()),
    );
    assert_eq!(classify(&text), ErrorKind::DiskFull);
    let nested = iceberg::Error::new(iceberg::ErrorKind::Unexpected, "write").with_source(parquet);
    assert_eq!(classify(&nested), ErrorKind::DiskFull);
    assert_eq!(
        Error::from_source("write the table's rows", nested).to_string(),
        "no space left on the disk: could not write the table's rows; free some space and run again"
    );
}

#[test]
fn a_refusal_names_the_file_once() {
    let refused = || io::Error::from_raw_os_error(13);
    let check = |error: iceberg::Error, sentence: &str| {
        let error = Error::from_source("commit", error);
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Io, sentence)
        );
        assert!(
            std::error::Error::source(&error).is_none(),
            "its cause would be said twice"
        );
    };
    let iceberg = |message: &str| iceberg::Error::new(iceberg::ErrorKind::Unexpected, message);
    check(
        iceberg("could not create /lake/a.avro: Permission denied (os error 13)").with_source(refused()),
        "could not commit: could not create /lake/a.avro: Permission denied (os error 13)",
    );
    check(
        iceberg("write").with_source(refused()),
        "could not commit: Permission denied (os error 13)",
    );
}
