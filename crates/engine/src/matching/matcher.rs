use std::sync::Arc;

use eqlipse_batch::{Column, EventBatch, ValueRef};
use eqlipse_ecs::FieldType;

use super::answers::Answers;
use super::bitmap::Bitmap;
use super::coverage::Coverage;
use super::field_matcher::FieldMatcher;
use crate::compile::{LeafId, LeafKind, Node, NodeId, RuleSet, StageId};
use crate::script::{Scalar, Script};

/// The most combinations of field values that one expression tries for one event; beyond it the expression does not
/// hold.
pub const MAX_COMBINATIONS: usize = 65_536;

/// What all threads share: the rule set, its fields' matchers, and which stages ask for the same rows.
#[derive(Debug)]
pub struct MatchPlan {
    rules: Arc<RuleSet>,
    pub(super) fields: Vec<Option<FieldMatcher>>,
    /// Each distinct condition with the stages that it is the condition of.
    pub(super) roots: Vec<(NodeId, Vec<StageId>)>,
}

impl MatchPlan {
    /// Prepares a rule set for matching.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let fields = FieldMatcher::for_graph(rules.graph(), rules.schema().fields().iter().map(|field| field.ty));
        let mut stages: Vec<(NodeId, StageId)> =
            rules.stages().iter().enumerate().map(|(index, stage)| (stage.node, StageId(index as u32))).collect();
        stages.sort_unstable();
        let mut roots: Vec<(NodeId, Vec<StageId>)> = Vec::new();
        for (node, stage) in stages {
            match roots.last_mut() {
                Some((last, list)) if *last == node => list.push(stage),
                _ => roots.push((node, vec![stage])),
            }
        }
        Self { rules, fields, roots }
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }
}

/// The rows of one node: none, all, or those of a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Empty,
    Full,
    Bits(u32),
}

/// A column's rows in the order of their dictionary codes, for going from a value to its rows.
#[derive(Default)]
struct RowsByCode {
    ready: bool,
    starts: Vec<u32>,
    rows: Vec<u32>,
}

/// One thread's matcher; keeps its memory from batch to batch.
pub struct Matcher {
    plan: Arc<MatchPlan>,
    state: State,
}

/// What is known of the current batch.
struct State {
    /// By node: its rows, if known already.
    known: Vec<Option<Rows>>,
    bitmaps: Vec<Bitmap>,
    used: usize,
    /// By field: whether the leaves have been evaluated.
    evaluated: Vec<bool>,
    /// By leaf: the codes that it holds for.
    leaf_codes: Vec<Vec<u32>>,
    touched: Vec<LeafId>,
    by_code: Vec<RowsByCode>,
    /// Of texts of earlier batches.
    answers: Answers,
    scratch: Vec<LeafId>,
    folded: String,
}

/// The matching of one batch. The plan is borrowed: all threads share it, and would wait for each other to count who has it.
struct Run<'r> {
    plan: &'r MatchPlan,
    batch: &'r EventBatch,
    state: &'r mut State,
}

impl Matcher {
    /// A matcher for one thread.
    pub fn new(plan: Arc<MatchPlan>) -> Self {
        let graph = plan.rules.graph();
        let fields = plan.fields.len();
        let state = State {
            known: vec![None; graph.nodes().len()],
            bitmaps: Vec::new(),
            used: 0,
            evaluated: vec![false; fields],
            leaf_codes: vec![Vec::new(); graph.leaves().len()],
            touched: Vec::new(),
            by_code: (0..fields).map(|_| RowsByCode::default()).collect(),
            answers: Answers::new(fields),
            scratch: Vec::new(),
            folded: String::new(),
        };
        Self { plan, state }
    }

