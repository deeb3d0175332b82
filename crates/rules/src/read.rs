//! From the API's JSON to a [`Rule`].

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::parts::*;
use crate::problem::Problem;
use crate::rule::*;
use crate::schedule::{DateMath, Interval};

/// Why a JSON object is not a rule. Holds every fault that was found, in the order of the model's fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(.faults))]
pub struct RuleError {
    /// The faults; at least one.
    pub faults: Vec<FieldFault>,
}

/// One fault of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, as the API names it.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

fn join(faults: &[FieldFault]) -> String {
    let texts: Vec<String> = faults.iter().map(|fault| format!("`{}`: {}", fault.field, fault.message)).collect();
    texts.join("; ")
}

/// Fields that only some types have; elsewhere they have no effect.
const TYPE_SPECIFIC: [&str; 23] = [
    "query",
    "language",
    "index",
    "data_view_id",
    "filters",
    "saved_id",
    "event_category_override",
    "timestamp_field",
    "tiebreaker_field",
    "threshold",
    "new_terms_fields",
    "history_window_start",
    "threat_query",
    "threat_index",
    "threat_mapping",
    "threat_filters",
    "threat_language",
    "threat_indicator_path",
    "concurrent_searches",
    "items_per_search",
    "anomaly_threshold",
    "machine_learning_job_id",
    "alert_suppression",
];

