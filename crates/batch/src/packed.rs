use std::net::IpAddr;
use std::ops::Range;

use crate::column::Entry;
use crate::{Column, ValueRef};

/// Dictionaries and codes of columns of a batch, in little memory and one behind the other: for who reads them once, column
/// by column, when the batch has long gone.
#[derive(Debug, Default)]
pub struct PackedColumns {
    columns: Vec<Place>,
    entries: Vec<Entry>,
    text: String,
    addresses: Vec<IpAddr>,
    /// Codes of columns with few entries.
    narrow: Vec<u16>,
    wide: Vec<u32>,
}

/// Where a column lies.
#[derive(Debug)]
struct Place {
    entries: Range<u32>,
    /// In the texts and the addresses, from where on entries count.
    text: u32,
    addresses: u32,
    codes: Range<u32>,
    is_narrow: bool,
}

/// So many entries have codes of 16 bits.
const MAX_NARROW: usize = 1 << 16;

/// A column of [`PackedColumns`].
#[derive(Clone, Copy, Debug)]
pub struct PackedColumn<'c> {
    entries: &'c [Entry],
    text: &'c str,
    addresses: &'c [IpAddr],
    codes: Codes<'c>,
}

/// Dictionary codes one behind the other, as short as they can be.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'c> {
    /// All are below 2^16.
    Narrow(&'c [u16]),
    /// Others.
    Wide(&'c [u32]),
}

impl PackedColumns {
    /// A copy of these columns. `None` if they have 2^32 values or bytes of text, or more.
    pub fn of(columns: &[&Column]) -> Option<Self> {
        let total = |count: &dyn Fn(&Column) -> usize| columns.iter().map(|column| count(column)).sum();
        let (text, values): (usize, usize) = (total(&|column| column.text.len()), total(&|column| column.codes.len()));
        // There are no more entries than values.
        u32::try_from(text.max(values)).ok()?;
        let codes =
            |narrow: bool| move |column: &Column| if is_narrow(column) == narrow { column.codes.len() } else { 0 };
        let mut packed = Self {
            columns: Vec::with_capacity(columns.len()),
            entries: Vec::with_capacity(total(&|column| column.entries.len())),
            text: String::with_capacity(text),
            addresses: Vec::with_capacity(total(&|column| column.addresses.len())),
            narrow: Vec::with_capacity(total(&codes(true))),
            wide: Vec::with_capacity(total(&codes(false))),
        };
        columns.iter().for_each(|column| packed.add(column));
        Some(packed)
    }

    fn add(&mut self, column: &Column) {
        let is_narrow = is_narrow(column);
        let (text, addresses) = (self.text.len() as u32, self.addresses.len() as u32);
        let entries = self.entries.len() as u32;
        self.entries.extend_from_slice(&column.entries);
        self.text.push_str(&column.text);
        self.addresses.extend_from_slice(&column.addresses);
        let codes = if is_narrow { self.narrow.len() } else { self.wide.len() } as u32;
        match is_narrow {
            true => self.narrow.extend(column.codes.iter().map(|code| *code as u16)),
            false => self.wide.extend_from_slice(&column.codes),
        }
        let (entries, codes) = (entries..self.entries.len() as u32, codes..codes + column.codes.len() as u32);
        self.columns.push(Place { entries, text, addresses, codes, is_narrow });
    }

    /// The column with this number among those that were given.
    ///
    /// # Panics
    /// If there were fewer.
    pub fn column(&self, number: usize) -> PackedColumn<'_> {
        let place = &self.columns[number];
        PackedColumn {
            entries: &self.entries[range(&place.entries)],
            text: &self.text[place.text as usize..],
            addresses: &self.addresses[place.addresses as usize..],
            codes: match place.is_narrow {
                true => Codes::Narrow(&self.narrow[range(&place.codes)]),
                false => Codes::Wide(&self.wide[range(&place.codes)]),
            },
        }
    }

    /// Bytes of memory that they take.
    pub fn memory(&self) -> usize {
        self.columns.capacity() * size_of::<Place>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.text.capacity()
            + self.addresses.capacity() * size_of::<IpAddr>()
            + self.narrow.capacity() * size_of::<u16>()
            + self.wide.capacity() * size_of::<u32>()
    }
}

