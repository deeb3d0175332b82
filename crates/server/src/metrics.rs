//! Counters for those who watch, in Prometheus's form at `/metrics`.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use eqlipse_schedule::SchedulerStatus;
use eqlipse_store::StoreStats;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Failure;
use crate::openapi::EQLIPSE;
use crate::rate::Rate;
use crate::state::App;

/// Methods that are counted by their name.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];

type Labels = Vec<(&'static str, String)>;

/// The service's metrics. What is not of requests is read off when somebody asks.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Requests by route, method and status.
    requests: Family<Labels, Counter>,
    /// How long requests took, in seconds, by route.
    request_seconds: Family<Labels, Histogram, fn() -> Histogram>,
    /// Documents by what became of them.
    documents: Family<Labels, Counter>,
    /// Documents that were taken, second by second.
    pub arrivals: Rate,
    /// Bytes of documents that were taken.
    pub document_bytes: Counter,
    /// Refused documents that were kept in a dead-letter file.
    pub dead_letters: Counter,
    /// Refused documents that were not: the day's file was full, or could not be written.
    pub dead_letters_dropped: Counter,
    /// Passwords and keys that were compared with their hash.
    pub credential_checks: Counter,
    /// Logins that failed.
    pub failed_logins: Counter,
    /// Connections that were closed at once because there were too many.
    pub refused_connections: Counter,
    /// Requests under way.
    pub under_way: Gauge,
    store: StoreMetrics,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentResult {
    /// It is on disk.
    Stored,
    /// It was there already.
    Conflict,
    /// It is no event, is too long, or asks for what an event store does not do.
    Refused,
    /// Its request was turned away as memory was short; the client sends it again.
    Overloaded,
    /// The log could not be written; the client sends it again.
    Failed,
}

impl DocumentResult {
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
        }
    }
}

