//! The order of hits.

use std::cmp::Ordering;

use eqlipse_batch::RawValue;
use serde_json::{Map, Value};

use super::DslError;
use super::date::{Clock, DateFormat, Zone, formatted};
use super::field::{Document, Field, Kind, Number, address, address_bits, millis, text_of, truth};
use super::leaf::scalar;
use super::parse::flag;

/// What a document is ordered by: one value for each key of the sort; `None` where it has none.
pub type Key = Vec<Option<SortValue>>;

/// A value to order by.
#[derive(Clone, Debug, PartialEq)]
pub enum SortValue {
    /// A number, date (milliseconds) or truth value.
    Number(Number),
    /// Text.
    Text(String),
    /// An address, with its text.
    Address(u128, String),
}

impl SortValue {
    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Address(..) => 1,
            Self::Text(_) => 2,
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Address(a, _), Self::Address(b, _)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Number(Number::Whole(number)) => {
                i64::try_from(*number).map(Value::from).unwrap_or_else(|_| Value::from(*number as f64))
            }
            Self::Number(Number::Real(number)) => (*number).into(),
            Self::Text(text) | Self::Address(_, text) => text.clone().into(),
        }
    }
}

/// Where documents without a value stand.
#[derive(Clone, Debug, PartialEq)]
enum Missing {
    Last,
    First,
    As(SortValue),
}

#[derive(Clone, Debug, PartialEq)]
enum By {
    /// `_score`, which is the same for all.
    Score,
    /// `_doc`, `_seq_no`: a number that a document keeps, by which those stand first that came in first.
    Number,
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Min,
    Max,
    Sum,
    Avg,
}

#[derive(Debug)]
struct SortKey {
    by: By,
    descending: bool,
    missing: Missing,
    /// Which of several values counts.
    mode: Mode,
    format: Option<DateFormat>,
}

/// The order of hits, by several keys.
#[derive(Debug, Default)]
pub struct Sort(Vec<SortKey>);

impl Sort {
    /// Reads `sort`: names (`_score`, `_doc`, `"@timestamp"`, `"@timestamp:desc"`), `{"field": "desc"}` or
    /// `{"field": {"order", "missing", "mode", "format", "unmapped_type"}}`, one or a list.
    ///
    /// # Errors
    /// What is not known.
    pub fn parse(value: &Value) -> Result<Self, DslError> {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            value => std::slice::from_ref(value),
        };
        let mut keys = Vec::new();
        for value in values {
            match value {
                Value::String(text) => {
                    let (name, order) =
                        text.split_once(':').map_or((text.as_str(), None), |(name, order)| (name, Some(order)));
                    keys.push(key(name, &order.map_or(Value::Object(Map::new()), Value::from))?);
                }
                Value::Object(map) => {
                    for (name, value) in map {
                        keys.push(key(name, value)?);
                    }
                }
                _ => {
                    return Err(DslError::argument(
                        "malformed sort format, within the sort array, an object, or an actual string are allowed",
                    ));
                }
            }
        }
        if keys.len() > 32 {
            return Err(DslError::argument("[sort] has more than 32 keys"));
        }
        // By the score alone, it is as if nothing had been said.
        if let [only] = &keys[..]
            && only.by == By::Score
            && only.descending
        {
            keys.clear();
        }
        Ok(Self(keys))
    }

    /// Whether nothing is said about the order.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether any document is as good as any other.
    pub fn is_indifferent(&self) -> bool {
        self.0.iter().all(|key| key.by == By::Score)
    }

    /// Whether the numbers of documents count.
    pub fn is_by_number(&self) -> bool {
        self.0.iter().any(|key| key.by == By::Number)
    }

    /// Whether hits have scores: nothing is said of the order, or the score is part of it.
    pub fn has_scores(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|key| key.by == By::Score)
    }

    /// Whether the highest score is the first hit's.
    pub fn begins_with_scores(&self) -> bool {
        self.0.first().is_none_or(|key| key.by == By::Score)
    }

    /// Where a document stands. `number` is one that it keeps in every search.
    pub fn key(&self, document: &Document<'_>, number: i64) -> Key {
        let value = |key: &SortKey| match &key.by {
            By::Score => Some(SortValue::Number(Number::Whole(1))),
            By::Number => Some(SortValue::Number(Number::Whole(number.into()))),
            By::Field(field) => {
                let found = value_of(field, key.mode, document);
                found.or_else(|| match &key.missing {
                    Missing::As(value) => Some(value.clone()),
                    _ => None,
                })
            }
        };
        self.0.iter().map(value).collect()
    }

    /// Which of two documents stands first.
    pub fn compare(&self, a: &Key, b: &Key) -> Ordering {
        let each = self.0.iter().zip(a.iter().zip(b));
        each.map(|(key, (a, b))| key.compare(a.as_ref(), b.as_ref()))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// The values of a hit's `sort`.
    pub fn json(&self, key: &Key) -> Value {
        let value = |(sort, value): (&SortKey, &Option<SortValue>)| match (value, &sort.format) {
            (Some(SortValue::Number(Number::Whole(millis))), Some(format)) => i64::try_from(*millis)
                .map_or(Value::Null, |millis| formatted(millis, Some(format), &Zone::default()).into()),
            (Some(value), _) => value.json(),
            (None, _) => sort.missing_json(),
        };
        Value::Array(self.0.iter().zip(key).map(value).collect())
    }

    /// Reads `search_after`: the values of a hit's `sort`.
    ///
    /// # Errors
    /// If they do not fit the keys.
    pub fn after(&self, value: &Value) -> Result<Key, DslError> {
        let Value::Array(values) = value else {
            return Err(DslError::parsing("[search_after] must be an array"));
        };
        if self.0.is_empty() {
            return Err(DslError::argument("Sort must contain at least one field."));
        }
        if values.len() != self.0.len() {
            return Err(DslError::argument(format!(
                "search_after has {} value(s) but sort has {}.",
                values.len(),
                self.0.len()
            )));
        }
        self.0.iter().zip(values).map(|(key, value)| key.read(value)).collect()
    }
}

