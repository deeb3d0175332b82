use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eqlipse_alerts::{Alert, BuildOptions, Match, MatchKind, MatchedEvent, build};
use eqlipse_batch::EventBatch;
use eqlipse_engine::compile::Plan;
use eqlipse_engine::correlate::{DEFAULT_SAMPLES_PER_KEY, Detection};
use eqlipse_engine::{Collector, Coverage, Matched, Matcher, correlate};
use eqlipse_events::{Discovery, OrderBy, Progress, ReadError, ReadOptions, ReadReport};
use thiserror::Error;

use crate::documents::{Documents, handle, key_json};
use crate::report::{BlindRule, HuntReport};
use crate::rule_book::RuleBook;
use crate::spool::Spool;

/// How a hunt runs.
#[derive(Clone, Debug)]
pub struct HuntOptions {
    /// Threads that decode and match.
    pub jobs: NonZeroUsize,
    /// Rows a batch.
    pub batch_rows: usize,
    /// What orders the events of Windows event logs.
    pub order_by: OrderBy,
    /// Leave out events before this time, in nanoseconds since the Unix epoch, inclusive.
    pub from: Option<i64>,
    /// Leave out events after this time, inclusive.
    pub to: Option<i64>,
    /// The most alerts of one rule, the earliest ones; the rest are counted.
    pub max_alerts: Option<usize>,
    /// Take the SHA-256 of every input.
    pub hash_inputs: bool,
    /// Set by somebody else to stop reading early; what was read is then reported as usual.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Default for HuntOptions {
    fn default() -> Self {
        Self {
            jobs: ReadOptions::default().jobs,
            batch_rows: ReadOptions::default().batch_rows,
            order_by: OrderBy::Log,
            from: None,
            to: None,
            max_alerts: None,
            hash_inputs: false,
            cancel: None,
        }
    }
}

