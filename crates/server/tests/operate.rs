//! For those who look after the service: its status, and what it refused.

mod common;

use common::{Request, Service, creates, event};
use eqlipse_control::{Execution, ExecutionStatus, NewAlert, WindowKind};
use eqlipse_server::config::{Size, Time};
use eqlipse_server::service::ServiceStatus;
use serde_json::{Value, json};

fn status(service: &Service) -> ServiceStatus {
    let answer = service.get("/api/service/status");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn rule(rule_id: &str, query: &str, enabled: bool) -> Value {
    json!({
        "rule_id": rule_id, "name": format!("Rule {rule_id}"), "description": "d", "severity": "low", "risk_score": 21,
        "type": "eql", "language": "eql", "query": query, "index": ["logs-*"], "enabled": enabled,
    })
}

fn create(service: &Service, rule: &Value) -> String {
    let request = Request::new("POST", "/api/detection_engine/rules").header("Content-Type", "application/json");
    let answer = request.header("kbn-xsrf", "tests").body(rule.to_string()).send(service.address);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn execution(rule: &str, rule_id: &str, uuid: &str, status: ExecutionStatus) -> Execution {
    let now = eqlipse_server::now();
    Execution {
        uuid: uuid.to_owned(),
        rule: rule.to_owned(),
        rule_id: rule_id.to_owned(),
        from: 5,
        to: 10,
        basis: None,
        kind: WindowKind::OnTime,
        scheduled: 10,
        started: now,
        finished: now + 7_000_000,
        status,
        matches: 0,
        new_alerts: 0,
        known_alerts: 0,
        capped: 0,
        late_events: 0,
        missed_events: 0,
        message: "because of the test".to_owned(),
    }
}

#[test]
fn the_status_says_what_is_wrong_and_what_is_not() {
    let service = Service::start();
    let before = status(&service);
    assert!(before.healthy && before.problems.is_empty() && before.warnings.is_empty(), "{before:?}");
    service.post("/_bulk", creates([event("a"), event("b"), "no event".to_owned()]));
    // The ledger is the test's own. A rule that is off or gone is nobody's problem.
    service.app().scheduler.stop();
    let off = create(&service, &rule("off", "process where true", false));
    let on = create(&service, &rule("on", "process where true", true));
    let control = &service.app().control;
    let failed = [
        execution(&on, "on", "1", ExecutionStatus::Failed),
        execution(&on, "on", "2", ExecutionStatus::Failed),
        execution(&off, "off", "3", ExecutionStatus::Failed),
        execution("gone", "gone", "4", ExecutionStatus::Failed),
    ];
    control.commit_execution(&failed, &[]).unwrap();
    let bad = status(&service);
    assert_eq!((bad.healthy, bad.problems.len()), (false, 2), "{bad:?}");
    assert_eq!((bad.rules.installed, bad.rules.enabled), (2, 1));
    let failing = &bad.rules.failing[0];
    assert_eq!((&*failing.rule_id, &*failing.name, &*failing.message), ("on", "Rule on", "because of the test"));
    assert_eq!((bad.rules.slowest.len(), bad.rules.slowest[0].duration), (1, 7));
    // The same window twice is one gap.
    assert_eq!((bad.ledger.failed, bad.ledger.gaps, bad.ledger.on_time), (4, 1, 4));
    assert_eq!((bad.ingest.stored, bad.ingest.refused, bad.ingest.dead_letters), (2, 1, 1));
    assert_eq!((bad.store.events, bad.store.recent_events), (2, 2));
    assert!(bad.warnings[0].contains("refused"), "{:?}", bad.warnings);
    // It was evaluated in the meantime.
    control.commit_execution(&[execution(&on, "on", "5", ExecutionStatus::Succeeded)], &[]).unwrap();
    let good = status(&service);
    assert_eq!((good.healthy, good.ledger.failed, good.ledger.gaps), (true, 4, 0), "{good:?}");
    // That somebody's own run of it failed later takes nothing back.
    let by_hand = Execution { kind: WindowKind::Manual, ..execution(&on, "on", "6", ExecutionStatus::Failed) };
    control.commit_execution(&[by_hand], &[]).unwrap();
    assert_eq!(status(&service).ledger.gaps, 0);
    assert!(service.get("/api/service/status?hours=0").status == 400);
    assert_eq!(Request::anonymous("GET", "/api/service/status").send(service.address).status, 401);
}

fn replay(service: &Service) -> Value {
    let answer = Request::new("POST", "/api/dead_letters/_replay").header("kbn-xsrf", "x").send(service.address);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn letters(service: &Service) -> Vec<Value> {
    service.get("/api/dead_letters").json().as_array().unwrap().clone()
}

fn long(text: &str) -> String {
    format!("{{\"message\":\"{text}{}\"}}", "x".repeat(500))
}

#[test]
fn what_was_refused_is_taken_once_when_the_reason_is_gone() {
    let short = Service::with(|config| config.limits.document_bytes = Size(300));
    let own_id = format!("{{\"create\":{{\"_index\":\"logs-a-b\",\"_id\":\"own\"}}}}\n{}\n", long("own"));
    let update = "{\"update\":{\"_index\":\"logs-a-b\",\"_id\":\"x\"}}\n{\"doc\":{\"a\":1}}\n";
    let body = creates([event("a"), long("one"), long("one"), "{broken".to_owned()]) + &own_id + update;
    assert_eq!(short.post("/_bulk", body).json()["errors"], true);
    let before = letters(&short);
    assert_eq!(before.len(), 5);
    assert_eq!(before[0]["operation"], "update");
    assert!(before[4]["reason"].as_str().unwrap().contains("max_document_bytes"), "{}", before[4]);
    assert_eq!(short.get("/api/dead_letters?limit=2").json().as_array().unwrap()[..], before[..2]);
    // The reason is still there: all stay.
    let done = replay(&short);
    assert_eq!((&done["stored"], &done["refused"], &done["complete"]), (&json!(0), &json!(5), &json!(true)));
    assert_eq!(letters(&short).len(), 5);
    // A site elsewhere cannot have a browser do it.
    assert_eq!(Request::new("POST", "/api/dead_letters/_replay").send(short.address).status, 400);

    let long_ones = Service::on(short.stop(), |_| {});
    let done = replay(&long_ones);
    assert_eq!(
        (&done["stored"], &done["already_there"], &done["refused"]),
        (&json!(3), &json!(0), &json!(2)),
        "{done}"
    );
    let left = letters(&long_ones);
    assert_eq!(left.iter().map(|letter| &letter["document"]).collect::<Vec<_>>(), ["{\"doc\":{\"a\":1}}", "{broken"]);
    assert!(left[1]["reason"].as_str().unwrap().len() > 3);
    assert_eq!(long_ones.app().store.snapshot().events(), 4);
    assert_eq!(long_ones.get("/logs-a-b/_count").json()["count"], 1);
    // Again, and nothing more comes of it.
    let again = replay(&long_ones);
    assert_eq!((&again["stored"], &again["refused"]), (&json!(0), &json!(2)));
    // What is refused later goes to a file of its own, and is offered the next time.
    long_ones.post("/_bulk", creates(["{more".to_owned()]));
    assert_eq!(replay(&long_ones)["refused"], 3);
    assert_eq!(long_ones.app().store.snapshot().events(), 4);
}

#[test]
fn alerts_and_ledger_are_kept_as_long_as_the_settings_say() {
    let day = 86_400_000_000_000;
    let service = Service::start();
    let now = eqlipse_server::now();
    let alert = |id: &str, days: i64| NewAlert {
        id: id.to_owned(),
        rule: "r".to_owned(),
        rule_id: "r".to_owned(),
        time: now - days * day,
        building_block_of: None,
        document: json!({ "kibana.alert.uuid": id }).as_object().unwrap().clone(),
    };
    let run = |uuid: &str, days: i64| Execution {
        finished: now - days * day,
        ..execution("r", "r", uuid, ExecutionStatus::Succeeded)
    };
    let made = [alert("young", 1), alert("old", 20)];
    service.app().control.commit_execution(&[run("young", 1), run("middle", 20), run("old", 31)], &made).unwrap();
    // Without a word, alerts are kept; the ledger is for thirty days.
    let service = Service::on(service.stop(), |_| {});
    let left = |service: &Service, alerts: usize, executions: usize| {
        let control = &service.app().control;
        let ids = ["young", "old"].map(str::to_owned);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut found = (0, 0);
        while found != (alerts, executions) && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(20));
            found = (control.known_alerts(&ids).unwrap().len(), control.ledger("r", 10).unwrap().len());
        }
        assert_eq!(found, (alerts, executions));
    };
    left(&service, 2, 2);
    let service = Service::on(service.stop(), |config| {
        config.retention.alerts = Some(Time(std::time::Duration::from_secs(10 * 86_400)));
        config.retention.ledger = Time(std::time::Duration::from_secs(10 * 86_400));
    });
    left(&service, 1, 1);
}
