//! Matched rows that outlive the run that matched them.
//!
//! A service matches each event once, when it comes in, and keeps what matched beside the events. A rule's execution is
//! then correlation alone, over the rows in its window. Rules come and go in the meantime, so that a list knows its
//! rules by fingerprint and not by number.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use eqlipse_batch::{Arrival, OrderKey};

use super::Collector;
use super::kept::{Kept, MatchedEvent, OwnOrder, StageRow};
use super::key::{KeyId, KeyTable};
use crate::compile::{RuleIndex, RuleSet};

/// The rules that lists were made with. Lists of the same rules share them.
#[derive(Clone, Debug, Default, Eq)]
pub struct ListedRules(pub(super) Arc<[ListedRule]>);

impl PartialEq for ListedRules {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// A rule that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedRule {
    pub(super) fingerprint: u128,
    /// Where the rows of its stages are, stage by stage.
    pub(super) selections: Box<[u32]>,
}

impl ListedRules {
    /// The rules of a set. `fingerprints` has one number for each rule, which must be another whenever the rule would match
    /// otherwise. Rules with pipes that read fields are left out.
    pub fn new(rules: &RuleSet, fingerprints: &[u128]) -> Self {
        let listed = rules.plans().iter().zip(0..).map(|(plan, rule)| ListedRule {
            fingerprint: fingerprints[rule as usize],
            selections: match plan.pipes.carried.is_empty() {
                true => selections_of(rules, RuleIndex(rule)),
                false => Box::default(),
            },
        });
        Self(listed.collect())
    }

    /// A number that lists of the same rules share.
    pub fn number(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// The fingerprints of the rules.
    pub fn fingerprints(&self) -> impl Iterator<Item = u128> {
        self.0.iter().map(|rule| rule.fingerprint)
    }

    pub(super) fn rule(&self, fingerprint: u128) -> Option<&ListedRule> {
        self.0.iter().find(|rule| rule.fingerprint == fingerprint)
    }
}

/// The rules of lists that were decoded, so that lists of the same rules share them again.
#[derive(Debug, Default)]
pub struct KnownRules(Mutex<Vec<Weak<[ListedRule]>>>);

impl KnownRules {
    pub(super) fn share(&self, rules: Vec<ListedRule>) -> ListedRules {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.strong_count() > 0);
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|known| **known == *rules) {
            return ListedRules(same);
        }
        let rules: Arc<[ListedRule]> = rules.into();
        known.push(Arc::downgrade(&rules));
        ListedRules(rules)
    }
}

/// The stages of a rule stand together, in the order in which its query names them.
pub(super) fn selections_of(rules: &RuleSet, rule: RuleIndex) -> Box<[u32]> {
    let first = rules.stages().partition_point(|stage| stage.rule.0 < rule.0);
    let stages = rules.stages()[first..].iter().take_while(|stage| stage.rule == rule);
    stages.zip(first as u32..).map(|(_, stage)| rules.selections.of(crate::StageId(stage)).0).collect()
}

/// What rules matched of some events.
#[derive(Clone, Debug, Default)]
pub struct MatchList {
    pub(super) rules: ListedRules,
    pub(super) events: Vec<ListedEvent>,
    /// The rows of all selections, one selection after the other.
    pub(super) rows: Vec<StageRow>,
    /// By selection: where its rows end.
    pub(super) ends: Vec<u32>,
    pub(super) keys: KeyTable,
    pub(super) own_orders: Vec<OwnOrder>,
    /// The time of the latest event.
    pub(super) latest: Option<i64>,
}

/// By event of a list: the part that it goes to, and its number there.
type Places = Vec<Option<(u32, u32)>>;

/// A [`MatchedEvent`] in little more than half of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedEvent {
    time: i64,
    tiebreaker: i64,
    position: u64,
    handle: u64,
    identity: [u64; 2],
    source: u32,
    has: Has,
}

/// What an event has.
#[derive(Clone, Copy, Debug)]
struct Has {
    time: bool,
    tiebreaker: bool,
    identity: bool,
}

