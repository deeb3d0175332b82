//! Our own calls: why a rule or query fires on the stored events, and which rules can fire at all.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use eqlipse_control::{Role, RuleKey, StoredRule};
use eqlipse_events::{OrderBy, Progress, Window};
use eqlipse_hunt::explain::{ExplainError, ExplainOptions, Subject, explain};
use eqlipse_hunt::readiness::readiness;
use eqlipse_hunt::{HuntOptions, RuleBook};
use eqlipse_rules::{LoadedRule, Origin, Rounding, Rule, RuleLoad};
use eqlipse_store::TimeRange;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{engine, in_query_time, not_found};
use crate::dsl::{Clock, DateFormat, Document, Field};
use crate::http::{Failure, Payload};
use crate::openapi::{EQLIPSE, schemas};
use crate::search::{Known, Options, Params, Target};
use crate::state::{App, Caller};

/// How many events an explanation looks at: it goes through them one by one on one thread.
pub const MAX_EXPLAINED_EVENTS: u64 = 2_000_000;

/// Findings, near misses and alerts that are shown where nothing is said, and at most.
const SHOWN: usize = 5;
const MAX_SHOWN: usize = 100;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(explain_rule)).routes(routes!(rules_readiness))
}

/// What is to be explained.
#[derive(Deserialize, ToSchema)]
#[schema(as = ExplainBody)]
#[serde(deny_unknown_fields)]
struct Request {
    /// A rule by its id here.
    id: Option<String>,
    /// A rule by its `rule_id`.
    rule_id: Option<String>,
    /// A query.
    query: Option<String>,
    /// The events of these indices; for a rule, its own patterns count beside.
    #[serde(default)]
    index: Vec<String>,
    /// The events from then on, as date math; a day where nothing is said.
    from: Option<Value>,
    /// And up to then.
    to: Option<Value>,
    /// How much is shown of each kind.
    limit: Option<usize>,
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::IllegalArgument(format!("[request body]: {reason}"))
}

pub(super) fn loaded(stored: &StoredRule) -> LoadedRule {
    let mut rule = Rule::clone(&stored.rule);
    rule.saved_object_id = Some(stored.id.clone());
    LoadedRule { origin: Origin::file(PathBuf::from(&rule.rule_id)), rule, content_hash: String::new() }
}

impl Request {
    fn subject(&self, app: &App) -> Result<Subject, Failure> {
        let refused = |error: ExplainError| engine(StatusCode::BAD_REQUEST, error.to_string());
        let key = match (&self.id, &self.rule_id, &self.query) {
            (Some(id), None, None) => RuleKey::Id(id),
            (None, Some(rule_id), None) => RuleKey::RuleId(rule_id),
            (None, None, Some(query)) => return Subject::of_query(query, false).map_err(refused),
            _ => return Err(invalid("exactly one of \"id\", \"rule_id\" and \"query\" must be set")),
        };
        let stored = app.control.rule(&key)?.ok_or_else(|| not_found(&key))?;
        Subject::of_rule(&loaded(&stored), false, false).map_err(refused)
    }

    /// In nanoseconds; the last day where nothing is said.
    fn range(&self) -> Result<TimeRange, Failure> {
        let clock = Clock { now: crate::now().div_euclid(1_000_000), zone: Default::default() };
        let day = Value::from("now-24h");
        let moment = |value: &Value, rounding| DateFormat::default().moment(value, &clock, rounding);
        let from = moment(self.from.as_ref().unwrap_or(&day), Rounding::Down)?;
        let to = self.to.as_ref().map(|to| moment(to, Rounding::Up)).transpose()?;
        let nanos = |millis: i64| millis.saturating_mul(1_000_000);
        let timestamp = Window { from: Some(nanos(from)), to: to.map(nanos) };
        Ok(TimeRange { timestamp, ..TimeRange::default() })
    }
}

