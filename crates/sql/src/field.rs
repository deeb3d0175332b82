//! A field of the table, of what a file has of it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::scalar::ScalarValue;
use eqlipse_ecs::FieldType;
use serde_json::{Map, Value};

use crate::file::{OTHER, OTHERS_KEY};
use crate::kind::{Cell, ColumnBuilder, Shape};

/// Gives each file's columns the types of the table.
#[derive(Debug)]
pub(crate) struct Adapters;

impl PhysicalExprAdapterFactory for Adapters {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        // A file of before does not say what stands in `_other`: then it may be any field.
        let others = file.metadata().get(OTHERS_KEY).and_then(|text| serde_json::from_str(text).ok());
        Ok(Arc::new(Adapter { table, file, others }))
    }
}

#[derive(Debug)]
struct Adapter {
    table: SchemaRef,
    file: SchemaRef,
    /// The fields of which values stand in `_other`, where that is known.
    others: Option<Map<String, Value>>,
}

impl Adapter {
    fn column(&self, name: &str) -> Option<Arc<dyn PhysicalExpr>> {
        let place = self.file.index_of(name).ok()?;
        Some(Arc::new(Column::new(name, place)))
    }

    fn field(&self, name: &str) -> Result<Arc<dyn PhysicalExpr>> {
        let wanted = self.table.field_with_name(name)?.data_type();
        let column = self.column(name);
        let other = match &self.others {
            Some(others) if !others.contains_key(name) => None,
            _ => self.column(OTHER),
        };
        if let (Some(column), None) = (&column, &other)
            && self.file.field_with_name(name)?.data_type() == wanted
        {
            return Ok(column.clone());
        }
        let Some(shape) = Shape::of(wanted) else {
            return Err(DataFusionError::Internal(format!("{name} has the type {wanted}")));
        };
        if column.is_none() && other.is_none() {
            return Ok(Arc::new(Literal::new(ScalarValue::try_from(wanted)?)));
        }
        let ty = eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic);
        Ok(Arc::new(FieldExpr { name: Arc::from(name), ty, shape, column, other }))
    }
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewritten = expr.transform_down(|expr| match expr.downcast_ref::<Column>() {
            // Not to be looked at again: what replaces it has columns of the file.
            Some(column) => {
                let field = self.field(column.name())?;
                Ok(Transformed::new(field, true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
            }
            None => Ok(Transformed::no(expr)),
        });
        rewritten.data()
    }
}

/// The values of a field in a file, in the table's type.
struct FieldExpr {
    name: Arc<str>,
    ty: FieldType,
    shape: Shape,
    /// The file's column of it.
    column: Option<Arc<dyn PhysicalExpr>>,
    /// The file's column of values that have none.
    other: Option<Arc<dyn PhysicalExpr>>,
}

impl fmt::Debug for FieldExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FieldExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field({})", self.name)
    }
}

impl PartialEq for FieldExpr {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.shape, &self.column, &self.other) == (&other.name, other.shape, &other.column, &other.other)
    }
}

impl Eq for FieldExpr {}

impl Hash for FieldExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.shape, &self.column, &self.other).hash(state);
    }
}

impl PhysicalExpr for FieldExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.shape.data_type())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let read = |expr: &Option<Arc<dyn PhysicalExpr>>| -> Result<Option<ArrayRef>> {
            expr.as_ref().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows())).transpose()
        };
        let column = read(&self.column)?;
        // Nearly always, nothing stands there.
        let other = read(&self.other)?.filter(|other| other.null_count() < other.len());
        let values = match (column, other) {
            (Some(column), None) => match as_list(&column, self.shape)? {
                Some(list) => list,
                None => self.values(Some(&column), None, batch.num_rows()),
            },
            (column, other) => self.values(column.as_ref(), other.as_ref(), batch.num_rows()),
        };
        Ok(ColumnarValue::Array(values))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.column.iter().chain(&self.other).collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        let column = self.column.as_ref().and_then(|_| children.next());
        let other = self.other.as_ref().and_then(|_| children.next());
        Ok(Arc::new(Self { name: self.name.clone(), ty: self.ty, shape: self.shape, column, other }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FieldExpr {
    /// The rows one by one: those of the column, then what else there is.
    fn values(&self, column: Option<&ArrayRef>, other: Option<&ArrayRef>, rows: usize) -> ArrayRef {
        let mut builder = ColumnBuilder::new(self.shape);
        let mut cells = Vec::new();
        for row in 0..rows {
            if let Some(column) = column {
                Cell::read(column, row, &mut cells);
            }
            if let Some(text) = other.and_then(|other| text_of(other, row)) {
                self.read_other(text, &mut cells);
            }
            builder.add(cells.drain(..));
        }
        builder.finish()
    }

    fn read_other(&self, text: &str, cells: &mut Vec<Cell>) {
        let Ok(other) = serde_json::from_str::<Map<String, Value>>(text) else { return };
        let values = other.get(&*self.name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        cells.extend(values.iter().filter_map(|value| Cell::of_other(value, self.ty)));
    }
}

/// A row of a column of texts.
fn text_of(column: &ArrayRef, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        _ => None,
    }
}

/// A column of single values as lists; `None` if that is not all there is to do.
fn as_list(column: &ArrayRef, shape: Shape) -> Result<Option<ArrayRef>> {
    let wanted = shape.data_type();
    let DataType::List(element) = &wanted else { return Ok(None) };
    if column.data_type() != element.data_type() {
        return Ok(None);
    }
    let lengths = (0..column.len()).map(|row| usize::from(column.is_valid(row)));
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let nulls = column.nulls().cloned();
    let values = filter(column, &is_not_null(column)?)?;
    Ok(Some(Arc::new(ListArray::try_new(element.clone(), offsets, values, nulls)?)))
}