impl From<MatchedEvent> for ListedEvent {
    fn from(MatchedEvent { order, identity, handle }: MatchedEvent) -> Self {
        let OrderKey { time, tiebreaker, arrival } = order;
        let bits = identity.unwrap_or_default();
        Self {
            time: time.unwrap_or_default(),
            tiebreaker: tiebreaker.unwrap_or_default(),
            position: arrival.position,
            handle,
            identity: [bits as u64, (bits >> 64) as u64],
            source: arrival.source,
            has: Has { time: time.is_some(), tiebreaker: tiebreaker.is_some(), identity: identity.is_some() },
        }
    }
}

impl ListedEvent {
    pub(super) fn event(&self) -> MatchedEvent {
        let [low, high] = self.identity.map(u128::from);
        let order = OrderKey {
            time: self.has.time.then_some(self.time),
            tiebreaker: self.has.tiebreaker.then_some(self.tiebreaker),
            arrival: Arrival { source: self.source, position: self.position },
        };
        MatchedEvent { order, identity: self.has.identity.then_some(high << 64 | low), handle: self.handle }
    }
}

impl Collector {
    /// What was collected, to be kept, of rules that were listed of the collector's own.
    ///
    /// # Errors
    /// If rows could not be written to a temporary file, or read from it.
    pub fn into_list(self, rules: &RuleSet, listed: &ListedRules) -> io::Result<MatchList> {
        let (kept, spill) = self.finish()?;
        let mut lists = vec![MatchList::of(kept, listed)];
        if let Some(spill) = spill {
            lists.extend(spill.read_all(rules)?.into_iter().map(|kept| MatchList::of(kept, listed)));
        }
        if lists.len() == 1 {
            return Ok(lists.remove(0));
        }
        Ok(MatchList::join(&lists.iter().collect::<Vec<_>>(), |_, _, event| Some(event.handle)))
    }
}

impl MatchList {
    fn of(kept: Kept, listed: &ListedRules) -> Self {
        let Kept { events, rows, keys, own_orders, carried: _ } = kept;
        let ends = rows.iter().scan(0, |end, rows| {
            *end += rows.len() as u32;
            Some(*end)
        });
        Self {
            rules: listed.clone(),
            latest: events.iter().filter_map(|event| event.order.time).max(),
            ends: ends.collect(),
            events: events.into_iter().map(ListedEvent::from).collect(),
            rows: rows.concat(),
            keys,
            own_orders,
        }
    }

    /// Whether these rules were looked for.
    pub fn has(&self, fingerprint: u128) -> bool {
        self.rules.0.iter().any(|rule| rule.fingerprint == fingerprint && !rule.selections.is_empty())
    }

    /// The fingerprints of the rules that were looked for.
    pub fn fingerprints(&self) -> impl Iterator<Item = u128> {
        self.rules.0.iter().map(|rule| rule.fingerprint)
    }

    /// The rules that were looked for.
    pub fn rules(&self) -> &ListedRules {
        &self.rules
    }

    /// How many rows there are of all rules.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many rows there are of what.
    pub fn counts(&self) -> ListCounts {
        Self::counts_of(&[self])
    }

    /// How many rows there are of what in several lists, all of which must have been made with the same rules.
    pub fn counts_of(lists: &[&MatchList]) -> ListCounts {
        let selections = lists.iter().map(|list| list.ends.len()).max().unwrap_or_default();
        let counts = (0..selections as u32).map(|selection| {
            let having = lists.iter().filter(|list| (selection as usize) < list.ends.len());
            (selection, having.map(|list| list.rows_of(selection).len() as u32).sum())
        });
        let rules = lists.first().map(|list| list.rules.clone()).unwrap_or_default();
        ListCounts { rules, counts: counts.filter(|(_, rows)| *rows > 0).collect() }
    }

    /// The same list without the rows of other rules than these. It still [has](Self::has) them.
    pub fn only(&self, is_wanted: impl Fn(u128) -> bool) -> MatchList {
        let mut kept = Kept::new(self.ends.len());
        let mut taking = Taking::new(self, |_, event| Some(event.handle));
        let rules = self.rules.0.iter().filter(|rule| is_wanted(rule.fingerprint));
        // Rules share selections.
        let selections: BTreeSet<u32> = rules.flat_map(|rule| rule.selections.iter().copied()).collect();
        for selection in selections {
            taking.rows(self.rows_of(selection), &mut kept, selection as usize);
        }
        taking.own_orders(&mut kept, |rule| is_wanted(self.rules.0[rule.0 as usize].fingerprint).then_some(rule));
        MatchList::of(kept, &self.rules)
    }

