//! `interval` and the date math of `from`, `to` and `history_window_start`.

use std::fmt;

use jiff::civil::{DateTime, Time};
use jiff::tz::Offset;
use jiff::{Span, Timestamp, ToSpan};

/// The unit of an [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum IntervalUnit {
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl IntervalUnit {
    fn parse(letter: u8) -> Option<IntervalUnit> {
        match letter {
            b's' => Some(IntervalUnit::Seconds),
            b'm' => Some(IntervalUnit::Minutes),
            b'h' => Some(IntervalUnit::Hours),
            b'd' => Some(IntervalUnit::Days),
            _ => None,
        }
    }

    fn letter(self) -> char {
        match self {
            IntervalUnit::Seconds => 's',
            IntervalUnit::Minutes => 'm',
            IntervalUnit::Hours => 'h',
            IntervalUnit::Days => 'd',
        }
    }

    fn seconds(self) -> u64 {
        match self {
            IntervalUnit::Seconds => 1,
            IntervalUnit::Minutes => 60,
            IntervalUnit::Hours => 3_600,
            IntervalUnit::Days => 86_400,
        }
    }
}

/// A schedule period: digits and one of `s`, `m`, `h`, `d`, such as `5m`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    value: u32,
    unit: IntervalUnit,
}

/// Why a text is not an [`Interval`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not digits and a unit.
    #[error("`{0}` is not an interval: write digits and one of s, m, h, d, such as `5m`")]
    Syntax(String),
    /// Zero, or beyond `u32`.
    #[error("the interval `{0}` is out of range: use 1 to 4294967295 units")]
    Range(String),
}

impl Interval {
    /// Reads `5m` and the like.
    pub fn parse(text: &str) -> Result<Interval, IntervalError> {
        let syntax = || IntervalError::Syntax(text.to_owned());
        let (&last, digits) = text.as_bytes().split_last().ok_or_else(syntax)?;
        let unit = IntervalUnit::parse(last).ok_or_else(syntax)?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(syntax());
        }
        match text[..digits.len()].parse::<u32>() {
            Ok(value) if value > 0 => Ok(Interval { value, unit }),
            _ => Err(IntervalError::Range(text.to_owned())),
        }
    }

    /// The interval of that many seconds, in the largest unit that divides it; at least one second.
    pub fn from_seconds(seconds: u32) -> Interval {
        let seconds = seconds.max(1);
        let units = [IntervalUnit::Days, IntervalUnit::Hours, IntervalUnit::Minutes, IntervalUnit::Seconds];
        let fits = |unit: &IntervalUnit| u64::from(seconds).is_multiple_of(unit.seconds());
        let unit = units.into_iter().find(fits).unwrap_or(IntervalUnit::Seconds);
        Interval { value: seconds / unit.seconds() as u32, unit }
    }

    /// Length in seconds.
    pub fn seconds(self) -> u64 {
        u64::from(self.value) * self.unit.seconds()
    }

    /// Length as a [`std::time::Duration`].
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.seconds())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.value, self.unit.letter())
    }
}

/// A point in time relative to the run, such as `now-9m`, kept as it was written and known to be well formed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DateMath(String);

/// Why a text is not [`DateMath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateMathError {
    /// Neither `now` nor a date in front.
    #[error("`{0}` is not date math: it must begin with `now`, or with a date and `||`")]
    Start(String),
    /// Something else than `+1d`, `-1d` or `/d` behind the start.
    #[error("`{text}` is not date math: cannot read `{rest}`; use steps such as `-9m`, `+1d` or `/d`")]
    Step {
        /// The whole text.
        text: String,
        /// The part that was not understood.
        rest: String,
    },
}

impl DateMath {
    /// Checks the text and keeps it.
    pub fn parse(text: &str) -> Result<DateMath, DateMathError> {
        let steps = start_of_steps(text).ok_or_else(|| DateMathError::Start(text.to_owned()))?;
        let mut rest = &text[steps..];
        while !rest.is_empty() {
            let length = step_length(rest)
                .ok_or_else(|| DateMathError::Step { text: text.to_owned(), rest: rest.to_owned() })?;
            rest = &rest[length..];
        }
        Ok(DateMath(text.to_owned()))
    }

