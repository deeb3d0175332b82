//! From what all threads collected to what all rules find.

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::kept::{Kept, MatchedEvent};
use super::key::KeyTable;
use super::matched::{Matched, Rows};
use super::spill::{PARTS, Spill};
use super::{Collector, CorrelateOptions, Detection, find_rule, pipe_rule};
use crate::compile::{Plan, RuleIndex, RuleSet};

/// What all rules found.
#[derive(Debug)]
pub struct Correlated {
    /// The events and keys that the detections point to, and perhaps more.
    pub matched: Matched,
    /// Rule by rule; each rule's in the order of their last events (samples in the order of their keys).
    pub detections: Vec<Detection>,
    /// By rule: how many it found before its pipes.
    pub found: Vec<u64>,
}

/// Runs the plans of all rules, pipes included, over what was collected. It does not matter what of it is in memory and
/// what in temporary files.
///
/// # Errors
/// If rows could not be written to a temporary file, or read from it.
pub fn correlate(
    rules: &Arc<RuleSet>,
    collectors: Vec<Collector>,
    options: &CorrelateOptions,
) -> io::Result<Correlated> {
    let (mut kept, mut spills) = (Vec::new(), Vec::new());
    let has_spilled = collectors.iter().any(|collector| collector.spill.is_some());
    for mut collector in collectors {
        if has_spilled {
            collector.write_out()?;
        }
        let (in_memory, spill) = collector.finish()?;
        kept.push(in_memory);
        spills.extend(spill);
    }
    let whole = Part::find(rules, kept, |_| true, options);
    if !has_spilled {
        return Ok(whole.pipe(rules, |_| true));
    }
    // The rows that stayed in memory are of rules of their own, whose pipes may read what stayed with them.
    let Correlated { matched, detections, found } = whole.pipe(rules, |rule| stays(rules, rule));
    let mut findings = Findings { found, ..Findings::default() };
    findings.add(&matched, detections);
    for Part { matched, found } in find_parts(rules, spills, options)? {
        found.iter().for_each(|detection| findings.found[detection.rule.0 as usize] += 1);
        findings.add(&matched, found);
    }
    Ok(findings.finish(rules))
}

/// The rows of some keys, and what rules find in them.
pub(super) struct Part {
    matched: Matched,
    found: Vec<Detection>,
}

impl Part {
    /// Runs the rules that `which` says yes to. Others may share rows with them.
    pub(super) fn find(
        rules: &Arc<RuleSet>,
        kept: Vec<Kept>,
        which: impl Fn(RuleIndex) -> bool,
        options: &CorrelateOptions,
    ) -> Self {
        let (matched, may_fire) = Matched::merge(rules, kept, Rows::Needed);
        let asked = may_fire.into_iter().filter(|rule| which(*rule));
        let found = asked.flat_map(|rule| find_rule(rules, rule, &matched, options)).collect();
        Self { matched, found }
    }

    pub(super) fn pipe(self, rules: &RuleSet, which: impl Fn(RuleIndex) -> bool) -> Correlated {
        let mut found = vec![0; rules.plans().len()];
        self.found.iter().for_each(|detection| found[detection.rule.0 as usize] += 1);
        let detections = pipe(rules, &self.matched, self.found, which);
        Correlated { matched: self.matched, detections, found }
    }
}

/// Runs the pipes of these rules; each rule's detections stand together, in the order of the rules. A rule that found
/// nothing is piped too: `count` then says so.
fn pipe(
    rules: &RuleSet,
    matched: &Matched,
    found: Vec<Detection>,
    which: impl Fn(RuleIndex) -> bool,
) -> Vec<Detection> {
    let mut found = found.into_iter().peekable();
    let indices = (0..rules.plans().len() as u32).map(RuleIndex).filter(|rule| which(*rule));
    indices
        .flat_map(|rule| {
            let of_rule = std::iter::from_fn(|| found.next_if(|detection| detection.rule == rule)).collect();
            pipe_rule(rules, rule, matched, of_rule)
        })
        .collect()
}

