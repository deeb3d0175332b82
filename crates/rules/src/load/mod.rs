//! Finding rules in files, folders and standard input.

use std::fmt;
use std::path::PathBuf;

use crate::rule::Rule;

/// Where a rule was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// The member of a zip.
    pub member: Option<String>,
    /// The line the rule begins on, from 1, in files that hold more than one.
    pub line: Option<usize>,
    /// Where the query's text begins in the file, in bytes, if it stands there letter by letter.
    pub query_offset: Option<usize>,
}

impl Origin {
    /// A whole file.
    pub fn file(path: impl Into<PathBuf>) -> Origin {
        Origin { path: path.into(), member: None, line: None, query_offset: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str() == "-" {
            f.write_str("<stdin>")?;
        } else {
            write!(f, "{}", self.path.display())?;
        }
        if let Some(member) = &self.member {
            write!(f, "!{member}")?;
        }
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// A rule and where it came from.
#[derive(Clone, Debug)]
pub struct LoadedRule {
    /// The rule.
    pub rule: Rule,
    /// Where it was read.
    pub origin: Origin,
    /// SHA-256 of the text it was read from, in hexadecimal.
    pub content_hash: String,
}
