use std::collections::BTreeSet;

use eqlipse_batch::EventBatch;

use crate::compile::{LeafKind, Node, NodeId, Plan, RuleIndex, RuleSet, Stage, StageId};

/// Something that a rule needs and the data never had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// No event that the rule's index patterns select.
    Index,
    /// No event of this category among those.
    Category(String),
    /// A field that a necessary condition reads.
    Field(String),
}

/// What the data had, so far, of what rules need: which fields, and which stages' index and category ever occurred.
#[derive(Clone, Debug)]
pub struct Coverage {
    fields: Vec<bool>,
    /// Gates that no event has passed yet.
    unseen: BTreeSet<NodeId>,
}

impl Coverage {
    /// Nothing seen yet.
    pub fn new(rules: &RuleSet) -> Self {
        let gates = rules.stages().iter().flat_map(|stage| [stage.index_gate, stage.category_gate]);
        Self { fields: vec![false; rules.schema().fields().len()], unseen: gates.collect() }
    }

    pub(super) fn note(&mut self, batch: &EventBatch, mut passed: impl FnMut(NodeId) -> bool) {
        for (index, seen) in self.fields.iter_mut().enumerate() {
            *seen = *seen || !batch.column(eqlipse_batch::FieldId(index as u32)).is_empty();
        }
        self.unseen.retain(|gate| !passed(*gate));
    }

    /// Adds what another thread saw.
    pub fn merge(&mut self, other: &Coverage) {
        self.fields.iter_mut().zip(&other.fields).for_each(|(a, b)| *a |= b);
        self.unseen.retain(|gate| other.unseen.contains(gate));
    }

    /// Whether any event had the field.
    pub fn has_field(&self, field: eqlipse_batch::FieldId) -> bool {
        self.fields[field.index()]
    }

    /// The rules that cannot have matched, with what was missing.
    pub fn blind_rules(&self, rules: &RuleSet) -> Vec<(RuleIndex, Vec<Lack>)> {
        let lacks = rules.plans().iter().enumerate().map(|(index, rule)| {
            let lacks = needed(&rule.plan).into_iter().flat_map(|id| self.lacks(rules, &rules.stages()[id.0 as usize]));
            (RuleIndex(index as u32), lacks.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())
        });
        lacks.filter(|(_, lacks)| !lacks.is_empty()).collect()
    }

    fn lacks(&self, rules: &RuleSet, stage: &Stage) -> Vec<Lack> {
        if self.unseen.contains(&stage.index_gate) {
            return vec![Lack::Index];
        }
        if self.unseen.contains(&stage.category_gate) {
            return stage.category.iter().cloned().map(Lack::Category).collect();
        }
        let keys = stage.keys.iter().filter(|key| !key.optional && !self.has_field(key.field));
        let keys = keys.map(|key| rules.schema().field(key.field).name.clone());
        let fields = self.missing_fields(rules, stage.node).err().unwrap_or_default();
        fields.into_iter().chain(keys).map(Lack::Field).collect()
    }

    /// The fields without which a condition cannot hold; `Ok` if it can.
    fn missing_fields(&self, rules: &RuleSet, id: NodeId) -> Result<(), BTreeSet<String>> {
        match rules.graph().node(id) {
            Node::Constant(_) | Node::Not(_) => Ok(()),
            Node::Leaf(leaf) => match rules.graph().leaf(*leaf) {
                LeafKind::Field { field, absent: false, .. } if !self.has_field(*field) => {
                    Err([rules.schema().field(*field).name.clone()].into())
                }
                _ => Ok(()),
            },
            Node::And(parts) => {
                let missing: BTreeSet<String> =
                    parts.iter().filter_map(|part| self.missing_fields(rules, *part).err()).flatten().collect();
                if missing.is_empty() { Ok(()) } else { Err(missing) }
            }
            Node::Or(parts) => {
                let missing: Vec<_> = parts.iter().map(|part| self.missing_fields(rules, *part)).collect();
                if missing.iter().any(Result::is_ok) {
                    return Ok(());
                }
                Err(missing.into_iter().filter_map(Result::err).flatten().collect())
            }
        }
    }
}

/// The stages without a match of which a rule cannot fire.
fn needed(plan: &Plan) -> Vec<StageId> {
    match plan {
        Plan::Event(stage) => vec![*stage],
        Plan::Sequence(sequence) => {
            let mut stages: Vec<StageId> =
                sequence.steps.iter().filter(|step| !step.negated).map(|step| step.stage).collect();
            stages.dedup();
            stages
        }
        Plan::Sample(stages) => stages.clone(),
    }
}