    /// The same of one rule, and only rows of events that count.
    pub fn count_rows(&self, fingerprint: u128, counts: impl Fn(&MatchedEvent) -> bool) -> usize {
        let selections = self.rules.rule(fingerprint).into_iter().flat_map(|rule| &rule.selections);
        let rows = selections.flat_map(|selection| self.rows_of(*selection));
        rows.filter(|row| counts(&self.events[row.event as usize].event())).count()
    }

    /// The events that some stage of a rule matched, one that several matched as often.
    pub fn events_of(&self, fingerprint: u128) -> impl Iterator<Item = MatchedEvent> {
        let selections = self.rules.rule(fingerprint).into_iter().flat_map(|rule| &rule.selections);
        let rows = selections.flat_map(|selection| self.rows_of(*selection));
        rows.map(|row| self.events[row.event as usize].event())
    }

    /// The events that some stage matched.
    pub fn events(&self) -> impl Iterator<Item = MatchedEvent> {
        self.events.iter().map(ListedEvent::event)
    }

    /// Gives all events other places and handles.
    pub fn replace_events(&mut self, mut replace: impl FnMut(MatchedEvent) -> MatchedEvent) {
        self.events.iter_mut().for_each(|event| *event = replace(event.event()).into());
    }

    /// Adds so much to the handles of all events.
    pub fn move_handles(&mut self, by: u64) {
        self.events.iter_mut().for_each(|event| event.handle = event.handle.saturating_add(by));
    }

    /// The rows of a selection.
    pub(super) fn rows_of(&self, selection: u32) -> &[StageRow] {
        let end = |selection: u32| self.ends[selection as usize] as usize;
        &self.rows[selection.checked_sub(1).map_or(0, end)..end(selection)]
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.events.len() * size_of::<ListedEvent>()
            + self.rows.len() * size_of::<StageRow>()
            + self.ends.len() * size_of::<u32>()
            + self.keys.memory()
    }

    /// One list of several, all of which must have been made with the same rules. `handle` is given the number of the
    /// list and that of an event in it, and gives the event the handle it is to have, or leaves it out.
    pub fn join(lists: &[&MatchList], mut handle: impl FnMut(usize, u32, &MatchedEvent) -> Option<u64>) -> MatchList {
        let place = |list: usize, number: u32, event: &MatchedEvent| Some((0, handle(list, number, event)?));
        Self::split(lists, 1, place).pop().unwrap_or_default()
    }

    /// As [`Self::join`], into so many lists: `place` says too in which one an event goes.
    pub fn split(
        lists: &[&MatchList],
        parts: usize,
        mut place: impl FnMut(usize, u32, &MatchedEvent) -> Option<(u32, u64)>,
    ) -> Vec<MatchList> {
        let Some(first) = lists.first() else { return (0..parts).map(|_| MatchList::default()).collect() };
        debug_assert!(lists.iter().all(|list| list.rules == first.rules));
        let selections = lists.iter().map(|list| list.ends.len()).max().unwrap_or_default();
        let start = || MatchList { rules: first.rules.clone(), ends: vec![0; selections], ..MatchList::default() };
        let mut all: Vec<MatchList> = (0..parts).map(|_| start()).collect();
        if let [all] = &mut all[..] {
            all.events.reserve(lists.iter().map(|list| list.events.len()).sum());
            all.keys.reserve_for(lists.iter().map(|list| &list.keys));
        }
        let mut places: Vec<Places> = Vec::with_capacity(lists.len());
        for (number, list) in lists.iter().enumerate() {
            places.push(list.place_events(&mut all, |at, event| place(number, at, event)));
        }
        for (list, places) in lists.iter().zip(&places) {
            list.count_places(places, &mut all);
        }
        let mut next: Vec<Vec<u32>> = all.iter_mut().map(MatchList::open_rows).collect();
        for (list, places) in lists.iter().zip(&places) {
            list.place_rows(places, &mut all, &mut next);
        }
        all
    }

