//! From JSON to aggregations.

use eqlipse_engine::text::{Fold, Regex};
use eqlipse_rules::Rounding;
use serde_json::{Map, Value};

use super::collect::missing_key;
use super::interval::{Interval, fixed_millis};
use super::{
    Aggregation, Aggregations, DateHistogram, Filters, Histogram, KeyFilter, Kind, Metric, MetricKind, OrderBy, Path,
    PathNumber, Terms,
};
use crate::dsl::date::{Clock, DateFormat, Zone};
use crate::dsl::field::{Number, raw};
use crate::dsl::leaf::scalar;
use crate::dsl::parse::{count, did_you_mean, flag, kind_of};
use crate::dsl::{DslError, Field, MAX_CLAUSES, MAX_DEPTH, Query};

const NAMES: [&str; 13] = [
    "avg",
    "cardinality",
    "date_histogram",
    "filter",
    "filters",
    "histogram",
    "max",
    "min",
    "missing",
    "stats",
    "sum",
    "terms",
    "value_count",
];

/// How many distinct values `cardinality` counts exactly where nothing is said, and at most.
const PRECISION: usize = 3_000;
const MAX_PRECISION: usize = 40_000;

impl Aggregations {
    /// Reads `aggs`. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// What is not known or does not fit, in Elasticsearch's words.
    pub fn parse(value: &Value, now: i64) -> Result<Self, DslError> {
        let mut count = 0;
        parse(value, now, 0, &mut count)
    }
}

fn parse(value: &Value, now: i64, depth: usize, total: &mut usize) -> Result<Aggregations, DslError> {
    if depth > MAX_DEPTH {
        return Err(DslError::argument(format!("aggregations are nested deeper than {MAX_DEPTH}")));
    }
    let Some(map) = value.as_object() else {
        return Err(DslError::parsing(format!("Found [{}] instead of an object under [aggs]", kind_of(value))));
    };
    *total += map.len();
    if *total > MAX_CLAUSES {
        return Err(DslError::argument(format!("more than {MAX_CLAUSES} aggregations")));
    }
    let mut all = Vec::new();
    for (name, value) in map {
        if name.is_empty() || name.contains(['[', ']', '>']) {
            let reason =
                format!("Invalid aggregation name [{name}]. Aggregation names cannot contain '[', ']', or '>'");
            return Err(DslError::parsing(reason));
        }
        all.push((name.clone(), aggregation(name, value, now, depth, total)?));
    }
    Ok(Aggregations(all))
}

fn aggregation(name: &str, value: &Value, now: i64, depth: usize, total: &mut usize) -> Result<Aggregation, DslError> {
    let Some(map) = value.as_object() else {
        return Err(DslError::parsing(format!(
            "Aggregation definition for [{name}] starts with a [{}], expected a [START_OBJECT].",
            kind_of(value)
        )));
    };
    let (mut kind, mut below, mut meta) = (None, Aggregations::default(), None);
    for (key, value) in map {
        match key.as_str() {
            "aggs" | "aggregations" => below = parse(value, now, depth + 1, total)?,
            "meta" => meta = Some(value.clone()),
            other if kind.is_some() => {
                return Err(DslError::parsing(format!(
                    "Found two aggregation type definitions in [{name}]: [{other}] is the second"
                )));
            }
            other => kind = Some((other, kind_from(other, value, now, *total)?)),
        }
    }
    let Some((type_name, mut kind)) = kind else {
        return Err(DslError::parsing(format!("Missing definition for aggregation [{name}]")));
    };
    if matches!(kind, Kind::Metric(_)) && !below.is_empty() {
        return Err(DslError::parsing(format!(
            "Aggregator [{name}] of type [{type_name}] cannot accept sub-aggregations"
        )));
    }
    if let Kind::Terms(Terms { order, .. })
    | Kind::DateHistogram(DateHistogram { order, .. })
    | Kind::Histogram(Histogram { order, .. }) = &mut kind
        && let Some(asked) = asked_order(value.get(type_name).unwrap_or(&Value::Null), &below)?
    {
        *order = asked;
    }
    Ok(Aggregation { kind, below, meta })
}

