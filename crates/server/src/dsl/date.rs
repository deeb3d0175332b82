//! Dates in queries: formats, date math, time zones, rounding. Times are milliseconds since the Unix epoch, UTC.

use eqlipse_rules::{DateMath, Rounding};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use super::DslError;
use super::error::DslErrorKind;

/// What a text stands for: the first and the last millisecond of it (`2026-01` is a month).
type Span = (i64, i64);

/// One of the formats that a date may have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Millis,
    Seconds,
    /// ISO 8601, from a year to nanoseconds.
    Iso,
    /// Read as ISO 8601, written by a pattern.
    Part(Vec<Token>),
    /// A pattern of Java's letters.
    Pattern(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A letter and how often it stands.
    Letter(char, usize),
    Literal(char),
}

/// Formats of dates, of which the first that fits counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat(Vec<Format>);

impl Default for DateFormat {
    /// `strict_date_optional_time||epoch_millis`
    fn default() -> Self {
        Self(vec![Format::Iso, Format::Millis])
    }
}

/// A time zone: `UTC`, an offset, or a name that the system's time zone database has.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// Reads `Z`, `UTC`, `+01:00`, `-0330`, `Europe/Paris`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, DslError> {
        if matches!(text, "Z" | "UTC" | "GMT" | "Etc/UTC") {
            return Ok(Self::default());
        }
        let offset = offset_seconds(text).and_then(|seconds| Offset::from_seconds(seconds).ok());
        let named = || TimeZone::get(text).ok();
        let zone = offset.map(TimeZone::fixed).or_else(named);
        zone.map(Self).ok_or_else(|| DslError::argument(format!("Unknown time-zone ID: {text}")))
    }

    /// The wall clock there.
    pub fn civil(&self, millis: i64) -> Option<DateTime> {
        Some(self.0.to_datetime(Timestamp::from_millisecond(millis).ok()?))
    }

    /// The moment of a wall clock there; of two the earlier, and behind a gap where there is none.
    pub fn moment(&self, civil: DateTime) -> Option<i64> {
        self.0.to_timestamp(civil).ok().map(Timestamp::as_millisecond)
    }

    /// Whether every day there has 24 hours of one offset.
    pub fn is_fixed(&self) -> bool {
        self.0.to_fixed_offset().is_ok()
    }
}

fn offset_seconds(text: &str) -> Option<i32> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || text.len() > 6 {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

impl DateFormat {
    /// Reads formats joined by `||`, by their names in Elasticsearch or as patterns (`dd/MM/yyyy`).
    ///
    /// # Errors
    /// If one is not known.
    pub fn parse(text: &str) -> Result<Self, DslError> {
        text.split("||").map(format).collect::<Result<_, _>>().map(Self)
    }

    fn span(&self, text: &str, zone: &Zone) -> Option<Span> {
        self.0.iter().find_map(|format| match format {
            Format::Millis => whole_millis(text).map(|millis| (millis, millis)),
            Format::Seconds => {
                let seconds: i64 = text.parse().ok()?;
                let millis = seconds.checked_mul(1000)?;
                Some((millis, millis.checked_add(999)?))
            }
            Format::Iso | Format::Part(_) => iso(text, zone),
            Format::Pattern(tokens) => pattern(tokens, text, zone),
        })
    }

    /// A moment of a bound: a date in one of the formats, `now`, or date math on either. What the text leaves open
    /// (`2026-01` leaves day and time) and what date math rounds goes down or up. A number is read as if it were text:
    /// 20260101 is a day in the format `yyyyMMdd`.
    ///
    /// # Errors
    /// If it is no date.
    pub fn moment(&self, value: &Value, clock: &Clock, rounding: Rounding) -> Result<i64, DslError> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return Err(unreadable(&other.to_string())),
        };
        let text = text.trim();
        self.math(text, clock, rounding).ok_or_else(|| unreadable(text))
    }

    /// The same where numbers are milliseconds whatever the format says: as answers have them, and as values that stand
    /// in for missing ones.
    ///
    /// # Errors
    /// If it is no date.
    pub fn stored(&self, value: &Value, clock: &Clock, rounding: Rounding) -> Result<i64, DslError> {
        let number = value.as_i64().or_else(|| value.as_f64().map(|number| number as i64));
        number.map_or_else(|| self.moment(value, clock, rounding), Ok)
    }

    fn math(&self, text: &str, clock: &Clock, rounding: Rounding) -> Option<i64> {
        let ends = |span: Span| if rounding == Rounding::Down { span.0 } else { span.1 };
        let (anchor, steps) = match text.strip_prefix("now") {
            Some(steps) => (clock.now, steps),
            None => match text.rsplit_once("||") {
                Some((date, steps)) if !steps.is_empty() => (self.span(date, &clock.zone)?.0, steps),
                _ => return self.span(text.strip_suffix("||").unwrap_or(text), &clock.zone).map(ends),
            },
        };
        if steps.is_empty() {
            return Some(anchor);
        }
        // Steps count on the wall clock of the zone, as if that were UTC.
        let wall = Offset::UTC.to_timestamp(clock.zone.civil(anchor)?).ok()?;
        let wall = i64::try_from(wall.as_nanosecond()).ok()?;
        let moved = DateMath::parse(&format!("now{steps}")).ok()?.resolve(wall, rounding)?;
        let moved = Timestamp::from_millisecond(moved.div_euclid(1_000_000)).ok()?;
        clock.zone.moment(Offset::UTC.to_datetime(moved))
    }
}

