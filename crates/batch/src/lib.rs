//! EventBatch: a few thousand security events as columns.
//!
//! A [`Schema`] says which fields become columns: those that some rule reads, and nothing else. A decoder walks a
//! document along the schema's [path tree](Schema::step) and pushes the values it meets into a [`BatchBuilder`]; the
//! finished [`EventBatch`] gives the matcher one dictionary-encoded, sparse [`Column`] a field.
//!
//! What is to be kept of a batch after it has gone are [`PackedColumns`].
//!
//! A column stores only the values that are there: `rows[i]` is the row that has value `codes[i]`, in row order. A
//! field with several values in an event has several entries for that row; a missing field has none.

mod builder;
mod column;
mod filler;
mod packed;
mod row;
mod schema;
mod value;

pub use builder::{BatchBuilder, coerce};
pub use column::{Column, EventBatch};
pub use filler::ColumnFiller;
pub use packed::{Codes, PackedColumn, PackedColumns};
pub use row::{Arrival, DocumentPart, DocumentPlace, OrderKey, RowMeta, RowSource};
pub use schema::{Field, FieldId, PathNode, Schema, SchemaBuilder};
pub use value::{RawValue, ValueRef, coerce_date, parse_address, parse_date};
