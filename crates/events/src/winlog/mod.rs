//! Windows events as Winlogbeat and Elastic's ingest pipelines give them.
//!
//! [`normalise`] writes what the provider's table says and then what every event has. One module a provider: a table
//! with one line per field, and small functions for what a table cannot say.

mod common;
mod community_id;
mod data;
mod domain;
#[rustfmt::skip]
mod lookups;
mod messages;
pub(crate) mod names;
mod powershell;
mod publishers;
mod route;
mod sddl;
mod security;
mod sysmon;
pub(crate) mod text;
pub(crate) mod time;

use xxhash_rust::xxh3::Xxh3Default;

pub use names::Name;
pub use route::{Route, index_names};
pub use text::MAX_COMMAND_LINE;

use crate::document::Document;
use crate::evtx::{Pair, RawEvent};
use route::Mapping;

/// The event as rules see it.
pub fn normalise<'a>(raw: &RawEvent<'a>) -> Document<'a> {
    let route = Route::of(raw.channel, raw.provider);
    let mut document = Document::with_capacity(raw.event_data.len() + 64);
    // The provider's fields come first: looking whether a path is taken costs as much as there are paths.
    match route.mapping {
        Mapping::Sysmon => sysmon::write(raw, &mut document),
        Mapping::Security => security::write(raw, &mut document),
        Mapping::PowerShell => powershell::write_classic(raw, &mut document),
        Mapping::PowerShellOperational => powershell::write_operational(raw, &mut document),
        Mapping::Plain => data::write_plain(raw, &mut document),
    }
    common::write(raw, route, &mut document);
    document
}

/// What makes a record this record and no other: computer, channel, record id, time and content. The same record read
/// from two files has one identity.
pub fn identity(raw: &RawEvent<'_>) -> u128 {
    let mut hash = Xxh3Default::new();
    let mut text = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    text(raw.computer);
    text(raw.channel);
    text(raw.provider);
    text(raw.user_sid.unwrap_or_default());
    text(raw.activity_id.unwrap_or_default());
    text(raw.user_data_name.unwrap_or_default());
    for Pair { path, value, .. } in raw.event_data.iter().chain(&raw.user_data) {
        text(path);
        text(value);
    }
    hash.update(&raw.record_id.to_le_bytes());
    hash.update(&raw.time_created.to_le_bytes());
    hash.update(&raw.event_id.to_le_bytes());
    hash.update(&raw.keywords.to_le_bytes());
    hash.update(&raw.process_id.to_le_bytes());
    hash.update(&raw.thread_id.to_le_bytes());
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>() -> RawEvent<'a> {
        RawEvent {
            provider: "Service Control Manager",
            channel: "System",
            computer: "host",
            event_id: 7045,
            record_id: 7,
            level: 4,
            event_data: vec![Pair::new("winlog.event_data.ServiceName", crate::evtx::EVENT_DATA, "evil")],
            ..RawEvent::default()
        }
    }

    #[test]
    fn identity_tells_records_apart() {
        let base = identity(&event());
        assert_eq!(base, identity(&event()));
        let mut other = event();
        other.record_id = 8;
        assert_ne!(base, identity(&other));
        let mut other = event();
        other.event_data[0].value = "good";
        assert_ne!(base, identity(&other));
        let mut other = event();
        other.computer = "host2";
        assert_ne!(base, identity(&other));
    }

    #[test]
    fn every_event_has_the_common_fields() {
        let raw = event();
        let document = normalise(&raw);
        for (path, value) in [
            ("event.code", "7045"),
            ("event.provider", "Service Control Manager"),
            ("event.dataset", "system.system"),
            ("data_stream.dataset", "system.system"),
            ("data_stream.type", "logs"),
            ("data_stream.namespace", "default"),
            ("host.os.type", "windows"),
            ("host.name", "host"),
            ("host.id", "host"),
            ("log.level", "information"),
            ("winlog.event_id", "7045"),
            ("winlog.record_id", "7"),
            ("winlog.event_data.ServiceName", "evil"),
            ("@timestamp", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(document.text(path), Some(value), "{path}");
        }
    }
}
