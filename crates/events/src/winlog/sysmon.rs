//! Sysmon.

use std::borrow::Cow;

use crate::document::{Document, Value};
use crate::evtx::{Pair, RawEvent};

use super::Name;
use super::data::{write_event_data, write_user_data};
use super::lookups::{DNS_RECORD_TYPES, DNS_STATUS};
use super::text::{
    PARENT, PROCESS, address, file_name, is_nothing, lookup, number, set_command_line, set_file, split_account,
    split_arguments,
};
use super::time::sysmon_time;

/// Hashes of one event that are read.
const MAX_HASHES: usize = 16;

/// Answers of one DNS query that are read.
const MAX_ANSWERS: usize = 256;

/// An event's place in the schema.
struct Kind {
    category: &'static [&'static str],
    kind: &'static [&'static str],
    action: &'static str,
    /// The field that the file's or process's hashes go below.
    hashes: Option<&'static Hashes>,
}

/// Fields below which hashes go.
struct Hashes {
    hash: &'static str,
    imphash: &'static str,
}

const OF_PROCESS: Option<&Hashes> = Some(&Hashes { hash: "process.hash", imphash: "process.pe.imphash" });
const OF_FILE: Option<&Hashes> = Some(&Hashes { hash: "file.hash", imphash: "file.pe.imphash" });

const PROCESS_CATEGORY: &[&str] = &["process"];
const FILE: &[&str] = &["file"];
const NETWORK: &[&str] = &["network"];
const REGISTRY: &[&str] = &["configuration", "registry"];

#[rustfmt::skip]
fn kind(event_id: u32) -> Option<Kind> {
    let (category, kind, action, hashes): (&[_], &[_], _, _) = match event_id {
        1 => (PROCESS_CATEGORY, &["start"], "Process creation", OF_PROCESS),
        2 => (FILE, &["change"], "A process changed a file creation time", None),
        3 => (NETWORK, &["start", "connection", "protocol"], "Network connection", None),
        4 => (PROCESS_CATEGORY, &["change"], "Sysmon service state changed", None),
        5 => (PROCESS_CATEGORY, &["end"], "Process terminated", None),
        6 => (&["driver"], &["start"], "Driver loaded", OF_FILE),
        7 => (PROCESS_CATEGORY, &["change"], "Image loaded", OF_FILE),
        8 => (PROCESS_CATEGORY, &["change"], "CreateRemoteThread", None),
        9 => (PROCESS_CATEGORY, &["access"], "RawAccessRead", None),
        10 => (PROCESS_CATEGORY, &["access"], "ProcessAccess", None),
        11 => (FILE, &["creation"], "FileCreate", None),
        12 => (REGISTRY, &["change"], "RegistryEvent (Object create and delete)", None),
        13 => (REGISTRY, &["change"], "RegistryEvent (Value Set)", None),
        14 => (REGISTRY, &["change"], "RegistryEvent (Key and Value Rename)", None),
        15 => (FILE, &["access"], "FileCreateStreamHash", OF_FILE),
        16 => (&["configuration"], &["change"], "ServiceConfigurationChange", None),
        17 => (FILE, &["creation"], "PipeEvent (Pipe Created)", None),
        18 => (FILE, &["access"], "PipeEvent (Pipe Connected)", None),
        19 => (PROCESS_CATEGORY, &["info"], "WmiEvent (WmiEventFilter activity detected)", None),
        20 => (PROCESS_CATEGORY, &["change"], "WmiEvent (WmiEventConsumer activity detected)", None),
        21 => (PROCESS_CATEGORY, &["access"], "WmiEvent (WmiEventConsumerToFilter activity detected)", None),
        22 => (NETWORK, &["connection", "protocol", "info"], "DNSEvent (DNS query)", None),
        23 => (FILE, &["deletion"], "FileDelete (File Delete archived)", OF_PROCESS),
        24 => (&[], &["change"], "ClipboardChange (New content in the clipboard)", OF_PROCESS),
        25 => (PROCESS_CATEGORY, &["change"], "ProcessTampering (Process image change)", OF_PROCESS),
        26 => (FILE, &["deletion"], "FileDeleteDetected (File Delete logged)", OF_PROCESS),
        27 => (FILE, &["creation"], "FileBlockExecutable", OF_FILE),
        28 => (FILE, &["deletion"], "FileBlockShredding", OF_FILE),
        29 => (FILE, &["creation"], "FileExecutableDetected", OF_FILE),
        255 => (PROCESS_CATEGORY, &[], "Error", None),
        _ => return None,
    };
    Some(Kind { category, kind, action, hashes })
}

