//! The commands that look at a service: its data folder while it runs, its status, what it refused; and starts that fail.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, PASSWORD, now, wait_until};

const INDEX: &str = "logs-a-default";
/// How long what comes soon may take.
const START: Duration = Duration::from_secs(60);

fn event(name: &str) -> Value {
    json!({ "@timestamp": now(), "event": { "category": "process", "type": "start" }, "process": { "name": name } })
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_running_service_can_be_looked_into() {
    let bench = Bench::new();
    let data = bench.data("").display().to_string();
    let service = bench.start();
    let query = |text: &str| {
        let (out, err, code) = bench.run(&["query", text, &data, "--format", "ndjson", "--fields", "process.name"]);
        assert_eq!(code, 0, "{err}");
        lines(&out).len()
    };
    let sql = |more: &[&str]| {
        let command = ["sql", "SELECT count(*) AS n FROM events", "--format", "ndjson"];
        let (out, err, code) = bench.run(&[&command, more].concat());
        assert_eq!(code, 0, "{err}");
        lines(&out)[0]["n"].as_u64().unwrap()
    };
    // There is nothing in it yet, and that is no mistake.
    assert_eq!((query("process where true"), sql(&[&data]), sql(&[&data, &data])), (0, 0, 0));
    service.bulk(INDEX, &[event("a.exe"), event("b.exe")]);
    assert_eq!((query("process where true"), query("process where process.name == \"a.exe\"")), (2, 1));
    assert_eq!((sql(&[&data]), sql(&["--data", &data])), (2, 2));
    let (_, err, code) = bench.run(&["sql", "SELECT 1", &data, "--data", &data]);
    assert!(code == 2 && err.contains("--data or paths"), "{err}");
    let (out, err, code) = bench.store("stats");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("events in the log             2"), "{out}");
    assert_eq!(bench.export().len(), 2);
    let rule = bench.file("one.toml", RULE);
    let hunt = ["hunt", "--rules", &rule.display().to_string(), &data, "--format", "ndjson"];
    let (out, err, code) = bench.run(&hunt);
    assert_eq!((lines(&out).len(), code), (1, 0), "{err}");
    // A letter that is no event is not looked at.
    service.send("POST", &format!("/{INDEX}/_bulk"), "{\"create\":{}}\n[1]\n");
    service.stop();
    assert_eq!((query("any where true"), sql(&[&data]), bench.store("check").2), (2, 2, 0));
    let (out, _, code) = bench.run(&hunt);
    assert_eq!((lines(&out).len(), code), (1, 0));
    // What only a service may change is for it alone.
    let service = bench.start();
    let (_, err, code) = bench.store("prune");
    assert_eq!(code, 1);
    assert!(err.contains("another eqlipse"), "{err}");
    drop(service);
}

const RULE: &str = "[metadata]\ncreation_date = \"2026/03/01\"\nupdated_date = \"2026/03/01\"\nmaturity = \"production\"\n\n\
    [rule]\nrule_id = \"one\"\nname = \"One\"\ndescription = \"Of a test.\"\nseverity = \"low\"\nrisk_score = 21\n\
    type = \"eql\"\nlanguage = \"eql\"\nauthor = [\"Test\"]\nlicense = \"Apache-2.0\"\nindex = [\"logs-*\"]\n\
    query = \'\'\'\nprocess where process.name == \"a.exe\"\n\'\'\'\n";

