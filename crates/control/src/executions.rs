//! The ledger: every window of every rule that was truly evaluated, and what came of it.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::alerts::{NewAlert, insert_alerts};
use crate::{Control, ControlError};

/// How a window came to be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowKind {
    /// When it was over.
    OnTime,
    /// Some time later, but before the next one.
    Late,
    /// After the next one was due too: the service was stopped or busy.
    CaughtUp,
    /// Over the past, because somebody asked for it.
    Backfill,
    /// Once, because somebody asked for it.
    Manual,
}

impl WindowKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::OnTime, Self::Late, Self::CaughtUp, Self::Backfill, Self::Manual];

    /// Its name: `on_time`, `late`, `caught_up`, `backfill`, `manual`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnTime => "on_time",
            Self::Late => "late",
            Self::CaughtUp => "caught_up",
            Self::Backfill => "backfill",
            Self::Manual => "manual",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether the schedule asked for it.
    pub fn is_scheduled(self) -> bool {
        !matches!(self, Self::Backfill | Self::Manual)
    }
}

/// What time means in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeBasis {
    /// `event.ingested`.
    Ingested,
    /// `@timestamp`.
    Timestamp,
}

impl TimeBasis {
    /// Its name: `ingested`, `timestamp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingested => "ingested",
            Self::Timestamp => "timestamp",
        }
    }

    /// The basis of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ingested, Self::Timestamp].into_iter().find(|basis| basis.as_str() == text)
    }
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutionStatus {
    /// As it should.
    Succeeded,
    /// The window was evaluated, but something was left out; the message says what.
    Warning,
    /// The window was not evaluated; the message says why.
    Failed,
}

impl ExecutionStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Warning, Self::Failed];

    /// Its name: `succeeded`, `warning`, `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }

    /// The status of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// An execution of a rule. Times are in nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub uuid: String,
    /// The rule, by [`StoredRule::id`](crate::StoredRule::id).
    pub rule: String,
    /// The rule's `rule_id`.
    pub rule_id: String,
    /// Where the window begins.
    pub from: i64,
    /// Where it ends.
    pub to: i64,
    /// What time means in it; `None` for executions that older versions wrote.
    pub basis: Option<TimeBasis>,
    /// How it came to be evaluated.
    pub kind: WindowKind,
    /// When it was due.
    pub scheduled: i64,
    /// When the evaluation began.
    pub started: i64,
    /// When it ended.
    pub finished: i64,
    /// How it ended.
    pub status: ExecutionStatus,
    /// What the rule found in the window.
    pub matches: u64,
    /// Alerts that this made, without building blocks.
    pub new_alerts: u64,
    /// What was found and had an alert already.
    pub known_alerts: u64,
    /// What was found beyond `max_signals`.
    pub capped: u64,
    /// Events that were seen although they came late.
    pub late_events: u64,
    /// Events that came later than the bound.
    pub missed_events: u64,
    /// More about a warning or a failure.
    pub message: String,
}

impl Execution {
    /// Whether something is still to be looked for that it should have found.
    pub fn left_some(&self) -> bool {
        self.status == ExecutionStatus::Failed || self.capped > 0
    }
}

/// What the ledger says as a whole of a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerSummary {
    /// How many executions there were of each kind and status.
    pub counts: Vec<(WindowKind, ExecutionStatus, u64)>,
    /// Windows of enabled rules that failed and were never evaluated.
    pub gaps: u64,
}

impl LedgerSummary {
    /// How many executions ended so.
    pub fn of_status(&self, status: ExecutionStatus) -> u64 {
        self.counts.iter().filter(|(_, of, _)| *of == status).map(|(_, _, count)| count).sum()
    }

    /// How many executions were of a kind.
    pub fn of_kind(&self, kind: WindowKind) -> u64 {
        self.counts.iter().filter(|(of, _, _)| *of == kind).map(|(_, _, count)| count).sum()
    }
}

/// An execution of the same window, or of more, that came to its end: before, if somebody ran the rule again by hand. One
/// by another time looked at other events.
const IS_FILLED: &str = "EXISTS (SELECT 1 FROM executions AS other WHERE other.rule = gap.rule
    AND other.window_to = gap.window_to AND other.window_from <= gap.window_from AND other.status <> 'failed'
    AND coalesce(other.basis = gap.basis, TRUE))";

/// The kinds of executions that the schedule asked for, in SQL.
const IS_SCHEDULED: &str = "kind NOT IN ('backfill', 'manual')";

