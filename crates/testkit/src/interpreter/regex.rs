//! Lucene's regular expressions with all optional operators, by what each part can match: from a set of places in the
//! text to the set of places where a match of the part can end.

use super::pattern::Fold;

/// The deepest nesting that is parsed.
pub const MAX_DEPTH: usize = 200;
/// The largest number in `{n,m}`.
pub const MAX_REPEAT: usize = 1_000;

/// A part of an expression.
#[derive(Clone, Debug)]
enum Node {
    /// `()`, and the empty expression.
    Nothing,
    /// One character out of these, or out of all but these.
    Class { negated: bool, items: Vec<ClassItem> },
    /// Parts one after another.
    Concat(Vec<Node>),
    /// `a|b`
    Union(Vec<Node>),
    /// `a&b`
    Intersection(Vec<Node>),
    /// `~a`
    Complement(Box<Node>),
    /// `a{min,max}`
    Repeat { inner: Box<Node>, min: usize, max: Option<usize> },
    /// `<n-m>`: a number in decimal, of `digits` digits if that is given.
    Interval { min: u64, max: u64, digits: Option<usize> },
    /// `#`: matches nothing at all.
    Never,
}

/// Characters of a class.
#[derive(Clone, Debug)]
enum ClassItem {
    /// From the first to the last.
    Range(char, char),
    /// Every character but those in these ranges (`\D` …).
    NoneOf(&'static [(char, char)]),
}

const DIGITS: &[(char, char)] = &[('0', '9')];
const SPACES: &[(char, char)] = &[(' ', ' '), ('\t', '\t'), ('\n', '\n'), ('\r', '\r')];
const WORD: &[(char, char)] = &[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')];
const ANY: &[(char, char)] = &[('\0', char::MAX)];

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError(pub String);

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Regex {
    root: Node,
}

impl Regex {
    /// Reads an expression.
    pub fn parse(pattern: &str) -> Result<Self, RegexError> {
        let mut parser = Parser { chars: pattern.chars().collect(), at: 0, depth: 0 };
        if parser.chars.is_empty() {
            return Ok(Self { root: Node::Nothing });
        }
        let root = parser.union()?;
        match parser.peek() {
            None => Ok(Self { root }),
            Some(c) => Err(RegexError(format!("unexpected `{c}`"))),
        }
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str, fold: Fold) -> bool {
        let matcher = Matcher { text: text.chars().collect(), fold };
        let length = matcher.text.len();
        matcher.ends(&self.root, &Places::one(length, 0)).has(length)
    }
}

/// A set of places in the text: one bit for each, and one for its end.
#[derive(Clone, PartialEq)]
struct Places(Vec<u64>);

impl Places {
    fn none(length: usize) -> Self {
        Self(vec![0; length / 64 + 1])
    }

    fn one(length: usize, place: usize) -> Self {
        let mut places = Self::none(length);
        places.add(place);
        places
    }

    fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(index, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit))
    }

    fn combine(&self, other: &Self, op: fn(u64, u64) -> u64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| op(*a, *b)).collect())
    }
}

struct Matcher {
    text: Vec<char>,
    fold: Fold,
}

impl Matcher {
    fn none(&self) -> Places {
        Places::none(self.text.len())
    }

    fn collect(&self, places: impl IntoIterator<Item = usize>) -> Places {
        let mut set = self.none();
        places.into_iter().for_each(|place| set.add(place));
        set
    }

    /// Where matches of `node` that begin at one of `starts` can end.
    fn ends(&self, node: &Node, starts: &Places) -> Places {
        match node {
            Node::Nothing => starts.clone(),
            Node::Never => self.none(),
            Node::Class { negated, items } => {
                self.collect(starts.iter().filter(|at| self.fits(*at, items, *negated)).map(|at| at + 1))
            }
            Node::Concat(parts) => parts.iter().fold(starts.clone(), |places, part| self.ends(part, &places)),
            Node::Union(parts) => {
                parts.iter().fold(self.none(), |all, part| all.combine(&self.ends(part, starts), |a, b| a | b))
            }
            Node::Repeat { inner, min, max } => self.repeat(inner, *min, *max, starts),
            Node::Interval { min, max, digits } => {
                self.collect(starts.iter().flat_map(|at| self.interval(at, *min, *max, *digits)))
            }
            // These two say what one and the same stretch of text is, so each start is its own case.
            Node::Intersection(parts) => self.each(starts, |start| {
                let from = Places::one(self.text.len(), start);
                let everywhere = self.collect(0..=self.text.len());
                parts.iter().fold(everywhere, |all, part| all.combine(&self.ends(part, &from), |a, b| a & b))
            }),
            Node::Complement(inner) => self.each(starts, |start| {
                let from = Places::one(self.text.len(), start);
                let later = self.collect(start..=self.text.len());
                later.combine(&self.ends(inner, &from), |a, b| a & !b)
            }),
        }
    }

