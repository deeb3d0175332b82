//! Text to tokens.
//!
//! Tokens carry their kind and place only; what a string or number holds is decoded when the parser takes it. Faults
//! that leave no doubt of what was meant (`'…'`, `=>`, `&&`) are reported and repaired, so that later faults of the
//! same query are found too.

mod comments;
mod literal;

use crate::ast::Span;
use crate::diagnostic::{Diagnostic, quoted};

pub(crate) use comments::{Comment, Gap, gap};
pub(crate) use literal::{Number, decode_identifier, decode_number, decode_string};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

/// Kinds of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Identifier,
    /// `name~`
    TildeIdentifier,
    /// `` `name` ``
    QuotedIdentifier,
    /// `"…"`
    String,
    /// `"""…"""`
    RawString,
    /// `'…'` and `?"…"`, already reported.
    BadString,
    Integer,
    Decimal,
    And,
    Any,
    By,
    False,
    In,
    InFold,
    Join,
    Like,
    LikeFold,
    Maxspan,
    Not,
    Null,
    Of,
    Or,
    Regex,
    RegexFold,
    Sample,
    Sequence,
    True,
    Until,
    Where,
    With,
    Assign,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Colon,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Dot,
    Comma,
    OpenBracket,
    CloseBracket,
    /// `![`
    OpenMissing,
    OpenParen,
    CloseParen,
    Pipe,
    Question,
    End,
}

impl TokenKind {
    fn keyword(word: &str) -> Option<Self> {
        Some(match word {
            "and" => Self::And,
            "any" => Self::Any,
            "by" => Self::By,
            "false" => Self::False,
            "in" => Self::In,
            "join" => Self::Join,
            "like" => Self::Like,
            "maxspan" => Self::Maxspan,
            "not" => Self::Not,
            "null" => Self::Null,
            "of" => Self::Of,
            "or" => Self::Or,
            "regex" => Self::Regex,
            "sample" => Self::Sample,
            "sequence" => Self::Sequence,
            "true" => Self::True,
            "until" => Self::Until,
            "where" => Self::Where,
            "with" => Self::With,
            _ => return None,
        })
    }

    /// Whether the token is one of the language's reserved words.
    pub(crate) fn is_keyword(self) -> bool {
        (Self::And as u8..=Self::With as u8).contains(&(self as u8))
    }

    /// Whether the token is a string constant, well written or not.
    pub(crate) fn is_string(self) -> bool {
        matches!(self, Self::String | Self::RawString | Self::BadString)
    }
}

/// Whether `word` is reserved, so that it needs backticks as a field name and quotes as a category.
pub(crate) fn is_reserved(word: &str) -> bool {
    TokenKind::keyword(word).is_some()
}

/// Whether `text` can stand as one segment of a field name without backticks.
pub(crate) fn is_plain_identifier(text: &str) -> bool {
    text.starts_with(is_identifier_start) && text.chars().all(is_identifier_part) && !is_reserved(text)
}

fn is_identifier_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '@')
}

fn is_identifier_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What the lexer made of a text.
pub(crate) struct Lexed {
    /// The tokens, the last of which is [`TokenKind::End`].
    pub tokens: Vec<Token>,
    /// The faults found.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether a fault leaves the tokens after it in doubt.
    pub broken: bool,
}

