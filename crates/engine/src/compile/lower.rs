//! From EQL's syntax tree to the graph.
//!
//! `and`, `or` and `not` from the root down become nodes; `not` is pushed to the leaves on the way. What lies below is a
//! leaf: a test of one field where the expression has that form, a script otherwise. A leaf that reads a field is
//! two-valued; a constant that is null is false whether or not a `not` stands before it.

use std::sync::Arc;

use eqlipse_batch::{FieldId, RawValue, SchemaBuilder, coerce_date};
use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{CompareOp, EventFilter, Expr, ExprKind, Field, Function, Literal, MatchOp, StringLiteral};

use super::constant::literal_value;
use super::graph::{Graph, LeafKind, NodeId};
use super::rule_set::CompileError;
use super::test::{FieldPattern, Test};
use crate::script::{Cidr, Scalar, Script, TextPattern, parse_decimal};
use crate::text::{Fold, Regex, Wildcard};

/// Lowers expressions into a graph, collecting the fields that they read.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) schema: &'a mut SchemaBuilder,
    pub(super) types: &'a dyn Fn(&str) -> Option<FieldType>,
}

impl Lowering<'_> {
    /// The column and type of a field.
    pub(super) fn field(&mut self, name: &str) -> (FieldId, FieldType) {
        let ty = (self.types)(name).unwrap_or(FieldType::Dynamic);
        (self.schema.add_typed(name, ty), ty)
    }

    /// A stage's filter: its category and its condition.
    pub(super) fn filter(&mut self, filter: &EventFilter, category_field: &str) -> Result<NodeId, CompileError> {
        let condition = self.condition(&filter.condition, false)?;
        let category = self.category(filter, category_field);
        Ok(self.graph.and(vec![category, condition]))
    }

    /// The part of a filter that tests the category.
    pub(super) fn category(&mut self, filter: &EventFilter, category_field: &str) -> NodeId {
        match &filter.category {
            None => self.graph.constant(true),
            Some(category) => {
                let test = Test::OneOf(vec![Scalar::Str(category.clone().into())], Fold::None);
                self.field_leaf(category_field, test)
            }
        }
    }

    /// A condition, or its complement where `negate`.
    pub(super) fn condition(&mut self, expr: &Expr, negate: bool) -> Result<NodeId, CompileError> {
        match &expr.kind {
            ExprKind::Not(inner) => self.condition(inner, !negate),
            ExprKind::And(parts) | ExprKind::Or(parts) => {
                let nodes = parts.iter().map(|part| self.condition(part, negate)).collect::<Result<Vec<_>, _>>()?;
                let is_and = matches!(expr.kind, ExprKind::And(_)) != negate;
                Ok(if is_and { self.graph.and(nodes) } else { self.graph.or(nodes) })
            }
            ExprKind::Compare { op: CompareOp::Ne, left, right } => {
                let equal = ExprKind::Compare { op: CompareOp::Eq, left: left.clone(), right: right.clone() };
                self.condition(&Expr { kind: equal, span: expr.span }, !negate)
            }
            ExprKind::In { subject, fold, negated: true, list } => {
                let positive =
                    ExprKind::In { subject: subject.clone(), fold: *fold, negated: false, list: list.clone() };
                self.condition(&Expr { kind: positive, span: expr.span }, !negate)
            }
            _ => {
                if let Some(value) = self.constant(expr)? {
                    // Null and faults are false in either polarity.
                    let holds = matches!(value, Ok(Scalar::Bool(value)) if value != negate);
                    return Ok(self.graph.constant(holds));
                }
                let leaf = self.leaf(expr)?;
                Ok(if negate { self.graph.not(leaf) } else { leaf })
            }
        }
    }

    fn leaf(&mut self, expr: &Expr) -> Result<NodeId, CompileError> {
        let test = match &expr.kind {
            ExprKind::Compare { op, left, right } => match (&left.kind, &right.kind) {
                (ExprKind::Field(field), _) => self.comparison(*op, field, right)?,
                (_, ExprKind::Field(field)) => self.comparison(mirrored(*op), field, left)?,
                _ => None,
            },
            ExprKind::Match { op, subject, patterns } => match &subject.kind {
                ExprKind::Field(field) => Some((field, field_patterns(*op, patterns)?)),
                _ => None,
            },
            ExprKind::In { subject, fold, list, negated: false } => match &subject.kind {
                ExprKind::Field(field) => self.membership(field, *fold, list)?.map(|test| (field, test)),
                _ => None,
            },
            _ => None,
        };
        match test {
            // `f == null` is the complement of existence; ordering against null never holds.
            Some((field, Test::Compare(op, Scalar::Null))) => {
                let exists = self.field_leaf(&field.name, Test::Exists);
                Ok(if op == CompareOp::Eq { self.graph.not(exists) } else { self.graph.constant(false) })
            }
            Some((field, test)) => Ok(self.field_leaf(&field.name, test)),
            None => self.script_leaf(expr),
        }
    }

    pub(super) fn field_leaf(&mut self, name: &str, test: Test) -> NodeId {
        let (field, _) = self.field(name);
        let test = normal_form(test);
        let mut key = b"field".to_vec();
        key.extend_from_slice(&field.0.to_le_bytes());
        test.write_key(&mut key);
        let absent = test.holds_absent();
        self.graph.add_leaf(key, || LeafKind::Field { field, test, absent })
    }

    fn script_leaf(&mut self, expr: &Expr) -> Result<NodeId, CompileError> {
        let (script, fields) = self.script(expr)?;
        let key = format!("script{fields:?}|{script:?}").into_bytes();
        if let [field] = fields[..] {
            let test = Test::Script(script);
            let absent = test.holds_absent();
            return Ok(self.graph.add_leaf(key, || LeafKind::Field { field, test, absent }));
        }
        let absent = script.holds(&vec![Scalar::Null; fields.len()]);
        Ok(self.graph.add_leaf(key, || LeafKind::Rows { fields, script, absent }))
    }

    fn comparison<'f>(
        &mut self,
        op: CompareOp,
        field: &'f Field,
        constant: &Expr,
    ) -> Result<Option<(&'f Field, Test)>, CompileError> {
        // A constant without a value leaves a script that never holds.
        let Some(Ok(constant)) = self.constant(constant)? else { return Ok(None) };
        let (_, ty) = self.field(&field.name);
        let Some(constant) = for_field(ty, constant) else { return Ok(Some((field, Test::OneOf(vec![], Fold::None)))) };
        let test = match (op, &constant) {
            (CompareOp::Eq, Scalar::Null) => Test::Compare(op, constant),
            (CompareOp::Eq, _) => Test::OneOf(vec![constant], Fold::None),
            _ => Test::Compare(op, constant),
        };
        Ok(Some((field, test)))
    }

    fn membership(&mut self, field: &Field, fold: bool, list: &[Expr]) -> Result<Option<Test>, CompileError> {
        let (_, ty) = self.field(&field.name);
        let fold = if fold { Fold::Ascii } else { Fold::None };
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            match self.constant(item)? {
                Some(Ok(Scalar::Null)) => {}
                Some(Ok(value)) => items.extend(for_field(ty, value).map(|value| folded(value, fold))),
                Some(Err(_)) | None => return Ok(None),
            }
        }
        Ok(Some(Test::OneOf(items, fold)))
    }

    /// An expression as a script, and the fields that fill its slots.
    pub(super) fn script(&mut self, expr: &Expr) -> Result<(Script, Vec<FieldId>), CompileError> {
        let mut slots = Vec::new();
        let script = self.script_node(expr, &mut slots)?;
        Ok((script, slots))
    }

    fn script_node(&mut self, expr: &Expr, slots: &mut Vec<FieldId>) -> Result<Script, CompileError> {
        let mut boxed = |lowering: &mut Self, expr: &Expr| lowering.script_node(expr, slots).map(Box::new);
        Ok(match &expr.kind {
            ExprKind::Literal(literal) => Script::Constant(literal_value(literal)),
            // Pipes name events by number; they lower to columns of their own.
            ExprKind::Field(field) | ExprKind::EventField { field, .. } => {
                let (id, _) = self.field(&field.name);
                let slot = slots.iter().position(|slot| *slot == id).unwrap_or_else(|| {
                    slots.push(id);
                    slots.len() - 1
                });
                Script::Slot(slot)
            }
            ExprKind::Not(inner) => Script::Not(boxed(self, inner)?),
            ExprKind::Negate(inner) => Script::Negate(boxed(self, inner)?),
            ExprKind::And(parts) => Script::And(self.script_nodes(parts, slots)?),
            ExprKind::Or(parts) => Script::Or(self.script_nodes(parts, slots)?),
            ExprKind::Compare { op, left, right } => self.script_compare(*op, left, right, slots)?,
            ExprKind::Arithmetic { op, left, right } => {
                Script::Arithmetic(*op, boxed(self, left)?, boxed(self, right)?)
            }
            ExprKind::Match { op, subject, patterns } => self.script_match(*op, subject, patterns, slots)?,
            ExprKind::In { subject, fold, negated, list } => {
                let test = self.script_in(subject, *fold, list, slots)?;
                if *negated { Script::Not(Box::new(test)) } else { test }
            }
            ExprKind::Call { function: Function::StringContains, args, .. } if contains_nothing(args) => {
                // Elasticsearch's index query for a contained empty text finds every value.
                let any = TextPattern::Wildcard(Wildcard::new("*"), Fold::None);
                Script::Match { subject: boxed(self, &args[0])?, patterns: vec![any], any_kind: false }
            }
            // Relations were replaced by what they come to.
            ExprKind::Relation { .. } => return Err(CompileError::RelationInside { span: expr.span }),
            ExprKind::Call { function, fold, args, .. } => match blocks(*function, args) {
                Some(blocks) => Script::InBlocks(boxed(self, &args[0])?, blocks),
                None => Script::Call { function: *function, fold: *fold, args: self.script_nodes(args, slots)? },
            },
        })
    }

    fn script_nodes(&mut self, exprs: &[Expr], slots: &mut Vec<FieldId>) -> Result<Vec<Script>, CompileError> {
        exprs.iter().map(|expr| self.script_node(expr, slots)).collect()
    }

    fn script_compare(
        &mut self,
        op: CompareOp,
        left: &Expr,
        right: &Expr,
        slots: &mut Vec<FieldId>,
    ) -> Result<Script, CompileError> {
        let null = |expr: &Expr| matches!(&expr.kind, ExprKind::Literal(literal) if literal_value(literal).is_null());
        let subject = if null(right) { Some(left) } else { null(left).then_some(right) };
        if let (Some(subject), CompareOp::Eq | CompareOp::Ne) = (subject, op) {
            let is_null = Script::IsNull(Box::new(self.script_node(subject, slots)?));
            return Ok(if op == CompareOp::Eq { is_null } else { Script::Not(Box::new(is_null)) });
        }
        let mut sides = [self.script_node(left, slots)?, self.script_node(right, slots)?];
        for (side, other) in [(0, right), (1, left)] {
            // Text beside a number field is read as a number.
            if let (Script::Constant(text @ Scalar::Str(_)), Some(ty)) = (&sides[side], self.plain_type(other))
                && let Some(number) = for_field(ty, text.clone())
            {
                sides[side] = Script::Constant(number);
            }
        }
        let [left, right] = sides;
        Ok(Script::Compare(op, Box::new(left), Box::new(right)))
    }

    /// The type of an expression that is a field and nothing more.
    fn plain_type(&mut self, expr: &Expr) -> Option<FieldType> {
        match &expr.kind {
            ExprKind::Field(field) => Some(self.field(&field.name).1),
            _ => None,
        }
    }

    fn script_match(
        &mut self,
        op: MatchOp,
        subject: &Expr,
        patterns: &[StringLiteral],
        slots: &mut Vec<FieldId>,
    ) -> Result<Script, CompileError> {
        let plain = self.plain_type(subject);
        let fold = script_fold(op.fold(), plain);
        let patterns = patterns
            .iter()
            .map(|pattern| {
                if op.is_regex() {
                    return regex(pattern, fold).map(TextPattern::Regex);
                }
                Ok(TextPattern::Wildcard(Wildcard::new(&fold.apply(&pattern.value)), fold))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let subject = Box::new(self.script_node(subject, slots)?);
        Ok(Script::Match { subject, patterns, any_kind: plain == Some(FieldType::Dynamic) })
    }

    fn script_in(
        &mut self,
        subject: &Expr,
        fold: bool,
        list: &[Expr],
        slots: &mut Vec<FieldId>,
    ) -> Result<Script, CompileError> {
        let plain = self.plain_type(subject);
        let fold = script_fold(fold, plain);
        let mut items = Vec::with_capacity(list.len());
        let mut faulty = None;
        for item in list {
            match self.constant(item)? {
                Some(Ok(Scalar::Null)) => {}
                Some(Ok(value)) => {
                    let value = plain.map_or(Some(value.clone()), |ty| for_field(ty, value));
                    items.extend(value.map(|value| folded(value, fold)));
                }
                Some(Err(_)) | None => faulty = Some(item),
            }
        }
        let subject = Box::new(self.script_node(subject, slots)?);
        let test = Script::In { subject, list: items, fold };
        // An element without a value takes the whole expression's value with it.
        Ok(match faulty {
            None => test,
            Some(item) => Script::And(vec![test, Script::IsNull(Box::new(self.script_node(item, slots)?))]),
        })
    }
}

/// The blocks of `cidrMatch`, if all are constants and none has a fault.
fn blocks(function: Function, args: &[Expr]) -> Option<Vec<Cidr>> {
    if function != Function::CidrMatch {
        return None;
    }
    let block = |arg: &Expr| match &arg.kind {
        ExprKind::Literal(Literal::String(text)) => Cidr::parse(&text.value),
        _ => None,
    };
    args.get(1..)?.iter().map(block).collect()
}

/// Without the case of ASCII letters on a field itself, of all letters on computed text.
fn script_fold(fold: bool, plain: Option<FieldType>) -> Fold {
    match (fold, plain) {
        (false, _) => Fold::None,
        (true, Some(_)) => Fold::Ascii,
        (true, None) => Fold::Unicode,
    }
}

fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
        CompareOp::Eq | CompareOp::Ne => op,
    }
}

