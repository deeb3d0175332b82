//! The scheduler with a clock of its own: nothing is skipped, nothing comes twice, whatever happens in between.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use eqlipse_control::{AlertQuery, Control, ExecutionStatus, RuleKey, WindowKind};
use eqlipse_schedule::{Clock, ScheduleOptions, Scheduler};
use eqlipse_store::{NewDocument, Store, StoreOptions};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// Some midnight.
const START: i64 = 1_780_000_000 / 300 * 300 * SECOND;

#[derive(Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
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

    fn send(&self, documents: Vec<NewDocument<'static>>) {
        let now = self.clock.now();
        assert!(self.store.ingest(&documents, now).unwrap().iter().all(Result::is_ok));
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

    fn ledger(&self, rule_id: &str) -> Vec<eqlipse_control::Execution> {
        let rule = self.control.rule(&RuleKey::RuleId(rule_id)).unwrap().unwrap();
        let mut ledger = self.control.ledger(&rule.id, 1_000).unwrap();
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

fn event(id: usize, time: i64, name: &str, pid: u32) -> NewDocument<'static> {
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
    Arc::new(TestClock(AtomicI64::new(now)))
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
        scheduled: last.scheduled + 15 * MINUTE,
        ..last
    };
    service.control.commit_execution(&[later], &[]).unwrap();
    let key = RuleKey::RuleId("s");
    let ends = |from: i64, to: i64| -> Vec<i64> {
        let gaps = service.scheduler.gaps(&key, START + from * MINUTE, START + to * MINUTE).unwrap();
        gaps.iter().map(|gap| (gap.end - START) / MINUTE).collect()
    };
    assert_eq!((ends(0, 30), ends(0, 10), ends(20, 30)), (vec![15, 20], vec![], vec![]));
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
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0i64..100, any::<bool>(), 0u32..3);
    prop_oneof![
        5 => proptest::collection::vec(event, 1..4).prop_map(Step::Send),
        5 => prop_oneof![3 => 1i64..60, 1 => 60i64..700, 1 => -40i64..0].prop_map(Step::Wait),
        4 => Just(Step::Run),
        1 => Just(Step::Restart),
        1 => Just(Step::Flush),
    ]
}

/// The pairs that the sequence finds in all events at once: of each event `b`, the newest `a` with the same key before it
/// that nothing took, not more than two minutes away.
fn expected_pairs(events: &[(usize, i64, bool, u32)]) -> Vec<Vec<String>> {
    let mut ordered = events.to_vec();
    ordered.sort_by_key(|(id, time, ..)| (*time, *id));
    let mut open = std::collections::HashMap::new();
    let mut pairs = Vec::new();
    for (id, time, is_first, pid) in ordered {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Events of one or two minutes' delay, restarts, pauses, a clock that steps back: after the last window, the alerts
    /// are those of a hunt over the same events.
    #[test]
    fn nothing_is_skipped_and_nothing_comes_twice(steps in proptest::collection::vec(step(), 1..40), tick: bool) {
        let folder = tempfile::tempdir().unwrap();
        setup(folder.path(), &[
            rule("e", ANY, json!({})),
            rule("t", ANY, json!({ "timestamp_override": null })),
            rule("s", SEQUENCE, json!({})),
            rule("d", ANY, json!({ "from": "now-14m", "to": "now-5m" })),
            rule("dt", ANY, json!({ "from": "now-14m", "to": "now-5m", "timestamp_override": null })),
        ]);
        let options = ScheduleOptions { tick: tick.then(|| Duration::from_secs(20)), ..ScheduleOptions::default() };
        let clock: Arc<TestClock> = Arc::default();
        clock.0.store(START, Ordering::SeqCst);
        let mut service = Service::open(folder.path(), &clock, options);
        service.scheduler.run_due().unwrap();
        let mut sent: Vec<(usize, i64, bool, u32)> = Vec::new();
        // Steps back do not add up to more than the windows overlap.
        let mut back = 0;
        for step in steps {
            match step {
                Step::Send(events) => {
                    let mut documents = Vec::new();
                    for (late, is_first, pid) in events {
                        let time = clock.now() - late * SECOND;
                        documents.push(event(sent.len(), time, if is_first { "a" } else { "b" }, pid));
                        sent.push((sent.len(), time, is_first, pid));
                    }
                    service.send(documents);
                }
                Step::Wait(seconds) if seconds < 0 && back + seconds < -60 => {}
                Step::Wait(seconds) => {
                    back += seconds.min(0);
                    clock.0.fetch_add(seconds * SECOND, Ordering::SeqCst);
                }
                Step::Run => _ = service.scheduler.run_due().unwrap(),
                Step::Restart => {
                    service.close();
                    service = Service::open(folder.path(), &clock, options);
                }
                Step::Flush => service.store.flush().unwrap(),
            }
        }
        // Twice the window, so that every event is in one that is over.
        for _ in 0..4 {
            clock.0.fetch_add(5 * MINUTE, Ordering::SeqCst);
            service.scheduler.run_due().unwrap();
        }
        let singles = sent.iter().filter(|(_, _, is_first, _)| *is_first).map(|(id, ..)| vec![id.to_string()]);
        let singles: BTreeSet<Vec<String>> = singles.collect();
        for rule in ["e", "t", "d", "dt"] {
            let alerts = service.alerts(rule);
            prop_assert_eq!(alerts.len(), alerts.iter().collect::<BTreeSet<_>>().len());
            prop_assert_eq!(&alerts.into_iter().collect::<BTreeSet<_>>(), &singles, "rule {}", rule);
        }
        let found: BTreeSet<Vec<String>> = service.alerts("s").into_iter().collect();
        for pair in expected_pairs(&sent) {
            prop_assert!(found.contains(&pair), "{:?} is missing in {:?}", pair, found);
        }
        for rule in ["e", "t", "s"] {
            let ledger = service.ledger(rule);
            prop_assert!(ledger.iter().all(|run| run.status == ExecutionStatus::Succeeded), "{:?}", ledger);
            // Every end of a window stands in it once, in order.
            let ends: Vec<i64> = ledger.iter().map(|run| run.to).filter(|end| end % (5 * MINUTE) == 0).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[1] == pair[0] + 5 * MINUTE), "{:?}", ends);
        }
        service.close();
    }
}
