//! The columns of a row group: what is gathered row by row beside the fields, and how all of it is written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;

use eqlipse_batch::{Column, RowMeta};
use parquet::basic::Encoding;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;
use serde_json::{Map, Value};

use super::column::NO_CODE;
use super::encode::{Bounds, ColumnEncoder, Packer, Pages, PlainValues, Rows, no_row_twice};
use super::layout::{ColumnSpec, Count, Kind};
use super::value::{Stored, ToStore, to_json, to_store};
use super::write::failed;
use crate::pages::{DocumentPage, put_document};

/// Bytes of documents in a page: few enough that one can be read without many others, and enough that they pack well.
const SOURCE_PAGE_BYTES: usize = 128 << 10;
/// What stands in front of a page is hardly longer.
const MAX_HEADER_BYTES: usize = 64;

/// What the rows of the row group under way are beside their fields.
pub(super) struct Rest {
    pub(super) indices: TextCodes,
    pub(super) ids: PlainCells,
    pub(super) index_names: TextCodes,
    pub(super) times: PlainCells,
    pub(super) sequences: PlainCells,
    pub(super) identities: PlainCells,
    /// Values that stand in no column, by row and field.
    pub(super) others: BTreeMap<u32, Map<String, Value>>,
    pub(super) documents: Documents,
    /// Of documents.
    pub(super) bytes: usize,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self {
            indices: TextCodes::new(),
            ids: PlainCells::new(Bounds::Untold),
            index_names: TextCodes::new(),
            times: PlainCells::new(Bounds::of(Kind::Date)),
            sequences: PlainCells::new(Bounds::of(Kind::Long)),
            identities: PlainCells::new(Bounds::Untold),
            others: BTreeMap::new(),
            documents: Documents { pages: Pages::new(), page: Vec::new(), rows: 0 },
            bytes: 0,
        }
    }

    /// Adds what `meta` says of a row.
    pub(super) fn add_meta(&mut self, row: u32, meta: &RowMeta) {
        self.times.add(row, meta.order.time, PlainValues::add_long);
        self.sequences.add(row, meta.order.tiebreaker, PlainValues::add_long);
        self.identities.add(row, meta.identity, PlainValues::add_identity);
    }
}

/// The values of a column, one a row at most.
pub(super) struct PlainCells {
    values: PlainValues,
    rows: Vec<u32>,
}

impl PlainCells {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { values: PlainValues::new(bounds), rows: Vec::new() }
    }

    pub(super) fn add<T>(&mut self, row: u32, value: Option<T>, add: impl Fn(&mut PlainValues, T)) {
        if let Some(value) = value {
            self.rows.push(row);
            add(&mut self.values, value);
        }
    }
}

/// A column of few texts.
pub(super) struct TextCodes {
    values: PlainValues,
    known: HashMap<Box<str>, u32>,
    /// What came last comes again, mostly.
    last: Option<(Box<str>, u32)>,
    rows: Vec<u32>,
    codes: Vec<u32>,
}

impl TextCodes {
    fn new() -> Self {
        let values = PlainValues::new(Bounds::of(Kind::Text));
        Self { values, known: HashMap::new(), last: None, rows: Vec::new(), codes: Vec::new() }
    }

    pub(super) fn add(&mut self, row: u32, text: &str) {
        let code = match &self.last {
            Some((last, code)) if &**last == text => *code,
            _ => self.code(text),
        };
        self.rows.push(row);
        self.codes.push(code);
    }

    /// Adds the same text to each of these rows.
    pub(super) fn add_all(&mut self, rows: Range<u32>, text: &str) {
        let code = self.code(text);
        self.codes.extend(rows.clone().map(|_| code));
        self.rows.extend(rows);
    }

    fn code(&mut self, text: &str) -> u32 {
        let code = self.known.get(text).copied().unwrap_or_else(|| {
            let code = self.values.count;
            self.values.add_text(text);
            self.known.insert(text.into(), code);
            code
        });
        self.last = Some((text.into(), code));
        code
    }
}

