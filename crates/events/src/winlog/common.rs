//! What every event has, whatever its provider.

use std::borrow::Cow;

use crate::document::{Document, Value};
use crate::evtx::RawEvent;

use super::publishers;
use super::route::Route;
use super::text::is_nothing;
use super::time::Stamp;

/// The version of the schema that the fields follow.
const ECS_VERSION: &str = "8.17.0";

const AUDIT_FAILURE: u64 = 1 << 52;
const AUDIT_SUCCESS: u64 = 1 << 53;

/// Writes the fields, behind those of the provider, which may have set some of them in its own way.
pub fn write<'a>(raw: &RawEvent<'a>, route: Route, document: &mut Document<'a>) {
    let created = Stamp::new(raw.time_created).shortest();
    document.set_if_absent("@timestamp", created.clone());
    write_event(raw, route, created, document);
    write_shipper(raw, route, document);
    write_winlog(raw, document);
    write_user(raw, document);
    if let Some(message) = raw.rendering.as_ref().and_then(|rendering| rendering.message) {
        document.set_if_absent("message", message);
    }
}

fn write_event<'a>(raw: &RawEvent<'a>, route: Route, created: String, document: &mut Document<'a>) {
    document.push("event.kind", "event");
    document.push("event.code", raw.event_id.to_string());
    document.push("event.provider", raw.provider);
    document.push("event.module", route.module);
    document.push("event.dataset", route.dataset);
    // A run over files has no time of arrival of its own: the record's time keeps it repeatable.
    document.push("event.ingested", created.clone());
    document.push("event.created", created);
    if let Some(task) = publishers::task(raw) {
        document.set_if_absent("event.action", task);
        document.push("winlog.task", task);
    }
    let outcomes = [(AUDIT_FAILURE, "failure"), (AUDIT_SUCCESS, "success")];
    if let Some((_, outcome)) = outcomes.iter().find(|(bit, _)| raw.keywords & bit != 0) {
        document.set_if_absent("event.outcome", *outcome);
    }
    if let Some(level) = level(raw) {
        document.push("log.level", level);
    }
}

/// What shippers add on the host.
fn write_shipper<'a>(raw: &RawEvent<'a>, route: Route, document: &mut Document<'a>) {
    document.push("ecs.version", ECS_VERSION);
    document.push("agent.type", "winlogbeat");
    document.push("data_stream.type", "logs");
    document.push("data_stream.dataset", route.dataset);
    document.push("data_stream.namespace", "default");
    document.push("host.os.type", "windows");
    document.push("host.os.family", "windows");
    document.push("host.os.platform", "windows");
    if !raw.computer.is_empty() {
        document.push("host.name", raw.computer);
        document.push("host.hostname", raw.computer);
        document.push("host.id", raw.computer);
    }
}

fn write_winlog<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    document.push("winlog.api", "wineventlog");
    for (path, value) in [
        ("winlog.channel", Some(raw.channel)),
        ("winlog.computer_name", Some(raw.computer)),
        ("winlog.provider_name", Some(raw.provider)),
        ("winlog.provider_guid", raw.provider_guid),
        ("winlog.activity_id", raw.activity_id),
        ("winlog.related_activity_id", raw.related_activity_id),
        ("winlog.opcode", publishers::opcode(raw)),
    ] {
        if let Some(value) = value.filter(|value| !is_nothing(value)) {
            document.push(path, value);
        }
    }
    document.push("winlog.event_id", raw.event_id.to_string());
    document.push("winlog.record_id", raw.record_id.to_string());
    for (path, number) in [
        ("winlog.process.pid", raw.process_id),
        ("winlog.process.thread.id", raw.thread_id),
        ("winlog.version", u32::from(raw.version)),
    ] {
        if number != 0 {
            document.push(path, number);
        }
    }
    let keywords = publishers::keywords(raw);
    if !keywords.is_empty() {
        document.push("winlog.keywords", Value::strings(keywords));
    }
}

fn write_user<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let Some(sid) = raw.user_sid.filter(|sid| !is_nothing(sid)) else { return };
    document.push("winlog.user.identifier", sid);
    // Other accounts are known to their own host only.
    let name = match sid {
        "S-1-5-18" => "SYSTEM",
        "S-1-5-19" => "LOCAL SERVICE",
        "S-1-5-20" => "NETWORK SERVICE",
        _ => return,
    };
    document.push("winlog.user.name", name);
    document.push("winlog.user.domain", "NT AUTHORITY");
    document.push("winlog.user.type", "Well Known Group");
}

fn level<'a>(raw: &RawEvent<'a>) -> Option<Cow<'a, str>> {
    let rendered = raw.rendering.as_ref().and_then(|rendering| rendering.level);
    Some(Cow::Borrowed(match raw.level {
        0 | 4 => "information",
        1 => "critical",
        2 => "error",
        3 => "warning",
        5 => "verbose",
        // Levels of the provider's own.
        _ => return rendered.map(|level| Cow::Owned(level.to_lowercase())),
    }))
}