impl Control {
    /// Counts the executions that ended since a time.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ledger_summary(&self, since: i64) -> Result<LedgerSummary, ControlError> {
        self.read(|connection| {
            let sql = "SELECT kind, status, count(*) FROM executions WHERE finished >= ?1 GROUP BY kind, status";
            let mut statement = connection.prepare_cached(sql)?;
            let counts = statement.query_map([since], |row| {
                let (kind, status): (String, String) = (row.get(0)?, row.get(1)?);
                let kind = WindowKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?;
                let status = ExecutionStatus::parse(&status).ok_or_else(|| unknown("status", &status))?;
                Ok((kind, status, row.get::<_, i64>(2)? as u64))
            })?;
            let counts = counts.collect::<Result<_, _>>()?;
            // The same window may have failed more than once. Rules that are off or gone are not run over what they missed.
            let sql = format!(
                "SELECT count(*) FROM (SELECT DISTINCT rule, window_to FROM executions AS gap
                 WHERE status = 'failed' AND finished >= ?1 AND rule IN (SELECT id FROM rules WHERE enabled)
                 AND NOT {IS_FILLED})"
            );
            let gaps = connection.prepare_cached(&sql)?.query_row([since], |row| row.get::<_, i64>(0))?;
            Ok(LedgerSummary { counts, gaps: gaps as u64 })
        })
    }

    /// Writes executions into the ledger, with the alerts that they made. Alerts that are there already stay as they are.
    ///
    /// # Errors
    /// If the database cannot be written; then nothing of it is.
    pub fn commit_execution(&self, executions: &[Execution], alerts: &[NewAlert]) -> Result<(), ControlError> {
        if executions.is_empty() && alerts.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            executions.iter().try_for_each(|execution| insert(transaction, execution))?;
            insert_alerts(transaction, alerts)
        })
    }

    /// A rule's executions, newest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ledger(&self, rule: &str, limit: usize) -> Result<Vec<Execution>, ControlError> {
        self.read(|connection| {
            let sql = "SELECT * FROM executions WHERE rule = ?1 ORDER BY number DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![rule, i64::try_from(limit).unwrap_or(i64::MAX)], execution)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A rule's executions over windows that end in a stretch of time, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ledger_between(&self, rule: &str, from: i64, to: i64) -> Result<Vec<Execution>, ControlError> {
        self.read(|connection| {
            let sql = "SELECT * FROM executions WHERE rule = ?1 AND window_to BETWEEN ?2 AND ?3 ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![rule, from, to], execution)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The last of a rule's windows before a stretch of time, and the first behind it, of those that the schedule had
    /// evaluated.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ledger_around(&self, rule: &str, from: i64, to: i64) -> Result<Vec<Execution>, ControlError> {
        self.read(|connection| {
            let find = |which: &str, moment: i64| {
                let sql = format!(
                    "SELECT * FROM executions WHERE rule = ?1 AND {IS_SCHEDULED} AND window_to {which} LIMIT 1"
                );
                connection.prepare_cached(&sql)?.query_row(params![rule, moment], execution).optional()
            };
            let before = find("< ?2 ORDER BY window_to DESC", from)?;
            Ok(before.into_iter().chain(find("> ?2 ORDER BY window_to", to)?).collect())
        })
    }

    /// The latest execution of every rule that has one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn latest_executions(&self) -> Result<Vec<Execution>, ControlError> {
        self.read(|connection| {
            // One look-up a rule: a ledger of weeks has millions of rows.
            let sql = "WITH known (rule) AS (SELECT rule FROM windows UNION SELECT id FROM rules)
                 SELECT executions.* FROM known JOIN executions
                 ON number = (SELECT max(number) FROM executions AS own WHERE own.rule = known.rule)";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], execution)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// When the last window of a rule was due that the schedule had evaluated.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last_window(&self, rule: &str) -> Result<Option<i64>, ControlError> {
        Ok(self.last_windows(rule)?.map(|(last, _)| last))
    }

    /// When the last window of a rule was due that the schedule had evaluated, and the last one that left nothing out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last_windows(&self, rule: &str) -> Result<Option<(i64, i64)>, ControlError> {
        self.read(|connection| {
            let sql = "SELECT last, coalesce(whole, last) FROM windows WHERE rule = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([rule], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })
    }

    /// How many new alerts those of a rule's executions made that the schedule asked for and that were due behind `after`,
    /// up to `to`. Alerts and their executions are one transaction, so that this is right whenever the service was killed.
    /// Only executions that are younger than the last one up to `after` are looked at.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn alerts_made(&self, rule: &str, after: i64, to: i64) -> Result<u64, ControlError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT scheduled, new_alerts FROM executions WHERE rule = ?1 AND {IS_SCHEDULED} ORDER BY number DESC"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([rule])?;
            let mut made = 0;
            while let Some(row) = rows.next()? {
                match row.get::<_, i64>(0)? {
                    scheduled if scheduled <= after => break,
                    // A clock that is set now was ahead.
                    scheduled if scheduled > to => {}
                    _ => made += row.get::<_, i64>(1)? as u64,
                }
            }
            Ok(made)
        })
    }

    /// Has the schedule go on from `now` where it is ahead: the clock was.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn go_back(&self, now: i64) -> Result<(), ControlError> {
        self.write(|transaction| {
            let sql = "UPDATE windows SET last = min(last, ?1), whole = min(whole, ?1) WHERE last > ?1";
            transaction.execute(sql, [now])?;
            Ok(())
        })
    }

    /// Removes executions that ended before a time. Which window of a rule was the last stays known.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn prune_executions(&self, before: i64) -> Result<u64, ControlError> {
        self.prune("executions", "finished", before, |_, _| Ok(()))
    }
}

