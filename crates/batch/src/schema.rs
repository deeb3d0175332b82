use std::sync::Arc;

use eqlipse_ecs::FieldType;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// A column's number within its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u32);

impl FieldId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A column: its dotted name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Dotted name, such as `process.parent.name`.
    pub name: String,
    /// The type that values take when they are pushed.
    pub ty: FieldType,
}

/// A place in the tree of path segments; the root is [`Schema::root`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathNode(u32);

impl PathNode {
    /// The place's number within its schema.
    pub fn number(self) -> u32 {
        self.0
    }
}

#[derive(Debug, Default)]
struct Node {
    field: Option<FieldId>,
    /// Where its children lie in [`Schema::slots`], and how many slots there are less one; none without children.
    children: Option<(u32, u32)>,
}

/// A place in a node's table of children, which is at least half empty.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// [`fingerprint`] of the child's name.
    fingerprint: u64,
    /// `u32::MAX` in a free slot.
    node: u32,
}

const FREE: Slot = Slot { fingerprint: 0, node: u32::MAX };

/// Names of up to so many bytes are told apart by their fingerprint alone.
const EXACT: usize = 7;

/// A number for a name: its bytes and length if it is short, a mixture of both its ends and its length if not.
#[inline]
fn fingerprint(name: &[u8]) -> u64 {
    let length = (name.len() as u64) << 56;
    match name {
        [] => length,
        [a] => length | u64::from(*a),
        [a, b] => length | u64::from(u16::from_le_bytes([*a, *b])),
        [a, b, c] => length | u64::from(u32::from_le_bytes([*a, *b, *c, 0])),
        _ => match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(head), Some(tail)) => {
                length ^ u64::from_le_bytes(*head).rotate_left(29) ^ u64::from_le_bytes(*tail).wrapping_mul(0x9e37_79b9)
            }
            _ => short_fingerprint(name, length),
        },
    }
}

/// Four to seven bytes, as two words that overlap.
#[inline]
fn short_fingerprint(name: &[u8], length: u64) -> u64 {
    let word = |chunk: Option<&[u8; 4]>| u64::from(chunk.map_or(0, |bytes| u32::from_le_bytes(*bytes)));
    let (head, tail) = (word(name.first_chunk()), word(name.last_chunk()));
    length | head | tail << (8 * (name.len() as u32 - 4))
}

#[inline]
fn first_slot(fingerprint: u64, mask: u32) -> u32 {
    (fingerprint.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & mask
}

/// Which fields of an event become columns.
///
/// Decoders hold a [`PathNode`] while they walk into a document and [`step`](Self::step) along the keys; a step that
/// gives `None` means that nothing below is of interest and the value can be skipped unread.
#[derive(Debug)]
pub struct Schema {
    fields: Vec<Field>,
    by_name: HashMap<String, FieldId, RandomState>,
    nodes: Vec<Node>,
    /// The last segment of each node's path.
    names: Vec<Box<str>>,
    slots: Vec<Slot>,
}

impl Schema {
    /// Starts an empty schema.
    pub fn builder() -> SchemaBuilder {
        SchemaBuilder::default()
    }

    /// Starts with the fields of this schema, which keep their ids.
    pub fn extend(&self) -> SchemaBuilder {
        SchemaBuilder { fields: self.fields.clone(), by_name: self.by_name.clone() }
    }

    /// All columns, by [`FieldId`].
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The column with this id.
    pub fn field(&self, id: FieldId) -> &Field {
        &self.fields[id.index()]
    }

    /// The column of this dotted name.
    pub fn lookup(&self, name: &str) -> Option<FieldId> {
        self.by_name.get(name).copied()
    }

    /// Where a walk starts.
    pub fn root(&self) -> PathNode {
        PathNode(0)
    }

    /// The node below `node` under `key`, which may itself be dotted (`"process.name"`).
    #[inline]
    pub fn step(&self, node: PathNode, key: &str) -> Option<PathNode> {
        match self.child(node, key) {
            Some(next) => Some(next),
            None => self.step_dotted(node, key),
        }
    }

    #[inline]
    fn child(&self, node: PathNode, name: &str) -> Option<PathNode> {
        let (first, mask) = self.nodes[node.0 as usize].children?;
        let fingerprint = fingerprint(name.as_bytes());
        let mut at = first_slot(fingerprint, mask);
        loop {
            let slot = self.slots[(first + at) as usize];
            if slot.node == FREE.node {
                return None;
            }
            let same = slot.fingerprint == fingerprint;
            if same && (name.len() <= EXACT || *self.names[slot.node as usize] == *name) {
                return Some(PathNode(slot.node));
            }
            at = (at + 1) & mask;
        }
    }

    fn step_dotted(&self, node: PathNode, key: &str) -> Option<PathNode> {
        let (head, rest) = key.split_once('.')?;
        self.step(self.child(node, head)?, rest)
    }

    /// The column that ends at `node`, if one does.
    pub fn field_at(&self, node: PathNode) -> Option<FieldId> {
        self.nodes[node.0 as usize].field
    }

    /// Whether any column lies below `node`.
    pub fn has_children(&self, node: PathNode) -> bool {
        self.nodes[node.0 as usize].children.is_some()
    }
}

/// Collects the fields of a [`Schema`].
#[derive(Debug, Default)]
pub struct SchemaBuilder {
    fields: Vec<Field>,
    by_name: HashMap<String, FieldId, RandomState>,
}

impl SchemaBuilder {
    /// Adds a field with the type that the catalogue gives it, or returns the one already there.
    pub fn add(&mut self, name: &str) -> FieldId {
        let ty = eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic);
        self.add_typed(name, ty)
    }

    /// Adds a field with this type; a field already there keeps its type.
    pub fn add_typed(&mut self, name: &str, ty: FieldType) -> FieldId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = FieldId(self.fields.len() as u32);
        self.fields.push(Field { name: name.to_owned(), ty });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Finishes the schema.
    pub fn build(self) -> Arc<Schema> {
        let mut nodes = vec![Node::default()];
        let mut names: Vec<Box<str>> = vec!["".into()];
        let mut children: Vec<Vec<u32>> = vec![Vec::new()];
        for (index, field) in self.fields.iter().enumerate() {
            let mut at = 0usize;
            for segment in field.name.split('.') {
                let known = children[at].iter().find(|child| *names[**child as usize] == *segment);
                at = known.copied().unwrap_or_else(|| {
                    let fresh = nodes.len() as u32;
                    children[at].push(fresh);
                    nodes.push(Node::default());
                    names.push(segment.into());
                    children.push(Vec::new());
                    fresh
                }) as usize;
            }
            nodes[at].field = Some(FieldId(index as u32));
        }
        let mut slots = Vec::new();
        for (node, children) in nodes.iter_mut().zip(&children) {
            node.children = place_children(children, &names, &mut slots);
        }
        Arc::new(Schema { fields: self.fields, by_name: self.by_name, nodes, names, slots })
    }
}

