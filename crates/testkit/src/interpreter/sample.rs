//! Samples.

use std::collections::BTreeMap;

use eqlipse_eql::ast::Sample;

use super::key::{Key, keys_of};
use super::{Interpreter, Prepared};

/// Finds the samples: for each its key and one event for each item, by place in the order of events.
pub fn find(engine: &Interpreter, sample: &Sample, events: &Prepared<'_>) -> Vec<(Key, Vec<usize>)> {
    let mut hits: BTreeMap<Key, Vec<Vec<usize>>> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        for (index, item) in sample.items.iter().enumerate() {
            if !engine.matches_flat(&item.filter, &event.fields) {
                continue;
            }
            for key in keys_of(&event.fields, &item.keys) {
                hits.entry(key).or_insert_with(|| vec![Vec::new(); sample.items.len()])[index].push(place);
            }
        }
    }
    let mut found = Vec::new();
    for (key, items) in hits {
        let mut samples = Vec::new();
        fill(&items, &mut Vec::new(), engine.options.max_samples_per_key, &mut samples);
        found.extend(samples.into_iter().map(|sample| (key.clone(), sample)));
    }
    found
}

/// Fills the items after those that `chosen` fills, earliest events first, until there are `limit` samples.
fn fill(items: &[Vec<usize>], chosen: &mut Vec<usize>, limit: usize, samples: &mut Vec<Vec<usize>>) {
    let Some(candidates) = items.get(chosen.len()) else {
        samples.push(chosen.clone());
        return;
    };
    for place in candidates {
        if samples.len() >= limit {
            return;
        }
        if !chosen.contains(place) {
            chosen.push(*place);
            fill(items, chosen, limit, samples);
            chosen.pop();
        }
    }
}
