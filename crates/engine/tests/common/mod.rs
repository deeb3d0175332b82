//! Runs queries through the engine on JSON documents.

use std::sync::Arc;

use eqlipse_batch::{Arrival, BatchBuilder, OrderKey, PathNode, RawValue, RowMeta, Schema, ValueRef, coerce_date};
use eqlipse_ecs::FieldType;
use eqlipse_engine::compile::{CompileOptions, FieldTypes, ProcessEvents, Scope};
use eqlipse_engine::correlate::{
    Collector, CorrelateOptions, Correlated, KeyPart, KnownRules, ListQuery, ListView, ListedRules, MatchList,
    MatchedEvent, RowCounts, correlate, may_find,
};
use eqlipse_engine::script::Scalar;
use eqlipse_engine::{Coverage, MatchPlan, Matcher, RuleIndex, RuleSet, RuleSetBuilder};
use eqlipse_eql::ast::{PipeKind, Query};
use eqlipse_testkit::generate::Case;
use eqlipse_testkit::interpreter::{Counted, Event, Interpreter, Match, Options};
use serde_json::Value;

/// How documents are read and cut into batches.
pub struct Setup {
    pub category_field: String,
    pub timestamp_field: String,
    pub tiebreaker_field: Option<String>,
    pub types: Arc<FieldTypes>,
    pub batch_rows: usize,
    pub collectors: usize,
    pub memory_limit: usize,
    /// Keep what matched as bytes, and correlate that, where the queries allow it.
    pub lists: bool,
    pub correlate: CorrelateOptions,
    pub processes: ProcessEvents,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            category_field: "event.category".into(),
            timestamp_field: "@timestamp".into(),
            tiebreaker_field: Some("event.sequence".into()),
            types: Arc::new(eqlipse_ecs::field_type),
            batch_rows: 16_384,
            collectors: 1,
            memory_limit: usize::MAX,
            lists: false,
            correlate: CorrelateOptions::default(),
            processes: ProcessEvents::default(),
        }
    }
}

/// The rules of these queries.
pub fn compile(queries: &[&Query], setup: &Setup) -> RuleSet {
    let types = setup.types.clone();
    let options = CompileOptions { any_index: false, field_types: Box::new(move |name| types(name)) };
    let mut builder = RuleSetBuilder::new(options);
    let time = (setup.types)(&setup.timestamp_field).unwrap_or(FieldType::Date);
    builder.schema_mut().add_typed(&setup.timestamp_field, time);
    if let Some(tiebreaker) = &setup.tiebreaker_field {
        builder.schema_mut().add_typed(tiebreaker, (setup.types)(tiebreaker).unwrap_or(FieldType::Dynamic));
    }
    let processes = setup.processes.clone();
    let scope = Scope { category_field: Some(setup.category_field.clone()), processes, ..Scope::default() };
    for query in queries {
        builder.add(query, &scope).unwrap();
    }
    builder.build()
}

