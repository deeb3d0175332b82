//! The command line: commands, options and their help.

mod query;
mod serve;
mod service;
mod shared;
mod sql;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use eqlipse_rules::Severity;

pub use query::{Dialect, Language, Position, QueryArgs, QueryFormat};
pub use serve::{BackfillArgs, ConfigArgs, ConfigCommand, ConfigSource, ServeArgs, StoreArgs, StoreCommand};
pub use service::{DeadLettersArgs, DeadLettersCommand, ListLettersArgs, ReplayLettersArgs, ServiceSource, StatusArgs};
pub use shared::{Effort, OutputFile, Screen, TimeSpan};
pub use sql::SqlArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, alerts or not
  1  the run failed: nothing could be read, no rule could be loaded, the output could not be written
  2  the command line is wrong, or --strict and something was skipped
  3  an alert of the severity that --fail-on names, or a higher one
  130  interrupted with Ctrl-C";

/// The command line of eqlipse.
#[derive(Debug, Parser)]
#[command(
    name = "eqlipse",
    version = crate::version::SHORT,
    long_version = crate::version::LONG,
    about = "Run Elastic detection rules (EQL) over security logs, without an Elastic Stack",
    after_help = "Examples:\n  \
        eqlipse hunt logs/                        all bundled rules over a folder of logs\n  \
        eqlipse hunt --rules my-rules/ logs/      your rules\n  \
        eqlipse rules check my-rules/             are the rules in order?\n  \
        eqlipse serve --demo                      the detection service, with a simulated fleet\n\n\
        See 'eqlipse COMMAND --help' for the options and examples of a command.",
    max_term_width = 100,
    propagate_version = true,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto, display_order = 900)]
    pub color: Color,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Hunt(HuntArgs),
    Query(QueryArgs),
    Sql(SqlArgs),
    Explain(ExplainArgs),
    Rules(RulesArgs),
    Convert(ConvertArgs),
    Serve(ServeArgs),
    Config(ConfigArgs),
    Status(StatusArgs),
    Store(StoreArgs),
    DeadLetters(DeadLettersArgs),
    Backfill(BackfillArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also in files and pipes
    Always,
    /// Not at all
    Never,
}

/// Run rules over log files, once
///
/// Reads EVTX (Windows event logs), NDJSON and JSON of ECS documents, Elasticsearch hits and bulk bodies, plain or in
/// gzip, zstd, xz or zip, and the Parquet files that 'convert' writes. Formats are told by content, not by name. Every rule is run over every event it may see, and
/// the alerts are written with what is needed to judge them: what was read, what was skipped, and which rules could not
/// have fired on this data at all.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{HUNT_AFTER_HELP}{EXIT_CODES}"))]
pub struct HuntArgs {
    /// Files, folders and globs to read; '-' is standard input, as is nothing when it is not a terminal
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub rules: RuleSource,
    #[command(flatten)]
    pub selection: RuleSelection,

    #[command(flatten)]
    pub times: TimeSpan,
    /// What orders the events of a sequence
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = OrderBy::Log, help_heading = "Events")]
    pub order_by: OrderBy,
    /// Let every rule see every event, whatever its index patterns say
    #[arg(long, help_heading = "Events")]
    pub any_index: bool,

    /// How to write the alerts [default: table on a terminal, ndjson otherwise]
    #[arg(short, long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<Format>,
    #[command(flatten)]
    pub output: OutputFile,
    /// At most this many alerts of each rule, the earliest; the others are counted [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Output", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_alerts: Option<u64>,
    /// Write what this run read and ran, and what it could not, to this file as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub manifest: Option<PathBuf>,
    /// Name every rule that could not have fired, with what the data lacks
    #[arg(short = 'v', long, help_heading = "Output")]
    pub explain_blind: bool,
    #[command(flatten)]
    pub screen: Screen,

    /// Exit with 3 if there is an alert of this severity or a higher one
    #[arg(long, value_name = "SEVERITY", value_parser = severity(), help_heading = "Run")]
    pub fail_on: Option<Severity>,
    /// Exit with 2 if any input, record or rule had to be skipped
    #[arg(long, help_heading = "Run")]
    pub strict: bool,
    #[command(flatten)]
    pub effort: Effort,
}