#[test]
fn the_status_of_a_service_is_shown() {
    let bench = Bench::new().rule("named", "any where process.name == \"x\"", 100);
    let service = bench.start();
    service.bulk(INDEX, &[event("a.exe")]);
    let url = format!("http://{}", service.address);
    // The password is the settings' own.
    let (out, err, code) = bench.run(&["status", "--url", &url]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("healthy: eqlipse "), "{out}");
    assert!(out.contains("1 stored, 0 there already") && out.contains("1 running of 1 enabled"), "{out}");
    let (out, _, _) = bench.run(&["status", "--url", &url, "--json", "--hours", "1"]);
    let status = &lines(&out)[0];
    assert_eq!((&status["healthy"], &status["store"]["events"]), (&json!(true), &json!(1)));
    assert_eq!(status["ledger"]["hours"], 1);

    let secret = "wrong-and-never-shown";
    let file = bench.file("password", secret);
    let with_file = ["status", "--url", &url, "--password-file", &file.display().to_string()];
    let (out, err, code) = bench.run(&with_file);
    assert_eq!(code, 1);
    assert!(err.contains("401") && !(out + &err).contains(secret), "{err}");
    let (_, err, code) = bench.run(&["status", "--url", &format!("http://admin:{PASSWORD}@{}", service.address)]);
    assert!(code == 2 && !err.contains(PASSWORD), "{err}");
    let key = service.ask("POST", "/_security/api_key", &json!({ "name": "watch" }))["encoded"].clone();
    let file = bench.file("key", key.as_str().expect("a key"));
    let with_key = ["status", "--url", &url, "--api-key-file", &file.display().to_string(), "--user", "nobody"];
    assert_eq!(bench.run(&with_key).2, 0);
    service.stop();
    let (_, err, code) = bench.run(&["status", "--url", &url]);
    assert_eq!(code, 1);
    assert!(err.contains(&url), "{err}");
}

