//! Operators, by precedence.
//!
//! Operands and pending operators are kept on two stacks of their own, not on the call stack: only brackets recurse,
//! so that the depth limit bounds the call stack closely.

use super::{Parsed, Parser, Reported};
use crate::ast::{ArithmeticOp, CompareOp, Expr, ExprKind, Literal, Span, StringLiteral};
use crate::diagnostic::Diagnostic;
use crate::lexer::{Token, TokenKind};
use crate::limits::MAX_DEPTH;

/// An expression under construction.
pub(super) struct Node {
    pub expr: Expr,
    /// How deep the tree is.
    pub depth: u16,
    /// Whether no field occurs in it.
    pub constant: bool,
}

impl Node {
    pub(super) fn leaf(kind: ExprKind, span: Span) -> Self {
        let constant = matches!(kind, ExprKind::Literal(_));
        Self { expr: Expr { kind, span }, depth: 1, constant }
    }
}

/// An operator whose right operand is not complete yet.
#[derive(Clone, Copy, PartialEq)]
enum Operator {
    Or,
    And,
    Not,
    Compare(CompareOp),
    Arithmetic(ArithmeticOp),
    Negate,
}

impl Operator {
    fn infix(kind: TokenKind) -> Option<Self> {
        use TokenKind as T;
        Some(match kind {
            T::Or => Self::Or,
            T::And => Self::And,
            T::Equal | T::Assign => Self::Compare(CompareOp::Eq),
            T::NotEqual => Self::Compare(CompareOp::Ne),
            T::Less => Self::Compare(CompareOp::Lt),
            T::LessEqual => Self::Compare(CompareOp::Le),
            T::Greater => Self::Compare(CompareOp::Gt),
            T::GreaterEqual => Self::Compare(CompareOp::Ge),
            T::Plus => Self::Arithmetic(ArithmeticOp::Add),
            T::Minus => Self::Arithmetic(ArithmeticOp::Subtract),
            T::Star => Self::Arithmetic(ArithmeticOp::Multiply),
            T::Slash => Self::Arithmetic(ArithmeticOp::Divide),
            T::Percent => Self::Arithmetic(ArithmeticOp::Modulo),
            _ => return None,
        })
    }

    /// How tightly it binds.
    fn power(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Not => 3,
            Self::Compare(_) => 4,
            Self::Arithmetic(ArithmeticOp::Add | ArithmeticOp::Subtract) => 5,
            Self::Arithmetic(_) => 6,
            Self::Negate => 7,
        }
    }
}

/// The two stacks of one expression.
#[derive(Default)]
struct Stacks {
    operands: Vec<Node>,
    operators: Vec<(Operator, Token)>,
}

