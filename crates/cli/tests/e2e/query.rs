//! `eqlipse query`, end to end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::bench::{Bench, eqlipse};
use serde_json::Value;

const SEQUENCE: &str = "sequence by process.entity_id [process where true] [network where true]";

fn query<'a>(query: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["query", query, "events.ndjson"].iter().chain(more).copied().collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn json_has_the_shape_of_a_search_response() {
    let bench = Bench::filled();
    let (out, err, code) = bench.run_all(&query("process where true", &["--format", "json", "--size", "1"]));
    let response = json(&out);
    assert_eq!(code, 0);
    let head = r#"{"is_partial":false,"is_running":false,"took":0,"timed_out":false,"hits":{"total":{"value":2,"relation":"eq"},"events":["#;
    assert!(out.starts_with(head), "{out}");
    let event = &response["hits"]["events"][0];
    assert_eq!(event["_source"]["process"]["name"], "cmd.exe");
    assert!(event["_id"].as_str().is_some_and(|id| !id.is_empty()) && event["_index"].is_string(), "{event}");
    assert!(event.get("fields").is_none() && event.get("missing").is_none());
    assert!(err.contains("1 of 2 matching events\n") && err.contains("read 3 events from 1 input\n"), "{err}");
}

#[test]
fn json_of_sequences_and_missing_events() {
    let bench = Bench::filled();
    let (out, _) = bench.run(&query(SEQUENCE, &["-f", "json", "--fields", "process.n*,host.name"]));
    let sequences = &json(&out)["hits"]["sequences"];
    assert_eq!(sequences[0]["join_keys"], serde_json::json!(["e1"]));
    assert_eq!(
        sequences[0]["events"][1]["fields"],
        serde_json::json!({"host.name": ["pc01"], "process.name": ["courier.exe"]})
    );
    let missing = "sequence with maxspan=1m [process where true] ![file where true] [network where true]";
    let (out, _) = bench.run(&query(missing, &["-f", "json"]));
    assert_eq!(
        json(&out)["hits"]["sequences"][0]["events"][1],
        serde_json::json!({"_index": "", "_id": "", "_source": {}, "missing": true})
    );
    assert!(!out.contains("join_keys"), "{out}");
}

#[test]
fn counts_in_every_format() {
    let bench = Bench::filled();
    let run = |text: &str, format: &str| bench.run_all(&query(text, &["--format", format, "--size", "1"]));
    let count = "any where true | count event.category, host.name";
    let (out, err, code) = run(count, "json");
    let response = json(&out);
    assert_eq!(code, 0);
    assert_eq!(response["hits"]["events"], serde_json::json!([]));
    let counts = serde_json::json!([{"key": ["network", "pc01"], "count": 1, "percent": 1.0 / 3.0}]);
    assert_eq!(response["counts"], counts);
    assert!(err.starts_with("1 count of 3 matching events\n"), "{err}");
    assert_eq!(json(&run(count, "ndjson").0), counts[0]);
    assert_eq!(run(count, "csv").0, "count,percent,event.category,host.name\r\n1,0.3333333333333333,network,pc01\r\n");
    assert_eq!(
        run(count, "table").0,
        "COUNT  PERCENT  event.category  host.name\n1      33.3 %   network         pc01\n"
    );
    let all = "any where true | count";
    assert_eq!(json(&run(all, "ndjson").0), serde_json::json!({"key": ["totals"], "count": 3}));
    assert_eq!(run(all, "csv").0, "count,percent\r\n3,\r\n");
    let unique = "any where true | unique_count event.category | sort count";
    let (out, ..) = run(unique, "ndjson");
    assert_eq!((&json(&out)["count"], &json(&out)["_source"]["event"]["category"]), (&1.into(), &"network".into()));
    assert!(run(unique, "csv").0.starts_with("count,percent,time,host"), "{}", run(unique, "csv").0);
    let nothing = run("any where process.pid == 0 | unique_count process.name", "csv").0;
    assert_eq!(nothing, "count,percent,time,host,category,event,source,index,id\r\n");
    assert!(run(unique, "table").0.contains("1. 1 event (1 time, 33.3 %)"), "{}", run(unique, "table").0);
}

#[test]
fn the_dialect_can_be_elastics() {
    let bench = Bench::filled();
    let related = "network where event of [process where process.name == \"courier.exe\"]";
    let (out, _) = bench.run(&query(related, &["--format", "ndjson"]));
    let categories: Vec<Value> = out.lines().map(|line| json(line)["_source"]["event"]["category"].clone()).collect();
    assert_eq!(categories, ["network"]);
    for (text, code) in [(related, "unsupported-relationship"), ("any where true | sort a", "unsupported-pipe")] {
        let (out, err, status) = bench.run_all(&query(text, &["--dialect", "elastic"]));
        assert!(status == 2 && out.is_empty() && err.contains(code), "{status} {err}");
    }
}

#[test]
fn ndjson_is_the_default_in_a_pipe() {
    let bench = Bench::filled();
    let (out, _) = bench.run(&query("any where true", &[]));
    assert_eq!(out.lines().map(json).filter(|hit| hit["_source"].is_object()).count(), 3);
    let (out, _) = bench.run(&query(SEQUENCE, &[]));
    assert_eq!(json(&out)["events"].as_array().map(Vec::len), Some(2));
}

