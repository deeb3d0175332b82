//! Documents one behind the other, as they stand in the pages of a segment: what was packed for a log need not be packed
//! again for a segment.

use std::io;

use bytes::Bytes;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Zstd's level for pages of what comes in.
pub(crate) const PAGE_LEVEL: i32 = 1;
/// What repeats in events is long, and short matches cost time in hashes and ids, where they save nothing.
const MIN_MATCH: u32 = 7;

/// What packs pages of what comes in.
///
/// # Errors
/// If there is no memory for it.
pub fn page_compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(PAGE_LEVEL)?;
    compressor.set_parameter(CParameter::MinMatch(MIN_MATCH))?;
    Ok(compressor)
}

/// Some documents of a data stream, one behind the other.
#[derive(Clone, Debug)]
pub struct DocumentPage {
    /// How many there are.
    pub rows: u32,
    /// Bytes that they take, each with its length in front.
    pub unpacked: u32,
    /// The same packed, a Zstandard frame.
    pub packed: Bytes,
}

/// Appends a document to what is to become a page.
pub fn put_document(document: &str, page: &mut Vec<u8>) {
    page.extend_from_slice(&(document.len() as u32).to_le_bytes());
    page.extend_from_slice(document.as_bytes());
}

/// The next document of an unpacked page; `None` where there is none.
pub fn take_document<'p>(page: &mut &'p [u8]) -> Option<&'p str> {
    let (length, rest) = page.split_first_chunk()?;
    let (document, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *page = rest;
    std::str::from_utf8(document).ok()
}
