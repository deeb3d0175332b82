//! The options of `eqlipse query`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{Effort, OrderBy, OutputFile, Screen, TimeSpan};

/// The most samples of one key that can be asked for.
pub const MAX_SAMPLES_PER_KEY: i64 = 10_000;

/// Run one query over log files
///
/// Reads what 'hunt' reads and shows what the query finds: events, sequences or samples. Options have the names and
/// defaults of Elasticsearch's EQL search.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct QueryArgs {
    /// The query; '@FILE' reads it from a file, '-' from standard input
    #[arg(value_name = "QUERY")]
    pub query: String,
    /// Files, folders and globs to read; of the data folder of a service, its events, while it runs or not; '-' is standard
    /// input, as is nothing when it is not a terminal
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// The language of the query
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value_t = Language::Eql, help_heading = "Query")]
    pub lang: Language,
    /// What the query may contain
    #[arg(long, value_enum, value_name = "DIALECT", default_value_t = Dialect::Extended, help_heading = "Query")]
    pub dialect: Dialect,
    /// The field that holds the category of an event
    #[arg(long, value_name = "FIELD", default_value = "event.category", help_heading = "Query")]
    pub event_category_field: String,
    /// The field that orders events; '@timestamp' is the events' own order, see --order-by
    #[arg(long, value_name = "FIELD", default_value = "@timestamp", help_heading = "Query")]
    pub timestamp_field: String,
    /// The field that orders events of the same time [default: the events' own order]
    #[arg(long, value_name = "FIELD", help_heading = "Query")]
    pub tiebreaker_field: Option<String>,
    /// At most this many results: the last, or the first if the first pipe is 'head'
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Query")]
    pub size: u64,
    /// All results, whatever their number
    #[arg(long, conflicts_with = "size", help_heading = "Query")]
    pub all: bool,
    /// Which results to show of a query without pipes that has more than --size
    #[arg(long, value_enum, value_name = "END", default_value_t = Position::Tail, help_heading = "Query")]
    pub result_position: Position,
    /// At most this many samples for each key
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Query",
        value_parser = clap::value_parser!(u32).range(1..=MAX_SAMPLES_PER_KEY))]
    pub max_samples_per_key: u32,
    /// Compare without case: '==', '!=', 'in', 'like', 'regex' and functions as their forms with '~'
    #[arg(long, help_heading = "Query")]
    pub case_insensitive: bool,

    #[command(flatten)]
    pub times: TimeSpan,
    /// What orders the events of Windows event logs
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = OrderBy::Log, help_heading = "Events")]
    pub order_by: OrderBy,

    /// How to write the results [default: table on a terminal, ndjson otherwise]
    #[arg(short, long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<QueryFormat>,
    /// Fields to show, with wildcards: 'host.name,process.*'. Columns in table and csv; 'fields' in json and ndjson
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', help_heading = "Output")]
    pub fields: Vec<String>,
    #[command(flatten)]
    pub output: OutputFile,
    /// Put the time that the search took into 'took' of json, which is 0 otherwise
    #[arg(long, help_heading = "Output")]
    pub timing: bool,
    #[command(flatten)]
    pub screen: Screen,

    #[command(flatten)]
    pub effort: Effort,
}

const AFTER_HELP: &str = "\
Examples:
  eqlipse query 'process where process.name : \"powershell.exe\"' logs/
  eqlipse query 'any where true | head 3' Security.evtx --format json
  eqlipse query 'process where process.name : \"mshta.exe\"' eqlipse-data --from now-1h
      what a running service has taken in, to this moment
  eqlipse query @hunt.eql logs/ --all --fields @timestamp,host.name,process.command_line --format csv
  eqlipse query 'sequence by process.entity_id with maxspan=1m
      [process where event.type == \"start\"] [network where true]' logs/
  eqlipse query 'process where event.type == \"start\" | count process.name' logs/ --all

Results are ascending in time. Standard error says how many there are in all, what was read, and whether the data has
the fields that the query reads. --size is a limit before the first pipe: 'head 50' gives 10 results unless --size
says more; behind pipes other than 'head' and 'tail', it keeps the first. The same input gives the same bytes,
whatever --jobs.

Formats: table is for reading. json is one object in the shape of Elasticsearch's '_eql/search' response. ndjson has one
result of it a line. csv has one line for each event.

Exit codes:
  0  done, results or not
  1  nothing could be read, or the output could not be written
  2  the query or the command line is wrong
  130  interrupted with Ctrl-C";

/// The language of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Event Query Language
    Eql,
}

/// What a query may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// Also the pipes filter, unique, unique_count, count, sort and 'child of', 'descendant of', 'event of'
    Extended,
    /// What Elasticsearch accepts, and detection rules with it
    Elastic,
}

/// Which results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Position {
    /// The last ones
    Tail,
    /// The first ones
    Head,
}

/// How to write results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// For reading on a terminal
    Table,
    /// One object, as Elasticsearch's `_eql/search` answers
    Json,
    /// One result a line
    Ndjson,
    /// One line for each event
    Csv,
}
