//! The binary, end to end.

mod bench;
mod corpus;
mod fmt;
mod explain;
mod hunt;
mod other;
mod query;
