use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

use eqlipse_batch::ValueRef;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::spill::take;
use crate::script::Scalar;

/// A join key's number in a [`KeyTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// One value of a join key. Numbers that are equal are the same part, whatever their kind; values of different kinds
/// never are.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyPart {
    /// The event lacks an optional key field.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// Any other number.
    Double(f64),
    /// Text.
    Text(String),
    /// Nanoseconds since the epoch.
    Date(i64),
    /// An address.
    Ip(IpAddr),
}

/// Keys are kept as bytes whose order is that of the keys: null, truth values, numbers, text, dates, addresses.
#[derive(Clone, Debug, Default)]
pub struct KeyTable {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<u64>,
    ids: HashTable<Id>,
}

/// A key's number, and its hash, so that the table grows without a look at the keys.
#[derive(Clone, Copy, Debug)]
struct Id {
    number: u32,
    hash: u32,
}

impl Id {
    /// The hash for the table, which takes its place from the lowest bits and a mark from the highest.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

const NULL: u8 = 1;
const BOOL: u8 = 2;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;
const DATE: u8 = 5;
const IP: u8 = 6;

/// Appends a value's bytes; `None` is null.
pub(super) fn encode(value: Option<ValueRef<'_>>, out: &mut Vec<u8>) {
    match value {
        None => out.push(NULL),
        Some(ValueRef::Bool(value)) => out.extend([BOOL, u8::from(value)]),
        Some(ValueRef::Int(value)) => encode_number(value as f64, i128::from(value), out),
        Some(ValueRef::UInt(value)) => encode_number(value as f64, i128::from(value), out),
        // The cast saturates, which the double beside it makes good.
        Some(ValueRef::Double(value)) => encode_number(value, value as i128, out),
        Some(ValueRef::Str(text)) => {
            out.push(TEXT);
            // A zero byte is escaped, so that the terminator sorts before every continuation.
            let mut rest = text.as_bytes();
            while let Some(zero) = memchr::memchr(0, rest) {
                out.extend_from_slice(&rest[..=zero]);
                out.push(0xff);
                rest = &rest[zero + 1..];
            }
            out.extend_from_slice(rest);
            out.extend([0, 0]);
        }
        Some(ValueRef::Date(nanos)) => {
            out.push(DATE);
            out.extend((nanos as u64 ^ 1 << 63).to_be_bytes());
        }
        Some(ValueRef::Ip(address)) => {
            out.push(IP);
            let wide = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            out.extend(wide.octets());
        }
    }
}

/// Appends the bytes of an expression's value.
pub(super) fn encode_scalar(value: &Scalar<'_>, out: &mut Vec<u8>) {
    let value = match value {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(ValueRef::Bool(*value)),
        Scalar::Int(value) => Some(ValueRef::Int(*value)),
        Scalar::UInt(value) => Some(ValueRef::UInt(*value)),
        Scalar::Double(value) => Some(ValueRef::Double(*value)),
        Scalar::Str(text) | Scalar::Version(text) => Some(ValueRef::Str(text)),
        Scalar::Date(nanos) => Some(ValueRef::Date(*nanos)),
        Scalar::Ip(address) => Some(ValueRef::Ip(*address)),
    };
    encode(value, out);
}

/// The double nearest to the number in an order-keeping form, then the whole number, which tells apart those that share
/// a double.
fn encode_number(near: f64, whole: i128, out: &mut Vec<u8>) {
    // -0.0 is 0.
    let bits = (near + 0.0).to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits ^ 1 << 63 };
    out.push(NUMBER);
    out.extend(ordered.to_be_bytes());
    out.extend((whole as u128 ^ 1 << 127).to_be_bytes());
}

/// The parts of a key. Bytes that are none end it: lists of matches are read from files, which may be damaged.
fn decode(mut bytes: &[u8]) -> Vec<KeyPart> {
    std::iter::from_fn(|| take_part(&mut bytes)).collect()
}

fn take_part(bytes: &mut &[u8]) -> Option<KeyPart> {
    let [tag] = take(bytes)?;
    Some(match tag {
        NULL => KeyPart::Null,
        BOOL => KeyPart::Bool(take(bytes)? == [1]),
        NUMBER => {
            let ordered = u64::from_be_bytes(take(bytes)?);
            let near = f64::from_bits(if ordered >> 63 == 1 { ordered ^ 1 << 63 } else { !ordered });
            let whole = (u128::from_be_bytes(take(bytes)?) ^ 1 << 127) as i128;
            if near == whole as f64 { KeyPart::Whole(whole) } else { KeyPart::Double(near) }
        }
        TEXT => {
            let mut text = Vec::new();
            loop {
                let [byte] = take(bytes)?;
                if byte == 0 && take(bytes)? == [0] {
                    break;
                }
                text.push(byte);
            }
            KeyPart::Text(String::from_utf8_lossy(&text).into_owned())
        }
        DATE => KeyPart::Date((u64::from_be_bytes(take(bytes)?) ^ 1 << 63) as i64),
        IP => KeyPart::Ip(IpAddr::V6(Ipv6Addr::from(take::<16>(bytes)?)).to_canonical()),
        _ => return None,
    })
}

fn hash(key: &[u8]) -> u32 {
    FixedState::with_seed(0).hash_one(key) as u32
}

