//! An event's fields, gathered once.

use std::collections::HashMap;

use eqlipse_ecs::FieldType;
use serde_json::Value;

use super::value::Val;

/// All values of an event by dotted path, each in its field's type.
#[derive(Clone, Debug, Default)]
pub struct Flat<'a> {
    fields: HashMap<String, Vec<Val<'a>>>,
}

impl<'a> Flat<'a> {
    /// Gathers the scalars of `doc`.
    pub fn new(doc: &'a Value, types: &dyn Fn(&str) -> FieldType) -> Self {
        let mut raw: HashMap<String, Vec<&'a Value>> = HashMap::new();
        gather(doc, &mut String::new(), &mut raw);
        let fields = raw.into_iter().map(|(path, values)| {
            let ty = types(&path);
            let values = values.into_iter().filter_map(|value| Val::of_field(ty, value)).collect();
            (path, values)
        });
        Self { fields: fields.collect() }
    }

    /// Fields whose values have their types already.
    pub fn of(fields: HashMap<String, Vec<Val<'a>>>) -> Self {
        Self { fields }
    }

    /// Gives a field one value.
    pub fn set(&mut self, field: &str, value: Val<'a>) {
        self.fields.insert(field.to_owned(), vec![value]);
    }

    /// The values of a field, in document order; none if it is missing.
    pub fn values(&self, field: &str) -> &[Val<'a>] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }
}

fn gather<'a>(value: &'a Value, path: &mut String, out: &mut HashMap<String, Vec<&'a Value>>) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter().for_each(|item| gather(item, path, out)),
        Value::Object(members) => {
            for (name, member) in members {
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                gather(member, path, out);
                path.truncate(length);
            }
        }
        scalar => out.entry(path.clone()).or_default().push(scalar),
    }
}
