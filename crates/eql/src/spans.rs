//! Equality of trees that does not look at where things stand.

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
        ExprKind::Field(field) => strip_field(field),
        ExprKind::Match { patterns, .. } => patterns.iter_mut().for_each(strip_string),
        ExprKind::Call { name, .. } => *name = Span::default(),
        _ => {}
    }
    for child in expr.children_mut() {
        strip(child);
    }
}
