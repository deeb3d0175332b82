//! A column chunk's values: which rows have which.

use parquet::basic::Compression;

use super::file::{Column, column_error};
use super::layout::{Count, IDENTITY_LENGTH, Kind};
use super::page::{PageHeader, PageKind, Run, Unpacker, ValueEncoding, code_runs, take, take_levels};
use super::value::Stored;
use super::{Damage, MAX_GROUP_UNPACKED, MAX_PAGE_BYTES, ParquetError, ParquetFile};

/// The most values of a column chunk, with those that are null.
const MAX_CHUNK_VALUES: usize = MAX_PAGE_BYTES / 8;

/// Bytes that a value takes in a batch, beside its entry in the dictionary.
const VALUE_BYTES: usize = 8;

/// The code of a value that has none.
pub(super) const NO_CODE: u32 = u32::MAX;

/// Takes a column's values.
pub(super) trait Sink {
    /// The code for a value of the chunk's dictionary, or [`NO_CODE`]. Each comes once.
    fn distinct(&mut self, value: Stored<'_>) -> u32;

    /// The code for a value that stands by itself, or [`NO_CODE`].
    fn single(&mut self, value: Stored<'_>) -> u32;

    /// Rows, ascending, and the code of a value of each; a row with several values stands several times.
    fn put(&mut self, rows: &[u32], codes: &[u32]);
}

/// Reads column chunks, keeping its memory from one to the next.
pub(super) struct ColumnReader {
    unpacker: Unpacker,
    chunk: Vec<u8>,
    page: Vec<u8>,
    rows: Vec<u32>,
    codes: Vec<u32>,
    levels: [Vec<u32>; 2],
    /// The sink's code of each entry of the dictionary.
    dictionary: Vec<u32>,
    /// Whether that is each entry's own number.
    is_dictionary_plain: bool,
    /// Bytes that the row group may still become.
    budget: usize,
}

impl ColumnReader {
    pub(super) fn new() -> Result<Self, Damage> {
        Ok(Self {
            unpacker: Unpacker::new()?,
            chunk: Vec::new(),
            page: Vec::new(),
            rows: Vec::new(),
            codes: Vec::new(),
            levels: Default::default(),
            dictionary: Vec::new(),
            is_dictionary_plain: true,
            budget: MAX_GROUP_UNPACKED,
        })
    }

    /// Takes note that the columns to come are of another row group.
    pub(super) fn start_group(&mut self) {
        self.budget = MAX_GROUP_UNPACKED;
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Damage> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Damage::Budget)?;
        Ok(())
    }

    /// Reads a column of a row group, which has `rows` rows.
    pub(super) fn read(
        &mut self,
        file: &ParquetFile,
        group: usize,
        column: &Column,
        rows: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), ParquetError> {
        let place = file.place(group, column)?;
        self.dictionary.clear();
        self.is_dictionary_plain = true;
        let (mut chunk, mut page) = (std::mem::take(&mut self.chunk), std::mem::take(&mut self.page));
        let read = file
            .read(&place, &mut chunk)
            .and_then(|()| self.read_pages(&chunk, place.compression, column, rows, &mut page, sink));
        (self.chunk, self.page) = (chunk, page);
        read.map_err(|damage| column_error(&column.name, damage))
    }

    fn read_pages(
        &mut self,
        mut bytes: &[u8],
        compression: Compression,
        column: &Column,
        rows: usize,
        page: &mut Vec<u8>,
        sink: &mut dyn Sink,
    ) -> Result<(), Damage> {
        let (mut row, mut values) = (0, 0);
        while !bytes.is_empty() {
            let header = PageHeader::parse(bytes)?;
            take(&mut bytes, header.length)?;
            let packed = take(&mut bytes, header.packed)?;
            values += if header.kind == PageKind::Data { header.values } else { 0 };
            if values.max(header.values) > MAX_CHUNK_VALUES {
                return Err(Damage::Rows);
            }
            self.spend(header.unpacked)?;
            if header.kind != PageKind::Other {
                self.unpacker.unpack(compression, &header, packed, page)?;
            }
            match header.kind {
                PageKind::Dictionary => self.read_dictionary(page, column.kind, header.values, sink)?,
                PageKind::Data => self.read_data(page, &header, column, &mut row, rows, sink)?,
                PageKind::Other => return Err(Damage::Encoding),
            }
        }
        if row == rows { Ok(()) } else { Err(Damage::Rows) }
    }

    fn read_dictionary(&mut self, page: &[u8], kind: Kind, count: usize, sink: &mut dyn Sink) -> Result<(), Damage> {
        let dictionary = &mut self.dictionary;
        dictionary.clear();
        read_plain(page, kind, count, &mut |value| dictionary.push(sink.distinct(value)))?;
        self.is_dictionary_plain = dictionary.iter().enumerate().all(|(at, code)| at as u32 == *code);
        Ok(())
    }

    /// Reads a page, whose first row is `row`, and moves that to the row behind its last.
    fn read_data(
        &mut self,
        page: &[u8],
        header: &PageHeader,
        column: &Column,
        row: &mut usize,
        rows: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), Damage> {
        let mut rest = page;
        self.rows.clear();
        match column.count {
            Count::Required => self.rows.extend((*row..*row + header.values).map(|row| row as u32)),
            Count::Optional => self.optional_rows(&mut rest, header.values, *row)?,
            Count::List => {}
        }
        match column.count {
            Count::Required | Count::Optional => *row += header.values,
            Count::List => self.list_rows(&mut rest, header.values, row)?,
        }
        if *row > rows {
            return Err(Damage::Rows);
        }
        self.spend(self.rows.len() * VALUE_BYTES)?;
        self.codes.clear();
        match header.encoding {
            ValueEncoding::Codes => self.read_codes(rest)?,
            ValueEncoding::Plain => {
                let codes = &mut self.codes;
                read_plain(rest, column.kind, self.rows.len(), &mut |value| codes.push(sink.single(value)))?;
            }
            ValueEncoding::Other => return Err(Damage::Encoding),
        }
        sink.put(&self.rows, &self.codes);
        Ok(())
    }

    /// The rows that have a value, of the `count` rows from `row` on.
    fn optional_rows(&mut self, page: &mut &[u8], count: usize, row: usize) -> Result<(), Damage> {
        let mut runs = take_levels(page, 1, count)?;
        let mut row = row as u32;
        while let Some(run) = runs.next()? {
            match run {
                Run::Same { number, count } => {
                    let end = row + count as u32;
                    if number == 1 {
                        self.rows.extend(row..end);
                    }
                    row = end;
                }
                Run::Packed { bytes, count, .. } => {
                    let is_set = |at: &u32| bytes[*at as usize / 8] >> (at % 8) & 1 == 1;
                    self.rows.extend((0..count as u32).filter(is_set).map(|at| row + at));
                    row += count as u32;
                }
            }
        }
        Ok(())
    }

    /// The row of each value, and `row` behind the last.
    fn list_rows(&mut self, page: &mut &[u8], count: usize, row: &mut usize) -> Result<(), Damage> {
        let [repetitions, definitions] = &mut self.levels;
        repetitions.clear();
        definitions.clear();
        take_levels(page, 1, count)?.read_to(repetitions)?;
        take_levels(page, 2, count)?.read_to(definitions)?;
        for (repetition, definition) in repetitions.iter().zip(&*definitions) {
            *row += usize::from(*repetition == 0);
            if *definition == Count::List.max_definition() {
                self.rows.push(row.checked_sub(1).ok_or(Damage::Rows)? as u32);
            }
        }
        Ok(())
    }

    /// The sink's codes of as many values as there are rows.
    fn read_codes(&mut self, page: &[u8]) -> Result<(), Damage> {
        code_runs(page, self.rows.len())?.read_to(&mut self.codes)?;
        let highest = self.codes.iter().copied().max();
        if highest.is_some_and(|code| code as usize >= self.dictionary.len()) {
            return Err(Damage::Code);
        }
        if !self.is_dictionary_plain {
            self.codes.iter_mut().for_each(|code| *code = self.dictionary[*code as usize]);
        }
        Ok(())
    }
}

/// Reads values that stand one behind the other.
pub(super) fn read_plain(
    mut page: &[u8],
    kind: Kind,
    count: usize,
    take_value: &mut dyn FnMut(Stored<'_>),
) -> Result<(), Damage> {
    if kind == Kind::Boolean {
        let bits = take(&mut page, count.div_ceil(8))?;
        (0..count).for_each(|at| take_value(Stored::Boolean(bits[at / 8] >> (at % 8) & 1 == 1)));
        return Ok(());
    }
    for _ in 0..count {
        take_value(match kind {
            Kind::Text => {
                let length = u32::from_le_bytes(take_array(&mut page)?);
                Stored::Text(std::str::from_utf8(take(&mut page, length as usize)?).map_err(|_| Damage::Text)?)
            }
            Kind::Long => Stored::Long(i64::from_le_bytes(take_array(&mut page)?)),
            Kind::Date => Stored::Date(i64::from_le_bytes(take_array(&mut page)?)),
            Kind::Double => Stored::Double(f64::from_le_bytes(take_array(&mut page)?)),
            Kind::Boolean => return Err(Damage::Encoding),
            Kind::Identity => Stored::Identity(u128::from_be_bytes(take_array::<IDENTITY_LENGTH>(&mut page)?)),
        });
    }
    Ok(())
}

fn take_array<const N: usize>(page: &mut &[u8]) -> Result<[u8; N], Damage> {
    take(page, N)?.try_into().map_err(|_| Damage::Cut)
}

/// The values of a column, by row: one each at most.
pub(super) struct Cells<T> {
    values: Vec<T>,
    codes: Vec<u32>,
    convert: fn(Stored<'_>) -> Option<T>,
}

impl<T> Cells<T> {
    /// No values, of so many rows.
    pub(super) fn new(rows: usize, convert: fn(Stored<'_>) -> Option<T>) -> Self {
        Self { values: Vec::new(), codes: vec![NO_CODE; rows], convert }
    }

    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> Option<&T> {
        self.values.get(*self.codes.get(row)? as usize)
    }
}

impl<T> Sink for Cells<T> {
    fn distinct(&mut self, value: Stored<'_>) -> u32 {
        match (self.convert)(value) {
            Some(value) => {
                self.values.push(value);
                self.values.len() as u32 - 1
            }
            None => NO_CODE,
        }
    }

    fn single(&mut self, value: Stored<'_>) -> u32 {
        self.distinct(value)
    }

    fn put(&mut self, rows: &[u32], codes: &[u32]) {
        for (row, code) in rows.iter().zip(codes) {
            if let Some(place) = self.codes.get_mut(*row as usize) {
                *place = *code;
            }
        }
    }
}
