use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use eqlipse_batch::{FieldId, ValueRef};
use eqlipse_ecs::FieldType;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::guard::Guard;
use super::stats::PlanStats;
use crate::compile::{FieldPattern, Graph, LeafId, LeafKind, Test};
use crate::script::Scalar;
use crate::text::{Fold, Regex, Wildcard};

/// All leaves of one field, arranged so that one look at a value finds those that it passes.
#[derive(Debug)]
pub struct FieldMatcher {
    field: FieldId,
    ty: FieldType,
    /// Leaves that any value passes.
    exists: Vec<LeafId>,
    /// Exact texts.
    exact: HashMap<String, Vec<LeafId>, RandomState>,
    exact_lengths: Lengths,
    /// Exact texts without ASCII case, in lower case.
    exact_folded: HashMap<String, Vec<LeafId>, RandomState>,
    folded_lengths: Lengths,
    /// Whole numbers, for `==` and `in` on number fields.
    whole: HashMap<i64, Vec<LeafId>, RandomState>,
    /// A literal part of each pattern, in lower case.
    fragments: Vec<String>,
    /// Finds the fragments in a value in lower case. Built for the first value: many fields never have one. None where
    /// there are too many for its limits.
    finder: OnceLock<Option<AhoCorasick>>,
    /// Does the same in less time, but takes seven times as long to build and more memory. Built once there
    /// were [`MANY_VALUES`].
    fast_finder: OnceLock<Option<AhoCorasick>>,
    /// How many values there were.
    values: AtomicUsize,
    /// By fragment: the patterns that contain it.
    by_fragment: Vec<Vec<Candidate>>,
    /// Patterns without any literal part.
    loose: Vec<Candidate>,
    /// Leaves that take a test of their own.
    others: Vec<LeafId>,
    /// Leaves of a field of no known type, for values that are not text.
    not_text: Vec<LeafId>,
}

/// A pattern and the leaf that it makes hold.
#[derive(Clone, Debug)]
struct Candidate {
    guard: Guard,
    pattern: Pattern,
    leaf: LeafId,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// Any value with the fragment.
    Contained,
    /// Of the value as it is.
    Wildcard(Wildcard),
    /// Of the value in lower case.
    Folded(Wildcard),
    Regex(Arc<Regex>),
}

/// A value, as it is and in lower case.
#[derive(Clone, Copy)]
struct Text<'a> {
    text: &'a str,
    folded: &'a str,
    is_ascii: bool,
}

impl Candidate {
    /// Whether the pattern matches a value that has its fragment.
    fn matches(&self, value: Text<'_>) -> bool {
        if value.is_ascii && !self.guard.admits(value.folded.as_bytes()) {
            return false;
        }
        match &self.pattern {
            Pattern::Contained => true,
            Pattern::Wildcard(pattern) => pattern.matches(value.text),
            Pattern::Folded(pattern) => pattern.matches(value.folded),
            Pattern::Regex(regex) => regex.matches(value.text),
        }
    }
}

/// The lengths of some texts, so that most others need not be looked up: a bit for each length, the last for all
/// from 63 on.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths(u64);

impl Lengths {
    fn bit(text: &str) -> u64 {
        1 << text.len().min(63)
    }

    fn add(&mut self, text: &str) {
        self.0 |= Self::bit(text);
    }

    fn may_have(self, text: &str) -> bool {
        self.0 & Self::bit(text) != 0
    }
}

impl FieldMatcher {
    /// Arranges the leaves of the graph by field; a place for each of the schema's `fields`, `None` where a field has
    /// no leaf.
    pub fn for_graph(graph: &Graph, types: impl ExactSizeIterator<Item = FieldType>) -> Vec<Option<FieldMatcher>> {
        let mut builders: Vec<Option<Builder>> = (0..types.len()).map(|_| None).collect();
        let types: Vec<FieldType> = types.collect();
        for (index, leaf) in graph.leaves().iter().enumerate() {
            if let LeafKind::Field { field, test, .. } = leaf {
                let slot = &mut builders[field.index()];
                slot.get_or_insert_with(|| Builder::new(*field, types[field.index()])).add(LeafId(index as u32), test);
            }
        }
        builders.into_iter().map(|builder| builder.map(Builder::build)).collect()
    }

    /// Whether finding a text's leaves takes more than looking it up.
    pub(super) fn is_costly(&self) -> bool {
        !(self.fragments.is_empty() && self.loose.is_empty() && self.others.is_empty())
    }

