//! Reading fields of an event document, whose keys may be dotted, nested, or a mixture of both.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// An event.
pub type Document = Map<String, Value>;

/// The value of the field with this dotted name.
pub fn get<'a>(document: &'a Document, name: &str) -> Option<&'a Value> {
    if let Some(value) = document.get(name) {
        return Some(value);
    }
    name.match_indices('.').find_map(|(dot, _)| get(document.get(&name[..dot])?.as_object()?, &name[dot + 1..]))
}

/// The field as text: a string, number or boolean as it is, the first of several, nothing for null or an object.
pub fn text<'a>(document: &'a Document, name: &str) -> Option<Cow<'a, str>> {
    scalar(get(document, name)?)
}

/// The field's values as texts.
pub fn texts<'a>(document: &'a Document, name: &str) -> Vec<Cow<'a, str>> {
    match get(document, name) {
        Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
        Some(value) => scalar(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Whether one of the field's values is `value`.
pub fn has(document: &Document, name: &str, value: &str) -> bool {
    texts(document, name).iter().any(|text| text == value)
}

/// The first of `names` that has a value that is not empty.
pub fn first<'a>(document: &'a Document, names: &[&str]) -> Option<Cow<'a, str>> {
    names.iter().find_map(|name| text(document, name).filter(|text| !text.is_empty()))
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Array(items) => items.iter().find_map(scalar),
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(value: Value) -> Document {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn finds_nested_dotted_and_mixed() {
        let document =
            document(json!({"process": {"parent.name": "a", "pid": 4}, "dns.question": {"name": "b"}, "x.y": null}));
        assert_eq!(text(&document, "process.parent.name").as_deref(), Some("a"));
        assert_eq!(text(&document, "process.pid").as_deref(), Some("4"));
        assert_eq!(text(&document, "dns.question.name").as_deref(), Some("b"));
        assert_eq!(text(&document, "x.y"), None);
        assert_eq!(text(&document, "process"), None);
        assert_eq!(text(&document, "process.parent"), None);
    }

    #[test]
    fn several_values() {
        let document = document(json!({"event": {"category": ["network", "process"]}, "n": [null, 7, true]}));
        assert_eq!(text(&document, "event.category").as_deref(), Some("network"));
        assert!(has(&document, "event.category", "process"));
        assert_eq!(texts(&document, "n"), ["7", "true"]);
        assert_eq!(first(&document, &["absent", "n"]).as_deref(), Some("7"));
    }
}
