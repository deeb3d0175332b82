//! Unit tests of rules: events, and the alerts that a rule must make of them.
//!
//! [`RuleTests::parse`] reads the `[[tests]]` of a TOML file, [`RuleTests::run`] hunts with the one rule over the events
//! of each test. The events take the way of every hunt: what stands in the test is written to a temporary file of
//! NDJSON and read from there, since a test that decodes in a way of its own would prove nothing.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use eqlipse_alerts::{Alert, MatchedEvent};
use eqlipse_events::{DiscoverOptions, Discovery, Progress, discover};
use eqlipse_rules::{LoadedRule, RuleLoad};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::explain::{ClauseCoverage, ClauseWatch, Subject};
use crate::report::HuntReport;
use crate::rule_book::RuleBook;
use crate::run::{HuntError, HuntOptions, run};

/// Most tests of one file.
pub const MAX_RULE_TESTS: usize = 10_000;

/// The tests of one rule.
#[derive(Debug, Default)]
pub struct RuleTests {
    tests: Vec<RuleTest>,
}

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTest {
    name: String,
    #[serde(default)]
    events: Vec<toml::Table>,
    json: Option<String>,
    #[serde(default)]
    files: Vec<PathBuf>,
    alerts: Option<usize>,
    expect: Option<Vec<Vec<EventRef>>>,
}

/// How `expect` names an event.
#[derive(Debug, Deserialize, Clone, PartialEq)]
#[serde(untagged, expecting = "an event is named by its id (a text) or its place (a whole number from 0)")]
enum EventRef {
    Place(usize),
    Id(String),
}

/// All that a TOML file of tests holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    #[serde(default)]
    tests: Vec<RuleTest>,
}

/// How one test ended.
#[derive(Debug)]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a test.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rule made the alerts that it must.
    Passed,
    /// It made others.
    Failed(String),
    /// The test could not be run.
    Broken(String),
}

/// Why tests cannot be read.
#[derive(Debug, Error)]
pub enum RuleTestsError {
    /// The file is not in order.
    #[error("{0}")]
    Toml(String),
    /// There are too many tests.
    #[error("{0} tests in one file are beyond the limit of {MAX_RULE_TESTS} (MAX_RULE_TESTS)")]
    TooMany(usize),
    /// Two tests with one name.
    #[error("two tests have the name '{0}'")]
    SameName(String),
    /// A test without events.
    #[error("test '{0}': give `events`, `json` or `files`")]
    NoEvents(String),
    /// A test that expects nothing, or two things.
    #[error("test '{0}': give either `alerts` or `expect`")]
    NoExpectation(String),
    /// `json` is not NDJSON.
    #[error("test '{name}': line {line} of `json`: {reason}")]
    Json {
        /// The test.
        name: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A value that JSON does not have.
    #[error("test '{name}': event {place}: {value} is no JSON number")]
    Number {
        /// The test.
        name: String,
        /// From 0.
        place: usize,
        /// The value.
        value: f64,
    },
    /// A place beyond the events.
    #[error("test '{name}': `expect` names event {place}, but `events` and `json` hold {events}")]
    NoSuchPlace {
        /// The test.
        name: String,
        /// The place.
        place: usize,
        /// How many events there are.
        events: usize,
    },
    /// An id that no event has.
    #[error("test '{name}': `expect` names '{id}', but no event has this id")]
    NoSuchId {
        /// The test.
        name: String,
        /// The id.
        id: String,
    },
}

impl RuleTests {
    /// Reads a file that holds nothing but `[[tests]]`.
    ///
    /// # Errors
    /// If it is not TOML, has other keys, or a test makes no sense.
    pub fn parse(text: &str) -> Result<RuleTests, RuleTestsError> {
        let file: TestFile = toml::from_str(text).map_err(toml_error)?;
        RuleTests::checked(file.tests)
    }