    /// The point in time, in nanoseconds since the Unix epoch, if `now` is the given one. Everything is UTC. `None`
    /// beyond the years i64 nanoseconds can hold.
    pub fn resolve(&self, now_ns: i64, rounding: Rounding) -> Option<i64> {
        let steps = start_of_steps(&self.0)?;
        let mut time = match self.0.strip_prefix("now") {
            Some(_) => Offset::UTC.to_datetime(Timestamp::from_nanosecond(i128::from(now_ns)).ok()?),
            None => parse_anchor(self.0[..steps].trim_end_matches("||"))?,
        };
        let mut rest = &self.0[steps..];
        while !rest.is_empty() {
            let length = step_length(rest)?;
            time = apply_step(time, &rest[..length], rounding)?;
            rest = &rest[length..];
        }
        let timestamp = Offset::UTC.to_timestamp(time).ok()?;
        i64::try_from(timestamp.as_nanosecond()).ok()
    }

    /// `now`.
    pub fn now() -> DateMath {
        DateMath("now".to_owned())
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DateMath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which end of the unit a step such as `/d` goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To its beginning, as the lower end of a window does.
    Down,
    /// To its last millisecond, as the upper end of a window does.
    Up,
}

/// A date with or without a time, in UTC unless it says otherwise.
fn parse_anchor(text: &str) -> Option<DateTime> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(Offset::UTC.to_datetime(timestamp));
    }
    text.parse::<DateTime>().ok().or_else(|| format!("{text}T00:00:00").parse().ok())
}

fn apply_step(time: DateTime, step: &str, rounding: Rounding) -> Option<DateTime> {
    let unit = step.bytes().last()?;
    if step.starts_with('/') {
        let floor = floor(time, unit)?;
        return match rounding {
            Rounding::Down => Some(floor),
            Rounding::Up => floor.checked_add(span(1, unit)?).ok()?.checked_sub(1.millisecond()).ok(),
        };
    }
    let digits = &step[1..step.len() - 1];
    let count: i64 = if digits.is_empty() { 1 } else { digits.parse().ok()? };
    let span = span(count, unit)?;
    if step.starts_with('-') { time.checked_sub(span).ok() } else { time.checked_add(span).ok() }
}

fn span(count: i64, unit: u8) -> Option<Span> {
    let span = Span::new();
    match unit {
        b'y' => span.try_years(count).ok(),
        b'M' => span.try_months(count).ok(),
        b'w' => span.try_weeks(count).ok(),
        b'd' => span.try_days(count).ok(),
        b'h' | b'H' => span.try_hours(count).ok(),
        b'm' => span.try_minutes(count).ok(),
        b's' => span.try_seconds(count).ok(),
        _ => None,
    }
}

/// The beginning of the unit `time` lies in; weeks begin on Monday.
fn floor(time: DateTime, unit: u8) -> Option<DateTime> {
    let midnight = time.date().to_datetime(Time::midnight());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let at = |hour, minute, second| Time::new(hour, minute, second, 0).ok().map(|clock| time.date().to_datetime(clock));
    match unit {
        b'y' => Some(midnight.first_of_year()),
        b'M' => Some(midnight.first_of_month()),
        b'w' => midnight.checked_sub(i64::from(time.weekday().to_monday_zero_offset()).days()).ok(),
        b'd' => Some(midnight),
        b'h' | b'H' => at(hour, 0, 0),
        b'm' => at(hour, minute, 0),
        b's' => at(hour, minute, second),
        _ => None,
    }
}

/// Byte offset behind `now`, or behind an anchor date and its `||`; a date alone has no steps.
fn start_of_steps(text: &str) -> Option<usize> {
    if text.starts_with("now") {
        return Some(3);
    }
    let date_end = text.find("||").unwrap_or(text.len());
    let date = &text[..date_end];
    let shape = date.len() >= 4 && date.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    let letters = date.bytes().all(|b| b.is_ascii_digit() || b"-:.,TZ+/ ".contains(&b));
    (shape && letters).then(|| if date_end == text.len() { date_end } else { date_end + 2 })
}

