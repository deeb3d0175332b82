//! EQL's functions. Null, or a value of a kind that the function does not take, gives null unless stated; positions and lengths count UTF-16 units, as Java does.

use std::borrow::Cow;

use eqlipse_batch::parse_address;
use eqlipse_eql::ast::{ArithmeticOp, Function};

use super::compare::Cidr;
use super::number::{arithmetic, parse_number};
use super::{Fault, Scalar};
use crate::text::{Wildcard, equal_unicode_fold, unicode_lower};

pub(super) fn call<'a>(function: Function, fold: bool, args: &[Scalar<'a>]) -> Result<Scalar<'a>, Fault> {
    match function {
        Function::Add => arithmetic(ArithmeticOp::Add, arg(args, 0), arg(args, 1)),
        Function::Subtract => arithmetic(ArithmeticOp::Subtract, arg(args, 0), arg(args, 1)),
        Function::Multiply => arithmetic(ArithmeticOp::Multiply, arg(args, 0), arg(args, 1)),
        Function::Divide => arithmetic(ArithmeticOp::Divide, arg(args, 0), arg(args, 1)),
        Function::Modulo => arithmetic(ArithmeticOp::Modulo, arg(args, 0), arg(args, 1)),
        Function::Between => between(fold, args),
        Function::CidrMatch => cidr_match(args),
        Function::Concat => Ok(concat(args)),
        Function::EndsWith => text_test(args, |text, end| {
            if !fold {
                return text.ends_with(end);
            }
            let count = end.chars().count();
            let start = text.char_indices().rev().nth(count.wrapping_sub(1)).map(|(start, _)| start);
            count == 0 || start.is_some_and(|start| equal_unicode_fold(&text[start..], end))
        }),
        Function::StartsWith => text_test(args, |text, start| {
            if !fold {
                return text.starts_with(start);
            }
            let count = start.chars().count();
            let end = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(count);
            end.is_some_and(|end| equal_unicode_fold(&text[..end], start))
        }),
        Function::StringContains => text_test(args, |text, part| {
            !text.is_empty() && !part.is_empty() && folded(text, fold).contains(&*folded(part, fold))
        }),
        Function::IndexOf => index_of(fold, args),
        Function::Length => Ok(match text_arg(args, 0) {
            None => Scalar::Null,
            Some(text) => Scalar::Int(utf16_len(text) as i64),
        }),
        Function::Number => number(args),
        Function::String => Ok(match arg(args, 0).text() {
            None => Scalar::Null,
            Some(text) => Scalar::Str(Cow::Owned(text.into_owned())),
        }),
        Function::Substring => substring(args),
        Function::Wildcard => wildcard(fold, args),
    }
}

/// An argument; one left out is null.
fn arg<'s, 'a>(args: &'s [Scalar<'a>], index: usize) -> &'s Scalar<'a> {
    args.get(index).unwrap_or(&Scalar::Null)
}

fn text_arg<'s>(args: &'s [Scalar<'_>], index: usize) -> Option<&'s str> {
    arg(args, index).as_str()
}

fn whole_or_null(args: &[Scalar<'_>], index: usize) -> Result<Option<i64>, Fault> {
    match arg(args, index) {
        Scalar::Null => Ok(None),
        Scalar::Int(value) => Ok(Some(*value)),
        Scalar::UInt(_) => Ok(Some(i64::MAX)),
        _ => Err(Fault::WrongType),
    }
}

fn text_test<'a>(args: &[Scalar<'_>], test: impl Fn(&str, &str) -> bool) -> Result<Scalar<'a>, Fault> {
    Ok(match (text_arg(args, 0), text_arg(args, 1)) {
        (Some(text), Some(other)) => Scalar::Bool(test(text, other)),
        _ => Scalar::Null,
    })
}

fn folded(text: &str, fold: bool) -> Cow<'_, str> {
    if fold { Cow::Owned(unicode_lower(text)) } else { Cow::Borrowed(text) }
}

fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn between<'a>(fold: bool, args: &[Scalar<'a>]) -> Result<Scalar<'a>, Fault> {
    let greedy = match arg(args, 3) {
        Scalar::Bool(greedy) => *greedy,
        Scalar::Null if args.len() < 4 => false,
        Scalar::Null => return Ok(Scalar::Null),
        _ => return Ok(Scalar::Null),
    };
    let (Some(text), Some(left), Some(right)) = (text_arg(args, 0), text_arg(args, 1), text_arg(args, 2)) else {
        return Ok(Scalar::Null);
    };
    if text.is_empty() || left.is_empty() || right.is_empty() {
        return Ok(Scalar::Str(Cow::Owned(text.to_owned())));
    }
    // Lowering keeps the number of characters, so places found in the lowered text count in the text itself.
    let searched: Vec<char> = folded(text, fold).chars().collect();
    let left: Vec<char> = folded(left, fold).chars().collect();
    let right: Vec<char> = folded(right, fold).chars().collect();
    let Some(start) = find(&searched, &left, 0).map(|at| at + left.len()) else {
        return Ok(Scalar::Str(Cow::Borrowed("")));
    };
    let end = if greedy { rfind(&searched, &right) } else { find(&searched, &right, start) };
    match end {
        None => Ok(Scalar::Str(Cow::Borrowed(""))),
        Some(end) if end < start => Err(Fault::BetweenBounds),
        Some(end) => Ok(Scalar::Str(text.chars().skip(start).take(end - start).collect())),
    }
}

