//! The detection engine: compile rules, match batches of events, correlate what matched.
//!
//! ```text
//! rules ──compile──> RuleSet ──Matcher::run(batch)──> rows per stage ──Collector──> Matched ──correlate──> Detections
//! ```
//!
//! * [`compile`] lowers every stage filter of every rule to one hash-consed graph of predicates ([`compile::Node`]),
//!   in which an expression that many rules share exists once.
//! * [`matching`] evaluates the graph over an [`EventBatch`](eqlipse_batch::EventBatch): each predicate once per
//!   distinct value, then bitmaps of rows.
//! * [`mod@correlate`] runs sequences and samples over the matched rows only.
//! * [`text`] holds wildcard patterns and Lucene's regular expressions, [`script`] EQL's functions and arithmetic.

pub mod compile;
pub mod correlate;
pub mod matching;
pub mod script;
pub mod text;

pub use compile::{CompileError, CompileOptions, RuleIndex, RuleSet, RuleSetBuilder, Scope, StageId};
pub use correlate::{
    Collector, CorrelateOptions, Correlated, Detection, KnownRules, ListCounts, ListQuery, ListView, ListedRules,
    MatchList, Matched, RowCounts, correlate, may_end, may_find, needs_all, reach,
};
pub use matching::{Coverage, FieldNeed, Lack, MatchPlan, Matcher, Needs, PlanStats, Purpose};
