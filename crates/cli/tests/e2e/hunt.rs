//! `eqlipse hunt`, end to end.

use std::fs;

use crate::bench::{Bench, EVENTS, SINGLE};
use serde_json::Value;

const HUNT: [&str; 4] = ["hunt", "--rules", "rules", "events.ndjson"];

fn hunt<'a>(more: &[&'a str]) -> Vec<&'a str> {
    HUNT.iter().chain(more).copied().collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn table() {
    let bench = Bench::filled();
    let (out, err, code) = bench.run_all(&hunt(&["--format", "table", "--width", "110"]));
    insta::assert_snapshot!("hunt-table", out);
    assert_eq!(code, 0);
    assert!(err.contains("events/s"), "{err}");
}

#[test]
fn ndjson_is_the_default_in_a_pipe() {
    let bench = Bench::filled();
    let (out, err, code) = bench.run_all(&HUNT);
    let documents = lines(&out);
    assert_eq!((documents.len(), code), (4, 0));
    assert_eq!(documents[0]["kibana.alert.rule.name"], "Shell by Courier");
    assert_eq!(documents[1]["kibana.alert.rule.name"], "Courier Reaches the Network");
    assert_eq!(documents[2]["kibana.alert.building_block_type"], "default");
    assert_eq!(documents[3]["destination"]["port"], 4443);
    assert!(err.contains("2 alerts from 2 rules on 1 host. All 2 rules could have fired."), "{err}");
}

#[test]
fn quiet_says_nothing() {
    let (_, err, code) = Bench::filled().run_all(&hunt(&["-q"]));
    assert_eq!((err.as_str(), code), ("", 0));
}

#[test]
fn json_and_html_are_the_same_every_time() {
    let bench = Bench::filled();
    for format in ["json", "html", "csv", "table", "ndjson"] {
        let one = bench.run(&hunt(&["--format", format, "--jobs", "1"]));
        let many = bench.run(&hunt(&["--jobs", "4", "--format", format, "--no-progress"]));
        assert_eq!(one, many, "{format}");
        assert!(!one.0.is_empty());
    }
}

