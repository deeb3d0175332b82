//! Documents read a second time, from where they lie on disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use eqlipse_batch::DocumentPlace;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use crate::Discovery;
use crate::evtx::ChunkDecoder;
use crate::json::write_hit;
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
    /// Something else stands in the document's place.
    #[error("{name}: the file was changed while it was read; copy it first")]
    Changed {
        /// The file.
        name: String,
    },
}

/// Reads documents again.
pub struct DocumentReader<'a> {
    inputs: &'a Discovery,
    /// The file that was read last.
    open: Option<(u32, File)>,
    chunks: ChunkDecoder,
}

impl<'a> DocumentReader<'a> {
    /// A reader of these inputs.
    pub fn new(inputs: &'a Discovery) -> Self {
        Self { inputs, open: None, chunks: ChunkDecoder::new() }
    }

    /// The document in the shape of [`RowSource::write_json`](eqlipse_batch::RowSource::write_json).
    ///
    /// # Errors
    /// If the file is gone, cannot be read, or has something else in this place.
    pub fn read(&mut self, place: &DocumentPlace) -> Result<Vec<u8>, AgainError> {
        let inputs = self.inputs;
        let name = || inputs.sources.get(place.source as usize).map(|source| source.name.clone()).unwrap_or_default();
        let bytes = self.bytes(place).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => AgainError::Changed { name: name() },
            _ => AgainError::Read { name: name(), error },
        })?;
        let mut document = Vec::new();
        match place.record {
            None if xxh3_128(&bytes) == place.digest => write_hit(&bytes, None, &mut document),
            None => {}
            Some(record) => {
                let wanted = |index| index == record;
                self.chunks.decode_selected(&bytes, 0, wanted, |found| match found {
                    Ok(found) if winlog::identity(&found.event) == place.digest => {
                        write_evtx_hit(&found, &mut document)
                    }
                    _ => {}
                });
            }
        }
        if document.is_empty() { Err(AgainError::Changed { name: name() }) } else { Ok(document) }
    }

    fn bytes(&mut self, place: &DocumentPlace) -> io::Result<Vec<u8>> {
        let file = match self.open.take() {
            Some((source, file)) if source == place.source => file,
            _ => {
                let source = self.inputs.sources.get(place.source as usize);
                let path = source.and_then(|source| source.path.as_ref()).ok_or(io::ErrorKind::NotFound)?;
                File::open(path)?
            }
        };
        let (_, file) = self.open.insert((place.source, file));
        file.seek(SeekFrom::Start(place.offset))?;
        let mut bytes = vec![0; place.length as usize];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
