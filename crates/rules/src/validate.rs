//! Checks of a rule that could be read.

use crate::parts::*;
use crate::problem::Problem;
use crate::rule::*;
use crate::schedule::{DateMath, Rounding};

/// Most fields of a suppression or new-terms rule.
const MAX_GROUP_FIELDS: usize = 3;
/// Most fields of a threshold rule, since Kibana 9.2.
const MAX_THRESHOLD_FIELDS: usize = 5;
/// Kibana's cap on alerts of one run, whatever `max_signals` says.
const MAX_RUN_ALERTS: u32 = 1000;

/// Finds what is wrong with a rule, its query apart: that is the language crates' part.
pub fn validate(rule: &Rule) -> Vec<Problem> {
    let mut problems = rule.read_problems.clone();
    check_texts(rule, &mut problems);
    check_schedule(rule, &mut problems);
    check_threat(rule, &mut problems);
    check_suppression(rule, &mut problems);
    check_kind(rule, &mut problems);
    check_metadata(rule, &mut problems);
    problems
}

fn check_texts(rule: &Rule, problems: &mut Vec<Problem>) {
    if rule.name.trim().is_empty() {
        problems.push(Problem::error("name", "missing or empty"));
    }
    if rule.description.trim().is_empty() {
        problems.push(Problem::error("description", "missing or empty"));
    }
    if rule.investigation_fields.as_ref().is_some_and(|fields| fields.field_names.is_empty()) {
        problems.push(Problem::error("investigation_fields.field_names", "must not be empty"));
    }
    if rule.max_signals > MAX_RUN_ALERTS {
        let message = format!("Kibana makes at most {MAX_RUN_ALERTS} alerts in one run, whatever is set here");
        problems.push(Problem::warning("max_signals", message));
    }
    if rule.building_block_type.as_ref().is_some_and(|kind| kind != "default") {
        problems.push(Problem::warning("building_block_type", "the only value Kibana knows is `default`"));
    }
}

fn check_schedule(rule: &Rule, problems: &mut Vec<Problem>) {
    let (Some(from), Some(to)) = (relative(&rule.from), relative(&rule.to)) else { return };
    if from >= to {
        let message = format!("`{}` does not come before `to`, `{}`", rule.from, rule.to);
        return problems.push(Problem::error("from", message));
    }
    if to - from < i128::from(rule.interval.seconds()) {
        let message =
            format!("the window is shorter than the interval of {}: events between runs are missed", rule.interval);
        problems.push(Problem::warning("from", message));
    }
}

/// Seconds from a moment to the point in time the math gives for it. Which moment does not matter much: the steps of a
/// schedule have the same length from run to run, months and years aside.
fn relative(math: &DateMath) -> Option<i128> {
    let moment: i64 = 1_000_000_000_000_000_000;
    let resolved = math.resolve(moment, Rounding::Down)?;
    Some((i128::from(resolved) - i128::from(moment)) / 1_000_000_000)
}

fn check_threat(rule: &Rule, problems: &mut Vec<Problem>) {
    for (at, threat) in rule.threat.iter().enumerate().filter(|(_, threat)| threat.framework == "MITRE ATT&CK") {
        let field = format!("threat[{at}]");
        if !is_numbered(&threat.tactic.id, "TA") {
            problems.push(shape(format!("{field}.tactic.id"), &threat.tactic.id, "TA0005"));
        }
        for technique in &threat.technique {
            check_technique(&field, technique, problems);
        }
    }
}

fn check_technique(field: &str, technique: &Technique, problems: &mut Vec<Problem>) {
    if !is_numbered(&technique.id, "T") {
        problems.push(shape(format!("{field}.technique"), &technique.id, "T1218"));
    }
    for sub in &technique.subtechnique {
        let field = format!("{field}.technique.subtechnique");
        match sub.id.split_once('.') {
            Some((parent, number)) if is_numbered(parent, "T") && is_digits(number, 3) => {
                if parent != technique.id {
                    let message = format!("`{}` is not a sub-technique of {}", sub.id, technique.id);
                    problems.push(Problem::warning(field, message));
                }
            }
            _ => problems.push(shape(field, &sub.id, "T1218.005")),
        }
    }
}

fn shape(field: String, id: &str, example: &str) -> Problem {
    Problem::warning(field, format!("`{id}` is not an ATT&CK id such as {example}"))
}

fn is_numbered(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|digits| is_digits(digits, 4))
}

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_suppression(rule: &Rule, problems: &mut Vec<Problem>) {
    let Some(suppression) = &rule.alert_suppression else { return };
    let fields = suppression.group_by.len();
    if rule.rule_type() == RuleType::Threshold {
        if fields > 0 || suppression.duration.is_none() {
            problems.push(Problem::error("alert_suppression", "a threshold rule takes `duration` and nothing else"));
        }
    } else if !(1..=MAX_GROUP_FIELDS).contains(&fields) {
        let message = format!("must name 1 to {MAX_GROUP_FIELDS} fields, not {fields}");
        problems.push(Problem::error("alert_suppression.group_by", message));
    }
    if suppression.duration.is_some_and(|duration| duration.value == 0) {
        problems.push(Problem::error("alert_suppression.duration.value", "must be 1 or more"));
    }
}

