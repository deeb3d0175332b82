use std::sync::Arc;

use eqlipse_batch::{FieldId, Schema, SchemaBuilder};
use eqlipse_ecs::FieldType;
use eqlipse_eql::Diagnostic;
use eqlipse_eql::ast::{Body, EventFilter, Expr, ExprKind, JoinKey, Query, Sample, Sequence, SequenceItem, Span};
use thiserror::Error;

use super::graph::{Graph, NodeId};
use super::lower::Lowering;
use super::pipes::{self, Pipes};
use super::relations::{self, MAX_RELATIONS, ProcessEvents, RelatedFilter, RelationPlan, Relations};
use super::selections::Selections;
use crate::text::RegexError;

/// A rule's number in its [`RuleSet`], in the order in which rules were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u32);

/// A stage's number in its [`RuleSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(pub u32);

/// Looks a field's type up by its dotted name; `None` for a field that takes the type of each value.
pub type FieldTypes = dyn Fn(&str) -> Option<FieldType> + Send + Sync;

/// How a rule set is compiled.
pub struct CompileOptions {
    /// Let every rule see every event, whatever its index patterns say.
    pub any_index: bool,
    /// The types of fields.
    pub field_types: Box<FieldTypes>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { any_index: false, field_types: Box::new(eqlipse_ecs::field_type) }
    }
}

/// What a rule says beside its query.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Index patterns; none for every index.
    pub index: Vec<String>,
    /// The field that holds the category; `event.category` if absent.
    pub category_field: Option<String>,
    /// The field that orders events; the events' own order if absent.
    pub timestamp_field: Option<String>,
    /// The field that orders events of one time; the events' own if absent.
    pub tiebreaker_field: Option<String>,
    /// How relations tell the starts and ends of processes.
    pub processes: ProcessEvents,
}

/// Why a query cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompileError {
    /// A pattern that is no regular expression, or beyond a limit.
    #[error("{error}")]
    Regex {
        /// Where the pattern stands in the query.
        span: Span,
        /// What is wrong.
        error: RegexError,
    },
    /// A relation that is an operand of something else than `and`, `or` and `not`.
    #[error("a relation is a condition by itself, not a value")]
    RelationInside {
        /// Where it stands.
        span: Span,
    },
    /// More than [`MAX_RELATIONS`] different relations in one filter.
    #[error("a filter may ask for {MAX_RELATIONS} different relations at most")]
    TooManyRelations {
        /// Where the condition stands.
        span: Span,
    },
    /// [`ProcessEvents`] whose queries are no event queries.
    #[error("{query:?} is no event query: {message}")]
    ProcessEvents {
        /// The query.
        query: String,
        /// What is wrong.
        message: String,
    },
}

impl CompileError {
    /// The same as the checker would say it.
    pub fn diagnostic(&self) -> Diagnostic {
        let (code, span) = match self {
            Self::Regex { span, .. } => ("invalid-regex", *span),
            Self::RelationInside { span } => ("relation-operand", *span),
            Self::TooManyRelations { span } => ("too-many-relations", *span),
            Self::ProcessEvents { .. } => ("process-events", Span::default()),
        };
        Diagnostic::error(code, span, self.to_string())
    }
}

/// One filter of one rule: the event of an event query, an item of a sequence or sample, an `until`.
#[derive(Debug)]
pub struct Stage {
    /// The rule it belongs to.
    pub rule: RuleIndex,
    /// Which events match, index patterns included.
    pub node: NodeId,
    /// The join key.
    pub keys: Vec<JoinField>,
    /// The events that the rule may see at all.
    pub(crate) index_gate: NodeId,
    /// Those of them in the filter's category.
    pub(crate) category_gate: NodeId,
    /// The category, where the filter names one.
    pub(crate) category: Option<String>,
    /// Whether its events may be in what the rule finds; others are only looked at.
    pub(crate) shown: bool,
}

/// A field of a join key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinField {
    /// The field.
    pub field: FieldId,
    /// Whether an event without it has the key null rather than none.
    pub optional: bool,
}

/// What orders a rule's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleOrder {
    /// The time, where it is not the events' own.
    pub timestamp: Option<FieldId>,
    /// The tiebreaker, where it is not the events' own.
    pub tiebreaker: Option<FieldId>,
}

/// How a rule correlates the rows that its stages match.
#[derive(Debug)]
pub struct RulePlan {
    /// What is done.
    pub plan: Plan,
    /// What orders its events.
    pub order: RuleOrder,
    /// What becomes of what it finds.
    pub pipes: Pipes,
    /// The relations between processes that its filters ask for.
    pub relations: Option<Relations>,
}

impl RulePlan {
    /// Whether values of each matched event are kept for this rule alone.
    pub(crate) fn has_own_values(&self) -> bool {
        self.order != RuleOrder::default() || !self.pipes.carried.is_empty()
    }

    /// Whether what its stages match must stay in memory: its events are detections themselves, or it asks for more of
    /// them than their places in time, or for events of other keys.
    pub(crate) fn stays_in_memory(&self) -> bool {
        self.has_own_values() || self.relations.is_some() || matches!(self.plan, Plan::Event(_))
    }
}

