//! The normalised event: a flat list of dotted paths and values.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter::FusedIterator;

/// How deep [`Document::write_json`] nests the parts of a path; deeper parts keep their dots.
pub const MAX_JSON_DEPTH: usize = 20;

/// A value of a [`Document`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text; dates are text too, in RFC 3339.
    Str(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// Any other number.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// Several values of one field.
    List(Vec<Value<'a>>),
    /// An object inside a list, where a dotted path cannot tell the members apart.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// A list of strings.
    pub fn strings<T: Into<Cow<'a, str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(|item| Self::Str(item.into())).collect())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Str(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::UInt(value), Self::Int)
    }
}

/// One event as rules see it: dotted paths, each at most once, in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Document<'a> {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty document with room for `fields` fields.
    pub fn with_capacity(fields: usize) -> Self {
        Self { fields: Vec::with_capacity(fields) }
    }

    /// How many paths it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it has no path.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value at `path`.
    pub fn get(&self, path: &str) -> Option<&Value<'a>> {
        self.fields.iter().find(|(name, _)| name == path).map(|(_, value)| value)
    }

    /// The text at `path`, if it is text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Value::as_str)
    }

    /// The value at `path`, to be changed in place.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Value<'a>> {
        self.fields.iter_mut().find(|(name, _)| name == path).map(|(_, value)| value)
    }

    /// Whether `path` has a value.
    pub fn contains(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// Gives `path` this value, in place of any that it has.
    pub fn set(&mut self, path: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (path, value) = (path.into(), value.into());
        match self.get_mut(&path) {
            Some(place) => *place = value,
            None => self.fields.push((path, value)),
        }
    }

    /// Adds a path that is known not to be there yet, without looking for it.
    pub fn push(&mut self, path: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let path = path.into();
        debug_assert!(!self.contains(&path), "{path} is there already");
        self.fields.push((path, value.into()));
    }

    /// Gives `path` this value if it has none, and says whether it did.
    pub fn set_if_absent(&mut self, path: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) -> bool {
        let path = path.into();
        let free = !self.contains(&path);
        if free {
            self.fields.push((path, value.into()));
        }
        free
    }

    /// Adds `item` to the list at `path`, unless it is in it already.
    pub fn append(&mut self, path: &'static str, item: impl Into<Cow<'a, str>>) {
        let item = Value::Str(item.into());
        match self.get_mut(path) {
            Some(Value::List(items)) => {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Some(other) => *other = Value::List(vec![item]),
            None => self.fields.push((Cow::Borrowed(path), Value::List(vec![item]))),
        }
    }

    /// Takes `path` out.
    pub fn remove(&mut self, path: &str) -> Option<Value<'a>> {
        let at = self.fields.iter().position(|(name, _)| name == path)?;
        Some(self.fields.remove(at).1)
    }

    /// Moves the value of `from` to `to`, in place of any that is there. Says whether there was one to move.
    pub fn rename(&mut self, from: &str, to: impl Into<Cow<'a, str>>) -> bool {
        match self.remove(from) {
            Some(value) => {
                self.set(to, value);
                true
            }
            None => false,
        }
    }

    /// Paths and values in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.fields.iter().map(|(path, value)| (path.as_ref(), value))
    }

    /// Paths and scalar values, with lists and the objects inside them taken apart: a field with several values
    /// comes several times.
    pub fn leaves(&self) -> Leaves<'_, 'a> {
        Leaves { rest: &self.fields, nested: Vec::new() }
    }

    /// Appends the document as one line of JSON: nested objects, members sorted by path, no line break.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut fields: Vec<Field<'_, 'a>> = self.fields.iter().map(|(path, value)| (path.as_ref(), value)).collect();
        fields.sort_by(|(left, _), (right, _)| compare_paths(left, right));
        write_fields(&fields, 0, out);
    }
}

/// Iterator of [`Document::leaves`].
pub struct Leaves<'d, 'a> {
    rest: &'d [(Cow<'a, str>, Value<'a>)],
    /// What lists and objects still hold, last first.
    nested: Vec<(Cow<'d, str>, &'d Value<'a>)>,
}

impl<'d, 'a> Iterator for Leaves<'d, 'a> {
    type Item = (Cow<'d, str>, &'d Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (path, value) = match self.nested.pop() {
                Some(next) => next,
                None => {
                    let ((path, value), rest) = self.rest.split_first()?;
                    self.rest = rest;
                    (Cow::Borrowed(path.as_ref()), value)
                }
            };
            match value {
                Value::List(items) => {
                    for item in items.iter().rev() {
                        self.nested.push((path.clone(), item));
                    }
                }
                Value::Object(members) => {
                    for (name, member) in members.iter().rev() {
                        self.nested.push((Cow::Owned(format!("{path}.{name}")), member));
                    }
                }
                _ => return Some((path, value)),
            }
        }
    }
}

impl FusedIterator for Leaves<'_, '_> {}

