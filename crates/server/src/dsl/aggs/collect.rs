//! Documents into buckets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};

use eqlipse_batch::RawValue;
use serde_json::Value;

use super::metric::{Distinct, Numbers, hash};
use super::{
    Aggregation, Aggregations, DateHistogram, Filters, Histogram, Kind, MAX_AGGREGATION_BYTES, Metric, MetricKind,
    Terms,
};
use crate::dsl::error::{DslError, DslErrorKind};
use crate::dsl::field::{
    Document, Field, Kind as FieldKind, Number, address, address_bits, millis, raw, text_of, truth,
};

/// What all collectors of a request take together.
#[derive(Debug, Default)]
pub struct Memory(AtomicUsize);

impl Memory {
    fn take(&self, bytes: usize) -> Result<(), DslError> {
        let used = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used <= MAX_AGGREGATION_BYTES {
            return Ok(());
        }
        let reason = format!(
            "[request] Data too large: the aggregations would take more than the limit of [{MAX_AGGREGATION_BYTES}] bytes"
        );
        Err(DslError { kind: DslErrorKind::CircuitBreaking, reason })
    }
}

/// What the documents of a bucket share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum BucketKey {
    Truth(bool),
    /// A whole number.
    Whole(i128),
    /// Bits of another number, turned so that their order is that of the numbers.
    Real(u64),
    /// Milliseconds.
    Date(i64),
    Address(u128, String),
    Text(String),
}

