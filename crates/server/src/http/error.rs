//! What a request can come to, and how Elasticsearch's and Kibana's APIs say it.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use eqlipse_control::ControlError;
use eqlipse_schedule::ScheduleError;
use eqlipse_store::{IngestError, InvalidIndexName, StoreError};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Why a request was not answered with what it asked for.
///
/// Handlers return it whatever their API: the frame around all handlers ([`crate::http`]) writes its body, in
/// Kibana's shape below `/api`, `/internal` and `/s/…`, else in Elasticsearch's.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// 401: no credentials, or wrong ones.
    #[error("{0}")]
    Unauthenticated(String),
    /// 403: the caller lacks a role.
    #[error("action [{action}] is unauthorized for [{who}]: it needs one of the roles [{needs}]")]
    Forbidden {
        /// What was to be done.
        action: String,
        /// User or API key.
        who: String,
        /// The roles of which one would do.
        needs: String,
    },
    /// 400: an argument, header or parameter that makes no sense.
    #[error("{0}")]
    IllegalArgument(String),
    /// 400: a body that cannot be read.
    #[error("{0}")]
    Parsing(String),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 405: the path has other methods.
    #[error("Incorrect HTTP method for uri [{path}] and method [{method}]")]
    Method {
        /// The path that was asked for.
        path: String,
        /// The method that it does not have.
        method: String,
    },
    /// 409: it exists already, or was changed by somebody else.
    #[error("{0}")]
    Conflict(String),
    /// 503: the body did not come in time. Not 408: there are shippers that forget what is answered 4xx.
    #[error("the body of the request did not arrive in time ({setting})")]
    SlowBody {
        /// The setting that says how long it may take.
        setting: &'static str,
    },
    /// 413: the body is longer than a limit.
    #[error("the body of the request is longer than the limit of {limit} bytes ({setting})")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The setting that says so.
        setting: &'static str,
    },
    /// 415: a content type or encoding that is not understood.
    #[error("{0}")]
    MediaType(String),
    /// 429: memory is short for a moment.
    #[error("{reason}")]
    Overloaded {
        /// What is short.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// 429: too many failed logins.
    #[error("too many failed logins; try again in {} s (auth.login_failures)", retry_after.as_secs().max(1))]
    LoginLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// 503: the service cannot do it now: no space on disk, stopping.
    #[error("{0}")]
    Unavailable(String),
    /// 504: it took longer than it may.
    #[error("the request took longer than {} s ({setting})", limit.as_secs_f64())]
    Timeout {
        /// The limit.
        limit: Duration,
        /// The setting that says so.
        setting: &'static str,
    },
    /// Any other error of Elasticsearch's API, by its name there.
    #[error("{}", .0.reason)]
    Elastic(Box<ElasticFailure>),
    /// A search that failed on its data, which Elasticsearch says as the failure of its shards.
    #[error("{}", .0.causes.first().map_or(.0.reason, |cause| &cause.reason))]
    Search(Box<SearchFailure>),
    /// An error of the detection engine's API, which has a shape of its own: `{"message", "status_code"}`.
    #[error("{message}")]
    Engine {
        /// The status.
        status: StatusCode,
        /// What is wrong.
        message: String,
    },
    /// 500: a bug, or a file that cannot be read.
    #[error("{0}")]
    Internal(String),
}

/// An error with a name of Elasticsearch's.
#[derive(Clone, Debug)]
pub struct ElasticFailure {
    /// The status.
    pub status: StatusCode,
    /// Its type: `index_not_found_exception`.
    pub kind: Cow<'static, str>,
    /// What is wrong.
    pub reason: String,
    /// Further fields beside type and reason.
    pub fields: Map<String, Value>,
}

/// Why a search failed on its data.
#[derive(Clone, Debug)]
pub struct SearchFailure {
    /// The status.
    pub status: StatusCode,
    /// Of the search as a whole: `all shards failed`.
    pub reason: &'static str,
    /// What there is to say of each index.
    pub causes: Vec<SearchCause>,
}

