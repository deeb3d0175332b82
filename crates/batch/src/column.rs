use std::net::IpAddr;
use std::sync::Arc;

use eqlipse_ecs::FieldType;

use crate::{DocumentPlace, FieldId, RowMeta, RowSource, Schema, ValueRef};

/// What a dictionary entry holds, 16 bytes each; text lies in the column's arena.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Str { start: u32, len: u32 },
    Int(i64),
    UInt(u64),
    Double(f64),
    Bool(bool),
    Date(i64),
    Ip(u32),
}

impl Entry {
    #[inline]
    pub(crate) fn value<'c>(&self, text: &'c str, addresses: &[IpAddr]) -> ValueRef<'c> {
        match *self {
            Self::Str { start, len } => ValueRef::Str(&text[start as usize..(start + len) as usize]),
            Self::Int(value) => ValueRef::Int(value),
            Self::UInt(value) => ValueRef::UInt(value),
            Self::Double(value) => ValueRef::Double(value),
            Self::Bool(value) => ValueRef::Bool(value),
            Self::Date(value) => ValueRef::Date(value),
            Self::Ip(index) => ValueRef::Ip(addresses[index as usize]),
        }
    }
}

/// The values of one field in one batch: sparse, multi-valued, dictionary-encoded.
#[derive(Debug, Default)]
pub struct Column {
    pub(crate) rows: Vec<u32>,
    pub(crate) codes: Vec<u32>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) text: String,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Column {
    /// The row of each value, ascending; a row with several values stands several times.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The dictionary code of each value, beside [`rows`](Self::rows).
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// How many entries the dictionary has; codes are below it. They are distinct but in columns where nearly every
    /// value is, in which a value may have several codes.
    pub fn cardinality(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the texts in the dictionary.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether no row has a value.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The value behind a code.
    #[inline]
    pub fn value(&self, code: u32) -> ValueRef<'_> {
        self.entries[code as usize].value(&self.text, &self.addresses)
    }

    /// Whether this is the value behind a code: same kind, same bits, so that NaN has an entry and -0.0 its own.
    pub(crate) fn holds(&self, code: u32, value: ValueRef<'_>) -> bool {
        match (self.entries[code as usize], value) {
            // Texts of different lengths are told apart without a look at them.
            (Entry::Str { start, len }, ValueRef::Str(text)) => {
                len as usize == text.len()
                    && self.text.as_bytes()[start as usize..(start + len) as usize] == *text.as_bytes()
            }
            (Entry::Double(entry), ValueRef::Double(value)) => entry.to_bits() == value.to_bits(),
            _ => self.value(code) == value,
        }
    }

    /// The codes of one row.
    pub fn codes_of(&self, row: u32) -> &[u32] {
        let start = self.rows.partition_point(|r| *r < row);
        let len = self.rows[start..].partition_point(|r| *r == row);
        &self.codes[start..start + len]
    }

    /// The values of one row.
    pub fn values_of(&self, row: u32) -> impl Iterator<Item = ValueRef<'_>> {
        self.codes_of(row).iter().map(|code| self.value(*code))
    }
}

/// A batch of events: a column for each field of the schema, each row's place in time, and the way back to `_source`.
pub struct EventBatch {
    pub(crate) schema: Arc<Schema>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<RowMeta>,
    pub(crate) sources: Vec<(u32, Box<dyn RowSource>)>,
}

impl EventBatch {
    /// The schema that names the columns.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The column of a field.
    pub fn column(&self, field: FieldId) -> &Column {
        &self.columns[field.index()]
    }

    /// The type of a field's column.
    pub fn field_type(&self, field: FieldId) -> FieldType {
        self.schema.field(field).ty
    }

    /// Each row's place in time and identity.
    pub fn rows(&self) -> &[RowMeta] {
        &self.rows
    }

    /// Appends the document of `row` to `out` as a hit (see [`RowSource::write_json`]).
    ///
    /// # Panics
    /// If no source was given for the row (see [`BatchBuilder::add_source`](crate::BatchBuilder::add_source)).
    pub fn write_source(&self, row: u32, out: &mut Vec<u8>) {
        let index = self.sources.partition_point(|(start, _)| *start <= row) - 1;
        let (start, source) = &self.sources[index];
        source.write_json(row - start, out);
    }

    /// Where the document of `row` lies on disk, if it can be read again from there.
    pub fn place(&self, row: u32) -> Option<DocumentPlace> {
        let index = self.sources.partition_point(|(start, _)| *start <= row).checked_sub(1)?;
        let (start, source) = &self.sources[index];
        source.place(row - start)
    }
}
