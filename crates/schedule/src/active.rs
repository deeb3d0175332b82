//! The rules that run, compiled together.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use eqlipse_control::{StoredRule, TimeBasis};
use eqlipse_engine::compile::{Plan, SequencePlan};
use eqlipse_engine::{MatchPlan, RuleIndex, needs_all, reach};
use eqlipse_hunt::RuleBook;
use eqlipse_rules::{LoadedRule, Origin, Rule, RuleLoad};
use eqlipse_store::StoreRules;
use xxhash_rust::xxh3::xxh3_128;

use crate::window::RuleWindow;

/// Grows when the engine comes to match otherwise: what older versions matched is then matched again.
const MATCHING: u32 = 1;

const NANOS: i64 = 1_000_000_000;

/// A rule that runs.
#[derive(Clone, Debug)]
pub struct ActiveRule {
    /// Its number in the compiled rules.
    pub index: RuleIndex,
    /// The rule, with [`saved_object_id`](Rule::saved_object_id).
    pub rule: Arc<Rule>,
    /// What tells whether it matches as before.
    pub fingerprint: u128,
    /// What tells whether its windows are as before.
    pub frame: u128,
    /// Its interval, in nanoseconds.
    pub interval: i64,
    /// What time means in its window.
    pub basis: TimeBasis,
    /// How far before its window events matter, in nanoseconds: those of a finding that is certain late, and those that
    /// must not be there.
    pub lookback: i64,
    /// For a sequence that ends with a missing event: how long after its first event it is certain, in nanoseconds.
    pub closes: Option<i64>,
    /// More must be looked at than what is new; see [`needs_all`].
    pub needs_all: bool,
    /// How far apart the events of a finding can be; see [`reach`].
    pub reach: Option<i64>,
    /// How long a finding may last by its query, in nanoseconds: a sequence's `maxspan`; `None` if only the window limits it.
    /// It is zero for rules that find no sequences.
    pub span: Option<i64>,
}

impl ActiveRule {
    /// How far before an event that came late those may be that came in time and are in a sequence with it.
    pub fn late_reach(&self, window: RuleWindow) -> i64 {
        self.span.unwrap_or_else(|| window.length())
    }

    /// The id under which it is stored.
    pub fn id(&self) -> &str {
        self.rule.saved_object_id.as_deref().unwrap_or(&self.rule.rule_id)
    }
}

/// The rules that run.
pub struct ActiveRules {
    /// By [`RuleIndex`].
    pub rules: Vec<ActiveRule>,
    /// As the store needs them.
    pub compiled: Arc<StoreRules>,
    /// Rules that are enabled and cannot run: their id, and why.
    pub failed: Vec<(String, String)>,
    /// Rules that run without something that they ask for: their id, and what.
    pub ignoring: Vec<(String, String)>,
}

/// A number that is another whenever the rule would match other events.
pub fn fingerprint(rule: &Rule) -> u128 {
    let eql = rule.eql();
    // With an order of its own, it has rows of its own, which another rule like it does not share.
    let own = eql.filter(|eql| eql.timestamp_field.is_some() || eql.tiebreaker_field.is_some()).map(|_| &rule.rule_id);
    let eql = eql.map(|eql| {
        (&eql.query, &eql.source.index, &eql.event_category_override, &eql.timestamp_field, &eql.tiebreaker_field)
    });
    match own {
        Some(own) => xxh3_128(format!("{MATCHING} {eql:?} {own}").as_bytes()),
        None => xxh3_128(format!("{MATCHING} {eql:?}").as_bytes()),
    }
}

impl ActiveRules {
    /// Compiles rules. Those that cannot run are named in [`Self::failed`].
    pub fn compile<'r>(rules: impl Iterator<Item = &'r StoredRule>) -> Self {
        let mut load = RuleLoad::default();
        let mut ids = HashMap::new();
        for stored in rules {
            let mut rule = Rule::clone(&stored.rule);
            rule.saved_object_id = Some(stored.id.clone());
            ids.insert(rule.rule_id.clone(), stored.id.clone());
            let origin = Origin::file(PathBuf::from(&rule.rule_id));
            load.rules.push(LoadedRule { rule, origin, content_hash: String::new() });
        }
        let mut failed: Vec<(String, String)> = Vec::new();
        load.rules.retain(|loaded| {
            let runs = loaded.rule.eql().is_some();
            if !runs {
                let reason = format!("rules of type {} do not run yet", loaded.rule.rule_type().as_str());
                failed.push((ids[&loaded.rule.rule_id].clone(), reason));
            }
            runs
        });
        let book = RuleBook::compile(load, |_| true, false);
        let unloaded = book.report().unloaded.iter();
        failed.extend(unloaded.filter_map(|rule| Some((ids.get(&rule.origin)?.clone(), rule.reason.clone()))));
        failed.sort();
        let plan: &Arc<MatchPlan> = book.plan();
        let rules: Vec<ActiveRule> =
            book.rules().iter().zip(0..).map(|(rule, index)| active(rule, index, plan)).collect();
        let fingerprints = rules.iter().map(|rule| rule.fingerprint).collect();
        let ignoring = rules.iter().filter_map(|rule| Some((rule.id().to_owned(), ignored(&rule.rule)?))).collect();
        Self { rules, compiled: Arc::new(StoreRules::new(plan.clone(), fingerprints)), failed, ignoring }
    }

    /// The rule with this id.
    pub fn get(&self, id: &str) -> Option<&ActiveRule> {
        self.rules.iter().find(|rule| rule.id() == id)
    }
}

