//! For those who look after the service: how it is (`GET /api/service/status`, which `eqlipse status` shows), and what it
//! refused (`/api/dead_letters`).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::middleware::from_fn;
use eqlipse_control::{AuditEntry, Execution, ExecutionStatus, LedgerSummary, Role, StoredRule, WindowKind};
use eqlipse_schedule::SchedulerStatus;
use eqlipse_store::{IngestError, NewDocument, Refused, StoreStats, Stored};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dead_letters::{Letter, ReplayError, Replayed};
use crate::dsl::iso_text;
use crate::http::Failure;
use crate::kibana::wants_xsrf_header;
use crate::metrics::DocumentResult;
use crate::openapi::{EQLIPSE, with_xsrf_header};
use crate::search::Params;
use crate::state::{App, Caller};

/// Rules may be so far behind before that is a problem, in milliseconds.
const MAX_BEHIND: u64 = 60_000;
/// Stretches of the ledger that are summed up, in hours: what is meant without a word, and the longest.
const LEDGER_HOURS: usize = 24;
const MAX_LEDGER_HOURS: usize = 24 * 365;
/// How many slow rules are named.
const SLOWEST: usize = 5;

/// Dead letters that are shown where nothing is said, and at most.
const SHOWN_LETTERS: usize = 100;
const MAX_LETTERS: usize = 10_000;
/// Entries of the audit log that are shown where nothing is said, and at most.
const SHOWN_ENTRIES: usize = 100;
const MAX_ENTRIES: usize = 10_000;
/// How long a replay waits where memory is short for a moment.
const PAUSE: Duration = Duration::from_millis(100);

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    let letters =
        OpenApiRouter::new().routes(routes!(dead_letters)).routes(routes!(replay)).layer(from_fn(wants_xsrf_header));
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(audit)).merge(with_xsrf_header(letters))
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Whether there is no problem.
    pub healthy: bool,
    /// What does not work: events are not kept, or rules do not see them.
    pub problems: Vec<String>,
    /// What somebody should know, and works.
    pub warnings: Vec<String>,
    /// The version of eqlipse.
    pub version: String,
    /// When it was started, ISO 8601.
    pub started: String,
    /// Seconds since then.
    pub uptime: u64,
    /// Events that come in.
    pub ingest: IngestStatus,
    /// How far behind it is.
    pub lag: LagStatus,
    /// Events that are there.
    pub store: StoreStatus,
    /// Rules.
    pub rules: RulesStatus,
    /// Windows that were evaluated.
    pub ledger: LedgerStatus,
}

/// Events that come in; counts are since the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IngestStatus {
    /// Events a second over ten seconds, one minute, and five.
    pub events_per_second: [f64; 3],
    /// Events that were taken.
    pub stored: u64,
    /// Events that were there already.
    pub conflicts: u64,
    /// Documents that are no events.
    pub refused: u64,
    /// Documents that were turned away for a moment.
    pub overloaded: u64,
    /// Documents that could not be written.
    pub failed: u64,
    /// Refused documents that were kept.
    pub dead_letters: u64,
    /// Refused documents that were not.
    pub dead_letters_dropped: u64,
}

/// How far behind it is, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LagStatus {
    /// From an event's arrival until queries and rules see it: the oldest that is under way now.
    pub store: u64,
    /// From the end of the oldest window that is due and not evaluated until now; 0 while none is.
    pub rules: u64,
    /// How far the evaluation of the latest window was behind its end.
    pub last_window: u64,
}

/// Events that are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// All of them.
    pub events: u64,
    /// Those in memory and in the log, and in no segment yet.
    pub recent_events: u64,
    /// Memory of those.
    pub recent_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Segments on disk.
    pub segment_bytes: u64,
    /// The log on disk.
    pub log_bytes: u64,
    /// Data streams that have segments.
    pub data_streams: u64,
}

/// Rules, and those of them that do not do what they should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RulesStatus {
    /// All that are installed.
    pub installed: u64,
    /// Those that are to run.
    pub enabled: u64,
    /// Those that do.
    pub running: u64,
    /// Enabled rules that cannot run at all.
    pub cannot_run: Vec<RuleProblem>,
    /// Rules whose last execution failed.
    pub failing: Vec<RuleProblem>,
    /// Rules whose last execution left something out.
    pub warning: Vec<RuleProblem>,
    /// Rules that run without something that they ask for, such as their exception lists.
    #[serde(default)]
    pub ignoring: Vec<RuleProblem>,
    /// The rules whose last execution took longest.
    pub slowest: Vec<SlowRule>,
}

