//! Documents read a second time, from where they lie on disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use eqlipse_batch::{DocumentPart, DocumentPlace};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use crate::Discovery;
use crate::evtx::ChunkDecoder;
use crate::json::write_hit;
use crate::parquet::{GroupDocuments, ParquetError, ParquetFile};
use crate::pipeline::write_evtx_hit;
use crate::winlog;

/// Why a document cannot be read again.
#[derive(Debug, Error)]
pub enum AgainError {
    /// The file cannot be read.
    #[error("{name}: {error}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The Parquet file cannot be read.
    #[error("{name}: {error}")]
    Parquet {
        /// The file.
        name: String,
        /// What is wrong with it.
        error: String,
    },
    /// Something else stands in the document's place.
    #[error("{name}: the file was changed while it was read; copy it first")]
    Changed {
        /// The file.
        name: String,
    },
}

/// Row groups of a Parquet file that are kept open at most; each takes some hundred kilobytes.
const MAX_OPEN_GROUPS: usize = 64;

/// Reads documents again.
pub struct DocumentReader<'a> {
    inputs: &'a Discovery,
    /// The file that was read last.
    open: Option<(u32, File)>,
    /// The piece of it that was read last: offset and length. Records of an EVTX chunk have theirs in common.
    piece: Option<(u64, u32)>,
    bytes: Vec<u8>,
    /// The Parquet file that was read last, and those of its row groups that were.
    table: Option<(u32, Arc<ParquetFile>)>,
    groups: HashMap<usize, GroupDocuments>,
    chunks: ChunkDecoder,
}

impl<'a> DocumentReader<'a> {
    /// A reader of these inputs.
    pub fn new(inputs: &'a Discovery) -> Self {
        let (open, piece, bytes, chunks) = (None, None, Vec::new(), ChunkDecoder::new());
        Self { inputs, open, piece, bytes, table: None, groups: HashMap::new(), chunks }
    }

    /// The document in the shape of [`RowSource::write_json`](eqlipse_batch::RowSource::write_json).
    ///
    /// # Errors
    /// If the file is gone, cannot be read, or has something else in this place.
    pub fn read(&mut self, place: &DocumentPlace) -> Result<Vec<u8>, AgainError> {
        let inputs = self.inputs;
        let name = || inputs.sources.get(place.source as usize).map(|source| source.name.clone()).unwrap_or_default();
        if let DocumentPart::Row(row) = place.part {
            return self.row(place, row).map_err(|error| match error {
                Some(error) => AgainError::Parquet { name: name(), error: error.to_string() },
                None => AgainError::Changed { name: name() },
            });
        }
        self.load(place).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => AgainError::Changed { name: name() },
            _ => AgainError::Read { name: name(), error },
        })?;
        let (bytes, mut document) = (&self.bytes, Vec::new());
        match place.part {
            DocumentPart::Whole if xxh3_128(bytes) == place.digest => write_hit(bytes, None, &mut document),
            DocumentPart::Whole | DocumentPart::Row(_) => {}
            DocumentPart::Record(record) => {
                let wanted = |index| index == record;
                self.chunks.decode_selected(bytes, 0, wanted, |found| match found {
                    Ok(found) if winlog::identity(&found.event) == place.digest => {
                        write_evtx_hit(&found, &mut document)
                    }
                    _ => {}
                });
            }
        }
        if document.is_empty() { Err(AgainError::Changed { name: name() }) } else { Ok(document) }
    }

    /// A row's document; an error without a reason if the file is another.
    fn row(&mut self, place: &DocumentPlace, row: u32) -> Result<Vec<u8>, Option<ParquetError>> {
        let file = match &self.table {
            Some((source, file)) if *source == place.source => file.clone(),
            _ => {
                let source = self.inputs.sources.get(place.source as usize).ok_or(None)?;
                let path = source.path.as_ref().ok_or(None)?;
                let _held = source.hold().map_err(ParquetError::from)?;
                let file = Arc::new(ParquetFile::open(path)?);
                self.table = Some((place.source, file.clone()));
                self.groups.clear();
                file
            }
        };
        let group = place.offset as usize;
        if file.digest() != place.digest || group >= file.groups() {
            return Err(None);
        }
        if self.groups.len() >= MAX_OPEN_GROUPS && !self.groups.contains_key(&group) {
            self.groups.clear();
        }
        let documents = match self.groups.entry(group) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(GroupDocuments::open(&file, group)?),
        };
        let mut document = Vec::new();
        documents.write_hit(row as usize, &mut document)?;
        Ok(document)
    }

    /// Reads the piece of the file in which a document lies, unless that was done last.
    fn load(&mut self, place: &DocumentPlace) -> io::Result<()> {
        let piece = (place.offset, place.length);
        let file = match self.open.take() {
            Some((source, file)) if source == place.source => file,
            _ => {
                self.piece = None;
                let source = self.inputs.sources.get(place.source as usize).ok_or(io::ErrorKind::NotFound)?;
                let path = source.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
                let _held = source.hold()?;
                File::open(path)?
            }
        };
        let (_, file) = self.open.insert((place.source, file));
        if self.piece.take() != Some(piece) {
            file.seek(SeekFrom::Start(place.offset))?;
            self.bytes.resize(place.length as usize, 0);
            file.read_exact(&mut self.bytes)?;
        }
        self.piece = Some(piece);
        Ok(())
    }
}
