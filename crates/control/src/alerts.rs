//! Alerts and what people make of them.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Transaction, params, params_from_iter};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::audit::add;
use crate::database::time_text;
use crate::{AuditEntry, Control, ControlError};

const STATUS: &str = "kibana.alert.workflow_status";
const STATUS_TIME: &str = "kibana.alert.workflow_status_updated_at";
const USER: &str = "kibana.alert.workflow_user";
const REASON: &str = "kibana.alert.workflow_reason";
const TAGS: &str = "kibana.alert.workflow_tags";
const ASSIGNEES: &str = "kibana.alert.workflow_assignee_ids";
/// Ours: Kibana keeps notes beside its alerts.
const NOTES: &str = "kibana.alert.workflow_notes";

/// The longest note, in bytes.
const MAX_NOTE_BYTES: usize = 32 << 10;
/// The longest tag, name of an assignee and reason, in bytes.
const MAX_ITEM_BYTES: usize = 1 << 10;
/// Most tags, assignees and notes of an alert.
const MAX_ITEMS: usize = 1_000;
/// So much of a note stands in the audit log.
const AUDITED_CHARS: usize = 200;

/// An alert to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// Its id: the same whenever the same rule meets the same events.
    pub id: String,
    /// The rule, by [`StoredRule::id`](crate::StoredRule::id).
    pub rule: String,
    /// The rule's `rule_id`.
    pub rule_id: String,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// The sequence alert that it is a building block of.
    pub building_block_of: Option<String>,
    /// The alert document.
    pub document: Map<String, Value>,
}

/// What somebody makes of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkflowStatus {
    /// Nobody looked at it.
    Open,
    /// Somebody is at it.
    Acknowledged,
    /// It is done with.
    Closed,
}

impl WorkflowStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Closed];

    /// Its name: `open`, `acknowledged`, `closed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }

    /// The status of this name. `in-progress` is what older versions call acknowledged.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "in-progress" {
            return Some(Self::Acknowledged);
        }
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A change that people make to alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertChange {
    /// The workflow status, perhaps with the reason.
    Status {
        /// The new one.
        status: WorkflowStatus,
        /// Why, such as `false_positive`.
        reason: Option<String>,
    },
    /// Tags to add and to remove.
    Tags {
        /// To add.
        add: Vec<String>,
        /// To remove.
        remove: Vec<String>,
    },
    /// People to add and to remove.
    Assignees {
        /// To add.
        add: Vec<String>,
        /// To remove.
        remove: Vec<String>,
    },
    /// A note.
    Note(String),
}

/// A note on an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertNote {
    /// What it says.
    pub text: String,
    /// Who wrote it.
    pub created_by: String,
    /// When, in nanoseconds since the Unix epoch.
    pub created_at: i64,
}

impl AlertNote {
    fn read(note: &Value) -> Option<Self> {
        let text = |name: &str| note.get(name).and_then(Value::as_str).map(str::to_owned);
        let created_at: Timestamp = text("created_at")?.parse().ok()?;
        let created_at = i64::try_from(created_at.as_nanosecond()).ok()?;
        Some(Self { text: text("text")?, created_by: text("created_by")?, created_at })
    }
}

/// What is done with each alert's id and document; it may stop there.
pub type TakeAlert<'a> = dyn FnMut(&str, Map<String, Value>) -> ControlFlow<()> + 'a;

/// The order in which alerts are given. What is equal in it goes by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AlertOrder {
    /// By time, the oldest first.
    #[default]
    Oldest,
    /// By time, the newest first.
    Newest,
    /// By risk score, the highest first, and of equal ones the newest first.
    Risk,
}

/// Which alerts are asked for. Without any part set, it is all of them but building blocks.
#[derive(Clone, Debug, Default)]
pub struct AlertQuery {
    /// These alone.
    pub ids: Option<Vec<String>>,
    /// Of this rule, by [`StoredRule::id`](crate::StoredRule::id).
    pub rule: Option<String>,
    /// Made at or after that, in nanoseconds since the Unix epoch.
    pub from: Option<i64>,
    /// Made at or before that.
    pub to: Option<i64>,
    /// With one of these statuses; none for any.
    pub statuses: Vec<WorkflowStatus>,
    /// With one of these severities (`low`, `medium`, `high`, `critical`); none for any.
    pub severities: Vec<String>,
    /// With this risk score at least, 0 to 100.
    pub min_risk: Option<f64>,
    /// With one of these workflow tags; none for any.
    pub tags: Vec<String>,
    /// With one of these assignees; none for any.
    pub assignees: Vec<String>,
    /// Also building blocks: the events of sequence alerts, and alerts of rules that have a `building_block_type`.
    pub include_building_blocks: bool,
    /// In which order.
    pub order: AlertOrder,
    /// At most so many.
    pub limit: Option<usize>,
}