/// The column of documents. Its pages close when they are full.
pub(super) struct Documents {
    pages: Pages,
    page: Vec<u8>,
    /// Of the page.
    rows: usize,
}

impl Documents {
    pub(super) fn add(&mut self, document: &str, packer: &mut Packer) -> io::Result<()> {
        if self.rows > 0 && self.page.len() + document.len() > SOURCE_PAGE_BYTES {
            self.close_page(packer)?;
        }
        put_document(document, &mut self.page);
        self.rows += 1;
        Ok(())
    }

    /// Makes room for pages that are packed already.
    pub(super) fn reserve<'p>(&mut self, pages: impl Iterator<Item = &'p DocumentPage>) {
        self.pages.reserve(pages.map(|page| page.packed.len() + MAX_HEADER_BYTES).sum());
    }

    /// Adds pages that are packed already.
    pub(super) fn add_pages(&mut self, pages: &[DocumentPage], packer: &mut Packer) -> io::Result<()> {
        if self.rows > 0 {
            self.close_page(packer)?;
        }
        pages.iter().try_for_each(|DocumentPage { rows, unpacked, packed }| {
            let rows = *rows as usize;
            self.pages.add_packed(packed.clone(), *unpacked as usize, (rows, rows), Encoding::PLAIN)
        })
    }

    fn close_page(&mut self, packer: &mut Packer) -> io::Result<()> {
        self.pages.add_data(&self.page, (self.rows, self.rows), Encoding::PLAIN, packer)?;
        self.page.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Adds a value to those of `_other`.
pub(super) fn add_other(other: &mut Map<String, Value>, field: &str, value: Value) {
    match other.entry(field).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(values) => values.push(value),
        _ => debug_assert!(false, "every member is a list"),
    }
}

/// A row group whose columns are written one after the other.
pub(super) struct GroupColumns<'f, 'g> {
    pub(super) group: SerializedRowGroupWriter<'g, Vec<u8>>,
    /// The columns to come.
    pub(super) left: std::slice::Iter<'f, ColumnDescPtr>,
    pub(super) encoder: &'f mut ColumnEncoder,
    /// How many rows there are.
    pub(super) all: usize,
}

impl GroupColumns<'_, '_> {
    fn next(&mut self) -> io::Result<ColumnDescPtr> {
        self.left.next().cloned().ok_or_else(|| io::Error::other("the row group has no further column"))
    }

    /// Writes a field's column whose values nobody has told apart, nearly all being others: a dictionary would be as long
    /// as the column. What the column cannot hold goes into `others`.
    pub(super) fn write_values(
        &mut self,
        spec: &ColumnSpec,
        column: &Column,
        others: &mut BTreeMap<u32, Map<String, Value>>,
    ) -> io::Result<()> {
        let (mut values, mut having) = (PlainValues::of_entries(spec.kind, column), Vec::new());
        for (row, code) in column.rows().iter().zip(column.codes()) {
            let value = column.value(*code);
            match to_store(value, spec.kind) {
                Some(stored) if spec.count == Count::List || having.last() != Some(row) => {
                    having.push(*row);
                    values.add(stored);
                }
                _ => add_other(others.entry(*row).or_default(), &spec.name, to_json(value)),
            }
        }
        let (rows, next) = (Rows { having: &having, count: spec.count, all: self.all }, self.next()?);
        self.encoder.plain(values, rows, &mut self.group, next)
    }

