//! Why a rule fired on some events, and why it did not.
//!
//! [`explain`] compiles the rule as the hunt does, and beside it every clause of every stage as a query of its own
//! (`clauses`). One pass of the engine over the data then gives the rows that pass each clause (`gather`); what the
//! rule found comes from the engine's own correlation, and `trace` follows the sequences that were not completed.
//! It runs on one thread: the result is the same from run to run, and memory is bounded by `gather::MAX_GROUPS` and
//! the spool for documents.

mod clauses;
mod coverage;
mod findings;
mod gather;
mod model;
mod names;
mod record;
mod report;
mod sample;
mod trace;

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, mem};

use eqlipse_batch::EventBatch;
use eqlipse_engine::{CompileError, CompileOptions, MatchPlan, RuleIndex, RuleSetBuilder, Scope, StageId};
use eqlipse_eql::Diagnostic;
use eqlipse_eql::ast::Query;
use eqlipse_events::{Discovery, OrderBy, Progress, ReadError, ReadOptions, ReadReport};
use eqlipse_rules::{LoadedRule, RuleKind};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::query_place::QueryPlace;
use clauses::{PlannedStage, Planner};
use gather::Gather;

pub use clauses::MAX_CLAUSES;
pub use coverage::{ClauseCoverage, ClauseWatch};
pub use gather::{MAX_COUNTED_VALUES, MAX_GROUPS, MAX_NAMES, NAME_EVENTS, NAME_STEP};
pub use model::{
    Clause, ClauseKind, ClauseState, DataInfo, End, EndCount, EventInfo, Explanation, Finding, FindingKind, HitEvent,
    HitReport, NearMiss, Partial, Role, SampleMiss, SampleReport, SequenceReport, StageReport, SubjectInfo,
};
pub use record::MAX_VALUES;

/// Says in one line what an event is about.
pub type Describe<'a> = &'a dyn Fn(&Map<String, Value>) -> String;

/// A rule or query to explain.
pub struct Subject {
    rule_id: Option<String>,
    name: Option<String>,
    text: String,
    query: Query,
    scope: Scope,
}

/// How to explain.
pub struct ExplainOptions<'a> {
    /// What orders the events of Windows event logs.
    pub order_by: OrderBy,
    /// How many near misses of a stage, partial sequences and alerts are shown.
    pub limit: usize,
    /// Says what an event is about.
    pub describe: Describe<'a>,
    /// Set by somebody else to stop reading early; what was read is then explained.
    pub cancel: Option<&'a AtomicBool>,
}

