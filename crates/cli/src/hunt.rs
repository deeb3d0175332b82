//! `eqlipse hunt`.

use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use eqlipse_events::{DiscoverOptions, Discovery, InputProblem, Progress, Window, discover};
use eqlipse_hunt::{HuntOptions, HuntReport, InputReport, RuleBook};
use eqlipse_rules::{RuleLoad, Severity};
use eqlipse_store::{StoreView, TimeRange};
use jiff::Timestamp;

use crate::args::{Effort, Format, HuntArgs, OrderBy, RuleSelection, RuleSource, TimeSpan};
use crate::bundled;
use crate::data_folder;
use crate::date::{self, DateError, Edge};
use crate::exit::{CliError, Exit};
use crate::format::{Report, closing, csv, html, json, table};
use crate::manifest::{Options, Run, manifest, manifest_of_run};
use crate::output::{Messages, Output, error_width, is_styled, is_terminal, width};
use crate::progress::with_bar;
use crate::rule_cache::RuleCache;
use crate::rules::inert_lines;
use crate::select::Selection;
use crate::style::{DIM, paint};
use crate::summary::Summary;
use crate::text::{byte_size, counted, grouped, shown};
use crate::view::AlertView;

/// Warnings about rules that are shown; the rest is in the manifest.
const WARNINGS_SHOWN: usize = 20;

/// Runs rules over files.
pub fn hunt(args: &HuntArgs, messages: Messages) -> Result<Exit, CliError> {
    let started = (Instant::now(), Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH));
    let window = window(&args.times, started.1)?;
    check_outputs(args)?;
    let paths = inputs_of(&args.paths)?;
    if paths.iter().chain(&args.rules.rules).filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(CliError::Usage("standard input ('-') can be given only once".to_owned()));
    }
    let found = find(&paths, messages)?;
    let mut output = Output::open(args.output.path())?;
    let manifest_output = args.manifest.as_deref().map(|path| Output::open(Some(path))).transpose()?;
    let book = rule_book(&args.rules, &args.selection, args.any_index, messages)?;
    let format = format(args);
    let options = hunt_options(args, window, format);
    let progress = Progress::default();
    let bar = args.screen.has_bar();
    let hunt = with_bar(bar, &progress, || eqlipse_hunt::run(&book, &found, &options, &progress));
    let hunt = hunt.map_err(|error| CliError::Run(shown(&error.to_string()).into_owned()))?;
    let options = Options::new(args, bundled::names(&args.rules.rules), window);
    let report = report(&hunt, &options);
    let reading = report_reading(&hunt.problems, &hunt.inputs, hunt.events, &found, messages);
    let written = write(&mut output, &report, args, format, messages.color).and_then(|()| output.finish());
    if let Some(mut output) = manifest_output {
        let run = run_record(started);
        output.write(|out| json::write_pretty(out, &manifest_of_run(&report.manifest, &run)))?;
        output.finish()?;
    }
    // Whoever stopped reading the alerts still gets the exit code.
    written.or_else(|error| if matches!(error, CliError::Closed) { Ok(()) } else { Err(error) })?;
    closing_words(&report, args, format, started.0, messages);
    reading?;
    Ok(exit(args, &report))
}

/// Alerts and manifest must not go to the same place.
fn check_outputs(args: &HuntArgs) -> Result<(), CliError> {
    let stdout = Path::new("-");
    let alerts = args.output.path().unwrap_or(stdout);
    match args.manifest.as_deref() {
        Some(manifest) if manifest == alerts => Err(CliError::Usage(
            "alerts and manifest cannot go to the same place: give --output or another --manifest".into(),
        )),
        _ => Ok(()),
    }
}

/// The times that `--from` and `--to` mean.
pub fn window(times: &TimeSpan, now: Timestamp) -> Result<Window, CliError> {
    let time = |option: &'static str, text: &Option<String>, edge| {
        let parsed = text.as_deref().map(|text| date::parse(text, now, edge)).transpose();
        parsed.map_err(|error: DateError| CliError::Time { option, error })
    };
    let from = time("--from", &times.from, Edge::First)?;
    let to = time("--to", &times.to, Edge::Last)?;
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(CliError::Usage("--from is later than --to".to_owned())),
        (from, to) => Ok(Window { from, to }),
    }
}

