//! How much there was of something in the last minutes.

use std::sync::{Mutex, PoisonError};

/// How far back is remembered, in seconds.
const REACH: u64 = 300;

/// Counts second by second.
#[derive(Debug)]
pub struct Rate(Mutex<Vec<(u64, u64)>>);

impl Default for Rate {
    fn default() -> Self {
        Self(Mutex::new(vec![(0, 0); REACH as usize]))
    }
}

impl Rate {
    /// Counts so many in a second.
    pub(crate) fn add(&self, second: u64, count: u64) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[(second % REACH) as usize];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += count;
    }

    /// How many a second there were in the `seconds` before `now`; the second that is not over yet does not count.
    pub(crate) fn over(&self, seconds: u64, now: u64) -> f64 {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = seconds.clamp(1, REACH - 1);
        let is_recent = |second: u64| second < now && second + seconds >= now;
        let count: u64 = slots.iter().filter(|(second, _)| is_recent(*second)).map(|(_, count)| count).sum();
        count as f64 / seconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_ago_does_not_count() {
        let rate = Rate::default();
        rate.add(1_000, 30);
        rate.add(1_001, 30);
        rate.add(1_001, 10);
        assert_eq!((rate.over(10, 1_001), rate.over(10, 1_002), rate.over(1, 1_002)), (3.0, 7.0, 40.0));
        assert_eq!((rate.over(10, 1_011), rate.over(10, 1_012)), (4.0, 0.0));
        // A place that is used again forgets what was in it.
        rate.add(1_000 + REACH, 5);
        assert_eq!(rate.over(1, 1_001 + REACH), 5.0);
    }
}
