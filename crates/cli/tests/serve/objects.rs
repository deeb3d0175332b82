//! Segments in an object store: moto, which speaks S3, as a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, now, wait_until};
use crate::clients::python_with;
use crate::load::{INDEX, Load, MARKED, PAIRS, compare, with_rules};

const BUCKET: &str = "events";
const SECRET: &str = "a-secret-of-tests";

/// The object store.
struct S3 {
    server: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    endpoint: String,
}

impl S3 {
    /// Starts it; `None`, said on standard error, if it is not installed.
    fn start() -> Option<Self> {
        let python = python_with("an object store that speaks S3", "moto.server")?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/clients/s3_server.py");
        let mut server = Command::new(python)
            .arg(program)
            .arg(BUCKET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python runs");
        let (input, output) = (server.stdin.take().expect("its input"), server.stdout.take().expect("its output"));
        let mut s3 = Self { server, input, output: BufReader::new(output), endpoint: String::new() };
        s3.endpoint = s3.line();
        Some(s3)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the object store ended");
        line.trim().to_owned()
    }

    fn ask(&mut self, what: &str) -> Value {
        writeln!(self.input, "{what}").expect("it reads");
        serde_json::from_str(&self.line()).expect("JSON")
    }

    /// The names of all objects.
    fn objects(&mut self) -> Vec<String> {
        serde_json::from_value(self.ask("list")).expect("names")
    }

    fn segments(&mut self) -> Vec<String> {
        self.objects().into_iter().filter(|name| name.ends_with(".parquet")).collect()
    }

    /// A bench whose segments are there.
    fn bench(&self, bench: Bench) -> Bench {
        let key = bench.file("s3-key", format!("{SECRET}\n"));
        bench
            .set("EQLIPSE_STORE_SEGMENTS", &format!("s3://{BUCKET}/of/tests"))
            .set("EQLIPSE_STORE_S3_ENDPOINT", &self.endpoint)
            .set("EQLIPSE_STORE_S3_REGION", "us-east-1")
            .set("EQLIPSE_STORE_S3_ACCESS_KEY_ID", "test")
            .set("EQLIPSE_STORE_S3_SECRET_ACCESS_KEY_FILE", key.to_str().expect("a path"))
            .set("EQLIPSE_STORE_S3_ALLOW_HTTP", "true")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        _ = self.server.kill();
        _ = self.server.wait();
    }
}

fn events(name: &str) -> Vec<Value> {
    let event = |number: u32| {
        json!({
            "@timestamp": now(),
            "event": { "category": "process" },
            "process": { "name": format!("{name}.exe"), "pid": number, "command_line": format!("{name} --x {number}") },
        })
    };
    (0..5).map(event).collect()
}

fn metric(text: &str, name: &str) -> u64 {
    let line =
        text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn segments_are_kept_in_an_object_store() {
    let Some(mut s3) = S3::start() else { return };
    let bench = s3.bench(Bench::new()).set("EQLIPSE_STORE_FLUSH_AGE", "100ms").set("EQLIPSE_SCHEDULE_TICK", "200ms");
    let bench = bench.rule("first", "process where process.name == \"a.exe\"", 1_000);
    let service = bench.start();
    service.bulk("logs-a-default", &events("a"));
    service.bulk("logs-b-default", &events("b"));
    let sent = wait_until(Duration::from_secs(30), || match s3.segments() {
        sent if sent.len() >= 2 => Ok(sent),
        sent => Err(format!("{sent:?}\n{}", service.log())),
    });
    assert!(sent.iter().all(|name| name.starts_with("of/tests/logs-")), "{sent:?}");
    service.wait_for_signals("first", 5);
    let log = service.stop();
    assert!(!log.contains("ERROR") && !log.contains(SECRET), "{log}");

    // What is here is gone; a rule that was not there looks at what is only in the object store.
    fs::remove_dir_all(bench.data("events/segments")).expect("the copies");
    let bench = bench.rule("second", "process where process.name == \"b.exe\" and process.pid >= 2", 1_000);
    let service = bench.start();
    assert_eq!(service.count("logs-*"), 10);
    let query = json!({ "query": "process where process.pid == 4" });
    let found = service.ask("POST", "/logs-*/_eql/search", &query);
    assert_eq!(found["hits"]["events"].as_array().map(Vec::len), Some(2), "{found}");
    let query = json!({ "query": { "term": { "process.command_line": "b --x 3" } } });
    assert_eq!(service.ask("POST", "/logs-*/_search", &query)["hits"]["total"]["value"], 1);
    service.wait_for_signals("second", 3);
    let log = service.stop();
    assert!(!log.contains("ERROR"), "{log}");
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("0 damaged") && err.contains("compared in the object store too"), "{err}");
    let (out, err, code) = bench.store("stats");
    assert!(code == 0 && out.contains("segments to send"), "{out}{err}");
}

#[test]
fn without_its_object_store_the_service_goes_on() {
    let Some(mut s3) = S3::start() else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let bench = s3.bench(Bench::new()).set("EQLIPSE_STORE_FLUSH_AGE", "100ms").set("EQLIPSE_SCHEDULE_TICK", "200ms");
    let bench = bench.rule("first", "process where process.name == \"a.exe\"", 1_000);
    let bench = bench.set("EQLIPSE_STORE_S3_ENDPOINT", &format!("http://{closed}"));
    let service = bench.start();
    service.bulk("logs-a-default", &events("a"));
    service.wait_for_signals("first", 5);
    wait_until(Duration::from_secs(60), || {
        let metrics = service.send("GET", "/metrics", "").text();
        let ready = service.send("GET", "/health/ready", "");
        let is_said = metric(&metrics, "eqlipse_store_object_problem") == 1
            && metric(&metrics, "eqlipse_store_waiting_segments") > 0
            && ready.json()["warning"].is_string();
        assert_eq!(ready.status, 200);
        is_said.then_some(()).ok_or(metrics)
    });
    let log = service.stop();
    assert!(log.contains("the object store cannot be used") && !log.contains(SECRET), "{log}");
    let bench = bench.set("EQLIPSE_STORE_S3_ENDPOINT", &s3.endpoint);
    let service = bench.start();
    assert_eq!(service.count("logs-*"), 5);
    wait_until(Duration::from_secs(30), || match s3.segments().len() {
        0 => Err(service.log()),
        _ => Ok(()),
    });
    service.stop();
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
}

#[test]
fn killed_while_it_sends_it_loses_and_doubles_nothing() {
    let Some(mut s3) = S3::start() else { return };
    // Nothing stays here once it is there.
    let bench = s3
        .bench(with_rules(Bench::new()))
        .set("EQLIPSE_STORE_FLUSH_AGE", "200ms")
        .set("EQLIPSE_STORE_SEGMENT_CACHE", "0B")
        .set("EQLIPSE_SCHEDULE_TICK", "200ms");
    let load = Load::start(2);
    for kill in 0..4 {
        let service = bench.start();
        load.to(&service);
        // While objects come.
        let before = s3.objects().len();
        wait_until(Duration::from_secs(30), || match s3.objects().len() > before + 2 {
            true => Ok(()),
            false => Err(service.log()),
        });
        thread::sleep(Duration::from_millis(37 * kill));
        service.kill();
    }
    let service = bench.start();
    load.to(&service);
    let sent = load.finish();
    let (marked, pairs) = (sent.marked(), sent.pairs());
    service.wait_for_signals(MARKED, marked.len() as u64);
    service.wait_for_signals(PAIRS, 3 * pairs.len() as u64);
    assert_eq!(service.count(INDEX), sent.ids().len() as u64);
    service.stop();

    let none = Default::default();
    compare("events", &sent.ids(), &none, &bench.stored_ids(INDEX));
    compare("alerts of marked events", &marked, &none, &bench.alerted_ids(MARKED));
    compare("alerts of pairs", &pairs, &none, &bench.alerted_ids(PAIRS));
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
    // No object is left over.
    assert!(!err.contains("no segment has this object"), "{err}");
    assert_eq!(s3.ask("uploads"), 0);
    assert!(bench.files("events/segments", "parquet").is_empty());
}
