//! Syntax tree to text, in one canonical form that parses back to the same tree.

use std::fmt::{self, Write as _};

use crate::ast::{
    ArithmeticOp, Body, CompareOp, EventFilter, Expr, ExprKind, Field, JoinKey, Literal, MatchOp, Pipe, PipeKind,
    Query, Sample, Sequence, SequenceItem, StringLiteral,
};
use crate::diagnostic::is_invisible;
use crate::lexer::is_plain_identifier;
use crate::parser::UNITS;

/// On one line; with `{:#}`, the items of a sequence or sample, and the pipes, on lines of their own.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Event(filter) => write!(f, "{filter}")?,
            Body::Sequence(sequence) => write_sequence(f, sequence)?,
            Body::Sample(sample) => write_sample(f, sample)?,
        }
        for pipe in &self.pipes {
            write!(f, "{}| {pipe}", if f.alternate() { "\n" } else { " " })?;
        }
        Ok(())
    }
}

fn break_item(f: &mut fmt::Formatter<'_>, negated: bool) -> fmt::Result {
    f.write_str(match (f.alternate(), negated) {
        (true, true) => "\n ",
        (true, false) => "\n  ",
        (false, _) => " ",
    })
}

fn write_sequence(f: &mut fmt::Formatter<'_>, sequence: &Sequence) -> fmt::Result {
    f.write_str("sequence")?;
    let global = sequence.items.first().map_or(&[][..], |item| &item.keys[..sequence.global_keys]);
    write_keys(f, global)?;
    if let Some(maxspan) = sequence.maxspan {
        f.write_str(" with maxspan=")?;
        write_duration(f, maxspan)?;
    }
    for item in &sequence.items {
        break_item(f, item.negated)?;
        write_item(f, item, sequence.global_keys)?;
    }
    if let Some(until) = &sequence.until {
        f.write_str(if f.alternate() { "\nuntil " } else { " until " })?;
        write_item(f, until, sequence.global_keys)?;
    }
    Ok(())
}

fn write_item(f: &mut fmt::Formatter<'_>, item: &SequenceItem, global: usize) -> fmt::Result {
    write!(f, "{}[{}]", if item.negated { "!" } else { "" }, item.filter)?;
    write_keys(f, &item.keys[global..])?;
    if item.runs != 1 {
        write!(f, " with runs={}", item.runs)?;
    }
    Ok(())
}

fn write_sample(f: &mut fmt::Formatter<'_>, sample: &Sample) -> fmt::Result {
    f.write_str("sample")?;
    let global = sample.items.first().map_or(&[][..], |item| &item.keys[..sample.global_keys]);
    write_keys(f, global)?;
    for item in &sample.items {
        break_item(f, false)?;
        write!(f, "[{}]", item.filter)?;
        write_keys(f, &item.keys[sample.global_keys..])?;
    }
    Ok(())
}

fn write_keys(f: &mut fmt::Formatter<'_>, keys: &[JoinKey]) -> fmt::Result {
    for (index, key) in keys.iter().enumerate() {
        write!(f, "{}{key}", if index == 0 { " by " } else { ", " })?;
    }
    Ok(())
}

fn write_duration(f: &mut fmt::Formatter<'_>, nanoseconds: i64) -> fmt::Result {
    let (unit, length) = UNITS.iter().rev().find(|(_, length)| nanoseconds % length == 0).unwrap_or(&UNITS[0]);
    write!(f, "{}{unit}", nanoseconds / length)
}

impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.category {
            None => f.write_str("any")?,
            Some(name) if is_plain_identifier(name) => f.write_str(name)?,
            Some(name) => write_string(f, name)?,
        }
        write!(f, " where {}", self.condition)
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.kind {
            PipeKind::Head(count) => return write!(f, "head {count}"),
            PipeKind::Tail(count) => return write!(f, "tail {count}"),
            PipeKind::Filter(_) => "filter",
            PipeKind::Unique(_) => "unique",
            PipeKind::UniqueCount(_) => "unique_count",
            PipeKind::Count(_) => "count",
            PipeKind::Sort(_) => "sort",
        };
        f.write_str(name)?;
        for (index, expression) in self.kind.expressions().iter().enumerate() {
            write!(f, "{}{expression}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.optional {
            f.write_char('?')?;
        }
        if self.name.split('.').any(str::is_empty) {
            return write_backticks(f, &self.name);
        }
        for (index, segment) in self.name.split('.').enumerate() {
            if index > 0 {
                f.write_char('.')?;
            }
            if is_plain_identifier(segment) {
                f.write_str(segment)?;
            } else {
                write_backticks(f, segment)?;
            }
        }
        Ok(())
    }
}

fn write_backticks(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "`{}`", name.replace('`', "``"))
}

/// How tightly an expression holds together; an operand that holds less than its place asks goes into parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Tightness {
    Or,
    And,
    Not,
    Compare,
    Add,
    Multiply,
    Sign,
    Primary,
}

