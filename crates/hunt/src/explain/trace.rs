//! Following every sequence of a rule to its end. The engine decides what fires ([`eqlipse_engine::correlate`]); this walks
//! the same way over the same rows and notes what ended each sequence that did not fire.

use std::collections::{BTreeMap, HashMap, HashSet};

use eqlipse_engine::compile::SequencePlan;
use eqlipse_engine::correlate::{Detection, KeyId, Matched};
use eqlipse_engine::{RuleIndex, StageId};

/// A sequence that was not completed, as places in [`Matched::events`].
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub key: KeyId,
    pub events: Vec<u32>,
    pub end: Cause,
}

/// What ended it. Steps count the events that must be there, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Forbidden { stage: usize, event: u32 },
    Maxspan { event: u32, by: i64 },
    Until { event: u32 },
    WrongOrder { event: u32 },
    NoNext,
    Pipe,
}

impl Cause {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Cause::Forbidden { .. } => "forbidden_event",
            Cause::Maxspan { .. } => "maxspan_exceeded",
            Cause::Until { .. } => "until",
            Cause::WrongOrder { .. } => "wrong_order",
            Cause::NoNext => "no_next_event",
            Cause::Pipe => "pipe",
        }
    }
}

/// How far the sequences of a rule came.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// By step: how many keys reached it.
    pub reached: Vec<u64>,
    /// By steps filled and reason.
    pub ended: BTreeMap<(usize, &'static str), u64>,
    /// The longest, at most as many as asked for.
    pub longest: Vec<Ended>,
}

/// The clock and order of the rule.
pub(super) struct Clock<'a> {
    pub matched: &'a Matched,
    pub rule: RuleIndex,
    pub own_time: bool,
    pub own_order: bool,
}

impl Clock<'_> {
    pub(super) fn time(&self, event: u32) -> Option<i64> {
        if self.own_time {
            self.matched.rule_time(self.rule, event)
        } else {
            self.matched.events()[event as usize].order.time
        }
    }
}

struct Row {
    rank: u32,
    stage: StageId,
    key: KeyId,
    event: u32,
}

/// Follows the sequences; `numbers` gives the number of the stage as written for each step of the plan.
pub(super) fn trace(
    clock: &Clock<'_>,
    plan: &SequencePlan,
    numbers: &[usize],
    detections: &[Detection],
    most: usize,
) -> Trace {
    let steps: Vec<StageId> = plan.steps.iter().filter(|step| !step.negated).map(|step| step.stage).collect();
    let mut walk = Walk {
        clock,
        plan,
        numbers,
        fired: detections.iter().map(|found| (found.key, found.events.iter().flatten().copied().collect())).collect(),
        steps,
        slots: HashMap::new(),
        reached: HashMap::new(),
        trace: Trace::default(),
        most,
    };
    walk.run();
    walk.finish()
}

struct Walk<'a> {
    clock: &'a Clock<'a>,
    plan: &'a SequencePlan,
    numbers: &'a [usize],
    /// Key and events of what fired.
    fired: HashSet<(Option<KeyId>, Vec<u32>)>,
    /// The stages of the steps that must be there.
    steps: Vec<StageId>,
    slots: HashMap<KeyId, Vec<Option<Vec<u32>>>>,
    /// By key: the number of steps that some sequence of it filled.
    reached: HashMap<KeyId, usize>,
    trace: Trace,
    most: usize,
}

