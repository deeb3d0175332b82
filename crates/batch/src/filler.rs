use eqlipse_ecs::FieldType;
use foldhash::fast::FixedState;

use crate::builder::{Dictionary, add_entry, code_of, coerce};
use crate::{Codes, Column, PackedColumn, RawValue, ValueRef};

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

/// Whether each code is the one after that before it.
fn is_run<T: Copy + Into<u32>>(codes: &[T]) -> bool {
    // Without a way out of the loop, which makes it fast.
    codes.array_windows().fold(true, |is_run, [code, next]| is_run & ((*code).into() + 1 == (*next).into()))
}

/// Stands for no code.
const NO_CODE: u32 = u32::MAX;

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

    /// Says which rows the values that follow are of: as many as follow.
    pub fn put_rows(&mut self, rows: impl Iterator<Item = u32>) {
        let first = self.first_row;
        self.column.rows.extend(rows.map(|row| first + row));
    }

    /// The next values of those whose rows were [said](Self::put_rows): of a packed column that has this column's type, those
    /// with these codes, one for each of the rows. `known` is memory to work with.
    pub fn put_packed(&mut self, column: PackedColumn<'_>, codes: Codes<'_>, known: &mut Vec<u32>) {
        match codes {
            Codes::Narrow(codes) => self.put_known(column, codes, known),
            Codes::Wide(codes) => self.put_known(column, codes, known),
        }
        debug_assert_eq!(self.column.rows.len(), self.column.codes.len());
    }

    fn put_known<T: Copy + Into<u32>>(&mut self, column: PackedColumn<'_>, codes: &[T], known: &mut Vec<u32>) {
        if self.dictionary.is_unique() && is_run(codes) {
            return self.put_run(column, codes);
        }
        // For few values, no table of all codes.
        if codes.len() < column.cardinality() / 4 {
            for code in codes {
                let code = self.code(column.value((*code).into()));
                self.column.codes.push(code);
            }
            return;
        }
        known.clear();
        known.resize(column.cardinality(), NO_CODE);
        for code in codes.iter().map(|code| (*code).into()) {
            if known[code as usize] == NO_CODE {
                known[code as usize] = self.code(column.value(code));
            }
        }
        self.column.codes.extend(codes.iter().map(|code| known[(*code).into() as usize]));
    }

    /// Values that nobody looks up, and that follow each other in their dictionary.
    fn put_run<T: Copy + Into<u32>>(&mut self, column: PackedColumn<'_>, codes: &[T]) {
        let Some(first) = codes.first().map(|code| (*code).into() as usize) else { return };
        let own = self.column.entries.len() as u32;
        column.append_to(first..first + codes.len(), self.column);
        self.column.codes.extend(own..own + codes.len() as u32);
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
    use eqlipse_ecs::FieldType;

    use crate::{Arrival, BatchBuilder, OrderKey, PackedColumns, RawValue, RowMeta, Schema, ValueRef};

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

    fn value(row: u32, text: &mut String) -> ValueRef<'_> {
        *text = format!("text {row}");
        match row % 4 {
            0 => ValueRef::Int(row.into()),
            1 => ValueRef::Ip(std::net::Ipv4Addr::from_bits(row).into()),
            _ => ValueRef::Str(text),
        }
    }

    /// However many values came before, and whichever of a packed column are taken, they are what they were.
    #[test]
    fn values_of_packed_columns_stay_what_they_are() {
        let meta =
            RowMeta { order: OrderKey { time: None, tiebreaker: None, arrival: Arrival::default() }, identity: None };
        let mut schema = Schema::builder();
        let field = schema.add_typed("x", FieldType::Dynamic);
        let schema = schema.build();
        for (distinct, before) in [(300, 0), (300, 2_000), (7, 2_000), (7, 0)] {
            let (mut source, mut text) = (BatchBuilder::new(schema.clone()), String::new());
            for row in 0..300 {
                source.push_value(field, value(row % distinct, &mut text));
                source.end_row(meta);
            }
            let packed = PackedColumns::of(&[source.batch().column(field)]).unwrap();
            let packed = packed.column(0);
            for part in [0..300, 17..290, 100..101, 5..5, 0..30] {
                let mut target = BatchBuilder::new(schema.clone());
                for row in 0..before {
                    target.push_value(field, value(1_000 + row, &mut text));
                    target.end_row(meta);
                }
                assert_eq!(target.is_distinct(field), before == 0);
                let mut filler = target.fill(field);
                filler.put_rows(0..part.len() as u32);
                filler.put_packed(packed, packed.codes().part(part.clone()), &mut Vec::new());
                target.end_rows(part.clone().map(|_| meta));
                let batch = target.finish();
                for (row, place) in (before..).zip(part) {
                    let expected = value(place as u32 % distinct, &mut text);
                    assert!(batch.column(field).values_of(row).eq([expected]), "{distinct} {before} {place}");
                }
            }
        }
    }
}
