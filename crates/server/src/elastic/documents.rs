//! Documents on their way in: `_bulk`, `_doc`, `_create`.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytestring::ByteString;
use eqlipse_control::Identity;
use eqlipse_store::{NewDocument, Refused, Stored};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bulk::{self, Action, Operation};
use crate::dead_letters::DeadLetter;
use crate::http::{Events, Failure, Filtered, PathFilter, Payload, percent_encoded, take_patiently};
use crate::metrics::DocumentResult;
use crate::openapi::bodies::{BulkBody, Event};
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(bulk).also_at("/_bulk"))
        .routes(routes!(add))
        .routes(routes!(add_with_id))
        .routes(routes!(create_with_id))
}

/// Parameters that change an answer. `pipeline`, `timeout`, `wait_for_active_shards`, `routing` and others are accepted
/// and change nothing: events are on disk when they are acknowledged, and normalised by eqlipse itself.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    refresh: Option<String>,
    filter_path: Option<String>,
    op_type: Option<String>,
    if_seq_no: Option<String>,
    if_primary_term: Option<String>,
    version: Option<String>,
}

impl Parameters {
    /// Whether the answer says that the index was refreshed. Events can be found when they are acknowledged, always.
    fn forced_refresh(&self) -> Result<bool, Failure> {
        match self.refresh.as_deref() {
            Some("" | "true") => Ok(true),
            None | Some("false" | "wait_for") => Ok(false),
            Some(other) => Err(Failure::IllegalArgument(format!("Unknown value for refresh: [{other}].",))),
        }
    }

    fn refuse_conditions(&self) -> Result<(), Failure> {
        let conditions = [&self.if_seq_no, &self.if_primary_term, &self.version];
        if conditions.into_iter().any(Option::is_some) {
            return Err(Failure::IllegalArgument(CONDITIONS.to_owned()));
        }
        Ok(())
    }
}

const CONDITIONS: &str = "writes on condition of a version are not supported: events are never changed";
const APPEND_ONLY: &str =
    "only write ops with an op_type of create are allowed in data streams: events are never changed or deleted";

/// Takes events.
///
/// The answer comes when they are on disk. `update` and `delete` are refused, item by item: events are never changed.
#[utoipa::path(
    method(post, put), path = "/{index}/_bulk", tag = ELASTICSEARCH,
    params(schemas::NewIndex, schemas::BulkParams),
    request_body(content = BulkBody, content_type = "application/x-ndjson"),
    responses((status = 200, description = "What became of the events", body = schemas::BulkReply)),
)]
async fn bulk(
    State(app): State<App>,
    caller: Caller,
    index: Option<Path<String>>,
    Query(parameters): Query<Parameters>,
    Events(payload): Events,
) -> Result<Response, Failure> {
    let request = BulkRequest {
        payload,
        index: index.map(|Path(index)| index),
        caller,
        forced_refresh: parameters.forced_refresh()?,
        filter: parameters.filter_path.as_deref().and_then(PathFilter::parse),
        start: Instant::now(),
    };
    let body = take_patiently(&app, request, BulkRequest::take).await?;
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.extensions_mut().insert(Filtered);
    Ok(response)
}

struct BulkRequest {
    payload: Payload,
    caller: Caller,
    index: Option<String>,
    forced_refresh: bool,
    filter: Option<PathFilter>,
    start: Instant,
}

impl BulkRequest {
    /// The body of the answer.
    fn take(&mut self, app: &App, is_last: bool) -> Result<Vec<u8>, Failure> {
        let body = self.payload.bytes().clone();
        let actions = bulk::parse(&body, self.index.as_deref())?;
        let charged = self.payload.charge(bulk::memory_of(&actions));
        let outcomes = charged.and_then(|()| take(app, Some(&self.caller), &actions));
        let outcomes = outcomes.inspect_err(|failure| turned_away(app, failure, actions.len(), is_last))?;
        let filter = self.filter.as_ref();
        let items: Vec<Item<'_>> = actions
            .iter()
            .zip(&outcomes)
            .filter(|_| filter.is_none_or(|filter| filter.reaches("items")))
            .map(|(action, outcome)| Item::new(action, outcome, self.forced_refresh))
            .collect();
        let answer = BulkAnswer {
            errors: outcomes.iter().any(Result::is_err),
            took: self.start.elapsed().as_millis() as u64,
            items,
        };
        answer.to_bytes(filter)
    }
}

