//! Whole alert documents, letter by letter.

#![recursion_limit = "256"]

use std::sync::Arc;

use eqlipse_alerts::*;
use eqlipse_rules::{Rule, Severity};
use serde_json::{Map, Value, json};

const NOON: i64 = 1_767_268_800_000_000_000;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn rule(changes: Value) -> Arc<Rule> {
    let mut fields = map(json!({
        "rule_id": "r1",
        "name": "Script Host Reaches Out",
        "description": "A script host opens a connection.",
        "type": "eql",
        "language": "eql",
        "query": "any where true",
        "index": ["logs-*"],
        "severity": "medium",
        "risk_score": 47,
        "version": 3,
    }));
    fields.extend(map(changes));
    Arc::new(Rule::from_json(fields).expect("a rule"))
}

fn event(id: &str, time_ns: i64, source: Value) -> Option<MatchedEvent> {
    let source = Arc::new(map(source));
    Some(MatchedEvent { index: Some("logs-a".into()), id: id.into(), time_ns: Some(time_ns), source, origin: None })
}

fn alert(kind: MatchKind, rule: Arc<Rule>, events: Vec<Option<MatchedEvent>>) -> Alert {
    let found = Match { rule, kind, join_keys: vec![json!("k")], events };
    build(found, &Arc::new(BuildOptions { version: "1.2.3".into(), ..BuildOptions::default() }))
}

fn process() -> Value {
    json!({
        "@timestamp": "2026-01-01T12:00:00.5Z",
        "event": {"kind": "event", "category": ["process"], "type": ["start"], "code": 1},
        "host": {"name": "ws1", "os": {"type": "windows"}},
        "process": {"name": "wscript.exe", "entity_id": "p1", "parent": {"name": "explorer.exe"}},
        "user.name": "ann",
        "data_stream": {"type": "logs"},
        "kibana": {"x": 1}, "kibana.alert.note": 1, "signal": {"y": 2}, "threshold_result": 3,
    })
}

fn network() -> Value {
    json!({
        "@timestamp": "2026-01-01T12:00:01Z",
        "event": {"kind": "event", "category": ["network"], "type": ["start", "connection"], "code": 3},
        "host.name": "ws1",
        "host": {"os": {"type": "windows"}},
        "process": {"name": "wscript.exe", "entity_id": "p1"},
        "destination": {"ip": "192.0.2.7", "port": 443},
        "user": {"name": "ann"},
    })
}

/// What every document of the plain rule says about it.
fn rule_part(name: &str) -> Value {
    json!({
        "kibana.alert.rule.uuid": "r1",
        "kibana.alert.rule.rule_id": "r1",
        "kibana.alert.rule.name": name,
        "kibana.alert.rule.type": "eql",
        "kibana.alert.rule.rule_type_id": "siem.eqlRule",
        "kibana.alert.rule.category": "Event Correlation Rule",
        "kibana.alert.rule.consumer": "siem",
        "kibana.alert.rule.producer": "siem",
        "kibana.alert.rule.indices": ["logs-*"],
        "kibana.alert.rule.revision": 0,
        "kibana.alert.rule.version": 3,
        "kibana.alert.rule.actions": [],
        "kibana.alert.rule.author": [],
        "kibana.alert.rule.description": "A script host opens a connection.",
        "kibana.alert.rule.enabled": false,
        "kibana.alert.rule.exceptions_list": [],
        "kibana.alert.rule.false_positives": [],
        "kibana.alert.rule.from": "now-6m",
        "kibana.alert.rule.to": "now",
        "kibana.alert.rule.interval": "5m",
        "kibana.alert.rule.immutable": false,
        "kibana.alert.rule.max_signals": 100,
        "kibana.alert.rule.references": [],
        "kibana.alert.rule.risk_score": 47,
        "kibana.alert.rule.severity": "medium",
        "kibana.alert.rule.risk_score_mapping": [],
        "kibana.alert.rule.severity_mapping": [],
        "kibana.alert.rule.tags": [],
        "kibana.alert.rule.threat": [],
        "kibana.alert.rule.parameters": {
            "rule_id": "r1",
            "description": "A script host opens a connection.",
            "severity": "medium",
            "severity_mapping": [],
            "risk_score": 47,
            "risk_score_mapping": [],
            "from": "now-6m",
            "to": "now",
            "max_signals": 100,
            "author": [],
            "false_positives": [],
            "references": [],
            "threat": [],
            "setup": "",
            "type": "eql",
            "index": ["logs-*"],
            "filters": [],
            "query": "any where true",
            "language": "eql",
            "response_actions": [],
            "exceptions_list": [],
            "related_integrations": [],
            "required_fields": [],
            "version": 3,
            "immutable": false,
        },
    })
}

