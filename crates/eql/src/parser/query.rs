//! Queries and pipes.

use super::expression::Node;
use super::{Parsed, Parser, Reported};
use crate::ast::{ArithmeticOp, Body, Dialect, EventFilter, Expr, ExprKind, Literal, Pipe, PipeKind, Query, Span};
use crate::diagnostic::{Diagnostic, quoted};
use crate::lexer::TokenKind;
use crate::limits::{MAX_PIPE_EXPRESSIONS, MAX_PIPES};

/// Pipes of the older Python EQL that Elasticsearch names only to refuse them.
const EXTENDED_PIPES: [&str; 5] = ["count", "filter", "sort", "unique", "unique_count"];
const PIPES: [&str; 2] = ["head", "tail"];

impl Parser<'_> {
    pub(super) fn query(&mut self) -> Parsed<Query> {
        let body = match self.kind() {
            TokenKind::Sequence => Body::Sequence(self.sequence()?),
            TokenKind::Sample => Body::Sample(self.sample()?),
            TokenKind::Join => return Err(self.join()),
            _ => Body::Event(self.event_filter()?.0),
        };
        let pipes = self.pipes(&body)?;
        self.end()?;
        Ok(Query { body, pipes })
    }

    fn join(&mut self) -> Reported {
        let message = "`join` is not supported by Elasticsearch";
        let help = "use `sequence` for events in order, `sample` for events in any order";
        self.fail(Diagnostic::error("unsupported-join", self.peek().span, message).help(help))
    }

    /// `category where condition`
    /// A filter, and how deep its condition is.
    pub(super) fn event_filter(&mut self) -> Parsed<(EventFilter, u16)> {
        let start = self.peek().span;
        let category = self.category()?;
        self.expect(TokenKind::Where, "`where` after the event category")?;
        if self.kind() == TokenKind::End {
            return Err(self.unexpected("a condition after `where`"));
        }
        let Node { expr: condition, depth, .. } = self.expression()?;
        Ok((EventFilter { category, condition, span: self.since(start) }, depth))
    }

    fn category(&mut self) -> Parsed<Option<String>> {
        let token = self.peek();
        let text = self.text(token.span);
        match token.kind {
            TokenKind::Any => {
                self.take();
                Ok(None)
            }
            kind if kind.is_string() => Ok(Some(self.string_literal().value)),
            TokenKind::Identifier if self.peek_at(1).kind == TokenKind::Where => {
                self.take();
                Ok(Some(text.into()))
            }
            kind if kind.is_keyword() && self.peek_at(1).kind == TokenKind::Where => {
                let message = format!("the keyword `{text}` cannot be a category as it stands");
                let help = format!("put it in quotes: \"{text}\"");
                Err(self.fail(Diagnostic::error("keyword-as-name", token.span, message).help(help)))
            }
            TokenKind::Identifier | TokenKind::QuotedIdentifier => Err(self.bad_category()),
            TokenKind::End => {
                let message = "the query is empty";
                let help = "a query is `category where condition`, `sequence …` or `sample …`";
                Err(self.fail(Diagnostic::error("empty-query", token.span, message).help(help)))
            }
            _ => Err(self.unexpected("an event category")),
        }
    }

    /// A name that no `where` follows: a dotted or quoted category, a misspelt `where`, or a condition alone.
    fn bad_category(&mut self) -> Reported {
        let start = self.take().span;
        while self.take_if(TokenKind::Dot).is_some() {
            self.take();
        }
        let span = self.since(start);
        let name = quoted(self.text(span));
        let next = self.peek();
        if next.kind == TokenKind::Where {
            let message = "an event category has no dots and no backticks";
            let help = "put it in double quotes";
            return self.fail(Diagnostic::error("bad-category", span, message).help(help));
        }
        if next.kind == TokenKind::Identifier {
            return self.unexpected(&format!("`where` after the event category {name}"));
        }
        let message = "a query begins with an event category and `where`";
        let help = "write `any where …` for events of every category";
        self.fail(Diagnostic::error("missing-category", span, message).help(help))
    }

    fn pipes(&mut self, body: &Body) -> Parsed<Vec<Pipe>> {
        let mut pipes = Vec::new();
        if self.dialect == Dialect::Extended {
            self.in_pipe = true;
            self.events = match body {
                Body::Sequence(sequence) => sequence.items.iter().map(|item| u64::from(item.runs)).sum(),
                Body::Event(_) | Body::Sample(_) => 0,
            };
        }
        while let Some(bar) = self.take_if(TokenKind::Pipe) {
            if pipes.len() == MAX_PIPES {
                let message = format!("the query has more than {MAX_PIPES} pipes");
                return Err(self.fail(Diagnostic::error("too-many-pipes", bar.span, message)));
            }
            let pipe = self.pipe()?;
            if matches!(body, Body::Sample(_)) {
                self.note(Diagnostic::error("sample-pipe", pipe.span, "a sample cannot have pipes"));
            }
            pipes.push(pipe);
        }
        Ok(pipes)
    }

    fn pipe(&mut self) -> Parsed<Pipe> {
        let name = self.expect(TokenKind::Identifier, "`head` or `tail` after `|`")?;
        let text = self.text(name.span);
        let extended = self.dialect == Dialect::Extended;
        let kind = match text {
            "head" => PipeKind::Head(self.pipe_argument(text, name.span)?),
            "tail" => PipeKind::Tail(self.pipe_argument(text, name.span)?),
            "filter" if extended => PipeKind::Filter(self.pipe_condition(name.span)?),
            "unique" if extended => PipeKind::Unique(self.pipe_keys(text, name.span, 1)?),
            "unique_count" if extended => PipeKind::UniqueCount(self.pipe_keys(text, name.span, 1)?),
            "count" if extended => PipeKind::Count(self.pipe_keys(text, name.span, 0)?),
            "sort" if extended => PipeKind::Sort(self.pipe_keys(text, name.span, 1)?),
            _ => return Err(self.unknown_pipe(name.span)),
        };
        Ok(Pipe { kind, span: self.since(name.span) })
    }

    fn pipe_condition(&mut self, span: Span) -> Parsed<Expr> {
        if self.pipe_ends() {
            let message = "`filter` takes a condition, found none";
            return Err(self.fail(Diagnostic::error("pipe-argument", span, message)));
        }
        self.condition()
    }

    /// Expressions with commas between them or, as the older implementation has it, without.
    fn pipe_keys(&mut self, name: &str, span: Span, at_least: usize) -> Parsed<Vec<Expr>> {
        let mut keys = Vec::new();
        let mut comma = None;
        while comma.is_some() || !self.pipe_ends() {
            if keys.len() == MAX_PIPE_EXPRESSIONS {
                let message = format!("`{name}` has more than {MAX_PIPE_EXPRESSIONS} expressions");
                return Err(self.fail(Diagnostic::error("too-many-expressions", self.peek().span, message)));
            }
            keys.push(self.condition()?);
            comma = self.take_if(TokenKind::Comma);
        }
        if keys.len() < at_least {
            let message = format!("`{name}` takes one expression or more, found none");
            return Err(self.fail(Diagnostic::error("pipe-argument", span, message)));
        }
        Ok(keys)
    }

    fn pipe_ends(&self) -> bool {
        matches!(self.kind(), TokenKind::End | TokenKind::Pipe)
    }

    fn unknown_pipe(&mut self, span: Span) -> Reported {
        let text = self.text(span);
        let extended = self.dialect == Dialect::Extended;
        if EXTENDED_PIPES.contains(&text) {
            let message = format!("the pipe `{text}` is not supported by Elasticsearch");
            let help = "only `head` and `tail` are; `eqlipse query` without `--dialect elastic` has it, rules do not";
            return self.fail(Diagnostic::error("unsupported-pipe", span, message).help(help));
        }
        let message = format!("unknown pipe {}", quoted(text));
        let more: &[&str] = if extended { &EXTENDED_PIPES } else { &[] };
        let help = crate::nearest::nearest(text, PIPES.iter().chain(more).copied())
            .map_or("the pipes are `head` and `tail`".into(), |near| format!("did you mean `{near}`?"));
        self.fail(Diagnostic::error("unknown-pipe", span, message).help(help))
    }

    fn pipe_argument(&mut self, name: &str, span: Span) -> Parsed<u64> {
        if self.pipe_ends() {
            let message = format!("`{name}` takes one argument, found none");
            let help = format!("write `{name} 10`");
            return Err(self.fail(Diagnostic::error("pipe-argument", span, message).help(help)));
        }
        let argument = self.condition()?;
        if self.kind() == TokenKind::Comma {
            let message = format!("`{name}` takes one argument");
            return Err(self.fail(Diagnostic::error("pipe-argument", self.peek().span, message)));
        }
        match fold_integer(&argument).map(u64::try_from) {
            Some(Ok(count)) => Ok(count),
            _ => {
                let message = format!("`{name}` takes a whole number, 0 or more");
                Err(self.fail(Diagnostic::error("pipe-argument", argument.span, message)))
            }
        }
    }
}

/// The value of an expression of whole numbers; `None` where it is no such expression or overflows.
fn fold_integer(expr: &Expr) -> Option<i64> {
    match &expr.kind {
        ExprKind::Literal(Literal::Int(value)) => Some(*value),
        ExprKind::Negate(inner) => fold_integer(inner)?.checked_neg(),
        ExprKind::Arithmetic { op, left, right } => {
            let (left, right) = (fold_integer(left)?, fold_integer(right)?);
            match op {
                ArithmeticOp::Add => left.checked_add(right),
                ArithmeticOp::Subtract => left.checked_sub(right),
                ArithmeticOp::Multiply => left.checked_mul(right),
                ArithmeticOp::Divide => left.checked_div(right),
                ArithmeticOp::Modulo => left.checked_rem(right),
            }
        }
        _ => None,
    }
}
