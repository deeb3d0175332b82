//! The one pass over the data: counts for every clause, the rows of every stage, and the documents that may be shown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use eqlipse_batch::{EventBatch, FieldId, OrderKey, ValueRef};
use eqlipse_engine::{Collector, Coverage, MatchPlan, Matcher, StageId};
use eqlipse_events::INDEX_FIELD;
use serde_json::{Map, Value};

use super::clauses::PlannedStage;
use super::record;
use crate::spool::Spool;

/// The most index names and categories that are counted by themselves.
pub const MAX_COUNTED_VALUES: usize = 1000;
/// The most groups of near misses that are kept for a stage; those that failed most clauses go first.
pub const MAX_GROUPS: usize = 1000;
/// So many events at the beginning are searched for field names, and then every [`NAME_STEP`]th.
pub const NAME_EVENTS: u64 = 2000;
/// See [`NAME_EVENTS`].
pub const NAME_STEP: u64 = 256;
/// The most field names that are kept.
pub const MAX_NAMES: usize = 20_000;

/// Events of a stage that failed the same clauses.
#[derive(Debug)]
pub(super) struct Group {
    pub events: u64,
    /// The first one's record in the spool.
    pub offset: u64,
    pub order: OrderKey,
}

/// What the pass found for one stage.
#[derive(Debug, Default)]
pub(super) struct StageTally {
    pub matched: u64,
    /// By clause of the stage.
    pub so_far: Vec<u64>,
    pub only: Vec<u64>,
    /// By the clauses that were failed, as places in the stage.
    pub groups: BTreeMap<Vec<u32>, Group>,
}

/// Takes the batches.
pub(super) struct Gather<'a> {
    matcher: Matcher,
    pub collector: Collector,
    pub coverage: Coverage,
    pub spool: Spool,
    /// The first failure to keep a document.
    pub failure: Option<io::Error>,
    stages: &'a [PlannedStage],
    /// By stage of the engine: which clause asks for it.
    clause_at: Vec<Option<usize>>,
    index: FieldId,
    category: Option<FieldId>,
    pub tallies: Vec<StageTally>,
    /// By clause id.
    pub passed: Vec<u64>,
    pub events: u64,
    pub duplicates: u64,
    pub untimed: u64,
    pub hidden: u64,
    pub hidden_indices: BTreeMap<String, u64>,
    pub categories: BTreeMap<String, u64>,
    pub names: BTreeSet<String>,
    identities: HashSet<u128>,
    /// Where a row's record lies in the spool, if it has one already.
    kept: HashMap<u32, u64>,
    bits: Bits,
    /// The rows of the rule's own stages in this batch.
    rows: Vec<(StageId, Vec<u32>)>,
}

/// By clause: which rows of the batch pass it.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<Vec<u64>>,
}

impl Bits {
    fn reset(&mut self, clauses: usize, rows: usize) {
        self.words.resize(clauses, Vec::new());
        for words in &mut self.words {
            words.clear();
            words.resize(rows.div_ceil(64), 0);
        }
    }

    fn set(&mut self, clause: usize, rows: &[u32]) {
        let words = &mut self.words[clause];
        rows.iter().for_each(|row| words[*row as usize / 64] |= 1 << (row % 64));
    }

    fn has(&self, clause: usize, row: u32) -> bool {
        self.words[clause][row as usize / 64] >> (row % 64) & 1 == 1
    }

    fn of_row(&self, row: u32) -> Vec<bool> {
        (0..self.words.len()).map(|clause| self.has(clause, row)).collect()
    }
}

impl<'a> Gather<'a> {
    /// `asked` gives by clause id the stage that the engine knows it by.
    pub(super) fn new(
        plan: Arc<MatchPlan>,
        stages: &'a [PlannedStage],
        asked: &[StageId],
        category_field: &str,
    ) -> Option<Self> {
        let rules = plan.rules().clone();
        let mut clause_at = vec![None; rules.stages().len()];
        for (clause, stage) in asked.iter().enumerate() {
            *clause_at.get_mut(stage.0 as usize)? = Some(clause);
        }
        let tally = |stage: &PlannedStage| StageTally {
            so_far: vec![0; stage.clauses.len()],
            only: vec![0; stage.clauses.len()],
            ..StageTally::default()
        };
        Some(Self {
            matcher: Matcher::new(plan),
            collector: Collector::new(rules.clone()),
            coverage: Coverage::new(&rules),
            spool: Spool::default(),
            failure: None,
            stages,
            clause_at,
            index: rules.schema().lookup(INDEX_FIELD)?,
            category: rules.schema().lookup(category_field),
            tallies: stages.iter().map(tally).collect(),
            passed: vec![0; asked.len()],
            events: 0,
            duplicates: 0,
            untimed: 0,
            hidden: 0,
            hidden_indices: BTreeMap::new(),
            categories: BTreeMap::new(),
            names: BTreeSet::new(),
            identities: HashSet::new(),
            kept: HashMap::new(),
            bits: Bits::default(),
            rows: Vec::new(),
        })
    }

    /// Takes a batch.
    pub(super) fn take(&mut self, batch: &EventBatch) {
        self.run(batch);
        let fresh = self.fresh(batch);
        self.kept.clear();
        for clause in 0..self.passed.len() {
            self.passed[clause] += fresh.iter().filter(|row| self.bits.has(clause, **row)).count() as u64;
        }
        for row in &fresh {
            self.note_event(batch, *row);
        }
        for stage in 0..self.stages.len() {
            self.tally(batch, stage, &fresh);
        }
        self.collect(batch);
    }

