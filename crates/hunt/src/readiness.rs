//! Which rules can fire at all on some data, and what the others lack.
//!
//! [`readiness`] passes over the data once and matches nothing: it only notes which fields, indices and categories
//! occur, and holds what each rule reads against that. Whether a rule is blind is said by the same
//! [`Coverage`] as in a hunt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use eqlipse_batch::{EventBatch, FieldId, ValueRef};
use eqlipse_engine::compile::IndexPatterns;
use eqlipse_engine::text::Wildcard;
use eqlipse_engine::{Coverage, Lack, Matcher, RuleIndex};
use eqlipse_events::{Discovery, INDEX_FIELD, InputProblem, Progress, ReadOptions, ReadReport};
use eqlipse_rules::{Rule, Severity};
use serde::Serialize;

use crate::report::InputReport;
use crate::rule_book::RuleBook;
use crate::run::{HuntError, HuntOptions};

/// The most index names that are listed, the first in order of their letters. All of them are held against patterns.
pub const MAX_INDEX_NAMES: usize = 1000;

/// Whether a rule can fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All that it reads was seen.
    Ready,
    /// It can fire, but something that it reads was never seen.
    Partly,
    /// It cannot fire.
    Blind,
}

/// What a source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Events of an index that fits a pattern.
    Index,
    /// Events of a category.
    Category,
    /// Events with a field.
    Field,
}

/// Something that the data never had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// The index pattern, the category or the field.
    pub name: String,
}

/// Something that the data never had, with the rules that lack it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceCount {
    /// What it is.
    #[serde(flatten)]
    pub source: Source,
    /// Blind rules of which nothing more is known to be missing once this is there.
    pub wakes: usize,
    /// Blind rules that lack it.
    pub blind: usize,
    /// Rules that can fire and lack it.
    pub partly: usize,
}

/// An index pattern or category that a rule names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The pattern or category.
    pub name: String,
    /// Whether an event that the rule may see fits it.
    pub seen: bool,
}

/// A field that a rule reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldNeed {
    /// Its name.
    pub name: String,
    /// Whether any event had it.
    pub seen: bool,
    /// What it is read for: `condition`, `key`, `optional_key`, `order` or `exclusion` (only denied values are asked
    /// for, so that the rule fires more often without it).
    pub purpose: &'static str,
}

/// A tactic of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tactic {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What one rule needs and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReadiness {
    /// The rule's id.
    pub rule_id: String,
    /// Its name.
    pub name: String,
    /// Its severity.
    pub severity: Severity,
    /// Its tactics, each once.
    pub tactics: Vec<Tactic>,
    /// Whether it can fire.
    pub state: State,
    /// What keeps a blind rule from firing, or what a rule that can fire does without. Of a blind rule's index patterns
    /// any one may do, and so may one of the fields of an `or`.
    pub missing: Vec<Source>,
    /// The index patterns, without those that take names away; none if the rule sees every event.
    pub index: Vec<Need>,
    /// The categories that its filters name.
    pub categories: Vec<Need>,
    /// The fields that its conditions, keys, pipes and order read.
    pub fields: Vec<FieldNeed>,
}

/// Rules by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Rules that are ready.
    pub ready: usize,
    /// Rules that are partly so.
    pub partly: usize,
    /// Rules that are blind.
    pub blind: usize,
}

impl Totals {
    /// All of them.
    pub fn all(&self) -> usize {
        self.ready + self.partly + self.blind
    }

    fn add(&mut self, state: State) {
        match state {
            State::Ready => self.ready += 1,
            State::Partly => self.partly += 1,
            State::Blind => self.blind += 1,
        }
    }
}

/// The rules of one tactic by their state; a rule with several tactics counts in each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TacticTotals {
    /// The tactic's id; none for the rules without a tactic.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its rules.
    #[serde(flatten)]
    pub rules: Totals,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataSeen {
    /// Inputs: files, members of archives, standard input.
    pub inputs: usize,
    /// Events, duplicates included.
    pub events: u64,
    /// Records, lines and chunks that could not be read.
    pub skipped: u64,
    /// Events that belong to no index: every rule sees them, and they fit every pattern.
    pub without_index: u64,
    /// The names of indices that events belong to, at most [`MAX_INDEX_NAMES`].
    pub indices: Vec<String>,
    /// Whether there are more names than are listed.
    pub more_indices: bool,
}

/// What became of the rules that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RulesGiven {
    /// Rules that would run, and are judged here.
    pub judged: usize,
    /// Rules that were not loaded or compiled.
    pub not_loaded: usize,
    /// Rules of a type that eqlipse does not run yet, by type.
    pub not_run: BTreeMap<String, usize>,
    /// Rules that the selection left out.
    pub filtered: usize,
}

