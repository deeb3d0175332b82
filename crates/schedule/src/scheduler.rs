//! What runs when.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eqlipse_alerts::Alert;
use eqlipse_control::{
    Control, ControlError, Execution, ExecutionStatus, NewAlert, RuleKey, StoredRule, TimeBasis, WindowKind,
};
use eqlipse_engine::RuleIndex;
use eqlipse_events::Window;
use eqlipse_store::{Snapshot, Store, StoreError, TimeRange};
use foldhash::fast::RandomState;
use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::active::{ActiveRule, ActiveRules};
use crate::evaluate::{
    EvaluateError, Evaluated, Finding, Late, LateEvents, Lateness, Task, evaluate, late_events, too_many,
};
use crate::execute::{Builder, Preview, PreviewedWindow, new_alerts};
use crate::window::{DueWindow, RuleWindow, due_ends, next_end};

const NANOS: i64 = 1_000_000_000;
/// So many rules are correlated at a time: what they matched stands in memory together.
const RULES_AT_A_TIME: usize = 128;
/// So few of those that look at whole windows again, until it is known how long they take: new events wait for them.
const FEW_RULES: usize = 8;
/// Where rules at a time take less, in nanoseconds, the next ones may be twice as many.
const SHORT: i64 = NANOS / 10;
/// How long it is waited for what is on its way, before it is looked for again, in nanoseconds.
const SOON: i64 = NANOS / 40;
/// So many alerts are built before the known ones among them are looked up.
const ALERTS_AT_A_TIME: usize = 256;
/// An execution that begins so much behind its window's end, or a tenth of the interval, is late.
const PUNCTUAL: i64 = 5 * NANOS;
/// How far the clock may step back and be waited for until it is where it was; and how long it is waited for that it is set,
/// if that is further.
const STEP_BACK: i64 = 600 * NANOS;

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
    /// The most new alerts of an execution, whatever the rule's `max_signals`.
    pub max_alerts: u32,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self { tick: None, late_bound: Duration::from_secs(3600), rule_events: 1_000_000, max_alerts: 1_000 }
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

/// Why a run over the past ended early.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct BrokenOff {
    /// What it did until then, which is kept.
    pub done: Vec<Execution>,
    /// What went wrong.
    pub error: ScheduleError,
}

impl From<ScheduleError> for BrokenOff {
    fn from(error: ScheduleError) -> Self {
        Self { done: Vec::new(), error }
    }
}

/// What the scheduler is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStatus {
    /// Rules that run.
    pub rules: usize,
    /// Rules that are enabled and cannot: their id, and why.
    pub failed: Vec<(String, String)>,
    /// Rules that run without something that they ask for: their id, and what.
    pub ignoring: Vec<(String, String)>,
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
    /// Where the clock was ahead, or is behind: how far. Until then, there may be events that arrived in the future.
    pub clock_was: Option<i64>,
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
    /// How often it was looked what is due, and run.
    round: u64,
    /// Since when the clock is far behind windows that were evaluated.
    ahead_since: Option<i64>,
    /// When it was last looked what is due.
    looked: Option<i64>,
    /// What the clock had said when rules went back, and what their last windows were.
    went_back: Option<(i64, HashMap<String, i64>)>,
}

impl State {
    fn new(active: Arc<ActiveRules>, generation: u64) -> Self {
        Self { active, generation, rules: HashMap::new(), round: 0, ahead_since: None, looked: None, went_back: None }
    }
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
    /// When the last window was due before a clock was behind that is set now. From there it goes on, once the next window
    /// has what arrived by the wrong time since the last.
    resume: Option<i64>,
    /// The [`State::round`] in which the last window was evaluated.
    round: u64,
    /// As what the rule was evaluated then: its fingerprint, and what its windows are like.
    evaluated: Option<(u128, u128)>,
    /// The last execution left something out: it was capped, or it failed.
    left_some: bool,
    /// New alerts of an interval, by its number: it may have several windows. Those of others are in the ledger.
    made: (i64, u64),
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
        self.left_some || self.evaluated != Some((rule.fingerprint, rule.frame))
    }

    /// Since when only what is new can be in a finding that is not known; `None` if anything can.
    fn since(&self, rule: &ActiveRule) -> Option<i64> {
        let to = self.to.filter(|_| !rule.needs_all && !self.must_look_again(rule))?;
        // What was not certain then has an event that was not older.
        Some(to.saturating_sub(rule.closes.unwrap_or(0)))
    }

    /// How many new alerts a window may still have that is due then.
    fn room(&self, most: u64, rule: &ActiveRule, end: i64) -> u64 {
        match self.made {
            (number, made) if number == interval_of(rule, end) => most.saturating_sub(made),
            _ => most,
        }
    }
}

/// The number of the interval that a window belongs to which is due then: it ends at as many intervals, plus one.
fn interval_of(rule: &ActiveRule, end: i64) -> i64 {
    end.saturating_sub(1).div_euclid(rule.interval.max(1))
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
    /// How many alerts are new: rule, number of the interval, count.
    counts: Vec<(String, i64, u64)>,
}

