//! The options of `eqlipse sql`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ConfigSource, OutputFile, QueryFormat, Screen};
use crate::size::parse_size;

/// Run an SQL query over stored events or log files
///
/// Without paths, the events of the data folder. Each data stream is a table, an index pattern too ("logs-*"), and
/// 'events' is everything. Columns are fields (process.name, @timestamp) and _index, _id, _source.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct SqlArgs {
    /// The query; '@FILE' reads it from a file, '-' from standard input
    #[arg(value_name = "QUERY")]
    pub query: String,
    /// Data folders, or files, folders and globs of logs: Parquet files of 'convert' and of a store are read as they
    /// are, all others are converted first [default: the data folder]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub config: ConfigSource,

    /// How to write the rows [default: table on a terminal, ndjson otherwise]
    #[arg(short, long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<QueryFormat>,
    /// At most this many rows; what is cut off is said [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub size: Option<usize>,
    #[command(flatten)]
    pub output: OutputFile,
    #[command(flatten)]
    pub screen: Screen,

    /// Number of threads [default: one per core]
    #[arg(short, long, value_name = "N", help_heading = "Run", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Memory for sorting, grouping and joining; where that can, it goes on in temporary files beyond [default: 1G]
    #[arg(long, value_name = "SIZE", help_heading = "Run", value_parser = parse_size)]
    pub memory_limit: Option<usize>,
}

const AFTER_HELP: &str = "\
Examples:
  eqlipse sql 'SELECT process.name, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 10'
      the data folder of the service
  eqlipse sql 'SELECT @timestamp, host.name, process.command_line FROM events
      WHERE event.type = $$start$$ AND process.name ILIKE $$%powershell%$$' logs/ --format csv
      log files
  eqlipse sql 'SELECT _source FROM \"logs-*\" WHERE @timestamp > now() - INTERVAL $$1 day$$' --data /var/lib/eqlipse
      a data folder, and the documents
  eqlipse sql 'DESCRIBE events' events.parquet
      which columns there are; SHOW TABLES says which tables
  eqlipse sql @daily.sql

Texts stand in single quotes or between $$ and $$. Names with other characters than letters, digits, '_' and '.' stand
in double quotes. A field of which some event has several values is a list: comparisons with it are true if one of the
values passes, unnest(event.type) gives each value a row, and event.type[1] is the first.

Formats: table is for reading. json is one object with columns and rows. ndjson has one row a line, without what is
null. csv has one row a line.

Exit codes:
  0  done, rows or not
  1  nothing could be read, the query took too much memory, or the output could not be written
  2  the query or the command line is wrong
  130  interrupted with Ctrl-C";
