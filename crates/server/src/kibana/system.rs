//! What Kibana's clients ask around rules and alerts: who they are, what they may do, which version it is.

use std::collections::{BTreeSet, HashMap};

use axum::Json;
use axum::extract::{Path, State};
use eqlipse_control::Role;
use eqlipse_rules::LoadedRule;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::elastic::{ELASTIC_VERSION, who_one_is};
use crate::http::Failure;
use crate::openapi::{KIBANA, schemas};
use crate::search::ALERTS_ALIASES;
use crate::state::{App, Caller};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(spaces))
        .routes(routes!(space))
        .routes(routes!(me))
        .routes(routes!(tags))
        .routes(routes!(privileges))
        .routes(routes!(index, acknowledge))
        .routes(routes!(prepackaged))
        .routes(routes!(install_prepackaged))
}

/// Says how the service is.
#[utoipa::path(
    get, path = "/api/status", tag = KIBANA,
    responses((status = 200, description = "Version and state", body = schemas::StatusReply)),
)]
async fn status(State(app): State<App>, _: Caller) -> Json<Value> {
    // The same as long as the data folder stays where it is.
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_URL, app.config.server.data.as_os_str().as_encoded_bytes());
    let fine = json!({ "level": "available", "summary": "All services and plugins are available" });
    Json(json!({
        "name": "eqlipse",
        "uuid": uuid.to_string(),
        "version": {
            "number": ELASTIC_VERSION,
            "build_hash": env!("CARGO_PKG_VERSION"),
            "build_number": 0,
            "build_snapshot": false,
            "build_flavor": "traditional",
        },
        "status": { "overall": fine, "core": { "elasticsearch": fine, "savedObjects": fine }, "plugins": {} },
        "metrics": { "last_updated": crate::dsl::iso_text(crate::now().div_euclid(1_000_000)) },
    }))
}

fn default_space() -> Value {
    json!({
        "id": "default",
        "name": "Default",
        "description": "This is your default space!",
        "color": "#00bfb3",
        "disabledFeatures": [],
        "_reserved": true,
    })
}

/// Shows the one space.
#[utoipa::path(
    get, path = "/api/spaces/space", tag = KIBANA,
    responses((status = 200, description = "The space", body = Vec<schemas::Space>)),
)]
async fn spaces(_: Caller) -> Json<Value> {
    Json(json!([default_space()]))
}

/// Shows the space.
#[utoipa::path(
    get, path = "/api/spaces/space/{space}", tag = KIBANA,
    params(("space" = String, Path, description = "`default`")),
    responses((status = 200, description = "The space", body = schemas::Space)),
)]
async fn space(_: Caller, Path(space): Path<String>) -> Result<Json<Value>, Failure> {
    if space == "default" { Ok(Json(default_space())) } else { Err(Failure::NotFound("Not Found".to_owned())) }
}

/// Says who one is.
#[utoipa::path(
    get, path = "/internal/security/me", tag = KIBANA,
    responses((status = 200, description = "The caller", body = schemas::Me)),
)]
async fn me(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    let mut answer = who_one_is(&app, caller).await?;
    answer["authentication_provider"] = json!({ "type": "basic", "name": "basic" });
    answer["elastic_cloud_user"] = false.into();
    Ok(Json(answer))
}

/// Lists the tags of all rules.
#[utoipa::path(
    get, path = "/api/detection_engine/tags", tag = KIBANA,
    responses((status = 200, description = "Tags", body = Vec<String>)),
)]
async fn tags(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    let rules = app.blocking(|app| Ok(app.control.rules()?)).await?;
    let tags: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.rule.tags).collect();
    Ok(Json(json!(tags)))
}

