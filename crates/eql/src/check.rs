//! Checks that need the types of fields.

mod constant;
mod lint;
mod types;

use std::collections::HashSet;

use crate::ast::{Body, Expr, ExprKind, Field, Function, JoinKey, MatchOp, Pipe, PipeKind, Query, Span, StringLiteral};
use crate::diagnostic::{Diagnostic, quoted};
use crate::function::{Param, ParamKind, Returns};
use crate::limits::MAX_DIAGNOSTICS;
use crate::visit::{filters, is_count_field, walk};

pub use eqlipse_ecs::FieldType;
use types::Type;

/// Where the types of fields come from.
pub trait FieldTypes {
    /// The field's type; `None` where the field is unknown, which makes it take the type of each value it meets.
    fn field_type(&self, name: &str) -> Option<FieldType>;

    /// The known field that `name` was probably meant to be.
    fn suggest(&self, name: &str) -> Option<String>;
}

/// The field catalogue of `eqlipse-ecs`: ECS and what Beats, Elastic Defend and the common integrations add.
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalogue;

impl FieldTypes for Catalogue {
    fn field_type(&self, name: &str) -> Option<FieldType> {
        eqlipse_ecs::field_type(name)
    }

    fn suggest(&self, name: &str) -> Option<String> {
        eqlipse_ecs::suggest(name).map(Into::into)
    }
}

/// Checks a query's types and names, and looks for conditions that cannot be meant as written.
///
/// Errors come first by place, not by gravity: the list is in the order of the text. A query with only warnings can be
/// run.
pub fn check<'a>(query: &'a Query, types: &'a dyn FieldTypes) -> Vec<Diagnostic> {
    let mut checker = Checker::new(types);
    for (filter, keys) in filters(query) {
        checker.filter_condition(&filter.condition);
        keys.iter().for_each(|key| checker.unknown_field(key));
    }
    checker.pipes(&query.pipes);
    match &query.body {
        Body::Event(_) => {}
        Body::Sequence(sequence) => {
            let items = sequence.items.iter().chain(&sequence.until);
            checker.keys(items.map(|item| &*item.keys));
            for item in sequence.items.iter().filter(|item| item.negated && item.runs > 1) {
                let message = "`runs` changes nothing for an event that must be absent";
                checker.report(Diagnostic::warning("useless-runs", item.span, message));
            }
        }
        Body::Sample(sample) => checker.keys(sample.items.iter().map(|item| &*item.keys)),
    }
    checker.finish()
}

/// Checks a bare condition.
pub fn check_expression(expr: &Expr, types: &dyn FieldTypes) -> Vec<Diagnostic> {
    let mut checker = Checker::new(types);
    checker.filter_condition(expr);
    checker.finish()
}

/// What is known of an expression's value.
#[derive(Clone, Copy)]
struct Facts {
    ty: Type,
    /// What a condition always comes to, where that is certain. Null counts as false.
    always: Option<bool>,
    /// Whether a message says so already.
    explained: bool,
}

impl Facts {
    fn of(ty: Type) -> Self {
        Self { ty, always: None, explained: false }
    }
}

struct Checker<'a> {
    types: &'a dyn FieldTypes,
    diagnostics: Vec<Diagnostic>,
    unknown: HashSet<String>,
    /// The pipes before the one being checked.
    before: &'a [Pipe],
}

impl<'a> Checker<'a> {
    fn new(types: &'a dyn FieldTypes) -> Self {
        Self { types, diagnostics: Vec::new(), unknown: HashSet::new(), before: &[] }
    }

    fn finish(mut self) -> Vec<Diagnostic> {
        // An error is never left out in favour of a warning.
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.severity);
        self.diagnostics.truncate(MAX_DIAGNOSTICS);
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        self.diagnostics
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn pipes(&mut self, pipes: &'a [Pipe]) {
        for (index, pipe) in pipes.iter().enumerate() {
            self.before = &pipes[..index];
            match &pipe.kind {
                PipeKind::Filter(condition) => self.condition(condition),
                kind => kind.expressions().iter().for_each(|key| _ = self.expression(key)),
            }
        }
    }

    /// What stands after `where`.
    fn condition(&mut self, expr: &Expr) {
        let facts = self.boolean(expr);
        if facts.always == Some(false) && !facts.explained {
            let message = "this condition is always false: it matches no event";
            self.report(Diagnostic::warning("always-false", expr.span, message));
        }
    }

    /// The condition of a filter, which may hold relations.
    fn filter_condition(&mut self, expr: &Expr) {
        self.condition(expr);
        self.relation_places(expr);
    }

