//! Why a request in the Query DSL is refused, in Elasticsearch's words.

use thiserror::Error;

/// The kinds of error, by Elasticsearch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DslErrorKind {
    /// A part that is not known or stands in the wrong place.
    Parsing,
    /// A value that makes no sense.
    IllegalArgument,
    /// A query that does not fit the field that it asks for.
    QueryShard,
    /// Text that is no date.
    DateParse,
    /// More hits than a request may reach.
    ResultWindow,
    /// More buckets than a request may have.
    TooManyBuckets,
    /// More memory than a request may take.
    CircuitBreaking,
}

impl DslErrorKind {
    /// Elasticsearch's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parsing => "parsing_exception",
            Self::IllegalArgument | Self::ResultWindow => "illegal_argument_exception",
            Self::QueryShard => "query_shard_exception",
            Self::DateParse => "parse_exception",
            Self::TooManyBuckets => "too_many_buckets_exception",
            Self::CircuitBreaking => "circuit_breaking_exception",
        }
    }

    /// Whether Elasticsearch finds it only while it searches, each shard for itself.
    pub fn is_of_shards(self) -> bool {
        matches!(self, Self::QueryShard | Self::DateParse | Self::ResultWindow)
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::CircuitBreaking => 429,
            _ => 400,
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct DslError {
    /// The kind.
    pub kind: DslErrorKind,
    /// What is wrong, one line.
    pub reason: String,
}

impl DslError {
    /// A part that is not known or stands in the wrong place.
    pub fn parsing(reason: impl Into<String>) -> Self {
        Self { kind: DslErrorKind::Parsing, reason: reason.into() }
    }

    /// A value that makes no sense.
    pub fn argument(reason: impl Into<String>) -> Self {
        Self { kind: DslErrorKind::IllegalArgument, reason: reason.into() }
    }

    /// A query that does not fit its field.
    pub fn shard(reason: impl Into<String>) -> Self {
        Self { kind: DslErrorKind::QueryShard, reason: reason.into() }
    }
}
