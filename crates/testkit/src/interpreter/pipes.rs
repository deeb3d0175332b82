//! Pipes, over whole results.

use std::collections::HashMap;

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{Expr, ExprKind, Pipe, PipeKind};
use eqlipse_eql::visit::{expression_fields, is_count_field};

use super::eval::Evaluator;
use super::flat::Flat;
use super::key::{Key, KeyPart};
use super::value::Val;
use super::{Interpreter, Prepared};

/// A result on its way through the pipes.
#[derive(Clone, Debug)]
pub struct Found {
    /// The join key.
    pub key: Key,
    /// The events by place in the order of events.
    pub places: Vec<Option<usize>>,
    /// What counting pipes added.
    pub counted: Option<Counted>,
}

/// What a counting pipe adds.
#[derive(Clone, Debug)]
pub struct Counted {
    pub count: u64,
    pub percent: Option<f64>,
    pub key: Key,
}

/// Runs the pipes one after the other.
pub fn run(engine: &Interpreter, pipes: &[Pipe], events: &Prepared<'_>, mut found: Vec<Found>) -> Vec<Found> {
    for (index, pipe) in pipes.iter().enumerate() {
        let scope = Scope { engine, events, before: &pipes[..index] };
        match &pipe.kind {
            PipeKind::Head(n) => found.truncate(usize::try_from(*n).unwrap_or(usize::MAX)),
            PipeKind::Tail(n) => {
                let keep = usize::try_from(*n).unwrap_or(usize::MAX).min(found.len());
                found.drain(..found.len() - keep);
            }
            PipeKind::Filter(condition) => found.retain(|result| scope.holds(condition, result)),
            PipeKind::Unique(keys) => {
                let mut seen: Vec<Key> = Vec::new();
                found.retain(|result| {
                    let key = folded(&scope.key(keys, result));
                    let fresh = !seen.contains(&key);
                    seen.push(key);
                    fresh
                });
            }
            PipeKind::UniqueCount(keys) => found = scope.unique_count(keys, found),
            PipeKind::Count(keys) => found = scope.count(keys, &found),
            PipeKind::Sort(keys) => found.sort_by_key(|result| folded(&scope.key(keys, result))),
        }
    }
    found
}

struct Scope<'s> {
    engine: &'s Interpreter,
    events: &'s Prepared<'s>,
    before: &'s [Pipe],
}

impl Scope<'_> {
    fn unique_count(&self, keys: &[Expr], found: Vec<Found>) -> Vec<Found> {
        let mut groups: Vec<(Key, Found, u64)> = Vec::new();
        for result in found {
            let key = folded(&self.key(keys, &result));
            let weight = result.counted.as_ref().map_or(1, |counted| counted.count);
            match groups.iter_mut().find(|(known, ..)| *known == key) {
                Some((.., count)) => *count += weight,
                None => groups.push((key, result, weight)),
            }
        }
        let total: u64 = groups.iter().map(|(.., count)| count).sum();
        let counted = groups.into_iter().map(|(_, result, count)| {
            let key = result.counted.map(|counted| counted.key).unwrap_or_default();
            Found { counted: Some(Counted { count, percent: Some(share(count, total)), key }), ..result }
        });
        counted.collect()
    }

    fn count(&self, keys: &[Expr], found: &[Found]) -> Vec<Found> {
        let counted = |counted| Found { key: Vec::new(), places: Vec::new(), counted: Some(counted) };
        let total = found.len() as u64;
        if keys.is_empty() {
            let key = vec![KeyPart::new(&Val::Str("totals".into()))];
            return vec![counted(Counted { count: total, percent: None, key })];
        }
        // The key as it first came, and how often.
        let mut groups: Vec<(u64, Key)> = Vec::new();
        for result in found {
            let key = self.key(keys, result);
            match groups.iter_mut().find(|(_, known)| folded(known) == folded(&key)) {
                Some((count, _)) => *count += 1,
                None => groups.push((1, key)),
            }
        }
        groups.sort();
        groups
            .into_iter()
            .map(|(count, key)| counted(Counted { count, percent: Some(share(count, total)), key }))
            .collect()
    }

    /// The values of the expressions, of each field the first.
    fn key(&self, keys: &[Expr], result: &Found) -> Key {
        let part = |expr: &Expr| {
            let expr = self.renamed(expr);
            let fields = self.fields(&expr, result);
            let value = Evaluator { event: &fields, types: &|name| self.field_type(name) }.first_value(&expr);
            match value {
                Ok(part) if !matches!(part.value(), Val::Double(number) if number.is_nan()) => part,
                _ => KeyPart::new(&Val::Null),
            }
        };
        keys.iter().map(part).collect()
    }

    fn holds(&self, condition: &Expr, result: &Found) -> bool {
        let condition = self.renamed(condition);
        let fields = self.fields(&condition, result);
        Evaluator { event: &fields, types: &|name| self.field_type(name) }.condition(&condition) == Some(true)
    }

    /// The expression with its fields under names that say where they are from: `0.name` for the first event's, `.name`
    /// for what was counted.
    fn renamed(&self, expr: &Expr) -> Expr {
        let mut expr = expr.clone();
        match &mut expr.kind {
            ExprKind::Field(field) if is_count_field(&field.name, self.before) => field.name.insert(0, '.'),
            ExprKind::Field(field) => field.name.insert_str(0, "0."),
            ExprKind::EventField { event, field } => {
                field.name.insert_str(0, &format!("{event}."));
                expr.kind = ExprKind::Field(field.clone());
            }
            _ => {}
        }
        for child in expr.children_mut() {
            *child = self.renamed(child);
        }
        expr
    }

    /// The values of the fields of a renamed expression.
    fn fields<'f>(&'f self, expr: &Expr, result: &Found) -> Flat<'f> {
        let mut fields = HashMap::new();
        for field in expression_fields(expr) {
            fields.insert(field.name.clone(), self.values(&field.name, result));
        }
        Flat::of(fields)
    }

    fn values<'f>(&'f self, name: &str, result: &Found) -> Vec<Val<'f>> {
        let (event, field) = name.split_once('.').unwrap_or_default();
        if let Ok(event) = event.parse::<usize>() {
            let place = result.places.get(event).copied().flatten();
            return place.map(|place| self.events.0[place].fields.values(field).to_vec()).unwrap_or_default();
        }
        let Some(counted) = &result.counted else { return Vec::new() };
        match field {
            "count" => vec![Val::Int(counted.count as i64)],
            "percent" => counted.percent.map(Val::Double).into_iter().collect(),
            _ => counted.key.iter().map(KeyPart::value).filter(|value| !value.is_null()).collect(),
        }
    }

    fn field_type(&self, name: &str) -> FieldType {
        match name.split_once('.') {
            Some(("", "count")) => FieldType::Long,
            Some(("", "percent")) => FieldType::Double,
            Some(("", _)) | None => FieldType::Dynamic,
            Some((_, field)) => (self.engine.options.types)(field),
        }
    }
}

/// A share of nothing is 0.
fn share(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { count as f64 / total as f64 }
}

/// The key without case.
fn folded(key: &Key) -> Key {
    key.iter().map(KeyPart::folded).collect()
}
