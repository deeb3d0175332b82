//! What of a document is shown: `_source` and `fields`.

use std::collections::BTreeMap;

use eqlipse_batch::RawValue;
use serde_json::{Map, Value};

use super::DslError;
use super::date::{DateFormat, Zone, formatted};
use super::field::{Document, Field, Kind, any_leaf, json, millis};
use super::pattern::Pattern;

/// `_source`: all, nothing, or a selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFilter {
    is_off: bool,
    includes: Vec<Pattern>,
    excludes: Vec<Pattern>,
}

fn patterns(value: &Value, name: &str) -> Result<Vec<Pattern>, DslError> {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        Value::Null => &[],
        value => std::slice::from_ref(value),
    };
    let texts = values.iter().map(|value| {
        let bad = || DslError::parsing(format!("Unknown key for a {} in [{name}].", super::parse::kind_of(value)));
        value.as_str().ok_or_else(bad)
    });
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    // A name stands for all below it too.
    Ok(texts
        .iter()
        .flat_map(|text| [(*text).to_owned(), format!("{text}.*")])
        .map(|text| Pattern::wildcard(&text, false))
        .collect())
}

impl SourceFilter {
    /// Reads `true`, `false`, a pattern, a list of patterns, or `{"includes": …, "excludes": …}`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(value: &Value) -> Result<Self, DslError> {
        match value {
            Value::Bool(shown) => Ok(Self { is_off: !shown, ..Self::default() }),
            Value::String(text) if text == "true" || text == "false" => {
                Ok(Self { is_off: text == "false", ..Self::default() })
            }
            Value::Object(map) => {
                let mut filter = Self::default();
                for (key, value) in map {
                    match key.as_str() {
                        "includes" | "include" => filter.includes = patterns(value, "_source")?,
                        "excludes" | "exclude" => filter.excludes = patterns(value, "_source")?,
                        key => return Err(DslError::parsing(format!("Unknown key for a VALUE in [{key}]."))),
                    }
                }
                Ok(filter)
            }
            value => Ok(Self { includes: patterns(value, "_source")?, ..Self::default() }),
        }
    }

    /// The selection of two comma-separated lists, as URLs have them.
    pub fn of_lists(includes: Option<&str>, excludes: Option<&str>) -> Result<Self, DslError> {
        let list = |text: Option<&str>| {
            Value::Array(text.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(Value::from).collect())
        };
        Ok(Self {
            is_off: false,
            includes: patterns(&list(includes), "_source")?,
            excludes: patterns(&list(excludes), "_source")?,
        })
    }

    /// What is shown of a document; `None` for nothing at all.
    pub fn apply(&self, source: Map<String, Value>) -> Option<Map<String, Value>> {
        if self.is_off {
            return None;
        }
        if self.includes.is_empty() && self.excludes.is_empty() {
            return Some(source);
        }
        Some(self.object(source, &mut String::new()))
    }

    fn object(&self, map: Map<String, Value>, name: &mut String) -> Map<String, Value> {
        let mut kept = Map::new();
        for (key, value) in map {
            let length = name.len();
            if length > 0 {
                name.push('.');
            }
            name.push_str(&key);
            if let Some(value) = self.value(value, name) {
                kept.insert(key, value);
            }
            name.truncate(length);
        }
        kept
    }

    fn value(&self, value: Value, name: &mut String) -> Option<Value> {
        if self.excludes.iter().any(|pattern| pattern.matches(name)) {
            return None;
        }
        let is_included = self.includes.is_empty() || self.includes.iter().any(|pattern| pattern.matches(name));
        match value {
            Value::Object(map) => {
                let was_empty = map.is_empty();
                let kept = self.object(map, name);
                (!kept.is_empty() || (is_included && was_empty)).then_some(Value::Object(kept))
            }
            Value::Array(values) if values.iter().any(|value| value.is_object() || value.is_array()) => {
                let kept: Vec<Value> = values.into_iter().filter_map(|value| self.value(value, name)).collect();
                (!kept.is_empty()).then_some(Value::Array(kept))
            }
            value => is_included.then_some(value),
        }
    }
}

/// `fields` and `docvalue_fields`: values by dotted name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldsToShow(Vec<(String, Option<DateFormat>)>);

impl FieldsToShow {
    /// Reads a list of names, patterns, or `{"field": …, "format": …}`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(value: &Value) -> Result<Self, DslError> {
        let Value::Array(values) = value else {
            return Err(DslError::parsing(format!("Unknown key for a {} in [fields].", super::parse::kind_of(value))));
        };
        let entry = |value: &Value| match value {
            Value::String(name) => Ok((name.clone(), None)),
            Value::Object(map) => {
                if let Some(key) =
                    map.keys().find(|key| !["field", "format", "include_unmapped"].contains(&key.as_str()))
                {
                    return Err(DslError::parsing(format!("[fields_and_format] unknown field [{key}]")));
                }
                let name = map.get("field").and_then(Value::as_str);
                let name = name.ok_or_else(|| DslError::argument("Required [field]"))?.to_owned();
                let format = map.get("format").and_then(Value::as_str).map(DateFormat::parse).transpose()?;
                Ok((name, format))
            }
            other => Err(DslError::parsing(format!(
                "[fields] expects names or objects, found [{}]",
                super::parse::kind_of(other)
            ))),
        };
        values.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values that a document has, each a list; `None` if nothing is asked for or there. A field that is asked for
    /// several times, by name or by pattern, is there once, in the last format.
    pub fn of(&self, document: &Document<'_>) -> Option<Map<String, Value>> {
        let mut values: BTreeMap<String, (usize, Vec<Value>)> = BTreeMap::new();
        for (place, (name, format)) in self.0.iter().enumerate() {
            let mut add = |field: &Field, value: RawValue<'_>| {
                let entry = values.entry(field.name().to_owned()).or_default();
                if entry.0 != place {
                    *entry = (place, Vec::new());
                }
                entry.1.push(shown(field, value, format.as_ref()));
            };
            if name.contains('*') {
                let pattern = Pattern::wildcard(name, false);
                any_leaf(document.source, &mut |name, value| {
                    if pattern.matches(name) {
                        add(&Field::new(name), value);
                    }
                    false
                });
            } else {
                let field = Field::new(name);
                field.each(document, &mut |value| add(&field, value));
            }
        }
        let list = |(name, (_, values)): (String, (usize, Vec<Value>))| (name, Value::Array(values));
        (!values.is_empty()).then(|| values.into_iter().map(list).collect())
    }
}

fn shown(field: &Field, value: RawValue<'_>, format: Option<&DateFormat>) -> Value {
    match field.kind() {
        Kind::Date => {
            millis(value).map_or_else(|| json(value), |millis| formatted(millis, format, &Zone::default()).into())
        }
        _ => json(value),
    }
}
