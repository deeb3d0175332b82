//! What runs when.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eqlipse_alerts::Alert;
use eqlipse_control::{Control, ControlError, Execution, ExecutionStatus, NewAlert, RuleKey, StoredRule, WindowKind};
use eqlipse_events::Window;
use eqlipse_store::{Snapshot, Store, StoreError, TimeRange};
use foldhash::fast::RandomState;
use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::active::{ActiveRule, ActiveRules};
use crate::evaluate::{
    EvaluateError, Evaluated, Finding, Late, LateEvents, Task, TimeBasis, evaluate, late_events, too_many,
};
use crate::execute::{Builder, Preview, PreviewedWindow, new_alerts};
use crate::window::{DueWindow, RuleWindow, due_ends, window_ends};

const NANOS: i64 = 1_000_000_000;
/// So many rules are correlated at a time: what they matched stands in memory together.
const RULES_AT_A_TIME: usize = 128;
/// So many alerts are built before the known ones among them are looked up.
const ALERTS_AT_A_TIME: usize = 256;
/// An execution that begins so much behind its window's end, or a tenth of the interval, is late.
const PUNCTUAL: i64 = 5 * NANOS;

/// Rules whose findings reach about as far are run together.
const REACHES: [i64; 4] = [0, 60 * NANOS, 300 * NANOS, 1800 * NANOS];

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, in nanoseconds since the Unix epoch.
    fn now(&self) -> i64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
    }
}

/// How the scheduler works.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleOptions {
    /// Rules run at least so often, whatever their interval.
    pub tick: Option<Duration>,
    /// How late an event may be, by `@timestamp`, and still be seen by rules that go by it.
    pub late_bound: Duration,
    /// The most events of a window that a rule's filters may let through: beyond it the rule is not evaluated, and its
    /// ledger says so.
    pub rule_events: usize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self { tick: None, late_bound: Duration::from_secs(3600), rule_events: 1_000_000 }
    }
}

/// Why the scheduler could not do something.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// Rules, alerts, ledger.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Events.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An evaluation.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// There is no such rule, or it cannot run.
    #[error("{0}")]
    Rule(String),
}

/// What the scheduler is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStatus {
    /// Rules that run.
    pub rules: usize,
    /// Rules that are enabled and cannot: their id, and why.
    pub failed: Vec<(String, String)>,
    /// Executions since the start.
    pub executions: u64,
    /// Executions since the start that failed.
    pub failures: u64,
    /// Alerts since the start, without building blocks.
    pub alerts: u64,
    /// How far the evaluation of the latest window was behind its end, in nanoseconds.
    pub lag: i64,
    /// The end of the oldest window that is due and not evaluated yet; `None` while nothing is due.
    pub due: Option<i64>,
    /// What went wrong as a whole last, until it works again.
    pub problem: Option<String>,
}

/// Runs rules.
pub struct Scheduler {
    store: Store,
    control: Control,
    options: ScheduleOptions,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    status: Mutex<SchedulerStatus>,
    /// Why executions failed, as far as it was logged.
    complaints: Mutex<HashSet<String>>,
    stopping: AtomicBool,
    wake: (Mutex<bool>, Condvar),
}

struct State {
    active: Arc<ActiveRules>,
    generation: u64,
    rules: HashMap<String, RuleState>,
}

/// How many reasons are remembered as logged.
const MAX_COMPLAINTS: usize = 1_000;

/// What is remembered of a rule. The ledger has the same, but for what came since its last row.
#[derive(Default)]
struct RuleState {
    /// When the last window that was evaluated was due.
    last: Option<i64>,
    /// Where that window ended: before, if the rule's `to` is not `now`.
    to: Option<i64>,
    /// When the last window was due that left nothing out: what came late is looked for since then.
    whole: Option<i64>,
    /// As what it was evaluated then.
    fingerprint: Option<u128>,
    /// The last execution left something out: it was capped, or it failed.
    left_some: bool,
    /// Findings of recent windows, and the end of the last window that had them.
    seen: HashMap<SeenFinding, i64>,
}

/// What tells a finding from others of its rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SeenFinding {
    /// The sequence numbers of its events.
    Events(Vec<Option<u64>>),
    /// What its only event has in common with copies of itself: where it lies in no window with a copy any more.
    Copies(u128),
}

