//! Conditions, leaves and expressions.

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{CompareOp, Expr, ExprKind, Literal, MatchOp, StringLiteral};

use super::MAX_COMBINATIONS;
use super::flat::Flat;
use super::functions;
use super::key::KeyPart;
use super::pattern::{Fold, wildcard};
use super::regex::Regex;
use super::value::{Val, relate};

/// Why an expression has no value for this event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// A whole number left its range.
    Overflow,
    /// `/` or `%` of whole numbers by zero.
    DivisionByZero,
    /// `number` met text that is no number, or a base outside 2 to 36.
    NotANumber(String),
    /// A position or base that is not a whole number.
    NotWhole,
    /// Greedy `between` whose last right delimiter stands before the text's start.
    BetweenBackwards,
    /// Not an address block.
    BadBlock(String),
    /// Not a regular expression.
    BadRegex(String),
    /// A call with too few or too many arguments, which the parser refuses.
    BadCall,
}

/// The result of evaluating an expression.
pub type Evaluated<'a> = Result<Val<'a>, EvalError>;

/// Evaluates one event's conditions.
pub struct Evaluator<'e> {
    /// The event.
    pub event: &'e Flat<'e>,
    /// The types of fields.
    pub types: &'e dyn Fn(&str) -> FieldType,
}

/// What each field of a leaf stands for.
pub struct Binding<'b> {
    fields: &'b [&'b str],
    values: Vec<&'b Val<'b>>,
}

impl<'b> Binding<'b> {
    /// No field at all: for constants.
    pub const EMPTY: Binding<'static> = Binding { fields: &[], values: Vec::new() };

    fn value(&self, field: &str) -> Val<'b> {
        let index = self.fields.iter().position(|name| *name == field);
        index.map_or(Val::Null, |index| self.values[index].clone())
    }
}

