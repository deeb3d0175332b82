//! Elasticsearch's published EQL specs, for whatever evaluates queries: the reference interpreter and the engine.
//!
//! Malformed specs panic: this is test code.

use std::collections::HashMap;
use std::path::Path;

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{Dialect, Expr, Query};
use serde_json::{Value, json};
use toml::Table;

use crate::interpreter::{Match, ProcessEvents};

/// 1970-01-01 in Windows FILETIME ticks of 100 ns.
const EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// A file without the lines that begin with `comment`.
fn read(path: &Path, comment: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().filter(|line| !line.trim_start().starts_with(comment)).collect::<Vec<_>>().join("\n")
}

fn read_json(path: &Path, comment: &str) -> Value {
    serde_json::from_str(&read(path, comment)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The types of a mapping's fields, and where its aliases lead.
#[derive(Default)]
struct Mapping {
    types: HashMap<String, FieldType>,
    aliases: Vec<(String, String)>,
}

impl Mapping {
    fn read(specs: &Path, names: &[&str]) -> Self {
        let mut mapping = Self::default();
        for name in names {
            mapping.add(&read_json(&specs.join(name), "#"), "");
        }
        mapping
    }

    fn add(&mut self, node: &Value, prefix: &str) {
        for (name, field) in node["properties"].as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            self.add(field, &format!("{path}."));
            match field["type"].as_str() {
                Some("alias") => self.aliases.push((path, field["path"].as_str().unwrap().to_owned())),
                // A placeholder for any of the keyword types.
                Some(ty) if ty.starts_with('[') => _ = self.types.insert(path, FieldType::Keyword),
                Some(ty) => _ = self.types.insert(path, FieldType::from_mapping(ty).unwrap()),
                None => {}
            }
        }
    }
}

/// What a spec runs on.
#[derive(Default)]
pub struct Setting {
    /// The documents, in order of arrival.
    pub docs: Vec<Value>,
    /// Their times and tiebreakers, where these are not to be read from the documents.
    pub orders: Option<Vec<(i64, Option<i64>)>>,
    /// The type of each field; others are dynamic.
    pub types: HashMap<String, FieldType>,
    /// The field that a query's category is compared with.
    pub category: &'static str,
    /// The field of an event's time.
    pub timestamp: &'static str,
    /// The field that orders events of one time.
    pub tiebreaker: Option<&'static str>,
    /// How relations tell the starts and ends of processes.
    pub processes: ProcessEvents,
    mapping: Mapping,
    id: &'static str,
}

/// Evaluates a query over the documents of a setting.
pub type Run<'a> = &'a dyn Fn(&Setting, &Query) -> Vec<Match>;

/// Evaluates an expression without fields; an error is its text.
pub type Constant<'a> = &'a dyn Fn(&Expr) -> Value;

/// What came of a spec.
#[derive(Default)]
pub struct Outcome {
    /// Queries that gave what the spec expects.
    pub passed: usize,
    /// Those that did not, with what they gave.
    pub failures: Vec<String>,
    /// Those that cannot, each with the reason.
    pub skipped: Vec<(String, String)>,
}

impl Outcome {
    fn report(&self, name: &str) {
        println!("{name}: {} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skipped.len());
        self.failures.iter().for_each(|failure| println!("  FAILED {failure}"));
        self.skipped.iter().for_each(|(name, reason)| println!("  skipped {name}: {reason}"));
    }
}

impl Setting {
    /// What the settings of all specs have in common.
    fn of_events() -> Self {
        let processes = ProcessEvents {
            id_field: "unique_pid".into(),
            parent_field: "unique_ppid".into(),
            start: "process where opcode in (1, 3)".into(),
            end: "process where opcode == 2".into(),
        };
        Self { category: "event_type", timestamp: "@timestamp", processes, ..Self::default() }
    }

    /// Runs the queries of a spec; `skip` gives a reason for those that cannot pass.
    fn run(mut self, spec: &Path, run: Run<'_>, skip: impl Fn(&Table) -> Option<&'static str>) -> Outcome {
        for (alias, target) in std::mem::take(&mut self.mapping.aliases) {
            let ty = self.mapping.types.get(&target).copied();
            self.mapping.types.extend(ty.map(|ty| (alias.clone(), ty)));
            for doc in &mut self.docs {
                if let Some(value) = doc.get(&target).cloned() {
                    doc[&alias] = value;
                }
            }
        }
        self.types = std::mem::take(&mut self.mapping.types);
        let table: Table = read(spec, "#").parse().unwrap();
        let mut outcome = Outcome::default();
        for (index, test) in table["queries"].as_array().unwrap().iter().enumerate() {
            let test = test.as_table().unwrap();
            let name = test.get("name").map_or(format!("#{index}"), |name| name.as_str().unwrap().to_owned());
            let query = test["query"].as_str().unwrap();
            if let Some(reason) = skip(test) {
                outcome.skipped.push((name, reason.to_owned()));
                continue;
            }
            let parse = |query: &str| eqlipse_eql::parse_with(query, Dialect::Extended);
            match parse(query).or_else(|_| parse(&modern(query))) {
                Err(errors) => outcome.skipped.push((name, format!("refused: {}", errors[0].message))),
                Ok(query) => match self.check(run, &query, test) {
                    Ok(()) => outcome.passed += 1,
                    Err(message) => outcome.failures.push(format!("{name}: {message}")),
                },
            }
        }
        outcome
    }

    fn check(&self, run: Run<'_>, query: &Query, test: &Table) -> Result<(), String> {
        let mut matches = run(self, query);
        if let Some(size) = test.get("size").and_then(toml::Value::as_integer) {
            matches.truncate(size as usize);
        }
        let id = |event: &Option<usize>| event.map_or(-1, |index| self.docs[index][self.id].as_i64().unwrap());
        let found: Vec<i64> = matches.iter().flat_map(|found| found.events.iter().map(id)).collect();
        let expected = test["expected_event_ids"].as_array().unwrap();
        let ids = |list: &[toml::Value]| list.iter().map(|id| id.as_integer().unwrap()).collect::<Vec<_>>();
        let any = match expected.first() {
            Some(toml::Value::Array(_)) => expected.iter().any(|list| ids(list.as_array().unwrap()) == found),
            _ => ids(expected) == found,
        };
        if !any {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
        if let Some(keys) = test.get("join_keys").and_then(toml::Value::as_array) {
            let expected: Vec<String> =
                keys.iter().map(|key| key_text(&Value::from(key.to_string().trim_matches('"')))).collect();
            let found: Vec<String> = matches.iter().flat_map(|found| found.join_keys.iter().map(key_text)).collect();
            if expected != found {
                return Err(format!("expected keys {expected:?}, found {found:?}"));
            }
        }
        Ok(())
    }
}

/// The query with `==` for the `:` of older versions, which also compared what is no string.
fn modern(query: &str) -> String {
    let mut out = String::new();
    let mut in_string = false;
    for (at, c) in query.char_indices() {
        in_string ^= c == '"';
        let operand = query[at + c.len_utf8()..].trim_start().trim_start_matches('(');
        match c {
            ':' if !in_string && !operand.starts_with('"') => {
                let negated = out.ends_with('!');
                out.push_str(if negated { "=" } else { "==" });
            }
            _ => out.push(c),
        }
    }
    out
}

/// A key as the specs write it: everything as text, dates as milliseconds.
fn key_text(key: &Value) -> String {
    let text = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_millisecond().to_string(),
        Err(_) => text,
    }
}

fn endgame(specs: &Path) -> Setting {
    let docs: Vec<Value> = serde_json::from_value(read_json(&specs.join("test_data.json"), "//")).unwrap();
    let order =
        |doc: &Value| ((doc["timestamp"].as_i64().unwrap() - EPOCH_TICKS) * 100, doc["serial_event_id"].as_i64());
    Setting {
        orders: Some(docs.iter().map(order).collect()),
        docs,
        mapping: Mapping::read(specs, &["endgame-140.mapping"]),
        timestamp: "timestamp",
        tiebreaker: Some("serial_event_id"),
        id: "serial_event_id",
        ..Setting::of_events()
    }
}

/// Why a query of the older implementation cannot give what its spec expects.
fn not_ours(test: &Table) -> Option<&'static str> {
    if test.contains_key("case_insensitive") {
        return Some("needs the case-insensitive mode, which is gone");
    }
    // `not` of a pattern on a field that no index maps: null in Elasticsearch, the complement here (DESIGN.md 4).
    (test.get("name")?.as_str()? == "fakeFieldWithHead2").then_some("takes an unmapped field as null under `not`")
}

/// Runs all specs, prints `N passed, M failed` for each, and fails where one fails or too few pass. Gives what does not
/// pass as Markdown, one list for each spec.
///
/// # Panics
/// If an outcome is not as expected.
pub fn check_all(specs: &Path, run: Run<'_>, constant: Constant<'_>) -> String {
    let outcomes = [
        queries(specs, run),
        dates(specs, run),
        vec![nanosecond_dates(specs, run), missing_events(specs, run)],
        samples(specs, run),
        folding(specs, constant),
    ];
    let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
    outcomes.iter().for_each(|(name, outcome, _)| outcome.report(name));
    for (name, outcome, at_least) in &outcomes {
        assert!(outcome.failures.is_empty(), "{name}: {:?}", outcome.failures);
        assert!(outcome.passed >= *at_least, "{name}: only {} passed", outcome.passed);
    }
    outcomes.iter().map(|(name, outcome, _)| listed(name, outcome)).collect::<Vec<_>>().join("\n")
}

/// How many queries of a spec pass, and by reason those that do not.
fn listed(name: &str, outcome: &Outcome) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (query, reason) in &outcome.skipped {
        // Expressions are named by their section.
        let query = query.split(": ").next().unwrap_or(query);
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, queries)) => queries.push(query),
            None => reasons.push((reason.as_str(), vec![query])),
        }
    }
    let mut text = format!("**{name}**: {} pass, {} do not.\n", outcome.passed, outcome.skipped.len());
    for (index, (reason, mut queries)) in reasons.into_iter().enumerate() {
        queries.dedup();
        let break_before = if index == 0 { "\n" } else { "" };
        text += &format!("{break_before}{}", filled(&format!("- {reason}: {}", queries.join(", "))));
    }
    text
}

