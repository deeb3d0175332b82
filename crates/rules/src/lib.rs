//! The detection-rule model of Elastic Security and its readers.
//!
//! [`Rule`] holds every field the detection engine knows; what depends on the rule's type is in [`RuleKind`].

mod binary;
mod cores;
mod load;
mod parts;
mod problem;
mod read;
mod rule;
mod schedule;
mod validate;
mod write;

pub use binary::DecodeError;
pub use cores::{on_all_cores, on_threads};
pub use load::*;
pub use parts::*;
pub use problem::{Problem, ProblemLevel};
pub use read::{DEFAULT_MAX_SIGNALS, FieldFault, RuleError, is_type_specific};
pub use rule::*;
pub use schedule::{DateMath, DateMathError, Interval, IntervalError, Rounding};
pub use validate::validate;
