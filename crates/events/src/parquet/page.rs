//! Pages of a column chunk, and the runs of small numbers in them.

use parquet::basic::Compression;

use super::{Damage, MAX_PAGE_BYTES};

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    Data,
    Dictionary,
    /// One that holds no values, or of a kind that we do not write.
    Other,
}

/// How a page's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueEncoding {
    Plain,
    /// Codes of the chunk's dictionary.
    Codes,
    Other,
}

/// What stands in front of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) kind: PageKind,
    /// Bytes of the header itself.
    pub(super) length: usize,
    pub(super) packed: usize,
    pub(super) unpacked: usize,
    /// Values, with those that are null.
    pub(super) values: usize,
    pub(super) encoding: ValueEncoding,
}

impl PageHeader {
    /// Reads the header at the front of these bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let mut compact = Compact { bytes, at: 0 };
        let header = compact.page_header().ok_or(Damage::Header)?;
        if header.unpacked > MAX_PAGE_BYTES {
            return Err(Damage::TooLong);
        }
        Ok(PageHeader { length: compact.at, ..header })
    }
}

/// Where a page lies, as an offset index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PagePlace {
    /// In the file.
    pub(super) offset: u64,
    /// Bytes with the header.
    pub(super) length: usize,
    /// The first row, counted from that of the row group.
    pub(super) first_row: usize,
}

/// Reads an offset index: the pages in the order of their rows.
pub(super) fn page_places(index: &[u8]) -> Result<Vec<PagePlace>, Damage> {
    let places = Compact { bytes: index, at: 0 }.page_places().ok_or(Damage::Header)?;
    let is_ordered = places.first().is_some_and(|place| place.first_row == 0)
        && places.windows(2).all(|pair| pair[0].first_row < pair[1].first_row);
    if is_ordered { Ok(places) } else { Err(Damage::Rows) }
}

/// Thrift's compact protocol, as far as page headers and offset indices need it.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Structures nest in page headers no deeper than this.
const MAX_DEPTH: usize = 8;

const BOOLEAN_TRUE: u8 = 1;
const BOOLEAN_FALSE: u8 = 2;
const LIST: u8 = 9;
const STRUCTURE: u8 = 12;

impl Compact<'_> {
    fn page_header(&mut self) -> Option<PageHeader> {
        let (mut kind, mut packed, mut unpacked, mut values) = (None, None, None, 0);
        let mut encoding = ValueEncoding::Other;
        let mut field = 0;
        while let Some(ty) = self.field(&mut field)? {
            match field {
                1 => kind = Some(self.whole()?),
                2 => unpacked = usize::try_from(self.whole()?).ok(),
                3 => packed = usize::try_from(self.whole()?).ok(),
                // The headers of data pages and dictionary pages begin alike.
                5 | 7 if ty == STRUCTURE => (values, encoding) = self.values_header()?,
                _ => self.skip(ty, 0)?,
            }
        }
        let kind = match kind? {
            0 => PageKind::Data,
            2 => PageKind::Dictionary,
            _ => PageKind::Other,
        };
        Some(PageHeader { kind, length: 0, packed: packed?, unpacked: unpacked?, values, encoding })
    }

    fn values_header(&mut self) -> Option<(usize, ValueEncoding)> {
        let (mut values, mut encoding) = (None, ValueEncoding::Other);
        let mut field = 0;
        while let Some(ty) = self.field(&mut field)? {
            match field {
                1 => values = usize::try_from(self.whole()?).ok(),
                2 => {
                    encoding = match self.whole()? {
                        0 => ValueEncoding::Plain,
                        2 | 8 => ValueEncoding::Codes,
                        _ => ValueEncoding::Other,
                    }
                }
                _ => self.skip(ty, 1)?,
            }
        }
        Some((values?, encoding))
    }

    fn page_places(&mut self) -> Option<Vec<PagePlace>> {
        let mut places = Vec::new();
        let mut field = 0;
        while let Some(ty) = self.field(&mut field)? {
            match field {
                1 if ty == LIST => {
                    let header = self.byte()?;
                    let count = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
                    for _ in 0..count {
                        places.push(self.page_place()?);
                    }
                }
                // Nothing behind it is needed.
                _ => break,
            }
        }
        Some(places)
    }

    fn page_place(&mut self) -> Option<PagePlace> {
        let (mut offset, mut length, mut first_row) = (None, None, None);
        let mut field = 0;
        while let Some(ty) = self.field(&mut field)? {
            match field {
                1 => offset = u64::try_from(self.whole()?).ok(),
                2 => length = usize::try_from(self.whole()?).ok(),
                3 => first_row = usize::try_from(self.whole()?).ok(),
                _ => self.skip(ty, 1)?,
            }
        }
        Some(PagePlace { offset: offset?, length: length?, first_row: first_row? })
    }

    /// The type of the next field, whose number is put into `field`; nothing inside at a structure's end.
    fn field(&mut self, field: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *field = match byte >> 4 {
            0 => self.whole()?,
            delta => field.checked_add(i64::from(delta))?,
        };
        Some(Some(byte & 0x0f))
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let (number, length) = varint(self.bytes.get(self.at..)?)?;
        self.at += length;
        Some(number)
    }

    fn whole(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        (end <= self.bytes.len()).then(|| self.at = end)
    }

    fn skip(&mut self, ty: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match ty {
            BOOLEAN_TRUE | BOOLEAN_FALSE => Some(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            STRUCTURE => {
                let mut field = 0;
                while let Some(ty) = self.field(&mut field)? {
                    self.skip(ty, depth + 1)?;
                }
                Some(())
            }
            // Page headers hold no lists, sets or maps.
            _ => None,
        }
    }
}

