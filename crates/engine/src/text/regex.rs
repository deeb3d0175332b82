//! Matching of Lucene regular expressions.
//!
//! Patterns without complement and intersection become a `regex-automata` engine. The rest is matched by Brzozowski
//! derivatives: the derivative of an expression by a character matches what may follow that character, and both
//! operators have one.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Mutex;

use regex_automata::meta;
use regex_automata::util::syntax;
use thiserror::Error;

use super::fold::Fold;
use super::lucene::{self, Tree};

/// Memory that one compiled pattern may take, in bytes.
const SIZE_LIMIT: usize = 10 << 20;
/// Distinct derivatives of one pattern before it is refused a text (that text does not match).
const MAX_STATES: usize = 10_000;

/// A pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegexError {
    /// Not Lucene syntax.
    #[error("invalid regular expression `{pattern}`: {message} at byte {offset}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// Where, in bytes.
        offset: usize,
        /// What is wrong.
        message: &'static str,
    },
    /// Nested too deeply.
    #[error("regular expression nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A count too large.
    #[error("regular expression repeats or counts beyond {limit}")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Compiles to more memory than allowed.
    #[error("regular expression `{pattern}` compiles to more than {limit} bytes")]
    TooBig {
        /// The pattern.
        pattern: String,
        /// The limit.
        limit: usize,
    },
}

/// A compiled Lucene regular expression; always matches the whole text.
pub struct Regex {
    pattern: String,
    fold: Fold,
    engine: Engine,
    required: String,
}

impl std::fmt::Debug for Regex {
    /// The pattern only: two expressions that print alike are alike.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?}, {:?})", self.pattern, self.fold)
    }
}

/// By pattern and fold: the rest follows from them.
impl Ord for Regex {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.pattern, self.fold).cmp(&(&other.pattern, other.fold))
    }
}

impl PartialOrd for Regex {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Regex {}

#[derive(Debug)]
enum Engine {
    Automaton(Box<meta::Regex>),
    Derivatives(Derivatives),
}

impl Regex {
    /// Compiles a pattern whose letters match as `fold` says.
    ///
    /// # Errors
    /// If the pattern is not Lucene syntax or beyond a limit.
    pub fn new(pattern: &str, fold: Fold) -> Result<Self, RegexError> {
        let tree = lucene::parse(pattern, fold)?;
        let required = tree.required_literal();
        let engine = if tree.needs_boolean() {
            Engine::Derivatives(Derivatives::new(tree))
        } else {
            Engine::Automaton(Box::new(automaton(&tree, pattern)?))
        };
        Ok(Self { pattern: pattern.to_owned(), fold, engine, required })
    }

    /// Text that stands, with ASCII letters in lower case, in the lower case of every text that matches; may be empty.
    pub fn required_literal(&self) -> &str {
        &self.required
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match &self.engine {
            Engine::Automaton(regex) => regex.is_match(text),
            Engine::Derivatives(derivatives) => derivatives.matches(text),
        }
    }
}

fn automaton(tree: &Tree, pattern: &str) -> Result<meta::Regex, RegexError> {
    let mut text = String::from(r"\A(?:");
    write_syntax(tree, &mut text);
    text.push_str(r")\z");
    meta::Builder::new()
        .configure(meta::Config::new().nfa_size_limit(Some(SIZE_LIMIT)).hybrid_cache_capacity(1 << 20))
        .syntax(syntax::Config::new().dot_matches_new_line(true))
        .build(&text)
        .map_err(|_| RegexError::TooBig { pattern: pattern.to_owned(), limit: SIZE_LIMIT })
}

fn write_syntax(tree: &Tree, out: &mut String) {
    use std::fmt::Write;
    match tree {
        Tree::Nothing => out.push_str(r"[^\x{0}-\x{10FFFF}]"),
        Tree::Empty => out.push_str("(?:)"),
        Tree::Class(ranges) => {
            out.push('[');
            for (start, end) in ranges {
                // Writing to a String cannot fail.
                let _ = write!(out, r"\x{{{:X}}}-\x{{{:X}}}", u32::from(*start), u32::from(*end));
            }
            out.push(']');
        }
        Tree::Concat(parts) => parts.iter().for_each(|part| write_group(part, out)),
        Tree::Union(parts) => {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                write_group(part, out);
            }
        }
        Tree::Repeat { inner, min, max } => {
            write_group(inner, out);
            let _ = match (min, max) {
                (0, None) => out.write_char('*'),
                (1, None) => out.write_char('+'),
                (min, None) => write!(out, "{{{min},}}"),
                (min, Some(max)) => write!(out, "{{{min},{max}}}"),
            };
        }
        Tree::Complement(_) | Tree::Intersection(_) => unreachable!("matched by derivatives"),
    }
}

fn write_group(tree: &Tree, out: &mut String) {
    out.push_str("(?:");
    write_syntax(tree, out);
    out.push(')');
}