/// Correlates the parts on all cores, each by itself.
fn find_parts(rules: &Arc<RuleSet>, spills: Vec<Spill>, options: &CorrelateOptions) -> io::Result<Vec<Part>> {
    let threads = spills.len();
    let spills: Vec<Mutex<Spill>> = spills.into_iter().map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut parts = Vec::new();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= PARTS {
                return Ok(parts);
            }
            let read = |spill: &Mutex<Spill>| spill.lock().unwrap_or_else(PoisonError::into_inner).read(rules, part);
            let kept = spills.iter().map(read).collect::<io::Result<Vec<Kept>>>()?;
            let part = Part::find(rules, kept, |_| true, options);
            parts.push(part.without_rest(rules));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        results.collect::<io::Result<Vec<Vec<Part>>>>().map(|parts| parts.into_iter().flatten().collect())
    })
}

impl Part {
    /// Only what the detections point to.
    fn without_rest(self, rules: &Arc<RuleSet>) -> Self {
        let mut findings = Findings::default();
        findings.add(&self.matched, self.found);
        let Findings { events, keys, detections, .. } = findings;
        Self { matched: Matched::of_findings(rules, events, keys), found: detections }
    }
}

/// Detections out of several parts, with the events and keys that they point to.
#[derive(Default)]
struct Findings {
    events: Vec<MatchedEvent>,
    keys: KeyTable,
    detections: Vec<Detection>,
    found: Vec<u64>,
}

impl Findings {
    /// Adds detections that point into `matched`.
    fn add(&mut self, matched: &Matched, mut detections: Vec<Detection>) {
        let mut places: HashMap<u32, u32, RandomState> = HashMap::default();
        for detection in &mut detections {
            for event in detection.events.iter_mut().flatten() {
                *event = *places.entry(*event).or_insert_with(|| {
                    self.events.push(matched.events()[*event as usize]);
                    self.events.len() as u32 - 1
                });
            }
            detection.key = detection.key.map(|key| self.keys.intern_from(matched.keys(), key));
        }
        self.detections.append(&mut detections);
    }

    /// Puts events and detections into the order in which they stand when nothing was written out.
    fn finish(mut self, rules: &Arc<RuleSet>) -> Correlated {
        let mut order: Vec<u32> = (0..self.events.len() as u32).collect();
        order.sort_by_key(|event| self.events[*event as usize].order);
        let mut events: Vec<MatchedEvent> = Vec::with_capacity(order.len());
        let mut places = vec![0; order.len()];
        for event in order {
            let matched = self.events[event as usize];
            // An event with several keys comes out of several parts.
            if events.last().is_none_or(|last| last.order != matched.order) {
                events.push(matched);
            }
            places[event as usize] = events.len() as u32 - 1;
        }
        for event in self.detections.iter_mut().flat_map(|detection| detection.events.iter_mut().flatten()) {
            *event = places[*event as usize];
        }
        sort(rules, &mut self.detections, &self.keys);
        let matched = Matched::of_findings(rules, events, self.keys);
        let (own, shared): (Vec<Detection>, Vec<Detection>) =
            self.detections.into_iter().partition(|detection| stays(rules, detection.rule));
        let mut detections = own;
        detections.extend(pipe(rules, &matched, shared, |rule| !stays(rules, rule)));
        detections.sort_by_key(|detection| detection.rule);
        Correlated { matched, detections, found: self.found }
    }
}

/// Whether the rule's rows all stayed in memory, so that its detections are in order and went through its pipes.
fn stays(rules: &RuleSet, rule: RuleIndex) -> bool {
    rules.plans()[rule.0 as usize].stays_in_memory()
}

/// Sorts each rule's detections out of several parts.
fn sort(rules: &RuleSet, detections: &mut [Detection], keys: &KeyTable) {
    detections.sort_by(|a, b| {
        let rule = a.rule.cmp(&b.rule);
        if rule.is_ne() || stays(rules, a.rule) {
            return rule;
        }
        let last = |detection: &Detection| match rules.plans()[detection.rule.0 as usize].plan {
            Plan::Sample(_) => None,
            _ => detection.events.iter().rev().flatten().next().copied(),
        };
        let by_key = || match (a.key, b.key) {
            (Some(a), Some(b)) => keys.order(a, b),
            (a, b) => a.cmp(&b),
        };
        last(a).cmp(&last(b)).then_with(by_key)
    });
}