/// The expected document: common parts, then what is particular.
fn expected(time: &str, particular: Value) -> Value {
    let mut document = map(rule_part("Script Host Reaches Out"));
    document.extend(map(json!({
        "event.kind": "signal",
        "@timestamp": time,
        "kibana.alert.start": time,
        "kibana.alert.last_detected": time,
        "kibana.alert.intended_timestamp": time,
        "kibana.alert.status": "active",
        "kibana.alert.workflow_status": "open",
        "kibana.alert.workflow_tags": [],
        "kibana.alert.workflow_assignee_ids": [],
        "kibana.alert.severity": "medium",
        "kibana.alert.risk_score": 47,
        "kibana.space_ids": ["default"],
        "kibana.version": "1.2.3",
    })));
    document.extend(map(particular));
    Value::Object(document)
}

// Ids are what sha256sum gives for the texts named beside them.
/// `logs-ae1undefineddefault:r1`
const EVENT_ID: &str = "3538b02f6346a473268ec54960ca4fc15eb971abbf58c350320fdea27fb2e2ed";
/// `e1logs-ae2logs-ar10`
const BLOCK_0: &str = "ffa08f68b3646d934fdc3cfabd336e8c16ab101d0e23eab1e84a1e60dc9110d7";
/// `e1logs-ae2logs-ar11`
const BLOCK_1: &str = "574bd405e7141b40854a8ac45ec16035afbf0c89b7cea1e645668e3d55b2aad8";
/// `e1logs-a<block 0>e2logs-a<block 1>r1`
const SHELL: &str = "1754438cd68372e79b7755eefda72187521c7307afa57c3085a6188711112b74";

fn process_content() -> Value {
    json!({
        "event": {"category": ["process"], "type": ["start"], "code": 1},
        "host": {"name": "ws1", "os": {"type": "windows"}},
        "process": {"name": "wscript.exe", "entity_id": "p1", "parent": {"name": "explorer.exe"}},
        "user.name": "ann",
        "data_stream": {"type": "logs"},
        "kibana.alert.original_event.kind": "event",
        "kibana.alert.original_event.category": ["process"],
        "kibana.alert.original_event.type": ["start"],
        "kibana.alert.original_event.code": 1,
        "kibana.alert.original_data_stream.type": "logs",
        "kibana.alert.original_time": "2026-01-01T12:00:00.5Z",
        "kibana.alert.depth": 1,
        "kibana.alert.ancestors": [{"id": "e1", "type": "event", "index": "logs-a", "depth": 0}],
        "kibana.alert.reason": "process event with process wscript.exe, parent process explorer.exe, by ann on ws1 \
                                created medium alert Script Host Reaches Out.",
    })
}

fn with(base: Value, more: Value) -> Value {
    let mut merged = map(base);
    merged.extend(map(more));
    Value::Object(merged)
}

#[test]
fn single_event() {
    let alert = alert(MatchKind::Event, rule(json!({})), vec![event("e1", NOON, process())]);
    let particular = with(process_content(), json!({"kibana.alert.uuid": EVENT_ID}));
    assert_eq!(alert.document(), expected("2026-01-01T12:00:00.000Z", particular));
    assert_eq!(alert.id, EVENT_ID);
    assert_eq!(alert.documents().len(), 1);
    assert_eq!((alert.severity, alert.risk_score, alert.time_ns), (Severity::Medium, 47.0, Some(NOON)));
    assert_eq!(alert.host.as_deref(), Some("ws1"));
    assert_eq!(alert.name, "Script Host Reaches Out");
    assert_eq!(alert.join_keys, [json!("k")]);
}

