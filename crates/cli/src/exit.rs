//! How a run ends: exit codes and the errors that stop it.

use std::io;
use std::path::{Path, PathBuf};

use crate::date::DateError;

/// The exit codes that `--help` documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The run failed.
    Failed = 1,
    /// The command line is wrong, or `--strict` and something was skipped.
    Usage = 2,
    /// An alert as severe as `--fail-on`.
    Alert = 3,
    /// Interrupted.
    Interrupted = 130,
}

/// What stops a run.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An option's value that only shows to be wrong when it is used.
    #[error("invalid value for '{option}': {error}")]
    Time {
        /// The option.
        option: &'static str,
        /// What is wrong.
        error: DateError,
    },
    /// A wrong combination of options.
    #[error("{0}")]
    Usage(String),
    /// No rule could be loaded.
    #[error("no rule could be loaded from {0}")]
    NoRules(String),
    /// No rule is left.
    #[error("none of the {0} loaded rules is selected by --include, --exclude and --min-severity")]
    NoneSelected(usize),
    /// No rule matches.
    #[error("no rule has the id or name '{0}'")]
    NoSuchRule(String),
    /// The run could not be done.
    #[error("{0}")]
    Run(String),
    /// Nothing could be read.
    #[error("nothing could be read: {0}")]
    NothingRead(String),
    /// The output could not be written.
    #[error("cannot write {}: {error}", target.display())]
    Write {
        /// Where to.
        target: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Whoever read the output stopped reading.
    #[error("the output was closed")]
    Closed,
}

impl CliError {
    /// An error of writing to `target`.
    pub fn write(target: &Path, error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::Closed,
            _ => CliError::Write { target: target.to_owned(), error },
        }
    }

    /// The exit code it gives.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Time { .. } | CliError::Usage(_) => Exit::Usage,
            CliError::Closed => Exit::Done,
            _ => Exit::Failed,
        }
    }
}
