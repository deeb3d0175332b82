//! The service behind `eqlipse serve`: events come in, rules run over them on their schedule, alerts go out.
//!
//! ```text
//!  shippers ──> [`elastic`]: _bulk, _doc ──┐                          ┌──> store: log, recent events, segments
//!  uploads ───> [`ingest`]: NDJSON, EVTX ──┼─> [`state::App`] ────────┼──> control: rules, alerts, users, ledger
//!  people ────> kibana, search ────────────┘   every handler's state  └──> scheduler: windows, alerts
//!                     ▲
//!                 [`http`]: connections, TLS, logins, limits, ids, error shapes
//! ```
//!
//! [`serve`] does all of it: it opens the data folder, makes the first user, installs rules, listens, and stops in
//! order. [`start`] is the same for those who want to know the address and stop it themselves, such as tests.
//!
//! * Connections are tokio's; what blocks (store, control, files) runs beside them, bounded ([`state::App::blocking`]).
//! * What a request may take is bounded, and each bound is a setting that its error names ([`config`]).
//! * An event is acknowledged when it is on disk. What cannot be taken now is answered 429 or 503, so that the client
//!   sends it again; what can never be taken is answered 400 and kept as a [dead letter](dead_letters).

pub mod config;
pub mod dead_letters;
mod demo;
pub mod dsl;
pub mod elastic;
mod folder;
mod health;
pub mod http;
mod ingest;
pub mod kibana;
pub mod metrics;
mod offline;
pub mod openapi;
mod portions;
mod rate;
mod retention;
pub mod search;
pub mod service;
mod sql;
mod start;
pub mod state;

pub use config::Config;
pub use offline::{Offline, view};
pub use start::{Running, ServeError, check, log_to_stderr, serve, start, terminated};

/// Now, in nanoseconds since the Unix epoch.
pub fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