/// Counts documents whose sender is told to send them again.
pub(crate) fn turned_away(app: &App, failure: &Failure, documents: usize, is_last: bool) {
    if is_last && matches!(failure, Failure::Overloaded { .. }) {
        app.metrics.documents(DocumentResult::Overloaded, documents as u64);
    }
}

/// Why one document was not taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ItemError {
    status: StatusCode,
    kind: &'static str,
    reason: String,
}

impl ItemError {
    fn illegal(reason: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "illegal_argument_exception", reason: reason.into() }
    }

    /// Whoever sent it may not write there.
    fn forbidden(index: &str, Caller(Identity { name, api_key, .. }): &Caller) -> Self {
        let key = api_key.as_deref().unwrap_or_default();
        let reason = format!(
            "action [indices:data/write/bulk[s]] is unauthorized for API key id [{key}] of user [{name}] on indices [{index}], this \
             action is granted by the index privileges [create_doc,create,index,write,all]"
        );
        Self { status: StatusCode::FORBIDDEN, kind: "security_exception", reason }
    }

    /// Somebody else is at it: it is to be sent again.
    pub(crate) fn is_under_way(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }
}

impl From<Refused> for ItemError {
    fn from(refused: Refused) -> Self {
        let reason = refused.to_string();
        match refused {
            Refused::NotAnEvent(_) => {
                let kind = "document_parsing_exception";
                Self { status: StatusCode::BAD_REQUEST, kind, reason: format!("[1:1] failed to parse: {reason}") }
            }
            Refused::Conflict { .. } => {
                Self { status: StatusCode::CONFLICT, kind: "version_conflict_engine_exception", reason }
            }
            Refused::UnderWay { .. } => {
                Self { status: StatusCode::TOO_MANY_REQUESTS, kind: "es_rejected_execution_exception", reason }
            }
            Refused::TooManyStreams { .. } => {
                Self { status: StatusCode::BAD_REQUEST, kind: "validation_exception", reason }
            }
            Refused::IndexName(_) => {
                Self { status: StatusCode::BAD_REQUEST, kind: "invalid_index_name_exception", reason }
            }
            Refused::TooLarge { .. } => Self::illegal(reason),
        }
    }
}

pub(crate) type Outcome = Result<Stored, ItemError>;

/// Takes what can be taken, and keeps what is refused as dead letters. Outcomes are in the order of the actions. Who sends
/// them may be bound to some indices; nobody does where eqlipse reads them itself.
///
/// # Errors
/// If nothing was taken, for a while; the client sends the request again. [`turned_away`] counts what is given up.
pub(crate) fn take(app: &App, caller: Option<&Caller>, actions: &[Action]) -> Result<Vec<Outcome>, Failure> {
    let now = crate::now();
    let mut documents: Vec<NewDocument> = Vec::with_capacity(actions.len());
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(actions.len());
    for action in actions {
        let refusing = caller.filter(|caller| !caller.may_write_to(&action.index));
        match refusing.map_or_else(|| new_document(action), |caller| Err(ItemError::forbidden(&action.index, caller))) {
            Ok(document) => {
                documents.push(document);
                outcomes.push(None);
            }
            Err(error) => outcomes.push(Some(Err(error))),
        }
    }
    let count = documents.len() as u64;
    let stored = if documents.is_empty() { Ok(Vec::new()) } else { app.store.ingest(documents, now) };
    let stored = stored.map_err(|error| {
        let failure = Failure::from(error);
        if !matches!(failure, Failure::Overloaded { .. }) {
            app.metrics.documents(DocumentResult::Failed, count);
        }
        failure
    })?;
    let mut stored = stored.into_iter().map(|result| result.map_err(ItemError::from));
    let missing = || Err(ItemError::illegal("internal error, please report it: no outcome"));
    let outcomes: Vec<Outcome> =
        outcomes.into_iter().map(|outcome| outcome.or_else(|| stored.next()).unwrap_or_else(missing)).collect();
    record(app, actions, &outcomes, now);
    Ok(outcomes)
}

