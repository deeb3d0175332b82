//! The filters of `_find` and `_bulk_action`: KQL, as Kibana's clients send it.
//!
//! `alert.attributes.tags: ("a" or "b") and not alert.attributes.params.immutable: true`: fields with values, ranges and
//! lists of values, `and`, `or`, `not` in any case, wildcards outside quotes, `*` for "is there".

use serde_json::Value;
use thiserror::Error;

use crate::dsl::Pattern;

/// How deep parentheses may stand in each other.
const MAX_DEPTH: usize = 64;
/// The longest filter, in bytes. Rules are asked for by their ids, a thousand at a time and more.
const MAX_LENGTH: usize = 1 << 20;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("KQLSyntaxError: {reason} at character {place}")]
pub struct KqlError {
    reason: String,
    /// In characters, from 1.
    place: usize,
}

/// A filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Kql {
    /// All pass.
    All,
    /// Both and more.
    And(Vec<Kql>),
    /// Any of them.
    Or(Vec<Kql>),
    /// The other way round.
    Not(Box<Kql>),
    /// A field with a value; without a field, any.
    Is(Option<String>, Test),
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is there.
    Exists,
    /// It is this: in quotes the whole, else a pattern or one of several words.
    Text {
        /// As it was meant.
        text: String,
        /// With the wildcards that it has.
        pattern: Option<Pattern>,
        /// Whether it stood in quotes.
        quoted: bool,
    },
    /// It is above or below.
    Range(Comparison, String),
}

/// How a range compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Colon,
    Range(Comparison),
    And,
    Or,
    Not,
    Word { text: String, pattern: String, wild: bool },
    Quoted(String),
}

/// What rules have for a filter.
pub trait Lookup {
    /// The values of a field.
    fn values(&self, field: &str) -> Vec<Value>;
    /// Whether it is a field of words, in which parts of a value may match.
    fn has_words(&self, field: &str) -> bool;
    /// The fields that a value without a field is looked for in.
    fn default_fields(&self) -> &[&str];
}

impl Kql {
    /// Reads a filter.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, KqlError> {
        if text.len() > MAX_LENGTH {
            return Err(KqlError { reason: format!("the filter is longer than {MAX_LENGTH} bytes"), place: 1 });
        }
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(Self::All);
        }
        let end = text.chars().count() + 1;
        let mut parser = Parser { tokens, at: 0, end };
        let parsed = parser.or(0)?;
        match parser.peek() {
            None => Ok(parsed),
            Some(_) => Err(parser.unexpected("the end or [and], [or]")),
        }
    }

    /// Says whether a rule passes.
    pub fn matches(&self, rule: &dyn Lookup) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.matches(rule)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(rule)),
            Self::Not(part) => !part.matches(rule),
            Self::Is(Some(field), test) => test.holds(rule, field),
            Self::Is(None, test) => rule.default_fields().iter().any(|field| test.holds(rule, field)),
        }
    }
}

impl Test {
    fn holds(&self, rule: &dyn Lookup, field: &str) -> bool {
        let values = rule.values(field);
        match self {
            Self::Exists => values.iter().any(|value| !value.is_null()),
            Self::Range(comparison, bound) => values.iter().any(|value| comparison.holds(value, bound)),
            Self::Text { text, pattern, quoted } => values.iter().filter_map(scalar).any(|value| match pattern {
                Some(pattern) if rule.has_words(field) => {
                    let lower = value.to_lowercase();
                    pattern.matches(&lower)
                        || lower.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| pattern.matches(word))
                }
                Some(pattern) => pattern.matches(&value),
                None if rule.has_words(field) => has_words(&value, text, *quoted),
                None => value == *text,
            }),
        }
    }
}