    /// Calls `found` for every stage that some row of the batch passes, with the rows, ascending, and notes in
    /// `coverage` what the batch had.
    pub fn run(&mut self, batch: &EventBatch, coverage: &mut Coverage, mut found: impl FnMut(StageId, &[u32])) {
        if batch.is_empty() {
            return;
        }
        let mut run = Run::start(self, batch);
        let mut rows: Vec<u32> = Vec::new();
        for (node, stages) in &run.plan.roots {
            rows.clear();
            match run.rows(*node) {
                Rows::Empty => continue,
                Rows::Full => rows.extend(0..batch.len() as u32),
                Rows::Bits(slot) => rows.extend(run.state.bitmaps[slot as usize].rows()),
            }
            for stage in stages {
                found(*stage, &rows);
            }
        }
        coverage.note(batch, |gate| run.rows(gate) != Rows::Empty);
    }

    /// Notes in `coverage` what the batch had, and matches nothing.
    pub fn survey(&mut self, batch: &EventBatch, coverage: &mut Coverage) {
        if !batch.is_empty() {
            let mut run = Run::start(self, batch);
            coverage.note(batch, |gate| run.rows(gate) != Rows::Empty);
        }
    }
}

impl<'r> Run<'r> {
    fn start(matcher: &'r mut Matcher, batch: &'r EventBatch) -> Self {
        let Matcher { plan, state } = matcher;
        state.known.fill(None);
        state.used = 0;
        state.answers.start();
        state.evaluated.fill(false);
        for leaf in state.touched.drain(..) {
            state.leaf_codes[leaf.0 as usize].clear();
        }
        state.by_code.iter_mut().for_each(|index| index.ready = false);
        Self { plan, batch, state }
    }

    fn rows(&mut self, id: NodeId) -> Rows {
        if let Some(rows) = self.state.known[id.0 as usize] {
            return rows;
        }
        let plan = self.plan;
        let rows = match plan.rules.graph().node(id) {
            Node::Constant(true) => Rows::Full,
            Node::Constant(false) => Rows::Empty,
            Node::Leaf(leaf) => self.leaf(*leaf),
            Node::Not(inner) => self.complement(*inner),
            Node::And(parts) => self.all(parts),
            Node::Or(parts) => self.any(parts),
        };
        self.state.known[id.0 as usize] = Some(rows);
        rows
    }

    /// A bitmap of this batch, not cleared.
    fn take(&mut self) -> u32 {
        if self.state.used == self.state.bitmaps.len() {
            self.state.bitmaps.push(Bitmap::default());
        }
        self.state.used += 1;
        self.state.used as u32 - 1
    }

    /// The bitmap just taken, or `Empty` if it is: its memory is then free again.
    fn settle(&mut self, slot: u32) -> Rows {
        if self.state.bitmaps[slot as usize].is_empty() {
            if slot as usize + 1 == self.state.used {
                self.state.used -= 1;
            }
            return Rows::Empty;
        }
        Rows::Bits(slot)
    }

    fn complement(&mut self, inner: NodeId) -> Rows {
        match self.rows(inner) {
            Rows::Empty => Rows::Full,
            Rows::Full => Rows::Empty,
            Rows::Bits(source) => {
                let (slot, rows) = (self.take(), self.batch.len());
                let (bitmap, source) = self.two(slot, source);
                bitmap.copy_from(source);
                bitmap.complement(rows);
                self.settle(slot)
            }
        }
    }

    /// The bitmap of `slot` to write, that of `source` to read.
    fn two(&mut self, slot: u32, source: u32) -> (&mut Bitmap, &Bitmap) {
        let (slot, source) = (slot as usize, source as usize);
        if slot > source {
            let (head, tail) = self.state.bitmaps.split_at_mut(slot);
            (&mut tail[0], &head[source])
        } else {
            let (head, tail) = self.state.bitmaps.split_at_mut(source);
            (&mut head[slot], &tail[0])
        }
    }

