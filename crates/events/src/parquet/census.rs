//! Which fields the documents have, and what their values are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use eqlipse_batch::{RawValue, ValueRef};
use eqlipse_ecs::FieldType;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::MAX_FIELD_COLUMNS;
use super::layout::{ColumnSpec, Count, Kind, Layout, OWN_COLUMNS};

/// Fields that are counted at most; further ones get no column.
const MAX_COUNTED_FIELDS: usize = 50_000;
/// The longest name of a field with a column, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// Counts the fields of documents.
#[derive(Default)]
pub(super) struct Census {
    fields: HashMap<String, Field>,
    /// Some field was not counted.
    is_cut: bool,
    documents: u64,
    path: String,
}

/// What is known of one field.
#[derive(Clone, Debug, Default)]
struct Field {
    texts: u64,
    longs: u64,
    doubles: u64,
    booleans: u64,
    /// Documents that have it.
    documents: u64,
    last_document: u64,
    has_several: bool,
    /// So many files in a row had no value of it.
    idle: u32,
}

/// After so many files without a value, a field is forgotten.
const MAX_IDLE: u32 = 16;

impl Field {
    fn add(&mut self, value: RawValue<'_>, document: u64) {
        match value {
            RawValue::Str(_) => self.texts += 1,
            RawValue::Int(_) => self.longs += 1,
            RawValue::Double(_) => self.doubles += 1,
            RawValue::Bool(_) => self.booleans += 1,
            // No column holds it.
            RawValue::UInt(_) => {}
        }
        self.has_several |= self.last_document == document;
        self.documents += u64::from(self.last_document != document);
        self.last_document = document;
    }

    /// The kind that most values have.
    fn kind(&self) -> Kind {
        let kinds = [
            (self.texts, Kind::Text),
            (self.longs, Kind::Long),
            (self.doubles, Kind::Double),
            (self.booleans, Kind::Boolean),
        ];
        let most = kinds.into_iter().rev().filter(|(count, _)| *count > 0).max_by_key(|(count, _)| *count);
        // What no column holds is a number beyond 64 bits with a sign.
        most.map_or(Kind::Double, |(_, kind)| kind)
    }
}

impl Census {
    /// Whether no field is known.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether a field is known.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The fields that are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Counts the fields of one document. Says whether there was one that had not come before.
    pub(super) fn add(&mut self, document: &str) -> bool {
        let known = (self.fields.len(), self.is_cut);
        self.documents += 1;
        let Self { fields, is_cut, documents, path } = self;
        walk(document, path, &mut |name, value| {
            if let Some(field) = fields.get_mut(name) {
                field.add(value, *documents);
            } else if fields.len() < MAX_COUNTED_FIELDS && name.len() <= MAX_NAME_BYTES {
                fields.entry(name.to_owned()).or_default().add(value, *documents);
            } else {
                *is_cut = true;
            }
        });
        known != (self.fields.len(), self.is_cut)
    }

    /// Counts the values of a field that has not come before, each with the row that it is of.
    pub(super) fn count<'v>(&mut self, name: &str, values: impl Iterator<Item = (u32, ValueRef<'v>)>) {
        if self.fields.len() >= MAX_COUNTED_FIELDS || name.len() > MAX_NAME_BYTES {
            self.is_cut = true;
            return;
        }
        let (mut field, before) = (Field::default(), self.documents);
        for (row, value) in values {
            let document = before + 1 + u64::from(row);
            self.documents = self.documents.max(document);
            field.add(raw(value), document);
        }
        self.fields.insert(name.to_owned(), field);
    }

    /// Takes note that a row may have several values of a field.
    pub(super) fn note_several(&mut self, name: &str) {
        if let Some(field) = self.fields.get_mut(name) {
            field.has_several = true;
        }
    }

    /// Takes note of which columns a file made use of. What had no value for long is forgotten.
    pub(super) fn note_use(&mut self, columns: &[ColumnSpec], is_used: &[bool]) {
        for (column, is_used) in columns.iter().zip(is_used) {
            if let Some(field) = self.fields.get_mut(&column.name) {
                field.idle = if *is_used { 0 } else { field.idle + 1 };
                if field.idle >= MAX_IDLE {
                    self.fields.remove(&column.name);
                }
            }
        }
    }

    /// The columns for these fields.
    pub(super) fn layout(&self) -> Layout {
        let mut has_other_fields = self.is_cut;
        let mut fields: Vec<(&String, &Field)> = self.fields.iter().collect();
        fields
            .sort_unstable_by(|left, right| right.1.documents.cmp(&left.1.documents).then_with(|| left.0.cmp(right.0)));
        fields.retain(|(name, _)| {
            has_other_fields |= OWN_COLUMNS.contains(&name.as_str());
            !OWN_COLUMNS.contains(&name.as_str())
        });
        has_other_fields |= fields.len() > MAX_FIELD_COLUMNS;
        fields.truncate(MAX_FIELD_COLUMNS);
        fields.sort_unstable_by_key(|(name, _)| *name);
        let mut types = BTreeMap::new();
        let columns = fields.iter().map(|(name, field)| {
            let ty = eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic);
            types.insert((*name).clone(), ty.name());
            let count = if field.has_several { Count::List } else { Count::Optional };
            ColumnSpec::new(name, Kind::of(ty).unwrap_or_else(|| field.kind()), count)
        });
        Layout { fields: columns.collect(), types, has_other_fields }
    }
}