/// What becomes of a field of the event data.
enum To {
    /// It moves there, if nothing is there yet.
    Move(&'static str),
    /// It stays and is copied there.
    Copy(&'static str),
    /// It moves there as a number.
    Number(&'static str),
    /// It moves there as an address.
    Address(&'static str),
    /// It moves there as a truth value.
    Bool(&'static str),
    /// It moves there as a path with its parts.
    File,
    /// It is renamed inside the event data.
    Rename(&'static str),
    /// A function of its own reads it, and it is taken out.
    Own,
}

#[rustfmt::skip]
fn target(name: Name, event_id: u32) -> Option<To> {
    let is_image_load = event_id == 7;
    Some(match name {
        Name::Archived => To::Bool("sysmon.file.archived"),
        Name::CommandLine => To::Own,
        Name::Company => To::Copy(if is_image_load { "file.pe.company" } else { "process.pe.company" }),
        Name::CurrentDirectory => To::Move("process.working_directory"),
        Name::Description => To::Copy(if is_image_load { "file.pe.description" } else { "process.pe.description" }),
        Name::Destination => To::Move("process.executable"),
        Name::DestinationHostname => To::Move("destination.domain"),
        Name::DestinationIp => To::Address("destination.ip"),
        Name::DestinationIsIpv6 => To::Own,
        Name::DestinationPort => To::Number("destination.port"),
        Name::DestinationPortName => To::Own,
        Name::Details if is_registry(event_id) => To::Own,
        Name::Device => To::File,
        Name::FileVersion => To::Copy(if is_image_load { "file.pe.file_version" } else { "process.pe.file_version" }),
        Name::Hash | Name::Hashes => To::Own,
        Name::ID if event_id == 255 => To::Move("error.code"),
        Name::Image => To::Move("process.executable"),
        Name::ImageLoaded => To::File,
        Name::Initiated => To::Own,
        Name::IsExecutable => To::Bool("sysmon.file.is_executable"),
        Name::OriginalFileName => To::Move(if is_image_load { "file.pe.original_file_name" } else { "process.pe.original_file_name" }),
        Name::ParentCommandLine => To::Own,
        Name::ParentImage => To::Move("process.parent.executable"),
        Name::ParentProcessGuid => To::Move("process.parent.entity_id"),
        Name::ParentProcessId => To::Number("process.parent.pid"),
        Name::PipeName => To::Move("file.name"),
        Name::ProcessGuid => To::Move("process.entity_id"),
        Name::ProcessId => To::Number("process.pid"),
        Name::Product => To::Copy(if is_image_load { "file.pe.product" } else { "process.pe.product" }),
        Name::Protocol => To::Move("network.transport"),
        Name::QueryName => To::Move("dns.question.name"),
        Name::QueryResults | Name::QueryStatus => To::Own,
        Name::RuleName => To::Move("rule.name"),
        Name::Signature => To::Copy("file.code_signature.subject_name"),
        Name::SignatureStatus => To::Copy("file.code_signature.status"),
        Name::SourceHostname => To::Move("source.domain"),
        Name::SourceImage => To::Move("process.executable"),
        Name::SourceIp => To::Address("source.ip"),
        Name::SourceIsIpv6 => To::Own,
        Name::SourcePort => To::Number("source.port"),
        Name::SourcePortName => To::Own,
        Name::SourceProcessGUID | Name::SourceProcessGuid => To::Move("process.entity_id"),
        Name::SourceProcessId => To::Number("process.pid"),
        Name::SourceThreadId => To::Number("process.thread.id"),
        Name::TargetFilename => To::File,
        Name::TargetObject if is_registry(event_id) => To::Own,
        Name::TargetProcessGuid => To::Rename("winlog.event_data.TargetProcessGUID"),
        Name::Type if event_id == 25 => To::Move("message"),
        Name::User => To::Own,
        Name::UtcTime => To::Own,
        _ => return None,
    })
}

fn is_registry(event_id: u32) -> bool {
    matches!(event_id, 12..=14)
}

/// Writes the fields.
pub fn write<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let kind = kind(raw.event_id);
    if let Some(kind) = &kind {
        write_kind(raw.event_id, kind, document);
    }
    write_event_data(raw, document, |document, pair| take(raw.event_id, document, pair));
    write_user_data(raw, document);
    let data = |name: Name| raw.data(name).filter(|value| !is_nothing(value));

    if let Some(time) = data(Name::UtcTime).and_then(sysmon_time) {
        document.set("@timestamp", time);
    }
    if let Some(hashes) = data(Name::Hash).or(data(Name::Hashes)) {
        write_hashes(hashes, kind.and_then(|kind| kind.hashes), document);
    }
    for (name, fields) in [(Name::CommandLine, PROCESS), (Name::ParentCommandLine, PARENT)] {
        if let Some(line) = data(name) {
            set_command_line(document, fields, line, split_arguments);
        }
    }
    write_process_names(raw, document);
    write_signature(raw, document);
    match raw.event_id {
        3 => write_network(raw, document),
        12..=14 => write_registry(raw, document),
        22 => write_dns(raw, document),
        _ => {}
    }
    write_user(raw, document);
    write_related(document);
}

fn write_kind(event_id: u32, kind: &Kind, document: &mut Document<'_>) {
    document.set("event.action", kind.action);
    for (path, values) in [("event.category", kind.category), ("event.type", kind.kind)] {
        if !values.is_empty() {
            document.push(path, Value::strings(values.iter().copied()));
        }
    }
    if matches!(event_id, 27 | 255) {
        document.set("event.outcome", "failure");
    }
}

/// Puts a field of the event data where the table says. Says whether it is out of the event data then.
fn take<'a>(event_id: u32, document: &mut Document<'a>, pair: &Pair<'a>) -> bool {
    let Some(to) = target(pair.key, event_id) else { return false };
    let value = pair.value;
    match to {
        To::Move(path) => return document.set_if_absent(path, value),
        To::Copy(path) => {
            document.set(path, value);
            return false;
        }
        To::Number(path) => {
            if let Some(number) = number(value) {
                document.set(path, number);
            }
        }
        To::Address(path) => {
            if let Some(address) = address(value) {
                document.set(path, address);
            }
        }
        To::Bool(path) => {
            if let Some(truth) = truth(value) {
                document.set(path, truth);
            }
        }
        To::File => set_file(document, value),
        To::Rename(path) => document.set(path, value),
        To::Own => {}
    }
    true
}

fn truth(value: &str) -> Option<bool> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn write_hashes<'a>(hashes: &'a str, fields: Option<&Hashes>, document: &mut Document<'a>) {
    for (name, value) in hashes.split(',').filter_map(|hash| hash.split_once('=')).take(MAX_HASHES) {
        if value.bytes().all(|digit| digit == b'0') {
            continue;
        }
        let value: Cow<'a, str> = match value.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(value.to_ascii_lowercase()),
            false => Cow::Borrowed(value),
        };
        if let Some(path) = fields.and_then(|fields| hash_path(fields, name)) {
            document.set(path, value.clone());
        }
        document.append("related.hash", value);
    }
}

fn hash_path(fields: &Hashes, name: &str) -> Option<Cow<'static, str>> {
    let of_process = std::ptr::eq(fields.hash, "process.hash") || fields.hash.starts_with("process");
    let pick = |process: &'static str, file: &'static str| Some(Cow::Borrowed(if of_process { process } else { file }));
    match name {
        "MD5" => pick("process.hash.md5", "file.hash.md5"),
        "SHA1" => pick("process.hash.sha1", "file.hash.sha1"),
        "SHA256" => pick("process.hash.sha256", "file.hash.sha256"),
        "IMPHASH" => Some(Cow::Borrowed(fields.imphash)),
        _ if name.is_empty() || name.len() > 16 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => None,
        _ => Some(Cow::Owned(format!("{}.{}", fields.hash, name.to_ascii_lowercase()))),
    }
}

fn write_process_names<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let image = [Name::Image, Name::SourceImage, Name::Destination];
    for (path, names) in [("process.name", &image[..]), ("process.parent.name", &[Name::ParentImage])] {
        let path_of = names.iter().find_map(|name| raw.data(*name));
        if let Some(name) = path_of.and_then(file_name).filter(|name| !name.is_empty()) {
            document.set(path, name);
        }
    }
}

