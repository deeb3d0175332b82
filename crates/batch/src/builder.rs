use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use eqlipse_ecs::FieldType;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::column::Entry;
use crate::{
    Column, ColumnFiller, EventBatch, FieldId, RawValue, RowMeta, RowSource, Schema, ValueRef, coerce_date,
    parse_address,
};

/// Fills an [`EventBatch`] row by row.
///
/// A row is open from the first [`push`](Self::push) until [`end_row`](Self::end_row) accepts it or
/// [`abort_row`](Self::abort_row) takes its values back.
pub struct BatchBuilder {
    batch: EventBatch,
    /// One a column.
    dictionaries: Vec<Dictionary>,
    /// Columns that the open row has pushed to, and whether the value was a new one.
    touched: Vec<(FieldId, bool)>,
    hasher: FixedState,
    scratch: String,
}

/// The code of each value of a column, as long as looking for values that came before pays.
pub(crate) struct Dictionary {
    codes: HashTable<u32>,
    /// The type that values take.
    ty: FieldType,
    /// The code of the value that came last.
    last: Option<u32>,
    /// Where that value lies in the column's texts, or [`NO_TEXT`].
    last_text: Range<u32>,
    /// Nearly every value was new, so that further ones are stored without a look.
    unique: bool,
    /// In so many batches to come, fewer values are looked at before that is known.
    learned_batches: u8,
}

/// So many values of a column are looked at before it counts as nearly unique.
const LEARNED_VALUES: usize = 1024;
/// And so many in a few batches after one of many values, nearly all of which were new.
const LEARNED_AGAIN: usize = 64;
const LEARNED_BATCHES: u8 = 16;
const MANY_VALUES: usize = 512;

/// As long as no text.
const NO_TEXT: Range<u32> = 0..u32::MAX;

impl Dictionary {
    fn new(ty: FieldType) -> Self {
        let codes = HashTable::new();
        Self { codes, ty, last: None, last_text: NO_TEXT, unique: false, learned_batches: 0 }
    }

    /// Whether further values are stored without a look.
    pub(crate) fn is_unique(&self) -> bool {
        self.unique
    }

    /// Forgets the values of the column, but not that nearly all were new.
    fn clear(&mut self, column: &Column) {
        let (distinct, values) = (column.entries.len(), column.codes.len());
        // What was not looked at in the batch seems to be new.
        self.learned_batches = match self.learned_batches {
            0 if values >= MANY_VALUES && is_nearly_unique(distinct, values) => LEARNED_BATCHES,
            batches => batches.saturating_sub(1),
        };
        self.codes.clear();
        (self.last, self.unique) = (None, false);
    }

    /// The code of the value that came last, if this text is it and looking pays.
    #[inline]
    fn repeated(&self, column: &Column, text: &str) -> Option<u32> {
        // Texts of different lengths are told apart without a look at them.
        let Range { start, end } = self.last_text;
        let is_last = (end - start) as usize == text.len()
            && column.text.as_bytes().get(start as usize..end as usize) == Some(text.as_bytes());
        self.last.filter(|_| is_last && !self.unique)
    }

    /// Takes note of the value that came last.
    fn came(&mut self, column: &Column, code: u32) {
        self.last = Some(code);
        self.last_text = match column.entries[code as usize] {
            Entry::Str { start, len } => start..start + len,
            _ => NO_TEXT,
        };
    }

    /// Takes note of one more distinct value.
    fn grew(&mut self, column: &Column) {
        let distinct = column.entries.len();
        let learned = if self.learned_batches > 0 { LEARNED_AGAIN } else { LEARNED_VALUES };
        self.unique = distinct == learned && is_nearly_unique(distinct, column.codes.len());
    }
}

fn is_nearly_unique(distinct: usize, values: usize) -> bool {
    values < distinct + distinct / 8
}