    fn each(&self, starts: &Places, ends: impl Fn(usize) -> Places) -> Places {
        starts.iter().fold(self.none(), |all, start| all.combine(&ends(start), |a, b| a | b))
    }

    fn repeat(&self, inner: &Node, min: usize, max: Option<usize>, starts: &Places) -> Places {
        let mut fresh = starts.clone();
        for _ in 0..min {
            let next = self.ends(inner, &fresh);
            if next == fresh {
                break;
            }
            fresh = next;
        }
        if let (Node::Class { negated, items }, None) = (inner, max) {
            return self.run(items, *negated, fresh);
        }
        let mut found = fresh.clone();
        let mut round = min;
        // A place found before leads nowhere new in a later round, as fewer rounds are left.
        while !fresh.is_empty() && max.is_none_or(|max| round < max) {
            fresh = self.ends(inner, &fresh).combine(&found, |a, b| a & !b);
            found = found.combine(&fresh, |a, b| a | b);
            round += 1;
        }
        found
    }

    /// Any number of characters of a class, in one walk over the text: by far the most common repetition.
    fn run(&self, items: &[ClassItem], negated: bool, mut places: Places) -> Places {
        for at in 0..self.text.len() {
            if places.has(at) && self.fits(at, items, negated) {
                places.add(at + 1);
            }
        }
        places
    }

    fn fits(&self, at: usize, items: &[ClassItem], negated: bool) -> bool {
        self.text.get(at).is_some_and(|c| self.in_class(*c, items) != negated)
    }

    fn interval(&self, start: usize, min: u64, max: u64, digits: Option<usize>) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut value: u64 = 0;
        for (index, c) in self.text[start..].iter().enumerate() {
            let Some(digit) = c.to_digit(10) else { break };
            value = value.saturating_mul(10).saturating_add(u64::from(digit));
            let length_fits = digits.is_none_or(|digits| digits == index + 1);
            if length_fits && (min..=max).contains(&value) {
                ends.push(start + index + 1);
            }
        }
        ends
    }

    fn in_class(&self, c: char, items: &[ClassItem]) -> bool {
        let hit = |c: char| {
            items.iter().any(|item| match item {
                ClassItem::Range(from, to) => (*from..=*to).contains(&c),
                ClassItem::NoneOf(ranges) => !ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)),
            })
        };
        let folded = |c: char| self.fold.char(c);
        let upper = if self.fold == Fold::Ascii { c.to_ascii_uppercase() } else { single_upper(folded(c)) };
        hit(c)
            || self.fold != Fold::None && (hit(folded(c)) || hit(upper))
            || items.iter().any(|item| matches!(item, ClassItem::Range(a, b) if a == b && folded(*a) == folded(c)))
    }
}