    fn run(&mut self, batch: &EventBatch) {
        let Self { matcher, coverage, clause_at, bits, rows: own, passed, .. } = self;
        bits.reset(passed.len(), batch.len());
        own.clear();
        matcher.run(batch, coverage, |stage, rows| match clause_at[stage.0 as usize] {
            Some(clause) => bits.set(clause, rows),
            None => own.push((stage, rows.to_vec())),
        });
    }

    /// The rows whose events have not been read before.
    fn fresh(&mut self, batch: &EventBatch) -> Vec<u32> {
        let identities = &mut self.identities;
        let mut is_fresh =
            |row: &u32| batch.rows()[*row as usize].identity.is_none_or(|identity| identities.insert(identity));
        let fresh: Vec<u32> = (0..batch.len() as u32).filter(|row| is_fresh(row)).collect();
        self.duplicates += (batch.len() - fresh.len()) as u64;
        fresh
    }

    fn note_event(&mut self, batch: &EventBatch, row: u32) {
        self.untimed += u64::from(batch.rows()[row as usize].order.time.is_none());
        if let Some(category) = self.category {
            count(&mut self.categories, batch, category, row);
        }
        if self.names.len() < MAX_NAMES && (self.events < NAME_EVENTS || self.events.is_multiple_of(NAME_STEP)) {
            let mut bytes = Vec::new();
            batch.write_source(row, &mut bytes);
            if let Ok(hit) = serde_json::from_slice::<record::Hit>(&bytes) {
                add_names(&mut self.names, "", &hit.source);
            }
        }
        self.events += 1;
    }

    fn tally(&mut self, batch: &EventBatch, stage: usize, fresh: &[u32]) {
        let clauses = &self.stages[stage].clauses;
        let mut failed: Vec<u32> = Vec::new();
        for row in fresh {
            failed.clear();
            let fails = clauses.iter().enumerate().filter(|(_, clause)| !self.bits.has(clause.id, *row));
            failed.extend(fails.map(|(place, _)| place as u32));
            let tally = &mut self.tallies[stage];
            let passed_first = failed.first().map_or(clauses.len(), |place| *place as usize);
            tally.so_far[..passed_first].iter_mut().for_each(|count| *count += 1);
            match failed[..] {
                [] => tally.matched += 1,
                [place] => tally.only[place as usize] += 1,
                _ => {}
            }
            let hidden = !failed.is_empty() && clauses[failed[0] as usize].kind == super::model::ClauseKind::Index;
            if stage == 0 && hidden {
                self.hidden += 1;
                count(&mut self.hidden_indices, batch, self.index, *row);
            }
            if !failed.is_empty() {
                self.group(batch, stage, *row, &failed);
            }
        }
    }

    fn group(&mut self, batch: &EventBatch, stage: usize, row: u32, failed: &[u32]) {
        if let Some(group) = self.tallies[stage].groups.get_mut(failed) {
            group.events += 1;
            return;
        }
        let groups = &self.tallies[stage].groups;
        if groups.len() >= MAX_GROUPS {
            let worst = groups.keys().max_by_key(|key| key.len()).cloned();
            match worst {
                Some(worst) if worst.len() > failed.len() => _ = self.tallies[stage].groups.remove(&worst),
                _ => return,
            }
        }
        let offset = self.keep(batch, row);
        let order = batch.rows()[row as usize].order;
        self.tallies[stage].groups.insert(failed.to_vec(), Group { events: 1, offset, order });
    }

    /// Puts a row's record into the spool and says where it lies.
    fn keep(&mut self, batch: &EventBatch, row: u32) -> u64 {
        if let Some(offset) = self.kept.get(&row) {
            return *offset;
        }
        let indices = texts(batch, self.index, row);
        let held = self.bits.of_row(row);
        let added = self.spool.add(|out| {
            record::write_head(&held, &indices, out);
            batch.write_source(row, out);
        });
        let offset = added.unwrap_or_else(|error| {
            self.failure.get_or_insert(error);
            0
        });
        self.kept.insert(row, offset);
        offset
    }

    /// Hands the rows of the rule's own stages to the engine's collector.
    fn collect(&mut self, batch: &EventBatch) {
        self.collector.start(batch);
        let own = std::mem::take(&mut self.rows);
        for (stage, rows) in &own {
            // The collector asks for the place of rows that it keeps, so they are kept before.
            let offsets: HashMap<u32, u64> = rows.iter().map(|row| (*row, self.keep(batch, *row))).collect();
            self.collector.add(batch, *stage, rows, |row| offsets.get(&row).copied().unwrap_or_default());
        }
        self.rows = own;
    }
}

fn texts(batch: &EventBatch, field: FieldId, row: u32) -> Vec<String> {
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Str(text) => Some(text.to_owned()),
        _ => None,
    };
    batch.column(field).values_of(row).filter_map(text).collect()
}

/// Counts the texts of a row; beyond the limit only those that are known already.
fn count(counts: &mut BTreeMap<String, u64>, batch: &EventBatch, field: FieldId, row: u32) {
    for text in texts(batch, field, row) {
        if let Some(known) = counts.get_mut(&text) {
            *known += 1;
        } else if counts.len() < MAX_COUNTED_VALUES {
            counts.insert(text, 1);
        }
    }
}

fn add_names(names: &mut BTreeSet<String>, prefix: &str, object: &Map<String, Value>) {
    for (key, value) in object {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) => add_names(names, &name, inner),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().filter_map(Value::as_object).for_each(|inner| add_names(names, &name, inner));
            }
            Value::Null => {}
            _ if names.len() < MAX_NAMES => _ = names.insert(name),
            _ => {}
        }
    }
}
