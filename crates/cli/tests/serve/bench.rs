//! What the tests of the service share: a folder with rules and data, and the service as a process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, thread};

use eqlipse_control::{AlertQuery, Control, Execution, RuleKey};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::client::{self, Response};

/// Of the first user. Without a space, which rsyslog does not take.
pub const PASSWORD: &str = "a-password-of-tests";

/// How long the service may take to start, and to end.
const START: Duration = Duration::from_secs(60);

/// A folder with rules and data of the test's own making, and the settings that the service is started with.
pub struct Bench {
    folder: TempDir,
    data: PathBuf,
    rules: Vec<PathBuf>,
    settings: BTreeMap<&'static str, String>,
}

impl Bench {
    /// Without rules; the data folder is not there yet.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().join("data");
        let settings = [
            ("EQLIPSE_SERVER_LISTEN", "127.0.0.1:0"),
            ("EQLIPSE_RULES_BUNDLED", "false"),
            ("EQLIPSE_AUTH_ADMIN_PASSWORD", PASSWORD),
            ("EQLIPSE_NO_CACHE", "1"),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Self { folder, data, rules: Vec::new(), settings }
    }

    /// With settings left as they are where nothing is said, but for the port.
    pub fn by_default() -> Self {
        let mut bench = Self::new();
        bench.settings.retain(|name, _| ["EQLIPSE_SERVER_LISTEN", "EQLIPSE_NO_CACHE"].contains(name));
        bench
    }

    /// With a data folder elsewhere.
    pub fn with_data(data: &Path) -> Self {
        Self { data: data.to_owned(), ..Self::new() }
    }

    /// With a setting, by the name of its variable.
    pub fn set(mut self, variable: &'static str, value: &str) -> Self {
        self.settings.insert(variable, value.to_owned());
        self
    }

    /// With a file or folder of rules.
    pub fn rules(mut self, path: PathBuf) -> Self {
        self.rules.push(path);
        self
    }

    /// With a rule: its id, its query, and how many alerts an execution gives at most.
    pub fn rule(self, id: &str, query: &str, max_signals: u32) -> Self {
        self.rule_every("5m", id, query, max_signals)
    }

    /// The same of a rule with another interval than five minutes.
    pub fn rule_every(self, interval: &str, id: &str, query: &str, max_signals: u32) -> Self {
        let text = format!(
            "[metadata]\ncreation_date = \"2026/03/01\"\nupdated_date = \"2026/03/01\"\nmaturity = \"production\"\n\n\
             [rule]\nrule_id = \"{id}\"\nname = \"Rule {id}\"\ndescription = \"Of a test.\"\nseverity = \"low\"\n\
             risk_score = 21\ntype = \"eql\"\nlanguage = \"eql\"\nauthor = [\"Test\"]\nlicense = \"Apache-2.0\"\n\
             index = [\"logs-*\"]\nfrom = \"now-9m\"\ninterval = \"{interval}\"\nmax_signals = {max_signals}\n\
             timestamp_override = \"event.ingested\"\nquery = '''\n{query}\n'''\n"
        );
        let path = self.file(&format!("rules/{id}.toml"), text);
        self.rules(path)
    }

    /// Writes a file beside the data folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        fs::write(&path, content).expect("a writable file");
        path
    }

    /// A path beside the data folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the data folder.
    pub fn data(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// The files in the data folder below a folder, with this extension, by name.
    pub fn files(&self, below: &str, extension: &str) -> Vec<PathBuf> {
        let (mut folders, mut files) = (vec![self.data(below)], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path),
                }
            }
        }
        files.retain(|path| path.extension().is_some_and(|end| end == extension));
        files.sort();
        files
    }

    fn command(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("eqlipse"));
        std::env::vars_os()
            .filter(|(name, _)| name.to_string_lossy().starts_with("EQLIPSE_"))
            .for_each(|(name, _)| _ = command.env_remove(name));
        command.envs(&self.settings).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts the service, and waits until it listens.
    pub fn start(&self) -> Service {
        let mut command = self.command();
        command.args(["serve", "--data"]).arg(&self.data);
        self.rules.iter().for_each(|path| _ = command.arg("--rules").arg(path));
        Service::start(command)
    }

    /// Starts the service with these arguments alone.
    pub fn start_with(&self, arguments: &[String]) -> Service {
        let mut command = self.command();
        command.args(arguments);
        Service::start(command)
    }

    /// `eqlipse store`: what it writes to standard output and standard error, and its exit code.
    pub fn store(&self, what: &str) -> (String, String, i32) {
        self.run(&["store", what, "--data", &self.data.display().to_string()])
    }

    /// A command: what it writes to standard output and standard error, and its exit code.
    pub fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        let output = self.command().args(arguments).output().expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr), output.status.code().expect("an exit code"))
    }

    /// The hits of all stored events, of a service that does not run.
    pub fn export(&self) -> Vec<Value> {
        let (out, err, code) = self.store("export");
        assert_eq!(code, 0, "{err}");
        out.lines().map(|line| serde_json::from_str(line).expect("a hit")).collect()
    }

    /// How often each id is in an index, of a service that does not run.
    pub fn stored_ids(&self, index: &str) -> BTreeMap<String, usize> {
        let hits = self.export().into_iter().filter(|hit| hit["_index"] == index);
        count(hits.map(|hit| hit["_id"].as_str().expect("an id").to_owned()))
    }

    fn control(&self) -> Control {
        Control::open(&self.data("control.sqlite")).expect("control data")
    }

    /// The alerts of a rule, without building blocks, of a service that does not run.
    pub fn alerts(&self, rule_id: &str) -> Vec<Map<String, Value>> {
        let mut alerts = Vec::new();
        let all = &mut |_: &str, alert: Map<String, Value>| {
            if alert["kibana.alert.rule.rule_id"] == rule_id {
                alerts.push(alert);
            }
            ControlFlow::Continue(())
        };
        self.control().for_each_alert(&AlertQuery::default(), all).expect("alerts");
        alerts
    }

    /// How often each list of events is an alert of a rule: the ids of the events, with commas between them.
    pub fn alerted_ids(&self, rule_id: &str) -> BTreeMap<String, usize> {
        count(self.alerts(rule_id).iter().map(|alert| {
            let ancestors = alert["kibana.alert.ancestors"].as_array().expect("ancestors");
            // Those of a sequence are each event and its building block.
            let events = ancestors.iter().filter(|ancestor| ancestor["depth"] == 0);
            let ids: Vec<&str> = events.map(|event| event["id"].as_str().expect("an id")).collect();
            ids.join(",")
        }))
    }

    /// A rule's ledger, oldest first, of a service that does not run.
    pub fn ledger(&self, rule_id: &str) -> Vec<Execution> {
        let control = self.control();
        let rule = control.rule(&RuleKey::RuleId(rule_id)).expect("rules").expect("the rule");
        let mut ledger = control.ledger(&rule.id, usize::MAX).expect("the ledger");
        ledger.reverse();
        ledger
    }
}