fn write_signature<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    if raw.data(Name::Signed) == Some("true") {
        document.set("file.code_signature.signed", true);
    }
    if raw.data(Name::SignatureStatus) == Some("Valid") {
        document.set("file.code_signature.valid", true);
    }
}

fn write_network<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let data = |name: Name| raw.data(name).filter(|value| !is_nothing(value));
    if let Some(protocol) = data(Name::DestinationPortName).or(data(Name::SourcePortName)) {
        document.set("network.protocol", protocol);
    }
    match data(Name::Initiated) {
        Some("true") => document.set("network.direction", "egress"),
        Some("false") => document.set("network.direction", "ingress"),
        _ => {}
    }
    match data(Name::SourceIsIpv6) {
        Some("true") => document.set("network.type", "ipv6"),
        Some("false") => document.set("network.type", "ipv4"),
        _ => {}
    }
    if let Some(id) = super::community_id::of(document) {
        document.set("network.community_id", id);
    }
}

fn write_registry<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let Some(path) = raw.data(Name::TargetObject).filter(|path| !is_nothing(path)) else { return };
    document.push("registry.path", path);
    let (root, key) = path.split_once('\\').map_or((path, None), |(root, key)| (root, Some(key)));
    if let Some(hive) = hive(root) {
        document.push("registry.hive", hive);
        if let Some(key) = key {
            document.push("registry.key", key);
        }
    }
    document.push("registry.value", file_name(path).unwrap_or(path));
    if let Some(details) = raw.data(Name::Details).filter(|details| !details.is_empty()) {
        let (kind, text) = registry_data(details);
        document.push("registry.data.type", kind);
        document.push("registry.data.strings", Value::List(vec![Value::Str(text)]));
    }
}

