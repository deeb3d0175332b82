//! From a [`Rule`] to the API's JSON.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::rule::*;

impl Rule {
    /// The API's JSON form, as Kibana would return it: every list is there, optional fields only where set. The
    /// `metadata`, `transform` and `threat_mappings` of a TOML file, which Kibana does not take, are left out.
    pub fn to_api_json(&self) -> Map<String, Value> {
        let mut out = Writer(Map::new());
        write_head(self, &mut out);
        write_kind(&self.kind, &mut out);
        write_tail(self, &mut out);
        out.0.extend(self.extra.clone());
        out.0
    }

    /// Everything the rule holds, so that [`Rule::from_json`] gives the same rule back.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut out = Writer(self.to_api_json());
        out.option("metadata", &self.metadata);
        out.option("transform", &self.transform);
        out.option("threat_mappings", &self.threat_mappings);
        out.0
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

fn write_head(rule: &Rule, out: &mut Writer) {
    out.option("id", &rule.saved_object_id);
    out.put("rule_id", &rule.rule_id);
    out.put("name", &rule.name);
    out.put("description", &rule.description);
    out.put("enabled", rule.enabled);
    out.put("severity", rule.severity.as_str());
    out.put("severity_mapping", &rule.severity_mapping);
    out.put("risk_score", rule.risk_score);
    out.put("risk_score_mapping", &rule.risk_score_mapping);
    out.put("interval", rule.interval.to_string());
    out.put("from", rule.from.as_str());
    out.put("to", rule.to.as_str());
    out.put("max_signals", rule.max_signals);
    out.put("tags", &rule.tags);
    out.put("author", &rule.author);
    out.put("false_positives", &rule.false_positives);
    out.put("references", &rule.references);
    out.put("threat", &rule.threat);
    out.put("setup", &rule.setup);
    out.option("note", &rule.note);
    out.option("license", &rule.license);
    out.put("type", rule.rule_type().as_str());
}

fn write_kind(kind: &RuleKind, out: &mut Writer) {
    match kind {
        RuleKind::Query(rule) => {
            out.query(&rule.source, &rule.query, rule.language.as_str());
            out.option("saved_id", &rule.saved_id);
        }
        RuleKind::SavedQuery(rule) => {
            out.source(&rule.source);
            out.option("query", &rule.query);
            out.put("language", rule.language.as_str());
            out.put("saved_id", &rule.saved_id);
        }
        RuleKind::Eql(rule) => {
            out.query(&rule.source, &rule.query, "eql");
            out.option("event_category_override", &rule.event_category_override);
            out.option("timestamp_field", &rule.timestamp_field);
            out.option("tiebreaker_field", &rule.tiebreaker_field);
        }
        RuleKind::Threshold(rule) => {
            out.query(&rule.source, &rule.query, rule.language.as_str());
            out.option("saved_id", &rule.saved_id);
            let threshold = &rule.threshold;
            let value = json!({
                "field": threshold.field, "value": threshold.value, "cardinality": threshold.cardinality
            });
            out.put("threshold", value);
        }
        RuleKind::NewTerms(rule) => {
            out.query(&rule.source, &rule.query, rule.language.as_str());
            out.put("new_terms_fields", &rule.new_terms_fields);
            out.put("history_window_start", rule.history_window_start.as_str());
        }
        RuleKind::ThreatMatch(rule) => write_threat_match(rule, out),
        RuleKind::Esql(rule) => {
            out.put("query", &rule.query);
            out.put("language", "esql");
        }
        RuleKind::MachineLearning(rule) => {
            out.put("anomaly_threshold", rule.anomaly_threshold);
            out.put("machine_learning_job_id", &rule.machine_learning_job_id);
        }
    }
}

fn write_threat_match(rule: &ThreatMatchRule, out: &mut Writer) {
    out.query(&rule.source, &rule.query, rule.language.as_str());
    out.option("saved_id", &rule.saved_id);
    out.put("threat_query", &rule.threat_query);
    out.put("threat_language", rule.threat_language.as_str());
    out.put("threat_index", &rule.threat_index);
    out.put("threat_mapping", &rule.threat_mapping);
    out.put("threat_filters", &rule.threat_filters);
    out.option("threat_indicator_path", &rule.threat_indicator_path);
    out.option("concurrent_searches", &rule.concurrent_searches);
    out.option("items_per_search", &rule.items_per_search);
}

fn write_tail(rule: &Rule, out: &mut Writer) {
    out.option("alert_suppression", &rule.alert_suppression);
    out.option("building_block_type", &rule.building_block_type);
    out.option("rule_name_override", &rule.rule_name_override);
    out.option("timestamp_override", &rule.timestamp_override);
    out.option("timestamp_override_fallback_disabled", &rule.timestamp_override_fallback_disabled);
    out.option("investigation_fields", &rule.investigation_fields);
    out.option("timeline_id", &rule.timeline_id);
    out.option("timeline_title", &rule.timeline_title);
    out.option("namespace", &rule.namespace);
    out.option("output_index", &rule.output_index);
    out.option("meta", &rule.meta);
    out.put("actions", &rule.actions);
    out.put("response_actions", &rule.response_actions);
    out.option("throttle", &rule.throttle);
    out.put("exceptions_list", &rule.exceptions_list);
    out.put("related_integrations", &rule.related_integrations);
    out.put("required_fields", &rule.required_fields);
    out.put("version", rule.version);
    out.put("revision", rule.revision);
    out.put("immutable", rule.immutable);
    out.option("rule_source", &rule.rule_source);
    out.option("created_at", &rule.created_at);
    out.option("created_by", &rule.created_by);
    out.option("updated_at", &rule.updated_at);
    out.option("updated_by", &rule.updated_by);
    out.option("execution_summary", &rule.execution_summary);
}

struct Writer(Map<String, Value>);

impl Writer {
    fn put(&mut self, field: &str, value: impl Serialize) {
        // The model holds text, numbers, lists and maps with text keys only, which always have a JSON form.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.0.insert(field.to_owned(), value);
    }

    fn option<T: Serialize>(&mut self, field: &str, value: &Option<T>) {
        if let Some(value) = value {
            self.put(field, value);
        }
    }

    fn source(&mut self, source: &Source) {
        if !source.index.is_empty() || source.data_view_id.is_none() {
            self.put("index", &source.index);
        }
        self.option("data_view_id", &source.data_view_id);
        self.put("filters", &source.filters);
    }

    fn query(&mut self, source: &Source, query: &str, language: &str) {
        self.source(source);
        self.put("query", query);
        self.put("language", language);
    }
}
