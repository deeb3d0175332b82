//! The rule model: [`Rule`] and its type-specific part [`RuleKind`].

use serde_json::{Map, Value};

use crate::parts::*;
use crate::problem::Problem;
use crate::schedule::{DateMath, Interval};

/// The `type` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleType {
    /// `query`: KQL or Lucene over single events.
    Query,
    /// `saved_query`: a query kept in Kibana.
    SavedQuery,
    /// `eql`: event, sequence and sample queries.
    Eql,
    /// `threshold`: counts per group.
    Threshold,
    /// `new_terms`: values never seen before.
    NewTerms,
    /// `threat_match`: events that match indicators.
    ThreatMatch,
    /// `esql`: ES|QL.
    Esql,
    /// `machine_learning`: anomalies of a job.
    MachineLearning,
}

impl RuleType {
    /// All types.
    pub const ALL: [RuleType; 8] = [
        RuleType::Query,
        RuleType::SavedQuery,
        RuleType::Eql,
        RuleType::Threshold,
        RuleType::NewTerms,
        RuleType::ThreatMatch,
        RuleType::Esql,
        RuleType::MachineLearning,
    ];

    /// The name used in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleType::Query => "query",
            RuleType::SavedQuery => "saved_query",
            RuleType::Eql => "eql",
            RuleType::Threshold => "threshold",
            RuleType::NewTerms => "new_terms",
            RuleType::ThreatMatch => "threat_match",
            RuleType::Esql => "esql",
            RuleType::MachineLearning => "machine_learning",
        }
    }

    /// The type of that name.
    pub fn parse(text: &str) -> Option<RuleType> {
        RuleType::ALL.into_iter().find(|rule_type| rule_type.as_str() == text)
    }

    /// Kibana's alerting rule type, such as `siem.eqlRule`.
    pub fn rule_type_id(self) -> &'static str {
        match self {
            RuleType::Query => "siem.queryRule",
            RuleType::SavedQuery => "siem.savedQueryRule",
            RuleType::Eql => "siem.eqlRule",
            RuleType::Threshold => "siem.thresholdRule",
            RuleType::NewTerms => "siem.newTermsRule",
            RuleType::ThreatMatch => "siem.indicatorRule",
            RuleType::Esql => "siem.esqlRule",
            RuleType::MachineLearning => "siem.mlRule",
        }
    }

    /// The type in words, as Kibana shows it.
    pub fn label(self) -> &'static str {
        match self {
            RuleType::Query => "Custom Query Rule",
            RuleType::SavedQuery => "Saved Query Rule",
            RuleType::Eql => "Event Correlation Rule",
            RuleType::Threshold => "Threshold Rule",
            RuleType::NewTerms => "New Terms Rule",
            RuleType::ThreatMatch => "Indicator Match Rule",
            RuleType::Esql => "ES|QL Rule",
            RuleType::MachineLearning => "Machine Learning Rule",
        }
    }
}

