//! Rule files of the detection-rules repository.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::load::found::{Entry, Found};
use crate::load::{LoadError, SkipReason};
use crate::problem::Problem;
use crate::read::RuleError;
use crate::rule::Rule;

/// Reads a TOML file, which holds one rule.
pub(crate) fn read(text: &str) -> Result<Vec<Found>, LoadError> {
    let mut document = parse(text).map_err(|error| unless_rule_like(error, text))?;
    if let Some(reason) = other_kind(&document) {
        return Ok(vec![Found::new(text.as_bytes(), Ok(Entry::Skipped(reason)))]);
    }
    let Some(rule) = document.remove("rule") else {
        return Err(LoadError::NotARule("TOML without a [rule] table".to_owned()));
    };
    let DeValue::Table(table) = rule.into_inner() else {
        return Err(LoadError::NotARule("`rule` is not a table".to_owned()));
    };
    if is_endpoint_rule(&table) {
        return Err(LoadError::NotARule("an Elastic Defend behavior rule, which is another format".to_owned()));
    }
    let query_offset = table.get("query").and_then(|query| query_offset(text, query));
    let entry = read_rule(table, document).map_err(|error| located(error, text));
    let mut found = Found::new(text.as_bytes(), entry);
    found.query_offset = query_offset;
    Ok(vec![found])
}

fn parse(text: &str) -> Result<DeTable<'_>, LoadError> {
    match DeTable::parse(text) {
        Ok(table) => Ok(table.into_inner()),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            Err(LoadError::syntax("TOML", error.message().to_owned(), text, offset, 1))
        }
    }
}

/// Broken TOML that has no rule table is somebody else's file.
fn unless_rule_like(error: LoadError, text: &str) -> LoadError {
    let has_rule = text.lines().any(|line| line.trim_start().trim_start_matches('[').trim_start().starts_with("rule"));
    match (has_rule, &error) {
        (false, LoadError::Syntax { message, line, .. }) => {
            LoadError::NotARule(format!("broken TOML without a [rule] table ({message} at line {line})"))
        }
        _ => error,
    }
}

/// The repository's other TOML files, told apart by their tables.
fn other_kind(document: &DeTable<'_>) -> Option<SkipReason> {
    if document.contains_key("rule") {
        None
    } else if document.contains_key("exceptions") {
        Some(SkipReason::ExceptionList)
    } else if document.contains_key("action_connectors") {
        Some(SkipReason::Connector)
    } else {
        None
    }
}

fn is_endpoint_rule(table: &DeTable<'_>) -> bool {
    !table.contains_key("type") && (table.contains_key("os_list") || table.contains_key("min_endpoint_version"))
}

fn read_rule(table: DeTable<'_>, mut document: DeTable<'_>) -> Result<Entry, RuleError> {
    let mut map = to_map(table);
    flatten_new_terms(&mut map);
    move_setup(&mut map);
    let has_metadata = document.contains_key("metadata");
    for name in ["metadata", "transform"] {
        if let Some(value) = document.remove(name) {
            map.insert(name.to_owned(), to_json(value.into_inner()));
        }
    }
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        wrap_integration(metadata);
    }
    let mut rule = Rule::from_json(map)?;
    if !has_metadata {
        rule.read_problems.push(Problem::warning("metadata", "the file has no [metadata] table"));
    }
    // The tests of the rule are read by who runs them.
    document.remove("tests");
    for name in document.keys() {
        let name: &str = name.get_ref();
        rule.read_problems.push(Problem::warning(name, "unknown table or key outside of [rule], ignored"));
    }
    Ok(Entry::Rule(Box::new(rule)))
}

/// `integration` is a text or a list of texts.
fn wrap_integration(metadata: &mut Map<String, Value>) {
    if let Some(value @ Value::String(_)) = metadata.get_mut("integration") {
        let single = value.take();
        *value = Value::Array(vec![single]);
    }
}