/// What stands in an aggregation; every key must be taken.
struct Body<'v> {
    name: &'v str,
    map: &'v Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'v> Body<'v> {
    fn get(&mut self, key: &'static str) -> Option<&'v Value> {
        self.known.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn field(&mut self) -> Result<Field, DslError> {
        let name = self.get("field");
        if self.map.contains_key("script") {
            return Err(DslError::argument(format!("[{}] over a [script] is not supported", self.name)));
        }
        let required = || {
            DslError::argument(format!(
                "Required one of fields [field, script], but none were specified. [{}]",
                self.name
            ))
        };
        Ok(Field::new(&scalar(name.ok_or_else(required)?, self.name)?))
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, DslError> {
        self.get(key).map(|value| scalar(value, self.name)).transpose()
    }

    /// The order where nothing is said; what is said is read when the aggregations below are known.
    fn order(&mut self, default: (OrderBy, bool)) -> Vec<(OrderBy, bool)> {
        self.get("order");
        vec![default]
    }

    fn finish(self) -> Result<(), DslError> {
        let unknown = self.map.keys().find(|key| !self.known.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| Err(DslError::parsing(format!("[{}] unknown field [{key}]", self.name))))
    }
}

fn kind_from(name: &str, value: &Value, now: i64, total: usize) -> Result<Kind, DslError> {
    if name == "filter" {
        return Query::parse(value, now).map(Kind::Filter);
    }
    if !NAMES.contains(&name) {
        return Err(DslError::parsing(format!("Unknown aggregation type [{name}]{}", did_you_mean(name, &NAMES))));
    }
    let Some(map) = value.as_object() else {
        return Err(DslError::parsing(format!("[{name}] expects an object, found [{}]", kind_of(value))));
    };
    let mut body = Body { name, map, known: Vec::new() };
    let kind = match name {
        "terms" => Kind::Terms(terms(&mut body)?),
        "date_histogram" => Kind::DateHistogram(date_histogram(&mut body, now)?),
        "histogram" => Kind::Histogram(histogram(&mut body)?),
        "filters" => Kind::Filters(filters(&mut body, now, total)?),
        "missing" => Kind::Missing(body.field()?),
        "min" => Kind::Metric(metric(&mut body, MetricKind::Min)?),
        "max" => Kind::Metric(metric(&mut body, MetricKind::Max)?),
        "avg" => Kind::Metric(metric(&mut body, MetricKind::Avg)?),
        "sum" => Kind::Metric(metric(&mut body, MetricKind::Sum)?),
        "stats" => Kind::Metric(metric(&mut body, MetricKind::Stats)?),
        "value_count" => Kind::Metric(metric(&mut body, MetricKind::ValueCount)?),
        _ => Kind::Metric(metric(&mut body, MetricKind::Cardinality)?),
    };
    body.finish()?;
    Ok(kind)
}

fn metric(body: &mut Body<'_>, kind: MetricKind) -> Result<Metric, DslError> {
    let field = body.field()?;
    let format = body.text("format")?.map(|format| DateFormat::parse(&format)).transpose()?;
    let precision = match kind {
        MetricKind::Cardinality => {
            body.get("execution_hint");
            body.get("precision_threshold").map_or(Ok(PRECISION), |value| count(value, "precision_threshold"))?
        }
        _ => 0,
    };
    Ok(Metric { kind, field, missing: body.get("missing").cloned(), precision: precision.min(MAX_PRECISION), format })
}

/// What an aggregation's buckets are ordered by, if it says so; numbers are those of the aggregations below it.
fn asked_order(body: &Value, below: &Aggregations) -> Result<Option<Vec<(OrderBy, bool)>>, DslError> {
    let values = match body.get("order").filter(|order| !order.is_null()) {
        None => return Ok(None),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
    };
    let mut orders = Vec::new();
    for value in values {
        let Some(map) = value.as_object().filter(|map| map.len() == 1) else {
            return Err(DslError::parsing(format!("Must specify at least one field for [order], found [{value}]")));
        };
        for (by, direction) in map {
            let descending = match direction.as_str().map(str::to_ascii_lowercase).as_deref() {
                Some("asc") => false,
                Some("desc") => true,
                _ => return Err(DslError::parsing(format!("Unknown order direction [{direction}]"))),
            };
            let by = match by.as_str() {
                "_count" => OrderBy::Count,
                "_key" | "_term" | "_time" => OrderBy::Key,
                path => OrderBy::Below(order_path(path, below)?),
            };
            orders.push((by, descending));
        }
    }
    Ok(Some(orders))
}

/// `pids`, `pids.max`, `rock>pids.max`, `rock`, `rock._count`.
fn order_path(path: &str, below: &Aggregations) -> Result<Path, DslError> {
    let invalid = |reason: String| DslError::argument(format!("Invalid aggregation order path [{path}]. {reason}"));
    let (mut places, mut level) = (Vec::new(), below);
    let mut steps = path.split('>').peekable();
    while let Some(step) = steps.next() {
        let find = |name: &str| level.0.iter().position(|(known, _)| known == name);
        // A name may have dots itself.
        let (place, number) = match (find(step), step.rsplit_once('.')) {
            (Some(place), _) => (Some(place), None),
            (None, Some((name, number))) => (find(name), Some(number)),
            (None, None) => (None, None),
        };
        let missing = || {
            invalid(format!(
                "The provided aggregation [{step}] either does not exist, or is a pipeline aggregation and cannot be used to sort the buckets."
            ))
        };
        let place = place.ok_or_else(missing)?;
        places.push(place);
        let (name, of) = &level.0[place];
        let is_last = steps.peek().is_none();
        match &of.kind {
            Kind::Filter(_) | Kind::Missing(_) if !is_last && number.is_none() => level = &of.below,
            Kind::Filter(_) | Kind::Missing(_) if is_last && matches!(number, None | Some("doc_count" | "_count")) => {
                return Ok(Path { places, number: PathNumber::Documents });
            }
            Kind::Metric(metric) if is_last => {
                return Ok(Path {
                    places,
                    number: PathNumber::Of(metric_number(metric, name, number).map_err(invalid)?),
                });
            }
            _ => {
                let reason = "Buckets can only be sorted on a sub-aggregator path that is built out of zero or more single-bucket \
                              aggregations within the path and a final single-bucket or a metrics aggregation at the path end.";
                return Err(invalid(reason.to_owned()));
            }
        }
    }
    Err(invalid("It is empty.".to_owned()))
}

/// Which of its numbers is meant; why none is.
fn metric_number(metric: &Metric, name: &str, number: Option<&str>) -> Result<MetricKind, String> {
    match (metric.kind, number) {
        (MetricKind::Stats, None) => {
            Err("When ordering on a multi-value metrics aggregation a metric name must be specified.".to_owned())
        }
        (MetricKind::Stats, Some(number)) => MetricKind::of_stats(number)
            .ok_or_else(|| format!("Unknown metric name [{number}] on multi-value metrics aggregation [{name}]")),
        (kind, None | Some("value")) => Ok(kind),
        (_, Some(number)) => Err(format!(
            "Ordering on a single-value metrics aggregation can only be done on its value. Either drop the key [{number}] or use [value]"
        )),
    }
}

fn key_filter(body: &mut Body<'_>, key: &'static str) -> Result<Option<KeyFilter>, DslError> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::Array(values)) => {
            let keys = values.iter().map(|value| scalar(value, key)).collect::<Result<_, _>>()?;
            Ok(Some(KeyFilter::Exact(keys)))
        }
        Some(Value::String(pattern)) => {
            let bad = |error| DslError::argument(format!("failed to parse [{key}] of [terms]: {error}"));
            Ok(Some(KeyFilter::Regex(Box::new(Regex::new(pattern, Fold::None).map_err(bad)?))))
        }
        Some(_) => Err(DslError::argument(format!(
            "[{key}] of [terms] must be a list or a regular expression; partitions are not supported"
        ))),
    }
}

