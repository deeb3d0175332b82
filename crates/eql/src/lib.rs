//! EQL, the Event Query Language of Elasticsearch 9: text to a checked syntax tree, with messages that point at the
//! place.
//!
//! [`parse`] turns text into an [`ast::Query`]; [`check()`] looks at types and names. The crate knows nothing of rules,
//! events or storage.

pub mod ast;
pub mod check;
pub mod diagnostic;
pub mod function;
pub mod limits;
pub mod visit;

mod lexer;
mod nearest;
mod parser;
mod print;
mod spans;

pub use check::{Catalogue, FieldTypes, check, check_expression};
pub use diagnostic::{Diagnostic, Label, Severity};
pub use parser::{parse, parse_expression};
