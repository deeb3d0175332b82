//! JSON: single rules, arrays, NDJSON exports and the assets of the prebuilt package.

use serde_json::{Map, Value};

use crate::load::found::{Entry, Found, rule};
use crate::load::{LoadError, SkipReason};
use crate::rule::{Rule, RuleType};

/// Lines of NDJSON after which a file without anything known counts as no rule file.
const UNKNOWN_LINES: usize = 50;

/// Reads a JSON or NDJSON text.
pub(crate) fn read(text: &str) -> Result<Vec<Found>, LoadError> {
    match lines_of_objects(text) {
        true => read_lines(text),
        false => read_document(text),
    }
}

/// NDJSON has an object on a line of its own, and something else besides.
fn lines_of_objects(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let Some(first) = lines.next() else { return false };
    let Some(second) = lines.next() else { return false };
    // A broken first line must not hide the rest; a document over several lines has no whole object on its second.
    [first, second].iter().any(|line| line.trim_start().starts_with('{') && parse(line, 1).is_ok())
        && first.trim_start().starts_with('{')
}

fn read_lines(text: &str) -> Result<Vec<Found>, LoadError> {
    let mut found = Vec::new();
    let mut known = false;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry = parse(line, index + 1).and_then(|value| entry(value, true));
        known |= matches!(&entry, Ok(_) | Err(LoadError::Rule { .. }));
        found.push(Found::new(line.as_bytes(), entry).at_line(index + 1));
        if !known && found.len() >= UNKNOWN_LINES {
            break;
        }
    }
    match known {
        true => Ok(found),
        false => Err(LoadError::NotARule(format!("NDJSON in whose first {} lines there is no rule", found.len()))),
    }
}

fn read_document(text: &str) -> Result<Vec<Found>, LoadError> {
    let value = parse(text, 1).map_err(|error| unless_rule_like(error, text))?;
    match value {
        Value::Array(items) => read_array(items),
        Value::Object(mut page) if page.get("data").is_some_and(Value::is_array) && page.contains_key("total") => {
            match page.shift_remove("data") {
                Some(Value::Array(items)) => read_array(items),
                _ => Ok(Vec::new()),
            }
        }
        value => Ok(vec![Found::new(text.as_bytes(), Ok(entry(value, false)?))]),
    }
}

/// Broken JSON that does not speak of rules is somebody else's file.
fn unless_rule_like(error: LoadError, text: &str) -> LoadError {
    let marks = ["\"rule_id\"", "\"security-rule\"", "\"risk_score\""];
    match marks.iter().any(|mark| text.contains(mark)) {
        true => error,
        false => LoadError::NotARule(format!("broken JSON ({})", first_line(&error.to_string()))),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn read_array(items: Vec<Value>) -> Result<Vec<Found>, LoadError> {
    let mut found = Vec::with_capacity(items.len());
    let mut known = items.is_empty();
    for item in items {
        let text = item.to_string();
        let entry = entry(item, true);
        known |= matches!(&entry, Ok(_) | Err(LoadError::Rule { .. }));
        found.push(Found::new(text.as_bytes(), entry));
    }
    match known {
        true => Ok(found),
        false => Err(LoadError::NotARule("a JSON array without a rule in it".to_owned())),
    }
}

/// Nesting is bounded by the parser, which refuses more than 128 levels.
fn parse(text: &str, first_line: usize) -> Result<Value, LoadError> {
    serde_json::from_str(text).map_err(|error| {
        let line_start = match error.line() {
            0 | 1 => 0,
            line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at + 1),
        };
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let offset = line_start + error.column().saturating_sub(1);
        LoadError::syntax("JSON", message.to_owned(), text, offset, first_line)
    })
}

/// Tells the objects of exports and packages apart. Among others, an object with a type but little else is taken for
/// a broken rule; alone, it is not.
fn entry(value: Value, among_others: bool) -> Result<Entry, LoadError> {
    let Value::Object(mut map) = value else {
        return Err(LoadError::NotARule("JSON that is not an object".to_owned()));
    };
    if let Some(saved) = saved_object(&mut map) {
        return saved;
    }
    if is_rule(&map) {
        return rule(map);
    }
    let has = |field: &str| map.contains_key(field);
    if has("exported_rules_count") || has("exported_count") {
        let rules = map.get("exported_rules_count").and_then(Value::as_u64);
        return Ok(Entry::Summary { rules });
    }
    if is_stub(&map) {
        return Ok(Entry::Skipped(SkipReason::DeprecatedStub));
    }
    if has("item_id") && has("list_id") {
        return Ok(Entry::Skipped(SkipReason::ExceptionItem));
    }
    if has("list_id") && has("namespace_type") {
        return Ok(Entry::Skipped(SkipReason::ExceptionList));
    }
    if has("exported_exception_list_count") {
        return Ok(Entry::Summary { rules: None });
    }
    if has("rule_id") && among_others {
        return rule(map);
    }
    Err(LoadError::NotARule("a JSON object without the fields of a rule".to_owned()))
}

fn is_rule(map: &Map<String, Value>) -> bool {
    let has = |field: &str| map.contains_key(field);
    let typed = map.get("type").and_then(Value::as_str).is_some_and(|name| RuleType::parse(name).is_some());
    (typed && (has("name") || has("rule_id") || has("query")))
        || (has("rule_id") && (has("query") || has("risk_score")))
        || (has("type") && has("risk_score") && has("name"))
}

fn is_stub(map: &Map<String, Value>) -> bool {
    map.contains_key("rule_id") && !map.contains_key("type") && map.get("deprecated") == Some(&Value::Bool(true))
}

/// Kibana's saved objects wrap their content in `attributes`.
fn saved_object(map: &mut Map<String, Value>) -> Option<Result<Entry, LoadError>> {
    let kind = map.get("type")?.as_str()?.to_owned();
    if !map.get("attributes")?.is_object() {
        return None;
    }
    let Some(Value::Object(attributes)) = map.shift_remove("attributes") else { return None };
    Some(match kind.as_str() {
        "security-rule" if is_stub(&attributes) => Ok(Entry::Skipped(SkipReason::DeprecatedStub)),
        "security-rule" => Rule::from_json(attributes).map(|rule| Entry::Asset(Box::new(rule))).map_err(Into::into),
        "action" => Ok(Entry::Skipped(SkipReason::Connector)),
        _ => Ok(Entry::Skipped(SkipReason::SavedObject(kind))),
    })
}
