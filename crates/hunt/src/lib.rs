//! The hunt: all rules over files, once.
//!
//! [`run`] takes loaded rules and discovered inputs through the whole way of the data (decode, normalise, match,
//! correlate, build alerts) and gives a [`HuntReport`]: the alerts, and what a reader must know to believe them: what
//! was read and skipped, which rules did not run, and which could not have fired.

mod report;

pub use report::{BlindReason, BlindRule, HuntReport, InputReport, RuleSetReport, SkippedRecord, UnloadedRule};