/// What each query finds, events by their index in `docs`. `orders` gives times and tiebreakers that are not to be read
/// from the documents.
pub fn run(
    queries: &[&Query],
    docs: &[Value],
    orders: Option<&[(i64, Option<i64>)]>,
    setup: &Setup,
) -> Vec<Vec<Match>> {
    let rules = Arc::new(compile(queries, setup));
    let plan = Arc::new(MatchPlan::new(rules.clone()));
    let mut coverage = Coverage::new(&rules);
    let mut collectors: Vec<Collector> =
        (0..setup.collectors).map(|_| Collector::with_limit(rules.clone(), setup.memory_limit)).collect();
    let mut matcher = Matcher::new(plan);
    let mut builder = BatchBuilder::new(rules.schema().clone());
    for (index, chunk) in docs.chunks(setup.batch_rows).enumerate() {
        for (offset, doc) in chunk.iter().enumerate() {
            let position = index * setup.batch_rows + offset;
            push(&mut builder, rules.schema(), rules.schema().root(), doc);
            let order = order_key(&builder, rules.schema(), setup, orders.map(|orders| orders[position]), position);
            builder.end_row(RowMeta { order, identity: None });
        }
        let collector = &mut collectors[index % setup.collectors];
        let batch = builder.batch();
        collector.start(batch);
        matcher.run(batch, &mut coverage, |stage, rows| {
            collector.add(batch, stage, rows, |row| batch.rows()[row as usize].order.arrival.position);
        });
        builder.clear();
    }
    let cuts =
        |query: &&Query| query.pipes.iter().all(|pipe| matches!(pipe.kind, PipeKind::Head(_) | PipeKind::Tail(_)));
    let Correlated { matched, detections, .. } = match setup.lists && queries.iter().all(cuts) {
        true => correlate_as_lists(&rules, collectors, &setup.correlate),
        false => correlate(&rules, collectors, &setup.correlate).unwrap(),
    };
    let mut found: Vec<Vec<Match>> = vec![Vec::new(); queries.len()];
    for detection in detections {
        let index = |event: &Option<u32>| event.map(|event| matched.events()[event as usize].handle as usize);
        let keys = detection.key.map(|key| matched.keys().parts(key)).unwrap_or_default();
        found[detection.rule.0 as usize].push(Match {
            events: detection.events.iter().map(index).collect(),
            join_keys: keys.into_iter().map(key_json).collect(),
            counted: detection.statistics.map(|statistics| Counted {
                count: statistics.count,
                percent: statistics.percent,
                key: statistics.key.iter().map(scalar_json).collect(),
            }),
        });
    }
    found
}

/// Takes everything out of the collectors, into bytes and back.
fn correlate_as_lists(rules: &Arc<RuleSet>, collectors: Vec<Collector>, options: &CorrelateOptions) -> Correlated {
    let fingerprints: Vec<u128> = (0..rules.plans().len() as u128).map(|rule| rule << 64 | 7).collect();
    let (listed, known) = (ListedRules::new(rules, &fingerprints), KnownRules::default());
    let lists = collectors.into_iter().map(|collector| {
        let list = collector.into_list(rules, &listed).unwrap();
        assert!(fingerprints.iter().all(|fingerprint| list.has(*fingerprint)));
        let mut bytes = Vec::new();
        list.encode(&mut bytes);
        for end in [0, bytes.len() / 2, bytes.len() - 1] {
            assert!(MatchList::decode(&bytes[..end], &known).is_none());
        }
        MatchList::decode(&bytes, &known).unwrap()
    });
    let lists: Vec<MatchList> = lists.collect();
    let lists: Vec<&MatchList> = lists.iter().collect();
    let which: Vec<RuleIndex> = (0..rules.plans().len() as u32).map(RuleIndex).collect();
    let joined = MatchList::join(&lists, |_, _, event| Some(event.handle));
    let lists = if lists.len().is_multiple_of(2) { vec![&joined] } else { lists };
    let lists: Vec<ListView<'_>> = lists.into_iter().map(|list| ListView { list, has_news: false }).collect();
    let query = ListQuery { rules, fingerprints: &fingerprints, which: &which, lists: &lists, options };
    assert_news(&query);
    assert_narrow(&query);
    query.all(|_, _, event| Some(event.handle))
}

