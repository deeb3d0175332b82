use std::io;
use std::sync::Arc;

use eqlipse_batch::{EventBatch, FieldId, ValueRef};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::kept::{Carried, Kept, MatchedEvent, OwnOrder, StageRow};
use super::key::{KeyId, encode};
use super::matched::{Matched, Rows};
use super::spill::Spill;
use crate::compile::{JoinField, RuleIndex, RuleOrder, RuleSet, Selection, StageId};
use crate::matching::MAX_COMBINATIONS;
use crate::script::Scalar;

/// The handle of an event whose document nobody will ask for.
const NO_DOCUMENT: u64 = u64::MAX;

/// A row of the batch that is no event yet.
const NO_EVENT: u32 = u32::MAX;

/// Takes the matched rows of one thread's batches.
///
/// In memory, an event costs 96 bytes, its join key the bytes of its values and some 20 more, and each
/// selection of stages that it matched 8. Beyond a limit they go to a temporary file.
#[derive(Debug)]
pub struct Collector {
    rules: Arc<RuleSet>,
    /// The most memory that rows may take before they are written out.
    limit: usize,
    pub(super) kept: Kept,
    pub(super) spill: Option<Spill>,
    /// Why rows could not be written out.
    failure: Option<io::Error>,
    /// Rows in memory that may be written out.
    movable: usize,
    /// By row of the current batch: its event, if it has one already.
    event_of_row: Vec<u32>,
    /// By selection: the last batch of which it has the rows.
    taken: Vec<u64>,
    batch: u64,
    row_keys: RowKeys,
}

impl Collector {
    /// An empty collector that keeps everything in memory.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        Self::with_limit(rules, usize::MAX)
    }

    /// An empty collector that writes rows to a temporary file when they take more than `limit` bytes. Those of event
    /// queries, and of rules with relations, pipes or an order of their own, stay in memory.
    pub fn with_limit(rules: Arc<RuleSet>, limit: usize) -> Self {
        let selections = rules.selections.all.len();
        Self {
            limit,
            kept: Kept::new(selections),
            spill: None,
            failure: None,
            movable: 0,
            event_of_row: Vec::new(),
            taken: vec![0; selections],
            batch: 0,
            row_keys: RowKeys::new(&rules.selections.keys),
            rules,
        }
    }

    /// Begins a batch.
    pub fn start(&mut self, batch: &EventBatch) {
        let is_over = self.movable > 0 && self.kept.bytes(self.movable) > self.limit;
        if is_over && self.failure.is_none() {
            self.failure = self.write_out().err();
        }
        self.batch += 1;
        self.event_of_row.clear();
        self.event_of_row.resize(batch.len(), NO_EVENT);
        self.row_keys.clear();
    }

    /// Moves the rows that need not stay in memory to the temporary file.
    pub(super) fn write_out(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new()?),
        };
        spill.write(&self.rules, &mut self.kept)?;
        self.movable = 0;
        Ok(())
    }

    /// Takes the rows of a stage in the batch that was begun, once. `handle` is asked once for each row that is kept
    /// and may be in what the rule finds.
    pub fn add(&mut self, batch: &EventBatch, stage: StageId, rows: &[u32], mut handle: impl FnMut(u32) -> u64) {
        let Self { rules, kept, event_of_row, row_keys, taken, .. } = self;
        let id = rules.selections.of(stage);
        // Stages that ask for the same rows share them.
        if std::mem::replace(&mut taken[id.0 as usize], self.batch) == self.batch {
            return;
        }
        let description = &rules.stages()[stage.0 as usize];
        let plan = &rules.plans()[description.rule.0 as usize];
        let Selection { key, stays } = rules.selections.all[id.0 as usize];
        let fields = &rules.selections.keys[key];
        for row in rows {
            let keys = row_keys.get(kept, batch, key, fields, *row);
            if keys == RowKey::None {
                continue;
            }
            let place = &mut event_of_row[*row as usize];
            if *place == NO_EVENT {
                *place = kept.events.len() as u32;
                let meta = batch.rows()[*row as usize];
                kept.events.push(MatchedEvent { order: meta.order, identity: meta.identity, handle: NO_DOCUMENT });
            }
            let event = *place;
            let list = &mut kept.rows[id.0 as usize];
            match keys {
                RowKey::None => {}
                RowKey::One(key) => list.push(StageRow { event, key }),
                RowKey::Several(place) => {
                    list.extend(row_keys.several[place as usize].iter().map(|key| StageRow { event, key: *key }));
                }
            }
            let known = &mut kept.events[event as usize].handle;
            if description.shown && *known == NO_DOCUMENT {
                *known = handle(*row);
            }
            if plan.has_own_values() {
                add_own_values(kept, batch, *row, description.rule, event, rules);
            }
        }
        self.movable += if stays { 0 } else { rows.len() };
    }

    /// Puts together what all threads collected, rows that nothing can come of included.
    ///
    /// # Errors
    /// If rows could not be written to a temporary file, or read from it.
    pub fn merge(rules: &Arc<RuleSet>, collectors: Vec<Collector>) -> io::Result<Matched> {
        let mut parts = Vec::new();
        for collector in collectors {
            let (kept, spill) = collector.finish()?;
            parts.push(kept);
            if let Some(spill) = spill {
                parts.extend(spill.read_all(rules)?);
            }
        }
        Ok(Matched::merge(rules, parts, Rows::All).0)
    }

    /// What was kept.
    pub(super) fn finish(self) -> io::Result<(Kept, Option<Spill>)> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok((self.kept, self.spill)),
        }
    }
}

