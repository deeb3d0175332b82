//! Rules on trial: what one would find in some windows (Kibana's preview), or would have found over days (backtest); and
//! the ledger of what was really run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use eqlipse_alerts::Alert;
use eqlipse_control::{Execution, Role, RuleKey, StoredRule};
use eqlipse_events::{OrderBy, Progress, Window};
use eqlipse_hunt::{HuntOptions, RuleBook};
use eqlipse_rules::{Rule, RuleLoad};
use eqlipse_schedule::{EvaluateError, Preview, PreviewedWindow};
use eqlipse_store::TimeRange;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::explain::loaded;
use super::{engine, in_query_time, not_found};
use crate::dsl::{Document, Field, iso_text};
use crate::http::{Failure, Payload};
use crate::openapi::bodies::PreviewBody;
use crate::openapi::{EQLIPSE, KIBANA, schemas};
use crate::search::Params;
use crate::state::{App, Caller};

/// The most windows of a preview.
const MAX_WINDOWS: u64 = 1_000;
/// How long a preview may take; then no further window is begun.
const PREVIEW_TIME: Duration = Duration::from_secs(60);
/// The most days of a backtest.
const MAX_DAYS: u32 = 3_650;
/// The most alerts that a backtest looks at.
const MAX_ALERTS: usize = 100_000;
/// The noisiest values that a backtest shows of each field.
const SHOWN_VALUES: usize = 10;
/// The fields whose noisiest values a backtest shows.
const NOISY_FIELDS: [&str; 6] =
    ["host.name", "user.name", "process.name", "process.executable", "process.parent.name", "process.command_line"];
/// Executions of a ledger that are shown where nothing is said, and at most.
const SHOWN_EXECUTIONS: usize = 100;
const MAX_EXECUTIONS: usize = 10_000;

/// Kibana's.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(preview))
}

/// Our own.
pub(super) fn own_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(backtest)).routes(routes!(ledger))
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::IllegalArgument(format!("[request body]: {reason}"))
}

/// A rule out of a request, which is not kept.
fn draft(mut document: Map<String, Value>, id: &str, by: &str) -> Result<StoredRule, Failure> {
    document.entry("rule_id").or_insert_with(|| id.into());
    let mut rule = Rule::from_json(document).map_err(invalid)?;
    rule.saved_object_id = Some(id.to_owned());
    let now = crate::now();
    Ok(StoredRule {
        id: id.to_owned(),
        enabled: true,
        document: rule.to_api_json(),
        rule: Arc::new(rule),
        revision: 0,
        immutable: false,
        created_at: now,
        created_by: by.to_owned(),
        updated_at: now,
        updated_by: by.to_owned(),
    })
}

