//! What can go wrong with a query.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a query has no answer, or none any more.
#[derive(Debug, Error)]
pub enum SqlError {
    /// The text is not SQL, or not of the kind that is taken. `line` and `column` count from 1.
    #[error("line {line}:{column}: {message}")]
    At {
        /// The line of the fault.
        line: u64,
        /// Its column there.
        column: u64,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The query cannot be run as it is: a name that is not there, types that do not fit together.
    #[error("{0}")]
    Query(String),
    /// It took too long.
    #[error("the query took longer than {} ms ({setting}): ask for a shorter time range or fewer columns", limit.as_millis())]
    Time {
        /// How long it may take.
        limit: Duration,
        /// What sets the limit.
        setting: &'static str,
    },
    /// It needed too much memory, by itself or with the others that ran.
    #[error("there is not enough memory for the query, of {limit} bytes ({setting}): {reason}")]
    Memory {
        /// How many bytes all queries may take.
        limit: usize,
        /// What sets the limit.
        setting: &'static str,
        /// Who asked for more.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The events of the store cannot be read.
    #[error("recent events cannot be read: {0}")]
    Recent(String),
    /// A fault of ours, or a result that is too large for its type.
    #[error("the query failed: {0}")]
    Failed(String),
}

impl SqlError {
    /// Whether the query is to blame, and not what it was to read.
    pub fn is_query(&self) -> bool {
        matches!(self, Self::At { .. } | Self::Query(_))
    }
}
