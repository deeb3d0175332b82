//! Events into the row groups of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use eqlipse_batch::{BatchBuilder, Column, FieldId, RowMeta, Schema, ValueRef};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError as CrateError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value};

use super::census::walk;
use super::layout::{
    ColumnSpec, Count, IDENTITY, INDEX, Kind, Layout, OTHER, OTHERS_KEY, SOURCE, TIME, TYPES_KEY, VERSION, VERSION_KEY,
};
use super::segment::SegmentEvent;
use super::spool::Entry;
use super::value::{Stored, ToStore, to_json, to_store};
use super::{MAX_GROUP_BYTES, MAX_GROUP_ROWS, MAX_PAGE_BYTES};
use crate::json::{Decoder, Hit, logical_index};
use crate::reserved::{Reserved, reserve};

/// Bytes of documents in a page, so that one document can be read without many others.
const SOURCE_PAGE_BYTES: usize = 32 << 10;
/// Fields of `_other` that the metadata tell of at most.
const MAX_OTHER_FIELDS: usize = 4_096;

/// How much work is put into a small file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// As fast as can be: the file is soon put together with others.
    Little,
    /// For files that stay.
    Usual,
}

impl Effort {
    /// Zstd's level.
    fn level(self) -> i32 {
        match self {
            Self::Little => 1,
            Self::Usual => 3,
        }
    }
}

/// Writes a file.
pub(super) struct FileWriter<'o> {
    out: &'o mut dyn Write,
    /// What it writes is passed on to `out` after each row group.
    file: SerializedFileWriter<Vec<u8>>,
    layout: Layout,
    decoder: Decoder,
    builder: BatchBuilder,
    /// The builder's column of each field of the layout.
    columns: Vec<FieldId>,
    /// The builder's column of index names.
    index: FieldId,
    rest: Rest,
    /// By column of the layout: whether a row had a value.
    is_used: Vec<bool>,
    others: OtherKinds,
    path: String,
}

/// What was found in an event.
pub(super) struct OpenRow {
    /// What a rule's index patterns are matched against.
    names: Vec<String>,
    /// It may have a value that there is no column for.
    pub(super) has_unasked: bool,
}

/// What stands in `_other`, for readers that want a field's every value without looking at each row.
#[derive(Default)]
struct OtherKinds {
    /// By field, the kinds of its values, and "several" if some event has more than one there.
    fields: BTreeMap<String, BTreeSet<&'static str>>,
    /// There are more fields than are noted.
    is_cut: bool,
}

impl OtherKinds {
    fn add(&mut self, other: &Map<String, Value>) {
        for (field, values) in other {
            if !self.fields.contains_key(field) {
                if self.fields.len() == MAX_OTHER_FIELDS {
                    self.is_cut = true;
                    continue;
                }
                self.fields.insert(field.clone(), BTreeSet::new());
            }
            if let Some(kinds) = self.fields.get_mut(field) {
                let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
                kinds.extend(values.iter().filter_map(json_kind));
                kinds.extend((values.len() > 1).then_some("several"));
            }
        }
    }
}

/// The kind of a value of `_other`.
fn json_kind(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::String(_) => "text",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "long",
        Value::Number(number) if number.is_u64() => "unsigned",
        Value::Number(_) => "double",
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}

/// What the rows of the row group under way are beside their fields.
#[derive(Default)]
struct Rest {
    indices: Vec<Option<String>>,
    ids: Vec<Option<String>>,
    index_names: Vec<Vec<String>>,
    times: Vec<Option<i64>>,
    sequences: Vec<Option<i64>>,
    identities: Vec<Option<u128>>,
    /// Values that stand in no column, by field.
    others: Vec<Map<String, Value>>,
    documents: Vec<ByteArray>,
    bytes: usize,
}