/// Runs a rule over some windows without keeping it.
///
/// Kibana keeps the alerts in an index of previews; here they are in the answer.
#[utoipa::path(
    post, path = "/api/detection_engine/rules/preview", tag = KIBANA,
    request_body = PreviewBody,
    responses((status = 200, description = "What it found", body = schemas::PreviewReply)),
)]
async fn preview(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.blocking(move |app| {
        let mut document: Map<String, Value> = body.json()?;
        let count = document.shift_remove("invocationCount").and_then(|count| count.as_u64()).unwrap_or(1);
        if !(1..=MAX_WINDOWS).contains(&count) {
            return Err(invalid(format!("invocationCount must be from 1 to {MAX_WINDOWS}")));
        }
        let end = match document.shift_remove("timeframeEnd") {
            None => crate::now(),
            Some(end) => {
                let end = end.as_str().and_then(|end| end.parse::<Timestamp>().ok());
                let end = end.and_then(|end| i64::try_from(end.as_nanosecond()).ok());
                end.ok_or_else(|| invalid("timeframeEnd must be an ISO 8601 time"))?
            }
        };
        let id = Uuid::new_v4().to_string();
        let rule = draft(document, &id, caller.name())?;
        let interval = i64::try_from(rule.rule.interval.seconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        let ends = (0..count as i64).rev().map(|back| end.saturating_sub(interval.saturating_mul(back)));
        let ends: Vec<i64> = ends.collect();
        let started = Instant::now();
        let previewed = app.scheduler.preview(&rule, &ends, started + PREVIEW_TIME);
        let (found, logs) = match previewed {
            Ok(found) => {
                let logs = ends.iter().zip(&found.windows).map(|(end, window)| log_of(*end, window)).collect();
                (found, logs)
            }
            // Whoever writes a rule sees what is wrong with it where Kibana shows it.
            Err(error) => {
                (Preview::default(), vec![log(ends[0], started.elapsed(), vec![error.to_string()], Vec::new())])
            }
        };
        let alerts: Vec<Value> = found.alerts.iter().flat_map(Alert::documents).collect();
        // Kibana keeps the alerts in an index of previews; here they are in the answer.
        Ok(Json(json!({ "previewId": id, "logs": logs, "isAborted": found.is_aborted, "alerts": alerts })))
    })
    .await
}

fn log_of(end: i64, window: &PreviewedWindow) -> Value {
    let errors = window.error.iter().map(EvaluateError::to_string).collect();
    let warnings = match window.capped {
        0 => Vec::new(),
        capped => vec![format!("max_signals was reached: {capped} more were found")],
    };
    log(end, window.took, errors, warnings)
}

/// What is said of a window, which begins to be looked at when it is over.
fn log(end: i64, took: Duration, errors: Vec<String>, warnings: Vec<String>) -> Value {
    let started = iso_text(end.div_euclid(1_000_000));
    json!({ "errors": errors, "warnings": warnings, "startedAt": started, "duration": took.as_millis() as u64 })
}

/// A rule and how far back it is tried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BacktestRequest {
    /// A rule by its id here.
    id: Option<String>,
    /// A rule by its `rule_id`.
    rule_id: Option<String>,
    /// A rule in the form of the API, which is not kept.
    rule: Option<Map<String, Value>>,
    /// How many days back, by `@timestamp`.
    #[schema(minimum = 1, maximum = 3650)]
    days: u32,
}

/// Says what a rule would have found in the last days.
#[utoipa::path(
    post, path = "/api/backtest", tag = EQLIPSE,
    request_body = BacktestRequest,
    responses((status = 200, description = "Alerts per day, and the noisiest values", body = schemas::BacktestReply), (status = 404, description = "There is no such rule")),
)]
async fn backtest(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    in_query_time(&app, move |app, stop| {
        let request: BacktestRequest = serde_json::from_slice(body.bytes()).map_err(invalid)?;
        if !(1..=MAX_DAYS).contains(&request.days) {
            return Err(invalid(format!("days must be from 1 to {MAX_DAYS}")));
        }
        let key = match (&request.id, &request.rule_id, request.rule) {
            (Some(id), None, None) => Ok(RuleKey::Id(id)),
            (None, Some(rule_id), None) => Ok(RuleKey::RuleId(rule_id)),
            (None, None, Some(document)) => Err(draft(document, &Uuid::new_v4().to_string(), caller.name())?),
            _ => return Err(invalid("exactly one of \"id\", \"rule_id\" and \"rule\" must be set")),
        };
        let rule = match key {
            Ok(key) => app.control.rule(&key)?.ok_or_else(|| not_found(&key))?,
            Err(draft) => draft,
        };
        run_backtest(app, &rule, request.days, stop).map(Json)
    })
    .await
}