/// Milliseconds, of which a fraction is dropped.
fn whole_millis(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    whole.parse().ok().filter(|_| is_fraction)
}

fn unreadable(text: &str) -> DslError {
    let text: String = text.chars().take(100).collect();
    let reason = format!("failed to parse date field [{text}] with format [strict_date_optional_time||epoch_millis]");
    DslError { kind: DslErrorKind::DateParse, reason }
}

/// What a request takes as now, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    /// Milliseconds since the Unix epoch.
    pub now: i64,
    /// The zone of dates that name none, and of rounding.
    pub zone: Zone,
}

fn format(name: &str) -> Result<Format, DslError> {
    let plain = name.strip_prefix("strict_").unwrap_or(name);
    Ok(match plain {
        "epoch_millis" => Format::Millis,
        "epoch_second" => Format::Seconds,
        "date_optional_time" | "date_optional_time_nanos" | "iso8601" | "date_time" => Format::Iso,
        "date" | "year_month_day" => Format::Part(tokens("yyyy-MM-dd")),
        "date_time_no_millis" => Format::Part(tokens("yyyy-MM-dd'T'HH:mm:ssXXX")),
        "date_hour_minute_second" => Format::Part(tokens("yyyy-MM-dd'T'HH:mm:ss")),
        "date_hour_minute_second_millis" | "date_hour_minute_second_fraction" => {
            Format::Part(tokens("yyyy-MM-dd'T'HH:mm:ss.SSS"))
        }
        "date_hour_minute" => Format::Part(tokens("yyyy-MM-dd'T'HH:mm")),
        "date_hour" => Format::Part(tokens("yyyy-MM-dd'T'HH")),
        "year" => Format::Part(tokens("yyyy")),
        "year_month" => Format::Part(tokens("yyyy-MM")),
        "basic_date" => Format::Pattern(tokens("yyyyMMdd")),
        "basic_date_time_no_millis" => Format::Pattern(tokens("yyyyMMdd'T'HHmmssXXX")),
        "basic_date_time" => Format::Pattern(tokens("yyyyMMdd'T'HHmmss.SSSXXX")),
        _ => {
            let tokens = tokens(name);
            let is_known = |token: &Token| match token {
                Token::Letter(letter, count) => *count <= most(*letter),
                Token::Literal(_) => true,
            };
            if !tokens.iter().all(is_known) || !tokens.iter().any(|token| matches!(token, Token::Letter(..))) {
                let reason =
                    format!("Invalid format: [{name}]: only names of formats and the letters yMdHmsSXxZ are known");
                return Err(DslError::argument(reason));
            }
            Format::Pattern(tokens)
        }
    })
}

/// How often a letter of a pattern may stand; what is none may not stand at all.
fn most(letter: char) -> usize {
    match letter {
        'y' | 'u' | 'M' => 4,
        'd' | 'H' | 'm' | 's' => 2,
        'S' => 9,
        'X' | 'x' => 3,
        // Four are the name of the zone, five are other letters.
        'Z' => 3,
        _ => 0,
    }
}