/// Length of the first step in `rest`: `/u`, or a sign, digits (one if absent) and a unit.
fn step_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let is_unit = |at: usize| bytes.get(at).is_some_and(|b| b"yMwdhHms".contains(b));
    match bytes.first()? {
        b'/' => is_unit(1).then_some(2),
        b'+' | b'-' => {
            let digits = bytes[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            (digits <= 9 && is_unit(1 + digits)).then_some(2 + digits)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        let seconds = |text| Interval::parse(text).map(Interval::seconds);
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("4294967295d"), Ok(371_085_174_288_000));
        for bad in ["", "5", "m", "5 m", "-5m", "5M", "5é", "٥m"] {
            assert_eq!(seconds(bad), Err(IntervalError::Syntax(bad.to_owned())));
        }
        for bad in ["0m", "4294967296s"] {
            assert_eq!(seconds(bad), Err(IntervalError::Range(bad.to_owned())));
        }
        let texts = [0, 59, 60, 300, 7200, 86_400, 90_000].map(|seconds| Interval::from_seconds(seconds).to_string());
        assert_eq!(texts, ["1s", "59s", "1m", "5m", "2h", "1d", "25h"]);
    }

    /// 2026-07-01T12:34:56.789Z, a Wednesday.
    const MOMENT: i64 = 1_782_909_296_789_000_000;

    fn resolve(text: &str, rounding: Rounding) -> Option<String> {
        let time = DateMath::parse(text).ok()?.resolve(MOMENT, rounding)?;
        Some(Timestamp::from_nanosecond(i128::from(time)).ok()?.to_string())
    }

    #[test]
    fn date_math() {
        let down = |text| resolve(text, Rounding::Down).unwrap_or_default();
        assert_eq!(down("now"), "2026-07-01T12:34:56.789Z");
        assert_eq!(down("now-9m"), "2026-07-01T12:25:56.789Z");
        assert_eq!(down("now-1h-30m"), "2026-07-01T11:04:56.789Z");
        assert_eq!(down("now+d"), "2026-07-02T12:34:56.789Z");
        assert_eq!(down("now-1M"), "2026-06-01T12:34:56.789Z");
        assert_eq!(down("now-1y/y"), "2025-01-01T00:00:00Z");
        assert_eq!(down("now/M"), "2026-07-01T00:00:00Z");
        assert_eq!(down("now/w"), "2026-06-29T00:00:00Z");
        assert_eq!(down("now/d-1s"), "2026-06-30T23:59:59Z");
        assert_eq!(down("now/h"), "2026-07-01T12:00:00Z");
        assert_eq!(down("now/m"), "2026-07-01T12:34:00Z");
        assert_eq!(down("now/s"), "2026-07-01T12:34:56Z");
        assert_eq!(down("2026-01-31||+1M"), "2026-02-28T00:00:00Z");
        assert_eq!(down("2026-01-31T10:00:00+02:00||-1h"), "2026-01-31T07:00:00Z");
        assert_eq!(down("2026-01-31T10:00:00"), "2026-01-31T10:00:00Z");
        assert_eq!(resolve("now/d", Rounding::Up).unwrap_or_default(), "2026-07-01T23:59:59.999Z");
        assert_eq!(resolve("now/M", Rounding::Up).unwrap_or_default(), "2026-07-31T23:59:59.999Z");
    }

    #[test]
    fn bad_date_math() {
        for bad in ["", "then", "noon", "5m", "||", "2026||x", "é", "20é6"] {
            assert!(DateMath::parse(bad).is_err(), "{bad}");
        }
        for bad in
            ["now-", "now-5", "now-5x", "now5m", "now/", "now/5d", "now - 5m", "now-1234567890s", "now-é", "now/é"]
        {
            assert!(matches!(DateMath::parse(bad), Err(DateMathError::Step { .. })), "{bad}");
        }
        // Well formed, but beyond what nanoseconds can hold.
        for far in ["now-999999999y", "now+999999999d", "9999-12-31", "2026-99-99"] {
            assert!(DateMath::parse(far).is_ok(), "{far}");
            assert_eq!(resolve(far, Rounding::Down), None, "{far}");
        }
        let edge = DateMath::parse("now-1s/y");
        assert_eq!(edge.map(|math| math.resolve(i64::MIN, Rounding::Up)), Ok(Some(-9_214_560_000_001_000_000)));
    }
}
