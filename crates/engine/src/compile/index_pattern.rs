//! Which events a rule may see, by the index that they belong to.

use super::graph::NodeId;
use super::lower::Lowering;
use super::test::{FieldPattern, Test};
use crate::text::{Fold, Wildcard};

/// The column that holds the names of the indices an event belongs to. Decoders fill it; an event without a value is
/// seen by every rule.
pub const INDEX_FIELD: &str = "_index";

impl Lowering<'_> {
    /// The events that index patterns select. As in Elasticsearch, `-pattern` takes names away again, a `cluster:`
    /// prefix is of no meaning here, and no pattern at all selects everything.
    pub(super) fn index_gate(&mut self, patterns: &[String]) -> NodeId {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for pattern in patterns.iter().flat_map(|pattern| pattern.split(',')) {
            let pattern = pattern.trim();
            let (list, pattern) = match pattern.strip_prefix('-') {
                Some(rest) => (&mut unwanted, rest),
                None => (&mut wanted, pattern),
            };
            let name = pattern.split_once(':').map_or(pattern, |(_, name)| name);
            if !name.is_empty() {
                list.push(FieldPattern::Wildcard(Wildcard::new(name), Fold::None));
            }
        }
        if wanted.is_empty() {
            return self.graph.constant(true);
        }
        let exists = self.field_leaf(INDEX_FIELD, Test::Exists);
        let nowhere = self.graph.not(exists);
        let mut inside = self.field_leaf(INDEX_FIELD, Test::Text(wanted));
        if !unwanted.is_empty() {
            let excluded = self.field_leaf(INDEX_FIELD, Test::Text(unwanted));
            let allowed = self.graph.not(excluded);
            inside = self.graph.and(vec![inside, allowed]);
        }
        self.graph.or(vec![nowhere, inside])
    }
}