impl KeyTable {
    /// About how many bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u64>() + self.ids.capacity() * (size_of::<Id>() + 1)
    }

    pub(super) fn bytes_of(&self, id: KeyId) -> &[u8] {
        let index = id.0 as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Makes room for so many keys more.
    pub(super) fn reserve(&mut self, keys: usize) {
        self.ends.reserve(keys);
        self.ids.reserve(keys, |id| Id::spread(id.hash));
    }

    /// Makes room for the keys of other tables, many of which may be the same.
    pub(super) fn reserve_for<'t>(&mut self, others: impl Iterator<Item = &'t KeyTable> + Clone) {
        self.reserve(others.clone().map(KeyTable::len).max().unwrap_or_default());
        self.bytes.reserve(others.map(|other| other.bytes.len()).max().unwrap_or_default());
    }

    pub(super) fn intern(&mut self, key: &[u8]) -> KeyId {
        let hash = hash(key);
        if let Some(known) = self.find_hashed(key, hash) {
            return known;
        }
        let id = Id { number: self.ends.len() as u32, hash };
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as u64);
        self.ids.insert_unique(Id::spread(hash), id, |id| Id::spread(id.hash));
        KeyId(id.number)
    }

    /// The key with these bytes, if it is there.
    pub(super) fn find(&self, key: &[u8]) -> Option<KeyId> {
        self.find_hashed(key, hash(key))
    }

    fn find_hashed(&self, key: &[u8], hash: u32) -> Option<KeyId> {
        let is_key = |id: &Id| id.hash == hash && self.bytes_of(KeyId(id.number)) == key;
        self.ids.find(Id::spread(hash), is_key).map(|id| KeyId(id.number))
    }

    /// Takes over a key of another table.
    pub(super) fn intern_from(&mut self, other: &KeyTable, key: KeyId) -> KeyId {
        self.intern(other.bytes_of(key))
    }

    /// The order of two keys.
    pub fn order(&self, a: KeyId, b: KeyId) -> Ordering {
        self.bytes_of(a).cmp(self.bytes_of(b))
    }

    /// The parts of a key.
    pub fn parts(&self, id: KeyId) -> Vec<KeyPart> {
        decode(self.bytes_of(id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_keep_value_and_order() {
        let ascending = [
            (None, KeyPart::Null),
            (Some(ValueRef::Bool(false)), KeyPart::Bool(false)),
            (Some(ValueRef::Bool(true)), KeyPart::Bool(true)),
            (Some(ValueRef::Double(f64::NEG_INFINITY)), KeyPart::Double(f64::NEG_INFINITY)),
            (Some(ValueRef::Int(i64::MIN)), KeyPart::Whole(i128::from(i64::MIN))),
            (Some(ValueRef::Double(-0.5)), KeyPart::Double(-0.5)),
            (Some(ValueRef::Double(-0.0)), KeyPart::Whole(0)),
            (Some(ValueRef::Int(1 << 60)), KeyPart::Whole(1 << 60)),
            (Some(ValueRef::Int((1 << 60) + 1)), KeyPart::Whole((1 << 60) + 1)),
            (Some(ValueRef::UInt(u64::MAX)), KeyPart::Whole(i128::from(u64::MAX))),
            (Some(ValueRef::Double(1e300)), KeyPart::Double(1e300)),
            (Some(ValueRef::Str("")), KeyPart::Text(String::new())),
            (Some(ValueRef::Str("a")), KeyPart::Text("a".into())),
            (Some(ValueRef::Str("a\0")), KeyPart::Text("a\0".into())),
            (Some(ValueRef::Str("a\0b")), KeyPart::Text("a\0b".into())),
            (Some(ValueRef::Str("ab")), KeyPart::Text("ab".into())),
            (Some(ValueRef::Date(-1)), KeyPart::Date(-1)),
            (Some(ValueRef::Date(1)), KeyPart::Date(1)),
            (Some(ValueRef::Ip([10, 0, 0, 1].into())), KeyPart::Ip([10, 0, 0, 1].into())),
        ];
        let mut last = Vec::new();
        for (value, part) in ascending {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            assert_eq!(decode(&bytes), std::slice::from_ref(&part));
            assert!(bytes > last, "{part:?}");
            last = bytes;
        }
    }

    #[test]
    fn a_key_that_is_cut_has_the_parts_before_the_cut() {
        let values = [None, Some(ValueRef::Bool(true)), Some(ValueRef::Int(7)), Some(ValueRef::Str("a\0b"))];
        let more = [Some(ValueRef::Date(1)), Some(ValueRef::Ip([10, 0, 0, 1].into()))];
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for value in values.into_iter().chain(more) {
            encode(value, &mut bytes);
            ends.push(bytes.len());
        }
        let whole = decode(&bytes);
        assert_eq!(whole.len(), ends.len());
        for cut in 0..bytes.len() {
            let before = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(decode(&bytes[..cut]), whole[..before], "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes in prop::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..60)) {
            prop_assert!(decode(&bytes).len() <= bytes.len());
        }
    }

    #[test]
    fn equal_numbers_are_one_key() {
        let mut table = KeyTable::default();
        let mut id = |value| {
            let mut bytes = Vec::new();
            encode(Some(value), &mut bytes);
            table.intern(&bytes)
        };
        assert_eq!(id(ValueRef::Int(5)), id(ValueRef::Double(5.0)));
        assert_ne!(id(ValueRef::Int(5)), id(ValueRef::Str("5")));
    }
}
