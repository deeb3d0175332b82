//! From the rows that correlation found to the documents that alerts are built of.

use std::collections::HashMap;

use eqlipse_alerts::MatchedEvent;
use eqlipse_engine::correlate::{Detection, KeyPart, Matched};
use eqlipse_engine::script::Scalar;
use eqlipse_events::{Discovery, DocumentReader};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::run::HuntError;
use crate::spool::{Spool, read_place};

/// Bits of an event's handle that are the offset in its worker's spool.
const OFFSET_BITS: u32 = 48;

/// The handle of a document in the spool of `worker`.
pub(crate) fn handle(worker: usize, offset: u64) -> u64 {
    (worker as u64) << OFFSET_BITS | offset
}

/// A document as decoders give it back.
#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: Option<String>,
    #[serde(rename = "_source")]
    source: Map<String, Value>,
}

/// Fetches the documents of matched events.
pub(crate) struct Documents<'a> {
    spools: Vec<Spool>,
    matched: Matched,
    inputs: &'a Discovery,
    again: DocumentReader<'a>,
    /// By content: the events that have it, for those without an id of their own.
    ids: HashMap<[u8; 16], Vec<u32>>,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(spools: Vec<Spool>, matched: Matched, inputs: &'a Discovery) -> Self {
        Self { spools, matched, inputs, again: DocumentReader::new(inputs), ids: HashMap::new() }
    }

    /// The events of a detection; `None` for one that is missing on purpose.
    pub(crate) fn events(&mut self, detection: &Detection) -> Result<Vec<Option<MatchedEvent>>, HuntError> {
        detection.events.iter().map(|event| event.map(|event| self.get(event)).transpose()).collect()
    }

    /// The values that the events of a detection share.
    pub(crate) fn join_keys(&self, detection: &Detection) -> Vec<Value> {
        let parts = detection.key.map(|key| self.matched.keys().parts(key)).unwrap_or_default();
        parts.into_iter().map(key_json).collect()
    }

    /// The event at a place in [`Matched::events`].
    fn get(&mut self, event: u32) -> Result<MatchedEvent, HuntError> {
        let matched = self.matched.events()[event as usize];
        let worker = (matched.handle >> OFFSET_BITS) as usize;
        let offset = matched.handle & ((1 << OFFSET_BITS) - 1);
        let mut bytes = self.spools[worker].get(offset).map_err(HuntError::Spool)?;
        if let Some(place) = read_place(&bytes) {
            bytes = self.again.read(&place)?;
        }
        let hit: Hit = serde_json::from_slice(&bytes).map_err(HuntError::Document)?;
        let id = hit.id.unwrap_or_else(|| self.content_id(&bytes, event));
        let source = self.inputs.sources.get(matched.order.arrival.source as usize);
        let origin = source.map(|source| source.name.clone());
        Ok(MatchedEvent { index: hit.index, id, time_ns: matched.order.time, origin, source: hit.source })
    }

    /// An id for an event that has none: a hash of its content, with a number where several events have the same.
    fn content_id(&mut self, bytes: &[u8], event: u32) -> String {
        let digest = Sha256::digest(bytes);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        let events = self.ids.entry(key).or_default();
        let index = events.iter().position(|known| *known == event).unwrap_or_else(|| {
            events.push(event);
            events.len() - 1
        });
        let hex = crate::hex(&key);
        if index == 0 { hex } else { format!("{hex}-{}", index + 1) }
    }
}

/// A value that a pipe counted by, as a join key would stand in an alert.
pub(crate) fn scalar_json(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => (*value).into(),
        Scalar::Int(value) => (*value).into(),
        Scalar::UInt(value) => (*value).into(),
        Scalar::Double(value) => (*value).into(),
        other => other.text().into(),
    }
}

/// A join key's value as it stands in an alert.
pub(crate) fn key_json(part: KeyPart) -> Value {
    match part {
        KeyPart::Null => Value::Null,
        KeyPart::Bool(value) => value.into(),
        KeyPart::Whole(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => value.into(),
            (Err(_), Ok(value)) => value.into(),
            (Err(_), Err(_)) => (value as f64).into(),
        },
        KeyPart::Double(value) => value.into(),
        KeyPart::Text(text) => text.into(),
        KeyPart::Date(nanos) => {
            jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_or(Value::Null, |time| time.to_string().into())
        }
        KeyPart::Ip(address) => address.to_string().into(),
    }
}
