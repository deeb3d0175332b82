//! `eqlipse query`.

mod columns;
mod csv;
mod footer;
mod json;
mod table;

pub use csv::{harmless, harmless_name};

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Instant, SystemTime};

use anstream::{AutoStream, ColorChoice};
use eqlipse_eql::Diagnostic;
use eqlipse_eql::limits::MAX_QUERY_BYTES;
use eqlipse_events::Progress;
use eqlipse_hunt::{CompiledQuery, QueryOptions, QueryRun, ResultPosition, run_query};
use jiff::Timestamp;

use crate::args::{Color, Dialect, Language, Position, QueryArgs, QueryFormat};
use crate::exit::{CliError, Exit};
use crate::hunt::{find, inputs_of, read_options, report_reading, window};
use crate::output::{Messages, Output, is_styled, is_terminal, width};
use crate::progress::with_bar;
use crate::text::shown;
use crate::view::Shape;
use columns::Fields;

/// Runs one query over files.
pub fn query(args: &QueryArgs, messages: Messages) -> Result<Exit, CliError> {
    let started = Instant::now();
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let window = window(&args.times, now)?;
    let paths = inputs_of(&args.paths)?;
    if args.query == "-" && paths.iter().any(|path| path.as_os_str() == "-") {
        return Err(CliError::Usage("standard input ('-') can be given only once".to_owned()));
    }
    let text = QueryText::read(&args.query)?;
    let Some(compiled) = compile(args, &text, messages) else { return Ok(Exit::Usage) };
    let found = find(&paths, messages)?;
    let mut output = Output::open(args.output.path())?;
    let progress = Progress::default();
    let options = read_options(&args.effort, args.order_by, window);
    let run = with_bar(args.screen.has_bar(), &progress, || run_query(&compiled, &found, &options, &progress));
    let mut run = run.map_err(|error| CliError::Run(shown(&error.to_string()).into_owned()))?;
    let took = if args.timing { started.elapsed().as_millis() } else { 0 };
    let written = write(&mut output, &mut run, args, &Shape::of_query(&text.text), took, messages.color);
    let written = written.and_then(|()| output.finish());
    let report = run.report();
    let reading = report_reading(&report.problems, &report.inputs, report.events, &found, messages);
    // Whoever stopped reading the results still gets the exit code.
    written.or_else(|error| if matches!(error, CliError::Closed) { Ok(()) } else { Err(error) })?;
    reading?;
    footer::show(report, started.elapsed(), messages);
    Ok(Exit::Done)
}

/// A query and where it was read.
pub struct QueryText {
    /// The query.
    pub text: String,
    /// As messages name it.
    name: String,
}

impl QueryText {
    /// Reads what the argument names.
    pub fn read(argument: &str) -> Result<QueryText, CliError> {
        let (read, name): (io::Result<Vec<u8>>, &str) = match argument.strip_prefix('@') {
            Some(path) => (File::open(path).and_then(limited), path),
            None if argument == "-" => (limited(io::stdin().lock()), "standard input"),
            None => return Ok(QueryText { text: argument.to_owned(), name: "query".to_owned() }),
        };
        let fault = |error: &dyn std::fmt::Display| CliError::Usage(format!("cannot read the query: {name}: {error}"));
        let text = String::from_utf8(read.map_err(|error| fault(&error))?).map_err(|_| fault(&"it is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        Ok(QueryText { text, name: name.to_owned() })
    }
}

/// All that the parser would take, and one byte more for it to refuse.
fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_QUERY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Compiles the query; says what is wrong with it, or may be.
fn compile(args: &QueryArgs, query: &QueryText, messages: Messages) -> Option<CompiledQuery> {
    let Language::Eql = args.lang;
    match CompiledQuery::eql(&query.text, &query_options(args)) {
        Ok(compiled) => {
            if !messages.quiet {
                draw(compiled.warnings(), query, messages.color);
            }
            Some(compiled)
        }
        Err(diagnostics) => {
            let shown = diagnostics.iter().filter(|diagnostic| diagnostic.is_error() || !messages.quiet);
            draw(shown, query, messages.color);
            None
        }
    }
}

fn draw<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>, query: &QueryText, color: Color) {
    use io::Write;
    let styled = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => AutoStream::choice(&io::stderr()) != ColorChoice::Never,
    };
    for diagnostic in diagnostics {
        // There is nowhere to say that standard error cannot be written to.
        let _ = writeln!(io::stderr(), "{}", diagnostic.render(&query.text, &query.name, styled));
    }
}

fn query_options(args: &QueryArgs) -> QueryOptions {
    QueryOptions {
        index: Vec::new(),
        event_category_field: args.event_category_field.clone(),
        timestamp_field: args.timestamp_field.clone(),
        tiebreaker_field: args.tiebreaker_field.clone(),
        size: (!args.all).then_some(args.size),
        result_position: match args.result_position {
            Position::Tail => ResultPosition::Tail,
            Position::Head => ResultPosition::Head,
        },
        max_samples_per_key: args.max_samples_per_key as usize,
        dialect: match args.dialect {
            Dialect::Extended => eqlipse_eql::Dialect::Extended,
            Dialect::Elastic => eqlipse_eql::Dialect::Elastic,
        },
        case_insensitive: args.case_insensitive,
    }
}

fn write(
    output: &mut Output,
    run: &mut QueryRun<'_>,
    args: &QueryArgs,
    shape: &Shape,
    took: u128,
    color: Color,
) -> Result<(), CliError> {
    let path: Option<&Path> = args.output.path();
    let fields = Fields::new(&args.fields);
    let default = if is_terminal(path) { QueryFormat::Table } else { QueryFormat::Ndjson };
    match args.format.unwrap_or(default) {
        QueryFormat::Table => {
            let width = width(args.screen.width, path);
            output.write_styled(is_styled(color, path), |out| table::write(out, run, &fields, shape, width))
        }
        QueryFormat::Json => output.write(|out| json::write_response(out, run, &fields, took)),
        QueryFormat::Ndjson => output.write(|out| json::write_lines(out, run, &fields)),
        QueryFormat::Csv => output.write(|out| csv::write(out, run, &fields, shape)),
    }
}