/// Which rules of a rule set can fire on a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// All rules by their state.
    pub totals: Totals,
    /// The same for each tactic, by its id; rules without a tactic last.
    pub tactics: Vec<TacticTotals>,
    /// What the data never had, those first that would wake most rules.
    pub missing: Vec<SourceCount>,
    /// The rules: ready, partly, blind; by name within each.
    pub rules: Vec<RuleReadiness>,
    /// What was read.
    pub data: DataSeen,
    /// What became of the rules that were given.
    pub given: RulesGiven,
    /// The inputs in their order.
    #[serde(skip)]
    pub inputs: Vec<InputReport>,
    /// What was given as input and gave no events.
    #[serde(skip)]
    pub problems: Vec<InputProblem>,
}

/// Holds what the rules of a book read against what the inputs have. Of the options, only the number of threads, the
/// rows of a batch and the sign to stop count: all events are looked at, whatever their time.
///
/// # Errors
/// If an input that exists cannot be read at all. What is damaged within an input is skipped and reported.
pub fn readiness(
    book: &RuleBook,
    inputs: &Discovery,
    options: &HuntOptions,
    progress: &Progress,
) -> Result<Readiness, HuntError> {
    let watch = Arc::new(Watch::new(book));
    let (seen, read) = survey(book, &watch, inputs, options, progress)?;
    let mut rules: Vec<RuleReadiness> = Vec::with_capacity(book.rules.len());
    let mut sources = BTreeMap::new();
    for index in 0..book.rules.len() as u32 {
        let judge = Judge { book, watch: &watch, seen: &seen, rule: RuleIndex(index) };
        let rule = judge.rule();
        judge.count(&rule, &mut sources);
        rules.push(rule);
    }
    rules.sort_by(|a, b| (a.state, &a.name, &a.rule_id).cmp(&(b.state, &b.name, &b.rule_id)));
    let mut totals = Totals::default();
    rules.iter().for_each(|rule| totals.add(rule.state));
    Ok(Readiness {
        totals,
        tactics: tactics(&rules),
        missing: ranked(sources),
        rules,
        data: seen.indices.data(&read),
        given: given(book),
        problems: inputs.problems.iter().cloned().chain(read.problems).collect(),
        inputs: read.inputs,
    })
}

fn given(book: &RuleBook) -> RulesGiven {
    let report = &book.report;
    RulesGiven {
        judged: book.rules.len(),
        not_loaded: report.unloaded.len(),
        not_run: report.not_run.clone(),
        filtered: report.filtered,
    }
}

fn tactics(rules: &[RuleReadiness]) -> Vec<TacticTotals> {
    let mut totals: BTreeMap<&str, TacticTotals> = BTreeMap::new();
    let mut without = TacticTotals { id: None, name: "no tactic".to_owned(), rules: Totals::default() };
    for rule in rules {
        if rule.tactics.is_empty() {
            without.rules.add(rule.state);
        }
        for Tactic { id, name } in &rule.tactics {
            let fresh = || TacticTotals { id: Some(id.clone()), name: name.clone(), rules: Totals::default() };
            totals.entry(id).or_insert_with(fresh).rules.add(rule.state);
        }
    }
    totals.into_values().chain(Some(without).filter(|without| without.rules.all() > 0)).collect()
}

fn ranked(sources: BTreeMap<Source, SourceCount>) -> Vec<SourceCount> {
    let mut sources: Vec<SourceCount> = sources.into_values().collect();
    // The sort is stable: what counts the same stays in the order of kinds and names.
    sources.sort_by_key(|count| std::cmp::Reverse((count.wakes, count.blind, count.partly)));
    sources
}

/// An index pattern with those that take names away from it.
struct Watched {
    wanted: Wildcard,
    unwanted: Vec<Wildcard>,
}

/// The index patterns of all rules, each once.
#[derive(Default)]
struct Watch {
    watched: Vec<Watched>,
    /// By rule: its patterns, and their places in `watched`.
    of_rule: Vec<Vec<(String, usize)>>,
}

