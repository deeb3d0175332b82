//! Counts over a whole report, the same for every format.

use std::collections::{BTreeMap, BTreeSet};

use eqlipse_hunt::{BlindReason, BlindRule, HuntReport};
use eqlipse_rules::Severity;
use serde::Serialize;

use crate::attack;
use crate::date::iso_millis;
use crate::view::AlertView;

/// What a hunt comes to. Holds nothing that differs between two runs over the same input.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Number of alerts; a sequence counts once.
    pub alerts: usize,
    /// Alerts by severity, highest first; all four are there.
    pub alerts_by_severity: Vec<SeverityCount>,
    /// Alerts by tactic, in kill-chain order.
    pub alerts_by_tactic: Vec<TacticCount>,
    /// Rules with alerts, those with most first.
    pub alerts_by_rule: Vec<RuleCount>,
    /// Hosts with alerts, those with most first.
    pub alerts_by_host: Vec<HostCount>,
    /// Alerts beyond `--max-alerts` that are not in the report.
    pub alerts_capped: u64,
    /// Time of the first alert.
    pub first_alert: Option<String>,
    /// Time of the last alert.
    pub last_alert: Option<String>,
    /// What was read.
    pub read: ReadCounts,
    /// What became of the rules.
    pub rules: RuleCounts,
}

/// Alerts of one severity.
#[derive(Debug, Serialize)]
pub struct SeverityCount {
    /// The severity.
    pub severity: Severity,
    /// Number of alerts.
    pub alerts: usize,
}

/// Alerts of one tactic.
#[derive(Debug, Serialize)]
pub struct TacticCount {
    /// The tactic's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Number of alerts.
    pub alerts: usize,
}

/// Alerts of one rule.
#[derive(Debug, Serialize)]
pub struct RuleCount {
    /// The rule's id.
    pub rule_id: String,
    /// Its name.
    pub name: String,
    /// Its highest severity among the alerts.
    pub severity: Severity,
    /// Number of alerts.
    pub alerts: usize,
    /// Alerts beyond `--max-alerts`.
    pub capped: u64,
}

/// Alerts of one host.
#[derive(Debug, Serialize)]
pub struct HostCount {
    /// The host's name.
    pub host: String,
    /// Number of alerts.
    pub alerts: usize,
}

/// What was read and what was not.
#[derive(Debug, Serialize)]
pub struct ReadCounts {
    /// Inputs: files, members of archives, standard input.
    pub inputs: usize,
    /// Inputs of which something had to be skipped.
    pub inputs_with_faults: usize,
    /// Things given as input that gave no events.
    pub problems: usize,
    /// Files in folders and archives that are no logs.
    pub not_logs: u64,
    /// Records, lines and chunks that could not be read.
    pub skipped: u64,
    /// Records, lines and chunks that were read although something is wrong with them.
    pub damaged: u64,
    /// Events, duplicates included.
    pub events: u64,
    /// Of those, the events outside `--from` and `--to`.
    pub outside: u64,
    /// Events that had been read before.
    pub duplicates: u64,
    /// Events without a readable time.
    pub untimed: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What became of the rules.
#[derive(Debug, Serialize)]
pub struct RuleCounts {
    /// Rules that ran.
    pub ran: usize,
    /// Rules that ran and could have fired on this data.
    pub could_fire: usize,
    /// Rules that ran and could not have fired.
    pub could_not_fire: usize,
    /// Of those: no event belongs to their indices.
    pub no_index: usize,
    /// Of those: an event category they need never occurred.
    pub no_category: usize,
    /// Of those: a field they need never occurred.
    pub no_field: usize,
    /// Rules that were given but not loaded.
    pub not_loaded: usize,
    /// Rules of types that eqlipse does not run yet.
    pub not_run: BTreeMap<String, usize>,
    /// Rules that the selection left out.
    pub filtered: usize,
}

/// The one reason to count a rule under that could not have fired: the coarsest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// No event in the rule's indices.
    Index,
    /// No event of a category.
    Category,
    /// No event with a field.
    Field,
}

