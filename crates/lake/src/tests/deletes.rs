use std::fs;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, ManifestFile, ManifestListWriter,
    ManifestWriterBuilder, Struct,
};

use super::*;
use crate::ErrorKind;
use crate::storage::local_path;

/// What another program leaves that deletes the first row of the only data file: a delete file, a manifest that lists
/// it, and a manifest list with both manifests in the place of the old one.
pub(super) async fn delete_a_row(lake: &Lake, content: DataContentType) -> iceberg::Result<()> {
    let metadata = lake.table.metadata();
    let snapshot = metadata.current_snapshot().unwrap();
    let folder = local_path(metadata.location()).join("metadata");
    let spec = metadata.default_partition_spec().as_ref().clone();
    let mut manifest = ManifestWriterBuilder::new(
        lake.table
            .file_io()
            .new_output(format!("{}/other-m0.avro", folder.display()))?,
        Some(snapshot.snapshot_id()),
        metadata.current_schema().clone(),
        spec,
    )
    .build_v2_deletes();
    manifest.add_file(delete_file(&folder, content), snapshot.sequence_number())?;
    let deletes = manifest.write_manifest_file().await?;
    list_too(lake, deletes).await
}

fn delete_file(folder: &Path, content: DataContentType) -> DataFile {
    let path = folder.with_file_name("data").join("other-deletes.parquet");
    fs::write(&path, "PAR1").unwrap();
    let mut file = DataFileBuilder::default();
    file.content(content)
        .file_path(path.display().to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::int(0))]))
        .record_count(1)
        .file_size_in_bytes(4);
    if content == DataContentType::EqualityDeletes {
        file.equality_ids(Some(vec![1]));
    }
    file.build().unwrap()
}

async fn list_too(lake: &Lake, manifest: ManifestFile) -> iceberg::Result<()> {
    let snapshot = lake.table.metadata().current_snapshot().unwrap();
    let old = lake.table.manifest_list_reader(snapshot).load().await?;
    let output = lake.table.file_io().new_output(snapshot.manifest_list())?;
    let mut list = ManifestListWriter::v2(
        output.writer().await?,
        snapshot.snapshot_id(),
        snapshot.parent_snapshot_id(),
        snapshot.sequence_number(),
    );
    list.add_manifests(old.entries().iter().cloned().chain([manifest]))?;
    list.close().await
}

/// Deletes a row as another program would, and compares what reading says.
fn check(content: DataContentType) {
    let place = Place::new();
    let mut lake = place.open();
    append(&mut lake, "c1", &[rows("a", &[Some(0), Some(1)])]).unwrap();
    lake.runtime.block_on(delete_a_row(&lake, content)).unwrap();
    drop(lake);
    let lake = place.open();
    let head = lake.head().unwrap().sequence_number;
    // Whatever is read, also only what came after the deletion.
    for since in [0, head] {
        let error = lake.files_since(since).unwrap_err();
        let says =
            "the lake's table has delete files, made by another program; let that program rewrite the table";
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Unsupported, says),
            "{content:?}"
        );
    }
    let read = lake.scan_columns(&["_id"], &mut |_| Ok::<_, Error>(()));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Unsupported, "{content:?}");
}

#[test]
fn rows_deleted_by_another_program_do_not_come_back() {
    check(DataContentType::PositionDeletes);
    check(DataContentType::EqualityDeletes);
}
