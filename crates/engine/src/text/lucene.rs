//! Lucene's regular expression syntax, all optional operators on, to a tree.
//!
//! ```text
//! union        a|b          complement   ~a           any char   .
//! intersection a&b          interval     <1-50>       any string @
//! repeat       a? a* a+ a{2} a{2,} a{2,5}             nothing    #
//! class        [a-z] [^a-z] \d \D \s \S \w \W         literal    "a.b"  \.
//! ```
//! Anchors do not exist: a pattern always takes the whole text, and `^` and `$` are themselves.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use super::fold::{Fold, lower_char};
use super::regex::RegexError;

/// Deepest nesting of groups and operators.
const MAX_DEPTH: usize = 200;
/// Largest count in `{n,m}`, as in Lucene's determinisation limits.
const MAX_REPEAT: u32 = 1000;

/// A regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Tree {
    /// Matches nothing.
    Nothing,
    /// Matches the empty text.
    Empty,
    /// One character of these ranges (inclusive, sorted, apart).
    Class(Vec<(char, char)>),
    Concat(Vec<Tree>),
    Union(Vec<Tree>),
    Intersection(Vec<Tree>),
    Complement(Box<Tree>),
    Repeat {
        inner: Box<Tree>,
        min: u32,
        max: Option<u32>,
    },
}

impl Tree {
    /// The longest run of characters that every match has, ASCII letters in lower case; empty if there is none.
    pub(super) fn required_literal(&self) -> String {
        let mut runs = Runs::default();
        runs.follow(self);
        runs.end();
        runs.longest
    }

    pub(super) fn any_char() -> Tree {
        Tree::Class(vec![('\0', char::MAX)])
    }

    pub(super) fn any_string() -> Tree {
        Tree::Repeat { inner: Box::new(Tree::any_char()), min: 0, max: None }
    }

    /// Whether complement or intersection is used, which ordinary engines lack.
    pub(super) fn needs_boolean(&self) -> bool {
        match self {
            Tree::Complement(_) | Tree::Intersection(_) => true,
            Tree::Concat(parts) | Tree::Union(parts) => parts.iter().any(Tree::needs_boolean),
            Tree::Repeat { inner, .. } => inner.needs_boolean(),
            Tree::Nothing | Tree::Empty | Tree::Class(_) => false,
        }
    }
}

/// Reads a pattern whose letters match as `fold` says.
pub(super) fn parse(pattern: &str, fold: Fold) -> Result<Tree, RegexError> {
    if pattern.is_empty() {
        return Ok(Tree::Empty);
    }
    let mut parser = Parser { pattern, at: 0, fold, depth: 0 };
    let tree = parser.union()?;
    if parser.at < pattern.len() {
        return Err(parser.error("unexpected character"));
    }
    Ok(tree)
}

