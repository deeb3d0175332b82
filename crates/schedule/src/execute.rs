//! From findings to alerts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use eqlipse_alerts::{Alert, BuildOptions, Clock, Execution as AlertExecution, Match, MatchedEvent, build};
use eqlipse_control::NewAlert;
use eqlipse_hunt::{key_json, match_kind};
use eqlipse_store::{Part, StoreError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::active::{ActiveRule, ActiveRules};
use crate::evaluate::{EvaluateError, Evaluated, Finding, FoundEvent};

/// Builds alerts out of findings.
pub struct Builder<'a> {
    active: &'a ActiveRules,
    options: Arc<BuildOptions>,
    /// Documents that were read, by part and row: several rules often find the same event.
    documents: HashMap<(u32, u32), ReadDocument>,
}

/// A document that was read.
#[derive(Clone)]
struct ReadDocument {
    index: Option<String>,
    id: String,
    source: Arc<Map<String, Value>>,
}

/// Documents that are kept at most while alerts are built.
const MAX_DOCUMENTS: usize = 10_000;

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Map<String, Value>,
}

impl<'a> Builder<'a> {
    /// For alerts that are made `now` by a run with this id that began before, over one window: in another, its parts have
    /// other numbers. Where somebody asked for it, it would have been due at another time.
    pub fn new(active: &'a ActiveRules, uuid: &str, began: i64, now: i64, asked_for: Option<i64>) -> Self {
        let execution = Some(AlertExecution { uuid: uuid.to_owned(), time_ns: began, asked_for_ns: asked_for });
        let options = BuildOptions { clock: Clock::At(now), execution, ..BuildOptions::default() };
        Self { active, options: Arc::new(options), documents: HashMap::new() }
    }

    /// The alert of a finding.
    ///
    /// # Errors
    /// If an event cannot be read.
    pub fn alert(&mut self, finding: &Finding, parts: &[Arc<Part>]) -> Result<Alert, EvaluateError> {
        let events = finding.events.iter().map(|event| event.map(|event| self.event(event, parts)).transpose());
        let events = events.collect::<Result<Vec<_>, _>>()?;
        let index = finding.rule.0 as usize;
        let kind = match_kind(&self.active.compiled.plan.rules().plans()[index].plan);
        let join_keys = finding.key.iter().cloned().map(key_json).collect();
        let rule = self.active.rules[index].rule.clone();
        Ok(build(Match { rule, kind, join_keys, events }, &self.options))
    }

    fn event(&mut self, event: FoundEvent, parts: &[Arc<Part>]) -> Result<MatchedEvent, EvaluateError> {
        let place = (event.part, event.row);
        if self.documents.len() >= MAX_DOCUMENTS {
            self.documents.clear();
        }
        let ReadDocument { index, id, source } = match self.documents.get(&place) {
            Some(known) => known.clone(),
            None => {
                let bytes = parts[event.part as usize].hit(event.row)?;
                let hit: Hit = serde_json::from_slice(&bytes)
                    .map_err(|error| StoreError::Rules(format!("a stored event is not a document: {error}")))?;
                let read = ReadDocument { index: hit.index, id: hit.id, source: Arc::new(hit.source) };
                self.documents.insert(place, read.clone());
                read
            }
        };
        Ok(MatchedEvent { index, id, time_ns: event.order.time, origin: None, source })
    }
}

/// The documents of an alert as they are kept: building blocks behind the shell.
pub(crate) fn new_alerts(alert: &Alert, rule: &ActiveRule, now: i64) -> Vec<NewAlert> {
    let mut alerts = Vec::new();
    for (document, place) in alert.documents().into_iter().zip(0..) {
        let Value::Object(document) = document else { continue };
        let id = document.get("kibana.alert.uuid").and_then(Value::as_str).unwrap_or(&alert.id).to_owned();
        alerts.push(NewAlert {
            id,
            rule: rule.id().to_owned(),
            rule_id: rule.rule.rule_id.clone(),
            time: now,
            building_block_of: (place > 0).then(|| alert.id.clone()),
            document,
        });
    }
    alerts
}

/// What a rule would find, without keeping it.
#[derive(Debug, Default)]
pub struct Preview {
    /// The alerts, at most `max_signals` new ones for each window, each once.
    pub alerts: Vec<Alert>,
    /// The windows that were looked at: all, or those up to the first one that failed, or for which there was time.
    pub windows: Vec<PreviewedWindow>,
    /// Whether there was no time for all windows.
    pub is_aborted: bool,
    /// The findings that the alerts are of.
    seen: HashSet<Vec<Option<u64>>>,
    ids: HashSet<String>,
}

/// A window of a [`Preview`].
#[derive(Debug)]
pub struct PreviewedWindow {
    /// How many findings that no earlier window had were beyond `max_signals`.
    pub capped: u64,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<EvaluateError>,
}

impl Preview {
    /// Adds what was found in a window, and returns how many findings were too many.
    ///
    /// # Errors
    /// If an event cannot be read.
    pub(crate) fn add(
        &mut self,
        builder: &mut Builder<'_>,
        found: &Evaluated,
        most: u32,
    ) -> Result<u64, EvaluateError> {
        let (mut new, mut capped) = (0, 0);
        for finding in &found.findings {
            let sequences = finding.sequences();
            if self.seen.contains(&sequences) {
                continue;
            }
            if new >= most {
                capped += 1;
                continue;
            }
            let alert = builder.alert(finding, &found.parts)?;
            self.seen.insert(sequences);
            if self.ids.insert(alert.id.clone()) {
                new += 1;
                self.alerts.push(alert);
            }
        }
        Ok(capped)
    }
}