impl BatchBuilder {
    /// An empty batch over this schema.
    pub fn new(schema: Arc<Schema>) -> Self {
        let width = schema.fields().len();
        let batch = EventBatch {
            schema,
            columns: (0..width).map(|_| Column::default()).collect(),
            rows: Vec::new(),
            sources: Vec::new(),
        };
        let dictionaries = batch.schema.fields().iter().map(|field| Dictionary::new(field.ty)).collect();
        Self { batch, dictionaries, touched: Vec::new(), hasher: FixedState::with_seed(0), scratch: String::new() }
    }

    /// An empty batch over another schema, in the memory of this one.
    pub fn over(mut self, schema: Arc<Schema>) -> Self {
        self.clear();
        self.batch.columns.resize_with(schema.fields().len(), Column::default);
        self.dictionaries.resize_with(schema.fields().len(), || Dictionary::new(FieldType::Dynamic));
        for (dictionary, field) in self.dictionaries.iter_mut().zip(schema.fields()) {
            (dictionary.ty, dictionary.learned_batches) = (field.ty, 0);
        }
        self.batch.schema = schema;
        self
    }

    /// The schema that decoders walk along.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.batch.schema
    }

    /// How many rows have been accepted.
    pub fn len(&self) -> usize {
        self.batch.rows.len()
    }

    /// Whether no row has been accepted.
    pub fn is_empty(&self) -> bool {
        self.batch.rows.is_empty()
    }

    /// Adds a value of the open row. The value takes the column's type; one that cannot (text in a number field that
    /// is no number, a malformed address) leaves the field without it and gives `false`.
    pub fn push(&mut self, field: FieldId, value: RawValue<'_>) -> bool {
        let ty = self.dictionaries[field.index()].ty;
        if let (RawValue::Str(text), FieldType::Keyword | FieldType::Version | FieldType::Dynamic) = (value, ty) {
            self.insert_text(field, text);
            return true;
        }
        let mut text = std::mem::take(&mut self.scratch);
        let coerced = coerce(ty, value, &mut text).map(|value| self.insert(field, value)).is_some();
        self.scratch = text;
        coerced
    }

    /// Adds a value of the open row that has the column's type.
    pub fn push_value(&mut self, field: FieldId, value: ValueRef<'_>) {
        self.insert(field, value);
    }

    #[inline]
    fn insert_text(&mut self, field: FieldId, text: &str) {
        // Most columns repeat themselves from row to row.
        match self.dictionaries[field.index()].repeated(&self.batch.columns[field.index()], text) {
            Some(last) => self.put(field, last, false),
            None => self.insert_other(field, ValueRef::Str(text)),
        }
    }

    fn insert(&mut self, field: FieldId, value: ValueRef<'_>) {
        let column = &self.batch.columns[field.index()];
        let dictionary = &self.dictionaries[field.index()];
        match dictionary.last {
            Some(last) if !dictionary.unique && column.holds(last, value) => self.put(field, last, false),
            _ => self.insert_other(field, value),
        }
    }

    /// Adds a value that is not the one that came last, or not known to be.
    fn insert_other(&mut self, field: FieldId, value: ValueRef<'_>) {
        let column = &mut self.batch.columns[field.index()];
        let dictionary = &mut self.dictionaries[field.index()];
        let known = column.entries.len();
        let code = code_of(column, dictionary, &self.hasher, value);
        let is_new = column.entries.len() > known;
        self.put(field, code, is_new);
    }

    #[inline]
    fn put(&mut self, field: FieldId, code: u32, is_new: bool) {
        let column = &mut self.batch.columns[field.index()];
        column.rows.push(self.batch.rows.len() as u32);
        column.codes.push(code);
        self.touched.push((field, is_new));
    }

    /// The values that the open row has pushed for `field` so far.
    pub fn open_values(&self, field: FieldId) -> impl Iterator<Item = ValueRef<'_>> {
        self.batch.columns[field.index()].values_of(self.batch.rows.len() as u32)
    }

    /// Accepts the open row.
    pub fn end_row(&mut self, meta: RowMeta) {
        self.batch.rows.push(meta);
        self.touched.clear();
    }

    /// Says where the accepted rows stand among those of their source, where that was not known before.
    pub fn place_rows(&mut self, positions: impl Iterator<Item = u64>) {
        self.batch.rows.iter_mut().zip(positions).for_each(|(row, position)| row.order.arrival.position = position);
    }

    /// Fills the column of `field` for many rows at once, to be accepted together by [`end_rows`](Self::end_rows).
    pub fn fill(&mut self, field: FieldId) -> ColumnFiller<'_> {
        ColumnFiller {
            ty: self.dictionaries[field.index()].ty,
            first_row: self.batch.rows.len() as u32,
            column: &mut self.batch.columns[field.index()],
            dictionary: &mut self.dictionaries[field.index()],
            hasher: &self.hasher,
        }
    }

    /// Accepts rows whose columns were [filled](Self::fill).
    pub fn end_rows(&mut self, rows: impl IntoIterator<Item = RowMeta>) {
        self.batch.rows.extend(rows);
        self.touched.clear();
    }

    /// Drops the open row and the values it pushed.
    pub fn abort_row(&mut self) {
        while let Some((field, is_new)) = self.touched.pop() {
            let column = &mut self.batch.columns[field.index()];
            column.rows.pop();
            column.codes.pop();
            if is_new {
                forget_entry(column, &mut self.dictionaries[field.index()], &self.hasher);
            }
        }
    }

    /// Says where the documents of the rows from `first_row` on come from; `first_row` becomes the source's row 0.
    /// Called in row order, for every run of rows.
    pub fn add_source(&mut self, first_row: u32, source: Box<dyn RowSource>) {
        self.batch.sources.push((first_row, source));
    }

    /// Gives the finished batch, leaving an empty builder.
    pub fn finish(&mut self) -> EventBatch {
        let schema = self.batch.schema.clone();
        std::mem::replace(self, Self::new(schema)).batch
    }

    /// Whether each value of a field has one code only. Where nearly every value is another, nobody looks whether it is.
    pub fn is_distinct(&self, field: FieldId) -> bool {
        !self.dictionaries[field.index()].unique
    }

    /// The batch as it stands, for a matcher that gives the memory back with [`clear`](Self::clear).
    pub fn batch(&self) -> &EventBatch {
        &self.batch
    }

    /// Empties the builder and keeps its memory.
    pub fn clear(&mut self) {
        for (column, dictionary) in self.batch.columns.iter_mut().zip(&mut self.dictionaries) {
            // That values were new may have been learnt of a row that was taken back.
            dictionary.unique = false;
            if column.entries.is_empty() {
                continue;
            }
            dictionary.clear(column);
            column.rows.clear();
            column.codes.clear();
            column.entries.clear();
            column.text.clear();
            column.addresses.clear();
        }
        self.batch.rows.clear();
        self.batch.sources.clear();
        self.touched.clear();
    }
}

