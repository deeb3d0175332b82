//! What a reader makes of one file.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::load::{LoadError, SkipReason};
use crate::read::hex;
use crate::rule::Rule;

/// One entry of a file.
pub(crate) struct Found {
    /// Line the entry begins on, from 1, where a file may hold several.
    pub line: Option<usize>,
    /// Where the query stands in the file.
    pub query_offset: Option<usize>,
    /// SHA-256 of the entry's text.
    pub content_hash: String,
    /// The entry.
    pub entry: Result<Entry, LoadError>,
}

/// What an entry is.
pub(crate) enum Entry {
    /// A rule.
    Rule(Box<Rule>),
    /// A rule out of a prebuilt package, where only the newest version of each counts.
    Asset(Box<Rule>),
    /// Something known that is no rule.
    Skipped(SkipReason),
    /// The last line of an export, with the number of rules it should hold.
    Summary {
        /// `exported_rules_count`, if present.
        rules: Option<u64>,
    },
}

impl Found {
    pub fn new(text: &[u8], entry: Result<Entry, LoadError>) -> Found {
        Found { line: None, query_offset: None, content_hash: content_hash(text), entry }
    }

    pub fn at_line(mut self, line: usize) -> Found {
        self.line = Some(line);
        self
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn content_hash(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

/// Reads a rule from its JSON form.
pub(crate) fn rule(map: Map<String, Value>) -> Result<Entry, LoadError> {
    Ok(Entry::Rule(Box::new(Rule::from_json(map)?)))
}
