//! `_eql/search`: EQL over events and alerts, with the hunt's engine.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eqlipse_alerts::{MatchKind, MatchedEvent};
use eqlipse_control::{AlertQuery, Role};
use eqlipse_eql::Diagnostic;
use eqlipse_events::{Discovery, Progress, Window};
use eqlipse_hunt::{
    CompiledQuery, HuntOptions, QueryOptions, QueryReport, QueryResult, QueryRun, ResultPosition, run_query,
};
use eqlipse_store::{Snapshot, TimeRange};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::kept::{Answer, KEEP_ALIVE, Running, still_running};
use super::request::duration;
use super::run::time_range;
use super::{ALERTS_INDEX, Known, MAX_RESULT_WINDOW, Options, Params, Target};
use crate::dsl::{Document, DslError, DslErrorKind, FieldsToShow, Query, count, did_you_mean, flag};
use crate::http::{Failure, Payload};
use crate::openapi::bodies::EqlBody;
use crate::openapi::{ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// How many bytes of events a `filter` may let through, and how many bytes of alerts a query may read.
pub const MAX_FILTERED_BYTES: usize = 256 << 20;

/// The field by which the reader of events knows alerts, to leave them out of hunts. A query that asks for alerts is given
/// them without it; it stands in the answer again, and is the document's id.
const ALERT_ID: &str = "kibana.alert.uuid";

const KNOWN: [&str; 20] = [
    "query",
    "filter",
    "size",
    "fetch_size",
    "event_category_field",
    "timestamp_field",
    "tiebreaker_field",
    "case_sensitive",
    "result_position",
    "fields",
    "max_samples_per_key",
    "keep_alive",
    "keep_on_completion",
    "wait_for_completion_timeout",
    "allow_partial_search_results",
    "allow_partial_sequence_results",
    "runtime_mappings",
    "ccs_minimize_roundtrips",
    "project_routing",
    "index_filter",
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(search)).routes(routes!(kept, delete)).routes(routes!(status))
}

/// Gives what a kept search found, once it has ended or `wait_for_completion_timeout` has passed.
#[utoipa::path(
    get, path = "/_eql/search/{id}", tag = ELASTICSEARCH,
    params(("id" = String, Path, description = "The search's id"), schemas::KeptSearchParams),
    responses((status = 200, description = "What was found, or that it still runs", body = schemas::EqlReply)),
)]
async fn kept(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&["keep_alive", "wait_for_completion_timeout"])?;
    let keeping = Keeping::read(&Map::new(), &params)?;
    let keep_alive = params.get("keep_alive").map(|_| keeping.keep_alive);
    let mut seen = app.searches.see(&id, caller.name(), keep_alive, now_millis())?;
    match keeping.wait_for(&mut seen.answer).await {
        Some(answer) => with_id(answer?, &id),
        None => Ok(Json(still_running(&id, seen.started, now_millis()))),
    }
}

/// Ends a search and forgets what it found.
#[utoipa::path(
    delete, path = "/_eql/search/{id}", tag = ELASTICSEARCH,
    params(("id" = String, Path, description = "The search's id")),
    responses((status = 200, description = "It is gone", body = schemas::Acknowledged)),
)]
async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.searches.delete(&id, caller.name(), now_millis())?;
    Ok(Json(json!({ "acknowledged": true })))
}

/// Says how far a kept search is.
#[utoipa::path(
    get, path = "/_eql/search/status/{id}", tag = ELASTICSEARCH,
    params(("id" = String, Path, description = "The search's id")),
    responses((status = 200, description = "Whether it runs, and until when it is kept", body = schemas::EqlStatus)),
)]
async fn status(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    let seen = app.searches.see(&id, caller.name(), None, now_millis())?;
    let mut status = json!({ "id": id, "expiration_time_in_millis": seen.expires });
    match &*seen.answer.borrow() {
        None => {
            status["is_running"] = true.into();
            status["is_partial"] = true.into();
            status["start_time_in_millis"] = seen.started.into();
        }
        Some(answer) => {
            status["is_running"] = false.into();
            status["is_partial"] = answer.as_ref().map_or(true.into(), |answer| answer["is_partial"].clone());
            status["completion_status"] =
                answer.as_ref().map_or_else(|failure| failure.status().as_u16(), |_| 200).into();
        }
    }
    Ok(Json(status))
}

fn now_millis() -> i64 {
    crate::now().div_euclid(1_000_000)
}

fn with_id(mut answer: Value, id: &str) -> Result<Json<Value>, Failure> {
    answer["id"] = id.into();
    Ok(Json(answer))
}

