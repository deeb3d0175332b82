//! Comparison of two values of any kinds.

use std::cmp::Ordering;
use std::net::IpAddr;

use eqlipse_batch::{RawValue, coerce_date, parse_address};

use super::{Scalar, version};
use crate::text::Fold;

/// Whether two values are equal; null equals nothing.
///
/// Numbers compare by value whatever their kind. Text that meets a number or a truth value compares by that value's
/// text form, text that meets a date or an address is read as one (an address may be given as a CIDR block), and a
/// number that meets a date counts milliseconds since the epoch.
pub fn equal(a: &Scalar<'_>, b: &Scalar<'_>) -> bool {
    match (a, b) {
        (Scalar::Str(a), Scalar::Str(b)) => a == b,
        (Scalar::Version(a), Scalar::Version(b) | Scalar::Str(b)) | (Scalar::Str(a), Scalar::Version(b)) => a == b,
        (Scalar::Ip(address), Scalar::Str(text)) | (Scalar::Str(text), Scalar::Ip(address)) => ip_equal(*address, text),
        (Scalar::Ip(a), Scalar::Ip(b)) => a == b,
        (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
        (Scalar::Date(_), _) | (_, Scalar::Date(_)) => order(a, b) == Some(Ordering::Equal),
        (Scalar::Str(text) | Scalar::Version(text), other) | (other, Scalar::Str(text) | Scalar::Version(text)) => {
            !matches!(other, Scalar::Ip(_)) && other.text().is_some_and(|form| form == *text)
        }
        _ => order(a, b) == Some(Ordering::Equal),
    }
}

/// Whether a value equals an element of a list, whose texts are folded already. What is no text has one without capitals.
pub fn is_one_of(value: &Scalar<'_>, list: &[Scalar<'_>], fold: Fold) -> bool {
    let folded = match value {
        Scalar::Str(text) => &Scalar::Str(fold.apply(text)),
        Scalar::Version(text) => &Scalar::Version(fold.apply(text)),
        other => other,
    };
    list.iter().any(|item| equal(folded, item))
}

/// The order of two values, or `None` where they have none.
pub fn order(a: &Scalar<'_>, b: &Scalar<'_>) -> Option<Ordering> {
    match (a, b) {
        (Scalar::Str(a), Scalar::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Scalar::Version(a), Scalar::Version(b) | Scalar::Str(b)) | (Scalar::Str(a), Scalar::Version(b)) => {
            Some(version::order(a, b))
        }
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
        (Scalar::Ip(a), Scalar::Ip(b)) => Some(address_rank(*a).cmp(&address_rank(*b))),
        (Scalar::Ip(a), Scalar::Str(b)) => Some(address_rank(*a).cmp(&address_rank(parse_address(b)?))),
        (Scalar::Str(_), Scalar::Ip(_)) => order(b, a).map(Ordering::reverse),
        (Scalar::Date(a), _) => Some(a.cmp(&as_date(b)?)),
        (_, Scalar::Date(_)) => order(b, a).map(Ordering::reverse),
        _ => order_numbers(a, b),
    }
}

/// Elasticsearch orders addresses by their 16-byte form.
fn address_rank(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn as_date(value: &Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Date(nanos) => Some(*nanos),
        Scalar::Int(millis) => millis.checked_mul(1_000_000),
        Scalar::Str(text) => coerce_date(RawValue::Str(text)),
        Scalar::Double(millis) => coerce_date(RawValue::Double(*millis)),
        _ => None,
    }
}

fn order_numbers(a: &Scalar<'_>, b: &Scalar<'_>) -> Option<Ordering> {
    match (a, b) {
        (Scalar::Double(a), Scalar::Double(b)) => a.partial_cmp(b),
        (Scalar::Double(a), whole) => order_mixed(*a, as_whole(whole)?),
        (whole, Scalar::Double(b)) => order_mixed(*b, as_whole(whole)?).map(Ordering::reverse),
        _ => Some(as_whole(a)?.cmp(&as_whole(b)?)),
    }
}

