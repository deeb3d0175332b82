//! Readiness over rules and events of the test's own making: each group, its reasons, and the ranking of sources.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use eqlipse_events::{DiscoverOptions, Progress, discover};
use eqlipse_hunt::readiness::{MAX_INDEX_NAMES, Readiness, RuleReadiness, SourceKind, State, readiness};
use eqlipse_hunt::{HuntOptions, RuleBook};
use eqlipse_rules::{RuleLoad, load_bytes};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A rule whose id is made of its number; tactics by id.
fn rule(number: usize, index: &[&str], query: &str, tactics: &[&str]) -> Value {
    let threat = tactics.iter().map(|id| {
        json!({"framework": "MITRE ATT&CK", "tactic": {"id": id, "name": format!("tactic {id}"), "reference": ""}})
    });
    json!({
        "rule_id": format!("00000000-0000-4000-8000-{number:012}"), "name": format!("rule {number}"),
        "description": "A test.", "type": "eql", "language": "eql", "query": query, "index": index, "severity": "low",
        "risk_score": 21, "author": ["Test"], "license": "Apache-2.0", "threat": threat.collect::<Vec<_>>()
    })
}

fn judge_with(rules: &[Value], events: &[Value], any_index: bool, jobs: usize) -> Readiness {
    let lines = |values: &[Value]| values.iter().map(|value| format!("{value}\n")).collect::<String>();
    let load: RuleLoad = load_bytes(Path::new("rules.ndjson"), lines(rules).as_bytes());
    assert!(load.failures.is_empty(), "{:?}", load.failures);
    let book = RuleBook::compile(load, |_| true, any_index);
    assert!(book.report().unloaded.is_empty(), "{:?}", book.report().unloaded);
    let folder = TempDir::new().unwrap();
    // Several files, so that several threads have something to read.
    for (number, part) in events.chunks(events.len().div_ceil(4).max(1)).enumerate() {
        fs::write(folder.path().join(format!("{number}.ndjson")), lines(part)).unwrap();
    }
    let inputs = discover(&[folder.path().to_owned()], DiscoverOptions::default());
    let options = HuntOptions { jobs: NonZeroUsize::new(jobs).unwrap(), batch_rows: 7, ..HuntOptions::default() };
    readiness(&book, &inputs, &options, &Progress::default()).unwrap()
}

fn judge(rules: &[Value], events: &[Value]) -> Readiness {
    judge_with(rules, events, false, 1)
}

/// The only rule against events.
fn one(index: &[&str], query: &str, events: &[Value]) -> RuleReadiness {
    judge(&[rule(1, index, query, &[])], events).rules.remove(0)
}

fn missing(rule: &RuleReadiness) -> Vec<String> {
    rule.missing.iter().map(|source| format!("{:?} {}", source.kind, source.name)).collect()
}

/// A hit of an index.
fn hit(index: &str, source: Value) -> Value {
    json!({"_index": index, "_source": source})
}

fn start(name: &str) -> Value {
    let event = json!({"category": "process", "type": "start"});
    json!({"@timestamp": "2024-03-01T12:00:00Z", "event": event, "process": {"name": name, "entity_id": "1"}})
}

#[test]
fn ready_if_all_that_is_read_was_seen() {
    let events = [hit("logs-a", start("x"))];
    let found = one(&["logs-*"], "process where event.type == \"start\" and process.name : \"q\"", &events);
    assert_eq!((found.state, missing(&found)), (State::Ready, vec![]));
    assert!(found.index.iter().chain(&found.categories).all(|need| need.seen), "{found:?}");
    let fields: Vec<_> = found.fields.iter().map(|field| (field.name.as_str(), field.seen, field.purpose)).collect();
    assert_eq!(
        fields,
        [("event.category", true, "condition"), ("event.type", true, "condition"), ("process.name", true, "condition")]
    );
}

