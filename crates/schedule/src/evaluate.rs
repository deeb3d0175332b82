//! What rules find in a window.

use std::collections::HashSet;
use std::sync::Arc;

use eqlipse_batch::OrderKey;
use eqlipse_engine::correlate::{Detection, KeyPart, MatchedEvent};
use eqlipse_engine::{CorrelateOptions, MatchList, RuleIndex, correlate_lists};
use eqlipse_events::Window;
use eqlipse_store::{Arrivals, Part, Snapshot, StoreError, TimeRange};
use thiserror::Error;

use crate::active::{ActiveRule, ActiveRules};
use crate::window::RuleWindow;

/// What time means in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimeBasis {
    /// `event.ingested`.
    Ingested,
    /// `@timestamp`.
    Timestamp,
}

/// Why rules could not be evaluated.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An event of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundEvent {
    /// The number of its part in [`Evaluated::parts`].
    pub part: u32,
    /// Its row there.
    pub row: u32,
    /// Its place in time; [`OrderKey::arrival`] has its sequence number.
    pub order: OrderKey,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleIndex,
    /// The events in the query's order; `None` for one that is missing on purpose.
    pub events: Vec<Option<FoundEvent>>,
    /// What they share, for sequences and samples.
    pub key: Vec<KeyPart>,
}

impl Finding {
    /// The sequence numbers of the events, which tell a finding from all others of its rule.
    pub fn sequences(&self) -> Vec<Option<u64>> {
        self.events.iter().map(|event| event.map(|event| event.order.arrival.position)).collect()
    }
}

/// What was found in a window.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// Rule by rule, in order of time.
    pub findings: Vec<Finding>,
    /// The parts that were looked at.
    pub parts: Vec<Arc<Part>>,
    /// Rules whose events in the window were not matched yet.
    pub not_matched: Vec<RuleIndex>,
    /// Parts of the store that could not be looked at, as their files are damaged.
    pub unreadable: Vec<StoreError>,
}

impl Evaluated {
    /// What was found, if everything was looked at.
    ///
    /// # Errors
    /// If a part could not be read.
    pub fn whole(mut self) -> Result<Self, EvaluateError> {
        match self.unreadable.pop() {
            None => Ok(self),
            Some(error) => Err(error.into()),
        }
    }
}

/// Runs rules of one basis over a window, and over what came `late`.
///
/// # Errors
/// If the store cannot be read.
pub fn evaluate(
    active: &ActiveRules,
    which: &[&ActiveRule],
    window: RuleWindow,
    late: Option<Late>,
    snapshot: &Snapshot,
) -> Result<Evaluated, EvaluateError> {
    let Some(first) = which.first() else { return Ok(Evaluated::default()) };
    let lookback = which.iter().map(|rule| rule.lookback).max().unwrap_or(0);
    let scope = Scope { basis: first.basis, window, lookback, late };
    let seen = scope.seen();
    let mut parts: Vec<Arc<Part>> = Vec::new();
    let mut lists: Vec<(u32, Arc<MatchList>)> = Vec::new();
    let mut lacking: HashSet<RuleIndex> = HashSet::new();
    let mut unreadable = Vec::new();
    for part in snapshot.parts(&scope.range()) {
        // One damaged file must not end the detection of what is in all others.
        let known = match part.lists() {
            Ok(known) => known,
            Err(error) => {
                unreadable.push(error);
                continue;
            }
        };
        let has = |rule: &ActiveRule| known.iter().any(|list| list.has(rule.fingerprint));
        lacking.extend(which.iter().filter(|rule| !has(rule)).map(|rule| rule.index));
        lists.extend(known.into_iter().map(|list| (parts.len() as u32, list)));
        parts.push(part.clone());
    }
    let arrivals: Vec<Arrivals<'_>> = parts.iter().map(|part| part.arrivals()).collect::<Result<_, _>>()?;
    let keep = |list: usize, _: u32, event: &MatchedEvent| {
        let part = lists[list].0;
        let row = event.handle as u32;
        let arrival = arrivals[part as usize].of(row);
        scope.is_in(&seen, event.order.time, arrival).then_some(u64::from(part) << 32 | u64::from(row))
    };
    let indices: Vec<RuleIndex> =
        which.iter().map(|rule| rule.index).filter(|index| !lacking.contains(index)).collect();
    let (rules, fingerprints) = (active.compiled.plan.rules(), &active.compiled.fingerprints);
    let options = CorrelateOptions { end: Some(window.to), ..CorrelateOptions::default() };
    let views: Vec<&MatchList> = lists.iter().map(|(_, list)| &**list).collect();
    let found = correlate_lists(rules, fingerprints, &indices, &views, keep, &options);
    let event = |event: u32| {
        let MatchedEvent { order, handle, .. } = found.matched.events()[event as usize];
        FoundEvent { part: (handle >> 32) as u32, row: handle as u32, order }
    };
    let findings = found.detections.iter().map(|Detection { rule, events, key, .. }| Finding {
        rule: *rule,
        events: events.iter().map(|place| place.map(event)).collect(),
        key: key.map(|key| found.matched.keys().parts(key)).unwrap_or_default(),
    });
    let is_inside = |finding: &Finding| {
        let events = finding.events.iter().flatten();
        scope.is_finding(events.map(|event| (event.order.time, arrivals[event.part as usize].of(event.row))))
    };
    let findings = findings.filter(is_inside).collect();
    drop(arrivals);
    let mut not_matched: Vec<RuleIndex> = lacking.into_iter().collect();
    not_matched.sort_unstable();
    Ok(Evaluated { findings, parts, not_matched, unreadable })
}

