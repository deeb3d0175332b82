//! Severity, risk score and name of an alert, which its events may set in place of the rule.

use eqlipse_rules::{Rule, Severity};
use serde_json::{Map, Value};

use crate::fields;

/// What an alert takes from its rule, after overrides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rating {
    pub severity: Severity,
    pub risk_score: f64,
    pub name: String,
}

impl Rating {
    /// The rating of an alert on one event.
    pub fn of_event(rule: &Rule, source: &Map<String, Value>) -> Rating {
        Rating {
            severity: severity(rule, source).unwrap_or(rule.severity),
            risk_score: risk_score(rule, source).unwrap_or(f64::from(rule.risk_score)),
            name: name(rule, source).unwrap_or(&rule.name).to_owned(),
        }
    }

    /// The rating of a sequence: the highest severity and risk score its events set, and the last name.
    pub fn of_sequence<'a>(rule: &Rule, sources: impl Iterator<Item = &'a Map<String, Value>> + Clone) -> Rating {
        let severity = sources.clone().filter_map(|source| severity(rule, source)).max();
        let risk_score = sources.clone().filter_map(|source| risk_score(rule, source)).reduce(f64::max);
        let name = sources.filter_map(|source| name(rule, source)).last();
        Rating {
            severity: severity.unwrap_or(rule.severity),
            risk_score: risk_score.unwrap_or(f64::from(rule.risk_score)),
            name: name.unwrap_or(&rule.name).to_owned(),
        }
    }
}

/// The highest severity whose mapping matches: Kibana goes through them from low to critical, and the last one wins.
fn severity(rule: &Rule, source: &Map<String, Value>) -> Option<Severity> {
    let matching = rule.severity_mapping.iter().filter(|mapping| {
        fields::values(source, &mapping.field).into_iter().any(|value| is_value(value, &mapping.field, &mapping.value))
    });
    matching.map(|mapping| mapping.severity).max()
}

fn is_value(value: &Value, field: &str, wanted: &str) -> bool {
    match value {
        // `event.severity` is a number, however the document writes it.
        _ if field == "event.severity" => match (number(value), wanted.trim().parse::<f64>()) {
            (Some(number), Ok(wanted)) => number == wanted,
            _ => false,
        },
        value => fields::text(value) == wanted,
    }
}

/// The highest number in the field of the first mapping, if it is a score.
fn risk_score(rule: &Rule, source: &Map<String, Value>) -> Option<f64> {
    let mapping = rule.risk_score_mapping.first()?;
    let numbers = fields::values(source, &mapping.field).into_iter().filter_map(number);
    numbers.filter(|number| (0.0..=100.0).contains(number)).reduce(f64::max)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn name<'a>(rule: &Rule, source: &'a Map<String, Value>) -> Option<&'a str> {
    let field = rule.rule_name_override.as_deref()?;
    fields::whole(source, field)?.as_str().filter(|name| !name.is_empty())
}

/// A risk score as JSON: whole where it is whole.
pub(crate) fn score_json(score: f64) -> Value {
    if score.fract() == 0.0 { Value::from(score as u64) } else { Value::from(score) }
}