/// Bits of a number in an order that is that of the numbers.
pub(super) fn ordered_bits(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

pub(super) fn number_of_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

impl BucketKey {
    pub(super) fn number(number: Number) -> Self {
        match number {
            Number::Whole(number) => Self::Whole(number),
            Number::Real(number) => Self::Real(ordered_bits(number)),
        }
    }

    /// The key of a value, by the type of its field.
    pub(super) fn of(field: &Field, value: RawValue<'_>) -> Option<Self> {
        let text = || {
            let mut key = None;
            text_of(value, |text| {
                key = Some(Self::Text(text.to_owned()));
                true
            });
            key
        };
        match field.kind() {
            FieldKind::Number => Number::of(value).map(Self::number),
            FieldKind::Boolean => truth(value).map(Self::Truth),
            FieldKind::Date => millis(value).map(Self::Date),
            FieldKind::Ip => address(value).map(|address| Self::Address(address_bits(address), address.to_string())),
            FieldKind::Dynamic => match value {
                RawValue::Str(_) => text(),
                RawValue::Bool(is) => Some(Self::Truth(is)),
                value => Number::of(value).map(Self::number),
            },
            _ => text(),
        }
    }

    /// As text, for `include`, `exclude` and keyed buckets.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Truth(is) => is.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Real(bits) => number_of_bits(*bits).to_string(),
            Self::Date(millis) => millis.to_string(),
            Self::Address(_, text) | Self::Text(text) => text.clone(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) documents: u64,
    pub(super) below: Collector,
}

impl Bucket {
    fn new(below: &Aggregations) -> Self {
        Self { documents: 0, below: below.collector() }
    }

    fn add(&mut self, below: &Aggregations, document: &Document<'_>, memory: &Memory) -> Result<(), DslError> {
        self.documents += 1;
        self.below.add(below, document, memory)
    }

    fn merge(&mut self, below: &Aggregations, other: Self) {
        self.documents += other.documents;
        self.below.merge(below, other.below);
    }
}

#[derive(Clone, Debug)]
pub(super) enum State {
    /// Buckets by key.
    Keyed(HashMap<BucketKey, Bucket>),
    /// One bucket for each filter.
    Fixed(Vec<Bucket>),
    Numbers(Numbers),
    Distinct(Distinct),
}

/// What aggregations have of the documents so far.
#[derive(Clone, Debug)]
pub struct Collector(pub(super) Vec<State>);

impl Collector {
    pub(super) fn new(aggregations: &Aggregations) -> Self {
        Self(aggregations.0.iter().map(|(_, aggregation)| aggregation.state()).collect())
    }

    /// Takes a document in.
    ///
    /// # Errors
    /// If the aggregations of the request take too much memory.
    pub fn add(&mut self, of: &Aggregations, document: &Document<'_>, memory: &Memory) -> Result<(), DslError> {
        of.0.iter().zip(&mut self.0).try_for_each(|((_, aggregation), state)| aggregation.add(state, document, memory))
    }

    /// Takes in what another collector of the same aggregations has.
    pub fn merge(&mut self, of: &Aggregations, other: Self) {
        for (((_, aggregation), mine), theirs) in of.0.iter().zip(&mut self.0).zip(other.0) {
            aggregation.merge(mine, theirs);
        }
    }
}

impl Aggregation {
    fn state(&self) -> State {
        match &self.kind {
            Kind::Terms(_) | Kind::DateHistogram(_) | Kind::Histogram(_) => State::Keyed(HashMap::new()),
            Kind::Filter(_) | Kind::Missing(_) => State::Fixed(vec![Bucket::new(&self.below)]),
            Kind::Filters(filters) => {
                let count = filters.filters.len() + usize::from(filters.other.is_some());
                State::Fixed((0..count).map(|_| Bucket::new(&self.below)).collect())
            }
            Kind::Metric(metric) if metric.kind == MetricKind::Cardinality => State::Distinct(Distinct::default()),
            Kind::Metric(_) => State::Numbers(Numbers::default()),
        }
    }

    fn add(&self, state: &mut State, document: &Document<'_>, memory: &Memory) -> Result<(), DslError> {
        match (&self.kind, state) {
            (Kind::Metric(metric), state) => metric.add(state, document, memory),
            (Kind::Filter(query), State::Fixed(buckets)) if query.matches(document) => {
                self.add_to(buckets, 0, document, memory)
            }
            (Kind::Missing(field), State::Fixed(buckets)) if !field.exists(document) => {
                self.add_to(buckets, 0, document, memory)
            }
            (Kind::Filters(filters), State::Fixed(buckets)) => {
                filters.places(document).into_iter().try_for_each(|place| self.add_to(buckets, place, document, memory))
            }
            (kind, State::Keyed(buckets)) => {
                let mut keys = match kind {
                    Kind::Terms(terms) => terms.keys(document),
                    Kind::DateHistogram(histogram) => histogram.keys(document),
                    Kind::Histogram(histogram) => histogram.keys(document),
                    _ => Vec::new(),
                };
                // A document counts once in each bucket.
                keys.sort_unstable();
                keys.dedup();
                keys.into_iter().try_for_each(|key| self.add_keyed(buckets, key, document, memory))
            }
            _ => Ok(()),
        }
    }

    fn add_to(
        &self,
        buckets: &mut [Bucket],
        place: usize,
        document: &Document<'_>,
        memory: &Memory,
    ) -> Result<(), DslError> {
        buckets.get_mut(place).map_or(Ok(()), |bucket| bucket.add(&self.below, document, memory))
    }

    fn add_keyed(
        &self,
        buckets: &mut HashMap<BucketKey, Bucket>,
        key: BucketKey,
        document: &Document<'_>,
        memory: &Memory,
    ) -> Result<(), DslError> {
        let bucket = match buckets.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let text = match entry.key() {
                    BucketKey::Text(text) | BucketKey::Address(_, text) => text.len(),
                    _ => 0,
                };
                let below = self.below.0.len() * size_of::<State>();
                memory.take(text + size_of::<(BucketKey, Bucket)>() * 2 + below)?;
                entry.insert(Bucket::new(&self.below))
            }
        };
        bucket.add(&self.below, document, memory)
    }

    fn merge(&self, mine: &mut State, theirs: State) {
        match (mine, theirs) {
            (State::Keyed(mine), State::Keyed(theirs)) => {
                for (key, bucket) in theirs {
                    match mine.entry(key) {
                        Entry::Occupied(mut entry) => entry.get_mut().merge(&self.below, bucket),
                        Entry::Vacant(entry) => _ = entry.insert(bucket),
                    }
                }
            }
            (State::Fixed(mine), State::Fixed(theirs)) => {
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| mine.merge(&self.below, theirs));
            }
            (State::Numbers(mine), State::Numbers(theirs)) => mine.merge(theirs),
            (State::Distinct(mine), State::Distinct(theirs)) => {
                let precision = match &self.kind {
                    Kind::Metric(metric) => metric.precision,
                    _ => 0,
                };
                mine.merge(theirs, precision);
            }
            _ => {}
        }
    }
}