#[test]
fn csv_has_the_columns_that_were_asked_for() {
    let bench = Bench::filled();
    let fields = "@timestamp,process.n*,nothing,destination.port";
    let (out, _) = bench.run(&query("any where true", &["-f", "csv", "--fields", fields]));
    assert_eq!(
        out,
        "@timestamp,process.name,nothing,destination.port\r\n\
        2024-03-01T12:00:00Z,courier.exe,,\r\n\
        2024-03-01T12:00:01Z,cmd.exe,,\r\n\
        2024-03-01T12:00:02.5Z,courier.exe,,4443\r\n"
    );
    let (out, _) = bench.run(&query(SEQUENCE, &["-f", "csv", "--fields", "process.name"]));
    assert_eq!(out, "sequence,position,process.entity_id,process.name\r\n1,1,e1,courier.exe\r\n1,2,e1,courier.exe\r\n");
    let (out, _) = bench.run(&query("network where true", &["-f", "csv"]));
    assert!(
        out.starts_with("time,host,category,event,source,index,id\r\n2024-03-01T12:00:02.500Z,pc01,network,"),
        "{out}"
    );
}

#[test]
fn tables() {
    let bench = Bench::filled();
    let (out, _) = bench.run(&query("any where true", &["-f", "table", "--width", "90"]));
    insta::assert_snapshot!("query-table", out);
    let missing = "sequence by host.name with maxspan=1m [process where true] ![file where true] [network where true]";
    let (out, _) = bench.run(&query(missing, &["-f", "table"]));
    insta::assert_snapshot!("query-sequence", out);
    let (out, _) = bench.run(&query("process where true", &["-f", "table", "--fields", "@timestamp,process.*"]));
    insta::assert_snapshot!("query-fields", out);
}

#[test]
fn errors_have_a_caret_and_exit_with_2() {
    let bench = Bench::filled();
    let (out, err, code) = bench.run_all(&query("process where\n  wildcrd(process.name, \"a\")", &[]));
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(err.contains("query:2:3") && err.contains('^') && err.contains("did you mean `wildcard`?"), "{err}");
    let (_, err, code) = bench.run_all(&query("any where proces.name == \"a\"", &[]));
    assert!(code == 0 && err.contains("warning") && err.contains("proces.name"), "{err}");
    assert!(!bench.run_all(&query("any where proces.name == \"a\"", &["-q"])).1.contains("warning"));
    assert_eq!(bench.run(&["query", "any where true", "nowhere.ndjson"]).1, 1);
    assert_eq!(bench.run(&["query", "any where true", "rules"]).1, 1);
    assert_eq!(bench.run(&["query", "@nowhere.eql", "events.ndjson"]).1, 2);
    assert_eq!(bench.run(&["query", "-", "-"]).1, 2);
    assert_eq!(bench.run(&query("any where true", &["--size", "1", "--all"])).1, 2);
    assert_eq!(bench.run(&query("any where true", &["--max-samples-per-key", "0"])).1, 2);
}

#[test]
fn queries_come_from_files_and_standard_input() {
    let bench = Bench::filled();
    bench.file("network.eql", "\u{feff}network where true\n");
    assert_eq!(bench.run(&["query", "@network.eql", "events.ndjson"]).0.lines().count(), 1);
    let output = bench.eqlipse(&["query", "-", "events.ndjson"]).write_stdin("process where true").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
    let events = bench.read("events.ndjson");
    let output = bench.eqlipse(&["query", "any where true"]).write_stdin(events).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    bench.file("broken.eql", "any were true");
    assert!(bench.run_all(&["query", "@broken.eql", "events.ndjson"]).1.contains("broken.eql:1:5"));
}

#[test]
fn says_whether_there_was_anything_to_find() {
    let bench = Bench::filled();
    let err = |text| bench.run_all(&query(text, &[])).1;
    assert!(err("process where process.name == \"x\"").contains("found nothing; the data has what the query needs"));
    let blind = err("process where dll.path : \"*\"");
    assert!(blind.contains("could find nothing: no event with dll.path"), "{blind}");
    assert!(blind.contains("no event has what the query reads: dll.path"), "{blind}");
    assert!(err("file where true").contains("could find nothing: no event of category file"));
}

#[test]
fn hostile_values_do_nothing_to_a_terminal() {
    let bench = Bench::new();
    let hostile = r#"{"@timestamp":"2024-03-01T12:00:00Z","host":{"name":"\u001b[2J\u202eh"},"event":{"category":"process"},"process":{"name":"=cmd|x","command_line":"a\u001b]0;t\u0007\nb\u009b"},"\u001b[31m":"v"}"#;
    bench.file("events.ndjson", hostile);
    for more in [
        &["-f", "table"][..],
        &["-f", "csv"],
        &["-f", "json"],
        &["-f", "ndjson"],
        &["-f", "table", "--fields", "*"],
        &["-f", "csv", "--fields", "*"],
        &["-f", "table", "--color", "always", "--fields", "host.name,process.*"],
    ] {
        let (out, code) = bench.run(&query("any where true", more));
        assert_eq!(code, 0);
        let styled = out.replace("\u{1b}[0m", "").replace("\u{1b}[1m", "");
        assert!(!styled.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{more:?}: {out:?}");
    }
    let (out, _) = bench.run(&query("any where true", &["-f", "csv", "--fields", "process.name"]));
    assert_eq!(out, "process.name\r\n'=cmd|x\r\n");
}

#[test]
fn the_result_does_not_depend_on_the_threads() {
    let bench = Bench::filled();
    for format in ["json", "ndjson", "csv", "table"] {
        let one = bench.run(&query("any where true", &["-f", format, "--jobs", "1"]));
        assert_eq!(one, bench.run(&query("any where true", &["-f", format, "--jobs", "4"])));
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::new();
    let event = r#"{"@timestamp":"2024-03-01T12:00:00Z","event":{"category":"process"},"process":{"name":"x"}}"#;
    bench.file("events.ndjson", format!("{event}\n").repeat(20_000));
    let mut child = Command::new(eqlipse().get_program())
        .current_dir(bench.path(""))
        .args(query("any where true", &["--all"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("_source"));
    drop(lines);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(0) && !err.contains("error"), "{err}");
}
