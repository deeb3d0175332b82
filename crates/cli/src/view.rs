//! What a reader sees of an alert, the same in every format for people.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use eqlipse_alerts::{Alert, MatchedEvent};
use eqlipse_eql::ast::{Body, Dialect, JoinKey, PipeKind, Span};
use eqlipse_rules::{Rule, Severity};
use serde_json::Value;

use crate::field::{Document, text};
use crate::happening::{Happening, happening};

/// An alert, taken apart for showing. Texts are as they came: each format makes them inert in its own way.
#[derive(Debug)]
pub struct AlertView<'a> {
    /// The alert's id.
    pub id: &'a str,
    /// Its rule.
    pub rule: &'a Arc<Rule>,
    /// The rule's name, or what an override put in its place.
    pub name: &'a str,
    /// Severity of the alert.
    pub severity: Severity,
    /// Risk score of the alert.
    pub risk_score: f64,
    /// When it happened: the last event's time, nanoseconds since 1970.
    pub time: Option<i64>,
    /// The host it happened on.
    pub host: Option<&'a str>,
    /// The user it is about.
    pub user: Option<String>,
    /// Its events in order, those that were asked to be absent too.
    pub events: Vec<EventView<'a>>,
    /// Join keys of a sequence or sample: field and value.
    pub keys: Vec<(String, String)>,
}

/// An event of an alert.
#[derive(Debug)]
pub struct EventView<'a> {
    /// The time that orders it, nanoseconds since 1970.
    pub time: Option<i64>,
    /// What it is about; of an absent event, what was asked for.
    pub happening: Happening,
    /// The event; none if it had to be absent.
    pub source: Option<&'a Document>,
    /// The index it belongs to.
    pub index: Option<&'a str>,
    /// The input it was read from.
    pub origin: Option<&'a str>,
    /// The record's number in its log, where it has one.
    pub record: Option<String>,
}

impl AlertView<'_> {
    /// The views of alerts.
    pub fn of_all(alerts: &[Alert]) -> Vec<AlertView<'_>> {
        let mut shapes: HashMap<*const Rule, Shape> = HashMap::new();
        let view = |alert| {
            let shape = shapes.entry(Arc::as_ptr(alert_rule(alert))).or_insert_with(|| Shape::of(alert_rule(alert)));
            AlertView::new(alert, shape)
        };
        alerts.iter().map(view).collect()
    }

    /// Where its events were read from: each input once, with the numbers of the records.
    pub fn origins(&self) -> Vec<String> {
        let mut origins: Vec<(&str, Vec<&str>)> = Vec::new();
        for event in &self.events {
            let Some(origin) = event.origin else { continue };
            let at = origins.iter().position(|(known, _)| *known == origin).unwrap_or_else(|| {
                origins.push((origin, Vec::new()));
                origins.len() - 1
            });
            origins[at].1.extend(event.record.as_deref());
        }
        let text = |(origin, records): (&str, Vec<&str>)| match records.as_slice() {
            [] => origin.to_owned(),
            [record] => format!("{origin} record {record}"),
            records => format!("{origin} records {}", records.join(", ")),
        };
        origins.into_iter().map(text).collect()
    }

    /// Time from the first to the last event in nanoseconds.
    pub fn span(&self) -> i64 {
        let times = || self.events.iter().filter_map(|event| event.time);
        match (times().min(), times().max()) {
            (Some(first), Some(last)) => last.saturating_sub(first),
            _ => 0,
        }
    }
}

fn alert_rule(alert: &Alert) -> &Arc<Rule> {
    &alert.rule
}