/// A rule, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuleProblem {
    /// The rule's `rule_id`.
    pub rule_id: String,
    /// Its name.
    pub name: String,
    /// What was said last.
    pub message: String,
}

/// A rule, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SlowRule {
    /// The rule's `rule_id`.
    pub rule_id: String,
    /// Its name.
    pub name: String,
    /// Milliseconds.
    pub duration: u64,
}

/// Windows that were evaluated in the last `hours`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LedgerStatus {
    /// How far back is looked.
    pub hours: u64,
    /// When they were over.
    pub on_time: u64,
    /// Some time later.
    pub late: u64,
    /// After the next one was due.
    pub caught_up: u64,
    /// Because somebody asked.
    pub asked_for: u64,
    /// Those in which something was left out.
    pub with_warning: u64,
    /// Those that failed.
    pub failed: u64,
    /// Windows of enabled rules that failed and were never evaluated.
    pub gaps: u64,
    /// Alerts since the start.
    pub alerts: u64,
}

/// Says how the service is.
///
/// What comes in, how far behind it is, what is stored, which rules fail, and what the ledger has.
#[utoipa::path(
    get, path = "/api/service/status", tag = EQLIPSE,
    params(("hours" = Option<u64>, Query, description = "How far back the ledger is summed up, from 1 to 8760")),
    responses((status = 200, description = "How it is", body = ServiceStatus)),
)]
async fn status(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<ServiceStatus>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&["hours"])?;
    let hours = params.count("hours")?.unwrap_or(LEDGER_HOURS);
    if !(1..=MAX_LEDGER_HOURS).contains(&hours) {
        return Err(Failure::IllegalArgument(format!("hours must be from 1 to {MAX_LEDGER_HOURS}")));
    }
    app.intake(move |app| Ok(Json(collect(app, hours as u64)?))).await
}

fn collect(app: &App, hours: u64) -> Result<ServiceStatus, Failure> {
    let now = crate::now();
    let (stats, schedule) = (app.store.stats(), app.scheduler.status());
    let watermark = app.store.watermark(now);
    let lag = LagStatus {
        store: milliseconds(now - watermark),
        rules: schedule.due.map_or(0, |due| milliseconds(now - due)),
        last_window: milliseconds(schedule.lag),
    };
    let installed = app.control.rules()?;
    let rules = rules(&installed, &schedule, &app.control.latest_executions()?);
    let since = now.saturating_sub(hours as i64 * 3_600_000_000_000);
    let ledger = ledger(&app.control.ledger_summary(since)?, hours, schedule.alerts);
    let mut status = ServiceStatus {
        healthy: true,
        problems: problems(app, &stats, &schedule, &lag, &rules, &ledger),
        warnings: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: iso_text(app.started.div_euclid(1_000_000)),
        uptime: milliseconds(now - app.started) / 1_000,
        ingest: ingest(app, now),
        lag,
        store: store(&stats),
        rules,
        ledger,
    };
    status.healthy = status.problems.is_empty();
    status.warnings = warnings(&status);
    Ok(status)
}

fn milliseconds(nanos: i64) -> u64 {
    nanos.max(0).unsigned_abs() / 1_000_000
}

fn ingest(app: &App, now: i64) -> IngestStatus {
    let second = now.div_euclid(1_000_000_000).unsigned_abs();
    let documents = |result| app.metrics.documents_with(result);
    IngestStatus {
        events_per_second: [10, 60, 300].map(|span| app.metrics.arrivals.over(span, second)),
        stored: documents(DocumentResult::Stored),
        conflicts: documents(DocumentResult::Conflict),
        refused: documents(DocumentResult::Refused),
        overloaded: documents(DocumentResult::Overloaded),
        failed: documents(DocumentResult::Failed),
        dead_letters: app.metrics.dead_letters.get(),
        dead_letters_dropped: app.metrics.dead_letters_dropped.get(),
    }
}

fn store(stats: &StoreStats) -> StoreStatus {
    StoreStatus {
        events: stats.recent_events + stats.segment_events,
        recent_events: stats.recent_events,
        recent_bytes: stats.recent_bytes,
        segments: stats.segments,
        segment_bytes: stats.segment_bytes,
        log_bytes: stats.log_bytes,
        data_streams: stats.data_streams,
    }
}

