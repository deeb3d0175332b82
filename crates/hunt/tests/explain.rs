//! Explanations of small events: every kind of verdict, and that they agree with the hunt.

use std::fmt::Write as _;
use std::path::Path;

use eqlipse_events::{DiscoverOptions, OrderBy, Progress, discover};
use eqlipse_hunt::explain::{ExplainError, ExplainOptions, Explanation, FindingKind, Subject, explain};
use eqlipse_hunt::{HuntOptions, RuleBook, run};
use eqlipse_rules::{PathOrStdin, load};
use serde_json::{Value, json};
use tempfile::TempDir;

fn describe(document: &serde_json::Map<String, Value>) -> String {
    document.get("name").and_then(Value::as_str).unwrap_or("event").to_owned()
}

fn explained(subject: &Subject, folder: &Path) -> Explanation {
    let inputs = discover(&[folder.to_owned()], DiscoverOptions::default());
    let options = ExplainOptions { order_by: OrderBy::Log, limit: 5, describe: &describe, cancel: None };
    explain(subject, &inputs, &options, &Progress::default()).unwrap().0
}

fn folder_of(events: &[Value]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let lines = events.iter().fold(String::new(), |mut text, event| {
        let _ = writeln!(text, "{event}");
        text
    });
    std::fs::write(folder.path().join("events.ndjson"), lines).unwrap();
    folder
}

fn query(text: &str, events: &[Value]) -> Explanation {
    explained(&Subject::of_query(text, false).unwrap(), folder_of(events).path())
}

