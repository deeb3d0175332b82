//! The time of arrival, as it comes to stand in a document's text.
//!
//! `event.ingested` is set, in place of any that the document has, and `@timestamp` too if it has none. Nothing else is
//! changed. Where they go, the walk of the decoder finds on its way ([`Places`]), if its schema has [`INGESTED_FIELD`]; for
//! documents that it does not take, [`Stamp::find`] goes through the text.

use std::ops::Range;

use eqlipse_batch::{PathNode, RawValue, Schema, coerce_date};
use jiff::Timestamp;

use crate::json::end_of_bare;
use crate::reserved::TIME;

/// The field with the time of arrival.
pub const INGESTED_FIELD: &str = "event.ingested";

/// When events arrived, to the millisecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrivalTime {
    text: String,
    nanos: Option<i64>,
}

impl ArrivalTime {
    /// A time in nanoseconds since the Unix epoch.
    pub fn new(nanos: i64) -> Self {
        let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
        let text = format!("{time:.3}");
        Self { nanos: coerce_date(RawValue::Str(&text)), text }
    }

    /// As it stands in documents.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What a date column has of it.
    pub(crate) fn nanos(&self) -> Option<i64> {
        self.nanos
    }
}

/// Where a schema has what a stamp is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StampNodes {
    pub(crate) time: PathNode,
    pub(crate) event: PathNode,
    pub(crate) ingested: PathNode,
}

impl StampNodes {
    /// Finds them; `None` if the schema has no `event.ingested`.
    pub(crate) fn find(schema: &Schema) -> Option<Self> {
        let root = schema.root();
        let event = schema.step(root, "event")?;
        let (time, ingested) = (schema.step(root, TIME)?, schema.step(event, "ingested")?);
        schema.field_at(time).and(schema.field_at(ingested))?;
        Some(Self { time, event, ingested })
    }
}

/// The members of an object, as far as a stamp needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Where they begin in the text.
    pub(crate) first: usize,
    pub(crate) is_empty: bool,
}

/// What a walk came by of a document.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) root: Option<Opened>,
    /// The object `event` at the top.
    pub(crate) event: Option<Opened>,
    /// The value of `ingested` in there.
    pub(crate) ingested: Option<Range<usize>>,
    /// There is an `@timestamp` at the top, whatever it is.
    pub(crate) has_timestamp: bool,
    /// Something is there twice, or is written in another way.
    pub(crate) is_odd: bool,
}

impl Places {
    /// Takes note of the object `event` at the top.
    pub(crate) fn note_event(&mut self, opened: Opened) {
        self.is_odd |= self.event.replace(opened).is_some();
    }

    /// Takes note of a value of `ingested` in there.
    pub(crate) fn note_ingested(&mut self, place: Range<usize>) {
        self.is_odd |= self.ingested.replace(place).is_some();
    }

    /// The stamp of the document that was walked; `None` if [`Stamp::find`] is to look.
    pub(crate) fn stamp<'d>(&self, document: &'d str) -> Option<Stamp<'d>> {
        let root = self.root.filter(|_| !self.is_odd)?;
        let (place, written) = match (&self.ingested, self.event) {
            (Some(value), _) => (value.clone(), Written::Value),
            (None, Some(event)) => (event.first..event.first, Written::Member { is_alone: event.is_empty }),
            (None, None) => (root.first..root.first, Written::Event { is_alone: root.is_empty }),
        };
        Some(Stamp { document, first: root.first, place, written, has_timestamp: self.has_timestamp })
    }
}

/// How the time of arrival comes into a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp<'d> {
    document: &'d str,
    /// Where the document's members begin.
    first: usize,
    /// Which bytes to replace.
    place: Range<usize>,
    written: Written,
    pub(crate) has_timestamp: bool,
}

/// What is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// The time.
    Value,
    /// `ingested` in front of what `event` has.
    Member { is_alone: bool },
    /// `event` in front of all others.
    Event { is_alone: bool },
}

impl<'d> Stamp<'d> {
    /// Goes through a document; `None` if it is no JSON object. That it is sound to its end, nobody looks.
    pub(crate) fn find(document: &'d str) -> Option<Self> {
        let bytes = document.as_bytes();
        let mut root = Members::open(bytes, 0)?;
        let first = root.at;
        let (mut event, mut dotted, mut has_timestamp) = (None, None, false);
        while let Some((key, value)) = root.next()? {
            match &bytes[key] {
                b"event.ingested" => dotted = Some(value),
                b"event" if bytes[value.start] == b'{' => event = Some(value.start),
                b"@timestamp" => has_timestamp = true,
                _ => {}
            }
        }
        let (place, written) = match (dotted, event) {
            (Some(value), _) => (value, Written::Value),
            (None, Some(event)) => Self::within(bytes, event)?,
            (None, None) => (first..first, Written::Event { is_alone: root.is_first }),
        };
        Some(Self { document, first, place, written, has_timestamp })
    }

