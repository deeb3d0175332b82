//! From JSON to queries.

use serde_json::{Map, Value};

use eqlipse_engine::text::{Fold, Regex};

use super::date::{Clock, DateFormat, Zone};
use super::field::{Field, Kind};
use super::leaf::{Between, Bound, Ends, OneOf, scalar};
use super::pattern::Pattern;
use super::query::{AnyField, Bool, Order, Query, Words};
use super::words::words;
use super::{DslError, MAX_CLAUSES, MAX_DEPTH};

/// All queries that are known.
const NAMES: [&str; 18] = [
    "bool",
    "constant_score",
    "dis_max",
    "exists",
    "ids",
    "match",
    "match_all",
    "match_bool_prefix",
    "match_none",
    "match_phrase",
    "match_phrase_prefix",
    "multi_match",
    "nested",
    "prefix",
    "range",
    "regexp",
    "term",
    "terms",
];

/// Parameters that every query may have: the one changes scores only, the other is taken for all of them at once.
const WITHOUT_EFFECT: [&str; 2] = ["boost", "_name"];

impl Query {
    /// Reads a query. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// What is not known or does not fit, in Elasticsearch's words.
    pub fn parse(value: &Value, now: i64) -> Result<Self, DslError> {
        let mut parser = Parser { now, clauses: 0 };
        parser.query(value, 0)
    }
}

struct Parser {
    now: i64,
    /// How many queries and terms there are so far.
    clauses: usize,
}

fn object<'v>(value: &'v Value, query: &str) -> Result<&'v Map<String, Value>, DslError> {
    let malformed = || DslError::parsing(format!("[{query}] query malformed, no start_object after query name"));
    value.as_object().ok_or_else(malformed)
}

fn unsupported(query: &str, key: &str) -> DslError {
    DslError::parsing(format!("[{query}] query does not support [{key}]"))
}

/// The field of a query about one field, and what is said of it.
fn one_field<'v>(body: &'v Map<String, Value>, query: &str) -> Result<(&'v str, &'v Value), DslError> {
    let mut fields = body.iter().filter(|(key, _)| !WITHOUT_EFFECT.contains(&key.as_str()));
    let Some((field, value)) = fields.next() else {
        return Err(DslError::argument("field name is null or empty"));
    };
    match fields.next() {
        None if field.is_empty() => Err(DslError::argument("field name is null or empty")),
        None => Ok((field, value)),
        Some((other, _)) => Err(DslError::parsing(format!(
            "[{query}] query doesn't support multiple fields, found [{field}] and [{other}]"
        ))),
    }
}

/// `_name`, in the body of a query or in what it says of its field.
fn own_name(body: &Value) -> Result<Option<String>, DslError> {
    let Some(body) = body.as_object() else { return Ok(None) };
    let one = body.values().next().filter(|_| body.len() == 1).and_then(Value::as_object);
    // A field's name may be a query's: `{"bool": {"must": {…}}}` says nothing of a field.
    let name = body.get("_name").or_else(|| one.filter(|one| !one.values().any(Value::is_object))?.get("_name"));
    name.map(|name| scalar(name, "_name")).transpose()
}

/// What a query says beside the value of its field: `{"value": …, "case_insensitive": true}` or the value alone.
struct Said<'v> {
    value: &'v Value,
    options: Vec<(&'v str, &'v Value)>,
}

fn said<'v>(value: &'v Value, query: &str, names: &[&str], known: &[&str]) -> Result<Said<'v>, DslError> {
    let Value::Object(map) = value else { return Ok(Said { value, options: Vec::new() }) };
    let mut found = None;
    let mut options = Vec::new();
    for (key, value) in map {
        match key.as_str() {
            name if names.contains(&name) => found = Some(value),
            name if WITHOUT_EFFECT.contains(&name) => {}
            name if known.contains(&name) => options.push((name, value)),
            name => return Err(unsupported(query, name)),
        }
    }
    let value = found.ok_or_else(|| DslError::argument(format!("[{query}]: value cannot be null")))?;
    Ok(Said { value, options })
}

