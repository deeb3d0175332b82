//! Whether the service lives, and whether it can take events now. Without credentials, so without details.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::openapi::{EQLIPSE, schemas};
use crate::state::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready))
}

/// Says that the process answers.
#[utoipa::path(
    get, path = "/health/live", tag = EQLIPSE,
    responses((status = 200, description = "It does", body = schemas::Health)),
)]
async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

/// Says whether events are taken.
///
/// They are not while the service stops or its background work on events fails.
#[utoipa::path(
    get, path = "/health/ready", tag = EQLIPSE,
    responses((status = 200, description = "They are", body = schemas::Health), (status = 503, description = "They are not", body = schemas::Health)),
)]
async fn ready(State(app): State<App>) -> Response {
    if app.stopping.load(Ordering::Relaxed) {
        return not_ready("stopping");
    }
    match app.intake(|app| Ok(app.store.stats())).await {
        Ok(stats) if stats.problem.is_some() => {
            not_ready("the store cannot write events to segments; the log and /metrics say more")
        }
        Ok(stats) if stats.quarantined > 0 => {
            let warning = "damaged segments are in quarantine; the log and `eqlipse store check` name them";
            Json(json!({ "status": "ready", "warning": warning })).into_response()
        }
        // Events are taken, and kept here.
        Ok(stats) if stats.objects.as_ref().is_some_and(|objects| objects.problem.is_some()) => {
            let warning = "segments wait for the object store; the log and /metrics say more";
            Json(json!({ "status": "ready", "warning": warning })).into_response()
        }
        Ok(_) => Json(json!({ "status": "ready" })).into_response(),
        Err(failure) => not_ready(&failure.to_string()),
    }
}

fn not_ready(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready", "reason": reason }))).into_response()
}
