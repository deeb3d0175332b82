//! Windows events against Winlogbeat's published documents: what it ships and what Elastic's pipelines make of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use eqlipse_events::document::{Document, Value as Field};
use eqlipse_events::evtx::{CHUNK_SIZE, ChunkDecoder, EVENT_DATA, FILE_HEADER_SIZE, Pair, RawEvent, USER_DATA};
use eqlipse_events::winlog;
use eqlipse_testkit::corpus;
use serde_json::{Map, Value};

fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let modules = ["powershell", "security", "sysmon"].map(|module| folder.join(module));
    let mut files: Vec<PathBuf> = modules
        .iter()
        .flat_map(|module| fs::read_dir(module).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

fn sibling(path: &Path, from: &str, to: &str) -> PathBuf {
    PathBuf::from(path.to_string_lossy().replace(from, to))
}

fn read(path: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Why a field may differ.
fn reason(path: &str, expected: Option<&Value>, actual: Option<&Value>) -> Option<&'static str> {
    let says_nothing = |value: Option<&Value>| match value {
        Some(Value::String(text)) => matches!(text.as_str(), "" | "-" | "{00000000-0000-0000-0000-000000000000}"),
        Some(Value::Array(items)) => items.iter().all(|item| item == "-"),
        _ => false,
    };
    Some(match path {
        "ecs.version" => "the schema's version moves on",
        "event.ingested" => "the record's time stands for the time of arrival",
        "event.created" | "event.dataset" | "host.hostname" | "host.id" | "agent.type" => "added",
        _ if expected.is_none() && (path.starts_with("host.os.") || path.starts_with("data_stream.")) => "added",
        "winlog.api" if expected.is_none() => "the expected event came from the cloud",
        "winlog.time_created" => "an intermediate field, left behind in the expected document",
        "@timestamp" if same_millisecond(expected, actual) => "more digits than the pipeline keeps",
        "message" if actual.is_none() => "the text lies in the provider's message files",
        "event.action" if expected.is_none() => "later versions of the pipeline name the event",
        "process.args_count" if expected.is_none() => "later versions of the pipeline count the arguments",
        "@timestamp" if expected.is_none() => "the collected event has no time",
        "winlog.task" if expected.is_none() => "the provider's own text, unknown on the collecting host",
        _ if actual.is_none() && says_nothing(expected) => "a value that only says that there is none",
        _ => return DIFFERENCES.iter().find(|(known, _)| *known == path).map(|(_, reason)| *reason),
    })
}

/// Differences of single fields.
const DIFFERENCES: &[(&str, &str)] = &[
    ("winlog.event_data.AccessMask", "later versions of the pipeline put codes into words"),
    ("winlog.event_data.AccessMaskDescription", "the pipeline takes a message code's number for a mask"),
    ("dns.question.registered_domain", "the public suffix list moves on"),
    ("dns.question.top_level_domain", "the public suffix list moves on"),
    ("dns.question.subdomain", "the public suffix list moves on"),
];

fn same_millisecond(left: Option<&Value>, right: Option<&Value>) -> bool {
    millisecond(left).is_some() && millisecond(left) == millisecond(right)
}

fn millisecond(value: Option<&Value>) -> Option<&str> {
    value?.as_str()?.get(..23)
}

/// Dotted paths of everything that is not an object.
fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&path, member, out);
            }
        }
        _ => drop(out.insert(prefix.to_owned(), value.clone())),
    }
}

/// One value and a list of it are the same to Elasticsearch; so are the orders of a list's items.
fn comparable(value: &Value) -> Vec<String> {
    let items = match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    };
    let mut texts: Vec<String> = items.iter().map(|item| canonical(item)).collect();
    texts.sort();
    texts
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, String> =
                members.iter().map(|(name, member)| (name, canonical(member))).collect();
            format!("{sorted:?}")
        }
        // Trailing zeros of a fraction of a second.
        Value::String(text) if text.ends_with('Z') && text.get(19..20) == Some(".") => {
            text.trim_end_matches('Z').trim_end_matches('0').to_owned()
        }
        other => other.to_string(),
    }
}

#[derive(Default)]
struct Tally {
    documents: usize,
    fields: usize,
    allowed: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

impl Tally {
    fn compare(&mut self, name: &str, expected: &Value, document: &Document<'_>) {
        let mut out = Vec::new();
        document.write_json(&mut out);
        let actual: Value = serde_json::from_slice(&out).unwrap();
        let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
        flatten("", expected, &mut left);
        flatten("", &actual, &mut right);
        self.documents += 1;
        let paths: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for path in paths {
            self.fields += 1;
            let (expected, actual) = (left.get(path), right.get(path));
            if expected.map(comparable) == actual.map(comparable) {
                continue;
            }
            match reason(path, expected, actual) {
                Some(reason) => *self.allowed.entry(reason).or_default() += 1,
                None => self.differences.push(format!("{name}: {path}: expected {expected:?}, got {actual:?}")),
            }
        }
    }

