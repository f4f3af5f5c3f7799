use std::fs::File;

use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;
use crate::{ErrorKind, MaintainOptions};

#[test]
fn rows_and_properties_survive_reopening() {
    let place = Place::new();
    let mut lake = place.open();
    let properties = Commit {
        commit_id: "c1".to_owned(),
        summary: [("cclake.run-id".to_owned(), "r1".to_owned())].into(),
        properties: [("cclake.position".to_owned(), "p1".to_owned())].into(),
    };
    let head = lake
        .append(vec![rows("a", &[Some(0), Some(DAY), None])], &properties)
        .unwrap();
    append(&mut lake, "c2", &[rows("b", &[Some(1)]), rows("c", &[Some(2)])]).unwrap();
    let uuid = lake.table_uuid();
    drop(lake);

    let lake = Lake::open_existing(&place.settings).unwrap();
    assert_eq!(sorted_ids(&lake), ["a0", "a1", "a2", "b0", "c0"]);
    assert_eq!(lake.table_uuid(), uuid);
    assert_eq!(lake.head().unwrap().commit_id.as_deref(), Some("c2"));
    assert_eq!(lake.head().unwrap().sequence_number, 2);
    assert_eq!(lake.find_commit("c1"), head);
    assert_eq!(lake.property("cclake.position"), Some("p1"));
    let first = lake
        .table
        .metadata()
        .snapshot_by_id(head.unwrap().snapshot_id)
        .unwrap();
    assert_eq!(first.summary().additional_properties["cclake.run-id"], "r1");
}

#[test]
fn values_come_back_as_they_went_in() {
    let place = Place::new();
    let mut lake = place.open();
    let batch = rows("a", &[Some(-1), Some(-DAY + 5), Some(-7)]);
    append(&mut lake, "c1", std::slice::from_ref(&batch)).unwrap();
    let read = read_all(&lake);
    // No column made of the folder's name, and rows in their order.
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].columns(), batch.columns());
    assert_eq!(read[0].schema(), *lake.schema());
}

#[test]
fn nothing_new_writes_nothing() {
    let place = Place::new();
    let mut lake = place.open();
    assert_eq!(append(&mut lake, "c0", &[]).unwrap(), None);
    assert_eq!(lake.head(), None);
    assert_eq!(lake.files_since(0).unwrap(), []);
    let head = append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    let location = lake.metadata_location().unwrap().to_owned();
    assert_eq!(append(&mut lake, "c2", &[rows("b", &[])]).unwrap(), head);
    lake.refresh().unwrap();
    assert_eq!(lake.metadata_location().unwrap(), location);
}

#[test]
fn a_commit_id_lands_once() {
    let place = Place::new();
    let mut lake = place.open();
    let first = append(&mut lake, "c1", &[rows("a", &[Some(0)])]).unwrap();
    append(&mut lake, "c2", &[rows("b", &[Some(0)])]).unwrap();
    let mut other = Lake::open_existing(&place.settings).unwrap();
    assert_eq!(append(&mut other, "c1", &[rows("a", &[Some(0)])]).unwrap(), first);
    assert_eq!(sorted_ids(&other), ["a0", "b0"]);
    assert_eq!(snapshots(&other), 2);
    let error = append(&mut other, "", &[rows("c", &[Some(0)])]).unwrap_err();
    assert_eq!(error.to_string(), "a commit to the lake needs a commit id");
}

#[test]
fn new_files_are_those_after_the_watermark() {
    let place = Place::new();
    let mut lake = place.open();
    for (id, days) in [("c1", 3), ("c2", 2), ("c3", 1)] {
        let timestamps: Vec<_> = (0..days).map(|day| Some(day * DAY)).collect();
        append(&mut lake, id, &[rows(id, &timestamps)]).unwrap();
    }
    let since = |sequence| -> Vec<(i64, String)> {
        let files = lake.files_since(sequence).unwrap();
        files
            .into_iter()
            .map(|file| (file.sequence_number, file.partition))
            .collect()
    };
    let day = |sequence, day: u32| (sequence, format!("timestamp_day=1970-01-0{day}"));
    assert_eq!(since(1), [day(2, 1), day(2, 2), day(3, 1)]);
    assert_eq!(since(0).len(), 6);
    assert_eq!(since(3), []);
    assert_eq!(lake.files_since(2).unwrap()[0].records, 1);
}