fn new_document(action: &Action) -> Result<NewDocument, ItemError> {
    if matches!(action.operation, Operation::Update | Operation::Delete) {
        return Err(ItemError::illegal(APPEND_ONLY));
    }
    if let Some(reason) = action.unsupported {
        return Err(ItemError::illegal(reason));
    }
    if action.id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(ItemError::illegal(format!("id is too long, must be no longer than {MAX_ID_BYTES} bytes")));
    }
    // Shippers send what programs wrote; one bad byte must not hide an event.
    let document = ByteString::try_from(action.document.clone())
        .unwrap_or_else(|_| String::from_utf8_lossy(&action.document).into_owned().into());
    Ok(NewDocument { index: action.index.clone(), id: action.id.as_deref().map(ByteString::from), document })
}

/// The longest id of an event, which is Elasticsearch's limit.
pub(crate) const MAX_ID_BYTES: usize = 512;

/// Counts what became of the documents, and keeps those that were refused.
fn record(app: &App, actions: &[Action], outcomes: &[Outcome], now: i64) {
    let (mut stored, mut conflicts, mut bytes) = (0, 0, 0);
    let mut indices: HashMap<*const u8, &str> = HashMap::new();
    let mut refused = Vec::new();
    for (action, outcome) in actions.iter().zip(outcomes) {
        match outcome {
            Ok(_) => {
                stored += 1;
                bytes += action.document.len() as u64;
                indices.insert(action.index.as_ptr(), &action.index);
            }
            // What is there already is not lost.
            Err(error) if error.is_conflict() => conflicts += 1,
            // It is sent again.
            Err(error) if error.is_under_way() => {}
            Err(error) => refused.push((action, error)),
        }
    }
    // Most of one name share it.
    let indices: BTreeSet<&str> = indices.into_values().collect();
    indices.into_iter().for_each(|index| app.stash.note_index(index));
    app.metrics.document_bytes.inc_by(bytes);
    app.metrics.documents(DocumentResult::Stored, stored);
    app.metrics.documents(DocumentResult::Conflict, conflicts);
    app.metrics.documents(DocumentResult::Refused, refused.len() as u64);
    bury(app, &refused, now);
}

fn bury(app: &App, refused: &[(&Action, &ItemError)], now: i64) {
    if refused.is_empty() {
        return;
    }
    let time = Timestamp::from_nanosecond(i128::from(now)).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    let documents: Vec<_> = refused.iter().map(|(action, _)| String::from_utf8_lossy(&action.document)).collect();
    let letters: Vec<DeadLetter<'_>> = refused
        .iter()
        .zip(&documents)
        .filter(|((action, _), _)| action.operation != Operation::Delete)
        .map(|((action, error), document)| DeadLetter {
            time: &time,
            index: &action.index,
            id: action.id.as_deref(),
            operation: (action.operation == Operation::Update || action.unsupported.is_some())
                .then(|| action.operation.name()),
            reason: &error.reason,
            document,
        })
        .collect();
    app.keep_dead_letters(&letters, now);
}

/// A bulk request's answer.
#[derive(Serialize)]
struct BulkAnswer<'a> {
    errors: bool,
    took: u64,
    items: Vec<Item<'a>>,
}

impl BulkAnswer<'_> {
    fn to_bytes(&self, filter: Option<&PathFilter>) -> Result<Vec<u8>, Failure> {
        let failed = |error: serde_json::Error| Failure::Internal(error.to_string());
        let Some(filter) = filter else { return serde_json::to_vec(self).map_err(failed) };
        let rest = filter.apply(json!({ "errors": self.errors, "took": self.took })).to_string();
        // Item by item: as values, all of them would take many times the memory of their text.
        let mut bytes = Vec::new();
        for item in &self.items {
            let item = serde_json::to_value(item).map_err(failed)?;
            if let Some(left) = filter.apply_to_item("items", item) {
                bytes.extend_from_slice(if bytes.is_empty() { b"{\"items\":[" } else { b"," });
                serde_json::to_writer(&mut bytes, &left).map_err(failed)?;
            }
        }
        match (bytes.is_empty(), rest.strip_prefix('{')) {
            (false, Some("}")) => bytes.extend_from_slice(b"]}"),
            (false, Some(members)) => bytes.extend_from_slice(format!("],{members}").as_bytes()),
            _ => return Ok(rest.into_bytes()),
        }
        Ok(bytes)
    }
}

