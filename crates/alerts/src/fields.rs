//! Reading and reshaping event documents, whose keys may be nested, dotted or a mixture of both.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

/// Every value of a field, arrays taken apart, objects in arrays entered.
pub(crate) fn values<'a>(source: &'a Map<String, Value>, field: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    collect(source, field, &mut found);
    found
}

fn collect<'a>(map: &'a Map<String, Value>, field: &str, found: &mut Vec<&'a Value>) {
    if let Some(value) = map.get(field) {
        leaves(value, found);
    }
    for (at, _) in field.match_indices('.') {
        if let Some(value) = map.get(&field[..at]) {
            enter(value, &field[at + 1..], found);
        }
    }
}

fn enter<'a>(value: &'a Value, field: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => collect(map, field, found),
        Value::Array(items) => items.iter().for_each(|item| enter(item, field, found)),
        _ => {}
    }
}

fn leaves<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Null | Value::Object(_) => {}
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        scalar => found.push(scalar),
    }
}

/// The value of a field as it stands, array or not.
pub(crate) fn whole<'a>(source: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    if let Some(value) = source.get(field) {
        return Some(value);
    }
    field.match_indices('.').find_map(|(at, _)| whole(source.get(&field[..at])?.as_object()?, &field[at + 1..]))
}

/// The values of a field as texts, in order.
pub(crate) fn texts(source: &Map<String, Value>, field: &str) -> impl Iterator<Item = String> {
    values(source, field).into_iter().map(text).filter(|text| !text.is_empty())
}

/// A scalar as text.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a top-level key is `name` or lies below it in dotted form.
pub(crate) fn is_under(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Everything below the top-level object `name`, as `prefix.path` to value.
pub(crate) fn flatten_under(source: &Map<String, Value>, name: &str, prefix: &str) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in source.iter().filter(|(key, _)| is_under(key, name)) {
        flatten(format!("{prefix}{}", &key[name.len()..]), value, &mut out);
    }
    out
}

/// Writes the leaves of `value` under dotted names; arrays stay whole.
pub(crate) fn flatten(name: String, value: &Value, out: &mut Map<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| flatten(format!("{name}.{key}"), value, out));
        }
        value => {
            out.insert(name, value.clone());
        }
    }
}

/// The same document with every dotted key opened up, so that two documents can be compared.
pub(crate) fn nested(source: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    if has_dots(source) { Cow::Owned(opened(source)) } else { Cow::Borrowed(source) }
}

/// Whether a key in it has a dot.
fn has_dots(map: &Map<String, Value>) -> bool {
    map.iter().any(|(key, value)| key.contains('.') || value.as_object().is_some_and(has_dots))
}

fn opened(source: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in source {
        let value = match value {
            Value::Object(map) => Value::Object(opened(map)),
            other => other.clone(),
        };
        insert(&mut out, key, value);
    }
    out
}

fn insert(out: &mut Map<String, Value>, key: &str, value: Value) {
    // A key that is empty or has empty parts is no path and stays as it is.
    let parts: Vec<&str> = key.split('.').collect();
    let parts = if parts.iter().any(|part| part.is_empty()) { vec![key] } else { parts };
    let (last, path) = match parts.split_last() {
        Some((last, path)) => (*last, path),
        None => (key, &[] as &[&str]),
    };
    let mut map = out;
    for part in path {
        let slot = map.entry(*part).or_insert_with(|| Value::Object(Map::new()));
        match slot {
            Value::Object(inner) => map = inner,
            // Something else has the place of the object; the later value is dropped.
            _ => return,
        }
    }
    match (map.get_mut(last), value) {
        (Some(Value::Object(known)), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| insert(known, &key, value));
        }
        (Some(_), _) => {}
        (None, value) => {
            map.insert(last.to_owned(), value);
        }
    }
}

/// What two nested documents have in common: equal scalars; objects, if anything in them is; the shared elements of
/// arrays, where a scalar counts as one element.
pub(crate) fn intersection(left: &Map<String, Value>, right: &Map<String, Value>) -> Map<String, Value> {
    let mut common = Map::new();
    for (key, value) in left {
        if let Some(shared) = right.get(key).and_then(|other| shared(value, other)) {
            common.insert(key.clone(), shared);
        }
    }
    common
}

fn shared(left: &Value, right: &Value) -> Option<Value> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let common = intersection(left, right);
            (!common.is_empty()).then_some(Value::Object(common))
        }
        (Value::Array(left), Value::Array(right)) => {
            let mut wanted: HashSet<String> = right.iter().map(Value::to_string).collect();
            // Taking each element out as it is met keeps the result free of duplicates.
            let common: Vec<Value> = left.iter().filter(|item| wanted.remove(&item.to_string())).cloned().collect();
            (!common.is_empty()).then_some(Value::Array(common))
        }
        (Value::Array(items), scalar) | (scalar, Value::Array(items)) => items.contains(scalar).then(|| scalar.clone()),
        (left, right) => (left == right).then(|| left.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is not an object"),
        }
    }

    #[test]
    fn fields_are_found_in_every_writing() {
        let source = map(json!({
            "process": {"parent.name": "a", "name": ["b", null, "c"]},
            "process.parent": {"name": "d"},
            "list": [{"x": 1}, {"x": [2, 3]}, 4],
        }));
        assert_eq!(values(&source, "process.parent.name"), [&json!("a"), &json!("d")]);
        assert_eq!(texts(&source, "process.name").collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(texts(&source, "list.x").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(whole(&source, "process.name"), Some(&json!(["b", null, "c"])));
        assert!(values(&source, "process").is_empty());
        assert!(values(&source, "absent.field").is_empty());
    }

    #[test]
    fn dotted_keys_open_up() {
        let source = map(json!({"a.b": 1, "a": {"c.d": 2, "b": 3}, "e": {"f": {"g.h": 4}}, ".x": 5, "a.b.c": 6}));
        let expected = json!({"a": {"b": 1, "c": {"d": 2}}, "e": {"f": {"g": {"h": 4}}}, ".x": 5});
        assert_eq!(Value::Object(nested(&source).into_owned()), expected);
    }

    #[test]
    fn intersections_keep_what_is_shared() {
        let left = map(json!({
            "same": 1, "other": 2, "only": 3, "null": null,
            "deep": {"same": {"x": "y"}, "other": {"x": 1}},
            "lists": [1, 2, 2, 3], "scalar": "a", "apart": [1], "kinds": {"a": 1},
        }));
        let right = map(json!({
            "same": 1, "other": 3, "null": null,
            "deep": {"same": {"x": "y", "z": 0}, "other": {"x": 2}},
            "lists": [3, 2, 9], "scalar": ["b", "a"], "apart": [2], "kinds": "a",
        }));
        let expected = json!({"same": 1, "null": null, "deep": {"same": {"x": "y"}}, "lists": [2, 3], "scalar": "a"});
        assert_eq!(Value::Object(intersection(&left, &right)), expected);
    }

    #[test]
    fn objects_flatten_and_arrays_stay() {
        let source = map(json!({"event": {"code": 1, "a": {"b": [1, {"c": 2}]}, "none": {}}, "event.kind": "x"}));
        let expected = json!({"o.code": 1, "o.a.b": [1, {"c": 2}], "o.none": {}, "o.kind": "x"});
        assert_eq!(Value::Object(flatten_under(&source, "event", "o")), expected);
    }
}
