//! The columns of events that were decoded on their way in, so that the segment that they come to stand in can be written
//! without another look at most documents.

use std::ops::Range;
use std::sync::Arc;

use eqlipse_batch::{Codes, Column, EventBatch, Field, FieldId, PackedColumn, PackedColumns, Schema, ValueRef};
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
    fields: Vec<FieldId>,
    /// Of these, in the same order.
    columns: PackedColumns,
    streams: Vec<DecodedStream>,
    /// The row of each value of [`Span`]s that say where.
    having: Vec<u32>,
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
    /// Its number.
    column: u32,
    values: Range<u32>,
    /// From where on [`DecodedRows::having`] has their rows, unless every row of the data stream has one.
    having: Option<u32>,
    /// Some row has several values.
    has_several: bool,
}

impl DecodedRows {
    /// `streams` are the rows of each data stream, of all rows together.
    pub(crate) fn of(batch: &EventBatch, notes: &RowNotes, streams: &[Range<u32>]) -> Option<Self> {
        let is_all = streams.last().map(|rows| rows.end) == Some(batch.len() as u32);
        if batch.len() > MAX_GROUP_ROWS || notes.bytes > MAX_GROUP_BYTES || !is_all {
            return None;
        }
        let fields = (0..batch.schema().fields().len() as u32).map(FieldId);
        let has_values =
            |field: &FieldId| !batch.column(*field).is_empty() && batch.schema().field(*field).name != INDEX_FIELD;
        let fields: Vec<FieldId> = fields.filter(has_values).collect();
        let columns: Vec<&Column> = fields.iter().map(|field| batch.column(*field)).collect();
        let mut decoded = Self {
            schema: batch.schema().clone(),
            rows: batch.len() as u32,
            columns: PackedColumns::of(&columns)?,
            fields,
            streams: streams.iter().map(|rows| DecodedStream { rows: rows.clone(), spans: Vec::new() }).collect(),
            having: Vec::new(),
            odd: notes.odd.clone(),
        };
        columns.iter().zip(0..).for_each(|(column, number)| decoded.note_spans(number, column.rows()));
        decoded.having.shrink_to_fit();
        Some(decoded)
    }

    /// Takes note of where a column has the values of each data stream.
    fn note_spans(&mut self, column: u32, mut rest: &[u32]) {
        let mut start = 0;
        while let Some(row) = rest.first() {
            // Most columns have values of few data streams.
            let stream = self.streams.partition_point(|stream| stream.rows.end <= *row);
            let DecodedStream { rows, spans } = &mut self.streams[stream];
            let own = rest.split_off(..rest.partition_point(|row| *row < rows.end)).unwrap_or_default();
            let values = start..start + own.len() as u32;
            start = values.end;
            // Without a way out of the loop, which makes it fast.
            let has_several = own.array_windows().fold(false, |any, [row, next]| any | (row == next));
            let is_full = own.len() == rows.len() && !has_several;
            let having = (!is_full).then_some(self.having.len() as u32);
            if !is_full {
                self.having.extend_from_slice(own);
            }
            spans.push(Span { column, values, having, has_several });
        }
    }

    /// The rows of a data stream.
    pub fn stream(&self, number: usize) -> Range<u32> {
        self.streams.get(number).map_or(0..0, |stream| stream.rows.clone())
    }

    /// A data stream's values in a span, of some of its rows, which must be rows of it.
    fn values_of(&self, stream: &DecodedStream, span: &Span, rows: &Range<u32>) -> FieldValues<'_> {
        debug_assert!(stream.rows.start <= rows.start && rows.end <= stream.rows.end);
        let (start, count) = (span.values.start as usize, span.values.len());
        let (place, having) = match span.having {
            None => {
                let place = |row: u32| (row - stream.rows.start) as usize;
                (place(rows.start)..place(rows.end), Having::All(rows.clone()))
            }
            Some(having) => {
                let own = &self.having[having as usize..having as usize + count];
                let place = |row: u32| own.partition_point(|other| *other < row);
                let place = if *rows == stream.rows { 0..count } else { place(rows.start)..place(rows.end) };
                (place.clone(), Having::Some(&own[place]))
            }
        };
        let column = self.columns.column(span.column as usize);
        let codes = column.codes().part(start + place.start..start + place.end);
        let field = self.fields[span.column as usize];
        FieldValues { field, column, rows: having, codes, may_have_several: span.has_several }
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
        let spans: usize = self.streams.iter().map(|stream| stream.spans.capacity()).sum();
        self.columns.memory()
            + self.fields.capacity() * size_of::<FieldId>()
            + spans * size_of::<Span>()
            + (self.having.capacity() + self.odd.capacity()) * size_of::<u32>()
    }
}

/// The rows that have values.
pub(crate) enum Having<'d> {
    /// Each of these has one.
    All(Range<u32>),
    /// By value, ascending.
    Some(&'d [u32]),
}

/// A field's values of some events.
pub(crate) struct FieldValues<'d> {
    pub(crate) field: FieldId,
    pub(crate) column: PackedColumn<'d>,
    pub(crate) rows: Having<'d>,
    /// Of each value.
    pub(crate) codes: Codes<'d>,
    /// Some row has several, or one beside them has.
    may_have_several: bool,
}

impl<'d> FieldValues<'d> {
    /// Whether some row has several values.
    pub(crate) fn has_several(&self) -> bool {
        let several = |rows: &[u32]| rows.array_windows().any(|[row, next]| row == next);
        self.may_have_several && matches!(self.rows, Having::Some(rows) if several(rows))
    }

    /// Each value with its row.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u32, ValueRef<'d>)> {
        let (all, some): (_, &[u32]) = match &self.rows {
            Having::All(rows) => (rows.clone(), &[]),
            Having::Some(rows) => (0..0, rows),
        };
        all.chain(some.iter().copied()).zip(self.codes.iter().map(|code| self.column.value(code)))
    }
}

/// Events that came in together and go to one segment, one behind the other.
#[derive(Clone, Debug)]
pub struct DecodedPart<'d> {
    /// Columns that have them; where there are none, the events are decoded again.
    pub decoded: Option<&'d DecodedRows>,
    /// The number of their data stream there.
    pub stream: usize,
    /// Which rows of that data stream they are; as many as there are events.
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
        spans
            .map(move |(decoded, stream, span)| decoded.values_of(stream, span, rows))
            .filter(|values| !values.codes.is_empty())
    }

    /// The rows that are to be decoded again.
    pub(crate) fn odd(&self) -> impl Iterator<Item = u32> + use<'d> {
        let rows = self.rows.clone();
        let all = if self.decoded.is_none() { rows.clone() } else { 0..0 };
        let odd = self.decoded.into_iter().flat_map(|decoded| decoded.odd.iter().copied());
        all.chain(odd.filter(move |row| rows.contains(row)))
    }
}
