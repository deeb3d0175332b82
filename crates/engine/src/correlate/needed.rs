//! Which rows something can still come of: a semi-join, before rows are put in order.
//!
//! A rule one of whose steps no event passed cannot fire, and of the others only those keys can that have a hit for each
//! step. Most rules ask for something rare after something common, so this leaves little of the common.

use super::kept::StageRow;
use crate::compile::{Plan, RulePlan, RuleSet, SelectionId};

/// The rows of a selection that are needed.
pub(super) enum NeededRows {
    None,
    /// By row.
    Some(Vec<bool>),
    All,
}

impl NeededRows {
    pub(super) fn has(&self, row: usize) -> bool {
        match self {
            Self::None => false,
            Self::Some(rows) => rows[row],
            Self::All => true,
        }
    }
}

/// The selections of each rule.
pub(super) struct RuleSelections {
    /// Those of the steps that must be there; each has to have a row.
    required: Vec<SelectionId>,
    all: Vec<SelectionId>,
}

impl RuleSelections {
    pub(super) fn of_rules(rules: &RuleSet) -> Vec<Self> {
        let mut of_rules: Vec<Self> =
            rules.plans().iter().map(|plan| Self { required: required(rules, plan), all: Vec::new() }).collect();
        for (stage, id) in rules.stages().iter().zip(0..) {
            of_rules[stage.rule.0 as usize].all.push(rules.selections.of(crate::compile::StageId(id)));
        }
        for rule in &mut of_rules {
            sort_unique(&mut rule.required);
            sort_unique(&mut rule.all);
        }
        of_rules
    }

    /// Whether every step has a row at all.
    pub(super) fn may_fire(&self, has_rows: impl Fn(SelectionId) -> bool) -> bool {
        self.required.iter().all(|selection| has_rows(*selection))
    }

    /// Those of the steps that must be there.
    pub(super) fn required(&self) -> &[SelectionId] {
        &self.required
    }

    pub(super) fn all(&self) -> &[SelectionId] {
        &self.all
    }
}

fn sort_unique(selections: &mut Vec<SelectionId>) {
    selections.sort_unstable();
    selections.dedup();
}

fn required(rules: &RuleSet, plan: &RulePlan) -> Vec<SelectionId> {
    let of = |stage| rules.selections.of(stage);
    match &plan.plan {
        Plan::Event(stage) => vec![of(*stage)],
        Plan::Sequence(sequence) => {
            sequence.steps.iter().filter(|step| !step.negated).map(|step| of(step.stage)).collect()
        }
        Plan::Sample(items) => items.iter().map(|stage| of(*stage)).collect(),
    }
}

/// The needed rows by selection, of the rules that may fire. Keys are numbered below `keys`.
pub(super) fn needed_rows(
    rules: &RuleSet,
    of_rules: &[RuleSelections],
    rows: &[Vec<StageRow>],
    keys: usize,
) -> Vec<NeededRows> {
    let mut needed: Vec<NeededRows> = rows.iter().map(|_| NeededRows::None).collect();
    let mut complete = CompleteKeys { seen: vec![0; keys], base: 1 };
    for (selections, plan) in of_rules.iter().zip(rules.plans()) {
        if !selections.may_fire(|selection| !rows[selection.0 as usize].is_empty()) {
            continue;
        }
        let has_keys = !matches!(plan.plan, Plan::Event(_)) && plan.relations.is_none();
        let is_complete =
            (has_keys && !selections.required.is_empty()).then(|| complete.of(&selections.required, rows));
        for selection in &selections.all {
            let (needed, rows) = (&mut needed[selection.0 as usize], &rows[selection.0 as usize]);
            match is_complete {
                None => *needed = NeededRows::All,
                Some(last) => mark(needed, rows, |row| complete.seen[row.key.0 as usize] == last),
            }
        }
    }
    needed
}

fn mark(needed: &mut NeededRows, rows: &[StageRow], is_needed: impl Fn(&StageRow) -> bool) {
    match needed {
        NeededRows::All => {}
        NeededRows::None => *needed = NeededRows::Some(rows.iter().map(is_needed).collect()),
        NeededRows::Some(known) => {
            known.iter_mut().zip(rows).for_each(|(known, row)| *known |= is_needed(row));
        }
    }
}

/// Finds the keys that have a row in each of some selections.
struct CompleteKeys {
    /// By key: the mark of the last selection that had it, if all before did.
    seen: Vec<u32>,
    /// The next mark; marks are never used again, so that `seen` need not be cleared.
    base: u32,
}

impl CompleteKeys {
    /// The mark of the keys that all of the selections have.
    fn of(&mut self, selections: &[SelectionId], rows: &[Vec<StageRow>]) -> u32 {
        let mut by_size: Vec<&[StageRow]> = selections.iter().map(|id| rows[id.0 as usize].as_slice()).collect();
        by_size.sort_by_key(|rows| rows.len());
        for (place, rows) in by_size.iter().enumerate() {
            let mark = self.base + place as u32;
            for row in *rows {
                let seen = &mut self.seen[row.key.0 as usize];
                if place == 0 || *seen == mark - 1 {
                    *seen = mark;
                }
            }
        }
        self.base += by_size.len() as u32;
        self.base - 1
    }
}
