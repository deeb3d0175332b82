//! Functions and arithmetic on values.

use std::borrow::Cow;

use eqlipse_eql::ast::{ArithmeticOp, Expr, ExprKind, Function};

use super::eval::{EvalError, Evaluated};
use super::pattern::{Fold, wildcard};
use super::value::{Val, cidr_contains, number_to_f64, parse_ip, parse_number, whole};

/// `-value`
pub fn negate(value: &Val<'_>) -> Evaluated<'static> {
    match whole(value) {
        Some(whole) => i64::try_from(-whole).map(Val::Int).map_err(|_| EvalError::Overflow),
        None => Ok(number_to_f64(value).map_or(Val::Null, |d| Val::Double(-d))),
    }
}

/// `a op b`
pub fn arithmetic(op: ArithmeticOp, a: &Val<'_>, b: &Val<'_>) -> Evaluated<'static> {
    if let (Some(x), Some(y)) = (whole(a), whole(b)) {
        let signed = matches!((a, b), (Val::Int(_), Val::Int(_)));
        return whole_arithmetic(op, x, y, signed);
    }
    let (Some(x), Some(y)) = (number_to_f64(a), number_to_f64(b)) else { return Ok(Val::Null) };
    Ok(Val::Double(match op {
        ArithmeticOp::Add => x + y,
        ArithmeticOp::Subtract => x - y,
        ArithmeticOp::Multiply => x * y,
        ArithmeticOp::Divide => x / y,
        ArithmeticOp::Modulo => x % y,
    }))
}

fn whole_arithmetic(op: ArithmeticOp, x: i128, y: i128, signed: bool) -> Evaluated<'static> {
    if y == 0 && matches!(op, ArithmeticOp::Divide | ArithmeticOp::Modulo) {
        return Err(EvalError::DivisionByZero);
    }
    // Operands are below 2^64, so no result leaves i128.
    let result = match op {
        ArithmeticOp::Add => x + y,
        ArithmeticOp::Subtract => x - y,
        ArithmeticOp::Multiply => x.checked_mul(y).ok_or(EvalError::Overflow)?,
        ArithmeticOp::Divide => x / y,
        ArithmeticOp::Modulo => x % y,
    };
    match (i64::try_from(result), u64::try_from(result)) {
        (Ok(int), _) => Ok(Val::Int(int)),
        (Err(_), Ok(unsigned)) if !signed => Ok(Val::UInt(unsigned)),
        _ => Err(EvalError::Overflow),
    }
}

/// `function(args)`; `exprs` are the arguments as written, `args` their values.
pub fn call<'v>(function: Function, fold: Fold, exprs: &[Expr], args: &[Val<'v>]) -> Evaluated<'v> {
    let numbers = |op| match args {
        [a, b] => arithmetic(op, a, b),
        _ => Err(EvalError::BadCall),
    };
    match function {
        Function::Add => numbers(ArithmeticOp::Add),
        Function::Subtract => numbers(ArithmeticOp::Subtract),
        Function::Multiply => numbers(ArithmeticOp::Multiply),
        Function::Divide => numbers(ArithmeticOp::Divide),
        Function::Modulo => numbers(ArithmeticOp::Modulo),
        Function::Between => between(fold, args),
        Function::CidrMatch => cidr_match(args),
        Function::Concat => Ok(concat(args)),
        Function::EndsWith => two_texts(args, |s, t| fold.text(s).ends_with(&fold.text(t))),
        Function::StartsWith => two_texts(args, |s, t| fold.text(s).starts_with(&fold.text(t))),
        Function::StringContains => {
            let plain_field = exprs.first().is_some_and(|e| matches!(e.kind, ExprKind::Field(_)));
            let constant = exprs.get(1).is_some_and(|e| matches!(e.kind, ExprKind::Literal(_)));
            two_texts(args, |s, t| match (s, t) {
                (_, "") => plain_field && constant,
                ("", _) => false,
                (s, t) => fold.text(s).contains(&fold.text(t)),
            })
        }
        Function::IndexOf => index_of(fold, args),
        Function::Length => match args {
            [s] => Ok(s.as_str().map_or(Val::Null, |s| Val::Int(s.encode_utf16().count() as i64))),
            _ => Err(EvalError::BadCall),
        },
        Function::Number => number(args),
        Function::String => match args {
            [Val::Null] => Ok(Val::Null),
            [value] => Ok(Val::Str(Cow::Owned(value.text().into_owned()))),
            _ => Err(EvalError::BadCall),
        },
        Function::Substring => substring(args),
        Function::Wildcard => wildcards(fold, args),
    }
}