    /// Appends the leaves that hold for a value, each once or more. `folded` is memory to work with.
    pub fn evaluate(&self, graph: &Graph, value: ValueRef<'_>, folded: &mut String, out: &mut Vec<LeafId>) {
        out.extend_from_slice(&self.exists);
        match value {
            ValueRef::Str(text) => self.evaluate_text(text, folded, out),
            ValueRef::Int(number) => {
                out.extend(self.whole.get(&number).into_iter().flatten());
                self.evaluate_each(graph, value, &self.not_text, out);
            }
            _ => self.evaluate_each(graph, value, &self.not_text, out),
        }
        self.evaluate_each(graph, value, &self.others, out);
    }

    fn evaluate_text(&self, text: &str, folded: &mut String, out: &mut Vec<LeafId>) {
        if self.exact_lengths.may_have(text) {
            out.extend(self.exact.get(text).into_iter().flatten());
        }
        if self.fragments.is_empty() && self.loose.is_empty() && !self.folded_lengths.may_have(text) {
            return;
        }
        folded.clear();
        folded.push_str(text);
        folded.make_ascii_lowercase();
        if self.folded_lengths.may_have(folded) {
            out.extend(self.exact_folded.get(folded.as_str()).into_iter().flatten());
        }
        let value = Text { text, folded, is_ascii: folded.is_ascii() };
        if !self.fragments.is_empty() {
            self.evaluate_fragments(value, out);
        }
        out.extend(passing(&self.loose, value));
    }

    fn evaluate_fragments(&self, value: Text<'_>, out: &mut Vec<LeafId>) {
        let Some(finder) = self.finder() else {
            for (fragment, candidates) in self.fragments.iter().zip(&self.by_fragment) {
                if memchr::memmem::find(value.folded.as_bytes(), fragment.as_bytes()).is_some() {
                    out.extend(passing(candidates, value));
                }
            }
            return;
        };
        let mut last = usize::MAX;
        for found in finder.find_overlapping_iter(value.folded.as_bytes()) {
            let fragment = found.pattern().as_usize();
            if fragment != last {
                last = fragment;
                out.extend(passing(&self.by_fragment[fragment], value));
            }
        }
    }

    /// Takes note that so many values will be evaluated. What pays only for many is built by the thread that comes to
    /// them; the others need not wait for it.
    pub fn expect(&self, values: usize) {
        let before = self.values.fetch_add(values, Ordering::Relaxed);
        let comes_to_many = before < MANY_VALUES && before.saturating_add(values) >= MANY_VALUES;
        if comes_to_many && !self.fragments.is_empty() {
            self.build_fast_finder();
        }
    }

    fn finder(&self) -> Option<&AhoCorasick> {
        match self.fast_finder.get() {
            Some(Some(finder)) => Some(finder),
            _ => self.finder.get_or_init(|| self.build_finder(AhoCorasickKind::ContiguousNFA)).as_ref(),
        }
    }

    fn build_fast_finder(&self) -> Option<&AhoCorasick> {
        self.fast_finder.get_or_init(|| self.build_finder(AhoCorasickKind::DFA)).as_ref()
    }

    fn build_finder(&self, kind: AhoCorasickKind) -> Option<AhoCorasick> {
        AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(kind)).build(&self.fragments).ok()
    }

    fn evaluate_each(&self, graph: &Graph, value: ValueRef<'_>, leaves: &[LeafId], out: &mut Vec<LeafId>) {
        out.extend(leaves.iter().filter(|leaf| match graph.leaf(**leaf) {
            LeafKind::Field { test, .. } => test.holds(self.ty, value),
            LeafKind::Rows { .. } => false,
        }));
    }

    /// Adds itself to the counts.
    pub(super) fn count(&self, stats: &mut PlanStats) {
        let looked_up = self.exact.len() + self.exact_folded.len() + self.whole.len();
        stats.fields += 1;
        stats.exact_values += looked_up;
        stats.wildcards += self.by_fragment.iter().map(Vec::len).sum::<usize>() + self.loose.len();
        if !self.fragments.is_empty() {
            let finder = self.build_fast_finder();
            stats.automata += usize::from(finder.is_some());
            stats.automata_bytes += finder.map_or(0, AhoCorasick::memory_usage);
        }
    }

    /// The field whose values it takes.
    pub fn field(&self) -> FieldId {
        self.field
    }
}

fn passing<'a>(candidates: &'a [Candidate], value: Text<'a>) -> impl Iterator<Item = LeafId> + 'a {
    candidates.iter().filter(move |candidate| candidate.matches(value)).map(|candidate| candidate.leaf)
}

struct Builder {
    matcher: FieldMatcher,
    /// Patterns with their literal parts in lower case.
    candidates: Vec<(Vec<String>, Candidate)>,
}