/// The paths, or standard input where there are none and something is piped in.
pub fn inputs_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    match paths {
        [] if io::stdin().is_terminal() => {
            Err(CliError::Usage("give files or folders to read, or pipe events in".to_owned()))
        }
        [] => Ok(vec![PathBuf::from("-")]),
        paths => Ok(paths.to_vec()),
    }
}

/// The rules of a run, compiled; says what became of the others. An error if none is left.
pub fn rule_book(
    source: &RuleSource,
    selection: &RuleSelection,
    any_index: bool,
    messages: Messages,
) -> Result<RuleBook, CliError> {
    let loaded = bundled::load_rules(&source.rules, &RuleCache::of_user(&source.cache));
    compiled(loaded.load, source, selection, any_index, messages)
}

/// As [`rule_book`], of rules that are loaded.
pub fn compiled(
    load: RuleLoad,
    source: &RuleSource,
    selection: &RuleSelection,
    any_index: bool,
    messages: Messages,
) -> Result<RuleBook, CliError> {
    let loaded = load.rules.len();
    let selection = Selection::new(selection.min_severity, &selection.include, &selection.exclude);
    let book = RuleBook::compile(load, |rule| selection.keeps(rule), any_index);
    let rules = book.report();
    for unloaded in &rules.unloaded {
        messages.error(&format!("rule not loaded: {}: {}", shown(&unloaded.origin), inert_lines(&unloaded.reason)));
    }
    for warning in rules.warnings.iter().take(WARNINGS_SHOWN) {
        messages.warning(&shown(warning));
    }
    if rules.warnings.len() > WARNINGS_SHOWN {
        messages
            .warning(&format!("and {} more: the manifest of a hunt has all", rules.warnings.len() - WARNINGS_SHOWN));
    }
    if !book.rules().is_empty() {
        return Ok(book);
    }
    Err(match loaded {
        0 => CliError::NoRules(shown(&bundled::names(&source.rules).join(", ")).into_owned()),
        _ if rules.filtered == loaded => CliError::NoneSelected(loaded),
        _ => CliError::Run(format!("none of the {} loaded rules can run", grouped(loaded as u64))),
    })
}

/// Finds the inputs; an error if there are none. Of the data folder of a service, they are its events.
pub fn find(paths: &[PathBuf], messages: Messages) -> Result<Inputs, CliError> {
    let config = std::env::var_os("EQLIPSE_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    find_with(paths, config.as_deref(), messages)
}

/// As [`find`]; where else the segments of data folders may be, these settings say.
pub fn find_with(paths: &[PathBuf], config: Option<&Path>, messages: Messages) -> Result<Inputs, CliError> {
    let (data, paths): (Vec<&PathBuf>, Vec<&PathBuf>) = paths.iter().partition(|path| data_folder::is_one(path));
    let mut found = discover(&paths, DiscoverOptions::default());
    for problem in &found.problems {
        messages.error(&shown(&problem.to_string()));
    }
    let views =
        data.into_iter().map(|folder| data_folder::view(folder, config, messages)).collect::<Result<Vec<_>, _>>()?;
    for view in &views {
        found.sources.extend(view.snapshot.discovery(&TimeRange::default(), |_| true).sources);
    }
    match found.sources.is_empty() && found.folders.is_empty() && views.is_empty() {
        true => Err(CliError::NothingRead("none of the inputs exists".to_owned())),
        false => Ok(Inputs { found, views }),
    }
}

/// The inputs of a command.
pub struct Inputs {
    found: Discovery,
    /// They keep the files of running services in their place.
    views: Vec<StoreView>,
}

impl Deref for Inputs {
    type Target = Discovery;

    fn deref(&self) -> &Discovery {
        &self.found
    }
}

impl Inputs {
    /// Whether some are events of services, which may have none yet.
    pub fn has_services(&self) -> bool {
        !self.views.is_empty()
    }
}

impl DerefMut for Inputs {
    fn deref_mut(&mut self) -> &mut Discovery {
        &mut self.found
    }
}

fn format(args: &HuntArgs) -> Format {
    let default = if is_terminal(args.output.path()) { Format::Table } else { Format::Ndjson };
    args.format.unwrap_or(default)
}

fn hunt_options(args: &HuntArgs, window: Window, format: Format) -> HuntOptions {
    HuntOptions {
        max_alerts: args.max_alerts.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        hash_inputs: args.manifest.is_some() || matches!(format, Format::Json | Format::Html),
        ..read_options(&args.effort, args.order_by, window)
    }
}

/// What hunts and queries are told of reading.
pub fn read_options(effort: &Effort, order_by: OrderBy, window: Window) -> HuntOptions {
    let default = HuntOptions::default();
    let order_by = match order_by {
        OrderBy::Log => eqlipse_events::OrderBy::Log,
        OrderBy::Timestamp => eqlipse_events::OrderBy::Timestamp,
    };
    let jobs = effort.jobs.and_then(|jobs| NonZeroUsize::new(usize::from(jobs))).unwrap_or(default.jobs);
    let memory_limit = effort.memory_limit.unwrap_or(default.memory_limit);
    HuntOptions { jobs, memory_limit, order_by, window, ..default }
}

/// Takes a hunt's result apart for writing.
pub fn report<'a>(hunt: &'a HuntReport, options: &Options) -> Report<'a> {
    let alerts = AlertView::of_all(&hunt.alerts);
    let summary = Summary::new(hunt, &alerts);
    let manifest = manifest(hunt, &summary, options);
    Report { hunt, alerts, summary, manifest }
}

