use eqlipse_batch::FieldId;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Test;
use crate::script::Script;

/// A node's number in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A leaf's number in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(pub u32);

/// A condition on events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// Every event, or none.
    Constant(bool),
    /// A leaf.
    Leaf(LeafId),
    /// The complement.
    Not(NodeId),
    /// All of these, cheapest first; two or more.
    And(Box<[NodeId]>),
    /// Any of these; two or more.
    Or(Box<[NodeId]>),
}

/// A predicate that reads the data.
#[derive(Debug)]
pub enum LeafKind {
    /// A test of one field.
    Field {
        /// The field.
        field: FieldId,
        /// The test.
        test: Test,
        /// Whether an event without the field passes.
        absent: bool,
    },
    /// An expression over several fields; slot i takes the values of `fields[i]`.
    Rows {
        /// The fields, each once.
        fields: Vec<FieldId>,
        /// The expression.
        script: Script,
        /// Whether an event with none of the fields passes.
        absent: bool,
    },
}

/// All conditions of a rule set; equal ones are the same node.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// By node: a rank by what evaluating it takes.
    costs: Vec<u32>,
    node_ids: HashMap<Node, NodeId, RandomState>,
    leaves: Vec<LeafKind>,
    leaf_ids: HashMap<Vec<u8>, LeafId, RandomState>,
    /// Conditions asked for, shared or not.
    requested: usize,
}

impl Graph {
    /// The nodes; operands stand before the node that uses them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The leaves.
    pub fn leaves(&self) -> &[LeafKind] {
        &self.leaves
    }

    /// The leaf with this id.
    pub fn leaf(&self, id: LeafId) -> &LeafKind {
        &self.leaves[id.0 as usize]
    }

    /// How many leaves would exist if equal ones were not shared.
    pub fn requested_leaves(&self) -> usize {
        self.requested
    }

    fn intern(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.node_ids.get(&node) {
            return *id;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.costs.push(self.cost(&node));
        self.nodes.push(node.clone());
        self.node_ids.insert(node, id);
        id
    }

    /// Every event, or none.
    pub(super) fn constant(&mut self, value: bool) -> NodeId {
        self.intern(Node::Constant(value))
    }

    /// A leaf; `key` must differ between leaves that differ.
    pub(super) fn add_leaf(&mut self, key: Vec<u8>, leaf: impl FnOnce() -> LeafKind) -> NodeId {
        self.requested += 1;
        let next = LeafId(self.leaves.len() as u32);
        let id = *self.leaf_ids.entry(key).or_insert(next);
        if id == next {
            self.leaves.push(leaf());
        }
        self.intern(Node::Leaf(id))
    }

    /// The complement of a node.
    pub(super) fn not(&mut self, inner: NodeId) -> NodeId {
        match self.node(inner) {
            Node::Constant(value) => {
                let value = !*value;
                self.constant(value)
            }
            Node::Not(inner) => *inner,
            _ => self.intern(Node::Not(inner)),
        }
    }

    /// All of the parts.
    pub(super) fn and(&mut self, parts: Vec<NodeId>) -> NodeId {
        self.connect(parts, true)
    }

    /// Any of the parts.
    pub(super) fn or(&mut self, parts: Vec<NodeId>) -> NodeId {
        self.connect(parts, false)
    }

    fn connect(&mut self, parts: Vec<NodeId>, is_and: bool) -> NodeId {
        let mut flat: Vec<NodeId> = Vec::with_capacity(parts.len());
        for part in parts {
            match self.node(part) {
                Node::Constant(value) if *value == is_and => {}
                Node::Constant(_) => return self.constant(!is_and),
                Node::And(inner) if is_and => flat.extend(inner),
                Node::Or(inner) if !is_and => flat.extend(inner),
                _ => flat.push(part),
            }
        }
        // One order for all, so that the same operands in another order are the same node.
        flat.sort_unstable_by_key(|id| (self.costs[id.0 as usize], *id));
        flat.dedup();
        match flat.len() {
            0 => self.constant(is_and),
            1 => flat[0],
            _ if is_and => self.intern(Node::And(flat.into())),
            _ => self.intern(Node::Or(flat.into())),
        }
    }

    /// A rank by what evaluating a node takes: leaves first, then their complements, then connected ones; what must be
    /// computed row by row last.
    fn cost(&self, node: &Node) -> u32 {
        let of = |id: &NodeId| self.costs[id.0 as usize];
        match node {
            Node::Constant(_) => 0,
            Node::Leaf(leaf) => match self.leaf(*leaf) {
                LeafKind::Field { absent: false, .. } => 1,
                LeafKind::Field { .. } => 2,
                LeafKind::Rows { .. } => 1000,
            },
            Node::Not(inner) => 1 + of(inner).max(2),
            Node::And(parts) | Node::Or(parts) => {
                parts.iter().map(of).max().unwrap_or(0) + 2 + (parts.len() as u32).min(50)
            }
        }
    }
}
