use std::borrow::Cow;
use std::net::IpAddr;

use eqlipse_batch::ValueRef;
use eqlipse_ecs::FieldType;

/// A value inside an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// A floating point number.
    Double(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// Text that is ordered as a version.
    Version(Cow<'a, str>),
    /// Nanoseconds since the Unix epoch, UTC.
    Date(i64),
    /// An address.
    Ip(IpAddr),
}

impl Scalar<'_> {
    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Scalar::Null)
    }

    /// The text of a string or version.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Scalar::Str(text) | Scalar::Version(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a field of this type.
    pub fn of_field(ty: FieldType, value: ValueRef<'_>) -> Scalar<'_> {
        match (ty, value) {
            (FieldType::Version, ValueRef::Str(text)) => Scalar::Version(Cow::Borrowed(text)),
            (_, value) => value.into(),
        }
    }

    /// The same value, borrowing its text.
    pub fn borrowed(&self) -> Scalar<'_> {
        match self {
            Scalar::Str(text) => Scalar::Str(Cow::Borrowed(text)),
            Scalar::Version(text) => Scalar::Version(Cow::Borrowed(text)),
            Scalar::Null => Scalar::Null,
            Scalar::Bool(value) => Scalar::Bool(*value),
            Scalar::Int(value) => Scalar::Int(*value),
            Scalar::UInt(value) => Scalar::UInt(*value),
            Scalar::Double(value) => Scalar::Double(*value),
            Scalar::Date(value) => Scalar::Date(*value),
            Scalar::Ip(value) => Scalar::Ip(*value),
        }
    }

    /// The same value with text of its own.
    pub fn into_owned(self) -> Scalar<'static> {
        match self {
            Scalar::Str(text) => Scalar::Str(Cow::Owned(text.into_owned())),
            Scalar::Version(text) => Scalar::Version(Cow::Owned(text.into_owned())),
            Scalar::Null => Scalar::Null,
            Scalar::Bool(value) => Scalar::Bool(value),
            Scalar::Int(value) => Scalar::Int(value),
            Scalar::UInt(value) => Scalar::UInt(value),
            Scalar::Double(value) => Scalar::Double(value),
            Scalar::Date(value) => Scalar::Date(value),
            Scalar::Ip(value) => Scalar::Ip(value),
        }
    }

    /// The value as text: decimal numbers, `true` and `false`, ISO 8601 dates, canonical addresses; `None` for null.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Scalar::Null => return None,
            Scalar::Str(text) | Scalar::Version(text) => Cow::Borrowed(&**text),
            Scalar::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Scalar::Int(value) => Cow::Owned(value.to_string()),
            Scalar::UInt(value) => Cow::Owned(value.to_string()),
            Scalar::Double(value) => Cow::Owned(format!("{value:?}")),
            Scalar::Date(nanos) => Cow::Owned(
                jiff::Timestamp::from_nanosecond(i128::from(*nanos))
                    .map_or_else(|_| nanos.to_string(), |t| t.to_string()),
            ),
            Scalar::Ip(address) => Cow::Owned(address.to_string()),
        })
    }
}

impl<'a> From<ValueRef<'a>> for Scalar<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Str(text) => Scalar::Str(Cow::Borrowed(text)),
            ValueRef::Int(value) => Scalar::Int(value),
            ValueRef::UInt(value) => Scalar::UInt(value),
            ValueRef::Double(value) => Scalar::Double(value),
            ValueRef::Bool(value) => Scalar::Bool(value),
            ValueRef::Date(value) => Scalar::Date(value),
            ValueRef::Ip(value) => Scalar::Ip(value),
        }
    }
}
