//! The JSON of alerts.

use std::borrow::Cow;

use eqlipse_rules::Rule;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::alert::{Alert, BuildOptions, Clock, MatchKind, MatchedEvent};
use crate::overrides::{Rating, score_json};
use crate::{fields, reason, time};

/// Top-level keys of a source that would clash with those of alerts.
const DROPPED: [&str; 3] = ["kibana", "signal", "threshold_result"];

/// Rule fields that are not parameters of the rule type, and so not in `kibana.alert.rule.parameters`.
const NOT_PARAMETERS: [&str; 13] = [
    "id",
    "name",
    "tags",
    "enabled",
    "interval",
    "actions",
    "throttle",
    "revision",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "execution_summary",
];

/// What an alert descends from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ancestor {
    id: String,
    index: String,
    is_alert: bool,
    depth: u64,
    rule: Option<String>,
}

impl Ancestor {
    /// What ids are made of.
    pub fn pair(&self) -> (&str, &str) {
        (&self.id, &self.index)
    }

    fn json(&self) -> Value {
        let kind = if self.is_alert { "signal" } else { "event" };
        let mut value = json!({"id": self.id, "type": kind, "index": self.index, "depth": self.depth});
        if let Some(rule) = &self.rule {
            value["rule"] = json!(rule);
        }
        value
    }

    /// An ancestor as an alert's document lists it.
    fn of_json(value: &Value) -> Option<Ancestor> {
        let text = |field: &str| Some(value.get(field)?.as_str()?.to_owned());
        Some(Ancestor {
            id: text("id")?,
            index: text("index").unwrap_or_default(),
            is_alert: value.get("type").and_then(Value::as_str) == Some("signal"),
            depth: value.get("depth").and_then(Value::as_u64).unwrap_or(0),
            rule: text("rule"),
        })
    }
}

/// The id that alerts know the rule by: the saved object's where there is one, so that the alerts of an exported rule
/// bear the ids Kibana gave them.
pub(crate) fn rule_uuid(rule: &Rule) -> &str {
    rule.saved_object_id.as_deref().unwrap_or(rule.id())
}

/// The ancestors of an alert on this event: those of the event, if it is an alert itself, and the event.
pub(crate) fn ancestors(event: &MatchedEvent) -> Vec<Ancestor> {
    let own = |field: &str| fields::whole(&event.source, field);
    let rule = own("kibana.alert.rule.uuid").and_then(Value::as_str).map(str::to_owned);
    let mut ancestors: Vec<Ancestor> = match own("kibana.alert.ancestors") {
        Some(Value::Array(items)) => items.iter().filter_map(Ancestor::of_json).collect(),
        _ => Vec::new(),
    };
    let depth = own("kibana.alert.depth").and_then(Value::as_u64);
    ancestors.push(Ancestor {
        id: event.id.clone(),
        index: event.index.clone().unwrap_or_default(),
        is_alert: rule.is_some(),
        depth: depth.unwrap_or(u64::from(rule.is_some())),
        rule,
    });
    ancestors
}

/// What a document of an alert says beyond its rule's fields: all that comes before [`Alert::rule_fields`]. Borrows what
/// it takes over from an event.
#[derive(Clone, Debug)]
pub struct OwnFields<'a> {
    /// The event, or what the events of a sequence have in common.
    source: Cow<'a, Map<String, Value>>,
    /// What the alert adds; none of it is in what is taken over of the source.
    added: Map<String, Value>,
}

impl<'a> OwnFields<'a> {
    fn new(source: Cow<'a, Map<String, Value>>, alert: &Alert, parts: &Parts<'_>) -> OwnFields<'a> {
        let mut added = originals(&source);
        parts.write(alert, &mut added);
        OwnFields { source, added }
    }
}

impl Serialize for OwnFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.source.iter().filter(|(key, _)| is_taken_over(key)) {
            match value {
                Value::Object(event) if key == "event" => map.serialize_entry(key, &WithoutKind(event))?,
                value => map.serialize_entry(key, value)?,
            }
        }
        map.serialize_entry("event.kind", "signal")?;
        self.added.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// Whether an alert takes a top-level key of its source over, and does not keep it for itself.
fn is_taken_over(key: &str) -> bool {
    key != "@timestamp" && key != "event.kind" && !DROPPED.iter().any(|name| fields::is_under(key, name))
}

/// An event's `event` without `kind`, which is `signal` in an alert.
struct WithoutKind<'a>(&'a Map<String, Value>);

impl Serialize for WithoutKind<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(key, _)| *key != "kind"))
    }
}

/// The documents of an alert, without its rule's fields: that of its event, or the shell of a sequence or sample and
/// then its building blocks.
pub(crate) fn own_fields(alert: &Alert) -> Vec<OwnFields<'_>> {
    match alert.kind {
        MatchKind::Event => vec![single(alert)],
        MatchKind::Sequence | MatchKind::Sample => std::iter::once(shell(alert)).chain(blocks(alert)).collect(),
    }
}