    /// Appends the events to the parts that they go to, and what belongs to them.
    fn place_events(
        &self,
        all: &mut [MatchList],
        mut place: impl FnMut(u32, &MatchedEvent) -> Option<(u32, u64)>,
    ) -> Places {
        let events = self.events.iter().zip(0..).map(|(listed, at)| {
            let event = listed.event();
            let (part, handle) = place(at, &event)?;
            let to = &mut all[part as usize];
            to.latest = to.latest.max(event.order.time);
            to.events.push(ListedEvent { handle, ..*listed });
            Some((part, to.events.len() as u32 - 1))
        });
        let events: Places = events.collect();
        for own in &self.own_orders {
            if let Some((part, event)) = events[own.event as usize] {
                all[part as usize].own_orders.push(OwnOrder { event, ..own.clone() });
            }
        }
        events
    }

    /// Adds to each part's `ends` how many rows of each selection come to it.
    fn count_places(&self, places: &Places, all: &mut [MatchList]) {
        for selection in 0..self.ends.len() as u32 {
            for row in self.rows_of(selection) {
                if let Some((part, _)) = places[row.event as usize] {
                    all[part as usize].ends[selection as usize] += 1;
                }
            }
        }
    }

    /// Makes room for the rows that were counted. Returns where those of each selection begin.
    fn open_rows(&mut self) -> Vec<u32> {
        let (mut all, mut starts) = (0, Vec::with_capacity(self.ends.len()));
        for end in &mut self.ends {
            starts.push(all);
            all += *end;
            *end = all;
        }
        self.rows.resize(all as usize, StageRow { event: 0, key: KeyId(0) });
        starts
    }

    /// Puts the rows at the next places of their selections in their parts.
    fn place_rows(&self, places: &Places, all: &mut [MatchList], next: &mut [Vec<u32>]) {
        let mut keys: Vec<Vec<Option<KeyId>>> = vec![Vec::new(); all.len()];
        for selection in 0..self.ends.len() as u32 {
            for row in self.rows_of(selection) {
                let Some((part, event)) = places[row.event as usize] else { continue };
                let (part, keys) = (part as usize, &mut keys[part as usize]);
                keys.resize(self.keys.len(), None);
                let to = &mut all[part];
                let key = &mut keys[row.key.0 as usize];
                let key = *key.get_or_insert_with(|| to.keys.intern_from(&self.keys, row.key));
                let next = &mut next[part][selection as usize];
                to.rows[*next as usize] = StageRow { event, key };
                *next += 1;
            }
        }
    }

    /// Whether a row is of an event and a key that are there.
    pub(super) fn has_row(&self, row: &StageRow) -> bool {
        (row.event as usize) < self.events.len() && (row.key.0 as usize) < self.keys.len()
    }

    /// Whether what points to something points to what is there.
    pub(super) fn is_sound(&self, rules: &[ListedRule]) -> bool {
        let mut selections = rules.iter().flat_map(|rule| &rule.selections);
        selections.all(|selection| (*selection as usize) < self.ends.len())
            && self
                .own_orders
                .iter()
                .all(|own| (own.rule.0 as usize) < rules.len() && (own.event as usize) < self.events.len())
    }
}

/// How many rows there are of what in lists of the same rules, for those who only want to know whether to look at it.
#[derive(Clone, Debug, Default)]
pub struct ListCounts {
    rules: ListedRules,
    /// Selections and how many rows they have, where they have some.
    counts: Arc<[(u32, u32)]>,
}

impl ListCounts {
    /// The rules that were looked for.
    pub fn rules(&self) -> &ListedRules {
        &self.rules
    }

    /// Whether these rules were looked for.
    pub fn has(&self, fingerprint: u128) -> bool {
        self.rules.rule(fingerprint).is_some_and(|rule| !rule.selections.is_empty())
    }

    /// Whether a rule has a row in some stage.
    pub fn has_rows(&self, fingerprint: u128) -> bool {
        let selections = self.rules.rule(fingerprint).into_iter().flat_map(|rule| &rule.selections);
        selections.into_iter().any(|selection| self.rows_of(*selection) > 0)
    }

    /// The fingerprints of the rules that have a row in some stage.
    pub fn rules_with_rows(&self) -> impl Iterator<Item = u128> {
        self.rows_of_rules().map(|(_, fingerprint)| fingerprint)
    }

