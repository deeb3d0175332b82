//! Pipes: from a rule's results to fewer, to others in their place, or to another order.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::key::encode_scalar;
use super::{Detection, Matched, Statistics, head, tail};
use crate::compile::{Key, LeafKind, Node, NodeId, PipePlan, Pipes, RuleIndex, Slot};
use crate::matching::MAX_COMBINATIONS;
use crate::script::{Scalar, Script};
use crate::text::Fold;

/// Runs a rule's pipes.
pub(super) fn run(pipes: &Pipes, matched: &Matched, rule: RuleIndex, found: Vec<Detection>) -> Vec<Detection> {
    let runner = Runner { pipes, matched, rule };
    pipes.pipes.iter().fold(found, |found, pipe| runner.pipe(pipe, found))
}

struct Runner<'a> {
    pipes: &'a Pipes,
    matched: &'a Matched,
    rule: RuleIndex,
}

impl Runner<'_> {
    fn pipe(&self, pipe: &PipePlan, mut found: Vec<Detection>) -> Vec<Detection> {
        match pipe {
            PipePlan::Head(count) => head(&mut found, *count),
            PipePlan::Tail(count) => tail(&mut found, *count),
            PipePlan::Filter(condition) => found.retain(|result| self.holds(*condition, result)),
            PipePlan::Unique(keys) => {
                let mut seen: HashSet<Vec<u8>, RandomState> = HashSet::default();
                found.retain(|result| seen.insert(self.folded_key(keys, result)));
            }
            PipePlan::UniqueCount(keys) => return self.unique_count(keys, found),
            PipePlan::Count(keys) => return self.count(keys, &found),
            PipePlan::Sort(keys) => found.sort_by_cached_key(|result| self.folded_key(keys, result)),
        }
        found
    }

    fn unique_count(&self, keys: &[Key], found: Vec<Detection>) -> Vec<Detection> {
        let mut places: HashMap<Vec<u8>, usize, RandomState> = HashMap::default();
        let mut first: Vec<(Detection, u64)> = Vec::new();
        for result in found {
            let weight = result.statistics.as_ref().map_or(1, |statistics| statistics.count);
            let place = *places.entry(self.folded_key(keys, &result)).or_insert(first.len());
            match first.get_mut(place) {
                Some((_, count)) => *count = count.saturating_add(weight),
                None => first.push((result, weight)),
            }
        }
        let total = first.iter().fold(0u64, |total, (_, count)| total.saturating_add(*count));
        let counted = first.into_iter().map(|(result, count)| {
            let key = result.statistics.map(|statistics| statistics.key).unwrap_or_default();
            let statistics = Statistics { count, percent: Some(share(count, total)), key };
            Detection { statistics: Some(statistics), ..result }
        });
        counted.collect()
    }

    fn count(&self, keys: &[Key], found: &[Detection]) -> Vec<Detection> {
        let total = found.len() as u64;
        if keys.is_empty() {
            let key = vec![Scalar::Str("totals".into())];
            return vec![self.counted(Statistics { count: total, percent: None, key })];
        }
        let mut groups: HashMap<Vec<u8>, (u64, Vec<Scalar<'static>>), RandomState> = HashMap::default();
        for result in found {
            let key = self.key(keys, result);
            let group = groups.entry(encoded(&key, Fold::Unicode)).or_insert_with(|| (0, key));
            group.0 += 1;
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_cached_key(|(count, key)| (*count, encoded(key, Fold::None)));
        let counted = groups
            .into_iter()
            .map(|(count, key)| self.counted(Statistics { count, percent: Some(share(count, total)), key }));
        counted.collect()
    }

    /// A result that counts others and has no events of its own.
    fn counted(&self, statistics: Statistics) -> Detection {
        Detection { rule: self.rule, events: Vec::new(), key: None, statistics: Some(statistics) }
    }

    fn folded_key(&self, keys: &[Key], result: &Detection) -> Vec<u8> {
        encoded(&self.key(keys, result), Fold::Unicode)
    }

    /// The keys' values, of each field the first; null where there is none.
    fn key(&self, keys: &[Key], result: &Detection) -> Vec<Scalar<'static>> {
        let value = |key: &Key| {
            let slots: Vec<Scalar<'_>> = key
                .columns
                .iter()
                .map(|column| self.values(column.index(), result).into_iter().next().unwrap_or(Scalar::Null))
                .collect();
            match key.script.eval(&slots) {
                Ok(Scalar::Double(number)) if number.is_nan() => Scalar::Null,
                Ok(Scalar::Version(text)) => Scalar::Str(text.into_owned().into()),
                Ok(value) => value.into_owned(),
                Err(_) => Scalar::Null,
            }
        };
        keys.iter().map(value).collect()
    }

    fn values<'v>(&'v self, slot: usize, result: &'v Detection) -> Vec<Scalar<'v>> {
        let statistics = result.statistics.as_ref();
        match self.pipes.slots[slot] {
            Slot::Event { event, carried, .. } => {
                let event = result.events.get(event as usize).copied().flatten();
                let values = event.map_or(&[][..], |event| self.matched.carried(self.rule, event, carried));
                values.iter().map(Scalar::borrowed).collect()
            }
            Slot::Count => statistics.map(|statistics| Scalar::Int(as_long(statistics.count))).into_iter().collect(),
            Slot::Percent => {
                statistics.and_then(|statistics| statistics.percent).map(Scalar::Double).into_iter().collect()
            }
            Slot::Key => {
                let key = statistics.map_or(&[][..], |statistics| &statistics.key);
                key.iter().filter(|value| !value.is_null()).map(Scalar::borrowed).collect()
            }
        }
    }

    fn holds(&self, node: NodeId, result: &Detection) -> bool {
        match self.pipes.graph.node(node) {
            Node::Constant(value) => *value,
            Node::Not(inner) => !self.holds(*inner, result),
            Node::And(parts) => parts.iter().all(|part| self.holds(*part, result)),
            Node::Or(parts) => parts.iter().any(|part| self.holds(*part, result)),
            Node::Leaf(leaf) => match self.pipes.graph.leaf(*leaf) {
                LeafKind::Field { field, test, absent } => {
                    let ty = self.pipes.slots[field.index()].field_type();
                    let values = self.values(field.index(), result);
                    if values.is_empty() { *absent } else { values.iter().any(|value| test.holds_scalar(ty, value)) }
                }
                LeafKind::Rows { fields, script, .. } => {
                    let columns: Vec<_> = fields.iter().map(|field| self.values(field.index(), result)).collect();
                    any_combination(script, columns)
                }
            },
        }
    }
}

/// Whether the script holds for some combination of the columns' values; an empty column is one null.
fn any_combination(script: &Script, mut columns: Vec<Vec<Scalar<'_>>>) -> bool {
    columns.iter_mut().filter(|column| column.is_empty()).for_each(|column| column.push(Scalar::Null));
    let count = columns.iter().try_fold(1usize, |product, column| product.checked_mul(column.len()));
    let Some(count) = count.filter(|count| *count <= MAX_COMBINATIONS) else { return false };
    (0..count).any(|mut index| {
        let slots: Vec<Scalar<'_>> = columns
            .iter()
            .map(|column| {
                let value = column[index % column.len()].borrowed();
                index /= column.len();
                value
            })
            .collect();
        script.holds(&slots)
    })
}

/// Bytes that are equal for equal keys and keep their order.
fn encoded(key: &[Scalar<'_>], fold: Fold) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in key {
        match value {
            Scalar::Str(text) => encode_scalar(&Scalar::Str(fold.apply(text)), &mut bytes),
            other => encode_scalar(other, &mut bytes),
        }
    }
    bytes
}

/// A share of nothing is 0.
fn share(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { count as f64 / total as f64 }
}

fn as_long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
