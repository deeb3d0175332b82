//! Relations between processes: `child of […]`, `descendant of […]`, `event of […]`.
//!
//! Whether a relation holds depends on the events before, so it cannot be part of the graph. A filter with relations is
//! compiled once for each way in which they may come out, each a stage of its own that nobody sees; correlation replays
//! the starts and ends of processes and tells which way it was for each event.

use eqlipse_eql::ast::{EventFilter, Expr, ExprKind, Field, Literal, Relation, Span};

use super::rule_set::{CompileError, StageId};

/// The most different relations in one filter; each doubles the ways in which they may come out.
pub const MAX_RELATIONS: usize = 4;

/// How the starts and ends of processes are told, and what identifies a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvents {
    /// The field of the process's id.
    pub id_field: String,
    /// The field of its parent's id.
    pub parent_field: String,
    /// The event query that starts match.
    pub start: String,
    /// The event query that ends match.
    pub end: String,
}

/// Those of ECS.
impl Default for ProcessEvents {
    fn default() -> Self {
        Self {
            id_field: "process.entity_id".to_owned(),
            parent_field: "process.parent.entity_id".to_owned(),
            start: r#"process where event.type == "start""#.to_owned(),
            end: r#"process where event.type == "end""#.to_owned(),
        }
    }
}

/// The relations of one rule. Rows of all stages here but the candidates' are keyed by process ids.
#[derive(Clone, Debug)]
pub struct Relations {
    /// Starts, by the id of the process.
    pub(crate) starts: StageId,
    /// Starts, by the id of its parent.
    pub(crate) starts_by_parent: StageId,
    /// Ends.
    pub(crate) ends: StageId,
    /// The relations, each after those inside it.
    pub(crate) all: Vec<RelationPlan>,
    /// The filters that ask for relations.
    pub(crate) filters: Vec<RelatedFilter>,
    /// The relations as written, to find equal ones.
    written: Vec<Expr>,
}

/// A relation of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelationPlan {
    pub(crate) relation: Relation,
    /// The events that make their process one to which others relate.
    pub(crate) source: StageId,
}

/// A filter with relations.
#[derive(Clone, Debug)]
pub(crate) struct RelatedFilter {
    /// The events that pass if the relations come out in some way: the stage that the plan or a relation names.
    pub(crate) candidates: StageId,
    /// The same by process id.
    pub(crate) by_process: StageId,
    /// The relations that it asks for, by their place in [`Relations::all`].
    pub(crate) asks: Vec<usize>,
    /// The events that pass if just the relations hold whose bits are set in the index.
    pub(crate) variants: Vec<StageId>,
}

impl Relations {
    pub(super) fn new(starts: StageId, starts_by_parent: StageId, ends: StageId) -> Self {
        Self { starts, starts_by_parent, ends, all: Vec::new(), filters: Vec::new(), written: Vec::new() }
    }

    /// The place of a relation that was added.
    pub(super) fn find(&self, relation: &Expr) -> Option<usize> {
        self.written.iter().position(|written| written.eq_ignoring_spans(relation))
    }

    /// Adds a relation.
    pub(super) fn add(&mut self, relation: &Expr, plan: RelationPlan) -> usize {
        self.written.push(relation.clone());
        self.all.push(plan);
        self.all.len() - 1
    }
}

/// The different relations that a condition asks for, in the order written.
///
/// # Errors
/// If one stands where it is not a condition by itself, or there are too many.
pub(super) fn asked(condition: &Expr) -> Result<Vec<&Expr>, CompileError> {
    let mut asked = Vec::new();
    collect(condition, true, &mut asked)?;
    if asked.len() > MAX_RELATIONS {
        return Err(CompileError::TooManyRelations { span: condition.span });
    }
    Ok(asked)
}

fn collect<'e>(expr: &'e Expr, upper: bool, asked: &mut Vec<&'e Expr>) -> Result<(), CompileError> {
    let upper = match &expr.kind {
        ExprKind::Relation { .. } if !upper => return Err(CompileError::RelationInside { span: expr.span }),
        ExprKind::Relation { .. } => {
            if !asked.iter().any(|known| known.eq_ignoring_spans(expr)) {
                asked.push(expr);
            }
            return Ok(());
        }
        ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Not(_) => upper,
        _ => false,
    };
    expr.children().into_iter().try_for_each(|child| collect(child, upper, asked))
}

/// The condition where of the relations `asked` just those hold whose bits are set in `truths`.
pub(super) fn assume(condition: &Expr, asked: &[&Expr], truths: usize) -> Expr {
    let mut condition = condition.clone();
    replace(&mut condition, asked, truths);
    condition
}

fn replace(expr: &mut Expr, asked: &[&Expr], truths: usize) {
    if matches!(expr.kind, ExprKind::Relation { .. }) {
        let place = asked.iter().position(|known| known.eq_ignoring_spans(expr));
        let holds = place.is_some_and(|place| truths & (1 << place) != 0);
        expr.kind = ExprKind::Literal(Literal::Boolean(holds));
        return;
    }
    expr.children_mut().into_iter().for_each(|child| replace(child, asked, truths));
}

/// A filter of the same category with another condition.
pub(super) fn with_condition(filter: &EventFilter, condition: Expr) -> EventFilter {
    EventFilter { category: filter.category.clone(), condition, span: filter.span }
}

/// A join key of one field.
pub(super) fn key(name: &str) -> Field {
    Field { name: name.to_owned(), optional: false, span: Span::default() }
}
