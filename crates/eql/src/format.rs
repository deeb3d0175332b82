//! The formatter: a query's text in one layout, with its comments.
//!
//! It works on tokens, not on the syntax tree: what it writes are the author's own tokens in their own order, so that
//! operators, parentheses and the style of strings stay, and only white space changes. The layout follows from the
//! tokens, the comments and the author's blank lines alone; how the lines were broken before does not count. A result
//! that does not have the same tokens and as many comments is never given out.
//!
//! ```
//! let source = "process where event.type==\"start\" and // by name\nprocess.name:(\"a.exe\",\"b.exe\")";
//! let formatted = eqlipse_eql::format(source).expect("the query is well formed");
//! assert_eq!(
//!     formatted,
//!     "process where event.type == \"start\" and // by name\n  process.name : (\"a.exe\", \"b.exe\")"
//! );
//! ```

mod lexemes;
mod print;
mod tree;

use std::fmt;

use crate::ast::Dialect;
use crate::diagnostic::Diagnostic;
use crate::lexer::{TokenKind, gap, lex};
use crate::limits::MAX_QUERY_BYTES;

/// The columns that a line may have, where what it holds can be broken at all.
pub const WIDTH: usize = 110;

/// The widest entry of a list that is filled line by line; lists with a wider one have a line for each entry.
pub const FILL_WIDTH: usize = 40;

/// Why a query was not formatted.
#[derive(Debug)]
pub enum FormatError {
    /// It is not well formed: every fault, in the order of the text.
    Syntax(Vec<Diagnostic>),
    /// The result would be longer than [`MAX_QUERY_BYTES`]: what is deeply nested takes room to indent.
    TooLong,
    /// The result would not have been the same query. A defect of the formatter.
    Changed,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(diagnostics) => match diagnostics.first() {
                Some(first) => write!(f, "the query is not well formed: {}", first.message),
                None => f.write_str("the query is not well formed"),
            },
            Self::TooLong => write!(f, "the formatted query would have more than {MAX_QUERY_BYTES} bytes"),
            Self::Changed => f.write_str("formatting would change the query, which is a defect of the formatter"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Formats a query of Elastic's dialect. The result has no line break at its end.
///
/// # Errors
///
/// If the query is not well formed, or its formatted text too long.
pub fn format(source: &str) -> Result<String, FormatError> {
    format_with(source, Dialect::Elastic)
}

/// Formats a query of a dialect, as [`format()`] does.
///
/// # Errors
///
/// If the query is not well formed, or its formatted text too long.
pub fn format_with(source: &str, dialect: Dialect) -> Result<String, FormatError> {
    crate::parse_with(source, dialect).map_err(FormatError::Syntax)?;
    let formatted = tree::build(lexemes::read(source)).map(|tree| print::print(&tree)).ok_or(FormatError::Changed)?;
    if formatted.len() > MAX_QUERY_BYTES {
        return Err(FormatError::TooLong);
    }
    if contents(source) == contents(&formatted) { Ok(formatted) } else { Err(FormatError::Changed) }
}

/// The tokens, and the comments sorted: in a few places a comment moves past another.
fn contents(source: &str) -> (Vec<(TokenKind, &str)>, Vec<&str>) {
    let tokens = lex(source).tokens;
    let mut comments = Vec::new();
    let mut end = 0;
    for token in &tokens {
        let found = gap(source, end, token.span.start).comments.into_iter();
        comments.extend(found.map(|comment| &source[comment.span.start as usize..comment.span.end as usize]));
        end = token.span.end;
    }
    comments.sort_unstable();
    let text = |span: crate::ast::Span| &source[span.start as usize..span.end as usize];
    (tokens.iter().map(|token| (token.kind, text(token.span))).collect(), comments)
}

/// The comments of a query, in order, with their marks.
#[must_use]
pub fn comments(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut end = 0;
    for token in lex(source).tokens {
        found.extend(gap(source, end, token.span.start).comments);
        end = token.span.end;
    }
    found.iter().map(|comment| &source[comment.span.start as usize..comment.span.end as usize]).collect()
}

#[cfg(test)]
mod tests;
