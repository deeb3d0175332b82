//! Fields: which type they have, and where a document has their values.

use std::net::IpAddr;

use eqlipse_batch::{RawValue, coerce_date, parse_address};
use eqlipse_ecs::FieldType;
use serde_json::{Map, Value};

/// How deep objects and arrays of a document are looked into; serde_json reads no deeper ones.
const MAX_DEPTH: usize = 128;

/// A document that queries are asked of.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Its index.
    pub index: &'a str,
    /// Its id.
    pub id: &'a str,
    /// The document itself.
    pub source: &'a Map<String, Value>,
}

/// How values of a field are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exact text.
    Keyword,
    /// Exact text without regard to case.
    Caseless,
    /// Text of words.
    Text,
    /// Numbers.
    Number,
    /// Truth values.
    Boolean,
    /// Points in time, in milliseconds as in Elasticsearch.
    Date,
    /// Addresses.
    Ip,
    /// Version numbers.
    Version,
    /// As each value is.
    Dynamic,
}

/// Of which types the values of a field are, as far as they were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    text: bool,
    truth: bool,
    whole: bool,
    real: bool,
}

impl Seen {
    /// Takes a value in.
    pub fn add(&mut self, value: RawValue<'_>) {
        match value {
            RawValue::Str(_) => self.text = true,
            RawValue::Bool(_) => self.truth = true,
            RawValue::Int(_) | RawValue::UInt(_) => self.whole = true,
            RawValue::Double(_) => self.real = true,
        }
    }
}

/// The fields of alerts, which ECS does not have.
const ALERT_DATES: [&str; 10] = [
    "kibana.alert.start",
    "kibana.alert.end",
    "kibana.alert.last_detected",
    "kibana.alert.intended_timestamp",
    "kibana.alert.original_time",
    "kibana.alert.workflow_status_updated_at",
    "kibana.alert.rule.created_at",
    "kibana.alert.rule.updated_at",
    "kibana.alert.rule.execution.timestamp",
    "kibana.alert.suppression.start",
];
const ALERT_REALS: [&str; 2] = ["kibana.alert.risk_score", "kibana.alert.rule.risk_score"];
const ALERT_NUMBERS: [&str; 6] = [
    "kibana.alert.depth",
    "kibana.alert.group.index",
    "kibana.alert.rule.version",
    "kibana.alert.rule.revision",
    "kibana.alert.rule.max_signals",
    "kibana.alert.suppression.docs_count",
];

fn kind(name: &str) -> Option<Kind> {
    if matches!(name, "message" | "error.message") {
        return Some(Kind::Text);
    }
    if let Some(original) = name.strip_prefix("kibana.alert.original_event.") {
        return kind(&format!("event.{original}"));
    }
    if name.starts_with("kibana.alert.") {
        return Some(match name {
            name if ALERT_DATES.contains(&name) => Kind::Date,
            name if ALERT_NUMBERS.contains(&name) || ALERT_REALS.contains(&name) => Kind::Number,
            _ => Kind::Dynamic,
        });
    }
    Some(match eqlipse_ecs::field_type(name)? {
        FieldType::Keyword if name.ends_with(".text") => Kind::Text,
        FieldType::Keyword if name.ends_with(".caseless") => Kind::Caseless,
        FieldType::Keyword => Kind::Keyword,
        FieldType::Long | FieldType::Double => Kind::Number,
        FieldType::Boolean => Kind::Boolean,
        FieldType::Date => Kind::Date,
        FieldType::Ip => Kind::Ip,
        FieldType::Version => Kind::Version,
        FieldType::Dynamic => Kind::Dynamic,
    })
}

/// Whether numbers of a field need not be whole.
fn is_real(name: &str) -> bool {
    match name.strip_prefix("kibana.alert.original_event.") {
        Some(original) => is_real(&format!("event.{original}")),
        None => ALERT_REALS.contains(&name) || eqlipse_ecs::field_type(name) == Some(FieldType::Double),
    }
}

/// A field by its dotted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    kind: Kind,
    /// The field that this one is another form of: `process.name` of `process.name.text`.
    parent: Option<usize>,
}

