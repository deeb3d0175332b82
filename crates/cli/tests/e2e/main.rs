//! The binary, end to end.

mod bench;
mod corpus;
mod hunt;
mod other;
mod query;
