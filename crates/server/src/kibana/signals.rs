//! Alerts: found, and worked on.

use std::ops::ControlFlow;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use eqlipse_control::{AlertChange, AlertQuery, Role, WorkflowStatus};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::engine;
use crate::dsl::{Document, Query};
use crate::http::{Failure, Payload};
use crate::openapi::bodies::{AlertAssigneesBody, AlertStatusBody, AlertTagsBody, SearchBody};
use crate::openapi::{KIBANA, schemas};
use crate::search::{ALERTS_ALIASES, ALERTS_INDEX, Options, Params, SearchRequest};
use crate::state::{App, Caller};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search))
        .routes(routes!(status))
        .routes(routes!(tags))
        .routes(routes!(assignees))
}

/// Finds alerts by the Query DSL, and counts them.
#[utoipa::path(
    post, path = "/api/detection_engine/signals/search", tag = KIBANA,
    request_body = SearchBody,
    responses((status = 200, description = "What was found", body = schemas::SearchReply)),
)]
async fn search(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.blocking(move |app| {
        let body: Map<String, Value> = body.json()?;
        if body.is_empty() {
            return Err(engine(StatusCode::BAD_REQUEST, "\"value\" must have at least 1 children"));
        }
        let request = SearchRequest::parse(Some(&body), &Params::default(), crate::now())?;
        crate::search::answer(app, ALERTS_ALIASES[0], Options::default(), &request, app.config.limits.query_time.0)
            .map(Json)
    })
    .await
}

fn texts(value: Option<&Value>, name: &str) -> Result<Vec<String>, Failure> {
    let list = value.and_then(Value::as_array);
    let list = list.map(|list| list.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    list.flatten().ok_or_else(|| Failure::IllegalArgument(format!("[request body]: {name}: Expected array of strings")))
}

/// The answer of an update by query, which these calls are in Elasticsearch.
fn updated(start: Instant, total: u64) -> Value {
    json!({
        "took": u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        "timed_out": false,
        "total": total,
        "updated": total,
        "deleted": 0,
        "batches": u8::from(total > 0),
        "version_conflicts": 0,
        "noops": 0,
        "retries": { "bulk": 0, "search": 0 },
        "throttled_millis": 0,
        "requests_per_second": -1.0,
        "throttled_until_millis": 0,
        "failures": [],
    })
}

/// Sets the status of alerts.
#[utoipa::path(
    post, path = "/api/detection_engine/signals/status", tag = KIBANA,
    request_body = AlertStatusBody,
    responses((status = 200, description = "How many alerts were changed", body = schemas::Updated)),
)]
async fn status(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Analyst)?;
    app.blocking(move |app| {
        let start = Instant::now();
        let body: Map<String, Value> = body.json()?;
        let name = body.get("status").and_then(Value::as_str).unwrap_or_default();
        let bad = || {
            Failure::IllegalArgument(format!("[request body]: status: [{name}] is none of open, acknowledged, closed"))
        };
        let status = WorkflowStatus::parse(name).ok_or_else(bad)?;
        let reason = body.get("reason").and_then(Value::as_str).map(str::to_owned);
        let ids = match (body.get("signal_ids"), body.get("query")) {
            (Some(ids), None) => texts(Some(ids), "signal_ids")?,
            (None, Some(query)) => matching(app, query)?,
            (Some(_), Some(_)) => {
                return Err(Failure::IllegalArgument(
                    "[request body]: either \"signal_ids\" or \"query\", not both".to_owned(),
                ));
            }
            (None, None) => {
                return Err(Failure::IllegalArgument(
                    "[request body]: either \"signal_ids\" or \"query\" must be set".to_owned(),
                ));
            }
        };
        change(app, &ids, &AlertChange::Status { status, reason }, caller.name(), start)
    })
    .await
}

/// The ids of the alerts that a query finds.
fn matching(app: &App, query: &Value) -> Result<Vec<String>, Failure> {
    let query = Query::parse(query, crate::now().div_euclid(1_000_000))?;
    let mut ids = Vec::new();
    let all = AlertQuery { include_building_blocks: true, ..AlertQuery::default() };
    app.control.for_each_alert(&all, &mut |id, source| {
        if query.matches(&Document { index: ALERTS_INDEX, id, source: &source }) {
            ids.push(id.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    Ok(ids)
}

fn change(app: &App, ids: &[String], change: &AlertChange, by: &str, start: Instant) -> Result<Json<Value>, Failure> {
    let total =
        app.control.change_alerts(ids, change, by, crate::now()).map_err(|error| super::refused(error, None))?;
    Ok(Json(updated(start, total)))
}

/// Two lists that have nothing in common.
fn two_lists(body: &Map<String, Value>, part: &str, names: [&str; 2], what: &str) -> Result<[Vec<String>; 2], Failure> {
    let lists = body.get(part).and_then(Value::as_object);
    let lists = lists.ok_or_else(|| Failure::IllegalArgument(format!("[request body]: {part}: Required")))?;
    let add = texts(lists.get(names[0]), &format!("{part}.{}", names[0]))?;
    let remove = texts(lists.get(names[1]), &format!("{part}.{}", names[1]))?;
    let both: Vec<&String> = add.iter().filter(|value| remove.contains(value)).collect();
    if !both.is_empty() {
        let reason =
            format!("Duplicate {what} {} were found in the {} and {} parameters.", json!(both), names[0], names[1]);
        return Err(engine(StatusCode::BAD_REQUEST, reason));
    }
    Ok([add, remove])
}

fn some_ids(body: &Map<String, Value>) -> Result<Vec<String>, Failure> {
    let ids = texts(body.get("ids"), "ids")?;
    if ids.is_empty() {
        return Err(engine(StatusCode::BAD_REQUEST, "No alert ids were provided"));
    }
    Ok(ids)
}

/// Adds tags to alerts, and removes some.
#[utoipa::path(
    post, path = "/api/detection_engine/signals/tags", tag = KIBANA,
    request_body = AlertTagsBody,
    responses((status = 200, description = "How many alerts were changed", body = schemas::Updated)),
)]
async fn tags(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Analyst)?;
    app.blocking(move |app| {
        let start = Instant::now();
        let body: Map<String, Value> = body.json()?;
        let [add, remove] = two_lists(&body, "tags", ["tags_to_add", "tags_to_remove"], "tags")?;
        change(app, &some_ids(&body)?, &AlertChange::Tags { add, remove }, caller.name(), start)
    })
    .await
}

/// Assigns alerts to users.
#[utoipa::path(
    post, path = "/api/detection_engine/signals/assignees", tag = KIBANA,
    request_body = AlertAssigneesBody,
    responses((status = 200, description = "How many alerts were changed", body = schemas::Updated)),
)]
async fn assignees(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Analyst)?;
    app.blocking(move |app| {
        let start = Instant::now();
        let body: Map<String, Value> = body.json()?;
        let [add, remove] = two_lists(&body, "assignees", ["add", "remove"], "assignees")?;
        change(app, &some_ids(&body)?, &AlertChange::Assignees { add, remove }, caller.name(), start)
    })
    .await
}
