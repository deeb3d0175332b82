//! From a match to an alert.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use eqlipse_rules::{Rule, Severity};
use serde_json::{Map, Value};

use crate::document::{self, Ancestor, OwnFields};
use crate::id::{BlockIds, event_id};
use crate::overrides::Rating;
use crate::{fields, reason};

/// The space alerts belong to where nothing else is said.
pub const DEFAULT_SPACE: &str = "default";

/// What a rule matched.
#[derive(Clone, Debug)]
pub struct Match {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What sort of match it is.
    pub kind: MatchKind,
    /// The values that tie the events of a sequence or sample together.
    pub join_keys: Vec<Value>,
    /// The events in the query's order; `None` where a missing event (`![…]`) was asked for.
    pub events: Vec<Option<MatchedEvent>>,
}

/// What sort of match it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchKind {
    /// One event.
    Event,
    /// Events in order of time.
    Sequence,
    /// Events in any order.
    Sample,
}

/// An event that takes part in a match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatchedEvent {
    /// The index it belongs to.
    pub index: Option<String>,
    /// Its id in that index.
    pub id: String,
    /// The time it is ordered by, in nanoseconds since the Unix epoch.
    pub time_ns: Option<i64>,
    /// Where it was read from, for people; not part of any document.
    pub origin: Option<String>,
    /// The document.
    pub source: Arc<Map<String, Value>>,
}

/// Which time an alert bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// That of its event, or of the last event of a sequence: a hunt over the same input gives the same bytes.
    #[default]
    EventTime,
    /// The given one, in nanoseconds since the Unix epoch.
    At(i64),
}

/// The run of a rule that made an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Id of the run.
    pub uuid: String,
    /// When it began, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Where somebody asked for it, outside the schedule: when it would have been due.
    pub asked_for_ns: Option<i64>,
}

/// What alerts take from their surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// Which time alerts bear.
    pub clock: Clock,
    /// The space they belong to.
    pub space: String,
    /// `kibana.version`: the version of the program that makes them.
    pub version: String,
    /// Address under which alerts can be looked at; without it they have no `kibana.alert.url`.
    pub public_base_url: Option<String>,
    /// The run that makes them; a hunt has none.
    pub execution: Option<Execution>,
}

impl Default for BuildOptions {
    fn default() -> BuildOptions {
        BuildOptions {
            clock: Clock::EventTime,
            space: DEFAULT_SPACE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            public_base_url: None,
            execution: None,
        }
    }
}

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its id, the same whenever the same rule meets the same events.
    pub id: String,
    /// The rule.
    pub rule: Arc<Rule>,
    /// What sort of match it is.
    pub kind: MatchKind,
    /// Severity after overrides.
    pub severity: Severity,
    /// Risk score after overrides, 0 to 100.
    pub risk_score: f64,
    /// The rule's name after overrides.
    pub name: String,
    /// Time of the event, or of the last event of a sequence, in nanoseconds since the Unix epoch.
    pub time_ns: Option<i64>,
    /// The sentence that sums the alert up.
    pub reason: String,
    /// `host.name` of the last event that has one.
    pub host: Option<String>,
    /// The events in the query's order; `None` for a missing one.
    pub events: Vec<Option<MatchedEvent>>,
    /// The values that tie the events of a sequence or sample together.
    pub join_keys: Vec<Value>,
    pub(crate) options: Arc<BuildOptions>,
    pub(crate) block_ids: Vec<String>,
}

/// Makes the alert of a match.
pub fn build(found: Match, options: &Arc<BuildOptions>) -> Alert {
    let Match { rule, kind, join_keys, events } = found;
    let sources = events.iter().flatten().map(|event| &*event.source);
    let rating = match kind {
        MatchKind::Event => match sources.clone().next() {
            Some(source) => Rating::of_event(&rule, source),
            None => Rating::of_sequence(&rule, std::iter::empty()),
        },
        MatchKind::Sequence | MatchKind::Sample => Rating::of_sequence(&rule, sources.clone()),
    };
    let reason = reason::reason(sources.clone(), &rating);
    let host = sources.rev().find_map(|source| fields::texts(source, "host.name").next());
    let time_ns = last_time(kind, &events);
    let (id, block_ids) = match kind {
        MatchKind::Event => (single_id(&rule, &events, options), Vec::new()),
        MatchKind::Sequence | MatchKind::Sample => sequence_ids(&rule, &events),
    };
    let Rating { severity, risk_score, name } = rating;
    let options = Arc::clone(options);
    Alert { id, rule, kind, severity, risk_score, name, time_ns, reason, host, events, join_keys, options, block_ids }
}

