//! Hand-made hunt reports for the tests of the formats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eqlipse_alerts::{Alert, BuildOptions, Match, MatchKind, MatchedEvent, build};
use eqlipse_events::InputProblem;
use eqlipse_hunt::{BlindReason, BlindRule, HuntReport, InputReport, RuleSetReport, SkippedRecord, UnloadedRule};
use eqlipse_rules::Rule;
use serde_json::{Value, json};

use crate::format::Report;
use crate::hunt::report;
use crate::manifest::Options;

/// 2024-03-01T12:00:00Z
const NOON: i64 = 1_709_294_400_000_000_000;
const MILLI: i64 = 1_000_000;

/// A rule with one tactic and technique.
pub fn rule(id: &str, name: &str, severity: &str, query: &str) -> Arc<Rule> {
    let risk_score = match severity {
        "low" => 21,
        "medium" => 47,
        "high" => 73,
        _ => 99,
    };
    let rule = json!({
        "rule_id": id, "name": name, "description": format!("What {name} means."), "type": "eql", "language": "eql",
        "query": query, "severity": severity, "risk_score": risk_score, "index": ["logs-*"], "tags": ["Test"],
        "threat": [{
            "framework": "MITRE ATT&CK",
            "tactic": {"id": "TA0005", "name": "Defense Evasion", "reference": ""},
            "technique": [{
                "id": "T1218", "name": "System Binary Proxy Execution", "reference": "",
                "subtechnique": [{"id": "T1218.005", "name": "Mshta", "reference": ""}]
            }]
        }]
    });
    let Value::Object(rule) = rule else { unreachable!("an object") };
    Arc::new(Rule::from_json(rule).expect("a well-formed rule"))
}

/// An event `millis` after noon.
pub fn event(millis: i64, source: Value) -> Option<MatchedEvent> {
    let mut source = source.as_object().cloned().unwrap_or_default();
    source.insert("winlog".to_owned(), json!({"record_id": millis + 1}));
    Some(MatchedEvent {
        index: Some("logs-test-default".to_owned()),
        id: format!("event-{millis}"),
        time_ns: Some(NOON + millis * MILLI),
        origin: Some("logs/Sysmon.evtx".to_owned()),
        source: source.into(),
    })
}

/// An alert of the rule.
pub fn alert(rule: &Arc<Rule>, kind: MatchKind, keys: &[Value], events: Vec<Option<MatchedEvent>>) -> Alert {
    let found = Match { rule: Arc::clone(rule), kind, join_keys: keys.to_vec(), events };
    let options = BuildOptions { version: "0.0.0".to_owned(), ..BuildOptions::default() };
    build(found, &Arc::new(options))
}

fn sequence_alert() -> Alert {
    let query = "sequence by process.entity_id with maxspan=1m\n  \
        [process where process.name : \"mshta.exe\"]\n  [network where process.name : \"mshta.exe\"]";
    let rule = rule("11111111-1111-4111-8111-111111111111", "Mshta reaches the network", "medium", query);
    let process = json!({
        "@timestamp": "2024-03-01T12:00:00.000Z",
        "event": {"category": ["process"], "type": ["start"], "code": "1"},
        "host": {"name": "pc01.example"}, "user": {"domain": "EXAMPLE", "name": "kim"},
        "process": {
            "name": "mshta.exe", "entity_id": "{7f1c}", "pid": 4242,
            "command_line": "mshta.exe \"C:\\Users\\kim\\Downloads\\invoice with a long name.hta\" \
                {1E460BD7-F1C3-4B2E-88BF-4E770A288AF5}{1E460BD7-F1C3-4B2E-88BF-4E770A288AF5} --quiet",
            "parent": {"name": "explorer.exe"}
        }
    });
    let network = json!({
        "@timestamp": "2024-03-01T12:00:02.350Z",
        "event": {"category": ["network"], "type": ["start"], "code": "3"},
        "host": {"name": "pc01.example"}, "process": {"name": "mshta.exe", "entity_id": "{7f1c}", "pid": 4242},
        "destination": {"ip": "203.0.113.7", "port": 443, "domain": "cdn.example"}, "network": {"transport": "tcp"}
    });
    alert(&rule, MatchKind::Sequence, &[json!("{7f1c}")], vec![event(0, process), event(2350, network)])
}

/// Values that act in a terminal, a page, a spreadsheet or a Markdown text.
fn hostile_alert() -> Alert {
    let rule = rule("22222222-2222-4222-8222-222222222222", "=cmd|' /C calc'!A0", "critical", "any where true");
    let source = json!({
        "@timestamp": "2024-03-01T12:00:05.000Z",
        "event": {"category": "process\u{1b}[31m", "type": "start"},
        "host": {"name": "<script>alert(1)</script>"}, "user": {"name": "[x](javascript:alert(1))"},
        "process": {
            "name": "evil\u{202e}gpj.exe",
            "command_line": "a \u{1b}[2J\u{1b}]0;owned\u{7} \" onmouseover='alert(1)' </style></script><img src=x>\r\nsecond line"
        }
    });
    alert(&rule, MatchKind::Event, &[], vec![event(5000, source)])
}

