//! Rules out, as NDJSON.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use eqlipse_control::{Role, RuleKey, StoredRule};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{MAX_RULES, engine};
use crate::http::{Failure, Payload};
use crate::openapi::bodies::ExportBody;
use crate::openapi::{KIBANA, schemas};
use crate::search::Params;
use crate::state::{App, Caller};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Gives rules as NDJSON.
#[utoipa::path(
    post, path = "/api/detection_engine/rules/_export", tag = KIBANA,
    params(schemas::ExportParams),
    request_body = ExportBody,
    responses((status = 200, description = "A rule a line, then what there is to say of all", body = String, content_type = "application/ndjson")),
)]
async fn export(State(app): State<App>, caller: Caller, params: Params, body: Payload) -> Result<Response, Failure> {
    caller.require(Role::Reader)?;
    let without_details = params.flag("exclude_export_details")?.unwrap_or(false);
    let name = params.get("file_name").unwrap_or("export.ndjson").to_owned();
    let text = app
        .blocking(move |app| {
            let body: Option<Map<String, Value>> = body.optional_json::<Option<_>>()?.flatten();
            let objects = body.as_ref().and_then(|body| body.get("objects")).filter(|objects| !objects.is_null());
            let (mut rules, mut missing) = (Vec::new(), Vec::new());
            match objects {
                None => rules = app.control.rules()?,
                Some(Value::Array(objects)) => {
                    for object in objects {
                        let id = object.get("rule_id").and_then(Value::as_str);
                        let id = id.ok_or_else(|| {
                            Failure::IllegalArgument("[request body]: objects.rule_id: Required".to_owned())
                        })?;
                        match app.control.rule(&RuleKey::RuleId(id))? {
                            Some(rule) => rules.push(rule),
                            None => missing.push(id.to_owned()),
                        }
                    }
                }
                Some(_) => return Err(Failure::IllegalArgument("[request body]: objects: Expected array".to_owned())),
            }
            if rules.len() > MAX_RULES {
                return Err(engine(StatusCode::BAD_REQUEST, format!("Can't export more than {MAX_RULES} rules")));
            }
            Ok(lines(rules, &missing, without_details))
        })
        .await?;
    Ok(download(text, &name))
}

/// One line for each rule, and one that sums them up.
pub(super) fn lines(rules: Vec<StoredRule>, missing: &[String], without_details: bool) -> String {
    let count = rules.len();
    let mut text = String::new();
    for mut rule in rules {
        rule.document.shift_remove("execution_summary");
        text.push_str(&Value::Object(rule.document).to_string());
        text.push('\n');
    }
    if !without_details {
        let missing_rules: Vec<Value> = missing.iter().map(|id| json!({ "rule_id": id })).collect();
        let details = json!({
            "exported_count": count,
            "exported_rules_count": count,
            "missing_rules": missing_rules,
            "missing_rules_count": missing.len(),
            "exported_exception_list_count": 0,
            "exported_exception_list_item_count": 0,
            "missing_exception_list_item_count": 0,
            "missing_exception_list_items": [],
            "missing_exception_lists": [],
            "missing_exception_lists_count": 0,
            "exported_action_connector_count": 0,
            "missing_action_connection_count": 0,
            "missing_action_connections": [],
            "excluded_action_connection_count": 0,
            "excluded_action_connections": [],
        });
        text.push_str(&details.to_string());
        text.push('\n');
    }
    text
}

/// NDJSON as a file to be saved.
pub(super) fn download(text: String, name: &str) -> Response {
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_. ".contains(*c)).collect();
    let disposition = format!("attachment; filename=\"{safe}\"");
    ([(CONTENT_TYPE, "application/ndjson".to_owned()), (CONTENT_DISPOSITION, disposition)], text).into_response()
}
