//! Matched rows that outlive the run that matched them.
//!
//! A service matches each event once, when it comes in, and keeps what matched beside the events. A rule's execution is
//! then correlation alone, over the rows in its window. Rules come and go in the meantime, so that a list knows its
//! rules by fingerprint and not by number.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::find::Part;
use super::kept::{Kept, MatchedEvent, OwnOrder, StageRow};
use super::key::KeyId;
use super::spill::{put_bytes, put_event, put_u32, take, take_event};
use super::{Collector, CorrelateOptions, Correlated};
use crate::compile::{RuleIndex, RuleSet};

/// What a list begins with once it is bytes.
const MAGIC: &[u8; 8] = b"eqlist01";

/// What rules matched of some events.
#[derive(Debug, Default)]
pub struct MatchList {
    rules: Vec<ListedRule>,
    kept: Kept,
}

/// A rule that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ListedRule {
    fingerprint: u128,
    /// Where the rows of its stages are, stage by stage.
    selections: Vec<u32>,
}

/// The stages of a rule stand together, in the order in which its query names them.
fn selections_of(rules: &RuleSet, rule: RuleIndex) -> Vec<u32> {
    let first = rules.stages().partition_point(|stage| stage.rule.0 < rule.0);
    let stages = rules.stages()[first..].iter().take_while(|stage| stage.rule == rule);
    stages.zip(first as u32..).map(|(_, stage)| rules.selections.of(crate::StageId(stage)).0).collect()
}

impl Collector {
    /// What was collected, to be kept. `fingerprints` has one number for each rule, which must be another whenever
    /// the rule would match otherwise. Rules with pipes that read fields are left out.
    ///
    /// # Errors
    /// If rows could not be written to a temporary file, or read from it.
    pub fn into_list(self, rules: &Arc<RuleSet>, fingerprints: &[u128]) -> io::Result<MatchList> {
        let (mut kept, spill) = self.finish()?;
        let mut lists = Vec::new();
        if let Some(spill) = spill {
            for kept in spill.read_all(rules)? {
                lists.push(MatchList { rules: Vec::new(), kept });
            }
        }
        kept.carried = Vec::new();
        let listed = rules.plans().iter().zip(0..).map(|(plan, rule)| ListedRule {
            fingerprint: fingerprints[rule as usize],
            selections: if plan.pipes.carried.is_empty() { selections_of(rules, RuleIndex(rule)) } else { Vec::new() },
        });
        let listed: Vec<ListedRule> = listed.collect();
        lists.push(MatchList { rules: listed.clone(), kept });
        if lists.len() == 1 {
            return Ok(lists.remove(0));
        }
        lists.iter_mut().for_each(|list| list.rules = listed.clone());
        Ok(MatchList::join(&lists.iter().collect::<Vec<_>>(), |_, _, event| Some(event.handle)))
    }
}

impl MatchList {
    /// Whether these rules were looked for.
    pub fn has(&self, fingerprint: u128) -> bool {
        self.rules.iter().any(|rule| rule.fingerprint == fingerprint && !rule.selections.is_empty())
    }

    /// The fingerprints of the rules that were looked for.
    pub fn fingerprints(&self) -> impl Iterator<Item = u128> {
        self.rules.iter().map(|rule| rule.fingerprint)
    }

    /// The fingerprints of the rules that have a row in some stage.
    pub fn rules_with_rows(&self) -> impl Iterator<Item = u128> {
        let has_row = |rule: &&ListedRule| {
            rule.selections.iter().any(|selection| !self.kept.rows[*selection as usize].is_empty())
        };
        self.rules.iter().filter(has_row).map(|rule| rule.fingerprint)
    }

    /// The events that some stage matched.
    pub fn events(&self) -> &[MatchedEvent] {
        &self.kept.events
    }

    /// The same, to be given other places and handles.
    pub fn events_mut(&mut self) -> &mut [MatchedEvent] {
        &mut self.kept.events
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let rows = self.kept.rows.iter().map(Vec::len).sum::<usize>() * size_of::<StageRow>();
        self.kept.bytes(0) + rows + self.kept.rows.len() * size_of::<Vec<StageRow>>() + self.rules.len() * 64
    }

