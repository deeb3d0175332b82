//! Typed values of binary XML and their text, as Windows renders it.

use bumpalo::Bump;
use bumpalo::collections::String as Text;
use std::fmt::Write;

/// Type codes of substitution values.
pub mod kind {
    pub const NULL: u8 = 0x00;
    pub const STRING: u8 = 0x01;
    pub const ANSI: u8 = 0x02;
    pub const INT8: u8 = 0x03;
    pub const UINT8: u8 = 0x04;
    pub const INT16: u8 = 0x05;
    pub const UINT16: u8 = 0x06;
    pub const INT32: u8 = 0x07;
    pub const UINT32: u8 = 0x08;
    pub const INT64: u8 = 0x09;
    pub const UINT64: u8 = 0x0a;
    pub const REAL32: u8 = 0x0b;
    pub const REAL64: u8 = 0x0c;
    pub const BOOL: u8 = 0x0d;
    pub const GUID: u8 = 0x0f;
    pub const SIZE: u8 = 0x10;
    pub const FILETIME: u8 = 0x11;
    pub const SYSTEMTIME: u8 = 0x12;
    pub const SID: u8 = 0x13;
    pub const HEX32: u8 = 0x14;
    pub const HEX64: u8 = 0x15;
    pub const BINXML: u8 = 0x21;
    /// Set in the codes of arrays.
    pub const ARRAY: u8 = 0x80;
}

/// 100 ns intervals from 1601 to 1970.
const UNIX_EPOCH: i128 = 116_444_736_000_000_000;

/// A value of a template instance or a literal text of the template.
#[derive(Clone, Copy, Debug)]
pub struct Value<'c> {
    /// One of [`kind`].
    pub kind: u8,
    /// The value's bytes as they lie in the chunk.
    pub bytes: &'c [u8],
}

impl<'c> Value<'c> {
    /// The value as a number, also from text.
    pub fn number(self) -> Option<u64> {
        let word = |width: usize| {
            let mut word = [0; 8];
            word[..width].copy_from_slice(self.bytes.get(..width)?);
            Some(u64::from_le_bytes(word))
        };
        match self.kind {
            kind::INT8 | kind::UINT8 => word(1),
            kind::INT16 | kind::UINT16 => word(2),
            kind::INT32 | kind::UINT32 | kind::HEX32 | kind::BOOL => word(4),
            kind::INT64 | kind::UINT64 | kind::HEX64 => word(8),
            kind::SIZE if !self.bytes.is_empty() => word(self.bytes.len().min(8)),
            _ => None,
        }
    }

    /// A FILETIME as nanoseconds since the Unix epoch.
    pub fn nanoseconds(self) -> Option<i64> {
        match self.kind {
            kind::FILETIME => filetime_nanoseconds(u64::from_le_bytes(*self.bytes.first_chunk()?)),
            _ => None,
        }
    }

    /// Whether the value is one value and no fragment of its own.
    pub fn is_scalar(self) -> bool {
        self.kind < kind::BINXML
    }

    /// Whether an element or attribute that depends on the value is left out.
    pub fn is_null(self) -> bool {
        self.kind == kind::NULL || self.bytes.is_empty()
    }

