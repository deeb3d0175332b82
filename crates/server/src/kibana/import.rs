//! Rules in, as NDJSON.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use eqlipse_control::{ControlError, Role, RuleKey};
use serde_json::{Map, Value, json};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::{MAX_RULES, engine};
use crate::http::{Failure, Payload};
use crate::openapi::{KIBANA, schemas};
use crate::search::Params;
use crate::state::{App, Caller};

pub(super) fn routes() -> OpenApiRouter<App> {
    // The body has the limits of every other one already.
    OpenApiRouter::new().routes(routes!(import).layer(DefaultBodyLimit::disable()))
}

/// Takes rules in, as NDJSON.
#[utoipa::path(
    post, path = "/api/detection_engine/rules/_import", tag = KIBANA,
    params(schemas::ImportParams),
    request_body(content = schemas::ImportForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "What became of the rules", body = schemas::ImportReply)),
)]
async fn import(
    State(app): State<App>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    let overwrite = params.flag("overwrite")?.unwrap_or(false);
    for name in ["overwrite_exceptions", "overwrite_action_connectors", "as_new_list"] {
        params.flag(name)?;
    }
    let (head, body) = request.into_parts();
    let limit = app.config.limits.request_bytes.0;
    let payload = Payload::read(Request::from_parts(head.clone(), body), &app, limit).await?;
    let text = file(Request::from_parts(head, Body::from(payload.bytes().clone()))).await?;
    app.blocking(move |app| {
        let _payload = payload;
        let report = Import::read(&text)?.run(app, overwrite, caller.name())?;
        app.scheduler.wake();
        Ok(Json(report))
    })
    .await
}

/// The file of the form.
async fn file(request: Request) -> Result<String, Failure> {
    let broken = |error: String| Failure::IllegalArgument(format!("the multipart form cannot be read: {error}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(|error| broken(error.body_text()))? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().unwrap_or_default().to_owned();
        let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
        if extension != ".ndjson" {
            return Err(engine(StatusCode::BAD_REQUEST, format!("Invalid file extension {extension}")));
        }
        let bytes = field.bytes().await.map_err(|error| broken(error.body_text()))?;
        return String::from_utf8(bytes.into())
            .map_err(|_| engine(StatusCode::BAD_REQUEST, "the file is no UTF-8 text"));
    }
    Err(Failure::IllegalArgument("[request body]: file: Required".to_owned()))
}

/// What stands in a file.
#[derive(Default)]
struct Import {
    rules: Vec<(String, Map<String, Value>)>,
    errors: Vec<Value>,
    /// Lines that were meant to be rules.
    rule_lines: usize,
    exceptions: Vec<Value>,
    connectors: Vec<Value>,
}

fn problem(rule_id: Option<&str>, status: u16, message: impl Into<String>) -> Value {
    let error = json!({ "status_code": status, "message": message.into() });
    match rule_id {
        Some(rule_id) => json!({ "rule_id": rule_id, "error": error }),
        None => json!({ "rule_id": "(unknown id)", "error": error }),
    }
}

impl Import {
    fn read(text: &str) -> Result<Self, Failure> {
        let mut import = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match serde_json::from_str::<Value>(line) {
                Ok(Value::Object(map)) => import.line(map),
                Ok(_) => import.bad("a line is no JSON object".to_owned()),
                Err(error) => import.bad(format!("a line is no JSON: {error}")),
            }
            if import.rule_lines > MAX_RULES {
                return Err(engine(StatusCode::BAD_REQUEST, format!("Can't import more than {MAX_RULES} rules")));
            }
        }
        Ok(import)
    }

    fn bad(&mut self, message: String) {
        self.rule_lines += 1;
        self.errors.push(problem(None, 400, message));
    }

    fn line(&mut self, map: Map<String, Value>) {
        let has = |name: &str| map.contains_key(name);
        if has("exported_count") || has("exported_rules_count") {
            return;
        }
        if has("list_id") && !has("rule_id") {
            let list = map.get("list_id").cloned().unwrap_or_default();
            let error = json!({ "status_code": 400, "message": "exception lists are not supported yet" });
            self.exceptions.push(json!({ "list_id": list, "item_id": map.get("item_id"), "error": error }));
            return;
        }
        // A connector is a saved object.
        if map.get("type").and_then(Value::as_str) == Some("action") && has("attributes") {
            let error = json!({ "status_code": 400, "message": "action connectors are not supported yet" });
            self.connectors.push(json!({ "id": map.get("id"), "error": error }));
            return;
        }
        self.rule_lines += 1;
        match map.get("rule_id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(rule_id) => self.rules.push((rule_id.to_owned(), map)),
            None => self.errors.push(problem(None, 400, "rule_id: Required")),
        }
    }

    fn run(mut self, app: &App, overwrite: bool, by: &str) -> Result<Value, Failure> {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (place, (rule_id, _)) in self.rules.iter().enumerate() {
            if last.insert(rule_id, place).is_some() && !overwrite {
                self.errors.push(problem(
                    Some(rule_id),
                    400,
                    format!("More than one rule with rule-id: \"{rule_id}\" found"),
                ));
            }
        }
        let mut taken = 0usize;
        for (place, (rule_id, document)) in self.rules.iter().enumerate() {
            // Of several with the same id, the last one counts.
            if last.get(rule_id.as_str()) != Some(&place) {
                continue;
            }
            match store(app, rule_id, document, overwrite, by)? {
                None => taken += 1,
                Some(error) => self.errors.push(error),
            }
        }
        let is_fine = |errors: &[Value]| errors.is_empty();
        Ok(json!({
            "success": is_fine(&self.errors),
            "success_count": taken,
            "rules_count": self.rule_lines,
            "errors": self.errors,
            "exceptions_success": is_fine(&self.exceptions),
            "exceptions_success_count": 0,
            "exceptions_errors": self.exceptions,
            "action_connectors_success": is_fine(&self.connectors),
            "action_connectors_success_count": 0,
            "action_connectors_errors": self.connectors,
            "action_connectors_warnings": [],
        }))
    }
}

/// Takes a rule in; what is wrong with it where it cannot be.
fn store(
    app: &App,
    rule_id: &str,
    document: &Map<String, Value>,
    overwrite: bool,
    by: &str,
) -> Result<Option<Value>, Failure> {
    let now = crate::now();
    let bundled = app.bundled.iter().find(|bundled| bundled.rule.rule_id == rule_id);
    let made = match bundled {
        // It is that rule, as people changed it elsewhere.
        Some(bundled) => app.control.create_installed_rule(document.clone(), &bundled.rule, by, now),
        None => app.control.create_rule(document.clone(), by, now),
    };
    let made = match made {
        Err(ControlError::Conflict { .. }) if overwrite => {
            app.control.update_rule(&RuleKey::RuleId(rule_id), document.clone(), by, now)
        }
        made => made,
    };
    match made {
        Ok(_) => Ok(None),
        Err(error @ ControlError::Conflict { .. }) => Ok(Some(problem(Some(rule_id), 409, error.to_string()))),
        Err(error @ (ControlError::Invalid(_) | ControlError::NotFound { .. })) => {
            Ok(Some(problem(Some(rule_id), 400, error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}
