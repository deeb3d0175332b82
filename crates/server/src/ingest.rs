//! `POST /ingest?index=…`: a whole file as it is.
//!
//! NDJSON, JSON arrays, search responses, Windows event logs, and archives of them, told by content as a hunt tells them.
//! Events are sent on to the store in portions, so that a large file is not in memory a second time; where memory is short
//! for a moment, the upload waits. The answer says what became of the events.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use eqlipse_control::Role;
use eqlipse_events::{Discovery, Progress, ReadOptions, ReadReport};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::elastic::{Action, Operation, take};
use crate::http::{Failure, Payload};
use crate::state::{App, Caller};

/// The data stream of events whose request names none.
const DEFAULT_INDEX: &str = "logs-upload-default";
/// A portion for the store, in bytes of documents.
const PORTION_BYTES: usize = 4 << 20;
/// And in documents.
const PORTION_DOCUMENTS: usize = 5_000;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/ingest", post(ingest))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The data stream that the events go to.
    index: Option<String>,
    /// For messages: the file's name.
    name: Option<String>,
}

/// Set when the request is given up, so that its work beside it ends too.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn ingest(
    State(app): State<App>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
    payload: Payload,
) -> Result<Response, Failure> {
    caller.require(Role::Ingest)?;
    let start = Instant::now();
    let cancel = Cancel(Arc::default());
    let cancelled = cancel.0.clone();
    let answer = app.blocking(move |app| take_file(app, &parameters, payload, &cancelled)).await;
    drop(cancel);
    let mut answer = answer?;
    answer["took"] = (start.elapsed().as_millis() as u64).into();
    Ok(Json(answer).into_response())
}

fn take_file(app: &App, parameters: &Parameters, payload: Payload, cancelled: &AtomicBool) -> Result<Value, Failure> {
    if payload.is_empty() {
        return Err(Failure::Parsing("request body is required".to_owned()));
    }
    let mut discovery = Discovery::default();
    discovery.add_memory(parameters.name.as_deref().unwrap_or("upload"), Arc::from(&payload.bytes()[..]));
    drop(payload);
    let options = ReadOptions {
        jobs: NonZeroUsize::MIN,
        max_document_bytes: app.config.limits.document_bytes.as_usize(),
        cancel: Some(cancelled),
        ..ReadOptions::default()
    };
    let index = parameters.index.as_deref().unwrap_or(DEFAULT_INDEX);
    let until = Instant::now() + app.config.limits.request_time.0;
    let mut taker = Taker {
        app,
        index,
        until,
        cancelled,
        lines: Vec::new(),
        ends: Vec::new(),
        counts: Counts::default(),
        failure: None,
    };
    let read = eqlipse_events::convert(&discovery, &options, &Progress::default(), &mut taker);
    let counts = taker.counts;
    if let Some(failure) = taker.failure {
        return Err(counts.explain(failure));
    }
    let report = read.map_err(|error| Failure::Internal(error.to_string()))?;
    answer(&report, counts)
}

/// What became of the events.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    stored: u64,
    conflicts: u64,
    refused: u64,
}

impl Counts {
    /// A file that was taken in part is not to be sent again without knowing so.
    fn explain(self, failure: Failure) -> Failure {
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

fn answer(report: &ReadReport, counts: Counts) -> Result<Value, Failure> {
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    if report.inputs.iter().all(|input| input.events == 0 && input.skipped == 0) && !problems.is_empty() {
        return Err(Failure::Parsing(problems.join("; ")));
    }
    let inputs = report.inputs.iter().map(|input| {
        let skipped = input.first_skipped.iter();
        let skipped: Vec<Value> =
            skipped.map(|record| json!({ "place": record.place, "reason": record.reason })).collect();
        json!({
            "name": input.name,
            "format": input.format,
            "events": input.events,
            "skipped": input.skipped,
            "damaged": input.damaged,
            "first_skipped": skipped,
        })
    });
    Ok(json!({
        "took": 0,
        "events": report.events,
        "stored": counts.stored,
        "conflicts": counts.conflicts,
        "refused": counts.refused,
        "skipped": report.inputs.iter().map(|input| input.skipped).sum::<u64>(),
        "inputs": inputs.collect::<Vec<_>>(),
        "problems": problems,
    }))
}

/// Takes lines, each a document, and sends portions of them to the store.
struct Taker<'a> {
    app: &'a App,
    index: &'a str,
    until: Instant,
    cancelled: &'a AtomicBool,
    lines: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    counts: Counts,
    failure: Option<Failure>,
}

impl Write for Taker<'_> {
    /// A whole line, as `convert` writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        self.ends.push(self.lines.len());
        if self.lines.len() >= PORTION_BYTES || self.ends.len() >= PORTION_DOCUMENTS {
            self.flush()?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut start = 0;
        let actions: Vec<Action<'_>> = self
            .ends
            .iter()
            .map(|end| {
                let document = &self.lines[start..*end];
                start = *end;
                Action { operation: Operation::Create, index: self.index.into(), id: None, document, unsupported: None }
            })
            .collect();
        if actions.is_empty() {
            return Ok(());
        }
        let outcomes = take_patiently(self.app, &actions, self.until, self.cancelled);
        drop(actions);
        self.lines.clear();
        self.ends.clear();
        match outcomes {
            Ok(counts) => {
                self.counts.stored += counts.stored;
                self.counts.conflicts += counts.conflicts;
                self.counts.refused += counts.refused;
                Ok(())
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::Error::other("the store takes no events"))
            }
        }
    }
}

/// Takes documents, and waits where memory is short for a moment.
fn take_patiently(
    app: &App,
    actions: &[Action<'_>],
    until: Instant,
    cancelled: &AtomicBool,
) -> Result<Counts, Failure> {
    loop {
        match take(app, actions) {
            Ok(outcomes) => {
                let mut counts = Counts::default();
                for outcome in outcomes {
                    match outcome {
                        Ok(_) => counts.stored += 1,
                        Err(error) if error.is_conflict() => counts.conflicts += 1,
                        Err(_) => counts.refused += 1,
                    }
                }
                return Ok(counts);
            }
            Err(Failure::Overloaded { .. }) if Instant::now() < until && !cancelled.load(Ordering::Relaxed) => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(failure) => return Err(failure),
        }
    }
}
