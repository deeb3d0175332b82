//! What every request can reach.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::FromRequestParts;
use axum::http::request::Parts as RequestParts;
use eqlipse_control::{Control, Identity, Permission, Role};
use eqlipse_rules::LoadedRule;
use eqlipse_schedule::Scheduler;
use eqlipse_sql::SqlEngine;
use eqlipse_store::Store;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::dead_letters::{DeadLetter, DeadLetters};
use crate::elastic::Stash;
use crate::http::{Budget, Failure, Logins, is_match};
use crate::metrics::Metrics;
use crate::search::KeptSearches;

/// The service's parts, as axum's state. Clones are the same service.
#[derive(Clone)]
pub struct App(pub Arc<Parts>);

/// The parts of a running service.
pub struct Parts {
    /// The settings it was started with.
    pub config: Config,
    /// Events.
    pub store: Store,
    /// Rules, alerts, users, ledger.
    pub control: Control,
    /// Runs the rules.
    pub scheduler: Arc<Scheduler>,
    /// Counters for those who watch.
    pub metrics: Metrics,
    /// Where it listens.
    pub address: SocketAddr,
    /// When the service started, in nanoseconds since the Unix epoch.
    pub started: i64,
    /// Known credentials and failed logins.
    pub logins: Logins,
    /// Memory for the bodies of requests (`limits.body_memory`).
    pub bodies: Arc<Budget>,
    /// The rules that come with it, unless `rules.bundled` is off.
    pub bundled: Vec<LoadedRule>,
    /// Documents that were refused.
    pub dead_letters: DeadLetters,
    /// What clients put and want to find again: templates, pipelines, policies.
    pub stash: Stash,
    /// EQL searches that were kept.
    pub searches: KeptSearches,
    /// Set when the service begins to stop: `/health/ready` says so.
    pub stopping: AtomicBool,
    /// Runs SQL queries.
    pub sql: SqlEngine,
    /// SQL queries at a time.
    pub(crate) sql_places: Arc<Semaphore>,
    /// Manual runs of rules that wait or work.
    pub(crate) manual_waiting: Arc<Semaphore>,
    /// Held by the one that works.
    pub(crate) manual_turn: Mutex<()>,
    /// Blocking work at a time.
    pub(crate) blocking: Arc<Semaphore>,
    /// The same for what never takes long.
    pub(crate) intake: Arc<Semaphore>,
    /// Files that are uploaded, at a time.
    pub(crate) uploads: Arc<Semaphore>,
    /// Passwords that are hashed, at a time.
    pub(crate) login_places: Arc<Semaphore>,
}

/// How many requests do blocking work (store, control) at a time; as many again for what never takes long. The others wait in line, each for at most
/// `limits.request_time`. More than the cores, as many of them wait for the disk together.
pub const BLOCKING_REQUESTS: usize = 64;

/// Passwords that are hashed at a time, each of which takes a core and 19 MiB.
pub(crate) const LOGINS: usize = 4;

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Does work that blocks (store, control, files) beside the threads that serve connections, bounded by
    /// [`BLOCKING_REQUESTS`]. It goes on to its end even if the client leaves.
    ///
    /// # Errors
    /// What the work answers; [`Failure::Internal`] if it panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(&self.blocking, work).await
    }

    /// As [`Self::blocking`], in places of its own, for what never takes long: events that come in, API keys, health.
    /// However many queries run, these go on.
    ///
    /// # Errors
    /// See there.
    pub async fn intake<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(&self.intake, work).await
    }

    /// As [`Self::blocking`], in places of its own, for files that are uploaded: each may wait for memory for as long as a
    /// request may take.
    ///
    /// # Errors
    /// See there.
    pub(crate) async fn upload<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(&self.uploads, work).await
    }

    /// As [`Self::blocking`], in places of its own, for passwords: whoever guesses them is in nobody else's way.
    ///
    /// # Errors
    /// See there.
    pub(crate) async fn login<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(&self.login_places, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let closed = |_| Failure::Unavailable("the service is stopping".to_owned());
        let permit = places.clone().acquire_owned().await.map_err(closed)?;
        let app = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&app)
        });
        task.await.unwrap_or_else(|error| Err(Failure::Internal(format!("internal error, please report it: {error}"))))
    }
}

impl App {
    /// Keeps refused documents, and counts them. That they could not be kept is logged: their senders know anyway.
    pub(crate) fn keep_dead_letters(&self, letters: &[DeadLetter<'_>], now: i64) {
        let kept = self.dead_letters.keep(letters, now).unwrap_or_else(|error| {
            tracing::error!(%error, count = letters.len(), "refused documents could not be kept");
            0
        });
        self.metrics.dead_letters.inc_by(kept);
        self.metrics.dead_letters_dropped.inc_by(letters.len() as u64 - kept);
    }
}

/// Makes a file's new name last: after its folder, the machine may lose its power.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Set when it is dropped: work that goes on beside a request ends when the request does.
pub(crate) struct StopOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who makes a request. The auth middleware sets it; a handler takes it as an argument.
#[derive(Clone, Debug)]
pub struct Caller(pub Identity);

impl Caller {
    /// The name for audit rows and `created_by`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Says whether the caller may do what this role is for: read events for [`Role::Reader`], send them for
    /// [`Role::Ingest`], change alerts for [`Role::Analyst`], change rules for [`Role::Author`], and everything for
    /// [`Role::Admin`].
    pub fn has(&self, role: Role) -> bool {
        self.0.allows(match role {
            Role::Admin => Permission::Administer,
            Role::Author => Permission::WriteRules,
            Role::Analyst => Permission::WriteAlerts,
            Role::Reader => Permission::Read,
            Role::Ingest => Permission::WriteEvents,
        })
    }

    /// Whether the caller may write to an index, if they may write at all.
    pub(crate) fn may_write_to(&self, index: &str) -> bool {
        let is_meant = |patterns: &Arc<[String]>| patterns.iter().any(|pattern| is_match(pattern, index));
        self.0.writes.as_ref().is_none_or(is_meant)
    }

    /// Asks for a role.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] if the caller has none that includes it.
    pub fn require(&self, role: Role) -> Result<(), Failure> {
        self.require_any(&[role])
    }

    /// Asks for one of several roles.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] if the caller has none that includes one of them.
    pub fn require_any(&self, roles: &[Role]) -> Result<(), Failure> {
        if roles.iter().any(|role| self.has(*role)) {
            return Ok(());
        }
        let needs: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let who = match &self.0.api_key {
            Some(id) => format!("API key id {id} of user {}", self.0.name),
            None => format!("user {}", self.0.name),
        };
        Err(Failure::Forbidden { action: "request".to_owned(), who, needs: needs.join(", ") })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self, Failure> {
        let missing = || {
            Failure::Unauthenticated(format!(
                "missing authentication credentials for REST request [{}]",
                parts.uri.path()
            ))
        };
        parts.extensions.get::<Caller>().cloned().ok_or_else(missing)
    }
}