impl Said<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// Refuses what would make other words of a text, or take others for the same.
    fn must_be_plain(&self, query: &str) -> Result<(), DslError> {
        let is_exact = |value: &Value| value.is_null() || value.as_u64() == Some(0) || value.as_str() == Some("0");
        if self.get("fuzziness").is_some_and(|fuzziness| !is_exact(fuzziness)) {
            return Err(DslError::argument(format!("[{query}] query: [fuzziness] is not supported")));
        }
        match self.get("analyzer").filter(|name| !name.is_null() && name.as_str() != Some("standard")) {
            Some(name) => Err(DslError::argument(format!(
                "[{query}] query: the analyzer {name} is not supported, only [standard]"
            ))),
            None => Ok(()),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, DslError> {
        self.get(name).map_or(Ok(false), |value| flag(value, name))
    }
}

/// A truth value, also as text.
pub(crate) fn flag(value: &Value, name: &str) -> Result<bool, DslError> {
    match value {
        Value::Bool(is) => Ok(*is),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(DslError::parsing(format!(
            "Failed to parse value [{other}] for [{name}] as only [true] or [false] are allowed."
        ))),
    }
}

/// A whole number that is not negative, also as text.
pub(crate) fn count(value: &Value, name: &str) -> Result<usize, DslError> {
    let number = match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let bad = || DslError::argument(format!("[{name}] must be a whole number, 0 or more, found [{value}]"));
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(bad)
}

impl Parser {
    fn query(&mut self, value: &Value, depth: usize) -> Result<Query, DslError> {
        if depth > MAX_DEPTH {
            let reason = format!(
                "The nested depth of the query exceeds the maximum nested depth for queries set in [indices.query.bool.max_nested_depth] ({MAX_DEPTH})"
            );
            return Err(DslError::argument(reason));
        }
        self.count(1)?;
        let Some(map) = value.as_object() else {
            return Err(DslError::parsing(format!(
                "[_na] query malformed, must start with start_object, found [{}]",
                kind_of(value)
            )));
        };
        let mut entries = map.iter();
        let Some((name, body)) = entries.next() else {
            return Err(DslError::argument("query malformed, empty clause found"));
        };
        if let Some((other, _)) = entries.next() {
            return Err(DslError::parsing(format!(
                "[{name}] malformed query, expected [END_OBJECT] but found [FIELD_NAME] ([{other}])"
            )));
        }
        let query = self.by_name(name, body, depth)?;
        Ok(match own_name(body)? {
            Some(name) => Query::Named(name, Box::new(query)),
            None => query,
        })
    }

    fn by_name(&mut self, name: &str, body: &Value, depth: usize) -> Result<Query, DslError> {
        match name {
            "match_all" | "match_none" => {
                let bad = object(body, name)?.keys().find(|key| !WITHOUT_EFFECT.contains(&key.as_str()));
                match bad {
                    Some(key) => Err(unsupported(name, key)),
                    None if name == "match_all" => Ok(Query::All),
                    None => Ok(Query::None),
                }
            }
            "bool" => self.bool(object(body, name)?, depth),
            "constant_score" => self.wrapped(object(body, name)?, name, "filter", &[], depth),
            "nested" => self.nested(object(body, name)?, depth),
            "dis_max" => self.dis_max(object(body, name)?, depth),
            "term" => self.term(object(body, name)?),
            "terms" => self.terms(object(body, name)?),
            "range" => self.range(object(body, name)?),
            "exists" => exists(object(body, name)?),
            "wildcard" | "prefix" | "regexp" => pattern(object(body, name)?, name),
            "match" | "match_phrase" | "match_phrase_prefix" | "match_bool_prefix" => {
                self.text(object(body, name)?, name)
            }
            "multi_match" => self.multi_match(object(body, name)?),
            "ids" => self.ids(object(body, name)?),
            name => Err(DslError::parsing(format!("unknown query [{name}]{}", did_you_mean(name, &NAMES)))),
        }
    }

    fn count(&mut self, clauses: usize) -> Result<(), DslError> {
        self.clauses += clauses;
        if self.clauses > MAX_CLAUSES {
            return Err(DslError::argument(format!(
                "The query has more than {MAX_CLAUSES} clauses and terms (index.max_terms_count)"
            )));
        }
        Ok(())
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now, zone: Zone::default() }
    }

    fn several(&mut self, value: &Value, depth: usize) -> Result<Vec<Query>, DslError> {
        match value {
            Value::Array(values) => values.iter().map(|value| self.query(value, depth + 1)).collect(),
            value => Ok(vec![self.query(value, depth + 1)?]),
        }
    }

    fn bool(&mut self, body: &Map<String, Value>, depth: usize) -> Result<Query, DslError> {
        let mut bool = Bool::default();
        let mut minimum = None;
        for (key, value) in body {
            match key.as_str() {
                "must" | "filter" => bool.all.extend(self.several(value, depth)?),
                "must_not" | "mustNot" => bool.none.extend(self.several(value, depth)?),
                "should" => bool.any.extend(self.several(value, depth)?),
                "minimum_should_match" => minimum = Some(value),
                "adjust_pure_negative" => _ = flag(value, key)?,
                key if WITHOUT_EFFECT.contains(&key) => {}
                key => return Err(unsupported("bool", key)),
            }
        }
        let needed = minimum.map(|minimum| minimum_of(minimum, bool.any.len())).transpose()?.unwrap_or(0);
        bool.needed = match (bool.all.is_empty(), bool.any.is_empty()) {
            // Where nothing else must pass, one of `should` must, whatever the minimum comes to.
            (true, false) => needed.max(1),
            // Without any clause it is `match_all`.
            (true, true) if bool.none.is_empty() => 0,
            _ => needed,
        };
        Ok(Query::Bool(bool))
    }

    /// A query in another, at `inner`.
    fn wrapped(
        &mut self,
        body: &Map<String, Value>,
        name: &str,
        inner: &str,
        known: &[&str],
        depth: usize,
    ) -> Result<Query, DslError> {
        let unknown = body
            .keys()
            .find(|key| *key != inner && !WITHOUT_EFFECT.contains(&key.as_str()) && !known.contains(&key.as_str()));
        if let Some(key) = unknown {
            return Err(unsupported(name, key));
        }
        let value =
            body.get(inner).ok_or_else(|| DslError::parsing(format!("[{name}] requires a '{inner}' element")))?;
        self.query(value, depth + 1)
    }

    fn nested(&mut self, body: &Map<String, Value>, depth: usize) -> Result<Query, DslError> {
        let query = self.wrapped(body, "nested", "query", &["path", "score_mode", "ignore_unmapped"], depth)?;
        let path = body
            .get("path")
            .and_then(Value::as_str)
            .ok_or_else(|| DslError::parsing("[nested] requires 'path' field"))?;
        Ok(Query::Nested(path.to_owned(), Box::new(query)))
    }

    fn dis_max(&mut self, body: &Map<String, Value>, depth: usize) -> Result<Query, DslError> {
        let unknown = body.keys().find(|key| !["queries", "tie_breaker", "boost", "_name"].contains(&key.as_str()));
        if let Some(key) = unknown {
            return Err(unsupported("dis_max", key));
        }
        let queries = body
            .get("queries")
            .ok_or_else(|| DslError::parsing("[dis_max] requires 'queries' field with at least one clause"))?;
        self.several(queries, depth).map(Query::Any)
    }

    fn term(&mut self, body: &Map<String, Value>) -> Result<Query, DslError> {
        let (name, value) = one_field(body, "term")?;
        let said = said(value, "term", &["value", "term"], &["case_insensitive"])?;
        let field = Field::new(name);
        let test = OneOf::new(&field, &[said.value], said.flag("case_insensitive")?, &self.clock())?;
        Ok(Query::OneOf(field, test))
    }

    fn terms(&mut self, body: &Map<String, Value>) -> Result<Query, DslError> {
        let (name, value) = one_field(body, "terms")?;
        let values = match value {
            Value::Array(values) => values,
            Value::Object(_) => {
                return Err(DslError::parsing("[terms] query: lookup of terms in another document is not supported"));
            }
            _ => return Err(unsupported("terms", name)),
        };
        if values.is_empty() {
            return Ok(Query::None);
        }
        self.count(values.len())?;
        let field = Field::new(name);
        let test = OneOf::new(&field, &values.iter().collect::<Vec<_>>(), false, &self.clock())?;
        Ok(Query::OneOf(field, test))
    }

    fn range(&mut self, body: &Map<String, Value>) -> Result<Query, DslError> {
        let (name, value) = one_field(body, "range")?;
        let said = object(value, "range")?;
        let (mut low, mut high) = (None, None);
        let (mut include_lower, mut include_upper) = (true, true);
        let mut format = None;
        let mut clock = self.clock();
        let bound = |value: &Value, included| (!value.is_null()).then(|| Bound { value: value.clone(), included });
        for (key, value) in said {
            match key.as_str() {
                "gte" => low = bound(value, true),
                "gt" => low = bound(value, false),
                "lte" => high = bound(value, true),
                "lt" => high = bound(value, false),
                "from" => low = bound(value, true),
                "to" => high = bound(value, true),
                "include_lower" => include_lower = flag(value, key)?,
                "include_upper" => include_upper = flag(value, key)?,
                "format" => format = Some(DateFormat::parse(&scalar(value, "range")?)?),
                "time_zone" => clock.zone = Zone::parse(&scalar(value, "range")?)?,
                "relation" => {}
                key if WITHOUT_EFFECT.contains(&key) => {}
                key => return Err(unsupported("range", key)),
            }
        }
        if let Some(low) = low.as_mut().filter(|_| !include_lower) {
            low.included = false;
        }
        if let Some(high) = high.as_mut().filter(|_| !include_upper) {
            high.included = false;
        }
        let field = Field::new(name);
        if low.is_none() && high.is_none() {
            return Ok(Query::Exists(field));
        }
        let test = Between::new(&field, &Ends { low, high }, format.as_ref(), &clock)?;
        Ok(Query::Range(field, test))
    }

    fn text(&mut self, body: &Map<String, Value>, query: &str) -> Result<Query, DslError> {
        let (name, value) = one_field(body, query)?;
        let known = [
            "operator",
            "minimum_should_match",
            "slop",
            "lenient",
            "zero_terms_query",
            "fuzziness",
            "analyzer",
            "max_expansions",
            "auto_generate_synonyms_phrase_query",
            "prefix_length",
            "fuzzy_transpositions",
        ];
        let said = said(value, query, &["query"], &known)?;
        said.must_be_plain(query)?;
        self.text_query(name, &said, query)
    }

    fn text_query(&mut self, name: &str, said: &Said<'_>, query: &str) -> Result<Query, DslError> {
        let field = Field::new(name);
        if field.kind() != Kind::Text {
            let tested = match query {
                "match_phrase_prefix" | "match_bool_prefix" => {
                    return Ok(Query::Like(field, Pattern::prefix(&scalar(said.value, query)?, false)));
                }
                _ => OneOf::new(&field, &[said.value], false, &self.clock()),
            };
            return match tested {
                Ok(test) => Ok(Query::OneOf(field, test)),
                Err(_) if said.flag("lenient")? => Ok(Query::None),
                Err(error) => Err(error),
            };
        }
        let wanted = wanted_words(said, query)?;
        if wanted.words.is_empty() {
            let all = said.get("zero_terms_query").and_then(Value::as_str) == Some("all");
            return Ok(if all { Query::All } else { Query::None });
        }
        Ok(Query::Words(field, wanted))
    }

    fn multi_match(&mut self, body: &Map<String, Value>) -> Result<Query, DslError> {
        let mut options = Vec::new();
        let (mut text, mut fields, mut kind) = (None, Vec::new(), "best_fields");
        for (key, value) in body {
            match key.as_str() {
                "query" => text = Some(value),
                "fields" => fields = names(value)?,
                "type" => kind = value.as_str().unwrap_or("best_fields"),
                "operator"
                | "minimum_should_match"
                | "slop"
                | "lenient"
                | "zero_terms_query"
                | "fuzziness"
                | "analyzer" => {
                    options.push((key.as_str(), value));
                }
                "tie_breaker" | "auto_generate_synonyms_phrase_query" | "max_expansions" => {}
                key if WITHOUT_EFFECT.contains(&key) => {}
                key => return Err(unsupported("multi_match", key)),
            }
        }
        let query = match kind {
            "best_fields" | "most_fields" | "cross_fields" => "match",
            "phrase" => "match_phrase",
            "phrase_prefix" => "match_phrase_prefix",
            "bool_prefix" => "match_bool_prefix",
            kind => {
                return Err(DslError::parsing(format!(
                    "failed to parse [multi_match] query type [{kind}]. unknown type."
                )));
            }
        };
        let value = text.ok_or_else(|| DslError::parsing("No text specified for multi_match query"))?;
        let said = Said { value, options };
        said.must_be_plain("multi_match")?;
        if fields.is_empty() {
            fields.push("*".to_owned());
        }
        self.count(fields.len())?;
        let (patterns, plain): (Vec<String>, Vec<String>) = fields.into_iter().partition(|name| name.contains('*'));
        if kind == "cross_fields" && wanted_words(&said, query)?.needs_several() {
            return match patterns.first() {
                None => self.across(&plain, &said),
                Some(pattern) => Err(DslError::argument(format!(
                    "[multi_match] of the type [cross_fields] that needs several words is not supported over the pattern [{pattern}]"
                ))),
            };
        }
        let mut queries =
            plain.iter().map(|name| self.text_query(name, &said, query)).collect::<Result<Vec<_>, _>>()?;
        if !patterns.is_empty() {
            let names = patterns.iter().map(|name| Pattern::wildcard(name, false)).collect();
            let any = AnyField { names, text: scalar(value, "multi_match")?, words: wanted_words(&said, query)? };
            queries.push(Query::AnyField(any));
        }
        Ok(Query::Any(queries))
    }

    /// `cross_fields`: each word may stand in any of the fields that have words. Other fields have the whole text.
    fn across(&mut self, names: &[String], said: &Said<'_>) -> Result<Query, DslError> {
        let wanted = wanted_words(said, "match")?;
        let Order::Anywhere(needed) = wanted.order else { return Ok(Query::None) };
        let (texts, others): (Vec<&String>, Vec<&String>) =
            names.iter().partition(|name| Field::new(name).kind() == Kind::Text);
        self.count(wanted.words.len() * texts.len())?;
        let anywhere = |word: &String| {
            let alone = Words { words: vec![word.clone()], order: Order::Anywhere(1), prefix: false };
            Query::Any(texts.iter().map(|name| Query::Words(Field::new(name), alone.clone())).collect())
        };
        let any = wanted.words.iter().map(anywhere).collect();
        let mut queries = vec![Query::Bool(Bool { any, needed, ..Bool::default() })];
        for name in others {
            queries.push(self.text_query(name, said, "match")?);
        }
        Ok(Query::Any(queries))
    }

    fn ids(&mut self, body: &Map<String, Value>) -> Result<Query, DslError> {
        if let Some(key) = body.keys().find(|key| *key != "values" && !WITHOUT_EFFECT.contains(&key.as_str())) {
            return Err(unsupported("ids", key));
        }
        let values =
            body.get("values").ok_or_else(|| DslError::parsing("[ids] requires providing a values array of ids"))?;
        let values = match values {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        self.count(values.len())?;
        values.iter().map(|value| scalar(value, "ids")).collect::<Result<_, _>>().map(Query::Ids)
    }
}

/// Names of fields, without `^boost`.
fn names(value: &Value) -> Result<Vec<String>, DslError> {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    let name = |value: &Value| {
        let name = scalar(value, "multi_match")?;
        Ok(name.split('^').next().unwrap_or_default().to_owned())
    };
    values.iter().map(name).collect()
}

fn wanted_words(said: &Said<'_>, query: &str) -> Result<Words, DslError> {
    let words = words(&scalar(said.value, query)?);
    let prefix = query.ends_with("_prefix");
    if query.starts_with("match_phrase") {
        let slop = said.get("slop").map_or(Ok(0), |value| count(value, "slop"))?;
        return Ok(Words { words, order: Order::Phrase(slop), prefix });
    }
    let operator = said.get("operator").and_then(Value::as_str).unwrap_or("or").to_lowercase();
    let needed = match (operator.as_str(), said.get("minimum_should_match")) {
        ("and", _) => words.len(),
        ("or", Some(minimum)) => minimum_of(minimum, words.len())?.max(1),
        ("or", None) => 1,
        (other, _) => {
            return Err(DslError::argument(format!(
                "No enum constant org.elasticsearch.index.query.Operator.{}",
                other.to_uppercase()
            )));
        }
    };
    Ok(Words { words, order: Order::Anywhere(needed), prefix })
}

fn exists(body: &Map<String, Value>) -> Result<Query, DslError> {
    if let Some(key) = body.keys().find(|key| *key != "field" && !WITHOUT_EFFECT.contains(&key.as_str())) {
        return Err(unsupported("exists", key));
    }
    let name = body.get("field").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| DslError::parsing("[exists] must be provided with a [field]"))?;
    Ok(match name.contains('*') {
        true => Query::ExistsLike(Pattern::wildcard(name, false)),
        false => Query::Exists(Field::new(name)),
    })
}

