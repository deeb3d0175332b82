//! Intervals of time.

use jiff::civil::{DateTime, Time};
use jiff::tz::Offset;
use jiff::{Span, Timestamp, ToSpan};

use super::super::DslError;
use super::super::date::Zone;

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interval {
    /// So many milliseconds.
    Fixed(i64),
    Calendar(Unit),
}

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

fn wall_millis(civil: DateTime) -> Option<i64> {
    Offset::UTC.to_timestamp(civil).ok().map(Timestamp::as_millisecond)
}

fn civil(wall_millis: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_millisecond(wall_millis).ok()?))
}

/// `30s`, `1.5h`, `2d`: milliseconds.
pub(super) fn fixed_millis(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

impl Interval {
    /// `fixed_interval`
    pub(super) fn fixed(text: &str) -> Result<Self, DslError> {
        let bad = || {
            DslError::argument(format!(
                "failed to parse setting [date_histogram.fixedInterval] with value [{text}] as a time value"
            ))
        };
        match fixed_millis(text).ok_or_else(bad)? {
            0 => Err(DslError::argument("[fixed_interval] must be 1 millisecond or greater")),
            millis => Ok(Self::Fixed(millis)),
        }
    }

    /// `calendar_interval`
    pub(super) fn calendar(text: &str) -> Result<Self, DslError> {
        Ok(Self::Calendar(match text {
            "second" | "1s" => Unit::Second,
            "minute" | "1m" => Unit::Minute,
            "hour" | "1h" => Unit::Hour,
            "day" | "1d" => Unit::Day,
            "week" | "1w" => Unit::Week,
            "month" | "1M" => Unit::Month,
            "quarter" | "1q" => Unit::Quarter,
            "year" | "1y" => Unit::Year,
            other => {
                let reason = format!("The supplied interval [{other}] could not be parsed as a calendar interval.");
                return Err(DslError::argument(reason));
            }
        }))
    }

    /// The beginning of the bucket that a time lies in.
    pub(super) fn floor(self, millis: i64, zone: &Zone) -> Option<i64> {
        let there = zone.civil(millis)?;
        match self {
            Self::Fixed(interval) => {
                let wall = wall_millis(there)?;
                let floor = wall - wall.rem_euclid(interval);
                zone.moment(civil(floor)?)
            }
            // Units below a day are the same wherever the zone is a whole number of them away, so hours that come
            // twice stay two.
            Self::Calendar(Unit::Second) => Some(millis - millis.rem_euclid(1000)),
            Self::Calendar(Unit::Minute) => Some(millis - millis.rem_euclid(60_000)),
            Self::Calendar(Unit::Hour) => {
                let shift = (wall_millis(there)? - millis).rem_euclid(3_600_000);
                Some(millis - (millis + shift).rem_euclid(3_600_000))
            }
            Self::Calendar(unit) => zone.moment(floor_of_day(there, unit)?),
        }
    }

    /// The beginning of the bucket behind.
    pub(super) fn next(self, millis: i64, zone: &Zone) -> Option<i64> {
        let step = |millis: i64, span: Span| {
            let there = zone.civil(millis)?;
            zone.moment(there.checked_add(span).ok()?)
        };
        match self {
            Self::Fixed(interval) => {
                let there = wall_millis(zone.civil(millis)?)?;
                let next = zone.moment(civil(there.checked_add(interval)?)?)?;
                // Where clocks are put back, the wall clock alone would not get on.
                Some(if next > millis { next } else { millis.checked_add(interval)? })
            }
            Self::Calendar(Unit::Second) => millis.checked_add(1000),
            Self::Calendar(Unit::Minute) => millis.checked_add(60_000),
            Self::Calendar(Unit::Hour) => millis.checked_add(3_600_000),
            Self::Calendar(Unit::Day) => step(millis, 1.day()),
            Self::Calendar(Unit::Week) => step(millis, 1.week()),
            Self::Calendar(Unit::Month) => step(millis, 1.month()),
            Self::Calendar(Unit::Quarter) => step(millis, 3.months()),
            Self::Calendar(Unit::Year) => step(millis, 1.year()),
        }
    }
}

fn floor_of_day(there: DateTime, unit: Unit) -> Option<DateTime> {
    let midnight = there.date().to_datetime(Time::midnight());
    match unit {
        Unit::Week => midnight.checked_sub(i64::from(there.weekday().to_monday_zero_offset()).days()).ok(),
        Unit::Month => Some(midnight.first_of_month()),
        Unit::Quarter => {
            let first = midnight.first_of_month();
            first.checked_sub(i64::from((there.month() - 1) % 3).months()).ok()
        }
        Unit::Year => Some(midnight.first_of_year()),
        _ => Some(midnight),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::date::iso_text;
    use super::*;

    #[test]
    fn buckets_begin_where_the_calendar_says() {
        // 2026-08-19T13:14:15.016Z, a Wednesday.
        let time = 1_787_145_255_016;
        let floor = |text: &str, zone: &str| {
            let zone = Zone::parse(zone).unwrap();
            let interval = Interval::calendar(text).or_else(|_| Interval::fixed(text)).unwrap();
            let floor = interval.floor(time, &zone).unwrap();
            (iso_text(floor), iso_text(interval.next(floor, &zone).unwrap()))
        };
        let pair = |a: &str, b: &str| (format!("{a}.000Z"), format!("{b}.000Z"));
        assert_eq!(floor("hour", "Z"), pair("2026-08-19T13:00:00", "2026-08-19T14:00:00"));
        assert_eq!(floor("day", "-05:00"), pair("2026-08-19T05:00:00", "2026-08-20T05:00:00"));
        assert_eq!(floor("week", "Z"), pair("2026-08-17T00:00:00", "2026-08-24T00:00:00"));
        assert_eq!(floor("quarter", "Z"), pair("2026-07-01T00:00:00", "2026-10-01T00:00:00"));
        assert_eq!(floor("year", "Z"), pair("2026-01-01T00:00:00", "2027-01-01T00:00:00"));
        assert_eq!(floor("90m", "Z"), pair("2026-08-19T12:00:00", "2026-08-19T13:30:00"));
        assert_eq!(floor("hour", "+05:30"), pair("2026-08-19T12:30:00", "2026-08-19T13:30:00"));
        assert!(Interval::calendar("2d").is_err() && Interval::fixed("1w").is_err() && Interval::fixed("0s").is_err());
    }
}
