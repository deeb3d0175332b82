//! Small files as one, without a look into their pages.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, Type, TypePtr};

use super::MAX_FIELD_COLUMNS;
use super::encode::{Bounds, ColumnEncoder, PlainValues, Rows};
use super::file::kind_and_count;
use super::layout::{Layout, OTHERS_KEY, TYPES_KEY};
use super::write::{Effort, OtherKinds, failed};

/// Row groups of a file that may be small: beyond that, its events are better written anew than copied.
const MAX_SMALL_GROUPS: usize = 16;
/// Rows that a row group has on average, where they are not small.
const MIN_GROUP_ROWS: i64 = 1_000;

/// A segment that is put together with others.
#[derive(Debug)]
pub enum SegmentContent {
    /// All of its bytes.
    Bytes(Bytes),
    /// Its file, where it is too long to be in memory as a whole.
    File(File),
}

/// A segment to be copied.
struct Copied<'c> {
    content: &'c SegmentContent,
    metadata: ParquetMetaData,
    /// By name of a column: its number among the leaves.
    leaves: HashMap<String, usize>,
}

impl<'c> Copied<'c> {
    fn open(content: &'c SegmentContent) -> io::Result<Self> {
        let mut reader = ParquetMetaDataReader::new().with_offset_index_policy(PageIndexPolicy::Optional);
        match content {
            SegmentContent::Bytes(bytes) => reader.try_parse(bytes),
            SegmentContent::File(file) => reader.try_parse(file),
        }
        .map_err(failed)?;
        let metadata = reader.finish().map_err(failed)?;
        let columns = metadata.file_metadata().schema_descr().columns().iter().enumerate();
        let leaves = columns.map(|(leaf, column)| (column.path().parts()[0].clone(), leaf)).collect();
        Ok(Self { content, metadata, leaves })
    }

    /// The top of each column.
    fn nodes(&self) -> &[TypePtr] {
        self.metadata.file_metadata().schema_descr().root_schema().get_fields()
    }

    fn pairs(&self) -> &[KeyValue] {
        self.metadata.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default()
    }
}

/// Writes the row groups of several segments to one file, as they are, one file's behind the other's; `None` if that cannot
/// be done, as where a field has a column of one type here and of another there, or should not, as there would be many small
/// row groups. Nothing is unpacked, so that it costs little more than copying.
///
/// # Errors
/// If one is no Parquet file or cannot be read, or the output cannot be opened or written.
pub fn concat_segments<W: Write + Send>(
    segments: &[SegmentContent],
    open: impl FnOnce() -> io::Result<W>,
) -> io::Result<Option<W>> {
    let files: Vec<Copied<'_>> = segments.iter().map(Copied::open).collect::<io::Result<_>>()?;
    let Some(first) = files.first().filter(|_| !has_small_groups(&files)) else { return Ok(None) };
    let (Some(schema), Some(pairs)) = (common_schema(&files), common_pairs(&files)) else { return Ok(None) };
    let created_by = first.metadata.file_metadata().created_by().unwrap_or_default().to_owned();
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).set_created_by(created_by);
    let mut out = SerializedFileWriter::new(open()?, schema, Arc::new(properties.build())).map_err(failed)?;
    let columns = out.schema_descr().columns().to_vec();
    let mut encoder = ColumnEncoder::new(Effort::Usual)?;
    for file in &files {
        for group in 0..file.metadata.num_row_groups() {
            let mut copied = out.next_row_group().map_err(failed)?;
            for column in &columns {
                match file.leaves.get(&column.path().parts()[0]) {
                    Some(leaf) => match file.content {
                        SegmentContent::Bytes(bytes) => copy_column(file, bytes, (group, *leaf), &mut copied)?,
                        SegmentContent::File(open) => copy_column(file, open, (group, *leaf), &mut copied)?,
                    },
                    None => {
                        let rows = file.metadata.row_group(group).num_rows();
                        write_nulls(column, rows as usize, &mut encoder, &mut copied)?;
                    }
                }
            }
            copied.close().map_err(failed)?;
        }
    }
    out.into_inner().map(Some).map_err(failed)
}

