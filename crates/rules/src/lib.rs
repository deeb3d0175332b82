//! The detection-rule model of Elastic Security and its readers.
//!
//! [`Rule`] holds every field the detection engine knows; what depends on the rule's type is in [`RuleKind`].

mod load;
mod parts;
mod problem;
mod rule;
mod schedule;

pub use load::{LoadedRule, Origin};
pub use parts::*;
pub use problem::{Problem, ProblemLevel};
pub use rule::*;
pub use schedule::{DateMath, DateMathError, Interval, IntervalError};
