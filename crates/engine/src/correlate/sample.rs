//! Samples: for each key, distinct events that fill all items, earliest first.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Detection, KeyId, Stages};
use crate::compile::StageId;

/// Finds up to `limit` samples for each key, keys ascending.
pub(super) fn find(stages: &Stages<'_>, items: &[StageId], limit: usize) -> Vec<Detection> {
    let mut hits: HashMap<KeyId, Vec<Vec<u32>>, RandomState> = HashMap::default();
    for row in stages.ordered(items.iter().copied()) {
        let lists = hits.entry(row.key).or_insert_with(|| vec![Vec::new(); items.len()]);
        lists[row.stage as usize].push(row.event);
    }
    let mut hits: Vec<_> = hits.into_iter().collect();
    hits.sort_by(|a, b| stages.matched.keys().order(a.0, b.0));
    let mut found = Vec::new();
    for (key, mut lists) in hits {
        if lists.iter().any(Vec::is_empty) {
            continue;
        }
        // Of an item's candidates, the other items can take all but one and earlier samples one each; later ones than
        // that are never needed. This bounds the search, which goes through combinations.
        let needed = items.len().saturating_add(limit).saturating_sub(1);
        lists.iter_mut().for_each(|list| list.truncate(needed));
        let mut samples = Vec::new();
        fill(&lists, &mut Vec::new(), limit, &mut samples);
        let detection = |events: Vec<u32>| stages.detection(events.into_iter().map(Some).collect(), Some(key));
        found.extend(samples.into_iter().map(detection));
    }
    found
}

/// Fills the items after those that `chosen` fills, going back where an item finds no event that is not used yet.
fn fill(lists: &[Vec<u32>], chosen: &mut Vec<u32>, limit: usize, samples: &mut Vec<Vec<u32>>) {
    let Some(candidates) = lists.get(chosen.len()) else {
        samples.push(chosen.clone());
        return;
    };
    for event in candidates {
        if samples.len() >= limit {
            return;
        }
        if !chosen.contains(event) {
            chosen.push(*event);
            fill(lists, chosen, limit, samples);
            chosen.pop();
        }
    }
}
