//! Rows as JSON and CSV.

use std::io::{self, Write};

use eqlipse_sql::{SqlColumn, member_names};
use serde_json::{Map, Value, json};

use super::table::Table;
use crate::exit::CliError;
use crate::output::Output;
use crate::query::{harmless, harmless_name};

/// Writes rows in one of the formats.
pub enum Writer {
    /// For reading.
    Table(Table),
    /// One object.
    Json(Json),
    /// One row a line.
    Ndjson(Ndjson),
    /// One row a line.
    Csv,
}

/// `--format json`: columns and rows, as Elasticsearch's `_sql` answers.
#[derive(Default)]
pub struct Json {
    has_rows: bool,
}

/// `--format ndjson`: an object with the names of the columns for each row.
#[derive(Default)]
pub struct Ndjson {
    names: Vec<String>,
}

impl Writer {
    /// Takes the columns, which come first.
    pub fn columns(&mut self, columns: Vec<SqlColumn>, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Table(table) => table.columns(&columns),
            Self::Json(_) => {
                let columns = columns.iter().map(|column| json!({ "name": column.name, "type": column.ty }));
                let columns: Value = columns.collect();
                output.write(|out| write!(out, "{{\"columns\":{columns},\"rows\":["))?;
            }
            Self::Ndjson(ndjson) => ndjson.names = member_names(&columns),
            Self::Csv => {
                output.write(|out| write_csv(out, [columns.iter().map(|column| harmless_name(&column.name))]))?
            }
        }
        Ok(())
    }

    /// Writes rows.
    pub fn rows(&mut self, rows: Vec<Vec<Value>>, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Table(table) => table.rows(rows, output),
            Self::Json(json) => output.write(|out| {
                for row in rows {
                    let comma = if json.has_rows { ",\n" } else { "\n" };
                    write!(out, "{comma}{}", Value::Array(row))?;
                    json.has_rows = true;
                }
                Ok(())
            }),
            Self::Ndjson(ndjson) => output.write(|out| {
                for row in rows {
                    let cells = ndjson.names.iter().cloned().zip(row).filter(|(_, cell)| !cell.is_null());
                    writeln!(out, "{}", Value::Object(cells.collect::<Map<_, _>>()))?;
                }
                Ok(())
            }),
            Self::Csv => {
                output.write(|out| write_csv(out, rows.iter().map(|row| row.iter().map(|cell| harmless(&text(cell))))))
            }
        }
    }

    /// Writes what is left.
    pub fn finish(self, cut: Option<usize>, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Table(table) => table.finish(output),
            Self::Json(json) => {
                let end = if json.has_rows { "\n]" } else { "]" };
                let cut = cut.map(|limit| format!(",\"truncated\":true,\"size\":{limit}")).unwrap_or_default();
                output.write(|out| writeln!(out, "{end}{cut}}}"))
            }
            Self::Ndjson(_) | Self::Csv => Ok(()),
        }
    }
}

fn write_csv<C: Iterator<Item = String>>(out: &mut dyn Write, lines: impl IntoIterator<Item = C>) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    lines.into_iter().try_for_each(|cells| csv.write_record(cells))?;
    csv.flush()
}

/// A cell as text: lists and documents as JSON, nothing for null.
pub fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
