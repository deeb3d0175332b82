//! Typed values and their bytes.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// Ticks of 100 ns from 1601-01-01 to 1970-01-01.
const UNIX_EPOCH_TICKS: i128 = 116_444_736_000_000_000;

/// A value of an event's payload, with its BinXML type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value: the element stays empty.
    Null,
    /// `win:UnicodeString`
    Text(String),
    /// `win:Int32`
    Int32(i32),
    /// `win:UInt8`
    UInt8(u8),
    /// `win:UInt16`
    UInt16(u16),
    /// `win:UInt32`
    UInt32(u32),
    /// `win:UInt64`
    UInt64(u64),
    /// `win:Boolean`
    Bool(bool),
    /// `win:Binary`
    Binary(Vec<u8>),
    /// `win:GUID`
    Guid(Guid),
    /// `win:FILETIME`
    FileTime(Timestamp),
    /// `win:SID`
    Sid(Sid),
    /// `win:HexInt32`
    Hex32(u32),
    /// `win:HexInt64`
    Hex64(u64),
}

impl Value {
    /// A [`Value::Text`].
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The type's number in a template. A null stands in a slot for strings, so that an absent value does not make
    /// another template.
    pub(super) fn slot_type(&self) -> u8 {
        match self {
            Self::Null | Self::Text(_) => 0x01,
            Self::UInt8(_) => 0x04,
            Self::UInt16(_) => 0x06,
            Self::Int32(_) => 0x07,
            Self::UInt32(_) => 0x08,
            Self::UInt64(_) => 0x0a,
            Self::Bool(_) => 0x0d,
            Self::Binary(_) => 0x0e,
            Self::Guid(_) => 0x0f,
            Self::FileTime(_) => 0x11,
            Self::Sid(_) => 0x13,
            Self::Hex32(_) => 0x14,
            Self::Hex64(_) => 0x15,
        }
    }

    /// The type's number in a template instance.
    pub(super) fn instance_type(&self) -> u8 {
        if matches!(self, Self::Null) { 0x00 } else { self.slot_type() }
    }

    /// Appends the value. A time before 1601 is returned as the error.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Timestamp> {
        match self {
            Self::Null => {}
            Self::Text(text) => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Self::Int32(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::UInt8(v) => out.push(*v),
            Self::UInt16(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::UInt32(v) | Self::Hex32(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::UInt64(v) | Self::Hex64(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::Bool(v) => out.extend_from_slice(&i32::from(*v).to_le_bytes()),
            Self::Binary(bytes) => out.extend_from_slice(bytes),
            Self::Guid(guid) => out.extend_from_slice(&guid.to_bytes()),
            Self::FileTime(time) => out.extend_from_slice(&filetime(*time).ok_or(*time)?.to_le_bytes()),
            Self::Sid(sid) => sid.write(out),
        }
        Ok(())
    }
}

/// Ticks of 100 ns since 1601, or `None` before.
pub(super) fn filetime(time: Timestamp) -> Option<u64> {
    u64::try_from(time.as_nanosecond().div_euclid(100) + UNIX_EPOCH_TICKS).ok()
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Text that is no GUID or SID.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {what}")]
pub struct ParseValueError {
    what: &'static str,
    text: String,
}

/// A GUID. Its text form is lower case with braces, as Windows renders events; parsing takes either case, with or
/// without braces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u128);

impl Guid {
    /// The first three groups are little-endian numbers.
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = self.0.to_be_bytes();
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }
}

impl FromStr for Guid {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseValueError { what: "GUID", text: text.to_owned() };
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        let groups: Vec<&str> = inner.split('-').collect();
        let lengths = groups.iter().map(|group| group.len());
        if !lengths.eq([8, 4, 4, 4, 12]) || !inner.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{{{}-{}-{}-{}-{}}}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// A security identifier, such as `S-1-5-18`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: u64,
    sub_authorities: Vec<u32>,
}

impl Sid {
    /// Revision, number of sub-authorities, big-endian 48-bit authority, little-endian sub-authorities.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(1);
        out.push(self.sub_authorities.len() as u8);
        out.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        self.sub_authorities.iter().for_each(|sub| out.extend_from_slice(&sub.to_le_bytes()));
    }
}

impl FromStr for Sid {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseValueError { what: "SID", text: text.to_owned() };
        let mut parts = text.strip_prefix("S-1-").ok_or_else(error)?.split('-');
        let authority = parts.next().and_then(|part| part.parse().ok()).filter(|a| *a < 1 << 48).ok_or_else(error)?;
        let sub_authorities: Vec<u32> = parts.map(str::parse).collect::<Result<_, _>>().map_err(|_| error())?;
        // Windows allows up to 15 sub-authorities (SID_MAX_SUB_AUTHORITIES).
        if sub_authorities.len() > 15 {
            return Err(error());
        }
        Ok(Self { authority, sub_authorities })
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-1-{}", self.authority)?;
        self.sub_authorities.iter().try_for_each(|sub| write!(f, "-{sub}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_parse_and_print() {
        let text = "{5770385f-c22a-43e0-bf4c-06f5698ffbd9}";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!("5770385F-C22A-43E0-BF4C-06F5698FFBD9".parse(), Ok(guid));
        assert_eq!(guid.to_bytes()[..8], [0x5f, 0x38, 0x70, 0x57, 0x2a, 0xc2, 0xe0, 0x43]);
        for bad in
            ["", "{}", "5770385f", "5770385f-c22a-43e0-bf4c-06f5698ffbdx", "+770385f-c22a-43e0-bf4c-06f5698ffbd9"]
        {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sids_parse_and_print() {
        for text in ["S-1-5-18", "S-1-5-21-1004336348-1177238915-682003330-1105", "S-1-0"] {
            assert_eq!(text.parse::<Sid>().unwrap().to_string(), text);
        }
        for bad in ["", "S-1-", "S-1-x", "S-1-5-4294967296", "S-2-5-18", "S-1-281474976710656"] {
            assert!(bad.parse::<Sid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn filetime_starts_in_1601() {
        assert_eq!(filetime("1601-01-01T00:00:00Z".parse().unwrap()), Some(0));
        assert_eq!(filetime("1600-12-31T23:59:59.9999999Z".parse().unwrap()), None);
        assert_eq!(filetime(Timestamp::UNIX_EPOCH), Some(116_444_736_000_000_000));
    }
}