fn count(keys: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

/// What the service wrote to standard error.
#[derive(Default)]
struct Log {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

/// A running service. It is killed when this is dropped.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Service {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let (log, stderr) = (Arc::new(Log::default()), child.stderr.take().expect("standard error"));
        let writes = log.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut text = writes.text.lock().expect("the log");
                text.0 += &line;
                text.0.push('\n');
                writes.more.notify_all();
            }
            writes.text.lock().expect("the log").1 = true;
            writes.more.notify_all();
        });
        let mut service = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log, reader: Some(reader) };
        service.address = service.wait_for_address().unwrap_or_else(|| {
            let ended = service.child.try_wait().expect("the process");
            panic!("the service does not listen; it ended: {ended:?}\n{}", service.log())
        });
        service
    }

    fn wait_for_address(&self) -> Option<SocketAddr> {
        const SAID: &str = "listening on http";
        let text = self.log.text.lock().expect("the log");
        let waits = |text: &mut (String, bool)| !text.0.contains(SAID) && !text.1;
        let (text, _) = self.log.more.wait_timeout_while(text, START, waits).expect("the log");
        let line = text.0.split(SAID).nth(1).and_then(|rest| rest.lines().next());
        line.and_then(|line| line.split_once("://")?.1.trim().parse().ok())
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.log.text.lock().expect("the log").0.clone()
    }

    fn wait(&mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process") {
                self.reader.take().map(JoinHandle::join);
                return status;
            }
            assert!(start.elapsed() < patience, "the service does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it with SIGKILL. Returns what it had written to standard error.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("the process");
        self.wait(START);
        self.log()
    }

    /// Sends SIGTERM, waits for the end, and returns how it ended, how long that took, and the log.
    pub fn terminate(mut self) -> (ExitStatus, Duration, String) {
        let start = Instant::now();
        // The shell has its own `kill`, everywhere.
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(sent.expect("a shell").success());
        let status = self.wait(START);
        (status, start.elapsed(), self.log())
    }

    /// Has it reload rules and keys.
    pub fn reload(&self) {
        let sent = Command::new("sh").args(["-c", &format!("kill -HUP {}", self.child.id())]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Ends it in order, which must succeed. Returns the log.
    pub fn stop(self) -> String {
        let (status, _, log) = self.terminate();
        assert!(status.success(), "{status}:\n{log}");
        log
    }

    pub fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
        client::send(self.address, method, path, body.as_ref()).expect("an answer")
    }

    /// The answer to a request that must succeed.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}\n{}", answer.text(), self.log());
        answer.json()
    }

    /// Sends documents with a bulk request; all must be taken.
    pub fn bulk(&self, index: &str, documents: &[Value]) {
        let body: String = documents.iter().map(|document| format!("{{\"create\":{{}}}}\n{document}\n")).collect();
        let answer = self.send("POST", &format!("/{index}/_bulk"), body);
        assert_eq!((answer.status, &answer.json()["errors"]), (200, &json!(false)), "{}", answer.text());
    }

    /// How many events indices have.
    pub fn count(&self, indices: &str) -> u64 {
        self.ask("GET", &format!("/{indices}/_count"), &Value::Null)["count"].as_u64().expect("a count")
    }

    /// The alerts of a rule with their building blocks: how many there are, and up to 1,000 of them.
    pub fn signals(&self, rule_id: &str) -> (u64, Vec<Value>) {
        let body = json!({
            "query": { "term": { "kibana.alert.rule.rule_id": rule_id } },
            "size": 1000,
            "track_total_hits": true,
        });
        let answer = self.ask("POST", "/api/detection_engine/signals/search", &body);
        let hits = answer["hits"]["hits"].as_array().expect("hits").clone();
        (answer["hits"]["total"]["value"].as_u64().expect("a total"), hits)
    }

    /// Waits until a rule has so many alerts, building blocks included.
    pub fn wait_for_signals(&self, rule_id: &str, wanted: u64) {
        wait_until(Duration::from_secs(60), || {
            let (found, _) = self.signals(rule_id);
            (found >= wanted)
                .then_some(())
                .ok_or_else(|| format!("{rule_id}: {found} of {wanted} alerts\n{}", self.log()))
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Asks again and again until it is so.
///
/// # Panics
/// With what was said last, if it takes too long.
pub fn wait_until<T>(patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(is) => return is,
            Err(error) => assert!(start.elapsed() < patience, "{error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Now, as it stands in documents, with nanoseconds.
pub fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}
