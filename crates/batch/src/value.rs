use std::net::IpAddr;

/// A scalar as a decoder meets it, before it takes its column's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// Text.
    Str(&'a str),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// Any other number.
    Double(f64),
    /// A truth value.
    Bool(bool),
}

/// A value of a column's dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// Text of a keyword, version or dynamic field.
    Str(&'a str),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// A floating point number.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// Nanoseconds since the Unix epoch, UTC.
    Date(i64),
    /// An address; IPv4 in its own form, never mapped into IPv6.
    Ip(IpAddr),
}

/// A scalar as a date field takes it: date text, or milliseconds since the epoch as a number or as whole number text.
pub fn coerce_date(value: RawValue<'_>) -> Option<i64> {
    match value {
        RawValue::Int(millis) => millis.checked_mul(1_000_000),
        RawValue::Double(millis) => {
            let nanos = (millis * 1e6).trunc();
            (-(2f64.powi(63))..2f64.powi(63)).contains(&nanos).then_some(nanos as i64)
        }
        RawValue::Str(text) => parse_date(text)
            .or_else(|| text.trim().parse::<i64>().ok().and_then(|millis| millis.checked_mul(1_000_000))),
        RawValue::UInt(_) | RawValue::Bool(_) => None,
    }
}

/// Reads an address; an IPv4 address in IPv6 form becomes IPv4.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Reads a point in time from ISO 8601 text as nanoseconds since the Unix epoch.
///
/// Takes a date alone (`2026-01-31`), `T` or a space between date and time, seconds and up to nine fractional digits
/// (further ones are cut), and a zone of `Z`, `+hh:mm`, `+hhmm` or `+hh`; without a zone the time is UTC. `None` for
/// anything else and for times outside the years 1677 to 2262, which i64 nanoseconds cannot hold.
pub fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.trim().as_bytes();
    let (days, rest) = parse_day(bytes)?;
    let (nanos_of_day, zone) = match rest {
        [] => (0, rest),
        [b'T' | b't' | b' ', rest @ ..] => parse_time(rest)?,
        _ => return None,
    };
    let offset_seconds = parse_zone(zone)?;
    let nanos =
        i128::from(days) * 86_400_000_000_000 + i128::from(nanos_of_day) - i128::from(offset_seconds) * 1_000_000_000;
    i64::try_from(nanos).ok()
}

fn digits(bytes: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(count)?;
    let mut value = 0;
    for byte in head {
        value = value * 10 + i64::from(byte.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some((value, rest))
}

fn parse_day(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = digits(bytes, 4)?;
    let (month, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Days since 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468, rest))
}

fn parse_time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = digits(bytes, 2)?;
    let (minute, mut rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let mut second = 0;
    let mut nanos = 0;
    if let Some(tail) = rest.strip_prefix(b":") {
        (second, rest) = digits(tail, 2)?;
        if let [b'.' | b',', tail @ ..] = rest {
            let count = tail.iter().take_while(|b| b.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            let (value, _) = digits(tail, count.min(9))?;
            nanos = value * 10i64.pow(9 - count.min(9) as u32);
            rest = &tail[count..];
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos, rest))
}

/// Seconds east of UTC.
fn parse_zone(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = digits(rest, 2)?;
    let (minutes, rest) = match rest {
        [] => (0, rest),
        [b':', rest @ ..] => digits(rest, 2)?,
        _ => digits(rest, 2)?,
    };
    if !rest.is_empty() || hours > 18 || minutes > 59 {
        return None;
    }
    Some(sign * (hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_iso_8601() {
        let base = 1_700_000_000_000_000_000;
        for text in [
            "2023-11-14T22:13:20Z",
            "2023-11-14T22:13:20.000Z",
            "2023-11-14 22:13:20",
            "2023-11-14T23:13:20+01:00",
            "2023-11-14T23:13:20+0100",
            "2023-11-14T21:13:20-01",
        ] {
            assert_eq!(parse_date(text), Some(base), "{text}");
        }
        assert_eq!(parse_date("2023-11-14T22:13:20.1234567891Z"), Some(base + 123_456_789));
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("1969-12-31T23:59:59Z"), Some(-1_000_000_000));
        assert_eq!(parse_date("2024-02-29"), Some(1_709_164_800_000_000_000));
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "x",
            "2023-02-29",
            "2023-13-01",
            "2023-11-14T25:00",
            "2023-11-14T22:13:20.Z",
            "9999-01-01",
            "2023-11-14T22:13:20+99:00",
            "20231114",
            "2023-11-14T22:13:20+01:",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn agrees_with_jiff() {
        for seconds in (-9_000_000_000i64..9_000_000_000).step_by(12_345_677) {
            let text = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            assert_eq!(parse_date(&text), Some(seconds * 1_000_000_000), "{text}");
        }
    }
}