impl SortKey {
    fn compare(&self, a: Option<&SortValue>, b: Option<&SortValue>) -> Ordering {
        let absent = if self.missing == Missing::First { Ordering::Less } else { Ordering::Greater };
        match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => absent,
            (Some(_), None) => absent.reverse(),
            (Some(a), Some(b)) if self.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
        }
    }

    /// What Elasticsearch writes for a number or date that is not there: the largest or smallest of its kind.
    fn missing_json(&self) -> Value {
        let By::Field(field) = &self.by else { return Value::Null };
        match field.kind() {
            Kind::Date | Kind::Number => {
                let is_largest = (self.missing == Missing::First) == self.descending;
                if is_largest { i64::MAX.into() } else { i64::MIN.into() }
            }
            _ => Value::Null,
        }
    }

    fn read(&self, value: &Value) -> Result<Option<SortValue>, DslError> {
        if value.is_null() || *value == self.missing_json() {
            return Ok(None);
        }
        let By::Field(field) = &self.by else {
            return Ok(Some(SortValue::Number(number(value)?)));
        };
        sort_value(field, value, self.format.as_ref()).map(Some)
    }
}

fn number(value: &Value) -> Result<Number, DslError> {
    let bad = || DslError::argument(format!("Failed to parse search_after value [{value}] as a number"));
    super::field::raw(value).and_then(Number::of).ok_or_else(bad)
}

fn sort_value(field: &Field, value: &Value, format: Option<&DateFormat>) -> Result<SortValue, DslError> {
    Ok(match field.kind() {
        Kind::Date => {
            let (clock, default) = (Clock { now: 0, zone: Zone::default() }, DateFormat::default());
            let millis = format.unwrap_or(&default).stored(value, &clock, eqlipse_rules::Rounding::Down);
            SortValue::Number(Number::Whole(millis?.into()))
        }
        Kind::Number => SortValue::Number(number(value)?),
        Kind::Dynamic if value.is_number() => SortValue::Number(number(value)?),
        Kind::Boolean => SortValue::Number(Number::Whole(match value {
            Value::Bool(is) => i128::from(*is),
            value => number(value)?.as_f64() as i128,
        })),
        Kind::Ip => {
            let text = scalar(value, "sort")?;
            let address = eqlipse_batch::parse_address(&text);
            let bad = || DslError::argument(format!("'{text}' is not an IP string literal."));
            SortValue::Address(address_bits(address.ok_or_else(bad)?), text)
        }
        _ => SortValue::Text(scalar(value, "sort")?),
    })
}