/// The months by their names, which a pattern has from three letters on.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn month_name(month: &'static str, count: usize) -> &'static str {
    if count == 3 { &month[..3] } else { month }
}

/// Takes the name of a month.
fn take_month(text: &str, count: usize) -> Option<(i64, &str)> {
    MONTHS.iter().zip(1..).find_map(|(month, number)| Some((number, text.strip_prefix(month_name(month, count))?)))
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(next) = chars.next() {
        if next == '\'' {
            let quoted: Vec<char> = chars.by_ref().take_while(|c| *c != '\'').collect();
            let literal = if quoted.is_empty() { vec!['\''] } else { quoted };
            tokens.extend(literal.into_iter().map(Token::Literal));
        } else if next.is_ascii_alphabetic() {
            let mut count = 1;
            while chars.next_if_eq(&next).is_some() {
                count += 1;
            }
            tokens.push(Token::Letter(next, count));
        } else {
            tokens.push(Token::Literal(next));
        }
    }
    tokens
}

/// The parts of a date as far as a text has them: year, month, day, hour, minute, second, millisecond.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    below: [Option<i64>; 6],
    offset: Option<i32>,
}

impl Fields {
    fn span(&self, zone: &Zone) -> Option<Span> {
        let zone = match self.offset {
            Some(seconds) => Zone(TimeZone::fixed(Offset::from_seconds(seconds).ok()?)),
            None => zone.clone(),
        };
        let [month, day, hour, minute, second, milli] = self.below;
        let date = |month: i64, day: i64| {
            Date::new(self.year?.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
        };
        let first = date(month.unwrap_or(1), day.unwrap_or(1))?;
        let last = match (month, day) {
            (_, Some(_)) => first,
            (Some(_), None) => first.last_of_month(),
            (None, None) => first.last_of_year(),
        };
        let at = |date: Date, parts: [i64; 4]| {
            let [hour, minute, second] = [parts[0], parts[1], parts[2]].map(|part| i8::try_from(part).ok());
            let nanos = i32::try_from(parts[3]).ok()?.checked_mul(1_000_000)?;
            let time = jiff::civil::Time::new(hour?, minute?, second?, nanos).ok()?;
            zone.moment(date.to_datetime(time))
        };
        let or = |open: [i64; 4]| {
            [hour.unwrap_or(open[0]), minute.unwrap_or(open[1]), second.unwrap_or(open[2]), milli.unwrap_or(open[3])]
        };
        Some((at(first, or([0; 4]))?, at(last, or([23, 59, 59, 999]))?))
    }
}

fn take_digits(text: &str, min: usize, max: usize) -> Option<(&str, &str)> {
    let count = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    (count >= min).then(|| text.split_at(count))
}

fn take_zone(text: &str) -> Option<(i32, &str)> {
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return Some((0, rest));
    }
    let length = text.bytes().enumerate().take_while(|(place, byte)| match place {
        0 => matches!(byte, b'+' | b'-'),
        _ => byte.is_ascii_digit() || *byte == b':',
    });
    let (zone, rest) = text.split_at(length.count());
    Some((offset_seconds(zone)?, rest))
}

/// Milliseconds of a fraction's digits.
fn fraction(digits: &str) -> Option<i64> {
    let mut three = digits.get(..digits.len().min(3))?.to_owned();
    while three.len() < 3 {
        three.push('0');
    }
    three.parse().ok()
}

fn iso(text: &str, zone: &Zone) -> Option<Span> {
    let mut fields = Fields::default();
    let (year, mut rest) = take_digits(text, 4, 4)?;
    fields.year = Some(year.parse().ok()?);
    let separators = ["-", "-", "T", ":", ":"];
    for (place, separator) in separators.into_iter().enumerate() {
        let Some(tail) = rest.strip_prefix(separator).or_else(|| rest.strip_prefix(' ').filter(|_| separator == "T"))
        else {
            break;
        };
        // `2026-01-01T` alone is a day.
        if tail.is_empty() && separator == "T" {
            rest = tail;
            break;
        }
        let (digits, tail) = take_digits(tail, 2, 2)?;
        fields.below[place] = Some(digits.parse().ok()?);
        rest = tail;
    }
    if fields.below[4].is_some() && rest.starts_with(['.', ',']) {
        let (digits, tail) = take_digits(&rest[1..], 1, 9)?;
        fields.below[5] = Some(fraction(digits)?);
        rest = tail;
    }
    if fields.below[2].is_some() && !rest.is_empty() {
        let (offset, tail) = take_zone(rest)?;
        fields.offset = Some(offset);
        rest = tail;
    }
    rest.is_empty().then(|| fields.span(zone))?
}

