//! One query over files: the hunt's engine, with the results themselves in place of alerts.

use std::collections::BTreeSet;
use std::sync::Arc;

use eqlipse_alerts::{MatchKind, MatchedEvent};
use eqlipse_engine::correlate::{CorrelateOptions, Detection};
use eqlipse_engine::{CompileOptions, Coverage, MatchPlan, RuleIndex, RuleSet, RuleSetBuilder, Scope};
use eqlipse_eql::Diagnostic;
use eqlipse_eql::ast::{Body, Dialect, ExprKind, Pipe, PipeKind, Query, Span};
use eqlipse_eql::visit::{filters, walk};
use eqlipse_events::{Discovery, InputProblem, Progress, ReadReport};
use serde_json::Value;

use crate::documents::{Documents, scalar_json};
use crate::gather::{Gathered, gather};
use crate::ignore_case::ignore_case;
use crate::report::{BlindReason, InputReport};
use crate::run::{HuntError, HuntOptions, match_kind};

/// The field of the category where nothing else is said.
const CATEGORY_FIELD: &str = "event.category";
/// The field of the time where nothing else is said: it stands for the events' own order.
const TIMESTAMP_FIELD: &str = "@timestamp";
/// How many results there are where nothing else is said.
const SIZE: u64 = 10;

/// Which results there are when there are more than [`QueryOptions::size`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultPosition {
    /// The last ones.
    #[default]
    Tail,
    /// The first ones.
    Head,
}

/// What a search request says beside its query, with Elasticsearch's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// Patterns of the indices whose events the query sees; none for all.
    pub index: Vec<String>,
    /// The field that holds the category.
    pub event_category_field: String,
    /// The field that orders events. `@timestamp` means the events' own order, as in a hunt.
    pub timestamp_field: String,
    /// The field that orders events of one time; the events' own if absent.
    pub tiebreaker_field: Option<String>,
    /// The most results; `None` for no limit.
    pub size: Option<u64>,
    /// Which results there are when the query has no pipes and `size` does not let all through.
    pub result_position: ResultPosition,
    /// How many samples one join key gives.
    pub max_samples_per_key: usize,
    /// What the query may contain.
    pub dialect: Dialect,
    /// Compare texts without case: `==`, `!=`, `in`, `like`, `regex` and functions as their forms with `~`.
    pub case_insensitive: bool,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            index: Vec::new(),
            event_category_field: CATEGORY_FIELD.to_owned(),
            timestamp_field: TIMESTAMP_FIELD.to_owned(),
            tiebreaker_field: None,
            size: Some(SIZE),
            result_position: ResultPosition::default(),
            max_samples_per_key: CorrelateOptions::default().samples_per_key,
            dialect: Dialect::Extended,
            case_insensitive: false,
        }
    }
}

/// A query, ready to be run.
pub struct CompiledQuery {
    plan: Arc<MatchPlan>,
    rule: RuleIndex,
    samples_per_key: usize,
    counting: Counting,
    /// The fields that are read, in the order written, each once.
    fields: Vec<String>,
    warnings: Vec<Diagnostic>,
}

impl CompiledQuery {
    /// Compiles an EQL query.
    ///
    /// # Errors
    /// What is wrong with the query, and the warnings beside it.
    pub fn eql(text: &str, options: &QueryOptions) -> Result<Self, Vec<Diagnostic>> {
        let mut query = eqlipse_eql::parse_with(text, options.dialect)?;
        let warnings = eqlipse_eql::check(&query, &eqlipse_eql::Catalogue);
        if warnings.iter().any(Diagnostic::is_error) {
            return Err(warnings);
        }
        if options.case_insensitive {
            ignore_case(&mut query);
        }
        let fields = fields(&query, options);
        let counting = query.pipes.iter().map(Counting::of).max().unwrap_or_default();
        limit(&mut query, options);
        let mut builder = RuleSetBuilder::new(CompileOptions::default());
        eqlipse_events::reserve(builder.schema_mut());
        let rule = builder.add(&query, &scope(options)).map_err(|error| vec![error.diagnostic()])?;
        let plan = Arc::new(MatchPlan::new(Arc::new(builder.build())));
        Ok(Self { plan, rule, samples_per_key: options.max_samples_per_key, counting, fields, warnings })
    }