/// How long a search is waited for, and how long it is kept.
struct Keeping {
    wait: Duration,
    on_completion: bool,
    keep_alive: Duration,
}

impl Keeping {
    /// Reads it; what the URL says counts.
    fn read(body: &Map<String, Value>, params: &Params) -> Result<Self, Failure> {
        let value = |name: &str| {
            let own = body.get(name).filter(|value| !value.is_null()).cloned();
            params.get(name).map(Value::from).or(own)
        };
        let time = |name: &str| value(name).map(|value| duration(&value, name)).transpose();
        Ok(Self {
            wait: time("wait_for_completion_timeout")?.unwrap_or(Duration::MAX),
            on_completion: match params.flag("keep_on_completion")? {
                Some(keeps) => keeps,
                None => value("keep_on_completion").map_or(Ok(false), |value| flag(&value, "keep_on_completion"))?,
            },
            keep_alive: time("keep_alive")?.unwrap_or(KEEP_ALIVE),
        })
    }

    /// What a search came to, if it comes to it in time.
    async fn wait_for(&self, answer: &mut watch::Receiver<Answer>) -> Option<Result<Value, Failure>> {
        if self.wait.is_zero() {
            return None;
        }
        let ended = answer.wait_for(Option::is_some);
        let lost = || Failure::Internal("internal error, please report it: a search without an answer".to_owned());
        match tokio::time::timeout(self.wait, ended).await {
            Ok(Ok(answer)) => answer.clone().or_else(|| Some(Err(lost()))),
            Ok(Err(_)) => Some(Err(lost())),
            Err(_) => None,
        }
    }
}

/// Begins a search. It ends when it is dropped, and after `limits.query_time`.
fn begin(app: &App, index: String, options: Options, request: Request) -> Running {
    let (sender, answer) = watch::channel(None);
    let id = Uuid::new_v4().simple().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let (app, own_id, seen, timer) = (app.clone(), id.clone(), stop.clone(), stop.clone());
    tokio::spawn(async move {
        let limit = app.config.limits.query_time.0;
        let to = sender.clone();
        let work = app.blocking(move |app| {
            app.searches.end(&own_id, run(app, &index, options, request, &seen), &to, now_millis());
            Ok(())
        });
        tokio::pin!(work);
        let ended = tokio::select! {
            ended = &mut work => ended,
            () = tokio::time::sleep(limit) => {
                timer.store(true, Ordering::Relaxed);
                work.await
            }
        };
        if let Err(failure) = ended {
            sender.send_replace(Some(Err(failure)));
        }
    });
    Running { id, answer, stop, started: now_millis() }
}

/// What an EQL search asks for.
struct Request {
    text: String,
    options: QueryOptions,
    filter: Query,
    fields: FieldsToShow,
    /// What was found is the answer also where the time was over before all was read, or a part cannot be read.
    allows_partial: bool,
    /// Sequences are part of such an answer, though an event that was not read might change them.
    partial_sequences: bool,
}

impl Request {
    fn parse(body: &Map<String, Value>, now: i64) -> Result<Self, DslError> {
        let mut request = Self {
            text: String::new(),
            options: QueryOptions::default(),
            filter: Query::All,
            fields: FieldsToShow::default(),
            allows_partial: true,
            partial_sequences: false,
        };
        let text = |value: &Value, name: &str| {
            let bad = || DslError::parsing(format!("[eql/search] [{name}] must be a text, found [{value}]"));
            value.as_str().map(str::to_owned).ok_or_else(bad)
        };
        for (key, value) in body {
            match key.as_str() {
                "query" => request.text = text(value, key)?,
                "filter" => request.filter = Query::parse(value, now.div_euclid(1_000_000))?,
                "size" => request.options.size = Some(size(value)?),
                "fetch_size" if count(value, key)? < 2 => {
                    return Err(DslError::argument("fetch size must be greater than 1"));
                }
                "event_category_field" => request.options.event_category_field = text(value, key)?,
                "timestamp_field" => request.options.timestamp_field = text(value, key)?,
                "tiebreaker_field" => request.options.tiebreaker_field = Some(text(value, key)?),
                "case_sensitive" => request.options.case_insensitive = !flag(value, key)?,
                "result_position" => request.options.result_position = position(value)?,
                "max_samples_per_key" => {
                    request.options.max_samples_per_key = count(value, key)?;
                    if request.options.max_samples_per_key == 0 {
                        return Err(DslError::argument("max_samples_per_key must be greater than 0"));
                    }
                }
                "fields" => request.fields = FieldsToShow::parse(value)?,
                "allow_partial_search_results" => request.allows_partial = flag(value, key)?,
                "allow_partial_sequence_results" => request.partial_sequences = flag(value, key)?,
                "runtime_mappings" | "index_filter" if value.as_object().is_some_and(|map| !map.is_empty()) => {
                    return Err(DslError::argument(format!("[{key}] is not supported")));
                }
                known if KNOWN.contains(&known) => {}
                other => {
                    let reason = format!("[eql/search] unknown field [{other}]{}", did_you_mean(other, &KNOWN));
                    return Err(DslError::parsing(reason));
                }
            }
        }
        if request.text.trim().is_empty() {
            return Err(DslError::argument("query is null or empty"));
        }
        Ok(request)
    }
}