/// Adds a table of these children to `slots`, and says where it begins and how many slots it has less one.
fn place_children(children: &[u32], names: &[Box<str>], slots: &mut Vec<Slot>) -> Option<(u32, u32)> {
    if children.is_empty() {
        return None;
    }
    let first = slots.len();
    let size = (children.len() * 2).next_power_of_two();
    slots.resize(first + size, FREE);
    let mask = size as u32 - 1;
    for &child in children {
        let fingerprint = fingerprint(names[child as usize].as_bytes());
        let mut at = first_slot(fingerprint, mask);
        while slots[first + at as usize].node != FREE.node {
            at = (at + 1) & mask;
        }
        slots[first + at as usize] = Slot { fingerprint, node: child };
    }
    Some((first as u32, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_along_nested_and_dotted_keys() {
        let mut builder = Schema::builder();
        let name = builder.add("process.name");
        let parent = builder.add("process.parent.name");
        assert_eq!(builder.add("process.name"), name);
        let schema = builder.build();

        let process = schema.step(schema.root(), "process").unwrap();
        assert_eq!(schema.field_at(process), None);
        assert_eq!(schema.field_at(schema.step(process, "name").unwrap()), Some(name));
        assert_eq!(schema.field_at(schema.step(process, "parent.name").unwrap()), Some(parent));
        assert_eq!(schema.field_at(schema.step(schema.root(), "process.parent.name").unwrap()), Some(parent));
        assert_eq!(schema.step(schema.root(), "host"), None);
        assert_eq!(schema.step(process, "parent.pid"), None);
        assert_eq!(schema.step(schema.lookup("process.name").map(|_| process).unwrap(), ""), None);
    }

    #[test]
    fn names_of_every_length_are_told_apart() {
        let names: Vec<String> = (0..600usize)
            .map(|number| {
                let length = number % 30 + 1;
                let text = format!("{number:x}{}", "abcdefghijklmnopqrstuvwxyzabcd");
                text[..length].to_owned()
            })
            .collect();
        let mut builder = Schema::builder();
        names.iter().step_by(2).for_each(|name| _ = builder.add(&format!("top.{name}")));
        let schema = builder.build();
        let top = schema.step(schema.root(), "top").unwrap();
        for name in &names {
            let expected = schema.lookup(&format!("top.{name}"));
            assert_eq!(schema.step(top, name).and_then(|node| schema.field_at(node)), expected, "{name}");
        }
        // Names with nothing but their middle to tell them apart.
        let mut builder = Schema::builder();
        let one = builder.add("abcdefgh-1-abcdefgh");
        let two = builder.add("abcdefgh-2-abcdefgh");
        let empty = builder.add("");
        let schema = builder.build();
        let at = |name: &str| schema.step(schema.root(), name).and_then(|node| schema.field_at(node));
        assert_eq!(at("abcdefgh-1-abcdefgh"), Some(one));
        assert_eq!(at("abcdefgh-2-abcdefgh"), Some(two));
        assert_eq!(at("abcdefgh-3-abcdefgh"), None);
        assert_eq!(at(""), Some(empty));
        assert_eq!(at("\0"), None);
    }
}