    /// What may be wrong with the query, though it can be run.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    fn rules(&self) -> &RuleSet {
        self.plan.rules()
    }

    /// The fields that the query reads and no event had.
    fn unseen(&self, coverage: &Coverage) -> Vec<String> {
        let schema = self.rules().schema();
        let seen = |name: &str| schema.lookup(name).is_none_or(|field| coverage.has_field(field));
        self.fields.iter().filter(|name| !seen(name)).cloned().collect()
    }
}

/// Puts in a pipe for `size`. Without pipes, the result position decides which it is. Among `head` and `tail` it stands
/// first, in the direction of the first, as in Elasticsearch. What the pipes of the extended dialect make is cut behind
/// them.
fn limit(query: &mut Query, options: &QueryOptions) {
    let Some(size) = options.size else { return };
    let cuts = |pipe: &Pipe| matches!(pipe.kind, PipeKind::Head(_) | PipeKind::Tail(_));
    let from_end = match (&query.body, query.pipes.first()) {
        (Body::Sample(_), _) => false,
        (_, Some(pipe)) => matches!(pipe.kind, PipeKind::Tail(_)),
        (_, None) => options.result_position == ResultPosition::Tail,
    };
    let pipe = |kind| Pipe { kind, span: Span::default() };
    match query.pipes.iter().all(cuts) {
        true if from_end => query.pipes.insert(0, pipe(PipeKind::Tail(size))),
        true => query.pipes.insert(0, pipe(PipeKind::Head(size))),
        false => query.pipes.push(pipe(PipeKind::Head(size))),
    }
}

fn fields(query: &Query, options: &QueryOptions) -> Vec<String> {
    let mut known = BTreeSet::new();
    let own = eqlipse_eql::visit::fields(query).into_iter().map(|field| field.name.as_str());
    let scope = scope(options);
    let order = [scope.timestamp_field.as_deref(), scope.tiebreaker_field.as_deref()];
    let processes = [scope.processes.id_field.as_str(), scope.processes.parent_field.as_str()];
    let related = processes.into_iter().filter(|_| asks_for_relations(query));
    own.chain(order.into_iter().flatten())
        .chain(related)
        .filter(|name| known.insert((*name).to_owned()))
        .map(str::to_owned)
        .collect()
}

fn asks_for_relations(query: &Query) -> bool {
    let mut asks = false;
    for (filter, _) in filters(query) {
        walk(&filter.condition, &mut |expr| asks |= matches!(expr.kind, ExprKind::Relation { .. }));
    }
    asks
}

fn scope(options: &QueryOptions) -> Scope {
    Scope {
        index: options.index.clone(),
        category_field: Some(options.event_category_field.clone()),
        timestamp_field: Some(options.timestamp_field.clone()).filter(|field| field != TIMESTAMP_FIELD),
        tiebreaker_field: options.tiebreaker_field.clone(),
        ..Scope::default()
    }
}

/// What the pipes of a query make of its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counting {
    /// Events, sequences or samples alone.
    #[default]
    Nothing,
    /// These with a count beside each (`unique_count`).
    Beside,
    /// Counts in their place (`count`).
    Instead,
}

impl Counting {
    fn of(pipe: &Pipe) -> Self {
        match pipe.kind {
            PipeKind::Count(_) => Self::Instead,
            PipeKind::UniqueCount(_) => Self::Beside,
            _ => Self::Nothing,
        }
    }
}