/// The coarsest thing that the rule lacked.
pub fn lack(rule: &BlindRule) -> Lack {
    let of = |reason: &BlindReason| match reason {
        BlindReason::Index => Lack::Index,
        BlindReason::Category(_) => Lack::Category,
        BlindReason::Field(_) => Lack::Field,
    };
    rule.reasons.iter().map(of).min().unwrap_or(Lack::Field)
}

/// What a rule lacked: `no event in its indices (logs-*)`, `category never seen: file; field never seen: file.path`.
pub fn lack_text(blind: &BlindRule) -> String {
    let mut parts = Vec::new();
    if blind.reasons.contains(&BlindReason::Index) {
        parts.push(match blind.rule.index() {
            [] => "no event at all".to_owned(),
            index => format!("no event in its indices ({})", index.join(", ")),
        });
    }
    let categories = blind.reasons.iter().filter_map(|reason| match reason {
        BlindReason::Category(name) => Some(name.as_str()),
        _ => None,
    });
    let fields = blind.reasons.iter().filter_map(|reason| match reason {
        BlindReason::Field(name) => Some(name.as_str()),
        _ => None,
    });
    for (what, names) in [("category", categories.collect::<Vec<_>>()), ("field", fields.collect())] {
        if !names.is_empty() {
            parts.push(format!("{what} never seen: {}", names.join(", ")));
        }
    }
    parts.join("; ")
}

impl Summary {
    /// Counts `report`, whose alerts are `alerts`.
    pub fn new(report: &HuntReport, alerts: &[AlertView]) -> Summary {
        let times = || alerts.iter().filter_map(|alert| alert.time);
        let matrix = attack::matrix(alerts.iter().map(|alert| alert.rule.as_ref()));
        Summary {
            alerts: alerts.len(),
            alerts_by_severity: by_severity(alerts),
            alerts_by_tactic: matrix
                .into_iter()
                .map(|column| TacticCount { id: column.id, name: column.name, alerts: column.alerts })
                .collect(),
            alerts_by_rule: by_rule(report, alerts),
            alerts_by_host: by_host(alerts),
            alerts_capped: report.capped.values().sum(),
            first_alert: times().min().map(iso_millis),
            last_alert: times().max().map(iso_millis),
            read: read_counts(report),
            rules: rule_counts(report),
        }
    }

    /// Number of distinct hosts with alerts.
    pub fn hosts(&self) -> usize {
        self.alerts_by_host.len()
    }
}

fn by_severity(alerts: &[AlertView]) -> Vec<SeverityCount> {
    let count = |severity| alerts.iter().filter(|alert| alert.severity == severity).count();
    Severity::ALL.into_iter().rev().map(|severity| SeverityCount { severity, alerts: count(severity) }).collect()
}

fn by_rule(report: &HuntReport, alerts: &[AlertView]) -> Vec<RuleCount> {
    let mut rules: BTreeMap<&str, RuleCount> = BTreeMap::new();
    for alert in alerts {
        let rule = rules.entry(&alert.rule.rule_id).or_insert_with(|| RuleCount {
            rule_id: alert.rule.rule_id.clone(),
            name: alert.rule.name.clone(),
            severity: alert.severity,
            alerts: 0,
            capped: report.capped.get(&alert.rule.rule_id).copied().unwrap_or(0),
        });
        rule.alerts += 1;
        rule.severity = rule.severity.max(alert.severity);
    }
    let mut rules: Vec<RuleCount> = rules.into_values().collect();
    rules.sort_by(|a, b| {
        let most = b.alerts.cmp(&a.alerts).then(b.severity.cmp(&a.severity));
        most.then_with(|| a.name.cmp(&b.name)).then_with(|| a.rule_id.cmp(&b.rule_id))
    });
    rules
}