fn two_texts(args: &[Val<'_>], test: impl Fn(&str, &str) -> bool) -> Evaluated<'static> {
    let [s, t] = args else { return Err(EvalError::BadCall) };
    Ok(match (s.as_str(), t.as_str()) {
        (Some(s), Some(t)) => Val::Bool(test(s, t)),
        _ => Val::Null,
    })
}

fn text(units: &[u16]) -> Val<'static> {
    Val::Str(Cow::Owned(String::from_utf16_lossy(units)))
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// Where `needle` first stands in `haystack` at or after `from`.
fn find(haystack: &[u16], needle: &[u16], from: usize) -> Option<usize> {
    (from..=haystack.len()).find(|at| haystack[*at..].starts_with(needle))
}

fn between(fold: Fold, args: &[Val<'_>]) -> Evaluated<'static> {
    let (s, left, right, greedy) = match args {
        [s, left, right] => (s, left, right, &Val::Bool(false)),
        [s, left, right, greedy] => (s, left, right, greedy),
        _ => return Err(EvalError::BadCall),
    };
    let (Some(s), Some(left), Some(right), Val::Bool(greedy)) = (s.as_str(), left.as_str(), right.as_str(), greedy)
    else {
        return Ok(Val::Null);
    };
    if s.is_empty() || left.is_empty() || right.is_empty() {
        return Ok(Val::Str(Cow::Owned(s.to_owned())));
    }
    // Folding maps characters one to one within their plane, so offsets in the folded text are offsets in the text.
    let (folded, left, right) = (units(&fold.text(s)), units(&fold.text(left)), units(&fold.text(right)));
    let Some(start) = find(&folded, &left, 0).map(|at| at + left.len()) else { return Ok(text(&[])) };
    let end = if *greedy {
        (0..=folded.len()).rev().find(|at| folded[*at..].starts_with(&right))
    } else {
        find(&folded, &right, start)
    };
    match end {
        None => Ok(text(&[])),
        Some(end) if end < start => Err(EvalError::BetweenBackwards),
        Some(end) => Ok(text(&units(s)[start..end])),
    }
}

fn cidr_match(args: &[Val<'_>]) -> Evaluated<'static> {
    let [address, blocks @ ..] = args else { return Err(EvalError::BadCall) };
    let address = match address {
        Val::Ip(ip) => Some(*ip),
        Val::Str(s) => parse_ip(s),
        _ => None,
    };
    let mut found = Some(false);
    for block in blocks {
        // Without an address the blocks are still looked at: a bad one is an error for every event.
        let any = address.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        found = match block.as_str() {
            None => None,
            Some(block) => {
                let hit = cidr_contains(block, any).ok_or_else(|| EvalError::BadBlock(block.to_owned()))?;
                found.map(|found| found || hit)
            }
        };
    }
    Ok(address.and(found).map_or(Val::Null, Val::Bool))
}

fn concat(args: &[Val<'_>]) -> Val<'static> {
    if args.iter().any(Val::is_null) {
        return Val::Null;
    }
    Val::Str(Cow::Owned(args.iter().map(Val::text).collect()))
}

/// A whole number as a position; null is `None`.
fn position(value: &Val<'_>) -> Result<Option<i128>, EvalError> {
    match whole(value) {
        Some(position) => Ok(Some(position)),
        None if value.is_null() => Ok(None),
        None => Err(EvalError::NotWhole),
    }
}

fn index_of(fold: Fold, args: &[Val<'_>]) -> Evaluated<'static> {
    let (s, t, start) = match args {
        [s, t] => (s, t, 0),
        [s, t, start] => (s, t, position(start)?.unwrap_or(0)),
        _ => return Err(EvalError::BadCall),
    };
    let (Some(s), Some(t)) = (s.as_str(), t.as_str()) else { return Ok(Val::Null) };
    let s = units(&fold.text(s));
    let start = start.clamp(0, s.len() as i128) as usize;
    Ok(find(&s, &units(&fold.text(t)), start).map_or(Val::Null, |at| Val::Int(at as i64)))
}

fn number(args: &[Val<'_>]) -> Evaluated<'static> {
    let (s, base) = match args {
        [s] => (s, None),
        [s, base] => (s, position(base)?),
        _ => return Err(EvalError::BadCall),
    };
    let Some(s) = s.as_str() else { return Ok(Val::Null) };
    let bad = || EvalError::NotANumber(s.to_owned());
    let hexadecimal = s.strip_prefix("0x").filter(|_| base.is_none_or(|base| base == 16));
    if let Some(digits) = hexadecimal {
        return i64::from_str_radix(digits, 16).map(Val::Int).map_err(|_| bad());
    }
    match base {
        None | Some(10) => match s.parse::<i64>() {
            Ok(int) => Ok(Val::Int(int)),
            Err(_) => parse_number(s).as_ref().and_then(number_to_f64).map(Val::Double).ok_or_else(bad),
        },
        Some(base @ 2..=36) => i64::from_str_radix(s, base as u32).map(Val::Int).map_err(|_| bad()),
        Some(_) => Err(bad()),
    }
}

fn substring(args: &[Val<'_>]) -> Evaluated<'static> {
    let (s, start, end) = match args {
        [s, start] => (s, position(start)?, None),
        [s, start, end] => (s, position(start)?, position(end)?),
        _ => return Err(EvalError::BadCall),
    };
    let Some(s) = s.as_str() else { return Ok(Val::Null) };
    let Some(start) = start else { return Ok(Val::Str(Cow::Owned(s.to_owned()))) };
    let s = units(s);
    let length = s.len() as i128;
    let clamp = |at: i128| (if at < 0 { at + length } else { at }).clamp(0, length) as usize;
    let (start, end) = (clamp(start), clamp(end.unwrap_or(length)));
    Ok(text(s.get(start..end).unwrap_or(&[])))
}

fn wildcards(fold: Fold, args: &[Val<'_>]) -> Evaluated<'static> {
    let [s, patterns @ ..] = args else { return Err(EvalError::BadCall) };
    let patterns: Option<Vec<&str>> = patterns.iter().map(Val::as_str).collect();
    Ok(match (s.as_str(), patterns) {
        (Some(s), Some(patterns)) => Val::Bool(patterns.iter().any(|pattern| wildcard(pattern, s, fold))),
        _ => Val::Null,
    })
}