    /// Within the object `event`.
    fn within(bytes: &[u8], event: usize) -> Option<(Range<usize>, Written)> {
        let mut members = Members::open(bytes, event)?;
        let first = members.at;
        while let Some((key, value)) = members.next()? {
            if &bytes[key] == b"ingested" {
                return Some((value, Written::Value));
            }
        }
        Some((first..first, Written::Member { is_alone: members.is_first }))
    }

    /// Appends the document with its time of arrival.
    pub(crate) fn write(&self, ArrivalTime { text: time, .. }: &ArrivalTime, out: &mut String) {
        out.reserve(self.document.len() + 2 * time.len() + 64);
        let mut put = |pieces: &[&str]| pieces.iter().for_each(|piece| out.push_str(piece));
        put(&[&self.document[..self.first]]);
        if !self.has_timestamp {
            // `event` stands behind it in any case.
            put(&["\"@timestamp\":\"", time, "\","]);
        }
        put(&[&self.document[self.first..self.place.start]]);
        let comma = |is_alone| if is_alone { "" } else { "," };
        match self.written {
            Written::Value => put(&["\"", time, "\""]),
            Written::Member { is_alone } => put(&["\"ingested\":\"", time, "\"", comma(is_alone)]),
            Written::Event { is_alone } => put(&["\"event\":{\"ingested\":\"", time, "\"}", comma(is_alone)]),
        }
        put(&[&self.document[self.place.end..]]);
    }
}

/// The members of an object, by their places in the text.
struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
    is_first: bool,
}

impl<'a> Members<'a> {
    /// Begins with the object at `at`, or after the blanks there.
    fn open(bytes: &'a [u8], at: usize) -> Option<Self> {
        let mut members = Self { bytes, at, is_first: true };
        members.skip_blanks();
        (*bytes.get(members.at)? == b'{').then(|| {
            members.at += 1;
            members
        })
    }

    /// The places of the next key, without its quotes, and of its value; `Some(None)` at the end.
    #[allow(clippy::type_complexity, reason = "two places, and whether there are any")]
    fn next(&mut self) -> Option<Option<(Range<usize>, Range<usize>)>> {
        self.skip_blanks();
        match (*self.bytes.get(self.at)?, self.is_first) {
            (b'}', _) => return Some(None),
            (b',', false) => {
                self.at += 1;
                self.skip_blanks();
            }
            (_, true) => {}
            _ => return None,
        }
        self.is_first = false;
        let key = self.string()?;
        self.skip_blanks();
        if *self.bytes.get(self.at)? != b':' {
            return None;
        }
        self.at += 1;
        self.skip_blanks();
        let start = self.at;
        self.skip_value()?;
        Some(Some((key, start..self.at)))
    }

    fn skip_blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Passes over a string, and says where its inside is.
    fn string(&mut self) -> Option<Range<usize>> {
        if *self.bytes.get(self.at)? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            at = end_of_bare(self.bytes, at);
            match self.bytes.get(at)? {
                b'"' => {
                    self.at = at + 1;
                    return Some(start..at);
                }
                b'\\' => at += 2,
                // No JSON, which the reader says.
                _ => at += 1,
            }
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => _ = self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ if depth == 0 => {
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                    self.at += self.bytes[self.at..].iter().position(ends)?;
                }
                _ => self.at += 1,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use eqlipse_batch::BatchBuilder;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::json::{Action, Decoder, Operation};
    use crate::reserved::Reserved;

    fn time() -> ArrivalTime {
        ArrivalTime { text: "T".to_owned(), nanos: None }
    }

    /// What the decoder's walk finds, if it takes the document.
    fn walked(document: &str) -> Option<Stamp<'_>> {
        let mut schema = Schema::builder();
        schema.add(INGESTED_FIELD);
        crate::reserve(&mut schema);
        let schema = schema.build();
        let mut decoder = Decoder::new(schema.clone(), Reserved::find(&schema).unwrap());
        let action = Action { operation: Operation::Document, index: None, id: None };
        let walked = decoder.decode_arriving(&mut BatchBuilder::new(schema), document, &action, &time());
        walked.map(|walked| walked.unwrap().1)
    }

    /// By the scan, and where a walk finds the places too, the same.
    fn stamped(document: &str) -> Option<String> {
        let found = Stamp::find(document);
        assert!(walked(document).is_none_or(|walked| Some(walked) == found), "{document}");
        let mut stamped = String::new();
        found.map(|stamp| stamp.write(&time(), &mut stamped)).map(|()| stamped)
    }