impl Made {
    fn note(&mut self, rule: &ActiveRule, finding: &Finding, end: i64) {
        self.fresh.extend(SeenFinding::of(finding).map(|seen| (rule.id().to_owned(), seen, end)));
    }

    fn remember(self, state: &mut State) {
        for (rule, finding, end) in self.fresh {
            state.rules.entry(rule).or_default().seen.insert(finding, end);
        }
        for (rule, interval, count) in self.counts {
            let known = state.rules.entry(rule).or_default();
            known.made = (interval, count + if known.made.0 == interval { known.made.1 } else { 0 });
        }
    }
}

/// Rules that are due over the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    end: i64,
    basis: TimeBasis,
    window: RuleWindow,
}

impl Due {
    fn of(rule: &ActiveRule, end: i64) -> Self {
        Self { end, basis: rule.basis, window: RuleWindow::of(&rule.rule, end) }
    }
}

/// Rules that are evaluated together. Those in one share what is new, and what is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    /// Since when only what is new is looked at.
    since: Option<i64>,
    /// Which of [`REACHES`] its findings have, where not all of a window is looked at anyway.
    reach: usize,
    /// Since when what arrives is late, if something did that is.
    late_since: Option<i64>,
    /// The rule that is in it alone.
    alone: Option<RuleIndex>,
}

/// What was done at a time.
#[derive(Default)]
struct Round {
    windows: usize,
    executions: usize,
}

/// What came late, by rule.
type LateByRule<'r> = HashMap<RuleIndex, (Lateness<'r>, LateEvents)>;

