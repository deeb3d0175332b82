//! Rules: made, read, changed, removed, found.

use std::cmp::Ordering;
use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use eqlipse_control::{Control, Execution, ExecutionStatus, Role, RuleKey, StoredRule};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::kql::{Kql, Lookup};
use super::{engine, not_found, refused};
use crate::dsl::{find, iso_text};
use crate::http::{Failure, Payload};
use crate::openapi::bodies::{RuleBody, RulePatch};
use crate::openapi::{KIBANA, schemas};
use crate::search::Params;
use crate::state::{App, Caller};

/// The most rules on a page.
const MAX_PER_PAGE: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, update, patch, read, delete)).routes(routes!(find_rules))
}

/// The key of a rule in a body or URL.
fn key<'a>(id: Option<&'a str>, rule_id: Option<&'a str>) -> Result<RuleKey<'a>, Failure> {
    match (id, rule_id) {
        (Some(_), Some(_)) => {
            Err(engine(StatusCode::BAD_REQUEST, "both \"id\" and \"rule_id\" cannot exist, choose one or the other"))
        }
        (Some(id), None) => Ok(RuleKey::Id(id)),
        (None, Some(rule_id)) => Ok(RuleKey::RuleId(rule_id)),
        (None, None) => Err(engine(StatusCode::BAD_REQUEST, "either \"id\" or \"rule_id\" must be set")),
    }
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name).and_then(Value::as_str)
}

/// Makes a rule.
#[utoipa::path(
    post, path = "/api/detection_engine/rules", tag = KIBANA,
    request_body = RuleBody,
    responses((status = 200, description = "The rule", body = schemas::RuleReply), (status = 409, description = "There is a rule with this rule_id, or it was changed meanwhile")),
)]
async fn create(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    app.blocking(move |app| {
        let document: Map<String, Value> = body.json()?;
        let stored =
            app.control.create_rule(document, caller.name(), crate::now()).map_err(|error| refused(error, None))?;
        app.scheduler.wake();
        Ok(Json(Value::Object(stored.document)))
    })
    .await
}

/// Replaces a rule.
#[utoipa::path(
    put, path = "/api/detection_engine/rules", tag = KIBANA,
    request_body = RuleBody,
    responses((status = 200, description = "The rule", body = schemas::RuleReply), (status = 404, description = "There is no such rule"), (status = 409, description = "There is a rule with this rule_id, or it was changed meanwhile")),
)]
async fn update(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    app.blocking(move |app| {
        let document: Map<String, Value> = body.json()?;
        let named = document.clone();
        let id = text(&named, "id");
        let key = key(id, text(&named, "rule_id").filter(|_| id.is_none()))?;
        let stored = app
            .control
            .update_rule(&key, document, caller.name(), crate::now())
            .map_err(|error| refused(error, Some(&key)))?;
        app.scheduler.wake();
        shown(&app.control, stored).map(Json)
    })
    .await
}

/// Changes parts of a rule.
#[utoipa::path(
    patch, path = "/api/detection_engine/rules", tag = KIBANA,
    request_body = RulePatch,
    responses((status = 200, description = "The rule", body = schemas::RuleReply), (status = 404, description = "There is no such rule"), (status = 409, description = "There is a rule with this rule_id, or it was changed meanwhile")),
)]
async fn patch(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    app.blocking(move |app| {
        let mut document: Map<String, Value> = body.json()?;
        let (id, rule_id) = (document.shift_remove("id"), document.shift_remove("rule_id"));
        let (id, rule_id) = (id.as_ref().and_then(Value::as_str), rule_id.as_ref().and_then(Value::as_str));
        let key = key(id, rule_id.filter(|_| id.is_none()))?;
        let stored = app
            .control
            .patch_rule(&key, document, caller.name(), crate::now())
            .map_err(|error| refused(error, Some(&key)))?;
        app.scheduler.wake();
        shown(&app.control, stored).map(Json)
    })
    .await
}

/// Shows a rule.
#[utoipa::path(
    get, path = "/api/detection_engine/rules", tag = KIBANA,
    params(schemas::RuleKeyParams),
    responses((status = 200, description = "The rule", body = schemas::RuleReply), (status = 404, description = "There is no such rule")),
)]
async fn read(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.blocking(move |app| {
        let key = key(params.get("id"), params.get("rule_id"))?;
        let stored = app.control.rule(&key)?.ok_or_else(|| not_found(&key))?;
        shown(&app.control, stored).map(Json)
    })
    .await
}

