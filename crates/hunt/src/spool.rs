//! Where the documents of matched events wait until alerts are built: in memory, then in a temporary file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use eqlipse_batch::{DocumentPart, DocumentPlace};

/// Bytes kept in memory before they are written out.
const MEMORY_LIMIT: usize = 8 << 20;

/// Documents, each found again by the offset that [`Spool::add`] gave.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    in_file: u64,
}

impl Spool {
    /// Adds the document that `write` appends and gives its offset.
    ///
    /// # Errors
    /// If the temporary file cannot be made or written.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<u64> {
        if self.memory.len() >= MEMORY_LIMIT {
            self.write_out()?;
        }
        let start = self.memory.len();
        self.memory.extend([0; 8]);
        write(&mut self.memory);
        let length = (self.memory.len() - start - 8) as u64;
        self.memory[start..start + 8].copy_from_slice(&length.to_le_bytes());
        Ok(self.in_file + start as u64)
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile()?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.memory)?;
        }
        self.in_file += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// The document at an offset.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub(crate) fn get(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        if let Some(start) = offset.checked_sub(self.in_file) {
            let bytes = &self.memory[start as usize..];
            let (length, rest) = bytes.split_at(8);
            let length = length.try_into().map(u64::from_le_bytes).unwrap_or_default();
            return Ok(rest[..length as usize].to_vec());
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.seek(SeekFrom::Start(offset))?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut document = vec![0; u64::from_le_bytes(length) as usize];
        file.read_exact(&mut document)?;
        // The next write goes to the end again.
        file.seek(SeekFrom::End(0))?;
        Ok(document)
    }
}

/// Begins an entry that says where a document lies; no document begins with it.
const PLACE: u8 = 0;

/// Writes where a document lies, in place of the document.
pub(crate) fn write_place(place: &DocumentPlace, out: &mut Vec<u8>) {
    out.push(PLACE);
    out.extend(place.source.to_le_bytes());
    out.extend(place.offset.to_le_bytes());
    out.extend(place.length.to_le_bytes());
    let (kind, number) = match place.part {
        DocumentPart::Whole => (0u8, 0),
        DocumentPart::Record(number) => (1, number),
        DocumentPart::Row(number) => (2, number),
    };
    out.push(kind);
    out.extend(number.to_le_bytes());
    out.extend(place.digest.to_le_bytes());
}

/// Where a document lies, if an entry says that.
pub(crate) fn read_place(entry: &[u8]) -> Option<DocumentPlace> {
    fn take<const N: usize>(entry: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, rest) = entry.split_first_chunk()?;
        *entry = rest;
        Some(*taken)
    }
    let (&PLACE, mut entry) = entry.split_first()? else { return None };
    Some(DocumentPlace {
        source: take(&mut entry).map(u32::from_le_bytes)?,
        offset: take(&mut entry).map(u64::from_le_bytes)?,
        length: take(&mut entry).map(u32::from_le_bytes)?,
        part: match (take(&mut entry)?, take(&mut entry).map(u32::from_le_bytes)?) {
            ([0], _) => DocumentPart::Whole,
            ([1], number) => DocumentPart::Record(number),
            ([_], number) => DocumentPart::Row(number),
        },
        digest: take(&mut entry).map(u128::from_le_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        for part in [DocumentPart::Whole, DocumentPart::Record(7), DocumentPart::Row(9)] {
            let place = DocumentPlace { source: 3, offset: 1 << 40, length: 65_536, part, digest: u128::MAX / 3 };
            let mut entry = Vec::new();
            write_place(&place, &mut entry);
            assert_eq!(read_place(&entry), Some(place));
        }
        assert_eq!(read_place(b"{}"), None);
        assert_eq!(read_place(&[PLACE, 1]), None);
    }

    #[test]
    fn finds_documents_in_memory_and_in_the_file() {
        let mut spool = Spool::default();
        let mut offsets = Vec::new();
        for number in 0..40u8 {
            let document = vec![number; 1 << 20];
            offsets.push(spool.add(|out| out.extend(&document)).unwrap());
            assert_eq!(spool.get(offsets[0]).unwrap(), vec![0; 1 << 20]);
        }
        assert!(spool.file.is_some());
        for (number, offset) in offsets.into_iter().enumerate() {
            assert_eq!(spool.get(offset).unwrap(), vec![number as u8; 1 << 20]);
        }
    }
}
