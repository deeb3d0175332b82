//! Queries, and whether a document passes one.

use std::collections::HashSet;

use eqlipse_batch::RawValue;
use eqlipse_engine::text::Regex;
use serde_json::{Map, Value};

use super::field::{Document, Field, Kind, Number, any_leaf, find, text_of};
use super::leaf::{Between, OneOf};
use super::pattern::Pattern;
use super::words::{has_phrase, words};

/// A query of the Query DSL. It says yes or no; there are no scores.
#[derive(Debug)]
pub enum Query {
    /// `match_all`
    All,
    /// `match_none`
    None,
    /// `bool`
    Bool(Bool),
    /// `term`, `terms`, and `match` on fields that have no words.
    OneOf(Field, OneOf),
    /// `range`
    Range(Field, Between),
    /// `exists`
    Exists(Field),
    /// `exists` of any field whose name fits.
    ExistsLike(Pattern),
    /// `wildcard`, `prefix`
    Like(Field, Pattern),
    /// `regexp`
    Regexp(Field, Box<Regex>),
    /// `match` and `match_phrase` on fields of text.
    Words(Field, Words),
    /// `ids`
    Ids(HashSet<String>),
    /// `dis_max`, `multi_match`: any of them.
    Any(Vec<Query>),
    /// `multi_match` over fields by patterns, or over all of them.
    AnyField(AnyField),
    /// `nested`: one object at a path passes by itself.
    Nested(String, Box<Query>),
    /// Any of them with a `_name`, which hits say if they pass it.
    Named(String, Box<Query>),
}

/// `bool`
#[derive(Debug, Default)]
pub struct Bool {
    /// `must` and `filter`: all pass.
    pub all: Vec<Query>,
    /// `must_not`: none passes.
    pub none: Vec<Query>,
    /// `should`.
    pub any: Vec<Query>,
    /// How many of `any` must pass.
    pub needed: usize,
}

/// What is asked of the words of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// The words.
    pub words: Vec<String>,
    /// How they must stand.
    pub order: Order,
    /// Whether the last need only be the beginning of a word.
    pub prefix: bool,
}

/// How words must stand in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// So many of them anywhere.
    Anywhere(usize),
    /// One after the other, with up to so many other words between.
    Phrase(usize),
}

impl Words {
    /// Whether one word alone is not enough.
    pub fn needs_several(&self) -> bool {
        matches!(self.order, Order::Anywhere(2..))
    }

    fn holds(&self, text: &str) -> bool {
        let found = words(text);
        match self.order {
            Order::Phrase(slop) => has_phrase(&found, &self.words, slop, self.prefix),
            Order::Anywhere(needed) => {
                let last = self.words.len().saturating_sub(1);
                let has = |(place, word): &(usize, &String)| match self.prefix && *place == last {
                    true => found.iter().any(|found| found.starts_with(word.as_str())),
                    false => found.contains(word),
                };
                needed > 0 && self.words.iter().enumerate().filter(has).count() >= needed
            }
        }
    }
}

/// A text that is looked for in many fields.
#[derive(Debug)]
pub struct AnyField {
    /// Of their names.
    pub names: Vec<Pattern>,
    /// The text as a whole, for fields without words.
    pub text: String,
    /// Its words.
    pub words: Words,
}

impl AnyField {
    fn holds(&self, document: &Document<'_>) -> bool {
        let number = Number::parse(&self.text);
        any_leaf(document.source, &mut |name, value| {
            if !self.names.iter().any(|pattern| pattern.matches(name)) {
                return false;
            }
            match (Field::new(name).kind(), value) {
                (Kind::Text, RawValue::Str(text)) => self.words.holds(text),
                (_, RawValue::Str(text)) => text == self.text,
                (_, RawValue::Bool(_)) => text_of(value, |text| text == self.text),
                (_, value) => number.is_some() && Number::of(value) == number,
            }
        })
    }
}