#[derive(Default)]
struct StoreMetrics {
    recent_events: Gauge,
    recent_bytes: Gauge,
    segments: Gauge,
    segment_events: Gauge,
    segment_bytes: Gauge,
    log_bytes: Gauge,
    data_streams: Gauge,
    problem: Gauge,
    quarantined: Gauge,
    local_bytes: Gauge,
    waiting_segments: Gauge,
    object_problem: Gauge,
    body_bytes: Gauge,
    rules: Gauge,
    failed_rules: Gauge,
    executions: Gauge,
    failed_executions: Gauge,
    alerts: Gauge,
    lag_milliseconds: Gauge,
    schedule_problem: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("eqlipse")),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            documents: Family::default(),
            arrivals: Rate::default(),
            document_bytes: Counter::default(),
            dead_letters: Counter::default(),
            dead_letters_dropped: Counter::default(),
            credential_checks: Counter::default(),
            failed_logins: Counter::default(),
            refused_connections: Counter::default(),
            under_way: Gauge::default(),
            store: StoreMetrics::default(),
        };
        metrics.register_all();
        metrics
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    fn register_all(&self) {
        self.register("http_requests", "Requests by route, method and status", self.requests.clone());
        self.register("http_request_seconds", "Time from head to answer, by route", self.request_seconds.clone());
        self.register("http_requests_under_way", "Requests under way", self.under_way.clone());
        self.register("http_body_bytes", "Memory of bodies under way", self.store.body_bytes.clone());
        self.register("refused_connections", "Connections beyond server.connections", self.refused_connections.clone());
        let checks = "Passwords and keys that were compared with their hash";
        self.register("credential_checks", checks, self.credential_checks.clone());
        self.register("failed_logins", "Logins that failed", self.failed_logins.clone());
        self.register("ingest_documents", "Documents by what became of them", self.documents.clone());
        self.register("ingest_document_bytes", "Bytes of documents that were taken", self.document_bytes.clone());
        self.register("dead_letters", "Refused documents that were kept", self.dead_letters.clone());
        self.register("dead_letters_dropped", "Refused documents that were not", self.dead_letters_dropped.clone());
        let store = &self.store;
        self.register("store_recent_events", "Events in memory, not in segments yet", store.recent_events.clone());
        self.register("store_recent_bytes", "Memory of recent events", store.recent_bytes.clone());
        self.register("store_segments", "Segments", store.segments.clone());
        self.register("store_segment_events", "Events in segments", store.segment_events.clone());
        self.register("store_segment_bytes", "Segments on disk", store.segment_bytes.clone());
        self.register("store_log_bytes", "Write-ahead log on disk", store.log_bytes.clone());
        self.register("store_data_streams", "Data streams that have segments", store.data_streams.clone());
        self.register("store_problem", "1 while background work on the store fails", store.problem.clone());
        let quarantined = "Damaged segments, whose events are not looked at";
        self.register("store_quarantined_segments", quarantined, store.quarantined.clone());
        let local = "Where segments are kept in an object store: what is on this disk";
        self.register("store_local_bytes", local, store.local_bytes.clone());
        let waiting = "Segments that are to be in the object store and are not there yet";
        self.register("store_waiting_segments", waiting, store.waiting_segments.clone());
        let problem = "1 while the object store of segments cannot be used";
        self.register("store_object_problem", problem, store.object_problem.clone());
        self.register("rules", "Rules that run", store.rules.clone());
        self.register("rules_failed", "Rules that are enabled and cannot run", store.failed_rules.clone());
        self.register("rule_executions", "Executions since the start", store.executions.clone());
        self.register(
            "rule_executions_failed",
            "Executions since the start that failed",
            store.failed_executions.clone(),
        );
        self.register("alerts", "Alerts made since the start", store.alerts.clone());
        let lag = "How far the evaluation of the latest window was behind its end";
        self.register("rule_lag_milliseconds", lag, store.lag_milliseconds.clone());
        self.register("rule_problem", "1 while rules as a whole cannot run", store.schedule_problem.clone());
    }

    /// Adds a metric of another part of the service. `eqlipse_` is put before its name.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }

    /// Counts a request. A label's values stay for ever: methods that nobody knows are one.
    pub(crate) fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        let labels = vec![("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&vec![("route", route.to_owned())]).observe(took.as_secs_f64());
    }

    /// How many documents had this result since the start.
    pub fn documents_with(&self, result: DocumentResult) -> u64 {
        self.documents.get_or_create(&vec![("result", result.name().to_owned())]).get()
    }

    /// Counts documents.
    pub fn documents(&self, result: DocumentResult, count: u64) {
        if count > 0 {
            if result == DocumentResult::Stored {
                self.arrivals.add(crate::now().div_euclid(1_000_000_000).unsigned_abs(), count);
            }
            self.documents.get_or_create(&vec![("result", result.name().to_owned())]).inc_by(count);
        }
    }

    fn observe(&self, stats: &StoreStats, schedule: &SchedulerStatus, body_bytes: u64) {
        let set = |gauge: &Gauge, value: u64| _ = gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let store = &self.store;
        set(&store.recent_events, stats.recent_events);
        set(&store.recent_bytes, stats.recent_bytes);
        set(&store.segments, stats.segments);
        set(&store.segment_events, stats.segment_events);
        set(&store.segment_bytes, stats.segment_bytes);
        set(&store.log_bytes, stats.log_bytes);
        set(&store.data_streams, stats.data_streams);
        set(&store.problem, u64::from(stats.problem.is_some()));
        set(&store.quarantined, stats.quarantined);
        let objects = stats.objects.clone().unwrap_or_default();
        set(&store.local_bytes, objects.local_bytes);
        set(&store.waiting_segments, objects.waiting);
        set(&store.object_problem, u64::from(objects.problem.is_some()));
        set(&store.body_bytes, body_bytes);
        set(&store.rules, schedule.rules as u64);
        set(&store.failed_rules, schedule.failed.len() as u64);
        set(&store.executions, schedule.executions);
        set(&store.failed_executions, schedule.failures);
        set(&store.alerts, schedule.alerts);
        set(&store.lag_milliseconds, schedule.lag.unsigned_abs() / 1_000_000);
        set(&store.schedule_problem, u64::from(schedule.problem.is_some()));
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => Ok(text),
            Err(error) => Err(Failure::Internal(error.to_string())),
        }
    }
}

/// The route of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Gives counters for Prometheus.
///
/// Without a login where `auth.open_metrics` is set.
#[utoipa::path(
    get, path = "/metrics", tag = EQLIPSE,
    responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text")),
)]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let text = app
        .intake(|app| {
            app.metrics.observe(&app.store.stats(), &app.scheduler.status(), app.bodies.used());
            app.metrics.text()
        })
        .await?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
