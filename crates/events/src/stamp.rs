//! The time of arrival, as it comes to stand in a document's text.
//!
//! `event.ingested` is set, in place of all that the document has, however they are written, and `@timestamp` too if it
//! has none. Nothing else is changed. Where they go, the walk of the decoder finds on its way ([`Places`]), if its schema has
//! [`INGESTED_FIELD`]; for documents that it does not take, such as those with two times of arrival, [`Stamp::find`] goes
//! through the text.

use std::borrow::Cow;
use std::ops::Range;

use eqlipse_batch::{PathNode, RawValue, Schema, coerce_date};
use jiff::Timestamp;
use serde::de::IgnoredAny;

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
    /// There is an `event` at the top that is no object.
    pub(crate) has_odd_event: bool,
    /// The value of `ingested` in that object, or of `event.ingested` at the top.
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

    /// Takes note of a time of arrival.
    pub(crate) fn note_ingested(&mut self, place: Range<usize>) {
        self.is_odd |= self.ingested.replace(place).is_some();
    }

    /// The stamp of the document that was walked; `None` if [`Stamp::find`] is to look.
    pub(crate) fn stamp<'d>(&self, document: &'d str) -> Option<Stamp<'d>> {
        let is_odd = self.is_odd || (self.has_odd_event && self.event.is_some());
        let root = self.root.filter(|_| !is_odd)?;
        let (place, written) = match (&self.ingested, self.event) {
            (Some(value), _) => (value.clone(), Written::Value),
            (None, Some(event)) => (event.first..event.first, Written::Member { is_alone: event.is_empty }),
            (None, None) if self.has_odd_event => (root.first..root.first, Written::Dotted),
            (None, None) => (root.first..root.first, Written::Event { is_alone: root.is_empty }),
        };
        let (first, removed, has_timestamp) = (root.first, Vec::new(), self.has_timestamp);
        Some(Stamp { document, first, place, written, removed, has_timestamp })
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
    /// Further times of arrival, each with a comma, in the order of the text. They may overlap.
    removed: Vec<Range<usize>>,
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
    /// `event.ingested` in front of an `event` that is no object: readers who keep the last of two members with one name
    /// would lose the time with a second `event`.
    Dotted,
}

impl<'d> Stamp<'d> {
    /// Goes through a document; `None` if it is no JSON object. What is taken out of it is sound; whether the rest is, who
    /// reads it then finds.
    pub(crate) fn find(document: &'d str) -> Option<Self> {
        let (mut events, mut has_timestamp) = (Vec::new(), false);
        let mut root = Namesakes::find(document, 0, INGESTED_FIELD, |key, value| match key {
            "event" => events.push(value),
            TIME => has_timestamp = true,
            _ => {}
        })?;
        // Most readers of a document with two of them keep the last.
        let (mut event, mut removed) = (None::<Namesakes>, Vec::new());
        for value in &events {
            for object in objects_in(document.as_bytes(), value.clone())? {
                let before = event.replace(Namesakes::find(document, object, "ingested", |_, _| {})?);
                removed.extend(before.into_iter().flat_map(Namesakes::cuts));
            }
            if document.as_bytes()[value.start] != b'{' {
                removed.extend(event.take().into_iter().flat_map(Namesakes::cuts));
            }
        }
        let dotted = root.found.pop();
        let nested = if dotted.is_none() { event.as_mut().and_then(|event| event.found.pop()) } else { None };
        let (place, written) = match (dotted.or(nested), &event) {
            (Some(kept), _) => (kept.value, Written::Value),
            (None, Some(event)) => (event.first..event.first, Written::Member { is_alone: event.is_empty }),
            (None, None) if events.is_empty() => (root.first..root.first, Written::Event { is_alone: root.is_empty }),
            (None, None) => (root.first..root.first, Written::Dotted),
        };
        let first = root.first;
        removed.extend([root].into_iter().chain(event).flat_map(Namesakes::cuts));
        removed.sort_unstable_by_key(|cut| cut.start);
        Some(Self { document, first, place, written, removed, has_timestamp })
    }

    /// Appends the document with its time of arrival.
    pub(crate) fn write(&self, ArrivalTime { text: time, .. }: &ArrivalTime, out: &mut String) {
        out.reserve(self.document.len() + 2 * time.len() + 64);
        out.push_str(&self.document[..self.first]);
        if !self.has_timestamp {
            // `event` stands behind it in any case.
            put(out, &["\"@timestamp\":\"", time, "\","]);
        }
        self.copy(self.first..self.place.start, out);
        let comma = |is_alone| if is_alone { "" } else { "," };
        match self.written {
            Written::Value => put(out, &["\"", time, "\""]),
            Written::Member { is_alone } => put(out, &["\"ingested\":\"", time, "\"", comma(is_alone)]),
            Written::Event { is_alone } => put(out, &["\"event\":{\"ingested\":\"", time, "\"}", comma(is_alone)]),
            Written::Dotted => put(out, &["\"event.ingested\":\"", time, "\","]),
        }
        self.copy(self.place.end..self.document.len(), out);
    }