    fn all(&mut self, parts: &[NodeId]) -> Rows {
        // A leaf that holds for no value is known at the cost of a look: it settles the whole before any bitmap is made.
        if parts.iter().any(|part| self.is_surely_empty(*part)) {
            return Rows::Empty;
        }
        let mut result: Option<u32> = None;
        for part in parts {
            // `a and not b` takes b's rows away without making the complement.
            let (inner, negated) = match self.plan.rules.graph().node(*part) {
                Node::Not(inner) => (*inner, true),
                _ => (*part, false),
            };
            let rows = self.rows(inner);
            match (rows, negated) {
                (Rows::Empty, false) | (Rows::Full, true) => return Rows::Empty,
                (Rows::Full, false) | (Rows::Empty, true) => {}
                (Rows::Bits(source), _) => match result {
                    None => {
                        let (slot, rows) = (self.take(), self.batch.len());
                        let (bitmap, source) = self.two(slot, source);
                        bitmap.copy_from(source);
                        if negated {
                            bitmap.complement(rows);
                        }
                        result = Some(slot);
                    }
                    Some(slot) => {
                        let (bitmap, source) = self.two(slot, source);
                        if negated {
                            bitmap.and_not(source)
                        } else {
                            bitmap.and(source)
                        }
                        if bitmap.is_empty() {
                            return Rows::Empty;
                        }
                    }
                },
            }
        }
        result.map_or(Rows::Full, |slot| self.settle(slot))
    }

    fn any(&mut self, parts: &[NodeId]) -> Rows {
        let mut result: Option<u32> = None;
        for part in parts {
            match self.rows(*part) {
                Rows::Empty => {}
                Rows::Full => return Rows::Full,
                Rows::Bits(source) => match result {
                    None => {
                        let slot = self.take();
                        let (bitmap, source) = self.two(slot, source);
                        bitmap.copy_from(source);
                        result = Some(slot);
                    }
                    Some(slot) => {
                        let (bitmap, source) = self.two(slot, source);
                        bitmap.or(source);
                    }
                },
            }
        }
        result.map_or(Rows::Empty, Rows::Bits)
    }

    /// Whether a node is a leaf that no value of this batch passes.
    fn is_surely_empty(&mut self, id: NodeId) -> bool {
        if let Some(rows) = self.state.known[id.0 as usize] {
            return rows == Rows::Empty;
        }
        let plan = self.plan;
        let graph = plan.rules.graph();
        let Node::Leaf(leaf) = graph.node(id) else { return false };
        match graph.leaf(*leaf) {
            LeafKind::Field { field, absent: false, .. } => {
                self.evaluate_field(field.index());
                self.state.leaf_codes[leaf.0 as usize].is_empty()
            }
            _ => false,
        }
    }

    /// Finds, for every leaf of a field, the dictionary codes that it holds for.
    fn evaluate_field(&mut self, index: usize) {
        if std::mem::replace(&mut self.state.evaluated[index], true) {
            return;
        }
        let plan = self.plan;
        let Some(matcher) = &plan.fields[index] else { return };
        let column = self.batch.column(matcher.field());
        matcher.expect(column.cardinality());
        let keeps = matcher.is_costly() && self.state.answers.pay(index);
        let State { answers, leaf_codes, touched, scratch, folded, .. } = &mut *self.state;
        for code in 0..column.cardinality() as u32 {
            let value = column.value(code);
            let mut evaluate = |leaves: &mut Vec<LeafId>| matcher.evaluate(plan.rules.graph(), value, folded, leaves);
            let leaves = match value {
                ValueRef::Str(text) if keeps => answers.leaves(index, text, evaluate),
                _ => {
                    scratch.clear();
                    evaluate(scratch);
                    &*scratch
                }
            };
            for leaf in leaves {
                let codes = &mut leaf_codes[leaf.0 as usize];
                if codes.is_empty() {
                    touched.push(*leaf);
                }
                // The same leaf may have been found through several of its patterns.
                if codes.last() != Some(&code) {
                    codes.push(code);
                }
            }
        }
        if keeps {
            self.state.answers.judge(index);
        }
    }