impl Parser<'_> {
    /// What may stand after `where`.
    pub(super) fn condition(&mut self) -> Parsed<Expr> {
        self.expression().map(|node| node.expr)
    }

    /// A whole expression. All recursion comes through here.
    pub(super) fn expression(&mut self) -> Parsed<Node> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep(self.peek().span));
        }
        self.depth += 1;
        let result = self.operators();
        self.depth -= 1;
        result
    }

    fn operators(&mut self) -> Parsed<Node> {
        let mut stacks = Stacks::default();
        loop {
            self.prefixes(&mut stacks)?;
            let operand = self.predicate()?;
            stacks.operands.push(operand);
            let Some(operator) = Operator::infix(self.kind()) else {
                break;
            };
            self.reduce(&mut stacks, operator.power())?;
            self.infix(&mut stacks, operator)?;
        }
        self.reduce(&mut stacks, 0)?;
        // One operand went in for every operator and one more, so exactly one is left.
        stacks.operands.pop().ok_or(Reported)
    }

    /// Takes `not`s and signs.
    fn prefixes(&mut self, stacks: &mut Stacks) -> Parsed<()> {
        loop {
            let operator = match self.kind() {
                TokenKind::Not => Operator::Not,
                TokenKind::Minus => Operator::Negate,
                TokenKind::Plus => {
                    self.take();
                    continue;
                }
                _ => return Ok(()),
            };
            let outer = stacks.operators.last().map_or(0, |(outer, _)| outer.power());
            if operator == Operator::Not && outer > Operator::Not.power() {
                let message = "`not` must be in parentheses here";
                let diagnostic = Diagnostic::error("unexpected-token", self.peek().span, message);
                return Err(self.fail(diagnostic.help("write `(not …)`")));
            }
            let token = self.take();
            stacks.operators.push((operator, token));
        }
    }

    /// Takes the operator that comes next.
    fn infix(&mut self, stacks: &mut Stacks, operator: Operator) -> Parsed<()> {
        let token = self.take();
        if let (Operator::Compare(_), Some((Operator::Compare(_), _))) = (operator, stacks.operators.last()) {
            let message = "comparisons cannot be chained";
            let help = "join two comparisons with `and`";
            return Err(self.fail(Diagnostic::error("chained-comparison", token.span, message).help(help)));
        }
        if token.kind == TokenKind::Assign {
            let message = "`=` does not compare";
            self.note(Diagnostic::error("single-equals", token.span, message).help("write `==`"));
        }
        stacks.operators.push((operator, token));
        Ok(())
    }

    /// Completes every pending operator that binds at least as tightly as `power`. Comparisons do not associate: one
    /// stays pending before another, to be found by [`Self::infix`].
    fn reduce(&mut self, stacks: &mut Stacks, power: u8) -> Parsed<()> {
        let compare = Operator::Compare(CompareOp::Eq).power();
        while let Some((operator, token)) = stacks.operators.last().copied() {
            if operator.power() < power || (power == compare && operator.power() == compare) {
                return Ok(());
            }
            stacks.operators.pop();
            let Some(right) = stacks.operands.pop() else {
                return Err(Reported);
            };
            let node = match operator {
                Operator::Not => self.prefix(right, token, ExprKind::Not)?,
                Operator::Negate => self.prefix(right, token, ExprKind::Negate)?,
                _ => {
                    let Some(left) = stacks.operands.pop() else {
                        return Err(Reported);
                    };
                    self.binary(left, right, operator, token)?
                }
            };
            stacks.operands.push(node);
        }
        Ok(())
    }

    fn prefix(&mut self, operand: Node, token: Token, kind: fn(Box<Expr>) -> ExprKind) -> Parsed<Node> {
        let span = Span { start: token.span.start, end: operand.expr.span.end };
        let depth = self.deeper(operand.depth, token.span)?;
        let kind = kind(Box::new(operand.expr));
        Ok(Node { expr: Expr { kind, span }, depth, constant: operand.constant })
    }

    fn binary(&mut self, left: Node, right: Node, operator: Operator, token: Token) -> Parsed<Node> {
        match operator {
            Operator::And | Operator::Or => return self.row(left, right, operator == Operator::And),
            Operator::Compare(_) => self.forbid_two_fields(&left, &right, token),
            _ => {}
        }
        let span = Span { start: left.expr.span.start, end: right.expr.span.end };
        let depth = self.deeper(left.depth.max(right.depth), token.span)?;
        let constant = left.constant && right.constant;
        let (left, right) = (Box::new(left.expr), Box::new(right.expr));
        let kind = match operator {
            Operator::Compare(op) => ExprKind::Compare { op, left, right },
            Operator::Arithmetic(op) => ExprKind::Arithmetic { op, left, right },
            Operator::And | Operator::Or | Operator::Not | Operator::Negate => return Err(Reported),
        };
        Ok(Node { expr: Expr { kind, span }, depth, constant })
    }

    /// `left and right` or `left or right`. Rows of one operator are flat, with parentheses or without.
    fn row(&mut self, left: Node, right: Node, and: bool) -> Parsed<Node> {
        let span = Span { start: left.expr.span.start, end: right.expr.span.end };
        let constant = left.constant && right.constant;
        let (mut operands, left_depth) = operands_of(left, and);
        let (more, right_depth) = operands_of(right, and);
        let depth = self.deeper(left_depth.max(right_depth), span)?;
        operands.extend(more);
        let kind = if and { ExprKind::And(operands) } else { ExprKind::Or(operands) };
        Ok(Node { expr: Expr { kind, span }, depth, constant })
    }

    /// The depth of a node over nodes of depth `depth`.
    pub(super) fn deeper(&mut self, depth: u16, span: Span) -> Parsed<u16> {
        if depth >= MAX_DEPTH { Err(self.too_deep(span)) } else { Ok(depth + 1) }
    }

    /// Elasticsearch compares with constants only. It takes an optional field that no index maps for the constant
    /// null; which fields are mapped nobody can say here, so an optional field is let through.
    fn forbid_two_fields(&mut self, left: &Node, right: &Node, operator: Token) {
        let passes = |node: &Node| node.constant || matches!(&node.expr.kind, ExprKind::Field(field) if field.optional);
        // What a pipe sees is at hand, wherever it comes from.
        if self.in_pipe || passes(left) || passes(right) {
            return;
        }
        let message = "one side of a comparison must be a constant";
        let diagnostic = Diagnostic::error("field-comparison", operator.span, message)
            .label(left.expr.span, "depends on the event")
            .label(right.expr.span, "so does this");
        let numbers = "numbers can be compared through their difference: `a - b == 0`";
        self.note(diagnostic.help(numbers));
    }
}

/// What a row is made of, and how deep that is; anything else is a row of one.
fn operands_of(node: Node, and: bool) -> (Vec<Expr>, u16) {
    match (node.expr.kind, and) {
        (ExprKind::And(operands), true) | (ExprKind::Or(operands), false) => (operands, node.depth - 1),
        (kind, _) => (vec![Expr { kind, span: node.expr.span }], node.depth),
    }
}

/// Stands where a fault was noted.
pub(super) fn faulty(span: Span) -> Expr {
    let empty = StringLiteral { value: String::new(), raw: false, span };
    Expr { kind: ExprKind::Literal(Literal::String(empty)), span }
}