impl Watch {
    fn new(book: &RuleBook) -> Self {
        let mut watch = Self::default();
        let mut places = BTreeMap::new();
        for rule in &book.rules {
            let patterns = IndexPatterns::parse(if book.any_index { &[] } else { rule.index() });
            let mut names: Vec<String> = Vec::new();
            for name in patterns.wanted {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let unwanted: BTreeSet<String> = patterns.unwanted.into_iter().collect();
            let of_rule = names.into_iter().map(|name| {
                let place = *places.entry((name.clone(), unwanted.clone())).or_insert_with(|| {
                    let unwanted = unwanted.iter().map(|name| Wildcard::new(name)).collect();
                    watch.watched.push(Watched { wanted: Wildcard::new(&name), unwanted });
                    watch.watched.len() - 1
                });
                (name, place)
            });
            let of_rule = of_rule.collect();
            watch.of_rule.push(of_rule);
        }
        watch
    }
}

/// Which indices the data had.
#[derive(Default)]
struct Indices {
    /// By place in [`Watch`]: whether an event fits the pattern.
    fits: Vec<bool>,
    /// The first [`MAX_INDEX_NAMES`] in the order of their letters: so they do not depend on the order of reading.
    names: BTreeSet<String>,
    more: bool,
    without: u64,
}

impl Indices {
    fn note(&mut self, batch: &EventBatch, index: FieldId, watch: &Watch) {
        let column = batch.column(index);
        let named = column.rows().chunk_by(|a, b| a == b).count();
        self.without += (batch.len() - named) as u64;
        let names: Vec<&str> = (0..column.cardinality() as u32)
            .map(|code| match column.value(code) {
                ValueRef::Str(name) => name,
                _ => "",
            })
            .collect();
        names.iter().filter(|name| !name.is_empty()).for_each(|name| self.add(name));
        for (fits, watched) in self.fits.iter_mut().zip(&watch.watched) {
            let passes = |list: &[Wildcard], name: &str| list.iter().any(|pattern| pattern.matches(name));
            let wanted = || names.iter().any(|name| watched.wanted.matches(name));
            *fits = *fits
                || wanted()
                    && (watched.unwanted.is_empty()
                        || rows(column.rows(), column.codes()).any(|codes| {
                            let mut own = codes.iter().map(|code| names[*code as usize]);
                            own.clone().any(|name| watched.wanted.matches(name))
                                && !own.any(|name| passes(&watched.unwanted, name))
                        }));
        }
    }

    fn add(&mut self, name: &str) {
        let is_last = |last: &String| name > last.as_str();
        if self.names.len() == MAX_INDEX_NAMES && self.names.last().is_some_and(is_last) {
            self.more = true;
        } else if !self.names.contains(name) {
            self.names.insert(name.to_owned());
            if self.names.len() > MAX_INDEX_NAMES {
                self.names.pop_last();
                self.more = true;
            }
        }
    }

    fn merge(&mut self, other: &Indices) {
        self.fits.iter_mut().zip(&other.fits).for_each(|(a, b)| *a |= b);
        self.without += other.without;
        self.more |= other.more;
        other.names.iter().for_each(|name| self.add(name));
    }

    fn data(&self, read: &ReadReport) -> DataSeen {
        DataSeen {
            inputs: read.inputs.len(),
            events: read.events,
            skipped: read.inputs.iter().map(|input| input.skipped).sum(),
            without_index: self.without,
            indices: self.names.iter().cloned().collect(),
            more_indices: self.more,
        }
    }
}

/// The codes of each row that has any.
fn rows<'a>(rows: &'a [u32], codes: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    let mut at = 0;
    rows.chunk_by(|a, b| a == b).map(move |row| {
        at += row.len();
        &codes[at - row.len()..at]
    })
}

/// What the data had.
struct Seen {
    coverage: Coverage,
    indices: Indices,
}

/// One thread's part of the pass.
struct Surveyor {
    matcher: Matcher,
    seen: Seen,
}

fn survey(
    book: &RuleBook,
    watch: &Arc<Watch>,
    inputs: &Discovery,
    options: &HuntOptions,
    progress: &Progress,
) -> Result<(Seen, ReadReport), HuntError> {
    let rules = book.plan.rules();
    let nothing = || {
        let indices = Indices { fits: vec![false; watch.watched.len()], ..Indices::default() };
        Seen { coverage: Coverage::new(rules), indices }
    };
    let fresh = |_| Mutex::new(Surveyor { matcher: Matcher::new(book.plan.clone()), seen: nothing() });
    let workers: Vec<Mutex<Surveyor>> = (0..options.jobs.get()).map(fresh).collect();
    let index = rules.schema().lookup(INDEX_FIELD);
    let read_options = ReadOptions {
        jobs: options.jobs,
        batch_rows: options.batch_rows,
        cancel: options.cancel.as_deref(),
        ..ReadOptions::default()
    };
    let read = eqlipse_events::read(inputs, rules.schema(), &read_options, progress, |number| {
        let worker = &workers[number];
        move |batch: &EventBatch| {
            let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            let Surveyor { matcher, seen } = &mut *worker;
            matcher.survey(batch, &mut seen.coverage);
            if let Some(index) = index {
                seen.indices.note(batch, index, watch);
            }
        }
    })?;
    let mut all = nothing();
    for worker in workers {
        let worker = worker.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.coverage.merge(&worker.seen.coverage);
        all.indices.merge(&worker.seen.indices);
    }
    Ok((all, read))
}

