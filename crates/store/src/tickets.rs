//! Who is on the way in: sequence numbers, arrival times, and how far everything is there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gives out sequence numbers and arrival times, and knows which of them are not in a snapshot yet.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The earliest arrival time that may still be given.
    earliest: i64,
    /// Arrival times by first sequence number.
    open: BTreeMap<u64, i64>,
}

/// Sequence numbers for the events of one request. It is open until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    tickets: &'a Tickets,
    /// The first of them.
    pub(crate) first: u64,
    /// When the events arrived: never earlier than a [watermark](Tickets::watermark) that was given before.
    pub(crate) ingested: i64,
}

impl Tickets {
    /// Goes on behind what a log had.
    pub(crate) fn start_from(&self, next: u64, earliest: i64) {
        let mut state = self.lock();
        state.next = state.next.max(next);
        state.earliest = state.earliest.max(earliest);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket for so many events that arrive now.
    pub(crate) fn open(&self, count: u64, now: i64) -> Ticket<'_> {
        let mut state = self.lock();
        let (first, ingested) = (state.next, now.max(state.earliest));
        state.next += count;
        state.earliest = ingested;
        state.open.insert(first, ingested);
        Ticket { tickets: self, first, ingested }
    }

    /// The time up to which everything that arrived is in snapshots taken from now on; at most `now`.
    pub(crate) fn watermark(&self, now: i64) -> i64 {
        let mut state = self.lock();
        let told = state.open.values().min().map_or(now, |ingested| now.min(ingested - 1));
        // What arrives from here on is later, even if the clock steps back.
        state.earliest = state.earliest.max(told.saturating_add(1));
        told
    }

    /// The earliest arrival time that may still be given: behind the clock, unless that was ahead.
    pub(crate) fn earliest(&self) -> i64 {
        self.lock().earliest
    }

    /// Gives arrival times from `now` on, although later ones were given.
    pub(crate) fn go_back(&self, now: i64) {
        let mut state = self.lock();
        state.earliest = state.earliest.min(now);
    }

    /// The sequence number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.lock().next
    }

    /// The sequence number below which everything is in snapshots taken from now on.
    pub(crate) fn complete_below(&self) -> u64 {
        let state = self.lock();
        state.open.keys().next().copied().unwrap_or(state.next)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.tickets.lock().open.remove(&self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_arrives_before_a_watermark() {
        let tickets = Tickets::default();
        tickets.start_from(5, 100);
        assert_eq!(tickets.watermark(110), 110);
        let one = tickets.open(3, 90);
        assert_eq!((one.first, one.ingested), (5, 111));
        let two = tickets.open(1, 200);
        assert_eq!((two.first, two.ingested), (8, 200));
        assert_eq!((tickets.watermark(300), tickets.complete_below()), (110, 5));
        drop(one);
        assert_eq!((tickets.watermark(300), tickets.complete_below()), (199, 8));
        drop(two);
        assert_eq!((tickets.watermark(300), tickets.complete_below()), (300, 9));
        assert_eq!(tickets.open(0, 250).ingested, 301);
    }

    #[test]
    fn who_knows_that_the_clock_was_ahead_can_go_back() {
        let tickets = Tickets::default();
        tickets.start_from(5, 100);
        assert_eq!((tickets.earliest(), tickets.open(1, 50).ingested), (100, 100));
        tickets.go_back(50);
        assert_eq!((tickets.earliest(), tickets.open(1, 60).ingested), (50, 60));
        tickets.go_back(70);
        assert_eq!(tickets.open(1, 50).ingested, 60);
    }

    #[test]
    fn who_went_back_while_something_is_on_the_way_tells_no_watermark_twice() {
        let tickets = Tickets::default();
        let _ahead = tickets.open(1, 100);
        tickets.go_back(50);
        assert_eq!(tickets.watermark(60), 60);
        assert_eq!(tickets.open(1, 55).ingested, 61);
    }
}