/// What each rule finds in all lists, it finds in those that have its rows alone, and nothing where a step has none.
fn assert_narrow(query: &ListQuery<'_>) {
    let mut counts = RowCounts::default();
    query.lists.iter().for_each(|view| counts.add(&view.list.counts()));
    for rule in query.which {
        let fingerprint = query.fingerprints[rule.0 as usize];
        let narrow: Vec<MatchList> = query.lists.iter().map(|view| view.list.only(|of| of == fingerprint)).collect();
        let narrow: Vec<ListView<'_>> = narrow.iter().map(|list| ListView { list, has_news: false }).collect();
        let found = |lists: &[ListView<'_>]| {
            let found = ListQuery { which: &[*rule], lists, ..*query }.all(|_, _, event| Some(event.handle));
            let found = found.detections.iter().map(|detection| {
                let handle = |event: &Option<u32>| event.map(|event| found.matched.events()[event as usize].handle);
                let key = detection.key.map(|key| found.matched.keys().parts(key));
                (detection.events.iter().map(handle).collect::<Vec<_>>(), format!("{key:?}"))
            });
            found.collect::<Vec<_>>()
        };
        let all = found(query.lists);
        assert_eq!(found(&narrow), all);
        let rows = counts.of(fingerprint).unwrap_or_default();
        let each = query.lists.iter().map(|view| view.list.count_rows(fingerprint, |_| true) as u64);
        assert_eq!(rows.iter().sum::<u64>(), each.sum::<u64>());
        let has_rows = query.lists.iter().any(|view| view.list.counts().has_rows(fingerprint));
        assert_eq!(has_rows, rows.iter().any(|rows| *rows > 0));
        assert!(all.is_empty() || may_find(query.rules, *rule, &rows));
    }
}

/// Whichever list is the new one: what is found with its events is what is found in all with them.
fn assert_news(query: &ListQuery<'_>) {
    let which: Vec<RuleIndex> =
        query.which.iter().copied().filter(|rule| !eqlipse_engine::needs_all(query.rules, *rule)).collect();
    for new in 0..query.lists.len() {
        let lists = query.lists.iter().enumerate();
        let lists: Vec<ListView<'_>> =
            lists.map(|(number, view)| ListView { has_news: number == new, ..*view }).collect();
        let query = ListQuery { which: &which, lists: &lists, ..*query };
        let keep = |list: usize, _: u32, event: &MatchedEvent| Some(event.handle << 1 | u64::from(list == new));
        let with_new = |found: &Correlated| {
            let found = found.detections.iter().map(|detection| {
                let events = detection
                    .events
                    .iter()
                    .map(|event| event.map(|event| found.matched.events()[event as usize].handle));
                let key = detection.key.map(|key| found.matched.keys().parts(key));
                (detection.rule, events.collect::<Vec<_>>(), format!("{key:?}"))
            });
            let mut found: Vec<_> =
                found.filter(|(_, events, _)| events.iter().flatten().any(|handle| handle & 1 == 1)).collect();
            found.sort();
            found
        };
        let (all, news) = (query.all(keep), query.news(i64::MIN, keep, |list, _| list == new));
        assert_eq!(with_new(&news), with_new(&all));
    }
}

fn order_key(
    builder: &BatchBuilder,
    schema: &Schema,
    setup: &Setup,
    given: Option<(i64, Option<i64>)>,
    position: usize,
) -> OrderKey {
    let first = |name: &str| schema.lookup(name).and_then(|field| builder.open_values(field).next());
    let arrival = Arrival { source: 0, position: position as u64 };
    if let Some((time, tiebreaker)) = given {
        return OrderKey { time: Some(time), tiebreaker, arrival };
    }
    let time = first(&setup.timestamp_field).and_then(|value| match value {
        ValueRef::Date(nanos) => Some(nanos),
        ValueRef::Int(millis) => coerce_date(RawValue::Int(millis)),
        ValueRef::Str(text) => coerce_date(RawValue::Str(text)),
        _ => None,
    });
    let tiebreaker = setup.tiebreaker_field.as_deref().and_then(first).and_then(|value| match value {
        ValueRef::Int(value) => Some(value),
        _ => None,
    });
    OrderKey { time, tiebreaker, arrival }
}

fn push(builder: &mut BatchBuilder, schema: &Schema, node: PathNode, value: &Value) {
    let raw = match value {
        Value::Object(object) => {
            for (key, value) in object {
                if let Some(next) = schema.step(node, key) {
                    push(builder, schema, next, value);
                }
            }
            return;
        }
        Value::Array(items) => return items.iter().for_each(|item| push(builder, schema, node, item)),
        Value::Null => return,
        Value::Bool(value) => RawValue::Bool(*value),
        Value::String(text) => RawValue::Str(text),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => RawValue::Int(value),
            (None, Some(value), _) => RawValue::UInt(value),
            (None, None, Some(value)) => RawValue::Double(value),
            (None, None, None) => return,
        },
    };
    if let Some(field) = schema.field_at(node) {
        builder.push(field, raw);
    }
}