#[test]
fn refused_documents_are_listed_and_replayed() {
    let short = Bench::new().set("EQLIPSE_LIMITS_DOCUMENT_BYTES", "300B");
    let data = short.data("").display().to_string();
    let service = short.start();
    let long = json!({ "message": "x".repeat(400), "event": { "category": "process" } });
    let body = format!("{{\"create\":{{}}}}\n{long}\n{{\"create\":{{}}}}\n{long}\n{{\"create\":{{}}}}\n[]\n");
    assert_eq!(service.send("POST", &format!("/{INDEX}/_bulk"), body).json()["errors"], true);
    let (out, err, code) = short.run(&["dead-letters", "list", "--data", &data, "--json"]);
    assert_eq!(code, 0, "{err}");
    let letters = lines(&out);
    assert_eq!(letters.len(), 3);
    assert!(letters[2]["reason"].as_str().expect("a reason").contains("max_document_bytes"), "{out}");
    let (out, _, _) = short.run(&["dead-letters", "list", "--data", &data, "--limit", "1"]);
    assert!(out.contains(INDEX) && out.lines().count() == 2, "{out}");
    // The service that runs is asked.
    let url = format!("http://{}", service.address);
    let (out, err, code) = short.run(&["dead-letters", "replay", "--url", &url, "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!((&lines(&out)[0]["stored"], &lines(&out)[0]["refused"]), (&json!(0), &json!(3)));
    service.stop();
    // And where none runs, it is done here.
    let longer = Bench::with_data(&short.data(""));
    let replay = || {
        let (out, err, code) = longer.run(&["dead-letters", "replay", "--data", &data, "--json"]);
        assert_eq!(code, 0, "{err}");
        lines(&out).remove(0)
    };
    let done = replay();
    assert_eq!((&done["stored"], &done["refused"]), (&json!(2), &json!(1)), "{done}");
    let again = replay();
    assert_eq!((&again["stored"], &again["refused"]), (&json!(0), &json!(1)), "{again}");
    assert_eq!(longer.export().len(), 2);
    let (out, _, _) = longer.run(&["dead-letters", "list", "--data", &data, "--json"]);
    assert_eq!(lines(&out).len(), 1);
}

/// Whatever keeps the service from starting, it says so and the exit code is not 0.
#[test]
fn a_start_that_fails_is_never_silent() {
    let bench = Bench::new();
    bench.start().stop();
    let data = bench.data("");
    let fails = |bench: &Bench, data: &std::path::Path, said: &str| {
        let (_, err, code) = bench.run(&["serve", "--data", &data.display().to_string()]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(said), "{said}: {err}");
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    fails(&Bench::new().set("EQLIPSE_SERVER_LISTEN", &address), &data, "cannot listen on");
    fails(&Bench::new().set("EQLIPSE_LOG_LEVEL", "eqlipse=nothing"), &data, "log.level");
    let running = bench.start();
    fails(&Bench::new(), &data, "another eqlipse");
    running.stop();
    for (file, said) in [("control.sqlite", "control database"), ("events/catalogue.sqlite", "catalogue")] {
        let bench = Bench::new();
        bench.start().stop();
        let path = bench.data(file);
        // SQLite would bring the file back out of its log.
        for beside in ["-wal", "-shm"] {
            _ = fs::remove_file(format!("{}{beside}", path.display()));
        }
        fs::write(&path, "no database, but long enough to be looked at. ".repeat(200)).expect("a database");
        fails(&Bench::new(), &bench.data(""), said);
    }
    let file = bench.file("no-folder", "");
    fails(&Bench::new(), &file, "no-folder");
    bench.start().stop();
}

/// What the settings alone show, `config check` says without a start.
#[test]
fn settings_that_cannot_work_are_found() {
    let check = |bench: &Bench| {
        let file = bench.path("eqlipse.toml").display().to_string();
        let (_, err, code) = bench.run(&["config", "check", "--config", &file]);
        (err, code)
    };
    let folder = "[[input.folder]]\npath = \".\"\ninclude = [\"[\"]\n";
    let cases = [
        ("EQLIPSE_SERVER_LISTEN", "0.0.0.0:0", "", "server.insecure"),
        ("EQLIPSE_LOG_LEVEL", "eqlipse=nothing", "", "log.level"),
        ("EQLIPSE_NO_CACHE", "1", "[server.tls]\ncert = \"no.pem\"\nkey = \"no.key\"\n", "no.pem"),
        ("EQLIPSE_NO_CACHE", "1", "[rules]\npaths = [\"no-rules\"]\n", "no-rules"),
        ("EQLIPSE_NO_CACHE", "1", folder, "error parsing glob"),
    ];
    for (variable, value, text, said) in cases {
        let bench = Bench::new().set(variable, value);
        bench.file("eqlipse.toml", text);
        let (err, code) = check(&bench);
        assert!(code == 1 && err.contains(said), "{said}: {code} {err}");
        let (_, err, code) = bench.run(&["serve", "--config", &bench.path("eqlipse.toml").display().to_string()]);
        assert!(code == 1 && err.contains(said), "{said}: {code} {err}");
    }
    let bench = Bench::new();
    bench.file("eqlipse.toml", "");
    assert_eq!(check(&bench).1, 0);
    let (_, err, code) = bench.run(&["serve", "--tick", "0s"]);
    assert!(code == 2 && err.contains("--tick"), "{err}");
}

/// Signals that come before anybody waits for them are not lost, and do not end the process without a word.
#[test]
fn signals_are_heard_from_the_start() {
    let bench = Bench::new();
    for _ in 0..10 {
        let log = bench.start().stop();
        assert!(log.contains("SIGTERM") && log.contains("stopped"), "{log}");
    }
}

#[test]
fn without_settings_bundled_rules_run_and_a_password_is_said_once() {
    let bench = Bench::by_default();
    let service = bench.start_with(&[
        "serve".to_owned(),
        "--demo".to_owned(),
        "--data".to_owned(),
        bench.data("").display().to_string(),
    ]);
    let log = service.log();
    let password = log.lines().find_map(|line| line.split_once("with the password ")).map(|(_, password)| password);
    let password = password.unwrap_or_else(|| panic!("{log}")).to_owned();
    let file = bench.file("password", &password);
    let url = format!("http://{}", service.address);
    let status = || -> Value {
        let with_file = ["status", "--url", &url, "--json", "--password-file", &file.display().to_string()];
        let (out, err, _) = bench.run(&with_file);
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"))
    };
    assert!(status()["rules"]["running"].as_u64().is_some_and(|rules| rules > 0), "{}", status());
    // The planted attacks have alerts soon.
    wait_until(START, || match status()["ledger"]["alerts"].as_u64() {
        Some(1..) => Ok(()),
        _ => Err(status().to_string()),
    });
    service.stop();
    let log = bench.start().stop();
    assert!(!log.contains("password"), "{log}");
}

#[test]
fn rules_are_read_again_on_sighup() {
    let bench = Bench::new().set("EQLIPSE_SCHEDULE_TICK", "200ms");
    let rules = bench.file("rules/one.toml", RULE);
    let bench = bench.rules(rules.parent().expect("a folder").to_owned());
    let service = bench.start();
    service.bulk(INDEX, &[event("a.exe")]);
    service.wait_for_signals("one", 1);
    bench.file("rules/two.toml", RULE.replace("\"one\"", "\"two\"").replace("a.exe", "b.exe"));
    bench.file("rules/one.toml", RULE.replace("a.exe", "c.exe"));
    service.reload();
    let names = |name: &str| {
        let found = service.send("GET", &format!("/api/detection_engine/rules?rule_id={name}"), "");
        found.json()["query"].as_str().unwrap_or_default().to_owned()
    };
    wait_until(START, || match (names("one").contains("c.exe"), names("two").contains("b.exe")) {
        (true, true) => Ok(()),
        _ => Err(service.log()),
    });
    service.bulk(INDEX, &[event("a.exe"), event("b.exe"), event("c.exe")]);
    service.wait_for_signals("two", 1);
    service.wait_for_signals("one", 2);
    service.stop();
    let mut found: Vec<Value> =
        bench.alerts("one").iter().map(|alert| Value::Object(alert.clone())["process"]["name"].clone()).collect();
    found.sort_by_key(Value::to_string);
    assert_eq!(found, ["a.exe", "c.exe"]);
}

#[test]
fn rules_are_run_over_the_past() {
    let query = |name: &str| format!("process where process.name == \"{name}\"");
    let bench = Bench::new().rule("a", &query("a.exe"), 100).rule("b", &query("b.exe"), 100);
    let service = bench.start();
    let past = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(5)).to_string();
    let old = |name: &str| {
        let mut event = event(name);
        event["@timestamp"] = past.clone().into();
        event["event"]["ingested"] = past.clone().into();
        event
    };
    service.bulk(INDEX, &[old("a.exe"), old("b.exe")]);
    service.stop();
    // A window may have ended meanwhile, which saw them by their time of arrival.
    let before = (bench.alerts("a").len(), bench.alerts("b").len());
    let data = bench.data("").display().to_string();
    let run = |more: &[&str]| {
        let (out, err, code) = bench.run(&[&["backfill", "--data", &data, "--from", "now-6h"], more].concat());
        (out + &err, code)
    };
    let (said, code) = run(&["--to", "now-4h", "--rule", "a"]);
    assert_eq!((code, bench.alerts("a").len(), bench.alerts("b").len()), (0, 1, before.1), "{said}");
    let window = bench.ledger("a").into_iter().filter(|run| run.kind == eqlipse_control::WindowKind::Backfill).count();
    assert!((24..=26).contains(&window), "{window}");
    let (said, code) = run(&[]);
    assert_eq!((code, bench.alerts("a").len(), bench.alerts("b").len()), (0, 1, 1), "{said}");
    let (said, code) = run(&["--to", "now-7h"]);
    assert!(code == 2 && said.contains("--from is later than --to"), "{said}");
    let (said, code) = run(&["--rule", "none"]);
    assert!(code == 1 && said.contains("none"), "{said}");
}