struct Parser<'a> {
    pattern: &'a str,
    at: usize,
    fold: Fold,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, message: &'static str) -> RegexError {
        RegexError::Syntax { pattern: self.pattern.to_owned(), offset: self.at, message }
    }

    fn peek(&self) -> Option<char> {
        self.pattern[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, RegexError>) -> Result<T, RegexError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(RegexError::TooDeep { limit: MAX_DEPTH });
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn union(&mut self) -> Result<Tree, RegexError> {
        let mut parts = vec![self.intersection()?];
        while self.eat('|') {
            parts.push(self.intersection()?);
        }
        Ok(one_or(parts, Tree::Union))
    }

    fn intersection(&mut self) -> Result<Tree, RegexError> {
        let mut parts = vec![self.concat()?];
        while self.eat('&') {
            parts.push(self.concat()?);
        }
        Ok(one_or(parts, Tree::Intersection))
    }

    fn concat(&mut self) -> Result<Tree, RegexError> {
        let mut parts = vec![self.repeat()?];
        while !matches!(self.peek(), None | Some('|' | '&' | ')')) {
            parts.push(self.repeat()?);
        }
        Ok(one_or(parts, Tree::Concat))
    }

    fn repeat(&mut self) -> Result<Tree, RegexError> {
        let mut tree = self.complement()?;
        loop {
            let (min, max) = match self.peek() {
                Some('?') => (0, Some(1)),
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('{') => {
                    self.next();
                    let bounds = self.bounds()?;
                    tree = Tree::Repeat { inner: Box::new(tree), min: bounds.0, max: bounds.1 };
                    continue;
                }
                _ => return Ok(tree),
            };
            self.next();
            tree = Tree::Repeat { inner: Box::new(tree), min, max };
        }
    }

    fn bounds(&mut self) -> Result<(u32, Option<u32>), RegexError> {
        let min = self.number()?;
        let max = if !self.eat(',') {
            Some(min)
        } else if self.peek() == Some('}') {
            None
        } else {
            Some(self.number()?)
        };
        if !self.eat('}') {
            return Err(self.error("expected `}`"));
        }
        if max.is_some_and(|max| max < min) {
            return Err(self.error("the largest count is below the smallest"));
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Result<u32, RegexError> {
        let digits = self.pattern[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        let text = &self.pattern[self.at..self.at + digits];
        self.at += digits;
        match text.parse() {
            Ok(value) if value <= MAX_REPEAT => Ok(value),
            Ok(_) => Err(RegexError::TooLarge { limit: MAX_REPEAT as usize }),
            Err(_) if digits > 0 => Err(RegexError::TooLarge { limit: MAX_REPEAT as usize }),
            Err(_) => Err(self.error("expected a number")),
        }
    }

    fn complement(&mut self) -> Result<Tree, RegexError> {
        if self.eat('~') {
            let inner = self.nested(Self::complement)?;
            return Ok(Tree::Complement(Box::new(inner)));
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Tree, RegexError> {
        let c = self.next().ok_or_else(|| self.error("the pattern ends where a character was expected"))?;
        match c {
            '.' => Ok(Tree::any_char()),
            '#' => Ok(Tree::Nothing),
            '@' => Ok(Tree::any_string()),
            '[' => self.class(),
            '<' => self.interval(),
            '"' => self.quoted(),
            '(' => {
                if self.eat(')') {
                    return Ok(Tree::Empty);
                }
                let inner = self.nested(Self::union)?;
                if self.eat(')') { Ok(inner) } else { Err(self.error("expected `)`")) }
            }
            '\\' => self.escape(),
            _ => Ok(self.literal(c)),
        }
    }

    fn literal(&self, c: char) -> Tree {
        Tree::Class(self.folded(vec![(c, c)]))
    }

    fn escape(&mut self) -> Result<Tree, RegexError> {
        let c = self.next().ok_or_else(|| self.error("the pattern ends in a backslash"))?;
        Ok(match perl_class(c) {
            Some(ranges) => Tree::Class(ranges),
            None => self.literal(c),
        })
    }

    fn quoted(&mut self) -> Result<Tree, RegexError> {
        let length = self.pattern[self.at..].find('"').ok_or_else(|| self.error("expected a closing `\"`"))?;
        let text = &self.pattern[self.at..self.at + length];
        let parts: Vec<Tree> = text.chars().map(|c| self.literal(c)).collect();
        self.at += length + 1;
        Ok(if parts.is_empty() { Tree::Empty } else { one_or(parts, Tree::Concat) })
    }

    fn class(&mut self) -> Result<Tree, RegexError> {
        let negated = self.eat('^');
        let mut ranges = Vec::new();
        loop {
            let mut start = self.next().ok_or_else(|| self.error("expected `]`"))?;
            if start == '\\' {
                start = self.next().ok_or_else(|| self.error("the pattern ends in a backslash"))?;
                if let Some(class) = perl_class(start) {
                    ranges.extend(class);
                    if self.eat(']') {
                        break;
                    }
                    continue;
                }
            }
            let mut end = start;
            if self.peek() == Some('-') && !self.pattern[self.at..].starts_with("-]") {
                self.next();
                end = self.next().ok_or_else(|| self.error("expected the end of a range"))?;
                if end == '\\' {
                    end = self.next().ok_or_else(|| self.error("the pattern ends in a backslash"))?;
                }
                if end < start {
                    return Err(self.error("the range ends before it starts"));
                }
            }
            ranges.push((start, end));
            if self.eat(']') {
                break;
            }
        }
        let ranges = self.folded(ranges);
        Ok(Tree::Class(if negated { negate(&ranges) } else { ranges }))
    }

    /// `<n-m>`: a decimal number between the two. Where both are written with as many digits it has as many, else any
    /// leading zeros.
    fn interval(&mut self) -> Result<Tree, RegexError> {
        let length = self.pattern[self.at..].find('>').ok_or_else(|| self.error("expected `>`"))?;
        let text = &self.pattern[self.at..self.at + length];
        // Lucene reads them as Java's int.
        let bound =
            |digits: &str| digits.parse::<u32>().ok().filter(|n| *n <= i32::MAX as u32 && !digits.starts_with('+'));
        let bounds = text.split_once('-').and_then(|(a, b)| Some((a, b, bound(a)?, bound(b)?)));
        let Some((a, b, first, last)) = bounds else {
            return Err(self.error("expected two numbers, as in `<1-50>`"));
        };
        self.at += length + 1;
        let (low, high) = (first.min(last), first.max(last));
        if a.len() == b.len() {
            let padded = |number: u32| format!("{number:0width$}", width = a.len());
            return Ok(between(padded(low).as_bytes(), padded(high).as_bytes()));
        }
        let (shortest, longest) = (low.to_string().len(), high.to_string().len());
        let of_length = (shortest..=longest).map(|length| {
            let from = if length == shortest { low.to_string() } else { format!("1{}", "0".repeat(length - 1)) };
            let to = if length == longest { high.to_string() } else { "9".repeat(length) };
            between(from.as_bytes(), to.as_bytes())
        });
        let zeros = Tree::Repeat { inner: Box::new(digit(b'0', b'0')), min: 0, max: None };
        Ok(Tree::Concat(vec![zeros, Tree::Union(of_length.collect())]))
    }

    /// `ranges` with the characters that differ from theirs in case only.
    fn folded(&self, mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
        let within = |c: char| ranges.iter().any(|(start, end)| (*start..=*end).contains(&c));
        let singles: Vec<char> = ranges.iter().filter(|(a, b)| a == b).map(|(a, _)| lower_char(*a)).collect();
        let cased: &[Cased] = match self.fold {
            Fold::None => &[],
            Fold::Ascii => &ASCII_CASED,
            Fold::Unicode => &CASED,
        };
        let variants: Vec<(char, char)> = cased
            .iter()
            .filter(|cased| within(cased.lower) || within(cased.upper) || singles.contains(&cased.lower))
            .map(|cased| (cased.c, cased.c))
            .collect();
        ranges.extend(variants);
        normalise(ranges)
    }
}

/// One digit of these.
fn digit(first: u8, last: u8) -> Tree {
    Tree::Class(vec![(char::from(first), char::from(last))])
}

/// The texts of digits from one to another of the same length. Its size grows with the number of digits, not with how
/// many texts there are: behind the digits that both share, either the next digit lies between theirs and all that
/// follow are free, or it is one of theirs and only one end is left to keep to.
fn between(low: &[u8], high: &[u8]) -> Tree {
    let free = |length: usize| std::iter::repeat_with(|| digit(b'0', b'9')).take(length);
    if low.iter().all(|digit| *digit == b'0') && high.iter().all(|digit| *digit == b'9') {
        return if low.is_empty() { Tree::Empty } else { Tree::Concat(free(low.len()).collect()) };
    }
    let shared = low.iter().zip(high).take_while(|(low, high)| low == high).count();
    let mut parts: Vec<Tree> = low[..shared].iter().map(|shared| digit(*shared, *shared)).collect();
    if let ([first, low @ ..], [last, high @ ..]) = (&low[shared..], &high[shared..]) {
        let mut ways = vec![
            Tree::Concat(vec![digit(*first, *first), between(low, &vec![b'9'; low.len()])]),
            Tree::Concat(vec![digit(*last, *last), between(&vec![b'0'; high.len()], high)]),
        ];
        if last - first > 1 {
            ways.push(Tree::Concat(std::iter::once(digit(first + 1, last - 1)).chain(free(low.len())).collect()));
        }
        parts.push(Tree::Union(ways));
    }
    Tree::Concat(parts)
}

/// A character that has another case.
struct Cased {
    c: char,
    lower: char,
    upper: char,
}

/// All of Unicode takes some milliseconds, which few rule sets need to spend.
static CASED: LazyLock<Vec<Cased>> = LazyLock::new(|| cased('\0'..=char::MAX));

static ASCII_CASED: LazyLock<Vec<Cased>> = LazyLock::new(|| cased('A'..='z'));

fn cased(characters: RangeInclusive<char>) -> Vec<Cased> {
    characters
        .map(|c| {
            let mut upper = c.to_uppercase();
            let upper = match (upper.next(), upper.next()) {
                (Some(single), None) => single,
                _ => c,
            };
            Cased { c, lower: lower_char(c), upper }
        })
        .filter(|cased| cased.lower != cased.c || cased.upper != cased.c)
        .collect()
}

fn one_or(mut parts: Vec<Tree>, many: impl FnOnce(Vec<Tree>) -> Tree) -> Tree {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}

fn perl_class(c: char) -> Option<Vec<(char, char)>> {
    let ranges: Vec<(char, char)> = match c.to_ascii_lowercase() {
        'd' => vec![('0', '9')],
        's' => vec![('\t', '\n'), ('\r', '\r'), (' ', ' ')],
        'w' => vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some(if c.is_ascii_uppercase() { negate(&ranges) } else { ranges })
}

/// Sorted, with touching ranges joined.
fn normalise(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut joined: Vec<(char, char)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match joined.last_mut() {
            Some(last) if u32::from(start) <= u32::from(last.1) + 1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn negate(ranges: &[(char, char)]) -> Vec<(char, char)> {
    let mut gaps = Vec::new();
    let mut next = Some('\0');
    for (start, end) in normalise(ranges.to_vec()) {
        if let Some(from) = next
            && from < start
        {
            gaps.push((from, before(start)));
        }
        next = after(end);
    }
    if let Some(from) = next {
        gaps.push((from, char::MAX));
    }
    gaps
}

fn before(c: char) -> char {
    char::from_u32(u32::from(c) - 1).unwrap_or('\u{d7ff}')
}

fn after(c: char) -> Option<char> {
    if c == char::MAX { None } else { char::from_u32(u32::from(c) + 1).or(Some('\u{e000}')) }
}

/// The runs of single characters in an expression.
#[derive(Default)]
struct Runs {
    open: String,
    longest: String,
}

impl Runs {
    fn follow(&mut self, tree: &Tree) {
        match tree {
            Tree::Concat(parts) => parts.iter().for_each(|part| self.follow(part)),
            Tree::Empty => {}
            Tree::Class(ranges) => match single(ranges) {
                Some(letter) => self.open.push(letter),
                None => self.end(),
            },
            _ => self.end(),
        }
    }

    fn end(&mut self) {
        if self.open.len() > self.longest.len() {
            std::mem::swap(&mut self.open, &mut self.longest);
        }
        self.open.clear();
    }
}

/// The one character of a class, or the one ASCII letter that it has in both cases.
fn single(ranges: &[(char, char)]) -> Option<char> {
    match ranges {
        [(from, to)] if from == to => Some(from.to_ascii_lowercase()),
        [(a, b), (c, d)] if a == b && c == d && a.to_ascii_lowercase() == *c => Some(*c),
        _ => None,
    }
}