    /// The items of an array, or `None` for a single value.
    pub fn items(self) -> Option<Items<'c>> {
        let item = self.kind & !kind::ARRAY;
        let width = match item {
            _ if self.kind & kind::ARRAY == 0 || self.bytes.is_empty() => return None,
            kind::STRING | kind::ANSI => 0,
            kind::INT8 | kind::UINT8 => 1,
            kind::INT16 | kind::UINT16 => 2,
            kind::INT32 | kind::UINT32 | kind::REAL32 | kind::BOOL | kind::HEX32 => 4,
            kind::INT64 | kind::UINT64 | kind::REAL64 | kind::FILETIME | kind::HEX64 => 8,
            kind::GUID | kind::SYSTEMTIME => 16,
            _ => return None,
        };
        Some(Items { kind: item, width, rest: self.bytes })
    }

    /// The value as text.
    pub fn text(self, bump: &Bump) -> &str {
        if let Some(text) = self.plain_text(bump) {
            return text;
        }
        let mut out = Text::with_capacity_in(40, bump);
        // Writing to a string cannot fail.
        let _ = match self.items() {
            Some(items) => write_items(items, bump, &mut out),
            None => self.write(&mut out),
        };
        out.into_bump_str()
    }

    fn plain_text(self, bump: &Bump) -> Option<&str> {
        Some(match self.kind {
            kind::NULL | kind::BINXML => "",
            kind::STRING => utf16_text(self.bytes, bump),
            kind::ANSI => ansi_text(self.bytes, bump),
            kind::BOOL => match self.number() {
                Some(0) => "false",
                Some(1) => "true",
                _ => return None,
            },
            _ => return None,
        })
    }

    fn write(self, out: &mut Text<'_>) -> std::fmt::Result {
        let bytes = self.bytes;
        match self.kind {
            kind::INT8 => bytes.first().map_or(Ok(()), |byte| write!(out, "{}", *byte as i8)),
            kind::INT16 => fixed(bytes, |word| write!(out, "{}", i16::from_le_bytes(word))),
            kind::INT32 | kind::BOOL => fixed(bytes, |word| write!(out, "{}", i32::from_le_bytes(word))),
            kind::INT64 => fixed(bytes, |word| write!(out, "{}", i64::from_le_bytes(word))),
            kind::UINT8 | kind::UINT16 | kind::UINT32 | kind::UINT64 => {
                self.number().map_or(Ok(()), |number| write_number(number, 10, out))
            }
            kind::REAL32 => fixed(bytes, |word| write!(out, "{}", f32::from_le_bytes(word))),
            kind::REAL64 => fixed(bytes, |word| write!(out, "{}", f64::from_le_bytes(word))),
            kind::GUID => fixed(bytes, |word| write_guid(&word, out)),
            kind::SIZE | kind::HEX32 | kind::HEX64 => self.number().map_or(Ok(()), |number| {
                out.push_str("0x");
                write_number(number, 16, out)
            }),
            kind::FILETIME => fixed(bytes, |word| write_filetime(u64::from_le_bytes(word), out)),
            kind::SYSTEMTIME => fixed(bytes, |word| write_system_time(&word, out)),
            kind::SID => write_sid(bytes, out),
            // Binary data, and types that have no text.
            _ => bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}")),
        }
    }
}

/// Iterator of [`Value::items`].
pub struct Items<'c> {
    kind: u8,
    width: usize,
    rest: &'c [u8],
}

impl<'c> Iterator for Items<'c> {
    type Item = Value<'c>;

    fn next(&mut self) -> Option<Value<'c>> {
        if self.rest.is_empty() {
            return None;
        }
        let (end, gap) = match (self.width, self.kind) {
            (0, kind::STRING) => utf16_end(self.rest),
            (0, _) => (self.rest.iter().position(|byte| *byte == 0).unwrap_or(self.rest.len()), 1),
            (width, _) => (width.min(self.rest.len()), 0),
        };
        let bytes = &self.rest[..end];
        self.rest = self.rest.get(end + gap..).unwrap_or_default();
        Some(Value { kind: self.kind, bytes })
    }
}

fn utf16_end(bytes: &[u8]) -> (usize, usize) {
    let units = bytes.as_chunks::<2>().0;
    match units.iter().position(|unit| *unit == [0, 0]) {
        Some(at) => (2 * at, 2),
        None => (2 * units.len(), 1),
    }
}

fn write_items(items: Items<'_>, bump: &Bump, out: &mut Text<'_>) -> std::fmt::Result {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(item.text(bump));
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8], write: impl FnOnce([u8; N]) -> std::fmt::Result) -> std::fmt::Result {
    bytes.first_chunk().map_or(Ok(()), |word| write(*word))
}

/// Decodes UTF-16LE up to the first NUL; what is no valid text becomes U+FFFD.
pub fn utf16_text<'b>(bytes: &[u8], bump: &'b Bump) -> &'b str {
    let units = bytes.as_chunks::<2>().0;
    // One pass without early exit, which the compiler vectorises.
    let (mut bits, mut has_nul) = (0, false);
    for unit in units {
        let unit = u16::from_le_bytes(*unit);
        bits |= unit;
        has_nul |= unit == 0;
    }
    let length = if has_nul { units.iter().take_while(|unit| **unit != [0, 0]).count() } else { units.len() };
    let units = &units[..length];
    if bits < 0x80 {
        let ascii = bump.alloc_slice_fill_copy(length, 0);
        for (byte, unit) in ascii.iter_mut().zip(units) {
            *byte = unit[0];
        }
        return std::str::from_utf8(ascii).unwrap_or_default();
    }
    let mut out = Text::with_capacity_in(length + length / 2, bump);
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    out.into_bump_str()
}

/// Decodes Windows-1252, leaving NULs out.
fn ansi_text<'b>(bytes: &[u8], bump: &'b Bump) -> &'b str {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let mut out = Text::with_capacity_in(bytes.len(), bump);
    out.extend(bytes.iter().filter(|byte| **byte != 0).map(|byte| match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        _ => char::from(*byte),
    }));
    out.into_bump_str()
}

fn write_number(mut number: u64, base: u64, out: &mut Text<'_>) -> std::fmt::Result {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
        if number == 0 {
            return out.write_str(std::str::from_utf8(&digits[start..]).unwrap_or_default());
        }
    }
}

