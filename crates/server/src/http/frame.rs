//! What is around every request: its id, its time, its place in log and metrics, and what Elasticsearch's clients look
//! for in every answer.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use uuid::Uuid;

use super::error::{Failure, Shape};
use super::filter::PathFilter;
use crate::state::App;

/// Clients of Elasticsearch ask for it to know that it is one.
const PRODUCT: HeaderName = HeaderName::from_static("x-elastic-product");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Elasticsearch gives it back as it came.
const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");

/// The id of a request, for messages that name it.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Set on a response that was filtered by `filter_path` already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filtered;

/// The outermost middleware.
pub(crate) async fn frame(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let seen = Seen::of(&request);
    let limit = app.config.limits.request_time.0;
    let under_way = UnderWay::new(&app);
    let answer = match seen.compatible {
        Err(ref failure) => failure.clone().into_response(),
        Ok(_) => tokio::time::timeout(limit, next.run(request))
            .await
            .unwrap_or_else(|_| Failure::Timeout { limit, setting: "limits.request_time" }.into_response()),
    };
    drop(under_way);
    let mut response = seen.finish(answer).await;
    let headers = response.headers_mut();
    headers.insert(PRODUCT, HeaderValue::from_static("Elasticsearch"));
    if let Some(opaque) = &seen.opaque {
        headers.insert(OPAQUE_ID, opaque.clone());
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    seen.record(&app, &id, &response, start);
    response
}

struct UnderWay<'a>(&'a App);

impl<'a> UnderWay<'a> {
    fn new(app: &'a App) -> Self {
        app.metrics.under_way.inc();
        Self(app)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.metrics.under_way.dec();
    }
}

/// The client's own id if it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_plain = |id: &&str| {
        !id.is_empty()
            && id.len() <= 64
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_plain);
    own.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// What is kept of a request for its answer.
struct Seen {
    method: String,
    path: String,
    route: Option<String>,
    address: Option<SocketAddr>,
    opaque: Option<HeaderValue>,
    /// The major version whose content type the client asks for.
    compatible: Result<Option<u8>, Failure>,
    filter: Option<PathFilter>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            route,
            address: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            opaque: request.headers().get(OPAQUE_ID).cloned(),
            compatible: compatible_version(request.headers()),
            filter: request.uri().query().and_then(PathFilter::of_query),
        }
    }

    /// The answer as the client's API has it.
    async fn finish(&self, response: Response) -> Response {
        let shape = Shape::of_path(&self.path);
        let response = match response.extensions().get::<Failure>() {
            Some(failure) if shape == Shape::Kibana => failure.respond(shape),
            Some(_) => response,
            None => self.of_axum(response, shape).await,
        };
        if shape == Shape::Kibana {
            return response;
        }
        let mut response = self.filter(response).await;
        if let Ok(Some(version)) = self.compatible {
            vendor_type(response.headers_mut(), version);
        }
        response
    }

    /// Axum's own answers: nothing for a method that a path does not have, a text where a path or URL cannot be read.
    async fn of_axum(&self, response: Response, shape: Shape) -> Response {
        let kind = response.headers().get(CONTENT_TYPE);
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED if kind.is_none() => {
                let failure = Failure::Method { path: self.path.clone(), method: self.method.clone() };
                let mut answer = failure.respond(shape);
                let allowed = response.headers().get(ALLOW).cloned();
                allowed.into_iter().for_each(|allowed| _ = answer.headers_mut().insert(ALLOW, allowed));
                answer
            }
            status
                if status.is_client_error() && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain")) =>
            {
                let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
                Failure::IllegalArgument(String::from_utf8_lossy(&bytes).into_owned()).respond(shape)
            }
            _ => response,
        }
    }

    async fn filter(&self, response: Response) -> Response {
        // As in Elasticsearch, errors are said whole; and nothing is done for those of whom nobody knows who they are.
        let is_done =
            response.extensions().get::<Filtered>().is_some() || response.extensions().get::<Failure>().is_some();
        let is_json = is_plain_json(response.headers());
        let Some(filter) = self.filter.as_ref().filter(|_| is_json && !is_done) else { return response };
        let (mut head, body) = response.into_parts();
        // Answers are in memory already.
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let bytes = match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => Bytes::from(filter.apply(value).to_string()),
            Err(_) => bytes,
        };
        head.headers.remove(CONTENT_LENGTH);
        Response::from_parts(head, Body::from(bytes))
    }

    fn record(&self, app: &App, id: &str, response: &Response, start: Instant) {
        let (status, took) = (response.status(), start.elapsed());
        // Paths that nothing serves are one route: their number is the client's.
        let route = self.route.as_deref().unwrap_or("other");
        app.metrics.request(route, &self.method, status.as_u16(), took);
        let address = self.address.map(|address| address.to_string());
        let (method, path, milliseconds) = (&*self.method, &*self.path, took.as_secs_f64() * 1000.0);
        if status.is_server_error() {
            let reason = response.extensions().get::<Failure>().map(Failure::to_string);
            tracing::error!(
                id,
                method,
                path,
                status = status.as_u16(),
                milliseconds,
                address,
                reason,
                "request failed"
            );
        } else {
            tracing::debug!(id, method, path, status = status.as_u16(), milliseconds, address, "request");
        }
    }
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// `application/vnd.elasticsearch+json; compatible-with=9`: what a client of another major version asks for.
fn compatible_version(headers: &HeaderMap) -> Result<Option<u8>, Failure> {
    let mut asked = None;
    for name in [CONTENT_TYPE, ACCEPT] {
        let values = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
        for value in values.flat_map(|value| value.split(',')) {
            if let Some(version) = vendor_version(value) {
                match version {
                    Some(version @ 8..=9) => asked = Some(version),
                    _ => return Err(wrong_version(&name, value.trim())),
                }
            }
        }
    }
    Ok(asked)
}