/// The code of this value, a new one if it has none, or nobody looks.
pub(crate) fn code_of(
    column: &mut Column,
    dictionary: &mut Dictionary,
    hasher: &FixedState,
    value: ValueRef<'_>,
) -> u32 {
    if dictionary.unique {
        return add_entry(column, value);
    }
    let hash = hash_value(hasher, value);
    let found = dictionary.codes.find(hash, |code| column.holds(*code, value)).copied();
    let code = found.unwrap_or_else(|| {
        let code = add_entry(column, value);
        dictionary.codes.insert_unique(hash, code, |code| hash_value(hasher, column.value(*code)));
        dictionary.grew(column);
        code
    });
    dictionary.came(column, code);
    code
}

pub(crate) fn add_entry(column: &mut Column, value: ValueRef<'_>) -> u32 {
    let code = column.entries.len() as u32;
    let entry = store(column, value);
    column.entries.push(entry);
    code
}

/// Takes back the entry that was added last.
fn forget_entry(column: &mut Column, dictionary: &mut Dictionary, hasher: &FixedState) {
    let Some(code) = (column.entries.len() as u32).checked_sub(1) else { return };
    let hash = hash_value(hasher, column.value(code));
    if let Ok(known) = dictionary.codes.find_entry(hash, |known| *known == code) {
        known.remove();
    }
    dictionary.last = None;
    match column.entries.pop() {
        Some(Entry::Str { start, .. }) => column.text.truncate(start as usize),
        Some(Entry::Ip(index)) => column.addresses.truncate(index as usize),
        _ => {}
    }
}

