//! `eqlipse convert`.

use eqlipse_events::{ConvertError, Progress, ReadOptions, ReadReport, convert as convert_events, convert_to_parquet};

use crate::args::{ConvertArgs, ConvertFormat};
use crate::exit::{CliError, Exit};
use crate::hunt::{find, inputs_of};
use crate::output::{Messages, Output, is_terminal};
use crate::progress::with_bar;
use crate::text::{byte_size, counted, shown};

/// Places that are named at most.
const MOST_NAMED: usize = 10;

/// Writes the events of the inputs as ECS documents, or as a Parquet file of them.
pub fn convert(args: &ConvertArgs, messages: Messages) -> Result<Exit, CliError> {
    if args.to == ConvertFormat::Parquet && is_terminal(args.output.as_deref()) {
        return Err(CliError::Usage("a Parquet file is nothing for a terminal: use --output FILE".to_owned()));
    }
    let paths = inputs_of(&args.paths)?;
    let mut output = Output::open(args.output.as_deref())?;
    let found = find(&paths, messages)?;
    let progress = Progress::default();
    let mut report = None;
    // A bar would be drawn between the documents.
    let bar = !args.quiet && !is_terminal(args.output.as_deref());
    output.write(|out| {
        let options = ReadOptions::default();
        let read = with_bar(bar, &progress, || match args.to {
            ConvertFormat::Ndjson => convert_events(&found, &options, &progress, out),
            ConvertFormat::Parquet => convert_to_parquet(&found, &options, &progress, out),
        });
        report = Some(read.map_err(|ConvertError::Write(error)| error)?);
        Ok(())
    })?;
    output.finish()?;
    let report = report.unwrap_or_default();
    report_skipped(&report, messages);
    if report.inputs.iter().all(|input| input.format == "unknown") {
        return Err(CliError::NothingRead("none of the inputs is a log that eqlipse reads".to_owned()));
    }
    let skipped = report.inputs.iter().any(|input| input.skipped > 0);
    if report.events == 0 && skipped {
        return Err(CliError::NothingRead("every record had to be skipped".to_owned()));
    }
    let problems = !found.problems.is_empty() || !report.problems.is_empty();
    Ok(if args.strict && (skipped || problems) { Exit::Usage } else { Exit::Done })
}

fn report_skipped(report: &ReadReport, messages: Messages) {
    for problem in &report.problems {
        messages.error(&shown(&problem.to_string()));
    }
    let skipped: u64 = report.inputs.iter().map(|input| input.skipped).sum();
    messages.note(&format!(
        "{} from {}, {}",
        counted(report.events, "event"),
        counted(report.inputs.len() as u64, "input"),
        byte_size(report.bytes)
    ));
    if skipped == 0 {
        return;
    }
    messages.warning(&format!("{} could not be read", counted(skipped, "record")));
    let places = report.inputs.iter().flat_map(|input| input.first_skipped.iter().map(move |record| (input, record)));
    for (input, record) in places.take(MOST_NAMED) {
        messages.note(&format!("  {}: {}: {}", shown(&input.name), shown(&record.place), shown(&record.reason)));
    }
}