/// Removes a rule.
#[utoipa::path(
    delete, path = "/api/detection_engine/rules", tag = KIBANA,
    params(schemas::RuleKeyParams),
    responses((status = 200, description = "The rule as it was", body = schemas::RuleReply), (status = 404, description = "There is no such rule")),
)]
async fn delete(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    app.blocking(move |app| {
        let key = key(params.get("id"), params.get("rule_id"))?;
        let stored =
            app.control.delete_rule(&key, caller.name(), crate::now()).map_err(|error| refused(error, Some(&key)))?;
        app.scheduler.wake();
        Ok(Json(Value::Object(stored.document)))
    })
    .await
}

/// The rule with what its last execution came to.
fn shown(control: &Control, stored: StoredRule) -> Result<Value, Failure> {
    let last = control.ledger(&stored.id, 1)?;
    Ok(with_summary(stored.document, last.first()))
}

/// A status as Kibana has it, and its place among the others.
fn status(execution: &Execution) -> (&'static str, i64) {
    match execution.status {
        ExecutionStatus::Succeeded => ("succeeded", 0),
        ExecutionStatus::Warning => ("partial failure", 20),
        ExecutionStatus::Failed => ("failed", 30),
    }
}

fn with_summary(mut document: Map<String, Value>, last: Option<&Execution>) -> Value {
    if let Some(last) = last {
        let (status, order) = status(last);
        let millis = |nanos: i64| nanos.div_euclid(1_000_000);
        let summary = json!({ "last_execution": {
            "date": iso_text(millis(last.started)),
            "status": status,
            "status_order": order,
            "message": last.message,
            "metrics": { "total_search_duration_ms": millis(last.finished - last.started) },
        } });
        document.insert("execution_summary".to_owned(), summary);
    }
    Value::Object(document)
}

/// A rule as filters see it: as the saved object that Kibana keeps.
pub(super) struct SavedObject<'a>(pub &'a StoredRule);

/// `riskScore` as `risk_score`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

impl Lookup for SavedObject<'_> {
    fn values(&self, field: &str) -> Vec<Value> {
        let rule = self.0;
        if matches!(field, "alert.id" | "id") {
            return vec![format!("alert:{}", rule.id).into(), rule.id.clone().into()];
        }
        let name = field.strip_prefix("alert.attributes.").unwrap_or(field);
        let name = name.strip_suffix(".keyword").unwrap_or(name);
        match name {
            "consumer" => return vec!["siem".into()],
            "alertTypeId" => return vec![rule.rule.rule_type().rule_type_id().into()],
            _ => {}
        }
        let name = name.strip_prefix("params.").or_else(|| name.strip_prefix("mapped_params.")).unwrap_or(name);
        let mut values = Vec::new();
        find(&rule.document, &snake_case(name), &mut |value| {
            match value {
                Value::Array(items) => values.extend(items.iter().cloned()),
                value => values.push(value.clone()),
            }
            false
        });
        values
    }

    fn has_words(&self, field: &str) -> bool {
        matches!(field, "alert.attributes.name" | "name" | "alert.attributes.params.description")
    }

    fn default_fields(&self) -> &[&str] {
        &[
            "alert.attributes.name",
            "alert.attributes.tags",
            "alert.attributes.params.index",
            "alert.attributes.params.ruleId",
        ]
    }
}