fn store(column: &mut Column, value: ValueRef<'_>) -> Entry {
    match value {
        ValueRef::Str(text) => {
            let start = column.text.len() as u32;
            column.text.push_str(text);
            Entry::Str { start, len: text.len() as u32 }
        }
        ValueRef::Int(value) => Entry::Int(value),
        ValueRef::UInt(value) => Entry::UInt(value),
        ValueRef::Double(value) => Entry::Double(value),
        ValueRef::Bool(value) => Entry::Bool(value),
        ValueRef::Date(value) => Entry::Date(value),
        ValueRef::Ip(address) => {
            column.addresses.push(address);
            Entry::Ip(column.addresses.len() as u32 - 1)
        }
    }
}

fn hash_value(hasher: &FixedState, value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Str(text) => hasher.hash_one(text),
        ValueRef::Int(value) => hasher.hash_one((1u8, value)),
        ValueRef::UInt(value) => hasher.hash_one((2u8, value)),
        ValueRef::Double(value) => hasher.hash_one((3u8, value.to_bits())),
        ValueRef::Bool(value) => hasher.hash_one((4u8, value)),
        ValueRef::Date(value) => hasher.hash_one((5u8, value)),
        ValueRef::Ip(address) => hasher.hash_one(address),
    }
}

/// The value in the type of a field; text that must be made is written to `scratch`. `None` if it can be none.
pub fn coerce<'a>(ty: FieldType, value: RawValue<'a>, scratch: &'a mut String) -> Option<ValueRef<'a>> {
    match ty {
        FieldType::Keyword | FieldType::Version => Some(ValueRef::Str(to_text(value, scratch))),
        FieldType::Long => to_long(value),
        FieldType::Double => to_double(value).map(ValueRef::Double),
        FieldType::Boolean => to_bool(value).map(ValueRef::Bool),
        FieldType::Date => coerce_date(value).map(ValueRef::Date),
        FieldType::Ip => match value {
            RawValue::Str(text) => parse_address(text).map(ValueRef::Ip),
            _ => None,
        },
        FieldType::Dynamic => Some(match value {
            RawValue::Str(text) => ValueRef::Str(text),
            RawValue::Int(value) => ValueRef::Int(value),
            RawValue::UInt(value) => ValueRef::UInt(value),
            RawValue::Double(value) => ValueRef::Double(value),
            RawValue::Bool(value) => ValueRef::Bool(value),
        }),
    }
}

fn to_text<'a>(value: RawValue<'a>, scratch: &'a mut String) -> &'a str {
    use std::fmt::Write;
    scratch.clear();
    let written = match value {
        RawValue::Str(text) => return text,
        RawValue::Int(value) => write!(scratch, "{value}"),
        RawValue::UInt(value) => write!(scratch, "{value}"),
        RawValue::Double(value) => write!(scratch, "{value:?}"),
        RawValue::Bool(value) => write!(scratch, "{value}"),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
    scratch
}

/// Elasticsearch's `coerce`: numeric text becomes a number, fractions are cut toward zero.
fn to_long<'a>(value: RawValue<'_>) -> Option<ValueRef<'a>> {
    match value {
        RawValue::Int(value) => Some(ValueRef::Int(value)),
        RawValue::UInt(value) => Some(ValueRef::UInt(value)),
        RawValue::Double(value) => truncate(value),
        RawValue::Bool(_) => None,
        RawValue::Str(text) => {
            let text = text.trim();
            if let Ok(value) = text.parse::<i64>() {
                return Some(ValueRef::Int(value));
            }
            if let Ok(value) = text.parse::<u64>() {
                return Some(ValueRef::UInt(value));
            }
            truncate(parse_decimal(text)?)
        }
    }
}

