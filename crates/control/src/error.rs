//! What can go wrong.

use thiserror::Error;

/// Why control data could not be read or changed.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The database.
    #[error("control database: {0}")]
    Database(#[from] rusqlite::Error),
    /// What stands in the database cannot be read: it was changed by something else.
    #[error("control database: {0}")]
    Damaged(String),
    /// A database that another version wrote.
    #[error("the control database has layout {found}, and this eqlipse knows up to {known}: use a newer eqlipse")]
    Version {
        /// Its layout.
        found: i64,
        /// The newest layout that is known.
        known: i64,
    },
    /// It is there already.
    #[error("{what}: {name:?} already exists")]
    Conflict {
        /// What sort of thing.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// It is not there.
    #[error("{what}: {name:?} not found")]
    NotFound {
        /// What sort of thing.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// It is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// The system gave no random bytes, or a password could not be hashed.
    #[error("{0}")]
    Crypto(String),
}

impl ControlError {
    /// Whether there is no room on the disk. Nothing was changed; it works again when there is.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}

impl From<serde_json::Error> for ControlError {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}
