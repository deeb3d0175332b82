//! One chunk: its header, the walk over its records and what to do where they are damaged.

use std::fmt;

use bumpalo::Bump;
use thiserror::Error;

use super::binxml::Reader;
use super::file::{CHUNK_MAGIC, CHUNK_SIZE, u32_at, u64_at};
use super::raw::RawEvent;
use super::value::filetime_nanoseconds;

/// What decoding one chunk may cost, in steps and bytes of text.
pub const MAX_CHUNK_WORK: usize = 64 << 20;

const CHUNK_HEADER_SIZE: usize = 512;
const RECORD_MAGIC: &[u8; 4] = b"**\0\0";
const RECORD_HEADER_SIZE: usize = 24;
/// Header, the copy of the size at the end, and nothing in between.
const MIN_RECORD_SIZE: usize = RECORD_HEADER_SIZE + 4;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPosition {
    /// The chunk's number in its file.
    pub chunk: u64,
    /// The record's number in the chunk, counting bad ones.
    pub index: u32,
    /// The record's offset in the chunk.
    pub offset: u32,
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {}, offset {:#x}", self.chunk, self.offset)
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordProblem {
    /// No record header where one should be.
    #[error("no record header")]
    NoHeader,
    /// The size makes no sense.
    #[error("impossible record size {0}")]
    Size(u32),
    /// A value reaches over its end.
    #[error("data cut short at offset {at:#x}")]
    Truncated {
        /// Offset in the chunk.
        at: usize,
    },
    /// An unknown token of the binary XML.
    #[error("unknown token {token:#04x} at offset {at:#x}")]
    Token {
        /// The token.
        token: u8,
        /// Offset in the chunk.
        at: usize,
    },
    /// A literal that is no text.
    #[error("literal of type {kind:#04x} at offset {at:#x}")]
    LiteralType {
        /// The type.
        kind: u8,
        /// Offset in the chunk.
        at: usize,
    },
    /// Elements nest deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("elements nest deeper than {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Values nest deeper than [`MAX_NESTED_STREAMS`](super::MAX_NESTED_STREAMS).
    #[error("binary XML values nest deeper than {limit}")]
    NestedStreams {
        /// The limit.
        limit: usize,
    },
    /// More data fields than [`MAX_FIELDS`](super::MAX_FIELDS).
    #[error("more than {limit} data fields")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// The record costs more than [`MAX_RECORD_WORK`](super::MAX_RECORD_WORK), or than [`MAX_CHUNK_WORK`] leaves.
    #[error("the record takes more than {limit} steps and bytes to decode")]
    TooMuchWork {
        /// The limit that was left.
        limit: usize,
    },
    /// The record holds no event.
    #[error("no event in the record")]
    NoEvent,
}

/// A record that could not be decoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{position}: {problem}")]
pub struct RecordError {
    /// Where it lies.
    pub position: RecordPosition,
    /// What is wrong with it.
    pub problem: RecordProblem,
}

/// A decoded record.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Where it lies.
    pub position: RecordPosition,
    /// Its event.
    pub event: RawEvent<'a>,
}

/// What is wrong with a chunk.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChunkDamage {
    /// The file ends inside the chunk; the records before its end were read.
    #[error("cut short after {0} bytes")]
    Truncated(usize),
    /// No signature; records were searched for.
    #[error("no chunk signature")]
    Magic,
    /// The header's checksum is wrong; the records were read all the same.
    #[error("wrong header checksum")]
    HeaderChecksum,
    /// The records' checksum is wrong; they were read all the same.
    #[error("wrong checksum over the records")]
    RecordsChecksum,
    /// Records are damaged.
    #[error("damaged records")]
    Records,
}

/// What came of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkReport {
    /// The chunk's number in its file.
    pub chunk: u64,
    /// Good records.
    pub records: u32,
    /// Records that could not be decoded.
    pub bad_records: u32,
    /// The first thing that is wrong with it.
    pub damage: Option<ChunkDamage>,
    /// The chunk is all zeros: space that the log had not used yet.
    pub unused: bool,
}

/// Decodes chunks, keeping its memory from one to the next.
#[derive(Default)]
pub struct ChunkDecoder {
    bump: Bump,
}

