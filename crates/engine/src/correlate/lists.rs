//! Rules over the rows of many lists: all of them, or only what something new can come of.
//!
//! A service runs its rules again and again over windows that overlap. A finding that an earlier run could not have had
//! has an event that is new since then. So an event query looks at the new rows alone, and a sequence or sample at the
//! rows of the keys that have a new one, if each of its steps has a row with such a key, and for a sequence if its last
//! step has one that is not before all that is new: for nearly all rules that is nothing at all.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::find::Part;
use super::kept::{Kept, MatchedEvent, StageRow};
use super::key::{KeyId, KeyTable};
use super::list::{ListCounts, ListedRule, MatchList, Taking, selections_of};
use super::needed::RuleSelections;
use super::{CorrelateOptions, Correlated};
use crate::compile::{Plan, RuleIndex, RuleSet, SelectionId, SequencePlan, StageId};

/// A list to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct ListView<'l> {
    /// The rows.
    pub list: &'l MatchList,
    /// Whether some of its events may be new.
    pub has_news: bool,
}

/// Which rules are run over which lists. A rule finds nothing in a list that [does not have](MatchList::has) it.
#[derive(Clone, Copy)]
pub struct ListQuery<'q> {
    /// The rules.
    pub rules: &'q Arc<RuleSet>,
    /// What lists know the rules by.
    pub fingerprints: &'q [u128],
    /// The rules to run.
    pub which: &'q [RuleIndex],
    /// The lists.
    pub lists: &'q [ListView<'q>],
    /// What else must be known.
    pub options: &'q CorrelateOptions,
}

impl ListQuery<'_> {
    /// What the rules find. `keep` is given the number of a list and that of an event in it, and gives the event the
    /// handle it is to have in what is found, or leaves it out.
    pub fn all(&self, keep: impl Fn(usize, u32, &MatchedEvent) -> Option<u64>) -> Correlated {
        let sources = Sources::new(self);
        let selections = self.which.iter().flat_map(|rule| selections_of(self.rules, *rule));
        let selections: HashSet<u32, RandomState> = selections.collect();
        let mut kept = Kept::new(self.rules.selections.all.len());
        for (number, source) in sources.all.iter().enumerate() {
            let mut taking = Taking::new(source.list, |place, event| keep(number, place, event));
            for selection in &selections {
                taking.rows(source.rows(*selection), &mut kept, *selection as usize);
            }
            taking.own_orders(&mut kept, |rule| sources.rule(source, rule));
        }
        self.find(kept)
    }

    /// What the rules find that has a new event, or that only the passing of time since `since` lets them find; of other
    /// findings, some. `is_new` is given the number of a list that [may have](ListView::has_news) new events, and an event
    /// of it. Not for rules that [need all](needs_all).
    pub fn news(
        &self,
        since: i64,
        keep: impl Fn(usize, u32, &MatchedEvent) -> Option<u64>,
        is_new: impl Fn(usize, &MatchedEvent) -> bool,
    ) -> Correlated {
        let sources = Sources::new(self);
        let wanted = Wanted::find(self, &sources, since, &is_new);
        let mut kept = Kept::new(self.rules.selections.all.len());
        for (number, source) in sources.all.iter().enumerate() {
            let mut taking = Taking::new(source.list, |place, event| keep(number, place, event));
            for selection in wanted.new_rows.iter().filter(|_| source.has_news) {
                let rows = source.rows(*selection).iter().filter(|row| is_new(number, &source.event(row)));
                taking.rows(rows, &mut kept, *selection as usize);
            }
            let places = source.places_of_keys(&wanted.table, wanted.by_key.values().flatten());
            for (selection, keys) in wanted.by_key.iter().filter(|_| !places.is_empty()) {
                let is_wanted = |row: &&StageRow| places.get(&row.key).is_some_and(|key| keys.contains(key));
                taking.rows(source.rows(*selection).iter().filter(is_wanted), &mut kept, *selection as usize);
            }
            taking.own_orders(&mut kept, |rule| sources.rule(source, rule));
        }
        self.find(kept)
    }

    fn find(&self, kept: Kept) -> Correlated {
        let is_asked = |rule| self.which.contains(&rule);
        Part::find(self.rules, vec![kept], is_asked, self.options).pipe(self.rules, is_asked)
    }
}