/// The rest of a statement behind `FROM alerts`, and the values of its parameters.
struct Filter {
    conditions: Vec<String>,
    values: Vec<Sql>,
}

impl Filter {
    /// Adds a condition, in which `?` stands for the value.
    fn add(&mut self, condition: &str, value: impl Into<Sql>) {
        self.values.push(value.into());
        self.conditions.push(condition.replace('?', &format!("?{}", self.values.len())));
    }

    /// Adds a condition on a list, in which `?` stands for a JSON array. An empty list is no condition.
    fn add_list<T: Serialize>(&mut self, condition: &str, list: &[T]) -> Result<(), ControlError> {
        if !list.is_empty() {
            self.add(condition, serde_json::to_string(list)?);
        }
        Ok(())
    }
}

impl AlertQuery {
    fn filter(&self) -> Result<Filter, ControlError> {
        let mut filter = Filter { conditions: Vec::new(), values: Vec::new() };
        if let Some(ids) = &self.ids {
            // Also when there are none: none of none.
            filter.add("id IN (SELECT value FROM json_each(?))", serde_json::to_string(ids)?);
        }
        if let Some(rule) = &self.rule {
            filter.add("rule = ?", rule.clone());
        }
        if let Some(from) = self.from {
            filter.add("time >= ?", from);
        }
        if let Some(to) = self.to {
            filter.add("time <= ?", to);
        }
        if let Some(risk) = self.min_risk {
            filter.add("risk >= ?", risk);
        }
        // Rows come in the order of an index, so that the first ones are there at once, however many there are. A `+`
        // keeps SQLite from an index that has another order.
        match (self.include_building_blocks, self.statuses.as_slice()) {
            (false, [status]) => filter.add("is_block = 0 AND status = ?", status.as_str().to_owned()),
            (includes, statuses) => {
                if !includes {
                    filter.conditions.push("+is_block = 0".to_owned());
                }
                let statuses: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
                filter.add_list("+status IN (SELECT value FROM json_each(?))", &statuses)?;
            }
        }
        filter.add_list("severity IN (SELECT value FROM json_each(?))", &self.severities)?;
        for (column, list) in [("tags", &self.tags), ("assignees", &self.assignees)] {
            let condition =
                format!("EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN (SELECT value FROM json_each(?)))");
            filter.add_list(&condition, list)?;
        }
        Ok(filter)
    }

    fn statement(&self) -> Result<(String, Vec<Sql>), ControlError> {
        let Filter { conditions, values } = self.filter()?;
        let mut sql = "SELECT id, document FROM alerts".to_owned();
        if !conditions.is_empty() {
            sql = format!("{sql} WHERE {}", conditions.join(" AND "));
        }
        sql.push_str(match self.order {
            AlertOrder::Oldest => " ORDER BY time, id",
            AlertOrder::Newest => " ORDER BY time DESC, id DESC",
            AlertOrder::Risk => " ORDER BY risk DESC, time DESC, id DESC",
        });
        if let Some(limit) = self.limit {
            sql = format!("{sql} LIMIT {limit}");
        }
        Ok((sql, values))
    }
}

pub(crate) fn insert_alerts(transaction: &Transaction<'_>, alerts: &[NewAlert]) -> Result<(), ControlError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO alerts (id, rule, rule_id, time, block_of, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO NOTHING",
    )?;
    for alert in alerts {
        let document = serde_json::to_string(&alert.document)?;
        let block_of = &alert.building_block_of;
        statement.execute(params![alert.id, alert.rule, alert.rule_id, alert.time, block_of, document])?;
    }
    Ok(())
}

