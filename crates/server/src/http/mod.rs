//! HTTP: what is around all handlers.
//!
//! ```text
//! connection ─> frame ──────────> authenticate ─> route ─> handler ─> Payload
//!   limit, TLS    id, time, log,     Caller                  store,     body within its limits,
//!                 error shapes                               control    unpacked
//! ```
//!
//! A handler takes [`Caller`](crate::state::Caller) and asks it for a role, takes [`Payload`] for the body, does what blocks in
//! [`App::blocking`], and returns [`Failure`] where it cannot do what it should: the frame gives it the shape of the API
//! that the path belongs to.

mod auth;
mod body;
mod budget;
mod error;
mod filter;
mod frame;
pub(crate) mod listen;
mod logins;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::get;

pub use body::Payload;
pub use budget::{Budget, Share};
pub use error::{ElasticFailure, Failure, Shape};
pub use filter::PathFilter;
pub(crate) use filter::is_match;
pub(crate) use frame::Filtered;
pub use frame::RequestId;
pub use logins::Logins;

use crate::state::App;

/// All routes, with everything around them.
pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .merge(crate::elastic::routes())
        .merge(crate::ingest::routes())
        .merge(crate::health::routes())
        .merge(crate::search::routes())
        .merge(crate::kibana::routes())
        .route("/metrics", get(crate::metrics::metrics))
        .fallback(no_handler)
        .layer(from_fn_with_state(app.clone(), auth::authenticate))
        .layer(from_fn_with_state(app.clone(), frame::frame))
        .with_state(app.clone())
}

/// Elasticsearch says 400 to a path that it does not know, Kibana 404.
async fn no_handler(method: Method, uri: Uri) -> Failure {
    match Shape::of_path(uri.path()) {
        Shape::Kibana => Failure::NotFound("Not Found".to_owned()),
        Shape::Elastic => {
            let reason = format!("no handler found for uri [{}] and method [{method}]", uri.path());
            Failure::IllegalArgument(reason)
        }
    }
}