fn find(text: &[char], part: &[char], from: usize) -> Option<usize> {
    text.get(from..)?.windows(part.len()).position(|window| window == part).map(|at| at + from)
}

fn rfind(text: &[char], part: &[char]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

fn cidr_match<'a>(args: &[Scalar<'_>]) -> Result<Scalar<'a>, Fault> {
    let mut blocks = Vec::with_capacity(args.len());
    for block in args.iter().skip(1) {
        match block.as_str() {
            Some(text) => blocks.push(Cidr::parse(text).ok_or(Fault::BadBlock)?),
            None => return Ok(Scalar::Null),
        }
    }
    Ok(in_blocks(arg(args, 0), &blocks))
}

/// Whether an address lies in a block; null for what is no address.
pub(super) fn in_blocks<'a>(address: &Scalar<'_>, blocks: &[Cidr]) -> Scalar<'a> {
    let address = match address {
        Scalar::Ip(address) => Some(*address),
        other => other.as_str().and_then(parse_address),
    };
    address.map_or(Scalar::Null, |address| Scalar::Bool(blocks.iter().any(|block| block.contains(address))))
}

fn concat<'a>(args: &[Scalar<'_>]) -> Scalar<'a> {
    let mut joined = String::new();
    for arg in args {
        match arg.text() {
            Some(text) => joined.push_str(&text),
            None => return Scalar::Null,
        }
    }
    Scalar::Str(Cow::Owned(joined))
}

fn index_of<'a>(fold: bool, args: &[Scalar<'_>]) -> Result<Scalar<'a>, Fault> {
    let start = whole_or_null(args, 2)?.unwrap_or(0).max(0) as usize;
    let (Some(text), Some(part)) = (text_arg(args, 0), text_arg(args, 1)) else {
        return Ok(Scalar::Null);
    };
    let text: Vec<u16> = folded(text, fold).encode_utf16().collect();
    let part: Vec<u16> = folded(part, fold).encode_utf16().collect();
    let found = if part.is_empty() {
        // Java's indexOf("", n) is n, or the length beyond it.
        Some(start.min(text.len()))
    } else {
        text.get(start..)
            .and_then(|tail| tail.windows(part.len()).position(|window| window == part))
            .map(|at| at + start)
    };
    Ok(found.map_or(Scalar::Null, |at| Scalar::Int(at as i64)))
}

fn number<'a>(args: &[Scalar<'_>]) -> Result<Scalar<'a>, Fault> {
    let base = match whole_or_null(args, 1)? {
        None => None,
        Some(base @ 2..=36) => Some(base as u32),
        Some(_) => return Err(Fault::NotANumber),
    };
    text_arg(args, 0).map_or(Ok(Scalar::Null), |text| parse_number(text, base))
}

/// A slice as in Python: negative places count from the end, all are clamped.
fn substring<'a>(args: &[Scalar<'a>]) -> Result<Scalar<'a>, Fault> {
    let Some(text) = text_arg(args, 0) else { return Ok(Scalar::Null) };
    let Some(start) = whole_or_null(args, 1)? else { return Ok(Scalar::Str(Cow::Owned(text.to_owned()))) };
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = units.len() as i64;
    let clamp = |at: i64| (if at < 0 { length.saturating_add(at) } else { at }).clamp(0, length) as usize;
    let end = clamp(whole_or_null(args, 2)?.unwrap_or(length));
    let start = clamp(start).min(end);
    Ok(Scalar::Str(Cow::Owned(String::from_utf16_lossy(&units[start..end]))))
}

fn wildcard<'a>(fold: bool, args: &[Scalar<'_>]) -> Result<Scalar<'a>, Fault> {
    let Some(text) = text_arg(args, 0) else { return Ok(Scalar::Null) };
    let text = folded(text, fold);
    let mut matched = false;
    for index in 1..args.len() {
        let Some(pattern) = text_arg(args, index) else { return Ok(Scalar::Null) };
        matched |= Wildcard::new(&folded(pattern, fold)).matches(&text);
    }
    Ok(Scalar::Bool(matched))
}