/// An event of one key at a second of 2024-01-01T00:00.
fn at(second: u32, name: &str, key: &str) -> Value {
    let time = format!("2024-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    json!({ "@timestamp": time, "event": { "category": "process" }, "name": name, "key": key })
}

fn messages(explanation: &Explanation) -> Vec<&str> {
    explanation.findings.iter().map(|finding| finding.message.as_str()).collect()
}

#[test]
fn counts_each_clause_alone_together_and_what_only_it_keeps_out() {
    let event = |name: &str, kind: &str| {
        json!({ "@timestamp": "2024-01-01T00:00:00Z", "name": name, "type": kind,
        "event": { "category": "process" } })
    };
    let events = [event("a", "start"), event("a", "end"), event("b", "start"), event("b", "end")];
    let found = query(r#"process where name == "a" and type == "start""#, &events);
    assert!(found.fired && found.alerts == 1);
    let counts: Vec<_> = found.stages[0]
        .clauses
        .iter()
        .map(|clause| (clause.passed, clause.passed_so_far.unwrap(), clause.failed_only_this.unwrap()))
        .collect();
    assert_eq!(counts, [(4, 4, 0), (2, 2, 1), (2, 1, 1)]);
    assert_eq!(found.stages[0].matched, 1);
    let miss = &found.stages[0].near_misses[0];
    assert_eq!((miss.events, miss.passed, miss.of), (1, 2, 3));
    assert_eq!(miss.failed[0].text, r#"type == "start""#);
    assert_eq!(miss.failed[0].values["type"], [json!("end")]);
    assert!(found.findings.is_empty());
    let hit = &found.hits[0].events[0];
    assert!(hit.held.iter().all(|state| state.held));
    assert_eq!(hit.held[1].values["name"], [json!("a")]);
}

#[test]
fn names_fields_that_the_data_never_has_first() {
    let event = json!({ "@timestamp": "2024-01-01T00:00:00Z", "event": { "category": "process" },
        "process": { "command_line": "x" } });
    let found = query(r#"network where process.commandline : "x""#, &[event]);
    assert!(!found.fired);
    let FindingKind::FieldAbsent { field, near, stages } = &found.findings[0].kind else { panic!("{found:?}") };
    assert_eq!(
        (field.as_str(), near[0].as_str(), &stages[..]),
        ("process.commandline", "process.command_line", &[1][..])
    );
    let FindingKind::CategoryUnseen { category, seen, .. } = &found.findings[1].kind else { panic!("{found:?}") };
    assert_eq!((category.as_str(), seen["process"]), ("network", 1));
    assert_eq!(found.stages[0].clauses[1].absent_fields, ["process.commandline"]);
    // A field that only an alternative reads, or a negation, is not needed.
    let other =
        query(r#"process where absent == "a" or process.command_line : "x" and not gone == 1"#, &[at(0, "x", "k")]);
    assert!(messages(&other).iter().all(|message| !message.contains("gone")), "{other:?}");
}

#[test]
fn says_what_index_patterns_hide() {
    let folder = TempDir::new().unwrap();
    let rule = "[rule]\nname = \"R\"\nrule_id = \"11111111-1111-4111-8111-111111111111\"\ntype = \"eql\"\nlanguage = \"eql\"\n\
        risk_score = 1\nseverity = \"low\"\ndescription = \"d\"\nauthor = [\"a\"]\nlicense = \"l\"\nversion = 1\n\
        index = [\"logs-a-*\"]\nquery = '''any where name == \"x\"'''\n";
    let path = folder.path().join("rule.toml");
    std::fs::write(&path, rule).unwrap();
    let loaded = load(&[PathOrStdin::from(path)]).rules.remove(0);
    let hit = |id: &str| {
        json!({ "_index": "logs-b-default", "_id": id,
        "_source": { "@timestamp": "2024-01-01T00:00:00Z", "name": "x" } })
    };
    let events = folder_of(&[hit("1"), hit("2")]);
    let found = explained(&Subject::of_rule(&loaded, false, false).unwrap(), events.path());
    assert!(!found.fired);
    let FindingKind::IndexHides { hidden: 2, all: true, indices } = &found.findings[0].kind else {
        panic!("{found:?}")
    };
    assert_eq!(indices["logs-b-default"], 2);
    assert_eq!(found.stages[0].near_misses[0].failed[0].values["_index"], [json!("logs-b-default")]);
    assert!(explained(&Subject::of_rule(&loaded, true, false).unwrap(), events.path()).fired);
}

#[test]
fn takes_alternatives_negations_and_lists_apart() {
    let events = [at(0, "a", "1"), at(1, "b", "2"), at(2, "c", "3")];
    let found = query(r#"process where name in ("a", "b", "z") and not (key == "1" or key == "9")"#, &events);
    let [_, list, not] = &found.stages[0].clauses[..] else { panic!("{found:?}") };
    assert_eq!(list.children.iter().map(|child| child.passed).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!((not.passed, not.children[0].passed, not.children[0].children[0].passed), (2, 1, 1));
    let miss = &found.stages[0].near_misses.iter().find(|miss| miss.event.summary == "a").unwrap();
    assert_eq!(miss.failed[0].because[0].because[0].text, r#"key == "1""#);
    assert_eq!(found.hits[0].events[0].held[1].matched, [r#""b""#]);
}

#[test]
fn a_missing_join_key_is_named() {
    let mut keyless = at(1, "b", "");
    keyless.as_object_mut().unwrap().remove("key");
    let found = query(
        r#"sequence by key [process where name == "a"] [process where name == "b"]"#,
        &[at(0, "a", "k"), keyless],
    );
    let FindingKind::KeyMissing { stage: 2, field, events: 1 } =
        &found.findings.iter().find(|finding| matches!(finding.kind, FindingKind::KeyMissing { .. })).unwrap().kind
    else {
        panic!("{found:?}")
    };
    assert_eq!(field, "key");
    assert_eq!(found.stages[1].matched, 0);
}

/// Reason and words of the longest sequence of this query that was not completed.
fn end(text: &str, events: &[Value]) -> (Value, String, usize) {
    let found = query(text, events);
    assert!(!found.fired, "{found:?}");
    let partial = &found.sequence.as_ref().unwrap().longest[0];
    (serde_json::to_value(&partial.end).unwrap(), partial.message.clone(), partial.steps)
}

const PAIR: &str = r#"[process where name == "a"] [process where name == "b"]"#;

#[test]
fn maxspan_exceeded_by_so_much() {
    let (end, message, steps) =
        end(&format!("sequence by key with maxspan=10s {PAIR}"), &[at(0, "a", "k"), at(22, "b", "k")]);
    assert_eq!(
        (end["reason"].as_str(), end["by_ns"].as_i64(), steps),
        (Some("maxspan_exceeded"), Some(12_000_000_000), 1)
    );
    assert!(message.starts_with("maxspan exceeded by 12 s"), "{message}");
    // Exactly the span is in time.
    assert!(query(&format!("sequence by key with maxspan=10s {PAIR}"), &[at(0, "a", "k"), at(10, "b", "k")]).fired);
}

#[test]
fn until_ended_it() {
    let text = format!(r#"sequence by key {PAIR} until [process where name == "u"]"#);
    let (end, message, _) = end(&text, &[at(0, "a", "k"), at(1, "u", "k"), at(2, "b", "k")]);
    assert_eq!(end["reason"], "until");
    assert_eq!(end["time"], "2024-01-01T00:00:01.000Z");
    assert!(message.contains("until"));
}

#[test]
fn a_forbidden_event_was_there() {
    let text =
        r#"sequence by key [process where name == "a"] ![process where name == "m"] [process where name == "b"]"#;
    let text = text.replace("by key", "by key with maxspan=1m");
    let (end, message, steps) = end(&text, &[at(0, "a", "k"), at(1, "m", "k"), at(2, "b", "k")]);
    assert_eq!((end["reason"].as_str(), end["stage"].as_u64(), steps), (Some("forbidden_event"), Some(2), 2));
    assert!(message.contains("stage 2, which must be missing"), "{message}");
    let found = query(&text, &[at(0, "a", "k"), at(2, "b", "k")]);
    assert!(found.hits[0].events[1].event.is_none());
}

#[test]
fn the_order_was_wrong() {
    let (end, message, _) = end(&format!("sequence by key {PAIR}"), &[at(0, "b", "k"), at(3, "a", "k")]);
    assert_eq!((end["reason"].as_str(), end["earlier_ns"].as_i64()), (Some("wrong_order"), Some(3_000_000_000)));
    assert!(message.contains("3 s earlier"), "{message}");
}

#[test]
fn nothing_came_for_this_key() {
    let text = format!("sequence by key {PAIR}");
    let (end, message, _) = end(&text, &[at(0, "a", "k"), at(1, "b", "other")]);
    assert_eq!((end["reason"].as_str(), &end["other_key"]), (Some("no_next_event"), &json!(["other"])));
    assert!(message.contains("no event with this key"), "{message}");
    let found = query(&text, &[at(0, "a", "k"), at(1, "b", "other")]);
    assert_eq!(found.sequence.as_ref().unwrap().keys_reached, [1, 0]);
    assert!(
        messages(&found)[0].contains("no sequence got further than step 1 of 2; the longest: no event with this key"),
        "{found:?}"
    );
    let (end, message, _) = self::end(&text, &[at(0, "a", "k")]);
    assert_eq!(end["matching_elsewhere"], 0);
    assert!(message.contains("at all"), "{message}");
}

#[test]
fn a_sample_lacks_an_item_for_a_key() {
    let text = r#"sample by key [process where name == "a"] [process where name == "b"]"#;
    let found = query(text, &[at(0, "a", "k"), at(1, "b", "other")]);
    let sample = found.sample.as_ref().unwrap();
    assert_eq!(sample.keys_filled, [2, 0]);
    assert_eq!((&sample.nearest[0].key[0], &sample.nearest[0].missing[..]), (&json!("k"), &[2][..]));
    assert!(query(text, &[at(0, "a", "k"), at(1, "b", "k")]).fired);
}

#[test]
fn nothing_panics_on_no_events_or_odd_queries() {
    for text in
        ["any where true", "any where null", "any where not null", "any where a and null", "process where ?a == 1"]
    {
        let found = query(text, &[json!({})]);
        assert_eq!(found.data.events, 1, "{text}");
        query(text, &[]);
    }
    assert!(matches!(Subject::of_query("any where", false), Err(ExplainError::Query(_))));
}

/// The engine's own verdict and the explanation's agree for every bundled rule over the events of the examples.
#[test]
fn agrees_with_the_hunt_on_the_examples() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let loaded = || load(&[PathOrStdin::from(root.join("rules"))]);
    let inputs = discover(&[root.join("examples")], DiscoverOptions::default());
    let book = RuleBook::compile(loaded(), |_| true, false);
    let report = run(&book, &inputs, &HuntOptions::default(), &Progress::default()).unwrap();
    let options = ExplainOptions { order_by: OrderBy::Log, limit: 3, describe: &describe, cancel: None };
    let mut fired = 0;
    for rule in loaded().rules {
        let Ok(subject) = Subject::of_rule(&rule, false, false) else { continue };
        let (found, _) = explain(&subject, &inputs, &options, &Progress::default()).unwrap();
        let alerts = report.alerts.iter().filter(|alert| alert.rule.rule_id == rule.rule.rule_id).count();
        assert_eq!(found.alerts as usize, alerts, "{}", rule.rule.name);
        fired += usize::from(found.fired);
        for stage in &found.stages {
            let last = stage.clauses.last().and_then(|clause| clause.passed_so_far);
            assert_eq!(last.unwrap_or(stage.matched), stage.matched, "{}", rule.rule.name);
        }
    }
    assert!(fired > 0);
}
