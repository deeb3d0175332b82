//! Column chunks: a batch's dictionary, codes and rows as pages, as they are.
//!
//! The crate's own writer is given a value for each row, and looks each up in a dictionary again. Here the codes are the
//! batch's own, so that a value costs the few bits of its code. What was encoded is then appended to a row group of the
//! crate's, which keeps the footer.

use std::io::{self, Write};

use bytes::Bytes;
use eqlipse_batch::Column;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::layout::{Count, Kind};
use super::value::{Stored, ToStore};
use super::write::{Effort, failed};
use crate::pages::{page_compressor, put_document};

/// From so many equal numbers on, they are written as one.
const MIN_REPEATED: usize = 16;
/// The longest text that the statistics tell.
const MAX_BOUND_BYTES: usize = 64;

/// Compresses pages, keeping its memory from one to the next.
pub(super) struct Packer {
    compressor: Compressor<'static>,
    level: ZstdLevel,
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new(effort: Effort) -> io::Result<Self> {
        let level = effort.level();
        let compressor = match effort {
            Effort::Little => page_compressor()?,
            Effort::Usual => Compressor::new(level)?,
        };
        Ok(Self { compressor, level: ZstdLevel::try_new(level).map_err(failed)?, packed: Vec::new() })
    }

    fn pack(&mut self, page: &[u8]) -> io::Result<Bytes> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(page.len()));
        self.compressor.compress_to_buffer(page, &mut self.packed)?;
        Ok(Bytes::copy_from_slice(&self.packed))
    }
}

/// The pages of a column chunk so far.
pub(super) struct Pages {
    bytes: TrackedWrite<Vec<u8>>,
    places: OffsetIndexBuilder,
    rows: u64,
    /// With those that are null.
    values: i64,
    unpacked: usize,
    dictionary: Option<i64>,
    data: Option<i64>,
    encodings: Vec<Encoding>,
    pages: Vec<PageEncodingStats>,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self {
            bytes: TrackedWrite::new(Vec::new()),
            places: OffsetIndexBuilder::new(),
            rows: 0,
            values: 0,
            unpacked: 0,
            dictionary: None,
            data: None,
            encodings: Vec::new(),
            pages: Vec::new(),
        }
    }

    fn note_encoding(&mut self, encoding: Encoding) {
        if !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
    }

    /// Adds the page of the dictionary, which is the first.
    fn add_dictionary(&mut self, plain: &[u8], entries: u32, packer: &mut Packer) -> io::Result<()> {
        let buf = packer.pack(plain)?;
        let page = Page::DictionaryPage { buf, num_values: entries, encoding: Encoding::PLAIN, is_sorted: false };
        self.note_encoding(Encoding::PLAIN);
        self.dictionary = Some(self.add(page, plain.len())?.0);
        Ok(())
    }

    /// Adds a page of so many rows, and values with those that are null.
    pub(super) fn add_data(
        &mut self,
        content: &[u8],
        (rows, values): (usize, usize),
        encoding: Encoding,
        packer: &mut Packer,
    ) -> io::Result<()> {
        self.add_packed(packer.pack(content)?, content.len(), (rows, values), encoding)
    }

    /// Makes room for pages of so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.inner_mut().reserve(bytes);
    }

    /// As [`Self::add_data`], of a page that is packed already.
    pub(super) fn add_packed(
        &mut self,
        buf: Bytes,
        unpacked: usize,
        (rows, values): (usize, usize),
        encoding: Encoding,
    ) -> io::Result<()> {
        let page = Page::DataPage {
            buf,
            num_values: values as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.note_encoding(encoding);
        let (start, length) = self.add(page, unpacked)?;
        self.data = self.data.or(Some(start));
        self.rows += rows as u64;
        self.values += values as i64;
        self.places.append_row_count(rows as i64);
        self.places.append_offset_and_size(start, length);
        Ok(())
    }

    /// Returns where the page begins, and its length with its header.
    fn add(&mut self, page: Page, unpacked: usize) -> io::Result<(i64, i32)> {
        let (page_type, encoding) = (page.page_type(), page.encoding());
        match self.pages.last_mut() {
            Some(same) if (same.page_type, same.encoding) == (page_type, encoding) => same.count += 1,
            _ => self.pages.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        let page = CompressedPage::new(page, unpacked);
        let spec = SerializedPageWriter::new(&mut self.bytes).write_page(page).map_err(failed)?;
        self.unpacked += spec.uncompressed_size;
        let length = i32::try_from(spec.compressed_size).map_err(io::Error::other)?;
        Ok((spec.offset as i64, length))
    }

    /// Appends the chunk to a row group whose next column this is.
    pub(super) fn append<W: Write + Send>(
        mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        column: ColumnDescPtr,
        statistics: Option<Statistics>,
        packer: &Packer,
    ) -> io::Result<()> {
        self.note_encoding(Encoding::RLE);
        let bytes = self.bytes.bytes_written();
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(packer.level))
            .set_encodings(self.encodings)
            .set_page_encoding_stats(self.pages)
            .set_total_compressed_size(bytes as i64)
            .set_total_uncompressed_size(self.unpacked as i64)
            .set_num_values(self.values)
            .set_data_page_offset(self.data.unwrap_or_default())
            .set_dictionary_page_offset(self.dictionary);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let closed = ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: self.rows,
            metadata: metadata.build().map_err(failed)?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.places.build()),
        };
        let chunk = Bytes::from(self.bytes.into_inner().map_err(failed)?);
        group.append_column(&chunk, closed).map_err(failed)
    }
}