#[test]
fn json_holds_manifest_alerts_and_summary() {
    let (out, _) = Bench::filled().run(&hunt(&["--format", "json"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["alerts"].as_array().unwrap().len(), 4);
    assert_eq!(report["summary"]["alerts"], 2);
    assert_eq!(report["manifest"]["options"]["paths"][0], "events.ndjson");
    assert_eq!(report["manifest"]["rule_set"]["ran"], 2);
    let input = &report["manifest"]["inputs"][0];
    assert_eq!((&input["events"], &input["format"]), (&Value::from(3), &Value::from("ndjson")));
    assert_eq!(input["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn manifest_file_says_how_it_ran() {
    let bench = Bench::filled();
    bench.file("rules/broken.toml", SINGLE.replace("process where", "process wher").replace("d5e02", "d5e09"));
    bench.file("rules/cloud.toml", SINGLE.replace("process where", "file where").replace("d5e02", "d5e08"));
    let (_, code) = bench.run(&hunt(&["--manifest", "manifest.json"]));
    assert_eq!(code, 0);
    let manifest: Value = serde_json::from_str(&bench.read("manifest.json")).unwrap();
    let not_loaded = &manifest["rule_set"]["not_loaded"][0];
    assert!(not_loaded["reason"].as_str().unwrap().contains('^'), "{not_loaded}");
    assert_eq!(manifest["could_not_fire"][0]["missing"][0]["category"], "file");
    assert!(manifest["run"]["started"].as_str().unwrap().ends_with('Z'));
    assert_eq!(manifest["run"]["command_line"][1], "hunt");
}

#[test]
fn output_file_replaces_and_leaves_nothing_beside() {
    let bench = Bench::filled();
    bench.file("report.html", "old");
    let (out, _, code) = bench.run_all(&hunt(&["--format", "html", "--output", "report.html"]));
    assert_eq!((out.as_str(), code), ("", 0));
    assert!(bench.read("report.html").starts_with("<!doctype html>"));
    let names: Vec<_> = fs::read_dir(bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_failed_run_leaves_the_old_output() {
    let bench = Bench::filled();
    bench.file("report.csv", "old");
    let (_, err, code) = bench.run_all(&["hunt", "--rules", "rules", "nowhere", "-f", "csv", "-o", "report.csv"]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(bench.read("report.csv"), "old");
    assert_eq!(fs::read_dir(bench.path("")).unwrap().count(), 3);
}

#[test]
fn an_output_that_cannot_be_written_shows_at_once() {
    let bench = Bench::filled();
    let (_, err, code) = bench.run_all(&hunt(&["-o", "no/such/folder/report.html"]));
    assert!(code == 1 && err.contains("cannot write"), "{code} {err}");
    let (_, err, code) = bench.run_all(&hunt(&["-o", "rules"]));
    assert!(code == 1 && err.contains("folder"), "{code} {err}");
}

#[test]
fn an_output_inside_the_input_changes_nothing() {
    let bench = Bench::filled();
    let first = bench.run(&["hunt", "--rules", "rules", ".", "-f", "json", "-q"]);
    let (_, code) = bench.run(&["hunt", "--rules", "rules", ".", "-f", "json", "-q", "-o", "report.json"]);
    assert_eq!((first.0, code), (bench.read("report.json"), 0));
}

#[test]
fn alerts_and_manifest_go_to_two_places() {
    let bench = Bench::filled();
    assert_eq!(bench.run(&hunt(&["--manifest", "-"])).1, 2);
    assert_eq!(bench.run(&hunt(&["--manifest", "x", "-o", "x"])).1, 2);
    let (out, code) = bench.run(&hunt(&["--manifest", "-", "-o", "alerts.ndjson"]));
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["counts"]["alerts"], 2);
}

#[test]
fn rules_are_selected() {
    let bench = Bench::filled();
    let count = |more: &[&str]| lines(&bench.run(&hunt(more)).0).len();
    assert_eq!(count(&["--min-severity", "medium"]), 3);
    assert_eq!(count(&["--include", "ta0002"]), 1);
    assert_eq!(count(&["--include", "command and *"]), 3);
    assert_eq!(count(&["--include", "courier"]), 3);
    assert_eq!(count(&["--exclude", "*D5E01"]), 1);
    assert_eq!(count(&["--include", "domain: test", "--exclude", "shell*"]), 3);
    let (_, err, code) = bench.run_all(&hunt(&["--include", "nothing"]));
    assert!(code == 1 && err.contains("none of the 2 loaded rules"), "{code} {err}");
}

#[test]
fn time_window() {
    let bench = Bench::filled();
    let count = |more: &[&str]| lines(&bench.run(&hunt(more)).0).len();
    assert_eq!(count(&["--from", "2024-03-01", "--to", "2024-03-01"]), 4);
    assert_eq!(count(&["--from", "2024-03-01T12:00:01Z"]), 1);
    assert_eq!(count(&["--to", "2024-03-01T12:00:01"]), 1);
    assert_eq!(count(&["--from", "now-1d"]), 0);
    let (_, err, _) = bench.run_all(&hunt(&["--from", "now-1d"]));
    assert!(err.contains("no rule could have fired on this data (no event in its indices: 2)"), "{err}");
    assert!(err.contains("events outside the time window left out"), "{err}");
    for (from, to, message) in [("soon", "now", "is not a time"), ("2024-03-02", "2024-03-01", "later than --to")] {
        let (_, err, code) = bench.run_all(&hunt(&["--from", from, "--to", to]));
        assert!(code == 2 && err.contains(message), "{code} {err}");
    }
}

#[test]
fn exit_codes() {
    let bench = Bench::filled();
    assert_eq!(bench.run(&hunt(&["--fail-on", "high"])).1, 3);
    assert_eq!(bench.run(&hunt(&["--fail-on", "critical"])).1, 0);
    assert_eq!(bench.run(&hunt(&["--strict"])).1, 0);
    bench.file("events.ndjson", format!("{EVENTS}{{broken\n"));
    assert_eq!(bench.run(&hunt(&[])).1, 0);
    assert_eq!(bench.run(&hunt(&["--strict"])).1, 2);
    assert_eq!(bench.run(&hunt(&["--strict", "--fail-on", "low"])).1, 3);
    assert_eq!(bench.run(&hunt(&["--fail-on", "severe"])).1, 2);
    assert_eq!(bench.run(&["hunt", "--no-such-option"]).1, 2);
    assert_eq!(bench.run(&["hunt", "--rules", "nowhere", "events.ndjson"]).1, 1);
    assert_eq!(bench.run(&["hunt", "--rules", "rules", "-", "-"]).1, 2);
}

#[test]
fn standard_input_is_read() {
    let bench = Bench::filled();
    for arguments in [&["hunt", "--rules", "rules", "-", "-q"][..], &["hunt", "--rules", "rules", "-q"]] {
        let output = bench.eqlipse(arguments).write_stdin(EVENTS).output().unwrap();
        assert_eq!(lines(std::str::from_utf8(&output.stdout).unwrap()).len(), 4);
    }
}

#[test]
fn max_alerts_are_counted() {
    let bench = Bench::filled();
    let again = EVENTS.replace("12:00:", "12:10:").replace("e1", "e3").replace("e2", "e4");
    bench.file("events.ndjson", format!("{EVENTS}{again}"));
    let (out, _) = bench.run(&hunt(&["--max-alerts", "1", "-f", "json"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["summary"]["alerts"], 2);
    assert_eq!(report["summary"]["alerts_capped"], 2);
    assert_eq!(bench.run(&hunt(&["--max-alerts", "0"])).1, 2);
}

#[test]
fn what_could_not_have_been_found_is_said() {
    let bench = Bench::filled();
    bench.file("events.ndjson", "{\"@timestamp\":\"2024-03-01T12:00:00Z\",\"event\":{\"category\":\"file\"}}\n");
    let (out, _) = bench.run(&hunt(&["-f", "table", "-v"]));
    assert!(out.contains("0 alerts. Nothing could have been found"), "{out}");
    assert!(out.contains("Shell by Courier: category never seen: process"), "{out}");
}

#[test]
fn bad_inputs_do_not_stop_the_others() {
    let bench = Bench::filled();
    bench.file("in/good.ndjson", EVENTS);
    bench.file("in/empty.ndjson", "");
    bench.file("in/deep.json", format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)));
    bench.file("in/utf8.ndjson", [EVENTS.as_bytes(), b"{\"a\":\"\xff\xfe\"}\n"].concat());
    bench.file("in/note.txt", "not a log");
    bench.file("in/cut.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b]);
    let (out, err, code) = bench.run_all(&["hunt", "--rules", "rules", "in", "in/empty.ndjson", "gone.evtx"]);
    assert_eq!(code, 0, "{err}");
    assert!(!lines(&out).is_empty());
    assert!(err.contains("gone.evtx: no such file") && err.contains("empty.ndjson: empty"), "{err}");
    let (_, code) = bench.run(&["hunt", "--rules", "rules", "in", "--strict"]);
    assert_eq!(code, 2);
}

#[test]
fn nothing_to_read_is_an_error() {
    let bench = Bench::filled();
    bench.file("folder/note.txt", "not a log");
    bench.file("empty.evtx", "");
    bench.file("broken.ndjson", "{\"@timestamp\": }\n{\"event\": nothing}\n");
    for path in ["folder", "empty.evtx", "folder/note.txt", "broken.ndjson"] {
        let (_, err, code) = bench.run_all(&["hunt", "--rules", "rules", path]);
        assert!(code == 1 && err.contains("nothing could be read"), "{path}: {code} {err}");
    }
}

#[test]
fn bad_rules_do_not_stop_the_others() {
    let bench = Bench::filled();
    bench.file("rules/syntax.toml", SINGLE.replace("process where", "process when").replace("d5e02", "d5e09"));
    bench.file("rules/twice.toml", SINGLE.replace("Shell by", "Second shell by"));
    let (out, err, code) = bench.run_all(&HUNT);
    assert_eq!((lines(&out).len(), code), (4, 0));
    assert!(err.contains("syntax.toml") && err.contains('^'), "{err}");
    assert!(err.contains("twice.toml") && err.contains("already taken"), "{err}");
    assert_eq!(bench.run(&hunt(&["--strict"])).1, 2);
}

#[test]
fn hostile_values_are_inert_everywhere() {
    let bench = Bench::filled();
    let hostile = r#"cmd \u001b[2J \u009b31m <script>alert(1)</script> [x](javascript:alert(1)) \u202e =1+1"#;
    bench.file("events.ndjson", EVENTS.replace("cmd /c whoami", hostile).replace("pc01", hostile));
    for format in ["table", "csv", "html", "json", "ndjson"] {
        let (out, err, _) = bench.run_all(&hunt(&["-f", format]));
        let active = |c: char| (c.is_control() && c != '\n' && c != '\r') || c == '\u{202e}';
        assert!(!out.chars().any(active) && !err.chars().any(active), "{format}");
    }
    let (page, _) = bench.run(&hunt(&["-f", "html"]));
    assert_eq!(page.matches("<script").count(), 1);
}

#[test]
fn bundled_rules_run_without_asking() {
    let bench = Bench::filled();
    let (out, _) = bench.run(&["hunt", "events.ndjson", "-f", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["manifest"]["rule_set"]["ran"].as_u64().unwrap() >= 25);
    let (out, _) = bench.run(&["hunt", "--rules", "bundled", "--rules", "rules", "events.ndjson", "-f", "json"]);
    let both: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        both["manifest"]["rule_set"]["ran"].as_u64().unwrap(),
        report["manifest"]["rule_set"]["ran"].as_u64().unwrap() + 2
    );
}

#[test]
fn colours_only_where_asked_for() {
    let bench = Bench::filled();
    assert!(!bench.run(&hunt(&["-f", "table"])).0.contains('\u{1b}'));
    assert!(bench.run(&hunt(&["-f", "table", "--color", "always"])).0.contains('\u{1b}'));
    assert!(!bench.run(&hunt(&["-f", "csv", "--color", "always"])).0.contains('\u{1b}'));
}
