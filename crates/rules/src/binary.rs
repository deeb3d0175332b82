//! The binary form of a [`RuleLoad`], for caches.
//!
//! Serde's binary formats cannot hold the model: its parts flatten unknown fields, which takes a format that describes
//! itself. This one does not: fields one after the other in the order given here, lengths before texts and lists, and
//! free-form JSON as text. A field that is added to the model is missed by the compiler here.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::cores::on_all_cores;
use crate::load::*;
use crate::parts::*;
use crate::problem::{Problem, ProblemLevel};
use crate::read::{FieldFault, RuleError};
use crate::rule::*;
use crate::schedule::{DateMath, Interval};

/// Rules that are decoded in one go.
const CHUNK: usize = 32;

/// Why bytes are not a [`RuleLoad`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a value.
    #[error("the bytes end too early")]
    UnexpectedEnd,
    /// Bytes are left behind the last value.
    #[error("{0} bytes too many")]
    TrailingBytes(usize),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A number is beyond its type.
    #[error("a number is out of range")]
    OutOfRange,
    /// No variant of a type has that number.
    #[error("{0} has no variant {1}")]
    UnknownVariant(&'static str, u8),
    /// A text is not what a field of that type holds.
    #[error("a text is no {0}")]
    Invalid(&'static str),
}

impl RuleLoad {
    /// The load as bytes, for [`RuleLoad::from_bytes`]. `None` where bytes cannot say it: it has an error of the
    /// system, or a path that is not UTF-8.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut out = Out { bytes: Vec::new(), is_whole: true };
        let RuleLoad { rules, failures, warnings, skipped } = self;
        failures.encode(&mut out);
        warnings.encode(&mut out);
        skipped.encode(&mut out);
        rules.len().encode(&mut out);
        for rule in rules {
            // With a length of its own, so that rules can be decoded on all cores.
            let mut one = Out { bytes: Vec::new(), is_whole: true };
            rule.encode(&mut one);
            out.is_whole &= one.is_whole;
            out.slice(&one.bytes);
        }
        out.is_whole.then_some(out.bytes)
    }

    /// The load that [`RuleLoad::to_bytes`] made bytes of. Safe on any bytes: memory is bounded by their number.
    ///
    /// # Errors
    /// If the bytes are not those of a load.
    pub fn from_bytes(bytes: &[u8]) -> Result<RuleLoad, DecodeError> {
        let mut input = Input { rest: bytes };
        let failures = Vec::decode(&mut input)?;
        let warnings = Vec::decode(&mut input)?;
        let skipped = Vec::decode(&mut input)?;
        let count = input.count()?;
        let pieces = (0..count).map(|_| input.slice()).collect::<Result<Vec<_>, _>>()?;
        input.end()?;
        let chunks: Vec<&[&[u8]]> = pieces.chunks(CHUNK).collect();
        let mut rules = Vec::with_capacity(pieces.len().min(bytes.len() / size_of::<LoadedRule>()));
        for decoded in
            on_all_cores(&chunks, |chunk| chunk.iter().map(|piece| rule(piece)).collect::<Result<Vec<_>, _>>())
        {
            rules.extend(decoded?);
        }
        Ok(RuleLoad { rules, failures, warnings, skipped })
    }
}

fn rule(piece: &[u8]) -> Result<LoadedRule, DecodeError> {
    let mut input = Input { rest: piece };
    let rule = LoadedRule::decode(&mut input)?;
    input.end().map(|()| rule)
}

/// Bytes that are being written.
struct Out {
    bytes: Vec<u8>,
    /// Whether reading would give back what was written.
    is_whole: bool,
}

impl Out {
    /// Seven bits in each byte, lowest first; the highest bit says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn slice(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Bytes that are still to be read.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(DecodeError::OutOfRange);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::OutOfRange)
    }

    /// A number of values that follow; each takes a byte at least.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::decode(self)?;
        if count <= self.rest.len() { Ok(count) } else { Err(DecodeError::UnexpectedEnd) }
    }

    fn slice(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count()?;
        let (slice, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(slice)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.slice()?).map_err(|_| DecodeError::NotUtf8)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes(self.rest.len())) }
    }
}

/// What has a binary form.
trait Binary: Sized {
    fn encode(&self, out: &mut Out);

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError>;
}