/// The smallest and the largest value, for the statistics.
#[derive(Clone, Debug)]
pub(super) enum Bounds {
    /// There are none.
    Untold,
    Texts(Option<(Box<str>, Box<str>)>),
    Longs(Option<(i64, i64)>),
    Doubles(Option<(f64, f64)>),
    Booleans(Option<(bool, bool)>),
}

fn widen<T: PartialOrd + Copy>(bounds: &mut Option<(T, T)>, value: T) {
    match bounds {
        None => *bounds = Some((value, value)),
        Some((least, _)) if value < *least => *least = value,
        Some((_, most)) if value > *most => *most = value,
        Some(_) => {}
    }
}

impl Bounds {
    /// Of values of this kind.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Texts(None),
            Kind::Long | Kind::Date => Self::Longs(None),
            Kind::Double => Self::Doubles(None),
            Kind::Boolean => Self::Booleans(None),
            Kind::Identity => Self::Untold,
        }
    }

    fn add_text(&mut self, text: &str) {
        match self {
            Self::Texts(Some((least, _))) if text < &**least => *least = text.into(),
            Self::Texts(Some((_, most))) if text > &**most => *most = text.into(),
            Self::Texts(none @ None) => *none = Some((text.into(), text.into())),
            _ => {}
        }
    }

    fn statistics(self, nulls: u64) -> Option<Statistics> {
        let nulls = Some(nulls);
        Some(match self {
            Self::Untold => return None,
            Self::Texts(bounds) => {
                let (least, most) = bounds.unzip();
                let is_exact =
                    |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| text.len() <= MAX_BOUND_BYTES);
                let exact = (is_exact(&least), is_exact(&most));
                let least = least.map(|text| ByteArray::from(&text[..text.floor_char_boundary(MAX_BOUND_BYTES)]));
                let most = most.and_then(|text| upper_bound(&text)).map(|text| ByteArray::from(&*text));
                let told = ValueStatistics::new(least, most, None, nulls, false);
                Statistics::ByteArray(told.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
            }
            Self::Longs(bounds) => {
                let (least, most) = bounds.unzip();
                Statistics::int64(least, most, None, nulls, false)
            }
            Self::Doubles(bounds) => {
                let (least, most) = bounds.unzip();
                // Readers may take the one zero for smaller than the other.
                let signed = |bound: Option<f64>, zero: f64| bound.map(|bound| if bound == 0.0 { zero } else { bound });
                Statistics::double(signed(least, -0.0), signed(most, 0.0), None, nulls, false)
            }
            Self::Booleans(bounds) => {
                let (least, most) = bounds.unzip();
                Statistics::boolean(least, most, None, nulls, false)
            }
        })
    }
}

/// A text that is not long, and not less than this one; `None` if there is none.
fn upper_bound(text: &str) -> Option<String> {
    if text.len() <= MAX_BOUND_BYTES {
        return Some(text.to_owned());
    }
    let mut bound = text[..text.floor_char_boundary(MAX_BOUND_BYTES)].to_owned();
    while let Some(last) = bound.pop() {
        let mut next = last..=char::MAX;
        next.next();
        if let Some(next) = next.next() {
            bound.push(next);
            return Some(bound);
        }
    }
    None
}

/// Values one behind the other, in Parquet's plain encoding.
#[derive(Clone, Debug)]
pub(super) struct PlainValues {
    bytes: Vec<u8>,
    pub(super) count: u32,
    bounds: Bounds,
}

