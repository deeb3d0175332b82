//! `filter_path`: only the named parts of an answer.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What `filter_path` asks for: dotted paths with `*` and `**`, those with `-` before them left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathFilter {
    include: Paths,
    exclude: Paths,
}

/// Paths, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Paths {
    steps: Vec<Step>,
    /// Where all of them begin.
    start: Places,
    /// Of their texts.
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A name's parts, with any characters between them.
    Name(Vec<String>),
    /// `**`: any names, or none.
    Any,
    /// The path has come to its end: what is there is taken whole.
    End,
}

/// Which steps come next, as bits. So what a filter costs for a name does not depend on how its paths can be walked.
type Places = u128;

/// Steps of all paths that are looked at, their ends included; further paths are left out.
const MAX_STEPS: usize = Places::BITS as usize;
/// And bytes of their texts.
const MAX_BYTES: usize = 4 << 10;

impl PathFilter {
    /// The filter in the query of a URI, if it has one.
    pub fn of_query(query: &str) -> Option<Self> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.filter(|(name, _)| *name == "filter_path").map(|(_, value)| value).next()?;
        Self::parse(&percent_decoded(value))
    }

    /// A filter of paths with commas between them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut filter = Self::default();
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            match path.strip_prefix('-') {
                Some(path) => filter.exclude.push(path),
                None => filter.include.push(path),
            }
        }
        (filter != Self::default()).then_some(filter)
    }

    /// Whether anything below a member of the answer can be left of it.
    pub fn reaches(&self, member: &str) -> bool {
        self.include.is_empty() || self.include.below(self.include.start, member) != 0
    }

    /// What is left of an answer.
    pub fn apply(&self, mut value: Value) -> Value {
        self.exclude.take_from(&mut value, self.exclude.start);
        if self.include.is_empty() {
            return value;
        }
        self.include.keep_of(value, self.include.start).unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// What is left of one item of a list that is a member of an answer, if anything is.
    pub fn apply_to_item(&self, member: &str, mut item: Value) -> Option<Value> {
        let excluded = self.exclude.below(self.exclude.start, member);
        if self.exclude.is_end(excluded) {
            return None;
        }
        self.exclude.take_from(&mut item, excluded);
        match self.include.is_empty() {
            true => Some(item),
            false => self.include.keep_of(item, self.include.below(self.include.start, member)),
        }
    }
}

impl Paths {
    fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn push(&mut self, path: &str) {
        if self.bytes + path.len() > MAX_BYTES {
            return;
        }
        let start = self.steps.len();
        for name in path.split('.') {
            match name {
                // Twice is as good as once.
                "**" if self.steps[start..].last() == Some(&Step::Any) => {}
                "**" => self.steps.push(Step::Any),
                name => self.steps.push(Step::Name(name.split('*').map(str::to_owned).collect())),
            }
        }
        self.steps.push(Step::End);
        if self.steps.len() > MAX_STEPS {
            self.steps.truncate(start);
        } else {
            self.start |= self.at(start);
            self.bytes += path.len();
        }
    }

    /// The step of this number, and the next one too where it may stand for nothing.
    fn at(&self, number: usize) -> Places {
        let step = 1 << number;
        if self.steps[number] == Step::Any { step | self.at(number + 1) } else { step }
    }

    fn of(&self, places: Places) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate().filter(move |(number, _)| places >> number & 1 == 1)
    }

    /// Where the paths go on below `key`.
    fn below(&self, places: Places, key: &str) -> Places {
        let next = self.of(places).map(|(number, step)| match step {
            Step::Any => self.at(number),
            Step::Name(parts) if has_parts(parts.iter().map(String::as_str), key) => self.at(number + 1),
            Step::Name(_) | Step::End => 0,
        });
        next.fold(0, |all, places| all | places)
    }

    fn is_end(&self, places: Places) -> bool {
        self.of(places).any(|(_, step)| *step == Step::End)
    }

    /// What the paths name of a value.
    fn keep_of(&self, value: Value, places: Places) -> Option<Value> {
        if self.is_end(places) {
            return Some(value);
        }
        if places == 0 {
            return None;
        }
        match value {
            Value::Object(object) => {
                let kept: Map<String, Value> = object
                    .into_iter()
                    .filter_map(|(key, value)| {
                        let places = self.below(places, &key);
                        self.keep_of(value, places).map(|value| (key, value))
                    })
                    .collect();
                (!kept.is_empty()).then_some(Value::Object(kept))
            }
            Value::Array(items) => {
                let kept: Vec<Value> = items.into_iter().filter_map(|item| self.keep_of(item, places)).collect();
                (!kept.is_empty()).then_some(Value::Array(kept))
            }
            _ => None,
        }
    }

    /// Takes away what the paths name.
    fn take_from(&self, value: &mut Value, places: Places) {
        if places == 0 {
            return;
        }
        match value {
            Value::Object(object) => object.retain(|key, value| {
                let places = self.below(places, key);
                let stays = !self.is_end(places);
                if stays {
                    self.take_from(value, places);
                }
                stays
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| self.take_from(item, places)),
            _ => {}
        }
    }
}

