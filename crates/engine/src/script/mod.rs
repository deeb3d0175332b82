//! Computed expressions: EQL's functions, arithmetic and comparisons over values, three-valued.
//!
//! A [`Script`] is an expression that no column test can answer by itself (`length(process.name) > 3`). Null means
//! "no value" inside it; what leaves it is a yes or a no, and null is a no. A run-time fault ([`Fault`]), such as a
//! division by zero, makes the whole script a no for that event: one bad value never fails a run, where Elasticsearch
//! would fail the search.

mod compare;
mod functions;
mod number;
mod scalar;
mod version;

use eqlipse_eql::ast::{ArithmeticOp, CompareOp, Function};

pub use compare::{Cidr, equal, is_one_of, order};
pub use number::{Fault, parse_decimal, parse_number};
pub use scalar::Scalar;

use crate::text::{Fold, Regex, Wildcard};

/// A compiled expression; fields are numbered slots.
#[derive(Debug)]
pub enum Script {
    /// A constant.
    Constant(Scalar<'static>),
    /// The value of a slot.
    Slot(usize),
    /// Three-valued `not`.
    Not(Box<Script>),
    /// Three-valued `and`.
    And(Vec<Script>),
    /// Three-valued `or`.
    Or(Vec<Script>),
    /// A comparison; null if a side is null.
    Compare(CompareOp, Box<Script>, Box<Script>),
    /// `e == null`
    IsNull(Box<Script>),
    /// A pattern test.
    Match {
        /// What is tested.
        subject: Box<Script>,
        /// Any may match.
        patterns: Vec<TextPattern>,
        /// Whether numbers and truth values are tested by their text (a field of no known type) or never match.
        any_kind: bool,
    },
    /// `e in (…)`
    In {
        /// What is tested.
        subject: Box<Script>,
        /// The constants, folded already; nulls left out.
        list: Vec<Scalar<'static>>,
        /// How text compares.
        fold: Fold,
    },
    /// `cidrMatch(e, "…")` with constant blocks.
    InBlocks(Box<Script>, Vec<Cidr>),
    /// `-e`
    Negate(Box<Script>),
    /// `a + b`
    Arithmetic(ArithmeticOp, Box<Script>, Box<Script>),
    /// `function(args)`
    Call {
        /// Which function.
        function: Function,
        /// Whether text compares without case.
        fold: bool,
        /// The arguments.
        args: Vec<Script>,
    },
}

/// A pattern, prepared for the kind of case folding that its place asks for.
#[derive(Debug)]
pub enum TextPattern {
    /// A wildcard pattern, folded already.
    Wildcard(Wildcard, Fold),
    /// A regular expression, case already built in.
    Regex(Regex),
}

impl TextPattern {
    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            TextPattern::Wildcard(pattern, fold) => pattern.matches(&fold.apply(text)),
            TextPattern::Regex(regex) => regex.matches(text),
        }
    }
}

impl Script {
    /// Whether the script holds for these slot values: true, not null, and without a fault.
    pub fn holds(&self, slots: &[Scalar<'_>]) -> bool {
        matches!(self.eval(slots), Ok(Scalar::Bool(true)))
    }

    /// The value for these slot values.
    ///
    /// # Errors
    /// On a run-time fault.
    pub fn eval<'v>(&'v self, slots: &'v [Scalar<'v>]) -> Result<Scalar<'v>, Fault> {
        Ok(match self {
            Script::Constant(value) => value.borrowed(),
            Script::Slot(index) => slots[*index].borrowed(),
            Script::Not(inner) => match inner.eval(slots)? {
                Scalar::Bool(value) => Scalar::Bool(!value),
                _ => Scalar::Null,
            },
            Script::And(parts) => connect(parts, slots, false)?,
            Script::Or(parts) => connect(parts, slots, true)?,
            Script::Compare(op, left, right) => compare(*op, &left.eval(slots)?, &right.eval(slots)?),
            Script::IsNull(inner) => Scalar::Bool(inner.eval(slots)?.is_null()),
            Script::Match { subject, patterns, any_kind } => matches(&subject.eval(slots)?, patterns, *any_kind),
            Script::In { subject, list, fold } => contains(&subject.eval(slots)?, list, *fold),
            Script::InBlocks(subject, blocks) => functions::in_blocks(&subject.eval(slots)?, blocks),
            Script::Negate(inner) => number::negate(&inner.eval(slots)?)?,
            Script::Arithmetic(op, left, right) => number::arithmetic(*op, &left.eval(slots)?, &right.eval(slots)?)?,
            Script::Call { function, fold, args } => {
                let args = args.iter().map(|arg| arg.eval(slots)).collect::<Result<Vec<_>, _>>()?;
                functions::call(*function, *fold, &args)?
            }
        })
    }
}

/// `and` (`decisive` false) or `or` (`decisive` true): a decisive operand decides, else null if any operand is null.
fn connect<'v>(parts: &'v [Script], slots: &'v [Scalar<'v>], decisive: bool) -> Result<Scalar<'v>, Fault> {
    let (mut decided, mut unknown) = (false, false);
    // All operands are evaluated: a fault in any of them counts, whatever stands around it.
    for part in parts {
        match part.eval(slots)? {
            Scalar::Bool(value) => decided |= value == decisive,
            _ => unknown = true,
        }
    }
    Ok(match (decided, unknown) {
        (true, _) => Scalar::Bool(decisive),
        (false, true) => Scalar::Null,
        (false, false) => Scalar::Bool(!decisive),
    })
}

fn matches<'v>(value: &Scalar<'_>, patterns: &[TextPattern], any_kind: bool) -> Scalar<'v> {
    let text = match value {
        Scalar::Null => return Scalar::Null,
        Scalar::Str(_) | Scalar::Version(_) => value.text(),
        Scalar::Int(_) | Scalar::UInt(_) | Scalar::Double(_) | Scalar::Bool(_) if any_kind => value.text(),
        _ => None,
    };
    Scalar::Bool(text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(&text))))
}

fn compare<'v>(op: CompareOp, left: &Scalar<'_>, right: &Scalar<'_>) -> Scalar<'v> {
    match (left.is_null(), right.is_null(), op) {
        (false, false, _) => {}
        (true, true, CompareOp::Eq) => return Scalar::Bool(true),
        (true, true, CompareOp::Ne) => return Scalar::Bool(false),
        _ => return Scalar::Null,
    }
    Scalar::Bool(match op {
        CompareOp::Eq => equal(left, right),
        CompareOp::Ne => !equal(left, right),
        CompareOp::Lt => order(left, right).is_some_and(|o| o.is_lt()),
        CompareOp::Le => order(left, right).is_some_and(|o| o.is_le()),
        CompareOp::Gt => order(left, right).is_some_and(|o| o.is_gt()),
        CompareOp::Ge => order(left, right).is_some_and(|o| o.is_ge()),
    })
}

fn contains<'v>(value: &Scalar<'_>, list: &[Scalar<'_>], fold: Fold) -> Scalar<'v> {
    match value {
        Scalar::Null => Scalar::Null,
        value => Scalar::Bool(is_one_of(value, list, fold)),
    }
}