    fn finish(self, what: &str) {
        let allowed: usize = self.allowed.values().sum();
        eprintln!(
            "{what}: {} documents, {} fields compared, {allowed} differences allowed:",
            self.documents, self.fields
        );
        for (reason, count) in &self.allowed {
            eprintln!("  {count:5} {reason}");
        }
        assert!(
            self.differences.is_empty(),
            "{} differences without a reason:\n{}",
            self.differences.len(),
            self.differences.join("\n")
        );
    }
}

#[test]
fn documents_from_event_logs() {
    let Some(folder) = corpus("Winlogbeat's documents", "conformance/winlogbeat") else { return };
    let mut tally = Tally::default();
    let mut decoder = ChunkDecoder::new();
    for path in files(&folder, ".evtx") {
        let expected = read(&sibling(&path, ".evtx", ".expected.json"));
        let mut expected_records: BTreeMap<String, &Value> = expected
            .iter()
            .map(|event| (event["winlog"]["record_id"].as_str().unwrap_or_default().to_owned(), event))
            .collect();
        let bytes = fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for (number, chunk) in bytes[FILE_HEADER_SIZE as usize..].chunks(CHUNK_SIZE as usize).enumerate() {
            decoder.decode(chunk, number as u64, |record| {
                let record = record.unwrap_or_else(|error| panic!("{name}: {error}"));
                if let Some(expected) = expected_records.remove(&record.event.record_id.to_string()) {
                    tally.compare(&name, expected, &winlog::normalise(&record.event));
                }
            });
        }
        assert!(expected_records.is_empty(), "{name}: records {:?} are missing", expected_records.keys());
    }
    tally.finish("from event logs");
}

#[test]
fn documents_from_collected_events() {
    let Some(folder) = corpus("Winlogbeat's documents", "conformance/winlogbeat") else { return };
    let mut tally = Tally::default();
    for path in files(&folder, ".collected.json") {
        let expected = read(&sibling(&path, ".collected.json", ".expected.json"));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let collected = read(&path);
        assert_eq!(collected.len(), expected.len());
        for (collected, expected) in collected.iter().zip(&expected) {
            let texts = Texts::of(collected);
            tally.compare(&name, expected, &winlog::normalise(&texts.event(collected)));
        }
    }
    tally.finish("from collected events");
}

/// Paths and values that the event borrows.
struct Texts {
    event_data: Vec<(String, String)>,
    user_data: Vec<(String, String)>,
}

impl Texts {
    fn of(collected: &Value) -> Self {
        let pairs = |name: &str, prefix: &str| {
            let members = collected["winlog"][name].as_object().cloned().unwrap_or_default();
            let members = members.into_iter().filter(|(name, _)| name != "xml_name");
            members.map(|(name, value)| (format!("{prefix}{name}"), plain(&value))).collect()
        };
        Self { event_data: pairs("event_data", EVENT_DATA), user_data: pairs("user_data", USER_DATA) }
    }

    fn event<'a>(&'a self, collected: &'a Value) -> RawEvent<'a> {
        let winlog = &collected["winlog"];
        let text = |value: &'a Value| value.as_str();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let pairs = |pairs: &'a [(String, String)], prefix: &str| {
            pairs.iter().map(|(path, value)| Pair::new(path, prefix, value)).collect()
        };
        let keywords: Vec<&str> =
            winlog["keywords"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let outcome = match collected["event"]["outcome"].as_str() {
            Some("failure") => 1 << 52,
            Some("success") => 1 << 53,
            _ => 0,
        };
        RawEvent {
            provider: text(&winlog["provider_name"]).unwrap_or_default(),
            provider_guid: text(&winlog["provider_guid"]),
            event_id: text(&winlog["event_id"]).and_then(|id| id.parse().ok()).unwrap_or_default(),
            version: number(&winlog["version"]) as u8,
            level: if collected["log"]["level"] == "verbose" { 5 } else { 4 },
            task: 0,
            opcode: None,
            keywords: outcome,
            time_created: time(collected),
            record_id: number(&winlog["record_id"]),
            activity_id: text(&winlog["activity_id"]),
            related_activity_id: text(&winlog["related_activity_id"]),
            process_id: number(&winlog["process"]["pid"]) as u32,
            thread_id: number(&winlog["process"]["thread"]["id"]) as u32,
            channel: text(&winlog["channel"]).unwrap_or_default(),
            computer: text(&winlog["computer_name"]).unwrap_or_default(),
            user_sid: text(&winlog["user"]["identifier"]),
            event_data: pairs(&self.event_data, EVENT_DATA),
            user_data_name: text(&winlog["user_data"]["xml_name"]),
            user_data: pairs(&self.user_data, USER_DATA),
            rendering: Some(eqlipse_events::evtx::Rendering {
                message: text(&collected["message"]),
                level: None,
                task: text(&winlog["task"]),
                opcode: text(&winlog["opcode"]),
                keywords,
            }),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn time(collected: &Value) -> i64 {
    let text = collected["@timestamp"].as_str().or(collected["winlog"]["time_created"].as_str()).unwrap_or_default();
    text.parse::<jiff::Timestamp>().map_or(0, |time| time.as_nanosecond() as i64)
}

#[test]
fn documents_read_back_as_they_were_written() {
    let mut document = Document::new();
    document.set("a.b", Field::strings(["x", "y"]));
    document.set("a.c", 1_u32);
    let mut out = Vec::new();
    document.write_json(&mut out);
    let back: Map<String, Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(back["a"]["b"][1], "y");
    assert_eq!(back["a"]["c"], 1);
}
