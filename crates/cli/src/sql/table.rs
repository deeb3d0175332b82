//! Rows for reading.

use std::io;

use eqlipse_sql::SqlColumn;
use serde_json::Value;

use super::rows::text;
use crate::exit::CliError;
use crate::output::Output;
use crate::style::{HEADING, paint};
use crate::text::{columns as text_columns, counted, cut, inert, padded};

/// Rows that the widths of columns are measured by.
const MEASURED_ROWS: usize = 1_000;
/// Columns of the terminal between cells.
const GAP: &str = "  ";
/// No cell is narrower, however narrow the terminal.
const LEAST_CELL: usize = 6;

/// A table under way.
pub struct Table {
    width: usize,
    is_styled: bool,
    names: Vec<String>,
    numbers: Vec<bool>,
    waiting: Vec<Vec<String>>,
    /// Once they are measured.
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Table {
    /// A table of at most this width, 0 for no limit.
    pub fn new(width: usize, is_styled: bool) -> Self {
        let (names, numbers, waiting) = (Vec::new(), Vec::new(), Vec::new());
        Self { width, is_styled, names, numbers, waiting, widths: None, rows: 0 }
    }

    /// Takes the columns.
    pub fn columns(&mut self, columns: &[SqlColumn]) {
        self.names = columns.iter().map(|column| inert(&column.name).into_owned()).collect();
        let numbers = ["byte", "short", "integer", "long", "unsigned_long", "half_float", "float", "double"];
        self.numbers = columns.iter().map(|column| numbers.contains(&column.ty)).collect();
    }

    /// Takes rows; writes them once it is known how wide they are.
    pub fn rows(&mut self, rows: Vec<Vec<Value>>, output: &mut Output) -> Result<(), CliError> {
        self.rows += rows.len() as u64;
        self.waiting.extend(rows.iter().map(|row| row.iter().map(|cell| inert(&text(cell)).into_owned()).collect()));
        if self.waiting.len() >= MEASURED_ROWS { self.write(output) } else { Ok(()) }
    }

    /// Writes what is left, and how many rows there are.
    pub fn finish(mut self, output: &mut Output) -> Result<(), CliError> {
        self.write(output)?;
        output.write(|out| writeln!(out, "{}", counted(self.rows, "row")))
    }

    fn write(&mut self, output: &mut Output) -> Result<(), CliError> {
        let rows = std::mem::take(&mut self.waiting);
        let is_first = self.widths.is_none();
        let widths = self.widths.get_or_insert_with(|| measured(&self.names, &rows, self.width));
        let (names, numbers) = (&self.names, &self.numbers);
        output.write_styled(self.is_styled, |out| {
            if is_first {
                let heading: Vec<String> = line(names, widths, numbers);
                writeln!(out, "{}", paint(HEADING, heading.join(GAP).trim_end()))?;
            }
            rows.iter().try_for_each(|row| -> io::Result<()> {
                writeln!(out, "{}", line(row, widths, numbers).join(GAP).trim_end())
            })
        })
    }
}

/// How wide each column is: as its widest cell, and all together as the terminal; the widest columns give way first.
fn measured(names: &[String], rows: &[Vec<String>], limit: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = names.iter().map(|name| text_columns(name)).collect();
    for row in rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(text_columns(cell)));
    }
    if limit == 0 {
        return widths;
    }
    let room = limit.saturating_sub(GAP.len() * widths.len().saturating_sub(1));
    let mut most = room;
    while widths.iter().map(|width| (*width).min(most)).sum::<usize>() > room && most > LEAST_CELL {
        most -= 1;
    }
    widths.into_iter().map(|width| width.min(most)).collect()
}

fn line(cells: &[String], widths: &[usize], numbers: &[bool]) -> Vec<String> {
    let cells = cells.iter().zip(widths).zip(numbers);
    cells
        .map(|((cell, width), is_number)| match is_number {
            true => {
                let cell = cut(cell, *width);
                format!("{}{cell}", " ".repeat(width.saturating_sub(text_columns(&cell))))
            }
            false => padded(cell, *width),
        })
        .collect()
}
