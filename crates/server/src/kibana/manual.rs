//! Rules that run because somebody asked, in the background, one request at a time. What they did is in the ledger; what is
//! left when the service stops is done when it is there again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use eqlipse_control::{AuditEntry, ControlError, Execution, ExecutionStatus, RuleKey, WindowKind};
use eqlipse_schedule::{BrokenOff, DueWindow, EvaluateError, ScheduleError};
use eqlipse_store::StoreError;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use crate::http::Failure;
use crate::state::App;

/// How many requests may wait.
pub const MAX_WAITING: usize = 16;

/// How long a job waits for what went wrong to pass.
const RETRY: Duration = Duration::from_secs(30);

/// How often a job is tried of which nothing can be done: for an hour. Others want its place.
const MAX_TRIES: u32 = 120;

/// A rule, and what it is to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) rule_id: String,
    pub(super) work: Work,
}

/// What a rule is to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// A stretch of time, by the events' own time.
    Range { from: i64, to: i64 },
    /// Windows that it missed.
    Windows(Vec<DueWindow>),
}

impl Work {
    /// Leaves out the windows up to the one that was due then.
    fn go_on_behind(&mut self, last: i64) {
        match self {
            Self::Range { from, .. } => *from = last + 1,
            Self::Windows(windows) => windows.retain(|window| window.end > last),
        }
    }
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
    let internal = |error: serde_json::Error| Failure::Internal(error.to_string());
    let number = app.control.add_manual_run(&serde_json::to_string(&jobs).map_err(internal)?)?;
    spawn(app, vec![(number, jobs)], waiting).or_else(|error| {
        app.control.set_manual_run(number, None)?;
        Err(Failure::Internal(error.to_string()))
    })
}

/// Goes on with what was left when the service stopped.
pub(crate) fn resume(app: &App) -> Result<(), ControlError> {
    let mut runs = Vec::new();
    for (number, jobs) in app.control.manual_runs()? {
        match serde_json::from_str(&jobs) {
            Ok(jobs) => runs.push((number, jobs)),
            Err(_) => {
                tracing::error!(number, "a manual run is not understood, and left out");
                app.control.set_manual_run(number, None)?;
            }
        }
    }
    let Ok(waiting) = app.manual_waiting.clone().try_acquire_owned() else { return Ok(()) };
    if !runs.is_empty()
        && let Err(error) = spawn(app, runs, waiting)
    {
        tracing::error!(%error, "no thread for manual runs: they wait for the next start");
    }
    Ok(())
}

fn spawn(app: &App, runs: Vec<(i64, Vec<Job>)>, waiting: OwnedSemaphorePermit) -> std::io::Result<()> {
    let app = app.clone();
    let work = move || {
        runs.into_iter().for_each(|(number, jobs)| run_all(&app, number, jobs.into()));
        // A service that stops waits for those that wait; then nobody has its folder any more.
        drop(app);
        drop(waiting);
    };
    std::thread::Builder::new().name("eqlipse-manual".to_owned()).spawn(work).map(drop)
}

