//! The columns of events that were decoded on their way in, so that the segment that they come to stand in can be written
//! without another look at most documents.

use std::ops::Range;
use std::sync::Arc;

use eqlipse_batch::{Column, EventBatch, Field, FieldId, Schema};
use eqlipse_ecs::FieldType;

use crate::json::Decoder;
use crate::pages::DocumentPage;
use crate::parquet::{MAX_GROUP_BYTES, MAX_GROUP_ROWS};
use crate::reserved::INDEX_FIELD;

/// What is noted of a batch's rows while they are decoded.
#[derive(Default)]
pub(crate) struct RowNotes {
    /// Rows whose documents may have values that no column was asked for, or are not plain: in a segment they may have other
    /// values.
    odd: Vec<u32>,
    /// Of documents.
    pub(crate) bytes: usize,
}

impl RowNotes {
    pub(crate) fn add(&mut self, row: u32, document: &str, decoder: &Decoder) {
        self.bytes += document.len();
        if !decoder.is_plain() || decoder.has_unasked() {
            self.odd.push(row);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.odd.clear();
        self.bytes = 0;
    }
}

/// Whether fields have the types that they have in segments: those of the catalogue.
pub(crate) fn has_types(schema: &Schema) -> bool {
    let is_known = |field: &Field| field.ty == eqlipse_ecs::field_type(&field.name).unwrap_or(FieldType::Dynamic);
    schema.fields().iter().all(|field| field.name == INDEX_FIELD || is_known(field))
}

/// The columns of events that were decoded together, those of one data stream after the other.
#[derive(Debug)]
pub struct DecodedRows {
    pub(crate) schema: Arc<Schema>,
    rows: u32,
    /// Those that have values.
    columns: Vec<(FieldId, Column)>,
    streams: Vec<DecodedStream>,
    /// Events that are to be decoded again.
    odd: Vec<u32>,
}

/// Those of one data stream.
#[derive(Debug)]
struct DecodedStream {
    rows: Range<u32>,
    spans: Vec<Span>,
}

/// Where a column has the values of a data stream.
#[derive(Debug)]
struct Span {
    /// Its place in [`DecodedRows::columns`].
    column: u32,
    values: Range<u32>,
    /// Some row has several values.
    has_several: bool,
}

impl DecodedRows {
    /// `streams` are the rows of each data stream, of all rows together.
    pub(crate) fn of(batch: &EventBatch, notes: &RowNotes, streams: &[Range<u32>]) -> Option<Self> {
        let ends: Vec<u32> = streams.iter().map(|rows| rows.end).collect();
        if batch.len() > MAX_GROUP_ROWS || notes.bytes > MAX_GROUP_BYTES || ends.last() != Some(&(batch.len() as u32)) {
            return None;
        }
        let mut columns = Vec::new();
        let streams = streams.iter().map(|rows| DecodedStream { rows: rows.clone(), spans: Vec::new() });
        let mut streams: Vec<DecodedStream> = streams.collect();
        for field in (0..batch.schema().fields().len() as u32).map(FieldId) {
            let column = batch.column(field);
            if column.is_empty() || batch.schema().field(field).name == INDEX_FIELD {
                continue;
            }
            let (mut rest, mut start) = (column.rows(), 0);
            while let Some(row) = rest.first() {
                // Most columns have values of few data streams.
                let stream = &mut streams[ends.partition_point(|end| end <= row)];
                let own = rest.split_off(..rest.partition_point(|row| *row < stream.rows.end)).unwrap_or_default();
                let values = start..start + own.len() as u32;
                start = values.end;
                let has_several = own.array_windows().any(|[row, next]| row == next);
                stream.spans.push(Span { column: columns.len() as u32, values, has_several });
            }
            columns.push((field, column.clone()));
        }
        let (schema, odd) = (batch.schema().clone(), notes.odd.clone());
        Some(Self { schema, rows: batch.len() as u32, columns, streams, odd })
    }

    /// The rows of a data stream.
    pub fn stream(&self, number: usize) -> Range<u32> {
        self.streams.get(number).map_or(0..0, |stream| stream.rows.clone())
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        let columns: usize = self.columns.iter().map(|(_, column)| column.memory()).sum();
        let spans: usize = self.streams.iter().map(|stream| stream.spans.capacity()).sum();
        columns
            + self.columns.capacity() * size_of::<(FieldId, Column)>()
            + spans * size_of::<Span>()
            + self.odd.capacity() * size_of::<u32>()
    }
}

/// Where a column has the values of some rows.
fn values_of(column: &Column, rows: &Range<u32>) -> Range<usize> {
    let at = |row: u32| column.rows().partition_point(|other| *other < row);
    at(rows.start)..at(rows.end)
}

/// A field's values of some events.
pub(crate) struct FieldValues<'d> {
    pub(crate) field: FieldId,
    pub(crate) column: &'d Column,
    /// Of each value its row, and its code.
    pub(crate) rows: &'d [u32],
    pub(crate) codes: &'d [u32],
    /// Some row has several, or one beside them has.
    pub(crate) may_have_several: bool,
}

/// Events that came in together and go to one segment, one behind the other.
#[derive(Clone, Debug)]
pub struct DecodedPart<'d> {
    /// Columns that have them; where there are none, the events are decoded again.
    pub decoded: Option<&'d DecodedRows>,
    /// The number of their data stream there.
    pub stream: usize,
    /// Which rows of it they are; as many as there are events.
    pub rows: Range<u32>,
    /// Their documents, where all are packed already.
    pub pages: &'d [DocumentPage],
}

impl<'d> DecodedPart<'d> {
    /// The values of some of the rows.
    pub(crate) fn values(&self, rows: &Range<u32>) -> impl Iterator<Item = FieldValues<'d>> {
        let stream = |decoded: &'d DecodedRows| Some((decoded, decoded.streams.get(self.stream)?));
        let stream = self.decoded.and_then(stream);
        let spans = stream
            .into_iter()
            .flat_map(|(decoded, stream)| stream.spans.iter().map(move |span| (decoded, stream, span)));
        spans.filter_map(move |(decoded, stream, span)| {
            let (field, column) = &decoded.columns[span.column as usize];
            let values = match *rows == stream.rows {
                true => span.values.start as usize..span.values.end as usize,
                false => values_of(column, rows),
            };
            let (rows, codes) = (&column.rows()[values.clone()], &column.codes()[values]);
            let values = FieldValues { field: *field, column, rows, codes, may_have_several: span.has_several };
            (!rows.is_empty()).then_some(values)
        })
    }

    /// The rows that are to be decoded again.
    pub(crate) fn odd(&self) -> impl Iterator<Item = u32> + use<'d> {
        let rows = self.rows.clone();
        let all = if self.decoded.is_none() { rows.clone() } else { 0..0 };
        let odd = self.decoded.into_iter().flat_map(|decoded| decoded.odd.iter().copied());
        all.chain(odd.filter(move |row| rows.contains(row)))
    }
}
