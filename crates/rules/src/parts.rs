//! The structured values a rule is made of: ATT&CK mappings, suppression, overrides, actions and the like.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How bad an alert of a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look when nothing else is on.
    Low,
    /// Worth a look.
    Medium,
    /// Needs attention.
    High,
    /// Needs attention now.
    Critical,
}

impl Severity {
    /// All severities, least first.
    pub const ALL: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The name used in rules and alerts.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that name; exact spelling, as the API wants it.
    pub fn parse(text: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == text)
    }

    /// The risk score Kibana proposes for this severity.
    pub fn default_risk_score(self) -> u8 {
        match self {
            Severity::Low => 21,
            Severity::Medium => 47,
            Severity::High => 73,
            Severity::Critical => 99,
        }
    }

    /// The severity whose proposed risk score is nearest below `risk_score`, [`Severity::Low`] at least.
    pub fn from_risk_score(risk_score: u8) -> Severity {
        match risk_score {
            0..=46 => Severity::Low,
            47..=72 => Severity::Medium,
            73..=98 => Severity::High,
            _ => Severity::Critical,
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Severity, UnknownSeverity> {
        Severity::parse(text).ok_or_else(|| UnknownSeverity(text.to_owned()))
    }
}

/// The error of [`Severity::from_str`](std::str::FromStr::from_str).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown severity `{0}`: use low, medium, high or critical")]
pub struct UnknownSeverity(pub String);

/// One tactic of a framework, with the techniques the rule covers in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Threat {
    /// Name of the framework, `MITRE ATT&CK` as a rule.
    #[serde(default)]
    pub framework: String,
    /// The tactic.
    pub tactic: ThreatRef,
    /// Techniques; may be empty.
    #[serde(default)]
    pub technique: Vec<Technique>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Id, name and address of a tactic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreatRef {
    /// The framework's id, `TA0005`, `T1218` or `T1218.005`.
    pub id: String,
    /// Name in words.
    #[serde(default)]
    pub name: String,
    /// Page of the framework about it.
    #[serde(default)]
    pub reference: String,
}

/// A technique with its sub-techniques.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Technique {
    /// The framework's id, such as `T1218`.
    pub id: String,
    /// Name in words.
    #[serde(default)]
    pub name: String,
    /// Page of the framework about it.
    #[serde(default)]
    pub reference: String,
    /// Sub-techniques; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtechnique: Vec<ThreatRef>,
}

/// One entry of `severity_mapping`: an event field that overrides the severity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeverityMapping {
    /// Field of the event.
    pub field: String,
    /// `equals`.
    #[serde(default = "equals")]
    pub operator: String,
    /// Value the field must have.
    #[serde(default)]
    pub value: String,
    /// Severity of the alert in that case.
    pub severity: Severity,
}

/// One entry of `risk_score_mapping`: an event field that holds the risk score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskScoreMapping {
    /// Field of the event.
    pub field: String,
    /// `equals`.
    #[serde(default = "equals")]
    pub operator: String,
    /// Not used by the engine.
    #[serde(default)]
    pub value: String,
    /// Not used by the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<u8>,
}

fn equals() -> String {
    "equals".to_owned()
}

/// An action to take when the rule alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Id of the connector.
    pub id: String,
    /// Type of the connector, such as `.slack`.
    pub action_type_id: String,
    /// Action group, `default` as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Parameters of the connector type.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Id of this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// `{summary, notifyWhen, throttle}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<Value>,
    /// Query and timeframe that limit the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts_filter: Option<Value>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A reference to an exception list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExceptionListRef {
    /// Saved-object id of the list.
    pub id: String,
    /// Stable id of the list.
    pub list_id: String,
    /// `detection`, `rule_default`, `endpoint` and so on.
    #[serde(rename = "type")]
    pub list_type: String,
    /// `single` or `agnostic`.
    pub namespace_type: String,
}

/// An integration whose data the rule reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelatedIntegration {
    /// Name of the Fleet package.
    pub package: String,
    /// Version range of the package.
    pub version: String,
    /// Integration inside the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
}

/// A field the rule's query reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequiredField {
    /// Dotted name.
    pub name: String,
    /// Elasticsearch type.
    #[serde(rename = "type")]
    pub field_type: String,
    /// Whether ECS defines the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs: Option<bool>,
}

/// Fields shown first when an alert is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvestigationFields {
    /// Dotted names; at least one.
    pub field_names: Vec<String>,
}