/// The join keys of the current batch's rows, each found when the first stage asks for it.
#[derive(Debug)]
struct RowKeys {
    /// By join key and row; none before it was looked for.
    codes: Vec<Vec<Option<RowKey>>>,
    /// The keys of rows that have several.
    several: Vec<Vec<KeyId>>,
    /// By key field.
    places: HashMap<FieldId, Vec<u32>, RandomState>,
    scratch: Vec<u8>,
}

/// By row, where a column's values of it begin; one more than there are rows.
fn places(batch: &EventBatch, field: FieldId, places: &mut Vec<u32>) {
    places.resize(batch.len() + 1, 0);
    for row in batch.column(field).rows() {
        places[*row as usize + 1] += 1;
    }
    let mut sum = 0;
    for place in places {
        sum += *place;
        *place = sum;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowKey {
    /// A field is missing that may not be.
    None,
    One(KeyId),
    /// The place of the list in [`RowKeys::several`].
    Several(u32),
}

impl RowKeys {
    fn new(keys: &[Vec<JoinField>]) -> Self {
        let places = keys.iter().flatten().map(|field| (field.field, Vec::new())).collect();
        Self { codes: vec![Vec::new(); keys.len()], several: Vec::new(), places, scratch: Vec::new() }
    }

    fn clear(&mut self) {
        self.codes.iter_mut().for_each(Vec::clear);
        self.places.values_mut().for_each(Vec::clear);
        self.several.clear();
    }

    fn get(&mut self, kept: &mut Kept, batch: &EventBatch, key: usize, fields: &[JoinField], row: u32) -> RowKey {
        let codes = &mut self.codes[key];
        if codes.is_empty() {
            codes.resize(batch.len(), None);
            for field in fields {
                if let Some(known) = self.places.get_mut(&field.field).filter(|known| known.is_empty()) {
                    places(batch, field.field, known);
                }
            }
        }
        if let Some(known) = codes[row as usize] {
            return known;
        }
        let found = self.find(kept, batch, fields, row);
        self.codes[key][row as usize] = Some(found);
        found
    }

    /// A key for every combination of the fields' values: none if a required one is missing.
    fn find(&mut self, kept: &mut Kept, batch: &EventBatch, fields: &[JoinField], row: u32) -> RowKey {
        let columns = fields.iter().map(|field| {
            let places = &self.places[&field.field];
            &batch.column(field.field).codes()[places[row as usize] as usize..places[row as usize + 1] as usize]
        });
        let codes: smallvec::SmallVec<[&[u32]; 4]> = columns.collect();
        if fields.iter().zip(&codes).any(|(field, codes)| codes.is_empty() && !field.optional) {
            return RowKey::None;
        }
        let count = codes.iter().try_fold(1usize, |product, codes| product.checked_mul(codes.len().max(1)));
        let Some(count) = count.filter(|count| *count <= MAX_COMBINATIONS) else { return RowKey::None };
        let mut nth = |mut index: usize| {
            self.scratch.clear();
            for (field, codes) in fields.iter().zip(&codes) {
                let width = codes.len().max(1);
                let value = codes.get(index % width).map(|code| batch.column(field.field).value(*code));
                index /= width;
                encode(value, &mut self.scratch);
            }
            kept.keys.intern(&self.scratch)
        };
        if count == 1 {
            return RowKey::One(nth(0));
        }
        let mut keys: Vec<KeyId> = (0..count).map(nth).collect();
        keys.sort_unstable();
        keys.dedup();
        self.several.push(keys);
        RowKey::Several(self.several.len() as u32 - 1)
    }
}

/// Keeps what a rule with an order or pipes of its own asks of an event.
fn add_own_values(kept: &mut Kept, batch: &EventBatch, row: u32, rule: RuleIndex, event: u32, rules: &RuleSet) {
    let plan = &rules.plans()[rule.0 as usize];
    if plan.order != RuleOrder::default() {
        kept.own_orders.push(own_order(batch, row, rule, event, plan.order));
    }
    if !plan.pipes.carried.is_empty() {
        let values = plan.pipes.carried.iter().map(|field| field_values(batch, row, *field)).collect();
        kept.carried.push(Carried { rule, event, values });
    }
}

fn own_order(batch: &EventBatch, row: u32, rule: RuleIndex, event: u32, order: RuleOrder) -> OwnOrder {
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
    OwnOrder { rule, event, time, tiebreaker }
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