/// Says what one may do.
#[utoipa::path(
    get, path = "/api/detection_engine/privileges", tag = KIBANA,
    responses((status = 200, description = "Privileges", body = schemas::Privileges)),
)]
async fn privileges(caller: Caller) -> Json<Value> {
    let (reads, works, writes) = (caller.has(Role::Reader), caller.has(Role::Analyst), caller.has(Role::Author));
    let admin = caller.has(Role::Admin);
    let names = |names: &[(&str, bool)]| {
        names.iter().map(|(name, has)| ((*name).to_owned(), (*has).into())).collect::<Map<String, Value>>()
    };
    let index = names(&[
        ("all", admin),
        ("read", reads),
        ("view_index_metadata", reads),
        ("maintenance", works),
        ("write", works),
        ("index", works),
        ("create", works),
        ("create_doc", works),
        ("delete", admin),
        ("create_index", admin),
        ("delete_index", admin),
        ("manage", admin),
        ("monitor", reads),
    ]);
    let cluster = names(&[
        ("all", admin),
        ("manage", admin),
        ("monitor", reads),
        ("manage_security", admin),
        ("manage_api_key", true),
    ]);
    Json(json!({
        "username": caller.name(),
        "has_all_requested": admin,
        "is_authenticated": true,
        "has_encryption_key": true,
        "cluster": cluster,
        "index": { ALERTS_ALIASES[0]: index },
        "application": { "siem": { "crud": writes, "read": reads } },
    }))
}

/// Names the index of alerts.
#[utoipa::path(
    get, path = "/api/detection_engine/index", tag = KIBANA,
    responses((status = 200, description = "The index", body = schemas::AlertsIndex)),
)]
async fn index(caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    Ok(Json(json!({ "name": ALERTS_ALIASES[0], "index_mapping_outdated": false })))
}

/// Does nothing: the alerts' index is always there and never goes.
#[utoipa::path(
    method(post, delete), path = "/api/detection_engine/index", tag = KIBANA,
    responses((status = 200, description = "There was nothing to do", body = schemas::Acknowledged)),
)]
async fn acknowledge(caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    Ok(Json(json!({ "acknowledged": true })))
}

/// Says how many of the bundled rules are installed.
#[utoipa::path(
    get, path = "/api/detection_engine/rules/prepackaged/_status", tag = KIBANA,
    responses((status = 200, description = "How many rules", body = schemas::PrepackagedStatus)),
)]
async fn prepackaged(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.blocking(|app| {
        let rules = app.control.rules()?;
        let installed = rules.iter().filter(|rule| rule.immutable).count();
        let versions: HashMap<&str, (bool, u64)> = rules
            .iter()
            .map(|rule| (rule.rule.rule_id.as_str(), (rule.immutable, u64::from(rule.rule.version))))
            .collect();
        let (mut missing, mut older) = (0, 0);
        for LoadedRule { rule, .. } in &app.bundled {
            match versions.get(rule.rule_id.as_str()) {
                None => missing += 1,
                Some((true, version)) if *version < u64::from(rule.version) => older += 1,
                Some(_) => {}
            }
        }
        Ok(Json(json!({
            "rules_custom_installed": rules.len() - installed,
            "rules_installed": installed,
            "rules_not_installed": missing,
            "rules_not_updated": older,
            "timelines_installed": 0,
            "timelines_not_installed": 0,
            "timelines_not_updated": 0,
        })))
    })
    .await
}

/// Installs the bundled rules that are missing, enabled, and updates the others.
#[utoipa::path(
    put, path = "/api/detection_engine/rules/prepackaged", tag = KIBANA,
    responses((status = 200, description = "How many rules", body = schemas::PrepackagedInstalled)),
)]
async fn install_prepackaged(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    app.blocking(move |app| {
        let report = app.control.install(&app.bundled, true, caller.name(), crate::now())?;
        app.scheduler.wake();
        Ok(Json(json!({
            "rules_installed": report.installed,
            "rules_updated": report.updated,
            "timelines_installed": 0,
            "timelines_updated": 0,
        })))
    })
    .await
}