impl PlainValues {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bytes: Vec::new(), count: 0, bounds }
    }

    /// For the values of a dictionary.
    pub(super) fn of_entries(kind: Kind, column: &Column) -> Self {
        let room = column.text_bytes() + column.cardinality() * size_of::<u64>();
        Self { bytes: Vec::with_capacity(room), ..Self::new(Bounds::of(kind)) }
    }

    pub(super) fn add(&mut self, value: ToStore<'_>) {
        match value {
            ToStore::Plain(Stored::Text(text)) => self.add_text(text),
            ToStore::Address(address) => self.add_text(&address.to_string()),
            ToStore::Plain(Stored::Long(number) | Stored::Date(number)) => self.add_long(number),
            ToStore::Plain(Stored::Double(number)) => self.add_double(number),
            ToStore::Plain(Stored::Identity(identity)) => self.add_identity(identity),
            ToStore::Plain(Stored::Boolean(truth)) => self.add_boolean(truth),
        }
    }

    pub(super) fn add_text(&mut self, text: &str) {
        self.bounds.add_text(text);
        put_document(text, &mut self.bytes);
        self.count += 1;
    }

    pub(super) fn add_long(&mut self, number: i64) {
        if let Bounds::Longs(bounds) = &mut self.bounds {
            widen(bounds, number);
        }
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.count += 1;
    }

    pub(super) fn add_double(&mut self, number: f64) {
        if let Bounds::Doubles(bounds) = &mut self.bounds
            && !number.is_nan()
        {
            widen(bounds, number);
        }
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.count += 1;
    }

    /// Adds a boolean, eight of which are a byte.
    pub(super) fn add_boolean(&mut self, truth: bool) {
        if let Bounds::Booleans(bounds) = &mut self.bounds {
            widen(bounds, truth);
        }
        if self.count.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(truth) << (self.count % 8);
        }
        self.count += 1;
    }

    pub(super) fn add_identity(&mut self, identity: u128) {
        self.bytes.extend_from_slice(&identity.to_be_bytes());
        self.count += 1;
    }
}

/// The rows that have values, ascending, of so many rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'r> {
    pub(super) having: &'r [u32],
    pub(super) count: Count,
    pub(super) all: usize,
}

impl Rows<'_> {
    /// Whether every row has a value, and no row has two.
    fn have_one_each(&self) -> bool {
        !self.having.is_empty() && self.having.len() == self.all && no_row_twice(self.having)
    }
}

/// Whether no row stands twice, of rows that ascend.
pub(super) fn no_row_twice(rows: &[u32]) -> bool {
    // Without a way out of the loop, which makes it fast.
    rows.array_windows().fold(true, |all, [row, next]| all & (row < next))
}

/// The levels of a column, as memory to work with.
#[derive(Default)]
pub(super) struct Levels {
    definitions: Vec<u8>,
    repetitions: Vec<u8>,
}

impl Levels {
    /// Appends the levels to a page. Returns how many there are.
    fn put(&mut self, rows: Rows<'_>, page: &mut Vec<u8>) -> usize {
        // As most columns are.
        if rows.have_one_each() {
            match rows.count {
                Count::Required => {}
                Count::Optional => put_same_levels(1, rows.all, page),
                Count::List => {
                    put_same_levels(0, rows.all, page);
                    put_same_levels(2, rows.all, page);
                }
            }
            return rows.all;
        }
        self.definitions.clear();
        self.repetitions.clear();
        match rows.count {
            Count::Required => return rows.all,
            Count::Optional => {
                self.definitions.resize(rows.all, 0);
                rows.having.iter().for_each(|row| self.definitions[*row as usize] = 1);
                put_level_runs(&self.definitions, 1, page);
            }
            Count::List => {
                let mut next = 0;
                for row in rows.having.iter().map(|row| *row as usize) {
                    let empty = row.saturating_sub(next);
                    self.definitions.resize(self.definitions.len() + empty, 0);
                    self.repetitions.resize(self.repetitions.len() + empty, 0);
                    self.definitions.push(2);
                    self.repetitions.push(u8::from(row < next));
                    next = row + 1;
                }
                let empty = rows.all.saturating_sub(next);
                self.definitions.resize(self.definitions.len() + empty, 0);
                self.repetitions.resize(self.repetitions.len() + empty, 0);
                put_level_runs(&self.repetitions, 1, page);
                put_level_runs(&self.definitions, 2, page);
            }
        }
        self.definitions.len()
    }
}

