//! Events into the row groups of a file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use eqlipse_batch::{BatchBuilder, FieldId, RowMeta, Schema, ValueRef};
use parquet::errors::ParquetError as CrateError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;
use serde_json::{Map, Value};

use super::census::walk;
use super::encode::{Bounds, ColumnEncoder, PlainValues};
use super::group_write::{GroupColumns, PlainCells, Rest, add_other};
use super::layout::{ColumnSpec, Count, INDEX, Layout, OTHERS_KEY, TYPES_KEY, VERSION, VERSION_KEY};
use super::segment::SegmentEvent;
use super::spool::Entry;
use super::{MAX_GROUP_BYTES, MAX_GROUP_ROWS};
use crate::decoded::{DecodedPart, FieldValues, Having};
use crate::json::{Decoder, Hit, logical_index};
use crate::pages::{DocumentPage, PAGE_LEVEL};
use crate::reserved::{Reserved, reserve};

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
    pub(super) fn level(self) -> i32 {
        match self {
            Self::Little => PAGE_LEVEL,
            Self::Usual => 3,
        }
    }
}

/// What a writer leaves to the next: most of the work of writing a small file would be asking for memory.
#[derive(Default)]
pub(super) struct WriterMemory {
    builder: Option<BatchBuilder>,
    encoder: Option<(Effort, ColumnEncoder)>,
    file: Vec<u8>,
}

/// Writes a file.
pub(super) struct FileWriter<'o> {
    out: &'o mut dyn Write,
    /// What it writes is passed on to `out` after each row group.
    file: SerializedFileWriter<Vec<u8>>,
    /// Of its columns.
    descriptions: Vec<ColumnDescPtr>,
    effort: Effort,
    encoder: ColumnEncoder,
    layout: Layout,
    decoder: Decoder,
    builder: BatchBuilder,
    /// The builder's column of each field of the layout.
    columns: Vec<FieldId>,
    /// The builder's column of index names.
    index: FieldId,
    rest: Rest,
    /// By column of a schema that rows were decoded with: the builder's.
    targets: (Option<Arc<Schema>>, Vec<Option<FieldId>>),
    /// Memory to look codes up in.
    codes: Vec<u32>,
    /// By column of the layout: whether a row had a value.
    is_used: Vec<bool>,
    others: OtherKinds,
    path: String,
}

/// What was found in an event.
pub(super) struct OpenRow {
    /// What a rule's index patterns are matched against, where it is not the index as it stands.
    names: Vec<String>,
    /// It may have a value that there is no column for.
    pub(super) has_unasked: bool,
}