/// Events that came late, for rules that go by `@timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// They arrived after that.
    pub since: i64,
    /// The time of the oldest of them that is not beyond the bound.
    pub oldest: i64,
}

/// Which events take part.
struct Scope {
    basis: TimeBasis,
    window: RuleWindow,
    /// How far before the window events are looked at that may not be in a finding.
    lookback: i64,
    late: Option<Late>,
}

impl Scope {
    /// The window with room for what came late.
    fn wide(&self) -> RuleWindow {
        match (self.basis, self.late) {
            (TimeBasis::Timestamp, Some(late)) => {
                RuleWindow { from: self.window.from.min(late.oldest), to: self.window.to }
            }
            _ => self.window,
        }
    }

    fn seen(&self) -> RuleWindow {
        let RuleWindow { from, to } = self.wide();
        RuleWindow { from: from.saturating_sub(self.lookback), to }
    }

    /// Where to look for events.
    fn range(&self) -> TimeRange {
        let RuleWindow { from, to } = self.seen();
        let window = Window { from: Some(from), to: Some(to) };
        match self.basis {
            TimeBasis::Ingested => TimeRange { ingested: window, ..TimeRange::default() },
            TimeBasis::Timestamp => TimeRange { timestamp: window, ..TimeRange::default() },
        }
    }

    fn is_in(&self, window: &RuleWindow, time: Option<i64>, arrival: i64) -> bool {
        match self.basis {
            TimeBasis::Ingested => window.contains(arrival),
            TimeBasis::Timestamp => time.is_some_and(|time| window.contains(time)),
        }
    }

    /// Whether a finding with events of these times and arrivals is one of this window. What is older as a whole was
    /// found by an earlier one.
    fn is_finding(&self, mut events: impl Iterator<Item = (Option<i64>, i64)> + Clone) -> bool {
        let wide = self.wide();
        let is_new = |(time, arrival): (Option<i64>, i64)| {
            self.is_in(&self.window, time, arrival) || self.late.is_some_and(|late| arrival > late.since)
        };
        events.clone().all(|(time, arrival)| self.is_in(&wide, time, arrival)) && events.any(is_new)
    }
}

/// What arrived since a time and is older than a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateEvents {
    /// The time of the oldest one that is not beyond the bound.
    pub oldest: Option<i64>,
    /// How many there are up to the bound, of those that some rule matched.
    pub late: u64,
    /// How many are beyond it.
    pub missed: u64,
    /// The `_index` and `_id` of one of these, as JSON.
    pub example: Option<String>,
}

/// Looks for events that arrived after `since` and whose `@timestamp` is before `from`; those before `bound` are beyond it.
///
/// # Errors
/// If the store cannot be read.
pub fn late_events(snapshot: &Snapshot, since: i64, from: i64, bound: i64) -> Result<LateEvents, EvaluateError> {
    let mut found = LateEvents::default();
    let arrived = Window { from: Some(since.saturating_add(1)), to: None };
    let older = Window { from: None, to: Some(from.saturating_sub(1)) };
    for part in snapshot.parts(&TimeRange { timestamp: older, ingested: arrived }) {
        // A damaged one is named by the executions over it.
        let (Ok(arrivals), Ok(lists)) = (part.arrivals(), part.lists()) else { continue };
        let mut rows: HashSet<u64> = HashSet::new();
        for list in lists {
            for event in list.events() {
                let Some(time) = event.order.time.filter(|time| *time < from) else { continue };
                if arrivals.of(event.handle as u32) <= since || !rows.insert(event.handle) {
                    continue;
                }
                if time >= bound {
                    found.late += 1;
                    found.oldest = Some(found.oldest.map_or(time, |oldest| oldest.min(time)));
                } else {
                    found.missed += 1;
                    if found.example.is_none() {
                        found.example = example(part, event.handle as u32);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// What an event is called.
fn example(part: &Part, row: u32) -> Option<String> {
    let hit: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&part.hit(row).ok()?).ok()?;
    Some(format!("{} in {}", hit.get("_id")?, hit.get("_index")?))
}