/// Whether more of a rule must be looked at than the rows of keys with new ones: it has pipes or an order of its own, or
/// its filters look at other events.
pub fn needs_all(rules: &RuleSet, rule: RuleIndex) -> bool {
    let plan = &rules.plans()[rule.0 as usize];
    plan.relations.is_some() || !plan.pipes.pipes.is_empty() || plan.order != Default::default()
}

/// How far apart the events can be that a finding depends on, those that must not be there included, in nanoseconds;
/// `None` if that is not limited.
pub fn reach(rules: &RuleSet, rule: RuleIndex) -> Option<i64> {
    match &rules.plans()[rule.0 as usize].plan {
        Plan::Event(_) => Some(0),
        Plan::Sample(_) => None,
        // What must not be there may lie before the first event, or behind the last one.
        Plan::Sequence(sequence) => sequence.maxspan.map(|span| match waits(sequence) {
            true => span.saturating_mul(3),
            false => span,
        }),
    }
}

/// Whether a list has an event of a sequence's last step: without one among what is new or not older, a sequence finds
/// nothing new. Of other rules it is not known.
pub fn may_end(rules: &RuleSet, rule: RuleIndex, fingerprint: u128, list: &ListCounts) -> bool {
    let Some(last) = last_stage(rules, rule) else { return true };
    let listed = list.rules().rule(fingerprint);
    let place = listed.and_then(|listed| listed.selections.get(place_of(rules, rule, last)));
    place.is_some_and(|place| list.rows_of(*place) > 0)
}

/// Whether a rule can find anything in lists that have so many rows of its stages: a step without any row ends it.
pub fn may_find(rules: &RuleSet, rule: RuleIndex, rows: &[u64]) -> bool {
    let has_rows = |stage: StageId| rows.get(place_of(rules, rule, stage)).is_none_or(|rows| *rows > 0);
    match &rules.plans()[rule.0 as usize].plan {
        _ if needs_all(rules, rule) => true,
        Plan::Event(_) => rows.iter().any(|rows| *rows > 0),
        Plan::Sequence(sequence) => sequence.steps.iter().filter(|step| !step.negated).all(|step| has_rows(step.stage)),
        Plan::Sample(steps) => steps.iter().all(|step| has_rows(*step)),
    }
}

/// The place of a stage among those of its rule.
fn place_of(rules: &RuleSet, rule: RuleIndex, stage: StageId) -> usize {
    stage.0 as usize - rules.stages().partition_point(|stage| stage.rule.0 < rule.0)
}

/// Whether the passing of time lets it fire.
fn waits(sequence: &SequencePlan) -> bool {
    sequence.steps.iter().any(|step| step.negated)
}

fn last_stage(rules: &RuleSet, rule: RuleIndex) -> Option<StageId> {
    match &rules.plans()[rule.0 as usize].plan {
        Plan::Sequence(sequence) if !waits(sequence) => sequence.steps.last().map(|step| step.stage),
        _ => None,
    }
}

/// The selection of a list that has no rows of one of the rules.
const NOWHERE: u32 = u32::MAX;

/// A list as the rules see it.
struct Source<'l> {
    list: &'l MatchList,
    has_news: bool,
    /// By selection of the rules: that of the list.
    places: Arc<[u32]>,
}