/// `*` stands for any characters.
pub(crate) fn is_match(pattern: &str, key: &str) -> bool {
    has_parts(pattern.split('*'), key)
}

/// Whether a key is these parts, one after the other, with any characters between them.
fn has_parts<'a>(mut parts: impl DoubleEndedIterator<Item = &'a str>, key: &str) -> bool {
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = key.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A part of a path.
pub(crate) fn percent_encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            true => out.push(char::from(byte)),
            false => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(filter: &str, value: Value) -> Value {
        PathFilter::parse(filter).unwrap().apply(value)
    }

    fn bulk() -> Value {
        json!({
            "took": 3,
            "errors": true,
            "items": [
                { "create": { "_id": "a", "status": 201 } },
                { "create": { "_id": "b", "status": 400, "error": { "type": "x", "reason": "y" } } },
            ],
        })
    }

    #[test]
    fn paths_name_what_is_kept() {
        let expected = json!({ "errors": true, "items": [
            { "create": { "status": 201 } },
            { "create": { "status": 400, "error": { "type": "x", "reason": "y" } } },
        ]});
        assert_eq!(apply("errors,items.*.error,items.*.status", bulk()), expected);
        assert_eq!(
            apply("items.*.error.type", bulk()),
            json!({ "items": [{ "create": { "error": { "type": "x" } } }] })
        );
        assert_eq!(apply("**.reason", bulk()), json!({ "items": [{ "create": { "error": { "reason": "y" } } }] }));
        assert_eq!(apply("t*k", bulk()), json!({ "took": 3 }));
        assert_eq!(apply("nothing", bulk()), json!({}));
        assert_eq!(apply("**", bulk()), bulk());
    }

    #[test]
    fn paths_with_a_minus_name_what_is_left_out() {
        assert_eq!(apply("-items", bulk()), json!({ "took": 3, "errors": true }));
        assert_eq!(
            apply("items,-**.error,-**._id", bulk()),
            json!({ "items": [
                { "create": { "status": 201 } }, { "create": { "status": 400 } },
            ]})
        );
    }

    #[test]
    fn items_are_filtered_alone_as_they_are_in_their_answer() {
        for filter in ["items", "items.*.error", "-items", "-items.*._id", "errors", "**.type", "items,-**.error"] {
            let filter = PathFilter::parse(filter).unwrap();
            let items = bulk()["items"].as_array().unwrap().clone();
            let alone: Vec<Value> = items.into_iter().filter_map(|item| filter.apply_to_item("items", item)).collect();
            let kept = filter.apply(bulk())["items"].as_array().cloned().unwrap_or_default();
            assert_eq!(alone, kept, "{filter:?}");
        }
    }

    #[test]
    fn many_ways_to_walk_a_path_are_one() {
        let stars = "**.".repeat(40);
        assert_eq!(apply(&format!("{stars}reason"), bulk()), apply("**.reason", bulk()));
        // Each path could be at any of its steps below each name: only how many steps there are may matter.
        let path = "**.a.".repeat(20);
        let filter = PathFilter::parse(&vec![format!("{path}b"); 3].join(",")).unwrap();
        assert!(filter.include.steps.len() <= MAX_STEPS);
        let deep = (0..60).fold(json!({ "b": 1 }), |value, _| json!({ "a": value }));
        assert_eq!(filter.apply(deep.clone()), deep);
        // A path for which there is no room is left out whole.
        let long = vec!["x"; MAX_STEPS].join(".");
        assert_eq!(PathFilter::parse(&long), None);
        assert_eq!(apply(&format!("{long},took"), bulk()), json!({ "took": 3 }));
        assert_eq!(apply(&format!("{},took", "*".repeat(MAX_BYTES + 1)), bulk()), json!({ "took": 3 }));
    }

    #[test]
    fn the_query_is_decoded() {
        let filter = PathFilter::of_query("refresh=true&filter_path=errors%2Citems.%2A.error");
        assert_eq!(filter, PathFilter::parse("errors,items.*.error"));
        assert_eq!(PathFilter::of_query("refresh=true"), None);
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}", pattern in "[a*]{0,6}", key in "[a]{0,6}") {
            let _ = PathFilter::of_query(&format!("filter_path={text}"));
            let expected = {
                let (pattern, key) = (pattern.as_bytes(), key.as_bytes());
                fn matches(pattern: &[u8], key: &[u8]) -> bool {
                    match pattern.split_first() {
                        None => key.is_empty(),
                        Some((b'*', rest)) => (0..=key.len()).any(|at| matches(rest, &key[at..])),
                        Some((byte, rest)) => key.first() == Some(byte) && matches(rest, &key[1..]),
                    }
                }
                matches(pattern, key)
            };
            proptest::prop_assert_eq!(is_match(&pattern, &key), expected);
        }
    }
}