fn check_kind(rule: &Rule, problems: &mut Vec<Problem>) {
    if rule.kind.source().is_some_and(|source| source.index.is_empty() && source.data_view_id.is_none()) {
        problems.push(Problem::warning("index", "missing; the rule sees every event"));
    }
    match &rule.kind {
        RuleKind::Eql(eql) if eql.query.trim().is_empty() => problems.push(Problem::error("query", "empty")),
        RuleKind::Esql(esql) if esql.query.trim().is_empty() => problems.push(Problem::error("query", "empty")),
        RuleKind::Threshold(threshold) => check_threshold(&threshold.threshold, problems),
        RuleKind::NewTerms(new_terms) => check_new_terms(rule, new_terms, problems),
        RuleKind::ThreatMatch(threat_match) => check_threat_match(threat_match, problems),
        _ => {}
    }
}

fn check_threshold(threshold: &Threshold, problems: &mut Vec<Problem>) {
    if threshold.value == 0 {
        problems.push(Problem::error("threshold.value", "must be 1 or more"));
    }
    if threshold.field.len() > MAX_THRESHOLD_FIELDS {
        let message = format!("must name at most {MAX_THRESHOLD_FIELDS} fields, not {}", threshold.field.len());
        problems.push(Problem::error("threshold.field", message));
    }
    if threshold.cardinality.len() > 1 {
        problems.push(Problem::warning("threshold.cardinality", "only the first entry is used"));
    }
}

fn check_new_terms(rule: &Rule, new_terms: &NewTermsRule, problems: &mut Vec<Problem>) {
    let fields = new_terms.new_terms_fields.len();
    if !(1..=MAX_GROUP_FIELDS).contains(&fields) {
        let message = format!("must name 1 to {MAX_GROUP_FIELDS} fields, not {fields}");
        problems.push(Problem::error("new_terms_fields", message));
    }
    let start = relative(&new_terms.history_window_start);
    if start.zip(relative(&rule.from)).is_some_and(|(start, from)| start >= from) {
        let message = format!("`{}` must come before `from`, `{}`", new_terms.history_window_start, rule.from);
        problems.push(Problem::error("history_window_start", message));
    }
}

fn check_threat_match(rule: &ThreatMatchRule, problems: &mut Vec<Problem>) {
    if rule.threat_index.is_empty() {
        problems.push(Problem::error("threat_index", "must not be empty"));
    }
    if rule.threat_mapping.is_empty() {
        problems.push(Problem::error("threat_mapping", "missing or empty"));
    }
    for (at, group) in rule.threat_mapping.iter().enumerate() {
        if group.entries.iter().all(|entry| entry.negate) {
            let message = "needs at least one entry that is not negated";
            problems.push(Problem::error(format!("threat_mapping[{at}]"), message));
        }
    }
}

/// What the rule repository asks of its files beyond what Kibana asks.
fn check_metadata(rule: &Rule, problems: &mut Vec<Problem>) {
    let Some(metadata) = &rule.metadata else { return };
    if !is_uuid(&rule.rule_id) {
        problems.push(Problem::warning("rule_id", format!("`{}` is not a UUID", rule.rule_id)));
    }
    if metadata.maturity.is_none() {
        problems.push(Problem::warning("metadata.maturity", "missing"));
    }
    let dates = [("creation_date", &metadata.creation_date), ("updated_date", &metadata.updated_date)];
    for (name, date) in dates {
        match date {
            None => problems.push(Problem::warning(format!("metadata.{name}"), "missing")),
            Some(date) if !is_slashed_date(date) => {
                problems.push(Problem::warning(format!("metadata.{name}"), format!("`{date}` is not YYYY/MM/DD")));
            }
            Some(_) => {}
        }
    }
    check_building_block(rule, metadata, problems);
}

/// Building blocks run hourly over two hours, so that the rules above them find them complete.
fn check_building_block(rule: &Rule, metadata: &RuleMetadata, problems: &mut Vec<Problem>) {
    if !rule.is_building_block() || metadata.bypass_bbr_timing == Some(true) || rule.is_deprecated() {
        return;
    }
    if relative(&rule.from).is_some_and(|from| from > -119 * 60) || rule.interval.seconds() < 3600 {
        let message = "a building block rule looks back 119 minutes or more, every 60 minutes or less often";
        problems.push(Problem::warning("from", message));
    }
}

fn is_slashed_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    matches!(parts.as_slice(), [year, month, day] if is_digits(year, 4) && is_digits(month, 2) && is_digits(day, 2))
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = [8, 4, 4, 4, 12];
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
