//! Kibana's API for detection rules and alerts, as far as its clients need it, and two calls of our own that say why a
//! rule fires and which rules can.
//!
//! All of it is also below `/s/default`, the one space that there is. A call that changes something needs the header
//! `kbn-xsrf`, as in Kibana, so that no other site's page can make a browser do it.

mod bulk;
mod explain;
mod export;
mod import;
mod kql;
mod manual;
mod notes;
mod rules;
mod signals;
mod system;
mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use eqlipse_control::{ControlError, RuleKey};
use utoipa_axum::router::OpenApiRouter;

pub use kql::{Comparison, Kql, KqlError, Lookup, Test};
pub(crate) use manual::{MAX_WAITING, resume as resume_manual_runs};

use crate::http::Failure;
use crate::openapi::with_xsrf_header;
use crate::state::{App, StopOnDrop};

/// How many rules one request may change, import or export.
pub const MAX_RULES: usize = 10_000;

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    let api = OpenApiRouter::new()
        .merge(rules::routes())
        .merge(bulk::routes())
        .merge(import::routes())
        .merge(export::routes())
        .merge(signals::routes())
        .merge(notes::routes())
        .merge(system::routes())
        .merge(trial::routes())
        .layer(from_fn(wants_xsrf_header));
    with_xsrf_header(api)
        .merge(explain::routes())
        .merge(trial::own_routes())
        .merge(crate::sql::routes())
        .merge(crate::service::routes())
        .merge(crate::openapi::routes())
}

/// Refuses a call that changes something and may be another site's doing.
pub(crate) async fn wants_xsrf_header(request: Request, next: Next) -> Response {
    let only_reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let has_header = ["kbn-xsrf", "kbn-version"].iter().any(|name| request.headers().contains_key(*name));
    if only_reads || has_header {
        return next.run(request).await;
    }
    Failure::IllegalArgument("Request must contain a kbn-xsrf header.".to_owned()).into_response()
}

/// Does what looks at many events, as a query does: it is told to stop when it takes longer than a query may, or when its
/// request is gone. Of what it has then, much would be missing, and nothing is given.
async fn in_query_time<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&App, &Arc<AtomicBool>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let limit = app.config.limits.query_time.0;
    let stop = Arc::new(AtomicBool::new(false));
    let (guard, begun) = (StopOnDrop(stop.clone()), Instant::now());
    let work = app.blocking(move |app| match work(app, &stop) {
        Ok(_) if stop.load(Ordering::Relaxed) || begun.elapsed() > limit => {
            Err(Failure::Timeout { limit, setting: "limits.query_time" })
        }
        done => done,
    });
    tokio::pin!(work);
    tokio::select! {
        answer = &mut work => answer,
        () = tokio::time::sleep(limit) => {
            guard.0.store(true, Ordering::Relaxed);
            work.await
        }
    }
}

/// An error of the detection engine.
fn engine(status: StatusCode, message: impl Into<String>) -> Failure {
    Failure::Engine { status, message: message.into() }
}

/// What control data said, as the detection engine says it.
fn refused(error: ControlError, key: Option<&RuleKey<'_>>) -> Failure {
    match (&error, key) {
        (ControlError::NotFound { .. }, Some(key)) => not_found(key),
        (ControlError::Conflict { .. }, _) => engine(StatusCode::CONFLICT, error.to_string()),
        (ControlError::Invalid(reason), _) => Failure::IllegalArgument(format!("[request body]: {reason}")),
        _ => error.into(),
    }
}

fn not_found(key: &RuleKey<'_>) -> Failure {
    let text = match key {
        RuleKey::Id(id) => format!("id: \"{id}\" not found"),
        RuleKey::RuleId(id) => format!("rule_id: \"{id}\" not found"),
    };
    engine(StatusCode::NOT_FOUND, text)
}
