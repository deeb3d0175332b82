//! Values, their types, and how two of them compare.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

use eqlipse_ecs::FieldType;
use serde_json::Value;

use super::date;

/// A value of a field or of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Val<'a> {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// Any other number.
    Double(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// Nanoseconds since the epoch.
    Date(i64),
    /// An address.
    Ip(IpAddr),
    /// Text that is ordered as a version.
    Version(Cow<'a, str>),
}

impl<'a> Val<'a> {
    /// The scalar `value` as a field of type `ty` takes it; `None` where the field drops it.
    pub fn of_field(ty: FieldType, value: &'a Value) -> Option<Self> {
        let raw = Self::of_json(value)?;
        match ty {
            FieldType::Dynamic => Some(raw),
            FieldType::Keyword => Some(Val::Str(raw.into_text())),
            FieldType::Version => Some(Val::Version(raw.into_text())),
            FieldType::Long => as_long(&raw),
            FieldType::Double => as_double(&raw),
            FieldType::Boolean => as_bool(&raw),
            FieldType::Date => as_date(&raw).map(Val::Date),
            FieldType::Ip => raw.as_str().and_then(parse_ip).map(Val::Ip),
        }
    }

    /// A JSON scalar; `None` for null, arrays and objects.
    fn of_json(value: &'a Value) -> Option<Self> {
        match value {
            Value::Bool(b) => Some(Val::Bool(*b)),
            Value::String(s) => Some(Val::Str(Cow::Borrowed(s))),
            Value::Number(n) => Some(match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Val::Int(i),
                (None, Some(u)) => Val::UInt(u),
                (None, None) => Val::Double(n.as_f64()?),
            }),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }

    /// The text of a string or version.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::Str(s) | Val::Version(s) => Some(s),
            _ => None,
        }
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Val::Int(_) | Val::UInt(_) | Val::Double(_))
    }

    /// The value's text (see the module's documentation); null has the text `null`, which nothing uses.
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Val::Str(s) | Val::Version(s) => s,
            Val::Null => Cow::Borrowed("null"),
            Val::Bool(b) => Cow::Owned(b.to_string()),
            Val::Int(i) => Cow::Owned(i.to_string()),
            Val::UInt(u) => Cow::Owned(u.to_string()),
            Val::Double(d) => Cow::Owned(format!("{d:?}")),
            Val::Date(nanos) => Cow::Owned(date::print(nanos)),
            Val::Ip(ip) => Cow::Owned(ip.to_string()),
        }
    }

    /// See [`into_text`](Self::into_text).
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Val::Str(s) | Val::Version(s) => Cow::Borrowed(s),
            other => Cow::Owned(other.clone().into_text().into_owned()),
        }
    }

    /// The value as a long field takes it, where it fits `i64`.
    pub fn to_i64(&self) -> Option<i64> {
        if let Some(Val::Int(int)) = as_long(self) { Some(int) } else { None }
    }

    /// The value as a date field takes it.
    pub fn to_date(&self) -> Option<i64> {
        if let Val::Date(nanos) = self { Some(*nanos) } else { as_date(self) }
    }
}

/// Numeric text, trimmed: whole numbers exactly, others as a double.
pub fn parse_number(text: &str) -> Option<Val<'static>> {
    let text = text.trim();
    if let Ok(int) = text.parse::<i64>() {
        return Some(Val::Int(int));
    }
    if let Ok(unsigned) = text.parse::<u64>() {
        return Some(Val::UInt(unsigned));
    }
    // Rust also reads `inf` and `nan`; numeric text has no letter but the exponent's.
    let decimal = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if decimal { text.parse::<f64>().ok().map(Val::Double) } else { None }
}

fn as_number<'a>(value: &Val<'_>) -> Option<Val<'a>> {
    match value {
        Val::Int(i) => Some(Val::Int(*i)),
        Val::UInt(u) => Some(Val::UInt(*u)),
        Val::Double(d) => Some(Val::Double(*d)),
        Val::Str(s) => parse_number(s),
        _ => None,
    }
}