fn has_words(value: &str, text: &str, in_order: bool) -> bool {
    let lower = |text: &str| -> Vec<String> {
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (value, wanted) = (lower(value), lower(text));
    match in_order {
        _ if wanted.is_empty() => false,
        true => value.windows(wanted.len()).any(|window| *window == wanted[..]),
        false => wanted.iter().any(|word| value.contains(word)),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

impl Comparison {
    fn holds(self, value: &Value, bound: &str) -> bool {
        let Some(text) = scalar(value) else { return false };
        let order = match (text.parse::<f64>(), bound.parse::<f64>()) {
            (Ok(value), Ok(bound)) => value.total_cmp(&bound),
            _ => text.as_str().cmp(bound),
        };
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// The tokens, each with its place in characters from 1.
fn tokens(text: &str) -> Result<Vec<(Token, usize)>, KqlError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().enumerate().map(|(place, c)| (place + 1, c)).peekable();
    while let Some(&(place, next)) = chars.peek() {
        let token = match next {
            c if c.is_whitespace() => {
                chars.next();
                continue;
            }
            '(' | ')' | ':' => {
                chars.next();
                match next {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    _ => Token::Colon,
                }
            }
            '<' | '>' => {
                chars.next();
                let equal = chars.next_if(|(_, c)| *c == '=').is_some();
                Token::Range(match (next, equal) {
                    ('<', false) => Comparison::Less,
                    ('<', true) => Comparison::LessOrEqual,
                    (_, false) => Comparison::Greater,
                    (_, true) => Comparison::GreaterOrEqual,
                })
            }
            '{' | '}' => {
                return Err(KqlError { reason: "nested queries with braces are not supported".to_owned(), place });
            }
            '"' => {
                chars.next();
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        None => return Err(KqlError { reason: "a quote is not closed".to_owned(), place }),
                        Some((_, '"')) => break,
                        Some((_, '\\')) => match chars.next() {
                            Some((_, 'n')) => quoted.push('\n'),
                            Some((_, 't')) => quoted.push('\t'),
                            Some((_, 'r')) => quoted.push('\r'),
                            Some((_, c @ ('"' | '\\'))) => quoted.push(c),
                            Some((_, c)) => quoted.extend(['\\', c]),
                            None => quoted.push('\\'),
                        },
                        Some((_, c)) => quoted.push(c),
                    }
                }
                Token::Quoted(quoted)
            }
            _ => {
                let (mut text, mut pattern, mut wild, mut escaped) = (String::new(), String::new(), false, false);
                while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && !"():<>\"{}".contains(*c)) {
                    let (c, is_star) = match c {
                        '\\' => {
                            escaped = true;
                            (chars.next().map_or('\\', |(_, c)| c), false)
                        }
                        c => (c, c == '*'),
                    };
                    text.push(c);
                    wild |= is_star;
                    if !is_star && "*?\\".contains(c) {
                        pattern.push('\\');
                    }
                    pattern.push(c);
                }
                match text.to_lowercase().as_str() {
                    "and" if !escaped => Token::And,
                    "or" if !escaped => Token::Or,
                    "not" if !escaped => Token::Not,
                    _ => Token::Word { text, pattern, wild },
                }
            }
        };
        tokens.push((token, place));
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn next_if(&mut self, wanted: &Token) -> bool {
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    fn unexpected(&self, wanted: &str) -> KqlError {
        let place = self.tokens.get(self.at).map_or(self.end, |(_, place)| *place);
        let found = if self.at < self.tokens.len() { "something else" } else { "the end of the filter" };
        KqlError { reason: format!("expected {wanted} but {found} found"), place }
    }

    fn deeper(&self, depth: usize) -> Result<usize, KqlError> {
        if depth < MAX_DEPTH {
            Ok(depth + 1)
        } else {
            Err(KqlError { reason: format!("nested deeper than {MAX_DEPTH}"), place: self.end })
        }
    }

    fn or(&mut self, depth: usize) -> Result<Kql, KqlError> {
        let mut parts = vec![self.and(depth)?];
        while self.next_if(&Token::Or) {
            parts.push(self.and(depth)?);
        }
        Ok(one_or(parts, Kql::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Kql, KqlError> {
        let mut parts = vec![self.not(depth)?];
        while self.next_if(&Token::And) {
            parts.push(self.not(depth)?);
        }
        Ok(one_or(parts, Kql::And))
    }

    fn not(&mut self, depth: usize) -> Result<Kql, KqlError> {
        if self.next_if(&Token::Not) {
            return Ok(Kql::Not(Box::new(self.not(self.deeper(depth)?)?)));
        }
        if self.next_if(&Token::Open) {
            let inner = self.or(self.deeper(depth)?)?;
            return if self.next_if(&Token::Close) { Ok(inner) } else { Err(self.unexpected("[)]")) };
        }
        self.term(depth)
    }

    /// `field: value`, `field > value`, or a value alone.
    fn term(&mut self, depth: usize) -> Result<Kql, KqlError> {
        let behind = self.tokens.get(self.at + 1).map(|(token, _)| token.clone());
        let field = match (self.peek(), &behind) {
            (Some(Token::Word { text, .. } | Token::Quoted(text)), Some(Token::Colon | Token::Range(_))) => {
                Some(text.clone())
            }
            _ => None,
        };
        let Some(field) = field else {
            return self.value().map(|test| Kql::Is(None, test));
        };
        self.at += 2;
        match behind {
            Some(Token::Range(comparison)) => match self.value()? {
                Test::Text { text, .. } => Ok(Kql::Is(Some(field), Test::Range(comparison, text))),
                _ => Err(self.unexpected("a value")),
            },
            _ if self.next_if(&Token::Open) => {
                let list = self.list(&field, self.deeper(depth)?)?;
                if self.next_if(&Token::Close) { Ok(list) } else { Err(self.unexpected("[)]")) }
            }
            _ => self.value().map(|test| Kql::Is(Some(field), test)),
        }
    }

    /// `a or (b and not c)` behind `field: (`.
    fn list(&mut self, field: &str, depth: usize) -> Result<Kql, KqlError> {
        let mut any = Vec::new();
        loop {
            let mut all = vec![self.list_item(field, depth)?];
            while self.next_if(&Token::And) {
                all.push(self.list_item(field, depth)?);
            }
            any.push(one_or(all, Kql::And));
            if !self.next_if(&Token::Or) {
                return Ok(one_or(any, Kql::Or));
            }
        }
    }

    fn list_item(&mut self, field: &str, depth: usize) -> Result<Kql, KqlError> {
        if self.next_if(&Token::Not) {
            return Ok(Kql::Not(Box::new(self.list_item(field, self.deeper(depth)?)?)));
        }
        if self.next_if(&Token::Open) {
            let inner = self.list(field, self.deeper(depth)?)?;
            return if self.next_if(&Token::Close) { Ok(inner) } else { Err(self.unexpected("[)]")) };
        }
        self.value().map(|test| Kql::Is(Some(field.to_owned()), test))
    }

    /// A value in quotes, or words up to what is none.
    fn value(&mut self) -> Result<Test, KqlError> {
        if let Some(Token::Quoted(text)) = self.peek().cloned() {
            self.at += 1;
            return Ok(Test::Text { text, pattern: None, quoted: true });
        }
        let (mut texts, mut patterns, mut is_wild) = (Vec::new(), Vec::new(), false);
        while let Some(Token::Word { text, pattern, wild }) = self.peek().cloned() {
            // A word before a colon is the next field, which wants an operator before it.
            if matches!(self.tokens.get(self.at + 1), Some((Token::Colon, _))) && !texts.is_empty() {
                return Err(self.unexpected("[and], [or]"));
            }
            self.at += 1;
            texts.push(text);
            patterns.push(pattern);
            is_wild |= wild;
        }
        if texts.is_empty() {
            return Err(self.unexpected("a value"));
        }
        let text = texts.join(" ");
        if text == "*" && is_wild {
            return Ok(Test::Exists);
        }
        let pattern = is_wild.then(|| Pattern::wildcard(&patterns.join(" "), false));
        Ok(Test::Text { text, pattern, quoted: false })
    }
}

fn one_or(mut parts: Vec<Kql>, many: impl FnOnce(Vec<Kql>) -> Kql) -> Kql {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct One(Value);

    impl Lookup for One {
        fn values(&self, field: &str) -> Vec<Value> {
            match self.0.get(field) {
                Some(Value::Array(values)) => values.clone(),
                Some(value) => vec![value.clone()],
                None => Vec::new(),
            }
        }

        fn has_words(&self, field: &str) -> bool {
            field == "name"
        }

        fn default_fields(&self) -> &[&str] {
            &["name", "tags"]
        }
    }

    #[test]
    fn filters_say_yes_or_no() {
        let rule =
            One(json!({ "name": "Suspicious Cmd Use", "tags": ["Domain: Endpoint", "x*"], "enabled": true, "n": 47 }));
        let holds = |text: &str| Kql::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(&rule);
        for yes in [
            "",
            "enabled: true",
            "enabled:true and n:47",
            "tags: \"Domain: Endpoint\"",
            r"tags: Domain\: Endpoint",
            "name: cmd",
            "name: \"suspicious cmd\"",
            "name: sus*",
            "name: *CMD* or name: *cmd*",
            "name: other cmd",
            "tags: Domain*",
            r#"tags: x\*"#,
            "tags: (\"no\" or \"Domain: Endpoint\")",
            "tags: (not \"no\" and Domain*)",
            "not enabled: false",
            "NOT tags: y",
            "n >= 47 and n < 48",
            "n: *",
            "suspicious",
            "(enabled: false or (n: 47))",
            "not (n: 1 or n: 2)",
            "not not n: 47",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "enabled: false",
            "tags: Domain",
            "name: \"cmd suspicious\"",
            "n > 47",
            "m: *",
            "not n: 47",
            "tags: x? ",
            "name: other",
            "enabled: true and n: 1",
        ] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn what_is_wrong_is_placed() {
        let error = |text: &str| Kql::parse(text).unwrap_err().to_string();
        assert_eq!(error("a:"), "KQLSyntaxError: expected a value but the end of the filter found at character 3");
        assert_eq!(error("(a: b"), "KQLSyntaxError: expected [)] but the end of the filter found at character 6");
        assert_eq!(error("a: \"b"), "KQLSyntaxError: a quote is not closed at character 4");
        assert!(error("a: b c: d").contains("[and], [or]"));
        assert!(error(&"(".repeat(100)).contains("nested deeper than 64"));
        assert!(error(&"not ".repeat(100)).contains("nested deeper than 64"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[a-z:()<>=\"\\\\* é]{0,40}") {
            if let Ok(filter) = Kql::parse(&text) {
                filter.matches(&One(json!({ "a": "b", "name": "é" })));
            }
        }
    }
}