/// Why nothing can be explained.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The rule is not an EQL rule.
    #[error("'{name}' is a rule of type {kind}; only EQL rules can be explained")]
    NotEql {
        /// The rule's name.
        name: String,
        /// Its type.
        kind: String,
    },
    /// The rule has filters, without which it would be another rule.
    #[error("'{0}' has `filters`, which eqlipse does not apply to EQL rules yet")]
    Filters(String),
    /// The query cannot be compiled; the text shows where.
    #[error("{0}")]
    Query(String),
    /// The inputs could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The temporary file for events failed.
    #[error("temporary file for events: {0} (set TMPDIR to a place with room)")]
    Spool(#[source] io::Error),
    /// A document that was decoded could not be read again.
    #[error("an event is not a document: {0}")]
    Document(#[source] serde_json::Error),
}

impl Subject {
    /// A loaded rule; with `any_index`, its index patterns do not count.
    ///
    /// # Errors
    /// If it is no EQL rule, or its query is not in order.
    pub fn of_rule(loaded: &LoadedRule, any_index: bool, styled: bool) -> Result<Self, ExplainError> {
        let rule = &loaded.rule;
        let RuleKind::Eql(eql) = &rule.kind else {
            let kind = rule.rule_type().as_str().to_owned();
            return Err(ExplainError::NotEql { name: rule.name.clone(), kind });
        };
        if !eql.source.filters.is_empty() {
            return Err(ExplainError::Filters(rule.name.clone()));
        }
        let query = parse(&eql.query, |diagnostic| QueryPlace::of(loaded, &eql.query).draw(diagnostic, styled))?;
        let scope = Scope {
            index: if any_index { Vec::new() } else { eql.source.index.clone() },
            category_field: eql.event_category_override.clone(),
            timestamp_field: eql.timestamp_field.clone(),
            tiebreaker_field: eql.tiebreaker_field.clone(),
            ..Scope::default()
        };
        let (rule_id, name) = (Some(rule.rule_id.clone()), Some(rule.name.clone()));
        Ok(Self { rule_id, name, text: eql.query.clone(), query, scope })
    }

    /// A query that sees every index.
    ///
    /// # Errors
    /// If the query is not in order.
    pub fn of_query(text: &str, styled: bool) -> Result<Self, ExplainError> {
        let query = parse(text, |diagnostic| diagnostic.render(text, "query", styled))?;
        Ok(Self { rule_id: None, name: None, text: text.to_owned(), query, scope: Scope::default() })
    }
}

fn parse(text: &str, draw: impl Fn(&Diagnostic) -> String) -> Result<Query, ExplainError> {
    let drawn = |diagnostics: &[Diagnostic]| {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        ExplainError::Query(errors.map(&draw).collect::<Vec<_>>().join("\n"))
    };
    let query = eqlipse_eql::parse(text).map_err(|diagnostics| drawn(&diagnostics))?;
    let checked = eqlipse_eql::check(&query, &eqlipse_eql::Catalogue);
    if checked.iter().any(Diagnostic::is_error) {
        return Err(drawn(&checked));
    }
    Ok(query)
}

/// A subject compiled: the rule itself first, then its clauses.
struct Compiled {
    plan: Arc<MatchPlan>,
    stages: Vec<PlannedStage>,
    /// By clause id.
    asked: Vec<StageId>,
    category_field: String,
}

/// The rule itself among the compiled queries.
const RULE: RuleIndex = RuleIndex(0);

fn compile(subject: &Subject) -> Result<Compiled, ExplainError> {
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    eqlipse_events::reserve(builder.schema_mut());
    let failed = |error: CompileError| ExplainError::Query(error.diagnostic().render(&subject.text, "query", false));
    builder.add(&subject.query, &subject.scope).map_err(failed)?;
    let mut planner = Planner::new(&mut builder, &subject.scope);
    let stages = planner.stages(&subject.query).map_err(failed)?;
    let category_field = planner.category_field().to_owned();
    let asked = mem::take(&mut planner.rules);
    // To know the categories that there are, where the query asks for none.
    builder.schema_mut().add(&category_field);
    let rules = Arc::new(builder.build());
    let asked = clauses::stage_of(&rules, &asked);
    Ok(Compiled { plan: Arc::new(MatchPlan::new(rules)), stages, asked, category_field })
}

/// Explains what a rule or query makes of the inputs.
///
/// # Errors
/// If the inputs cannot be read at all, or the temporary file fails.
pub fn explain(
    subject: &Subject,
    inputs: &Discovery,
    options: &ExplainOptions<'_>,
    progress: &Progress,
) -> Result<(Explanation, ReadReport), ExplainError> {
    let compiled = compile(subject)?;
    let schema = compiled.plan.rules().schema();
    let gather = Gather::new(compiled.plan.clone(), &compiled.stages, &compiled.asked, &compiled.category_field);
    // The schema was given every field that the pass looks up.
    let Some(gather) = gather else { return Err(ReadError::Schema(eqlipse_events::INDEX_FIELD).into()) };
    let gather = Mutex::new(gather);
    // One thread, so that the first event of each kind is the same in every run.
    let read_options = ReadOptions {
        jobs: NonZeroUsize::MIN,
        order_by: options.order_by,
        cancel: options.cancel,
        ..ReadOptions::default()
    };
    let read = eqlipse_events::read(inputs, schema, &read_options, progress, |_| {
        |batch: &EventBatch| gather.lock().unwrap_or_else(PoisonError::into_inner).take(batch)
    })?;
    let gather = gather.into_inner().unwrap_or_else(PoisonError::into_inner);
    let explanation = report::build(subject, &compiled, gather, inputs, &read, options)?;
    Ok((explanation, read))
}
