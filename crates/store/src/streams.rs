//! The names of the data streams that there are, which are limited.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// Data streams with events in the store.
#[derive(Debug, Default)]
pub(crate) struct Streams(RwLock<HashSet<Box<str>>>);

impl Streams {
    /// Whether an event may go to a data stream: it is there or among those that are `begun`, or there are fewer than so
    /// many.
    pub(crate) fn may_have(&self, name: &str, begun: &HashSet<Box<str>>, limit: usize) -> bool {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let new = || begun.iter().filter(|name| !names.contains(*name)).count();
        names.contains(name) || begun.contains(name) || names.len() + new() < limit
    }

    /// Whether a data stream has an event.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Takes note of a data stream that has an event.
    pub(crate) fn know(&self, name: &str) {
        if !self.has(name) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.into());
        }
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
        let (streams, mut begun) = (Streams::default(), HashSet::new());
        streams.know("a");
        assert!(streams.may_have("b", &begun, 2));
        begun.insert("b".into());
        assert!(["a", "b"].iter().all(|name| streams.may_have(name, &begun, 2)));
        assert!(!streams.may_have("c", &begun, 2));
        // What is known and begun is one.
        begun.insert("a".into());
        assert!(!streams.may_have("c", &begun, 2) && streams.may_have("c", &begun, 3));
        streams.retain(|name| name != "a");
        assert!(streams.may_have("c", &HashSet::from(["b".into()]), 2));
    }
}