#[test]
fn sequence() {
    let events = vec![event("e1", NOON, process()), None, event("e2", NOON + 1_000_000_000, network())];
    let alert = alert(MatchKind::Sequence, rule(json!({})), events);
    let time = "2026-01-01T12:00:01.000Z";

    let shell = json!({
        "event": {"type": ["start"]},
        "host": {"os": {"type": "windows"}, "name": "ws1"},
        "process": {"name": "wscript.exe", "entity_id": "p1"},
        "user": {"name": "ann"},
        "kibana.alert.original_event.kind": "event",
        "kibana.alert.original_event.type": ["start"],
        "kibana.alert.original_time": "2026-01-01T12:00:00.5Z",
        "kibana.alert.uuid": SHELL,
        "kibana.alert.group.id": SHELL,
        "kibana.alert.depth": 2,
        "kibana.alert.ancestors": [
            {"id": "e1", "type": "event", "index": "logs-a", "depth": 0},
            {"id": BLOCK_0, "type": "signal", "index": "", "depth": 1, "rule": "r1"},
            {"id": "e2", "type": "event", "index": "logs-a", "depth": 0},
            {"id": BLOCK_1, "type": "signal", "index": "", "depth": 1, "rule": "r1"},
        ],
        "kibana.alert.reason": "process, network event with process wscript.exe, parent process explorer.exe, \
                                destination 192.0.2.7:443, by ann on ws1 created medium alert Script Host Reaches Out.",
    });
    assert_eq!(alert.document(), expected(time, shell));

    let block_0 = json!({
        "kibana.alert.uuid": BLOCK_0,
        "kibana.alert.building_block_type": "default",
        "kibana.alert.group.id": SHELL,
        "kibana.alert.group.index": 0,
    });
    let block_1 = json!({
        "event": {"category": ["network"], "type": ["start", "connection"], "code": 3},
        "host.name": "ws1",
        "host": {"os": {"type": "windows"}},
        "process": {"name": "wscript.exe", "entity_id": "p1"},
        "destination": {"ip": "192.0.2.7", "port": 443},
        "user": {"name": "ann"},
        "kibana.alert.original_event.kind": "event",
        "kibana.alert.original_event.category": ["network"],
        "kibana.alert.original_event.type": ["start", "connection"],
        "kibana.alert.original_event.code": 3,
        "kibana.alert.original_time": "2026-01-01T12:00:01Z",
        "kibana.alert.uuid": BLOCK_1,
        "kibana.alert.building_block_type": "default",
        "kibana.alert.group.id": SHELL,
        "kibana.alert.group.index": 1,
        "kibana.alert.depth": 1,
        "kibana.alert.ancestors": [{"id": "e2", "type": "event", "index": "logs-a", "depth": 0}],
        "kibana.alert.reason": "network event with process wscript.exe, destination 192.0.2.7:443, by ann on ws1 \
                                created medium alert Script Host Reaches Out.",
    });
    let blocks = alert.building_blocks();
    assert_eq!(blocks, [expected(time, with(process_content(), block_0)), expected(time, block_1)]);
    assert_eq!(alert.documents().len(), 3);
    assert_eq!(alert.documents()[0], alert.document());
}

#[test]
fn the_same_match_gives_the_same_bytes() {
    let make = || {
        let events = vec![event("e1", NOON, process()), event("e2", NOON, network())];
        alert(MatchKind::Sample, rule(json!({})), events).documents()
    };
    assert_eq!(serde_json::to_string(&make()).unwrap(), serde_json::to_string(&make()).unwrap());
}

