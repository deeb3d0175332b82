//! Why a file, or one entry of it, gave no rule.

use std::borrow::Cow;

use crate::load::Origin;
use crate::read::RuleError;

/// Longest part of a line an excerpt shows, in characters.
const EXCERPT_WIDTH: usize = 100;

/// Why a file, or one entry of it, gave no rule.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is larger than [`crate::MAX_FILE_SIZE`].
    #[error("the file is larger than the limit of {limit} bytes (MAX_FILE_SIZE)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The file is text in no known encoding.
    #[error("not valid {encoding} at byte {offset}")]
    Encoding {
        /// What it was taken for.
        encoding: Cow<'static, str>,
        /// The first bad byte.
        offset: usize,
    },
    /// The file is something else.
    #[error("not a rule: {0}")]
    NotARule(String),
    /// The format's own syntax is broken.
    #[error("{format} syntax: {message} at line {line}, column {column}\n{excerpt}")]
    Syntax {
        /// `TOML` or `JSON`.
        format: Cow<'static, str>,
        /// What is wrong.
        message: String,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The line with a caret under the fault.
        excerpt: String,
    },
    /// A field is missing or wrong.
    #[error("{error}{}", prefixed(.excerpt))]
    Rule {
        /// The faults.
        error: RuleError,
        /// The line of the first fault with a caret, where it is known.
        excerpt: Option<String>,
    },
    /// Two rules with one id.
    #[error("the rule id {rule_id} is already taken by {first}")]
    Duplicate {
        /// The id.
        rule_id: String,
        /// The rule that keeps it.
        first: Box<Origin>,
    },
    /// The zip is damaged or of an unknown kind.
    #[error("cannot read the zip: {0}")]
    Zip(String),
    /// The zip is beyond a limit.
    #[error("the zip has {what}, which is beyond the limit of {limit} ({name})")]
    ZipLimit {
        /// What there is too much of.
        what: String,
        /// The limit.
        limit: u64,
        /// The constant that holds it.
        name: Cow<'static, str>,
    },
}

fn prefixed(excerpt: &Option<String>) -> String {
    excerpt.as_ref().map(|text| format!("\n{text}")).unwrap_or_default()
}

impl From<RuleError> for LoadError {
    fn from(error: RuleError) -> LoadError {
        LoadError::Rule { error, excerpt: None }
    }
}

impl LoadError {
    /// A syntax error at a byte offset of `text`.
    pub(crate) fn syntax(format: &'static str, message: String, text: &str, offset: usize, first_line: usize) -> Self {
        let place = Place::of(text, offset);
        let line = place.line + first_line;
        LoadError::Syntax { format: format.into(), message, line, column: place.column, excerpt: place.excerpt(line) }
    }

    /// A rule error with the line its first fault stands on.
    pub(crate) fn rule_at(error: RuleError, text: &str, offset: usize) -> Self {
        let place = Place::of(text, offset);
        LoadError::Rule { error, excerpt: Some(place.excerpt(place.line + 1)) }
    }
}

/// A place in a text.
struct Place<'a> {
    /// Lines before it.
    line: usize,
    /// Its column in characters, from 1.
    column: usize,
    text: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, offset: usize) -> Place<'a> {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
        Place {
            line: text[..start].bytes().filter(|byte| *byte == b'\n').count(),
            column: text[start..offset].chars().count() + 1,
            text: text[start..end].trim_end_matches('\r'),
        }
    }

    fn excerpt(&self, line: usize) -> String {
        let before = (self.column - 1).min(EXCERPT_WIDTH / 2);
        let shown = self.text.chars().skip(self.column - 1 - before).take(EXCERPT_WIDTH).map(visible);
        let shown: String = shown.collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let gap = " ".repeat(before);
        format!("{margin} |\n{number} | {shown}\n{margin} | {gap}^")
    }
}

/// Keeps control and text-direction characters of a hostile file away from the terminal.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}