    #[test]
    fn ordinary_documents_need_no_scan() {
        let ordinary = [
            "{}",
            r#"{"@timestamp":1,"event":{"kind":"x"},"a":{"ingested":2}}"#,
            r#"{"event":{"a":"\"","ingested":{"b":[17]}},"tags":[{}]}"#,
            "{\n  \"event\": \"odd\",\r\n  \"event.kind\": \"x\"\n}",
        ];
        ordinary.iter().for_each(|document| assert!(walked(document).is_some(), "{document}"));
        let odd = [
            r#"{"event":{},"event":{}}"#,
            r#"{"event":{"ingested":1,"ingested":2}}"#,
            r#"{"event.ingested":1}"#,
            r#"{"event":[{"ingested":1}]}"#,
            r#"{"\u0065vent":{}}"#,
        ];
        odd.iter().for_each(|document| assert!(walked(document).is_none(), "{document}"));
    }

    #[test]
    fn arrival_is_set_once() {
        let cases = [
            (r#"{}"#, r#"{"@timestamp":"T","event":{"ingested":"T"}}"#),
            (r#" {"@timestamp":1}"#, r#" {"event":{"ingested":"T"},"@timestamp":1}"#),
            (r#"{"event":{}}"#, r#"{"@timestamp":"T","event":{"ingested":"T"}}"#),
            (
                r#"{"a":{"event":{}},"@timestamp":1,"event":{"kind":"x"}}"#,
                r#"{"a":{"event":{}},"@timestamp":1,"event":{"ingested":"T","kind":"x"}}"#,
            ),
            (
                r#"{"event":{"a":"}\"","ingested":17,"b":[{}]}}"#,
                r#"{"@timestamp":"T","event":{"a":"}\"","ingested":"T","b":[{}]}}"#,
            ),
            (r#"{"event.ingested":"then","@timestamp":2}"#, r#"{"event.ingested":"T","@timestamp":2}"#),
            // Whatever stands behind `event` and `@timestamp`.
            (
                r#"{"@timestamp":1,"event":{"kind":"x"},"event.ingested":2}"#,
                r#"{"@timestamp":1,"event":{"kind":"x"},"event.ingested":"T"}"#,
            ),
            (
                r#"{"@timestamp":1,"event":{"kind":"x"},"a":{"ingested":2}}"#,
                r#"{"@timestamp":1,"event":{"ingested":"T","kind":"x"},"a":{"ingested":2}}"#,
            ),
            (
                r#"{"@timestamp":1,"event":{"a":1},"event":{"b":2}}"#,
                r#"{"@timestamp":1,"event":{"a":1},"event":{"ingested":"T","b":2}}"#,
            ),
            (
                r#"{"event":{"ingested":1},"@timestamp":1,"event":{"ingested":2}}"#,
                r#"{"event":{"ingested":1},"@timestamp":1,"event":{"ingested":"T"}}"#,
            ),
            (
                r#"{"event":"odd","n":-1.5e3}"#,
                r#"{"@timestamp":"T","event":{"ingested":"T"},"event":"odd","n":-1.5e3}"#,
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(stamped(document).as_deref(), Some(expected), "{document}");
        }
        for odd in ["", "[]", "1", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"\\", "{a:1}", "{\"a\":1 \"b\":2}"] {
            assert_eq!(stamped(odd), None, "{odd}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("event|ingested|event.ingested|@timestamp|[a-z\"{}]{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_else_is_changed(document in values(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let text = text.unwrap();
            let stamped = stamped(&text);
            let Value::Object(mut before) = document else {
                prop_assert_eq!(stamped, None);
                return Ok(());
            };
            let mut after: serde_json::Map<String, Value> = serde_json::from_str(&stamped.unwrap()).unwrap();
            if !before.contains_key("@timestamp") {
                prop_assert_eq!(after.remove("@timestamp"), Some(json!("T")));
            }
            if after.remove("event.ingested") == Some(json!("T")) {
                before.remove("event.ingested");
            } else if before.get("event").is_some_and(Value::is_object) {
                prop_assert_eq!(after["event"].as_object_mut().unwrap().remove("ingested"), Some(json!("T")));
                before["event"].as_object_mut().unwrap().remove("ingested");
            } else if !before.contains_key("event") {
                prop_assert_eq!(after.remove("event"), Some(json!({"ingested": "T"})));
            }
            before.remove("event.ingested");
            after.remove("event.ingested");
            prop_assert_eq!(Value::Object(after), Value::Object(before));
        }

        #[test]
        fn any_text_will_do(text in "[{}\\[\\]\",:\\\\a-c0 ]{0,40}") {
            stamped(&text);
        }
    }
}