fn by_host(alerts: &[AlertView]) -> Vec<HostCount> {
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    for host in alerts.iter().filter_map(|alert| alert.host) {
        *hosts.entry(host).or_default() += 1;
    }
    let mut hosts: Vec<HostCount> =
        hosts.into_iter().map(|(host, alerts)| HostCount { host: host.to_owned(), alerts }).collect();
    hosts.sort_by(|a, b| b.alerts.cmp(&a.alerts).then_with(|| a.host.cmp(&b.host)));
    hosts
}

fn read_counts(report: &HuntReport) -> ReadCounts {
    let faulty = |input: &&eqlipse_hunt::InputReport| input.skipped > 0;
    ReadCounts {
        inputs: report.inputs.len(),
        inputs_with_faults: report.inputs.iter().filter(faulty).count(),
        problems: report.problems.len(),
        not_logs: report.not_logs,
        skipped: report.inputs.iter().map(|input| input.skipped).sum(),
        damaged: report.inputs.iter().map(|input| input.damaged).sum(),
        events: report.events,
        outside: report.outside,
        duplicates: report.duplicates,
        untimed: report.untimed,
        bytes: report.bytes,
    }
}

fn rule_counts(report: &HuntReport) -> RuleCounts {
    let lacking = |what| report.blind.iter().filter(|rule| lack(rule) == what).count();
    let ran = report.rules.ran.len();
    RuleCounts {
        ran,
        could_fire: ran.saturating_sub(report.blind.len()),
        could_not_fire: report.blind.len(),
        no_index: lacking(Lack::Index),
        no_category: lacking(Lack::Category),
        no_field: lacking(Lack::Field),
        not_loaded: report.rules.unloaded.len(),
        not_run: report.rules.not_run.clone(),
        filtered: report.rules.filtered,
    }
}

/// What the rules lacked most, of one kind: `file 123, registry 88`.
pub fn most_lacking(blind: &[BlindRule], what: Lack, most: usize) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in blind.iter().filter(|rule| lack(rule) == what) {
        let names: BTreeSet<&str> = rule
            .reasons
            .iter()
            .filter_map(|reason| match (what, reason) {
                (Lack::Category, BlindReason::Category(name)) | (Lack::Field, BlindReason::Field(name)) => {
                    Some(name.as_str())
                }
                _ => None,
            })
            .collect();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(most);
    counts
}

/// The sentence that says what the number of alerts is worth.
pub fn verdict(summary: &Summary) -> String {
    use crate::text::{counted, grouped};
    let rules = &summary.rules;
    let found = match summary.alerts {
        0 => "0 alerts.".to_owned(),
        alerts => format!(
            "{} from {} on {}.",
            counted(alerts as u64, "alert"),
            counted(summary.alerts_by_rule.len() as u64, "rule"),
            counted(summary.hosts() as u64, "host"),
        ),
    };
    if rules.ran == 0 {
        return format!("{found} No rule ran.");
    }
    if summary.read.events == 0 {
        return format!("{found} Nothing could have been found: no event was read.");
    }
    let could = match (rules.could_fire, rules.could_not_fire) {
        (_, 0) if rules.ran == 1 => " The rule could have fired.".to_owned(),
        (_, 0) => format!(" All {} rules could have fired.", grouped(rules.ran as u64)),
        (0, _) => " Nothing could have been found: no rule could have fired on this data".to_owned(),
        (could, _) => format!(" {} of {} could have fired", grouped(could as u64), counted(rules.ran as u64, "rule")),
    };
    if rules.could_not_fire == 0 {
        return format!("{found}{could}");
    }
    let parts = [
        ("no event in its indices", rules.no_index),
        ("category never seen", rules.no_category),
        ("field never seen", rules.no_field),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{what}: {}", grouped(*count as u64)))
        .collect();
    let not = match rules.could_fire {
        0 => String::new(),
        _ => format!("; {} could not", grouped(rules.could_not_fire as u64)),
    };
    format!("{found}{could}{not} ({}).", parts.join(", "))
}
