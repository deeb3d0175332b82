//! What rules find in a window.

use std::collections::HashSet;
use std::sync::Arc;

use eqlipse_batch::OrderKey;
use eqlipse_control::TimeBasis;
use eqlipse_engine::correlate::{Detection, KeyPart, MatchedEvent};
use eqlipse_engine::{
    CorrelateOptions, ListCounts, ListQuery, ListView, MatchList, RowCounts, RuleIndex, may_end, may_find,
};
use eqlipse_events::Window;
use eqlipse_store::{Arrivals, Part, Snapshot, StoreError, TimeRange};
use thiserror::Error;

use crate::active::{ActiveRule, ActiveRules};
use crate::window::RuleWindow;

/// Why rules could not be evaluated.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Events of the window were not matched with the rule: their files could not be had.
    #[error("some events of this window could not be matched with the rule")]
    NotMatched,
    /// What a rule's filters let through does not fit into memory.
    #[error("{}", too_many(*.events))]
    TooMany {
        /// How many events.
        events: usize,
    },
}

/// Why a rule was not evaluated whose filters let through so many events.
pub fn too_many(events: usize) -> String {
    format!(
        "the rule's filters let through {events} events of this window at least, more than may be correlated \
         (schedule.rule_events): make the filters narrower"
    )
}

/// An event of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundEvent {
    /// The number of its part in [`Evaluated::parts`].
    pub part: u32,
    /// Its row there.
    pub row: u32,
    /// Its place in time; [`OrderKey::arrival`] has its sequence number.
    pub order: OrderKey,
    /// What it has in common with copies of itself, if there may be some.
    pub identity: Option<u128>,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleIndex,
    /// The events in the query's order; `None` for one that is missing on purpose.
    pub events: Vec<Option<FoundEvent>>,
    /// What they share, for sequences and samples.
    pub key: Vec<KeyPart>,
}

impl Finding {
    /// The sequence numbers of the events, which tell a finding from all others of its rule.
    pub fn sequences(&self) -> Vec<Option<u64>> {
        self.events.iter().map(|event| event.map(|event| event.order.arrival.position)).collect()
    }
}

/// What was found in a window.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// Rule by rule, in order of time.
    pub findings: Vec<Finding>,
    /// The parts that were looked at.
    pub parts: Vec<Arc<Part>>,
    /// Rules whose events in the window were not matched yet.
    pub not_matched: Vec<RuleIndex>,
    /// Rules whose filters let through more events than may be correlated, and how many at least.
    pub too_many: Vec<(RuleIndex, usize)>,
    /// Parts of the store that could not be looked at, as their files are damaged or away.
    pub unreadable: Vec<StoreError>,
}

impl Evaluated {
    /// What was found, if everything was looked at.
    ///
    /// # Errors
    /// If a part could not be read, or matched with a rule, or a rule was refused.
    pub fn whole(mut self) -> Result<Self, EvaluateError> {
        if let Some((_, events)) = self.too_many.first() {
            return Err(EvaluateError::TooMany { events: *events });
        }
        match self.unreadable.pop() {
            Some(error) => Err(error.into()),
            None if !self.not_matched.is_empty() => Err(EvaluateError::NotMatched),
            None => Ok(self),
        }
    }
}

/// What rules are run over.
#[derive(Clone, Copy, Debug)]
pub struct Task<'t> {
    /// The window.
    pub window: RuleWindow,
    /// What came late.
    pub late: Option<Late<'t>>,
    /// Where the rules were run over windows up to that end, and left nothing out: only findings with an event that is new
    /// since then are asked for. For sequences that end with a missing event, what waits then is new too.
    pub since: Option<i64>,
}

/// A part that may have something, and how much.
struct Candidate {
    part: Arc<Part>,
    has_news: bool,
    counts: Arc<[ListCounts]>,
}

/// The parts that may have something.
#[derive(Default)]
struct Candidates {
    all: Vec<Candidate>,
    lacking: HashSet<RuleIndex>,
    unreadable: Vec<StoreError>,
}

