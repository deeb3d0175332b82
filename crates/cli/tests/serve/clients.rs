//! Clients as people use them: Elasticsearch's for Python, DuckDB, curl, rsyslog.
//!
//! `.ci/test` installs them: what comes from PyPI below the target folder, rsyslog from the system's packages.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, PASSWORD, now, wait_until};

/// Says that a client is missing; in CI, none may be.
pub fn missing(what: &str, looked_for: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: {looked_for} is not installed (.ci/test does it)");
    eprintln!("SKIPPED: {what}: {looked_for} is not installed (.ci/test does it)");
}

/// Where `.ci/test` installs what comes from PyPI.
pub fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    target.join("serve-clients/venv/bin/python")
}

/// The Python that has a module; `None`, said on standard error, if there is none.
pub fn python_with(what: &str, module: &str) -> Option<PathBuf> {
    let status = Command::new(python()).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        return Some(python());
    }
    missing(what, &format!("{module} for Python"));
    None
}

/// Runs one of the programs in `clients/`; what it writes, or `None`, said on standard error, if it cannot run.
fn run_python(what: &str, module: &str, program: &str, arguments: &[&str]) -> Option<String> {
    let python = python_with(what, module)?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/clients").join(program);
    let output = Command::new(python).arg(program).args(arguments).output().expect("Python runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout))
}

fn events(count: u32) -> Vec<Value> {
    let event = |number: u32| {
        json!({
            "@timestamp": now(),
            "event": { "category": ["process"], "type": "start" },
            "host": { "name": "pc01" },
            "process": { "name": if number.is_multiple_of(2) { "even.exe" } else { "odd.exe" }, "pid": number },
        })
    };
    (0..count).map(event).collect()
}

#[test]
fn elasticsearch_for_python() {
    let service = Bench::new();
    let service = service.start();
    let url = format!("http://{}", service.address);
    let arguments = [url.as_str(), PASSWORD];
    let what = "Elasticsearch's client for Python";
    let Some(said) = run_python(what, "elasticsearch", "elasticsearch_client.py", &arguments) else { return };
    assert_eq!(said, "501 events\n");
    service.stop();
}

#[test]
fn duckdb_reads_segments() {
    let bench = Bench::new();
    let service = bench.start();
    service.bulk("logs-a-default", &events(10));
    service.stop();
    let segments = bench.data("events/segments");
    let segments = segments.to_str().expect("a path");
    let Some(said) = run_python("segments as Parquet files", "duckdb", "duckdb_client.py", &[segments]) else { return };
    assert_eq!(said, "[('even.exe', 5, 0, 8), ('odd.exe', 5, 1, 9)]\n10\n10\n");
}

/// Runs curl; what it writes, or `None`, said on standard error, if there is none.
fn curl(arguments: &[&str], body: &[u8]) -> Option<Vec<u8>> {
    let credentials = format!("admin:{PASSWORD}");
    let child = Command::new("curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--user", &credentials])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        missing("curl", "curl");
        return None;
    };
    child.stdin.take().expect("standard input").write_all(body).expect("curl reads");
    let output = child.wait_with_output().expect("curl ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Some(output.stdout)
}

#[test]
fn curl_as_the_documentation_has_it() {
    let bench = Bench::new();
    let service = bench.start();
    let url = |path: &str| format!("http://{}{path}", service.address);
    let body: String = events(4).iter().map(|event| format!("{{\"create\":{{}}}}\n{event}\n")).collect();
    let ndjson = "Content-Type: application/x-ndjson";
    let send = url("/logs-curl-default/_bulk");
    let Some(answer) = curl(&[&send, "-H", ndjson, "--data-binary", "@-"], body.as_bytes()) else { return };
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((&answer["errors"], answer["items"].as_array().map(Vec::len)), (&json!(false), Some(4)));
    // A body longer than a kibibyte: curl waits for `100 Continue` first.
    let lines: String = events(50).iter().map(|event| format!("{event}\n")).collect();
    let packed = [&url("/ingest?index=logs-file-default"), "-H", "Expect: 100-continue", "--data-binary", "@-"];
    let answer = curl(&packed, &gzip(lines.as_bytes())).expect("curl is there");
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["stored"], 50, "{answer}");
    let search = r#"{"query":{"term":{"process.name":"odd.exe"}},"size":0}"#;
    let asks = [&url("/logs-*/_search"), "-H", "Content-Type: application/json", "--data-binary", "@-"];
    let answer = curl(&asks, search.as_bytes()).expect("curl is there");
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["hits"]["total"]["value"], 27);
    let metrics = curl(&[&url("/metrics")], b"").expect("curl is there");
    assert!(String::from_utf8_lossy(&metrics).contains("eqlipse"), "Prometheus' text");
    service.stop();
}

