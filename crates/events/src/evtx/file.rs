//! The file header and the grid of chunks behind it.

use thiserror::Error;

/// Size of the block at the file's start that holds the header.
pub const FILE_HEADER_SIZE: u64 = 4096;

/// Size of a chunk.
pub const CHUNK_SIZE: u64 = 65_536;

const FILE_MAGIC: &[u8; 8] = b"ElfFile\0";
pub(super) const CHUNK_MAGIC: &[u8; 8] = b"ElfChnk\0";
const HEADER_BYTES: usize = 128;

/// Why a file header cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// The file ends inside the header.
    #[error("the file ends inside the EVTX header, after {0} bytes")]
    Truncated(usize),
    /// The signature is another one.
    #[error("no EVTX signature at the start of the file")]
    Magic,
}

/// What the header of an EVTX file says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Chunks in use, by the header. It is 16 bits wide and out of date in a log that was copied while in use, so
    /// readers go by [`chunk_count`].
    pub chunk_count: u16,
    /// The id the next record would have had.
    pub next_record_id: u64,
    /// The log was not closed before it was copied.
    pub dirty: bool,
    /// The log was full.
    pub full: bool,
    /// The header's checksum holds, or the header says that there is none.
    pub checksum_holds: bool,
}

impl FileHeader {
    /// Reads the header from the first bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(HeaderError::Truncated(bytes.len()))?;
        if &header[..8] != FILE_MAGIC {
            return Err(HeaderError::Magic);
        }
        let flags = u32_at(header, 120);
        let checksum_holds = flags & 4 != 0 || u32_at(header, 124) == crc32fast::hash(&header[..120]);
        Ok(Self {
            chunk_count: u16::from_le_bytes([header[42], header[43]]),
            next_record_id: u64_at(header, 24),
            dirty: flags & 1 != 0,
            full: flags & 2 != 0,
            checksum_holds,
        })
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

/// Where the first chunk of a file starts, by its first 4,104 bytes (or as many as there are): behind the header
/// block, also when that is damaged, or at once in a carved chunk. `None` for a file of another kind.
pub fn first_chunk_offset(prefix: &[u8]) -> Option<u64> {
    if prefix.starts_with(CHUNK_MAGIC) {
        return Some(0);
    }
    let behind_header = prefix.get(FILE_HEADER_SIZE as usize..).is_some_and(|rest| rest.starts_with(CHUNK_MAGIC));
    (prefix.starts_with(FILE_MAGIC) || behind_header).then_some(FILE_HEADER_SIZE)
}

/// How many chunks lie in a file of `length` bytes whose first one is at `first`; the last may be cut short.
pub fn chunk_count(length: u64, first: u64) -> u64 {
    length.saturating_sub(first).div_ceil(CHUNK_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(FileHeader::parse(b"ElfFile\0"), Err(HeaderError::Truncated(8)));
        assert_eq!(FileHeader::parse(&[0; 128]), Err(HeaderError::Magic));
        let mut header = [0; 128];
        header[..8].copy_from_slice(FILE_MAGIC);
        header[42] = 3;
        header[120] = 1;
        let parsed = FileHeader::parse(&header).unwrap();
        assert!(parsed.dirty && !parsed.full && !parsed.checksum_holds);
        assert_eq!(parsed.chunk_count, 3);
        let sum = crc32fast::hash(&header[..120]);
        header[124..].copy_from_slice(&sum.to_le_bytes());
        assert!(FileHeader::parse(&header).unwrap().checksum_holds);
    }

    #[test]
    fn grids() {
        assert_eq!(chunk_count(0, 4096), 0);
        assert_eq!(chunk_count(4096, 4096), 0);
        assert_eq!(chunk_count(4097, 4096), 1);
        assert_eq!(chunk_count(4096 + 2 * 65_536, 4096), 2);
        assert_eq!(first_chunk_offset(b"ElfFile\0..."), Some(4096));
        assert_eq!(first_chunk_offset(b"ElfChnk\0..."), Some(0));
        assert_eq!(first_chunk_offset(b"{}"), None);
        let mut damaged = vec![0; 4104];
        assert_eq!(first_chunk_offset(&damaged), None);
        damaged[4096..].copy_from_slice(CHUNK_MAGIC);
        assert_eq!(first_chunk_offset(&damaged), Some(4096));
    }
}