/// One rule against what the data had.
struct Judge<'a> {
    book: &'a RuleBook,
    watch: &'a Watch,
    seen: &'a Seen,
    rule: RuleIndex,
}

impl Judge<'_> {
    fn lacks(&self, given: Option<&Lack>) -> Vec<Lack> {
        self.seen.coverage.lacks(self.book.plan.rules(), self.rule, given)
    }

    fn rule(&self) -> RuleReadiness {
        let rule = self.book.rule(self.rule);
        let needs = self.seen.coverage.needs(self.book.plan.rules(), self.rule);
        let indices = &self.seen.indices;
        let patterns = self.watch.of_rule[self.rule.0 as usize].iter();
        let index: Vec<Need> = patterns
            .map(|(name, at)| Need { name: name.clone(), seen: indices.fits[*at] || indices.without > 0 })
            .collect();
        let categories: Vec<Need> = needs.categories.into_iter().map(|(name, seen)| Need { name, seen }).collect();
        let field = |(name, need): (String, eqlipse_engine::FieldNeed)| FieldNeed {
            name,
            seen: need.seen,
            purpose: need.purpose.as_str(),
        };
        let fields: Vec<FieldNeed> = needs.fields.into_iter().map(field).collect();
        let lacks = self.lacks(None);
        let missing = match lacks.is_empty() {
            true => unseen(&index, &categories, &fields),
            false => lacks.iter().flat_map(|lack| sources(lack, &index)).collect(),
        };
        let state = match (lacks.is_empty(), missing.is_empty()) {
            (false, _) => State::Blind,
            (true, false) => State::Partly,
            (true, true) => State::Ready,
        };
        RuleReadiness {
            rule_id: rule.rule_id.clone(),
            name: rule.name.clone(),
            severity: rule.severity,
            tactics: tactics_of(rule),
            state,
            missing,
            index,
            categories,
            fields,
        }
    }

    /// Counts what the rule lacks.
    fn count(&self, rule: &RuleReadiness, sources: &mut BTreeMap<Source, SourceCount>) {
        let waking: BTreeSet<Source> = match rule.state {
            State::Blind => self.waking(&rule.index),
            State::Ready | State::Partly => BTreeSet::new(),
        };
        for source in &rule.missing {
            let fresh = || SourceCount { source: source.clone(), wakes: 0, blind: 0, partly: 0 };
            let count = sources.entry(source.clone()).or_insert_with(fresh);
            count.wakes += usize::from(waking.contains(source));
            match rule.state {
                State::Blind => count.blind += 1,
                State::Ready | State::Partly => count.partly += 1,
            }
        }
    }

    /// The sources of which any one leaves nothing that is known to be missing.
    fn waking(&self, index: &[Need]) -> BTreeSet<Source> {
        let lacks = self.lacks(None);
        let enough = lacks.iter().filter(|lack| self.lacks(Some(lack)).is_empty());
        enough.flat_map(|lack| sources(lack, index)).collect()
    }
}

/// What would make up for a lack: for that of an index, any of the rule's patterns.
fn sources(lack: &Lack, index: &[Need]) -> Vec<Source> {
    match lack {
        Lack::Index => index.iter().map(|need| Source { kind: SourceKind::Index, name: need.name.clone() }).collect(),
        Lack::Category(name) => vec![Source { kind: SourceKind::Category, name: name.clone() }],
        Lack::Field(name) => vec![Source { kind: SourceKind::Field, name: name.clone() }],
    }
}

fn unseen(index: &[Need], categories: &[Need], fields: &[FieldNeed]) -> Vec<Source> {
    let index = index.iter().map(|need| (SourceKind::Index, &need.name, need.seen));
    let categories = categories.iter().map(|need| (SourceKind::Category, &need.name, need.seen));
    let fields = fields.iter().map(|need| (SourceKind::Field, &need.name, need.seen));
    let unseen = index.chain(categories).chain(fields).filter(|(_, _, seen)| !seen);
    unseen.map(|(kind, name, _)| Source { kind, name: name.clone() }).collect()
}

fn tactics_of(rule: &Rule) -> Vec<Tactic> {
    let mut tactics: Vec<Tactic> = Vec::new();
    for threat in &rule.threat {
        if !tactics.iter().any(|known| known.id == threat.tactic.id) {
            tactics.push(Tactic { id: threat.tactic.id.clone(), name: threat.tactic.name.clone() });
        }
    }
    tactics
}