/// A number of seven bits a byte, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

/// Unpacks pages.
pub(super) struct Unpacker(zstd::bulk::Decompressor<'static>);

impl Unpacker {
    pub(super) fn new() -> Result<Self, Damage> {
        zstd::bulk::Decompressor::new().map(Self).map_err(Damage::Packed)
    }

    /// Puts a page's content into `out`, in place of what is in there.
    pub(super) fn unpack(
        &mut self,
        compression: Compression,
        header: &PageHeader,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        out.clear();
        match compression {
            Compression::UNCOMPRESSED => out.extend_from_slice(bytes),
            Compression::ZSTD(_) => {
                out.reserve(header.unpacked);
                self.0.decompress_to_buffer(bytes, out).map_err(Damage::Packed)?;
            }
            _ => return Err(Damage::Encoding),
        }
        if out.len() == header.unpacked { Ok(()) } else { Err(Damage::Cut) }
    }
}

/// Takes so many bytes off the front.
pub(super) fn take<'p>(bytes: &mut &'p [u8], count: usize) -> Result<&'p [u8], Damage> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Damage::Cut)?;
    *bytes = rest;
    Ok(taken)
}

/// Takes the levels off the front of a page: a length of four bytes, then runs.
pub(super) fn take_levels<'p>(page: &mut &'p [u8], width: u32, count: usize) -> Result<Runs<'p>, Damage> {
    let length = take(page, 4)?.try_into().map_or(0, u32::from_le_bytes);
    Ok(Runs { bytes: take(page, length as usize)?, width, left: count })
}

/// The codes that a page's values are.
pub(super) fn code_runs(page: &[u8], count: usize) -> Result<Runs<'_>, Damage> {
    match page.split_first() {
        None if count == 0 => Ok(Runs { bytes: page, width: 0, left: 0 }),
        Some((width, bytes)) if *width <= 32 => Ok(Runs { bytes, width: u32::from(*width), left: count }),
        _ => Err(Damage::Cut),
    }
}

/// Small numbers in Parquet's hybrid of repeated numbers and packed bits.
#[derive(Clone, Debug)]
pub(super) struct Runs<'p> {
    bytes: &'p [u8],
    width: u32,
    /// Numbers to come.
    left: usize,
}

/// Some of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run<'p> {
    Same { number: u32, count: usize },
    Packed { bytes: &'p [u8], width: u32, count: usize },
}

impl<'p> Runs<'p> {
    /// The next run.
    pub(super) fn next(&mut self) -> Result<Option<Run<'p>>, Damage> {
        if self.left == 0 {
            return Ok(None);
        }
        let (header, length) = varint(self.bytes).ok_or(Damage::Cut)?;
        self.bytes = &self.bytes[length..];
        let numbers = usize::try_from(header >> 1).map_err(|_| Damage::Cut)?;
        let run = if header & 1 == 1 {
            let length = numbers.checked_mul(self.width as usize).ok_or(Damage::Cut)?;
            // The last run may be cut where its numbers end.
            let length = length.min(self.bytes.len());
            let bytes = take(&mut self.bytes, length)?;
            let count = numbers.saturating_mul(8).min(self.left);
            if count * self.width as usize > bytes.len() * 8 {
                return Err(Damage::Cut);
            }
            Run::Packed { bytes, width: self.width, count }
        } else {
            let bytes = take(&mut self.bytes, self.width.div_ceil(8) as usize)?;
            let mut number = [0; 4];
            number[..bytes.len()].copy_from_slice(bytes);
            Run::Same { number: u32::from_le_bytes(number), count: numbers.min(self.left) }
        };
        let (Run::Same { count, .. } | Run::Packed { count, .. }) = run;
        self.left -= count;
        Ok(Some(run))
    }

    /// Appends all numbers to `out`.
    pub(super) fn read_to(mut self, out: &mut Vec<u32>) -> Result<(), Damage> {
        while let Some(run) = self.next()? {
            match run {
                Run::Same { number, count } => out.resize(out.len() + count, number),
                Run::Packed { bytes, width, count } => unpack_bits(bytes, width, count, out),
            }
        }
        Ok(())
    }
}