/// Why a hunt could not be finished.
#[derive(Debug, Error)]
pub enum HuntError {
    /// The inputs could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The temporary file for matched documents failed.
    #[error("temporary file for matched events: {0} (set TMPDIR to a place with room)")]
    Spool(#[source] io::Error),
    /// A document that was decoded could not be read again.
    #[error("a matched event is not a document: {0}")]
    Document(#[source] serde_json::Error),
}

/// One thread's part of a hunt.
struct Worker {
    number: usize,
    matcher: Matcher,
    collector: Collector,
    coverage: Coverage,
    spool: Spool,
    /// The first failure to keep a document.
    failure: Option<io::Error>,
    identities: Vec<u128>,
    untimed: u64,
    rows: Vec<u32>,
}

impl Worker {
    fn new(number: usize, book: &RuleBook) -> Self {
        let rules = book.plan.rules();
        Self {
            number,
            matcher: Matcher::new(book.plan.clone()),
            collector: Collector::new(rules.clone()),
            coverage: Coverage::new(rules),
            spool: Spool::default(),
            failure: None,
            identities: Vec::new(),
            untimed: 0,
            rows: Vec::new(),
        }
    }

    fn take(&mut self, batch: &EventBatch, options: &HuntOptions) {
        self.identities.extend(batch.rows().iter().filter_map(|row| row.identity));
        self.untimed += batch.rows().iter().filter(|row| row.order.time.is_none()).count() as u64;
        let Self { matcher, collector, coverage, spool, failure, rows: kept, number, .. } = self;
        collector.start(batch);
        let in_window = |row: &u32| {
            let time = batch.rows()[*row as usize].order.time;
            options.from.is_none_or(|from| time.is_some_and(|time| time >= from))
                && options.to.is_none_or(|to| time.is_some_and(|time| time <= to))
        };
        matcher.run(batch, coverage, |stage, rows| {
            kept.clear();
            kept.extend(rows.iter().copied().filter(in_window));
            collector.add(batch, stage, kept, |row| match spool.add(|out| batch.write_source(row, out)) {
                Ok(offset) => handle(*number, offset),
                Err(error) => {
                    failure.get_or_insert(error);
                    0
                }
            });
        });
    }
}

/// Runs all rules of a book over the inputs.
///
/// # Errors
/// If an input that exists cannot be read at all, or the temporary file fails. What is damaged within an input is
/// skipped and reported.
pub fn run(
    book: &RuleBook,
    inputs: &Discovery,
    options: &HuntOptions,
    progress: &Progress,
) -> Result<HuntReport, HuntError> {
    let started = Instant::now();
    let workers: Vec<Mutex<Worker>> =
        (0..options.jobs.get()).map(|number| Mutex::new(Worker::new(number, book))).collect();
    let read_options = ReadOptions {
        jobs: options.jobs,
        batch_rows: options.batch_rows,
        order_by: options.order_by,
        hash: options.hash_inputs,
        cancel: options.cancel.as_deref(),
        ..ReadOptions::default()
    };
    let schema = book.plan.rules().schema();
    let read = eqlipse_events::read(inputs, schema, &read_options, progress, |number| {
        let worker = &workers[number];
        move |batch: &EventBatch| worker.lock().unwrap_or_else(PoisonError::into_inner).take(batch, options)
    })?;
    let workers = workers.into_iter().map(|worker| worker.into_inner().unwrap_or_else(PoisonError::into_inner));
    conclude(book, workers.collect(), inputs, read, options, started)
}

/// What follows once all events are read: correlation, alerts, the report.
fn conclude(
    book: &RuleBook,
    mut workers: Vec<Worker>,
    inputs: &Discovery,
    read: ReadReport,
    options: &HuntOptions,
    started: Instant,
) -> Result<HuntReport, HuntError> {
    if let Some(error) = workers.iter_mut().find_map(|worker| worker.failure.take()) {
        return Err(HuntError::Spool(error));
    }
    let rules = book.plan.rules();
    let duplicates = duplicates(workers.iter_mut().map(|worker| std::mem::take(&mut worker.identities)));
    let untimed = workers.iter().map(|worker| worker.untimed).sum();
    let mut coverage = Coverage::new(rules);
    workers.iter().for_each(|worker| coverage.merge(&worker.coverage));
    let (collectors, spools): (Vec<_>, Vec<_>) =
        workers.into_iter().map(|worker| (worker.collector, worker.spool)).unzip();
    let matched = Collector::merge(rules, collectors);
    let detections = correlate(rules, &matched, DEFAULT_SAMPLES_PER_KEY);
    let documents = Documents::new(spools, &matched, inputs);
    let (alerts, capped) = alerts(book, &matched, detections, documents, options)?;
    let blind = blind_rules(book, &coverage);
    Ok(HuntReport {
        alerts,
        rules: book.report.clone(),
        blind,
        problems: inputs.problems.iter().cloned().chain(read.problems).collect(),
        not_logs: read.not_logs,
        events: read.events,
        bytes: read.bytes,
        inputs: read.inputs,
        duplicates,
        untimed,
        capped,
        elapsed: started.elapsed().max(Duration::from_nanos(1)),
    })
}

/// How many identities stand more than once, each beyond the first counted.
fn duplicates(lists: impl Iterator<Item = Vec<u128>>) -> u64 {
    let mut identities: Vec<u128> = lists.flatten().collect();
    identities.sort_unstable();
    let before = identities.len();
    identities.dedup();
    (before - identities.len()) as u64
}

fn blind_rules(book: &RuleBook, coverage: &Coverage) -> Vec<BlindRule> {
    let blind = coverage.blind_rules(book.plan.rules()).into_iter();
    let mut blind: Vec<BlindRule> =
        blind.map(|(rule, reasons)| BlindRule { rule: book.rule(rule).clone(), reasons }).collect();
    blind.sort_by(|a, b| (&a.rule.name, &a.rule.rule_id).cmp(&(&b.rule.name, &b.rule.rule_id)));
    blind
}

/// Builds the alerts, sorted and each once, and counts by rule id those beyond the cap.
fn alerts(
    book: &RuleBook,
    matched: &Matched,
    detections: Vec<Detection>,
    mut documents: Documents<'_>,
    options: &HuntOptions,
) -> Result<(Vec<Alert>, BTreeMap<String, u64>), HuntError> {
    let build_options = Arc::new(BuildOptions::default());
    let mut alerts = Vec::with_capacity(detections.len());
    let mut capped = BTreeMap::new();
    for detections in detections.chunk_by(|a, b| a.rule == b.rule) {
        let most = options.max_alerts.unwrap_or(usize::MAX);
        if detections.len() > most {
            let rule = book.rule(detections[0].rule);
            capped.insert(rule.rule_id.clone(), (detections.len() - most) as u64);
        }
        for detection in detections.iter().take(most) {
            alerts.push(build(found(book, matched, detection, &mut documents)?, &build_options));
        }
    }
    eqlipse_alerts::sort(&mut alerts);
    eqlipse_alerts::remove_duplicates(&mut alerts);
    Ok((alerts, capped))
}

fn found(
    book: &RuleBook,
    matched: &Matched,
    detection: &Detection,
    documents: &mut Documents<'_>,
) -> Result<Match, HuntError> {
    let kind = match &book.plan.rules().plans()[detection.rule.0 as usize].plan {
        Plan::Event(_) => MatchKind::Event,
        Plan::Sequence(_) => MatchKind::Sequence,
        Plan::Sample(_) => MatchKind::Sample,
    };
    let events = detection
        .events
        .iter()
        .map(|event| event.map(|event| documents.get(event)).transpose())
        .collect::<Result<Vec<Option<MatchedEvent>>, HuntError>>()?;
    let keys = detection.key.map(|key| matched.keys().parts(key)).unwrap_or_default();
    Ok(Match {
        rule: book.rule(detection.rule).clone(),
        kind,
        join_keys: keys.into_iter().map(key_json).collect(),
        events,
    })
}
