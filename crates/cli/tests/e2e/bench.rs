//! What the end-to-end tests share: a folder with rules and events, and the binary.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use tempfile::TempDir;

/// A folder with rules and events of the test's own making.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    /// An empty folder.
    pub fn new() -> Bench {
        Bench { folder: TempDir::new().expect("a temporary folder") }
    }

    /// A folder with the rules [`SEQUENCE`] and [`SINGLE`] in `rules/` and the events [`EVENTS`] in `events.ndjson`.
    pub fn filled() -> Bench {
        let bench = Bench::new();
        bench.file("rules/sequence.toml", SEQUENCE);
        bench.file("rules/single.toml", SINGLE);
        bench.file("events.ndjson", EVENTS);
        bench
    }

    /// Writes a file, with the folders it lies in.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        fs::write(&path, content).expect("a writable file");
        path
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The content of a file in the folder.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a readable file")
    }

    /// The binary, to be run in the folder without a terminal.
    pub fn eqlipse(&self, arguments: &[&str]) -> Command {
        let mut command = eqlipse();
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// What the binary writes to standard output, and its exit code.
    pub fn run(&self, arguments: &[&str]) -> (String, i32) {
        let (out, _, code) = self.run_all(arguments);
        (out, code)
    }

    /// What the binary writes to standard output and standard error, and its exit code.
    pub fn run_all(&self, arguments: &[&str]) -> (String, String, i32) {
        let output = self.eqlipse(arguments).output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (text(&output.stdout), text(&output.stderr), output.status.code().expect("an exit code"))
    }
}

/// The binary, in surroundings that do not change what it writes.
pub fn eqlipse() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("eqlipse"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("EQLIPSE_NO_CACHE", "1").write_stdin("");
    command
}

/// A sequence: a program starts and then reaches the network.
pub const SEQUENCE: &str = r#"
[metadata]
creation_date = "2024/03/01"
updated_date = "2024/03/01"
maturity = "production"

[rule]
rule_id = "6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d5e01"
name = "Courier Reaches the Network"
description = "The courier program starts and connects."
severity = "high"
risk_score = 73
type = "eql"
language = "eql"
author = ["Test"]
license = "Apache-2.0"
tags = ["Domain: Test", "Courier"]
index = ["logs-*"]
query = '''
sequence by process.entity_id with maxspan=1m
  [process where event.type == "start" and process.name : "courier*"]
  [network where destination.port == 4443]
'''

[[rule.threat]]
framework = "MITRE ATT&CK"
[rule.threat.tactic]
id = "TA0011"
name = "Command and Control"
reference = "https://attack.mitre.org/tactics/TA0011/"
[[rule.threat.technique]]
id = "T1571"
name = "Non-Standard Port"
reference = "https://attack.mitre.org/techniques/T1571/"
"#;

/// A single-event rule.
pub const SINGLE: &str = r#"
[metadata]
creation_date = "2024/03/01"
updated_date = "2024/03/01"
maturity = "production"

[rule]
rule_id = "6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d5e02"
name = "Shell by Courier"
description = "The courier program starts a shell."
severity = "low"
risk_score = 21
type = "eql"
language = "eql"
author = ["Test"]
license = "Apache-2.0"
index = ["logs-*"]
tags = ["Domain: Test"]
query = 'process where process.parent.name == "courier.exe"'

[[rule.threat]]
framework = "MITRE ATT&CK"
[rule.threat.tactic]
id = "TA0002"
name = "Execution"
reference = "https://attack.mitre.org/tactics/TA0002/"
"#;

/// Events: one sequence and one shell.
pub const EVENTS: &str = r#"{"@timestamp":"2024-03-01T12:00:00Z","event":{"category":"process","type":"start"},"host":{"name":"pc01"},"process":{"name":"courier.exe","entity_id":"e1","command_line":"courier.exe --go"}}
{"@timestamp":"2024-03-01T12:00:01Z","event":{"category":"process","type":"start"},"host":{"name":"pc01"},"process":{"name":"cmd.exe","entity_id":"e2","command_line":"cmd /c whoami","parent":{"name":"courier.exe"}}}
{"@timestamp":"2024-03-01T12:00:02.5Z","event":{"category":"network","type":"start"},"host":{"name":"pc01"},"process":{"name":"courier.exe","entity_id":"e1"},"destination":{"ip":"203.0.113.9","port":4443}}
"#;