/// Calls [`unpack_groups`] with the width as a constant, for the widths that dictionaries have.
macro_rules! unpack_by_width {
    ($width:expr, $bytes:expr, $groups:expr, $out:expr, $($known:literal)*) => {
        match $width {
            $($known => unpack_groups::<$known>($bytes, $groups, $out),)*
            _ => 0,
        }
    };
}

/// Appends `count` numbers of `width` bits each to `out`.
fn unpack_bits(bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) {
    let groups = count / 8;
    let done = unpack_by_width!(width, bytes, groups, out, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
    unpack_rest(&bytes[done * width as usize..], width, count - done * 8, out);
}

/// Appends groups of eight numbers of `WIDTH` bits each, which take `WIDTH` bytes, and says how many.
fn unpack_groups<const WIDTH: usize>(bytes: &[u8], groups: usize, out: &mut Vec<u32>) -> usize {
    const PADDED: usize = 32;
    let mask = (1u32 << WIDTH) - 1;
    out.reserve(groups * 8);
    let mut padded = [0; PADDED];
    let mut done = 0;
    for group in bytes.chunks_exact(WIDTH).take(groups) {
        padded[..WIDTH].copy_from_slice(group);
        let numbers: [u32; 8] = std::array::from_fn(|at| {
            let bit = at * WIDTH;
            let word = [padded[bit / 8], padded[bit / 8 + 1], padded[bit / 8 + 2], padded[bit / 8 + 3]];
            u32::from_le_bytes(word) >> (bit % 8) & mask
        });
        out.extend_from_slice(&numbers);
        done += 1;
    }
    done
}

/// Appends `count` numbers of any width, one by one.
fn unpack_rest(bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) {
    let mask = (1u64 << width) - 1;
    out.extend((0..count).map(|at| {
        let bit = at * width as usize;
        (word_at(bytes, bit / 8) >> (bit % 8) & mask) as u32
    }));
}

/// Eight bytes from a place on, with zeros where there are no more.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => {
            let rest = bytes.get(at..).unwrap_or_default();
            let mut chunk = [0; 8];
            chunk[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(chunk)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8], width: u32, count: usize) -> Result<Vec<u32>, Damage> {
        let mut out = Vec::new();
        Runs { bytes, width, left: count }.read_to(&mut out).map(|()| out)
    }

    #[test]
    fn runs_of_both_kinds() {
        // The example of Parquet's own description: 0 to 7 in three bits each.
        assert_eq!(numbers(&[3, 0x88, 0xc6, 0xfa], 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers(&[8, 5], 3, 4).unwrap(), [5; 4]);
        assert_eq!(numbers(&[8, 5, 3, 0x88, 0xc6, 0xfa], 3, 7).unwrap(), [5, 5, 5, 5, 0, 1, 2]);
        assert_eq!(numbers(&[6], 0, 3).unwrap(), [0; 3]);
        assert_eq!(numbers(&[2, 1, 2, 3, 4], 32, 1).unwrap(), [0x0403_0201]);
    }

    #[test]
    fn all_widths_unpack_alike() {
        let bytes: Vec<u8> = (0..256u32).map(|at| (at * 37 + 11) as u8).collect();
        for width in 1..=32 {
            for count in [0, 1, 7, 8, 9, 40] {
                let (mut one, mut other) = (Vec::new(), Vec::new());
                unpack_bits(&bytes, width, count, &mut one);
                unpack_rest(&bytes, width, count, &mut other);
                assert_eq!(one, other, "{count} numbers of {width} bits");
            }
        }
    }

    #[test]
    fn damaged_runs_end() {
        assert!(numbers(&[], 3, 1).is_err());
        assert!(numbers(&[3, 0x88], 3, 8).is_err());
        assert!(numbers(&[0xff; 12], 3, 8).is_err());
        assert!(numbers(&[0; 12], 3, 8).is_err());
        assert_eq!(numbers(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 1], 1, 3).unwrap(), [1; 3]);
    }

    #[test]
    fn no_header_breaks_it() {
        let mut state = 7u64;
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..24)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as u8 & if state >> 62 == 0 { 0xff } else { 0x1f }
                })
                .collect();
            _ = PageHeader::parse(&bytes);
            _ = page_places(&bytes);
            _ = numbers(&bytes, u32::from(bytes[0]) % 33, 1000);
        }
    }
}
