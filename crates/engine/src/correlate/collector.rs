use std::collections::HashMap;
use std::sync::Arc;

use eqlipse_batch::{EventBatch, FieldId, OrderKey, ValueRef};
use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::key::{KeyId, KeyTable, encode};
use crate::compile::{JoinField, RuleIndex, RuleOrder, RuleSet, StageId};
use crate::matching::MAX_COMBINATIONS;
use crate::script::Scalar;

/// An event that some stage matched.
#[derive(Clone, Copy, Debug)]
pub struct MatchedEvent {
    /// Its place in time.
    pub order: OrderKey,
    /// What tells it from others, if it was read twice.
    pub identity: Option<u128>,
    /// What the caller gave to find its document again.
    pub handle: u64,
}

/// A row that a stage matched: the event, with one of its join keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRow {
    /// The event.
    pub event: u32,
    /// The join key; the same one for all where the stage has none.
    pub key: KeyId,
}

/// An event's place in time by a rule's own fields.
#[derive(Clone, Debug)]
struct OwnOrder {
    rule: RuleIndex,
    event: u32,
    time: Option<i64>,
    /// The tiebreaker's value as key bytes, which keep its order.
    tiebreaker: Option<Box<[u8]>>,
}

/// The fields of an event that a rule's pipes read.
#[derive(Debug)]
struct Carried {
    rule: RuleIndex,
    event: u32,
    values: CarriedValues,
}