/// Matches by derivatives, remembered per state and character.
#[derive(Debug)]
struct Derivatives {
    states: Mutex<States>,
}

#[derive(Debug, Default)]
struct States {
    ids: HashMap<Tree, usize>,
    trees: Vec<Tree>,
    steps: HashMap<(usize, char), usize>,
}

impl States {
    fn intern(&mut self, tree: Tree) -> usize {
        if let Some(id) = self.ids.get(&tree) {
            return *id;
        }
        let id = self.trees.len();
        self.trees.push(tree.clone());
        self.ids.insert(tree, id);
        id
    }

    fn step(&mut self, state: usize, c: char) -> usize {
        if let Some(next) = self.steps.get(&(state, c)) {
            return *next;
        }
        let derived = derive(&self.trees[state], c);
        let next = self.intern(derived);
        self.steps.insert((state, c), next);
        next
    }
}

impl Derivatives {
    fn new(tree: Tree) -> Self {
        let mut states = States::default();
        states.intern(tree);
        Self { states: Mutex::new(states) }
    }

    fn matches(&self, text: &str) -> bool {
        let mut states = self.states.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if states.trees.len() > MAX_STATES {
            let start = states.trees[0].clone();
            *states = States::default();
            states.intern(start);
        }
        let mut state = 0;
        for c in text.chars() {
            state = states.step(state, c);
            if states.trees[state] == Tree::Nothing || states.trees.len() > 2 * MAX_STATES {
                return false;
            }
        }
        nullable(&states.trees[state])
    }
}

/// Whether the expression matches the empty text.
fn nullable(tree: &Tree) -> bool {
    match tree {
        Tree::Nothing | Tree::Class(_) => false,
        Tree::Empty => true,
        Tree::Concat(parts) | Tree::Intersection(parts) => parts.iter().all(nullable),
        Tree::Union(parts) => parts.iter().any(nullable),
        Tree::Complement(inner) => !nullable(inner),
        Tree::Repeat { inner, min, .. } => *min == 0 || nullable(inner),
    }
}

fn derive(tree: &Tree, c: char) -> Tree {
    match tree {
        Tree::Nothing | Tree::Empty => Tree::Nothing,
        Tree::Class(ranges) if ranges.iter().any(|(start, end)| (*start..=*end).contains(&c)) => Tree::Empty,
        Tree::Class(_) => Tree::Nothing,
        Tree::Concat(parts) => derive_concat(parts, c),
        Tree::Union(parts) => union(parts.iter().map(|part| derive(part, c)).collect()),
        Tree::Intersection(parts) => intersection(parts.iter().map(|part| derive(part, c)).collect()),
        Tree::Complement(inner) => Tree::Complement(Box::new(derive(inner, c))),
        Tree::Repeat { inner, min, max } => {
            if *max == Some(0) {
                return Tree::Nothing;
            }
            let rest = Tree::Repeat { inner: inner.clone(), min: min.saturating_sub(1), max: max.map(|max| max - 1) };
            concat(vec![derive(inner, c), rest])
        }
    }
}

fn derive_concat(parts: &[Tree], c: char) -> Tree {
    let mut choices = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let mut rest = vec![derive(part, c)];
        rest.extend_from_slice(&parts[index + 1..]);
        choices.push(concat(rest));
        if !nullable(part) {
            break;
        }
    }
    union(choices)
}

