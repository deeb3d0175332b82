//! Stages that ask for the same rows with the same join key, whatever rule they belong to: their rows are kept once.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::graph::NodeId;
use super::rule_set::{JoinField, RuleIndex, RulePlan, Stage, StageId};

/// A selection's number in its [`Selections`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SelectionId(pub(crate) u32);

/// What the stages of a selection have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// The place of its join key in [`Selections::keys`].
    pub(crate) key: usize,
    /// Whether its rows must stay in memory; see [`RulePlan::stays_in_memory`].
    pub(crate) stays: bool,
}

/// The selections of a rule set.
#[derive(Debug, Default)]
pub(crate) struct Selections {
    /// By stage.
    of_stage: Vec<SelectionId>,
    pub(crate) all: Vec<Selection>,
    /// All different join keys.
    pub(crate) keys: Vec<Vec<JoinField>>,
}

/// What makes two stages one selection.
type Sameness = (NodeId, usize, bool, Option<RuleIndex>, bool);

impl Selections {
    pub(super) fn new(stages: &[Stage], plans: &[RulePlan]) -> Self {
        let mut selections = Self::default();
        let mut known: HashMap<Sameness, SelectionId, RandomState> = HashMap::default();
        for stage in stages {
            let plan = &plans[stage.rule.0 as usize];
            let is_own = plan.has_own_values() || plan.relations.is_some();
            let stays = plan.stays_in_memory();
            let key = selections.key(&stage.keys);
            let sameness = (stage.node, key, stage.shown, is_own.then_some(stage.rule), stays);
            let id = *known.entry(sameness).or_insert_with(|| {
                selections.all.push(Selection { key, stays });
                SelectionId(selections.all.len() as u32 - 1)
            });
            selections.of_stage.push(id);
        }
        selections
    }

    fn key(&mut self, fields: &[JoinField]) -> usize {
        self.keys.iter().position(|known| known == fields).unwrap_or_else(|| {
            self.keys.push(fields.to_vec());
            self.keys.len() - 1
        })
    }

    pub(crate) fn of(&self, stage: StageId) -> SelectionId {
        self.of_stage[stage.0 as usize]
    }
}