    /// One list of several, all of which must have been made with the same rules. `handle` is given the number of the
    /// list and that of an event in it, and gives the event the handle it is to have, or leaves it out.
    pub fn join(lists: &[&MatchList], mut handle: impl FnMut(usize, u32, &MatchedEvent) -> Option<u64>) -> MatchList {
        let Some(first) = lists.first() else { return MatchList::default() };
        debug_assert!(lists.iter().all(|list| list.rules == first.rules));
        let mut kept = Kept::new(first.kept.rows.len());
        for (number, list) in lists.iter().enumerate() {
            let mut taking = Taking::new(&list.kept, |place, event| handle(number, place, event));
            for (selection, rows) in list.kept.rows.iter().enumerate() {
                taking.rows(rows, &mut kept, selection);
            }
            taking.own_orders(&mut kept, Some);
        }
        MatchList { rules: first.rules.clone(), kept }
    }

    /// The rows of some rules, as a collector would have them.
    fn part(
        &self,
        rules: &RuleSet,
        wanted: &HashMap<u128, RuleIndex, RandomState>,
        keep: impl FnMut(u32, &MatchedEvent) -> Option<u64>,
    ) -> Kept {
        let mut kept = Kept::new(rules.selections.all.len());
        let mut is_filled = vec![false; kept.rows.len()];
        let mut taking = Taking::new(&self.kept, keep);
        let found = |rule: &ListedRule| wanted.get(&rule.fingerprint).copied();
        for (rule, index) in self.rules.iter().filter_map(|rule| Some((rule, found(rule)?))) {
            for (from, to) in rule.selections.iter().zip(selections_of(rules, index)) {
                if !std::mem::replace(&mut is_filled[to as usize], true) {
                    taking.rows(&self.kept.rows[*from as usize], &mut kept, to as usize);
                }
            }
        }
        taking.own_orders(&mut kept, |rule| found(&self.rules[rule.0 as usize]));
        kept
    }

    /// Appends the list as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Kept { events, rows, keys, own_orders, carried: _ } = &self.kept;
        out.extend_from_slice(MAGIC);
        put_u32(self.rules.len() as u32, out);
        for rule in &self.rules {
            out.extend(rule.fingerprint.to_le_bytes());
            put_u32(rule.selections.len() as u32, out);
            rule.selections.iter().for_each(|selection| put_u32(*selection, out));
        }
        put_u32(events.len() as u32, out);
        events.iter().for_each(|event| put_event(event, out));
        put_u32(keys.len() as u32, out);
        (0..keys.len() as u32).for_each(|key| put_bytes(keys.bytes_of(KeyId(key)), out));
        put_u32(rows.len() as u32, out);
        for rows in rows {
            put_u32(rows.len() as u32, out);
            rows.iter().for_each(|row| [row.event, row.key.0].iter().for_each(|number| put_u32(*number, out)));
        }
        put_u32(own_orders.len() as u32, out);
        for OwnOrder { rule, event, time, tiebreaker } in own_orders {
            put_u32(rule.0, out);
            put_u32(*event, out);
            out.extend([u8::from(time.is_some()), u8::from(tiebreaker.is_some())]);
            out.extend(time.unwrap_or_default().to_le_bytes());
            put_bytes(tiebreaker.as_deref().unwrap_or_default(), out);
        }
    }

    /// A list out of bytes, which may be damaged: `None` if they are no list.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take(bytes)? != *MAGIC {
            return None;
        }
        let mut list = MatchList::default();
        for _ in 0..take_u32(bytes)? {
            let fingerprint = u128::from_le_bytes(take(bytes)?);
            let count = take_u32(bytes)?;
            let selections = (0..count).map(|_| take_u32(bytes)).collect::<Option<_>>()?;
            list.rules.push(ListedRule { fingerprint, selections });
        }
        for _ in 0..take_u32(bytes)? {
            list.kept.events.push(take_event(bytes)?);
        }
        for number in 0..take_u32(bytes)? {
            // A key that stands there twice would shift all that follow.
            if list.kept.keys.intern(take_bytes(bytes)?).0 != number {
                return None;
            }
        }
        for _ in 0..take_u32(bytes)? {
            let count = take_u32(bytes)?;
            list.kept.rows.push((0..count).map(|_| list.take_row(bytes)).collect::<Option<_>>()?);
        }
        for _ in 0..take_u32(bytes)? {
            let own = take_own_order(bytes)?;
            list.kept.own_orders.push(own);
        }
        (bytes.is_empty() && list.is_sound()).then_some(list)
    }

    fn take_row(&self, bytes: &mut &[u8]) -> Option<StageRow> {
        let (event, key) = (take_u32(bytes)?, take_u32(bytes)?);
        let is_sound = (event as usize) < self.kept.events.len() && (key as usize) < self.kept.keys.len();
        is_sound.then_some(StageRow { event, key: KeyId(key) })
    }

    /// Whether what points to something points to what is there.
    fn is_sound(&self) -> bool {
        let mut selections = self.rules.iter().flat_map(|rule| &rule.selections);
        selections.all(|selection| (*selection as usize) < self.kept.rows.len())
            && self
                .kept
                .own_orders
                .iter()
                .all(|own| (own.rule.0 as usize) < self.rules.len() && (own.event as usize) < self.kept.events.len())
    }
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_u32(bytes)? as usize;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_own_order(bytes: &mut &[u8]) -> Option<OwnOrder> {
    let (rule, event) = (RuleIndex(take_u32(bytes)?), take_u32(bytes)?);
    let [has_time, has_tiebreaker] = take(bytes)?;
    let time = i64::from_le_bytes(take(bytes)?);
    let tiebreaker = take_bytes(bytes)?;
    let (time, tiebreaker) = ((has_time == 1).then_some(time), (has_tiebreaker == 1).then(|| tiebreaker.into()));
    Some(OwnOrder { rule, event, time, tiebreaker })
}

