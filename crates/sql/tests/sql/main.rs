//! Queries from outside: over segments and recent events, over files, and what must not happen.

mod common;
mod fields;
mod hostile;
mod names;
mod store;
