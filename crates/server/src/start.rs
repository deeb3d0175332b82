//! How the service comes up and goes down.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use axum_server::Handle;
use eqlipse_control::{Control, ControlError, Role};
use eqlipse_rules::{LoadedRule, PathOrStdin};
use eqlipse_schedule::{ScheduleError, ScheduleOptions, Scheduler, SystemClock};
use eqlipse_sql::{SqlEngine, SqlOptions};
use eqlipse_store::{ObjectPlace, S3Options, SegmentPlace, Store, StoreError, StoreOptions};
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, LogFormat, SegmentsAt, StoreConfig, TlsConfig};
use crate::dead_letters::DeadLetters;
use crate::elastic::Stash;
use crate::http::listen::{self, Tls};
use crate::http::{Budget, Logins};
use crate::kibana::MAX_WAITING as MAX_MANUAL_WAITING;
use crate::metrics::Metrics;
use crate::search::KeptSearches;
use crate::state::{App, BLOCKING_REQUESTS, LOGINS, Parts};

/// Why the service does not start, or did not end well.
#[derive(Debug, Error)]
pub enum ServeError {
    /// It would be reached from other machines without encryption.
    #[error(
        "{0} can be reached from other machines, and without TLS passwords and events could be read on their way: \
         set server.tls.cert and server.tls.key, or server.insecure = true where something else sees to it"
    )]
    Exposed(SocketAddr),
    /// The address cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// Certificate or key.
    #[error("TLS with {cert} and {key}: {reason}")]
    Tls {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The event store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rules, alerts, users.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The scheduler.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// `log.level`.
    #[error("log.level: {0}")]
    Log(String),
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Server(io::Error),
}

impl ServeError {
    pub(crate) fn tls(files: &TlsConfig, error: &io::Error) -> Self {
        Self::Tls { cert: files.cert.clone(), key: files.key.clone(), reason: error.to_string() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// Whether the service could start with these settings, as far as they say it and the files that they name: where it would
/// listen, certificate and key, the log's filter, secrets, rules, watched folders.
///
/// # Errors
/// What it would not start with.
pub async fn check(config: &Config) -> Result<(), ServeError> {
    listen::check_address(config)?;
    Tls::load(config).await?;
    log_filter(config)?;
    segment_place(&config.store)?;
    // The first user's password is of no use once there is one.
    let password = config.auth.admin_password_file.as_deref();
    let is_first = !config.server.data.join("control.sqlite").exists() && config.auth.admin_password.is_none();
    password.filter(|_| is_first).map(read_secret).transpose()?;
    for path in &config.rules.paths {
        std::fs::metadata(path).map_err(ServeError::io(path))?;
    }
    for folder in &config.input.folder {
        crate::folder::included(folder).map_err(ServeError::io(&folder.path))?;
    }
    Ok(())
}

/// Runs the service until `shutdown` is ready; then no more connections are taken, requests under way end, and events
/// are written to segments. `bundled` are the rules that come with eqlipse; `demo` has a simulated fleet send events. On
/// SIGHUP, rules of `rules.paths`, certificate and key are read again.
///
/// # Errors
/// If it cannot start, or could not write everything out at its end (nothing acknowledged is lost then).
pub async fn serve(
    config: Config,
    bundled: Vec<LoadedRule>,
    demo: bool,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    // By default, this one too would end the process.
    let mut hangup = Hangup::new();
    check(&config).await?;
    let mut running = start(config, bundled).await?;
    let folders = &running.app.config.input.folder;
    for (place, folder) in folders.iter().enumerate() {
        let number = folders[..place].iter().filter(|other| other.path == folder.path).count();
        crate::folder::start(&running.app, folder.clone(), number).map_err(ServeError::io(&folder.path))?;
    }
    if demo {
        // It ends by itself when the service stops.
        crate::demo::start(&running.app).map_err(ServeError::Server)?;
    }
    tokio::pin!(shutdown);
    let ended = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            () = hangup.next() => running.reload().await,
            // Nobody asked it to.
            ended = running.ended() => break ended.and(Err(ServeError::Server(io::Error::other("nobody listens any more")))),
        }
    };
    ended.and(running.stop().await)
}

/// Waits for SIGTERM or Ctrl-C, which are heard from now on, and not only when somebody waits: one that comes while the
/// service starts would end the process at once and without a word. To be called in the context of a runtime. Where the
/// system does not tell of them, there is no other way to end it than to kill it: that is never taken for a signal.
pub fn terminated() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let (terminate, interrupt) = {
        use tokio::signal::unix::SignalKind;
        (Heard::new("SIGTERM", SignalKind::terminate()), Heard::new("Ctrl-C", SignalKind::interrupt()))
    };
    async move {
        #[cfg(unix)]
        tokio::select! {
            () = terminate.wait() => {}
            () = interrupt.wait() => {}
        }
        #[cfg(not(unix))]
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C is not heard");
            std::future::pending().await
        }
    }
}

