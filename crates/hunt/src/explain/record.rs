//! What the spool holds of an event: which clauses it passed, its indices, its document.

use eqlipse_batch::OrderKey;
use eqlipse_events::{Discovery, INDEX_FIELD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::clauses::Planned;
use super::model::{ClauseKind, ClauseState, EventInfo};
use super::{Describe, ExplainError};
use crate::spool::Spool;

/// The most values of one field that are shown for an event.
pub const MAX_VALUES: usize = 20;

/// A document as decoders give it back.
#[derive(Deserialize)]
pub(super) struct Hit {
    #[serde(rename = "_id")]
    pub id: Option<String>,
    #[serde(rename = "_source")]
    pub source: Map<String, Value>,
}

#[derive(Deserialize)]
struct Head {
    held: String,
    index: Vec<String>,
}

/// An event from the spool.
pub(super) struct Record {
    /// By clause id.
    held: Vec<bool>,
    index: Vec<String>,
    hit: Hit,
}

/// Appends what stands before the document.
pub(super) fn write_head(held: &[bool], index: &[String], out: &mut Vec<u8>) {
    let held: String = held.iter().map(|held| if *held { '1' } else { '0' }).collect();
    out.extend(serde_json::json!({ "held": held, "index": index }).to_string().into_bytes());
    out.push(b'\n');
}

impl Record {
    pub(super) fn read(spool: &mut Spool, offset: u64) -> Result<Self, ExplainError> {
        let bytes = spool.get(offset).map_err(ExplainError::Spool)?;
        // JSON text has no line break of its own.
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (head, document) = bytes.split_at(end);
        let head: Head = serde_json::from_slice(head).map_err(ExplainError::Document)?;
        let hit = serde_json::from_slice(document).map_err(ExplainError::Document)?;
        Ok(Self { held: head.held.bytes().map(|byte| byte == b'1').collect(), index: head.index, hit })
    }

    /// Whether the event passed a clause.
    pub(super) fn holds(&self, clause: &Planned) -> bool {
        self.held.get(clause.id).copied().unwrap_or_default()
    }

    /// The event, short.
    pub(super) fn info(&self, order: OrderKey, inputs: &Discovery, describe: Describe<'_>) -> EventInfo {
        let source = inputs.sources.get(order.arrival.source as usize);
        EventInfo {
            time: order.time.and_then(iso),
            origin: source.map(|source| source.name.clone()),
            index: self.index.clone(),
            id: self.hit.id.clone(),
            summary: describe(&self.hit.source),
        }
    }

    /// What a clause made of the event, down to the operands that decided.
    pub(super) fn state(&self, clause: &Planned) -> ClauseState {
        let held = self.holds(clause);
        let (patterns, operands): (Vec<&Planned>, Vec<&Planned>) =
            clause.children.iter().partition(|child| child.kind == ClauseKind::Pattern);
        let matched = patterns.into_iter().filter(|pattern| self.holds(pattern));
        let matched = matched.map(|pattern| pattern.text.clone()).collect();
        // An operand decided if it says what the whole says. What is negated has to be shown only where it holds.
        let decisive = |child: &&Planned| match clause.kind {
            ClauseKind::Not => !held,
            _ => self.holds(child) == held,
        };
        let because: Vec<ClauseState> = operands.into_iter().filter(decisive).map(|child| self.state(child)).collect();
        let fields = if because.is_empty() { &clause.fields[..] } else { &[] };
        let values = fields.iter().map(|field| (field.clone(), self.values(field))).collect();
        ClauseState { clause: clause.id, kind: clause.kind, text: clause.text.clone(), held, values, matched, because }
    }

    fn values(&self, field: &str) -> Vec<Value> {
        if field == INDEX_FIELD {
            return self.index.iter().map(|name| name.as_str().into()).collect();
        }
        let mut values = Vec::new();
        values_at(&self.hit.source, field, &mut values);
        values
    }
}

/// All scalars at a dotted path, through nested objects, dotted names and arrays; nulls are no values.
fn values_at(object: &Map<String, Value>, path: &str, values: &mut Vec<Value>) {
    if let Some(value) = object.get(path) {
        add_scalars(value, values);
    }
    for (dot, _) in path.match_indices('.') {
        if let Some(value) = object.get(&path[..dot]) {
            below(value, &path[dot + 1..], values);
        }
    }
}

fn below(value: &Value, path: &str, values: &mut Vec<Value>) {
    match value {
        Value::Object(inner) => values_at(inner, path, values),
        Value::Array(items) => items.iter().for_each(|item| below(item, path, values)),
        _ => {}
    }
}

fn add_scalars(value: &Value, values: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| add_scalars(item, values)),
        Value::Null | Value::Object(_) => {}
        scalar if values.len() < MAX_VALUES => values.push(scalar.clone()),
        _ => {}
    }
}

/// A time as alerts write it.
pub(super) fn iso(nanos: i64) -> Option<String> {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok().map(|time| format!("{time:.3}"))
}
