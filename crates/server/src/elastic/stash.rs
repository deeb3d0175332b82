//! What clients put at their start and want to find again: templates, policies, pipelines.
//!
//! None of it changes what eqlipse does to events: fields have the types of its catalogue, events are normalised by its
//! own code, and retention is the store's. Indices that were made and aliases can be searched. It is kept in memory, so that what was PUT is found by GET; clients put it again when the
//! service was started anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::http::{Failure, is_match};

/// All bodies together, in bytes.
pub const MAX_STASH_BYTES: usize = 64 << 20;
/// Things of all kinds together.
pub const MAX_STASHED: usize = 10_000;
/// Names of indices that are known to have events.
const MAX_INDICES: usize = 10_000;

/// A kind of thing that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    IndexTemplate,
    ComponentTemplate,
    LegacyTemplate,
    LifecyclePolicy,
    Pipeline,
    DataStream,
    Index,
    /// Its body has the properties by index.
    Alias,
}

/// Things by kind and name.
#[derive(Debug, Default)]
pub struct Stash(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    things: BTreeMap<(Kind, String), Stashed>,
    bytes: usize,
    indices: BTreeSet<String>,
}

#[derive(Debug)]
struct Stashed {
    body: Value,
    bytes: usize,
    versions: u64,
    changed: i64,
}

/// A thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) body: Value,
    /// How often it was put.
    pub(crate) versions: u64,
    /// When it was put last, in nanoseconds since the Unix epoch.
    pub(crate) changed: i64,
}

impl Stash {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a thing whose body takes so many bytes, in place of one with the same name.
    ///
    /// # Errors
    /// If there are too many.
    pub(crate) fn put(&self, kind: Kind, name: &str, body: Value, bytes: usize) -> Result<(), Failure> {
        let mut inner = self.lock();
        let key = (kind, name.to_owned());
        let known = inner.things.get(&key).map(|known| (known.bytes, known.versions));
        let (old_bytes, versions) = known.unwrap_or_default();
        let total = inner.bytes - old_bytes + bytes + name.len();
        if total > MAX_STASH_BYTES || (known.is_none() && inner.things.len() >= MAX_STASHED) {
            let limits = format!("{MAX_STASHED} of {MAX_STASH_BYTES} bytes together");
            return Err(Failure::IllegalArgument(format!("too many templates, policies and pipelines: {limits}")));
        }
        inner.bytes = total;
        let bytes = bytes + name.len();
        inner.things.insert(key, Stashed { body, bytes, versions: versions + 1, changed: crate::now() });
        Ok(())
    }

    /// The things whose names match: names and patterns with `*`, with commas between them.
    pub(crate) fn find(&self, kind: Kind, names: &str) -> Vec<Found> {
        let inner = self.lock();
        let of_kind = inner.things.iter().filter(|((of, name), _)| *of == kind && is_named(names, name));
        let found = of_kind.map(|((_, name), stashed)| Found {
            name: name.clone(),
            body: stashed.body.clone(),
            versions: stashed.versions,
            changed: stashed.changed,
        });
        found.collect()
    }

    /// Whether there is one of this very name.
    pub(crate) fn has(&self, kind: Kind, name: &str) -> bool {
        self.lock().things.contains_key(&(kind, name.to_owned()))
    }

    /// Removes the things whose names match; returns how many there were.
    pub(crate) fn remove(&self, kind: Kind, names: &str) -> usize {
        let mut inner = self.lock();
        let (mut removed, mut freed) = (0, 0);
        inner.things.retain(|(of, name), stashed| {
            let goes = *of == kind && is_named(names, name);
            if goes {
                removed += 1;
                freed += stashed.bytes;
            }
            !goes
        });
        inner.bytes -= freed;
        removed
    }

    /// Notes that an index has events.
    pub(crate) fn note_index(&self, name: &str) {
        let mut inner = self.lock();
        if !inner.indices.contains(name) && inner.indices.len() < MAX_INDICES {
            inner.indices.insert(name.to_owned());
        }
    }

    /// Whether an index has had events since the start.
    pub(crate) fn has_events(&self, name: &str) -> bool {
        self.lock().indices.contains(name)
    }

    /// By alias, the names and patterns of indices that it stands for.
    pub(crate) fn aliases(&self) -> BTreeMap<String, Vec<String>> {
        let inner = self.lock();
        let aliases = inner.things.iter().filter(|((kind, _), _)| *kind == Kind::Alias);
        let indices = |stashed: &Stashed| {
            let names = stashed.body.as_object().into_iter().flatten();
            names.flat_map(|(names, _)| names.split(',')).map(str::to_owned).collect()
        };
        aliases.map(|((_, name), stashed)| (name.clone(), indices(stashed))).collect()
    }

    /// Names of indices and data streams that were made, or came with events since the start.
    pub(crate) fn indices(&self) -> BTreeSet<String> {
        let inner = self.lock();
        let made = inner.things.keys().filter(|(kind, _)| matches!(kind, Kind::Index | Kind::DataStream));
        made.map(|(_, name)| name.clone()).chain(inner.indices.iter().cloned()).collect()
    }
}

/// Whether a name is among names and patterns with commas between them; `_all` and nothing mean all.
pub(crate) fn is_named(names: &str, name: &str) -> bool {
    names.is_empty() || names == "_all" || names.split(',').any(|pattern| is_match(pattern.trim(), name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_put_is_found_and_bounded() {
        let stash = Stash::default();
        stash.put(Kind::Pipeline, "winlogbeat-9", json!({}), 2).unwrap();
        stash.put(Kind::Pipeline, "winlogbeat-9", json!({ "processors": [] }), 17).unwrap();
        stash.put(Kind::IndexTemplate, "winlogbeat-9", json!(1), 1).unwrap();
        let found = stash.find(Kind::Pipeline, "win*,other");
        assert_eq!((found.len(), found[0].versions), (1, 2));
        assert!(stash.has(Kind::IndexTemplate, "winlogbeat-9") && !stash.has(Kind::Index, "winlogbeat-9"));
        assert!(stash.put(Kind::Pipeline, "large", json!({}), MAX_STASH_BYTES).is_err());
        assert_eq!(stash.remove(Kind::Pipeline, "*"), 1);
        assert_eq!(stash.lock().bytes, 1 + "winlogbeat-9".len());
    }
}
