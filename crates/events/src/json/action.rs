//! The lines between the documents of a bulk body.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// What a bulk action does with the line behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `index` and `create`: the next line is a document.
    Document,
    /// `update`: the next line is a change to a document that is not here.
    Update,
    /// `delete`: there is no line.
    Delete,
}

/// An action line of a bulk body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) operation: Operation,
    pub(crate) index: Option<String>,
    pub(crate) id: Option<String>,
}

impl Action {
    /// Reads an action line; `None` for any other line.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        // An action line is short, and documents should not pay for a second look.
        const LONGEST: usize = 8192;
        if line.len() > LONGEST || super::too_deep(line) {
            return None;
        }
        serde_json::from_slice(line).ok()
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ActionVisitor)
    }
}

struct ActionVisitor;

impl<'de> Visitor<'de> for ActionVisitor {
    type Value = Action;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bulk action")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Action, A::Error> {
        let operation = match map.next_key::<String>()?.as_deref() {
            Some("index" | "create") => Operation::Document,
            Some("update") => Operation::Update,
            Some("delete") => Operation::Delete,
            _ => return Err(A::Error::custom("no bulk action")),
        };
        let Target { index, id } = map.next_value()?;
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom("no bulk action")),
            None => Ok(Action { operation, index, id }),
        }
    }
}

#[derive(Default)]
struct Target {
    index: Option<String>,
    id: Option<String>,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the target of a bulk action")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Target, A::Error> {
        const PARAMETERS: [&str; 13] = [
            "_type",
            "routing",
            "_routing",
            "parent",
            "pipeline",
            "version",
            "version_type",
            "if_seq_no",
            "if_primary_term",
            "retry_on_conflict",
            "require_alias",
            "require_data_stream",
            "dynamic_templates",
        ];
        let mut target = Target::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "_index" => target.index = map.next_value()?,
                "_id" => target.id = map.next_value()?,
                // A document whose only field is called like an action is told by what is in it.
                name if PARAMETERS.contains(&name) => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => return Err(A::Error::custom("no bulk action")),
            }
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_other_lines() {
        let action = Action::parse(br#"{"index":{"_index":"logs","_id":"1","routing":"x"}}"#).unwrap();
        assert_eq!(action, Action { operation: Operation::Document, index: Some("logs".into()), id: Some("1".into()) });
        assert_eq!(Action::parse(b"{ \"create\" : {} }\r").unwrap().operation, Operation::Document);
        assert_eq!(Action::parse(br#"{"update":{"_id":"1"}}"#).unwrap().operation, Operation::Update);
        assert_eq!(Action::parse(br#"{"delete":{"_id":"1"}}"#).unwrap().operation, Operation::Delete);
        for line in [
            "",
            "{}",
            "[]",
            "{\"index\":1}",
            "{\"index\":{\"name\":\"x\"}}",
            "{\"index\":{},\"a\":1}",
            "{\"process\":{}}",
            "{\"index\":{}",
        ] {
            assert_eq!(Action::parse(line.as_bytes()), None, "{line}");
        }
    }
}