fn rules(installed: &[StoredRule], schedule: &SchedulerStatus, latest: &[Execution]) -> RulesStatus {
    let names: HashMap<&str, &str> =
        installed.iter().map(|rule| (rule.rule.rule_id.as_str(), rule.rule.name.as_str())).collect();
    let name = |rule_id: &str| names.get(rule_id).copied().unwrap_or_default().to_owned();
    let by_id: HashMap<&str, &str> =
        installed.iter().map(|rule| (rule.id.as_str(), rule.rule.rule_id.as_str())).collect();
    let said = |(id, message): &(String, String)| {
        let rule_id = by_id.get(id.as_str()).map_or(id.as_str(), |rule_id| rule_id);
        RuleProblem { rule_id: rule_id.to_owned(), name: name(rule_id), message: message.clone() }
    };
    // What a rule did before somebody switched it off is the past.
    let enabled: HashSet<&str> = installed.iter().filter(|rule| rule.enabled).map(|rule| rule.id.as_str()).collect();
    let latest: Vec<&Execution> = latest.iter().filter(|execution| enabled.contains(&*execution.rule)).collect();
    let ended = |status: ExecutionStatus| {
        let of = latest.iter().filter(|execution| execution.status == status);
        let problem = |execution: &&Execution| RuleProblem {
            rule_id: execution.rule_id.clone(),
            name: name(&execution.rule_id),
            message: execution.message.clone(),
        };
        of.map(problem).collect()
    };
    let slow = latest.iter().map(|execution| SlowRule {
        rule_id: execution.rule_id.clone(),
        name: name(&execution.rule_id),
        duration: milliseconds(execution.finished - execution.started),
    });
    let mut slowest: Vec<SlowRule> = slow.collect();
    slowest.sort_by(|a, b| b.duration.cmp(&a.duration).then_with(|| a.rule_id.cmp(&b.rule_id)));
    slowest.truncate(SLOWEST);
    RulesStatus {
        installed: installed.len() as u64,
        enabled: enabled.len() as u64,
        running: schedule.rules as u64,
        cannot_run: schedule.failed.iter().map(said).collect(),
        failing: ended(ExecutionStatus::Failed),
        warning: ended(ExecutionStatus::Warning),
        ignoring: schedule.ignoring.iter().map(said).collect(),
        slowest,
    }
}

fn ledger(summary: &LedgerSummary, hours: u64, alerts: u64) -> LedgerStatus {
    LedgerStatus {
        hours,
        on_time: summary.of_kind(WindowKind::OnTime),
        late: summary.of_kind(WindowKind::Late),
        caught_up: summary.of_kind(WindowKind::CaughtUp),
        asked_for: summary.of_kind(WindowKind::Backfill) + summary.of_kind(WindowKind::Manual),
        with_warning: summary.of_status(ExecutionStatus::Warning),
        failed: summary.of_status(ExecutionStatus::Failed),
        gaps: summary.gaps,
        alerts,
    }
}

fn problems(
    app: &App,
    stats: &StoreStats,
    schedule: &SchedulerStatus,
    lag: &LagStatus,
    rules: &RulesStatus,
    ledger: &LedgerStatus,
) -> Vec<String> {
    let mut problems = Vec::new();
    if app.stopping.load(Ordering::Relaxed) {
        problems.push("the service is stopping".to_owned());
    }
    problems.extend(stats.problem.iter().map(|problem| format!("store: {problem}")));
    problems.extend(schedule.problem.iter().map(|problem| format!("rules do not run: {problem}")));
    problems.extend(schedule.clock_was.map(|was| {
        let was = iso_text(was.div_euclid(1_000_000));
        format!(
            "the clock is behind, it was at {was} before: rules wait for it, at most ten minutes, and go on from what it says"
        )
    }));
    if lag.rules > MAX_BEHIND {
        problems.push(format!("rules are {} s behind", lag.rules / 1_000));
    }
    if !rules.failing.is_empty() {
        problems.push(format!("the last execution of {} rules failed", rules.failing.len()));
    }
    if ledger.gaps > 0 {
        problems.push(format!("{} windows failed and were never evaluated", ledger.gaps));
    }
    problems
}

