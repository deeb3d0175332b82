use crate::compile::LeafKind;

use super::MatchPlan;

/// How large a compiled rule set is, and what its rules have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanStats {
    /// Rules.
    pub rules: usize,
    /// Filters of rules, with those of `until`.
    pub stages: usize,
    /// Stages with a condition of their own.
    pub distinct_stages: usize,
    /// Predicates that the rules ask for.
    pub predicates_asked: usize,
    /// Predicates after equal ones were made one.
    pub predicates: usize,
    /// Of those: expressions over several fields, which are evaluated event by event.
    pub row_scripts: usize,
    /// Nodes of the graph: predicates and what `and`, `or` and `not` make of them.
    pub nodes: usize,
    /// Fields that some predicate tests.
    pub fields: usize,
    /// Exact texts and numbers that are looked up.
    pub exact_values: usize,
    /// Wildcard patterns.
    pub wildcards: usize,
    /// Fields whose wildcard patterns share an automaton.
    pub automata: usize,
    /// Memory of these automata, in bytes.
    pub automata_bytes: usize,
}

impl MatchPlan {
    /// How large the rule set is.
    pub fn stats(&self) -> PlanStats {
        let rules = self.rules();
        let graph = rules.graph();
        let mut stats = PlanStats {
            rules: rules.plans().len(),
            stages: rules.stages().len(),
            distinct_stages: self.roots.len(),
            predicates_asked: graph.requested_leaves(),
            predicates: graph.leaves().len(),
            row_scripts: graph.leaves().iter().filter(|leaf| matches!(leaf, LeafKind::Rows { .. })).count(),
            nodes: graph.nodes().len(),
            ..PlanStats::default()
        };
        for field in self.fields.iter().flatten() {
            field.count(&mut stats);
        }
        stats
    }
}
