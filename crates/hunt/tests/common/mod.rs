//! What the reference interpreter finds in the events that the pipeline hands over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use eqlipse_alerts::Alert;
use eqlipse_batch::{EventBatch, OrderKey, Schema};
use eqlipse_events::{Discovery, OrderBy, Progress, ReadOptions};
use eqlipse_rules::Rule;
use eqlipse_testkit::interpreter::{Event, Fold, Interpreter, Options, Prepared, wildcard};
use serde_json::Value;

/// An event as the pipeline hands it over.
pub struct Decoded {
    order: OrderKey,
    identity: Option<u128>,
    hit: Value,
}

/// All events in order, those that were read twice once.
fn decode(inputs: &Discovery, order_by: OrderBy) -> Vec<Decoded> {
    let mut schema = Schema::builder();
    eqlipse_events::reserve(&mut schema);
    let events = Mutex::new(Vec::new());
    let take = |batch: &EventBatch| {
        for (row, meta) in batch.rows().iter().enumerate() {
            let mut bytes = Vec::new();
            batch.write_source(row as u32, &mut bytes);
            let hit = serde_json::from_slice(&bytes).unwrap();
            events.lock().unwrap().push(Decoded { order: meta.order, identity: meta.identity, hit });
        }
    };
    let options = ReadOptions { order_by, ..ReadOptions::default() };
    eqlipse_events::read(inputs, &schema.build(), &options, &Progress::default(), |_| take).unwrap();
    let mut events = events.into_inner().unwrap();
    events.sort_by_key(|event| event.order);
    let mut seen = HashSet::new();
    events.retain(|event| event.identity.is_none_or(|identity| seen.insert(identity)));
    events
}

/// Whether a rule's index patterns let it see an event that belongs to `indices`.
fn visible(patterns: &[String], indices: &[String]) -> bool {
    let hit = |pattern: &str| indices.iter().any(|index| wildcard(pattern, index, Fold::None));
    let (unwanted, wanted): (Vec<&str>, Vec<&str>) =
        patterns.iter().map(String::as_str).partition(|pattern| pattern.starts_with('-'));
    indices.is_empty()
        || wanted.is_empty()
        || wanted.iter().any(|pattern| hit(pattern)) && !unwanted.iter().any(|pattern| hit(&pattern[1..]))
}

/// What rules found: rule id to the documents of each alert, `None` for an event missing on purpose.
pub type Found = BTreeMap<String, BTreeSet<Vec<Option<String>>>>;

/// Events prepared for the interpreter, with their places among all events.
type Visible<'a> = Arc<(Vec<usize>, Prepared<'a>)>;

/// What the interpreter finds, rule by rule; each event comes with the indices that it belongs to.
pub fn interpret(rules: &[Arc<Rule>], events: &[(Decoded, Vec<String>)]) -> Found {
    let next = Mutex::new(rules.iter());
    let found = Mutex::new(Found::new());
    // Rules that may see the same events share what is prepared.
    let prepared: Mutex<BTreeMap<Vec<usize>, Visible<'_>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(rule) = next.lock().unwrap().next() else { return };
                    let eql = rule.eql().unwrap();
                    let category = eql.event_category_override.clone().unwrap_or("event.category".into());
                    let interpreter = Interpreter::new(Options { category_field: category, ..Options::default() });
                    let seen: Vec<usize> =
                        (0..events.len()).filter(|index| visible(&eql.source.index, &events[*index].1)).collect();
                    if seen.is_empty() {
                        continue;
                    }
                    let known = prepared.lock().unwrap().get(&seen).cloned();
                    let ready = known.unwrap_or_else(|| {
                        let list: Vec<Event<'_>> = seen.iter().map(|index| event(&events[*index].0)).collect();
                        let ready = Arc::new((seen.clone(), interpreter.prepare(&list)));
                        prepared.lock().unwrap().insert(seen, ready.clone());
                        ready
                    });
                    let query = eqlipse_eql::parse(&eql.query).unwrap();
                    let document = |index: usize| events[ready.0[index]].0.hit["_source"].to_string();
                    let matches = interpreter.run_prepared(&query, &ready.1).into_iter();
                    let matches: BTreeSet<_> = matches
                        .map(|found| found.events.iter().map(|event| event.map(document)).collect::<Vec<_>>())
                        .collect();
                    if !matches.is_empty() {
                        found.lock().unwrap().insert(rule.rule_id.clone(), matches);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn event(decoded: &Decoded) -> Event<'_> {
    let OrderKey { time, tiebreaker, arrival } = decoded.order;
    Event {
        doc: &decoded.hit["_source"],
        arrival: (arrival.source, arrival.position),
        order: time.map(|time| (time, tiebreaker)),
    }
}

/// The indices of a document by the rules of the pipeline: the hit's, and Winlogbeat's for Windows event logs.
fn indices(hit: &Value, windows: bool) -> Vec<String> {
    let own = hit["_index"].as_str().map(str::to_owned);
    let winlogbeat = (windows && own.is_some()).then(|| "winlogbeat-eqlipse".to_owned());
    own.into_iter().chain(winlogbeat).collect()
}

/// All events that the interpreter is given, with the indices that they belong to.
pub fn events(inputs: &Discovery, windows: bool, order_by: OrderBy) -> Vec<(Decoded, Vec<String>)> {
    let with_indices = |event: Decoded| {
        let indices = indices(&event.hit, windows);
        (event, indices)
    };
    decode(inputs, order_by).into_iter().map(with_indices).collect()
}

/// What the alerts of a hunt are of.
pub fn found(alerts: &[Alert]) -> Found {
    let mut found = Found::new();
    for alert in alerts {
        let source = |event: &eqlipse_alerts::MatchedEvent| Value::Object((*event.source).clone()).to_string();
        let documents = alert.events.iter().map(|event| event.as_ref().map(source));
        found.entry(alert.rule.rule_id.clone()).or_default().insert(documents.collect());
    }
    found
}
