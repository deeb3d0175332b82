//! Values as they stand in columns and in `_other`.

use std::net::IpAddr;

use eqlipse_batch::{RawValue, ValueRef, parse_address};
use eqlipse_ecs::FieldType;

use super::layout::Kind;

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stored<'a> {
    Text(&'a str),
    Long(i64),
    Double(f64),
    Boolean(bool),
    Date(i64),
    Identity(u128),
}

impl<'a> Stored<'a> {
    /// The value in a batch's column of this type; `None` if it can be none, which we never write.
    pub(super) fn in_batch(self, ty: FieldType) -> Option<ValueRef<'a>> {
        Some(match (self, ty) {
            (Self::Text(text), FieldType::Ip) => ValueRef::Ip(parse_address(text)?),
            (Self::Text(text), FieldType::Keyword | FieldType::Version | FieldType::Dynamic) => ValueRef::Str(text),
            (Self::Long(number), FieldType::Long | FieldType::Dynamic) => ValueRef::Int(number),
            (Self::Double(number), FieldType::Double | FieldType::Dynamic) => ValueRef::Double(number),
            (Self::Boolean(truth), FieldType::Boolean | FieldType::Dynamic) => ValueRef::Bool(truth),
            (Self::Date(nanos), FieldType::Date) => ValueRef::Date(nanos),
            _ => return None,
        })
    }
}

/// A value to write, which an address is only once it is text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ToStore<'a> {
    Plain(Stored<'a>),
    Address(IpAddr),
}

/// A value of a batch as it stands in a column of this kind; `None` if the column cannot hold it.
pub(super) fn to_store(value: ValueRef<'_>, kind: Kind) -> Option<ToStore<'_>> {
    Some(ToStore::Plain(match (value, kind) {
        (ValueRef::Str(text), Kind::Text) => Stored::Text(text),
        (ValueRef::Int(number), Kind::Long) => Stored::Long(number),
        (ValueRef::Double(number), Kind::Double) => Stored::Double(number),
        (ValueRef::Bool(truth), Kind::Boolean) => Stored::Boolean(truth),
        (ValueRef::Date(nanos), Kind::Date) => Stored::Date(nanos),
        (ValueRef::Ip(address), Kind::Text) => return Some(ToStore::Address(address)),
        _ => return None,
    }))
}

/// A value of a batch as it stands in `_other`, from where it is pushed like a document's. Dates and addresses always
/// have a column that holds them, but for a second value in a column that is no list.
pub(super) fn to_json(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Str(text) => text.into(),
        ValueRef::Int(number) => number.into(),
        ValueRef::UInt(number) => number.into(),
        ValueRef::Double(number) => number.into(),
        ValueRef::Bool(truth) => truth.into(),
        ValueRef::Date(nanos) => jiff::Timestamp::from_nanosecond(i128::from(nanos))
            .map_or(serde_json::Value::Null, |time| time.to_string().into()),
        ValueRef::Ip(address) => address.to_string().into(),
    }
}

/// A value of a document or of `_other`; `None` for what is no scalar.
pub(super) fn raw(value: &serde_json::Value) -> Option<RawValue<'_>> {
    Some(match value {
        serde_json::Value::String(text) => RawValue::Str(text),
        serde_json::Value::Bool(truth) => RawValue::Bool(*truth),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => RawValue::Int(number),
            (None, Some(number)) => RawValue::UInt(number),
            (None, None) => RawValue::Double(number.as_f64()?),
        },
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
    })
}

/// A document's value as it stands in `_other`.
pub(super) fn raw_json(value: RawValue<'_>) -> serde_json::Value {
    match value {
        RawValue::Str(text) => text.into(),
        RawValue::Int(number) => number.into(),
        RawValue::UInt(number) => number.into(),
        RawValue::Double(number) => number.into(),
        RawValue::Bool(truth) => truth.into(),
    }
}
