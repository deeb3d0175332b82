//! What constants come to.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::ast::{CompareOp, Expr, ExprKind, Literal};

/// What a constant comes to as a condition.
pub(super) fn truth(literal: &Literal) -> Option<bool> {
    match literal {
        Literal::Boolean(value) => Some(*value),
        Literal::Null => Some(false),
        _ => None,
    }
}

/// What a comparison of two literals comes to; `None` where it is left to the run.
pub(super) fn compare(op: CompareOp, left: &Expr, right: &Expr) -> Option<bool> {
    let (ExprKind::Literal(left), ExprKind::Literal(right)) = (&left.kind, &right.kind) else {
        return None;
    };
    let ordering = match (left, right) {
        (Literal::Null, Literal::Null) => Some(Ordering::Equal),
        (Literal::Null, _) | (_, Literal::Null) => None,
        (Literal::Boolean(left), Literal::Boolean(right)) => Some(left.cmp(right)),
        (Literal::String(left), Literal::String(right)) => Some(left.value.cmp(&right.value)),
        (left, right) => Some(number(left)?.partial_cmp(&number(right)?)?),
    };
    Some(match (op, ordering) {
        (CompareOp::Eq, ordering) => ordering == Some(Ordering::Equal),
        (CompareOp::Ne, ordering) => ordering != Some(Ordering::Equal),
        (CompareOp::Lt, Some(ordering)) => ordering.is_lt(),
        (CompareOp::Le, Some(ordering)) => ordering.is_le(),
        (CompareOp::Gt, Some(ordering)) => ordering.is_gt(),
        (CompareOp::Ge, Some(ordering)) => ordering.is_ge(),
        (_, None) => false,
    })
}

/// A number as a double, where that loses nothing that matters to a warning.
fn number(literal: &Literal) -> Option<f64> {
    const EXACT: i64 = 1 << 53;
    match literal {
        Literal::Int(value) if (-EXACT..=EXACT).contains(value) => Some(*value as f64),
        Literal::Double(value) => Some(*value),
        _ => None,
    }
}

/// Whether the text is an address block; if not, why. An address alone is a block of one.
pub(super) fn parse_cidr(block: &str) -> Result<(), String> {
    let (address, length) = block.split_once('/').map_or((block, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err("it has no IP address".into());
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let in_range = |length: &str| length.parse().is_ok_and(|length: u8| length <= most);
    match length {
        Some(length) if !length.bytes().all(|byte| byte.is_ascii_digit()) || !in_range(length) => {
            Err(format!("the prefix length must be 0 to {most}"))
        }
        _ => Ok(()),
    }
}

/// Whether the text can be an IP address or an address block.
pub(super) fn is_address(text: &str) -> bool {
    parse_cidr(text).is_ok()
}

/// Whether the text can be a date: a calendar date, date math, or a number of milliseconds.
pub(super) fn is_date(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("now") || text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit())
}

/// Whether Elasticsearch reads the text as a number.
pub(super) fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(f64::is_finite)
}