impl Candidates {
    fn find(which: &[&ActiveRule], scope: &Scope<'_>, snapshot: &Snapshot) -> Self {
        let oldest = scope.oldest(which, snapshot);
        let mut found = Self::default();
        // Nearly all lists are of the same rules.
        let mut seen: HashSet<Vec<usize>> = HashSet::new();
        for part in snapshot.parts(&scope.range()) {
            let has_news = scope.has_news(part);
            if !has_news && oldest.is_some_and(|oldest| part.last_time() < Some(oldest)) {
                continue;
            }
            // One damaged file must not end the detection of what is in all others.
            let counts = match part.counts() {
                Ok(counts) => counts,
                Err(error) => {
                    found.unreadable.push(error);
                    continue;
                }
            };
            if seen.insert(counts.iter().map(|list| list.rules().number()).collect()) {
                let lacking = which.iter().filter(|rule| !counts.iter().any(|list| list.has(rule.fingerprint)));
                found.lacking.extend(lacking.map(|rule| rule.index));
            }
            found.all.push(Candidate { part: part.clone(), has_news, counts });
        }
        found
    }

    fn counts<'c>(&'c self, of: impl Fn(&Candidate) -> bool + 'c) -> RowCounts {
        let mut counts = RowCounts::default();
        let lists = self.all.iter().filter(|candidate| of(candidate)).flat_map(|candidate| &*candidate.counts);
        lists.for_each(|list| counts.add(list));
        counts
    }

    /// The rules that can find something in what is there; and those that have more than `most` rows in it, without a
    /// closer look: in parts that lie in the window as a whole.
    fn live<'r>(
        &self,
        active: &ActiveRules,
        which: &[&'r ActiveRule],
        scope: &Scope<'_>,
        most: usize,
    ) -> (Vec<&'r ActiveRule>, Vec<(RuleIndex, usize)>) {
        let (window, rules) = (scope.range(), active.compiled.plan.rules());
        let all = self.counts(|_| true);
        let inside = self.counts(|candidate| candidate.part.is_within(&window));
        let (mut live, mut too_many) = (Vec::new(), Vec::new());
        for rule in which {
            if all.of(rule.fingerprint).is_none_or(|rows| !may_find(rules, rule.index, &rows)) {
                continue;
            }
            match inside.of(rule.fingerprint).map_or(0, |rows| rows.iter().sum::<u64>() as usize) {
                rows if rows > most && !scope.needs_only_news(rule) => too_many.push((rule.index, rows)),
                _ => live.push(*rule),
            }
        }
        (live, too_many)
    }
}

/// The parts that are looked at, with their lists.
#[derive(Default)]
struct Parts {
    parts: Vec<Arc<Part>>,
    /// By list: the number of its part.
    part_of: Vec<u32>,
    lists: Vec<Arc<MatchList>>,
    has_news: Vec<bool>,
}

impl Parts {
    /// Reads what these rules want of candidates: little, unless it is new.
    fn read(
        candidates: Vec<Candidate>,
        which: &[&ActiveRule],
        new_is_whole: bool,
        unreadable: &mut Vec<StoreError>,
    ) -> Self {
        let mut found = Self::default();
        for Candidate { part, has_news, counts } in candidates {
            let has_rows = |fingerprint: &u128| counts.iter().any(|list| list.has_rows(*fingerprint));
            let wanted: Vec<u128> = which.iter().map(|rule| rule.fingerprint).filter(has_rows).collect();
            if wanted.is_empty() {
                continue;
            }
            // What is new is wanted as a whole, by one rule or another.
            let is_whole = new_is_whole && has_news;
            match if is_whole { part.lists() } else { part.lists_of(&wanted) } {
                Ok(lists) => {
                    found.part_of.resize(found.part_of.len() + lists.len(), found.parts.len() as u32);
                    found.has_news.resize(found.has_news.len() + lists.len(), has_news);
                    found.lists.extend(lists);
                    found.parts.push(part);
                }
                Err(error) => unreadable.push(error),
            }
        }
        found
    }
}