/// A hunt with one rule over the stored events of some days.
fn run_backtest(app: &App, rule: &StoredRule, days: u32, stop: &Arc<AtomicBool>) -> Result<Value, Failure> {
    let book = RuleBook::compile(RuleLoad { rules: vec![loaded(rule)], ..RuleLoad::default() }, |_| true, false);
    if let Some(unloaded) = book.report().unloaded.first() {
        return Err(engine(StatusCode::BAD_REQUEST, unloaded.reason.clone()));
    }
    if book.rules().is_empty() {
        let reason = format!("rules of type {} do not run yet", rule.rule.rule_type().as_str());
        return Err(engine(StatusCode::BAD_REQUEST, reason));
    }
    let to = crate::now();
    let from = to.saturating_sub(i64::from(days) * 86_400_000_000_000);
    let window = Window { from: Some(from), to: Some(to) };
    let snapshot = app.store.snapshot();
    let inputs = snapshot.discovery(&TimeRange { timestamp: window, ..TimeRange::default() }, |_| true);
    let options = HuntOptions {
        window,
        order_by: OrderBy::Timestamp,
        max_alerts: Some(MAX_ALERTS),
        memory_limit: app.config.limits.query_memory.as_usize(),
        cancel: Some(stop.clone()),
        ..HuntOptions::default()
    };
    let report = eqlipse_hunt::run(&book, &inputs, &options, &Progress::default());
    let report = report.map_err(|error| Failure::Internal(error.to_string()))?;
    let beyond: u64 = report.capped.values().sum();
    Ok(json!({
        "rule_id": rule.rule.rule_id,
        "from": iso_text(from.div_euclid(1_000_000)),
        "to": iso_text(to.div_euclid(1_000_000)),
        "events": report.events,
        "took": report.elapsed.as_millis() as u64,
        "alerts": report.alerts.len() as u64 + beyond,
        "alerts_per_day": per_day(&report.alerts),
        "noisiest": NOISY_FIELDS.map(|field| json!({ "field": field, "values": noisiest(&report.alerts, field) })),
        "looked_at": report.alerts.len(),
    }))
}

fn per_day(alerts: &[Alert]) -> Value {
    let mut days: BTreeMap<String, u64> = BTreeMap::new();
    for time in alerts.iter().filter_map(|alert| alert.time_ns) {
        let day: String = iso_text(time.div_euclid(1_000_000)).chars().take(10).collect();
        *days.entry(day).or_default() += 1;
    }
    days.into_iter().map(|(day, count)| json!({ "day": day, "count": count })).collect()
}

/// The values that most alerts have in a field of one of their events.
fn noisiest(alerts: &[Alert], field: &str) -> Value {
    let field = Field::new(field);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for alert in alerts {
        let mut values: Vec<String> = Vec::new();
        for event in alert.events.iter().flatten() {
            let document = Document { index: "", id: "", source: &event.source };
            field.any(&document, &mut |value| {
                if let Value::String(text) = crate::dsl::json(value) {
                    values.push(text);
                }
                false
            });
        }
        values.sort();
        values.dedup();
        values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    counts.into_iter().take(SHOWN_VALUES).map(|(value, count)| json!({ "value": value, "count": count })).collect()
}

/// Shows the windows over which rules were run: the last of each rule, or those of one.
#[utoipa::path(
    get, path = "/api/ledger", tag = EQLIPSE,
    params(schemas::RuleKeyParams, ("limit" = Option<u64>, Query, description = "How many at most")),
    responses((status = 200, description = "Windows, the newest first", body = Vec<schemas::LedgerEntry>), (status = 404, description = "There is no such rule")),
)]
async fn ledger(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&["id", "rule_id", "limit"])?;
    app.blocking(move |app| {
        let limit = params.count("limit")?.unwrap_or(SHOWN_EXECUTIONS).min(MAX_EXECUTIONS);
        let key = match (params.get("id"), params.get("rule_id")) {
            (Some(id), None) => RuleKey::Id(id),
            (None, Some(rule_id)) => RuleKey::RuleId(rule_id),
            (None, None) => return Ok(Json(app.control.latest_executions()?.iter().map(shown).collect())),
            _ => return Err(engine(StatusCode::BAD_REQUEST, "choose one of \"id\" and \"rule_id\"")),
        };
        let rule = app.control.rule(&key)?.ok_or_else(|| not_found(&key))?;
        Ok(Json(app.control.ledger(&rule.id, limit)?.iter().map(shown).collect()))
    })
    .await
}

fn shown(execution: &Execution) -> Value {
    let time = |nanos: i64| iso_text(nanos.div_euclid(1_000_000));
    json!({
        "uuid": execution.uuid,
        "id": execution.rule,
        "rule_id": execution.rule_id,
        "from": time(execution.from),
        "to": time(execution.to),
        "kind": execution.kind.as_str(),
        "scheduled": time(execution.scheduled),
        "started": time(execution.started),
        "duration": (execution.finished - execution.started) / 1_000_000,
        "status": execution.status.as_str(),
        "matches": execution.matches,
        "alerts": execution.new_alerts,
        "known_alerts": execution.known_alerts,
        "capped": execution.capped,
        "late_events": execution.late_events,
        "missed_events": execution.missed_events,
        "message": execution.message,
    })
}
