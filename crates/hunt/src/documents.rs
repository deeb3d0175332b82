//! From the rows that correlation found to the documents that alerts are built of.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use eqlipse_alerts::MatchedEvent;
use eqlipse_engine::correlate::{Detection, KeyPart, Matched};
use eqlipse_engine::script::Scalar;
use eqlipse_events::{Discovery, DocumentReader};
use eqlipse_rules::on_threads;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::run::HuntError;
use crate::spool::{Spool, read_place};

/// Bits of an event's handle that are the offset in its worker's spool.
const OFFSET_BITS: u32 = 48;

/// Into how many pieces each thread's share of the events to fetch is cut, so that no thread waits long for another.
const PIECES_A_THREAD: usize = 4;

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

/// A document, and what it is known by if it has no id of its own.
struct Fetched {
    hit: Hit,
    digest: Option<[u8; 16]>,
}

/// Fetches the documents of matched events.
pub(crate) struct Documents<'a> {
    spools: Vec<Mutex<Spool>>,
    matched: Matched,
    inputs: &'a Discovery,
    again: Mutex<DocumentReader<'a>>,
    /// By content: the events that have it, for those without an id of their own.
    ids: HashMap<[u8; 16], Vec<u32>>,
    /// Events that were fetched ahead.
    ahead: HashMap<u32, MatchedEvent>,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(spools: Vec<Spool>, matched: Matched, inputs: &'a Discovery) -> Self {
        let spools = spools.into_iter().map(Mutex::new).collect();
        let (again, ids, ahead) = (Mutex::new(DocumentReader::new(inputs)), HashMap::new(), HashMap::new());
        Self { spools, matched, inputs, again, ids, ahead }
    }

    /// Fetches the events of these detections on so many threads; those fetched ahead before are forgotten.
    pub(crate) fn fetch_ahead(&mut self, detections: &[Detection], jobs: usize) -> Result<(), HuntError> {
        self.ahead.clear();
        let mut seen = HashSet::new();
        let events = detections.iter().flat_map(|detection| detection.events.iter().copied().flatten());
        let events: Vec<u32> = events.filter(|event| seen.insert(*event)).collect();
        let fetch = |events: &&[u32]| {
            let mut again = DocumentReader::new(self.inputs);
            events.iter().map(|event| self.fetch(*event, &mut again)).collect::<Result<Vec<_>, _>>()
        };
        // Neighbours in a file are read together.
        let mut in_place = events.clone();
        in_place.sort_unstable_by_key(|event| self.matched.events()[*event as usize].order.arrival);
        let pieces: Vec<&[u32]> = in_place.chunks(events.len().div_ceil(jobs * PIECES_A_THREAD).max(1)).collect();
        let fetched = on_threads(jobs, &pieces, fetch).into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut fetched: HashMap<u32, Fetched> = in_place.into_iter().zip(fetched.into_iter().flatten()).collect();
        // Ids are numbered in the order of the detections, however the events were dealt to the threads.
        for event in events {
            let Some(fetched) = fetched.remove(&event) else { continue };
            let found = self.identified(event, fetched);
            self.ahead.insert(event, found);
        }
        Ok(())
    }

    /// The events of a detection that were fetched ahead; `None` for one that is missing on purpose.
    pub(crate) fn fetched(&self, detection: &Detection) -> Vec<Option<MatchedEvent>> {
        detection.events.iter().map(|event| event.and_then(|event| self.ahead.get(&event).cloned())).collect()
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
        let fetched = self.fetch(event, &mut self.again.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(self.identified(event, fetched))
    }

    fn fetch(&self, event: u32, again: &mut DocumentReader<'_>) -> Result<Fetched, HuntError> {
        let handle = self.matched.events()[event as usize].handle;
        let worker = (handle >> OFFSET_BITS) as usize;
        let offset = handle & ((1 << OFFSET_BITS) - 1);
        let spooled = self.spools[worker].lock().unwrap_or_else(PoisonError::into_inner).get(offset);
        let mut bytes = spooled.map_err(HuntError::Spool)?;
        if let Some(place) = read_place(&bytes) {
            bytes = again.read(&place)?;
        }
        let hit: Hit = serde_json::from_slice(&bytes).map_err(HuntError::Document)?;
        let digest = hit.id.is_none().then(|| {
            let mut digest = [0; 16];
            digest.copy_from_slice(&Sha256::digest(&bytes)[..16]);
            digest
        });
        Ok(Fetched { hit, digest })
    }

    fn identified(&mut self, event: u32, fetched: Fetched) -> MatchedEvent {
        let Fetched { hit, digest } = fetched;
        let id = hit.id.or_else(|| digest.map(|digest| self.content_id(digest, event))).unwrap_or_default();
        let order = self.matched.events()[event as usize].order;
        let source = self.inputs.sources.get(order.arrival.source as usize);
        let origin = source.map(|source| source.name.clone());
        MatchedEvent { index: hit.index, id, time_ns: order.time, origin, source: Arc::new(hit.source) }
    }

    /// An id for an event that has none: a hash of its content, with a number where several events have the same.
    fn content_id(&mut self, digest: [u8; 16], event: u32) -> String {
        let events = self.ids.entry(digest).or_default();
        let index = events.iter().position(|known| *known == event).unwrap_or_else(|| {
            events.push(event);
            events.len() - 1
        });
        let hex = crate::hex(&digest);
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
pub fn key_json(part: KeyPart) -> Value {
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