fn run_all(app: &App, number: i64, mut jobs: VecDeque<Job>) {
    let mut turn = app.manual_turn.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tries = 0;
    while let Some(job) = jobs.front_mut() {
        if app.stopping.load(Ordering::Relaxed) {
            return;
        }
        // One that panics must not do so again at each start.
        let ran = catch_unwind(AssertUnwindSafe(|| run(app, job))).unwrap_or_else(|_| {
            tracing::error!(rule = job.rule_id, "internal error, please report it: a manual run panicked");
            Ran::default()
        });
        tries = ran.tries(tries);
        if let Some(last) = ran.last {
            job.work.go_on_behind(last);
        }
        let is_tried_again = ran.may_pass && tries < MAX_TRIES;
        if !is_tried_again && !app.stopping.load(Ordering::Relaxed) {
            if ran.may_pass {
                tracing::error!(rule = job.rule_id, tries, "what is left of a manual run is given up");
            }
            jobs.pop_front();
            tries = 0;
        }
        let left = (!jobs.is_empty()).then(|| serde_json::to_string(&jobs).unwrap_or_default());
        if let Err(error) = app.control.set_manual_run(number, left.as_deref()) {
            tracing::error!(%error, "what is left of a manual run cannot be kept: it is done again after a restart");
        }
        if is_tried_again {
            // Others need not wait for the same.
            drop(turn);
            pause(app);
            turn = app.manual_turn.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Waits a while, or until the service stops.
fn pause(app: &App) {
    let until = Instant::now() + RETRY;
    while Instant::now() < until && !app.stopping.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What came of a job.
#[derive(Default)]
struct Ran {
    /// When the last window was due that was evaluated.
    last: Option<i64>,
    /// It was broken off by what may pass, and is to go on behind that.
    may_pass: bool,
}

impl Ran {
    /// How many tries there were since a window was evaluated, this one among them.
    fn tries(&self, before: u32) -> u32 {
        if self.last.is_some() { 1 } else { before + 1 }
    }
}

fn run(app: &App, job: &Job) -> Ran {
    let key = RuleKey::Id(&job.id);
    let done = match &job.work {
        Work::Range { from, to } => app.scheduler.backfill(&key, WindowKind::Manual, *from, *to),
        Work::Windows(windows) => app.scheduler.fill(&key, windows),
    };
    say(&job.rule_id, &done);
    let (done, may_pass) = match done {
        Ok(done) => (done, false),
        Err(BrokenOff { done, error }) => (done, may_pass(&error)),
    };
    Ran { last: done.last().map(|last| last.scheduled), may_pass }
}

/// Whether it may work later what went wrong, as when a disk is full.
fn may_pass(error: &ScheduleError) -> bool {
    match error {
        ScheduleError::Control(error) => matches!(error, ControlError::Database(_)),
        ScheduleError::Store(error) | ScheduleError::Evaluate(EvaluateError::Store(error)) => {
            !matches!(error, StoreError::Rules(_))
        }
        ScheduleError::Evaluate(_) | ScheduleError::Rule(_) => false,
    }
}

fn say(rule: &str, done: &Result<Vec<Execution>, BrokenOff>) {
    match done {
        Ok(executions) => {
            let alerts = executions.iter().map(|execution| execution.new_alerts).sum::<u64>();
            let failed = executions.iter().filter(|execution| execution.status == ExecutionStatus::Failed).count();
            tracing::info!(rule, windows = executions.len(), alerts, failed, "a rule was run because somebody asked");
        }
        Err(BrokenOff { done, error }) => {
            tracing::error!(rule, windows = done.len(), %error, "a rule could not be run");
        }
    }
}

#[cfg(test)]
mod tests {
    use eqlipse_schedule::RuleWindow;

    use super::*;

    #[test]
    fn what_was_broken_off_goes_on_behind_its_last_window() {
        let window = |end| DueWindow { end, window: RuleWindow { from: end - 540, to: end }, basis: None };
        let mut windows = Work::Windows([300, 600, 900].map(window).into());
        windows.go_on_behind(600);
        assert!(matches!(&windows, Work::Windows(left) if *left == [window(900)]), "{windows:?}");
        let mut range = Work::Range { from: 100, to: 1_000 };
        range.go_on_behind(600);
        assert!(matches!(range, Work::Range { from: 601, to: 1_000 }), "{range:?}");
    }

    #[test]
    fn only_tries_in_vain_are_counted() {
        let in_vain = Ran { last: None, may_pass: true };
        assert_eq!((in_vain.tries(0), in_vain.tries(7)), (1, 8));
        assert_eq!(Ran { last: Some(600), may_pass: true }.tries(7), 1);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let error = eqlipse_control::Control::open(folder.path()).unwrap_err();
        assert!(may_pass(&ScheduleError::Control(error)));
        assert!(!may_pass(&ScheduleError::Rule("there is no such rule".to_owned())));
        assert!(!may_pass(&ScheduleError::Control(ControlError::Damaged("x".to_owned()))));
        let segment = || StoreError::Segment { path: "x".into(), reason: "y".to_owned() };
        assert!(may_pass(&ScheduleError::Store(segment())));
        assert!(may_pass(&ScheduleError::Evaluate(EvaluateError::Store(segment()))));
        assert!(!may_pass(&ScheduleError::Store(StoreError::Rules("x".to_owned()))));
    }
}
