//! The readers against the published rules.

use std::collections::BTreeMap;
use std::time::Instant;

use eqlipse_rules::*;
use eqlipse_testkit::corpus;
use serde_json::json;

#[test]
fn every_rule_of_the_repository_loads() {
    let Some(path) = corpus("detection-rules TOML", "rules/elastic-detection-rules") else { return };
    let start = Instant::now();
    let load = load(&[path.into()]);
    eprintln!("loaded {} rules in {:?}", load.rules.len(), start.elapsed());

    let failures: Vec<String> = load.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let mut counts: BTreeMap<RuleType, usize> = BTreeMap::new();
    for loaded in &load.rules {
        *counts.entry(loaded.rule.rule_type()).or_default() += 1;
    }
    eprintln!("{counts:?}");
    let expected = [
        (RuleType::Query, 508),
        (RuleType::Eql, 1081),
        (RuleType::Threshold, 31),
        (RuleType::NewTerms, 245),
        (RuleType::ThreatMatch, 9),
        (RuleType::Esql, 212),
        (RuleType::MachineLearning, 106),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
    assert_eq!(load.rules.len(), 2192);
    assert!(load.warnings.is_empty(), "{:#?}", load.warnings);
    // Licence, readme, notice and a placeholder.
    assert_eq!(load.skipped.len(), 4, "{:#?}", load.skipped);
}

#[test]
fn rules_survive_a_round_trip_through_json() {
    let Some(path) = corpus("detection-rules TOML", "rules/elastic-detection-rules") else { return };
    for loaded in load(&[path.into()]).rules {
        let text = serde_json::to_string(&loaded.rule).unwrap();
        let mut again: Rule = serde_json::from_str(&text).unwrap();
        again.read_problems = loaded.rule.read_problems.clone();
        assert_eq!(again, loaded.rule, "{}", loaded.origin);
    }
}

#[test]
fn query_offsets_point_at_the_query() {
    let Some(path) = corpus("detection-rules TOML", "rules/elastic-detection-rules") else { return };
    let mut found = 0;
    for loaded in load(&[path.into()]).rules {
        let (Some(offset), Some(query)) = (loaded.origin.query_offset, loaded.rule.query()) else { continue };
        let text = std::fs::read_to_string(&loaded.origin.path).unwrap();
        assert!(text[offset..].starts_with(query), "{}", loaded.origin);
        found += 1;
    }
    assert!(found > 2000, "only {found} offsets");
}

#[test]
fn published_rules_have_few_problems() {
    let Some(path) = corpus("detection-rules TOML", "rules/elastic-detection-rules") else { return };
    for loaded in load(&[path.into()]).rules {
        for problem in validate(&loaded.rule) {
            eprintln!("{}: {problem}", loaded.origin);
        }
    }
}

#[test]
fn behavior_rules_are_named_for_what_they_are() {
    let Some(path) = corpus("behavior rules", "rules/elastic-behavior-rules/rules/linux") else { return };
    let load = load(&[path.into()]);
    assert!(load.rules.is_empty() && load.failures.is_empty());
    let reason = "an Elastic Defend behavior rule, which is another format".to_owned();
    let of_that_kind = load.skipped.iter().filter(|skipped| skipped.reason == SkipReason::NotARule(reason.clone()));
    assert!(of_that_kind.count() > 100);
}

#[test]
fn the_published_page_reads_exactly() {
    let Some(folder) = corpus("the published rule page", "seed") else { return };
    let load = load(&[folder.into()]);
    assert!(load.failures.is_empty() && load.warnings.is_empty(), "{load:#?}");
    let [loaded] = load.rules.as_slice() else { panic!("{load:#?}") };
    let text = std::fs::read_to_string(&loaded.origin.path).unwrap();
    let offset = loaded.origin.query_offset.unwrap();
    assert!(text[offset..].starts_with(loaded.rule.query().unwrap()));
    assert_eq!(loaded.origin.line, None);
    assert!(loaded.rule.read_problems.is_empty(), "{:?}", loaded.rule.read_problems);

    // Every field, in the API's own form. Texts come from the page itself, by way of their place in it.
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    let fence = text.split("```").nth(1).unwrap().strip_prefix("js\n").unwrap().trim_end();
    let expected = json!({
        "rule_id": "prebuilt-rule-0-14-3-network-connection-via-mshta",
        "name": "Network Connection via Mshta",
        "description": line("Identifies"),
        "enabled": false,
        "severity": "medium",
        "severity_mapping": [],
        "risk_score": 47,
        "risk_score_mapping": [],
        "interval": "5m",
        "from": "now-9m",
        "to": "now",
        "max_signals": 100,
        "tags": ["Elastic", "Host", "Windows", "Threat Detection", "Defense Evasion"],
        "author": ["Elastic"],
        "false_positives": [],
        "references": ["https://www.fireeye.com/blog/threat-research/2017/05/cyber-espionage-apt32.html"],
        "threat": [{
            "framework": "MITRE ATT&CK",
            "tactic": {
                "id": "TA0005",
                "name": "Defense Evasion",
                "reference": "https://attack.mitre.org/tactics/TA0005/",
            },
            "technique": [{
                "id": "T1218",
                "name": "Signed Binary Proxy Execution",
                "reference": "https://attack.mitre.org/techniques/T1218/",
                "subtechnique": [{
                    "id": "T1218.005",
                    "name": "Mshta",
                    "reference": "https://attack.mitre.org/techniques/T1218/005/",
                }],
            }],
        }],
        "setup": "",
        "license": "Elastic License v2",
        "type": "eql",
        "index": ["winlogbeat-*", "logs-endpoint.events.*", "logs-windows.*"],
        "filters": [],
        "query": fence,
        "language": "eql",
        "actions": [],
        "response_actions": [],
        "exceptions_list": [],
        "related_integrations": [],
        "required_fields": [],
        "version": 5,
        "revision": 0,
        "immutable": false,
    });
    assert_eq!(serde_json::to_value(&loaded.rule).unwrap(), expected);
}