#[test]
fn curl_over_tls() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/tests/data");
    let file = |name: &str| data.join(name).display().to_string();
    let certificate = file("first.crt");
    let bench = Bench::new().set("EQLIPSE_SERVER_TLS_CERT", &certificate);
    let bench = bench.set("EQLIPSE_SERVER_TLS_KEY", &file("first.key"));
    let service = bench.start();
    let url = format!("https://localhost:{}/logs-tls-default/_doc", service.address.port());
    let here = format!("localhost:{}:127.0.0.1", service.address.port());
    // It offers HTTP/2 too.
    let sends =
        [&url, "--cacert", &certificate, "--resolve", &here, "-H", "Content-Type: application/json", "-d", "{}"];
    let Some(answer) = curl(&sends, b"") else { return };
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["result"], "created");
    service.stop();
}

/// Gzip, packed by the system's program where there is one, else as it is.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let packed = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = packed else { return bytes.to_vec() };
    child.stdin.take().expect("standard input").write_all(bytes).expect("gzip reads");
    child.wait_with_output().expect("gzip ends").stdout
}

#[cfg(target_os = "linux")]
#[test]
fn rsyslog_sends_lines() {
    let what = "rsyslog with omelasticsearch";
    let programs = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd"];
    let Some(program) = programs.iter().find(|path| Path::new(path).exists()) else {
        return missing(what, "rsyslogd");
    };
    let has_module = |folder: &str| Path::new(folder).join("rsyslog/omelasticsearch.so").exists();
    let libraries = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    if !has_module("/usr/lib") && !libraries.map(|path| path.display().to_string()).any(|path| has_module(&path)) {
        return missing(what, "omelasticsearch");
    }
    let bench = Bench::new();
    let service = bench.start();
    let socket = bench.path("log.sock");
    let work = bench.file("work/here", "");
    let configuration = rsyslog_configuration(&socket, work.parent().expect("a folder"), service.address.port());
    let configuration = bench.file("rsyslog.conf", configuration);
    // In the foreground, with files of its own: the system's rsyslog is none of this test's business.
    let pid_file = bench.path("rsyslog.pid");
    let log = fs::File::create(bench.path("rsyslog.err")).expect("a writable file");
    let mut daemon = Command::new(program)
        .arg("-n")
        .arg("-f")
        .arg(&configuration)
        .arg("-i")
        .arg(&pid_file)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .spawn()
        .expect("rsyslogd runs");
    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let connect = || UnixStream::connect(&socket).map_err(|error| error.to_string());
        let mut stream = wait_until(Duration::from_secs(10), connect);
        for number in 0..40 {
            // As programs write to a log, with the time and the host before it.
            writeln!(stream, "<38>Mar  1 12:00:00 gate sshd[7]: attempt {number} \"x\"").expect("rsyslog reads");
        }
        wait_until(Duration::from_secs(20), || {
            let answer = service.send("GET", "/logs-syslog-default/_count", "");
            match answer.status == 200 && answer.json()["count"] == 40 {
                true => Ok(()),
                false => Err(format!("{}\n{}", answer.text(), fs::read_to_string(bench.path("rsyslog.err")).unwrap())),
            }
        });
    }));
    daemon.kill().expect("the process");
    daemon.wait().expect("the process");
    sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let query = json!({ "query": { "term": { "host.hostname": "gate" } }, "size": 100 });
    let hits = service.ask("POST", "/logs-syslog-default/_search", &query);
    let hits = hits["hits"]["hits"].as_array().expect("hits").clone();
    let message =
        |hit: &&Value| hit["_source"]["message"].as_str().is_some_and(|text| text.contains("attempt 7 \"x\""));
    let hit = hits.iter().find(message).unwrap_or_else(|| panic!("{hits:?}"));
    // As it was sent; for queries, they are the fields that they name.
    let source = &hit["_source"];
    assert_eq!((&source["host.hostname"], &source["process.name"]), (&json!("gate"), &json!("sshd")), "{hit}");
    service.stop();
}

#[cfg(target_os = "linux")]
fn rsyslog_configuration(socket: &Path, work: &Path, port: u16) -> String {
    format!(
        r#"global(workDirectory="{work}")
module(load="imptcp")
module(load="omelasticsearch")
template(name="ecs" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timegenerated" dateFormat="rfc3339" format="jsonf")
  property(outname="host.hostname" name="hostname" format="jsonf")
  property(outname="process.name" name="programname" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
ruleset(name="send") {{
  action(
    type="omelasticsearch" server="127.0.0.1" serverport="{port}" uid="admin" pwd="{PASSWORD}"
    searchIndex="logs-syslog-default" searchType="" bulkmode="on" template="ecs"
    errorFile="{work}/errors.json" action.resumeRetryCount="-1" action.resumeInterval="1"
  )
}}
input(type="imptcp" path="{socket}" unlink="on" ruleset="send")
"#,
        work = work.display(),
        socket = socket.display(),
    )
}