/// Runs rules of one basis over a window, and over what came late. A rule whose filters let through more than `most`
/// events is left out: what it has to remember grows with them, and the others are not to suffer for it.
///
/// # Errors
/// If the store cannot be read.
pub fn evaluate(
    active: &ActiveRules,
    which: &[&ActiveRule],
    task: Task<'_>,
    snapshot: &Snapshot,
    most: usize,
) -> Result<Evaluated, EvaluateError> {
    let Some(first) = which.first() else { return Ok(Evaluated::default()) };
    let lookback = which.iter().map(|rule| rule.lookback).max().unwrap_or(0);
    let Task { window, late, since } = task;
    let scope = Scope { basis: first.basis, window, lookback, late, since };
    let seen = scope.seen();
    let which = scope.that_may_end(active, which, snapshot);
    let candidates = Candidates::find(&which, &scope, snapshot);
    let (which, mut too_many) = candidates.live(active, &which, &scope, most);
    let Candidates { all, lacking, mut unreadable } = candidates;
    let Parts { parts, part_of, lists, has_news } = Parts::read(all, &which, since.is_some(), &mut unreadable);
    let arrivals: Vec<Arrivals<'_>> = parts.iter().map(|part| part.arrivals()).collect::<Result<_, _>>()?;
    let arrival = |list: usize, event: &MatchedEvent| arrivals[part_of[list] as usize].of(event.handle as u32);
    let keep = |list: usize, _: u32, event: &MatchedEvent| {
        let (part, row) = (part_of[list], event.handle as u32);
        scope.is_in(&seen, event.order.time, arrival(list, event)).then_some(u64::from(part) << 32 | u64::from(row))
    };
    let is_new = |list: usize, event: &MatchedEvent| {
        scope.may_be_new(event.order.time, Some(arrival(list, event))) && keep(list, 0, event).is_some()
    };
    // Parts at the window's edges also have events outside of it, and of what is old, rules of single events need nothing.
    let is_needed = |rule: &ActiveRule, list: usize, event: &MatchedEvent| {
        let is_old = scope.needs_only_news(rule) && !is_new(list, event);
        !is_old && keep(list, 0, event).is_some()
    };
    let needed = |rule: &ActiveRule| -> usize {
        let rows = |(number, list): (usize, &Arc<MatchList>)| {
            list.count_rows(rule.fingerprint, |event| is_needed(rule, number, event))
        };
        lists.iter().enumerate().map(rows).sum()
    };
    let exceeding = exceeding(&which, &lists, most).into_iter().map(|rule| (rule.index, needed(rule)));
    too_many.extend(exceeding.filter(|(_, rows)| *rows > most));
    let views: Vec<ListView<'_>> =
        lists.iter().zip(has_news).map(|(list, has_news)| ListView { list, has_news }).collect();
    let is_asked = |index: &RuleIndex| !lacking.contains(index) && too_many.iter().all(|(other, _)| other != index);
    let asked: Vec<RuleIndex> = which.iter().map(|rule| rule.index).filter(is_asked).collect();
    // By arrival, an event's own time does not say what has come yet: that is seen to below.
    let end = (scope.basis == TimeBasis::Timestamp).then_some(window.to);
    let query = ListQuery {
        rules: active.compiled.plan.rules(),
        fingerprints: &active.compiled.fingerprints,
        which: &asked,
        lists: &views,
        options: &CorrelateOptions { end, ..CorrelateOptions::default() },
    };
    let rules = active.compiled.plan.rules().plans();
    let found = match since {
        Some(since) => query.news(since, keep, is_new),
        None => query.all(keep),
    };
    let event = |event: u32| {
        let MatchedEvent { order, handle, identity } = found.matched.events()[event as usize];
        FoundEvent { part: (handle >> 32) as u32, row: handle as u32, order, identity }
    };
    let orders = |rule: &RuleIndex| rules[rule.0 as usize].order.timestamp.is_some();
    let is_inside = |Detection { rule, events, .. }: &&Detection| {
        let (own, closes) = (orders(rule), active.rules[rule.0 as usize].closes);
        let moments = events.iter().flatten().map(|place| {
            let FoundEvent { part, row, order, .. } = event(*place);
            let clock = if own { found.matched.rule_time(*rule, *place) } else { order.time };
            Moment { clock, time: order.time, arrival: arrivals[part as usize].of(row) }
        });
        scope.is_finding(closes, &moments.collect::<Vec<_>>())
    };
    let findings = found.detections.iter().filter(is_inside).map(|Detection { rule, events, key, .. }| Finding {
        rule: *rule,
        events: events.iter().map(|place| place.map(event)).collect(),
        key: key.map(|key| found.matched.keys().parts(key)).unwrap_or_default(),
    });
    let findings = findings.collect();
    drop(arrivals);
    let mut not_matched: Vec<RuleIndex> = lacking.into_iter().collect();
    not_matched.sort_unstable();
    Ok(Evaluated { findings, parts, not_matched, too_many, unreadable })
}