fn active(rule: &Arc<Rule>, index: u32, plan: &MatchPlan) -> ActiveRule {
    let basis = match rule.timestamp_override.as_deref() {
        Some("event.ingested") => TimeBasis::Ingested,
        _ => TimeBasis::Timestamp,
    };
    let interval = i64::try_from(rule.interval.seconds()).unwrap_or(i64::MAX).saturating_mul(NANOS);
    let ((lookback, closes), span) = match &plan.rules().plans()[index as usize].plan {
        Plan::Sequence(sequence) => (missing(sequence), sequence.maxspan),
        _ => ((0, None), Some(0)),
    };
    // What must not be there may have come before what it would stand behind.
    let early = if lookback > 0 && basis == TimeBasis::Ingested { interval } else { 0 };
    ActiveRule {
        index: RuleIndex(index),
        rule: rule.clone(),
        fingerprint: fingerprint(rule),
        frame: xxh3_128(format!("{} {} {basis:?}", rule.from, rule.to).as_bytes()),
        interval,
        basis,
        lookback: lookback.saturating_add(early),
        closes,
        needs_all: needs_all(plan.rules(), RuleIndex(index)),
        reach: reach(plan.rules(), RuleIndex(index)),
        span,
    }
}

/// What a rule asks for that is not done.
fn ignored(rule: &Rule) -> Option<String> {
    let what = match (rule.exceptions_list.is_empty(), rule.alert_suppression.is_some()) {
        (true, false) => None,
        (false, false) => Some("its exception lists are not applied yet".to_owned()),
        (true, true) => Some("its alert suppression is not applied yet".to_owned()),
        (false, true) => Some("its exception lists and alert suppression are not applied yet".to_owned()),
    };
    let time = rule.timestamp_override.as_deref().filter(|field| !["event.ingested", "@timestamp"].contains(field));
    let time = time.map(|field| format!("it goes by @timestamp, not by its timestamp_override {field}"));
    let all: Vec<String> = what.into_iter().chain(time).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// How far before its window a sequence looks for what is missing, and when it is certain if that is behind it.
fn missing(sequence: &SequencePlan) -> (i64, Option<i64>) {
    let span = sequence.maxspan.unwrap_or(0);
    let Some((last, others)) = sequence.steps.split_last() else { return (0, None) };
    // Without a limit, what denies it may always come still.
    let closes = last.negated.then(|| sequence.maxspan.unwrap_or(i64::MAX));
    let before = if others.iter().any(|step| step.negated) { span } else { 0 };
    (before.saturating_add(closes.map_or(0, |_| span)), closes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_rule_asks_for_in_vain_is_named() {
        let ignored = |extra: serde_json::Value| {
            let mut rule = json!({
                "rule_id": "r", "name": "n", "description": "d", "type": "eql", "language": "eql", "severity": "low",
                "risk_score": 1, "query": "process where true", "index": ["logs-*"],
            });
            rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            ignored(&Rule::from_json(rule.as_object().unwrap().clone()).unwrap())
        };
        let list = json!([{ "id": "i", "list_id": "l", "type": "detection", "namespace_type": "single" }]);
        let suppression = json!({ "group_by": ["host.name"] });
        assert_eq!(ignored(json!({})), None);
        let said = |extra| ignored(extra).unwrap();
        assert!(said(json!({ "exceptions_list": list })).starts_with("its exception lists are not"));
        assert!(said(json!({ "alert_suppression": suppression })).starts_with("its alert suppression is not"));
        let both = said(json!({ "exceptions_list": list, "alert_suppression": suppression }));
        assert!(both.starts_with("its exception lists and alert suppression are not"), "{both}");
    }

    #[test]
    fn rules_with_an_order_of_their_own_share_no_rows() {
        let number = |id: &str, timestamp_field: Option<&str>| {
            let mut rule = json!({
                "rule_id": id, "name": id, "description": id, "type": "eql", "language": "eql", "severity": "low",
                "risk_score": 1, "query": "process where true", "index": ["logs-*"],
            });
            if let Some(field) = timestamp_field {
                rule["timestamp_field"] = field.into();
            }
            fingerprint(&Rule::from_json(rule.as_object().unwrap().clone()).unwrap())
        };
        assert_eq!(number("a", None), number("b", None));
        assert_ne!(number("a", Some("event.start")), number("b", Some("event.start")));
        assert_eq!(number("a", Some("event.start")), number("a", Some("event.start")));
        assert_ne!(number("a", Some("event.start")), number("a", None));
    }
}