#[test]
fn blind_with_the_reasons_of_coverage() {
    let events = [hit("logs-a", start("x"))];
    let found = one(&["winlogbeat-*", "other-*"], "process where process.name : \"q\"", &events);
    assert_eq!(
        (found.state, missing(&found)),
        (State::Blind, vec!["Index winlogbeat-*".into(), "Index other-*".into()])
    );
    let found = one(&["logs-*"], "file where file.path : \"q\"", &events);
    assert_eq!((found.state, missing(&found)), (State::Blind, vec!["Category file".into()]));
    let found = one(&["logs-*"], "process where process.command_line : \"q\" and process.name : \"x\"", &events);
    assert_eq!((found.state, missing(&found)), (State::Blind, vec!["Field process.command_line".into()]));
    let found = one(&["logs-*"], "sequence by user.id [process where true] [process where true]", &events);
    assert_eq!((found.state, missing(&found)), (State::Blind, vec!["Field user.id".into()]));
    assert_eq!(found.fields.iter().find(|field| field.name == "user.id").unwrap().purpose, "key");
}

#[test]
fn partly_for_an_alternative_that_the_data_never_had() {
    let events = [hit("logs-a", start("x"))];
    let query = "process where process.name : \"q\" or process.pe.original_file_name == \"q\"";
    let found = one(&["logs-*"], query, &events);
    assert_eq!((found.state, missing(&found)), (State::Partly, vec!["Field process.pe.original_file_name".into()]));
    let until = "sequence by process.entity_id [process where true] [process where true] until [file where true]";
    let found = one(&["logs-*"], until, &events);
    assert_eq!((found.state, missing(&found)), (State::Partly, vec!["Category file".into()]));
}

#[test]
fn partly_for_optional_keys_and_exclusions() {
    let events = [hit("logs-a", start("x"))];
    let query = "sequence by process.entity_id, ?user.id [process where true] [process where true]";
    let found = one(&["logs-*"], query, &events);
    assert_eq!((found.state, missing(&found)), (State::Partly, vec!["Field user.id".into()]));
    assert_eq!(found.fields.iter().find(|field| field.name == "user.id").unwrap().purpose, "optional_key");
    let found = one(&["logs-*"], "process where not process.code_signature.trusted == true", &events);
    assert_eq!((found.state, missing(&found)), (State::Partly, vec!["Field process.code_signature.trusted".into()]));
    let trusted = found.fields.iter().find(|field| field.name == "process.code_signature.trusted").unwrap();
    assert_eq!((trusted.purpose, trusted.seen), ("exclusion", false));
}

#[test]
fn partly_for_one_of_several_index_patterns() {
    let events = [hit("logs-a", start("x"))];
    let found = one(&["logs-*", "cluster:winlogbeat-*,other-*"], "process where process.name : \"q\"", &events);
    let index: Vec<_> = found.index.iter().map(|need| (need.name.as_str(), need.seen)).collect();
    assert_eq!(index, [("logs-*", true), ("winlogbeat-*", false), ("other-*", false)]);
    assert_eq!(
        (found.state, missing(&found)),
        (State::Partly, vec!["Index winlogbeat-*".into(), "Index other-*".into()])
    );
}

#[test]
fn patterns_that_take_away_count() {
    let events = [hit("logs-a", start("x"))];
    let query = "process where process.name : \"q\"";
    let found = one(&["logs-*", "-logs-a"], query, &events);
    assert_eq!((found.state, missing(&found)), (State::Blind, vec!["Index logs-*".into()]));
    let both = [events[0].clone(), hit("logs-b", start("x"))];
    assert_eq!(one(&["logs-*", "-logs-a"], query, &both).state, State::Ready);
    assert!(one(&["-logs-a"], query, &both).index.is_empty());
}

