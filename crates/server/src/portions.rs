//! Events out of files, on their way into the store: in portions, so that a large file is not in memory a second time.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::elastic::{Action, Operation, Outcome, take, turned_away};
use crate::http::Failure;
use crate::state::{App, Caller};

/// A portion for the store, in bytes of documents.
const PORTION_BYTES: usize = 4 << 20;
/// And in documents.
const PORTION_DOCUMENTS: usize = 5_000;

/// Where events go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The data stream of all of them; without it, the one that each names itself.
    pub(crate) index: Option<String>,
    /// The data stream of those that name none.
    pub(crate) fallback: String,
    /// The ids of those that have none.
    pub(crate) ids: Ids,
    /// Who sends them, if somebody does.
    pub(crate) caller: Option<Caller>,
}

/// The ids of events.
#[derive(Clone, Debug)]
pub(crate) enum Ids {
    /// The store makes them.
    New,
    /// This, and the number in the file.
    Numbered(String),
    /// The same for an event however often its file is read.
    Content,
}

impl Ids {
    fn of(&self, number: u64, document: &str) -> Option<String> {
        match self {
            Self::New => None,
            Self::Numbered(ids) => Some(format!("{ids}-{number}")),
            Self::Content => Some(format!("{:032x}", content_hash(document))),
        }
    }
}

/// A hash of what Windows knows an event by: channel, record id, computer and time; else of the whole document.
fn content_hash(document: &str) -> u128 {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "@timestamp", borrow)]
        time: &'a RawValue,
        #[serde(borrow)]
        winlog: Record<'a>,
    }
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        channel: &'a RawValue,
        #[serde(borrow)]
        record_id: &'a RawValue,
        #[serde(borrow)]
        computer_name: &'a RawValue,
    }
    match serde_json::from_str::<Event<'_>>(document) {
        Ok(Event { time, winlog }) => {
            let parts = [time, winlog.channel, winlog.record_id, winlog.computer_name].map(RawValue::get);
            xxh3_128(parts.join("\n").as_bytes())
        }
        Err(_) => xxh3_128(document.as_bytes()),
    }
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) stored: u64,
    pub(crate) conflicts: u64,
    pub(crate) refused: u64,
}

fn under_way() -> Failure {
    let reason = "another request stores the same events; try again later".to_owned();
    Failure::Overloaded { reason, retry_after: Duration::from_secs(1) }
}

impl Counts {
    /// Counts what became of an event; says whether that is not known yet.
    fn is_open(&mut self, outcome: &Outcome) -> bool {
        match outcome {
            Ok(_) => self.stored += 1,
            Err(error) if error.is_under_way() => return true,
            Err(error) if error.is_conflict() => self.conflicts += 1,
            Err(_) => self.refused += 1,
        }
        false
    }

    /// A file that was taken in part is not to be sent again without knowing so.
    pub(crate) fn explain(self, failure: Failure) -> Failure {
        if self.stored == 0 {
            return failure;
        }
        let reason = format!("{failure}; {} events of this upload were stored before", self.stored);
        match failure {
            Failure::Overloaded { retry_after, .. } => Failure::Overloaded { reason, retry_after },
            Failure::Unavailable(_) => Failure::Unavailable(reason),
            _ => Failure::Internal(reason),
        }
    }
}

/// An event that waits for the rest of its portion.
struct Waiting {
    index: ByteString,
    id: Option<String>,
    document: Range<usize>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: Option<String>,
    #[serde(rename = "_source", borrow)]
    source: &'a RawValue,
}

/// Takes hits, and sends portions of them to the store.
pub(crate) struct Portions<'a> {
    app: &'a App,
    target: Target,
    /// When to give up waiting for memory; never without it.
    until: Option<Instant>,
    cancelled: &'a AtomicBool,
    texts: Vec<u8>,
    waiting: Vec<Waiting>,
    /// The number of the next event in its file.
    pub(crate) number: u64,
    pub(crate) counts: Counts,
    pub(crate) failure: Option<Failure>,
}

impl<'a> Portions<'a> {
    pub(crate) fn new(app: &'a App, target: Target, until: Option<Instant>, cancelled: &'a AtomicBool) -> Self {
        let (texts, waiting) = (Vec::new(), Vec::new());
        Self { app, target, until, cancelled, texts, waiting, number: 0, counts: Counts::default(), failure: None }
    }

