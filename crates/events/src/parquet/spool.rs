//! Where events wait until all of them have been seen: a file's columns must be known before its first row is written.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use eqlipse_batch::{Arrival, OrderKey, RowMeta};

/// Little for speed: what is written is read back once and goes.
const COMPRESSION_LEVEL: i32 = 1;

/// An event on its way into a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The document as a hit.
    pub(super) hit: Vec<u8>,
    pub(super) index_names: Vec<String>,
    pub(super) time: Option<i64>,
    pub(super) sequence: Option<i64>,
    pub(super) identity: Option<u128>,
}

impl Entry {
    /// What a batch says of the row.
    pub(super) fn set_meta(&mut self, meta: &RowMeta) {
        self.time = meta.order.time;
        self.sequence = meta.order.tiebreaker;
        self.identity = meta.identity;
    }

    /// What the batch that is written says of the row.
    pub(super) fn meta(&self) -> RowMeta {
        let order = OrderKey { time: self.time, tiebreaker: self.sequence, arrival: Arrival::default() };
        RowMeta { order, identity: self.identity }
    }
}

/// Events in a compressed temporary file.
pub(super) struct EventSpool {
    file: zstd::Encoder<'static, File>,
    record: Vec<u8>,
}

impl EventSpool {
    pub(super) fn new() -> io::Result<Self> {
        let file = zstd::Encoder::new(tempfile::tempfile()?, COMPRESSION_LEVEL)?;
        Ok(Self { file, record: Vec::new() })
    }

    pub(super) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let record = &mut self.record;
        record.clear();
        put_bytes(&entry.hit, record);
        record.extend((entry.index_names.len() as u32).to_le_bytes());
        entry.index_names.iter().for_each(|name| put_bytes(name.as_bytes(), record));
        put_option(entry.time.map(i64::to_le_bytes), record);
        put_option(entry.sequence.map(i64::to_le_bytes), record);
        put_option(entry.identity.map(u128::to_le_bytes), record);
        self.file.write_all(record)
    }

    /// The events, in the order in which they were added.
    pub(super) fn read(self) -> io::Result<EventReader> {
        let mut file = self.file.finish()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(EventReader { file: BufReader::with_capacity(1 << 16, zstd::Decoder::new(file)?) })
    }
}

fn put_bytes(bytes: &[u8], record: &mut Vec<u8>) {
    record.extend((bytes.len() as u32).to_le_bytes());
    record.extend(bytes);
}

fn put_option<const N: usize>(value: Option<[u8; N]>, record: &mut Vec<u8>) {
    record.push(u8::from(value.is_some()));
    record.extend(value.unwrap_or([0; N]));
}

/// Gives the events back.
pub(super) struct EventReader {
    file: BufReader<zstd::Decoder<'static, BufReader<File>>>,
}

impl EventReader {
    /// The next event, in `entry`; `false` when there is none.
    pub(super) fn next(&mut self, entry: &mut Entry) -> io::Result<bool> {
        let length = match self.array().map(u32::from_le_bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        };
        entry.hit.resize(length as usize, 0);
        self.file.read_exact(&mut entry.hit)?;
        entry.index_names.clear();
        for _ in 0..u32::from_le_bytes(self.array()?) {
            let mut name = vec![0; u32::from_le_bytes(self.array()?) as usize];
            self.file.read_exact(&mut name)?;
            entry.index_names.push(String::from_utf8(name).map_err(io::Error::other)?);
        }
        entry.time = self.option()?.map(i64::from_le_bytes);
        entry.sequence = self.option()?.map(i64::from_le_bytes);
        entry.identity = self.option()?.map(u128::from_le_bytes);
        Ok(true)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn option<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let [is_there] = self.array()?;
        let bytes = self.array()?;
        Ok((is_there == 1).then_some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back() {
        let full = Entry {
            hit: b"{}".to_vec(),
            index_names: vec!["a".to_owned(), String::new()],
            time: Some(-1),
            sequence: Some(7),
            identity: Some(u128::MAX / 3),
        };
        let mut spool = EventSpool::new().unwrap();
        let entries = [full, Entry::default()];
        entries.iter().for_each(|entry| spool.add(entry).unwrap());
        let mut reader = spool.read().unwrap();
        let mut entry = Entry::default();
        for expected in &entries {
            assert!(reader.next(&mut entry).unwrap());
            assert_eq!(&entry, expected);
        }
        assert!(!reader.next(&mut entry).unwrap());
    }
}