/// What stands in `_other`, for readers that want a field's every value without looking at each row.
#[derive(Default)]
pub(super) struct OtherKinds {
    /// By field, the kinds of its values, and "several" if some event has more than one there.
    fields: BTreeMap<String, BTreeSet<Cow<'static, str>>>,
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
                kinds.extend(values.iter().filter_map(json_kind).map(Cow::Borrowed));
                kinds.extend((values.len() > 1).then_some(Cow::Borrowed("several")));
            }
        }
    }

    /// With what another file tells; `None` if that is too much.
    pub(super) fn with(mut self, added: BTreeMap<String, BTreeSet<String>>) -> Option<Self> {
        for (field, kinds) in added {
            self.fields.entry(field).or_default().extend(kinds.into_iter().map(Cow::Owned));
        }
        (self.fields.len() <= MAX_OTHER_FIELDS).then_some(self)
    }

    /// As it stands in the file's metadata; `None` where it is not told.
    pub(super) fn pair(&self) -> io::Result<Option<KeyValue>> {
        let tell = || serde_json::to_string(&self.fields).map(|told| KeyValue::new(OTHERS_KEY.to_owned(), told));
        Ok((!self.is_cut).then(tell).transpose()?)
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

pub(super) fn failed(error: CrateError) -> io::Error {
    io::Error::other(error.to_string())
}

impl<'o> FileWriter<'o> {
    pub(super) fn new(
        layout: Layout,
        effort: Effort,
        memory: WriterMemory,
        out: &'o mut dyn Write,
    ) -> io::Result<Self> {
        let mut schema = Schema::builder();
        let columns = layout.fields.iter().map(|column| schema.add(&column.name)).collect();
        reserve(&mut schema);
        let schema = schema.build();
        let reserved = Reserved::find(&schema).map_err(io::Error::other)?;
        let properties = Arc::new(properties(&layout)?);
        let file = SerializedFileWriter::new(memory.file, layout.schema().map_err(failed)?, properties);
        let file = file.map_err(failed)?;
        Ok(Self {
            out,
            descriptions: file.schema_descr().columns().to_vec(),
            file,
            effort,
            encoder: match memory.encoder {
                Some((same, encoder)) if same == effort => encoder,
                _ => ColumnEncoder::new(effort)?,
            },
            targets: (None, Vec::new()),
            codes: Vec::new(),
            is_used: vec![false; layout.fields.len()],
            layout,
            index: reserved.index,
            decoder: Decoder::new(schema.clone(), reserved),
            builder: match memory.builder {
                Some(builder) => builder.over(schema),
                None => BatchBuilder::new(schema),
            },
            columns,
            rest: Rest::new(),
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
        let parse = |raw: Option<&str>| raw.and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let (index, id) = (parse(hit.index), parse(hit.id));
        let names = entry.index_names.iter().map(String::as_str);
        self.end_row(index.as_deref(), id.as_deref(), names, &entry.meta(), document);
        self.rest.documents.add(document, &mut self.encoder.packer)?;
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
        OpenRow { names, has_unasked: self.decoder.has_unasked() }
    }

    /// Accepts the row that was opened.
    pub(super) fn end_event(&mut self, event: &SegmentEvent<'_>, row: &OpenRow) -> io::Result<()> {
        self.end_row_of(event, row);
        self.rest.documents.add(event.document, &mut self.encoder.packer)
    }

    /// The same without the document.
    fn end_row_of(&mut self, event: &SegmentEvent<'_>, row: &OpenRow) {
        let own = row.names.is_empty().then(|| logical_index(event.index));
        let names = row.names.iter().map(String::as_str).chain(own);
        self.end_row(Some(event.index), Some(event.id), names, &event.meta, event.document);
    }

    /// Makes room for documents in pages, as far as they may go into one row group.
    pub(super) fn reserve<'p>(&mut self, pages: impl Iterator<Item = &'p DocumentPage>) {
        let mut room = MAX_GROUP_BYTES;
        let fits = |page: &&DocumentPage| {
            room = room.saturating_sub(page.unpacked as usize);
            room > 0
        };
        self.rest.documents.reserve(pages.take_while(fits));
    }

    /// Adds events that were decoded before: those of the part, in this order.
    pub(super) fn add_decoded(&mut self, part: &DecodedPart<'_>, events: &[SegmentEvent<'_>]) -> io::Result<()> {
        let mut next = part.rows.start;
        for row in part.odd().chain([part.rows.end]) {
            self.fill(part, next..row);
            let event = (row - part.rows.start) as usize;
            self.end_rows(&events[(next - part.rows.start) as usize..event]);
            if let Some(event) = events.get(event) {
                let row = self.open_row(event);
                self.end_row_of(event, &row);
            }
            next = row + 1;
        }
        let (documents, packer) = (&mut self.rest.documents, &mut self.encoder.packer);
        match part.pages.iter().map(|page| page.rows as usize).sum::<usize>() == events.len() {
            true => documents.add_pages(part.pages, packer),
            false => events.iter().try_for_each(|event| documents.add(event.document, packer)),
        }
    }

    /// Puts values of decoded events into the columns, from the next row on.
    fn fill(&mut self, part: &DecodedPart<'_>, rows: Range<u32>) {
        let Some(decoded) = part.decoded else { return };
        self.find_targets(&decoded.schema);
        for FieldValues { field, column, rows: having, codes, .. } in part.values(&rows) {
            // What has no column is noted with the documents.
            let Some(target) = self.targets.1[field.index()] else { continue };
            let (known, mut filler) = (&mut self.codes, self.builder.fill(target));
            match having {
                Having::All(all) => filler.put_rows(0..all.len() as u32),
                Having::Some(having) => filler.put_rows(having.iter().map(|row| row - rows.start)),
            }
            filler.put_packed(column, codes, known);
        }
    }

    /// Sees to it that it is known which of the builder's columns those of a schema go to.
    fn find_targets(&mut self, schema: &Arc<Schema>) {
        if self.targets.0.as_ref().is_none_or(|known| !Arc::ptr_eq(known, schema)) {
            let targets = schema.fields().iter().map(|field| self.builder.schema().lookup(&field.name));
            self.targets = (Some(schema.clone()), targets.collect());
        }
    }

    /// Closes the row group under way if it would be too large with these events.
    pub(super) fn make_room(&mut self, events: &[SegmentEvent<'_>]) -> io::Result<()> {
        let bytes: usize = events.iter().map(|event| event.document.len()).sum();
        let is_full = self.rest.bytes + bytes > MAX_GROUP_BYTES || self.builder.len() + events.len() > MAX_GROUP_ROWS;
        if is_full && !self.builder.is_empty() { self.write_group() } else { Ok(()) }
    }

    /// Accepts rows whose columns were filled.
    fn end_rows(&mut self, events: &[SegmentEvent<'_>]) {
        let (mut first, rest) = (self.builder.len() as u32, &mut self.rest);
        self.builder.end_rows(events.iter().map(|event| event.meta));
        for same in events.chunk_by(|event, next| event.index == next.index) {
            let rows = first..first + same.len() as u32;
            rest.indices.add_all(rows.clone(), same[0].index);
            rest.index_names.add_all(rows.clone(), logical_index(same[0].index));
            first = rows.end;
            for (event, row) in same.iter().zip(rows) {
                rest.ids.add(row, Some(event.id), PlainValues::add_text);
                rest.add_meta(row, &event.meta);
                rest.bytes += event.document.len();
            }
        }
        if self.layout.has_other_fields {
            let first = first - events.len() as u32;
            events.iter().zip(first..).for_each(|(event, row)| self.add_other_fields(row, event.document));
        }
    }

    fn end_row<'n>(
        &mut self,
        index: Option<&str>,
        id: Option<&str>,
        names: impl Iterator<Item = &'n str>,
        meta: &RowMeta,
        document: &str,
    ) {
        let (row, rest) = (self.builder.len() as u32, &mut self.rest);
        self.builder.end_row(*meta);
        index.into_iter().for_each(|index| rest.indices.add(row, index));
        names.for_each(|name| rest.index_names.add(row, name));
        rest.ids.add(row, id, PlainValues::add_text);
        rest.add_meta(row, meta);
        rest.bytes += document.len();
        if self.layout.has_other_fields {
            self.add_other_fields(row, document);
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

    /// Rows of the row group under way with a field that the reader itself asks for and that has no column.
    pub(super) fn uncounted(&self) -> impl Iterator<Item = u32> {
        let schema = self.builder.schema();
        let asked = (0..schema.fields().len() as u32).map(FieldId);
        let has_no_column =
            |field: &FieldId| *field != self.index && !self.layout.types.contains_key(&schema.field(*field).name);
        asked.filter(has_no_column).flat_map(|field| self.builder.batch().column(field).rows()).copied()
    }

    /// Drops the row group under way.
    pub(super) fn forget_group(&mut self) {
        self.builder.clear();
        self.rest = Rest::new();
    }

    /// Notes the values of a row's fields that have no column.
    fn add_other_fields(&mut self, row: u32, document: &str) {
        let (types, others) = (&self.layout.types, &mut self.rest.others);
        walk(document, &mut self.path, &mut |name, value| {
            // All names of the index, also one in the document, stand in a column of their own.
            if !types.contains_key(name) && name != INDEX {
                add_other(others.entry(row).or_default(), name, super::value::raw_json(value));
            }
        });
    }

    /// Writes the row group under way.
    pub(super) fn write_group(&mut self) -> io::Result<()> {
        let all = self.builder.len();
        let mut rest = std::mem::replace(&mut self.rest, Rest::new());
        let batch = self.builder.batch();
        let row_group = self.file.next_row_group().map_err(failed)?;
        let mut group =
            GroupColumns { group: row_group, left: self.descriptions.iter(), encoder: &mut self.encoder, all };
        for ((spec, field), is_used) in self.layout.fields.iter().zip(&self.columns).zip(&mut self.is_used) {
            *is_used |= !batch.column(*field).is_empty();
            let (column, others) = (batch.column(*field), &mut rest.others);
            // Some readers take it that a dictionary has no entry twice.
            match self.builder.is_distinct(*field) {
                true => group.write_field(spec, column, others)?,
                false => group.write_values(spec, column, others)?,
            }
        }
        rest.others.values().for_each(|other| self.others.add(other));
        let mut others = PlainCells::new(Bounds::Untold);
        for (row, other) in rest.others {
            others.add(row, Some(Value::from(other).to_string()), |values, text| values.add_text(&text));
        }
        group.write_codes(rest.indices, Count::Optional)?;
        group.write_cells(rest.ids)?;
        group.write_codes(rest.index_names, Count::List)?;
        for cells in [rest.times, rest.sequences, rest.identities, others] {
            group.write_cells(cells)?;
        }
        group.finish(rest.documents)?;
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

    /// Its columns for fields, and which of them have a value, once all of its row groups are written.
    pub(super) fn finish_groups(&mut self) -> io::Result<(&[ColumnSpec], &[bool])> {
        if !self.builder.is_empty() {
            self.write_group()?;
        }
        Ok((&self.layout.fields, &self.is_used))
    }

    /// Writes what is left, and the footer.
    pub(super) fn finish(mut self) -> io::Result<WriterMemory> {
        self.finish_groups()?;
        if let Some(others) = self.others.pair()? {
            self.file.append_key_value_metadata(others);
        }
        self.file.finish().map_err(failed)?;
        self.pass_on()?;
        self.out.flush()?;
        Ok(self.into_memory())
    }

    /// Leaves the file as it is.
    pub(super) fn into_memory(mut self) -> WriterMemory {
        let mut file = std::mem::take(self.file.inner_mut());
        file.clear();
        WriterMemory { builder: Some(self.builder), encoder: Some((self.effort, self.encoder)), file }
    }
}

fn properties(layout: &Layout) -> io::Result<WriterProperties> {
    let types = serde_json::to_string(&layout.types).map_err(io::Error::other)?;
    let pair = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    Ok(WriterProperties::builder()
        .set_created_by(format!("eqlipse version {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![pair(VERSION_KEY, VERSION), pair(TYPES_KEY, &types)]))
        .build())
}
