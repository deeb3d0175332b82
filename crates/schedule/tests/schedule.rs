//! The scheduler with a clock of its own: nothing is skipped, nothing comes twice, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eqlipse_control::{AlertQuery, Control, Execution, ExecutionStatus, RuleKey, WindowKind};
use eqlipse_schedule::{Clock, ScheduleOptions, Scheduler};
use eqlipse_store::{NewDocument, Store, StoreOptions};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// Some midnight.
const START: i64 = 1_780_000_000 / 300 * 300 * SECOND;

/// What it shows, and how often it still goes on by three seconds when it is asked.
#[derive(Default)]
struct TestClock(AtomicI64, AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> i64 {
        let goes_on = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1));
        self.0.fetch_add(if goes_on.is_ok() { 3 * SECOND } else { 0 }, Ordering::SeqCst)
    }
}

/// A service without its server.
struct Service {
    store: Store,
    control: Control,
    scheduler: Scheduler,
    clock: Arc<TestClock>,
}

impl Service {
    fn open(folder: &Path, clock: &Arc<TestClock>, options: ScheduleOptions) -> Self {
        let control = Control::open(&folder.join("control.sqlite")).unwrap();
        let active = Scheduler::enabled_rules(&control).unwrap();
        assert_eq!(active.failed, []);
        // What matched has room for a few segments, so that it is read again and again, and of what is old only a part.
        let store_options =
            StoreOptions { flush_age: Duration::from_secs(3600), cache_bytes: 4_000, ..StoreOptions::default() };
        let store = Store::open(&folder.join("store"), store_options, active.compiled.clone()).unwrap().0;
        let scheduler = Scheduler::new(store.clone(), control.clone(), active, options, clock.clone()).unwrap();
        Self { store, control, scheduler, clock: clock.clone() }
    }

    fn close(self) {
        self.store.close().unwrap();
    }

    fn at(&self, now: i64) -> &Self {
        self.clock.0.store(now, Ordering::SeqCst);
        self
    }

    fn send(&self, documents: Vec<NewDocument>) {
        let now = self.clock.now();
        assert!(self.store.ingest(documents, now).unwrap().iter().all(Result::is_ok));
    }

    /// The alerts of a rule: the ids of their events.
    fn alerts(&self, rule_id: &str) -> Vec<Vec<String>> {
        let rule = self.control.rule(&RuleKey::RuleId(rule_id)).unwrap().unwrap();
        let mut alerts = Vec::new();
        let query = AlertQuery { rule: Some(rule.id), ..AlertQuery::default() };
        self.control
            .for_each_alert(&query, &mut |_, document| {
                let ancestors = document["kibana.alert.ancestors"].as_array().unwrap().iter();
                let events = ancestors.filter(|ancestor| ancestor["type"] == "event");
                alerts.push(events.map(|event| event["id"].as_str().unwrap().to_owned()).collect());
                ControlFlow::Continue(())
            })
            .unwrap();
        alerts.sort();
        alerts
    }

    fn id(&self, rule_id: &str) -> String {
        self.control.rule(&RuleKey::RuleId(rule_id)).unwrap().unwrap().id
    }

    fn set_enabled(&self, rule_id: &str, enabled: bool) {
        self.control.set_enabled(&[self.id(rule_id)], enabled, "test", self.clock.now()).unwrap();
    }

    fn patch(&self, rule_id: &str, patch: Value) {
        let Value::Object(patch) = patch else { unreachable!() };
        self.control.patch_rule(&RuleKey::RuleId(rule_id), patch, "test", self.clock.now()).unwrap();
    }

    /// Runs what is due every five minutes, some seconds later.
    fn run_until(&self, from: i64, to: i64) {
        for minute in (from..=to).filter(|minute| minute % 5 == 0) {
            self.at(START + minute * MINUTE + SECOND).scheduler.run_due().unwrap();
        }
    }

    fn gaps(&self, rule_id: &str, from: i64, to: i64) -> Vec<i64> {
        let key = RuleKey::RuleId(rule_id);
        let gaps = self.scheduler.gaps(&key, START + from * MINUTE, START + to * MINUTE).unwrap();
        gaps.iter().map(|gap| (gap.end - START) / MINUTE).collect()
    }

    fn ledger(&self, rule_id: &str) -> Vec<Execution> {
        let rule = self.control.rule(&RuleKey::RuleId(rule_id)).unwrap().unwrap();
        let mut ledger = self.control.ledger(&rule.id, 100_000).unwrap();
        ledger.reverse();
        ledger
    }
}

fn rule(rule_id: &str, query: &str, extra: Value) -> Map<String, Value> {
    let mut rule = json!({
        "rule_id": rule_id, "name": rule_id, "description": "d", "severity": "low", "risk_score": 21, "type": "eql",
        "language": "eql", "query": query, "from": "now-9m", "interval": "5m", "enabled": true, "max_signals": 1000,
        "timestamp_override": "event.ingested",
    });
    let (Value::Object(rule), Value::Object(extra)) = (&mut rule, extra) else { unreachable!() };
    rule.extend(extra);
    rule.retain(|_, value| !value.is_null());
    std::mem::take(rule)
}

fn event(id: usize, time: i64, name: &str, pid: u32) -> NewDocument {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time)).unwrap();
    let document = json!({
        "@timestamp": time.to_string(), "event": { "category": "process" }, "process": { "name": name, "pid": pid },
    });
    NewDocument {
        index: "logs-x-default".into(),
        id: Some(id.to_string().into()),
        document: document.to_string().into(),
    }
}

const ANY: &str = "process where process.name == \"a\"";
const SEQUENCE: &str = "sequence by process.pid with maxspan=2m [process where process.name == \"a\"] [process where process.name == \"b\"]";

fn setup(folder: &Path, rules: &[Map<String, Value>]) {
    let control = Control::open(&folder.join("control.sqlite")).unwrap();
    for rule in rules {
        control.create_rule(rule.clone(), "test", START).unwrap();
    }
}

#[test]
fn windows_of_nine_minutes_every_five_and_at_most_so_many_alerts() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("s", SEQUENCE, json!({ "max_signals": 100 }))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    service.at(START + MINUTE);
    let pairs = |count: usize| {
        (0..count)
            .flat_map(|pid| ["a", "b"].map(|name| (pid, name)))
            .enumerate()
            .map(|(id, (pid, name))| event(id, START + 30 * SECOND + id as i64, name, pid as u32))
    };
    service.send(pairs(101).collect());
    for minute in 1..=16 {
        service.at(START + minute * MINUTE + 10 * SECOND).scheduler.run_due().unwrap();
    }
    let ledger = service.ledger("s");
    let windows: Vec<(i64, i64)> =
        ledger.iter().map(|run| ((run.from - START) / MINUTE, (run.to - START) / MINUTE)).collect();
    assert_eq!(windows, [(-9, 0), (-4, 5), (1, 10), (6, 15)]);
    assert!(ledger.iter().all(|run| run.kind == WindowKind::OnTime), "{ledger:?}");
    assert_eq!((ledger[1].matches, ledger[1].new_alerts, ledger[1].capped), (101, 100, 1));
    assert_eq!(ledger[1].status, ExecutionStatus::Warning);
    assert!(ledger[1].message.contains("max_signals"), "{}", ledger[1].message);
    // The next window still holds the last one.
    assert_eq!((ledger[2].new_alerts, ledger[2].known_alerts, ledger[2].status), (1, 100, ExecutionStatus::Succeeded));
    let alerts = service.alerts("s");
    assert_eq!(alerts.len(), 101);
    assert!(alerts.contains(&vec!["0".to_owned(), "1".to_owned()]));
    service.close();
}

#[test]
fn what_came_late_to_a_window_that_left_some_out_is_looked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("t", ANY, json!({ "timestamp_override": null, "max_signals": 1 }))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    service.at(START + MINUTE).send((0..3).map(|id| event(id, START - 20 * MINUTE, "a", 1)).collect());
    for (minute, found) in [(5, 1), (10, 2), (15, 3), (20, 3)] {
        service.at(START + minute * MINUTE + 10 * SECOND).scheduler.run_due().unwrap();
        assert_eq!(service.alerts("t").len(), found, "after {minute} minutes");
    }
    service.close();
}