/// What a query found, without the results themselves, and everything needed to judge it.
#[derive(Debug)]
pub struct QueryReport {
    /// What a result is.
    pub kind: MatchKind,
    /// How many events, sequences or samples match, whatever `size` and the pipes leave of them.
    pub total: u64,
    /// How many results there are.
    pub results: usize,
    /// Whether the results have counts.
    pub counting: Counting,
    /// Fields that the query reads and no event had, in the order written.
    pub unseen: Vec<String>,
    /// Why the query could not have found anything in this data; empty if it could.
    pub lacks: Vec<BlindReason>,
    /// The inputs in their order.
    pub inputs: Vec<InputReport>,
    /// What was given as input and gave no events.
    pub problems: Vec<InputProblem>,
    /// Files found in folders and archives that are no logs.
    pub not_logs: u64,
    /// Events read, duplicates included.
    pub events: u64,
    /// Of those, the events outside the window, which were left out.
    pub outside: u64,
    /// Bytes read from the inputs as they lie on disk.
    pub bytes: u64,
    /// Events that had been read before and were left out.
    pub duplicates: u64,
    /// Events without a readable time: they take no part in sequences.
    pub untimed: u64,
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// What the events share, for sequences and samples.
    pub join_keys: Vec<Value>,
    /// The events in the order of the query's items; `None` for one that is missing on purpose.
    pub events: Vec<Option<MatchedEvent>>,
    /// What the pipes `unique_count` and `count` add. After `count` there are no events.
    pub count: Option<ResultCount>,
}

/// How many results a counting pipe took together.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultCount {
    /// How many there were.
    pub count: u64,
    /// Their share of all, from 0 to 1; none where all were counted.
    pub percent: Option<f64>,
    /// The values that they share, for `count`; the text `totals` where all were counted.
    pub key: Vec<Value>,
}

/// A query that was run.
pub struct QueryRun<'a> {
    report: QueryReport,
    detections: Vec<Detection>,
    documents: Documents<'a>,
}

impl QueryRun<'_> {
    /// What was found and read.
    pub fn report(&self) -> &QueryReport {
        &self.report
    }

    /// The results, ascending. Each is read when it is asked for.
    ///
    /// # Errors
    /// If an event cannot be read again.
    pub fn results(&mut self) -> impl Iterator<Item = Result<QueryResult, HuntError>> {
        let Self { detections, documents, .. } = self;
        detections.iter().map(|detection| {
            let count = detection.statistics.as_ref().map(|statistics| ResultCount {
                count: statistics.count,
                percent: statistics.percent,
                key: statistics.key.iter().map(scalar_json).collect(),
            });
            Ok(QueryResult { join_keys: documents.join_keys(detection), events: documents.events(detection)?, count })
        })
    }
}

/// Runs a query over the inputs. Of the options, [`HuntOptions::max_alerts`] plays no part.
///
/// # Errors
/// If an input that exists cannot be read at all, or the temporary file fails. What is damaged within an input is
/// skipped and reported.
pub fn run_query<'a>(
    query: &CompiledQuery,
    inputs: &'a Discovery,
    options: &HuntOptions,
    progress: &Progress,
) -> Result<QueryRun<'a>, HuntError> {
    let rules = query.rules();
    let correlate_options = CorrelateOptions { samples_per_key: query.samples_per_key, end: options.window.to };
    let Gathered { detections, found, documents, coverage, read, duplicates, untimed } =
        gather(&query.plan, inputs, options, &correlate_options, progress)?;
    // Everything is found before anything is cut: the limit changes neither the sequences nor the total.
    let total = found[query.rule.0 as usize];
    let ReadReport { inputs: read_inputs, problems, not_logs, events, outside, bytes } = read;
    let report = QueryReport {
        kind: match_kind(&rules.plans()[query.rule.0 as usize].plan),
        total,
        results: detections.len(),
        counting: query.counting,
        unseen: query.unseen(&coverage),
        lacks: coverage.blind_rules(rules).into_iter().flat_map(|(_, lacks)| lacks).collect(),
        inputs: read_inputs,
        problems: inputs.problems.iter().cloned().chain(problems).collect(),
        not_logs,
        events,
        outside,
        bytes,
        duplicates,
        untimed,
    };
    Ok(QueryRun { report, detections, documents })
}