/// A document with all of its fields.
pub(crate) fn whole(own: &OwnFields<'_>, rule: &Map<String, Value>) -> Value {
    // It is a map with text keys, which always has a JSON form.
    let mut document = serde_json::to_value(own).unwrap_or_default();
    if let Value::Object(document) = &mut document {
        document.extend(rule.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    document
}

fn single(alert: &Alert) -> OwnFields<'_> {
    let missing = MatchedEvent::default();
    let event = alert.events.iter().flatten().next();
    let source = event.map_or_else(Cow::default, |event| Cow::Borrowed(&*event.source));
    let event = event.unwrap_or(&missing);
    let parts = Parts {
        id: &alert.id,
        severity: alert.severity.as_str(),
        risk_score: alert.risk_score,
        name: &alert.name,
        reason: &alert.reason,
        ancestors: ancestors(event),
        time: alert_time(alert, Some(event)),
        original_time: original_time(event),
        building_block_type: alert.rule.building_block_type.as_deref(),
        group: None,
    };
    OwnFields::new(source, alert, &parts)
}

/// The building blocks of a sequence or sample.
fn blocks(alert: &Alert) -> impl Iterator<Item = OwnFields<'_>> {
    let present = alert.events.iter().flatten().zip(&alert.block_ids).enumerate();
    present.map(|(position, (event, id))| block(alert, position, event, id))
}

fn block<'a>(alert: &'a Alert, position: usize, event: &'a MatchedEvent, id: &str) -> OwnFields<'a> {
    let rating = Rating::of_event(&alert.rule, &event.source);
    let parts = Parts {
        id,
        severity: rating.severity.as_str(),
        risk_score: rating.risk_score,
        name: &rating.name,
        reason: &reason::reason(std::iter::once(&*event.source), &rating),
        ancestors: ancestors(event),
        time: alert_time(alert, alert.events.iter().flatten().last()),
        original_time: original_time(event),
        building_block_type: Some("default"),
        group: Some((&alert.id, Some(position))),
    };
    OwnFields::new(Cow::Borrowed(&event.source), alert, &parts)
}

fn shell(alert: &Alert) -> OwnFields<'_> {
    let parts = Parts {
        id: &alert.id,
        severity: alert.severity.as_str(),
        risk_score: alert.risk_score,
        name: &alert.name,
        reason: &alert.reason,
        ancestors: shell_ancestors(alert),
        time: alert_time(alert, alert.events.iter().flatten().last()),
        original_time: alert.events.iter().flatten().next().and_then(original_time),
        building_block_type: alert.rule.building_block_type.as_deref(),
        group: Some((&alert.id, None)),
    };
    OwnFields::new(common_source(alert), alert, &parts)
}

/// What all events have in common.
fn common_source(alert: &Alert) -> Cow<'_, Map<String, Value>> {
    let mut sources = alert.events.iter().flatten().map(|event| fields::nested(&event.source));
    let first = sources.next().unwrap_or_default();
    sources.fold(first, |common, source| Cow::Owned(fields::intersection(&common, &source)))
}

/// Each event's ancestors, and behind them the event's building block.
fn shell_ancestors(alert: &Alert) -> Vec<Ancestor> {
    let mut all = Vec::new();
    for (event, id) in alert.events.iter().flatten().zip(&alert.block_ids) {
        let ancestors = ancestors(event);
        let block = Ancestor {
            id: id.clone(),
            index: String::new(),
            is_alert: true,
            depth: depth(&ancestors),
            rule: Some(rule_uuid(&alert.rule).to_owned()),
        };
        all.extend(ancestors);
        all.push(block);
    }
    all
}

/// One more than the deepest ancestor.
fn depth(ancestors: &[Ancestor]) -> u64 {
    ancestors.iter().map(|ancestor| ancestor.depth).max().map_or(1, |deepest| deepest.saturating_add(1))
}

/// The event's own `event.*` and `data_stream.*`, under names that no later step overwrites.
fn originals(source: &Map<String, Value>) -> Map<String, Value> {
    let mut out = fields::flatten_under(source, "event", "kibana.alert.original_event");
    out.extend(fields::flatten_under(source, "data_stream", "kibana.alert.original_data_stream"));
    out
}

/// The source's `@timestamp`, or the time the event is ordered by where it has none.
fn original_time(event: &MatchedEvent) -> Option<Value> {
    let own = event.source.get("@timestamp").and_then(time::of_document);
    own.or_else(|| event.time_ns.map(|time_ns| json!(time::format(time_ns))))
}

/// When the alert came to be, by the chosen clock.
fn alert_time(alert: &Alert, event: Option<&MatchedEvent>) -> Option<Value> {
    match (alert.options.clock, alert.time_ns) {
        (Clock::At(time_ns), _) | (Clock::EventTime, Some(time_ns)) => Some(json!(time::format(time_ns))),
        (Clock::EventTime, None) => event.and_then(original_time),
    }
}

