//! The service and a hunt over the same events find the same, in whatever order and company the events arrive.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eqlipse_control::{AlertQuery, Control};
use eqlipse_events::{DiscoverOptions, Discovery, Progress, ReadOptions, convert_hits, discover};
use eqlipse_fleet::Stream;
use eqlipse_fleet::random::Random;
use eqlipse_hunt::{HuntOptions, RuleBook, run};
use eqlipse_rules::{DateMath, Interval, LoadedRule, PathOrStdin, RuleLoad, load};
use eqlipse_schedule::{Clock, ScheduleOptions, Scheduler};
use eqlipse_store::{NewDocument, Store, StoreOptions};
use eqlipse_testkit::corpus;
use serde::Deserialize;
use serde_json::value::RawValue;

const MINUTE: i64 = 60_000_000_000;
const START: i64 = 5_933_333 * 5 * MINUTE;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// An alert: its rule, and the ids of its events.
type Found = BTreeSet<(String, Vec<String>)>;

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_source")]
    source: Box<RawValue>,
}

/// The events of inputs in an order of chance, each with an id of its own.
fn documents(inputs: &Discovery) -> Vec<NewDocument> {
    let mut documents = Vec::new();
    let options = ReadOptions::default();
    convert_hits(inputs, &options, &Progress::default(), &mut |hit| {
        let Hit { index, source } = serde_json::from_slice(hit)?;
        let index = index.unwrap_or_else(|| "logs-endpoint.events.process-default".to_owned());
        documents.push(NewDocument {
            index: index.into(),
            id: Some(documents.len().to_string().into()),
            document: source.get().to_owned().into(),
        });
        Ok(())
    })
    .unwrap();
    let mut random = Random::new(11);
    for place in (1..documents.len()).rev() {
        documents.swap(place, random.range(0, place as u64 + 1) as usize);
    }
    documents
}

/// Rules that look at everything that arrived in the last nine minutes, without a limit.
fn rules(path: &Path) -> Vec<LoadedRule> {
    let mut loaded = load(&[PathOrStdin::Path(path.to_owned())]).rules;
    loaded.retain(|loaded| loaded.rule.eql().is_some());
    for LoadedRule { rule, .. } in &mut loaded {
        rule.timestamp_override = Some("event.ingested".to_owned());
        rule.from = DateMath::parse("now-9m").unwrap();
        rule.interval = Interval::parse("5m").unwrap();
        rule.max_signals = u32::MAX;
    }
    loaded
}

fn hunted(rules: Vec<LoadedRule>, documents: &[NewDocument], folder: &Path) -> Found {
    let path = folder.join("events.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for NewDocument { index, id, document } in documents {
        let (index, id) = (serde_json::to_string(&**index).unwrap(), serde_json::to_string(&id.as_deref()).unwrap());
        writeln!(file, "{{\"_index\":{index},\"_id\":{id},\"_source\":{document}}}").unwrap();
    }
    drop(file);
    let book = RuleBook::compile(RuleLoad { rules, ..RuleLoad::default() }, |_| true, false);
    let inputs = discover(&[path], DiscoverOptions::default());
    let report = run(&book, &inputs, &HuntOptions::default(), &Progress::default()).unwrap();
    let found = report.alerts.iter().map(|alert| {
        let events = alert.events.iter().flatten().map(|event| event.id.clone());
        (alert.rule.rule_id.clone(), events.collect())
    });
    found.collect()
}

fn served(rules: &[LoadedRule], documents: &[NewDocument], folder: &Path) -> Found {
    let control = Control::open(&folder.join("control.sqlite")).unwrap();
    assert_eq!(control.install(rules, true, "test", START).unwrap().failed, []);
    let active = Scheduler::enabled_rules(&control).unwrap();
    assert_eq!(active.failed, []);
    let options = StoreOptions { flush_age: Duration::from_secs(3600), ..StoreOptions::default() };
    let (store, _) = Store::open(&folder.join("events"), options, active.compiled.clone()).unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(START + MINUTE)));
    let options = ScheduleOptions { max_alerts: u32::MAX, ..ScheduleOptions::default() };
    let scheduler = Scheduler::new(store.clone(), control.clone(), active, options, clock.clone()).unwrap();
    let mut random = Random::new(5);
    let mut rest = documents;
    while !rest.is_empty() {
        let (taken, left) = rest.split_at(rest.len().min(random.range(1, 2_000) as usize));
        assert!(store.ingest(taken, clock.now()).unwrap().iter().all(Result::is_ok));
        rest = left;
        clock.0.fetch_add(1, Ordering::SeqCst);
        if random.range(0, 4) == 0 {
            store.flush().unwrap();
        }
    }
    for end in [5, 10] {
        clock.0.store(START + end * MINUTE, Ordering::SeqCst);
        scheduler.run_due().unwrap();
    }
    assert_eq!(scheduler.status().failures, 0);
    let mut found = Found::new();
    let all = AlertQuery { include_building_blocks: true, ..AlertQuery::default() };
    control
        .for_each_alert(&all, &mut |_, document| {
            if document.contains_key("kibana.alert.group.index") {
                // An event of a sequence, whose alert is another.
                return ControlFlow::Continue(());
            }
            let ancestors = document["kibana.alert.ancestors"].as_array().unwrap().iter();
            let events = ancestors.filter(|ancestor| ancestor["type"] == "event");
            let events = events.map(|event| event["id"].as_str().unwrap().to_owned());
            let is_new =
                found.insert((document["kibana.alert.rule.rule_id"].as_str().unwrap().to_owned(), events.collect()));
            assert!(is_new, "an alert that came twice");
            ControlFlow::Continue(())
        })
        .unwrap();
    store.close().unwrap();
    found
}

fn check(rules_path: &Path, inputs: &[PathBuf]) {
    let documents = documents(&discover(inputs, DiscoverOptions::default()));
    let rules = rules(rules_path);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hunted = hunted(rules.clone(), &documents, one.path());
    let served = served(&rules, &documents, two.path());
    assert!(!hunted.is_empty());
    let differences: Vec<_> = hunted.symmetric_difference(&served).take(5).collect();
    assert!(differences.is_empty(), "{} hunted, {} served: {differences:?}", hunted.len(), served.len());
}

#[test]
fn the_bundled_rules_over_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.ndjson");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    Stream::new(3, 12).with_attacks(500).take(6_000).for_each(|line| writeln!(out, "{line}").unwrap());
    drop(out);
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules"), &[path]);
}

#[test]
fn elastics_rules_over_event_logs() {
    let Some(root) = corpus("the service and a hunt over event logs", "") else { return };
    check(&root.join("rules/elastic-detection-rules"), &[root.join("data/evtx-attack-samples")]);
}