fn hive(root: &str) -> Option<&'static str> {
    Some(match root {
        "HKCR" | "HKEY_CLASSES_ROOT" => "HKCR",
        "HKCC" | "HKEY_CURRENT_CONFIG" => "HKCC",
        "HKCU" | "HKEY_CURRENT_USER" => "HKCU",
        "HKDD" | "HKEY_DYN_DATA" => "HKDD",
        "HKLM" | "HKEY_LOCAL_MACHINE" => "HKLM",
        "HKPD" | "HKEY_PERFORMANCE_DATA" => "HKPD",
        "HKU" | "HKEY_USERS" => "HKU",
        _ => return None,
    })
}

/// The type and text of a registry value as Sysmon writes it: `DWORD (0x00000001)`, `QWORD (0x…-0x…)`, `Binary Data` or
/// the text itself.
fn registry_data(details: &str) -> (&'static str, Cow<'_, str>) {
    let inside = |kind: &str| {
        let rest =
            details.get(..kind.len()).filter(|head| head.eq_ignore_ascii_case(kind)).map(|_| &details[kind.len()..]);
        rest.and_then(|rest| rest.strip_prefix(" (")?.strip_suffix(')'))
    };
    let word = |text: &str| u32::from_str_radix(text.strip_prefix("0x").filter(|digits| digits.len() == 8)?, 16).ok();
    let halves = inside("QWORD").and_then(|words| words.split_once('-'));
    if let Some((high, low)) = halves.and_then(|(high, low)| Some((word(high)?, word(low)?))) {
        return ("SZ_QWORD", Cow::Owned((u64::from(high) << 32 | u64::from(low)).to_string()));
    }
    if let Some(value) = inside("DWORD").and_then(word) {
        return ("SZ_DWORD", Cow::Owned(value.to_string()));
    }
    let kind = if details == "Binary Data" { "REG_BINARY" } else { "REG_SZ" };
    (kind, Cow::Borrowed(details))
}

