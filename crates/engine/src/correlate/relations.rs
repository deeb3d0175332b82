//! Replays the starts and ends of processes, to tell for which events the relations of a rule hold.
//!
//! Event by event, in the rule's order: a start makes its process a child or descendant if its parent is one that
//! others relate to; then events that match a relation's filter make their process such a one; then filters are judged;
//! an end, last, takes the process out. The older implementation in Python keeps this order too, but takes ended
//! processes out only before the next process event, and forgets all at the start of Windows' System process.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use eqlipse_eql::ast::Relation;

use super::{KeyId, OrderedRow, Stages};
use crate::compile::{RelatedFilter, Relations, StageId};

type Processes = HashSet<KeyId, RandomState>;

/// By stage: the events for which its relations hold.
pub(super) type Held = HashMap<StageId, HashSet<u32, RandomState>, RandomState>;

/// The processes of one relation.
#[derive(Default)]
struct State {
    /// Those that had an event that matches the relation's filter.
    sources: Processes,
    /// Those that relate to them by their starts.
    started: Processes,
}

/// One event's rows.
struct Rows<'r> {
    rows: &'r [OrderedRow],
    places: &'r HashMap<StageId, u32, RandomState>,
}

impl Rows<'_> {
    fn keys(&self, stage: StageId) -> impl Iterator<Item = KeyId> {
        let place = self.places.get(&stage);
        let of_stage = self.rows.iter().filter(move |row| place == Some(&row.stage));
        of_stage.map(|row| row.key)
    }
}

/// Tells for each filter with relations which events pass it.
pub(super) fn resolve(stages: &Stages<'_>, relations: &Relations) -> Held {
    let mut ids = vec![relations.starts, relations.starts_by_parent, relations.ends];
    ids.extend(relations.all.iter().map(|relation| relation.source));
    for filter in &relations.filters {
        ids.extend([filter.candidates, filter.by_process]);
        ids.extend(&filter.variants);
    }
    ids.sort_unstable();
    ids.dedup();
    let places = ids.iter().zip(0..).map(|(stage, place)| (*stage, place)).collect();
    let held = relations.filters.iter().map(|filter| (filter.candidates, HashSet::default())).collect();
    let mut replay = Replay { relations, states: Vec::new(), held };
    replay.states.resize_with(relations.all.len(), State::default);
    for rows in stages.ordered(ids.iter().copied()).chunk_by(|a, b| a.rank == b.rank) {
        replay.event(rows[0].event, &Rows { rows, places: &places });
    }
    replay.held
}

struct Replay<'a> {
    relations: &'a Relations,
    states: Vec<State>,
    held: Held,
}

impl Replay<'_> {
    fn event(&mut self, event: u32, rows: &Rows<'_>) {
        let relations = self.relations;
        for (plan, state) in relations.all.iter().zip(&mut self.states) {
            let transitive = plan.relation == Relation::Descendant;
            let is_related =
                |parent: KeyId| state.sources.contains(&parent) || (transitive && state.started.contains(&parent));
            if rows.keys(relations.starts_by_parent).any(is_related) {
                state.started.extend(rows.keys(relations.starts));
            }
        }
        for (place, plan) in relations.all.iter().enumerate() {
            let filter = relations.filters.iter().find(|filter| filter.candidates == plan.source);
            if filter.is_none_or(|filter| self.passes(filter, rows)) {
                self.states[place].sources.extend(rows.keys(plan.source));
            }
        }
        for filter in &relations.filters {
            if self.passes(filter, rows) {
                self.held.entry(filter.candidates).or_default().insert(event);
            }
        }
        for process in rows.keys(relations.ends) {
            for state in &mut self.states {
                state.sources.remove(&process);
                state.started.remove(&process);
            }
        }
    }

    /// Whether the event passes the filter with its relations as they are now.
    fn passes(&self, filter: &RelatedFilter, rows: &Rows<'_>) -> bool {
        let holds = |place: usize| {
            let state = &self.states[place];
            let related = match self.relations.all[place].relation {
                Relation::Event => &state.sources,
                Relation::Child | Relation::Descendant => &state.started,
            };
            rows.keys(filter.by_process).any(|process| related.contains(&process))
        };
        let bits = filter.asks.iter().enumerate().map(|(bit, place)| usize::from(holds(*place)) << bit);
        rows.keys(filter.variants[bits.sum::<usize>()]).next().is_some()
    }
}