/// What differs between a single alert, a building block and a shell.
struct Parts<'a> {
    id: &'a str,
    severity: &'a str,
    risk_score: f64,
    name: &'a str,
    reason: &'a str,
    ancestors: Vec<Ancestor>,
    time: Option<Value>,
    original_time: Option<Value>,
    building_block_type: Option<&'a str>,
    /// Id of the group, and the position in it.
    group: Option<(&'a str, Option<usize>)>,
}

impl Parts<'_> {
    fn write(&self, alert: &Alert, document: &mut Map<String, Value>) {
        let options = &alert.options;
        let mut put = |field: &str, value: Value| {
            document.insert(field.to_owned(), value);
        };
        if let Some(time) = &self.time {
            put("@timestamp", time.clone());
            put("kibana.alert.start", time.clone());
            put("kibana.alert.last_detected", time.clone());
        }
        let intended = options.execution.as_ref().and_then(|execution| execution.asked_for_ns);
        if let Some(time) = intended.map(|time_ns| json!(time::format(time_ns))).or_else(|| self.time.clone()) {
            put("kibana.alert.intended_timestamp", time);
        }
        if let Some(time) = &self.original_time {
            put("kibana.alert.original_time", time.clone());
        }
        put("kibana.alert.uuid", json!(self.id));
        put("kibana.alert.status", json!("active"));
        put("kibana.alert.workflow_status", json!("open"));
        put("kibana.alert.workflow_tags", json!([]));
        put("kibana.alert.workflow_assignee_ids", json!([]));
        put("kibana.alert.reason", json!(self.reason));
        put("kibana.alert.severity", json!(self.severity));
        put("kibana.alert.risk_score", score_json(self.risk_score));
        put("kibana.alert.depth", json!(depth(&self.ancestors)));
        put("kibana.alert.ancestors", self.ancestors.iter().map(Ancestor::json).collect());
        if let Some(kind) = self.building_block_type {
            put("kibana.alert.building_block_type", json!(kind));
        }
        if let Some((group, position)) = self.group {
            put("kibana.alert.group.id", json!(group));
            if let Some(position) = position {
                put("kibana.alert.group.index", json!(position));
            }
        }
        if let Some(base) = &options.public_base_url {
            put("kibana.alert.url", json!(self.url(base, &options.space)));
        }
        put("kibana.space_ids", json!([options.space]));
        put("kibana.version", json!(options.version));
        put("kibana.alert.rule.uuid", json!(rule_uuid(&alert.rule)));
        put("kibana.alert.rule.rule_id", json!(alert.rule.id()));
        put("kibana.alert.rule.name", json!(self.name));
    }

    fn url(&self, base: &str, space: &str) -> String {
        let base = base.trim_end_matches('/');
        let path = if space == crate::DEFAULT_SPACE { String::new() } else { format!("/s/{space}") };
        let time = self.time.as_ref().and_then(Value::as_str).unwrap_or_default();
        let index = format!(".alerts-security.alerts-{space}");
        format!("{base}{path}/app/security/alerts/redirect/{}?index={index}&timestamp={time}", self.id)
    }
}

/// The fields that all documents of the rule's alerts share.
pub(crate) fn rule_fields(rule: &Rule, options: &BuildOptions) -> Map<String, Value> {
    let mut document = Map::new();
    let mut put = |field: &str, value: Value| {
        document.insert(format!("kibana.alert.rule.{field}"), value);
    };
    let rule_type = rule.rule_type();
    put("type", json!(rule_type.as_str()));
    put("rule_type_id", json!(rule_type.rule_type_id()));
    put("category", json!(rule_type.label()));
    put("consumer", json!("siem"));
    put("producer", json!("siem"));
    put("indices", json!(rule.index()));
    if let Some(execution) = &options.execution {
        put("execution.uuid", json!(execution.uuid));
        put("execution.timestamp", json!(time::format(execution.time_ns)));
        put("execution.type", json!(if execution.asked_for_ns.is_some() { "manual" } else { "scheduled" }));
    }
    let mut api = rule.to_api_json();
    for field in COPIED_RULE_FIELDS {
        if let Some(value) = api.get(field) {
            put(field, value.clone());
        }
    }
    if let Some(meta) = api.get("meta") {
        let mut flat = Map::new();
        fields::flatten("meta".to_owned(), meta, &mut flat);
        flat.into_iter().for_each(|(field, value)| put(&field, value));
    }
    NOT_PARAMETERS.iter().for_each(|field| drop(api.shift_remove(*field)));
    put("parameters", Value::Object(api));
    document
}

/// Rule fields that stand in `kibana.alert.rule.*` as they are in the rule; optional ones only where set.
const COPIED_RULE_FIELDS: [&str; 33] = [
    "revision",
    "version",
    "actions",
    "author",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "description",
    "enabled",
    "exceptions_list",
    "false_positives",
    "from",
    "to",
    "interval",
    "immutable",
    "license",
    "max_signals",
    "namespace",
    "note",
    "references",
    "risk_score",
    "severity",
    "building_block_type",
    "risk_score_mapping",
    "severity_mapping",
    "rule_name_override",
    "tags",
    "threat",
    "throttle",
    "timeline_id",
    "timeline_title",
    "timestamp_override",
];