impl<'l> Source<'l> {
    fn rows(&self, selection: u32) -> &'l [StageRow] {
        match self.places[selection as usize] {
            NOWHERE => &[],
            place => self.list.rows_of(place),
        }
    }

    fn event(&self, row: &StageRow) -> MatchedEvent {
        self.list.events[row.event as usize].event()
    }

    /// Which of some keys of a table the list has, and as what.
    fn places_of_keys<'k>(
        &self,
        table: &KeyTable,
        keys: impl Iterator<Item = &'k KeyId>,
    ) -> HashMap<KeyId, KeyId, RandomState> {
        keys.filter_map(|key| Some((self.list.keys.find(table.bytes_of(*key))?, *key))).collect()
    }
}

/// All lists as the rules see them.
struct Sources<'l> {
    all: Vec<Source<'l>>,
    wanted: HashMap<u128, RuleIndex, RandomState>,
}

impl<'l> Sources<'l> {
    fn new(query: &ListQuery<'l>) -> Self {
        let wanted: HashMap<u128, RuleIndex, RandomState> =
            query.which.iter().map(|rule| (query.fingerprints[rule.0 as usize], *rule)).collect();
        let places = |rules: &[ListedRule]| {
            let mut places = vec![NOWHERE; query.rules.selections.all.len()];
            for (rule, index) in rules.iter().filter_map(|rule| Some((rule, *wanted.get(&rule.fingerprint)?))) {
                for (from, to) in rule.selections.iter().zip(selections_of(query.rules, index)) {
                    places[to as usize] = *from;
                }
            }
            Arc::from(places)
        };
        // Nearly all lists are of the same rules.
        let mut known: HashMap<*const ListedRule, Arc<[u32]>, RandomState> = HashMap::default();
        let source = |view: &ListView<'l>| {
            let rules = &view.list.rules.0;
            let places = known.entry(rules.as_ptr()).or_insert_with(|| places(rules)).clone();
            Source { list: view.list, has_news: view.has_news, places }
        };
        Self { all: query.lists.iter().map(source).collect(), wanted }
    }

    /// The rule of a list, if it is one of those that run.
    fn rule(&self, source: &Source<'_>, rule: RuleIndex) -> Option<RuleIndex> {
        self.wanted.get(&source.list.rules.0[rule.0 as usize].fingerprint).copied()
    }

    fn count(&self, selection: SelectionId) -> usize {
        self.all.iter().map(|source| source.rows(selection.0).len()).sum()
    }

    /// The time of the first new event.
    fn first_new(&self, is_new: &impl Fn(usize, &MatchedEvent) -> bool) -> Option<i64> {
        let sources = self.all.iter().enumerate().filter(|(_, source)| source.has_news);
        let events = sources.flat_map(|(number, source)| source.list.events().map(move |event| (number, event)));
        events.filter(|(number, event)| is_new(*number, event)).filter_map(|(_, event)| event.order.time).min()
    }

    /// The keys that have a row of a selection at a time or later.
    fn keys_since(&self, selection: SelectionId, since: i64, table: &mut KeyTable) -> Keys {
        let mut found = Keys::default();
        for source in self.all.iter().filter(|source| source.list.latest >= Some(since)) {
            for row in source.rows(selection.0) {
                if source.event(row).order.time >= Some(since) {
                    found.insert(table.intern_from(&source.list.keys, row.key));
                }
            }
        }
        found
    }

    /// Those of some keys that have a row of a selection at a time or later.
    fn with_rows_since(&self, selection: SelectionId, since: Option<i64>, table: &KeyTable, keys: &Keys) -> Keys {
        let mut found = Keys::default();
        // Most parts are older as a whole.
        for source in self.all.iter().filter(|source| source.list.latest >= since) {
            let rows = source.rows(selection.0).iter().filter(|row| source.event(row).order.time >= since);
            let of_row = |row: &StageRow| table.find(source.list.keys.bytes_of(row.key));
            found.extend(rows.filter_map(of_row).filter(|key| keys.contains(key)));
        }
        found
    }

    /// Those of some keys that have a row of a selection.
    fn with_rows(&self, selection: SelectionId, table: &KeyTable, keys: &Keys) -> Keys {
        let mut found = Keys::default();
        for source in self.all.iter().filter(|_| !keys.is_empty()) {
            let rows = source.rows(selection.0);
            // Whichever are fewer are looked up among the others.
            if rows.len() < keys.len() {
                let of_row = |row: &StageRow| table.find(source.list.keys.bytes_of(row.key));
                found.extend(rows.iter().filter_map(of_row).filter(|key| keys.contains(key)));
            } else {
                let missing = keys.iter().filter(|key| !found.contains(*key)).collect::<Vec<_>>();
                let places = source.places_of_keys(table, missing.into_iter());
                if !places.is_empty() {
                    found.extend(rows.iter().filter_map(|row| places.get(&row.key)));
                }
            }
        }
        found
    }
}