fn single_upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<char, RegexError> {
        let c = self.peek().ok_or_else(|| RegexError("unexpected end".into()))?;
        self.at += 1;
        Ok(c)
    }

    fn expect(&mut self, c: char) -> Result<(), RegexError> {
        if self.eat(c) { Ok(()) } else { Err(RegexError(format!("expected `{c}`"))) }
    }

    fn union(&mut self) -> Result<Node, RegexError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(RegexError(format!("nested deeper than {MAX_DEPTH}")));
        }
        let mut parts = vec![self.intersection()?];
        while self.eat('|') {
            parts.push(self.intersection()?);
        }
        self.depth -= 1;
        Ok(one_or(parts, Node::Union))
    }

    fn intersection(&mut self) -> Result<Node, RegexError> {
        let mut parts = vec![self.concat()?];
        while self.eat('&') {
            parts.push(self.concat()?);
        }
        Ok(one_or(parts, Node::Intersection))
    }

    fn concat(&mut self) -> Result<Node, RegexError> {
        // The first part is read whatever it begins with: a leading `|`, `*` … stands for itself.
        let mut parts = vec![self.repeat()?];
        while self.peek().is_some_and(|c| !matches!(c, ')' | '|' | '&')) {
            parts.push(self.repeat()?);
        }
        Ok(one_or(parts, Node::Concat))
    }

    fn repeat(&mut self) -> Result<Node, RegexError> {
        let mut node = self.complement()?;
        let mut stacked = 0;
        loop {
            let (min, max) = match self.peek() {
                Some('?') => (0, Some(1)),
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('{') => (0, None),
                _ => return Ok(node),
            };
            stacked += 1;
            if self.depth + stacked > MAX_DEPTH {
                return Err(RegexError(format!("nested deeper than {MAX_DEPTH}")));
            }
            let braced = self.next()? == '{';
            let (min, max) = if braced { self.counts()? } else { (min, max) };
            node = Node::Repeat { inner: Box::new(node), min, max };
        }
    }

    /// `n}`, `n,}` or `n,m}`
    fn counts(&mut self) -> Result<(usize, Option<usize>), RegexError> {
        let min = self.count()?;
        let max = match self.eat(',') {
            false => Some(min),
            true if self.peek() == Some('}') => None,
            true => Some(self.count()?),
        };
        self.expect('}')?;
        if max.is_some_and(|max| max < min) {
            return Err(RegexError(format!("repetition {{{min},{}}} is backwards", max.unwrap_or(0))));
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<usize, RegexError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        let count = digits.parse().map_err(|_| RegexError("expected a number".into()))?;
        if count > MAX_REPEAT { Err(RegexError(format!("repetition above {MAX_REPEAT}"))) } else { Ok(count) }
    }

    /// `~` binds tighter than repetition: `~a*` is `(~a)*`.
    fn complement(&mut self) -> Result<Node, RegexError> {
        let mut tildes = 0;
        while self.eat('~') {
            tildes += 1;
        }
        let inner = if self.eat('[') { self.class()? } else { self.simple()? };
        Ok(if tildes % 2 == 1 { Node::Complement(Box::new(inner)) } else { inner })
    }

    fn class(&mut self) -> Result<Node, RegexError> {
        let negated = self.eat('^');
        let mut items = self.class_item()?;
        while self.peek().is_some_and(|c| c != ']') {
            items.extend(self.class_item()?);
        }
        self.expect(']')?;
        Ok(Node::Class { negated, items })
    }

    fn class_item(&mut self) -> Result<Vec<ClassItem>, RegexError> {
        if let Some(items) = self.predefined() {
            return Ok(items);
        }
        let from = self.char()?;
        let to = if self.eat('-') { self.char()? } else { from };
        if from > to {
            Err(RegexError(format!("range {from}-{to} is backwards")))
        } else {
            Ok(vec![ClassItem::Range(from, to)])
        }
    }

    /// `\d`, `\D`, `\s`, `\S`, `\w`, `\W`
    fn predefined(&mut self) -> Option<Vec<ClassItem>> {
        let [Some('\\'), Some(letter)] = [self.peek(), self.chars.get(self.at + 1).copied()] else { return None };
        let ranges = match letter {
            'd' | 'D' => DIGITS,
            's' | 'S' => SPACES,
            'w' | 'W' => WORD,
            _ => return None,
        };
        self.at += 2;
        Some(if letter.is_ascii_uppercase() { vec![ClassItem::NoneOf(ranges)] } else { to_items(ranges) })
    }

    fn char(&mut self) -> Result<char, RegexError> {
        self.eat('\\');
        self.next()
    }

    fn simple(&mut self) -> Result<Node, RegexError> {
        if let Some(items) = self.predefined() {
            return Ok(Node::Class { negated: false, items });
        }
        let any = Node::Class { negated: false, items: to_items(ANY) };
        match self.peek() {
            Some('.') => self.next().map(|_| any),
            Some('@') => self.next().map(|_| Node::Repeat { inner: Box::new(any), min: 0, max: None }),
            Some('#') => self.next().map(|_| Node::Never),
            Some('"') => self.quoted('"').map(|text| one_or(text.chars().map(literal).collect(), Node::Concat)),
            Some('<') => self.quoted('>').and_then(|text| interval(&text)),
            Some('(') => self.group(),
            _ => self.char().map(literal),
        }
    }

    fn group(&mut self) -> Result<Node, RegexError> {
        self.expect('(')?;
        if self.eat(')') {
            return Ok(Node::Nothing);
        }
        let inner = self.union()?;
        self.expect(')')?;
        Ok(inner)
    }

    /// What stands between the current character and the next `close`; nothing is escaped in there.
    fn quoted(&mut self, close: char) -> Result<String, RegexError> {
        self.next()?;
        let mut text = String::new();
        while !self.eat(close) {
            text.push(self.next()?);
        }
        Ok(text)
    }
}

fn to_items(ranges: &[(char, char)]) -> Vec<ClassItem> {
    ranges.iter().map(|(from, to)| ClassItem::Range(*from, *to)).collect()
}

fn literal(c: char) -> Node {
    Node::Class { negated: false, items: vec![ClassItem::Range(c, c)] }
}

fn one_or(mut parts: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}

/// `n-m` of `<n-m>`. Both of one length: numbers are written with that many digits; else with any leading zeros.
fn interval(text: &str) -> Result<Node, RegexError> {
    let bound = |digits: &str| {
        digits.parse::<u32>().ok().filter(|n| *n <= i32::MAX as u32 && !digits.starts_with('+')).map(u64::from)
    };
    let bounds = text.split_once('-').and_then(|(from, to)| Some((from.len(), to.len(), bound(from)?, bound(to)?)));
    let Some((from_length, to_length, from, to)) = bounds else {
        return Err(RegexError(format!("<{text}> is no interval of numbers")));
    };
    let digits = (from_length == to_length).then_some(from_length);
    Ok(Node::Interval { min: from.min(to), max: from.max(to), digits })
}