    /// Refuses relations that are operands of something else than `and`, `or` and `not`.
    fn relation_places(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Not(_) => {
                expr.children().into_iter().for_each(|operand| self.relation_places(operand));
            }
            ExprKind::Relation { .. } => {}
            _ => walk(expr, &mut |inner| {
                if let ExprKind::Relation { relation, .. } = &inner.kind {
                    let message = format!("`{} of` is a condition by itself, not a value", relation.name());
                    let diagnostic = Diagnostic::error("relation-operand", inner.span, message);
                    self.report(diagnostic.help("join it to others with `and`, `or` and `not`"));
                }
            }),
        }
    }

    /// An expression that must come to true or false.
    fn boolean(&mut self, expr: &Expr) -> Facts {
        let facts = self.expression(expr);
        if !facts.ty.can_be(Type::Boolean) {
            let message = format!("a condition must be true or false, found {}", self.describe(expr, facts.ty));
            let mut diagnostic = Diagnostic::error("not-boolean", expr.span, message);
            if matches!(expr.kind, ExprKind::Field(_)) {
                diagnostic = diagnostic.help(format!("to test that the field is present write `{expr} != null`"));
            }
            self.report(diagnostic);
        }
        facts
    }

    fn describe(&self, expr: &Expr, ty: Type) -> String {
        match &expr.kind {
            ExprKind::Field(field) => format!("the field {} of type {}", quoted(&field.name), ty.name()),
            ExprKind::Literal(literal) => format!("the constant {}", quoted(&literal.to_string())),
            ExprKind::Call { function, .. } => format!("`{}(…)`, which is a {}", function.name(), ty.name()),
            _ => format!("an expression of type {}", ty.name()),
        }
    }

    fn expression(&mut self, expr: &Expr) -> Facts {
        match &expr.kind {
            ExprKind::Literal(literal) => {
                Facts { always: constant::truth(literal), ..Facts::of(Type::of_literal(literal)) }
            }
            ExprKind::Field(field) | ExprKind::EventField { field, .. } => self.field(field),
            ExprKind::Not(inner) => {
                let facts = self.boolean(inner);
                Facts { ty: Type::Boolean, always: facts.always.map(|always| !always), ..facts }
            }
            ExprKind::And(operands) => self.row(operands, true),
            ExprKind::Or(operands) => self.row(operands, false),
            ExprKind::Compare { op, left, right } => self.comparison(expr, *op, left, right),
            ExprKind::Match { op, subject, patterns } => self.pattern_match(*op, subject, patterns),
            ExprKind::In { subject, fold, negated, list } => self.membership(subject, *fold, *negated, list),
            ExprKind::Negate(inner) => Facts::of(self.number(inner)),
            ExprKind::Arithmetic { left, right, .. } => {
                let (left, right) = (self.number(left), self.number(right));
                Facts::of(left.arithmetic(right))
            }
            ExprKind::Call { function, args, .. } => self.call(*function, args),
            ExprKind::Relation { filter, .. } => {
                self.filter_condition(&filter.condition);
                Facts::of(Type::Boolean)
            }
        }
    }

    fn field(&mut self, field: &Field) -> Facts {
        if is_count_field(&field.name, self.before) {
            return Facts::of(if field.name == "key" { Type::Dynamic } else { Type::Number });
        }
        self.unknown_field(field);
        Facts::of(self.types.field_type(&field.name).map_or(Type::Dynamic, Type::of_field))
    }

    fn unknown_field(&mut self, field: &Field) {
        let known = field.optional || self.types.field_type(&field.name).is_some();
        if known || self.unknown.len() >= MAX_DIAGNOSTICS || !self.unknown.insert(field.name.clone()) {
            return;
        }
        let message = format!("unknown field {}", quoted(&field.name));
        let help = self.types.suggest(&field.name).map(|near| format!("did you mean `{near}`?"));
        self.report(Diagnostic { help, ..Diagnostic::warning("unknown-field", field.span, message) });
    }

    /// `and` or `or`.
    fn row(&mut self, operands: &[Expr], and: bool) -> Facts {
        let mut result = Facts { always: Some(and), ..Facts::of(Type::Boolean) };
        for operand in operands {
            let facts = self.boolean(operand);
            match facts.always {
                Some(always) if always != and => {
                    result.always = Some(always);
                    result.explained = true;
                    self.constant_branch(operand.span, facts, and);
                }
                Some(_) => self.constant_branch(operand.span, facts, and),
                None if result.always == Some(and) => result.always = None,
                None => {}
            }
        }
        self.repeated_operands(operands, and);
        result
    }

    fn constant_branch(&mut self, span: Span, facts: Facts, and: bool) {
        let (Some(always), false) = (facts.always, facts.explained) else {
            return;
        };
        let row = if and { "and" } else { "or" };
        let effect = if always == and { "has no effect".into() } else { format!("decides the whole `{row}`") };
        let code = if always { "always-true" } else { "always-false" };
        let message = format!("this branch is always {always} and {effect}");
        self.report(Diagnostic::warning(code, span, message));
    }

    fn number(&mut self, expr: &Expr) -> Type {
        let ty = self.expression(expr).ty;
        if !ty.can_be(Type::Number) {
            let message = format!("arithmetic needs numbers, found {}", self.describe(expr, ty));
            self.report(Diagnostic::error("not-number", expr.span, message));
            return Type::Number;
        }
        ty
    }

    fn pattern_match(&mut self, op: MatchOp, subject: &Expr, patterns: &[StringLiteral]) -> Facts {
        let ty = self.expression(subject).ty;
        if !ty.can_be(Type::String) {
            let message = format!("`{op}` tests strings, found {}", self.describe(subject, ty));
            let diagnostic = Diagnostic::error("not-string", subject.span, message);
            self.report(diagnostic.help(equality_help(subject, patterns)));
        }
        self.lint_patterns(op, patterns);
        Facts::of(Type::Boolean)
    }

    fn membership(&mut self, subject: &Expr, fold: bool, negated: bool, list: &[Expr]) -> Facts {
        let ty = self.expression(subject).ty;
        let mut first: Option<(Type, Span)> = None;
        let mut possible = false;
        for element in list {
            let element_type = self.expression(element).ty;
            match first {
                _ if element_type == Type::Null => {}
                None => first = Some((element_type, element.span)),
                Some((wanted, place)) if !wanted.same_kind(element_type) => {
                    let message = format!("the list mixes a {} with a {}", wanted.name(), element_type.name());
                    let fault = Diagnostic::error("mixed-list", element.span, message);
                    self.report(fault.label(place, format!("a {}", wanted.name())));
                    return Facts::of(Type::Boolean);
                }
                Some(_) => {}
            }
            possible |= !self.impossible_equality(subject, ty, element);
        }
        self.lint_list(list, fold);
        let always = (!possible).then_some(negated);
        Facts { always, explained: always.is_some(), ..Facts::of(Type::Boolean) }
    }

    fn call(&mut self, function: Function, args: &[Expr]) -> Facts {
        let signature = function.signature();
        let mut number = Type::Long;
        for (index, arg) in args.iter().enumerate() {
            let ty = self.expression(arg).ty;
            number = number.arithmetic(ty);
            if let Some(param) = signature.param(index) {
                self.argument(function, param, arg, ty);
            }
        }
        if function == Function::Wildcard {
            let patterns = args.iter().skip(1).filter_map(types::string_of);
            self.lint_pattern_strings(MatchOp::Like, patterns);
        }
        Facts::of(match signature.returns {
            Returns::String => Type::String,
            Returns::Integer => Type::Long,
            Returns::Boolean => Type::Boolean,
            // `number` reads whole and other numbers alike.
            Returns::Number if function == Function::Number => Type::Number,
            Returns::Number => number,
        })
    }

    fn argument(&mut self, function: Function, param: &Param, arg: &Expr, ty: Type) {
        let wanted = match param.kind {
            ParamKind::Any => return,
            ParamKind::String | ParamKind::Cidr => Type::String,
            ParamKind::Integer => Type::Long,
            ParamKind::Number => Type::Number,
            ParamKind::Boolean => Type::Boolean,
            ParamKind::Ip => Type::Ip,
        };
        if !ty.can_be(wanted) {
            let (name, kind) = (function.name(), param.kind.name());
            let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
            let found = self.describe(arg, ty);
            let message = format!("the argument `{}` of `{name}` must be {article} {kind}, found {found}", param.name);
            self.report(Diagnostic::error("argument-type", arg.span, message));
            return;
        }
        if let (ParamKind::Cidr, Some(block)) = (param.kind, types::string_of(arg))
            && let Err(reason) = constant::parse_cidr(&block.value)
        {
            let message = format!("{} is no address block: {reason}", quoted(&block.value));
            self.report(Diagnostic::error("bad-cidr", arg.span, message).help("write `10.0.0.0/8` or `fe80::/10`"));
        }
    }

    /// Every item has keys of the same kinds as the first item that knows them.
    fn keys<'q>(&mut self, items: impl Iterator<Item = &'q [JoinKey]>) {
        let mut known: Vec<Option<(Type, Span)>> = Vec::new();
        for keys in items {
            known.resize(known.len().max(keys.len()), None);
            for (key, known) in keys.iter().zip(&mut known) {
                let ty = self.types.field_type(&key.name).map_or(Type::Dynamic, Type::of_field);
                match known {
                    _ if ty == Type::Dynamic => {}
                    None => *known = Some((ty, key.span)),
                    Some((wanted, place)) if !wanted.same_kind(ty) => {
                        let message =
                            format!("the join key {} is a {}, not a {}", quoted(&key.name), ty.name(), wanted.name());
                        let fault = Diagnostic::error("key-type", key.span, message);
                        self.diagnostics.push(fault.label(*place, format!("a {}", wanted.name())));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// What to write instead of a string test on something that is no string.
fn equality_help(subject: &Expr, patterns: &[StringLiteral]) -> String {
    match patterns {
        [pattern] if !pattern.value.contains(['*', '?']) => {
            format!("did you mean `{subject} == {pattern}`?")
        }
        _ => "write `==`, or `in` for a list".into(),
    }
}
