//! What an event is about, in one line.

use std::borrow::Cow;

use crate::field::{Document, first, get, has, text, texts};

/// What an event is about: its category and one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// The category that chose the fields, such as `process`; `event` where there is none.
    pub category: String,
    /// The line; not yet inert.
    pub line: String,
}

type Describe = fn(&Document) -> Option<String>;

/// Which fields tell most, by category; the first whose fields are there wins.
const DESCRIBE: [(&str, Describe); 15] = [
    ("process", powershell),
    ("dns", dns),
    ("registry", registry),
    ("network", network),
    ("library", library),
    ("driver", library),
    ("file", file),
    ("authentication", logon),
    ("session", logon),
    ("iam", service),
    ("iam", account),
    ("process", process),
    ("configuration", service),
    ("configuration", account),
    ("intrusion_detection", message),
];

/// What `event` is about.
pub fn happening(event: &Document) -> Happening {
    let categories = texts(event, "event.category");
    let described = DESCRIBE
        .iter()
        .filter(|(category, _)| match *category {
            "dns" => get(event, "dns.question.name").is_some(),
            category => categories.iter().any(|own| own == category),
        })
        .find_map(|(category, describe)| Some(Happening { category: (*category).to_owned(), line: describe(event)? }));
    described.unwrap_or_else(|| Happening {
        category: categories.first().map_or_else(|| "event".to_owned(), |category| category.to_string()),
        line: anything(event),
    })
}

fn process(event: &Document) -> Option<String> {
    let name = actor(event)?;
    let ended = has(event, "event.type", "end") && !has(event, "event.type", "start");
    let command = first(event, &["process.command_line", "process.executable"]);
    let mut line = match command {
        Some(command) if !ended && names(&command, &name) => command.into_owned(),
        Some(command) if !ended => format!("{name}: {command}"),
        _ => name.into_owned(),
    };
    if ended {
        line.push_str(" ended");
    }
    if let Some(target) = first(event, &["Target.process.name", "winlog.event_data.TargetImage"]) {
        line.push_str(&format!(" → {target}"));
    }
    if let Some(parent) = first(event, &["process.parent.name", "process.parent.executable"]) {
        line.push_str(&format!(" (by {parent})"));
    }
    Some(line)
}

/// Whether the command begins with the program of that name, so that the name need not be said twice.
fn names(command: &str, name: &str) -> bool {
    let command = command.trim_start_matches(['"', ' ']);
    let program = command.split(['"', ' ']).next().unwrap_or("");
    let program = program.rsplit(['\\', '/']).next().unwrap_or("").to_lowercase();
    let name = name.to_lowercase();
    program == name || name.strip_suffix(".exe") == Some(&program)
}

/// A script block, or a command with its parameters.
fn powershell(event: &Document) -> Option<String> {
    if let Some(script) = text(event, "powershell.file.script_block_text") {
        return Some(format!("PowerShell script: {script}"));
    }
    let details = get(event, "powershell.command.invocation_details")?.as_array()?;
    let mut line = String::from("PowerShell command:");
    for detail in details.iter().filter_map(|detail| detail.as_object()) {
        if text(detail, "type").is_some_and(|kind| kind == "CommandInvocation") {
            line.push_str(&format!(" {}", text(detail, "related_command").unwrap_or_default()));
        } else if let Some(value) = text(detail, "value") {
            let name = text(detail, "name").unwrap_or_default();
            line.push_str(&format!(" {}={}", name.trim_matches('"'), value.trim_matches('"')));
        }
    }
    Some(line)
}

/// A service that was installed or changed.
fn service(event: &Document) -> Option<String> {
    let path = first(event, &["winlog.event_data.ImagePath", "winlog.event_data.ServiceFileName"])?;
    let name = first(event, &["service.name", "winlog.event_data.ServiceName"]).unwrap_or_default();
    let user = text(event, "user.name").map(|user| format!(" (by {user})")).unwrap_or_default();
    Some(format!("service {name}: {path}{user}"))
}

fn network(event: &Document) -> Option<String> {
    let target = endpoint(event, "destination")?;
    let mut line = match (actor(event), endpoint(event, "source")) {
        (Some(name), Some(source)) if has(event, "network.direction", "ingress") => {
            format!("{name} {source} → {target}")
        }
        (Some(name), _) => format!("{name} → {target}"),
        (None, Some(source)) => format!("{source} → {target}"),
        (None, None) => format!("→ {target}"),
    };
    if let Some(protocol) = first(event, &["network.protocol", "network.transport"]) {
        line.push_str(&format!(" {protocol}"));
    }
    Some(line)
}