#[test]
fn what_came_late_is_looked_for_since_the_last_window_of_each_rule() {
    let folder = tempfile::tempdir().unwrap();
    let others = "process where process.name == \"b\"";
    let by_own_time = || json!({ "timestamp_override": null });
    setup(folder.path(), &[rule("first", ANY, by_own_time()), rule("second", others, by_own_time())]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    let run = || service.scheduler.run_due().unwrap();
    service.at(START + SECOND);
    run();
    ["first", "second"].iter().for_each(|rule| service.set_enabled(rule, false));
    service.at(START + MINUTE).set_enabled("first", true);
    run();
    service.at(START + 2 * MINUTE).send(vec![event(0, START - 20 * MINUTE, "a", 1)]);
    service.at(START + 3 * MINUTE).set_enabled("second", true);
    run();
    service.at(START + 4 * MINUTE).send(vec![event(1, START - 25 * MINUTE, "b", 1)]);
    service.at(START + 5 * MINUTE + SECOND);
    run();
    assert_eq!(service.alerts("first"), [["0"]]);
    assert_eq!(service.alerts("second"), [["1"]]);
    service.close();
}

#[test]
fn a_sequence_is_found_whose_first_event_came_in_time_and_another_late() {
    let folder = tempfile::tempdir().unwrap();
    let by_time = || json!({ "timestamp_override": null });
    let unlimited = SEQUENCE.replace(" with maxspan=2m", "");
    setup(
        folder.path(),
        &[
            rule("short", SEQUENCE, by_time()),
            rule("long", &SEQUENCE.replace("2m", "90m"), by_time()),
            rule("unlimited", &unlimited, by_time()),
        ],
    );
    let clock = Arc::default();
    let mut service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    // By key, in minutes: when the first event was, and when the second.
    let pairs =
        [(4, 5), (3, 11), (6, 16), (7, 8)].map(|(first, second)| (START + first * MINUTE, START + second * MINUTE));
    service.run_until(0, 0);
    for (pid, (first, _)) in pairs.iter().enumerate().take(3) {
        service.at(*first).send(vec![event(2 * pid, *first, "a", pid as u32)]);
    }
    service.run_until(5, 40);
    let late = pairs.iter().enumerate().map(|(pid, (_, second))| event(2 * pid + 1, *second, "b", pid as u32));
    service.at(START + 41 * MINUTE).send(late.collect());
    service.run_until(45, 45);
    // This one comes still later, and its second event is what waits for it.
    service.at(START + 46 * MINUTE).send(vec![event(6, pairs[3].0, "a", 3)]);
    for minute in (50..=70).step_by(5) {
        service.run_until(minute, minute);
        service.close();
        service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    }
    let found = |rule: &str| service.alerts(rule).iter().map(|events| events[0].parse::<i64>().unwrap() / 2).collect();
    let keys: [Vec<i64>; 3] = ["short", "long", "unlimited"].map(found);
    assert_eq!(keys, [vec![0, 3], vec![0, 1, 2, 3], vec![0, 1, 2, 3]]);
    for rule in ["short", "long", "unlimited"] {
        let ledger = service.ledger(rule);
        assert_eq!(ledger.iter().map(|run| run.new_alerts).sum::<u64>(), service.alerts(rule).len() as u64);
        assert_eq!(ledger.iter().map(|run| run.late_events).sum::<u64>(), 5);
        assert!(ledger.iter().all(|run| run.status == ExecutionStatus::Succeeded), "{ledger:?}");
    }
    service.close();
}

#[test]
fn what_came_in_time_does_not_suffer_for_what_came_late() {
    let folder = tempfile::tempdir().unwrap();
    let long = SEQUENCE.replace("2m", "90m");
    setup(folder.path(), &[rule("long", &long, json!({ "timestamp_override": null }))]);
    let options = ScheduleOptions { rule_events: 6, ..ScheduleOptions::default() };
    let service = Service::open(folder.path(), &Arc::default(), options);
    service.run_until(0, 0);
    let first = START + 2 * MINUTE;
    service.at(first).send((0..6).map(|id| event(id, first, "a", 10 + id as u32)).collect());
    service.run_until(5, 40);
    let now = START + 41 * MINUTE;
    let in_time = [event(6, now, "a", 1), event(7, now + SECOND, "b", 1)];
    let late = event(8, START + 34 * MINUTE, "b", 10);
    service.at(now + 2 * SECOND).send(in_time.into_iter().chain([late]).collect());
    service.run_until(45, 50);
    assert_eq!(service.alerts("long"), [["6", "7"]]);
    let ledger = service.ledger("long");
    let [.., run, next] = &ledger[..] else { panic!("{ledger:?}") };
    assert_eq!((run.status, run.new_alerts), (ExecutionStatus::Warning, 1));
    assert!(run.message.contains("what came late was not looked at"), "{}", run.message);
    assert_eq!(next.status, ExecutionStatus::Succeeded, "{}", next.message);
    service.close();
}

#[test]
fn a_sequence_is_found_whose_late_event_is_in_a_window_that_begins_behind_the_first() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("s", &SEQUENCE.replace("2m", "5m"), json!({ "timestamp_override": null }))]);
    for tick in [None, Some(Duration::from_secs(20))] {
        let options = ScheduleOptions { tick, ..ScheduleOptions::default() };
        let service = Service::open(folder.path(), &Arc::default(), options);
        let begin = if tick.is_some() { 60 } else { 0 };
        service.run_until(begin, begin + 5);
        let (first, second) = (START + (begin + 9) * MINUTE, START + (begin + 12) * MINUTE);
        service.at(first).send(vec![event(begin as usize, first, "a", 1)]);
        service.run_until(begin + 10, begin + 15);
        // The window that ended a minute before would have held both.
        service.at(START + (begin + 16) * MINUTE).send(vec![event(begin as usize + 1, second, "b", 1)]);
        service.run_until(begin + 20, begin + 40);
        assert!(service.alerts("s").contains(&vec![begin.to_string(), (begin + 1).to_string()]), "tick: {tick:?}");
        assert!(service.ledger("s").iter().all(|run| run.late_events == 0));
        service.close();
    }
}

#[test]
fn a_new_rule_is_matched_with_what_late_events_may_be_in_a_sequence_with() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    let (first, second) = (START - 70 * MINUTE, START - 64 * MINUTE);
    service.at(first).send(vec![event(0, first, "a", 1)]);
    service.store.flush().unwrap();
    service.at(START + SECOND);
    let by_time = json!({ "timestamp_override": null });
    service.control.create_rule(rule("s", &SEQUENCE.replace("2m", "9m"), by_time), "ann", START).unwrap();
    service.scheduler.run_due().unwrap();
    service.at(START + MINUTE).send(vec![event(1, second, "b", 1)]);
    service.run_until(5, 5);
    assert_eq!(service.alerts("s"), [["0", "1"]], "{:?}", service.ledger("s"));
    service.close();
}

#[test]
fn a_window_may_end_before_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let windows = json!({ "from": "now-11m", "to": "now-5m" });
    setup(folder.path(), &[rule("e", ANY, windows.clone()), rule("s", SEQUENCE, windows)]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    for minute in 1..=30 {
        let (time, pid) = (START + minute * MINUTE, minute as u32);
        let events = [event(2 * pid as usize, time, "a", pid), event(2 * pid as usize + 1, time + SECOND, "b", pid)];
        service.at(time + 10 * SECOND).send(events.into());
        service.scheduler.run_due().unwrap();
    }
    // The last window that was due ended five minutes before.
    assert_eq!((service.alerts("e").len(), service.alerts("s").len()), (24, 24));
    service.close();
}

#[test]
fn a_stopped_service_catches_up_window_by_window() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({})), rule("t", ANY, json!({ "timestamp_override": null }))]);
    let clock = Arc::default();
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    service.at(START + MINUTE).send(vec![event(0, START + MINUTE, "a", 0)]);
    service.close();
    clock.0.store(START + 31 * MINUTE, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.scheduler.run_due().unwrap();
    for rule in ["e", "t"] {
        assert_eq!(service.alerts(rule), [["0"]]);
        let ends: Vec<i64> = service.ledger(rule).iter().map(|run| (run.to - START) / MINUTE).collect();
        assert_eq!(ends, [0, 5, 10, 15, 20, 25, 30]);
        assert_eq!(service.ledger(rule)[1].kind, WindowKind::CaughtUp);
    }
    // An event that comes late is seen by the next execution, up to the bound; what is later is named.
    service
        .at(START + 32 * MINUTE)
        .send(vec![event(1, START + 3 * MINUTE, "a", 0), event(2, START - 90 * MINUTE, "a", 0)]);
    service.at(START + 35 * MINUTE).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("e"), [["0"], ["1"], ["2"]]);
    assert_eq!(service.alerts("t"), [["0"], ["1"]]);
    let last = service.ledger("t").pop().unwrap();
    assert_eq!((last.late_events, last.missed_events, last.status), (1, 1, ExecutionStatus::Warning));
    assert!(last.message.contains("\"2\" in \"logs-x-default\""), "{}", last.message);
    service.close();
}

#[test]
fn a_trailing_missing_event_waits_for_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let query = "sequence by process.pid with maxspan=4m [process where process.name == \"a\"] ![process where process.name == \"b\"]";
    setup(folder.path(), &[rule("m", query, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    service
        .at(START + 3 * MINUTE)
        .send(vec![event(0, START + 3 * MINUTE, "a", 1), event(1, START + 3 * MINUTE, "a", 2)]);
    service.at(START + 5 * MINUTE).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("m"), [] as [Vec<String>; 0]);
    service.at(START + 6 * MINUTE).send(vec![event(2, START + 6 * MINUTE, "b", 2)]);
    service.at(START + 10 * MINUTE).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("m"), [["0"]]);
    service.close();
}

const MISSING: &str = "sequence by process.pid with maxspan=2m [process where process.name == \"a\"] ![process where process.name == \"b\"]";

#[test]
fn a_trailing_missing_event_belongs_to_the_window_in_which_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let long = MISSING.replace("2m", "20m");
    let by_time = || json!({ "timestamp_override": null });
    setup(
        folder.path(),
        &[
            rule("m", &MISSING.replace("2m", "5m"), json!({})),
            rule("mt", &MISSING.replace("2m", "5m"), by_time()),
            rule("long", &long, json!({})),
            rule("long_t", &long, by_time()),
        ],
    );
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    for minute in 1..=60 {
        let time = START + minute * MINUTE;
        if minute <= 30 {
            service.at(time).send(vec![event(minute as usize, time, "a", minute as u32)]);
        }
        service.at(time + SECOND).scheduler.run_due().unwrap();
    }
    // One that is denied.
    service.at(START + 61 * MINUTE).send(vec![event(100, START + 61 * MINUTE, "a", 100)]);
    service.at(START + 70 * MINUTE).send(vec![event(101, START + 70 * MINUTE, "b", 100)]);
    service.run_until(70, 95);
    for (rule, found) in [("m", 31), ("mt", 31), ("long", 30), ("long_t", 30)] {
        assert_eq!(service.alerts(rule).len(), found, "{rule}");
    }
    service.close();
}

#[test]
fn what_denies_a_finding_may_come_as_late_as_its_events() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("m", MISSING, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    let time = START + 30 * SECOND;
    service.at(START + 290 * SECOND).send(vec![event(0, time, "a", 1), event(1, time, "a", 2)]);
    service.run_until(5, 5);
    service.at(START + 320 * SECOND).send(vec![event(2, time + 30 * SECOND, "b", 1)]);
    service.run_until(10, 20);
    assert_eq!(service.alerts("m"), [["1"]]);
    service.close();
}