/// Says which inputs gave nothing; an error if none gave anything.
pub fn report_reading(
    problems: &[InputProblem],
    inputs: &[InputReport],
    events: u64,
    found: &Inputs,
    messages: Messages,
) -> Result<(), CliError> {
    for problem in problems.iter().filter(|problem| !found.problems.contains(problem)) {
        messages.error(&shown(&problem.to_string()));
    }
    if inputs.is_empty() && found.has_services() {
        // A service that has no events yet is no mistake.
        return Ok(());
    }
    let skipped: u64 = inputs.iter().map(|input| input.skipped).sum();
    if inputs.iter().all(|input| input.format == "unknown") {
        return Err(CliError::NothingRead("none of the inputs is a log that eqlipse reads".to_owned()));
    }
    match events == 0 && skipped > 0 {
        true => Err(CliError::NothingRead("every record had to be skipped".to_owned())),
        false => Ok(()),
    }
}

fn write(
    output: &mut Output,
    report: &Report,
    args: &HuntArgs,
    format: Format,
    color: crate::args::Color,
) -> Result<(), CliError> {
    let path: Option<&Path> = args.output.path();
    match format {
        Format::Table => {
            let width = width(args.screen.width, path);
            output.write_styled(is_styled(color, path), |out| table::write(out, report, width, args.explain_blind))
        }
        Format::Json => output.write(|out| json::write_object(out, report)),
        Format::Ndjson => output.write(|out| json::write_lines(out, report)),
        Format::Csv => output.write(|out| csv::write(out, report)),
        Format::Html => output.write(|out| html::write(out, report)),
    }
}

fn run_record((clock, started): (Instant, Timestamp)) -> Run {
    let elapsed = clock.elapsed();
    let finished = started.checked_add(elapsed).unwrap_or(started);
    Run {
        command_line: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        working_directory: std::env::current_dir().ok().map(|folder| folder.display().to_string()),
        started: format!("{started:.3}"),
        finished: format!("{finished:.3}"),
        elapsed_seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
    }
}

/// What the reader of standard error learns at the end: the summary, unless the table had it, and how fast it was.
fn closing_words(report: &Report, args: &HuntArgs, format: Format, started: Instant, messages: Messages) {
    if messages.quiet {
        return;
    }
    if format != Format::Table || args.output.path().is_some() {
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = closing::write(&mut text, report.hunt, &report.summary, error_width(), args.explain_blind);
        messages.note(String::from_utf8_lossy(&text).trim_end());
    }
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    let rate = |count: u64| (count as f64 / seconds) as u64;
    let speed = format!(
        "{seconds:.2} s: {}, {} events/s, {}/s",
        counted(report.hunt.events, "event"),
        grouped(rate(report.hunt.events)),
        byte_size(rate(report.hunt.bytes))
    );
    let _ = io::stdout().flush();
    messages.note(&paint(DIM, speed));
}

/// An alert that `--fail-on` names matters more than what was skipped.
fn exit(args: &HuntArgs, report: &Report) -> Exit {
    let severe = |least: Severity| report.alerts.iter().any(|alert| alert.severity >= least);
    let summary = &report.summary;
    let skipped = summary.read.problems > 0 || summary.read.skipped > 0 || summary.rules.not_loaded > 0;
    match args.fail_on {
        Some(least) if severe(least) => Exit::Alert,
        _ if args.strict && skipped => Exit::Usage,
        _ => Exit::Done,
    }
}
