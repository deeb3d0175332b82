//! The binary, end to end.

mod bench;
mod cache;
mod corpus;
mod explain;
mod fmt;
mod hunt;
mod other;
mod query;
mod readiness;
mod rule_tests;
mod sql;