impl Walk<'_> {
    fn rows(&self) -> Vec<Row> {
        let mut stages: Vec<StageId> = self.steps.iter().copied().chain(self.plan.until).collect();
        stages.sort_unstable();
        stages.dedup();
        let matched = self.clock.matched;
        let mut rows: Vec<Row> = stages
            .into_iter()
            .flat_map(|stage| {
                matched.rows(stage).iter().map(move |row| Row {
                    rank: row.event,
                    stage,
                    key: row.key,
                    event: row.event,
                })
            })
            .collect();
        if self.clock.own_order {
            let ranks = matched.ranks(self.clock.rule, rows.iter().map(|row| row.event));
            rows.iter_mut().for_each(|row| row.rank = ranks.get(&row.event).copied().unwrap_or(row.rank));
        }
        rows.sort_unstable_by_key(|row| (row.rank, row.stage, row.key));
        rows
    }

    fn run(&mut self) {
        let rows = self.rows();
        for group in rows.chunk_by(|a, b| a.rank == b.rank) {
            let event = group[0].event;
            let Some(time) = self.clock.time(event) else { continue };
            for step in (0..self.steps.len()).rev() {
                let stage = self.steps[step];
                for row in group.iter().filter(|row| row.stage == stage) {
                    self.fill(step, row.key, event, time);
                }
            }
            for row in group.iter().filter(|row| self.plan.until == Some(row.stage)) {
                for partial in self.slots.remove(&row.key).into_iter().flatten().flatten() {
                    self.end(row.key, partial, Cause::Until { event });
                }
            }
        }
        let mut left: Vec<_> = std::mem::take(&mut self.slots).into_iter().collect();
        left.sort_unstable_by_key(|(key, _)| *key);
        for (key, slots) in left {
            for partial in slots.into_iter().flatten() {
                let cause = self.never_continued(key, &partial);
                self.end(key, partial, cause);
            }
        }
    }

    fn fill(&mut self, step: usize, key: KeyId, event: u32, time: i64) {
        let count = self.steps.len();
        let slots = self.slots.entry(key).or_insert_with(|| vec![None; count]);
        let mut partial = match step.checked_sub(1) {
            None => Vec::new(),
            Some(before) => match slots[before].take() {
                None => return,
                Some(partial) => partial,
            },
        };
        let first = partial.first().and_then(|event| self.clock.time(*event)).unwrap_or(time);
        let over = self.plan.maxspan.map(|maxspan| i128::from(time) - i128::from(first) - i128::from(maxspan));
        if let Some(over) = over.filter(|over| *over > 0) {
            let by = i64::try_from(over).unwrap_or(i64::MAX);
            return self.end(key, partial, Cause::Maxspan { event, by });
        }
        partial.push(event);
        let reached = self.reached.entry(key).or_default();
        *reached = (*reached).max(step + 1);
        if step + 1 < count {
            slots[step] = Some(partial);
        } else if !self.fired.contains(&(Some(key), partial.clone())) {
            let cause = self.forbidden(key, &partial).unwrap_or(Cause::Pipe);
            self.end(key, partial, cause);
        }
    }

    fn end(&mut self, key: KeyId, events: Vec<u32>, end: Cause) {
        *self.trace.ended.entry((events.len(), end.reason())).or_default() += 1;
        self.trace.longest.push(Ended { key, events, end });
        if self.trace.longest.len() >= 2 * self.most.max(32) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let keys = self.clock.matched.keys();
        self.trace.longest.sort_by(|a, b| {
            let rank = |ended: &Ended| (std::cmp::Reverse(ended.events.len()), ended.end.rank());
            rank(a).cmp(&rank(b)).then_with(|| a.events.cmp(&b.events)).then_with(|| keys.order(a.key, b.key))
        });
        self.trace.longest.truncate(self.most);
    }

    fn finish(mut self) -> Trace {
        self.cut();
        let count = self.steps.len();
        self.trace.reached =
            (1..=count).map(|step| self.reached.values().filter(|reached| **reached >= step).count() as u64).collect();
        self.trace
    }

    /// Nothing came after the last event of a sequence: whether what was waited for had come before.
    fn never_continued(&self, key: KeyId, partial: &[u32]) -> Cause {
        let (Some(last), Some(step)) = (partial.last(), self.steps.get(partial.len())) else { return Cause::NoNext };
        let rows = self.clock.matched.rows(*step).iter();
        let earlier =
            rows.filter(|row| row.key == key && !partial.contains(&row.event) && self.is_before(row.event, *last));
        match earlier.max_by_key(|row| (self.clock.time(row.event), row.event)) {
            Some(row) => Cause::WrongOrder { event: row.event },
            None => Cause::NoNext,
        }
    }

    fn is_before(&self, a: u32, b: u32) -> bool {
        let (time_a, time_b) = (self.clock.time(a), self.clock.time(b));
        time_a.is_some() && (time_a, a) < (time_b, b)
    }

    /// The event that must be missing and was there, for a sequence of all other events.
    fn forbidden(&self, key: KeyId, events: &[u32]) -> Option<Cause> {
        let times: Vec<i64> = events.iter().filter_map(|event| self.clock.time(*event)).collect();
        let (first, last) = (*times.first()?, *times.last()?);
        let maxspan = self.plan.maxspan.map(i128::from);
        let mut gap = 0;
        for (place, step) in self.plan.steps.iter().enumerate() {
            if !step.negated {
                gap += 1;
                continue;
            }
            let inside = |time: i64| match gap {
                0 => time < first && maxspan.is_none_or(|most| i128::from(last) - i128::from(time) <= most),
                gap if gap == times.len() => {
                    time > last && maxspan.is_none_or(|most| i128::from(time) - i128::from(first) <= most)
                }
                gap => time > times[gap - 1] && time < times[gap],
            };
            let rows = self.clock.matched.rows(step.stage).iter().filter(|row| row.key == key);
            let mut hits = rows.filter(|row| self.clock.time(row.event).is_some_and(inside)).map(|row| row.event);
            let hit = if gap == 0 { hits.next_back() } else { hits.next() };
            if let Some(event) = hit {
                return Some(Cause::Forbidden { stage: self.numbers[place], event });
            }
        }
        None
    }
}

impl Cause {
    /// What tells most stands first.
    fn rank(self) -> u8 {
        match self {
            Cause::Forbidden { .. } => 0,
            Cause::Maxspan { .. } => 1,
            Cause::Until { .. } => 2,
            Cause::WrongOrder { .. } => 3,
            Cause::NoNext => 4,
            Cause::Pipe => 5,
        }
    }
}