/// Says why a rule or query fires on stored events, or why it does not.
#[utoipa::path(
    post, path = "/api/explain", tag = EQLIPSE,
    request_body = Request,
    responses((status = 200, description = "The explanation", body = schemas::ExplanationReply), (status = 404, description = "There is no such rule")),
)]
async fn explain_rule(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    in_query_time(&app, move |app, stop| {
        let request: Request = serde_json::from_slice(body.bytes()).map_err(invalid)?;
        let subject = request.subject(app)?;
        let range = request.range()?;
        let snapshot = app.store.snapshot();
        let known = Known::of(app, &snapshot);
        let target = Target::resolve(&request.index.join(","), &known, Options::default())?;
        let parts = snapshot.parts(&range).filter(|part| part.data_stream().is_none_or(|stream| target.has(stream)));
        let events: u64 = parts.map(|part| u64::from(part.rows())).sum();
        if events > MAX_EXPLAINED_EVENTS {
            return Err(engine(
                StatusCode::BAD_REQUEST,
                format!("an explanation looks at {MAX_EXPLAINED_EVENTS} events at most, and these are {events}: narrow `from`, `to` or `index`"),
            ));
        }
        let inputs = snapshot.discovery(&range, |stream| target.has(stream));
        let limit = request.limit.unwrap_or(SHOWN).min(MAX_SHOWN);
        let options = ExplainOptions { order_by: OrderBy::Timestamp, limit, describe: &describe, cancel: Some(stop) };
        let explained = explain(&subject, &inputs, &options, &Progress::default());
        let (explanation, _) = explained.map_err(|error| Failure::Internal(error.to_string()))?;
        serde_json::to_value(explanation).map(Json).map_err(|error| Failure::Internal(error.to_string()))
    })
    .await
}

/// What an event is about, in one line.
fn describe(event: &Map<String, Value>) -> String {
    let document = Document { index: "", id: "", source: event };
    let first = |names: &[&str]| {
        names.iter().find_map(|name| {
            let mut found = None;
            Field::new(name).any(&document, &mut |value| {
                found = Some(match crate::dsl::json(value) {
                    Value::String(text) => text,
                    other => other.to_string(),
                });
                true
            });
            found
        })
    };
    let what = first(&["event.action", "event.category", "event.code"]).unwrap_or_else(|| "event".to_owned());
    let detail = first(&[
        "process.command_line",
        "process.executable",
        "process.name",
        "registry.path",
        "file.path",
        "dns.question.name",
        "destination.ip",
        "source.ip",
        "message",
    ]);
    let parts = [
        Some(what),
        detail,
        first(&["user.name"]).map(|user| format!("by {user}")),
        first(&["host.name"]).map(|host| format!("on {host}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Says which rules can fire at all on what is stored, and what the others lack.
#[utoipa::path(
    get, path = "/api/readiness", tag = EQLIPSE,
    params(("enabled" = Option<bool>, Query, description = "Only rules that are enabled (the default)")),
    responses((status = 200, description = "Rules by their state", body = schemas::ReadinessReply)),
)]
async fn rules_readiness(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&["enabled"])?;
    let only_enabled = params.flag("enabled")?.unwrap_or(true);
    in_query_time(&app, move |app, stop| {
        let mut load = RuleLoad::default();
        let rules = app.control.rules()?;
        load.rules.extend(rules.iter().filter(|rule| rule.enabled || !only_enabled).map(loaded));
        let book = RuleBook::compile(load, |_| true, false);
        let snapshot = app.store.snapshot();
        let inputs = snapshot.discovery(&TimeRange::default(), |_| true);
        let options = HuntOptions { cancel: Some(stop.clone()), ..HuntOptions::default() };
        let seen = readiness(&book, &inputs, &options, &Progress::default());
        let seen = seen.map_err(|error| Failure::Internal(error.to_string()))?;
        serde_json::to_value(seen).map(Json).map_err(|error| Failure::Internal(error.to_string()))
    })
    .await
}