fn write_dns<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    document.set("network.protocol", "dns");
    if let Some(status) = raw.data(Name::QueryStatus) {
        let text = status.parse().ok().and_then(|status: u32| lookup(DNS_STATUS, status)).unwrap_or(status);
        document.push("sysmon.dns.status", text);
    }
    let question = raw.data(Name::QueryName).filter(|name| !is_nothing(name));
    if let Some(name) = question {
        super::domain::write_question(name, document);
    }
    if let Some(results) = raw.data(Name::QueryResults).filter(|results| !is_nothing(results)) {
        write_answers(results, document);
    }
    if let Some(name) = question {
        document.append("related.hosts", name);
    }
}

fn write_answers<'a>(results: &'a str, document: &mut Document<'a>) {
    let answer = |kind: Option<&'static str>, data: Option<Cow<'a, str>>| {
        let mut members = Vec::with_capacity(2);
        members.extend(kind.map(|kind| ("type".into(), Value::from(kind))));
        members.extend(data.map(|data| ("data".into(), Value::Str(data))));
        Value::Object(members)
    };
    let (mut answers, mut addresses) = (Vec::new(), Vec::new());
    for result in results.split(';').filter(|result| !result.is_empty()).take(MAX_ANSWERS) {
        match result.strip_prefix("type:") {
            Some(record) => {
                let mut words = record.split_ascii_whitespace();
                let kind = words.next().and_then(|kind| lookup(DNS_RECORD_TYPES, kind.parse().ok()?));
                let data = words.next();
                answers.push(answer(kind, data.map(Cow::Borrowed)));
                if let Some(host) = data {
                    document.append("related.hosts", host);
                }
            }
            None => addresses.extend(address(result)),
        }
    }
    for address in &addresses {
        let kind = if address.contains(':') { "AAAA" } else { "A" };
        answers.push(answer(Some(kind), Some(address.clone())));
        document.append("related.ip", address.clone());
    }
    if !answers.is_empty() {
        document.push("dns.answers", Value::List(answers));
    }
    if !addresses.is_empty() {
        document.push("dns.resolved_ip", Value::strings(addresses));
    }
}

fn write_user<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    if let Some(sid) = raw.user_sid.filter(|sid| !is_nothing(sid)) {
        document.push("user.id", sid);
    }
    if let Some((domain, name)) = raw.data(Name::User).and_then(split_account) {
        document.push("user.domain", domain);
        document.push("user.name", name);
        document.append("related.user", name);
    }
}

