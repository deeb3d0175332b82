//! What the columns of tables hold, and values on their way into them.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
    StringViewBuilder, TimestampNanosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType};
use eqlipse_batch::{RawValue, ValueRef, coerce};
use eqlipse_ecs::FieldType;
use serde_json::Value;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Text,
    Long,
    Double,
    Boolean,
    /// Nanoseconds since the Unix epoch.
    Date,
}

impl Kind {
    /// The kind that holds the values of both.
    pub(crate) fn wider(self, other: Self) -> Self {
        match (self, other) {
            (left, right) if left == right => left,
            (Self::Long, Self::Double) | (Self::Double, Self::Long) => Self::Double,
            _ => Self::Text,
        }
    }

    /// The kind of values that stand in `_other`, by their name in a file's metadata.
    pub(crate) fn of_other(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "long" => Self::Long,
            "unsigned" | "double" => Self::Double,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Some event may have several values.
    pub(crate) is_list: bool,
}

/// The name of a list's member, as Parquet has it.
const ELEMENT: &str = "element";

/// How times are shown.
fn utc() -> Option<Arc<str>> {
    Some(Arc::from("UTC"))
}

impl Shape {
    /// The shape of a file's column, by its type in Arrow; `None` for what eqlipse does not write for fields.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        let (data_type, is_list) = match data_type {
            DataType::List(element) => (element.data_type(), true),
            plain => (plain, false),
        };
        let kind = match data_type {
            DataType::Utf8 | DataType::Utf8View => Kind::Text,
            DataType::Int64 => Kind::Long,
            DataType::Float64 => Kind::Double,
            DataType::Boolean => Kind::Boolean,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Kind::Date,
            _ => return None,
        };
        Some(Self { kind, is_list })
    }

    /// Its type in Arrow.
    pub(crate) fn data_type(self) -> DataType {
        let plain = match self.kind {
            Kind::Text if self.is_list => DataType::Utf8,
            Kind::Text => DataType::Utf8View,
            Kind::Long => DataType::Int64,
            Kind::Double => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
            Kind::Date => DataType::Timestamp(TimeUnit::Nanosecond, utc()),
        };
        if self.is_list { DataType::List(Arc::new(Field::new(ELEMENT, plain, false))) } else { plain }
    }
}

/// A value between two columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Long(i64),
    Unsigned(u64),
    Double(f64),
    Boolean(bool),
    Date(i64),
}

impl Cell {
    /// The values of a row of a file's column.
    pub(crate) fn read(array: &ArrayRef, row: usize, out: &mut Vec<Self>) {
        if array.is_null(row) {
            return;
        }
        match array.data_type() {
            DataType::List(_) => {
                let values = array.as_list::<i32>().value(row);
                (0..values.len()).for_each(|place| Self::read(&values, place, out));
            }
            DataType::Utf8 => out.push(Self::Text(array.as_string::<i32>().value(row).to_owned())),
            DataType::Utf8View => out.push(Self::Text(array.as_string_view().value(row).to_owned())),
            DataType::Int64 => out.push(Self::Long(array.as_primitive::<Int64Type>().value(row))),
            DataType::Float64 => out.push(Self::Double(array.as_primitive::<Float64Type>().value(row))),
            DataType::Boolean => out.push(Self::Boolean(array.as_boolean().value(row))),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                out.push(Self::Date(array.as_primitive::<TimestampNanosecondType>().value(row)));
            }
            _ => {}
        }
    }

    /// A value of `_other`, in the type of its field.
    pub(crate) fn of_other(value: &Value, ty: FieldType) -> Option<Self> {
        let raw = match value {
            Value::String(text) => RawValue::Str(text),
            Value::Bool(truth) => RawValue::Bool(*truth),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => RawValue::Int(number),
                (None, Some(number)) => RawValue::UInt(number),
                (None, None) => RawValue::Double(number.as_f64()?),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(match coerce(ty, raw, &mut String::new())? {
            ValueRef::Str(text) => Self::Text(text.to_owned()),
            ValueRef::Int(number) => Self::Long(number),
            ValueRef::UInt(number) => Self::Unsigned(number),
            ValueRef::Double(number) => Self::Double(number),
            ValueRef::Bool(truth) => Self::Boolean(truth),
            ValueRef::Date(nanos) => Self::Date(nanos),
            ValueRef::Ip(address) => Self::Text(address.to_string()),
        })
    }

    /// The value as one of this kind; `None` if it can be none.
    pub(crate) fn into_kind(self, kind: Kind) -> Option<Self> {
        Some(match (self, kind) {
            (cell @ Self::Text(_), Kind::Text)
            | (cell @ Self::Long(_), Kind::Long)
            | (cell @ Self::Double(_), Kind::Double)
            | (cell @ Self::Boolean(_), Kind::Boolean)
            | (cell @ Self::Date(_), Kind::Date) => cell,
            (Self::Long(number), Kind::Double) => Self::Double(number as f64),
            (Self::Unsigned(number), Kind::Double) => Self::Double(number as f64),
            (cell, Kind::Text) => Self::Text(cell.text()),
            _ => return None,
        })
    }

    /// As documents write it.
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Long(number) => number.to_string(),
            Self::Unsigned(number) => number.to_string(),
            // With a fraction also where it is none, as fields of text have it.
            Self::Double(number) => format!("{number:?}"),
            Self::Boolean(truth) => truth.to_string(),
            Self::Date(nanos) => time_text(nanos),
        }
    }
}

