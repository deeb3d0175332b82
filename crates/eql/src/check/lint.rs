//! Conditions that cannot be meant as written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::types::{Type, string_of};
use super::{Checker, Facts, constant};
use crate::ast::{CompareOp, Expr, ExprKind, Literal, MatchOp, Span, StringLiteral};
use crate::diagnostic::{Diagnostic, quoted};

impl Checker<'_> {
    pub(super) fn comparison(&mut self, expr: &Expr, op: CompareOp, left: &Expr, right: &Expr) -> Facts {
        let (left_type, right_type) = (self.expression(left).ty, self.expression(right).ty);
        let facts = Facts::of(Type::Boolean);
        if let Some(always) = constant::compare(op, left, right) {
            return Facts { always: Some(always), ..facts };
        }
        // Both written orders are judged as "something against a constant".
        let (subject, ty, value, op) = if matches!(left.kind, ExprKind::Literal(_)) {
            (right, right_type, left, mirrored(op))
        } else {
            (left, left_type, right, op)
        };
        let reason = match op {
            CompareOp::Eq | CompareOp::Ne => never_equal(subject, ty, value),
            _ => never_ordered(subject, ty, value),
        };
        if let Some(reason) = reason {
            let always = op == CompareOp::Ne;
            let (code, message) = never_message(always, &reason);
            self.report(Diagnostic::warning(code, expr.span, message));
            return Facts { always: Some(always), explained: true, ..facts };
        }
        match op {
            CompareOp::Eq | CompareOp::Ne => self.lint_equality(expr.span, value),
            _ => self.lint_order(ty, value),
        }
        facts
    }

    /// Reports an element of an `in` list that the subject can never equal.
    pub(super) fn impossible_equality(&mut self, subject: &Expr, ty: Type, element: &Expr) -> bool {
        let Some(reason) = never_equal(subject, ty, element) else {
            return false;
        };
        let message = format!("this element can never match: {reason}");
        self.report(Diagnostic::warning("never-holds", element.span, message));
        true
    }

    /// `==` knows no wildcards.
    fn lint_equality(&mut self, span: Span, value: &Expr) {
        let Some(string) = string_of(value).filter(|string| looks_like_pattern(&string.value)) else {
            return;
        };
        let message = format!("`==` and `!=` know no wildcards: the `*` in {} stands for itself", shown(string));
        let help = "write `:` or `like` for a wildcard pattern";
        self.report(Diagnostic::warning("literal-wildcard", span, message).help(help));
    }

    fn lint_order(&mut self, ty: Type, value: &Expr) {
        let number = matches!(&value.kind, ExprKind::Literal(Literal::Int(_) | Literal::Double(_)));
        if ty == Type::String && number {
            let message = "text is put in order character by character, so \"9\" is above \"10\"";
            let help = "compare `number(…)` of the text instead";
            self.report(Diagnostic::warning("text-order", value.span, message).help(help));
        }
    }

    pub(super) fn lint_patterns(&mut self, op: MatchOp, patterns: &[StringLiteral]) {
        self.lint_pattern_strings(op, patterns.iter());
        let texts = patterns.iter().map(|pattern| (fold(&pattern.value, op.fold()), pattern.span));
        self.lint_duplicates(texts);
    }

    pub(super) fn lint_pattern_strings<'p>(&mut self, op: MatchOp, patterns: impl Iterator<Item = &'p StringLiteral>) {
        for pattern in patterns {
            if pattern.value.is_empty() {
                let message = "this pattern is empty: it matches only a value that is the empty string";
                let help = "to test that the field is missing write `field == null`";
                self.report(Diagnostic::warning("empty-pattern", pattern.span, message).help(help));
            }
            if op.is_regex() && is_anchored(&pattern.value) {
                let message = "`^` and `$` do not anchor: a regular expression always matches the whole value";
                let help = "leave them out, or escape them with a backslash if they are meant as characters";
                self.report(Diagnostic::warning("regex-anchor", pattern.span, message).help(help));
            }
        }
    }

    pub(super) fn lint_list(&mut self, list: &[Expr], ignore_case: bool) {
        for string in list.iter().filter_map(string_of).filter(|string| looks_like_pattern(&string.value)) {
            let message = format!("`in` knows no wildcards: the `*` in {} stands for itself", shown(string));
            let help = "write `:` or `like` with the same list";
            self.report(Diagnostic::warning("literal-wildcard", string.span, message).help(help));
        }
        let texts = list.iter().map(|element| match string_of(element) {
            Some(string) => ((true, fold(&string.value, ignore_case)), element.span),
            None => ((false, Cow::Owned(element.to_string())), element.span),
        });
        self.lint_duplicates(texts);
    }

    fn lint_duplicates<K: Eq + Hash>(&mut self, elements: impl Iterator<Item = (K, Span)>) {
        let mut seen = HashMap::new();
        for (element, span) in elements {
            if let Some(first) = seen.get(&element) {
                let fault = Diagnostic::warning("duplicate-element", span, "this element is in the list twice");
                self.report(fault.label(*first, "first here"));
            } else {
                seen.insert(element, span);
            }
        }
    }

    pub(super) fn repeated_operands(&mut self, operands: &[Expr], and: bool) {
        let mut seen: HashMap<u64, &Expr> = HashMap::with_capacity(operands.len());
        for operand in operands {
            let mut hasher = DefaultHasher::new();
            operand.hash_ignoring_spans(&mut hasher);
            match seen.entry(hasher.finish()) {
                Entry::Vacant(entry) => drop(entry.insert(operand)),
                Entry::Occupied(entry) if entry.get().eq_ignoring_spans(operand) => {
                    let row = if and { "and" } else { "or" };
                    let message = format!("this `{row}` says the same twice");
                    let fault = Diagnostic::warning("duplicate-condition", operand.span, message);
                    self.report(fault.label(entry.get().span, "first here"));
                }
                // Two conditions with one hash: not worth a second look for a warning.
                Entry::Occupied(_) => {}
            }
        }
    }
}

fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq | CompareOp::Ne => op,
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
    }
}

fn never_message(always: bool, reason: &str) -> (&'static str, String) {
    if always {
        ("always-true", format!("this comparison always holds: {reason}"))
    } else {
        ("never-holds", format!("this comparison can never hold: {reason}"))
    }
}

/// Why the subject can never equal the constant; `None` where it can, or where nothing is known.
fn never_equal(subject: &Expr, ty: Type, value: &Expr) -> Option<String> {
    let ExprKind::Literal(literal) = signless(value) else {
        return None;
    };
    let field = match &subject.kind {
        ExprKind::Field(field) => field,
        ExprKind::Literal(_) => return None,
        _ => return never_equal_computed(ty, literal),
    };
    let is_a = |what: &str| Some(format!("{} is {what}", quoted(&field.name)));
    match (ty, literal) {
        (_, Literal::Null) => None,
        (Type::Long | Type::Double, Literal::String(text)) if !constant::is_number(&text.value) => is_a("a number"),
        (Type::Long | Type::Double, Literal::Boolean(_)) => is_a("a number"),
        (Type::Long, Literal::Double(number)) if number.fract() != 0.0 => is_a("a whole number"),
        (Type::Boolean, Literal::String(text)) if !matches!(&*text.value, "true" | "false") => is_a("true or false"),
        (Type::Boolean, Literal::Int(_) | Literal::UnsignedLong(_) | Literal::Double(_)) => is_a("true or false"),
        (Type::Ip, Literal::String(text)) if !constant::is_address(&text.value) => is_a("an IP address"),
        (Type::Ip, literal) if !matches!(literal, Literal::String(_)) => is_a("an IP address"),
        (Type::Date, Literal::String(text)) if !constant::is_date(&text.value) => is_a("a date"),
        (Type::Date, Literal::Boolean(_)) => is_a("a date"),
        _ => None,
    }
}

/// The value of a calculation is never converted, so that its type must be the constant's.
fn never_equal_computed(ty: Type, literal: &Literal) -> Option<String> {
    let value = Type::of_literal(literal);
    let both_known = !matches!(ty, Type::Null | Type::Dynamic) && value != Type::Null;
    (both_known && !ty.same_kind(value)).then(|| format!("a {} is never a {}", ty.name(), value.name()))
}

/// Why the subject can never be above or below the constant.
fn never_ordered(subject: &Expr, ty: Type, value: &Expr) -> Option<String> {
    match signless(value) {
        ExprKind::Literal(Literal::Null) => Some("nothing is above or below null".into()),
        // Between two whole numbers there is a place for every other number.
        ExprKind::Literal(Literal::Double(_)) if ty == Type::Long => None,
        _ => never_equal(subject, ty, value),
    }
}

/// The expression without minus signs.
fn signless(mut expr: &Expr) -> &ExprKind {
    while let ExprKind::Negate(inner) = &expr.kind {
        expr = inner;
    }
    &expr.kind
}

/// Whether a string for plain equality looks as if `*` were meant as a wildcard.
fn looks_like_pattern(text: &str) -> bool {
    text.len() > 1 && text.contains('*')
}

fn is_anchored(pattern: &str) -> bool {
    pattern.starts_with('^') || (pattern.ends_with('$') && !pattern.ends_with("\\$"))
}

fn fold(text: &str, ignore_case: bool) -> Cow<'_, str> {
    if ignore_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
}

fn shown(string: &StringLiteral) -> String {
    quoted(&string.to_string())
}
