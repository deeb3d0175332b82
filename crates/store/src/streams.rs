//! The names of the data streams that there are, which are limited.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// Data streams with events in the store, or with events on their way.
#[derive(Debug, Default)]
pub(crate) struct Streams(RwLock<HashSet<Box<str>>>);

impl Streams {
    /// Whether an event may go to a data stream: it is there, or there are fewer than so many.
    pub(crate) fn admit(&self, name: &str, limit: usize) -> bool {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return true;
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        names.contains(name) || (names.len() < limit && names.insert(name.into()))
    }

    /// Takes note of a data stream that is there in any case.
    pub(crate) fn know(&self, name: &str) {
        self.admit(name, usize::MAX);
    }

    /// Forgets those that are gone.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|name| is_there(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_may_be() {
        let streams = Streams::default();
        assert!(streams.admit("a", 2) && streams.admit("b", 2) && !streams.admit("c", 2));
        assert!(streams.admit("a", 2));
        streams.know("c");
        assert!(streams.admit("c", 2));
        streams.retain(|name| name == "a");
        assert!(!streams.admit("b", 1) && streams.admit("b", 2));
    }
}