fn has_small_groups(files: &[Copied<'_>]) -> bool {
    let groups: usize = files.iter().map(|file| file.metadata.num_row_groups()).sum();
    let rows: i64 = files.iter().map(|file| file.metadata.file_metadata().num_rows()).sum();
    groups > MAX_SMALL_GROUPS && rows < MIN_GROUP_ROWS.saturating_mul(groups as i64)
}

fn copy_column<W: Write + Send>(
    Copied { metadata, .. }: &Copied<'_>,
    content: &impl ChunkReader,
    (group, leaf): (usize, usize),
    copied: &mut SerializedRowGroupWriter<'_, W>,
) -> io::Result<()> {
    let rows = metadata.row_group(group).num_rows();
    let column = metadata.row_group(group).column(leaf);
    let places = metadata.offset_index().and_then(|places| places.get(group)?.get(leaf));
    let written = ColumnCloseResult {
        bytes_written: column.compressed_size() as u64,
        rows_written: rows as u64,
        metadata: column.clone(),
        bloom_filter: None,
        column_index: None,
        // Where each page lies.
        offset_index: places.cloned(),
    };
    copied.append_column(content, written).map_err(failed)
}

/// Writes a column that no row has a value of.
fn write_nulls<W: Write + Send>(
    column: &ColumnDescPtr,
    all: usize,
    encoder: &mut ColumnEncoder,
    copied: &mut SerializedRowGroupWriter<'_, W>,
) -> io::Result<()> {
    let unknown = || io::Error::other(format!("column {} is of a kind that eqlipse does not write", column.path()));
    let (kind, count) = kind_and_count(column).ok_or_else(unknown)?;
    let rows = Rows { having: &[], count, all };
    encoder.plain(PlainValues::new(Bounds::of(kind)), rows, copied, column.clone())
}

/// The columns that some file has; `None` where a column is of several types or of a kind that eqlipse does not write, there
/// are too many, or a file lacks one that every file has.
fn common_schema(files: &[Copied<'_>]) -> Option<TypePtr> {
    let mut nodes: BTreeMap<&str, &TypePtr> = BTreeMap::new();
    for file in files {
        let columns = file.metadata.file_metadata().schema_descr().columns();
        let has_own = Layout::own().iter().all(|own| file.leaves.contains_key(&own.name));
        if !has_own || columns.iter().any(|column| kind_and_count(column).is_none()) {
            return None;
        }
        for node in file.nodes() {
            if *nodes.entry(node.name()).or_insert(node) != node {
                return None;
            }
        }
    }
    let own: Vec<TypePtr> = Layout::own().iter().filter_map(|spec| nodes.remove(spec.name.as_str()).cloned()).collect();
    if nodes.len() > MAX_FIELD_COLUMNS {
        return None;
    }
    let fields = nodes.into_values().cloned().chain(own).collect();
    Type::group_type_builder("schema").with_fields(fields).build().ok().map(Arc::new)
}

/// What the files say of themselves; `None` where they contradict each other.
fn common_pairs(files: &[Copied<'_>]) -> Option<Vec<KeyValue>> {
    let mut pairs: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let (mut types, mut others) = (BTreeMap::<String, String>::new(), Some(OtherKinds::default()));
    for file in files {
        let own_others = file.pairs().iter().find(|pair| pair.key == OTHERS_KEY).and_then(|pair| pair.value.as_deref());
        // A file that does not tell may have any.
        others = others.zip(own_others).and_then(|(known, added)| known.with(serde_json::from_str(added).ok()?));
        for KeyValue { key, value } in file.pairs().iter().filter(|pair| pair.key != OTHERS_KEY) {
            if key == TYPES_KEY {
                let own: BTreeMap<String, String> = serde_json::from_str(value.as_deref()?).ok()?;
                for (field, ty) in own {
                    if *types.entry(field).or_insert_with(|| ty.clone()) != ty {
                        return None;
                    }
                }
            } else if *pairs.entry(key).or_insert(value.as_deref()) != value.as_deref() {
                return None;
            }
        }
    }
    let own = |key: &str, value: Option<&str>| KeyValue::new(key.to_owned(), value.map(str::to_owned));
    let mut pairs: Vec<KeyValue> = pairs.into_iter().map(|(key, value)| own(key, value)).collect();
    pairs.push(own(TYPES_KEY, Some(&serde_json::to_string(&types).ok()?)));
    pairs.extend(others.and_then(|others| others.pair().ok()?));
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use eqlipse_batch::{Arrival, OrderKey, RowMeta};

    use super::super::segment::{SegmentEvent, write_segment};
    use super::*;

    #[test]
    fn large_files_are_copied_as_small_ones_are() {
        let order = OrderKey { time: Some(1), tiebreaker: None, arrival: Arrival::default() };
        let meta = RowMeta { order, identity: None };
        let files = [r#"{"n":1,"a":"b"}"#, r#"{"n":2}"#].map(|document| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let events = (0..50).map(|_| SegmentEvent { index: "logs-x", id: "1", document, meta });
            write_segment(events, &mut file.as_file()).unwrap();
            file
        });
        let whole = |path: &Path| SegmentContent::Bytes(std::fs::read(path).unwrap().into());
        let open = |path: &Path| SegmentContent::File(File::open(path).unwrap());
        let copied = |content: &dyn Fn(&Path) -> SegmentContent| {
            let contents = files.each_ref().map(|file| content(file.path()));
            concat_segments(&contents, || Ok(Vec::new())).unwrap().unwrap()
        };
        assert_eq!(copied(&whole), copied(&open));
    }
}