    fn leaf(&mut self, leaf: LeafId) -> Rows {
        let plan = self.plan;
        match plan.rules.graph().leaf(leaf) {
            LeafKind::Field { field, absent, .. } => self.field_leaf(leaf, field.index(), *absent),
            LeafKind::Rows { fields, script, absent } => {
                let columns: Vec<(FieldType, &Column)> =
                    fields.iter().map(|field| (self.batch.field_type(*field), self.batch.column(*field))).collect();
                self.row_leaf(&columns, script, *absent)
            }
        }
    }

    fn field_leaf(&mut self, leaf: LeafId, field: usize, absent: bool) -> Rows {
        self.evaluate_field(field);
        let codes = &self.state.leaf_codes[leaf.0 as usize];
        if codes.is_empty() && !absent {
            return Rows::Empty;
        }
        let column = self.batch.column(eqlipse_batch::FieldId(field as u32));
        if column.is_empty() {
            return if absent { Rows::Full } else { Rows::Empty };
        }
        let slot = self.take();
        let bitmap = &mut self.state.bitmaps[slot as usize];
        if absent {
            bitmap.fill(self.batch.len());
            column.rows().iter().for_each(|row| bitmap.remove(*row));
        } else {
            bitmap.reset(self.batch.len());
        }
        let by_code = &mut self.state.by_code[field];
        by_code.prepare(column);
        for code in &self.state.leaf_codes[leaf.0 as usize] {
            by_code.rows_of(*code).iter().for_each(|row| bitmap.insert(*row));
        }
        self.settle(slot)
    }

    /// An expression over several fields, tried for every row that has any of them.
    fn row_leaf(&mut self, columns: &[(FieldType, &Column)], script: &Script, absent: bool) -> Rows {
        let mut rows: Vec<u32> = columns.iter().flat_map(|(_, column)| column.rows()).copied().collect();
        rows.sort_unstable();
        rows.dedup();
        let slot = self.take();
        let bitmap = &mut self.state.bitmaps[slot as usize];
        if absent {
            bitmap.fill(self.batch.len())
        } else {
            bitmap.reset(self.batch.len())
        }
        for row in rows {
            if holds_for_row(columns, script, row) { bitmap.insert(row) } else { bitmap.remove(row) }
        }
        self.settle(slot)
    }
}

/// Whether the script holds for some combination of the row's values; a missing field is null.
fn holds_for_row(columns: &[(FieldType, &Column)], script: &Script, row: u32) -> bool {
    let codes: Vec<&[u32]> = columns.iter().map(|(_, column)| column.codes_of(row)).collect();
    let combinations = codes.iter().try_fold(1usize, |product, codes| product.checked_mul(codes.len().max(1)));
    let Some(combinations) = combinations.filter(|count| *count <= MAX_COMBINATIONS) else { return false };
    (0..combinations).any(|mut index| {
        let slots: Vec<Scalar<'_>> = columns
            .iter()
            .zip(&codes)
            .map(|((ty, column), codes)| {
                let count = codes.len().max(1);
                let picked = codes.get(index % count);
                index /= count;
                picked.map_or(Scalar::Null, |code| Scalar::of_field(*ty, column.value(*code)))
            })
            .collect();
        script.holds(&slots)
    })
}

impl RowsByCode {
    /// Sorts the column's rows by code, once a batch.
    fn prepare(&mut self, column: &Column) {
        if std::mem::replace(&mut self.ready, true) {
            return;
        }
        self.starts.clear();
        self.starts.resize(column.cardinality() + 1, 0);
        for code in column.codes() {
            self.starts[*code as usize + 1] += 1;
        }
        for index in 1..self.starts.len() {
            self.starts[index] += self.starts[index - 1];
        }
        self.rows.clear();
        self.rows.resize(column.codes().len(), 0);
        let mut next = self.starts.clone();
        for (code, row) in column.codes().iter().zip(column.rows()) {
            let place = &mut next[*code as usize];
            self.rows[*place as usize] = *row;
            *place += 1;
        }
    }

    fn rows_of(&self, code: u32) -> &[u32] {
        &self.rows[self.starts[code as usize] as usize..self.starts[code as usize + 1] as usize]
    }
}
