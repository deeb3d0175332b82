//! A small writer of Windows event logs (EVTX), so that tests and examples need no recorded log.
//!
//! It writes what Windows writes, on a small scale: a file header, 64 KiB chunks with their tables of names and
//! templates, and records of BinXML in which each shape of event is a template that is defined once per chunk. The same
//! events always give the same bytes.
//!
//! ```
//! use eqlipse_testkit::evtx_writer::{EvtxEvent, Payload, Value, write_evtx};
//!
//! let event = EvtxEvent {
//!     provider: "Service Control Manager".into(),
//!     channel: "System".into(),
//!     computer: "srv.example.test".into(),
//!     event_id: 7036,
//!     record_id: 1,
//!     time: "2026-03-03T08:00:00Z".parse().unwrap(),
//!     payload: Payload::EventData(vec![("param1".into(), Value::Text("Spooler".into()))]),
//!     ..EvtxEvent::default()
//! };
//! assert!(write_evtx(&[event]).unwrap().starts_with(b"ElfFile\0"));
//! ```

mod binxml;
mod chunk;
mod value;

use jiff::Timestamp;

use chunk::ChunkWriter;
pub use value::{Guid, ParseValueError, Sid, Value};

/// Size of the file header block; the first chunk starts here.
pub const FILE_HEADER_SIZE: usize = 4096;
/// Size of every chunk. A record never spans two chunks, so it is also above the largest record.
pub const CHUNK_SIZE: usize = 65536;
/// Size of a chunk's header; its first record starts here.
pub const CHUNK_HEADER_SIZE: usize = 512;
/// The most bytes that one value may take: its size is stored in 16 bits.
pub const MAX_VALUE_SIZE: usize = u16::MAX as usize;
/// The most chunks in a file: their number is stored in 16 bits.
pub const MAX_CHUNKS: usize = u16::MAX as usize;

/// One event: the `System` part of its XML, and its payload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvtxEvent {
    /// `Provider Name`
    pub provider: String,
    /// `Provider Guid`
    pub provider_guid: Option<Guid>,
    /// `Channel`
    pub channel: String,
    /// `Computer`
    pub computer: String,
    /// `EventID`
    pub event_id: u16,
    /// `EventID Qualifiers`, which classic event sources have
    pub qualifiers: Option<u16>,
    /// `Version`
    pub version: u8,
    /// `Level`
    pub level: u8,
    /// `Task`
    pub task: u16,
    /// `Opcode`
    pub opcode: u8,
    /// `Keywords`
    pub keywords: u64,
    /// `EventRecordID`, also the record's number in its chunk
    pub record_id: u64,
    /// `TimeCreated SystemTime`, kept to 100 ns
    pub time: Timestamp,
    /// `Correlation ActivityID`
    pub activity_id: Option<Guid>,
    /// `Execution ProcessID`
    pub process_id: u32,
    /// `Execution ThreadID`
    pub thread_id: u32,
    /// `Security UserID`
    pub user_sid: Option<Sid>,
    /// What follows `System`
    pub payload: Payload,
}

/// What follows the `System` element.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Payload {
    /// Nothing.
    #[default]
    None,
    /// `<EventData>` of `<Data Name="…">`; an empty name writes a `<Data>` without the attribute.
    EventData(Vec<(String, Value)>),
    /// `<UserData>` with one element of this name and namespace, which holds one element for each field.
    UserData {
        /// Name of the element inside `UserData`.
        element: String,
        /// Its `xmlns`.
        namespace: String,
        /// Its children.
        fields: Vec<(String, Value)>,
    },
}

/// Why a log cannot be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvtxWriteError {
    /// The record with its templates does not fit an empty chunk.
    #[error("record {record_id} needs {size} bytes, more than a chunk holds ({CHUNK_SIZE} with its header)")]
    RecordTooLarge {
        /// The record's number.
        record_id: u64,
        /// The bytes it needs.
        size: usize,
    },
    /// A value is longer than its 16-bit size can say.
    #[error("record {record_id}: {field} takes {size} bytes, more than MAX_VALUE_SIZE ({MAX_VALUE_SIZE})")]
    ValueTooLong {
        /// The record's number.
        record_id: u64,
        /// The field's name.
        field: String,
        /// The bytes it takes.
        size: usize,
    },
    /// An element name is not a plain XML name.
    #[error("record {record_id}: {name:?} is not an XML element name")]
    InvalidElementName {
        /// The record's number.
        record_id: u64,
        /// The name.
        name: String,
    },
    /// The time lies before 1601, where FILETIME starts.
    #[error("record {record_id}: {time} is before 1601, which FILETIME cannot hold")]
    TimeOutOfRange {
        /// The record's number.
        record_id: u64,
        /// The time.
        time: Timestamp,
    },
    /// More chunks than the file header can count.
    #[error("{chunks} chunks, more than MAX_CHUNKS ({MAX_CHUNKS})")]
    TooManyChunks {
        /// The chunks needed.
        chunks: usize,
    },
}

/// Writes the events, in this order, as one EVTX file.
pub fn write_evtx(events: &[EvtxEvent]) -> Result<Vec<u8>, EvtxWriteError> {
    let mut chunks = Vec::new();
    let mut chunk = ChunkWriter::new();
    for event in events {
        if !chunk.try_push(event)? {
            chunks.push(std::mem::replace(&mut chunk, ChunkWriter::new()).finish());
            if !chunk.try_push(event)? {
                return Err(EvtxWriteError::RecordTooLarge { record_id: event.record_id, size: chunk.rejected_size() });
            }
        }
    }
    chunks.push(chunk.finish());
    if chunks.len() > MAX_CHUNKS {
        return Err(EvtxWriteError::TooManyChunks { chunks: chunks.len() });
    }
    let mut file = file_header(chunks.len() as u16, events.last().map_or(1, |e| e.record_id.wrapping_add(1)));
    chunks.iter().for_each(|chunk| file.extend_from_slice(chunk));
    Ok(file)
}

/// The file header block. Its checksum covers the first 120 bytes.
fn file_header(chunks: u16, next_record_id: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(FILE_HEADER_SIZE);
    header.extend_from_slice(b"ElfFile\0");
    header.extend_from_slice(&0u64.to_le_bytes());
    header.extend_from_slice(&u64::from(chunks - 1).to_le_bytes());
    header.extend_from_slice(&next_record_id.to_le_bytes());
    header.extend_from_slice(&128u32.to_le_bytes());
    header.extend_from_slice(&1u16.to_le_bytes());
    header.extend_from_slice(&3u16.to_le_bytes());
    header.extend_from_slice(&(FILE_HEADER_SIZE as u16).to_le_bytes());
    header.extend_from_slice(&chunks.to_le_bytes());
    header.resize(124, 0);
    let checksum = crc32fast::hash(&header[..120]);
    header.extend_from_slice(&checksum.to_le_bytes());
    header.resize(FILE_HEADER_SIZE, 0);
    header
}
