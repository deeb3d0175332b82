//! What a query asks of single values: equal to one of several, or between bounds.

use std::collections::HashSet;
use std::net::IpAddr;

use eqlipse_batch::{RawValue, parse_address};
use eqlipse_rules::Rounding;
use serde_json::Value;

use super::date::{Clock, DateFormat};
use super::field::{Kind, Number, address, address_bits, millis, text_of, truth};
use super::words::words;
use super::{DslError, Field};

/// Whether a value is one of several.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOf {
    /// The same text.
    Texts(HashSet<String>),
    /// The same text in lower case.
    Caseless(HashSet<String>),
    /// Text that has one of these words.
    Words(HashSet<String>),
    /// The same number.
    Numbers(Vec<Number>),
    /// The same truth value.
    Truth {
        /// `true` passes.
        yes: bool,
        /// `false` passes.
        no: bool,
    },
    /// Within one of these spans of milliseconds, both ends included.
    Dates(Vec<(i64, i64)>),
    /// Within one of these blocks of addresses, both ends included.
    Addresses(Vec<(u128, u128)>),
    /// Numbers as numbers, everything else as text.
    Dynamic {
        /// For text.
        texts: HashSet<String>,
        /// For numbers.
        numbers: Vec<Number>,
    },
}

/// The scalar of a query as text.
pub(super) fn scalar(value: &Value, query: &str) -> Result<String, DslError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(is) => Ok(is.to_string()),
        Value::Null => Err(DslError::argument("value cannot be null")),
        Value::Array(_) => Err(DslError::parsing(format!("[{query}] query does not support arrays; use [terms]"))),
        Value::Object(_) => Err(DslError::parsing(format!("[{query}] query does not support objects as values"))),
    }
}

