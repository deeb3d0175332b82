//! A stream of ECS events as agents on a fleet of Windows and Linux hosts would send them.
//!
//! The same seed gives the same bytes. Processes live in trees: each has a parent that was started before on the same
//! host, does things, and ends. Sizes, shares of kinds and the repetition of values are about those of collected logs:
//! most programs are a few dozen, ids are always new, command lines are long now and then. Every [`ATTACK_EVERY`]th
//! event starts mshta.exe, and it connects to the network a few events later, so that the number of alerts is known.

use serde_json::{Value, json};

use crate::random::Random;

/// One attack in so many events.
pub const ATTACK_EVERY: u64 = 5_000;
/// How many events after its start an attacking process connects.
const ATTACK_LAG: u64 = 5;
/// The processes that a host has at most.
const MOST_PROCESSES: usize = 60;
/// 2026-03-02T08:00:00Z in milliseconds.
const START: u64 = 1_772_438_400_000;

/// A program: its name, path, arguments, the program that starts it, and who signed it.
type Program = (&'static str, &'static str, &'static str, &'static str, &'static str);

const WINDOWS: [Program; 13] = [
    (
        "svchost.exe",
        r"C:\Windows\System32\svchost.exe",
        "-k netsvcs -p -s Schedule",
        "services.exe",
        "Microsoft Windows Publisher",
    ),
    (
        "chrome.exe",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        "--type=renderer --lang=en-US --device-scale-factor=1 --num-raster-threads=4",
        "chrome.exe",
        "Google LLC",
    ),
    (
        "msedge.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
        "--type=utility --utility-sub-type=network.mojom.NetworkService",
        "msedge.exe",
        "Microsoft Corporation",
    ),
    ("conhost.exe", r"C:\Windows\System32\conhost.exe", "0xffffffff -ForceV1", "git.exe", "Microsoft Windows"),
    (
        "backgroundTaskHost.exe",
        r"C:\Windows\System32\backgroundTaskHost.exe",
        "-ServerName:App.AppXmtcan0h2tfbfy7k9kn8hbxb6dmzz1zh0.mca",
        "svchost.exe",
        "Microsoft Windows",
    ),
    (
        "SearchProtocolHost.exe",
        r"C:\Windows\System32\SearchProtocolHost.exe",
        "Global\\UsGthrFltPipeMssGthrPipe_S-1-5-21-1004",
        "SearchIndexer.exe",
        "Microsoft Windows",
    ),
    ("RuntimeBroker.exe", r"C:\Windows\System32\RuntimeBroker.exe", "-Embedding", "svchost.exe", "Microsoft Windows"),
    ("explorer.exe", r"C:\Windows\explorer.exe", "", "userinit.exe", "Microsoft Windows"),
    (
        "OUTLOOK.EXE",
        r"C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE",
        "",
        "explorer.exe",
        "Microsoft Corporation",
    ),
    (
        "Code.exe",
        r"C:\Program Files\Microsoft VS Code\Code.exe",
        "--type=utility --utility-sub-type=node.mojom.NodeService --lang=en-US",
        "Code.exe",
        "Microsoft Corporation",
    ),
    (
        "MsMpEng.exe",
        r"C:\ProgramData\Microsoft\Windows Defender\Platform\4.18.24080.9-0\MsMpEng.exe",
        "",
        "services.exe",
        "Microsoft Windows Publisher",
    ),
    ("taskhostw.exe", r"C:\Windows\System32\taskhostw.exe", "/RuntimeWide", "svchost.exe", "Microsoft Windows"),
    (
        "git.exe",
        r"C:\Program Files\Git\cmd\git.exe",
        "status --porcelain=v1 --untracked-files=all --ignore-submodules=none",
        "Code.exe",
        "Johannes Schindelin",
    ),
];
const LINUX: [Program; 11] = [
    ("sh", "/usr/bin/sh", "-c run-parts --report /etc/cron.hourly", "cron", ""),
    ("cron", "/usr/sbin/cron", "-f", "systemd", ""),
    ("sshd", "/usr/sbin/sshd", "-D -R", "sshd", ""),
    ("python3", "/usr/bin/python3", "/opt/agent/collect.py --once --quiet --interval=60", "systemd", ""),
    ("php-fpm8.2", "/usr/sbin/php-fpm8.2", "--nodaemonize --fpm-config /etc/php/8.2/fpm/php-fpm.conf", "systemd", ""),
    ("runc", "/usr/bin/runc", "--root /run/containerd/runc/k8s.io --log-format json start", "containerd-shim", ""),
    ("grep", "/usr/bin/grep", "-rn TODO /srv/app/src", "make", ""),
    ("sed", "/usr/bin/sed", "-i s/a/b/ /srv/app/config.yaml", "make", ""),
    ("apt-get", "/usr/bin/apt-get", "-qq -y update", "apt.systemd.daily", ""),
    ("logrotate", "/usr/sbin/logrotate", "/etc/logrotate.conf", "systemd", ""),
    ("node", "/usr/bin/node", "/srv/app/server.js --port 8080", "systemd", ""),
];
const ATTACKER: Program = (
    "mshta.exe",
    r"C:\Windows\System32\mshta.exe",
    r"C:\Users\ann\Downloads\invoice.hta",
    "explorer.exe",
    "Microsoft Windows",
);
const USERS: [&str; 8] = ["ann", "bob", "cid", "dee", "SYSTEM", "NETWORK SERVICE", "root", "www-data"];

/// The events, each a line of NDJSON without its end.
pub struct Stream {
    random: Random,
    hosts: Vec<Host>,
    made: u64,
    /// One attack in so many events.
    attack_every: u64,
    /// The time of events, in milliseconds since the Unix epoch, where it is not theirs by number.
    now: Option<u64>,
    /// The attacks under way: when each connects, and its host and process.
    attacks: Vec<(u64, usize, Process)>,
}

struct Host {
    id: String,
    name: String,
    windows: bool,
    processes: Vec<Process>,
}

#[derive(Clone)]
struct Process {
    entity_id: String,
    pid: u64,
    program: Program,
    command_line: String,
    user: &'static str,
    /// The parent's id.
    parent: String,
}

impl Stream {
    /// A stream of so many hosts.
    pub fn new(seed: u64, hosts: usize) -> Self {
        let mut random = Random::new(seed);
        let host = |number: usize, random: &mut Random| {
            let windows = !number.is_multiple_of(3);
            let name = format!("{}{number:04}", if windows { "ws" } else { "srv" });
            let mut host = Host { id: random.hex(32), name, windows, processes: Vec::new() };
            let first = host.start(random);
            host.processes.push(first);
            host
        };
        let hosts = (0..hosts.max(1)).map(|number| host(number, &mut random)).collect();
        Self { random, hosts, made: 0, attack_every: ATTACK_EVERY, now: None, attacks: Vec::new() }
    }

    /// The same with an attack in every so many events, at least six.
    pub fn with_attacks(mut self, every: u64) -> Self {
        self.attack_every = every.max(ATTACK_LAG + 1);
        self
    }

    /// The next event as it happens at a time, in milliseconds since the Unix epoch.
    pub fn at(&mut self, milliseconds: u64) -> Value {
        self.now = Some(milliseconds);
        self.event()
    }

    /// How many attacks are whole in the first `events` events.
    pub fn attacks_in(events: u64) -> u64 {
        events.saturating_sub(ATTACK_LAG) / ATTACK_EVERY
    }

    fn event(&mut self) -> Value {
        self.made += 1;
        if self.made.is_multiple_of(self.attack_every) {
            return self.attack();
        }
        if let Some(at) = self.attacks.iter().position(|(due, ..)| *due == self.made) {
            let (_, host, process) = self.attacks.swap_remove(at);
            return self.network(host, &process, "203.0.113.66");
        }
        let host = self.random.range(0, self.hosts.len() as u64) as usize;
        match self.random.range(0, 100) {
            0..18 => self.start(host),
            18..32 => self.end(host),
            32..57 => {
                let process = self.process(host);
                let address = format!("198.51.{}.{}", self.random.range(96, 104), self.random.range(1, 255));
                self.network(host, &process, &address)
            }
            57..77 => self.file(host),
            77..85 => self.registry(host),
            85..94 => self.dns(host),
            _ => self.logon(host),
        }
    }

    fn attack(&mut self) -> Value {
        let host = (self.random.range(0, self.hosts.len() as u64) as usize..)
            .find(|at| self.hosts[at % self.hosts.len()].windows);
        let host = host.unwrap_or(0) % self.hosts.len();
        let process = self.hosts[host].start_program(ATTACKER, &mut self.random);
        // It does nothing else, so that it is not among the host's processes.
        self.attacks.push((self.made + ATTACK_LAG, host, process.clone()));
        self.process_event(host, &process, "start", "process")
    }

    fn process(&mut self, host: usize) -> Process {
        let Self { random, hosts, .. } = self;
        let processes = &hosts[host].processes;
        processes[random.range(0, processes.len() as u64) as usize].clone()
    }

    fn start(&mut self, host: usize) -> Value {
        let process = self.hosts[host].start(&mut self.random);
        let event = self.process_event(host, &process, "start", "process");
        let processes = &mut self.hosts[host].processes;
        processes.push(process);
        if processes.len() > MOST_PROCESSES {
            processes.swap_remove(1);
        }
        event
    }

    fn end(&mut self, host: usize) -> Value {
        let process = self.process(host);
        if self.hosts[host].processes.len() > 1 {
            self.hosts[host].processes.retain(|other| other.entity_id != process.entity_id);
        }
        if self.hosts[host].processes.is_empty() {
            let first = self.hosts[host].start(&mut self.random);
            self.hosts[host].processes.push(first);
        }
        self.process_event(host, &process, "end", "process")
    }

    fn process_event(&mut self, host: usize, process: &Process, kind: &str, dataset: &str) -> Value {
        let mut event = self.common(host, process, "process", kind, dataset);
        let (name, .., signer) = process.program;
        event["process"]["hash"] = json!({"md5": hash(name, 32), "sha1": hash(name, 40), "sha256": hash(name, 64)});
        if !signer.is_empty() {
            event["process"]["code_signature"] =
                json!({"exists": true, "trusted": true, "status": "trusted", "subject_name": signer});
        }
        event["process"]["pe"] = json!({"original_file_name": name, "imphash": hash(signer, 32)});
        event["process"]["thread"] = json!({"id": self.random.range(100, 20_000)});
        event["process"]["Ext"] = json!({
            "ancestry": [self.random.hex(40), self.random.hex(40), self.random.hex(40)],
            "token": {"integrity_level_name": "medium", "elevation_level": "limited", "elevation": false},
        });
        event
    }

    fn network(&mut self, host: usize, process: &Process, address: &str) -> Value {
        let mut event = self.common(host, process, "network", "start", "network");
        let port = self.random.range(49_152, 65_535);
        event["event"]["action"] = "connection_attempted".into();
        event["source"] = json!({"ip": format!("10.0.{}.{}", host / 250, host % 250 + 1), "port": port, "bytes": self.random.range(100, 90_000)});
        event["destination"] = json!({"ip": address, "port": 443, "bytes": self.random.range(100, 900_000), "domain": format!("h{}.example.com", self.random.range(0, 400))});
        event["network"] = json!({"direction": "egress", "transport": "tcp", "type": "ipv4", "protocol": "tls", "community_id": format!("1:{}=", self.random.hex(27))});
        event
    }

    fn file(&mut self, host: usize) -> Value {
        let process = self.process(host);
        let kind = self.random.pick(&["creation", "change", "deletion"]);
        let mut event = self.common(host, &process, "file", kind, "file");
        let (name, extension) = (self.random.hex(8), self.random.pick(&["tmp", "log", "json", "dll", "txt", "db"]));
        let folder = if self.hosts[host].windows {
            self.random.pick(&[
                r"C:\Users\ann\AppData\Local\Temp\",
                r"C:\ProgramData\Contoso\Cache\",
                r"C:\Windows\Temp\",
            ])
        } else {
            self.random.pick(&["/tmp/", "/var/log/", "/srv/app/cache/"])
        };
        event["file"] = json!({
            "path": format!("{folder}{name}.{extension}"), "name": format!("{name}.{extension}"), "extension": extension,
            "size": self.random.range(0, 5_000_000), "mtime": event["@timestamp"].clone(),
            "Ext": {"entropy": 4.71, "header_bytes": self.random.hex(32), "monotonic_id": self.made},
        });
        event
    }

    fn registry(&mut self, host: usize) -> Value {
        let process = self.process(host);
        let mut event = self.common(host, &process, "registry", "change", "registry");
        let key =
            format!(r"Software\Microsoft\Windows\CurrentVersion\Explorer\SessionInfo\{}", self.random.range(1, 40));
        event["registry"] = json!({
            "hive": "HKEY_USERS", "key": key, "value": "LastSeen", "path": format!(r"HKEY_USERS\S-1-5-21-1004\{key}\LastSeen"),
            "data": {"type": "REG_SZ", "strings": [self.random.hex(16)]},
        });
        event
    }

    fn dns(&mut self, host: usize) -> Value {
        let process = self.process(host);
        let mut event = self.common(host, &process, "network", "info", "network");
        let name = format!("{}.cdn{}.example.net", self.random.hex(6), self.random.range(0, 30));
        event["event"]["action"] = "lookup_result".into();
        event["dns"] = json!({
            "question": {"name": name, "registered_domain": "example.net", "type": "A", "class": "IN"},
            "resolved_ip": [format!("198.51.100.{}", self.random.range(1, 255))], "response_code": "NOERROR", "type": "answer",
            "answers": [{"name": name, "type": "A", "ttl": 300, "data": "198.51.100.7"}],
        });
        event
    }

    fn logon(&mut self, host: usize) -> Value {
        let process = self.process(host);
        let mut event = self.common(host, &process, "authentication", "start", "security");
        let failed = self.random.range(0, 10) == 0;
        event["event"]["outcome"] = if failed { "failure" } else { "success" }.into();
        event["event"]["code"] = if failed { "4625" } else { "4624" }.into();
        event["source"] =
            json!({"ip": format!("10.0.{}.{}", self.random.range(0, 4), self.random.range(1, 255)), "port": 50_123});
        event["winlog"] = json!({
            "channel": "Security", "logon": {"type": "Network", "id": format!("0x{}", self.random.hex(6))},
            "event_data": {"TargetUserName": process.user, "TargetLogonId": format!("0x{}", self.random.hex(6)), "AuthenticationPackageName": "Kerberos"},
        });
        event
    }

    fn common(&mut self, host: usize, process: &Process, category: &str, kind: &str, dataset: &str) -> Value {
        let Self { random, hosts, made, now, .. } = self;
        let of = &hosts[host];
        let by_number = START + *made * 7 + random.range(0, 7);
        let time = date(now.unwrap_or(by_number));
        let os = match of.windows {
            true => {
                json!({"type": "windows", "family": "windows", "name": "Windows", "platform": "windows", "version": "10.0.19045", "full": "Windows 10 Enterprise 22H2", "kernel": "22H2 (10.0.19045.4046)"})
            }
            false => {
                json!({"type": "linux", "family": "debian", "name": "Linux", "platform": "debian", "version": "12.7", "full": "Debian 12.7", "kernel": "6.1.0-25-amd64"})
            }
        };
        let args: Vec<&str> = process.command_line.split(' ').collect();
        let (name, executable, _, parent, _) = process.program;
        json!({
            "@timestamp": time,
            "agent": {"id": hash(&of.id, 36), "type": "endpoint", "version": "9.1.3"},
            "data_stream": {"type": "logs", "dataset": format!("endpoint.events.{dataset}"), "namespace": "default"},
            "ecs": {"version": "8.11.0"},
            "elastic": {"agent": {"id": hash(&of.name, 36)}},
            "event": {
                "kind": "event", "category": [category], "type": [kind], "action": kind, "module": "endpoint",
                "dataset": format!("endpoint.events.{dataset}"), "id": random.hex(20), "sequence": *made, "created": time,
                "ingested": time, "agent_id_status": "verified",
            },
            "host": {
                "id": of.id, "name": of.name, "hostname": of.name, "architecture": "x86_64", "os": os,
                "ip": [format!("10.0.{}.{}", host / 250, host % 250 + 1), "127.0.0.1", "::1"], "mac": ["00-00-5E-00-53-23"],
            },
            "message": format!("Endpoint {dataset} event"),
            "process": {
                "entity_id": process.entity_id, "pid": process.pid, "name": name,
                "executable": executable, "command_line": process.command_line, "args": args,
                "args_count": args.len(), "parent": {"entity_id": process.parent, "name": parent, "pid": 4_000 + host},
            },
            "user": {"name": process.user, "domain": "CORP", "id": hash(process.user, 24)},
        })
    }
}

impl Iterator for Stream {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        Some(self.event().to_string())
    }
}