fn size(value: &Value) -> Result<u64, DslError> {
    let size = count(value, "size")?;
    if size > MAX_RESULT_WINDOW {
        return Err(DslError::argument(format!(
            "[size] is {size}, and the limit is [{MAX_RESULT_WINDOW}] (index.max_result_window)"
        )));
    }
    Ok(size as u64)
}

fn position(value: &Value) -> Result<ResultPosition, DslError> {
    match value.as_str() {
        Some("head") => Ok(ResultPosition::Head),
        Some("tail") => Ok(ResultPosition::Tail),
        _ => Err(DslError::argument(format!("result position [{value}] must be [head] or [tail]"))),
    }
}

/// Finds events, sequences and samples by the Event Query Language.
#[utoipa::path(
    method(post, get), path = "/{index}/_eql/search", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::IndexOptions, schemas::EqlParams),
    request_body = EqlBody,
    responses((status = 200, description = "What was found", body = schemas::EqlReply)),
)]
async fn search(
    State(app): State<App>,
    caller: Caller,
    Path(index): Path<String>,
    params: Params,
    body: Payload,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&[
        "allow_no_indices",
        "allow_partial_search_results",
        "allow_partial_sequence_results",
        "ccs_minimize_roundtrips",
        "expand_wildcards",
        "ignore_unavailable",
        "keep_alive",
        "keep_on_completion",
        "wait_for_completion_timeout",
    ])?;
    let options = Options::over(Options { ignore_unavailable: true, ..Options::default() }, &params)?;
    let (request, keeping) = app
        .blocking(move |_| {
            let body: Map<String, Value> = body.json()?;
            let mut request = Request::parse(&body, crate::now())?;
            let said = |name: &str, default| Ok::<_, Failure>(params.flag(name)?.unwrap_or(default));
            request.allows_partial = said("allow_partial_search_results", request.allows_partial)?;
            request.partial_sequences = said("allow_partial_sequence_results", request.partial_sequences)?;
            Ok((request, Keeping::read(&body, &params)?))
        })
        .await?;
    let mut search = begin(&app, index, options, request);
    let answer = keeping.wait_for(&mut search.answer).await.transpose()?;
    match answer {
        Some(answer) if !keeping.on_completion => Ok(Json(answer)),
        answer => {
            let (id, started) = (search.id.clone(), search.started);
            app.searches.keep(caller.name(), search, keeping.keep_alive, now_millis())?;
            answer.map_or_else(|| Ok(Json(still_running(&id, started, now_millis()))), |answer| with_id(answer, &id))
        }
    }
}

fn run(app: &App, index: &str, options: Options, request: Request, stop: &Arc<AtomicBool>) -> Result<Value, Failure> {
    let start = Instant::now();
    let snapshot = app.store.snapshot();
    let target = Target::resolve(index, &Known::of(app, &snapshot), options)?;
    if target.is_empty() {
        return Err(super::target::not_found(&format!("Unknown index [{index}]")));
    }
    let mut query_options = request.options.clone();
    query_options.index = target.streams.clone();
    if target.alerts {
        query_options.index.push(ALERTS_INDEX.to_owned());
    }
    let query = CompiledQuery::eql(&request.text, &query_options)
        .map_err(|errors| refused(&request.text, &query_options, &errors))?;
    let range = time_range(&request.filter);
    let input = inputs(app, &snapshot, &target, &request.filter, &range, stop)?;
    let hunt = HuntOptions {
        memory_limit: app.config.limits.query_memory.as_usize(),
        window: input.window,
        cancel: Some(stop.clone()),
        ..HuntOptions::default()
    };
    // The snapshot lives until the query has read its last event: segments that are removed meanwhile stay until then.
    let progress = Progress::default();
    let mut found =
        run_query(&query, &input.discovery, &hunt, &progress).map_err(|error| Failure::Internal(error.to_string()))?;
    let mut hits = hits(&mut found, &request.fields)?;
    let timed_out = stop.load(Ordering::Relaxed);
    let problems = problems(found.report());
    let is_partial = timed_out || !problems.is_empty();
    if !request.allows_partial {
        super::whole(timed_out, &problems.iter().map(|reason| (String::new(), reason.clone())).collect::<Vec<_>>())?;
    }
    if is_partial && found.report().kind == MatchKind::Sequence && !request.partial_sequences {
        hits = json!({ "total": { "value": 0, "relation": "eq" }, "sequences": [] });
    }
    drop(snapshot);
    let mut answer = json!({
        "is_partial": is_partial,
        "is_running": false,
        "took": super::millis_since(start),
        "timed_out": timed_out,
        "hits": hits,
    });
    if !problems.is_empty() {
        let failure = |reason: String| json!({ "shard": 0, "reason": { "type": super::CORRUPT, "reason": reason } });
        answer["shard_failures"] = problems.into_iter().map(failure).collect();
    }
    Ok(answer)
}

