//! A row group into a batch.

use std::collections::HashMap;
use std::sync::Arc;

use eqlipse_batch::{BatchBuilder, ColumnFiller, FieldId, Schema};
use serde_json::Value;

use super::column::{Cells, ColumnReader, NO_CODE, Sink};
use super::file::{Column, column_error};
use super::layout::{IDENTITY, INDEX_NAMES, OTHER, SEQUENCE, TIME};
use super::value::{Stored, raw};
use super::{ParquetError, ParquetFile};
use crate::reserved::{INDEX_FIELD, TIME as TIME_FIELD};

/// What the rows of a row group are beside their fields.
pub(crate) struct Group {
    pub(crate) rows: usize,
    time: Cells<i64>,
    sequence: Cells<i64>,
    identity: Cells<u128>,
}

impl Group {
    /// What orders a row.
    pub(crate) fn time(&self, row: usize) -> Option<i64> {
        self.time.get(row).copied()
    }

    /// What orders rows of the same time.
    pub(crate) fn sequence(&self, row: usize) -> Option<i64> {
        self.sequence.get(row).copied()
    }

    /// What tells a row from its copies.
    pub(crate) fn identity(&self, row: usize) -> Option<u128> {
        self.identity.get(row).copied()
    }
}

fn whole_number(value: Stored<'_>) -> Option<i64> {
    match value {
        Stored::Long(number) | Stored::Date(number) => Some(number),
        _ => None,
    }
}

fn identity(value: Stored<'_>) -> Option<u128> {
    match value {
        Stored::Identity(identity) => Some(identity),
        _ => None,
    }
}