/// A value in the kind that it counts as.
fn raw(value: ValueRef<'_>) -> RawValue<'_> {
    match value {
        ValueRef::Str(text) => RawValue::Str(text),
        ValueRef::Int(number) => RawValue::Int(number),
        ValueRef::UInt(number) => RawValue::UInt(number),
        ValueRef::Double(number) => RawValue::Double(number),
        ValueRef::Bool(truth) => RawValue::Bool(truth),
        // Their fields have a type, which says what their column is.
        ValueRef::Date(_) | ValueRef::Ip(_) => RawValue::Str(""),
    }
}

/// Takes a document apart: gives each of its values with the dotted name of its field. `path` is memory to work with.
pub(super) fn walk(document: &str, path: &mut String, take: &mut dyn FnMut(&str, RawValue<'_>)) {
    path.clear();
    let mut deserializer = serde_json::Deserializer::from_str(document);
    // A text that the event decoder took is sound; of any other, what comes before the fault counts.
    _ = Node { path, take }.deserialize(&mut deserializer);
}

struct Node<'w> {
    path: &'w mut String,
    take: &'w mut dyn FnMut(&str, RawValue<'_>),
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        (self.take)(self.path, RawValue::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        (self.take)(self.path, RawValue::Int(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        (self.take)(self.path, i64::try_from(value).map_or(RawValue::UInt(value), RawValue::Int));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        (self.take)(self.path, RawValue::Double(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        (self.take)(self.path, RawValue::Str(value));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Node { path: self.path, take: self.take })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let length = self.path.len();
        while map.next_key_seed(Key { path: self.path })?.is_some() {
            map.next_value_seed(Node { path: self.path, take: self.take })?;
            self.path.truncate(length);
        }
        Ok(())
    }
}

/// Adds a key to the path.
struct Key<'w> {
    path: &'w mut String,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_values() {
        let mut census = Census::default();
        census.add(r#"{"process":{"pid":1,"args":["a","b"]},"my":{"a":1,"b":true},"process.name":"x","_time":1}"#);
        census.add(r#"{"my":{"a":"x"},"my.a":2.5,"list":[{"a":"x"},{"a":"y"}],"empty":[],"none":null}"#);
        let layout = census.layout();
        let found: Vec<_> =
            layout.fields.iter().map(|column| (column.name.as_str(), column.kind, column.count)).collect();
        assert_eq!(
            found,
            [
                ("list.a", Kind::Text, Count::List),
                ("my.a", Kind::Text, Count::List),
                ("my.b", Kind::Boolean, Count::Optional),
                ("process.args", Kind::Text, Count::List),
                ("process.name", Kind::Text, Count::Optional),
                ("process.pid", Kind::Long, Count::Optional),
            ]
        );
        assert!(layout.has_other_fields);
        assert_eq!(layout.types["process.pid"], "long");
        assert!(layout.schema().is_ok());
    }

    #[test]
    fn the_number_of_columns_is_bounded() {
        let mut census = Census::default();
        let keys: Vec<String> = (0..MAX_FIELD_COLUMNS + 10).map(|number| format!("\"f{number}\":1")).collect();
        census.add(&format!("{{{}}}", keys.join(",")));
        census.add("{\"f2009\":1}");
        let layout = census.layout();
        assert_eq!(layout.fields.len(), MAX_FIELD_COLUMNS);
        assert!(layout.has_other_fields);
        assert!(layout.types.contains_key("f2009"));
    }
}