#[test]
fn a_trailing_missing_event_waits_by_the_time_that_orders_the_rule_too() {
    let folder = tempfile::tempdir().unwrap();
    let by = |rule_id: &str, basis: Value| {
        rule(rule_id, MISSING, json!({ "timestamp_field": "event.created", "timestamp_override": basis }))
    };
    setup(folder.path(), &[by("m", json!("event.ingested")), by("mt", json!(null))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + SECOND).scheduler.run_due().unwrap();
    let made = |id: usize, time: i64, name: &str, pid: u32| {
        let mut new = event(id, time, name, pid);
        let mut document: Value = serde_json::from_str(&new.document).unwrap();
        document["event"]["created"] = document["@timestamp"].clone();
        new.document = document.to_string().into();
        new
    };
    let time = START + 4 * MINUTE;
    service.at(time).send(vec![made(0, time, "a", 1), made(1, time, "a", 2)]);
    service.run_until(5, 5);
    service.at(time + 90 * SECOND).send(vec![made(2, time + 90 * SECOND, "b", 1)]);
    service.run_until(10, 15);
    assert_eq!((service.alerts("m"), service.alerts("mt")), (vec![vec!["1".to_owned()]], vec![vec!["1".to_owned()]]));
    service.close();
}

#[test]
fn what_comes_in_time_is_never_late() {
    let folder = tempfile::tempdir().unwrap();
    let by_time = |extra: Value| {
        let mut all = json!({ "timestamp_override": null });
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all
    };
    setup(
        folder.path(),
        &[
            rule("capped", ANY, by_time(json!({ "max_signals": 1 }))),
            rule("off", ANY, by_time(json!({}))),
            rule("other", "process where process.name == \"b\"", by_time(json!({}))),
        ],
    );
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.run_until(0, 0);
    service.at(START + MINUTE);
    service.set_enabled("off", false);
    for minute in (5..=240).step_by(5) {
        let time = START + minute * MINUTE;
        service
            .at(time - MINUTE)
            .send((0..4).map(|n| event((4 * minute + n) as usize, time - MINUTE, "a", 1)).collect());
        // Two are late, one of them beyond the bound.
        if minute == 120 {
            service.send(vec![event(2, time - 30 * MINUTE, "a", 1), event(3, time - 90 * MINUTE, "a", 1)]);
        }
        service.run_until(minute, minute);
    }
    service.set_enabled("off", true);
    service.run_until(245, 250);
    for (rule, late, missed) in [("capped", 1, 1), ("off", 0, 0), ("other", 0, 0)] {
        let ledger = service.ledger(rule);
        let sum = |count: fn(&eqlipse_control::Execution) -> u64| ledger.iter().map(count).sum::<u64>();
        assert_eq!((sum(|run| run.late_events), sum(|run| run.missed_events)), (late, missed), "{rule}");
    }
    assert!(service.ledger("other").iter().all(|run| run.status == ExecutionStatus::Succeeded));
    service.close();
}

#[test]
fn another_window_is_looked_at_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let by_time = json!({ "timestamp_override": null });
    setup(folder.path(), &[rule("e", ANY, json!({})), rule("t", ANY, by_time), rule("basis", ANY, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START - 60 * MINUTE).send(vec![event(0, START - 60 * MINUTE, "a", 0)]);
    service.at(START - 5 * MINUTE).send(vec![event(1, START - 5 * MINUTE, "a", 0)]);
    service.run_until(0, 5);
    for rule in ["e", "t"] {
        assert_eq!(service.alerts(rule), [["1"]]);
        service.patch(rule, json!({ "from": "now-24h" }));
    }
    // What arrived long ago and says that it is of now.
    service.at(START + 6 * MINUTE).send(vec![event(2, START + 27 * MINUTE, "a", 0)]);
    service.run_until(10, 25);
    service.patch("basis", json!({ "timestamp_override": null }));
    service.run_until(30, 30);
    assert_eq!(
        (service.alerts("e"), service.alerts("t").len()),
        (vec![vec!["0".to_owned()], vec!["1".to_owned()], vec!["2".to_owned()]], 3)
    );
    let last = service.ledger("basis").pop().unwrap();
    assert_eq!((last.matches, last.known_alerts), (1, 1));
    service.close();
}

#[test]
fn a_rule_that_was_off_goes_on_from_now() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({})), rule("t", ANY, json!({ "timestamp_override": null }))]);
    let clock = Arc::default();
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(0, 5);
    let rules = ["e", "t"];
    rules.iter().for_each(|rule| service.set_enabled(rule, false));
    service.run_until(10, 10);
    service.at(START + 12 * MINUTE).send(vec![event(0, START + 12 * MINUTE, "a", 0)]);
    // A restart in between changes nothing.
    service.close();
    clock.0.store(START + 1_000 * MINUTE - SECOND, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    rules.iter().for_each(|rule| service.set_enabled(rule, true));
    service.run_until(1_000, 1_005);
    for rule in rules {
        let ends: Vec<i64> = service.ledger(rule).iter().map(|run| (run.scheduled - START) / MINUTE).collect();
        assert_eq!(ends, [0, 5, 1_000, 1_005]);
        assert_eq!(service.alerts(rule), [] as [Vec<String>; 0]);
        // The time is a gap, whichever part of it is asked for.
        assert_eq!(service.gaps(rule, 0, 1_005), (10..1_000).step_by(5).collect::<Vec<_>>());
        assert_eq!(service.gaps(rule, 10, 20), [10, 15, 20]);
        let key = RuleKey::RuleId(rule);
        let gaps = service.scheduler.gaps(&key, START + 10 * MINUTE, START + 20 * MINUTE).unwrap();
        service.scheduler.fill(&key, &gaps).unwrap();
        assert_eq!(service.alerts(rule), [["0"]]);
        assert_eq!(service.gaps(rule, 10, 20), [] as [i64; 0]);
    }
    service.close();
}

/// Switches a rule off when it was asked for the time so often.
struct Meddler {
    control: Control,
    rule: String,
    asked: AtomicI64,
}

impl Clock for Meddler {
    fn now(&self) -> i64 {
        let now = START + 1_000 * MINUTE;
        if self.asked.fetch_add(1, Ordering::SeqCst) == 20 {
            self.control.set_enabled(std::slice::from_ref(&self.rule), false, "test", now).unwrap();
        }
        now
    }
}

#[test]
fn a_rule_that_is_switched_off_while_it_catches_up_ends_there() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({})), rule("f", ANY, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.run_until(0, 0);
    let (control, store) = (service.control.clone(), service.store.clone());
    let clock = Arc::new(Meddler { control: control.clone(), rule: service.id("f"), asked: AtomicI64::new(0) });
    let active = Scheduler::enabled_rules(&control).unwrap();
    let scheduler = Scheduler::new(store, control, active, ScheduleOptions::default(), clock).unwrap();
    scheduler.run_due().unwrap();
    assert_eq!(service.ledger("e").len(), 201);
    assert!((2..20).contains(&service.ledger("f").len()), "{}", service.ledger("f").len());
    service.close();
}

#[test]
fn rules_go_on_when_the_clock_was_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::default();
    setup(folder.path(), &[rule("e", ANY, json!({})), rule("t", ANY, json!({ "timestamp_override": null }))]);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    let far = 2_000_000 * MINUTE;
    service.at(START + far).send(vec![event(0, START, "a", 0)]);
    service.at(START + far + 5 * MINUTE).scheduler.run_due().unwrap();
    assert_eq!(service.scheduler.status().clock_was, None);
    service.run_until(0, 5);
    // It may be behind now, and be set.
    assert!(service.scheduler.status().clock_was >= Some(START + far));
    assert_eq!(service.ledger("e").len(), 1);
    service.run_until(10, 10);
    service.at(START + 11 * MINUTE).send(vec![event(1, START + 11 * MINUTE, "a", 0)]);
    service.run_until(15, 15);
    assert_eq!(service.alerts("e"), [["0"], ["1"]]);
    assert!(service.alerts("t").contains(&vec!["1".to_owned()]));
    // The next start finds what arrived then again, and goes on at once.
    service.close();
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.at(START + 16 * MINUTE).send(vec![event(2, START + 16 * MINUTE, "a", 0)]);
    service.run_until(20, 20);
    assert!(service.scheduler.status().clock_was >= Some(START + far));
    for rule in ["e", "t"] {
        assert!(service.alerts(rule).contains(&vec!["2".to_owned()]), "{rule}");
        let ends: Vec<i64> = service.ledger(rule).iter().skip(1).map(|run| (run.scheduled - START) / MINUTE).collect();
        assert_eq!(ends, [5, 10, 15, 20]);
    }
    service.close();
}

#[test]
fn a_clock_that_is_behind_for_a_while_skips_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::default();
    setup(folder.path(), &[rule("e", ANY, json!({}))]);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(0, 5);
    service.close();
    clock.0.store(MINUTE, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.at(2 * MINUTE).send(vec![event(0, START, "a", 0)]);
    service.scheduler.run_due().unwrap();
    service.run_until(10, 15);
    assert_eq!((service.alerts("e").len(), service.scheduler.status().clock_was), (1, None));
    // So long that nobody waits any more.
    for minute in 0..=20 {
        service.at(minute * MINUTE).scheduler.run_due().unwrap();
    }
    service.run_until(20, 25);
    let ends: Vec<i64> = service.ledger("e").iter().map(|run| (run.scheduled - START) / MINUTE).collect();
    assert_eq!(ends.iter().filter(|end| **end >= 0).collect::<Vec<_>>(), [&0, &5, &10, &15, &20, &25]);
    assert!(ends.len() < 12, "{ends:?}");
    service.close();
}

