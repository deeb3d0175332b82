//! How far the samples of a rule came.

use std::collections::HashMap;

use eqlipse_engine::StageId;
use eqlipse_engine::correlate::{KeyId, Matched};

/// The events of one key by item, as places in [`Matched::events`].
#[derive(Clone, Debug)]
pub(super) struct KeyItems {
    pub key: KeyId,
    pub events: Vec<Vec<u32>>,
}

impl KeyItems {
    pub(super) fn filled(&self) -> usize {
        self.events.iter().filter(|events| !events.is_empty()).count()
    }
}

/// Every key without a sample, by items filled, most first; and by number of items how many keys filled so many.
pub(super) fn nearest(
    matched: &Matched,
    items: &[StageId],
    fired: impl Fn(KeyId) -> bool,
    most: usize,
) -> (Vec<u64>, Vec<KeyItems>) {
    let mut by_key: HashMap<KeyId, Vec<Vec<u32>>> = HashMap::new();
    for (item, stage) in items.iter().enumerate() {
        for row in matched.rows(*stage) {
            by_key.entry(row.key).or_insert_with(|| vec![Vec::new(); items.len()])[item].push(row.event);
        }
    }
    let mut filled = vec![0; items.len()];
    let mut keys: Vec<KeyItems> = by_key.into_iter().map(|(key, events)| KeyItems { key, events }).collect();
    for key in &keys {
        filled[key.filled() - 1] += 1;
    }
    keys.retain(|key| !fired(key.key));
    keys.sort_by(|a, b| b.filled().cmp(&a.filled()).then_with(|| matched.keys().order(a.key, b.key)));
    keys.truncate(most);
    (filled, keys)
}
