//! Options that several commands have, with the same meaning.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::size::parse_size;

/// Which events are looked at, by their time.
#[derive(Debug, Args)]
pub struct TimeSpan {
    /// Only events at or after this time: '2024-03-01', '2024-03-01T12:00:00Z' or date math such as 'now-7d'
    #[arg(long, value_name = "TIME", help_heading = "Events", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Only events at or before this time; a date without a time of day means its last moment
    #[arg(long, value_name = "TIME", help_heading = "Events", allow_hyphen_values = true)]
    pub to: Option<String>,
}

/// Where the results go.
#[derive(Debug, Args)]
pub struct OutputFile {
    /// Write to this file in place of standard output; it is replaced only when the whole is written
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    output: Option<PathBuf>,
}

impl OutputFile {
    /// The file, unless they go to standard output.
    pub fn path(&self) -> Option<&Path> {
        self.output.as_deref()
    }
}

/// What is shown to people, and how.
#[derive(Debug, Args)]
pub struct Screen {
    /// Width of the table in columns, 0 for no limit [default: that of the terminal, else no limit]
    #[arg(long, value_name = "COLUMNS", help_heading = "Output")]
    pub width: Option<u16>,
    /// Say nothing on standard error but errors
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Show no progress bar
    #[arg(long, help_heading = "Output")]
    no_progress: bool,
}

impl Screen {
    /// Whether to show how far the work is.
    pub fn has_bar(&self) -> bool {
        !self.no_progress && !self.quiet
    }
}

/// What finding sequences may take.
#[derive(Debug, Args)]
pub struct Effort {
    /// Number of threads [default: one per core]; the result does not depend on it
    #[arg(short, long, value_name = "N", help_heading = "Run", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Memory for matched events that wait for the rest of a sequence; what is beyond it goes to a temporary file
    /// [default: 64M]; the result does not depend on it
    #[arg(long, value_name = "SIZE", help_heading = "Run", value_parser = parse_size)]
    pub memory_limit: Option<usize>,
}