/// The JSON that the interpreter gives for the same key.
fn key_json(part: KeyPart) -> Value {
    match part {
        KeyPart::Null => Value::Null,
        KeyPart::Bool(value) => value.into(),
        KeyPart::Whole(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => value.into(),
            (Err(_), Ok(value)) => value.into(),
            (Err(_), Err(_)) => (value as f64).into(),
        },
        KeyPart::Double(value) => value.into(),
        KeyPart::Text(text) => text.into(),
        KeyPart::Date(nanos) => date_text(nanos).into(),
        KeyPart::Ip(address) => address.to_string().into(),
    }
}

/// The same for a value that a pipe counted by.
fn scalar_json(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => (*value).into(),
        Scalar::Int(value) => (*value).into(),
        Scalar::UInt(value) => (*value).into(),
        Scalar::Double(value) => (*value).into(),
        other => other.text().into(),
    }
}

fn date_text(nanos: i64) -> String {
    let scalar = Scalar::Date(nanos);
    scalar.text().map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The documents that each rule of event queries matches.
#[allow(dead_code, reason = "not every test file uses it")]
pub fn run_rules(rules: RuleSet, docs: &[Value]) -> Vec<Vec<usize>> {
    let rules = Arc::new(rules);
    let mut builder = BatchBuilder::new(rules.schema().clone());
    for (position, doc) in docs.iter().enumerate() {
        push(&mut builder, rules.schema(), rules.schema().root(), doc);
        let order = order_key(&builder, rules.schema(), &Setup::default(), None, position);
        builder.end_row(RowMeta { order, identity: None });
    }
    let mut found = vec![Vec::new(); rules.plans().len()];
    let mut matcher = Matcher::new(Arc::new(MatchPlan::new(rules.clone())));
    matcher.run(builder.batch(), &mut Coverage::new(&rules), |stage, rows| {
        let rule = rules.stages()[stage.0 as usize].rule;
        found[rule.0 as usize].extend(rows.iter().map(|row| *row as usize));
    });
    found
}

/// Runs a case through the engine and the reference interpreter; an error shows where they differ.
#[allow(dead_code, reason = "not every test file uses it")]
pub fn agree(case: &Case, mut setup: Setup) -> Result<(), String> {
    setup.correlate.end = case.end;
    let found = canonical(run(&[&case.query], &case.events, None, &setup).remove(0));
    let expected = canonical(expected(case));
    if found == expected { Ok(()) } else { Err(format!("{}\nfinds {found:?}\nnot   {expected:?}", case.query)) }
}

#[allow(dead_code, reason = "not every test file uses it")]
fn expected(case: &Case) -> Vec<Match> {
    let events: Vec<Event<'_>> = case
        .events
        .iter()
        .enumerate()
        .map(|(index, doc)| Event { doc, arrival: (0, index as u64), order: None })
        .collect();
    Interpreter::new(Options { end: case.end, ..Options::default() }).run(&case.query, &events)
}

#[allow(dead_code, reason = "not every test file uses it")]
/// Keys with each number as its exact value: 5 and 5.0 are the same key.
fn canonical(mut found: Vec<Match>) -> Vec<Match> {
    for found in &mut found {
        let counted = found.counted.iter_mut().flat_map(|counted| &mut counted.key);
        for key in found.join_keys.iter_mut().chain(counted) {
            if let Some(number) = key.as_f64().filter(|number| number.fract() == 0.0 && !key.is_i64() && !key.is_u64())
            {
                // -0.0 is 0.
                *key = Value::String(format!("{:.0}", number + 0.0));
            } else if key.is_number() {
                *key = Value::String(key.to_string());
            }
        }
    }
    found
}
