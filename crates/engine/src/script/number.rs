//! Arithmetic with Java's widening, and reading numbers from text.

use eqlipse_eql::ast::ArithmeticOp;
use thiserror::Error;

use super::Scalar;

/// Why an expression has no value for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Whole number division or modulo by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A whole number result beyond 64 bits.
    #[error("whole number overflow")]
    Overflow,
    /// An operand of a kind that the operation does not take.
    #[error("operand of the wrong type")]
    WrongType,
    /// Text that `number` cannot read.
    #[error("text is not a number")]
    NotANumber,
    /// A block that `cidrMatch` cannot read.
    #[error("malformed CIDR block")]
    BadBlock,
    /// Greedy `between` whose right text stands before its left one.
    #[error("`between` found its right text before its left text")]
    BetweenBounds,
}

#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    fn of(value: &Scalar<'_>) -> Option<Self> {
        match value {
            Scalar::Int(value) => Some(Number::Whole(i128::from(*value))),
            Scalar::UInt(value) => Some(Number::Whole(i128::from(*value))),
            Scalar::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    fn as_double(self) -> f64 {
        match self {
            Number::Whole(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

/// A whole number result: i64 where it fits, u64 only where an operand was one already.
fn whole<'a>(value: i128, unsigned: bool) -> Result<Scalar<'a>, Fault> {
    if let Ok(value) = i64::try_from(value) {
        return Ok(Scalar::Int(value));
    }
    match u64::try_from(value) {
        Ok(value) if unsigned => Ok(Scalar::UInt(value)),
        _ => Err(Fault::Overflow),
    }
}

pub(super) fn negate<'a>(value: &Scalar<'_>) -> Result<Scalar<'a>, Fault> {
    match Number::of(value) {
        Some(Number::Whole(value)) => whole(-value, false),
        Some(Number::Double(value)) => Ok(Scalar::Double(-value)),
        None => Ok(Scalar::Null),
    }
}

pub(super) fn arithmetic<'a>(op: ArithmeticOp, left: &Scalar<'_>, right: &Scalar<'_>) -> Result<Scalar<'a>, Fault> {
    let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) else { return Ok(Scalar::Null) };
    let (Number::Whole(a), Number::Whole(b)) = (a, b) else {
        return Ok(Scalar::Double(double_arithmetic(op, a.as_double(), b.as_double())));
    };
    let unsigned = matches!(left, Scalar::UInt(_)) || matches!(right, Scalar::UInt(_));
    let value = match op {
        ArithmeticOp::Add => a + b,
        ArithmeticOp::Subtract => a - b,
        ArithmeticOp::Multiply => a.checked_mul(b).ok_or(Fault::Overflow)?,
        ArithmeticOp::Divide => a.checked_div(b).ok_or(Fault::DivisionByZero)?,
        ArithmeticOp::Modulo => a.checked_rem(b).ok_or(Fault::DivisionByZero)?,
    };
    whole(value, unsigned)
}

fn double_arithmetic(op: ArithmeticOp, a: f64, b: f64) -> f64 {
    match op {
        ArithmeticOp::Add => a + b,
        ArithmeticOp::Subtract => a - b,
        ArithmeticOp::Multiply => a * b,
        ArithmeticOp::Divide => a / b,
        ArithmeticOp::Modulo => a % b,
    }
}

/// Numeric text as a number: whole numbers exactly, others as a double; `None` if it is not numeric.
pub fn parse_decimal(text: &str) -> Option<Scalar<'static>> {
    let text = text.trim();
    if let Ok(value) = text.parse::<i64>() {
        return Some(Scalar::Int(value));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(Scalar::UInt(value));
    }
    // Rust's parser takes words (`inf`, `nan`) too.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain { text.parse().ok().map(Scalar::Double) } else { None }
}

/// `number(text, base)`: decimal text in base 10 (a fraction or exponent gives a double), whole numbers in other
/// bases, `0x` for base 16 where no base is given.
///
/// # Errors
/// If the text is no number in that base.
pub fn parse_number(text: &str, base: Option<u32>) -> Result<Scalar<'static>, Fault> {
    let hexadecimal = matches!(base, None | Some(16)).then(|| text.strip_prefix("0x")).flatten();
    let (digits, base) = match hexadecimal {
        Some(digits) => (digits, 16),
        None => (text, base.unwrap_or(10)),
    };
    if base != 10 {
        return i64::from_str_radix(digits, base).map(Scalar::Int).map_err(|_| Fault::NotANumber);
    }
    match (digits.parse::<i64>(), parse_decimal(digits)) {
        (Ok(value), _) => Ok(Scalar::Int(value)),
        // Surrounding spaces, and whole numbers beyond i64, give a double.
        (Err(_), Some(Scalar::Int(value))) => Ok(Scalar::Double(value as f64)),
        (Err(_), Some(Scalar::UInt(value))) => Ok(Scalar::Double(value as f64)),
        (Err(_), Some(value)) => Ok(value),
        (Err(_), None) => Err(Fault::NotANumber),
    }
}
