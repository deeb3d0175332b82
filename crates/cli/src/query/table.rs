//! `--format table`: results for reading.

use std::io::{self, Write};

use eqlipse_alerts::{MatchKind, MatchedEvent};
use eqlipse_hunt::{Counting, QueryResult, QueryRun};

use super::columns::{Fields, cell, with_meta};
use crate::date::readable;
use crate::field::text;
use crate::happening::happening;
use crate::style::{DIM, HEADING, LABEL, paint};
use crate::text::{columns as text_columns, counted, grouped, padded, shown, wrapped};
use crate::view::{Shape, key_text};

/// Columns between the cells.
const GAP: usize = 2;
/// Lines that one cell takes at most; what is longer is cut.
const CELL_LINES: usize = 3;
/// Columns that every column of the table gets, however narrow the terminal.
const LEAST_COLUMN: usize = 6;
/// What is shown of an event where `--fields` does not say otherwise.
const SUMMARY: [&str; 4] = ["TIME (UTC)", "HOST", "CATEGORY", "EVENT"];

/// A line of the table.
enum Row {
    /// What stands above the events of a sequence or sample.
    Group(String),
    /// An event.
    Event(Vec<String>),
    /// An event that is missing on purpose.
    Absent(Vec<String>),
}

/// Writes the results; `width` 0 is no limit.
pub fn write(
    out: &mut dyn Write,
    run: &mut QueryRun<'_>,
    fields: &Fields,
    shape: &Shape,
    width: usize,
) -> io::Result<()> {
    if run.report().results == 0 {
        return Ok(());
    }
    if run.report().counting == Counting::Instead {
        return write_counts(out, run, shape, width);
    }
    let columns = fields.columns(run)?;
    let titles: Vec<String> = match fields.is_empty() {
        true => SUMMARY.map(str::to_owned).into(),
        false => columns.iter().map(|column| shown(column).into_owned()).collect(),
    };
    let is_grouped = run.report().kind != MatchKind::Event || run.report().counting != Counting::Nothing;
    let mut rows = Vec::new();
    for (at, result) in run.results().enumerate() {
        let result = result.map_err(io::Error::other)?;
        if is_grouped {
            rows.push(Row::Group(group(at + 1, &result, shape)));
        }
        let events = result.events.iter().enumerate().map(|(position, event)| match event {
            Some(event) if fields.is_empty() => Row::Event(summary(event)),
            Some(event) => {
                let values = with_meta(event);
                Row::Event(columns.iter().map(|column| shown(&cell(&values, column)).into_owned()).collect())
            }
            None => Row::Absent(absent(fields, titles.len(), shape, position)),
        });
        rows.extend(events);
    }
    let indent = if is_grouped { GAP } else { 0 };
    let widths = widths(&titles, &rows, indent, width);
    line(out, &titles, &widths, indent, |cell| paint(HEADING, cell))?;
    for row in &rows {
        match row {
            Row::Group(text) => writeln!(out, "{}", paint(LABEL, text))?,
            Row::Event(cells) => line(out, cells, &widths, indent, str::to_owned)?,
            Row::Absent(cells) => line(out, cells, &widths, indent, |cell| paint(DIM, cell))?,
        }
    }
    Ok(())
}

/// A line for each count: the number, the share, and what was counted by.
fn write_counts(out: &mut dyn Write, run: &mut QueryRun<'_>, shape: &Shape, width: usize) -> io::Result<()> {
    let mut titles = vec!["COUNT".to_owned(), "PERCENT".to_owned()];
    titles.extend(shape.counted.iter().map(|key| shown(key).into_owned()));
    let mut rows = Vec::new();
    for result in run.results() {
        let Some(count) = result.map_err(io::Error::other)?.count else { continue };
        let share = count.percent.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0));
        let mut cells = vec![grouped(count.count), share];
        cells.extend(count.key.iter().take(shape.counted.len()).map(|key| shown(&key_text(key)).into_owned()));
        rows.push(Row::Event(cells));
    }
    let widths = widths(&titles, &rows, 0, width);
    line(out, &titles, &widths, 0, |cell| paint(HEADING, cell))?;
    rows.iter().try_for_each(|row| match row {
        Row::Event(cells) => line(out, cells, &widths, 0, str::to_owned),
        _ => Ok(()),
    })
}

/// ` (3 times, 25.0 %)`, if a pipe counted.
fn times(result: &QueryResult) -> String {
    let Some(count) = &result.count else { return String::new() };
    let share = count.percent.map_or_else(String::new, |share| format!(", {:.1} %", share * 100.0));
    format!(" ({}{share})", counted(count.count, "time"))
}

/// `1. host.id=pc01, user.id=7; 3 events`
fn group(number: usize, result: &QueryResult, shape: &Shape) -> String {
    let names = shape.keys.iter().map(String::as_str).chain(std::iter::repeat("key"));
    let keys: Vec<String> = names
        .zip(&result.join_keys)
        .map(|(name, value)| format!("{}={}", shown(name), shown(&key_text(value))))
        .collect();
    let events = counted(result.events.iter().flatten().count() as u64, "event") + &times(result);
    match keys.is_empty() {
        true => format!("{number}. {events}"),
        false => format!("{number}. {}; {events}", keys.join(", ")),
    }
}

fn summary(event: &MatchedEvent) -> Vec<String> {
    let happening = happening(&event.source);
    let host = text(&event.source, "host.name");
    vec![
        event.time_ns.map_or_else(|| "no time".to_owned(), readable),
        shown(host.as_deref().unwrap_or("-")).into_owned(),
        shown(&happening.category).into_owned(),
        shown(&happening.line).into_owned(),
    ]
}

fn absent(fields: &Fields, columns: usize, shape: &Shape, position: usize) -> Vec<String> {
    let item = shown(shape.items.get(position).map_or("", String::as_str)).into_owned();
    let mut cells = vec![String::new(); columns];
    match fields.is_empty() {
        true => cells = vec!["no time".to_owned(), String::new(), "absent".to_owned(), item],
        false => cells.iter_mut().take(1).for_each(|cell| "(absent)".clone_into(cell)),
    }
    cells
}

/// The widths of the columns: what they need, the widest made narrower until all fit.
fn widths(titles: &[String], rows: &[Row], indent: usize, width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = titles.iter().map(|title| text_columns(title)).collect();
    for row in rows {
        let (Row::Event(cells) | Row::Absent(cells)) = row else { continue };
        widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = text_columns(cell).max(*width));
    }
    if width == 0 {
        return widths;
    }
    let room = width.saturating_sub(indent + GAP * widths.len().saturating_sub(1));
    let mut most = widths.iter().copied().max().unwrap_or(0);
    while most > LEAST_COLUMN && widths.iter().map(|width| (*width).min(most)).sum::<usize>() > room {
        most -= 1;
    }
    widths.into_iter().map(|width| width.min(most)).collect()
}

/// Writes the cells of a row side by side, each in as many lines as it takes.
fn line(
    out: &mut dyn Write,
    cells: &[String],
    widths: &[usize],
    indent: usize,
    style: impl Fn(&str) -> String,
) -> io::Result<()> {
    let cells: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrapped(cell, *width, CELL_LINES)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..height {
        let parts =
            cells.iter().zip(widths).map(|(lines, width)| padded(lines.get(at).map_or("", String::as_str), *width));
        let text = parts.collect::<Vec<_>>().join(&" ".repeat(GAP));
        writeln!(out, "{:indent$}{}", "", style(text.trim_end()))?;
    }
    Ok(())
}