/// An item of a list in lines of at most 120 columns.
fn filled(item: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in item.split(' ') {
        let width = word.chars().count();
        if column == 0 {
            column = width;
        } else if column + 1 + width > 120 {
            text += "\n  ";
            column = 2 + width;
        } else {
            text.push(' ');
            column += 1 + width;
        }
        text += word;
    }
    text + "\n"
}

/// A spec's name, what came of it, and how many queries must pass.
type Named = (&'static str, Outcome, usize);

fn queries(specs: &Path, run: Run<'_>) -> Vec<Named> {
    [("test_queries", 128), ("additional_test_queries", 51), ("test_between_queries", 2)]
        .map(|(spec, at_least)| {
            (spec, endgame(specs).run(&specs.join(format!("{spec}.toml")), run, not_ours), at_least)
        })
        .into()
}

fn dates(specs: &Path, run: Run<'_>) -> Vec<Named> {
    let mut setting = endgame(specs);
    for doc in &mut setting.docs {
        doc["@timestamp"] = json!((doc["timestamp"].as_i64().unwrap() - EPOCH_TICKS) / 10_000);
    }
    setting.timestamp = "@timestamp";
    setting.orders = None;
    vec![("test_queries_date", setting.run(&specs.join("test_queries_date.toml"), run, |_| None), 4)]
}

fn nanosecond_dates(specs: &Path, run: Run<'_>) -> Named {
    let mut setting = endgame(specs);
    for doc in &mut setting.docs {
        // This spec takes the ticks for nanoseconds since 1970.
        let nanos = jiff::Timestamp::from_nanosecond(doc["timestamp"].as_i64().unwrap().into()).unwrap();
        doc["@timestamp"] = json!(nanos.to_string());
    }
    setting.mapping = Mapping::read(specs, &["endgame-140-nanos.mapping"]);
    setting.timestamp = "@timestamp";
    setting.orders = None;
    ("test_queries_date_nanos", setting.run(&specs.join("test_queries_date_nanos.toml"), run, |_| None), 3)
}

fn missing_events(specs: &Path, run: Run<'_>) -> Named {
    let setting = Setting {
        docs: serde_json::from_value(read_json(&specs.join("missing-events.data"), "//")).unwrap(),
        mapping: Mapping::read(specs, &["missing-events.mapping"]),
        id: "sequence",
        ..Setting::of_events()
    };
    ("test_missing_events", setting.run(&specs.join("test_missing_events.toml"), run, |_| None), 22)
}

fn samples(specs: &Path, run: Run<'_>) -> Vec<Named> {
    let mut outcomes = Vec::new();
    for (spec, data, at_least) in [("test_sample", "sample", 24), ("test_sampling", "sampling", 4)] {
        let names = [1, 2, 3].map(|n| format!("{data}{n}"));
        let mut docs = Vec::new();
        for name in &names {
            let read = read_json(&specs.join(format!("{name}.data")), "//");
            docs.extend(read.as_array().unwrap().iter().cloned().map(day_month_year));
        }
        let mappings = names.map(|name| format!("{name}.mapping"));
        let mapping = Mapping::read(specs, &mappings.each_ref().map(String::as_str));
        let setting = Setting { docs, mapping, id: "id", ..Setting::of_events() };
        let skip = |test: &Table| match test["name"].as_str() {
            // Elasticsearch takes it only because no index maps either of the fields.
            Some("optionalFieldAsQueryKeysOnly") => Some("compares two unmapped fields"),
            // Which events stand for a key is unspecified: the spec expects the order of indexing, here time decides.
            Some("anyRulesWithOneDifferentNameKey") if spec == "test_sampling" => Some("expects the order of indexing"),
            _ => None,
        };
        outcomes.push((spec, setting.run(&specs.join(format!("{spec}.toml")), run, skip), at_least));
    }
    outcomes
}

fn folding(specs: &Path, constant: Constant<'_>) -> Vec<Named> {
    let mut outcomes = Vec::new();
    for (spec, at_least) in [("endgame_test_folding", 141), ("endgame_test_string_functions", 81)] {
        let table: Table = read(&specs.join(format!("{spec}.toml")), "#").parse().unwrap();
        let mut outcome = Outcome::default();
        for (section, content) in &table {
            let content = content.as_table().unwrap();
            for (expression, expected) in fold_tests(content) {
                let name = format!("{section}: {expression}");
                if content.contains_key("case_insensitive") {
                    outcome.skipped.push((name, "needs the case-insensitive mode, which is gone".into()));
                } else if let Some(reason) = superseded(section, &expression, &expected) {
                    outcome.skipped.push((name, reason.to_owned()));
                } else {
                    check_fold(&mut outcome, constant, name, &expression, &expected);
                }
            }
        }
        outcomes.push((spec, outcome, at_least));
    }
    outcomes
}

/// One index writes a date as day-month-year by its mapping.
fn day_month_year(mut doc: Value) -> Value {
    let field = "@timestamp_pretty";
    let parts: Vec<String> = doc[field].as_str().unwrap_or("").split('-').map(str::to_owned).collect();
    if let [day, month, year] = &parts[..]
        && year.len() == 4
    {
        doc[field] = json!(format!("{year}-{month}-{day}"));
    }
    doc
}

/// Where Elasticsearch, by the reference, does what the older implementation's specs do not expect.
fn superseded(section: &str, expression: &str, expected: &Value) -> Option<&'static str> {
    match section {
        "match" => Some("the function is gone"),
        "between" if expression.contains(r#", "","#) && *expected != "welcome to the planet" => {
            Some("an empty delimiter gives the whole string")
        }
        "between" if expected.is_null() && !expression.contains("null") => Some("no hit gives the empty string"),
        "substring" if expression.contains(", null, 5") => Some("a null start gives the whole string"),
        _ => None,
    }
}

