//! Which windows of a rule are due.

use eqlipse_control::TimeBasis;
use eqlipse_rules::{Rounding, Rule};
use serde::{Deserialize, Serialize};

/// A stretch of time that a rule looks at, both ends inclusive, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleWindow {
    /// Its beginning.
    pub from: i64,
    /// Its end.
    pub to: i64,
}

impl RuleWindow {
    /// The window of a rule that runs at `now`: its `from` and `to`, by date math. Where these are beyond all bounds, it
    /// is the moment itself.
    pub fn of(rule: &Rule, now: i64) -> Self {
        let to = rule.to.resolve(now, Rounding::Up).unwrap_or(now).min(now);
        let from = rule.from.resolve(now, Rounding::Down).unwrap_or(to);
        Self { from: from.min(to), to }
    }

    /// How long it is, in nanoseconds.
    pub fn length(&self) -> i64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether a time lies in it.
    pub fn contains(&self, time: i64) -> bool {
        self.from <= time && time <= self.to
    }
}

/// A window, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueWindow {
    /// When it was due.
    pub end: i64,
    /// The window, which ends then or before.
    pub window: RuleWindow,
    /// What time means in it; `None` is the rule's own.
    #[serde(default)]
    pub basis: Option<TimeBasis>,
}

impl DueWindow {
    /// The window of a rule that is due at `end`.
    pub fn of(rule: &Rule, end: i64) -> Self {
        Self { end, window: RuleWindow::of(rule, end), basis: None }
    }
}

/// The ends of the windows that are due `now`, oldest first: multiples of `period` behind `last`, the end of the last
/// window that was evaluated. Without any, it is the latest multiple alone.
pub fn due_ends(last: Option<i64>, period: i64, now: i64) -> impl Iterator<Item = i64> {
    let period = period.max(1);
    let latest = now.div_euclid(period);
    let first = last.map_or(latest, |last| last.div_euclid(period) + 1);
    (first..=latest).map(move |number| number * period)
}

/// The end of the next window of a rule that is due `now`: the oldest of those at its interval, which the ledger must have,
/// or else the latest of those at `period` in between, which are there for the sake of what is new alone. So a service that
/// is behind catches up.
pub fn next_end(last: Option<i64>, interval: i64, period: i64, now: i64) -> Option<i64> {
    let latest = due_ends(None, period, now).last();
    let Some(last) = last else { return latest };
    due_ends(Some(last), interval, now).next().or(latest.filter(|latest| *latest > last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_leaves_out_what_is_there_for_what_is_new() {
        let all = |mut last: Option<i64>, period, now| -> Vec<i64> {
            let next = || {
                last = Some(next_end(last, 300, period, now)?);
                last
            };
            std::iter::from_fn(next).collect()
        };
        let ends = |last, now| all(last, 1, now);
        assert_eq!(ends(None, 1_000), [1_000]);
        assert_eq!(ends(Some(1_000), 1_001), [1_001]);
        assert_eq!(ends(Some(1_000), 1_100), [1_100]);
        assert_eq!(ends(Some(1_000), 1_900), [1_200, 1_500, 1_800, 1_900]);
        assert_eq!(ends(Some(1_000), 1_200), [1_200]);
        assert_eq!(ends(Some(1_000), 900), [] as [i64; 0]);
        assert_eq!(all(Some(900), 300, 1_600), [1_200, 1_500]);
        // A tick that is no part of the interval.
        assert_eq!(all(Some(900), 70, 1_210), [1_200]);
        assert_eq!(all(Some(900), 70, 1_270), [1_200, 1_260]);
    }

    #[test]
    fn every_window_is_due_once() {
        let due = |last, now| due_ends(last, 300, now).collect::<Vec<i64>>();
        assert_eq!(due(None, 1_000), [900]);
        assert_eq!(due(Some(900), 1_199), [] as [i64; 0]);
        assert_eq!(due(Some(900), 1_200), [1_200]);
        // One that ended between two multiples, as when the interval was changed.
        assert_eq!(due(Some(1_000), 2_000), [1_200, 1_500, 1_800]);
        // The clock stepped back.
        assert_eq!(due(Some(1_800), 1_000), [] as [i64; 0]);
    }
}
