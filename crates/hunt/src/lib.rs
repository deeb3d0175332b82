//! The hunt: all rules over files, once.
//!
//! A [`RuleBook`] compiles loaded rules; [`run`] takes the events of discovered inputs through the whole way of the data
//! (decode, normalise, match, correlate, build alerts) and gives a [`HuntReport`]: the alerts, and what a reader must
//! know to believe them: what was read and skipped, which rules did not run, and which could not have fired.
//!
//! [`run_query`] takes the same way with one [`CompiledQuery`] and gives what it finds instead of alerts.
//! [`readiness::readiness`] matches nothing: it says which rules could fire on the data at all.

mod documents;
pub mod explain;
mod gather;
mod identities;
mod ignore_case;
mod query;
mod query_place;
pub mod readiness;
mod report;
mod rule_book;
pub mod rule_tests;
mod run;
mod spool;

pub use documents::key_json;
pub use query::{
    CompiledQuery, Counting, QueryOptions, QueryReport, QueryResult, QueryRun, ResultCount, ResultPosition, run_query,
};
pub use query_place::QueryPlace;
pub use report::{BlindReason, BlindRule, HuntReport, InputReport, RuleSetReport, SkippedRecord, UnloadedRule};
pub use rule_book::RuleBook;
pub use run::{HuntError, HuntOptions, match_kind, run};

/// Bytes as lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
