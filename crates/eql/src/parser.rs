//! Tokens to syntax tree, by recursive descent.
//!
//! Everything that can be judged without knowing a field's type is judged here. A fault that leaves the shape of the
//! rest in no doubt is noted and parsing goes on; any other ends the innermost `[…]`, or else the query.

mod expression;
mod operand;
mod query;
mod sequence;

pub(crate) use sequence::UNITS;

use crate::ast::{Dialect, Expr, Query, Span};
use crate::diagnostic::{Diagnostic, quoted};
use crate::lexer::{Lexed, Token, TokenKind, lex};
use crate::limits::{MAX_DEPTH, MAX_DIAGNOSTICS, MAX_QUERY_BYTES};

/// Parses a query in Elastic's dialect.
///
/// # Errors
///
/// Every fault found, in the order of the text; never empty.
pub fn parse(source: &str) -> Result<Query, Vec<Diagnostic>> {
    parse_with(source, Dialect::Elastic)
}

/// Parses a query in a dialect. Detection rules are in Elastic's, whatever else is allowed elsewhere, so that a rule
/// that passes here runs in Elasticsearch.
///
/// # Errors
///
/// Every fault found, in the order of the text; never empty.
pub fn parse_with(source: &str, dialect: Dialect) -> Result<Query, Vec<Diagnostic>> {
    run(source, dialect, Parser::query)
}

/// Parses a bare condition, what may stand after `where`.
///
/// # Errors
///
/// Every fault found, in the order of the text; never empty.
pub fn parse_expression(source: &str) -> Result<Expr, Vec<Diagnostic>> {
    run(source, Dialect::Elastic, |parser| {
        let expression = parser.condition()?;
        parser.end()?;
        Ok(expression)
    })
}

fn run<'a, T>(
    source: &'a str,
    dialect: Dialect,
    rule: impl FnOnce(&mut Parser<'a>) -> Parsed<T>,
) -> Result<T, Vec<Diagnostic>> {
    if source.len() > MAX_QUERY_BYTES {
        let message = format!("the query has {} bytes; the limit is {MAX_QUERY_BYTES}", source.len());
        return Err(vec![Diagnostic::error("query-too-long", Span { start: 0, end: 0 }, message)]);
    }
    let Lexed { tokens, diagnostics, broken } = lex(source);
    if broken {
        return Err(diagnostics);
    }
    let mut parser = Parser { source, tokens, next: 0, depth: 0, diagnostics, dialect, in_pipe: false, events: 0 };
    let result = rule(&mut parser);
    let mut diagnostics = parser.diagnostics;
    match result {
        Ok(value) if diagnostics.is_empty() => Ok(value),
        _ => {
            diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
            diagnostics.truncate(MAX_DIAGNOSTICS);
            Err(diagnostics)
        }
    }
}

/// Stands for a fault that has been noted already.
#[derive(Debug)]
struct Reported;

type Parsed<T> = Result<T, Reported>;

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    next: usize,
    /// How many nested rules are under way.
    depth: u16,
    diagnostics: Vec<Diagnostic>,
    dialect: Dialect,
    /// Whether a pipe is being read.
    in_pipe: bool,
    /// How many events a result has that pipes may name by number.
    events: u64,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token {
        self.peek_at(0)
    }

    /// The token `ahead` of the next; past the end, the end.
    fn peek_at(&self, ahead: usize) -> Token {
        let last = self.tokens.len() - 1;
        self.tokens[(self.next + ahead).min(last)]
    }

    fn kind(&self) -> TokenKind {
        self.peek().kind
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take_if(&mut self, kind: TokenKind) -> Option<Token> {
        (self.kind() == kind).then(|| self.take())
    }

    fn expect(&mut self, kind: TokenKind, what: &str) -> Parsed<Token> {
        match self.take_if(kind) {
            Some(token) => Ok(token),
            None => Err(self.unexpected(what)),
        }
    }

    fn text(&self, span: Span) -> &'a str {
        &self.source[span.start as usize..span.end as usize]
    }

    /// The place of the token taken last.
    fn last_span(&self) -> Span {
        self.tokens[self.next.saturating_sub(1)].span
    }

    /// From `start` to the end of the token taken last.
    fn since(&self, start: Span) -> Span {
        Span { start: start.start, end: self.last_span().end.max(start.end) }
    }

    /// Notes a fault and goes on.
    fn note(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Notes a fault that ends the rule.
    fn fail(&mut self, diagnostic: Diagnostic) -> Reported {
        self.note(diagnostic);
        Reported
    }

    /// "expected `what`, found …"
    fn unexpected(&mut self, what: &str) -> Reported {
        let found = self.peek();
        let message = format!("expected {what}, found {}", self.describe(found));
        let mut diagnostic = Diagnostic::error("unexpected-token", found.span, message);
        if let Some(help) = self.spelling_help(found) {
            diagnostic = diagnostic.help(help);
        }
        self.fail(diagnostic)
    }

    fn describe(&self, token: Token) -> String {
        let text = quoted(self.text(token.span));
        match token.kind {
            TokenKind::End => "the end of the query".into(),
            TokenKind::String | TokenKind::RawString | TokenKind::BadString => format!("the string {text}"),
            TokenKind::Integer | TokenKind::Decimal => format!("the number {text}"),
            kind if kind.is_keyword() => format!("the keyword {text}"),
            _ => text,
        }
    }

    /// What an identifier in the wrong place may have been meant as.
    fn spelling_help(&self, token: Token) -> Option<String> {
        let text = self.text(token.span);
        match token.kind {
            TokenKind::Identifier if crate::lexer::is_reserved(&text.to_ascii_lowercase()) => {
                Some(format!("keywords are lower-case: write `{}`", text.to_ascii_lowercase()))
            }
            _ => None,
        }
    }

    fn end(&mut self) -> Parsed<()> {
        match self.kind() {
            TokenKind::End => Ok(()),
            TokenKind::CloseParen => Err(self.unmatched(')')),
            TokenKind::CloseBracket => Err(self.unmatched(']')),
            _ => Err(self.unexpected("an operator or the end of the query")),
        }
    }

    fn unmatched(&mut self, bracket: char) -> Reported {
        let message = format!("this `{bracket}` closes nothing");
        self.fail(Diagnostic::error("unmatched-bracket", self.peek().span, message))
    }

    fn too_deep(&mut self, span: Span) -> Reported {
        let message = format!("the expression is nested more than {MAX_DEPTH} deep");
        self.fail(Diagnostic::error("nested-too-deep", span, message))
    }
}