fn pattern(tokens: &[Token], text: &str, zone: &Zone) -> Option<Span> {
    let mut fields = Fields::default();
    let mut rest = text;
    for token in tokens {
        match token {
            Token::Literal(literal) => rest = rest.strip_prefix(*literal)?,
            Token::Letter('X' | 'x' | 'Z', _) => {
                let (offset, tail) = take_zone(rest)?;
                fields.offset = Some(offset);
                rest = tail;
            }
            Token::Letter('M', count @ 3..) => {
                let (month, tail) = take_month(rest, *count)?;
                fields.below[0] = Some(month);
                rest = tail;
            }
            Token::Letter('S', count) => {
                let (digits, tail) = take_digits(rest, *count, *count)?;
                fields.below[5] = Some(fraction(digits)?);
                rest = tail;
            }
            Token::Letter(letter, count) => {
                let (min, max) = match letter {
                    'y' | 'u' if *count == 2 => (2, 2),
                    'y' | 'u' => (4, 4),
                    _ if *count == 1 => (1, 2),
                    _ => (2, 2),
                };
                let (digits, tail) = take_digits(rest, min, max)?;
                let value: i64 = digits.parse().ok()?;
                rest = tail;
                match letter {
                    'y' | 'u' => fields.year = Some(if max == 2 { 2000 + value } else { value }),
                    letter => *fields.below.get_mut("MdHms".find(*letter)?)? = Some(value),
                }
            }
        }
    }
    rest.is_empty().then(|| fields.span(zone))?
}

/// A date as Elasticsearch writes it: ISO 8601 in UTC with milliseconds.
pub fn iso_text(millis: i64) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => millis.to_string(),
    }
}

/// A date in a format of an answer.
pub fn formatted(millis: i64, format: Option<&DateFormat>, zone: &Zone) -> String {
    let Some(first) = format.and_then(|format| format.0.first()) else {
        return zoned_iso(millis, zone);
    };
    match first {
        Format::Millis => millis.to_string(),
        Format::Seconds => millis.div_euclid(1000).to_string(),
        Format::Iso => zoned_iso(millis, zone),
        Format::Part(tokens) | Format::Pattern(tokens) => {
            zone.civil(millis).map_or_else(|| millis.to_string(), |civil| write(tokens, civil, millis))
        }
    }
}

/// How far a zone is from UTC at a moment, in minutes.
fn offset_minutes(millis: i64, civil: DateTime) -> i64 {
    let wall = Offset::UTC.to_timestamp(civil).map_or(millis, Timestamp::as_millisecond);
    (wall - millis).div_euclid(60_000)
}

fn zoned_iso(millis: i64, zone: &Zone) -> String {
    let Some(civil) = zone.civil(millis) else { return millis.to_string() };
    match offset_minutes(millis, civil) {
        0 => iso_text(millis),
        minutes => {
            let shown = iso_text(millis + minutes * 60_000);
            format!("{}{}", shown.trim_end_matches('Z'), offset_text(minutes))
        }
    }
}

fn offset_text(minutes: i64) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// How far a zone is from UTC, as a letter of a pattern has it. Only `X` writes `Z` for nothing.
fn offset_by(letter: char, count: usize, minutes: i64) -> String {
    let full = offset_text(minutes);
    match (letter, count) {
        ('X', _) if minutes == 0 => "Z".to_owned(),
        ('X' | 'x', 3) => full,
        ('X' | 'x', 1) if minutes % 60 == 0 => full[..3].to_owned(),
        _ => full.replace(':', ""),
    }
}