impl ChunkDecoder {
    /// A decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes the chunk `number` of a file, handing each record in order to `sink`.
    pub fn decode<F>(&mut self, bytes: &[u8], number: u64, sink: F) -> ChunkReport
    where
        F: FnMut(Result<Record<'_>, RecordError>),
    {
        self.decode_selected(bytes, number, |_| true, sink)
    }

    /// Decodes those records of the chunk whose index `select` wants. The report counts only these.
    pub fn decode_selected<F>(
        &mut self,
        bytes: &[u8],
        number: u64,
        mut select: impl FnMut(u32) -> bool,
        mut sink: F,
    ) -> ChunkReport
    where
        F: FnMut(Result<Record<'_>, RecordError>),
    {
        self.bump.reset();
        let bytes = &bytes[..bytes.len().min(CHUNK_SIZE as usize)];
        let mut report = ChunkReport { chunk: number, ..ChunkReport::default() };
        if bytes.iter().all(|byte| *byte == 0) {
            report.unused = true;
            return report;
        }
        let header = Header::parse(bytes);
        report.damage = header.damage;
        let mut reader = Reader::new(bytes, &self.bump);
        let mut budget = MAX_CHUNK_WORK;
        for (index, found) in Walk::new(bytes, &header).enumerate() {
            let index = index as u32;
            if !select(index) {
                continue;
            }
            let decoded = found.and_then(|found| {
                let event = reader.read(found.start, found.end, &mut budget);
                event.map(|event| found.complete(event)).map_err(|problem| (found.offset, problem))
            });
            match decoded {
                Ok((offset, event)) => {
                    report.records += 1;
                    sink(Ok(Record { position: RecordPosition { chunk: number, index, offset }, event }));
                }
                Err((offset, problem)) => {
                    report.bad_records += 1;
                    report.damage.get_or_insert(ChunkDamage::Records);
                    sink(Err(RecordError { position: RecordPosition { chunk: number, index, offset }, problem }));
                }
            }
        }
        report
    }
}

/// Decodes one chunk with a decoder of its own.
pub fn decode_chunk<F>(bytes: &[u8], number: u64, sink: F) -> ChunkReport
where
    F: FnMut(Result<Record<'_>, RecordError>),
{
    ChunkDecoder::new().decode(bytes, number, sink)
}

/// What a chunk's header says of its records.
struct Header {
    last_record_id: u64,
    free_space: usize,
    damage: Option<ChunkDamage>,
    /// The header can be trusted to say where the records end.
    sound: bool,
}

impl Header {
    fn parse(bytes: &[u8]) -> Self {
        let is_chunk = bytes.starts_with(CHUNK_MAGIC) && bytes.len() >= CHUNK_HEADER_SIZE;
        let free_space = u32_at(bytes, 48) as usize;
        let damage = match is_chunk {
            _ if bytes.len() < CHUNK_SIZE as usize => Some(ChunkDamage::Truncated(bytes.len())),
            false => Some(ChunkDamage::Magic),
            true => checksum_damage(bytes, free_space),
        };
        let sound = is_chunk && damage != Some(ChunkDamage::HeaderChecksum);
        Self { last_record_id: u64_at(bytes, 32), free_space, damage, sound }
    }
}

fn checksum_damage(bytes: &[u8], free_space: usize) -> Option<ChunkDamage> {
    const NO_CHECKSUM: u32 = 4;
    if u32_at(bytes, 120) & NO_CHECKSUM != 0 {
        return None;
    }
    let mut header = crc32fast::Hasher::new();
    header.update(&bytes[..120]);
    header.update(&bytes[128..CHUNK_HEADER_SIZE]);
    if header.finalize() != u32_at(bytes, 124) {
        return Some(ChunkDamage::HeaderChecksum);
    }
    let records = bytes.get(CHUNK_HEADER_SIZE..free_space).map(crc32fast::hash);
    (records != Some(u32_at(bytes, 52))).then_some(ChunkDamage::RecordsChecksum)
}

/// A record's place in the chunk.
#[derive(Clone, Copy)]
struct Found {
    offset: u32,
    id: u64,
    time: u64,
    /// The binary XML.
    start: usize,
    end: usize,
}

impl Found {
    fn at(bytes: &[u8], offset: usize) -> Result<(Self, usize), RecordProblem> {
        let header = bytes.get(offset..offset + RECORD_HEADER_SIZE).ok_or(RecordProblem::NoHeader)?;
        if &header[..4] != RECORD_MAGIC {
            return Err(RecordProblem::NoHeader);
        }
        let size = u32_at(header, 4);
        let next = offset.saturating_add(size as usize);
        if (size as usize) < MIN_RECORD_SIZE || next > bytes.len() {
            return Err(RecordProblem::Size(size));
        }
        let (id, time) = (u64_at(header, 8), u64_at(header, 16));
        let found = Self { offset: offset as u32, id, time, start: offset + RECORD_HEADER_SIZE, end: next - 4 };
        Ok((found, next))
    }

    /// A record that also ends with the copy of its size.
    fn whole(bytes: &[u8], offset: usize) -> Option<(Self, usize)> {
        let (found, next) = Self::at(bytes, offset).ok()?;
        (u32_at(bytes, found.end) as usize == next - offset).then_some((found, next))
    }

    /// Fills in what the event does not say of itself.
    fn complete<'b>(&self, mut event: RawEvent<'b>) -> (u32, RawEvent<'b>) {
        if event.time_created == i64::MIN {
            event.time_created = filetime_nanoseconds(self.time).unwrap_or(0);
        }
        if event.record_id == u64::MAX {
            event.record_id = self.id;
        }
        (self.offset, event)
    }
}

/// Walks over the records of a chunk, and past what is damaged to the next one.
struct Walk<'c> {
    bytes: &'c [u8],
    /// Where the next record should start; `None` behind the last.
    at: Option<usize>,
    /// Where the header puts the end of the records.
    free_space: usize,
    /// The id of the record before.
    previous: Option<u64>,
    /// The id of the last record, by the header.
    last: Option<u64>,
}

impl<'c> Walk<'c> {
    fn new(bytes: &'c [u8], header: &Header) -> Self {
        let free_space = if header.sound { header.free_space.min(bytes.len()) } else { bytes.len() };
        let last = header.sound.then_some(header.last_record_id);
        let mut walk = Self { bytes, at: Some(CHUNK_HEADER_SIZE), free_space, previous: None, last };
        if !bytes.starts_with(CHUNK_MAGIC) {
            walk.at = walk.search(0);
        }
        walk
    }