impl SeenFinding {
    fn of(finding: &Finding) -> impl Iterator<Item = Self> {
        let copies = match finding.events[..] {
            [Some(event)] => event.identity.map(Self::Copies),
            _ => None,
        };
        [Self::Events(finding.sequences())].into_iter().chain(copies)
    }
}

impl RuleState {
    /// Whether there may be something in its window though nothing new matched.
    fn must_look_again(&self, rule: &ActiveRule) -> bool {
        self.left_some || self.fingerprint != Some(rule.fingerprint)
    }

    /// Since when only what is new can be in a finding that is not known; `None` if anything can.
    fn since(&self, rule: &ActiveRule) -> Option<i64> {
        self.to.filter(|_| !rule.needs_all && !self.must_look_again(rule))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What executions made, to be written.
#[derive(Default)]
struct Made {
    alerts: Vec<NewAlert>,
    /// Findings that are known once that is done: rule, finding, end of the window.
    fresh: Vec<(String, SeenFinding, i64)>,
}

impl Made {
    fn note(&mut self, rule: &ActiveRule, finding: &Finding, end: i64) {
        self.fresh.extend(SeenFinding::of(finding).map(|seen| (rule.id().to_owned(), seen, end)));
    }

    fn remember(self, state: &mut State) {
        for (rule, finding, end) in self.fresh {
            state.rules.entry(rule).or_default().seen.insert(finding, end);
        }
    }
}

/// Rules that are due over the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    end: i64,
    basis: TimeBasis,
    window: RuleWindow,
    /// Of rules that go by `@timestamp`: the end of their last window.
    since: Option<i64>,
}

impl Scheduler {
    /// The rules that are enabled, compiled, as the [`Store`] needs them before it is opened.
    ///
    /// # Errors
    /// If the rules cannot be read.
    pub fn enabled_rules(control: &Control) -> Result<ActiveRules, ControlError> {
        let rules = control.rules()?;
        Ok(ActiveRules::compile(rules.iter().filter(|rule| rule.enabled)))
    }

