//! Matching: which rows of a batch pass which stages, for all rules at once.
//!
//! A field's leaves are evaluated together, once per distinct value ([`FieldMatcher`]); the graph above them is
//! evaluated over bitmaps of rows, lazily: a leaf that holds for no value settles every `and` it stands in, and nodes
//! that nobody asks for are not looked at.

mod answers;
mod bitmap;
mod coverage;
mod field_matcher;
mod guard;
mod matcher;
mod stats;

pub use coverage::{Coverage, FieldNeed, Lack, Needs, Purpose};
pub use field_matcher::FieldMatcher;
pub use matcher::{MAX_COMBINATIONS, MatchPlan, Matcher};
pub use stats::PlanStats;
