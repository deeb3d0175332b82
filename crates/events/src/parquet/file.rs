//! An open file: its footer, and the bytes of its column chunks.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use eqlipse_ecs::FieldType;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::ColumnDescriptor;
use xxhash_rust::xxh3::xxh3_128;

use super::layout::{Count, Kind, MAGIC, OWN_COLUMNS, TYPES_KEY, VERSION, VERSION_KEY};
use super::page::{PagePlace, page_places};
use super::{Damage, MAX_GROUP_ROWS, MAX_GROUP_UNPACKED, ParquetError};

/// Length of the footer, then the magic.
const TAIL: usize = 8;

/// A Parquet file that eqlipse wrote.
pub(crate) struct ParquetFile {
    bytes: FileBytes,
    length: u64,
    metadata: ParquetMetaData,
    columns: HashMap<String, Column>,
    types: BTreeMap<String, String>,
    digest: u128,
}

/// Where a file's bytes are.
enum FileBytes {
    Disk(Mutex<File>),
    Memory(Vec<u8>),
}

impl FileBytes {
    /// Puts bytes into `out`, in place of what is in there.
    fn read(&self, start: u64, length: usize, out: &mut Vec<u8>) -> std::io::Result<()> {
        out.clear();
        if length > MAX_GROUP_UNPACKED {
            return Err(ErrorKind::FileTooLarge.into());
        }
        match self {
            Self::Memory(bytes) => out.extend_from_slice(&bytes[start as usize..start as usize + length]),
            Self::Disk(file) => {
                // All at once, as the system reads nothing ahead.
                out.resize(length, 0);
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(out)?;
            }
        }
        Ok(())
    }

    /// Says that these bytes will be read, so that they come from the disk together and not one after the other.
    fn expect(&self, places: impl Iterator<Item = ChunkPlace>) {
        if let Self::Disk(file) = self {
            let file = file.lock().unwrap_or_else(PoisonError::into_inner);
            places.for_each(|place| advice::expect(&file, place.start, place.length));
        }
    }
}

/// What the system is told about reading. Without it, it reads what lies behind a column too, which may be megabytes of what
/// nobody asks for: a few columns cost as much as the whole file.
#[cfg(target_os = "linux")]
mod advice {
    use std::fs::File;
    use std::num::NonZeroU64;

    use rustix::fs::{Advice, fadvise};

    /// Nothing is to be read but what is asked for.
    pub(super) fn nothing_ahead(file: &File) {
        // It is advice: where it is not taken, all goes on as it would without.
        _ = fadvise(file, 0, None, Advice::Random);
    }

    /// These bytes will be read.
    pub(super) fn expect(file: &File, start: u64, length: usize) {
        if let Some(length) = NonZeroU64::new(length as u64) {
            _ = fadvise(file, start, Some(length), Advice::WillNeed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod advice {
    use std::fs::File;

    pub(super) fn nothing_ahead(_: &File) {}

    pub(super) fn expect(_: &File, _: u64, _: usize) {}
}

/// A column of the file.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its number among the leaves of the file's schema.
    leaf: usize,
    pub(super) kind: Kind,
    pub(super) count: Count,
}

impl ParquetFile {
    /// Opens a file on disk.
    pub(crate) fn open(path: &Path) -> Result<Self, ParquetError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        advice::nothing_ahead(&file);
        Self::new(FileBytes::Disk(Mutex::new(file)), length)
    }

    /// Opens a file that is held in memory.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Result<Self, ParquetError> {
        let length = bytes.len() as u64;
        Self::new(FileBytes::Memory(bytes), length)
    }

    fn new(bytes: FileBytes, length: u64) -> Result<Self, ParquetError> {
        let footer = read_footer(&bytes, length)?;
        let metadata = parse_footer(&footer)?;
        let pairs = metadata.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let value = |key: &str| pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        match value(VERSION_KEY) {
            Some(version) if version == VERSION => {}
            Some(version) => return Err(ParquetError::Version(version)),
            None => return Err(ParquetError::Foreign),
        }
        let types = value(TYPES_KEY).and_then(|text| serde_json::from_str(&text).ok());
        let types = types.ok_or_else(|| ParquetError::Footer("the types of its fields cannot be read".to_owned()))?;
        let columns = columns(&metadata)?;
        Ok(Self { bytes, length, metadata, columns, types, digest: xxh3_128(&footer) })
    }

    /// A hash of the footer, to know the file again.
    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }

    /// How many row groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// The rows of a row group, which are bounded.
    pub(crate) fn rows(&self, group: usize) -> Result<usize, ParquetError> {
        let rows = self.metadata.row_group(group).num_rows();
        usize::try_from(rows).ok().filter(|rows| *rows <= MAX_GROUP_ROWS).ok_or_else(|| {
            ParquetError::Footer(format!("row group {group} has {rows} rows (at most {MAX_GROUP_ROWS} are read)"))
        })
    }