impl Host {
    fn start(&self, random: &mut Random) -> Process {
        let program = if self.windows { random.pick(&WINDOWS) } else { random.pick(&LINUX) };
        self.start_program(program, random)
    }

    /// A process, started by one of the host's processes of the right kind if there is one.
    fn start_program(&self, program: Program, random: &mut Random) -> Process {
        let (_, executable, arguments, parent, _) = program;
        let mut command_line = format!("{executable} {arguments}").trim_end().to_owned();
        if random.range(0, 20) == 0 {
            command_line.push_str(&format!(" --token={}", random.hex(1_200)));
        }
        let parent = self.processes.iter().rev().find(|process| process.program.0 == parent);
        let parent = parent.map_or_else(|| hash(&self.id, 40), |parent| parent.entity_id.clone());
        let user = random.pick(if self.windows { &USERS[..6] } else { &USERS[6..] });
        Process { entity_id: random.hex(40), pid: random.range(4, 60_000), program, command_line, user, parent }
    }
}

/// The same text for the same name.
fn hash(name: &str, digits: usize) -> String {
    Random::from_text(name).hex(digits)
}

fn date(milliseconds: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds as i64).unwrap_or_default();
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_events_of_a_likely_size() {
        let lines = |seed| Stream::new(seed, 50).take(2_000).collect::<Vec<_>>();
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
        let mean = lines(1).iter().map(String::len).sum::<usize>() / 2_000;
        assert!((1_000..4_000).contains(&mean), "{mean}");
    }

    #[test]
    fn attacks_come_as_often_as_said() {
        let events = 3 * ATTACK_EVERY + 1;
        let lines: Vec<String> = Stream::new(7, 9).take(events as usize).collect();
        let starts = lines.iter().filter(|line| line.contains("mshta.exe") && line.contains("\"type\":[\"start\"]"));
        // The third has begun and not connected yet.
        assert_eq!(starts.count() as u64, 3 + Stream::attacks_in(events));
        assert_eq!(Stream::attacks_in(events), 2);
    }
}