/// One item: an object with the operation's name.
struct Item<'a> {
    operation: Operation,
    result: ItemResult<'a>,
}

impl Serialize for Item<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.operation.name(), &self.result)])
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum ItemResult<'a> {
    Stored(StoredAnswer<'a>),
    Failed(FailedAnswer<'a>),
}

/// A document that was taken.
#[derive(Serialize)]
struct StoredAnswer<'a> {
    _index: &'a str,
    _id: &'a str,
    _version: u64,
    result: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    forced_refresh: bool,
    _shards: Shards,
    _seq_no: u64,
    _primary_term: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

#[derive(Serialize)]
struct Shards {
    total: u32,
    successful: u32,
    failed: u32,
}

#[derive(Serialize)]
struct FailedAnswer<'a> {
    _index: &'a str,
    _id: Option<&'a str>,
    status: u16,
    error: ErrorAnswer<'a>,
}

#[derive(Serialize)]
struct ErrorAnswer<'a> {
    r#type: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
}

impl<'a> StoredAnswer<'a> {
    fn new(index: &'a str, stored: &'a Stored, forced_refresh: bool, status: Option<u16>) -> Self {
        Self {
            _index: index,
            _id: &stored.id,
            _version: 1,
            result: "created",
            forced_refresh,
            _shards: Shards { total: 1, successful: 1, failed: 0 },
            _seq_no: stored.sequence,
            _primary_term: 1,
            status,
        }
    }
}

impl<'a> Item<'a> {
    fn new(action: &'a Action, outcome: &'a Outcome, forced_refresh: bool) -> Self {
        let result = match outcome {
            Ok(stored) => ItemResult::Stored(StoredAnswer::new(&action.index, stored, forced_refresh, Some(201))),
            Err(error) => ItemResult::Failed(FailedAnswer {
                _index: &action.index,
                _id: action.id.as_deref(),
                status: error.status.as_u16(),
                error: ErrorAnswer {
                    r#type: error.kind,
                    reason: &error.reason,
                    index: error.is_conflict().then_some(&action.index),
                },
            }),
        };
        Self { operation: action.operation, result }
    }
}

/// Takes an event.
#[utoipa::path(
    post, path = "/{index}/_doc", tag = ELASTICSEARCH,
    params(schemas::NewIndex, schemas::DocumentParams),
    request_body = Event,
    responses((status = 201, description = "It is on disk", body = schemas::DocumentReply), (status = 409, description = "There is an event with this id")),
)]
async fn add(
    state: State<App>,
    caller: Caller,
    Path(index): Path<String>,
    query: Query<Parameters>,
    events: Events,
) -> Result<Response, Failure> {
    one(state, caller, index, None, query, events).await
}

/// Takes an event under an id.
///
/// An id is taken once in its index.
#[utoipa::path(
    method(put, post), path = "/{index}/_doc/{id}", tag = ELASTICSEARCH,
    params(schemas::NewIndex, ("id" = String, Path, description = "The event's id"), schemas::DocumentParams),
    request_body = Event,
    responses((status = 201, description = "It is on disk", body = schemas::DocumentReply), (status = 409, description = "There is an event with this id")),
)]
async fn add_with_id(
    state: State<App>,
    caller: Caller,
    Path((index, id)): Path<(String, String)>,
    query: Query<Parameters>,
    events: Events,
) -> Result<Response, Failure> {
    one(state, caller, index, Some(id), query, events).await
}

/// Takes an event under an id that must be new.
#[utoipa::path(
    method(put, post), path = "/{index}/_create/{id}", tag = ELASTICSEARCH,
    params(schemas::NewIndex, ("id" = String, Path, description = "The event's id"), schemas::BulkParams),
    request_body = Event,
    responses((status = 201, description = "It is on disk", body = schemas::DocumentReply), (status = 409, description = "There is an event with this id")),
)]
async fn create_with_id(
    state: State<App>,
    caller: Caller,
    Path((index, id)): Path<(String, String)>,
    Query(mut parameters): Query<Parameters>,
    events: Events,
) -> Result<Response, Failure> {
    parameters.op_type = Some("create".to_owned());
    one(state, caller, index, Some(id), Query(parameters), events).await
}

