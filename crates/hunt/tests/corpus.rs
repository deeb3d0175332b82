//! All of Elastic's EQL rules over real logs: every alert of the hunt is one that the reference interpreter finds, rule
//! by rule, and the other way round.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use eqlipse_batch::{EventBatch, OrderKey, Schema};
use eqlipse_events::{DiscoverOptions, Discovery, OrderBy, Progress, ReadOptions, discover};
use eqlipse_hunt::{HuntOptions, RuleBook, run};
use eqlipse_rules::{PathOrStdin, Rule, load};
use eqlipse_testkit::corpus;
use eqlipse_testkit::interpreter::{Event, Fold, Interpreter, Options, Prepared, wildcard};
use serde_json::Value;

/// An event as the pipeline hands it over.
struct Decoded {
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
type Found = BTreeMap<String, BTreeSet<Vec<Option<String>>>>;

/// Events prepared for the interpreter, with their places among all events.
type Visible<'a> = Arc<(Vec<usize>, Prepared<'a>)>;

/// What the interpreter finds, rule by rule; each event comes with the indices that it belongs to.
fn interpret(rules: &[Arc<Rule>], events: &[(Decoded, Vec<String>)]) -> Found {
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

fn check(paths: &[PathBuf], windows: bool, order_by: OrderBy) -> usize {
    let rules = corpus("Elastic's rules", "rules/elastic-detection-rules").unwrap();
    let book = RuleBook::compile(load(&[PathOrStdin::Path(rules)]), |_| true, false);
    assert!(book.report().unloaded.is_empty(), "{:?}", book.report().unloaded);
    assert_eq!(book.rules().len(), 1081);
    let inputs = discover(paths, DiscoverOptions::default());
    let options = HuntOptions { order_by, ..HuntOptions::default() };
    let report = run(&book, &inputs, &options, &Progress::default()).unwrap();

    let mut found = Found::new();
    for alert in &report.alerts {
        let documents = alert
            .events
            .iter()
            .map(|event| event.as_ref().map(|event| Value::Object(event.source.clone()).to_string()));
        found.entry(alert.rule.rule_id.clone()).or_default().insert(documents.collect());
    }
    let events: Vec<_> = decode(&inputs, order_by)
        .into_iter()
        .map(|event| {
            let indices = indices(&event.hit, windows);
            (event, indices)
        })
        .collect();
    let expected = interpret(book.rules(), &events);
    let ids: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for id in ids {
        assert_eq!(found.get(id), expected.get(id), "rule {id}");
    }
    println!(
        "{}: {} events, {} rules fired, {} alerts",
        paths[0].display(),
        events.len(),
        found.len(),
        report.alerts.len()
    );
    report.alerts.len()
}

#[test]
fn hunt_equals_interpreter_on_event_logs() {
    let Some(root) = corpus("Elastic's rules over event logs, against the interpreter", "") else { return };
    assert!(check(&[root.join("data/evtx-attack-samples")], true, OrderBy::Log) > 1000);
}

#[test]
fn hunt_equals_interpreter_in_elastic_order() {
    let Some(root) = corpus("Elastic's rules in Elastic's order, against the interpreter", "") else { return };
    assert!(check(&[root.join("data/evtx-attack-samples/Execution")], true, OrderBy::Timestamp) > 0);
}

#[test]
fn hunt_equals_interpreter_on_json() {
    let Some(root) = corpus("Elastic's rules over JSON datasets, against the interpreter", "") else { return };
    // Small enough for the interpreter; the rest are Windows logs, which the other tests have.
    let sets = ["aws", "linux"].map(|set| root.join("data/security-datasets/atomic").join(set));
    check(&sets, false, OrderBy::Log);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/story/linux-web01.ndjson");
    assert!(check(&[examples], false, OrderBy::Log) > 0);
}

/// The four attacks of the rule that started the project, and the two that Elastic's own order leaves.
#[test]
fn the_seed_rule_finds_its_attacks() {
    let Some(root) = corpus("the seed rule", "") else { return };
    let files = |order_by| {
        let book = RuleBook::compile(load(&[PathOrStdin::Path(root.join("seed"))]), |_| true, false);
        let inputs = discover(&[root.join("data/evtx-attack-samples")], DiscoverOptions::default());
        let options = HuntOptions { order_by, ..HuntOptions::default() };
        let report = run(&book, &inputs, &options, &Progress::default()).unwrap();
        let mut files = Vec::new();
        for alert in &report.alerts {
            let [Some(start), Some(connection)] = &alert.events[..] else { panic!("{:?}", alert.events) };
            assert_eq!(start.origin, connection.origin);
            assert_eq!((alert.severity.as_str(), alert.risk_score), ("medium", 47.0));
            let mitre: Vec<_> = alert.rule.tactic_ids().chain(alert.rule.technique_ids()).collect();
            assert_eq!(mitre, ["TA0005", "T1218", "T1218.005"]);
            let entity =
                |event: &eqlipse_alerts::MatchedEvent| event.source["process"]["entity_id"].as_str().map(str::to_owned);
            assert_eq!(alert.join_keys[0].as_str().map(str::to_owned), entity(start));
            assert_eq!(entity(start), entity(connection));
            let origin = start.origin.clone().unwrap();
            files.push(Path::new(&origin).file_stem().unwrap().to_string_lossy().into_owned());
        }
        files.sort();
        files
    };
    let (panache, rundll32, sharpshooter, lethal) = (
        "panache_sysmon_vs_EDRTestingScript",
        "exec_persist_rundll32_mshta_scheduledtask_sysmon_1_3_11",
        "sysmon_mshta_sharpshooter_stageless_meterpreter",
        "LM_DCOM_MSHTA_LethalHTA_Sysmon_3_1",
    );
    assert_eq!(files(OrderBy::Log), [lethal, rundll32, panache, sharpshooter]);
    assert_eq!(files(OrderBy::Timestamp), [panache, sharpshooter]);
}
