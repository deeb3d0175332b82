//! Syntax tree nodes without spans, in the parser's canonical form.

use eqlipse_eql::ast::{
    CompareOp, EventFilter, Expr, ExprKind, Field, Function, Literal, MatchOp, Relation, Span, StringLiteral,
};

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

/// A field's name.
pub fn field_name(name: &str, optional: bool) -> Field {
    Field { name: name.into(), optional, span: Span::default() }
}

/// `name`
pub fn field(name: &str) -> Expr {
    node(ExprKind::Field(field_name(name, false)))
}

/// `?name`
pub fn optional_field(name: &str) -> Expr {
    node(ExprKind::Field(field_name(name, true)))
}

/// A constant.
pub fn literal(literal: Literal) -> Expr {
    node(ExprKind::Literal(literal))
}

/// `null`
pub fn null() -> Expr {
    literal(Literal::Null)
}

/// `true`, `false`
pub fn bool_literal(value: bool) -> Expr {
    literal(Literal::Boolean(value))
}

/// A whole number; a negative one is the negation of a positive one.
pub fn int(value: i64) -> Expr {
    match (value < 0, i64::try_from(value.unsigned_abs())) {
        (false, _) => literal(Literal::Int(value)),
        (true, Ok(positive)) => negate(literal(Literal::Int(positive))),
        (true, Err(_)) => negate(literal(Literal::UnsignedLong(value.unsigned_abs()))),
    }
}

/// A finite double; a negative one is the negation of a positive one.
pub fn double(value: f64) -> Expr {
    let positive = literal(Literal::Double(value.abs()));
    if value.is_sign_negative() { negate(positive) } else { positive }
}

/// A string as a literal.
pub fn string_literal(value: &str) -> StringLiteral {
    StringLiteral { value: value.into(), raw: false, span: Span::default() }
}

/// A string.
pub fn string(value: &str) -> Expr {
    literal(Literal::String(string_literal(value)))
}

/// `-inner`
pub fn negate(inner: Expr) -> Expr {
    node(ExprKind::Negate(Box::new(inner)))
}

/// `not inner`
pub fn not(inner: Expr) -> Expr {
    node(ExprKind::Not(Box::new(inner)))
}

/// `a and b …`, flat; one part stands alone.
pub fn all_of(parts: Vec<Expr>) -> Expr {
    row(parts, ExprKind::And, |kind| if let ExprKind::And(parts) = kind { Ok(parts) } else { Err(kind) })
}

/// `a or b …`, flat; one part stands alone.
pub fn any_of(parts: Vec<Expr>) -> Expr {
    row(parts, ExprKind::Or, |kind| if let ExprKind::Or(parts) = kind { Ok(parts) } else { Err(kind) })
}

fn row(parts: Vec<Expr>, make: fn(Vec<Expr>) -> ExprKind, take: fn(ExprKind) -> Result<Vec<Expr>, ExprKind>) -> Expr {
    let mut flat = Vec::new();
    for part in parts {
        match take(part.kind) {
            Ok(inner) => flat.extend(inner),
            Err(kind) => flat.push(Expr { kind, span: part.span }),
        }
    }
    if flat.len() == 1 { flat.remove(0) } else { node(make(flat)) }
}

/// `left op right`
pub fn compare(op: CompareOp, left: Expr, right: Expr) -> Expr {
    node(ExprKind::Compare { op, left: Box::new(left), right: Box::new(right) })
}

/// `subject op (patterns)`
pub fn matches(op: MatchOp, subject: Expr, patterns: &[&str]) -> Expr {
    let patterns = patterns.iter().map(|pattern| string_literal(pattern)).collect();
    node(ExprKind::Match { op, subject: Box::new(subject), patterns })
}

/// `subject in (list)`
pub fn is_in(subject: Expr, fold: bool, negated: bool, list: Vec<Expr>) -> Expr {
    node(ExprKind::In { subject: Box::new(subject), fold, negated, list })
}

/// `left op right` on numbers
pub fn arithmetic(op: eqlipse_eql::ast::ArithmeticOp, left: Expr, right: Expr) -> Expr {
    node(ExprKind::Arithmetic { op, left: Box::new(left), right: Box::new(right) })
}

/// `function(args)`
pub fn call(function: Function, fold: bool, args: Vec<Expr>) -> Expr {
    node(ExprKind::Call { function, fold, args, name: Span::default() })
}

/// `category where condition`
pub fn filter(category: Option<&str>, condition: Expr) -> EventFilter {
    EventFilter { category: category.map(str::to_owned), condition, span: Span::default() }
}

/// `child of [filter]`
pub fn relation_of(relation: Relation, filter: EventFilter) -> Expr {
    node(ExprKind::Relation { relation, filter: Box::new(filter) })
}
