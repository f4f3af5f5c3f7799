use arrow_array::{Array as _, BooleanArray, LargeStringArray};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::{ErrorKind, LakeFile};

fn with_column(name: &str, data_type: DataType) -> Schema {
    let mut fields = record_schema().fields().to_vec();
    // In the middle, as a new version of the product might have it.
    fields.insert(1, Arc::new(Field::new(name, data_type, false)));
    Schema::new(fields)
}

fn rows_with_meta(prefix: &str) -> RecordBatch {
    let batch = rows(prefix, &[Some(0)]);
    let mut columns = batch.columns().to_vec();
    columns.insert(1, Arc::new(BooleanArray::from(vec![true])));
    RecordBatch::try_new(Arc::new(with_column("is_meta", DataType::Boolean)), columns).unwrap()
}

#[test]
fn new_columns_are_null_in_old_files() {
    let place = Place::new();
    let mut old = place.open();
    append(&mut old, "c1", &[rows("a", &[Some(0)])]).unwrap();
    let mut new = Lake::open(&place.settings, &with_column("is_meta", DataType::Boolean)).unwrap();
    append(&mut new, "c2", &[rows_with_meta("b")]).unwrap();
    // A process of the older version goes on, though the table has changed under it.
    append(&mut old, "c3", &[rows("c", &[Some(0)])]).unwrap();

    let lake = Lake::open_existing(&place.settings).unwrap();
    let names: Vec<_> = lake
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(
        names,
        ["_id", "timestamp", "source_offset", "_raw_json", "is_meta"]
    );
    let meta: Vec<_> = read_all(&lake)
        .iter()
        .map(|batch| {
            let column = batch.column_by_name("is_meta").unwrap().as_boolean();
            (
                batch.column(0).as_string::<i32>().value(0).to_owned(),
                column.is_valid(0).then(|| column.value(0)),
            )
        })
        .collect();
    assert_eq!(
        meta,
        [
            ("a0".to_owned(), None),
            ("b0".to_owned(), Some(true)),
            ("c0".to_owned(), None)
        ]
    );
    let mut only_new = Vec::new();
    lake.scan_columns(&["is_meta"], &mut |batch| {
        only_new.push(batch.num_rows());
        Ok::<_, Error>(())
    })
    .unwrap();
    assert_eq!(only_new, [1, 1, 1]);
}

/// Other programs write the same Iceberg types with other Arrow types, and some files have no field ids.
#[test]
fn files_of_other_programs_are_read_in_the_tables_types() {
    let place = Place::new();
    let lake = place.open();
    let path = place.folder.path().join("foreign.parquet");
    let fields = vec![
        Field::new("source_offset", DataType::Int64, false),
        Field::new("_id", DataType::LargeUtf8, false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![7])),
        Arc::new(LargeStringArray::from(vec!["a"])),
        Arc::new(TimestampMicrosecondArray::from(vec![5]).with_timezone("UTC")),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let file = LakeFile {
        path,
        records: 1,
        sequence_number: 1,
        partition: String::new(),
    };
    let expected = rows("a", &[Some(5)]);
    let mut read = Vec::new();
    let mut collect = |batch| {
        read.push(batch);
        Ok::<_, Error>(())
    };
    lake.read(&[file], None, &mut collect).unwrap();
    assert_eq!(read[0].schema(), *lake.schema());
    assert_eq!(read[0].column(0).as_string::<i32>().value(0), "a");
    assert_eq!(read[0].column(1), expected.column(1));
    assert_eq!((offsets(&read[0]), read[0].column(3).null_count()), (vec![7], 1));
}

#[test]
fn evolution_is_done_once() {
    let place = Place::new();
    place.open();
    let schema = with_column("is_meta", DataType::Boolean);
    thread_each(4, || {
        Lake::open(&place.settings, &schema).unwrap();
    });
    let lake = place.open();
    assert_eq!(lake.schema().fields().len(), 5);
    assert_eq!(lake.table.metadata().schemas_iter().len(), 2);
}

fn thread_each(count: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(&work);
        }
    });
}

fn check(schema: &Schema, says: &str) {
    let place = Place::new();
    place.open();
    let error = Lake::open(&place.settings, schema).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Schema, says)
    );
}

#[test]
fn a_table_of_another_schema_is_refused() {
    let mut fields = record_schema().fields().to_vec();
    fields[2] = Arc::new(Field::new("source_offset", DataType::Utf8, false));
    check(
        &Schema::new(fields.clone()),
        "the lake's table has column source_offset as long, but it is written as string; use another table name",
    );
    fields.remove(2);
    check(
        &Schema::new(fields),
        "the lake's table requires column source_offset, which is not written here; use another table name",
    );
    check(
        &with_column("big", DataType::LargeUtf8),
        "column big cannot be kept in the lake as LargeUtf8; use a type that Iceberg has",
    );
}

#[test]
fn a_batch_must_fit_the_table() {
    let place = Place::new();
    let mut lake = place.open();
    let mut refuse = |batch: RecordBatch, says: &str| {
        let error = append(&mut lake, "c1", &[batch]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.to_string().contains(says), "{error}");
    };
    refuse(rows_with_meta("a"), "no column is_meta");
    let batch = rows("a", &[Some(0)]);
    refuse(batch.project(&[1, 2, 3]).unwrap(), "'_id'");
    let retyped = Schema::new(vec![Field::new("_id", DataType::Int64, false)]);
    let retyped = RecordBatch::try_new(Arc::new(retyped), vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
    refuse(
        retyped,
        "column _id is Int64 in the batch and Utf8 in the lake's table",
    );
}