impl Rest {
    fn add(&mut self, index: Option<String>, id: Option<String>, names: Vec<String>, meta: &RowMeta, document: &str) {
        self.indices.push(index);
        self.ids.push(id);
        self.index_names.push(names);
        self.times.push(meta.order.time);
        self.sequences.push(meta.order.tiebreaker);
        self.identities.push(meta.identity);
        self.others.push(Map::new());
        self.documents.push(ByteArray::from(document));
        self.bytes += document.len();
    }
}

/// Adds a value to those of `_other`.
fn add_other(other: &mut Map<String, Value>, field: &str, value: Value) {
    match other.entry(field).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(values) => values.push(value),
        _ => debug_assert!(false, "every member is a list"),
    }
}

fn failed(error: CrateError) -> io::Error {
    io::Error::other(error.to_string())
}

impl<'o> FileWriter<'o> {
    pub(super) fn new(layout: Layout, effort: Effort, out: &'o mut dyn Write) -> io::Result<Self> {
        let mut schema = Schema::builder();
        let columns = layout.fields.iter().map(|column| schema.add(&column.name)).collect();
        reserve(&mut schema);
        let schema = schema.build();
        let reserved = Reserved::find(&schema).map_err(io::Error::other)?;
        let properties = Arc::new(properties(&layout, effort)?);
        let file = SerializedFileWriter::new(Vec::new(), layout.schema().map_err(failed)?, properties);
        Ok(Self {
            out,
            file: file.map_err(failed)?,
            is_used: vec![false; layout.fields.len()],
            layout,
            index: reserved.index,
            decoder: Decoder::new(schema.clone(), reserved),
            builder: BatchBuilder::new(schema),
            columns,
            rest: Rest::default(),
            others: OtherKinds::default(),
            path: String::new(),
        })
    }

