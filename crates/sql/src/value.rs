//! Results as JSON values.

use std::collections::BTreeSet;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::array_value_to_string;
use serde_json::{Map, Value};

use crate::SqlError;
use crate::table::JSON_MARK;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name: the alias, the field, or the expression.
    pub name: String,
    /// The type of its values, by the names that Elasticsearch has for them. A field with several values is a list of
    /// values of this type.
    pub ty: &'static str,
}

impl SqlColumn {
    pub(crate) fn of(field: &Field) -> Self {
        let ty = if is_json(field) { "object" } else { type_name(field.data_type()) };
        Self { name: field.name().clone(), ty }
    }
}

/// The names of columns as members of one object: a second of the same name gets a number.
pub fn member_names(columns: &[SqlColumn]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let names = columns.iter().map(|column| {
        let numbered = (2..).map(|number| format!("{}_{number}", column.name));
        let mut candidates = std::iter::once(column.name.clone()).chain(numbered);
        candidates.find(|name| taken.insert(name.clone())).unwrap_or_default()
    });
    names.collect()
}

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Int8 => "byte",
        DataType::Int16 | DataType::UInt8 => "short",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "long",
        DataType::UInt64 => "unsigned_long",
        DataType::Float16 => "half_float",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "datetime",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "binary",
        DataType::Struct(_) | DataType::Map(..) => "object",
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            type_name(element.data_type())
        }
        DataType::Dictionary(_, values) => type_name(values),
        _ => "keyword",
    }
}

/// Whether a column has documents.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().contains_key(JSON_MARK)
}

/// The rows of a batch; `documents` says which columns have some.
pub(crate) fn rows(batch: &RecordBatch, documents: &[bool]) -> Result<Vec<Vec<Value>>, SqlError> {
    (0..batch.num_rows())
        .map(|row| {
            let cells = batch.columns().iter().zip(documents);
            cells.map(|(column, is_json)| cell(column, row, *is_json)).collect()
        })
        .collect()
}

/// A cell; a document as the object that it is.
fn cell(column: &ArrayRef, row: usize, is_json: bool) -> Result<Value, SqlError> {
    let value = value(column, row)?;
    match &value {
        Value::String(text) if is_json => Ok(serde_json::from_str(text).unwrap_or(value)),
        _ => Ok(value),
    }
}

fn value(column: &ArrayRef, row: usize) -> Result<Value, SqlError> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let list = |values: ArrayRef| (0..values.len()).map(|place| value(&values, place)).collect::<Result<Value, _>>();
    Ok(match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float16 => double(column.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => double(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Timestamp(unit, _) => time(column, row, *unit),
        DataType::List(_) => list(column.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(column.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(column.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let values = column.as_struct().columns().iter().zip(fields);
            let members = values.map(|(values, field)| Ok((field.name().clone(), value(values, row)?)));
            Value::Object(members.collect::<Result<Map<_, _>, SqlError>>()?)
        }
        _ => array_value_to_string(column, row).map_err(|error| SqlError::Failed(error.to_string()))?.into(),
    })
}

/// JSON has no infinity.
fn double(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::from(number.to_string()), Value::Number)
}

fn time(column: &ArrayRef, row: usize, unit: TimeUnit) -> Value {
    let nanos = match unit {
        TimeUnit::Second => i128::from(column.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000,
        TimeUnit::Millisecond => i128::from(column.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000,
        TimeUnit::Microsecond => i128::from(column.as_primitive::<TimestampMicrosecondType>().value(row)) * 1_000,
        TimeUnit::Nanosecond => i128::from(column.as_primitive::<TimestampNanosecondType>().value(row)),
    };
    jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| nanos.to_string(), |time| time.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_takes_the_place_of_another() {
        let columns = ["a", "b", "a", "a_2", "a"].map(|name| SqlColumn { name: name.to_owned(), ty: "keyword" });
        assert_eq!(member_names(&columns), ["a", "b", "a_2", "a_2_2", "a_3"]);
    }
}
