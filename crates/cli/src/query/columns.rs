//! The fields that `--fields` asks for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use eqlipse_alerts::MatchedEvent;
use eqlipse_hunt::QueryRun;
use serde_json::Value;

use crate::field::Document;
use crate::select::Pattern;

/// The most columns that wildcards may come to.
pub const MAX_COLUMNS: usize = 1_000;

/// The values of an event's fields by dotted name, nulls left out.
pub type FlatEvent<'a> = BTreeMap<String, Vec<Cow<'a, Value>>>;

/// Fields by name or wildcard.
pub struct Fields {
    asked: Vec<Asked>,
}

enum Asked {
    Name(String),
    Wildcard(Pattern),
}

impl Fields {
    /// The fields that these texts ask for.
    pub fn new(texts: &[String]) -> Fields {
        let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let asked = texts.map(|text| match text.contains(['*', '?']) {
            true => Asked::Wildcard(Pattern::new(text)),
            false => Asked::Name(text.to_owned()),
        });
        Fields { asked: asked.collect() }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// The fields of the event that are asked for.
    pub fn of<'a>(&self, event: &'a MatchedEvent) -> BTreeMap<String, Vec<Cow<'a, Value>>> {
        let mut fields = flat(&event.source);
        fields.retain(|name, _| {
            self.asked.iter().any(|asked| match asked {
                Asked::Name(own) => own == name,
                Asked::Wildcard(pattern) => pattern.matches(name),
            })
        });
        fields
    }

    /// The columns: names as they were asked for; in a wildcard's place the fields that the results have, sorted.
    ///
    /// # Errors
    /// If a result cannot be read, or there are more than [`MAX_COLUMNS`].
    pub fn columns(&self, run: &mut QueryRun<'_>) -> io::Result<Vec<String>> {
        let names = match self.asked.iter().any(|asked| matches!(asked, Asked::Wildcard(_))) {
            true => names(run)?,
            false => BTreeSet::new(),
        };
        let mut columns: Vec<String> = Vec::new();
        let mut known: BTreeSet<String> = BTreeSet::new();
        for asked in &self.asked {
            let own = match asked {
                Asked::Name(name) => vec![name],
                Asked::Wildcard(pattern) => names.iter().filter(|name| pattern.matches(name)).collect(),
            };
            columns.extend(own.into_iter().filter(|name| known.insert((*name).clone())).cloned());
        }
        match columns.len() > MAX_COLUMNS {
            true => Err(io::Error::other(format!(
                "--fields comes to {} columns, more than the {MAX_COLUMNS} of MAX_COLUMNS",
                columns.len()
            ))),
            false => Ok(columns),
        }
    }
}

fn names(run: &mut QueryRun<'_>) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for result in run.results() {
        for event in result.map_err(io::Error::other)?.events.iter().flatten() {
            names.extend(flat(&event.source).into_keys());
        }
    }
    Ok(names)
}

/// The event's fields with `_index` and `_id`, for columns.
pub fn with_meta(event: &MatchedEvent) -> FlatEvent<'_> {
    let mut fields = flat(&event.source);
    let index = event.index.as_deref().unwrap_or_default();
    fields.insert("_index".to_owned(), vec![Cow::Owned(index.into())]);
    fields.insert("_id".to_owned(), vec![Cow::Owned(event.id.as_str().into())]);
    fields
}

/// A field's values as one text.
pub fn cell(fields: &FlatEvent<'_>, name: &str) -> String {
    let values = fields.get(name).map_or(&[][..], Vec::as_slice);
    let texts: Vec<Cow<'_, str>> = values.iter().map(|value| text(value)).collect();
    texts.join(", ")
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn flat(document: &Document) -> FlatEvent<'_> {
    let mut fields = FlatEvent::new();
    let mut prefix = String::new();
    flatten(document, &mut prefix, &mut fields);
    fields
}

/// Recursion is bounded: the JSON reader takes no more than 128 levels.
fn flatten<'a>(document: &'a Document, prefix: &mut String, fields: &mut FlatEvent<'a>) {
    let length = prefix.len();
    for (name, value) in document {
        if length > 0 {
            prefix.push('.');
        }
        prefix.push_str(name);
        add(value, prefix, fields);
        prefix.truncate(length);
    }
}

fn add<'a>(value: &'a Value, name: &mut String, fields: &mut FlatEvent<'a>) {
    match value {
        Value::Null => {}
        Value::Object(object) => flatten(object, name, fields),
        Value::Array(items) => items.iter().for_each(|item| add(item, name, fields)),
        value => match fields.get_mut(name.as_str()) {
            Some(values) => values.push(Cow::Borrowed(value)),
            None => drop(fields.insert(name.clone(), vec![Cow::Borrowed(value)])),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> MatchedEvent {
        let source = json!({
            "process": {"name": "a", "args": ["x", "y"], "pid": 4, "gone": null},
            "process.thread": [{"id": 1}, {"id": 2}], "host.name": "h", "empty": []
        });
        MatchedEvent { source: source.as_object().unwrap().clone().into(), ..MatchedEvent::default() }
    }

    #[test]
    fn fields_are_found_however_they_nest() {
        let event = event();
        let fields = with_meta(&event);
        assert_eq!(cell(&fields, "process.args"), "x, y");
        assert_eq!(cell(&fields, "process.thread.id"), "1, 2");
        assert_eq!(cell(&fields, "host.name"), "h");
        assert_eq!(cell(&fields, "process.gone"), "");
        assert_eq!(cell(&fields, "empty"), "");
    }

    #[test]
    fn wildcards_and_names() {
        let event = event();
        let names = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Fields::new(&texts).of(&event).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(&["process.*"]), ["process.args", "process.name", "process.pid", "process.thread.id"]);
        assert_eq!(names(&["host.name", " ", "nothing"]), ["host.name"]);
        assert!(Fields::new(&[String::new()]).is_empty());
    }
}