impl Binary for bool {
    fn encode(&self, out: &mut Out) {
        out.bytes.push(u8::from(*self));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::UnknownVariant("bool", other)),
        }
    }
}

impl Binary for String {
    fn encode(&self, out: &mut Out) {
        out.slice(self.as_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.text().map(str::to_owned)
    }
}

impl Binary for Cow<'static, str> {
    fn encode(&self, out: &mut Out) {
        out.slice(self.as_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        String::decode(input).map(Cow::Owned)
    }
}

impl Binary for PathBuf {
    fn encode(&self, out: &mut Out) {
        out.is_whole &= self.to_str().is_some();
        out.slice(self.to_string_lossy().as_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        String::decode(input).map(PathBuf::from)
    }
}

/// An error of the system may be gone the next time.
impl Binary for io::Error {
    fn encode(&self, out: &mut Out) {
        out.is_whole = false;
        self.to_string().encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        String::decode(input).map(io::Error::other)
    }
}

impl Binary for Interval {
    fn encode(&self, out: &mut Out) {
        self.to_string().encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Interval::parse(input.text()?).map_err(|_| DecodeError::Invalid("interval"))
    }
}

impl Binary for DateMath {
    fn encode(&self, out: &mut Out) {
        out.slice(self.as_str().as_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        DateMath::parse(input.text()?).map_err(|_| DecodeError::Invalid("date math"))
    }
}

impl Binary for Value {
    fn encode(&self, out: &mut Out) {
        out.slice(self.to_string().as_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        serde_json::from_slice(input.slice()?).map_err(|_| DecodeError::Invalid("JSON"))
    }
}

/// Most are empty, which is a single byte.
impl Binary for Map<String, Value> {
    fn encode(&self, out: &mut Out) {
        self.len().encode(out);
        for (name, value) in self {
            name.encode(out);
            value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let count = input.count()?;
        (0..count).map(|_| Ok((String::decode(input)?, Value::decode(input)?))).collect()
    }
}

impl<T: Binary> Binary for Option<T> {
    fn encode(&self, out: &mut Out) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        if bool::decode(input)? { T::decode(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Binary> Binary for Box<T> {
    fn encode(&self, out: &mut Out) {
        (**self).encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        T::decode(input).map(Box::new)
    }
}

impl<T: Binary> Binary for Vec<T> {
    fn encode(&self, out: &mut Out) {
        self.len().encode(out);
        self.iter().for_each(|item| item.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let count = input.count()?;
        // What the bytes claim to hold is not believed beyond their own size.
        let mut items = Vec::with_capacity(count.min(input.rest.len() / size_of::<T>().max(1)));
        for _ in 0..count {
            items.push(T::decode(input)?);
        }
        Ok(items)
    }
}

macro_rules! numbers {
    ($($name:ty)*) => {$(
        impl Binary for $name {
            fn encode(&self, out: &mut Out) {
                out.number(*self as u64);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                <$name>::try_from(input.number()?).map_err(|_| DecodeError::OutOfRange)
            }
        }
    )*};
}

/// Structs: their fields, one after the other.
macro_rules! records {
    ($($name:ident { $($field:ident),+ $(,)? })*) => {$(
        impl Binary for $name {
            fn encode(&self, out: &mut Out) {
                let $name { $($field),+ } = self;
                $($field.encode(out);)+
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok($name { $($field: Binary::decode(input)?),+ })
            }
        }
    )*};
}

/// Enums: the number of the variant, then its fields with a name for each.
macro_rules! choices {
    ($($name:ident { $($number:literal $variant:ident { $($field:tt: $binding:ident),* })+ })*) => {$(
        impl Binary for $name {
            fn encode(&self, out: &mut Out) {
                match self {
                    $($name::$variant { $($field: $binding),* } => {
                        out.bytes.push($number);
                        $($binding.encode(out);)*
                    })+
                }
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                match input.byte()? {
                    $($number => Ok($name::$variant { $($field: Binary::decode(input)?),* }),)+
                    other => Err(DecodeError::UnknownVariant(stringify!($name), other)),
                }
            }
        }
    )*};
}

numbers! { u8 u32 u64 usize }

records! {
    Action { id, action_type_id, group, params, uuid, frequency, alerts_filter, extra }
    AlertSuppression { group_by, duration, missing_fields_strategy }
    Cardinality { field, value }
    EqlRule { source, query, event_category_override, timestamp_field, tiebreaker_field }
    EsqlRule { query }
    ExceptionListRef { id, list_id, list_type, namespace_type }
    FieldFault { field, message }
    InvestigationFields { field_names }
    LoadedRule { rule, origin, content_hash }
    MachineLearningRule { anomaly_threshold, machine_learning_job_id }
    NewTermsRule { source, query, language, new_terms_fields, history_window_start }
    Origin { path, member, line, query_offset }
    Problem { level, field, message }
    QueryRule { source, query, language, saved_id }
    RelatedIntegration { package, version, integration }
    RequiredField { name, field_type, ecs }
    ResponseAction { action_type_id, params }
    RiskScoreMapping { field, operator, value, risk_score }
    Rule {
        saved_object_id, rule_id, name, description, severity, risk_score, enabled, interval, from, to, max_signals,
        tags, author, false_positives, references, threat, actions, exceptions_list, severity_mapping,
        risk_score_mapping, related_integrations, required_fields, setup, note, license, timeline_id, timeline_title,
        namespace, output_index, meta, building_block_type, rule_name_override, timestamp_override,
        timestamp_override_fallback_disabled, investigation_fields, response_actions, throttle, alert_suppression,
        version, revision, immutable, rule_source, created_at, created_by, updated_at, updated_by, execution_summary,
        kind, metadata, transform, extra, threat_mappings, read_problems,
    }
    RuleError { faults }
    RuleFailure { origin, error }
    RuleMetadata {
        creation_date, updated_date, maturity, integration, min_stack_version, min_stack_comments, deprecation_date,
        deprecated_reason, promotion, bypass_bbr_timing, extra,
    }
    RuleSource { source_type, is_customized, has_base_version, customized_fields }
    RuleWarning { origin, message }
    SavedQueryRule { source, saved_id, query, language }
    SeverityMapping { field, operator, value, severity }
    Skipped { origin, reason }
    Source { index, data_view_id, filters }
    SuppressionDuration { value, unit }
    Technique { id, name, reference, subtechnique }
    Threat { framework, tactic, technique, extra }
    ThreatMappingEntry { field, entry_type, value, negate }
    ThreatMappingGroup { entries }
    ThreatMatchRule {
        source, query, language, saved_id, threat_query, threat_language, threat_index, threat_mapping, threat_filters,
        threat_indicator_path, concurrent_searches, items_per_search,
    }
    ThreatRef { id, name, reference }
    Threshold { field, value, cardinality }
    ThresholdRule { source, query, language, saved_id, threshold }
    Transform { osquery, investigate, extra }
}

choices! {
    LoadError {
        0 Io { 0: error }
        1 TooLarge { limit: limit }
        2 Encoding { encoding: encoding, offset: offset }
        3 NotARule { 0: reason }
        4 Syntax { format: format, message: message, line: line, column: column, excerpt: excerpt }
        5 Rule { error: error, excerpt: excerpt }
        6 Duplicate { rule_id: rule_id, first: first }
        7 Zip { 0: reason }
        8 ZipLimit { what: what, limit: limit, name: name }
    }
    MissingFieldsStrategy {
        0 Suppress {}
        1 DoNotSuppress {}
    }
    ProblemLevel {
        0 Warning {}
        1 Error {}
    }
    QueryLanguage {
        0 Kuery {}
        1 Lucene {}
    }
    RuleKind {
        0 Query { 0: rule }
        1 SavedQuery { 0: rule }
        2 Eql { 0: rule }
        3 Threshold { 0: rule }
        4 NewTerms { 0: rule }
        5 ThreatMatch { 0: rule }
        6 Esql { 0: rule }
        7 MachineLearning { 0: rule }
    }
    Severity {
        0 Low {}
        1 Medium {}
        2 High {}
        3 Critical {}
    }
    SkipReason {
        0 Hidden {}
        1 NotARule { 0: reason }
        2 NotAFile {}
        3 SameFile {}
        4 SameRule { 0: first }
        5 Superseded {}
        6 DeprecatedStub {}
        7 ExceptionList {}
        8 ExceptionItem {}
        9 Connector {}
        10 SavedObject { 0: kind }
        11 ExportSummary {}
        12 RuleTests {}
    }
    SuppressionUnit {
        0 Seconds {}
        1 Minutes {}
        2 Hours {}
    }
}