fn pattern(body: &Map<String, Value>, query: &str) -> Result<Query, DslError> {
    let (name, value) = one_field(body, query)?;
    let known = ["case_insensitive", "rewrite", "flags", "max_determinized_states", "flags_value"];
    let said = said(value, query, &["value", "wildcard", "prefix"], &known)?;
    let text = scalar(said.value, query)?;
    let field = Field::new(name);
    let ignore_case = said.flag("case_insensitive")? || field.kind() == Kind::Caseless;
    if query == "regexp" {
        let fold = if ignore_case { Fold::Unicode } else { Fold::None };
        let bad = |error| DslError::argument(format!("failed to parse regexp for field [{name}]: {error}"));
        return Ok(Query::Regexp(field, Box::new(Regex::new(&text, fold).map_err(bad)?)));
    }
    let pattern = match query {
        "prefix" => Pattern::prefix(&text, ignore_case),
        _ => Pattern::wildcard(&text, ignore_case),
    };
    Ok(Query::Like(field, pattern))
}

/// `minimum_should_match`: `2`, `-1`, `75%`, `-25%`, or `3<90%` with several conditions.
fn minimum_of(value: &Value, clauses: usize) -> Result<usize, DslError> {
    let text = scalar(value, "minimum_should_match")?;
    let bad = || DslError::argument(format!("failed to parse [minimum_should_match] value [{text}]"));
    let plain = |text: &str| -> Option<i64> {
        let clauses = clauses as i64;
        let needed = match text.strip_suffix('%') {
            Some(percent) => {
                let percent: i64 = percent.trim().parse().ok().filter(|percent: &i64| percent.abs() <= 1_000_000)?;
                let share = clauses * percent / 100;
                if percent < 0 { clauses + share } else { share }
            }
            None => {
                let number: i64 = text.trim().parse().ok()?;
                if number < 0 { clauses.saturating_add(number) } else { number }
            }
        };
        Some(needed)
    };
    let mut needed = None;
    if text.contains('<') {
        needed = Some(clauses as i64);
        for part in text.split_whitespace() {
            let (above, spec) = part.split_once('<').ok_or_else(bad)?;
            let above: usize = above.parse().map_err(|_| bad())?;
            let spec = plain(spec).ok_or_else(bad)?;
            if clauses > above {
                needed = Some(spec);
            }
        }
    }
    let needed = needed.or_else(|| plain(&text)).ok_or_else(bad)?;
    Ok(usize::try_from(needed.max(0)).unwrap_or(usize::MAX))
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "VALUE_NULL",
        Value::Bool(_) => "VALUE_BOOLEAN",
        Value::Number(_) => "VALUE_NUMBER",
        Value::String(_) => "VALUE_STRING",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

/// ` did you mean [x]?` where a known name is near.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let distance = |a: &str, b: &str| {
        let b: Vec<char> = b.chars().collect();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.chars().take(64).enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    };
    let near = known.iter().map(|known| (distance(name, known), *known)).min();
    match near {
        Some((distance, known)) if distance <= 2 => format!(" did you mean [{known}]?"),
        _ => String::new(),
    }
}
