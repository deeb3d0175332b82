//! Whether the service lives, and whether it can take events now. Without credentials, so without details.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready))
}

/// The process answers.
async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

/// 200 while events are taken; 503 while the service stops or its background work on events fails.
async fn ready(State(app): State<App>) -> Response {
    if app.stopping.load(Ordering::Relaxed) {
        return not_ready("stopping");
    }
    match app.intake(|app| Ok(app.store.stats())).await {
        Ok(stats) if stats.problem.is_some() => {
            not_ready("the store cannot write events to segments; the log and /metrics say more")
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
