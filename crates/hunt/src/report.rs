use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eqlipse_alerts::Alert;
use eqlipse_events::InputProblem;
use eqlipse_rules::Rule;

pub use eqlipse_engine::Lack as BlindReason;
pub use eqlipse_events::{Input as InputReport, SkippedRecord};

/// Everything a hunt found, and everything needed to judge it.
#[derive(Debug)]
pub struct HuntReport {
    /// The alerts, sorted by time, then rule id, then alert id. Building blocks lie inside their sequence's alert.
    pub alerts: Vec<Alert>,
    /// The rules that were given, and what became of them.
    pub rules: RuleSetReport,
    /// Rules that ran and could not have fired on this data, sorted by name.
    pub blind: Vec<BlindRule>,
    /// The inputs in their order.
    pub inputs: Vec<InputReport>,
    /// What was given as input and gave no events.
    pub problems: Vec<InputProblem>,
    /// Files found in folders and archives that are no logs.
    pub not_logs: u64,
    /// Events read, duplicates included.
    pub events: u64,
    /// Of those, the events outside the window, which were left out.
    pub outside: u64,
    /// Bytes read from the inputs as they lie on disk.
    pub bytes: u64,
    /// Events that had been read before (same host, channel, record id, time and content) and were left out.
    pub duplicates: u64,
    /// Events without a readable time: they are matched by single-event rules but take no part in sequences.
    pub untimed: u64,
    /// Alerts beyond `--max-alerts`, by rule id.
    pub capped: BTreeMap<String, u64>,
    /// Wall time of the run, rules loaded and all.
    pub elapsed: Duration,
}

/// What became of the rules.
#[derive(Clone, Debug, Default)]
pub struct RuleSetReport {
    /// Rules that ran, in rule-id order.
    pub ran: Vec<Arc<Rule>>,
    /// Rules that were given but not loaded or compiled.
    pub unloaded: Vec<UnloadedRule>,
    /// Loaded rules of a type that eqlipse does not run yet: type name and count.
    pub not_run: BTreeMap<String, usize>,
    /// Loaded rules that `--include`, `--exclude` or `--min-severity` left out.
    pub filtered: usize,
    /// SHA-256 over the content of all rules that ran, in rule-id order, as lower-case hex.
    pub sha256: String,
    /// Warnings of the loader and compiler, one line each.
    pub warnings: Vec<String>,
}

/// A rule that could not be used.
#[derive(Clone, Debug)]
pub struct UnloadedRule {
    /// File (and entry within it) that it came from.
    pub origin: String,
    /// Its name, where it could be read.
    pub name: Option<String>,
    /// Why: one line or several (with the source line and a caret).
    pub reason: String,
}

/// A rule that could not have fired: for each stage that must match, what the data lacks.
#[derive(Clone, Debug)]
pub struct BlindRule {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What was missing, at least one entry.
    pub reasons: Vec<BlindReason>,
}
