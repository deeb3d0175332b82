//! The columns of events that were decoded on their way in, so that the segment that they come to stand in can be written
//! without another look at most documents.

use std::sync::Arc;

use eqlipse_batch::{Column, EventBatch, Field, FieldId, Schema};
use eqlipse_ecs::FieldType;
use xxhash_rust::xxh3::xxh3_64;

use crate::intake::IncomingEvent;
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
    /// By row: the [bit](stream_bit) of its data stream.
    streams: Vec<u64>,
    /// The stream that came last, and its bit.
    last: Option<(String, u64)>,
    /// Of documents.
    pub(crate) bytes: usize,
}

impl RowNotes {
    pub(crate) fn add(&mut self, row: u32, event: &IncomingEvent<'_>, decoder: &Decoder) {
        let bit = match &self.last {
            Some((index, bit)) if index == event.index => *bit,
            _ => {
                let bit = stream_bit(event.index);
                self.last = Some((event.index.to_owned(), bit));
                bit
            }
        };
        self.streams.push(bit);
        self.bytes += event.document.len();
        if !decoder.is_plain() || decoder.has_unasked() {
            self.odd.push(row);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.odd.clear();
        self.streams.clear();
        self.bytes = 0;
    }
}

/// One of 64 bits for a data stream: most columns have values of few streams, and need no look for the others.
fn stream_bit(index: &str) -> u64 {
    1 << (xxh3_64(index.as_bytes()) % 64)
}

/// Whether fields have the types that they have in segments: those of the catalogue.
pub(crate) fn has_types(schema: &Schema) -> bool {
    let is_known = |field: &Field| field.ty == eqlipse_ecs::field_type(&field.name).unwrap_or(FieldType::Dynamic);
    schema.fields().iter().all(|field| field.name == INDEX_FIELD || is_known(field))
}

/// The columns of events that were decoded together.
#[derive(Debug)]
pub struct DecodedRows {
    pub(crate) schema: Arc<Schema>,
    rows: u32,
    /// Those that have values.
    pub(crate) columns: Vec<DecodedColumn>,
    /// Events that are to be decoded again.
    pub(crate) odd: Vec<u32>,
}

/// A column of some events.
#[derive(Debug)]
pub(crate) struct DecodedColumn {
    pub(crate) field: FieldId,
    pub(crate) column: Column,
    /// Some row has several values.
    pub(crate) has_several: bool,
    /// The bits of the streams that have values.
    streams: u64,
}

impl DecodedRows {
    pub(crate) fn of(batch: &EventBatch, notes: &RowNotes) -> Option<Self> {
        if batch.len() > MAX_GROUP_ROWS || notes.bytes > MAX_GROUP_BYTES {
            return None;
        }
        let columns = (0..batch.schema().fields().len() as u32).map(FieldId).filter_map(|field| {
            let column = batch.column(field);
            let is_wanted = !column.is_empty() && batch.schema().field(field).name != INDEX_FIELD;
            is_wanted.then(|| DecodedColumn {
                field,
                column: column.clone(),
                has_several: column.rows().array_windows().any(|[row, next]| row == next),
                streams: column.rows().iter().fold(0, |streams, row| streams | notes.streams[*row as usize]),
            })
        });
        Some(Self {
            schema: batch.schema().clone(),
            rows: batch.len() as u32,
            columns: columns.collect(),
            odd: notes.odd.clone(),
        })
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
        let columns: usize = self.columns.iter().map(|column| column.column.memory()).sum();
        columns + self.columns.capacity() * size_of::<DecodedColumn>() + self.odd.capacity() * size_of::<u32>()
    }
}

/// Those of some events that came in together that belong to a segment.
#[derive(Clone, Copy, Debug)]
pub struct DecodedPart<'d> {
    /// The events' columns; where there are none, the events are decoded again.
    pub decoded: Option<&'d DecodedRows>,
    /// Of each event: the number of its segment, and which row it is there. In a segment, rows ascend.
    pub places: &'d [(u32, u32)],
    /// The number of this segment.
    pub segment: u32,
    /// The data stream of its events.
    pub index: &'d str,
    /// All their documents, where they are packed already.
    pub pages: &'d [DocumentPage],
}

impl<'d> DecodedPart<'d> {
    /// Columns that may have values of the segment's events.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &'d DecodedColumn> + use<'d> {
        let bit = stream_bit(self.index);
        let columns = self.decoded.into_iter().flat_map(|decoded| &decoded.columns);
        columns.filter(move |column| column.streams & bit != 0)
    }

    /// The events of the segment that are to be decoded again.
    pub(crate) fn odd(&self) -> impl Iterator<Item = u32> + use<'d> {
        let part = *self;
        let all = if self.decoded.is_none() { 0..self.places.len() as u32 } else { 0..0 };
        let odd = self.decoded.into_iter().flat_map(|decoded| decoded.odd.iter().copied());
        all.chain(odd).filter(move |row| part.place(*row).is_some())
    }

    /// The row in the segment of an event, if it belongs there.
    #[inline]
    pub(crate) fn place(&self, row: u32) -> Option<u32> {
        let (segment, place) = self.places[row as usize];
        (segment == self.segment).then_some(place)
    }

    /// The row in the segment of the first event that belongs there.
    pub(crate) fn first(&self) -> Option<u32> {
        self.places.iter().find(|(segment, _)| *segment == self.segment).map(|(_, place)| *place)
    }

    /// How many events belong to the segment.
    pub(crate) fn count(&self) -> usize {
        self.places.iter().filter(|(segment, _)| *segment == self.segment).count()
    }
}