    /// Reads the `[[tests]]` of a rule's own file; the rest of the file is the rule loader's.
    ///
    /// # Errors
    /// As [`RuleTests::parse`].
    pub fn parse_inside(text: &str) -> Result<RuleTests, RuleTestsError> {
        #[derive(Deserialize)]
        struct RuleFile {
            #[serde(default)]
            tests: Vec<RuleTest>,
        }
        let file: RuleFile = toml::from_str(text).map_err(toml_error)?;
        RuleTests::checked(file.tests)
    }

    fn checked(tests: Vec<RuleTest>) -> Result<RuleTests, RuleTestsError> {
        if tests.len() > MAX_RULE_TESTS {
            return Err(RuleTestsError::TooMany(tests.len()));
        }
        let mut names = std::collections::HashSet::new();
        for test in &tests {
            if !names.insert(&test.name) {
                return Err(RuleTestsError::SameName(test.name.clone()));
            }
            test.check()?;
        }
        Ok(RuleTests { tests })
    }

    /// Adds the tests of another place.
    ///
    /// # Errors
    /// If a name is taken, or there are too many.
    pub fn and(mut self, more: RuleTests) -> Result<RuleTests, RuleTestsError> {
        self.tests.extend(more.tests);
        RuleTests::checked(self.tests)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Which clauses of the rule the events of all tests make true, and which false. Events that cannot be read are
    /// left out: [`Self::run`] says so.
    ///
    /// # Errors
    /// If the rule's clauses cannot be told, or the temporary file for events fails.
    pub fn coverage(&self, rule: &LoadedRule, folder: Option<&Path>) -> Result<Vec<ClauseCoverage>, String> {
        let subject = Subject::of_rule(rule, true, false).map_err(|error| error.to_string())?;
        let mut watch = ClauseWatch::new(&subject).map_err(|error| error.to_string())?;
        for test in &self.tests {
            let inputs = test.inputs(folder)?;
            watch.read(&inputs.found).map_err(|error| error.to_string())?;
        }
        Ok(watch.coverage())
    }

    /// Runs the tests. `folder` is what the paths of `files` are relative to; without one, as in rules that do not lie
    /// on a disk, tests with `files` are broken.
    pub fn run(&self, rule: &LoadedRule, folder: Option<&Path>) -> Vec<TestResult> {
        let load = RuleLoad { rules: vec![rule.clone()], ..RuleLoad::default() };
        let book = RuleBook::compile(load, |_| true, false);
        let results = self.tests.iter().map(|test| {
            let outcome = match cannot_run(&book) {
                Some(reason) => Outcome::Broken(reason),
                None => test.run(&book, folder).unwrap_or_else(Outcome::Broken),
            };
            TestResult { name: test.name.clone(), outcome }
        });
        results.collect()
    }
}

fn toml_error(error: toml::de::Error) -> RuleTestsError {
    RuleTestsError::Toml(error.to_string().trim_end().to_owned())
}

/// Why the rule does not run, if it does not.
fn cannot_run(book: &RuleBook) -> Option<String> {
    if !book.rules().is_empty() {
        return None;
    }
    let report = book.report();
    let unloaded = report.unloaded.first().map(|unloaded| unloaded.reason.clone());
    Some(unloaded.unwrap_or_else(|| {
        let kinds: Vec<&str> = report.not_run.keys().map(String::as_str).collect();
        format!("rules of type {} do not run yet", kinds.join(", "))
    }))
}

/// An event that stands in the test.
struct Inline {
    document: Map<String, Value>,
    /// What names it in an alert.
    id: String,
}

/// The events of a test, to be read as a hunt reads them.
struct TestInputs {
    found: Discovery,
    /// Those that stand in the test.
    events: Vec<Inline>,
    /// They lie here as long as this lives.
    _file: tempfile::NamedTempFile,
}

impl RuleTest {
    /// What can be said about a test before it runs.
    fn check(&self) -> Result<(), RuleTestsError> {
        let events = self.inline()?;
        let name = || self.name.clone();
        if events.is_empty() && self.files.is_empty() {
            return Err(RuleTestsError::NoEvents(name()));
        }
        if self.alerts.is_some() == self.expect.is_some() {
            return Err(RuleTestsError::NoExpectation(name()));
        }
        for event in self.expect.iter().flatten().flatten() {
            match event {
                EventRef::Place(place) if *place >= events.len() => {
                    return Err(RuleTestsError::NoSuchPlace { name: name(), place: *place, events: events.len() });
                }
                // What ids files have shows when they are read.
                EventRef::Id(id) if self.files.is_empty() && events.iter().all(|event| event.id != *id) => {
                    return Err(RuleTestsError::NoSuchId { name: name(), id: id.clone() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The events of `events` and `json`, each with an id.
    fn inline(&self) -> Result<Vec<Inline>, RuleTestsError> {
        let mut documents = Vec::new();
        for (place, event) in self.events.iter().enumerate() {
            let document =
                table(event).map_err(|value| RuleTestsError::Number { name: self.name.clone(), place, value })?;
            documents.push(document);
        }
        for (at, line) in self.json.as_deref().unwrap_or_default().lines().enumerate() {
            if !line.trim().is_empty() {
                let document = serde_json::from_str(line).map_err(|error| RuleTestsError::Json {
                    name: self.name.clone(),
                    line: at + 1,
                    reason: error.to_string(),
                })?;
                documents.push(document);
            }
        }
        Ok(documents.into_iter().enumerate().map(|(place, document)| Inline::new(place, document)).collect())
    }

    /// Puts the events of the test where they can be read.
    fn inputs(&self, folder: Option<&Path>) -> Result<TestInputs, String> {
        let events = self.inline().map_err(|error| error.to_string())?;
        let file = temporary(&events).map_err(|error| format!("temporary file for events: {error}"))?;
        let mut paths = Vec::new();
        if !events.is_empty() {
            paths.push(file.path().to_owned());
        }
        for path in &self.files {
            let folder = folder.ok_or("`files` cannot be read, as the rule does not lie in a folder")?;
            paths.push(folder.join(path));
        }
        Ok(TestInputs { found: discover(&paths, DiscoverOptions::default()), events, _file: file })
    }

    fn run(&self, book: &RuleBook, folder: Option<&Path>) -> Result<Outcome, String> {
        let TestInputs { found, events, .. } = &self.inputs(folder)?;
        let options = HuntOptions { jobs: NonZeroUsize::MIN, ..HuntOptions::default() };
        let report = run(book, found, &options, &Progress::default()).map_err(|error: HuntError| error.to_string())?;
        unread(&report).map_or(Ok(()), Err)?;
        Ok(self.judge(&report.alerts, events))
    }

    fn judge(&self, alerts: &[Alert], events: &[Inline]) -> Outcome {
        let found: Vec<Vec<&MatchedEvent>> =
            alerts.iter().map(|alert| alert.events.iter().flatten().collect()).collect();
        let show = |alerts: &[Vec<&MatchedEvent>]| {
            let shown: Vec<String> = alerts.iter().map(|alert| shown(alert, events)).collect();
            if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
        };
        let Some(expected) = &self.expect else {
            let expected = self.alerts.unwrap_or_default();
            return match found.len() == expected {
                true => Outcome::Passed,
                false => {
                    Outcome::Failed(format!("{expected} alerts expected, {} found: {}", found.len(), show(&found)))
                }
            };
        };
        let mut left = found;
        let mut missing = Vec::new();
        for alert in expected {
            let is_it = |found: &Vec<&MatchedEvent>| {
                found.len() == alert.len() && found.iter().zip(alert).all(|(found, event)| event.is(found, events))
            };
            match left.iter().position(is_it) {
                Some(at) => _ = left.remove(at),
                None => missing.push(format!("[{}]", alert.iter().map(EventRef::show).collect::<Vec<_>>().join(", "))),
            }
        }
        match (missing.is_empty(), left.is_empty()) {
            (true, true) => Outcome::Passed,
            (true, false) => Outcome::Failed(format!("not expected: {}", show(&left))),
            (false, true) => Outcome::Failed(format!("not found: {}", missing.join(", "))),
            (false, false) => {
                Outcome::Failed(format!("not found: {}; not expected: {}", missing.join(", "), show(&left)))
            }
        }
    }
}

/// What of the events could not be read, if anything.
fn unread(report: &HuntReport) -> Option<String> {
    let skipped = report.inputs.iter().find(|input| input.skipped > 0);
    let problem = report.problems.first().map(ToString::to_string);
    problem.or_else(|| skipped.map(|input| format!("{}: {} records could not be read", input.name, input.skipped)))
}

fn temporary(events: &[Inline]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("eqlipse-test-").suffix(".ndjson").tempfile()?;
    for event in events {
        serde_json::to_writer(&mut file, &event.document)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(file)
}

impl Inline {
    /// An event without an id is given one, by which its alert tells it again.
    fn new(place: usize, mut document: Map<String, Value>) -> Inline {
        let id = match document.get("_id").and_then(Value::as_str).or_else(|| event_id(&document)) {
            Some(id) => id.to_owned(),
            None => {
                let id = format!("#{place}");
                document.insert("_id".to_owned(), Value::String(id.clone()));
                id
            }
        };
        Inline { document, id }
    }
}

/// `event.id`, written either way.
fn event_id(document: &Map<String, Value>) -> Option<&str> {
    let nested = || document.get("event").and_then(|event| event.get("id"));
    document.get("event.id").or_else(nested).and_then(Value::as_str)
}

fn has_id(event: &MatchedEvent, id: &str) -> bool {
    event.id == id || event_id(&event.source) == Some(id)
}

impl EventRef {
    fn is(&self, event: &MatchedEvent, events: &[Inline]) -> bool {
        match self {
            EventRef::Place(place) => events.get(*place).is_some_and(|inline| has_id(event, &inline.id)),
            EventRef::Id(id) => has_id(event, id),
        }
    }

    fn show(&self) -> String {
        match self {
            EventRef::Place(place) => place.to_string(),
            EventRef::Id(id) => format!("{id:?}"),
        }
    }
}

/// An alert's events as `expect` names them.
fn shown(alert: &[&MatchedEvent], events: &[Inline]) -> String {
    let names = alert.iter().map(|event| {
        let place = events.iter().position(|inline| has_id(event, &inline.id));
        place.map_or_else(|| format!("{:?}", event_id(&event.source).unwrap_or(&event.id)), |place| place.to_string())
    });
    format!("[{}]", names.collect::<Vec<_>>().join(", "))
}

/// A TOML table as a JSON object; the number that JSON does not have, if there is one.
fn table(table: &toml::Table) -> Result<Map<String, Value>, f64> {
    table.iter().map(|(name, value)| Ok((name.clone(), json(value)?))).collect()
}

fn json(value: &toml::Value) -> Result<Value, f64> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number).ok_or(*number)?),
        toml::Value::Boolean(truth) => Value::Bool(*truth),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(json).collect::<Result<_, f64>>()?),
        toml::Value::Table(inner) => Value::Object(table(inner)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = r#"
[metadata]
maturity = "production"
[rule]
rule_id = "6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d5e03"
name = "Pair"
description = "Two programs in a row."
severity = "low"
risk_score = 21
type = "eql"
language = "eql"
index = ["logs-*"]
query = 'sequence by host.id with maxspan=1m [process where process.name == "a"] [process where process.name == "b"]'
"#;

    const EVENTS: &str = r#"
events = [
  { "@timestamp" = 2024-01-01T00:00:00Z, event.category = "process", host.id = "h", process.name = "a" },
  { "@timestamp" = "2024-01-01T00:00:01Z", event.category = "process", host.id = "h", process.name = "b" },
]
"#;

    fn outcome(test: &str) -> Outcome {
        let load = eqlipse_rules::load_bytes("pair.toml", RULE.as_bytes());
        let tests = RuleTests::parse(&format!("[[tests]]\nname = \"t\"\n{test}")).unwrap();
        tests.run(&load.rules[0], None).remove(0).outcome
    }

    fn refusal(text: &str) -> String {
        RuleTests::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn alerts_are_counted_or_named() {
        assert_eq!(outcome(&format!("{EVENTS}alerts = 1")), Outcome::Passed);
        assert_eq!(outcome(&format!("{EVENTS}expect = [[0, 1]]")), Outcome::Passed);
        let failed = |text: &str| Outcome::Failed(text.to_owned());
        assert_eq!(outcome(&format!("{EVENTS}alerts = 0")), failed("0 alerts expected, 1 found: [0, 1]"));
        let order = failed("not found: [1, 0]; not expected: [0, 1]");
        assert_eq!(outcome(&format!("{EVENTS}expect = [[1, 0]]")), order);
        assert_eq!(outcome(&format!("{EVENTS}expect = [[0, 1], [0, 1]]")), failed("not found: [0, 1]"));
        assert_eq!(outcome(&format!("{EVENTS}expect = []")), failed("not expected: [0, 1]"));
    }

    #[test]
    fn ids_name_events() {
        let json = r#"json = '''
{"_id":"x","@timestamp":1,"event":{"category":"process"},"host":{"id":"h"},"process":{"name":"a"}}

{"event":{"category":"process","id":"y"},"@timestamp":2,"host.id":"h","process.name":"b"}
'''
"#;
        assert_eq!(outcome(&format!("{json}expect = [['x', 'y']]")), Outcome::Passed);
        assert_eq!(outcome(&format!("{json}expect = [[0, 'y']]")), Outcome::Passed);
    }

    #[test]
    fn index_patterns_count_where_an_event_has_an_index() {
        let events = EVENTS.replace("host.id", "_index = \"other\", host.id");
        assert_eq!(outcome(&format!("{events}alerts = 0")), Outcome::Passed);
        let events = EVENTS.replace("host.id", "_index = \"logs-x\", host.id");
        assert_eq!(outcome(&format!("{events}alerts = 1")), Outcome::Passed);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let test = |rest: &str| refusal(&format!("[[tests]]\nname = \"t\"\n{rest}"));
        assert!(refusal("[[test]]").contains("unknown field `test`"));
        assert!(test("event = []").contains("unknown field `event`"));
        assert!(test("alerts = 1").contains("give `events`, `json` or `files`"));
        assert!(test(EVENTS).contains("give either `alerts` or `expect`"));
        assert!(test(&format!("{EVENTS}alerts = 1\nexpect = []")).contains("give either"));
        assert!(test(&format!("{EVENTS}expect = [[2]]")).contains("names event 2"));
        assert!(test(&format!("{EVENTS}expect = [['z']]")).contains("no event has this id"));
        assert!(test(&format!("{EVENTS}expect = [[-1]]")).contains("named by its id"));
        assert!(test("events = [{a = nan}]\nalerts = 0").contains("no JSON number"));
        assert!(test("json = '[1]'\nalerts = 0").contains("line 1 of `json`"));
        let twice = format!("[[tests]]\nname = \"t\"\n{EVENTS}alerts = 1\n").repeat(2);
        assert!(refusal(&twice).contains("two tests have the name 't'"));
    }

    #[test]
    fn files_need_a_folder() {
        let Outcome::Broken(reason) = outcome("files = ['x.ndjson']\nalerts = 0") else { panic!("it ran") };
        assert!(reason.contains("`files` cannot be read"), "{reason}");
    }
}
