//! The manifest: what a run read and ran, and what it could not.

use eqlipse_events::Window;
use eqlipse_hunt::{BlindReason, BlindRule, HuntReport, InputReport, SkippedRecord, UnloadedRule};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::HuntArgs;
use crate::summary::Summary;
use crate::version;

/// The options that decide the result. Where the result goes, how it looks and how many threads made it are not here:
/// reports of the same input are equal to the byte.
#[derive(Debug, Clone, Serialize)]
pub struct Options {
    /// Inputs as given.
    pub paths: Vec<String>,
    /// Where the rules came from.
    pub rules: Vec<String>,
    /// `--min-severity`
    pub min_severity: Option<String>,
    /// `--include`
    pub include: Vec<String>,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `--from`
    pub from: Option<TimeOption>,
    /// `--to`
    pub to: Option<TimeOption>,
    /// `--order-by`
    pub order_by: &'static str,
    /// `--any-index`
    pub any_index: bool,
    /// `--max-alerts`
    pub max_alerts: Option<u64>,
}

/// A time as given and as it was understood.
#[derive(Debug, Clone, Serialize)]
pub struct TimeOption {
    /// As given.
    pub given: String,
    /// In UTC.
    pub resolved: String,
}

impl Options {
    /// The options of a hunt; `window` is what `--from` and `--to` mean.
    pub fn new(args: &HuntArgs, rules: Vec<String>, window: Window) -> Options {
        let time = |given: &Option<String>, nanos: Option<i64>| {
            let resolved = Timestamp::from_nanosecond(i128::from(nanos?)).ok()?;
            Some(TimeOption { given: given.clone()?, resolved: format!("{resolved:.9}") })
        };
        Options {
            paths: args.paths.iter().map(|path| path.display().to_string()).collect(),
            rules,
            min_severity: args.selection.min_severity.map(|severity| severity.to_string()),
            include: args.selection.include.clone(),
            exclude: args.selection.exclude.clone(),
            from: time(&args.times.from, window.from),
            to: time(&args.times.to, window.to),
            order_by: args.order_by.as_str(),
            any_index: args.any_index,
            max_alerts: args.max_alerts,
        }
    }

    /// Options of a run over `paths` with everything else at its default.
    #[cfg(test)]
    pub fn of_paths(paths: &[&str]) -> Options {
        Options {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            rules: vec!["bundled".to_owned()],
            min_severity: None,
            include: Vec::new(),
            exclude: Vec::new(),
            from: None,
            to: None,
            order_by: crate::args::OrderBy::Log.as_str(),
            any_index: false,
            max_alerts: None,
        }
    }
}

/// The manifest, the part that is equal for equal input.
pub fn manifest(report: &HuntReport, summary: &Summary, options: &Options) -> Value {
    json!({
        "eqlipse": { "version": version::VERSION, "commit": version::COMMIT, "target": version::TARGET },
        "options": options,
        "inputs": report.inputs.iter().map(input).collect::<Vec<_>>(),
        "inputs_without_events": report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "files_not_logs": report.not_logs,
        "rule_set": {
            "sha256": report.rules.sha256,
            "ran": report.rules.ran.len(),
            "filtered": report.rules.filtered,
            "not_run_yet": report.rules.not_run,
            "not_loaded": report.rules.unloaded.iter().map(unloaded).collect::<Vec<_>>(),
            "warnings": report.rules.warnings,
        },
        "could_not_fire": report.blind.iter().map(blind).collect::<Vec<_>>(),
        "counts": {
            "alerts": summary.alerts,
            "alerts_capped": report.capped,
            "events": report.events,
            "bytes": report.bytes,
            "events_outside_window": report.outside,
            "duplicates": report.duplicates,
            "events_without_time": report.untimed,
            "inputs": summary.read.inputs,
            "skipped": summary.read.skipped,
            "damaged": summary.read.damaged,
        },
    })
}

/// How a run went: for the manifest file only, as it differs between runs.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The command line as given.
    pub command_line: Vec<String>,
    /// The folder it ran in.
    pub working_directory: Option<String>,
    /// When it began.
    pub started: String,
    /// When it was done.
    pub finished: String,
    /// Seconds it took.
    pub elapsed_seconds: f64,
}

/// The manifest with how the run went.
pub fn manifest_of_run(manifest: &Value, run: &Run) -> Value {
    let mut manifest = manifest.clone();
    if let Value::Object(object) = &mut manifest {
        object.insert("run".to_owned(), json!(run));
    }
    manifest
}

fn input(input: &InputReport) -> Value {
    let records = |records: &[SkippedRecord]| -> Vec<Value> {
        records.iter().map(|record| json!({ "place": record.place, "reason": record.reason })).collect()
    };
    json!({
        "name": input.name,
        "format": input.format,
        "bytes": input.bytes,
        "sha256": input.sha256,
        "events": input.events,
        "skipped": input.skipped,
        "first_skipped": records(&input.first_skipped),
        "damaged": input.damaged,
        "first_damaged": records(&input.first_damaged),
    })
}

fn unloaded(rule: &UnloadedRule) -> Value {
    json!({ "origin": rule.origin, "name": rule.name, "reason": rule.reason })
}

fn blind(blind: &BlindRule) -> Value {
    let missing = |reason: &BlindReason| match reason {
        BlindReason::Index => json!({ "index": blind.rule.index() }),
        BlindReason::Category(category) => json!({ "category": category }),
        BlindReason::Field(field) => json!({ "field": field }),
    };
    json!({
        "rule_id": blind.rule.rule_id,
        "name": blind.rule.name,
        "missing": blind.reasons.iter().map(missing).collect::<Vec<_>>(),
    })
}
