//! What can go wrong.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::index_name::InvalidIndexName;

/// Why the store as a whole cannot do something.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The catalogue of segments.
    #[error("catalogue of segments: {0}")]
    Catalogue(#[from] rusqlite::Error),
    /// A segment that cannot be read.
    #[error("segment {path}: {reason}")]
    Segment {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The object store in which segments are kept.
    #[error("{place}: {reason}")]
    Objects {
        /// Which one, or which object.
        place: String,
        /// What it says, or what is wrong.
        reason: String,
    },
    /// The object store answers, and has it not.
    #[error("{object}: there is no such object")]
    Gone {
        /// Which one.
        object: String,
    },
    /// Another process has the folder open.
    #[error("{0}: another eqlipse has this data folder open")]
    Locked(PathBuf),
    /// The rules were compiled without what the reader needs.
    #[error("internal error, please report it: {0}")]
    Rules(String),
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

/// Why a document was not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// It is no event.
    #[error("{0}")]
    NotAnEvent(String),
    /// An event with this id is there already.
    #[error("[{id}]: version conflict, document already exists")]
    Conflict {
        /// The id.
        id: String,
    },
    /// An event with this id is on its way in, and may still fail: it can be sent again.
    #[error("[{id}]: an event with this id is under way; try again later")]
    UnderWay {
        /// The id.
        id: String,
    },
    /// It would begin a data stream, and there are as many as may be.
    #[error("[{index}] would be a further data stream: there are {limit} already (store.max_data_streams)")]
    TooManyStreams {
        /// Its index.
        index: String,
        /// The most that may be.
        limit: usize,
    },
    /// It is longer than the store takes.
    #[error("document of {bytes} bytes is longer than the limit of {limit} bytes (max_document_bytes)")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No index can have the name of its index.
    #[error(transparent)]
    IndexName(#[from] InvalidIndexName),
}

/// Why nothing of a request was taken. It can be sent again.
#[derive(Clone, Debug, Error)]
pub enum IngestError {
    /// More is under way than memory allows.
    #[error("too many events are under way (max_memory); try again later")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The log could not be written: most often, no space is left.
    #[error("events cannot be written: {0}")]
    Log(String),
    /// The store is being closed.
    #[error("the service is stopping")]
    Closed,
}