impl Query {
    /// Says whether a document passes.
    pub fn matches(&self, document: &Document<'_>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Bool(bool) => bool.matches(document),
            Self::OneOf(field, test) => field.any(document, &mut |value| test.holds(value)),
            Self::Range(field, test) => field.any(document, &mut |value| test.holds(value)),
            Self::Exists(field) => field.exists(document),
            Self::ExistsLike(pattern) => any_leaf(document.source, &mut |name, _| pattern.matches(name)),
            Self::Like(field, pattern) => each_text(field, document, &|text| pattern.matches(text)),
            Self::Regexp(field, regex) => each_text(field, document, &|text| regex.matches(text)),
            Self::Words(field, words) => field.any(document, &mut |value| text_of(value, |text| words.holds(text))),
            Self::Ids(ids) => ids.contains(document.id),
            Self::Any(queries) => queries.iter().any(|query| query.matches(document)),
            Self::AnyField(any) => any.holds(document),
            Self::Nested(path, query) => nested(path, query, document),
            Self::Named(_, query) => query.matches(document),
        }
    }

    /// The names of its parts that a document passes, each once. Those in `nested` are of its objects, not of a document.
    pub fn names_of<'q>(&'q self, document: &Document<'_>, names: &mut Vec<&'q str>) {
        match self {
            Self::Named(name, query) => {
                if !names.contains(&&**name) && query.matches(document) {
                    names.push(name);
                }
                query.names_of(document, names);
            }
            Self::Bool(bool) => bool.all.iter().chain(&bool.any).for_each(|query| query.names_of(document, names)),
            Self::Any(queries) => queries.iter().for_each(|query| query.names_of(document, names)),
            _ => {}
        }
    }

    /// Whether every document passes.
    pub fn is_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::Named(_, query) => query.is_all(),
            Self::Bool(bool) => {
                bool.none.is_empty()
                    && bool.all.iter().all(Self::is_all)
                    && (bool.needed == 0 || bool.any.iter().all(Self::is_all) && bool.needed <= bool.any.len())
            }
            _ => false,
        }
    }

    /// The span of times that a document must have in `field` to pass, in milliseconds, both ends included; an end is
    /// open where the query does not bound it.
    pub fn implied_times(&self, field: &str) -> (Option<i64>, Option<i64>) {
        let both = |a: (Option<i64>, Option<i64>), b: (Option<i64>, Option<i64>)| {
            let low = [a.0, b.0].into_iter().flatten().max();
            (low, [a.1, b.1].into_iter().flatten().min())
        };
        match self {
            Self::Range(of, Between::Dates(low, high)) if of.name() == field => (*low, *high),
            Self::Bool(bool) => {
                let all = bool.all.iter().map(|query| query.implied_times(field)).fold((None, None), both);
                let only = bool.any.first().filter(|_| bool.any.len() == 1 && bool.needed > 0);
                both(all, only.map_or((None, None), |query| query.implied_times(field)))
            }
            Self::Named(_, query) => query.implied_times(field),
            Self::Any(queries) => match &queries[..] {
                [only] => only.implied_times(field),
                _ => (None, None),
            },
            _ => (None, None),
        }
    }

    /// Whether every document passes that lies in the times that it implies for `field`: then nothing else need be asked.
    pub fn is_only_times(&self, field: &str) -> bool {
        match self {
            Self::All => true,
            Self::Range(of, Between::Dates(..)) => of.name() == field,
            Self::Named(_, query) => query.is_only_times(field),
            Self::Bool(bool) => {
                let single = bool.any.len() == bool.needed && bool.needed <= 1;
                single
                    && bool.none.is_empty()
                    && bool.all.iter().chain(&bool.any).all(|query| query.is_only_times(field))
            }
            _ => false,
        }
    }
}

/// Asks the texts of a field; of fields with words, the words.
fn each_text(field: &Field, document: &Document<'_>, test: &dyn Fn(&str) -> bool) -> bool {
    let has_words = field.kind() == Kind::Text;
    field.any(document, &mut |value| {
        text_of(value, |text| match has_words {
            true => words(text).iter().any(|word| test(word)),
            false => test(text),
        })
    })
}

impl Bool {
    fn matches(&self, document: &Document<'_>) -> bool {
        let passes = |query: &Query| query.matches(document);
        if !self.all.iter().all(passes) || self.none.iter().any(passes) {
            return false;
        }
        let mut missing = self.needed;
        for query in &self.any {
            if missing == 0 {
                break;
            }
            missing -= usize::from(passes(query));
        }
        missing == 0
    }
}

fn nested(path: &str, query: &Query, document: &Document<'_>) -> bool {
    let mut alone = |value: &Value| {
        let objects = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        objects.iter().filter(|object| object.is_object()).any(|object| {
            let mut source = Map::new();
            source.insert(path.to_owned(), object.clone());
            query.matches(&Document { source: &source, ..*document })
        })
    };
    find(document.source, path, &mut alone)
}