impl Field {
    /// The field of that name. What the catalogue does not know takes the type of each value.
    pub fn new(name: &str) -> Self {
        let forms = [(".text", Kind::Text), (".keyword", Kind::Keyword), (".caseless", Kind::Caseless)];
        let form = forms.into_iter().find_map(|(suffix, form)| Some((name.strip_suffix(suffix)?, form)));
        let parent = form.map(|(parent, _)| parent.len()).filter(|length| *length > 0);
        let known = if matches!(name, "_id" | "_index") { Some(Kind::Keyword) } else { kind(name) };
        let kind = known.or(form.map(|(_, form)| form)).unwrap_or(Kind::Dynamic);
        Self { name: name.to_owned(), kind, parent }
    }

    /// Its dotted name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its values are compared.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Elasticsearch's name for the mapping, as `_field_caps` says it. What the catalogue does not have is mapped by
    /// the values that were seen.
    pub fn mapping(&self, seen: Seen) -> &'static str {
        match self.kind {
            Kind::Keyword | Kind::Caseless => "keyword",
            Kind::Text => "text",
            Kind::Number if is_real(&self.name) => "double",
            Kind::Number => "long",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Ip => "ip",
            Kind::Version => "version",
            Kind::Dynamic => match seen {
                Seen { text: false, truth: false, real: true, .. } => "double",
                Seen { text: false, truth: false, whole: true, .. } => "long",
                Seen { text: false, truth: true, whole: false, real: false } => "boolean",
                _ => "keyword",
            },
        }
    }

    /// Whether it is another form of a field: `process.name.text` of `process.name`.
    pub fn is_form(&self) -> bool {
        self.parent.is_some()
    }

    /// Whether the catalogue has it or something below it decides its type.
    pub fn is_known(&self) -> bool {
        kind(&self.name).is_some()
    }

    /// Says whether any of the field's values passes. Nulls and empty arrays are no values.
    pub fn any(&self, document: &Document<'_>, test: &mut dyn FnMut(RawValue<'_>) -> bool) -> bool {
        match self.name.as_str() {
            "_id" => return test(RawValue::Str(document.id)),
            "_index" => return test(RawValue::Str(document.index)),
            _ => {}
        }
        let mut seen = false;
        let mut passes = |value: RawValue<'_>| {
            seen = true;
            test(value)
        };
        if find(document.source, &self.name, &mut |value| leaves(value, MAX_DEPTH, &mut passes)) {
            return true;
        }
        let parent = self.parent.filter(|_| !seen).and_then(|length| self.name.get(..length));
        parent.is_some_and(|parent| {
            find(document.source, parent, &mut |value| leaves(value, MAX_DEPTH, &mut |value| test(value)))
        })
    }

    /// All its values, in the order of the document.
    pub fn each(&self, document: &Document<'_>, visit: &mut dyn FnMut(RawValue<'_>)) {
        self.any(document, &mut |value| {
            visit(value);
            false
        });
    }

    /// Says whether it has any value; an object has one if anything in it has.
    pub fn exists(&self, document: &Document<'_>) -> bool {
        if matches!(self.name.as_str(), "_id" | "_index") {
            return true;
        }
        let parent = self.parent.and_then(|length| self.name.get(..length));
        let has = |name: &str| find(document.source, name, &mut |value| is_something(value, MAX_DEPTH));
        has(&self.name) || parent.is_some_and(has)
    }
}

/// Visits what stands below a dotted name, written out in any way: nested, dotted or both, with arrays on the way.
/// Stops at the first for which `visit` says yes.
pub fn find<'v>(map: &'v Map<String, Value>, name: &str, visit: &mut dyn FnMut(&'v Value) -> bool) -> bool {
    if map.get(name).is_some_and(&mut *visit) {
        return true;
    }
    name.match_indices('.').any(|(dot, _)| {
        let below = map.get(&name[..dot]);
        below.is_some_and(|value| find_below(value, &name[dot + 1..], MAX_DEPTH, visit))
    })
}

fn find_below<'v>(value: &'v Value, name: &str, depth: usize, visit: &mut dyn FnMut(&'v Value) -> bool) -> bool {
    match value {
        Value::Object(map) => find(map, name, visit),
        Value::Array(values) if depth > 0 => values.iter().any(|value| find_below(value, name, depth - 1, visit)),
        _ => false,
    }
}

