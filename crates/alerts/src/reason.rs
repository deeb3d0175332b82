//! The sentence that sums an alert up.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::fields;
use crate::overrides::Rating;

/// Most values of one field the sentence names.
const MAX_VALUES: usize = 10;

/// Builds the sentence from the fields of one event, or of all events of a sequence.
pub(crate) fn reason<'a>(sources: impl Iterator<Item = &'a Map<String, Value>> + Clone, rating: &Rating) -> String {
    let join = |field: &str| join(sources.clone(), field);
    let first = |names: [&str; 2]| join(names[0]).or_else(|| join(names[1]));

    let details = [
        join("process.name").map(|name| format!(" process {name},")),
        join("process.parent.name").map(|name| format!(" parent process {name},")),
        join("file.name").map(|name| format!(" file {name},")),
        address("source", first(["source.ip", "source.address"]), join("source.port")),
        address("destination", first(["destination.ip", "destination.address"]), join("destination.port")),
    ];
    let details: String = details.into_iter().flatten().collect();

    let mut text = join("event.category").map(|category| format!("{category} ")).unwrap_or_default();
    text.push_str("event");
    if !details.is_empty() {
        text.push_str(" with");
        text.push_str(&details);
    }
    if let Some(user) = join("user.name") {
        text.push_str(&format!(" by {user}"));
    }
    if let Some(host) = join("host.name") {
        text.push_str(&format!(" on {host}"));
    }
    text.push_str(&format!(" created {} alert {}.", rating.severity, rating.name));
    text
}

/// Kibana sets the comma behind the port, so an address alone has none.
fn address(side: &str, address: Option<String>, port: Option<String>) -> Option<String> {
    match (address, port) {
        (Some(address), Some(port)) => Some(format!(" {side} {address}:{port},")),
        (Some(address), None) => Some(format!(" {side} {address}")),
        (None, _) => None,
    }
}

/// The distinct values of a field over all sources.
fn join<'a>(sources: impl Iterator<Item = &'a Map<String, Value>>, field: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let distinct = sources.flat_map(|source| fields::texts(source, field)).filter(|text| seen.insert(text.clone()));
    let mut values = Vec::new();
    let mut more = 0;
    for text in distinct {
        if values.len() < MAX_VALUES { values.push(text) } else { more += 1 }
    }
    if more > 0 {
        values.push(format!("{more} more"));
    }
    (!values.is_empty()).then(|| values.join(", "))
}
