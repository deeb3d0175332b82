//! Event data and user data as they are.

use crate::document::{Document, Value};
use crate::evtx::{Pair, RawEvent};

use super::text::is_nothing;

/// Writes what says something of the event data, except what `taken` takes over.
pub fn write_event_data<'a>(
    raw: &RawEvent<'a>,
    document: &mut Document<'a>,
    mut taken: impl FnMut(&mut Document<'a>, &Pair<'a>) -> bool,
) {
    for pair in &raw.event_data {
        if !is_nothing(pair.value) && !taken(document, pair) {
            // Names of one event are unique, and nothing else writes below this prefix before.
            document.push(pair.path, Value::from(pair.value));
        }
    }
}

/// Writes the user data, with the name of the element that holds it.
pub fn write_user_data<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    for pair in &raw.user_data {
        if !is_nothing(pair.value) {
            document.push(pair.path, Value::from(pair.value));
        }
    }
    if let Some(name) = raw.user_data_name.filter(|_| !raw.user_data.is_empty()) {
        document.set("winlog.user_data.xml_name", name);
    }
}

/// Writes the data of an event whose provider has no table.
pub fn write_plain<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    write_event_data(raw, document, |_, _| false);
    write_user_data(raw, document);
    // Service Control Manager names services in these two.
    if raw.provider == "Service Control Manager" {
        write_service(raw, document);
    }
}

fn write_service<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    if let Some(name) = raw.data(super::Name::ServiceName).filter(|name| !is_nothing(name)) {
        document.set("service.name", name);
    }
}
