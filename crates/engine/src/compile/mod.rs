//! Compiling rules: every stage filter of every rule becomes part of one graph of predicates.
//!
//! * [`Test`]: a question about one value of one field, the graph's leaves;
//! * [`Graph`]: and, or and not over leaves, hash-consed, so that what many rules ask is asked once;
//! * lowering: from EQL's syntax tree to the graph;
//! * [`RuleSet`]: the graph, the schema of all fields that it reads, and how each rule correlates its stages.

mod constant;
mod graph;
mod index_pattern;
mod lower;
mod pipes;
mod relations;
mod rule_set;
mod selections;
mod test;

pub use constant::{ConstantError, constant};
pub use graph::{Graph, LeafId, LeafKind, Node, NodeId};
pub use pipes::Pipes;
pub(crate) use pipes::{Key, PipePlan, Slot};
pub(crate) use relations::RelatedFilter;
pub use relations::{MAX_RELATIONS, ProcessEvents, Relations};
pub use rule_set::{
    CompileError, CompileOptions, FieldTypes, JoinField, Plan, RuleIndex, RuleOrder, RulePlan, RuleSet, RuleSetBuilder,
    Scope, SequencePlan, Stage, StageId, Step,
};
pub(crate) use selections::{Selection, SelectionId};
pub use test::{FieldPattern, Test};

pub use index_pattern::{INDEX_FIELD, IndexPatterns};
