//! What the reader of standard error learns at the end of a query.

use std::time::Duration;

use eqlipse_alerts::MatchKind;
use eqlipse_hunt::{BlindReason, Counting, QueryReport};

use crate::output::Messages;
use crate::style::{DIM, HEADING, paint};
use crate::text::{byte_size, counted, grouped, shown};

/// Places that are named at most.
const MOST_NAMED: usize = 10;

/// Says how many results there are, what was read, and whether the data has what the query reads.
pub fn show(report: &QueryReport, elapsed: Duration, messages: Messages) {
    messages.note(&paint(HEADING, verdict(report)));
    if !report.unseen.is_empty() {
        let names: Vec<_> = report.unseen.iter().map(|name| shown(name)).collect();
        messages.warning(&format!("no event has what the query reads: {}", names.join(", ")));
    }
    skipped(report, messages);
    messages.note(&read(report));
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = |count: u64| (count as f64 / seconds) as u64;
    let speed = format!(
        "{seconds:.2} s: {}, {} events/s, {}/s",
        counted(report.events, "event"),
        grouped(rate(report.events)),
        byte_size(rate(report.bytes))
    );
    messages.note(&paint(DIM, speed));
}

/// `10 of 214 events`, or whether what was not found could have been.
fn verdict(report: &QueryReport) -> String {
    let noun = match report.kind {
        MatchKind::Event => "matching event",
        MatchKind::Sequence => "sequence",
        MatchKind::Sample => "sample",
    };
    if report.total > 0 {
        if report.counting == Counting::Instead {
            return format!("{} of {}", counted(report.results as u64, "count"), counted(report.total, noun));
        }
        return format!("{} of {}", grouped(report.results as u64), counted(report.total, noun));
    }
    if report.lacks.is_empty() {
        return "found nothing; the data has what the query needs".to_owned();
    }
    let lacks = report.lacks.iter().map(|lack| match lack {
        BlindReason::Index => "there is no event".to_owned(),
        BlindReason::Category(name) => format!("no event of category {}", shown(name)),
        BlindReason::Field(name) => format!("no event with {}", shown(name)),
    });
    format!("could find nothing: {}", lacks.collect::<Vec<_>>().join(", "))
}

fn read(report: &QueryReport) -> String {
    let inputs = report.inputs.len() as u64;
    let mut text = format!("read {} from {}", counted(report.events, "event"), counted(inputs, "input"));
    if report.outside > 0 {
        text.push_str(&format!("; {} outside the time window left out", counted(report.outside, "event")));
    }
    if report.duplicates > 0 {
        text.push_str(&format!("; {} left out", counted(report.duplicates, "duplicate event")));
    }
    if report.untimed > 0 {
        text.push_str(&format!("; {} without a time, not in sequences", counted(report.untimed, "event")));
    }
    if report.not_logs > 0 {
        text.push_str(&format!("; not logs: {}", counted(report.not_logs, "file")));
    }
    text
}

fn skipped(report: &QueryReport, messages: Messages) {
    let skipped: u64 = report.inputs.iter().map(|input| input.skipped).sum();
    if skipped == 0 {
        return;
    }
    messages.warning(&format!("{} could not be read", counted(skipped, "record")));
    let places = report.inputs.iter().flat_map(|input| input.first_skipped.iter().map(move |record| (input, record)));
    for (input, record) in places.take(MOST_NAMED) {
        messages.note(&format!("  {}: {}: {}", shown(&input.name), shown(&record.place), shown(&record.reason)));
    }
}