    /// Writes a field's column, whose values are told apart; what it cannot hold goes into `others`.
    pub(super) fn write_field(
        &mut self,
        spec: &ColumnSpec,
        column: &Column,
        others: &mut BTreeMap<u32, Map<String, Value>>,
    ) -> io::Result<()> {
        let dictionary = FieldDictionary::new(spec.kind, column);
        let (having, codes) = dictionary.rows_and_codes(spec, column, others);
        let (rows, next) = (Rows { having: &having, count: spec.count, all: self.all }, self.next()?);
        let (encoder, group) = (&mut *self.encoder, &mut self.group);
        match dictionary.values {
            FieldValues::Booleans(truths) => {
                let mut values = PlainValues::new(Bounds::of(Kind::Boolean));
                codes.iter().for_each(|code| values.add_boolean(truths[*code as usize]));
                encoder.plain(values, rows, group, next)
            }
            FieldValues::Plain(values) => encoder.codes(values, &codes, rows, group, next),
        }
    }

    pub(super) fn write_codes(&mut self, texts: TextCodes, count: Count) -> io::Result<()> {
        let (rows, next) = (Rows { having: &texts.rows, count, all: self.all }, self.next()?);
        self.encoder.codes(texts.values, &texts.codes, rows, &mut self.group, next)
    }

    pub(super) fn write_cells(&mut self, cells: PlainCells) -> io::Result<()> {
        let (rows, next) = (Rows { having: &cells.rows, count: Count::Optional, all: self.all }, self.next()?);
        self.encoder.plain(cells.values, rows, &mut self.group, next)
    }

    /// Writes the last column.
    pub(super) fn finish(mut self, mut documents: Documents) -> io::Result<()> {
        if documents.rows > 0 {
            documents.close_page(&mut self.encoder.packer)?;
        }
        let column = self.next()?;
        documents.pages.append(&mut self.group, column, None, &self.encoder.packer)?;
        self.group.close().map(|_| ()).map_err(failed)
    }
}

/// The dictionary of a field's column.
struct FieldDictionary {
    values: FieldValues,
    /// The file's code of each of the batch's, or [`NO_CODE`] for a value that the column cannot hold.
    codes: Vec<u32>,
    /// It holds them all, so that the codes are the same.
    fits: bool,
}

enum FieldValues {
    Plain(PlainValues),
    /// Of which Parquet has no dictionaries.
    Booleans(Vec<bool>),
}

impl FieldDictionary {
    fn new(kind: Kind, column: &Column) -> Self {
        let (mut plain, mut truths) = (PlainValues::of_entries(kind, column), Vec::new());
        let mut codes = Vec::with_capacity(column.cardinality());
        let (mut next, mut fits) = (0, true);
        for code in 0..column.cardinality() as u32 {
            let stored = to_store(column.value(code), kind);
            fits &= stored.is_some();
            codes.push(if stored.is_some() { next } else { NO_CODE });
            next += u32::from(stored.is_some());
            match stored {
                Some(ToStore::Plain(Stored::Boolean(truth))) => truths.push(truth),
                Some(stored) => plain.add(stored),
                None => {}
            }
        }
        let is_boolean = kind == Kind::Boolean;
        let values = if is_boolean { FieldValues::Booleans(truths) } else { FieldValues::Plain(plain) };
        Self { values, codes, fits }
    }

    /// The rows that have a value that the column holds, and the code of each. The other values go into `others`.
    fn rows_and_codes<'c>(
        &self,
        spec: &ColumnSpec,
        column: &'c Column,
        others: &mut BTreeMap<u32, Map<String, Value>>,
    ) -> (Cow<'c, [u32]>, Cow<'c, [u32]>) {
        let holds_several = spec.count == Count::List;
        if self.fits && (holds_several || no_row_twice(column.rows())) {
            return (Cow::Borrowed(column.rows()), Cow::Borrowed(column.codes()));
        }
        let (mut rows, mut codes) = (Vec::new(), Vec::new());
        for (row, code) in column.rows().iter().zip(column.codes()) {
            match self.codes[*code as usize] {
                held if held != NO_CODE && (holds_several || rows.last() != Some(row)) => {
                    rows.push(*row);
                    codes.push(held);
                }
                _ => add_other(others.entry(*row).or_default(), &spec.name, to_json(column.value(*code))),
            }
        }
        (Cow::Owned(rows), Cow::Owned(codes))
    }
}
