//! Small files as one, without a look into their pages.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::write::failed;

/// Writes the row groups of several segments to one file, as they are, one file's behind the other's; `None` if their
/// columns differ. Nothing is unpacked, so that it costs little more than copying.
///
/// # Errors
/// If a file is no Parquet file or cannot be read, or the output cannot be opened or written.
pub fn concat_segments<W: Write + Send>(
    paths: &[&Path],
    open: impl FnOnce() -> io::Result<W>,
) -> io::Result<Option<W>> {
    let read = |path: &&Path| {
        let file = File::open(path)?;
        let metadata = ParquetMetaDataReader::new()
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .map_err(failed)?;
        Ok((file, metadata))
    };
    let files: Vec<(File, ParquetMetaData)> = paths.iter().map(read).collect::<io::Result<_>>()?;
    let Some((_, first)) = files.first() else { return Ok(None) };
    let layout = |metadata: &ParquetMetaData| {
        let about = metadata.file_metadata();
        (about.schema_descr().root_schema().clone(), about.key_value_metadata().cloned())
    };
    if files.iter().any(|(_, metadata)| layout(metadata) != layout(first)) {
        return Ok(None);
    }
    let (schema, pairs) = (first.file_metadata().schema_descr().root_schema_ptr(), layout(first).1);
    let properties = WriterProperties::builder().set_key_value_metadata(pairs);
    let created_by = first.file_metadata().created_by().unwrap_or_default().to_owned();
    let properties = Arc::new(properties.set_created_by(created_by).build());
    let mut out = SerializedFileWriter::new(open()?, schema, properties).map_err(failed)?;
    for (file, metadata) in &files {
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let mut copied = out.next_row_group().map_err(failed)?;
            let places = metadata.offset_index().and_then(|places| places.get(number));
            for (leaf, column) in group.columns().iter().enumerate() {
                let written = ColumnCloseResult {
                    bytes_written: column.compressed_size() as u64,
                    rows_written: group.num_rows() as u64,
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    // Where each page lies.
                    offset_index: places.and_then(|places| places.get(leaf)).cloned(),
                };
                copied.append_column(file, written).map_err(failed)?;
            }
            copied.close().map_err(failed)?;
        }
    }
    out.into_inner().map(Some).map_err(failed)
}
