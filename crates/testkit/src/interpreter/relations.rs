//! Relations between processes. Each becomes a field that is true in the events for which it holds; the query is then
//! one without relations.

use std::collections::BTreeSet;

use eqlipse_eql::ast::{Body, CompareOp, EventFilter, Expr, ExprKind, Field, JoinKey, Literal, Query, Relation, Span};

use super::key::{Key, keys_of};
use super::value::Val;
use super::{Interpreter, Prepared, Ready};

/// How the starts and ends of processes are told, and what identifies a process.
#[derive(Clone, Debug)]
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
            id_field: "process.entity_id".into(),
            parent_field: "process.parent.entity_id".into(),
            start: "process where event.type == \"start\"".into(),
            end: "process where event.type == \"end\"".into(),
        }
    }
}

/// A relation of the query and the processes that it knows by now.
struct Known {
    relation: Relation,
    filter: EventFilter,
    field: String,
    sources: BTreeSet<Key>,
    started: BTreeSet<Key>,
}

/// The query and the events with fields for relations; `None` if it has none.
pub fn resolve<'a>(engine: &Interpreter, query: &Query, events: &Prepared<'a>) -> Option<(Query, Prepared<'a>)> {
    let (mut query, mut known) = (query.clone(), Vec::new());
    match &mut query.body {
        Body::Event(filter) => rewrite(&mut filter.condition, &mut known),
        Body::Sequence(sequence) => {
            let items = sequence.items.iter_mut().chain(&mut sequence.until);
            items.for_each(|item| rewrite(&mut item.filter.condition, &mut known));
        }
        Body::Sample(sample) => {
            sample.items.iter_mut().for_each(|item| rewrite(&mut item.filter.condition, &mut known));
        }
    }
    if known.is_empty() {
        return None;
    }
    let processes = &engine.options.processes;
    let (start, end) = (event_filter(&processes.start), event_filter(&processes.end));
    let key = |name: &str| [JoinKey { name: name.to_owned(), optional: false, span: Span::default() }];
    let (id, parent) = (key(&processes.id_field), key(&processes.parent_field));
    let mut resolved = Vec::new();
    for event in events.iter() {
        let mut fields = event.fields.clone();
        let ids = keys_of(&fields, &id);
        if engine.matches_flat(&start, &fields) {
            let parents = keys_of(&fields, &parent);
            known.iter_mut().for_each(|known| known.start(&parents, &ids));
        }
        for known in &mut known {
            if engine.matches_flat(&known.filter, &fields) {
                known.sources.extend(ids.iter().cloned());
            }
            let related = if known.relation == Relation::Event { &known.sources } else { &known.started };
            let holds = ids.iter().any(|id| related.contains(id));
            fields.set(&known.field, Val::Bool(holds));
        }
        if engine.matches_flat(&end, &fields) {
            for id in &ids {
                known.iter_mut().for_each(|known| _ = (known.sources.remove(id), known.started.remove(id)));
            }
        }
        resolved.push(Ready { index: event.index, fields, time: event.time });
    }
    Some((query, Prepared(resolved)))
}

impl Known {
    fn start(&mut self, parents: &[Key], ids: &[Key]) {
        let transitive = self.relation == Relation::Descendant;
        let related = |parent| self.sources.contains(parent) || (transitive && self.started.contains(parent));
        if parents.iter().any(related) {
            self.started.extend(ids.iter().cloned());
        }
    }
}

/// Replaces the relations by tests of their fields, those inside others first.
fn rewrite(expr: &mut Expr, known: &mut Vec<Known>) {
    let text = expr.to_string();
    if let ExprKind::Relation { relation, filter } = &mut expr.kind {
        rewrite(&mut filter.condition, known);
        // No field of a document has such a name.
        let field = format!("\0{text}");
        if !known.iter().any(|known| known.field == field) {
            let (sources, started) = (BTreeSet::new(), BTreeSet::new());
            let (relation, filter) = (*relation, (**filter).clone());
            known.push(Known { relation, filter, field: field.clone(), sources, started });
        }
        let of = |kind| Box::new(Expr { kind, span: Span::default() });
        let left = of(ExprKind::Field(Field { name: field, optional: false, span: Span::default() }));
        let right = of(ExprKind::Literal(Literal::Boolean(true)));
        expr.kind = ExprKind::Compare { op: CompareOp::Eq, left, right };
        return;
    }
    expr.children_mut().into_iter().for_each(|child| rewrite(child, known));
}

fn event_filter(query: &str) -> EventFilter {
    match eqlipse_eql::parse(query) {
        Ok(Query { body: Body::Event(filter), .. }) => filter,
        other => panic!("{query}: {other:?}"),
    }
}
