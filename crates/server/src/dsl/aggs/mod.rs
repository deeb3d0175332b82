//! Aggregations: buckets of documents, and numbers over their values.

mod collect;
mod interval;
mod metric;
mod parse;
mod render;

use serde_json::Value;

use super::date::{DateFormat, Zone};
use super::{Field, Query};
use interval::Interval;

use collect::BucketKey;
pub use collect::{Collector, Memory};

/// How many buckets an answer may have (`search.max_buckets`).
pub const MAX_BUCKETS: usize = 65_536;

/// How much memory, in bytes, the aggregations of a request may take while they collect.
pub const MAX_AGGREGATION_BYTES: usize = 256 << 20;

/// The aggregations of a request, or of a bucket, by name.
#[derive(Debug, Default)]
pub struct Aggregations(Vec<(String, Aggregation)>);

#[derive(Debug)]
struct Aggregation {
    kind: Kind,
    below: Aggregations,
    meta: Option<Value>,
}

#[derive(Debug)]
enum Kind {
    Terms(Terms),
    DateHistogram(DateHistogram),
    Histogram(Histogram),
    Filter(Query),
    Filters(Filters),
    Missing(Field),
    Metric(Metric),
}

#[derive(Debug)]
struct Terms {
    field: Field,
    size: usize,
    order: Vec<(OrderBy, bool)>,
    missing: Option<BucketKey>,
    min_doc_count: u64,
    include: Option<KeyFilter>,
    exclude: Option<KeyFilter>,
    format: Option<DateFormat>,
    /// Each bucket says how far its count may be off, which it never is.
    show_error: bool,
}

/// What buckets are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OrderBy {
    Count,
    Key,
    /// A number of an aggregation below.
    Below(Path),
}

/// Where the number stands that buckets are ordered by: below buckets of one each, a metric's number, or a bucket's count.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    /// The aggregations on the way, by their places among those beside them.
    places: Vec<usize>,
    number: PathNumber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathNumber {
    /// How many documents the bucket has.
    Documents,
    /// What a metric of this kind came to; of `stats`, one of its numbers.
    Of(MetricKind),
}

#[derive(Debug)]
enum KeyFilter {
    Exact(Vec<String>),
    Regex(Box<eqlipse_engine::text::Regex>),
}

impl KeyFilter {
    fn holds(&self, key: &str) -> bool {
        match self {
            Self::Exact(keys) => keys.iter().any(|exact| exact == key),
            Self::Regex(regex) => regex.matches(key),
        }
    }
}

#[derive(Debug)]
struct DateHistogram {
    field: Field,
    interval: Interval,
    zone: Zone,
    /// Milliseconds by which buckets begin later.
    offset: i64,
    min_doc_count: u64,
    missing: Option<i64>,
    format: Option<DateFormat>,
    /// Where the first and the last bucket begin at least, without the offset.
    extended: (Option<i64>, Option<i64>),
    /// Buckets begin at or behind the first, and before the second.
    hard: (Option<i64>, Option<i64>),
    keyed: bool,
    order: Vec<(OrderBy, bool)>,
}

#[derive(Debug)]
struct Histogram {
    field: Field,
    interval: f64,
    offset: f64,
    min_doc_count: u64,
    missing: Option<f64>,
    keyed: bool,
    order: Vec<(OrderBy, bool)>,
}

#[derive(Debug)]
struct Filters {
    filters: Vec<(String, Query)>,
    keyed: bool,
    /// The name of the bucket for what passes none.
    other: Option<String>,
}

#[derive(Debug)]
struct Metric {
    kind: MetricKind,
    field: Field,
    missing: Option<Value>,
    /// `cardinality`: how many distinct values are counted exactly.
    precision: usize,
    format: Option<DateFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Min,
    Max,
    Avg,
    Sum,
    Stats,
    ValueCount,
    Cardinality,
}

impl MetricKind {
    /// A number of `stats`, by its name there.
    fn of_stats(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::ValueCount,
            "min" => Self::Min,
            "max" => Self::Max,
            "avg" => Self::Avg,
            "sum" => Self::Sum,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Sum => "sum",
            Self::Stats => "stats",
            Self::ValueCount => "value_count",
            Self::Cardinality => "cardinality",
        }
    }
}

impl Aggregations {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes documents in.
    pub fn collector(&self) -> Collector {
        Collector::new(self)
    }
}
