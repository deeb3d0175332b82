//! Rules that run because somebody asked, in the background, one request after the other. What they did is in the ledger;
//! what is waiting when the service stops is not done.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use eqlipse_control::{AuditEntry, Execution, ExecutionStatus, RuleKey, WindowKind};
use eqlipse_schedule::{DueWindow, ScheduleError};

use crate::http::Failure;
use crate::state::App;

/// How many requests may wait.
pub const MAX_WAITING: usize = 16;

/// A rule, and what it is to look at.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) rule_id: String,
    pub(super) work: Work,
}

/// What a rule is to look at.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A stretch of time, by the events' own time.
    Range { from: i64, to: i64 },
    /// Windows that it missed.
    Windows(Vec<DueWindow>),
}

/// Has jobs done when those before them are.
pub(super) fn start(app: &App, jobs: Vec<Job>, by: &str) -> Result<(), Failure> {
    let busy = |_| Failure::Overloaded {
        reason: format!("{MAX_WAITING} manual runs wait already; try again later"),
        retry_after: Duration::from_secs(60),
    };
    // Held until all of its jobs are done.
    let waiting = app.manual_waiting.clone().try_acquire_owned().map_err(busy)?;
    for job in &jobs {
        let what = match &job.work {
            Work::Range { .. } => "rule_run",
            Work::Windows(_) => "rule_fill_gaps",
        };
        let (who, action, object) = (by.to_owned(), what.to_owned(), job.rule_id.clone());
        app.control.audit(&AuditEntry { time: crate::now(), who, action, object, detail: String::new() })?;
    }
    let app = app.clone();
    let work = move || {
        {
            let _turn = app.manual_turn.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.iter().take_while(|_| !app.stopping.load(Ordering::Relaxed)).for_each(|job| run(&app, job));
        }
        // A service that stops waits for those that wait; then nobody has its folder any more.
        drop(app);
        drop(waiting);
    };
    let thread = std::thread::Builder::new().name("eqlipse-manual".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Failure::Internal(error.to_string()))
}

fn run(app: &App, job: &Job) {
    let key = RuleKey::Id(&job.id);
    let done = match &job.work {
        Work::Range { from, to } => app.scheduler.backfill(&key, WindowKind::Manual, *from, *to),
        Work::Windows(windows) => app.scheduler.fill(&key, windows),
    };
    say(&job.rule_id, done);
}

fn say(rule: &str, done: Result<Vec<Execution>, ScheduleError>) {
    match done {
        Ok(executions) => {
            let alerts = executions.iter().map(|execution| execution.new_alerts).sum::<u64>();
            let failed = executions.iter().filter(|execution| execution.status == ExecutionStatus::Failed).count();
            tracing::info!(rule, windows = executions.len(), alerts, failed, "a rule was run because somebody asked");
        }
        Err(error) => tracing::error!(rule, %error, "a rule could not be run"),
    }
}
