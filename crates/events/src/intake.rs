//! Events that come one by one and are in memory already: a service's way in.

use std::ops::Range;
use std::sync::Arc;

use eqlipse_batch::{Arrival, BatchBuilder, EventBatch, OrderKey, RowMeta, Schema};
use thiserror::Error;

use crate::ReadError;
use crate::decoded::{DecodedRows, RowNotes, has_types};
use crate::json::{Action, Decoded, Decoder, Facts, Operation, Refusal, identity, write_source};
use crate::reserved::Reserved;
use crate::stamp::{ArrivalTime, Stamp};

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

    /// Adds an event to the batch under way. Returns its place in time, and its identity.
    ///
    /// # Errors
    /// If the document is no event; the batch is then as before.
    pub fn add(&mut self, event: &IncomingEvent<'_>) -> Result<RowMeta, IntakeError> {
        self.decode(event).map(|facts| self.end_row(event, &facts, event.document))
    }

    /// As [`Self::add`], of an event that arrives now: `event.ingested` is set to `time`, in place of any that it has, and
    /// `@timestamp` too if it has none. The document with these is appended to `stamped`, sound and without line breaks.
    ///
    /// # Errors
    /// See there; `stamped` is then as before.
    pub fn add_arriving(
        &mut self,
        event: &IncomingEvent<'_>,
        time: &ArrivalTime,
        stamped: &mut String,
    ) -> Result<RowMeta, IntakeError> {
        self.name(event);
        let start = stamped.len();
        let quick = self.decoder.decode_arriving(&mut self.builder, event.document, &self.action, time);
        let Some(decoded) = quick else { return self.add_odd(event, time, stamped) };
        let (facts, stamp) = decoded?;
        stamp.write(time, stamped);
        if self.decoder.has_line_break() {
            let clean = clean_document(&stamped[start..]);
            stamped.replace_range(start.., &clean);
        }
        Ok(self.end_row(event, &facts, &stamped[start..]))
    }

    /// The same of a document that the quick way does not take.
    fn add_odd(
        &mut self,
        event: &IncomingEvent<'_>,
        time: &ArrivalTime,
        stamped: &mut String,
    ) -> Result<RowMeta, IntakeError> {
        let stamp = Stamp::find(event.document);
        let mut text = String::new();
        stamp.iter().for_each(|stamp| stamp.write(time, &mut text));
        let with_time = IncomingEvent { document: &text, ..*event };
        let decoded = stamp.and_then(|_| self.decode(&with_time).ok());
        // What is refused is refused with the reader's words about what was sent.
        let (event, facts) = match decoded {
            Some(facts) => (&with_time, facts),
            None => (event, self.decode(event)?),
        };
        match facts.repaired || has_line_break(event.document) {
            true => stamped.push_str(&clean_document(event.document)),
            false => stamped.push_str(event.document),
        }
        Ok(self.end_row(event, &facts, event.document))
    }

    /// Sees to it that the decoder knows the event's index and id.
    fn name(&mut self, event: &IncomingEvent<'_>) {
        set(&mut self.action.index, Some(event.index));
        set(&mut self.action.id, event.id);
    }

    /// Opens a row with the values of an event.
    fn decode(&mut self, event: &IncomingEvent<'_>) -> Result<Facts, IntakeError> {
        self.name(event);
        match self.decoder.decode(&mut self.builder, event.document, Some(&self.action))? {
            Decoded::SearchResponse => Err(IntakeError::Wrapped("a search response")),
            Decoded::Event(_) if self.decoder.is_hit() => {
                self.builder.abort_row();
                Err(IntakeError::Wrapped("a hit"))
            }
            Decoded::Event(facts) => Ok(facts),
        }
    }

    /// `text` is what is kept of it.
    fn end_row(&mut self, event: &IncomingEvent<'_>, facts: &Facts, text: &str) -> RowMeta {
        let identity = match event.identity {
            Identity::Known(identity) => identity,
            Identity::Of(text) => facts.has_identity.then(|| identity(text, event.id.unwrap_or_default())),
        };
        let order = OrderKey { time: facts.time, tiebreaker: facts.sequence, arrival: event.arrival };
        let meta = RowMeta { order, identity };
        self.notes.add(self.builder.len() as u32, text, &self.decoder);
        self.builder.end_row(meta);
        meta
    }

    /// Says where the events of the batch stand among all, in the place of what their [`IncomingEvent::arrival`] said.
    pub fn place(&mut self, positions: impl Iterator<Item = u64>) {
        self.builder.place_rows(positions);
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
    /// `streams` are the rows of each data stream.
    pub fn decoded(&self, streams: &[Range<u32>]) -> Option<DecodedRows> {
        self.has_types.then(|| DecodedRows::of(self.builder.batch(), &self.notes, streams)).flatten()
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
fn clean_document(document: &str) -> String {
    let mut clean = Vec::with_capacity(document.len());
    write_source(document.as_bytes(), &mut clean);
    String::from_utf8_lossy(&clean).into_owned()
}

#[cfg(test)]
mod tests {
    use eqlipse_batch::SchemaBuilder;

    use super::*;

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
        let meta = intake.add(&event(document, None)).unwrap();
        assert_eq!(meta.order.time, Some(1_000_000_000));
        assert_eq!(meta.identity, Some(identity("original", "")));
        // Without an id of its own, two texts that look alike may be two events.
        assert_eq!(intake.add(&event("{\"a\":\n1}", None)).unwrap().identity, None);
        assert!(intake.add(&event("{}", Some("x"))).unwrap().identity.is_some());
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
        assert_eq!(batch.rows()[0], meta);
        intake.clear();
        assert!(intake.is_empty());
    }

    /// However a document is written, its columns are those of the text that is kept.
    #[test]
    fn arriving_events_are_those_of_their_stamped_documents() {
        let mut schema = SchemaBuilder::default();
        ["event.ingested", "event.kind", "n"].iter().for_each(|field| _ = schema.add(field));
        crate::reserve(&mut schema);
        let schema = schema.build();
        let time = ArrivalTime::new(1_500_000_000_123_456_789);
        let documents = [
            r#"{"@timestamp":"1970-01-01T00:00:01Z","event":{"kind":"event"},"n":1}"#,
            r#"{"n":[1,2]}"#,
            "{}",
            r#"{"event":{},"n":1}"#,
            r#"{"event":{"ingested":{"by":"x"},"kind":"event"},"@timestamp":null}"#,
            r#"{"event":{"ingested":"1970-01-01T00:00:01Z"},"event":{"kind":"event"}}"#,
            r#"{"event.ingested":"1970-01-01T00:00:01Z","event":[{"ingested":3}]}"#,
            r#"{"event":"odd","event.kind":"event"}"#,
            "{\n \"n\": 1,\r\n \"event\": {\"ingested\": null, \"kind\": \"a\\u00e9\"}}",
            r#"{"event":{"kind":"\ud800"}}"#,
        ];
        let values = |intake: &mut Intake| {
            let batch = intake.batch();
            let columns = (0..batch.schema().fields().len() as u32).map(eqlipse_batch::FieldId);
            let columns = columns.map(|field| format!("{:?}", batch.column(field).values_of(0).collect::<Vec<_>>()));
            columns.collect::<Vec<_>>()
        };
        fn incoming(document: &str) -> IncomingEvent<'_> {
            let (identity, arrival) = (Identity::Known(None), Arrival::default());
            IncomingEvent { document, index: "logs-x-default", id: None, identity, arrival }
        }
        let (mut arriving, mut known) = (Intake::new(&schema).unwrap(), Intake::new(&schema).unwrap());
        for document in documents {
            let mut stamped = "before".to_owned();
            let meta = arriving.add_arriving(&incoming(document), &time, &mut stamped).unwrap();
            let stamped = stamped.strip_prefix("before").unwrap();
            assert!(!has_line_break(stamped) && stamped.contains("2017-07-14T02:40:00.123Z"), "{stamped}");
            assert_eq!(known.add(&incoming(stamped)).unwrap(), meta, "{stamped}");
            assert_eq!(values(&mut arriving), values(&mut known), "{document}");
            arriving.clear();
            known.clear();
        }
        for odd in
            ["", "[1]", r#" {"n":1}"#, r#"{"kibana.alert.uuid":"x"}"#, r#"{"_source":{}}"#, r#"{"n":1"#, r#"{"n":012}"#]
        {
            let mut stamped = "before".to_owned();
            let error = arriving.add_arriving(&incoming(odd), &time, &mut stamped).unwrap_err();
            assert_eq!((stamped.as_str(), error), ("before", known.add(&incoming(odd)).unwrap_err()));
            assert!(arriving.is_empty());
        }
    }

    /// However often and in whichever way its sender wrote it.
    #[test]
    fn the_service_alone_says_when_an_event_arrived() {
        let mut schema = SchemaBuilder::default();
        let ingested = schema.add("event.ingested");
        crate::reserve(&mut schema);
        let mut intake = Intake::new(&schema.build()).unwrap();
        let time = ArrivalTime::new(1_500_000_000_123_456_789);
        let documents = [
            r#"{"event.ingested":"1999-01-01T00:00:00Z","n":1}"#,
            r#"{"event":{"ingested":"1999-01-01T00:00:00Z"},"event.ingested":"1998-01-01T00:00:00Z"}"#,
            r#"{"event.ingested":"1998-01-01T00:00:00Z","event":{"kind":"x","ingested":"1999-01-01T00:00:00Z"}}"#,
            r#"{"event.ingested":1,"event.ingested":2,"event.ingested":[3,4]}"#,
            r#"{"n":1, "event.ingested":1 , "event.ingested":2}"#,
            r#"{"event":{"ingested":1,"ingested":2}}"#,
            r#"{"event":{"kind":"x","ingested":1,"ingested":2},"event.ingested":3,"n":[1]}"#,
            r#"{"event":{"ingested":1},"event":{"ingested":2,"kind":"x"}}"#,
            r#"{"event":{"ingested":1},"n":1,"event":{"kind":"x"}}"#,
            r#"{"event":{"ingested":1,"kind":"x"},"event":"odd"}"#,
            r#"{"event":[{"ingested":1},[{"kind":"x","ingested":2}],{"ingested":3},"x"]}"#,
            r#"{"event":"odd"}"#,
            r#"{"\u0065vent":{"\u0069ngested":1}}"#,
            r#"{"event":{"\u0069ngested":1},"event\u002eingested":2,"\ud800":1e999}"#,
            "{\n\"event\": {\n\"ingested\": 1,\n\"ingested\": 2\n},\n\"event.ingested\": 3\n}",
        ];
        for document in documents {
            let mut stamped = String::new();
            let (identity, arrival) = (Identity::Known(None), Arrival::default());
            let event = IncomingEvent { document, index: "logs-x-default", id: None, identity, arrival };
            intake.add_arriving(&event, &time, &mut stamped).unwrap();
            intake.add(&IncomingEvent { document: &stamped, ..event }).unwrap();
            let batch = intake.batch();
            for row in [0, 1] {
                let values: Vec<_> = batch.column(ingested).values_of(row).collect();
                assert_eq!(values, [eqlipse_batch::ValueRef::Date(time.nanos().unwrap())], "{document} {stamped}");
            }
            // To readers who keep the last of two members with one name, too.
            let source: serde_json::Value = serde_json::from_str(&stamped).unwrap();
            let nested = source.pointer("/event/ingested");
            let told: Vec<_> = nested.into_iter().chain(source.get("event.ingested")).collect();
            assert_eq!(told, [time.text()], "{document} {stamped}");
            assert_eq!(stamped.matches(time.text()).count(), 2, "{document} {stamped}");
            intake.clear();
        }
    }

    /// What stands for a time of arrival is not kept, and must be JSON all the same.
    #[test]
    fn unsound_times_of_arrival_are_refused() {
        let mut schema = SchemaBuilder::default();
        crate::reserve(&mut schema);
        let mut intake = Intake::new(&schema.build()).unwrap();
        for document in [
            r#"{"event.ingested":["x","user":{"name":"a"}],"n":1}"#,
            r#"{"event":{"ingested":,"a":1}}"#,
            r#"{"event.ingested":nonsense}"#,
            r#"{"event.ingested":[1}}"#,
            r#"{"event":{"ingested":[1},"ingested":2}}"#,
            r#"{"event.ingested":1,"event.ingested":{"a"}}"#,
        ] {
            let (identity, arrival) = (Identity::Known(None), Arrival::default());
            let event = IncomingEvent { document, index: "logs-x-default", id: None, identity, arrival };
            let mut stamped = String::new();
            assert!(intake.add_arriving(&event, &ArrivalTime::new(7), &mut stamped).is_err(), "{document}");
            assert_eq!((stamped.as_str(), intake.batch().len()), ("", 0));
        }
    }

    #[test]
    fn cleaning() {
        assert_eq!(clean_document("{\n \"a\": \"\\ud800\"}"), "{\"a\":\"\\ufffd\"}");
    }
}
