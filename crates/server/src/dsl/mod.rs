//! Elasticsearch's Query DSL, without HTTP: queries, sorting, what of a document is shown, aggregations.
//!
//! * [`Query`] is read from JSON and asked of one document at a time.
//! * [`Sort`] gives a document's place among others, [`SourceFilter`] and [`FieldsToShow`] what of it is shown.
//! * [`Aggregations`] takes documents in and gives buckets and numbers.
//!
//! There is no mapping: a field has the type that the catalogue of ECS gives it, or that of each value. There are no
//! scores either: a query says yes or no. What is not known is refused with the name of the unknown part.

mod aggs;
mod date;
mod error;
mod field;
mod leaf;
mod parse;
mod pattern;
mod query;
mod show;
mod sort;
#[cfg(test)]
mod tests;
mod words;

pub use aggs::{Aggregations, Collector, MAX_AGGREGATION_BYTES, MAX_BUCKETS, Memory};
pub use date::{Clock, DateFormat, Zone, iso_text};
pub use error::{DslError, DslErrorKind};
pub use field::{Document, Field, Kind, Seen, any_leaf, find, json};
pub(crate) use parse::{count, did_you_mean, flag};
pub use pattern::Pattern;
pub use query::Query;
pub use show::{FieldsToShow, SourceFilter};
pub use sort::{Key, Sort};

/// How deep queries and aggregations may be nested.
pub const MAX_DEPTH: usize = 30;

/// How many queries and terms a request may have.
pub const MAX_CLAUSES: usize = 65_536;