impl Evaluator<'_> {
    /// The upper part of a condition. Only constants can be null here.
    pub fn condition(&self, expr: &Expr) -> Option<bool> {
        match &expr.kind {
            ExprKind::Not(inner) => self.condition(inner).map(|b| !b),
            ExprKind::And(parts) => and(parts.iter().map(|part| self.condition(part))),
            ExprKind::Or(parts) => or(parts.iter().map(|part| self.condition(part))),
            ExprKind::Compare { op: CompareOp::Ne, left, right } => self
                .leaf(expr, |binding| self.compare(CompareOp::Eq, left, right, binding).map(|v| truth(&v)))
                .map(|b| !b),
            ExprKind::In { subject, fold, negated: true, list } => {
                self.leaf(expr, |binding| self.is_in(subject, *fold, list, binding).map(|v| truth(&v))).map(|b| !b)
            }
            _ => self.leaf(expr, |binding| self.value(expr, binding).map(|v| truth(&v))),
        }
    }

    fn leaf(&self, expr: &Expr, evaluate: impl Fn(&Binding<'_>) -> Result<Option<bool>, EvalError>) -> Option<bool> {
        let mut fields = Vec::new();
        collect_fields(expr, &mut fields);
        if fields.is_empty() {
            return evaluate(&Binding::EMPTY).unwrap_or(None);
        }
        let columns: Vec<&[Val<'_>]> = fields.iter().map(|field| or_null(self.event.values(field))).collect();
        let holds = combinations(&columns).is_some_and(|mut combinations| {
            combinations.any(|values| {
                let binding = Binding { fields: &fields, values };
                evaluate(&binding) == Ok(Some(true))
            })
        });
        Some(holds)
    }

    /// The value of an expression where each field stands for its first value.
    pub fn first_value(&self, expr: &Expr) -> Result<KeyPart, EvalError> {
        let mut fields = Vec::new();
        collect_fields(expr, &mut fields);
        let values = fields.iter().map(|field| &or_null(self.event.values(field))[0]).collect();
        self.value(expr, &Binding { fields: &fields, values }).map(|value| KeyPart::new(&value))
    }

    /// The value of an expression below the upper part.
    pub fn value<'v>(&self, expr: &'v Expr, binding: &Binding<'v>) -> Evaluated<'v> {
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(constant(literal)),
            // Pipes bring their fields under names of their own.
            ExprKind::Field(field) | ExprKind::EventField { field, .. } => Ok(binding.value(&field.name)),
            ExprKind::Not(inner) => Ok(boolean(truth(&self.value(inner, binding)?).map(|b| !b))),
            ExprKind::And(parts) => Ok(boolean(and(self.truths(parts, binding)?.into_iter()))),
            ExprKind::Or(parts) => Ok(boolean(or(self.truths(parts, binding)?.into_iter()))),
            ExprKind::Compare { op, left, right } => self.compare(*op, left, right, binding),
            ExprKind::Match { op, subject, patterns } => self.matches(*op, subject, patterns, binding),
            ExprKind::In { subject, fold, negated, list } => {
                let found = truth(&self.is_in(subject, *fold, list, binding)?);
                Ok(boolean(found.map(|found| found != *negated)))
            }
            ExprKind::Negate(inner) => functions::negate(&self.value(inner, binding)?),
            ExprKind::Arithmetic { op, left, right } => {
                functions::arithmetic(*op, &self.value(left, binding)?, &self.value(right, binding)?)
            }
            // Relations were replaced by fields; the checker refuses those inside other expressions.
            ExprKind::Relation { .. } => Err(EvalError::BadCall),
            ExprKind::Call { function, fold, args, .. } => {
                let values = args.iter().map(|arg| self.value(arg, binding)).collect::<Result<Vec<_>, _>>()?;
                let fold = if *fold { Fold::Unicode } else { Fold::None };
                functions::call(*function, fold, args, &values)
            }
        }
    }

    /// All of them, so that an error in any is seen.
    fn truths<'v>(&self, parts: &'v [Expr], binding: &Binding<'v>) -> Result<Vec<Option<bool>>, EvalError> {
        parts.iter().map(|part| self.value(part, binding).map(|value| truth(&value))).collect()
    }

    fn compare<'v>(&self, op: CompareOp, left: &'v Expr, right: &'v Expr, binding: &Binding<'v>) -> Evaluated<'static> {
        let (a, b) = (self.value(left, binding)?, self.value(right, binding)?);
        let result = match op {
            CompareOp::Ne => truth(&self.compare(CompareOp::Eq, left, right, binding)?).map(|equal| !equal),
            CompareOp::Eq if a.is_null() && b.is_null() => Some(true),
            CompareOp::Eq if a.is_null() || b.is_null() => {
                (is_null_literal(left) || is_null_literal(right)).then_some(false)
            }
            _ if a.is_null() || b.is_null() => None,
            _ => {
                let relation = relate(&a, self.is_typed_number(left), &b, self.is_typed_number(right));
                let ordering = relation.ordering();
                Some(match op {
                    CompareOp::Eq | CompareOp::Ne => relation.is_equal(),
                    CompareOp::Lt => ordering.is_some_and(|o| o.is_lt()),
                    CompareOp::Le => ordering.is_some_and(|o| o.is_le()),
                    CompareOp::Gt => ordering.is_some_and(|o| o.is_gt()),
                    CompareOp::Ge => ordering.is_some_and(|o| o.is_ge()),
                })
            }
        };
        Ok(boolean(result))
    }

    fn is_in<'v>(&self, subject: &'v Expr, fold: bool, list: &'v [Expr], binding: &Binding<'v>) -> Evaluated<'static> {
        let value = self.value(subject, binding)?;
        let elements = list.iter().map(|element| self.value(element, binding)).collect::<Result<Vec<_>, _>>()?;
        if value.is_null() {
            return Ok(Val::Null);
        }
        let fold = fold_for(subject, fold);
        let relates = |element: &Val<'_>| relate(&value, self.is_typed_number(subject), element, false).is_equal();
        let equal = |element: &Val<'_>| match (value.as_str(), element.as_str()) {
            (Some(a), Some(b)) if fold != Fold::None => fold.text(a) == fold.text(b),
            (None, Some(b)) if fold != Fold::None => relates(&Val::Str(fold.text(b).into())),
            _ => relates(element),
        };
        Ok(Val::Bool(elements.iter().any(|element| !element.is_null() && equal(element))))
    }

    fn matches<'v>(
        &self,
        op: MatchOp,
        subject: &'v Expr,
        patterns: &[StringLiteral],
        binding: &Binding<'v>,
    ) -> Evaluated<'static> {
        let value = self.value(subject, binding)?;
        let fold = fold_for(subject, op.fold());
        let mut found = false;
        for pattern in patterns {
            let regex = if op.is_regex() { Some(parse_regex(&pattern.value)?) } else { None };
            let hit = |text: &str| match &regex {
                Some(regex) => regex.is_match(text, fold),
                None => wildcard(&pattern.value, text, fold),
            };
            found = found || self.pattern_text(subject, &value).is_some_and(|text| hit(&text));
        }
        Ok(if value.is_null() { Val::Null } else { Val::Bool(found) })
    }

    /// The text that patterns are tried on; `None` for values that match no pattern.
    fn pattern_text<'v>(&self, subject: &Expr, value: &'v Val<'_>) -> Option<std::borrow::Cow<'v, str>> {
        match value {
            Val::Str(_) | Val::Version(_) => Some(value.text()),
            Val::Int(_) | Val::UInt(_) | Val::Double(_) | Val::Bool(_)
                if self.field_type(subject) == Some(FieldType::Dynamic) =>
            {
                Some(value.text())
            }
            _ => None,
        }
    }

    /// The type of a plain field.
    fn field_type(&self, expr: &Expr) -> Option<FieldType> {
        if let ExprKind::Field(field) = &expr.kind { Some((self.types)(&field.name)) } else { None }
    }

    fn is_typed_number(&self, expr: &Expr) -> bool {
        matches!(self.field_type(expr), Some(FieldType::Long | FieldType::Double))
    }
}