impl<'a> AlertView<'a> {
    fn new(alert: &'a Alert, shape: &Shape) -> AlertView<'a> {
        let values = alert.join_keys.iter().map(key_text);
        let events = alert.events.iter().enumerate().map(|(at, event)| match event {
            Some(event) => EventView::new(event),
            None => EventView::absent(shape.items.get(at).map_or("", String::as_str)),
        });
        AlertView {
            id: &alert.id,
            rule: &alert.rule,
            name: &alert.name,
            severity: alert.severity,
            risk_score: alert.risk_score,
            time: alert.time_ns,
            host: alert.host.as_deref(),
            user: alert.events.iter().flatten().find_map(|event| user(&event.source)),
            events: events.collect(),
            keys: shape.keys.iter().cloned().chain(std::iter::repeat("key".to_owned())).zip(values).collect(),
        }
    }
}

impl<'a> EventView<'a> {
    fn new(event: &'a MatchedEvent) -> EventView<'a> {
        EventView {
            time: event.time_ns,
            happening: happening(&event.source),
            source: Some(&event.source),
            index: event.index.as_deref(),
            origin: event.origin.as_deref(),
            record: text(&event.source, "winlog.record_id").map(Cow::into_owned),
        }
    }

    fn absent(item: &str) -> EventView<'a> {
        let happening = Happening { category: "absent".to_owned(), line: item.to_owned() };
        EventView { time: None, happening, source: None, index: None, origin: None, record: None }
    }

    /// The input it was read from and the record in it.
    pub fn place(&self) -> Option<String> {
        let origin = self.origin?;
        Some(match &self.record {
            Some(record) => format!("{origin} record {record}"),
            None => origin.to_owned(),
        })
    }

    /// The process that did it, or what was done.
    pub fn actor(&self) -> Option<String> {
        let names = ["process.name", "process.executable", "event.action"];
        crate::field::first(self.source?, &names).map(|name| name.into_owned())
    }
}

fn user(event: &Document) -> Option<String> {
    let name = text(event, "user.name")?;
    Some(match text(event, "user.domain") {
        Some(domain) => format!("{domain}\\{name}"),
        None => name.into_owned(),
    })
}

/// A join key's value as text.
pub fn key_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a query says about what it finds.
#[derive(Debug, Default)]
pub struct Shape {
    /// The fields of each join key.
    pub keys: Vec<String>,
    /// The text of each item, runs written out.
    pub items: Vec<String>,
    /// What the last `count` pipe counts by, as it is written.
    pub counted: Vec<String>,
}

impl Shape {
    fn of(rule: &Rule) -> Shape {
        rule.eql().map(|eql| Shape::of_query(&eql.query)).unwrap_or_default()
    }

    /// What a query says about its results.
    pub fn of_query(query: &str) -> Shape {
        let Ok(parsed) = eqlipse_eql::parse_with(query, Dialect::Extended) else { return Shape::default() };
        let counted = parsed.pipes.iter().rev().find_map(|pipe| match &pipe.kind {
            PipeKind::Count(keys) => Some(keys.iter().map(ToString::to_string).collect()),
            _ => None,
        });
        let counted: Vec<String> = counted.unwrap_or_default();
        match &parsed.body {
            Body::Event(_) => Shape { counted, ..Shape::default() },
            Body::Sequence(sequence) => Shape {
                keys: key_names(sequence.items.iter().map(|item| item.keys.as_slice())),
                items: sequence
                    .items
                    .iter()
                    .flat_map(|item| (0..item.runs).map(|_| item_text(query, item.span)))
                    .collect(),
                counted,
            },
            Body::Sample(sample) => {
                let keys = key_names(sample.items.iter().map(|item| item.keys.as_slice()));
                Shape { keys, ..Shape::default() }
            }
        }
    }
}

/// One name for each key: the field, or the fields where the items use different ones.
fn key_names<'a>(items: impl Iterator<Item = &'a [JoinKey]>) -> Vec<String> {
    let mut names: Vec<Vec<&str>> = Vec::new();
    for keys in items {
        names.resize(names.len().max(keys.len()), Vec::new());
        for (fields, key) in names.iter_mut().zip(keys) {
            if !fields.contains(&key.name.as_str()) {
                fields.push(&key.name);
            }
        }
    }
    names.into_iter().map(|fields| fields.join(" = ")).collect()
}

/// The item as written, on one line.
fn item_text(query: &str, span: Span) -> String {
    let text = query.get(span.start as usize..span.end as usize).unwrap_or("");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
