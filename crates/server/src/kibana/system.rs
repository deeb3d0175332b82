//! What Kibana's clients ask around rules and alerts: who they are, what they may do, which version it is.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use eqlipse_control::Role;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::elastic::ELASTIC_VERSION;
use crate::http::Failure;
use crate::search::ALERTS_ALIASES;
use crate::state::{App, Caller};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/spaces/space", get(spaces))
        .route("/api/spaces/space/{space}", get(space))
        .route("/internal/security/me", get(me))
        .route("/api/detection_engine/tags", get(tags))
        .route("/api/detection_engine/privileges", get(privileges))
        .route("/api/detection_engine/index", get(index).post(acknowledge).delete(acknowledge))
        .route("/api/detection_engine/rules/prepackaged/_status", get(prepackaged))
        .route("/api/detection_engine/rules/prepackaged", axum::routing::put(install_prepackaged))
}

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

async fn spaces(_: Caller) -> Json<Value> {
    Json(json!([default_space()]))
}

async fn space(_: Caller, Path(space): Path<String>) -> Result<Json<Value>, Failure> {
    if space == "default" { Ok(Json(default_space())) } else { Err(Failure::NotFound("Not Found".to_owned())) }
}

async fn me(caller: Caller) -> Json<Value> {
    let roles: Vec<&str> = caller.0.roles.iter().map(|role| role.as_str()).collect();
    let (realm, authentication) = match &caller.0.api_key {
        Some(_) => (json!({ "name": "_es_api_key", "type": "_es_api_key" }), "api_key"),
        None => (json!({ "name": "default_native", "type": "native" }), "realm"),
    };
    Json(json!({
        "username": caller.name(),
        "roles": roles,
        "full_name": null,
        "email": null,
        "metadata": {},
        "enabled": true,
        "authentication_realm": realm,
        "lookup_realm": realm,
        "authentication_type": authentication,
        "authentication_provider": { "type": "basic", "name": "basic" },
        "elastic_cloud_user": false,
    }))
}

async fn tags(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    let rules = app.blocking(|app| Ok(app.control.rules()?)).await?;
    let tags: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.rule.tags).collect();
    Ok(Json(json!(tags)))
}

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

async fn index(caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    Ok(Json(json!({ "name": ALERTS_ALIASES[0], "index_mapping_outdated": false })))
}

/// The alerts' index is always there and never goes.
async fn acknowledge(caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    Ok(Json(json!({ "acknowledged": true })))
}

async fn prepackaged(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    let rules = app.blocking(|app| Ok(app.control.rules()?)).await?;
    let installed = rules.iter().filter(|rule| rule.immutable).count();
    Ok(Json(json!({
        "rules_custom_installed": rules.len() - installed,
        "rules_installed": installed,
        "rules_not_installed": 0,
        "rules_not_updated": 0,
        "timelines_installed": 0,
        "timelines_not_installed": 0,
        "timelines_not_updated": 0,
    })))
}

/// What comes with the service is installed at its start.
async fn install_prepackaged(caller: Caller) -> Result<Json<Value>, Failure> {
    caller.require(Role::Author)?;
    Ok(Json(json!({ "rules_installed": 0, "rules_updated": 0, "timelines_installed": 0, "timelines_updated": 0 })))
}