/// Splits `source`, whose length must fit `u32`, into tokens.
pub(crate) fn lex(source: &str) -> Lexed {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new(), diagnostics: Vec::new(), broken: false };
    while !lexer.rest().is_empty() && lexer.diagnostics.len() < crate::limits::MAX_DIAGNOSTICS {
        lexer.next();
    }
    let end = Span { start: source.len() as u32, end: source.len() as u32 };
    lexer.tokens.push(Token { kind: TokenKind::End, span: end });
    Lexed { tokens: lexer.tokens, diagnostics: lexer.diagnostics, broken: lexer.broken }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
    diagnostics: Vec<Diagnostic>,
    broken: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn span(&self, length: usize) -> Span {
        Span { start: self.at as u32, end: (self.at + length) as u32 }
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        self.tokens.push(Token { kind, span: self.span(length) });
        self.at += length;
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports a fault at the next `length` bytes after which nothing is certain.
    fn fail(&mut self, diagnostic: Diagnostic) {
        self.broken = true;
        self.report(diagnostic);
    }

    fn next(&mut self) {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        match bytes[0] {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            }
            b'/' if rest.starts_with("//") => self.at += rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => self.block_comment(),
            b'"' if rest.starts_with("\"\"\"") => self.raw_string(),
            b'"' => self.string(),
            b'\'' => self.single_quotes(0),
            b'?' if rest[1..].starts_with(['"', '\'']) => self.single_quotes(1),
            b'`' => self.quoted_identifier(),
            b'0'..=b'9' => self.number(),
            b'.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => self.number(),
            b'$' if rest[1..].starts_with(is_identifier_start) => self.variable(),
            c if is_identifier_start(c.into()) => self.word(),
            _ => self.symbol(),
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        let length = 1 + rest[1..].find(|c| !is_identifier_part(c)).unwrap_or(rest.len() - 1);
        let tilde = rest[length..].starts_with('~');
        let kind = match (TokenKind::keyword(&rest[..length]), tilde) {
            (Some(TokenKind::In), true) => TokenKind::InFold,
            (Some(TokenKind::Like), true) => TokenKind::LikeFold,
            (Some(TokenKind::Regex), true) => TokenKind::RegexFold,
            (None, true) => TokenKind::TildeIdentifier,
            (Some(keyword), _) => return self.push(keyword, length),
            (None, false) => return self.push(TokenKind::Identifier, length),
        };
        self.push(kind, length + 1);
    }

    /// `$name`, which Elastic Endpoint's dialect has; read as a field.
    fn variable(&mut self) {
        const CODE: &str = "unsupported-variable";
        let rest = self.rest();
        let length = 1 + rest[1..].find(|c| !is_identifier_part(c)).unwrap_or(rest.len() - 1);
        if self.diagnostics.iter().all(|diagnostic| diagnostic.code != CODE) {
            let message = format!("variables such as {} are not supported by Elasticsearch", quoted(&rest[..length]));
            let help = "they belong to the dialect of Elastic Endpoint";
            self.report(Diagnostic::error(CODE, self.span(length), message).help(help));
        }
        self.push(TokenKind::Identifier, length);
    }

    fn number(&mut self) {
        let rest = self.rest();
        let length = literal::number_length(rest);
        let whole = rest.as_bytes()[..length].iter().all(u8::is_ascii_digit);
        if decode_number(&rest[..length]).is_none() {
            let span = self.span(length);
            let message = format!("the number {} is too large", quoted(&rest[..length]));
            self.report(Diagnostic::error("number-too-large", span, message));
        }
        self.push(if whole { TokenKind::Integer } else { TokenKind::Decimal }, length);
    }

    fn string(&mut self) {
        let rest = self.rest();
        let Some(length) = literal::string_length(rest, '"') else {
            return self.unclosed("string", "\"");
        };
        let base = self.at;
        let mut faults = Vec::new();
        decode_string(&rest[1..length - 1], |range, message| faults.push((range, message)));
        for (range, message) in faults {
            let span = Span { start: (base + 1 + range.start) as u32, end: (base + 1 + range.end) as u32 };
            let help = r#"escapes are \b \t \n \f \r \" \\ and \u{…}; write a backslash as \\, or use """…""""#;
            self.report(Diagnostic::error("bad-escape", span, message).help(help));
        }
        self.push(TokenKind::String, length);
    }

    fn raw_string(&mut self) {
        let rest = self.rest();
        let close = rest[3..].find("\"\"\"").filter(|close| !rest[3..][..*close].contains(['\r', '\n']));
        let Some(close) = close else {
            return self.unclosed("raw string", "\"\"\"");
        };
        let end = close + 6;
        let extra = rest[end..].bytes().take(2).take_while(|byte| *byte == b'"').count();
        self.push(TokenKind::RawString, end + extra);
    }

    fn unclosed(&mut self, what: &str, quote: &str) {
        let rest = self.rest();
        let line = rest[quote.len()..].find(['\r', '\n']).map_or(rest.len(), |at| at + quote.len());
        let span = self.span(line);
        let message = format!("this {what} is not closed on its line");
        self.fail(Diagnostic::error("unclosed-string", span, message).help(format!("close it with {quote}")));
        self.push(TokenKind::BadString, line);
    }

    /// `'…'`, `?"…"` and `?'…'`, which older dialects had.
    fn single_quotes(&mut self, prefix: usize) {
        let rest = &self.rest()[prefix..];
        let quote = if rest.starts_with('\'') { '\'' } else { '"' };
        let Some(length) = literal::string_length(rest, quote) else {
            return self.unclosed("string", &self.rest()[..prefix + 1]);
        };
        let length = length + prefix;
        let span = self.span(length);
        self.report(if prefix == 0 {
            Diagnostic::error("single-quotes", span, "strings are written in double quotes")
                .help("replace the single quotes by double quotes")
        } else {
            Diagnostic::error("old-raw-string", span, "`?` before a string is no longer part of the language")
                .help(r#"write a raw string as """…""""#)
        });
        self.push(TokenKind::BadString, length);
    }

    fn quoted_identifier(&mut self) {
        let rest = self.rest();
        let Some(length) = literal::quoted_identifier_length(rest) else {
            let line = rest.find(['\r', '\n']).unwrap_or(rest.len());
            let span = self.span(line);
            self.fail(Diagnostic::error("unclosed-backtick", span, "this name is not closed on its line"));
            return self.push(TokenKind::QuotedIdentifier, line);
        };
        if length == 2 {
            self.report(Diagnostic::error("empty-name", self.span(2), "a name cannot be empty"));
        }
        self.push(TokenKind::QuotedIdentifier, length);
    }

    fn block_comment(&mut self) {
        let rest = self.rest();
        let length = comments::block_comment(rest.as_bytes());
        if length.is_none() {
            let diagnostic = Diagnostic::error("unclosed-comment", self.span(2), "this comment is not closed");
            self.fail(diagnostic.help("comments nest: each `/*` needs its own `*/`"));
        }
        self.at += length.unwrap_or(rest.len());
    }

    fn symbol(&mut self) {
        use TokenKind as T;
        const SYMBOLS: [(&str, TokenKind); 22] = [
            ("![", T::OpenMissing),
            ("==", T::Equal),
            ("!=", T::NotEqual),
            ("<=", T::LessEqual),
            (">=", T::GreaterEqual),
            ("<", T::Less),
            (">", T::Greater),
            ("=", T::Assign),
            (":", T::Colon),
            ("+", T::Plus),
            ("-", T::Minus),
            ("*", T::Star),
            ("/", T::Slash),
            ("%", T::Percent),
            (".", T::Dot),
            (",", T::Comma),
            ("[", T::OpenBracket),
            ("]", T::CloseBracket),
            ("(", T::OpenParen),
            (")", T::CloseParen),
            ("|", T::Pipe),
            ("?", T::Question),
        ];
        let rest = self.rest();
        if self.foreign_symbol() {
            return;
        }
        let known = SYMBOLS.iter().find(|(text, _)| rest.starts_with(text));
        match known {
            Some((text, kind)) => self.push(*kind, text.len()),
            None => self.unknown_characters(),
        }
    }

    /// Operators of other languages: reported, and read as what they mean here.
    fn foreign_symbol(&mut self) -> bool {
        use TokenKind as T;
        const FOREIGN: [(&str, TokenKind, &str); 8] = [
            ("&&", T::And, "write `and`"),
            ("||", T::Or, "write `or`"),
            ("<>", T::NotEqual, "write `!=`"),
            ("===", T::Equal, "write `==`"),
            ("!==", T::NotEqual, "write `!=`"),
            ("=>", T::GreaterEqual, "write `>=`"),
            ("=<", T::LessEqual, "write `<=`"),
            ("!:", T::Colon, "`:` has no negated form: write `not field : \"value\"`"),
        ];
        let rest = self.rest();
        let missing = rest.strip_prefix('!').filter(|rest| rest.trim_start().starts_with('['));
        let (length, kind, help) = if let Some((text, kind, help)) = FOREIGN.iter().find(|f| rest.starts_with(f.0)) {
            (text.len(), *kind, *help)
        } else if let Some(after) = missing.filter(|after| !after.starts_with('[')) {
            let gap = after.len() - after.trim_start().len();
            (gap + 2, T::OpenMissing, "write `![` without a space")
        } else if rest.starts_with('!') && !rest.starts_with("![") && !rest.starts_with("!=") {
            (1, T::Not, "write `not`")
        } else {
            return false;
        };
        let message = format!("unknown operator {}", quoted(&rest[..length]));
        self.report(Diagnostic::error("unknown-operator", self.span(length), message).help(help));
        self.push(kind, length);
        true
    }

    fn unknown_characters(&mut self) {
        let rest = self.rest();
        let known =
            |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '$' | '&' | ';' | '\\' | '^' | '{' | '}' | '~');
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let length =
            rest[first..].find(|c: char| known(c) || c.is_ascii_whitespace()).map_or(rest.len(), |n| n + first);
        let text = &rest[..length];
        let message = match text.chars().next() {
            Some(c) if c.is_whitespace() || crate::diagnostic::is_invisible(c) => {
                format!("U+{:04X} is an invisible character that means nothing here", u32::from(c))
            }
            _ => format!("{} means nothing here", quoted(text)),
        };
        let mut diagnostic = Diagnostic::error("unknown-character", self.span(length), message);
        if text.contains(['“', '”', '„', '«', '»']) {
            diagnostic = diagnostic.help("strings are written in straight double quotes: \"…\"");
        } else if text.chars().any(char::is_alphanumeric) {
            diagnostic = diagnostic.help("field names beyond ASCII letters, digits, `_` and `@` need backticks");
        }
        self.fail(diagnostic);
        self.at += length;
    }
}

#[cfg(test)]
mod tests;
