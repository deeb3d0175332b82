//! SQL over events, with DataFusion: over a store's segments and recent events, or over Parquet files.
//!
//! ```text
//! text ──[`parse`]──> statement ──[`catalog`]──> tables ──> plan ──[`any_value`]──> DataFusion ──[`value`]──> rows
//!         limits, names      data streams, patterns         lists                `field`: columns of each file
//! ```
//!
//! A table has the columns of all its files: `kind` says what becomes of a field that has another type in another
//! file, and `field` reads it so. Files are told by their footers, which are remembered (`source`); recent events
//! are written to files in memory first. Nothing but these files can be read, and nothing written.

mod any_value;
mod catalog;
mod error;
mod field;
mod file;
mod kind;
mod parse;
mod run;
mod source;
mod table;
mod value;

pub use error::SqlError;
pub use parse::{MAX_SQL_BYTES, MAX_SQL_DEPTH, MAX_SQL_TABLES};
pub use run::{SqlEngine, SqlLimits, SqlOptions, SqlPart, SqlRun};
pub use source::Events;
pub use value::{SqlColumn, member_names};