const HUNT_AFTER_HELP: &str = "\
Examples:
  eqlipse hunt logs/
      the bundled rules over all logs in a folder
  eqlipse hunt --rules detection-rules/rules evidence/*.evtx
      a checkout of Elastic's rules over Windows event logs
  eqlipse hunt logs/ --min-severity high --format html --output report.html
      one page to hand in
  eqlipse hunt logs/ --include TA0008 --include '*mimikatz*' --exclude 'Data Source: AWS'
      rules of one tactic or with a word in their name, less those with a tag
  eqlipse hunt logs/ --from 2024-03-01 --to 2024-03-07 --format csv --output timeline.csv
      a week as a timeline for a spreadsheet or Timesketch
  zcat events.ndjson.gz | eqlipse hunt - --fail-on high --quiet
      in a pipe, as a gate

Which rules run: --include and --exclude take a rule's id, name, tag, or the id or name of a tactic or technique. Case does
not count; '*' stands for any text and '?' for one character; the whole must match.

Formats: table is for reading. ndjson has one alert document a line as Kibana writes them, a sequence's shell before
its building blocks. json is one object with manifest, alerts and summary. csv is a timeline, one line for each event
of each alert. html is one self-contained page.

The same input gives the same bytes, whatever --jobs; times and rates of the run are on standard error and in the
manifest file only.

";

/// Where rules come from.
#[derive(Debug, Args, Clone, Default)]
pub struct RuleSource {
    /// Rules: a file, a folder, a rules package (zip) or '-'; may be given several times. 'bundled' means the rules in
    /// this binary, which are also the default
    #[arg(short, long = "rules", value_name = "PATH", value_hint = ValueHint::AnyPath, help_heading = "Rules")]
    pub rules: Vec<PathBuf>,
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Whether to use the cache of loaded rules.
#[derive(Debug, Args, Clone, Default)]
pub struct CacheArgs {
    /// Read all rules anew, and keep nothing of them in the cache
    #[arg(long, env = "EQLIPSE_NO_CACHE", hide_env_values = true, value_parser = FalseyValueParser::new(), help_heading = "Rules")]
    pub no_cache: bool,
}

/// Which of the rules to use.
#[derive(Debug, Args, Clone, Default)]
pub struct RuleSelection {
    /// Only rules of this severity or a higher one
    #[arg(long, value_name = "SEVERITY", value_parser = severity(), help_heading = "Rules")]
    pub min_severity: Option<Severity>,
    /// Only rules that match this id, name, tag, tactic or technique; may be given several times
    #[arg(short, long, value_name = "PATTERN", help_heading = "Rules")]
    pub include: Vec<String>,
    /// No rules that match this id, name, tag, tactic or technique; wins over --include
    #[arg(short = 'x', long, value_name = "PATTERN", help_heading = "Rules")]
    pub exclude: Vec<String>,
}

/// What orders the events of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderBy {
    /// The log's own order: when the record was written, then its record id
    #[value(name = "log")]
    Log,
    /// `@timestamp`, as in Elasticsearch
    #[value(name = "@timestamp")]
    Timestamp,
}

impl OrderBy {
    /// The name on the command line and in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            OrderBy::Log => "log",
            OrderBy::Timestamp => "@timestamp",
        }
    }
}

/// How to write alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For reading on a terminal
    Table,
    /// One object: manifest, alerts, summary
    Json,
    /// One alert document a line
    Ndjson,
    /// A timeline, one line for each event
    Csv,
    /// One self-contained page
    Html,
}

/// Explain why a rule fired, or why it did not
///
/// Runs one rule over the events and shows, for each stage, how many events passed each clause alone and together, the
/// clause that kept out most, and the events that came nearest to a match with the values that they had. For sequences
/// it shows which join keys reached which stage and what ended the longest ones; for alerts, why each clause held. What
/// the data lacks altogether (fields, indices, categories) is named first.
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("subject").args(["rule", "query"]).required(true)),
    after_long_help = "\
Examples:
  eqlipse explain --rule 'Network Connection via Mshta' Sysmon.evtx
      a bundled rule, by its name or id
  eqlipse explain --rule my-rule.toml logs/ --only-misses
  eqlipse explain --rule '*mshta*' --rules detection-rules/rules evidence/
  eqlipse explain --query 'process where process.name : \"mshta.exe\"' events.ndjson --format json

Columns of the tree:
  alone   events that pass the clause
  so far  events that pass it and all clauses above it
  only    events that fail this clause and no other; ▸ marks the clause with most of them

Exit codes:
  0  explained, whether the rule fired or not
  1  nothing could be read, or the output could not be written
  2  the command line is wrong, or the query is"
)]
pub struct ExplainArgs {
    /// Files, folders and globs to read; '-' is standard input, as is nothing when it is not a terminal
    #[arg(value_name = "EVENTS", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// The rule: a file with one rule, or the id or name of one of --rules; case does not count, '*' and '?' are wildcards
    #[arg(long, value_name = "RULE", help_heading = "Rules")]
    pub rule: Option<String>,
    /// An EQL query in place of a rule
    #[arg(long, value_name = "EQL", help_heading = "Rules")]
    pub query: Option<String>,
    #[command(flatten)]
    pub rules: RuleSource,
    /// What orders the events of a sequence
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = OrderBy::Log, help_heading = "Events")]
    pub order_by: OrderBy,
    /// Let the rule see every event, whatever its index patterns say
    #[arg(long, help_heading = "Events")]
    pub any_index: bool,
    /// How to write the explanation
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = TextOrJson::Text, help_heading = "Output")]
    pub format: TextOrJson,
    #[command(flatten)]
    pub output: OutputFile,
    /// How many near misses of each stage, sequences and alerts to show
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Output",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Leave out the alerts
    #[arg(long, help_heading = "Output")]
    pub only_misses: bool,
    /// Width of the text in columns, 0 for no limit [default: that of the terminal, else no limit]
    #[arg(long, value_name = "COLUMNS", help_heading = "Output")]
    pub width: Option<u16>,
    /// Say nothing on standard error but errors
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

/// List, show, check, format and test rules, and say which could fire
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// What to do with the rules.
    #[command(subcommand)]
    pub command: RulesCommand,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    List(ListArgs),
    Show(ShowArgs),
    Check(CheckArgs),
    Compile(CompileArgs),
    Readiness(ReadinessArgs),
    Fmt(FmtArgs),
    Test(TestArgs),
}

/// Compile rules as a hunt does
///
/// Equal conditions of different rules become one. Says what the rules have in common, and what they cost.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules compile --stats
  eqlipse rules compile detection-rules/rules --stats --format json

Exit codes:
  0  all rules compiled
  1  a rule could not be read or compiled
  2  the command line is wrong")]
pub struct CompileArgs {
    /// Rules: files, folders, packages or '-' [default: the bundled rules]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub selection: RuleSelection,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Show stages, predicates before and after sharing, fields and automata
    #[arg(long)]
    pub stats: bool,
    /// How to write it; JSON has all that --stats shows
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

impl CompileArgs {
    /// Where the rules are.
    pub fn source(&self) -> RuleSource {
        RuleSource { rules: self.paths.clone(), cache: self.cache.clone() }
    }
}

/// List rules
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules list
  eqlipse rules list detection-rules/rules --include TA0008 --min-severity high
  eqlipse rules list detection-rules/rules --format csv > rules.csv")]
pub struct ListArgs {
    /// Rules: files, folders, packages or '-' [default: the bundled rules]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rules: RuleSource,
    #[command(flatten)]
    pub selection: RuleSelection,
    /// How to write the list
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = ListFormat::Table)]
    pub format: ListFormat,
    /// Width of the table in columns, 0 for no limit [default: that of the terminal, else no limit]
    #[arg(long, value_name = "COLUMNS")]
    pub width: Option<u16>,
}

/// How to write a list of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For reading on a terminal
    Table,
    /// An array of objects
    Json,
    /// Comma-separated values
    Csv,
}

/// Show a rule with all its fields
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules show 'Network Connection via Mshta'
  eqlipse rules show '*mshta*' --rules detection-rules/rules")]
pub struct ShowArgs {
    /// Id or name of the rule; case does not count, '*' and '?' are wildcards
    #[arg(value_name = "RULE")]
    pub rule: String,
    #[command(flatten)]
    pub rules: RuleSource,
    /// How to write the rule
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// Check that rules load, compile and make sense
///
/// Loads and compiles each rule and checks its fields against the field catalogue. Errors are faults for which the rule
/// cannot run, or which Kibana would refuse. Warnings are unknown fields, conditions that can never hold, ids used
/// twice, and missing metadata.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules check my-rules/
  eqlipse rules check my-rules/ --strict --format json

Exit codes:
  0  no errors
  1  errors; with --strict, warnings too
  2  the command line is wrong")]
pub struct CheckArgs {
    /// Rules: files, folders, packages or '-' [default: the bundled rules]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rules: RuleSource,
    /// Exit with 1 on warnings too
    #[arg(long)]
    pub strict: bool,
    /// How to write the findings
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
    /// Show errors only, and no summary where there are none
    #[arg(short, long)]
    pub quiet: bool,
}

/// Say which rules can fire on some events at all, and what the others lack
///
/// Reads the events once and holds what each rule reads against what they have: index patterns, event categories and
/// fields. A rule is ready if all of it was seen, partly ready if it can fire but something was never seen (a field of
/// an alternative, of an exclusion or of an optional join key, a category, one of several index patterns), and blind if
/// it cannot fire. What is missing is ranked by how many blind rules it would wake.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules readiness logs/
      the bundled rules
  eqlipse rules readiness --rules detection-rules/rules logs/ --include TA0008
  eqlipse rules readiness --rules my-rules/ logs/ --format html --output readiness.html

Columns of the table of what is missing:
  wakes   blind rules of which nothing more is known to be missing once this is there
  blind   blind rules that lack it
  partly  rules that can fire and lack it

Exit codes:
  0  done, whatever the rules lack
  1  nothing could be read, no rule could be loaded, or the output could not be written
  2  the command line is wrong")]
pub struct ReadinessArgs {
    /// Files, folders and globs to read; '-' is standard input, as is nothing when it is not a terminal
    #[arg(value_name = "EVENTS", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rules: RuleSource,
    #[command(flatten)]
    pub selection: RuleSelection,
    /// Let every rule see every event, whatever its index patterns say
    #[arg(long, help_heading = "Events")]
    pub any_index: bool,
    /// How to write what was found
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = ReadinessFormat::Table,
        help_heading = "Output")]
    pub format: ReadinessFormat,
    #[command(flatten)]
    pub output: OutputFile,
    /// Name the blind rules too, and all that is missing
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
    /// Width of the table in columns, 0 for no limit [default: that of the terminal, else no limit]
    #[arg(long, value_name = "COLUMNS", help_heading = "Output")]
    pub width: Option<u16>,
    /// Say nothing on standard error but errors
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

/// How to write the readiness of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadinessFormat {
    /// For reading on a terminal
    Table,
    /// One object, with all that each rule reads
    Json,
    /// One self-contained page
    Html,
}

/// Format the EQL queries of rule files
///
/// Lays out the query of each EQL rule anew and writes the file back; the rest of the file stays byte for byte.
/// Comments, operators, parentheses and the style of strings stay as they are, and so does what the query means.
/// Only TOML files are written: queries in JSON and packages are not formatted, and neither are queries that stand in
/// the file with escapes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules fmt my-rules/
  eqlipse rules fmt my-rules/ --check
      in CI: lists the files that are not formatted
  eqlipse rules fmt my-rules/ --diff
  echo 'process where process.name:\"a.exe\"' | eqlipse rules fmt -
      one bare query

Exit codes:
  0  all is formatted
  1  a query could not be formatted or a file not be written; with --check, a file would change
  2  the command line is wrong")]
pub struct FmtArgs {
    /// Rule files and folders; '-' is one bare query on standard input
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath, required_unless_present = "stdin")]
    pub paths: Vec<PathBuf>,
    /// Write nothing; list the files that would change, and exit with 1 if there are any
    #[arg(long)]
    pub check: bool,
    /// Write nothing; show what would change
    #[arg(long)]
    pub diff: bool,
    /// Read one bare query from standard input and write it formatted, as '-' does
    #[arg(long, conflicts_with = "paths")]
    pub stdin: bool,
}

/// Run the unit tests of rules
///
/// The tests of NAME.toml stand in NAME.test.toml beside it, or in the rule's own file: events, and the alerts that the
/// rule must make of them. The events take the same way as in a hunt.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse rules test my-rules/
  eqlipse rules test my-rules/ --coverage
      with the clauses that the tests leave out
  eqlipse rules test my-rules/ --require-tests --require-coverage --format junit --output results.xml
      in CI

Exit codes:
  0  all tests passed
  1  a test failed or could not run, or a rule could not be loaded; with --require-tests, a rule has no tests;
     with --require-coverage, a clause was never true or never false
  2  the command line is wrong")]
pub struct TestArgs {
    /// Rules or their tests: files and folders [default: the bundled rules]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Exit with 1 if a rule has no tests
    #[arg(long)]
    pub require_tests: bool,
    /// Name the clauses of tested rules that no test event made true, and those that none made false
    #[arg(long)]
    pub coverage: bool,
    /// Exit with 1 if there is such a clause; implies --coverage
    #[arg(long)]
    pub require_coverage: bool,
    /// How to write the results
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = TestFormat::Text)]
    pub format: TestFormat,
    /// Write to this file in place of standard output; it is replaced only when the whole is written
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// How to write the results of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestFormat {
    /// For reading
    Text,
    /// For programs
    Json,
    /// JUnit's XML, for CI
    Junit,
}

/// Text for people or JSON for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For reading
    Text,
    /// For programs
    Json,
}

/// Turn logs into ECS documents
///
/// Reads whatever 'hunt' reads and writes the events as rules see them.
///
/// A Parquet file is for logs that are hunted in more than once: a hunt reads only the columns that rules ask for, many
/// times faster than the documents, and finds the same. Each field that occurs is a column of its dotted name, a list
/// where an event has several values; the document is in '_source'. Other tools read it as well. While it is made, the
/// events wait in a compressed temporary file (in TMPDIR).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse convert Security.evtx > security.ndjson
  eqlipse convert evidence.zip --output events.ndjson
  eqlipse convert --to parquet evidence.zip --output events.parquet
  eqlipse convert Sysmon.evtx | jq 'select(.event.code == \"1\") | .process.command_line'

Exit codes:
  0  done
  1  nothing could be read, or the output could not be written
  2  the command line is wrong, or --strict and something was skipped")]
pub struct ConvertArgs {
    /// Files, folders and globs to read; '-' is standard input, as is nothing when it is not a terminal
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ConvertFormat::Ndjson)]
    pub to: ConvertFormat,
    /// Write to this file in place of standard output; it is replaced only when the whole is written
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Exit with 2 if any input or record had to be skipped
    #[arg(long)]
    pub strict: bool,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// What to convert to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConvertFormat {
    /// One ECS document a line
    Ndjson,
    /// A Parquet file: a column for each field, and the documents
    Parquet,
}

/// Write shell completions to standard output
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse completions bash > /etc/bash_completion.d/eqlipse
  eqlipse completions zsh > ~/.zfunc/_eqlipse
  eqlipse completions fish > ~/.config/fish/completions/eqlipse.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Write the manual page
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse man | man -l -
      read it
  eqlipse man --output /usr/local/share/man/man1
      one page for each command")]
pub struct ManArgs {
    /// Write one page for each command into this folder
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

fn severity() -> impl clap::builder::TypedValueParser<Value = Severity> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(Severity::ALL.map(Severity::as_str)).try_map(|text| text.parse::<Severity>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn rules_take_one_value_each() {
        let cli = Cli::parse_from(["eqlipse", "hunt", "--rules", "r", "logs", "--order-by", "@timestamp"]);
        let Command::Hunt(hunt) = cli.command else { panic!("not a hunt") };
        assert_eq!(hunt.rules.rules, [PathBuf::from("r")]);
        assert_eq!(hunt.paths, [PathBuf::from("logs")]);
        assert_eq!(hunt.order_by, OrderBy::Timestamp);
    }
}