/// Visits the scalars of a value and of arrays in it.
fn leaves(value: &Value, depth: usize, visit: &mut dyn FnMut(RawValue<'_>) -> bool) -> bool {
    match value {
        Value::Array(values) if depth > 0 => values.iter().any(|value| leaves(value, depth - 1, visit)),
        value => raw(value).is_some_and(visit),
    }
}

fn is_something(value: &Value, depth: usize) -> bool {
    match value {
        Value::Null => false,
        Value::Array(values) => depth > 0 && values.iter().any(|value| is_something(value, depth - 1)),
        Value::Object(map) => depth > 0 && map.values().any(|value| is_something(value, depth - 1)),
        _ => true,
    }
}

/// A scalar; none for null, objects and arrays.
pub fn raw(value: &Value) -> Option<RawValue<'_>> {
    match value {
        Value::String(text) => Some(RawValue::Str(text)),
        Value::Bool(is) => Some(RawValue::Bool(*is)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => RawValue::Int(number),
            (None, Some(number)) => RawValue::UInt(number),
            (None, None) => RawValue::Double(number.as_f64()?),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The scalar as JSON.
pub fn json(value: RawValue<'_>) -> Value {
    match value {
        RawValue::Str(text) => text.into(),
        RawValue::Int(number) => number.into(),
        RawValue::UInt(number) => number.into(),
        RawValue::Double(number) => number.into(),
        RawValue::Bool(is) => is.into(),
    }
}

/// Visits every leaf of a document with its dotted name. Stops at the first for which `visit` says yes.
pub fn any_leaf(source: &Map<String, Value>, visit: &mut dyn FnMut(&str, RawValue<'_>) -> bool) -> bool {
    fn below(
        value: &Value,
        name: &mut String,
        depth: usize,
        visit: &mut dyn FnMut(&str, RawValue<'_>) -> bool,
    ) -> bool {
        match value {
            Value::Object(map) => {
                depth > 0
                    && map.iter().any(|(key, value)| {
                        let length = name.len();
                        if length > 0 {
                            name.push('.');
                        }
                        name.push_str(key);
                        let found = below(value, name, depth - 1, visit);
                        name.truncate(length);
                        found
                    })
            }
            Value::Array(values) => depth > 0 && values.iter().any(|value| below(value, name, depth - 1, visit)),
            value => raw(value).is_some_and(|value| visit(name, value)),
        }
    }
    let mut name = String::new();
    source.iter().any(|(key, value)| {
        name.clear();
        name.push_str(key);
        below(value, &mut name, MAX_DEPTH, visit)
    })
}

/// Text of a scalar, as a keyword field has it.
pub fn text_of(value: RawValue<'_>, read: impl FnOnce(&str) -> bool) -> bool {
    match value {
        RawValue::Str(text) => read(text),
        RawValue::Int(number) => read(&number.to_string()),
        RawValue::UInt(number) => read(&number.to_string()),
        RawValue::Double(number) => read(&number.to_string()),
        RawValue::Bool(is) => read(if is { "true" } else { "false" }),
    }
}

/// A number, exact where it is whole.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// Whole.
    Whole(i128),
    /// Any other, never NaN.
    Real(f64),
}

impl Number {
    /// The nearest floating point number.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// A number from text.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let real = || text.parse::<f64>().ok().and_then(Self::real);
        text.parse::<i128>().ok().map(Self::Whole).or_else(real)
    }

    fn real(number: f64) -> Option<Self> {
        match number.fract() == 0.0 && number.abs() < 2f64.powi(63) {
            true => Some(Self::Whole(number as i128)),
            false if number.is_nan() => None,
            false => Some(Self::Real(number)),
        }
    }

    /// The scalar as a number; text too.
    pub fn of(value: RawValue<'_>) -> Option<Self> {
        match value {
            RawValue::Int(number) => Some(Self::Whole(number.into())),
            RawValue::UInt(number) => Some(Self::Whole(number.into())),
            RawValue::Double(number) => Self::real(number),
            RawValue::Str(text) => Self::parse(text),
            RawValue::Bool(_) => None,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (a, b) => a.as_f64().total_cmp(&b.as_f64()),
        }
    }
}

/// The scalar as milliseconds since the Unix epoch.
pub fn millis(value: RawValue<'_>) -> Option<i64> {
    coerce_date(value).map(|nanos| nanos.div_euclid(1_000_000))
}

/// The scalar as a truth value.
pub fn truth(value: RawValue<'_>) -> Option<bool> {
    match value {
        RawValue::Bool(is) => Some(is),
        RawValue::Str("true") => Some(true),
        RawValue::Str("false" | "") => Some(false),
        _ => None,
    }
}

/// The scalar as an address.
pub fn address(value: RawValue<'_>) -> Option<IpAddr> {
    match value {
        RawValue::Str(text) => parse_address(text),
        _ => None,
    }
}

/// Addresses in one order, as Elasticsearch has them: IPv4 as IPv6.
pub fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(document: &Value, name: &str) -> Vec<Value> {
        let document = Document { index: "i", id: "1", source: document.as_object().unwrap() };
        let mut values = Vec::new();
        Field::new(name).each(&document, &mut |value| values.push(super::json(value)));
        values
    }

    #[test]
    fn values_are_found_however_they_are_written() {
        for document in [
            json!({ "a": { "b": { "c": 1 } } }),
            json!({ "a.b.c": 1 }),
            json!({ "a.b": { "c": 1 } }),
            json!({ "a": { "b.c": 1 } }),
            json!({ "a": [{ "b": [{ "c": [[1]] }] }] }),
        ] {
            assert_eq!(values(&document, "a.b.c"), [json!(1)], "{document}");
        }
        let several = json!({ "a": [{ "b": 1 }, { "b": [2, null] }], "a.b": "x" });
        assert_eq!(values(&several, "a.b"), [json!("x"), json!(1), json!(2)]);
    }

    #[test]
    fn forms_of_a_field_read_its_values() {
        let document = json!({ "process": { "name": "cmd.exe" } });
        assert_eq!(values(&document, "process.name.text"), [json!("cmd.exe")]);
        assert_eq!(values(&document, "process.name.keyword"), [json!("cmd.exe")]);
        assert_eq!(Field::new("process.name.text").kind(), Kind::Text);
        assert_eq!(Field::new("message").kind(), Kind::Text);
        assert_eq!(values(&document, "_id"), [json!("1")]);
    }

    #[test]
    fn mappings_are_of_the_catalogue_or_of_what_was_seen() {
        let mapping = |name: &str, values: Value| {
            let mut seen = Seen::default();
            values.as_array().unwrap().iter().filter_map(raw).for_each(|value| seen.add(value));
            Field::new(name).mapping(seen)
        };
        for (name, values, wanted) in [
            ("process.pid", json!([]), "long"),
            ("event.risk_score", json!([]), "double"),
            ("kibana.alert.risk_score", json!([21]), "double"),
            ("kibana.alert.original_event.risk_score", json!([]), "double"),
            ("process.name", json!([1]), "keyword"),
            ("custom.a", json!([1, 2]), "long"),
            ("custom.a", json!([1, 2.5]), "double"),
            ("custom.a", json!([true]), "boolean"),
            ("custom.a", json!([true, 1]), "keyword"),
            ("custom.a", json!([1, "x"]), "keyword"),
            ("custom.a", json!([]), "keyword"),
        ] {
            assert_eq!(mapping(name, values.clone()), wanted, "{name} {values}");
        }
    }

    #[test]
    fn what_is_empty_does_not_exist() {
        let source =
            json!({ "a": null, "b": [], "c": [null], "d": {}, "e": { "f": null }, "g": "", "h": { "i": [0] } });
        let document = Document { index: "i", id: "1", source: source.as_object().unwrap() };
        let exists: Vec<&str> = ["a", "b", "c", "d", "e", "g", "h", "h.i"]
            .into_iter()
            .filter(|name| Field::new(name).exists(&document))
            .collect();
        assert_eq!(exists, ["g", "h", "h.i"]);
    }

    #[test]
    fn numbers_compare_exactly() {
        assert!(Number::Whole(i128::from(u64::MAX)) > Number::Whole(i128::from(i64::MAX)));
        assert_eq!(Number::parse("2.0"), Some(Number::Whole(2)));
        assert!(Number::parse("2.5").unwrap() > Number::Whole(2));
        assert_eq!(Number::parse("NaN").map(|_| ()), None);
    }
}