#[test]
fn no_window_is_skipped_when_time_is_where_a_clock_was_that_was_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::default();
    // Windows that do not overlap.
    setup(folder.path(), &[rule("e", ANY, json!({ "from": "now-5m" }))]);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(60, 60);
    service.close();
    clock.0.store(START, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(0, 55);
    service.at(START + 58 * MINUTE).send(vec![event(0, START + 58 * MINUTE, "a", 0)]);
    service.run_until(60, 65);
    assert_eq!(service.alerts("e"), [["0"]], "{:?}", service.ledger("e"));
    service.close();
}

#[test]
fn what_arrived_before_a_clock_was_set_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::default();
    setup(folder.path(), &[rule("e", ANY, json!({}))]);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(0, 0);
    service.close();
    clock.0.store(0, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    for minute in 0..=20 {
        service.at(minute * MINUTE).scheduler.run_due().unwrap();
    }
    // Behind the last window by the wrong time.
    service.at(21 * MINUTE).send(vec![event(0, START, "a", 0)]);
    service.run_until(20, 25);
    assert_eq!(service.alerts("e"), [["0"]], "{:?}", service.ledger("e"));
    assert!(service.ledger("e").len() < 15);
    service.close();
}

#[test]
fn a_clock_that_steps_back_again_is_waited_for_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.run_until(60, 60);
    service.run_until(30, 30);
    service.run_until(0, 15);
    let ends: Vec<i64> = service.ledger("e").iter().map(|run| (run.scheduled - START) / MINUTE).collect();
    assert_eq!(ends, [60, 5, 10, 15]);
    service.close();
}

#[test]
fn what_arrives_while_a_clock_that_is_behind_is_waited_for_is_looked_at_before_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::default();
    let before = json!({ "from": "now-14m", "to": "now-5m" });
    setup(
        folder.path(),
        &[rule("e", ANY, json!({})), rule("d", ANY, before), rule("t", ANY, json!({ "timestamp_override": null }))],
    );
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(295, 300);
    // No window holds this one yet.
    service.at(START + 301 * MINUTE).send(vec![event(0, START + MINUTE, "a", 0)]);
    service.close();
    clock.0.store(START, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    assert!(service.scheduler.status().clock_was >= Some(START + 300 * MINUTE));
    for minute in 0..=20 {
        service.at(START + minute * MINUTE).send(vec![event(minute as usize + 1, START + minute * MINUTE, "a", 0)]);
        service.scheduler.run_due().unwrap();
    }
    for rule in ["e", "t"] {
        assert_eq!(service.alerts(rule).len(), 22, "{rule}: {:?}", service.ledger(rule));
    }
    // The rest is behind the window, which ends before.
    assert!(service.alerts("d").len() > 10, "{:?}", service.alerts("d"));
    // Their windows are there, and all over again when time has come to where it was.
    service.run_until(25, 320);
    for rule in ["e", "d", "t"] {
        assert_eq!(service.alerts(rule).len(), 22, "{rule}");
        let ledger = service.ledger(rule);
        let ends: Vec<i64> = ledger.iter().map(|run| run.scheduled).filter(|end| end % (5 * MINUTE) == 0).collect();
        assert_eq!(ends[2..], (1..=64).map(|end| START + 5 * end * MINUTE).collect::<Vec<_>>(), "{rule}");
        assert!(ledger.iter().all(|run| run.status != ExecutionStatus::Failed));
    }
    assert_eq!(service.scheduler.status().clock_was, None);
    service.close();
}

#[test]
fn a_clock_that_is_a_little_behind_after_rules_went_back_has_nothing_arrive_in_the_future() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({}))]);
    let clock = service_clock(START + SECOND);
    let mut service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.scheduler.run_due().unwrap();
    for (id, back, minutes) in [(0, 3_369, 27), (1, 53, 25)] {
        service.close();
        clock.0.fetch_sub(back * SECOND, Ordering::SeqCst);
        service = Service::open(folder.path(), &clock, ScheduleOptions::default());
        service.send(vec![event(id, clock.now(), "a", 1)]);
        for _ in 0..=minutes {
            service.scheduler.run_due().unwrap();
            clock.0.fetch_add(MINUTE, Ordering::SeqCst);
        }
        assert_eq!(service.alerts("e").len(), id + 1, "{:?}", service.ledger("e"));
    }
    service.close();
}

#[test]
fn a_clock_that_is_a_little_behind_is_waited_for_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::default();
    setup(folder.path(), &[rule("e", ANY, json!({})), rule("t", ANY, json!({ "timestamp_override": null }))]);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(0, 10);
    service.close();
    clock.0.store(START + 2 * MINUTE, Ordering::SeqCst);
    let service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    assert_eq!(service.scheduler.status().clock_was, Some(START + 10 * MINUTE));
    service.at(START + 3 * MINUTE).send(vec![event(0, START + 3 * MINUTE, "a", 0)]);
    service.run_until(5, 15);
    assert_eq!(service.scheduler.status().clock_was, None);
    for rule in ["e", "t"] {
        assert_eq!(service.alerts(rule), [["0"]]);
        let ends: Vec<i64> = service.ledger(rule).iter().map(|run| (run.scheduled - START) / MINUTE).collect();
        assert_eq!(ends, [0, 5, 10, 15]);
    }
    service.close();
}

#[test]
fn a_restart_repeats_no_window_and_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = json!({ "from": "now-2d", "to": "now-1d" });
    setup(
        folder.path(),
        &[rule("d", ANY, before), rule("t", ANY, json!({ "timestamp_override": null, "max_signals": 1 }))],
    );
    let clock = Arc::default();
    let mut service = Service::open(folder.path(), &clock, ScheduleOptions::default());
    service.run_until(0, 0);
    // They come late, and their window has no room for all of them.
    service.at(START + MINUTE).send((0..3).map(|id| event(id, START - 20 * MINUTE, "a", 1)).collect());
    for (minute, found) in [(5, 1), (10, 2), (15, 3), (20, 3)] {
        service.run_until(minute, minute);
        assert_eq!(service.alerts("t").len(), found, "after {minute} minutes");
        service.close();
        service = Service::open(folder.path(), &clock, ScheduleOptions::default());
        service.scheduler.run_due().unwrap();
    }
    for rule in ["d", "t"] {
        let ends: Vec<i64> = service.ledger(rule).iter().map(|run| (run.scheduled - START) / MINUTE).collect();
        assert_eq!(ends, [0, 5, 10, 15, 20]);
    }
    service.close();
}

#[test]
fn the_limit_of_alerts_is_of_an_interval_and_at_most_that_of_all_rules() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("two", ANY, json!({ "max_signals": 2 })), rule("all", ANY, json!({}))]);
    let options = ScheduleOptions { tick: Some(Duration::from_secs(20)), max_alerts: 4, ..ScheduleOptions::default() };
    let service = Service::open(folder.path(), &Arc::default(), options);
    service.at(START + SECOND).scheduler.run_due().unwrap();
    for id in 0..9i64 {
        let time = START + (1 + 20 * id) * SECOND;
        service.at(time).send(vec![event(id as usize, time, "a", 1)]);
        service.at(time + 20 * SECOND).scheduler.run_due().unwrap();
    }
    assert_eq!((service.alerts("two").len(), service.alerts("all").len()), (2, 4));
    service.run_until(5, 5);
    assert_eq!((service.alerts("two").len(), service.alerts("all").len()), (2, 4));
    let last = service.ledger("all").pop().unwrap();
    assert!(
        (last.status, last.capped) == (ExecutionStatus::Warning, 5) && last.message.contains("4 alerts"),
        "{last:?}"
    );
    // A row says it when it comes to that, and at the interval's end.
    assert_eq!(service.ledger("two").iter().filter(|run| run.capped > 0).count(), 2);
    service.at(START + 321 * SECOND).scheduler.run_due().unwrap();
    assert_eq!((service.alerts("two").len(), service.alerts("all").len()), (4, 8));
    service.close();
}

#[test]
fn the_limit_of_alerts_holds_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    setup(
        folder.path(),
        &[rule("two", ANY, json!({ "max_signals": 2 })), rule("off", ANY, json!({ "max_signals": 2 }))],
    );
    let options = ScheduleOptions { tick: Some(Duration::from_secs(20)), ..ScheduleOptions::default() };
    let clock = Arc::default();
    let mut service = Service::open(folder.path(), &clock, options);
    service.at(START + SECOND).scheduler.run_due().unwrap();
    let run = |service: &Service, tick: i64, events: usize| {
        let time = START + (1 + 20 * tick) * SECOND;
        let first = 10 * tick as usize;
        service.at(time).send((first..first + events).map(|id| event(id, time, "a", 1)).collect());
        service.at(time + 20 * SECOND).scheduler.run_due().unwrap();
    };
    for (tick, made) in [(0, 1), (1, 2), (2, 2), (3, 2)] {
        run(&service, tick, 1);
        assert_eq!((service.alerts("two").len(), service.alerts("off").len()), (made, made), "tick {tick}");
        // As much is gone as if it had been killed: at its end the scheduler writes nothing.
        service.close();
        service = Service::open(folder.path(), &clock, options);
        // One that is switched off and on has no other limit.
        service.set_enabled("off", false);
        service.scheduler.run_due().unwrap();
        service.set_enabled("off", true);
    }
    // What is left is found in the next interval.
    service.run_until(5, 5);
    assert_eq!(service.alerts("two").len(), 2);
    service.at(START + 321 * SECOND).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("two").len(), 4);
    service.close();
}

#[test]
fn the_limit_of_alerts_holds_where_the_first_window_behind_a_restart_has_none() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("one", ANY, json!({ "max_signals": 1, "from": "now-1m" }))]);
    let options = ScheduleOptions { tick: Some(Duration::from_secs(20)), ..ScheduleOptions::default() };
    let clock = Arc::default();
    let mut service = Service::open(folder.path(), &clock, options);
    let run = |service: &Service, id: Option<usize>, second: i64| {
        let time = START + second * SECOND;
        service.at(time).send(id.map(|id| event(id, time, "a", 1)).into_iter().collect());
        service.at(time + 20 * SECOND).scheduler.run_due().unwrap();
        service.alerts("one").len()
    };
    assert_eq!((run(&service, None, 1), run(&service, Some(0), 21)), (0, 1));
    service.close();
    service = Service::open(folder.path(), &clock, options);
    assert_eq!((run(&service, None, 101), run(&service, Some(1), 121)), (1, 1), "{:?}", service.ledger("one"));
    service.close();
}