#[test]
fn overrides_of_an_event() {
    let rule = rule(json!({
        "severity_mapping": [
            {"field": "event.severity", "operator": "equals", "value": "3", "severity": "critical"},
            {"field": "rule.level", "operator": "equals", "value": "warn", "severity": "high"},
        ],
        "risk_score_mapping": [
            {"field": "event.risk_score", "operator": "equals", "value": ""},
            {"field": "other", "operator": "equals", "value": ""},
        ],
        "rule_name_override": "message",
    }));
    let rate = |source: Value| {
        let alert = alert(MatchKind::Event, rule.clone(), vec![event("e", NOON, source)]);
        (alert.severity, alert.risk_score, alert.name)
    };
    let plain = "Script Host Reaches Out".to_owned();
    assert_eq!(rate(json!({})), (Severity::Medium, 47.0, plain.clone()));
    assert_eq!(rate(json!({"event.severity": 3.0, "rule.level": "warn"})).0, Severity::Critical);
    assert_eq!(rate(json!({"event": {"severity": "03"}})).0, Severity::Critical);
    assert_eq!(rate(json!({"rule": {"level": ["info", "warn"]}})).0, Severity::High);
    assert_eq!(rate(json!({"rule": {"level": "WARN"}})).0, Severity::Medium);
    assert_eq!(rate(json!({"event": {"risk_score": [10, "61.5", 101, -1, "x", null]}})).1, 61.5);
    assert_eq!(rate(json!({"event": {"risk_score": "NaN"}, "other": 3})).1, 47.0);
    assert_eq!(rate(json!({"message": "Told so"})).2, "Told so");
    assert_eq!(rate(json!({"message": ["Told so"]})).2, plain);
    assert_eq!(rate(json!({"message": ""})).2, plain);
    assert_eq!(rate(json!({"message": {"a": 1}})).2, plain);

    let alert =
        alert(MatchKind::Event, rule, vec![event("e", NOON, json!({"event.risk_score": 61.5, "message": "M"}))]);
    let document = alert.document();
    assert_eq!(document["kibana.alert.risk_score"], json!(61.5));
    assert_eq!(document["kibana.alert.rule.name"], json!("M"));
    assert_eq!(document["kibana.alert.rule.risk_score"], json!(47));
    assert_eq!(document["kibana.alert.reason"], json!("event created medium alert M."));
}