fn insert(transaction: &Transaction<'_>, execution: &Execution) -> Result<(), ControlError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO executions (uuid, rule, rule_id, window_from, window_to, kind, scheduled, started, finished, status,
         matches, new_alerts, known_alerts, capped, late_events, missed_events, message, basis)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?;
    statement.execute(params![
        execution.uuid,
        execution.rule,
        execution.rule_id,
        execution.from,
        execution.to,
        execution.kind.as_str(),
        execution.scheduled,
        execution.started,
        execution.finished,
        execution.status.as_str(),
        execution.matches as i64,
        execution.new_alerts as i64,
        execution.known_alerts as i64,
        execution.capped as i64,
        execution.late_events as i64,
        execution.missed_events as i64,
        execution.message,
        execution.basis.map(TimeBasis::as_str),
    ])?;
    if execution.kind.is_scheduled() {
        // The first window of a rule owes nothing of what came before.
        let mut statement = transaction.prepare_cached(
            "INSERT INTO windows (rule, last, whole) VALUES (?1, ?2, ?2) ON CONFLICT (rule) DO UPDATE SET
             last = max(last, ?2), whole = CASE WHEN ?3 THEN coalesce(whole, last) ELSE max(coalesce(whole, last), ?2) END",
        )?;
        statement.execute(params![execution.rule, execution.scheduled, execution.left_some()])?;
    }
    Ok(())
}

/// What another program wrote into the table.
fn unknown(column: &str, text: &str) -> rusqlite::Error {
    let said = format!("unknown {column} {text:?} of an execution");
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, said.into())
}