    /// The next whole record at or behind `from`.
    fn search(&self, mut from: usize) -> Option<usize> {
        loop {
            let hit = from + memchr::memmem::find(self.bytes.get(from..)?, RECORD_MAGIC)?;
            if Found::whole(self.bytes, hit).is_some() {
                return Some(hit);
            }
            from = hit + 1;
        }
    }

    /// A record behind the end that the header gives is live if it carries on the numbering: the header of a log that
    /// was copied while in use lags behind. What else lies there was left by an earlier use of the chunk.
    fn beyond(&self, at: usize) -> Option<(Found, usize)> {
        let (found, next) = Found::whole(self.bytes, at)?;
        let follows = self.previous.is_some_and(|previous| previous.checked_add(1) == Some(found.id));
        follows.then_some((found, next))
    }

    fn step(&mut self, found: Found, next: usize) -> Found {
        self.previous = Some(found.id);
        self.at = Some(next);
        found
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Found, (u32, RecordProblem)>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at.take()?;
        let past_last = self.last.is_some() && self.previous == self.last;
        if at >= self.free_space || past_last {
            let (found, next) = self.beyond(at)?;
            return Some(Ok(self.step(found, next)));
        }
        match Found::at(self.bytes, at) {
            Ok((found, next)) => Some(Ok(self.step(found, next))),
            Err(problem) => {
                self.at = self.search(at + 1).filter(|next| *next < self.free_space);
                // Zeros up to the end are free space that the header does not know of.
                let is_blank = self.bytes[at.min(self.bytes.len())..].iter().take(4).all(|byte| *byte == 0);
                (self.at.is_some() || !is_blank).then_some(Err((at as u32, problem)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evtx::{MAX_DEPTH, MAX_NESTED_STREAMS, MAX_RECORD_WORK};

    /// A chunk with one record, whose template and values tests make up.
    struct Chunk {
        bytes: Vec<u8>,
        template: u32,
    }

    impl Chunk {
        /// A chunk up to where the template's elements go.
        fn new() -> Self {
            let mut bytes = vec![0; CHUNK_HEADER_SIZE];
            bytes[..8].copy_from_slice(CHUNK_MAGIC);
            bytes[48..52].copy_from_slice(&(CHUNK_SIZE as u32).to_le_bytes());
            bytes[120] = 4;
            bytes[32..40].fill(0xff);
            bytes.extend_from_slice(RECORD_MAGIC);
            bytes.extend_from_slice(&[0; RECORD_HEADER_SIZE - 4]);
            bytes.extend_from_slice(&[0x0f, 1, 1, 0, 0x0c, 1, 0, 0, 0, 0]);
            let template = bytes.len() as u32 + 4;
            bytes.extend_from_slice(&template.to_le_bytes());
            bytes.extend_from_slice(&[0; 24]);
            Self { bytes, template }
        }

        fn open(&mut self, name: &str) -> &mut Self {
            self.bytes.extend_from_slice(&[0x01, 0xff, 0xff, 0, 0, 0, 0]);
            let here = self.bytes.len() as u32 + 4;
            self.bytes.extend_from_slice(&here.to_le_bytes());
            self.bytes.extend_from_slice(&[0; 6]);
            self.bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
            self.bytes.extend(name.bytes().flat_map(|byte| [byte, 0]));
            self.bytes.extend_from_slice(&[0, 0, 0x02]);
            self
        }

        fn value(&mut self, id: u8) -> &mut Self {
            self.bytes.extend_from_slice(&[0x0d, id, 0, 0x01]);
            self
        }

        fn close(&mut self) -> &mut Self {
            self.bytes.push(0x04);
            self
        }

        /// Ends the template and adds the values.
        fn values(&mut self, values: &[(u8, Vec<u8>)]) -> ChunkReport {
            self.decode(values, |_| ())
        }

        fn decode(
            &mut self,
            values: &[(u8, Vec<u8>)],
            sink: impl FnMut(Result<Record<'_>, RecordError>),
        ) -> ChunkReport {
            self.bytes.push(0);
            let start = self.template as usize;
            let length = (self.bytes.len() - start - 24) as u32;
            self.bytes[start + 20..start + 24].copy_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(&(values.len() as u32).to_le_bytes());
            for (kind, value) in values {
                self.bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
                self.bytes.extend_from_slice(&[*kind, 0]);
            }
            self.bytes.extend(values.iter().flat_map(|(_, value)| value.clone()));
            self.bytes.push(0);
            let size = (self.bytes.len() - CHUNK_HEADER_SIZE + 4) as u32;
            self.bytes[CHUNK_HEADER_SIZE + 4..CHUNK_HEADER_SIZE + 8].copy_from_slice(&size.to_le_bytes());
            self.bytes.extend_from_slice(&size.to_le_bytes());
            self.bytes.resize(CHUNK_SIZE as usize, 0);
            decode_chunk(&self.bytes, 0, sink)
        }

        fn problem(&mut self, values: &[(u8, Vec<u8>)]) -> Option<RecordProblem> {
            let mut problem = None;
            self.decode(values, |record| problem = record.err().map(|error| error.problem));
            problem
        }
    }

    fn wide(text: &str) -> Vec<u8> {
        text.bytes().flat_map(|byte| [byte, 0]).collect()
    }

    #[test]
    fn a_record_of_our_own() {
        let mut chunk = Chunk::new();
        chunk.open("Event").open("System").open("Channel").value(0).close().close();
        chunk.open("EventData").open("Data").value(1).close().open("Data").value(2).close().close().close();
        let mut seen = Vec::new();
        let list = [wide("x"), vec![0, 0], wide("y"), vec![0, 0]].concat();
        let values = [(1, wide("Test")), (0x81, list), (0x08, vec![7, 0, 0, 0])];
        let report = chunk.decode(&values, |record| {
            let event = record.unwrap().event;
            assert_eq!(event.channel, "Test");
            seen = event.event_data.iter().map(|pair| format!("{}={}", pair.path, pair.value)).collect();
        });
        assert_eq!((report.records, report.bad_records, report.damage), (1, 0, None));
        assert_eq!(seen, ["winlog.event_data.param1=x", "winlog.event_data.param2=y", "winlog.event_data.param3=7"]);
    }

    #[test]
    fn elements_nest_only_so_deep() {
        let mut chunk = Chunk::new();
        for _ in 0..=MAX_DEPTH {
            chunk.open("x");
        }
        assert_eq!(chunk.problem(&[]), Some(RecordProblem::TooDeep { limit: MAX_DEPTH }));
    }

    #[test]
    fn streams_nest_only_so_deep() {
        let mut chunk = Chunk::new();
        chunk.open("Event").value(0).close();
        let mut inner = Vec::new();
        for _ in 0..=MAX_NESTED_STREAMS + 1 {
            let mut outer = vec![0x0c, 1, 0, 0, 0, 0];
            outer.extend_from_slice(&chunk.template.to_le_bytes());
            outer.extend_from_slice(&1_u32.to_le_bytes());
            outer.extend_from_slice(&(inner.len() as u16).to_le_bytes());
            outer.extend_from_slice(&[0x21, 0]);
            outer.append(&mut inner);
            inner = outer;
        }
        let problem = chunk.problem(&[(0x21, inner)]);
        assert_eq!(problem, Some(RecordProblem::NestedStreams { limit: MAX_NESTED_STREAMS }));
    }

    #[test]
    fn a_template_cannot_multiply_its_values_without_end() {
        let mut chunk = Chunk::new();
        chunk.open("Event").open("EventData");
        for _ in 0..900 {
            chunk.open("Data").value(0).close();
        }
        let problem = chunk.problem(&[(1, wide(&"x".repeat(10_000)))]);
        assert_eq!(problem, Some(RecordProblem::TooMuchWork { limit: MAX_RECORD_WORK }));
    }

    #[test]
    fn an_empty_record_is_no_event() {
        let mut chunk = Chunk::new();
        assert_eq!(chunk.problem(&[]), Some(RecordProblem::NoEvent));
        assert_eq!(Chunk::new().values(&[]).bad_records, 1);
    }
}