/// Encodes columns, keeping its memory from one to the next.
pub(super) struct ColumnEncoder {
    pub(super) packer: Packer,
    levels: Levels,
    page: Vec<u8>,
}

impl ColumnEncoder {
    pub(super) fn new(effort: Effort) -> io::Result<Self> {
        Ok(Self { packer: Packer::new(effort)?, levels: Levels::default(), page: Vec::new() })
    }

    /// A column of codes of a dictionary; of plain values where there is none.
    pub(super) fn codes<W: Write + Send>(
        &mut self,
        dictionary: PlainValues,
        codes: &[u32],
        rows: Rows<'_>,
        group: &mut SerializedRowGroupWriter<'_, W>,
        column: ColumnDescPtr,
    ) -> io::Result<()> {
        if codes.is_empty() {
            let none = PlainValues { bytes: Vec::new(), count: 0, ..dictionary };
            return self.plain(none, rows, group, column);
        }
        let mut pages = Pages::new();
        pages.add_dictionary(&dictionary.bytes, dictionary.count, &mut self.packer)?;
        self.page.clear();
        let values = self.levels.put(rows, &mut self.page);
        // Not every reader takes codes of no bits.
        let width = (u32::BITS - dictionary.count.saturating_sub(1).leading_zeros()).max(1);
        self.page.push(width as u8);
        put_runs(codes, width, &mut self.page);
        pages.add_data(&self.page, (rows.all, values), Encoding::RLE_DICTIONARY, &mut self.packer)?;
        let statistics = dictionary.bounds.statistics((values - codes.len()) as u64);
        pages.append(group, column, statistics, &self.packer)
    }

    /// A column of values as they are.
    pub(super) fn plain<W: Write + Send>(
        &mut self,
        plain: PlainValues,
        rows: Rows<'_>,
        group: &mut SerializedRowGroupWriter<'_, W>,
        column: ColumnDescPtr,
    ) -> io::Result<()> {
        self.page.clear();
        let values = self.levels.put(rows, &mut self.page);
        self.page.extend_from_slice(&plain.bytes);
        let mut pages = Pages::new();
        pages.add_data(&self.page, (rows.all, values), Encoding::PLAIN, &mut self.packer)?;
        let statistics = plain.bounds.statistics((values - rows.having.len()) as u64);
        pages.append(group, column, statistics, &self.packer)
    }
}

fn put_level_runs(levels: &[u8], width: u32, page: &mut Vec<u8>) {
    put_levels(page, |page| put_runs(levels, width, page));
}

/// The same level so many times.
fn put_same_levels(level: u8, count: usize, page: &mut Vec<u8>) {
    put_levels(page, |page| {
        put_varint((count as u64) << 1, page);
        page.push(level);
    });
}

