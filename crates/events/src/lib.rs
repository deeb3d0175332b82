//! Event sources: files and streams in, columnar batches of ECS events out.
//!
//! [`discover`] finds the inputs; [`read`] unpacks, decodes and normalises them on all cores and hands batches to a
//! closure per thread; [`convert`] writes them as ECS documents instead. Formats are told by content: Windows event logs
//! ([`evtx`], normalised by [`winlog`]), and JSON documents in all the shapes that Elastic's tools write ([`json`]), in
//! gzip, zstd, xz, zip and tar.

mod again;
mod container;
mod convert;
mod decoded;
pub mod document;
pub mod evtx;
mod format;
mod inputs;
mod intake;
pub mod json;
mod pages;
mod parquet;
mod pipeline;
mod reserved;
mod stamp;
pub mod winlog;

pub use again::{AgainError, DocumentReader};
pub use container::{
    FREE_EXPANSION, MAX_LAYERS, MAX_MEMBERS, MAX_NESTED_ZIP, MAX_RATIO, MAX_XZ_MEMORY, MAX_ZSTD_WINDOW_LOG,
};
pub use convert::{ConvertError, convert, convert_hits};
pub use decoded::{DecodedPart, DecodedRows};
pub use inputs::{DiscoverOptions, Discovery, Fetch, InputProblem, Memory, STDIN, Source, discover};
pub use intake::{Identity, IncomingEvent, Intake, IntakeError};
pub use pages::{DocumentPage, page_compressor, put_document, take_document};
pub use parquet::{
    Effort, MAX_FIELD_COLUMNS, MAX_GROUP_BYTES, MAX_GROUP_ROWS, MAX_GROUP_UNPACKED, MAX_NESTED_PARQUET, MAX_PAGE_BYTES,
    Segment, SegmentColumns, SegmentContent, SegmentError, SegmentEvent, SegmentWriter, concat_segments,
    convert_to_parquet, write_segment,
};
pub use pipeline::{
    DEFAULT_BATCH_ROWS, Given, Input, MAX_BATCH_BYTES, MAX_DOCUMENT_BYTES, MAX_LISTED, OrderBy, Progress, ReadError,
    ReadOptions, ReadReport, SkippedRecord, UNIT_BYTES, Window, read,
};
pub use reserved::{INDEX_FIELD, reserve};
pub use stamp::{ArrivalTime, INGESTED_FIELD};