/// The kinds of correlation.
#[derive(Debug)]
pub enum Plan {
    /// Each matched event by itself.
    Event(StageId),
    /// A sequence.
    Sequence(SequencePlan),
    /// A sample: one event of each stage.
    Sample(Vec<StageId>),
}

/// A sequence with its runs expanded.
#[derive(Debug)]
pub struct SequencePlan {
    /// The items in order.
    pub steps: Vec<Step>,
    /// The item that ends partial sequences.
    pub until: Option<StageId>,
    /// The most that the last event may be later than the first, in nanoseconds.
    pub maxspan: Option<i64>,
}

/// An item of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The filter.
    pub stage: StageId,
    /// Whether an event must be absent.
    pub negated: bool,
}

/// Rules compiled together: one graph, one schema, a plan for each rule.
#[derive(Debug)]
pub struct RuleSet {
    pub(crate) graph: Graph,
    pub(crate) schema: Arc<Schema>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) plans: Vec<RulePlan>,
    pub(crate) selections: Selections,
}

impl RuleSet {
    /// The fields that the rules read, and those that were added to the builder's schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The conditions of all stages.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// All stages, by [`StageId`].
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Whether a row of this stage is a detection by itself: the rule is an event query.
    pub fn fires_alone(&self, stage: StageId) -> bool {
        let plan = &self.plans[self.stages[stage.0 as usize].rule.0 as usize];
        matches!(plan.plan, Plan::Event(_)) && plan.relations.is_none()
    }

    /// All plans, by [`RuleIndex`].
    pub fn plans(&self) -> &[RulePlan] {
        &self.plans
    }
}

/// Collects rules into a [`RuleSet`].
pub struct RuleSetBuilder {
    any_index: bool,
    types: Arc<FieldTypes>,
    graph: Graph,
    schema: SchemaBuilder,
    stages: Vec<Stage>,
    plans: Vec<RulePlan>,
    /// The relations of the rule that is being added.
    relations: Option<Relations>,
}

impl RuleSetBuilder {
    /// A builder without rules.
    pub fn new(options: CompileOptions) -> Self {
        Self {
            any_index: options.any_index,
            types: options.field_types.into(),
            graph: Graph::default(),
            schema: Schema::builder(),
            stages: Vec::new(),
            plans: Vec::new(),
            relations: None,
        }
    }

    /// Makes room for that many rules, so that their plans need not move while rules are added.
    pub fn reserve(&mut self, rules: usize) {
        self.plans.reserve(rules);
        self.stages.reserve(rules);
    }

    /// The schema so far, to which a caller adds the fields that it needs itself.
    pub fn schema_mut(&mut self) -> &mut SchemaBuilder {
        &mut self.schema
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// If the query cannot be compiled; the builder then stays as if it had not been added.
    pub fn add(&mut self, query: &Query, scope: &Scope) -> Result<RuleIndex, CompileError> {
        let stages_before = self.stages.len();
        let rule = RuleIndex(self.plans.len() as u32);
        match self.plan(rule, query, scope) {
            Ok(plan) => {
                self.plans.push(plan);
                Ok(rule)
            }
            Err(error) => {
                self.stages.truncate(stages_before);
                Err(error)
            }
        }
    }

    fn lowering(&mut self) -> Lowering<'_> {
        Lowering { graph: &mut self.graph, schema: &mut self.schema, types: &*self.types }
    }

    fn plan(&mut self, rule: RuleIndex, query: &Query, scope: &Scope) -> Result<RulePlan, CompileError> {
        let no_index: &[String] = &[];
        let patterns = if self.any_index { no_index } else { &scope.index };
        let index_gate = self.lowering().index_gate(patterns);
        let category_field = scope.category_field.as_deref().unwrap_or("event.category");
        let at = Place { rule, index_gate, category_field, processes: &scope.processes };
        self.relations = None;
        let plan = match &query.body {
            Body::Event(filter) => Plan::Event(self.stage(&at, filter, &[])?),
            Body::Sequence(sequence) => Plan::Sequence(self.sequence(&at, sequence)?),
            Body::Sample(sample) => Plan::Sample(self.sample(&at, sample)?),
        };
        let mut column = |name: &Option<String>| name.as_ref().map(|name| self.lowering().field(name).0);
        let order =
            RuleOrder { timestamp: column(&scope.timestamp_field), tiebreaker: column(&scope.tiebreaker_field) };
        let pipes = pipes::lower(&query.pipes, &self.types, &mut self.schema)?;
        Ok(RulePlan { plan, order, pipes, relations: self.relations.take() })
    }

    fn stage(&mut self, at: &Place<'_>, filter: &EventFilter, keys: &[JoinKey]) -> Result<StageId, CompileError> {
        self.stage_with_relations(at, filter, keys, true)
    }

