//! `--format json` and `--format ndjson`: results in the shape of Elasticsearch's `_eql/search`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use eqlipse_alerts::{MatchKind, MatchedEvent};
use eqlipse_hunt::{Counting, QueryResult, QueryRun, ResultCount};
use serde::Serialize;
use serde_json::{Value, json};

use super::columns::Fields;
use crate::field::Document;
use crate::format::json::write_value;

/// An event; a missing one has empty parts.
#[derive(Serialize)]
struct Hit<'a> {
    _index: &'a str,
    _id: &'a str,
    _source: &'a Document,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<String, Vec<Cow<'a, Value>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<bool>,
    #[serde(flatten)]
    count: Option<Count<'a>>,
}

/// What a counting pipe says.
#[derive(Serialize)]
struct Count<'a> {
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    key: &'a [Value],
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
}

/// A sequence or sample.
#[derive(Serialize)]
struct Group<'a> {
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    join_keys: &'a [Value],
    events: Vec<Hit<'a>>,
    #[serde(flatten)]
    count: Option<Count<'a>>,
}

/// One object: the whole response, one result a line.
pub fn write_response(out: &mut dyn Write, run: &mut QueryRun<'_>, fields: &Fields, took: u128) -> io::Result<()> {
    let kind = run.report().kind;
    let total = json!({"value": run.report().total, "relation": "eq"});
    let name = if kind == MatchKind::Event { "events" } else { "sequences" };
    write!(out, r#"{{"is_partial":false,"is_running":false,"took":{took},"timed_out":false,"#)?;
    write!(out, r#""hits":{{"total":{total},"{name}":["#)?;
    let counts = run.report().counting == Counting::Instead;
    if counts {
        // They are no hits: a reader of hits finds none.
        out.write_all(br#"]},"counts":["#)?;
    }
    let mut separator: &[u8] = b"\n";
    for result in run.results() {
        out.write_all(separator)?;
        write_result(out, kind, &result.map_err(io::Error::other)?, fields)?;
        separator = b",\n";
    }
    out.write_all(if counts { b"]}\n" } else { b"]}}\n" })
}

/// One result a line.
pub fn write_lines(out: &mut dyn Write, run: &mut QueryRun<'_>, fields: &Fields) -> io::Result<()> {
    let kind = run.report().kind;
    for result in run.results() {
        write_result(out, kind, &result.map_err(io::Error::other)?, fields)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn write_result(out: &mut dyn Write, kind: MatchKind, result: &QueryResult, fields: &Fields) -> io::Result<()> {
    let count = || {
        result.count.as_ref().map(|ResultCount { count, percent, key }| Count { key, count: *count, percent: *percent })
    };
    if result.events.is_empty() {
        return write_value(out, &count());
    }
    let nothing = Document::new();
    let mut events: Vec<Hit<'_>> = result.events.iter().map(|event| hit(event.as_ref(), &nothing, fields)).collect();
    match (kind, events.pop()) {
        (MatchKind::Event, Some(event)) => write_value(out, &Hit { count: count(), ..event }),
        (_, last) => {
            events.extend(last);
            write_value(out, &Group { join_keys: &result.join_keys, events, count: count() })
        }
    }
}

fn hit<'a>(event: Option<&'a MatchedEvent>, nothing: &'a Document, fields: &Fields) -> Hit<'a> {
    match event {
        None => Hit { _index: "", _id: "", _source: nothing, fields: None, missing: Some(true), count: None },
        Some(event) => Hit {
            _index: event.index.as_deref().unwrap_or_default(),
            _id: &event.id,
            _source: &event.source,
            fields: (!fields.is_empty()).then(|| fields.of(event)),
            missing: None,
            count: None,
        },
    }
}