fn check_fold(outcome: &mut Outcome, constant: Constant<'_>, name: String, expression: &str, expected: &Value) {
    // The older syntax has single quotes and method calls.
    let expression = expression.replace('\'', "\"").replace("(\"hello\":length())", "length(\"hello\")");
    match eqlipse_eql::parse_expression(&expression) {
        Err(errors) => outcome.skipped.push((name, format!("refused: {}", errors[0].message))),
        Ok(parsed) => match constant(&parsed) {
            found if found == *expected => outcome.passed += 1,
            found => outcome.failures.push(format!("{name}: expected {expected}, found {found}")),
        },
    }
}

/// The expressions of a section with their values, loops unrolled.
fn fold_tests(section: &Table) -> Vec<(String, Value)> {
    let tests = |table: &Table| -> Vec<(String, Value)> {
        let list = table.get("fold").and_then(|fold| fold.get("tests")).and_then(toml::Value::as_array);
        list.into_iter()
            .flatten()
            .map(|test| {
                let expected = match test.get("expected") {
                    None => Value::Null,
                    Some(toml::Value::Boolean(b)) => json!(b),
                    Some(toml::Value::Integer(i)) => json!(i),
                    Some(toml::Value::Float(d)) => json!(d),
                    Some(other) => json!(other.as_str().unwrap()),
                };
                (test["expression"].as_str().unwrap().to_owned(), expected)
            })
            .collect()
    };
    let mut all = tests(section);
    for each in section.get("loop").and_then(toml::Value::as_array).into_iter().flatten() {
        let each = each.as_table().unwrap();
        for ty in each["param"]["type"].as_array().unwrap() {
            let value = match ty.as_str().unwrap() {
                "bool" => "true",
                "int" => "7",
                "string" => "\"text\"",
                "float" => "7.5",
                _ => "null",
            };
            all.extend(tests(each).into_iter().map(|(text, expected)| (text.replace("$value", value), expected)));
        }
    }
    all
}