fn is_narrow(column: &Column) -> bool {
    column.entries.len() <= MAX_NARROW
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl<'c> PackedColumn<'c> {
    /// The dictionary code of each value.
    pub fn codes(&self) -> Codes<'c> {
        self.codes
    }

    /// How many entries the dictionary has.
    pub fn cardinality(&self) -> usize {
        self.entries.len()
    }

    /// The value behind a code.
    #[inline]
    pub fn value(&self, code: u32) -> ValueRef<'c> {
        self.entries[code as usize].value(self.text, self.addresses)
    }

    /// Appends some entries to a column's dictionary.
    pub(crate) fn append_to(&self, entries: Range<usize>, column: &mut Column) {
        let entries = &self.entries[entries];
        column.entries.reserve(entries.len());
        // Texts follow each other as the entries do.
        let text =
            |entry: &Entry| if let Entry::Str { start, len } = *entry { Some((start, start + len)) } else { None };
        let start = entries.iter().find_map(text).map_or(0, |(start, _)| start);
        let end = entries.iter().rev().find_map(text).map_or(start, |(_, end)| end);
        let own = column.text.len() as u32;
        column.text.push_str(&self.text[start as usize..end as usize]);
        column.entries.extend(entries.iter().map(|entry| match *entry {
            Entry::Str { start: at, len } => Entry::Str { start: own + (at - start), len },
            Entry::Ip(number) => {
                column.addresses.push(self.addresses[number as usize]);
                Entry::Ip(column.addresses.len() as u32 - 1)
            }
            other => other,
        }));
    }
}

impl Codes<'_> {
    /// Some of them.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn part(self, values: Range<usize>) -> Self {
        match self {
            Self::Narrow(codes) => Self::Narrow(&codes[values]),
            Self::Wide(codes) => Self::Wide(&codes[values]),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Narrow(codes) => codes.len(),
            Self::Wide(codes) => codes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let (narrow, wide): (&[u16], &[u32]) = match self {
            Self::Narrow(codes) => (codes, &[]),
            Self::Wide(codes) => (&[], codes),
        };
        narrow.iter().map(|code| u32::from(*code)).chain(wide.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, BatchBuilder, OrderKey, RowMeta, Schema};

    #[test]
    fn packed_columns_have_the_values_of_their_columns() {
        let mut schema = Schema::builder();
        let fields = [schema.add("a"), schema.add("empty"), schema.add("many")];
        let mut builder = BatchBuilder::new(schema.build());
        let order = OrderKey { time: None, tiebreaker: None, arrival: Arrival::default() };
        for row in 0..100_000u32 {
            let values = [
                ValueRef::Str("text"),
                ValueRef::Int(-3),
                ValueRef::UInt(u64::MAX),
                ValueRef::Double(0.5),
                ValueRef::Bool(true),
                ValueRef::Date(9),
                ValueRef::Ip([10, 0, 0, 1].into()),
                ValueRef::Ip([0u8; 16].into()),
                ValueRef::Str("é"),
            ];
            builder.push_value(fields[0], values[row as usize % values.len()]);
            let text = format!("unlike others {row}");
            builder.push_value(fields[2], if row % 3 == 0 { ValueRef::Int(7) } else { ValueRef::Str(&text) });
            builder.end_row(RowMeta { order, identity: None });
        }
        let batch = builder.finish();
        let columns = fields.map(|field| batch.column(field));
        let packed = PackedColumns::of(&columns).unwrap();
        for (number, column) in columns.into_iter().enumerate() {
            let copy = packed.column(number);
            assert_eq!(copy.cardinality(), column.cardinality());
            assert!(copy.codes().iter().eq(column.codes().iter().copied()));
            assert!((0..column.cardinality() as u32).all(|code| copy.value(code) == column.value(code)));
        }
        assert!(matches!(packed.column(0).codes(), Codes::Narrow(_)));
        assert!(matches!(packed.column(2).codes(), Codes::Wide(_)));
        let part = packed.column(0).codes().part(2..4);
        assert_eq!((part.len(), packed.column(1).codes().is_empty()), (2, true));
        let texts = columns.iter().map(|column| column.text_bytes()).sum::<usize>();
        assert!(packed.memory() > texts && packed.memory() < texts + 2 * 100_000 * 16);
    }

    #[test]
    fn codes_are_narrow_while_they_can_be() {
        let mut schema = Schema::builder();
        let field = schema.add("process.pid");
        let schema = schema.build();
        for (entries, is_narrow) in [(1 << 16, true), ((1 << 16) + 1, false)] {
            let mut builder = BatchBuilder::new(schema.clone());
            (0..entries).for_each(|pid| builder.push_value(field, ValueRef::Int(pid)));
            let packed = PackedColumns::of(&[builder.batch().column(field)]).unwrap();
            let column = packed.column(0);
            assert_eq!(matches!(column.codes(), Codes::Narrow(_)), is_narrow);
            let last = column.codes().iter().last().unwrap();
            assert_eq!(column.value(last), ValueRef::Int(entries - 1));
        }
    }
}