fn write_related(document: &mut Document<'_>) {
    for path in ["source.ip", "destination.ip"] {
        if let Some(ip) = document.text(path).map(str::to_owned) {
            document.append("related.ip", ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evtx::EVENT_DATA;
    use crate::winlog::normalise;

    fn event<'a>(event_id: u32, data: &[(&'a str, &'a str)]) -> RawEvent<'a> {
        RawEvent {
            provider: "Microsoft-Windows-Sysmon",
            channel: "Microsoft-Windows-Sysmon/Operational",
            computer: "host",
            event_id,
            event_data: data.iter().map(|(path, value)| Pair::new(path, EVENT_DATA, value)).collect(),
            ..RawEvent::default()
        }
    }

    #[test]
    fn registry_values() {
        assert_eq!(registry_data("DWORD (0x0000000a)"), ("SZ_DWORD", "10".into()));
        assert_eq!(registry_data("QWORD (0x00000001-0x00000002)"), ("SZ_QWORD", "4294967298".into()));
        assert_eq!(registry_data("Binary Data"), ("REG_BINARY", "Binary Data".into()));
        assert_eq!(registry_data("DWORD (x)"), ("REG_SZ", "DWORD (x)".into()));
        assert_eq!(registry_data("größe"), ("REG_SZ", "größe".into()));
    }

    #[test]
    fn registry_paths() {
        let raw = event(
            13,
            &[
                ("winlog.event_data.TargetObject", r"HKLM\System\Run\x"),
                ("winlog.event_data.Details", "DWORD (0x00000001)"),
                ("winlog.event_data.UtcTime", "2020-01-02 03:04:05.678"),
                ("winlog.event_data.RuleName", "-"),
            ],
        );
        let document = normalise(&raw);
        assert_eq!(document.text("registry.hive"), Some("HKLM"));
        assert_eq!(document.text("registry.key"), Some(r"System\Run\x"));
        assert_eq!(document.text("registry.value"), Some("x"));
        assert_eq!(document.text("@timestamp"), Some("2020-01-02T03:04:05.678Z"));
        assert!(!document.iter().any(|(path, _)| path.starts_with("winlog.event_data") || path.starts_with("rule")));
    }

    #[test]
    fn image_loads_are_about_the_file() {
        let raw = event(
            7,
            &[
                ("winlog.event_data.Image", r"C:\a\p.exe"),
                ("winlog.event_data.ImageLoaded", r"C:\b\q.dll"),
                ("winlog.event_data.Hashes", "SHA1=AB,IMPHASH=0000,MD5=CD"),
                ("winlog.event_data.Signed", "true"),
                ("winlog.event_data.OriginalFileName", "q0.dll"),
                ("winlog.event_data.SignatureStatus", "Valid"),
            ],
        );
        let document = normalise(&raw);
        assert_eq!(document.text("process.name"), Some("p.exe"));
        assert_eq!(document.text("file.name"), Some("q.dll"));
        assert_eq!(document.text("file.extension"), Some("dll"));
        assert_eq!(document.text("file.hash.sha1"), Some("ab"));
        assert_eq!(document.text("file.pe.original_file_name"), Some("q0.dll"));
        assert_eq!(document.get("file.code_signature.signed"), Some(&Value::Bool(true)));
        assert!(!document.contains("file.pe.imphash"));
    }

    #[test]
    fn access_between_processes() {
        let raw = event(
            10,
            &[
                ("winlog.event_data.SourceProcessGUID", "{1}"),
                ("winlog.event_data.SourceProcessId", "12"),
                ("winlog.event_data.SourceImage", r"C:\a\p.exe"),
                ("winlog.event_data.TargetProcessGUID", "{2}"),
                ("winlog.event_data.GrantedAccess", "0x1000"),
            ],
        );
        let document = normalise(&raw);
        assert_eq!(document.text("process.entity_id"), Some("{1}"));
        assert_eq!(document.get("process.pid"), Some(&Value::Int(12)));
        assert_eq!(document.text("process.name"), Some("p.exe"));
        assert_eq!(document.text("winlog.event_data.TargetProcessGUID"), Some("{2}"));
        assert_eq!(document.text("event.action"), Some("ProcessAccess"));
    }
}
