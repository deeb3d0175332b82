//! Events that come one by one and are in memory already: a service's way in.

use std::ops::Range;
use std::sync::Arc;

use eqlipse_batch::{Arrival, BatchBuilder, EventBatch, OrderKey, RowMeta, Schema};
use thiserror::Error;

use crate::ReadError;
use crate::decoded::{DecodedRows, RowNotes, has_types};
use crate::json::{Action, Decoded, Decoder, Operation, Refusal, end_of_bare, identity};
use crate::reserved::Reserved;

/// Why a document is no event.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IntakeError {
    /// It is no JSON object, too deep, or an alert.
    #[error("{0}")]
    Refused(String),
    /// A hit or a search response around events.
    #[error("{0} around a document, not a document: send what is in its _source")]
    Wrapped(&'static str),
}

impl From<Refusal> for IntakeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

/// A document on its way in.
#[derive(Clone, Copy, Debug)]
pub struct IncomingEvent<'a> {
    /// The document, a JSON object.
    pub document: &'a str,
    /// The index or data stream it goes to.
    pub index: &'a str,
    /// The id that its sender gave it.
    pub id: Option<&'a str>,
    /// What tells it from copies of itself.
    pub identity: Identity<'a>,
    /// Where it stands among all events.
    pub arrival: Arrival,
}

/// Where an event's identity comes from.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// It was found before.
    Known(Option<u128>),
    /// The document as it was sent, before anything was added that differs from copy to copy.
    Of(&'a str),
}

/// What was learnt of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its place in time, and its identity.
    pub meta: RowMeta,
    /// Its text is only nearly JSON; see [`clean_document`].
    pub needs_cleaning: bool,
}

/// The memory of a batch whose documents had more bytes is not kept for the next.
const MAX_KEPT: usize = 16 << 20;

/// Decodes documents into a batch.
pub struct Intake {
    decoder: Decoder,
    builder: BatchBuilder,
    action: Action,
    notes: RowNotes,
    /// Whether the schema gives fields the types that segments give them.
    has_types: bool,
}

impl Intake {
    /// An intake for batches of this schema.
    ///
    /// # Errors
    /// If the schema was built without [`reserve`](crate::reserve).
    pub fn new(schema: &Arc<Schema>) -> Result<Self, ReadError> {
        let reserved = Reserved::find(schema).map_err(ReadError::Schema)?;
        Ok(Self {
            decoder: Decoder::new(schema.clone(), reserved),
            builder: BatchBuilder::new(schema.clone()),
            action: Action { operation: Operation::Document, index: None, id: None },
            notes: RowNotes::default(),
            has_types: has_types(schema),
        })
    }

    /// Adds an event to the batch under way.
    ///
    /// # Errors
    /// If the document is no event; the batch is then as before.
    pub fn add(&mut self, event: &IncomingEvent<'_>) -> Result<Admitted, IntakeError> {
        set(&mut self.action.index, Some(event.index));
        set(&mut self.action.id, event.id);
        let facts = match self.decoder.decode(&mut self.builder, event.document, Some(&self.action))? {
            Decoded::SearchResponse => return Err(IntakeError::Wrapped("a search response")),
            Decoded::Event(_) if self.decoder.is_hit() => {
                self.builder.abort_row();
                return Err(IntakeError::Wrapped("a hit"));
            }
            Decoded::Event(facts) => facts,
        };
        let identity = match event.identity {
            Identity::Known(identity) => identity,
            Identity::Of(text) => facts.has_identity.then(|| identity(text, event.id.unwrap_or_default())),
        };
        let order = OrderKey { time: facts.time, tiebreaker: facts.sequence, arrival: event.arrival };
        let meta = RowMeta { order, identity };
        self.notes.add(self.builder.len() as u32, event, &self.decoder);
        self.builder.end_row(meta);
        Ok(Admitted { meta, needs_cleaning: facts.repaired || has_line_break(event.document) })
    }

    /// How many events the batch has.
    pub fn len(&self) -> usize {
        self.builder.len()
    }

    /// Whether the batch has no event.
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// The batch. Its documents cannot be asked for.
    pub fn batch(&mut self) -> &EventBatch {
        self.builder.batch()
    }

    /// The batch's columns, for the segments that its events come to stand in. `None` if it is too large for that, or
    /// its schema has a field whose type is not the one that segments give it.
    pub fn decoded(&self) -> Option<DecodedRows> {
        self.has_types.then(|| DecodedRows::of(self.builder.batch(), &self.notes)).flatten()
    }

    /// Begins a new batch.
    pub fn clear(&mut self) {
        match self.notes.bytes > MAX_KEPT {
            true => self.builder = BatchBuilder::new(self.builder.schema().clone()),
            false => self.builder.clear(),
        }
        self.notes.clear();
    }
}

fn set(place: &mut Option<String>, text: Option<&str>) {
    match (text, place) {
        (Some(text), Some(known)) => {
            known.clear();
            known.push_str(text);
        }
        (text, place) => *place = text.map(str::to_owned),
    }
}

fn has_line_break(text: &str) -> bool {
    memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some()
}

/// The document as sound JSON without line breaks.
pub fn clean_document(document: &str) -> String {
    let mut clean = Vec::with_capacity(document.len());
    crate::json::write_source(document.as_bytes(), &mut clean);
    String::from_utf8_lossy(&clean).into_owned()
}

/// Writes the document to `stamped` with `event.ingested` set to `time`, in place of any that it has, and `@timestamp` too
/// if it has none; `false` if it is no JSON object, whatever was written then. That it is sound to its end, nobody looks.
pub fn stamp_arrival(document: &str, time: &str, stamped: &mut String) -> bool {
    stamped.clear();
    stamped.reserve(document.len() + 2 * time.len() + 64);
    stamp(document, time, stamped).is_some()
}

