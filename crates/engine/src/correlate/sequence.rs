//! Sequences: one slot for each key and step, the newest partial sequence in it.
//!
//! An event is tried on the last step first, so that it never fills two steps of one sequence. Taking a partial
//! sequence from a slot empties it; an `until` event empties all slots of its key after it has itself been tried. This
//! equals Elasticsearch's algorithm, which keeps a list in each slot but always takes the newest and drops the rest.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{Detection, KeyId, OrderedRow, Stages};
use crate::compile::{SequencePlan, StageId, Step};

/// A sequence in the making, or a whole one: the events that fill its positive steps.
#[derive(Clone, Debug)]
struct Partial {
    first_time: i64,
    events: SmallVec<[u32; 4]>,
}

struct Complete {
    key: KeyId,
    events: SmallVec<[u32; 4]>,
    last_rank: u32,
}

/// Finds the sequences, in the order of their last events, then keys. Events after `end` may not be here yet.
pub(super) fn find(stages: &Stages<'_>, plan: &SequencePlan, end: Option<i64>) -> Vec<Detection> {
    let positive: Vec<StageId> = plan.steps.iter().filter(|step| !step.negated).map(|step| step.stage).collect();
    let mut found = complete(stages, plan, &positive);
    let gaps = Gaps::collect(stages, plan);
    let end = end.filter(|_| stages.plan.order.timestamp.is_none());
    found.retain(|sequence| gaps.allow(stages, plan.maxspan, end, sequence));
    let keys = stages.matched.keys();
    found.sort_by(|a, b| a.last_rank.cmp(&b.last_rank).then_with(|| keys.order(a.key, b.key)));
    found
        .into_iter()
        .map(|sequence| {
            let mut events = sequence.events.into_iter();
            let events = plan.steps.iter().map(|step| if step.negated { None } else { events.next() }).collect();
            stages.detection(events, Some(sequence.key))
        })
        .collect()
}

/// The sequences of the positive steps alone.
fn complete(stages: &Stages<'_>, plan: &SequencePlan, positive: &[StageId]) -> Vec<Complete> {
    let mut distinct: Vec<StageId> = positive.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let until_at = distinct.len() as u32;
    let mut rows = stages.ordered(distinct.iter().copied().chain(plan.until));
    keep_whole_keys(&mut rows, until_at);
    // By step: which of the distinct stages fills it.
    let fills: Vec<u32> = positive.iter().map(|stage| distinct.partition_point(|known| known < stage) as u32).collect();

    let mut slots: HashMap<KeyId, Box<[Option<Partial>]>, RandomState> = HashMap::default();
    let mut found = Vec::new();
    for event_rows in rows.chunk_by(|a, b| a.rank == b.rank) {
        let Some(time) = stages.time(event_rows[0].event) else { continue };
        for (step, stage) in fills.iter().enumerate().rev() {
            for row in event_rows.iter().filter(|row| row.stage == *stage) {
                let slots = slots.entry(row.key).or_insert_with(|| vec![None; fills.len()].into());
                let Some(partial) = extend(slots, step, row.event, time, plan.maxspan) else { continue };
                if step + 1 == fills.len() {
                    found.push(Complete { key: row.key, events: partial.events, last_rank: row.rank });
                } else {
                    slots[step] = Some(partial);
                }
            }
        }
        for row in event_rows.iter().filter(|row| row.stage == until_at) {
            slots.remove(&row.key);
        }
    }
    found
}

/// Drops the rows of keys that lack a hit for some step: they can never complete.
fn keep_whole_keys(rows: &mut Vec<OrderedRow>, steps: u32) {
    if steps > 64 {
        return;
    }
    let mut hit: HashMap<KeyId, u64, RandomState> = HashMap::default();
    for row in rows.iter().filter(|row| row.stage < steps) {
        *hit.entry(row.key).or_default() |= 1 << row.stage;
    }
    let whole = u64::MAX >> (64 - steps);
    rows.retain(|row| hit.get(&row.key) == Some(&whole));
}