/// What is wrong with one index, or with the search for all of them.
#[derive(Clone, Debug)]
pub struct SearchCause {
    /// The index, if it is about one.
    pub index: Option<String>,
    /// Elasticsearch's name for it.
    pub kind: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl SearchFailure {
    /// The error's object.
    fn error(&self) -> Value {
        let cause = |cause: &SearchCause| {
            let mut object = json!({ "type": cause.kind, "reason": cause.reason });
            if let Some(index) = &cause.index {
                object["index"] = index.clone().into();
            }
            object
        };
        let shard = |of: &SearchCause| json!({ "shard": 0, "index": of.index, "reason": cause(of) });
        let causes: Vec<Value> = self.causes.iter().map(cause).collect();
        let shards: Vec<Value> = self.causes.iter().map(shard).collect();
        json!({
            "root_cause": causes,
            "type": "search_phase_execution_exception",
            "reason": self.reason,
            "phase": "query",
            "grouped": true,
            "failed_shards": shards,
            "caused_by": causes.first(),
        })
    }
}

/// Which shape an error's body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error":{"root_cause":[…],"type":…,"reason":…},"status":…}`
    Elastic,
    /// `{"statusCode":…,"error":…,"message":…}`
    Kibana,
}

impl Shape {
    /// The shape of the API that a path belongs to.
    pub fn of_path(path: &str) -> Self {
        let is_below =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if ["/api", "/internal", "/s"].into_iter().any(is_below) { Self::Kibana } else { Self::Elastic }
    }
}