/// The version of a vendor media type: `Some(None)` if it is none that is known.
fn vendor_version(value: &str) -> Option<Option<u8>> {
    let value = value.trim().to_ascii_lowercase();
    let rest = value.strip_prefix("application/vnd.elasticsearch+")?;
    let parameters = rest.split(';').skip(1);
    let version = parameters.filter_map(|part| part.trim().strip_prefix("compatible-with=")).next();
    // Without a version, it is the current one.
    Some(version.map_or(Some(9), |version| version.trim_matches('"').parse().ok()))
}

fn wrong_version(name: &HeaderName, value: &str) -> Failure {
    let name = if *name == ACCEPT { "Accept" } else { "Content-Type" };
    let reason = format!(
        "Invalid media-type value on headers [{name}]: [{value}]. Accept version must be either version 9 or 8, but found another"
    );
    Failure::elastic(StatusCode::BAD_REQUEST, "media_type_header_exception", reason)
}

fn vendor_type(headers: &mut HeaderMap, version: u8) {
    if is_plain_json(headers) {
        let value = format!("application/vnd.elasticsearch+json;compatible-with={version}");
        HeaderValue::from_str(&value).into_iter().for_each(|value| _ = headers.insert(CONTENT_TYPE, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn compatible_versions_are_understood() {
        let accept = |value| compatible_version(&headers(ACCEPT, value)).ok();
        assert_eq!(accept("application/vnd.elasticsearch+json; compatible-with=9"), Some(Some(9)));
        assert_eq!(accept("application/vnd.elasticsearch+json;compatible-with=8"), Some(Some(8)));
        assert_eq!(accept("application/json, */*"), Some(None));
        assert_eq!(accept("application/vnd.elasticsearch+json; compatible-with=7"), None);
        let bulk = headers(CONTENT_TYPE, "application/vnd.elasticsearch+x-ndjson; compatible-with=9");
        assert_eq!(compatible_version(&bulk).ok(), Some(Some(9)));
    }

    #[test]
    fn ids_of_requests_are_harmless() {
        assert_eq!(request_id(&headers(REQUEST_ID, "abc-1")), "abc-1");
        assert_ne!(request_id(&headers(REQUEST_ID, "a b")), "a b");
    }
}
