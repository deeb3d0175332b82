//! Dates as text.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// Reads date text (see the parent module) as nanoseconds since the epoch.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (day, rest) = text.split_at_checked(10)?;
    let date = parse_day(day)?;
    if rest.is_empty() {
        return nanoseconds(date, (0, 0, 0, 0), 0);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let zone_start = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_start);
    nanoseconds(date, parse_time(time)?, parse_zone(zone)?)
}

/// A point in time as text.
pub fn print(nanos: i64) -> String {
    // Every i64 of nanoseconds is within jiff's range.
    Timestamp::from_nanosecond(i128::from(nanos)).map(|t| t.to_string()).unwrap_or_default()
}

/// `count` digits exactly.
fn digits(text: &str, count: usize) -> Option<i32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse_day(text: &str) -> Option<Date> {
    let [year, month, day] = text.split('-').collect::<Vec<_>>().try_into().ok()?;
    Date::new(digits(year, 4)? as i16, digits(month, 2)? as i8, digits(day, 2)? as i8).ok()
}

/// Hour, minute, second, nanosecond.
fn parse_time(text: &str) -> Option<(i32, i32, i32, i32)> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let Some(rest) = parts.next() else { return Some((hour, minute, 0, 0)) };
    let Some((second, fraction)) = rest.split_once(['.', ',']) else {
        return Some((hour, minute, digits(rest, 2)?, 0));
    };
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{:0<9}", &fraction[..fraction.len().min(9)]);
    Some((hour, minute, digits(second, 2)?, nanos.parse().ok()?))
}

/// Seconds east of UTC.
fn parse_zone(text: &str) -> Option<i32> {
    let (sign, rest) = match text.chars().next() {
        None => return Some(0),
        Some('+') => (1, &text[1..]),
        Some('-') => (-1, &text[1..]),
        Some(_) => return (text.len() == 1).then_some(0),
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (digits(hours, 2)?, digits(minutes, 2)?),
        None if rest.len() == 2 => (digits(rest, 2)?, 0),
        None => (digits(rest.get(..2)?, 2)?, digits(&rest[2..], 2)?),
    };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

fn nanoseconds(date: Date, (hour, minute, second, nanos): (i32, i32, i32, i32), offset: i32) -> Option<i64> {
    // A leap second is the instant after second 59.
    let leap = i128::from(second == 60);
    let time = Time::new(hour as i8, minute as i8, second.min(60).saturating_sub(leap as i32) as i8, nanos).ok()?;
    let utc = Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?;
    i64::try_from(utc.as_nanosecond() + (leap - i128::from(offset)) * 1_000_000_000).ok()
}
