//! Parquet files of ECS documents: a column for each field, and the documents themselves beside them.
//!
//! What [`convert_to_parquet`] writes is read back column by column, without a look at the documents: each field's
//! column holds exactly what [`BatchBuilder::push`](eqlipse_batch::BatchBuilder::push) makes of the field's values, so
//! that pushing them again gives the same batch. Values that no column can hold stand in [`OTHER`]. The rest of an
//! event (its place in time, its identity, its index) stands in columns whose names begin with an underscore.
//!
//! The `parquet` crate writes and reads footers. Pages are written and read here: dictionary codes go from batches and into
//! them as they are, and what a damaged page may claim is bounded.

mod census;
mod column;
mod concat;
mod convert;
mod documents;
mod encode;
mod file;
mod group;
mod group_write;
mod layout;
mod page;
mod segment;
mod spool;
mod value;
mod write;

use std::io;

use thiserror::Error;

pub use concat::{SegmentContent, concat_segments};
pub use convert::convert_to_parquet;
pub(crate) use documents::{GroupDocuments, GroupRows};
pub(crate) use file::ParquetFile;
pub(crate) use group::{DROPPED, Group, GroupReader};
pub(crate) use layout::MAGIC;
pub use segment::{Segment, SegmentColumns, SegmentError, SegmentEvent, SegmentWriter, write_segment};
pub use write::Effort;

/// The most columns for fields. Values of further fields, those that fewest documents have, stand in `_other`.
pub const MAX_FIELD_COLUMNS: usize = 2_000;
/// The most rows of a row group.
pub const MAX_GROUP_ROWS: usize = 100_000;
/// A row group closes early when its documents take so many bytes.
pub const MAX_GROUP_BYTES: usize = 32 << 20;
/// The largest page that is read, in bytes once unpacked.
pub const MAX_PAGE_BYTES: usize = 256 << 20;
/// The most bytes that the columns of a row group become once they are unpacked.
pub const MAX_GROUP_UNPACKED: usize = 1 << 30;
/// The largest Parquet file that is read from standard input or from inside an archive or a compressed file, where it
/// must be held in memory.
pub const MAX_NESTED_PARQUET: u64 = 256 << 20;

/// What is wrong with a Parquet file.
#[derive(Debug, Error)]
pub(crate) enum ParquetError {
    /// The system's words.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The footer cannot be read.
    #[error("damaged Parquet file: {0}")]
    Footer(String),
    /// Another tool's file.
    #[error(
        "a Parquet file that eqlipse did not write: make NDJSON of it first, as with \
         duckdb -c \"COPY (FROM 'x.parquet') TO 'x.ndjson'\""
    )]
    Foreign,
    /// A later version's file.
    #[error("a Parquet file of a newer eqlipse (layout {0}); this one reads layout {version}", version = layout::VERSION)]
    Version(String),
    /// A column cannot be read.
    #[error("damaged column {column}: {damage}")]
    Column {
        /// Its name.
        column: String,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What is wrong with a column chunk.
#[derive(Debug, Error)]
pub(crate) enum Damage {
    #[error("it does not lie within the file")]
    Place,
    #[error("it is not there")]
    Missing,
    #[error("a page header that cannot be read")]
    Header,
    #[error("a page of more than {MAX_PAGE_BYTES} bytes")]
    TooLong,
    #[error("the row group unpacks to more than {MAX_GROUP_UNPACKED} bytes")]
    Budget,
    #[error("a page that ends early")]
    Cut,
    #[error("a page that cannot be unpacked: {0}")]
    Packed(io::Error),
    #[error("a page in an encoding that eqlipse does not write")]
    Encoding,
    #[error("a code without an entry in the dictionary")]
    Code,
    #[error("text that is not UTF-8")]
    Text,
    #[error("it has not as many rows as its row group")]
    Rows,
    #[error("{0}")]
    Read(#[from] io::Error),
}