/// The rules that have more rows than `most` in lists.
fn exceeding<'r>(which: &[&'r ActiveRule], lists: &[Arc<MatchList>], most: usize) -> Vec<&'r ActiveRule> {
    if lists.iter().map(|list| list.rows()).sum::<usize>() <= most {
        return Vec::new();
    }
    let mut counts = RowCounts::default();
    lists.iter().for_each(|list| counts.add(&list.counts()));
    let rows = |rule: &ActiveRule| counts.of(rule.fingerprint).map_or(0, |rows| rows.iter().sum::<u64>());
    which.iter().copied().filter(|rule| rows(rule) > most as u64).collect()
}

/// When events came that are late for a rule that goes by `@timestamp`: no window that was due when one had arrived held it.
#[derive(Clone, Copy, Debug)]
pub struct Lateness<'r> {
    /// The rule.
    pub rule: &'r ActiveRule,
    /// When its last window was due that left nothing out: what came late after that is still to be looked at.
    pub since: i64,
    /// When its last window was due.
    pub last: i64,
    /// When its window is due now.
    pub end: i64,
}

impl Lateness<'_> {
    /// Whether an event of this time and arrival, which is older than the window, is late.
    fn has(&self, time: i64, arrival: i64) -> bool {
        // What arrived since the last window is held by none before this one.
        self.since < arrival && arrival <= self.end && (arrival > self.last || time < self.first_window(arrival).from)
    }

    /// When the last window was due before an event arrived.
    fn due_before(&self, arrival: i64) -> i64 {
        arrival.saturating_sub(1).div_euclid(self.interval()).saturating_mul(self.interval())
    }

    /// Whether a part may have an event of a sequence that the window holds and that one before it would have held, had it
    /// come in time.
    fn may_have_come_behind(&self, part: &Part, window: RuleWindow) -> bool {
        let reach = self.rule.late_reach(window);
        let (Some(first), Some(last)) = (part.first_time(), part.last_arrival()) else { return false };
        reach > 0
            && last > self.last
            && first < window.from.saturating_add(reach)
            && first <= RuleWindow::of(&self.rule.rule, self.due_before(last)).to
    }

    /// Whether an event of a part may be late that is older than the window.
    fn may_have_late(&self, part: &Part, window: RuleWindow) -> bool {
        part.last_arrival() > Some(self.since) && part.first_time() < Some(window.from)
    }

    /// The first window that was due when an event had arrived.
    fn first_window(&self, arrival: i64) -> RuleWindow {
        let number = arrival.saturating_sub(1).div_euclid(self.interval()).saturating_add(1);
        RuleWindow::of(&self.rule.rule, number.saturating_mul(self.interval()).min(self.end))
    }

    fn interval(&self) -> i64 {
        self.rule.interval.max(1)
    }
}

