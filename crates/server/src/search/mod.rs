//! Elasticsearch's API to read events and alerts: `_search`, `_count`, `_msearch`, `_eql/search`, `_field_caps`, and which
//! indices there are.
//!
//! A request names indices by patterns (`target`); alerts are an index too. A search asks every document that
//! index and time do not rule out; an EQL search goes the hunt's way, column by column (`eql`). How long and how much
//! is bounded by `limits.query_time` and `limits.query_memory`: a search that runs out of time answers with what it has
//! and `timed_out`.

mod caps;
mod eql;
mod indices;
mod kept;
mod params;
mod request;
mod run;
mod target;

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

pub(crate) use caps::{mapping_of, seen_fields};
pub use kept::{KeptSearches, MAX_KEPT_BYTES, MAX_KEPT_OF_ONE, MAX_KEPT_SEARCHES};
pub use params::Params;
pub use request::{MAX_RESULT_WINDOW, SearchRequest, Track};
pub use run::{MAX_RESPONSE_BYTES, Outcome};
pub use target::{ALERTS_ALIASES, ALERTS_INDEX, Known, Options, Target};

use crate::dsl::{DslError, Query, flag};
use crate::http::{Failure, IndexPath, Payload, SearchCause, SearchFailure, Shape};
use crate::openapi::bodies::{CountBody, MultiSearchBody, SearchBody};
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};
use eqlipse_control::Role;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Elasticsearch's name for data that cannot be read.
const CORRUPT: &str = "corrupt_index_exception";

/// How many searches a `_msearch` may have.
pub const MAX_SEARCHES: usize = 1_000;

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search).also_at("/_search"))
        .routes(routes!(count).also_at("/_count"))
        .routes(routes!(msearch).also_at("/_msearch"))
        .merge(eql::routes())
        .merge(caps::routes())
        .merge(indices::routes())
}

impl From<DslError> for Failure {
    fn from(error: DslError) -> Self {
        let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
        if error.kind.is_of_shards() {
            let cause = SearchCause { index: None, kind: error.kind.name(), reason: error.reason };
            return Self::Search(Box::new(SearchFailure { status, reason: "all shards failed", causes: vec![cause] }));
        }
        Self::elastic(status, error.kind.name(), error.reason)
    }
}

/// Finds events and alerts by the Query DSL, and counts them.
///
/// Indices are data streams and the alerts' index; without any, all data streams are searched. What the URL says counts more than
/// what the body says.
#[utoipa::path(
    method(post, get), path = "/{index}/_search", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::IndexOptions, schemas::SearchParams),
    request_body = SearchBody,
    responses((status = 200, description = "What was found", body = schemas::SearchReply)),
)]
async fn search(
    State(app): State<App>,
    caller: Caller,
    IndexPath(index): IndexPath,
    params: Params,
    body: Payload,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&request::URL_PARAMETERS)?;
    let options = Options::of(&params)?;
    app.blocking(move |app| {
        let body: Option<Map<String, Value>> = body.optional_json()?;
        let request = SearchRequest::parse(body.as_ref(), &params, crate::now())?;
        answer(app, &index, options, &request, app.config.limits.query_time.0).map(Json)
    })
    .await
}

/// Searches, and gives Elasticsearch's answer. It blocks, for at most `limit`.
///
/// # Errors
/// If an index is not there, a limit of memory is passed, or data cannot be read.
pub fn answer(
    app: &App,
    index: &str,
    options: Options,
    request: &SearchRequest,
    limit: Duration,
) -> Result<Value, Failure> {
    let start = Instant::now();
    let snapshot = app.store.snapshot();
    let target = Target::resolve(index, &Known::of(app, &snapshot), options)?;
    let outcome = run::run(app, &snapshot, &target, request, limit)?;
    if !request.allows_partial {
        whole(outcome.timed_out, &outcome.failures)?;
    }
    let mut answer = Map::new();
    answer.insert("took".to_owned(), millis_since(start).into());
    answer.insert("timed_out".to_owned(), outcome.timed_out.into());
    if request.terminate_after.is_some() {
        answer.insert("terminated_early".to_owned(), outcome.terminated.into());
    }
    answer.insert("_shards".to_owned(), shards(&target, &outcome.failures));
    answer.insert("hits".to_owned(), outcome.hits);
    if let Some(aggregations) = outcome.aggregations {
        answer.insert("aggregations".to_owned(), Value::Object(aggregations));
    }
    Ok(Value::Object(answer))
}