    /// A scheduler over a store that was opened with these rules. What was matched while other rules were enabled is
    /// looked through for those that are new.
    ///
    /// # Errors
    /// If ledger or store cannot be read.
    pub fn new(
        store: Store,
        control: Control,
        active: ActiveRules,
        options: ScheduleOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ScheduleError> {
        let generation = control.rules_generation();
        let scheduler = Self {
            store,
            control,
            options,
            clock,
            state: Mutex::new(State { active: Arc::new(active), generation, rules: HashMap::new() }),
            status: Mutex::default(),
            complaints: Mutex::default(),
            stopping: AtomicBool::new(false),
            wake: Default::default(),
        };
        let mut state = lock(&scheduler.state);
        let active = state.active.clone();
        scheduler.adopt(&mut state, active)?;
        drop(state);
        Ok(scheduler)
    }

    /// Runs until [`Self::stop`]: call it on a thread of its own.
    pub fn run(&self) {
        while !self.stopping.load(Ordering::SeqCst) {
            // Rules must not end with the thread, and nobody know.
            let ran = catch_unwind(AssertUnwindSafe(|| self.run_due()));
            let problem = match ran {
                Ok(ran) => ran.err().map(|error| error.to_string()),
                Err(_) => Some("internal error, please report it: it panicked".to_owned()),
            };
            if let Some(problem) = &problem {
                tracing::error!(problem, "scheduled rules could not run");
            }
            let has_problem = problem.is_some();
            lock(&self.status).problem = problem;
            self.rest(if has_problem { Duration::from_secs(5) } else { self.until_next() });
        }
    }

    /// Ends [`Self::run`] after the window under way.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Looks at the rules now: they may have changed.
    pub fn wake(&self) {
        *lock(&self.wake.0) = true;
        self.wake.1.notify_all();
    }

    /// What it is doing.
    pub fn status(&self) -> SchedulerStatus {
        lock(&self.status).clone()
    }

    fn rest(&self, time: Duration) {
        let waited = self.wake.1.wait_timeout_while(lock(&self.wake.0), time, |woken| !*woken);
        *waited.map_or_else(|error| error.into_inner().0, |(woken, _)| woken) = false;
    }

    fn period(&self, rule: &ActiveRule) -> i64 {
        let tick = self.options.tick.map_or(i64::MAX, |tick| i64::try_from(tick.as_nanos()).unwrap_or(i64::MAX));
        rule.interval.min(tick.max(NANOS / 10)).max(1)
    }

    /// How long it is to the end of the next window, at most a second: rules may change in the meantime.
    fn until_next(&self) -> Duration {
        let now = self.clock.now();
        let state = lock(&self.state);
        let next = state.active.rules.iter().map(|rule| {
            let period = self.period(rule);
            (now.div_euclid(period) + 1) * period - now
        });
        let next = next.min().unwrap_or(NANOS).clamp(NANOS / 1_000, NANOS);
        Duration::from_nanos(next as u64)
    }

    /// Evaluates all windows that are due now, oldest first, and returns how many executions that were.
    ///
    /// # Errors
    /// If rules, ledger or alerts cannot be read or written. What a single rule cannot do is in its ledger.
    pub fn run_due(&self) -> Result<usize, ScheduleError> {
        let mut state = lock(&self.state);
        self.reload(&mut state)?;
        // Nothing arrives at or before it any more.
        let complete = self.store.watermark(self.clock.now());
        let snapshot = self.store.snapshot();
        let mut due: BTreeMap<Due, Vec<usize>> = BTreeMap::new();
        let active = state.active.clone();
        for (number, rule) in active.rules.iter().enumerate() {
            for end in self.ends(&state, rule, complete) {
                due.entry(self.due(&state, rule, end)).or_default().push(number);
            }
        }
        let mut executions = 0;
        let mut news = News::default();
        for (due, numbers) in due {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            // The first window of a rule ends in the past, and nobody waits for it.
            let last = |number: &usize| state.rules.get(active.rules[*number].id()).and_then(|known| known.last);
            lock(&self.status).due = numbers.iter().any(|number| last(number).is_some()).then_some(due.end);
            for numbers in numbers.chunks(RULES_AT_A_TIME) {
                let rules: Vec<&ActiveRule> = numbers.iter().map(|number| &active.rules[*number]).collect();
                executions += self.execute(&mut state, &active, &rules, due, &snapshot, &mut news)?;
            }
        }
        lock(&self.status).due = None;
        Ok(executions)
    }

    fn ends(&self, state: &State, rule: &ActiveRule, complete: i64) -> Vec<i64> {
        let last = state.rules.get(rule.id()).and_then(|known| known.last);
        window_ends(last, rule.interval, self.period(rule), complete)
    }

    fn due(&self, state: &State, rule: &ActiveRule, end: i64) -> Due {
        let since = match rule.basis {
            TimeBasis::Ingested => None,
            // Of several windows that are due, the first takes what came late.
            TimeBasis::Timestamp => state.rules.get(rule.id()).and_then(|known| known.whole.or(known.last)),
        };
        Due { end, basis: rule.basis, window: RuleWindow::of(&rule.rule, end), since }
    }

    fn reload(&self, state: &mut State) -> Result<(), ScheduleError> {
        let generation = self.control.rules_generation();
        if generation == state.generation {
            return Ok(());
        }
        let active = Arc::new(Self::enabled_rules(&self.control)?);
        self.adopt(state, active)?;
        state.generation = generation;
        Ok(())
    }

    /// Runs these rules from now on.
    fn adopt(&self, state: &mut State, active: Arc<ActiveRules>) -> Result<(), ScheduleError> {
        let now = self.clock.now();
        for rule in &active.rules {
            if !state.rules.contains_key(rule.id()) {
                let last = self.control.last_window(rule.id())?;
                state.rules.insert(rule.id().to_owned(), RuleState { last, ..RuleState::default() });
            }
        }
        let bound = i64::try_from(self.options.late_bound.as_nanos()).unwrap_or(i64::MAX);
        let first = |rule: &ActiveRule| {
            let last = state.rules.get(rule.id()).and_then(|known| known.last).unwrap_or(now);
            let window = RuleWindow::of(&rule.rule, last.min(now));
            window.from.saturating_sub(rule.lookback).saturating_sub(bound)
        };
        let since = active.rules.iter().map(first).min().unwrap_or(now);
        self.match_missing(&active, since)?;
        let mut status = lock(&self.status);
        (status.rules, status.failed) = (active.rules.len(), active.failed.clone());
        drop(status);
        state.active = active;
        Ok(())
    }

    /// Has the store look through what arrived since `since` for rules that it was not matched with.
    fn match_missing(&self, active: &ActiveRules, since: i64) -> Result<(), ScheduleError> {
        let range = TimeRange { ingested: Window { from: Some(since), to: None }, ..TimeRange::default() };
        let snapshot = self.store.snapshot();
        let mut missing: HashSet<u128> = HashSet::new();
        for part in snapshot.parts(&range) {
            // One whose files are damaged is named when it is looked through.
            let Ok(counts) = part.counts() else { continue };
            let known: HashSet<u128> = counts.iter().flat_map(|list| list.rules().fingerprints()).collect();
            missing.extend(active.compiled.fingerprints.iter().filter(|fingerprint| !known.contains(fingerprint)));
        }
        let stored = self.control.rules()?;
        let is_missing = |rule: &&StoredRule| missing.contains(&crate::fingerprint(&rule.rule));
        let added = ActiveRules::compile(stored.iter().filter(|rule| rule.enabled).filter(is_missing));
        Ok(self.store.set_rules(active.compiled.clone(), &added.compiled, since)?)
    }

    /// Runs rules over one window, and writes what came of it.
    fn execute(
        &self,
        state: &mut State,
        active: &ActiveRules,
        rules: &[&ActiveRule],
        due: Due,
        snapshot: &Snapshot,
        news: &mut News,
    ) -> Result<usize, ScheduleError> {
        let started = self.clock.now();
        let late = self.late(due, snapshot)?;
        let Some(since) =
            rules.iter().map(|rule| state.rules.get(rule.id()).and_then(|known| known.to)).min().flatten()
        else {
            return self.execute_all(state, active, rules, due, None, &late, started, snapshot);
        };
        // A rule none of whose stages has a new row can find nothing new.
        let news = news.since(snapshot, since);
        let (busy, idle): (Vec<&ActiveRule>, Vec<&ActiveRule>) = rules.iter().partition(|rule| {
            rule.basis == TimeBasis::Timestamp
                || rule.lookback > 0
                || state.rules.get(rule.id()).is_none_or(|known| known.must_look_again(rule))
                || news.is_none_or(|news| news.contains(&rule.fingerprint))
        });
        let mut written: Vec<Execution> = Vec::new();
        for rule in &idle {
            if due.end.rem_euclid(rule.interval) == 0 {
                written.push(self.execution(rule, due, &LateEvents::default(), started));
            }
        }
        self.control.commit_execution(&written, &[])?;
        idle.iter().for_each(|rule| note_end(state, rule, due.end));
        self.note(&written, started, due.end);
        // Rules that were last run at the same time, and need about the same parts, are run together.
        let mut groups: BTreeMap<(Option<i64>, usize), Vec<&ActiveRule>> = BTreeMap::new();
        for rule in busy {
            let since = state.rules.get(rule.id()).and_then(|known| known.since(rule));
            let reach = REACHES.partition_point(|reach| rule.reach.is_none_or(|of_rule| of_rule > *reach));
            groups.entry((since, reach)).or_default().push(rule);
        }
        let mut executions = written.len();
        for ((since, _), rules) in groups {
            executions += self.execute_all(state, active, &rules, due, since, &late, started, snapshot)?;
        }
        Ok(executions)
    }

    fn late(&self, due: Due, snapshot: &Snapshot) -> Result<LateEvents, ScheduleError> {
        let Some(since) = due.since else { return Ok(LateEvents::default()) };
        let bound = i64::try_from(self.options.late_bound.as_nanos()).unwrap_or(i64::MAX);
        Ok(late_events(snapshot, since, due.window.from, due.window.from.saturating_sub(bound))?)
    }

    #[allow(clippy::too_many_arguments, reason = "what an execution is of")]
    fn execute_all(
        &self,
        state: &mut State,
        active: &ActiveRules,
        rules: &[&ActiveRule],
        due: Due,
        since: Option<i64>,
        late: &LateEvents,
        started: i64,
        snapshot: &Snapshot,
    ) -> Result<usize, ScheduleError> {
        let reach = due.since.zip(late.oldest).map(|(since, oldest)| Late { since, oldest });
        let task = Task { window: due.window, late: reach, since };
        let most = self.options.rule_events;
        let evaluated = catch_unwind(AssertUnwindSafe(|| evaluate(active, rules, task, snapshot, most)));
        let found = match evaluated {
            Ok(Ok(found)) => found,
            failed if rules.len() > 1 => {
                // Each by itself, so that one cannot take the others down.
                tracing::warn!(?failed, "rules that failed together run one by one");
                let alone =
                    |rule: &&ActiveRule| self.execute_all(state, active, &[rule], due, since, late, started, snapshot);
                return rules.iter().map(alone).sum();
            }
            Ok(Err(error)) => return self.fail(state, rules, due, started, &error.to_string()),
            Err(_) => return self.fail(state, rules, due, started, "internal error, please report it: it panicked"),
        };
        let (mut executions, mut made) = (Vec::new(), Made::default());
        for rule in rules {
            let mut execution = self.execution(rule, due, late, started);
            if found.not_matched.contains(&rule.index) {
                execution.status = ExecutionStatus::Failed;
                execution.message = "some events of this window could not be matched with the rule".to_owned();
                state.rules.entry(rule.id().to_owned()).or_default().left_some = true;
            } else if let Some((_, events)) = found.too_many.iter().find(|(index, _)| *index == rule.index) {
                execution.status = ExecutionStatus::Failed;
                execution.message = too_many(*events);
                // Less of it may be in the next window.
                state.rules.entry(rule.id().to_owned()).or_default().left_some = true;
            } else if let Err(error) = self.collect(state, active, rule, &found, &mut execution, &mut made) {
                execution.status = ExecutionStatus::Failed;
                execution.message = error.to_string();
                state.rules.entry(rule.id().to_owned()).or_default().left_some = true;
            } else if let Some(error) = found.unreadable.first() {
                execution.status = ExecutionStatus::Failed;
                execution.message = format!("some events of this window were not looked at: {error}");
                // The next time, it may be there again, be mended, or be in quarantine.
                state.rules.entry(rule.id().to_owned()).or_default().left_some = true;
            }
            execution.finished = self.clock.now();
            let says_something = execution.new_alerts > 0 || execution.status != ExecutionStatus::Succeeded;
            if says_something || due.end.rem_euclid(rule.interval) == 0 {
                executions.push(execution);
            }
        }
        self.control.commit_execution(&executions, &made.alerts)?;
        made.remember(state);
        rules.iter().for_each(|rule| note_end(state, rule, due.end));
        self.note(&executions, started, due.end);
        Ok(executions.len())
    }

    /// Rules whose window could not be evaluated: the ledger says so, and the next window is not held up by it.
    fn fail(
        &self,
        state: &mut State,
        rules: &[&ActiveRule],
        due: Due,
        started: i64,
        reason: &str,
    ) -> Result<usize, ScheduleError> {
        let executions: Vec<Execution> = rules
            .iter()
            .map(|rule| {
                let mut execution = self.execution(rule, due, &LateEvents::default(), started);
                (execution.status, execution.message) = (ExecutionStatus::Failed, reason.to_owned());
                execution
            })
            .collect();
        self.control.commit_execution(&executions, &[])?;
        for rule in rules {
            state.rules.entry(rule.id().to_owned()).or_default().left_some = true;
            note_end(state, rule, due.end);
        }
        self.note(&executions, started, due.end);
        Ok(executions.len())
    }

    /// An execution that found nothing yet.
    fn execution(&self, rule: &ActiveRule, due: Due, late: &LateEvents, started: i64) -> Execution {
        let behind = started - due.end;
        let kind = match behind {
            _ if behind > rule.interval => WindowKind::CaughtUp,
            _ if behind > PUNCTUAL.max(rule.interval / 10) => WindowKind::Late,
            _ => WindowKind::OnTime,
        };
        let mut execution = Execution {
            uuid: Uuid::new_v4().to_string(),
            rule: rule.id().to_owned(),
            rule_id: rule.rule.rule_id.clone(),
            from: due.window.from,
            to: due.window.to,
            kind,
            scheduled: due.end,
            started,
            finished: started,
            status: ExecutionStatus::Succeeded,
            matches: 0,
            new_alerts: 0,
            known_alerts: 0,
            capped: 0,
            late_events: late.late,
            missed_events: late.missed,
            message: String::new(),
        };
        if late.missed > 0 {
            execution.status = ExecutionStatus::Warning;
            let example = late.example.as_deref().unwrap_or("unnamed");
            execution.message = format!(
                "{} events came later than the bound of {} s (schedule.late_bound) and were not looked at, such as {example}",
                late.missed,
                self.options.late_bound.as_secs(),
            );
        }
        execution
    }

    /// Makes alerts of what a rule found and nobody knows yet.
    fn collect(
        &self,
        state: &mut State,
        active: &ActiveRules,
        rule: &ActiveRule,
        found: &Evaluated,
        execution: &mut Execution,
        made: &mut Made,
    ) -> Result<(), ScheduleError> {
        let known = state.rules.entry(rule.id().to_owned()).or_default();
        let findings: Vec<&Finding> = found.findings.iter().filter(|finding| finding.rule == rule.index).collect();
        execution.matches = findings.len() as u64;
        let (old, new): (Vec<&Finding>, Vec<&Finding>) = findings
            .into_iter()
            .partition(|finding| SeenFinding::of(finding).any(|seen| known.seen.contains_key(&seen)));
        // Only once they are written is it certain that nobody needs to look at them again.
        old.iter().for_each(|finding| made.note(rule, finding, execution.to));
        execution.known_alerts = old.len() as u64;
        let most = u64::from(rule.rule.max_signals);
        let mut builder = Builder::new(active, &execution.uuid, execution.started, false);
        let mut left = new.len() as u64;
        let mut unreadable = None;
        for findings in new.chunks(ALERTS_AT_A_TIME) {
            if execution.new_alerts == most {
                break;
            }
            let mut built: Vec<(Alert, &Finding)> = Vec::new();
            for finding in findings {
                match builder.alert(finding, &found.parts) {
                    Ok(alert) => built.push((alert, finding)),
                    Err(error) => {
                        // The other findings are alerts all the same; this one is tried again in the next window.
                        left -= 1;
                        unreadable.get_or_insert(error);
                    }
                }
            }
            let ids: Vec<String> = built.iter().map(|(alert, _)| alert.id.clone()).collect();
            let mut ids = self.control.known_alerts(&ids)?;
            for (alert, finding) in &built {
                let is_known = ids.contains(&alert.id);
                if !is_known && execution.new_alerts == most {
                    continue;
                }
                left -= 1;
                made.note(rule, finding, execution.to);
                if is_known {
                    execution.known_alerts += 1;
                } else {
                    execution.new_alerts += 1;
                    ids.insert(alert.id.clone());
                    made.alerts.extend(new_alerts(alert, rule, execution.started));
                }
            }
        }
        execution.capped = left;
        known.left_some = left > 0 || unreadable.is_some();
        if left > 0 {
            execution.status = ExecutionStatus::Warning;
            let said = if execution.message.is_empty() { "" } else { "; " };
            execution.message += &format!(
                "{said}the limit of {most} alerts (max_signals) was reached: {left} more were found in this window"
            );
        }
        if let Some(error) = unreadable {
            execution.status = ExecutionStatus::Failed;
            execution.message = format!("findings whose events cannot be read were left out: {error}");
        }
        Ok(())
    }

    /// Logs why executions failed, each reason once: rules run often, and many fail for the same one.
    fn complain(&self, executions: &[Execution]) {
        let mut said = lock(&self.complaints);
        for execution in executions.iter().filter(|execution| execution.status == ExecutionStatus::Failed) {
            if said.len() >= MAX_COMPLAINTS {
                said.clear();
            }
            if said.insert(execution.message.clone()) {
                tracing::error!(rule = execution.rule_id, reason = execution.message, "an execution failed");
            }
        }
    }

    fn note(&self, executions: &[Execution], started: i64, end: i64) {
        let mut status = lock(&self.status);
        status.executions += executions.len() as u64;
        status.lag = (self.clock.now().max(started) - end).max(0);
        for execution in executions {
            status.alerts += execution.new_alerts;
            status.failures += u64::from(execution.status == ExecutionStatus::Failed);
        }
        drop(status);
        self.complain(executions);
    }

    /// What a rule finds in the windows that end at `ends`, without keeping it. The rule need not be stored. Windows are no
    /// longer begun after `deadline`, nor after one that failed.
    ///
    /// # Errors
    /// If the rule cannot run, or the store cannot be read.
    pub fn preview(&self, rule: &StoredRule, ends: &[i64], deadline: Instant) -> Result<Preview, ScheduleError> {
        let (active, rule) = self.alone(rule)?;
        let windows: Vec<RuleWindow> = ends.iter().map(|end| RuleWindow::of(&rule.rule, *end)).collect();
        let from = windows.iter().map(|window| window.from).min().unwrap_or(0).saturating_sub(rule.lookback);
        let snapshot = self.matched_with(&active, from)?;
        let mut preview = Preview::default();
        for window in windows {
            let started = Instant::now();
            if started >= deadline {
                preview.is_aborted = true;
                break;
            }
            let mut builder = Builder::new(&active, &Uuid::new_v4().to_string(), self.clock.now(), true);
            let task = Task { window, late: None, since: None };
            let found = evaluate(&active, &[&rule], task, &snapshot, self.options.rule_events);
            let capped = found
                .and_then(Evaluated::whole)
                .and_then(|found| preview.add(&mut builder, &found, rule.rule.max_signals));
            let is_failed = capped.is_err();
            let (capped, error) = capped.map_or_else(|error| (0, Some(error)), |capped| (capped, None));
            preview.windows.push(PreviewedWindow { capped, took: started.elapsed(), error });
            if is_failed {
                break;
            }
        }
        Ok(preview)
    }

    /// Runs a rule over the past, window by window, with the events' own time as the clock, and keeps its alerts. Returns
    /// the executions.
    ///
    /// # Errors
    /// If the rule cannot run, or store, ledger or alerts fail.
    pub fn backfill(
        &self,
        key: &RuleKey<'_>,
        kind: WindowKind,
        from: i64,
        to: i64,
    ) -> Result<Vec<Execution>, ScheduleError> {
        let (active, rule) = self.alone_by(key)?;
        let rule = ActiveRule { basis: TimeBasis::Timestamp, ..rule };
        let last = from.saturating_sub(1).div_euclid(rule.interval) * rule.interval;
        let ends = due_ends(Some(last), rule.interval, to.saturating_add(rule.interval - 1));
        let windows: Vec<DueWindow> = ends.map(|end| DueWindow::of(&rule.rule, end)).collect();
        self.run_windows(active, &rule, kind, &windows)
    }

    /// The windows of a rule that end in a stretch of time and were to be evaluated and are not: they failed, or the ledger
    /// does not have them. Oldest first.
    ///
    /// # Errors
    /// If the rule cannot run, or the ledger cannot be read.
    pub fn gaps(&self, key: &RuleKey<'_>, from: i64, to: i64) -> Result<Vec<DueWindow>, ScheduleError> {
        let (_, rule) = self.alone_by(key)?;
        let ledger = self.control.ledger_between(rule.id(), from, to)?;
        let is_done = |window: &RuleWindow| {
            let done = ledger.iter().filter(|execution| execution.status != ExecutionStatus::Failed);
            done.into_iter().any(|execution| execution.to == window.to && execution.from <= window.from)
        };
        let mut gaps: BTreeMap<i64, DueWindow> = BTreeMap::new();
        for execution in ledger.iter().filter(|execution| execution.status == ExecutionStatus::Failed) {
            let window = RuleWindow { from: execution.from, to: execution.to };
            if !is_done(&window) {
                gaps.insert(execution.scheduled, DueWindow { end: execution.scheduled, window });
            }
        }
        // Between the first and the last window that it has, a ledger without holes has one at each interval, or one that
        // holds all that came since the one before, where the interval was longer.
        let scheduled = ledger.iter().filter(|execution| execution.kind.is_scheduled());
        let (first, last) = scheduled.fold((i64::MAX, i64::MIN), |(first, last), execution| {
            (first.min(execution.scheduled), last.max(execution.scheduled))
        });
        if first < last {
            let mut windows: Vec<(i64, i64)> =
                ledger.iter().map(|execution| (execution.scheduled, execution.from)).collect();
            windows.sort_unstable();
            for end in due_ends(Some(first), rule.interval, last) {
                let later = &windows[windows.partition_point(|(other, _)| *other < end)..];
                let next = later.first().filter(|(other, _)| *other - end < rule.interval);
                if next.is_none_or(|(_, from)| *from > end - rule.interval) {
                    gaps.entry(end).or_insert_with(|| DueWindow::of(&rule.rule, end));
                }
            }
        }
        Ok(gaps.into_values().collect())
    }

    /// Evaluates windows of a rule that were left out, by the rule's own time. Returns the executions.
    ///
    /// # Errors
    /// If the rule cannot run, or store, ledger or alerts fail.
    pub fn fill(&self, key: &RuleKey<'_>, windows: &[DueWindow]) -> Result<Vec<Execution>, ScheduleError> {
        let (active, rule) = self.alone_by(key)?;
        self.run_windows(active, &rule, WindowKind::Backfill, windows)
    }

    /// Runs a rule that is compiled by itself over windows, until it is told to stop.
    fn run_windows(
        &self,
        active: ActiveRules,
        rule: &ActiveRule,
        kind: WindowKind,
        windows: &[DueWindow],
    ) -> Result<Vec<Execution>, ScheduleError> {
        let snapshot = self.matched_with(&active, i64::MIN)?;
        let mut state = State { active: Arc::new(active), generation: 0, rules: HashMap::new() };
        let active = state.active.clone();
        let mut executions = Vec::new();
        for DueWindow { end, window } in windows {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            let due = Due { end: *end, basis: rule.basis, window: *window, since: None };
            let mut execution = self.execution(rule, due, &LateEvents::default(), self.clock.now());
            execution.kind = kind;
            let mut made = Made::default();
            let task = Task { window: *window, late: None, since: None };
            let found = evaluate(&active, &[rule], task, &snapshot, self.options.rule_events);
            match found.and_then(Evaluated::whole) {
                Ok(found) => self.collect(&mut state, &active, rule, &found, &mut execution, &mut made)?,
                // The other windows may be evaluated all the same.
                Err(error) => {
                    execution.status = ExecutionStatus::Failed;
                    execution.message = error.to_string();
                }
            }
            execution.finished = self.clock.now();
            self.control.commit_execution(std::slice::from_ref(&execution), &made.alerts)?;
            made.remember(&mut state);
            note_end(&mut state, rule, *end);
            executions.push(execution);
        }
        Ok(executions)
    }

    fn alone_by(&self, key: &RuleKey<'_>) -> Result<(ActiveRules, ActiveRule), ScheduleError> {
        let no_rule = || ScheduleError::Rule("there is no such rule".to_owned());
        let stored = self.control.rule(key)?.ok_or_else(no_rule)?;
        self.alone(&stored)
    }

    /// One rule compiled by itself.
    fn alone(&self, rule: &StoredRule) -> Result<(ActiveRules, ActiveRule), ScheduleError> {
        let active = ActiveRules::compile(std::iter::once(rule));
        match (active.rules.first().cloned(), active.failed.first()) {
            (Some(alone), _) => Ok((active, alone)),
            (None, reason) => Err(ScheduleError::Rule(reason.map(|(_, reason)| reason.clone()).unwrap_or_default())),
        }
    }

    /// The events that arrived since `since`, matched with these rules too.
    fn matched_with(&self, added: &ActiveRules, since: i64) -> Result<Arc<Snapshot>, ScheduleError> {
        self.store.match_with(&added.compiled, since)?;
        Ok(self.store.snapshot())
    }
}

/// Which rules have a row among what arrived since when, in one snapshot; `None` where some of that cannot be read.
#[derive(Default)]
struct News(HashMap<i64, Option<HashSet<u128, RandomState>>>);

impl News {
    fn since(&mut self, snapshot: &Snapshot, since: i64) -> Option<&HashSet<u128, RandomState>> {
        let found = self.0.entry(since).or_insert_with(|| {
            let ingested = Window { from: Some(since.saturating_add(1)), to: None };
            let mut rules = HashSet::default();
            for part in snapshot.parts(&TimeRange { ingested, ..TimeRange::default() }) {
                part.counts().ok()?.iter().for_each(|list| rules.extend(list.rules_with_rows()));
            }
            Some(rules)
        });
        found.as_ref()
    }
}

fn note_end(state: &mut State, rule: &ActiveRule, end: i64) {
    let known = state.rules.entry(rule.id().to_owned()).or_default();
    let window = RuleWindow::of(&rule.rule, end);
    known.last = known.last.max(Some(end));
    known.to = known.to.max(Some(window.to));
    known.fingerprint = Some(rule.fingerprint);
    if !known.left_some {
        known.whole = known.last;
    }
    // No later window holds them any more; those of late events are known by their ids.
    let oldest = window.from.min(end - rule.interval);
    known.seen.retain(|_, last| *last >= oldest);
}
