//! What is wrong with a rule that could be read.

use std::fmt;

/// How much a [`Problem`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemLevel {
    /// The rule runs as it should; something is missing or odd.
    Warning,
    /// Kibana would refuse the rule; here it runs with a default in place of the value.
    Error,
}

/// One fault of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How much it matters.
    pub level: ProblemLevel,
    /// The field it is about, dotted.
    pub field: String,
    /// What is wrong, and what was done about it.
    pub message: String,
}

impl Problem {
    /// An error about `field`.
    pub fn error(field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { level: ProblemLevel::Error, field: field.into(), message: message.into() }
    }

    /// A warning about `field`.
    pub fn warning(field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { level: ProblemLevel::Warning, field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