/// The constant as it meets a field of this type; `None` where nothing in the field can compare with it.
fn for_field(ty: FieldType, constant: Scalar<'static>) -> Option<Scalar<'static>> {
    match (ty, &constant) {
        (FieldType::Long | FieldType::Double, Scalar::Str(text)) => parse_decimal(text),
        (FieldType::Date, Scalar::Str(text)) => coerce_date(RawValue::Str(text)).map(Scalar::Date),
        (FieldType::Date, Scalar::Int(millis)) => coerce_date(RawValue::Int(*millis)).map(Scalar::Date),
        (FieldType::Date, Scalar::Double(millis)) => coerce_date(RawValue::Double(*millis)).map(Scalar::Date),
        _ => Some(constant),
    }
}

fn folded(value: Scalar<'static>, fold: Fold) -> Scalar<'static> {
    match value {
        Scalar::Str(text) => Scalar::Str(fold.apply(&text).into_owned().into()),
        other => other,
    }
}

fn contains_nothing(args: &[Expr]) -> bool {
    match args {
        [subject, part] => {
            matches!(subject.kind, ExprKind::Field(_))
                && matches!(&part.kind, ExprKind::Literal(literal) if literal_value(literal).as_str() == Some(""))
        }
        _ => false,
    }
}

fn regex(pattern: &StringLiteral, fold: Fold) -> Result<Regex, CompileError> {
    Regex::new(&pattern.value, fold).map_err(|error| CompileError::Regex { span: pattern.span, error })
}

fn field_patterns(op: MatchOp, patterns: &[StringLiteral]) -> Result<Test, CompileError> {
    let fold = if op.fold() { Fold::Ascii } else { Fold::None };
    let patterns = patterns
        .iter()
        .map(|pattern| {
            if op.is_regex() {
                return regex(pattern, fold).map(|regex| FieldPattern::Regex(Arc::new(regex)));
            }
            let wildcard = Wildcard::new(&fold.apply(&pattern.value));
            Ok(match wildcard.as_exact() {
                Some(exact) => FieldPattern::Exact(exact.to_owned(), fold),
                None => FieldPattern::Wildcard(wildcard, fold),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Test::Text(patterns))
}

/// The same question in the form that other rules would ask it: lists sorted, each element once.
fn normal_form(test: Test) -> Test {
    match test {
        Test::Text(mut patterns) => {
            patterns.sort_unstable();
            patterns.dedup();
            Test::Text(patterns)
        }
        Test::OneOf(mut list, fold) => {
            match list.iter().all(|item| matches!(item, Scalar::Str(_))) {
                true => list.sort_by(|a, b| a.as_str().cmp(&b.as_str())),
                false => list.sort_by_cached_key(|item| format!("{item:?}")),
            }
            list.dedup();
            Test::OneOf(list, fold)
        }
        other => other,
    }
}
