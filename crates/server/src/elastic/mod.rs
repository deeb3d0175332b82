//! Elasticsearch's API, as far as those who send events need it.

mod bulk;
mod documents;
mod stash;

use axum::Router;

pub use stash::{MAX_STASH_BYTES, MAX_STASHED, Stash};

use crate::state::App;

/// The routes of this part.
pub(crate) fn routes() -> Router<App> {
    documents::routes()
}