fn tightness(expr: &Expr) -> Tightness {
    match &expr.kind {
        ExprKind::Or(_) => Tightness::Or,
        ExprKind::And(_) => Tightness::And,
        ExprKind::Not(_) => Tightness::Not,
        // Predicates bind to primaries, more tightly than people read them: in sums and comparisons they are easier
        // to read in parentheses.
        ExprKind::Compare { .. } | ExprKind::Match { .. } | ExprKind::In { .. } => Tightness::Compare,
        ExprKind::Arithmetic { op: ArithmeticOp::Add | ArithmeticOp::Subtract, .. } => Tightness::Add,
        ExprKind::Arithmetic { .. } => Tightness::Multiply,
        ExprKind::Negate(_) => Tightness::Sign,
        ExprKind::Literal(_)
        | ExprKind::Field(_)
        | ExprKind::EventField { .. }
        | ExprKind::Call { .. }
        | ExprKind::Relation { .. } => Tightness::Primary,
    }
}

/// An operand of a place that asks for a tightness.
struct Operand<'a>(&'a Expr, Tightness);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if tightness(self.0) < self.1 { write!(f, "({})", self.0) } else { write!(f, "{}", self.0) }
    }
}

/// On one line.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Literal(literal) => write!(f, "{literal}"),
            ExprKind::Field(field) => write!(f, "{field}"),
            ExprKind::EventField { event, field } => write!(f, "events[{event}].{field}"),
            ExprKind::Not(inner) => write!(f, "not {}", Operand(inner, Tightness::Not)),
            ExprKind::And(operands) => write_row(f, operands, " and ", Tightness::Not),
            ExprKind::Or(operands) => write_row(f, operands, " or ", Tightness::And),
            ExprKind::Compare { op, left, right } => {
                write!(f, "{} {op} {}", Operand(left, Tightness::Add), Operand(right, Tightness::Add))
            }
            ExprKind::Match { op, subject, patterns } => write_match(f, *op, subject, patterns),
            ExprKind::In { subject, fold, negated, list } => {
                let (not, fold) = (if *negated { "not " } else { "" }, if *fold { "~" } else { "" });
                write!(f, "{} {not}in{fold} (", Operand(subject, Tightness::Primary))?;
                write_row(f, list, ", ", Tightness::Or)?;
                f.write_char(')')
            }
            ExprKind::Relation { relation, filter } => write!(f, "{} of [{filter}]", relation.name()),
            ExprKind::Negate(inner) => write!(f, "-{}", Operand(inner, Tightness::Sign)),
            ExprKind::Arithmetic { op, left, right } => {
                let (left_place, right_place) = match tightness(self) {
                    Tightness::Add => (Tightness::Add, Tightness::Multiply),
                    _ => (Tightness::Multiply, Tightness::Sign),
                };
                write!(f, "{} {op} {}", Operand(left, left_place), Operand(right, right_place))
            }
            ExprKind::Call { function, fold, args, .. } => {
                write!(f, "{}{}(", function.name(), if *fold { "~" } else { "" })?;
                write_row(f, args, ", ", Tightness::Or)?;
                f.write_char(')')
            }
        }
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, operands: &[Expr], between: &str, place: Tightness) -> fmt::Result {
    for (index, operand) in operands.iter().enumerate() {
        write!(f, "{}{}", if index == 0 { "" } else { between }, Operand(operand, place))?;
    }
    Ok(())
}

fn write_match(f: &mut fmt::Formatter<'_>, op: MatchOp, subject: &Expr, patterns: &[StringLiteral]) -> fmt::Result {
    write!(f, "{} {op} ", Operand(subject, Tightness::Primary))?;
    if let [pattern] = patterns {
        return write!(f, "{pattern}");
    }
    for (index, pattern) in patterns.iter().enumerate() {
        write!(f, "{}{pattern}", if index == 0 { "(" } else { ", " })?;
    }
    f.write_char(')')
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::UnsignedLong(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::String(string) => write!(f, "{string}"),
        }
    }
}

impl fmt::Display for StringLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let can_be_raw = !self.value.contains(['\r', '\n']) && !self.value.contains("\"\"\"");
        if self.raw && can_be_raw {
            return write!(f, "\"\"\"{}\"\"\"", self.value);
        }
        write_string(f, &self.value)
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '\u{8}' => f.write_str("\\b")?,
            '\t' => f.write_str("\\t")?,
            '\n' => f.write_str("\\n")?,
            '\u{c}' => f.write_str("\\f")?,
            '\r' => f.write_str("\\r")?,
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            c if is_invisible(c) => write!(f, "\\u{{{:02x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        })
    }
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Colon => ":",
            Self::Like => "like",
            Self::LikeFold => "like~",
            Self::Regex => "regex",
            Self::RegexFold => "regex~",
        })
    }
}

impl fmt::Display for ArithmeticOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        })
    }
}
