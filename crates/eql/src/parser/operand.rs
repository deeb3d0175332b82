//! Operands: constants, fields, function calls, parentheses, and the predicates that attach to them.

use super::expression::{Node, faulty};
use super::{Parsed, Parser, Reported};
use crate::ast::{Dialect, Expr, ExprKind, Field, Function, Literal, MatchOp, Relation, Span, StringLiteral};
use crate::diagnostic::{Diagnostic, quoted};
use crate::function::{Signature, retired};
use crate::lexer::{Number, TokenKind, decode_identifier, decode_number, decode_string};
use crate::limits::MAX_LIST_ITEMS;

/// What attaches to a primary.
enum Predicate {
    In { fold: bool, negated: bool },
    Match(MatchOp),
}

impl Parser<'_> {
    /// A primary, with `:`, `like`, `regex` or `in` after it or not.
    pub(super) fn predicate(&mut self) -> Parsed<Node> {
        let subject = self.primary()?;
        let Some((predicate, tokens)) = self.predicate_ahead() else {
            return Ok(subject);
        };
        for _ in 0..tokens {
            self.take();
        }
        let node = match predicate {
            Predicate::In { fold, negated } => self.membership(subject, fold, negated)?,
            Predicate::Match(op) => self.pattern_match(subject, op)?,
        };
        if self.predicate_ahead().is_some() {
            let message = "predicates cannot be chained";
            let help = "join two predicates with `and` or `or`";
            return Err(self.fail(Diagnostic::error("chained-comparison", self.peek().span, message).help(help)));
        }
        Ok(node)
    }

    /// The predicate that comes next, and of how many tokens its operator is.
    fn predicate_ahead(&self) -> Option<(Predicate, usize)> {
        use TokenKind as T;
        let (kind, negated) = match self.kind() {
            T::Not => (self.peek_at(1).kind, true),
            kind => (kind, false),
        };
        let predicate = match kind {
            T::In => Predicate::In { fold: false, negated },
            T::InFold => Predicate::In { fold: true, negated },
            _ if negated => return None,
            T::Colon => Predicate::Match(MatchOp::Colon),
            T::Like => Predicate::Match(MatchOp::Like),
            T::LikeFold => Predicate::Match(MatchOp::LikeFold),
            T::Regex => Predicate::Match(MatchOp::Regex),
            T::RegexFold => Predicate::Match(MatchOp::RegexFold),
            _ => return None,
        };
        Some((predicate, 1 + usize::from(negated)))
    }

    fn membership(&mut self, subject: Node, fold: bool, negated: bool) -> Parsed<Node> {
        if self.kind() != TokenKind::OpenParen {
            return Err(self.no_list());
        }
        let items = self.list("a value", Self::expression)?;
        let (mut depth, mut list) = (subject.depth, Vec::with_capacity(items.len()));
        for item in items {
            if !item.constant {
                let message = "the elements of an `in` list must be constants";
                self.note(Diagnostic::error("not-constant", item.expr.span, message));
            }
            depth = depth.max(item.depth);
            list.push(item.expr);
        }
        let span = self.since(subject.expr.span);
        let depth = self.deeper(depth, span)?;
        let kind = ExprKind::In { subject: Box::new(subject.expr), fold, negated, list };
        Ok(Node { expr: Expr { kind, span }, depth, constant: subject.constant })
    }

    fn no_list(&mut self) -> Reported {
        let found = self.peek();
        let message = format!("expected a list in parentheses after `in`, found {}", self.describe(found));
        let diagnostic = Diagnostic::error("unexpected-token", found.span, message);
        self.fail(diagnostic.help("write `in (…)`, for one value too"))
    }

    fn pattern_match(&mut self, subject: Node, op: MatchOp) -> Parsed<Node> {
        let operator = self.last_span();
        let patterns = match self.kind() {
            TokenKind::OpenParen => self.list("a string", |parser| parser.pattern(operator))?,
            _ => vec![self.pattern(operator)?],
        };
        let span = self.since(subject.expr.span);
        let depth = self.deeper(subject.depth, span)?;
        let kind = ExprKind::Match { op, subject: Box::new(subject.expr), patterns };
        Ok(Node { expr: Expr { kind, span }, depth, constant: subject.constant })
    }

    /// A string after `:`, `like` or `regex`.
    fn pattern(&mut self, operator: Span) -> Parsed<StringLiteral> {
        use TokenKind as T;
        let token = self.peek();
        let shown = |parser: &Self| quoted(parser.text(operator));
        match token.kind {
            kind if kind.is_string() => Ok(self.string_literal()),
            T::Integer | T::Decimal | T::True | T::False | T::Null | T::Minus | T::Plus => {
                let message = format!("{} takes strings only, found {}", shown(self), self.describe(token));
                self.signed_constant()?;
                let value = quoted(self.text(self.since(token.span)));
                let help = format!("write `== {}`, or `in (…)` for a list", value.trim_matches('`'));
                self.note(Diagnostic::error("pattern-not-string", self.since(token.span), message).help(help));
                Ok(StringLiteral { value: String::new(), raw: false, span: token.span })
            }
            T::Identifier | T::QuotedIdentifier | T::TildeIdentifier | T::Question => {
                let message = format!("what follows {} must be a string constant", shown(self));
                Err(self.fail(Diagnostic::error("not-constant", token.span, message)))
            }
            _ => Err(self.unexpected(&format!("a string after {}", shown(self)))),
        }
    }

    /// Skips a constant that stands where it may not, with its sign.
    fn signed_constant(&mut self) -> Parsed<()> {
        while matches!(self.kind(), TokenKind::Minus | TokenKind::Plus) {
            self.take();
        }
        self.primary().map(drop)
    }

    /// `(a, b, …)`: one element or more.
    fn list<T>(&mut self, what: &str, mut element: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let open = self.expect(TokenKind::OpenParen, "`(`")?;
        if let Some(close) = self.take_if(TokenKind::CloseParen) {
            let span = Span { start: open.span.start, end: close.span.end };
            return Err(self.fail(Diagnostic::error("empty-list", span, format!("expected {what} in the list"))));
        }
        self.elements(open.span, what, &mut element)
    }

    /// The elements after an opening parenthesis, up to and with the closing one.
    fn elements<T>(
        &mut self,
        open: Span,
        what: &str,
        element: &mut impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut elements = Vec::new();
        loop {
            if elements.len() == MAX_LIST_ITEMS {
                let message = format!("the list has more than {MAX_LIST_ITEMS} elements");
                return Err(self.fail(Diagnostic::error("list-too-long", self.peek().span, message)));
            }
            elements.push(element(self)?);
            if self.take_if(TokenKind::Comma).is_none() {
                break;
            }
            if self.kind() == TokenKind::CloseParen {
                return Err(self.unexpected(&format!("{what} after the comma")));
            }
        }
        self.close_paren(open)?;
        Ok(elements)
    }

    fn close_paren(&mut self, open: Span) -> Parsed<()> {
        if self.take_if(TokenKind::CloseParen).is_some() {
            return Ok(());
        }
        let found = self.peek();
        let message = format!("expected `)`, found {}", self.describe(found));
        let mut diagnostic = Diagnostic::error("unexpected-token", found.span, message).label(open, "opened here");
        if let Some(help) = self.spelling_help(found) {
            diagnostic = diagnostic.help(help);
        }
        Err(self.fail(diagnostic))
    }

    fn primary(&mut self) -> Parsed<Node> {
        use TokenKind as T;
        let token = self.peek();
        let literal = match token.kind {
            T::Null => Literal::Null,
            T::True => Literal::Boolean(true),
            T::False => Literal::Boolean(false),
            T::Integer | T::Decimal => self.number_literal(),
            kind if kind.is_string() => {
                let string = self.string_literal();
                return Ok(Node::leaf(ExprKind::Literal(Literal::String(string)), token.span));
            }
            T::OpenParen => return self.parenthesised(),
            T::TildeIdentifier => return self.call(),
            T::Identifier if self.peek_at(1).kind == T::OpenParen => return self.call(),
            T::Identifier if self.event_field_ahead() => return self.event_field(),
            T::Identifier if self.peek_at(1).kind == T::Of => return self.relation(),
            T::Identifier | T::QuotedIdentifier | T::Question => {
                let field = self.field()?;
                let span = self.since(token.span);
                return Ok(Node::leaf(ExprKind::Field(field), span));
            }
            _ => return Err(self.no_operand()),
        };
        self.take();
        Ok(Node::leaf(ExprKind::Literal(literal), token.span))
    }

    fn no_operand(&mut self) -> Reported {
        let token = self.peek();
        let text = self.text(token.span);
        let after = self.peek_at(1).kind;
        if token.kind.is_keyword() && !matches!(token.kind, TokenKind::And | TokenKind::Or | TokenKind::Not)
            || matches!(after, TokenKind::Dot | TokenKind::Colon | TokenKind::Equal | TokenKind::NotEqual)
                && token.kind.is_keyword()
        {
            let message = format!("the keyword `{text}` cannot be a field name as it stands");
            let help = format!("put it in backticks: `` `{text}` ``");
            return self.fail(Diagnostic::error("keyword-as-name", token.span, message).help(help));
        }
        self.unexpected("a field, a constant, a function or `(`")
    }

    fn parenthesised(&mut self) -> Parsed<Node> {
        let open = self.take().span;
        if self.kind() == TokenKind::CloseParen {
            return Err(self.unexpected("an expression"));
        }
        let mut node = self.expression()?;
        if self.kind() == TokenKind::Comma {
            let message = "a list can only follow `in`, `:`, `like` or `regex`";
            return Err(self.fail(Diagnostic::error("unexpected-token", self.peek().span, message)));
        }
        self.close_paren(open)?;
        node.expr.span = self.since(open);
        Ok(node)
    }

    /// The value of the number that comes next, which is not taken. One too large was noted by the lexer.
    fn number_literal(&self) -> Literal {
        match decode_number(self.text(self.peek().span)) {
            Some(Number::Int(value)) => Literal::Int(value),
            Some(Number::Unsigned(value)) => Literal::UnsignedLong(value),
            Some(Number::Double(value)) => Literal::Double(value),
            None => Literal::Double(f64::MAX),
        }
    }

    /// Takes a string token. Its faults were noted by the lexer.
    pub(super) fn string_literal(&mut self) -> StringLiteral {
        let token = self.take();
        let text = self.text(token.span);
        let raw = token.kind == TokenKind::RawString;
        let value = match token.kind {
            TokenKind::String => decode_string(&text[1..text.len() - 1], |_, _| {}),
            TokenKind::RawString => text[3..text.len() - 3].into(),
            _ => text.into(),
        };
        StringLiteral { value, raw, span: token.span }
    }

    /// `a.b`, `?a.b`, with any segment in backticks.
    fn field(&mut self) -> Parsed<Field> {
        let start = self.peek().span;
        let optional = self.take_if(TokenKind::Question).is_some();
        let mut name = self.segment("a field name")?;
        while self.take_if(TokenKind::Dot).is_some() {
            name.push('.');
            name.push_str(&self.segment("a name after `.`")?);
        }
        self.forbid_index(start)?;
        Ok(Field { name, optional, span: self.since(start) })
    }

    /// Whether `events[…]` comes next, where it means an event of a sequence.
    fn event_field_ahead(&self) -> bool {
        let next: [TokenKind; 3] = std::array::from_fn(|ahead| self.peek_at(ahead + 1).kind);
        self.events > 0
            && self.text(self.peek().span) == "events"
            && next == [TokenKind::OpenBracket, TokenKind::Integer, TokenKind::CloseBracket]
    }

    /// `events[0].name`
    fn event_field(&mut self) -> Parsed<Node> {
        let start = self.take().span;
        self.take();
        let index = self.take().span;
        self.take();
        let event = self.text(index).parse().ok().filter(|event| u64::from(*event) < self.events);
        if event.is_none() {
            let message = format!("the sequence has {} events, counted from 0", self.events);
            self.note(Diagnostic::error("event-index", index, message));
        }
        self.expect(TokenKind::Dot, "`.` and a field name")?;
        let field = self.field()?;
        let kind = ExprKind::EventField { event: event.unwrap_or(0), field };
        Ok(Node::leaf(kind, self.since(start)))
    }

    fn segment(&mut self, what: &str) -> Parsed<String> {
        let token = self.peek();
        let text = self.text(token.span);
        match token.kind {
            TokenKind::Identifier => {
                self.take();
                Ok(text.into())
            }
            TokenKind::QuotedIdentifier => {
                self.take();
                Ok(decode_identifier(text))
            }
            kind if kind.is_keyword() => {
                let message = format!("the keyword `{text}` cannot be part of a field name as it stands");
                let help = format!("put it in backticks: `` `{text}` ``");
                self.note(Diagnostic::error("keyword-as-name", token.span, message).help(help));
                self.take();
                Ok(text.into())
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// `a[0]` and `a.5`, which look like parts of a name.
    fn forbid_index(&mut self, start: Span) -> Parsed<()> {
        let next = self.peek();
        if next.kind == TokenKind::OpenBracket && self.peek_at(1).kind == TokenKind::Integer {
            let message = "array elements cannot be picked by position";
            let help = "a predicate holds if any value of the field satisfies it: leave out the index";
            return Err(self.fail(Diagnostic::error("array-index", next.span, message).help(help)));
        }
        if next.kind == TokenKind::Decimal && next.span.start == self.last_span().end {
            let rest = &self.source[next.span.start as usize + 1..];
            let digits = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
            let digits = crate::diagnostic::quoted(digits);
            let message = "a part of a field name that begins with a digit needs backticks";
            let help = format!("write `` {}.{digits} ``", self.text(self.since(start)));
            return Err(self.fail(Diagnostic::error("digit-as-name", next.span, message).help(help)));
        }
        Ok(())
    }

    /// `child of [filter]`
    fn relation(&mut self) -> Parsed<Node> {
        let span = self.peek().span;
        let word = self.text(span);
        let relation = Relation::ALL.into_iter().find(|relation| relation.name() == word);
        let Some(relation) = relation.filter(|_| self.dialect == Dialect::Extended && !self.in_pipe) else {
            return Err(self.no_relation(span));
        };
        self.take();
        self.take();
        let open = self.expect(TokenKind::OpenBracket, "`[` after `of`")?;
        let Some((filter, depth)) = self.bracketed(open)? else { return Ok(Node::leaf(faulty(span).kind, span)) };
        let span = self.since(span);
        let depth = self.deeper(depth, span)?;
        let kind = ExprKind::Relation { relation, filter: Box::new(filter) };
        Ok(Node { expr: Expr { kind, span }, depth, constant: false })
    }

    fn no_relation(&mut self, span: Span) -> Reported {
        let name = quoted(&format!("{} of", self.text(span)));
        let (message, help) = match self.dialect {
            Dialect::Elastic => (
                format!("{name} is not supported by Elasticsearch"),
                "use `sequence by`; `eqlipse query` without `--dialect elastic` has relations, rules do not",
            ),
            Dialect::Extended if self.in_pipe => (format!("{name} cannot stand in a pipe"), "put it after `where`"),
            Dialect::Extended => {
                (format!("unknown relation {name}"), "there are `child of`, `descendant of` and `event of`")
            }
        };
        self.fail(Diagnostic::error("unsupported-relationship", span, message).help(help))
    }

    /// `name(args)` or `name~(args)`.
    fn call(&mut self) -> Parsed<Node> {
        let token = self.take();
        let fold = token.kind == TokenKind::TildeIdentifier;
        let name = Span { end: token.span.end - u32::from(fold), ..token.span };
        let open = self.expect(TokenKind::OpenParen, "`(` after a function name")?;
        let args = match self.take_if(TokenKind::CloseParen) {
            Some(_) => Vec::new(),
            None => self.elements(open.span, "an argument", &mut Self::expression)?,
        };
        let span = self.since(token.span);
        let depth = self.deeper(args.iter().map(|arg| arg.depth).max().unwrap_or(0), span)?;
        let constant = args.iter().all(|arg| arg.constant);
        let Some(function) = self.function(name) else {
            return Ok(Node { expr: faulty(span), depth: 1, constant });
        };
        self.check_call(function.signature(), name, fold, &args, span);
        let args = args.into_iter().map(|arg| arg.expr).collect();
        let kind = ExprKind::Call { function, fold, args, name };
        Ok(Node { expr: Expr { kind, span }, depth, constant })
    }

    fn function(&mut self, name: Span) -> Option<Function> {
        let text = self.text(name);
        let found = Function::from_name(text);
        if found.is_none() {
            let retired = retired(text);
            let message = match retired {
                Some((known, _)) => format!("the function `{known}` is not supported by Elasticsearch"),
                None => format!("unknown function {}", quoted(text)),
            };
            let nearest = || Function::nearest(text).map(|near| format!("did you mean `{}`?", near.name()));
            let help = retired.map_or_else(nearest, |(_, help)| help.map(Into::into));
            self.note(Diagnostic { help, ..Diagnostic::error("unknown-function", name, message) });
        }
        found
    }

    fn check_call(&mut self, signature: &Signature, name: Span, fold: bool, args: &[Node], span: Span) {
        if fold && !signature.fold {
            let message = format!("`{}` has no form that ignores case", signature.name);
            self.note(Diagnostic::error("no-fold-form", name, message).help("leave out the `~`"));
        }
        let (min, max) = (signature.min_args(), signature.max_args());
        if args.len() < min || max.is_some_and(|max| args.len() > max) {
            let wanted = match max {
                Some(max) if max == min => format!("{min}"),
                Some(max) => format!("{min} to {max}"),
                None => format!("at least {min}"),
            };
            let plural = if wanted == "1" || wanted == "at least 1" { "" } else { "s" };
            let message = format!("`{}` takes {wanted} argument{plural}, found {}", signature.name, args.len());
            let help = format!("usage: {}", signature.usage());
            self.note(Diagnostic::error("argument-count", span, message).help(help));
        }
        for (index, arg) in args.iter().enumerate() {
            if let Some(param) = signature.param(index).filter(|param| param.constant && !arg.constant) {
                let message = format!("the argument `{}` of `{}` must be a constant", param.name, signature.name);
                self.note(Diagnostic::error("not-constant", arg.expr.span, message));
            }
        }
    }
}
