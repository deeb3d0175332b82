//! Windows PowerShell: the classic channel and the operational one.

use std::borrow::Cow;

use crate::document::{Document, Value};
use crate::evtx::RawEvent;

use super::Name;
use super::data::{write_event_data, write_user_data};
use super::text::{PROCESS, is_nothing, number, set_command_line, set_file, split_account, split_arguments};

/// Lines of command details that are taken apart.
const MAX_DETAILS: usize = 4096;

/// Lines of the context that are read.
const MAX_CONTEXT: usize = 256;

/// What becomes of a named value of the context or the event data.
enum To {
    Text(&'static str),
    Number(&'static str),
    CommandLine,
    File,
    Account,
    ConnectedAccount,
    Nowhere,
}

/// Where the values of both channels go, by name without blanks.
#[rustfmt::skip]
fn target(name: &str) -> Option<To> {
    Some(match name {
        "CommandLine" => To::Text("powershell.command.value"),
        "CommandName" => To::Text("powershell.command.name"),
        "CommandPath" => To::Text("powershell.command.path"),
        "CommandType" => To::Text("powershell.command.type"),
        "ConnectedUser" => To::ConnectedAccount,
        "DetailSequence" => To::Number("powershell.sequence"),
        "DetailTotal" => To::Number("powershell.total"),
        "EngineVersion" => To::Text("powershell.engine.version"),
        "HostApplication" => To::CommandLine,
        "HostID" | "HostId" => To::Text("process.entity_id"),
        "HostName" => To::Text("process.title"),
        "HostVersion" => To::Text("powershell.process.executable_version"),
        "MessageNumber" => To::Number("powershell.sequence"),
        "MessageTotal" => To::Number("powershell.total"),
        "NewEngineState" => To::Text("powershell.engine.new_state"),
        "NewProviderState" => To::Text("powershell.provider.new_state"),
        "Path" | "ScriptName" => To::File,
        "PipelineID" | "PipelineId" => To::Text("powershell.pipeline_id"),
        "PreviousEngineState" => To::Text("powershell.engine.previous_state"),
        "ProviderName" => To::Text("powershell.provider.name"),
        "RunspaceID" | "RunspaceId" => To::Text("powershell.runspace_id"),
        "ScriptBlockId" => To::Text("powershell.file.script_block_id"),
        "ScriptBlockText" => To::Text("powershell.file.script_block_text"),
        "SequenceNumber" => To::Number("event.sequence"),
        "Severity" => To::Nowhere,
        "ShellID" => To::Text("powershell.id"),
        "User" | "UserId" => To::Account,
        _ => return None,
    })
}

/// Puts a value where the table says. Says whether the table knows it.
fn put<'a>(name: &str, value: &'a str, document: &mut Document<'a>) -> bool {
    let Some(to) = target(name) else { return false };
    match to {
        _ if is_nothing(value) => {}
        To::Text(path) => document.set(path, value),
        To::Number(path) => {
            if let Some(number) = number(value) {
                document.set(path, number);
            }
        }
        To::CommandLine => set_command_line(document, PROCESS, value, split_arguments),
        To::File => set_file(document, value),
        To::Account => set_account(value, ["user.domain", "user.name"], document),
        To::ConnectedAccount => set_account(value, ["source.user.domain", "source.user.name"], document),
        To::Nowhere => {}
    }
    true
}

fn set_account<'a>(account: &'a str, [domain_path, name_path]: [&'static str; 2], document: &mut Document<'a>) {
    if let Some((domain, name)) = split_account(account) {
        document.set(domain_path, domain);
        document.set(name_path, name);
        document.append("related.user", name);
    }
}

/// Writes the fields of an event of the classic channel.
pub fn write_classic<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let kind = match raw.event_id {
        400 => "start",
        403 => "end",
        _ => "info",
    };
    write_kind(kind, document);
    write_event_data(raw, document, |_, pair| matches!(pair.key, Name::param1 | Name::param2 | Name::param3));
    write_user_data(raw, document);
    let context = if raw.event_id == 800 { Name::param2 } else { Name::param3 };
    if let Some(context) = raw.data(context) {
        // Entries stand on lines of their own behind a tab; a value may hold line breaks.
        for entry in context.split("\n\t").take(MAX_CONTEXT) {
            write_entry(entry, document);
        }
    }
    if let Some(details) = raw.data(Name::param3).filter(|_| raw.event_id == 800) {
        write_details(details, document);
    }
}

/// Writes the fields of an event of the operational channel.
pub fn write_operational<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let kind = match raw.event_id {
        4105 => "start",
        4106 => "end",
        _ => "info",
    };
    write_kind(kind, document);
    if let Some(sid) = raw.user_sid.filter(|sid| !is_nothing(sid)) {
        document.push("user.id", sid);
    }
    write_event_data(raw, document, |document, pair| match pair.key {
        Name::ContextInfo | Name::Payload => raw.event_id == 4103 || pair.key == Name::Payload,
        _ => put(pair.path.rsplit('.').next().unwrap_or_default(), pair.value, document),
    });
    write_user_data(raw, document);
    if raw.event_id != 4103 {
        return;
    }
    if let Some(context) = raw.data(Name::ContextInfo) {
        for entry in context.lines().take(MAX_CONTEXT) {
            write_entry(entry, document);
        }
    }
    if let Some(payload) = raw.data(Name::Payload) {
        write_details(payload, document);
    }
    write_remote_user(document);
}