/// `10.0.0.1:443 (host.example)` of the source or destination.
fn endpoint(event: &Document, side: &str) -> Option<String> {
    let of = |name: &str| text(event, &format!("{side}.{name}"));
    let domain = of("domain");
    let address = of("ip").or_else(|| of("address")).or_else(|| domain.clone())?;
    let port = of("port").map(|port| format!(":{port}")).unwrap_or_default();
    let address = if address.contains(':') { Cow::Owned(format!("[{address}]")) } else { address };
    let domain = domain.filter(|domain| *domain != address).map(|domain| format!(" ({domain})")).unwrap_or_default();
    Some(format!("{address}{port}{domain}"))
}

fn dns(event: &Document) -> Option<String> {
    let question = text(event, "dns.question.name")?;
    let kind = text(event, "dns.question.type").map(|kind| format!("{kind} ")).unwrap_or_default();
    let answers = texts(event, "dns.resolved_ip");
    let answers = if answers.is_empty() { String::new() } else { format!(" = {}", answers.join(", ")) };
    Some(format!("{}{kind}{question}{answers}", by(event, " asks ")))
}

fn file(event: &Document) -> Option<String> {
    let path = first(event, &["file.path", "file.name", "file.target_path"])?;
    let action = action(event, &["creation", "deletion", "change", "access", "rename", "overwrite"]);
    let before = first(event, &["file.Ext.original.path", "file.origin_path"]);
    let before = before.map(|before| format!("{before} → ")).unwrap_or_default();
    Some(format!("{}{action}{before}{path}", by(event, " ")))
}

fn registry(event: &Document) -> Option<String> {
    let path = first(event, &["registry.path", "registry.key"])?;
    let action = action(event, &["creation", "deletion", "change", "access"]);
    let data = texts(event, "registry.data.strings");
    let data = if data.is_empty() { String::new() } else { format!(" = {}", data.join(", ")) };
    Some(format!("{}{action}{path}{data}", by(event, " ")))
}

fn library(event: &Document) -> Option<String> {
    let path = first(event, &["dll.path", "dll.name", "file.path", "driver.path"])?;
    let unsigned = text(event, "dll.code_signature.exists").is_some_and(|exists| exists == "false");
    let unsigned = if unsigned { " (unsigned)" } else { "" };
    Some(format!("{}loads {path}{unsigned}", by(event, " ")))
}

fn logon(event: &Document) -> Option<String> {
    let user = first(event, &["user.name", "user.effective.name", "winlog.event_data.TargetUserName"])?;
    let domain = text(event, "user.domain").map(|domain| format!("{domain}\\")).unwrap_or_default();
    let what = first(event, &["event.action", "winlog.event_data.LogonType"]).unwrap_or(Cow::Borrowed("logon"));
    let kind = text(event, "winlog.logon.type").map(|kind| format!(" ({kind})")).unwrap_or_default();
    let origin = first(event, &["source.ip", "source.address", "source.domain"]);
    let origin = origin.map(|origin| format!(" from {origin}")).unwrap_or_default();
    let outcome = text(event, "event.outcome").filter(|outcome| outcome == "failure");
    let outcome = outcome.map(|_| ": failed").unwrap_or_default();
    Some(format!("{what} {domain}{user}{kind}{origin}{outcome}"))
}

fn account(event: &Document) -> Option<String> {
    let what = text(event, "event.action").filter(|action| action != "None")?;
    let target = first(event, &["user.target.name", "group.name", "service.name", "winlog.event_data.TaskName"]);
    let target = target.map(|target| format!(" {target}")).unwrap_or_default();
    let user = text(event, "user.name").map(|user| format!(" (by {user})")).unwrap_or_default();
    Some(format!("{what}{target}{user}"))
}

fn message(event: &Document) -> Option<String> {
    let message = text(event, "message")?;
    let line = message.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.to_owned())
}

/// For events of no category, or of one whose usual fields are not there.
fn anything(event: &Document) -> String {
    let by_shape = || [network, file, registry, library].iter().find_map(|describe| describe(event));
    let action = || account(event).or_else(|| text(event, "event.code").map(|code| format!("event {code}")));
    powershell(event)
        .or_else(|| service(event))
        .or_else(|| text(event, "process.command_line").and_then(|_| process(event)))
        .or_else(by_shape)
        .or_else(|| message(event))
        .or_else(action)
        .or_else(|| process(event))
        .unwrap_or_else(|| "no summary: see the fields".to_owned())
}

/// The process that did it.
fn actor(event: &Document) -> Option<Cow<'_, str>> {
    first(event, &["process.name", "process.executable", "process.title"])
}

