//! The ids that senders gave their events, to know one that is sent again.

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

#[cfg(test)]
mod tests {
    use super::*;

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