/// Late events that are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Late<'r> {
    /// Which are late. Several rules share it where nothing but their last window tells.
    pub lateness: Lateness<'r>,
    /// Since when events are looked at for their sake.
    pub from: i64,
}

/// When an event was.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// By what orders the rule's events.
    clock: Option<i64>,
    /// By `@timestamp`.
    time: Option<i64>,
    /// By `event.ingested`.
    arrival: i64,
}

/// Which events take part.
struct Scope<'t> {
    basis: TimeBasis,
    window: RuleWindow,
    /// How far before the window events are looked at.
    lookback: i64,
    late: Option<Late<'t>>,
    since: Option<i64>,
}

impl Scope<'_> {
    /// The window with room for what came late.
    fn wide(&self) -> RuleWindow {
        match (self.basis, self.late) {
            (TimeBasis::Timestamp, Some(late)) => {
                RuleWindow { from: self.window.from.min(late.from), to: self.window.to }
            }
            _ => self.window,
        }
    }

    fn seen(&self) -> RuleWindow {
        let RuleWindow { from, to } = self.wide();
        RuleWindow { from: from.saturating_sub(self.lookback), to }
    }

    /// Where to look for events.
    fn range(&self) -> TimeRange {
        let RuleWindow { from, to } = self.seen();
        let window = Window { from: Some(from), to: Some(to) };
        match self.basis {
            TimeBasis::Ingested => TimeRange { ingested: window, ..TimeRange::default() },
            TimeBasis::Timestamp => TimeRange { timestamp: window, ..TimeRange::default() },
        }
    }

    /// Of what is old, rules of single events need nothing.
    fn needs_only_news(&self, rule: &ActiveRule) -> bool {
        self.since.is_some() && rule.reach == Some(0)
    }

    fn has_news(&self, part: &Part) -> bool {
        self.may_be_new(part.last_time(), part.last_arrival())
    }

    /// The time of the first event that may be new.
    fn first_new(&self, snapshot: &Snapshot) -> Option<i64> {
        let range = self.range();
        let parts = snapshot.parts(&range).filter(|part| self.has_news(part));
        parts.filter_map(|part| part.first_time()).min()
    }

    /// What is older is in no finding of these rules, but for what is new; `None` if anything may be.
    fn oldest(&self, which: &[&ActiveRule], snapshot: &Snapshot) -> Option<i64> {
        let since = self.since?;
        let reaches: Option<Vec<i64>> = which.iter().map(|rule| rule.reach).collect();
        match reaches?.into_iter().max().unwrap_or(0) {
            0 => Some(i64::MAX),
            // What waits for time to pass is not before that either.
            reach => Some(self.first_new(snapshot).map_or(since, |first| first.min(since)).saturating_sub(reach)),
        }
    }

    /// The rules that can find something new, as far as that is told without a look at all parts.
    fn that_may_end<'r>(
        &self,
        active: &ActiveRules,
        which: &[&'r ActiveRule],
        snapshot: &Snapshot,
    ) -> Vec<&'r ActiveRule> {
        if self.since.is_none() || which.iter().all(|rule| rule.reach.is_some()) {
            return which.to_vec();
        }
        let (range, first) = (self.range(), self.first_new(snapshot));
        let is_late = |part: &&Arc<Part>| self.has_news(part) || part.last_time() >= first;
        let parts: Vec<Arc<[ListCounts]>> =
            snapshot.parts(&range).filter(is_late).map(|part| part.counts().unwrap_or_default()).collect();
        let rules = active.compiled.plan.rules();
        // Where a part was not matched with it, or cannot be read, that is said by who looks there.
        let is_unknown = |rule: &ActiveRule, lists: &[ListCounts]| lists.iter().all(|list| !list.has(rule.fingerprint));
        let may_end = |rule: &ActiveRule, lists: &[ListCounts]| {
            is_unknown(rule, lists) || lists.iter().any(|list| may_end(rules, rule.index, rule.fingerprint, list))
        };
        which.iter().copied().filter(|rule| parts.iter().any(|lists| may_end(rule, lists))).collect()
    }

    /// Whether an event of this time and arrival was not there, or not in a window yet, when the rules were last run.
    fn may_be_new(&self, time: Option<i64>, arrival: Option<i64>) -> bool {
        let Some(since) = self.since else { return true };
        arrival.is_some_and(|arrival| arrival > since)
            || self.basis == TimeBasis::Timestamp && time.is_some_and(|time| time > since)
    }

    fn is_in(&self, window: &RuleWindow, time: Option<i64>, arrival: i64) -> bool {
        match self.basis {
            TimeBasis::Ingested => window.contains(arrival),
            TimeBasis::Timestamp => time.is_some_and(|time| window.contains(time)),
        }
    }

    /// Whether a finding with these events is one of this window. What is older as a whole was found by an earlier one.
    /// One that ends with a missing event is one of the window in which it [became certain](Self::closing): its events may
    /// lie before that.
    fn is_finding(&self, closes: Option<i64>, events: &[Moment]) -> bool {
        let RuleWindow { from, to } = self.wide();
        let wide = RuleWindow { from: from.saturating_sub(closes.unwrap_or(0)), to };
        let is_late = |event: &Moment| {
            self.late.is_some_and(|late| event.time.is_some_and(|time| late.lateness.has(time, event.arrival)))
        };
        let is_new = match closes {
            None => events.iter().any(|event| self.is_in(&self.window, event.time, event.arrival) || is_late(event)),
            Some(span) => self.closing(span, events).is_some_and(|closing| {
                self.window.contains(closing) || closing < self.window.from && events.iter().any(is_late)
            }),
        };
        is_new && events.iter().all(|event| self.is_in(&wide, event.time, event.arrival))
    }

    /// When nothing can deny a finding any more that would lie within `span` of its first event, and come as late as the
    /// latest of its own.
    fn closing(&self, span: i64, events: &[Moment]) -> Option<i64> {
        let delay = |event: &Moment| {
            let come = match self.basis {
                TimeBasis::Ingested => Some(event.arrival),
                TimeBasis::Timestamp => event.time,
            };
            Some(come?.saturating_sub(event.clock?))
        };
        let first = events.first()?.clock?;
        let delay = events.iter().filter_map(delay).max()?;
        Some(first.saturating_add(span).saturating_add(delay))
    }
}