/// Takes rows over from what one list keeps, with new numbers for events and keys.
struct Taking<'a, F> {
    from: &'a Kept,
    /// The handle that an event is to have, if it is to be taken.
    handle: F,
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
    fn new(from: &'a Kept, handle: F) -> Self {
        Self { from, handle, events: vec![Place::Unasked; from.events.len()], keys: vec![None; from.keys.len()] }
    }

    fn rows(&mut self, rows: &[StageRow], to: &mut Kept, selection: usize) {
        for row in rows {
            let Some(event) = self.event(row.event, to) else { continue };
            let key = &mut self.keys[row.key.0 as usize];
            let key = *key.get_or_insert_with(|| to.keys.intern_from(&self.from.keys, row.key));
            to.rows[selection].push(StageRow { event, key });
        }
    }

    fn event(&mut self, number: u32, to: &mut Kept) -> Option<u32> {
        if let Place::Unasked = self.events[number as usize] {
            let event = self.from.events[number as usize];
            self.events[number as usize] = match (self.handle)(number, &event) {
                None => Place::LeftOut,
                Some(handle) => {
                    to.events.push(MatchedEvent { handle, ..event });
                    Place::Taken(to.events.len() as u32 - 1)
                }
            };
        }
        match self.events[number as usize] {
            Place::Taken(number) => Some(number),
            _ => None,
        }
    }

    fn own_orders(&mut self, to: &mut Kept, rule: impl Fn(RuleIndex) -> Option<RuleIndex>) {
        for own in &self.from.own_orders {
            let (Some(rule), Place::Taken(event)) = (rule(own.rule), self.events[own.event as usize]) else { continue };
            to.own_orders.push(OwnOrder { rule, event, ..own.clone() });
        }
    }
}

/// Runs the plans of some rules over the rows of lists. `keep` is given the number of a list and that of an event in it,
/// and gives the event the handle it is to have in what is found, or leaves it out. A rule finds nothing in a list that
/// [does not have](MatchList::has) it.
pub fn correlate_lists(
    rules: &Arc<RuleSet>,
    fingerprints: &[u128],
    which: &[RuleIndex],
    lists: &[&MatchList],
    keep: impl Fn(usize, u32, &MatchedEvent) -> Option<u64>,
    options: &CorrelateOptions,
) -> Correlated {
    let wanted = which.iter().map(|rule| (fingerprints[rule.0 as usize], *rule)).collect();
    let parts = lists.iter().enumerate();
    let parts = parts.map(|(number, list)| list.part(rules, &wanted, |place, event| keep(number, place, event)));
    let is_asked = |rule| which.contains(&rule);
    Part::find(rules, parts.collect(), is_asked, options).pipe(rules, is_asked)
}
