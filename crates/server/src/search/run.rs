//! Runs a search over events and alerts.
//!
//! Parts of the snapshot that cannot have a hit, by data stream or time, are left out. Of the others, every document is
//! asked, on all cores, part by part. What is kept of a hit meanwhile is its place and what it is ordered by; the
//! documents of the answer are read again at its end.

use std::cmp::Ordering;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eqlipse_control::AlertQuery;
use eqlipse_events::Window;
use eqlipse_store::{Part, PartReader, Snapshot, TimeRange};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::request::{SearchRequest, Track};
use super::target::{ALERTS_INDEX, Target};
use crate::dsl::{Collector, Document, DslError, DslErrorKind, Key, Memory, Query};
use crate::http::Failure;
use crate::state::App;

/// How many bytes of documents an answer may have.
pub const MAX_RESPONSE_BYTES: usize = 100 << 20;

/// After so many documents, the time is looked at.
const CHECK_EVERY: u32 = 64;

/// The field by whose time parts are left out.
const TIMESTAMP: &str = "@timestamp";

/// A hit of the store as it is written.
#[derive(Deserialize)]
struct StoredHit<'a> {
    #[serde(rename = "_index", borrow)]
    index: std::borrow::Cow<'a, str>,
    #[serde(rename = "_id", borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(rename = "_source", borrow)]
    source: &'a RawValue,
}

/// Where a hit is.
#[derive(Clone, Debug)]
enum Place {
    Event { part: usize, row: u32 },
    Alert(String),
}

#[derive(Clone, Debug)]
struct Candidate {
    key: Key,
    /// Its place among all documents of this search: events before alerts.
    arrival: i64,
    place: Place,
}

/// A search under way.
struct Search<'a> {
    request: &'a SearchRequest,
    target: &'a Target,
    parts: Vec<Arc<Part>>,
    deadline: Instant,
    /// Documents that passed the query, and those of them that are hits.
    passed: AtomicU64,
    total: AtomicU64,
    timed_out: AtomicBool,
    terminated: AtomicBool,
    memory: Memory,
    failures: Mutex<Vec<(String, String)>>,
}

/// What one thread has found.
struct Found {
    candidates: Vec<Candidate>,
    collector: Collector,
}

/// What a search came to.
#[derive(Debug)]
pub struct Outcome {
    /// The answer's `hits`.
    pub hits: Value,
    /// The answer's `aggregations`.
    pub aggregations: Option<Map<String, Value>>,
    /// Whether it ran out of time and this is what it had by then.
    pub timed_out: bool,
    /// Whether it ended after `terminate_after` documents.
    pub terminated: bool,
    /// Parts that could not be read: which, and why.
    pub failures: Vec<(String, String)>,
    /// How many documents are hits, as far as was counted.
    pub total: u64,
}

/// The times that a query implies, as a range of parts.
pub(super) fn time_range(query: &Query) -> TimeRange {
    let (low, high) = query.implied_times(TIMESTAMP);
    let from = low.map(|millis| millis.saturating_mul(1_000_000));
    let to = high.map(|millis| millis.saturating_mul(1_000_000).saturating_add(999_999));
    TimeRange { timestamp: Window { from, to }, ..TimeRange::default() }
}

/// Runs a search. It blocks, for at most `limit`.
///
/// # Errors
/// If a limit of memory is passed, or alerts cannot be read.
pub fn run(
    app: &App,
    snapshot: &Snapshot,
    target: &Target,
    request: &SearchRequest,
    limit: Duration,
) -> Result<Outcome, Failure> {
    let time = request.timeout.map_or(limit, |timeout| timeout.min(limit));
    let range = time_range(&request.query);
    let wanted = snapshot.parts(&range).filter(|part| part.data_stream().is_none_or(|stream| target.has(stream)));
    let parts = if target.streams.is_empty() { Vec::new() } else { wanted.cloned().collect() };
    let search = Search {
        request,
        target,
        parts,
        deadline: Instant::now() + time,
        passed: AtomicU64::new(0),
        total: AtomicU64::new(0),
        timed_out: AtomicBool::new(false),
        terminated: AtomicBool::new(false),
        memory: Memory::default(),
        failures: Mutex::default(),
    };
    let mut found = search.events()?;
    if target.alerts {
        search.alerts(app, &mut found)?;
    }
    search.finish(app, found)
}

