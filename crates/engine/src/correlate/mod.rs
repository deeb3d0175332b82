//! Correlation: over the matched rows only, in time order.
//!
//! Each thread's [`Collector`] takes the rows that its batches matched, and writes them to a temporary file beyond a
//! limit. [`correlate`] drops the rows that nothing can come of, puts the others into one order ([`Matched`]), without
//! events that were read twice, and runs every rule's plan. What comes out is the same however the rows were spread over
//! batches, threads and files.

mod collector;
mod find;
mod kept;
mod key;
mod list;
mod list_bytes;
mod lists;
mod matched;
mod needed;
mod pipes;
mod relations;
mod sample;
mod sequence;
mod spill;

use crate::compile::{Plan, RuleIndex, RulePlan, RuleSet, StageId};
use crate::script::Scalar;
use relations::Held;

pub use collector::Collector;
pub use find::{Correlated, correlate};
pub use kept::{MatchedEvent, StageRow};
pub use key::{KeyId, KeyPart, KeyTable};
pub use list::{KnownRules, ListCounts, ListedRules, MatchList, RowCounts};
pub use lists::{ListQuery, ListView, may_end, may_find, needs_all, reach};
pub use matched::Matched;

/// What correlation must know beside the rows.
#[derive(Clone, Copy, Debug)]
pub struct CorrelateOptions {
    /// How many samples one join key gives. Elasticsearch's default is 1.
    pub samples_per_key: usize,
    /// All events up to this time are here, and later ones may still come: in nanoseconds since the Unix epoch, by the
    /// events' own time. A sequence that ends with a missing event waits until its `maxspan` has passed. Without it,
    /// and for rules that order events by another time, nothing more comes, as far as correlation knows.
    pub end: Option<i64>,
}

impl Default for CorrelateOptions {
    fn default() -> Self {
        Self { samples_per_key: 1, end: None }
    }
}

/// What a rule found: one event, or the events of a sequence or sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The rule.
    pub rule: RuleIndex,
    /// The events by their place in [`Matched::events`], in the order of the rule's items; `None` is an event that is
    /// missing on purpose.
    pub events: Vec<Option<u32>>,
    /// What the events share, for sequences and samples.
    pub key: Option<KeyId>,
    /// What the pipes `unique_count` and `count` add. After `count` there are no events.
    pub statistics: Option<Statistics>,
}

/// How many results a counting pipe took together.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// How many there were.
    pub count: u64,
    /// Their share of all; none where all were counted.
    pub percent: Option<f64>,
    /// What they share, for `count`; the text `totals` where all were counted.
    pub key: Vec<Scalar<'static>>,
}

/// Runs the plan of one rule, pipes included.
pub fn correlate_rule(
    rules: &RuleSet,
    rule: RuleIndex,
    matched: &Matched,
    options: &CorrelateOptions,
) -> Vec<Detection> {
    pipe_rule(rules, rule, matched, find_rule(rules, rule, matched, options))
}

/// Runs the plan of one rule up to its pipes.
pub fn find_rule(rules: &RuleSet, rule: RuleIndex, matched: &Matched, options: &CorrelateOptions) -> Vec<Detection> {
    let plan = &rules.plans()[rule.0 as usize];
    let mut stages = Stages { rule, plan, matched, held: None };
    if let Some(relations) = &plan.relations {
        stages.held = Some(relations::resolve(&stages, relations));
    }
    match &plan.plan {
        Plan::Event(stage) => {
            let rows = stages.ordered([*stage]);
            rows.into_iter().map(|row| stages.detection(vec![Some(row.event)], None)).collect()
        }
        Plan::Sequence(sequence) => sequence::find(&stages, sequence, options.end),
        Plan::Sample(items) => sample::find(&stages, items, options.samples_per_key),
    }
}

/// Runs a rule's pipes over what [`find_rule`] found.
pub fn pipe_rule(rules: &RuleSet, rule: RuleIndex, matched: &Matched, found: Vec<Detection>) -> Vec<Detection> {
    pipes::run(&rules.plans()[rule.0 as usize].pipes, matched, rule, found)
}

/// Keeps the first `count` of what was found.
pub fn head(found: &mut Vec<Detection>, count: u64) {
    found.truncate(usize::try_from(count).unwrap_or(usize::MAX));
}

/// Keeps the last `count` of what was found.
pub fn tail(found: &mut Vec<Detection>, count: u64) {
    let surplus = found.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    found.drain(..surplus);
}

/// The matched rows of one rule.
struct Stages<'a> {
    rule: RuleIndex,
    plan: &'a RulePlan,
    matched: &'a Matched,
    /// Where filters have relations, and once these are resolved.
    held: Option<Held>,
}

/// A row of some stage of a rule, in the rule's order.
#[derive(Clone, Copy, Debug)]
struct OrderedRow {
    /// Place of the event among the rule's events.
    rank: u32,
    /// Which of the stages asked for.
    stage: u32,
    key: KeyId,
    /// Place of the event in [`Matched::events`].
    event: u32,
}

impl Stages<'_> {
    fn detection(&self, events: Vec<Option<u32>>, key: Option<KeyId>) -> Detection {
        Detection { rule: self.rule, events, key, statistics: None }
    }

    /// The rows of a stage, in the order of events; where its filter has relations, those for which they hold.
    fn rows(&self, stage: StageId) -> impl Iterator<Item = &StageRow> {
        let held = self.held.as_ref().and_then(|held| held.get(&stage));
        self.matched.rows(stage).iter().filter(move |row| held.is_none_or(|held| held.contains(&row.event)))
    }

    /// The rows of these stages in the rule's order of events, an event's rows together, by stage and key.
    fn ordered(&self, stages: impl IntoIterator<Item = StageId>) -> Vec<OrderedRow> {
        let mut rows: Vec<OrderedRow> = Vec::new();
        for (index, stage) in stages.into_iter().enumerate() {
            rows.extend(self.rows(stage).map(|row| OrderedRow {
                rank: row.event,
                stage: index as u32,
                key: row.key,
                event: row.event,
            }));
        }
        if self.plan.order != Default::default() {
            let ranks = self.matched.ranks(self.rule, rows.iter().map(|row| row.event));
            rows.iter_mut().for_each(|row| row.rank = ranks[&row.event]);
        }
        rows.sort_unstable_by_key(|row| (row.rank, row.stage, row.key));
        rows
    }

    /// The time of an event in the rule's own clock.
    fn time(&self, event: u32) -> Option<i64> {
        if self.plan.order.timestamp.is_some() {
            return self.matched.rule_time(self.rule, event);
        }
        self.matched.events()[event as usize].order.time
    }
}