fn terms(body: &mut Body<'_>) -> Result<Terms, DslError> {
    let field = body.field()?;
    let size = body.get("size").map_or(Ok(10), |value| count(value, "size"))?;
    if size == 0 {
        return Err(DslError::argument("[size] must be greater than 0. Found [0] in [terms]"));
    }
    for ignored in ["shard_size", "shard_min_doc_count", "collect_mode", "execution_hint", "value_type"] {
        body.get(ignored);
    }
    let min_doc_count = body.get("min_doc_count").map_or(Ok(1), |value| count(value, "min_doc_count"))?;
    if min_doc_count == 0 {
        // Its buckets would be those of all documents, also of those that the query does not find.
        return Err(DslError::argument("[min_doc_count] of [terms] must be 1 or more; 0 is not supported"));
    }
    let missing = body.get("missing").and_then(|value| missing_key(&field, value));
    Ok(Terms {
        size,
        order: body.order((OrderBy::Count, true)),
        missing,
        min_doc_count: min_doc_count as u64,
        show_error: body
            .get("show_term_doc_count_error")
            .map_or(Ok(false), |value| flag(value, "show_term_doc_count_error"))?,
        include: key_filter(body, "include")?,
        exclude: key_filter(body, "exclude")?,
        format: body.text("format")?.map(|format| DateFormat::parse(&format)).transpose()?,
        field,
    })
}

/// `offset`: `+6h`, `-1d`.
fn offset(text: &str) -> Result<i64, DslError> {
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let millis: Option<i64> = plain.parse().ok().or_else(|| fixed_millis(plain));
    millis
        .and_then(|millis| millis.checked_mul(sign))
        .ok_or_else(|| DslError::argument(format!("failed to parse [offset] value [{text}]")))
}