fn warnings(status: &ServiceStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |count: u64, what: &str| {
        if count > 0 {
            warnings.push(format!("{count} {what}"));
        }
    };
    warn(status.rules.cannot_run.len() as u64, "enabled rules cannot run");
    warn(status.rules.warning.len() as u64, "rules left something out in their last execution");
    warn(status.rules.ignoring.len() as u64, "rules run without something that they ask for");
    warn(status.ingest.refused, "documents were refused since the start");
    warn(status.ingest.dead_letters_dropped, "refused documents were not kept (dead_letters.bytes_per_day)");
    warn(status.ingest.overloaded, "documents were turned away for a moment since the start (store.memory)");
    warn(status.ingest.failed, "documents could not be written since the start");
    warnings
}

/// Something that somebody did.
#[derive(Serialize, ToSchema)]
struct Audited {
    /// When, ISO 8601.
    time: String,
    /// Who: a user's name, or `eqlipse` itself.
    user: String,
    /// What: `rule_create`, `user_create` and the like.
    action: String,
    /// To what: an id or a name.
    object: String,
    /// More about it.
    detail: String,
}

/// Shows the audit log, the newest entries first.
#[utoipa::path(
    get, path = "/api/audit", tag = EQLIPSE,
    params(("limit" = Option<u64>, Query, description = "How many at most")),
    responses((status = 200, description = "What was changed, when and by whom", body = Vec<Audited>)),
)]
async fn audit(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Vec<Audited>>, Failure> {
    caller.require(Role::Admin)?;
    params.only(&["limit"])?;
    let limit = params.count("limit")?.unwrap_or(SHOWN_ENTRIES).min(MAX_ENTRIES);
    let shown = |AuditEntry { time, who, action, object, detail }| {
        let time = iso_text(time.div_euclid(1_000_000));
        Audited { time, user: who, action, object, detail }
    };
    app.blocking(move |app| Ok(Json(app.control.audit_log(limit)?.into_iter().map(shown).collect()))).await
}

/// Shows what was refused, the newest first.
#[utoipa::path(
    get, path = "/api/dead_letters", tag = EQLIPSE,
    params(("limit" = Option<u64>, Query, description = "How many at most")),
    responses((status = 200, description = "Documents with the reason", body = Vec<Letter>)),
)]
async fn dead_letters(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<Vec<Letter>>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&["limit"])?;
    let limit = params.count("limit")?.unwrap_or(SHOWN_LETTERS).min(MAX_LETTERS);
    app.blocking(move |app| Ok(Json(app.dead_letters.latest(limit)?))).await
}

/// Offers what was refused to the store again.
///
/// What is taken leaves the dead letters. What does not fit into the time of a request is left for the next one.
#[utoipa::path(
    post, path = "/api/dead_letters/_replay", tag = EQLIPSE,
    responses((status = 200, description = "What became of them", body = Replayed), (status = 409, description = "Somebody else is at it")),
)]
async fn replay(State(app): State<App>, caller: Caller) -> Result<Json<Replayed>, Failure> {
    caller.require(Role::Ingest)?;
    let until = Instant::now() + app.config.limits.request_time.0 / 2;
    app.blocking(move |app| {
        let goes_on = || Instant::now() < until && !app.stopping.load(Ordering::Relaxed);
        let mut offer = |documents: &[NewDocument]| offer(app, documents, &goes_on);
        let done = app.dead_letters.replay(&mut offer, &goes_on)?;
        let Replayed { stored, already_there, refused, .. } = done;
        tracing::info!(stored, already_there, refused, by = caller.name(), "dead letters were replayed");
        let detail = format!("{stored} stored, {already_there} were there, {refused} refused");
        app.control.audit(&AuditEntry::new(crate::now(), caller.name(), "dead_letters_replay", "", detail))?;
        Ok(Json(done))
    })
    .await
}

fn offer(
    app: &App,
    documents: &[NewDocument],
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<Result<Stored, Refused>>, IngestError> {
    loop {
        match app.store.ingest(documents, crate::now()) {
            Err(IngestError::Overloaded { .. }) if goes_on() => std::thread::sleep(PAUSE),
            taken => {
                let results = taken?;
                let stored = documents.iter().zip(&results).filter(|(_, result)| result.is_ok());
                stored.clone().for_each(|(document, _)| app.stash.note_index(&document.index));
                app.metrics.documents(DocumentResult::Stored, stored.count() as u64);
                return Ok(results);
            }
        }
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Busy => Self::Conflict(error.to_string()),
            ReplayError::Store(error) => error.into(),
            ReplayError::Io { .. } => Self::Internal(error.to_string()),
        }
    }
}
