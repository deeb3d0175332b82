//! Windows event logs (EVTX): files in 64 KiB chunks, each decoded on its own, on any thread, to [`RawEvent`]s.
//!
//! The binary XML of a record is read straight into the event: templates are compiled once a chunk, values are
//! formatted only where the event keeps them, and no XML or JSON text is built in between.

mod binxml;
mod builder;
mod chunk;
mod file;
mod raw;
mod template;
mod value;

pub use chunk::{
    ChunkDamage, ChunkDecoder, ChunkReport, MAX_CHUNK_WORK, Record, RecordError, RecordPosition, RecordProblem,
    decode_chunk,
};
pub use file::{CHUNK_SIZE, FILE_HEADER_SIZE, FileHeader, HeaderError, chunk_count, first_chunk_offset};
pub use raw::{EVENT_DATA, Pair, RawEvent, Rendering, USER_DATA};
pub use template::{MAX_DEPTH, MAX_FIELDS, MAX_NESTED_STREAMS, MAX_RECORD_WORK};