fn as_long<'a>(value: &Val<'_>) -> Option<Val<'a>> {
    match as_number(value)? {
        Val::Double(d) => {
            let whole = d.trunc();
            let (two_63, two_64) = (2f64.powi(63), 2f64.powi(64));
            if (-two_63..two_63).contains(&whole) {
                Some(Val::Int(whole as i64))
            } else if (two_63..two_64).contains(&whole) {
                Some(Val::UInt(whole as u64))
            } else {
                None
            }
        }
        whole => Some(whole),
    }
}

fn as_double<'a>(value: &Val<'_>) -> Option<Val<'a>> {
    // Text is read as a double at once: through i64 it would be rounded the same, but `-0` would lose its sign.
    let double = match value {
        Val::Str(s) => s.trim().parse::<f64>().ok().filter(|_| parse_number(s).is_some())?,
        other => number_to_f64(other)?,
    };
    double.is_finite().then_some(Val::Double(double))
}

/// The nearest double of a number.
pub fn number_to_f64(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Int(i) => Some(*i as f64),
        Val::UInt(u) => Some(*u as f64),
        Val::Double(d) => Some(*d),
        _ => None,
    }
}

fn as_bool<'a>(value: &Val<'_>) -> Option<Val<'a>> {
    match value {
        Val::Bool(b) => Some(Val::Bool(*b)),
        Val::Str(s) if s == "true" => Some(Val::Bool(true)),
        Val::Str(s) if s == "false" || s.is_empty() => Some(Val::Bool(false)),
        _ => None,
    }
}

fn as_date(value: &Val<'_>) -> Option<i64> {
    match value {
        Val::Int(millis) => millis.checked_mul(1_000_000),
        Val::Double(millis) => {
            let nanos = (millis * 1e6).trunc();
            (-(2f64.powi(63))..2f64.powi(63)).contains(&nanos).then_some(nanos as i64)
        }
        Val::Str(s) => date::parse(s).or_else(|| s.trim().parse::<i64>().ok()?.checked_mul(1_000_000)),
        _ => None,
    }
}