/// What could not be read: inputs that gave no events, and those that did not give all.
fn problems(report: &QueryReport) -> Vec<String> {
    let whole = report.problems.iter().map(ToString::to_string);
    let in_part = report.inputs.iter().flat_map(|input| {
        input.first_skipped.first().map(|skipped| format!("{}: {}: {}", input.name, skipped.place, skipped.reason))
    });
    whole.chain(in_part).collect()
}

/// What is wrong with a query, as Elasticsearch says it.
fn refused(text: &str, options: &QueryOptions, errors: &[Diagnostic]) -> Failure {
    let errors: Vec<String> = errors
        .iter()
        .filter(|error| error.is_error())
        .map(|error| {
            let (line, column) = error.line_column(text);
            format!("line {line}:{column}: {}", error.message)
        })
        .collect();
    if eqlipse_eql::parse_with(text, options.dialect).is_err() {
        return Failure::elastic(StatusCode::BAD_REQUEST, "parsing_exception", errors.join("\n"));
    }
    let problems = if errors.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", errors.len()) };
    let reason = format!("Found {problems}\n{}", errors.join("\n"));
    Failure::elastic(StatusCode::BAD_REQUEST, "verification_exception", reason)
}

#[derive(Default)]
struct Input {
    discovery: Discovery,
    window: Window,
}

/// The events that the filter lets through. A filter that speaks of time alone is the query's window; of any other, the
/// events that pass are copied, since those that do not must be as if they had never been.
fn inputs(
    app: &App,
    snapshot: &Snapshot,
    target: &Target,
    filter: &Query,
    range: &TimeRange,
    stop: &AtomicBool,
) -> Result<Input, Failure> {
    let is_window = filter.is_only_times("@timestamp");
    let mut budget = MAX_FILTERED_BYTES;
    let mut input = if target.streams.is_empty() {
        Input::default()
    } else if is_window {
        Input { discovery: snapshot.discovery(range, |stream| target.has(stream)), window: range.timestamp }
    } else {
        let mut discovery = Discovery::default();
        discovery.add_memory("filtered events", filtered(snapshot, target, filter, range, stop, &mut budget)?.into());
        Input { discovery, window: Window::default() }
    };
    if target.alerts {
        let alerts = alerts(app, filter, &mut budget)?;
        if is_window {
            // Alerts were held against the filter already, and lie in the window.
            input.window = range.timestamp;
        }
        input.discovery.add_memory("alerts", alerts.into());
    }
    Ok(input)
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), Failure> {
    *budget = budget.checked_sub(bytes).ok_or_else(|| {
        let reason = format!(
            "[eql] Data too large: the filter lets more than the limit of [{MAX_FILTERED_BYTES}] bytes of events and alerts through; \
             narrow its time range, or put conditions into the query itself"
        );
        Failure::from(DslError { kind: DslErrorKind::CircuitBreaking, reason })
    })?;
    Ok(())
}

#[derive(serde::Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_index", borrow)]
    index: std::borrow::Cow<'a, str>,
    #[serde(rename = "_id", borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(rename = "_source", borrow)]
    source: &'a RawValue,
}

