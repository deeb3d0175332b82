//! Dates as text and back, without the cost of a general date library: every event has three of them.

use std::borrow::Cow;

const DAY: i64 = 86_400;
const SECOND: i64 = 1_000_000_000;

/// A point in time as RFC 3339 text.
pub struct Stamp {
    text: [u8; 30],
}

impl Stamp {
    /// The text of this many nanoseconds since the Unix epoch.
    pub fn new(nanoseconds: i64) -> Self {
        Self::of_parts(nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND))
    }

    /// The text of a FILETIME: 100 ns intervals since 1601. Of years behind 9999 the last four digits are left.
    pub fn of_filetime(filetime: u64) -> Self {
        const TICKS: u64 = 10_000_000;
        const UNIX_EPOCH: i64 = 11_644_473_600;
        Self::of_parts((filetime / TICKS) as i64 - UNIX_EPOCH, (filetime % TICKS * 100) as i64)
    }

    fn of_parts(seconds: i64, fraction: i64) -> Self {
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = date(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second / 3600);
        digits(&mut text[14..16], second / 60 % 60);
        digits(&mut text[17..19], second % 60);
        digits(&mut text[20..29], fraction);
        Self { text }
    }

    /// Milliseconds, and as many more digits as say something.
    pub fn shortest(&self) -> String {
        let trailing = self.text[23..29].iter().rev().take_while(|digit| **digit == b'0').count();
        let mut text = String::with_capacity(30);
        text.push_str(self.part(29 - trailing));
        text.push('Z');
        text
    }

    /// Seven digits, as Windows writes times inside events.
    pub fn seven_digits(&mut self) -> &str {
        self.text[27] = b'Z';
        self.part(28)
    }

    fn part(&self, end: usize) -> &str {
        std::str::from_utf8(&self.text[..end]).unwrap_or_default()
    }
}

fn digits(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The Gregorian date of a day counted from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, a leap day is a year's last day.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Reads an RFC 3339 time, or one with a blank in place of the `T` and no zone, as nanoseconds since the Unix epoch.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    let rfc3339 = match text.as_bytes().get(10) {
        Some(b' ') => Cow::Owned(format!("{}T{}", text.get(..10)?, text.get(11..)?)),
        _ => Cow::Borrowed(text),
    };
    let has_zone = rfc3339.ends_with('Z') || rfc3339.get(11..).is_some_and(|time| time.contains(['+', '-']));
    let rfc3339 = if has_zone { rfc3339 } else { Cow::Owned(format!("{rfc3339}Z")) };
    let time: jiff::Timestamp = rfc3339.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

/// Sysmon's own times (`2020-10-27 20:00:14.320`) as RFC 3339 text.
pub fn sysmon_time(text: &str) -> Option<String> {
    let shape = b"0000-00-00 00:00:00.000";
    let bytes = text.as_bytes();
    let fits = bytes.len() == shape.len()
        && bytes
            .iter()
            .zip(shape)
            .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape });
    if !fits {
        return None;
    }
    let part = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    let is_date = matches!(part(5), 1..=12) && matches!(part(8), 1..=31);
    let is_time = part(11) < 24 && part(14) < 60 && part(17) < 60;
    if !is_date || !is_time {
        return None;
    }
    let mut time = String::with_capacity(shape.len() + 1);
    time.push_str(&text[..10]);
    time.push('T');
    time.push_str(&text[11..]);
    time.push('Z');
    Some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        for (nanoseconds, shortest, seven) in [
            (0, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.0000000Z"),
            (1_603_828_814_324_234_100, "2020-10-27T20:00:14.3242341Z", "2020-10-27T20:00:14.3242341Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z", "2000-02-29T00:00:00.0000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.9999999Z"),
            (1_583_020_800_500_000_000, "2020-03-01T00:00:00.500Z", "2020-03-01T00:00:00.5000000Z"),
        ] {
            assert_eq!(Stamp::new(nanoseconds).shortest(), shortest);
            assert_eq!(Stamp::new(nanoseconds).seven_digits(), seven);
            assert_eq!(parse_time(shortest), Some(nanoseconds));
        }
        assert_eq!(Stamp::of_filetime(0).seven_digits(), "1601-01-01T00:00:00.0000000Z");
        assert_eq!(Stamp::of_filetime(u64::MAX).seven_digits().len(), 28);
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(parse_time(&Stamp::new(extreme).shortest()), Some(extreme));
        }
    }

    #[test]
    fn every_day_agrees_with_jiff() {
        for day in (-106_000..106_000_i64).step_by(37) {
            let expected = jiff::Timestamp::from_second(day * DAY).unwrap().to_string();
            assert_eq!(&Stamp::new(day * DAY * SECOND).part(19), &expected.trim_end_matches('Z'));
        }
    }

    #[test]
    fn times_without_zone() {
        assert_eq!(parse_time("2020-10-27 20:00:14.320"), Some(1_603_828_814_320_000_000));
        assert_eq!(parse_time("2020-10-27T20:00:14.320+02:00"), Some(1_603_821_614_320_000_000));
        assert_eq!(parse_time(""), None);
        assert_eq!(parse_time("äöüäöü äöü"), None);
    }

    #[test]
    fn sysmon_times() {
        assert_eq!(sysmon_time("2020-10-27 20:00:14.320").as_deref(), Some("2020-10-27T20:00:14.320Z"));
        for bad in
            ["", "-", "2020-13-27 20:00:14.320", "2020-10-27 24:00:14.320", "2020-10-27T20:00:14.320Z", "ääääääääääää"]
        {
            assert_eq!(sysmon_time(bad), None);
        }
    }
}
