//! The rule that started eqlipse, from its page.

use std::thread;
use std::time::Duration;

use eqlipse_control::ExecutionStatus;
use eqlipse_testkit::corpus;
use serde_json::{Value, json};

use crate::bench::{Bench, now};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;

/// A bench with the rule, and its id.
fn bench() -> Option<(Bench, String)> {
    let page = corpus("the seed's rule in the service", "seed")?;
    let bench = Bench::new().rules(page).set("EQLIPSE_SCHEDULE_TICK", "1s");
    let service = bench.start();
    let found = service.ask("GET", "/api/detection_engine/rules/_find", &Value::Null);
    service.stop();
    let rule = &found["data"][0];
    assert_eq!((&found["total"], &rule["name"]), (&json!(1), &json!("Network Connection via Mshta")));
    assert_eq!((&rule["enabled"], &rule["max_signals"], &rule["from"]), (&json!(true), &json!(100), &json!("now-9m")));
    Some((bench, rule["rule_id"].as_str().expect("an id").to_owned()))
}

/// The start of a process and what it does on the network.
fn events(entity: &str) -> [Value; 2] {
    let process = json!({ "entity_id": entity, "name": "mshta.exe", "pid": 4711 });
    let event = |category: &str| {
        json!({
            "@timestamp": now(),
            "event": { "category": category, "type": "start" },
            "host": { "name": "pc01", "os": { "type": "windows" } },
            "process": process,
        })
    };
    [event("process"), event("network")]
}

#[test]
fn its_alert_appears_once() {
    let Some((bench, rule)) = bench() else { return };
    let service = bench.start();
    let [start, connection] = events("e1");
    // In two requests: no window has to see both at once.
    service.bulk("logs-endpoint.events.process-default", &[start]);
    service.bulk("logs-endpoint.events.network-default", &[connection]);
    // The same where the rule does not look.
    service.bulk("logs-elsewhere-default", &events("e2"));
    service.wait_for_signals(&rule, 3);
    thread::sleep(Duration::from_millis(2_200));
    let (total, alerts) = service.signals(&rule);
    assert_eq!(total, 3, "one alert with its two building blocks: {alerts:?}");
    let shell = alerts.iter().find(|alert| alert["_source"].get("kibana.alert.building_block_type").is_none());
    let shell = &shell.expect("the alert")["_source"];
    assert_eq!(shell["kibana.alert.severity"], "medium");
    assert_eq!(shell["kibana.alert.workflow_status"], "open");
    assert_eq!(shell["process"]["entity_id"], "e1");
    service.stop();
    // The windows of the time without it are caught up, over the same events.
    let service = bench.start();
    thread::sleep(Duration::from_millis(2_200));
    assert_eq!(service.signals(&rule).0, 3);
    service.stop();

    let ledger = bench.ledger(&rule);
    assert_eq!(ledger.iter().map(|window| window.new_alerts).sum::<u64>(), 1, "{ledger:#?}");
    assert!(ledger.iter().all(|window| window.status == ExecutionStatus::Succeeded), "{ledger:#?}");
    let scheduled: Vec<_> = ledger.iter().filter(|window| window.kind.is_scheduled()).collect();
    assert!(scheduled.iter().all(|window| window.to % SECOND == 0 && window.to - window.from == 9 * MINUTE));
    assert!(scheduled.is_sorted_by(|one, next| one.to < next.to), "each window once: {ledger:#?}");
}

#[test]
fn a_hundred_and_one_give_a_hundred_and_a_warning() {
    let Some((bench, rule)) = bench() else { return };
    let service = bench.start();
    // A hundred are for each interval, however many ticks it has: nobody wants to wait for five minutes here.
    service.ask("PATCH", "/api/detection_engine/rules", &json!({ "rule_id": rule, "interval": "4s" }));
    let all: Vec<Value> = (0..101).flat_map(|number| events(&format!("e{number}"))).collect();
    service.bulk("winlogbeat-8.17.0", &all);
    // The next interval has the last one.
    service.wait_for_signals(&rule, 3 * 101);
    service.stop();
    let ledger = bench.ledger(&rule);
    let made: Vec<_> = ledger.iter().filter(|window| window.new_alerts > 0).collect();
    let numbers: Vec<_> = made.iter().map(|window| (window.new_alerts, window.capped, window.status)).collect();
    assert_eq!(numbers, [(100, 1, ExecutionStatus::Warning), (1, 0, ExecutionStatus::Succeeded)]);
    assert!(made[0].message.contains("max_signals"), "{}", made[0].message);
}
