//! From buckets to the answer.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::collect::{Bucket, BucketKey, Collector, State, number_of_bits, ordered_bits};
use super::metric::Numbers;
use super::{
    Aggregation, Aggregations, DateHistogram, Filters, Histogram, Kind, MAX_BUCKETS, Metric, MetricKind, OrderBy, Path,
    PathNumber, Terms,
};
use crate::dsl::date::{DateFormat, Zone, formatted};
use crate::dsl::error::{DslError, DslErrorKind};
use crate::dsl::field::Kind as FieldKind;

impl Aggregations {
    /// The answer's `aggregations`; with `typed_keys`, by names that have their types before them: `sterms#hosts`.
    ///
    /// # Errors
    /// If it has more than [`MAX_BUCKETS`] buckets.
    pub fn render(&self, collector: Collector, typed_keys: bool) -> Result<Map<String, Value>, DslError> {
        Renderer { buckets: 0, typed_keys }.all(self, collector)
    }
}

struct Renderer {
    buckets: usize,
    /// Names have their types before them, by which clients know how to read what follows.
    typed_keys: bool,
}

type Entries = Vec<(BucketKey, Bucket)>;

impl Renderer {
    fn all(&mut self, of: &Aggregations, collector: Collector) -> Result<Map<String, Value>, DslError> {
        let each = of.0.iter().zip(collector.0);
        let named = |((name, aggregation), state): (&(String, Aggregation), State)| {
            let name = match self.typed_keys {
                true => format!("{}#{name}", type_name(aggregation, &state)),
                false => name.clone(),
            };
            Ok((name, self.one(aggregation, state)?))
        };
        each.map(named).collect()
    }

    fn one(&mut self, of: &Aggregation, state: State) -> Result<Value, DslError> {
        let mut answer = match (&of.kind, state) {
            (Kind::Metric(metric), state) => metric.render(&state),
            (Kind::Filter(_) | Kind::Missing(_), State::Fixed(buckets)) => match buckets.into_iter().next() {
                Some(bucket) => self.bucket(of, bucket, Map::new())?,
                None => json!({ "doc_count": 0 }),
            },
            (Kind::Filters(filters), State::Fixed(buckets)) => self.filters(of, filters, buckets)?,
            (Kind::Terms(terms), State::Keyed(buckets)) => self.terms(of, terms, buckets.into_iter().collect())?,
            (Kind::DateHistogram(histogram), State::Keyed(buckets)) => {
                self.date_histogram(of, histogram, buckets.into_iter().collect())?
            }
            (Kind::Histogram(histogram), State::Keyed(buckets)) => {
                self.histogram(of, histogram, buckets.into_iter().collect())?
            }
            _ => Value::Null,
        };
        if let (Some(meta), Value::Object(answer)) = (&of.meta, &mut answer) {
            answer.insert("meta".to_owned(), meta.clone());
        }
        Ok(answer)
    }

    /// A bucket behind its key.
    fn bucket(&mut self, of: &Aggregation, bucket: Bucket, mut head: Map<String, Value>) -> Result<Value, DslError> {
        self.buckets += 1;
        if self.buckets > MAX_BUCKETS {
            return Err(too_many(self.buckets));
        }
        head.insert("doc_count".to_owned(), bucket.documents.into());
        head.extend(self.all(&of.below, bucket.below)?);
        Ok(Value::Object(head))
    }

    fn filters(&mut self, of: &Aggregation, filters: &Filters, buckets: Vec<Bucket>) -> Result<Value, DslError> {
        let names = filters.filters.iter().map(|(name, _)| name).chain(&filters.other);
        let mut answers = Vec::new();
        for (name, bucket) in names.zip(buckets) {
            answers.push((name.clone(), self.bucket(of, bucket, Map::new())?));
        }
        Ok(match filters.keyed {
            true => json!({ "buckets": Map::from_iter(answers) }),
            false => json!({ "buckets": answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>() }),
        })
    }