/// The partial sequence that an event makes by filling `step`, or nothing if none waits for it in time.
fn extend(slots: &mut [Option<Partial>], step: usize, event: u32, time: i64, maxspan: Option<i64>) -> Option<Partial> {
    let Some(before) = step.checked_sub(1) else {
        return Some(Partial { first_time: time, events: SmallVec::from_slice(&[event]) });
    };
    let mut partial = slots[before].take()?;
    if maxspan.is_some_and(|maxspan| i128::from(time) - i128::from(partial.first_time) > i128::from(maxspan)) {
        return None;
    }
    partial.events.push(event);
    Some(partial)
}

/// Where the events stand that must be missing: for each gap between positive steps, one before and one after all of
/// them included, the times of hits by key, ascending.
struct Gaps {
    hits: Vec<HashMap<KeyId, Vec<i64>, RandomState>>,
    /// Whether the first step is one that must be missing.
    leading: bool,
    /// Whether the last is.
    trailing: bool,
}

impl Gaps {
    fn collect(stages: &Stages<'_>, plan: &SequencePlan) -> Self {
        let mut gaps = vec![HashMap::<KeyId, Vec<i64>, RandomState>::default()];
        for step in &plan.steps {
            if !step.negated {
                gaps.push(HashMap::default());
                continue;
            }
            let Some(gap) = gaps.last_mut() else { continue };
            for row in stages.rows(step.stage) {
                if let Some(time) = stages.time(row.event) {
                    gap.entry(row.key).or_default().push(time);
                }
            }
        }
        gaps.iter_mut().flat_map(HashMap::values_mut).for_each(|times| times.sort_unstable());
        let negated = |step: Option<&Step>| step.is_some_and(|step| step.negated);
        Self { hits: gaps, leading: negated(plan.steps.first()), trailing: negated(plan.steps.last()) }
    }

    fn allow(&self, stages: &Stages<'_>, maxspan: Option<i64>, end: Option<i64>, sequence: &Complete) -> bool {
        if self.hits.iter().all(HashMap::is_empty) && (end.is_none() || !self.trailing) {
            return true;
        }
        let times: Vec<i64> = sequence.events.iter().filter_map(|event| stages.time(*event)).collect();
        let hits = |gap: usize| self.hits[gap].get(&sequence.key).map_or(&[][..], Vec::as_slice);
        let between = |gap: usize| {
            let hits = hits(gap);
            let after = hits.partition_point(|hit| *hit <= times[gap - 1]);
            hits.get(after).is_some_and(|hit| *hit < times[gap])
        };
        if (1..times.len()).any(between) {
            return false;
        }
        let (first, last) = (times[0], times[times.len() - 1]);
        let leading = hits(0);
        let before = leading.partition_point(|hit| *hit < first).checked_sub(1).map(|index| leading[index]);
        let trailing = hits(times.len());
        let after = trailing.get(trailing.partition_point(|hit| *hit <= last)).copied();
        let within =
            |from: i64, to: i64| maxspan.is_none_or(|maxspan| i128::from(to) - i128::from(from) <= i128::from(maxspan));
        // With both ends asked for, only a hit on each side, close enough together, leaves no room for the sequence.
        let both_ends = self.leading && self.trailing;
        let denied = match (before, after) {
            (Some(before), Some(after)) => within(before, after),
            (Some(before), None) => !both_ends && within(before, last),
            (None, Some(after)) => !both_ends && within(first, after),
            (None, None) => false,
        };
        // What has not come yet can deny it as long as it would lie close enough to this.
        let open_from = if both_ends { before } else { self.trailing.then_some(first) };
        let closes = |from: i64| i128::from(from) + i128::from(maxspan.unwrap_or(i64::MAX));
        let is_open = open_from.zip(end).is_some_and(|(from, end)| closes(from) > i128::from(end));
        !denied && !is_open
    }
}
