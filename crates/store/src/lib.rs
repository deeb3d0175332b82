//! The event store of the service: what came in is on disk before its sender is told so, matched once, and found again.
//!
//! ```text
//!             decode, match        fsync, then             beyond a size or an age
//! documents ───────────────> log ───────────────> recent ─────────────────────────> segments
//!            [`Store::ingest`]  [`log`]            chunks    [`mod@flush`]            Parquet, one a data stream
//! ```
//!
//! * An event's **sequence number** is its place among all events that ever came in.
//! * A [`Part`] is a stretch of events that rules and queries look at as one: a recent chunk or a segment. Beside the
//!   events it has the match lists: which rows passed which stage of which rule.
//! * A [`Snapshot`] is all parts at one moment. It stays as it is while events come in and segments are written.
//! * A [`StoreView`] is a snapshot that another process takes, of a store that is in use or not.
//!
//! What was acknowledged survives a killed process: it is in the log until it is in a segment that the catalogue names.

mod catalogue;
mod chunk;
mod damage;
mod direct;
mod error;
mod files;
mod flush;
mod frame;
mod ids;
mod index_name;
mod intake;
mod log;
mod matching;
mod objects;
mod part;
mod queue;
mod readers;
mod record;
mod replay;
mod rows;
mod segment;
mod snapshot;
mod store;
mod streams;
mod sync;
mod tickets;
mod upload;
mod view;

pub use error::{IngestError, Refused, StoreError};
pub use ids::EventId;
pub use index_name::{InvalidIndexName, check_index_name};
pub use matching::StoreRules;
pub use objects::{ObjectPlace, S3Options, SegmentPlace};
pub use part::{Arrivals, Part, PartReader, SegmentFile, Sequences, TimeRange};
pub use snapshot::{Snapshot, StreamSize};
pub use store::{CheckReport, NewDocument, ObjectStats, RecoveryReport, Store, StoreOptions, StoreStats, Stored};
pub use view::StoreView;
