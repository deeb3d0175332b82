use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use eqlipse_alerts::{Alert, BuildOptions, Match, MatchKind, build};
use eqlipse_engine::Coverage;
use eqlipse_engine::compile::Plan;
use eqlipse_engine::correlate::{CorrelateOptions, Detection};
use eqlipse_events::{AgainError, Discovery, OrderBy, Progress, ReadError, ReadOptions, Window};
use eqlipse_rules::on_threads;
use thiserror::Error;

use crate::documents::Documents;
use crate::gather::{Gathered, gather};
use crate::report::{BlindRule, HuntReport};
use crate::rule_book::RuleBook;

/// How a hunt runs.
#[derive(Clone, Debug)]
pub struct HuntOptions {
    /// Threads that decode and match.
    pub jobs: NonZeroUsize,
    /// The most memory, in bytes, for what grows with the input: the matched rows of sequences and samples, which go to
    /// a temporary file beyond it.
    pub memory_limit: usize,
    /// Rows a batch.
    pub batch_rows: usize,
    /// What orders the events of Windows event logs.
    pub order_by: OrderBy,
    /// Events of other times are left out.
    pub window: Window,
    /// The most alerts of one rule, the earliest ones; the rest are counted.
    pub max_alerts: Option<usize>,
    /// Take the SHA-256 of every input.
    pub hash_inputs: bool,
    /// Set by somebody else to stop reading early; what was read is then reported as usual.
    pub cancel: Option<Arc<AtomicBool>>,
}

/// [`HuntOptions::memory_limit`] where nothing is said.
pub const DEFAULT_MEMORY_LIMIT: usize = 64 << 20;

impl Default for HuntOptions {
    fn default() -> Self {
        Self {
            jobs: ReadOptions::default().jobs,
            memory_limit: DEFAULT_MEMORY_LIMIT,
            batch_rows: ReadOptions::default().batch_rows,
            order_by: OrderBy::Log,
            window: Window::default(),
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
    /// An event's file could not be read again.
    #[error(transparent)]
    Again(#[from] AgainError),
    /// A document that was decoded could not be read again.
    #[error("a matched event is not a document: {0}")]
    Document(#[source] serde_json::Error),
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
    let correlate_options = CorrelateOptions { end: options.window.to, ..CorrelateOptions::default() };
    let gathered = gather(&book.plan, inputs, options, &correlate_options, progress)?;
    conclude(book, gathered, inputs, options, started)
}

/// What follows once the rules are through: alerts, the report.
fn conclude(
    book: &RuleBook,
    gathered: Gathered<'_>,
    inputs: &Discovery,
    options: &HuntOptions,
    started: Instant,
) -> Result<HuntReport, HuntError> {
    let Gathered { detections, documents, coverage, read, duplicates, untimed, .. } = gathered;
    let (alerts, capped) = alerts(book, detections, documents, options)?;
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
        outside: read.outside,
        duplicates,
        untimed,
        capped,
        elapsed: started.elapsed().max(Duration::from_nanos(1)),
    })
}

fn blind_rules(book: &RuleBook, coverage: &Coverage) -> Vec<BlindRule> {
    let blind = coverage.blind_rules(book.plan.rules()).into_iter();
    let mut blind: Vec<BlindRule> =
        blind.map(|(rule, reasons)| BlindRule { rule: book.rule(rule).clone(), reasons }).collect();
    blind.sort_by(|a, b| (&a.rule.name, &a.rule.rule_id).cmp(&(&b.rule.name, &b.rule.rule_id)));
    blind
}

/// Alerts are built of so many detections at a time, so that their events need not all stand in memory twice.
const BUILT_AT_A_TIME: usize = 4_096;

/// Builds the alerts, sorted and each once, and counts by rule id those beyond the cap.
fn alerts(
    book: &RuleBook,
    mut detections: Vec<Detection>,
    mut documents: Documents<'_>,
    options: &HuntOptions,
) -> Result<(Vec<Alert>, BTreeMap<String, u64>), HuntError> {
    let capped = cap(book, &mut detections, options.max_alerts);
    let mut alerts = Vec::with_capacity(detections.len());
    for detections in detections.chunks(BUILT_AT_A_TIME) {
        documents.fetch_ahead(detections, options.jobs.get())?;
        alerts.extend(build_all(book, detections, &documents, options.jobs.get()));
    }
    eqlipse_alerts::sort(&mut alerts);
    eqlipse_alerts::remove_duplicates(&mut alerts);
    Ok((alerts, capped))
}

/// Drops each rule's detections beyond the cap, and counts them by rule id.
fn cap(book: &RuleBook, detections: &mut Vec<Detection>, most: Option<usize>) -> BTreeMap<String, u64> {
    let Some(most) = most else { return BTreeMap::new() };
    let (mut capped, mut rule, mut count) = (BTreeMap::new(), None, 0);
    detections.retain(|detection| {
        count = if rule == Some(detection.rule) { count + 1 } else { 1 };
        rule = Some(detection.rule);
        if count > most {
            *capped.entry(book.rule(detection.rule).rule_id.clone()).or_default() += 1;
        }
        count <= most
    });
    capped
}

/// The alerts of detections whose events were fetched, on so many threads.
fn build_all(book: &RuleBook, detections: &[Detection], documents: &Documents<'_>, jobs: usize) -> Vec<Alert> {
    let options = Arc::new(BuildOptions::default());
    let build_one = |detection: &Detection| {
        let kind = match_kind(&book.plan.rules().plans()[detection.rule.0 as usize].plan);
        let (rule, join_keys) = (book.rule(detection.rule).clone(), documents.join_keys(detection));
        build(Match { rule, kind, join_keys, events: documents.fetched(detection) }, &options)
    };
    on_threads(jobs, detections, build_one)
}

/// What sort of match a plan gives.
pub fn match_kind(plan: &Plan) -> MatchKind {
    match plan {
        Plan::Event(_) => MatchKind::Event,
        Plan::Sequence(_) => MatchKind::Sequence,
        Plan::Sample(_) => MatchKind::Sample,
    }
}
