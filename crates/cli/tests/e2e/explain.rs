//! `eqlipse explain`, end to end.

use std::path::Path;

use serde_json::Value;

use crate::bench::{Bench, eqlipse};

#[test]
fn text_tells_why_it_fired() {
    let bench = Bench::filled();
    let (out, err, code) =
        bench.run_all(&["explain", "--rule", "rules/sequence.toml", "events.ndjson", "--width", "100"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Courier Reaches the Network  fired: "), "{out}");
    assert!(out.contains("alone  so far    only") && out.contains("\nAlert 1  key "), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    let (out, _) = bench.run(&["explain", "--rule", "rules/sequence.toml", "events.ndjson", "--only-misses"]);
    assert!(!out.contains("\nAlert 1"), "{out}");
    let colored = bench.run(&["explain", "--rule", "rules/sequence.toml", "events.ndjson", "--color", "always"]).0;
    assert!(colored.contains("\u{1b}["), "{colored}");
}

#[test]
fn a_rule_is_found_by_name_among_others() {
    let bench = Bench::filled();
    let (out, _, code) = bench.run_all(&["explain", "--rule", "shell by*", "--rules", "rules", "events.ndjson"]);
    assert!(code == 0 && out.starts_with("Shell by Courier"), "{out}");
    let (_, err, code) = bench.run_all(&["explain", "--rule", "*courier*", "--rules", "rules", "events.ndjson"]);
    assert!(code == 2 && err.contains("fits 2 rules"), "{err}");
    let (_, err, code) = bench.run_all(&["explain", "--rule", "nobody", "--rules", "rules", "events.ndjson"]);
    assert!(code == 1 && err.contains("no rule has the id or name 'nobody'"), "{err}");
}

#[test]
fn json_has_stable_names() {
    let bench = Bench::filled();
    let query = "process where process.commandline : \"x\"";
    let (out, err, code) = bench.run_all(&["explain", "--query", query, "events.ndjson", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["fired"], false);
    assert_eq!(found["subject"]["kind"], "event");
    assert_eq!(found["findings"][0]["kind"], "field_absent");
    assert_eq!(found["findings"][0]["field"], "process.commandline");
    let clause = &found["stages"][0]["clauses"][1];
    for name in
        ["id", "kind", "text", "fields", "absent_fields", "passed", "passed_so_far", "failed_only_this", "children"]
    {
        assert!(clause.get(name).is_some(), "{name}: {clause}");
    }
}

#[test]
fn usage_and_unreadable_inputs() {
    let bench = Bench::filled();
    let code = |arguments: &[&str]| bench.run_all(arguments).2;
    assert_eq!(code(&["explain", "events.ndjson"]), 2);
    assert_eq!(code(&["explain", "--query", "any where true", "--rule", "x", "events.ndjson"]), 2);
    let (_, err, status) = bench.run_all(&["explain", "--query", "any where", "events.ndjson"]);
    assert!(status == 2 && err.contains("any where"), "{err}");
    assert_eq!(code(&["explain", "--query", "any where true", "nowhere"]), 1);
    bench.file("noise.bin", [0u8, 1, 2, 3, 255]);
    assert_eq!(code(&["explain", "--query", "any where true", "noise.bin"]), 1);
}

#[test]
fn hostile_values_are_inert() {
    let bench = Bench::new();
    let event = "{\"@timestamp\":\"2024-01-01T00:00:00Z\",\"name\":\"a\\u001b[2J\\u202e\\nb\",\"event\":{\"category\":\"x\"}}\n";
    bench.file("events.ndjson", event);
    let (out, _) = bench.run(&["explain", "--query", "x where name == \"q\"", "events.ndjson"]);
    assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'), "{out}");
    assert!(out.contains("✗ name == \"q\""), "{out}");
}

#[test]
fn bundled_rules_over_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let explained = |rule: &Path| {
        let output = eqlipse()
            .current_dir(&root)
            .args(["explain", "--format", "json", "--rule"])
            .arg(rule)
            .arg("examples/story")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let rules = std::fs::read_dir(root.join("rules/windows")).unwrap().map(|entry| entry.unwrap().path());
    let is_rule = |path: &std::path::PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".toml") && !name.ends_with(".test.toml")
    };
    let rules = rules.filter(is_rule).take(6);
    for rule in rules {
        let found = explained(&rule);
        assert!(found["data"]["events"].as_u64().unwrap() > 0);
        let limited = found["alerts"].as_u64().unwrap().min(3) as usize;
        assert_eq!(found["hits"].as_array().unwrap().len(), limited, "{}", rule.display());
    }
}
