//! Which events a rule may see, by the index that they belong to.

use super::graph::NodeId;
use super::lower::Lowering;
use super::test::{FieldPattern, Test};
use crate::text::{Fold, Wildcard};

/// The column that holds the names of the indices an event belongs to. Decoders fill it; an event without a value is
/// seen by every rule.
pub const INDEX_FIELD: &str = "_index";

/// Index patterns taken apart. As in Elasticsearch, a comma parts patterns, `-pattern` takes names away again, and a
/// `cluster:` prefix is of no meaning here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexPatterns {
    /// Patterns of the names that are selected; none selects every event.
    pub wanted: Vec<String>,
    /// Patterns of the names that are taken away again.
    pub unwanted: Vec<String>,
}

impl IndexPatterns {
    /// Takes patterns apart, as a rule lists them.
    pub fn parse(patterns: &[String]) -> Self {
        let mut parsed = Self::default();
        for pattern in patterns.iter().flat_map(|pattern| pattern.split(',')) {
            let pattern = pattern.trim();
            let (list, pattern) = match pattern.strip_prefix('-') {
                Some(rest) => (&mut parsed.unwanted, rest),
                None => (&mut parsed.wanted, pattern),
            };
            let name = pattern.split_once(':').map_or(pattern, |(_, name)| name);
            if !name.is_empty() {
                list.push(name.to_owned());
            }
        }
        parsed
    }
}

impl Lowering<'_> {
    /// The events that index patterns select.
    pub(super) fn index_gate(&mut self, patterns: &[String]) -> NodeId {
        let IndexPatterns { wanted, unwanted } = IndexPatterns::parse(patterns);
        if wanted.is_empty() {
            return self.graph.constant(true);
        }
        let tests = |names: Vec<String>| {
            names.iter().map(|name| FieldPattern::Wildcard(Wildcard::new(name), Fold::None)).collect::<Vec<_>>()
        };
        let (wanted, unwanted) = (tests(wanted), tests(unwanted));
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