/// Turns `[rule.new_terms]` with its `field` and `value` pairs into the API's fields.
fn flatten_new_terms(map: &mut Map<String, Value>) {
    if !map.get("new_terms").is_some_and(Value::is_object) {
        return;
    }
    let Some(Value::Object(mut table)) = map.shift_remove("new_terms") else { return };
    let windows = table.shift_remove("history_window_start");
    let mut pairs = vec![Value::Object(table)];
    match windows {
        Some(Value::Array(items)) => pairs.extend(items),
        Some(other) => pairs.push(other),
        None => {}
    }
    for pair in pairs {
        let Value::Object(mut pair) = pair else { continue };
        let (field, value) = (pair.shift_remove("field"), pair.shift_remove("value"));
        if let (Some(Value::String(field)), Some(value)) = (field, value) {
            map.insert(field, value);
        }
    }
}

/// Moves the guide's `## Setup` section to the field of that name, as the repository does for its releases.
fn move_setup(map: &mut Map<String, Value>) {
    if map.get("setup").and_then(Value::as_str).is_some_and(|setup| !setup.is_empty()) {
        return;
    }
    let Some(note) = map.get("note").and_then(Value::as_str) else { return };
    let Some((kept, setup)) = split_setup(note) else { return };
    map.insert("note".to_owned(), Value::String(kept));
    map.insert("setup".to_owned(), Value::String(setup));
}

fn split_setup(note: &str) -> Option<(String, String)> {
    let mut fenced = false;
    let (mut start, mut end) = (None, note.len());
    let mut offset = 0;
    for line in note.split_inclusive('\n') {
        let text = line.trim_end();
        if text.starts_with("```") {
            fenced = !fenced;
        }
        let is_section = !fenced && (text.starts_with("# ") || text.starts_with("## "));
        match start {
            None if is_section && text.trim_start_matches('#').trim() == "Setup" => start = Some(offset),
            Some(_) if is_section => {
                end = offset;
                break;
            }
            _ => {}
        }
        offset += line.len();
    }
    let start = start?;
    let kept = format!("{}\n{}", note[..start].trim_end(), &note[end..]);
    Some((kept.trim().to_owned(), note[start..end].trim_end().to_owned()))
}

/// Where the text of a query begins, if it stands in the file letter by letter.
fn query_offset(text: &str, query: &Spanned<DeValue<'_>>) -> Option<usize> {
    let content = query.get_ref().as_str()?;
    let span = query.span();
    let raw = text.get(span.clone())?;
    let quotes = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quotes| raw.starts_with(quotes))?;
    let mut offset = span.start + quotes.len();
    if quotes.len() == 3 {
        // The first line break behind the quotes is not part of the text.
        let rest = &text[offset..];
        offset += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    text[offset..span.end].starts_with(content).then_some(offset)
}

/// Adds the line on which the first fault's field stands.
fn located(error: RuleError, text: &str) -> LoadError {
    let offset = error.faults.first().and_then(|fault| field_offset(text, &fault.field));
    match offset {
        Some(offset) => LoadError::rule_at(error, text, offset),
        None => error.into(),
    }
}

fn field_offset(text: &str, field: &str) -> Option<usize> {
    let name = field.split(['.', '[']).next()?;
    let document = DeTable::parse(text).ok()?.into_inner();
    let (rule_key, rule) = document.get_key_value("rule")?;
    match rule.get_ref().as_table()?.get_key_value(name) {
        Some((key, value)) => Some(if value.span().is_empty() { key.span().start } else { value.span().start }),
        None => Some(rule_key.span().start),
    }
}

fn to_map(table: DeTable<'_>) -> Map<String, Value> {
    table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), to_json(value.into_inner()))).collect()
}

/// Depth is bounded by the parser, which refuses more than 80 levels.
fn to_json(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(number.as_str().to_owned()),
        },
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(items) => items.into_iter().map(|item| to_json(item.into_inner())).collect(),
        DeValue::Table(table) => Value::Object(to_map(table)),
    }
}