impl Failure {
    /// An error with a name of Elasticsearch's and no further fields.
    pub fn elastic(status: StatusCode, kind: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        let (kind, reason) = (kind.into(), reason.into());
        Self::Elastic(Box::new(ElasticFailure { status, kind, reason, fields: Map::new() }))
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::IllegalArgument(_) | Self::Parsing(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::SlowBody { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overloaded { .. } | Self::LoginLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Elastic(failure) => failure.status,
            Self::Search(failure) => failure.status,
            Self::Engine { status, .. } => *status,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Elasticsearch's name for it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Unauthenticated(_) | Self::Forbidden { .. } | Self::LoginLimited { .. } => "security_exception",
            Self::IllegalArgument(_) | Self::MediaType(_) | Self::Method { .. } => "illegal_argument_exception",
            Self::Parsing(_) => "parse_exception",
            Self::NotFound(_) => "resource_not_found_exception",
            Self::Conflict(_) => "version_conflict_engine_exception",
            Self::SlowBody { .. } | Self::Timeout { .. } => "timeout_exception",
            Self::TooLarge { .. } => "content_too_long_exception",
            Self::Overloaded { .. } => "es_rejected_execution_exception",
            Self::Unavailable(_) => "process_cluster_event_timeout_exception",
            Self::Elastic(failure) => &failure.kind,
            Self::Search(_) => "search_phase_execution_exception",
            Self::Engine { .. } => "status_exception",
            Self::Internal(_) => "exception",
        }
    }

    /// Its body.
    pub fn body(&self, shape: Shape) -> Value {
        let (status, message) = (self.status(), self.to_string());
        match (self, shape) {
            (Self::Engine { .. }, _) => json!({ "message": message, "status_code": status.as_u16() }),
            (_, Shape::Kibana) => json!({
                "statusCode": status.as_u16(),
                "error": status.canonical_reason().unwrap_or("Error"),
                "message": message,
            }),
            // Elasticsearch says it so: the error is no object.
            (Self::Method { .. }, Shape::Elastic) => json!({ "error": message, "status": status.as_u16() }),
            (Self::Search(failure), Shape::Elastic) => json!({ "error": failure.error(), "status": status.as_u16() }),
            (_, Shape::Elastic) => self.elastic_body(status, message),
        }
    }

    fn elastic_body(&self, status: StatusCode, message: String) -> Value {
        let mut cause = Map::new();
        cause.insert("type".to_owned(), self.kind().into());
        cause.insert("reason".to_owned(), message.into());
        match self {
            Self::Unauthenticated(_) => {
                cause.insert("header".to_owned(), json!({ "WWW-Authenticate": CHALLENGES }));
            }
            Self::Elastic(failure) => cause.extend(failure.fields.clone()),
            _ => {}
        }
        let mut error = Map::new();
        error.insert("root_cause".to_owned(), Value::Array(vec![Value::Object(cause.clone())]));
        error.extend(cause);
        json!({ "error": error, "status": status.as_u16() })
    }

    /// The headers that belong to it.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::Unauthenticated(_) => {
                let values = CHALLENGES.map(HeaderValue::from_static);
                values.into_iter().for_each(|value| _ = headers.append(WWW_AUTHENTICATE, value));
            }
            Self::Overloaded { retry_after, .. } | Self::LoginLimited { retry_after } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            }
            Self::Unavailable(_) | Self::SlowBody { .. } => _ = headers.insert(RETRY_AFTER, HeaderValue::from(5)),
            _ => {}
        }
        headers
    }

    /// The whole response in a shape.
    pub fn respond(&self, shape: Shape) -> Response {
        let mut response = Response::new(Body::from(self.body(shape).to_string()));
        *response.status_mut() = self.status();
        *response.headers_mut() = self.headers();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// What a client may log in with.
const CHALLENGES: [&str; 2] = ["Basic realm=\"security\", charset=\"UTF-8\"", "ApiKey"];

impl IntoResponse for Failure {
    /// In Elasticsearch's shape, with the failure itself beside it, from which the frame writes Kibana's where it must.
    fn into_response(self) -> Response {
        let mut response = self.respond(Shape::Elastic);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Overloaded { retry_after } => Self::Overloaded { reason: error.to_string(), retry_after },
            IngestError::Log(_) | IngestError::Closed => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<InvalidIndexName> for Failure {
    fn from(error: InvalidIndexName) -> Self {
        Self::elastic(StatusCode::BAD_REQUEST, "invalid_index_name_exception", error.to_string())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let message = error.to_string();
        if error.is_full() {
            return Self::Unavailable(message);
        }
        match error {
            ControlError::Conflict { .. } => Self::Conflict(message),
            ControlError::NotFound { .. } => Self::NotFound(message),
            ControlError::Invalid(_) => Self::IllegalArgument(message),
            ControlError::Database(_)
            | ControlError::Damaged(_)
            | ControlError::Version { .. }
            | ControlError::Crypto(_) => Self::Internal(message),
        }
    }
}

impl From<ScheduleError> for Failure {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Control(error) => error.into(),
            ScheduleError::Store(error) => error.into(),
            ScheduleError::Rule(message) => Self::IllegalArgument(message),
            ScheduleError::Evaluate(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elasticsearch_and_kibana_say_it_in_their_own_way() {
        let failure = Failure::Unauthenticated("missing authentication credentials for REST request [/]".to_owned());
        let body = failure.body(Shape::Elastic);
        assert_eq!(body["status"], 401);
        assert_eq!(body["error"]["type"], "security_exception");
        assert_eq!(body["error"]["root_cause"][0]["header"]["WWW-Authenticate"][1], "ApiKey");
        let body = failure.body(Shape::Kibana);
        assert_eq!(body["statusCode"], 401);
        assert_eq!(body["error"], "Unauthorized");
        assert_eq!(failure.respond(Shape::Elastic).headers().get_all(WWW_AUTHENTICATE).iter().count(), 2);
    }

    #[test]
    fn paths_belong_to_one_api() {
        for path in ["/api/status", "/s/default/api/detection_engine/rules", "/internal/x"] {
            assert_eq!(Shape::of_path(path), Shape::Kibana);
        }
        for path in ["/", "/_bulk", "/api-logs/_search", "/system/_doc"] {
            assert_eq!(Shape::of_path(path), Shape::Elastic);
        }
    }
}