impl std::fmt::Display for RuleType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A detection rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `id`: the saved-object id. Differs between installations; use [`Rule::id`].
    pub saved_object_id: Option<String>,
    /// Stable signature id.
    pub rule_id: String,
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Severity of its alerts.
    pub severity: Severity,
    /// Risk score of its alerts, 0 to 100.
    pub risk_score: u8,
    /// Whether the schedule runs it.
    pub enabled: bool,
    /// Schedule period.
    pub interval: Interval,
    /// Start of the searched window.
    pub from: DateMath,
    /// End of the searched window.
    pub to: DateMath,
    /// Most alerts of one run.
    pub max_signals: u32,
    /// Tags.
    pub tags: Vec<String>,
    /// Authors.
    pub author: Vec<String>,
    /// Known benign causes.
    pub false_positives: Vec<String>,
    /// Addresses of background reading.
    pub references: Vec<String>,
    /// ATT&CK mapping.
    pub threat: Vec<Threat>,
    /// Connector actions.
    pub actions: Vec<Action>,
    /// Exception lists that apply.
    pub exceptions_list: Vec<ExceptionListRef>,
    /// Severity overrides.
    pub severity_mapping: Vec<SeverityMapping>,
    /// Risk score overrides.
    pub risk_score_mapping: Vec<RiskScoreMapping>,
    /// Integrations whose data the rule reads.
    pub related_integrations: Vec<RelatedIntegration>,
    /// Fields the query reads.
    pub required_fields: Vec<RequiredField>,
    /// Setup guide, Markdown.
    pub setup: String,
    /// Investigation guide, Markdown.
    pub note: Option<String>,
    /// License of the rule.
    pub license: Option<String>,
    /// Timeline template.
    pub timeline_id: Option<String>,
    /// Title of the timeline template.
    pub timeline_title: Option<String>,
    /// Has no effect; kept.
    pub namespace: Option<String>,
    /// Has no effect; kept.
    pub output_index: Option<String>,
    /// Free-form; copied into alerts.
    pub meta: Option<Map<String, Value>>,
    /// `default` on rules whose alerts only feed other rules.
    pub building_block_type: Option<String>,
    /// Field whose value becomes the name of the alert.
    pub rule_name_override: Option<String>,
    /// Time field in place of `@timestamp`.
    pub timestamp_override: Option<String>,
    /// Whether events without the override field are left out.
    pub timestamp_override_fallback_disabled: Option<bool>,
    /// Fields shown first.
    pub investigation_fields: Option<InvestigationFields>,
    /// Endpoint and osquery actions.
    pub response_actions: Vec<ResponseAction>,
    /// Legacy action frequency.
    pub throttle: Option<String>,
    /// Grouping of like alerts.
    pub alert_suppression: Option<AlertSuppression>,
    /// Content version.
    pub version: u32,
    /// Number of edits.
    pub revision: u32,
    /// Legacy flag of prebuilt rules.
    pub immutable: bool,
    /// Where the rule came from.
    pub rule_source: Option<RuleSource>,
    /// When the rule was made.
    pub created_at: Option<String>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was last edited.
    pub updated_at: Option<String>,
    /// Who edited it last.
    pub updated_by: Option<String>,
    /// State of the last run, in API responses.
    pub execution_summary: Option<Value>,
    /// The part that depends on the type.
    pub kind: RuleKind,
    /// `[metadata]` of a TOML file.
    pub metadata: Option<RuleMetadata>,
    /// `[transform]` of a TOML file.
    pub transform: Option<Transform>,
    /// Fields this version does not know, as they were.
    pub extra: Map<String, Value>,
    /// `threat_mappings`: mapping to a given ATT&CK version, of use to the rule repository only.
    pub threat_mappings: Option<Value>,
    /// What had to be put right while reading; part of what [`crate::validate`] returns.
    pub read_problems: Vec<Problem>,
}

/// The type of a rule with what only that type has.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    /// `query`
    Query(QueryRule),
    /// `saved_query`
    SavedQuery(SavedQueryRule),
    /// `eql`
    Eql(EqlRule),
    /// `threshold`
    Threshold(ThresholdRule),
    /// `new_terms`
    NewTerms(NewTermsRule),
    /// `threat_match`
    ThreatMatch(ThreatMatchRule),
    /// `esql`
    Esql(EsqlRule),
    /// `machine_learning`
    MachineLearning(MachineLearningRule),
}

/// What a rule searches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Index patterns.
    pub index: Vec<String>,
    /// A Kibana data view; goes before `index`.
    pub data_view_id: Option<String>,
    /// Query DSL filters, as Kibana's filter bar makes them.
    pub filters: Vec<Value>,
}

/// The language of a query that is not EQL or ES|QL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueryLanguage {
    /// `kuery`: KQL.
    #[default]
    Kuery,
    /// `lucene`: query-string syntax.
    Lucene,
}

