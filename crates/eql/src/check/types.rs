//! The types of expressions.

use eqlipse_ecs::FieldType;

use crate::ast::{Expr, ExprKind, Literal, StringLiteral};

/// What kind of value an expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    /// A whole number.
    Long,
    Double,
    /// A number, whole or not.
    Number,
    String,
    Date,
    Ip,
    Version,
    /// Known only when the value is there.
    Dynamic,
}

impl Type {
    pub(super) fn of_field(ty: FieldType) -> Self {
        match ty {
            FieldType::Keyword => Self::String,
            FieldType::Long => Self::Long,
            FieldType::Double => Self::Double,
            FieldType::Boolean => Self::Boolean,
            FieldType::Date => Self::Date,
            FieldType::Ip => Self::Ip,
            FieldType::Version => Self::Version,
            FieldType::Dynamic => Self::Dynamic,
        }
    }

    pub(super) fn of_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Boolean(_) => Self::Boolean,
            Literal::Int(_) | Literal::UnsignedLong(_) => Self::Long,
            Literal::Double(_) => Self::Double,
            Literal::String(_) => Self::String,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Long => "whole number",
            Self::Double | Self::Number => "number",
            Self::String => "string",
            Self::Date => "date",
            Self::Ip => "ip",
            Self::Version => "version",
            Self::Dynamic => "value of unknown type",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Long | Self::Double | Self::Number)
    }

    /// Whether a value of this type may stand where `wanted` is asked for.
    pub(super) fn can_be(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Null | Self::Dynamic, _) => true,
            (Self::Version, Self::String) => true,
            (Self::Long | Self::Double | Self::Number, Self::Number) => true,
            (Self::Number, Self::Long) => true,
            _ => self == wanted,
        }
    }

    /// Whether values of the two types can equal each other.
    pub(super) fn same_kind(self, other: Self) -> bool {
        self.can_be(other) || other.can_be(self) || (self.is_number() && other.is_number())
    }

    /// The type of a calculation with the two.
    pub(super) fn arithmetic(self, other: Self) -> Self {
        match (self, other) {
            (Self::Long, Self::Long) => Self::Long,
            (Self::Double, other) if other.is_number() => Self::Double,
            (one, Self::Double) if one.is_number() => Self::Double,
            _ => Self::Number,
        }
    }
}

/// The string that the expression is, where it is a string constant.
pub(super) fn string_of(expr: &Expr) -> Option<&StringLiteral> {
    match &expr.kind {
        ExprKind::Literal(Literal::String(string)) => Some(string),
        _ => None,
    }
}