    /// Bytes of a row group as they lie in the file.
    pub(crate) fn packed_bytes(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.row_group(group).compressed_size()).unwrap_or_default().min(self.length)
    }

    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Result<&Column, ParquetError> {
        self.columns.get(name).ok_or_else(|| column_error(name, Damage::Missing))
    }

    /// The column of a field; `None` where no document has the field, or not often enough for a column of its own.
    pub(super) fn field(&self, name: &str) -> Option<&Column> {
        self.columns.get(name).filter(|_| !OWN_COLUMNS.contains(&name))
    }

    /// Whether the field's column holds what a batch would, whose column has this type.
    pub(super) fn has_type(&self, name: &str, ty: FieldType) -> bool {
        self.types.get(name).is_none_or(|known| known == ty.name())
    }

    /// Says that these columns of a row group are read soon.
    pub(super) fn expect<'c>(&self, group: usize, columns: impl Iterator<Item = &'c Column>) {
        self.bytes.expect(columns.filter_map(|column| self.place(group, column).ok()));
    }

    /// Puts the bytes of a column into `out`.
    pub(super) fn read(&self, place: &ChunkPlace, out: &mut Vec<u8>) -> Result<(), Damage> {
        Ok(self.bytes.read(place.start, place.length, out)?)
    }

    /// Where the pages of a column lie.
    pub(super) fn pages(&self, group: usize, column: &Column) -> Result<Vec<PagePlace>, Damage> {
        let chunk = self.metadata.row_group(group).columns().get(column.leaf).ok_or(Damage::Missing)?;
        let start = chunk.offset_index_offset().and_then(|offset| u64::try_from(offset).ok()).ok_or(Damage::Place)?;
        let length = chunk.offset_index_length().and_then(|length| u64::try_from(length).ok()).ok_or(Damage::Place)?;
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(Damage::Place);
        }
        let mut index = Vec::new();
        self.bytes.read(start, length as usize, &mut index)?;
        page_places(&index)
    }

    /// Puts the bytes of a page into `out`.
    pub(super) fn read_page(&self, chunk: &ChunkPlace, page: &PagePlace, out: &mut Vec<u8>) -> Result<(), Damage> {
        let start = page.offset.checked_sub(chunk.start).ok_or(Damage::Place)?;
        if start.checked_add(page.length as u64).is_none_or(|end| end > chunk.length as u64) {
            return Err(Damage::Place);
        }
        Ok(self.bytes.read(page.offset, page.length, out)?)
    }

    /// Where a column lies.
    pub(super) fn place(&self, group: usize, column: &Column) -> Result<ChunkPlace, ParquetError> {
        let chunks = self.metadata.row_group(group).columns();
        let chunk = chunks.get(column.leaf).ok_or_else(|| column_error(&column.name, Damage::Missing))?;
        chunk_place(chunk, self.length).ok_or_else(|| column_error(&column.name, Damage::Place))
    }
}

/// Where a column chunk lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkPlace {
    start: u64,
    pub(super) length: usize,
    pub(super) compression: Compression,
}

fn chunk_place(chunk: &ColumnChunkMetaData, file_length: u64) -> Option<ChunkPlace> {
    let start = u64::try_from(chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset())).ok()?;
    let length = u64::try_from(chunk.compressed_size()).ok()?;
    let is_inside = start.checked_add(length)? <= file_length;
    is_inside.then_some(ChunkPlace { start, length: length as usize, compression: chunk.compression() })
}

pub(super) fn column_error(column: &str, damage: Damage) -> ParquetError {
    ParquetError::Column { column: column.to_owned(), damage }
}

fn read_footer(bytes: &FileBytes, length: u64) -> Result<Vec<u8>, ParquetError> {
    let cut = || ParquetError::Footer("it ends early: there is no footer".to_owned());
    let tail_start = length.checked_sub(TAIL as u64).ok_or_else(cut)?;
    let mut tail = Vec::new();
    bytes.read(tail_start, TAIL, &mut tail)?;
    if &tail[4..] != MAGIC {
        return Err(cut());
    }
    let footer_length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let start = tail_start.checked_sub(u64::from(footer_length));
    let start = start.ok_or_else(|| ParquetError::Footer("the footer is longer than the file".to_owned()))?;
    let mut footer = tail;
    bytes.read(start, footer_length as usize, &mut footer)?;
    Ok(footer)
}

fn parse_footer(footer: &[u8]) -> Result<ParquetMetaData, ParquetError> {
    // The crate has assertions that a damaged footer can meet.
    match catch_unwind(AssertUnwindSafe(|| ParquetMetaDataReader::decode_metadata(footer))) {
        Ok(Ok(metadata)) => Ok(metadata),
        Ok(Err(error)) => Err(ParquetError::Footer(error.to_string())),
        Err(_) => Err(ParquetError::Footer("the footer cannot be read".to_owned())),
    }
}

fn columns(metadata: &ParquetMetaData) -> Result<HashMap<String, Column>, ParquetError> {
    let unknown = |name: &str| ParquetError::Footer(format!("column {name} is of a kind that eqlipse does not write"));
    let leaves = metadata.file_metadata().schema_descr().columns().iter().enumerate();
    let columns = leaves.map(|(leaf, found)| {
        let name = found.path().parts().first().cloned().unwrap_or_default();
        let (kind, count) = kind_and_count(found).ok_or_else(|| unknown(&name))?;
        Ok((name.clone(), Column { name, leaf, kind, count }))
    });
    columns.collect()
}

/// What a column has; `None` if eqlipse writes none of its kind.
pub(super) fn kind_and_count(column: &ColumnDescriptor) -> Option<(Kind, Count)> {
    let count = match (column.max_def_level(), column.max_rep_level()) {
        (0, 0) => Count::Required,
        (1, 0) => Count::Optional,
        (2, 1) => Count::List,
        _ => return None,
    };
    let kind = Kind::of_column(column.physical_type(), column.logical_type_ref(), column.type_length())?;
    Some((kind, count))
}
