//! `eqlipse sql`.

mod rows;
mod table;

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use eqlipse_events::{ConvertError, Discovery, InputProblem, Progress, ReadOptions, Source, convert_to_parquet};
use eqlipse_sql::{Events, SqlEngine, SqlError, SqlLimits, SqlOptions, SqlPart, SqlRun};
use tempfile::NamedTempFile;

use crate::args::{ConfigSource, QueryFormat, SqlArgs};
use crate::data_folder;
use crate::exit::{CliError, Exit};
use crate::hunt::{Inputs, find_with};
use crate::output::{Messages, Output, is_styled, is_terminal, width};
use crate::progress::with_bar;
use crate::query::QueryText;
use crate::serve::settings;
use crate::text::{counted, shown};

/// What a Parquet file begins with.
const PARQUET_MAGIC: &[u8; 4] = b"PAR1";
/// Memory for sorting, grouping and joining.
const DEFAULT_MEMORY: usize = 1 << 30;

/// Runs a query over stored events or files.
pub fn sql(args: &SqlArgs, messages: Messages) -> Result<Exit, CliError> {
    if args.query == "-" && args.paths.iter().any(|path| path.as_os_str() == "-") {
        return Err(CliError::Usage("standard input ('-') can be given only once".to_owned()));
    }
    let text = QueryText::read(&args.query)?;
    let threads = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, Into::into), usize::from);
    let options = SqlOptions {
        threads,
        memory: args.memory_limit.unwrap_or(DEFAULT_MEMORY),
        memory_setting: "--memory-limit",
        may_spill: true,
    };
    let engine =
        SqlEngine::new(options).map_err(|error| CliError::Run(format!("no threads for the query: {error}")))?;
    let input = Input::open(args, messages)?;
    let run = engine.start(input.events, &text.text, SqlLimits { rows: args.size, time: None });
    write(run, args, messages)?;
    Ok(Exit::Done)
}

fn failed(error: &SqlError) -> CliError {
    let text = shown(&error.to_string()).into_owned();
    match error {
        error if error.is_query() => CliError::Usage(text),
        _ => CliError::Run(text),
    }
}

/// What the query reads, and what must stay open meanwhile.
struct Input {
    events: Events,
    _converted: Option<NamedTempFile>,
    /// Keeps the files of running services in their place.
    _inputs: Option<Inputs>,
}

impl Input {
    fn open(args: &SqlArgs, messages: Messages) -> Result<Self, CliError> {
        if args.config.data.is_some() && !args.paths.is_empty() {
            return Err(CliError::Usage("give --data or paths, not both".to_owned()));
        }
        match args.paths.as_slice() {
            [] => Self::of_data_folder(&args.config, messages),
            [path] if data_folder::is_one(path) => {
                let (config, data) = (args.config.config.clone(), Some(path.clone()));
                Self::of_data_folder(&ConfigSource { config, data }, messages)
            }
            paths => Self::of_files(paths, args, messages),
        }
    }

    fn of_data_folder(source: &ConfigSource, messages: Messages) -> Result<Self, CliError> {
        let view = data_folder::view_of(&settings(source)?, messages)?;
        Ok(Self { events: Events::of_snapshot(&view.snapshot), _converted: None, _inputs: None })
    }

    fn of_files(paths: &[PathBuf], args: &SqlArgs, messages: Messages) -> Result<Self, CliError> {
        let mut found = find_with(paths, args.config.config.as_deref(), messages)?;
        let (parquet, others): (Vec<Source>, Vec<Source>) = found.sources.drain(..).partition(is_parquet);
        found.sources = others;
        let mut files: Vec<PathBuf> = parquet.into_iter().filter_map(|source| source.path).collect();
        let converted = match found.sources.is_empty() {
            true => None,
            false => convert(&found, args, messages)?,
        };
        if files.is_empty() && converted.is_none() && !found.has_services() {
            return Err(CliError::NothingRead("none of the inputs is a log that eqlipse reads".to_owned()));
        }
        files.extend(converted.as_ref().map(|file| file.path().to_owned()));
        let events = Events::of_files(files).map_err(|error| failed(&error))?;
        Ok(Self { events, _converted: converted, _inputs: Some(found) })
    }
}

/// Whether a file can be read where it lies.
fn is_parquet(source: &Source) -> bool {
    let mut start = [0; PARQUET_MAGIC.len()];
    // What lies in an object store is only held in its place while it is read.
    let path = source.path.as_ref().filter(|path| source.fetch.is_none() && path.is_file());
    let read = path.and_then(|path| File::open(path).ok()?.read_exact(&mut start).ok());
    read.is_some() && start == *PARQUET_MAGIC
}

/// The events of logs as a Parquet file, which is gone at the end; `None` if none of the inputs is a log.
fn convert(found: &Discovery, args: &SqlArgs, messages: Messages) -> Result<Option<NamedTempFile>, CliError> {
    let mut file = NamedTempFile::new().map_err(|error| CliError::Run(format!("no temporary file: {error}")))?;
    let progress = Progress::default();
    let jobs = args.jobs.and_then(|jobs| NonZeroUsize::new(usize::from(jobs)));
    let options = ReadOptions::default();
    let options = ReadOptions { jobs: jobs.unwrap_or(options.jobs), ..options };
    let read = with_bar(args.screen.has_bar(), &progress, || convert_to_parquet(found, &options, &progress, &mut file));
    let report = read.map_err(|ConvertError::Write(error)| CliError::Run(format!("temporary file: {error}")))?;
    // A folder of Parquet files alone has none to convert.
    for problem in report.problems.iter().filter(|problem| !matches!(problem, InputProblem::NoLogs { .. })) {
        messages.error(&shown(&problem.to_string()));
    }
    let skipped: u64 = report.inputs.iter().map(|input| input.skipped).sum();
    if skipped > 0 {
        messages.warning(&format!("{} could not be read", counted(skipped, "record")));
    }
    let is_log = report.inputs.iter().any(|input| input.format != "unknown");
    Ok(is_log.then_some(file))
}

/// Writes what comes of the query.
fn write(mut run: SqlRun, args: &SqlArgs, messages: Messages) -> Result<(), CliError> {
    let path = args.output.path();
    let default = if is_terminal(path) { QueryFormat::Table } else { QueryFormat::Ndjson };
    let mut output = Output::open(path)?;
    let width = width(args.screen.width, path);
    let mut writer = match args.format.unwrap_or(default) {
        QueryFormat::Table => rows::Writer::Table(table::Table::new(width, is_styled(messages.color, path))),
        QueryFormat::Json => rows::Writer::Json(rows::Json::default()),
        QueryFormat::Ndjson => rows::Writer::Ndjson(rows::Ndjson::default()),
        QueryFormat::Csv => rows::Writer::Csv,
    };
    let mut cut = None;
    while let Some(part) = run.blocking_next() {
        match part.map_err(|error| failed(&error))? {
            SqlPart::Columns(columns) => writer.columns(columns, &mut output)?,
            SqlPart::Rows(rows) => writer.rows(rows, &mut output)?,
            SqlPart::Cut(limit) => cut = Some(limit),
        }
    }
    writer.finish(cut, &mut output)?;
    output.finish()?;
    if let Some(limit) = cut {
        messages.warning(&format!("there are more than {} (--size)", counted(limit as u64, "row")));
    }
    Ok(())
}