/// An endpoint or osquery action run for each alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseAction {
    /// `.osquery` or `.endpoint`.
    pub action_type_id: String,
    /// Parameters of that type.
    #[serde(default)]
    pub params: Map<String, Value>,
}

/// Where a rule came from, as Kibana computes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleSource {
    /// `internal` or `external`.
    #[serde(rename = "type")]
    pub source_type: String,
    /// Whether a prebuilt rule was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_customized: Option<bool>,
    /// Whether the asset of this version is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_base_version: Option<bool>,
    /// The edited fields, as `{field_name}` objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customized_fields: Option<Vec<Value>>,
}

/// Grouping of like alerts into one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertSuppression {
    /// Fields to group by: one to three, none for threshold rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// Width of the window; absent means one rule run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<SuppressionDuration>,
    /// What to do with events that lack a group field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_fields_strategy: Option<MissingFieldsStrategy>,
}

/// `{value, unit}` of a suppression window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionDuration {
    /// Number of units.
    pub value: u64,
    /// `s`, `m` or `h`.
    pub unit: SuppressionUnit,
}

impl SuppressionDuration {
    /// Width in seconds, at most `u64::MAX`.
    pub fn seconds(self) -> u64 {
        let unit = match self.unit {
            SuppressionUnit::Seconds => 1,
            SuppressionUnit::Minutes => 60,
            SuppressionUnit::Hours => 3600,
        };
        self.value.saturating_mul(unit)
    }
}

/// Unit of a suppression window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuppressionUnit {
    /// `s`
    #[serde(rename = "s")]
    Seconds,
    /// `m`
    #[serde(rename = "m")]
    Minutes,
    /// `h`
    #[serde(rename = "h")]
    Hours,
}

/// What suppression does with events that lack a group field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingFieldsStrategy {
    /// Group them under an absent value.
    #[serde(rename = "suppress")]
    Suppress,
    /// Alert on each.
    #[serde(rename = "doNotSuppress")]
    DoNotSuppress,
}

/// `threshold` of a threshold rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Fields to group by; empty compares the total once.
    pub field: Vec<String>,
    /// Number of events from which on a group alerts.
    pub value: u64,
    /// Distinct counts a group must reach.
    pub cardinality: Vec<Cardinality>,
}

/// A distinct count of a threshold rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cardinality {
    /// Field whose values are counted.
    pub field: String,
    /// Least number of distinct values.
    pub value: u64,
}

/// Alternatives of an indicator match: entries of one group must all hold, any group is enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreatMappingGroup {
    /// The comparisons that must all hold.
    pub entries: Vec<ThreatMappingEntry>,
}

/// One comparison of an event field with an indicator field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreatMappingEntry {
    /// Field of the event.
    pub field: String,
    /// `mapping`.
    #[serde(rename = "type", default = "mapping")]
    pub entry_type: String,
    /// Field of the indicator.
    pub value: String,
    /// Holds when the values differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negate: bool,
}

fn mapping() -> String {
    "mapping".to_owned()
}

/// The `[metadata]` table of a detection-rules TOML file. Kibana never sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleMetadata {
    /// `YYYY/MM/DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<String>,
    /// `YYYY/MM/DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_date: Option<String>,
    /// `production`, `development`, `experimental`, `beta`, `deprecated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maturity: Option<String>,
    /// Integrations whose data the rule reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integration: Vec<String>,
    /// First stack version that runs the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_stack_version: Option<String>,
    /// Why that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_stack_comments: Option<String>,
    /// Day the rule was retired, `YYYY/MM/DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecation_date: Option<String>,
    /// Why the rule was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_reason: Option<String>,
    /// Whether the rule passes on another product's alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<bool>,
    /// Exempts a building block rule from the look-back check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass_bbr_timing: Option<bool>,
    /// Everything else in the table.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl RuleMetadata {
    /// Whether the file marks the rule as retired.
    pub fn is_deprecated(&self) -> bool {
        self.maturity.as_deref() == Some("deprecated") || self.deprecation_date.is_some()
    }
}

/// The `[transform]` table of a detection-rules TOML file: snippets for the investigation guide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    /// Substituted for `$osquery_0`, `$osquery_1`, … in the guide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub osquery: Vec<Map<String, Value>>,
    /// Substituted for `$investigate_0`, `$investigate_1`, … in the guide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub investigate: Vec<Map<String, Value>>,
    /// Everything else in the table.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