impl Search<'_> {
    fn new_found(&self) -> Found {
        Found { candidates: Vec::new(), collector: self.request.aggregations.collector() }
    }

    fn reach(&self) -> usize {
        self.request.from + self.request.size
    }

    /// Whether nothing of a document need be known but that it is there.
    fn only_counts(&self) -> bool {
        let request = self.request;
        request.query.is_all() && request.post_filter.is_none() && request.aggregations.is_empty() && self.reach() == 0
    }

    /// Whether later documents can change nothing once there are enough.
    fn may_stop(&self) -> bool {
        let request = self.request;
        request.sort.is_indifferent()
            && request.after.is_none()
            && request.aggregations.is_empty()
            && request.track != Track::All
    }

    fn has_enough(&self, found: &Found) -> bool {
        let counted = match self.request.track {
            Track::Nothing => true,
            Track::Up(count) => self.total.load(Atomic::Relaxed) > count,
            Track::All => false,
        };
        self.may_stop() && counted && found.candidates.len() >= self.reach()
    }

    fn is_over(&self) -> bool {
        self.timed_out.load(Atomic::Relaxed) || self.terminated.load(Atomic::Relaxed)
    }

    fn look_at_time(&self) {
        if Instant::now() >= self.deadline {
            self.timed_out.store(true, Atomic::Relaxed);
        }
    }

    /// Goes through the events, part by part on all cores.
    fn events(&self) -> Result<Found, Failure> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Where the first hits are enough, a few parts at a time.
        let step = if self.may_stop() { threads } else { self.parts.len().max(1) };
        let mut all = self.new_found();
        let mut start = 0;
        while start < self.parts.len() && !self.is_over() && !self.has_enough(&all) {
            let end = (start + step).min(self.parts.len());
            self.stretch(start..end, threads, &mut all)?;
            start = end;
        }
        Ok(all)
    }

    fn stretch(&self, parts: std::ops::Range<usize>, threads: usize, all: &mut Found) -> Result<(), Failure> {
        let next = AtomicUsize::new(parts.start);
        let work = || {
            let mut found = self.new_found();
            loop {
                let part = next.fetch_add(1, Atomic::Relaxed);
                if part >= parts.end || self.is_over() {
                    return Ok(found);
                }
                self.part(part, &mut found)?;
            }
        };
        let results: Vec<Result<Found, DslError>> = if threads.min(parts.len()) <= 1 {
            vec![work()]
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads.min(parts.len())).map(|_| scope.spawn(work)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        for found in results {
            let found = found?;
            all.collector.merge(&self.request.aggregations, found.collector);
            all.candidates.extend(found.candidates);
        }
        self.cut(&mut all.candidates);
        Ok(())
    }

    fn part(&self, number: usize, found: &mut Found) -> Result<(), DslError> {
        let part = &self.parts[number];
        if self.only_counts() && part.data_stream().is_some() {
            self.passed.fetch_add(part.rows().into(), Atomic::Relaxed);
            self.total.fetch_add(part.rows().into(), Atomic::Relaxed);
            return Ok(());
        }
        let mut reader = match part.reader() {
            Ok(reader) => reader,
            Err(error) => {
                self.failed(part.data_stream().unwrap_or_default(), &error.to_string());
                return Ok(());
            }
        };
        let numbers = match self.request.sort.is_by_number().then(|| part.sequences()).transpose() {
            Ok(numbers) => numbers,
            Err(error) => {
                self.failed(part.data_stream().unwrap_or_default(), &error.to_string());
                return Ok(());
            }
        };
        let mut hit = Vec::new();
        for row in 0..part.rows() {
            if row.is_multiple_of(CHECK_EVERY) {
                self.look_at_time();
                if self.is_over() {
                    break;
                }
            }
            hit.clear();
            if let Err(error) = reader.write_hit(row, &mut hit) {
                self.failed(part.data_stream().unwrap_or_default(), &error.to_string());
                break;
            }
            let Ok(stored) = serde_json::from_slice::<StoredHit<'_>>(&hit) else { continue };
            if !self.target.all_streams && !self.target.has(&stored.index) {
                continue;
            }
            let Ok(source) = serde_json::from_str::<Map<String, Value>>(stored.source.get()) else { continue };
            let document = Document { index: &stored.index, id: &stored.id, source: &source };
            let arrival = (number as i64) << 32 | i64::from(row);
            let kept = numbers.as_ref().and_then(|numbers| i64::try_from(numbers.of(row)?).ok()).unwrap_or(0);
            self.document(&document, (arrival, kept), || Place::Event { part: number, row }, found)?;
        }
        Ok(())
    }

    fn failed(&self, index: &str, reason: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < 16 {
            failures.push((index.to_owned(), reason.to_owned()));
        }
    }

    /// Takes a document in, with its place in this search and the number that it keeps.
    fn document(
        &self,
        document: &Document<'_>,
        (arrival, number): (i64, i64),
        place: impl FnOnce() -> Place,
        found: &mut Found,
    ) -> Result<(), DslError> {
        let request = self.request;
        if !request.query.matches(document) {
            return Ok(());
        }
        let passed = self.passed.fetch_add(1, Atomic::Relaxed) + 1;
        if request.terminate_after.is_some_and(|limit| passed > limit) {
            self.terminated.store(true, Atomic::Relaxed);
            return Ok(());
        }
        found.collector.add(&request.aggregations, document, &self.memory)?;
        if request.post_filter.as_ref().is_some_and(|filter| !filter.matches(document)) {
            return Ok(());
        }
        self.total.fetch_add(1, Atomic::Relaxed);
        if self.reach() == 0 {
            return Ok(());
        }
        let key = request.sort.key(document, number);
        if request.after.as_ref().is_some_and(|after| request.sort.compare(&key, after) != Ordering::Greater) {
            return Ok(());
        }
        found.candidates.push(Candidate { key, arrival, place: place() });
        if found.candidates.len() >= self.reach() * 2 + 1024 {
            self.cut(&mut found.candidates);
        }
        Ok(())
    }

    /// Keeps the best.
    fn cut(&self, candidates: &mut Vec<Candidate>) {
        let sort = &self.request.sort;
        candidates.sort_by(|a, b| sort.compare(&a.key, &b.key).then(a.arrival.cmp(&b.arrival)));
        candidates.truncate(self.reach());
    }

    fn alerts(&self, app: &App, found: &mut Found) -> Result<(), Failure> {
        let query = AlertQuery { include_building_blocks: true, ..AlertQuery::default() };
        let mut arrival = (self.parts.len() as i64) << 32;
        let mut seen = 0u32;
        let mut problem = None;
        app.control.for_each_alert(&query, &mut |id, source| {
            if seen.is_multiple_of(CHECK_EVERY) {
                self.look_at_time();
            }
            seen += 1;
            if self.is_over() {
                return ControlFlow::Break(());
            }
            let document = Document { index: ALERTS_INDEX, id, source: &source };
            arrival += 1;
            match self.document(&document, (arrival, alert_number(id)), || Place::Alert(id.to_owned()), found) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    problem = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        problem.map_or(Ok(()), |error| Err(error.into()))
    }

    fn finish(self, app: &App, mut found: Found) -> Result<Outcome, Failure> {
        self.cut(&mut found.candidates);
        let request = self.request;
        let hits = self.hits(app, found.candidates.get(request.from..).unwrap_or_default())?;
        let mut total = self.total.load(Atomic::Relaxed);
        let mut answer = Map::new();
        let mut relation = "eq";
        if let Track::Up(limit) = request.track
            && total > limit
        {
            (total, relation) = (limit, "gte");
        }
        if request.total_as_int {
            let total = if request.track == Track::Nothing { Value::from(-1) } else { total.into() };
            answer.insert("total".to_owned(), total);
        } else if request.track != Track::Nothing {
            answer.insert("total".to_owned(), json!({ "value": total, "relation": relation }));
        }
        let has_highest = (request.sort.begins_with_scores() || request.track_scores) && !hits.is_empty();
        answer.insert("max_score".to_owned(), if has_highest { json!(1.0) } else { Value::Null });
        answer.insert("hits".to_owned(), hits.into());
        let aggregations = (!request.aggregations.is_empty())
            .then(|| request.aggregations.render(found.collector, request.typed_keys));
        Ok(Outcome {
            hits: Value::Object(answer),
            aggregations: aggregations.transpose()?,
            timed_out: self.timed_out.into_inner(),
            terminated: self.terminated.into_inner(),
            failures: self.failures.into_inner().unwrap_or_else(PoisonError::into_inner),
            total,
        })
    }

    /// The hits of candidates, in their order. Documents are read part by part; an alert that is gone by now is left out.
    fn hits(&self, app: &App, candidates: &[Candidate]) -> Result<Vec<Value>, Failure> {
        let mut places: Vec<usize> = (0..candidates.len()).collect();
        places.sort_by_key(|place| candidates[*place].arrival);
        let mut hits: Vec<Option<Value>> = vec![None; candidates.len()];
        let (mut bytes, mut buffer) = (0, Vec::new());
        let mut open: Option<(usize, PartReader<'_>)> = None;
        for place in places {
            let candidate = &candidates[place];
            let read = match &candidate.place {
                Place::Event { part, row } => {
                    let reader = match &mut open {
                        Some((number, reader)) if number == part => reader,
                        other => &mut other.insert((*part, self.parts[*part].reader()?)).1,
                    };
                    buffer.clear();
                    reader.write_hit(*row, &mut buffer)?;
                    bytes += buffer.len();
                    Some(document(&buffer)?)
                }
                Place::Alert(id) => alert(app, id, &mut bytes)?,
            };
            if bytes > MAX_RESPONSE_BYTES {
                let reason = format!(
                    "[request] Data too large: the answer would be larger than the limit of [{MAX_RESPONSE_BYTES}] bytes; \
                     ask for fewer hits"
                );
                return Err(DslError { kind: DslErrorKind::CircuitBreaking, reason }.into());
            }
            hits[place] = read.map(|(index, id, source)| self.shown(&index, &id, source, &candidate.key));
        }
        Ok(hits.into_iter().flatten().collect())
    }

    fn shown(&self, index: &str, id: &str, source: Map<String, Value>, key: &Key) -> Value {
        let request = self.request;
        let mut hit = Map::new();
        hit.insert("_index".to_owned(), index.into());
        hit.insert("_id".to_owned(), id.into());
        if request.version {
            hit.insert("_version".to_owned(), 1.into());
        }
        let has_score = request.sort.has_scores() || request.track_scores;
        hit.insert("_score".to_owned(), if has_score { json!(1.0) } else { Value::Null });
        let document = Document { index, id, source: &source };
        let fields = request.fields.of(&document);
        let mut names = Vec::new();
        [Some(&request.query), request.post_filter.as_ref()]
            .into_iter()
            .flatten()
            .for_each(|query| query.names_of(&document, &mut names));
        if let Some(source) = request.source.apply(source) {
            hit.insert("_source".to_owned(), Value::Object(source));
        }
        if let Some(fields) = fields {
            hit.insert("fields".to_owned(), Value::Object(fields));
        }
        if !request.sort.is_empty() {
            hit.insert("sort".to_owned(), request.sort.json(key));
        }
        if !names.is_empty() {
            hit.insert("matched_queries".to_owned(), names.into());
        }
        Value::Object(hit)
    }
}

/// A number that an alert keeps, behind those of all events; JavaScript has it exactly.
fn alert_number(id: &str) -> i64 {
    const BITS: u32 = 52;
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
    1 << BITS | (hash >> (u64::BITS - BITS)) as i64
}

/// Index, id and document.
type Read = (String, String, Map<String, Value>);

/// Takes a hit apart as the store writes it.
fn document(hit: &[u8]) -> Result<Read, Failure> {
    let damaged = |error: serde_json::Error| Failure::Internal(format!("a stored event is no document: {error}"));
    let stored: StoredHit<'_> = serde_json::from_slice(hit).map_err(damaged)?;
    let source = serde_json::from_str(stored.source.get()).map_err(damaged)?;
    Ok((stored.index.into_owned(), stored.id.into_owned(), source))
}

/// The same of an alert; none if it is gone.
fn alert(app: &App, id: &str, bytes: &mut usize) -> Result<Option<Read>, Failure> {
    let query = AlertQuery { ids: Some(vec![id.to_owned()]), include_building_blocks: true, ..AlertQuery::default() };
    let mut read = None;
    app.control.for_each_alert(&query, &mut |id, source| {
        // An alert has some 130 fields and 10 KiB; what an event brought along is bounded by the length of documents.
        *bytes += source.iter().map(|(key, value)| key.len() + value.as_str().map_or(32, str::len)).sum::<usize>();
        read = Some((ALERTS_INDEX.to_owned(), id.to_owned(), source));
        ControlFlow::Break(())
    })?;
    Ok(read)
}