type Field<'d, 'a> = (&'d str, &'d Value<'a>);

/// Orders paths component by component, so that all paths below one object are neighbours.
fn compare_paths(left: &str, right: &str) -> Ordering {
    let key = |byte: u8| if byte == b'.' { 0 } else { u16::from(byte) + 1 };
    left.bytes().map(key).cmp(right.bytes().map(key))
}

fn write_fields(fields: &[Field<'_, '_>], depth: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    let mut rest = fields;
    while let Some((path, _)) = rest.first() {
        let head = path.split('.').next().unwrap_or_default();
        let end = rest.iter().position(|(path, _)| !is_below(path, head)).unwrap_or(rest.len());
        let (group, after) = rest.split_at(end.max(1));
        write_group(head, group, depth, &mut first, out);
        rest = after;
    }
    out.push(b'}');
}

fn is_below(path: &str, head: &str) -> bool {
    path.strip_prefix(head).is_some_and(|tail| tail.is_empty() || tail.starts_with('.'))
}

/// Writes the members of one object. Where the path is a value as well as an object, which JSON cannot say, every
/// member keeps its dotted name.
fn write_group(head: &str, group: &[Field<'_, '_>], depth: usize, first: &mut bool, out: &mut Vec<u8>) {
    let has_value = group.iter().any(|(path, _)| path.len() == head.len());
    if has_value || depth >= MAX_JSON_DEPTH {
        for (path, value) in group {
            write_key(path, first, out);
            write_value(value, out);
        }
        return;
    }
    write_key(head, first, out);
    let members: Vec<Field<'_, '_>> = group.iter().map(|(path, value)| (&path[head.len() + 1..], *value)).collect();
    write_fields(&members, depth + 1, out);
}

fn write_key(key: &str, first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write_string(key, out);
    out.push(b':');
}

fn write_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Str(text) => write_string(text, out),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::UInt(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(number) => write_double(*number, out),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::List(items) => write_list(items, out),
        Value::Object(members) => write_object(members, out),
    }
}

fn write_double(number: f64, out: &mut Vec<u8>) {
    // JSON has no infinities and no NaN.
    match number.is_finite() {
        true => out.extend_from_slice(format!("{number:?}").as_bytes()),
        false => out.extend_from_slice(b"null"),
    }
}

fn write_list(items: &[Value<'_>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_value(item, out);
    }
    out.push(b']');
}

fn write_object(members: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for (name, member) in members {
        write_key(name, &mut first, out);
        write_value(member, out);
    }
    out.push(b'}');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        write_escape(byte, out);
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => return out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(document: &Document<'_>) -> String {
        let mut out = Vec::new();
        document.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_stay_unique() {
        let mut document = Document::new();
        document.set("a.b", "1");
        document.set("a.b", "2");
        assert_eq!(document.len(), 1);
        assert_eq!(document.text("a.b"), Some("2"));
        assert!(!document.set_if_absent("a.b", "3"));
        assert!(document.rename("a.b", "c"));
        assert!(!document.rename("a.b", "c"));
        assert_eq!(document.text("c"), Some("2"));
        assert_eq!(document.remove("c"), Some(Value::from("2")));
        assert!(document.is_empty());
    }

    #[test]
    fn append_makes_sets() {
        let mut document = Document::new();
        for name in ["a", "b", "a"] {
            document.append("related.user", name);
        }
        assert_eq!(json(&document), r#"{"related":{"user":["a","b"]}}"#);
    }

    #[test]
    fn json_is_nested_and_sorted() {
        let mut document = Document::new();
        document.set("process.pid", 4_u32);
        document.set("a-b", true);
        document.set("process.name", "x\"\\\n\u{1}");
        document.set("a.b", Value::Double(1.5));
        document.set("process.parent.pid", u64::MAX);
        assert_eq!(
            json(&document),
            r#"{"a":{"b":1.5},"a-b":true,"process":{"name":"x\"\\\n\u0001","parent":{"pid":18446744073709551615},"pid":4}}"#
        );
    }

    #[test]
    fn a_path_that_is_value_and_object_keeps_dotted_names() {
        let mut document = Document::new();
        document.set("x.a", "1");
        document.set("x.a.b", "2");
        document.set("x.a.b.c", "3");
        document.set("x.a-b", "4");
        assert_eq!(json(&document), r#"{"x":{"a":"1","a.b":"2","a.b.c":"3","a-b":"4"}}"#);
    }

    #[test]
    fn odd_paths_do_not_panic() {
        for path in ["", ".", "..", "a.", ".a", "a..b", "ä.ö"] {
            let mut document = Document::new();
            document.set(path, "1");
            document.set("a", "2");
            document.set("a.x", "2");
            let text = json(&document);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{path:?} gives {text}");
        }
    }

    #[test]
    fn long_paths_do_not_nest_without_end() {
        let mut document = Document::new();
        document.set("a.".repeat(100_000), "1");
        let text = json(&document);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!(text.matches('{').count(), MAX_JSON_DEPTH + 1);
    }

    #[test]
    fn leaves_take_lists_and_objects_apart() {
        let mut document = Document::new();
        document.set("host.name", "h");
        let answer =
            |kind: &'static str| Value::Object(vec![("type".into(), kind.into()), ("ttl".into(), 1_u32.into())]);
        document.set("dns.answers", Value::List(vec![answer("A"), answer("AAAA")]));
        document.set("tags", Value::strings(["x", "y"]));
        let leaves: Vec<String> = document.leaves().map(|(path, value)| format!("{path}={value:?}")).collect();
        assert_eq!(
            leaves,
            [
                r#"host.name=Str("h")"#,
                r#"dns.answers.type=Str("A")"#,
                "dns.answers.ttl=Int(1)",
                r#"dns.answers.type=Str("AAAA")"#,
                "dns.answers.ttl=Int(1)",
                r#"tags=Str("x")"#,
                r#"tags=Str("y")"#,
            ]
        );
    }
}