/// A signal that is heard.
#[cfg(unix)]
struct Heard {
    name: &'static str,
    signal: io::Result<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Heard {
    fn new(name: &'static str, kind: tokio::signal::unix::SignalKind) -> Self {
        Self { name, signal: tokio::signal::unix::signal(kind) }
    }

    async fn wait(self) {
        match self.signal {
            Ok(mut signal) => {
                if signal.recv().await.is_some() {
                    tracing::info!("{}", self.name);
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "{} is not heard", self.name),
        }
        std::future::pending().await
    }
}

/// SIGHUP, where there is such a thing.
struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    #[cfg(unix)]
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(signal(SignalKind::hangup()).ok())
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        Self()
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

/// A service that runs. Dropped without [`Self::stop`], its connections end with the runtime, and recent events come back
/// from the log at the next start.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its parts.
    pub app: App,
    tls: Option<Tls>,
    handle: Handle<SocketAddr>,
    server: tokio::task::JoinHandle<io::Result<()>>,
    scheduler: Option<JoinHandle<()>>,
    retention: Option<JoinHandle<()>>,
}

/// Starts the service.
///
/// # Errors
/// If it cannot start.
pub async fn start(config: Config, bundled: Vec<LoadedRule>) -> Result<Running, ServeError> {
    let tls = Tls::load(&config).await?;
    let listener = listen::bind(&config)?;
    let address = listener.local_addr().map_err(ServeError::Server)?;
    let opened = tokio::task::spawn_blocking(move || open(config, address, bundled)).await;
    let (app, scheduler) = opened.map_err(|error| ServeError::Server(io::Error::other(error)))??;
    let handle = Handle::new();
    let router = crate::http::router(&app);
    let server = tokio::spawn(listen::serve(listener, tls.clone(), router, app.clone(), handle.clone()));
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!("listening on {scheme}://{address}");
    let retention = crate::retention::start(&app).map_err(ServeError::Server)?;
    Ok(Running { address, app, tls, handle, server, scheduler: Some(scheduler), retention: Some(retention) })
}

impl Running {
    /// Reads rules, certificate and key again. What cannot be read is logged, and what was there stays.
    pub async fn reload(&self) {
        if let Some(tls) = &self.tls {
            match tls.reload().await {
                Ok(()) => tracing::info!("certificate and key were read again"),
                Err(error) => tracing::error!(%error, "certificate and key stay as they were"),
            }
        }
        let installed = self.app.blocking(|app| {
            install(&app.control, &app.config, &[])
                .map_err(|error| crate::http::Failure::Internal(error.to_string()))?;
            app.scheduler.wake();
            Ok(())
        });
        if let Err(error) = installed.await {
            tracing::error!(%error, "rules stay as they were");
        }
    }

    /// Waits until the server has ended.
    async fn ended(&mut self) -> Result<(), ServeError> {
        match (&mut self.server).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ServeError::Server(error)),
            Err(error) => Err(ServeError::Server(io::Error::other(error))),
        }
    }

    /// Ends the service in order: connections, scheduler, store.
    ///
    /// # Errors
    /// If recent events could not be written to segments: they are in the log and come back at the next start.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.app.stopping.store(true, Ordering::Relaxed);
        tracing::info!("stopping");
        self.handle.graceful_shutdown(Some(self.app.config.server.shutdown_time.0));
        if !self.server.is_finished() {
            self.ended().await?;
        }
        self.app.scheduler.stop();
        // Rules that somebody asked to be run end after the window under way.
        _ = self.app.manual_waiting.acquire_many(MAX_MANUAL_WAITING as u32).await;
        let (app, scheduler, retention) = (self.app.clone(), self.scheduler.take(), self.retention.take());
        let closed = tokio::task::spawn_blocking(move || {
            retention.iter().for_each(|thread| thread.thread().unpark());
            retention.map(JoinHandle::join);
            scheduler.map(JoinHandle::join);
            app.store.close()
        });
        closed.await.map_err(|error| ServeError::Server(io::Error::other(error)))??;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens the data folder and everything in it.