impl Control {
    /// Which of these alerts are there.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn known_alerts(&self, ids: &[String]) -> Result<HashSet<String>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM alerts WHERE id = ?1")?;
            let mut known = HashSet::new();
            for id in ids {
                if statement.exists([id])? {
                    known.insert(id.clone());
                }
            }
            Ok(known)
        })
    }

    /// Gives the documents of alerts as they are now, in the query's order, until it is told to stop. They are of one
    /// moment, whatever is written in the meantime.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn for_each_alert(&self, query: &AlertQuery, take: &mut TakeAlert<'_>) -> Result<(), ControlError> {
        let (sql, values) = query.statement()?;
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let (id, document): (String, String) = (row.get(0)?, row.get(1)?);
                let document = serde_json::from_str(&document)
                    .map_err(|error| ControlError::Damaged(format!("alert {id}: {error}")))?;
                if take(&id, document).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// How many alerts there are, without building blocks, by workflow status.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn count_alerts(&self) -> Result<Vec<(WorkflowStatus, u64)>, ControlError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM alerts WHERE is_block = 0 AND status = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let count = |status: WorkflowStatus| {
                let count: i64 = statement.query_row([status.as_str()], |row| row.get(0))?;
                Ok((status, count as u64))
            };
            WorkflowStatus::ALL.into_iter().map(count).collect()
        })
    }

    /// Changes alerts, and the building blocks of those that are sequences. Returns how many of the ids are alerts; the
    /// others are passed over, and one that is named twice counts once. As in Kibana, an alert that has the status
    /// already stays as it is, and a reason is kept for closed ones only.
    ///
    /// # Errors
    /// If the change is not one that can be made, or the database cannot be written; then nothing is changed.
    pub fn change_alerts(&self, ids: &[String], change: &AlertChange, by: &str, now: i64) -> Result<u64, ControlError> {
        change.check()?;
        self.write(|transaction| {
            let mut blocks = transaction.prepare_cached("SELECT id FROM alerts WHERE block_of = ?1 ORDER BY id")?;
            let mut exists = transaction.prepare_cached("SELECT 1 FROM alerts WHERE id = ?1")?;
            let mut seen = HashSet::new();
            let mut found = 0;
            let asked: BTreeSet<&String> = ids.iter().collect();
            for id in asked {
                if !exists.exists([id])? {
                    continue;
                }
                found += 1;
                let mut is_changed = false;
                let own = blocks.query_map([id], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
                for target in std::iter::once(id.clone()).chain(own) {
                    // A block may be named beside its sequence, and a note is to be written once.
                    if seen.insert(target.clone()) {
                        is_changed |= change_one(transaction, &target, change, by, now)?;
                    }
                }
                if is_changed {
                    add(transaction, &AuditEntry::new(now, by, change.action(), id, change.detail()))?;
                }
            }
            Ok(found)
        })
    }

    /// The notes of an alert, in the order in which they were written; none where there is no such alert.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn notes_of(&self, alert: &str) -> Result<Vec<AlertNote>, ControlError> {
        let query =
            AlertQuery { ids: Some(vec![alert.to_owned()]), include_building_blocks: true, ..AlertQuery::default() };
        let mut notes = Vec::new();
        self.for_each_alert(&query, &mut |_, mut document| {
            let all = document.remove(NOTES).unwrap_or_default();
            notes.extend(all.as_array().into_iter().flatten().filter_map(AlertNote::read));
            ControlFlow::Break(())
        })?;
        Ok(notes)
    }

    /// Removes alerts that were made before a time. Returns how many, building blocks included.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn prune_alerts(&self, before: i64) -> Result<u64, ControlError> {
        self.prune("alerts", "time", before, |transaction, removed| {
            if removed == 0 {
                return Ok(());
            }
            let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
            let detail = format!("{removed} alerts from before {}", time_text(before));
            add(transaction, &AuditEntry::new(now, "eqlipse", "alerts_prune", "", detail))
        })
    }
}

/// Changes one alert, and says whether it is another one now.
fn change_one(
    transaction: &Transaction<'_>,
    id: &str,
    change: &AlertChange,
    by: &str,
    now: i64,
) -> Result<bool, ControlError> {
    let mut select = transaction.prepare_cached("SELECT document FROM alerts WHERE id = ?1")?;
    let text: String = select.query_row([id], |row| row.get(0))?;
    let mut document: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| ControlError::Damaged(format!("alert {id}: {error}")))?;
    if !change.apply(&mut document, by, now)? {
        return Ok(false);
    }
    let mut update = transaction.prepare_cached("UPDATE alerts SET document = ?2 WHERE id = ?1")?;
    update.execute(params![id, serde_json::to_string(&document)?])?;
    Ok(true)
}