    /// Adds an event in the shape of a hit.
    pub(crate) fn add(&mut self, hit: &[u8]) -> io::Result<()> {
        let Hit { index, id, source } = serde_json::from_slice(hit)?;
        let index = self.target.index.clone().or(index).unwrap_or_else(|| self.target.fallback.clone());
        let number = self.number;
        let id = id.or_else(|| self.target.ids.of(number, source.get()));
        self.number += 1;
        let start = self.texts.len();
        self.texts.extend_from_slice(source.get().as_bytes());
        let index = match self.waiting.last() {
            Some(last) if *last.index == *index => last.index.clone(),
            _ => index.into(),
        };
        self.waiting.push(Waiting { index, id, document: start..self.texts.len() });
        match self.texts.len() >= PORTION_BYTES || self.waiting.len() >= PORTION_DOCUMENTS {
            true => self.send(),
            false => Ok(()),
        }
    }

    /// Sends what waits. On an error, [`Self::failure`] says why.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let texts = Bytes::from(std::mem::take(&mut self.texts));
        let actions: Vec<Action> = self
            .waiting
            .iter()
            .map(|Waiting { index, id, document }| Action {
                operation: Operation::Create,
                index: index.clone(),
                id: id.clone(),
                document: texts.slice(document.clone()),
                unsupported: None,
            })
            .collect();
        let (counts, taken) = self.take_patiently(actions);
        self.waiting.clear();
        self.counts.stored += counts.stored;
        self.counts.conflicts += counts.conflicts;
        self.counts.refused += counts.refused;
        match taken {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::Error::other("the store takes no events"))
            }
        }
    }

    /// Waits where memory is short for a moment, or somebody else is at the same events: what becomes of them there is not
    /// known yet.
    fn take_patiently(&self, mut actions: Vec<Action>) -> (Counts, Result<(), Failure>) {
        let may_wait = || self.until.is_none_or(|until| Instant::now() < until);
        let mut counts = Counts::default();
        loop {
            let taken = take(self.app, self.target.caller.as_ref(), &actions).and_then(|outcomes| {
                let mut outcomes = outcomes.into_iter();
                actions.retain(|_| outcomes.next().is_some_and(|outcome| counts.is_open(&outcome)));
                if actions.is_empty() { Ok(()) } else { Err(under_way()) }
            });
            match taken {
                Ok(()) => return (counts, Ok(())),
                Err(Failure::Overloaded { .. }) if may_wait() && !self.cancelled.load(Ordering::Relaxed) => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(failure) => {
                    turned_away(self.app, &failure, actions.len(), true);
                    return (counts, Err(failure));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use eqlipse_store::Refused;

    use super::*;

    #[test]
    fn events_under_way_are_neither_stored_nor_refused() {
        let id = "x".to_owned();
        let mut counts = Counts::default();
        let open = [
            counts.is_open(&Err(Refused::UnderWay { id: id.clone() }.into())),
            counts.is_open(&Err(Refused::Conflict { id }.into())),
            counts.is_open(&Err(Refused::NotAnEvent("five".to_owned()).into())),
        ];
        assert_eq!(open, [true, false, false]);
        assert_eq!((counts.stored, counts.conflicts, counts.refused), (0, 1, 1));
    }

    #[test]
    fn ids_by_content_are_those_of_the_record() {
        let event = |record: u32, more: &str| {
            format!(
                "{{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"winlog\":{{\"channel\":\"Security\",\"record_id\":\"{record}\",\
                 \"computer_name\":\"pc\"}}{more}}}"
            )
        };
        let id = |document: &str| Ids::Content.of(7, document);
        // Another version may make more of a record.
        assert_eq!(id(&event(1, "")), id(&event(1, ",\"event\":{\"code\":\"1\"}")));
        assert_ne!(id(&event(1, "")), id(&event(2, "")));
        assert_eq!(id("{\"a\":1}"), id("{\"a\":1}"));
        assert_ne!(id("{\"a\":1}"), id("{\"a\":2}"));
        assert_eq!(Ids::Numbered("x".to_owned()).of(7, ""), Some("x-7".to_owned()));
    }
}
