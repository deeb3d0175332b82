//! `--format csv`: one line for each event.

use std::io::{self, Write};

use eqlipse_alerts::{MatchKind, MatchedEvent};
use eqlipse_hunt::{Counting, QueryRun, ResultCount};
use serde_json::Value;

use super::columns::{Fields, cell, with_meta};
use crate::date::iso_millis;
use crate::field::text;
use crate::format::csv::safe;
use crate::happening::happening;
use crate::view::{Shape, key_text};

/// What is shown of an event where `--fields` does not say otherwise.
const SUMMARY: [&str; 7] = ["time", "host", "category", "event", "source", "index", "id"];

/// What a counting pipe adds.
const COUNTS: [&str; 2] = ["count", "percent"];

/// Writes the results.
pub fn write(out: &mut dyn Write, run: &mut QueryRun<'_>, fields: &Fields, shape: &Shape) -> io::Result<()> {
    let grouped = run.report().kind != MatchKind::Event;
    let counted = run.report().counting != Counting::Nothing;
    let columns = fields.columns(run)?;
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let mut first: Vec<String> = if counted { COUNTS.map(str::to_owned).into() } else { Vec::new() };
    if run.report().counting == Counting::Instead {
        first.extend(shape.counted.iter().map(|key| safe(key)));
        csv.write_record(first)?;
        for result in run.results() {
            let result = result.map_err(io::Error::other)?;
            let keys = result.count.iter().flat_map(|count| &count.key).take(shape.counted.len());
            let cells = count_cells(result.count.as_ref()).into_iter().chain(keys.map(key_text));
            csv.write_record(cells.map(|cell| harmless(&cell)))?;
        }
        return csv.flush();
    }
    first.extend(header(grouped, fields, &columns, shape));
    csv.write_record(first)?;
    for (at, result) in run.results().enumerate() {
        let result = result.map_err(io::Error::other)?;
        for (position, event) in result.events.iter().enumerate() {
            let mut cells = if counted { count_cells(result.count.as_ref()).into() } else { Vec::new() };
            if grouped {
                cells.extend([(at + 1).to_string(), (position + 1).to_string()]);
                cells
                    .extend((0..shape.keys.len()).map(|key| result.join_keys.get(key).map_or(String::new(), key_text)));
            }
            match event {
                None => cells.extend(absent(fields, &columns, shape, position)),
                Some(event) if fields.is_empty() => cells.extend(summary(event)),
                Some(event) => {
                    let values = with_meta(event);
                    cells.extend(columns.iter().map(|column| cell(&values, column)));
                }
            }
            csv.write_record(cells.iter().map(|cell| harmless(cell)))?;
        }
    }
    csv.flush()
}

fn count_cells(count: Option<&ResultCount>) -> [String; 2] {
    let percent = count.and_then(|count| count.percent).map_or_else(String::new, |share| share.to_string());
    [count.map_or_else(String::new, |count| count.count.to_string()), percent]
}

fn header(grouped: bool, fields: &Fields, columns: &[String], shape: &Shape) -> Vec<String> {
    let mut header = Vec::new();
    if grouped {
        header.extend(["sequence".to_owned(), "position".to_owned()]);
        header.extend(shape.keys.iter().map(|key| safe(key)));
    }
    match fields.is_empty() {
        true => header.extend(SUMMARY.map(str::to_owned)),
        false => header.extend(columns.iter().map(|column| harmless_name(column))),
    }
    header
}

/// A field's name is not changed for the sake of an `@` in front, which no formula looks like.
pub fn harmless_name(name: &str) -> String {
    match name.strip_prefix('@') {
        Some(rest) if rest.chars().all(|c| c.is_ascii_alphanumeric()) => name.to_owned(),
        _ => safe(name),
    }
}

fn summary(event: &MatchedEvent) -> [String; SUMMARY.len()] {
    let happening = happening(&event.source);
    [
        event.time_ns.map(iso_millis).unwrap_or_default(),
        text(&event.source, "host.name").unwrap_or_default().into_owned(),
        happening.category,
        happening.line,
        event.origin.clone().unwrap_or_default(),
        event.index.clone().unwrap_or_default(),
        event.id.clone(),
    ]
}

/// The line of an event that is missing on purpose.
fn absent(fields: &Fields, columns: &[String], shape: &Shape, position: usize) -> Vec<String> {
    let mut cells = vec![String::new(); if fields.is_empty() { SUMMARY.len() } else { columns.len() }];
    if fields.is_empty() {
        "absent".clone_into(&mut cells[2]);
        shape.items.get(position).unwrap_or(&String::new()).clone_into(&mut cells[3]);
    }
    cells
}

/// A number stays one, whatever its sign.
pub fn harmless(cell: &str) -> String {
    match serde_json::from_str::<Value>(cell) {
        Ok(Value::Number(_)) => cell.to_owned(),
        _ => safe(cell),
    }
}
