//! Whole queries.

use eqlipse_eql::ast::{
    Body, EventFilter, JoinKey, Pipe, PipeKind, Query, Sample, SampleItem, Sequence, SequenceItem, Span,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::build::{bool_literal, compare, field, field_name, filter, string};
use super::expressions::{condition, leaf};
use super::pools;

/// Keys by type, so that the keys of every item at one place go together.
const KEYS: &[&[&str]] = &[
    &["host.id"],
    &["host.id"],
    &["event.action", "host.id"],
    &["process.name", "process.command_line"],
    &["process.pid", "process.exit_code"],
    &["custom.text", "custom.mixed"],
    &["dll.code_signature.exists"],
    &["source.ip"],
    &["event.created"],
    &["event.risk_score"],
];

/// Any query.
pub fn query() -> impl Strategy<Value = Query> {
    prop_oneof![4 => event_query(), 4 => sequence(), 2 => sample()]
}

/// `category where condition | pipes`
pub fn event_query() -> impl Strategy<Value = Query> {
    (category(), condition(), pipes())
        .prop_map(|(category, condition, pipes)| Query { body: Body::Event(filter(category, condition)), pipes })
}

fn category() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![4 => Just(None), 1 => select(pools::CATEGORIES).prop_map(Some)]
}

fn pipes() -> impl Strategy<Value = Vec<Pipe>> {
    let kind = prop_oneof![(0u64..6).prop_map(PipeKind::Head), (0u64..6).prop_map(PipeKind::Tail)];
    prop_oneof![3 => Just(Vec::new()), 1 => vec(kind.prop_map(|kind| Pipe { kind, span: Span::default() }), 1..3)]
}

/// A filter that many events pass.
fn item_filter() -> BoxedStrategy<EventFilter> {
    let action = select(pools::ACTIONS)
        .prop_map(|action| compare(eqlipse_eql::ast::CompareOp::Eq, field("event.action"), string(action)));
    let condition = prop_oneof![5 => action, 3 => Just(bool_literal(true)), 2 => leaf(), 1 => condition()];
    (category(), condition).prop_map(|(category, condition)| filter(category, condition)).boxed()
}

/// A key for each item: the same field everywhere for a global key, fields of one type otherwise.
fn keys(items: usize, counts: (usize, usize)) -> BoxedStrategy<Vec<Vec<JoinKey>>> {
    let global = (select(KEYS).prop_flat_map(select::<&'static str>), prop::bool::weighted(0.3))
        .prop_map(move |(name, optional)| vec![field_name(name, optional); items]);
    let own = select(KEYS).prop_flat_map(move |group| {
        vec((select(group), prop::bool::weighted(0.3)).prop_map(|(name, optional)| field_name(name, optional)), items)
    });
    (vec(global, counts.0), vec(own, counts.1))
        .prop_map(move |(global, own)| {
            let columns: Vec<Vec<JoinKey>> = global.into_iter().chain(own).collect();
            (0..items).map(|item| columns.iter().map(|column| column[item].clone()).collect()).collect()
        })
        .boxed()
}

fn key_counts() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![3 => Just((0, 0)), 3 => Just((1, 0)), 2 => Just((0, 1)), 1 => Just((1, 1)), 1 => Just((2, 0))]
}

/// A sequence with anything that a sequence can have.
pub fn sequence() -> impl Strategy<Value = Query> {
    let item = (item_filter(), prop::bool::weighted(0.2), prop_oneof![6 => Just(1u32), 1 => 2u32..4]);
    let maxspan = prop::option::of(prop_oneof![(0i64..6).prop_map(|s| (s + 1) * 1_000_000_000), Just(1_500_000_000)]);
    (
        prop_oneof![2 => vec(item.clone(), 2..3), 1 => vec(item, 3..5)],
        prop::option::weighted(0.3, item_filter()),
        maxspan,
        key_counts(),
    )
        .prop_flat_map(|(items, until, maxspan, counts)| {
            let keys = keys(items.len() + 1, counts);
            (Just(items), Just(until), Just(maxspan), Just(counts.0), keys, pipes())
        })
        .prop_map(|(items, until, maxspan, global_keys, keys, pipes)| {
            let some_positive = items.iter().any(|(_, negated, _)| !negated);
            let mut keys = keys.into_iter();
            let mut item = |(filter, negated, runs)| SequenceItem {
                filter,
                // Missing items need a maxspan and something that is there.
                negated: negated && maxspan.is_some() && some_positive,
                keys: keys.next().unwrap_or_default(),
                runs,
                span: Span::default(),
            };
            let items = items.into_iter().map(&mut item).collect();
            let until = until.map(|filter| item((filter, false, 1)));
            Query { body: Body::Sequence(Sequence { maxspan, global_keys, items, until }), pipes }
        })
}

/// A sample.
pub fn sample() -> impl Strategy<Value = Query> {
    let counts = prop_oneof![3 => Just((1, 0)), 2 => Just((0, 1)), 1 => Just((1, 1))];
    (vec(item_filter(), 2..4), counts)
        .prop_flat_map(|(filters, counts)| {
            let keys = keys(filters.len(), counts);
            (Just(filters), Just(counts.0), keys)
        })
        .prop_map(|(filters, global_keys, keys)| {
            let items = filters.into_iter().zip(keys);
            let items = items.map(|(filter, keys)| SampleItem { filter, keys, span: Span::default() }).collect();
            Query { body: Body::Sample(Sample { global_keys, items }), pipes: Vec::new() }
        })
}