impl AlertChange {
    fn action(&self) -> &'static str {
        match self {
            Self::Status { .. } => "alert_status",
            Self::Tags { .. } => "alert_tags",
            Self::Assignees { .. } => "alert_assignees",
            Self::Note(_) => "alert_note",
        }
    }

    /// For the audit log, as JSON.
    fn detail(&self) -> String {
        let detail = match self {
            Self::Status { status, reason } => json!({ "status": status.as_str(), "reason": reason }),
            Self::Tags { add, remove } | Self::Assignees { add, remove } => json!({ "add": add, "remove": remove }),
            Self::Note(text) => json!({ "note": text.chars().take(AUDITED_CHARS).collect::<String>() }),
        };
        detail.to_string()
    }

    /// What no alert could take.
    fn check(&self) -> Result<(), ControlError> {
        match self {
            Self::Status { reason, .. } => {
                reason.as_deref().map_or(Ok(()), |reason| check_text("reason", reason, MAX_ITEM_BYTES))
            }
            Self::Tags { add, remove } => check_lists("tag", add, remove),
            Self::Assignees { add, remove } => check_lists("assignee", add, remove),
            Self::Note(text) => check_text("note", text, MAX_NOTE_BYTES),
        }
    }

    /// Applies it to a document, and says whether that made another one of it.
    fn apply(&self, document: &mut Map<String, Value>, by: &str, now: i64) -> Result<bool, ControlError> {
        match self {
            Self::Status { status, reason } => {
                let reason = reason.as_deref().filter(|_| *status == WorkflowStatus::Closed);
                Ok(set_status(document, *status, reason, by, now))
            }
            Self::Tags { add, remove } => edit_list(document, TAGS, add, remove),
            Self::Assignees { add, remove } => edit_list(document, ASSIGNEES, add, remove),
            Self::Note(text) => add_note(document, text, by, now),
        }
    }
}

fn check_text(what: &str, text: &str, limit: usize) -> Result<(), ControlError> {
    if text.trim().is_empty() || text.len() > limit {
        return Err(ControlError::Invalid(format!("a {what} must not be empty, and has {limit} bytes at most")));
    }
    Ok(())
}

fn check_lists(what: &str, add: &[String], remove: &[String]) -> Result<(), ControlError> {
    add.iter().try_for_each(|item| check_text(what, item, MAX_ITEM_BYTES))?;
    match add.iter().find(|item| remove.contains(item)) {
        Some(both) => Err(ControlError::Invalid(format!("the {what} {both:?} is to be added and to be removed"))),
        None => Ok(()),
    }
}

fn set_status(
    document: &mut Map<String, Value>,
    status: WorkflowStatus,
    reason: Option<&str>,
    by: &str,
    now: i64,
) -> bool {
    if document.get(STATUS).and_then(Value::as_str) == Some(status.as_str()) {
        return false;
    }
    document.insert(STATUS.to_owned(), status.as_str().into());
    document.insert(STATUS_TIME.to_owned(), time_text(now).into());
    document.insert(USER.to_owned(), by.into());
    match reason {
        Some(reason) => _ = document.insert(REASON.to_owned(), reason.into()),
        None => _ = document.shift_remove(REASON),
    }
    true
}

fn add_note(document: &mut Map<String, Value>, text: &str, by: &str, now: i64) -> Result<bool, ControlError> {
    let notes = document.entry(NOTES).or_insert_with(|| json!([]));
    if !notes.is_array() {
        *notes = json!([]);
    }
    let Some(notes) = notes.as_array_mut() else { return Ok(false) };
    if notes.len() >= MAX_ITEMS {
        return Err(ControlError::Invalid(format!("an alert has {MAX_ITEMS} notes at most")));
    }
    notes.push(json!({ "text": text, "created_by": by, "created_at": time_text(now) }));
    Ok(true)
}