impl Filters {
    fn places(&self, document: &Document<'_>) -> Vec<usize> {
        let passed = self.filters.iter().enumerate().filter(|(_, (_, query))| query.matches(document));
        let mut places: Vec<usize> = passed.map(|(place, _)| place).collect();
        if places.is_empty() && self.other.is_some() {
            places.push(self.filters.len());
        }
        places
    }
}

impl Terms {
    fn keys(&self, document: &Document<'_>) -> Vec<BucketKey> {
        let mut keys = Vec::new();
        self.field.each(document, &mut |value| keys.extend(BucketKey::of(&self.field, value)));
        if keys.is_empty() {
            keys.extend(self.missing.clone());
        }
        if self.include.is_some() || self.exclude.is_some() {
            let wanted = |key: &BucketKey| {
                let text = key.text();
                self.include.as_ref().is_none_or(|filter| filter.holds(&text))
                    && !self.exclude.as_ref().is_some_and(|filter| filter.holds(&text))
            };
            keys.retain(wanted);
        }
        keys
    }
}

impl DateHistogram {
    fn keys(&self, document: &Document<'_>) -> Vec<BucketKey> {
        let mut times = Vec::new();
        self.field.each(document, &mut |value| times.extend(millis(value)));
        if times.is_empty() {
            times.extend(self.missing);
        }
        let (low, high) = self.hard;
        let within = |key: &i64| low.is_none_or(|low| *key >= low) && high.is_none_or(|high| *key < high);
        times.into_iter().filter_map(|time| self.floor(time)).filter(within).map(BucketKey::Date).collect()
    }

    fn floor(&self, time: i64) -> Option<i64> {
        self.interval.floor(time.checked_sub(self.offset)?, &self.zone)?.checked_add(self.offset)
    }
}

impl Histogram {
    fn keys(&self, document: &Document<'_>) -> Vec<BucketKey> {
        let mut numbers = Vec::new();
        self.field.each(document, &mut |value| numbers.extend(Number::of(value).map(Number::as_f64)));
        if numbers.is_empty() {
            numbers.extend(self.missing);
        }
        numbers.into_iter().map(|number| BucketKey::Real(ordered_bits(self.floor(number)))).collect()
    }

    pub(super) fn floor(&self, number: f64) -> f64 {
        // Minus nought is nought.
        ((number - self.offset) / self.interval).floor() * self.interval + self.offset + 0.0
    }
}

impl Metric {
    fn add(&self, state: &mut State, document: &Document<'_>, memory: &Memory) -> Result<(), DslError> {
        let mut bytes = 0;
        let seen = std::cell::Cell::new(false);
        let mut take = |value: RawValue<'_>| {
            seen.set(true);
            match &mut *state {
                State::Distinct(distinct) => bytes += self.distinct(distinct, value),
                State::Numbers(numbers) if self.kind == MetricKind::ValueCount => numbers.count += 1,
                State::Numbers(numbers) => {
                    if let Some(number) = self.number(value) {
                        numbers.add(number);
                    }
                }
                _ => {}
            }
        };
        self.field.each(document, &mut take);
        if !seen.get() {
            self.missing.as_ref().and_then(raw).into_iter().for_each(take);
        }
        if bytes > 0 { memory.take(bytes) } else { Ok(()) }
    }

    fn number(&self, value: RawValue<'_>) -> Option<f64> {
        match self.field.kind() {
            FieldKind::Date => millis(value).map(|millis| millis as f64),
            FieldKind::Boolean => truth(value).map(|is| f64::from(u8::from(is))),
            FieldKind::Dynamic => match value {
                RawValue::Bool(is) => Some(f64::from(u8::from(is))),
                RawValue::Str(text) => {
                    Number::parse(text).map(Number::as_f64).or_else(|| millis(value).map(|millis| millis as f64))
                }
                value => Number::of(value).map(Number::as_f64),
            },
            _ => Number::of(value).map(Number::as_f64),
        }
    }

    fn distinct(&self, distinct: &mut Distinct, value: RawValue<'_>) -> usize {
        let Some(key) = BucketKey::of(&self.field, value) else { return 0 };
        distinct.add(hash(key.text().as_bytes()), self.precision)
    }
}

/// The value of `missing` as a key.
pub(super) fn missing_key(field: &Field, value: &Value) -> Option<BucketKey> {
    let value = raw(value)?;
    BucketKey::of(field, value).or_else(|| BucketKey::of(&Field::new("_id"), value))
}
