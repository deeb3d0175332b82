use std::collections::{BTreeMap, BTreeSet};

use eqlipse_batch::{EventBatch, FieldId};

use crate::compile::{INDEX_FIELD, LeafKind, Node, NodeId, Plan, RuleIndex, RuleSet, Stage, StageId};

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

/// What a rule reads a field for; of several purposes, the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A condition asks for a value.
    Condition,
    /// It is part of a join key.
    Key,
    /// It is part of a join key, and an event without it takes part all the same.
    OptionalKey,
    /// Events are put in order by it, or a pipe reads it.
    Order,
    /// A condition denies a value, and nothing else reads the field: without it the rule excludes less.
    Exclusion,
}

impl Purpose {
    /// Its name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Condition => "condition",
            Purpose::Key => "key",
            Purpose::OptionalKey => "optional_key",
            Purpose::Order => "order",
            Purpose::Exclusion => "exclusion",
        }
    }
}

/// A field that a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldNeed {
    /// What for.
    pub purpose: Purpose,
    /// Whether any event had it.
    pub seen: bool,
}

/// What a rule reads, beside its index patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The categories that its filters name, and whether any event that the rule may see was of it.
    pub categories: BTreeMap<String, bool>,
    /// The fields.
    pub fields: BTreeMap<String, FieldNeed>,
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
            *seen = *seen || !batch.column(FieldId(index as u32)).is_empty();
        }
        self.unseen.retain(|gate| !passed(*gate));
    }

    /// Adds what another thread saw.
    pub fn merge(&mut self, other: &Coverage) {
        self.fields.iter_mut().zip(&other.fields).for_each(|(a, b)| *a |= b);
        self.unseen.retain(|gate| other.unseen.contains(gate));
    }

    /// Whether any event had the field.
    pub fn has_field(&self, field: FieldId) -> bool {
        self.fields[field.index()]
    }

    /// The rules that cannot have matched, with what was missing.
    pub fn blind_rules(&self, rules: &RuleSet) -> Vec<(RuleIndex, Vec<Lack>)> {
        let lacks = (0..rules.plans().len() as u32).map(|index| {
            let rule = RuleIndex(index);
            (rule, self.lacks(rules, rule, None))
        });
        lacks.filter(|(_, lacks)| !lacks.is_empty()).collect()
    }

    /// What a rule needs and the data never had, each once; empty if it can have matched. What is `given` counts as if
    /// the data had had it.
    pub fn lacks(&self, rules: &RuleSet, rule: RuleIndex, given: Option<&Lack>) -> Vec<Lack> {
        let stages = needed(&rules.plans()[rule.0 as usize].plan).into_iter();
        let lacks = stages.flat_map(|id| self.stage_lacks(rules, &rules.stages()[id.0 as usize], given));
        lacks.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What a rule reads, whether it can match without it or not.
    pub fn needs(&self, rules: &RuleSet, rule: RuleIndex) -> Needs {
        let mut needs = Needs::default();
        for stage in rules.stages().iter().filter(|stage| stage.rule == rule) {
            if let Some(category) = &stage.category {
                needs.categories.insert(category.clone(), !self.unseen.contains(&stage.category_gate));
            }
            for (field, purpose) in stage_fields(rules, stage) {
                self.need(rules, field, purpose, &mut needs);
            }
        }
        let plan = &rules.plans()[rule.0 as usize];
        let order = [plan.order.timestamp, plan.order.tiebreaker];
        for field in order.into_iter().flatten().chain(plan.pipes.carried.iter().copied()) {
            self.need(rules, field, Purpose::Order, &mut needs);
        }
        needs
    }

    fn need(&self, rules: &RuleSet, field: FieldId, purpose: Purpose, needs: &mut Needs) {
        let name = &rules.schema().field(field).name;
        if name != INDEX_FIELD {
            let fresh = FieldNeed { purpose, seen: self.has_field(field) };
            let known = needs.fields.entry(name.clone()).or_insert(fresh);
            known.purpose = known.purpose.min(purpose);
        }
    }

    fn stage_lacks(&self, rules: &RuleSet, stage: &Stage, given: Option<&Lack>) -> Vec<Lack> {
        let left = |lack: &Lack| given != Some(lack);
        if self.unseen.contains(&stage.index_gate) {
            return [Lack::Index].into_iter().filter(left).collect();
        }
        if self.unseen.contains(&stage.category_gate) {
            return stage.category.iter().cloned().map(Lack::Category).filter(left).collect();
        }
        let name = |field: FieldId| rules.schema().field(field).name.clone();
        let has = |field: FieldId| {
            self.has_field(field) || matches!(given, Some(Lack::Field(given)) if *given == name(field))
        };
        let keys = stage.keys.iter().filter(|key| !key.optional && !has(key.field)).map(|key| name(key.field));
        let fields = missing_fields(rules, stage.node, &has).err().unwrap_or_default();
        fields.into_iter().chain(keys).map(Lack::Field).collect()
    }
}

/// The fields without which a condition cannot hold, given those that there are; `Ok` if it can.
fn missing_fields(rules: &RuleSet, id: NodeId, has: &dyn Fn(FieldId) -> bool) -> Result<(), BTreeSet<String>> {
    match rules.graph().node(id) {
        Node::Constant(_) | Node::Not(_) => Ok(()),
        Node::Leaf(leaf) => match rules.graph().leaf(*leaf) {
            LeafKind::Field { field, absent: false, .. } if !has(*field) => {
                Err([rules.schema().field(*field).name.clone()].into())
            }
            _ => Ok(()),
        },
        Node::And(parts) => {
            let missing: BTreeSet<String> =
                parts.iter().filter_map(|part| missing_fields(rules, *part, has).err()).flatten().collect();
            if missing.is_empty() { Ok(()) } else { Err(missing) }
        }
        Node::Or(parts) => {
            let missing: Vec<_> = parts.iter().map(|part| missing_fields(rules, *part, has)).collect();
            if missing.iter().any(Result::is_ok) {
                return Ok(());
            }
            Err(missing.into_iter().filter_map(Result::err).flatten().collect())
        }
    }
}

/// The fields that a stage reads; one that it reads several times stands several times.
fn stage_fields(rules: &RuleSet, stage: &Stage) -> Vec<(FieldId, Purpose)> {
    let mut fields = Vec::new();
    condition_fields(rules, stage.node, Purpose::Condition, &mut fields);
    let key = |optional| if optional { Purpose::OptionalKey } else { Purpose::Key };
    fields.extend(stage.keys.iter().map(|join| (join.field, key(join.optional))));
    fields
}

fn condition_fields(rules: &RuleSet, id: NodeId, purpose: Purpose, fields: &mut Vec<(FieldId, Purpose)>) {
    match rules.graph().node(id) {
        Node::Constant(_) => {}
        Node::Leaf(leaf) => match rules.graph().leaf(*leaf) {
            LeafKind::Field { field, .. } => fields.push((*field, purpose)),
            LeafKind::Rows { fields: read, .. } => fields.extend(read.iter().map(|field| (*field, purpose))),
        },
        // What is denied has been lowered down to the leaves: below a `not` there is no other.
        Node::Not(inner) => condition_fields(rules, *inner, Purpose::Exclusion, fields),
        Node::And(parts) | Node::Or(parts) => {
            parts.iter().for_each(|part| condition_fields(rules, *part, purpose, fields));
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