fn execution(row: &Row<'_>) -> rusqlite::Result<Execution> {
    let (kind, status): (String, String) = (row.get("kind")?, row.get("status")?);
    let basis: Option<String> = row.get("basis")?;
    let number = |name: &str| row.get::<_, i64>(name).map(|number| number as u64);
    Ok(Execution {
        uuid: row.get("uuid")?,
        rule: row.get("rule")?,
        rule_id: row.get("rule_id")?,
        from: row.get("window_from")?,
        to: row.get("window_to")?,
        basis: basis.map(|basis| TimeBasis::parse(&basis).ok_or_else(|| unknown("basis", &basis))).transpose()?,
        kind: WindowKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?,
        scheduled: row.get("scheduled")?,
        started: row.get("started")?,
        finished: row.get("finished")?,
        status: ExecutionStatus::parse(&status).ok_or_else(|| unknown("status", &status))?,
        matches: number("matches")?,
        new_alerts: number("new_alerts")?,
        known_alerts: number("known_alerts")?,
        capped: number("capped")?,
        late_events: number("late_events")?,
        missed_events: number("missed_events")?,
        message: row.get("message")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::RuleKey;
    use crate::testing::{open, rule};

    fn run(rule: &str, scheduled: i64, status: ExecutionStatus) -> Execution {
        Execution {
            uuid: format!("{rule} {scheduled} {status:?}"),
            rule: rule.to_owned(),
            rule_id: rule.to_owned(),
            from: scheduled - 200,
            to: scheduled - 100,
            basis: Some(TimeBasis::Ingested),
            kind: WindowKind::OnTime,
            scheduled,
            started: scheduled,
            finished: scheduled,
            status,
            matches: 0,
            new_alerts: 0,
            known_alerts: 0,
            capped: 0,
            late_events: 0,
            missed_events: 0,
            message: String::new(),
        }
    }

    #[test]
    fn it_is_known_when_the_last_window_was_due_that_left_nothing_out() {
        let (_folder, control) = open();
        let commit = |execution: Execution| control.commit_execution(&[execution], &[]).unwrap();
        let last = || control.last_windows("r").unwrap();
        assert_eq!(last(), None);
        commit(run("r", 300, ExecutionStatus::Failed));
        assert_eq!(last(), Some((300, 300)));
        commit(run("r", 600, ExecutionStatus::Failed));
        commit(Execution { capped: 1, ..run("r", 900, ExecutionStatus::Warning) });
        assert_eq!(last(), Some((900, 300)));
        // What was beyond the bound is not looked for any more.
        commit(run("r", 1_200, ExecutionStatus::Warning));
        assert_eq!(last(), Some((1_200, 1_200)));
        commit(Execution { kind: WindowKind::Manual, ..run("r", 1_500, ExecutionStatus::Succeeded) });
        assert_eq!(last(), Some((1_200, 1_200)));
        commit(run("r", 1_800, ExecutionStatus::Failed));
        control.go_back(1_900).unwrap();
        assert_eq!(last(), Some((1_800, 1_200)));
        control.go_back(700).unwrap();
        assert_eq!(last(), Some((700, 700)));
    }

    #[test]
    fn alerts_of_a_stretch_are_those_that_the_schedule_had_made() {
        let (_folder, control) = open();
        let commit = |scheduled: i64, new_alerts: u64, kind: WindowKind| {
            let uuid = format!("{scheduled} {}", kind.as_str());
            let run = Execution { uuid, new_alerts, kind, ..run("r", scheduled, ExecutionStatus::Succeeded) };
            control.commit_execution(&[run], &[]).unwrap();
        };
        assert_eq!(control.alerts_made("r", 0, i64::MAX).unwrap(), 0);
        for (scheduled, new_alerts) in [(300, 1), (310, 2), (5_000, 4), (320, 8), (600, 16), (601, 32)] {
            commit(scheduled, new_alerts, WindowKind::OnTime);
        }
        commit(330, 64, WindowKind::Backfill);
        let made = |after, to| control.alerts_made("r", after, to).unwrap();
        assert_eq!((made(300, 600), made(600, 900), made(610, 900)), (2 + 8 + 16, 32, 0));
        assert_eq!(control.alerts_made("other", 300, 600).unwrap(), 0);
    }

    #[test]
    fn a_rule_that_was_off_owes_nothing() {
        let (_folder, control) = open();
        let id = control.create_rule(rule(json!({ "enabled": true })), "ann", 0).unwrap().id;
        let (first, second) = (run(&id, 300, ExecutionStatus::Succeeded), run(&id, 600, ExecutionStatus::Failed));
        control.commit_execution(&[first, second], &[]).unwrap();
        let ids = [id.clone()];
        let last = || control.last_windows(&id).unwrap();
        control.set_enabled(&ids, true, "ann", 700).unwrap();
        let patch = |fields: serde_json::Value, now: i64| {
            let serde_json::Value::Object(fields) = fields else { unreachable!() };
            control.patch_rule(&RuleKey::Id(&id), fields, "ann", now).unwrap();
        };
        patch(json!({ "enabled": true, "name": "other" }), 750);
        control.set_enabled(&ids, false, "ann", 800).unwrap();
        assert_eq!(last(), Some((600, 300)));
        control.set_enabled(&ids, true, "ann", 900).unwrap();
        assert_eq!(last(), Some((900, 900)));
        patch(json!({ "enabled": false }), 1_000);
        patch(json!({ "enabled": true }), 1_100);
        assert_eq!(last(), Some((1_100, 1_100)));
    }

    #[test]
    fn windows_before_and_behind_a_stretch_are_found() {
        let (_folder, control) = open();
        let all = [300, 600, 900, 1_200].map(|due| run("r", due, ExecutionStatus::Succeeded));
        let by_hand = Execution { kind: WindowKind::Manual, ..run("r", 800, ExecutionStatus::Succeeded) };
        control.commit_execution(&all, &[]).unwrap();
        control.commit_execution(&[by_hand], &[]).unwrap();
        let around = |from, to| -> Vec<i64> {
            control.ledger_around("r", from, to).unwrap().iter().map(|run| run.scheduled).collect()
        };
        assert_eq!((around(600, 700), around(0, 100), around(2_000, 3_000)), (vec![600, 900], vec![300], vec![1_200]));
    }
}
