//! The ids of events: new ones, and those that senders gave, to know one that is sent again.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::Mutex;

use base64::alphabet;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytestring::ByteString;
use xxhash_rust::xxh3::Xxh3;

use crate::sync::lock;

/// How many ids are known at most, the latest ones. Each takes some 32 bytes.
pub(crate) const MAX_IDS: usize = 2_000_000;

/// Hashes of recent ids.
#[derive(Debug, Default)]
pub(crate) struct RecentIds {
    known: HashSet<u64>,
    order: VecDeque<u64>,
    /// Those of events that are not on disk yet.
    under_way: HashSet<u64>,
}

/// Where the event is whose id came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Stored,
    /// What will become of it is not known yet.
    UnderWay,
}

/// The hash by which an id is known in its index.
pub(crate) fn id_hash(index: &str, id: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(index.as_bytes());
    hasher.update(&[0]);
    hasher.update(id.as_bytes());
    hasher.digest()
}

impl RecentIds {
    /// Adds an id, and says whether it is new.
    pub(crate) fn insert(&mut self, id: u64) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Sets an id aside for an event that is on its way, until it is [kept](Self::keep) or [given back](Self::give_back).
    pub(crate) fn reserve(&mut self, id: u64) -> Result<(), Taken> {
        if self.known.contains(&id) {
            return Err(Taken::Stored);
        }
        if self.under_way.insert(id) { Ok(()) } else { Err(Taken::UnderWay) }
    }

    /// Its event is on disk.
    pub(crate) fn keep(&mut self, id: u64) {
        self.under_way.remove(&id);
        self.insert(id);
    }

    /// Its event could not be kept.
    pub(crate) fn give_back(&mut self, id: u64) {
        self.under_way.remove(&id);
    }
}

/// Ids that are set aside for the events of a request, and given back when it is dropped.
pub(crate) struct Reserved<'i> {
    all: &'i Mutex<RecentIds>,
    ids: HashSet<u64>,
}

impl<'i> Reserved<'i> {
    pub(crate) fn of(all: &'i Mutex<RecentIds>) -> Self {
        Self { all, ids: HashSet::new() }
    }

    pub(crate) fn add(&mut self, id: u64) -> Result<(), Taken> {
        match lock(self.all).reserve(id) {
            // Of two events of a request, either the first is stored or none.
            Err(Taken::UnderWay) if self.ids.contains(&id) => Err(Taken::Stored),
            taken => taken.map(|()| _ = self.ids.insert(id)),
        }
    }

    pub(crate) fn give_back(&mut self, id: u64) {
        self.ids.remove(&id);
        lock(self.all).give_back(id);
    }

    /// Their events are on disk.
    pub(crate) fn keep(mut self) {
        let mut all = lock(self.all);
        self.ids.drain().for_each(|id| all.keep(id));
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            let mut all = lock(self.all);
            self.ids.drain().for_each(|id| all.give_back(id));
        }
    }
}

/// The id of an event.
#[derive(Clone)]
pub struct EventId(Letters);

#[derive(Clone)]
enum Letters {
    /// In place: a piece of memory for each event would cost more than all else of its id.
    Made([u8; MADE_LETTERS]),
    Given(ByteString),
}

impl From<ByteString> for EventId {
    /// The id that an event's sender gave it.
    fn from(given: ByteString) -> Self {
        Self(Letters::Given(given))
    }
}

impl Deref for EventId {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // They are letters of base64.
            Letters::Made(letters) => std::str::from_utf8(letters).unwrap_or_default(),
            Letters::Given(id) => id,
        }
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for EventId {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for EventId {}

/// Letters of an id that are random: 108 bits, drawn for so many ids as the letters behind them count.
const RANDOM_LETTERS: usize = 18;
const COUNTED_LETTERS: usize = 2;
const MADE_LETTERS: usize = RANDOM_LETTERS + COUNTED_LETTERS;
const IDS_AT_ONCE: u32 = 64 * 64;

/// Makes ids of twenty letters. Neighbours begin alike, so that little is left of them once they are packed.
#[derive(Default)]
pub(crate) struct NewIds {
    /// Letters of the next ids. Only the random ones are used.
    start: String,
    made: u32,
}

impl NewIds {
    /// An id that nobody had before.
    pub(crate) fn next(&mut self) -> EventId {
        if self.start.is_empty() || self.made == IDS_AT_ONCE {
            let mut random = [0; MADE_LETTERS * 3 / 4];
            // Without the system's source of chance nothing else works either.
            getrandom::fill(&mut random).expect("the system gives random bytes");
            *self = Self { start: BASE64_URL_SAFE_NO_PAD.encode(random), made: 0 };
        }
        let letters_of_base64 = alphabet::URL_SAFE.as_str().as_bytes();
        let mut letters = [0; MADE_LETTERS];
        letters.copy_from_slice(self.start.as_bytes());
        letters[RANDOM_LETTERS..]
            .copy_from_slice(&[self.made / 64, self.made % 64].map(|digit| letters_of_base64[digit as usize]));
        self.made += 1;
        EventId(Letters::Made(letters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_new() {
        let mut ids = NewIds::default();
        let count = 200 * IDS_AT_ONCE as usize;
        let made: HashSet<String> = (0..count).map(|_| ids.next().to_string()).collect();
        assert_eq!(made.len(), count);
        assert!(made.iter().all(|id| id.len() == 20));
        // A place has nearly all letters then: each is missing one time in twenty.
        let starts = made.iter().map(|id| &id[..RANDOM_LETTERS]).collect::<HashSet<_>>();
        let letters = starts.iter().flat_map(|start| start.char_indices()).collect::<HashSet<_>>();
        assert!(starts.len() == 200 && letters.len() > RANDOM_LETTERS * 54);
    }

    #[test]
    fn an_id_is_new_once() {
        let mut ids = RecentIds::default();
        let id = id_hash("logs-x", "1");
        assert_ne!(id, id_hash("logs-", "x1"));
        assert!(ids.insert(id) && !ids.insert(id));
        assert_eq!(ids.reserve(id), Err(Taken::Stored));
        (0..MAX_IDS as u64).for_each(|other| _ = ids.insert(other));
        assert!(ids.insert(id));
    }

    #[test]
    fn what_is_not_kept_is_given_back() {
        let ids = Mutex::default();
        let mut first = Reserved::of(&ids);
        (1..4).for_each(|id| first.add(id).unwrap());
        first.give_back(3);
        assert_eq!(first.add(2), Err(Taken::Stored));
        let mut second = Reserved::of(&ids);
        assert_eq!((second.add(1), second.add(3)), (Err(Taken::UnderWay), Ok(())));
        drop(first);
        second.add(1).unwrap();
        second.keep();
        let mut third = Reserved::of(&ids);
        assert_eq!([1, 2, 3].map(|id| third.add(id)), [Err(Taken::Stored), Ok(()), Err(Taken::Stored)]);
        drop(third);
        assert!(lock(&ids).under_way.is_empty());
    }
}
