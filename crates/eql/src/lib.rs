//! EQL, the Event Query Language of Elasticsearch 9: text to a checked syntax tree, with messages that point at the
//! place.
//!
//! [`parse`] turns text into an [`ast::Query`]; [`check()`] looks at types and names. The crate knows nothing of rules,
//! events or storage.

pub mod ast;
