use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::kept::{Carried, CarriedValues, Kept, MatchedEvent, OwnOrder, StageRow};
use super::key::{KeyId, KeyTable};
use super::needed::{NeededRows, RuleSelections, needed_rows};
use crate::compile::{RuleIndex, RuleSet, StageId};
use crate::script::Scalar;

/// Which rows are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    All,
    /// Those that some rule may fire with.
    Needed,
}

/// A time and the bytes of a tiebreaker.
type OwnPlace = (Option<i64>, Option<Box<[u8]>>);

/// Matched rows in order, without the events that were read twice.
#[derive(Debug)]
pub struct Matched {
    rules: Arc<RuleSet>,
    events: Vec<MatchedEvent>,
    /// By selection.
    rows: Vec<Vec<StageRow>>,
    keys: KeyTable,
    own_orders: HashMap<(RuleIndex, u32), OwnPlace, RandomState>,
    carried: HashMap<(RuleIndex, u32), CarriedValues, RandomState>,
}

impl Matched {
    /// Puts together what was kept, and says which rules may have something.
    pub(super) fn merge(rules: &Arc<RuleSet>, mut parts: Vec<Kept>, which: Rows) -> (Self, Vec<RuleIndex>) {
        let of_rules = RuleSelections::of_rules(rules);
        let has_rows = |selection: usize| parts.iter().any(|part| !part.rows[selection].is_empty());
        let may_fire: Vec<RuleIndex> = (0..of_rules.len() as u32)
            .map(RuleIndex)
            .filter(|rule| of_rules[rule.0 as usize].may_fire(|selection| has_rows(selection.0 as usize)))
            .collect();
        let mut is_read = vec![which == Rows::All; rules.selections.all.len()];
        for rule in &may_fire {
            of_rules[rule.0 as usize].all().iter().for_each(|selection| is_read[selection.0 as usize] = true);
        }
        let (keys, rows) = join_rows(&mut parts, &is_read);
        let needed = match which {
            Rows::All => rows.iter().map(|_| NeededRows::All).collect(),
            Rows::Needed => needed_rows(rules, &of_rules, &rows, keys.len()),
        };
        (Self::in_order(rules, parts, keys, rows, &needed), may_fire)
    }

    fn in_order(
        rules: &Arc<RuleSet>,
        parts: Vec<Kept>,
        keys: KeyTable,
        rows: Vec<Vec<StageRow>>,
        needed: &[NeededRows],
    ) -> Self {
        let events: Vec<&MatchedEvent> = parts.iter().flat_map(|part| &part.events).collect();
        let (events, places) = order(&events, &rows, needed);
        let rows = rows.into_iter().zip(needed).map(|(rows, needed)| {
            let rows = rows.into_iter().enumerate().filter(|(number, _)| needed.has(*number));
            let placed = rows.filter_map(|(_, row)| places[row.event as usize].map(|event| StageRow { event, ..row }));
            let mut placed: Vec<StageRow> = placed.collect();
            placed.sort_unstable_by_key(|row| (row.event, row.key));
            placed.dedup();
            placed
        });
        let rows = rows.collect();
        let (mut own_orders, mut carried) = (HashMap::default(), HashMap::default());
        let mut offset = 0;
        for part in parts {
            let place = |event: u32| places[(event + offset) as usize];
            let orders = part.own_orders.into_iter();
            own_orders.extend(orders.filter_map(|OwnOrder { rule, event, time, tiebreaker }| {
                Some(((rule, place(event)?), (time, tiebreaker)))
            }));
            let values = part.carried.into_iter();
            carried.extend(values.filter_map(|Carried { rule, event, values }| Some(((rule, place(event)?), values))));
            offset += part.events.len() as u32;
        }
        Self { rules: rules.clone(), events, rows, keys, own_orders, carried }
    }

    /// Only these events and keys, with nothing matched: what findings point to.
    pub(super) fn of_findings(rules: &Arc<RuleSet>, events: Vec<MatchedEvent>, keys: KeyTable) -> Self {
        let (own_orders, carried) = (HashMap::default(), HashMap::default());
        let rows = vec![Vec::new(); rules.selections.all.len()];
        Self { rules: rules.clone(), events, rows, keys, own_orders, carried }
    }