/// By the field's place among those carried.
type CarriedValues = Box<[Box<[Scalar<'static>]>]>;

/// The handle of an event whose document nobody will ask for.
const NO_DOCUMENT: u64 = u64::MAX;

/// Takes the matched rows of one thread's batches.
#[derive(Debug)]
pub struct Collector {
    rules: Arc<RuleSet>,
    events: Vec<MatchedEvent>,
    stages: Vec<Vec<StageRow>>,
    keys: KeyTable,
    own_orders: Vec<OwnOrder>,
    carried: Vec<Carried>,
    /// By row of the current batch: its event, if it has one already.
    event_of_row: Vec<Option<u32>>,
    scratch: Vec<u8>,
}

impl Collector {
    /// An empty collector.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let stages = vec![Vec::new(); rules.stages().len()];
        Self {
            rules,
            events: Vec::new(),
            stages,
            keys: KeyTable::default(),
            own_orders: Vec::new(),
            carried: Vec::new(),
            event_of_row: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Begins a batch.
    pub fn start(&mut self, batch: &EventBatch) {
        self.event_of_row.clear();
        self.event_of_row.resize(batch.len(), None);
    }

    /// Takes the rows of a stage in the batch that was begun. `handle` is asked once for each row that is kept
    /// and may be in what the rule finds.
    pub fn add(&mut self, batch: &EventBatch, stage: StageId, rows: &[u32], mut handle: impl FnMut(u32) -> u64) {
        let rules = self.rules.clone();
        let description = &rules.stages()[stage.0 as usize];
        let plan = &rules.plans()[description.rule.0 as usize];
        let own_order = plan.order;
        for row in rows {
            let start = self.stages[stage.0 as usize].len();
            let event = self.event_of_row[*row as usize].unwrap_or(self.events.len() as u32);
            self.add_keys(batch, *row, stage, event, &description.keys);
            if self.stages[stage.0 as usize].len() == start {
                continue;
            }
            if event as usize == self.events.len() {
                let meta = batch.rows()[*row as usize];
                self.events.push(MatchedEvent { order: meta.order, identity: meta.identity, handle: NO_DOCUMENT });
                self.event_of_row[*row as usize] = Some(event);
            }
            let known = &mut self.events[event as usize].handle;
            if description.shown && *known == NO_DOCUMENT {
                *known = handle(*row);
            }
            if own_order != RuleOrder::default() {
                self.add_own_order(batch, *row, description.rule, event, own_order);
            }
            if !plan.pipes.carried.is_empty() {
                let values = plan.pipes.carried.iter().map(|field| field_values(batch, *row, *field)).collect();
                self.carried.push(Carried { rule: description.rule, event, values });
            }
        }
    }

    /// Adds a row for every combination of the key fields' values: none if a required one is missing.
    fn add_keys(&mut self, batch: &EventBatch, row: u32, stage: StageId, event: u32, keys: &[JoinField]) {
        let codes: Vec<&[u32]> = keys.iter().map(|key| batch.column(key.field).codes_of(row)).collect();
        if keys.iter().zip(&codes).any(|(key, codes)| codes.is_empty() && !key.optional) {
            return;
        }
        let count = codes.iter().try_fold(1usize, |product, codes| product.checked_mul(codes.len().max(1)));
        let Some(count) = count.filter(|count| *count <= MAX_COMBINATIONS) else { return };
        let rows = &mut self.stages[stage.0 as usize];
        let start = rows.len();
        for mut index in 0..count {
            self.scratch.clear();
            for (key, codes) in keys.iter().zip(&codes) {
                let width = codes.len().max(1);
                let value = codes.get(index % width).map(|code| batch.column(key.field).value(*code));
                index /= width;
                encode(value, &mut self.scratch);
            }
            let row = StageRow { event, key: self.keys.intern(&self.scratch) };
            if !rows[start..].contains(&row) {
                rows.push(row);
            }
        }
    }

    fn add_own_order(&mut self, batch: &EventBatch, row: u32, rule: RuleIndex, event: u32, order: RuleOrder) {
        let first = |field: FieldId| batch.column(field).values_of(row).next();
        let meta = batch.rows()[row as usize].order;
        let time = match order.timestamp.map(first) {
            None => meta.time,
            Some(value) => value.and_then(as_time),
        };
        let tiebreaker = match order.tiebreaker.map(first) {
            None => meta.tiebreaker.map(ValueRef::Int),
            Some(value) => value,
        };
        let tiebreaker = tiebreaker.map(|value| {
            let mut bytes = Vec::new();
            encode(Some(value), &mut bytes);
            bytes.into()
        });
        self.own_orders.push(OwnOrder { rule, event, time, tiebreaker });
    }

    /// Puts together what all threads collected.
    pub fn merge(rules: &RuleSet, collectors: Vec<Collector>) -> Matched {
        let mut events = Vec::new();
        let mut stages: Vec<Vec<StageRow>> = vec![Vec::new(); rules.stages().len()];
        let mut keys = KeyTable::default();
        let (mut own_orders, mut carried) = (Vec::new(), Vec::new());
        for collector in collectors {
            let offset = events.len() as u32;
            let new_keys = keys.absorb(&collector.keys);
            events.extend(collector.events);
            for (all, rows) in stages.iter_mut().zip(collector.stages) {
                all.extend(
                    rows.into_iter()
                        .map(|row| StageRow { event: row.event + offset, key: new_keys[row.key.0 as usize] }),
                );
            }
            own_orders
                .extend(collector.own_orders.into_iter().map(|own| OwnOrder { event: own.event + offset, ..own }));
            carried.extend(collector.carried.into_iter().map(|own| Carried { event: own.event + offset, ..own }));
        }
        Matched::new(events, stages, keys, own_orders, carried)
    }
}

fn field_values(batch: &EventBatch, row: u32, field: FieldId) -> Box<[Scalar<'static>]> {
    let ty = batch.schema().field(field).ty;
    batch.column(field).values_of(row).map(|value| Scalar::of_field(ty, value).into_owned()).collect()
}

/// A value as a time: a date, or a number of milliseconds since the epoch.
fn as_time(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Date(nanos) => Some(nanos),
        ValueRef::Int(millis) => millis.checked_mul(1_000_000),
        ValueRef::Str(text) => eqlipse_batch::parse_date(text),
        _ => None,
    }
}

/// A time and the bytes of a tiebreaker.
type OwnPlace = (Option<i64>, Option<Box<[u8]>>);

/// All matched rows in order, without the events that were read twice.
#[derive(Debug)]
pub struct Matched {
    events: Vec<MatchedEvent>,
    stages: Vec<Vec<StageRow>>,
    keys: KeyTable,
    own_orders: HashMap<(RuleIndex, u32), OwnPlace, RandomState>,
    carried: HashMap<(RuleIndex, u32), CarriedValues, RandomState>,
}

impl Matched {
    fn new(
        events: Vec<MatchedEvent>,
        stages: Vec<Vec<StageRow>>,
        keys: KeyTable,
        own_orders: Vec<OwnOrder>,
        carried: Vec<Carried>,
    ) -> Self {
        let mut order: Vec<u32> = (0..events.len() as u32).collect();
        order.sort_unstable_by_key(|event| events[*event as usize].order);
        let mut places: Vec<Option<u32>> = vec![None; events.len()];
        let mut kept: Vec<MatchedEvent> = Vec::with_capacity(events.len());
        let mut identities: HashSet<u128, RandomState> = HashSet::default();
        for event in order {
            let matched = events[event as usize];
            if matched.identity.is_none_or(|identity| identities.insert(identity)) {
                places[event as usize] = Some(kept.len() as u32);
                kept.push(matched);
            }
        }
        let place = |row: StageRow| places[row.event as usize].map(|event| StageRow { event, ..row });
        let stages = stages.into_iter().map(|rows| {
            let mut rows: Vec<StageRow> = rows.into_iter().filter_map(place).collect();
            rows.sort_unstable_by_key(|row| (row.event, row.key));
            rows
        });
        let stages = stages.collect();
        let own_orders = own_orders
            .into_iter()
            .filter_map(|own| Some(((own.rule, places[own.event as usize]?), (own.time, own.tiebreaker))));
        let carried = carried.into_iter().filter_map(|own| Some(((own.rule, places[own.event as usize]?), own.values)));
        Self { events: kept, stages, keys, own_orders: own_orders.collect(), carried: carried.collect() }
    }

    /// The events in order.
    pub fn events(&self) -> &[MatchedEvent] {
        &self.events
    }

    /// The rows of a stage, in the order of events.
    pub fn rows(&self, stage: StageId) -> &[StageRow] {
        &self.stages[stage.0 as usize]
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
