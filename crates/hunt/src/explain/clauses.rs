//! Taking the filters of a query apart: each clause becomes a query of its own in the same rule set, so that one pass of
//! the engine tells which events pass which clause.

use eqlipse_engine::compile::Plan;
use eqlipse_engine::{CompileError, RuleIndex, RuleSet, RuleSetBuilder, Scope, StageId};
use eqlipse_eql::ast::{Body, EventFilter, Expr, ExprKind, Function, JoinKey, Literal, Query, Span};
use eqlipse_eql::visit::expression_fields;

use super::model::{ClauseKind, Role};

/// The most clauses that are told apart; beyond it, operands and patterns are not counted by themselves.
pub const MAX_CLAUSES: usize = 4096;

/// A stage of the query and its clauses.
pub(super) struct PlannedStage {
    pub role: Role,
    pub runs: u32,
    pub text: String,
    pub category: Option<String>,
    pub keys: Vec<String>,
    /// All of them must hold.
    pub clauses: Vec<Planned>,
}

/// A clause and its place in the rule set.
pub(super) struct Planned {
    pub id: usize,
    pub kind: ClauseKind,
    pub text: String,
    pub fields: Vec<String>,
    pub children: Vec<Planned>,
}

/// Takes a query apart.
pub(super) struct Planner<'a> {
    builder: &'a mut RuleSetBuilder,
    scope: &'a Scope,
    /// By clause id: the rule that asks for it.
    pub rules: Vec<RuleIndex>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(builder: &'a mut RuleSetBuilder, scope: &'a Scope) -> Self {
        Self { builder, scope, rules: Vec::new() }
    }

    /// The stages in the order in which the engine numbers them.
    pub(super) fn stages(&mut self, query: &Query) -> Result<Vec<PlannedStage>, CompileError> {
        let mut stages = Vec::new();
        match &query.body {
            Body::Event(filter) => stages.push(self.stage(filter, &[], Role::Event, 1)?),
            Body::Sequence(sequence) => {
                for item in &sequence.items {
                    let role = if item.negated { Role::Missing } else { Role::Event };
                    stages.push(self.stage(&item.filter, &item.keys, role, item.runs)?);
                }
                if let Some(item) = &sequence.until {
                    stages.push(self.stage(&item.filter, &item.keys, Role::Until, 1)?);
                }
            }
            Body::Sample(sample) => {
                for item in &sample.items {
                    stages.push(self.stage(&item.filter, &item.keys, Role::Event, 1)?);
                }
            }
        }
        Ok(stages)
    }

    fn stage(
        &mut self,
        filter: &EventFilter,
        keys: &[JoinKey],
        role: Role,
        runs: u32,
    ) -> Result<PlannedStage, CompileError> {
        let mut clauses = Vec::new();
        if !self.scope.index.is_empty() {
            clauses.push(self.index()?);
        }
        if let Some(category) = &filter.category {
            clauses.push(self.category(category)?);
        }
        match &filter.condition.kind {
            ExprKind::And(operands) => {
                for operand in operands {
                    clauses.push(self.clause(operand)?);
                }
            }
            // `where true` says nothing.
            ExprKind::Literal(Literal::Boolean(true)) => {}
            _ => clauses.push(self.clause(&filter.condition)?),
        }
        for key in keys.iter().filter(|key| !key.optional) {
            clauses.push(self.key(key)?);
        }
        let keys = keys.iter().map(|key| key.name.clone()).collect();
        Ok(PlannedStage { role, runs, text: filter.to_string(), category: filter.category.clone(), keys, clauses })
    }

    fn index(&mut self) -> Result<Planned, CompileError> {
        let scope = Scope { index: self.scope.index.clone(), ..Scope::default() };
        let id = self.ask(None, literal(Literal::Boolean(true)), &scope)?;
        let text = format!("index is one of {}", self.scope.index.join(", "));
        let fields = vec![eqlipse_events::INDEX_FIELD.to_owned()];
        Ok(Planned { id, kind: ClauseKind::Index, text, fields, children: Vec::new() })
    }

    fn category(&mut self, category: &str) -> Result<Planned, CompileError> {
        let field = self.category_field().to_owned();
        let id = self.ask(Some(category.to_owned()), literal(Literal::Boolean(true)), &self.own_scope())?;
        let text = format!("{field} is {category}");
        Ok(Planned { id, kind: ClauseKind::Category, text, fields: vec![field], children: Vec::new() })
    }

    pub(super) fn category_field(&self) -> &'a str {
        self.scope.category_field.as_deref().unwrap_or("event.category")
    }

    fn key(&mut self, key: &JoinKey) -> Result<Planned, CompileError> {
        let condition = expr(ExprKind::Compare {
            op: eqlipse_eql::ast::CompareOp::Ne,
            left: Box::new(expr(ExprKind::Field(key.clone()))),
            right: Box::new(literal(Literal::Null)),
        });
        let id = self.ask(None, condition, &self.own_scope())?;
        let text = format!("join key {key} is there");
        Ok(Planned { id, kind: ClauseKind::Key, text, fields: vec![key.name.clone()], children: Vec::new() })
    }

    fn clause(&mut self, condition: &Expr) -> Result<Planned, CompileError> {
        let (kind, operands) = operands(condition);
        let id = self.ask(None, condition.clone(), &self.own_scope())?;
        let mut fields: Vec<String> =
            expression_fields(condition).into_iter().map(|field| field.name.clone()).collect();
        fields.sort_unstable();
        fields.dedup();
        let mut children = Vec::new();
        if self.rules.len() + operands.len() <= MAX_CLAUSES {
            for (text, operand) in operands {
                let mut child =
                    if let Some(text) = text { self.pattern(text, operand)? } else { self.clause(&operand)? };
                if child.kind == ClauseKind::Pattern {
                    child.fields = fields.clone();
                }
                children.push(child);
            }
        }
        Ok(Planned { id, kind, text: condition.to_string(), fields, children })
    }

    fn pattern(&mut self, text: String, condition: Expr) -> Result<Planned, CompileError> {
        let id = self.ask(None, condition, &self.own_scope())?;
        Ok(Planned { id, kind: ClauseKind::Pattern, text, fields: Vec::new(), children: Vec::new() })
    }

    /// The rule's scope without its index patterns, which are a clause of their own.
    fn own_scope(&self) -> Scope {
        Scope { category_field: self.scope.category_field.clone(), ..Scope::default() }
    }

    /// Adds a query to the rule set and gives its clause id.
    fn ask(&mut self, category: Option<String>, condition: Expr, scope: &Scope) -> Result<usize, CompileError> {
        let filter = EventFilter { category, condition, span: Span::default() };
        let query = Query { body: Body::Event(filter), pipes: Vec::new() };
        self.rules.push(self.builder.add(&query, scope)?);
        Ok(self.rules.len() - 1)
    }
}