fn edit_list(
    document: &mut Map<String, Value>,
    field: &str,
    add: &[String],
    remove: &[String],
) -> Result<bool, ControlError> {
    let known = document.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut items: Vec<String> = Vec::with_capacity(known.len() + add.len());
    let mut seen = HashSet::new();
    let kept = known.iter().filter_map(Value::as_str).filter(|item| !remove.iter().any(|gone| gone == item));
    for item in kept.chain(add.iter().map(String::as_str)) {
        if seen.insert(item) {
            items.push(item.to_owned());
        }
    }
    if items.len() > MAX_ITEMS {
        let name = if field == TAGS { "tags" } else { "assignees" };
        return Err(ControlError::Invalid(format!("an alert has {MAX_ITEMS} {name} at most")));
    }
    if known.iter().map(Value::as_str).eq(items.iter().map(|item| Some(item.as_str()))) {
        return Ok(false);
    }
    document.insert(field.to_owned(), items.into());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::open;
    use crate::{Execution, ExecutionStatus, WindowKind};

    fn alert(id: &str, time: i64, block_of: Option<&str>) -> NewAlert {
        let document = json!({ "kibana.alert.uuid": id, STATUS: "open", TAGS: [], ASSIGNEES: [] });
        let Value::Object(document) = document else { unreachable!() };
        NewAlert {
            id: id.to_owned(),
            rule: "r".to_owned(),
            rule_id: "rule".to_owned(),
            time,
            building_block_of: block_of.map(str::to_owned),
            document,
        }
    }

    fn execution(uuid: &str, to: i64, kind: WindowKind) -> Execution {
        Execution {
            uuid: uuid.to_owned(),
            rule: "r".to_owned(),
            rule_id: "rule".to_owned(),
            from: to - 9,
            to,
            basis: None,
            kind,
            scheduled: to,
            started: to,
            finished: to + 1,
            status: ExecutionStatus::Warning,
            matches: 3,
            new_alerts: 2,
            known_alerts: 1,
            capped: 0,
            late_events: 0,
            missed_events: u64::MAX >> 1,
            message: "m".to_owned(),
        }
    }

    fn ids(control: &Control, query: &AlertQuery) -> Vec<String> {
        let mut found = Vec::new();
        control
            .for_each_alert(query, &mut |id, _| {
                found.push(id.to_owned());
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    #[test]
    fn alerts_are_kept_once_with_their_executions() {
        let (folder, control) = open();
        let made = [alert("a", 5, None), alert("b", 3, None), alert("b1", 3, Some("b"))];
        control.commit_execution(&[execution("1", 10, WindowKind::OnTime)], &made).unwrap();
        assert!(control.commit_execution(&[execution("1", 20, WindowKind::OnTime)], &[alert("c", 9, None)]).is_err());
        control.commit_execution(&[execution("2", 30, WindowKind::Backfill)], &made).unwrap();
        drop(control);
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        assert_eq!(ids(&control, &AlertQuery::default()), ["b", "a"]);
        assert_eq!(
            ids(&control, &AlertQuery { include_building_blocks: true, ..Default::default() }),
            ["b", "b1", "a"]
        );
        assert_eq!(ids(&control, &AlertQuery { from: Some(4), ..Default::default() }), ["a"]);
        let asked = vec!["b1".to_owned(), "c".to_owned(), "a".to_owned()];
        assert_eq!(ids(&control, &AlertQuery { ids: Some(asked.clone()), ..Default::default() }), ["a"]);
        assert_eq!(control.known_alerts(&asked).unwrap().len(), 2);
        // The backfill is in the ledger, but the schedule does not go on from there.
        let ledger = control.ledger("r", 10).unwrap();
        assert_eq!(ledger, [execution("2", 30, WindowKind::Backfill), execution("1", 10, WindowKind::OnTime)]);
        assert_eq!((control.last_window("r").unwrap(), control.last_window("x").unwrap()), (Some(10), None));
        // A window that is caught up after a later one takes nothing back.
        control.commit_execution(&[execution("3", 5, WindowKind::CaughtUp)], &[]).unwrap();
        assert_eq!(control.last_window("r").unwrap(), Some(10));
        let latest = control.latest_executions().unwrap();
        assert_eq!(latest, [execution("3", 5, WindowKind::CaughtUp)]);
        let summary = control.ledger_summary(0).unwrap();
        assert_eq!((summary.of_kind(WindowKind::CaughtUp), summary.of_status(ExecutionStatus::Warning)), (1, 3));
        assert_eq!(control.ledger_summary(i64::MAX).unwrap(), crate::LedgerSummary::default());
        assert_eq!(control.prune_executions(20).unwrap(), 2);
        assert_eq!(control.last_window("r").unwrap(), Some(10));
        assert_eq!(control.prune_alerts(5).unwrap(), 2);
        assert_eq!(ids(&control, &AlertQuery::default()), ["a"]);
    }

    #[test]
    fn people_work_on_alerts() {
        let (_folder, control) = open();
        let made = [alert("a", 5, None), alert("b", 3, None), alert("b1", 3, Some("b"))];
        control.commit_execution(&[], &made).unwrap();
        let change =
            |id: &str, change| control.change_alerts(&[id.to_owned(), "no".to_owned()], &change, "ann", 7).unwrap();
        let closed = AlertChange::Status { status: WorkflowStatus::Closed, reason: Some("false_positive".to_owned()) };
        assert_eq!(change("b", closed), 1);
        let tags = |add: &[&str], remove: &[&str]| AlertChange::Tags {
            add: add.iter().map(ToString::to_string).collect(),
            remove: remove.iter().map(ToString::to_string).collect(),
        };
        change("b", tags(&["x", "y", "x"], &[]));
        change("b", tags(&["z"], &["y"]));
        change("b", AlertChange::Note("seen".to_owned()));
        let open = AlertQuery { statuses: vec![WorkflowStatus::Open], ..Default::default() };
        assert_eq!(ids(&control, &open), ["a"]);
        assert_eq!(control.count_alerts().unwrap()[0], (WorkflowStatus::Open, 1));
        let mut documents = Vec::new();
        let both = AlertQuery {
            ids: Some(vec!["b".into(), "b1".into()]),
            include_building_blocks: true,
            ..Default::default()
        };
        control
            .for_each_alert(&both, &mut |_, document| {
                documents.push(document);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(documents.len(), 2);
        for document in documents {
            assert_eq!(document[STATUS], "closed");
            assert_eq!(document[REASON], "false_positive");
            assert_eq!(document[TAGS], json!(["x", "z"]));
            assert_eq!(document[NOTES][0]["text"], "seen");
        }
        let reopened = AlertChange::Status { status: WorkflowStatus::Open, reason: None };
        change("b", reopened);
        assert_eq!(ids(&control, &open), ["b", "a"]);
        let log = control.audit_log(10).unwrap();
        assert_eq!(
            log.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(),
            ["alert_status", "alert_note", "alert_tags", "alert_tags", "alert_status"]
        );
    }

    #[test]
    fn alerts_are_found_by_what_they_are() {
        let (_folder, control) = open();
        let made = |id: &str, time: i64, severity: &str, risk: Value, kind: Option<&str>| {
            let mut made = alert(id, time, None);
            made.document.insert("kibana.alert.severity".to_owned(), severity.into());
            made.document.insert("kibana.alert.risk_score".to_owned(), risk);
            if let Some(kind) = kind {
                made.document.insert("kibana.alert.building_block_type".to_owned(), kind.into());
            }
            made
        };
        let mut all = vec![
            made("a", 1, "high", 73.into(), None),
            made("b", 2, "low", 21.5.into(), None),
            made("c", 2, "high", 99.into(), Some("default")),
            made("d", 3, "critical", json!({ "odd": true }), None),
            made("e", 3, "high", 73.into(), None),
        ];
        all[4].rule = "other".to_owned();
        control.commit_execution(&[], &all).unwrap();
        let tag = |id: &str, tag: &str| {
            let change = AlertChange::Tags { add: vec![tag.to_owned()], remove: vec![] };
            control.change_alerts(&[id.to_owned()], &change, "ann", 9).unwrap();
        };
        tag("b", "quote\"'); DROP TABLE alerts; --");
        tag("d", "x");
        let assign = AlertChange::Assignees { add: vec!["bob".to_owned()], remove: vec![] };
        control.change_alerts(&["a".to_owned()], &assign, "ann", 9).unwrap();
        let any = AlertQuery::default;
        let blocks = || AlertQuery { include_building_blocks: true, ..any() };
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (query, wanted) in [
            (any(), "a b d e"),
            (blocks(), "a b c d e"),
            (AlertQuery { order: AlertOrder::Newest, ..blocks() }, "e d c b a"),
            (AlertQuery { order: AlertOrder::Risk, limit: Some(3), ..blocks() }, "c e a"),
            (AlertQuery { severities: texts(&["high", "low"]), ..any() }, "a b e"),
            (AlertQuery { min_risk: Some(21.5), ..any() }, "a b e"),
            (AlertQuery { tags: texts(&["x", "y"]), ..any() }, "d"),
            (AlertQuery { tags: texts(&["quote\"'); DROP TABLE alerts; --"]), ..any() }, "b"),
            (AlertQuery { assignees: texts(&["bob"]), ..any() }, "a"),
            (AlertQuery { rule: Some("other".to_owned()), ..any() }, "e"),
            (AlertQuery { from: Some(2), to: Some(2), ..blocks() }, "b c"),
            (AlertQuery { ids: Some(texts(&["e", "a", "a", "no"])), ..any() }, "a e"),
            (AlertQuery { ids: Some(vec![]), ..any() }, ""),
            (AlertQuery { limit: Some(0), ..any() }, ""),
        ] {
            assert_eq!(ids(&control, &query).join(" "), wanted, "{query:?}");
        }
    }

    #[test]
    fn the_first_alerts_are_there_without_sorting_all() {
        let (_folder, control) = open();
        let rule = || Some("r".to_owned());
        for order in [AlertOrder::Oldest, AlertOrder::Newest, AlertOrder::Risk] {
            for statuses in [vec![], vec![WorkflowStatus::Open], WorkflowStatus::ALL.to_vec()] {
                for include_building_blocks in [false, true] {
                    for (rule, from) in [(None, None), (None, Some(5)), (rule(), None), (rule(), Some(5))] {
                        let is_sorted =
                            order == AlertOrder::Risk && (rule.is_some() || from.is_some() || statuses.len() == 1);
                        let statuses = statuses.clone();
                        let tags = vec!["x".to_owned()];
                        let query = AlertQuery {
                            rule,
                            from,
                            statuses,
                            tags,
                            include_building_blocks,
                            order,
                            ..Default::default()
                        };
                        let (sql, values) = query.statement().unwrap();
                        let plan = control.read(|connection| {
                            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                            let lines = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3))?;
                            Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
                        });
                        let plan = plan.unwrap();
                        // Highest risk first, of some alerts, is the one order that no index has.
                        assert!(is_sorted || !plan.contains("TEMP B-TREE FOR ORDER"), "{query:?}: {plan}");
                        assert!(is_sorted || !plan.contains("SCAN alerts;"), "{query:?}: {plan}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_reader_sees_one_moment_and_may_write() {
        let (_folder, control) = open();
        control.commit_execution(&[], &[alert("a", 1, None), alert("b", 2, None)]).unwrap();
        let mut seen = Vec::new();
        control
            .for_each_alert(&AlertQuery::default(), &mut |id, document| {
                control.commit_execution(&[], &[alert(&format!("{id}-new"), 3, None)]).unwrap();
                let closed = AlertChange::Status { status: WorkflowStatus::Closed, reason: None };
                control.change_alerts(&["b".to_owned()], &closed, "ann", 4).unwrap();
                seen.push((id.to_owned(), document[STATUS].clone()));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, [("a".to_owned(), json!("open")), ("b".to_owned(), json!("open"))]);
        assert_eq!(ids(&control, &AlertQuery::default()).len(), 4);
    }

    #[test]
    fn what_no_alert_could_take_is_refused() {
        let (_folder, control) = open();
        control.commit_execution(&[], &[alert("a", 1, None)]).unwrap();
        let text = |length: usize| "x".repeat(length);
        let closed = |reason: String| AlertChange::Status { status: WorkflowStatus::Closed, reason: Some(reason) };
        let tags = |add: Vec<String>, remove: Vec<String>| AlertChange::Tags { add, remove };
        let many = (0..=MAX_ITEMS).map(|number| number.to_string()).collect::<Vec<_>>();
        for change in [
            AlertChange::Note(text(MAX_NOTE_BYTES + 1)),
            AlertChange::Note(" ".to_owned()),
            closed(text(MAX_ITEM_BYTES + 1)),
            tags(vec![String::new()], vec![]),
            tags(vec!["x".to_owned()], vec!["x".to_owned()]),
            tags(many.clone(), vec![]),
            AlertChange::Assignees { add: many, remove: vec![] },
        ] {
            let error = control.change_alerts(&["a".to_owned()], &change, "ann", 2).unwrap_err();
            assert!(matches!(error, ControlError::Invalid(_)), "{error}");
        }
        assert!(control.audit_log(9).unwrap().is_empty());
        assert_eq!(documents(&control)["a"], alert("a", 1, None).document);
    }

    #[test]
    fn two_writers_make_an_alert_once() {
        let (_folder, control) = open();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let control = control.clone();
                scope.spawn(move || {
                    for number in 0..50 {
                        let mut made = [alert(&number.to_string(), number, None), alert("all", 0, None)];
                        made[0].document.insert("writer".to_owned(), thread.into());
                        let execution = execution(&format!("{thread}-{number}"), number, WindowKind::OnTime);
                        control.commit_execution(&[execution], &made).unwrap();
                    }
                });
            }
        });
        assert_eq!(ids(&control, &AlertQuery::default()).len(), 51);
        assert_eq!(control.ledger("r", 1_000).unwrap().len(), 100);
        assert_eq!(control.last_window("r").unwrap(), Some(49));
    }

    fn documents(control: &Control) -> BTreeMap<String, Map<String, Value>> {
        let mut found = BTreeMap::new();
        let query = AlertQuery { include_building_blocks: true, ..AlertQuery::default() };
        let take = &mut |id: &str, document| {
            found.insert(id.to_owned(), document);
            ControlFlow::Continue(())
        };
        control.for_each_alert(&query, take).unwrap();
        found
    }

    /// What people made of an alert.
    #[derive(Clone, Debug, Default)]
    struct Work {
        status: Option<(WorkflowStatus, Option<String>, i64)>,
        tags: Vec<String>,
        assignees: Vec<String>,
        notes: Vec<String>,
    }

    impl Work {
        fn change(&mut self, change: &AlertChange, now: i64) {
            let edit = |list: &mut Vec<String>, add: &[String], remove: &[String]| {
                list.retain(|item| !remove.contains(item));
                add.iter().for_each(|item| {
                    if !list.contains(item) {
                        list.push(item.clone());
                    }
                });
            };
            match change {
                AlertChange::Status { status, reason } => {
                    let known = self.status.as_ref().map_or(WorkflowStatus::Open, |(status, ..)| *status);
                    if known != *status {
                        let reason = reason.clone().filter(|_| *status == WorkflowStatus::Closed);
                        self.status = Some((*status, reason, now));
                    }
                }
                AlertChange::Tags { add, remove } => edit(&mut self.tags, add, remove),
                AlertChange::Assignees { add, remove } => edit(&mut self.assignees, add, remove),
                AlertChange::Note(text) => self.notes.push(text.clone()),
            }
        }

        fn check(&self, document: &Map<String, Value>) {
            let (status, reason, time) = self.status.clone().unwrap_or((WorkflowStatus::Open, None, 0));
            assert_eq!(document[STATUS], status.as_str());
            assert_eq!(document.get(REASON).and_then(Value::as_str), reason.as_deref());
            assert_eq!(document.get(STATUS_TIME), self.status.as_ref().map(|_| json!(time_text(time))).as_ref());
            assert_eq!(document.get(USER), self.status.as_ref().map(|_| json!("ann")).as_ref());
            assert_eq!((&document[TAGS], &document[ASSIGNEES]), (&json!(self.tags), &json!(self.assignees)));
            let notes = document.get(NOTES).and_then(Value::as_array).cloned().unwrap_or_default();
            assert_eq!(notes.iter().map(|note| note["text"].as_str().unwrap()).collect::<Vec<_>>(), self.notes);
        }
    }

    fn some_change() -> impl Strategy<Value = AlertChange> {
        let names = || prop::sample::subsequence(vec!["a", "ü", "'\""], 0..=3);
        let lists = || {
            (names(), names()).prop_map(|(add, remove)| {
                let remove = remove.iter().filter(|name| !add.contains(name)).map(ToString::to_string).collect();
                (add.iter().map(ToString::to_string).collect::<Vec<_>>(), remove)
            })
        };
        let status = prop::sample::select(WorkflowStatus::ALL.to_vec());
        prop_oneof![
            (status, prop::option::of("[a-z]{1,3}"))
                .prop_map(|(status, reason)| AlertChange::Status { status, reason }),
            lists().prop_map(|(add, remove)| AlertChange::Tags { add, remove }),
            lists().prop_map(|(add, remove)| AlertChange::Assignees { add, remove }),
            "[a-z]{1,4}".prop_map(AlertChange::Note),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Alerts, their columns and their building blocks go the way that a plain model of them goes, and a restart
        /// changes nothing.
        #[test]
        fn the_workflow_is_what_people_made_it(
            steps in prop::collection::vec(
                (prop::sample::subsequence(vec!["a", "s", "s0", "s1", "no"], 0..=5), some_change()), 1..12,
            ),
        ) {
            let (folder, control) = open();
            let made = [alert("a", 1, None), alert("s", 2, None), alert("s0", 2, Some("s")), alert("s1", 2, Some("s"))];
            control.commit_execution(&[], &made).unwrap();
            let mut model: BTreeMap<String, Work> =
                made.iter().map(|alert| (alert.id.clone(), Work::default())).collect();
            for ((asked, change), now) in steps.iter().zip(10..) {
                let asked: Vec<String> = asked.iter().chain(asked.first()).map(ToString::to_string).collect();
                let found = control.change_alerts(&asked, change, "ann", now).unwrap();
                let known: BTreeSet<&String> = asked.iter().filter(|id| *id != "no").collect();
                prop_assert_eq!(found as usize, known.len());
                let with_shell = asked.iter().any(|id| id == "s");
                for (id, work) in &mut model {
                    if asked.contains(id) || (with_shell && id.starts_with('s')) {
                        work.change(change, now);
                    }
                }
            }
            drop(control);
            let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
            let documents = documents(&control);
            for (id, work) in &model {
                work.check(&documents[id]);
                let status = work.status.as_ref().map_or(WorkflowStatus::Open, |(status, ..)| *status);
                let query = AlertQuery {
                    ids: Some(vec![id.clone()]),
                    statuses: vec![status],
                    tags: work.tags.clone(),
                    assignees: work.assignees.clone(),
                    include_building_blocks: true,
                    ..AlertQuery::default()
                };
                prop_assert_eq!(ids(&control, &query), [id.as_str()]);
            }
            let open = model.iter().filter(|(id, work)| {
                let is_open = work.status.as_ref().is_none_or(|(status, ..)| *status == WorkflowStatus::Open);
                is_open && id.len() == 1
            });
            prop_assert_eq!(control.count_alerts().unwrap()[0], (WorkflowStatus::Open, open.count() as u64));
            // What comes again stays as people made it.
            control.commit_execution(&[], &made).unwrap();
            prop_assert_eq!(self::documents(&control), documents);
        }
    }
}