    fn terms(&mut self, of: &Aggregation, terms: &Terms, mut entries: Entries) -> Result<Value, DslError> {
        entries.retain(|(_, bucket)| bucket.documents >= terms.min_doc_count);
        sort(&terms.order, &mut entries);
        let others: u64 = entries.iter().skip(terms.size).map(|(_, bucket)| bucket.documents).sum();
        entries.truncate(terms.size);
        let mut buckets = Vec::new();
        for (key, bucket) in entries {
            let mut bucket = self.bucket(of, bucket, key_of(&key, terms.format.as_ref(), &Zone::default()))?;
            if terms.show_error {
                bucket["doc_count_error_upper_bound"] = 0.into();
            }
            buckets.push(bucket);
        }
        Ok(json!({ "doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": buckets }))
    }

    /// Puts in the empty buckets between the first and the last.
    fn fill(
        &self,
        of: &Aggregation,
        entries: &mut Entries,
        ends: Option<(BucketKey, BucketKey)>,
        next: impl Fn(&BucketKey) -> Option<BucketKey>,
    ) -> Result<(), DslError> {
        let Some((mut key, last)) = ends else { return Ok(()) };
        let mut filled = Vec::new();
        let mut have = std::mem::take(entries).into_iter().peekable();
        loop {
            // What is there stands where it stands, also beside the grid that a change of clocks bends.
            while let Some(entry) = have.next_if(|(have, _)| *have <= key) {
                filled.push(entry);
            }
            if filled.last().is_none_or(|(last, _)| *last != key) {
                filled.push((key.clone(), Bucket { documents: 0, below: of.below.collector() }));
            }
            if self.buckets + filled.len() > MAX_BUCKETS {
                return Err(too_many(self.buckets + filled.len()));
            }
            match next(&key) {
                Some(next) if next > key && next <= last => key = next,
                _ => break,
            }
        }
        filled.extend(have);
        *entries = filled;
        Ok(())
    }

    fn date_histogram(
        &mut self,
        of: &Aggregation,
        histogram: &DateHistogram,
        mut entries: Entries,
    ) -> Result<Value, DslError> {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if histogram.min_doc_count == 0 {
            let bound = |key: Option<i64>| key.and_then(|key| key.checked_add(histogram.offset)).map(BucketKey::Date);
            let (low, high) = (bound(histogram.extended.0), bound(histogram.extended.1));
            let ends = ends(&entries, low, high);
            self.fill(of, &mut entries, ends, |key| match key {
                BucketKey::Date(time) => {
                    let next = histogram.interval.next(time.checked_sub(histogram.offset)?, &histogram.zone)?;
                    next.checked_add(histogram.offset).map(BucketKey::Date)
                }
                _ => None,
            })?;
        }
        entries.retain(|(_, bucket)| bucket.documents >= histogram.min_doc_count);
        sort(&histogram.order, &mut entries);
        let mut buckets = Vec::new();
        for (key, bucket) in entries {
            let head = key_of(&key, histogram.format.as_ref(), &histogram.zone);
            let name = head.get("key_as_string").and_then(Value::as_str).unwrap_or_default().to_owned();
            buckets.push((name, self.bucket(of, bucket, head)?));
        }
        Ok(keyed(buckets, histogram.keyed))
    }

    fn histogram(&mut self, of: &Aggregation, histogram: &Histogram, mut entries: Entries) -> Result<Value, DslError> {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if histogram.min_doc_count == 0 {
            let ends = ends(&entries, None, None);
            self.fill(of, &mut entries, ends, |key| match key {
                BucketKey::Real(bits) => {
                    // By whole steps, since sums of fractions drift.
                    let step = ((number_of_bits(*bits) - histogram.offset) / histogram.interval).round() + 1.0;
                    Some(BucketKey::Real(ordered_bits(step * histogram.interval + histogram.offset + 0.0)))
                }
                _ => None,
            })?;
        }
        entries.retain(|(_, bucket)| bucket.documents >= histogram.min_doc_count);
        sort(&histogram.order, &mut entries);
        let mut buckets = Vec::new();
        for (key, bucket) in entries {
            let BucketKey::Real(bits) = key else { continue };
            let number = number_of_bits(bits);
            let head = Map::from_iter([("key".to_owned(), number.into())]);
            buckets.push((format!("{number:?}"), self.bucket(of, bucket, head)?));
        }
        Ok(keyed(buckets, histogram.keyed))
    }
}