#[test]
fn alerts_of_shorter_intervals_do_not_count_for_a_longer_one() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("two", ANY, json!({ "max_signals": 2 }))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.run_until(0, 0);
    for (id, minute) in [(0, 1), (2, 30)] {
        let time = START + minute * MINUTE;
        service.at(time).send((id..id + 2).map(|id| event(id, time, "a", 1)).collect());
        service.run_until(minute + 4, minute + 5);
        service.patch("two", json!({ "interval": "35m" }));
    }
    assert_eq!(service.alerts("two").len(), 4, "{:?}", service.ledger("two"));
    service.close();
}

#[test]
fn alerts_from_before_a_restart_are_not_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("two", ANY, json!({ "max_signals": 2 }))]);
    let options = ScheduleOptions { tick: Some(Duration::from_secs(20)), ..ScheduleOptions::default() };
    let clock = Arc::default();
    let service = Service::open(folder.path(), &clock, options);
    service.at(START + SECOND).scheduler.run_due().unwrap();
    service.send((0..2).map(|id| event(id, START, "a", 1)).collect());
    service.at(START + 21 * SECOND).scheduler.run_due().unwrap();
    service.close();
    let service = Service::open(folder.path(), &clock, options);
    service.at(START + 300 * SECOND).scheduler.run_due().unwrap();
    let ledger = service.ledger("two");
    assert_eq!(ledger.iter().map(|run| (run.new_alerts, run.capped)).collect::<Vec<_>>(), [(0, 0), (2, 0), (0, 0)]);
    assert!(ledger.iter().all(|run| run.status == ExecutionStatus::Succeeded), "{ledger:?}");
    service.close();
}

#[test]
fn ticks_leave_out_a_rule_whose_alerts_are_used_up() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("two", ANY, json!({ "max_signals": 2 }))]);
    let options = ScheduleOptions { tick: Some(Duration::from_secs(20)), rule_events: 4, ..ScheduleOptions::default() };
    let service = Service::open(folder.path(), &Arc::default(), options);
    service.at(START + SECOND).scheduler.run_due().unwrap();
    // The second tick would have more events than may be correlated.
    for tick in 0..2i64 {
        let time = START + (1 + 20 * tick) * SECOND;
        service.at(time).send((0..3).map(|id| event((3 * tick + id) as usize, time, "a", 1)).collect());
        service.at(time + 20 * SECOND).scheduler.run_due().unwrap();
    }
    let found = || -> Vec<(u64, u64, ExecutionStatus)> {
        let ledger = service.ledger("two");
        let runs = ledger.iter().filter(|run| run.capped > 0 || run.status == ExecutionStatus::Failed);
        runs.map(|run| (run.new_alerts, run.capped, run.status)).collect()
    };
    assert_eq!(found(), [(2, 1, ExecutionStatus::Warning)]);
    service.at(START + 300 * SECOND).scheduler.run_due().unwrap();
    assert_eq!(found(), [(2, 1, ExecutionStatus::Warning), (0, 0, ExecutionStatus::Failed)]);
    service.close();
}

/// Goes on whenever it is asked, so that everything takes time; and an event arrives.
struct Slow {
    now: AtomicI64,
    /// By how much it goes on, until when.
    step: AtomicI64,
    end: i64,
    /// What arrives when it is so late.
    sends: Mutex<Option<(i64, Store, NewDocument)>>,
}

impl Clock for Slow {
    fn now(&self) -> i64 {
        let now = self.now.load(Ordering::SeqCst);
        if let Some((_, store, event)) = self.sends.lock().unwrap().take_if(|(time, ..)| *time <= now) {
            assert!(store.ingest(vec![event], now).unwrap()[0].is_ok());
        }
        self.now.store((now + self.step.load(Ordering::SeqCst)).min(self.end), Ordering::SeqCst);
        now
    }
}

/// A rule that finds news, and forty that look at whole windows again and again. Returns what they have in the ledger after
/// a minute in which everything takes time, and news come half a second after `begin`.
fn slow_minute(options: ScheduleOptions, begin: i64) -> (Vec<Execution>, Vec<Vec<Execution>>) {
    let folder = tempfile::tempdir().unwrap();
    let again = |number: usize| rule(&format!("again{number}"), ANY, json!({ "max_signals": 1 }));
    let mut rules: Vec<Map<String, Value>> = (0..40).map(again).collect();
    rules.push(rule("news", "process where process.name == \"news\"", json!({})));
    setup(folder.path(), &rules);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    let (control, store) = (service.control.clone(), service.store.clone());
    let active = Scheduler::enabled_rules(&control).unwrap();
    let clock = Arc::new(Slow {
        now: (START + SECOND).into(),
        step: 0.into(),
        end: begin + MINUTE,
        sends: Mutex::new(Some((begin + SECOND / 2, store.clone(), event(9, begin, "news", 1)))),
    });
    let scheduler = Scheduler::new(store, control, active, options, clock.clone()).unwrap();
    scheduler.run_due().unwrap();
    service.at(START + SECOND).send((0..3).map(|id| event(id, START, "a", 1)).collect());
    clock.now.store(START + 3 * SECOND, Ordering::SeqCst);
    scheduler.run_due().unwrap();
    clock.now.store(begin, Ordering::SeqCst);
    clock.step.store(SECOND / 10, Ordering::SeqCst);
    scheduler.run_due().unwrap();
    let others = (0..40).map(|number| service.ledger(&format!("again{number}"))).collect();
    let news = service.ledger("news");
    service.close();
    (news, others)
}

#[test]
fn what_is_new_waits_for_a_few_only_of_those_that_look_at_what_they_left_out() {
    let options = ScheduleOptions { tick: Some(Duration::from_secs(1)), ..ScheduleOptions::default() };
    let end = START + 5 * MINUTE;
    let (news, others) = slow_minute(options, end);
    let news = news.into_iter().find(|run| run.new_alerts == 1).unwrap();
    assert!(news.finished - (end + SECOND / 2) < 3 * SECOND, "{news:?}");
    let waited = |ledger: &&Vec<Execution>| {
        // The window that ends with the interval, and one behind it that makes the next alert.
        assert_eq!(ledger.iter().map(|run| run.new_alerts).sum::<u64>(), 2, "{ledger:?}");
        let at_end: Vec<&Execution> = ledger.iter().filter(|run| run.scheduled == end).collect();
        assert_eq!(at_end.len(), 1, "{ledger:?}");
        at_end[0].finished > news.finished
    };
    assert!(others.iter().filter(waited).count() >= 24, "{news:?}");
}

#[test]
fn rules_that_look_at_whole_windows_again_take_turns() {
    // They have more in their windows than may be correlated, so that they fail with each tick, which the ledger says.
    let tick = Some(Duration::from_secs(1));
    let options = ScheduleOptions { tick, rule_events: 2, ..ScheduleOptions::default() };
    let (news, others) = slow_minute(options, START + 10 * SECOND);
    assert!(news.iter().any(|run| run.new_alerts == 1), "{news:?}");
    let turns: Vec<usize> = others.iter().map(Vec::len).collect();
    let (least, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(*least > 5 && most - least <= 2, "{turns:?}");
}

#[test]
fn a_manual_run_ends_now_and_its_alerts_say_that_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("m", MISSING, json!({})), rule("e", ANY, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    let now = START + 17 * MINUTE;
    service.at(now - MINUTE).send(vec![event(0, now - MINUTE, "a", 1)]);
    service.at(now);
    let backfill = |rule: &str| {
        let key = RuleKey::RuleId(rule);
        service.scheduler.backfill(&key, WindowKind::Manual, START + MINUTE, now + 60 * MINUTE).unwrap()
    };
    let runs = backfill("m");
    assert_eq!(runs.iter().map(|run| run.to - START).collect::<Vec<_>>(), [5, 10, 15, 17].map(|end| end * MINUTE));
    assert!(runs.iter().all(|run| run.scheduled == run.to));
    // It may be denied still.
    assert_eq!(service.alerts("m"), [] as [Vec<String>; 0]);
    backfill("e");
    let mut said = Vec::new();
    let query = AlertQuery { rule: Some(service.id("e")), ..AlertQuery::default() };
    service
        .control
        .for_each_alert(&query, &mut |_, alert| {
            said.push(
                ["kibana.alert.rule.execution.type", "kibana.alert.intended_timestamp"].map(|name| alert[name].clone()),
            );
            ControlFlow::Continue(())
        })
        .unwrap();
    let intended = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap();
    assert_eq!(said, [[json!("manual"), json!(format!("{intended:.3}"))]]);
    service.close();
}

#[test]
fn a_run_by_another_time_fills_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.run_until(0, 15);
    let done = service.ledger("e").remove(1);
    let failed = eqlipse_control::Execution {
        uuid: "failed".to_owned(),
        status: ExecutionStatus::Failed,
        to: done.to + 1,
        ..done
    };
    service.control.commit_execution(&[failed], &[]).unwrap();
    let gaps = || service.control.ledger_summary(0).unwrap().gaps;
    assert_eq!((service.gaps("e", 0, 15), gaps()), (vec![5], 1));
    let by_time = eqlipse_control::Execution {
        uuid: "by time".to_owned(),
        status: ExecutionStatus::Succeeded,
        kind: WindowKind::Manual,
        basis: Some(eqlipse_control::TimeBasis::Timestamp),
        ..service.ledger("e").pop().unwrap()
    };
    service.control.commit_execution(&[by_time], &[]).unwrap();
    assert_eq!((service.gaps("e", 0, 15), gaps()), (vec![5], 1));
    let key = RuleKey::RuleId("e");
    service.scheduler.fill(&key, &service.scheduler.gaps(&key, START, START + 15 * MINUTE).unwrap()).unwrap();
    assert_eq!((service.gaps("e", 0, 15), gaps()), (vec![], 0));
    service.close();
}