/// What arrived and is older than a window, for a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateEvents {
    /// Since when events are to be looked at for the sake of those that are not beyond the bound: the oldest of them, or
    /// what may be in a sequence with it.
    pub from: Option<i64>,
    /// How many there are up to the bound that arrived since the last window.
    pub late: u64,
    /// How many of these are beyond it.
    pub missed: u64,
    /// The `_index` and `_id` of one of these, as JSON.
    pub example: Option<String>,
    /// With those that are not beyond the bound, there would be more events than may be correlated: they are left out.
    pub are_too_many: bool,
}

impl LateEvents {
    fn look_since(&mut self, time: i64) {
        self.from = Some(self.from.map_or(time, |from| from.min(time)));
    }
}

/// Looks for events that are late for rules, and older than their window; those that are `bound` before it or more are
/// beyond it. For sequences also for events at the window's beginning that an earlier one would have held.
///
/// # Errors
/// If the store cannot be read.
pub fn late_events(
    snapshot: &Snapshot,
    of: &[Lateness<'_>],
    window: RuleWindow,
    bound: i64,
) -> Result<Vec<LateEvents>, EvaluateError> {
    let mut found = vec![LateEvents::default(); of.len()];
    let Some(since) = of.iter().map(|lateness| lateness.since).min() else { return Ok(found) };
    let reach = of.iter().map(|lateness| lateness.rule.late_reach(window)).max().unwrap_or(0);
    let arrived = Window { from: Some(since.saturating_add(1)), to: of.iter().map(|lateness| lateness.end).max() };
    let older = Window { from: None, to: Some(window.from.saturating_add(reach).saturating_sub(1).min(window.to)) };
    for part in snapshot.parts(&TimeRange { timestamp: older, ingested: arrived }) {
        let may_matter = |(_, lateness): &(usize, &Lateness<'_>)| {
            lateness.may_have_late(part, window) || lateness.may_have_come_behind(part, window)
        };
        let mut which: Vec<(usize, &Lateness<'_>)> = of.iter().enumerate().filter(may_matter).collect();
        if which.is_empty() {
            continue;
        }
        // A damaged one is named by the executions over it.
        let Ok(counts) = part.counts() else { continue };
        which.retain(|(_, lateness)| counts.iter().any(|list| list.has_rows(lateness.rule.fingerprint)));
        if which.is_empty() {
            continue;
        }
        let wanted: Vec<u128> = which.iter().map(|(_, lateness)| lateness.rule.fingerprint).collect();
        let (Ok(arrivals), Ok(lists)) = (part.arrivals(), part.lists_of(&wanted)) else { continue };
        for (number, lateness) in which {
            look_for_late(part, &arrivals, &lists, lateness, (window, bound), &mut found[number]);
        }
    }
    Ok(found)
}

/// Looks for events of a part that are late for a rule.
fn look_for_late(
    part: &Part,
    arrivals: &Arrivals<'_>,
    lists: &[Arc<MatchList>],
    lateness: &Lateness<'_>,
    (window, bound): (RuleWindow, i64),
    found: &mut LateEvents,
) {
    let reach = lateness.rule.late_reach(window);
    let oldest = window.from.saturating_sub(bound);
    // However long a sequence may last, what is looked at is limited.
    let since = |time: i64| time.saturating_sub(reach).max(oldest.saturating_sub(window.length()));
    // When the last window was due before an event arrived, and where it ends.
    let mut before = (i64::MIN, i64::MIN);
    let mut came_behind = |time: i64, arrival: i64| {
        let due = lateness.due_before(arrival);
        if before.0 != due {
            before = (due, RuleWindow::of(&lateness.rule.rule, due).to);
        }
        lateness.last < arrival && arrival <= lateness.end && time <= before.1
    };
    let mut rows: HashSet<u64> = HashSet::new();
    for event in lists.iter().flat_map(|list| list.events_of(lateness.rule.fingerprint)) {
        let may_matter = |time: &i64| *time < window.from.saturating_add(reach).min(window.to.saturating_add(1));
        let Some(time) = event.order.time.filter(may_matter) else { continue };
        let arrival = arrivals.of(event.handle as u32);
        if time >= window.from {
            if came_behind(time, arrival) {
                found.look_since(since(time));
            }
            continue;
        }
        if !lateness.has(time, arrival) || !rows.insert(event.handle) {
            continue;
        }
        // What arrived before the last window was counted then.
        let is_counted = u64::from(arrival > lateness.last);
        if time >= oldest {
            found.late += is_counted;
            found.look_since(since(time));
        } else {
            found.missed += is_counted;
            if is_counted > 0 && found.example.is_none() {
                found.example = example(part, event.handle as u32);
            }
        }
    }
}

/// What an event is called.
fn example(part: &Part, row: u32) -> Option<String> {
    let hit: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&part.hit(row).ok()?).ok()?;
    Some(format!("{} in {}", hit.get("_id")?, hit.get("_index")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_matched_or_refused_is_not_whole() {
        assert!(Evaluated::default().whole().is_ok());
        let not_matched = Evaluated { not_matched: vec![RuleIndex(0)], ..Evaluated::default() };
        assert!(matches!(not_matched.whole(), Err(EvaluateError::NotMatched)));
        let refused = Evaluated { too_many: vec![(RuleIndex(0), 7)], ..Evaluated::default() };
        assert!(matches!(refused.whole(), Err(EvaluateError::TooMany { events: 7 })));
    }
}