    /// The events in order.
    pub fn events(&self) -> &[MatchedEvent] {
        &self.events
    }

    /// The rows of a stage, in the order of events.
    pub fn rows(&self, stage: StageId) -> &[StageRow] {
        &self.rows[self.rules.selections.of(stage).0 as usize]
    }

    /// The join keys.
    pub fn keys(&self) -> &KeyTable {
        &self.keys
    }

    /// The values of a field that the rule's pipes read.
    pub(super) fn carried(&self, rule: RuleIndex, event: u32, place: usize) -> &[Scalar<'static>] {
        self.carried.get(&(rule, event)).map_or(&[], |values| &values[place])
    }

    /// The time of an event by the timestamp field that a rule names itself.
    pub fn rule_time(&self, rule: RuleIndex, event: u32) -> Option<i64> {
        self.own_orders.get(&(rule, event)).and_then(|(time, _)| *time)
    }

    /// The places of events in the order that a rule's own fields give.
    pub fn ranks(&self, rule: RuleIndex, events: impl Iterator<Item = u32>) -> HashMap<u32, u32> {
        let mut events: Vec<u32> = events.collect();
        events.sort_unstable();
        events.dedup();
        let rank = |event: &u32| {
            let (time, tiebreaker) = self.own_orders.get(&(rule, *event)).cloned().unwrap_or_default();
            let arrival = self.events[*event as usize].order.arrival;
            (time.is_none(), time, tiebreaker.is_none(), tiebreaker, arrival)
        };
        events.sort_by_cached_key(rank);
        events.into_iter().enumerate().map(|(rank, event)| (event, rank as u32)).collect()
    }
}

/// The rows of the selections that are read, over common numbers for events and keys.
fn join_rows(parts: &mut [Kept], is_read: &[bool]) -> (KeyTable, Vec<Vec<StageRow>>) {
    let mut joined: Vec<Vec<StageRow>> = vec![Vec::new(); is_read.len()];
    let mut keys = KeyTable::default();
    let mut offset = 0;
    for (number, part) in parts.iter_mut().enumerate() {
        let rows = std::mem::take(&mut part.rows).into_iter().zip(is_read).zip(&mut joined);
        let rows = rows.filter(|((_, is_read), _)| **is_read);
        if number == 0 {
            keys = std::mem::take(&mut part.keys);
            rows.for_each(|((rows, _), joined)| *joined = rows);
        } else {
            let mut translated: Vec<Option<KeyId>> = vec![None; part.keys.len()];
            for ((rows, _), joined) in rows {
                joined.extend(rows.into_iter().map(|row| {
                    let key =
                        translated[row.key.0 as usize].get_or_insert_with(|| keys.intern_from(&part.keys, row.key));
                    StageRow { event: row.event + offset, key: *key }
                }));
            }
        }
        offset += part.events.len() as u32;
    }
    (keys, joined)
}

/// The events of the needed rows in order, each once; and by event its place among them.
fn order(
    events: &[&MatchedEvent],
    rows: &[Vec<StageRow>],
    needed: &[NeededRows],
) -> (Vec<MatchedEvent>, Vec<Option<u32>>) {
    let mut is_needed = vec![false; events.len()];
    for (rows, needed) in rows.iter().zip(needed) {
        for (number, row) in rows.iter().enumerate() {
            is_needed[row.event as usize] |= needed.has(number);
        }
    }
    let mut order: Vec<u32> = (0..events.len() as u32).filter(|event| is_needed[*event as usize]).collect();
    order.sort_unstable_by_key(|event| events[*event as usize].order);
    let mut places: Vec<Option<u32>> = vec![None; events.len()];
    let mut kept: Vec<MatchedEvent> = Vec::with_capacity(order.len());
    let mut identities: HashSet<u128, RandomState> = HashSet::default();
    for event in order {
        let matched = *events[event as usize];
        // No two events arrive at one place: it is in several lists.
        if kept.last().is_some_and(|last| last.order == matched.order) {
            places[event as usize] = Some(kept.len() as u32 - 1);
            continue;
        }
        if matched.identity.is_none_or(|identity| identities.insert(identity)) {
            places[event as usize] = Some(kept.len() as u32);
            kept.push(matched);
        }
    }
    (kept, places)
}
