//! Whole queries.

use eqlipse_eql::ast::{
    Body, CompareOp, EventFilter, Expr, ExprKind, JoinKey, Pipe, PipeKind, Query, Sample, SampleItem, Sequence,
    SequenceItem, Span,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::build::{all_of, any_of, bool_literal, compare, field, field_name, filter, int, not, string};
use super::expressions::{boolean, condition, filter_condition, leaf, number, related, text};
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
    (category(), filter_condition(), pipes(0))
        .prop_map(|(category, condition, pipes)| Query { body: Body::Event(filter(category, condition)), pipes })
}

/// Relations alone, of simple filters, over processes.
pub fn of_processes() -> impl Strategy<Value = Query> {
    let action =
        || select(pools::ACTIONS).prop_map(|action| compare(CompareOp::Eq, field("event.action"), string(action)));
    let one = move || related(action().boxed());
    let nested = related((one(), action()).prop_map(|(inner, action)| all_of(vec![action, inner])).boxed());
    let related =
        prop_oneof![3 => one(), 1 => nested, 1 => one().prop_map(not), 1 => vec(one(), 2..4).prop_map(any_of)];
    related.prop_map(|condition| Query { body: Body::Event(filter(None, condition)), pipes: Vec::new() })
}

fn category() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![4 => Just(None), 1 => select(pools::CATEGORIES).prop_map(Some)]
}

/// Pipes over results of so many events, 0 for event queries.
fn pipes(events: u32) -> BoxedStrategy<Vec<Pipe>> {
    let keys = move |least: usize| vec(pipe_key(events), least..3);
    let kind = prop_oneof![
        3 => (0u64..6).prop_map(PipeKind::Head),
        3 => (0u64..6).prop_map(PipeKind::Tail),
        2 => pipe_condition(events).prop_map(PipeKind::Filter),
        1 => keys(1).prop_map(PipeKind::Unique),
        1 => keys(1).prop_map(PipeKind::UniqueCount),
        1 => keys(0).prop_map(PipeKind::Count),
        2 => keys(1).prop_map(PipeKind::Sort),
    ];
    let pipe = kind.prop_map(|kind| Pipe { kind, span: Span::default() });
    prop_oneof![3 => Just(Vec::new()), 2 => vec(pipe, 1..4)].boxed()
}

fn pipe_condition(events: u32) -> BoxedStrategy<Expr> {
    let counted = (select(&["count", "percent", "key"][..]), 0i64..4)
        .prop_map(|(name, value)| compare(CompareOp::Ge, field(name), int(value)));
    prop_oneof![3 => leaf(), 2 => condition(), 1 => counted]
        .prop_flat_map(move |condition| of_events(condition, events))
        .boxed()
}

fn pipe_key(events: u32) -> BoxedStrategy<Expr> {
    let known = select(super::FIELDS).prop_map(|(name, _)| field(name));
    let counted = select(&["count", "percent", "key"][..]).prop_map(field);
    prop_oneof![4 => known, 1 => counted, 1 => text(2), 1 => number(2), 1 => boolean()]
        .prop_flat_map(move |key| of_events(key, events))
        .boxed()
}

/// The expression with its fields, or some of them, named as those of one of `events` events.
fn of_events(expr: Expr, events: u32) -> BoxedStrategy<Expr> {
    if events == 0 {
        return Just(expr).boxed();
    }
    (0..events, prop::bool::ANY)
        .prop_map(move |(event, rename)| {
            let mut expr = expr.clone();
            if rename {
                rename_fields(&mut expr, event);
            }
            expr
        })
        .boxed()
}

fn rename_fields(expr: &mut Expr, event: u32) {
    if let ExprKind::Field(field) = &expr.kind {
        expr.kind = ExprKind::EventField { event, field: field.clone() };
    }
    expr.children_mut().into_iter().for_each(|child| rename_fields(child, event));
}

/// A filter that many events pass.
fn item_filter() -> BoxedStrategy<EventFilter> {
    let action =
        select(pools::ACTIONS).prop_map(|action| compare(CompareOp::Eq, field("event.action"), string(action)));
    let condition = prop_oneof![5 => action, 3 => Just(bool_literal(true)), 2 => leaf(), 1 => filter_condition()];
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
            let events = items.iter().map(|(.., runs)| runs).sum();
            (Just(items), Just(until), Just(maxspan), Just(counts.0), keys, pipes(events))
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
