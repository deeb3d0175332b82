//! Elasticsearch's API, as far as those who send events need it: Beats, Logstash, Fluent Bit, Vector, rsyslog, and
//! Elasticsearch's own clients.
//!
//! * `documents`: events come in. An event store is append-only: updates and deletes are refused, item by item.
//! * `cluster`: what clients ask at their start to know whom they talk to.
//! * `setup`: templates, policies and pipelines that clients put at their start and want to find again ([`Stash`]).
//! * `security`: API keys, and who one is.
//! * `users`: users and their roles.

mod bulk;
mod cluster;
mod documents;
mod security;
mod setup;
mod stash;
mod users;

use utoipa_axum::router::OpenApiRouter;

pub use bulk::MAX_ACTIONS;
pub(crate) use bulk::{Action, Operation};
pub use cluster::ELASTIC_VERSION;
pub(crate) use documents::{MAX_ID_BYTES, Outcome, take, turned_away};
pub(crate) use security::who_one_is;
pub use stash::{MAX_STASH_BYTES, MAX_STASHED, Stash};

use crate::state::App;

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    documents::routes().merge(cluster::routes()).merge(setup::routes()).merge(security::routes()).merge(users::routes())
}