/// The value of a literal.
fn constant(literal: &Literal) -> Val<'_> {
    match literal {
        Literal::Null => Val::Null,
        Literal::Boolean(b) => Val::Bool(*b),
        Literal::Int(i) => Val::Int(*i),
        Literal::UnsignedLong(u) => Val::UInt(*u),
        Literal::Double(d) => Val::Double(*d),
        Literal::String(s) => Val::Str(s.value.as_str().into()),
    }
}

/// Reads a regular expression.
fn parse_regex(pattern: &str) -> Result<Regex, EvalError> {
    Regex::parse(pattern).map_err(|error| EvalError::BadRegex(error.0))
}

/// Plain fields fold ASCII (as an index does), computed values all of Unicode (as a script does).
fn fold_for(subject: &Expr, fold: bool) -> Fold {
    match (fold, &subject.kind) {
        (false, _) => Fold::None,
        (true, ExprKind::Field(_)) => Fold::Ascii,
        (true, _) => Fold::Unicode,
    }
}

fn is_null_literal(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Literal(Literal::Null))
}

fn truth(value: &Val<'_>) -> Option<bool> {
    if let Val::Bool(b) = value { Some(*b) } else { None }
}

fn boolean(truth: Option<bool>) -> Val<'static> {
    truth.map_or(Val::Null, Val::Bool)
}

/// Kleene's `and`.
fn and(mut parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    parts
        .try_fold(Some(true), |all, part| match (all, part) {
            (_, Some(false)) => Err(Some(false)),
            (Some(true), Some(true)) => Ok(Some(true)),
            _ => Ok(None),
        })
        .unwrap_or_else(|decided| decided)
}

/// Kleene's `or`.
fn or(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    and(parts.map(|part| part.map(|b| !b))).map(|b| !b)
}

/// The distinct fields that an expression names.
fn collect_fields<'e>(expr: &'e Expr, out: &mut Vec<&'e str>) {
    match &expr.kind {
        ExprKind::Literal(_) => {}
        ExprKind::Field(field) | ExprKind::EventField { field, .. } => {
            if !out.contains(&field.name.as_str()) {
                out.push(&field.name);
            }
        }
        ExprKind::Not(inner) | ExprKind::Negate(inner) => collect_fields(inner, out),
        ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Call { args: parts, .. } => {
            parts.iter().for_each(|part| collect_fields(part, out));
        }
        ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
            collect_fields(left, out);
            collect_fields(right, out);
        }
        ExprKind::Match { subject, .. } => collect_fields(subject, out),
        ExprKind::Relation { .. } => {}
        ExprKind::In { subject, list, .. } => {
            collect_fields(subject, out);
            list.iter().for_each(|element| collect_fields(element, out));
        }
    }
}

/// A missing field is one null.
pub fn or_null<'s, 'v>(values: &'s [Val<'v>]) -> &'s [Val<'v>] {
    const NULL: &[Val<'static>] = &[Val::Null];
    if values.is_empty() { NULL } else { values }
}

/// Every way to take one value from each column; `None` for more than [`MAX_COMBINATIONS`].
pub fn combinations<'s, 'v>(columns: &'s [&'s [Val<'v>]]) -> Option<impl Iterator<Item = Vec<&'s Val<'v>>>> {
    let count = columns.iter().try_fold(1usize, |count, column| count.checked_mul(column.len()))?;
    let take = move |mut index: usize| {
        let mut values: Vec<&Val<'_>> = Vec::with_capacity(columns.len());
        for column in columns.iter().rev() {
            values.push(&column[index % column.len()]);
            index /= column.len();
        }
        values.reverse();
        values
    };
    (count <= MAX_COMBINATIONS).then(|| (0..count).map(take))
}