fn truncate<'a>(value: f64) -> Option<ValueRef<'a>> {
    let whole = value.trunc();
    if whole >= -(2f64.powi(63)) && whole < 2f64.powi(63) {
        Some(ValueRef::Int(whole as i64))
    } else if (0.0..2f64.powi(64)).contains(&whole) {
        Some(ValueRef::UInt(whole as u64))
    } else {
        None
    }
}

fn to_double(value: RawValue<'_>) -> Option<f64> {
    match value {
        RawValue::Int(value) => Some(value as f64),
        RawValue::UInt(value) => Some(value as f64),
        RawValue::Double(value) => Some(value),
        RawValue::Bool(_) => None,
        RawValue::Str(text) => parse_decimal(text.trim()),
    }
    .filter(|value| value.is_finite())
}

/// A decimal number, without the words (`inf`, `nan`) that Rust's parser takes too.
fn parse_decimal(text: &str) -> Option<f64> {
    let plausible = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if plausible { text.parse().ok() } else { None }
}

fn to_bool(value: RawValue<'_>) -> Option<bool> {
    match value {
        RawValue::Bool(value) => Some(value),
        RawValue::Str("true") => Some(true),
        RawValue::Str("false" | "") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, OrderKey};

    fn meta() -> RowMeta {
        RowMeta { order: OrderKey { time: Some(0), tiebreaker: None, arrival: Arrival::default() }, identity: None }
    }

    fn coerced(ty: FieldType, value: RawValue<'_>) -> Option<String> {
        let mut scratch = String::new();
        coerce(ty, value, &mut scratch).map(|value| format!("{value:?}"))
    }

    #[test]
    fn it_is_known_where_entries_are_distinct() {
        let mut schema = Schema::builder();
        let field = schema.add("process.entity_id");
        let schema = schema.build();
        let mut builder = BatchBuilder::new(schema.clone());
        let fill = |builder: &mut BatchBuilder, values: std::ops::Range<usize>| {
            for value in values.chain([0; 100]) {
                builder.push(field, RawValue::Str(&value.to_string()));
                builder.end_row(meta());
            }
            (builder.batch().column(field).cardinality(), builder.is_distinct(field))
        };
        assert_eq!(fill(&mut builder, 0..LEARNED_VALUES - 1), (LEARNED_VALUES - 1, true));
        builder.clear();
        assert_eq!(fill(&mut builder, 0..LEARNED_VALUES), (LEARNED_VALUES + 100, false));
        let mut filler = builder.fill(field);
        assert_ne!(filler.code(ValueRef::Str("0")), filler.code(ValueRef::Str("0")));
        // What was so in a batch is learnt sooner in those behind it, and not for ever, and not of other columns.
        for _ in 1..LEARNED_BATCHES {
            builder.clear();
            assert_eq!(fill(&mut builder, 0..LEARNED_AGAIN), (LEARNED_AGAIN + 100, false));
        }
        builder.clear();
        assert_eq!(fill(&mut builder, 0..LEARNED_AGAIN), (LEARNED_AGAIN, true));
        builder.clear();
        assert_eq!(fill(&mut builder, 0..LEARNED_VALUES), (LEARNED_VALUES + 100, false));
        let mut builder = builder.over(schema);
        assert_eq!(fill(&mut builder, 0..LEARNED_AGAIN), (LEARNED_AGAIN, true));
    }

    #[test]
    fn another_schema_has_nothing_of_the_one_before() {
        let schema = |names: &[&str]| {
            let mut schema = Schema::builder();
            let fields: Vec<FieldId> = names.iter().map(|name| schema.add(name)).collect();
            (schema.build(), fields)
        };
        let fill = |mut builder: BatchBuilder, fields: &[FieldId]| {
            for value in ["1", "2", "1"] {
                fields.iter().for_each(|field| _ = builder.push(*field, RawValue::Str(value)));
                builder.end_row(meta());
            }
            builder
        };
        let values = |builder: &BatchBuilder, field: FieldId| {
            let column = builder.batch().column(field);
            let values = column.codes().iter().map(|code| format!("{:?}", column.value(*code)));
            (column.rows().to_vec(), column.cardinality(), values.collect::<Vec<_>>())
        };
        let schemas =
            [schema(&["process.pid", "process.name", "a"]), schema(&["process.name"]), schema(&["b", "process.pid"])];
        let mut used = BatchBuilder::new(schemas[0].0.clone());
        for (schema, fields) in &schemas {
            used = fill(used.over(schema.clone()), fields);
            let new = fill(BatchBuilder::new(schema.clone()), fields);
            assert_eq!(used.len(), 3);
            fields.iter().for_each(|field| assert_eq!(values(&used, *field), values(&new, *field)));
        }
    }

    #[test]
    fn columns_are_sparse_and_dictionary_encoded() {
        let mut schema = Schema::builder();
        let name = schema.add("process.name");
        let pid = schema.add("process.pid");
        let mut builder = BatchBuilder::new(schema.build());
        for (row, text) in ["cmd.exe", "mshta.exe", "cmd.exe"].into_iter().enumerate() {
            builder.push(name, RawValue::Str(text));
            if row == 1 {
                builder.push(pid, RawValue::Str("17"));
                builder.push(pid, RawValue::Int(18));
            }
            builder.end_row(meta());
        }
        let batch = builder.finish();
        assert_eq!(batch.len(), 3);
        assert_eq!(batch.column(name).codes(), [0, 1, 0]);
        assert_eq!(batch.column(pid).rows(), [1, 1]);
        assert_eq!(batch.column(pid).values_of(1).collect::<Vec<_>>(), [ValueRef::Int(17), ValueRef::Int(18)]);
        assert_eq!(batch.column(pid).codes_of(0), [] as [u32; 0]);
        assert_eq!(batch.column(pid).codes_of(2), [] as [u32; 0]);
    }

    #[test]
    fn an_aborted_row_leaves_nothing() {
        let mut schema = Schema::builder();
        let name = schema.add("process.name");
        let mut builder = BatchBuilder::new(schema.build());
        builder.push(name, RawValue::Str("a"));
        builder.push(name, RawValue::Str("b"));
        builder.abort_row();
        builder.push(name, RawValue::Str("c"));
        builder.end_row(meta());
        let batch = builder.finish();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch.column(name).values_of(0).collect::<Vec<_>>(), [ValueRef::Str("c")]);
        assert_eq!(batch.column(name).cardinality(), 1);
    }

    #[test]
    fn what_an_aborted_row_repeats_stays() {
        let mut schema = Schema::builder();
        let name = schema.add("process.name");
        let ip = schema.add_typed("source.ip", FieldType::Ip);
        let mut builder = BatchBuilder::new(schema.build());
        let row = |builder: &mut BatchBuilder, names: &[&str]| {
            names.iter().for_each(|text| _ = builder.push(name, RawValue::Str(text)));
            builder.push(ip, RawValue::Str("10.0.0.1"));
        };
        row(&mut builder, &["a"]);
        builder.end_row(meta());
        row(&mut builder, &["a", "b", "b", "c", "b"]);
        builder.abort_row();
        row(&mut builder, &["c", "a", "b"]);
        builder.end_row(meta());
        let batch = builder.finish();
        assert_eq!(batch.column(name).codes(), [0, 1, 0, 2]);
        let values = [ValueRef::Str("c"), ValueRef::Str("a"), ValueRef::Str("b")];
        assert_eq!(batch.column(name).values_of(1).collect::<Vec<_>>(), values);
        assert_eq!(batch.column(ip).codes(), [0, 0]);
    }

    #[test]
    fn values_take_the_type_of_their_field() {
        let cases = [
            (FieldType::Keyword, RawValue::Int(5), Some("Str(\"5\")")),
            (FieldType::Keyword, RawValue::Double(5.0), Some("Str(\"5.0\")")),
            (FieldType::Keyword, RawValue::Bool(true), Some("Str(\"true\")")),
            (FieldType::Long, RawValue::Str(" 42 "), Some("Int(42)")),
            (FieldType::Long, RawValue::Str("4.9"), Some("Int(4)")),
            (FieldType::Long, RawValue::Double(-4.9), Some("Int(-4)")),
            (FieldType::Long, RawValue::Str("0x10"), None),
            (FieldType::Long, RawValue::Str("inf"), None),
            (FieldType::Double, RawValue::Str("nan"), None),
            (FieldType::Double, RawValue::Str("2.5"), Some("Double(2.5)")),
            (FieldType::Boolean, RawValue::Str("false"), Some("Bool(false)")),
            (FieldType::Boolean, RawValue::Str("yes"), None),
            (FieldType::Date, RawValue::Int(1_000), Some("Date(1000000000)")),
            (FieldType::Ip, RawValue::Str("::1"), Some("Ip(::1)")),
            (FieldType::Ip, RawValue::Str("-"), None),
            (FieldType::Dynamic, RawValue::Int(5), Some("Int(5)")),
        ];
        for (ty, value, expected) in cases {
            assert_eq!(coerced(ty, value).as_deref(), expected, "{value:?} as {ty:?}");
        }
    }

    #[test]
    fn texts_and_other_values_of_a_field_are_told_apart() {
        let mut schema = Schema::builder();
        let field = schema.add_typed("x", FieldType::Dynamic);
        let mut builder = BatchBuilder::new(schema.build());
        let values = [RawValue::Int(5), RawValue::Str(""), RawValue::Str(""), RawValue::Bool(true), RawValue::Str("")];
        for value in values {
            builder.push(field, value);
            builder.end_row(meta());
        }
        assert_eq!(builder.finish().column(field).codes(), [0, 1, 1, 2, 1]);
    }

    #[test]
    fn nearly_unique_columns_keep_their_values() {
        let mut schema = Schema::builder();
        let id = schema.add("process.entity_id");
        let name = schema.add("process.name");
        let mut builder = BatchBuilder::new(schema.build());
        for _ in 0..2 {
            for row in 0..5000u32 {
                builder.push(id, RawValue::Str(&format!("{}", row / 2 * 2)));
                builder.push(id, RawValue::Str(&format!("x{row}")));
                builder.push(name, RawValue::Str(if row % 3 == 0 { "a" } else { "b" }));
                builder.end_row(meta());
            }
            let batch = builder.batch();
            assert_eq!(batch.column(name).cardinality(), 2);
            assert!(batch.column(id).cardinality() <= 10_000);
            for row in 0..5000u32 {
                let expected = [format!("{}", row / 2 * 2), format!("x{row}")];
                let values: Vec<_> = batch.column(id).values_of(row).collect();
                assert_eq!(values, [ValueRef::Str(&expected[0]), ValueRef::Str(&expected[1])]);
            }
            builder.clear();
        }
    }

    #[test]
    fn a_cleared_builder_starts_anew() {
        let mut schema = Schema::builder();
        let name = schema.add("process.name");
        let mut builder = BatchBuilder::new(schema.build());
        builder.push(name, RawValue::Str("a"));
        builder.end_row(meta());
        builder.clear();
        assert!(builder.is_empty());
        builder.push(name, RawValue::Str("b"));
        builder.end_row(meta());
        assert_eq!(builder.batch().column(name).values_of(0).collect::<Vec<_>>(), [ValueRef::Str("b")]);
        assert_eq!(builder.batch().column(name).cardinality(), 1);
    }
}