fn write_kind(kind: &'static str, document: &mut Document<'_>) {
    document.push("event.category", Value::strings(["process"]));
    document.push("event.type", Value::strings([kind]));
}

/// Writes `Name = value`; what no table knows stays in the event data.
fn write_entry<'a>(entry: &'a str, document: &mut Document<'a>) {
    let Some((name, value)) = entry.split_once('=') else { return };
    let (name, value) = (name.trim(), value.trim());
    let name: Cow<'a, str> = match name.contains(char::is_whitespace) {
        true => Cow::Owned(name.split_whitespace().collect()),
        false => Cow::Borrowed(name),
    };
    if name.is_empty() || put(&name, value, document) || is_nothing(value) {
        return;
    }
    document.set(format!("winlog.event_data.{name}"), value);
}

/// In a remote session the connected user acts, and the session's own user is the target.
fn write_remote_user(document: &mut Document<'_>) {
    if !document.contains("source.user.name") {
        return;
    }
    for (user, target, source) in [
        ("user.name", "destination.user.name", "source.user.name"),
        ("user.domain", "destination.user.domain", "source.user.domain"),
    ] {
        document.rename(user, target);
        if let Some(source) = document.get(source).cloned() {
            document.set(user, source);
        }
    }
}

fn write_details<'a>(details: &'a str, document: &mut Document<'a>) {
    let lines: Vec<Value<'a>> =
        details.split('\n').filter(|line| !line.is_empty()).take(MAX_DETAILS).map(detail).collect();
    if !lines.is_empty() {
        document.set("powershell.command.invocation_details", Value::List(lines));
    }
}

/// Takes `Type(Command): value` apart, and the `name=…; value=…` of a parameter binding.
fn detail(line: &str) -> Value<'_> {
    let object = |members: Vec<(&'static str, &str)>| {
        Value::Object(
            members.into_iter().map(|(name, value)| (name.into(), Value::Str(Cow::Owned(value.to_owned())))).collect(),
        )
    };
    let Some((kind, command, value)) = split_detail(line) else { return object(vec![("value", line)]) };
    let mut members = vec![("type", kind), ("related_command", command)];
    let binding = (kind == "ParameterBinding").then(|| split_binding(value)).flatten();
    match binding {
        Some((name, value)) => members.extend([("name", name), ("value", value)]),
        None => members.push(("value", value)),
    }
    members.retain(|(_, value)| !value.is_empty());
    object(members)
}

fn split_detail(line: &str) -> Option<(&str, &str, &str)> {
    let end = line.find("):")?;
    let (kind, command) = line[..end].split_once('(')?;
    let sound = !kind.is_empty() && !kind.contains(':') && !command.is_empty();
    sound.then(|| (kind, command, line[end + 2..].trim_start()))
}

fn split_binding(value: &str) -> Option<(&str, &str)> {
    let (_, rest) = value.split_once("name=")?;
    let (name, value) = rest.split_once(';')?;
    let value = value.trim_start().strip_prefix("value=")?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evtx::{EVENT_DATA, Pair};
    use crate::winlog::normalise;

    fn json(value: Value<'_>) -> String {
        let mut document = Document::new();
        document.set("x", value);
        let mut out = Vec::new();
        document.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn details() {
        for (line, expected) in [
            ("free text", r#"{"x":{"value":"free text"}}"#),
            (
                r#"CommandInvocation(Out-Default): "Out-Default""#,
                r#"{"x":{"type":"CommandInvocation","related_command":"Out-Default","value":"\"Out-Default\""}}"#,
            ),
            (
                r#"ParameterBinding(Add-Type): name="AssemblyName"; value="System.Core""#,
                r#"{"x":{"type":"ParameterBinding","related_command":"Add-Type","name":"\"AssemblyName\"","value":"\"System.Core\""}}"#,
            ),
        ] {
            assert_eq!(json(detail(line)), expected);
        }
    }

    #[test]
    fn script_blocks() {
        let raw = RawEvent {
            provider: "Microsoft-Windows-PowerShell",
            channel: "Microsoft-Windows-PowerShell/Operational",
            event_id: 4104,
            event_data: vec![
                Pair::new("winlog.event_data.MessageNumber", EVENT_DATA, "2"),
                Pair::new("winlog.event_data.ScriptBlockText", EVENT_DATA, "iex $x"),
                Pair::new("winlog.event_data.Path", EVENT_DATA, r"C:\x\y.ps1"),
            ],
            ..RawEvent::default()
        };
        let document = normalise(&raw);
        assert_eq!(document.text("powershell.file.script_block_text"), Some("iex $x"));
        assert_eq!(document.get("powershell.sequence"), Some(&Value::Int(2)));
        assert_eq!(document.text("file.name"), Some("y.ps1"));
        assert!(!document.iter().any(|(path, _)| path.starts_with("winlog.event_data")));
    }
}