impl Builder {
    fn new(field: FieldId, ty: FieldType) -> Self {
        let matcher = FieldMatcher {
            field,
            ty,
            exists: Vec::new(),
            exact: HashMap::default(),
            exact_lengths: Lengths::default(),
            exact_folded: HashMap::default(),
            folded_lengths: Lengths::default(),
            whole: HashMap::default(),
            fragments: Vec::new(),
            finder: OnceLock::new(),
            fast_finder: OnceLock::new(),
            values: AtomicUsize::new(0),
            by_fragment: Vec::new(),
            loose: Vec::new(),
            others: Vec::new(),
            not_text: Vec::new(),
        };
        Self { matcher, candidates: Vec::new() }
    }

    fn add(&mut self, leaf: LeafId, test: &Test) {
        let texts_only = matches!(self.matcher.ty, FieldType::Keyword | FieldType::Dynamic);
        match test {
            Test::Exists => self.matcher.exists.push(leaf),
            Test::Text(patterns) => {
                for pattern in patterns {
                    self.add_pattern(leaf, pattern);
                }
                if self.matcher.ty == FieldType::Dynamic {
                    self.matcher.not_text.push(leaf);
                }
            }
            Test::OneOf(items, fold) if texts_only && items.iter().all(|item| matches!(item, Scalar::Str(_))) => {
                for item in items.iter().filter_map(Scalar::as_str) {
                    self.add_exact(leaf, item, *fold);
                }
                if self.matcher.ty == FieldType::Dynamic {
                    self.matcher.not_text.push(leaf);
                }
            }
            Test::OneOf(items, _)
                if self.matcher.ty == FieldType::Long && items.iter().all(|item| matches!(item, Scalar::Int(_))) =>
            {
                for item in items {
                    if let Scalar::Int(number) = item {
                        self.matcher.whole.entry(*number).or_default().push(leaf);
                    }
                }
            }
            Test::OneOf(..) | Test::Compare(..) | Test::Script(_) => self.matcher.others.push(leaf),
        }
    }

    fn add_exact(&mut self, leaf: LeafId, text: &str, fold: Fold) {
        let matcher = &mut self.matcher;
        let (map, lengths) = match fold {
            Fold::None => (&mut matcher.exact, &mut matcher.exact_lengths),
            _ => (&mut matcher.exact_folded, &mut matcher.folded_lengths),
        };
        lengths.add(text);
        map.entry(text.to_owned()).or_default().push(leaf);
    }

    fn add_pattern(&mut self, leaf: LeafId, pattern: &FieldPattern) {
        match pattern {
            FieldPattern::Exact(text, fold) => self.add_exact(leaf, text, *fold),
            FieldPattern::Wildcard(pattern, fold) => {
                let literals = pattern.literals().map(str::to_ascii_lowercase).collect();
                let guard = Guard::of(pattern);
                let pattern = match fold {
                    Fold::None => Pattern::Wildcard(pattern.clone()),
                    _ if pattern.as_contained().is_some() => Pattern::Contained,
                    _ => Pattern::Folded(pattern.clone()),
                };
                self.candidates.push((literals, Candidate { guard, pattern, leaf }));
            }
            FieldPattern::Regex(regex) => {
                let pattern = Pattern::Regex(regex.clone());
                let literals = Some(regex.required_literal().to_owned()).filter(|literal| !literal.is_empty());
                let candidate = Candidate { guard: Guard::default(), pattern, leaf };
                self.candidates.push((literals.into_iter().collect(), candidate));
            }
        }
    }

    fn build(self) -> FieldMatcher {
        let mut matcher = self.matcher;
        let mut shared: HashMap<&str, usize, RandomState> = HashMap::default();
        for literal in self.candidates.iter().flat_map(|(literals, _)| literals) {
            *shared.entry(literal).or_default() += 1;
        }
        let mut by_fragment: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
        for (literals, candidate) in &self.candidates {
            match literals.iter().max_by_key(|literal| worth(literal, shared[literal.as_str()])) {
                Some(fragment) => by_fragment.entry(fragment).or_default().push(candidate.clone()),
                None => matcher.loose.push(candidate.clone()),
            }
        }
        let by_fragment = by_fragment.into_iter().map(|(fragment, candidates)| (fragment.to_owned(), candidates));
        (matcher.fragments, matcher.by_fragment) = by_fragment.unzip();
        matcher
    }
}

/// So many values of a field are worth a finder that takes long to build.
const MANY_VALUES: usize = 16_384;

/// A literal part of less than so many bytes is in too many values.
const TELLING: usize = 4;

/// How well a literal part tells the values of its pattern from others: those that many patterns have, a path's
/// beginning or an extension, are in many values too.
fn worth(literal: &str, patterns: usize) -> (bool, Reverse<usize>, usize) {
    (literal.len() >= TELLING, Reverse(patterns), literal.len())
}