#[test]
fn another_interval_makes_no_holes_in_the_past() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("h", ANY, json!({ "interval": "1h", "from": "now-65m" }))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    let hour = (START / MINUTE + 59) / 60 * 60 - START / MINUTE;
    service.run_until(0, hour + 120);
    service.patch("h", json!({ "interval": "5m", "from": "now-9m" }));
    service.run_until(hour + 125, hour + 140);
    assert_eq!(service.gaps("h", -60, hour + 140), [] as [i64; 0]);
    service.patch("h", json!({ "interval": "1h", "from": "now-65m" }));
    service.run_until(hour + 145, hour + 240);
    assert_eq!(service.gaps("h", -60, hour + 240), [] as [i64; 0]);
    service.close();
}

#[test]
fn a_run_over_an_hour_matches_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("s", SEQUENCE, json!({ "enabled": false }))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    for (id, days) in [(0, 3), (1, 2), (2, 0)] {
        let time = START - days * 1_440 * MINUTE;
        service.at(time).send(vec![event(id, time, "a", 0)]);
        service.store.flush().unwrap();
    }
    let stored = service.control.rule(&RuleKey::RuleId("s")).unwrap().unwrap();
    let fingerprint = eqlipse_schedule::fingerprint(&stored.rule);
    let matched = || -> Vec<bool> {
        let snapshot = service.store.snapshot();
        let has = |part: &Arc<eqlipse_store::Part>| part.counts().unwrap().iter().any(|list| list.has(fingerprint));
        snapshot.parts(&eqlipse_store::TimeRange::default()).map(has).collect()
    };
    assert_eq!(matched(), [false, false, false]);
    let from = START - 2 * 1_440 * MINUTE;
    service.scheduler.backfill(&RuleKey::RuleId("s"), WindowKind::Manual, from - MINUTE, from + 30 * MINUTE).unwrap();
    assert_eq!(matched(), [false, true, false]);
    // As a rule that is new, it is matched with what its next windows may hold.
    service.set_enabled("s", true);
    service.scheduler.run_due().unwrap();
    assert_eq!(matched(), [false, true, true]);
    service.close();
}

#[test]
fn rules_change_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    service.at(START + MINUTE).send(vec![event(0, START, "a", 0), event(1, START + SECOND, "b", 0)]);
    service.control.create_rule(rule("s", SEQUENCE, json!({})), "ann", START).unwrap();
    service.at(START + 5 * MINUTE).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("s"), [["0", "1"]], "{:?}", service.ledger("s"));
    let patch = rule("e", "process where process.name == \"b\"", json!({}));
    service.control.patch_rule(&RuleKey::RuleId("e"), patch, "ann", START).unwrap();
    service.at(START + 10 * MINUTE).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("e"), [["0"], ["1"]]);
    let stored = service.control.rule(&RuleKey::RuleId("s")).unwrap().unwrap();
    let ends = [START + 5 * MINUTE, START + 10 * MINUTE];
    let preview = service.scheduler.preview(&stored, &ends, Instant::now() + Duration::from_secs(600)).unwrap();
    assert_eq!(preview.alerts.len(), 1);
    service.close();
}

#[test]
fn the_first_window_of_a_new_rule_may_have_ended_long_ago() {
    const HOUR: i64 = 60 * MINUTE;
    let folder = tempfile::tempdir().unwrap();
    let midnight = START / (24 * HOUR) * 24 * HOUR;
    let time = midnight - 20 * HOUR;
    let service = Service::open(folder.path(), &service_clock(time), ScheduleOptions::default());
    service.send(vec![event(0, time, "a", 0)]);
    service.store.flush().unwrap();
    let daily = json!({ "from": "now-25h", "interval": "24h" });
    service.control.create_rule(rule("daily", ANY, daily), "ann", START).unwrap();
    service.at(midnight + 23 * HOUR).scheduler.run_due().unwrap();
    assert_eq!(service.alerts("daily"), [["0"]], "{:?}", service.ledger("daily"));
    service.close();
}

#[test]
fn a_preview_counts_what_is_new_in_each_window_and_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({ "enabled": false, "max_signals": 2 }))]);
    let options = ScheduleOptions { rule_events: 6, ..ScheduleOptions::default() };
    let service = Service::open(folder.path(), &Arc::default(), options);
    let send = |arrived: i64, happened: i64, ids: std::ops::Range<usize>| {
        let events = ids.map(|id| event(id, START + happened * MINUTE, "a", 0)).collect();
        service.at(START + arrived * MINUTE).send(events);
    };
    send(2, 2, 0..2);
    // The second window has both pairs, the new one first.
    send(7, 1, 2..4);
    send(12, 12, 4..7);
    send(17, 17, 7..15);
    let stored = service.control.rule(&RuleKey::RuleId("e")).unwrap().unwrap();
    let ends = [5, 10, 15, 20, 25].map(|minutes| START + minutes * MINUTE);
    let preview = service.scheduler.preview(&stored, &ends, Instant::now() + Duration::from_secs(600)).unwrap();
    // The fourth has too many events, and ends it.
    assert_eq!(preview.windows.iter().map(|window| window.capped).collect::<Vec<_>>(), [0, 0, 1, 0]);
    let errors: Vec<bool> = preview.windows.iter().map(|window| window.error.is_some()).collect();
    assert_eq!((errors, preview.is_aborted), (vec![false, false, false, true], false));
    let events = preview.alerts.iter().flat_map(|alert| alert.events.iter().flatten());
    let mut ids: Vec<&str> = events.map(|event| event.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5"]);
    let late = service.scheduler.preview(&stored, &ends, Instant::now()).unwrap();
    assert!(late.is_aborted && late.windows.is_empty() && late.alerts.is_empty());
    service.close();
}

#[test]
fn the_past_is_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("s", SEQUENCE, json!({ "enabled": false }))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    let old = START - 600 * MINUTE;
    service.at(START).send(vec![
        event(0, old, "a", 0),
        event(1, old + MINUTE, "b", 0),
        event(2, old + 2 * MINUTE, "b", 0),
    ]);
    service.store.flush().unwrap();
    let key = RuleKey::RuleId("s");
    let executions = service.scheduler.backfill(&key, WindowKind::Backfill, old - MINUTE, old + 30 * MINUTE).unwrap();
    assert!(executions.iter().all(|run| run.kind == WindowKind::Backfill));
    assert_eq!(executions.iter().map(|run| run.new_alerts).sum::<u64>(), 1);
    assert_eq!(service.alerts("s"), [["0", "1"]]);
    let again = service.scheduler.backfill(&key, WindowKind::Backfill, old - MINUTE, old + 30 * MINUTE).unwrap();
    assert_eq!(again.iter().map(|run| run.new_alerts).sum::<u64>(), 0);
    service.close();
}

#[test]
fn a_run_over_the_past_that_is_broken_off_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("e", ANY, json!({ "enabled": false }))]);
    let full = "CREATE TRIGGER full BEFORE INSERT ON executions WHEN (SELECT count(*) FROM executions) = 2
        BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    rusqlite::Connection::open(folder.path().join("control.sqlite")).unwrap().execute_batch(full).unwrap();
    let service = Service::open(folder.path(), &service_clock(START + 60 * MINUTE), ScheduleOptions::default());
    let run = service.scheduler.backfill(&RuleKey::RuleId("e"), WindowKind::Manual, START, START + 20 * MINUTE);
    let broken_off = run.unwrap_err();
    assert!(broken_off.to_string().contains("the disk is full"), "{broken_off}");
    let ends: Vec<i64> = broken_off.done.iter().map(|run| (run.scheduled - START) / MINUTE).collect();
    assert_eq!(ends, [0, 5]);
    service.close();
}

#[test]
fn a_rule_that_lets_everything_through_is_contained() {
    let folder = tempfile::tempdir().unwrap();
    let explodes = "sequence with maxspan=9m [any where true] [any where true] [any where true]";
    setup(folder.path(), &[rule("explodes", explodes, json!({})), rule("s", SEQUENCE, json!({}))]);
    let options = ScheduleOptions { rule_events: 150, ..ScheduleOptions::default() };
    let service = Service::open(folder.path(), &Arc::default(), options);
    service.at(START + SECOND).scheduler.run_due().unwrap();
    // 100 events, three times.
    service
        .at(START + MINUTE)
        .send((0..100).map(|id| event(id, START + MINUTE, ["a", "b"][id % 2], id as u32 / 2)).collect());
    service.at(START + 5 * MINUTE + SECOND).scheduler.run_due().unwrap();
    let run = service.ledger("explodes").pop().unwrap();
    assert_eq!((run.status, run.new_alerts), (ExecutionStatus::Failed, 0));
    assert!(run.message.contains("300 events") && run.message.contains("schedule.rule_events"), "{}", run.message);
    assert_eq!(service.alerts("s").len(), 50);
    assert_eq!(service.scheduler.status().failures, 1);
    // The events are out of its window again.
    service.at(START + 20 * MINUTE + SECOND).scheduler.run_due().unwrap();
    assert_eq!(service.ledger("explodes").pop().unwrap().status, ExecutionStatus::Succeeded);
    // What it did not look at is known, and can be made good with more room.
    let key = RuleKey::RuleId("explodes");
    let gaps = service.scheduler.gaps(&key, START, START + 20 * MINUTE).unwrap();
    assert_eq!(gaps.iter().map(|gap| (gap.end - START) / MINUTE).collect::<Vec<_>>(), [5, 10]);
    let failed = service.scheduler.fill(&key, &gaps).unwrap();
    assert!(failed.iter().all(|run| run.status == ExecutionStatus::Failed));
    service.close();
    let service =
        Service::open(folder.path(), &service_clock(START + 20 * MINUTE + SECOND), ScheduleOptions::default());
    let gaps = service.scheduler.gaps(&key, START, START + 20 * MINUTE).unwrap();
    assert_eq!(gaps.len(), 2);
    let filled = service.scheduler.fill(&key, &gaps).unwrap();
    assert!(filled.iter().all(|run| run.status == ExecutionStatus::Succeeded && run.kind == WindowKind::Backfill));
    assert!(!service.alerts("explodes").is_empty());
    assert_eq!(service.scheduler.gaps(&key, START, START + 20 * MINUTE).unwrap(), []);
    service.close();
}