/// The type of an aggregation as `typed_keys` says it. That of `terms` depends on its keys.
fn type_name(of: &Aggregation, state: &State) -> &'static str {
    match &of.kind {
        Kind::Terms(terms) => terms_name(terms, state),
        Kind::DateHistogram(_) => "date_histogram",
        Kind::Histogram(_) => "histogram",
        Kind::Filter(_) => "filter",
        Kind::Filters(_) => "filters",
        Kind::Missing(_) => "missing",
        Kind::Metric(metric) => metric.kind.name(),
    }
}

fn terms_name(terms: &Terms, state: &State) -> &'static str {
    let mut is_real = false;
    if let State::Keyed(buckets) = state {
        for key in buckets.keys() {
            match key {
                BucketKey::Text(_) | BucketKey::Address(..) => return "sterms",
                BucketKey::Real(_) => is_real = true,
                BucketKey::Truth(_) | BucketKey::Whole(_) | BucketKey::Date(_) => {}
            }
        }
        if !buckets.is_empty() {
            return if is_real { "dterms" } else { "lterms" };
        }
    }
    match terms.field.kind() {
        FieldKind::Number | FieldKind::Boolean | FieldKind::Date => "lterms",
        FieldKind::Dynamic => "umterms",
        _ => "sterms",
    }
}

/// The first and the last bucket, with bounds that reach further.
fn ends(entries: &Entries, low: Option<BucketKey>, high: Option<BucketKey>) -> Option<(BucketKey, BucketKey)> {
    let first = entries.first().map(|(key, _)| key.clone()).into_iter().chain(low.clone()).min();
    let last = entries.last().map(|(key, _)| key.clone()).into_iter().chain(high.clone()).max();
    match (first, last) {
        (Some(first), Some(last)) => Some((first, last)),
        (Some(only), None) | (None, Some(only)) => Some((only.clone(), only)),
        (None, None) => None,
    }
}

fn keyed(buckets: Vec<(String, Value)>, keyed: bool) -> Value {
    match keyed {
        true => json!({ "buckets": Map::from_iter(buckets) }),
        false => json!({ "buckets": buckets.into_iter().map(|(_, bucket)| bucket).collect::<Vec<_>>() }),
    }
}

fn too_many(found: usize) -> DslError {
    let reason = format!(
        "Trying to create too many buckets. Must be less than or equal to: [{MAX_BUCKETS}] but was [{found}]. This limit can be set by changing the [search.max_buckets] cluster level setting."
    );
    DslError { kind: DslErrorKind::TooManyBuckets, reason }
}

fn key_of(key: &BucketKey, format: Option<&DateFormat>, zone: &Zone) -> Map<String, Value> {
    let mut head = Map::new();
    let mut put = |name: &str, value: Value| _ = head.insert(name.to_owned(), value);
    match key {
        BucketKey::Date(millis) => {
            put("key_as_string", formatted(*millis, format, zone).into());
            put("key", (*millis).into());
        }
        BucketKey::Truth(is) => {
            put("key", u8::from(*is).into());
            put("key_as_string", is.to_string().into());
        }
        BucketKey::Whole(number) => put("key", whole(*number)),
        BucketKey::Real(bits) => put("key", number_of_bits(*bits).into()),
        BucketKey::Address(_, text) | BucketKey::Text(text) => put("key", text.clone().into()),
    }
    head
}

fn whole(number: i128) -> Value {
    i64::try_from(number)
        .map(Value::from)
        .or_else(|_| u64::try_from(number).map(Value::from))
        .unwrap_or_else(|_| (number as f64).into())
}