/// The events of a sample stand in no order, so the latest one counts.
fn last_time(kind: MatchKind, events: &[Option<MatchedEvent>]) -> Option<i64> {
    let mut times = events.iter().flatten().filter_map(|event| event.time_ns);
    if kind == MatchKind::Sample { times.max() } else { times.next_back() }
}

fn single_id(rule: &Rule, events: &[Option<MatchedEvent>], options: &BuildOptions) -> String {
    let (index, id) = match events.iter().flatten().next() {
        Some(event) => (event.index.as_deref().unwrap_or_default(), event.id.as_str()),
        None => ("", ""),
    };
    event_id(index, id, &options.space, document::rule_uuid(rule))
}

fn sequence_ids(rule: &Rule, events: &[Option<MatchedEvent>]) -> (String, Vec<String>) {
    let uuid = document::rule_uuid(rule);
    let ancestors: Vec<Vec<Ancestor>> = events.iter().flatten().map(document::ancestors).collect();
    let pairs = ancestors.iter().flatten().map(Ancestor::pair);
    let ids = BlockIds::new(pairs, uuid);
    let blocks: Vec<String> = (0..ancestors.len()).map(|position| ids.block(position)).collect();
    // The shell descends from each event and then from its block, which is in no index when ids are made.
    let pairs = ancestors
        .iter()
        .zip(&blocks)
        .flat_map(|(ancestors, block)| ancestors.iter().map(Ancestor::pair).chain([(block.as_str(), "")]));
    (BlockIds::new(pairs, uuid).shell(), blocks)
}

impl Alert {
    /// The alert document; for a sequence, its shell.
    pub fn document(&self) -> Value {
        self.documents().into_iter().next().unwrap_or_default()
    }

    /// The building blocks of a sequence or sample, in the query's order; none for a single event.
    pub fn building_blocks(&self) -> Vec<Value> {
        self.documents().split_off(1)
    }

    /// All documents of the alert: the shell first, then its building blocks.
    pub fn documents(&self) -> Vec<Value> {
        let rule = self.rule_fields();
        self.own_fields().iter().map(|own| document::whole(own, &rule)).collect()
    }

    /// Of each of its documents the fields that are its own. Those of [`Alert::rule_fields`] follow them.
    pub fn own_fields(&self) -> Vec<OwnFields<'_>> {
        document::own_fields(self)
    }

    /// The fields in which all documents of a rule's alerts agree, where they were built with the same options: the
    /// greater part of most documents, worth writing only once.
    pub fn rule_fields(&self) -> Map<String, Value> {
        document::rule_fields(&self.rule, &self.options)
    }
}

/// Puts alerts in their order: by time (those without one last), then rule id, then alert id.
pub fn sort(alerts: &mut [Alert]) {
    alerts.sort_by(compare);
}

fn compare(left: &Alert, right: &Alert) -> Ordering {
    let key = |alert: &Alert| (alert.time_ns.is_none(), alert.time_ns);
    key(left).cmp(&key(right)).then_with(|| left.rule.id().cmp(right.rule.id())).then_with(|| left.id.cmp(&right.id))
}

/// Drops every alert whose id stands earlier in the list, and says how many there were.
pub fn remove_duplicates(alerts: &mut Vec<Alert>) -> usize {
    let before = alerts.len();
    let mut ids = HashSet::with_capacity(before);
    alerts.retain(|alert| ids.insert(alert.id.clone()));
    before - alerts.len()
}
