use eqlipse_ecs::FieldType;
use foldhash::fast::FixedState;

use crate::builder::{Dictionary, add_entry, code_of, coerce};
use crate::{Column, RawValue, ValueRef};

/// Fills one column of a batch for many rows: for decoders of columnar formats, which have the values of a column
/// together and their dictionary beside them.
///
/// Rows count from the first that the batch has not accepted yet, and come in ascending order.
pub struct ColumnFiller<'b> {
    pub(crate) ty: FieldType,
    pub(crate) first_row: u32,
    pub(crate) column: &'b mut Column,
    pub(crate) dictionary: &'b mut Dictionary,
    pub(crate) hasher: &'b FixedState,
}

impl ColumnFiller<'_> {
    /// The column's type, which values must have.
    pub fn field_type(&self) -> FieldType {
        self.ty
    }

    /// The code of a value that the caller knows to be new in this column: nobody looks whether it is.
    pub fn add_distinct(&mut self, value: ValueRef<'_>) -> u32 {
        add_entry(self.column, value)
    }

    /// The code of a value.
    pub fn code(&mut self, value: ValueRef<'_>) -> u32 {
        code_of(self.column, self.dictionary, self.hasher, value)
    }

    /// The code of a value once it has the column's type; `None` if it cannot.
    pub fn coerced_code(&mut self, value: RawValue<'_>) -> Option<u32> {
        let mut scratch = String::new();
        let value = coerce(self.ty, value, &mut scratch)?;
        Some(self.code(value))
    }

    /// Gives `row` one more value.
    pub fn put(&mut self, row: u32, code: u32) {
        self.column.rows.push(self.first_row + row);
        self.column.codes.push(code);
    }

    /// Gives rows the values beside them, `shift` rows before where they say.
    pub fn put_shifted(&mut self, rows: &[u32], shift: u32, codes: impl Iterator<Item = u32>) {
        let first = self.first_row;
        self.column.rows.extend(rows.iter().map(|row| first + (row - shift)));
        self.column.codes.extend(codes);
        debug_assert_eq!(self.column.rows.len(), self.column.codes.len());
    }

    /// Gives rows the values beside them.
    pub fn put_all(&mut self, rows: &[u32], codes: &[u32]) {
        debug_assert_eq!(rows.len(), codes.len());
        match self.first_row {
            0 => self.column.rows.extend_from_slice(rows),
            first => self.column.rows.extend(rows.iter().map(|row| first + row)),
        }
        self.column.codes.extend_from_slice(codes);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Arrival, BatchBuilder, OrderKey, RawValue, RowMeta, Schema, ValueRef};

    #[test]
    fn filled_columns_are_those_of_pushed_rows() {
        let meta =
            RowMeta { order: OrderKey { time: None, tiebreaker: None, arrival: Arrival::default() }, identity: None };
        let mut schema = Schema::builder();
        let (name, pid) = (schema.add("process.name"), schema.add("process.pid"));
        let mut builder = BatchBuilder::new(schema.build());
        builder.push(name, RawValue::Str("first"));
        builder.end_row(meta);
        let mut filler = builder.fill(name);
        let code = filler.add_distinct(ValueRef::Str("x"));
        filler.put_all(&[0, 2], &[code, code]);
        let mut filler = builder.fill(pid);
        let code = filler.coerced_code(RawValue::Str("7"));
        assert_eq!(filler.code(ValueRef::Int(7)), code.unwrap());
        assert_eq!(filler.coerced_code(RawValue::Str("x")), None);
        filler.put(1, code.unwrap());
        builder.end_rows([meta; 3]);
        let batch = builder.finish();
        assert_eq!(batch.len(), 4);
        assert_eq!(batch.column(name).rows(), [0, 1, 3]);
        assert_eq!(batch.column(name).values_of(3).collect::<Vec<_>>(), [ValueRef::Str("x")]);
        assert_eq!(batch.column(pid).values_of(2).collect::<Vec<_>>(), [ValueRef::Int(7)]);
    }
}