fn date_histogram(body: &mut Body<'_>, now: i64) -> Result<DateHistogram, DslError> {
    let field = body.field()?;
    let (fixed, calendar, either) =
        (body.text("fixed_interval")?, body.text("calendar_interval")?, body.text("interval")?);
    let interval = match (fixed, calendar, either) {
        (Some(fixed), None, None) => Interval::fixed(&fixed)?,
        (None, Some(calendar), None) => Interval::calendar(&calendar)?,
        (None, None, Some(either)) => Interval::calendar(&either).or_else(|_| Interval::fixed(&either))?,
        (None, None, None) => {
            return Err(DslError::argument("Invalid interval specified, must be non-null and non-empty"));
        }
        _ => {
            return Err(DslError::argument(
                "Cannot use [fixed_interval] with [calendar_interval] configuration option.",
            ));
        }
    };
    let zone = body.text("time_zone")?.map(|zone| Zone::parse(&zone)).transpose()?.unwrap_or_default();
    let format = body.text("format")?.map(|format| DateFormat::parse(&format)).transpose()?;
    let clock = Clock { now, zone: zone.clone() };
    let reads = format.clone().unwrap_or_default();
    let read = |value: &Value| reads.stored(value, &clock, Rounding::Down);
    let mut bounds = |key: &'static str| -> Result<(Option<i64>, Option<i64>), DslError> {
        let Some(value) = body.get(key) else { return Ok((None, None)) };
        let end = |name: &str| value.get(name).filter(|value| !value.is_null()).map(read).transpose();
        let (min, max) = (end("min")?, end("max")?);
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            let reason =
                format!("[{key}.min][{min}] cannot be greater than [{key}.max][{max}] for histogram aggregation");
            return Err(DslError::argument(reason));
        }
        // They mean the buckets that they lie in, wherever an offset puts these.
        let floor = |time: Option<i64>| time.and_then(|time| interval.floor(time, &zone));
        Ok((floor(min), floor(max)))
    };
    let (extended, hard) = (bounds("extended_bounds")?, bounds("hard_bounds")?);
    let is_outside = extended.0.zip(hard.0).is_some_and(|(extended, hard)| extended < hard)
        || extended.1.zip(hard.1).is_some_and(|(extended, hard)| extended > hard);
    if is_outside {
        return Err(DslError::argument("Extended bounds have to be inside hard bounds"));
    }
    Ok(DateHistogram {
        field,
        interval,
        offset: body.text("offset")?.map_or(Ok(0), |text| offset(&text))?,
        min_doc_count: body.get("min_doc_count").map_or(Ok(0), |value| count(value, "min_doc_count"))? as u64,
        missing: body.get("missing").map(read).transpose()?,
        extended,
        hard,
        keyed: body.get("keyed").map_or(Ok(false), |value| flag(value, "keyed"))?,
        order: body.order((OrderBy::Key, false)),
        zone,
        format,
    })
}

fn real(body: &mut Body<'_>, key: &'static str) -> Result<Option<f64>, DslError> {
    let Some(value) = body.get(key) else { return Ok(None) };
    let number = raw(value).and_then(Number::of).map(Number::as_f64);
    number.map(Some).ok_or_else(|| DslError::parsing(format!("[{}] failed to parse field [{key}]", body.name)))
}

fn histogram(body: &mut Body<'_>) -> Result<Histogram, DslError> {
    let field = body.field()?;
    let interval = real(body, "interval")?.filter(|interval| *interval > 0.0 && interval.is_finite());
    let interval = interval.ok_or_else(|| DslError::argument("[interval] must be >0 for histogram aggregation"))?;
    Ok(Histogram {
        field,
        interval,
        offset: real(body, "offset")?.unwrap_or(0.0),
        min_doc_count: body.get("min_doc_count").map_or(Ok(0), |value| count(value, "min_doc_count"))? as u64,
        missing: real(body, "missing")?,
        keyed: body.get("keyed").map_or(Ok(false), |value| flag(value, "keyed"))?,
        order: body.order((OrderBy::Key, false)),
    })
}

fn filters(body: &mut Body<'_>, now: i64, _total: usize) -> Result<Filters, DslError> {
    let (filters, keyed) = match body.get("filters") {
        Some(Value::Object(map)) => {
            let named = map.iter().map(|(name, query)| Ok((name.clone(), Query::parse(query, now)?)));
            (named.collect::<Result<Vec<_>, DslError>>()?, true)
        }
        Some(Value::Array(values)) => {
            let plain = values.iter().map(|query| Ok((String::new(), Query::parse(query, now)?)));
            (plain.collect::<Result<Vec<_>, DslError>>()?, false)
        }
        _ => return Err(DslError::argument("[filters] cannot be empty.")),
    };
    let name = body.text("other_bucket_key")?;
    let other = body.get("other_bucket").map_or(Ok(false), |value| flag(value, "other_bucket"))?;
    let keyed = body.get("keyed").map_or(Ok(keyed), |value| flag(value, "keyed"))? && keyed;
    let other = (other || name.is_some()).then(|| name.unwrap_or_else(|| "_other_".to_owned()));
    Ok(Filters { filters, keyed, other })
}