impl Rule {
    /// Reads the API's JSON form. Fields this version does not know end up in [`Rule::extra`]; what the engine can do
    /// without gets a default and a note in [`Rule::read_problems`].
    pub fn from_json(map: Map<String, Value>) -> Result<Rule, RuleError> {
        let mut fields = Fields { map, faults: Vec::new(), problems: Vec::new() };
        let rule = read_rule(&mut fields);
        match rule {
            Some(rule) if fields.faults.is_empty() => Ok(rule),
            _ => Err(RuleError { faults: fields.faults }),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
        let map = Map::deserialize(deserializer)?;
        Rule::from_json(map).map_err(serde::de::Error::custom)
    }
}

fn read_rule(fields: &mut Fields) -> Option<Rule> {
    let kind = read_kind(fields);
    let (severity, risk_score) = read_severity(fields);
    let name = fields.text("name");
    let rule_id = read_rule_id(fields, &name);
    let mut rule = Rule {
        saved_object_id: fields.string("id"),
        rule_id,
        name,
        description: fields.text("description"),
        severity,
        risk_score,
        enabled: fields.flag("enabled").unwrap_or(false),
        interval: fields.interval("interval"),
        from: fields.date_math("from", "now-6m"),
        to: fields.date_math("to", "now"),
        max_signals: read_max_signals(fields),
        tags: fields.strings("tags"),
        author: fields.strings("author"),
        false_positives: fields.strings("false_positives"),
        references: fields.strings("references"),
        threat: fields.list("threat"),
        actions: fields.list("actions"),
        exceptions_list: fields.list("exceptions_list"),
        severity_mapping: fields.list("severity_mapping"),
        risk_score_mapping: fields.list("risk_score_mapping"),
        related_integrations: fields.list("related_integrations"),
        required_fields: fields.list("required_fields"),
        setup: fields.text("setup"),
        note: fields.string("note"),
        license: fields.string("license"),
        timeline_id: fields.string("timeline_id"),
        timeline_title: fields.string("timeline_title"),
        namespace: fields.string("namespace"),
        output_index: fields.string("output_index"),
        meta: fields.parsed("meta"),
        building_block_type: fields.string("building_block_type"),
        rule_name_override: fields.string("rule_name_override"),
        timestamp_override: fields.string("timestamp_override"),
        timestamp_override_fallback_disabled: fields.flag("timestamp_override_fallback_disabled"),
        investigation_fields: fields.parsed("investigation_fields"),
        response_actions: fields.list("response_actions"),
        throttle: fields.string("throttle"),
        alert_suppression: fields.parsed("alert_suppression"),
        version: fields.number("version").unwrap_or(1),
        revision: fields.number("revision").unwrap_or(0),
        immutable: fields.flag("immutable").unwrap_or(false),
        rule_source: fields.parsed("rule_source"),
        created_at: fields.string("created_at"),
        created_by: fields.string("created_by"),
        updated_at: fields.string("updated_at"),
        updated_by: fields.string("updated_by"),
        execution_summary: fields.value("execution_summary"),
        kind: kind?,
        metadata: fields.parsed("metadata"),
        transform: fields.parsed("transform"),
        threat_mappings: fields.value("threat_mappings"),
        extra: Map::new(),
        read_problems: Vec::new(),
    };
    rule.extra = fields.rest(rule.rule_type());
    rule.read_problems = std::mem::take(&mut fields.problems);
    Some(rule)
}

fn read_kind(fields: &mut Fields) -> Option<RuleKind> {
    let Some(name) = fields.string("type") else {
        fields.fault("type", format!("missing; use one of {}", type_names()));
        return None;
    };
    let Some(rule_type) = RuleType::parse(&name) else {
        fields.fault("type", format!("unknown rule type `{name}`; use one of {}", type_names()));
        return None;
    };
    Some(match rule_type {
        RuleType::Query => RuleKind::Query(QueryRule {
            source: fields.source(),
            query: fields.text("query"),
            language: fields.language("language"),
            saved_id: fields.string("saved_id"),
        }),
        RuleType::SavedQuery => RuleKind::SavedQuery(SavedQueryRule {
            source: fields.source(),
            saved_id: fields.required("saved_id"),
            query: fields.string("query"),
            language: fields.language("language"),
        }),
        RuleType::Eql => RuleKind::Eql(EqlRule {
            query: fields.required("query"),
            source: {
                fields.only_language("eql");
                fields.source()
            },
            event_category_override: fields.string("event_category_override"),
            timestamp_field: fields.string("timestamp_field"),
            tiebreaker_field: fields.string("tiebreaker_field"),
        }),
        RuleType::Threshold => RuleKind::Threshold(ThresholdRule {
            source: fields.source(),
            query: fields.text("query"),
            language: fields.language("language"),
            saved_id: fields.string("saved_id"),
            threshold: read_threshold(fields),
        }),
        RuleType::NewTerms => RuleKind::NewTerms(NewTermsRule {
            source: fields.source(),
            query: fields.text("query"),
            language: fields.language("language"),
            new_terms_fields: fields.required_strings("new_terms_fields"),
            history_window_start: read_history_window(fields),
        }),
        RuleType::ThreatMatch => RuleKind::ThreatMatch(read_threat_match(fields)),
        RuleType::Esql => {
            fields.only_language("esql");
            RuleKind::Esql(EsqlRule { query: fields.required("query") })
        }
        RuleType::MachineLearning => RuleKind::MachineLearning(MachineLearningRule {
            anomaly_threshold: read_anomaly_threshold(fields),
            machine_learning_job_id: read_jobs(fields),
        }),
    })
}

fn type_names() -> String {
    RuleType::ALL.map(RuleType::as_str).join(", ")
}

fn read_threshold(fields: &mut Fields) -> Threshold {
    let mut threshold = Threshold { field: Vec::new(), value: 1, cardinality: Vec::new() };
    let Some(value) = fields.value("threshold") else {
        fields.fault("threshold", "missing; a threshold rule needs `{field, value}`".to_owned());
        return threshold;
    };
    let Value::Object(map) = value else {
        fields.wrong_type("threshold", "an object", &value);
        return threshold;
    };
    let mut inner = Fields { map, faults: Vec::new(), problems: Vec::new() };
    threshold.field = inner.string_or_strings("field");
    threshold.cardinality = inner.list("cardinality");
    match inner.number("value") {
        Some(value) => threshold.value = value,
        None if inner.faults.is_empty() => inner.fault("value", "missing".to_owned()),
        None => {}
    }
    fields.adopt("threshold", inner);
    threshold
}

fn read_threat_match(fields: &mut Fields) -> ThreatMatchRule {
    ThreatMatchRule {
        source: fields.source(),
        query: fields.text("query"),
        language: fields.language("language"),
        saved_id: fields.string("saved_id"),
        threat_query: fields.required("threat_query"),
        threat_language: fields.language("threat_language"),
        threat_index: fields.required_strings("threat_index"),
        threat_mapping: fields.list("threat_mapping"),
        threat_filters: fields.list("threat_filters"),
        threat_indicator_path: fields.string("threat_indicator_path"),
        concurrent_searches: fields.number("concurrent_searches"),
        items_per_search: fields.number("items_per_search"),
    }
}

fn read_history_window(fields: &mut Fields) -> DateMath {
    let text = fields.required("history_window_start");
    match DateMath::parse(&text) {
        Ok(math) => math,
        Err(error) => {
            if !text.is_empty() {
                fields.fault("history_window_start", error.to_string());
            }
            DateMath::now()
        }
    }
}

fn read_anomaly_threshold(fields: &mut Fields) -> u8 {
    match fields.number::<u64>("anomaly_threshold") {
        Some(value @ 0..=100) => value as u8,
        Some(value) => {
            fields.fault("anomaly_threshold", format!("{value} is not between 0 and 100"));
            0
        }
        None => {
            fields.fault("anomaly_threshold", "missing".to_owned());
            0
        }
    }
}

fn read_jobs(fields: &mut Fields) -> Vec<String> {
    let jobs = fields.string_or_strings("machine_learning_job_id");
    if jobs.is_empty() {
        fields.fault("machine_learning_job_id", "missing".to_owned());
    }
    jobs
}

fn read_max_signals(fields: &mut Fields) -> u32 {
    match fields.number::<u32>("max_signals") {
        Some(0) => {
            fields.problems.push(Problem::error("max_signals", "0 is less than 1; 1 is used"));
            1
        }
        Some(value) => value,
        None => DEFAULT_MAX_SIGNALS,
    }
}

/// Kibana's default of `max_signals`.
pub const DEFAULT_MAX_SIGNALS: u32 = 100;

/// Severity and risk score; where one is missing or wrong, the other decides.
fn read_severity(fields: &mut Fields) -> (Severity, u8) {
    let severity = match fields.string("severity") {
        None => Err("missing".to_owned()),
        Some(text) => Severity::parse(&text)
            .ok_or_else(|| format!("unknown severity `{text}`: use low, medium, high or critical")),
    };
    let risk_score = match fields.number::<u64>("risk_score") {
        None => Err("missing".to_owned()),
        Some(score @ 0..=100) => Ok(score as u8),
        Some(score) => Err(format!("{score} is not between 0 and 100")),
    };
    let (known_severity, known_risk) = match (&severity, &risk_score) {
        (Ok(severity), Ok(risk)) => return (*severity, *risk),
        (Ok(severity), Err(_)) => (*severity, severity.default_risk_score()),
        (Err(_), Ok(risk)) => (Severity::from_risk_score(*risk), *risk),
        (Err(_), Err(_)) => (Severity::Low, Severity::Low.default_risk_score()),
    };
    if let Err(message) = severity {
        fields.problems.push(Problem::error("severity", format!("{message}; `{known_severity}` is used")));
    }
    if let Err(message) = risk_score {
        fields.problems.push(Problem::error("risk_score", format!("{message}; {known_risk} is used")));
    }
    (known_severity, known_risk)
}

/// Kibana makes up a random id where none is given. Here the same rule must keep its id from run to run, so the id is
/// derived from the name, in the layout of a version 8 UUID.
fn read_rule_id(fields: &mut Fields, name: &str) -> String {
    match fields.string("rule_id") {
        Some(id) if !id.trim().is_empty() => id,
        _ => {
            let id = derived_id(name);
            fields.problems.push(Problem::warning("rule_id", format!("missing; {id}, derived from the name, is used")));
            id
        }
    }
}

fn derived_id(name: &str) -> String {
    let mut bytes: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes[..16]);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An object whose fields are taken out one by one; faults are collected, so that one run shows them all.
struct Fields {
    map: Map<String, Value>,
    faults: Vec<FieldFault>,
    problems: Vec<Problem>,
}

impl Fields {
    fn fault(&mut self, field: &str, message: String) {
        self.faults.push(FieldFault { field: field.to_owned(), message });
    }