/// An address; an IPv4 address mapped into IPv6 is the IPv4 address.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The 16 bytes that addresses are ordered and masked by.
fn ip_bits(ip: IpAddr) -> u128 {
    let v6: Ipv6Addr = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

/// Whether `ip` lies in `block` (`10.0.0.0/8`; an address alone is a block of one); `None` if that is no block.
pub fn cidr_contains(block: &str, ip: IpAddr) -> Option<bool> {
    let (address, length) = block.split_once('/').map_or((block, None), |(address, length)| (address, Some(length)));
    let network: IpAddr = address.parse().ok()?;
    // IPv4 is compared in its IPv6 form, where it fills the last 32 bits.
    let (width, offset) = if network.is_ipv4() { (32, 96) } else { (128, 0) };
    let length: u32 = match length {
        None => width,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    let mask = u128::MAX.checked_shl(128 - (offset + length.min(width))).unwrap_or(0);
    (length <= width).then_some(ip_bits(network) & mask == ip_bits(ip) & mask)
}

/// How two numbers stand to each other, exactly; `None` for NaN and for what is no number.
fn compare_numbers(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    match (a, b) {
        (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
        (Val::Double(a), b) => compare_double(*a, whole(b)?),
        (a, Val::Double(b)) => compare_double(*b, whole(a)?).map(Ordering::reverse),
        (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

/// A whole number of either kind.
pub fn whole(value: &Val<'_>) -> Option<i128> {
    match value {
        Val::Int(i) => Some(i128::from(*i)),
        Val::UInt(u) => Some(i128::from(*u)),
        _ => None,
    }
}

fn compare_double(double: f64, int: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // The cast saturates, far outside the range that `int` can have.
    let floor = double.floor();
    Some((floor as i128).cmp(&int).then(if double > floor { Ordering::Greater } else { Ordering::Equal }))
}

/// How two values stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are ordered.
    Ordered(Ordering),
    /// They are equal or not, but have no order.
    Equal(bool),
    /// Neither.
    None,
}

impl Relation {
    fn of(ordering: Option<Ordering>) -> Self {
        ordering.map_or(Self::None, Self::Ordered)
    }

    /// Whether the values are equal.
    pub fn is_equal(self) -> bool {
        matches!(self, Self::Ordered(Ordering::Equal) | Self::Equal(true))
    }

    /// The order, where there is one.
    pub fn ordering(self) -> Option<Ordering> {
        if let Self::Ordered(ordering) = self { Some(ordering) } else { None }
    }

    fn reverse(self) -> Self {
        if let Self::Ordered(ordering) = self { Self::Ordered(ordering.reverse()) } else { self }
    }
}

/// The table of comparisons in the module's documentation. `typed_a` and `typed_b` say that the value comes from a
/// plain field of type long or double. Nulls are the caller's business.
pub fn relate(a: &Val<'_>, typed_a: bool, b: &Val<'_>, typed_b: bool) -> Relation {
    relate_ordered(a, typed_a, b)
        .or_else(|| relate_ordered(b, typed_b, a).map(Relation::reverse))
        .unwrap_or(Relation::None)
}

/// Those rows of the table whose first cell is the kind of `a`.
fn relate_ordered(a: &Val<'_>, typed_a: bool, b: &Val<'_>) -> Option<Relation> {
    Some(match (a, b) {
        (a, b) if a.is_number() && b.is_number() => Relation::of(compare_numbers(a, b)),
        (Val::Str(a), Val::Str(b)) => Relation::Ordered(a.as_bytes().cmp(b.as_bytes())),
        (Val::Bool(a), Val::Bool(b)) => Relation::Ordered(a.cmp(b)),
        (Val::Date(a), b) => Relation::of(b.to_date().map(|b| a.cmp(&b))),
        (Val::Ip(a), Val::Ip(b)) => Relation::Ordered(ip_bits(*a).cmp(&ip_bits(*b))),
        (Val::Ip(a), Val::Str(b)) => match parse_ip(b) {
            Some(b) => Relation::Ordered(ip_bits(*a).cmp(&ip_bits(b))),
            None => cidr_contains(b, *a).map_or(Relation::None, Relation::Equal),
        },
        (Val::Version(a), Val::Str(b) | Val::Version(b)) => Relation::Ordered(compare_versions(a, b)),
        (Val::Bool(a), Val::Str(b)) => Relation::Equal(a.to_string() == *b),
        (a, Val::Str(b)) if a.is_number() && typed_a => {
            Relation::of(parse_number(b).and_then(|b| compare_numbers(a, &b)))
        }
        (a, Val::Str(b) | Val::Version(b)) if a.is_number() => Relation::Equal(a.text() == *b),
        _ => return None,
    })
}

struct Version<'a> {
    main: Vec<&'a str>,
    pre_release: Option<Vec<&'a str>>,
    build: &'a str,
}

fn parse_version(text: &str) -> Option<Version<'_>> {
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (main, pre) = rest.split_once('-').map_or((rest, None), |(main, pre)| (main, Some(pre)));
    let main: Vec<_> = main.split('.').collect();
    let pre_release: Option<Vec<_>> = pre.map(|pre| pre.split('.').collect());
    let digits = |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let well_formed = main.iter().all(digits)
        && pre_release.iter().flatten().all(|part| word(part))
        && build.is_none_or(|build| build.split('.').all(word));
    well_formed.then_some(Version { main, pre_release, build: build.unwrap_or("") })
}

/// Digits of any length as numbers; equal numbers with more leading zeros come after.
fn compare_digits(a: &str, b: &str) -> Ordering {
    let (x, y) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then(a.len().cmp(&b.len()))
}

fn compare_identifiers(a: &str, b: &str) -> Ordering {
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    match (numeric(a), numeric(b)) {
        (true, true) => compare_digits(a, b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

fn compare_lists(a: &[&str], b: &[&str], compare: fn(&str, &str) -> Ordering) -> Ordering {
    let parts = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|o| o.is_ne());
    parts.unwrap_or_else(|| a.len().cmp(&b.len()))
}

fn compare_versions(a: &str, b: &str) -> Ordering {
    match (parse_version(a), parse_version(b)) {
        (Some(x), Some(y)) => compare_lists(&x.main, &y.main, compare_digits)
            .then_with(|| match (&x.pre_release, &y.pre_release) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(x), Some(y)) => compare_lists(x, y, compare_identifiers),
            })
            .then_with(|| x.build.cmp(y.build)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}
