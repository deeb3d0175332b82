//! Alerts and what people make of them.

use std::collections::HashSet;
use std::ops::ControlFlow;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::{Map, Value, json};

use crate::database::{add_audit, time_text};
use crate::{AuditEntry, Control, ControlError};

const STATUS: &str = "kibana.alert.workflow_status";
const STATUS_TIME: &str = "kibana.alert.workflow_status_updated_at";
const USER: &str = "kibana.alert.workflow_user";
const REASON: &str = "kibana.alert.workflow_reason";
const TAGS: &str = "kibana.alert.workflow_tags";
const ASSIGNEES: &str = "kibana.alert.workflow_assignee_ids";
const NOTES: &str = "kibana.alert.workflow_notes";

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

impl AlertChange {
    fn action(&self) -> &'static str {
        match self {
            Self::Status { .. } => "alert_status",
            Self::Tags { .. } => "alert_tags",
            Self::Assignees { .. } => "alert_assignees",
            Self::Note(_) => "alert_note",
        }
    }
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
    /// Also the building blocks of sequence alerts.
    pub include_building_blocks: bool,
}

pub(crate) fn insert_alerts(transaction: &Transaction<'_>, alerts: &[NewAlert]) -> Result<(), ControlError> {
    let mut statement =
        transaction.prepare_cached("INSERT OR IGNORE INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for alert in alerts {
        let status = alert.document.get(STATUS).and_then(Value::as_str).unwrap_or("open");
        let document = serde_json::to_string(&alert.document)?;
        let block_of = &alert.building_block_of;
        statement.execute(params![alert.id, alert.rule, alert.rule_id, alert.time, status, block_of, document])?;
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

    /// Gives the documents of alerts, oldest first, until it is told to stop.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn for_each_alert(
        &self,
        query: &AlertQuery,
        take: &mut dyn FnMut(&str, Map<String, Value>) -> ControlFlow<()>,
    ) -> Result<(), ControlError> {
        if let Some(ids) = &query.ids {
            return self.for_each_of(ids, query, take);
        }
        self.read(|connection| {
            let sql = "SELECT id, document, status, block_of IS NOT NULL FROM alerts
                 WHERE time >= ?1 AND time <= ?2 AND (?3 IS NULL OR rule = ?3) ORDER BY time, id";
            let mut statement = connection.prepare_cached(sql)?;
            let (from, to) = (query.from.unwrap_or(i64::MIN), query.to.unwrap_or(i64::MAX));
            let mut rows = statement.query(params![from, to, query.rule])?;
            while let Some(row) = rows.next()? {
                let (status, is_block): (String, bool) = (row.get(2)?, row.get(3)?);
                if !query.wants(&status, is_block) {
                    continue;
                }
                let (id, document): (String, String) = (row.get(0)?, row.get(1)?);
                if take(&id, serde_json::from_str(&document)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn for_each_of(
        &self,
        ids: &[String],
        query: &AlertQuery,
        take: &mut dyn FnMut(&str, Map<String, Value>) -> ControlFlow<()>,
    ) -> Result<(), ControlError> {
        self.read(|connection| {
            let sql = "SELECT document, status, block_of IS NOT NULL, time, rule FROM alerts WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            for id in ids {
                let mut rows = statement.query([id])?;
                let Some(row) = rows.next()? else { continue };
                let (status, is_block): (String, bool) = (row.get(1)?, row.get(2)?);
                let (time, rule): (i64, String) = (row.get(3)?, row.get(4)?);
                let is_in = query.from.is_none_or(|from| time >= from)
                    && query.to.is_none_or(|to| time <= to)
                    && query.rule.as_ref().is_none_or(|wanted| *wanted == rule);
                if !is_in || !query.wants(&status, is_block) {
                    continue;
                }
                let document: String = row.get(0)?;
                if take(id, serde_json::from_str(&document)?).is_break() {
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
            let sql = "SELECT count(*) FROM alerts WHERE block_of IS NULL AND status = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let count = |status: WorkflowStatus| {
                let count: i64 = statement.query_row([status.as_str()], |row| row.get(0))?;
                Ok((status, count as u64))
            };
            WorkflowStatus::ALL.into_iter().map(count).collect()
        })
    }

    /// Changes alerts, and the building blocks of those that are sequences. Returns how many alerts there were, building
    /// blocks apart; ids without an alert are passed over.
    ///
    /// # Errors
    /// If the database cannot be written; then nothing is changed.
    pub fn change_alerts(&self, ids: &[String], change: &AlertChange, by: &str, now: i64) -> Result<u64, ControlError> {
        self.write(|transaction| {
            let mut changed = 0;
            for id in ids {
                if !change_one(transaction, id, change, by, now)? {
                    continue;
                }
                changed += 1;
                let mut blocks = transaction.prepare_cached("SELECT id FROM alerts WHERE block_of = ?1")?;
                let blocks = blocks.query_map([id], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
                for block in blocks {
                    change_one(transaction, &block, change, by, now)?;
                }
                let detail = format!("{change:?}");
                add_audit(transaction, &AuditEntry::new(now, by, change.action(), id, detail))?;
            }
            Ok(changed)
        })
    }

    /// Removes alerts that were made before a time. Returns how many, building blocks included.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn prune_alerts(&self, before: i64) -> Result<u64, ControlError> {
        self.write(|transaction| Ok(transaction.execute("DELETE FROM alerts WHERE time < ?1", [before])? as u64))
    }
}

impl AlertQuery {
    fn wants(&self, status: &str, is_block: bool) -> bool {
        (self.include_building_blocks || !is_block)
            && (self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted.as_str() == status))
    }
}

/// Changes one alert, and says whether it is there.
fn change_one(
    transaction: &Transaction<'_>,
    id: &str,
    change: &AlertChange,
    by: &str,
    now: i64,
) -> Result<bool, ControlError> {
    let mut select = transaction.prepare_cached("SELECT document FROM alerts WHERE id = ?1")?;
    let Some(text) = select.query_row([id], |row| row.get::<_, String>(0)).optional()? else { return Ok(false) };
    let mut document: Map<String, Value> = serde_json::from_str(&text)?;
    apply(&mut document, change, by, now);
    let status = document.get(STATUS).and_then(Value::as_str).unwrap_or("open").to_owned();
    let mut update = transaction.prepare_cached("UPDATE alerts SET document = ?2, status = ?3 WHERE id = ?1")?;
    update.execute(params![id, serde_json::to_string(&document)?, status])?;
    Ok(true)
}

fn apply(document: &mut Map<String, Value>, change: &AlertChange, by: &str, now: i64) {
    match change {
        AlertChange::Status { status, reason } => {
            document.insert(STATUS.to_owned(), status.as_str().into());
            document.insert(STATUS_TIME.to_owned(), time_text(now).into());
            document.insert(USER.to_owned(), by.into());
            document.shift_remove(REASON);
            if let Some(reason) = reason {
                document.insert(REASON.to_owned(), reason.as_str().into());
            }
        }
        AlertChange::Tags { add, remove } => edit_list(document, TAGS, add, remove),
        AlertChange::Assignees { add, remove } => edit_list(document, ASSIGNEES, add, remove),
        AlertChange::Note(text) => {
            let note = json!({ "text": text, "created_by": by, "created_at": time_text(now) });
            match document.entry(NOTES).or_insert_with(|| json!([])) {
                Value::Array(notes) => notes.push(note),
                other => *other = json!([note]),
            }
        }
    }
}

fn edit_list(document: &mut Map<String, Value>, field: &str, add: &[String], remove: &[String]) {
    let known = document.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut items: Vec<String> = known.iter().filter_map(|item| Some(item.as_str()?.to_owned())).collect();
    items.extend(add.iter().cloned());
    items.retain(|item| !remove.contains(item));
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
    document.insert(field.to_owned(), items.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Execution, ExecutionStatus, WindowKind};

    fn alert(id: &str, time: i64, block_of: Option<&str>) -> NewAlert {
        let document = json!({ "kibana.alert.uuid": id, STATUS: "open", TAGS: [] });
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

    fn open() -> (tempfile::TempDir, Control) {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        (folder, control)
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
        assert_eq!(control.prune_executions(20).unwrap(), 1);
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
    fn two_writers_make_an_alert_once() {
        let (_folder, control) = open();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let control = &control;
                scope.spawn(move || {
                    for number in 0..50 {
                        let mut made = alert(&number.to_string(), number, None);
                        made.rule_id = thread.to_string();
                        control.commit_execution(&[], &[made]).unwrap();
                    }
                });
            }
        });
        assert_eq!(ids(&control, &AlertQuery::default()).len(), 50);
    }
}
