//! The commands that ask a running service: `status`, `dead-letters`.

mod client;
mod dead_letters;
mod status;

pub use dead_letters::dead_letters;
pub use status::status;