fn service_clock(now: i64) -> Arc<TestClock> {
    Arc::new(TestClock(now.into(), 0.into()))
}

#[test]
fn holes_in_the_ledger_are_found() {
    let folder = tempfile::tempdir().unwrap();
    setup(folder.path(), &[rule("s", SEQUENCE, json!({}))]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    for minute in [0, 5, 10] {
        service.at(START + minute * MINUTE + SECOND).scheduler.run_due().unwrap();
    }
    let last = service.ledger("s").pop().unwrap();
    let later = eqlipse_control::Execution {
        uuid: "later".to_owned(),
        from: last.from + 15 * MINUTE,
        to: last.to + 15 * MINUTE,
        basis: None,
        scheduled: last.scheduled + 15 * MINUTE,
        ..last
    };
    service.control.commit_execution(&[later], &[]).unwrap();
    let key = RuleKey::RuleId("s");
    let ends = |from: i64, to: i64| -> Vec<i64> {
        let gaps = service.scheduler.gaps(&key, START + from * MINUTE, START + to * MINUTE).unwrap();
        gaps.iter().map(|gap| (gap.end - START) / MINUTE).collect()
    };
    assert_eq!((ends(0, 30), ends(0, 10), ends(20, 30)), (vec![15, 20], vec![], vec![20]));
    service.close();
}

#[test]
fn windows_that_overlap_cover_no_sequence_together() {
    let folder = tempfile::tempdir().unwrap();
    let long = SEQUENCE.replace("2m", "1h");
    let from = json!({ "from": "now-66m" });
    setup(folder.path(), &[rule("s", &long, from.clone()), rule("e", ANY, from)]);
    let service = Service::open(folder.path(), &Arc::default(), ScheduleOptions::default());
    // The events of a sequence lie in windows before and after, both of them in none.
    let send = |id: usize, minute: i64, name: &str| {
        service.at(START + minute * MINUTE).send(vec![event(id, START + minute * MINUTE, name, 1)]);
    };
    send(0, -20, "a");
    service.run_until(0, 0);
    ["s", "e"].iter().for_each(|rule| service.set_enabled(rule, false));
    service.run_until(5, 5);
    send(1, 30, "b");
    service.at(START + 60 * MINUTE + SECOND);
    ["s", "e"].iter().for_each(|rule| service.set_enabled(rule, true));
    service.run_until(60, 65);
    assert_eq!(service.gaps("e", 0, 65), [] as [i64; 0]);
    assert_eq!(service.gaps("s", 0, 65), (5..=60).step_by(5).collect::<Vec<i64>>());
    assert_eq!(service.alerts("s"), [] as [Vec<String>; 0]);
    let key = RuleKey::RuleId("s");
    service.scheduler.fill(&key, &service.scheduler.gaps(&key, START, START + 65 * MINUTE).unwrap()).unwrap();
    assert_eq!((service.alerts("s"), service.gaps("s", 0, 65)), (vec![vec!["0".into(), "1".into()]], vec![]));
    service.close();
}

/// What happens to the service.
#[derive(Clone, Debug)]
enum Step {
    /// Events come in: how many seconds late, what they are.
    Send(Vec<(i64, bool, u32)>),
    /// Time goes by, in seconds; the clock may also step back.
    Wait(i64),
    /// The scheduler looks around.
    Run,
    /// The service is restarted.
    Restart,
    /// Some rules are switched off, or on again.
    Toggle,
    /// A rule looks back further, or less far.
    LookBack(u32),
    Flush,
}

/// What happens to a service whose clock is not to be relied on.
#[derive(Clone, Debug)]
enum Stepped {
    /// So many events come in.
    Send(usize),
    /// It runs for so many minutes.
    Run(i64),
    /// It is restarted, and the clock is so many seconds further behind.
    Restart(i64),
    /// The clock is set.
    Set,
}

fn stepped() -> impl Strategy<Value = Stepped> {
    prop_oneof![
        3 => (1usize..4).prop_map(Stepped::Send),
        3 => prop_oneof![1i64..12, 25i64..40].prop_map(Stepped::Run),
        2 => prop_oneof![Just(0), 1i64..600, 600i64..20_000].prop_map(Stepped::Restart),
        1 => Just(Stepped::Set),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0i64..100, any::<bool>(), 0u32..3);
    prop_oneof![
        5 => proptest::collection::vec(event, 1..4).prop_map(Step::Send),
        5 => prop_oneof![3 => 1i64..60, 1 => 60i64..700, 1 => -40i64..0].prop_map(Step::Wait),
        4 => Just(Step::Run),
        1 => Just(Step::Restart),
        1 => Just(Step::Flush),
        1 => Just(Step::Toggle),
        1 => (1u32..200).prop_map(Step::LookBack),
    ]
}

/// The pairs that the sequence finds in all events at once: of each event `b`, the newest `a` with the same key before it
/// that nothing took, not more than two minutes away.
fn expected_pairs(events: &[Sent]) -> Vec<Vec<String>> {
    let mut ordered = events.to_vec();
    ordered.sort_by_key(|(id, time, ..)| (*time, *id));
    let mut open = std::collections::HashMap::new();
    let mut pairs = Vec::new();
    for (id, time, is_first, pid, _) in ordered {
        if is_first {
            open.insert(pid, (id, time));
        } else if let Some((first, begun)) = open.get(&pid).copied()
            && time - begun <= 2 * MINUTE
        {
            open.remove(&pid);
            pairs.push(vec![first.to_string(), id.to_string()]);
        }
    }
    pairs.sort();
    pairs
}

/// An event that was sent: its number, its time, whether it is the first of a pair, its key, and when it was sent.
type Sent = (usize, i64, bool, u32, i64);

/// What a sequence `a`, not `b` within two minutes, has to find, and what it must not: what was denied as soon as it could.
fn expected_lonely(events: &[Sent]) -> (BTreeSet<Vec<String>>, BTreeSet<Vec<String>>) {
    let (mut lonely, mut denied) = (BTreeSet::new(), BTreeSet::new());
    for (id, time, _, pid, sent) in events.iter().filter(|(_, _, is_first, ..)| *is_first) {
        let is_between = |(_, other, is_first, of, _): &&Sent| {
            !is_first && of == pid && *other > *time && *other - *time <= 2 * MINUTE
        };
        let mut between = events.iter().filter(is_between).peekable();
        if between.peek().is_none() {
            lonely.insert(vec![id.to_string()]);
        // The store's clock does not step back: by that much, an event may arrive later than it was sent.
        } else if between.any(|(.., other)| other + MINUTE + SECOND < sent + 2 * MINUTE) {
            denied.insert(vec![id.to_string()]);
        }
    }
    (lonely, denied)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Events of one or two minutes' delay, restarts, pauses, a clock that steps back: after the last window, the alerts
    /// are those of a hunt over the same events.
    #[test]
    fn nothing_is_skipped_and_nothing_comes_twice(
        steps in proptest::collection::vec(step(), 1..40),
        tick: bool,
        runs_take_long: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        setup(folder.path(), &[
            rule("e", ANY, json!({})),
            rule("t", ANY, json!({ "timestamp_override": null })),
            rule("s", SEQUENCE, json!({})),
            rule("d", ANY, json!({ "from": "now-14m", "to": "now-5m" })),
            rule("dt", ANY, json!({ "from": "now-14m", "to": "now-5m", "timestamp_override": null })),
            rule("m", MISSING, json!({})),
            rule("mt", MISSING, json!({ "timestamp_override": null })),
            rule("off", ANY, json!({})),
            rule("off_t", ANY, json!({ "timestamp_override": null })),
            rule("back", ANY, json!({ "from": "now-1m" })),
            rule("capped", ANY, json!({ "timestamp_override": null, "max_signals": 1 })),
        ]);
        let options = ScheduleOptions { tick: tick.then(|| Duration::from_secs(20)), ..ScheduleOptions::default() };
        let clock: Arc<TestClock> = Arc::default();
        clock.0.store(START, Ordering::SeqCst);
        let mut service = Service::open(folder.path(), &clock, options);
        service.scheduler.run_due().unwrap();
        let mut sent: Vec<Sent> = Vec::new();
        let mut is_on = true;
        // What came late while a rule was off, or behind its last window before that: it may lie in no gap.
        let (mut off_since, mut not_owed) = (0, BTreeSet::new());
        let late_since = |sent: &[Sent], since: i64| -> Vec<Vec<String>> {
            let late = sent.iter().filter(|(_, time, .., at)| *at >= since && time < at);
            late.map(|(id, ..)| vec![id.to_string()]).collect()
        };
        // Steps back do not add up to more than the windows overlap.
        let mut back = 0;
        for step in steps {
            match step {
                Step::Send(events) => {
                    let mut documents = Vec::new();
                    for (late, is_first, pid) in events {
                        let time = clock.now() - late * SECOND;
                        documents.push(event(sent.len(), time, if is_first { "a" } else { "b" }, pid));
                        sent.push((sent.len(), time, is_first, pid, clock.now()));
                    }
                    service.send(documents);
                }
                Step::Wait(seconds) if seconds < 0 && back + seconds < -60 => {}
                Step::Wait(seconds) => {
                    back += seconds.min(0);
                    clock.0.fetch_add(seconds * SECOND, Ordering::SeqCst);
                }
                Step::Run => {
                    clock.1.store(if runs_take_long { 30 } else { 0 }, Ordering::SeqCst);
                    service.scheduler.run_due().unwrap();
                    clock.1.store(0, Ordering::SeqCst);
                }
                Step::Restart => {
                    service.close();
                    service = Service::open(folder.path(), &clock, options);
                }
                Step::Flush => service.store.flush().unwrap(),
                Step::Toggle => {
                    is_on = !is_on;
                    match is_on {
                        true => not_owed.extend(late_since(&sent, off_since)),
                        false => off_since = clock.now() - 5 * MINUTE,
                    }
                    ["off", "off_t"].iter().for_each(|rule| service.set_enabled(rule, is_on));
                }
                Step::LookBack(minutes) => service.patch("back", json!({ "from": format!("now-{minutes}m") })),
            }
        }
        if !is_on {
            not_owed.extend(late_since(&sent, off_since));
        }
        ["off", "off_t"].iter().for_each(|rule| service.set_enabled(rule, true));
        service.patch("back", json!({ "from": "now-100d" }));
        // Twice the window, so that every event is in one that is over.
        for _ in 0..4 {
            clock.0.fetch_add(5 * MINUTE, Ordering::SeqCst);
            service.scheduler.run_due().unwrap();
        }
        // What they missed while they were off is known.
        for rule in ["off", "off_t"] {
            let key = RuleKey::RuleId(rule);
            let gaps = service.scheduler.gaps(&key, START, clock.now()).unwrap();
            service.scheduler.fill(&key, &gaps).unwrap();
            prop_assert_eq!(service.scheduler.gaps(&key, START, clock.now()).unwrap(), []);
        }
        let singles = sent.iter().filter(|(_, _, is_first, ..)| *is_first).map(|(id, ..)| vec![id.to_string()]);
        let singles: BTreeSet<Vec<String>> = singles.collect();
        for rule in ["e", "t", "d", "dt", "off", "off_t", "back"] {
            let alerts = service.alerts(rule);
            prop_assert_eq!(alerts.len(), alerts.iter().collect::<BTreeSet<_>>().len());
            let mut found: BTreeSet<Vec<String>> = alerts.into_iter().collect();
            if rule == "off_t" {
                found.extend(not_owed.intersection(&singles).cloned());
            }
            prop_assert_eq!(&found, &singles, "rule {}", rule);
        }
        let alerts = service.alerts("s");
        let found: BTreeSet<Vec<String>> = alerts.iter().cloned().collect();
        prop_assert_eq!(alerts.len(), found.len());
        for pair in expected_pairs(&sent) {
            prop_assert!(found.contains(&pair), "{:?} is missing in {:?}", pair, found);
        }
        let (lonely, denied) = expected_lonely(&sent);
        for rule in ["m", "mt"] {
            let alerts = service.alerts(rule);
            let found: BTreeSet<Vec<String>> = alerts.iter().cloned().collect();
            prop_assert_eq!(alerts.len(), found.len());
            prop_assert!(found.is_superset(&lonely) && found.is_subset(&singles), "rule {}: {:?}", rule, found);
            prop_assert!(rule != "m" || found.is_disjoint(&denied), "{:?} of {:?}", found, denied);
        }
        let capped = service.alerts("capped");
        prop_assert_eq!(capped.len(), capped.iter().collect::<BTreeSet<_>>().len());
        let mut made: BTreeMap<i64, u64> = BTreeMap::new();
        for run in service.ledger("capped") {
            *made.entry((run.scheduled - 1).div_euclid(5 * MINUTE)).or_default() += run.new_alerts;
        }
        prop_assert!(made.values().all(|made| *made <= 1), "{:?}", made);
        for rule in ["t", "off_t", "capped"] {
            let ledger = service.ledger(rule);
            // Nothing comes so late, and nothing comes late twice.
            prop_assert_eq!(ledger.iter().map(|run| run.missed_events).sum::<u64>(), 0);
            let late = ledger.iter().map(|run| run.late_events).sum::<u64>();
            prop_assert!(late as usize <= singles.len(), "{} are late for {}", late, rule);
        }
        for rule in ["e", "t", "s", "d", "dt", "m", "mt"] {
            let ledger = service.ledger(rule);
            prop_assert!(ledger.iter().all(|run| run.status == ExecutionStatus::Succeeded), "{:?}", ledger);
            // Every end of a window stands in it once, in order.
            let ends: Vec<i64> =
                ledger.iter().map(|run| run.scheduled).filter(|end| end % (5 * MINUTE) == 0).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[1] == pair[0] + 5 * MINUTE), "{:?}", ends);
        }
        service.close();
    }

    /// Events come up to 50 minutes late: after the last window, the sequences are those of a hunt over the same events,
    /// whichever of their events came first.
    #[test]
    fn sequences_are_found_however_late_their_events_come(
        steps in proptest::collection::vec(
            (1i64..500, proptest::collection::vec((0i64..3_000, any::<bool>(), 0u32..2), 0..4), 0u32..6),
            1..30,
        ),
        tick: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        setup(folder.path(), &[rule("s", SEQUENCE, json!({ "timestamp_override": null }))]);
        let options = ScheduleOptions { tick: tick.then(|| Duration::from_secs(20)), ..ScheduleOptions::default() };
        let clock = service_clock(START + SECOND);
        let mut service = Service::open(folder.path(), &clock, options);
        service.scheduler.run_due().unwrap();
        let mut sent: Vec<Sent> = Vec::new();
        for (wait, events, happens) in steps {
            clock.0.fetch_add(wait * SECOND, Ordering::SeqCst);
            let mut documents = Vec::new();
            for (late, is_first, pid) in events {
                let time = clock.now() - late * SECOND;
                documents.push(event(sent.len(), time, if is_first { "a" } else { "b" }, pid));
                sent.push((sent.len(), time, is_first, pid, clock.now()));
            }
            service.send(documents);
            match happens {
                0 => {
                    service.close();
                    service = Service::open(folder.path(), &clock, options);
                }
                1 => service.store.flush().unwrap(),
                _ => _ = service.scheduler.run_due().unwrap(),
            }
        }
        for _ in 0..3 {
            clock.0.fetch_add(5 * MINUTE, Ordering::SeqCst);
            service.scheduler.run_due().unwrap();
        }
        let alerts = service.alerts("s");
        let found: BTreeSet<Vec<String>> = alerts.iter().cloned().collect();
        prop_assert_eq!(alerts.len(), found.len());
        for pair in expected_pairs(&sent) {
            prop_assert!(found.contains(&pair), "{:?} is missing in {:?} of {:?}", pair, found, sent);
        }
        prop_assert!(service.ledger("s").iter().all(|run| run.status == ExecutionStatus::Succeeded));
        service.close();
    }

    /// The clock is behind at restarts, by minutes or hours, and is set again or not: every event has one alert, soon for
    /// rules that go by arrival. What those that go by `@timestamp` do not look at is counted.
    #[test]
    fn a_clock_that_is_behind_at_a_restart_skips_and_doubles_nothing(
        steps in proptest::collection::vec(stepped(), 1..12),
        tick: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let by_time = json!({ "timestamp_override": null });
        setup(folder.path(), &[rule("e", ANY, json!({})), rule("t", ANY, by_time)]);
        let options = ScheduleOptions { tick: tick.then(|| Duration::from_secs(20)), ..ScheduleOptions::default() };
        let clock = service_clock(START + SECOND);
        let mut service = Service::open(folder.path(), &clock, options);
        let run = |service: &Service, minutes: i64| {
            for _ in 0..minutes {
                service.scheduler.run_due().unwrap();
                clock.0.fetch_add(MINUTE, Ordering::SeqCst);
            }
            service.scheduler.run_due().unwrap();
        };
        run(&service, 0);
        // How far the clock is behind.
        let (mut behind, mut sent) = (0, 0);
        let all = |sent: usize| (0..sent).map(|id| vec![id.to_string()]).collect::<BTreeSet<_>>();
        for step in steps {
            match step {
                Stepped::Send(events) => {
                    service.send((0..events).map(|event_id| event(sent + event_id, clock.now(), "a", 0)).collect());
                    sent += events;
                }
                Stepped::Run(minutes) => {
                    run(&service, minutes);
                    let found: BTreeSet<Vec<String>> = service.alerts("e").into_iter().collect();
                    prop_assert!(minutes < 25 || found == all(sent), "{:?} of {}: {:?}", found, sent, service.ledger("e"));
                }
                Stepped::Restart(back) => {
                    service.close();
                    behind += back;
                    clock.0.fetch_sub(back * SECOND, Ordering::SeqCst);
                    service = Service::open(folder.path(), &clock, options);
                    let last = service.control.last_window(&service.id("e")).unwrap();
                    let is_said = service.scheduler.status().clock_was.is_some();
                    prop_assert!(is_said || last <= Some(clock.now() + 5 * SECOND));
                }
                Stepped::Set => {
                    clock.0.fetch_add(behind * SECOND, Ordering::SeqCst);
                    behind = 0;
                }
            }
        }
        run(&service, 25);
        clock.0.fetch_add(behind * SECOND, Ordering::SeqCst);
        run(&service, 25);
        let (by_arrival, by_time) = (service.alerts("e"), service.alerts("t"));
        prop_assert_eq!(by_arrival.len(), sent);
        prop_assert_eq!(by_arrival.into_iter().collect::<BTreeSet<_>>(), all(sent));
        let found: BTreeSet<Vec<String>> = by_time.iter().cloned().collect();
        prop_assert_eq!(found.len(), by_time.len());
        let missed = service.ledger("t").iter().map(|run| run.missed_events).sum::<u64>();
        prop_assert!(found.is_subset(&all(sent)) && found.len() + missed as usize >= sent, "{} of {}", found.len(), sent);
        for rule in ["e", "t"] {
            prop_assert!(service.ledger(rule).iter().all(|run| run.status != ExecutionStatus::Failed));
        }
        service.close();
    }
}