    fn stage_with_relations(
        &mut self,
        at: &Place<'_>,
        filter: &EventFilter,
        keys: &[JoinKey],
        shown: bool,
    ) -> Result<StageId, CompileError> {
        let asked = relations::asked(&filter.condition)?;
        if asked.is_empty() {
            return self.plain_stage(at, filter, keys, shown);
        }
        let asks = asked.iter().map(|relation| self.relation(at, relation)).collect::<Result<Vec<_>, _>>()?;
        let variants = (0..1 << asked.len()).map(|truths| relations::assume(&filter.condition, &asked, truths));
        let variants: Vec<Expr> = variants.collect();
        let any = Expr { kind: ExprKind::Or(variants.clone()), span: filter.condition.span };
        let any = relations::with_condition(filter, any);
        let candidates = self.plain_stage(at, &any, keys, shown)?;
        let by_process = self.plain_stage(at, &any, &[relations::key(&at.processes.id_field)], false)?;
        let variants = variants
            .into_iter()
            .map(|variant| self.plain_stage(at, &relations::with_condition(filter, variant), &[], false))
            .collect::<Result<Vec<_>, _>>()?;
        let related = RelatedFilter { candidates, by_process, asks, variants };
        self.relations(at)?.filters.push(related);
        Ok(candidates)
    }

    /// The place of a relation among those of the rule, to which it is added where it is not there yet.
    fn relation(&mut self, at: &Place<'_>, expr: &Expr) -> Result<usize, CompileError> {
        let ExprKind::Relation { relation, filter } = &expr.kind else {
            return Err(CompileError::RelationInside { span: expr.span });
        };
        if let Some(place) = self.relations(at)?.find(expr) {
            return Ok(place);
        }
        let source = self.stage_with_relations(at, filter, &[relations::key(&at.processes.id_field)], false)?;
        Ok(self.relations(at)?.add(expr, RelationPlan { relation: *relation, source }))
    }

    /// The relations of the rule that is being added.
    fn relations(&mut self, at: &Place<'_>) -> Result<&mut Relations, CompileError> {
        let relations = match self.relations.take() {
            Some(relations) => relations,
            None => {
                let ProcessEvents { id_field, parent_field, start, end } = at.processes;
                let mut stage = |query: &str, key: &str| {
                    let filter = event_filter(query)?;
                    self.plain_stage(at, &filter, &[relations::key(key)], false)
                };
                let (starts, starts_by_parent) = (stage(start, id_field)?, stage(start, parent_field)?);
                Relations::new(starts, starts_by_parent, stage(end, id_field)?)
            }
        };
        Ok(self.relations.insert(relations))
    }

    fn plain_stage(
        &mut self,
        at: &Place<'_>,
        filter: &EventFilter,
        keys: &[JoinKey],
        shown: bool,
    ) -> Result<StageId, CompileError> {
        let mut lowering = self.lowering();
        let condition = lowering.filter(filter, at.category_field)?;
        let category = lowering.category(filter, at.category_field);
        let keys = keys.iter().map(|key| JoinField { field: lowering.field(&key.name).0, optional: key.optional });
        let keys = keys.collect();
        let stage = Stage {
            rule: at.rule,
            node: self.graph.and(vec![at.index_gate, condition]),
            keys,
            index_gate: at.index_gate,
            category_gate: self.graph.and(vec![at.index_gate, category]),
            category: filter.category.clone(),
            shown,
        };
        self.stages.push(stage);
        Ok(StageId(self.stages.len() as u32 - 1))
    }

    fn sequence(&mut self, at: &Place<'_>, sequence: &Sequence) -> Result<SequencePlan, CompileError> {
        let mut steps = Vec::new();
        for item in &sequence.items {
            let SequenceItem { filter, negated, keys, runs, .. } = item;
            let step = Step { stage: self.stage(at, filter, keys)?, negated: *negated };
            steps.extend((0..*runs).map(|_| step));
        }
        let until = match &sequence.until {
            Some(item) => Some(self.stage(at, &item.filter, &item.keys)?),
            None => None,
        };
        Ok(SequencePlan { steps, until, maxspan: sequence.maxspan })
    }

    fn sample(&mut self, at: &Place<'_>, sample: &Sample) -> Result<Vec<StageId>, CompileError> {
        sample.items.iter().map(|item| self.stage(at, &item.filter, &item.keys)).collect()
    }

    /// Finishes the rule set.
    pub fn build(self) -> RuleSet {
        let selections = Selections::new(&self.stages, &self.plans);
        RuleSet { graph: self.graph, schema: self.schema.build(), stages: self.stages, plans: self.plans, selections }
    }
}

/// What the stages of one rule share.
struct Place<'a> {
    rule: RuleIndex,
    index_gate: NodeId,
    category_field: &'a str,
    processes: &'a ProcessEvents,
}

fn event_filter(query: &str) -> Result<EventFilter, CompileError> {
    let fault = |message: String| CompileError::ProcessEvents { query: query.to_owned(), message };
    match eqlipse_eql::parse(query) {
        Ok(Query { body: Body::Event(filter), pipes }) if pipes.is_empty() => Ok(filter),
        Ok(_) => Err(fault("it has several events or pipes".to_owned())),
        Err(errors) => Err(fault(errors.first().map(|error| error.message.clone()).unwrap_or_default())),
    }
}