/// Refuses what is not whole, where the request says so (`allow_partial_search_results`).
fn whole(timed_out: bool, failures: &[(String, String)]) -> Result<(), Failure> {
    let failed = |(index, reason): &(String, String)| SearchCause {
        index: Some(index.clone()).filter(|index| !index.is_empty()),
        kind: CORRUPT,
        reason: reason.clone(),
    };
    let late = || SearchCause { index: None, kind: "search_timeout_exception", reason: "Time exceeded".to_owned() };
    let causes: Vec<SearchCause> = failures.iter().map(failed).chain(timed_out.then(late)).collect();
    let status = if failures.is_empty() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::INTERNAL_SERVER_ERROR };
    match causes.is_empty() {
        true => Ok(()),
        false => Err(Failure::Search(Box::new(SearchFailure { status, reason: "Partial shards failure", causes }))),
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Each index is one shard here.
fn shards(target: &Target, failures: &[(String, String)]) -> Value {
    let total = target.len();
    let failed = failures.len().min(total);
    let mut shards = json!({ "total": total, "successful": total - failed, "skipped": 0, "failed": failed });
    if !failures.is_empty() {
        let failure = |(index, reason): &(String, String)| json!({ "shard": 0, "index": index, "reason": { "type": CORRUPT, "reason": reason } });
        shards["failures"] = failures.iter().map(failure).collect();
    }
    shards
}

/// Counts events and alerts.
#[utoipa::path(
    method(post, get), path = "/{index}/_count", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::IndexOptions, ("terminate_after" = Option<u64>, Query, description = "Counting ends after so many")),
    request_body = CountBody,
    responses((status = 200, description = "How many", body = schemas::CountReply)),
)]
async fn count(
    State(app): State<App>,
    caller: Caller,
    IndexPath(index): IndexPath,
    params: Params,
    body: Payload,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&[
        "allow_no_indices",
        "expand_wildcards",
        "ignore_throttled",
        "ignore_unavailable",
        "preference",
        "routing",
        "terminate_after",
    ])?;
    let options = Options::of(&params)?;
    let terminate_after = params.count("terminate_after")?.map(|count| count as u64).filter(|count| *count > 0);
    app.blocking(move |app| {
        let body: Option<Map<String, Value>> = body.optional_json()?;
        let query = counted(body.as_ref())?;
        let request = SearchRequest { query, size: 0, track: Track::All, terminate_after, ..SearchRequest::default() };
        let snapshot = app.store.snapshot();
        let target = Target::resolve(&index, &Known::of(app, &snapshot), options)?;
        let limit = app.config.limits.query_time.0;
        let outcome = run::run(app, &snapshot, &target, &request, limit)?;
        if outcome.timed_out {
            // A count that is not whole would be a wrong one.
            return Err(Failure::Timeout { limit, setting: "limits.query_time" });
        }
        Ok(Json(json!({ "count": outcome.total, "_shards": shards(&target, &outcome.failures) })))
    })
    .await
}

fn counted(body: Option<&Map<String, Value>>) -> Result<Query, DslError> {
    let Some(body) = body else { return Ok(Query::All) };
    if let Some(key) = body.keys().find(|key| *key != "query") {
        return Err(DslError::parsing(format!("request does not support [{key}]")));
    }
    body.get("query").map_or(Ok(Query::All), |query| Query::parse(query, crate::now().div_euclid(1_000_000)))
}

