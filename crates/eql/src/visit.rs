//! Walking the tree.

use crate::ast::{Body, EventFilter, Expr, ExprKind, Field, JoinKey, Pipe, PipeKind, Query};

impl Expr {
    /// The operands, in the order written; of a relation, the condition on the other event.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Literal(_) | ExprKind::Field(_) | ExprKind::EventField { .. } => Vec::new(),
            ExprKind::Not(inner) | ExprKind::Negate(inner) => vec![inner],
            ExprKind::And(operands) | ExprKind::Or(operands) => operands.iter().collect(),
            ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => vec![left, right],
            ExprKind::Match { subject, .. } => vec![subject],
            ExprKind::In { subject, list, .. } => std::iter::once(&**subject).chain(list).collect(),
            ExprKind::Call { args, .. } => args.iter().collect(),
            ExprKind::Relation { filter, .. } => vec![&filter.condition],
        }
    }

    /// The operands, in the order written, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Literal(_) | ExprKind::Field(_) | ExprKind::EventField { .. } => Vec::new(),
            ExprKind::Not(inner) | ExprKind::Negate(inner) => vec![inner],
            ExprKind::And(operands) | ExprKind::Or(operands) => operands.iter_mut().collect(),
            ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => vec![left, right],
            ExprKind::Match { subject, .. } => vec![subject],
            ExprKind::In { subject, list, .. } => std::iter::once(&mut **subject).chain(list).collect(),
            ExprKind::Call { args, .. } => args.iter_mut().collect(),
            ExprKind::Relation { filter, .. } => vec![&mut filter.condition],
        }
    }

    /// Whether no field occurs in the expression, so that it has one value for all events.
    pub fn is_constant(&self) -> bool {
        let mut constant = true;
        walk(self, &mut |expr| {
            use ExprKind as E;
            constant &= !matches!(expr.kind, E::Field(_) | E::EventField { .. } | E::Relation { .. });
        });
        constant
    }
}

/// Calls `visit` for the expression and everything in it, parents first, in the order written.
pub fn walk<'a>(expr: &'a Expr, visit: &mut impl FnMut(&'a Expr)) {
    visit(expr);
    for child in expr.children() {
        walk(child, visit);
    }
}

/// Every event filter of the query, `until` last, each with its whole join key.
pub fn filters(query: &Query) -> Vec<(&EventFilter, &[JoinKey])> {
    match &query.body {
        Body::Event(filter) => vec![(filter, &[])],
        Body::Sequence(sequence) => {
            sequence.items.iter().chain(&sequence.until).map(|item| (&item.filter, &*item.keys)).collect()
        }
        Body::Sample(sample) => sample.items.iter().map(|item| (&item.filter, &*item.keys)).collect(),
    }
}

/// Every field that the condition reads, in the order written, as often as it is written.
pub fn expression_fields(expr: &Expr) -> Vec<&Field> {
    let mut fields = Vec::new();
    walk(expr, &mut |expr| {
        if let ExprKind::Field(field) | ExprKind::EventField { field, .. } = &expr.kind {
            fields.push(field);
        }
    });
    fields
}

/// The names of what `unique_count` and `count` add to results, which pipes after them read in place of fields.
pub const COUNT_FIELDS: [&str; 3] = ["count", "percent", "key"];

/// Whether a plain name in a pipe after these means what a count added. `key` comes with `count` only.
pub fn is_count_field(name: &str, before: &[Pipe]) -> bool {
    let counted = |pipe: &Pipe| pipe.kind.counts();
    let keyed = |pipe: &Pipe| matches!(pipe.kind, PipeKind::Count(_));
    COUNT_FIELDS.contains(&name) && before.iter().any(if name == "key" { keyed } else { counted })
}

/// Every field that the query reads, join keys and pipes included, as often as it is written. A global key is written once.
/// The event category, timestamp and tiebreaker fields are read as well, but the query does not name them.
pub fn fields(query: &Query) -> Vec<&Field> {
    let global = match &query.body {
        Body::Event(_) => 0,
        Body::Sequence(sequence) => sequence.global_keys,
        Body::Sample(sample) => sample.global_keys,
    };
    let mut fields = Vec::new();
    for (index, (filter, keys)) in filters(query).into_iter().enumerate() {
        let global = global.min(keys.len());
        if index == 0 {
            fields.extend(&keys[..global]);
        }
        fields.extend(expression_fields(&filter.condition));
        fields.extend(&keys[global..]);
    }
    for (index, pipe) in query.pipes.iter().enumerate() {
        let read = pipe.kind.expressions().iter().flat_map(expression_fields);
        fields.extend(read.filter(|field| !is_count_field(&field.name, &query.pipes[..index])));
    }
    fields
}