fn json(value: Stored<'_>) -> Option<serde_json::Map<String, Value>> {
    match value {
        Stored::Text(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

/// Values that stand in no column, by field: row and value.
type Other = HashMap<FieldId, Vec<(u32, Value)>>;

/// Reads row groups.
pub(crate) struct GroupReader {
    columns: ColumnReader,
}

impl GroupReader {
    pub(crate) fn new() -> Result<Self, ParquetError> {
        Ok(Self { columns: ColumnReader::new().map_err(|damage| column_error("", damage))? })
    }

    /// Says that a row group is read soon, so that its columns come from the disk while others are decoded.
    pub(crate) fn expect(file: &ParquetFile, group: usize, schema: &Schema) {
        let own = [TIME, SEQUENCE, IDENTITY, OTHER, INDEX_NAMES].iter().filter_map(|name| file.column(name).ok());
        let fields = schema.fields().iter().filter_map(|field| file.field(&field.name));
        file.expect(group, own.chain(fields).chain(file.field(TIME_FIELD)));
    }

    /// Reads what the rows are beside their fields.
    pub(crate) fn read(&mut self, file: &ParquetFile, group: usize) -> Result<Group, ParquetError> {
        self.columns.start_group();
        let rows = file.rows(group)?;
        Ok(Group {
            rows,
            time: self.cells(file, group, TIME, rows, whole_number)?,
            sequence: self.cells(file, group, SEQUENCE, rows, whole_number)?,
            identity: self.cells(file, group, IDENTITY, rows, identity)?,
        })
    }

    /// Each row's `@timestamp`: the first value, where there are several.
    pub(crate) fn timestamps(
        &mut self,
        file: &ParquetFile,
        number: usize,
        rows: usize,
    ) -> Result<Vec<Option<i64>>, ParquetError> {
        let mut first = FirstNumbers { values: Vec::new(), numbers: vec![None; rows] };
        if let Some(column) = file.field(TIME_FIELD) {
            self.read_column(file, number, column, rows, &mut first)?;
        }
        Ok(first.numbers)
    }

    fn cells<T>(
        &mut self,
        file: &ParquetFile,
        group: usize,
        name: &str,
        rows: usize,
        convert: fn(Stored<'_>) -> Option<T>,
    ) -> Result<Cells<T>, ParquetError> {
        let mut cells = Cells::new(rows, convert);
        self.read_column(file, group, file.column(name)?, rows, &mut cells)?;
        Ok(cells)
    }

    fn read_column(
        &mut self,
        file: &ParquetFile,
        group: usize,
        column: &Column,
        rows: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), ParquetError> {
        self.columns.read(file, group, column, rows, sink)
    }

    /// Whether the columns hold what this schema's fields take, so that [`fill`](Self::fill) can be asked. They do not
    /// where a rule gives a field another type than the catalogue had when the file was written.
    pub(crate) fn has_types(file: &ParquetFile, schema: &Schema) -> bool {
        schema.fields().iter().all(|field| file.has_type(&field.name, field.ty))
    }

    /// Fills the columns of the builder, which has no rows. `kept` says what becomes of each row: its number in the
    /// batch, or [`DROPPED`]; `None` keeps all.
    pub(crate) fn fill(
        &mut self,
        file: &ParquetFile,
        number: usize,
        group: &Group,
        kept: Option<&[u32]>,
        builder: &mut BatchBuilder,
    ) -> Result<(), ParquetError> {
        let schema = builder.schema().clone();
        let mut other = self.other(file, number, group, &schema)?;
        for (id, field) in schema.fields().iter().enumerate() {
            let id = FieldId(id as u32);
            let column = match field.name.as_str() {
                INDEX_FIELD => Some(file.column(INDEX_NAMES)?),
                name => file.field(name),
            };
            let other = other.remove(&id).unwrap_or_default();
            let mut sink = FieldSink { filler: builder.fill(id), kept, other: &other };
            if let Some(column) = column {
                self.read_column(file, number, column, group.rows, &mut sink)?;
            }
            sink.put_other(u32::MAX);
        }
        Ok(())
    }

    /// The names of each row's index, for rows that are decoded from their documents.
    pub(crate) fn index_names(
        &mut self,
        file: &ParquetFile,
        number: usize,
        rows: usize,
    ) -> Result<Vec<(u32, Arc<str>)>, ParquetError> {
        let mut names = Names::default();
        self.read_column(file, number, file.column(INDEX_NAMES)?, rows, &mut names)?;
        let name = |code: u32| names.texts.get(code as usize).cloned();
        Ok(names.places.iter().filter_map(|(row, code)| Some((*row, name(*code)?))).collect())
    }

    fn other(
        &mut self,
        file: &ParquetFile,
        number: usize,
        group: &Group,
        schema: &Schema,
    ) -> Result<Other, ParquetError> {
        let cells = self.cells(file, number, OTHER, group.rows, json)?;
        let mut other = Other::new();
        for row in 0..group.rows {
            for (name, values) in cells.get(row).into_iter().flatten() {
                let (Some(id), Some(values)) = (schema.lookup(name), values.as_array()) else { continue };
                let values = values.iter().map(|value| (row as u32, value.clone()));
                other.entry(id).or_default().extend(values);
            }
        }
        Ok(other)
    }
}

/// A row that does not get into the batch.
pub(crate) const DROPPED: u32 = u32::MAX;

/// Puts a column of the file, and what `_other` has of it, into a column of the batch.
struct FieldSink<'s, 'b> {
    filler: ColumnFiller<'b>,
    kept: Option<&'s [u32]>,
    /// What `_other` still has.
    other: &'s [(u32, Value)],
}

impl FieldSink<'_, '_> {
    fn put(&mut self, row: u32, code: u32) {
        let row = self.kept.map_or(row, |kept| kept[row as usize]);
        if row != DROPPED && code != NO_CODE {
            self.filler.put(row, code);
        }
    }

    /// Puts what `_other` has of the rows before this one.
    fn put_other(&mut self, before: u32) {
        while let Some(((row, value), rest)) = self.other.split_first()
            && *row < before
        {
            self.other = rest;
            if let Some(code) = raw(value).and_then(|value| self.filler.coerced_code(value)) {
                self.put(*row, code);
            }
        }
    }
}

impl Sink for FieldSink<'_, '_> {
    fn distinct(&mut self, value: Stored<'_>) -> u32 {
        match value.in_batch(self.filler.field_type()) {
            Some(value) => self.filler.add_distinct(value),
            None => NO_CODE,
        }
    }

    fn single(&mut self, value: Stored<'_>) -> u32 {
        match value.in_batch(self.filler.field_type()) {
            Some(value) => self.filler.code(value),
            None => NO_CODE,
        }
    }

    fn put(&mut self, rows: &[u32], codes: &[u32]) {
        if self.kept.is_none() && self.other.is_empty() && !codes.contains(&NO_CODE) {
            return self.filler.put_all(rows, codes);
        }
        for (row, code) in rows.iter().zip(codes) {
            self.put_other(*row);
            FieldSink::put(self, *row, *code);
        }
    }
}

/// The first number of each row.
struct FirstNumbers {
    values: Vec<Option<i64>>,
    numbers: Vec<Option<i64>>,
}

impl Sink for FirstNumbers {
    fn distinct(&mut self, value: Stored<'_>) -> u32 {
        self.values.push(whole_number(value));
        self.values.len() as u32 - 1
    }

    fn single(&mut self, value: Stored<'_>) -> u32 {
        self.distinct(value)
    }

    fn put(&mut self, rows: &[u32], codes: &[u32]) {
        for (row, code) in rows.iter().zip(codes) {
            let number = &mut self.numbers[*row as usize];
            *number = number.or(self.values[*code as usize]);
        }
    }
}

/// All values of a list of texts.
#[derive(Default)]
struct Names {
    texts: Vec<Arc<str>>,
    places: Vec<(u32, u32)>,
}

impl Sink for Names {
    fn distinct(&mut self, value: Stored<'_>) -> u32 {
        match value {
            Stored::Text(text) => {
                self.texts.push(text.into());
                self.texts.len() as u32 - 1
            }
            _ => NO_CODE,
        }
    }

    fn single(&mut self, value: Stored<'_>) -> u32 {
        self.distinct(value)
    }

    fn put(&mut self, rows: &[u32], codes: &[u32]) {
        self.places.extend(rows.iter().copied().zip(codes.iter().copied()));
    }
}