fn concat(parts: Vec<Tree>) -> Tree {
    if parts.contains(&Tree::Nothing) {
        return Tree::Nothing;
    }
    let mut flat = Vec::new();
    for part in parts {
        match part {
            Tree::Empty => {}
            Tree::Concat(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    match flat.len() {
        0 => Tree::Empty,
        1 => flat.remove(0),
        _ => Tree::Concat(flat),
    }
}

/// Flattened, sorted and without repeats, so that equal states are found equal and their number stays finite.
fn union(parts: Vec<Tree>) -> Tree {
    let mut flat: Vec<Tree> = parts
        .into_iter()
        .flat_map(|part| if let Tree::Union(inner) = part { inner } else { vec![part] })
        .filter(|part| *part != Tree::Nothing)
        .collect();
    flat.sort_unstable();
    flat.dedup();
    match flat.len() {
        0 => Tree::Nothing,
        1 => flat.remove(0),
        _ => Tree::Union(flat),
    }
}

fn intersection(parts: Vec<Tree>) -> Tree {
    if parts.contains(&Tree::Nothing) {
        return Tree::Nothing;
    }
    let mut flat: Vec<Tree> = parts
        .into_iter()
        .flat_map(|part| if let Tree::Intersection(inner) = part { inner } else { vec![part] })
        .collect();
    flat.sort_unstable();
    flat.dedup();
    if flat.len() == 1 { flat.remove(0) } else { Tree::Intersection(flat) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_lucene() {
        let cases = [
            ("cmd", "cmd", true),
            ("cmd", "cmd.exe", false),
            ("c.d", "cmd", true),
            (".*", "a\nb", true),
            ("^a$", "a", false),
            ("^a$", "^a$", true),
            ("a|b", "b", true),
            ("[a-c]+", "abc", true),
            ("[^a-c]+", "abd", false),
            ("[^a]", "\u{e000}", true),
            ("[a-]", "-", true),
            ("a{2,3}", "aaa", true),
            ("a{2,3}", "aaaa", false),
            ("a{2}", "aa", true),
            ("\"a.b\"", "a.b", true),
            ("\"a.b\"", "axb", false),
            ("a\\.b", "a.b", true),
            ("@b", "anything b", true),
            ("#", "", false),
            ("<1-50>", "7", true),
            ("<1-50>", "51", false),
            ("<1-50>", "007", true),
            ("<1-50>", "0", false),
            ("<0-50>", "000", true),
            ("<01-50>", "7", false),
            ("<01-50>", "007", false),
            ("<01-50>", "7", false),
            ("<01-50>", "07", true),
            ("~(abc)", "abc", false),
            ("~(abc)", "abcd", true),
            ("a~(bc)d", "abcd", false),
            ("a~(bc)d", "abxd", true),
            ("a.*&.*z", "a to z", true),
            ("a.*&.*z", "a to y", false),
            ("[a-z]{3}&~(cat)", "dog", true),
            ("[a-z]{3}&~(cat)", "cat", false),
            ("()", "", true),
            ("", "", true),
            ("\\d+\\w", "12_", true),
            ("é?", "é", true),
        ];
        for (pattern, text, expected) in cases {
            let regex = Regex::new(pattern, Fold::None).unwrap();
            assert_eq!(regex.matches(text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn folds_ascii_only() {
        let regex = Regex::new("CMD[a-f]é", Fold::Ascii).unwrap();
        assert!(regex.matches("cmdFé"));
        assert!(!regex.matches("cmdFÉ"));
        assert!(Regex::new("~(CMD)", Fold::Ascii).unwrap().matches("cmdx"));
        assert!(!Regex::new("~(CMD)", Fold::Ascii).unwrap().matches("cmd"));
        assert!(Regex::new("É[а-я]", Fold::Unicode).unwrap().matches("éЖ"));
    }

    #[test]
    fn intervals_are_those_of_arithmetic() {
        let bounds = [0, 1, 7, 9, 10, 19, 20, 55, 99, 100, 101, 110, 123];
        for (low, high) in bounds.iter().flat_map(|low| bounds.iter().map(move |high| (*low, *high))) {
            let fixed = low.to_string().len() == high.to_string().len();
            let regex = Regex::new(&format!("<{low}-{high}>"), Fold::None).unwrap();
            for number in 0..=130 {
                let within = (low.min(high)..=low.max(high)).contains(&number);
                for text in [format!("{number}"), format!("{number:03}"), format!("{number:05}")] {
                    let fits = !fixed || text.len() == low.to_string().len();
                    assert_eq!(regex.matches(&text), within && fits, "<{low}-{high}> {text}");
                }
            }
        }
        // However many numbers there are, it stays small.
        let wide = Regex::new(&"<0-2147483647>,".repeat(50), Fold::None).unwrap();
        assert!(wide.matches(&"0012345,".repeat(50)));
        assert!(!wide.matches(&"2147483648,".repeat(50)));
        assert!(Regex::new(&format!("<{0}0-{0}9>", "0".repeat(2_000)), Fold::None).is_ok());
    }

    #[test]
    fn refuses_bad_and_huge_patterns() {
        for pattern in ["a|", "(a", "[a", "a{2", "a{3,2}", "\\", "<1>", "\"a", "*", "[b-a]", "a)"] {
            let result = Regex::new(pattern, Fold::None);
            assert!(result.is_err() || pattern == "*", "{pattern:?}");
        }
        assert!(matches!(Regex::new("a{1001}", Fold::None), Err(RegexError::TooLarge { .. })));
        assert!(matches!(Regex::new(&"(".repeat(10_000), Fold::None), Err(RegexError::TooDeep { .. })));
        assert!(matches!(Regex::new(&"~".repeat(10_000), Fold::None), Err(RegexError::TooDeep { .. })));
        assert!(Regex::new("((((a{1000}){1000}){1000}){1000})", Fold::None).is_err());
    }

    #[test]
    fn what_every_match_has() {
        let cases = [
            (".*\\\\AppData\\\\.*", Fold::Ascii, "\\appdata\\"),
            ("a(bc)d[0-9]efg", Fold::None, "abcd"),
            ("ab?cd", Fold::None, "cd"),
            ("abc|abd", Fold::None, ""),
            ("~(abc)", Fold::None, ""),
            ("(Ab){2}C", Fold::None, "c"),
            ("[0-9]+", Fold::None, ""),
        ];
        for (pattern, fold, required) in cases {
            assert_eq!(Regex::new(pattern, fold).unwrap().required_literal(), required, "{pattern}");
        }
    }
}
