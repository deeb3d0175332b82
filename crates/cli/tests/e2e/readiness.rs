//! `eqlipse rules readiness`, end to end.

use std::path::Path;

use serde_json::Value;

use crate::bench::{Bench, EVENTS, eqlipse};

fn over_the_examples(arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = eqlipse();
    let output = command.current_dir(root).args(arguments).arg("examples/story").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_agree_with_a_hunt() {
    let json = over_the_examples(&["rules", "readiness", "--format", "json"]);
    assert_eq!(json, over_the_examples(&["rules", "readiness", "--format", "json"]));
    let found: Value = serde_json::from_str(&json).unwrap();
    let hunt: Value = serde_json::from_str(&over_the_examples(&["hunt", "--format", "json", "--quiet"])).unwrap();
    let counts = &hunt["summary"]["rules"];
    assert_eq!(found["totals"]["blind"], counts["could_not_fire"]);
    let rules = found["rules"].as_array().unwrap();
    assert_eq!(rules.len() as u64, counts["ran"].as_u64().unwrap());
    // No rule that fired is blind.
    for fired in hunt["summary"]["alerts_by_rule"].as_array().unwrap() {
        let rule = rules.iter().find(|rule| rule["rule_id"] == fired["rule_id"]).unwrap();
        assert_ne!(rule["state"], "blind", "{rule}");
    }
    for rule in rules {
        let needs = ["index", "categories", "fields"].map(|name| rule[name].as_array().unwrap());
        let whole = needs.into_iter().flatten().all(|need| need["seen"] == true);
        assert_eq!(rule["state"] == "ready", whole, "{rule}");
        assert_eq!(rule["state"] == "ready", rule["missing"].as_array().unwrap().is_empty(), "{rule}");
    }
}

#[test]
fn table_and_page_over_the_examples() {
    let table = over_the_examples(&["rules", "readiness", "--width", "80"]);
    assert!(
        table.starts_with("40 rules: ") && table.contains("\nTACTIC ") && table.contains("\nNEVER SEEN "),
        "{table}"
    );
    assert!(table.contains(": -v names them") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(over_the_examples(&["rules", "readiness", "-v"]).lines().count() > table.lines().count() / 2);
    let page = over_the_examples(&["rules", "readiness", "--format", "html"]);
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
    assert!(!page.contains("<script") && page.contains("Content-Security-Policy"), "{page}");
}

#[test]
fn own_rules_selection_and_output() {
    let bench = Bench::filled();
    let run = |more: &[&str]| {
        let arguments = [&["rules", "readiness", "--rules", "rules", "events.ndjson"], more].concat();
        bench.run_all(&arguments)
    };
    let (out, err, code) = run(&[]);
    assert!(code == 0 && out.starts_with("2 rules: 2 ready, 0 partly, 0 blind\n"), "{out}{err}");
    assert!(out.contains("3 events in 1 input, of 0 indices; 3 of no index fit every pattern"), "{out}");
    let (out, _, code) = run(&["--include", "TA0011", "--output", "report.txt"]);
    assert_eq!((out.as_str(), code), ("", 0));
    let report = bench.read("report.txt");
    assert!(report.starts_with("1 rule: 1 ready") && report.contains("Not judged: 1 rule not selected"), "{report}");
    assert!(run(&["--color", "always"]).0.contains("\u{1b}["));
    bench.file(
        "hits.ndjson",
        EVENTS.lines().map(|line| format!("{{\"_index\":\"x\",\"_source\":{line}}}\n")).collect::<String>(),
    );
    let blind =
        |more: &[&str]| bench.run(&[&["rules", "readiness", "--rules", "rules", "hits.ndjson", "-v"], more].concat()).0;
    assert!(blind(&[]).contains("Blind (2)\n") && blind(&[]).contains("index never seen: logs-*"), "{}", blind(&[]));
    assert!(blind(&["--any-index"]).starts_with("2 rules: 2 ready"), "{}", blind(&["--any-index"]));
}

#[test]
fn usage_and_unreadable_inputs() {
    let bench = Bench::filled();
    let code = |arguments: &[&str]| bench.run_all(arguments).2;
    assert_eq!(code(&["rules", "readiness", "nowhere"]), 1);
    assert_eq!(code(&["rules", "readiness", "--rules", "nowhere", "events.ndjson"]), 1);
    assert_eq!(code(&["rules", "readiness", "events.ndjson", "--format", "csv"]), 2);
    assert_eq!(code(&["rules", "readiness", "--rules", "-", "-"]), 2);
    bench.file("noise.bin", [0u8, 1, 2, 3, 255]);
    assert_eq!(code(&["rules", "readiness", "noise.bin"]), 1);
}
