//! `POST /ingest?index=…`: a whole file as it is.
//!
//! NDJSON, JSON arrays, search responses, Windows event logs, and archives of them, told by content as a hunt tells them.
//! Events are sent on to the store in portions, so that a large file is not in memory a second time; where memory is short
//! for a moment, the upload waits. The answer says what became of the events.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use eqlipse_events::{Discovery, Progress, ReadOptions, ReadReport};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::{Events, Failure, Payload};
use crate::metrics::DocumentResult;
use crate::openapi::{EQLIPSE, schemas};
use crate::portions::{Counts, Ids, Portions, Target};
use crate::state::{App, Caller, StopOnDrop};

/// The data stream of events whose request names none.
const DEFAULT_INDEX: &str = "logs-upload-default";

/// The memory that unpacking an upload may take beside its body, if that is not longer; `xz -9` needs 65 MiB.
const UNPACK_BYTES: u64 = 72 << 20;

/// Uploads that are read at a time. The others wait in line: each may take long, and memory to be unpacked.
pub(crate) const UPLOADS: usize = 4;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ingest))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The data stream that the events go to.
    index: Option<String>,
    /// For messages: the file's name.
    name: Option<String>,
}

/// Takes a whole file of events: EVTX, NDJSON, JSON, packed or not.
#[utoipa::path(
    post, path = "/ingest", tag = EQLIPSE,
    params(Parameters),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "What became of the events", body = schemas::IngestReply)),
)]
async fn ingest(
    State(app): State<App>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
    Events(payload): Events,
) -> Result<Response, Failure> {
    let start = Instant::now();
    let cancel = StopOnDrop(Arc::default());
    let cancelled = cancel.0.clone();
    let answer = app.upload(move |app| take_file(app, caller, &parameters, payload, &cancelled)).await;
    drop(cancel);
    let mut answer = answer?;
    answer["took"] = (start.elapsed().as_millis() as u64).into();
    Ok(Json(answer).into_response())
}

fn take_file(
    app: &App,
    caller: Caller,
    parameters: &Parameters,
    payload: Payload,
    cancelled: &AtomicBool,
) -> Result<Value, Failure> {
    if payload.is_empty() {
        return Err(Failure::Parsing("request body is required".to_owned()));
    }
    let mut discovery = Discovery::default();
    // It counts as a body until it is read.
    discovery.add_held(parameters.name.as_deref().unwrap_or("upload"), payload);
    let options = ReadOptions {
        jobs: NonZeroUsize::MIN,
        max_document_bytes: app.config.limits.document_bytes.as_usize(),
        max_unpack_bytes: UNPACK_BYTES.max(app.config.limits.request_bytes.0),
        cancel: Some(cancelled),
        ..ReadOptions::default()
    };
    let until = Instant::now() + app.config.limits.request_time.0;
    let (index, fallback) = (parameters.index.clone(), DEFAULT_INDEX.to_owned());
    let target = Target { index, fallback, ids: Ids::New, caller: Some(caller) };
    let mut portions = Portions::new(app, target, Some(until), cancelled);
    let read = eqlipse_events::convert_hits(&discovery, &options, &Progress::default(), &mut |hit| portions.add(hit));
    // What was read before something went wrong is taken too.
    let sent = portions.send();
    let counts = portions.counts;
    if let Some(failure) = portions.failure {
        return Err(counts.explain(failure));
    }
    sent.map_err(|error| Failure::Internal(error.to_string()))?;
    let report = read.map_err(|error| Failure::Internal(error.to_string()))?;
    app.metrics.documents(DocumentResult::Refused, skipped(&report));
    answer(&report, counts)
}

fn skipped(report: &ReadReport) -> u64 {
    report.inputs.iter().map(|input| input.skipped).sum()
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
        "skipped": skipped(report),
        "inputs": inputs.collect::<Vec<_>>(),
        "problems": problems,
    }))
}