/// A time as ISO 8601.
pub(crate) fn time_text(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| nanos.to_string(), |time| time.to_string())
}

/// Puts a column together.
pub(crate) enum ColumnBuilder {
    Text(StringViewBuilder),
    Long(Int64Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    Date(TimestampNanosecondBuilder),
    Texts(ListBuilder<StringBuilder>),
    Longs(ListBuilder<Int64Builder>),
    Doubles(ListBuilder<Float64Builder>),
    Booleans(ListBuilder<BooleanBuilder>),
    Dates(ListBuilder<TimestampNanosecondBuilder>),
}

impl ColumnBuilder {
    pub(crate) fn new(shape: Shape) -> Self {
        let element = match shape.data_type() {
            DataType::List(element) => element,
            _ => {
                return match shape.kind {
                    Kind::Text => Self::Text(StringViewBuilder::new()),
                    Kind::Long => Self::Long(Int64Builder::new()),
                    Kind::Double => Self::Double(Float64Builder::new()),
                    Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
                    Kind::Date => Self::Date(TimestampNanosecondBuilder::new().with_timezone_opt(utc())),
                };
            }
        };
        match shape.kind {
            Kind::Text => Self::Texts(ListBuilder::new(StringBuilder::new()).with_field(element)),
            Kind::Long => Self::Longs(ListBuilder::new(Int64Builder::new()).with_field(element)),
            Kind::Double => Self::Doubles(ListBuilder::new(Float64Builder::new()).with_field(element)),
            Kind::Boolean => Self::Booleans(ListBuilder::new(BooleanBuilder::new()).with_field(element)),
            Kind::Date => {
                let times = TimestampNanosecondBuilder::new().with_timezone_opt(utc());
                Self::Dates(ListBuilder::new(times).with_field(element))
            }
        }
    }

    /// Adds a row with these values, those of them that the column can hold: all in a list, else the first.
    pub(crate) fn add(&mut self, cells: impl Iterator<Item = Cell>) {
        match self {
            Self::Text(builder) => builder.append_option(cells.filter_map(text).next()),
            Self::Long(builder) => builder.append_option(cells.filter_map(long).next()),
            Self::Double(builder) => builder.append_option(cells.filter_map(double).next()),
            Self::Boolean(builder) => builder.append_option(cells.filter_map(boolean).next()),
            Self::Date(builder) => builder.append_option(cells.filter_map(date).next()),
            Self::Texts(builder) => {
                add_list(builder, cells.filter_map(text), |values, value| values.append_value(value))
            }
            Self::Longs(builder) => add_list(builder, cells.filter_map(long), Int64Builder::append_value),
            Self::Doubles(builder) => add_list(builder, cells.filter_map(double), Float64Builder::append_value),
            Self::Booleans(builder) => add_list(builder, cells.filter_map(boolean), BooleanBuilder::append_value),
            Self::Dates(builder) => add_list(builder, cells.filter_map(date), TimestampNanosecondBuilder::append_value),
        }
    }

    pub(crate) fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Long(mut builder) => Arc::new(builder.finish()),
            Self::Double(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Texts(mut builder) => Arc::new(builder.finish()),
            Self::Longs(mut builder) => Arc::new(builder.finish()),
            Self::Doubles(mut builder) => Arc::new(builder.finish()),
            Self::Booleans(mut builder) => Arc::new(builder.finish()),
            Self::Dates(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// Adds a list, which is absent where it would be empty.
fn add_list<B: ArrayBuilder, T>(
    builder: &mut ListBuilder<B>,
    values: impl Iterator<Item = T>,
    push: impl Fn(&mut B, T),
) {
    let before = builder.values().len();
    values.for_each(|value| push(builder.values(), value));
    let is_there = builder.values().len() > before;
    builder.append(is_there);
}

fn text(cell: Cell) -> Option<String> {
    match cell.into_kind(Kind::Text)? {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn long(cell: Cell) -> Option<i64> {
    match cell.into_kind(Kind::Long)? {
        Cell::Long(number) => Some(number),
        _ => None,
    }
}

fn double(cell: Cell) -> Option<f64> {
    match cell.into_kind(Kind::Double)? {
        Cell::Double(number) => Some(number),
        _ => None,
    }
}

fn boolean(cell: Cell) -> Option<bool> {
    match cell.into_kind(Kind::Boolean)? {
        Cell::Boolean(truth) => Some(truth),
        _ => None,
    }
}

fn date(cell: Cell) -> Option<i64> {
    match cell.into_kind(Kind::Date)? {
        Cell::Date(nanos) => Some(nanos),
        _ => None,
    }
}
