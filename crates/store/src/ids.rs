//! The ids of events: new ones, and those that senders gave, to know one that is sent again.

use std::collections::{HashSet, VecDeque};

use xxhash_rust::xxh3::Xxh3;

/// How many ids are known at most, the latest ones. Each takes some 32 bytes.
pub(crate) const MAX_IDS: usize = 2_000_000;

/// Hashes of recent ids.
#[derive(Debug, Default)]
pub(crate) struct RecentIds {
    known: HashSet<u64>,
    order: VecDeque<u64>,
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

    /// Forgets an id that was just added and whose event could not be kept.
    pub(crate) fn remove(&mut self, id: u64) {
        if self.known.remove(&id)
            && let Some(place) = self.order.iter().rposition(|known| *known == id)
        {
            self.order.remove(place);
        }
    }
}

/// Random bits of an id, in bytes: twenty letters of six bits.
const ID_BYTES: usize = 15;
/// Ids whose random bits are asked of the system together.
const IDS_AT_ONCE: usize = 256;

/// Makes ids of 120 random bits.
#[derive(Default)]
pub(crate) struct NewIds {
    random: Vec<u8>,
}

impl NewIds {
    /// An id of twenty letters that nobody had before.
    pub(crate) fn next(&mut self) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        if self.random.is_empty() {
            self.random.resize(ID_BYTES * IDS_AT_ONCE, 0);
            // Without the system's source of chance nothing else works either.
            getrandom::fill(&mut self.random).expect("the system gives random bytes");
        }
        let rest = self.random.len() - ID_BYTES;
        let letters = |bytes: &[u8]| {
            let bits = bytes.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize]))
        };
        let id = self.random[rest..].chunks_exact(3).flat_map(letters).collect();
        self.random.truncate(rest);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_new() {
        let mut ids = NewIds::default();
        let made: HashSet<String> = (0..3 * IDS_AT_ONCE).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 3 * IDS_AT_ONCE);
        assert!(made.iter().all(|id| id.len() == 20 && id.is_ascii()));
        // Each place has every letter.
        let letters: HashSet<(usize, char)> = made.iter().flat_map(|id| id.char_indices()).collect();
        assert_eq!(letters.len(), 20 * 64);
    }

    #[test]
    fn an_id_is_new_once() {
        let mut ids = RecentIds::default();
        let id = id_hash("logs-x", "1");
        assert_ne!(id, id_hash("logs-", "x1"));
        assert!(ids.insert(id) && !ids.insert(id));
        ids.remove(id);
        assert!(ids.insert(id));
        (0..MAX_IDS as u64).for_each(|other| _ = ids.insert(other));
        assert!(ids.insert(id));
    }
}
