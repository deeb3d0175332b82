//! Operators, by precedence climbing.

use super::{Parsed, Parser};
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

/// How tightly operators bind.
mod power {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const NOT: u8 = 3;
    pub const COMPARE: u8 = 4;
    pub const ADD: u8 = 5;
    pub const MULTIPLY: u8 = 6;
}

#[derive(Clone, Copy, PartialEq)]
enum Infix {
    Or,
    And,
    Compare(CompareOp),
    Arithmetic(ArithmeticOp),
}

impl Infix {
    fn from_token(kind: TokenKind) -> Option<(Self, u8)> {
        use TokenKind as T;
        Some(match kind {
            T::Or => (Self::Or, power::OR),
            T::And => (Self::And, power::AND),
            T::Equal | T::Assign => (Self::Compare(CompareOp::Eq), power::COMPARE),
            T::NotEqual => (Self::Compare(CompareOp::Ne), power::COMPARE),
            T::Less => (Self::Compare(CompareOp::Lt), power::COMPARE),
            T::LessEqual => (Self::Compare(CompareOp::Le), power::COMPARE),
            T::Greater => (Self::Compare(CompareOp::Gt), power::COMPARE),
            T::GreaterEqual => (Self::Compare(CompareOp::Ge), power::COMPARE),
            T::Plus => (Self::Arithmetic(ArithmeticOp::Add), power::ADD),
            T::Minus => (Self::Arithmetic(ArithmeticOp::Subtract), power::ADD),
            T::Star => (Self::Arithmetic(ArithmeticOp::Multiply), power::MULTIPLY),
            T::Slash => (Self::Arithmetic(ArithmeticOp::Divide), power::MULTIPLY),
            T::Percent => (Self::Arithmetic(ArithmeticOp::Modulo), power::MULTIPLY),
            _ => return None,
        })
    }
}