    /// How many rows the stages of a rule have together, and its fingerprint, for the rules that have some.
    pub fn rows_of_rules(&self) -> impl Iterator<Item = (u64, u128)> {
        let rows =
            |rule: &ListedRule| rule.selections.iter().map(|selection| u64::from(self.rows_of(*selection))).sum();
        self.rules.0.iter().map(move |rule| (rows(rule), rule.fingerprint)).filter(|(rows, _)| *rows > 0)
    }

    /// How many rows a selection has.
    pub(super) fn rows_of(&self, selection: u32) -> u32 {
        let place = self.counts.binary_search_by_key(&selection, |(selection, _)| *selection);
        place.map_or(0, |place| self.counts[place].1)
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.counts.len() * size_of::<(u32, u32)>()
    }
}

/// How many rows several lists have of what together.
#[derive(Debug, Default)]
pub struct RowCounts(Vec<(ListedRules, Vec<u64>)>);

impl RowCounts {
    /// Adds those of a list.
    pub fn add(&mut self, list: &ListCounts) {
        // Nearly all lists are of the same rules.
        let place = self.0.iter().position(|(rules, _)| rules.number() == list.rules.number());
        let place = place.unwrap_or_else(|| {
            self.0.push((list.rules.clone(), Vec::new()));
            self.0.len() - 1
        });
        let sums = &mut self.0[place].1;
        for (selection, rows) in list.counts.iter() {
            let length = sums.len().max(*selection as usize + 1);
            sums.resize(length, 0);
            sums[*selection as usize] += u64::from(*rows);
        }
    }

    /// How many rows the stages of a rule have, in the order in which its query names them; `None` if no list has it.
    pub fn of(&self, fingerprint: u128) -> Option<Vec<u64>> {
        let mut all: Option<Vec<u64>> = None;
        for (rules, sums) in &self.0 {
            let Some(rule) = rules.rule(fingerprint) else { continue };
            let all = all.get_or_insert_with(|| vec![0; rule.selections.len()]);
            for (sum, selection) in all.iter_mut().zip(&rule.selections) {
                *sum += sums.get(*selection as usize).copied().unwrap_or_default();
            }
        }
        all
    }
}

/// Takes rows of one list over into what a correlation looks at, with new numbers for events and keys.
pub(super) struct Taking<'a, F> {
    from: &'a MatchList,
    /// The handle that an event is to have, if it is to be taken.
    handle: F,
    /// By event; empty until the first row is taken.
    events: Vec<Place>,
    keys: Vec<Option<KeyId>>,
}

/// What became of an event.
#[derive(Clone, Copy)]
enum Place {
    Unasked,
    LeftOut,
    Taken(u32),
}

impl<'a, F: FnMut(u32, &MatchedEvent) -> Option<u64>> Taking<'a, F> {
    pub(super) fn new(from: &'a MatchList, handle: F) -> Self {
        Self { from, handle, events: Vec::new(), keys: Vec::new() }
    }

    pub(super) fn rows<'r>(&mut self, rows: impl IntoIterator<Item = &'r StageRow>, to: &mut Kept, selection: usize) {
        for row in rows {
            let Some(event) = self.event(row.event, to) else { continue };
            let key = &mut self.keys[row.key.0 as usize];
            let key = *key.get_or_insert_with(|| to.keys.intern_from(&self.from.keys, row.key));
            to.rows[selection].push(StageRow { event, key });
        }
    }

    fn event(&mut self, number: u32, to: &mut Kept) -> Option<u32> {
        if self.events.is_empty() {
            self.events = vec![Place::Unasked; self.from.events.len()];
            self.keys = vec![None; self.from.keys.len()];
        }
        let place = &mut self.events[number as usize];
        if let Place::Unasked = place {
            let event = self.from.events[number as usize].event();
            *place = match (self.handle)(number, &event) {
                None => Place::LeftOut,
                Some(handle) => {
                    to.events.push(MatchedEvent { handle, ..event });
                    Place::Taken(to.events.len() as u32 - 1)
                }
            };
        }
        match place {
            Place::Taken(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn own_orders(&mut self, to: &mut Kept, rule: impl Fn(RuleIndex) -> Option<RuleIndex>) {
        for own in &self.from.own_orders {
            let Some(Place::Taken(event)) = self.events.get(own.event as usize) else { continue };
            if let Some(rule) = rule(own.rule) {
                to.own_orders.push(OwnOrder { rule, event: *event, ..own.clone() });
            }
        }
    }
}