/// For rules that are to look at what came in time alone.
fn without_late<'r>(rules: &[&ActiveRule], late: &LateByRule<'r>) -> LateByRule<'r> {
    let of_rules = rules.iter().filter_map(|rule| Some((rule.index, late.get(&rule.index)?)));
    let without =
        |events: &LateEvents| LateEvents { from: None, are_too_many: events.from.is_some(), ..events.clone() };
    of_rules.map(|(rule, (lateness, events))| (rule, (*lateness, without(events)))).collect()
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
            state: Mutex::new(State::new(Arc::new(active), generation)),
            status: Mutex::default(),
            complaints: Mutex::default(),
            stopping: AtomicBool::new(false),
            wake: Default::default(),
        };
        let mut state = lock(&scheduler.state);
        let active = state.active.clone();
        scheduler.adopt(&mut state, active)?;
        // What arrives in a window that was evaluated would be in none, should the clock be behind.
        if let Some(last) = state.rules.values().filter_map(|known| known.last).max() {
            scheduler.store.arrive_after(last);
        }
        let now = scheduler.clock.now();
        scheduler.mind_clock(&mut state, now)?;
        drop(state);
        Ok(scheduler)
    }

    /// Runs until [`Self::stop`]: call it on a thread of its own.
    pub fn run(&self) {
        while !self.stopping.load(Ordering::SeqCst) {
            // Rules must not end with the thread, and nobody know.
            let ran = catch_unwind(AssertUnwindSafe(|| self.run_round()));
            let (windows, problem) = match ran {
                Ok(Ok(round)) => (round.windows, None),
                Ok(Err(error)) => (0, Some(error.to_string())),
                Err(_) => (0, Some("internal error, please report it: it panicked".to_owned())),
            };
            if let Some(problem) = &problem {
                tracing::error!(problem, "scheduled rules could not run");
            }
            let has_problem = problem.is_some();
            lock(&self.status).problem = problem;
            match windows {
                0 if has_problem => self.rest(Duration::from_secs(5)),
                0 => self.rest(self.until_next()),
                // More may be due.
                _ => {}
            }
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

    /// How long it is to the end of the next window, at most a second: rules may change in the meantime. Where a window has
    /// ended, and what arrived in it is still on its way into the store, it is soon complete.
    fn until_next(&self) -> Duration {
        let now = self.clock.now();
        let next = self.next_due(&lock(&self.state).active, self.store.watermark(now));
        Duration::from_nanos(next.saturating_sub(now).clamp(SOON, NANOS) as u64)
    }

    /// When the first window ends of those that are not complete.
    fn next_due(&self, active: &ActiveRules, complete: i64) -> i64 {
        let ends = active.rules.iter().map(|rule| {
            let period = self.period(rule);
            (complete.div_euclid(period) + 1) * period
        });
        ends.min().unwrap_or(i64::MAX)
    }

    /// Evaluates all windows that are due now, those of a rule oldest first, and returns how many executions that were.
    ///
    /// # Errors
    /// If rules, ledger or alerts cannot be read or written. What a single rule cannot do is in its ledger.
    pub fn run_due(&self) -> Result<usize, ScheduleError> {
        let mut executions = 0;
        loop {
            let round = self.run_round()?;
            executions += round.executions;
            if round.windows == 0 || self.stopping.load(Ordering::SeqCst) {
                return Ok(executions);
            }
        }
    }

    /// Evaluates the next window of each rule that is due, but of rules that look at whole windows again only of some if the
    /// next window of others comes to be due. So neither they nor a rule that has many to catch up hold up others, and one
    /// that is switched off meanwhile is not run any more.
    fn run_round(&self) -> Result<Round, ScheduleError> {
        let mut state = lock(&self.state);
        self.reload(&mut state)?;
        let now = self.clock.now();
        self.mind_clock(&mut state, now)?;
        // Nothing arrives at or before it any more.
        let complete = self.store.watermark(now);
        let snapshot = self.store.snapshot();
        let mut due: BTreeMap<Due, Vec<usize>> = BTreeMap::new();
        let active = state.active.clone();
        for (number, rule) in active.rules.iter().enumerate() {
            if let Some(end) = self.next_end(&state, rule, complete) {
                due.entry(Due::of(rule, end)).or_default().push(number);
            }
        }
        // The first window of a rule ends in the past, and nobody waits for it.
        let is_awaited =
            |number: &usize| state.rules.get(active.rules[*number].id()).is_some_and(|known| known.last.is_some());
        let awaited = due.iter().find(|(_, numbers)| numbers.iter().any(is_awaited));
        lock(&self.status).due = awaited.map(|(due, _)| due.end);
        let deadline = self.next_due(&active, complete);
        let round = self.execute_due(&mut state, &active, due, &snapshot, deadline)?;
        // A round may take long: only between rounds is it told that the clock was set.
        state.looked = Some(self.clock.now());
        Ok(round)
    }

    /// Evaluates windows that are due: by window, the numbers of their rules. Rules that look at whole windows again are begun
    /// until the `deadline`, and a few in any case: those that are left are still due.
    fn execute_due(
        &self,
        state: &mut State,
        active: &ActiveRules,
        due: BTreeMap<Due, Vec<usize>>,
        snapshot: &Snapshot,
        deadline: i64,
    ) -> Result<Round, ScheduleError> {
        state.round += 1;
        let (mut round, mut news) = (Round::default(), News::default());
        let (at_once, mut again) = turns(state, active, due);
        for (due, rules) in &at_once {
            for rules in rules.chunks(RULES_AT_A_TIME) {
                if self.stopping.load(Ordering::SeqCst) {
                    return Ok(round);
                }
                round.executions += self.execute(state, active, rules, *due, snapshot, &mut news)?;
                round.windows += rules.len();
            }
        }
        let (mut few, mut is_first) = (FEW_RULES, true);
        while let Some((due, rules)) = next_turn(&mut again, few) {
            let begun = self.clock.now();
            if begun >= deadline && !is_first || self.stopping.load(Ordering::SeqCst) {
                break;
            }
            round.executions += self.execute(state, active, &rules, due, snapshot, &mut news)?;
            round.windows += rules.len();
            let is_short = self.clock.now() - begun < SHORT;
            few = if is_short { RULES_AT_A_TIME.min(2 * few) } else { FEW_RULES };
            is_first = false;
        }
        Ok(round)
    }

    /// The end of the next window of a rule that is due.
    fn next_end(&self, state: &State, rule: &ActiveRule, complete: i64) -> Option<i64> {
        let known = state.rules.get(rule.id());
        let end = next_end(known.and_then(|known| known.last), rule.interval, self.period(rule), complete)?;
        // A rule whose alerts of the interval are used up would look at its whole window again with each tick, for nothing.
        let is_in_vain =
            known.is_some_and(|known| known.left_some && known.room(self.most_alerts(rule), rule, end) == 0);
        (!is_in_vain || end.rem_euclid(rule.interval) == 0).then_some(end)
    }

    /// How many new alerts an interval of a rule may have.
    fn most_alerts(&self, rule: &ActiveRule) -> u64 {
        u64::from(rule.rule.max_signals.min(self.options.max_alerts))
    }

    /// Goes on from `now` where the clock was ahead: windows that ended in the future, and events that arrived in it, would
    /// let nothing run until then. A clock that is behind looks the same, and is soon set: for that is waited. What arrives
    /// meanwhile does so behind the last windows, and is looked at before rules go back.
    fn mind_clock(&self, state: &mut State, now: i64) -> Result<(), ScheduleError> {
        let looked = state.looked.replace(now);
        if let Some((was, lasts)) = state.went_back.take_if(|(was, _)| *was <= now) {
            tracing::info!(seconds = (now - was) / NANOS, "the clock is where it was before");
            // It was behind, and is set: there was no time in between. Else time went by, and its windows are due as ever.
            if looked.is_some_and(|looked| now.saturating_sub(looked) > STEP_BACK) {
                for (rule, last) in lasts {
                    state.rules.entry(rule).and_modify(|known| known.resume = Some(last));
                }
            }
        }
        let arrival = self.store.earliest_arrival();
        let last = state.rules.values().filter_map(|known| known.last).max().unwrap_or(i64::MIN);
        let is_ahead = |moment: i64| moment > now.saturating_add(STEP_BACK);
        if !is_ahead(last) {
            state.ahead_since = None;
            // Rules went back before, and the store has events from then. What arrives lies behind the last windows, which may
            // be a little ahead.
            if is_ahead(arrival) {
                self.store.go_back(now.max(last.saturating_add(1)));
                self.say_clock_was(arrival, now);
            }
            let clock_was = lock(&self.status).clock_was.filter(|was| *was > now);
            lock(&self.status).clock_was = clock_was;
            if clock_was.is_none() && last > now.saturating_add(PUNCTUAL) {
                self.say_clock_was(last, now);
            }
            return Ok(());
        }
        let was = last.max(arrival);
        if state.ahead_since.is_none() {
            self.say_clock_was(was, now);
        }
        // It may have stepped back once more.
        let since = state.ahead_since.map_or(now, |since| since.min(now));
        state.ahead_since = Some(since);
        if now - since < STEP_BACK {
            return Ok(());
        }
        tracing::error!("rules go on from when that was seen, and times of arrival from now");
        let lasts = state.rules.iter().filter_map(|(rule, known)| Some((rule.clone(), known.last?)));
        state.went_back = Some((was, lasts.collect()));
        self.look_at_arrived(state, now)?;
        if self.stopping.load(Ordering::SeqCst) {
            // The next start waits again, and looks.
            return Ok(());
        }
        // What came while the clock was waited for has times since then. Should it have stepped more than once, that is no
        // measure.
        self.control.go_back(since.max(now.saturating_sub(2 * STEP_BACK)))?;
        self.store.go_back(now);
        state.rules.clear();
        state.ahead_since = None;
        let active = state.active.clone();
        self.adopt(state, active)
    }

    /// Has the rules that go by arrival look at what arrived behind their last window, which is ahead of the clock: no window
    /// would hold it until the clock is there. Rules that have windows of the past to catch up go on with them.
    fn look_at_arrived(&self, state: &mut State, now: i64) -> Result<(), ScheduleError> {
        let end = self.store.watermark(self.store.earliest_arrival());
        let snapshot = self.store.snapshot();
        let active = state.active.clone();
        let mut due: BTreeMap<Due, Vec<usize>> = BTreeMap::new();
        for (number, rule) in active.rules.iter().enumerate() {
            let last = state.rules.get(rule.id()).and_then(|known| known.last);
            if rule.basis == TimeBasis::Ingested && last.is_some_and(|last| now < last && last < end) {
                let of_rule = Due::of(rule, end);
                // Also what a rule would look at later only.
                let window = RuleWindow { to: end, ..of_rule.window };
                due.entry(Due { window, ..of_rule }).or_default().push(number);
            }
        }
        self.execute_due(state, &active, due, &snapshot, i64::MAX)?;
        Ok(())
    }

    fn say_clock_was(&self, was: i64, now: i64) {
        tracing::error!(
            seconds = (was - now) / NANOS,
            "the clock is behind what it said before: rules wait for it, at most ten minutes"
        );
        lock(&self.status).clock_was = Some(was);
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
        let ids: HashSet<&str> = active.rules.iter().map(ActiveRule::id).collect();
        state.rules.retain(|id, _| ids.contains(&**id));
        for rule in &active.rules {
            let (last, whole) = self.control.last_windows(rule.id())?.unzip();
            // One that was off goes on from when it was switched on, which is later than its last window.
            if state.rules.get(rule.id()).is_none_or(|known| known.last < last) {
                state.rules.insert(rule.id().to_owned(), RuleState { last, whole, ..RuleState::default() });
            }
        }
        let complete = self.store.watermark(now);
        let first = |rule: &ActiveRule| {
            let last = state.rules.get(rule.id()).and_then(|known| known.last);
            // The first window of a rule may have ended nearly an interval ago.
            let end = last.or_else(|| self.next_end(state, rule, complete)).unwrap_or(now);
            let window = RuleWindow::of(&rule.rule, end.min(now));
            let late = self.late_bound().saturating_add(rule.late_reach(window).min(window.length()));
            window.from.saturating_sub(rule.lookback).saturating_sub(late)
        };
        self.match_missing(&active, first)?;
        let mut status = lock(&self.status);
        (status.rules, status.failed) = (active.rules.len(), active.failed.clone());
        status.ignoring = active.ignoring.clone();
        drop(status);
        state.active = active;
        Ok(())
    }

    fn late_bound(&self) -> i64 {
        i64::try_from(self.options.late_bound.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Has the store look through what arrived since the `first` moment of rules that it was not matched with.
    fn match_missing(&self, active: &ActiveRules, first: impl Fn(&ActiveRule) -> i64) -> Result<(), ScheduleError> {
        let needed: Vec<(u128, i64)> = active.rules.iter().map(|rule| (rule.fingerprint, first(rule))).collect();
        let since = needed.iter().map(|(_, since)| *since).min().unwrap_or(i64::MAX);
        let range = TimeRange { ingested: Window { from: Some(since), to: None }, ..TimeRange::default() };
        let snapshot = self.store.snapshot();
        let mut missing: HashMap<u128, i64> = HashMap::new();
        for part in snapshot.parts(&range) {
            // One whose files are damaged is named when it is looked through.
            let Ok(counts) = part.counts() else { continue };
            let known: HashSet<u128> = counts.iter().flat_map(|list| list.rules().fingerprints()).collect();
            let lacks = |(fingerprint, since): &&(u128, i64)| {
                part.last_arrival() >= Some(*since) && !known.contains(fingerprint)
            };
            for (fingerprint, since) in needed.iter().filter(lacks) {
                missing.entry(*fingerprint).and_modify(|known| *known = (*known).min(*since)).or_insert(*since);
            }
        }
        let stored = self.control.rules()?;
        let is_missing = |rule: &&StoredRule| missing.contains_key(&crate::fingerprint(&rule.rule));
        let added = ActiveRules::compile(stored.iter().filter(|rule| rule.enabled).filter(is_missing));
        let since = missing.into_values().min().unwrap_or(i64::MAX);
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
        let late = self.late(state, rules, due, snapshot)?;
        // A rule none of whose stages has a new row can find nothing new.
        let since = rules.iter().filter_map(|rule| state.rules.get(rule.id())?.to).min();
        let news = since.and_then(|since| news.since(snapshot, since));
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
        idle.iter().for_each(|rule| note_end(state, rule, due));
        self.note(&written, started, due.end);
        // Rules that were last run at the same time, and need about the same parts, are run together.
        let mut groups: BTreeMap<Group, Vec<&ActiveRule>> = BTreeMap::new();
        for rule in busy {
            let since = state.rules.get(rule.id()).and_then(|known| known.since(rule));
            let goes_further = |reach: &i64| rule.reach.is_none_or(|of_rule| of_rule > *reach);
            // A whole window is read once for all.
            let reach = since.map_or(0, |_| REACHES.partition_point(goes_further));
            let lateness = late.get(&rule.index).filter(|(_, late)| late.from.is_some()).map(|(lateness, _)| lateness);
            // What is late is another matter for each rule that left something out.
            let alone = lateness.filter(|lateness| lateness.since != lateness.last).map(|_| rule.index);
            let late_since = lateness.map(|lateness| lateness.last);
            groups.entry(Group { since, reach, late_since, alone }).or_default().push(rule);
        }
        let mut executions = written.len();
        // Those that look at whole windows take longest, and come last.
        for (Group { since, .. }, rules) in groups.into_iter().rev() {
            executions += self.execute_all(state, active, &rules, due, since, &late, started, snapshot)?;
        }
        Ok(executions)
    }

    /// What came late for rules that go by `@timestamp`.
    fn late<'r>(
        &self,
        state: &State,
        rules: &[&'r ActiveRule],
        due: Due,
        snapshot: &Snapshot,
    ) -> Result<LateByRule<'r>, ScheduleError> {
        let bound = self.late_bound();
        let oldest = due.window.from.saturating_sub(bound);
        let lateness = |rule: &&'r ActiveRule| {
            let known = state.rules.get(rule.id()).filter(|_| rule.basis == TimeBasis::Timestamp)?;
            let last = known.last?;
            // What came before the bound is beyond it, if no sender's clock is ahead.
            let since = known.whole.unwrap_or(last).max(oldest).min(last);
            Some(Lateness { rule, since, last, end: due.end })
        };
        let of: Vec<Lateness<'r>> = rules.iter().filter_map(lateness).collect();
        let found = late_events(snapshot, &of, due.window, bound)?;
        Ok(of.into_iter().zip(found).map(|(of, found)| (of.rule.index, (of, found))).collect())
    }

    #[allow(clippy::too_many_arguments, reason = "what an execution is of")]
    fn execute_all(
        &self,
        state: &mut State,
        active: &ActiveRules,
        rules: &[&ActiveRule],
        due: Due,
        since: Option<i64>,
        late: &LateByRule<'_>,
        started: i64,
        snapshot: &Snapshot,
    ) -> Result<usize, ScheduleError> {
        let some_late = rules.iter().filter_map(|rule| {
            let (lateness, events) = late.get(&rule.index)?;
            Some(Late { lateness: *lateness, from: events.from? })
        });
        let task = Task { window: due.window, late: some_late.min_by_key(|late| late.from), since };
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
        let is_too_much =
            |rule: &ActiveRule| task.late.is_some() && found.too_many.iter().any(|(index, _)| *index == rule.index);
        let (wide, rules): (Vec<&ActiveRule>, Vec<&ActiveRule>) = rules.iter().partition(|rule| is_too_much(rule));
        let mut count = 0;
        if !wide.is_empty() {
            // What came in time is not to suffer for what came late.
            let late = without_late(&wide, late);
            count += self.execute_all(state, active, &wide, due, since, &late, started, snapshot)?;
        }
        let (mut executions, mut made) = (Vec::new(), Made::default());
        for rule in &rules {
            // That a limit was reached is said once.
            let left_some = state.rules.get(rule.id()).is_some_and(|known| known.left_some);
            let came_late = late.get(&rule.index).map(|(_, events)| events.clone()).unwrap_or_default();
            let mut execution = self.execution(rule, due, &came_late, started);
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
            let is_new = execution.status == ExecutionStatus::Failed || execution.capped > 0 && !left_some;
            let counts = [execution.new_alerts, execution.late_events, execution.missed_events];
            let says_something = is_new || counts.iter().any(|count| *count > 0);
            if says_something || due.end.rem_euclid(rule.interval) == 0 {
                executions.push(execution);
            }
        }
        self.control.commit_execution(&executions, &made.alerts)?;
        made.remember(state);
        rules.iter().for_each(|rule| note_end(state, rule, due));
        self.note(&executions, started, due.end);
        Ok(count + executions.len())
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
            note_end(state, rule, due);
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
            basis: Some(due.basis),
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
        if late.are_too_many {
            execution.status = ExecutionStatus::Warning;
            let told = if execution.message.is_empty() { "" } else { "; " };
            execution.message += &format!(
                "{told}what came late was not looked at, and what may be in a sequence with it: with that, the filters let \
                 through more events than may be correlated"
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
        let limit = self.most_alerts(rule);
        let known = state.rules.entry(rule.id().to_owned()).or_default();
        let findings: Vec<&Finding> = found.findings.iter().filter(|finding| finding.rule == rule.index).collect();
        execution.matches = findings.len() as u64;
        let (old, new): (Vec<&Finding>, Vec<&Finding>) = findings
            .into_iter()
            .partition(|finding| SeenFinding::of(finding).any(|seen| known.seen.contains_key(&seen)));
        // Only once they are written is it certain that nobody needs to look at them again.
        old.iter().for_each(|finding| made.note(rule, finding, execution.to));
        execution.known_alerts = old.len() as u64;
        if !new.is_empty() && execution.kind.is_scheduled() {
            self.count_made(known, rule, execution.scheduled)?;
        }
        let most = known.room(limit, rule, execution.scheduled);
        let asked_for = (!execution.kind.is_scheduled()).then_some(execution.scheduled);
        let mut builder = Builder::new(active, &execution.uuid, execution.started, self.clock.now(), asked_for);
        let mut left = new.len() as u64;
        let (mut unreadable, mut has_more) = (None, false);
        for findings in new.chunks(ALERTS_AT_A_TIME) {
            // After a restart, those that have an alert already are not known yet: they are no reason to say so.
            if has_more {
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
                    has_more = true;
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
        // None say nothing: of what was made before a restart, nobody may have asked the ledger yet.
        if execution.new_alerts > 0 {
            made.counts.push((rule.id().to_owned(), interval_of(rule, execution.scheduled), execution.new_alerts));
        }
        execution.capped = left;
        known.left_some = left > 0 || unreadable.is_some();
        if left > 0 {
            execution.status = ExecutionStatus::Warning;
            let said = if execution.message.is_empty() { "" } else { "; " };
            let whose = if limit < u64::from(rule.rule.max_signals) { "of all rules" } else { "max_signals" };
            execution.message += &format!(
                "{said}the limit of {limit} alerts ({whose}) was reached: {left} more were found in this window"
            );
        }
        if let Some(error) = unreadable {
            execution.status = ExecutionStatus::Failed;
            execution.message = format!("findings whose events cannot be read were left out: {error}");
        }
        Ok(())
    }

    /// Looks into the ledger how many alerts were made in the interval of a window that is due at `end`, unless that is
    /// remembered: they were made before a restart, or before the rule was changed or the clock set.
    fn count_made(&self, known: &mut RuleState, rule: &ActiveRule, end: i64) -> Result<(), ScheduleError> {
        let number = interval_of(rule, end);
        // Without ticks, an interval has one window.
        if known.made.0 != number && self.options.tick.is_some() {
            let begin = number.saturating_mul(rule.interval);
            let made = self.control.alerts_made(rule.id(), begin, begin.saturating_add(rule.interval))?;
            known.made = (number, made);
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
        let bases = windows.iter().map(|window| (rule.basis, *window));
        let snapshot = self.matched_with(&active, &range_of(&rule, bases))?;
        let mut preview = Preview::default();
        for window in windows {
            let started = Instant::now();
            if started >= deadline {
                preview.is_aborted = true;
                break;
            }
            let now = self.clock.now();
            let mut builder = Builder::new(&active, &Uuid::new_v4().to_string(), now, now, Some(now));
            let task = Task { window, late: None, since: None };
            let found = evaluate(&active, &[&rule], task, &snapshot, self.options.rule_events);
            let capped = found.and_then(Evaluated::whole).and_then(|found| {
                preview.add(&mut builder, &found, rule.rule.max_signals.min(self.options.max_alerts))
            });
            let is_failed = capped.is_err();
            let (capped, error) = capped.map_or_else(|error| (0, Some(error)), |capped| (capped, None));
            preview.windows.push(PreviewedWindow { capped, took: started.elapsed(), error });
            if is_failed {
                break;
            }
        }
        Ok(preview)
    }

    /// Runs a rule over the past, window by window, with the events' own time as the clock, and keeps its alerts. The last
    /// window ends at `to`, or now. Returns the executions.
    ///
    /// # Errors
    /// If the rule cannot run, or store, ledger or alerts fail.
    pub fn backfill(
        &self,
        key: &RuleKey<'_>,
        kind: WindowKind,
        from: i64,
        to: i64,
    ) -> Result<Vec<Execution>, BrokenOff> {
        let (active, rule) = self.alone_by(key)?;
        // What has not come yet must not be missing.
        let to = to.min(self.store.watermark(self.clock.now()));
        let last = from.saturating_sub(1).div_euclid(rule.interval) * rule.interval;
        let mut ends: Vec<i64> = due_ends(Some(last), rule.interval, to).collect();
        if from <= to && ends.last() != Some(&to) {
            ends.push(to);
        }
        let basis = Some(TimeBasis::Timestamp);
        let windows: Vec<DueWindow> =
            ends.iter().map(|end| DueWindow { basis, ..DueWindow::of(&rule.rule, *end) }).collect();
        self.run_windows(active, &rule, kind, &windows)
    }

    /// The windows of a rule that end in a stretch of time and were to be evaluated and are not: they failed, or the ledger
    /// does not have them, as while the rule was off. Oldest first.
    ///
    /// # Errors
    /// If the rule cannot run, or the ledger cannot be read.
    pub fn gaps(&self, key: &RuleKey<'_>, from: i64, to: i64) -> Result<Vec<DueWindow>, ScheduleError> {
        let (_, rule) = self.alone_by(key)?;
        let ledger = self.control.ledger_between(rule.id(), from, to)?;
        let mut done: HashMap<i64, Vec<&Execution>> = HashMap::new();
        for execution in ledger.iter().filter(|execution| execution.status != ExecutionStatus::Failed) {
            done.entry(execution.to).or_default().push(execution);
        }
        let is_done = |failed: &Execution| {
            let is_same = |basis: Option<TimeBasis>| basis.is_none() || failed.basis.is_none() || basis == failed.basis;
            let holds = |execution: &&Execution| is_same(execution.basis) && execution.from <= failed.from;
            done.get(&failed.to).is_some_and(|done| done.iter().any(holds))
        };
        let mut gaps: BTreeMap<i64, DueWindow> = BTreeMap::new();
        for failed in ledger.iter().filter(|execution| execution.status == ExecutionStatus::Failed) {
            let window = RuleWindow { from: failed.from, to: failed.to };
            if !is_done(failed) {
                gaps.insert(failed.scheduled, DueWindow { end: failed.scheduled, window, basis: failed.basis });
            }
        }
        let around = self.control.ledger_around(rule.id(), from, to)?;
        let all: Vec<&Execution> = ledger.iter().chain(&around).collect();
        for window in holes(&rule, &all).filter(|window| (from..=to).contains(&window.window.to)) {
            gaps.entry(window.end).or_insert(window);
        }
        Ok(gaps.into_values().collect())
    }

    /// Evaluates windows of a rule that were left out, by the rule's own time. Returns the executions.
    ///
    /// # Errors
    /// If the rule cannot run, or store, ledger or alerts fail.
    pub fn fill(&self, key: &RuleKey<'_>, windows: &[DueWindow]) -> Result<Vec<Execution>, BrokenOff> {
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
    ) -> Result<Vec<Execution>, BrokenOff> {
        let bases = windows.iter().map(|window| (window.basis.unwrap_or(rule.basis), window.window));
        let snapshot = self.matched_with(&active, &range_of(rule, bases))?;
        let mut state = State::new(Arc::new(active), 0);
        let mut executions = Vec::new();
        for window in windows {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            match self.run_window(&mut state, rule, kind, *window, &snapshot) {
                Ok(execution) => executions.push(execution),
                Err(error) => return Err(BrokenOff { done: executions, error }),
            }
        }
        Ok(executions)
    }

    /// Runs a rule that is compiled by itself over a window.
    fn run_window(
        &self,
        state: &mut State,
        rule: &ActiveRule,
        kind: WindowKind,
        DueWindow { end, window, basis }: DueWindow,
        snapshot: &Snapshot,
    ) -> Result<Execution, ScheduleError> {
        let active = state.active.clone();
        let rule = &ActiveRule { basis: basis.unwrap_or(rule.basis), ..rule.clone() };
        let due = Due { end, basis: rule.basis, window };
        let mut execution = self.execution(rule, due, &LateEvents::default(), self.clock.now());
        execution.kind = kind;
        let mut made = Made::default();
        let task = Task { window, late: None, since: None };
        let found = evaluate(&active, &[rule], task, snapshot, self.options.rule_events);
        match found.and_then(Evaluated::whole) {
            Ok(found) => self.collect(state, &active, rule, &found, &mut execution, &mut made)?,
            // The other windows may be evaluated all the same.
            Err(error) => {
                execution.status = ExecutionStatus::Failed;
                execution.message = error.to_string();
            }
        }
        execution.finished = self.clock.now();
        self.control.commit_execution(std::slice::from_ref(&execution), &made.alerts)?;
        made.remember(state);
        note_end(state, rule, due);
        Ok(execution)
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

    /// All events, those of a range matched with these rules too.
    fn matched_with(&self, added: &ActiveRules, range: &TimeRange) -> Result<Arc<Snapshot>, ScheduleError> {
        self.store.match_with(&added.compiled, range)?;
        Ok(self.store.snapshot())
    }
}

/// Where a rule looks for events that is run over windows, by one time or another.
fn range_of(rule: &ActiveRule, windows: impl Iterator<Item = (TimeBasis, RuleWindow)>) -> TimeRange {
    let mut range = TimeRange::default();
    let (mut bases, mut all) = (HashSet::new(), None::<RuleWindow>);
    for (basis, RuleWindow { from, to }) in windows {
        bases.insert(basis);
        all = Some(
            all.map_or(RuleWindow { from, to }, |all| RuleWindow { from: all.from.min(from), to: all.to.max(to) }),
        );
    }
    let Some(RuleWindow { from, to }) = all else { return range };
    let window = Window { from: Some(from.saturating_sub(rule.lookback)), to: Some(to) };
    match bases.iter().collect::<Vec<_>>()[..] {
        [TimeBasis::Ingested] => range.ingested = window,
        [TimeBasis::Timestamp] => range.timestamp = window,
        // What is in one of both is in all of it.
        _ => {}
    }
    range
}

/// The windows of a rule that executions lack between the first and the last that the schedule asked for: what was new in
/// them, with what may be in a finding with it, lies in no window of these, whatever the rule's interval was then.
fn holes(rule: &ActiveRule, ledger: &[&Execution]) -> impl Iterator<Item = DueWindow> {
    let scheduled = ledger.iter().filter(|execution| execution.kind.is_scheduled());
    let (first, last) = scheduled.fold((i64::MAX, i64::MIN), |(first, last), execution| {
        (first.min(execution.scheduled), last.max(execution.scheduled))
    });
    // Somebody's own run by another time looked at other events.
    let counts = |execution: &&&Execution| {
        execution.kind.is_scheduled() || execution.basis.is_none_or(|basis| basis == rule.basis)
    };
    let mut windows: Vec<RuleWindow> =
        ledger.iter().filter(counts).map(|execution| RuleWindow { from: execution.from, to: execution.to }).collect();
    windows.sort_unstable();
    let done: HashSet<i64> = windows.iter().map(|window| window.to).collect();
    // Events of a finding that lie in two windows together are in neither: windows that overlap cover no more than each.
    let reach = if rule.needs_all { None } else { rule.reach };
    let mut looked_at: Vec<RuleWindow> = Vec::new();
    for window in windows {
        match looked_at.last_mut() {
            Some(last) if window.to <= last.to => {}
            Some(last) if window.from == last.from || reach == Some(0) && window.from <= last.to => last.to = window.to,
            _ => looked_at.push(window),
        }
    }
    let ends = due_ends(Some(first.min(last)), rule.interval, last);
    let (rule, interval) = (rule.rule.clone(), rule.interval);
    ends.map(move |end| DueWindow::of(&rule, end)).filter(move |DueWindow { window, .. }| {
        let since = reach.map_or(i64::MIN, |reach| window.to.saturating_sub(interval).saturating_sub(reach));
        let from = window.from.max(since);
        let behind = looked_at.partition_point(|other| other.to < window.to);
        !done.contains(&window.to) && looked_at.get(behind).is_none_or(|other| other.from > from)
    })
}

/// A rule that looks at a whole window again: the round that it was last in, and the window.
type Turn<'r> = (u64, Due, &'r ActiveRule);

/// Rules that are due, by number: those that run at once, by window; and those that look at whole windows again, mostly as
/// there is more in them than an interval may have alerts, the one first that waited longest.
fn turns<'r>(
    state: &State,
    active: &'r ActiveRules,
    due: BTreeMap<Due, Vec<usize>>,
) -> (BTreeMap<Due, Vec<&'r ActiveRule>>, Vec<Turn<'r>>) {
    let (mut at_once, mut again): (BTreeMap<Due, Vec<&ActiveRule>>, Vec<Turn<'_>>) = Default::default();
    for (due, numbers) in due {
        for rule in numbers.into_iter().map(|number| &active.rules[number]) {
            match state.rules.get(rule.id()) {
                Some(known) if !known.must_look_again(rule) => at_once.entry(due).or_default().push(rule),
                known => again.push((known.map_or(0, |known| known.round), due, rule)),
            }
        }
    }
    again.sort_by_key(|(round, due, _)| (*round, *due));
    (at_once, again)
}

/// Takes the first rule, and others that look at the same window: so few in all.
fn next_turn<'r>(turns: &mut Vec<Turn<'r>>, few: usize) -> Option<(Due, Vec<&'r ActiveRule>)> {
    let due = turns.first()?.1;
    let mut rules = Vec::new();
    turns.retain(|(_, other, rule)| {
        let is_taken = *other == due && rules.len() < few;
        if is_taken {
            rules.push(*rule);
        }
        !is_taken
    });
    Some((due, rules))
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

fn note_end(state: &mut State, rule: &ActiveRule, Due { end, window, .. }: Due) {
    let known = state.rules.entry(rule.id().to_owned()).or_default();
    known.round = state.round;
    // The first window owes nothing of what came before.
    if !known.left_some || known.last.is_none() {
        known.whole = Some(end);
    }
    known.last = known.last.max(Some(end)).max(known.resume.take());
    known.to = Some(window.to);
    known.evaluated = Some((rule.fingerprint, rule.frame));
    // No later window holds them any more; those of late events are known by their ids.
    let oldest = window.from.min(end - rule.interval);
    known.seen.retain(|_, last| *last >= oldest);
}