/// Takes a single document.
async fn one(
    State(app): State<App>,
    caller: Caller,
    index: String,
    id: Option<String>,
    Query(parameters): Query<Parameters>,
    Events(payload): Events,
) -> Result<Response, Failure> {
    parameters.refuse_conditions()?;
    let forced_refresh = parameters.forced_refresh()?;
    let operation = match parameters.op_type.as_deref() {
        Some("create") => Operation::Create,
        None | Some("index") => Operation::Index,
        Some(other) => {
            return Err(Failure::IllegalArgument(format!("opType must be 'create' or 'index', found: [{other}]")));
        }
    };
    if payload.is_empty() {
        return Err(Failure::Parsing("request body is required".to_owned()));
    }
    take_patiently(&app, OneDocument { payload, caller, index, id, operation, forced_refresh }, OneDocument::take).await
}

struct OneDocument {
    payload: Payload,
    caller: Caller,
    index: String,
    id: Option<String>,
    operation: Operation,
    forced_refresh: bool,
}

impl OneDocument {
    fn take(&mut self, app: &App, is_last: bool) -> Result<Response, Failure> {
        let action = Action {
            operation: self.operation,
            index: self.index.as_str().into(),
            id: self.id.clone(),
            document: self.payload.bytes().clone(),
            unsupported: None,
        };
        let outcomes = take(app, Some(&self.caller), std::slice::from_ref(&action));
        let mut outcomes = outcomes.inspect_err(|failure| turned_away(app, failure, 1, is_last))?;
        let outcome = outcomes.pop().unwrap_or_else(|| Err(ItemError::illegal("no document")));
        let stored = outcome.map_err(|error| Failure::elastic(error.status, error.kind, error.reason))?;
        let answer = StoredAnswer::new(&action.index, &stored, self.forced_refresh, None);
        let [index, id] = [&action.index, &*stored.id].map(percent_encoded);
        let location = HeaderValue::from_str(&format!("/{index}/_doc/{id}"));
        let mut response = (StatusCode::CREATED, axum::Json(json!(answer))).into_response();
        location.into_iter().for_each(|location| _ = response.headers_mut().insert(LOCATION, location));
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde_json::Value;

    use super::*;

    #[test]
    fn answers_have_elasticsearchs_shape() {
        let body = b"{\"create\":{\"_index\":\"a\"}}\n{}\n{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{}\n";
        let body = Bytes::from_static(body);
        let actions = bulk::parse(&body, None).unwrap();
        let outcomes = [
            Ok(Stored { id: ByteString::from("x").into(), sequence: 5 }),
            Err(ItemError::from(Refused::Conflict { id: "1".to_owned() })),
        ];
        let items = actions.iter().zip(&outcomes).map(|(action, outcome)| Item::new(action, outcome, false)).collect();
        let answer = BulkAnswer { errors: true, took: 3, items };
        let value: Value = serde_json::from_slice(&answer.to_bytes(None).unwrap()).unwrap();
        let expected = json!({ "errors": true, "took": 3, "items": [
            { "create": { "_index": "a", "_id": "x", "_version": 1, "result": "created",
                "_shards": { "total": 1, "successful": 1, "failed": 0 }, "_seq_no": 5, "_primary_term": 1, "status": 201 } },
            { "index": { "_index": "a", "_id": "1", "status": 409, "error": {
                "type": "version_conflict_engine_exception",
                "reason": "[1]: version conflict, document already exists", "index": "a" } } },
        ]});
        assert_eq!(value, expected);
        let filter = PathFilter::parse("errors,items.*.error").unwrap();
        let value: Value = serde_json::from_slice(&answer.to_bytes(Some(&filter)).unwrap()).unwrap();
        assert_eq!(value, filter.apply(expected.clone()));
        for (text, left) in [("took", json!({ "took": 3 })), ("items.*.status", json!(null)), ("x", json!({}))] {
            let filter = PathFilter::parse(text).unwrap();
            let value: Value = serde_json::from_slice(&answer.to_bytes(Some(&filter)).unwrap()).unwrap();
            assert_eq!(value, filter.apply(expected.clone()));
            assert!(left.is_null() || value == left, "{value}");
        }
    }
}
