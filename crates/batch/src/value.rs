use std::net::IpAddr;

/// A scalar as a decoder meets it, before it takes its column's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// Text.
    Str(&'a str),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// Any other number.
    Double(f64),
    /// A truth value.
    Bool(bool),
}

/// A value of a column's dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// Text of a keyword, version or dynamic field.
    Str(&'a str),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// A floating point number.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// Nanoseconds since the Unix epoch, UTC.
    Date(i64),
    /// An address; IPv4 in its own form, never mapped into IPv6.
    Ip(IpAddr),
}