impl QueryLanguage {
    /// The name used in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            QueryLanguage::Kuery => "kuery",
            QueryLanguage::Lucene => "lucene",
        }
    }

    /// The language of that name.
    pub fn parse(text: &str) -> Option<QueryLanguage> {
        [QueryLanguage::Kuery, QueryLanguage::Lucene].into_iter().find(|language| language.as_str() == text)
    }
}

/// A `query` rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryRule {
    /// What is searched.
    pub source: Source,
    /// The query; may be empty.
    pub query: String,
    /// Its language.
    pub language: QueryLanguage,
    /// A saved query it came from.
    pub saved_id: Option<String>,
}

/// A `saved_query` rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedQueryRule {
    /// What is searched.
    pub source: Source,
    /// The query kept in Kibana.
    pub saved_id: String,
    /// Used when the saved query is not to be found.
    pub query: Option<String>,
    /// Language of `query`.
    pub language: QueryLanguage,
}

/// An `eql` rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EqlRule {
    /// What is searched.
    pub source: Source,
    /// The query.
    pub query: String,
    /// Field that holds the category; `event.category` if absent.
    pub event_category_override: Option<String>,
    /// Field that orders events; `@timestamp` if absent.
    pub timestamp_field: Option<String>,
    /// Field that orders events of one time.
    pub tiebreaker_field: Option<String>,
}

/// A `threshold` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdRule {
    /// What is searched.
    pub source: Source,
    /// The query.
    pub query: String,
    /// Its language.
    pub language: QueryLanguage,
    /// A saved query it came from.
    pub saved_id: Option<String>,
    /// Groups and counts.
    pub threshold: Threshold,
}

/// A `new_terms` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTermsRule {
    /// What is searched.
    pub source: Source,
    /// The query.
    pub query: String,
    /// Its language.
    pub language: QueryLanguage,
    /// One to three fields.
    pub new_terms_fields: Vec<String>,
    /// How far back a value counts as known.
    pub history_window_start: DateMath,
}

/// A `threat_match` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreatMatchRule {
    /// What is searched.
    pub source: Source,
    /// The query.
    pub query: String,
    /// Its language.
    pub language: QueryLanguage,
    /// A saved query it came from.
    pub saved_id: Option<String>,
    /// Which indicators count.
    pub threat_query: String,
    /// Language of `threat_query`.
    pub threat_language: QueryLanguage,
    /// Where the indicators are.
    pub threat_index: Vec<String>,
    /// What is compared with what.
    pub threat_mapping: Vec<ThreatMappingGroup>,
    /// Query DSL filters for indicators.
    pub threat_filters: Vec<Value>,
    /// Object of the indicator document that is copied into alerts; `threat.indicator` if absent.
    pub threat_indicator_path: Option<String>,
    /// Tuning of Kibana's search; kept.
    pub concurrent_searches: Option<u32>,
    /// Tuning of Kibana's search; kept.
    pub items_per_search: Option<u32>,
}

/// An `esql` rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EsqlRule {
    /// The query, which names its indices itself.
    pub query: String,
}

/// A `machine_learning` rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineLearningRule {
    /// Least record score, 0 to 100.
    pub anomaly_threshold: u8,
    /// The jobs.
    pub machine_learning_job_id: Vec<String>,
}

impl RuleKind {
    /// The type.
    pub fn rule_type(&self) -> RuleType {
        match self {
            RuleKind::Query(_) => RuleType::Query,
            RuleKind::SavedQuery(_) => RuleType::SavedQuery,
            RuleKind::Eql(_) => RuleType::Eql,
            RuleKind::Threshold(_) => RuleType::Threshold,
            RuleKind::NewTerms(_) => RuleType::NewTerms,
            RuleKind::ThreatMatch(_) => RuleType::ThreatMatch,
            RuleKind::Esql(_) => RuleType::Esql,
            RuleKind::MachineLearning(_) => RuleType::MachineLearning,
        }
    }

