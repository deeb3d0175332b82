//! EQL, the Event Query Language of Elasticsearch 9: text to a checked syntax tree, with messages that point at the
//! place.
//!
//! [`parse`] turns text into an [`ast::Query`], [`parse_with`] also text with extensions; [`check()`] looks at types
//! and names. The crate knows nothing of rules, events or storage.
//!
//! ```
//! let source = r#"process where process.name : "*.scr" and process.pid == 4"#;
//! let query = eqlipse_eql::parse(source).expect("the query is well formed");
//! assert!(eqlipse_eql::check(&query, &eqlipse_eql::Catalogue).is_empty());
//! assert_eq!(query.to_string(), source);
//!
//! let errors = eqlipse_eql::parse("process where wildcrd(process.name, \"*.scr\")").unwrap_err();
//! assert_eq!(errors[0].help.as_deref(), Some("did you mean `wildcard`?"));
//! println!("{}", errors[0].render("process where …", "my rule", false));
//! ```

pub mod ast;
pub mod check;
pub mod diagnostic;
pub mod format;
pub mod function;
pub mod limits;
pub mod visit;

mod lexer;
mod nearest;
mod parser;
mod print;
mod spans;

pub use ast::Dialect;
pub use check::{Catalogue, FieldTypes, check, check_expression};
pub use diagnostic::{Diagnostic, Label, Severity};
pub use format::{FormatError, format, format_with};
pub use parser::{parse, parse_expression, parse_with};
