//! `interval` and the date math of `from`, `to` and `history_window_start`.

use std::fmt;

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