fn number(field: &Field, text: &str) -> Result<Number, DslError> {
    let bad = || {
        DslError::shard(format!(
            "failed to create query for field [{}]: For input string: \"{}\"",
            field.name(),
            shown(text)
        ))
    };
    Number::parse(text).ok_or_else(bad)
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// `10.0.0.0/8` or one address, as the first and last of its block.
fn block(text: &str) -> Option<(u128, u128)> {
    let (base, length) = match text.split_once('/') {
        Some((base, length)) => (base, Some(length.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let base: IpAddr = base.trim().parse().ok()?;
    let bits = address_bits(base);
    let offset = if base.is_ipv4() { 96 } else { 0 };
    let length = offset + length.unwrap_or(128 - offset);
    let host = match length {
        0 => u128::MAX,
        1..=128 => u128::MAX.checked_shr(length).unwrap_or(0),
        _ => return None,
    };
    Some((bits & !host, bits | host))
}

impl OneOf {
    /// One of these values, by the type of the field. With `ignore_case`, texts match in any case.
    ///
    /// # Errors
    /// If a value does not fit the type.
    pub fn new(field: &Field, values: &[&Value], ignore_case: bool, clock: &Clock) -> Result<Self, DslError> {
        let texts = values.iter().map(|value| scalar(value, "term")).collect::<Result<Vec<_>, _>>()?;
        let lower = |texts: Vec<String>| texts.iter().map(|text| text.to_lowercase()).collect();
        Ok(match field.kind() {
            Kind::Caseless => Self::Caseless(lower(texts)),
            Kind::Keyword | Kind::Version | Kind::Dynamic if ignore_case => Self::Caseless(lower(texts)),
            Kind::Keyword | Kind::Version => Self::Texts(texts.into_iter().collect()),
            Kind::Text if ignore_case => Self::Words(lower(texts)),
            Kind::Text => Self::Words(texts.into_iter().collect()),
            Kind::Number => {
                let mut numbers = texts.iter().map(|text| number(field, text)).collect::<Result<Vec<_>, _>>()?;
                numbers.sort();
                Self::Numbers(numbers)
            }
            Kind::Boolean => {
                let bad = |text: &str| {
                    DslError::shard(format!("Can't parse boolean value [{}], expected [true] or [false]", shown(text)))
                };
                let truths = texts.iter().map(|text| truth(RawValue::Str(text)).ok_or_else(|| bad(text)));
                let truths = truths.collect::<Result<Vec<_>, _>>()?;
                Self::Truth { yes: truths.contains(&true), no: truths.contains(&false) }
            }
            Kind::Date => {
                let format = DateFormat::default();
                let span = |value: &&Value| {
                    Ok((format.moment(value, clock, Rounding::Down)?, format.moment(value, clock, Rounding::Up)?))
                };
                Self::Dates(values.iter().map(span).collect::<Result<_, DslError>>()?)
            }
            Kind::Ip => {
                let bad = |text: &str| DslError::shard(format!("'{}' is not an IP string literal.", shown(text)));
                Self::Addresses(
                    texts.iter().map(|text| block(text).ok_or_else(|| bad(text))).collect::<Result<_, _>>()?,
                )
            }
            Kind::Dynamic => {
                let mut numbers: Vec<Number> = texts.iter().filter_map(|text| Number::parse(text)).collect();
                numbers.sort();
                Self::Dynamic { texts: texts.into_iter().collect(), numbers }
            }
        })
    }

    /// Says whether a value is one of them.
    pub fn holds(&self, value: RawValue<'_>) -> bool {
        let has = |numbers: &[Number]| Number::of(value).is_some_and(|number| numbers.binary_search(&number).is_ok());
        match self {
            Self::Texts(texts) => text_of(value, |text| texts.contains(text)),
            Self::Caseless(texts) => text_of(value, |text| texts.contains(text.to_lowercase().as_str())),
            Self::Words(wanted) => text_of(value, |text| words(text).iter().any(|word| wanted.contains(word))),
            Self::Numbers(numbers) => has(numbers),
            Self::Truth { yes, no } => truth(value).is_some_and(|is| if is { *yes } else { *no }),
            Self::Dates(spans) => {
                millis(value).is_some_and(|time| spans.iter().any(|(first, last)| (*first..=*last).contains(&time)))
            }
            Self::Addresses(blocks) => address(value).is_some_and(|address| {
                let bits = address_bits(address);
                blocks.iter().any(|(first, last)| (*first..=*last).contains(&bits))
            }),
            Self::Dynamic { texts, numbers } => match value {
                RawValue::Str(text) => texts.contains(text),
                RawValue::Bool(_) => text_of(value, |text| texts.contains(text)),
                RawValue::Int(_) | RawValue::UInt(_) | RawValue::Double(_) => has(numbers),
            },
        }
    }
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound<T> {
    /// The value.
    pub value: T,
    /// Whether the value itself is in the range.
    pub included: bool,
}

/// Both ends; an absent one is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends<T> {
    /// The lower end.
    pub low: Option<Bound<T>>,
    /// The upper end.
    pub high: Option<Bound<T>>,
}

impl<T: Ord + ?Sized> Ends<Box<T>> {
    fn has_ref(&self, value: &T) -> bool {
        let above = |bound: &Bound<Box<T>>| if bound.included { *value >= *bound.value } else { *value > *bound.value };
        let below = |bound: &Bound<Box<T>>| if bound.included { *value <= *bound.value } else { *value < *bound.value };
        self.low.as_ref().is_none_or(above) && self.high.as_ref().is_none_or(below)
    }
}

impl<T: Ord> Ends<T> {
    fn has(&self, value: &T) -> bool {
        let above = |bound: &Bound<T>| if bound.included { *value >= bound.value } else { *value > bound.value };
        let below = |bound: &Bound<T>| if bound.included { *value <= bound.value } else { *value < bound.value };
        self.low.as_ref().is_none_or(above) && self.high.as_ref().is_none_or(below)
    }
}

impl<T> Ends<T> {
    fn try_map<U>(&self, mut map: impl FnMut(&T, bool) -> Option<U>) -> Option<Ends<U>> {
        let mut end = |bound: &Option<Bound<T>>, is_low: bool| match bound {
            None => Some(None),
            Some(bound) => Some(Some(Bound { value: map(&bound.value, is_low)?, included: bound.included })),
        };
        Some(Ends { low: end(&self.low, true)?, high: end(&self.high, false)? })
    }
}

/// Whether a value lies between bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum Between {
    /// Text, by its bytes.
    Texts(Ends<Box<str>>),
    /// Versions, by their parts.
    Versions(Ends<Version>),
    /// Numbers.
    Numbers(Ends<Number>),
    /// Milliseconds since the Unix epoch, both ends included.
    Dates(Option<i64>, Option<i64>),
    /// Addresses.
    Addresses(Ends<u128>),
    /// By the value's own type: numbers, dates, else text.
    Dynamic {
        /// For numbers, if the bounds are such.
        numbers: Option<Ends<Number>>,
        /// For dates, if the bounds are such.
        dates: Option<(Option<i64>, Option<i64>)>,
        /// For other text.
        texts: Ends<Box<str>>,
    },
}

fn dates(ends: &Ends<Value>, format: &DateFormat, clock: &Clock) -> Result<(Option<i64>, Option<i64>), DslError> {
    // `gt` a day is behind its end, `lt` a day before its beginning.
    let low = ends.low.as_ref().map(|bound| match bound.included {
        true => format.moment(&bound.value, clock, Rounding::Down),
        false => format.moment(&bound.value, clock, Rounding::Up).map(|time| time.saturating_add(1)),
    });
    let high = ends.high.as_ref().map(|bound| match bound.included {
        true => format.moment(&bound.value, clock, Rounding::Up),
        false => format.moment(&bound.value, clock, Rounding::Down).map(|time| time.saturating_sub(1)),
    });
    Ok((low.transpose()?, high.transpose()?))
}

impl Between {
    /// The range by the type of its field.
    ///
    /// # Errors
    /// If a bound does not fit the type.
    pub fn new(
        field: &Field,
        ends: &Ends<Value>,
        format: Option<&DateFormat>,
        clock: &Clock,
    ) -> Result<Self, DslError> {
        for bound in [&ends.low, &ends.high].into_iter().flatten() {
            scalar(&bound.value, "range")?;
        }
        let text = |value: &Value| scalar(value, "range").unwrap_or_default();
        let texts =
            || ends.try_map(|value, _| Some(text(value).into_boxed_str())).unwrap_or(Ends { low: None, high: None });
        let numbers = || ends.try_map(|value, _| Number::parse(&text(value)));
        let default = DateFormat::default();
        let format = format.unwrap_or(&default);
        Ok(match field.kind() {
            Kind::Date => {
                let (low, high) = dates(ends, format, clock)?;
                Self::Dates(low, high)
            }
            Kind::Number | Kind::Boolean => {
                for bound in [&ends.low, &ends.high].into_iter().flatten() {
                    number(field, &text(&bound.value))?;
                }
                Self::Numbers(numbers().unwrap_or(Ends { low: None, high: None }))
            }
            Kind::Ip => {
                let bits = ends.try_map(|value, _| parse_address(&text(value)).map(address_bits));
                let bad =
                    || DslError::shard(format!("a bound of field [{}] is not an IP string literal.", field.name()));
                Self::Addresses(bits.ok_or_else(bad)?)
            }
            Kind::Version => Self::Versions(
                ends.try_map(|value, _| Some(Version::new(&text(value)))).unwrap_or(Ends { low: None, high: None }),
            ),
            Kind::Keyword | Kind::Caseless | Kind::Text => Self::Texts(texts()),
            Kind::Dynamic => {
                Self::Dynamic { numbers: numbers(), dates: dates(ends, format, clock).ok(), texts: texts() }
            }
        })
    }

    /// Says whether a value lies in the range.
    pub fn holds(&self, value: RawValue<'_>) -> bool {
        let within = |low: &Option<i64>, high: &Option<i64>| {
            let lies = |time: i64| low.is_none_or(|low| time >= low) && high.is_none_or(|high| time <= high);
            millis(value).is_some_and(lies)
        };
        match self {
            Self::Texts(ends) => text_of(value, |text| ends.has_ref(text)),
            Self::Versions(ends) => text_of(value, |text| ends.has(&Version::new(text))),
            Self::Numbers(ends) => Number::of(value).is_some_and(|number| ends.has(&number)),
            Self::Dates(low, high) => within(low, high),
            Self::Addresses(ends) => address(value).is_some_and(|address| ends.has(&address_bits(address))),
            Self::Dynamic { numbers, dates, texts } => match value {
                RawValue::Int(_) | RawValue::UInt(_) | RawValue::Double(_) => {
                    Number::of(value).zip(numbers.as_ref()).is_some_and(|(number, ends)| ends.has(&number))
                }
                RawValue::Str(text) => match dates {
                    Some((low, high)) if eqlipse_batch::parse_date(text).is_some() => within(low, high),
                    _ => texts.has_ref(text),
                },
                RawValue::Bool(_) => text_of(value, |text| texts.has_ref(text)),
            },
        }
    }
}

/// A version number, ordered as semantic versioning says; what is none stands behind all that are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    is_other: bool,
    numbers: Vec<u64>,
    /// A release stands behind its previews.
    is_release: bool,
    preview: Vec<Identifier>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl Version {
    /// Reads a version.
    pub fn new(text: &str) -> Self {
        let main = text.split('+').next().unwrap_or_default();
        let (numbers, preview) =
            main.split_once('-').map_or((main, None), |(numbers, preview)| (numbers, Some(preview)));
        let parsed = numbers.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
        let identifier =
            |part: &str| part.parse().map_or_else(|_| Identifier::Text(part.to_owned()), Identifier::Number);
        Self {
            is_other: parsed.is_none(),
            numbers: parsed.unwrap_or_default(),
            is_release: preview.is_none(),
            preview: preview.map(|preview| preview.split('.').map(identifier).collect()).unwrap_or_default(),
            text: text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn clock() -> Clock {
        Clock { now: 0, zone: Default::default() }
    }

    #[test]
    fn terms_take_the_type_of_their_field() {
        let holds = |field: &str, wanted: Value, value: Value| {
            let test = OneOf::new(&Field::new(field), &[&wanted], false, &clock()).unwrap();
            test.holds(super::super::field::raw(&value).unwrap())
        };
        assert!(holds("source.ip", json!("10.0.0.0/8"), json!("10.1.2.3")));
        assert!(!holds("source.ip", json!("10.0.0.0/8"), json!("11.1.2.3")));
        assert!(holds("source.ip", json!("::ffff:1.2.3.4"), json!("1.2.3.4")));
        assert!(holds("source.ip", json!("2001:db8::/32"), json!("2001:db8::1")));
        assert!(holds("source.ip", json!("0.0.0.0/0"), json!("1.2.3.4")));
        assert!(!holds("source.ip", json!("0.0.0.0/0"), json!("2001::1")));
        assert!(holds("process.pid", json!("4"), json!(4)) && holds("process.pid", json!(4.0), json!("4")));
        assert!(holds("event.code", json!(1), json!("1")) && holds("event.code", json!("1"), json!(1)));
        assert!(holds("@timestamp", json!("2026-01-02"), json!("2026-01-02T23:59:59.9999Z")));
        assert!(!holds("@timestamp", json!("2026-01-02"), json!("2026-01-03T00:00:00Z")));
        assert!(holds("custom.flag", json!(true), json!(true)) && holds("custom.n", json!(5), json!(5)));
        assert!(holds("message", json!("quick"), json!("The quick fox")));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |field: &str, wanted: Value| {
            OneOf::new(&Field::new(field), &[&wanted], false, &clock()).unwrap_err().reason
        };
        assert_eq!(error("source.ip", json!("nowhere")), "'nowhere' is not an IP string literal.");
        assert_eq!(
            error("process.pid", json!("x")),
            "failed to create query for field [process.pid]: For input string: \"x\""
        );
        assert_eq!(error("process.name", json!(null)), "value cannot be null");
        assert!(error("source.ip", json!("10.0.0.0/33")).contains("IP string literal"));
    }

    #[test]
    fn versions_have_their_order() {
        let sorted = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0", "1.2.0", "1.10.0", "other"];
        let mut mixed: Vec<Version> = sorted.iter().rev().map(|text| Version::new(text)).collect();
        mixed.sort();
        assert_eq!(mixed.iter().map(|version| version.text.as_str()).collect::<Vec<_>>(), sorted);
    }

    proptest! {
        #[test]
        fn blocks_hold_what_shares_their_bits(base: u32, length in 0u32..=32, other: u32) {
            let text = format!("{}/{length}", std::net::Ipv4Addr::from_bits(base));
            let (first, last) = block(&text).unwrap();
            let bits = address_bits(IpAddr::from(std::net::Ipv4Addr::from_bits(other)));
            let shares = length == 0 || (base ^ other) >> (32 - length) == 0;
            prop_assert_eq!((first..=last).contains(&bits), shares);
        }
    }
}