    /// Adds an event.
    pub(super) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let text = std::str::from_utf8(&entry.hit).map_err(io::Error::other)?;
        let hit = Hit::parse(text);
        let document = hit.source.unwrap_or(text);
        // The hit around it can make a document too deep that by itself is not.
        let decoded = self.decoder.decode(&mut self.builder, text, None);
        if decoded.is_err() {
            _ = self.decoder.decode(&mut self.builder, document, None);
        }
        let parse = |raw: Option<&str>| raw.and_then(|raw| serde_json::from_str(raw).ok());
        self.end_row(parse(hit.index), parse(hit.id), entry.index_names.clone(), &entry.meta(), document);
        if self.is_full() { self.write_group() } else { Ok(()) }
    }

    /// Opens a row with the values of an event.
    pub(super) fn open_row(&mut self, event: &SegmentEvent<'_>) -> OpenRow {
        let mut names = Vec::new();
        if !self.decoder.decode_plain(&mut self.builder, event.document) {
            // In a hit, nothing of the document can be taken for something else.
            let mut hit = Vec::new();
            event.write_hit(&mut hit);
            if self.decoder.decode(&mut self.builder, &String::from_utf8_lossy(&hit), None).is_ok() {
                names.extend(self.builder.open_values(self.index).filter_map(|name| match name {
                    ValueRef::Str(name) => Some(name.to_owned()),
                    _ => None,
                }));
            } else {
                // The hit around it can make a document too deep that by itself is not.
                _ = self.decoder.decode(&mut self.builder, event.document, None);
            }
        }
        if names.is_empty() {
            names.push(logical_index(event.index).to_owned());
        }
        OpenRow { names, has_unasked: self.decoder.has_unasked() }
    }

    /// Accepts the row that was opened.
    pub(super) fn end_event(&mut self, event: &SegmentEvent<'_>, row: OpenRow) {
        self.end_row(Some(event.index.to_owned()), Some(event.id.to_owned()), row.names, &event.meta, event.document);
    }

    fn end_row(
        &mut self,
        index: Option<String>,
        id: Option<String>,
        names: Vec<String>,
        meta: &RowMeta,
        document: &str,
    ) {
        self.builder.end_row(*meta);
        self.rest.add(index, id, names, meta, document);
        if self.layout.has_other_fields {
            self.add_other_fields(document);
        }
    }

    /// Whether the row group under way is as large as one may be.
    pub(super) fn is_full(&self) -> bool {
        self.builder.len() >= MAX_GROUP_ROWS || self.rest.bytes >= MAX_GROUP_BYTES
    }

    /// The columns that have several values in a row of the row group under way and are no lists.
    pub(super) fn misfits(&self) -> impl Iterator<Item = &str> {
        let columns = self.layout.fields.iter().zip(&self.columns);
        let misfits = columns.filter(|(spec, field)| {
            let rows = self.builder.batch().column(**field).rows();
            spec.count == Count::Optional && rows.windows(2).any(|pair| pair[0] == pair[1])
        });
        misfits.map(|(spec, _)| spec.name.as_str())
    }

    /// Documents of the row group under way with a field that the reader itself asks for and that has no column.
    pub(super) fn uncounted(&self) -> impl Iterator<Item = &str> {
        let schema = self.builder.schema();
        let asked = (0..schema.fields().len() as u32).map(FieldId);
        let has_no_column =
            |field: &FieldId| *field != self.index && !self.layout.types.contains_key(&schema.field(*field).name);
        let rows = asked.filter(has_no_column).flat_map(|field| self.builder.batch().column(field).rows());
        rows.filter_map(|row| std::str::from_utf8(self.rest.documents[*row as usize].data()).ok())
    }

    /// Drops the row group under way.
    pub(super) fn forget_group(&mut self) {
        self.builder.clear();
        self.rest = Rest::default();
    }

    /// Notes the values of the last row's fields that have no column.
    fn add_other_fields(&mut self, document: &str) {
        let (types, Some(other)) = (&self.layout.types, self.rest.others.last_mut()) else { return };
        walk(document, &mut self.path, &mut |name, value| {
            // All names of the index, also one in the document, stand in a column of their own.
            if !types.contains_key(name) && name != INDEX {
                add_other(other, name, super::value::raw_json(value));
            }
        });
    }

    /// Writes the row group under way.
    pub(super) fn write_group(&mut self) -> io::Result<()> {
        let rows = self.builder.len();
        let mut rest = std::mem::take(&mut self.rest);
        let batch = self.builder.batch();
        let mut group = self.file.next_row_group().map_err(failed)?;
        for ((spec, field), is_used) in self.layout.fields.iter().zip(&self.columns).zip(&mut self.is_used) {
            *is_used |= !batch.column(*field).is_empty();
            let cells = field_cells(spec, batch.column(*field), rows, &mut rest.others);
            cells.write(next_column(&mut group)?)?;
        }
        rest.others.iter().for_each(|other| self.others.add(other));
        let others =
            rest.others.iter().map(|other| (!other.is_empty()).then(|| Value::from(other.clone()).to_string()));
        let others: Vec<Option<String>> = others.collect();
        for cells in [
            text_cells(&rest.indices),
            text_cells(&rest.ids),
            list_cells(&rest.index_names),
            optional_cells(rest.times.iter().copied(), Values::Longs),
            optional_cells(rest.sequences.iter().copied(), Values::Longs),
            optional_cells(rest.identities.iter().map(|identity| identity.map(fixed)), Values::Identities),
            text_cells(&others),
        ] {
            cells.write(next_column(&mut group)?)?;
        }
        write_documents(&rest.documents, next_column(&mut group)?)?;
        group.close().map_err(failed)?;
        self.builder.clear();
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let written = self.file.inner_mut();
        self.out.write_all(written)?;
        written.clear();
        Ok(())
    }

    /// Its columns for fields, and which of them have a value.
    pub(super) fn columns(&self) -> (&[ColumnSpec], &[bool]) {
        (&self.layout.fields, &self.is_used)
    }

    /// Writes what is left, and the footer.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.builder.is_empty() {
            self.write_group()?;
        }
        if !self.others.is_cut {
            let others = serde_json::to_string(&self.others.fields).map_err(io::Error::other)?;
            self.file.append_key_value_metadata(KeyValue::new(OTHERS_KEY.to_owned(), others));
        }
        self.file.finish().map_err(failed)?;
        self.pass_on()?;
        self.out.flush()
    }
}