impl Parser<'_> {
    /// What may stand after `where`.
    pub(super) fn condition(&mut self) -> Parsed<Expr> {
        self.expression().map(|node| node.expr)
    }

    /// A whole expression. All recursion comes through here: brackets of any kind nest, operators do not.
    pub(super) fn expression(&mut self) -> Parsed<Node> {
        self.nested(|parser| parser.binding(power::OR))
    }

    /// An expression whose operators bind at least as tightly as `least`.
    fn binding(&mut self, least: u8) -> Parsed<Node> {
        let mut left = self.prefixed(least)?;
        while let Some((infix, power)) = Infix::from_token(self.kind()).filter(|(_, power)| *power >= least) {
            left = self.infix(left, infix, power)?;
        }
        Ok(left)
    }

    /// `not`s or signs, then what they apply to.
    fn prefixed(&mut self, least: u8) -> Parsed<Node> {
        match self.kind() {
            TokenKind::Not if least <= power::NOT => self.negated_condition(),
            TokenKind::Plus | TokenKind::Minus => self.signed(),
            _ => self.predicate(),
        }
    }

    fn negated_condition(&mut self) -> Parsed<Node> {
        let mut places = Vec::new();
        while let Some(not) = self.take_if(TokenKind::Not) {
            places.push(not.span);
        }
        let operand = self.binding(power::NOT)?;
        self.wrap(operand, &places, ExprKind::Not)
    }

    fn signed(&mut self) -> Parsed<Node> {
        let mut places = Vec::new();
        loop {
            match self.kind() {
                TokenKind::Minus => places.push(self.take().span),
                TokenKind::Plus => drop(self.take()),
                _ => break,
            }
        }
        let operand = self.predicate()?;
        self.wrap(operand, &places, ExprKind::Negate)
    }

    fn wrap(&mut self, operand: Node, places: &[Span], kind: fn(Box<Expr>) -> ExprKind) -> Parsed<Node> {
        if places.len() + usize::from(operand.depth) > usize::from(MAX_DEPTH) {
            return Err(self.too_deep(places[0]));
        }
        let depth = operand.depth + places.len() as u16;
        let Node { mut expr, constant, .. } = operand;
        for place in places.iter().rev() {
            let span = Span { start: place.start, end: expr.span.end };
            expr = Expr { kind: kind(Box::new(expr)), span };
        }
        Ok(Node { expr, depth, constant })
    }

    fn infix(&mut self, left: Node, infix: Infix, power: u8) -> Parsed<Node> {
        match infix {
            Infix::Or => self.row(left, TokenKind::Or),
            Infix::And => self.row(left, TokenKind::And),
            Infix::Compare(op) => self.comparison(left, op),
            Infix::Arithmetic(op) => {
                self.take();
                let right = self.binding(power + 1)?;
                self.binary(left, right, |left, right| ExprKind::Arithmetic { op, left, right })
            }
        }
    }

    /// `a and b and …` or `a or b or …`, flat.
    fn row(&mut self, first: Node, operator: TokenKind) -> Parsed<Node> {
        let and = operator == TokenKind::And;
        let operand_power = if and { power::AND + 1 } else { power::OR + 1 };
        let start = first.expr.span;
        let (mut depth, mut constant) = (first.depth, first.constant);
        let mut operands = Vec::new();
        flatten(first.expr, and, &mut operands);
        while self.take_if(operator).is_some() {
            let next = self.binding(operand_power)?;
            (depth, constant) = (depth.max(next.depth), constant && next.constant);
            flatten(next.expr, and, &mut operands);
        }
        let span = self.since(start);
        if depth >= MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let kind = if and { ExprKind::And(operands) } else { ExprKind::Or(operands) };
        Ok(Node { expr: Expr { kind, span }, depth: depth + 1, constant })
    }

    fn comparison(&mut self, left: Node, op: CompareOp) -> Parsed<Node> {
        let operator = self.take();
        if operator.kind == TokenKind::Assign {
            let message = "`=` does not compare";
            self.note(Diagnostic::error("single-equals", operator.span, message).help("write `==`"));
        }
        let right = self.binding(power::ADD)?;
        if matches!(Infix::from_token(self.kind()), Some((Infix::Compare(_), _))) {
            let message = "comparisons cannot be chained";
            let help = "join two comparisons with `and`";
            return Err(self.fail(Diagnostic::error("chained-comparison", self.peek().span, message).help(help)));
        }
        self.forbid_two_fields(&left, &right, operator);
        self.binary(left, right, |left, right| ExprKind::Compare { op, left, right })
    }

    fn forbid_two_fields(&mut self, left: &Node, right: &Node, operator: Token) {
        if left.constant || right.constant {
            return;
        }
        let message = "one side of a comparison must be a constant";
        let diagnostic = Diagnostic::error("field-comparison", operator.span, message)
            .label(left.expr.span, "depends on the event")
            .label(right.expr.span, "so does this");
        let numbers = "numbers can be compared through their difference: `a - b == 0`";
        self.note(diagnostic.help(numbers));
    }

    fn binary(
        &mut self,
        left: Node,
        right: Node,
        kind: impl FnOnce(Box<Expr>, Box<Expr>) -> ExprKind,
    ) -> Parsed<Node> {
        let span = Span { start: left.expr.span.start, end: right.expr.span.end };
        let depth = left.depth.max(right.depth);
        if depth >= MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let constant = left.constant && right.constant;
        let kind = kind(Box::new(left.expr), Box::new(right.expr));
        Ok(Node { expr: Expr { kind, span }, depth: depth + 1, constant })
    }
}

fn flatten(expr: Expr, and: bool, operands: &mut Vec<Expr>) {
    match (expr.kind, and) {
        (ExprKind::And(inner), true) | (ExprKind::Or(inner), false) => operands.extend(inner),
        (kind, _) => operands.push(Expr { kind, span: expr.span }),
    }
}

/// Stands where a fault was noted.
pub(super) fn placeholder(span: Span) -> Expr {
    let empty = StringLiteral { value: String::new(), raw: false, span };
    Expr { kind: ExprKind::Literal(Literal::String(empty)), span }
}
