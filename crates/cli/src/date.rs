//! Times on the command line: ISO dates and Elasticsearch date math.

use eqlipse_rules::{DateMath, DateMathError, Rounding};
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{Span, Timestamp};

/// Whether what a text leaves out is the first moment it could mean, or the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// For `--from`.
    First,
    /// For `--to`: `2024-03-01` is the end of that day, as with `lte` in Elasticsearch.
    Last,
}

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// Not a date.
    #[error("`{0}` is not a time: write `2024-03-01`, `2024-03-01T12:00:00Z`, or date math such as `now-7d`")]
    Date(String),
    /// Date math that cannot be read.
    #[error(transparent)]
    Math(#[from] DateMathError),
    /// Outside the years 1677 to 2262, which nanoseconds can tell apart.
    #[error("`{0}` is out of range: times lie between 1677-09-22 and 2262-04-11")]
    Range(String),
}

/// The time that `text` means, in nanoseconds since 1970, UTC; `now` is what `now` stands for.
pub fn parse(text: &str, now: Timestamp, edge: Edge) -> Result<i64, DateError> {
    let text = text.trim();
    let out_of_range = || DateError::Range(text.to_owned());
    if text.starts_with("now") || text.contains("||") {
        let now = i64::try_from(now.as_nanosecond()).map_err(|_| out_of_range())?;
        let rounding = if edge == Edge::First { Rounding::Down } else { Rounding::Up };
        let time = DateMath::parse(text)?.resolve(now, rounding).ok_or_else(out_of_range)?;
        // Rounding up gives the last millisecond of a unit; events in the course of it belong to the unit too.
        return Ok(if edge == Edge::Last && time % 1_000_000_000 == 999_000_000 { time + 999_999 } else { time });
    }
    let moment = absolute(text, edge).ok_or_else(|| DateError::Date(text.to_owned()))?;
    i64::try_from(moment.as_nanosecond()).map_err(|_| out_of_range())
}

/// `2024`, `2024-03`, `2024-03-01`, or with a time of day and a zone behind it; UTC where there is none.
fn absolute(text: &str, edge: Edge) -> Option<Timestamp> {
    let Some(at) = text.find(['T', ' ']) else { return day(text, edge) };
    let (date, clock) = (&text[..at], &text[at + 1..]);
    if date.len() != 10 {
        return None;
    }
    let (clock, offset) = split_zone(clock)?;
    let moment: DateTime = format!("{date}T{clock}").parse().ok()?;
    let moment = match edge {
        Edge::Last if !clock.contains('.') => {
            last_before(moment, if clock.len() <= 5 { Span::new().minutes(1) } else { Span::new().seconds(1) })?
        }
        _ => moment,
    };
    offset.to_timestamp(moment).ok()
}

/// A year, month or day: its first or last moment.
fn day(date: &str, edge: Edge) -> Option<Timestamp> {
    let (full, unit) = match date.len() {
        4 => (format!("{date}-01-01"), Span::new().years(1)),
        7 => (format!("{date}-01"), Span::new().months(1)),
        10 => (date.to_owned(), Span::new().days(1)),
        _ => return None,
    };
    let first = full.parse::<Date>().ok()?.at(0, 0, 0, 0);
    let moment = if edge == Edge::First { first } else { last_before(first, unit)? };
    Offset::UTC.to_timestamp(moment).ok()
}

/// The last nanosecond of the unit that begins with `first`.
fn last_before(first: DateTime, unit: Span) -> Option<DateTime> {
    first.checked_add(unit).ok()?.checked_sub(Span::new().nanoseconds(1)).ok()
}

/// The time of day and the zone behind it.
fn split_zone(clock: &str) -> Option<(&str, Offset)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, Offset::UTC));
    }
    let Some(at) = clock.find(['+', '-']) else { return Some((clock, Offset::UTC)) };
    let digits: String = clock[at + 1..].chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = digits.get(2..4).map_or(Ok(0), str::parse).ok()?;
    let sign = if clock[at..].starts_with('-') { -1 } else { 1 };
    Some((&clock[..at], Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?))
}

/// `2024-03-01T12:00:00.123Z` for nanoseconds since 1970, as alert documents write times.
pub fn iso_millis(nanos: i64) -> String {
    format!("{:.3}", Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// `2024-03-01 12:00:00.123`, for people.
pub fn readable(nanos: i64) -> String {
    iso_millis(nanos).replace('T', " ").trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, edge: Edge) -> String {
        let now: Timestamp = "2024-05-15T13:14:15.5Z".parse().unwrap();
        match parse(text, now, edge) {
            Ok(nanos) => Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn absolute_times() {
        assert_eq!(at("2024-03-01", Edge::First), "2024-03-01T00:00:00Z");
        assert_eq!(at("2024-03-01", Edge::Last), "2024-03-01T23:59:59.999999999Z");
        assert_eq!(at("2024", Edge::Last), "2024-12-31T23:59:59.999999999Z");
        assert_eq!(at("2024-02", Edge::Last), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(at("2024-03-01T12:30", Edge::First), "2024-03-01T12:30:00Z");
        assert_eq!(at("2024-03-01T12:30", Edge::Last), "2024-03-01T12:30:59.999999999Z");
        assert_eq!(at("2024-03-01 12:30:10.25Z", Edge::Last), "2024-03-01T12:30:10.25Z");
        assert_eq!(at("2024-03-01T12:30:10+02:00", Edge::First), "2024-03-01T10:30:10Z");
        assert_eq!(at("2024-03-01T12:30:10-0530", Edge::First), "2024-03-01T18:00:10Z");
    }

    #[test]
    fn date_math() {
        assert_eq!(at("now", Edge::First), "2024-05-15T13:14:15.5Z");
        assert_eq!(at("now-7d", Edge::First), "2024-05-08T13:14:15.5Z");
        assert_eq!(at("now-1d/d", Edge::First), "2024-05-14T00:00:00Z");
        assert_eq!(at("now-1d/d", Edge::Last), "2024-05-14T23:59:59.999999999Z");
        assert_eq!(at("now/w", Edge::First), "2024-05-13T00:00:00Z");
        assert_eq!(at("now/M", Edge::First), "2024-05-01T00:00:00Z");
        assert_eq!(at("now-M", Edge::First), "2024-04-15T13:14:15.5Z");
        assert_eq!(at("2024-03-01||+1M/d", Edge::First), "2024-04-01T00:00:00Z");
        assert_eq!(at("2024-03-01||+1h", Edge::Last), "2024-03-01T01:00:00Z");
    }

    #[test]
    fn errors_say_what_to_write() {
        assert!(at("yesterday", Edge::First).contains("is not a time"));
        assert!(at("", Edge::First).contains("is not a time"));
        assert!(at("2024-13-01", Edge::First).contains("is not a time"));
        assert!(at("now-7days", Edge::First).contains("ays"));
        assert!(at("now-7x", Edge::First).contains("-7x"));
        assert!(at("now-999999999y", Edge::First).contains("out of range"));
        assert!(at("1066-10-14", Edge::First).contains("out of range"));
        assert!(at("2300-01-01", Edge::First).contains("out of range"));
        assert!(at("日本語日本", Edge::First).contains("is not a time"));
        assert!(at("2024-03-01T12:00+é1", Edge::First).contains("is not a time"));
    }

    #[test]
    fn prints() {
        assert_eq!(iso_millis(1_709_294_400_123_456_789), "2024-03-01T12:00:00.123Z");
        assert_eq!(readable(1_709_294_400_123_456_789), "2024-03-01 12:00:00.123");
    }
}