fn as_whole(value: &Scalar<'_>) -> Option<i128> {
    match value {
        Scalar::Int(value) => Some(i128::from(*value)),
        Scalar::UInt(value) => Some(i128::from(*value)),
        _ => None,
    }
}

/// Exact, also where the whole number has more digits than a double holds.
fn order_mixed(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    // Every whole number here is within 65 bits, so a larger double is beyond all of them.
    if a.abs() >= 2f64.powi(66) {
        return Some(if a > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole = a.trunc();
    Some((whole as i128).cmp(&b).then(a.partial_cmp(&whole)?))
}

fn ip_equal(address: IpAddr, text: &str) -> bool {
    match text.split_once('/') {
        None => parse_address(text) == Some(address),
        Some(_) => Cidr::parse(text).is_some_and(|block| block.contains(address)),
    }
}

/// A block of addresses, in their 16-byte form: `::/0` holds IPv4 addresses too, as in Elasticsearch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: u128,
    bits: u32,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fe80::/10`, or an address alone, which is a block of one; `None` if it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((address, bits)) = text.split_once('/') else {
            return parse_address(text).map(|address| Self { network: address_rank(address), bits: 128 });
        };
        let network: IpAddr = address.parse().ok()?;
        let (width, skipped) = if network.is_ipv4() { (32, 96) } else { (128, 0) };
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= width)?;
        Some(Self { network: address_rank(network), bits: bits + skipped })
    }

    /// Whether the address lies in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.network ^ address_rank(address)).leading_zeros() >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Str(text.into())
    }

    #[test]
    fn lists_ignore_the_case_of_versions_too() {
        let version = Scalar::Version("1.0-RC".into());
        assert!(is_one_of(&version, &[text("1.0-rc")], Fold::Ascii));
        assert!(is_one_of(&version, &[text("1.0-RC")], Fold::None));
        assert!(!is_one_of(&version, &[text("1.0-rc")], Fold::None));
    }

    #[test]
    fn numbers_compare_by_value() {
        assert!(equal(&Scalar::Int(5), &Scalar::Double(5.0)));
        assert_eq!(order(&Scalar::Int(i64::MAX), &Scalar::Double(2f64.powi(63))), Some(Ordering::Less));
        assert_eq!(order(&Scalar::UInt(u64::MAX), &Scalar::Int(-1)), Some(Ordering::Greater));
        assert_eq!(order(&Scalar::Double(-0.5), &Scalar::Int(0)), Some(Ordering::Less));
        assert_eq!(order(&Scalar::Double(f64::NAN), &Scalar::Int(0)), None);
        assert_eq!(order(&Scalar::Double(f64::INFINITY), &Scalar::UInt(u64::MAX)), Some(Ordering::Greater));
    }

    #[test]
    fn text_meets_other_kinds() {
        let address = Scalar::Ip("10.1.2.3".parse().unwrap());
        assert!(equal(&address, &text("10.1.2.3")));
        assert!(equal(&address, &text("10.0.0.0/8")));
        assert!(!equal(&address, &text("11.0.0.0/8")));
        assert!(equal(&Scalar::Int(5), &text("5")));
        assert!(!equal(&Scalar::Int(5), &text("5.0")));
        assert!(equal(&Scalar::Date(1_000_000_000), &text("1970-01-01T00:00:01Z")));
        assert_eq!(order(&Scalar::Date(0), &Scalar::Int(1)), Some(Ordering::Less));
        assert_eq!(order(&text("a"), &Scalar::Int(1)), None);
    }

    #[test]
    fn blocks_contain_addresses() {
        let cases = [
            ("0.0.0.0/0", "255.1.1.1", true),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "fec0::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.0.0.1", true),
            ("10.0.0.0/8", "::1", false),
        ];
        for (block, address, expected) in cases {
            assert_eq!(
                Cidr::parse(block).unwrap().contains(address.parse().unwrap()),
                expected,
                "{address} in {block}"
            );
        }
        for bad in ["10.0.0.0/33", "10.0.0/8", "x", "", "::/129", "10.0.0.0/-1"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }
}