    fn wrong_type(&mut self, field: &str, wanted: &str, found: &Value) {
        self.fault(field, format!("must be {wanted}, not {}", describe(found)));
    }

    /// Takes a field; `null` counts as absent.
    fn value(&mut self, field: &str) -> Option<Value> {
        self.map.shift_remove(field).filter(|value| !value.is_null())
    }

    fn string(&mut self, field: &str) -> Option<String> {
        match self.value(field)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(field, "text", &other);
                None
            }
        }
    }

    fn text(&mut self, field: &str) -> String {
        self.string(field).unwrap_or_default()
    }

    fn required(&mut self, field: &str) -> String {
        if self.map.get(field).is_none_or(Value::is_null) {
            self.fault(field, "missing".to_owned());
        }
        self.text(field)
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        match self.value(field)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.wrong_type(field, "true or false", &other);
                None
            }
        }
    }

    fn number<T: TryFrom<u64>>(&mut self, field: &str) -> Option<T> {
        let value = self.value(field)?;
        let number = whole_number(&value).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong_type(field, "a whole number, not negative and not too large", &value);
        }
        number
    }

    fn strings(&mut self, field: &str) -> Vec<String> {
        match self.value(field) {
            None => Vec::new(),
            Some(Value::Array(items)) => self.items(field, items),
            Some(other) => {
                self.wrong_type(field, "a list of texts", &other);
                Vec::new()
            }
        }
    }

    fn items(&mut self, field: &str, items: Vec<Value>) -> Vec<String> {
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => self.wrong_type(&format!("{field}[{index}]"), "text", &other),
            }
        }
        texts
    }

    fn required_strings(&mut self, field: &str) -> Vec<String> {
        if self.map.get(field).is_none_or(Value::is_null) {
            self.fault(field, "missing".to_owned());
        }
        self.strings(field)
    }

    fn string_or_strings(&mut self, field: &str) -> Vec<String> {
        if !matches!(self.map.get(field), Some(Value::String(_))) {
            return self.strings(field);
        }
        // An empty text stands for no field at all.
        self.string(field).filter(|text| !text.is_empty()).into_iter().collect()
    }

    fn parsed<T: DeserializeOwned>(&mut self, field: &str) -> Option<T> {
        let value = self.value(field)?;
        match serde_json::from_value(value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.fault(field, error.to_string());
                None
            }
        }
    }

    fn list<T: DeserializeOwned>(&mut self, field: &str) -> Vec<T> {
        let items = match self.value(field) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(field, "a list", &other);
                return Vec::new();
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match serde_json::from_value(item) {
                Ok(parsed) => list.push(parsed),
                Err(error) => self.fault(&format!("{field}[{index}]"), error.to_string()),
            }
        }
        list
    }

    fn interval(&mut self, field: &str) -> Interval {
        let default = Interval::from_seconds(300);
        let Some(text) = self.string(field) else { return default };
        Interval::parse(&text).unwrap_or_else(|error| {
            self.problems.push(Problem::error(field, format!("{error}; {default} is used")));
            default
        })
    }

    fn date_math(&mut self, field: &str, default: &str) -> DateMath {
        let fallback = || DateMath::parse(default).unwrap_or_else(|_| DateMath::now());
        let Some(text) = self.string(field) else { return fallback() };
        DateMath::parse(&text).unwrap_or_else(|error| {
            self.problems.push(Problem::error(field, format!("{error}; {default} is used")));
            fallback()
        })
    }

    fn language(&mut self, field: &str) -> QueryLanguage {
        let Some(text) = self.string(field) else { return QueryLanguage::default() };
        QueryLanguage::parse(&text).unwrap_or_else(|| {
            self.fault(field, format!("`{text}` does not fit this rule type; use kuery or lucene"));
            QueryLanguage::default()
        })
    }

    fn only_language(&mut self, wanted: &str) {
        if let Some(text) = self.string("language").filter(|text| text != wanted) {
            self.fault("language", format!("`{text}` does not fit this rule type; use {wanted}"));
        }
    }

    fn source(&mut self) -> Source {
        Source {
            index: self.strings("index"),
            data_view_id: self.string("data_view_id"),
            filters: self.list("filters"),
        }
    }

    /// Takes over what an object inside `field` had to report.
    fn adopt(&mut self, field: &str, inner: Fields) {
        for fault in inner.faults {
            self.fault(&format!("{field}.{}", fault.field), fault.message);
        }
        for name in inner.map.keys() {
            self.problems.push(Problem::warning(format!("{field}.{name}"), "unknown field, ignored"));
        }
    }

    /// What is left. Fields that belong to another type are reported here; unknown ones by the loader.
    fn rest(&mut self, rule_type: RuleType) -> Map<String, Value> {
        let rest = std::mem::take(&mut self.map);
        for name in rest.keys().filter(|name| TYPE_SPECIFIC.contains(&name.as_str())) {
            let empty = rest[name.as_str()].as_array().is_some_and(Vec::is_empty);
            if !rest[name.as_str()].is_null() && !empty {
                let message = format!("has no effect in a rule of type {rule_type}");
                self.problems.push(Problem::warning(name.as_str(), message));
            }
        }
        rest
    }
}

/// Whether `field` belongs to some rule type, so that it is not simply unknown.
pub fn is_type_specific(field: &str) -> bool {
    TYPE_SPECIFIC.contains(&field)
}

fn whole_number(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    let whole = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    whole.then_some(number as u64)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let short: String = text.chars().take(40).collect();
            format!("the text {short:?}{}", if short.len() < text.len() { "…" } else { "" })
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