/// Levels have their length in front.
fn put_levels(page: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = page.len();
    page.extend_from_slice(&[0; 4]);
    put(page);
    let length = (page.len() - start - 4) as u32;
    page[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends numbers in Parquet's hybrid of repeated numbers and packed bits.
fn put_runs<T: Copy + PartialEq + Into<u32>>(numbers: &[T], width: u32, page: &mut Vec<u8>) {
    let (mut at, mut packed) = (0, 0);
    while let Some(first) = numbers.get(at) {
        let repeated = numbers[at..].iter().take_while(|number| *number == first).count();
        // Bits are packed by eight numbers: the first of the repeated ones fill up the eight that are open.
        let lent = (8 - (at - packed) % 8) % 8;
        if repeated >= MIN_REPEATED {
            put_packed(&numbers[packed..at + lent], width, page);
            put_varint(((repeated - lent) as u64) << 1, page);
            page.extend_from_slice(&(*first).into().to_le_bytes()[..width.div_ceil(8) as usize]);
            packed = at + repeated;
        }
        at += repeated;
    }
    put_packed(&numbers[packed..], width, page);
}

fn put_packed<T: Copy + Into<u32>>(numbers: &[T], width: u32, page: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    let groups = numbers.len().div_ceil(8);
    put_varint((groups as u64) << 1 | 1, page);
    let end = page.len() + groups * width as usize;
    let (mut bits, mut filled) = (0u64, 0);
    for number in numbers {
        bits |= u64::from((*number).into()) << filled;
        filled += width;
        while filled >= 8 {
            page.push(bits as u8);
            bits >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        page.push(bits as u8);
    }
    // The last eight may be fewer.
    page.resize(end, 0);
}

fn put_varint(mut number: u64, page: &mut Vec<u8>) {
    while number >= 0x80 {
        page.push(number as u8 | 0x80);
        number >>= 7;
    }
    page.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::page::{code_runs, take_levels};
    use super::*;

    fn numbers() -> impl Strategy<Value = (u32, Vec<u32>)> {
        (1u32..=20).prop_flat_map(|width| {
            let run = (0..1u32 << width, prop_oneof![1usize..4, 10usize..40]);
            let runs = proptest::collection::vec(run, 0..40);
            (Just(width), runs).prop_map(|(width, runs)| {
                let numbers = runs.into_iter().flat_map(|(number, count)| std::iter::repeat_n(number, count));
                (width, numbers.collect())
            })
        })
    }

    proptest! {
        #[test]
        fn numbers_come_back((width, numbers) in numbers()) {
            let mut page = vec![width as u8];
            put_runs(&numbers, width, &mut page);
            let mut back = Vec::new();
            code_runs(&page, numbers.len()).unwrap().read_to(&mut back).unwrap();
            prop_assert_eq!(back, numbers);
        }

        #[test]
        fn levels_come_back(
            having in prop_oneof![
                proptest::collection::btree_map(0u32..200, 1usize..4, 0..100),
                (0u32..5).prop_map(|several| (0..200).map(|row| (row, 1 + usize::from(row < several))).collect()),
            ],
            all in prop_oneof![Just(200usize), 200usize..300],
        ) {
            let rows: Vec<u32> = having.iter().flat_map(|(row, count)| std::iter::repeat_n(*row, *count)).collect();
            let mut page = Vec::new();
            let count = Levels::default().put(Rows { having: &rows, count: Count::List, all }, &mut page);
            let (mut rest, mut repetitions, mut definitions) = (&page[..], Vec::new(), Vec::new());
            take_levels(&mut rest, 1, count).unwrap().read_to(&mut repetitions).unwrap();
            take_levels(&mut rest, 2, count).unwrap().read_to(&mut definitions).unwrap();
            prop_assert!(rest.is_empty());
            let (mut row, mut back) = (0, Vec::new());
            for (repetition, definition) in repetitions.iter().zip(&definitions) {
                row += u32::from(*repetition == 0);
                back.extend((*definition == 2).then(|| row - 1));
            }
            prop_assert_eq!((back, row as usize), (rows, all));
            let rows: Vec<u32> = having.into_keys().collect();
            page.clear();
            let count = Levels::default().put(Rows { having: &rows, count: Count::Optional, all }, &mut page);
            let (mut rest, mut definitions) = (&page[..], Vec::new());
            take_levels(&mut rest, 1, count).unwrap().read_to(&mut definitions).unwrap();
            let back = (0u32..).zip(definitions).filter(|(_, definition)| *definition == 1).map(|(row, _)| row);
            prop_assert!(rest.is_empty() && count == all && back.eq(rows));
        }
    }

    #[test]
    fn repeated_numbers_are_written_once() {
        let mut page = Vec::new();
        put_runs(&[7u32; 100_000], 3, &mut page);
        assert!(page.len() <= 4, "{page:?}");
    }

    #[test]
    fn bounds_are_told_where_they_can_be() {
        let texts = |texts: &[&str]| {
            let mut values = PlainValues::new(Bounds::of(Kind::Text));
            texts.iter().for_each(|text| values.add_text(text));
            let statistics = values.bounds.statistics(3)?;
            assert_eq!(statistics.null_count_opt(), Some(3));
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            Some((text(statistics.min_bytes_opt()), text(statistics.max_bytes_opt())))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts(&["b", "c", "a", "b"]), Some((some("a"), some("c"))));
        assert_eq!(texts(&[]), Some((None, None)));
        let long = "é".repeat(40);
        assert_eq!(texts(&[&long]), Some((some(&"é".repeat(32)), some(&format!("{}ê", "é".repeat(31))))));
        let last = char::MAX.to_string().repeat(20);
        assert_eq!(texts(&[&last, "a"]), Some((some("a"), None)));
        let mut values = PlainValues::new(Bounds::of(Kind::Double));
        [0.0, f64::NAN, -0.0].into_iter().for_each(|number| values.add_double(number));
        let Some(Statistics::Double(bounds)) = values.bounds.statistics(0) else { panic!("doubles") };
        let bits = |bound: Option<&f64>| bound.map(|bound| bound.to_bits());
        assert_eq!((bits(bounds.min_opt()), bits(bounds.max_opt())), (Some((-0.0f64).to_bits()), Some(0)));
    }
}
