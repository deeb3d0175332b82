//! Finding rules in files, folders and standard input.

mod archive;
mod error;
mod format;
mod found;
mod json;
mod loader;
mod markdown;
mod snapshot;
mod toml;

use std::fmt;
use std::path::{Path, PathBuf};

pub use archive::{MAX_ZIP_MEMBER_SIZE, MAX_ZIP_MEMBERS, MAX_ZIP_RATIO, MAX_ZIP_TOTAL_SIZE};
pub use error::LoadError;
pub use loader::{load, load_bytes, load_with_stdin};
pub use snapshot::Snapshot;

use crate::rule::Rule;

/// Largest file that is read, in bytes.
pub const MAX_FILE_SIZE: u64 = 256 << 20;

/// How much of a file is looked at to tell text from anything else.
pub(crate) const SNIFF_SIZE: usize = 8192;

/// Where to look for rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOrStdin {
    /// A file or a folder.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl<T: Into<PathBuf>> From<T> for PathOrStdin {
    /// `-` is standard input.
    fn from(path: T) -> PathOrStdin {
        let path = path.into();
        if path.as_os_str() == "-" { PathOrStdin::Stdin } else { PathOrStdin::Path(path) }
    }
}

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

/// What loading gave.
#[derive(Debug, Default)]
pub struct RuleLoad {
    /// The rules, in the order of the paths, files of a folder by name, entries of a file as they stand.
    pub rules: Vec<LoadedRule>,
    /// What should have been a rule and is not.
    pub failures: Vec<RuleFailure>,
    /// What was put right or is not used.
    pub warnings: Vec<RuleWarning>,
    /// What is known not to be a rule.
    pub skipped: Vec<Skipped>,
}

/// Something that should have been a rule and is not.
#[derive(Debug)]
pub struct RuleFailure {
    /// Where.
    pub origin: Origin,
    /// Why.
    pub error: LoadError,
}

impl fmt::Display for RuleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.error)
    }
}

/// Something worth knowing about a load that went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleWarning {
    /// Where it was first met.
    pub origin: Origin,
    /// What it is.
    pub message: String,
}

impl fmt::Display for RuleWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where.
    pub origin: Origin,
    /// Why.
    pub reason: SkipReason,
}

/// Why something was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// A file or folder whose name begins with a dot, inside a folder.
    Hidden,
    /// A file inside a folder or a zip that is something else.
    NotARule(String),
    /// A link to a folder, or something that is no regular file, inside a folder.
    NotAFile,
    /// A file that was already read.
    SameFile,
    /// The same rule was already read elsewhere.
    SameRule(Box<Origin>),
    /// An older version of a prebuilt rule.
    Superseded,
    /// A prebuilt rule that was withdrawn.
    DeprecatedStub,
    /// An exception list.
    ExceptionList,
    /// An item of an exception list.
    ExceptionItem,
    /// A connector.
    Connector,
    /// Another Kibana object, with its type.
    SavedObject(String),
    /// The summary that ends an export.
    ExportSummary,
    /// Unit tests of a rule, `NAME.test.toml`.
    RuleTests,
}

/// Whether a file holds unit tests of a rule, by its name: `NAME.test.toml`.
pub fn is_test_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".test.toml"))
}
