//! The value of an expression without fields.

use eqlipse_batch::Schema;
use eqlipse_eql::ast::{Expr, ExprKind, Literal};
use thiserror::Error;

use super::graph::Graph;
use super::lower::Lowering;
use super::rule_set::CompileError;
use crate::script::{Fault, Scalar};

impl Lowering<'_> {
    /// The value of an expression that reads no field: `None` if it reads one, `Some(Err)` if it has no value.
    ///
    /// # Errors
    /// If a pattern in it cannot be compiled.
    pub(super) fn constant(&mut self, expr: &Expr) -> Result<Option<Result<Scalar<'static>, Fault>>, CompileError> {
        if let ExprKind::Literal(literal) = &expr.kind {
            return Ok(Some(Ok(literal_value(literal))));
        }
        if reads_field(expr) {
            return Ok(None);
        }
        let (script, _) = self.script(expr)?;
        Ok(Some(script.eval(&[]).map(Scalar::into_owned)))
    }
}

/// The value of an expression without fields; null for one that reads a field.
///
/// # Errors
/// If a pattern in it cannot be compiled, or it has no value.
pub fn constant(expr: &Expr) -> Result<Scalar<'static>, ConstantError> {
    let (mut graph, mut schema) = (Graph::default(), Schema::builder());
    let mut lowering = Lowering { graph: &mut graph, schema: &mut schema, types: &eqlipse_ecs::field_type };
    Ok(lowering.constant(expr)?.transpose()?.unwrap_or(Scalar::Null))
}

/// Why an expression has no constant value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConstantError {
    /// It cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It fails when it is evaluated.
    #[error(transparent)]
    Fault(#[from] Fault),
}

pub(super) fn literal_value(literal: &Literal) -> Scalar<'static> {
    match literal {
        Literal::Null => Scalar::Null,
        Literal::Boolean(value) => Scalar::Bool(*value),
        Literal::Int(value) => Scalar::Int(*value),
        Literal::UnsignedLong(value) => Scalar::UInt(*value),
        Literal::Double(value) => Scalar::Double(*value),
        Literal::String(text) => Scalar::Str(text.value.clone().into()),
    }
}

fn reads_field(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Field(_) | ExprKind::EventField { .. } => true,
        ExprKind::Literal(_) => false,
        ExprKind::Not(inner) | ExprKind::Negate(inner) => reads_field(inner),
        ExprKind::And(parts) | ExprKind::Or(parts) => parts.iter().any(reads_field),
        ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
            reads_field(left) || reads_field(right)
        }
        ExprKind::Match { subject, .. } => reads_field(subject),
        ExprKind::In { subject, list, .. } => reads_field(subject) || list.iter().any(reads_field),
        ExprKind::Call { args, .. } => args.iter().any(reads_field),
        ExprKind::Relation { .. } => true,
    }
}