fn next_column<'g>(group: &'g mut SerializedRowGroupWriter<'_, Vec<u8>>) -> io::Result<SerializedColumnWriter<'g>> {
    group.next_column().map_err(failed)?.ok_or_else(|| io::Error::other("the row group has no further column"))
}

fn properties(layout: &Layout, effort: Effort) -> io::Result<WriterProperties> {
    let types = serde_json::to_string(&layout.types).map_err(io::Error::other)?;
    let pair = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let own = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("eqlipse version {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![pair(VERSION_KEY, VERSION), pair(TYPES_KEY, &types)]))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(effort.level()).map_err(failed)?))
        // Whatever is in a dictionary goes into a batch as it is: nothing is to fall back to plain values.
        .set_dictionary_page_size_limit(MAX_PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_data_page_size_limit(own(SOURCE), SOURCE_PAGE_BYTES);
    for name in [SOURCE, TIME, IDENTITY] {
        properties = properties.set_column_dictionary_enabled(own(name), false);
    }
    for name in [SOURCE, OTHER, IDENTITY] {
        properties = properties.set_column_statistics_enabled(own(name), EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// Values of one kind.
enum Values {
    Texts(Vec<ByteArray>),
    Longs(Vec<i64>),
    Doubles(Vec<f64>),
    Booleans(Vec<bool>),
    Identities(Vec<FixedLenByteArray>),
}

/// A column of a row group.
struct ColumnCells {
    values: Values,
    definitions: Vec<i16>,
    /// Of lists.
    repetitions: Option<Vec<i16>>,
}

impl ColumnCells {
    fn write(self, mut column: SerializedColumnWriter<'_>) -> io::Result<()> {
        match &self.values {
            Values::Texts(values) => self.put::<ByteArrayType>(&mut column, values)?,
            Values::Longs(values) => self.put::<Int64Type>(&mut column, values)?,
            Values::Doubles(values) => self.put::<DoubleType>(&mut column, values)?,
            Values::Booleans(values) => self.put::<BoolType>(&mut column, values)?,
            Values::Identities(values) => self.put::<FixedLenByteArrayType>(&mut column, values)?,
        }
        column.close().map_err(failed)
    }

    fn put<T: DataType>(&self, column: &mut SerializedColumnWriter<'_>, values: &[T::T]) -> io::Result<()> {
        let written = column.typed::<T>().write_batch(values, Some(&self.definitions), self.repetitions.as_deref());
        written.map(|_| ()).map_err(failed)
    }
}

/// A field's column; what it cannot hold goes into `others`.
fn field_cells(spec: &ColumnSpec, column: &Column, rows: usize, others: &mut [Map<String, Value>]) -> ColumnCells {
    let mut texts: Vec<Option<ByteArray>> = vec![None; column.cardinality()];
    let mut values = match spec.kind {
        Kind::Text => Values::Texts(Vec::new()),
        Kind::Long | Kind::Date => Values::Longs(Vec::new()),
        Kind::Double => Values::Doubles(Vec::new()),
        Kind::Boolean => Values::Booleans(Vec::new()),
        Kind::Identity => Values::Identities(Vec::new()),
    };
    let mut levels = Levels::new(spec.count, rows);
    for (row, code) in column.rows().iter().zip(column.codes()) {
        let value = column.value(*code);
        match to_store(value, spec.kind) {
            Some(stored) if levels.take(*row) => push_value(&mut values, stored, &mut texts[*code as usize]),
            _ => add_other(&mut others[*row as usize], &spec.name, to_json(value)),
        }
    }
    let (definitions, repetitions) = levels.finish();
    ColumnCells { values, definitions, repetitions }
}

/// Adds a value; `text` keeps the text behind its code.
fn push_value(values: &mut Values, value: ToStore<'_>, text: &mut Option<ByteArray>) {
    match (values, value) {
        (Values::Texts(values), ToStore::Plain(Stored::Text(value))) => {
            values.push(text.get_or_insert_with(|| ByteArray::from(value)).clone());
        }
        (Values::Texts(values), ToStore::Address(address)) => {
            values.push(text.get_or_insert_with(|| ByteArray::from(address.to_string().into_bytes())).clone());
        }
        (Values::Longs(values), ToStore::Plain(Stored::Long(value) | Stored::Date(value))) => values.push(value),
        (Values::Doubles(values), ToStore::Plain(Stored::Double(value))) => values.push(value),
        (Values::Booleans(values), ToStore::Plain(Stored::Boolean(value))) => values.push(value),
        _ => debug_assert!(false, "a value of another kind than its column"),
    }
}

/// Levels of a column that come row by row.
struct Levels {
    count: Count,
    rows: usize,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    /// The row after the last that has levels.
    next: usize,
}

impl Levels {
    fn new(count: Count, rows: usize) -> Self {
        Self { count, rows, definitions: Vec::new(), repetitions: Vec::new(), next: 0 }
    }

    /// Takes note of a value; `false` if the row has one already and can have no more.
    fn take(&mut self, row: u32) -> bool {
        let row = row as usize;
        let is_next = row >= self.next;
        if !is_next && self.count != Count::List {
            return false;
        }
        self.pass_to(row);
        self.definitions.push(self.count.max_definition() as i16);
        self.repetitions.push(i16::from(!is_next));
        self.next = row + 1;
        true
    }

    /// Leaves the rows before this one empty.
    fn pass_to(&mut self, row: usize) {
        let empty = row.saturating_sub(self.next);
        self.definitions.resize(self.definitions.len() + empty, 0);
        self.repetitions.resize(self.repetitions.len() + empty, 0);
        self.next = self.next.max(row);
    }

    fn finish(mut self) -> (Vec<i16>, Option<Vec<i16>>) {
        self.pass_to(self.rows);
        (self.definitions, (self.count == Count::List).then_some(self.repetitions))
    }
}

fn optional_cells<T>(cells: impl Iterator<Item = Option<T>>, values: fn(Vec<T>) -> Values) -> ColumnCells {
    let (mut there, mut definitions) = (Vec::new(), Vec::new());
    for cell in cells {
        definitions.push(i16::from(cell.is_some()));
        there.extend(cell);
    }
    ColumnCells { values: values(there), definitions, repetitions: None }
}

fn text_cells(texts: &[Option<String>]) -> ColumnCells {
    optional_cells(texts.iter().map(|text| text.as_deref().map(ByteArray::from)), Values::Texts)
}

fn list_cells(lists: &[Vec<String>]) -> ColumnCells {
    let mut levels = Levels::new(Count::List, lists.len());
    let mut values = Vec::new();
    for (row, texts) in lists.iter().enumerate() {
        for text in texts {
            levels.take(row as u32);
            values.push(ByteArray::from(text.as_str()));
        }
    }
    let (definitions, repetitions) = levels.finish();
    ColumnCells { values: Values::Texts(values), definitions, repetitions }
}

fn fixed(identity: u128) -> FixedLenByteArray {
    ByteArray::from(identity.to_be_bytes().to_vec()).into()
}

/// Writes the documents so that pages close when they are full; the crate looks only between calls.
fn write_documents(documents: &[ByteArray], mut column: SerializedColumnWriter<'_>) -> io::Result<()> {
    let mut rest = documents;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|document| {
            bytes += document.len();
            bytes <= SOURCE_PAGE_BYTES
        });
        let (page, after) = rest.split_at(fits.count().max(1));
        column.typed::<ByteArrayType>().write_batch(page, None, None).map_err(failed)?;
        rest = after;
    }
    column.close().map_err(failed)
}