#[test]
fn overrides_of_a_sequence() {
    let rule = rule(json!({
        "severity_mapping": [{"field": "x", "value": "1", "severity": "high"}],
        "risk_score_mapping": [{"field": "score"}],
        "rule_name_override": "message",
    }));
    let events = vec![
        event("a", NOON, json!({"x": 1, "score": 60, "message": "first"})),
        event("b", NOON, json!({"score": 80, "message": "second"})),
        event("c", NOON, json!({})),
    ];
    let alert = alert(MatchKind::Sequence, rule, events);
    assert_eq!((alert.severity, alert.risk_score, alert.name.as_str()), (Severity::High, 80.0, "second"));
    let blocks = alert.building_blocks();
    let of = |field: &str| blocks.iter().map(|block| block[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("kibana.alert.severity"), ["high", "medium", "medium"]);
    assert_eq!(of("kibana.alert.risk_score"), [60, 80, 47]);
    assert_eq!(of("kibana.alert.rule.name"), ["first", "second", "Script Host Reaches Out"]);
}

#[test]
fn severity_may_go_down() {
    let rule = rule(json!({"severity_mapping": [{"field": "x", "value": "1", "severity": "low"}]}));
    let events = vec![event("a", NOON, json!({"x": 1})), event("b", NOON, json!({}))];
    assert_eq!(alert(MatchKind::Sequence, rule, events).severity, Severity::Low);
}

#[test]
fn alerts_on_alerts_keep_their_line() {
    let source = json!({
        "kibana.alert.rule.uuid": "r0",
        "kibana.alert.depth": 1,
        "kibana.alert.ancestors": [{"id": "e0", "type": "event", "index": "logs", "depth": 0}],
        "event.kind": "signal",
    });
    let document = alert(MatchKind::Event, rule(json!({})), vec![event("a1", NOON, source)]).document();
    assert_eq!(document["kibana.alert.depth"], json!(2));
    let ancestors = json!([
        {"id": "e0", "type": "event", "index": "logs", "depth": 0},
        {"id": "a1", "type": "signal", "index": "logs-a", "depth": 1, "rule": "r0"},
    ]);
    assert_eq!(document["kibana.alert.ancestors"], ancestors);
    assert_eq!(document["kibana.alert.original_event.kind"], json!("signal"));
    assert_eq!(document["kibana.alert.rule.uuid"], json!("r1"));
}

#[test]
fn clock_space_run_and_address() {
    let options = BuildOptions {
        clock: Clock::At(NOON + 60_000_000_000),
        space: "soc".into(),
        public_base_url: Some("https://siem.example/".into()),
        execution: Some(Execution { uuid: "x1".into(), time_ns: NOON, asked_for_ns: None }),
        ..BuildOptions::default()
    };
    let rule = rule(json!({
        "building_block_type": "default", "meta": {"a": {"b": 1}, "from": "1m"}, "timeline_title": "T", "note": "N"
    }));
    let events = vec![event("e1", NOON, process())];
    let alert = build(Match { rule, kind: MatchKind::Event, join_keys: vec![], events }, &Arc::new(options));
    let document = alert.document();
    assert_eq!(alert.time_ns, Some(NOON));
    assert_eq!(document["@timestamp"], json!("2026-01-01T12:01:00.000Z"));
    assert_eq!(document["kibana.alert.original_time"], json!("2026-01-01T12:00:00.5Z"));
    assert_eq!(document["kibana.space_ids"], json!(["soc"]));
    assert_ne!(alert.id, EVENT_ID);
    let url = format!(
        "https://siem.example/s/soc/app/security/alerts/redirect/{}?index=.alerts-security.alerts-soc\
         &timestamp=2026-01-01T12:01:00.000Z",
        alert.id
    );
    assert_eq!(document["kibana.alert.url"], json!(url));
    assert_eq!(document["kibana.alert.building_block_type"], json!("default"));
    assert_eq!(document["kibana.alert.rule.meta.a.b"], json!(1));
    assert_eq!(document["kibana.alert.rule.meta.from"], json!("1m"));
    assert_eq!(document["kibana.alert.rule.timeline_title"], json!("T"));
    assert_eq!(document["kibana.alert.rule.note"], json!("N"));
    assert_eq!(document["kibana.alert.rule.execution.uuid"], json!("x1"));
    assert_eq!(document["kibana.alert.rule.execution.timestamp"], json!("2026-01-01T12:00:00.000Z"));
    assert_eq!(document["kibana.alert.rule.execution.type"], json!("scheduled"));
    assert_eq!(document["kibana.alert.intended_timestamp"], document["@timestamp"]);
}

#[test]
fn a_run_that_somebody_asked_for_says_when_it_would_have_been_due() {
    let execution = Execution { uuid: "x1".into(), time_ns: NOON, asked_for_ns: Some(NOON - 60_000_000_000) };
    let options = BuildOptions { clock: Clock::At(NOON), execution: Some(execution), ..BuildOptions::default() };
    let found = Match {
        rule: rule(json!({})),
        kind: MatchKind::Event,
        join_keys: vec![],
        events: vec![event("e1", NOON, process())],
    };
    let document = build(found, &Arc::new(options)).document();
    assert_eq!(document["kibana.alert.rule.execution.type"], json!("manual"));
    assert_eq!(document["kibana.alert.intended_timestamp"], json!("2026-01-01T11:59:00.000Z"));
    assert_eq!(document["@timestamp"], json!("2026-01-01T12:00:00.000Z"));
}

#[test]
fn events_without_a_time() {
    let event = MatchedEvent {
        id: "e".into(),
        source: Arc::new(map(json!({"@timestamp": 1_767_268_800_250_i64}))),
        ..Default::default()
    };
    let make = |event: MatchedEvent| alert(MatchKind::Event, rule(json!({})), vec![Some(event)]);
    let document = make(event).document();
    assert_eq!(document["@timestamp"], json!("2026-01-01T12:00:00.250Z"));
    let bare = make(MatchedEvent::default());
    assert_eq!((bare.time_ns, bare.document().get("@timestamp")), (None, None));
}

#[test]
fn own_and_rule_fields_make_the_documents() {
    let named = || rule(json!({"rule_name_override": "process.name", "meta": {"a": {"b": 1}}}));
    for kind in [MatchKind::Event, MatchKind::Sequence] {
        let alert = alert(kind, named(), vec![event("e1", NOON, process()), event("e2", NOON, network())]);
        let rule = serde_json::to_string(&alert.rule_fields()).expect("JSON");
        let own = alert.own_fields();
        let texts = own.iter().map(|own| {
            let own = serde_json::to_string(own).expect("JSON");
            format!("{},{}", &own[..own.len() - 1], &rule[1..])
        });
        let expected = alert.documents();
        assert_eq!(texts.collect::<Vec<_>>(), expected.iter().map(Value::to_string).collect::<Vec<_>>());
        assert!(expected.iter().all(|document| document["kibana.alert.rule.name"] == "wscript.exe"));
    }
}

#[test]
fn empty_matches_do_no_harm() {
    for kind in [MatchKind::Event, MatchKind::Sequence, MatchKind::Sample] {
        for events in [vec![], vec![None], vec![None, None]] {
            let alert = alert(kind, rule(json!({})), events);
            assert_eq!(alert.documents().len(), 1);
            assert_eq!(alert.reason, "event created medium alert Script Host Reaches Out.");
        }
    }
}

#[test]
fn odd_documents_do_no_harm() {
    let sources = [
        json!({"event": "text", "event.kind": {"a": 1}, "data_stream": [1], "host": [{"name": "a"}, 3], "": 1, ".": 2}),
        json!({"kibana": "x", "kibana.alert.ancestors": [1, {"id": 2}, "a"], "kibana.alert.depth": u64::MAX,
               "kibana.alert.rule.uuid": 7, "@timestamp": {"a": []}}),
        json!({"event": {"kind": null, "a.b": {"c": []}}, "a": {"b": 1}, "a.b": {"c": 2}, "a..b": 3}),
    ];
    for left in &sources {
        for right in &sources {
            let events = vec![event("a", NOON, left.clone()), event("b", NOON, right.clone())];
            assert_eq!(alert(MatchKind::Sequence, rule(json!({})), events).documents().len(), 3);
        }
        alert(MatchKind::Event, rule(json!({})), vec![event("a", NOON, left.clone())]).document();
    }
}

#[test]
fn long_reasons_are_cut() {
    let names: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    let source = json!({"process.name": names, "source": {"address": "a.example"}, "event.category": "process"});
    let alert = alert(MatchKind::Event, rule(json!({})), vec![event("e", NOON, source)]);
    let expected = "process event with process p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, 20 more, source a.example \
                    created medium alert Script Host Reaches Out.";
    assert_eq!(alert.reason, expected);
}

#[test]
fn order_and_duplicates() {
    let make = |rule_id: &str, id: &str, time_ns: Option<i64>| {
        let event = MatchedEvent { id: id.into(), time_ns, ..Default::default() };
        alert(MatchKind::Event, rule(json!({"rule_id": rule_id})), vec![Some(event)])
    };
    let mut alerts = vec![
        make("b", "1", None),
        make("b", "2", Some(5)),
        make("a", "3", Some(5)),
        make("c", "4", Some(-5)),
        make("b", "2", Some(5)),
    ];
    assert_eq!(remove_duplicates(&mut alerts), 1);
    sort(&mut alerts);
    let ids: Vec<&str> = alerts.iter().map(|alert| alert.events[0].as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["4", "3", "2", "1"]);
}