type Keys = HashSet<KeyId, RandomState>;

/// What something new can come of.
#[derive(Default)]
struct Wanted {
    /// Selections of event queries: their new rows.
    new_rows: HashSet<u32, RandomState>,
    table: KeyTable,
    /// Selections of sequences and samples: their rows with these keys of the table.
    by_key: HashMap<u32, Keys, RandomState>,
}

impl Wanted {
    fn find(
        query: &ListQuery<'_>,
        sources: &Sources<'_>,
        since: i64,
        is_new: &impl Fn(usize, &MatchedEvent) -> bool,
    ) -> Self {
        let mut wanted = Self::default();
        let of_rules = RuleSelections::of_rules(query.rules);
        let mut known: HashMap<SelectionId, Keys, RandomState> = HashMap::default();
        let first_new = sources.first_new(is_new);
        for rule in query.which {
            let selections = &of_rules[rule.0 as usize];
            if let Plan::Event(_) = query.rules.plans()[rule.0 as usize].plan {
                wanted.new_rows.extend(selections.all().iter().map(|selection| selection.0));
                continue;
            }
            let mut steps: Vec<(usize, SelectionId)> =
                selections.required().iter().map(|step| (sources.count(*step), *step)).collect();
            steps.sort_unstable();
            if steps.first().is_none_or(|(rows, _)| *rows == 0) {
                continue;
            }
            let mut keys = Keys::default();
            for selection in selections.all() {
                let find = || new_keys(&mut wanted.table, sources, *selection, is_new);
                keys.extend(&*known.entry(*selection).or_insert_with(find));
            }
            match &query.rules.plans()[rule.0 as usize].plan {
                Plan::Sequence(sequence) if waits(sequence) => {
                    let waiting = since.saturating_sub(sequence.maxspan.unwrap_or(i64::MAX));
                    for (_, step) in &steps {
                        keys.extend(sources.keys_since(*step, waiting, &mut wanted.table));
                    }
                }
                Plan::Sequence(sequence) => {
                    let last = sequence.steps.last().map(|step| query.rules.selections.of(step.stage));
                    let find = |last| sources.with_rows_since(last, first_new, &wanted.table, &keys);
                    keys = last.map_or_else(Keys::default, find);
                }
                Plan::Event(_) | Plan::Sample(_) => {}
            }
            for (_, step) in steps {
                keys = sources.with_rows(step, &wanted.table, &keys);
            }
            for selection in selections.all().iter().filter(|_| !keys.is_empty()) {
                wanted.by_key.entry(selection.0).or_default().extend(&keys);
            }
        }
        wanted
    }
}

/// The keys of a selection's new rows, in this table.
fn new_keys(
    table: &mut KeyTable,
    sources: &Sources<'_>,
    selection: SelectionId,
    is_new: &impl Fn(usize, &MatchedEvent) -> bool,
) -> Keys {
    let mut keys = Keys::default();
    for (number, source) in sources.all.iter().enumerate().filter(|(_, source)| source.has_news) {
        for row in source.rows(selection.0).iter().filter(|row| is_new(number, &source.event(row))) {
            keys.insert(table.intern_from(&source.list.keys, row.key));
        }
    }
    keys
}
