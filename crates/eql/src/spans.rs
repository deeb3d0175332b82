//! Equality of trees that does not look at where things stand.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use crate::ast::{Body, EventFilter, Expr, ExprKind, Field, Literal, Query, Span, StringLiteral};

impl Query {
    /// Whether the two say the same, wherever it stands in their texts.
    pub fn eq_ignoring_spans(&self, other: &Self) -> bool {
        self.without_spans() == other.without_spans()
    }

    /// A copy with every span set to nothing.
    #[must_use]
    pub fn without_spans(&self) -> Self {
        let mut copy = self.clone();
        match &mut copy.body {
            Body::Event(filter) => strip_filter(filter),
            Body::Sequence(sequence) => {
                for item in sequence.items.iter_mut().chain(&mut sequence.until) {
                    strip_filter(&mut item.filter);
                    item.keys.iter_mut().for_each(strip_field);
                    item.span = Span::default();
                }
            }
            Body::Sample(sample) => {
                for item in &mut sample.items {
                    strip_filter(&mut item.filter);
                    item.keys.iter_mut().for_each(strip_field);
                    item.span = Span::default();
                }
            }
        }
        for pipe in &mut copy.pipes {
            pipe.span = Span::default();
            pipe.kind.expressions_mut().iter_mut().for_each(strip);
        }
        copy
    }
}

impl Expr {
    /// Whether the two say the same, wherever it stands in their texts.
    pub fn eq_ignoring_spans(&self, other: &Self) -> bool {
        self.without_spans() == other.without_spans()
    }

    /// A copy with every span set to nothing.
    #[must_use]
    pub fn without_spans(&self) -> Self {
        let mut copy = self.clone();
        strip(&mut copy);
        copy
    }

    /// Feeds a hasher what the expression says: expressions equal by [`Self::eq_ignoring_spans`] hash alike.
    pub fn hash_ignoring_spans<H: Hasher>(&self, hasher: &mut H) {
        discriminant(&self.kind).hash(hasher);
        match &self.kind {
            ExprKind::Literal(literal) => hash_literal(literal, hasher),
            ExprKind::Field(field) => (&field.name, field.optional).hash(hasher),
            ExprKind::EventField { event, field } => (event, &field.name).hash(hasher),
            ExprKind::Compare { op, .. } => op.hash(hasher),
            ExprKind::Arithmetic { op, .. } => op.hash(hasher),
            ExprKind::Match { op, patterns, .. } => {
                (op, patterns.len()).hash(hasher);
                patterns.iter().for_each(|pattern| hash_string(pattern, hasher));
            }
            ExprKind::In { fold, negated, list, .. } => (fold, negated, list.len()).hash(hasher),
            ExprKind::Call { function, fold, args, .. } => (function, fold, args.len()).hash(hasher),
            ExprKind::And(operands) | ExprKind::Or(operands) => operands.len().hash(hasher),
            ExprKind::Relation { relation, filter } => (relation, &filter.category).hash(hasher),
            ExprKind::Not(_) | ExprKind::Negate(_) => {}
        }
        for child in self.children() {
            child.hash_ignoring_spans(hasher);
        }
    }
}

fn strip_filter(filter: &mut EventFilter) {
    filter.span = Span::default();
    strip(&mut filter.condition);
}

fn strip_field(field: &mut Field) {
    field.span = Span::default();
}

fn strip_string(string: &mut StringLiteral) {
    string.span = Span::default();
}

fn strip(expr: &mut Expr) {
    expr.span = Span::default();
    match &mut expr.kind {
        ExprKind::Literal(Literal::String(string)) => strip_string(string),
        ExprKind::Literal(_) => {}
        ExprKind::Field(field) | ExprKind::EventField { field, .. } => strip_field(field),
        ExprKind::Match { patterns, .. } => patterns.iter_mut().for_each(strip_string),
        ExprKind::Call { name, .. } => *name = Span::default(),
        ExprKind::Relation { filter, .. } => filter.span = Span::default(),
        _ => {}
    }
    for child in expr.children_mut() {
        strip(child);
    }
}

fn hash_string<H: Hasher>(string: &StringLiteral, hasher: &mut H) {
    (&string.value, string.raw).hash(hasher);
}

fn hash_literal<H: Hasher>(literal: &Literal, hasher: &mut H) {
    discriminant(literal).hash(hasher);
    match literal {
        Literal::Null => {}
        Literal::Boolean(value) => value.hash(hasher),
        Literal::Int(value) => value.hash(hasher),
        Literal::UnsignedLong(value) => value.hash(hasher),
        // The two zeros are equal.
        Literal::Double(value) => (value + 0.0).to_bits().hash(hasher),
        Literal::String(string) => hash_string(string, hasher),
    }
}