/// Sorts buckets; those that are equal otherwise stand by their keys.
fn sort(order: &[(OrderBy, bool)], entries: &mut Entries) {
    let compare = |a: &(BucketKey, Bucket), b: &(BucketKey, Bucket)| {
        for (by, descending) in order {
            let found = match by {
                OrderBy::Count => a.1.documents.cmp(&b.1.documents),
                OrderBy::Key => a.0.cmp(&b.0),
                OrderBy::Below(path) => {
                    let value = |bucket: &Bucket| number_below(bucket, path);
                    match (value(&a.1), value(&b.1)) {
                        (Some(a), Some(b)) => a.total_cmp(&b),
                        // Buckets without a number stand last, whatever the direction.
                        (None, Some(_)) => return Ordering::Greater,
                        (Some(_), None) => return Ordering::Less,
                        (None, None) => Ordering::Equal,
                    }
                }
            };
            let found = if *descending { found.reverse() } else { found };
            if found.is_ne() {
                return found;
            }
        }
        a.0.cmp(&b.0)
    };
    entries.sort_by(compare);
}

/// The number at a path below a bucket.
fn number_below(bucket: &Bucket, path: &Path) -> Option<f64> {
    let (last, way) = path.places.split_last()?;
    let mut bucket = bucket;
    for place in way {
        bucket = only_bucket(bucket.below.0.get(*place)?)?;
    }
    match (path.number, bucket.below.0.get(*last)?) {
        (PathNumber::Documents, state) => Some(only_bucket(state)?.documents as f64),
        (PathNumber::Of(_), State::Distinct(distinct)) => Some(distinct.count() as f64),
        (PathNumber::Of(kind), State::Numbers(numbers)) => number(kind, numbers),
        _ => None,
    }
}

fn only_bucket(state: &State) -> Option<&Bucket> {
    match state {
        State::Fixed(buckets) => buckets.first(),
        _ => None,
    }
}

fn number(kind: MetricKind, numbers: &Numbers) -> Option<f64> {
    match kind {
        MetricKind::ValueCount => Some(numbers.count as f64),
        MetricKind::Sum => Some(numbers.sum.value()),
        MetricKind::Min => numbers.min,
        MetricKind::Max => numbers.max,
        MetricKind::Avg => numbers.average(),
        MetricKind::Stats | MetricKind::Cardinality => None,
    }
}

impl Metric {
    fn render(&self, state: &State) -> Value {
        match state {
            State::Distinct(distinct) => json!({ "value": distinct.count() }),
            State::Numbers(numbers) => self.numbers(numbers),
            _ => Value::Null,
        }
    }

    fn numbers(&self, numbers: &Numbers) -> Value {
        match self.kind {
            MetricKind::ValueCount => return json!({ "value": numbers.count }),
            MetricKind::Stats => return self.stats(numbers),
            _ => {}
        }
        let value = number(self.kind, numbers);
        let mut answer = Map::from_iter([("value".to_owned(), value.into())]);
        if let Some(text) = self.text(value).filter(|_| self.kind != MetricKind::Sum) {
            answer.insert("value_as_string".to_owned(), text.into());
        }
        Value::Object(answer)
    }

    fn stats(&self, numbers: &Numbers) -> Value {
        let mut answer = Map::from_iter([("count".to_owned(), numbers.count.into())]);
        let parts = [MetricKind::Min, MetricKind::Max, MetricKind::Avg, MetricKind::Sum];
        for part in parts {
            answer.insert(part.name().to_owned(), number(part, numbers).into());
        }
        for part in parts.into_iter().filter(|_| numbers.count > 0) {
            if let Some(text) = self.text(number(part, numbers)) {
                answer.insert(format!("{}_as_string", part.name()), text.into());
            }
        }
        Value::Object(answer)
    }

    /// A number as a date, where it is one.
    fn text(&self, number: Option<f64>) -> Option<String> {
        let is_date = self.field.kind() == FieldKind::Date || self.format.is_some();
        let number = number.filter(|_| is_date)?;
        Some(formatted(number as i64, self.format.as_ref(), &Zone::default()))
    }
}