fn filtered(
    snapshot: &Snapshot,
    target: &Target,
    filter: &Query,
    range: &TimeRange,
    stop: &AtomicBool,
    budget: &mut usize,
) -> Result<Vec<u8>, Failure> {
    let mut kept = Vec::new();
    let parts = snapshot.parts(range).filter(|part| part.data_stream().is_none_or(|stream| target.has(stream)));
    let mut bytes = Vec::new();
    for part in parts {
        let mut reader = part.reader()?;
        for row in 0..part.rows() {
            if row.is_multiple_of(64) && stop.load(Ordering::Relaxed) {
                return Ok(kept);
            }
            bytes.clear();
            reader.write_hit(row, &mut bytes)?;
            let Ok(hit) = serde_json::from_slice::<Hit<'_>>(&bytes) else { continue };
            let Ok(source) = serde_json::from_str::<Map<String, Value>>(hit.source.get()) else { continue };
            if target.has(&hit.index) && filter.matches(&Document { index: &hit.index, id: &hit.id, source: &source }) {
                spend(budget, bytes.len() + 1)?;
                kept.extend_from_slice(&bytes);
                kept.push(b'\n');
            }
        }
    }
    Ok(kept)
}

fn alerts(app: &App, filter: &Query, budget: &mut usize) -> Result<Vec<u8>, Failure> {
    let query = AlertQuery { include_building_blocks: true, ..AlertQuery::default() };
    let mut kept = Vec::new();
    let mut problem = None;
    app.control.for_each_alert(&query, &mut |id, source| {
        if !filter.matches(&Document { index: ALERTS_INDEX, id, source: &source }) {
            return ControlFlow::Continue(());
        }
        let mut source = source;
        source.shift_remove(ALERT_ID);
        let line = json!({ "_index": ALERTS_INDEX, "_id": id, "_source": source }).to_string();
        if let Err(failure) = spend(budget, line.len() + 1) {
            problem = Some(failure);
            return ControlFlow::Break(());
        }
        kept.extend_from_slice(line.as_bytes());
        kept.push(b'\n');
        ControlFlow::Continue(())
    })?;
    problem.map_or(Ok(kept), Err)
}

fn hits(found: &mut QueryRun<'_>, fields: &FieldsToShow) -> Result<Value, Failure> {
    let (kind, total) = (found.report().kind, found.report().total);
    let mut bytes = 0;
    let mut events = Vec::new();
    let mut sequences = Vec::new();
    let mut counts = Vec::new();
    for result in found.results() {
        let result: QueryResult = result.map_err(|error| Failure::Internal(error.to_string()))?;
        if let Some(count) = result.count.as_ref().filter(|_| result.events.is_empty()) {
            counts.push(json!({ "_count": count.count, "_keys": count.key, "_percent": count.percent }));
            continue;
        }
        let shown: Vec<Value> =
            result.events.iter().map(|event| event_json(event.as_ref(), fields, &mut bytes)).collect();
        if bytes > super::MAX_RESPONSE_BYTES {
            let reason = format!(
                "[eql] Data too large: the answer would be larger than the limit of [{}] bytes",
                super::MAX_RESPONSE_BYTES
            );
            return Err(DslError { kind: DslErrorKind::CircuitBreaking, reason }.into());
        }
        match kind {
            MatchKind::Event => events.extend(shown),
            MatchKind::Sequence | MatchKind::Sample if result.join_keys.is_empty() => {
                sequences.push(json!({ "events": shown }))
            }
            MatchKind::Sequence | MatchKind::Sample => {
                sequences.push(json!({ "join_keys": result.join_keys, "events": shown }));
            }
        }
    }
    let mut hits = Map::new();
    hits.insert("total".to_owned(), json!({ "value": total, "relation": "eq" }));
    match kind {
        _ if !counts.is_empty() => hits.insert("counts".to_owned(), counts.into()),
        MatchKind::Event => hits.insert("events".to_owned(), events.into()),
        MatchKind::Sequence | MatchKind::Sample => hits.insert("sequences".to_owned(), sequences.into()),
    };
    Ok(Value::Object(hits))
}

fn event_json(event: Option<&MatchedEvent>, fields: &FieldsToShow, bytes: &mut usize) -> Value {
    let Some(event) = event else {
        return json!({ "_index": "", "_id": "", "_source": {}, "missing": true });
    };
    let index = event.index.as_deref().unwrap_or_default();
    let mut shown = Map::new();
    shown.insert("_index".to_owned(), index.into());
    shown.insert("_id".to_owned(), event.id.clone().into());
    let mut source = (*event.source).clone();
    if index == ALERTS_INDEX {
        source.insert(ALERT_ID.to_owned(), event.id.clone().into());
    }
    let source = Value::Object(source);
    // About what it takes as text: a hit of a query is small, and there are few.
    *bytes += source.to_string().len();
    shown.insert("_source".to_owned(), source);
    if let Some(values) = fields.of(&Document { index, id: &event.id, source: &event.source }) {
        shown.insert("fields".to_owned(), Value::Object(values));
    }
    Value::Object(shown)
}