    /// Appends a part of the document without what is removed of it.
    fn copy(&self, part: Range<usize>, out: &mut String) {
        let mut at = part.start;
        for cut in self.removed.iter().filter(|cut| part.contains(&cut.start)) {
            if at < cut.start {
                out.push_str(&self.document[at..cut.start]);
            }
            at = at.max(cut.end);
        }
        out.push_str(&self.document[at..part.end]);
    }
}

fn put(out: &mut String, pieces: &[&str]) {
    pieces.iter().for_each(|piece| out.push_str(piece));
}

/// The members of an object that have one name.
struct Namesakes {
    /// Where the object's members begin.
    first: usize,
    /// The object has no members at all.
    is_empty: bool,
    found: Vec<Namesake>,
}

struct Namesake {
    /// What to take out of the text to be rid of it: of all others too, if it is the last of them.
    cut: Range<usize>,
    value: Range<usize>,
}

impl Namesakes {
    /// What to take out of the text to be rid of them.
    fn cuts(self) -> impl Iterator<Item = Range<usize>> {
        self.found.into_iter().map(|member| member.cut)
    }

    /// Goes through the object at `at`. Members with other names go to `other`, with their values' places.
    fn find(document: &str, at: usize, name: &str, mut other: impl FnMut(&str, Range<usize>)) -> Option<Self> {
        let mut members = Members::open(document.as_bytes(), at)?;
        let first = members.at;
        let mut found: Vec<Namesake> = Vec::new();
        // Where the last member with another name ends, and whether one with this name came since.
        let (mut end, mut is_open) = (first, false);
        while let Some((key, value)) = members.next()? {
            let quote = key.start - 1;
            if let Some(last) = found.last_mut().filter(|_| is_open) {
                last.cut.end = quote;
            }
            let key = unescaped(document.get(key)?);
            is_open = key == name;
            if is_open {
                serde_json::from_str::<IgnoredAny>(document.get(value.clone())?).ok()?;
                found.push(Namesake { cut: quote..value.end, value });
            } else {
                end = value.end;
                other(&key, value);
            }
        }
        if let Some(last) = found.last_mut().filter(|_| is_open) {
            // No comma stands behind it, but in front of it, unless nothing else is there.
            last.cut.start = end;
        }
        Some(Self { first, is_empty: members.is_first, found })
    }
}

/// The places of a value's objects: of itself, or of those in lists.
fn objects_in(bytes: &[u8], value: Range<usize>) -> Option<Vec<usize>> {
    let mut objects = Vec::new();
    let mut reader = Members { bytes, at: value.start, is_first: true };
    while reader.at < value.end {
        match bytes[reader.at] {
            b'{' => {
                objects.push(reader.at);
                reader.skip_value()?;
            }
            b'"' => _ = reader.string()?,
            _ => reader.at += 1,
        }
    }
    Some(objects)
}

