//! Documents back as text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Action, compact};

/// Appends a document as a hit, without line breaks: `_index` and `_id` from the hit around it or the bulk action in
/// front of it, where there is one.
pub(crate) fn write_hit(text: &[u8], action: Option<&Action>, out: &mut Vec<u8>) {
    let clean = clean(text);
    let hit = Hit::parse(&clean);
    out.push(b'{');
    write_member("_index", hit.index, action.and_then(|action| action.index.as_deref()), out);
    write_member("_id", hit.id, action.and_then(|action| action.id.as_deref()), out);
    out.extend_from_slice(b"\"_source\":");
    out.extend_from_slice(hit.source.unwrap_or(&clean).as_bytes());
    out.push(b'}');
}

/// Appends the document alone, without line breaks.
pub(crate) fn write_source(text: &[u8], out: &mut Vec<u8>) {
    let clean = clean(text);
    let source = Hit::parse(&clean).source.unwrap_or(&clean);
    out.extend_from_slice(source.as_bytes());
}

fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut clean = Vec::with_capacity(text.len());
    compact(&text, &mut clean);
    // Compacting copies whole characters and ASCII, so that nothing is lost here.
    String::from_utf8(clean).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn write_member(name: &str, raw: Option<&str>, text: Option<&str>, out: &mut Vec<u8>) {
    let text = text.and_then(|text| serde_json::to_string(text).ok());
    if let Some(value) = raw.or(text.as_deref()) {
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        out.extend_from_slice(value.as_bytes());
        out.push(b',');
    }
}

/// The parts of a hit as they stand in the text.
#[derive(Default)]
pub(crate) struct Hit<'a> {
    pub(crate) index: Option<&'a str>,
    pub(crate) id: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
}

impl<'a> Hit<'a> {
    /// Without parts for a document that stands alone.
    pub(crate) fn parse(text: &'a str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Hit<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HitVisitor)
    }
}

struct HitVisitor;

impl<'de> Visitor<'de> for HitVisitor {
    type Value = Hit<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hit")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hit<'de>, A::Error> {
        let mut hit = Hit::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "_index" => hit.index = Some(map.next_value::<&RawValue>()?.get()),
                "_id" => hit.id = Some(map.next_value::<&RawValue>()?.get()),
                "_source" => {
                    let raw = map.next_value::<&RawValue>()?.get();
                    hit.source = raw.starts_with('{').then_some(raw).or(hit.source);
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(text: &str, action: Option<&Action>) -> String {
        let mut out = Vec::new();
        write_hit(text.as_bytes(), action, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn documents_become_hits() {
        assert_eq!(hit("{\n \"a\": 1\n}\n", None), r#"{"_source":{"a":1}}"#);
        let action = Action::parse(br#"{"index":{"_index":"x","_id":"7"}}"#);
        assert_eq!(hit("{}", action.as_ref()), r#"{"_index":"x","_id":"7","_source":{}}"#);
        assert_eq!(
            hit(r#"{"_id":"7","_score":1.0,"_source":{"a":"\ud800"},"_index":"x"}"#, None),
            r#"{"_index":"x","_id":"7","_source":{"a":"\ufffd"}}"#
        );
        let mut out = Vec::new();
        write_source(br#"{"_id":"7","_source": {"a":1e999}}"#, &mut out);
        assert_eq!(out, br#"{"a":null}"#);
    }
}