fn open(config: Config, address: SocketAddr, bundled: Vec<LoadedRule>) -> Result<(App, JoinHandle<()>), ServeError> {
    let data = &config.server.data;
    std::fs::create_dir_all(data).map_err(ServeError::io(data))?;
    let control = Control::open(&data.join("control.sqlite"))?;
    make_first_user(&control, &config)?;
    let bundled = if config.rules.bundled { bundled } else { Vec::new() };
    install(&control, &config, &bundled)?;
    let active = Scheduler::enabled_rules(&control)?;
    let (store, recovered) = Store::open(&data.join("events"), store_options(&config)?, active.compiled.clone())?;
    if recovered.replayed > 0 {
        tracing::info!(events = recovered.replayed, "events came back from the log");
    }
    if recovered.cut_bytes > 0 {
        let bytes = recovered.cut_bytes;
        tracing::warn!(bytes, "the end of the log was not whole, and cut off: a request that was never acknowledged");
    }
    if recovered.unknown_ids > 0 {
        let segments = recovered.unknown_ids;
        tracing::warn!(segments, "ids of older events cannot be read: one that is sent again may be taken again");
    }
    for path in &recovered.in_quarantine {
        tracing::warn!(path = %path.display(), "a damaged segment is in quarantine: its events are not looked at");
    }
    for path in recovered.quarantined.iter().chain(&recovered.missing) {
        tracing::error!(path = %path.display(), "damaged or missing: events of this file are lost");
    }
    let options = schedule_options(&config);
    let scheduler = Scheduler::new(store.clone(), control.clone(), active, options, Arc::new(SystemClock))?;
    let scheduler = Arc::new(scheduler);
    let stash_path = data.join("stash.ndjson");
    let parts = Parts {
        store,
        control,
        scheduler: scheduler.clone(),
        metrics: Metrics::default(),
        address,
        started: crate::now(),
        logins: Logins::new(&config.auth)?,
        bodies: Budget::new(config.limits.body_memory.0),
        bundled,
        dead_letters: DeadLetters::new(DeadLetters::folder_of(data), config.dead_letters.clone()),
        stash: Stash::open(stash_path.clone()).map_err(ServeError::io(&stash_path))?,
        searches: KeptSearches::default(),
        stopping: AtomicBool::new(false),
        sql: sql_engine(&config)?,
        sql_places: Arc::new(Semaphore::new(crate::sql::SQL_QUERIES)),
        manual_waiting: Arc::new(Semaphore::new(MAX_MANUAL_WAITING)),
        manual_turn: std::sync::Mutex::default(),
        blocking: Arc::new(Semaphore::new(BLOCKING_REQUESTS)),
        intake: Arc::new(Semaphore::new(BLOCKING_REQUESTS)),
        uploads: Arc::new(Semaphore::new(crate::ingest::UPLOADS)),
        login_places: Arc::new(Semaphore::new(LOGINS)),
        config,
    };
    let app = App(Arc::new(parts));
    crate::kibana::resume_manual_runs(&app)?;
    let thread = std::thread::Builder::new().name("eqlipse-schedule".to_owned());
    let thread = thread.spawn(move || scheduler.run()).map_err(ServeError::Server)?;
    Ok((app, thread))
}

fn sql_engine(config: &Config) -> Result<SqlEngine, ServeError> {
    let options = SqlOptions {
        threads: std::thread::available_parallelism().map_or(1, Into::into),
        memory: config.limits.sql_memory.as_usize(),
        memory_setting: "limits.sql_memory",
        may_spill: false,
    };
    SqlEngine::new(options).map_err(ServeError::Server)
}

pub(crate) fn schedule_options(config: &Config) -> ScheduleOptions {
    ScheduleOptions {
        tick: config.schedule.tick.map(|tick| tick.0),
        late_bound: config.schedule.late_bound.0,
        rule_events: config.schedule.rule_events,
        ..ScheduleOptions::default()
    }
}