#[test]
fn columns_come_in_the_order_asked_for() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0), Some(1)])]).unwrap();
    let mut seen = Vec::new();
    let mut collect = |batch: RecordBatch| {
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        seen.push((names, offsets(&batch)));
        Ok::<_, Error>(())
    };
    lake.scan_columns(&["source_offset", "_id"], &mut collect)
        .unwrap();
    assert_eq!(
        seen,
        [(vec!["source_offset".to_owned(), "_id".to_owned()], vec![0, 1])]
    );
    let error = lake
        .scan_columns(&["nope"], &mut |_| Ok::<_, Error>(()))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Schema, "the lake's table has no column nope")
    );
}

#[test]
fn a_callers_error_ends_reading() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0), Some(DAY)])]).unwrap();
    let mut calls = 0;
    let mut stop = |_| {
        calls += 1;
        Err(Error::new(ErrorKind::Other, "enough"))
    };
    assert_eq!(
        lake.scan_columns(&["_id"], &mut stop).unwrap_err().to_string(),
        "enough"
    );
    assert_eq!(calls, 1);
}

#[test]
fn large_values_come_in_small_batches() {
    let place = Place::new();
    let mut lake = place.open();
    let batch = rows("a", &vec![Some(0); 64]);
    let mut columns = batch.columns().to_vec();
    // Not compressible by a dictionary: each value differs.
    let texts = (0..64).map(|row| format!("{row}{}", "x".repeat(2 << 20)));
    columns[3] = Arc::new(StringArray::from_iter_values(texts));
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    append(&mut lake, "c1", &[batch]).unwrap();
    let read = read_all(&lake);
    assert!(
        read.iter().all(|batch| batch.num_rows() <= 8),
        "{:?}",
        read.iter().map(RecordBatch::num_rows).max()
    );
    assert_eq!(
        read.iter().flat_map(offsets).collect::<Vec<_>>(),
        (0..64).collect::<Vec<_>>()
    );
}

#[test]
fn every_column_is_zstd() {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0), Some(DAY), None])]).unwrap();
    let files = lake.files_since(0).unwrap();
    assert_eq!(files.len(), 3);
    for file in files {
        for (column, compression) in compressions(&file) {
            assert!(
                matches!(compression, Compression::ZSTD(_)),
                "{column} in {} is {compression:?}",
                file.path.display()
            );
        }
    }
}

/// Of each column of each row group.
fn compressions(file: &LakeFile) -> Vec<(String, Compression)> {
    let reader = SerializedFileReader::new(File::open(&file.path).unwrap()).unwrap();
    let columns = reader
        .metadata()
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns);
    columns
        .map(|column| (column.column_path().string(), column.compression()))
        .collect()
}

/// Stored without a compressor, in every file of the lake: of the columns' names, in order.
#[track_caller]
fn check_plain(lake: &Lake, expected: &[&str]) {
    for file in lake.files_since(0).unwrap() {
        let mut plain = compressions(&file);
        plain.retain(|(_, compression)| *compression == Compression::UNCOMPRESSED);
        let plain: Vec<_> = plain.into_iter().map(|(column, _)| column).collect();
        assert_eq!(plain, expected);
    }
}

#[test]
fn a_column_of_one_value_needs_no_compressor_until_a_later_batch_fills_it() {
    let constant = rows("a", &[Some(0), Some(0)]);
    let varied = rows("b", &[Some(1), Some(2)]);
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", std::slice::from_ref(&constant)).unwrap();
    check_plain(&lake, &["timestamp"]);
    // Files that become one are judged by all of their rows.
    append(&mut lake, "c2", std::slice::from_ref(&varied)).unwrap();
    lake.maintain(&MaintainOptions::default()).unwrap();
    assert_eq!(lake.files_since(0).unwrap().len(), 1);
    check_plain(&lake, &[]);

    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[constant, varied]).unwrap();
    check_plain(&lake, &[]);
}