#[test]
fn events_without_an_index_fit_every_pattern() {
    let query = "process where process.name : \"q\"";
    let found = judge(&[rule(1, &["a-*", "b-*"], query, &[])], &[start("x")]);
    assert_eq!((found.totals.ready, found.data.without_index), (1, 1));
    let indexed = judge_with(&[rule(1, &["a-*", "b-*"], query, &[])], &[hit("logs-a", start("x"))], true, 1);
    assert_eq!(indexed.totals.ready, 1);
    assert!(indexed.rules[0].index.is_empty());
}

#[test]
fn sources_are_ranked_by_the_rules_that_they_wake() {
    let rules = [
        rule(1, &["logs-*"], "file where file.path : \"q\"", &["TA0002", "TA0005"]),
        rule(2, &["logs-*"], "file where file.path : \"q\" and user.id == \"q\"", &["TA0002"]),
        rule(3, &["logs-*"], "process where user.id == \"q\" or user.name == \"q\"", &["TA0005"]),
        rule(4, &["logs-*"], "process where user.id == \"q\" and host.name == \"q\"", &[]),
        rule(5, &["logs-*"], "process where process.name : \"q\" or user.id == \"q\"", &["TA0002"]),
        rule(6, &["logs-*"], "process where process.name : \"q\"", &["TA0002"]),
    ];
    let found = judge(&rules, &[hit("logs-a", start("x"))]);
    let ranked: Vec<_> = found
        .missing
        .iter()
        .map(|count| (count.source.kind, count.source.name.as_str(), count.wakes, count.blind, count.partly))
        .collect();
    assert_eq!(
        ranked,
        [
            (SourceKind::Category, "file", 2, 2, 0),
            (SourceKind::Field, "user.id", 1, 2, 1),
            (SourceKind::Field, "user.name", 1, 1, 0),
            (SourceKind::Field, "host.name", 0, 1, 0),
        ]
    );
    let states: Vec<_> = found.rules.iter().map(|rule| (rule.name.as_str(), rule.state)).collect();
    assert_eq!(states[..2], [("rule 6", State::Ready), ("rule 5", State::Partly)]);
    assert_eq!((found.totals.ready, found.totals.partly, found.totals.blind), (1, 1, 4));
    let tactics: Vec<_> = found.tactics.iter().map(|tactic| (tactic.id.as_deref(), tactic.rules.all())).collect();
    assert_eq!(tactics, [(Some("TA0002"), 4), (Some("TA0005"), 2), (None, 1)]);
}

#[test]
fn without_events_every_rule_is_blind() {
    let rules = [rule(1, &[], "any where true", &[]), rule(2, &["logs-*"], "any where true", &[])];
    let found = judge(&rules, &[]);
    assert_eq!(found.totals.blind, 2);
    assert_eq!(missing(&found.rules[0]), Vec::<String>::new());
    assert_eq!(missing(&found.rules[1]), ["Index logs-*"]);
}

#[test]
fn the_number_of_threads_changes_nothing_and_names_are_bounded() {
    let events: Vec<Value> = (0..MAX_INDEX_NAMES + 500)
        .map(|n| hit(&format!("logs-{:05}", n * 7919 % (MAX_INDEX_NAMES + 500)), start("x")))
        .collect();
    let rules = [
        rule(1, &["logs-*", "-logs-0*"], "process where true", &[]),
        rule(2, &["logs-01499"], "process where true", &[]),
    ];
    let text = |jobs| serde_json::to_string(&judge_with(&rules, &events, false, jobs)).unwrap();
    let alone = judge_with(&rules, &events, false, 1);
    assert_eq!((alone.data.indices.len(), alone.data.more_indices), (MAX_INDEX_NAMES, true));
    assert_eq!(alone.data.indices.last().unwrap(), &format!("logs-{:05}", MAX_INDEX_NAMES - 1));
    // A name that is not listed is held against patterns all the same.
    assert_eq!((alone.totals.ready, alone.totals.blind), (1, 1));
    assert_eq!(text(1), text(3));
}