/// The process that did it, with `joint` behind it, or nothing.
fn by(event: &Document, joint: &str) -> String {
    actor(event).map(|name| format!("{name}{joint}")).unwrap_or_default()
}

/// The `event.type` that says what was done, as a word with a space behind it.
fn action(event: &Document, types: &[&str]) -> &'static str {
    let found = types.iter().find(|kind| has(event, "event.type", kind) || has(event, "event.action", kind));
    match found.copied() {
        Some("creation") => "creates ",
        Some("deletion") => "deletes ",
        Some("change" | "overwrite") => "changes ",
        Some("access") => "reads ",
        Some("rename") => "renames ",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn line(event: Value) -> String {
        let happening = happening(&event.as_object().cloned().unwrap_or_default());
        format!("{}: {}", happening.category, happening.line)
    }

    #[test]
    fn by_category() {
        assert_eq!(
            line(json!({"event": {"category": ["process"], "type": ["start"]}, "process": {"name": "mshta.exe",
                "command_line": "mshta http://x", "parent": {"name": "explorer.exe"}}})),
            "process: mshta http://x (by explorer.exe)"
        );
        assert_eq!(
            line(
                json!({"event.category": "process", "process.name": "a.exe", "process.command_line": "\"C:\\x\\A.exe\" 1"})
            ),
            "process: \"C:\\x\\A.exe\" 1"
        );
        assert_eq!(
            line(json!({"event.category": "process", "event.type": "end", "process.name": "a.exe"})),
            "process: a.exe ended"
        );
        assert_eq!(
            line(json!({"event.category": "network", "process.name": "a.exe", "destination.ip": "10.0.0.1",
                "destination.port": 443, "destination.domain": "c2.example", "network.transport": "tcp"})),
            "network: a.exe → 10.0.0.1:443 (c2.example) tcp"
        );
        assert_eq!(
            line(json!({"event.category": "network", "destination.ip": "fe80::1", "destination.port": 443})),
            "network: → [fe80::1]:443"
        );
        assert_eq!(
            line(json!({"event.category": "network", "dns": {"question": {"name": "a.example", "type": "A"},
                "resolved_ip": ["1.2.3.4", "5.6.7.8"]}})),
            "dns: A a.example = 1.2.3.4, 5.6.7.8"
        );
        assert_eq!(
            line(json!({"event.category": "file", "event.type": "creation", "process.name": "a.exe",
                "file.path": "C:\\x"})),
            "file: a.exe creates C:\\x"
        );
        assert_eq!(
            line(json!({"event.category": ["configuration", "registry"], "event.type": ["change"],
                "registry.path": "HKLM\\Run\\x", "registry.data.strings": ["evil.exe"]})),
            "registry: changes HKLM\\Run\\x = evil.exe"
        );
        assert_eq!(
            line(json!({"event.category": "library", "process.name": "a.exe", "dll.path": "C:\\x.dll",
                "dll.code_signature.exists": false})),
            "library: a.exe loads C:\\x.dll (unsigned)"
        );
        assert_eq!(
            line(json!({"event.category": "authentication", "event.action": "logon-failed", "user.name": "bob",
                "source.ip": "1.2.3.4", "event.outcome": "failure"})),
            "authentication: logon-failed bob from 1.2.3.4: failed"
        );
    }

    #[test]
    fn windows_of_its_own() {
        assert_eq!(
            line(json!({"event.category": "process", "process.title": "ConsoleHost", "powershell": {"command": {
                "invocation_details": [{"type": "CommandInvocation", "related_command": "Invoke-Expression"},
                {"type": "ParameterBinding", "name": "\"Command\"", "value": "\"irm x\""}]}}})),
            "process: PowerShell command: Invoke-Expression Command=irm x"
        );
        assert_eq!(
            line(json!({"event.action": "None", "service.name": "Sync", "winlog.event_data.ImagePath": "C:\\x.exe"})),
            "event: service Sync: C:\\x.exe"
        );
        assert_eq!(
            line(json!({"event.category": "process", "process.name": "reg.exe", "process.command_line": "reg  save"})),
            "process: reg  save"
        );
    }

    #[test]
    fn without_the_usual_fields() {
        assert_eq!(line(json!({"event.category": "network", "message": "\n hello\nmore"})), "network: hello");
        assert_eq!(line(json!({"event": {"code": "42"}})), "event: event 42");
        assert_eq!(line(json!({})), "event: no summary: see the fields");
        assert_eq!(line(json!(null)), "event: no summary: see the fields");
        assert_eq!(line(json!({"event.category": 7, "process": [], "message": {}})), "7: no summary: see the fields");
    }
}