fn absent_alert() -> Alert {
    let query = "sequence by host.id with maxspan=5m\n  [process where true]\n  ![network\n    where true]";
    let rule = rule("33333333-3333-4333-8333-333333333333", "Program without network", "low", query);
    let source = json!({
        "event": {"category": "process", "type": "start"}, "host": {"name": "pc02.example", "id": "h-2"},
        "process": {"name": "quiet.exe", "executable": "/opt/quiet.exe"}
    });
    alert(&rule, MatchKind::Sequence, &[json!("h-2")], vec![event(9000, source), None])
}

/// A report with a sequence, a hostile alert and one with an absent event; faults in inputs and rules.
pub fn full() -> HuntReport {
    let alerts = vec![sequence_alert(), hostile_alert(), absent_alert()];
    let blind_rule = rule("44444444-4444-4444-8444-444444444444", "Needs files", "high", "file where true");
    let no_index = rule("55555555-5555-4555-8555-555555555555", "Needs cloud logs", "high", "any where true");
    let mut ran: Vec<Arc<Rule>> = alerts.iter().map(|alert| Arc::clone(&alert.rule)).collect();
    ran.extend([Arc::clone(&blind_rule), Arc::clone(&no_index)]);
    HuntReport {
        alerts,
        rules: RuleSetReport {
            ran,
            unloaded: vec![UnloadedRule {
                origin: "rules/broken.toml".to_owned(),
                name: Some("Broken".to_owned()),
                reason:
                    "error: unknown function `wildcrd`\n  |\n1 | any where wildcrd(a, \"b\")\n  |           ^^^^^^^"
                        .to_owned(),
            }],
            not_run: BTreeMap::from([("query".to_owned(), 453), ("threshold".to_owned(), 28)]),
            filtered: 7,
            sha256: "ab".repeat(32),
            warnings: vec!["rules/a.toml: unknown field `x`".to_owned()],
        },
        blind: vec![
            BlindRule { rule: no_index, reasons: vec![BlindReason::Index] },
            BlindRule {
                rule: blind_rule,
                reasons: vec![BlindReason::Category("file".to_owned()), BlindReason::Field("file.path".to_owned())],
            },
        ],
        inputs: vec![
            InputReport {
                name: "logs/Sysmon.evtx".to_owned(),
                format: "evtx".to_owned(),
                bytes: 1_118_208,
                sha256: Some("cd".repeat(32)),
                events: 24_000,
                skipped: 12,
                first_skipped: vec![SkippedRecord {
                    place: "chunk 3".to_owned(),
                    reason: "wrong checksum\u{1b}[0m".to_owned(),
                }],
                ..InputReport::default()
            },
            InputReport {
                name: "logs/a\u{202e}b.ndjson".to_owned(),
                format: "ndjson+gzip".to_owned(),
                bytes: 900,
                sha256: Some("ef".repeat(32)),
                events: 661,
                damaged: 2,
                first_damaged: vec![SkippedRecord { place: "line 7".to_owned(), reason: "not UTF-8".to_owned() }],
                ..InputReport::default()
            },
        ],
        problems: vec![InputProblem::Empty { name: "logs/empty\u{7}.evtx".to_owned() }],
        not_logs: 4,
        events: 24_661,
        outside: 61,
        bytes: 1_119_108,
        duplicates: 3,
        untimed: 1,
        capped: BTreeMap::from([("33333333-3333-4333-8333-333333333333".to_owned(), 4)]),
        elapsed: Duration::from_millis(1234),
    }
}

/// A report without alerts; `blind` of `ran` rules could not have fired.
pub fn empty(ran: usize, blind: usize) -> HuntReport {
    let rules: Vec<Arc<Rule>> =
        (0..ran).map(|at| rule(&format!("rule-{at}"), "A rule", "low", "any where true")).collect();
    let blind = rules.iter().take(blind);
    let blind = blind.map(|rule| BlindRule { rule: Arc::clone(rule), reasons: vec![BlindReason::Index] });
    HuntReport {
        alerts: Vec::new(),
        blind: blind.collect(),
        rules: RuleSetReport { ran: rules.clone(), ..RuleSetReport::default() },
        inputs: Vec::new(),
        problems: Vec::new(),
        not_logs: 0,
        events: 10,
        outside: 0,
        bytes: 1000,
        duplicates: 0,
        untimed: 0,
        capped: BTreeMap::new(),
        elapsed: Duration::from_millis(5),
    }
}

/// The report taken apart, as of a run over `logs`.
pub fn taken_apart(hunt: &HuntReport) -> Report<'_> {
    report(hunt, &Options::of_paths(&["logs"]))
}

/// What a format writes.
pub fn written(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("writing to memory");
    String::from_utf8(out).expect("UTF-8")
}