fn write(tokens: &[Token], civil: DateTime, millis: i64) -> String {
    let mut text = String::new();
    for token in tokens {
        let (value, width) = match token {
            Token::Literal(literal) => {
                text.push(*literal);
                continue;
            }
            Token::Letter(letter @ ('X' | 'x' | 'Z'), count) => {
                text.push_str(&offset_by(*letter, *count, offset_minutes(millis, civil)));
                continue;
            }
            Token::Letter('M', count @ 3..) => {
                let month = MONTHS.get(civil.month() as usize - 1).copied().unwrap_or_default();
                text.push_str(month_name(month, *count));
                continue;
            }
            Token::Letter('S', count) => {
                let digits = format!("{:03}{:0>6}", civil.millisecond(), "");
                text.push_str(digits.get(..(*count).min(9)).unwrap_or(&digits));
                continue;
            }
            Token::Letter('y' | 'u', 2) => (i64::from(civil.year()) % 100, 2),
            Token::Letter('y' | 'u', _) => (i64::from(civil.year()), 4),
            Token::Letter('M', width) => (i64::from(civil.month()), *width),
            Token::Letter('d', width) => (i64::from(civil.day()), *width),
            Token::Letter('H', width) => (i64::from(civil.hour()), *width),
            Token::Letter('m', width) => (i64::from(civil.minute()), *width),
            Token::Letter(_, width) => (i64::from(civil.second()), *width),
        };
        text.push_str(&format!("{value:0width$}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-07-01T12:34:56.789Z
    const NOW: i64 = 1_782_909_296_789;

    fn moment(text: &str, format: &str, zone: &str, rounding: Rounding) -> String {
        let clock = Clock { now: NOW, zone: Zone::parse(zone).unwrap() };
        let format = DateFormat::parse(format).unwrap();
        format.moment(&text.into(), &clock, rounding).map_or_else(|error| error.reason, iso_text)
    }

    const DEFAULT: &str = "strict_date_optional_time||epoch_millis";

    #[test]
    fn what_a_date_leaves_open_is_rounded() {
        let down = |text| moment(text, DEFAULT, "Z", Rounding::Down);
        let up = |text| moment(text, DEFAULT, "Z", Rounding::Up);
        assert_eq!(down("2026-02"), "2026-02-01T00:00:00.000Z");
        assert_eq!(up("2026-02"), "2026-02-28T23:59:59.999Z");
        assert_eq!(up("2026"), "2026-12-31T23:59:59.999Z");
        assert_eq!(up("2026-01-02T03"), "2026-01-02T03:59:59.999Z");
        assert_eq!(up("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.999Z");
        assert_eq!(up("2026-01-02T03:04:05.1234567Z"), "2026-01-02T03:04:05.123Z");
        assert_eq!(down("2026-01-02T03:04:05+02:00"), "2026-01-02T01:04:05.000Z");
        assert_eq!(down("1782909296789"), "2026-07-01T12:34:56.789Z");
        assert!(down("yesterday").starts_with("failed to parse date field [yesterday]"));
        assert!(down("2026-02-30").starts_with("failed to parse"));
    }

    #[test]
    fn date_math_and_zones() {
        assert_eq!(moment("now-1d/d", DEFAULT, "Z", Rounding::Down), "2026-06-30T00:00:00.000Z");
        assert_eq!(moment("now/d", DEFAULT, "Z", Rounding::Up), "2026-07-01T23:59:59.999Z");
        assert_eq!(moment("now/d", DEFAULT, "+02:00", Rounding::Down), "2026-06-30T22:00:00.000Z");
        assert_eq!(moment("2026-01-31||+1M", DEFAULT, "Z", Rounding::Down), "2026-02-28T00:00:00.000Z");
        assert_eq!(moment("2026-01-01", DEFAULT, "-0530", Rounding::Down), "2026-01-01T05:30:00.000Z");
        for odd in ["Mars/Olympus", "+aéb", "-\u{db71d}", "+123", "+19:00", "+01:60", "+1:2:3:4"] {
            assert!(Zone::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn formats_by_name_and_by_pattern() {
        assert_eq!(moment("31/12/2025", "dd/MM/yyyy", "Z", Rounding::Up), "2025-12-31T23:59:59.999Z");
        assert_eq!(moment("20251231", "basic_date", "Z", Rounding::Down), "2025-12-31T00:00:00.000Z");
        assert_eq!(
            moment("2025-12-31 10:11:12", "yyyy-MM-dd HH:mm:ss", "Z", Rounding::Down),
            "2025-12-31T10:11:12.000Z"
        );
        assert_eq!(moment("1000", "epoch_second", "Z", Rounding::Down), "1970-01-01T00:16:40.000Z");
        for unknown in ["EEE", "", "ddd", "MMMMM", "ZZZZ", "XXXX"] {
            assert!(DateFormat::parse(unknown).is_err(), "{unknown}");
        }
        let of_number = |number: i64, format: &str| {
            let clock = Clock { now: NOW, zone: Zone::default() };
            DateFormat::parse(format).unwrap().moment(&number.into(), &clock, Rounding::Up).map(iso_text)
        };
        assert_eq!(of_number(20_260_101, "yyyyMMdd").unwrap(), "2026-01-01T23:59:59.999Z");
        assert_eq!(of_number(1000, "epoch_second").unwrap(), "1970-01-01T00:16:40.999Z");
        assert!(of_number(i64::MAX / 1000, "epoch_second").is_err(), "its last millisecond is too late");
        assert_eq!(of_number(NOW, DEFAULT).unwrap(), "2026-07-01T12:34:56.789Z");
        assert!(of_number(NOW, "yyyyMMdd").is_err());
        assert_eq!(moment("07 Mar 2026", "dd MMM yyyy", "Z", Rounding::Down), "2026-03-07T00:00:00.000Z");
        assert_eq!(moment("7 March 2026", "d MMMM yyyy", "Z", Rounding::Down), "2026-03-07T00:00:00.000Z");
        let format = DateFormat::parse("yyyy-MM-dd'T'HH:mm").unwrap();
        assert_eq!(formatted(NOW, Some(&format), &Zone::default()), "2026-07-01T12:34");
        for (format, at_utc, in_india) in [
            ("strict_date", "2026-07-01", "2026-07-01"),
            ("year_month", "2026-07", "2026-07"),
            ("date_time_no_millis", "2026-07-01T12:34:56Z", "2026-07-01T18:04:56+05:30"),
            ("date_hour_minute", "2026-07-01T12:34", "2026-07-01T18:04"),
            ("date_optional_time", "2026-07-01T12:34:56.789Z", "2026-07-01T18:04:56.789+05:30"),
            ("dd MMM yyyy", "01 Jul 2026", "01 Jul 2026"),
            ("MMMM", "July", "July"),
            ("HHX", "12Z", "18+0530"),
            ("HHXXX", "12Z", "18+05:30"),
            ("HHx", "12+00", "18+0530"),
            ("HHxxx", "12+00:00", "18+05:30"),
            ("HHZ", "12+0000", "18+0530"),
        ] {
            let written =
                |zone: &str| formatted(NOW, Some(&DateFormat::parse(format).unwrap()), &Zone::parse(zone).unwrap());
            assert_eq!((&*written("Z"), &*written("+05:30")), (at_utc, in_india), "{format}");
        }
        assert_eq!(formatted(NOW, None, &Zone::parse("+02:00").unwrap()), "2026-07-01T14:34:56.789+02:00");
    }

    proptest! {
        #[test]
        fn written_dates_are_read_again(millis in -9_000_000_000_000i64..9_000_000_000_000) {
            let clock = Clock { now: 0, zone: Zone::default() };
            let text = iso_text(millis);
            prop_assume!(text.starts_with(|c: char| c.is_ascii_digit()));
            for rounding in [Rounding::Down, Rounding::Up] {
                prop_assert_eq!(DateFormat::default().moment(&text.as_str().into(), &clock, rounding), Ok(millis));
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,30}", pattern in ".{0,12}") {
            let clock = Clock { now: NOW, zone: Zone::default() };
            for rounding in [Rounding::Down, Rounding::Up] {
                _ = DateFormat::default().moment(&text.as_str().into(), &clock, rounding);
                if let Ok(format) = DateFormat::parse(&pattern) {
                    _ = format.moment(&text.as_str().into(), &clock, rounding);
                    _ = formatted(NOW, Some(&format), &clock.zone);
                }
            }
            _ = Zone::parse(&text);
        }
    }
}
