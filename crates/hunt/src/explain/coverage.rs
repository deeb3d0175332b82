//! Which clauses of a rule some events make true, and which they make false.
//!
//! What is asked of are the tests at the ends of a condition, not what `and`, `or` and `not` make of them; a test of
//! several values (`x in ("a", "b")`, `x : ("a*", "b*")`) is one. Only events of the stage's category count. Index
//! patterns, categories and join keys are not asked of.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use eqlipse_batch::EventBatch;
use eqlipse_engine::{Coverage, Matcher, StageId};
use eqlipse_events::{Discovery, Progress, ReadOptions};

use super::clauses::{Planned, PlannedStage};
use super::model::ClauseKind;
use super::{Compiled, ExplainError, Subject, compile};

/// A clause and what the events made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseCoverage {
    /// The number of its filter in the query, from 0.
    pub stage: usize,
    /// The filter, on one line.
    pub filter: String,
    /// The clause.
    pub text: String,
    /// Some event made it true.
    pub seen_true: bool,
    /// Some event made it false.
    pub seen_false: bool,
}

impl ClauseCoverage {
    /// Whether it was seen both ways.
    pub fn is_covered(&self) -> bool {
        self.seen_true && self.seen_false
    }
}

/// A rule whose clauses are watched.
pub struct ClauseWatch {
    compiled: Compiled,
    clauses: Vec<Watched>,
}

struct Watched {
    coverage: ClauseCoverage,
    /// The engine's stages of the category, if there is one, and of the clause.
    category: Option<StageId>,
    clause: StageId,
}

impl ClauseWatch {
    /// Takes a rule apart.
    ///
    /// # Errors
    /// If its query cannot be compiled.
    pub fn new(subject: &Subject) -> Result<Self, ExplainError> {
        let compiled = compile(subject)?;
        let mut clauses = Vec::new();
        for (number, stage) in compiled.stages.iter().enumerate() {
            watch(number, stage, &compiled.asked, &mut clauses);
        }
        Ok(Self { compiled, clauses })
    }

    /// Takes the events of some inputs.
    ///
    /// # Errors
    /// If the inputs cannot be read at all.
    pub fn read(&mut self, inputs: &Discovery) -> Result<(), ExplainError> {
        let Self { compiled, clauses } = self;
        let rules = compiled.plan.rules();
        let state = Mutex::new((Matcher::new(compiled.plan.clone()), clauses));
        let options = ReadOptions { jobs: NonZeroUsize::MIN, ..ReadOptions::default() };
        eqlipse_events::read(inputs, rules.schema(), &options, &Progress::default(), |_| {
            |batch: &EventBatch| {
                let (matcher, clauses) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
                let mut passed: Vec<Vec<u32>> = vec![Vec::new(); rules.stages().len()];
                matcher.run(batch, &mut Coverage::new(rules), |stage, rows| passed[stage.0 as usize] = rows.to_vec());
                let rows = |stage: StageId| passed[stage.0 as usize].as_slice();
                clauses.iter_mut().for_each(|watched| watched.take(batch.len(), rows));
            }
        })?;
        Ok(())
    }

    /// What was seen of each clause, in the order written.
    pub fn coverage(&self) -> Vec<ClauseCoverage> {
        self.clauses.iter().map(|watched| watched.coverage.clone()).collect()
    }
}

impl Watched {
    /// Takes a batch of so many events; `rows` gives the ascending rows that pass a stage.
    fn take<'r>(&mut self, events: usize, rows: impl Fn(StageId) -> &'r [u32]) {
        let passed = rows(self.clause);
        let (of_category, passed) = match self.category.map(&rows) {
            None => (events, passed.len()),
            Some(category) => {
                let both = passed.iter().filter(|row| category.binary_search(row).is_ok());
                (category.len(), both.count())
            }
        };
        self.coverage.seen_true |= passed > 0;
        self.coverage.seen_false |= passed < of_category;
    }
}

fn watch(number: usize, stage: &PlannedStage, asked: &[StageId], clauses: &mut Vec<Watched>) {
    let category = stage.clauses.iter().find(|clause| clause.kind == ClauseKind::Category);
    let category = category.map(|clause| asked[clause.id]);
    let mut tests = Vec::new();
    stage.clauses.iter().for_each(|clause| add_tests(clause, &mut tests));
    clauses.extend(tests.into_iter().map(|clause| {
        let filter = stage.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let coverage =
            ClauseCoverage { stage: number, filter, text: clause.text.clone(), seen_true: false, seen_false: false };
        Watched { coverage, category, clause: asked[clause.id] }
    }));
}

fn add_tests<'p>(clause: &'p Planned, tests: &mut Vec<&'p Planned>) {
    match clause.kind {
        ClauseKind::Index | ClauseKind::Category | ClauseKind::Key => {}
        ClauseKind::All | ClauseKind::Any | ClauseKind::Not if !clause.children.is_empty() => {
            clause.children.iter().for_each(|child| add_tests(child, tests));
        }
        // A constant has one value only.
        _ if clause.fields.is_empty() => {}
        _ => tests.push(clause),
    }
}
