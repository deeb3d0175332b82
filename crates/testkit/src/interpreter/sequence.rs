//! Sequences.

use std::collections::BTreeMap;

use eqlipse_eql::ast::{Sequence, SequenceItem};

use super::key::{Key, keys_of};
use super::{Interpreter, Prepared};

/// Places in the order of events.
type Place = usize;

/// The state of one key.
#[derive(Default)]
struct State {
    /// For each stage, the partial sequences that have filled it last, ordered by their last event.
    partials: Vec<Vec<Vec<Place>>>,
    /// The latest `until` event.
    until: Option<Place>,
}

/// A filled sequence: a place for each positive stage.
struct Candidate {
    key: Key,
    places: Vec<Place>,
}

/// Finds the sequences: for each its key and its events by place, `None` where an event is missing on purpose.
pub fn find(engine: &Interpreter, sequence: &Sequence, events: &Prepared<'_>) -> Vec<(Key, Vec<Option<Place>>)> {
    // `runs=N` is N items.
    let items: Vec<&SequenceItem> =
        sequence.items.iter().flat_map(|item| std::iter::repeat_n(item, item.runs as usize)).collect();
    let stages: Vec<&SequenceItem> = items.iter().copied().filter(|item| !item.negated).collect();
    let mut found = candidates(engine, sequence, &stages, events);
    let missing = Missing::collect(engine, &items, events);
    found.retain(|candidate| {
        missing.allow(candidate, sequence.maxspan, events)
            && engine.options.end.is_none_or(|end| missing.settled(candidate, sequence.maxspan, events, end))
    });
    // The sort is stable and completion is in order of the last event; at one event the keys decide.
    found.sort_by(|a, b| (a.places.last(), &a.key).cmp(&(b.places.last(), &b.key)));
    found.into_iter().map(|candidate| with_gaps(&items, candidate)).collect()
}

fn with_gaps(items: &[&SequenceItem], candidate: Candidate) -> (Key, Vec<Option<Place>>) {
    let mut places = candidate.places.into_iter();
    let events = items.iter().map(|item| if item.negated { None } else { places.next() }).collect();
    (candidate.key, events)
}

/// The algorithm of the reference, event by event, without the missing items.
fn candidates(
    engine: &Interpreter,
    sequence: &Sequence,
    stages: &[&SequenceItem],
    events: &Prepared<'_>,
) -> Vec<Candidate> {
    let mut states: BTreeMap<Key, State> = BTreeMap::new();
    let mut found = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let Some(time) = event.time else { continue };
        let mut previous: Option<(&SequenceItem, Vec<Key>)> = None;
        for (stage, item) in stages.iter().copied().enumerate().rev() {
            // Copies of one item (`runs`) have the same keys.
            let keys = match previous.take() {
                Some((same, keys)) if std::ptr::eq(same, item) => keys,
                _ => item_keys(engine, item, event),
            };
            for key in &keys {
                let state = states.entry(key.clone()).or_default();
                state.partials.resize_with(stages.len(), Vec::new);
                let Some(places) = extend(state, stage, place) else { continue };
                let start = events.time(places[0]);
                let too_long = sequence.maxspan.is_some_and(|maxspan| i128::from(time) - start > i128::from(maxspan));
                if too_long {
                    continue;
                }
                if stage + 1 == stages.len() {
                    found.push(Candidate { key: key.clone(), places });
                } else {
                    state.partials[stage].push(places);
                }
            }
            previous = Some((item, keys));
        }
        // Only now: an `until` event still completes sequences, and counts for later events.
        for key in sequence.until.iter().flat_map(|until| item_keys(engine, until, event)) {
            states.entry(key).or_default().until = Some(place);
        }
    }
    found
}

/// The keys with which an event fills an item.
fn item_keys(engine: &Interpreter, item: &SequenceItem, event: &super::Ready<'_>) -> Vec<Key> {
    if engine.matches_flat(&item.filter, &event.fields) { keys_of(&event.fields, &item.keys) } else { Vec::new() }
}

/// The partial sequence that the event at `place` makes by filling `stage`.
fn extend(state: &mut State, stage: usize, place: Place) -> Option<Vec<Place>> {
    if stage == 0 {
        return Some(vec![place]);
    }
    let waiting = &mut state.partials[stage - 1];
    // The latest one before this event is taken; all older ones are dropped with it.
    let before = waiting.partition_point(|places| places.last() < Some(&place));
    let mut places = waiting.drain(..before).next_back()?;
    let stopped = state.until.is_some_and(|until| Some(&until) >= places.last());
    places.push(place);
    (!stopped).then_some(places)
}

/// Where the events stand that must be missing.
struct Missing {
    /// Times of hits by key, ascending, for each gap: before the first positive stage, between two, after the last.
    gaps: Vec<BTreeMap<Key, Vec<i64>>>,
    /// Whether the sequence begins, and ends, with an item that must be missing.
    leading: bool,
    trailing: bool,
}

impl Missing {
    fn collect(engine: &Interpreter, items: &[&SequenceItem], events: &Prepared<'_>) -> Self {
        let mut gaps: Vec<BTreeMap<Key, Vec<i64>>> = vec![BTreeMap::new()];
        for item in items {
            if !item.negated {
                gaps.push(BTreeMap::new());
                continue;
            }
            for event in events.iter() {
                let Some(time) = event.time else { continue };
                for key in item_keys(engine, item, event) {
                    if let Some(gap) = gaps.last_mut() {
                        gap.entry(key).or_default().push(time);
                    }
                }
            }
        }
        gaps.iter_mut().flat_map(BTreeMap::values_mut).for_each(|times| times.sort_unstable());
        let negated = |item: Option<&&SequenceItem>| item.is_some_and(|item| item.negated);
        Self { gaps, leading: negated(items.first()), trailing: negated(items.last()) }
    }

    fn allow(&self, candidate: &Candidate, maxspan: Option<i64>, events: &Prepared<'_>) -> bool {
        let times: Vec<i128> = candidate.places.iter().map(|place| events.time(*place)).collect();
        let hits = |gap: usize| {
            let hits = self.gaps[gap].get(&candidate.key).map_or(&[][..], Vec::as_slice);
            hits.iter().map(|time| i128::from(*time))
        };
        let (first, last) = (times[0], times[times.len() - 1]);
        let in_the_middle = (1..times.len()).any(|gap| hits(gap).any(|hit| times[gap - 1] < hit && hit < times[gap]));
        let before = hits(0).rfind(|hit| *hit < first);
        let after = hits(times.len()).find(|hit| *hit > last);
        let within = |span: i128| maxspan.is_none_or(|maxspan| span <= i128::from(maxspan));
        let at_the_ends = match (before, after) {
            (Some(before), Some(after)) => within(after - before),
            (Some(before), None) => !self.trailing && within(last - before),
            (None, Some(after)) => !self.leading && within(after - first),
            (None, None) => false,
        };
        !in_the_middle && !at_the_ends
    }

    /// Whether no event after `end` could still deny it.
    fn settled(&self, candidate: &Candidate, maxspan: Option<i64>, events: &Prepared<'_>, end: i64) -> bool {
        let (Some(maxspan), true) = (maxspan, self.trailing) else { return true };
        let first = events.time(candidate.places[0]);
        let hits = self.gaps[0].get(&candidate.key).into_iter().flatten();
        let before = hits.map(|hit| i128::from(*hit)).filter(|hit| *hit < first).max();
        match before {
            None if self.leading => true,
            from => from.unwrap_or(first) + i128::from(maxspan) <= i128::from(end),
        }
    }
}