fn stamp(document: &str, time: &str, stamped: &mut String) -> Option<()> {
    let stamp = Stamp::find(document.as_bytes(), time)?;
    stamped.push_str(document.get(..stamp.first)?);
    if !stamp.has_timestamp {
        // `event` stands behind it in any case.
        stamped.push_str("\"@timestamp\":\"");
        stamped.push_str(time);
        stamped.push_str("\",");
    }
    stamped.push_str(document.get(stamp.first..stamp.place.start)?);
    stamped.push_str(&stamp.text);
    stamped.push_str(document.get(stamp.place.end..)?);
    Some(())
}

/// Where `event.ingested` goes.
#[derive(Debug, PartialEq)]
struct Stamp {
    /// Which bytes to replace.
    place: Range<usize>,
    text: String,
    /// Where the document's members begin.
    first: usize,
    has_timestamp: bool,
}

impl Stamp {
    fn find(bytes: &[u8], time: &str) -> Option<Self> {
        Self::look(bytes, time, true)
    }

    /// `may_stop` without a look at the rest once `@timestamp` and `event` have come, if nothing there can matter.
    fn look(bytes: &[u8], time: &str, may_stop: bool) -> Option<Self> {
        let mut root = Members::open(bytes, 0)?;
        let first = root.at;
        let (mut event, mut dotted, mut has_timestamp) = (None, None, false);
        let mut may_stop = may_stop;
        loop {
            if may_stop && has_timestamp && event.is_some() {
                may_stop = false;
                if dotted.is_none() && !Self::names_event(&bytes[root.at..]) {
                    break;
                }
            }
            let Some((key, value)) = root.next()? else { break };
            match &bytes[key] {
                b"event.ingested" => dotted = Some(value),
                b"event" if bytes[value.start] == b'{' => event = Some(value.start),
                b"@timestamp" => has_timestamp = true,
                _ => {}
            }
        }
        let (place, text) = match (dotted, event) {
            (Some(value), _) => (value, format!("\"{time}\"")),
            (None, Some(event)) => Self::within(bytes, event, time)?,
            (None, None) => {
                let comma = if root.is_first { "" } else { "," };
                (first..first, format!("\"event\":{{\"ingested\":\"{time}\"}}{comma}"))
            }
        };
        Some(Self { place, text, first, has_timestamp })
    }

    /// Whether some text is `event` or begins with `event.`, as a key would.
    fn names_event(bytes: &[u8]) -> bool {
        const START: &[u8] = b"\"event";
        let mut places = memchr::memmem::find_iter(bytes, START);
        places.any(|place| matches!(bytes.get(place + START.len()), Some(b'"' | b'.')))
    }

    /// Within the object `event`.
    fn within(bytes: &[u8], event: usize, time: &str) -> Option<(Range<usize>, String)> {
        let mut members = Members::open(bytes, event)?;
        let first = members.at;
        while let Some((key, value)) = members.next()? {
            if &bytes[key] == b"ingested" {
                return Some((value, format!("\"{time}\"")));
            }
        }
        let comma = if members.is_first { "" } else { "," };
        Some((first..first, format!("\"ingested\":\"{time}\"{comma}")))
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
    use eqlipse_batch::SchemaBuilder;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn stamped(document: &str) -> Option<String> {
        let mut stamped = "left from the one before".to_owned();
        stamp_arrival(document, "T", &mut stamped).then_some(stamped)
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
            prop_assert_eq!(Stamp::look(text.as_bytes(), "T", true), Stamp::look(text.as_bytes(), "T", false));
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

    #[test]
    fn documents_become_rows() {
        let mut schema = SchemaBuilder::default();
        let name = schema.add("process.name");
        crate::reserve(&mut schema);
        let schema = schema.build();
        let mut intake = Intake::new(&schema).unwrap();
        let event = |document, id| IncomingEvent {
            document,
            index: "logs-x-default",
            id,
            identity: Identity::Of("original"),
            arrival: Arrival { source: 0, position: 7 },
        };
        let document = r#"{"@timestamp":"1970-01-01T00:00:01Z","event":{"id":"1"},"process":{"name":"a"}}"#;
        let admitted = intake.add(&event(document, None)).unwrap();
        assert_eq!(admitted.meta.order.time, Some(1_000_000_000));
        assert_eq!(admitted.meta.identity, Some(identity("original", "")));
        assert!(!admitted.needs_cleaning);
        // Without an id of its own, two texts that look alike may be two events.
        assert_eq!(intake.add(&event("{\"a\":\n1}", None)).unwrap().meta.identity, None);
        assert!(intake.add(&event("{}", Some("x"))).unwrap().meta.identity.is_some());
        for (odd, message) in [
            ("[1]", "not a JSON object"),
            (r#"{"kibana.alert.uuid":"x"}"#, "an alert"),
            (r#"{"_index":"x","_source":{"a":1}}"#, "a hit around"),
            (r#"{"hits":{"hits":[]}}"#, "a search response around"),
            ("{", "EOF"),
        ] {
            let error = intake.add(&event(odd, None)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert_eq!(intake.len(), 3);
        let batch = intake.batch();
        assert_eq!(batch.column(name).rows(), [0]);
        assert_eq!(batch.rows()[0], admitted.meta);
        intake.clear();
        assert!(intake.is_empty());
    }

    #[test]
    fn cleaning() {
        assert_eq!(clean_document("{\n \"a\": \"\\ud800\"}"), "{\"a\":\"\\ufffd\"}");
    }
}