/// Does several searches.
///
/// Which indices are searched, and what becomes of those that are not there, may be said in the URL for all searches.
#[utoipa::path(
    method(post, get), path = "/{index}/_msearch", tag = ELASTICSEARCH,
    params(
        schemas::Index,
        schemas::IndexOptions,
        ("rest_total_hits_as_int" = Option<bool>, Query, description = "Totals are plain numbers"),
        ("typed_keys" = Option<bool>, Query, description = "Names of aggregations have their types before them"),
    ),
    request_body(content = MultiSearchBody, content_type = "application/x-ndjson"),
    responses((status = 200, description = "What was found, in the order of the searches", body = schemas::MultiSearchReply)),
)]
async fn msearch(
    State(app): State<App>,
    caller: Caller,
    IndexPath(index): IndexPath,
    params: Params,
    body: Payload,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&[
        "allow_no_indices",
        "ccs_minimize_roundtrips",
        "expand_wildcards",
        "ignore_throttled",
        "ignore_unavailable",
        "max_concurrent_searches",
        "max_concurrent_shard_requests",
        "pre_filter_shard_size",
        "rest_total_hits_as_int",
        "routing",
        "search_type",
        "typed_keys",
    ])?;
    let options = Options::of(&params)?;
    app.blocking(move |app| {
        let start = Instant::now();
        let searches = searches(body.bytes(), &index, options)?;
        let limit = app.config.limits.query_time.0;
        let one = |(header, search): &HeaderAndSearch| {
            let request = SearchRequest::parse(Some(search), &params, crate::now())?;
            let request = SearchRequest { allows_partial: header.allows_partial, ..request };
            // All together take no longer than one search may.
            let left = limit.saturating_sub(start.elapsed());
            answer(app, &header.index, header.options, &request, left)
        };
        let responses = searches.iter().map(|search| match one(search) {
            Ok(mut answer) => {
                answer["status"] = 200.into();
                answer
            }
            Err(failure) => failure.body(Shape::Elastic),
        });
        let responses: Vec<Value> = responses.collect();
        Ok(Json(json!({ "took": millis_since(start), "responses": responses })))
    })
    .await
}

/// What stands before each search of a `_msearch`.
struct Header {
    index: String,
    options: Options,
    allows_partial: bool,
}

impl Header {
    /// Reads it over what the URL says. Booleans may be text.
    fn read(map: &Map<String, Value>, index: &str, options: Options) -> Result<Self, Failure> {
        let mut header = Self { index: index.to_owned(), options, allows_partial: true };
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            let texts: Vec<&str> = match value {
                Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
                value => value.as_str().into_iter().collect(),
            };
            match key.as_str() {
                "index" | "indices" if texts.is_empty() && !value.is_array() => {
                    return Err(Failure::IllegalArgument(format!("[{key}] must be a text or a list, found [{value}]")));
                }
                "index" | "indices" => header.index = texts.join(","),
                "ignore_unavailable" | "ignoreUnavailable" => header.options.ignore_unavailable = flag(value, key)?,
                "allow_no_indices" | "allowNoIndices" => header.options.allow_no_indices = flag(value, key)?,
                "expand_wildcards" | "expandWildcards" => header.options.expand(&texts.join(","))?,
                "allow_partial_search_results" => header.allows_partial = flag(value, key)?,
                // They say how to search, not for what.
                "search_type"
                | "searchType"
                | "request_cache"
                | "requestCache"
                | "preference"
                | "routing"
                | "ignore_throttled"
                | "ignoreThrottled"
                | "ccs_minimize_roundtrips" => {}
                key => {
                    let reason = format!("key [{key}] is not supported in the metadata section");
                    return Err(Failure::IllegalArgument(reason));
                }
            }
        }
        Ok(header)
    }
}

/// A header and its search.
type HeaderAndSearch = (Header, Map<String, Value>);

/// Lines of a header and a search each.
fn searches(body: &[u8], index: &str, options: Options) -> Result<Vec<HeaderAndSearch>, Failure> {
    let object = |line: &[u8]| -> Result<Map<String, Value>, Failure> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        serde_json::from_slice(line)
            .map_err(|error| Failure::Parsing(format!("a line of _msearch is no object: {error}")))
    };
    let mut lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    // An empty line in the middle is a header with nothing in it.
    if lines.last().is_some_and(|line| line.iter().all(u8::is_ascii_whitespace)) {
        lines.pop();
    }
    if lines.is_empty() {
        let reason = "Validation Failed: 1: no requests added;";
        return Err(Failure::elastic(StatusCode::BAD_REQUEST, "action_request_validation_exception", reason));
    }
    if lines.len() % 2 == 1 {
        return Err(Failure::IllegalArgument("_msearch: the last header has no search behind it".to_owned()));
    }
    if lines.len() / 2 > MAX_SEARCHES {
        return Err(Failure::IllegalArgument(format!("_msearch has more than {MAX_SEARCHES} searches")));
    }
    let one = |pair: &[&[u8]]| Ok((Header::read(&object(pair[0])?, index, options)?, object(pair[1])?));
    lines.chunks_exact(2).map(one).collect()
}