/// The rules that pass a filter.
///
/// # Errors
/// If it is none, or rules cannot be read.
pub(super) fn filtered(control: &Control, filter: &str) -> Result<Vec<StoredRule>, Failure> {
    let filter = Kql::parse(filter).map_err(|error| engine(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut rules = control.rules()?;
    rules.retain(|rule| filter.matches(&SavedObject(rule)));
    Ok(rules)
}

/// What a list of rules is ordered by.
enum Order {
    /// Something of the rules themselves.
    Rule(fn(&StoredRule, &StoredRule) -> Ordering),
    /// Something of their last executions, where they have it.
    Execution(fn(&Execution) -> Option<i64>),
}

impl Order {
    fn by(field: &str) -> Result<Self, Failure> {
        if let Some(field) = field.strip_prefix("execution_summary.last_execution.") {
            let value: Option<fn(&Execution) -> Option<i64>> = match field {
                "date" => Some(|last| Some(last.started)),
                "status" => Some(|last| Some(status(last).1)),
                "metrics.total_search_duration_ms" => Some(|last| Some(last.finished - last.started)),
                // Nobody counts these here.
                "metrics.total_indexing_duration_ms" | "metrics.execution_gap_duration_s" => Some(|_| None),
                _ => None,
            };
            return value.map(Self::Execution).ok_or_else(|| Self::unknown(field));
        }
        Ok(Self::Rule(match field {
            "name" => |a, b| a.rule.name.to_lowercase().cmp(&b.rule.name.to_lowercase()),
            "enabled" => |a, b| a.enabled.cmp(&b.enabled),
            "created_at" | "createdAt" => |a, b| a.created_at.cmp(&b.created_at),
            "updated_at" | "updatedAt" => |a, b| a.updated_at.cmp(&b.updated_at),
            "risk_score" | "riskScore" => |a, b| a.rule.risk_score.cmp(&b.rule.risk_score),
            "severity" => |a, b| a.rule.severity.cmp(&b.rule.severity),
            other => return Err(Self::unknown(other)),
        }))
    }

    fn unknown(field: &str) -> Failure {
        let known = "name, enabled, created_at, updated_at, risk_score, severity, \
            execution_summary.last_execution.{date, status, metrics.execution_gap_duration_s, \
            metrics.total_indexing_duration_ms, metrics.total_search_duration_ms}";
        Failure::IllegalArgument(format!("[request query]: sort_field: [{field}] is none of {known}"))
    }

    /// Rules that have nothing to be ordered by are the last ones, whatever the direction.
    fn sort(&self, rules: &mut [StoredRule], last: &HashMap<String, Execution>, descending: bool) {
        let directed = |order: Ordering| if descending { order.reverse() } else { order };
        match self {
            Self::Rule(compare) => rules.sort_by(|a, b| directed(compare(a, b))),
            Self::Execution(value) => {
                let value = |rule: &StoredRule| last.get(&rule.id).and_then(value);
                rules.sort_by(|a, b| match (value(a), value(b)) {
                    (Some(a), Some(b)) => directed(a.cmp(&b)),
                    (a, b) => b.is_some().cmp(&a.is_some()),
                });
            }
        }
    }
}

/// Finds rules.
#[utoipa::path(
    get, path = "/api/detection_engine/rules/_find", tag = KIBANA,
    params(schemas::FindRulesParams),
    responses((status = 200, description = "A page of rules", body = schemas::RulesPage)),
)]
async fn find_rules(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.blocking(move |app| {
        let bad = |reason: String| Failure::IllegalArgument(format!("[request query]: {reason}"));
        let page = params.count("page")?.unwrap_or(1);
        let per_page = params.count("per_page")?.unwrap_or(20);
        if page == 0 {
            return Err(bad("page: Number must be greater than or equal to 1".to_owned()));
        }
        if per_page > MAX_PER_PAGE {
            return Err(bad(format!("per_page: at most {MAX_PER_PAGE}, found {per_page}")));
        }
        let mut rules = filtered(&app.control, params.get("filter").unwrap_or_default())?;
        let (field, direction) = (params.get("sort_field"), params.get("sort_order"));
        let descending = match (field, direction) {
            (Some(_), None) | (None, Some(_)) => {
                return Err(bad("when \"sort_order\" and \"sort_field\" must exist together or not at all".to_owned()));
            }
            (_, Some("asc") | None) => false,
            (_, Some("desc")) => true,
            (_, Some(other)) => return Err(bad(format!("sort_order: [{other}] is neither asc nor desc"))),
        };
        let order = Order::by(field.unwrap_or("enabled"))?;
        let last: HashMap<String, Execution> =
            app.control.latest_executions()?.into_iter().map(|execution| (execution.rule.clone(), execution)).collect();
        // Kibana lists enabled rules first where nothing is said.
        order.sort(&mut rules, &last, descending || field.is_none());
        let total = rules.len();
        let start = (page - 1).saturating_mul(per_page);
        let data: Vec<Value> = rules
            .into_iter()
            .skip(start)
            .take(per_page)
            .map(|rule| {
                let last = last.get(&rule.id);
                with_summary(rule.document, last)
            })
            .collect();
        Ok(Json(json!({ "page": page, "perPage": per_page, "total": total, "data": data })))
    })
    .await
}