/// A secret that is a file's only line.
fn read_secret(path: &Path) -> Result<String, ServeError> {
    let text = std::fs::read_to_string(path).map_err(ServeError::io(path))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Where segments are kept.
pub(crate) fn segment_place(config: &StoreConfig) -> Result<SegmentPlace, ServeError> {
    let url = match config.segments_at()? {
        None => return Ok(SegmentPlace::Own),
        Some(SegmentsAt::Folder(folder)) => return Ok(SegmentPlace::Folder(folder)),
        Some(SegmentsAt::S3(url)) => url,
    };
    let secret_access_key = match (&config.s3_secret_access_key, &config.s3_secret_access_key_file) {
        (Some(key), _) => Some(key.0.clone()),
        (None, Some(path)) => Some(read_secret(path)?),
        (None, None) => None,
    };
    let mut place = ObjectPlace::s3(&S3Options {
        url,
        endpoint: config.s3_endpoint.clone(),
        region: config.s3_region.clone(),
        access_key_id: config.s3_access_key_id.clone(),
        secret_access_key,
        allow_http: config.s3_allow_http,
    })?;
    place.cache_bytes = config.segment_cache.0;
    Ok(SegmentPlace::Objects(place))
}

pub(crate) fn store_options(config: &Config) -> Result<StoreOptions, ServeError> {
    Ok(StoreOptions {
        max_memory: config.store.memory.as_usize(),
        flush_bytes: config.store.flush_bytes.as_usize(),
        flush_age: config.store.flush_age.0,
        max_document_bytes: config.limits.document_bytes.as_usize(),
        max_data_streams: config.store.max_data_streams,
        cache_bytes: config.store.cache_bytes.as_usize(),
        retention_age: config.store.retention_age.map(|age| age.0),
        retention_bytes: config.store.retention_size.map(|size| size.0),
        segments: segment_place(&config.store)?,
    })
}

/// Installs the rules that come with eqlipse and those of `rules.paths`, enabled.
fn install(control: &Control, config: &Config, bundled: &[LoadedRule]) -> Result<(), ServeError> {
    let loaded = if config.rules.paths.is_empty() {
        Vec::new()
    } else {
        let load = eqlipse_rules::load(&config.rules.paths.iter().cloned().map(PathOrStdin::Path).collect::<Vec<_>>());
        for failure in &load.failures {
            tracing::warn!(%failure, "a rule was not loaded");
        }
        load.rules
    };
    // Of a rule that is in both, the files' is meant.
    let is_replaced = |rule: &&LoadedRule| loaded.iter().any(|other| other.rule.rule_id == rule.rule.rule_id);
    let rules: Vec<LoadedRule> = bundled.iter().filter(|rule| !is_replaced(rule)).chain(&loaded).cloned().collect();
    if rules.is_empty() {
        return Ok(());
    }
    let report = control.install(&rules, true, "eqlipse", crate::now())?;
    let (installed, updated, unchanged) = (report.installed, report.updated, report.unchanged);
    tracing::info!(installed, updated, unchanged, failed = report.failed.len(), "rules installed");
    for (rule, reason) in report.failed {
        tracing::warn!(rule, reason, "a rule was not installed");
    }
    Ok(())
}

/// Makes the first user where there is none. A password that was made up is printed once.
fn make_first_user(control: &Control, config: &Config) -> Result<(), ServeError> {
    if !control.users()?.is_empty() {
        return Ok(());
    }
    let name = &config.auth.admin;
    let roles = BTreeSet::from([Role::Admin]);
    let given = match (&config.auth.admin_password, &config.auth.admin_password_file) {
        (Some(password), _) => Some(password.0.clone()),
        (None, Some(path)) => Some(read_secret(path)?),
        (None, None) => None,
    };
    let password = given.clone().map_or_else(new_password, Ok)?;
    if given.is_none() {
        // Not through the log, which may go elsewhere and stay there. What nobody could read is nobody's password.
        let said = writeln!(
            io::stderr(),
            "The first user is \"{name}\", with the password {password}\nIt is shown this once only."
        );
        said.map_err(ServeError::io(Path::new("standard error, where the first password is shown")))?;
    }
    control.create_user(name, &password, &roles, "eqlipse", crate::now())?;
    Ok(())
}

/// 24 letters and digits, without those that look alike: 136 bits.
fn new_password() -> Result<String, getrandom::Error> {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";
    let mut password = String::new();
    while password.len() < 24 {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        // Bytes beyond the last whole round would make some letters likelier.
        let fair = bytes.iter().filter(|byte| usize::from(**byte) < 256 / LETTERS.len() * LETTERS.len());
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        password.extend(letters.take(24 - password.len()));
    }
    Ok(password)
}

fn log_filter(config: &Config) -> Result<EnvFilter, ServeError> {
    EnvFilter::try_new(&config.log.level).map_err(|error| ServeError::Log(error.to_string()))
}

/// Sends the process's log to standard error, as `[log]` says.
///
/// # Errors
/// If `log.level` is no filter, or a log is set up already.
pub fn log_to_stderr(config: &Config) -> Result<(), ServeError> {
    let filter = log_filter(config)?;
    let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(is_terminal);
    let set = match config.log.format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| ServeError::Log(error.to_string()))
}
