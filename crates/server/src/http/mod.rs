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
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tower::util::MapRequest;
use utoipa_axum::router::OpenApiRouter;

pub use body::Payload;
pub(crate) use body::{Events, take_patiently};
pub use budget::{Budget, Share};
pub use error::{ElasticFailure, Failure, SearchCause, SearchFailure, Shape};
pub use filter::PathFilter;
pub(crate) use filter::{is_match, percent_encoded};
pub(crate) use frame::Filtered;
pub use frame::RequestId;
pub use logins::Logins;

use crate::openapi::SPACE;
use crate::state::App;

/// All routes, with everything around them.
pub(crate) fn router(app: &App) -> Router {
    let (router, _) = routes().split_for_parts();
    let router = router
        .fallback(no_handler)
        .layer(from_fn_with_state(app.clone(), auth::authenticate))
        .layer(from_fn_with_state(app.clone(), frame::frame))
        .with_state(app.clone());
    Router::new().fallback_service(MapRequest::new(router, without_end_slash))
}

/// Elasticsearch takes paths with and without a slash at their end: Fluent Bit sends one.
fn without_end_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if !trimmed.is_empty() && trimmed.len() < path.len() {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = format!("{trimmed}{query}").parse().ok();
        Uri::from_parts(parts).into_iter().for_each(|uri| *request.uri_mut() = uri);
    }
    request
}

/// All routes with what documents them.
pub(crate) fn routes() -> OpenApiRouter<App> {
    let kibana = crate::kibana::routes();
    // The document says by servers what is served twice.
    let (in_space, _) = kibana.clone().split_for_parts();
    OpenApiRouter::new()
        .merge(crate::elastic::routes())
        .merge(crate::ingest::routes())
        .merge(crate::health::routes())
        .merge(crate::metrics::routes())
        .merge(crate::search::routes())
        .merge(kibana)
        .merge(OpenApiRouter::from(Router::new().nest(SPACE, in_space)))
}

/// The `{index}` of a path; empty where the path has none, as `/_search` beside `/{index}/_search`.
pub(crate) struct IndexPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for IndexPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let index = Option::<Path<String>>::from_request_parts(parts, state).await;
        index.map(|index| Self(index.map(|Path(index)| index).unwrap_or_default())).map_err(IntoResponse::into_response)
    }
}

/// Elasticsearch says 400 to a path that it does not know, Kibana 404.
async fn no_handler(method: Method, uri: Uri) -> Failure {
    match Shape::of_path(uri.path()) {
        Shape::Kibana => Failure::NotFound(match space(uri.path()) {
            Some(space) => format!("Saved object [space/{space}] not found"),
            None => "Not Found".to_owned(),
        }),
        Shape::Elastic => {
            let reason = format!("no handler found for uri [{}] and method [{method}]", uri.path());
            Failure::IllegalArgument(reason)
        }
    }
}

/// The space that a path names, if it is none that is there.
fn space(path: &str) -> Option<&str> {
    let (space, _) = path.strip_prefix("/s/")?.split_once('/')?;
    (space != "default").then_some(space)
}
