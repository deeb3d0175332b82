//! `filter_path`: only the named parts of an answer.

use serde_json::{Map, Value};

/// What `filter_path` asks for: dotted paths with `*` and `**`, those with `-` before them left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathFilter {
    include: Vec<Vec<String>>,
    exclude: Vec<Vec<String>>,
}

/// Paths of one filter that are looked at; the others are left out.
const MAX_PATHS: usize = 64;
/// Steps of a path that are looked at.
const MAX_STEPS: usize = 32;

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
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()).take(MAX_PATHS) {
            let (paths, path) = match path.strip_prefix('-') {
                Some(path) => (&mut filter.exclude, path),
                None => (&mut filter.include, path),
            };
            paths.push(path.split('.').take(MAX_STEPS).map(str::to_owned).collect());
        }
        (filter != Self::default()).then_some(filter)
    }

    /// Whether anything below a member of the answer can be left of it.
    pub fn reaches(&self, member: &str) -> bool {
        let paths: Vec<&[String]> = self.include.iter().map(Vec::as_slice).collect();
        paths.is_empty() || !below(&paths, member).is_empty()
    }

    /// What is left of an answer.
    pub fn apply(&self, mut value: Value) -> Value {
        if !self.exclude.is_empty() {
            let paths: Vec<&[String]> = self.exclude.iter().map(Vec::as_slice).collect();
            exclude(&mut value, &paths);
        }
        if self.include.is_empty() {
            return value;
        }
        let paths: Vec<&[String]> = self.include.iter().map(Vec::as_slice).collect();
        include(value, &paths).unwrap_or_else(|| Value::Object(Map::new()))
    }
}

/// The rests of the paths that go on below `key`.
fn below<'p>(paths: &[&'p [String]], key: &str) -> Vec<&'p [String]> {
    let mut rests: Vec<&[String]> = Vec::new();
    for path in paths {
        let Some((first, rest)) = path.split_first() else { continue };
        if first == "**" {
            // It may stand for this key and more, or for none at all.
            rests.push(path);
            rests.extend(below(&[rest], key));
        } else if is_match(first, key) {
            rests.push(rest);
        }
    }
    rests.sort_unstable();
    rests.dedup();
    rests
}

/// Whether a path has come to its end: what is there is taken whole.
fn is_whole(paths: &[&[String]]) -> bool {
    paths.iter().any(|path| path.is_empty() || (path.len() == 1 && path[0] == "**"))
}

fn include(value: Value, paths: &[&[String]]) -> Option<Value> {
    if is_whole(paths) {
        return Some(value);
    }
    if paths.is_empty() {
        return None;
    }
    match value {
        Value::Object(object) => {
            let kept: Map<String, Value> = object
                .into_iter()
                .filter_map(|(key, value)| include(value, &below(paths, &key)).map(|value| (key, value)))
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let kept: Vec<Value> = items.into_iter().filter_map(|item| include(item, paths)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

fn exclude(value: &mut Value, paths: &[&[String]]) {
    match value {
        Value::Object(object) => object.retain(|key, value| {
            let rests = below(paths, key);
            if rests.iter().any(|rest| rest.is_empty()) {
                return false;
            }
            exclude(value, &rests);
            true
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| exclude(item, paths)),
        _ => {}
    }
}

/// `*` stands for any characters.
pub(crate) fn is_match(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = key.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
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