fn of_scalar(field: &Field, value: RawValue<'_>) -> Option<SortValue> {
    let text = || {
        let mut found = None;
        text_of(value, |text| {
            found = Some(text.to_owned());
            true
        });
        found.map(SortValue::Text)
    };
    match field.kind() {
        Kind::Date => millis(value).map(|millis| SortValue::Number(Number::Whole(millis.into()))),
        Kind::Number => Number::of(value).map(SortValue::Number),
        Kind::Boolean => truth(value).map(|is| SortValue::Number(Number::Whole(is.into()))),
        Kind::Ip => address(value).map(|address| SortValue::Address(address_bits(address), address.to_string())),
        Kind::Dynamic => match value {
            RawValue::Str(_) => text(),
            RawValue::Bool(is) => Some(SortValue::Number(Number::Whole(is.into()))),
            value => Number::of(value).map(SortValue::Number),
        },
        _ => text(),
    }
}

fn value_of(field: &Field, mode: Mode, document: &Document<'_>) -> Option<SortValue> {
    let mut best: Option<SortValue> = None;
    let (mut sum, mut count) = (0.0, 0u32);
    field.each(document, &mut |value| {
        let Some(value) = of_scalar(field, value) else { return };
        if let SortValue::Number(number) = &value {
            sum += number.as_f64();
            count += 1;
        }
        let is_better = match (&best, mode) {
            (None, _) => true,
            (Some(best), Mode::Max) => value.cmp(best).is_gt(),
            (Some(best), _) => value.cmp(best).is_lt(),
        };
        if is_better {
            best = Some(value);
        }
    });
    match mode {
        Mode::Sum | Mode::Avg if count > 0 => {
            let total = if mode == Mode::Sum { sum } else { sum / f64::from(count) };
            Number::of(RawValue::Double(total)).map(SortValue::Number)
        }
        _ => best,
    }
}

fn key(name: &str, value: &Value) -> Result<SortKey, DslError> {
    let by = match name {
        "_score" => By::Score,
        "_doc" | "_shard_doc" | "_seq_no" => By::Number,
        "_script" | "_geo_distance" => return Err(DslError::argument(format!("[sort] by [{name}] is not supported"))),
        name => By::Field(Field::new(name)),
    };
    // Scores are ordered downwards where nothing is said.
    let mut descending = by == By::Score;
    let order = |value: &Value| match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        _ => Err(DslError::argument(format!("No enum constant org.elasticsearch.search.sort.SortOrder.{value}"))),
    };
    let (mut missing, mut mode, mut format) = (None, None, None);
    match value {
        Value::Object(map) => {
            for (option, value) in map {
                match option.as_str() {
                    "order" => descending = order(value)?,
                    "missing" => missing = Some(value),
                    "mode" => mode = Some(value),
                    "format" => format = Some(DateFormat::parse(&scalar(value, "sort")?)?),
                    "numeric_type" if value.as_str() == Some("date_nanos") => {
                        return Err(DslError::argument("[sort] by the [numeric_type] [date_nanos] is not supported"));
                    }
                    "unmapped_type" | "numeric_type" => {}
                    "ignore_unmapped" => _ = flag(value, option)?,
                    option => return Err(DslError::parsing(format!("[field_sort] unknown field [{option}]"))),
                }
            }
        }
        value => descending = order(value)?,
    }
    let default = if descending { Mode::Max } else { Mode::Min };
    let mode = match mode.and_then(Value::as_str) {
        None => default,
        Some("min") => Mode::Min,
        Some("max") => Mode::Max,
        Some("sum") => Mode::Sum,
        Some("avg") => Mode::Avg,
        Some(other) => return Err(DslError::argument(format!("Unknown SortMode [{other}]"))),
    };
    let missing = match (missing, &by) {
        (None, _) => Missing::Last,
        (Some(Value::String(text)), _) if text == "_last" => Missing::Last,
        (Some(Value::String(text)), _) if text == "_first" => Missing::First,
        (Some(value), By::Field(field)) => Missing::As(sort_value(field, value, format.as_ref())?),
        (Some(_), _) => Missing::Last,
    };
    Ok(SortKey { by, descending, missing, mode, format })
}