/// A key without its escapes; as it is if they are unsound.
fn unescaped(key: &str) -> Cow<'_, str> {
    match key.contains('\\') {
        true => serde_json::from_str(&format!("\"{key}\"")).map_or(Cow::Borrowed(key), Cow::Owned),
        false => Cow::Borrowed(key),
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
    use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
    use serde_json::value::RawValue as RawJson;
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
            r#"{"event.ingested":1,"event":{"kind":"x"}}"#,
            r#"{"event":[{"kind":"x"}]}"#,
        ];
        ordinary.iter().for_each(|document| assert!(walked(document).is_some(), "{document}"));
        let odd = [
            r#"{"event":{},"event":{}}"#,
            r#"{"event":{"ingested":1,"ingested":2}}"#,
            r#"{"event":{"ingested":1},"event.ingested":2}"#,
            r#"{"event.ingested":1,"event.ingested":2}"#,
            r#"{"event":{},"event":"odd"}"#,
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
                r#"{"event":{},"@timestamp":1,"event":{"ingested":"T"}}"#,
            ),
            (r#"{"event":"odd","n":-1.5e3}"#, r#"{"@timestamp":"T","event.ingested":"T","event":"odd","n":-1.5e3}"#),
            (
                r#"{"event":{"ingested":1,"ingested":2},"event.ingested":3,"@timestamp":1}"#,
                r#"{"event":{},"event.ingested":"T","@timestamp":1}"#,
            ),
            (
                r#"{ "event.ingested":1 , "event":{"a":1 , "ingested":2,"ingested":3}, "event.ingested":4 }"#,
                r#"{"@timestamp":"T", "event":{"a":1}, "event.ingested":"T" }"#,
            ),
            (
                r#"{"@timestamp":1,"event":[{"ingested":1},[{"a":1,"ingested":2}]]}"#,
                r#"{"event.ingested":"T","@timestamp":1,"event":[{},[{"a":1}]]}"#,
            ),
            (
                r#"{"\u0040timestamp":1,"\u0065vent":{"\u0069ngested":1}}"#,
                r#"{"\u0040timestamp":1,"\u0065vent":{"\u0069ngested":"T"}}"#,
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(stamped(document).as_deref(), Some(expected), "{document}");
        }
        for odd in ["", "[]", "1", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"\\", "{a:1}", "{\"a\":1 \"b\":2}"] {
            assert_eq!(stamped(odd), None, "{odd}");
        }
    }

    /// JSON in which an object may have members with one name.
    fn texts() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i32>().prop_map(|value| value.to_string()),
            "[ -~é\\n]{0,8}".prop_map(|value| Value::from(value).to_string()),
        ];
        let key = "event|ingested|event.ingested|@timestamp|[a-z\"{}]{0,3}";
        leaf.prop_recursive(4, 32, 5, move |inner| {
            let member = (key, any::<bool>(), inner.clone()).prop_map(|(key, is_escaped, value)| {
                let key = Value::from(key).to_string();
                let key = if is_escaped { key.replacen('e', "\\u0065", 1) } else { key };
                format!("{key}: {value}")
            });
            let list = |items: Vec<String>, blank: &str| items.join(&format!(",{blank}"));
            prop_oneof![
                (proptest::collection::vec(inner, 0..4), " ?")
                    .prop_map(move |(items, blank)| { format!("[{}]", list(items, &blank)) }),
                (proptest::collection::vec(member, 0..6), " ?")
                    .prop_map(move |(members, blank)| { format!("{{{blank}{}{blank}}}", list(members, &blank)) }),
            ]
        })
    }

    /// Collects the values at a path and below it, in the order of the text.
    struct Leaves<'l>(&'l mut Vec<(String, Value)>, Option<String>);

    impl<'de> DeserializeSeed<'de> for Leaves<'_> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            let raw = <&RawJson>::deserialize(deserializer)?.get();
            let mut inner = serde_json::Deserializer::from_str(raw);
            match raw.as_bytes()[0] {
                b'{' => inner.deserialize_map(self),
                b'[' => inner.deserialize_seq(self),
                _ => Value::deserialize(&mut inner).map(|value| self.0.push((self.1.unwrap_or_default(), value))),
            }
            .map_err(D::Error::custom)
        }
    }

    impl<'de> Visitor<'de> for Leaves<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            while items.next_element_seed(Leaves(self.0, self.1.clone()))?.is_some() {}
            Ok(())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some(key) = members.next_key::<String>()? {
                let path = self.1.as_ref().map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
                members.next_value_seed(Leaves(self.0, Some(path)))?;
            }
            Ok(())
        }
    }

    fn leaves(text: &str) -> Vec<(String, Value)> {
        let mut leaves = Vec::new();
        let seed = Leaves(&mut leaves, None);
        seed.deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap();
        leaves
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_else_is_changed(text in texts()) {
            let stamped = stamped(&text);
            if !text.starts_with('{') {
                prop_assert_eq!(stamped, None);
                return Ok(());
            }
            let stamped = stamped.unwrap();
            let is_arrival = |path: &str| path == INGESTED_FIELD || path.starts_with("event.ingested.");
            let (mut before, mut after) = (leaves(&text), leaves(&stamped));
            before.retain(|(path, _)| !is_arrival(path));
            let arrivals: Vec<_> = after.extract_if(.., |(path, _)| is_arrival(path)).collect();
            prop_assert_eq!(arrivals, [(INGESTED_FIELD.to_owned(), json!("T"))], "{}", stamped);
            let is_added = |leaf: &&(String, Value)| leaf.0 == TIME && leaf.1 == json!("T");
            // An `@timestamp` without a value is there too.
            if after.len() > before.len() && after.first().is_some_and(|leaf| is_added(&leaf)) {
                after.remove(0);
            }
            prop_assert_eq!(after, before, "{}", stamped);
            let source: Value = serde_json::from_str(&stamped).unwrap();
            let told = source.pointer("/event/ingested").into_iter().chain(source.get(INGESTED_FIELD));
            prop_assert_eq!(told.collect::<Vec<_>>(), [&json!("T")], "{}", stamped);
        }

        #[test]
        fn any_text_will_do(text in "[{}\\[\\]\",:\\\\a-c0 ]{0,40}|([{\\[]?\"(event|ingested|event.ingested)\"[:,][{}\\]0,]{1,2}){0,6}") {
            stamped(&text);
        }
    }
}