fn write_guid(guid: &[u8; 16], out: &mut Text<'_>) -> std::fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    /// Where the text has each byte's digits.
    const PLACES: [usize; 16] = [7, 5, 3, 1, 12, 10, 17, 15, 20, 22, 25, 27, 29, 31, 33, 35];
    let mut text = *b"{00000000-0000-0000-0000-000000000000}";
    for (byte, place) in guid.iter().zip(PLACES) {
        text[place] = DIGITS[usize::from(byte >> 4)];
        text[place + 1] = DIGITS[usize::from(byte & 15)];
    }
    out.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn write_sid(sid: &[u8], out: &mut Text<'_>) -> std::fmt::Result {
    let Some(([revision, _, authority @ ..], parts)) = sid.split_first_chunk::<8>() else {
        return Ok(());
    };
    let authority = authority.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    out.push_str("S-");
    write_number(u64::from(*revision), 10, out)?;
    out.push('-');
    write_number(authority, 10, out)?;
    parts.as_chunks::<4>().0.iter().try_for_each(|part| {
        out.push('-');
        write_number(u64::from(u32::from_le_bytes(*part)), 10, out)
    })
}

/// A FILETIME as nanoseconds since the Unix epoch, if it lies between 1677 and 2262.
pub fn filetime_nanoseconds(filetime: u64) -> Option<i64> {
    i64::try_from((i128::from(filetime) - UNIX_EPOCH) * 100).ok()
}

fn write_filetime(filetime: u64, out: &mut Text<'_>) -> std::fmt::Result {
    out.write_str(crate::winlog::time::Stamp::of_filetime(filetime).seven_digits())
}

fn write_system_time(time: &[u8; 16], out: &mut Text<'_>) -> std::fmt::Result {
    let field = |at: usize| u16::from_le_bytes([time[2 * at], time[2 * at + 1]]);
    let (year, month, day) = (field(0), field(1), field(3));
    write!(out, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z", field(4), field(5), field(6), field(7))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, bytes: &[u8]) -> String {
        Value { kind, bytes }.text(&Bump::new()).to_owned()
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn texts() {
        assert_eq!(text(kind::STRING, &wide("ab\0c")), "ab");
        assert_eq!(text(kind::STRING, &wide("grün 😀")), "grün 😀");
        assert_eq!(text(kind::STRING, &[0x00, 0xd8, 0x41, 0]), "\u{fffd}A");
        assert_eq!(text(kind::STRING, b"a"), "");
        assert_eq!(text(kind::ANSI, b"a\x80\xe4\0"), "a€ä");
        assert_eq!(text(kind::INT8, &[0xff]), "-1");
        assert_eq!(text(kind::UINT32, &[1, 0, 0, 0x80]), "2147483649");
        assert_eq!(text(kind::HEX64, &[0xe7, 0xc9, 2, 0, 0, 0, 0, 0]), "0x2c9e7");
        assert_eq!(text(kind::SIZE, &[0x74, 3, 0, 0]), "0x374");
        assert_eq!(text(kind::BOOL, &[1, 0, 0, 0]), "true");
        assert_eq!(text(kind::BOOL, &[16, 0, 0, 0]), "16");
        assert_eq!(text(0x0e, &[0xab, 1]), "AB01");
        assert_eq!(text(kind::SID, &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), "S-1-5-18");
        assert_eq!(text(kind::GUID, &[0; 16]), "{00000000-0000-0000-0000-000000000000}");
        let guid = [0x5f, 0x38, 0x70, 0x57, 0x2a, 0xc2, 0xe0, 0x43, 0xbf, 0x4c, 6, 0xf5, 0x69, 0x8f, 0xfb, 0xd9];
        assert_eq!(text(kind::GUID, &guid), "{5770385f-c22a-43e0-bf4c-06f5698ffbd9}");
        let time = 133_183_879_024_069_136_u64;
        assert_eq!(text(kind::FILETIME, &time.to_le_bytes()), "2023-01-17T00:11:42.4069136Z");
        assert_eq!(text(kind::FILETIME, &0_u64.to_le_bytes()), "1601-01-01T00:00:00.0000000Z");
    }

    #[test]
    fn short_values_give_no_text() {
        for kind in 3..=0x21 {
            assert_eq!(text(kind, &[]), "", "type {kind:#x}");
        }
    }

    #[test]
    fn arrays() {
        let bytes = wide("one\0\0three\0");
        let bump = Bump::new();
        let array = Value { kind: 0x81, bytes: &bytes };
        let items: Vec<&str> = array.items().unwrap().map(|item| item.text(&bump)).collect();
        assert_eq!(items, ["one", "", "three"]);
        assert_eq!(array.text(&bump), "one,,three");
        assert_eq!(text(0x88, &[1, 0, 0, 0, 2, 0, 0, 0, 3]), "1,2,");
    }
}