/// By clause id: its stage in the finished rule set.
pub(super) fn stage_of(rules: &RuleSet, asked: &[RuleIndex]) -> Vec<StageId> {
    let stage = |rule: &RuleIndex| match &rules.plans()[rule.0 as usize].plan {
        Plan::Event(stage) => *stage,
        // Only event queries are asked.
        Plan::Sequence(_) | Plan::Sample(_) => StageId(u32::MAX),
    };
    asked.iter().map(stage).collect()
}

fn expr(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

fn literal(literal: Literal) -> Expr {
    expr(ExprKind::Literal(literal))
}

/// What a condition is made of; with a text where it is one pattern of a test.
type Operands = Vec<(Option<String>, Expr)>;

fn operands(condition: &Expr) -> (ClauseKind, Operands) {
    let plain = |list: &[Expr]| list.iter().map(|operand| (None, operand.clone())).collect();
    match &condition.kind {
        ExprKind::And(list) => (ClauseKind::All, plain(list)),
        ExprKind::Or(list) => (ClauseKind::Any, plain(list)),
        ExprKind::Not(inner) => (ClauseKind::Not, plain(std::slice::from_ref(inner))),
        _ => (ClauseKind::Test, patterns(condition)),
    }
}

/// The patterns or values of a test that has several.
fn patterns(condition: &Expr) -> Operands {
    let span = condition.span;
    match &condition.kind {
        ExprKind::Match { op, subject, patterns } if patterns.len() > 1 => patterns
            .iter()
            .map(|pattern| {
                let kind = ExprKind::Match { op: *op, subject: subject.clone(), patterns: vec![pattern.clone()] };
                (Some(pattern.to_string()), Expr { kind, span })
            })
            .collect(),
        ExprKind::In { subject, fold, list, .. } if list.len() > 1 => list
            .iter()
            .map(|value| {
                let list = vec![value.clone()];
                let kind = ExprKind::In { subject: subject.clone(), fold: *fold, negated: false, list };
                (Some(value.to_string()), Expr { kind, span })
            })
            .collect(),
        ExprKind::Call { function: function @ (Function::CidrMatch | Function::Wildcard), fold, args, name }
            if args.len() > 2 =>
        {
            let call = |arg: &Expr| {
                let args = vec![args[0].clone(), arg.clone()];
                (
                    Some(arg.to_string()),
                    Expr { kind: ExprKind::Call { function: *function, fold: *fold, args, name: *name }, span },
                )
            };
            args[1..].iter().map(call).collect()
        }
        _ => Vec::new(),
    }
}