    /// What the rule searches; none for ES|QL and machine learning rules.
    pub fn source(&self) -> Option<&Source> {
        match self {
            RuleKind::Query(rule) => Some(&rule.source),
            RuleKind::SavedQuery(rule) => Some(&rule.source),
            RuleKind::Eql(rule) => Some(&rule.source),
            RuleKind::Threshold(rule) => Some(&rule.source),
            RuleKind::NewTerms(rule) => Some(&rule.source),
            RuleKind::ThreatMatch(rule) => Some(&rule.source),
            RuleKind::Esql(_) | RuleKind::MachineLearning(_) => None,
        }
    }

    /// The query.
    pub fn query(&self) -> Option<&str> {
        match self {
            RuleKind::Query(rule) => Some(&rule.query),
            RuleKind::SavedQuery(rule) => rule.query.as_deref(),
            RuleKind::Eql(rule) => Some(&rule.query),
            RuleKind::Threshold(rule) => Some(&rule.query),
            RuleKind::NewTerms(rule) => Some(&rule.query),
            RuleKind::ThreatMatch(rule) => Some(&rule.query),
            RuleKind::Esql(rule) => Some(&rule.query),
            RuleKind::MachineLearning(_) => None,
        }
    }

    /// The language of the query: `eql`, `esql`, `kuery` or `lucene`.
    pub fn language(&self) -> Option<&'static str> {
        match self {
            RuleKind::Query(rule) => Some(rule.language.as_str()),
            RuleKind::SavedQuery(rule) => Some(rule.language.as_str()),
            RuleKind::Eql(_) => Some("eql"),
            RuleKind::Threshold(rule) => Some(rule.language.as_str()),
            RuleKind::NewTerms(rule) => Some(rule.language.as_str()),
            RuleKind::ThreatMatch(rule) => Some(rule.language.as_str()),
            RuleKind::Esql(_) => Some("esql"),
            RuleKind::MachineLearning(_) => None,
        }
    }
}

impl Rule {
    /// The stable id, `rule_id`.
    pub fn id(&self) -> &str {
        &self.rule_id
    }

    /// The type.
    pub fn rule_type(&self) -> RuleType {
        self.kind.rule_type()
    }

    /// The query; none for machine learning rules and for saved queries kept in Kibana alone.
    pub fn query(&self) -> Option<&str> {
        self.kind.query()
    }

    /// The language of the query: `eql`, `esql`, `kuery` or `lucene`.
    pub fn language(&self) -> Option<&'static str> {
        self.kind.language()
    }

    /// Index patterns; empty if the rule has none or a data view in their place.
    pub fn index(&self) -> &[String] {
        self.kind.source().map_or(&[], |source| &source.index)
    }

    /// Query DSL filters.
    pub fn filters(&self) -> &[Value] {
        self.kind.source().map_or(&[], |source| &source.filters)
    }

    /// The EQL part, if the rule is of that type.
    pub fn eql(&self) -> Option<&EqlRule> {
        match &self.kind {
            RuleKind::Eql(rule) => Some(rule),
            _ => None,
        }
    }

    /// Whether the alerts of the rule only feed other rules.
    pub fn is_building_block(&self) -> bool {
        self.building_block_type.is_some()
    }

    /// Whether the file marks the rule as retired.
    pub fn is_deprecated(&self) -> bool {
        self.metadata.as_ref().is_some_and(RuleMetadata::is_deprecated)
    }

    /// The ids of its tactics, in the rule's order.
    pub fn tactic_ids(&self) -> impl Iterator<Item = &str> {
        self.threat.iter().map(|threat| threat.tactic.id.as_str())
    }

    /// The ids of its techniques and sub-techniques, in the rule's order.
    pub fn technique_ids(&self) -> impl Iterator<Item = &str> {
        self.threat.iter().flat_map(|threat| &threat.technique).flat_map(|technique| {
            std::iter::once(technique.id.as_str()).chain(technique.subtechnique.iter().map(|sub| sub.id.as_str()))
        })
    }
}
